"""What a service takes of its host, from its row alone: how many devices, which ones, how much memory.

`plan.py` calls `widths` and `devices_of` and puts what they say into the service's record: everything else (lint, the check
that it fits, a container's options) reads it there. Which GPU an index is, only the host can say: `service_devices` does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from planning.rows import fail

Row = Mapping[str, Any]

# Options of the engine that multiply its processes, with vLLM's short forms. Decode context parallelism reuses the tensor
# parallel ranks: it takes no device of its own.
WIDTHS = {
    "tensor": ("tensor_parallel_size", "tp"),
    "pipeline": ("pipeline_parallel_size", "pp"),
    "prefill_context": ("prefill_context_parallel_size", "pcp"),
    "decode_context": ("decode_context_parallel_size", "dcp"),
    "data": ("data_parallel_size", "dp"),
}
DATA_LOCAL, DATA_RANK = ("data_parallel_size_local", "dpl"), ("data_parallel_rank", "dpn")
UTILIZATION = 0.92  # vLLM 0.33; older ones take 0.9, and a check must not refuse what would have started
UUID = re.compile(r"(GPU|MIG)-[0-9A-Za-z][0-9A-Za-z/-]*")
VNPU = re.compile(r"vdavinci\d{1,5}")
CPU_RANK = r"\d{1,5}(-\d{1,5})?(,\d{1,5}(-\d{1,5})?)*"


MACHINES = {"amd64": "x86_64", "x64": "x86_64", "x86-64": "x86_64", "arm64": "aarch64", "armv8": "aarch64"}


def machine(name: Any) -> Any:
    """A machine architecture as `uname -m` says it, whichever of its names a table has."""
    return MACHINES.get(str(name).lower(), name)


def option(args: Row, names: tuple[str, ...]) -> tuple[str, Any] | None:
    """(spelling, value) of an engine option under any of its spellings: dashes, underscores, a short form. Refused if two differ."""
    found = [(str(k), v) for k, v in args.items() if str(k).lstrip("-").replace("-", "_") in names and v is not None]
    if len({str(value) for _, value in found}) > 1:
        fail("engine_args has " + " and ".join(f"{k}: {v}" for k, v in found) + ", which are one option; keep one")
    return found[0] if found else None


def size(where: str, args: Row, names: tuple[str, ...], least: int = 1) -> int | None:
    """A width that the row gives, as a number; None if it gives none."""
    found = option(args, names)
    if found is None:
        return None
    key, value = found
    if isinstance(value, bool) or not re.fullmatch(r"\d{1,6}", str(value)) or int(value) < least:
        fail(f"{where}: engine_args.{key} is {value!r}, but must be a whole number, {least} or more")
    return int(value)


def widths(where: str, args: Row, within_tensor: str | None = None) -> dict[str, int]:
    """{tensor, pipeline, prefill_context, decode_context, data, ranks, devices}: an engine's widths on this host.

    `data` are the data parallel ranks of this host, `ranks` the processes that each hold a share of one copy of the model,
    `devices` all of them: one device each. With the option `within_tensor` the engine's data parallel ranks share those devices.
    """
    found = {kind: size(where, args, names) or 1 for kind, names in WIDTHS.items()}
    local = size(where, args, DATA_LOCAL)
    if local is None and size(where, args, DATA_RANK, least=0) is not None:
        local = 1  # a rank of its own: the others are other services
    found["data"] = local or found["data"]
    found["ranks"] = found["tensor"] * found["pipeline"] * found["prefill_context"]
    if within_tensor and args.get(within_tensor) is True:
        found["data"] = 1
    found["devices"] = found["ranks"] * found["data"]
    return found


def formula(wide: Mapping[str, int]) -> str:
    """`4 (tensor 2 x data 2)`: a number of devices and where it comes from."""
    parts = [f"{kind} {wide[kind]}" for kind in ("tensor", "pipeline", "prefill_context", "data") if wide[kind] > 1]
    over = f" over {wide['hosts']} hosts" if "hosts" in wide else ""
    return f"{wide['devices']} ({' x '.join(parts)} parallel{over})" if parts else "1"


def check_name(where: str, name: Any, service: Row, board: Row, wide: Mapping[str, int]) -> None:
    """Refuse a device that no host of this plan can have under that name."""
    count, kind = board["count"], board["kind"]
    if isinstance(name, int) and not isinstance(name, bool):
        if name < 0 or (count is not None and name >= count):
            fail(
                f"{where}: device {name} does not exist; this host has {f'0 to {count - 1}' if count else 'no negative ones'}"
            )
        return
    good = {"gpu": "an index or a UUID (GPU-..., MIG-...)", "npu": "the N of /dev/davinciN, or vdavinciN for a vNPU"}
    pattern = UUID if kind == "gpu" else VNPU
    if not isinstance(name, str) or not pattern.fullmatch(name):
        fail(f"{where}: 'devices' has {name!r}, but must have {good[kind]}")
    part = {"M": "a MIG slice", "v": "a vNPU"}.get(name[0])
    if part and wide["devices"] != 1:
        fail(
            f"{where}: device {name} is {part}, which serves one rank, and the row asks for {formula(wide)}; "
            f"set its parallel sizes to 1, or give it whole devices"
        )
    if name[0] == "v" and (service["runtime"], service["device_access"]) != ("container", "nodes"):
        fail(
            f"{where}: device {name} is a vNPU, which only runtime: container with device_access: nodes gets; set both"
        )


def devices_of(
    where: str, service: Row, board: Row, taken: dict[Any, str], wide: Mapping[str, int], chosen: Iterable[str] = ()
) -> list[Any] | None:
    """Devices of one service: indices, or the names that its row gives; fills `taken`. None where devices aren't counted.

    Services whose rows name devices come first, so that the others get what these leave. `chosen`: those for which `auto` was chosen before.
    """
    count: Any = board.get("count")
    wanted, kind = service["devices"], board["kind"]
    name = where.rpartition("service ")[2].strip("'")
    if kind == "cpu" and wanted is not None:
        fail(f"{where}: 'devices' is set, but board '{board['board']}' counts no devices")
    if kind == "cpu":
        return None
    width = wide["devices"]
    if wanted is None and count is None:
        if taken:
            fail(
                f"{where}: 'devices' is not set, and the count of board '{board['board']}' isn't either, so "
                f"this service would share devices with '{next(iter(taken.values()))}'; set one of the two"
            )
        taken[None] = name
        return None
    if wanted is None:
        # Which index a UUID is, only the host knows: it takes one of those that are free, and the host picks another (service_devices).
        named = len([1 for one in taken if str(one).startswith("GPU-")]) + any(
            str(one).startswith("MIG-") for one in taken
        )
        free = [i for i in range(count) if i not in taken]
        if len(free) - named < width:
            holders = ", ".join(sorted(set(taken.values()))) or "none"
            anew = sorted(set(taken.values()) & set(chosen))
            fail(
                f"{where}: needs {width} devices (tensor x pipeline x data parallel size), but {max(0, len(free) - named)} of {count} "
                f"are free (taken by: {holders}); lower tensor_parallel_size in overrides, or run it on another host"
                + (
                    f", or have devices shared out anew with -e replan=true, for `auto` chose those of {', '.join(anew)}"
                    if anew
                    else ""
                )
            )
        wanted = free[:width]
    for one in wanted:
        check_name(where, one, service, board, wide)
        if one in taken:
            fail(f"{where}: device {one} is already taken by service '{taken[one]}' on this host")
    if len(wanted) != width or len(set(wanted)) != len(wanted):
        fail(f"{where}: 'devices' is {wanted}, but the row's parallel sizes ask for {formula(wide)} different ones")
    taken.update(dict.fromkeys(wanted, name))
    return list(wanted)


def cpu_span(where: str, span: str) -> range:
    """The CPUs of `4` or `0-15`."""
    first, _, last = span.partition("-")
    if int(last or first) < int(first):
        fail(f"{where}: 'cpus' has {span}, which ends before it begins; write {last}-{first}")
    return range(int(first), int(last or first) + 1)


def check_cpus(where: str, service: Row, kind: str, wide: Mapping[str, int]) -> None:
    """Refuse `cpus` that are no lists of CPUs, one a rank."""
    cpus = service["cpus"]
    if cpus is None:
        return
    if kind != "cpu":
        fail(f"{where}: 'cpus' is set, but a {kind} computes; remove it")
    ranks = str(cpus).split("|")
    if not all(re.fullmatch(CPU_RANK, rank) for rank in ranks):
        fail(f"{where}: 'cpus' is {cpus!r}, but must be lists of CPUs like 0-15 or 0-15|16-31, one a rank")
    for rank in ranks:
        cores = [core for span in rank.split(",") for core in cpu_span(where, span)]
        if len(set(cores)) != len(cores):
            fail(f"{where}: 'cpus' is {cpus!r}, which names a CPU twice in one list; name each once")
    if len(ranks) != wide["devices"]:
        fail(f"{where}: 'cpus' is {cpus!r}, {len(ranks)} lists, but the row's parallel sizes ask for {formula(wide)}")


def cpu_memory(service: Row, wide: Mapping[str, int]) -> int | None:
    """Bytes that a service takes on a CPU host: weights, a KV cache for each rank, what the processes take. None elsewhere."""
    if service["kind"] != "cpu":
        return None
    found = option(service["engine_args"], ("kv_cache_memory_bytes",))
    cache = number_of(*found) if found else 0
    weights = int(service["model"]["bytes"]) * wide["data"] // wide.get("hosts", 1)
    return weights + int(cache) * wide["devices"] + int(service["overhead_bytes"] or 0)


def number_of(key: str, value: Any) -> int:
    """A number in the engine's own forms: 268435456, 256M (binary), 256m (decimal)."""
    found = re.fullmatch(r"(\d{1,18})([kmgtKMGT]?)", str(value))
    part = re.fullmatch(r"(\d{1,9}\.\d{1,9})([kmgt])", str(value))
    if isinstance(value, bool) or not (found or part):
        fail(f"engine_args.{key} is {value!r}, but must be a number of bytes, such as 268435456, 256M or 1.5g")
    match = found or part
    digits, unit = match.groups() if match else ("0", "")
    base = 1024 if unit.isupper() else 1000
    return int(float(digits) * base ** " kmgt".index(unit.lower())) if unit else int(digits)


def utilization(args: Row, share: str = "gpu_memory_utilization") -> float:
    """The share of a device's memory that the engine takes, as its option `share` says."""
    found = option(args, (share,))
    try:
        return float(found[1]) if found else UTILIZATION
    except (TypeError, ValueError):
        fail(f"engine_args.{found[0] if found else ''} is {found and found[1]!r}, but must be a number from 0 to 1")
