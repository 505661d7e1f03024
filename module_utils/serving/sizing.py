"""Does a model fit a GPU or NPU? Bytes of weights, KV cache and the rest, as vLLM 0.19 logs them on H100.

Constants: llm-d-incubation/llm-d-planner, accuracy_report.md, 54 runs with vLLM 0.19 on H100. Versions differ: a margin
of one context is asked for, no more, and vLLM itself measures when it starts. Standard library only, Python 3.8.
"""

from __future__ import annotations

import re
from typing import Any

GIB = 1 << 30
ACTIVATIONS = int(2.25 * GIB)  # 32B Qwen2; does not shrink with tensor parallel
OUTSIDE_TORCH = {1: int(0.25 * GIB)}  # by tensor parallel size; more with NCCL:
OUTSIDE_TORCH_PARALLEL = int(2.1 * GIB)
CUDA_GRAPHS = 1 * GIB  # none with enforce_eager
DEFAULT_UTILIZATION = 0.92  # vLLM 0.33
BYTES = {"bfloat16": 2, "float16": 2, "float32": 4, "fp8": 1}


def token_bytes(service: dict[str, Any]) -> int | None:
    """KV cache that one token takes on one device: 2 x layers/PP x max(1, kv_heads/TP) x head_dim x bytes. None: shape unknown."""
    shape, args = service["model"].get("shape") or {}, service["engine_args"]
    if not all(shape.get(key) for key in ("layers", "kv_heads", "head_dim")):
        return None
    tensor, pipeline = int(args.get("tensor_parallel_size") or 1), int(args.get("pipeline_parallel_size") or 1)
    size = BYTES.get(str(args.get("kv_cache_dtype") or "bfloat16"), 2)
    heads = max(1, shape["kv_heads"] // tensor)
    return int(2 * -(-shape["layers"] // pipeline) * heads * shape["head_dim"] * size)


def cache_tokens(service: dict[str, Any], memory: int) -> int | None:
    """Tokens that the KV cache of one device of `memory` bytes holds beside everything else; negative: the weights alone don't fit."""
    one = token_bytes(service)
    if one is None:
        return None
    args = service["engine_args"]
    tensor, pipeline = int(args.get("tensor_parallel_size") or 1), int(args.get("pipeline_parallel_size") or 1)
    given = args.get("kv_cache_memory_bytes")
    if given:
        return int(given) // one
    usable = memory * float(args.get("gpu_memory_utilization") or DEFAULT_UTILIZATION)
    rest = (
        ACTIVATIONS
        + OUTSIDE_TORCH.get(tensor, OUTSIDE_TORCH_PARALLEL)
        + (0 if args.get("enforce_eager") else CUDA_GRAPHS)
    )
    return int((usable - service["model"]["bytes"] / (tensor * pipeline) - rest) // one)


def number(device: dict[str, Any]) -> int:
    """What a plan calls a device: a GPU's index, an NPU's N of /dev/davinciN."""
    found = re.fullmatch(r"davinci(\d+)", str(device.get("id")))
    return int(found.group(1)) if found else int(device["index"])


def device_problems(service: dict[str, Any], record: dict[str, Any], running: bool) -> list[str]:
    """Why a service does not fit the host's devices: too small, taken by others, or not linked with one another."""
    noun, tool = ("chip", "npu-smi info") if record["kind"] == "npu" else ("GPU", "nvidia-smi")
    by_index = {number(device): device for device in record["devices"]}
    mine = [by_index[i] for i in service["devices"] or [] if i in by_index]
    missing = [str(i) for i in service["devices"] or [] if i not in by_index]
    where = "service '%s': " % service["service"]
    found = []
    if missing:
        found.append(
            where
            + "%s %s is not on this host, which has %s; correct `runs` or `devices`"
            % (noun, ", ".join(missing), ", ".join(map(str, sorted(by_index))) or "none")
        )
    sizes = [device["memory_total_bytes"] for device in mine if device["memory_total_bytes"]]
    context = int(service["engine_args"].get("max_model_len") or 0)
    tokens = cache_tokens(service, min(sizes)) if sizes else None
    if tokens is not None and tokens < context:
        found.append(
            where + "on %.1f GiB a %s the KV cache holds about %d tokens beside the weights, and max_model_len is %d; "
            "raise tensor_parallel_size, or lower max_model_len" % (min(sizes) / GIB, noun, max(tokens, 0), context)
        )
    share = float(service["engine_args"].get("gpu_memory_utilization") or DEFAULT_UTILIZATION)
    for device in mine if not running else []:
        used, total = device["memory_used_bytes"], device["memory_total_bytes"]
        if used and total and used > total * (1 - share) + GIB:
            found.append(
                where
                + "%s %d has %.1f of %.1f GiB taken by something else; %s shows by what: end it, or set `devices`"
                % (noun, number(device), used / GIB, total / GIB, tool)
            )
    islands = record["topology"].get("nvlink_islands") or []
    indices = {device["index"] for device in mine}
    if (
        len(indices) > 1
        and any(len(group) > 1 for group in islands)
        and not any(indices <= set(group) for group in islands)
    ):
        found.append(
            where
            + "its GPUs %s are in different NVLink islands (%s); set `devices` within one"
            % (sorted(indices), " | ".join(",".join(map(str, group)) for group in islands))
        )
    return found
