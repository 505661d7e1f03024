"""Who uses which device: processes and memory as the driver tells them, and whether a service is where its plan has it.

Standard library only, Python 3.8. Devices are known by UUID, NPUs by davinciN.
"""

from __future__ import annotations

import os
import re
from typing import Any

from ansible.module_utils.serving.host.devices import number
from ansible.module_utils.serving.host.npus import parse_npu_smi
from ansible.module_utils.serving.host.system import VENDOR_TIMEOUT, run_tool

GREW = 256 << 20  # bytes: a CUDA context alone takes more
PROVEN, NOT_PROVEN, WRONG = "proven", "not proven", "wrong"


class Use:
    """`memory` {device: bytes in use}, `processes` [(pid, device, bytes or None)], `names` {device: what a person calls it}."""

    def __init__(self) -> None:
        self.memory: dict[str, int] = {}
        self.processes: list[tuple[int, str, int | None]] = []
        self.names: dict[str, str] = {}
        self.numbers: dict[int, str] = {}  # an index, or the N of davinciN -> the device
        self.problem: str | None = None


def rows(text: str, columns: int) -> list[list[str]]:
    """Rows of nvidia-smi's CSV that have so many cells; sentences around them are left out."""
    found = [[cell.strip() for cell in line.split(",")] for line in text.splitlines()]
    return [row for row in found if len(row) == columns]


def whole(text: str) -> int | None:
    return int(text) if re.fullmatch(r"\d{1,12}", text) else None


def parse_gpus(cards: str, processes: str) -> Use:
    """`--query-gpu=index,uuid,memory.used` and `--query-compute-apps=pid,gpu_uuid,used_memory` (csv,noheader,nounits) -> Use."""
    use = Use()
    for index, uuid, used in rows(cards, 3):
        if whole(index) is None or not uuid.startswith("GPU-"):
            continue
        use.names[uuid] = "GPU %s (%s)" % (index, uuid)
        use.numbers[int(index)] = uuid
        amount = whole(used)
        if amount is not None:
            use.memory[uuid] = amount << 20
    for pid, uuid, used in rows(processes, 3):
        process, amount = whole(pid), whole(used)
        if process and uuid.startswith(("GPU-", "MIG-")):
            use.processes.append((process, uuid, None if amount is None else amount << 20))
    return use


def gpu_use() -> Use:
    """What nvidia-smi says now; `problem` where it doesn't."""
    form = "--format=csv,noheader,nounits"
    code, cards, error = run_tool(["nvidia-smi", "--query-gpu=index,uuid,memory.used", form], VENDOR_TIMEOUT)
    if code is None or not rows(cards, 3):
        use = Use()
        use.problem = "nvidia-smi does not tell the GPUs' memory: %s" % (
            " ".join((error or cards).split())[:200] or "no answer"
        )
        return use
    _, processes, _ = run_tool(["nvidia-smi", "--query-compute-apps=pid,gpu_uuid,used_memory", form], VENDOR_TIMEOUT)
    return parse_gpus(cards, processes)


def npus_in_use(devices: list[dict[str, Any]]) -> Use:
    """The NPUs of `npu-smi info`, which lists the processes of each, -> Use."""
    use = Use()
    for device in devices:
        name = device.get("id")
        if not name:
            continue
        use.names[name] = "NPU %s" % name
        use.numbers[number(device)] = name
        if device.get("memory_used_bytes") is not None:
            use.memory[name] = device["memory_used_bytes"]
        use.processes += [(row["pid"], name, row["used_bytes"]) for row in device["processes"]]
    return use


def npu_use() -> Use:
    """What npu-smi says now; `problem` where it doesn't."""
    code, text, error = run_tool(["npu-smi", "info"], VENDOR_TIMEOUT)
    use = npus_in_use(parse_npu_smi(text)["devices"])
    if code != 0 or not use.names:
        use.problem = "npu-smi does not tell the NPUs' processes: %s" % (
            " ".join((error or text).split())[:200] or "no answer"
        )
    return use


def use_of(kind: str) -> Use:
    """Use of a host's devices, as its driver tells it now."""
    return npu_use() if kind == "npu" else gpu_use()


def parents(proc: str = "/proc") -> dict[int, int]:
    """{pid: parent's pid} of all processes that this user may see."""
    found = {}
    for name in os.listdir(proc):
        if name.isdigit():
            try:
                with open(os.path.join(proc, name, "stat"), encoding="ascii", errors="replace") as source:
                    found[int(name)] = int(source.read().rpartition(")")[2].split()[1])
            except (OSError, ValueError, IndexError):
                continue
    return found


def below(roots: set[int], tree: dict[int, int]) -> set[int]:
    """The processes `roots` and everything that descends from them."""
    children: dict[int, list[int]] = {}
    for pid, parent in tree.items():
        children.setdefault(parent, []).append(pid)
    found, todo = set(), sorted(roots)
    while todo:
        pid = todo.pop()
        if pid not in found:
            found.add(pid)
            todo += children.get(pid, [])
    return found


def service_pids(run: dict[str, Any] | None, spec: dict[str, Any] | None) -> set[int]:
    """Processes of a service on its host: below its foreground process, and below the first process of its container."""
    if not run:
        return set()
    roots = {int(run["pid"])}
    container = (spec or {}).get("container")
    if container:
        code, out, _ = run_tool(["docker", "inspect", "--format", "{{.State.Pid}}", str(container)], 30)
        if code == 0 and (whole(out.strip()) or 0) > 0:
            roots.add(int(out.strip()))
    return below(roots, parents())


def as_driver_names(devices: list[Any], use: Use) -> list[str]:
    """A release's devices as the driver names them: UUIDs stay, an index becomes its UUID, an NPU's number davinciN."""
    return [use.numbers.get(name, str(name)) if isinstance(name, int) else str(name) for name in devices]


def by_number(text: str) -> tuple[int, str]:
    """The order in which people name devices: GPU 2 before GPU 10."""
    found = re.search(r"\d+", text)
    return int(found.group()) if found else 0, text


def verdict(
    expected: list[str], pids: set[int], use: Use, before: dict[str, int] | None, others: set[str]
) -> dict[str, Any]:
    """{verdict, devices, text}: do a service's processes hold memory on exactly these devices?

    `before`: bytes in use just before its start; `others`: devices of this host's other services.
    """

    def call(names: Any) -> str:
        return ", ".join(sorted((use.names.get(name, name) for name in names), key=by_number)) or "none"

    held = {device for pid, device, _ in use.processes if pid in pids}
    slices = {name for name in expected if name.startswith(("MIG-", "vdavinci"))}
    grown = {
        name for name, used in use.memory.items() if name in (before or {}) and used - (before or {})[name] >= GREW
    }
    if held and not (slices and not held <= set(expected)):
        if held == set(expected):
            return {"verdict": PROVEN, "devices": sorted(held), "text": "its processes hold memory on %s" % call(held)}
        if grown and grown - others == set(expected):
            # In a container of its own the host may see numbers of processes that are not its own.
            text = "the driver shows its processes on %s, and memory grew on %s" % (call(held), call(expected))
            return {"verdict": NOT_PROVEN, "devices": [], "text": text}
        return {
            "verdict": WRONG,
            "devices": sorted(held),
            "text": "it should run on %s, and its processes hold memory on %s" % (call(expected), call(held)),
        }
    why = use.problem or (
        "the driver tells the card and not the slice" if held else "the driver shows none of its processes"
    )
    if slices or before is None or not all(name in use.memory and name in before for name in expected):
        return {"verdict": NOT_PROVEN, "devices": [], "text": why}
    if grown >= set(expected):
        stray = grown - set(expected) - others
        if not stray:
            return {
                "verdict": PROVEN,
                "devices": sorted(expected),
                "text": "memory of %s grew with its start (%s)" % (call(expected), why),
            }
        return {"verdict": NOT_PROVEN, "devices": [], "text": "%s, and memory of %s grew too" % (why, call(stray))}
    if grown - others - set(expected):
        return {
            "verdict": WRONG,
            "devices": sorted(grown - others),
            "text": "it should run on %s, and memory grew on %s" % (call(expected), call(grown - others)),
        }
    return {"verdict": NOT_PROVEN, "devices": [], "text": "%s, and no memory grew" % why}
