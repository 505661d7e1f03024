"""Adapters (LoRA) of a service: rows of models.yml with a `base`, which the engine loads beside the model and callers ask for by their names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .rows import fail, nearest

Row = dict[str, Any]

COPIES = "/adapters"  # where it sees copies of those that come while it runs
SEEN = "/models"  # where a container's engine sees models and adapters, each under its name


def adapter_rows(where: str, service: Row, models: Mapping[str, Any]) -> dict[str, Row]:
    """{name: its row as the table has it} of a service's adapters. Refuses what adapts another model, or nothing."""
    found = {}
    for name in service["adapters"]:
        row = models.get(name)
        if not isinstance(row, Mapping):
            fail(f"{where}: 'adapters' has '{name}', which is no row of models.yml; {nearest(str(name), models)}")
        elif not row.get("base"):
            fail(
                f"{where}: 'adapters' has '{name}', whose row in models.yml names no `base`; say there which model it adapts"
            )
        elif row["base"] != service["model"]:
            fail(f"{where}: adapter '{name}' is of model '{row['base']}', and this service serves '{service['model']}'")
        elif name in found or name in (service["served_name"], *service["aliases"]):
            fail(f"{where}: 'adapters' has '{name}', which callers would find twice; each name is one")
        else:
            found[str(name)] = dict(row)
    return found


def options_of(where: str, service: Row, rows: Mapping[str, Row], engine: Row) -> Row:
    """engine_args with what makes the engine load them. What the row says itself stays."""
    given: Row = service["engine_args"]
    about = engine["options"]["adapters"]
    if service["adapters_at_runtime"]:
        check_live(where, service, engine, about)
    if not rows:
        return {about["enable"]: True, **given} if service["adapters_at_runtime"] else given
    if not about:
        fail(
            f"{where}: engine '{service['engine']}' takes no adapters; leave 'adapters' out, or merge them into the model"
        )
    args = service["engine_args"]
    if args.get(about["list"]):
        fail(f"{where}: 'adapters' and engine_args.{about['list']} both name adapters; say all of them in one place")
    if args.get(about["enable"]) is False:
        fail(f"{where}: engine_args.{about['enable']} is false, and 'adapters' names some; take one of them out")
    ranks = [int(row["rank"]) for row in rows.values() if row.get("rank")]
    fitting = [size for size in about.get("ranks") or ranks if size >= max(ranks)] if ranks else []
    if ranks and not fitting:
        fail(
            f"{where}: an adapter has rank {max(ranks)}, and the engine takes {max(about['ranks'])} at most; merge it into the model"
        )
    # A running engine stays as long as its options do: what it takes anyway is not said.
    needed = min(fitting) if ranks else 0
    taken = service["adapters_at_runtime"] and needed <= int(about.get("rank_default") or 0)
    return {
        about["enable"]: True,
        **({about["rank"]: needed} if ranks and not taken else {}),
        **args,
        about["list"]: [f"{name}={SEEN}/{name}" for name in rows],
    }


def check_live(where: str, service: Row, engine: Row, about: Row) -> None:
    """Refuse adapters that come and go while the engine runs, where they can't."""
    if not about.get("load"):
        fail(f"{where}: engine '{engine['name']}' takes adapters at its start alone; leave 'adapters_at_runtime' out")
    if service["hosts"]:
        fail(f"{where}: the hosts of one service start with the same adapters; leave 'adapters_at_runtime' out")
    if service["engine_args"].get(about["list"]):
        fail(f"{where}: engine_args.{about['list']} names adapters that nobody could give up; name them in 'adapters'")


def live_of(service: Mapping[str, Any]) -> Row | None:
    """What a release says of how its adapters come and go while the engine runs; None where they don't."""
    if not service["adapters_at_runtime"]:
        return None
    about = service["engine_facts"]["options"]["adapters"]
    return {
        "load": about["load"],
        "unload": about["unload"],
        "line": about["list"].replace("_", "-"),
        "seen": COPIES if service["runtime"] == "container" else None,
    }


def with_adapters(service: Mapping[str, Any], paths: Mapping[str, str]) -> Row:
    """The record for templates: its options name the adapters where the engine sees them, {name: path}."""
    if not service["adapters"]:
        return dict(service)
    option = service["engine_facts"]["options"]["adapters"]["list"]
    return {
        **service,
        "engine_args": {
            **service["engine_args"],
            option: [f"{row['name']}={paths[row['name']]}" for row in service["adapters"]],
        },
    }
