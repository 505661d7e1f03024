"""Filter `monitoring_plan`: what the Prometheus of a host scrapes, from the plans of all hosts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent.parent))  # Ansible loads a filter by its path alone

from planning.monitoring import monitoring_plan


class FilterModule:
    """The filters of this file, by name."""

    def filters(self) -> dict[str, Any]:
        return {"monitoring_plan": monitoring_plan}
