"""Runs of ansible-playbook against a host, for all tests that deploy for real."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import testhosts
import yaml
from conftest import ROOT, ansible_environment


def wait_for(process: subprocess.Popen[str], words: str) -> str:
    """Read a run's output until a line holds `words`."""
    seen = ""
    assert process.stdout
    for line in process.stdout:
        seen += line
        if words in line:
            return seen
    raise AssertionError(f"ended without {words!r}:\n{seen}")


def flat(output: str) -> str:
    return " ".join(output.split())


class Playbooks:
    """ansible-playbook with a test's inventory and variables."""

    host = ""

    def command(self, playbook: str, *options: str, **values: Any) -> list[str]:
        raise NotImplementedError

    def start(self, playbook: str, *options: str, **values: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(playbook, *options, **values), cwd=ROOT, env=ansible_environment(), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def run(self, playbook: str, *options: str, ok: bool | None = True, **values: Any) -> str:
        """Output of a run. `ok`: must it succeed? None: either will do."""
        process = self.start(playbook, *options, **values)
        output, _ = process.communicate(timeout=900)
        assert "Traceback" not in output and "Skipping plugin" not in output, output
        assert ok is None or (process.returncode == 0) is ok, output
        return output

    def changed(self, output: str) -> int:
        """How many tasks changed something, by the recap of a run."""
        return int(re.findall(rf"{self.host} +: ok=\d+ +changed=(\d+)", output)[-1])


class Host(Playbooks):
    """One test host in one inventory group."""

    def __init__(self, scenario: str, name: str, folder: Path) -> None:
        self.host, self.group, self.inside = name, scenario, testhosts.container("host")
        variables = testhosts.connection("host")
        self.inventory = testhosts.inventory(scenario, {scenario: {name: variables}}, folder / scenario)
        self.reports = Path(f"{self.inventory}-reports")

    def command(self, playbook: str, *options: str, **values: Any) -> list[str]:
        where = ["-i", str(self.inventory), playbook, "-l", self.group]
        return ["ansible-playbook", *where, "-e", json.dumps(values), *options]

    def sh(self, command: str, ok: bool = True) -> str:
        return testhosts.docker("exec", self.inside, "sh", "-c", command, ok=ok)

    def status(self) -> str:
        return self.run("playbooks/status.yml", ok=None)  # its exit code says whether something is down

    def until_ready(self, service: str, seconds: float = 120) -> None:
        until = time.monotonic() + seconds
        while not re.search(rf"{self.host} +{re.escape(service)} +ready ", status := self.status()):
            assert time.monotonic() < until, status
            time.sleep(2)

    def overrides(self) -> dict[str, Any]:
        """What the scenario changes in the rows of its host."""
        path = ROOT / f"molecule/{self.group}/host_vars/{self.host}.yml"
        found: dict[str, Any] = yaml.safe_load(path.read_text())["overrides"]
        return found
