"""What fetch_environment holds reaches the modules that fetch, and is seen by nobody: no command line, no output, at any verbosity."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleActionFail
from conftest import ROOT, ansible_environment, load

PASSWORD = "p4ss/with+signs"
ENVIRONMENT = {"HTTPS_PROXY": f"http://me:{PASSWORD}@proxy.example:3128", "PLAIN": 'it\'s "quoted" $HOME\nand long'}
TASKS = sorted(
    path for folder in ("roles", "playbooks", "molecule") for path in (ROOT / folder).rglob("*.yml") if "/group_vars/" not in str(path)
)  # fmt: skip


def play(tmp_path: Path, *tasks: dict) -> subprocess.CompletedProcess[str]:
    """Run tasks on this machine, as loudly as Ansible can."""
    variables = {"fetch_environment": ENVIRONMENT, "ansible_python_interpreter": sys.executable}
    book = [{"hosts": "localhost", "gather_facts": False, "vars": variables, "tasks": list(tasks)}]
    path = tmp_path / "play.yml"
    path.write_text(yaml.safe_dump(book))
    return subprocess.run(
        ["ansible-playbook", "-i", "localhost,", "-c", "local", "-vvvv", path],
        cwd=ROOT, env={**ansible_environment(), "ANSIBLE_DISPLAY_ARGS_TO_STDOUT": "1"}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


@pytest.mark.parametrize("pipelining", ["true", "false"])
def test_the_variables_are_in_the_environment_and_in_no_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pipelining: str
) -> None:
    monkeypatch.setenv("ANSIBLE_PIPELINING", pipelining)
    look = f'printf %s "$HTTPS_PROXY" > {tmp_path}/proxy; printf %s "$PLAIN" > {tmp_path}/plain; cat /proc/[0-9]*/cmdline > {tmp_path}/seen 2>/dev/null; true'
    task = {
        "fetching": {
            "module": "ansible.builtin.command",
            "options": {"argv": ["sh", "-c", look], "expand_argument_vars": False},
        }
    }
    done = play(tmp_path, task)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "proxy").read_text() == ENVIRONMENT["HTTPS_PROXY"]
    assert (tmp_path / "plain").read_text() == ENVIRONMENT["PLAIN"]
    assert PASSWORD.encode() not in (tmp_path / "seen").read_bytes()
    assert PASSWORD not in done.stdout + done.stderr and "proxy.example" not in done.stdout


def test_tools_that_name_their_proxy_do_not_show_its_password(tmp_path: Path) -> None:
    words = "echo cannot reach $HTTPS_PROXY; echo $HTTPS_PROXY >&2; exit 3"
    done = play(tmp_path, {"fetching": {"module": "ansible.builtin.command", "options": {"argv": ["sh", "-c", words]}}})
    assert done.returncode == 2 and PASSWORD not in done.stdout + done.stderr
    assert "cannot reach http://********@proxy.example:3128" in done.stdout


def test_a_fetch_in_the_background_has_them_too(tmp_path: Path) -> None:
    """weights_fetch runs as a job; it says which proxy it could not reach, and no password."""
    task = {
        "weights_fetch": {
            "name": "m", "models_root": str(tmp_path / "models"), "sources": {"huggingface": {"repo": "a/b"}}, "retries": 0,
            "stall_timeout": 1, "huggingface_endpoint": "https://hub.example",
        }
    }  # fmt: skip
    done = play(tmp_path, task)
    assert done.returncode == 2 and "proxy" in done.stdout.lower(), done.stdout[-2000:]
    assert PASSWORD not in done.stdout + done.stderr


def test_secrets_are_hidden_at_every_depth_and_short_words_are_not() -> None:
    plugin = load("fetching/environment.py")
    found = plugin.secrets_of(
        {"P": "http://u%40x:a%2Fb%2Fc@h:1", "API_TOKEN": "t0ken", "MAIL": "a@b", "N": "1", "HF_TOKEN": "1"}
    )
    assert {"u%40x:a%2Fb%2Fc", "u@x:a/b/c", "a/b/c", "t0ken"} <= set(found) and not {"1", "a", "a@b"} & set(found)
    assert plugin.hidden({"a": [{"b": "x a/b/c y", "t0ken": 1}]}, found) == {
        "a": [{"b": "x ******** y", "********": 1}]
    }


def test_a_module_that_ansible_does_not_pack_is_refused() -> None:
    with pytest.raises(AnsibleActionFail, match="take another module"):
        load("fetching/environment.py").with_environment(b"#!/bin/sh\necho\n", {"A": "b"})


def test_a_phase_before_prepare_says_what_to_run_first(playbook: Any, tmp_path: Path) -> None:
    """And check mode, in which prepare makes nothing, goes on."""
    given = json.dumps({"serving_root": str(tmp_path / "srv"), "pins_file": str(tmp_path / "pins")})
    for options, ok in (((), False), (("--check",), True)):
        done = playbook("playbooks/fetch.yml", "-l", "local", "-e", given, *options)
        assert (done.returncode == 0) is ok and "interpreter" not in done.stdout + done.stderr, done.stdout
        sentence = f"{tmp_path}/srv/tools/bin/python is not on this host, and this step runs with it; make it first: deploy.yml"
        assert (sentence in done.stdout) is not ok
    assert not (tmp_path / "srv").exists()


def test_no_task_puts_fetch_environment_where_it_is_seen() -> None:
    """Ansible writes `environment` into the module's command line, and options into its output: the actions read the variable themselves."""
    for path in TASKS:
        lines = [
            line
            for line in path.read_text().splitlines()
            if "fetch_environment" in line and not line.lstrip().startswith("#")
        ]
        assert not lines, f"{path.relative_to(ROOT)}: {lines[0].strip()}; use the action fetching"


def test_every_task_that_fetches_gets_fetch_environment() -> None:
    fetches = re.compile(
        r"^\s*(ansible\.builtin|ansible\.legacy)\.(apt|dnf|dnf5|yum|package|get_url|pip|git|uri|apt_repository|rpm_key|apt_key):",
        re.M,
    )
    for path in TASKS:
        found = fetches.search(path.read_text())
        assert not found, (
            f"{path.relative_to(ROOT)}: {found and found.group().strip()} is to be called by the action fetching"
        )
