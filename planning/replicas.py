"""`replicas: 2` in a row: several processes of one service on a host, each a service of its own, with one name for callers.

Pure. NAME becomes NAME-1, NAME-2, ...: ports count up from the row's, devices and cores that the row names are dealt out in order, those that it
doesn't name are shared out as among any services. What a host changes for NAME it changes for all; changes for NAME-2 lie above.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .gateway import split_address
from .groups import asked
from .rows import Collected, Row, fail, is_int

MOST = 64


def count_of(where: str, row: Any, over: Any) -> int:
    """How many a row and what the host changes of it ask for. Raises Faults."""
    said = [level.get("replicas") for level in (over, row) if isinstance(level, Mapping)]
    count = next((one for one in said if one is not None), 1)
    if not is_int(count) or not 1 <= count <= MOST:
        fail(f"{where}: 'replicas' is {count!r}, but must be a whole number, 1 to {MOST}")
    return int(count)


def names_of(name: str, count: int) -> list[str]:
    return [f"{name}-{number}" for number in range(1, count + 1)] if count > 1 else [name]


def replica_names(runs: Any, services: Mapping[str, Any], overrides: Any = None) -> list[str]:
    """The services that `runs` means. A fault in a row hides nothing: the name itself stays then."""
    found = list[str]()
    for name in runs if isinstance(runs, list) else []:
        counted = Collected().run(count_of, "", services.get(name), (overrides or {}).get(name))
        found += names_of(name, counted or 1)
    return found


def over(low: Mapping[str, Any], high: Mapping[str, Any]) -> Row:
    """Changes over changes; unlike a merge of rows, null stays, as it is to remove something of the row."""
    found = dict(low)
    for key, value in high.items():
        below = found.get(key)
        found[key] = over(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return found


def dealt(where: str, what: str, values: list[Any], count: int) -> list[list[Any]]:
    """`values` in `count` equal parts, in order. Raises Faults."""
    size, left = divmod(len(values), count)
    if left or not size:
        fail(
            f"{where}: '{what}' has {len(values)}, which {count} replicas can't share equally; give a multiple of {count}, or none"
        )
    return [values[number * size : (number + 1) * size] for number in range(count)]


def changes_of(where: str, name: str, row: Mapping[str, Any], base: Mapping[str, Any], count: int) -> list[Row]:
    """What each replica has of its own, as changes over the row. Raises Faults."""

    def said(key: str) -> Any:
        return base[key] if key in base else row.get(key)

    found: list[Row] = [{**base, "replicas": None, "served_name": said("served_name") or name} for _ in range(count)]
    port, devices, cpus = said("port"), said("devices"), said("cpus")
    via = over(row.get("gateway") or {}, base.get("gateway") or {}).get("via")
    for number, change in enumerate(found):
        if is_int(port):
            change["port"] = port + number
        if isinstance(via, str):
            address, first = split_address(f"{where}: gateway.via", via)
            shown = f"[{address}]" if ":" in address else address
            change["gateway"] = {**(base.get("gateway") or {}), "via": f"{shown}:{first + number}"}
    if isinstance(devices, list):
        for change, part in zip(found, dealt(where, "devices", devices, count), strict=True):
            change["devices"] = part
    if isinstance(cpus, str):
        for change, part in zip(found, dealt(where, "cpus", cpus.split("|"), count), strict=True):
            change["cpus"] = "|".join(part)
    return found


def expanded(
    host: str, runs: Iterable[str], services: Mapping[str, Any], overrides: Any
) -> tuple[list[str], Row, Any, dict[str, str]]:
    """(runs, services, overrides, {replica: its row's name}) with each replica as a row of its own. Raises Faults."""
    found, names, origin = Collected(), list[str](), dict[str, str]()
    rows, changes = dict(services), dict(overrides) if isinstance(overrides, Mapping) else overrides
    for name in runs:
        row, base = services.get(name), (overrides or {}).get(name) if isinstance(overrides or {}, Mapping) else None
        where = f"host {host}: service '{name}'"
        count = found.run(count_of, where, row, base) or 1
        if count == 1 or not isinstance(row, Mapping):
            names.append(name)
            continue
        if asked(row):
            found.run(
                fail,
                f"{where}: 'hosts' and 'replicas' are both set; several hosts hold one copy of a model, so remove one of the two",
            )
            continue
        mine = found.run(changes_of, where, name, row, base if isinstance(base, Mapping) else {}, count) or []
        for replica, change in zip(names_of(name, count), mine, strict=False):
            if replica in services:
                found.run(
                    fail,
                    f"{where}: its replica would be called '{replica}', which is a service of its own; rename one of the two",
                )
                continue
            rows[replica], origin[replica] = row, name
            changes = {**(changes or {}), replica: over(change, (overrides or {}).get(replica) or {})}
            names.append(replica)
    found.end()
    return names, rows, changes, origin
