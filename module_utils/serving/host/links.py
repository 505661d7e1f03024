"""Do the hosts that run a service together reach each other? Each listens and calls at once. Linux, standard library only, Python 3.8.

A host listens on the group's port `check` and on one that the kernel chooses, as the engine's own connections do, and tells who calls the second
one. Through that a caller sends for a moment as fast as it can: a path that loses large packets lets small ones pass, and what arrives is the link's
rate. Several hosts send at once, as their engines will.
"""

from __future__ import annotations

import glob
import json
import os
import socket
import threading
import time
from typing import Any

from ansible.module_utils.serving.host.system import run_tool

BLOCK = 256 << 10  # bytes
SENDING = 0.25  # seconds: an engine that serves meanwhile waits no longer than for a long prompt
ONE = 5.0  # seconds for one connection
TRIPS = 5  # connections of which the fastest one is the round trip: a busy host answers some late
STAGES = (
    "the port `check`, %d, is not reached",
    "a port that the kernel chose there is not reached",
    "large packets don't arrive: the MTU differs on the way, and nobody tells",
)
CLOCKS = 5.0  # seconds that two clocks may be apart
LEAST = ("driver", "engine")  # of `about`, what must be the same; others are not compared


# What a host says of itself, and of what type that is.
FORM: dict[str, Any] = {"rank": int, "port": int, "time": (int, float), "about": dict, "mtu": int}


def line(stream: Any) -> dict[str, Any]:
    """What another host says of itself; empty where another program says something else."""
    try:
        found = json.loads(stream.readline(65536) or b"{}")
    except RecursionError:
        return {}
    whole = isinstance(found, dict) and {"rank", "port", "time"} <= set(found)
    right = whole and all(isinstance(found[key], kind) for key, kind in FORM.items() if key in found)
    return found if right and 0 < found["port"] < 65536 else {}


class Meeting:
    """What one host learns of the others."""

    def __init__(self, group: dict[str, Any], about: dict[str, Any]) -> None:
        self.group, self.about = group, about
        self.address, self.port = group["address"], int(group["ports"]["check"])
        self.family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
        self.called: dict[int, dict[str, Any]] = {}  # by rank: who has called here, and what it said
        self.reached: dict[int, dict[str, Any]] = {}
        self.faults: dict[int, tuple[int, str]] = {}  # how far a call came (STAGES), and what it met there
        self.rates: dict[int, float] = {}  # bytes a second
        self.trips: dict[int, float] = {}  # seconds there and back
        self.mtu = mtu_of(group["interface"] or interface_of(self.address))
        self.large = self.listener(0)
        self.done = False

    def listener(self, port: int) -> socket.socket:
        found = socket.socket(self.family, socket.SOCK_STREAM)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((self.address, port))
        found.listen(16)
        found.settimeout(0.5)
        return found

    def said(self) -> bytes:
        words = {
            "rank": self.group["rank"],
            "time": time.time(),
            "port": self.large.getsockname()[1],
            "about": self.about,
            "mtu": self.mtu,
        }
        return json.dumps(words).encode() + b"\n"

    def serve(self, listener: socket.socket, large: bool) -> None:
        while not self.done:
            try:
                caller, address = listener.accept()
            except OSError:
                continue
            with caller:
                caller.settimeout(ONE)
                try:
                    if address[0] in self.group["addresses"]:
                        self.answer(caller, large)
                except (OSError, ValueError):
                    continue

    def answer(self, caller: socket.socket, large: bool) -> None:
        with caller.makefile("rb") as stream:
            if large:
                while stream.read1(BLOCK):
                    pass
            else:
                words = dict(line(stream), seen=time.time())
                if "rank" in words:
                    self.called[int(words["rank"])] = words
            caller.sendall(self.said())

    def call(self, rank: int) -> None:
        """Reach one other host on both ports; `faults` says how far it came where it doesn't."""
        place, own, stage = self.group["addresses"][rank], (self.address, 0), 0
        try:
            trips = [self.trip(place, own) for _ in range(TRIPS)]
            with socket.create_connection((place, self.port), ONE, source_address=own) as link:
                link.sendall(self.said())
                with link.makefile("rb") as stream:
                    began = time.time()
                    words = dict(line(stream), seen=began)
            if words.get("rank") != rank:
                raise ValueError("another program answers there")
            stage = 1
            with socket.create_connection((place, int(words["port"])), ONE, source_address=own) as link:
                stage = 2
                sent, block, called = 0, bytes(BLOCK), time.monotonic()
                while not sent or time.monotonic() - called < SENDING:
                    link.sendall(block)
                    sent += BLOCK
                link.shutdown(socket.SHUT_WR)
                with link.makefile("rb") as stream:
                    line(stream)
                self.rates[rank] = sent / (time.monotonic() - called)
        except (OSError, ValueError, KeyError) as error:
            if stage >= self.faults.get(rank, (0, ""))[0]:  # once the other host has met all, it is gone
                self.faults[rank] = (
                    stage,
                    str(error.strerror if isinstance(error, OSError) and error.strerror else error),
                )
            return
        self.trips[rank] = min(trips)
        self.reached[rank] = words

    def trip(self, place: str, own: tuple[str, int]) -> float:
        """Seconds that a connection takes, which the kernels make among themselves."""
        began = time.monotonic()
        with socket.create_connection((place, self.port), ONE, source_address=own):
            return time.monotonic() - began


def slowest(met: Meeting) -> tuple[float, float] | None:
    """(bytes a second, seconds there and back) of the slowest link from here; None where none was reached."""
    return (min(met.rates.values()), max(met.trips.values())) if met.rates else None


def interface_of(address: str) -> str:
    """The interface that has an address; empty if none has, or the host can't tell."""
    code, text, _ = run_tool(["ip", "-o", "address", "show", "to", address])
    words = text.split()
    return words[1].partition("@")[0] if code == 0 and words[1:] else ""


def mtu_of(interface: str) -> int:
    try:
        with open("/sys/class/net/%s/mtu" % interface, encoding="ascii") as source:
            return int(source.read())
    except (OSError, ValueError):
        return 0


def adapters(root: str = "/sys/class/infiniband") -> list[str]:
    """RDMA adapters with a port that is up, each with the kind of its link: `mlx5_0 (InfiniBand)`."""
    found: list[str] = []
    for path in sorted(glob.glob(root + "/*/ports/*")):
        said = {}
        for name in ("state", "link_layer"):
            try:
                with open(os.path.join(path, name), encoding="ascii") as source:
                    said[name] = source.read().strip()
            except OSError:
                said[name] = ""
        name = path.split(os.sep)[-3]
        if "ACTIVE" in said["state"] and not any(one.startswith(name + " ") for one in found):
            found.append(
                "%s (%s)" % (name, {"Ethernet": "RoCE"}.get(said["link_layer"], said["link_layer"] or "unknown link"))
            )
    return found


def transport(kind: str, runtime: str, rdma: bool, interface: str, there: list[str]) -> str:
    """What carries the engine's traffic to other hosts, and why it is not RDMA where that is there."""
    over = "TCP over %s" % (interface or "the interface of group_address")
    if kind == "npu":
        return "HCCL over the NPUs' own ports, and %s to set it up" % over
    if kind == "cpu" or not there:
        return over + ("; RDMA adapters are for GPUs" if there else "; no RDMA adapter is up here")
    if runtime == "container" and not rdma:
        return "%s; %s would carry it faster: set rdma: true in the row" % (over, ", ".join(there))
    return "RDMA by %s, set up over %s" % (", ".join(there), interface or "the interface of group_address")


def name_of(group: dict[str, Any], rank: int) -> str:
    return "%s (%s)" % (group["members"][rank], group["addresses"][rank])


def meet(group: dict[str, Any], about: dict[str, Any], seconds: float) -> Meeting:
    """Listen and call until all have met, at most so many seconds. OSError where the host can't listen there."""
    found = Meeting(group, about)
    watch = found.listener(found.port)
    for listener, large in ((watch, False), (found.large, True)):
        threading.Thread(target=found.serve, args=(listener, large), daemon=True).start()
    others = [rank for rank in range(int(group["size"])) if rank != group["rank"]]
    until = time.monotonic() + seconds
    while time.monotonic() < until and (len(found.reached) < len(others) or not set(others) <= set(found.called)):
        for rank in [one for one in others if one not in found.reached]:
            found.call(rank)
        time.sleep(0.2)
    time.sleep(1.0)  # whoever is late has still somebody to call
    found.done = True
    watch.close()
    found.large.close()
    return found


def problems(service: str, met: Meeting) -> list[str]:
    """What is wrong between this host and the others, a sentence each."""
    group, found = met.group, []
    for rank in range(int(group["size"])):
        if rank == group["rank"]:
            continue
        other = name_of(group, rank)
        words = met.reached.get(rank)
        if words is None:
            stage, why = met.faults.get(rank, (0, "no answer"))
            found.append(
                "service '%s': this host does not reach %s: %s (%s); open hosts_port and net.ipv4.ip_local_port_range between the hosts, or correct "
                "group_address or the MTU"
                % (service, other, STAGES[stage] % met.port if not stage else STAGES[stage], why)
            )
            continue
        if rank not in met.called:
            found.append(
                "service '%s': %s does not reach this host at %s; the firewall of one of the two lets one way pass"
                % (service, other, met.address)
            )
        apart = float(words["time"]) - float(words["seen"])
        if abs(apart) > CLOCKS:
            found.append(
                "service '%s': the clock of %s is %.0f s from this host's; set both by NTP" % (service, other, apart)
            )
        theirs = words.get("about") or {}
        for key in sorted({*theirs, *met.about} & set(LEAST)):
            if theirs.get(key) != met.about.get(key):
                found.append(
                    "service '%s': %s is %s here and %s on %s; the hosts of one service must have the same"
                    % (service, key, met.about.get(key), theirs.get(key), other)
                )
    return found
