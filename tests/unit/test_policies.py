"""Policies of a site: how many hosts may fail before a run ends for all, and what becomes of it when one can't be reached."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, ansible_environment
from ports import free_port


def run(folder: Path, *words: str, away: bool = False, taken: int = 0, **values: object) -> str:
    """deploy.yml as far as preflight, for two hosts that are this machine; `taken`: the port of the first one's service."""
    first: dict[str, object] = {"ansible_connection": "local", "runs": ["demo"], "serving_root": str(folder / "one")}
    if taken:
        first["overrides"] = {"demo": {"port": taken}}
    second: dict[str, object] = {"ansible_connection": "local", "runs": ["demo"], "serving_root": str(folder / "two")}
    if away:
        second |= {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": free_port()}
    inventory = folder / "hosts.yml"
    inventory.write_text(
        yaml.safe_dump({"accelerators": {"children": {"local": {"hosts": {"one": first, "two": second}}}}})
    )
    if not (folder / "group_vars").exists():
        (folder / "group_vars").symlink_to(ROOT / "inventory/group_vars")
    given = {"reports_dir": str(folder / "reports"), "pins_file": str(folder / "pins"), **values}
    done = subprocess.run(
        ["ansible-playbook", "-i", str(inventory), "deploy.yml", "--tags", "preflight", "-e", json.dumps(given), *words],
        cwd=ROOT, env=ansible_environment(), capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stdout + done.stderr and "Callback dispatch" not in done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize(("percent", "goes_on"), [(100, True), (0, False), ("40", False), (50, True)])
def test_a_run_ends_for_all_when_more_fail_than_the_site_allows(tmp_path: Path, percent: object, goes_on: bool) -> None:
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", free_port()))
        stranger.listen()
        output = run(tmp_path, taken=stranger.getsockname()[1], max_failed_percent=percent)
    assert "one  failed" in output and "in Preflight" in output, output
    assert ("TASK [Give back the deploy lock]" in output) is goes_on, output


def test_a_host_that_is_away_is_left_out_or_ends_the_run_before_any_is_touched(tmp_path: Path) -> None:
    output = run(tmp_path, away=True)
    assert "two  unreachable" in output and "TASK [Give back the deploy lock]" in output, output
    report = json.loads((tmp_path / "reports/two/report.json").read_text())
    assert report["failure"]["unreachable"] and "two" in (tmp_path / "reports/index.html").read_text()
    output = run(tmp_path, away=True, unreachable_hosts="stop")
    assert "two  unreachable" in output and "Take the deploy lock" not in output.partition("FLEET")[0], output


def test_an_unknown_policy_is_refused(tmp_path: Path) -> None:
    assert "unreachable_hosts is 'halt'; it is skip" in run(tmp_path, unreachable_hosts="halt")
