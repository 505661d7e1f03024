"""NVIDIA GPUs: `nvidia-smi -q -x`, `nvidia-smi topo -m` and PCI ids -> the record. Standard library only, Python 3.8.

Element names of the XML moved between its DTDs (v11 to v13 are read), and any value may be a sentence instead: N/A,
[Not Supported], «Requested functionality has been deprecated», [GPU requires reset]. Those are null here.
"""

from __future__ import annotations

import os
import re
import xml.etree.ElementTree as xml
from typing import Any

from ansible.module_utils.serving import hosts
from ansible.module_utils.serving.accelerators import cpu_record, parse_cpulist, read
from ansible.module_utils.serving.errors import Refusal

VENDOR = "0x10de"
# Class codes in sysfs: 3D controller, VGA controller; a bridge of NVIDIA's is an NVSwitch.
GPU_CLASSES, BRIDGE_CLASS = ("0x0302", "0x0300"), "0x0680"
# PCI ids of boards that the documents name or that we have seen, for hosts without a driver.
BOARDS = {
    "0x2330": "NVIDIA H100 80GB HBM3 (SXM5)",
    "0x2331": "NVIDIA H100 PCIe",
    "0x2321": "NVIDIA H100 NVL",
    "0x2335": "NVIDIA H200",
}
TIMEOUT = 60  # seconds: a driver in trouble can keep nvidia-smi for ever


def parse_xml(text: str) -> xml.Element:
    """The log's root. Refusal for what is no such log, and for DTD tricks: an entity could grow or read files."""
    if re.search(r"<!(ENTITY|ELEMENT|ATTLIST|NOTATION)", text) or re.search(r"<!DOCTYPE[^>\[]*\[", text):
        raise Refusal(
            "nvidia-smi's XML declares entities or elements, which it never does; is another program called so?"
        )
    try:
        root = xml.fromstring(text)  # noqa: S314 (declarations are refused above)
    except (xml.ParseError, ValueError) as error:
        raise Refusal("nvidia-smi's XML can't be read (%s); run `nvidia-smi -q -x` by hand" % error) from None
    if root.tag != "nvidia_smi_log":
        raise Refusal("nvidia-smi's XML is <%s>, not <nvidia_smi_log>" % root.tag)
    return root


def value(node: xml.Element, *paths: str) -> str | None:
    """The first of the paths that has a value; None where it is absent or a way to say so."""
    for path in paths:
        text = (node.findtext(path) or "").strip()
        if text and not re.fullmatch(
            r"N/?A|None|Unknown.*|\[.*\]|Requested functionality has been deprecated|.*not supported.*", text, re.I
        ):
            return text
    return None


def mib(text: str | None) -> int | None:
    """`81559 MiB` -> bytes."""
    found = re.fullmatch(r"(\d{1,12}) MiB", text or "")
    return int(found.group(1)) << 20 if found else None


def gpu_device(node: xml.Element, order: int) -> tuple[dict[str, Any], list[str]]:
    """One GPU's device row and what is wrong with it."""
    minor = value(node, "minor_number") or ""
    bus = (node.get("id") or value(node, "pci/pci_bus_id") or "").lower() or None
    device: dict[str, Any] = {
        "index": order,
        "name": value(node, "product_name"),
        "memory_total_bytes": mib(value(node, "fb_memory_usage/total")),
        "memory_used_bytes": mib(value(node, "fb_memory_usage/used")),
        "health": "OK",
        "id": "nvidia%s" % minor if minor.isdigit() else None,
        "container_id": order,
        "uuid": value(node, "uuid"),
        "bus_id": bus,
        "persistence": value(node, "persistence_mode"),
        "mig": value(node, "mig_mode/current_mig"),
        "ecc": value(node, "ecc_mode/current_ecc"),
        "fabric": value(node, "fabric/state"),
        "fabric_status": value(node, "fabric/status"),
    }
    problems = []
    where = "GPU %d (%s)" % (order, bus or "no bus id")
    if node.findtext("gpu_recovery_action") and value(node, "gpu_recovery_action"):
        problems.append(
            "%s asks for recovery: %s; drain the host and do that" % (where, value(node, "gpu_recovery_action"))
        )
    if "requires reset" in "".join(node.itertext()).lower():
        problems.append("%s requires a reset; drain the host and reset it" % where)
    if (
        value(node, "remapped_rows/remapped_row_pending") == "Yes"
        or value(node, "remapped_rows/remapped_row_pend") == "Yes"
    ):
        problems.append("%s has memory rows that wait to be remapped; reset it when nothing runs on it" % where)
    if value(node, "remapped_rows/remapped_row_failure") == "Yes":
        problems.append("%s has failed to remap memory rows; have it replaced" % where)
    if value(node, "ecc_errors/unrepairable_memory") == "Yes":
        problems.append("%s has memory that can't be repaired; have it replaced" % where)
    if device["persistence"] == "Disabled":
        problems.append("%s has persistence mode off; enable nvidia-persistenced" % where)
    if device["ecc"] == "Disabled":
        problems.append("%s has ECC off; nvidia-smi -i %d -e 1, then reboot" % (where, order))
    if device["fabric"] and (device["fabric"], device["fabric_status"]) != ("Completed", "Success"):
        problems.append(
            "%s has its NVLink fabric %s (%s); look at nvidia-fabricmanager, its version must be the driver's"
            % (where, device["fabric"], device["fabric_status"])
        )
    if device["memory_total_bytes"] is None:
        problems.append("%s does not tell its memory; it may have fallen off the bus (dmesg: Xid)" % where)
    if problems:
        device["health"] = "Warning"
    return device, problems


def parse_smi(text: str) -> dict[str, Any]:
    """`nvidia-smi -q -x` -> {driver, cuda, dtd, devices, problems}."""
    root = parse_xml(text)
    dtd = re.search(r"nvsmi_device_(v\d+)\.dtd", text[:500])
    devices, problems = [], []
    for order, node in enumerate(root.findall("gpu")):
        device, wrong = gpu_device(node, order)
        devices.append(device)
        problems += wrong
    told = value(root, "attached_gpus")
    if told and told.isdigit() and int(told) != len(devices):
        problems.append(
            "nvidia-smi speaks of %s GPUs and lists %d; one may have fallen off the bus (dmesg: Xid)"
            % (told, len(devices))
        )
    return {
        "driver": value(root, "driver_version"),
        "cuda": value(root, "cuda_version"),
        "dtd": dtd.group(1) if dtd else None,
        "devices": devices,
        "problems": problems,
    }


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
        if read(os.path.join(base, slot, "vendor")).strip() != VENDOR:
            continue
        kind = read(os.path.join(base, slot, "class")).strip()
        ident = read(os.path.join(base, slot, "device")).strip()
        if kind.startswith(BRIDGE_CLASS):
            switches += 1
        elif kind.startswith(GPU_CLASSES):
            found.append({"bus_id": slot, "pci_id": ident, "name": BOARDS.get(ident)})
    return found, switches


def run_tool(command: list[str]) -> tuple[int | None, str]:
    """(exit code, output) of a vendor's tool; code None and the reason where it can't run or hangs."""
    code, out, error = hosts.run_tool(command, TIMEOUT)
    if code is None and "did not answer" in error:
        error += "; its driver is in trouble (dmesg)"
    return code, out + error


def gpu_record(root: str = "/") -> dict[str, Any]:
    """The record of a host with NVIDIA GPUs: what the driver says, else what is on the PCI bus."""
    record: dict[str, Any] = cpu_record(root)
    cards, switches = on_pci(root)
    loaded = read(os.path.join(root, "sys/module/nvidia/version")).strip() or None
    record.update(kind="gpu", devices=[], count=0, live=False, driver=None)
    record["versions"].update(loaded_module=loaded)
    record["topology"].update(nvswitches=switches, nvlink_islands=[])
    record["problems"], record["pending"] = [], []
    code, text = run_tool(["nvidia-smi", "-q", "-x"])
    if code == 0:
        found = parse_smi(text)
        topo_code, topo = run_tool(["nvidia-smi", "topo", "-m"])
        rows = parse_topo(topo) if topo_code == 0 else []
        record.update(
            devices=found["devices"], count=len(found["devices"]), live=bool(found["devices"]), driver=found["driver"]
        )
        record["versions"].update(cuda=found["cuda"], dtd=found["dtd"])
        record["topology"].update(links=rows, nvlink_islands=islands(rows))
        record["problems"] += found["problems"]
        if cards and len(cards) != len(found["devices"]):
            record["problems"].append(
                "%d NVIDIA GPUs are on the PCI bus and the driver lists %d; look at dmesg for Xid"
                % (len(cards), len(found["devices"]))
            )
    else:
        kind, sentence = why_not(code, text, cards, loaded)
        record[kind].append(sentence)
        record["devices"] = [
            {"index": order, "memory_total_bytes": None, "memory_used_bytes": None, "health": "Unknown", "id": None,
             "container_id": None, "uuid": None, **card}
            for order, card in enumerate(cards)
        ]  # fmt: skip
        record["count"] = len(cards)
    return record


def why_not(code: int | None, text: str, cards: list[dict[str, Any]], loaded: str | None) -> tuple[str, str]:
    """(`pending` for what installing or rebooting mends, else `problems`; in one sentence why the driver does not answer)."""
    if "version mismatch" in text.lower():
        return "pending", (
            "driver and user-space library have different versions (%s); reboot the host" % " ".join(text.split())[:200]
        )
    if not cards:
        return "problems", "no NVIDIA GPU is on the PCI bus of this host"
    names = ", ".join(sorted({card["name"] or card["pci_id"] for card in cards}))
    if not loaded:
        return "pending", "%d NVIDIA GPUs are on the PCI bus (%s) and no driver is loaded (%s)" % (
            len(cards), names, " ".join(text.split())[:200],
        )  # fmt: skip
    return "problems", "nvidia-smi does not answer: %s" % " ".join(text.split())[:300]
