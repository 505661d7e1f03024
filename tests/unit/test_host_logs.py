"""Any log of a host, read by its end and explained."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.service import host_logs

Result = dict[str, Any]
DKMS = ["Building module:", "Error! Could not locate dkms.conf file.", "File: /var/lib/dkms/acme/390.48/source/dkms.conf does not exist."]  # fmt: skip


def test_a_file_is_explained_with_its_last_lines(tmp_path: Path, run_module: Callable[..., Result]) -> None:
    log = tmp_path / "install.log"
    log.write_text("\n".join(["acme began"] * 90 + DKMS))
    said = run_module("log_explained", {"file": str(log), "lines": 2})
    assert not said["changed"] and said["lines"] == DKMS[1:] and said["log"] == str(log) and said["sure"]
    assert said["root"] == DKMS[1] and "dkms status" in said["meaning"]
    assert said["text"].splitlines() == [
        *DKMS[1:],
        f"-- what failed first: {said['root']}",
        f"-- what that means: {said['meaning']}",
        f"-- the whole log: {log}",
    ]
    log.write_bytes(b"RuntimeError: acme \xff odd\n")
    odd = run_module("log_explained", {"file": str(log), "lines": 0})
    assert odd["meaning"] is None and odd["lines"] == [] and "-- what that means is not known here" in odd["text"]
    log.write_text("all is well\n")
    assert "nothing in it sounds like an error" in run_module("log_explained", {"file": str(log)})["text"]


def test_what_is_no_log_is_refused_at_once(tmp_path: Path, run_module: Callable[..., Result]) -> None:
    os.mkfifo(tmp_path / "pipe")
    began = time.monotonic()
    for name, words in (("pipe", "is no file"), (".", "is no file"), ("none", "No such file or directory")):
        said = run_module("log_explained", {"file": str(tmp_path / name)})
        assert said["failed"] and words in said["msg"] and "name" in said["msg"], said
    assert time.monotonic() - began < 60
    assert run_module("log_explained", {})["failed"]


def test_of_a_huge_file_only_the_end_is_read(tmp_path: Path) -> None:
    log = tmp_path / "huge.log"
    with log.open("wb") as out:
        out.truncate(20 << 30)  # a hole, which takes no room
        out.seek(0, os.SEEK_END)
        out.write(("\n" + "\n".join(DKMS)).encode())
    lines, _ = host_logs.read_file(str(log))
    assert lines[-3:] == DKMS and sum(map(len, lines)) <= host_logs.BYTES


def test_a_journal_is_asked_for_by_name_and_not_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "journalctl"
    tool.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\ncat {tmp_path}/said\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / "said").write_text("-- No entries --\n" + "\n".join(DKMS))
    lines, log = host_logs.read_journal("--root=/srv")
    assert lines == DKMS and log == "journalctl --unit=--root=/srv"  # a name, never an option
    assert (tmp_path / "asked").read_text().split()[0] == "--unit=--root=/srv"
    assert host_logs.read_journal("kernel")[1] == "journalctl -k -b"
    (tmp_path / "said").write_text("-- No entries --\n")
    with pytest.raises(Refusal, match=r"journal of 'acme\.service' shows nothing \(it is empty\); correct the unit"):
        host_logs.read_journal("acme.service")
    tool.write_text("#!/bin/sh\nexec sleep 30\n")
    monkeypatch.setattr(host_logs, "SECONDS", 0.5)
    with pytest.raises(Refusal, match="did not answer"):
        host_logs.read_journal("acme.service")
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    with pytest.raises(Refusal, match="has no journalctl"):
        host_logs.read_journal("acme.service")
