"""Which paths of an engine's API callers may ask: the guard in each release refuses the rest, and so does the gateway before it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# What callers of a kind ask beyond, under the names that clients of other makers have for it.
KIND_PATHS = {
    "rerank": ("/rerank", "/v2/rerank", "/score"),
    "score": ("/rerank", "/v2/rerank", "/score"),
    "classify": ("/classify",),
}


def callers_paths(service: Mapping[str, Any]) -> list[str]:
    """The paths of the engine's row, what the service's kind needs and what its row adds in `paths`, each once."""
    kind = str((service.get("check") or {}).get("kind"))
    return list(dict.fromkeys([*service["engine_facts"]["paths"], *KIND_PATHS.get(kind, ()), *service["paths"]]))
