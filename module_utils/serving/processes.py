"""Which process is which, and who runs from a folder. No Ansible here: scripts/setup_venv.py reads it before there is any."""

from __future__ import annotations

import os
import time

BOOT_ID = "proc/sys/kernel/random/boot_id"


def boot_id(root: str = "/") -> str:
    """The kernel's name for this boot; empty where it doesn't tell. `root` is where /proc lies below."""
    try:
        with open(os.path.join(root, BOOT_ID), encoding="ascii", errors="replace") as source:
            return source.read().strip()
    except OSError:
        return ""


def start_ticks(pid: int) -> str | None:
    """Start time of a living process in clock ticks since boot; None if there is none by that number."""
    try:
        with open("/proc/%d/stat" % pid, encoding="ascii", errors="replace") as source:
            fields = source.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if not fields or fields[0] in ("Z", "X") else fields[19]


def age(run: dict) -> float:
    """Seconds since a process began that runs. `run`: its run.json."""
    if "boottime" in run:
        return time.clock_gettime(time.CLOCK_BOOTTIME) - float(run["boottime"])
    return time.time() - float(run["started"])


def runs_from(folder: str) -> bool:
    """Does a process run from this folder? Command lines name the interpreter; engines that rename themselves map its libraries."""
    inside = (os.path.realpath(folder) + "/").encode()
    for pid in (name for name in os.listdir("/proc") if name.isdigit()) if os.path.isdir("/proc/self") else ():
        for name in ("cmdline", "maps"):
            try:
                with open("/proc/%s/%s" % (pid, name), "rb") as source:
                    if inside in source.read():
                        return True
            except OSError:  # it ended, or belongs to somebody else
                continue
    return False
