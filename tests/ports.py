"""Ports for tests: below those that the kernel gives to outgoing connections, so that no neighbour takes one before it is used."""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path

FIRST, LAST = 20000, 31999  # Linux hands out 32768 and up
LAST_GIVEN = Path("/tmp") / f"vllm-ansible-test-port-{os.getuid()}"


def free_port() -> int:
    """A TCP port that nobody listens on, on any address; each call on this machine gives the next one."""
    with LAST_GIVEN.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        text = file.read()
        port = int(text) if text.isdigit() else FIRST - 1
        for _ in range(LAST - FIRST + 1):
            port = port + 1 if FIRST <= port < LAST else FIRST
            if _free(port):
                file.truncate(0)
                file.write(str(port))
                return port
    raise AssertionError(f"no port from {FIRST} to {LAST} is free")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # the last user's closed connections don't count
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
