"""Programs of the gateway under the host's supervisor."""

from __future__ import annotations

import os
from typing import Any

from ansible.module_utils.serving.files import own_folder, write_atomic
from ansible.module_utils.serving.service.supervisors import Supervisor, read_text

PROXY = "gateway-haproxy"
AGENT = "gateway-agent"
RENEWAL = "gateway-acme"
FLOATING = "gateway-keepalived"
ALL = (FLOATING, RENEWAL, PROXY, AGENT)  # in the order in which they end: a pair's address moves first
RUNS = ("running", "starting")
# Restarts are not given up: without the gateway nothing is reachable.
SPEC: dict[str, Any] = {"ready_timeout": 10, "restart_limit": 1000, "drain_timeout": 5}


def unit_differs(
    owner: Supervisor, name: str, command: list[str], folder: str, spec: dict[str, Any] | None = None
) -> bool:
    """Whether the supervisor has a unit of this name with another text: what runs was started by another command."""
    there = read_text(owner.unit_path(name))
    return there not in ("", owner.unit_text(name, command, folder, spec or SPEC))


def run_unit(
    owner: Supervisor, name: str, command: list[str], folder: str, fresh: bool, spec: dict[str, Any] | None = None
) -> bool:
    """Have the supervisor run a program; `fresh`: end one that ran before. Returns whether it was started.

    One of another unit ends before the new unit is written: wherever a run is killed, what runs has been applied as it is.
    What has just been started is not ended: it may not hear of it yet, and would be waited for.
    """
    text = owner.unit_text(name, command, folder, spec or SPEC)
    path = owner.unit_path(name)
    before = owner.state(name) in RUNS
    other = read_text(path) != text
    if other:
        own_folder(os.path.dirname(path))
        if before:
            owner.stop(name)
        write_atomic(path, text.encode())
    if other or not before:
        owner.apply(name)
    if before and fresh and not other:
        owner.stop(name)
    if owner.state(name) not in RUNS:
        owner.start(name)
    return other or fresh or not before
