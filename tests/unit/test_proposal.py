"""A service's row by today's sizing: devices, context, port, parsers, and what would fit where this does not."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.service.proposal import Wish, free_port, name_of, propose
from ansible.module_utils.serving.weights.shape import Shape
from configs import CASES
from tables import BOARDS as ALL
from tables import TABLES

CHAT: dict[str, Any] = {"name": "chat", "overrides": {}}


ENGINES = TABLES["engines"]
BOARDS = {name: ALL[name] for name in ("h100-sxm", "graviton4", "atlas300iduo", "local")}


def model(name: str, gigabytes: float, **more: Any) -> dict[str, Any]:
    case = CASES[name]
    dtype = case.config.get("torch_dtype", "bfloat16")
    return {"bytes": int(gigabytes * 1e9), "dtype": dtype, "shape": Shape.of_config(case.config).row(), **more}


def row(
    given: dict[str, Any], board: str = "h100-sxm", kind: dict[str, Any] = CHAT, **more: Any
) -> tuple[str, dict[str, Any], Any]:
    services = more.pop("services", {})
    return propose("mine", given, kind, BOARDS[board], BOARDS, ENGINES, services, **more)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("name", "gigabytes", "devices", "context"),
    [
        ("Qwen2.5-7B-Instruct", 15.2, 1, 32768),
        ("Qwen3-30B-A3B", 61.1, 1, 32768),
        ("Llama-3.1-8B-Instruct", 16.1, 1, 32768),
        ("GLM-4.5-Air", 221.0, 4, 32768),
        ("DeepSeek-V3", 688.6, 8, 32768),
        ("phi-4", 29.3, 1, 16384),
    ],
)
def test_as_few_devices_as_have_room(name: str, gigabytes: float, devices: int, context: int) -> None:
    if name == "DeepSeek-V3":
        with pytest.raises(
            Refusal,
            match=r"model 'mine' does not fit board 'h100-sxm': it takes .* on each of 8 devices.*nothing has room for it",
        ):
            row(model(name, gigabytes, quantization="fp8"))
        return
    called, found, outlook = row(model(name, gigabytes))
    assert called == "mine" and found["boards"] == ["h100-sxm"] and found["port"] == 8000
    assert (found["engine_args"]["tensor_parallel_size"], found["engine_args"]["max_model_len"]) == (devices, context)
    assert outlook.concurrency and outlook.concurrency >= 1 and outlook.tokens >= context


def test_what_would_fit_is_said() -> None:
    small = {**BOARDS["h100-sxm"], "board": "l4", "count": 1, "memory_bytes": 24 << 30}
    with pytest.raises(Refusal, match=r"board 'l4'.*a quantised form.*it fits .*h100-sxm with tensor_parallel_size 1"):
        propose("mine", model("Qwen3-30B-A3B", 61.1), CHAT, small, {**BOARDS, "l4": small}, ENGINES, {})
    with pytest.raises(Refusal, match="max_model_len 99999 is more than the 32768 tokens that the model takes"):
        row(model("Qwen2.5-7B-Instruct", 15.2), wish=Wish(context=99999))
    tight = {**BOARDS["h100-sxm"], "count": 1, "memory_bytes": 20 << 30}
    _, found, _ = propose("mine", model("Llama-3.1-8B-Instruct", 16.1), CHAT, tight, {}, ENGINES, {})
    assert found["engine_args"]["max_model_len"] < 32768  # a shorter context before another board


def test_a_cpu_gets_a_cache_for_its_context() -> None:
    _, found, outlook = row(model("Qwen2.5-7B-Instruct", 15.2), "local")
    args = found["engine_args"]
    assert (
        args["max_model_len"] == 8192
        and args["kv_cache_memory_bytes"] >= 4 * 8192 * 57344
        and "tensor_parallel_size" not in args
    )
    assert outlook.memory is None and outlook.total > 15.2e9 + args["kv_cache_memory_bytes"]
    _, found, _ = row(model("bge-m3", 2.3), "local", {"name": "embedding", "overrides": {}})
    assert found["engine_args"]["max_model_len"] == 8192 and "convert" not in found
    _, found, _ = row(model("Qwen2.5-7B-Instruct-AWQ", 5.6, quantization="awq"), "local")
    assert found["convert"] is False  # float16 weights on a CPU that computes in bfloat16: the engine casts


def test_an_engine_of_one_model_gets_no_row() -> None:
    with pytest.raises(Refusal, match="engine 'mindspore': its templates have the configuration of one model alone"):
        board = {**BOARDS["atlas300iduo"], "engine": "mindspore"}
        propose("mine", model("Qwen2.5-7B-Instruct", 15.2), CHAT, board, BOARDS, ENGINES, {})


def test_parsers_that_the_engine_has() -> None:
    kind = {"name": "chat", "tools": "hermes", "reasoning_parser": "qwen3", "overrides": {}}
    _, found, _ = row(model("Qwen3-8B", 16.4), kind=kind, parsers=["tools/hermes"])
    assert (
        found["engine_args"]["tool_call_parser"] == "hermes" and found["engine_args"]["enable_auto_tool_choice"] is True
    )
    assert "reasoning_parser" not in found["engine_args"]
    _, found, _ = row(model("Qwen3-8B", 16.4), kind=kind)  # not known: as the model needs it
    assert found["engine_args"]["reasoning_parser"] == "qwen3"


def test_ports_and_names() -> None:
    services = {
        "a": {"port": 8000, "boards": ["h100-sxm"]},
        "mine": {"port": 8001, "boards": ["local"], "model": "mine"},
        "odd": None,
    }
    called, found, _ = row(model("phi-4", 29.3), services=services, taken=[8002])
    assert (called, found["port"]) == ("mine-h100-sxm", 8003)
    again = {**services, "mine-h100-sxm": found}
    assert row(model("phi-4", 29.3), services=again, taken=[8002, 8003])[1] == found  # its own port is no obstacle
    for asked, words in ((8000, "port 8000 is that of service 'a'"), (8002, "is used on a host of this run")):
        with pytest.raises(Refusal, match=words):
            free_port(services, [8002], asked)
    with pytest.raises(Refusal, match="no port from 8000 to 8999 is free"):
        free_port({}, range(8000, 9000), 0)


@pytest.mark.parametrize(
    ("repo", "name"),
    [
        ("Qwen/Qwen2.5-7B-Instruct", "qwen2.5-7b-instruct"),
        ("/data/My Finetune/", "my-finetune"),
        ("a/" + "x" * 90, "x" * 63),
        ("a/-..b..", "b"),
        ("a/模型_1", "1"),
    ],
)
def test_names_of_rows(repo: str, name: str) -> None:
    assert name_of(repo) == name


@pytest.mark.parametrize("repo", ["a/---", "a/all", "/"])
def test_no_name_can_be_made(repo: str) -> None:
    with pytest.raises(Refusal, match="give one: -e name="):
        name_of(repo)
