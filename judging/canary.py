"""The canary level: a service's answers beside a pack's, from what library/canary.py brought back to the verdict.

Teacher-forced probabilities decide: both sides saw the same tokens. Greedy decoding shows what prefill can't, the kernels of decoding
and of batches; it may part from the reference only where the reference itself was near a tie.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

from judging import divergence as kl
from judging import several, verdict
from judging.packs import Pack
from judging.paired import mcnemar_midp
from judging.recorded import SCORER, clipped
from judging.verdict import DIFFERENT, EQUIVALENT, INCOMPARABLE, NOT_JUDGED, UNDERPOWERED, Finding

# Nats of mean divergence that pass, points of the score, and nats of lead below which the reference was near a tie.
MARGINS = {"divergence": 0.001, "score": 2.0, "tie": 0.5}
SHOWN = 8  # items that disagree, in the report
WORSE = 0.5  # nats a token by which a text is less probable here: garbage that only a reference shows
# What an engine without prompt_logprobs leaves, weakest last. The verdict's name says it.
FORCED, DECODED, TEXT = "", "decoding alone", "text alone"

SAMPLING = {"temperature": 0}  # what a service is asked with
SINGLE = 32  # items that are asked one by one; all of them are asked many at once

Item = Mapping[str, Any]


def margins_of(pack: Pack, row: Mapping[str, Any]) -> dict[str, float]:
    """MARGINS, the pack's, then the row's."""
    return {**MARGINS, **(pack.about.get("margins") or {}), **{k: float(v) for k, v in (row or {}).items()}}


def set_margin(pack: Pack, row: Mapping[str, Any], one: Mapping[str, Any]) -> float:
    """Points that a data set may differ by: the row's `score`, the set's own, the pack's."""
    return float((row or {}).get("score") or one.get("margin") or margins_of(pack, row)["score"])


def requests(pack: Pack) -> list[dict[str, Any]]:
    """What the host asks: token ids to decode from, and token ids whose probabilities are wanted from `forced_from` on."""
    return [
        {
            "id": item["id"],
            "prompt": item["prompt"],
            "tokens": room(item),
            "forced": forced_ids(item),
            "from": forced_from(item),
        }
        for item in pack.items
    ]


def room(item: Item) -> int:
    return int(item.get("max_tokens") or len(item["runs"][0]["tokens"]))


def forced_ids(item: Item) -> list[int]:
    return [*item["prompt"], *item["runs"][0]["tokens"]]


def forced_from(item: Item) -> int:
    """The first position that is scored. A pack without prefill probabilities has those of its decoding."""
    return int(item.get("from") or 1) if item["runs"][0].get("forced") else len(item["prompt"])


def expected(run: Item) -> Sequence[kl.Position]:
    return run.get("forced") or run.get("decoded") or []


def incomparable(pack: Pack, service: Item) -> Iterator[Finding]:
    """What differs that no statistics can bridge. `service`: what the host says about itself."""

    def finding(metric: str, why: str) -> Finding:
        return Finding(metric, INCOMPARABLE, why)

    mine = pack.about["model"]
    identities = [service.get("identity"), service.get("source_identity")]
    if mine.get("identity") not in identities:
        yield finding(
            "weights",
            f"the pack is of model identity {str(mine.get('identity'))[:12]} ({mine.get('name')}), and this service has "
            f"{str(identities[0])[:12]}; judge the same weights, or record a reference of these",
        )
    longest = max(len(forced_ids(item)) + 1 for item in pack.items)
    if service.get("max_model_len") and service["max_model_len"] < longest:
        yield finding(
            "max_model_len", f"the service takes {service['max_model_len']} tokens and the pack has items of {longest}"
        )
    template, seen = pack.about.get("template") or {}, service.get("template") or {}
    if template.get("tokens") and seen.get("tokens") and template["tokens"] != seen["tokens"]:
        at = kl.first_apart(template["tokens"], seen["tokens"])
        yield finding(
            "template",
            f"the same messages become {len(template['tokens'])} tokens in the pack and {len(seen['tokens'])} here, other from token {at} on: "
            "chat template, BOS or tokenizer differ",
        )
    elif template.get("tokens") and seen.get("count") and seen["count"] != len(template["tokens"]):
        yield finding(
            "template",
            f"the same messages become {len(template['tokens'])} tokens in the pack and {seen['count']} here: chat template or tokenizer differ",
        )
    if pack.about["sampling"] != SAMPLING:
        yield finding(
            "sampling", f"the pack was recorded with {pack.about['sampling']}, and a service is asked with {SAMPLING}"
        )
    if pack.about["scorer"] != SCORER and any(item.get("expect") is not None for item in pack.items):
        yield finding(
            "scorer",
            f"the pack was scored by {pack.about['scorer']!r}, and this version has {SCORER!r}; record it anew",
        )
    if service.get("own_sampling"):
        yield finding("sampling", service["own_sampling"])


def judge(
    pack: Pack,
    row: Mapping[str, Any],
    service: Item,
    loads: Mapping[str, Item],
    sets: tuple[Sequence[Finding], Sequence[dict[str, Any]]] = ((), ()),
) -> dict[str, Any]:
    """The verdict on a service.

    `service`: {identity, source_identity, max_model_len, template, own_sampling, broken}. `loads`: {number of requests at once: {item:
    {tokens, text, finish, decoded, forced}}}, where `decoded` and `forced` are positions or null. `row`: the margins of the service's row.
    `sets`: findings of data sets, and their items that disagree.
    """
    margins = margins_of(pack, row)
    findings = list(incomparable(pack, service))
    strength = FORCED
    disagree: list[dict[str, Any]] = []
    if service.get("broken"):
        findings.append(Finding("garbage", DIFFERENT, service["broken"]))
    elif not findings:
        strength = strength_of(loads)
        for load, answers in loads.items():
            lost = lost_at(pack, service, answers, int(load))
            findings += [lost] if lost else of_load(pack, answers, margins, int(load), strength)
            disagree += side_by_side(pack, answers, int(load))
        findings = corrected([*findings, *sets[0]])
        disagree = [*sets[1], *disagree]
    word = verdict.overall(findings)
    names = {one.metric for one in sets[0]}
    if verdict.overall(one for one in findings if one.metric not in names) == DIFFERENT:
        word = DIFFERENT  # a data set that could not be asked does not hide it
    return {
        "verdict": word, "strength": strength if word in (EQUIVALENT, UNDERPOWERED) else "", "level": "canary",
        "pack": {"name": pack.name, "digest": pack.digest, "about": told(pack), "signed": pack.signed},
        "margins": margins, "findings": [one.plain() for one in findings], "disagree": disagree[:SHOWN], "disagreeing": len(disagree),
    }  # fmt: skip


def told(pack: Pack) -> str:
    """Where a pack comes from, in a line."""
    about = pack.about
    return " ".join(str(about[key]) for key in ("engine", "engine_version", "on", "recorded") if about.get(key))


def strength_of(loads: Mapping[str, Item]) -> str:
    answers = [answer for load in loads.values() for answer in load.values()]
    if all(answer.get("forced") for answer in answers):
        return FORCED
    return DECODED if all(answer.get("decoded") for answer in answers) else TEXT


def corrected(findings: Iterable[Finding]) -> list[Finding]:
    """Holm over the claims of difference that have a p: one that doesn't survive it is no claim."""
    listed = list(findings)
    adjusted = several.holm({one.metric: one.p for one in listed if one.p is not None})
    return [
        replace(
            one,
            verdict=UNDERPOWERED,
            why=one.why + "; not significant beside the other metrics",
            p=adjusted[one.metric],
        )
        if one.verdict == DIFFERENT and one.p is not None and adjusted[one.metric] >= 0.05
        else one
        for one in listed
    ]


def lost_at(pack: Pack, service: Item, answers: Item, load: int) -> Finding | None:
    """A finding where more than one item in 200 has no answer: what is left would be a choice."""
    asked = pack.items[:SINGLE] if load == 1 else pack.items
    lost = [item["id"] for item in asked if item["id"] not in answers]
    if len(lost) <= 0.005 * len(asked):
        return None
    why = f"{len(lost)} of {len(asked)} items have no answer ({service.get('problem') or 'no reason is known'})"
    return Finding(f"answers at {load}", INCOMPARABLE, why)


def of_load(pack: Pack, answers: Item, margins: Mapping[str, float], load: int, strength: str) -> Iterator[Finding]:
    """The metrics at one number of requests at once."""
    at = f"at {load}"
    items = [(item, answers[item["id"]]) for item in pack.items if item["id"] in answers]
    pairs = [pair for item, answer in items if (pair := comparable(item, answer, strength))]
    if pairs:
        shift = fmean(value for a, b in pairs for value in kl.shifts(a, b))
        if -shift > WORSE:
            yield Finding(
                f"texts {at}",
                DIFFERENT,
                f"known texts are less probable here by {-shift:.2f} nats a token: garbage, or other weights",
            )
        values = [kl.item_divergence(a, b) for a, b in pairs]
        yield verdict.of_divergence(f"divergence {at}", values, margins["divergence"])
    elif strength != TEXT:
        yield Finding(f"divergence {at}", UNDERPOWERED, "no probabilities of the same tokens are on both sides")
    yield of_greedy(items, margins["tie"], at, strength)
    scored = [(item, answer) for item, answer in items if item.get("expect") is not None]
    if load > 1 and scored:
        yield of_expected(scored, margins["score"] / 100, at)


def comparable(item: Item, answer: Item, strength: str) -> tuple[Sequence[kl.Position], Sequence[kl.Position]] | None:
    """Positions of both sides in which the tokens before were the same."""
    run = item["runs"][0]
    if strength == FORCED:
        reference, candidate = expected(run), answer["forced"]
        return (reference, candidate) if reference and len(reference) == len(candidate) else None
    reference, candidate = run.get("decoded") or [], answer.get("decoded") or []
    apart = kl.first_apart(run["tokens"], answer["tokens"])
    count = min(len(reference), len(candidate), math.inf if apart is None else apart + 1)
    return (reference[: int(count)], candidate[: int(count)]) if count else None


def of_greedy(items: Sequence[tuple[Item, Item]], tie: float, at: str, strength: str) -> Finding:
    """Greedy answers: the same, or parted where the reference was near a tie."""
    parted, sure = 0, []
    for item, answer in items:
        run = item["runs"][0]
        apart = apart_at(run, answer)
        if apart is None:
            continue
        parted += 1
        decoded = run.get("decoded") or []
        if apart < len(decoded) and apart < len(answer["tokens"]):
            known = kl.listed(decoded[apart])
            seen = answer.get("decoded") or []
            back = kl.listed(seen[apart]) if apart < len(seen) else known
            near = answer["tokens"][apart] in known and run["tokens"][apart] in back and kl.lead(decoded[apart]) < tie
        else:
            near = not decoded
        if not near:
            sure.append(item["id"])
    row: dict[str, Any] = {"n": len(items), "value": float(parted), "unit": "items"}
    if sure:
        where = f"{len(sure)} of {len(items)} greedy answers part where the reference was sure ({', '.join(sure[:3])})"
        return Finding(f"greedy {at}", DIFFERENT, where, **row)
    if strength == TEXT and parted:
        return Finding(
            f"greedy {at}",
            UNDERPOWERED,
            f"{parted} of {len(items)} answers part, and without probabilities nobody knows how sure it was",
            **row,
        )
    words = (
        "all greedy answers are the same"
        if not parted
        else f"{parted} of {len(items)} part, each where the reference was near a tie"
    )
    return Finding(f"greedy {at}", EQUIVALENT, words, **row)


def apart_at(run: Item, answer: Item) -> int | None:
    """The first token in which two answers differ; 0 where the engine gives no tokens and the texts differ."""
    if not answer["tokens"] and run["tokens"]:
        return None if answer.get("text") == run.get("text") else 0
    return kl.first_apart(run["tokens"], answer["tokens"])


def right(item: Item, run: Item) -> bool:
    """The one scorer of both sides: the text to the letter, without white space around it. A truncated answer is wrong."""
    return run.get("finish") != "length" and str(run.get("text", "")).strip() == item["expect"]


def of_expected(scored: Sequence[tuple[Item, Item]], margin: float, at: str) -> Finding:
    """Items with a known answer, right or wrong on both sides."""
    here = [right(item, answer) for item, answer in scored]
    there = [right(item, item["runs"][0]) for item, _ in scored]
    b = sum(mine and not other for mine, other in zip(here, there, strict=True))
    c = sum(other and not mine for mine, other in zip(here, there, strict=True))
    return verdict.of_score(f"score {at}", b, c, len(scored), margin, mcnemar_midp(b, c))


def side_by_side(pack: Pack, answers: Item, load: int) -> Iterator[dict[str, Any]]:
    """Items whose texts differ: what was asked, what the reference said and what this service says."""
    for item in pack.items:
        answer, run = answers.get(item["id"]), item["runs"][0]
        if answer and apart_at(run, answer) is not None:
            yield {
                "id": item["id"], "load": load, "asked": item.get("shown") or item["id"], "expected": item.get("expect"),
                "reference": clipped(run.get("text", "")), "here": clipped(answer.get("text", "")),
            }  # fmt: skip


def not_judged(why: str) -> dict[str, Any]:
    """The record of a service without a verdict."""
    return {
        "verdict": NOT_JUDGED,
        "why": why,
        "strength": "",
        "level": "",
        "findings": [],
        "disagree": [],
        "disagreeing": 0,
    }
