"""Have a host's harness ask a whole data set, call after call: each is bounded, and goes on where the one before ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

TURN = 300  # seconds of one call
AT_ONCE = 1000  # answers that are scored in one call
Module = Callable[[str, dict[str, Any]], dict[str, Any]]


def whole_set(
    module: Module, name: str, items: Sequence[dict[str, Any]], tokens: int, python: str, tell: Callable[[str], None]
) -> dict[str, Any]:
    """The harness's result once nothing is left, or once a call has brought nothing more. `tell` gets a line a call."""
    rows = [{key: item[key] for key in ("id", "messages", "expect")} for item in items]
    fresh = True  # answers of an earlier verdict are none of this one's; those of one that was killed are
    while True:
        given = {"python": python, "set": name, "items": rows, "longest": tokens, "seconds": TURN, "fresh": fresh}
        found, fresh = module("harness", given), False
        have = len(found["answers"])
        tell(
            f"  data set {name}: {have} of {len(rows)} items are answered"
            + (f"; {found['problem']}" if found["problem"] else "")
        )
        if have == len(rows) or have <= found["before"]:
            return found


def scored(
    module: Module,
    known: str,
    items: Sequence[Mapping[str, Any]],
    answers: Mapping[str, Mapping[str, Any]],
    python: str,
) -> dict[str, dict[str, Any]]:
    """The answers to a set that evalscope knows, each with what evalscope reads out of it: {read, right}. One that its limit cut is wrong unread."""
    rows = [
        {key: item[key] for key in ("id", "expect", "choices") if key in item} | {"text": answers[item["id"]]["text"]}
        for item in items
        if item["id"] in answers and answers[item["id"]].get("finish") != "length"
    ]
    found: dict[str, dict[str, Any]] = {}
    for start in range(0, len(rows), AT_ONCE):
        given = {"python": python, "known": known, "rows": rows[start : start + AT_ONCE]}
        found.update(module("data_set", given)["scores"])
    return {key: {**answer, **found.get(key, {"read": "", "right": False})} for key, answer in answers.items()}
