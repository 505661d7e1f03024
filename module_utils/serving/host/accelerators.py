"""What a host computes with, whichever kind of accelerator it is, and the row of `boards` that describes it."""

from __future__ import annotations

import re
from typing import Any

from ansible.module_utils.serving.host import gpus, npus
from ansible.module_utils.serving.host.cpu import cpu_record

KINDS = {"cpu": cpu_record, "gpu": gpus.gpu_record, "npu": npus.npu_record}
VENDORS = {"cpu": "cpu", "gpu": "nvidia", "npu": "ascend"}


def detect(root: str = "/") -> str:
    """The kind of accelerators on the PCI bus, whether or not a driver is there; cpu where there are none that we know."""
    if gpus.on_pci(root)[0]:
        return "gpu"
    return "npu" if npus.on_pci(root) else "cpu"


def accelerator_record(kind: str, root: str = "/") -> dict[str, Any]:
    """The record of a host's accelerators (RETURN of module accelerator_info)."""
    found: dict[str, Any] = KINDS[detect(root) if kind == "auto" else kind](root)
    return found


def board_name(record: dict[str, Any]) -> str:
    """A name for the board: the accelerators' own in small letters and digits, such as nvidia-l4."""
    names = [str(one["name"]) for one in record["devices"] if one.get("name")]
    if record["kind"] == "cpu":
        names = [str(record["cpu"]["model"] or record["arch"])]
    words = re.sub(r"[^a-z0-9]+", "-", re.sub(r"\([^)]*\)|@.*", " ", names[0].lower())).strip("-") if names else ""
    return words[:48].strip("-") or "my-board"


def board_row(record: dict[str, Any]) -> dict[str, Any]:
    """{key: value} of a row that describes what the host has, as far as it tells; sizes are those of the smallest device."""
    row: dict[str, Any] = {"vendor": VENDORS[record["kind"]], "arch": record["arch"]}
    if record["kind"] == "cpu":
        return row
    devices = record["devices"]
    row["count"] = len(devices)
    sizes = [one["memory_total_bytes"] for one in devices if one.get("memory_total_bytes")]
    if sizes and len(sizes) == len(devices):
        row["memory_bytes"] = min(sizes)
    names = sorted({str(one["name"]) for one in devices if one.get("name")})
    if names:
        row["names"] = [re.escape(name).replace("\\ ", " ").replace("\\-", "-") + "$" for name in names]
    if any(len(island) > 1 for island in record["topology"].get("nvlink_islands") or []):
        row["links"] = "nvlink"
    return row


def board_text(record: dict[str, Any]) -> str:
    """The row as YAML to paste into a site's boards.yml, and the line for its host."""
    name = board_name(record)
    lines = ["boards:", "  %s:" % name]
    for key, value in board_row(record).items():
        shown = (
            "[%s]" % ", ".join("'%s'" % one.replace("'", "''") for one in value) if isinstance(value, list) else value
        )
        lines.append("    %s: %s" % (key, shown))
    lines += [
        "    sources: [what accelerator_info read on a host of this site]",
        "",
        "# for the host or its group: board: %s" % name,
    ]
    return "\n".join(lines)
