"""Hosts on this machine behind a gateway: real playbooks, stand-in engines, a real HAProxy."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from ansible.module_utils.serving.gateway import drains, runtime
from ansible.module_utils.serving.service import releases
from ansible.module_utils.serving.service.supervisors import Supervisord
from conftest import ROOT, ansible_environment
from gate import BACKEND_KEY, KEY, until
from load import Load
from ports import free_port
from services import VLLM, members


class Fleet:
    """Hosts that run services of the stand-in engine, and the gateway `door`, all on this machine, each with its own folder.

    `hosts`: {host: what it has of its own in the inventory, `runs` among it}. `row`: changes of the service demo on all of them.
    `beside`: new releases may be started beside old ones.
    """

    def __init__(
        self,
        base: Path,
        tools: Path,
        hosts: Mapping[str, Mapping[str, Any]],
        *,
        engine: str = VLLM,
        beside: bool = False,
        **row: Any,
    ) -> None:
        self.base, self.ca, self.hosts = base, base / "ca/ca.crt", list(hosts)
        self.inventory = base / "hosts.yml"
        (base / "env/bin").mkdir(parents=True)
        (base / "env/bin/vllm").write_text(engine)
        (base / "env/bin/vllm").chmod(0o755)
        shutil.copytree(ROOT / "inventory/group_vars", base / "group_vars")
        self.port, self.agent_port = free_port(), free_port()
        for name in (*hosts, "door"):
            self.root(name).mkdir()
            (self.root(name) / "tools").symlink_to(tools)
        local = {"ansible_connection": "local"}
        rows = {
            name: {
                **local,
                "serving_root": str(self.root(name)),
                "overrides": {"demo": {**self.row(beside), **row}},
                **own,
            }
            for name, own in hosts.items()
        }
        door = {**local, "serving_root": str(self.root("door")), "ansible_python_interpreter": sys.executable}
        groups = {"accelerators": {"children": {"local": {"hosts": rows}}}, "gateways": {"hosts": {"door": door}}}
        self.inventory.write_text("# Written by hand.\n" + yaml.safe_dump(groups, sort_keys=False))

    def root(self, host: str) -> Path:
        return self.base / host

    def row(self, beside: bool) -> dict[str, Any]:
        """What a host changes of demo. Two ports are free: replicas count up from the first, or a new release has the second one."""
        port = free_port()
        while (second := free_port()) != port + 1:
            port = second
        return {
            "port": port, "native_env": str(self.base / "env"), "restart_limit": 1, "drain_timeout": 1, "ready_timeout": 60, "reference": None,
            "env": {"STUB_MODE": "{{ stub_mode | default('good') }}", "STUB_ROW": "{{ stub_row | default('a') }}"},
            "gateway": {"via": f"127.0.0.1:{port}", "concurrent": 500, **({"beside": port + 1} if beside else {})},
        }  # fmt: skip

    def change_ports(self) -> None:
        """Another port for demo on each host, in the inventory."""
        groups = yaml.safe_load(self.inventory.read_text())
        for host in groups["accelerators"]["children"]["local"]["hosts"].values():
            row, port = host["overrides"]["demo"], free_port()
            row["port"], row["gateway"]["via"] = port, f"127.0.0.1:{port}"
        self.inventory.write_text(yaml.safe_dump(groups, sort_keys=False))

    def start(self, name: str, *options: str, **values: Any) -> subprocess.Popen[str]:
        extra = {
            "reports_dir": str(self.base / "reports"), "pins_file": str(self.base / "pins"), "supervisor": "supervisord", "probe_timeout": 30,
            "gateway_port": self.port, "gateway_agent_port": self.agent_port, "gateway_ca": str(self.base / "ca"), "gateway_address": "127.0.0.1",
            "gateway_names": ["localhost"], "manage_firewall": False, "api_keys": {"demo": BACKEND_KEY}, "gateway_drain_seconds": 120,
            "gateway_callers": {"team": {"keys": [KEY], "requests_per_minute": 100_000, "concurrency": 1000}}, **values,
        }  # fmt: skip
        return subprocess.Popen(
            ["ansible-playbook", "-i", str(self.inventory), name, "-e", json.dumps(extra), "--skip-tags", "prepare", *options],
            cwd=ROOT, env=ansible_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip

    def play(self, name: str, *options: str, ok: bool = True, **values: Any) -> str:
        process = self.start(name, *options, **values)
        output, _ = process.communicate(timeout=900)
        assert (process.returncode == 0) is ok and "Traceback" not in output, output
        assert BACKEND_KEY not in output and KEY not in output
        return " ".join(output.split())

    def release(self, host: str, service: str = "demo") -> Any:
        return (releases.running_release(str(self.root(host)), service) or {}).get("release")

    def pid(self, host: str, service: str = "demo") -> Any:
        return (releases.running_release(str(self.root(host)), service) or {}).get("pid")

    def states(self) -> dict[str, str]:
        return {row["name"]: row["status"] for row in runtime.servers(str(self.root("door") / "gateway/admin.sock"))}

    def out(self) -> set[str]:
        return set(drains.read(str(self.root("door") / "gateway"))[0])

    def load(self, **more: Any) -> Load:
        """Callers, 50 requests a second."""
        return Load(f"https://localhost:{self.port}/v1/chat/completions", KEY, str(self.ca), **more)

    def close(self) -> None:
        for host in (*self.hosts, "door"):
            owner, root = Supervisord(str(self.root(host))), str(self.root(host))
            names = [*releases.services(root), *(("gateway-haproxy", "gateway-agent") if host == "door" else ())]
            if owner.alive():
                for name in names:
                    owner.stop(name)
                owner.shutdown()
            for name in names:
                for pid in members(self.root(host) / "services" / name):
                    os.kill(pid, signal.SIGKILL)


@contextmanager
def fleet_of(base: Path, tools: Path, hosts: Mapping[str, Mapping[str, Any]], **changes: Any) -> Iterator[Fleet]:
    """Such hosts, ended at the end."""
    found = Fleet(base, tools, hosts, **changes)
    try:
        yield found
    finally:
        found.close()


def sum_of(_: float) -> dict[str, Any]:
    """A question that a real engine answers in a moment."""
    return {"messages": [{"role": "user", "content": "What is 127 + 45?"}], "max_tokens": 8, "temperature": 0}


def for_real(base: Path, root: Path, env: Path) -> None:
    """Two replicas by a real vLLM behind a gateway, two requests a second: an upgrade and a rollback of which no caller notices anything.

    `root` has the tools, `env` is the engine's environment.
    """
    own = {
        "native_env": str(env),
        "env": {"TRIED": "{{ stub_row | default('a') }}"},
        "replicas": 2,
        "ready_timeout": 300,
        "drain_timeout": 30,
    }
    with fleet_of(base, root / "tools", {"one": {"runs": ["demo"]}}, **own) as fleet:
        fleet.play("deploy.yml")
        up = {"one.demo-1": "UP", "one.demo-2": "UP"}
        until(lambda: fleet.states() == up, 120)
        first = [fleet.release("one", f"demo-{number}") for number in (1, 2)]
        with fleet.load(rate=2, longest=1, body=sum_of) as load:
            told = fleet.play("playbooks/upgrade.yml", stub_row="b")
            assert told.count("was out of the gateways for") == 2 and "other backends answered its callers" in told
            assert not {fleet.release("one", f"demo-{number}") for number in (1, 2)} & set(first)
            for number in (1, 2):
                fleet.play("playbooks/rollback.yml", service=f"demo-{number}")
        load.whole()
        assert [fleet.release("one", f"demo-{number}") for number in (1, 2)] == first and fleet.states() == up
