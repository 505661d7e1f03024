"""Faults behind and at a gateway: real HAProxy, stand-in engines as processes on two hosts of their own network. For tests and figures. Needs root."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ansible.module_utils.serving.gateway import runtime
from conftest import FIXTURES
from gate import BACKEND_KEY, KEY, Gate, record, until
from load import Outcome
from ports import free_port
from spaces import LoadFrom, Spaces, spaces_of

CALLERS = {"team": {"keys": [{"key": KEY}], "requests_per_minute": 100_000, "concurrency": 500}}
ADDRESSES = {"one": "10.99.0.1", "two": "10.99.0.2", "door": "10.99.0.3"}


class Process:
    """An engine on a host of its own, which can be killed and stopped."""

    def __init__(self, space: str, address: str) -> None:
        self.model, self.port, self.space, self.address = "demo", free_port(), space, address
        self.start()

    def start(self) -> None:
        # ip becomes the engine.
        command = [
            "ip", "netns", "exec", self.space, sys.executable, str(FIXTURES / "stub_engine.py"), "good", str(self.port)
        ]  # fmt: skip
        environment = {**os.environ, "VLLM_API_KEY": BACKEND_KEY, "HOST": self.address}
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)

    def send(self, number: signal.Signals) -> float:
        """Send it a signal; when that was done."""
        self.process.send_signal(number)
        if number == signal.SIGKILL:
            self.process.wait(60)
        return time.monotonic()


class Door(Gate):
    """A gateway in a namespace."""

    space = ""

    def spawn(self, *words: str) -> subprocess.Popen[bytes]:
        return super().spawn("ip", "netns", "exec", self.space, *words)


class Site:
    """Two hosts with an engine each, a host with the gateway and its callers, and the cables between them."""

    def __init__(self, folder: Path, spaces: Spaces) -> None:
        self.spaces = spaces
        self.engines = [Process(spaces[name], ADDRESSES[name]) for name in ("one", "two")]
        rows = [
            record(engine, "here", service=name, address=engine.address)  # type: ignore[arg-type]
            for engine, name in zip(self.engines, ("one", "two"), strict=True)
        ]
        for row in rows:
            row["gateway"] = {"answer_seconds": 1, "idle_seconds": 6, "concurrent": 200}
        Door.space = spaces["door"]
        self.gate = Door(folder, rows, CALLERS)
        self.gate.agent()
        until(lambda: {self.gate.status("here.one"), self.gate.status("here.two")} == {"UP"}, 60)

    def load(self) -> LoadFrom:
        LoadFrom.space = self.spaces["door"]
        return LoadFrom(self.gate.url, KEY, rate=25, longest=2)

    def down(self) -> None:
        until(lambda: self.gate.status("here.one").startswith("DOWN"), 60)

    def up(self) -> None:
        until(lambda: self.gate.status("here.one") == "UP", 60)

    def elsewhere(self) -> list[str]:
        """Requests in the gateway's log that failed or were cut, and not at the backend of the faults."""
        lines = [line for line in self.gate.log.read_text().splitlines() if line.startswith("{")]
        bad = [row for row in map(json.loads, lines) if row["caller"] and (row["status"] != 200 or row["end"] != "--")]
        return [json.dumps(row) for row in bad if not row["backend"].endswith("/here.one")]

    def close(self) -> None:
        for engine in self.engines:
            engine.send(signal.SIGCONT)
            engine.send(signal.SIGKILL)
        self.gate.close()


@contextmanager
def faulty_site(folder: Path) -> Iterator[Site]:
    """Such hosts, ended at the end."""
    with spaces_of(ADDRESSES) as spaces:
        site = Site(folder, spaces)
        try:
            yield site
        finally:
            site.close()


def bad(load: LoadFrom) -> list[Outcome]:
    return [outcome for outcome in load.outcomes if outcome.words != "ok"]


def killed(site: Site) -> float:
    moment = site.engines[0].send(signal.SIGKILL)
    site.down()
    site.engines[0].start()
    site.up()
    return moment


def hung(site: Site) -> float:
    """It accepts and never answers. What it was given before the checks saw it ends with idle_seconds."""
    site.engines[0].send(signal.SIGSTOP)
    site.down()
    moment = time.monotonic()
    time.sleep(2)
    site.engines[0].send(signal.SIGCONT)
    site.up()
    return moment


def host_gone(site: Site) -> float:
    """Nothing comes from it, no refusal either, for longer than its requests may take."""
    moment = time.monotonic()
    site.spaces.cable("one", "down")
    site.down()
    time.sleep(8)
    site.spaces.cable("one", "up")
    site.up()
    return moment


def gateway_killed(site: Site) -> float:
    """Until it is started again nobody is answered."""
    haproxy, worker = site.gate.processes[0], runtime.worker(site.gate.api)
    haproxy.kill()
    haproxy.wait(60)
    until(lambda: not Path(f"/proc/{worker}").exists(), 60)
    site.gate.processes[0] = site.gate.haproxy()
    until(lambda: runtime.worker(site.gate.api), 60)
    site.up()
    return time.monotonic()


# What happens, and what does it and ends it: the moment (monotonic seconds) after which no new request may fail.
FAULTS: dict[str, Callable[[Site], float]] = {
    "a backend is killed": killed,
    "a backend hangs": hung,
    "a backend's host is gone": host_gone,
    "the gateway is killed": gateway_killed,
}
