"""An adapter's repository: what it is, which row its model has, and its rows in the site's tables."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import shards
import yaml
from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.service.bases import base_of
from ansible.module_utils.serving.weights.adapter_info import AdapterFacts, base_name
from ansible.module_utils.serving.weights.asking import of_folder, of_hub
from ansible.module_utils.serving.weights.choice import Wanted
from ansible.module_utils.serving.weights.hubs import HUBS
from conftest import load
from hub import COMMIT, Hub

Run = Callable[..., dict[str, Any]]
CONFIG = {"peft_type": "LORA", "r": 8, "lora_alpha": 16, "base_model_name_or_path": "Qwen/Qwen3-8B", "target_modules": ["q_proj"]}  # fmt: skip
COMMIT_OF_BASE = "a1" * 20
MODELS: dict[str, Any] = {
    "qwen3-8b": {
        "sources": {"huggingface": {"repo": "Qwen/Qwen3-8B", "revision": COMMIT_OF_BASE}, "modelscope": {"repo": "Qwen/Qwen3-8B"}},
        "shape": {"hidden_size": 4096},
    },
    "mine": {"sources": {"directory": {"path": "/data/mine"}}},
    "old-lora": {"base": "qwen3-8b", "sources": {"huggingface": {"repo": "org/old", "revision": COMMIT_OF_BASE}}},
}  # fmt: skip


def publish(
    folder: Path,
    config: dict[str, Any] | None = None,
    card: str = "license: mit",
    width: int = 4096,
    **files: str | None,
) -> Path:
    """An adapter as peft saves it, of rank 8 for a hidden size of `width`."""
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({**CONFIG, **(config or {})}))
    (folder / "README.md").write_text(f"---\n{card}\n---\n")
    place = "base_model.model.model.layers.0.self_attn.q_proj.lora_"
    shards.write(
        folder / "adapter_model.safetensors",
        {
            f"{place}A.weight": ("F16", [8, width], bytes(16 * width)),
            f"{place}B.weight": ("F16", [width, 8], bytes(16 * width)),
        },
    )
    for name, text in files.items():
        path = folder / name.replace("__", ".")
        path.unlink() if text is None else path.write_text(text)
    return folder


def read(folder: Path) -> AdapterFacts:
    found = of_folder(str(folder), Wanted(), {})
    assert isinstance(found, AdapterFacts)
    return found


def test_what_an_adapter_is(tmp_path: Path) -> None:
    facts = read(publish(tmp_path / "a", {"rank_pattern": {"k_proj": 24}}, training_args__bin="x" * 2000))
    assert (facts.bases, facts.rank, facts.width, facts.license) == (("Qwen/Qwen3-8B",), 24, 4096, "mit")
    assert facts.weight_bytes == (tmp_path / "a/adapter_model.safetensors").stat().st_size


def test_an_adapter_with_the_configuration_of_its_base_beside_it(tmp_path: Path) -> None:
    assert read(publish(tmp_path / "a", config__json='{"architectures": ["Qwen3ForCausalLM"]}')).rank == 8


@pytest.mark.parametrize("kind", HUBS)
def test_an_adapter_of_a_hub_in_few_requests(tmp_path: Path, kind: str) -> None:
    hub = Hub(publish(tmp_path / "a"))
    try:
        facts = of_hub(HUBS[kind]("org/a", None, Wanted(), hub.url, ""), {})
    finally:
        hub.close()
    assert isinstance(facts, AdapterFacts) and facts.commit == COMMIT and len(hub.requests) <= 8


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"peft_type": "IA3"}, "of type IA3, and engines load LoRA alone; merge it"),
        ({"use_dora": True}, "has DoRA"),
        ({"bias": "all"}, "has biases of its own"),
        ({"modules_to_save": ["lm_head", "embed_tokens"]}, "modules_to_save: lm_head, embed_tokens"),
        ({"init_lora_weights": "pissa_niter_4"}, "init_lora_weights: pissa_niter_4"),
        ({"layer_replication": [[0, 4]]}, "has repeated layers"),
    ],
)
def test_what_an_engine_cannot_load_beside_a_model(tmp_path: Path, config: dict[str, Any], says: str) -> None:
    with pytest.raises(Refusal, match="merge it into its model") as refusal:
        of_folder(str(publish(tmp_path / "a", config)), Wanted(), {})
    assert says in str(refusal.value)


def test_parts_that_a_classifier_may_replace_are_fine(tmp_path: Path) -> None:
    config = {"modules_to_save": ["score"], "init_lora_weights": "gaussian", "bias": "none", "use_rslora": True}
    assert read(publish(tmp_path / "a", config)).rank == 8


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"adapter_model__safetensors": None, "adapter_model__bin": "x" * 2000}, "only adapter_model.bin, which is pickled: it needs"),
        ({"adapter_model__safetensors": None}, "with no weights: it needs adapter_model.safetensors"),
        ({"adapter_config__json": "{"}, "adapter_config.json is no JSON"),
        ({"adapter_model__safetensors": "x" * 3000}, "it is cut or no safetensors file"),
    ],
)  # fmt: skip
def test_an_adapter_that_is_not_whole(tmp_path: Path, files: dict[str, str | None], says: str) -> None:
    with pytest.raises(Refusal, match=says):
        of_folder(str(publish(tmp_path / "a", **files)), Wanted(), {})


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("Qwen/Qwen3-8B", ("Qwen/Qwen3-8B", "")),
        ("https://huggingface.co/Qwen/Qwen3-8B/tree/main", ("Qwen/Qwen3-8B", "")),
        ("https://www.modelscope.cn/models/Qwen/Qwen3-8B", ("Qwen/Qwen3-8B", "")),
        (f"/root/.cache/huggingface/hub/models--Qwen--Qwen3-8B/snapshots/{COMMIT_OF_BASE}", ("Qwen/Qwen3-8B", COMMIT_OF_BASE)),
        ("/data/mine/", ("/data/mine", "")),
        (None, ("", "")),
        (["Qwen/Qwen3-8B"], ("Qwen/Qwen3-8B", "")),
        (3, ("", "")),
    ],
)  # fmt: skip
def test_names_that_trainers_write(given: Any, found: tuple[str, str]) -> None:
    assert base_name(given) == found


def adapts(*names: str, revision: str = "", width: int = 0) -> dict[str, Any]:
    return {"names": list(names), "revision": revision, "width": width}


@pytest.mark.parametrize(
    ("of", "row"),
    [
        (adapts("Qwen/Qwen3-8B", width=4096), "qwen3-8b"),
        (adapts("qwen/qwen3-8b/"), "qwen3-8b"),
        (adapts("/data/mine"), "mine"),
        (adapts("/root/models/checkpoint", "Qwen/Qwen3-8B"), "qwen3-8b"),  # a trainer's own path, and the card's word
        (adapts("someone/copy", revision=COMMIT_OF_BASE), "qwen3-8b"),  # by the commit alone, adapters aside
    ],
)
def test_the_row_of_its_model(of: dict[str, Any], row: str) -> None:
    assert base_of("a", of, MODELS) == row


@pytest.mark.parametrize(
    ("of", "asked", "says"),
    [
        (adapts("org/Other"), "", r"which no row of models.yml names: add that model first \(-e model=org/Other\), or say which: -e base=NAME"),
        (adapts("unsloth/Qwen3-8B-unsloth-bnb-4bit"), "", "'qwen3-8b' looks like it: say which: -e base=qwen3-8b"),
        (adapts("/root/Qwen3-8B"), "", "'qwen3-8b' looks like it"),
        (adapts(), "", "'a' doesn't say which model it adapts: say which: -e base=NAME"),
        (adapts("unsloth/odd", "Qwen/Qwen3-8B"), "", "by its adapter_config.json and its card: say which: -e base=qwen3-8b"),
        (adapts("Qwen/Qwen3-8B", width=5120), "", "made for a hidden size of 5120, and model 'qwen3-8b' has 4096"),
        (adapts("Qwen/Qwen3-8B"), "qwen3-8", "is no row of models.yml; did you mean 'qwen3-8b'"),
        (adapts("Qwen/Qwen3-8B"), "old-lora", "is an adapter itself, of 'qwen3-8b'"),
    ],
)  # fmt: skip
def test_what_the_tables_do_not_tell_is_a_question(of: dict[str, Any], asked: str, says: str) -> None:
    with pytest.raises(Refusal, match=says):
        base_of("a", of, MODELS, asked)


def test_two_rows_of_one_model_are_a_question_unless_its_commit_tells() -> None:
    models = {**MODELS, "qwen3-new": {"sources": {"huggingface": {"repo": "Qwen/Qwen3-8B", "revision": "b2" * 20}}}}
    with pytest.raises(Refusal, match="which 'qwen3-8b' and 'qwen3-new' have: say which: -e base=qwen3-8b"):
        base_of("a", adapts("Qwen/Qwen3-8B"), models)
    assert base_of("a", adapts("Qwen/Qwen3-8B", revision="b2" * 20), models) == "qwen3-new"
    assert base_of("a", adapts("Qwen/Qwen3-8B"), models, "qwen3-new") == "qwen3-new"


@pytest.fixture
def given(tmp_path: Path) -> dict[str, Any]:
    """What the playbook gives for an adapter, one host that serves its model and one that doesn't."""
    tables = tmp_path / "group_vars/all"
    tables.mkdir(parents=True)
    (tables / "models.yml").write_text("models:\n  mine: {license: mit}  # ours\n")
    (tables / "services.yml").write_text(
        "services:\n  chat:  # the team's\n    port: 8000\n    adapters:\n      - old  # since May\n"
    )
    return {
        "inventory": str(tmp_path), "name": "sql", "models": MODELS, "adapts": adapts("Qwen/Qwen3-8B", width=4096),
        "row": {"sources": {"huggingface": {"repo": "org/sql", "revision": COMMIT}}, "rank": 8, "bytes": 2_000_000, "license": "mit"},
        "hosts": {
            "gpu-01": {"chat": {"model": "qwen3-8b", "adapters": ["old"]}, "qwq": {"model": "qwq-32b", "adapters": []},
                       "of-the-catalogue": {"model": "qwen3-8b", "adapters": ["their"]}},
            "gpu-02": {"qwq": {"model": "qwq-32b", "adapters": []}},
        },
    }  # fmt: skip


def test_the_rows_of_an_adapter(run_module: Run, given: dict[str, Any], tmp_path: Path) -> None:
    seen = run_module("adapter_row", given, check=True)
    assert (
        not seen["failed"]
        and len(seen["diff"]) == 2
        and "sql" not in (tmp_path / "group_vars/all/models.yml").read_text()
    )
    done = run_module("adapter_row", given)
    assert not done["failed"] and done["services"] == {"chat": ["old", "sql"], "of-the-catalogue": ["their", "sql"]}
    assert len(done["unplaced"]) == 1 and "gpu-02 runs no service of 'qwen3-8b'" in done["unplaced"][0]
    models = (tmp_path / "group_vars/all/models.yml").read_text()
    services = (tmp_path / "group_vars/all/services.yml").read_text()
    assert "# ours" in models and yaml.safe_load(models)["models"]["sql"] == {"base": "qwen3-8b", **given["row"]}
    assert "# the team's" in services and "- old  # since May" in services
    assert yaml.safe_load(services)["services"] == {
        "chat": {"port": 8000, "adapters": ["old", "sql"]},
        "of-the-catalogue": {"adapters": ["their", "sql"]},
    }
    again = run_module("adapter_row", given)
    assert not again["failed"] and not again["changed"]


def test_a_name_that_a_model_has_and_a_row_that_says_something_else(run_module: Run, given: dict[str, Any]) -> None:
    assert "'mine' is a model of the tables" in run_module("adapter_row", {**given, "name": "mine"})["msg"]
    assert run_module("adapter_row", given)["changed"]
    other = {**given, "row": {**given["row"], "rank": 16}}
    assert "has 'sql' in table 'models' already, with another rank" in run_module("adapter_row", other)["msg"]
    assert run_module("adapter_row", {**other, "update": True})["changed"]


def test_the_module_says_what_an_adapter_is(run_module: Run, tmp_path: Path) -> None:
    found = run_module("model_info", {"model": str(publish(tmp_path / "My-LoRA")), "known": {}})
    assert found["name"] == "my-lora" and found["adapts"] == adapts("Qwen/Qwen3-8B", width=4096)
    assert found["row"]["rank"] == 8 and found["row"]["sources"] == {"directory": {"path": str(tmp_path / "My-LoRA")}}


def test_what_the_playbook_plans_with() -> None:
    filters = load("filter_plugins/models.py")
    record = {"service": "chat-1", "replica_of": "chat", "model": {"name": "m"}, "adapters": [{"name": "old"}]}
    hostvars = {"gpu-01": {"planned": {"services": [record, {**record, "service": "chat-2"}]}}}
    assert filters.serves(["gpu-01"], hostvars) == {"gpu-01": {"chat": {"model": "m", "adapters": ["old"]}}}
    assert filters.loading([record], {"chat": [], "other": []}) == ["chat"]
    tables = {"models": {"m": {}}, "services": {"chat": {"model": "m", "port": 1}}}
    found = filters.with_adapter(tables, "sql", {"row": {"base": "m"}, "services": {"chat": ["old", "sql"]}})
    assert found["services"]["chat"] == {"model": "m", "port": 1, "adapters": ["old", "sql"]}
    assert found["models"]["sql"] == {"base": "m"} and "adapters" not in tables["services"]["chat"]
