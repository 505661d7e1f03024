"""Filters of move.yml: `move_of` says who gives a service up and who gets it, `records_of` which records of a plan are meant."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent.parent))  # Ansible loads a filter by its path alone

from planning import moves


def move_of(hostvars: Mapping[str, Any], hosts: list[str], service: str, to: str, said: str) -> dict[str, Any]:
    """`moves.move_of` of what the inventory says that these hosts run. Raises Faults."""
    runs = {host: list(hostvars[host]["runs"]) for host in hosts}
    overrides = {host: dict(hostvars[host]["overrides"] or {}) for host in hosts}
    return moves.move_of(service, to, said, runs, hostvars[hosts[0]]["tables"]["services"], overrides)


class FilterModule:
    """The filters of this file, by name."""

    def filters(self) -> dict[str, Any]:
        return {"move_of": move_of, "records_of": moves.records_of}
