"""Run one service in the foreground: the process that a supervisor owns. Standard library only.

    foreground.py SERVICE_DIR

Starts `current/start` in the release's own folder and passes SIGTERM on to it alone, so that the engine
drains its requests; an engine that is not done OVERDUE seconds after its time is killed. When it ends, however
it ends, no process of it stays: as child subreaper this process inherits whatever the engine leaves behind
(kill -9 of vLLM leaves EngineCore and its workers, with all their memory) and ends it. A run that was itself
killed is cleaned up by the next start.
An engine that ends with AGAIN is restarted: other hosts of its service are gone, which is no failure of this one.
run.json names the running process, exit.json how the last one ended.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import time

PR_SET_CHILD_SUBREAPER = 36
AGAIN = 75  # as in group.py
OVERDUE = 5  # seconds beyond drain_timeout
GRACE = 5.0  # seconds between SIGTERM and SIGKILL for what the engine left behind


def stat_fields(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from `state` on; empty if the process is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as source:
            return source.read().rpartition(")")[2].split()
    except OSError:
        return []


def processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as source:
        return source.read().strip()


def write(path: str, value: dict) -> None:
    with open(path + ".part", "w", encoding="utf-8") as out:
        json.dump(value, out)
    os.rename(path + ".part", path)


def boottime() -> float:
    """Seconds by the clock of this boot, which nobody sets."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def key_written(folder: str) -> int | None:
    """Of the key file that ./start reads."""
    try:
        return os.stat(os.path.join(folder, "api_key")).st_mtime_ns
    except OSError:
        return None


def ran(folder: str) -> str:
    """The release that this process was last: adapters that were loaded since have made it another one."""
    try:
        with open(os.path.join(folder, "run.json"), encoding="utf-8") as source:
            found = json.load(source)
            return str(found["release"]) if found["pid"] == os.getpid() else ""
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def unasked_ends(folder: str, release: str) -> int:
    """How often this release has ended without being told to, up to now."""
    try:
        with open(os.path.join(folder, "exit.json"), encoding="utf-8") as source:
            last = json.load(source)
        return int(last.get("unasked", 0)) if last["release"] == release else 0
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return 0


def below(pid: int, folder: str) -> bool:
    """Does the process work below this folder?"""
    try:
        return os.path.join(os.readlink(f"/proc/{pid}/cwd"), "").startswith(os.path.join(folder, ""))
    except OSError:
        return False


def end(pids: list[int]) -> None:
    """SIGTERM, a moment, SIGKILL."""
    for number, wait in ((signal.SIGTERM, GRACE), (signal.SIGKILL, GRACE)):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
        until = time.monotonic() + wait
        while time.monotonic() < until and any(stat_fields(pid)[:1] not in ([], ["Z"]) for pid in pids):
            time.sleep(0.05)


def end_leftovers(folder: str) -> None:
    """End what an earlier run left behind: its process group, and only members that work in this service's folder."""
    try:
        with open(os.path.join(folder, "run.json"), encoding="utf-8") as source:
            run = json.load(source)
        if run["boot"] != boot_id():
            return
        group = str(int(run["group"]))
    except (OSError, ValueError, KeyError, TypeError):
        return
    mine = os.getpid()
    left = [p for p in processes() if p != mine and stat_fields(p)[2:3] == [group] and below(p, folder)]
    if left:
        print(f"foreground: ending {len(left)} processes of an earlier run: {left}", flush=True)
        end(left)


def children() -> list[int]:
    me = str(os.getpid())
    return [p for p in processes() if stat_fields(p)[1:2] == [me]]


def reap() -> None:
    """Collect children that have ended."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def end_children() -> None:
    """End and reap everything that is or becomes a child of this process."""
    until = time.monotonic() + 1  # helpers that see the engine gone end by themselves
    while children() and time.monotonic() < until:
        reap()
        time.sleep(0.05)
    until = time.monotonic() + 60
    while (left := children()) and time.monotonic() < until:
        print(f"foreground: ending {len(left)} processes that the engine left behind: {left}", flush=True)
        end(left)
        reap()


def end_container(*words: str) -> None:
    """Run the release's `stop`, if it has one: a container does not end with the client that started it."""
    if os.path.exists("stop"):
        subprocess.run(["/bin/sh", "stop", *words], stdin=subprocess.DEVNULL, check=False)


def drain_seconds() -> int:
    """The time that the release gives to requests in flight."""
    try:
        with open("spec.json", encoding="utf-8") as source:
            return int(json.load(source)["drain_timeout"])
    except (OSError, ValueError, KeyError, TypeError):
        return 60


def main() -> int:
    os.umask(0o022)  # whoever started the supervisor: caches and records stay ours to write and open to read
    folder = os.path.realpath(sys.argv[1])
    end_leftovers(folder)
    release = os.path.realpath(os.path.join(folder, "current"))
    os.chdir(release)
    end_container()
    with contextlib.suppress(OSError):
        os.setpgid(0, 0)
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    child: subprocess.Popen[bytes] | None = None
    stopping = overdue = False
    drain = drain_seconds()

    def forward(*_: object) -> None:
        nonlocal stopping
        stopping = True
        if child is not None:
            child.send_signal(signal.SIGTERM)
            signal.alarm(drain + OVERDUE)

    def kill(*_: object) -> None:
        """Some versions of vLLM wait forever for a request that they have aborted."""
        nonlocal overdue
        overdue = True
        print(
            f"foreground: the engine still runs {OVERDUE} s after the {drain} s that requests get: killing it",
            flush=True,
        )
        if child is not None:
            child.kill()

    signal.signal(signal.SIGALRM, kill)
    signal.signal(signal.SIGTERM, forward)
    signal.signal(signal.SIGINT, forward)
    again = True
    while again:
        shutil.rmtree(os.path.join(folder, "tmp"), ignore_errors=True)
        os.makedirs(os.path.join(folder, "tmp"), mode=0o700, exist_ok=True)
        print(
            f"foreground: starting release {os.path.basename(release)}", flush=True
        )  # releases.last_run cuts the log here
        began, since, key = time.time(), boottime(), key_written(folder)
        child = subprocess.Popen(["./start"], stdin=subprocess.DEVNULL)
        if stopping:  # the signal came while the child was being made
            forward()
        write(
            os.path.join(folder, "run.json"),
            {
                "pid": os.getpid(),
                "ticks": stat_fields(os.getpid())[19],
                "boot": boot_id(),
                "group": os.getpgid(0),
                "release": os.path.basename(release),
                "started": began,
                "boottime": since,
                "key": key,
            },
        )
        code = child.wait()
        signal.alarm(0)
        again = code == AGAIN and not stopping and os.path.exists("group.py")
        end_children()
        end_container(*(["now"] if overdue or again else []))
        again = again and not stopping  # it may have come meanwhile
    name = ran(folder) or os.path.basename(release)
    unasked = unasked_ends(folder, name) + (not stopping)
    write(
        os.path.join(folder, "exit.json"),
        {"code": code, "release": name, "ended": time.time(), "seconds": boottime() - since, "unasked": unasked},
    )
    with contextlib.suppress(OSError):
        os.unlink(os.path.join(folder, "run.json"))
    print(f"foreground: the engine ended with code {code} after {boottime() - since:.0f} s", flush=True)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
