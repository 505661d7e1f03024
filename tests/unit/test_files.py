"""files: locks that two processes never hold at once, whoever removes what."""

from __future__ import annotations

import errno
import multiprocessing
import os
import re
import socket
import time
from pathlib import Path

import pytest
from ansible.module_utils.serving.errors import ROOM, Refusal
from ansible.module_utils.serving.files import in_use, locked, remove_lock
from ansible.module_utils.serving.service import releases
from conftest import ROOT

FORK = multiprocessing.get_context("fork")


def count_up(lock: str, counter: str, rounds: int, keep: bool) -> None:
    """Add one to a number in a file, `rounds` times: an update is lost wherever two hold the lock."""
    for _ in range(rounds):
        with locked(lock, "the counter", 60, keep=keep):
            value = int(Path(counter).read_text())
            time.sleep(0.002)
            Path(counter).write_text(str(value + 1))


def remove_often(lock: str, until: str) -> None:
    while not os.path.exists(until):
        remove_lock(lock)
        time.sleep(0.001)


@pytest.mark.parametrize("keep", [True, False])
def test_eight_at_once_lose_no_update(tmp_path: Path, keep: bool) -> None:
    lock, counter = str(tmp_path / "x.lock"), tmp_path / "counter"
    counter.write_text("0")
    jobs = [FORK.Process(target=count_up, args=(lock, str(counter), 10, keep)) for _ in range(8)]
    # A tidy process that removes lock files which nobody holds must not break it either.
    tidy = FORK.Process(target=remove_often, args=(lock, str(tmp_path / "done")))
    for job in [*jobs, tidy]:
        job.start()
    for job in jobs:
        job.join(120)
    (tmp_path / "done").write_text("")
    tidy.join(60)
    assert [job.exitcode for job in [*jobs, tidy]] == [0] * 9
    assert counter.read_text() == "80"
    assert keep or not os.path.exists(lock)


def test_a_held_lock_is_not_removed_and_its_holder_is_named(tmp_path: Path) -> None:
    lock = str(tmp_path / "x.lock")
    assert not in_use(lock) and not remove_lock(lock) and not os.path.exists(lock)
    with locked(lock, "x"):
        assert in_use(lock) and not remove_lock(lock)
        with (
            pytest.raises(Refusal, match=r"x is being worked on by process \d+ for more than 0 s"),
            locked(lock, "x", 0),
        ):
            pass
    assert not in_use(lock) and remove_lock(lock) and not os.path.exists(lock)


@pytest.mark.parametrize(
    "kind", ["folder", "link", "link to nowhere", "link to itself", "link to a device", "pipe", "socket"]
)
def test_what_is_no_file_in_the_place_of_a_lock_is_said(tmp_path: Path, kind: str) -> None:
    """A link is not followed: what it leads to would be emptied, as a lock file has the number of its holder."""
    path, other = tmp_path / "x.lock", tmp_path / "other"
    other.write_text("precious")
    words = "link" if kind.startswith("link") else "folder" if kind == "folder" else "special file"
    leads = {
        "link": other,
        "link to nowhere": tmp_path / "gone/x",
        "link to itself": path,
        "link to a device": "/dev/null",
    }
    if kind in leads:
        path.symlink_to(leads[kind])
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(path))
    with (
        pytest.raises(Refusal, match=f"x.lock is a {words} where a lock file should be; remove it"),
        locked(str(path), "x"),
    ):
        pass
    assert not in_use(str(path)) and not remove_lock(str(path)) and os.path.lexists(path)
    assert other.read_text() == "precious"


def test_only_files_py_locks_and_only_it_removes_lock_files() -> None:
    """A lock file that its holder removes after it let go is the next one's lock: the rule lives in one place."""
    bad = re.compile(r"fcntl\.(flock|lockf)|(unlink|remove|remove_tree)\([^\n]*(\.lock|lock_path|flock)")
    for folder in ("library", "module_utils/serving", "action_plugins", "roles"):
        for path in (ROOT / folder).rglob("*.py"):
            if path.name != "files.py":
                # deploy.lock is a record that a flock of its own guards
                found = bad.search(path.read_text().replace("deploy.lock", ""))
                assert not found, f"{path}: {found and found.group()}"


def test_what_makes_room_on_a_full_disk_is_said_in_one_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: str, data: bytes) -> None:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(releases, "write_atomic", full)
    with pytest.raises(Refusal) as refused:
        releases.check_room(str(tmp_path), "service 'a' is left as it is")
    assert str(refused.value) == f"service 'a' is left as it is: the disk of {tmp_path} is full; {ROOM}"
    assert "playbooks/prune.yml" in ROOM
    said = [
        path.name
        for folder in ("library", "module_utils")
        for path in (ROOT / folder).rglob("*.py")
        if path.parent.name != "hints" and "df -i" in path.read_text()
    ]
    assert said == ["errors.py"]


def test_the_boot_is_read_in_one_place() -> None:
    """Beside the module's: the runner and the server on the host are one file each, and the controller shares no code with modules."""
    alone = {"processes.py", "foreground.py", "peer_server.py", "controller.py"}
    for folder in ("library", "module_utils", "action_plugins", "lookup_plugins", "filter_plugins", "roles"):
        for path in (ROOT / folder).rglob("*.py"):
            assert path.name in alone or "random/boot_id" not in path.read_text(), path
