"""What a host with Ascend NPUs lacks: driver, firmware, user, holds. Standard library only, Python 3.8.

`look` reads the host, `assess` compares it with the packages that the operator has. The second is pure.
Sources: Ascend HDK installation guide (order, flags), install.sh of the open-sourced driver, ascend-deployer, gpustack #3385.
"""

from __future__ import annotations

import grp
import os
import platform
import pwd
import re
from typing import Any

from ansible.module_utils.serving.files import read_json
from ansible.module_utils.serving.host.cpu import read
from ansible.module_utils.serving.host.findings import Findings
from ansible.module_utils.serving.host.npus import DRIVER_MODULES, fits, not_initialised, on_pci, version_info
from ansible.module_utils.serving.host.system import VENDOR_TIMEOUT, clock_synchronised, installed, os_release, run_tool
from ansible.module_utils.serving.processes import boot_id

USER = "HwHiAiUser"
USER_ID = 1000  # the images of AscendHub assume it
STATE = "/var/lib/vllm-ansible/ascend"  # what an interrupted installation leaves: KIND.json
# `Ascend-hdk-310p-npu-driver_25.2.0_linux-aarch64.run`; older ones begin otherwise, and x86 is spelled twice.
NAME = re.compile(
    r"(?P<product>[\w.-]+?)[-_](?P<kind>driver|firmware)_(?P<version>\d[\w.]*?)(?:_linux-(?P<arch>aarch64|x86[-_]64))?\.run"
)
KERNEL = r"linux-(image|headers|modules)-.*|kernel(-core|-devel|-headers|-modules.*)?"
BUILD = {
    "apt": ["gcc", "make", "dkms", "net-tools", "pciutils", "linux-headers-%s"],
    "dnf": ["gcc", "make", "dkms", "net-tools", "pciutils", "tar", "kernel-devel-%s", "kernel-headers-%s"],
}


def parse_name(path: str) -> dict[str, str | None]:
    """{kind, version, arch} of a package, by its file's name; empty for another one."""
    found = NAME.fullmatch(os.path.basename(path))
    if not found:
        return {}
    arch = (found.group("arch") or "").replace("x86-64", "x86_64") or None
    return {"kind": found.group("kind"), "version": found.group("version"), "arch": arch}


def account(root: str) -> dict[str, Any]:
    """The user that Ascend's driver belongs to: {uid, gid} or null, and who else has uid 1000."""
    if root != "/":
        rows = [line.split(":") for line in read(os.path.join(root, "etc/passwd")).splitlines() if line.count(":") >= 6]
        users = {row[0]: (int(row[2]), int(row[3])) for row in rows}
        groups = {line.split(":")[0] for line in read(os.path.join(root, "etc/group")).splitlines()}
    else:
        users = {row.pw_name: (row.pw_uid, row.pw_gid) for row in pwd.getpwall()}
        groups = {row.gr_name for row in grp.getgrall()}
    uid, gid = users.get(USER, (None, None))
    taken = [name for name, (number, _) in users.items() if number == USER_ID and name != USER]
    return {"uid": uid, "gid": gid, "group": USER in groups, "taken_by": taken[0] if taken else None}


def mark_path(root: str, kind: str) -> str:
    return os.path.join(root, STATE.lstrip("/"), kind + ".json")


def read_mark(root: str, kind: str) -> dict[str, Any]:
    """What our last installation of the driver or the firmware has left; a torn mark is one of an installation that was cut."""
    try:
        return dict(read_json(mark_path(root, kind)) or {})
    except ValueError:
        return {"installing": "?"}


def holders(root: str) -> dict[str, str]:
    """{davinciN: container} of running containers of other programs: an NPU serves one container."""
    if root != "/" or run_tool(["docker", "version"])[0] != 0:
        return {}
    _, text, _ = run_tool(["docker", "ps", "--quiet", "--no-trunc"])
    found = {}
    for ident in text.split():
        shape = '{{.Name}} {{index .Config.Labels "vllm-ansible.service"}} {{range .HostConfig.Devices}}{{.PathOnHost}} {{end}}{{.HostConfig.Privileged}}'
        code, row, _ = run_tool(["docker", "inspect", "--format", shape, ident])
        words = row.split()
        nodes = re.findall(r"/dev/(davinci\d+)\b", row)
        ours = len(words) > 1 and not words[1].startswith("/dev/") and words[1] not in ("true", "false", "<no")
        if code == 0 and not ours:
            found.update({node: words[0].lstrip("/") for node in nodes})
    return found


def stale(root: str) -> bool:
    """Does npu-smi say that its library does not reach the loaded driver, and would a reboot mend that?"""
    _, out, error = run_tool(["npu-smi", "info"], VENDOR_TIMEOUT)
    return "-8005" in out + error and not_initialised(root)[0] == "pending"


def look(root: str = "/") -> dict[str, Any]:
    """Everything about the NPUs' software that this host tells."""
    kernel = platform.release() if root == "/" else read(os.path.join(root, "proc/sys/kernel/osrelease")).strip()
    system = os_release(root)
    modules = os.path.join(root, "sys/module")
    dev = os.path.join(root, "dev")
    broken, asked = [], []
    for kind in ("driver", "firmware"):
        mark = read_mark(root, kind)
        broken += [kind] if mark.get("installing") else []
        asked += [kind] if mark.get("reboot_after") and mark["reboot_after"] == boot_id(root) else []
    build = [name % kernel if "%s" in name else name for name in BUILD.get(system["family"] or "", [])]
    there = installed([re.escape(name) for name in build] + [KERNEL, "unattended-upgrades"])
    return {
        "os": system,
        "kernel": kernel,
        "arch": platform.machine(),
        "cards": len(on_pci(root)),
        "driver": version_info(root, "driver"),
        "firmware": version_info(root, "firmware"),
        "interrupted": broken,
        "reboot_asked": asked,
        "loaded": sorted(name for name in (os.listdir(modules) if os.path.isdir(modules) else []) if DRIVER_MODULES.match(name)),
        "nodes": sorted(name for name in (os.listdir(dev) if os.path.isdir(dev) else []) if re.fullmatch(r"davinci\d+", name)),
        "account": account(root),
        "build_missing": [name for name in build if not provided(name, there)],
        "packages": {name: row for name, row in there.items() if re.fullmatch(KERNEL, name)},
        "holders": holders(root),
        "stale": stale(root),
        "clock": clock_synchronised(),
    }  # fmt: skip


def provided(name: str, there: dict[str, Any]) -> bool:
    """Is a package installed? rpm names it `kernel-devel` and has the kernel's release in the version."""
    if name in there:
        return True
    base, _, release = name.partition("-devel-") if "-devel-" in name else name.partition("-headers-")
    row = there.get(base + ("-devel" if "-devel-" in name else "-headers"))
    return bool(row and release and row["version"].split(":")[-1] in release)


def kernel_packages(state: dict[str, Any]) -> list[str]:
    """Packages of the running kernel, whose replacement would leave the driver's modules behind."""
    if state["os"]["family"] == "dnf":
        return sorted(name for name in state["packages"] if name.startswith("kernel"))
    kernel = state["kernel"]
    flavour = kernel.split("-", 2)[-1]
    wanted = {"linux-%s-%s" % (part, tail) for part in ("image", "headers", "modules") for tail in (kernel, flavour)}
    return sorted(wanted & set(state["packages"]))


def check_packages(packages: dict[str, Any], named: dict[str, Any], arch: str, found: Findings) -> None:
    """Are the operator's packages what their place says, for this host and with a digest?"""
    for kind in named:
        row, about, name = packages[kind], named[kind], os.path.basename(packages[kind]["path"])
        if about.get("kind") != kind:
            found.problems.append(
                "ascend_packages.%s is %s, whose name is not that of a %s; expected Ascend-hdk-310p-npu-%s_VERSION….run"
                % (kind, name, kind, kind)
            )
        elif not re.fullmatch(r"[0-9a-f]{64}", row.get("sha256") or ""):
            found.problems.append(
                "ascend_packages.%s.sha256 is missing or no sha256; no vendor list exists, so note it when you download: sha256sum %s"
                % (kind, name)
            )
        elif about["arch"] and about["arch"] != arch:
            found.problems.append("%s is for %s, this host is %s" % (name, about["arch"], arch))
        elif "310p" not in name.lower() and "300i" not in name.lower():
            found.problems.append("%s is not for the 310P of a 300I Duo (its name has neither 310p nor 300i)" % name)


def steps_due(
    state: dict[str, Any],
    given: dict[str, Any],
    here: dict[str, str | None],
    wanted: dict[str, str | None],
    found: Findings,
) -> list[str]:
    """Which of driver and firmware to install, in which order."""
    manage = given["manage_driver"]
    differs = {kind: bool(wanted[kind]) and wanted[kind] != here[kind] for kind in wanted}
    steps: list[str] = []
    if not here["driver"]:
        interrupted = " and the ".join(state["interrupted"])
        why = (
            "the installation of the %s was interrupted" % interrupted if interrupted else "no NPU driver is installed"
        )
        if not manage:
            found.problems.append(
                "%s; install driver and firmware by hand, or set manage_driver: true and ascend_packages" % why
            )
        elif not wanted["driver"]:
            found.problems.append(
                "%s; give its package: ascend_packages: {driver: {path: …, sha256: …}, firmware: {…}} (hiascend.com, product Atlas 300I Duo, format run)"
                % why
            )
        else:
            found.pending.append("%s; %s is to be installed" % (why, wanted["driver"]))
            # The first time the driver goes first; over an installed pair the firmware does.
            steps = ["driver", "firmware"] if not here["firmware"] else ["firmware", "driver"]
    elif manage and given["upgrade"] and any(differs.values()):
        to_be = tuple(wanted[kind] or here[kind] for kind in ("driver", "firmware"))
        found.pending.append(
            "driver %s and firmware %s are to become %s and %s" % (here["driver"], here["firmware"] or "(none)", *to_be)
        )
        steps = ["firmware", "driver"]
    elif not here["firmware"] and manage and wanted["firmware"]:
        found.pending.append("firmware %s is to be installed" % wanted["firmware"])
        steps = ["firmware"]
    elif not here["firmware"]:
        found.problems.append(
            "no firmware is installed beside driver %s; install the one that belongs to it, or set manage_driver: true and ascend_packages.firmware"
            % here["driver"]
        )
    return [kind for kind in steps if differs[kind]]


def check_account(user: dict[str, Any], steps: list[str], found: Findings) -> None:
    """Will the driver's user have the number that Ascend's images assume?"""
    if steps and user["uid"] is None and user["taken_by"]:
        found.notes.append(
            "uid %d, which Ascend's images assume for %s, belongs to %s; it gets another one, and images that run as %d can't use the NPUs"
            % (USER_ID, USER, user["taken_by"], USER_ID)
        )
    elif user["uid"] not in (None, USER_ID):
        found.notes.append(
            "%s has uid %s; Ascend's images that run as uid %d can't use the NPUs" % (USER, user["uid"], USER_ID)
        )


def check_devices(state: dict[str, Any], devices: dict[str, str], found: Findings) -> None:
    """Are the plan's NPUs there, and in nobody else's container?"""
    for index, service in sorted(devices.items()):
        node = "davinci%s" % index
        if state["nodes"] and node not in state["nodes"]:
            found.problems.append(
                "service '%s': its device /dev/%s is not there (there are %s); set devices in overrides to what npu-smi info lists"
                % (service, node, ", ".join(state["nodes"]))
            )
        if node in state["holders"]:
            found.problems.append(
                "service '%s': /dev/%s is held by container %s, and an NPU serves one container; stop that one, or set devices in overrides"
                % (service, node, state["holders"][node])
            )


def reboot_due(state: dict[str, Any], driver: str | None, steps: list[str], found: Findings) -> bool:
    """Would a reboot mend what is installed and doesn't run?"""
    if steps:
        return False
    live = state["loaded"] and state["nodes"]
    if driver and not live and state["cards"]:
        found.pending.append("driver %s is installed and not loaded" % driver)
    elif state["reboot_asked"]:
        found.pending.append("the installer of the %s asks for a reboot" % " and of the ".join(state["reboot_asked"]))
    elif driver and state.get("stale"):
        found.pending.append("npu-smi does not reach driver %s (ret is -8005), as after an upgrade" % driver)
    else:
        return False
    return True


def assess(state: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """{steps, build, hold, reboot_required, problems, pending, notes}: what to run in which order, and what is wrong with its remedy.

    `given`: packages {driver, firmware: {path, sha256}}, manage_driver, upgrade, devices (the plan's, by
    davinci number), pairs (driver to the firmware that was released with it).
    """
    found = Findings()
    packages = {kind: row for kind, row in (given["packages"] or {}).items() if row and row.get("path")}
    named = {kind: parse_name(row["path"]) for kind, row in packages.items() if kind in ("driver", "firmware")}
    here = {kind: state[kind].get("Version") for kind in ("driver", "firmware")}
    here.update(dict.fromkeys(state["interrupted"]))
    wanted = {kind: named.get(kind, {}).get("version") for kind in ("driver", "firmware")}
    check_packages(packages, named, state["arch"], found)
    steps = steps_due(state, given, here, wanted, found)
    found.problems += mismatch(state, here, wanted, steps, given["pairs"], found.notes)
    user = state["account"]
    check_account(user, steps, found)
    check_devices(state, given["devices"] or {}, found)
    if state["clock"] is False:
        found.notes.append("the clock is not synchronised; start systemd-timesyncd or chrony")
    mine = given["manage_driver"] and (here["driver"] or steps)
    return {
        "driver": here["driver"],
        "firmware": here["firmware"],
        "steps": steps,
        "build": state["build_missing"] if "driver" in steps else [],
        "hold": [name for name in kernel_packages(state) if mine and not state["packages"][name]["held"]],
        "user_missing": bool(steps) and user["uid"] is None,
        "user_uid": USER_ID if user["taken_by"] is None else None,
        "reboot_required": reboot_due(state, here["driver"], steps, found),
        "pending": found.pending,
        "problems": found.problems,
        "notes": found.notes,
    }


def mismatch(
    state: dict[str, Any],
    here: dict[str, str | None],
    wanted: dict[str, str | None],
    steps: list[str],
    known: dict[str, str],
    notes: list[str],
) -> list[str]:
    """Would driver and firmware belong together after these steps? Asked before anything is touched."""
    after = {kind: wanted[kind] if kind in steps else here[kind] for kind in ("driver", "firmware")}
    if not after["driver"] or not after["firmware"]:
        return []
    text = "driver %s and firmware %s do not belong together (%s); give the pair that was released together"
    if "driver" not in steps:
        ranges = state["driver"].get("compatible_version_fw", "")
        if fits(after["firmware"], ranges) is False:
            return [text % (after["driver"], after["firmware"], "the driver takes %s" % ranges)]
    elif "firmware" not in steps:
        ranges = state["firmware"].get("compatible_version_drv", "")
        if fits(after["driver"], ranges) is False:
            return [text % (after["driver"], after["firmware"], "the firmware takes %s" % ranges)]
    elif known.get(after["driver"]) != after["firmware"]:
        # Ranges lie inside the packages: the installer checks them, and so does preflight once both are there.
        usual = known.get(after["driver"])
        notes.append(
            "driver %s is seen with firmware %s, not with %s; the installers check the pair themselves"
            % (after["driver"], usual, after["firmware"])
            if usual
            else "driver %s is none whose firmware we know; the installers check the pair themselves" % after["driver"]
        )
    return []
