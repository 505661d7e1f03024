"""Faults behind and at the gateway under load: real HAProxy, stand-in engines as processes. Only requests in flight on what died may fail."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.serving.gateway import runtime
from conftest import FIXTURES
from gate import BACKEND_KEY, KEY, Gate, record, until
from load import Load, Outcome
from ports import free_port

CALLERS = {"team": {"keys": [{"key": KEY}], "requests_per_minute": 100_000, "concurrency": 500}}


class Process:
    """An engine of its own, which can be killed and stopped."""

    def __init__(self) -> None:
        self.model, self.port = "demo", free_port()
        self.start()

    def start(self) -> None:
        command = [sys.executable, str(FIXTURES / "stub_engine.py"), "good", str(self.port)]
        environment = {**os.environ, "VLLM_API_KEY": BACKEND_KEY}
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)

    def send(self, number: signal.Signals) -> float:
        """Send it a signal; when that was done."""
        self.process.send_signal(number)
        if number == signal.SIGKILL:
            self.process.wait(60)
        return time.monotonic()


class Site:
    def __init__(self, folder: Path) -> None:
        self.engines = [Process(), Process()]
        rows = [record(one, "here", service=name) for one, name in zip(self.engines, ("one", "two"), strict=True)]  # type: ignore[arg-type]
        for row in rows:
            row["gateway"] = {"answer_seconds": 1, "idle_seconds": 6, "concurrent": 200}
        self.gate = Gate(folder, rows, CALLERS)
        self.gate.agent()
        until(lambda: {self.gate.status("here.one"), self.gate.status("here.two")} == {"UP"}, 60)

    def load(self) -> Load:
        return Load(self.gate.url, KEY, rate=25, longest=2)

    def elsewhere(self, name: str) -> list[str]:
        """Requests in the gateway's log that failed or were cut, and not at this backend."""
        lines = [line for line in self.gate.log.read_text().splitlines() if line.startswith("{")]
        bad = [row for row in map(json.loads, lines) if row["caller"] and (row["status"] != 200 or row["end"] != "--")]
        return [json.dumps(row) for row in bad if not row["backend"].endswith(f"/{name}")]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    found = Site(tmp_path / "g")
    yield found
    for engine in found.engines:
        engine.send(signal.SIGCONT)
        engine.send(signal.SIGKILL)
    found.gate.close()


def bad(load: Load) -> list[Outcome]:
    return [outcome for outcome in load.outcomes if outcome.words != "ok"]


pytestmark = pytest.mark.slow


def test_of_a_killed_backend_only_requests_in_flight_fail(site: Site) -> None:
    with site.load() as load:
        time.sleep(2)
        killed = site.engines[0].send(signal.SIGKILL)
        until(lambda: site.gate.status("here.one").startswith("DOWN"), 60)
        site.engines[0].start()
        until(lambda: site.gate.status("here.one") == "UP", 60)
    assert all(outcome.began < killed for outcome in bad(load)), load.told()
    assert len(load.outcomes) > 50 and site.elsewhere("here.one") == []


def test_of_a_hung_backend_only_what_it_was_given_fails(site: Site) -> None:
    """It accepts and never answers. What it was given before the checks saw it ends with idle_seconds."""
    with site.load() as load:
        time.sleep(1)
        site.engines[0].send(signal.SIGSTOP)
        until(lambda: site.gate.status("here.one").startswith("DOWN"), 60)
        seen = time.monotonic()
        time.sleep(2)
        site.engines[0].send(signal.SIGCONT)
        until(lambda: site.gate.status("here.one") == "UP", 60)
    assert all(outcome.began < seen for outcome in bad(load)), load.told()
    assert any(outcome.began > seen for outcome in load.outcomes) and site.elsewhere("here.one") == []


def test_a_gateway_that_is_killed_and_started_goes_on(site: Site) -> None:
    with site.load() as load:
        time.sleep(1)
        haproxy, worker = site.gate.processes[0], runtime.worker(site.gate.api)
        haproxy.kill()
        haproxy.wait(60)
        until(lambda: not Path(f"/proc/{worker}").exists(), 60)
        site.gate.processes[0] = site.gate.haproxy()
        until(lambda: runtime.worker(site.gate.api), 60)
        until(lambda: site.gate.status("here.one") == "UP", 60)
        again = time.monotonic()
        time.sleep(2)
    assert any(outcome.began > again for outcome in load.outcomes)
    assert all(outcome.began < again for outcome in bad(load)), load.told()


@contextmanager
def no_room() -> Iterator[None]:
    """No file of this process grows, as on a full disk."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_stops_no_request_and_takes_nothing_out(site: Site, run_module: Any) -> None:
    """HAProxy can't write its log, and a run can't note what it takes out or that it is back."""
    site.gate.processes[0].terminate()
    site.gate.processes[0].wait(60)
    site.gate.log = Path("/dev/full")
    site.gate.processes[0] = site.gate.haproxy()
    until(lambda: runtime.worker(site.gate.api) and site.gate.status("here.one") == "UP", 60)

    def order(state: str) -> dict[str, Any]:
        given = {"folder": str(site.gate.folder), "backend": "here.one", "state": state}
        return dict(run_module("gateway_backend", given))

    with site.load() as load:
        time.sleep(2)
        with no_room():
            assert order("drained")["failed"] and site.gate.status("here.one") == "UP"
        assert order("drained")["changed"]
        with no_room():
            assert order("ready")["failed"]
        until(lambda: site.gate.status("here.one") == "UP", 60)  # it takes requests; what is left is the note
        assert order("ready")["changed"] and not order("ready")["changed"]
    load.whole()
