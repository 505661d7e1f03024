"""A service that several hosts run together, as one of its hosts knows it: group.json, which group.py keeps beside the releases."""

from __future__ import annotations

import os
import re
from typing import Any

from ansible.module_utils.serving.files import read_json

# Names of hints about ranks that miss each other; how Gloo, NCCL, HCCL and torch write an address and its port.
OF_LINKS = ("gloo", "nccl", "hccl", "rendezvous", "peer-lost", "address-not-here")
PEER = re.compile(r"(?P<address>[\d.]{7,15}|[\da-fA-F:]{3,39})[\])]?(?:[:<]|, ?|\], ?port\[| port )(?P<port>\d{2,5})\b")


def part(folder: str, group: dict[str, Any], run: dict[str, Any]) -> dict[str, Any]:
    """{rank, leader, members, state, missing, interface, addresses, ports}.

    `state` is waiting, running, answering or ending; starting where this run has not said it yet.
    """
    try:
        said = read_json(os.path.join(folder, "group.json")) or {}
    except ValueError:
        said = {}
    mine = said if isinstance(said, dict) and said.get("pid") == run["pid"] else {}
    return {
        "rank": group["rank"],
        "leader": group["leader"],
        "members": group["members"],
        "state": mine.get("state") or "starting",
        "missing": mine.get("missing") or [],
        "interface": mine.get("interface") or group.get("interface"),
        "addresses": group.get("addresses") or [],
        "ports": group.get("ports") or {},
    }


def problem(found: dict[str, Any]) -> str | None:
    """What keeps this host's part from being ready; None for a first host that may be asked, and for a follower that follows."""
    if found["missing"]:
        return "it waits for " + ", ".join(found["missing"])
    if found["state"] == "ending":
        return "its engine ends and is restarted, because another host of it is gone or it did not answer"
    if found["rank"] and found["state"] != "answering":
        return "its first host, %s, has no answer yet" % found["leader"]
    return None


def words(found: dict[str, Any]) -> str:
    return "follows %s" % found["leader"]


def between(found: dict[str, Any], hint: str | None, text: str) -> str | None:
    """The interface and the ports, for an error by which ranks on several hosts missed each other: whom it names, and where they meet."""
    if not hint or not hint.startswith(OF_LINKS):
        return None
    own = found["addresses"][found["rank"]]
    words = "this host has %s%s" % (own, " on %s" % found["interface"] if found["interface"] else "")
    named = next((match for match in PEER.finditer(text) if match.group("address") in found["addresses"]), None)
    if named:
        address = named.group("address")
        words += ", and the error names %s (%s) port %s" % (
            found["members"][found["addresses"].index(address)],
            address,
            named.group("port"),
        )
    return "%s; the hosts meet at %s ports %d and %d, then on ports %s of each other" % (
        words, found["addresses"][0], found["ports"]["master"], found["ports"]["watch"], local_ports(),
    )  # fmt: skip


def local_ports() -> str:
    """The range from which connections take their ports here."""
    try:
        with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as source:
            return "-".join(source.read().split())
    except OSError:
        return "of net.ipv4.ip_local_port_range"
