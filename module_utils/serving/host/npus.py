"""Ascend NPUs: `npu-smi info`, version.info and PCI ids -> the record. Standard library only, Python 3.8.

npu-smi prints a table for people. Its columns differ in width from driver to driver and from NPU to NPU, so rows are split
at `|` and never by offset. On a 300I Duo each card is one id with two NPUs, which npu-smi calls chips, the ids are neither small nor
contiguous, power is NA, and the number behind that of the chip is the N of /dev/davinciN.
"""

from __future__ import annotations

import os
import re
from typing import Any

from ansible.module_utils.serving.host.cpu import cpu_record, read
from ansible.module_utils.serving.host.system import VENDOR_TIMEOUT, run_tool

VENDOR = "0x19e5"
# PCI device ids of Huawei's NPUs. Each function is one NPU, but for the 300I Duo.
PCI_DEVICES = {
    "0xd100": "Ascend 310",
    "0xd500": "Ascend 310P",
    "0xd801": "Ascend 910",
    "0xd802": "Ascend 910B",
    "0xd803": "Ascend 910 (A3)",
}
DUO = "0x0110"  # subsystem device of a 310P: one function on the PCI bus, two NPUs
NODES = ("davinci_manager", "devmm_svm", "hisi_hdc")
DRIVER_MODULES = re.compile(r"drv_")  # kernel modules of the driver begin so
MIB = 1 << 20
BUS_ID = r"[0-9a-fA-F]{4,8}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-9a-fA-F]"
NOT_TOLD = ("NA", "N/A", "-", "")
# What npu-smi says when it can't look (messages of drivers 23 to 26), and what to do.
FAILURES = (
    (r"-8020|device is used", "another container or process holds the NPUs exclusively: stop it, or share the devices (npu-smi set -t device-share)"),
    # Codes of the maker's table of return codes (hiascend.com, DCMI API reference).
    (r"ret is -8002\b|not have permission|Permission denied", "this user may not ask the driver: become root, or join the group HwHiAiUser"),
    (r"ret is -8008\b", "the driver finds no NPU that it can use: look at dmesg and the BMC"),
    (r"ret is -80(06|12)\b", "the NPUs are not ready: run this again in some minutes; if it stays, reboot the host"),
    (r"ret is -8013\b", "this host is a container, in which the driver does not answer that: give it the NPUs' devices, or run on the machine itself"),
    (r"ret is -8017\b", "the NPUs' firmware is being upgraded: wait until that has ended, and run this again"),
    (r"GLIBC|Exec format error", "this npu-smi is not made for this system: install the driver package of its architecture and release"),
    (r"libc_sec|libdrvdsmi|libdcmi|cannot open shared object", "npu-smi does not find the driver's libraries: is /usr/local/Ascend/driver there?"),
    (r"did not answer", "its driver is in trouble: dmesg says why, reboot the host"),
)  # fmt: skip


def cells(line: str) -> list[str]:
    """The cells of a table's row; none for a rule or any other line."""
    text = line.strip()
    return [cell.strip() for cell in text.strip("|").split("|")] if text.startswith("|") and text.endswith("|") else []


def usage(text: str) -> tuple[int, int] | None:
    """`1615 / 44278` (MB, spaces may be missing) -> (used, total) in bytes."""
    found = re.fullmatch(r"(\d{1,9})\s*/\s*(\d{1,9})", text.strip())
    return (int(found.group(1)) * MIB, int(found.group(2)) * MIB) if found else None


def last_usage(cell: str) -> tuple[int, int] | None:
    """The last `used / total` of a cell: the memory of a 310, the HBM of a 910. `0 / 0` says that there is none to tell."""
    found = re.findall(r"\d{1,9}\s*/\s*\d{1,9}", cell)
    pair = usage(found[-1]) if found else None
    return pair if pair and pair[1] else None


def parse_npu_smi(text: str) -> dict[str, Any]:
    """`npu-smi info` -> {version, devices, problems, notes}. Tables of the 310 and of the 910 series, one NPU in two rows.

    The first row has the id, name and health of the card or NPU; the second the chip's number on it, where the table has such a column the
    N of /dev/davinciN, and the bus id. What was begun and not understood is a problem, never an NPU less in silence.
    """
    version = re.search(r"npu-smi\s+v?(\d\S*)", text)
    devices: list[dict[str, Any]] = []
    problems: list[str] = []
    notes: list[str] = []
    first: list[str] = []
    unread = 0
    table, _, processes = text.partition("Process id")
    for line in table.splitlines():
        row = cells(line)
        names = row[0].split() if len(row) >= 3 else []
        if not names or not names[0].isdigit():
            continue
        bus = bool(re.fullmatch(BUS_ID, row[1]))
        bare = len(names) < 2 or names[1].isdigit() or names[1] in NOT_TOLD  # a number, no name
        if first and (bus or (row[1] in NOT_TOLD and bare)):
            device = npu_device(first, names, row)
            other = same_npu(devices, device)
            if other is None:
                device.update(index=len(devices), container_id=len(devices))
                devices.append(device)
            else:
                notes.append(
                    "NPU %d chip %d is the same as NPU %d chip %d (bus id %s), seen through a partition; it counts once"
                    % (device["npu_id"], device["chip"], other["npu_id"], other["chip"], device["bus_id"])
                )
            first = []
        elif not bus and len(names) >= 2 and re.fullmatch(r"[A-Za-z/-][A-Za-z /-]*", row[1] or "-"):
            unread += bool(first)
            first = row
        else:
            unread += 1
            first = []
    if unread + bool(first):
        problems.append(
            "%d NPUs of npu-smi's table can't be read (npu-smi %s); please report the output of `npu-smi info`"
            % (unread + bool(first), version.group(1) if version else "of unknown version")
        )
    add_processes(devices, processes)
    for device in devices:
        wrong, told = findings(device)
        problems += wrong
        notes += told
    return {"version": version.group(1) if version else None, "devices": devices, "problems": problems, "notes": notes}


def npu_device(first: list[str], names: list[str], row: list[str]) -> dict[str, Any]:
    """An NPU of two rows; its place in the list is not known yet."""
    npu, name = first[0].split(None, 1)
    memory = last_usage(row[2])
    node = int(names[1]) if len(names) > 1 and names[1].isdigit() else None
    return {
        "index": 0,
        "name": "Ascend " + name.replace("Ascend", "").strip(),
        "memory_total_bytes": memory[1] if memory else None,
        "memory_used_bytes": memory[0] if memory else None,
        "health": "Unknown" if first[1] in NOT_TOLD else first[1],
        "id": "davinci%d" % node if node is not None else None,
        "container_id": 0,  # what the runtime numbers from 0 inside a container
        "uuid": None,
        "bus_id": row[1].lower() if ":" in row[1] else None,
        "npu_id": int(npu),
        "chip": int(names[0]),
        "slices": [],
        "processes": [],
    }


def same_npu(devices: list[dict[str, Any]], device: dict[str, Any]) -> dict[str, Any] | None:
    """The NPU of a row that was listed before. Both NPUs of a 300I Duo have one bus id, and two /dev/davinciN."""
    for other in devices:
        same = other["bus_id"] == device["bus_id"]
        if same and device["bus_id"] and other["id"] == device["id"]:
            return other
        if same and (other["npu_id"], other["chip"]) == (device["npu_id"], device["chip"]):
            return other
    return None


def number_nodes(devices: list[dict[str, Any]], nodes: list[str]) -> None:
    """Which /dev/davinciN an NPU is, where the table has no such column: the id of its NPU, if the ids are just the nodes' numbers.

    Ids have gaps where a card is lost or another container's, so the place in the list says nothing.
    """
    names = ["davinci%d" % device["npu_id"] for device in devices if device["id"] is None and device["chip"] == 0]
    if len(names) == len(devices) and sorted(names) == sorted(nodes):
        for device, name in zip(devices, names):  # noqa: B905 (Python 3.8; the lengths are equal)
            device["id"] = name


def add_processes(devices: list[dict[str, Any]], text: str) -> None:
    """The table of processes: numbers of NPU and chip, process id, name, memory (MB)."""
    by_place = {(device["npu_id"], device["chip"]): device for device in devices}
    for line in text.splitlines():
        row = cells(line)
        place = row[0].split() if len(row) >= 4 else []
        if len(place) == 2 and "".join(place).isdigit() and row[1].isdigit():
            device = by_place.get((int(place[0]), int(place[1])))
            if device is not None:
                used = int(row[3]) * MIB if row[3].isdigit() else None
                name = None if row[2] in NOT_TOLD else row[2]
                device["processes"].append({"pid": int(row[1]), "used_bytes": used, "name": name})


def findings(device: dict[str, Any]) -> tuple[list[str], list[str]]:
    """(problems, notes) of one NPU."""
    problems, notes = [], []
    where = "NPU %d chip %d%s" % (device["npu_id"], device["chip"], " (%s)" % device["id"] if device["id"] else "")
    if device["health"] == "Unknown":
        notes.append("%s does not tell its health" % where)
    elif device["health"].upper() != "OK":
        problems.append(
            "%s is in health %s; see `npu-smi info -t health -i %d` and the BMC, and move its services"
            % (where, device["health"], device["npu_id"])
        )
    if device["memory_total_bytes"] is None:
        notes.append("%s does not tell its memory; what fits is not checked on it" % where)
    return problems, notes


def parse_version_info(text: str) -> dict[str, str]:
    """version.info: `Key=value` lines. Keys are case sensitive: Version, not ascendhal_version."""
    return dict(re.findall(r"^([\w.]+)=(.*?)\s*$", text, re.M))


def version_key(text: str) -> list[tuple[int, str]]:
    """`7.7.0.6.236`, `25.0.rc1.1` -> something that sorts as versions do; a letter part sorts before a number."""
    parts = re.findall(r"\d+|[a-z]+\d*", text.lower())
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def fits(version: str, ranges: str) -> bool | None:
    """Is a version inside one of `[low,high],[low,high]`? Both ends count, the upper with whatever follows. None: no ranges."""
    pairs = re.findall(r"\[([^\[\],]+),([^\[\],]+)\]", ranges)
    if not pairs or not version:
        return None
    key = version_key(version)
    for low, high in pairs:
        top = version_key(high)
        if version_key(low) <= key and key[: len(top)] <= top:
            return True
    return False


def install_path(root: str) -> str:
    """Where driver and firmware lie below root. The file that tells is written before the installation: no proof of one."""
    told = read(os.path.join(root, "etc/ascend_install.info"))
    found = re.search(r"^Driver_Install_Path_Param=(\S+)", told, re.M | re.I)
    return found.group(1).lstrip("/") if found else "usr/local/Ascend"


def version_info(root: str, kind: str) -> dict[str, str]:
    """version.info of the driver or the firmware, which its installer writes last; empty where there is none."""
    return parse_version_info(read(os.path.join(root, install_path(root), kind, "version.info")))


def versions(root: str) -> tuple[dict[str, Any], list[str]]:
    """Driver and firmware as installed, and whether they belong together."""
    driver, firmware = version_info(root, "driver"), version_info(root, "firmware")
    problems = []
    if driver and firmware and fits(firmware.get("Version", ""), driver.get("compatible_version_fw", "")) is False:
        problems.append(
            "firmware %s is none that driver %s works with (%s); install the pair that belongs together"
            % (firmware.get("Version"), driver.get("Version"), driver.get("compatible_version_fw"))
        )
    return {"driver": driver.get("Version"), "firmware": firmware.get("Version")}, problems


def on_pci(root: str) -> list[dict[str, Any]]:
    """Ascend functions in sysfs, and how many NPUs each stands for, whether or not a driver is there."""
    base = os.path.join(root, "sys/bus/pci/devices")
    found = []
    try:
        slots = sorted(os.listdir(base))
    except OSError:
        return []
    for slot in slots:
        at = [
            read(os.path.join(base, slot, name)).strip() for name in ("vendor", "device", "class", "subsystem_device")
        ]
        if at[0] != VENDOR or at[1] not in PCI_DEVICES or not at[2].startswith("0x1200"):
            continue
        if os.path.lexists(os.path.join(base, slot, "physfn")):
            continue  # a virtual function belongs to the card that has it
        duo = at[1] == "0xd500" and at[3] == DUO
        found.append({"bus_id": slot, "name": "Atlas 300I Duo" if duo else PCI_DEVICES[at[1]], "npus": 2 if duo else 1})
    return found


def npu_record(root: str = "/") -> dict[str, Any]:
    """The record of a host with Ascend NPUs. Installed is not live: live is what npu-smi and the device nodes say now."""
    record: dict[str, Any] = cpu_record(root)
    cards = on_pci(root)
    on_bus = sum(card["npus"] for card in cards)
    installed, problems = versions(root)
    record.update(kind="npu", devices=[], count=on_bus, live=False, driver=installed["driver"], problems=problems)
    record["versions"].update(firmware=installed["firmware"], npu_smi=None)
    record["topology"].update(cards=cards)
    code, out, error = run_tool(["npu-smi", "info"], VENDOR_TIMEOUT)
    found = parse_npu_smi(out)
    missing = [n for n in NODES if not os.path.exists(os.path.join(root, "dev", n))]
    record["versions"].update(npu_smi=found["version"])
    if not found["devices"]:
        kind, sentence = why_not(code, out + " " + error, found["version"], cards, installed["driver"], root)
        record[kind].append(sentence)
        record["live"] = bool(found["version"]) and not missing
        return record
    nodes = (
        [d for d in os.listdir(os.path.join(root, "dev")) if re.fullmatch(r"davinci\d+", d)]
        if os.path.isdir(os.path.join(root, "dev"))
        else []
    )
    number_nodes(found["devices"], nodes)
    record.update(devices=found["devices"], count=len(found["devices"]), live=not missing)
    problems += found["problems"]
    record["notes"] += found["notes"]
    if code != 0 or error.strip():
        said = " ".join(error.split())[:200] or "nothing more"
        record["notes"].append("npu-smi ends with exit code %s and says: %s" % (code, said))
    if missing:
        record["pending"].append("/dev/%s is missing: the driver is not loaded whole" % ", /dev/".join(missing))
    if cards and on_bus != len(found["devices"]):
        problems.append(
            "%d NPUs are on the PCI bus and npu-smi lists %d; look at dmesg and the BMC"
            % (on_bus, len(found["devices"]))
        )
    if nodes and len(nodes) != len(found["devices"]):
        problems.append(
            "%d /dev/davinci nodes and %d NPUs in npu-smi; reboot the host" % (len(nodes), len(found["devices"]))
        )
    return record


def not_initialised(root: str) -> tuple[str, str]:
    """`ret is -8005`: the library can't reach the driver. (`pending` or `problems`, what helps), by what this host shows."""
    manager = os.path.join(root, "dev/davinci_manager")
    if os.path.exists(manager) and not os.access(manager, os.R_OK | os.W_OK):
        return "problems", "this user may not open /dev/davinci_manager: become root, or join the group HwHiAiUser"
    inside = any(os.path.exists(os.path.join(root, name)) for name in (".dockerenv", "run/.containerenv"))
    modules = os.path.join(root, "sys/module")
    loaded = any(DRIVER_MODULES.match(name) for name in (os.listdir(modules) if os.path.isdir(modules) else []))
    if inside and loaded and not os.path.exists(manager):
        return (
            "problems",
            "this host is a container without the NPUs' devices: give it /dev/davinci_manager, /dev/devmm_svm, /dev/hisi_hdc and its /dev/davinci devices",
        )
    return (
        "pending",
        "the library and the loaded driver do not go together, as after an upgrade: reboot the host (if it stays: dmesg)",
    )


def why_not(
    code: int | None, text: str, version: str | None, cards: list[dict[str, Any]], driver: str | None, root: str
) -> tuple[str, str]:
    """Why npu-smi lists nothing: (`pending` for what installing or rebooting mends, else `problems`; the sentence)."""
    said = " ".join(text.split())[:300]
    if re.search(r"-8005", text):
        kind, remedy = not_initialised(root)
        return kind, "npu-smi says: %s: %s" % (said, remedy)
    for pattern, remedy in FAILURES:
        if re.search(pattern, text):
            return "problems", "npu-smi says: %s: %s" % (said, remedy)
    table = [cells(line) for line in text.partition("Process id")[0].splitlines()]
    if code == 0 and any(table):
        name = "npu-smi %s" % (version or "of unknown version")
        shown = " / ".join(" ".join(" ".join(row).split()) for row in table if any(row))[:400]
        if not any(row and row[0][:1].isdigit() for row in table):
            return "problems", "%s lists no NPU (%s); look at dmesg and the BMC" % (name, shown)
        return (
            "problems",
            "%s answers in a form that is not known here (%s); please report the output of `npu-smi info`"
            % (name, shown),
        )
    if not cards:
        return "problems", "no Ascend NPU is on the PCI bus of this host (npu-smi: %s)" % (said or "it said nothing")
    if not driver:
        names = ", ".join(sorted({card["name"] for card in cards}))
        return "pending", "%d cards are on the PCI bus (%s) and no driver is installed" % (len(cards), names)
    return "pending", "driver %s is installed and not live (npu-smi: %s)" % (
        driver,
        said or "no NPU, exit code %s" % code,
    )
