"""Which settings to try next, and when their order is settled."""

from __future__ import annotations

import random

import pytest
from ansible.module_utils.serving.service.trials import (
    ALIKE,
    BUDGET,
    EQUAL,
    NOTHING,
    SETTLED,
    VISITED,
    VISITS,
    Step,
    Trial,
    standing,
    step,
)
from hypothesis import given
from hypothesis import strategies as st

HOUR = 3600.0


def search(
    speeds: dict[str, float],
    budget: float = HOUR,
    seconds: float = 60.0,
    noise: float = 0.004,
    now: str = "now",
    seed: int = 1,
) -> tuple[Step, list[Trial]]:
    """A whole search over candidates of these speeds; a speed of 0 doesn't start."""
    chance, trials = random.Random(seed), list[Trial]()
    while (found := step(list(speeds), now, trials, budget)).candidate is not None:
        speed = speeds[found.candidate]
        values = tuple(speed * (1 + chance.uniform(-noise, noise)) for _ in range(3)) if speed else ()
        trials.append(Trial(found.candidate, seconds, values, "" if speed else "out of memory"))
        assert len(trials) <= VISITS * len(speeds)
    return found, trials


def test_each_is_tried_once_in_the_order_given_and_a_clear_winner_ends_it() -> None:
    found, trials = search({"wide": 900, "now": 700, "narrow": 500})
    assert [one.candidate for one in trials] == ["wide", "now", "narrow"]
    assert (found.winner, found.result) == ("wide", SETTLED)
    assert [one.candidate for one in found.ranking] == ["wide", "now", "narrow"]


def test_what_is_near_the_best_is_started_again_and_what_is_far_is_not() -> None:
    """Noise of 4 %: one start can't tell 1000 from 1030, and 500 needs no second look."""
    _, trials = search({"a": 1000, "now": 1030, "far": 500}, noise=0.04)
    tried = [one.candidate for one in trials]
    assert tried.count("far") == 1 and tried.count("a") > 1 and tried.count("now") > 1
    assert tried[3:5] in (["a", "now"], ["now", "a"])  # in turn


def test_what_runs_now_stays_unless_another_is_apart_and_worth_it() -> None:
    found, _ = search({"a": 1000, "now": 1000}, noise=0.001)
    assert (found.winner, found.result) == ("now", EQUAL)
    # Surely faster, but by less than anybody changes a row for.
    found, _ = search({"a": 1000 * (1 + ALIKE / 2), "now": 1000}, noise=0.0005)
    assert (found.winner, found.result) == ("now", EQUAL)
    found, trials = search({"a": 1010, "now": 1000, "b": 990}, noise=0.08)
    assert (found.winner, found.result) == ("now", VISITED) and len(trials) == 9
    # What runs now is apart from the best: of those that are alike, the best mean.
    found, _ = search({"a": 1003, "b": 1000, "now": 800}, noise=0.001)
    assert found.winner in ("a", "b")


def test_what_does_not_start_is_never_tried_again_and_never_wins() -> None:
    found, trials = search({"a": 0, "now": 500, "b": 0})
    assert found.winner == "now" and [one.candidate for one in trials] == ["a", "now", "b"]
    assert [one.problem for one in found.ranking] == ["", "out of memory", "out of memory"]
    found, _ = search({"a": 0, "now": 0})
    assert (found.result, found.winner) == (NOTHING, None)


def test_a_failure_in_a_later_start_counts_for_good() -> None:
    trials = [Trial("a", 60, (900, 901)), Trial("now", 60, (890, 910)), Trial("a", 60, (), "it died")]
    assert standing("a", trials).mean is None and standing("a", trials).visits == 2
    assert step(["a", "now"], "now", trials, HOUR).winner == "now"


def test_the_budget_keeps_room_for_the_way_back() -> None:
    """Trials of 100 s: with 250 s there is no room for a second one, since the way back takes as long as the longest."""
    found, trials = search({"now": 700, "a": 900}, budget=250, seconds=100)
    assert len(trials) == 1 and found.result == BUDGET and "1 of 2 not tried" in found.why
    assert found.winner == "now"
    # Without a figure of what runs now there is nothing to be faster than.
    assert search({"a": 900, "now": 700}, budget=250, seconds=100)[0].winner == "now"
    found, trials = search({"a": 900, "now": 700}, budget=300, seconds=100)
    assert len(trials) == 2 and found.result == SETTLED
    found, trials = search({"a": 900, "now": 700}, budget=1, seconds=100)
    assert len(trials) == 1  # one always runs, or nothing would be learned


def test_one_repeat_has_no_interval_and_settles_nothing_by_itself() -> None:
    trials = [Trial("a", 60, (1000,)), Trial("now", 60, (10,))]
    assert step(["a", "now"], "now", trials, HOUR).candidate == "a"


def test_starts_that_differ_widen_the_interval() -> None:
    """Repeats of one start agree to a tenth, the starts differ by 100: the interval says so."""
    assert (standing("a", [Trial("a", 60, (1000.0, 1000.1, 999.9))]).half or 0) < 1
    both = standing("a", [Trial("a", 60, (1000.0, 1000.1, 999.9)), Trial("a", 60, (900.0, 900.1, 899.9))])
    assert both.mean == pytest.approx(950) and (both.half or 0) >= 50


@given(
    st.lists(st.integers(0, 2000), min_size=1, max_size=6),
    st.floats(1, 4000),
    st.floats(0.1, 500),
    st.sampled_from([0.0, 0.01, 0.3]),
    st.integers(0, 9),
)
def test_every_search_ends_within_its_budget_and_its_bound(
    speeds: list[int], budget: float, seconds: float, noise: float, seed: int
) -> None:
    rows = {f"c{number}": float(speed) for number, speed in enumerate(speeds)}
    found, trials = search(rows, budget, seconds, noise, now="c0", seed=seed)
    assert 1 <= len(trials) <= VISITS * len(rows)
    assert len(trials) == 1 or seconds * (len(trials) + 1) <= budget + 1e-6
    works = {one.candidate for one in trials if one.values}
    assert found.winner in (works | {"c0"} if works else {None})
    # Pure: a run that was killed and goes on makes the same step from the same trials.
    for number in range(len(trials)):
        assert step(list(rows), "c0", trials[:number], budget).candidate == trials[number].candidate
