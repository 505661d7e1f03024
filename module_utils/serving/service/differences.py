"""What differs between two releases, in words."""

from __future__ import annotations

import difflib
import os
from typing import Any

from ansible.module_utils.serving.service.supervisors import read_text


def spec_reasons(old: dict[str, Any] | None, new: dict[str, Any]) -> list[str]:
    """What differs between two specs, by key."""
    if old is None:
        return []
    keys = sorted((set(old) | set(new)) - {"inputs"})
    found = ["%s: %s -> %s" % (k, old.get(k), new.get(k)) for k in keys if old.get(k) != new.get(k)]
    return found + input_reasons(old.get("inputs") or {}, new.get("inputs") or {})


def input_reasons(old: dict[str, str], new: dict[str, str]) -> list[str]:
    """What differs between the inputs of two releases, by name."""
    words = {(True, True): "has other content", (False, True): "is a new input", (True, False): "is no input any more"}
    return [
        "%s %s" % (name, words[name in old, name in new])
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
