"""Hosts to deploy to: systemd containers with their own container engine, reached over ssh, on one Docker engine.

Everything is real but the edges that can't be here: accelerators are fakes (molecule/shared/fakes), and what hosts reach over
the network (registry, hub, package repositories of vendors) is one container, `outside`, on the hosts' own network.
Nothing runs privileged: some machines forbid it. Needs root, Docker and, for the first base image, mmdebstrap.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.append(str(ROOT / "tests"))  # what the tests share: ports.py

from testhosts.boards import BOARDS, gpus, npu_table, npus  # noqa: E402
from testhosts.hosts import connection, container, host, inventory, reboot, remove  # noqa: E402
from testhosts.images import IMAGE, engine_image, push, stub  # noqa: E402
from testhosts.machine import NETWORK, OUTSIDE, STATE, docker, put  # noqa: E402
from testhosts.outside import docker_ce  # noqa: E402


def bare(name: str, group: str) -> None:
    """A bare host of one group, and outside all that its deploy will ask for."""
    docker_ce()
    push(engine_image(), "bed")
    host(name)
    if group in BOARDS:
        BOARDS[group](name)


def scenario(name: str) -> Path:
    """A bare host for one molecule scenario, and its inventory."""
    bare(name, name)
    inventory_name = {"h100": "gpu", "graviton4": "arm", "atlas300iduo": "npu"}[name]
    return inventory(name, {name: {inventory_name: connection(name)}}, STATE / f"scenario-{name}")


def down(names: list[str]) -> None:
    every = docker("ps", "--all", "--format", "{{.Names}}", "--filter", f"name=^{NETWORK}-").split()
    for name in names or [n.removeprefix(f"{NETWORK}-") for n in every]:
        remove(name)
    if not names:
        docker("rm", "--force", "--volumes", OUTSIDE, ok=False)
        docker("network", "rm", NETWORK, ok=False)
        shutil.rmtree(STATE, ignore_errors=True)


__all__ = [
    "IMAGE", "bare", "connection", "container", "docker", "docker_ce", "down", "engine_image", "gpus", "host", "inventory", "npu_table", "npus",
    "push", "put", "reboot", "remove", "scenario", "stub",
]  # fmt: skip
