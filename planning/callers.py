"""Callers of the gateway: a vaulted table of names, keys and limits. Keys leave here as sha256 alone, and no sentence shows one."""

from __future__ import annotations

import datetime
import hashlib
import re
from collections.abc import Mapping
from typing import Any

from planning.rows import Collected, Key, Row, check_row, defaults, fail, nearest, type_name

CALLER: dict[str, Key] = {
    "keys": Key("keys", ..., "Keys that count, each {key} or {sha256}, and perhaps {expires: 2027-01-31}; two while callers change over."),
    "requests_per_minute": Key("seconds", 600, "Requests that are admitted in any minute."),
    "concurrency": Key("seconds", 64, "Requests at a time."),
    "models": Key("list", None, "Served names that it may ask; null: all."),
    "expires": Key("date", None, "Last day, UTC, on which its keys count, such as 2027-01-31."),
}  # fmt: skip
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
FORM = re.compile(r"[A-Za-z0-9._~+/-]{24,256}={0,2}")
NEVER = 253402300799  # the end of the year 9999


def day_end(where: str, value: Any) -> int:
    """Seconds since 1970 of the end of a day in UTC; NEVER for null. Raises Faults."""
    if value is None:
        return NEVER
    try:
        day = value if isinstance(value, datetime.date) else datetime.date.fromisoformat(str(value))
    except ValueError:
        fail(f"{where}: 'expires' is {str(value)!r}, but must be a day such as 2027-01-31")
    if isinstance(day, datetime.datetime):
        day = day.date()
    start = datetime.datetime(day.year, day.month, day.day, tzinfo=datetime.UTC)
    return int(start.timestamp()) + 86400


def key_of(where: str, given: Any, last: int) -> tuple[str, int]:
    """(sha256, end) of one key. Raises Faults, which never show the key."""
    if isinstance(given, str):
        given = {"key": given}
    if (
        not isinstance(given, Mapping)
        or not set(given) <= {"key", "sha256", "expires"}
        or ("key" in given) == ("sha256" in given)
    ):
        fail(f"{where} must be {{key: ...}} or {{sha256: ...}}, each perhaps with 'expires'")
    end = min(day_end(where, given.get("expires")), last)
    if "sha256" in given:
        if not re.fullmatch(r"[0-9a-fA-F]{64}", str(given["sha256"])):
            fail(f"{where}: 'sha256' must be 64 hexadecimal digits; `printf %s KEY | sha256sum` prints them")
        return str(given["sha256"]).lower(), end
    key = given["key"]
    if not isinstance(key, str) or not FORM.fullmatch(key):
        said = f"{len(key)} characters" if isinstance(key, str) else type_name(key)
        fail(f"{where} ({said}) must be 24 to 256 letters, digits or . _ ~ + / -; `openssl rand -hex 32` makes one")
    return hashlib.sha256(key.encode()).hexdigest(), end


def resolve_callers(callers: Any, models: list[str]) -> Row:
    """{callers: [{name, keys: {sha256: end}, requests_per_minute, concurrency, models}], faults}."""
    if not isinstance(callers, Mapping):
        return {
            "callers": [],
            "faults": [f"gateway_callers is {type_name(callers)}, but must be a mapping: {{name: {{keys: [...]}}}}"],
        }
    found, resolved, owners = Collected(), list[Row](), dict[str, str]()
    for name, row in callers.items():
        where = f"gateway_callers: '{name}'"
        if not NAME.fullmatch(str(name)):
            found.run(fail, f"{where} is no name of a caller; use letters, digits and ._- only, 63 at most")
        if not isinstance(row, Mapping):
            found.run(fail, f"{where} is {type_name(row)}, but must be a mapping with 'keys'")
            continue
        given = found.run(
            check_row, where, {k: v for k, v in row.items() if k not in ("keys", "expires")}, CALLER, partial=True
        )
        if given is None:
            continue
        keys = row.get("keys")
        if not isinstance(keys, list) or not keys:
            found.run(fail, f"{where}: 'keys' must be a list with one key or more")
            continue
        last = found.run(day_end, where, row.get("expires"))
        sums: dict[str, int] = {}
        for number, one in enumerate(keys, 1):
            pair = found.run(key_of, f"{where}: key {number}", one, NEVER if last is None else last)
            if not pair:
                continue
            if owners.setdefault(pair[0], str(name)) != str(name):
                found.run(fail, f"{where}: key {number} is also a key of '{owners[pair[0]]}'; give each caller its own")
            sums[pair[0]] = pair[1]
        caller = {**defaults(CALLER), **{k: v for k, v in given.items() if v is not None}}
        for model in caller["models"] or []:
            if model not in models:
                found.run(fail, f"{where}: no backend serves the model '{model}'; {nearest(model, models)}")
        resolved.append(
            {
                "name": str(name), "keys": sums, "models": sorted(caller["models"] if caller["models"] is not None else models),
                "requests_per_minute": caller["requests_per_minute"], "concurrency": caller["concurrency"],
            }
        )  # fmt: skip
    return {"callers": resolved, "faults": found.faults}
