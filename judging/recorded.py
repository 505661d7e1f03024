"""From the answers of a service to a pack: the questions, the second run, and how far the reference differs from itself."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from judging import divergence as kl
from judging import packs

LONGEST = 512  # tokens that are decoded for a question of one's own
SCORER = "exact 1"


def clipped(text: Any) -> str:
    """An answer for people: the middle of a long one is left out, since what counts stands at its end. The whole one stays with the raw answers."""
    text = str(text)
    return text if len(text) <= 600 else f"{text[:200]} ... ({len(text)} characters) ... {text[-300:]}"


def shown(messages: Sequence[Mapping[str, Any]]) -> str:
    """A question's text for people, its images as such."""
    content = messages[-1].get("content")
    if not isinstance(content, list):
        return str(content)
    return "".join(part["text"] if part.get("type") == "text" else " [image] " for part in content)


def questions(path: Path) -> list[dict[str, Any]]:
    """Items of a file with a JSON line each: {text or messages, expect, id, tokens}. ValueError says which line is none."""
    found = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} can't be read: {error}") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            raise ValueError(f"{path}, line {number}: no JSON") from None
        if not isinstance(row, dict) or (isinstance(row.get("text"), str) == isinstance(row.get("messages"), list)):
            raise ValueError(
                f'{path}, line {number}: needs either text or messages, as in {{"text": "...", "expect": "..."}}'
            )
        expect = row.get("expect")
        if expect is not None and not isinstance(expect, str):
            raise ValueError(f"{path}, line {number}: expect is {expect!r}, but must be text; quote it")
        text = row.get("text") or (shown(row["messages"]) if row["messages"] else "")
        found.append(
            {
                "id": str(row.get("id") or f"line-{number}"), "shown": text[:200], "expect": expect, "tokens": int(row.get("tokens") or LONGEST),
                **({"text": row["text"]} if row.get("text") else {"messages": row["messages"]}),
            }
        )  # fmt: skip
    names = [row["id"] for row in found]
    doubled = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if doubled:
        raise ValueError(f"{path} has the id {doubled[0]!r} more than once")
    return found


def second_run(items: Sequence[Mapping[str, Any]], answers: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The same again, with the tokens of the first run."""
    return [
        {
            "id": item["id"], "prompt": answers[item["id"]]["prompt"], "tokens": item["tokens"], "from": 1,
            "forced": [*answers[item["id"]]["prompt"], *answers[item["id"]]["tokens"]],
        }
        for item in items
    ]  # fmt: skip


def write(
    folder: Path,
    about: Mapping[str, Any],
    items: Sequence[Mapping[str, Any]],
    first: Mapping[str, Any],
    second: Mapping[str, Any],
    sets: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Write the pack: {digest, items, apart, divergence}. ValueError where its prefill isn't there to compare."""
    served = first["served"]
    rows = []
    for item in items:
        one, two = first["answers"][item["id"]], second["answers"][item["id"]]
        if not one.get("forced"):
            raise ValueError("the engine gives no prompt_logprobs, and a reference needs them")
        kept = ("tokens", "text", "finish")  # of the second run: its probabilities are in `own`
        runs = [{key: one[key] for key in (*kept, "decoded", "forced")}, {key: two[key] for key in kept}]
        rows.append(
            {
                "id": item["id"], "shown": item.get("shown", ""), "expect": item.get("expect"), "prompt": one["prompt"], "from": 1,
                "max_tokens": item["tokens"], "runs": runs,
            }
        )  # fmt: skip
    both = [(first["answers"][item["id"]], second["answers"][item["id"]]) for item in items]
    apart = sum(one["tokens"] != two["tokens"] for one, two in both)
    own = fmean(kl.item_divergence(one["forced"], two["forced"]) for one, two in both)
    _, _, version = served["fingerprint"].partition("-")
    text = {
        "model": {"name": served["model"], "identity": served["identity"], "source_identity": served["source_identity"]},
        "engine": served["engine"], "engine_version": version or served["fingerprint"], "fingerprint": served["fingerprint"],
        "max_model_len": served["max_model_len"], "sampling": {"temperature": 0}, "scorer": SCORER, "runs": 2,
        "template": {"messages": about.get("messages") or template_messages(), **served["template"]},
        "own": {"divergence": own, "apart": apart, "items": len(rows)}, **about,
    }  # fmt: skip
    return {
        "digest": packs.write(folder, text, rows, sets),
        "items": len(rows),
        "apart": apart,
        "divergence": own,
        "folder": str(folder),
    }


def template_messages() -> list[dict[str, Any]]:
    """What every pack asks to see the chat template."""
    return [{"role": "user", "content": "What is 127 + 45?"}]
