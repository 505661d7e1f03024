"""Does a model fit a GPU: against figures that vLLM logged, and the traps of the documents' rows."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.serving.host import devices
from ansible.module_utils.serving.service import sizing
from test_catalogue import record as row

from planning import devices as placing

H100, H200 = 81559 << 20, 143771 << 20
SHAPE_7B = {"layers": 28, "kv_heads": 4, "head_dim": 128, "hidden_size": 3584}
# KV tokens that vLLM 0.25.1 logged: max_model_len 8192, max_num_seqs 256, util 0.9.
LOGGED = [
    ("qwq-32b", 1, H100, False, 34_368),
    ("qwq-32b", 2, H100, False, 320_288),
    ("qwq-32b", 2, H100, True, 319_104),
    ("qwen2-7b-instruct", 1, H100, False, 1_042_640),
    ("qwen2-7b-instruct", 1, H100, True, 1_041_616),
    ("qwq-32b", 1, H200, True, 251_360),
    ("qwq-32b", 1, H200, False, 251_760),
    ("qwen2-7b-instruct", 1, H200, True, 2_042_880),
    ("qwen2-7b-instruct", 1, H200, False, 2_043_840),
]


def sized(name: str, tensor: int = 1, **args: Any) -> dict[str, Any]:
    """A row of the tables on so many devices, with these engine options alone."""
    given = row(name)
    options = {"tensor_parallel_size": tensor, "gpu_memory_utilization": 0.9, **args}
    wide = placing.widths("x", options)
    return {
        **given, "devices": list(range(wide["devices"])), "engine_args": options, "widths": wide,
        "utilization": placing.utilization(options),
    }  # fmt: skip


def service(**args: Any) -> dict[str, Any]:
    given = {"max_model_len": 32768, **args}
    return {
        "service": "x", "devices": [0], "model": {"bytes": int(14.25 * sizing.GIB), "shape": SHAPE_7B}, "engine_args": given,
        "widths": placing.widths("x", given), "utilization": placing.utilization(given),
    }  # fmt: skip


def host(count: int = 8, **device: Any) -> dict[str, Any]:
    rows = [{"index": i, "memory_total_bytes": H100, "memory_used_bytes": 0, **device} for i in range(count)]
    return {"kind": "gpu", "count": count, "devices": rows, "topology": {"nvlink_islands": [list(range(count))]}}


def problems(service: dict[str, Any], record: dict[str, Any], taken: dict[int, int] | None = None) -> list[str]:
    return list(sizing.device_problems(service, record, devices.place(service["devices"], record, []), taken))


@pytest.mark.parametrize(("name", "tensor", "memory", "eager", "logged"), LOGGED)
def test_the_cache_is_what_vllm_logged_or_up_to_3_percent_more(
    name: str, tensor: int, memory: int, eager: bool, logged: int
) -> None:
    tokens = sizing.cache_tokens(sized(name, tensor, enforce_eager=eager), memory)
    assert tokens is not None and 1 <= tokens / logged < 1.03


@pytest.mark.parametrize(("name", "tensor", "memory", "eager", "logged"), LOGGED)
def test_a_context_that_vllm_would_have_started_with_is_not_refused(
    name: str, tensor: int, memory: int, eager: bool, logged: int
) -> None:
    wanted = sized(name, tensor, enforce_eager=eager, max_model_len=logged)
    assert problems(wanted, host(memory_total_bytes=memory)) == []
    much = sized(name, tensor, enforce_eager=eager, max_model_len=int(logged * 1.2))
    assert "raise tensor_parallel_size" in problems(much, host(memory_total_bytes=memory))[0]


@pytest.mark.parametrize(
    "args",
    [
        {"kv_cache_dtype": "fp8_e5m2"},
        {"decode_context_parallel_size": 2},
        {"quantization": "fp8"},
        {"cpu_offload_gb": 30},
        {"max_num_batched_tokens": 512},
        {"max_model_len": "auto"},
        {"max_model_len": "32k"},
    ],
)
def test_what_makes_more_room_is_counted_and_words_of_the_engine_pass(args: dict[str, Any]) -> None:
    full = sized("qwq-32b", max_model_len=40_960)
    assert "max_model_len is 40960" in problems(full, host())[0]
    more = sized("qwq-32b", **{"max_model_len": 39_000, **args})
    assert problems(more, host()) == []


def test_a_float32_checkpoint_takes_half_when_it_is_cast() -> None:
    wide = sized("qwq-32b")
    wide["model"] = {**wide["model"], "dtype": "float32", "bytes": wide["model"]["bytes"] * 2}
    assert sizing.weight_bytes(wide) == wide["model"]["bytes"] / 2
    wide["engine_args"] = {**wide["engine_args"], "dtype": "float32"}
    assert sizing.weight_bytes(wide) == wide["model"]["bytes"]


@pytest.mark.parametrize(("tensor", "fits"), [(1, False), (2, True), (8, True)])
def test_32b_needs_two_devices_for_its_longest_context(tensor: int, fits: bool) -> None:
    found = problems(sized("qwq-32b", tensor, max_model_len=40_960), host())
    assert (found == []) is fits
    if not fits:
        assert "max_model_len is 40960" in found[0] and "raise tensor_parallel_size" in found[0]


def test_data_parallel_ranks_hold_whole_models_of_their_own() -> None:
    """TP 1 x DP 2: each device holds all the weights, and islands matter to neither."""
    two = sized("qwq-32b", data_parallel_size=2, max_model_len=40_960)
    assert two["devices"] == [0, 1] and "max_model_len is 40960" in problems(two, host())[0]
    split = {**host(2), "topology": {"nvlink_islands": [[0, 2], [1, 3]]}}
    assert problems(sized("qwen2-7b-instruct", data_parallel_size=2, max_model_len=8192), split) == []


def test_a_device_that_others_use_is_named_unless_the_plans_own_services_hold_it() -> None:
    busy = host(memory_used_bytes=40 * sizing.GIB)
    [problem] = problems(service(gpu_memory_utilization=0.9), busy)
    assert "GPU 0 has 40.0 of 79.6 GiB taken" in problem
    assert problems(service(gpu_memory_utilization=0.9), busy, {0: 0}) == []


def test_devices_across_islands_and_devices_that_are_not_there() -> None:
    split = {**host(4), "topology": {"nvlink_islands": [[0, 1], [2, 3]]}}
    two = {**service(tensor_parallel_size=2), "devices": [1, 2]}
    assert "different NVLink islands (0,1 | 2,3)" in problems(two, split)[0]
    assert problems({**two, "devices": [2, 3]}, split) == []
    assert problems(two, {**host(4), "topology": {"nvlink_islands": [[0], [1], [2], [3]]}}) == []  # PCIe boards
    assert "GPU 9 is not on this host, which has 0, 1, 2" in problems({**service(), "devices": [9]}, host())[0]


def test_unknown_shapes_are_left_to_vllm() -> None:
    assert (
        sizing.cache_tokens({"model": {"bytes": 1}, "engine_args": {}, "widths": placing.widths("x", {})}, H100) is None
    )


def test_chips_of_21_gb_are_too_small_for_a_model_that_needs_43() -> None:
    """The 48 GB card: npu-smi gives each chip 21527 MB. The 96 GB card's smaller chip (43693 MB) holds it."""
    atlas = row("qwq-32b-atlas")
    rows = [
        {"index": i, "id": f"davinci{i}", "memory_total_bytes": 21527 << 20, "memory_used_bytes": 1000 << 20}
        for i in range(4)
    ]
    chips = {"kind": "npu", "count": 4, "devices": rows, "topology": {}}
    [problem] = problems(atlas, chips)
    assert "on 21.0 GiB a chip the KV cache holds about 0 tokens" in problem
    for device in rows:
        device["memory_total_bytes"] = 43693 << 20
    assert problems(atlas, chips) == []


def test_chips_go_by_their_davinci_number() -> None:
    """After a card was lost its neighbours keep their numbers: the plan's chips may not be there."""
    rows = [
        {"index": i, "id": f"davinci{i + 4}", "memory_total_bytes": 43693 << 20, "memory_used_bytes": 0}
        for i in range(4)
    ]
    chips = {"kind": "npu", "count": 4, "devices": rows, "topology": {}}
    [problem] = problems(row("qwq-32b-atlas"), chips)
    assert "chip 0, 1, 2, 3 is not on this host, which has 4, 5, 6, 7" in problem
