"""Does a model fit a GPU: against figures that vLLM logged, and the traps of the vendor documents' rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.serving.host import devices
from ansible.module_utils.serving.sizing import caches, engines, memory, models
from ansible.module_utils.serving.sizing.engines import GIB
from ansible.module_utils.serving.sizing.fits import Sized, device_problems
from ansible.module_utils.serving.weights.shape import Shape
from configs import CASES
from test_catalogue import record as row

from planning import devices as placing

H100, H200 = 81559 << 20, 143771 << 20
RESERVED = {H100: 480 << 20, H200: 700 << 20}
SHAPE_7B = {"layers": 28, "kv_heads": 4, "head_dim": 128, "hidden_size": 3584}
# KV tokens that vLLM 0.25.1 logged: max_model_len 8192, max_num_seqs 256, util 0.9; on H200 by the offline class, which batches 16384.
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
PUBLIC = json.loads((Path(__file__).parents[1] / "fixtures/kv_logs.json").read_text())
# vLLM 0.19 puts 2.5 GiB more on each of four devices than a quarter of the weights; why is not known.
MISSED = ("meta-llama/Llama-4-Scout-17B-16E-Instruct",)


def sized(name: str, tensor: int = 1, **args: Any) -> dict[str, Any]:
    """A row of the tables on so many devices, with these engine options alone."""
    given = row(name)
    options = {"tensor_parallel_size": tensor, "gpu_memory_utilization": 0.9, "max_num_seqs": 256, **args}
    wide = placing.widths("x", options)
    return {
        **given, "devices": list(range(wide["devices"])), "engine_args": options, "widths": wide, "runtime": "native", "options_version": "0.25.1",
        "utilization": placing.utilization(options),
    }  # fmt: skip


def service(**args: Any) -> dict[str, Any]:
    given = {"max_model_len": 32768, "max_num_seqs": 256, **args}
    return {
        "service": "x", "devices": [0], "model": {"name": "x", "bytes": int(14.25 * GIB), "shape": SHAPE_7B}, "engine_args": given, "runtime": "native",
        "engine_facts": {"traits": ["data-parallel", "memory-of-vllm"], "options": {"table": "vllm", "share": "gpu_memory_utilization"}},
        "options_version": "0.25.1", "widths": placing.widths("x", given), "utilization": placing.utilization(given),
    }  # fmt: skip


def tokens(service: dict[str, Any], size: int) -> int:
    record = host(memory_total_bytes=size, memory_reserved_bytes=RESERVED[size])
    found = Sized(service, record, devices.place(service["devices"], record, []), []).budget()
    assert found is not None
    return found.tokens


def public(start: dict[str, Any]) -> int:
    """Tokens that are predicted for a start of a public log: planner sweep of llm-d, vLLM 0.19.0 on H100, API server's defaults."""
    model, args = PUBLIC["models"][start["model"]], start["args"]
    model = models.model_of(
        {"bytes": model["bytes"], "dtype": model.get("dtype"), "shape": Shape.of_config(model["config"]).row()}
    )
    assert model is not None
    chosen = memory.Settings(
        tensor=args["tensor_parallel_size"], pipeline=args["pipeline_parallel_size"], max_model_len=args["max_model_len"], max_num_seqs=1024,
        utilization=args["gpu_memory_utilization"], kv_dtype=args.get("kv_cache_dtype", "auto"), dtype=args.get("dtype", "auto"),
        quantization=args.get("quantization", ""), fused=args["tensor_parallel_size"] > 1,
    )  # fmt: skip
    return memory.budget(model, chosen, memory.Device(H100), engines.constants(start["version"])).tokens


def host(count: int = 8, **device: Any) -> dict[str, Any]:
    rows = [{"index": i, "memory_total_bytes": H100, "memory_used_bytes": 0, **device} for i in range(count)]
    return {"kind": "gpu", "count": count, "devices": rows, "topology": {"nvlink_islands": [list(range(count))]}}


def problems(service: dict[str, Any], record: dict[str, Any], taken: dict[int, int] | None = None) -> list[str]:
    return list(device_problems(service, record, devices.place(service["devices"], record, []), taken))


@pytest.mark.parametrize(("name", "tensor", "size", "eager", "logged"), LOGGED)
def test_the_cache_is_what_vllm_logged_within_3_percent(
    name: str, tensor: int, size: int, eager: bool, logged: int
) -> None:
    batched = 16384 if size == H200 else 8192
    predicted = tokens(
        sized(name, tensor, enforce_eager=eager, max_model_len=8192, max_num_batched_tokens=batched), size
    )
    assert abs(predicted / logged - 1) < 0.03


@pytest.mark.parametrize(
    ("name", "tensor", "length", "logged"),
    [("qwen2-7b-instruct", 1, 8192, 1_042_640), ("qwen2.5-vl-32b-instruct", 2, 32768, 314_016)],
)
def test_the_sampler_of_1024_sequences_takes_what_vllm_logged(name: str, tensor: int, length: int, logged: int) -> None:
    """With 256 sequences the MLP takes more than the sampler, which hides its share."""
    given = sized(name, tensor, max_model_len=length, max_num_seqs=1024, max_num_batched_tokens=8192)
    assert abs(tokens(given, H100) / logged - 1) < 0.01


@pytest.mark.parametrize("start", PUBLIC["starts"], ids=lambda start: f"{start['model']} {start['args']}")
def test_the_cache_of_public_logs_is_predicted_within_5_percent(start: dict[str, Any]) -> None:
    """Dense, experts, MLA, sliding windows, pipelines, quantised and vision models; weights are what their repositories say."""
    off = public(start) / start["tokens"] - 1
    if start["model"] in MISSED:
        assert off > 0.05, "a known miss is one no more: take it off the list"
    else:
        assert abs(off) < 0.05


@pytest.mark.parametrize(("name", "tensor", "size", "eager", "logged"), LOGGED)
def test_a_context_that_vllm_would_have_started_with_is_not_refused(
    name: str, tensor: int, size: int, eager: bool, logged: int
) -> None:
    wanted = sized(name, tensor, enforce_eager=eager, max_model_len=logged)
    assert problems(wanted, host(memory_total_bytes=size)) == []
    much = sized(name, tensor, enforce_eager=eager, max_model_len=int(logged * 1.2))
    [words] = problems(much, host(memory_total_bytes=size))
    assert f"tokens, {int(logged * 1.2)} asked: max_model_len" in words and f"or TP {2 * tensor}" in words


def test_what_cant_start_is_contradicted_with_what_would() -> None:
    [words] = problems(sized("qwq-32b", max_model_len=65_536), host())
    assert words == (
        "service 'qwq-32b': on 79.6 GiB per GPU TP 1 at 0.9 leaves 34880 tokens, 65536 asked: max_model_len 34880, or TP 2, or kv_cache_dtype fp8"
    )


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
    assert "40960 asked" in problems(full, host())[0]
    more = sized("qwq-32b", **{"max_model_len": 39_000, **args})
    assert problems(more, host()) == []


def test_a_float32_checkpoint_takes_half_when_it_is_cast() -> None:
    model = models.model_of({**row("qwq-32b")["model"], "dtype": "float32"})
    assert model is not None
    assert memory.weights(model, memory.Settings()) == model.weight_bytes // 2
    assert memory.weights(model, memory.Settings(dtype="float32")) == model.weight_bytes


def test_layers_of_unlike_kinds_share_blocks_as_vllm_groups_them() -> None:
    """Gemma 3 27B: 10 full and 52 sliding layers make 7 groups of 10. Counted by requests, a window's layers cost less than the context."""
    model = models.model_of(
        {"bytes": 1, "shape": Shape.of_config(PUBLIC["models"]["google/gemma-3-27b-it"]["config"]).row()}
    )
    assert model is not None and (model.shape.full_layers, model.shape.window_layers, model.shape.window) == (
        10,
        52,
        1024,
    )
    pool = caches.pool(model.shape, 1, 1, 2.0)
    assert (pool.full, pool.sliding, pool.block_bytes) == (1, 6, 16 * 8192 * 10)
    assert pool.tokens(20 * GIB, 131_072, 8192, 1024, True) > 2 * pool.tokens(20 * GIB, 131_072, 8192, 1024, False)


def test_a_hybrids_block_grows_until_it_holds_a_state() -> None:
    """Qwen3-Next: 12 layers with attention, 36 with a state of 2.1 MB in fp32, which no context makes larger."""
    config = {
        "num_hidden_layers": 48, "hidden_size": 2048, "num_attention_heads": 16, "num_key_value_heads": 2, "head_dim": 256, "vocab_size": 151936,
        "full_attention_interval": 4, "linear_num_value_heads": 32, "linear_num_key_heads": 16, "linear_key_head_dim": 128, "linear_value_head_dim": 128,
        "linear_conv_kernel_dim": 4, "mamba_ssm_dtype": "float32", "num_experts": 512, "num_experts_per_tok": 10, "moe_intermediate_size": 512,
    }  # fmt: skip
    model = models.model_of({"bytes": 1, "shape": Shape.of_config(config).row()})
    assert model is not None and (model.shape.full_layers, model.shape.state_layers) == (12, 36)
    pool = caches.pool(model.shape, 1, 1, 2.0)
    assert (pool.full, pool.state) == (1, 3) and pool.block_bytes / 12 >= model.shape.state_bytes
    assert pool.tokens(20 * GIB, 262_144, 8192, 0, True) > 3 * pool.tokens(20 * GIB, 262_144, 8192, 0, False)


def test_layers_with_attention_and_a_state_are_counted_as_both() -> None:
    """Falcon-H1 7B: 44 layers, each with keys and values of every token and a state of 1.6 MB beside them."""
    shape = Shape.of_config(CASES["Falcon-H1-7B-Instruct"].config)
    assert (shape.full_layers, shape.state_layers, shape.mixed_layers) == (44, 44, 44)
    assert shape.sequence_bytes(1000) == 44 * (1000 * 2 * 2 * 128 * 2 + shape.state_bytes)
    assert shape.sequence_bytes(1000, tensor=2) == 22 * (1000 * 2 * 2 * 128 * 2 + shape.state_bytes)
    pool = caches.pool(shape, 1, 1, 2.0)
    assert (pool.full, pool.sliding, pool.state) == (1, 0, 1) and pool.block_bytes >= 44 * shape.state_bytes
    blocks = int(10 * GIB // pool.block_bytes)
    assert pool.tokens(10 * GIB, 4096, 8192, 0, True) == int(blocks / (-(-4096 // pool.block) + 1) * 4096)


@pytest.mark.parametrize("name", ["falcon-mamba-7b", "Mamba-Codestral-7B"])
def test_a_model_of_states_alone_holds_texts_of_any_length(name: str) -> None:
    shape = Shape.of_config(CASES[name].config)
    assert shape.known and shape.token_bytes() == 0 and shape.sequence_bytes(10**6) == 64 * shape.state_bytes
    pool = caches.pool(shape, 1, 1, 2.0)
    texts = int(GIB // (64 * shape.state_bytes))
    for by_requests in (True, False):
        assert pool.tokens(GIB, 8192, 2048, 0, by_requests) == texts * 8192


@pytest.mark.parametrize(("tensor", "fits"), [(1, False), (2, True), (8, True)])
def test_32b_needs_two_devices_for_its_longest_context(tensor: int, fits: bool) -> None:
    found = problems(sized("qwq-32b", tensor, max_model_len=40_960), host())
    assert (found == []) is fits
    if not fits:
        assert "40960 asked" in found[0] and "or TP 2" in found[0]


def test_data_parallel_ranks_hold_whole_models_of_their_own() -> None:
    """TP 1 x DP 2: each device holds all the weights, and islands matter to neither."""
    two = sized("qwq-32b", data_parallel_size=2, max_model_len=40_960)
    assert two["devices"] == [0, 1] and "40960 asked" in problems(two, host())[0]
    split = {**host(2), "topology": {"nvlink_islands": [[0, 2], [1, 3]]}}
    assert problems(sized("qwen2-7b-instruct", data_parallel_size=2, max_model_len=8192), split) == []


def test_a_device_that_others_use_is_named_unless_the_plans_own_services_hold_it() -> None:
    busy = host(memory_used_bytes=40 * GIB)
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
    assert problems({**service(), "model": {"name": "x", "bytes": 1}}, host()) == []


def test_npus_of_21_gb_are_too_small_for_a_model_that_needs_43() -> None:
    """The 48 GB card: npu-smi gives each NPU 21527 MB. The 96 GB card's smaller NPU (43693 MB) holds it."""
    atlas = row("qwq-32b-atlas")
    rows = [
        {"index": i, "id": f"davinci{i}", "memory_total_bytes": 21527 << 20, "memory_used_bytes": 1000 << 20}
        for i in range(4)
    ]
    found = {"kind": "npu", "count": 4, "devices": rows, "topology": {}}
    [problem] = problems(atlas, found)
    assert "on 21.0 GiB per NPU TP 4 at 0.7: the weights and what runs beside them take" in problem
    for device in rows:
        device["memory_total_bytes"] = 43693 << 20
    assert problems(atlas, found) == []


def test_npus_go_by_their_davinci_number() -> None:
    """After a card was lost its neighbours keep their numbers: the plan's NPUs may not be there."""
    rows = [
        {"index": i, "id": f"davinci{i + 4}", "memory_total_bytes": 43693 << 20, "memory_used_bytes": 0}
        for i in range(4)
    ]
    found = {"kind": "npu", "count": 4, "devices": rows, "topology": {}}
    [problem] = problems(row("qwq-32b-atlas"), found)
    assert "NPU 0, 1, 2, 3 is not on this host, which has 4, 5, 6, 7" in problem


def test_layers_that_keep_nothing_take_no_cache() -> None:
    """Gemma 3n: 30 layers, of which the last ten read what others keep; every fifth keeps every token."""
    shape = Shape(
        layers=30,
        hidden_size=2048,
        attention_heads=8,
        kv_heads=2,
        head_dim=256,
        window_layers=16,
        window=512,
        plain_layers=10,
    )
    pool = caches.pool(shape, 1, 1, 2.0)
    assert (pool.full, pool.sliding, pool.state) == (1, 4, 0) and pool.block_bytes == 16 * 2048 * 4
    alone = caches.pool(Shape(layers=12, kv_heads=2, head_dim=64, plain_layers=4), 1, 1, 2.0)
    assert alone.tokens(1 << 20, 512, 8192, 0, True) == (1 << 20) // (512 * 8 * 16) * 16


def test_an_engine_of_another_kind_is_sized_by_the_most_hopeful_constants() -> None:
    """SGLang's mem_fraction_static is its share of a device; of its memory nothing was measured."""
    other = sized("qwq-32b", max_model_len=30_000)
    facts = {
        **other["engine_facts"],
        "traits": [],
        "options": {**other["engine_facts"]["options"], "table": "sglang", "share": "mem_fraction_static"},
    }
    args = {key: value for key, value in other["engine_args"].items() if key != "gpu_memory_utilization"}
    found = Sized({**other, "engine_facts": facts, "engine_args": args, "utilization": 0.8}, host(), None, [])
    assert found.known is engines.UNMEASURED and found.settings is not None and found.settings.utilization == 0.8
