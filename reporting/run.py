"""The record of this run: seconds of each phase, changes and why, failures. The callback `fleet` writes it, the action `report` reads it.

Ansible forks a worker for each task, so a worker sees what the callback knew when its task began. Without the callback the record is empty.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

SHORTEST = 0.05  # a phase that took less did nothing


@dataclass
class Phase:
    """One play of the run. `ended` has the moment of each host's last result."""

    name: str
    began: float
    ended: dict[str, float] = field(default_factory=dict)


@dataclass
class Record:
    clock: Callable[[], float] = time.monotonic
    phases: list[Phase] = field(default_factory=list)
    changes: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    failures: dict[str, dict[str, Any]] = field(default_factory=dict)
    reported: dict[str, dict[str, Any]] = field(default_factory=dict)

    def play(self, name: str) -> None:
        self.phases.append(Phase(name, self.clock()))

    def seen(self, host: str) -> None:
        """A task of the running phase ended on this host."""
        if self.phases:
            self.phases[-1].ended[host] = self.clock()

    def changed(self, host: str, task: str, reasons: list[str]) -> None:
        phase = self.phases[-1].name if self.phases else ""
        self.changes.setdefault(host, []).append({"phase": phase, "task": task, "reasons": reasons})

    def failed(self, host: str, task: str, message: str, unreachable: bool = False) -> None:
        phase = self.phases[-1].name if self.phases else ""
        self.failures[host] = {"phase": phase, "task": task, "message": message, "unreachable": unreachable}

    def seconds(self, host: str) -> list[dict[str, Any]]:
        """[{phase, seconds}] in the run's order, from the start of the phase to this host's last result in it; the running one until now."""
        rows: dict[str, float] = {}
        for phase in self.phases:
            last = phase is self.phases[-1]
            if host in phase.ended or last:
                until = self.clock() if last and host not in self.failures else phase.ended.get(host, phase.began)
                rows[phase.name] = rows.get(phase.name, 0.0) + until - phase.began
        return [{"phase": name, "seconds": round(seconds, 1)} for name, seconds in rows.items() if seconds >= SHORTEST]


RECORD = Record()
