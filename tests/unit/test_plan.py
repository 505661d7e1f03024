"""Filter `plan`: merging in one direction, and no typo passes."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from conftest import ROOT, load
from hypothesis import given
from hypothesis import strategies as st

p = load("filter_plugins/plan.py")

ACCELERATOR = {"hardware": "local", "kind": "cpu", "engine": "vllm", "runtime": "native", "dtypes": ["bfloat16"]}
GPU = {"hardware": "h100", "kind": "gpu", "engine": "vllm", "runtime": "container", "image": "x@sha256:0", "count": 8}
MODELS = {"demo": {"sources": {"directory": {"path": "/m"}}, "bytes": 10, "license": "apache-2.0"}}
SERVICES = {"demo": {"model": "demo", "hardware": "local", "port": 8000}}


def plan(runs: Any = ("demo",), **changes: Any) -> list[dict[str, Any]]:
    given: dict[str, Any] = {
        "services": SERVICES,
        "models": MODELS,
        "accelerator": ACCELERATOR,
        "host": "box",
        **changes,
    }
    return p.plan(list(runs) if isinstance(runs, tuple) else runs, **given)


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
        *p.SERVICE, "service", "host", "kind", "endpoint", "devices_given", "widths", "utilization", "memory_bytes",
    }  # fmt: skip
    assert record["endpoint"] == "http://127.0.0.1:8000"
    assert record["served_name"] == "demo"
    assert record["model"]["name"] == "demo"
    assert record["devices"] is None


def test_the_inventory_of_the_project_plans() -> None:
    tables = {
        n: yaml.safe_load((ROOT / f"inventory/group_vars/all/{n}.yml").read_text())[n] for n in ("models", "services")
    }
    local = yaml.safe_load((ROOT / "inventory/group_vars/local.yml").read_text())
    record = plan(accelerator=local["accelerator"], **tables)[0]
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
        ({"services": service(hardware="locale")}, ["'locale'", "'local'"]),
        (
            {"services": service(hardware="locale"), "accelerator_groups": ["h100", "local"]},
            ["'hardware' is 'locale'", "did you mean 'local'?"],
        ),
        ({"services": service(prt=1)}, ["unknown key 'prt'", "did you mean 'port'?"]),
        ({"services": service(port=99999)}, ["'port' is 99999", "1 to 65535"]),
        ({"services": service(port=True)}, ["'port' is True"]),
        ({"services": {"demo": {"model": "demo", "hardware": "local"}}}, ["'port' must be set"]),
        ({"services": service(engine="vlm")}, ["'vlm'", "did you mean 'vllm'?"]),
        ({"services": service(runtime="container")}, ["needs 'image'"]),
        ({"services": service(devices=[0])}, ["counts no devices"]),
        ({"services": {"demo": None}}, ["service 'demo'", "must be a mapping"]),
        ({"models": {"demo": {"sources": {"hub": {}}, "bytes": 1, "license": "x"}}}, ["'sources' is 'hub'"]),
        ({"models": {"demo": {"sources": {}, "license": "x"}}}, ["'bytes' must be set"]),
        ({"accelerator": {**ACCELERATOR, "kind": "abacus"}}, ["'abacus'", "cpu, gpu, npu"]),
        ({"accelerator": {**ACCELERATOR, "colour": 1}}, ["unknown key 'colour'"]),
        ({"accelerator": None, "accelerator_groups": ["local"]}, ["host box is in no hardware group", "local"]),
        ({"groups": ["h100", "local"], "accelerator_groups": ["h100", "local"]}, ["h100, local", "exactly one"]),
        ({"accelerator": {**ACCELERATOR, "dtypes": ["float16"]}}, ["bfloat16", "float16 only", "convert: float16"]),
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


def test_two_services_on_one_port_are_refused_with_both_names() -> None:
    services = {**SERVICES, "other": {"model": "demo", "hardware": "local", "port": 8000}}
    text = refusal(runs=("demo", "other"), services=services)
    assert "'demo' and 'other' both use port 8000" in text


def test_merge_order_is_accelerator_service_override() -> None:
    accelerator = {**ACCELERATOR, "engine_args": {"a": 1, "b": 1, "c": 1}, "env": {"X": "1"}, "mounts": ["/a"]}
    services = service(engine_args={"b": 2, "c": 2}, mounts=["/b"])
    record = plan(accelerator=accelerator, services=services, overrides={"demo": {"engine_args": {"c": 3}}})[0]
    assert record["engine_args"] == {"a": 1, "b": 2, "c": 3}
    assert record["mounts"] == ["/b"]
    assert record["env"] == {"X": "1"}


def test_null_in_an_override_drops_one_option() -> None:
    record = plan(services=service(engine_args={"a": 1, "b": 2}), overrides={"demo": {"engine_args": {"a": None}}})[0]
    assert record["engine_args"] == {"b": 2}


def devices(count: int, *widths: int, **override: Any) -> list[list[int]]:
    services = {
        f"s{i}": {"model": "demo", "hardware": "h100", "port": 9000 + i, "engine_args": {"tensor_parallel_size": w}}
        for i, w in enumerate(widths)
    }
    records = plan(tuple(services), services=services, accelerator={**GPU, "count": count}, overrides=override)
    return [r["devices"] for r in records]


def test_a_conversion_sets_the_type_that_is_computed_in_unless_the_row_says_another() -> None:
    accelerator = {**ACCELERATOR, "engine_args": {"dtype": "bfloat16"}}

    def dtype(**changes: Any) -> str:
        return str(plan(accelerator=accelerator, services=service(**changes))[0]["engine_args"]["dtype"])

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
        devices(8, 2, 2, s1={"devices": [1, 2]})
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
    merged = p.merge(low, high)
    assert set(merged) <= set(low) | set(high)
    for key, value in high.items():
        if isinstance(value, dict):
            below = low[key] if isinstance(low.get(key), dict) else {}
            assert all(merged[key][k] == v for k, v in value.items() if v is not None)
            assert not any(k in merged[key] for k, v in value.items() if v is None)
            assert set(merged[key]) <= set(below) | set(value)
        elif value is not None:
            assert merged[key] == value  # what is higher is never altered by what is lower
        elif key in low:
            assert merged[key] == low[key]  # null leaves what was there
    for key in set(low) - set(high):
        assert merged[key] == low[key]
    assert p.merge(merged, high) == merged  # a second time changes nothing


@given(low=rows, high=rows)
def test_merging_alters_neither_side(low: dict[str, Any], high: dict[str, Any]) -> None:
    import copy

    before = copy.deepcopy((low, high))
    p.merge(low, high)
    assert (low, high) == before


@given(
    key=st.text(min_size=1, max_size=12).filter(lambda k: k not in p.SERVICE), value=values, where=st.sampled_from("so")
)
def test_no_unknown_key_passes(key: str, value: Any, where: str) -> None:
    changes = {"services": service(**{key: value})} if where == "s" else {"overrides": {"demo": {key: value}}}
    assert f"unknown key '{key}'" in refusal(**changes)


@given(row=st.dictionaries(st.sampled_from(sorted(p.SERVICE)), values, max_size=6))
def test_any_row_gives_a_record_or_a_refusal(row: dict[str, Any]) -> None:
    try:
        records = plan(services={"demo": {**SERVICES["demo"], **row}})
    except AnsibleFilterError as error:
        assert "demo" in str(error)
    else:
        assert records[0]["service"] == "demo"
