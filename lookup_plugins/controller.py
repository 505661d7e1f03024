"""Lookup `controller`: who runs this playbook, and which other runs live on the same controller."""

from __future__ import annotations

import getpass
import os
import socket
from pathlib import Path
from typing import Any

from ansible.plugins.lookup import LookupBase

DOCUMENTATION = """
name: controller
short_description: Who runs this playbook
description:
  - Returns one dict that names the operator, the controller and this run, and lists the runs that are alive on this controller.
  - A run is named by the process of C(ansible-playbook) and its start time, so that a number used again is not taken for it.
options: {}
"""
EXAMPLES = """
- ansible.builtin.debug: {msg: "{{ lookup('controller') }}"}
"""
RETURN = """
_raw:
  description: C(operator), C(uid), C(home), C(controller) (name and boot), C(run) (pid and start time), C(live) (runs alive now).
  type: list
  elements: dict
"""


def started(pid: int) -> str | None:
    """`pid@starttime` of a living process, None if there is none. Start times are clock ticks since boot."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    state, *rest = stat.rpartition(")")[2].split()
    return None if state in ("Z", "X") else f"{pid}@{rest[18]}"


def command(pid: int) -> bytes:
    """The command line of a process, empty if it is gone or not ours to read."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def parent(pid: int) -> int:
    stat = Path(f"/proc/{pid}/stat").read_text()
    return int(stat.rpartition(")")[2].split()[1])


def top_process() -> int:
    """The ansible-playbook process itself: its workers are forks with the same command line."""
    pid = os.getpid()
    while (above := parent(pid)) > 1 and command(above) == command(pid):
        pid = above
    return pid


def runs_alive() -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and b"ansible" in command(int(entry.name)):
            name = started(int(entry.name))
            if name:
                found.append(name)
    return found


def operator() -> str:
    """Who to ask: the person behind sudo, else the user, else the number (containers without a name for it)."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def describe() -> dict[str, Any]:
    """The dict of RETURN. Without /proc (macOS) a run counts as alive as long as nobody says otherwise."""
    host = socket.gethostname()
    who: dict[str, Any] = {
        "operator": operator(),
        "uid": os.getuid(),
        "home": str(Path.home()),
        "controller": host,
        "run": str(os.getpid()),
        "live": None,
    }
    if Path("/proc/self/stat").exists():
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        who.update(controller=f"{host}/{boot}", run=started(top_process()), live=runs_alive())
    return who


class LookupModule(LookupBase):
    def run(self, terms: list[Any], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[dict[str, Any]]:
        return [describe()]
