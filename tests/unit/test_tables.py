"""What a person reads."""

from __future__ import annotations

import json
import shlex

import pytest
from conftest import load

t = load("filter_plugins/tables.py")

ROW = {
    "service": "demo", "state": "running", "ready": True, "answer": "172", "endpoint": "http://127.0.0.1:8000", "served_name": "demo",
    "uptime_seconds": 61.0, "model": {"name": "demo", "revision": "0a1b"}, "log": "/srv/vllm/logs/demo.log", "key_file": "/srv/vllm/k",
    "timings": {"ready_seconds": 40.1, "first_token_seconds": 0.06}, "question": "What is 127 + 45?",
}  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0, "0 s"), (59.9, "59 s"), (61, "1 min"), (3661, "1 h 1 min"), (90000, "1 d 1 h")],
)
def test_duration(seconds: float | None, text: str) -> None:
    assert t.duration(seconds) == text


def test_status_shows_ready_broken_empty_and_unreachable_hosts() -> None:
    text = t.status_table(
        {
            "a": {
                "services": [
                    ROW,
                    {
                        **ROW,
                        "service": "x",
                        "ready": False,
                        "state": "backoff",
                        "problem": "GET /health: refused\nmore",
                    },
                ]
            },
            "b": {"services": []},
            "c": {"unreachable": True, "msg": "ssh: no route"},
            "d": {},
            "e": {"failed": True, "msg": "Permission denied /srv"},
        }
    )
    lines = text.splitlines()
    assert lines[0].split() == list(t.STATUS)
    assert "ready" in lines[1] and "0a1b" in lines[1] and "1 min" in lines[1] and "ok: '172'" in lines[1]
    assert "backoff" in lines[2] and "GET /health: refused" in lines[2] and "more" not in lines[2]
    assert "nothing deployed" in lines[3]
    assert "unreachable" in lines[4] and "no route" in lines[4]
    assert "unreachable" in lines[5] and "no answer" in lines[5]
    assert "error" in lines[6] and "Permission denied" in lines[6]
    assert len({line.index("  ") for line in lines[:1]}) == 1


def test_the_curl_line_can_be_pasted_and_holds_no_key() -> None:
    text = t.summary({"services": [ROW], "report": "/r.html"})
    line = next(line for line in text.splitlines() if line.strip().startswith("curl"))
    words = shlex.split(line)
    assert words[2] == "http://127.0.0.1:8000/v1/chat/completions"
    assert "$(cat /srv/vllm/k)" in line
    assert json.loads(words[-1])["messages"][0]["content"] == "What is 127 + 45?"


def test_the_summary_of_a_failed_service_says_so() -> None:
    text = t.summary({"services": [{**ROW, "ready": False, "problem": "GET /health: refused"}], "report": "/r.html"})
    assert text.splitlines() == ["demo is NOT ready: GET /health: refused", "report: /r.html"]


def test_plan_table_says_dash_for_a_host_that_runs_nothing() -> None:
    assert t.plan_table({"a": []}).splitlines()[1].split() == ["a", *["-"] * 7]
