"""validate and the check before each run: what they say of a plan, in one sentence for each fault."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest


def test_validate_contacts_no_host_and_shows_the_plan(playbook: Any) -> None:
    done = playbook("playbooks/validate.yml")
    assert done.returncode == 0, done.stdout
    assert re.search(r"localhost +demo +demo +local +vllm +native", done.stdout)


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ('{"runs": ["demmo"]}', ["host localhost", "'demmo'", "did you mean 'demo'?"]),
        ('{"overrides": {"demo": {"prot": 1}}}', ["unknown key 'prot'", "did you mean 'port'?"]),
        ('{"overrides": {"demo": {"boards": ["h100-*"]}}}', ["is for the boards h100-*", "'local'"]),
    ],
)
def test_validate_refuses_with_the_host_and_the_nearest_name(playbook: Any, extra: str, words: list[str]) -> None:
    done = playbook("playbooks/validate.yml", "-e", extra)
    assert done.returncode != 0
    flat = " ".join(done.stdout.split() + done.stderr.split()).replace("''", "'")
    for word in words:
        assert word in flat, flat


@pytest.mark.parametrize(
    ("extra", "sentences"),
    [
        ('{"runs": ["demmo"]}', ["host localhost: service 'demmo' is not in services.yml; did you mean 'demo'?"]),
        (
            '{"overrides": {"demo": {"engine_args": {"port": 1, "max_modle_len": 1}, "env": {"a-b": 1}}}}',
            ["engine_args.port can't be set there", "engine_args.max_modle_len is no option of vLLM", "env.a-b is no name of a variable"],
        ),
        ('{"overrides": {"demo": {"address": "0.0.0.0", "api_key": false}}, "manage_firewall": "flase"}',
         ["asks for no key", "'manage_firewall' is 'flase'"]),
        ('{"models": {"demo": {"bytes": null}}}', ["models.yml: model 'demo': 'bytes' must be set"]),
    ],
)  # fmt: skip
def test_each_fault_of_a_plan_is_one_line_once(playbook: Any, extra: str, sentences: list[str]) -> None:
    done = playbook("playbooks/validate.yml", "-l", "local", "-e", extra)
    assert done.returncode != 0
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("error: ")]
    for sentence in sentences:
        assert sum(sentence in line for line in lines) == 1, done.stdout + done.stderr
        assert (done.stdout + done.stderr).count(sentence) == 1
    assert "caused by" not in done.stderr and (done.stdout + done.stderr).count("Origin:") <= 1


def test_a_row_that_stands_twice_is_refused(playbook: Any, tmp_path: Path) -> None:
    """YAML itself would keep the last one."""
    (tmp_path / "twice.yml").write_text("overrides:\n  demo: {port: 1}\n  demo: {port: 2}\n")
    done = playbook("playbooks/validate.yml", "-l", "local", "-e", f"@{tmp_path}/twice.yml")
    assert done.returncode != 0 and "duplicate mapping key 'demo'" in done.stderr


@pytest.mark.slow
def test_a_fault_in_a_row_hides_no_status(playbook: Any, tmp_path: Path) -> None:
    extra = {"overrides": {"demo": {"env": {"a-b": 1}}}, "serving_root": str(tmp_path)}
    done = playbook("playbooks/status.yml", "-l", "local", "-e", json.dumps(extra))
    said = done.stdout + done.stderr
    assert done.returncode == 2 and "no host answers for demo" in said and "not deployed on this host" in said


@pytest.mark.slow
def test_switches_are_read_from_the_command_line(playbook: Any) -> None:
    for value in ("false", "False", "no", "off", "0"):
        assert playbook("playbooks/check_plan.yml", "-l", "local", "-e", f"require_pins={value}").returncode == 0
    assert playbook("playbooks/check_plan.yml", "-l", "h100", "-e", "require_pins=yes").returncode != 0
