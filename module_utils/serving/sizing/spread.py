"""What the links between the hosts of a service cost each token, for tensor parallelism across them and for pipeline stages. Pure.

Tensor parallelism adds the results of two matrix products a layer over all ranks: a ring over n hosts takes 2 (n-1) steps, each half a round trip
and an n-th of the token's activations. A pipeline passes the activations on once from host to host. One token at a time; with many the rate counts
more and the round trip less. In return tensor parallelism divides the reading of the weights by the number of hosts, which a pipeline doesn't.
"""

from __future__ import annotations

VALUE_BYTES = 2  # activations are 16 bits wide
NEAR = 2.0  # below so many times the other one, a measurement of a moment says nothing


def link_seconds(layers: int, hidden: int, hosts: int, rate: float, trip: float) -> tuple[float, float]:
    """(tensor, pipeline): seconds that one token spends on the links. `rate`: bytes a second; `trip`: seconds there and back."""
    size = hidden * VALUE_BYTES
    tensor = layers * 2 * 2 * (hosts - 1) * (trip / 2 + size / hosts / rate)
    pipeline = (hosts - 1) * (trip / 2 + size / rate)
    return tensor, pipeline


def reading_seconds(read: float, devices: int, copy_rate: float, hosts: int) -> tuple[float, float]:
    """(tensor, pipeline): seconds in which one token's weights are read. `read`: their bytes; `devices`: of one host."""
    one = read / (devices * copy_rate)
    return one / hosts, one


def advice(
    across: str, links: tuple[float, float], reading: tuple[float, float] | None, rate: float, trip: float
) -> tuple[str, bool]:
    """(a sentence, whether the other way is clearly faster)."""
    words = (
        "slowest link %.3g Gbit/s, round trip %.2f ms: a token spends %.3g ms on it with tensor parallelism across hosts, %.3g ms with a pipeline"
        % (rate * 8 / 1e9, trip * 1e3, links[0] * 1e3, links[1] * 1e3)
    )
    if reading is None:
        return words, False
    tensor, pipeline = links[0] + reading[0], links[1] + reading[1]
    words += "; with the reading of the weights that is %.3g and %.3g ms" % (tensor * 1e3, pipeline * 1e3)
    if across == "tensor" and tensor > NEAR * pipeline:
        return words + ", so across: pipeline answers faster here", True
    if across == "pipeline" and pipeline > NEAR * tensor:
        return words + ", so across: tensor answers faster here", True
    return words + ", so across: %s stays" % across, False
