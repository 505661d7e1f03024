"""Filters of the monitoring host: `monitoring_plan` is what its Prometheus scrapes, `alert_rules` and `alertmanager_config` who is told of what,
`grafana_files` what Grafana shows, `unit_words` what a systemd unit reads.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent.parent))  # Ansible loads a filter by its path alone

from planning.alerting import alert_rules, alertmanager_config
from planning.dashboards import grafana_files
from planning.monitoring import monitoring_plan
from planning.units import unit_words


class FilterModule:
    """The filters of this file, by name."""

    def filters(self) -> dict[str, Any]:
        return {
            "monitoring_plan": monitoring_plan,
            "alert_rules": alert_rules,
            "alertmanager_config": alertmanager_config,
            "grafana_files": grafana_files,
            "unit_words": unit_words,
        }
