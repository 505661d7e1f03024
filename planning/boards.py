"""Boards: what a host computes with, resolved from its vendor's row, its own and what the host changes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from . import devices
from .catalogue import merge_rows, spelled
from .keys import BOARD, KINDS, LINKS, SHARED
from .names import check_names
from .rows import Collected, Row, check_row, check_set, check_texts, defaults, fail, lookup, one_of

LOCK = ("file", "provides")  # what native_locks says of an engine


def shared_keys(row: Mapping[str, Any]) -> Row:
    """What a board's row gives services as defaults."""
    return {key: value for key, value in row.items() if key in SHARED}


def check_locks(where: str, locks: Any) -> Row:
    """`native_locks` of a board or a host: {engine: {file, provides}}; null takes an engine's away."""
    if locks and not isinstance(locks, Mapping):
        fail(f"{where}: 'native_locks' is {locks!r}, but must be a mapping of engines to {' and '.join(LOCK)}")
    for engine, lock in (locks or {}).items():
        if lock is not None and not isinstance(lock, Mapping):
            fail(f"{where}: native_locks.{engine} is {lock!r}, but must be a mapping of {' and '.join(LOCK)}")
        check_texts(f"{where}: native_locks.{engine}", "lock", lock or {}, LOCK)
    return dict(locks or {})


def check_level(where: str, row: Any, engines: Mapping[str, Any]) -> Row:
    """One level of a board (its vendor's row, its own, what a host changes), checked key by key."""
    level = spelled(where, check_row(where, row, BOARD, partial=True))
    check_locks(where, level.get("native_locks"))
    for engine, keys in (level.get("engines") or {}).items():
        one_of(where, "engines", engine, engines)
        if keys is not None:
            keys = spelled(
                f"{where}: engines.{engine}", check_row(f"{where}: engines.{engine}", keys, SHARED, partial=True)
            )
        level["engines"] = {**level["engines"], engine: keys}
    return level


def check_board(where: str, board: Row) -> None:
    """Refuse a merged board that no host can have."""
    found = Collected()
    found.run(one_of, where, "kind", board["kind"], KINDS)
    if board["links"] is not None:
        found.run(one_of, where, "links", board["links"], LINKS)
    for pattern in board["names"]:
        try:
            re.compile(pattern)
        except re.error as error:
            found.run(fail, f"{where}: names has {pattern!r}, which is no regular expression: {error}")
    if board["compute_capability"] and not re.fullmatch(r"\d{1,2}\.\d", board["compute_capability"]):
        found.run(
            fail, f"{where}: compute_capability is '{board['compute_capability']}', but must be like '9.0'; quote it"
        )
    if board["arch"] != devices.machine(board["arch"]):
        found.run(
            fail, f"{where}: 'arch' is {board['arch']!r}; write {devices.machine(board['arch'])}, as uname -m says it"
        )
    found.end()


def resolve_board(where: str, given: Any, tables: Mapping[str, Mapping[str, Any]]) -> Row:
    """The board of a host: every key of BOARD, and `board`, its name. `given`: a name, or {name, changes}. Raises Faults."""
    changes = {"name": given} if isinstance(given, str) else given
    if not isinstance(changes, Mapping) or not isinstance(changes.get("name"), str):
        fail(
            f"{where}: 'board' is {given!r}, but must be a name of boards.yml, or {{name: NAME, count: 2}} with changes"
        )
    name = changes["name"]
    if odd := check_names("board", "boards.yml", {name: None}):
        fail(odd[0])
    own = check_level(
        f"boards.yml: board '{name}'", lookup(where, "board", name, tables["boards"], "boards.yml"), tables["engines"]
    )
    check_set(f"boards.yml: board '{name}'", own, {"vendor": BOARD["vendor"]})
    one_of(f"boards.yml: board '{name}'", "vendor", own["vendor"], tables["vendors"])
    low = check_level(
        f"boards.yml: vendor '{own['vendor']}'", tables["vendors"].get(own["vendor"]) or {}, tables["engines"]
    )
    high = check_level(
        f"{where}: board", {key: value for key, value in changes.items() if key != "name"}, tables["engines"]
    )
    board = {**defaults(BOARD), **merge_rows(low, own, high), "board": name}
    check_board(where, board)
    return board
