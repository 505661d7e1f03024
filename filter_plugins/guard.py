"""Filter `callers_paths`: which paths of an engine's API callers may ask. The guard in each release (templates/guard) refuses the rest.

A list of what is open, not of what is closed: engines bring new routes with each release, and some of them load code, profile,
sleep or reset the engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# What callers of an inference service ask, and /metrics for Prometheus; with the key, as everything but /health.
PATHS = (
    "/v1/models",
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/responses",
    "/v1/responses/{}",
    "/v1/responses/{}/cancel",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/v1/embeddings",
    "/v1/score",
    "/v1/rerank",
    "/v1/audio/transcriptions",
    "/v1/audio/translations",
    "/metrics",
)


# What callers of a kind ask beyond, under the names that clients of other makers have for it.
KIND_PATHS = {
    "rerank": ("/rerank", "/v2/rerank", "/score"),
    "score": ("/rerank", "/v2/rerank", "/score"),
    "classify": ("/classify",),
}


def callers_paths(service: Mapping[str, Any]) -> list[str]:
    """PATHS, what the service's kind needs and what its row adds in `paths`, each once."""
    kind = str((service.get("check") or {}).get("kind"))
    return list(dict.fromkeys([*PATHS, *KIND_PATHS.get(kind, ()), *service["paths"]]))


class FilterModule:
    """The filters of this file, by name."""

    def filters(self) -> dict[str, Any]:
        return {"callers_paths": callers_paths}
