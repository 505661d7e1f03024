"""Which backends runs have taken out of this gateway, and how long the last time was.

Written before the order and removed after the backend is up again: what a killed run has taken out is known to the next one, and what a person
took out by hand is left alone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Dict

from ansible.module_utils.serving.files import locked, read_json, write_json

FILE = "drains.json"
Drains = Dict[str, Dict[str, Any]]


def read(folder: str) -> tuple[Drains, Drains]:
    """({backend that is out: {since, alone}}, {backend: {since, until, alone} of its last time}). Times are seconds since 1970."""
    try:
        found = read_json(os.path.join(folder, FILE)) or {}
        return dict(found.get("out") or {}), dict(found.get("last") or {})
    except (OSError, ValueError, AttributeError, TypeError):
        return {}, {}  # nothing is lost but the note: the backend's state is HAProxy's


@contextmanager
def changing(folder: str) -> Iterator[tuple[Drains, Drains]]:
    """The same two, under a lock and written at the end: two runs that drain one model see each other."""
    with locked(os.path.join(folder, ".drains.lock"), "the backends of the gateway", timeout=60.0):
        out, last = read(folder)
        yield out, last
        write(folder, out, last)


def write(folder: str, out: Drains, last: Drains) -> None:
    write_json(os.path.join(folder, FILE), {"out": out, "last": last}, 0o600)


def begin(out: Drains, name: str, alone: bool) -> None:
    before = out.get(name) or {}
    out[name] = {"since": before.get("since") or time.time(), "alone": bool(alone or before.get("alone"))}


def finish(out: Drains, last: Drains, name: str) -> dict[str, Any]:
    """The time that ends now: {since, until, alone}."""
    began = out.pop(name, None) or {"since": time.time(), "alone": False}
    last[name] = dict(began, until=time.time())
    return last[name]
