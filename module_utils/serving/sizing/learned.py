"""What starts on this host have taught: a record of predictions and what their logs said, and the correction for the next one.

The record is advice. It never changes a choice that is pinned; a host without it predicts from the constants alone.
"""

from __future__ import annotations

import os
from statistics import median
from typing import Any

from ansible.module_utils.serving.files import read_json, write_json

KEPT = 100  # starts
NAME = "starts.json"
FAMILY = ("board", "engine", "tensor", "pipeline", "eager")
SAME = ("model", "max_num_seqs", "max_num_batched_tokens", "lora_slots", "lora_rank", *FAMILY)


def starts(root: str) -> list[dict[str, Any]]:
    """Starts on this host, oldest first; none where the record is damaged."""
    try:
        rows = (read_json(os.path.join(root, NAME)) or {}).get("starts")
    except (OSError, ValueError, AttributeError):
        return []
    return (
        [row for row in rows if isinstance(row, dict) and isinstance(row.get("key"), dict)]
        if isinstance(rows, list)
        else []
    )


def remember(root: str, row: dict[str, Any]) -> bool:
    """Add one start, once for each process. False if it was there."""
    rows = starts(root)
    if any(before.get("start") == row["start"] for before in rows):
        return False
    write_json(os.path.join(root, NAME), {"starts": [*rows, row][-KEPT:]})
    return True


def alike(row: dict[str, Any], key: dict[str, Any], names: tuple[str, ...]) -> bool:
    return all(row["key"].get(name) == key.get(name) for name in names)


def correction(rows: list[dict[str, Any]], key: dict[str, Any]) -> int:
    """Bytes of KV cache that starts like `key` left beyond the uncorrected prediction: of the same settings, else the median of their family."""
    known = [
        row
        for row in rows
        if isinstance(row.get("measured"), dict) and "cache_bytes" in row["measured"] and row.get("predicted")
    ]

    def over(row: dict[str, Any]) -> int:
        return int(row["measured"]["cache_bytes"] - row["predicted"]["cache_bytes"])

    same = [row for row in known if alike(row, key, SAME)]
    if same:
        return over(same[-1])
    family = [over(row) for row in known if alike(row, key, FAMILY)]
    return int(median(family)) if family else 0


def seconds(rows: list[dict[str, Any]], key: dict[str, Any]) -> float | None:
    """Seconds from start to first answer of the last start of the same model and widths here."""
    found = [row for row in rows if row.get("ready_seconds") and alike(row, key, ("model", *FAMILY))]
    return float(found[-1]["ready_seconds"]) if found else None
