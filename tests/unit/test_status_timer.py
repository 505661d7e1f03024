"""The timer that writes the status as metrics: its units, and what they call."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, ansible_environment


@pytest.mark.slow
def test_the_units_call_a_status_that_writes_metrics(playbook: Callable[..., Any], tmp_path: Path) -> None:
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(
        json.dumps(
            {
                "accelerators": {
                    "hosts": {"gone": {"ansible_host": "127.0.0.1", "ansible_port": 1, "board": "cpu", "runs": []}}
                }
            }
        )
    )
    metrics, units = tmp_path / "metrics/vllm.prom", tmp_path / "units"
    extra = json.dumps({"status_timer_folder": str(units), "status_timer_metrics": str(metrics)})
    done = playbook("playbooks/status_timer.yml", "-i", str(inventory), "-e", extra)
    assert done.returncode == 0, done.stdout + done.stderr
    timer = configparser.ConfigParser(strict=True, interpolation=None)
    timer.optionxform = str  # type: ignore[assignment,method-assign]
    timer.read(units / "vllm-status.timer")
    assert dict(timer["Timer"])["OnUnitInactiveSec"] == "5min" and timer["Install"]["WantedBy"] == "timers.target"
    assert "SuccessExitStatus=1 2\n" in (units / "vllm-status.service").read_text()
    command = re.search(r"^ExecStart=(.+)$", (units / "vllm-status.service").read_text(), re.M)
    assert command and str(inventory) in command[1]
    ran = subprocess.run(
        shlex.split(command[1]),
        cwd=ROOT,
        env=ansible_environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode in (0, 1, 2) and "vllm_status_code" in metrics.read_text(), ran.stdout + ran.stderr
