"""A service that several hosts run together, as one of its hosts knows it: group.json, which group.py keeps beside the releases."""

from __future__ import annotations

import os
from typing import Any

from ansible.module_utils.serving.files import read_json


def part(folder: str, group: dict[str, Any], run: dict[str, Any]) -> dict[str, Any]:
    """{rank, leader, members, state, missing}. `state` is waiting, running, answering or ending; starting where this run has not said it yet."""
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
    }


def problem(found: dict[str, Any]) -> str | None:
    """What keeps this host's part from being ready; None for a first host that may be asked, and for a follower that follows."""
    if found["missing"]:
        return "it waits for " + ", ".join(found["missing"])
    if found["state"] == "ending":
        return "its engine ends and starts anew, because another host of it is gone or it did not answer"
    if found["rank"] and found["state"] != "answering":
        return "its first host, %s, has no answer yet" % found["leader"]
    return None


def words(found: dict[str, Any]) -> str:
    return "follows %s" % found["leader"]
