"""Two systems asked the same items, each right or wrong: tests and intervals for the difference of their scores.

`b` items are right on the candidate alone, `c` on the reference alone, of `n` in all. A difference is (b - c) / n: above 0 the
candidate is better. Sources: McNemar 1947; Fagerland, Lydersen, Laake 2013 (mid-p); Tango 1998 (score interval).
"""

from __future__ import annotations

import math

from judging.distributions import NORMAL, binomial

ALPHA = 0.05  # error of a claim of equivalence, and of one of difference


def mcnemar_exact(b: int, c: int) -> float:
    """Two-sided exact p that the discordant items fall to both sides alike."""
    n, k = b + c, min(b, c)
    return min(1.0, 2 * sum(binomial(i, n, 0.5) for i in range(k + 1)))


def mcnemar_midp(b: int, c: int) -> float:
    """The same with half of the observed table's own probability: nearer to the nominal level, seldom above it."""
    n, k = b + c, min(b, c)
    return min(1.0, 2 * sum(binomial(i, n, 0.5) for i in range(k)) + binomial(k, n, 0.5))


def tango_score(b: int, c: int, n: int, difference: float) -> float:
    """Tango's statistic against a true difference: normal with mean 0 where it is the true one."""
    d = difference
    first = -b - c + (2 * n - b + c) * d
    rest = 8 * n * c * d * (1 - d)  # -4AC with A = 2n, C = -c d (1 - d)
    q = (math.sqrt(max(0.0, first * first + rest)) - first) / (4 * n)
    variance = n * (2 * q + d * (1 - d))
    distance = b - c - n * d
    if variance <= 0.0:
        return 0.0 if distance == 0 else math.copysign(math.inf, distance)
    return distance / math.sqrt(variance)


def tango(b: int, c: int, n: int, confidence: float = 1 - 2 * ALPHA) -> tuple[float, float]:
    """Tango's interval of the difference, a share between -1 and 1."""
    if not 0 <= b + c <= n or n < 1:
        raise ValueError(f"{b} and {c} discordant items of {n}")
    z = NORMAL.inv_cdf(0.5 + confidence / 2)
    seen = (b - c) / n

    def edge(outer: float, sign: float) -> float:
        inner = seen
        for _ in range(60):
            middle = (inner + outer) / 2
            if sign * tango_score(b, c, n, middle) < z:
                inner = middle
            else:
                outer = middle
        return (inner + outer) / 2

    return edge(-1.0, 1.0), edge(1.0, -1.0)


def equivalent(b: int, c: int, n: int, margin: float, alpha: float = ALPHA) -> bool:
    """Is the (1 - 2 alpha) interval inside +-margin? Two one-sided tests, each at `alpha`."""
    z = NORMAL.inv_cdf(1 - alpha)
    return tango_score(b, c, n, margin) < -z and tango_score(b, c, n, -margin) > z


def power(n: int, discordance: float, margin: float, alpha: float = ALPHA, difference: float = 0.0) -> float:
    """P(equivalent) for `n` items of which `discordance` differ on average, by enumeration of what can be seen."""
    to_candidate = (discordance + difference) / (2 * discordance) if discordance else 0.5
    spread = 8 * math.sqrt(n * discordance * (1 - discordance)) + 8
    total = 0.0
    for apart in range(max(0, int(n * discordance - spread)), min(n, int(n * discordance + spread)) + 1):
        weight = binomial(apart, n, discordance)
        if weight < 1e-14:
            continue
        # For a number of discordant items those b that pass are neighbours: find both ends.
        passing = range_of(apart, n, margin, alpha)
        if passing:
            total += weight * between(passing[0], passing[1], apart, to_candidate)
    return total


def range_of(apart: int, n: int, margin: float, alpha: float) -> tuple[int, int] | None:
    """The least and the greatest b that pass with `apart` discordant items; None where none does."""
    middle = apart // 2
    if not equivalent(middle, apart - middle, n, margin, alpha):
        return None
    low, high = -1, middle  # the greatest that fails, the least that passes
    while high - low > 1:
        b = (low + high) // 2
        low, high = (low, b) if equivalent(b, apart - b, n, margin, alpha) else (b, high)
    return high, apart - high


def between(low: int, high: int, n: int, p: float) -> float:
    """P(low <= X <= high) of a binomial variable."""
    if low <= 0 and high >= n:
        return 1.0
    return sum(binomial(k, n, p) for k in range(low, high + 1))


def floor_of(margin: float, alpha: float = ALPHA) -> int:
    """The least n at which no discordance at all passes: with fewer items nothing can be proven."""
    z2 = NORMAL.inv_cdf(1 - alpha) ** 2
    n = max(1, math.floor(z2 * (1 - margin) / margin) - 2)
    while not equivalent(0, 0, n, margin, alpha):
        n += 1
    return n


LIMIT = 2_000_000  # items; more than any set has


def needed(
    discordance: float, margin: float, wanted: float = 0.9, alpha: float = ALPHA, difference: float = 0.0
) -> int | None:
    """Items for the power `wanted`; None where no number of them does, because the true difference is at the margin or beyond."""
    if abs(difference) >= margin:
        return None
    low, high = floor_of(margin, alpha) - 1, floor_of(margin, alpha)
    while power(high, discordance, margin, alpha, difference) < wanted:
        low, high = high, high * 2
        if high > LIMIT:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        if power(middle, discordance, margin, alpha, difference) < wanted:
            low = middle
        else:
            high = middle
    return high
