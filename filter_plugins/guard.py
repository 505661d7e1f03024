"""Filter `callers_paths`: which paths of an engine's API callers may ask. The guard in each release (templates/guard) refuses the rest.

A list of what is open, not of what is closed: engines bring new routes with each release, and some of them load code, profile,
sleep or reset the engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def callers_paths(service: Mapping[str, Any]) -> list[str]:
    """The paths of the engine's row and what the service's row adds in `paths`, each once."""
    return list(dict.fromkeys([*service["engine_facts"]["paths"], *service["paths"]]))


class FilterModule:
    """The filters of this file, by name."""

    def filters(self) -> dict[str, Any]:
        return {"callers_paths": callers_paths}
