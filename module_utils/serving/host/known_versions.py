"""Known good and known bad combinations of versions: rows of versions.yml against a host and a service. Standard library only, Python 3.8."""

from __future__ import annotations

import re
from typing import Any

from ansible.module_utils.serving.host.npus import version_key

VERSIONS = ("driver", "firmware", "cuda", "kernel", "engine_version")
WORDS = ("kind", "board", "arch", "engine", "runtime", "image")


def satisfies(version: str, wanted: str) -> bool:
    """Does a version satisfy `>=25.0 <25.2` (all terms), or equal `25.2.0`?"""
    key = version_key(version)
    for term in str(wanted).split():
        found = re.match(r"(>=|<=|>|<|=|)(.+)", term)
        sign, other = (found.group(1), version_key(found.group(2))) if found else ("", [])
        good = {">=": key >= other, "<=": key <= other, ">": key > other, "<": key < other}.get(sign, key == other)
        if not good:
            return False
    return True


def facts(record: dict[str, Any], service: dict[str, Any]) -> dict[str, Any]:
    """What rows may speak of."""
    versions = record.get("versions") or {}
    found = {key: service.get(key) for key in ("board", "engine", "engine_version", "runtime", "image")}
    if service.get("runtime") != "container":
        found["image"] = None
    return {
        **found, "kind": record.get("kind"), "arch": record.get("arch"), "driver": record.get("driver"),
        "firmware": versions.get("firmware"), "cuda": versions.get("cuda"), "kernel": versions.get("kernel"),
    }  # fmt: skip


def matches(row: dict[str, Any], known: dict[str, Any]) -> bool:
    """Does a row speak of this combination? What the host does not tell matches nothing."""
    versions = all(known.get(key) and satisfies(str(known[key]), row[key]) for key in VERSIONS if key in row)
    words = all(known.get(key) and re.search(r"^(?:%s)" % row[key], str(known[key])) for key in WORDS if key in row)
    return versions and words


def bad(rows: list[dict[str, Any]], record: dict[str, Any], service: dict[str, Any]) -> list[str]:
    """Why this combination is known not to work, each with its remedy and source."""
    known = facts(record, service)
    return [
        "service '%s': %s; %s (%s)" % (service["service"], row["text"], row["remedy"], row["source"])
        for row in rows
        if row["verdict"] == "bad"
        and matches(row, known)
        and not set(row.get("unless_env", ())) & set(service.get("env") or {})
    ]


def pairs(rows: list[dict[str, Any]]) -> dict[str, str]:
    """{driver: firmware} that were released together, of the rows for NPUs."""
    return {
        row["driver"]: row["firmware"]
        for row in rows
        if row["verdict"] == "good" and row.get("kind") == "npu" and row.get("driver") and row.get("firmware")
    }
