"""Does a model fit a GPU or NPU? Bytes of weights, KV cache and the rest, near what vLLM 0.25 logs on H100 and H200.

Rule: never refuse what would have started. So every constant errs to the side that fits, a margin comes on top, and what is
not known (a quantisation made at load, a shape without its sizes) is left to vLLM, which measures when it starts. Against
the logged figures in tests/unit/test_sizing.py the cache is predicted 0 to 3 % too large. Standard library only, Python 3.8.
"""

from __future__ import annotations

import re
from typing import Any

from ansible.module_utils.serving.host.devices import Place, number
from ansible.module_utils.serving.weights.shape import Shape

GIB = 1 << 30
# Activations and what lies outside torch, on one device, for 8192 batched tokens: a part that is always there and one that grows
# with the model's width. With tensor parallel the activations are shared, and NCCL takes most of what that saves.
BESIDE, BESIDE_WIDTH, SHARED = 0.7 * GIB, 0.286e-3 * GIB, 0.2 * GIB
BATCHED, BATCHED_SMALL, LARGE = 8192, 2048, 70 * GIB  # vLLM's max_num_batched_tokens by size of the device
MARGIN = GIB // 2  # what the prediction may be off
AT_LOAD = {
    "fp8": 0.5,
    "experts_int8": 0.5,
    "bitsandbytes": 0.25,
    "torchao": 0.25,
}  # engine's quantisations of plain weights


def whole(value: Any) -> int | None:
    """A number that the engine takes as one; None for its words (auto) and for forms that are its own business."""
    return int(value) if re.fullmatch(r"\d{1,15}", str(value)) else None


def cache_value_bytes(args: dict[str, Any]) -> float:
    """Bytes of one value in the KV cache."""
    kind = str(args.get("kv_cache_dtype") or "auto")
    if kind.startswith(("nvfp4", "int4", "turboquant")):
        return 0.5
    return 1 if kind.startswith(("fp8", "int8")) else 4 if kind == "float32" else 2


def token_bytes(service: dict[str, Any]) -> float | None:
    """KV cache that one token takes on one device, by the model's shape (latent attention, windows, states included). None: shape unknown.

    Context parallelism spreads the tokens of a sequence over its ranks.
    """
    wide = service["widths"]
    shape = Shape.of_row(service["model"].get("shape") or {})
    one = shape.token_bytes(cache_value_bytes(service["engine_args"]), wide["tensor"], wide["pipeline"])
    if one is None:
        return None
    found: float = one / (wide["decode_context"] * wide["prefill_context"])
    return found


def weight_bytes(service: dict[str, Any]) -> float:
    """Weights on one device, at least: experts may be spread over data parallel ranks, an engine may cast, quantise or offload."""
    args, wide, model = service["engine_args"], service["widths"], service["model"]
    found = model["bytes"] / (
        wide["tensor"] * wide["pipeline"] * (wide["data"] if args.get("enable_expert_parallel") else 1)
    )
    if model.get("dtype") == "float32" and args.get("dtype") != "float32":
        found /= 2
    found *= AT_LOAD.get(str(args.get("quantization") or ""), 1)
    offload = args.get("cpu_offload_gb")
    return max(0.0, float(found - (offload * GIB if isinstance(offload, (int, float)) else 0)))


def beside_bytes(service: dict[str, Any], memory: int) -> float:
    """What a device holds beside weights and cache: activations, the driver's context, NCCL."""
    batched = whole(service["engine_args"].get("max_num_batched_tokens")) or (
        BATCHED if memory >= LARGE else BATCHED_SMALL
    )
    hidden = (service["model"].get("shape") or {}).get("hidden_size") or 0
    shared = SHARED if service["widths"]["tensor"] > 1 else 0
    return max(0.0, BESIDE + BESIDE_WIDTH * hidden * min(1.0, batched / BATCHED) - shared)


def cache_tokens(service: dict[str, Any], memory: int, spare: int = 0) -> int | None:
    """Tokens that the KV cache of one device of `memory` bytes holds beside everything else; negative: the weights alone don't fit.

    `spare`: bytes to count as free beyond that. None where the model's sizes are not known.
    """
    one = token_bytes(service)
    if one is None:
        return None
    given = service["engine_args"].get("kv_cache_memory_bytes")
    if given:
        size = whole(given)
        return int(size // one) if size is not None else None
    usable = memory * service["utilization"] + spare
    return int((usable - weight_bytes(service) - beside_bytes(service, memory)) // one)


def device_problems(
    service: dict[str, Any], record: dict[str, Any], place: Place, taken: dict[int, int] | None = None
) -> list[str]:
    """Why a service does not fit the host's devices: not there, too small, taken by others, or not linked with one another.

    `taken`: bytes of each device, by number, that neither it nor another service of its plan holds; without it all that are in use.
    """
    noun, tool = ("chip", "npu-smi info") if record["kind"] == "npu" else ("GPU", "nvidia-smi")
    where = "service '%s': " % service["service"]
    found = [where + text for text in place.problems]
    smallest = min(place.sizes) if place.sizes else None
    context = whole(service["engine_args"].get("max_model_len")) or 0
    tokens = cache_tokens(service, smallest, MARGIN) if smallest else None
    if tokens is not None and smallest and tokens < context:
        likely = max(cache_tokens(service, smallest) or 0, 0)
        found.append(
            where + "on %.1f GiB a %s the KV cache holds about %d tokens beside the weights, and max_model_len is %d; "
            "raise tensor_parallel_size, or lower max_model_len" % (smallest / GIB, noun, likely, context)
        )
    for device in place.cards:
        if device.get("mig") == "Enabled":
            continue  # a slice's memory is its own
        total = device["memory_total_bytes"]
        used = device["memory_used_bytes"] if taken is None else taken.get(number(device), 0)
        if used and total and used > total * (1 - service["utilization"]) + GIB:
            found.append(
                where
                + "%s %d has %.1f of %.1f GiB taken by something else; %s shows by what: end it, or set `devices`"
                % (noun, number(device), used / GIB, total / GIB, tool)
            )
    islands = record["topology"].get("nvlink_islands") or []
    indices = {device["index"] for device in place.cards}
    if (
        len(indices) > 1
        and service["widths"]["ranks"] == len(indices)
        and any(len(group) > 1 for group in islands)
        and not any(indices <= set(group) for group in islands)
    ):
        found.append(
            where
            + "its GPUs %s are in different NVLink islands (%s); set `devices` within one"
            % (sorted(indices), " | ".join(",".join(map(str, group)) for group in islands))
        )
    return found
