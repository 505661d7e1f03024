"""What a host knows of its part of a service that several hosts run together, and what the fleet's status makes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.serving.service import members
from conftest import load

from reporting.page import report_page

status = load("filter_plugins/status.py")
GROUP = {"rank": 1, "leader": "a", "members": ["a", "b"], "more": 1}


def known(folder: Path, said: Any, rank: int = 1) -> dict[str, Any]:
    if said is not None:
        (folder / "group.json").write_text(said if isinstance(said, str) else json.dumps(said))
    return members.part(str(folder), {**GROUP, "rank": rank}, {"pid": 7})


@pytest.mark.parametrize(
    ("said", "rank", "words"),
    [
        (None, 1, "its first host, a, has no answer yet"),
        ("{", 1, "its first host, a, has no answer yet"),
        ("[]", 1, "its first host, a, has no answer yet"),
        (
            {"pid": 6, "state": "answering", "missing": []},
            1,
            "its first host, a, has no answer yet",
        ),  # an earlier run's
        ({"pid": 7, "state": "running", "missing": []}, 1, "its first host, a, has no answer yet"),
        ({"pid": 7, "state": "answering", "missing": []}, 1, None),
        ({"pid": 7, "state": "waiting", "missing": ["b (10.0.0.2)"]}, 0, "it waits for b (10.0.0.2)"),
        (
            {"pid": 7, "state": "ending", "missing": []},
            0,
            "its engine ends and is restarted, because another host of it is gone or it did not answer",
        ),
        ({"pid": 7, "state": "running", "missing": []}, 0, None),  # it may be asked
        (None, 0, None),
    ],
)
def test_a_part_is_ready_or_says_for_whom_it_waits(tmp_path: Path, said: Any, rank: int, words: str | None) -> None:
    assert members.problem(known(tmp_path, said, rank)) == words


def test_a_follower_does_not_answer_for_its_service() -> None:
    row = {"service": "x", "served_name": "x", "state": "running", "problem": None}
    first = {**row, "ready": False, "problem": "refused", "group": {"rank": 0}}
    second = {**row, "ready": True, "group": {"rank": 1}}
    found = status.status_summary({"a": {"services": [first]}, "b": {"services": [second]}}, {})
    assert found["code"] == 2 and found["problems"][0] == "no host answers for x"
    second["ready"], first["ready"] = False, True
    found = status.status_summary({"a": {"services": [first]}, "b": {"services": [second]}}, {})
    assert found["code"] == 1


def test_a_report_draws_the_hosts_and_has_no_question_for_a_follower() -> None:
    row = {
        "service": "x", "ready": True, "state": "running", "answer": "follows a", "engine": "vllm", "release": "r", "served_name": "x",
        "endpoint": "http://10.0.0.1:8000", "model": {"name": "m", "revision": "1", "identity": "i"}, "timings": {"ready_seconds": 3.0}, "log": "l",
        "group": {"rank": 1, "leader": "a", "members": ["a", "b"]},
    }  # fmt: skip
    text = report_page(
        {"host": "b", "written": "2026-11-25T12:00:00Z", "services": [row], "accelerator": {}, "address": "", "ssh": ""}
    )
    assert "a, b, of which a has the API and this one is number 2" in text and "not encrypted" in text
    assert "This host follows a." in text and "Say hello" not in text and "First token" not in text
