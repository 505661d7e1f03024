"""The gateway's programs and their supervisor, and HAProxy's old workers that say nothing."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.gateway import runtime
from ansible.module_utils.serving.gateway.units import FLOATING, PROXY, SPEC, run_unit, unit_differs
from ansible.module_utils.serving.service.supervisors import Supervisord, Systemd
from conftest import load


class Killed(BaseException):
    """No module reports it."""


class Manager(Systemd):
    """systemd's part: a unit is what was read last, and a program what its unit was at its start."""

    def __init__(self, units: Path) -> None:
        super().__init__("/srv/vllm")
        self.units, self.user = str(units), False
        self.known = self.runs = ""
        self.enabled = self.dies = False

    def systemctl(self, *words: str, check: bool = True) -> str:
        if words[0] == "enable":
            if self.dies:
                raise Killed
            self.enabled, self.known = True, Path(self.unit_path(PROXY)).read_text()
        elif words[0] == "start":
            self.known = self.known or Path(self.unit_path(PROXY)).read_text()
            self.runs = self.runs or self.known
        elif words[0] == "stop":
            self.runs = ""
        return "ActiveState=active\n" if words[0] == "show" and self.runs else ""

    def run(self, program: str) -> bool:
        return run_unit(self, PROXY, [program], "/srv/g", fresh=False)


def test_another_unit_ends_what_runs_below_systemd(tmp_path: Path) -> None:
    owner = Manager(tmp_path)
    assert not unit_differs(owner, PROXY, ["/one"], "/srv/g")  # there is none yet
    assert owner.run("/one") and "/one" in owner.runs and not owner.run("/one")
    assert not unit_differs(owner, PROXY, ["/one"], "/srv/g") and unit_differs(owner, PROXY, ["/two"], "/srv/g")
    assert owner.run("/two") and "/two" in owner.runs and not owner.run("/two")


@pytest.mark.parametrize("before", ["", "/one"])
def test_a_unit_that_a_killed_run_has_written_is_enabled_and_runs(before: str, tmp_path: Path) -> None:
    owner = Manager(tmp_path)
    if before:
        owner.run(before)
    owner.enabled, owner.dies = False, True
    with pytest.raises(Killed):
        owner.run("/two")
    owner.dies = False
    assert owner.run("/two") and owner.enabled and "/two" in owner.runs


class Master:
    """A master process with one old worker, which says nothing."""

    def __init__(self, path: Path) -> None:
        self.path, self.lists = str(path), ["4711", "4711"]  # the workers of each answer in turn
        self.server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.server.bind(self.path)
        self.server.listen()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        while True:
            with self.server.accept()[0] as asked:
                if asked.recv(1000).startswith(b"show proc"):
                    pid = self.lists.pop(0) if len(self.lists) > 1 else self.lists[0]
                    asked.sendall(f"# workers\n1 worker\n# old workers\n{pid} worker 1\n# programs\n".encode())


@pytest.fixture
def master(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Master:
    monkeypatch.setattr(runtime, "GRACE", 0.1)
    return Master(tmp_path / "master.sock")


def test_an_old_worker_that_goes_on_and_says_nothing_is_an_error(master: Master, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="old worker 4711 still has connections"):
        load("library/gateway.py").tell_old_workers(str(tmp_path))


def test_an_old_worker_that_has_ended_need_not_be_told(master: Master, tmp_path: Path) -> None:
    master.lists[1] = ""
    load("library/gateway.py").tell_old_workers(str(tmp_path))
    assert master.lists == [""]


def test_no_master_process_has_no_old_workers_and_one_that_says_nothing_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "GRACE", 0.1)
    path = tmp_path / "master.sock"
    assert runtime.old_workers(str(path)) == []
    monkeypatch.setattr(runtime, "ANSWER_SECONDS", 0.1)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(path))
        assert runtime.old_workers(str(path)) == []  # nobody listens
        server.listen()
        with pytest.raises(Refusal, match="does not say"):
            runtime.old_workers(str(path))


@pytest.mark.parametrize(("word", "refused"), [("state drain", True), ("state ready", False)])
def test_an_old_worker_that_says_nothing_stops_a_drain_and_no_return(
    word: str, refused: bool, master: Master, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders: list[str] = []
    answer: Callable[..., Any] = runtime.command

    def command(path: str, text: str) -> str:
        if path == master.path:
            return str(answer(path, text))
        orders.append(text)
        return ""

    monkeypatch.setattr(runtime, "command", command)
    order = load("library/gateway_backend.py").order
    row = {"pool": "p", "name": "b"}
    if refused:
        with pytest.raises(Refusal, match="4711"):
            order(str(tmp_path), row, word)
        assert orders == []
    else:
        order(str(tmp_path), row, word)
        assert orders[0] == f"set server p/b {word}"


def test_another_unit_of_keepalived_is_a_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_module: Callable[..., dict[str, Any]]
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 0)
    monkeypatch.setattr(Supervisord, "state", lambda *words: "running")
    floating, folder = load("library/gateway_floating.py"), tmp_path / "g"
    owner = Supervisord(str(tmp_path))
    unit = Path(owner.unit_path(FLOATING))
    for place in (folder, unit.parent):
        place.mkdir(parents=True)
    unit.write_text(owner.unit_text(FLOATING, floating.command("keepalived", str(folder)), str(folder), SPEC))
    (folder / floating.LOADED).write_text(json.dumps({floating.CONFIG: "c", floating.CHECK: "k"}))
    given = {
        "folder": str(folder),
        "serving_root": str(tmp_path),
        "supervisor": "supervisord",
        "config": "c",
        "check": "k",
    }
    assert not run_module("gateway_floating", given, check=True)["changed"]
    assert run_module("gateway_floating", {**given, "keepalived": "/opt/keepalived"}, check=True)["changed"]
