"""The verdict on a release, kept beside the releases: services/<name>/verdict.json, and pending.json while it is still to come."""

from __future__ import annotations

import os
from typing import Any

from ansible.module_utils.serving.files import read_json, write_json
from ansible.module_utils.serving.service.releases import mark_verified, verified

KEPT, PENDING = "verdict.json", "pending.json"


def _read(folder: str, name: str) -> dict[str, Any]:
    try:
        found = read_json(os.path.join(folder, name))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def kept(folder: str, release: str) -> dict[str, Any] | None:
    """The verdict on a release; None if it has none."""
    found = _read(folder, KEPT)
    return found if found.get("release") == release else None


def stale(folder: str, release: str) -> bool:
    """Was another release judged, and this one not?"""
    return _read(folder, KEPT).get("release") not in (None, release)


def keep(folder: str, release: str, verdict: dict[str, Any]) -> None:
    write_json(os.path.join(folder, KEPT), dict(verdict, release=release))


def answered(folder: str, release: str, gated: bool | None) -> None:
    """A release has answered. `gated`: its verdict comes before that counts; None: as the last deploy said."""
    waits = _read(folder, PENDING).get("release") == release
    if gated and release not in verified(folder):
        if not waits:
            write_json(os.path.join(folder, PENDING), {"release": release})
    elif gated is False or not waits:
        passed(folder, release)


def passed(folder: str, release: str) -> None:
    """From now on the release is one to return to."""
    mark_verified(folder, release)
    if _read(folder, PENDING).get("release") == release:
        os.unlink(os.path.join(folder, PENDING))
