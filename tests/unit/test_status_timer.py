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

from planning.units import unit_words


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("/opt/site/hosts.yml", "/opt/site/hosts.yml"),
        ("/opt/a b/it's", '"/opt/a b/it\'s"'),
        ('{"a": "b\\c"}', '"{\\"a\\": \\"b\\\\c\\"}"'),
        ("5% $HOME", '"5%% $$HOME"'),
        ("", '""'),
    ],
)
def test_a_unit_reads_words_as_they_are(word: str, text: str) -> None:
    assert unit_words([word, "-i"]) == f"{text} -i"
    assert unit_words([word], command=False) == text.replace("$$", "$")


@pytest.mark.slow
def test_the_units_call_a_status_that_writes_metrics(playbook: Callable[..., Any], tmp_path: Path) -> None:
    inventory = tmp_path / 'it\'s 5% of "mine"' / "hosts.yml"
    inventory.parent.mkdir()
    inventory.write_text(
        json.dumps(
            {
                "accelerators": {
                    "hosts": {"gone": {"ansible_host": "127.0.0.1", "ansible_port": 1, "board": "cpu", "runs": []}}
                }
            }
        )
    )
    metrics, units = tmp_path / "my metrics/vllm.prom", tmp_path / "units"
    extra = json.dumps({"status_timer_folder": str(units), "status_timer_metrics": str(metrics)})
    done = playbook("playbooks/status_timer.yml", "-i", str(inventory), "-e", extra)
    assert done.returncode == 0, done.stdout + done.stderr
    timer = configparser.ConfigParser(strict=True, interpolation=None)
    timer.optionxform = str  # type: ignore[assignment,method-assign]
    timer.read(units / "vllm-status.timer")
    assert dict(timer["Timer"])["OnUnitInactiveSec"] == "5min" and timer["Install"]["WantedBy"] == "timers.target"
    assert "SuccessExitStatus=1 2\n" in (units / "vllm-status.service").read_text()
    command = re.search(r"^ExecStart=(.+)$", (units / "vllm-status.service").read_text(), re.M)
    assert command
    words = [word.replace("%%", "%").replace("$$", "$") for word in shlex.split(command[1])]
    assert str(inventory) in words
    ran = subprocess.run(
        words,
        cwd=ROOT,
        env=ansible_environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode in (0, 1, 2) and "vllm_status_code" in metrics.read_text(), ran.stdout + ran.stderr
