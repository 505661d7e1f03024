"""What a start of vLLM says about itself in its log: weights, KV cache, graphs, seconds. Every version's words that are known."""

from __future__ import annotations

import re
from typing import Any

from ansible.module_utils.serving.sizing.engines import GIB

# name, pattern, factor. Of ranks the last line counts; all say the same but for a pipeline's stages, where the smallest cache decides.
LINES = (
    ("weights_bytes", re.compile(r"(?:Model loading took|Loading model weights took) ([\d.]+) (?:GiB|GB)"), GIB),
    ("cache_bytes", re.compile(r"Available KV cache memory: (-?[\d.]+) GiB"), GIB),
    ("tokens", re.compile(r"(?:GPU|CPU) KV cache size: ([\d,]+) tokens"), 1),
    ("graphs_bytes", re.compile(r"Graph capturing finished in [\d.]+ secs?, took (-?[\d.]+) GiB"), GIB),
    ("graphs_estimate_bytes", re.compile(r"Estimated CUDA graph memory: ([\d.]+) GiB"), GIB),
    ("compile_seconds", re.compile(r"torch\.compile (?:takes|took) ([\d.]+) s in total"), 1),
    ("engine_seconds", re.compile(r"init engine \(profile, create kv cache, warmup model\) took ([\d.]+) s"), 1),
)  # fmt: skip
LEAST = ("cache_bytes", "tokens")


def measured(lines: list[str]) -> dict[str, Any]:
    """{weights_bytes, cache_bytes, tokens, graphs_bytes, ...}: what the lines of one start say, without what they don't."""
    found: dict[str, Any] = {}
    for line in lines:
        for name, pattern, factor in LINES:
            match = pattern.search(line)
            if match:
                value = float(match.group(1).replace(",", "")) * factor
                value = round(value, 1) if name.endswith("_seconds") else int(value)
                found[name] = min(found[name], value) if name in LEAST and name in found else value
    return found
