"""How many tokens a KV cache of so many bytes holds, as vLLM counts them in its log: layers of unlike kinds share blocks by groups."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from ansible.module_utils.serving.weights.shape import Shape

BLOCK = 16  # tokens


@dataclass(frozen=True)
class Pool:
    """Blocks of one device. A block holds `block` tokens of `depth` layers; each group of layers takes blocks of its own."""

    block: int
    block_bytes: float
    full: int  # groups whose blocks grow with the context
    sliding: int
    state: int

    def of_text(self, length: int, batched: int, window: int) -> int:
        """Blocks that a text of so many tokens takes."""
        one = self.full * ceil(length / self.block) + self.state
        if self.sliding:
            one += self.sliding * (ceil(min(window - 1 + batched, length) / self.block) + 1)
        return max(1, one)

    def tokens(self, size: float, length: int, batched: int, window: int, by_requests: bool) -> int:
        """Tokens of a cache of `size` bytes. `by_requests`: as many as requests of full length fit, times that length."""
        blocks = int(size // self.block_bytes)
        groups = self.full + self.sliding + self.state
        alone = not (self.full or self.sliding)  # states grow with no text, so texts are what counts
        if not alone and (not by_requests or not (self.sliding or self.state) or not length):
            return max(0, blocks // groups * self.block)
        return max(0, int(blocks / self.of_text(length, batched, window) * length))


def pool(shape: Shape, tensor: int, pipeline: int, value: float, block: int = BLOCK) -> Pool:
    """The pool of a model on one device. Uniform layers are one group; else the smallest kind decides how many layers a group has.

    Layers that keep nothing take no part in it. Where all keep states, a block is the states of one text.
    """
    counts = [ceil(count / pipeline) for count in (shape.full_layers, shape.window_layers, shape.state_layers)]
    if shape.states_alone:
        return Pool(block, max(1.0, counts[2] * shape.state_bytes / tensor), 0, 0, 1)
    kinds = [count for count in counts if count]
    # Kinds of unlike heads get blocks of one size, so the larger kind counts for both.
    used = [shape.layer_values(tensor)] * bool(counts[0]) + [shape.layer_values(tensor, True)] * bool(counts[1])
    layer = max(used or [shape.layer_values(tensor)]) * value
    if len(kinds) < 2:
        kind = (1, 0, 0) if counts[0] else (0, 1, 0)
        return Pool(block, block * layer * max(1, sum(counts)), *kind)
    depth = min(kinds) if max(kinds) >= 1.25 * min(kinds) else max(kinds)
    if counts[2]:  # the attention's block grows until it holds a state
        block = max(block, ceil(shape.state_bytes / tensor / layer / BLOCK) * BLOCK)
    full, sliding, state = (ceil(count / depth) for count in counts)
    return Pool(block, block * layer * depth, full, sliding, state)
