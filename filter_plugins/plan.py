"""Filter `plan`: what a host runs, resolved from the tables into closed records.

Merge rule, one direction, here and nowhere else: accelerator < service < the host's overrides.
Dicts merge by key, lists replace, null removes what was there, at every depth; then a key has its default. Whatever a person
edits is checked here: an unknown name is refused with the nearest one there is, so that a typo never passes silently.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent.parent))  # Ansible loads a filter by its path alone

from planning import choices, devices, environment, inputs, names, options
from planning.rows import (
    Collected,
    Faults,
    Key,
    Row,
    check_row,
    check_set,
    check_switch,
    check_texts,
    defaults,
    fail,
    lookup,
    merge,
    one_of,
)

ENGINES = ("vllm", "flagscale", "mindspore", "vllm_ascend")
RUNTIMES = ("native", "container")
DEVICE_ACCESS = ("cdi", "nodes")
DTYPES = ("bfloat16", "float16", "float32")

# Keys that an accelerator gives as defaults and a service or an override may set.
SHARED: dict[str, Key] = {
    "engine": Key("str", None, "What turns the row into files and a command: " + ", ".join(ENGINES) + "."),
    "runtime": Key("str", None, "How it runs: `native` (a Python environment) or `container`."),
    "engine_version": Key("str", None, "Variant of the engine, a key of engines.yml; null: the engine's only one."),
    "image": Key("str", None, "Container image, by digest where pins are required."),
    "image_arch": Key("str", None, "Machine architecture that the image is built for."),
    "activate": Key("str", None, "Shell line that enters the image's own environment."),
    "device_access": Key(
        "str", None, "How a container gets its devices: `cdi` (named by the vendor's CDI file) or `nodes`."
    ),
    "device_nodes": Key(
        "list", [], "Device nodes for access `nodes`; {index} stands for each of the service's devices."
    ),
    "native_env": Key("path", None, "An existing Python environment with vLLM; null: we make one from the lock file."),
    "engine_args": Key(
        "args",
        {},
        "Options of the engine, under their own names; null removes one. auto, for all or for one, is chosen for the host.",
    ),
    "wishes": Key(
        "dict", {}, "What auto aims at: {context: tokens, concurrency: requests at once, goal: throughput or latency}."
    ),
    "env": Key(
        "dict",
        {},
        "Environment of the service's process; null removes one. YAML's true is 1 and false 0; quote other words.",
    ),
    "secret_env": Key(
        "secrets",
        {},
        "The same for secrets, from vault: in a 0600 file on the host, in no diff, argument, log or report.",
    ),
    "devices": Key(
        "list",
        None,
        "Devices to use, by index or by UUID (GPU-..., a MIG slice MIG-...; vdavinciN for a vNPU); null: the next free ones.",
    ),
    "cpus": Key(
        "str",
        None,
        "Cores of a CPU service, a list for each rank (`0-15|16-31`); null: with several services each gets its share.",
    ),
    "mounts": Key(
        "list", [], "Host paths that a container sees beside its weights, source:target[:ro|rw,z|Z,rshared|...]."
    ),
    "rights": Key(
        "list", [], "Rights beyond the least that works, each shown in the report: " + ", ".join(names.RIGHTS) + "."
    ),
    "shm_bytes": Key("int", None, "Size of the container's private /dev/shm, bytes."),
    "rdma": Key("bool", False, "Give the container /dev/infiniband and locked memory."),
    "overhead_bytes": Key("int", 0, "Memory beside weights and KV cache, bytes, for the check that it fits."),
    "ready_timeout": Key("seconds", 600, "Seconds from start to a first real answer before the deploy fails."),
    "drain_timeout": Key("int", 30, "Seconds that requests in flight get to finish when the service stops."),
    "restart_limit": Key("int", 3, "Failed starts in a row before the supervisor gives up."),
}
SERVICE: dict[str, Key] = {
    "model": Key("str", ..., "Name of a row in models.yml."),
    "hardware": Key("str", ..., "Group of hosts that this row is made for."),
    "port": Key("port", ..., "TCP port of the endpoint."),
    "address": Key("str", "127.0.0.1", "Address that the endpoint listens on."),
    "served_name": Key("str", None, "Model name in the API; null: the service's own name."),
    "api_key": Key("bool", True, "Ask callers for a key, generated once on the host."),
    "paths": Key(
        "list",
        [],
        "Paths of the engine's API that callers may ask beyond the usual ones, such as /tokenize; `{}` is any one part.",
    ),
    "convert": Key("convert", None, "`float16`: convert weights for a chip without bf16; false: the engine casts."),
    "flaggems": Key("flaggems", False, "Run FlagGems operators: true, false, or {allow: [...]} or {deny: [...]}."),
    "check": Key("dict", None, "Question and expected text of the smoke test; null: the model's own."),
    "files": Key(
        "dict",
        {},
        "Files and folders of the controller that belong to the release, {name: path}: chat templates, parsers, adapters. The path is "
        "absolute or below the project's folder; engine_args and env name them by `name`, or `name/file` in a folder.",
    ),
    "document": Key("str", None, "Title of the document that the values come from."),
    "ours": Key("list", [], "Keys whose values no document gives: they are ours."),
    **SHARED,
}
MODEL: dict[str, Key] = {
    "sources": Key(
        "dict",
        ...,
        "Where it is published: {modelscope|huggingface: {repo, revision}, mirror: {url, revision}, directory: {path}}.",
    ),
    "bytes": Key("int", ..., "Size of the weights, bytes."),
    "include": Key(
        "list",
        [],
        "Patterns of files to fetch although they would be left out, like `original/*`; of GGUF files, which.",
    ),
    "exclude": Key("list", [], "Patterns of files to leave out, like `*.bin`; they win over `include`."),
    "license": Key("str", ..., "SPDX name of the weights' licence."),
    "dtype": Key("str", "bfloat16", "Type of the published weights."),
    "shape": Key("dict", {}, "Sizes from config.json, for checks before anything is downloaded."),
    "reasoning": Key("bool", False, "Does it think before it answers?"),
    "vision": Key("bool", False, "Does it take images?"),
    "check": Key("dict", None, "{prompt, expect}: a question and text that the answer must contain."),
}
ACCELERATOR: dict[str, Key] = {
    "hardware": Key("str", ..., "Name of the group."),
    "kind": Key("str", ..., "cpu, gpu or npu."),
    "arch": Key("str", None, "Required machine architecture; null: any."),
    "count": Key("int", None, "Devices of a host that services may take; null where devices aren't counted (CPU)."),
    "memory_bytes": Key("int", None, "Memory of one device, bytes."),
    "dtypes": Key("list", list(DTYPES), "Types that the chip computes in."),
    "names": Key("list", [], "Regular expressions of which one must match each device's name; empty: any name."),
    "supported_os": Key("list", [], "Systems that its role knows, such as debian-12; empty: any."),
    **SHARED,
}
SHAPE = (
    "layers", "hidden_size", "attention_heads", "kv_heads", "head_dim", "vocab_size", "max_position_embeddings", "intermediate_size", "experts",
    "experts_per_token", "expert_intermediate_size", "kv_lora_rank", "qk_rope_head_dim", "sliding_layers", "sliding_window", "state_layers", "state_bytes",
)  # fmt: skip
CHECK = ("prompt", "expect")
SOURCES = tuple(names.SOURCES)


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
    found.run(check_texts, where, "shape", given.get("shape") or {}, SHAPE, numbers=True)
    found.run(check_texts, where, "check", given.get("check") or {}, CHECK)
    found.end()
    return {**defaults(MODEL), **{key: value for key, value in given.items() if value is not None}}


def check_variant(where: str, service: Row, variants: Mapping[str, Any] | None) -> None:
    """Refuse a variant of an engine that engines.yml doesn't have, or has as not done."""
    version = service["engine_version"]
    if variants is None or version is None:
        return
    row = lookup(where, f"version of engine '{service['engine']}'", version, variants, "engines.yml")
    if not row["supported"]:
        fail(f"{where}: engine '{service['engine']}' {version} is not supported: {row['reason']}")


def check_guard(where: str, service: Row) -> None:
    """Refuse paths that the guard could not compare."""
    for path in service["paths"]:
        if not isinstance(path, str) or not re.fullmatch(r"(/(\{\}|[A-Za-z0-9_-][A-Za-z0-9._-]*))+", path):
            fail(
                f"{where}: 'paths' has {path!r}, but must list whole paths of the API such as /tokenize or /v1/responses/{{}}; "
                "no wildcard, no `..`, no slash at the end"
            )


def spelled(where: str, row: Row) -> Row:
    """A row whose engine options have one spelling, so that rows merge by it."""
    args = choices.opened(row.get("engine_args"))
    return {**row, "engine_args": options.spell(where, args)} if args else row


def merged(accelerator: Row, row: Row, over: Row) -> Row:
    """A service's keys from its three levels, with defaults where none of them says anything."""
    low = merge(merge({}, {key: accelerator.get(key) for key in SHARED}), row)
    if "flaggems" in over:
        low.pop("flaggems", None)  # {allow} and {deny} exclude each other
    return {**defaults(SERVICE), **merge(low, over)}


def resolve_service(
    name: str,
    where: str,
    tables: Mapping[str, Mapping[str, Any]],
    accelerator: Row,
    override: Any,
    taken: dict[Any, str] | None,
) -> tuple[Row, Row]:
    """(record, secrets) of one service: every key of SERVICE, and what follows from them.

    `taken` is None for a row that no host of this run serves: its devices depend on the host.
    """
    file = f"services.yml: service '{name}'"
    row = spelled(file, check_row(file, lookup(where, "service", name, tables["services"], "services.yml"), SERVICE))
    over = spelled(f"{where}: overrides", check_row(f"{where}: overrides", override, SERVICE, partial=True))
    service = merged(accelerator, row, over)
    check_set(where, service, SERVICE)

    if tables["hardware"]:
        one_of(file, "hardware", service["hardware"], tables["hardware"])
    if service["hardware"] != accelerator["hardware"]:
        fail(
            f"{where} is made for hardware '{service['hardware']}', but the host is '{accelerator['hardware']}'; "
            f"use a row of services.yml with hardware: {accelerator['hardware']}, or write one"
        )
    one_of(where, "engine", service["engine"], ENGINES)
    one_of(where, "runtime", service["runtime"], RUNTIMES)
    if service["device_access"] is not None:
        one_of(where, "device_access", service["device_access"], DEVICE_ACCESS)
    variants = tables["engines"].get(service["engine"])
    check_variant(where, service, variants)
    check_guard(where, service)
    if service["runtime"] == "container" and not service["image"]:
        fail(f"{where}: runtime 'container' needs 'image'; set it in the service's row or its group_vars")

    found = Collected()
    model_name = service["model"]
    model = resolve_model(model_name, lookup(where, "model", model_name, tables["models"], "models.yml"))
    choice = found.run(choices.closed, where, name, service, model, tables["pins"], tables["host"])
    dtypes = accelerator["dtypes"]
    if model["dtype"] not in dtypes and service["convert"] is None:
        found.run(
            fail,
            f"{where}: model '{model_name}' is {model['dtype']}, but '{accelerator['hardware']}' computes in "
            f"{', '.join(dtypes)} only; set convert: float16, or convert: false if the engine casts at load",
        )
    mine = {**(row.get("engine_args") or {}), **(over.get("engine_args") or {})}
    if service["convert"] and "dtype" in service["engine_args"] and mine.get("dtype") is None:
        # The accelerator's dtype is that of weights as they are published.
        service["engine_args"] = {**service["engine_args"], "dtype": service["convert"]}
    found.run(check_texts, where, "check", service["check"] or {}, CHECK)
    if service["files"]:
        # Inside a container the release lies at /config; natively it is the folder that the engine works in.
        place = "/config/inputs/" if service["runtime"] == "container" else "inputs/"
        for table in ("engine_args", "env"):
            service[table] = inputs.with_files(service[table], tuple(service["files"]), place)
    version = options.engine_version(service, variants or {}, tables["locks"])
    args, unknown = found.run(options.check_options, where, service["engine_args"], version, service["engine"]) or (
        {},
        [],
    )
    env, odd = found.run(environment.check_env, where, service["env"]) or ({}, [])
    secrets = found.run(environment.check_secrets, where, service["secret_env"], service["env"])
    address = found.run(names.check_places, where, service)
    found.end()

    service["image_arch"] = devices.machine(service["image_arch"])
    wide = devices.widths(where, args)
    devices.check_cpus(where, service, accelerator["kind"], wide)

    service.update(
        service=name,
        host=tables["host"],
        address=str(address).strip("[]"),
        served_name=service["served_name"] or name,
        kind=accelerator["kind"],
        engine_args=args,
        choice=choice,
        env=env,
        secret_env=sorted(secrets),  # names alone: values go to the host by themselves
        vllm_version=version,
        notes=[
            *({"rule": "unknown-option", "text": t, "remedy": "correct the name, if it is wrong"} for t in unknown),
            *({"rule": "env-boolean", "text": t, "remedy": "quote what the process is to read"} for t in odd),
        ],
    )
    service.update(
        devices=None if taken is None else devices.devices_of(where, service, accelerator, taken, wide),
        devices_given=service["devices"] is not None,
        widths=wide,
        utilization=devices.utilization(args),
        endpoint=f"http://{address}:{service['port']}",
        check=service["check"] or model["check"],
        model={"name": model_name, **model},
    )
    service["memory_bytes"] = devices.cpu_memory(service, wide)
    if accelerator["kind"] == "npu" and service["runtime"] == "container" and service["devices"]:
        # Inside a container chips are numbered from 0, whatever the host's davinci numbers are; left to itself
        # vllm_mindspore counts them by npu-smi's power column, which is NA on a 300I Duo, and finds none.
        ids = ",".join(map(str, range(len(service["devices"]))))
        service["env"] = {"ASCEND_RT_VISIBLE_DEVICES": ids, **service["env"]}
    return service, secrets


def check_accelerator(where: str, accelerator: Any) -> Row:
    """What a machine is, with defaults."""
    chip = spelled(where, check_row(where, accelerator, ACCELERATOR))
    one_of(where, "kind", chip["kind"], ("cpu", "gpu", "npu"))
    for pattern in chip.get("names") or []:
        try:
            re.compile(pattern)
        except (re.error, TypeError) as error:
            fail(f"{where}: names has {pattern!r}, which is no regular expression: {error}")
    if chip.get("arch") != devices.machine(chip.get("arch")):
        fail(f"{where}: 'arch' is {chip['arch']!r}; write {devices.machine(chip['arch'])}, as uname -m says it")
    return {**defaults(ACCELERATOR), **merge({}, chip)}


def planned(
    runs: Any,
    services: Mapping[str, Any],
    models: Mapping[str, Any],
    accelerator: Mapping[str, Any] | None,
    overrides: Mapping[str, Any] | None = None,
    host: str = "localhost",
    groups: Iterable[str] = (),
    accelerator_groups: Iterable[str] = (),
    engines: Mapping[str, Any] | None = None,
    pins: Mapping[str, Any] | None = None,
    locks: Mapping[str, Any] | None = None,
    paths: Mapping[str, Any] | None = None,
    switches: Mapping[str, Any] | None = None,
) -> Row:
    """What `host` runs, in the order of `runs`: {services: closed records, secrets: {service: {name: value}}, faults: sentences}."""
    found = Collected()
    records: list[Row] = []
    values: dict[str, Row] = {}
    for name, value in (paths or {}).items():
        found.run(names.check_path, f"host {host}", name, value)
    for name, value in (switches or {}).items():
        found.run(check_switch, f"host {host}", name, value)
    mine = sorted(set(groups) & set(accelerator_groups))
    if not isinstance(runs, list) or not all(isinstance(name, str) for name in runs):
        found.run(fail, f"host {host}: 'runs' is {runs!r}, but must be a list of service names, like [demo]")
    elif len(mine) > 1:
        found.run(fail, f"host {host} is in the groups {', '.join(mine)}; it must be in exactly one")
    elif accelerator is None:
        known = ", ".join(sorted(accelerator_groups))
        found.run(fail, f"host {host} is in no hardware group; put it below one of {known} in inventory/hosts.yml")
    else:
        chip = found.run(check_accelerator, f"group_vars: accelerator of host {host}", accelerator)
        changes = found.run(
            check_row, f"host {host}: overrides", overrides or {}, dict.fromkeys(services, SERVICE["check"])
        )
        for name in changes or {}:
            if name not in runs:  # what a host runs is checked with its row
                where = f"host {host}: service '{name}': overrides"
                row = found.run(check_row, where, changes[name] or {}, SERVICE, partial=True)
                found.run(spelled, where, row or {})
                found.run(environment.check_env, where, merge({}, (row or {}).get("env") or {}))
        doubled = sorted({name for name in runs if runs.count(name) > 1})
        if doubled:
            found.run(fail, f"host {host}: 'runs' names {', '.join(doubled)} more than once")
        tables: dict[str, Any] = {
            "services": services,
            "models": models,
            "engines": engines or {},
            "hardware": dict.fromkeys(accelerator_groups),
            "locks": locks or {},
            "pins": pins or {},
            "host": host,
        }
        taken: dict[Any, str] = {}
        ports: dict[int, str] = {}
        for name in runs if chip and changes is not None and not doubled else []:
            where = f"host {host}: service '{name}'" if name in services else f"host {host}"
            record, secrets = found.run(resolve_service, name, where, tables, chip, changes.get(name) or {}, taken) or (
                None,
                {},
            )
            if record is None:
                continue
            pin(record, pins or {})
            port = record["port"]
            if port in ports:
                found.run(
                    fail,
                    f"host {host}: services '{ports[port]}' and '{name}' both use port {port}; give one another port",
                )
            ports[port] = name
            records.append(record)
            values[name] = secrets
    return {"services": records, "secrets": values, "faults": found.faults}


def plan(runs: Any, *tables: Any, **named: Any) -> list[Row]:
    """Every service of a host, in the order of `runs`, as closed records. Raises AnsibleFilterError with all that is wrong."""
    found = planned(runs, *tables, **named)
    if found["faults"]:
        raise Faults(found["faults"])
    return list(found["services"])


def table_faults(
    services: Mapping[str, Any],
    models: Mapping[str, Any],
    engines: Mapping[str, Any],
    accelerators: Iterable[Any] = (),
    accelerator_groups: Iterable[str] = (),
    locks: Mapping[str, Any] | None = None,
) -> list[str]:
    """What is wrong with rows of the tables, whether a host runs them or not. `accelerators`: one of each hardware group."""
    found = Collected()
    found.faults += names.check_names("service", "services.yml", services)
    found.faults += names.check_names("model", "models.yml", models)
    for name, row in models.items():
        found.run(resolve_model, name, row)
    chips = {
        row["hardware"]: row
        for row in accelerators
        if isinstance(row, Mapping) and isinstance(row.get("hardware"), str)
    }
    tables: dict[str, Any] = {
        "services": services,
        "models": models,
        "engines": engines,
        "hardware": dict.fromkeys(accelerator_groups),
        "locks": locks or {},
        "pins": {},
        "host": "",
    }
    for name, row in services.items():
        where = f"services.yml: service '{name}'"
        given = found.run(check_row, where, row, SERVICE)
        if given is None:
            continue
        chip = (
            found.run(
                check_accelerator, f"group_vars: accelerator of {given['hardware']}", chips.get(given["hardware"])
            )
            if given["hardware"] in chips
            else None
        )
        if chip:
            found.run(resolve_service, name, where, tables, chip, {}, None)
        else:
            if accelerator_groups:
                found.run(one_of, where, "hardware", given["hardware"], accelerator_groups)
            found.run(lookup, where, "model", given["model"], models, "models.yml")
            found.run(spelled, where, given)
            found.run(environment.check_env, where, merge({}, given.get("env") or {}))
            found.run(environment.check_secrets, where, merge({}, given.get("secret_env") or {}), {})
    return found.faults


def pin(record: Row, pins: Mapping[str, Any]) -> None:
    """Put resolved commits and digests where the tables leave a moving name. What the tables pin stays."""
    digest = (pins.get("images") or {}).get(record["image"])
    if digest:
        record["image"] = f"{record['image']}@{digest}"
    model = record["model"]
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
    return [forms[key] for key in sorted(forms)]


class FilterModule:
    """The filters of this file, by name."""

    def filters(self) -> dict[str, Any]:
        return {
            "plan": plan,
            "planned": planned,
            "table_faults": table_faults,
            "model_forms": model_forms,
            "undecided": choices.undecided,
        }
