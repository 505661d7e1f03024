"""A published table of scores, judged for what it is: two columns of percentages without answers item by item.

Where the number of questions is known, a percentage must be a whole number of right answers out of it; two columns of which one is and the
other isn't were not measured alike. Unpaired columns show large differences only: how large is said for each row.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from judging import several
from judging.distributions import NORMAL
from judging.tables import columns
from judging.verdict import DIFFERENT, INCOMPARABLE, UNDERPOWERED, Finding

# Questions of each public set, by the letters of its name. None: its score is no share of right answers. From the sets' own cards; C-Eval
# and MMMU are their validation splits.
SIZES: dict[str, int | None] = {
    "gsm8k": 1319, "ceval": 1346, "cevalval": 1346, "aime2024": 30, "aime": 30, "gpqadiamond": 198, "gpqa": 198, "math500": 500,
    "mmlu": 14042, "mmmu": 900, "mmmuval": 900, "cmmmu": 900, "cmmmuval": 900, "ciibench": 765, "ciibenchtest": 765, "blink": 1901,
    "blinkval": 1901, "mmmuprostandard": 1730, "mmmuprostandardtest": 1730, "mmmuprovision": 1730, "mmmuprovisiontest": 1730,
    "mathvision": 3040, "mathvisiontest": 3040, "ocrbench": 1000, "orcbenchtest": 1000, "ocrbenchtest": 1000, "mmvetv2": None,
}  # fmt: skip
TELLING = 4000  # beyond so many questions nearly every percentage of two digits is some k of them


def size_of(metric: str, row: Mapping[str, Any]) -> int | None:
    """The row's own `n`, else that of the set it names; None where nobody knows."""
    if row.get("n"):
        return int(row["n"])
    name = "".join(c for c in metric.split("(")[0].lower().replace("pass@1", "") if c.isalnum())
    return SIZES.get(name)


def digits(value: float) -> int:
    """Decimals that a percentage was printed with, two at least."""
    return max(2, len(repr(float(value)).partition(".")[2]))


def attainable(value: float, n: int) -> bool:
    """Is there a number of right answers out of n that is printed as this percentage?"""
    k = round(value * n / 100)
    half = 0.5 * 10 ** -digits(value)
    return any(abs(100 * count / n - value) <= half + 1e-9 for count in (k - 1, k, k + 1) if 0 <= count <= n)


def error(reference: float, other: float, n: int) -> float:
    """Standard error of the difference of two unpaired percentages, in points, with their pooled share."""
    share = (reference + other) / 200
    return 100 * math.sqrt(2 * share * (1 - share) / n)


def audit(metrics: Mapping[str, Mapping[str, Any]]) -> list[Finding]:
    """A finding a row of {metric: {reference, document, n}}; percentages, null where a column has none."""
    rows: dict[str, tuple[float, float, int]] = {}
    p: dict[str, float] = {}
    found: dict[str, Finding] = {}
    for metric, row in metrics.items():
        n, before, after = size_of(metric, row), row.get("reference"), row.get("document")
        if before is None or after is None or n is None:
            why = "one column has no value" if n else "nobody knows of how many questions"
            found[metric] = Finding(metric, INCOMPARABLE, why, n=n or 0, unit="points")
            continue
        rows[metric] = float(before), float(after), n
        spread = error(before, after, n)
        p[metric] = 2 * NORMAL.cdf(-abs(after - before) / spread) if spread else 1.0
    adjusted = several.holm(p)
    for metric, (before, after, n) in rows.items():
        found[metric] = finding(metric, before, after, n, adjusted[metric])
    return [found[metric] for metric in metrics]


def finding(metric: str, before: float, after: float, n: int, p: float) -> Finding:
    spread = error(before, after, n)
    low, high = after - before - 1.96 * spread, after - before + 1.96 * spread
    row: dict[str, Any] = {"n": n, "value": after - before, "low": low, "high": high, "unit": "points", "p": p}
    odd = [value for value in (before, after) if n <= TELLING and not attainable(value, n)]
    if odd:
        which = " and ".join(f"{value:g} %" for value in odd)
        return Finding(
            metric,
            INCOMPARABLE,
            f"{which} is no number of right answers out of {n}: the columns were not measured alike",
            **row,
        )
    if p < 0.05:
        return Finding(
            metric,
            DIFFERENT,
            f"more than chance (z = {(after - before) / spread:+.2f}), if all {n} questions were asked once",
            **row,
        )
    least = (NORMAL.inv_cdf(0.975) + NORMAL.inv_cdf(0.9)) * spread
    return Finding(
        metric,
        UNDERPOWERED,
        f"{n} questions without pairs can't show a difference of less than {least:.1f} points",
        **row,
    )


def audit_table(references: Mapping[str, Mapping[str, Any]]) -> str:
    """{model: {source, metrics}} -> a line a metric."""
    lines: list[Iterable[Any]] = [
        ("MODEL", "METRIC", "REFERENCE", "OTHER", "DIFFERENCE", "INTERVAL 95 %", "N", "VERDICT", "WHY")
    ]
    for model, table in references.items():
        for one in audit(table["metrics"]):
            row = table["metrics"][one.metric]
            seen = "" if one.value is None else f"{one.value:+.2f}"
            between = "" if one.low is None or one.high is None else f"{one.low:+.1f} to {one.high:+.1f}"
            lines.append(
                (
                    model,
                    one.metric,
                    row.get("reference"),
                    row.get("document"),
                    seen,
                    between,
                    one.n,
                    one.verdict,
                    one.why,
                )
            )
    return columns(lines)
