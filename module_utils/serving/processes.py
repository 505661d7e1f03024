"""Which process is which: a pid and its start time name one process of one boot."""

from __future__ import annotations

import os

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
