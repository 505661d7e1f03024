"""Intervals of means over prompts: Student's against scipy, the studentised bootstrap and the canary's bound by simulation."""

from __future__ import annotations

import math
import random

import numpy
import pytest
from scipy import stats

from judging import means, several, verdict

VALUES = [0.0011, 0.0004, 0.0009, 0.0021, 0.0002, 0.0013, 0.0008, 0.0005]


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.99])
def test_students_interval_is_scipys(confidence: float) -> None:
    found = means.t_interval(VALUES, confidence)
    low, high = stats.ttest_1samp(VALUES, 0).confidence_interval(confidence)
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


def test_one_value_has_no_bounds() -> None:
    assert means.t_interval([0.5], 0.95)[1:3] == (-math.inf, math.inf)
    assert means.bootstrap_t([0.5], 0.95, 1)[1:3] == (-math.inf, math.inf)


def test_the_bootstrap_repeats_itself_and_knows_equal_values() -> None:
    assert means.bootstrap_t(VALUES, 0.9, 7) == means.bootstrap_t(VALUES, 0.9, 7)
    assert means.bootstrap_t(VALUES, 0.9, 7) != means.bootstrap_t(VALUES, 0.9, 8)
    assert means.bootstrap_t([0.25] * 9, 0.9, 7)[:3] == (0.25, 0.25, 0.25)


def test_the_bootstrap_covers_a_skewed_mean_better_than_students_interval() -> None:
    """Upper 95 % bounds of 24 log-normal values, 120 times: how often the true mean lies above them."""
    pick = random.Random(1)
    misses = {"student": 0, "bootstrap": 0}
    truth = math.exp(0.5)
    for seed in range(120):
        values = [pick.lognormvariate(0, 1) for _ in range(24)]
        misses["student"] += means.t_interval(values, 0.9).high < truth
        misses["bootstrap"] += means.bootstrap_t(values, 0.9, seed, 299).high < truth
    assert misses["bootstrap"] <= 0.8 * misses["student"], misses


def test_repeats_are_clustered_by_item() -> None:
    candidate = [[1, 1, 0], [0, 0, 0], [1, 1, 1], [0, 1, 0]]
    reference = [[1, 0], [0, 0], [1, 1], [1, 1]]
    found = means.clustered(candidate, reference, 0.9)
    low, high = stats.ttest_1samp([2 / 3 - 0.5, 0, 0, 1 / 3 - 1], 0).confidence_interval(0.9)
    assert found.n == 4 and (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    with pytest.raises(ValueError, match="4 items against 3"):
        means.clustered(candidate, reference[1:], 0.9)


def test_values_needed_are_enough_and_no_more() -> None:
    n = means.values_needed(0.4, 0.1, 0.975)
    assert n is not None

    def half(count: int) -> float:
        return float(stats.t.ppf(0.975, count - 1) * 0.4 / math.sqrt(count))

    assert half(n) <= 0.1 < half(n - 2)
    assert means.values_needed(0.4, 0.0, 0.975) is None


def test_holm_is_that_of_statsmodels() -> None:
    """multipletests(p, method='holm') of statsmodels 0.15.0."""
    p = {"a": 0.0023, "b": 0.0019, "c": 0.034, "d": 0.47, "e": 0.012}
    wanted = {"a": 0.0095, "b": 0.0095, "c": 0.068, "d": 0.47, "e": 0.036}
    found = several.holm(p)
    assert {name: round(value, 10) for name, value in found.items()} == {
        **wanted, "a": pytest.approx(0.0095), "b": pytest.approx(0.0095), "e": pytest.approx(0.036)
    }  # fmt: skip
    assert several.holm({}) == {}


@pytest.mark.parametrize(
    ("times", "word", "least", "most"),
    [(0.25, "EQUIVALENT", 0.999, 1), (0.5, "EQUIVALENT", 0.98, 1), (1.0, "EQUIVALENT", 0, 0.05), (1.0, "DIFFERENT", 0, 0.03),
     (1.5, "DIFFERENT", 0.97, 1), (2.0, "DIFFERENT", 0.99, 1), (1.5, "EQUIVALENT", 0, 0.001)],
)  # fmt: skip
def test_how_often_the_canary_decides(times: float, word: str, least: float, most: float) -> None:
    """2,000 seeded repeats of 48 prompts x 128 tokens: tokens' divergences have a coefficient of variation of 3, prompts' means a log-sd of .6."""
    draw = numpy.random.default_rng(20261125)
    margin, rounds, prompts, tokens = 0.001, 2000, 48, 128
    sigma = math.sqrt(math.log(1 + 3**2))
    hits = 0
    for _ in range(rounds):
        levels = draw.lognormal(-(0.6**2) / 2, 0.6, prompts) * times * margin
        noise = draw.lognormal(-(sigma**2) / 2, sigma, (prompts, tokens)).mean(axis=1)
        hits += verdict.of_divergence("divergence", list(map(float, levels * noise)), margin).verdict == word
    assert least <= hits / rounds <= most
