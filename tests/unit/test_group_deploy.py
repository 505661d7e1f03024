"""A service over three hosts through deploy.yml and its like: three serving roots of this machine with addresses of their own, and stand-in engines."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.serving.service import probe, releases
from conftest import FIXTURES, ROOT, ansible_environment
from ports import free_port
from services import lent_tools

HOSTS = {"a": "198.18.77.1", "b": "198.18.77.2", "c": "198.18.77.3"}
# `vllm serve --config FILE`: the first host's engine answers, those of the others compute and have no port.
VLLM = f"""#!/bin/sh
port=$(sed -n 's/^port: //p' "$3")
[ -n "$port" ] || exec sleep 100000
exec {sys.executable} {FIXTURES}/stub_engine.py good "$port"
"""


class Site:
    def __init__(self, base: Path) -> None:
        self.base, self.port, self.group_port = base, free_port(), 3 * (free_port() // 3)
        (base / "env/bin").mkdir(parents=True)
        (base / "env/bin/vllm").write_text(VLLM)
        (base / "env/bin/vllm").chmod(0o755)
        rows = {
            name: {"ansible_connection": "local", "board": "local", "runs": ["demo"], "group_address": address, "serving_root": str(base / name)}
            for name, address in HOSTS.items()
        }  # fmt: skip
        places = {
            "ansible_python_interpreter": sys.executable, "reports_dir": str(base / "reports"), "pins_file": str(base / "pins"), "supervisor": "supervisord",
            "probe_timeout": 5, "references_dir": str(base / "references"), "models": {"demo": {"shape": {"layers": 6}}},
        }  # fmt: skip
        every = {"children": {"accelerators": {"hosts": rows}}, "vars": places}
        (base / "hosts.yml").write_text(json.dumps({"all": every}))

    def run(self, playbook: str, *options: str, ok: bool = True, **row: Any) -> str:
        """What a playbook told, in one line."""
        args = {"max_model_len": 512, "max_num_seqs": 32, "enforce_eager": False, "pipeline_parallel_size": 3}
        service = {
            "model": "demo", "hosts": 3, "port": self.port, "native_env": str(self.base / "env"), "engine_args": args, "restart_limit": 1,
            "drain_timeout": 2, "ready_timeout": 60, "served_name": "demo", "reference": None, "hosts_port": self.group_port, **row,
        }  # fmt: skip
        command = [
            "ansible-playbook",
            "-i",
            str(self.base / "hosts.yml"),
            playbook,
            "-e",
            json.dumps({"services": {"demo": service}}),
        ]
        done = subprocess.run(
            [*command, "--skip-tags", "prepare", *options], cwd=ROOT, env=ansible_environment(), capture_output=True, text=True, timeout=400, check=False
        )  # fmt: skip
        assert (done.returncode == 0) is ok and "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
        return " ".join(done.stdout.split())

    def running(self) -> list[Any]:
        """The release that runs on each host."""
        return [(releases.running_release(str(self.base / name), "demo") or {}).get("release") for name in HOSTS]

    def answers(self) -> bool:
        key = (self.base / "a/services/demo/api_key").read_text().strip()
        return bool(probe.chat(f"http://127.0.0.1:{self.port}", key, "demo", "What is 2 + 2?", 16, 5)["answer"] == "4")

    def verified(self, number: int) -> set[str]:
        return set(releases.verified(str(self.base / list(HOSTS)[number] / "services/demo")))


@pytest.fixture(scope="module")
def addresses() -> Iterator[None]:
    """Addresses of this machine that are none of its loopback network, whose engines would take each other's for their own."""
    for address in HOSTS.values():
        subprocess.run(["ip", "address", "replace", f"{address}/32", "dev", "lo"], check=True)
    yield
    for address in HOSTS.values():
        subprocess.run(["ip", "address", "delete", f"{address}/32", "dev", "lo"], check=False)


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory, tools: Path, addresses: None) -> Iterator[Site]:
    found = Site(tmp_path_factory.mktemp("g"))
    with ExitStack() as stack:
        for name in HOSTS:
            stack.enter_context(lent_tools(found.base / name, tools, "demo"))
        yield found


@pytest.mark.soak
def test_three_hosts_are_one_for_verdicts_and_maintenance(site: Site) -> None:
    site.run("deploy.yml")
    good = site.running()
    assert all(good) and site.answers()
    pack = f"pack={site.base}/references/plain"
    site.run("playbooks/record_reference.yml", "-l", "a", "-e", "service=demo", "-e", pack, "-e", "texts=12")
    assert "demo: EQUIVALENT against plain" in site.run("deploy.yml", reference="plain") and site.running() == good

    # Unlike its reference: all hosts return, by a deploy and by an upgrade, and no host counts the release as one to return to.
    apart = {"reference": "plain", "env": {"STUB_APART": "0.8"}}
    told = site.run("deploy.yml", ok=False, **apart)
    assert site.running() == good and site.answers()
    for release in good:
        assert f"answers unlike its reference, so release {release} was started again" in told
    assert all(site.verified(number) == {good[number]} for number in range(3))
    told = site.run("playbooks/upgrade.yml", ok=False, **apart)
    assert site.running() == good and site.answers()
    assert told.count("demo was not upgraded") >= 3 and all(
        f"Release {release} serves again" in told for release in good
    )

    # One that answers alike passes on all.
    site.run("playbooks/upgrade.yml", reference="plain", drain_timeout=3)
    now = site.running()
    assert now[0] != good[0] and all(now[number] in site.verified(number) for number in range(3))

    # Maintenance of a part is refused before anything stops; of all of them it is one piece of work.
    told = site.run("playbooks/maintenance.yml", "-l", "b", ok=False)
    assert "runs over a and b and c together, and this run is without a and c; take all of them: -l a,b,c" in told
    assert site.running() == now
    site.run("playbooks/maintenance.yml", "-l", "a,b,c")
    assert site.running() == now and site.answers()
