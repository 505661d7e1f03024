"""Filters about verdicts: where a row's pack lies, what is wrong with it, and what a person reads when judging is done."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent.parent))  # Ansible loads a filter by its path alone

from ansible.errors import AnsibleFilterError

from judging import audit, known, rows, tables


def reference_folder(row: Mapping[str, Any], references: str) -> str:
    """The folder of the row's pack; empty where it has none."""
    return rows.folder_of(row, references)


def reference_problems(plan: Iterable[Mapping[str, Any]], references: str, signers: str = "") -> list[str]:
    """A sentence for each service whose pack can't be used."""
    return [problem for row in plan for problem in rows.reference_problems(row, references, signers)]


def wanted_sets(sets: Mapping[str, Any] | list[str], table: Mapping[str, Any], root: str) -> dict[str, dict[str, Any]]:
    """Which data sets are meant, and where each is; a sentence where one can't be asked."""
    try:
        return known.wanted(sets, table, root)
    except ValueError as problem:
        raise AnsibleFilterError(str(problem)) from None


def image_sets(plan: Iterable[Mapping[str, Any]], level: str, references: str, root: str) -> list[dict[str, str]]:
    """{name, folder} of the data sets with images that these services are asked at level full, as far as there is a copy below `root`."""
    names = {name for row in judged_here(plan) for name in rows.image_sets(row, level, references)}
    return [{"name": name, "folder": str(Path(root) / name)} for name in sorted(names) if (Path(root) / name).is_dir()]


def judged_names(plan: Iterable[Mapping[str, Any]]) -> list[str]:
    """Names of the services that a deploy judges before their release counts; over several hosts the first one's verdict is that of all."""
    return [str(row["service"]) for row in plan if (row["group"]["judged"] if row.get("group") else rows.judged(row))]


def judged_here(plan: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows whose API this host has: all but those in which it follows another host."""
    return [row for row in plan if not (row.get("group") or {}).get("rank")]


def judged_by_others(
    plan: Iterable[Mapping[str, Any]], hostvars: Mapping[str, Any], register: str = "judge_found"
) -> list[dict[str, Any]]:
    """What action `judge` found on the first hosts of services in which this host follows: its results, as they stand in their `register`."""
    found = []
    for row in plan:
        group = row.get("group")
        if not group or not group["rank"]:
            continue
        said = hostvars[group["leader"]].get(register) or {}
        for result in said.get("results") or [said]:
            if result.get("service") == row["service"] and "passes" in result:
                found.append({key: result[key] for key in ("service", "passes", "sentence", "judged")})
    return found


def operators_on(flaggems: Mapping[str, Any] | None) -> list[str]:
    """What a search has to choose from: all that were switched on, where the engine says it; else those that wrote their names."""
    found = flaggems or {}
    return sorted({*found.get("operators", []), *found.get("registered", [])})


class FilterModule:
    """The filters of this file, by name."""

    def filters(self) -> dict[str, Any]:
        return {
            "audit_table": audit.audit_table,
            "image_sets": image_sets,
            "judged_by_others": judged_by_others,
            "judged_here": judged_here,
            "judged_names": judged_names,
            "localise_words": tables.localise_words,
            "operators_on": operators_on,
            "reference_folder": reference_folder,
            "reference_problems": reference_problems,
            "verdict_table": tables.verdict_table,
            "verdict_words": tables.words,
            "verdict_bar": tables.bar,
            "wanted_sets": wanted_sets,
        }
