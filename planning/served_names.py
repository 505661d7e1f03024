"""Names under which callers ask for a service: its served name and `aliases` of its row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .options import takes_one
from .rows import fail


def check_aliases(where: str, service: Mapping[str, Any], version: str | None, engine: Mapping[str, Any]) -> None:
    """Refuse more names of a service than its engine can have, or the same name twice. Before, they were left out without a word."""
    names = [service["served_name"], *service["aliases"]]
    if len(names) == 1:
        return
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        fail(f"{where}: 'aliases' has '{twice}' twice, or it is the served name itself; each name is one")
    options = engine["options"]
    if not options["aliases"]:
        fail(
            f"{where}: engine '{engine['name']}' serves a model under one name; leave 'aliases' out, callers use '{names[0]}'"
        )
    if takes_one(version, options):
        fail(
            f"{where}: {engine['title']} {version} serves a model under one name, {options['several']} and later under several; "
            f"leave 'aliases' out, or take a later one"
        )
