"""Who runs from a folder. No Ansible here: scripts/setup_venv.py reads it before there is any."""

from __future__ import annotations

import os


def in_use(folder: str) -> bool:
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
