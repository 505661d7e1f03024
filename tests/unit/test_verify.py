"""What an operator reads when services don't get ready: the message, the log's last lines, what they mean and where the log is, once."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, ansible_environment
from services import Host
from test_services import host

__all__ = ["host"]
MODEL = {"name": "demo", "revision": "r1", "identity": "0123", "path": "/nowhere"}


def verify(host: Host, base: Path, **more: Any) -> tuple[int, str]:
    """Run the role as deploy.yml does: (exit code, what it printed)."""
    play = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars": {
            "serving_root": str(host.root), "supervisor": "supervisord", "probe_timeout": 5, "reports_dir": str(base / "reports"), "reports_keep": 5,
            "templates_dir": str(ROOT / "templates"), "host_board": {"kind": "cpu"}, "ansible_python_interpreter": "{{ ansible_playbook_python }}",
            "verify_services": [{"service": "demo", "ready_timeout": 25}], **more,
        },
        "tasks": [{"name": "Verify", "ansible.builtin.include_role": {"name": "verify"}}],
    }  # fmt: skip
    path = base / "verify.yml"
    path.write_text(yaml.safe_dump([play]))
    done = subprocess.run(
        ["ansible-playbook", "-i", "localhost,", str(path)], cwd=ROOT, env=ansible_environment(), capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_a_failed_verify_says_it_once_and_nothing_else(host: Host, tmp_path: Path) -> None:
    host.service("crash", model=MODEL)
    code, output = verify(host, tmp_path)
    assert code != 0
    for words in (
        "service 'demo' is not ready",
        "vllm serve: error: unrecognized arguments: --no-such-option",
        "What that means: this release of the engine has no option engine_args.no_such_option",
        f"Last lines of its log ({host.root}/logs/demo.log)",
    ):
        least = 2 if words.startswith("vllm serve") else 1  # each start of the engine says its last words
        assert 1 <= len(re.findall(re.escape(words), output)) <= 2 * least, output
    assert output.count("Last lines of its log") == 1 and output.count("What that means") == 1, output
    # No dump of what the module knows.
    for field in ("served_name", "key_file", "dropped_peers", "log_tail", "timings", "uptime_seconds"):
        assert field not in output, output
    report = json.loads((tmp_path / "reports/localhost/report.json").read_text())
    assert report["services"][0]["ready"] is False and report["services"][0]["log_tail"]


@pytest.mark.parametrize(("mode", "words"), [("garbage", "'!' over and over"), ("wrong", "lists other, not 'demo'")])
def test_a_steady_wrong_answer_ends_the_wait(host: Host, tmp_path: Path, mode: str, words: str) -> None:
    """Long before the ready_timeout of an hour, with its cause; meanwhile nobody says that the process is starting."""
    host.service(mode, model=MODEL)
    code, output = verify(host, tmp_path, verify_services=[{"service": "demo", "ready_timeout": 3600}])
    assert code != 0 and words in output and "waiting on would not help" in output, output
    assert "process is starting" not in output and "it listens" in output, output


def test_a_good_service_is_reported(host: Host, tmp_path: Path) -> None:
    host.service(model=MODEL)
    code, output = verify(host, tmp_path)
    assert code == 0, output
    assert "demo is ready at" in output and "FAILED" not in output
