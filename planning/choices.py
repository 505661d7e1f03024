"""What a row leaves open with `auto`, and what was chosen for it: the plan takes choices from the pins, and makes none itself.

`engine_args: auto` opens every option of OPEN that the row (or the host's overrides) doesn't give; `tensor_parallel_size: auto` opens that one alone.
Module `fit` chooses in preflight and plan.yml, on what the host has; module `pins` records it. A choice belongs to what was asked: another model, engine,
option or wish asks anew, and `-e replan=true` does.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from .rows import Row, fail, is_int, type_name

AUTO = "auto"
OPENED = "auto: to be chosen"  # what stands for a value until it is chosen; vLLM itself knows `max_model_len: auto`
OPEN = (
    "tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size", "max_model_len", "max_num_seqs", "max_num_batched_tokens",
    "gpu_memory_utilization", "kv_cache_memory_bytes", "kv_cache_dtype", "enforce_eager",
)  # fmt: skip
ENGINES_OWN = ("max_model_len", "kv_cache_dtype")  # there `auto` alone is a word of the engine's
GOALS = ("throughput", "latency")
WISHES = ("context", "concurrency", "goal")


def opened(args: Any) -> Any:
    """engine_args of one level of the tables, with each `auto` that is for module fit, not for the engine, marked."""
    if args == AUTO:
        return dict.fromkeys(OPEN, OPENED)
    if not isinstance(args, Mapping):
        return args
    ours = [name for name in OPEN if name not in ENGINES_OWN]
    return {name: OPENED if name in ours and value == AUTO else value for name, value in args.items()}


def check_wishes(where: str, wishes: Mapping[str, Any]) -> None:
    """Refuse wishes that mean nothing."""
    for name, value in wishes.items():
        if name not in WISHES:
            fail(f"{where}: wishes.{name} is no wish; there are {', '.join(WISHES)}")
        if name == "goal" and value not in GOALS:
            fail(f"{where}: wishes.goal is {value!r}, but must be {' or '.join(GOALS)}")
        if name != "goal" and (not is_int(value) or not 0 < value < 2**31):
            fail(f"{where}: wishes.{name} is {value!r}, but must be a whole number, 1 or more")


def asked(
    service: Mapping[str, Any], model: Mapping[str, Any], args: Mapping[str, Any], names: list[str], board: str
) -> str:
    """What a choice belongs to, as a digest."""
    row = {
        key: service.get(key)
        for key in (
            "model",
            "engine",
            "engine_version",
            "image",
            "native_env",
            "convert",
            "wishes",
            "devices",
            "cpus",
        )
    }
    row |= {
        "board": board,
        "args": dict(args),
        "open": names,
        "bytes": model["bytes"],
        "shape": model.get("shape"),
        "dtype": model.get("dtype"),
    }
    return hashlib.sha256(json.dumps(row, sort_keys=True, default=str).encode()).hexdigest()[:16]


# What a file of pins holds: how deep its mappings go, and what lies there.
PINNED: dict[str, tuple[int, type]] = {"models": (2, str), "images": (1, str), "choices": (2, Mapping)}


def check_pins(where: str, pins: Any) -> Row:
    """The pins of a site. Refuses what module `pins` never writes, as an edit by hand or a merge of two branches may leave it."""
    remedy = "correct the file of pins, or remove it to have it made anew"

    def is_pinned(value: Any, depth: int, leaf: type) -> bool:
        if not depth:
            return isinstance(value, leaf)
        return isinstance(value, Mapping) and all(is_pinned(one, depth - 1, leaf) for one in value.values())

    if pins and not isinstance(pins, Mapping):
        fail(f"{where}: 'pins' is a {type_name(pins)}, but must be a mapping; {remedy}")
    for key, (depth, leaf) in PINNED.items():
        rows = (pins or {}).get(key)
        if rows is not None and not is_pinned(rows, depth, leaf):
            fail(f"{where}: 'pins.{key}' is not what a fetch or preflight writes there; {remedy}")
    return dict(pins or {})


def to_choose_from(pins: Any, replan: bool) -> Any:
    """The pins of which a plan is made before anything is chosen in this run: with `replan` without the choices of earlier ones.

    Else a choice that leaves no device for a service that is new could never be made anew.
    """
    if not replan or not isinstance(pins, Mapping):
        return pins
    return {key: value for key, value in pins.items() if key != "choices"}


def closed(
    where: str, name: str, service: Row, model: Mapping[str, Any], pins: Mapping[str, Any], host: str, board: str
) -> Row:
    """{open, chosen, asked} of a service. Takes the marks out of its engine_args: what was chosen comes in their place, else nothing.

    `open`: what is still to be chosen; `chosen`: all that the row leaves open, with its values as far as they are there.
    """
    check_wishes(where, service["wishes"])
    names = sorted(key for key, value in service["engine_args"].items() if value == OPENED)
    args = {key: value for key, value in service["engine_args"].items() if value != OPENED}
    digest = asked(service, model, args, names, board) if names else None
    row = ((pins.get("choices") or {}).get(host) or {}).get(name) or {}
    fits = bool(names) and row.get("asked") == digest and isinstance(row.get("args"), Mapping)
    values = {key: row["args"][key] for key in names if row["args"].get(key) is not None} if fits else {}
    if not fits and "tensor_parallel_size" in names and service.get("devices"):
        values = {"tensor_parallel_size": len(service["devices"])}  # until it is chosen: the row's devices are its own
    service["engine_args"] = {**args, **values}
    return {
        "open": [] if fits else names,
        "chosen": {key: values.get(key) if fits else None for key in names},
        "asked": digest,
    }


def undecided(services: list[Row]) -> list[str]:
    """One sentence for each service whose row leaves something open that nothing has been chosen for."""
    return [
        f"service '{one['service']}': {', '.join(one['choice']['open'])} is left to `auto`, and nothing has been chosen for this host yet; "
        "run deploy.yml, or its --tags preflight, which chooses and records it"
        for one in services
        if one["choice"]["open"]
    ]
