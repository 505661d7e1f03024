"""Filter `plan`: what a host runs, resolved from the tables into closed records.

Merge rule, one direction, here and nowhere else: accelerator < service < the host's overrides.
Dicts merge by key, lists replace, null leaves what was there. Whatever a person edits is checked here:
an unknown name is refused with the nearest one there is, so that a typo never passes silently.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ansible.errors import AnsibleFilterError

Row = dict[str, Any]


class Key(NamedTuple):
    """One key of a table: its type, its default, and one line for the manual."""

    type: str
    default: Any
    text: str


ENGINES = ("vllm", "flagscale", "mindspore", "vllm_ascend")
RUNTIMES = ("native", "container")
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
    "engine_args": Key("dict", {}, "Options of the engine, under their own names; null drops one."),
    "env": Key("dict", {}, "Environment of the service's process; null drops one."),
    "devices": Key("list", None, "Indices of the devices to use; null: the next free ones."),
    "mounts": Key("list", [], "Host paths that a container sees beside its weights."),
    "rights": Key("list", [], "Rights beyond the least that works; each one is shown in the report."),
    "shm_bytes": Key("int", None, "Size of the container's private /dev/shm, bytes."),
    "rdma": Key("bool", False, "Give the container /dev/infiniband and locked memory."),
    "overhead_bytes": Key("int", 0, "Memory beside weights and KV cache, bytes, for the check that it fits."),
    "ready_timeout": Key("int", 600, "Seconds from start to a first real answer before the deploy fails."),
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
SHAPE = ("layers", "hidden_size", "attention_heads", "kv_heads", "head_dim", "vocab_size", "max_position_embeddings")
CHECK = ("prompt", "expect")
SOURCES = ("modelscope", "huggingface", "mirror", "directory")


def nearest(name: str, known: Iterable[str]) -> str:
    """Words that help after a typo: the nearest name there is, or all of them."""
    names = sorted(str(k) for k in known)
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{close[0]}'?"
    return f"there are: {', '.join(names)}" if names else "there are none"


def fail(text: str) -> None:
    raise AnsibleFilterError(text)


def merge(low: Mapping[str, Any], high: Mapping[str, Any]) -> Row:
    """`high` over `low`: dicts merge by key, lists and scalars replace, null leaves what was there.

    Inside a dict null removes the key: that is how an override drops one option.
    """
    out = dict(low)
    for key, value in high.items():
        if isinstance(value, Mapping):
            below = out.get(key)
            both = {**(below if isinstance(below, Mapping) else {}), **value}
            out[key] = {k: v for k, v in both.items() if v is not None}
        elif value is not None:
            out[key] = value
    return out


def check_type(where: str, name: str, key: Key, value: Any) -> None:
    """Refuse a value of the wrong type; say which type it should have."""
    if value is None:
        if key.default is ...:
            fail(f"{where}: '{name}' must be set ({key.text})")
        return
    is_int = isinstance(value, int) and not isinstance(value, bool)
    good = {
        "str": isinstance(value, str) and value != "",
        "path": isinstance(value, str) and value.startswith(("/", "~")),
        "int": is_int and value >= 0,
        "port": is_int and 0 < value < 65536,
        "bool": isinstance(value, bool),
        "dict": isinstance(value, Mapping),
        "list": isinstance(value, list),
        "convert": value is False or value == "float16",
        "flaggems": isinstance(value, bool) or (isinstance(value, Mapping) and set(value) in ({"allow"}, {"deny"})),
    }
    kinds = {"port": "a port number, 1 to 65535", "path": "an absolute path", "int": "a whole number, 0 or more"}
    if not good[key.type]:
        fail(f"{where}: '{name}' is {value!r}, but must be {kinds.get(key.type, key.type)} ({key.text})")


def check_row(where: str, row: Any, keys: Mapping[str, Key], *, partial: bool = False) -> Row:
    """A row of a table with its defaults. `partial`: an override or a row that is merged later."""
    if not isinstance(row, Mapping):
        fail(f"{where}: is {type(row).__name__} {row!r}, but must be a mapping of keys")
    for name in row:
        if name not in keys:
            fail(f"{where}: unknown key '{name}'; {nearest(name, keys)}")
    for name, key in keys.items():
        if name in row or (not partial and key.default is ...):
            check_type(where, name, key, row.get(name))
    return {str(name): value for name, value in row.items()}


def one_of(where: str, name: str, value: Any, known: Iterable[str]) -> None:
    if value not in tuple(known):
        fail(f"{where}: '{name}' is {value!r}; {nearest(value, known)}")


def lookup(where: str, what: str, name: Any, table: Mapping[str, Any], file: str) -> Any:
    if not isinstance(name, str) or name not in table:
        fail(f"{where}: {what} '{name}' is not in {file}; {nearest(name, table)}")
    return table[name]


def resolve_model(name: str, row: Any) -> Row:
    """A model's row, checked; its name is `model`."""
    where = f"models.yml: model '{name}'"
    given = check_row(where, row, MODEL)
    for source in given["sources"]:
        one_of(where, "sources", source, SOURCES)
    one_of(where, "dtype", given.get("dtype", "bfloat16"), DTYPES)
    for key in given.get("shape") or {}:
        one_of(where, "shape", key, SHAPE)
    for key in given.get("check") or {}:
        one_of(where, "check", key, CHECK)
    return merge({k: v.default for k, v in MODEL.items()}, given)


def check_variant(where: str, service: Row, variants: Mapping[str, Any] | None) -> None:
    """Refuse a variant of an engine that engines.yml doesn't have, or has as not done."""
    version = service["engine_version"]
    if variants is None or version is None:
        return
    row = lookup(where, f"version of engine '{service['engine']}'", version, variants, "engines.yml")
    if not row["supported"]:
        fail(f"{where}: engine '{service['engine']}' {version} is not supported: {row['reason']}")


def check_guard(where: str, service: Row) -> None:
    """Refuse paths that the guard could not compare, and engine options that would get around it."""
    for path in service["paths"]:
        if not isinstance(path, str) or not re.fullmatch(r"(/(\{\}|[A-Za-z0-9_-][A-Za-z0-9._-]*))+", path):
            fail(
                f"{where}: 'paths' has {path!r}, but must list whole paths of the API such as /tokenize or /v1/responses/{{}}; "
                "no wildcard, no `..`, no slash at the end"
            )
    for name in service["engine_args"]:
        if str(name).replace("-", "_").lower() == "middleware":
            fail(
                f"{where}: 'engine_args' sets middleware, which is how the guard of the API key gets in; open paths with `paths`"
            )


def devices_of(where: str, service: Row, accelerator: Row, taken: dict[int, str]) -> list[int] | None:
    """Device indices of one service; fills `taken`. None where devices aren't counted."""
    count = accelerator.get("count")
    args = service["engine_args"]
    width = int(args.get("tensor_parallel_size", 1)) * int(args.get("pipeline_parallel_size", 1))
    if count is None:
        if service["devices"] is not None:
            fail(f"{where}: 'devices' is set, but hardware '{accelerator['hardware']}' counts no devices")
        return None
    wanted = service["devices"]
    if wanted is None:
        free = [i for i in range(count) if i not in taken]
        if len(free) < width:
            holders = ", ".join(sorted(set(taken.values()))) or "none"
            fail(
                f"{where}: needs {width} devices (tensor x pipeline parallel size), but {len(free)} of {count} are free "
                f"(taken by: {holders}); lower tensor_parallel_size in overrides, or run it on another host"
            )
        wanted = free[:width]
    if len(wanted) != width or len(set(wanted)) != len(wanted):
        fail(f"{where}: 'devices' is {wanted}, but tensor x pipeline parallel size asks for {width} different ones")
    for index in wanted:
        if not isinstance(index, int) or not 0 <= index < count:
            fail(f"{where}: device {index!r} does not exist; this host has 0 to {count - 1}")
        if index in taken:
            fail(f"{where}: device {index} is already taken by service '{taken[index]}' on this host")
        taken[index] = where.rpartition("service ")[2].strip("'")
    return list(wanted)


def resolve_service(
    name: str,
    host: str,
    tables: Mapping[str, Mapping[str, Any]],
    accelerator: Row,
    override: Any,
    taken: dict[int, str],
) -> Row:
    """One service on one host as a closed record: every key of SERVICE, and what follows from them."""
    where = f"host {host}: service '{name}'"
    row = check_row(
        f"services.yml: service '{name}'",
        lookup(f"host {host}", "service", name, tables["services"], "services.yml"),
        SERVICE,
    )
    over = check_row(f"{where}: overrides", override, SERVICE, partial=True)
    base = {k: v.default for k, v in SERVICE.items()}
    given = merge(base, {k: accelerator.get(k) for k in SHARED})
    service = merge(merge(given, row), over)

    if tables["hardware"]:
        one_of(f"services.yml: service '{name}'", "hardware", service["hardware"], tables["hardware"])
    if service["hardware"] != accelerator["hardware"]:
        fail(
            f"{where} is made for hardware '{service['hardware']}', but the host is '{accelerator['hardware']}'; "
            f"use a row of services.yml with hardware: {accelerator['hardware']}, or write one"
        )
    one_of(where, "engine", service["engine"], ENGINES)
    one_of(where, "runtime", service["runtime"], RUNTIMES)
    check_variant(where, service, tables["engines"].get(service["engine"]))
    check_guard(where, service)
    if service["runtime"] == "container" and not service["image"]:
        fail(f"{where}: runtime 'container' needs 'image'; set it in the service's row or its group_vars")
    model_name = service["model"]
    model = resolve_model(model_name, lookup(where, "model", model_name, tables["models"], "models.yml"))

    dtypes = accelerator["dtypes"]
    if model["dtype"] not in dtypes and service["convert"] is None:
        fail(
            f"{where}: model '{model_name}' is {model['dtype']}, but '{accelerator['hardware']}' computes in "
            f"{', '.join(dtypes)} only; set convert: float16, or convert: false if the engine casts at load"
        )
    mine = {**(row.get("engine_args") or {}), **(over.get("engine_args") or {})}
    if service["convert"] and "dtype" in service["engine_args"] and "dtype" not in mine:
        # The accelerator's dtype is that of weights as they are published.
        service["engine_args"] = {**service["engine_args"], "dtype": service["convert"]}
    check = service["check"] or model["check"]
    for key in check or {}:
        one_of(where, "check", key, CHECK)

    service.update(
        service=name,
        host=host,
        served_name=service["served_name"] or name,
        kind=accelerator["kind"],
        devices=devices_of(where, service, accelerator, taken),
        endpoint=f"http://{service['address']}:{service['port']}",
        check=check,
        model={"name": model_name, **model},
    )
    if accelerator["kind"] == "npu" and service["runtime"] == "container" and service["devices"]:
        # Inside a container chips are numbered from 0, whatever the host's davinci numbers are; left to itself
        # vllm_mindspore counts them by npu-smi's power column, which is NA on a 300I Duo, and finds none.
        ids = ",".join(map(str, range(len(service["devices"]))))
        service["env"] = {"ASCEND_RT_VISIBLE_DEVICES": ids, **service["env"]}
    return service


def plan(
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
) -> list[Row]:
    """Every service of `host`, in the order of `runs`, as closed records. Raises AnsibleFilterError."""
    if not isinstance(runs, list) or not all(isinstance(name, str) for name in runs):
        fail(f"host {host}: 'runs' is {runs!r}, but must be a list of service names, like [demo]")
    mine = sorted(set(groups) & set(accelerator_groups))
    if len(mine) > 1:
        fail(f"host {host} is in the groups {', '.join(mine)}; it must be in exactly one")
    if accelerator is None:
        known = ", ".join(sorted(accelerator_groups))
        fail(f"host {host} is in no hardware group; put it below one of {known} in inventory/hosts.yml")
    where = f"group_vars: accelerator of host {host}"
    chip = merge({k: v.default for k, v in ACCELERATOR.items()}, check_row(where, accelerator, ACCELERATOR))
    one_of(where, "kind", chip["kind"], ("cpu", "gpu", "npu"))

    overrides = check_row(f"host {host}: overrides", overrides or {}, dict.fromkeys(services, SERVICE["check"]))
    doubled = sorted({name for name in runs if runs.count(name) > 1})
    if doubled:
        fail(f"host {host}: 'runs' names {', '.join(doubled)} more than once")

    records: list[Row] = []
    taken: dict[int, str] = {}
    ports: dict[int, str] = {}
    for name in runs:
        record = resolve_service(
            name,
            host,
            {
                "services": services,
                "models": models,
                "engines": engines or {},
                "hardware": dict.fromkeys(accelerator_groups),
            },
            chip,
            overrides.get(name) or {},
            taken,
        )
        pin(record, pins or {})
        port = record["port"]
        if port in ports:
            fail(f"host {host}: services '{ports[port]}' and '{name}' both use port {port}; give one another port")
        ports[port] = name
        records.append(record)
    return records


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
        return {"plan": plan, "model_forms": model_forms}
