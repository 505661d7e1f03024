"""The four words, for a metric and overall."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from judging import means, paired

EQUIVALENT, DIFFERENT, UNDERPOWERED, INCOMPARABLE = "EQUIVALENT", "DIFFERENT", "UNDERPOWERED", "INCOMPARABLE"
NOT_JUDGED = "NOT JUDGED"


@dataclass(frozen=True)
class Finding:
    """One metric: its verdict, the interval that decided it, and why in words. `needed`: items that it takes where they are too few."""

    metric: str
    verdict: str
    why: str
    n: int = 0
    value: float | None = None
    low: float | None = None
    high: float | None = None
    margin: float | None = None
    unit: str = ""
    p: float | None = None
    needed: int | None = None

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        found = asdict(self)
        for key in ("value", "low", "high"):
            if found[key] is not None and not math.isfinite(found[key]):
                found[key] = None
        return found


def overall(findings: Iterable[Finding]) -> str:
    """INCOMPARABLE before all; one DIFFERENT is enough; EQUIVALENT takes all of them (intersection-union); else UNDERPOWERED."""
    words = [finding.verdict for finding in findings]
    for word in (INCOMPARABLE, DIFFERENT, UNDERPOWERED):
        if word in words:
            return word
    return EQUIVALENT if words else NOT_JUDGED


# Divergences are skewed to the right, which makes Student's upper bound too short and the lower one too long: with these two, 48 prompts at
# the very margin are called EQUIVALENT 4 times in 100 and DIFFERENT 2 times (tests/unit/test_means.py).
UPPER, LOWER = 0.99, 0.95


def of_divergence(metric: str, values: list[float], margin: float) -> Finding:
    """The mean divergence over prompts against its margin."""
    found = means.t_bounds(values, LOWER, UPPER)
    row: dict[str, Any] = {
        "n": found.n,
        "value": found.mean,
        "low": max(0.0, found.low),
        "high": found.high,
        "margin": margin,
        "unit": "nats",
    }
    if found.high < margin:
        return Finding(metric, EQUIVALENT, f"at most {found.high:.2g} nats apart", **row)
    if found.low > margin:
        return Finding(metric, DIFFERENT, f"at least {found.low:.2g} nats apart, and {margin:g} are allowed", **row)
    count = means.values_needed(found.spread, abs(margin - found.mean), UPPER if found.mean < margin else LOWER)
    words = (
        f"it takes about {count} prompts"
        if count
        else "it lies at the margin itself, where no number of prompts decides"
    )
    return Finding(metric, UNDERPOWERED, f"the interval crosses the margin; {words}", **row, needed=count)


def by_chance(p: float) -> str:
    """How often chance alone does so, in words."""
    return f"chance does so once in {1 / p:.0f} times" if p > 1e-4 else "chance does so less than once in 10,000 times"


def of_score(metric: str, b: int, c: int, n: int, margin: float, p: float | None = None) -> Finding:
    """Items right on one side alone, against a margin given as a share. `p`: McNemar's, already corrected for the other metrics."""
    low, high = paired.tango(b, c, n)
    p = paired.mcnemar_midp(b, c) if p is None else p
    row: dict[str, Any] = {
        "n": n, "value": 100 * (b - c) / n, "low": 100 * low, "high": 100 * high, "margin": 100 * margin, "unit": "points", "p": p,
    }  # fmt: skip
    apart = f"{b + c} of {n} items differ, {b} of them right here alone and {c} there alone"
    if paired.equivalent(b, c, n, margin):
        return Finding(metric, EQUIVALENT, apart, **row)
    if p < paired.ALPHA:
        return Finding(metric, DIFFERENT, f"{apart}; {by_chance(p)}", **row)
    count = paired.needed(max(b + c, 1) / n, margin)
    return Finding(metric, UNDERPOWERED, f"{apart}; it takes about {count} items", **row, needed=count)


def of_repeats(metric: str, here: Sequence[Sequence[bool]], there: Sequence[Sequence[bool]], margin: float) -> Finding:
    """Each item asked more than once on both sides, with drawn answers: the difference of the shares that are right, clustered by item."""
    n, repeats = len(here), len(here[0])
    found = means.clustered(here, there, 1 - 2 * paired.ALPHA)
    p = means.clustered_p(found)
    row: dict[str, Any] = {
        "n": n, "value": 100 * found.mean, "low": 100 * found.low, "high": 100 * found.high, "margin": 100 * margin, "unit": "points", "p": p,
    }  # fmt: skip
    rights = [sum(map(sum, side)) for side in (here, there)]
    apart = (
        f"{rights[0]} of {n * repeats} answers are right here and {rights[1]} there ({n} items, {repeats} times each)"
    )
    floor = paired.floor_of(margin)
    if found.spread == found.mean == 0.0 and n < floor:
        # Items that never vary show as little as items that were asked once.
        return Finding(
            metric, UNDERPOWERED, f"{apart}; no item varies, and so it takes {floor} items", **row, needed=floor
        )
    if -margin < found.low and found.high < margin:
        return Finding(metric, EQUIVALENT, apart, **row)
    if p < paired.ALPHA:
        return Finding(metric, DIFFERENT, f"{apart}; {by_chance(p)}", **row)
    count = means.repeats_needed(here, there, found, margin, 1 - paired.ALPHA)
    words = f"it takes about {count} repeats" if count else "no number of repeats decides it, but more items"
    return Finding(metric, UNDERPOWERED, f"{apart}; {words}", **row, needed=count)


def sentence(service: str, record: dict[str, Any]) -> str:
    """What an operator reads: the word, and the one reason that made it."""
    word = record["verdict"] + (f" ({record['strength']})" if record.get("strength") else "")
    decisive = [row for row in record["findings"] if row["verdict"] == record["verdict"]]
    why = record.get("why") or "; ".join(f"{row['metric']}: {row['why']}" for row in decisive[:3])
    against = f" against {record['pack']['name']}" if record.get("pack") else ""
    return f"service '{service}' is {word}{against}: {why}"
