"""What kind of system a host is: os-release, packages, services. Standard library only, Python 3.8."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess

from ansible.module_utils.serving.host.cpu import read

TIMEOUT = 60  # seconds
# Eight GPUs without persistence mode are initialised anew by each call of nvidia-smi: a minute is not rare.
VENDOR_TIMEOUT = 180
GRACE = 5  # seconds that a killed tool gets to end
# Where vendors' tools lie beside PATH, which sudo shortens.
PLACES = {
    "npu-smi": ("/usr/local/bin", "/usr/local/sbin"),
    "nvidia-smi": ("/usr/lib/wsl/lib",),
    "haproxy": ("/usr/local/sbin", "/usr/sbin"),  # an ordinary user's PATH has neither
}


def os_release(root: str = "/") -> dict:
    """/etc/os-release -> {id, version, major, codename, name, like, family, key}; `key` is such as debian-12 or rocky-9."""
    text = read(os.path.join(root, "etc/os-release")) or read(os.path.join(root, "usr/lib/os-release"))
    found = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and re.fullmatch(r"[A-Z_]+", name.strip()):
            found[name.strip()] = value.strip().strip("\"'")
    ident, version = found.get("ID", "").lower(), found.get("VERSION_ID", "")
    major = version.split(".")[0]
    like = [ident, *found.get("ID_LIKE", "").lower().split()]
    apt = bool({"debian", "ubuntu"} & set(like))
    dnf = bool({"rhel", "fedora", "centos", "amzn", "openeuler"} & set(like))
    # Distributions whose minor number is a release of its own; the others live by their major.
    whole = ident in ("ubuntu", "openeuler")
    return {
        "id": ident or None,
        "version": version or None,
        "major": major or None,
        "codename": found.get("VERSION_CODENAME") or None,
        "name": found.get("PRETTY_NAME") or None,
        "family": "apt" if apt else "dnf" if dnf else None,
        "key": "%s-%s" % (ident, version if whole else major) if ident and version else None,
    }


def run_tool(command: list, timeout: int = TIMEOUT) -> tuple[int | None, str, str]:
    """(exit code, stdout, stderr); code None, and the reason as stderr, where the tool is not there or does not answer in time.

    A tool that waits inside a broken driver can't even be killed: it is left behind after a moment, so that we never hang with it.
    Messages are English whatever the host speaks.
    """
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *PLACES.get(os.path.basename(command[0]), ())])
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PATH": path, "LC_ALL": "C"},
            start_new_session=True,
        )
    except FileNotFoundError:
        return None, "", "%s is not installed" % command[0]
    except OSError as error:
        return None, "", "%s can't be run (%s)" % (command[0], error.strerror)
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        left = "" if end(process) else ", and can't be ended: it waits inside the kernel"
        return None, "", "%s did not answer within %d s%s" % (command[0], timeout, left)
    return process.returncode, out.decode("utf-8", "replace"), err.decode("utf-8", "replace")


def end(process: subprocess.Popen) -> bool:
    """Kill a tool and what it started; False where the kernel keeps it."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        process.kill()
    try:
        process.wait(timeout=GRACE)
    except subprocess.TimeoutExpired:
        return False
    finally:
        for stream in (process.stdout, process.stderr):
            if stream:
                stream.close()
    return True


def clock_synchronised() -> bool | None:
    """Does systemd call the clock synchronised? None where it doesn't say."""
    said = run_tool(["timedatectl", "show", "-p", "NTPSynchronized", "--value"])[1].strip()
    return {"yes": True, "no": False}.get(said)


def numbers(version: str | None) -> tuple:
    """`5:26.1.5-1~deb` -> (26, 1, 5): what versions are compared by. Empty for what has none."""
    text = re.sub(r"^\d+:", "", version or "")
    return tuple(int(part) for part in re.findall(r"\d+", re.split(r"[-+~ ]", text.lstrip("vV"))[0]))


def installed(patterns: list) -> dict:
    """{package: {version, held}} of installed packages whose names match one of the regular expressions."""
    wanted = re.compile("|".join("(?:%s)" % p for p in patterns))
    found = {}
    if shutil.which("dpkg-query"):
        _, text, _ = run_tool(["dpkg-query", "-W", "-f", "${Package}\t${Version}\t${db:Status-Abbrev}\n"])
        for line in text.splitlines():
            name, version, status = [*line.split("\t"), "", ""][:3]
            if status[1:2] == "i" and wanted.fullmatch(name):
                found[name] = {"version": version, "held": status[:1] == "h"}
    elif shutil.which("rpm"):
        _, text, _ = run_tool(["rpm", "-qa", "--qf", "%{NAME}\t%{EPOCH}:%{VERSION}-%{RELEASE}\n"])
        locks = read("/etc/dnf/plugins/versionlock.list")
        for line in text.splitlines():
            name, _, version = line.partition("\t")
            if wanted.fullmatch(name):
                found[name] = {"version": version.replace("(none):", ""), "held": name in locks}
    return found


def unit_states(units: list) -> dict:
    """{unit: {active, enabled}} from systemd; `inactive` and `absent` where there is none."""
    _, text, _ = run_tool(["systemctl", "show", "-p", "Id,ActiveState,UnitFileState,LoadState", *units])
    blocks = [dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in text.split("\n\n")]
    states = {}
    for unit in units:
        found = next((block for block in blocks if block.get("Id") == unit), {})
        there = found.get("LoadState") == "loaded"
        states[unit] = {
            "active": found.get("ActiveState", "inactive") if there else "inactive",
            "enabled": (found.get("UnitFileState") or "static") if there else "absent",
        }
    return states
