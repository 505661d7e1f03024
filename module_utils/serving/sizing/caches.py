"""How many tokens a KV cache of so many bytes holds, as vLLM counts them in its log: layers of unlike kinds share blocks by groups."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from ansible.module_utils.serving.sizing.shapes import Shape

BLOCK = 16  # tokens


@dataclass(frozen=True)
class Pool:
    """Blocks of one device. A block holds `block` tokens of `depth` layers; each group of layers takes blocks of its own."""

    block: int
    block_bytes: float
    full: int  # groups whose blocks grow with the context
    sliding: int
    state: int

    def tokens(self, size: float, length: int, batched: int, window: int, by_requests: bool) -> int:
        """Tokens of a cache of `size` bytes. `by_requests`: as many as requests of full length fit, times that length."""
        blocks = int(size // self.block_bytes)
        groups = self.full + self.sliding + self.state
        if not by_requests or not (self.sliding or self.state) or not length:
            return max(0, blocks // groups * self.block)
        one = self.full * ceil(length / self.block) + self.state
        if self.sliding:
            one += self.sliding * (ceil(min(window - 1 + batched, length) / self.block) + 1)
        return max(0, int(blocks / one * length))


def pool(shape: Shape, tensor: int, pipeline: int, value: float, block: int = BLOCK) -> Pool:
    """The pool of a model on one device. Uniform layers are one group; else the smallest kind decides how many layers a group has."""
    layer = shape.layer_token_bytes(tensor, value)
    kinds = [ceil(count / pipeline) for count in (shape.full, shape.sliding, shape.state) if count]
    if len(kinds) < 2:
        kind = (1, 0, 0) if shape.full else (0, 1, 0)
        return Pool(block, block * layer * ceil(shape.layers / pipeline), *kind)
    depth = min(kinds) if max(kinds) >= 1.25 * min(kinds) else max(kinds)
    if shape.state:  # the attention's block grows until it holds a state
        block = max(block, ceil(shape.state_bytes / tensor / layer / BLOCK) * BLOCK)
    full, sliding, state = (ceil(ceil(count / pipeline) / depth) for count in (shape.full, shape.sliding, shape.state))
    return Pool(block, block * layer * depth, full, sliding, state)
