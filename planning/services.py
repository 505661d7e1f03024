"""One service of a host, from its rows to a closed record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from judging.rows import row_problems

from . import (
    adapters,
    choices,
    devices,
    engine_models,
    engines,
    environment,
    groups,
    inputs,
    names,
    options,
    served_names,
)
from .boards import shared_keys
from .catalogue import merge_rows, named, over_row, spelled
from .gateway import route_of
from .keys import CHECK, DEVICE_ACCESS, DTYPES, MODEL, SERVICE, SHAPE, SOURCES
from .rows import Checked, Collected, Row, check_row, check_set, check_texts, defaults, fail, lookup, one_of

ENGINE_BOUND = ("engine_version", "image", "image_arch", "activate", "native_env")  # keys that mean one engine
VERSION_REMEDY = "set engine_version to the one that it is; a newer release of vllm-ansible may list it"


def resolve_model(name: str, row: Any) -> Row:
    """A model's row, checked; its name is `model`."""
    where = f"models.yml: model '{name}'"
    given = check_row(where, row, MODEL)
    found = Collected()
    for source, keys in given["sources"].items():
        before = len(found.faults)
        found.run(one_of, where, "sources", source, SOURCES)
        if len(found.faults) == before:
            found.run(names.check_source, where, source, keys)
    found.run(one_of, where, "dtype", given.get("dtype") or "bfloat16", DTYPES)
    found.run(one_of, where, "kind", given.get("kind") or "chat", engine_models.KINDS)
    found.run(check_texts, where, "shape", given.get("shape") or {}, SHAPE, numbers=True)
    found.run(check_texts, where, "check", given.get("check") or {}, CHECK)
    found.end()
    return {**defaults(MODEL), **{key: value for key, value in given.items() if value is not None}}


def check_service(name: str, row: Any) -> Row:
    """A row of services.yml, checked, its options in one spelling."""
    where = f"services.yml: service '{name}'"
    return spelled(where, check_row(where, row, SERVICE))


def checked_tables(tables: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The tables of a plan, with rows that are checked once for all services and boards that ask for them."""
    checks = {"engines": engines.check_engine, "models": resolve_model, "services": check_service}
    return {**tables, **{table: Checked(tables[table], check) for table, check in checks.items()}}


def merged(board: Row, row: Row, over: Row) -> Row:
    """A service's keys from its levels, with defaults where none of them says anything."""
    low = shared_keys(board)
    before = row.get("engine") or low.get("engine")
    engine = over.get("engine") or before
    low = merge_rows(of_engine(low, low.get("engine"), engine), (board["engines"] or {}).get(engine) or {})
    return {**defaults(SERVICE), **over_row(over_row(low, of_engine(row, before, engine)), over)}


def of_engine(row: Row, its: Any, engine: Any) -> Row:
    """A row without what means its own engine, where another one is to run: an image or a version of it is no default."""
    return row if its == engine else {key: value for key, value in row.items() if key not in ENGINE_BOUND}


@dataclass
class Draft:
    """A service's record on its way: its levels merged, engine and model found; `found` collects what the rows say wrongly."""

    name: str
    where: str
    tables: Mapping[str, Any]
    board: Row
    row: Row
    over: Row
    service: Row
    engine: Row
    model: Row
    choice: Any = None
    version: str | None = None
    group: Row | None = None
    secrets: Row = field(default_factory=dict)
    address: str = ""
    notes: list[dict[str, str]] = field(default_factory=list)
    found: Collected = field(default_factory=Collected)

    def note(self, rule: str, remedy: str, texts: Iterable[str]) -> None:
        self.notes += [{"rule": rule, "text": text, "remedy": remedy} for text in texts]


def drafted(name: str, where: str, tables: Mapping[str, Any], board: Row, override: Any) -> Draft:
    """The levels of a row merged. What is wrong here ends at once: everything else depends on it."""
    lookup(where, "service", name, tables["services"], "services.yml")
    row = tables["services"].row(name)
    over = spelled(f"{where}: overrides", check_row(f"{where}: overrides", override, SERVICE, partial=True))
    service = merged(board, row, over)
    check_set(where, service, SERVICE)
    if service["boards"] and not named(board["board"], service["boards"]):
        fail(
            f"{where} is for the boards {', '.join(service['boards'])}, but the host's is '{board['board']}'; "
            f"use a row of services.yml that is for it, or add it to the row's 'boards'"
        )
    engine = engines.of_service(where, service, tables["engines"])
    if service["device_access"] is not None:
        one_of(where, "device_access", service["device_access"], DEVICE_ACCESS)
    for path in service["paths"]:
        engines.check_path(where, path)
    route_of(where, service["gateway"])
    for problem in row_problems(where, service):
        fail(problem)
    service["image"] = image_of(where, service, engine, (over, row))
    service["engine_args"] = options.common(where, service["engine_args"], engine["options"])
    lookup(where, "model", service["model"], tables["models"], "models.yml")
    model = {"name": service["model"], **tables["models"].row(service["model"])}
    if model["base"]:
        fail(
            f"{where}: model '{model['name']}' is an adapter of '{model['base']}'; serve that model, and name this one in 'adapters'"
        )
    return Draft(name, where, tables, board, row, over, service, engine, model)


def image_of(where: str, service: Row, engine: Row, levels: tuple[Row, Row]) -> str | None:
    """The image of a service; `levels`: what its overrides and its row say, in this order."""
    said = next((level for level in levels if level.get("image") or level.get("engine_version")), {})
    if engine["image"] and not said.get("image") and said.get("engine_version"):
        service = {**service, "image": None}  # a lower level's is of another version
    image = engines.image_of(service, engine)
    if service["runtime"] == "container" and not image:
        by = f", or 'engine_version', of which the image is {engine['image']}" if engine["image"] else ""
        fail(
            f"{where}: runtime 'container' needs 'image'; set it in the service's row, or for the engine in its board's{by}"
        )
    return image


def settle_model(draft: Draft) -> None:
    """What follows from the model: adapters, the settings that `auto` chose, data type, how it is asked."""
    service, model, where, run = draft.service, draft.model, draft.where, draft.found.run
    models, board = draft.tables["models"], draft.board
    added = run(adapters.adapter_rows, where, service, models) or {}
    service["engine_args"] = run(adapters.options_of, where, service, added, draft.engine) or service["engine_args"]
    service["adapters"] = [{"name": one, **models.row(one)} for one in added]
    draft.choice = run(
        choices.closed, where, draft.name, service, model, draft.tables["pins"], draft.tables["host"], board["board"]
    )
    if model["dtype"] not in board["dtypes"] and service["convert"] is None:
        run(
            fail,
            f"{where}: model '{model['name']}' is {model['dtype']}, but '{board['board']}' computes in "
            f"{', '.join(board['dtypes'])} only; set convert: float16, or convert: false if the engine casts at load",
        )
    said = {**(draft.row.get("engine_args") or {}), **(draft.over.get("engine_args") or {})}
    if service["convert"] and "dtype" in service["engine_args"] and said.get("dtype") is None:
        # The board's dtype is that of weights as they are published.
        service["engine_args"] = {**service["engine_args"], "dtype": service["convert"]}
    run(check_texts, where, "check", service["check"] or {}, CHECK)
    for question in service["asks"]:
        run(one_of, where, "asks", question, engine_models.MORE)
    run(engine_models.check_kind, where, service, model)


def settle_options(draft: Draft) -> None:
    """What follows from the engine and its version: files, the group of several hosts, options, environment, secrets."""
    service, engine, where, run = draft.service, draft.engine, draft.where, draft.found.run
    if service["files"]:
        # Inside a container the release lies at /config; natively it is the folder that the engine works in.
        place = "/config/inputs/" if service["runtime"] == "container" else "inputs/"
        for table in ("engine_args", "env"):
            service[table] = inputs.with_files(service[table], tuple(service["files"]), place)
    draft.version = version = options.version_of(service, engine, draft.tables["locks"])
    draft.group = run(grouped, draft)
    if draft.group:
        service["engine_args"] = draft.group.pop("engine_args")
    checked: tuple[Row, list[str]] = run(
        options.check_options, where, service["engine_args"], version, engine["options"], engine["title"]
    ) or ({}, [])
    args, unknown = checked
    called = {**service, "served_name": service["served_name"] or draft.name}
    run(served_names.check_aliases, where, called, version, engine)
    asked = {**(draft.board["eager_env"] if args.get("enforce_eager") else {}), **service["env"]}
    env, odd = run(environment.check_env, where, asked) or ({}, [])
    if engine_models.listed(engine["options"]["table"]):
        run(engine_models.check_architecture, where, draft.model, version)
        run(engine_models.check_parsers, where, service, version)
    if service["adapters_at_runtime"] and engine["options"]["adapters"].get("switch"):
        env = {engine["options"]["adapters"]["switch"]: "1", **env}
    draft.secrets = run(environment.check_secrets, where, service["secret_env"], service["env"], env) or {}
    draft.address = run(names.check_places, where, service) or ""
    news = options.unknown_version(service, engine, version)
    draft.note("unknown-version", VERSION_REMEDY, [news] if news else [])
    draft.note("unknown-option", "correct the name, if it is wrong", unknown)
    draft.note("env-boolean", "quote what the process is to read", odd)
    service.update(engine_args=args, env=env)


def grouped(draft: Draft) -> Row | None:
    """The service's group (groups.group_of) and its engine_args over all hosts; None where one host runs it."""
    where, board = draft.where, draft.board
    service = {**draft.service, "choice": draft.choice, "kind": board["kind"]}
    for key in groups.KEYS:
        if key in draft.over:
            fail(f"{where}: overrides: '{key}' is of all hosts of the service; set it in its row")
    if not groups.asked(service):
        return None
    if service["choice"] is None:
        return None  # refused already
    groups.check_engine(where, service, draft.engine, draft.version)
    groups.check_widths(where, service, board, draft.model)
    args = groups.spread(where, service, board)
    return {**groups.group_of(where, draft.name, service, draft.tables), "engine_args": args}


def resolve_service(
    name: str,
    where: str,
    tables: Mapping[str, Any],
    board: Row,
    override: Any,
    taken: dict[Any, str] | None,
) -> tuple[Row, Row]:
    """(record, secrets) of one service: every key of SERVICE, and what follows from them. `tables`: of `checked_tables`.

    `taken` is None for a row that no host of this run serves: its devices depend on the host.
    """
    draft = drafted(name, where, tables, board, override)
    settle_model(draft)
    settle_options(draft)
    draft.found.end()

    service, engine, model, group = draft.service, draft.engine, draft.model, draft.group
    service["image_arch"] = devices.machine(service["image_arch"])
    wide = devices.widths(where, service["engine_args"], engine["options"]["within_tensor"])
    if group:
        wide = groups.shared(wide, group["size"])
    devices.check_cpus(where, service, board["kind"], wide)
    earlier = (tables["pins"].get("choices") or {}).get(tables["host"]) or {}

    service.update(
        service=name,
        host=tables["host"],
        board=board["board"],
        address=str(draft.address).strip("[]"),
        served_name=service["served_name"] or name,
        kind=board["kind"],
        choice=draft.choice,
        group=group,
        secret_env=sorted(draft.secrets),  # names alone: values go to the host by themselves
        engine_facts=engines.facts(name, service, engine),
        options_version=draft.version,
        notes=draft.notes,
    )
    service.update(
        devices=None if taken is None else devices.devices_of(where, service, board, taken, wide, earlier),
        devices_given=service["devices"] is not None,
        widths=wide,
        utilization=devices.utilization(service["engine_args"], engine["options"]["share"]),
        endpoint=f"http://{draft.address}:{service['port']}",
        check=engine_models.question(service, model),
        model=model,
    )
    service["memory_bytes"] = devices.cpu_memory(service, wide)
    if group:
        groups.joined(service, model, board)
    if board["kind"] == "npu" and service["runtime"] == "container" and service["devices"]:
        # Inside a container NPUs are numbered from 0, whatever the host's davinci numbers are; left to itself
        # vllm_mindspore counts them by npu-smi's power column, which some cards don't show, and finds none.
        ids = ",".join(map(str, range(len(service["devices"]))))
        service["env"] = {"ASCEND_RT_VISIBLE_DEVICES": ids, **service["env"]}
    return service, draft.secrets
