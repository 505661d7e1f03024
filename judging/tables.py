"""Verdicts for people: a table for the terminal, and where an interval and its margin lie in a drawing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

HEADER = ("SERVICE", "METRIC", "VERDICT", "SEEN", "INTERVAL", "MARGIN", "N")
MEANING = {
    "EQUIVALENT": "It answers like its reference, within the margins that were declared before.",
    "DIFFERENT": "It answers unlike its reference, by more than the margins and by more than chance.",
    "UNDERPOWERED": "Too little was asked to tell: neither a difference nor equivalence is shown.",
    "INCOMPARABLE": "It can't be compared with this reference, because something else differs.",
    "NOT JUDGED": "It was not compared with anything.",
}


def columns(lines: Iterable[Iterable[Any]]) -> str:
    """Columns of equal width. Empty cells read `-`."""
    texts = [["-" if cell in (None, "") else str(cell) for cell in line] for line in lines]
    widths = [max(len(line[i]) for line in texts) for i in range(len(texts[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in texts
    )


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def interval(row: Mapping[str, Any]) -> str:
    if row.get("low") is None or row.get("high") is None:
        return ""
    return f"{number(row['low'])} to {number(row['high'])}"


def margin(row: Mapping[str, Any]) -> str:
    if row.get("margin") is None:
        return ""
    return f"{'+-' if row['unit'] == 'points' else 'at most '}{row['margin']:g} {row['unit']}"


def words(record: Mapping[str, Any]) -> str:
    """The verdict's name; a weaker one says so."""
    return str(record["verdict"]) + (f" ({record['strength']})" if record.get("strength") else "")


def verdict_table(records: Mapping[str, Mapping[str, Any]]) -> str:
    """{service: record} -> a line a metric, and one a service with what that means. Nothing where no service was judged."""
    lines: list[list[Any]] = []
    ends = []
    for service, record in records.items():
        if not record["findings"]:
            continue
        for row in record["findings"]:
            seen = "" if row["value"] is None else f"{number(row['value'])} {row['unit']}"
            lines.append([service, row["metric"], row["verdict"], seen, interval(row), margin(row), row["n"] or ""])
        name = record.get("pack", {}).get("name")
        ends.append(f"{service}: {words(record)}{f' against {name}' if name else ''}. {MEANING[record['verdict']]}")
        ends += [
            f"  {row['metric']}: {row['why']}"
            for row in record["findings"]
            if row["verdict"] == record["verdict"] != "EQUIVALENT"
        ]
        if record.get("kept"):
            ends.append(
                "  the release is the same as when it was judged, so its verdict is kept; playbooks/judge.yml asks again"
            )
    return "\n".join([columns([HEADER, *lines]), *ends]) if lines else ""


def bar(row: Mapping[str, Any]) -> dict[str, float]:
    """Where things lie in a drawing 100 wide: {zero, margin_low, margin_high, low, high, value}. Empty where there is no interval."""
    if row.get("low") is None or row.get("high") is None or not row.get("margin"):
        return {}
    both = row["unit"] == "points"
    reach = 1.15 * max(row["margin"], abs(row["low"]), abs(row["high"]))
    left = -reach if both else 0.0

    def at(value: float) -> float:
        return round(float(100 * (value - left) / (reach - left)), 2)

    return {
        "zero": at(0.0), "margin_low": at(-row["margin"]) if both else at(0.0), "margin_high": at(row["margin"]),
        "low": at(row["low"]), "high": at(row["high"]), "value": at(row["value"]),
    }  # fmt: skip


def localise_words(search: Mapping[str, Any], service: Mapping[str, Any], back: Mapping[str, Any]) -> list[str]:
    """What a person reads at the end of a search (action `localise`): the trials, what they show, the row to write, what serves now."""
    rows = [
        (number + 1, len(trial["active"]), trial["verdict"], " ".join(trial["active"][:8]) + (" ..." if len(trial["active"]) > 8 else ""))
        for number, trial in enumerate(search["trials"])
    ]  # fmt: skip
    lines = columns([("TRIAL", "ON", "VERDICT", "OPERATORS"), *rows]).splitlines()
    name, culprits = service["service"], list(search.get("culprits") or [])
    if search.get("result") == "found":
        given = service["flaggems"] if isinstance(service["flaggems"], Mapping) else {}
        row = (
            {"allow": [op for op in given["allow"] if op not in culprits]}
            if "allow" in given
            else {"deny": sorted({*given.get("deny", []), *culprits})}
        )
        text = ", ".join(f"{key}: [{', '.join(names)}]" for key, names in row.items())
        lines.append(
            f"{name}: {search['words']}. The row that leaves {'it' if len(culprits) == 1 else 'them'} out: flaggems: {{{text}}}"
        )
    elif search.get("result") == "not these operators":
        lines.append(f"{name}: {search['words']}, so something else than these operators makes it unlike its reference")
    elif search.get("result") == "not steady":
        lines.append(
            f"{name}: {search['words']}, so there is nothing to search: it must be DIFFERENT each time for operators to be told apart"
        )
    else:
        lines.append(f"{name}: the search did not end: {search.get('words')}")
    now = (
        f"answers {back['answer']}"
        if back.get("ready")
        else f"does not answer yet: {back.get('problem') or 'no answer'}"
    )
    return [*lines, f"{name} has its own release {search['release']} again and {now}"]
