"""Adapters of a service: rows of models.yml that its own row names, planned, fetched, kept and released with the model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.serving.weights import model_state
from conftest import load
from safetensors.numpy import save_file
from tables import TABLES, small

from planning.adapters import with_adapters

Run = Callable[..., dict[str, Any]]
PLAN = load("filter_plugins/plan.py")
RELEASE = load("filter_plugins/release.py")
BOARD = {"vendor": "nvidia", "count": 1, "memory_bytes": 85_520_809_984, "device_access": "cdi"}
IMAGE = "docker.io/vllm/vllm-openai:v0.25.1"


def planned(rows: dict[str, Any], more: dict[str, Any] | None = None, **service: Any) -> dict[str, Any]:
    base = {"sources": {"directory": {"path": "/m"}}, "bytes": 1000, "license": "mit"}
    models = {"m": base, **{name: {**base, "bytes": 7, **row} for name, row in rows.items()}, **(more or {})}
    services = {
        "s": {"model": "m", "port": 8000, "engine": "vllm", "runtime": "container", "image": IMAGE, "adapters": list(rows), **service}
    }  # fmt: skip
    found: dict[str, Any] = PLAN.planned(["s"], **small(services, models, BOARD), locks={})
    return found


def test_the_engine_is_told_of_them_and_each_is_asked_by_its_name() -> None:
    record = planned({"sql": {"base": "m", "rank": 12}, "chat": {"base": "m", "rank": 8}})["services"][0]
    assert record["engine_args"] == {
        "enable_lora": True, "max_lora_rank": 16, "lora_modules": ["sql=/models/sql", "chat=/models/chat"]
    }  # fmt: skip
    assert record["check"]["adapters"] == ["sql", "chat"]
    assert [row["name"] for row in record["adapters"]] == ["sql", "chat"]
    forms = PLAN.model_forms([record])
    assert [(form["model"]["name"], form["convert"]) for form in forms] == [("chat", None), ("m", None), ("sql", None)]
    assert planned({})["services"][0]["engine_args"] == {}  # releases of services without any stay what they are


def test_what_the_row_says_itself_stays() -> None:
    args = {"max_lora_rank": 64, "max_loras": 2}
    record = planned({"sql": {"base": "m", "rank": 12}}, engine_args=args)["services"][0]
    assert record["engine_args"] == {"enable_lora": True, "lora_modules": ["sql=/models/sql"], **args}


@pytest.mark.parametrize(
    ("rows", "service", "says"),
    [
        ({"sql": {}}, {}, "names no `base`"),
        ({"sql": {"base": "other"}}, {}, "is of model 'other', and this service serves 'm'"),
        ({}, {"adapters": ["sqll"]}, "which is no row of models.yml"),
        ({}, {"adapters": [{"name": "sql"}]}, "must be a list of text"),
        ({"s": {"base": "m"}}, {"served_name": "s"}, "which callers would find twice"),
        ({"sql": {"base": "m"}}, {"adapters": ["sql", "sql"]}, "which callers would find twice"),
        ({"sql": {"base": "m", "rank": 4096}}, {}, "has rank 4096, and the engine takes 512 at most"),
        ({"sql": {"base": "m"}}, {"engine_args": {"lora_modules": ["x=/y"]}}, "both name adapters"),
        ({"sql": {"base": "m"}}, {"engine_args": {"enable_lora": False}}, "engine_args.enable_lora is false"),
        ({"sql": {"base": "m"}}, {"model": "sql", "adapters": []}, "'sql' is an adapter of 'm'; serve that model"),
    ],
)  # fmt: skip
def test_what_would_not_work_is_a_sentence(rows: dict[str, Any], service: dict[str, Any], says: str) -> None:
    faults = planned(rows, **service)["faults"]
    assert len(faults) == 1 and says in faults[0], faults


def test_an_engine_without_adapters_says_so() -> None:
    engines = {**TABLES["engines"], "plain": {**TABLES["engines"]["vllm"], "options": {}}}
    services = {
        "s": {
            "model": "m",
            "port": 8000,
            "engine": "plain",
            "runtime": "container",
            "image": "x/y:1",
            "adapters": ["a"],
        }
    }
    base = {"sources": {"directory": {"path": "/m"}}, "bytes": 1, "license": "mit"}
    found = PLAN.planned(["s"], **small(services, {"m": base, "a": {**base, "base": "m"}}, BOARD, engines), locks={})
    assert any("engine 'plain' takes no adapters" in text for text in found["faults"])


def test_a_release_is_of_its_adapters_too() -> None:
    record = planned({"sql": {"base": "m"}})["services"][0]
    weights = {"path": "/m/m@1", "revision": "1", "identity": "aa", "problems": []}
    place = {"names": [0], "cdi": [], "cores": []}
    roots = {"serving": "/srv", "models": "/m", "environment": None}

    def made(identity: str, runtime: str = "container") -> Any:
        adapter = {"path": "/m/sql@7", "revision": "7", "identity": identity, "problems": []}
        found = {"weights": weights, "adapters": {"sql": adapter}, "image": None, "inputs": {}}
        return RELEASE.release({**record, "runtime": runtime, "native_env": "/env"}, found, place, roots)

    one, other = made("bb"), made("cc")
    assert (
        one["spec"]["adapters"] == {"sql": {"revision": "7", "identity": "bb", "path": "/m/sql@7"}}
        and one["spec"] != other["spec"]
    )
    assert one["seen"]["adapters"] == {"sql": "/models/sql"}
    assert with_adapters(record, made("bb", "native")["seen"]["adapters"])["engine_args"]["lora_modules"] == [
        "sql=/m/sql@7"
    ]
    arguments = load("filter_plugins/container.py").container_arguments(
        record, "vllm-s", "/m/m@1", "/k", adapters=one["adapter_paths"]
    )
    assert any("/m/sql@7" in word and "/models/sql" in word for word in arguments)


def adapter(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(
        json.dumps({"r": 8, "peft_type": "LORA", "base_model_name_or_path": "org/m"})
    )
    import numpy

    save_file(
        {"base_model.model.layers.0.q.lora_A.weight": numpy.zeros((8, 16), numpy.float32)},
        folder / "adapter_model.safetensors",
    )
    (folder / "README.md").write_text("an adapter\n")
    return folder


def test_an_adapter_is_fetched_found_and_kept_while_a_release_names_it(tmp_path: Path, run_module: Run) -> None:
    models = tmp_path / "srv/models"
    source = adapter(tmp_path / "sql")
    given = {"name": "sql", "models_root": str(models), "sources": {"directory": {"path": str(source)}}}
    done = run_module("weights_fetch", given)
    assert not done["failed"], done
    path = done["path"]
    assert {"adapter_config.json", "adapter_model.safetensors"} <= {file.name for file in Path(path).iterdir()}
    info = {"model": "sql", "models_root": str(models), "adapters": ["sql"], "required": True}
    assert run_module("artifact_info", info)["adapters"]["sql"]["path"] == path
    from ansible.module_utils.serving.service import releases

    folder = releases.service_dir(str(tmp_path / "srv"), "s")
    (Path(folder) / "releases").mkdir(parents=True)
    number, _ = releases.write_release(
        folder, {"model": {"path": "/elsewhere"}, "adapters": {"sql": {"path": path}}}, {"start": "x\n"}
    )
    releases.make_current(folder, number)
    assert [
        str(use) for use in model_state.look(str(models), "sql", None, model_state.uses(str(tmp_path / "srv"))[0]).users
    ]
    removed = run_module("serving_prune", {"serving_root": str(tmp_path / "srv"), "models_root": str(models)})[
        "removed"
    ]
    assert path not in removed


def test_what_is_no_adapter_is_refused_by_name(tmp_path: Path, run_module: Run) -> None:
    from conftest import DEMO

    given = {"name": "demo", "models_root": str(tmp_path / "models"), "sources": {"directory": {"path": str(DEMO)}}}
    assert not run_module("weights_fetch", given)["failed"]
    done = run_module("artifact_info", {"model": "demo", "models_root": str(tmp_path / "models"), "adapters": ["demo"]})
    assert done["failed"] and "has no adapter_config.json, so 'demo' is no adapter" in done["msg"]
