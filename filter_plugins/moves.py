"""Filters of move.yml: `move_of` says who gives a service up and who gets it, `records_of` which records of a plan are meant."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent.parent))  # Ansible loads a filter by its path alone

from planning import moves


def move_of(hostvars: Mapping[str, Any], hosts: list[str], tables: Mapping[str, Any], **given: Any) -> dict[str, Any]:
    """`moves.move_of` of what these hosts run. `given`: service, to, said. Raises Faults."""
    runs = {host: list(hostvars[host]["runs"]) for host in hosts}
    overrides = {host: dict(hostvars[host]["overrides"] or {}) for host in hosts}
    return moves.move_of(runs=runs, services=tables["services"], overrides=overrides, **given)


class FilterModule:
    """The filters of this file, by name."""

    def filters(self) -> dict[str, Any]:
        return {"move_of": move_of, "records_of": moves.records_of}
