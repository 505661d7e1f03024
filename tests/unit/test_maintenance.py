"""playbooks/maintenance.yml: what ran is stopped, started and asked; a run that is killed is healed by the next."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, ansible_environment
from test_deploy import Site, site

__all__ = ["site"]


def start(site: Site, **more: Any) -> subprocess.Popen[str]:
    row = {"port": site.port, "native_env": str(site.base / "env"), "env": {"STUB_MODE": "good"}, "ready_timeout": 20}
    values = {
        "serving_root": str(site.root), "reports_dir": str(site.base / "reports"), "pins_file": str(site.base / "pins"),
        "supervisor": "supervisord", "probe_timeout": 5, "overrides": {"demo": row}, **more,
    }  # fmt: skip
    return subprocess.Popen(
        ["ansible-playbook", "playbooks/maintenance.yml", "-l", "local", "--skip-tags", "prepare", "-e", json.dumps(values)],
        cwd=ROOT, env=ansible_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def maintain(site: Site, ok: bool = True, **more: Any) -> str:
    process = start(site, **more)
    output, _ = process.communicate(timeout=300)
    assert (process.returncode == 0) is ok, output
    return output


def until(condition: Any, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
def test_stop_work_start_and_back_in_whatever_kills_it(site: Site, tmp_path: Path) -> None:
    site.deploy("good")
    pid, note = site.release(), site.root / "maintenance.json"
    assert pid and site.answers()
    for name in ("out", "in"):
        task = f"- name: {name}\n  ansible.builtin.file: {{path: {tmp_path}/{name}, state: touch, mode: '0644'}}\n"
        (tmp_path / f"{name}.yml").write_text(task)
    hooks = {"maintenance_out": str(tmp_path / "out.yml"), "maintenance_in": str(tmp_path / "in.yml")}
    process = start(site, **hooks)
    until(lambda: note.exists() and site.release() is None)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert (
        json.loads(note.read_text())["services"] == ["demo"]
        and (tmp_path / "out").exists()
        and not (tmp_path / "in").exists()
    )
    output = maintain(site, **hooks)
    assert site.answers() and not note.exists() and (tmp_path / "in").exists(), output
    assert "localhost  ready" in output


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"reboot": True}, "a run can't reboot the machine that it runs on"),
        ({"runs": ["demmo"]}, "did you mean 'demo'?"),
    ],
)
def test_it_refuses_before_anything_stops(site: Site, more: dict[str, Any], words: str) -> None:
    output = maintain(site, ok=False, **more)
    assert words in output and not (site.root / "maintenance.json").exists(), output
