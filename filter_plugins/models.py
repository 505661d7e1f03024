"""Filters for adding a model: `engine_knows`, `engine_parsers`, `boards_of`, `takes`, `add_faults`, `add_words`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent.parent))  # Ansible loads a filter by its path alone

from planning import engine_models, options

Row = Mapping[str, Any]


def engine_parsers(board: Row, engines: Row, locks: Row) -> list[str]:
    """Parsers (tools/NAME, reasoning/NAME) of the engine that a board's services run; none where its version isn't known or listed."""
    service = {"native_env": None, "image": None, "engine_version": None, **board}
    version = options.engine_version(service, engines.get(str(board.get("engine"))) or {}, locks)
    if not version or version not in engine_models.catalogue()[0]:
        return []
    return sorted(name for name in engine_models.engine_knows(version) if "/" in name)


def boards_of(hosts: Iterable[str], hostvars: Row) -> dict[str, Row]:
    """{hardware: accelerator} of these hosts."""
    found = (hostvars[host].get("accelerator") for host in hosts)
    return {
        board["hardware"]: board
        for board in found
        if isinstance(board, Mapping) and isinstance(board.get("hardware"), str)
    }


def takes(hosts: Iterable[str], hostvars: Row) -> dict[str, dict[str, Any]]:
    """{host: {ports, devices: {service: number}}} that the services planned for these hosts take."""
    found = {}
    for host in hosts:
        services = hostvars[host]["planned"]["services"]
        found[host] = {
            "ports": [service["port"] for service in services],
            "devices": {
                service["service"]: service["widths"]["devices"] for service in services if service["kind"] != "cpu"
            },
        }
    return found


def add_faults(model: Any, hosts: Iterable[str], boards: Row, groups: Row) -> list[str]:
    """Why no model can be added as it is asked for: none named, hosts of several kinds of hardware, hosts of none."""
    faults = []
    if not isinstance(model, str) or not model.strip():
        faults.append(
            "say which model: -e model=Qwen/Qwen2.5-7B-Instruct, or the absolute path of its folder: -e model=/data/mine"
        )
    names = list(hosts)
    if len(boards) > 1:
        faults.append(
            f"--limit names hosts of {', '.join(sorted(boards))}, and a service's row is made for one hardware; run this once for each"
        )
    if names and not boards:
        faults.append(
            f"{', '.join(names)}: no hardware is known of these hosts; put them below a hardware group of the inventory"
        )
    return faults


def add_words(rows: Row, info: Row, hosts: Iterable[str], checked: bool) -> list[str]:
    """What an operator reads at the end: what the model is and takes, what to know, what was written, what comes next."""
    names = list(hosts)
    lines = list(rows["outlook"])
    lines += [f"note: {text}" for text in info["notes"]]
    lines += [f"not in runs: {text}" for text in rows["unplaced"]]
    verb = "would be written" if checked else "written"
    lines.append(
        f"{verb}: {', '.join(rows['files'])}" if rows["files"] else "nothing to write: its rows are there already"
    )
    if not names:
        lines.append("next: run this again with -l HOST for a service's row")
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
            "add_faults": add_faults,
            "add_words": add_words,
        }
