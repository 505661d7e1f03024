"""Data sets by name: which one a site means, where its copy lies, and what to say where there is none. Nothing is fetched."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from judging.packs import WIDEST

FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")  # as module harness takes them
KEYS = {
    "title",
    "harness",
    "images",
    "items",
    "metric",
    "shots",
    "tokens",
    "margin",
    "repeats",
    "temperature",
    "modelscope",
    "huggingface",
    "revision",
    "files",
    "licence",
}
TEMPERATURE = 0.6  # of drawn answers, as QwQ and DeepSeek-R1 recommend
ENDINGS = ("*.parquet", "*.jsonl", "*.csv")
Row = Mapping[str, Any]


def plain(name: str) -> str:
    """A name as people type it: GSM8K, gsm8k and C-Eval, ceval are the same."""
    return "".join(letter for letter in name.lower() if letter.isalnum())


def meant(name: str, table: Mapping[str, Row]) -> str | None:
    """The key of the row that has this name or title."""
    for key, row in table.items():
        if plain(name) and plain(name) in (plain(key), plain(row["title"])):
            return key
    return None


def check_table(table: Mapping[str, Any]) -> None:
    """ValueError where a site's change to the table is none that can be."""
    for key, row in table.items():
        if not isinstance(row, Mapping) or not row.get("title"):
            raise ValueError(
                f"datasets has {key!r}, which is no set of catalogue/datasets.yml; own questions need no row there"
            )
        if unknown := sorted(set(row) - KEYS):
            raise ValueError(f"datasets: {key} has {unknown[0]!r}; use one of {', '.join(sorted(KEYS))}")
        for name, least in (("tokens", 1), ("shots", 0), ("repeats", 1)):
            value = row[name]
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"datasets: {key}: {name} is {value!r}, but must be a whole number from {least} on")
        for name, most in (("margin", WIDEST["score"]), ("temperature", 2.0)):
            value = row.get(name, TEMPERATURE)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= most:
                raise ValueError(f"datasets: {key}: {name} is {value!r}, but must be above 0 and at most {most:g}")


def wanted(sets: Mapping[str, Any] | Sequence[str], table: Mapping[str, Row], root: str) -> dict[str, dict[str, Any]]:
    """{name: {file}} of a site's own questions, {key: {known, title, folder, shots, tokens, items}} of the table's. ValueError: one can't be asked.

    A value is a file of questions, a folder (absolute, or below `root`), or nothing: the folder of the set's own name below `root`. A list has names alone.
    """
    check_table(table)
    found: dict[str, dict[str, Any]] = {}
    for name, value in (sets if isinstance(sets, Mapping) else dict.fromkeys(sets, "")).items():
        text = "" if value in (None, True) else str(value)
        key = meant(name, table) or meant(text, table)
        if text.endswith(".jsonl") or Path(text).is_file():
            if not FILE_NAME.match(name):
                raise ValueError(
                    f"data set '{name}' has a name that is no file's; use letters, digits, '.', '_' and '-'"
                )
            found[name] = {"file": text}
        elif key is None:
            titles = ", ".join(str(row["title"]) for row in table.values())
            raise ValueError(f"data set '{name}' is {text!r}, which is no file of questions, and none of {titles}")
        elif key in found:
            raise ValueError(f"data set '{name}' is {table[key]['title']}, which is named twice; leave one out")
        else:
            row = table[key]
            folder = Path(root) / (key if not text or meant(text, table) == key else text)
            check(row, folder)
            found[key] = {
                "known": row["harness"], "title": row["title"], "folder": str(folder), "images": row["images"], "count": row["items"],
                "source": f"{row['files']} of {source(row)} into the folder {key} below datasets_root",
                **{key: row[key] for key in ("shots", "tokens", "margin", "repeats")}, "temperature": row.get("temperature", TEMPERATURE),
            }  # fmt: skip
    return found


def check(row: Row, folder: Path) -> None:
    """ValueError where this set can't be asked: the harness lacks it, or no copy is there."""
    if not row["harness"]:
        raise ValueError(
            f"{row['title']} is lacking in evalscope 1.14.1, which asks the data sets; leave it out, or bring its questions as a file of your own"
        )
    if not any(True for ending in ENDINGS for _ in folder.rglob(ending)):
        raise ValueError(f"{row['title']} is not in {folder}; put {row['files']} of {source(row)} there")


def source(row: Row) -> str:
    """Where a set comes from, in words."""
    places = [
        f"{hub} {row[key]}"
        for key, hub in (("modelscope", "ModelScope's"), ("huggingface", "Hugging Face's"))
        if row[key]
    ]
    revision = (
        f"revision {row['revision']} of the latter"
        if row["revision"]
        else "any revision, since the documents name none"
    )
    licence = f"licence {row['licence']}" if row["licence"] else "its repository states no licence"
    return f"{' or '.join(places)} ({revision}; {licence})"
