"""What starts measured, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def start_words(start: Mapping[str, Any]) -> str:
    """What a start measured, beside what was predicted for it."""
    logged, predicted = start["measured"]["tokens"], start["predicted"]["tokens"]
    off = f", {start['error']:+.1%}" if start.get("error") is not None else ""
    return f"{logged:,} tokens ({predicted:,} predicted{off})"
