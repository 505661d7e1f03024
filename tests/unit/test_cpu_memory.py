"""KV caches of CPU services from a host's memory: even, stable, never more than is of use."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.serving.host import cpu_memory
from conftest import load
from tables import TABLES

p = load("filter_plugins/plan.py")
GIB = 1 << 30


def planned(*names: str, **args: Any) -> list[dict[str, Any]]:
    row = {"model": "qwen2-7b-instruct", "engine_args": {"max_model_len": 8192, **args}}
    services = {name: {**row, "port": 8000 + i} for i, name in enumerate(names)}
    return list(p.plan(list(names), {**TABLES, "services": services}, "x86-server", host="box"))


def test_a_server_gives_its_only_service_what_is_of_use() -> None:
    plan = planned("a", max_num_seqs=32)
    sizes, problems = cpu_memory.cache_sizes(plan, 512 * GIB, 0.8)
    assert problems == [] and sizes == {"a": 14 * GIB}  # 32 sequences of 8192 tokens of 56 KiB


def test_services_share_what_is_left_and_keep_what_rows_give() -> None:
    plan = [*planned("a", "b"), *planned("c", kv_cache_memory_bytes=4 * GIB)]
    sizes, problems = cpu_memory.cache_sizes(plan, 128 * GIB, 0.8)
    assert problems == [] and set(sizes) == {"a", "b"} and sizes["a"] == sizes["b"]
    taken = sum(one["memory_bytes"] for one in plan)
    assert 2 * sizes["a"] <= 128 * GIB * 0.8 - taken < 2 * (sizes["a"] + cpu_memory.STEP)


def test_a_host_that_is_too_small_is_told() -> None:
    [problem] = cpu_memory.cache_sizes(planned("a"), 16 * GIB, 0.8)[1]
    assert "service 'a'" in problem and "16.0 GiB" in problem and "no room for a KV cache" in problem


def test_the_size_reaches_the_engine_and_the_containers_limit() -> None:
    [row] = planned("a")
    [placed] = p.with_places([row], {"services": {"a": {"kv_cache_memory_bytes": 3 * GIB}}})
    assert placed["engine_args"]["kv_cache_memory_bytes"] == 3 * GIB
    assert placed["memory_bytes"] == row["memory_bytes"] + 3 * GIB
    assert p.with_places([row], {"services": {"a": {"kv_cache_memory_bytes": None}}}) == [row]


def test_a_limit_counts_and_an_unknown_memory_gives_nothing() -> None:
    assert cpu_memory.memory_of({"memory": {"total_bytes": 8 * GIB, "limit_bytes": 2 * GIB}}) == 2 * GIB
    assert cpu_memory.memory_of({}) == 0 and cpu_memory.cache_sizes(planned("a"), 0, 0.8) == ({}, [])
