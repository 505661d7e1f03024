"""Numbers of engine options, in the forms that engines read: 32768, 32k, 32K, 0.9."""

from __future__ import annotations

import re
from typing import Any

from .rows import fail, is_int

SUFFIXES = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
AUTO = "max_model_len"  # the one number that may be `auto`
LARGEST = 2**63 - 1  # what the engine and our own sums can hold


def number(where: str, name: str, value: Any) -> int:
    """A whole number as the engine reads it: 32768, 32k (32000), 32K (32768), 1.5k. `auto` is -1."""
    digits = len(re.sub(r"\D", "", value)) if isinstance(value, str) else 0
    found = read_number(where, name, value) if digits < 25 else LARGEST + 1  # Python itself refuses 4300 digits
    if abs(found) > LARGEST:
        fail(
            f"{where}: engine_args.{name} is {str(value)[:40]}, which is more than any engine can count; write a smaller number"
        )
    return found


def read_number(where: str, name: str, value: Any) -> int:
    if is_int(value):
        return int(value)
    text = value.strip() if isinstance(value, str) else ""
    if name == AUTO and text.lower() in ("auto", "-1"):
        return -1
    if match := re.fullmatch(r"(\d+(?:\.\d+)?)([kKmMgGtT])", text):
        amount, suffix = match.groups()
        if "." not in amount:
            return int(amount) * SUFFIXES[suffix]
        if suffix.islower():
            return round(float(amount) * SUFFIXES[suffix])
        fail(
            f"{where}: engine_args.{name} is {value!r}, and the engine takes no fractions of {suffix} "
            f"(a power of two); write a whole number, or {amount}{suffix.lower()}"
        )
    if re.fullmatch(r"[+-]?\d[\d_]*", text):
        return int(text)
    fail(
        f"{where}: engine_args.{name} is {value!r}, but must be a whole number, such as 32768, 32k (32000) or 32K (32768)"
    )
    raise AssertionError


def share(where: str, name: str, value: Any) -> float:
    """A part of something: more than 0, at most 1."""
    try:
        found = float("nan") if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        found = float("nan")
    if not 0 < found <= 1:
        fail(f"{where}: engine_args.{name} is {value!r}, but must be a number above 0 and up to 1, such as 0.9")
    return found
