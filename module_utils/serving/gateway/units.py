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


def run_unit(
    owner: Supervisor, name: str, command: list[str], folder: str, fresh: bool, spec: dict[str, Any] | None = None
) -> bool:
    """Have the supervisor run a program; `fresh`: end one that ran before. Returns whether it was started. A running one may keep its old command.

    What has just been started is not ended: it may not hear of it yet, and would be waited for.
    """
    text = owner.unit_text(name, command, folder, spec or SPEC)
    path = owner.unit_path(name)
    before, started = owner.state(name) in RUNS, False
    if read_text(path) != text:
        own_folder(os.path.dirname(path))
        write_atomic(path, text.encode())
        started = owner.apply(name)
    if before and fresh and not started:
        owner.stop(name)
    if owner.state(name) not in RUNS:
        owner.start(name)
    return started or fresh or not before
