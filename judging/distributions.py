"""Distributions that the standard library lacks: binomial probabilities without overflow, Student's t."""

from __future__ import annotations

import math
from functools import cache
from statistics import NormalDist

NORMAL = NormalDist()


def binomial(k: int, n: int, p: float) -> float:
    """P(X = k) of a binomial variable, for n up to many thousands."""
    if not 0 <= k <= n:
        return 0.0
    if p in (0.0, 1.0):
        return float(k == (n if p else 0))
    ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(ways + k * math.log(p) + (n - k) * math.log1p(-p))


def beta_part(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function I_x(a, b), by Lentz's continued fraction (DLMF 8.17.22)."""
    if x <= 0.0 or x >= 1.0:
        return float(x >= 1.0)
    if x > (a + 1) / (a + b + 2):  # the fraction converges fast on the other side
        return 1.0 - beta_part(b, a, 1.0 - x)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)) / a
    tiny = 1e-300
    c, d = 1.0, 1.0 / max(tiny, 1.0 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, 500):
        for step in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1.0 + step * d
            d = 1.0 / (d if abs(d) > tiny else tiny)
            c = 1.0 + step / (c if abs(c) > tiny else tiny)
            value *= c * d
        if abs(c * d - 1.0) < 1e-14:
            break
    return front * value


def t_below(t: float, df: float) -> float:
    """P(T <= t) of Student's t with `df` degrees of freedom."""
    half = beta_part(df / 2, 0.5, df / (df + t * t)) / 2
    return 1.0 - half if t > 0 else half


@cache
def t_quantile(q: float, df: float) -> float:
    """The t with P(T <= t) = q."""
    if q < 0.5:
        return -t_quantile(1.0 - q, df)
    low, high = 0.0, 2.0
    while t_below(high, df) < q:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        if t_below(middle, df) < q:
            low = middle
        else:
            high = middle
        if high - low < 1e-12 * max(1.0, high):
            break
    return (low + high) / 2
