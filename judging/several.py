"""Several metrics at once: Holm's correction for claims of difference; a claim of equivalence needs all of them and no correction."""

from __future__ import annotations

from collections.abc import Mapping


def holm(p: Mapping[str, float]) -> dict[str, float]:
    """{metric: p} adjusted by Holm 1979: all below alpha are differences, with a chance of alpha that any of them is none."""
    adjusted: dict[str, float] = {}
    before = 0.0
    for rank, name in enumerate(sorted(p, key=lambda name: p[name])):
        before = max(before, min(1.0, (len(p) - rank) * p[name]))
        adjusted[name] = before
    return adjusted
