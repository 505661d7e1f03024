"""Candidates for a host that computes on its CPU: a rank for each NUMA node, a KV cache of so many bytes, threads bound to cores."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ansible.module_utils.serving.sizing.adapters import host_bytes
from ansible.module_utils.serving.sizing.caches import pool
from ansible.module_utils.serving.sizing.candidates import CONCURRENCY, CONTEXT, Candidate, Found, Wishes, name_of
from ansible.module_utils.serving.sizing.engines import GIB
from ansible.module_utils.serving.sizing.memory import (
    Budget,
    Settings,
    cache_value,
    computed_dtype,
    human,
    lora,
    weights,
)
from ansible.module_utils.serving.sizing.models import VALUE_BYTES, Model
from ansible.module_utils.serving.sizing.rules import Host, rejections

BLOCK = 128  # tokens of a block on a CPU
BATCHED, SEQS = 2048, 128  # vLLM's defaults, for each rank
LEFT = 2 * GIB  # for the system
MEMORY_SHARE = 0.9


def memory_of(record: dict[str, Any]) -> int:
    """Bytes that services may take: the cgroup's limit counts where it is lower."""
    rows = [size for size in (record["memory"]["total_bytes"], record["memory"]["limit_bytes"]) if size]
    return int(min(rows)) if rows else 0


def threads(record: dict[str, Any]) -> int:
    """Cores that compute: one is left to the server's own process."""
    usable = int(record["cpu"].get("usable") or record["cpu"].get("cores") or 1)
    cores = int(record["cpu"].get("cores") or usable)
    return max(1, min(usable, cores) - (1 if usable > 2 else 0))


def adapters_of(model: Model, chosen: Settings) -> int:
    """Bytes of adapters of all ranks: a device's memory is the host's here, so slots and what is kept beside them both count."""
    value = VALUE_BYTES.get(computed_dtype(model, chosen.dtype), 2.0)
    ranks = chosen.ranks * chosen.data
    slots: int = lora(model, chosen) * ranks
    return slots + int(host_bytes(model.shape, model.architecture, chosen.lora, value, ranks))


def cpu_budget(model: Model, chosen: Settings, memory: int, overhead: int) -> Budget:
    """The table of a whole host: weights once, a cache and the processes for each rank."""
    value = cache_value(chosen.kv_dtype, computed_dtype(model, chosen.dtype))
    blocks = pool(model.shape, chosen.tensor, chosen.pipeline, value, BLOCK)
    ranks = chosen.ranks * chosen.data
    size = chosen.kv_bytes or 0
    found = Budget(token_bytes=model.shape.token_bytes(value, chosen.tensor, chosen.pipeline) or 0.0, cache_bytes=size)
    found.tokens = blocks.tokens(size, chosen.max_model_len, chosen.max_num_batched_tokens, model.shape.window, True)
    held = weights(model, chosen) * ranks
    lora = adapters_of(model, chosen)
    taken = held + overhead + size * ranks + lora
    found.rows = [
        ("usable", memory, "the host's memory, or its limit"), ("weights", -held, "%s over %d rank%s" % (human(held), ranks, "s"[: ranks > 1])),
        ("processes", -overhead, "libraries, activations, the server"),
        *([("adapters", -lora, "%d slots of rank %d, and %d kept beside" % (chosen.lora.count, chosen.lora.rank, chosen.lora.kept))] if lora else []),
        ("KV cache", -size * ranks, "%d tokens of %.0f KiB a rank" % (found.tokens, found.token_bytes / 1024)), ("left", memory - taken, "for others"),
    ]  # fmt: skip
    return found


def search_cpu(model: Model, host: Host, record: dict[str, Any], overhead: int, wishes: Wishes) -> Found:
    """All that fits, best first: as many ranks as NUMA nodes, and one."""
    found, fixed = Found([], []), dict(wishes.fixed)
    memory, nodes = memory_of(record), max(1, int(record["count"]))
    concurrency = wishes.concurrency or min(CONCURRENCY, 16)
    base = Settings(
        max_model_len=wishes.context or min(model.shape.max_position_embeddings or CONTEXT, CONTEXT), max_num_seqs=max(1, min(SEQS, concurrency)),
        max_num_batched_tokens=BATCHED, dtype="auto" if model.dtype in host.dtypes else host.dtypes[0], block=BLOCK,
        eager=True,  # compiling wants a C++ compiler on the host
    )  # fmt: skip
    for tensor in [fixed["tensor"]] if "tensor" in fixed else sorted({1, nodes}, reverse=True):
        chosen = replace(base, **{**fixed, "tensor": tensor})
        against = rejections(model, chosen, host)
        if against:
            found.rejected += [(name_of(chosen), rule, text) for rule, text in against]
            continue
        value = cache_value(chosen.kv_dtype, computed_dtype(model, chosen.dtype))
        blocks = pool(model.shape, tensor, chosen.pipeline, value, BLOCK)
        texts = (chosen.max_model_len, chosen.max_num_batched_tokens, model.shape.window)
        one = blocks.block_bytes * blocks.of_text(*texts)
        ranks = chosen.ranks * chosen.data
        room = (
            int(memory * MEMORY_SHARE) - LEFT - overhead - weights(model, chosen) * ranks - adapters_of(model, chosen)
        ) // ranks
        if chosen.kv_bytes is None:
            chosen = replace(chosen, kv_bytes=max(0, int(min(room, one * concurrency)) // (1 << 20) * (1 << 20)))
        table = cpu_budget(model, chosen, memory, overhead)
        if table.tokens < chosen.max_model_len:
            text = "%s: %s of memory leave %d tokens of KV cache, %d asked: max_model_len %d, or more memory"
            tokens = table.tokens if table.tokens > 0 else 0
            found.rejected.append(
                (
                    name_of(chosen),
                    "memory",
                    text % (name_of(chosen), human(memory), tokens, chosen.max_model_len, tokens // BLOCK * BLOCK),
                )
            )
            continue
        held = table.tokens / max(1, chosen.max_model_len) * chosen.data
        found.candidates.append(Candidate(chosen, table, 1, None, held))
    return found
