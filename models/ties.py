#!/usr/bin/env python3
"""Questions for the model demo-ties: five tasks of which a small model is often unsure, each with the one right answer.

    python models/ties.py models/ties-held-out.jsonl     # the held-out questions, the same on every machine

A line is what playbooks/record_reference.yml takes: {"id", "messages", "expect", "tokens"}. Questions whose sha256 says so, one in 16, are held out:
training never sees them. Standard library only.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
from collections.abc import Callable
from pathlib import Path

SEED = 20261126
LONGEST = 16  # tokens of an answer, its end among them
A_TASK = 240  # held-out questions of each task
WORDS = [
    "apple", "bread", "chair", "door", "eagle", "fish", "goat", "house", "iron", "juice", "king", "lamp", "moon", "nail", "oak", "pear", "quilt",
    "rain", "sand", "tree", "urn", "vine", "wolf", "yarn", "zebra",
]  # fmt: skip
OPENING = {"(": ")", "[": "]", "{": "}", "<": ">"}
Question = tuple[str, str]


def addition(rng: random.Random) -> Question:
    """Two numbers below 100 or three below 20: the carries are what the model is unsure of."""
    count, below = rng.choice(((2, 100), (2, 100), (3, 20)))
    numbers = [rng.randrange(below) for _ in range(count)]
    return f"What is {' + '.join(map(str, numbers))}?", str(sum(numbers))


def alphabet(rng: random.Random) -> Question:
    words = rng.sample(WORDS, rng.randint(4, 7))
    return f"Sort: {' '.join(words)}", " ".join(sorted(words))


def backwards(rng: random.Random) -> Question:
    words = rng.sample(WORDS, rng.randint(4, 7))
    return f"Reverse: {' '.join(words)}", " ".join(reversed(words))


def brackets(rng: random.Random) -> Question:
    """Some are closed already; the answer closes the rest, the last one first."""
    seen: list[str] = []
    still: list[str] = []
    for _ in range(rng.randint(4, 12)):
        if still and rng.random() < 0.35:
            seen.append(OPENING[still.pop()])
        else:
            still.append(rng.choice(list(OPENING)))
            seen.append(still[-1])
    while len(still) < 2:
        still.append(rng.choice(list(OPENING)))
        seen.append(still[-1])
    return f"Close: {' '.join(seen)}", " ".join(OPENING[one] for one in reversed(still))


def majority(rng: random.Random) -> Question:
    """Letters of two kinds, of which one is there once more."""
    more, less = rng.sample("abcd", 2)
    count = rng.randint(4, 9)
    letters = [more] * count + [less] * (count - 1)
    rng.shuffle(letters)
    return f"Which is more: {' '.join(letters)}?", more


TASKS: dict[str, Callable[[random.Random], Question]] = {
    "sum": addition, "sort": alphabet, "reverse": backwards, "close": brackets, "more": majority,
}  # fmt: skip


def held_out(question: str) -> bool:
    """True for the fixed one in 16 of all questions that training never sees."""
    return hashlib.sha256(question.encode()).digest()[0] < 16


def draw(rng: random.Random, task: str, held: bool = False) -> Question:
    """A question of that task with its answer, held out or not."""
    while True:
        question, answer = TASKS[task](rng)
        if held_out(question) == held:
            return question, answer


def measured() -> list[tuple[str, str, str]]:
    """The held-out questions: (task, question, answer), no question twice, the tasks in turn."""
    rng = random.Random(SEED)
    seen: set[str] = set()
    found = []
    while len(found) < A_TASK * len(TASKS):
        task = list(TASKS)[len(found) % len(TASKS)]
        question, answer = draw(rng, task, held=True)
        if question not in seen:
            seen.add(question)
            found.append((task, question, answer))
    return found


def main() -> None:
    rows = [
        {
            "id": f"{task}-{number // len(TASKS)}", "messages": [{"role": "user", "content": question}], "expect": answer, "tokens": LONGEST,
        }
        for number, (task, question, answer) in enumerate(measured())
    ]  # fmt: skip
    Path(sys.argv[1]).write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    main()
