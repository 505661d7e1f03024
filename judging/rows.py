"""What a service's row says about its verdict: which pack, how thoroughly, within which margins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from judging.packs import BadPack, Pack, margin_problem, read
from judging.sets import images_of

LEVELS = ("none", "canary", "full")
SHIPPED = Path(__file__).resolve().parent.parent / "references"  # packs that come with the product


def row_problems(where: str, row: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each fault of `judge_level` and `margins`."""
    if row["judge_level"] not in LEVELS:
        yield f"{where}: 'judge_level' is {row['judge_level']!r}; use one of {', '.join(LEVELS)}"
    for name, value in row["margins"].items():
        if problem := margin_problem(name, value):
            yield f"{where}: margins: {problem}"
    if row["judge_required"] and not judged(row):
        yield f"{where}: judge_required is true, but the row {'names no reference' if not row['reference'] else 'has judge_level none'}"


def judged(row: Mapping[str, Any]) -> bool:
    """Will a deploy ask for a verdict on this service?"""
    return bool(row.get("reference")) and row.get("judge_level") != "none"


def folder_of(row: Mapping[str, Any], references: str) -> str:
    """The pack's folder: a name below `references`, else one of the product's, or a path of its own; empty where the row names none."""
    if not row.get("reference"):
        return ""
    own, shipped = Path(references) / str(row["reference"]), SHIPPED / str(row["reference"])
    return str(shipped if shipped.is_dir() and not own.exists() else own)


def reference_problems(row: Mapping[str, Any], references: str, signers: str) -> Iterator[str]:
    """A sentence where a service is to be judged against a pack that can't be used."""
    if judged(row):
        try:
            read(Path(folder_of(row, references)), signers)
        except BadPack as problem:
            yield f"service '{row['service']}': reference '{row['reference']}': {problem}"


def image_sets(row: Mapping[str, Any], level: str, references: str) -> Iterator[str]:
    """Names of the pack's data sets whose questions name images, where the row or `level` asks for a full verdict."""
    if row.get("reference") and (level or row.get("judge_level")) == "full":
        try:
            pack = read(Path(folder_of(row, references)))
        except BadPack:  # the verdict will say it
            return
        for one in pack.sets:
            if one.get("known") and any(
                url.startswith("sha256:") for item in one["items"] for url in images_of(item["messages"])
            ):
                yield str(one["known"])


def items_of(pack: Pack, level: str) -> Pack:
    """The pack with what a level asks: `canary` the first so many, `full` all of them."""
    return (
        pack if level == "full" else pack._replace(items=pack.items[: int(pack.about.get("canary") or len(pack.items))])
    )
