"""Engine options: one spelling, names that the version knows, values in the engine's forms, and what each engine is handed."""

from __future__ import annotations

import datetime
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import load
from hypothesis import given
from hypothesis import strategies as st
from tables import TABLES

p = load("filter_plugins/plan.py")
load("filter_plugins/container.py")
from planning import engines, option_forms, options  # noqa: E402
from planning.rows import Faults  # noqa: E402

ROWS = {name: engines.check_engine(name, row) for name, row in TABLES["engines"].items()}
OPTIONS = {name: row["options"] for name, row in ROWS.items()}
_, VERSIONS, CATALOGUE = options.table_of("vllm")


def checked(args: dict[str, Any], version: str | None = "0.32.0", engine: str = "vllm") -> dict[str, Any]:
    args = options.common("here", options.spell("here", args), OPTIONS[engine])
    return options.check_options("here", args, version, OPTIONS[engine], ROWS[engine]["title"])[0]


def refusal(args: dict[Any, Any], version: str | None = "0.32.0", engine: str = "vllm") -> str:
    with pytest.raises(Faults) as error:
        checked(args, version, engine)
    return str(error.value)


@pytest.mark.parametrize(
    "name",
    [
        "max_model_len",
        "max-model-len",
        "--max-model-len",
        "--max_model_len",
        "maxModelLen",
        "MaxModelLen",
        "MAX_MODEL_LEN",
        "max_model-len",
    ],
)
def test_one_spelling(name: str) -> None:
    assert options.spell("here", {name: 1}) == {"max_model_len": 1}


@pytest.mark.parametrize(
    ("name", "whole"),
    [
        ("tp", "tensor_parallel_size"),
        ("-dp", "data_parallel_size"),
        ("--dpl", "data_parallel_size_local"),
        ("-dpr", "data_parallel_start_rank"),
        ("-cc", "compilation_config"),
        ("-r", "node_rank"),
        ("cc.mode", "compilation_config.mode"),
    ],
)
def test_a_short_form_is_the_option_that_it_stands_for(name: str, whole: str) -> None:
    assert options.spell("here", {name: 2}) == {whole: 2}


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"max-model-len": 1, "max_model_len": 2}, ["'max-model-len' and 'max_model_len'", "keep one"]),
        ({"enable_lora": True, "no-enable-lora": True}, ["'enable_lora' and 'no-enable-lora'"]),
        ({"no_enable_lora": "x"}, ["engine_args.no_enable_lora", "true or false"]),
        ({1: 2}, ["engine_args.1 is no name"]),
        ({"": 2}, ["is no name"]),
        ({"max model len": 2}, ["is no name"]),
        ({"x; touch f #": 2}, ["is no name"]),
        ({"x\ny": 2}, ["is no name"]),
    ],
)
def test_what_is_no_name_or_stands_twice_is_refused(args: dict[Any, Any], words: list[str]) -> None:
    text = refusal(args)
    for word in words:
        assert word in text


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("host", "'address'"), ("port", "'port'"), ("--served-model-name", "'served_name'"), ("model", "'model'"), ("api-key", "'api_key'"),
        ("ssl_keyfile", "proxy"), ("ssl-certfile", "proxy"), ("uds", "'address'"), ("config", "engine_args"), ("middleware", "key"),
        ("root_path", "proxy"), ("headless", "'hosts'"), ("shutdown_timeout", "'drain_timeout'"), ("grpc", "'port'"), ("hf_token", "fetch"),
        ("disable_fastapi_docs", "sets it"), ("no_disable_fastapi_docs", "sets it"), ("host.x", "'address'"),
        ("hos", "'address'"), ("por", "'port'"), ("api_k", "'api_key'"), ("served-model", "'served_name'"), ("ssl_k", "proxy"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("version", ["0.8.5", "0.32.0", None])
def test_what_a_key_of_the_row_stands_for_is_refused(name: str, remedy: str, version: str | None) -> None:
    """Abbreviations too: argparse takes them."""
    text = refusal({name: True}, version)
    assert "can't be set there" in text and remedy in text


@pytest.mark.parametrize("version", ["0.32.0", None, "9.9.9"])
@pytest.mark.parametrize(
    ("name", "whole", "engine"),
    [("tensor-parallel", "tensor_parallel_size", "vllm"), ("data_parallel", "data_parallel_size", "vllm"),
     ("kv-cache-memory", "kv_cache_memory_bytes", "vllm"),
     ("gpu_memory", "gpu_memory_utilization", "vllm"), ("context_len", "context_length", "sglang"), ("mem-fraction", "mem_fraction_static", "sglang")],
)  # fmt: skip
def test_what_the_plan_counts_by_is_written_out(name: str, whole: str, engine: str, version: str | None) -> None:
    """An engine of any version takes the abbreviation, and the plan would not."""
    assert f"engine_args.{name.replace('-', '_')} is short for {whole}" in refusal({name: 2}, version, engine)


@pytest.mark.parametrize(
    ("name", "version", "words"),
    [
        ("max_modle_len", "0.32.0", ["vLLM 0.32.0", "did you mean 'max_model_len'?"]),
        ("hots", "0.32.0", ["if it is to be host, use the row's key 'address'"]),
        ("swap_space", "0.32.0", ["vLLM had it until 0.17.0"]),
        ("kv_cache_memory_bytes", "0.8.5", ["vLLM has it since 0.10.2"]),
        ("tpx", "0.25.1", ["no option of vLLM 0.25.1"]),
        ("max_modle_len", "0.24.0", ["vLLM 0.24.0", "did you mean"]),  # between two that were read
    ],
)
def test_a_name_that_the_version_lacks_is_refused(name: str, version: str, words: list[str]) -> None:
    text = refusal({name: 1}, version)
    for word in words:
        assert word in text


@pytest.mark.parametrize("version", [None, "0.34.0", "1.2.0", "0.6.1"])
def test_where_the_version_is_not_known_a_wrong_name_is_a_warning(version: str | None) -> None:
    args, warnings = options.check_options("here", {"max_modle_len": 1, "max_model_len": 5}, version, OPTIONS["vllm"])
    assert args == {"max_modle_len": 1, "max_model_len": 5}
    assert len(warnings) == 1 and "did you mean 'max_model_len'?" in warnings[0]


@pytest.mark.parametrize(
    ("value", "number"),
    [("32k", 32000), ("32K", 32768), ("1.5m", 1_500_000), ("256M", 268_435_456), ("1g", 10**9), ("2T", 2 << 40), ("4096", 4096), (7, 7),
     (" 8k ", 8000), ("25.6k", 25600)],
)  # fmt: skip
def test_numbers_are_read_as_the_engine_reads_them(value: Any, number: int) -> None:
    for name in ("max_model_len", "kv_cache_memory_bytes", "max_num_batched_tokens", "tensor_parallel_size"):
        assert checked({name: value})[name] == number


@pytest.mark.parametrize("value", ["auto", "AUTO", "-1", -1])
def test_a_length_that_the_engine_finds_is_minus_one(value: Any) -> None:
    assert checked({"max_model_len": value})["max_model_len"] == -1
    assert "since 0.14.0; write a number" in refusal({"max_model_len": value}, "0.9.2")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"max_model_len": "1.5M"}, "write a whole number, or 1.5m"),
        ({"max_model_len": "32 kB"}, "such as 32768, 32k (32000) or 32K (32768)"),
        ({"kv_cache_memory_bytes": "16GiB"}, "whole number"),
        ({"kv_cache_memory_bytes": "auto"}, "whole number"),
        ({"max_num_seqs": True}, "whole number"),
        ({"max_num_seqs": 1.5}, "whole number"),
        ({"max_num_seqs": [1]}, "whole number"),
        ({"tensor_parallel_size": 0}, "1 or more"),
        ({"pipeline_parallel_size": -2}, "1 or more"),
        ({"gpu_memory_utilization": 1.5}, "above 0 and up to 1"),
        ({"gpu_memory_utilization": "90%"}, "above 0 and up to 1"),
        ({"enforce_eager": 3}, "true or false"),
        ({"revision": datetime.date(2025, 1, 1)}, "a date that no file of options holds; quote it"),
        ({"chat_template": "a\x7fb"}, "leave out control characters"),
        ({"dtype": False}, "is false for YAML"),
        ({"limit_mm_per_prompt": "image=1"}, "write a mapping, such as {image: 1}"),
        ({"hf_overrides": {"a": [float("inf")]}}, "quote it"),
        ({"hf_overrides": {True: "no"}}, "quote it"),  # the key `yes`, as YAML reads it
        ({"dtype": "bf16"}, "did you mean 'bfloat16'?"),
        ({"dtype": 16}, "engine_args.dtype is 16; there are: auto"),
        (
            {"speculative_config.method": "ngram", "sc": {"model": "x"}},
            "write 'speculative_config.method' inside of 'speculative_config'",
        ),
        ({"limit_mm_per_prompt": '{"image": 1'}, "is no JSON"),
        ({"limit_mm_per_prompt": "[" * 100_000}, "is no JSON: it is nested too deep"),
    ],
)
def test_values_that_the_engine_would_refuse(args: dict[str, Any], words: str) -> None:
    assert words in refusal(args)


def test_all_faults_come_at_once() -> None:
    text = refusal({"max_model_len": "x", "host": "0.0.0.0", "max_modle_len": 1})
    assert len(text.splitlines()) == 3


def record(args: dict[str, Any], version: str | None, engine: str = "vllm") -> dict[str, Any]:
    """What a rendered form reads of a service's record."""
    return {"engine_args": args, "options_version": version, "engine_facts": {"options": OPTIONS[engine]}}


def handed(args: dict[str, Any], version: str | None) -> dict[str, Any]:
    """What the engine's file of options holds."""
    return option_forms.options_file(record(checked(args, version), version))


@pytest.mark.parametrize(
    ("args", "version", "found"),
    [
        ({"enforce-eager": False}, "0.32.0", {"no-enforce-eager": True}),
        ({"enforce-eager": False}, "0.8.5", {}),  # there it is a flag, and off
        ({"enforce-eager": False}, None, {}),
        ({"enforce-eager": "false"}, "0.32.0", {"no-enforce-eager": True}),
        ({"no_enable_prefix_caching": True}, "0.23.0", {"no-enable-prefix-caching": True}),
        ({"no_enable_prefix_caching": False}, "0.23.0", {"enable-prefix-caching": True}),
        ({"enable_chunked_prefill": False}, "0.7.3", {"enable-chunked-prefill": "false"}),
        ({"enable_chunked_prefill": False}, "0.9.2", {"no-enable-chunked-prefill": True}),
        ({"limit_mm_per_prompt": {"image": 1, "video": 2}}, "0.8.4", {"limit-mm-per-prompt": "image=1,video=2"}),
        ({"enable_chunked_prefill": False}, "0.8.4", {"enable-chunked-prefill": "false"}),
        ({"enable_chunked_prefill": False}, "0.8.5", {"no-enable-chunked-prefill": True}),
        ({"limit_mm_per_prompt": {"image": 1}}, "0.9.2", {"limit-mm-per-prompt": '{"image": 1}'}),
        ({"limit_mm_per_prompt": '{"image": 1}'}, "0.32.0", {"limit-mm-per-prompt": '{"image": 1}'}),
        ({"allowed_media_domains": ["a.b", "c.d"]}, "0.32.0", {"allowed-media-domains": ["a.b", "c.d"]}),
        ({"allowed_media_domains": ["a.b"]}, "0.32.0", {"allowed-media-domains": "a.b"}),
        ({"allowed_origins": ["*"]}, "0.32.0", {"allowed-origins": '["*"]'}),
        ({"lora_modules": [{"name": "a", "path": "/l"}, "b=/m"]}, "0.32.0", {"lora-modules": ['{"name": "a", "path": "/l"}', "b=/m"]}),
        ({"lora_modules": {"name": "a", "path": "/l"}}, "0.32.0", {"lora-modules": '{"name": "a", "path": "/l"}'}),
        ({"compilation_config": {"a": [1, {"b": True}], "c": None}}, "0.14.0", {"compilation-config": '{"a": [1, {"b": true}], "c": null}'}),
        ({"compilation_config.level": 3}, "0.32.0", {"compilation-config.level": 3}),
        ({"kv_cache_memory_bytes": "256M"}, "0.32.0", {"kv-cache-memory-bytes": 268435456}),
        ({"seed": 0}, "0.32.0", {"seed": 0}),
    ],
)  # fmt: skip
def test_what_the_engines_file_holds(args: dict[str, Any], version: str | None, found: dict[str, Any]) -> None:
    assert handed(args, version) == found


def test_a_list_of_several_where_one_word_is_read_is_refused() -> None:
    assert "takes one word" in refusal({"served_lora": [1]} | {"lora_modules": ["a=/a", "b=/b"]}, "0.9.2")
    assert "FlagScale takes one word" in refusal({"allowed_media_domains": ["a", "b"]}, "0.11.2", "flagscale")
    assert checked({"lora_modules": ["a=/a", "b=/b"]}, "0.7.3", "mindspore")


def test_a_command_line_has_words_and_nothing_of_python() -> None:
    args = {
        "enable_lora": True,
        "lora_modules": ["a=/a b", {"name": "x"}],
        "seed": 1,
        "hf_overrides": {"a": [True]},
        "enforce_eager": False,
    }
    service = record(checked(args, "0.7.3", "mindspore"), "0.7.3", "mindspore")
    assert option_forms.command_line(service) == [
        ["--enable-lora"], ['--hf-overrides={"a": [true]}'], ["--lora-modules", "a=/a b", '{"name": "x"}'], ["--seed=1"],
    ]  # fmt: skip


def test_the_catalogue_is_whole() -> None:
    for name in (
        "model",
        "host",
        "port",
        "api_key",
        "served_model_name",
        "max_model_len",
        "tensor_parallel_size",
        "dtype",
    ):
        assert CATALOGUE[name][0][1] == VERSIONS[0] and CATALOGUE[name][-1][2] is None, name
    for name, rows in CATALOGUE.items():
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name) and not name.startswith("no_")
        for kind, first, last in rows:
            assert kind in ("flag", "switch", "bool", "int", "list", "json", "value") and kind in (
                options.__doc__ or ""
            )
            assert first in VERSIONS and (last is None or last in VERSIONS)
    for version in VERSIONS:
        assert len(options.known_options("vllm", version)) > 120
    reserved = [name for name in OPTIONS["vllm"]["reserved"] if not name.endswith("*")]
    assert all(name in CATALOGUE or name in ("model_tag",) for name in reserved)
    assert all(name in CATALOGUE for name in (*options.COUNTS, OPTIONS["vllm"]["share"]))


def test_the_catalogue_is_what_the_script_makes_of_it() -> None:
    script = load("scripts/engine_options.py")
    assert script.spans(script.expand({"versions": VERSIONS, "options": CATALOGUE})) == CATALOGUE


def test_the_script_reads_options_from_sources(tmp_path: Path) -> None:
    """The forms in which vLLM has declared them over time."""
    script = load("scripts/engine_options.py")
    engine, front = tmp_path / "vllm/engine/arg_utils.py", tmp_path / "vllm/entrypoints/openai/cli_args.py"
    for path in (engine, front):
        path.parent.mkdir(parents=True)
    (tmp_path / "vllm/config").mkdir()
    (tmp_path / "vllm/config/model.py").write_text(
        "class Base:\n    seed: int | None = None\n"
        "class M(Base):\n    eager: bool = False\n    kw: Optional[dict[str, int]] = None\n    many: list[str] = []\n"
        "    cfg: InitVar[SomeConfig | None] = None\n    kind: Literal['a', 'b'] = 'a'\n"
    )
    engine.write_text(
        "def add_cli_args(parser):\n    m_kwargs = get_kwargs(M)\n    g.add_argument('--seed', **m_kwargs['seed'])\n"
        "    g.add_argument('--eager', '-e', **{**m_kwargs['eager'], 'default': None})\n    g.add_argument('--kw', **m_kwargs['kw'])\n"
        "    g.add_argument('--many', '--more', **m_kwargs['many'])\n    g.add_argument('--cfg', **m_kwargs['cfg'])\n"
        "    g.add_argument('--kind', **m_kwargs['kind'])\n    g.add_argument('--flag', action='store_true')\n"
        "    g.add_argument('--old', action=StoreBoolean, nargs='?')\n    g.add_argument('--tag', nargs='+')\n"
    )
    front.write_text(
        "class FrontendArgs:\n    host: str | None = None\n    port: int = 1\n    origins: list[str] = []\n"
        "    def f(self):\n        frontend_kwargs['origins']['type'] = json.loads\n"
    )
    assert script.options(tmp_path) == {
        "seed": "int", "eager": "switch", "kw": "json", "many": "list", "more": "list", "cfg": "json", "kind": "value", "flag": "flag",
        "old": "bool", "tag": "list", "host": "value", "port": "int", "origins": "json",
    }  # fmt: skip


def test_the_versions_of_our_locks_and_variants_are_listed() -> None:
    for lock in ("vllm-cpu.lock", "vllm-gpu.lock"):
        version = options.locked_version(lock)
        assert version and options.is_read("vllm", version)
    for engine, row in ROWS.items():
        for name, about in row["versions"].items():
            assert not about["options"] or options.is_read(row["options"]["table"], about["options"]), (engine, name)


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("vllm/vllm-openai:v0.33.0", "0.33.0"),
        ("registry.example:5000/mirror/vllm-openai:0.9.2@sha256:0", "0.9.2"),
        ("docker.io/vllm/vllm-openai:latest", None),
        ("mine:v0.9.2", None),
    ],
)
def test_an_images_tag_names_the_version(image: str, version: str | None) -> None:
    service = {"runtime": "container", "image": image, "engine": "vllm", "engine_version": None, "native_env": None}
    assert options.version_of(service, ROWS["vllm"], {"vllm": {"file": "vllm-cpu.lock"}}) == version


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(args=st.dictionaries(st.sampled_from(sorted(CATALOGUE)) | st.text(max_size=8), values, max_size=4),
       version=st.sampled_from([*VERSIONS, None]), engine=st.sampled_from(["vllm", "flagscale", "mindspore"]))  # fmt: skip
def test_any_options_give_plain_words_or_a_refusal(args: dict[str, Any], version: str | None, engine: str) -> None:
    try:
        found = checked(args, version, engine)
    except Faults:
        return
    service = record(found, version, engine)
    for rendered in (option_forms.options_file(service), option_forms.options_mapping(service)):
        assert yaml.safe_load(json.dumps(rendered, ensure_ascii=False)) == json.loads(json.dumps(rendered))
        for value in rendered.values():
            items = value if isinstance(value, list) else [value]
            assert all(item is True or (isinstance(item, str | int | float) and item is not False) for item in items)
    assert all(isinstance(word, str) for words in option_forms.command_line(service) for word in words)
