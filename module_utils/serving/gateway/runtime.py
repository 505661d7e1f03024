"""HAProxy on this host: its version, its runtime API, and a reload that cuts nothing."""

from __future__ import annotations

import csv
import os
import re
import shutil
import socket
import time
from collections.abc import Callable
from typing import Any

from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.files import write_atomic
from ansible.module_utils.serving.host.system import PLACES, TIMEOUT, run_tool

LEAST = (2, 6)
ANSWER_SECONDS = 10
LOOK = 0.2  # seconds between two looks at what changes
GRACE = 5.0  # seconds for which whoever asks a master process that loads anew may be refused or cut off
AGAIN = 5.0  # seconds: a master that is still starting a worker loses the next order (HAProxy 2.6)
ENGINE_SECONDS = 120  # a start on a busy container engine
ENGINE_FAILED = (125, 126, 127)  # codes of `docker run` for what the engine itself could not do
NO_STATES = "1\n"  # a server-state-file without a server
ACME = "acme"  # where the questions of an ACME server go: no backend of a model
TAKEN_OUT = 0x01 | 0x08  # srv_admin_state of `show servers state`: maintenance or drain, by an order


def ran(command: list[str]) -> tuple[int | None, str, str]:
    """As run_tool. Raises Refusal where `command` begins with docker and the engine itself could not run HAProxy."""
    container = command[0] == "docker"
    code, out, error = run_tool(command, ENGINE_SECONDS if container else TIMEOUT)
    if container and (code is None or code in ENGINE_FAILED):  # None: it is not there, or did not answer in time
        words = " ".join((error or out).split())[-600:]
        remedy = "; lower gateway_connections, or let Docker open more files" if "rlimit" in words else ""
        raise Refusal("the container engine can't run the gateway's HAProxy: %s%s" % (words, remedy))
    return code, out, error


def installed(command: list[str]) -> tuple[int, ...] | None:
    """The version of the HAProxy that `command` starts, such as (2, 6, 12); None where it does not run."""
    code, out, _ = ran([*command, "-v"])
    match = re.search(r"[Vv]ersion (\d+(?:\.\d+)+)", out)
    return tuple(int(part) for part in match.group(1).split(".")) if code == 0 and match else None


def started_as(program: str) -> list[str]:
    """The words with which a supervisor starts it."""
    if os.path.isabs(program):
        return [program]
    # Its whole path: another PATH of who runs this is no other program.
    places = os.pathsep.join([os.environ.get("PATH", os.defpath), *PLACES.get(program, ())])
    return [shutil.which(program, path=places) or program]


def version(command: list[str], name: str) -> str:
    """HAProxy's version as text, of the one that `command` starts. Raises Refusal where it is missing or too old; `name` is its own there."""
    found = installed(command)
    if found is None:
        raise Refusal("%s does not run on this host; install haproxy 2.6 or later" % name)
    text = ".".join(map(str, found))
    if found[:2] < LEAST:
        raise Refusal(
            "%s is HAProxy %s, but the gateway needs 2.6 or later; name a later one in %s"
            % (
                name,
                text,
                "gateway_image"
                if command[0] == "docker"
                else "gateway_haproxy, or have it run in a container: gateway_runtime",
            )
        )
    return text


def command(path: str, text: str) -> str:
    """One command of the runtime API. Raises OSError where nobody listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as api:
        api.settimeout(ANSWER_SECONDS)
        api.connect(path)
        api.sendall((text + "\n").encode())
        api.shutdown(socket.SHUT_WR)  # the master process goes on listening else
        parts: list[bytes] = []
        while True:
            part = api.recv(65536)
            if not part:
                return b"".join(parts).decode("utf-8", "replace")
            parts.append(part)


def of_master(master: str, text: str) -> str:
    """What the master process answers. It is asked for a while: one that loads a configuration refuses, or ends without a word. Raises OSError."""
    until = time.monotonic() + GRACE
    while True:
        try:
            answer = command(master, text)
            if answer:
                return answer
            raise ConnectionResetError("HAProxy's master process said nothing")
        except OSError:
            if time.monotonic() >= until:
                raise
        time.sleep(0.1)


def worker(path: str) -> int | None:
    """Process id of the worker that answers at this socket, None where none does."""
    try:
        match = re.search(r"^Pid: (\d+)", command(path, "show info"), re.M)
    except OSError:
        return None
    return int(match.group(1)) if match else None


def servers(path: str) -> list[dict[str, Any]]:
    """Each backend: {pool, name, status, out, sessions, queued, check, agent}. Raises OSError.

    `out`: an order has taken it out. Its status doesn't tell: one that is drained and fails its checks is DOWN there.
    """
    orders = admin_states(command(path, "show servers state"))
    return [
        {
            "pool": row["pxname"],
            "name": row["svname"],
            "status": row["status"],
            "out": bool(orders.get((row["pxname"], row["svname"]), 0) & TAKEN_OUT),
            "sessions": int(row["scur"] or 0),
            "queued": int(row["qcur"] or 0),
            "check": row.get("check_status", ""),
            "agent": row.get("agent_status", ""),
        }
        for row in stat_rows(command(path, STATS))
        if row["pxname"] != ACME
    ]


def server(path: str, name: str) -> dict[str, Any] | None:
    """The backend of `servers` that has this name."""
    return next((row for row in servers(path) if row["name"] == name), None)


def until(true: Callable[[], Any], seconds: float) -> bool:
    """Look again and again: whether it came true in this time."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(LOOK)
    return True


STATS = "show stat -1 4 -1"  # all proxies, servers alone


def stat_rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.lstrip("# ").splitlines()))


def answered(path: str, pool: str, name: str) -> tuple[int, int]:
    """(requests that the backend has ended, those of them that failed or were cut) since HAProxy's worker began."""
    for row in stat_rows(command(path, STATS)):
        if (row["pxname"], row["svname"]) == (pool, name):
            failed = int(row["hrsp_5xx"] or 0) + int(row["eresp"] or 0) + int(row["srv_abrt"] or 0)
            ended = sum(int(row["hrsp_%dxx" % first] or 0) for first in (1, 2, 3, 4, 5))
            return max(ended, failed), failed
    return 0, 0


def limit_of(path: str, pool: str, name: str) -> int:
    """Requests that a backend gets at a time; 0 for any number."""
    rows = stat_rows(command(path, STATS))
    return next((int(row["slim"] or 0) for row in rows if (row["pxname"], row["svname"]) == (pool, name)), 0)


def admin_states(text: str) -> dict[tuple[str, str], int]:
    """{(pool, backend): srv_admin_state} of `show servers state`."""
    rows = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    return {(row[1], row[3]): int(row[6]) for row in rows if len(row) > 6 and row[6].isdigit()}


def addresses(text: str) -> dict[tuple[str, str], str]:
    """{(pool, backend): host:port} of `show servers state`."""
    rows = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    return {(row[1], row[3]): joined(row[4], row[18]) for row in rows if len(row) > 18}


def address_of(path: str, pool: str, name: str) -> str:
    """host:port at which HAProxy reaches a backend now; empty where it has none of that name."""
    return addresses(command(path, "show servers state")).get((pool, name), "")


def joined(host: str, port: str) -> str:
    return "[%s]:%s" % (host, port) if ":" in host else "%s:%s" % (host, port)


def readdress(path: str, pool: str, name: str, at: str) -> bool:
    """Have a backend reached at this host:port, until the next configuration says so too. Whether that changed. Raises Refusal where HAProxy won't."""
    host, _, port = at.rpartition(":")
    try:  # HAProxy takes a name in its configuration alone
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    except OSError as problem:
        raise Refusal("the gateway can't look up %s, the address of backend '%s': %s" % (host, name, problem)) from None
    numbers = [str(row[4][0]) for row in found]
    if address_of(path, pool, name) in [joined(number, port) for number in numbers]:
        return False
    said = command(path, "set server %s/%s addr %s port %s" % (pool, name, numbers[0], port)).strip()
    if "no need to change" in said and "changed from" not in said:
        return False
    if "changed from" not in said:
        raise Refusal("HAProxy did not take %s as the address of backend '%s': %s" % (at, name, said[:200]))
    return True


def old_workers(master: str) -> list[str]:
    """Process ids of workers of before a reload, which still have streams; none where no master process runs. Raises Refusal where it doesn't say."""
    try:
        listed = of_master(master, "show proc").partition("# old workers")[2].partition("# programs")[0]
    except (FileNotFoundError, ConnectionRefusedError):
        return []
    except OSError as problem:
        raise Refusal(
            "HAProxy's master process does not say at %s which workers it has (%s); run this again, or restart the gateway's HAProxy"
            % (master, problem)
        ) from None
    return re.findall(r"^(\d+)\s+worker", listed, re.M)


def of_worker(master: str, pid: str, text: str) -> str:
    """What one of them answers to a command; nothing where it has ended meanwhile. Raises Refusal where it goes on and says nothing."""
    try:
        return of_master(master, "@!%s %s" % (pid, text))
    except OSError as problem:
        if pid not in old_workers(master):
            return ""
        raise Refusal(
            "HAProxy's old worker %s still has connections and does not answer at %s (%s); run this again, or end it: kill %s"
            % (pid, master, problem, pid)
        ) from None


def of_old_workers(master: str, text: str) -> list[str]:
    """What each of them answers to a command."""
    return [of_worker(master, pid, text) for pid in old_workers(master)]


def map_rows(text: str) -> dict[str, str]:
    """{key: value} of a map's file."""
    return dict(line.split(None, 1) for line in text.splitlines() if " " in line)


def known_rows(text: str) -> dict[str, str]:
    """The same of `show map`, in which a reference stands before each key."""
    return map_rows("\n".join(line.partition(" ")[2] for line in text.splitlines() if line.startswith("0x")))


def old_sessions(master: str, pool: str, name: str) -> int:
    """Requests that workers of before a reload still have at this backend."""
    rows = [row for text in of_old_workers(master, STATS) for row in stat_rows(text)]
    return sum(int(row["scur"] or 0) for row in rows if row.get("svname") == name and row.get("pxname") == pool)


def check(command: list[str], config: str) -> None:
    """Raises Refusal with the words of the HAProxy that `command` starts where it would not take the configuration."""
    code, out, error = ran([*command, "-c", "-f", config])
    if code != 0:
        words = [line for line in (error + out).splitlines() if "ALERT" in line] or (error + out).splitlines()
        raise Refusal("HAProxy refuses the configuration, so the old one goes on: %s" % " | ".join(words)[:1500])


def save_states(path: str, states: str) -> None:
    """Keep who is up, drained or in maintenance for the next worker."""
    try:
        text = command(path, "show servers state")
    except OSError:
        text = NO_STATES
    write_atomic(states, text.encode(), 0o600)


def ask_reload(master: str) -> None:
    """As SIGUSR2 to the master process, which may be in a container and have another number there. Raises Refusal where nobody listens."""
    try:
        of_master(master, "show proc")  # it has loaded what it was asked to before
        command(master, "reload")
    except (FileNotFoundError, ConnectionRefusedError):
        raise Refusal(
            "the gateway's HAProxy can't be asked at %s; start it: systemctl restart vllm-gateway-haproxy" % master
        ) from None
    except OSError:
        pass  # it is loading, and has closed the connection


def reload(path: str, master: str, seconds: float = 30.0) -> None:
    """Have the master start a new worker; the old one ends with its last stream. Raises Refusal where the new one does not come."""
    before = worker(path)
    until = time.monotonic() + seconds
    asked = -AGAIN
    while time.monotonic() < until:
        if time.monotonic() - asked >= AGAIN:
            ask_reload(master)
            asked = time.monotonic()
        now = worker(path)
        if now is not None and now != before:
            return
        time.sleep(0.2)
    raise Refusal("HAProxy took no new configuration in %d s; the old worker goes on, and its log says why" % seconds)
