"""A site's tables over the product's catalogue, and one row over another: the merge that `plan` is made with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from . import choices, options
from .rows import Faults, Row, fail, merge, type_name

# Each table is a variable `catalogue_NAME` of the product, and NAME of a site.
TABLES = ("models", "services", "boards", "engines", "vendors")
OPERATORS = "flaggems"  # {allow} and {deny} exclude each other: the higher row's choice replaces the lower one's


def spelled(where: str, row: Mapping[str, Any]) -> Row:
    """A row whose engine options have one spelling, so that rows merge by it."""
    args = choices.opened(row.get("engine_args"))
    return {**row, "engine_args": options.spell(where, args)} if args else dict(row)


def over_row(low: Mapping[str, Any], high: Mapping[str, Any]) -> Row:
    """One row over another, key by key."""
    kept = {key: value for key, value in low.items() if key != OPERATORS or OPERATORS not in high}
    return merge(kept, high)


def merge_rows(*rows: Mapping[str, Any]) -> Row:
    """Rows over each other, the lowest first; nulls of the lowest are gone, too."""
    found: Row = {}
    for row in rows:
        found = over_row(found, row)
    return found


def same_spelling(row: Any) -> Any:
    """The row as it merges. What is wrong with its options is said where the row is checked."""
    try:
        return (
            spelled("", row) if isinstance(row, Mapping) and isinstance(row.get("engine_args"), Mapping | str) else row
        )
    except Faults:
        return row


def laid_over(catalogue: Mapping[str, Any], site: Mapping[str, Any]) -> Row:
    """{table: rows}: a site's row of the same name changes keys, null removes (a key, or the whole row), new names add.

    Raises Faults for a table that is none.
    """
    found: Row = {}
    for table in TABLES:
        low, high = catalogue.get(table) or {}, site.get(table) or {}
        for whose, rows in (("the catalogue's", low), ("the site's", high)):
            if not isinstance(rows, Mapping):
                fail(f"{whose} '{table}' is a {type_name(rows)}, but must be a mapping of names to rows")
        rows = dict(low)
        for name, row in high.items():
            if row is None and name in rows:
                del rows[name]
            elif isinstance(row, Mapping) and isinstance(rows.get(name), Mapping):
                rows[name] = over_row(same_spelling(rows[name]), same_spelling(row))
            else:
                rows[name] = row
        found[table] = rows
    return found


def named(name: str, patterns: Iterable[str]) -> bool:
    """Is the name one of these names and patterns?"""
    return any(fnmatchcase(name, str(pattern)) for pattern in patterns)
