"""group.py below foreground.py, as real processes on loopback: hosts start together, end together, and come back together."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from ports import free_port

FOREGROUND = ROOT / "roles/serve/files/foreground.py"
# Stands for an engine: it answers, hangs or fails as the file `mode` beside it says, and notes its start and its end.
ENGINE = """
import http.server, os, signal, sys, time
here = sys.argv[1]
open(here + "/started", "a").write(os.environ["GROUP_INTERFACE"] + chr(10))
open(here + "/pid", "w").write(str(os.getpid()))
def end(*_):
    time.sleep(0.5)
    open(here + "/ended", "w").write(str(time.time()))
    os._exit(0)
signal.signal(signal.SIGTERM, end)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        mode = open(here + "/mode").read()
        if mode == "hang":
            time.sleep(60)
        if mode == "nonsense":
            return self.wfile.write(b"SSH-2.0-x" + bytes([13, 10, 13, 10]))
        self.send_response(500 if mode == "fail" else 200)
        self.end_headers()
        for _ in range(60 if mode == "trickle" else 0):
            self.wfile.write(b" ")
            time.sleep(0.5)
        self.wfile.write(b"ok")
    do_GET = do_POST
    def log_message(self, *_): pass
if sys.argv[2] == "0":
    while True:
        time.sleep(1)
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Handler).serve_forever()
"""


class Part:
    """One host: a service's folder, and its runner."""

    def __init__(self, base: Path, rank: int, ports: dict[str, int], digest: str = "d", size: int = 2) -> None:
        self.folder, self.rank = base / f"host-{rank}", rank
        release = self.folder / "releases/r"
        release.mkdir(parents=True)
        (self.folder / "current").symlink_to("releases/r")
        addresses = ["127.0.0.1", "127.0.0.2", "127.0.0.3"][:size]
        group = {
            "size": size, "rank": rank, "leader": "a", "members": ["a", "b", "c"][:size], "addresses": addresses, "address": addresses[rank],
            "interface": "lo" if rank else None, "ports": ports, "silence": 5, "step_seconds": 4, "digest": digest,
        }  # fmt: skip
        spec = {
            "group": group, "drain_timeout": 5, "ready_timeout": 30, "endpoint": f"http://127.0.0.1:{ports['api']}", "served_name": "m",
            "api_key": rank == 0,
        }  # fmt: skip
        text = (ROOT / "templates/group/group.py").read_text()
        for old, new in (
            ("EACH = 30.0", "EACH = 0.2"),
            ("FIRST, SOON = 2.0, 5.0", "FIRST, SOON = 0.2, 0.2"),
            ("END = 10.0", "END = 3.0"),
            ("BEFORE_HELLO = 10.0", "BEFORE_HELLO = 2.0"),
            ("CONSEQUENCE = 3.0", "CONSEQUENCE = 1.0"),
            ("MARGIN = 30.0", "MARGIN = 1.0"),
            ("BEAT = 2.0", "BEAT = 0.2"),
        ):
            assert old in text
            text = text.replace(old, new)
        (release / "group.py").write_text(text)
        (release / "spec.json").write_text(json.dumps(spec))
        (release / "start").write_text(f'#!/bin/sh\ncd -P -- "$(dirname -- "$0")"\nexec {sys.executable} -u group.py\n')
        (release / "start").chmod(0o755)
        (self.folder / "api_key").write_text("secret\n")
        (self.folder / "mode").write_text("good")
        (self.folder / "engine.py").write_text(ENGINE)
        port = 0 if rank else ports["api"]
        (release / "engine").write_text(
            f"#!/bin/sh\nexec {sys.executable} {self.folder}/engine.py {self.folder} {port}\n"
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        log = (self.folder / "log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-u", str(FOREGROUND), str(self.folder)], stdout=log, stderr=log
        )

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def state(self) -> str:
        try:
            return str(json.loads((self.folder / "group.json").read_text())["state"])
        except FileNotFoundError:
            return ""

    def starts(self) -> int:
        path = self.folder / "started"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def pid(self) -> int:
        return int((self.folder / "pid").read_text())

    def exit(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / "exit.json").read_text()))

    def wait(self) -> int:
        assert self.process is not None
        return self.process.wait(60)

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            self.process.wait(60)


def until(check: Callable[[], Any], what: str = "") -> None:
    end = time.monotonic() + 60
    while not check():
        assert time.monotonic() < end, what
        time.sleep(0.05)


Pair = tuple[Part, ...]


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    ports = {name: free_port() for name in ("api", "watch", "master")}
    found = Part(tmp_path, 0, ports), Part(tmp_path, 1, ports)
    yield found
    for part in found:
        part.kill()


def together(pair: Pair) -> None:
    for part in pair:
        part.start()
    until(lambda: all(part.state() == "answering" for part in pair), "the two never answered")


def test_engines_start_once_all_hosts_are_there(pair: Pair) -> None:
    first, second = pair
    first.start()
    until(lambda: first.state() == "waiting")
    time.sleep(1.5)
    assert first.starts() == 0 and "waiting for b (127.0.0.2)" in first.log()
    second.start()
    until(lambda: first.state() == second.state() == "answering")
    assert (first.folder / "started").read_text() == (second.folder / "started").read_text() == "lo\n"


def test_an_engine_that_dies_is_the_failure_of_its_host_alone(pair: Pair) -> None:
    first, second = pair
    together(pair)
    os.kill(second.pid(), signal.SIGKILL)
    second.wait()
    assert second.exit()["unasked"] == 1
    until(lambda: first.state() == "waiting")
    assert "b (127.0.0.2) has ended its part" in first.log() and not (first.folder / "exit.json").exists()
    second.start()  # as its supervisor does
    until(lambda: first.state() == second.state() == "answering")
    assert first.starts() == second.starts() == 2


@pytest.mark.parametrize(("rank", "code"), [(0, 0), (1, 3)])
def test_a_start_that_fails_on_one_host_counts_on_all(pair: Pair, rank: int, code: int) -> None:
    """vLLM's server ends with 0 when a worker on another host has died: a deploy must hear of it at once, on each host."""
    (pair[0].folder / "mode").write_text("fail")
    (pair[rank].folder / "releases/r/engine").write_text(f"#!/bin/sh\nsleep 1\nexit {code}\n")
    for part in pair:
        part.start()
    codes = [part.wait() for part in pair]
    assert codes == [1, code or 1] and [part.exit()["unasked"] for part in pair] == [1, 1]


def test_of_three_hosts_two_wait_for_the_third(tmp_path: Path) -> None:
    ports = {name: free_port() for name in ("api", "watch", "master")}
    parts = tuple(Part(tmp_path, rank, ports, size=3) for rank in range(3))
    try:
        together(parts)
        os.kill(parts[2].pid(), signal.SIGKILL)
        parts[2].wait()
        until(lambda: parts[0].log().rpartition("waiting for ")[2] == "c (127.0.0.3)\n", "the first went on without it")
        until(lambda: parts[1].state() == "waiting", "the second went on without it")
        parts[2].start()
        until(
            lambda: all(part.state() == "answering" and part.starts() == 2 for part in parts), "they did not come back"
        )
    finally:
        for part in parts:
            part.kill()


def test_another_run_of_the_first_host_meets_no_old_follower(pair: Pair) -> None:
    first, second = pair
    together(pair)
    old = second.pid()
    assert first.process is not None
    first.process.terminate()
    first.wait()
    until(lambda: second.state() == "waiting")
    first.start()
    until(lambda: first.state() == second.state() == "answering")
    assert second.pid() != old and not (second.folder / "exit.json").exists()


def test_a_host_that_is_silent_is_gone_until_it_speaks(pair: Pair) -> None:
    first, second = pair
    together(pair)
    assert second.process is not None
    pid = second.process.pid
    [runner] = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    os.kill(runner, signal.SIGSTOP)
    until(lambda: first.state() == "waiting")
    assert "b (127.0.0.2) has been silent for 5 s" in first.log()
    os.kill(runner, signal.SIGCONT)
    # The host that was silent still has its old state on disk when it comes back.
    until(lambda: first.state() == second.state() == "answering" and first.starts() == second.starts() == 2)


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("hang", "no answer to a real question within 5 s"),
        ("trickle", "no answer to a real question within 5 s"),
        ("fail", "3 errors (HTTP 500) in a row"),
        ("nonsense", "3 errors (HTTP none) in a row"),
    ],
)
def test_an_engine_that_does_not_answer_is_replaced_on_all_hosts(pair: Pair, mode: str, words: str) -> None:
    first, second = pair
    together(pair)
    (first.folder / "mode").write_text(mode)
    until(lambda: words in first.log(), first.log())
    (first.folder / "mode").write_text("good")
    until(lambda: first.state() == second.state() == "answering" and first.starts() == second.starts() == 2)


def test_another_release_is_refused_and_told(tmp_path: Path) -> None:
    ports = {name: free_port() for name in ("api", "watch", "master")}
    first, second = Part(tmp_path, 0, ports), Part(tmp_path, 1, ports, digest="other")
    first.start()
    second.start()
    try:
        until(lambda: "a (127.0.0.1) refuses this host: it has another release" in second.log())
        time.sleep(2)
        assert first.starts() == second.starts() == 0 and second.log().count("refuses") == 1
    finally:
        first.kill()
        second.kill()
    assert first.exit()["unasked"] == second.exit()["unasked"] == 0


def test_stopped_together_the_first_host_drains_and_the_follower_waits_for_it(pair: Pair) -> None:
    first, second = pair
    together(pair)
    for part in (second, first):
        assert part.process is not None
        part.process.terminate()
    assert first.wait() == 0 and second.wait() == 0
    assert first.exit()["unasked"] == second.exit()["unasked"] == 0
    ended = [float((part.folder / "ended").read_text()) for part in pair]
    assert ended[0] < ended[1]


def test_strangers_are_sent_away(pair: Pair) -> None:
    first, second = pair
    first.start()
    until(lambda: first.state() == "waiting")
    watch = json.loads((first.folder / "current/spec.json").read_text())["group"]["ports"]["watch"]
    with socket.create_connection(("127.0.0.1", watch), source_address=("127.0.0.3", 0)) as stranger:
        stranger.settimeout(20)
        assert stranger.recv(100) == b""
    for words in (b"\x00\xff[1]\nnonsense\n", b"[" * 4000 + b"\n"):
        with socket.create_connection(("127.0.0.1", watch), source_address=("127.0.0.2", 0)) as odd:
            odd.sendall(words)
            odd.settimeout(20)
            assert odd.recv(100) == b""
    second.start()
    until(lambda: first.state() == second.state() == "answering")
