"""Filter `callers_paths`: which paths of an engine's API callers may ask. The guard in each release (templates/guard) refuses the rest.

A list of what is open, not of what is closed: engines bring new routes with each release, and some of them load code, profile,
sleep or reset the engine.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent.parent))  # Ansible loads a filter by its path alone

from planning.engines import callers_paths


class FilterModule:
    """The filters of this file, by name."""

    def filters(self) -> dict[str, Any]:
        return {"callers_paths": callers_paths}
