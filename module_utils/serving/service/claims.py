"""What the services of a host hold now, and what a plan wants: devices, their memory, and ports. Standard library only, Python 3.8.

What a running service of the plan holds is its own or will be given up: for the check that a plan fits, it counts as free.
A service that gives something to another one has to stop before the other starts.
"""

from __future__ import annotations

import os
import urllib.parse
from typing import Any

from ansible.module_utils.serving.host.device_use import Use, as_driver_names, service_pids
from ansible.module_utils.serving.host.devices import Place, number, place
from ansible.module_utils.serving.service import releases


def port_of(spec: dict[str, Any]) -> int | None:
    """The port of a release's endpoint; None where another host has it."""
    if (spec.get("group") or {}).get("rank"):
        return None
    try:
        return urllib.parse.urlsplit(str(spec.get("endpoint"))).port
    except ValueError:
        return None


def own_port(service: dict[str, Any]) -> int | None:
    """The port on which a record's service listens on this host."""
    return None if (service.get("group") or {}).get("rank") else service["port"]


class Claim:
    """One running service: its release's spec and devices (None: its release does not say), its port and its processes."""

    def __init__(self, root: str, name: str, run: dict[str, Any]) -> None:
        self.name, self.run = name, run
        folder = os.path.join(releases.service_dir(root, name), "releases", str(run["release"]))
        self.spec = releases.read_spec(folder) or releases.current_spec(root, name) or {}
        self.devices: list[Any] | None = self.spec.get("devices")
        self.port = port_of(self.spec)
        group = self.spec.get("group") or {}
        among = [] if group.get("rank") else (group.get("ports") or {}).values()
        self.ports = {self.port, *among}
        self.container = bool(self.spec.get("container"))

    def pids(self) -> set[int]:
        found: set[int] = service_pids(self.run, self.spec)
        return found


def claims(root: str) -> dict[str, Claim]:
    """{name: Claim} of every service whose process lives."""
    found = {}
    for name in releases.serving(root):
        run = releases.running_release(root, name)
        if run:
            found[name] = Claim(root, name, run)
    return found


def taken(record: dict[str, Any], use: Use, mine: list[Claim], places: dict[str, Place]) -> dict[int, int]:
    """{number of a device: bytes of it that nobody of `mine` holds}. Exact where the driver shows their processes."""
    pids = {pid: claim.name for claim in mine for pid in claim.pids()}
    seen = {pids[pid] for pid, _, _ in use.processes if pid in pids}
    held: set[str] = set()
    for claim in mine:
        if claim.name in seen:
            continue
        names = claim.devices
        if names is None and claim.name in places:
            names = places[claim.name].names  # a release of before: it runs where its row says, as far as anybody knows
        held.update(as_driver_names(names or [], use) + [str(name) for name in names or []])
    found = {}
    for device in record["devices"]:
        used = device.get("memory_used_bytes") or 0
        known = {str(device.get("uuid")), str(device.get("id")), str(number(device))}
        for pid, name, amount in use.processes:
            if pid in pids and name in known:
                used -= used if amount is None else amount
        found[number(device)] = 0 if known & held else max(0, used)
    return found


def assign(
    plan: list[dict[str, Any]], record: dict[str, Any], slices: list[dict[str, Any]], root: str
) -> dict[str, Place]:
    """{service: Place}. Where a row names no devices, the plan's are a proposal: a service stays where its release has it, so that
    neither the order of `runs` nor a deploy of one service alone moves it, and what a service outside the plan holds is left alone.
    """
    found: dict[str, Place] = {}
    names = {service["service"] for service in plan}
    running = claims(root)
    used = {str(one) for claim in running.values() if claim.name not in names for one in claim.devices or []}
    for service in plan:
        if service["devices"] is not None and service["devices_given"]:
            found[service["service"]] = place(service["devices"], record, slices)
            used.update(map(str, found[service["service"]].names))
    every = sorted(number(device) for device in record["devices"] if device.get("mig") != "Enabled")
    rest = [s for s in plan if s["devices"] is not None and s["service"] not in found]
    # Those that run come first: nobody who is stopped takes their devices back. Then those that have devices, then those that are new.
    rest.sort(key=lambda service: service["service"] not in running)
    for again in (False, True):
        for service in rest:
            name, wide = service["service"], len(service["devices"])
            if name in found:
                continue
            now = (releases.current_spec(root, name) or {}).get("devices") or []
            offers = [now[:wide]] if len(now) >= wide else []
            if again:
                free = [n for n in every if not set(map(str, place([n], record, slices).names)) & used]
                offers += [service["devices"], free[:wide]]
            for offer in offers:
                one = place(offer, record, slices)
                if len(one.names) == wide and not one.problems and not set(map(str, one.names)) & used:
                    found[name] = one
                    used.update(map(str, one.names))
                    break
    for service in rest:
        found.setdefault(
            service["service"], place(service["devices"], record, slices)
        )  # what is wrong with them is said
    return found


def first_to_stop(plan: list[dict[str, Any]], running: dict[str, Claim], places: dict[str, Place]) -> dict[str, str]:
    """{service: why} of those that hold what another service of the plan is to get: they stop before any starts."""
    found = {}
    for service in plan:
        claim = running.get(service["service"])
        if claim is None:
            continue
        name = service["service"]
        held = {str(one) for one in claim.devices or []}
        for other in plan:
            if other["service"] == name:
                continue
            there = places.get(other["service"])
            given = sorted(held & {str(one) for one in there.names}) if there else []
            if given:
                found[name] = "it gives device %s to service '%s'" % (", ".join(given), other["service"])
            elif claim.port and claim.port == own_port(other) != own_port(service):
                found[name] = "it gives port %d to service '%s'" % (other["port"], other["service"])
    return found


def left_over(plan: list[dict[str, Any]], running: dict[str, Claim]) -> list[Claim]:
    """Services that run and that the plan does not name."""
    names = {service["service"] for service in plan}
    return [claim for name, claim in sorted(running.items()) if name not in names]
