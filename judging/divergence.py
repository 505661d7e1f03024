"""How far two engines' predictions are apart where both saw the same tokens: Kullback-Leibler divergence, in nats.

A position is [[token, logprob], ...]: first the token that stands there, then the most probable ones. What both list is compared
token by token and the rest as one, so the figure is a lower bound of the divergence over the whole vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

Position = Sequence[Sequence[float]]
LEAST = 1e-6  # probability below which a remainder is rounding: packs keep six digits


def listed(position: Position) -> dict[int, float]:
    """{token: probability}."""
    return {int(token): math.exp(min(0.0, logprob)) for token, logprob in position}


def divergence(reference: Position, candidate: Position) -> float:
    """KL(reference || candidate) of one position, never below 0."""
    p, q = listed(reference), listed(candidate)
    both = p.keys() & q.keys()
    rest_p = max(LEAST, 1.0 - sum(p[token] for token in both))
    rest_q = max(LEAST, 1.0 - sum(q[token] for token in both))
    total = rest_p * math.log(rest_p / rest_q)
    total += sum(p[token] * math.log(p[token] / max(q[token], LEAST**2)) for token in both if p[token] > 0.0)
    return max(0.0, total)


def item_divergence(reference: Sequence[Position], candidate: Sequence[Position]) -> float:
    """The mean over an item's positions."""
    return fmean(divergence(a, b) for a, b in zip(reference, candidate, strict=True))


def shifts(reference: Sequence[Position], candidate: Sequence[Position]) -> list[float]:
    """By how many nats the candidate gives each standing token more than the reference does."""
    return [float(b[0][1]) - float(a[0][1]) for a, b in zip(reference, candidate, strict=True)]


def lead(position: Position) -> float:
    """By how many nats the most probable token of a position leads the next one; infinite where only one is known."""
    ranked = sorted({int(token): float(logprob) for token, logprob in position}.values(), reverse=True)
    return ranked[0] - ranked[1] if len(ranked) > 1 else math.inf


def first_apart(reference: Sequence[int], candidate: Sequence[int]) -> int | None:
    """The index of the first token in which two answers differ; None where they are the same."""
    for index, (a, b) in enumerate(zip(reference, candidate, strict=False)):
        if a != b:
            return index
    return None if len(reference) == len(candidate) else min(len(reference), len(candidate))
