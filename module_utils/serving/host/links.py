"""Do the hosts that run a service together reach each other? Each listens and calls at once. Linux, standard library only, Python 3.8.

A host listens on the group's port `check` and on one that the kernel chooses, as the engine's own connections do, and tells who calls the second
one. Through that a caller sends as much as fills many packets: a path that loses large ones lets small ones pass.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from typing import Any

LARGE = 256 << 10  # bytes
ONE = 5.0  # seconds for one connection
CLOCKS = 5.0  # seconds that two clocks may be apart
LEAST = ("driver", "engine")  # of `about`, what must be the same; others are not compared


def line(stream: Any) -> dict[str, Any]:
    found = json.loads(stream.readline(65536) or b"{}")
    return found if isinstance(found, dict) else {}


class Meeting:
    """What one host learns of the others."""

    def __init__(self, group: dict[str, Any], about: dict[str, Any]) -> None:
        self.group, self.about = group, about
        self.address, self.port = group["address"], int(group["ports"]["check"])
        self.family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
        self.called: dict[int, dict[str, Any]] = {}  # by rank: who has called here, and what it said
        self.reached: dict[int, dict[str, Any]] = {}
        self.faults: dict[int, str] = {}
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
                stream.read(LARGE)
            else:
                words = dict(line(stream), seen=time.time())
                self.called[int(words.get("rank", -1))] = words
            caller.sendall(self.said())

    def call(self, rank: int) -> None:
        """Reach one other host on both ports. OSError, or ValueError where somebody else answers."""
        place, own = self.group["addresses"][rank], (self.address, 0)
        with socket.create_connection((place, self.port), ONE, source_address=own) as link:
            link.sendall(self.said())
            with link.makefile("rb") as stream:
                began = time.time()
                words = dict(line(stream), seen=began)
        if words.get("rank") != rank:
            raise ValueError("another program answers there")
        with socket.create_connection((place, int(words["port"])), ONE, source_address=own) as link:
            link.sendall(bytes(LARGE))
            with link.makefile("rb") as stream:
                line(stream)
        self.reached[rank] = words


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
            try:
                found.call(rank)
            except (OSError, ValueError, KeyError) as error:
                found.faults[rank] = str(error.strerror if isinstance(error, OSError) and error.strerror else error)
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
            found.append(
                "service '%s': this host does not reach %s on port %d or on the one that it chose there (%s); open both between the hosts (%s), "
                "or correct group_address; if only large packets are lost, the MTU differs on the way"
                % (
                    service,
                    other,
                    met.port,
                    met.faults.get(rank, "no answer"),
                    "net.ipv4.ip_local_port_range and hosts_port",
                )
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
