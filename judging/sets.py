"""Data sets of a full verdict: items with a known answer that a harness asked both sides, scored here, by one scorer.

A set in a pack is {name, data, harness, sampling, tokens, scorer, items}; an item {id, messages, expect, answer: {text, finish, tokens}}. `data` is
the digest of the questions and their answers: another revision of a data set has another one. A set that evalscope knows by name also has `known`,
its name there, and each answer what evalscope read out of it: {read, right}.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from judging import canary, verdict
from judging.paired import mcnemar_midp
from judging.recorded import SCORER
from judging.recorded import questions as own_questions
from judging.verdict import INCOMPARABLE, Finding

Answers = Mapping[str, Mapping[str, Any]]
# Shares of the items beyond which what is left would be a choice: answers that are missing, and answers that a limit has cut.
MISSING, CUT = 0.005, 0.02


def questions(path: Path) -> list[dict[str, Any]]:
    """Items of a data set: a file of questions as record_reference takes it, each with messages (or a text) and its answer."""
    rows = own_questions(path)
    for row in rows:
        if row["expect"] is None:
            raise ValueError(f"{path}: item {row['id']!r} has no 'expect', and a data set is scored by it")
        row.setdefault("messages", [{"role": "user", "content": row.get("text")}])
    if not rows:
        raise ValueError(f"{path} has no questions")
    return rows


def revision(items: Sequence[Mapping[str, Any]]) -> str:
    """The digest of a data set: its questions and answers, in their order."""
    rows = [[item["id"], item["messages"], item["expect"]] for item in items]
    return hashlib.sha256(json.dumps(rows, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()


def scorer(known: str | None, harness: str) -> str:
    """Who says what is right: our rule, or the harness's for a set that it knows."""
    return f"{harness} {known}" if known else SCORER


def right(item: Mapping[str, Any], answer: Mapping[str, Any]) -> bool:
    """Is an answer right? One that its limit cut is wrong, whatever could be read out of it."""
    if "right" in answer:
        return bool(answer["right"]) and answer.get("finish") != "length"
    return canary.right(item, answer)


def recorded(
    name: str,
    items: Sequence[Mapping[str, Any]],
    answers: Answers,
    tokens: int,
    harness: str,
    known: str | None = None,
) -> dict[str, Any]:
    """A set as a pack keeps it. ValueError where an item has no answer: a reference must have all of them."""
    lost = [item["id"] for item in items if item["id"] not in answers]
    if lost:
        raise ValueError(f"{len(lost)} of {len(items)} items of {name} have no answer, {lost[0]} the first")
    return {
        "name": name, "data": revision(items), "harness": harness, "tokens": tokens, "scorer": scorer(known, harness),
        **({"known": known} if known else {}),
        "items": [
            {key: item[key] for key in ("id", "messages", "expect", "choices") if key in item} | {"answer": dict(answers[item["id"]])}
            for item in items
        ],
    }  # fmt: skip


def incomparable(one: Mapping[str, Any], asked: Mapping[str, Any]) -> Iterator[Finding]:
    """What differs that no statistics can bridge."""
    name, items, answers = one["name"], one["items"], asked["answers"]
    if one["data"] != revision(items):
        yield Finding(
            name, INCOMPARABLE, "its questions are of another revision than the pack says; make the pack anew"
        )
    for key, now in (("harness", asked["version"]), ("scorer", scorer(one.get("known"), asked["version"]))):
        if one[key] != now:
            yield Finding(
                name, INCOMPARABLE, f"the pack has it by {key} {one[key]}, and {now} asked here; record it anew"
            )
    lost = [item["id"] for item in items if item["id"] not in answers]
    if len(lost) > MISSING * len(items):
        yield Finding(
            name,
            INCOMPARABLE,
            f"{len(lost)} of {len(items)} items have no answer ({asked['problem'] or 'no reason is known'})",
        )
    there = [item["answer"] for item in items]
    for side, found in (
        ("the reference", there),
        ("this service", [answers[i["id"]] for i in items if i["id"] in answers]),
    ):
        cut = sum(answer.get("finish") == "length" for answer in found)
        if cut > CUT * len(items):
            why = f"{cut} of {len(items)} answers of {side} end at the limit of {one['tokens']} tokens; record it anew with more"
            yield Finding(name, INCOMPARABLE, why)


def of_set(one: Mapping[str, Any], asked: Mapping[str, Any], margin: float) -> list[Finding]:
    """The findings on one data set. `asked`: what module harness says. `margin`: a share.

    A missing answer counts as the worst that it can be: unlike the reference's.
    """
    found, answers = list(incomparable(one, asked)), asked["answers"]
    if found:
        return found
    both = []
    for item in one["items"]:
        there = right(item, item["answer"])
        both.append((right(item, answers[item["id"]]) if item["id"] in answers else not there, there))
    b, c = sum(here and not there for here, there in both), sum(there and not here for here, there in both)
    return [verdict.of_score(one["name"], b, c, len(both), margin, mcnemar_midp(b, c))]


def side_by_side(one: Mapping[str, Any], answers: Answers) -> Iterator[dict[str, Any]]:
    """Items that are right on one side alone."""
    for item in one["items"]:
        answer = answers.get(item["id"])
        if answer and right(item, answer) != right(item, item["answer"]):
            yield {
                "id": item["id"], "load": 0, "asked": str(item["messages"][-1].get("content"))[:200], "expected": item["expect"],
                "reference": item["answer"].get("text", ""), "here": answer.get("text", ""),
            }  # fmt: skip
