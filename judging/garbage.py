"""Answers that are no language, seen beside a reference that answered well: damaged weights, kernels that fail, a number overflow.

Nothing here is a statistic: a service that answers so is stopped after its first few answers.
"""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

ZEROS, SAME, RATIO = 8, 16, 5.0  # token 0 in a row (NaN decodes to it), one token in a row, how far zlib packs a text
SHARE = 0.25  # of the items that were asked, and two of them at least
CJK_POINTS = 0.2

Run = Mapping[str, Any]


def longest(tokens: Sequence[int], only: int | None = None) -> int:
    """The longest row of one token, or of the token `only`."""
    return max(
        (len(list(group)) for token, group in itertools.groupby(tokens) if only is None or token == only), default=0
    )


def signs(run: Run) -> list[str]:
    """Names of what is odd about one answer by itself, the most telling first."""
    tokens, text = run["tokens"], str(run.get("text") or "")
    data = text.encode("utf-8", "replace")
    found = {
        "token 0 over and over, as NaN decodes": longest(tokens, 0) >= ZEROS,
        "one token over and over": longest(tokens) >= SAME or (len(set(tokens)) == 1 and len(tokens) > 3),
        "one phrase over and over": len(data) >= 256 and len(data) / len(zlib.compress(data)) > RATIO,
        "no text": not text.strip(),
        "no end": run.get("finish") == "length",
        "bytes that are no text": text.count("\ufffd") > 2,
        "no number where a probability must be": not numbers(run),
    }
    return [name for name, there in found.items() if there]


def numbers(run: Run) -> bool:
    """Are all probabilities numbers? NaN comes as null."""
    return all(
        isinstance(logprob, int | float) and math.isfinite(logprob)
        for kind in ("decoded", "forced")
        for position in run.get(kind) or []
        for _, logprob in position
    )


def cjk(text: str) -> float:
    """The share of Chinese, Japanese and Korean characters."""
    letters = [c for c in text if not c.isspace()]
    return (
        sum("\u3040" <= c <= "\u9fff" or "\uac00" <= c <= "\ud7a3" for c in letters) / len(letters) if letters else 0.0
    )


def broken(pairs: Sequence[tuple[Run, Run]]) -> str:
    """A sentence about (reference, candidate) answers that are garbage; nothing where they aren't."""
    counts: dict[str, int] = {}
    for reference, candidate in pairs:
        known = signs(reference)
        for sign in (sign for sign in signs(candidate) if sign not in known):
            counts[sign] = counts.get(sign, 0) + 1
    for sign, count in sorted(counts.items(), key=lambda row: -row[1]):
        if sign.startswith("no number") or count >= max(2, SHARE * len(pairs)):
            shown = next(b for a, b in pairs if sign in signs(b) and sign not in signs(a))
            return f"{count} of {len(pairs)} answers have {sign}, and the reference's have not; one is {str(shown.get('text', ''))[:40]!r}"
    before, now = (cjk("".join(str(pair[side].get("text") or "") for pair in pairs)) for side in (0, 1))
    if abs(before - now) > CJK_POINTS:
        return f"{100 * now:.0f} % of what it writes are Chinese, Japanese or Korean characters; in the reference {100 * before:.0f} %"
    return ""
