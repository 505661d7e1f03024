"""Filters that make a plan: `site_tables`, `host_board`, `plan`, `planned`, `replica_names`, `table_faults`, `model_forms`.

Merge rule, one direction: the catalogue < the site's tables; then vendor < board < what the host changes of it < the board's
defaults for the engine < service < the host's overrides. Dicts merge by key, lists replace, null removes what was there, at
every depth; then a key has its default. Whatever a person edits is checked here: an unknown name is refused with the nearest
one there is, so that a typo never passes silently.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent.parent))  # Ansible loads a filter by its path alone

from planning import choices, environment, groups, names
from planning.boards import check_locks, resolve_board
from planning.catalogue import laid_over, named, spelled
from planning.engines import faults as engine_faults
from planning.explain import explained
from planning.keys import BOARD, MODEL, SERVICE, SHAPE, SHARED, SOURCES
from planning.replicas import expanded, replica_names
from planning.rows import Collected, Faults, Row, check_row, check_switch, fail, lookup, merge, nearest
from planning.services import checked_tables, resolve_service
from planning.site import setting_faults

__all__ = ["BOARD", "MODEL", "SERVICE", "SHAPE", "SHARED", "SOURCES", "merge"]  # for the manual and the tests
Tables = Mapping[str, Mapping[str, Any]]


def host_board(given: Any, tables: Tables, host: str = "localhost", lenient: bool = False) -> Row:
    """The board of a host, every key of it. `lenient`: {} where something is wrong, which `planned` says."""
    try:
        return resolve_board(f"host {host}", given, tables)
    except Faults:
        if lenient:
            return {}
        raise


def check_overrides(host: str, overrides: Any, runs: list[str], services: Mapping[str, Any]) -> Row:
    """{service: changes}, checked; of services that the host runs, with their rows. Raises Faults."""
    found = Collected()
    changes: Row = found.run(
        check_row, f"host {host}: overrides", overrides or {}, dict.fromkeys(services, SERVICE["check"])
    )
    for name in changes or {}:
        if name not in runs:
            where = f"host {host}: service '{name}': overrides"
            row = found.run(check_row, where, changes[name] or {}, SERVICE, partial=True)
            found.run(spelled, where, row or {})
            found.run(environment.check_env, where, merge({}, (row or {}).get("env") or {}))
    found.end()
    return changes


def check_runs(host: str, runs: Any) -> None:
    """Refuse what is no list of services, each once."""
    if not isinstance(runs, list) or not all(isinstance(name, str) for name in runs):
        fail(f"host {host}: 'runs' is {runs!r}, but must be a list of service names, like [demo]")
    doubled = sorted({name for name in runs if runs.count(name) > 1})
    if doubled:
        fail(f"host {host}: 'runs' names {', '.join(doubled)} more than once")


def names_devices(row: Any, override: Any) -> bool:
    """Does a service name the devices that it gets? Its row, or what the host changes of it."""
    said: dict[str, Any] = {}
    for level in (row, override):
        if isinstance(level, Mapping):
            said.update(level)
    return said.get("devices") is not None


def planned(
    runs: Any,
    tables: Tables,
    board: Any = None,
    overrides: Mapping[str, Any] | None = None,
    host: str = "localhost",
    pins: Mapping[str, Any] | None = None,
    locks: Mapping[str, Any] | None = None,
    paths: Mapping[str, Any] | None = None,
    switches: Mapping[str, Any] | None = None,
    settings: Iterable[str] = (),
    fleet: Mapping[str, Any] | None = None,
) -> Row:
    """What `host` runs, in the order of `runs`: {services: closed records, secrets: {service: {name: value}}, faults: sentences}.

    `settings`: names of all variables of the host, of which some may be gone. `fleet`: all hosts that may run services (groups.fleet_of),
    needed if a service of this host runs over several.
    """
    found = Collected()
    records: list[Row] = []
    values: dict[str, Row] = {}
    found.run(setting_faults, f"host {host}", settings)
    pins = found.run(choices.check_pins, f"host {host}", pins) or {}
    locks = found.run(check_locks, f"host {host}", locks) or {}
    for name, value in (paths or {}).items():
        found.run(names.check_path, f"host {host}", name, value)
    for name, value in (switches or {}).items():
        found.run(check_switch, f"host {host}", name, value)
    before = len(found.faults)
    found.run(check_runs, host, runs)
    listed = len(found.faults) == before
    resolved = found.run(resolve_board, f"host {host}", board, tables) if board is not None else None
    if board is None:
        known = nearest("", tables["boards"])
        found.run(fail, f"host {host} says no board; write board: NAME among its variables or a group's; {known}")
    every = found.run(expanded, host, runs, tables["services"], overrides) if listed else None
    runs, services, overrides, origin = every or ([], tables["services"], overrides, {})
    tables = {**tables, "services": services}
    changes = found.run(check_overrides, host, overrides, runs, services) if every else None
    if resolved is None or changes is None:
        return {"services": [], "secrets": {}, "faults": found.faults}
    given = {
        **checked_tables(tables),
        "locks": merge(resolved["native_locks"], locks),
        "pins": pins,
        "host": host,
        "fleet": fleet,
    }
    taken: dict[Any, str] = {}
    ports: dict[int, str] = {}
    resolved_rows: dict[str, Row | None] = {}
    # Rows that name devices come first: the others take what is left, whatever the order of runs.
    for name in sorted(runs, key=lambda one: not names_devices(services.get(one), changes.get(one))):
        where = f"host {host}: service '{name}'" if name in tables["services"] else f"host {host}"
        resolved_rows[name], values[name] = found.run(
            resolve_service, name, where, given, resolved, changes.get(name) or {}, taken
        ) or (None, {})
    for name in runs:
        record = resolved_rows[name]
        if record is None:
            continue
        record["replica_of"] = origin.get(name)
        pin(record, pins)
        port = record["port"]
        if port in ports:
            found.run(
                fail,
                f"host {host}: services '{ports[port]}' and '{name}' both use port {port}; give one another port",
            )
        ports[port] = name
        records.append(record)
    values = {record["service"]: values[record["service"]] for record in records}
    return {"services": records, "secrets": values, "faults": found.faults}


def plan(runs: Any, *tables: Any, **given: Any) -> list[Row]:
    """Every service of a host, in the order of `runs`, as closed records. Raises AnsibleFilterError with all that is wrong."""
    found = planned(runs, *tables, **given)
    if found["faults"]:
        raise Faults(found["faults"])
    return list(found["services"])


def row_faults(name: str, row: Row, given: Row, boards: Mapping[str, Row]) -> list[str]:
    """What is wrong with a service's row whoever runs it.

    A row that names its boards is to work on each of them. Another one is to work on some board: of what each board refuses it
    is told what they all refuse.
    """
    where = f"services.yml: service '{name}'"
    for pattern in row.get("boards") or []:
        if not any(named(board, [pattern]) for board in boards):
            return [f"{where}: 'boards' has '{pattern}', which is no board; {nearest(pattern, boards)}"]
    mine = {board: one for board, one in boards.items() if not row.get("boards") or named(board, row["boards"])}
    refusals = []
    for one in mine.values():
        found = Collected()
        found.run(resolve_service, name, where, {**given, "locks": one["native_locks"]}, one, {}, None)
        refusals.append(found.faults)
        if not found.faults and not row.get("boards"):
            return []
    if row.get("boards"):
        return [text for texts in refusals for text in texts]
    common = [text for text in (refusals or [[]])[0] if all(text in texts for texts in refusals)]
    return common or (refusals or [[]])[0]


def table_faults(tables: Tables, first: Iterable[Any] = ()) -> list[str]:
    """What is wrong with rows of the tables, whether a host runs them or not. `first`: boards that hosts of the site have."""
    found = Collected()
    found.faults += names.check_names("service", "services.yml", tables["services"])
    found.faults += names.check_names("model", "models.yml", tables["models"])
    given = {**checked_tables(tables), "pins": {}, "host": ""}
    found.faults += engine_faults(given["engines"])
    for name in tables["models"]:
        found.run(given["models"].row, name)
    given_names = [one.get("name") if isinstance(one, Mapping) else one for one in first]
    mine = [one for one in given_names if isinstance(one, str) and one in tables["boards"]]
    found.faults += names.check_names("board", "boards.yml", tables["boards"])
    boards = {}
    for name in [
        *(one for one in mine if one in tables["boards"]),
        *(one for one in tables["boards"] if one not in mine),
    ]:
        board = found.run(resolve_board, "boards.yml", str(name), tables)
        if board:
            boards[str(name)] = board
    for name in tables["services"]:
        where = f"services.yml: service '{name}'"
        checked = found.run(given["services"].row, name)
        if checked is not None and found.run(lookup, where, "model", checked["model"], tables["models"], "models.yml"):
            found.faults += [text for text in row_faults(name, checked, given, boards) if text not in found.faults]
    return found.faults


def pin(record: Row, pins: Mapping[str, Any]) -> None:
    """Put resolved commits and digests where the tables leave a moving name. What the tables pin stays."""
    digest = (pins.get("images") or {}).get(record["image"])
    if digest:
        record["image"] = f"{record['image']}@{digest}"
    for model in (record["model"], *record["adapters"]):
        commits = (pins.get("models") or {}).get(model["name"]) or {}
        model["sources"] = {
            hub: {**row, "revision": commits[hub]} if hub in commits and not row.get("revision") else row
            for hub, row in ((hub, row or {}) for hub, row in model["sources"].items())
        }


def model_forms(records: Iterable[Row]) -> list[Row]:
    """[{model, convert}] of what the services of a plan need, each form of a model once, the published form first."""
    forms: dict[tuple[str, str], Row] = {}
    for record in records:
        convert = record["convert"] or None
        forms.setdefault((record["model"]["name"], convert or ""), {"model": record["model"], "convert": convert})
        for adapter in record["adapters"]:
            forms.setdefault((adapter["name"], ""), {"model": adapter, "convert": None})
    return [forms[key] for key in sorted(forms)]


def with_places(records: Iterable[Row], placed: Mapping[str, Any]) -> list[Row]:
    """The plan's records with the sizes that module service_devices took from the host's topology."""
    found = []
    for record in records:
        cache = ((placed.get("services") or {}).get(record["service"]) or {}).get("kv_cache_memory_bytes")
        if cache:
            args = {**record["engine_args"], "kv_cache_memory_bytes": cache}
            memory = int(record["memory_bytes"] or 0) + cache * int(record["widths"]["devices"])
            record = {**record, "engine_args": args, "memory_bytes": memory}
        found.append(record)
    return found


class FilterModule:
    """The filters of this file, by name."""

    def filters(self) -> dict[str, Any]:
        return {
            "site_tables": laid_over,
            "host_board": host_board,
            "plan": plan,
            "planned": planned,
            "replica_names": replica_names,
            "table_faults": table_faults,
            "explained": explained,
            "model_forms": model_forms,
            "undecided": choices.undecided,
            "to_choose_from": choices.to_choose_from,
            "with_places": with_places,
            "group_faults": groups.group_faults,
            "absent_members": groups.absent,
            "one_unit": groups.one_unit,
            "group_peers": groups.peers,
            "fleet_of": groups.fleet_of,
            "over_hosts": groups.over_hosts,
            "names_over_hosts": groups.names_over_hosts,
        }
