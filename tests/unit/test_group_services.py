"""Two hosts with one service: two serving roots with a supervisord each, through the modules that playbooks call."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import FIXTURES, ROOT
from ports import free_port
from services import RUNNER, Host, Result, host_fixture, until

first_host = pytest.fixture(host_fixture)
second_host = pytest.fixture(host_fixture)
ADDRESSES = ["127.0.0.1", "127.0.0.2"]


class Part(Host):
    """One host of the service."""

    def __init__(self, host: Host, rank: int, ports: dict[str, int], port: int) -> None:
        self.root, self.run, self.folder, self.port = host.root, host.run, host.folder, port
        self.rank, self.ports = rank, ports

    def release(self, digest: str, state: str = "started", mode: str = "good") -> Result:
        group = {
            "size": 2, "rank": self.rank, "leader": "a", "members": ["a", "b"], "addresses": ADDRESSES, "address": ADDRESSES[self.rank],
            "interface": "lo", "ports": self.ports, "silence": 3, "step_seconds": 5, "digest": digest,
        }  # fmt: skip
        key = self.folder / "api_key"
        engine = f"export VLLM_API_KEY=$(head -n 1 {key})\nexec {sys.executable} {FIXTURES}/stub_engine.py {mode} {self.port}\n"
        args = {
            "name": "demo", "serving_root": str(self.root), "state": state, "supervisor": "supervisord", "python": sys.executable, "runner": RUNNER,
            "files": {
                "start": f'#!/bin/sh\ncd -P -- "$(dirname -- "$0")"\nexec {sys.executable} -u group.py\n',
                "group.py": (ROOT / "templates/group/group.py").read_text(),
                "engine": "#!/bin/sh\n" + ("exec sleep 1000\n" if self.rank else engine),
            },
            "spec": {
                "endpoint": f"http://127.0.0.1:{self.port}", "served_name": "demo", "drain_timeout": 2, "ready_timeout": 60, "restart_limit": 2,
                "api_key": self.rank == 0, "check": {"prompt": "What is 127 + 45?", "expect": "172"}, "group": group,
            },
        }  # fmt: skip
        return self.run("inference_service", args)

    def verb(self, state: str) -> Result:
        return self.service(None, state)

    def row(self) -> dict[str, Any]:
        found: dict[str, Any] = self.ask(required=False, log_lines=0)["services"][0]
        return found


Pair = tuple[Part, Part]


@pytest.fixture
def pair(first_host: Host, second_host: Host) -> Iterator[Pair]:
    ports, port = {name: free_port() for name in ("master", "watch")}, free_port()
    yield Part(first_host, 0, ports, port), Part(second_host, 1, ports, port)


def ready(pair: Pair) -> Callable[[], bool]:
    return lambda: all(part.row()["ready"] for part in pair)


def test_deployed_upgraded_rolled_back_and_killed_as_one(pair: Pair) -> None:
    first, second = pair
    assert first.release("one")["changed"]
    until(lambda: first.row()["group"]["state"] == "waiting")
    row = first.row()
    assert not row["ready"] and row["problem"] == "it waits for b (127.0.0.2)"
    assert second.release("one")["changed"]
    until(ready(pair), 60)
    row = second.row()
    assert row["answer"] == "follows a" and row["group"]["state"] == "answering" and first.row()["answer"] == "172"
    old = [first.release("one"), second.release("one")]
    assert [one["changed"] for one in old] == [False, False]
    assert not (second.folder / "api_key").exists()

    # An upgrade whose second host has not come yet: the first one waits, and serves nothing half new.
    first.release("two")
    until(lambda: any(words in (second.row()["problem"] or "") for words in ("answer yet", "waits for a")))
    assert not second.row()["ready"]
    second.release("two")
    until(ready(pair), 60)

    for part, before in zip(pair, old, strict=True):
        assert part.verb("rolled_back")["release"] == before["release"]
    until(ready(pair), 60)

    process = second.process()
    assert process is not None
    os.killpg(process["group"], signal.SIGKILL)  # the host's part, with its runner
    until(lambda: not first.row()["ready"])
    until(ready(pair), 90)
    assert first.row()["restarts"] == 0

    for part in (first, second):
        part.verb("stopped")
    assert first.process() is None and second.process() is None
    for part in (second, first):
        part.verb("started")
    until(ready(pair), 60)
    for part in pair:
        part.verb("absent")
        assert not part.folder.exists()


def test_a_release_that_never_answers_returns_on_both(pair: Pair) -> None:
    first = pair[0]
    for part in pair:
        part.release("one")
    until(ready(pair), 60)
    good = [part.process() for part in pair]
    for part in pair:
        part.release("two", mode="crash")
    until(lambda: first.row()["restarts"] > 0 or first.row()["state"] in ("backoff", "failed"), 60)
    for part, before in zip(pair, good, strict=True):
        assert before is not None
        assert part.verb("reverted")["release"] == before["release"]
    until(ready(pair), 60)
