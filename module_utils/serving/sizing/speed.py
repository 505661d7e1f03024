"""Tokens a second that a start may reach, as an interval: from a board's rates, measured where they are, else from its data sheet.

Decoding reads the weights once a step and the cache of each sequence; a prompt costs two operations a weight. Where a rate was measured the
interval holds seven of seven of our own figures on H100 and H200 (tests/unit/test_speed.py); it is an estimate for a choice, and no promise.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from ansible.module_utils.serving.sizing.memory import Device, Settings, computed_dtype, weights
from ansible.module_utils.serving.sizing.models import VALUE_BYTES, Model

# (name, bytes a second of its memory, operations a second in 16 bits, bytes a second of one link between two of them): data sheets.
BOARDS = (
    (r"GB?200|B200", 8.0e12, 2250e12, 900e9),
    (r"H200", 4.8e12, 989e12, 450e9),
    (r"H100.*(NVL|PCIe)", 2.0e12, 756e12, 300e9),
    (r"H100|H800", 3.35e12, 989e12, 450e9),
    (r"H20\b", 4.0e12, 148e12, 450e9),
    (r"A100.*80|A800.*80", 2.04e12, 312e12, 300e9),
    (r"A100|A800", 1.56e12, 312e12, 300e9),
    (r"L40S?\b", 0.864e12, 362e12, 32e9),
    (r"L4\b", 0.3e12, 121e12, 16e9),
    (r"A10G?\b", 0.6e12, 125e12, 16e9),
    (r"RTX (PRO )?6000", 1.6e12, 400e12, 32e9),
    (r"5090", 1.79e12, 210e12, 32e9),
    (r"4090", 1.01e12, 165e12, 16e9),
    (r"3090", 0.936e12, 71e12, 16e9),
    (r"\bT4\b", 0.32e12, 65e12, 16e9),
    (r"310P", 0.204e12, 70e12, 16e9),
)
COPY_OF_SHEET = 0.9  # a device-to-device copy reaches that of the sheet: H100 3.03 of 3.35, H200 4.3 of 4.8 TB/s
MATRIX_OF_SHEET = 0.65
DECODE = (0.78, 0.91)  # of the copy rate while decoding with graphs
STEP_SECONDS = (0.3e-3, 0.7e-3)  # of a step with graphs beside its reads, at best and at worst
EAGER_LAYER_SECONDS = (0.30e-3, 0.75e-3)  # a layer's launches without graphs: it is the host's CPU that decides
REDUCE_SECONDS = (10e-6, 22e-6)  # one all-reduce of a decode step over NVLink
REDUCE_PCIE = 5  # times that without NVLink
PREFILL = (0.4, 1.15)  # of the measured matrix rate


@dataclass(frozen=True)
class Speed:
    """Tokens a second of all requests, as (least, most): one stream, and so many at once with prompts."""

    one: tuple[float, float]
    many: tuple[float, float]
    at_once: int
    measured: bool  # are the board's rates measured, or its data sheet's?

    def words(self) -> str:
        source = (
            "from the board's measured rates" if self.measured else "from the board's data sheet, not measured here"
        )
        return "about %.0f to %.0f tokens a second for one stream, %.0f to %.0f at %d at once (%s)" % (
            *self.one,
            *self.many,
            self.at_once,
            source,
        )


def rated(device: Device) -> tuple[Device, bool] | None:
    """The device with rates, and whether both were measured; None for a board that no row knows."""
    if device.copy_rate and device.matrix_rate:
        return device, True
    for pattern, memory, matrix, _ in BOARDS:
        if re.search(pattern, device.name):
            copy = device.copy_rate or memory * COPY_OF_SHEET
            return replace(device, copy_rate=copy, matrix_rate=device.matrix_rate or matrix * MATRIX_OF_SHEET), False
    return None


def active_share(model: Model) -> float:
    """Part of the weights that one token reads: of the experts, those that it takes."""
    if not model.shape.experts:
        return 1.0
    values = (
        3.0 * model.shape.layers * model.shape.experts * model.shape.expert_intermediate_size * model.shape.hidden_size
    )
    part = min(0.97, values * VALUE_BYTES.get(model.dtype, 2.0) / max(1, model.weight_bytes))
    return float(1 - part + part * model.shape.experts_used / model.shape.experts)


def step(model: Model, chosen: Settings, device: Device, batch: int, context: int, linked: bool, best: bool) -> float:
    """Seconds of one decode step of `batch` sequences of `context` tokens, at best or at worst."""
    value = VALUE_BYTES.get(computed_dtype(model, chosen.dtype), 2.0)
    share = min(1.0, active_share(model) * batch) if model.shape.experts else 1.0
    reads = float(weights(model, chosen) * share)
    reads += batch * (
        model.shape.sequence_bytes(min(context, chosen.max_model_len or context), value, chosen.tensor, chosen.pipeline)
        or 0.0
    )
    seconds = reads / ((device.copy_rate or 1.0) * DECODE[best]) + STEP_SECONDS[not best]
    layers = float(model.shape.layers / chosen.pipeline)
    if chosen.eager:
        seconds = max(seconds, layers * EAGER_LAYER_SECONDS[not best])
    if chosen.tensor > 1:
        seconds += 2 * layers * REDUCE_SECONDS[not best] * (1 if linked else REDUCE_PCIE)
    return float(seconds * chosen.pipeline)


def predict(
    model: Model,
    chosen: Settings,
    device: Device,
    at_once: int,
    prompt: int = 512,
    output: int = 256,
    linked: bool = True,
) -> Speed | None:
    """Tokens a second of one copy, at one request and at `at_once`; None for a board without rates."""
    found = rated(device) if device.kind != "cpu" else None  # no figure of a CPU is there to hold an interval against
    if found is None:
        return None
    board, measured = found
    operations = (
        2 * model.weight_bytes / VALUE_BYTES.get(model.dtype, 2.0) * active_share(model) * prompt / chosen.ranks
    )
    ones, manies = [], []
    for best in (False, True):
        slack = 1.0 if measured else (1.15 if best else 0.8)
        prefill = operations / ((board.matrix_rate or 1.0) * PREFILL[best])
        ones.append(slack / step(model, chosen, board, 1, prompt + output // 2, linked, best))
        seconds = at_once * prefill + output * step(model, chosen, board, at_once, prompt + output // 2, linked, best)
        manies.append(slack * at_once * output / seconds)
    copies = chosen.data
    return Speed((ones[0], ones[1]), (manies[0] * copies, manies[1] * copies), at_once * copies, measured)


def as_row(speed: Speed | None) -> dict[str, Any] | None:
    """For reports and JSON."""
    if speed is None:
        return None
    return {
        "one": [round(x, 1) for x in speed.one],
        "many": [round(x, 1) for x in speed.many],
        "at_once": speed.at_once,
        "measured": speed.measured,
        "words": speed.words(),
    }
