"""Filter `plan`: merging in one direction, and no typo passes."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from conftest import load
from hypothesis import given
from hypothesis import strategies as st
from tables import TABLES, small

from planning.keys import SERVICE
from planning.rows import GONE, as_shown, merge

p = load("filter_plugins/plan.py")

BOARD = {"name": "local", "vendor": "cpu", "engine": "vllm", "runtime": "native", "dtypes": ["bfloat16"]}
GPU = {"name": "h100", "vendor": "nvidia", "engine": "vllm", "runtime": "container", "image": "x@sha256:0", "count": 8}
MODELS = {"demo": {"sources": {"directory": {"path": "/m"}}, "bytes": 10, "license": "apache-2.0"}}
SERVICES = {"demo": {"model": "demo", "port": 8000}}


def plan(runs: Any = ("demo",), **changes: Any) -> list[dict[str, Any]]:
    rows = [changes.pop(name, value) for name, value in (("services", SERVICES), ("models", MODELS), ("board", BOARD))]
    given = {**small(*rows), "host": "box", **changes}
    return list(p.plan(list(runs) if isinstance(runs, tuple) else runs, **given))


def refusal(**changes: Any) -> str:
    runs = changes.pop("runs", ("demo",))
    with pytest.raises(AnsibleFilterError) as error:
        plan(runs, **changes)
    return str(error.value)


def service(**changes: Any) -> dict[str, Any]:
    return {"demo": {**SERVICES["demo"], **changes}}


@pytest.mark.parametrize("patterns", [[""], [7], [["*.bin"]]])
@pytest.mark.parametrize("key", ["include", "exclude"])
def test_patterns_of_files_are_checked(key: str, patterns: list[Any]) -> None:
    assert f"'{key}' has" in refusal(models={"demo": {**MODELS["demo"], key: patterns}})
    record = plan(models={"demo": {**MODELS["demo"], key: ["original/*"]}})[0]
    assert record["model"][key] == ["original/*"] and plan()[0]["model"][key] == []


def test_a_record_is_closed_and_has_what_follows_from_the_row() -> None:
    record = plan()[0]
    assert set(record) == {
        *SERVICE, "service", "host", "board", "kind", "endpoint", "devices_given", "widths", "utilization", "memory_bytes",
        "engine_facts", "options_version", "notes", "replica_of", "choice", "group",
    }  # fmt: skip
    assert record["endpoint"] == "http://127.0.0.1:8000"
    assert record["served_name"] == "demo"
    assert record["model"]["name"] == "demo"
    assert record["devices"] is None


def test_the_inventory_of_the_project_plans() -> None:
    record = p.plan(["demo"], TABLES, "local")[0]
    assert record["port"] == 8000
    assert record["served_name"] == "demo"
    assert record["engine_args"]["enforce_eager"] is True
    assert record["engine_args"]["kv_cache_memory_bytes"] > 0
    assert record["env"]["OMP_NUM_THREADS"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"runs": ("demmo",)}, ["host box", "service 'demmo'", "services.yml", "did you mean 'demo'?"]),
        ({"services": service(model="demi")}, ["host box", "model 'demi'", "models.yml", "did you mean 'demo'?"]),
        ({"services": service(boards=["h100-*", "h200"])}, ["is for the boards h100-*, h200", "the host's is 'local'"]),
        ({"services": service(boards="local")}, ["'boards' is 'local', but must be a list"]),
        ({"services": service(hardware="local")}, ["key 'hardware' is gone; write the boards"]),
        ({"services": service(prt=1)}, ["unknown key 'prt'", "did you mean 'port'?"]),
        ({"services": service(port=99999)}, ["'port' is 99999", "1 to 65535"]),
        ({"services": service(port=True)}, ["'port' is True"]),
        ({"services": {"demo": {"model": "demo"}}}, ["'port' must be set"]),
        ({"services": service(engine="vlm")}, ["'vlm'", "did you mean 'vllm'?"]),
        ({"services": service(runtime="container")}, ["needs 'image'"]),
        ({"services": service(devices=[0])}, ["counts no devices"]),
        ({"services": {"demo": None}}, ["service 'demo'", "must be a mapping"]),
        ({"models": {"demo": {"sources": {"hub": {}}, "bytes": 1, "license": "x"}}}, ["'sources' is 'hub'"]),
        ({"models": {"demo": {"sources": {}, "license": "x"}}}, ["'bytes' must be set"]),
        ({"board": {**BOARD, "kind": "abacus"}}, ["'abacus'", "cpu, gpu, npu"]),
        ({"board": {**BOARD, "colour": 1}}, ["boards.yml: board 'local'", "unknown key 'colour'"]),
        ({"board": {**BOARD, "memory_share": 1.5}}, ["'memory_share' is 1.5, but must be a number above 0, at most 1"]),
        ({"board": {**BOARD, "name": "a b/.."}}, ["boards.yml: board 'a b/..' is no name"]),
        ({"board": {**BOARD, "native_locks": {"vllm": "x.lock"}}}, ["native_locks.vllm is 'x.lock'"]),
        ({"board": {**BOARD, "vendor": "nvidea"}}, ["'vendor' is 'nvidea'", "did you mean 'nvidia'?"]),
        ({"board": {**BOARD, "engines": {"vlm": {}}}}, ["'engines' is 'vlm'", "did you mean 'vllm'?"]),
        ({"board": {**BOARD, "engines": {"vllm": {"imge": "x"}}}}, ["engines.vllm: unknown key 'imge'", "'image'"]),
        ({"board": {**BOARD, "dtypes": ["float16"]}}, ["bfloat16", "float16 only", "convert: float16"]),
        ({"overrides": {"demmo": {}}}, ["overrides", "'demmo'", "did you mean 'demo'?"]),
        ({"overrides": {"demo": {"prot": 1}}}, ["overrides", "unknown key 'prot'", "did you mean 'port'?"]),
        ({"runs": ("demo", "demo")}, ["demo more than once"]),
        ({"runs": "demo"}, ["'runs' is 'demo'", "a list"]),
    ],
)
def test_refusals_name_host_value_and_the_nearest_candidate(changes: dict[str, Any], words: list[str]) -> None:
    text = refusal(**changes)
    for word in words:
        assert word in text


def model(**changes: Any) -> dict[str, Any]:
    return {"demo": {**MODELS["demo"], **changes}}


CONTAINER = {"runtime": "container", "image": "x@sha256:0"}
BAD_ROWS: list[tuple[dict[str, Any], str]] = [
    (service(engine_args={"host": "0.0.0.0"}, api_key=False), "engine_args.host can't be set there; use the row's key 'address'"),
    (service(engine_args={"max-model-len": 1, "max_model_len": 2}), "which are one option; keep one of them"),
    (service(engine_args={"max_model_len": "32 kilo"}), "engine_args.max_model_len is '32 kilo', but must be a whole number"),
    (service(engine_args={"tensor_parallel_size": "two"}), "engine_args.tensor_parallel_size is 'two'"),
    (service(engine_args=[1]), "'engine_args' is [1], but must be a mapping"),
    (service(env={"my-var": "1"}), "env.my-var is no name of a variable"),
    (service(env={"X; touch f #": "1"}), "is no name of a variable"),
    (service(env={"A": [1]}), "env.A is a list, but must be text"),
    (service(secret_env={"HF_TOKEN": "short"}), "secret_env.HF_TOKEN must have at least 8 characters"),
    (service(secret_env=["hunter2-hunter2"]), "'secret_env' is a list, but must be a mapping of names to secrets"),
    (service(address=8), "'address' is 8, but must be text; quote it"),
    (service(address="nowhere at all"), "which is no address"),
    (service(native_env="~/venv"), "nothing expands '~' there"),
    (service(native_env="venv"), "must be an absolute path"),
    (service(flaggems={"allow": "mm"}), "with names of operators"),
    (service(flaggems={"deny": [1]}), "with names of operators"),
    (service(flaggems={"deny": ["mm,add"]}), "with names of operators"),
    (service(device_access="all"), "'device_access' is 'all'; there are: cdi, nodes"),
    (service(ready_timeout=0), "must be a whole number of seconds, 1 or more"),
    (service(shm_bytes=2**63), "must be a whole number, 0 or more"),
    (service(served_name="a\nb"), "no line breaks"),
    (service(env={"here": "/tmp"}), "env.here can't be set there"),
    (service(env={"SHELLOPTS": "xtrace"}), "env.SHELLOPTS can't be set there"),
    (service(engine_args={"max_model_len": "1" * 5000}), "more than any engine can count"),
    (service(engine_args={"kv_cache_memory_bytes": 10**25}), "more than any engine can count"),
    (service(engine_args={"tp": 2, "tensor_parallel_size": 2}), "which are one option; keep one of them"),
    (service(served_name=7), "'served_name' is 7, but must be text; quote it"),
    (service(engine_version=0.32), "'engine_version' is 0.32, but must be text; quote it"),
    (service(flaggems={"allow": [], "deny": []}), "true, false, {allow: [...]} or {deny: [...]}"),
    (service(check={"prompt": "x", "expect": 172}), "check.expect is 172, but must be text; quote it"),
    (service(**CONTAINER, mounts=["/:/host"]), "add 'mount:/' to rights"),
    (service(**CONTAINER, mounts=["data:/data"]), "whose source is no absolute path"),
    (service(**CONTAINER, rights=["privileged"]), "right 'privileged' is unknown; there are writable-root"),
    (service(**{**CONTAINER, "image": "a b"}), "must be like registry/name:tag@sha256:digest"),
    (service(device_nodes=["davinci0"]), "must have paths below /dev"),
]  # fmt: skip


@pytest.mark.parametrize(("services", "sentence"), BAD_ROWS, ids=lambda v: str(v)[:60])
def test_a_bad_row_is_a_sentence(services: dict[str, Any], sentence: str) -> None:
    """The same for a row that no host runs."""
    text = refusal(services=services)
    assert sentence in text and "'demo'" in text and len(text.splitlines()) == 1
    assert "hunter2" not in text and "short" not in text
    assert sentence in "\n".join(p.table_faults(small(services, MODELS, BOARD)["tables"]))


@pytest.mark.parametrize(
    ("models", "sentence"),
    [
        (model(sources={"huggingface": {"repo": "a/b", "revision": 12}}), "sources.huggingface.revision is 12"),
        (model(sources={"huggingface": {"org/names": "a/b"}}), "unknown key 'org/names'"),
        (model(shape={"layers": "2"}), "shape.layers is '2', but must be a whole number above 0"),
        (model(shape={"kv_heads": 0}), "shape.kv_heads is 0"),
        (model(dtype="int8"), "'dtype' is 'int8'"),
        ({**MODELS, "Demo": MODELS["demo"]}, "models 'demo' and 'Demo' differ only in case"),
        ({**MODELS, 7: MODELS["demo"]}, "model 7 is a int for YAML; quote the name"),
    ],
    ids=lambda v: str(v)[:60],
)
def test_a_bad_model_is_a_sentence_whether_a_service_wants_it_or_not(models: dict[Any, Any], sentence: str) -> None:
    assert sentence in "\n".join(p.table_faults(small({}, models, BOARD)["tables"]))


def test_a_row_that_no_host_runs_is_read_for_the_boards_that_it_is_for() -> None:
    rows = {
        "a": {"model": "demo", "boards": ["h100-sxm"], "port": 1, "engine_args": {"host": "x"}, "env": {"a-b": 1}},
        "b": {"model": "demmo", "boards": ["h100-sxm"], "port": 1},
        "c": {"model": "demo", "boards": ["h100-sxn"], "port": 1},
        "d": {"model": "demo", "boards": ["h100-sxm"]},
        "e": {"model": "demo", "port": 1, "device_access": "all"},  # on no board of all these
        "f": {"model": "demo", "port": 1, "engine": "vllm_ascend", "image": "x@sha256:0", "runtime": "container"},
    }
    text = "\n".join(p.table_faults({**TABLES, "services": rows, "models": MODELS}))
    for words in (
        "env.a-b",
        "did you mean 'demo'?",
        "did you mean 'h100-sxm'?",
        "'d': 'port' must be set",
        "'e': 'device_access'",
    ):
        assert words in text
    assert "'f'" not in text
    wide = {"a": {"model": "demo", "boards": ["a10"], "port": 1, "engine_args": {"tensor_parallel_size": 8}}}
    # Whether it fits is a question of the host that runs it.
    assert p.table_faults({**TABLES, "services": wide, "models": MODELS}) == []


def test_all_faults_of_a_host_come_at_once_one_line_each() -> None:
    services = {
        **service(env={"a-b": 1}, engine_args={"port": 1}),
        "x": {"model": "demo", "port": 9, "adress": 1},
    }
    text = refusal(runs=("demo", "x", "y"), services=services)
    assert [
        words in line
        for words, line in zip(("engine_args.port", "env.a-b", "'adress'", "'y'"), text.splitlines(), strict=True)
    ] == [True] * 4


def test_secrets_are_in_no_record() -> None:
    services = service(secret_env={"HF_TOKEN": "hunter2-hunter2"})
    overrides = {"demo": {"secret_env": {"OTHER_TOKEN": "hunter3-hunter3"}}}
    found = p.planned(["demo"], **small(services, MODELS, BOARD), overrides=overrides)
    assert found["services"][0]["secret_env"] == ["HF_TOKEN", "OTHER_TOKEN"]
    assert "hunter" not in str(found["services"]) + str(found["faults"])
    assert found["secrets"] == {"demo": {"HF_TOKEN": "hunter2-hunter2", "OTHER_TOKEN": "hunter3-hunter3"}}


@pytest.mark.parametrize("value", ["flase", "", 2, None, [True]])
def test_a_switch_is_true_or_false(value: Any) -> None:
    assert "'manage_driver' is" in refusal(switches={"manage_driver": value})


@pytest.mark.parametrize("value", [True, False, "true", "False", "no", "ON", "0", 1])
def test_a_switch_may_be_text(value: Any) -> None:
    assert plan(switches={"manage_driver": value})


def test_paths_of_a_host_are_checked_with_its_plan() -> None:
    assert "'serving_root' is '/a b' with white space" in refusal(paths={"serving_root": "/a b"})


@pytest.mark.parametrize(
    ("address", "endpoint"),
    [("::1", "http://[::1]:8000"), ("[::1]", "http://[::1]:8000"), ("gpu-1", "http://gpu-1:8000")],
)
def test_an_address_becomes_a_url(address: str, endpoint: str) -> None:
    assert plan(services=service(address=address))[0]["endpoint"] == endpoint


def test_two_services_on_one_port_are_refused_with_both_names() -> None:
    services = {**SERVICES, "other": {"model": "demo", "port": 8000}}
    text = refusal(runs=("demo", "other"), services=services)
    assert "'demo' and 'other' both use port 8000" in text


def test_merge_order_is_board_service_override() -> None:
    low = {"max_num_seqs": 1, "max-model-len": 1, "--block-size": 16}
    board = {**BOARD, "engine_args": low, "env": {"X": "1"}, "mounts": ["/a:/a"]}
    services = service(engine_args={"max_model_len": "2k", "block_size": 32}, mounts=["/b:/b"])
    record = plan(board=board, services=services, overrides={"demo": {"engine_args": {"block-size": 64}}})[0]
    assert record["engine_args"] == {"max_num_seqs": 1, "max_model_len": 2000, "block_size": 64}
    assert record["mounts"] == ["/b:/b"]
    assert record["env"] == {"X": "1"}


NULLS: list[tuple[dict[str, Any], dict[str, Any], str, Any]] = [
    ({"activate": "source /x"}, {"activate": None}, "activate", None),
    ({"shm_bytes": 1 << 30}, {"shm_bytes": None}, "shm_bytes", None),
    ({"mounts": ["/a:/a"]}, {"mounts": None}, "mounts", []),
    ({"ready_timeout": 5}, {"ready_timeout": None}, "ready_timeout", 600),
    ({"env": {"A": "1", "B": "2"}}, {"env": {"A": None}}, "env", {"B": "2"}),
    ({"env": {"A": "1"}}, {"env": None}, "env", {}),
    ({"engine_args": {"block_size": 16, "seed": 1}}, {"engine_args": {"--block-size": None}}, "engine_args", {"seed": 1}),
    (
        {"engine_args": {"limit_mm_per_prompt": {"image": 1, "video": 1}}},
        {"engine_args": {"limit-mm-per-prompt": {"video": None}}},
        "engine_args",
        {"limit_mm_per_prompt": {"image": 1}},
    ),
    ({"engine_args": {"enable_prefix_caching": True}}, {"engine_args": {"no_enable_prefix_caching": None}}, "engine_args", {}),
]  # fmt: skip


@pytest.mark.parametrize(("low", "high", "key", "value"), NULLS, ids=lambda v: str(v)[:40])
def test_null_removes_what_a_lower_level_gives_at_every_depth(
    low: dict[str, Any], high: dict[str, Any], key: str, value: Any
) -> None:
    """From the accelerator by a service, from a service by an override, and from both by an override."""
    board = {**BOARD, **low}
    assert plan(board=board, services=service(**high))[0][key] == value
    assert plan(services=service(**low), overrides={"demo": high})[0][key] == value
    assert plan(board=board, services=service(**low), overrides={"demo": high})[0][key] == value


def test_null_can_not_remove_what_a_row_needs() -> None:
    assert "'port' must be set" in refusal(overrides={"demo": {"port": None}})
    assert "'model' must be set" in refusal(overrides={"demo": {"model": None}})
    assert "'vendor' must be set" in refusal(board={**BOARD, "vendor": None})


def test_overrides_of_a_service_that_the_host_does_not_run_are_read_too() -> None:
    services = {**SERVICES, "x": SERVICES["demo"]}
    for change, words in (({"prt": 1}, "'prt'"), ({"engine_args": {"a b": 1}}, "a b"), ({"env": {"a-b": 1}}, "a-b")):
        assert words in refusal(services=services, overrides={"x": change})


def test_a_pattern_of_names_that_is_none_is_refused() -> None:
    assert "'H100(', which is no regular expression" in refusal(board={**BOARD, "names": ["H100("]})


def test_a_choice_of_operators_replaces_the_other_choice() -> None:
    record = plan(services=service(flaggems={"allow": ["mm"]}), overrides={"demo": {"flaggems": {"deny": ["add"]}}})[0]
    assert record["flaggems"] == {"deny": ["add"]}


def devices(count: int, *widths: int, **override: Any) -> list[list[int]]:
    services = {
        f"s{i}": {"model": "demo", "port": 9000 + i, "engine_args": {"tensor_parallel_size": w}}
        for i, w in enumerate(widths)
    }
    records = plan(tuple(services), services=services, board={**GPU, "count": count}, overrides=override)
    return [r["devices"] for r in records]


def test_a_conversion_sets_the_type_that_is_computed_in_unless_the_row_says_another() -> None:
    board = {**BOARD, "engine_args": {"dtype": "bfloat16"}}

    def dtype(**changes: Any) -> str:
        return str(plan(board=board, services=service(**changes))[0]["engine_args"]["dtype"])

    assert dtype() == "bfloat16" and dtype(convert=False) == "bfloat16"
    assert dtype(convert="float16") == "float16"
    assert dtype(convert="float16", engine_args={"dtype": "float32"}) == "float32"


def test_devices_are_given_out_in_order() -> None:
    assert devices(8, 2, 4, 2) == [[0, 1], [2, 3, 4, 5], [6, 7]]
    assert devices(8, 2, 2, s1={"devices": [6, 7]}) == [[0, 1], [6, 7]]


def test_devices_over_committed_are_refused_with_who_holds_them() -> None:
    with pytest.raises(
        AnsibleFilterError, match=r"needs 8 devices.*0 of 8 are free.*taken by: s0.*lower tensor_parallel_size"
    ):
        devices(8, 8, 8)
    with pytest.raises(AnsibleFilterError, match="device 1 is already taken by service 's0'"):
        devices(8, 2, 2, s0={"devices": [0, 1]}, s1={"devices": [1, 2]})
    with pytest.raises(AnsibleFilterError, match="device 8 does not exist; this host has 0 to 7"):
        devices(8, 1, s0={"devices": [8]})


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
rows = st.dictionaries(st.sampled_from("abcd"), values, max_size=4)


@given(low=rows, high=rows)
def test_merging_is_one_directional(low: dict[str, Any], high: dict[str, Any]) -> None:
    merged = merge(low, high)
    assert set(merged) <= set(low) | set(high)
    for key, value in high.items():
        if isinstance(value, dict):
            below = low[key] if isinstance(low.get(key), dict) else {}
            assert merged[key] == merge(below, value)
        elif value is not None:
            assert merged[key] == value  # what is higher is never altered by what is lower
        else:
            assert key not in merged  # null removes what was there
    for key in set(low) - set(high):
        assert merged[key] == low[key]
    assert merge(merged, high) == merged  # a second time changes nothing


@given(low=rows, high=rows)
def test_merging_alters_neither_side(low: dict[str, Any], high: dict[str, Any]) -> None:
    import copy

    before = copy.deepcopy((low, high))
    merge(low, high)
    assert (low, high) == before


@given(
    key=st.text(min_size=1, max_size=12).filter(lambda k: k not in SERVICE and k not in GONE),
    value=values,
    where=st.sampled_from("so"),
)
def test_no_unknown_key_passes(key: str, value: Any, where: str) -> None:
    changes = {"services": service(**{key: value})} if where == "s" else {"overrides": {"demo": {key: value}}}
    assert as_shown(f"unknown key '{key}'") in refusal(**changes)


@given(row=st.dictionaries(st.sampled_from(sorted(SERVICE)), values, max_size=6))
def test_any_row_gives_a_record_or_a_refusal(row: dict[str, Any]) -> None:
    try:
        records = plan(services={"demo": {**SERVICES["demo"], **row}})
    except AnsibleFilterError as error:
        assert "demo" in str(error)
    else:
        assert records[0]["service"] == "demo"
