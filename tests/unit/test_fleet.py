"""Callback `fleet`: an error is said once, in its own words; changes say why; the end says how each host fared."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, ansible_environment

from reporting.console import Outcome, extra_lines, plain, reasons_of, summary

FILTER = "The filter plugin 'plan' failed: "
SENTENCE = "host a: service 'demo': overrides: unknown key 'portt'; did you mean 'port'?"


@pytest.mark.parametrize(
    "before",
    [
        "", FILTER, f"Task failed: Finalization of task args for 'fit' failed: Error while resolving value for 'plan': {FILTER}",
        f"Error while evaluating conditional: {FILTER}", f"Task failed: Error while resolving value for 'that': {FILTER}",
        "Task failed: Module failed: ", "Task failed: Action failed: ",
        f"Finalization of task args for 'ansible.builtin.assert' failed: Error while resolving value for 'msg': {FILTER}",
    ],
)  # fmt: skip
def test_an_error_is_the_sentence_of_who_found_it(before: str) -> None:
    assert plain(before + SENTENCE) == SENTENCE


@pytest.mark.parametrize(
    "text", ["", "Task failed: ", "it said: The filter plugin 'x' failed: y", "two\nlines", "Module failed"]
)
def test_other_words_stay_as_they_are(text: str) -> None:
    assert plain(text) == text.strip()


def test_a_program_s_error_output_is_shown_where_the_message_lacks_it() -> None:
    assert extra_lines({"msg": "apt failed", "stderr": "E: one\nE: two"}) == ["  E: one", "  E: two"]
    assert extra_lines({"msg": "apt failed: E: one", "stderr": "E: one"}) == []
    assert len(extra_lines({"msg": "x", "stdout": "\n".join(map(str, range(99)))})) == 15


def test_reasons_are_lines() -> None:
    assert (
        reasons_of({"reasons": ["a\n b", 3]}) == ["a b", "3"]
        and reasons_of({"reasons": "x"}) == []
        and reasons_of({}) == []
    )


def test_who_needs_somebody_stands_last() -> None:
    failure = {"phase": "Fetch", "task": "t", "message": "the disk is full\nmore", "unreachable": False}
    text = summary([
        Outcome("b", True, False, 1, failure), Outcome("gpu-01", False, False, 2, None, "/r"), Outcome("c", False, True, 0, {**failure, "phase": ""}),
    ])  # fmt: skip
    assert text.splitlines() == [
        "gpu-01  ready        2 changes",
        "b       failed       in Fetch: the disk is full (1 change)",
        "c       unreachable  the disk is full (no change)",
        "1 ready, 1 failed, 1 unreachable",
    ]
    assert summary([Outcome("a", False, False, 0)]) == "" and "would make 1 change" in summary(
        [Outcome("a", False, False, 1)], True
    )


def run(folder: Path, tasks: list[dict[str, Any]], *options: str, hosts: str = "a,b", tags: str = "verify") -> str:
    play = {"name": "Try", "hosts": "all", "gather_facts": False, "connection": "local", "tags": [tags], "tasks": tasks}
    (folder / "play.yml").write_text(yaml.safe_dump([play]))
    values = {"reports_dir": str(folder / "reports"), "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    done = subprocess.run(
        ["ansible-playbook", "-i", f"{hosts},", str(folder / "play.yml"), "-e", json.dumps(values), *options],
        cwd=ROOT, env=ansible_environment(), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert "Callback dispatch" not in done.stderr and "Traceback" not in done.stdout + done.stderr, done.stderr
    return done.stdout + done.stderr


def test_a_refusal_is_said_once_and_the_host_gets_a_report(tmp_path: Path) -> None:
    absent = {
        "name": "Read",
        "service_log": {"name": "none", "serving_root": str(tmp_path), "lines": 1},
        "when": "inventory_hostname == 'a'",
    }
    output = run(tmp_path, [absent, {"name": "Say", "ansible.builtin.debug": {"msg": "two\nlines"}}])
    words = "service 'none' is not deployed on this host; deployed: none"
    assert f"fatal: [a]: FAILED! => {words}\n" in output and output.count(words) == 2, (
        output
    )  # there, and in the summary
    assert "Origin:" not in output and "[ERROR]" not in output and "msg:" not in output
    assert "ok: [b] =>\ntwo\nlines\n" in output
    assert f"a  failed  in Try: {words} (no change)" in output and "1 done, 1 failed" in output
    report = json.loads((tmp_path / "reports/a/report.json").read_text())
    assert report["failure"] == {"phase": "Try", "task": "Read", "message": words, "unreachable": False}
    assert report["origin"]["product"]["version"] and not (tmp_path / "reports/b").exists()
    assert "failed in Try" in (tmp_path / "reports/index.html").read_text()


def test_more_is_said_on_request_and_check_mode_writes_nothing(tmp_path: Path) -> None:
    absent = {"name": "Read", "service_log": {"name": "none", "serving_root": str(tmp_path), "lines": 1}}
    output = run(tmp_path, [absent], "-v", "--check", hosts="a")
    assert "Origin:" in output and "the sentence stands above" in output and not (tmp_path / "reports").exists()


@pytest.mark.slow
def test_changes_that_were_only_looked_for_are_not_told_as_made(tmp_path: Path) -> None:
    touch = {"name": "Touch", "ansible.builtin.file": {"path": str(tmp_path / "x"), "state": "touch"}}
    assert "a  done  would make 1 change" in run(tmp_path, [{**touch, "check_mode": True}], hosts="a")
    assert "a  done  2 changes" in run(tmp_path, [{**touch, "check_mode": True}, touch], hosts="a")


@pytest.mark.slow
def test_a_change_says_why_and_loops_say_each_failure(tmp_path: Path) -> None:
    lock = {
        "name": "Lock",
        "deploy_lock": {"serving_root": str(tmp_path), "state": "held", "holder": "{{ lookup('controller') }}"},
    }
    loop = {
        "name": "Read",
        "service_log": {"name": "{{ item }}", "serving_root": str(tmp_path), "lines": 1},
        "loop": ["x", "y"],
    }
    output = run(tmp_path, [lock, loop], hosts="a", tags="other")
    for name in ("x", "y"):
        assert output.count(f"service '{name}' is not deployed") == 1, output
    assert "Origin:" not in output and not (tmp_path / "reports").exists()


def test_arguments_are_checked_in_silence(tmp_path: Path) -> None:
    good = {
        "name": "Reboot",
        "ansible.builtin.include_role": {"name": "reboot"},
        "vars": {"reboot_pending": [], "reboot_serving": []},
    }
    output = run(tmp_path, [{**good, "vars": {"reboot_pending": 3, "allow_reboot": False}}], hosts="a")
    assert "missing required arguments: reboot_serving" in output
    output = run(tmp_path, [{**good, "vars": {**good["vars"], "allow_reboot": False}}], hosts="a")
    assert "Validating arguments" not in output and "must be rebooted" in output


def test_what_a_rescue_hands_on_or_a_loop_repeats_is_said_once(tmp_path: Path) -> None:
    """As start.yml does for a service that is not deployed, and benchmark.yml for each level; two hosts still say it each."""
    read = {"name": "Read", "service_log": {"name": "none", "serving_root": str(tmp_path), "lines": 1}}
    words = "service 'none' is not deployed on this host; deployed: none"
    hand = {"name": "Say what failed", "ansible.builtin.fail": {"msg": "{{ ansible_failed_result.msg }}"}}
    output = run(tmp_path, [{"name": "Try it", "block": [read], "rescue": [hand]}])
    for host in ("a", "b"):
        assert output.count(f"fatal: [{host}]: FAILED! => {words}") == 1, output
    assert "Say what failed" not in output
    loop = {**read, "loop": [1, 4, 16], "loop_control": {"label": "{{ item }} at once"}}
    output = run(tmp_path, [loop], hosts="a", tags="deploy")
    assert output.count(f"=> {words}") == 1 and "a  failed  in Try: the sentence stands above" in output, output


def test_another_task_that_fails_in_the_same_words_says_so(tmp_path: Path) -> None:
    tasks = [
        {"name": name, "ansible.builtin.command": "false", "ignore_errors": True} for name in ("Ask it", "Ask it again")
    ]
    other = {"name": "End", "ansible.builtin.fail": {"msg": "it ended"}}
    output = run(tmp_path, [*tasks, other], hosts="a")
    assert output.count("non-zero return code") == 2 and output.count("=> it ended") == 1, output
