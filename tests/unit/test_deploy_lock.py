"""deploy_lock and the controller lookup: the second operator is told, a dead run holds nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import load, start_module
from services import small_disk

c = load("lookup_plugins/controller.py")
Run = Callable[..., dict[str, Any]]
NOW = time.time()
HERE = {"controller": "ctl", "machine": "m1", "boot": "boot1", "namespace": "pid:[1]", "booted": NOW - 9000, "now": NOW}
HERE |= {"uid": 0, "live": ["10@100", "20@200"], "sees_others": True}
ME = {**HERE, "operator": "ann", "run": "10@100"}
BOB = {**HERE, "operator": "bob", "run": "20@200"}


def take(run: Run, root: Path, who: dict[str, Any], **args: Any) -> dict[str, Any]:
    check = args.pop("check", False)
    return run("deploy_lock", {"serving_root": str(root), "holder": who, **args}, check=check)


def test_the_second_operator_is_told_by_whom_and_since_when(run_module: Run, tmp_path: Path) -> None:
    assert not take(run_module, tmp_path, BOB)["failed"]
    result = take(run_module, tmp_path, ME)
    assert result["failed"]
    for words in ("bob", "controller ctl", "since 20", "UTC", "process 20", "-e break_lock=true"):
        assert words in result["msg"]
    assert not take(run_module, tmp_path, BOB)["failed"]  # the holder itself goes on
    assert not take(run_module, tmp_path, ME, break_lock=True)["failed"]
    assert take(run_module, tmp_path, BOB)["failed"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"live": ["10@100"]}, "has ended"),
        ({"live": ["10@100", "20@999"]}, "has ended"),  # the number was used again
        ({"boot": "boot2", "booted": NOW + 60}, "has ended"),  # the controller was rebooted
        ({"live": ["10@100"], "sees_others": False}, "has ended"),  # of the same user
    ],
)
def test_a_dead_run_holds_nothing(run_module: Run, tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    take(run_module, tmp_path, BOB)
    result = take(run_module, tmp_path, {**ME, **changes})
    assert not result["failed"] and words in result["taken_over"]


@pytest.mark.parametrize(
    "changes",
    [
        {"boot": "boot2", "machine": "m2"},  # another machine of that name
        {"boot": "boot2", "machine": "m2", "booted": NOW + 60},
        {"boot": "boot2", "machine": ""},  # a container without a machine id
        {"boot": "boot2", "machine": "", "booted": NOW + 60},
        {"boot": "boot2"},  # a clone with the same machine id, which was there before the lock
        {"boot": "boot2", "booted": NOW + 60, "controller": "clone"},
        {"namespace": "pid:[2]"},  # another container of the same machine
        {"namespace": ""},
        {"boot": ""},
        {"uid": 1000, "sees_others": False},  # /proc with hidepid: another user's processes aren't seen
        {"live": None},
    ],
)
def test_a_run_that_can_not_be_seen_from_here_holds(run_module: Run, tmp_path: Path, changes: dict[str, Any]) -> None:
    take(run_module, tmp_path, BOB)
    result = take(run_module, tmp_path, {**ME, "live": ["10@100"], **changes})
    assert result["failed"] and "bob, from controller ctl" in result["msg"]
    assert not take(run_module, tmp_path, {**ME, "live": ["10@100"], **changes}, break_lock=True)["failed"]


def test_a_run_that_is_seen_alive_holds_at_any_age(run_module: Run, tmp_path: Path) -> None:
    take(run_module, tmp_path, BOB)
    lock = json.loads((tmp_path / "deploy.lock").read_text())
    (tmp_path / "deploy.lock").write_text(json.dumps({**lock, "since": 1}))
    assert take(run_module, tmp_path, ME)["failed"]


def test_real_processes_take_the_lock_one_at_a_time(tmp_path: Path) -> None:
    """Eight runs of one controller ask at once, each alive to the end: one gets it."""
    for number in range(3):
        root = tmp_path / str(number)
        keepers = [subprocess.Popen(["sleep", "300"]) for _ in range(8)]
        runs = [{**c.describe(), "run": c.started(keeper.pid)} for keeper in keepers]
        jobs = [start_module("deploy_lock", {"serving_root": str(root), "holder": one}) for one in runs]
        results = [json.loads(job.communicate(timeout=120)[0].splitlines()[-1]) for job in jobs]
        assert [one.get("failed", False) for one in results].count(False) == 1, results
        for keeper in keepers:
            keeper.kill()
            keeper.wait()
        last = start_module("deploy_lock", {"serving_root": str(root), "holder": c.describe()})
        assert "has ended" in json.loads(last.communicate(timeout=120)[0].splitlines()[-1])["taken_over"]


def test_another_controllers_run_holds_until_its_age(run_module: Run, tmp_path: Path) -> None:
    take(run_module, tmp_path, {**BOB, "controller": "other", "boot": "boot9", "machine": "m9"})
    assert take(run_module, tmp_path, ME)["failed"]
    lock = json.loads((tmp_path / "deploy.lock").read_text())
    lock["host_boot"] = "before"  # the host was started again
    (tmp_path / "deploy.lock").write_text(json.dumps({**lock, "since": time.time() - 50000}))
    assert "older than" in take(run_module, tmp_path, ME)["taken_over"]
    (tmp_path / "deploy.lock").write_text(json.dumps({**lock, "since": time.time() + 3600}))
    assert take(run_module, tmp_path, ME)["failed"]  # their clock is an hour ahead
    (tmp_path / "deploy.lock").write_text(json.dumps({**lock, "since": time.time() + 50000}))
    assert "a time to come" in take(run_module, tmp_path, ME)["taken_over"]


@pytest.mark.parametrize("jump", [50_000, -50_000, 1e9, -1e9])
def test_a_clock_that_was_set_takes_no_lock_away(run_module: Run, tmp_path: Path, jump: float) -> None:
    """A host whose clock comes right after its start (no battery, NTP) is still the same boot."""
    take(run_module, tmp_path, {**BOB, "controller": "other", "boot": "boot9", "machine": "m9"})
    path = tmp_path / "deploy.lock"
    lock = json.loads(path.read_text())
    path.write_text(json.dumps({**lock, "since": lock["since"] - jump}))
    assert "another deploy is running" in take(run_module, tmp_path, ME)["msg"]
    path.write_text(json.dumps({**lock, "host_up": lock["host_up"] - 50_000}))
    assert "older than" in take(run_module, tmp_path, ME)["taken_over"]


def test_a_run_that_began_after_we_looked_is_not_called_ended(run_module: Run, tmp_path: Path) -> None:
    """Between our look at the controller and our turn on a slow host another run can begin and take the lock."""
    before = {**c.describe(), "operator": "ann"}
    with subprocess.Popen(["sleep", "300"]) as keeper:
        other = {**c.describe(), "operator": "bob", "run": c.started(keeper.pid)}
        assert other["run"] not in before["live"]
        assert not take(run_module, tmp_path, other)["failed"]
        assert "another deploy is running on this host: bob" in take(run_module, tmp_path, before)["msg"]
        keeper.kill()
    assert "has ended" in take(run_module, tmp_path, {**c.describe(), "operator": "ann"})["taken_over"]


def test_what_a_killed_run_was_writing_goes_with_the_next_lock(run_module: Run, tmp_path: Path) -> None:
    for number in (1, os.getpid(), 4_000_000):
        (tmp_path / f"deploy.lock.part.{number}").write_text("{")
    take(run_module, tmp_path, ME)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".deploy.flock", "deploy.lock"]


def test_released_by_the_holder_only(run_module: Run, tmp_path: Path) -> None:
    take(run_module, tmp_path, BOB)
    take(run_module, tmp_path, ME, state="released")
    assert (tmp_path / "deploy.lock").exists()
    take(run_module, tmp_path, BOB, state="released")
    assert not (tmp_path / "deploy.lock").exists()


def test_check_mode_writes_nothing_but_tells(run_module: Run, tmp_path: Path) -> None:
    assert not take(run_module, tmp_path / "new", ME, check=True)["failed"]
    assert not (tmp_path / "new").exists()
    take(run_module, tmp_path, BOB)
    assert take(run_module, tmp_path, ME, check=True)["failed"]


GOOD = {**{key: BOB[key] for key in ("operator", "controller", "run", "boot", "namespace")}, "since": 1.0}
ODD = [
    b"",
    b"{",
    b"[]",
    b'{"operator": "x"}',
    b"\xff\xfe\x00",
    b"null",
    b'"bob"',
    b"[" * 100_000,
    b" " * 100_000,
    json.dumps({**GOOD, "since": "yesterday"}).encode(),
    json.dumps({**GOOD, "since": float("nan")}).encode(),
    json.dumps({**GOOD, "since": 1e300}).encode(),
    json.dumps({**GOOD, "operator": ["bob"]}).encode(),
    json.dumps({**GOOD, "run": 20}).encode(),
    json.dumps({**GOOD, "controller": {"name": "ctl"}}).encode(),
    json.dumps([GOOD]).encode(),
    json.dumps({**GOOD, "operator": "bob and " * 2000}).encode(),
    json.dumps({**GOOD, "host_up": True}).encode(),
    b'{"since": %s}' % (b"9" * 5000),
]


@pytest.mark.parametrize("text", ODD, ids=range(len(ODD)))
@pytest.mark.parametrize("given", [{}, {"break_lock": True}, {"check": True}, {"state": "released"}], ids=str)
def test_a_lock_without_a_run_in_it_holds_nothing(
    run_module: Run, tmp_path: Path, text: bytes, given: dict[str, Any]
) -> None:
    path = tmp_path / "deploy.lock"
    path.write_bytes(text)
    result = take(run_module, tmp_path, ME, **given)
    assert not result["failed"], result
    if given.get("check") or given.get("state"):
        assert path.read_bytes() == text
    else:
        assert "names no run" in result["taken_over"] and json.loads(path.read_text())["run"] == ME["run"]


@pytest.mark.parametrize("kind", ["folder", "full folder", "link", "pipe"])
def test_what_is_no_file_is_said_and_can_be_broken(run_module: Run, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "deploy.lock"
    if kind == "link":
        path.symlink_to("/nowhere/lock")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
        (path / "x").write_text("") if kind == "full folder" else None
    result = take(run_module, tmp_path, ME)
    assert result["failed"] and "break_lock=true" in result["msg"] and "\n" not in result["msg"]
    assert not take(run_module, tmp_path, ME, state="released")["failed"]
    assert not take(run_module, tmp_path, ME, break_lock=True)["failed"]
    assert json.loads(path.read_text())["operator"] == "ann"


def test_a_holder_that_is_none_is_refused(run_module: Run, tmp_path: Path) -> None:
    assert "lookup('controller')" in take(run_module, tmp_path, {"operator": "x"})["msg"]


def test_nothing_is_made_to_give_back_a_lock(run_module: Run, tmp_path: Path) -> None:
    assert not take(run_module, tmp_path / "gone", ME, state="released")["failed"]
    assert not (tmp_path / "gone").exists()


def test_a_process_is_named_by_number_and_start() -> None:
    name = c.started(os.getpid())
    assert name and name.startswith(f"{os.getpid()}@")
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    pid = child.pid
    time.sleep(0.5)
    assert c.started(pid) is None  # a zombie is no run
    child.wait()
    assert c.started(pid) is None
    who = c.describe()
    assert who["run"] in who["live"] and who["boot"] and who["namespace"] and 0 < who["booted"] < who["now"]


@pytest.mark.skipif(os.getuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk_keeps_nobody_from_making_room(run_module: Run, tmp_path: Path) -> None:
    with small_disk(tmp_path) as fill:
        fill()
        found = take(run_module, tmp_path, ME)
        assert not found["failed"] and found["holder"]["operator"] == "ann" and not (tmp_path / "deploy.lock").exists()
        assert not take(run_module, tmp_path, ME, state="released")["failed"]
        (tmp_path / "ballast").unlink()
        take(run_module, tmp_path, BOB)
        fill()
        assert "another deploy is running" in take(run_module, tmp_path, ME)["msg"]
        assert (
            not take(run_module, tmp_path, BOB, state="released")["failed"] and not (tmp_path / "deploy.lock").exists()
        )
