"""Does a model fit a GPU: against figures that vLLM logged, and the traps of the documents' rows."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.serving import sizing as s
from test_catalogue import record as row

H100 = 85_520_809_984
SHAPE_7B = {"layers": 28, "kv_heads": 4, "head_dim": 128}


def service(**args: Any) -> dict[str, Any]:
    return {
        "service": "x",
        "devices": [0],
        "model": {"bytes": 14.25 * s.GIB, "shape": SHAPE_7B},
        "engine_args": {"max_model_len": 32768, **args},
    }


def host(count: int = 8, **device: Any) -> dict[str, Any]:
    rows = [{"index": i, "memory_total_bytes": H100, "memory_used_bytes": 0, **device} for i in range(count)]
    return {"kind": "gpu", "count": count, "devices": rows, "topology": {"nvlink_islands": [list(range(count))]}}


def test_qwen2_5_7b_on_an_h100_is_near_the_logged_cache() -> None:
    """vLLM 0.19 at 0.95: 58.53 GiB of KV cache (79.19 GiB of the device, act 2.21)."""
    tokens = s.cache_tokens(service(gpu_memory_utilization=0.95, enforce_eager=True), int(79.19 * s.GIB))
    assert tokens is not None
    assert tokens * 57344 / s.GIB == pytest.approx(58.53, abs=0.1)


@pytest.mark.parametrize(("tensor", "most", "fits"), [(1, 32768, False), (2, 400_000, True), (8, 2_200_000, True)])
def test_32b_needs_two_devices_for_its_context(tensor: int, most: int, fits: bool) -> None:
    qwq = {**row("qwq-32b"), "devices": list(range(tensor))}
    qwq["engine_args"] = {**qwq["engine_args"], "tensor_parallel_size": tensor, "enforce_eager": False}
    tokens = s.cache_tokens(qwq, H100)
    assert tokens is not None and tokens < most
    assert (s.gpu_problems(qwq, host(), False) == []) is fits
    if not fits:
        [problem] = s.gpu_problems(qwq, host(), False)
        assert "max_model_len is 32768" in problem and "raise tensor_parallel_size" in problem


def test_a_device_that_others_use_is_named_unless_the_service_runs_on_it() -> None:
    busy = host(memory_used_bytes=40 * s.GIB)
    [problem] = s.gpu_problems(service(gpu_memory_utilization=0.9), busy, False)
    assert "GPU 0 has 40.0 of 79.6 GiB taken" in problem
    assert s.gpu_problems(service(gpu_memory_utilization=0.9), busy, True) == []


def test_devices_across_islands_and_devices_that_are_not_there() -> None:
    split = {**host(4), "topology": {"nvlink_islands": [[0, 1], [2, 3]]}}
    two = {**service(tensor_parallel_size=2), "devices": [1, 2]}
    assert "different NVLink islands (0,1 | 2,3)" in s.gpu_problems(two, split, False)[0]
    assert s.gpu_problems({**two, "devices": [2, 3]}, split, False) == []
    assert (
        s.gpu_problems(two, {**host(4), "topology": {"nvlink_islands": [[0], [1], [2], [3]]}}, False) == []
    )  # PCIe boards
    assert "GPU 9 is not on this host, which has 8" in s.gpu_problems({**service(), "devices": [9]}, host(), False)[0]


def test_unknown_shapes_are_left_to_vllm() -> None:
    assert s.cache_tokens({"model": {"bytes": 1}, "engine_args": {}}, H100) is None
