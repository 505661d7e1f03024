"""Filters for plan.yml: what a deploy would do, as a row, as text and as a page."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent.parent))  # Ansible loads a filter by its path alone

from planning.facts import would_run
from reporting.page import render

GIB = 1 << 30
Row = dict[str, Any]
COLOURS = {
    "weights": "#4477aa", "activations": "#ccbb44", "outside torch": "#aa3377", "CUDA graphs": "#ee6677", "KV cache": "#228833", "processes": "#ccbb44",
    "left": "#bbbbbb",
}  # fmt: skip


def size(count: float | None) -> str:
    """Bytes as a person says them."""
    if count is None:
        return "size not known before the pull"
    for unit, factor in (("TiB", 1 << 40), ("GiB", GIB), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if abs(count) >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count:.0f} bytes"


def wait(seconds: float | None) -> str:
    if seconds is None:
        return "no rate is measured here yet"
    return f"about {seconds / 60:.0f} min" if seconds >= 90 else f"about {seconds:.0f} s"


def plan_row(host: Mapping[str, Any], written: str = "") -> Row:
    """All that plan.yml has found out about a host, from its variables."""
    fit = host["fit_found"]
    made = [host.get("python_runtime_tools") or {}, *((host.get("python_runtime_native") or {}).get("results") or [])]
    facts = host["ansible_facts"]
    return {
        "host": host["inventory_hostname"],
        "written": written,
        "accelerator": fit["record"],
        "problems": fit["problems"],
        "disks": fit["disks"],
        "install": [{"path": one["path"], "reasons": one.get("reasons") or []} for one in made if one.get("changed")],
        "prepare": list(fit["record"].get("pending") or []),
        "services": [{**facts[would_run(name)], "sized": sized} for name, sized in fit["sized"].items()],
        "beside": host["plan_beside"]["beside"],
    }


def bars(sized: Mapping[str, Any]) -> list[Row]:
    """Parts of one device's memory, for a bar: [{what, bytes, share, colour}]; what no row takes is free."""
    total = sized["device_bytes"]
    parts = []
    for row in sized["table"]:
        if row["what"] in ("usable", "given", "learned", "left"):
            continue
        part = max(0, abs(row["bytes"]))
        if (
            row["what"] == "KV cache"
            and row["bytes"] <= 0
            and not any(r["what"] == "processes" for r in sized["table"])
        ):
            continue
        parts.append(
            {
                "what": row["what"],
                "bytes": part,
                "share": 100 * part / total,
                "colour": COLOURS.get(row["what"], "#888888"),
            }
        )
    free = total - sum(part["bytes"] for part in parts)
    if free > 0:
        parts.append({"what": "free", "bytes": free, "share": 100 * free / total, "colour": "#dddddd"})
    scale = max(1.0, sum(part["share"] for part in parts) / 100)
    return [{**part, "share": part["share"] / scale} for part in parts]


def fetch_words(row: Mapping[str, Any]) -> list[str]:
    """What a service still has to get."""
    found = []
    if row["pull"]:
        found.append(f"pull {row['pull']['image']} ({size(row['pull']['bytes'])}) from its {row['pull']['from']}")
    for one in [row["fetch"], *row["adapters"]]:
        if not one:
            continue
        place = f"{one['from']} {one['place'] or ''}".strip() if one["from"] else "no source that is given"
        found.append(f"fetch {size(one['bytes'])} of {one['model']} from {place}, {wait(one['seconds'])}")
    if row["convert"]:
        found.append(f"convert {row['convert']}")
    return found


def service_lines(row: Mapping[str, Any]) -> list[str]:
    """A service of the terminal's form."""
    lines = [f"{row['service']}: {row['action']}"]
    lines += [f"  {words}" for words in fetch_words(row)]
    lines += [f"  why       {reason}" for reason in row["why"][:6]]
    if row["action"] != "nothing":
        lines.append(f"  callers   {row['gap']['how']}")
    lines += [f"  changes   {line}" for line in row["differences"][:8]]
    if row["chosen"]:
        lines.append(
            "  chosen    " + ", ".join(f"{key} {value}" for key, value in row["chosen"].items() if value is not None)
        )
    if row["rights"]:
        lines.append(f"  rights    {', '.join(row['rights'])}")
    sized = row["sized"]
    if sized:
        table = ", ".join(f"{one['what']} {size(one['bytes'])}" for one in sized["table"])
        whole = "the host" if any(one["what"] == "processes" for one in sized["table"]) else "one device"
        lines.append(f"  memory    of {whole}: {table}")
        requests = (
            f", {sized['requests']} requests of full length ({sized['max_model_len']})" if sized["requests"] else ""
        )
        lines.append(f"  KV cache  {sized['tokens']:,} tokens{requests}")
        if sized["speed"]:
            lines.append(f"  estimate  {sized['speed']['words']}")
    return lines


def plan_text(row: Mapping[str, Any], page: str) -> str:
    """What the terminal shows of a host."""
    lines = [f"install {one['path']}: {'; '.join(one['reasons']) or 'it is not there'}" for one in row["install"]]
    lines += [f"prepare {text}" for text in row["prepare"]]
    for one in row["services"]:
        lines += service_lines(one)
    lines += [f"PROBLEM   {text}" for text in row["problems"]]
    lines += [f"beside    {text}" for text in row["beside"]]
    if all(one["action"] == "nothing" for one in row["services"]) and not row["install"] and not row["problems"]:
        lines.append("a deploy would change nothing")
    return "\n".join([*lines, f"page: {page}"])


def plan_page(row: Mapping[str, Any]) -> str:
    """The plan as HTML; what hosts and models say is text there, whatever it contains."""
    return render("plan.html.j2", plan=row, size=size, bars=bars, fetch_words=fetch_words)


class FilterModule:
    """The filters of this file, by name."""

    def filters(self) -> dict[str, Any]:
        return {"plan_row": plan_row, "plan_text": plan_text, "plan_page": plan_page}
