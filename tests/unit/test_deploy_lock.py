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
from conftest import load

c = load("lookup_plugins/controller.py")
Run = Callable[..., dict[str, Any]]
ME = {"operator": "ann", "controller": "ctl/boot1", "run": "10@100", "live": ["10@100", "20@200"]}
BOB = {"operator": "bob", "controller": "ctl/boot1", "run": "20@200", "live": ["10@100", "20@200"]}


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
        ({"controller": "ctl/boot2"}, "has ended"),  # the controller was rebooted
    ],
)
def test_a_dead_run_holds_nothing(run_module: Run, tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    take(run_module, tmp_path, BOB)
    result = take(run_module, tmp_path, {**ME, **changes})
    assert not result["failed"] and words in result["taken_over"]


def test_another_controllers_run_holds_until_its_age(run_module: Run, tmp_path: Path) -> None:
    take(run_module, tmp_path, {**BOB, "controller": "other/boot9"})
    assert take(run_module, tmp_path, ME)["failed"]
    lock = json.loads((tmp_path / "deploy.lock").read_text())
    (tmp_path / "deploy.lock").write_text(json.dumps({**lock, "since": time.time() - 50000}))
    assert "older than" in take(run_module, tmp_path, ME)["taken_over"]


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


@pytest.mark.parametrize("text", ["", "{", "[]", '{"operator": "x"}'])
def test_a_damaged_lock_holds_nothing(run_module: Run, tmp_path: Path, text: str) -> None:
    (tmp_path / "deploy.lock").write_text(text)
    assert not take(run_module, tmp_path, ME)["failed"]


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
    assert {"operator", "uid", "home", "controller", "run", "live"} == set(who)
