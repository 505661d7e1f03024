"""add_model.yml against a loopback hub: rows in the site's tables, seen before, written once, planned; and what it refuses."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from configs import CASES
from conftest import ROOT, ansible_environment
from hub import COMMIT, Hub
from test_adapter_info import publish as adapter
from test_reading import publish

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    """A site of its own with tables that a person wrote, comments and all."""
    folder = tmp_path / "site"
    shutil.copytree(ROOT / "inventory", folder)
    (folder / "group_vars/all").mkdir()
    (folder / "group_vars/all/models.yml").write_text(
        "models:\n  qwq-32b: {license: Apache-2.0}\n  # ours, agreed on with legal\n"
    )
    (folder / "group_vars/all/services.yml").write_text("services:\n  qwq-32b: {port: 9010}\n")
    return folder


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    made = Hub(publish(tmp_path / "repo", CASES["Qwen3-8B"], 30))
    yield made
    made.close()


@pytest.fixture
def add(inventory: Path, hub: Hub) -> Run:
    def run(*words: str, limit: str = "gpu-01", model: str = "org/My-Model") -> subprocess.CompletedProcess[str]:
        options = [
            "-e",
            f"huggingface_endpoint={hub.url}",
            "-e",
            "hub=huggingface",
            "-e",
            f"model={model}",
            *(["-l", limit] if limit else []),
        ]
        return subprocess.run(
            ["ansible-playbook", "-i", str(inventory / "hosts.yml"), "playbooks/add_model.yml", *options, *words],
            cwd=ROOT, env=ansible_environment(), capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip

    return run


def table(inventory: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((inventory / f"group_vars/all/{name}.yml").read_text())[name]
    return found


def content(inventory: Path) -> dict[str, str]:
    return {str(path): path.read_text() for path in inventory.rglob("*.yml")}


def test_from_a_hubs_name_to_a_planned_service(add: Run, inventory: Path, hub: Hub) -> None:
    before = content(inventory)
    seen = add("--check", "--diff", limit="gpu-01")
    assert seen.returncode == 0, seen.stdout + seen.stderr
    assert (
        content(inventory) == before
        and f"+      huggingface: {{repo: org/My-Model, revision: {COMMIT}}}" in seen.stdout
    )
    assert (
        seen.stdout.count("+  my-model:") == 2 and "would be written" in seen.stdout
    )  # once in each table, drafts aren't shown

    done = add(limit="gpu-01")
    assert done.returncode == 0, done.stdout + done.stderr
    model, service = table(inventory, "models")["my-model"], table(inventory, "services")["my-model"]
    assert model["sources"] == {"huggingface": {"repo": "org/My-Model", "revision": COMMIT}}
    assert (model["dtype"], model["license"], model["reasoning"], model["tools"]) == (
        "bfloat16",
        "apache-2.0",
        True,
        "hermes",
    )
    assert (
        service["boards"] == ["h100-sxm"]
        and service["model"] == "my-model"
        and service["engine_args"]["tensor_parallel_size"] == 1
    )
    used = {row["port"] for name, row in table(inventory, "services").items() if name != "my-model"}
    assert service["port"] not in used
    text = (inventory / "group_vars/all/models.yml").read_text()
    assert (
        text.startswith(before[str(inventory / "group_vars/all/models.yml")].rstrip().rsplit("\n", 1)[0])
        and "agreed on with legal" in text
    )
    # qwq-32b has all eight devices of this host.
    assert "not in runs: gpu-01 has 8 devices, of which qwq-32b (8) take 8" in " ".join(done.stdout.split())
    for words in ("to fetch:", "context: 32768 tokens of the 40960", "at once:"):
        assert words in done.stdout

    again = add(limit="gpu-01")
    assert again.returncode == 0 and "nothing to write" in again.stdout and "changed=0" in again.stdout


def test_a_service_for_a_host_with_room_runs_there(add: Run, inventory: Path) -> None:
    """What its group runs there stays: a list of the host's own would hide it."""
    hosts = inventory / "hosts.yml"
    hosts.write_text(hosts.read_text().replace("runs: [qwq-32b]", "# free since May"))
    with (inventory / "group_vars/h100.yml").open("a") as group:
        group.write(
            "runs: [qwen2.5-vl-32b-instruct]\noverrides: {qwen2.5-vl-32b-instruct: {engine_args: {tensor_parallel_size: 4}}}\n"
        )
    done = add("-e", "name=mine", "-e", "service_port=9500", "-e", "max_model_len=4096")
    assert done.returncode == 0, done.stdout + done.stderr
    host = yaml.safe_load(hosts.read_text())["accelerators"]["children"]["h100"]["hosts"]["gpu-01"]
    assert host["runs"] == ["qwen2.5-vl-32b-instruct", "mine"] and "# free since May" in hosts.read_text()
    assert (
        "gpu-01 had its `runs` from its group: it has a list of its own now, with qwen2.5-vl-32b-instruct in it"
        in " ".join(done.stdout.split())
    )
    assert (
        table(inventory, "services")["mine"]["port"] == 9500
        and table(inventory, "services")["mine"]["engine_args"]["max_model_len"] == 4096
    )
    assert "deploy.yml -l gpu-01" in done.stdout
    shown = subprocess.run(
        ["ansible-playbook", "-i", str(hosts), "playbooks/validate.yml", "-l", "gpu-01"],
        cwd=ROOT, env=ansible_environment(), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert shown.returncode == 0 and "gpu-01  mine" in shown.stdout, shown.stdout


def test_a_model_alone_without_hosts(add: Run, inventory: Path) -> None:
    done = add(limit="")
    assert (
        done.returncode == 0
        and "my-model" in table(inventory, "models")
        and "my-model" not in table(inventory, "services")
    )
    assert "run this again with -l HOST" in done.stdout


def test_a_row_that_is_there(add: Run, inventory: Path) -> None:
    assert add(limit="").returncode == 0
    path = inventory / "group_vars/all/models.yml"
    head, mine = path.read_text().split("  my-model:")
    path.write_text(head + "  my-model:" + mine.replace("license: apache-2.0", "license: mit  # says legal"))
    before = content(inventory)
    done = add(limit="")
    flat = " ".join((done.stdout + done.stderr).split())
    assert done.returncode != 0 and "has 'my-model' in table 'models' already, with another license" in flat.replace(
        "''", "'"
    )
    assert content(inventory) == before
    assert add("-e", "update=true", limit="").returncode == 0
    assert table(inventory, "models")["my-model"]["license"] == "apache-2.0" and "# says legal" in path.read_text()


def test_nothing_is_written_where_anything_is_refused(add: Run, inventory: Path, hub: Hub) -> None:
    before = content(inventory)

    def refused(*words: str, says: str, **given: Any) -> None:
        done = add(*words, **given)
        flat = " ".join((done.stdout + done.stderr).split()).replace("''", "'")
        assert done.returncode != 0 and says in flat, flat
        assert content(inventory) == before and "Traceback" not in flat

    refused(says="say which model: -e model=", model="")
    refused(says="a service's row is made for one board; run this once for each", limit="gpu-01,localhost")
    refused("-e", "service_port=9010", says="port 9010 is that of service")
    hub.trouble.unknown, hub.trouble.found = True, ("org/My-Models",)
    refused(says="huggingface has no model 'org/My-Model'")
    hub.trouble.unknown, hub.trouble.status, hub.trouble.statuses = (
        False,
        418,
        100,
    )  # its listing comes, its files don't
    refused(says="could not be read: HTTP 418", limit="")
    hub.trouble.status = 0
    (inventory / "group_vars/all/services.yml").write_text(
        before[str(inventory / "group_vars/all/services.yml")] + "  broken: {a: 1\n"
    )
    before = content(inventory)
    refused(
        says="group_vars/all/services.yml line 4 is no valid YAML (did not find expected ',' or '}'); correct it",
        limit="",
    )


def test_an_architecture_that_the_engine_does_not_know(add: Run, inventory: Path, hub: Hub) -> None:
    config = {**CASES["Qwen3-8B"].config, "architectures": ["Qwen3NextForCausalLM"]}
    (hub.folder / "config.json").write_text(json.dumps(config))
    old = "docker.io/vllm/vllm-openai:v0.8.4"
    (inventory / "group_vars/all/boards.yml").write_text(
        f"boards: {{h100-sxm: {{engines: {{vllm: {{image: '{old}'}}}}}}}}\n"
    )
    before = content(inventory)
    done = add(limit="gpu-01")
    flat = " ".join((done.stdout + done.stderr).split())
    assert (
        done.returncode != 0
        and "vLLM 0.8.4 does not know the architecture Qwen3NextForCausalLM" in flat
        and "0.10.2 does" in flat
    ), flat
    assert content(inventory) == before


def test_code_of_a_repository_is_run_only_where_the_row_says_so(add: Run, inventory: Path, hub: Hub) -> None:
    config = {
        **CASES["Qwen3-8B"].config,
        "architectures": ["OddForCausalLM"],
        "auto_map": {"AutoModel": "modeling_odd.OddForCausalLM"},
    }
    (hub.folder / "config.json").write_text(json.dumps(config))
    (hub.folder / "modeling_odd.py").write_text("class OddForCausalLM: ...\n")
    before = content(inventory)
    done = add(limit="")
    assert done.returncode != 0 and "brings code of its own (modeling_odd.py)" in " ".join(
        done.stderr.split() + done.stdout.split()
    )
    assert content(inventory) == before
    assert add("-e", "trust_remote_code=true", limit="").returncode == 0
    assert list(table(inventory, "models")["my-model"]["code"]) == ["modeling_odd.py"]


def test_an_adapter_becomes_a_row_and_its_models_service_loads_it(
    add: Run, inventory: Path, hub: Hub, tmp_path: Path
) -> None:
    """Of a model and a service of the catalogue; where the tables don't tell the model, it asks and writes nothing."""
    before = content(inventory)
    hub.folder = adapter(tmp_path / "other", {"base_model_name_or_path": "unsloth/QwQ-32B-bnb-4bit"}, width=5120)
    asked = add(model="org/SQL-LoRA")
    flat = " ".join((asked.stdout + asked.stderr).split()).replace("''", "'")
    assert asked.returncode != 0 and "'qwq-32b' looks like it: say which: -e base=qwq-32b" in flat, flat
    assert content(inventory) == before
    done = add("-e", "base=qwq-32b", model="org/SQL-LoRA")
    assert done.returncode == 0, done.stdout + done.stderr
    assert table(inventory, "models")["sql-lora"]["base"] == "qwq-32b"
    assert table(inventory, "services")["qwq-32b"] == {"port": 9010, "adapters": ["sql-lora"]}
    assert "loaded by: qwq-32b" in done.stdout


def test_how_long_it_takes_against_a_slow_hub(hub: Hub, record_property: Any) -> None:
    """The figure add_model_s: reading alone, the module as Ansible runs it, at 50 ms a request."""
    from ansible.module_utils.serving.weights.asking import of_hub
    from ansible.module_utils.serving.weights.choice import Wanted
    from ansible.module_utils.serving.weights.hubs import HUBS

    hub.trouble.delay = 0.05
    began = time.monotonic()
    of_hub(HUBS["huggingface"]("org/m", None, Wanted(), hub.url, ""), {})
    record_property("add_model_s", round(time.monotonic() - began, 2))
    assert len(hub.requests) <= 12
