"""Files of a row that travel with its release: where options and variables name them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any


def with_files(value: Any, names: Iterable[str], folder: str) -> Any:
    """`value` with the names of a row's `files` as paths in `folder`, also in name=file, in lists and in JSON that is written as text."""
    if isinstance(value, Mapping):
        return {key: with_files(inner, names, folder) for key, inner in value.items()}
    if isinstance(value, list):
        return [with_files(inner, names, folder) for inner in value]
    if not isinstance(value, str):
        return value
    if value.partition("/")[0] in names:
        return folder + value
    left, equals, right = value.partition("=")
    if equals and right.partition("/")[0] in names:
        return f"{left}={folder}{right}"
    if value.lstrip()[:1] in ("{", "["):
        try:
            inner = json.loads(value)
        except (ValueError, RecursionError):
            return value
        changed = with_files(inner, names, folder)
        return value if changed == inner else json.dumps(changed)
    return value
