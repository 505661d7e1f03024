"""Data sets of a full verdict: items with a known answer that a harness asked both sides, scored here, by one scorer.

A set in a pack is {name, data, harness, sampling, tokens, scorer, items}; an item {id, messages, expect, answer: {text, finish, tokens}}. `data` is
the digest of the questions and their answers: another revision of a data set has another one. A set that evalscope knows by name also has `known`,
its name there, and each answer what evalscope read out of it: {read, right}. Where each question was asked more than once (`repeats`, at a
`temperature`) an item has `answers`, a list, and the repeat N of item ID is asked as ID#N.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from judging import canary, verdict
from judging.paired import mcnemar_midp
from judging.recorded import SCORER, clipped, shown
from judging.recorded import questions as own_questions
from judging.verdict import INCOMPARABLE, Finding

TOP_P = 0.95  # of answers that are drawn, as vendors recommend with a temperature of 0.6

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
        for url in images_of(row["messages"]):
            if not url.startswith("data:image/"):
                raise ValueError(
                    f"{path}: item {row['id']!r} has the image {url[:60]!r}; write its bytes, as in data:image/png;base64,..."
                )
    if not rows:
        raise ValueError(f"{path} has no questions")
    return rows


def images_of(messages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The addresses of the images in messages."""
    for message in messages:
        content = message.get("content")
        for part in content if isinstance(content, list) else []:
            if part.get("type") == "image_url":
                yield str(part["image_url"]["url"])


def revision(items: Sequence[Mapping[str, Any]]) -> str:
    """The digest of a data set: its questions and answers, in their order."""
    rows = [[item["id"], item["messages"], item["expect"]] for item in items]
    return hashlib.sha256(json.dumps(rows, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()


def scorer(known: str | None, harness: str) -> str:
    """Who says what is right: our rule, or the harness's for a set that it knows."""
    return f"{harness} {known}" if known else SCORER


def right(item: Mapping[str, Any], answer: Mapping[str, Any]) -> bool:
    """Is an answer right? One that its limit cut is wrong, whatever could be read out of it; what was thought aloud is no part of it."""
    if "right" in answer:
        return bool(answer["right"]) and answer.get("finish") != "length"
    return canary.right(item, {**answer, "text": str(answer.get("text", "")).rpartition("</think>")[2]})


def sampling(one: Mapping[str, Any]) -> dict[str, float]:
    """How a set's answers are chosen: greedily where each question is asked once, else drawn."""
    drawn = int(one.get("repeats", 1)) > 1
    return {"temperature": float(one["temperature"]), "top_p": TOP_P} if drawn else {"temperature": 0.0, "top_p": 1.0}


def names_of(item: Mapping[str, Any], repeats: int) -> list[str]:
    """By which names an item is asked."""
    return [item["id"]] if repeats == 1 else [f"{item['id']}#{number}" for number in range(1, repeats + 1)]


def repeated(one: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The items of a set, once for each time that they are asked."""
    return [{**item, "id": name} for item in one["items"] for name in names_of(item, int(one.get("repeats", 1)))]


def answers_of(item: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What the reference said to an item, once or more."""
    return list(item["answers"]) if "answers" in item else [item["answer"]]


KEPT = ("id", "messages", "expect", "choices", "about")
TERMS = ("known", "title", "shots", "source", "margin", "repeats", "temperature")


def recorded(one: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """A set as a pack keeps it. `one`: {name, items, tokens} and TERMS; `asked`: what module harness says, scored.

    ValueError where an item has no answer: a reference must have all of them.
    """
    rows, answers, repeats = repeated(one), asked["answers"], int(one.get("repeats", 1))
    lost = [row["id"] for row in rows if row["id"] not in answers]
    if lost:
        why = asked.get("problem") or "no reason is known"
        raise ValueError(
            f"{len(lost)} of {len(rows)} items of {one['name']} have no answer, {lost[0]} the first: {why}"
        )
    items = []
    for item in one["items"]:
        said = [dict(answers[name]) for name in names_of(item, repeats)]
        kept = {key: item[key] for key in KEPT if key in item}
        items.append(kept | ({"answers": said} if repeats > 1 else {"answer": said[0]}))
    return {
        "name": one["name"], "data": revision(one["items"]), "harness": asked["version"], "tokens": one["tokens"],
        "scorer": scorer(one.get("known"), asked["version"]), "sampling": asked["sampling"],
        **{key: one[key] for key in TERMS if one.get(key) is not None}, "items": items,
    }  # fmt: skip


def unlike(one: Mapping[str, Any], rules: Mapping[str, Any]) -> Iterator[Finding]:
    """What differs before anything is asked. `rules`: version of the harness and sampling with which a service would be asked."""
    name = one["name"]
    if one["data"] != revision(one["items"]):
        yield Finding(
            name, INCOMPARABLE, "its questions are of another revision than the pack says; make the pack anew"
        )
    for key, now in (("harness", rules["version"]), ("scorer", scorer(one.get("known"), rules["version"]))):
        if one[key] != now:
            yield Finding(
                name, INCOMPARABLE, f"the pack has it by {key} {one[key]}, and {now} asks here; record it anew"
            )
    if "sampling" in one and one["sampling"] != rules["sampling"]:
        yield Finding(
            name,
            INCOMPARABLE,
            f"the pack has it with sampling {one['sampling']}, and a service is asked with {rules['sampling']}; record it anew",
        )
    yield from cut(one, "the reference", [answer for item in one["items"] for answer in answers_of(item)])


def cut(one: Mapping[str, Any], side: str, answers: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    """A finding where the limit has cut more answers of a side than can be called wrong without a choice."""
    count = len(one["items"]) * int(one.get("repeats", 1))
    short = sum(answer.get("finish") == "length" for answer in answers)
    if short > CUT * count:
        why = (
            f"{short} of {count} answers of {side} end at the limit of {one['tokens']} tokens; record it anew with more"
        )
        yield Finding(one["name"], INCOMPARABLE, why)


def incomparable(one: Mapping[str, Any], asked: Mapping[str, Any]) -> Iterator[Finding]:
    """What differs that no statistics can bridge."""
    yield from unlike(one, asked)
    rows, answers = repeated(one), asked["answers"]
    lost = [row["id"] for row in rows if row["id"] not in answers]
    if len(lost) > MISSING * len(rows):
        yield Finding(
            one["name"],
            INCOMPARABLE,
            f"{len(lost)} of {len(rows)} items have no answer ({asked['problem'] or 'no reason is known'})",
        )
    yield from cut(one, "this service", [answers[row["id"]] for row in rows if row["id"] in answers])


def came_to_its_end(one: Mapping[str, Any], asked: Mapping[str, Any]) -> bool:
    """Is so much answered that a verdict can be made of it?"""
    count = len(one["items"]) * int(one.get("repeats", 1))
    return count - len(asked["answers"]) <= MISSING * count


def of_set(one: Mapping[str, Any], asked: Mapping[str, Any], margin: float) -> list[Finding]:
    """The findings on one data set. `asked`: what module harness says, scored. `margin`: a share.

    A missing answer counts as the worst that it can be: unlike the reference's.
    """
    found, answers, repeats = list(incomparable(one, asked)), asked["answers"], int(one.get("repeats", 1))
    if found:
        return found
    here: list[list[bool]] = []
    there = [[right(item, answer) for answer in answers_of(item)] for item in one["items"]]
    for item, said in zip(one["items"], there, strict=True):
        names = names_of(item, repeats)
        here.append(
            [right(item, answers[n]) if n in answers else not good for n, good in zip(names, said, strict=True)]
        )
    if repeats > 1:
        return [verdict.of_repeats(one["name"], here, there, margin)]
    b = sum(mine[0] and not other[0] for mine, other in zip(here, there, strict=True))
    c = sum(other[0] and not mine[0] for mine, other in zip(here, there, strict=True))
    return [verdict.of_score(one["name"], b, c, len(here), margin, mcnemar_midp(b, c))]


def side_by_side(one: Mapping[str, Any], answers: Answers) -> Iterator[dict[str, Any]]:
    """Items that are right on one side alone; of drawn answers those that one side has right more often than not, and the other less."""
    repeats = int(one.get("repeats", 1))
    for item in one["items"]:
        mine = [answers[name] for name in names_of(item, repeats) if name in answers]
        other = answers_of(item)
        if mine and most(item, mine) != most(item, other):
            yield {
                "id": item["id"], "load": 0, "asked": shown(item["messages"])[:200], "expected": item["expect"],
                "reference": clipped(other[0].get("text", "")), "here": clipped(mine[0].get("text", "")),
            }  # fmt: skip


def most(item: Mapping[str, Any], answers: Sequence[Mapping[str, Any]]) -> bool:
    return 2 * sum(right(item, answer) for answer in answers) > len(answers)
