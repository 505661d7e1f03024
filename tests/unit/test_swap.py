"""Planned operations under load: real playbooks, two hosts with a stand-in engine each, a real HAProxy before them. No request fails, none is cut."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.serving.gateway import drains, runtime
from ansible.module_utils.serving.service import releases
from ansible.module_utils.serving.service.supervisors import Supervisord
from conftest import ROOT, ansible_environment
from gate import BACKEND_KEY, KEY, until
from ports import free_port
from services import members
from test_deploy import VLLM

HOSTS = ("one", "two")


class Fleet:
    """Hosts `one` and `two` with the service demo, and the gateway `door`, all on this machine, each with its own folder."""

    def __init__(self, base: Path, tools: Path, engine: str = VLLM, **row: Any) -> None:
        self.base, self.ca, self.more = base, base / "ca/ca.crt", row
        (base / "env/bin").mkdir(parents=True)
        (base / "env/bin/vllm").write_text(engine)
        (base / "env/bin/vllm").chmod(0o755)
        shutil.copytree(ROOT / "inventory/group_vars", base / "group_vars")
        self.port, self.agent_port = free_port(), free_port()
        for name in (*HOSTS, "door"):
            self.root(name).mkdir()
            (self.root(name) / "tools").symlink_to(tools)
        local = {"ansible_connection": "local"}
        hosts = {
            name: {**local, "runs": ["demo"], "serving_root": str(self.root(name)), **self.row(name)} for name in HOSTS
        }
        door = {**local, "serving_root": str(self.root("door")), "ansible_python_interpreter": sys.executable}
        groups = {"accelerators": {"children": {"local": {"hosts": hosts}}}, "gateways": {"hosts": {"door": door}}}
        (base / "hosts.yml").write_text(json.dumps(groups))

    def root(self, host: str) -> Path:
        return self.base / host

    def row(self, host: str) -> dict[str, Any]:
        port = free_port()
        row = {
            "port": port, "native_env": str(self.base / "env"), "restart_limit": 1, "drain_timeout": 1, "ready_timeout": 60,
            "reference": None, "env": {"STUB_MODE": "{{ stub_mode | default('good') }}", "STUB_PAUSE": "0.2", "STUB_ROW": "{{ stub_row | default('a') }}"},
            "gateway": {"via": f"127.0.0.1:{port}"}, **self.more,
        }  # fmt: skip
        return {"overrides": {"demo": row}}

    def start(self, name: str, *options: str, **values: Any) -> subprocess.Popen[str]:
        extra = {
            "reports_dir": str(self.base / "reports"), "pins_file": str(self.base / "pins"), "supervisor": "supervisord", "probe_timeout": 30,
            "gateway_port": self.port, "gateway_agent_port": self.agent_port, "gateway_ca": str(self.base / "ca"), "gateway_address": "127.0.0.1",
            "gateway_names": ["localhost"], "manage_firewall": False, "api_keys": {"demo": BACKEND_KEY}, "gateway_drain_seconds": 60,
            "gateway_callers": {"team": {"keys": [KEY], "requests_per_minute": 100_000}}, **values,
        }  # fmt: skip
        return subprocess.Popen(
            ["ansible-playbook", "-i", str(self.base / "hosts.yml"), name, "-e", json.dumps(extra), "--skip-tags", "prepare", *options],
            cwd=ROOT, env=ansible_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip

    def play(self, name: str, *options: str, ok: bool = True, **values: Any) -> str:
        process = self.start(name, *options, **values)
        output, _ = process.communicate(timeout=900)
        assert (process.returncode == 0) is ok and "Traceback" not in output, output
        assert BACKEND_KEY not in output and KEY not in output
        return " ".join(output.split())

    def release(self, host: str) -> Any:
        return (releases.running_release(str(self.root(host)), "demo") or {}).get("release")

    def pid(self, host: str) -> Any:
        return (releases.running_release(str(self.root(host)), "demo") or {}).get("pid")

    def states(self) -> dict[str, str]:
        return {row["name"]: row["status"] for row in runtime.servers(str(self.root("door") / "gateway/admin.sock"))}

    def end(self) -> None:
        for name, units in (("door", ("gateway-haproxy", "gateway-agent")), ("one", ("demo",)), ("two", ("demo",))):
            owner = Supervisord(str(self.root(name)))
            if owner.alive():
                for unit in units:
                    owner.stop(unit)
                owner.shutdown()
            for pid in members(self.root(name) / "services/demo"):
                os.kill(pid, signal.SIGKILL)

    def out(self) -> set[str]:
        return set(drains.read(str(self.root("door") / "gateway"))[0])

    def ask(self, stream: bool) -> str:
        """`ok`, or what went wrong."""
        context = ssl.create_default_context(cafile=str(self.ca))
        body = {"model": "demo", "messages": [{"role": "user", "content": "2+2"}], "stream": stream}
        try:
            connection = http.client.HTTPSConnection("localhost", self.port, timeout=60, context=context)
            connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Authorization": f"Bearer {KEY}"})
            answer = connection.getresponse()
            text = answer.read().decode()
            connection.close()
        except (OSError, http.client.HTTPException) as problem:
            return repr(problem)
        whole = answer.status == 200 and ("[DONE]" in text if stream else "choices" in text)
        return "ok" if whole else f"{answer.status} {answer.getheader('Retry-After')} {text[-200:]}"


class Load:
    """Callers that ask all the time."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet, self.outcomes, self.done = fleet, list[str](), threading.Event()
        self.threads = [threading.Thread(target=self.call, args=(number % 2 == 0,)) for number in range(4)]

    def call(self, stream: bool) -> None:
        while not self.done.is_set():
            self.outcomes.append(self.fleet.ask(stream))
            time.sleep(0.05)

    def __enter__(self) -> Load:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        for thread in self.threads:
            thread.join(90)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, tools: Path) -> Iterator[Fleet]:
    found = Fleet(tmp_path_factory.mktemp("f"), tools)
    yield found
    found.end()


UP = {"one.demo": "UP", "two.demo": "UP"}


@pytest.fixture(scope="module")
def served(fleet: Fleet) -> Fleet:
    fleet.play("deploy.yml")
    until(lambda: fleet.states() == UP, 60)
    return fleet


@pytest.fixture
def load(served: Fleet) -> Iterator[Load]:
    """No request of a test fails and none is cut."""
    with Load(served) as found:
        yield found
    assert len(found.outcomes) > 20 and set(found.outcomes) == {"ok"}


@pytest.mark.slow
def test_deploy_rollback_and_restart_take_one_host_after_the_other(served: Fleet, load: Load) -> None:
    first = {host: served.release(host) for host in HOSTS}
    told = served.play("deploy.yml", stub_row="b")
    assert told.count("demo was out of the gateways for") == 2 and "other backends answered its callers" in told
    assert all(served.release(host) != first[host] for host in HOSTS)
    served.play("playbooks/rollback.yml", service="demo")
    assert {host: served.release(host) for host in HOSTS} == first
    before = {host: served.pid(host) for host in HOSTS}
    served.play("playbooks/restart.yml", service="demo")
    assert all(served.pid(host) != before[host] for host in HOSTS) and served.states() == UP


@pytest.mark.slow
def test_a_release_that_does_not_answer_goes_back_before_the_next_host(served: Fleet, load: Load) -> None:
    first, other = {host: served.release(host) for host in HOSTS}, served.pid("two")
    told = served.play("deploy.yml", stub_mode="crash", ok=False)
    assert "demo was not upgraded" in told and served.pid("two") == other
    assert {host: served.release(host) for host in HOSTS} == first and served.states() == UP


@pytest.mark.slow
def test_what_a_killed_run_took_out_is_told_and_put_back_by_the_next(served: Fleet, load: Load) -> None:
    process = served.start("playbooks/restart.yml", "-l", "one", service="demo")
    until(lambda: "one.demo" in served.out(), 120)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert served.out() == {"one.demo"}
    assert "one.demo is out since" in served.play("playbooks/status.yml", ok=False)
    told = served.play("playbooks/restart.yml", "-l", "two", service="demo", ok=False)
    assert "last one of its model that takes requests" in told and served.pid("two")
    served.play("playbooks/start.yml", "-l", "one", service="demo")
    assert served.out() == set() and served.states() == UP


@pytest.mark.slow
def test_maintenance_a_new_key_and_a_stop_and_start(served: Fleet, load: Load) -> None:
    served.play("playbooks/maintenance.yml", "-l", "one")
    assert served.states() == UP
    served.play("playbooks/rotate_key.yml", "-l", "two", service="demo", api_keys={"demo": "b" * 30})
    assert served.states() == UP
    served.play("playbooks/stop.yml", "-l", "two", service="demo")
    assert served.states()["one.demo"] == "UP" and served.out() == set()
    served.play("playbooks/start.yml", "-l", "two", service="demo")
    until(lambda: served.states() == UP, 60)
