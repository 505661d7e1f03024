"""Which devices of a host a plan's names mean. Standard library only, Python 3.8.

A plan names a GPU by its index or UUID, a MIG slice by its UUID, an NPU by the N of /dev/davinciN, a vNPU as vdavinciN.
An index is what the driver counts today: a GPU that is lost renumbers the others. So a release keeps UUIDs where there are any.
"""

from __future__ import annotations

import os
import re
from typing import Any

from ansible.module_utils.serving.host.cpu import read


def number(device: dict[str, Any]) -> int:
    """What a plan calls a device: a GPU's index, an NPU's N of /dev/davinciN."""
    found = re.fullmatch(r"davinci(\d+)", str(device.get("id")))
    return int(found.group(1)) if found else int(device["index"])


def mig_slices(record: dict[str, Any]) -> list[dict[str, Any]]:
    """The MIG slices of a host that have a UUID: [{uuid, profile, card, order, bytes}]; `card` is the UUID of their GPU."""
    return [
        {"uuid": one["uuid"], "profile": one["name"] or "MIG", "card": device["uuid"], "order": order, "bytes": one["memory_total_bytes"]}
        for device in record["devices"]
        for order, one in enumerate(device.get("slices") or [])
        if one["uuid"] and device.get("uuid")
    ]  # fmt: skip


class Place:
    """The devices that a service gets on its host: `names` for its release, `cards` of the record, what is wrong with them."""

    def __init__(self) -> None:
        self.names: list[Any] = []  # UUID where the driver gives one, else what the plan says
        self.numbers: list[Any] = []  # the index, or N of /dev/davinciN; None for what has none
        self.cards: list[dict[str, Any]] = []
        self.slices: list[Any] = []  # the MIG slice, else None
        self.sizes: list[int] = []  # bytes of memory of each, as far as known
        self.problems: list[str] = []


def by_name(name: str, by_uuid: dict[str, dict[str, Any]]) -> dict[str, Any] | None:
    """The GPU of a UUID, or of its first characters where they are one's alone, as the driver takes them too."""
    name = name.lower()
    found = [by_uuid[name]] if name in by_uuid else [by_uuid[uuid] for uuid in by_uuid if uuid.startswith(name)]
    return found[0] if len(found) == 1 and len(name) > len("gpu-") else None


def place(wanted: list[Any] | None, record: dict[str, Any], slices: list[dict[str, Any]], root: str = "/") -> Place:
    """The devices that a plan's names mean on this host. A name that is not there is a problem and keeps its place."""
    noun = "NPU" if record["kind"] == "npu" else "GPU"
    by_number = {number(device): device for device in record["devices"]}
    by_uuid = {str(device["uuid"]).lower(): device for device in record["devices"] if device.get("uuid")}
    parts = {part["uuid"].lower(): part for part in slices}
    there = ", ".join(map(str, sorted(by_number))) or "none"
    found, missing = Place(), []
    for name in wanted or []:
        part = None
        card = by_number.get(name) if isinstance(name, int) else by_name(name, by_uuid)
        if isinstance(name, str) and name.startswith("MIG-"):
            part = parts.get(name.lower())
            card = by_uuid.get(part["card"].lower()) if part else None
            if part is None:
                found.problems.append(
                    "MIG slice %s is not on this host, which has %s; nvidia-smi -L lists them, correct `devices`"
                    % (name, ", ".join("%s (%s)" % (p["uuid"], p["profile"]) for p in slices) or "none")
                )
            else:
                found.sizes += [part["bytes"]] if part["bytes"] else []
            found.names.append(part["uuid"] if part else name)
            found.numbers.append(None)
        elif isinstance(name, str) and name.startswith("vdavinci"):
            if not os.path.exists(os.path.join(root, "dev", name)):
                found.problems.append(
                    "vNPU /dev/%s is not on this host; create it with npu-smi, or correct `devices`" % name
                )
            found.names.append(name)
            found.numbers.append(None)
        else:
            alike = [] if card or isinstance(name, int) else [uuid for uuid in by_uuid if uuid.startswith(name.lower())]
            if len(alike) > 1:
                found.problems.append(
                    "GPU %s is the beginning of %d UUIDs (%s); write one of them in `devices`"
                    % (name, len(alike), ", ".join(str(by_uuid[uuid]["uuid"]) for uuid in alike))
                )
            elif card is None:
                missing.append(str(name))
            elif card.get("mig") == "Enabled":
                mine = ["%s (%s)" % (p["uuid"], p["profile"]) for p in slices if p["card"] == card.get("uuid")]
                found.problems.append(
                    "GPU %d is split into MIG slices; give a service of one rank a slice by its UUID (%s), or switch MIG off: nvidia-smi -i %d -mig 0"
                    % (number(card), ", ".join(mine) or "it has none yet", number(card))
                )
            elif card.get("memory_total_bytes"):
                found.sizes.append(card["memory_total_bytes"])
            found.names.append((card or {}).get("uuid") or name)
            found.numbers.append(number(card) if card else name if isinstance(name, int) else None)
        found.slices.append(part)
        if card is not None:
            found.cards.append(card)
    if missing:
        found.problems.append(
            "%s %s is not on this host, which has %s; correct `runs` or `devices`" % (noun, ", ".join(missing), there)
        )
    doubled = sorted({str(name) for name in found.names if found.names.count(name) > 1})
    if doubled:
        found.problems.append(
            "%s %s is named twice, by index and by UUID; correct `devices`" % (noun, ", ".join(doubled))
        )
    return found


def cdi_text(root: str = "/") -> str:
    """What the CDI files of this host say, all together."""
    found = []
    for folder in ("etc/cdi", "var/run/cdi", "run/cdi"):
        base = os.path.join(root, folder)
        names = sorted(os.listdir(base)) if os.path.isdir(base) else []
        found += [read(os.path.join(base, name)) for name in names]
    return "\n".join(found)


def cdi_names(one: Place, text: str) -> list[str]:
    """What a container asks for: the UUID where a CDI file names it (toolkits since 1.15), else the index; a slice is CARD:ORDER."""
    found = []
    for name, index, card, part in zip(one.names, one.numbers, one.cards, one.slices):  # noqa: B905
        if re.search(r"[\"':\s]%s[\"'\s,]" % re.escape(str(name)), text):
            found.append(str(name))
        else:
            found.append("%d:%d" % (number(card), part["order"]) if part else str(name if index is None else index))
    return found if len(found) == len(one.names) else [str(name) for name in one.names]


def doubled(places: dict[str, Place]) -> list[str]:
    """Devices that two services of a plan share, because one names an index and the other a UUID."""
    holders: dict[str, str] = {}
    found = []
    for service, one in places.items():
        for name in one.names:
            if holders.setdefault(str(name), service) != service:
                found.append(
                    "services '%s' and '%s' both take device %s; correct `devices` of one"
                    % (holders[str(name)], service, name)
                )
    return found
