"""What argparse and pydantic refuse is told by the name of the setting: their real parsers write the messages here, for options of any name."""

from __future__ import annotations

import argparse
import json

import pytest
from ansible.module_utils.serving.service.failures import explain
from ansible.module_utils.serving.service.setting_words import SUCCESSORS, settings_named
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

NAMES = st.from_regex(r"[a-z][a-z0-9]{1,8}(-[a-z][a-z0-9]{1,8}){1,3}", fullmatch=True)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str, **option: object) -> list[str]:
    """What argparse writes of these arguments, as vLLM's command does."""
    parser = argparse.ArgumentParser(prog="vllm serve")
    parser.add_argument("--some-option", **option)  # type: ignore[arg-type]
    with pytest.raises(SystemExit):
        parser.parse_args(arguments)
    return capsys.readouterr().err.splitlines()


@pytest.mark.parametrize(
    ("option", "arguments", "told"),
    [
        ({"choices": ["auto", "half"]}, ["--some-option", "float7"], "engine_args.some_option is 'float7', which this release does not take"),
        ({"type": int}, ["--some-option", "many"], "engine_args.some_option is 'many', and must be a whole number"),
        ({"type": float}, ["--some-option", "half"], "engine_args.some_option is 'half', and must be a number"),
        ({"type": int}, ["--some-option"], "engine_args.some_option stands there without a value"),
        ({"action": "store_true"}, ["--some-option=yes"], "engine_args.some_option is a switch and got 'yes'"),
        ({"action": argparse.BooleanOptionalAction}, ["--some-option=no"], "engine_args.some_option is a switch and got 'no'"),
        ({"required": True}, [], "the engine was not given what it needs (--some-option)"),
        ({}, ["--sme-option", "1"], "this release of the engine has no option engine_args.sme_option"),
    ],
)  # fmt: skip
def test_what_argparse_refuses_is_named(
    capsys: pytest.CaptureFixture[str], option: dict[str, object], arguments: list[str], told: str
) -> None:
    found = explain(refused(capsys, *arguments, **option), 2)
    assert found.sure, found
    assert found.meaning is not None and found.meaning.startswith(told), found
    assert found.hint == "unknown-option"


def test_json_that_is_none_is_named() -> None:
    line = (
        "main.py serve: error: argument --hf-overrides: Value {rope cannot be converted to <function loads at 0x7f00>."
    )
    found = explain(["usage: vllm serve [model_tag] [options]", line], 2)
    assert found.meaning == "engine_args.hf_overrides is no JSON ({rope): write it as a mapping or list in the row"
    with pytest.raises(json.JSONDecodeError):
        json.loads("{rope")


def test_keys_that_a_row_calls_otherwise() -> None:
    assert "`address` is" in (settings_named("x: error: argument --host: invalid choice: 'a' (choose from 'b')") or "")
    assert "`port` is 'http'" in (settings_named("x: error: argument --port: invalid int value: 'http'") or "")


@given(name=NAMES, value=st.from_regex(r"[a-z0-9.]{1,12}", fullmatch=True))
def test_any_option_is_named(name: str, value: str) -> None:
    key = "engine_args." + name.replace("-", "_")
    assert key in (settings_named(f"api_server.py: error: unrecognized arguments: --{name} {value}") or "")
    assert key in (settings_named(f"api_server.py: error: argument --{name}/--no-{name}: ignored explicit argument '{value}'") or "")  # fmt: skip


def validated(of: str, *fields: tuple[str, str, str, str]) -> list[str]:
    """What pydantic 2 writes below a traceback, of (field, message, kind, value)."""
    head = f"validation error{'s' * (len(fields) > 1)} for {of}"
    text = [f"pydantic_core._pydantic_core.ValidationError: {len(fields)} {head}"]
    for field, message, kind, value in fields:
        text += [field, f"  {message} [type={kind}, input_value={value}, input_type=x]"]
        text += [f"    For further information visit https://errors.pydantic.dev/2.14/v/{kind}"]
    frames = ["Traceback (most recent call last):", '  File "a.py", line 1, in b', "    c()"]
    return [f"(APIServer pid=7) {line}" for line in [*frames, *text]]


AT_LEAST_ONE = "Input should be greater than or equal to 1", "greater_than_equal"


def test_what_pydantic_refuses_is_named_with_what_it_got_and_takes() -> None:
    found = explain(validated("SchedulerConfig", ("max_num_seqs", *AT_LEAST_ONE, "0")), 1)
    assert found.meaning == (
        "engine_args.max_num_seqs is 0 (it should be greater than or equal to 1): correct it, or leave it out"
    )
    assert found.sure and found.hint == "engine-validation"


def test_all_refused_fields_are_named() -> None:
    meaning = (
        explain(
            validated(
                "SchedulerConfig", ("max_num_seqs", *AT_LEAST_ONE, "0"), ("max_num_batched_tokens", *AT_LEAST_ONE, "-3")
            ),
            1,
        ).meaning
        or ""
    )
    assert "engine_args.max_num_seqs is 0" in meaning and "engine_args.max_num_batched_tokens is -3" in meaning


def test_a_field_inside_an_option_is_named_with_it() -> None:
    meaning = (
        explain(
            validated(
                "KVTransferConfig", ("kv_role", "Input should be 'kv_both' or 'kv_producer'", "literal_error", "'both'")
            ),
            1,
        ).meaning
        or ""
    )
    assert meaning.startswith("engine_args.kv_transfer_config.kv_role is 'both' (it should be 'kv_both' or")
    missing = explain(validated("KVTransferConfig", ("kv_role", "Field required", "missing", "{}")), 1).meaning or ""
    assert missing.startswith("engine_args.kv_transfer_config.kv_role is missing")


def test_a_field_of_the_models_own_config_is_no_option() -> None:
    assert (
        settings_named(
            "\n".join(
                validated("AcmeTextConfig", ("hidden_size", "Input should be a valid integer", "int_parsing", "'many'"))
            )
        )
        is None
    )


def test_the_engines_own_sentence_behind_pydantics_head_is_read() -> None:
    said = [
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for VllmConfig",
        "  Value error, More than one of the experts requires --enable-expert-parallel [type=value_error, input_value=ArgsKwargs(()), input_type=ArgsKwargs]",
    ]
    found = explain(["Traceback (most recent call last):", '  File "a.py", line 1, in b', "    c()", *said], 1)
    assert found.hint == "own-words" and "engine_args.enable_expert_parallel" in (found.meaning or ""), found


@given(text=st.text(max_size=400))
def test_any_text_is_read_without_an_error(text: str) -> None:
    settings_named("x: error: argument --a: " + text)
    settings_named("1 validation error for CacheConfig\n" + text)


def test_a_value_of_the_wrong_kind_as_a_whole_is_named() -> None:
    lines = [
        "api_server.py: error: argument --compilation-config/-O: 1 validation error for CompilationConfig",
        "  Input should be an object [type=dataclass_type, input_value=3, input_type=int]",
    ]
    found = explain(lines, 2)
    assert found.meaning == "engine_args.compilation_config is 3 (it should be an object): correct it, or leave it out"


def test_what_took_the_place_of_a_dropped_option_is_told_and_is_one() -> None:
    options = json.loads((ROOT / "planning/vllm_options.json").read_text())["options"]
    for old, new in SUCCESSORS.items():
        assert options[old][-1][2] is not None, "it was not dropped"
        assert all(options[name][-1][2] is None for name in new.split(" and ") if name)
        found = explain([f"vllm: error: unrecognized arguments: --{old.replace('_', '-')} odd"], 2)
        assert (found.hint, found.sure) == ("unknown-option", True)
        assert (f"set {new} in its place" if new else "leave it out, nothing took its place") in (found.meaning or "")
    sglang = explain(["launch_server.py: error: unrecognized arguments: --task odd"], 2)
    assert "runner" not in (sglang.meaning or "") and sglang.hint == "unknown-option"
