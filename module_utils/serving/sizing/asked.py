"""From a plan's record and a host's record to what this package calculates with; and back: what a row leaves open, and what was chosen."""

from __future__ import annotations

import json
import re
from typing import Any

from ansible.module_utils.serving.sizing.adapters import slots_of
from ansible.module_utils.serving.sizing.candidates import GOALS, Found, Wishes, search
from ansible.module_utils.serving.sizing.cpu import search_cpu
from ansible.module_utils.serving.sizing.engines import RESERVED, UNMEASURED, Constants, constants, version_key
from ansible.module_utils.serving.sizing.learned import correction
from ansible.module_utils.serving.sizing.memory import Device, Settings
from ansible.module_utils.serving.sizing.models import model_of
from ansible.module_utils.serving.sizing.rules import Host

# Options of the engine and fields of Settings.
FIELDS = {
    "tensor_parallel_size": "tensor", "pipeline_parallel_size": "pipeline", "data_parallel_size": "data", "max_model_len": "max_model_len",
    "max_num_seqs": "max_num_seqs", "max_num_batched_tokens": "max_num_batched_tokens", "gpu_memory_utilization": "utilization",
    "kv_cache_memory_bytes": "kv_bytes", "kv_cache_dtype": "kv_dtype", "dtype": "dtype", "enforce_eager": "eager", "block_size": "block",
    "quantization": "quantization", "enable_expert_parallel": "expert_parallel",
}  # fmt: skip
DATA_SINCE = (0, 9)
WORDS = ("kv_dtype", "dtype", "quantization")
SWITCHES = ("eager", "expert_parallel")


def like_vllm(service: dict[str, Any]) -> bool:
    """Does its engine take memory as the vLLM of `options_version` does, for which it was measured?"""
    return "memory-of-vllm" in service["engine_facts"]["traits"]


def version_of(service: dict[str, Any]) -> str | None:
    """The version of vLLM that a service runs, or the one that its engine was built of; None where nobody says, or where it is none."""
    return service["options_version"] if like_vllm(service) else None


def known_of(service: dict[str, Any]) -> Constants:
    """The constants of a service's engine. Of one that isn't vLLM nothing was measured."""
    return constants(version_of(service)) if like_vllm(service) else UNMEASURED


def whole(value: Any) -> int | None:
    """A number that the engine takes as one; None for its words (auto) and for forms that are its own business."""
    return int(value) if re.fullmatch(r"\d{1,15}", str(value)) else None


def captured(args: dict[str, Any]) -> dict[str, Any]:
    """What a row says of graphs, in any of the forms that the engine takes: `capture` sizes, and `eager` where no graph is captured."""
    config = args.get("compilation_config")
    if isinstance(config, str):
        try:
            config = json.loads(config)
        except ValueError:  # `-O3` and the like
            config = None
    options = config if isinstance(config, dict) else {}
    given = {
        name: args.get("compilation_config." + name, args.get(name))
        for name in ("cudagraph_capture_sizes", "cudagraph_mode")
    }
    options = {**options, **{name: value for name, value in given.items() if value is not None}}
    sizes = options.get("cudagraph_capture_sizes", args.get("cuda_graph_sizes"))
    listed = sizes if isinstance(sizes, list) else re.findall(r"\d+", str(sizes)) if isinstance(sizes, str) else []
    whole_sizes = sorted({size for size in map(whole, listed) if size})
    found: dict[str, Any] = {"capture": tuple(whole_sizes)} if whole_sizes else {}
    return {**found, "eager": True} if str(options.get("cudagraph_mode", "")).upper() == "NONE" else found


def fixed(args: dict[str, Any]) -> dict[str, Any]:
    """Fields of Settings that a row's engine_args give."""
    found: dict[str, Any] = {}
    for option, field in FIELDS.items():
        value = args.get(option)
        if value is None:
            continue
        if field in WORDS:
            found[field] = str(value)
        elif field in SWITCHES:
            found[field] = value is True
        elif field == "utilization":
            found[field] = float(value)
        elif whole(value) is not None:
            found[field] = whole(value)
    offload = args.get("cpu_offload_gb")
    if isinstance(offload, (int, float)) and offload:
        found["offload_bytes"] = int(offload * (1 << 30))
    found.update(captured(args))
    slots = slots_of(args)
    if slots.count:
        found["lora"] = slots
    return found


def device_of(record: dict[str, Any], size: int | None = None, name: str | None = None) -> Device | None:
    """The smallest device of a host, or one of `size` bytes (a MIG slice); None where its memory isn't known."""
    rows = [row for row in record.get("devices") or [] if row.get("memory_total_bytes")]
    if size is None and not rows:
        return None
    smallest = min(rows, key=lambda row: row["memory_total_bytes"]) if rows else {}
    rates = record.get("rates") or {}
    return Device(
        total=size or smallest["memory_total_bytes"],
        reserved=smallest.get("memory_reserved_bytes") or (RESERVED if record["kind"] == "gpu" else 0),
        name=name or str(smallest.get("name") or ""),
        kind=record["kind"],
        copy_rate=rates.get("copy_bytes"),
        matrix_rate=rates.get("matrix_operations"),
    )


def host_of(record: dict[str, Any], dtypes: list[str], count: int | None = None) -> Host:
    """What a host has for one service. `count`: devices that it may take."""
    islands = tuple(tuple(group) for group in (record.get("topology") or {}).get("nvlink_islands") or [])
    return Host(
        count if count is not None else int(record["count"]), islands, tuple(dtypes), record["kind"],
        int(record.get("graphs") or 0), bool(record.get("square_mask")),
    )  # fmt: skip


def board_of(service: dict[str, Any], record: dict[str, Any]) -> dict[str, Any]:
    """The host's record, as far as the service's engine uses it: the room for graphs is a limit where it captures them."""
    return record if "captures-npu-graphs" in service["engine_facts"]["traits"] else {**record, "graphs": 0}


def key_of(service: dict[str, Any], record: dict[str, Any], chosen: Settings) -> dict[str, Any]:
    """Under what a start is remembered."""
    devices = record.get("devices") or [{}]
    name = str(devices[0].get("name") or "")
    lora = {"lora_slots": chosen.lora.count, "lora_rank": chosen.lora.rank} if chosen.lora.count else {}
    return {
        "model": service["model"]["name"], "board": name or record["kind"], "engine": service["options_version"], "tensor": chosen.tensor,
        "pipeline": chosen.pipeline, "eager": chosen.eager, "max_num_seqs": chosen.max_num_seqs,
        "max_num_batched_tokens": chosen.max_num_batched_tokens, **lora,
    }  # fmt: skip


def settings_of(service: dict[str, Any], device: Device, known: Constants) -> Settings:
    """What the engine of a plan's record starts with: what the row gives, else the engine's defaults."""
    wide, large = service["widths"], device.total >= known.large
    shares = service["engine_facts"]["options"]["share"] in FIELDS
    base = {
        "utilization": known.utilization if shares else service["utilization"],
        "max_num_seqs": known.seqs[large],
        "max_num_batched_tokens": known.batched[large],
        "max_model_len": (service["model"].get("shape") or {}).get("max_position_embeddings") or 0,
        **fixed(service["engine_args"]),
    }
    return Settings(
        **{**base, "tensor": wide["tensor"], "pipeline": wide["pipeline"], "data": wide["data"]},
        context=wide["decode_context"] * wide["prefill_context"],
        fused=service["runtime"] == "container" and device.kind == "gpu" and wide["tensor"] > 1,
    )


def choose(
    service: dict[str, Any],
    record: dict[str, Any],
    dtypes: list[str],
    count: int,
    starts: list[dict[str, Any]],
    wishes: dict[str, Any],
) -> Found | None:
    """Candidates for a service on its host; None where the model's sizes are not known."""
    model = model_of(service["model"])
    device = device_of(record)
    if model is None or (device is None and record["kind"] != "cpu"):
        return None
    goal = str(wishes.get("goal") or GOALS[0])
    stays = fixed(service["engine_args"])
    version = version_key(version_of(service))
    if "data-parallel" not in service["engine_facts"]["traits"] or (version and version < DATA_SINCE):
        stays.setdefault("data", 1)  # no choice of copies where the engine has none, or none that was tried
    given = Wishes(wishes.get("context"), wishes.get("concurrency"), goal, tuple(sorted(stays.items())))
    host = host_of(board_of(service, record), dtypes, count)
    if record["kind"] == "cpu":
        return search_cpu(model, host, record, int(service.get("overhead_bytes") or 0), given)
    assert device is not None
    known = known_of(service)
    guess = settings_of(service, device, known)
    return search(model, host, device, known, given, correction(starts, key_of(service, record, guess)))
