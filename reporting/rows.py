"""What the plan knows of a service, put beside what its host said of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

HIDDEN = re.compile(r"(?i)key|token|secret|passw|credential|auth")


def settings(record: Mapping[str, Any]) -> dict[str, str]:
    """Options and variables of the engine, as text. A variable named like a secret shows no value: secrets belong into secret_env."""
    found = {str(key): text(value) for key, value in (record.get("engine_args") or {}).items()}
    for key, value in (record.get("env") or {}).items():
        found[f"env {key}"] = "(hidden)" if HIDDEN.search(str(key)) else text(value)
    return dict(sorted(found.items()))


def text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def completed(report: Mapping[str, Any], plan: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The report with each service's settings, engine version, image and devices.

    A service that went back to an earlier release does not run its row, so nothing of the row is said of it.
    """
    records = {record.get("service"): record for record in plan}
    devices = report.get("devices") or {}
    rows = []
    for row in report.get("services") or []:
        name = row.get("service")
        record = records.get(name)
        back = any(str(words).startswith(f"{name}: ") for words in report.get("returned") or [])
        more: dict[str, Any] = {"device_names": (devices.get(name) or {}).get("devices")}
        if record and not back:
            more |= {
                "settings": settings(record),
                "engine_version": record.get("options_version") or record.get("engine_version"),
                "image_name": record.get("image"),
            }
        rows.append({**row, **more})
    return {**report, "services": rows}
