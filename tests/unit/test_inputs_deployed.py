"""Inputs of a release through the real playbooks: an edited one is told by `--check` and restarts its service."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.serving.service import releases
from ansible.module_utils.serving.service.supervisors import Supervisord
from conftest import DEMO, FIXTURES, ROOT, ansible_environment
from ports import free_port
from services import members


class Site:
    """Fetch and Serve of the real playbooks, natively, with a stub where vLLM would be."""

    def __init__(self, base: Path, tools: Path) -> None:
        self.base, self.root = base, base / "srv"
        self.root.mkdir()
        (self.root / "tools").symlink_to(tools)
        self.source = Path(shutil.copytree(DEMO, base / "model"))
        (self.source / "SHA256SUMS").unlink()
        (base / "env/bin").mkdir(parents=True)
        self.port = free_port()
        engine = base / "env/bin/vllm"
        engine.write_text(f"#!/bin/sh\nexec {sys.executable} {FIXTURES}/stub_engine.py good {self.port}\n")
        engine.chmod(0o755)
        self.chat, self.parser = base / "chat.jinja", base / "parser.py"
        self.chat.write_text("{{ one }}")
        self.parser.write_text("one = 1\n")
        self.models = {"demo": {"sources": {"directory": {"path": str(self.source)}}}}

    def run(self, name: str, *options: str, ok: bool = True, **more: Any) -> str:
        override = {
            "port": self.port, "native_env": str(self.base / "env"), "files": {"chat.jinja": str(self.chat)}, "drain_timeout": 2,
            "engine_args": {"chat_template": "chat.jinja", "tool_parser_plugin": str(self.parser)},
        }  # fmt: skip
        values = {
            "serving_root": str(self.root), "supervisor": "supervisord", "models": self.models, "pins_file": str(self.base / "pins.json"),
            "overrides": {"demo": override}, **more,
        }  # fmt: skip
        command = ["ansible-playbook", name, "-l", "local", "-e", json.dumps(values), *options]
        done = subprocess.run(
            command, cwd=ROOT, env=ansible_environment(), capture_output=True, text=True, timeout=300, check=False
        )
        output = done.stdout + done.stderr
        assert (done.returncode == 0) is ok and "Traceback" not in output, output
        return output

    def deploy(self, *options: str, **more: Any) -> str:
        return self.run("deploy.yml", "--tags", "fetch,serve", *options, **more)

    def process(self) -> dict[str, Any]:
        found = releases.running_release(str(self.root), "demo")
        assert found
        return found


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory, tools: Path) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("s"), tools)
    yield site
    owner = Supervisord(str(site.root))
    if (site.root / "supervisor").exists():
        owner.stop("demo")
        owner.shutdown()
    for pid in members(site.root):
        os.kill(pid, signal.SIGKILL)


def flat(output: str) -> str:
    """The output without the line breaks and doubled quotes of YAML."""
    return re.sub(r"\s+", " ", output).replace("''", "'")


def changed(output: str) -> int:
    return sum(int(number) for number in re.findall(r"changed=(\d+)", output))


def test_an_edited_input_is_told_by_check_and_restarts_the_service(site: Site) -> None:
    assert changed(site.deploy()) == 2
    current = site.root / "services/demo/current"
    assert (current / "inputs/chat.jinja").read_text() == "{{ one }}"
    assert 'chat-template: "inputs/chat.jinja"' in (current / "serve.yaml").read_text()
    assert changed(site.deploy()) == 0 == changed(site.deploy("--check", "--diff"))

    site.chat.write_text("{{ two }}")  # on the controller
    site.parser.write_text("two = 2\n")  # on the host
    before = site.process()
    said = site.deploy("--check", "--diff", "-v")
    assert changed(said) == 1 and "inputs/chat.jinja has other content" in said
    assert f"{site.parser} has other content" in said
    assert site.process() == before and (current / "inputs/chat.jinja").read_text() == "{{ one }}"
    assert changed(site.deploy()) == 1
    assert site.process()["pid"] != before["pid"]
    assert (current / "inputs/chat.jinja").read_text() == "{{ two }}"

    # Weights: what Fetch would change, Serve would take up.
    (site.source / "notes.txt").write_text("new")
    before = site.process()
    assert changed(site.deploy("--check")) == 2
    assert changed(site.run("playbooks/serve.yml", "--check")) == 0  # alone it changes nothing
    assert site.process() == before
    assert changed(site.deploy()) == 2 and site.process()["pid"] != before["pid"]
    assert changed(site.deploy("--check")) == 0

    # It leaves the plan.
    other = {"runs": []}
    said = site.run("playbooks/beside.yml", **other)
    assert "service 'demo' is not in runs of host localhost and still runs" in flat(said)
    assert "starting release" in site.run("playbooks/logs.yml", "-e", "service=demo", **other)
    (site.root / "install.log").write_text("Error! DKMS tree already contains: acme-550.54\n")
    said = site.run("playbooks/logs.yml", "-e", f"log_file={site.root}/install.log", **other)
    assert "dkms remove NAME/VERSION --all" in flat(said) and "starting release" not in said
    assert changed(site.run("playbooks/stop.yml", "-e", "service=demo", **other)) == 1
    assert "no service of this host is called 'x'; this host has demo" in flat(
        site.run("playbooks/stop.yml", "-e", "service=x", ok=False, **other)
    )
    assert changed(site.run("playbooks/uninstall.yml", "-e", "service=demo", **other)) >= 1
    assert not (site.root / "services").exists()
