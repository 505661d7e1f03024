"""Paired right-and-wrong answers: exact tests and Tango's interval against closed values, scipy, and every outcome there can be."""

from __future__ import annotations

import math

import pytest
from scipy import stats

from judging import distributions, paired

# Items for a power of .9 at alpha .05 and no true difference, from a simulation made before this code: {margin: {discordance: n}}.
SIMULATED = {
    0.01: {0.01: 1317, 0.02: 2308, 0.05: 5484, 0.10: 10890, 0.20: 21696, 0.30: 32596},
    0.02: {0.01: 444, 0.02: 655, 0.05: 1413, 0.10: 2736, 0.20: 5409, 0.30: 8175},
    0.03: {0.01: 224, 0.02: 325, 0.05: 653, 0.10: 1228, 0.20: 2438, 0.30: 3611},
    0.05: {0.01: 119, 0.02: 148, 0.05: 257, 0.10: 463, 0.20: 880, 0.30: 1305},
}


@pytest.mark.parametrize(("k", "n", "p"), [(0, 5, 0.5), (3, 5, 0.5), (40, 100, 0.37), (7, 30000, 0.0002), (0, 0, 0.5)])
def test_binomial_probabilities_are_scipys(k: int, n: int, p: float) -> None:
    assert distributions.binomial(k, n, p) == pytest.approx(stats.binom.pmf(k, n, p), rel=1e-9)


@pytest.mark.parametrize("df", [1, 2, 5, 31, 47, 400, 1996])
@pytest.mark.parametrize("q", [0.001, 0.025, 0.05, 0.5, 0.8, 0.95, 0.975, 0.9995])
def test_students_t_is_scipys(df: int, q: float) -> None:
    assert distributions.t_quantile(q, df) == pytest.approx(stats.t.ppf(q, df), rel=1e-8, abs=1e-9)
    assert distributions.t_below(distributions.t_quantile(q, df), df) == pytest.approx(q, abs=1e-10)


@pytest.mark.parametrize(("b", "c"), [(0, 0), (1, 0), (5, 5), (9, 2), (2, 9), (40, 20), (0, 8), (300, 250)])
def test_mcnemar_is_the_binomial_test(b: int, c: int) -> None:
    exact = stats.binomtest(b, b + c, 0.5).pvalue if b + c else 1.0
    assert paired.mcnemar_exact(b, c) == pytest.approx(exact, rel=1e-9)
    point = stats.binom.pmf(min(b, c), b + c, 0.5)
    assert paired.mcnemar_midp(b, c) == pytest.approx(min(1.0, exact - point) if b != c else 1.0, rel=1e-9)
    assert paired.mcnemar_midp(b, c) == paired.mcnemar_midp(c, b) <= paired.mcnemar_exact(b, c)


def test_tango_is_that_of_propcis() -> None:
    """R's PropCIs::scoreci.mp(40, 20, 160, .95)."""
    assert paired.tango(40, 20, 160, 0.95) == (pytest.approx(0.0309, abs=5e-5), pytest.approx(0.2181, abs=5e-5))
    low, high = paired.tango(20, 40, 160, 0.95)
    assert (-high, -low) == pytest.approx(paired.tango(40, 20, 160, 0.95))


def test_tango_without_any_discordance_is_wilsons_bound() -> None:
    z2 = distributions.NORMAL.inv_cdf(0.95) ** 2
    low, high = paired.tango(0, 0, 268)
    assert high == pytest.approx(z2 / (268 + z2)) and low == -high


@pytest.mark.parametrize("margin", sorted(SIMULATED))
def test_the_floor_is_where_no_discordance_at_all_passes(margin: float) -> None:
    floor = {0.01: 268, 0.02: 133, 0.03: 88, 0.05: 52}[margin]
    assert paired.floor_of(margin) == floor
    assert paired.equivalent(0, 0, floor, margin) and not paired.equivalent(0, 0, floor - 1, margin)


@pytest.mark.parametrize(
    ("margin", "discordance"), [(m, d) for m, row in SIMULATED.items() for d, n in row.items() if n < 11_000]
)
def test_needed_items_are_those_of_the_simulation(margin: float, discordance: float) -> None:
    n = paired.needed(discordance, margin)
    assert n is not None and n == pytest.approx(SIMULATED[margin][discordance], rel=0.05)
    assert paired.power(n, discordance, margin) >= 0.9 > paired.power(n - 1, discordance, margin)


def test_no_number_of_items_shows_what_is_not_so() -> None:
    assert paired.needed(0.1, 0.02, difference=0.02) is None


# n, discordance, margin: a true difference at the margin itself, the worst there is.
CELLS = [(60, 0.1, 0.05), (100, 0.06, 0.05), (150, 0.04, 0.03), (198, 0.1, 0.03), (198, 0.2, 0.03), (300, 0.05, 0.02),
         (400, 0.03, 0.02), (500, 0.1, 0.02), (900, 0.05, 0.01), (1319, 0.05, 0.01), (1319, 0.2, 0.02), (2000, 0.02, 0.01)]  # fmt: skip


@pytest.mark.parametrize(("n", "discordance", "margin"), CELLS)
def test_false_equivalence_is_rare_at_the_margin(n: int, discordance: float, margin: float) -> None:
    """By enumeration of all outcomes: at most 5.4 % where the candidate is truly worse by exactly the margin."""
    assert paired.power(n, discordance, margin, difference=-margin) <= 0.054


@pytest.mark.parametrize(("n", "discordance", "margin"), CELLS[::3])
def test_power_is_what_a_walk_over_all_tables_gives(n: int, discordance: float, margin: float) -> None:
    better = discordance / 2
    total = 0.0
    for apart in range(0, int(n * discordance * 3) + 30):
        weight = stats.binom.pmf(apart, n, discordance)
        if weight > 1e-13:
            passing = [b for b in range(apart + 1) if paired.equivalent(b, apart - b, n, margin)]
            total += weight * sum(stats.binom.pmf(passing, apart, better / discordance))
    assert paired.power(n, discordance, margin) == pytest.approx(total, abs=1e-9)


@pytest.mark.parametrize("discordance", [0.02, 0.1, 0.3])
@pytest.mark.parametrize("n", [50, 198, 500])
def test_mid_p_claims_a_difference_where_there_is_none_in_five_of_a_hundred(n: int, discordance: float) -> None:
    """Given how many items differ, their split is a coin's: enumerated, averaged over that number."""
    total = 0.0
    for apart in range(int(n * discordance + 8 * math.sqrt(n * discordance)) + 1):
        weight = stats.binom.pmf(apart, n, discordance)
        if weight > 1e-10:
            # The fewest on one side that are still no claim: the claims are the two tails below it.
            least = next(b for b in range(apart // 2 + 1) if paired.mcnemar_midp(b, apart - b) >= 0.05)
            total += weight * 2 * stats.binom.cdf(least - 1, apart, 0.5)
    assert total <= 0.051


def test_impossible_tables_are_refused() -> None:
    with pytest.raises(ValueError, match="5 and 6 discordant items of 10"):
        paired.tango(5, 6, 10)
