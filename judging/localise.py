"""Which of some operators make a service unlike its reference: the next set to try, from what the sets before it showed.

A search by prefixes: with the first so many operators on, the service is alike or not; between the longest prefix that is alike and the
shortest that is not, one operator makes the difference. It is taken out, and the search goes on until the rest together is alike.
Each culprit is then confirmed singly: alone it makes the service unlike, where nothing else is on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from judging.verdict import DIFFERENT, EQUIVALENT

MOST = 20  # restarts of one search, with its controls
# Fills are right or wrong to the bit, so they come first: a prefix that is unlike is then found early.
FIRST = ("zeros", "ones", "full", "fill", "arange", "zero_")


class Trial(NamedTuple):
    """One restart: operators that were on, and the verdict."""

    active: frozenset[str]
    verdict: str


class Step(NamedTuple):
    """What to do now. `active`: operators to switch on for the next trial; None where the search is over, and `result` says how."""

    active: frozenset[str] | None
    why: str
    culprits: tuple[str, ...] = ()
    result: str = ""


def ordered(operators: Sequence[str]) -> list[str]:
    """The order of prefixes: fills, then by name, so that a run that was killed goes on with the same sets."""
    return sorted(set(operators), key=lambda name: (not name.startswith(FIRST), name))


def most_restarts(count: int, culprits: int) -> int:
    """Restarts that so many culprits among `count` operators take: three controls, and for each one a bisection, a check and a proof."""
    return 3 + culprits * (math.ceil(math.log2(max(2, count))) + 2)


def step(operators: Sequence[str], trials: Sequence[Trial]) -> Step:
    """The next trial, or the end. Pure: the same trials give the same step."""
    names = ordered(operators)
    everything = frozenset(names)
    nothing: frozenset[str] = frozenset()
    seen: dict[frozenset[str], list[str]] = {}
    for trial in trials:
        seen.setdefault(trial.active, []).append(trial.verdict)
    if len(trials) >= MOST:
        return Step(None, f"{MOST} restarts did not end the search", result="unfinished")
    # Controls: unlike with all, and once more so, and alike with none.
    for active, wanted, times, why in (
        (everything, DIFFERENT, 2, "all operators on"), (nothing, EQUIVALENT, 1, "all operators off"),
    ):  # fmt: skip
        verdicts = seen.get(active, [])
        if any(word != wanted for word in verdicts):
            return Step(
                None,
                f"with {why} it is {verdicts[-1]}",
                result="not these operators" if active == nothing else "not steady",
            )
        if len(verdicts) < times:
            return Step(active, f"control: {why}")
    culprits: list[str] = []
    while True:
        left = [name for name in names if name not in culprits]
        whole = verdict_of(seen, frozenset(left))
        if whole is None:
            return Step(frozenset(left), "the rest without " + ", ".join(culprits), tuple(culprits))
        if whole == EQUIVALENT:
            break
        if whole != DIFFERENT:
            return Step(None, f"the rest without {', '.join(culprits)} is {whole}", tuple(culprits), "unfinished")
        alike, unlike = 0, len(left)  # lengths of prefixes
        while unlike - alike > 1:
            middle = (alike + unlike) // 2
            word = verdict_of(seen, frozenset(left[:middle]))
            if word is None:
                return Step(frozenset(left[:middle]), f"the first {middle} of {len(left)}", tuple(culprits))
            if word not in (DIFFERENT, EQUIVALENT):
                return Step(None, f"the first {middle} of {len(left)} are {word}", tuple(culprits), "unfinished")
            alike, unlike = (alike, middle) if word == DIFFERENT else (middle, unlike)
        culprits.append(left[unlike - 1])
    for name in culprits:
        word = verdict_of(seen, frozenset([name]))
        if word is None:
            return Step(frozenset([name]), f"{name} alone", tuple(culprits))
    alone = [name for name in culprits if verdict_of(seen, frozenset([name])) == DIFFERENT]
    together = [name for name in culprits if name not in alone]
    words = "; ".join(
        text for text, there in (
            (f"{', '.join(alone)}: unlike the reference by itself", alone),
            (f"{', '.join(together)}: unlike only together with others", together),
        ) if there
    )  # fmt: skip
    return Step(None, words, tuple(culprits), "found")


def verdict_of(seen: dict[frozenset[str], list[str]], active: frozenset[str]) -> str | None:
    """What a set showed; nothing at all on is what the control was."""
    return seen[active][-1] if active in seen else None
