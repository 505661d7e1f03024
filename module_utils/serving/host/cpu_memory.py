"""KV caches of a CPU host's services, sized from its memory where no row gives a size. Standard library only, Python 3.8.

The sizes follow from the host's whole memory and the plan alone, not from what is free now: the second deploy finds the same.
"""

from __future__ import annotations

from typing import Any

STEP = 256 << 20  # bytes; sizes are multiples of it
SEQUENCES = 128  # max_num_seqs of vLLM for each rank of a CPU, where the row gives none


def memory_of(record: dict[str, Any]) -> int:
    """Bytes that services of the host can share: what it has, or the limit that it is given."""
    memory = record.get("memory") or {}
    return min([int(memory[key]) for key in ("total_bytes", "limit_bytes") if memory.get(key)] or [0])


def most_useful(service: dict[str, Any]) -> int | None:
    """Bytes of one rank's cache for all sequences at full length; None where the model's shape or the length isn't known."""
    shape, args = service["model"].get("shape") or {}, service["engine_args"]
    sizes = [shape.get("layers"), shape.get("kv_heads"), shape.get("head_dim"), args.get("max_model_len")]
    if not all(sizes):
        return None
    token = 2 * 2 * int(sizes[0]) * int(sizes[1]) * int(sizes[2]) // int(service["widths"]["tensor"])
    return token * int(sizes[3]) * int(args.get("max_num_seqs") or SEQUENCES)


def cache_sizes(plan: list[dict[str, Any]], total: int, share: float) -> tuple[dict[str, int], list[str]]:
    """({service: bytes for each rank}, problems) of the services whose rows give no kv_cache_memory_bytes.

    They share evenly what `share` of the memory leaves beside all weights, overheads and caches that rows give.
    """
    lacking = [service for service in plan if not service["engine_args"].get("kv_cache_memory_bytes")]
    if not lacking or not total:
        return {}, []
    taken = sum(int(service.get("memory_bytes") or 0) for service in plan)
    ranks = sum(int(service["widths"]["devices"]) for service in lacking)
    each = max(0, int(total * share) - taken) // ranks
    sizes, problems = {}, []
    for service in lacking:
        useful = most_useful(service)
        size = each if useful is None else min(each, useful + STEP - 1)
        size -= size % STEP
        if size < STEP:
            problems.append(
                "service '%s': of the host's %.1f GiB, %.1f are for services, and weights and processes of the plan take %.1f: no room for a "
                "KV cache; run fewer services here, or set engine_args.kv_cache_memory_bytes"
                % (service["service"], total / 2**30, total * share / 2**30, taken / 2**30)
            )
        else:
            sizes[service["service"]] = size
    return sizes, problems
