"""The search for operators that make a service unlike its reference, with culprits planted in a stand-in for restarts."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import pytest

from judging import localise
from judging.localise import Trial

OPERATORS = ["add_", "arange_start", "argmax", "cat", "cos", "cumsum_out", "embedding", "gather", "ones", "reciprocal", "sin", "sub",
             "topk", "true_divide", "uniform_", "zero_", "zeros", "zeros_like"]  # fmt: skip
Engine = Callable[[frozenset[str]], str]


def search(engine: Engine, operators: list[str] | None = None) -> tuple[localise.Step, int]:
    trials: list[Trial] = []
    while True:
        step = localise.step(operators or OPERATORS, trials)
        if step.active is None:
            return step, len(trials)
        assert len(trials) < localise.MOST
        trials.append(Trial(step.active, engine(step.active)))


def planted(*culprits: str) -> Engine:
    return lambda active: "DIFFERENT" if active & set(culprits) else "EQUIVALENT"


@pytest.mark.parametrize("name", OPERATORS)
def test_one_culprit_is_found_and_confirmed_alone(name: str) -> None:
    step, restarts = search(planted(name))
    assert (step.culprits, step.result) == ((name,), "found") and f"{name}: unlike the reference by itself" in step.why
    assert restarts <= localise.most_restarts(len(OPERATORS), 1) == 10


def test_every_pair_of_culprits_is_found() -> None:
    for pair in itertools.combinations(OPERATORS, 2):
        step, restarts = search(planted(*pair))
        assert set(step.culprits) == set(pair) and step.result == "found" and restarts <= localise.most_restarts(18, 2)


def test_sixty_four_operators_take_no_more_restarts_than_promised() -> None:
    names = [f"op{number}" for number in range(64)]
    for name in random.Random(1).sample(names, 20):
        step, restarts = search(planted(name), names)
        assert step.culprits == (name,) and restarts <= 11
    step, restarts = search(planted("op3", "op60"), names)
    assert set(step.culprits) == {"op3", "op60"} and restarts <= 19


def test_two_that_fail_only_together_are_told_apart_from_one_that_fails_alone() -> None:
    step, _ = search(lambda active: "DIFFERENT" if {"cos", "sin"} <= active else "EQUIVALENT")
    assert (
        step.result == "found"
        and "unlike only together with others" in step.why
        and set(step.culprits) & {"cos", "sin"}
    )


def test_without_any_operator_unlike_as_well_the_search_stops_at_once() -> None:
    step, restarts = search(lambda active: "DIFFERENT")
    assert step.result == "not these operators" and restarts == 3 and step.culprits == ()


def test_a_service_that_is_unlike_only_sometimes_is_no_ground_for_blame() -> None:
    words = iter(["DIFFERENT", "EQUIVALENT"])
    step, restarts = search(lambda active: next(words))
    assert step.result == "not steady" and restarts == 2


def test_an_undecided_trial_ends_the_search_without_a_name() -> None:
    step, _ = search(
        lambda active: "UNDERPOWERED" if 0 < len(active) < len(OPERATORS) else ("DIFFERENT" if active else "EQUIVALENT")
    )
    assert step.result == "unfinished" and step.culprits == ()


def test_too_many_culprits_end_at_the_bound() -> None:
    step, restarts = search(planted(*OPERATORS))
    assert step.result == "unfinished" and restarts == localise.MOST


def test_a_killed_search_goes_on_where_it_was() -> None:
    trials: list[Trial] = []
    engine = planted("topk", "zeros")
    for _ in range(6):
        step = localise.step(OPERATORS, trials)
        assert step.active is not None
        trials.append(Trial(step.active, engine(step.active)))
    again = localise.step(list(reversed(OPERATORS)), list(trials))
    assert again == localise.step(OPERATORS, trials)
