"""Constants of vLLM's memory, by version, each with its source. What a version is not listed for, it takes from the last one before it.

Fitted to starts of vLLM 0.19.0 on H100 (planner sweep of llm-d, 59 logs) and of 0.25.1 on H100 and H200 (nine starts of our own);
tests/fixtures/kv_logs.json has the figures, tests/unit/test_sizing.py compares.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

GIB = 1 << 30


@dataclass(frozen=True)
class Constants:
    """Bytes, but where a name says otherwise."""

    since: tuple[int, ...]
    source: str
    utilization: float = 0.9  # share of a device where the row gives none
    large: int = 70 * GIB  # a device of that size gets the larger defaults
    batched: tuple[int, int] = (2048, 8192)  # max_num_batched_tokens of the API server: small device, large one
    seqs: tuple[int, int] = (256, 1024)  # max_num_seqs, likewise
    sampler: int = 12  # bytes beside the logits themselves, for each sequence and word of the vocabulary
    base: int = GIB // 10  # activations of any model
    hidden: float = 1.3  # copies of the hidden state that live through a step
    mlp: int = 3  # copies of the MLP's width: gate, up, and their product
    outside: int = GIB // 4  # outside torch: context, cuBLAS
    outside_staged: int = 7 * GIB // 100  # the same of a pipeline's stage
    collectives: int = 57 * GIB // 100  # NCCL and custom all-reduce, from two ranks on
    fused: int = 127 * GIB // 100  # workspace of FlashInfer's fused all-reduce beside that, where it is installed
    graphs_taken: bool = False  # does the engine keep an estimate for CUDA graphs free before it sizes the cache?
    graph: tuple[int, int] = (
        15 * GIB // 100,
        13 * GIB // 1000,
    )  # CUDA graphs of a start: a part of any model, and one for each layer
    by_requests: bool = False  # are the tokens in the log full-length requests times their length?


VERSIONS = (
    Constants((0, 0), "not measured: the most hopeful ones, so that nothing is refused that would start", outside=13 * GIB // 100),
    Constants((0, 15), "Qwen3-14B on H100: activations 5.64 GiB, outside torch 0.13", sampler=36, outside=13 * GIB // 100),
    Constants((0, 17), "the same: activations 2.23 GiB", outside=13 * GIB // 100),
    Constants((0, 18), "the same: outside torch 0.25 GiB; 59 starts of 0.19.0"),
    Constants((0, 21), "its log: «CUDA graph memory profiling is enabled (default since v0.21.0)»", graphs_taken=True),
    # Dense models run with model runner V2 there, which keeps nothing free for graphs, and whose sampler takes the logits once as float32: measured with and
    # without graphs, and with 1,024 sequences, where the sampler's share shows.
    Constants((0, 25), "0.25.1: starts on H100 and H200, with and without graphs", sampler=4),
    Constants((0, 26), "its code: tokens are requests times length", sampler=4, by_requests=True),
    Constants((0, 33), "its code: utilisation 0.92 by default", utilization=0.92, sampler=4, by_requests=True),
)  # fmt: skip

UNMEASURED = VERSIONS[0]

# What a driver keeps of a board for itself, where nvidia-smi doesn't say (`reserved`): 480 MiB on H100.
RESERVED = 480 << 20
# Largest graph size that an engine captures by default, and the sizes to take first on a board that holds few beside a large model.
CAPTURE_LARGEST = 512
CAPTURE_FEW = (1, 8, 32, 64)
# vLLM's own list for CPU (its first completion fails on another one).
CPU_HEAD_DIMS = (32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512)
# Engine's quantisations of plain weights at load, as a share of 2 bytes.
AT_LOAD = {"fp8": 0.5, "experts_int8": 0.5, "bitsandbytes": 0.25, "torchao": 0.25}


def version_key(version: str | None) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version or "")[:3])


def constants(version: str | None) -> Constants:
    """The constants of a version; of the newest where nobody knows which one runs."""
    key = version_key(version)
    found = [row for row in VERSIONS if row.since <= key] if key else [VERSIONS[-1]]
    return found[-1]


def without_fused(row: Constants) -> Constants:
    """The same engine without FlashInfer."""
    return replace(row, fused=0)
