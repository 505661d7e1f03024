"""What a person reads."""

from __future__ import annotations

import copy
import json
import re
import shlex

import pytest
from conftest import load

t = load("filter_plugins/tables.py")

from reporting.page import report_page  # noqa: E402

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


def part(rank: int, **more: object) -> dict[str, object]:
    return {**ROW, "group": {"rank": rank, "leader": "a", "members": ["a", "b"]}, **more}


def test_a_service_of_several_hosts_is_one_line_and_its_hosts_on_demand() -> None:
    both = {"a": {"services": [part(0)]}, "b": {"services": [part(1, answer="follows a")]}}
    [line] = t.status_table(both).splitlines()[1:]
    assert line.startswith("a+b ") and " ready " in line and "ok: '172'" in line
    assert [line.split()[0] for line in t.status_table(both, members=True).splitlines()[1:]] == ["a", "b"]
    lame = {**both, "b": {"services": [part(1, ready=False, problem="it is stopped"), {**ROW, "service": "x"}]}}
    first, second = t.status_table(lame).splitlines()[1:]
    assert first.startswith("a+b ") and " degraded " in first and "b: it is stopped" in first
    assert second.split()[:3] == ["b", "x", "ready"]
    [line] = t.status_table({"b": both["b"]}).splitlines()[1:]
    assert line.startswith("b ") and "follows a" in line
    assert "unreachable" in t.status_table({**both, "a": {"unreachable": True}}).splitlines()[1]
    assert both["a"]["services"] == [part(0)]


def test_a_deploy_says_which_hosts_a_service_runs_over_and_what_a_follower_is() -> None:
    report = {"host": "a", "services": [part(0)], "report": "r.html", "address": "10.0.0.1"}
    assert "runs over a, b, unencrypted between them" in t.summary(report)
    follower = part(1, answer="follows a", timings={"ready_seconds": 3.0}, endpoint="http://10.0.0.1:8000")
    assert t.summary({**report, "host": "b", "services": [follower]}).startswith(
        "demo: this host follows a, which has its API"
    )


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
    assert "$(head -n 1 /srv/vllm/k)" in line  # two keys while one is changed
    assert json.loads(words[-1])["messages"][0]["content"] == "What is 127 + 45?"


def test_the_summary_of_a_failed_service_says_so() -> None:
    text = t.summary({"services": [{**ROW, "ready": False, "problem": "GET /health: refused"}], "report": "/r.html"})
    assert text.splitlines() == ["demo is NOT ready: GET /health: refused", "report: /r.html"]


def test_plan_table_says_dash_for_a_host_that_runs_nothing() -> None:
    assert t.plan_table({"a": []}).splitlines()[1].split() == ["a", *["-"] * 7]


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("http://0.0.0.0:8000", "http://10.1.2.3:8000"), ("http://:::8000", "http://10.1.2.3:8000"), ("http://[::]:8000", "http://10.1.2.3:8000"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"), ("http://10.9.9.9:1", "http://10.9.9.9:1"), ("http://::1:8000", "http://[::1]:8000"),
        ("http://[fe80::1]:8000", "http://[fe80::1]:8000"), ("https://gpu.example:443", "https://gpu.example:443"),
    ],
)  # fmt: skip
def test_a_line_to_copy_never_calls_an_address_that_is_none(endpoint: str, url: str) -> None:
    report = {"services": [{**ROW, "endpoint": endpoint}], "report": "/r", "address": "10.1.2.3", "ssh": "ops@gpu-01"}
    text = t.summary(report)
    assert f"curl -s {url}/v1/chat/completions" in text and f"ready at {url}/v1" in text
    assert "$(ssh ops@gpu-01 sudo head -n 1 /srv/vllm/k)" in text
    assert ("ssh -N -L 8000:" in text) is ("127.0.0.1" in url or ("::1]" in url and "fe80" not in url))


def test_an_ipv6_host_is_written_as_one() -> None:
    assert t.reach({"endpoint": "http://0.0.0.0:8000"}, {"address": "2001:db8::5"}) == "http://[2001:db8::5]:8000"


def test_on_this_machine_no_tunnel_is_advised() -> None:
    assert "ssh" not in t.summary({"services": [ROW], "report": "/r", "address": "10.1.2.3", "ssh": ""})


@pytest.mark.parametrize("question", ['it\'s "quoted" \\ $(x) `y`', "line\nline", "Wie heißt du?"])
def test_a_question_of_any_kind_can_be_pasted(question: str) -> None:
    text = t.summary({"services": [{**ROW, "question": question, "served_name": "a'b"}], "report": "/r"})
    words = shlex.split(text[text.index("curl") : text.index("\nreport")])
    assert json.loads(words[-1])["messages"][0]["content"] == question and json.loads(words[-1])["model"] == "a'b"


HOSTILE = "<script>alert(1)</script>\" onload=\"x' onclick='y javascript:alert(1) {{ 7*7 }} {% raw %} </table><!--"


def hostile(value: object) -> object:
    """The same structure with every text replaced; names of fields too where they are data."""
    if isinstance(value, dict):
        return {key: hostile(item) for key, item in value.items()}
    if isinstance(value, list):
        return [hostile(item) for item in value]
    return value if isinstance(value, bool) or value is None else HOSTILE


REPORT = {
    "host": "h", "written": "2026-11-25T12:00:00Z", "report": "/r", "address": "a", "ssh": "s",
    "accelerator": {
        "kind": "gpu", "arch": "x86_64", "live": True, "problems": ["p"],
        "cpu": {"model": "m", "sockets": 1, "cores": 2, "threads": 4, "usable": 4, "flags": ["f"]},
        "memory": {"total_bytes": 1, "limit_bytes": 1}, "topology": {"numa": ["n"]}, "notes": ["n"], "driver": {"version": "d"},
        "devices": [{"index": 0, "name": "n", "uuid": "u", "memory_total_bytes": 1}],
    },
    "services": [
        {
            **ROW, "ready": ready, "state": "backoff", "problem": "p", "reasoning": True, "image": "red", "engine": "e", "runtime": "r", "release": "0",
            "supervisor": "s", "rights": ["r"], "dropped_peers": ["d"], "flaggems": {"operators": ["o"], "asked": True, "problem": None},
            "settings": {"max_model_len": "8"}, "meaning": "w", "root_cause": "c", "log_tail": ["l"], "engine_version": "1", "image_name": "i",
            "model": {"name": "m", "revision": "r", "identity": "i", "path": "p"}, "exposure": {"asked": 3, "open": ["GET /x"], "note": note, "problem": None},
            "timings": {"ready_seconds": 1, "first_token_seconds": 1, "seconds": 1, "tokens": 1},
        }
        for ready in (True, False) for note in ("n", None)
    ],
    "failure": {"phase": "p", "task": "t", "message": "m", "unreachable": False},
    "returned": ["r"],
    "changes": [{"phase": "p", "task": "t", "reasons": ["r"]}],
    "since": {"written": "2026-11-24T12:00:00Z", "rows": [{"service": "s", "what": "w", "before": "b", "now": "n"}]},
    "phases": [{"phase": "p", "seconds": 1}],
    "origin": {
        "user": "u", "controller": "c", "site": {"folder": "f", "commit": None, "dirty": None},
        "product": {"version": "v", "folder": "f", "commit": "c", "dirty": True},
    },
}  # fmt: skip


def page(report: object) -> str:
    text: str = report_page(report)  # type: ignore[arg-type]
    return text


def test_nothing_that_a_field_says_is_more_than_text() -> None:
    given = hostile(REPORT)
    text = page(given)
    clean = page(REPORT)
    tags = re.compile(r"<[^>]*>")
    assert sorted(set(tags.findall(text))) == sorted(set(tags.findall(clean))), (
        "no tag and no attribute comes from a field"
    )
    assert (
        "<script" not in text and "javascript:" in text and "49" not in text.replace("149", "") and "{{ 7*7 }}" in text
    )
    assert not re.search(r"(?i)\b(?:href|src|on\w+)=", "".join(tags.findall(text)))


def leaves(value: object, path: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return [leaf for key, item in items for leaf in leaves(item, (*path, key))]
    return [path] if not isinstance(value, bool) and value is not None else []


@pytest.mark.parametrize("path", leaves(REPORT), ids=lambda path: ".".join(map(str, path)))
def test_each_field_by_itself(path: tuple[object, ...]) -> None:
    given = copy.deepcopy(REPORT)
    *parents, last = path
    place: object = given
    for key in parents:
        place = place[key]  # type: ignore[index]
    place[last] = HOSTILE  # type: ignore[index]
    text = page(given)
    assert "<script>alert" not in text and '" onload="' not in text and "' onclick='" not in text


def test_a_report_with_little_in_it_is_still_a_page() -> None:
    row = {"service": "demo", "ready": False, "state": "absent", "problem": "it is not deployed on this host"}
    text = page({"host": "h", "written": "2026-11-25T12:00:00Z", "accelerator": {}, "services": [row]})
    assert "not deployed" in text and "0 of 1 services answer" in text
