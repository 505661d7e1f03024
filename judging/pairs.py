"""Two packs, or two live services that were asked the same: is one like the other? For more than two, every pair: may they share one name?"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from judging import canary, verdict
from judging import divergence as kl
from judging.packs import Pack
from judging.tables import columns, words
from judging.verdict import EQUIVALENT, INCOMPARABLE, Finding

AT = "one by one"


def incomparable(a: Pack, b: Pack) -> Iterator[Finding]:
    """What two packs must have in common and don't."""
    mine, other = (
        {pack.about["model"].get("identity"), pack.about["model"].get("source_identity")} - {None} for pack in (a, b)
    )
    if not mine & other:
        yield Finding("weights", INCOMPARABLE, f"{a.name} is of other weights than {b.name}")
    for key, name in (
        ("sampling", "sampling"),
        ("scorer", "scorer"),
        ("data", "data"),
        ("top", "probabilities a position"),
    ):
        if a.about.get(key) != b.about.get(key):
            yield Finding(name, INCOMPARABLE, f"{a.name} has {a.about.get(key)} and {b.name} has {b.about.get(key)}")
    tokens = [(pack.about.get("template") or {}).get("tokens") for pack in (a, b)]
    if tokens[0] != tokens[1]:
        yield Finding(
            "template", INCOMPARABLE, "the same messages become other tokens: chat template, BOS or tokenizer differ"
        )
    prompts = [{item["id"]: item["prompt"] for item in pack.items} for pack in (a, b)]
    if prompts[0] != prompts[1]:
        same = sum(prompts[0].get(key) == value for key, value in prompts[1].items())
        yield Finding("items", INCOMPARABLE, f"only {same} of {max(map(len, prompts))} items are the same in both")


def same_context(
    item: Mapping[str, Any], one: Mapping[str, Any], two: Mapping[str, Any]
) -> tuple[Sequence[Any], Sequence[Any]]:
    """The positions of two answers to an item whose tokens before were the same: the prompt, and the answer until they part."""
    apart = kl.first_apart(one["tokens"], two["tokens"])
    if one.get("forced") and two.get("forced"):
        count = (
            len(item["prompt"])
            - int(item.get("from") or 1)
            + (min(len(one["tokens"]), len(two["tokens"])) if apart is None else apart + 1)
        )
        return one["forced"][:count], two["forced"][:count]
    count = len(one["tokens"]) if apart is None else apart + 1
    a, b = one.get("decoded") or [], two.get("decoded") or []
    count = min(count, len(a), len(b))
    return a[:count], b[:count]


def compare(a: Pack, b: Pack, margins: Mapping[str, Any]) -> dict[str, Any]:
    """The verdict on `b` with `a` as its reference, in the form of canary.judge."""
    limits = canary.margins_of(a, margins)
    findings = list(incomparable(a, b))
    answers = {item["id"]: item["runs"][0] for item in b.items}
    disagree: list[dict[str, Any]] = []
    if not findings:
        pairs = [same_context(item, item["runs"][0], answers[item["id"]]) for item in a.items]
        values = [kl.item_divergence(one, two) for one, two in pairs if one]
        findings.append(verdict.of_divergence("divergence", values, limits["divergence"]))
        items = [(item, answers[item["id"]]) for item in a.items]
        findings.append(canary.of_greedy(items, limits["tie"], AT, canary.FORCED))
        scored = [(item, answer) for item, answer in items if item.get("expect") is not None]
        if scored:
            findings.append(canary.of_expected(scored, limits["score"] / 100, AT))
        findings = canary.corrected(findings)
        disagree = list(canary.side_by_side(a, answers, 1))
    return {
        "verdict": verdict.overall(findings), "strength": "", "level": "compare",
        "pack": {"name": a.name, "digest": a.digest, "about": canary.told(a), "signed": a.signed}, "margins": limits,
        "findings": [one.plain() for one in findings], "disagree": disagree[: canary.SHOWN], "disagreeing": len(disagree),
    }  # fmt: skip


def matrix(packs: Sequence[Pack], margins: Mapping[str, Any]) -> dict[str, dict[str, dict[str, Any]]]:
    """{a: {b: record}} of every pair, the earlier one as reference."""
    found: dict[str, dict[str, dict[str, Any]]] = {pack.name: {} for pack in packs}
    for a, b in itertools.combinations(packs, 2):
        found[a.name][b.name] = compare(a, b, margins)
    return found


def matrix_text(found: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """A word a pair, why those that are not EQUIVALENT aren't, and the answer to the question."""
    names = list(found)
    lines: list[list[Any]] = [["", *names[1:]]]
    why, all_alike = [], True
    for row, name in enumerate(names[:-1]):
        cells = [words(found[name][other]) if other in found[name] else "" for other in names[1:]]
        lines.append([name, *("." if column < row else cell for column, cell in enumerate(cells))])
        for other, record in found[name].items():
            if record["verdict"] != EQUIVALENT:
                all_alike = False
                why += [
                    f"{other} against {name}: {one['metric']}: {one['why']}"
                    for one in record["findings"]
                    if one["verdict"] == record["verdict"]
                ]
    answer = "All are equivalent within the margins: they may share one name behind one address." if all_alike else \
        "They may not share one name behind one address: not every pair is shown to be equivalent."  # fmt: skip
    return "\n".join([columns(lines), *why, answer])
