"""Which host gives a service up and which one gets it, from what the inventory says they run. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .groups import asked
from .rows import Row, fail, nearest

HOW = "say which service moves, and where to: -e service=NAME -e to=HOST"


def source_of(service: str, to: str, said: str, runs: Mapping[str, list[str]]) -> str | None:
    """The host that gives it up; None where that is done. Raises Faults."""
    holders = sorted(host for host, names in runs.items() if service in names)
    others = [host for host in holders if host != to]
    if said == to:
        fail(f"-e from_host={said} and -e to={to} are one host")
    if said:
        if said not in runs:
            fail(f"-e from_host names '{said}', which is no host below accelerators; {nearest(said, runs)}")
        if said not in holders and to not in holders:
            fail(f"'{service}' is not in runs of {said}; it is in those of {', '.join(holders) or 'no host'}")
        return said if said in holders else None
    if not holders:
        fail(f"'{service}' is in runs of no host, so nothing moves; put it into those of {to} and deploy")
    if others and (len(others) > 1 or to in holders):
        fail(f"several hosts run '{service}' ({', '.join(holders)}): say which one gives it up: -e from_host=HOST")
    return others[0] if others else None


def move_of(
    service: str, to: str, said: str, runs: Mapping[str, list[str]], services: Mapping[str, Any], overrides: Mapping[str, Any]
) -> Row:  # fmt: skip
    """{service, to, source, there, after: {host: runs}, notes}. `said`: the host that gives it up, empty where it is clear.

    `runs` and `overrides`: {host: its own}. `there`: is it in runs of `to` already? `source`: None where the move is done. Raises Faults.
    """
    if not service or not to:
        fail(HOW)
    if to not in runs:
        fail(f"-e to names '{to}', which is no host below accelerators; {nearest(to, runs)}")
    row = services.get(service)
    if row is None:
        of = next(
            (name for name in services if service.startswith(f"{name}-") and service[len(name) + 1 :].isdigit()), None
        )
        fail(
            f"'{service}' is a replica of '{of}', and those of one host move together: -e service={of}"
            if of
            else f"no service is called '{service}'; {nearest(service, services)}"
        )
    if asked(row):
        fail(
            f"'{service}' runs on several hosts together; change `hosts` in its row and deploy it, it has no one host to move from"
        )
    source = source_of(service, to, said, runs)
    after = (
        {to: [*(name for name in runs[to] if name != service), service]}
        if service not in runs[to]
        else {to: list(runs[to])}
    )
    notes = []
    if source:
        after[source] = [name for name in runs[source] if name != service]
        own = (overrides.get(source) or {}).get(service)
        if own:
            keys = ", ".join(sorted(own))
            notes.append(
                f"{source} has overrides of '{service}' ({keys}), which stay there: on {to} the row counts, with the overrides of {to}"
            )
    return {
        "service": service,
        "to": to,
        "source": source,
        "there": service in runs[to],
        "after": after,
        "notes": notes,
    }


def records_of(plan: Iterable[Mapping[str, Any]], service: str) -> list[Mapping[str, Any]]:
    """The records that a service's name stands for: its own, or those of the replicas of its row; none for no name."""
    return [row for row in plan if service and service in (row["service"], row.get("replica_of"))]
