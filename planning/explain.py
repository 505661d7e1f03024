"""Where each value of a host's services comes from: the levels that `plan` merges, asked one by one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .catalogue import laid_over, same_spelling
from .rows import Row

HIDDEN = ("secret_env",)
COMPUTED = ("model", "widths", "notes", "memory_bytes")  # what a service takes, not the board's key of that name


def leaves(row: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted name, value) of a row, of mappings inside it too; lists are one value."""
    for key, value in row.items():
        name = f"{above}{key}"
        if isinstance(value, Mapping) and value:
            yield from leaves(value, name + ".")
        else:
            yield name, value


def levels(name: str, catalogue: Row, site: Row, board: Any, overrides: Mapping[str, Any]) -> list[tuple[str, Row]]:
    """[(where, row)] of one service, the lowest first."""
    tables = laid_over(catalogue, site)
    given = {"name": board} if isinstance(board, str) else dict(board or {})
    board_name = given.pop("name", None)
    vendor = ((tables["boards"].get(board_name) or {}) if board_name else {}).get("vendor")
    found = []

    def add(table: str, row_name: Any, what: str) -> None:
        for whose, rows in (("catalogue", catalogue), ("site", site)):
            row = (rows.get(table) or {}).get(row_name)
            if isinstance(row, Mapping):
                found.append((f"{whose}: {what} {row_name}", dict(row)))

    add("vendors", vendor, "vendor")
    add("boards", board_name, "board")
    found.append(("host: board", given))
    low = len(found)
    add("services", name, "service")
    found.append(("host: overrides", dict(overrides.get(name) or {})))
    engine = next((row["engine"] for _, row in reversed(found) if row.get("engine")), None)
    by_engine = [
        (f"{where}, engines.{engine}", dict((row.get("engines") or {}).get(engine) or {})) for where, row in found[:low]
    ]
    return [(where, same_spelling(row)) for where, row in [*found[:low], *by_engine, *found[low:]]]


def origin(name: str, rows: list[tuple[str, Row]]) -> str:
    """The level that a value of a record comes from, by its dotted name."""
    for where, row in reversed(rows):
        if any(leaf == name or leaf.startswith(name + ".") or name.startswith(leaf + ".") for leaf, _ in leaves(row)):
            return where
    return ""


def explained(
    records: list[Row], catalogue: Row, site: Row, board: Any, overrides: Mapping[str, Any] | None, wanted: Any = True
) -> list[list[str]]:
    """[[service, key, value, where from]] of what somebody has said of a host's services. `wanted`: one service, or true."""
    lines = []
    for record in records:
        if str(wanted).lower() not in ("true", "yes", "all", "1") and wanted != record["service"]:
            continue
        rows = levels(record["service"], catalogue, site, board, overrides or {})
        for name, value in leaves(record):
            if name.partition(".")[0] in COMPUTED:
                continue
            where = origin(name, rows)
            if where and name.removeprefix("engine_args.") in record["choice"]["chosen"]:
                where += ", as auto; chosen by fit"
            if where:
                shown = "(secret)" if name.partition(".")[0] in HIDDEN else str(value)
                lines.append([record["service"], name, shown, where])
        model = record["model"]["name"]
        for whose, given in (("catalogue", catalogue), ("site", site)):
            if model in (given.get("models") or {}):
                lines.append([record["service"], "model", model, f"{whose}: model {model}"])
    return lines
