"""What differs between two releases, in words."""

from __future__ import annotations

import difflib
import json
import os
from typing import Any

from ansible.module_utils.serving.host.host_inputs import differs
from ansible.module_utils.serving.service.supervisors import read_text


def spec_reasons(old: dict[str, Any] | None, new: dict[str, Any]) -> list[str]:
    """What differs between two specs, by key."""
    if old is None:
        return []
    given = [{key: value for key, value in spec.items() if key != "inputs"} for spec in (old, new)]
    return changes("", *given) + input_reasons(old.get("inputs") or {}, new.get("inputs") or {})


def changes(name: str, old: Any, new: Any) -> list[str]:
    """What differs between two values, a line for each key of mappings that differs; a model is told by its name and revision."""
    if old == new:
        return []
    if (
        isinstance(old, dict)
        and isinstance(new, dict)
        and (not name or shown(old) == shown(new) or "revision" not in new)
    ):
        keys = sorted(set(old) | set(new))
        inner = [(key, "%s.%s" % (name, key) if name else key) for key in keys]
        lines = [line for key, full in inner for line in changes(full, old.get(key), new.get(key))]
        if lines or not name:
            return lines
    alike = shown(old) == shown(new)  # "1" and 1, a key that is there without a value
    return ["%s: %s -> %s" % (name, *(json.dumps(value) if alike else shown(value) for value in (old, new)))]


def shown(value: Any) -> str:
    """A value of a spec as a person writes it."""
    if value is None:
        return "none"
    if isinstance(value, dict) and value.get("name"):
        return (
            "%s@%s" % (value["name"], value["revision"] or "<revision>") if "revision" in value else str(value["name"])
        )
    if isinstance(value, list) and value and not any(isinstance(item, (dict, list)) for item in value):
        return ", ".join(map(shown, value))
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False, sort_keys=True)


def input_reasons(old: dict[str, str], new: dict[str, str]) -> list[str]:
    """What differs between the inputs of two releases, by name."""
    words = {(False, True): "is a new input", (True, False): "is no input any more"}
    return [
        "%s %s" % (name, words.get((name in old, name in new)) or differs(str(old[name]), str(new[name])))
        for name in sorted(set(old) | set(new))
        if old.get(name) != new.get(name)
    ]


def text_diff(folder: str, files: dict[str, str]) -> dict[str, str]:
    """--diff of the rendered files against the current release."""
    before = {n: read_text(os.path.join(folder, "current", n)) for n in files}
    lines: list[str] = []
    for name in sorted(files):
        old, new = before[name].splitlines(True), files[name].splitlines(True)
        lines += difflib.unified_diff(old, new, "current/" + name, "new/" + name)
    return {"prepared": "".join(lines)} if lines else {}
