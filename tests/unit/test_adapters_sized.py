"""What adapters take: slots that vLLM allocates at start, against what it allocated, and graphs on boards that hold few."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.serving.sizing import engines, memory
from ansible.module_utils.serving.sizing.adapters import Slots, device_bytes, host_bytes, slots_of
from ansible.module_utils.serving.sizing.asked import captured, fixed
from ansible.module_utils.serving.sizing.candidates import Wishes, search
from ansible.module_utils.serving.sizing.cpu import cpu_budget
from ansible.module_utils.serving.sizing.engines import GIB
from ansible.module_utils.serving.sizing.memory import Device, Settings
from ansible.module_utils.serving.sizing.models import sized
from ansible.module_utils.serving.sizing.rules import Host
from test_catalogue import record as row

MODELS = {name: row(name)["model"] for name in ("demo", "qwq-32b")}
MODELS["demo"] = {**MODELS["demo"], "shape": {**MODELS["demo"]["shape"], "intermediate_size": 512}}  # its config.json's
# vLLM 0.32.0 on a CPU, the demo with enable_lora, max_loras 3, max_lora_rank 8: all lora_a_stacked and lora_b_stacked of the model, counted there.
ALLOCATED = 208_896


def test_slots_of_the_demo_are_what_vllm_allocated() -> None:
    demo = sized(MODELS["demo"])
    assert device_bytes(demo.shape, "Qwen2ForCausalLM", Slots(3, 8, 5), 2.0, 1, 1) == 2 * ALLOCATED
    # A class that names its embeddings has pairs of the whole vocabulary beside them.
    ends = 3 * 2 * 8 * (512 + 256)
    assert device_bytes(demo.shape, "LlamaForCausalLM", Slots(3, 8, 5), 2.0, 1, 1) == 2 * (ALLOCATED + ends)


def test_options_ask_for_slots_as_the_engine_takes_them() -> None:
    assert slots_of({"max_loras": 4}).count == 0  # off without enable_lora
    assert slots_of({"enable_lora": True}) == Slots(1, 16, 1)
    assert slots_of({"enable_lora": True, "max_loras": 4, "max_lora_rank": 64, "max_cpu_loras": 16}) == Slots(4, 64, 16)
    assert (
        slots_of({"enable_lora": True, "max_loras": 4, "max_cpu_loras": 2}).kept == 4
    )  # vLLM wants at least max_loras
    assert fixed({"enable_lora": True, "fully_sharded_loras": True})["lora"] == Slots(1, 16, 1, True)


def test_tensor_ranks_share_one_side_of_each_pair_and_all_of_it_when_fully_sharded() -> None:
    shape = sized(MODELS["qwq-32b"]).shape
    one, two, whole = (
        device_bytes(shape, "", Slots(1, 16, 1, sharded), 2.0, tensor, 1)
        for tensor, sharded in ((1, False), (2, False), (2, True))
    )
    assert one / 2 == pytest.approx(whole, rel=0.01) and whole < two < one
    assert device_bytes(shape, "", Slots(8, 16, 8), 2.0, 1, 1) == 8 * one
    assert device_bytes(shape, "", Slots(1, 64, 1), 2.0, 1, 1) == 4 * one
    assert device_bytes(shape, "", Slots(1, 16, 1), 2.0, 1, 2) == one // 2
    assert host_bytes(shape, "", Slots(2, 16, 10), 2.0, 2) == 20 * one


def test_each_expert_has_a_pair_of_its_own() -> None:
    shape = {"layers": 48, "hidden_size": 2048, "attention_heads": 32, "kv_heads": 4, "head_dim": 128, "vocab_size": 151936, "intermediate_size": 6144,
             "experts": 128, "experts_used": 8, "expert_intermediate_size": 768}  # fmt: skip
    model = sized({"bytes": 61 * 10**9, "shape": shape})
    size = device_bytes(model.shape, "", Slots(1, 16, 1), 2.0, 1, 1)
    assert 1.6e9 < size < 1.8e9  # 128 experts x 48 layers x 16 x 3 x (2048 + 768) values, and attention


def test_the_table_says_what_adapters_take_and_the_cache_gets_the_rest() -> None:
    model, device, known = sized(MODELS["qwq-32b"]), Device(143771 << 20, name="H200"), engines.constants("0.25.1")
    chosen = Settings(max_model_len=8192, max_num_seqs=256, eager=True)
    lora = Settings(max_model_len=8192, max_num_seqs=256, eager=True, lora=Slots(8, 64, 8))
    without, beside = (memory.budget(model, one, device, known) for one in (chosen, lora))
    taken = {what: size for what, size, _ in beside.rows}["adapters"]
    assert without.cache_bytes - beside.cache_bytes == -taken > GIB
    assert "8 slots of rank 64" in str(beside.table())
    graphs = [memory.graphs(model, Settings(lora=one), known) for one in (Slots(), Slots(1, 16, 1))]
    assert graphs[1] == 2 * graphs[0]  # with adapters and without


def test_on_a_cpu_slots_and_what_is_kept_beside_them_lie_in_one_memory() -> None:
    demo = sized(MODELS["demo"])
    table = cpu_budget(demo, Settings(max_model_len=512, kv_bytes=1 << 20, lora=Slots(3, 8, 5)), 8 * GIB, 0)
    one = 2 * ALLOCATED // 3
    assert {what: size for what, size, _ in table.rows}["adapters"] == -(3 + 5) * one


@pytest.mark.parametrize(
    ("args", "wanted"),
    [
        (
            {"compilation_config": '{"cudagraph_mode": "FULL_DECODE_ONLY", "cudagraph_capture_sizes": [8, 1]}'},
            {"capture": (1, 8)},
        ),
        ({"compilation_config": {"cudagraph_capture_sizes": [1, 2, 4]}}, {"capture": (1, 2, 4)}),
        ({"compilation_config.cudagraph_capture_sizes": [16]}, {"capture": (16,)}),
        ({"compilation_config.cudagraph_capture_sizes": "[1, 16]"}, {"capture": (1, 16)}),
        ({"cuda_graph_sizes": [512, 256]}, {"capture": (256, 512)}),
        ({"compilation_config": {"cudagraph_mode": "NONE"}}, {"eager": True}),
        ({"compilation_config": 3}, {}),
        ({"compilation_config": "3"}, {}),
        ({"compilation_config": "not json"}, {}),
        ({}, {}),
    ],
)
def test_sizes_to_capture_are_read_in_every_form(args: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert captured(args) == wanted


def test_a_board_with_room_for_few_graphs_gets_few_and_refuses_more() -> None:
    """A 310P holds two beside a 32B model, with one set of streams for all."""
    model, device, known = (
        sized({**MODELS["qwq-32b"], "dtype": "float16"}),
        Device(43693 << 20, 0, "310P3", "npu"),
        engines.constants("0.18.0"),
    )

    def found(graphs: int, goal: str = "throughput", **fixed: Any) -> Any:
        host = Host(4, (), ("float16", "float32"), "npu", graphs, True)
        return search(model, host, device, known, Wishes(4096, 32, goal, tuple(sorted(fixed.items()))))

    assert found(2).candidates[0].settings.capture == (1, 8)
    assert found(1).candidates[0].settings.capture == (32,) and found(1, "latency").candidates[0].settings.capture == (
        1,
    )
    args = found(2).candidates[0].args(Host(4, graphs=2, kind="npu"), known)
    assert args["compilation_config"]["cudagraph_capture_sizes"] == [1, 8]
    refused = found(2, capture=(1, 2, 4))
    assert not refused.candidates and {rule for _, rule, _ in refused.rejected} >= {"graphs"}
    assert found(2, capture=(1, 2, 4), eager=True).candidates  # nothing is captured then
