"""Lookup `controller`: who runs this playbook, and which other runs live on the same controller."""

from __future__ import annotations

import getpass
import os
import socket
import time
from pathlib import Path
from typing import Any

from ansible.plugins.lookup import LookupBase

DOCUMENTATION = """
name: controller
short_description: Who runs this playbook
description:
  - Returns one dict that names the operator, the controller and this run, and lists the runs that are alive on this controller.
  - A run is named by the process of C(ansible-playbook) and its start time, so that a number used again is not taken for it.
  - Host names and machine ids are not unique (images, clones), so a controller is known by machine, boot and process namespace.
options: {}
"""
EXAMPLES = """
- ansible.builtin.debug: {msg: "{{ lookup('controller') }}"}
"""
RETURN = """
_raw:
  description:
    - C(operator), C(uid), C(home), C(controller) (its name, for people), C(run) (pid and start time).
    - C(machine), C(boot), C(namespace), of which an unknown one is empty, C(booted) and C(now) (seconds since 1970 by its own clock),
      C(up) (seconds since its boot, before it looked for what is alive).
    - C(live) (runs alive now; null where that can't be seen), C(sees_others) (whether processes of other users are among them).
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
    """Every process with a command line: a run may be any program that uses Ansible."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and command(int(entry.name)):
            name = started(int(entry.name))
            if name:
                found.append(name)
    return found


def text_of(path: str) -> str:
    """The content of a small file, empty where there is none."""
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return ""


def namespace() -> str:
    """The process namespace: containers of one machine share its boot, and don't see each other's processes."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def boot_time() -> int:
    """Seconds since 1970 at which this machine was started, by its own clock; 0 where it isn't told."""
    found = [line.split()[1] for line in text_of("/proc/stat").splitlines() if line.startswith("btime ")]
    return int(found[0]) if found else 0


def operator() -> str:
    """Who to ask: the person behind sudo, else the user, else the number (containers without a name for it)."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def describe() -> dict[str, Any]:
    """The dict of RETURN. Without /proc (macOS) a run counts as alive as long as nobody says otherwise."""
    who: dict[str, Any] = {
        "operator": operator(),
        "uid": os.getuid(),
        "home": str(Path.home()),
        "controller": socket.gethostname(),
        "machine": text_of("/etc/machine-id"),
        "boot": text_of("/proc/sys/kernel/random/boot_id"),
        "namespace": namespace(),
        "booted": boot_time(),
        "now": time.time(),
        "up": time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else 0.0,
        "run": str(os.getpid()),
        "live": None,
        "sees_others": False,
    }
    if Path("/proc/self/stat").exists():
        # Mounted with hidepid, /proc shows nobody but oneself.
        who.update(run=started(top_process()), live=runs_alive(), sees_others=started(1) is not None)
    return who


class LookupModule(LookupBase):
    def run(self, terms: list[Any], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[dict[str, Any]]:
        return [describe()]
