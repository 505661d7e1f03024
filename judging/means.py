"""Intervals of a mean over prompts or items, and how many of them a claim takes. The unit is the prompt, never the token."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from statistics import fmean, stdev, variance
from typing import NamedTuple

from judging.distributions import NORMAL, t_below, t_quantile


class Interval(NamedTuple):
    """A mean with its bounds; `n` values, `spread` their standard deviation."""

    mean: float
    low: float
    high: float
    n: int
    spread: float


def t_bounds(values: Sequence[float], lower: float, upper: float) -> Interval:
    """Student's one-sided bounds of the mean, each with its own confidence. One value alone has none."""
    n, mean = len(values), fmean(values)
    if n < 2:
        return Interval(mean, -math.inf, math.inf, n, math.inf)
    spread = stdev(values)
    error = spread / math.sqrt(n)
    return Interval(mean, mean - t_quantile(lower, n - 1) * error, mean + t_quantile(upper, n - 1) * error, n, spread)


def t_interval(values: Sequence[float], confidence: float) -> Interval:
    """Student's interval of the mean."""
    return t_bounds(values, 0.5 + confidence / 2, 0.5 + confidence / 2)


def bootstrap_t(values: Sequence[float], confidence: float, seed: int, rounds: int = 1999) -> Interval:
    """The studentised bootstrap's interval: it follows a skew that Student's doesn't. The same seed gives the same bounds."""
    n, mean = len(values), fmean(values)
    if n < 2:
        return t_interval(values, confidence)
    spread = stdev(values)
    if spread == 0.0:
        return Interval(mean, mean, mean, n, 0.0)
    pick, scores = random.Random(seed), []  # noqa: S311 - no secret
    for _ in range(rounds):
        drawn = pick.choices(values, k=n)
        own = stdev(drawn)
        if own > 0.0:
            scores.append((fmean(drawn) - mean) / (own / math.sqrt(n)))
    scores.sort()
    tail = (1 - confidence) / 2
    error = spread / math.sqrt(n)
    low, high = scores[int(tail * len(scores))], scores[min(len(scores) - 1, math.ceil((1 - tail) * len(scores)) - 1)]
    return Interval(mean, mean - high * error, mean - low * error, n, spread)


def clustered(
    candidate: Sequence[Sequence[float]], reference: Sequence[Sequence[float]], confidence: float
) -> Interval:
    """Repeats of each item on both sides: the interval of the difference of item means, clustered by item.

    Repeats aren't paired with each other; items are. ValueError where the two sides have other numbers of items.
    """
    if len(candidate) != len(reference):
        raise ValueError(f"{len(candidate)} items against {len(reference)}")
    return t_interval([fmean(a) - fmean(b) for a, b in zip(candidate, reference, strict=True)], confidence)


def clustered_p(found: Interval) -> float:
    """Two-sided p that a clustered difference is 0."""
    if found.n < 2 or found.spread == 0.0:
        return float(found.mean == 0.0 or found.n < 2)
    t = found.mean / (found.spread / math.sqrt(found.n))
    return 2 * t_below(-abs(t), found.n - 1)


def repeats_needed(
    candidate: Sequence[Sequence[float]], reference: Sequence[Sequence[float]], found: Interval, margin: float, bound: float
) -> int | None:  # fmt: skip
    """How many repeats show with a power of .9 that there is no difference, if there is none; None where more of them can't.

    More repeats lessen the variance of one item's answers, and not that between items.
    """
    repeats = len(candidate[0])
    within = fmean(variance(a) + variance(b) for a, b in zip(candidate, reference, strict=True))
    between = max(0.0, found.spread**2 - within / repeats)
    room = found.n * (margin / (t_quantile(bound, found.n - 1) + NORMAL.inv_cdf(0.95))) ** 2
    return math.ceil(within / (room - between)) if within > 0.0 and room > between else None


def values_needed(spread: float, room: float, bound: float) -> int | None:
    """How many values bring a one-sided bound nearer to the mean than `room`; None where there is no room."""
    if room <= 0.0 or not math.isfinite(spread):
        return None
    n = 2
    while n < 10**7:
        wanted = math.ceil((t_quantile(bound, n - 1) * spread / room) ** 2)
        if wanted <= n:
            return n
        n = max(n + 1, min(wanted, n * 2))
    return None
