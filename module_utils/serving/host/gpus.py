"""NVIDIA GPUs: `nvidia-smi -q -x`, `-L`, `topo -m` and PCI ids -> the record. Standard library only, Python 3.8.

How values are told from words is in nvidia_smi.py, what they mean for the operator in gpu_faults.py.
"""

from __future__ import annotations

import os
import re
import xml.etree.ElementTree as xml
from typing import Any

from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.host import gpu_faults
from ansible.module_utils.serving.host.cpu import cpu_record, parse_cpulist, read
from ansible.module_utils.serving.host.nvidia_smi import (
    BROKEN,
    Log,
    exit_name,
    mebibytes,
    number,
    raw,
    read_log,
    shaped,
    value,
    version,
)
from ansible.module_utils.serving.host.system import VENDOR_TIMEOUT as TIMEOUT
from ansible.module_utils.serving.host.system import run_tool

VENDOR = "0x10de"
BUS_ID = r"[0-9a-fA-F]{4,8}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-9a-fA-F]"
# Class codes in sysfs: 3D controller, VGA controller; a bridge of NVIDIA's is an NVSwitch.
GPU_CLASSES, BRIDGE_CLASS = ("0x0302", "0x0300"), "0x0680"
# PCI ids of boards that vendor documents name or that we have seen, for hosts without a driver.
BOARDS = {
    "0x2330": "NVIDIA H100 80GB HBM3 (SXM5)",
    "0x2331": "NVIDIA H100 PCIe",
    "0x2321": "NVIDIA H100 NVL",
    "0x2335": "NVIDIA H200",
}


def processes(node: xml.Element) -> list[dict[str, Any]]:
    """Who holds memory on a GPU, as far as the driver shows: [{pid, used_bytes, name, gpu_instance, compute_instance}]."""
    found = []
    for row in node.findall("processes/process_info"):
        pid, name = number(row, "pid"), raw(row, "process_name")
        if pid is not None:
            found.append(
                {
                    "pid": pid,
                    "used_bytes": mebibytes(row, "used_memory"),
                    "name": None if re.fullmatch(r"\[.*\]|N/A|-|", name) else name,
                    "gpu_instance": number(row, "gpu_instance_id"),
                    "compute_instance": number(row, "compute_instance_id"),
                }
            )
    return found


def slices(node: xml.Element) -> list[dict[str, Any]]:
    """The MIG slices of a GPU, in the driver's order: [{uuid, name, memory_total_bytes, gpu_instance, compute_instance}].

    Most drivers leave uuid and name out of the XML; `name_slices` puts in what `nvidia-smi -L` says.
    """
    return [
        {
            "uuid": shaped(row, r"MIG-[0-9a-zA-Z/-]+", "uuid"),
            "name": value(row, "name"),
            "memory_total_bytes": mebibytes(row, "fb_memory_usage/total"),
            "gpu_instance": number(row, "gpu_instance_id"),
            "compute_instance": number(row, "compute_instance_id"),
        }
        for row in node.findall("mig_devices/mig_device")
    ]


def parse_list(text: str) -> dict[str, list[dict[str, str]]]:
    """`nvidia-smi -L` -> {uuid of a GPU: [{uuid, name} of its slices, in order]}."""
    found: dict[str, list[dict[str, str]]] = {}
    rows: list[dict[str, str]] = []
    for line in text.splitlines():
        gpu = re.match(r"GPU \d+: .*\(UUID: (GPU-[\w-]+)\)", line)
        mig = re.match(r"\s*(MIG \S+)\s+Device\s+\d+: \(UUID: (MIG-[\w/-]+)\)", line)
        if gpu:
            rows = found.setdefault(gpu.group(1), [])
        elif mig:
            rows.append({"name": mig.group(1), "uuid": mig.group(2)})
    return found


def name_slices(devices: list[dict[str, Any]], listed: dict[str, list[dict[str, str]]]) -> None:
    """Put uuids and names into the slices, where both lists speak of the same number of them."""
    for device in devices:
        names = listed.get(device["uuid"] or "", [])
        if len(names) == len(device["slices"]):
            for one, other in zip(device["slices"], names):  # noqa: B905 (Python 3.8; the lengths are equal)
                one.update({key: one[key] or other[key] for key in ("uuid", "name")})


def gpu_device(node: xml.Element, order: int, others: bool) -> tuple[dict[str, Any], list[str], list[str]]:
    """One GPU's device row, what is wrong with it, and what an operator should know."""
    minor = number(node, "minor_number")
    ident = (node.get("id") or "").strip()
    bus = ident if re.fullmatch(BUS_ID, ident) else shaped(node, BUS_ID, "pci/pci_bus_id")
    device: dict[str, Any] = {
        "index": order,
        "name": value(node, "product_name"),
        "memory_total_bytes": mebibytes(node, "fb_memory_usage/total", "memory_usage/total") or None,
        "memory_used_bytes": mebibytes(node, "fb_memory_usage/used", "memory_usage/used"),
        "health": "OK",
        "action": None,
        "id": None if minor is None else "nvidia%d" % minor,
        "container_id": order,
        "uuid": shaped(node, r"[0-9a-zA-Z]+(-[0-9a-zA-Z]+)+", "uuid"),
        "bus_id": bus.lower() if bus else None,
        "persistence": value(node, "persistence_mode"),
        "mig": value(node, "mig_mode/current_mig"),
        "ecc": value(node, "ecc_mode/current_ecc"),
        "fabric": value(node, "fabric/state"),
        "fabric_status": value(node, "fabric/status"),
        "slices": slices(node),
        "processes": processes(node),
    }
    found = gpu_faults.findings(node, device, others)
    problems = [sentence for severity, sentence in found if severity != "note"]
    if problems:
        device.update(health="Warning", action=found[0][0])
    return device, problems, [sentence for severity, sentence in found if severity == "note"]


def summary(log: Log) -> dict[str, Any]:
    """A whole log -> {driver, cuda, dtd, devices, problems, notes}."""
    root = log.root
    devices: list[dict[str, Any]] = []
    problems: list[str] = []
    notes: dict[str, list[tuple[int, str]]] = {}  # by what is left of a sentence without the GPU's names
    nodes = root.findall("gpu") if root is not None else []
    others = any(value(node, "product_name", "uuid") for node in nodes)
    for order, node in enumerate(nodes):
        device, wrong, told = gpu_device(node, order, others)
        devices.append(device)
        problems += wrong
        for note in told:
            key = (
                note.replace(gpu_faults.where(device), "")
                .replace("-i %d " % order, "")
                .replace(str(device["uuid"]), "")
            )
            notes.setdefault(key, []).append((order, note))
    attached = number(root, "attached_gpus") if root is not None else None
    if attached is not None and attached != len(devices):
        problems.append(
            "nvidia-smi speaks of %d GPUs and lists %d; one may have fallen off the bus (dmesg: Xid)"
            % (attached, len(devices))
        )
    return {
        "driver": version(root, "driver_version") if root is not None else None,
        "cuda": version(root, "cuda_version") if root is not None else None,
        "dtd": log.dtd,
        "devices": devices,
        "problems": problems,
        "notes": [together(rows) for rows in notes.values()],
    }


def together(rows: list[tuple[int, str]]) -> str:
    """One sentence for what is noted of several GPUs."""
    others = ", ".join(str(order) for order, _ in rows[1:])
    return rows[0][1] + ("; the same holds for GPU " + others if others else "")


def parse_smi(text: str) -> dict[str, Any]:
    """`nvidia-smi -q -x` -> {driver, cuda, dtd, devices, problems, notes}. Refusal for what holds no whole log."""
    log = read_log(0, text, "")
    if log.root is None:
        raise Refusal("nvidia-smi printed no log that can be read: %s" % log.said)
    return summary(log)


def beside(log: Log, code: int | None) -> tuple[list[str], list[str]]:
    """(problems, notes): what nvidia-smi said beside a whole log, and by its exit code."""
    problems: list[str] = []
    notes: list[str] = []
    for line in log.beside:
        grave = re.search(r"unable to (determine|detect) the device handle|is lost|fallen off the bus", line, re.I)
        (problems if grave else notes).append(
            "nvidia-smi says: %s%s" % (line, "; dmesg names the Xid; reboot the host" if grave else "")
        )
    if code:
        text = "nvidia-smi ends with %s, and its log is whole" % exit_name(code)
        if code == 14:
            text += "; the GPU works, and its maker can write the infoROM anew"
        (problems if code in BROKEN and not problems else notes).append(text)
    return problems, notes


def parse_topo(text: str) -> list[dict[str, Any]]:
    """`nvidia-smi topo -m` -> [{gpu, links: {other gpu: kind}, cpus, numa}]. Rows of NICs and the legend are left out."""
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in text.splitlines()]
    header = next(
        (line for line in lines if re.search(r"(^|\t)\s*GPU0(\t|$)", line) and not line.startswith("GPU0")), None
    )
    if header is None:
        return []
    names = [cell.strip() for cell in header.split("\t")][1:]
    rows = []
    for line in lines:
        cells = [cell.strip() for cell in line.split("\t")]
        found = re.fullmatch(r"GPU(\d{1,3})", cells[0])
        if not found or line is header:
            continue
        links: dict[str, str] = {}
        cpus: list[int] = []
        numa: int | None = None
        for name, cell in zip(names, cells[1:]):  # noqa: B905 (rows are shorter than the header)
            other = re.fullmatch(r"GPU(\d{1,3})", name)
            if other and re.fullmatch(r"NV\d+|PIX|PXB|PHB|NODE|SYS", cell):
                links[other.group(1)] = cell
            elif name == "CPU Affinity":
                cpus = parse_cpulist(cell)
            elif name == "NUMA Affinity" and cell.isdigit():
                numa = int(cell)
        rows.append({"gpu": int(found.group(1)), "links": links, "cpus": cpus, "numa": numa})
    return rows


def islands(rows: list[dict[str, Any]]) -> list[list[int]]:
    """Groups of GPUs that reach each other over NVLink, each sorted: where tensor parallelism belongs."""
    left = {row["gpu"]: {int(other) for other, kind in row["links"].items() if kind.startswith("NV")} for row in rows}
    found = []
    while left:
        todo, group = [min(left)], set()
        while todo:
            one = todo.pop()
            if one in left:
                group.add(one)
                todo += sorted(left.pop(one))
        found.append(sorted(group))
    return found


def on_pci(root: str) -> tuple[list[dict[str, Any]], int]:
    """(NVIDIA GPUs, number of NVSwitch bridges) in sysfs, whether or not a driver is there."""
    base = os.path.join(root, "sys/bus/pci/devices")
    try:
        slots = sorted(os.listdir(base))
    except OSError:
        return [], 0
    found, switches = [], 0
    for slot in slots:
        if read(os.path.join(base, slot, "vendor")).strip() != VENDOR or os.path.lexists(
            os.path.join(base, slot, "physfn")
        ):
            continue  # a virtual function belongs to the board that has it
        kind = read(os.path.join(base, slot, "class")).strip()
        ident = read(os.path.join(base, slot, "device")).strip()
        if kind.startswith(BRIDGE_CLASS):
            switches += 1
        elif kind.startswith(GPU_CLASSES):
            driver = os.path.join(base, slot, "driver")
            bound = os.path.basename(os.readlink(driver)) if os.path.islink(driver) else None
            found.append({"bus_id": slot, "pci_id": ident, "name": BOARDS.get(ident), "pci_driver": bound})
    return found, switches


def gpu_record(root: str = "/") -> dict[str, Any]:
    """The record of a host with NVIDIA GPUs: what the driver says, else what is on the PCI bus."""
    record: dict[str, Any] = cpu_record(root)
    cards, switches = on_pci(root)
    loaded = read(os.path.join(root, "sys/module/nvidia/version")).strip() or None
    record.update(kind="gpu", devices=[], count=0, live=False, driver=None)
    record["versions"].update(loaded_module=loaded)
    record["topology"].update(nvswitches=switches, nvlink_islands=[])
    record["problems"], record["pending"], record["notes"] = [], [], []
    code, out, error = run_tool(["nvidia-smi", "-q", "-x"], TIMEOUT)
    log = read_log(code, out, error)
    if log.root is None:
        kind, sentence = why_not(log.said, cards, loaded)
        record[kind].append(sentence)
        record["devices"] = [
            {"index": order, "memory_total_bytes": None, "memory_used_bytes": None, "health": "Unknown", "action": None, "id": None,
             "container_id": None, "uuid": None, "slices": [], "processes": [], **card}
            for order, card in enumerate(cards)
        ]  # fmt: skip
        record["count"] = len(cards)
        return record
    found = summary(log)
    problems, notes = beside(log, code)
    devices = found["devices"]
    if any(device["slices"] for device in devices):
        name_slices(devices, parse_list(run_tool(["nvidia-smi", "-L"], TIMEOUT)[1]))
    topo_code, topo, _ = run_tool(["nvidia-smi", "topo", "-m"], TIMEOUT)
    rows = parse_topo(topo) if topo_code == 0 else []
    record.update(devices=devices, count=len(devices), live=bool(devices), driver=found["driver"])
    record["versions"].update(cuda=found["cuda"], dtd=found["dtd"])
    record["topology"].update(links=rows, nvlink_islands=islands(rows))
    record["problems"] += found["problems"] + problems
    record["notes"] += found["notes"] + notes
    if not devices:
        record["problems"].append("the NVIDIA driver answers and lists no GPU; look at dmesg for NVRM")
    ours = [card for card in cards if card["pci_driver"] in (None, "nvidia")]
    if devices and len(ours) > len(devices):
        listed = [place(device["bus_id"] or "") for device in devices]
        missing = [card["bus_id"] for card in ours if place(card["bus_id"]) not in listed]
        record["problems"].append(
            "%d NVIDIA GPUs are on the PCI bus and the driver lists %d%s; look at dmesg for Xid"
            % (len(ours), len(devices), " (not %s)" % ", ".join(missing) if len(missing) < len(ours) else "")
        )
    return record


def place(bus_id: str) -> list[int]:
    """A bus id as numbers: nvidia-smi writes the domain with eight digits, the kernel with four."""
    return [int(part, 16) for part in re.split(r"[:.]", bus_id) if re.fullmatch(r"[0-9a-fA-F]{1,8}", part)]


# What nvidia-smi says when it prints no log: a pattern, whether installing or rebooting mends it, and what to do.
REASONS = (
    (r"version mismatch|different versions", "pending", "driver and user-space library have different versions; reboot the host"),
    (r"unable to (determine|detect) the device handle|is lost|fallen off the bus", "problems",
     "a GPU does not answer on the bus; dmesg names the Xid; reboot the host, and have the board replaced if it is lost again"),
    (r"requires a? ?reset", "problems", "a GPU requires a reset; end what runs on it, then nvidia-smi --gpu-reset"),
    (r"no devices? w(as|ere) found", "problems",
     "the driver finds no GPU that it can use; dmesg says why (RmInitAdapter, or a board that this driver branch does not know)"),
    (r"insufficient permissions|no permission", "problems", "this user may not open /dev/nvidiactl; become root, or mend its mode"),
    (r"blocked by the operating system|blocks the device", "problems",
     "the system keeps programs from the GPU; look at Secure Boot, or at the devices of the container that this host is"),
    (r"function not found|lacks a function", "pending",
     "nvidia-smi is newer than the driver's library; install both of the driver's version, then reboot the host"),
    (r"is not installed|command not found", "pending", "the driver's tools are missing; install those of the driver's version"),
    (r"libnvidia-ml|NVML (shared )?library", "pending", "the driver's user-space library is missing; install the one of the driver's version"),
    (r"external power cables", "problems", "a board lacks power; attach its cables"),
    (r"interrupts?\b", "problems", "the kernel has trouble with a GPU's interrupts; reboot the host, then look at its firmware's settings"),
    (r"did not answer", "problems", "its driver is in trouble; dmesg says why; reboot the host"),
    (r"breaks off|can't be read|declares entities", "problems", "run nvidia-smi -q -x by hand and look at dmesg"),
)  # fmt: skip


def why_not(said: str, cards: list[dict[str, Any]], loaded: str | None) -> tuple[str, str]:
    """(`pending` for what installing or rebooting mends, else `problems`; in one sentence why there is no log)."""
    for pattern, kind, remedy in REASONS:
        if re.search(pattern, said, re.I):
            return kind, "nvidia-smi does not answer (%s): %s" % (said[:200], remedy)
    if not cards:
        return "problems", "no NVIDIA GPU is on the PCI bus of this host (nvidia-smi: %s)" % said[:200]
    names = ", ".join(sorted({card["name"] or card["pci_id"] for card in cards}))
    if not loaded:
        return "pending", "%d NVIDIA GPUs are on the PCI bus (%s) and no driver is loaded (%s)" % (
            len(cards),
            names,
            said[:200],
        )
    return "problems", "nvidia-smi does not answer: %s; look at dmesg for NVRM and Xid" % said[:300]
