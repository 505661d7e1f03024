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
    assert (s.device_problems(qwq, host(), False) == []) is fits
    if not fits:
        [problem] = s.device_problems(qwq, host(), False)
        assert "max_model_len is 32768" in problem and "raise tensor_parallel_size" in problem


def test_a_device_that_others_use_is_named_unless_the_service_runs_on_it() -> None:
    busy = host(memory_used_bytes=40 * s.GIB)
    [problem] = s.device_problems(service(gpu_memory_utilization=0.9), busy, False)
    assert "GPU 0 has 40.0 of 79.6 GiB taken" in problem
    assert s.device_problems(service(gpu_memory_utilization=0.9), busy, True) == []


def test_devices_across_islands_and_devices_that_are_not_there() -> None:
    split = {**host(4), "topology": {"nvlink_islands": [[0, 1], [2, 3]]}}
    two = {**service(tensor_parallel_size=2), "devices": [1, 2]}
    assert "different NVLink islands (0,1 | 2,3)" in s.device_problems(two, split, False)[0]
    assert s.device_problems({**two, "devices": [2, 3]}, split, False) == []
    assert (
        s.device_problems(two, {**host(4), "topology": {"nvlink_islands": [[0], [1], [2], [3]]}}, False) == []
    )  # PCIe boards
    assert (
        "GPU 9 is not on this host, which has 0, 1, 2"
        in s.device_problems({**service(), "devices": [9]}, host(), False)[0]
    )


def test_unknown_shapes_are_left_to_vllm() -> None:
    assert s.cache_tokens({"model": {"bytes": 1}, "engine_args": {}}, H100) is None


def test_chips_of_21_gb_are_too_small_for_a_model_that_needs_43() -> None:
    """The 48 GB card: npu-smi gives each chip 21527 MB. The 96 GB card's smaller chip (43693 MB) holds it."""
    atlas = row("qwq-32b-atlas")
    rows = [
        {"index": i, "id": f"davinci{i}", "memory_total_bytes": 21527 << 20, "memory_used_bytes": 1000 << 20}
        for i in range(4)
    ]
    chips = {"kind": "npu", "count": 4, "devices": rows, "topology": {}}
    [problem] = s.device_problems(atlas, chips, False)
    assert "on 21.0 GiB a chip the KV cache holds about 0 tokens" in problem
    for device in rows:
        device["memory_total_bytes"] = 43693 << 20
    assert s.device_problems(atlas, chips, False) == []


def test_chips_go_by_their_davinci_number() -> None:
    """After a card was lost its neighbours keep their numbers: the plan's chips may not be there."""
    rows = [
        {"index": i, "id": f"davinci{i + 4}", "memory_total_bytes": 43693 << 20, "memory_used_bytes": 0}
        for i in range(4)
    ]
    chips = {"kind": "npu", "count": 4, "devices": rows, "topology": {}}
    [problem] = s.device_problems(row("qwq-32b-atlas"), chips, False)
    assert "chip 0, 1, 2, 3 is not on this host, which has 4, 5, 6, 7" in problem
