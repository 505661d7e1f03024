"""Which settings of a service to measure next, and when their order is settled. Pure: the same trials give the same step.

A trial is one start of the service and one short load; its figure is tokens a second. Every candidate is tried once, in the order given. Then those
are tried again that the best one is not apart from, so that one lucky start decides nothing. The search ends when the best is apart from all others, when
what is left differs by less than ALIKE, when each of them had VISITS starts, or when the budget has no room for another trial and the way back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Sequence

from ansible.module_utils.serving.service.bench import spread

ALIKE = 0.02  # a difference that nobody changes a row for
VISITS = 3  # starts of one candidate at most
SETTLED, EQUAL, VISITED, BUDGET, NOTHING = "settled", "alike", "visited", "budget", "nothing"


@dataclass(frozen=True)
class Trial:
    """One start and its load. `seconds`: all of it; `values`: tokens a second of each repeat, none where there is a `problem`."""

    candidate: str
    seconds: float
    values: tuple[float, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class Standing:
    """What all trials of one candidate say. `half`: half of the 95 % interval over all repeats, and at least of the span of its starts; None of one value."""

    candidate: str
    visits: int
    mean: float | None = None
    half: float | None = None
    problem: str = ""


class Step(NamedTuple):
    """`candidate`: what to try now; None where the search is over, and then `result` says how it ended and `winner` which one to take."""

    candidate: str | None
    why: str
    ranking: tuple[Standing, ...]
    result: str = ""
    winner: str | None = None


def standing(candidate: str, trials: Sequence[Trial]) -> Standing:
    """One candidate's figure over its trials. A trial that failed counts for good: what doesn't start each time is no choice."""
    mine = [trial for trial in trials if trial.candidate == candidate]
    problem = next((trial.problem for trial in mine if trial.problem), "")
    if problem:
        return Standing(candidate, len(mine), problem=problem)
    starts = [list(trial.values) for trial in mine if trial.values]
    values = [value for one in starts for value in one]
    if not values:
        return Standing(candidate, len(mine))
    found = spread(values)
    # Repeats of one start are more alike than starts are: where starts differ more than their repeats say, that counts.
    means = [sum(one) / len(one) for one in starts]
    half = None if found["half"] is None else max(found["half"], (max(means) - min(means)) / 2)
    return Standing(candidate, len(mine), found["mean"], half)


def apart(better: Standing, other: Standing) -> bool:
    """Is the difference of two figures more than chance, and worth a change?"""
    if better.mean is None or other.mean is None or better.half is None or other.half is None:
        return False
    gap = better.mean - other.mean
    return gap > (better.half**2 + other.half**2) ** 0.5 and gap >= ALIKE * other.mean


def ranked(candidates: Sequence[str], trials: Sequence[Trial]) -> list[Standing]:
    """Best first: by mean; then what has none, and what doesn't work, in the order given."""
    found = [standing(name, trials) for name in candidates]
    place = {name: number for number, name in enumerate(candidates)}
    return sorted(
        found, key=lambda one: (bool(one.problem), one.mean is None, -(one.mean or 0.0), place[one.candidate])
    )


def near(ranking: Sequence[Standing]) -> list[Standing]:
    """Those that measured, without what the best is apart from; the best comes first."""
    found = [one for one in ranking if one.mean is not None]
    return [one for one in found if one is found[0] or not apart(found[0], one)]


def spent(trials: Sequence[Trial]) -> float:
    """Seconds that trials took."""
    return sum(trial.seconds for trial in trials)


def left(trials: Sequence[Trial], budget: float) -> float:
    """Seconds that another trial may take: of the budget, without what trials took and what the way back will take."""
    return budget - spent(trials) - max((trial.seconds for trial in trials), default=0.0)


def room(trials: Sequence[Trial], budget: float) -> bool:
    """Has the budget room for another trial as long as the longest so far, and for the way back? The first one always has."""
    return not trials or left(trials, budget) >= max(trial.seconds for trial in trials)


def winner(ranking: Sequence[Standing], now: str) -> str | None:
    """The best, unless what runs now is not apart from it, or was not measured: nothing is changed for what may be chance. None: nothing works."""
    found = near(ranking)
    if not found:
        return None
    unknown = any(one.candidate == now and one.mean is None and not one.problem for one in ranking)
    return now if unknown or any(one.candidate == now for one in found) else found[0].candidate


def step(candidates: Sequence[str], now: str, trials: Sequence[Trial], budget: float) -> Step:
    """The next trial, or the end. `candidates` in the order to try them; `now`: the one that runs; `budget` in seconds."""
    ranking = tuple(ranked(candidates, trials))

    def over(result: str, why: str) -> Step:
        return Step(None, why, ranking, result, winner(ranking, now))

    new = [name for name in candidates if not any(trial.candidate == name for trial in trials)]
    if new and room(trials, budget):
        return Step(new[0], "not tried yet", ranking)
    if new:
        return over(BUDGET, "the budget of %d s ended with %d of %d not tried" % (budget, len(new), len(candidates)))
    close = near(ranking)
    if not close:
        return over(NOTHING, "none of them worked")
    if len(close) == 1:
        return over(SETTLED, "the best is apart from all others")
    means = [one.mean or 0.0 for one in close]
    if all(one.half is not None and one.half <= ALIKE * means[0] for one in close) and means[0] - min(
        means
    ) < ALIKE * min(means):
        return over(EQUAL, "the %d best differ by less than %d %%" % (len(close), ALIKE * 100))
    again = [one for one in close if one.visits < VISITS]
    if not again:
        return over(VISITED, "%d starts of each did not tell the %d best apart" % (VISITS, len(close)))
    if not room(trials, budget):
        return over(BUDGET, "the budget of %d s ended with %d not told apart" % (budget, len(close)))
    # Those that were started least often first; of these the one that was tried longest ago, so that a host that gets slower favours nobody.
    last = {trial.candidate: number for number, trial in enumerate(trials)}
    chosen = min(again, key=lambda one: (one.visits, last[one.candidate]))
    return Step(chosen.candidate, "the best is not apart from it", ranking)
