"""What a host with NVIDIA GPUs lacks: driver, fabric manager, CDI, holds. Standard library only, Python 3.8.

`look` reads the host, `wanted` says which packages there should be, `assess` compares. The last two are pure.
Sources: NVIDIA Driver Installation Guide r590 (names and pinning), packages.ubuntu.com, DeepOps 3957a42f, NVIDIA Container Toolkit 1.20.
"""

from __future__ import annotations

import os
import platform
import re
from typing import Any

from ansible.module_utils.serving.host.cpu import read
from ansible.module_utils.serving.host.findings import Findings
from ansible.module_utils.serving.host.gpus import on_pci
from ansible.module_utils.serving.host.nvidia_smi import read_log, version
from ansible.module_utils.serving.host.system import (
    VENDOR_TIMEOUT,
    clock_synchronised,
    installed,
    numbers,
    os_release,
    run_tool,
    unit_states,
)

TOOLKIT = "1.20.0"  # CDI refreshed by a unit since 1.18; container escapes before 1.17.8
TOOLKIT_FLOOR = (1, 17, 8)
PATTERNS = [
    r"(lib)?nvidia-.*", r"linux-(modules|objects|signatures)-nvidia-.*", r"cuda-drivers.*", r"datacenter-gpu-manager.*",
    r"kmod-nvidia-.*", r"unattended-upgrades",
]  # fmt: skip
HOLD = r"(lib)?nvidia-.*|linux-(modules|objects|signatures)-nvidia-.*|cuda-drivers.*|datacenter-gpu-manager.*|kmod-nvidia-.*"
UNITS = [
    "nvidia-persistenced.service",
    "nvidia-fabricmanager.service",
    "nvidia-cdi-refresh.service",
    "nvidia-cdi-refresh.path",
]
FLAVOURS = ("aws", "azure", "gcp", "oracle", "nvidia")
# Where each system's driver comes from: one origin, chosen once. Mixing two is the classic failure.
ORIGINS = {
    "ubuntu-22.04": "distribution", "ubuntu-24.04": "distribution", "debian-12": "nvidia",
    "rocky-9": "nvidia", "almalinux-9": "nvidia", "rhel-9": "nvidia",
}  # fmt: skip
REPOSITORIES = {"debian-12": "debian12", "ubuntu-22.04": "ubuntu2204", "ubuntu-24.04": "ubuntu2404", "rocky-9": "rhel9",
                "almalinux-9": "rhel9", "rhel-9": "rhel9"}  # fmt: skip


def secure_boot(root: str) -> bool | None:
    """Is Secure Boot on? None where the firmware doesn't say. The variable's fifth byte is its value (UEFI 2.10, 32.3)."""
    base = os.path.join(root, "sys/firmware/efi/efivars")
    try:
        name = next(n for n in os.listdir(base) if n.startswith("SecureBoot-"))
        with open(os.path.join(base, name), "rb") as source:
            return source.read(5)[4:5] == b"\x01"
    except (OSError, StopIteration):
        return None


def cdi_devices(root: str) -> list[str]:
    """Names of NVIDIA's GPUs in CDI files: nvidia-ctk writes them one a line. Numbers and `all`; uuids are left out."""
    found = set()
    for folder in ("etc/cdi", "var/run/cdi", "run/cdi"):
        base = os.path.join(root, folder)
        try:
            files = sorted(os.listdir(base))
        except OSError:
            continue
        for name in files:
            text = read(os.path.join(base, name))
            if re.search(r"kind\"?\s*:\s*\"?nvidia\.com/gpu", text):
                found.update(re.findall(r"(?m)^[\s\-{\"]*name\"?\s*:\s*[\"']?(\d+|all)[\"']?\s*,?\s*$", text))
                found.update(re.findall(r"\"name\"\s*:\s*\"(\d+|all)\"", text))
    return sorted(found)


def look(root: str = "/") -> dict[str, Any]:
    """Everything about the GPUs' software that this host tells."""
    kernel = platform.release() if root == "/" else read(os.path.join(root, "proc/sys/kernel/osrelease")).strip()
    _, switches = on_pci(root)
    code, on_disk, _ = run_tool(["modinfo", "-F", "version", "nvidia"])
    log = read_log(*run_tool(["nvidia-smi", "-q", "-x"], VENDOR_TIMEOUT))
    ctk = run_tool(["nvidia-ctk", "--version"])[1]
    return {
        "os": os_release(root),
        "kernel": kernel,
        "arch": platform.machine(),
        "switches": switches,
        "packages": installed(PATTERNS),
        "loaded": read(os.path.join(root, "sys/module/nvidia/version")).strip() or None,
        "on_disk": on_disk.strip() or None if code == 0 else None,
        "library": version(log.root, "driver_version") if log.root is not None else None,
        "smi": log.said[:200],
        "nouveau": os.path.isdir(os.path.join(root, "sys/module/nouveau")),
        "secure_boot": secure_boot(root),
        "units": unit_states(UNITS),
        "persistence": run_tool(["systemctl", "show", "-p", "ExecStart", "nvidia-persistenced.service"])[1].strip(),
        "toolkit": (re.search(r"version (\d[\d.]*)", ctk) or [None, None])[1],
        "cdi": cdi_devices(root),
        "clock": clock_synchronised(),
    }


def flavour(kernel: str) -> str:
    """Ubuntu's name of the running kernel's kind: generic, aws, azure, ..."""
    last = kernel.rsplit("-", 1)[-1]
    return last if last in FLAVOURS else "generic"


def wanted(state: dict[str, Any], branch: int, origin: str, containers: bool) -> list[str]:
    """Packages of a driver branch, by the naming scheme of its time and place."""
    key, nvswitch = state["os"]["key"] or "", bool(state["switches"])
    headers = "linux-headers-%s" % state["kernel"]
    names: list[str] = []
    if state["os"]["family"] == "dnf":
        names = [
            "kernel-devel-%s" % state["kernel"],
            "kernel-headers",
            "@nvidia-driver:%d-open%s" % (branch, "/fm" if nvswitch else ""),
        ]
    elif origin == "distribution":  # Canonical's: modules are built and signed for each kernel, no compiler on the host
        names = [
            "linux-modules-nvidia-%d-server-open-%s" % (branch, flavour(state["kernel"])),
            "nvidia-headless-no-dkms-%d-server-open" % branch,
            "nvidia-utils-%d-server" % branch,
        ]
        names += ["nvidia-fabricmanager-%d" % branch, "libnvidia-nscq-%d" % branch] if nvswitch else []
    elif branch >= 590:  # NVIDIA's repository: no branch in the names any more, a package pins it
        names = [
            headers,
            "nvidia-driver-pinning-%d" % branch,
            "nvidia-kernel-open-dkms" if key.startswith("debian") else "nvidia-dkms-open",
        ]
        names += ["nvidia-driver-cuda" if key.startswith("debian") else "libnvidia-compute", "nvidia-persistenced"]
        names += ["nvidia-fabricmanager"] if nvswitch else []
    elif key.startswith("debian"):
        names = [
            headers,
            "nvidia-kernel-open-dkms=%d.*" % branch,
            "nvidia-driver-cuda=%d.*" % branch,
            "nvidia-persistenced=%d.*" % branch,
        ]
        names += ["nvidia-fabricmanager-%d=%d.*" % (branch, branch)] if nvswitch else []
    else:
        names = [headers, "nvidia-dkms-%d-open" % branch, "nvidia-utils-%d" % branch, "libnvidia-compute-%d" % branch]
        names += ["nvidia-fabricmanager-%d" % branch] if nvswitch else []
    if containers:
        names.append(
            "nvidia-container-toolkit-base" + ("=%s-1" % TOOLKIT if state["os"]["family"] == "apt" else "-%s" % TOOLKIT)
        )
    return names


def persist_command(shown: str) -> str:
    """The command line of nvidia-persistenced's unit that keeps the GPUs initialised; empty where it does so already.

    Ubuntu's unit has --no-persistence-mode: the daemon runs, and persistence mode stays off. `shown`: systemctl show -p ExecStart.
    """
    found = re.search(r"argv\[\]=([^;]*?)\s*;", shown)
    words = found.group(1).split() if found else []
    if "--no-persistence-mode" not in words:
        return ""
    return " ".join("--persistence-mode" if word == "--no-persistence-mode" else word for word in words)


def branch_of(version: str | None) -> int | None:
    parts = numbers(version)
    return parts[0] if parts else None


def fabric_manager(packages: dict[str, Any]) -> str | None:
    """Version of the installed fabric manager, without its packaging revision."""
    for name, row in sorted(packages.items()):
        if re.fullmatch(r"nvidia-fabricmanager(-\d+)?", name):
            return re.split(r"[-+~]", re.sub(r"^\d+:", "", row["version"]))[0]
    return None


def packages_due(state: dict[str, Any], given: dict[str, Any], origin: str | None, found: Findings) -> list[str]:
    """Packages to install: a driver where there is none, or another branch or the newest is wanted, the container toolkit beside one."""
    driver, manage, branch = driver_of(state), given["manage_driver"], given["branch"]
    lacks_toolkit = given["containers"] and not state["toolkit"]  # one that is there may be newer, and stays
    if not driver and not manage:
        found.problems.append(
            "no NVIDIA driver is installed; install branch %d by hand, or set manage_driver: true" % branch
        )
    elif not driver and origin is None:
        found.problems.append(
            "no NVIDIA driver is installed, and this version installs none on %s; install one by hand"
            % (state["os"]["key"] or "this system")
        )
    elif not driver:
        found.pending.append("the driver is to be installed")
        return wanted(state, branch, origin or "nvidia", given["containers"])
    elif manage and given["upgrade"] and branch_of(driver) != branch:
        found.pending.append("driver %s is to become branch %d" % (driver, branch))
        return wanted(state, branch, origin or "nvidia", lacks_toolkit)
    elif manage and given["renew"]:
        found.pending.append("driver %s is to become the newest of branch %d" % (driver, branch))
        return wanted(state, branch, origin or "nvidia", lacks_toolkit)
    elif lacks_toolkit and manage:
        found.pending.append("nvidia-container-toolkit is to be installed")
        names = wanted(state, branch, origin or "nvidia", True)
        return [name for name in names if name.startswith("nvidia-container-toolkit")]
    elif lacks_toolkit and not state["cdi"]:
        found.problems.append(
            "nvidia-container-toolkit is not installed, so no CDI file names the GPUs; install %s or later, or set manage_driver: true"
            % TOOLKIT
        )
    return []


def driver_of(state: dict[str, Any]) -> str | None:
    """The version of the driver that is there, loaded or not."""
    found: str | None = state["library"] or state["loaded"] or state["on_disk"]
    return found


def check_secure_boot(state: dict[str, Any], origin: str | None, todo: list[str], found: Findings) -> None:
    signed = origin == "distribution" and (state["os"]["key"] or "").startswith("ubuntu")
    if todo and state["secure_boot"] and not signed:
        found.problems.append(
            "Secure Boot is on, and a module that is built on this host has a key that the firmware does not know: enrol one "
            "(mokutil --import /var/lib/dkms/mok.pub, then confirm at the console while booting), or turn Secure Boot off"
        )


def check_module(state: dict[str, Any], found: Findings) -> bool:
    """Is the driver that is loaded the one that is installed? True where a reboot would mend that."""
    if not driver_of(state):
        return False
    if state["nouveau"]:
        found.pending.append("nouveau is loaded and keeps the GPUs")
    versions = {
        "loaded module": state["loaded"],
        "module on disk": state["on_disk"],
        "user-space library": state["library"],
    }
    told = {name: version for name, version in versions.items() if version}
    if len(set(told.values())) > 1:
        found.pending.append("the driver's versions differ (%s)" % ", ".join("%s %s" % row for row in told.items()))
        return True
    if state["on_disk"] and not state["loaded"]:
        found.pending.append("driver %s is installed and not loaded" % state["on_disk"])
        return True
    if state["smi"] and not state["library"]:
        found.problems.append(
            "nvidia-smi does not answer (%s); look at dmesg for Xid, reset the GPU or have it replaced" % state["smi"]
        )
    return bool(state["nouveau"])


def check_fabric(state: dict[str, Any], todo: list[str], found: Findings) -> None:
    """A board with NVSwitches needs a fabric manager of exactly the driver's version, running."""
    driver = driver_of(state)
    if not state["switches"] or not driver:
        return
    manager, unit = fabric_manager(state["packages"]), state["units"]["nvidia-fabricmanager.service"]
    if manager and manager != driver:
        found.problems.append(
            "nvidia-fabricmanager is %s and the driver is %s: it refuses to start, and CUDA answers error 802 while nvidia-smi looks healthy; "
            "install exactly the driver's version" % (manager, driver)
        )
    elif unit["active"] != "active":
        (found.pending if todo else found.problems).append(
            "this board has NVSwitches and nvidia-fabricmanager is %s; install %s of it and start it (journalctl -u nvidia-fabricmanager)"
            % (unit["active"] if unit["enabled"] != "absent" else "not installed", driver)
        )


def check_containers(state: dict[str, Any], given: dict[str, Any], todo: list[str], found: Findings) -> None:
    """Do containers get the GPUs, and nothing beyond?"""
    if not given["containers"]:
        return
    if state["toolkit"] and numbers(state["toolkit"]) < TOOLKIT_FLOOR:
        found.problems.append(
            "nvidia-container-toolkit %s lets containers escape (CVE-2025-23266); upgrade it to %s"
            % (state["toolkit"], TOOLKIT)
        )
    missing = [str(i) for i in range(given["count"] or 0) if str(i) not in state["cdi"]]
    if driver_of(state) and missing and not todo and (state["toolkit"] or state["cdi"]):
        found.problems.append(
            "CDI does not name GPU %s; systemctl restart nvidia-cdi-refresh, then nvidia-ctk cdi list"
            % ", ".join(missing)
        )


def packages_to_hold(state: dict[str, Any], manage: bool, found: Findings) -> list[str]:
    """Packages of the driver that an automatic upgrade could swap under what runs, and that are ours to hold."""
    loose = sorted(name for name, row in state["packages"].items() if re.fullmatch(HOLD, name) and not row["held"])
    if manage:
        return loose
    if loose and "unattended-upgrades" in state["packages"]:
        found.problems.append(
            "unattended-upgrades may swap the driver's libraries under running services (%s); apt-mark hold them, or set manage_driver: true"
            % ", ".join(loose[:5])
        )
    return []


def assess(state: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """{packages, hold, persist, ..., problems, pending}: what to install, what to hold, and what is wrong with its remedy.

    `persist`: is the unit of nvidia-persistenced to be told to keep the GPUs initialised?
    `pending` is what installing or rebooting would mend; with manage_driver it is no problem before that was done.
    """
    found, driver, manage = Findings(), driver_of(state), given["manage_driver"]
    key = state["os"]["key"]
    origin = given["origin"] if given["origin"] != "auto" else ORIGINS.get(key or "")
    todo = packages_due(state, given, origin, found)
    check_secure_boot(state, origin, todo, found)
    reboot = check_module(state, found)
    check_fabric(state, todo, found)
    check_containers(state, given, todo, found)
    if state["clock"] is False:
        found.problems.append(
            "the clock is not synchronised, and TLS and tokens need that; systemctl enable --now systemd-timesyncd or chrony"
        )
    hold = packages_to_hold(state, manage, found)
    unit, command = state["units"]["nvidia-persistenced.service"], persist_command(state.get("persistence", ""))
    idle = unit["enabled"] != "absent" and (unit["enabled"] not in ("enabled", "static") or bool(command))
    return {
        "driver": driver,
        "origin": origin,
        "repository": REPOSITORIES.get(key or ""),
        "packages": todo,
        "hold": hold,
        "persist": bool(driver and manage and idle),
        "persist_command": command,
        "reboot_required": reboot and not todo,
        "pending": found.pending,
        "problems": found.problems,
    }
