"""Filters for adding a model or an adapter: `engine_knows`, `engine_parsers`, `boards_of`, `takes`, `serves`, `loading`, `with_adapter`, `add_faults`,
`name_faults`, `add_words`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent.parent))  # Ansible loads a filter by its path alone

from planning import engine_models, options
from planning import engines as engine_rows

Row = Mapping[str, Any]


def engine_parsers(board: Row, engines: Row, locks: Row) -> list[str]:
    """Parsers (tools/NAME, reasoning/NAME) of the engine that a board's services run; none where its version isn't known or listed."""
    name = str(board.get("engine"))
    service = {
        "native_env": None,
        "image": None,
        "engine_version": None,
        **board,
        **((board.get("engines") or {}).get(name) or {}),
    }
    version = options.version_of(service, engine_rows.check_engine(name, engines.get(name) or {}), locks)
    if not version or version not in engine_models.catalogue()[0]:
        return []
    return sorted(name for name in engine_models.engine_knows(version) if "/" in name)


def boards_of(hosts: Iterable[str], hostvars: Row) -> dict[str, Row]:
    """{board's name: its row as these hosts have it}."""
    found = (hostvars[host].get("plan_board") for host in hosts)
    return {board["board"]: board for board in found if isinstance(board, Mapping) and board.get("board")}


def takes(hosts: Iterable[str], hostvars: Row) -> dict[str, dict[str, Any]]:
    """{host: {runs, ports, devices: {service: number}}}: what these hosts run, and what the services planned for them take."""
    found = {}
    for host in hosts:
        services = hostvars[host]["planned"]["services"]
        found[host] = {
            "runs": list(hostvars[host]["runs"]),
            "ports": [service["port"] for service in services],
            "devices": {
                service["service"]: service["widths"]["devices"] for service in services if service["kind"] != "cpu"
            },
        }
    return found


def serves(hosts: Iterable[str], hostvars: Row) -> dict[str, dict[str, Any]]:
    """{host: {service: {model, adapters}}} of what is planned for these hosts, replicas under the name of their row."""
    return {
        host: {
            service.get("replica_of") or service["service"]: {
                "model": service["model"]["name"],
                "adapters": [adapter["name"] for adapter in service["adapters"]],
            }
            for service in hostvars[host]["planned"]["services"]
        }
        for host in hosts
    }


def loading(services: Iterable[Row], rows: Row) -> list[str]:
    """The rows of a host's services that are among these."""
    return sorted({service.get("replica_of") or service["service"] for service in services} & set(rows))


def with_adapter(tables: Row, name: str, drafted: Row) -> dict[str, Any]:
    """The tables as they will be: with an adapter's row, and in rows of services that load it."""
    services = dict(tables["services"])
    for service, adapters in drafted["services"].items():
        services[service] = {**services[service], "adapters": list(adapters)}
    return {**tables, "models": {**tables["models"], name: drafted["row"]}, "services": services}


def add_faults(model: Any, hosts: Iterable[str], boards: Row, groups: Row) -> list[str]:
    """Why no model can be added as it is asked for: none named, hosts of several boards, hosts of none."""
    faults = []
    if not isinstance(model, str) or not model.strip():
        faults.append(
            "say which model: -e model=Qwen/Qwen2.5-7B-Instruct, or the absolute path of its folder: -e model=/data/mine"
        )
    names = list(hosts)
    if len(boards) > 1:
        faults.append(
            f"--limit names hosts of {', '.join(sorted(boards))}, and a service's row is made for one board; run this once for each"
        )
    if names and not boards:
        faults.append(
            f"{', '.join(names)}: no board is known of these hosts; write board: NAME among their variables or a group's"
        )
    return faults


def name_faults(name: str, catalogue: Row, update: bool) -> list[str]:
    """Why a model can't have this name: a row of the site would lie over the catalogue's, and the two be merged."""
    if name not in catalogue or update:
        return []
    return [
        f"'{name}' is a model of the catalogue; give another name: -e name=my-{name}, or change the catalogue's: -e update=true"
    ]


def add_words(rows: Row, info: Row, hosts: Iterable[str], checked: bool) -> list[str]:
    """What an operator reads at the end: what the model is and takes, what to know, what was written, what comes next."""
    names = list(hosts)
    lines = list(rows["outlook"])
    lines += [f"note: {text}" for text in info["notes"]]
    label = "not loaded" if "adapts" in info else "not in runs"
    lines += [f"{label}: {text}" for text in rows["unplaced"]]
    verb = "would be written" if checked else "written"
    lines.append(
        f"{verb}: {', '.join(rows['files'])}" if rows["files"] else "nothing to write: its rows are there already"
    )
    if not names:
        what = "that serves its model, to load it there" if "adapts" in info else "for a service's row"
        lines.append(f"next: run this again with -l HOST {what}")
    elif not rows["unplaced"] and not checked:
        lines.append(f"next: ansible-playbook deploy.yml -l {','.join(names)}")
    return lines


class FilterModule:
    """The filters of this file, by name."""

    def filters(self) -> dict[str, Any]:
        return {
            "engine_knows": engine_models.engine_knows,
            "engine_parsers": engine_parsers,
            "boards_of": boards_of,
            "takes": takes,
            "serves": serves,
            "loading": loading,
            "with_adapter": with_adapter,
            "add_faults": add_faults,
            "add_words": add_words,
            "name_faults": name_faults,
        }
