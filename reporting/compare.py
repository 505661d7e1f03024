"""What is different between two reports of a host, as rows that a person reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# What identifies a service, and where it stands in its part of a report.
ASPECTS = {
    "release": ("release",),
    "engine": ("engine",),
    "engine version": ("engine_version",),
    "image": ("image_id",),
    "model": ("model", "name"),
    "revision": ("model", "revision"),
    "digest of the model": ("model", "identity"),
    "endpoint": ("endpoint",),
    "served name": ("served_name",),
    "supervisor": ("supervisor",),
    "devices": ("device_names",),
}


def reached(row: Any, keys: tuple[str, ...]) -> Any:
    for key in keys:
        row = row.get(key) if isinstance(row, Mapping) else None
    return row


def words(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value in (None, "") else str(value)


def rows_of(report: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {str(row.get("service")): row for row in report.get("services") or [] if isinstance(row, Mapping)}


def settings(row: Mapping[str, Any]) -> dict[str, Any]:
    found = row.get("settings")
    return dict(found) if isinstance(found, Mapping) else {}


def differences(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> list[dict[str, str]]:
    """[{service, what, before, now}]; nothing where there is no report to compare with.

    A value that only one of the two knows counts as none in the other: reports of an earlier version say less.
    """
    if not old:
        return []
    before, now = rows_of(old), rows_of(new)
    found = [row("a service", name, name, None) for name in before if name not in now]
    for name, mine in now.items():
        theirs = before.get(name)
        if theirs is None:
            found.append(row("a service", name, None, name))
            continue
        for what, keys in ASPECTS.items():
            values = reached(theirs, keys), reached(mine, keys)
            if values[0] != values[1] and None not in values:
                found.append(row(what, name, *values))
        first, second = settings(theirs), settings(mine)
        if first and second:
            found += [
                row(key, name, first.get(key), second.get(key))
                for key in sorted(first.keys() | second.keys())
                if first.get(key) != second.get(key)
            ]
    return found


def row(what: str, service: str, before: Any, now: Any) -> dict[str, str]:
    return {"service": service, "what": what, "before": words(before), "now": words(now)}
