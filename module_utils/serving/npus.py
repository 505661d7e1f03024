"""Ascend NPUs: `npu-smi info`, version.info and PCI ids -> the record. Standard library only, Python 3.8.

npu-smi prints a table for people. Its columns differ in width from driver to driver and from chip to chip, so rows are split
at `|` and never by offset. On a 300I Duo each card is one NPU id with two chips, the ids are neither small nor
contiguous, power is NA, and the number behind the chip is the N of /dev/davinciN.
"""

from __future__ import annotations

import os
import re
from typing import Any

from ansible.module_utils.serving.accelerators import cpu_record, read
from ansible.module_utils.serving.gpus import run_tool

VENDOR, DEVICE_310P = "0x19e5", "0xd500"
DUO = "0x0110"  # subsystem device: one function on the PCI bus, two chips
NODES = ("davinci_manager", "devmm_svm", "hisi_hdc")
DRIVER_MODULES = re.compile(r"drv_")  # kernel modules of the driver begin so
MIB = 1 << 20
# What npu-smi says when it can't look, and what to do (messages of drivers 23 to 26).
FAILURES = (
    (r"-8020|device is used", "another container or process holds the NPUs exclusively: stop it, or share the devices (npu-smi set -t device-share)"),
    (r"-8005", "the NPUs are held by another container, or this user may not open /dev/davinci*"),
    (r"libc_sec|libdrvdsmi|cannot open shared object", "npu-smi does not find the driver's libraries: is /usr/local/Ascend/driver there?"),
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
    """The last `used / total` of a cell: the memory of a 310, the HBM of a 910."""
    found = re.findall(r"\d{1,9}\s*/\s*\d{1,9}", cell)
    return usage(found[-1]) if found else None


def parse_npu_smi(text: str) -> dict[str, Any]:
    """`npu-smi info` -> {version, devices, problems}. Tables of the 310 and of the 910 series."""
    version = re.search(r"npu-smi\s+(\S+)", text)
    devices: list[dict[str, Any]] = []
    problems: list[str] = []
    first: list[str] = []
    for line in text.splitlines():
        row = cells(line)
        if len(row) < 3 or row[0].startswith(("NPU", "Chip")) or "Process id" in line:
            if row and "Process id" in line:
                break
            continue
        names = row[0].split()
        if not names or not names[0].isdigit():
            continue
        if len(names) == 2 and not names[1].isdigit() and not re.match(r"[0-9a-fA-F]{4}:", row[1]):
            first = row
            continue
        if not first or not re.fullmatch(r"[0-9a-fA-F]{4,8}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-9a-fA-F]|NA|-", row[1]):
            continue
        npu, name = first[0].split()[:2]
        device, wrong = npu_device(len(devices), int(npu), name, first, names, row)
        devices.append(device)
        problems += wrong
        first = []
    return {"version": version.group(1) if version else None, "devices": devices, "problems": problems}


def npu_device(
    order: int, npu: int, name: str, first: list[str], names: list[str], row: list[str]
) -> tuple[dict[str, Any], list[str]]:
    memory = last_usage(row[2])
    node = int(names[1]) if len(names) > 1 and names[1].isdigit() else None
    health = first[1] or "Unknown"
    device = {
        "index": order,
        "name": "Ascend " + name.replace("Ascend", "").strip(),
        "memory_total_bytes": memory[1] if memory else None,
        "memory_used_bytes": memory[0] if memory else None,
        "health": health,
        "id": "davinci%d" % node if node is not None else None,
        "container_id": order,  # what the runtime numbers from 0 inside a container
        "uuid": None,
        "bus_id": row[1].lower() if ":" in row[1] else None,
        "npu_id": npu,
        "chip": int(names[0]),
    }
    problems = []
    where = "NPU %d chip %s (%s)" % (npu, names[0], device["id"] or "no device node")
    if health != "OK":
        problems.append(
            "%s is in health %s; see `npu-smi info -t health -i %d` and the BMC, and move its services"
            % (where, health, npu)
        )
    if memory is None:
        problems.append("%s does not tell its memory" % where)
    return device, problems


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
    """Ascend 310P functions in sysfs, and how many chips each stands for, whether or not a driver is there."""
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
        if at[0] == VENDOR and at[1] == DEVICE_310P and at[2].startswith("0x1200"):
            found.append(
                {
                    "bus_id": slot,
                    "name": "Atlas 300I Duo" if at[3] == DUO else "Ascend 310P",
                    "chips": 2 if at[3] == DUO else 1,
                }
            )
    return found


def npu_record(root: str = "/") -> dict[str, Any]:
    """The record of a host with Ascend NPUs. Installed is not live: live is what npu-smi and the device nodes say now."""
    record: dict[str, Any] = cpu_record(root)
    cards = on_pci(root)
    chips = sum(card["chips"] for card in cards)
    installed, problems = versions(root)
    record.update(kind="npu", devices=[], count=chips, live=False, driver=installed["driver"], problems=problems)
    record["versions"].update(firmware=installed["firmware"], npu_smi=None)
    record["topology"].update(cards=cards)
    code, text = run_tool(["npu-smi", "info"])
    found = parse_npu_smi(text) if code == 0 else {"version": None, "devices": [], "problems": []}
    if not found["devices"]:
        mended, sentence = why_not(code, text, cards, installed["driver"])
        record["pending" if mended else "problems"].append(sentence)
        return record
    missing = [n for n in NODES if not os.path.exists(os.path.join(root, "dev", n))]
    nodes = (
        [d for d in os.listdir(os.path.join(root, "dev")) if re.fullmatch(r"davinci\d+", d)]
        if os.path.isdir(os.path.join(root, "dev"))
        else []
    )
    record.update(devices=found["devices"], count=len(found["devices"]), live=not missing)
    record["versions"].update(npu_smi=found["version"])
    problems += found["problems"]
    if missing:
        record["pending"].append("/dev/%s is missing: the driver is not loaded whole" % ", /dev/".join(missing))
    if cards and chips != len(found["devices"]):
        problems.append(
            "%d chips are on the PCI bus and npu-smi lists %d; look at dmesg and the BMC"
            % (chips, len(found["devices"]))
        )
    if nodes and len(nodes) != len(found["devices"]):
        problems.append(
            "%d /dev/davinci nodes and %d chips in npu-smi; reboot the host" % (len(nodes), len(found["devices"]))
        )
    return record


def why_not(code: int | None, text: str, cards: list[dict[str, Any]], driver: str | None) -> tuple[bool, str]:
    """Why npu-smi lists nothing, and whether installing or rebooting would mend it."""
    said = " ".join(text.split())[:300]
    for pattern, remedy in FAILURES:
        if re.search(pattern, text):
            return False, "npu-smi says: %s. %s" % (said, remedy)
    if not cards:
        return False, "no Ascend 310P is on the PCI bus of this host"
    if not driver:
        names = ", ".join(sorted({card["name"] for card in cards}))
        return True, "%d cards are on the PCI bus (%s) and no driver is installed" % (len(cards), names)
    return True, "driver %s is installed and not live (npu-smi: %s)" % (driver, said or "no chip, exit code %s" % code)
