"""Data sets of a full verdict: asked once each whatever is killed, never beside a load, and scored alike on both sides."""

from __future__ import annotations

import http.server
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from ansible.module_utils.serving.service import harness
from conftest import FIXTURES, ROOT
from ports import free_port

from judging import asking, packs, sets

Result = dict[str, Any]
Run = Callable[..., Result]
ITEMS = [
    {"id": f"{a}+{b}", "messages": [{"role": "user", "content": f"What is {a} + {b}?"}], "expect": str(a + b)}
    for a in range(10)
    for b in range(30)
]


class Service:
    """A deployed service whose engine is this process, and a harness beside it that stands in for evalscope."""

    def __init__(self, base: Path) -> None:
        self.root, self.port, self.asked = base, free_port(), list[Result]()
        self.running, self.dies_after, self.cut, self.refused = 0, 10**9, False, "nothing"
        release = base / "services/demo/releases/0123456789ab"
        release.mkdir(parents=True)
        spec = {
            "endpoint": f"http://127.0.0.1:{self.port}", "service": "demo", "served_name": "demo", "engine": "vllm",
            "model": {"name": "demo", "path": "/m"},
        }  # fmt: skip
        (release / "spec.json").write_text(json.dumps(spec))
        (base / "services/demo/api_key").write_text("secret-key-of-tests\n")
        (base / "services/demo/current").symlink_to("releases/0123456789ab")
        self.python = base / "python"
        self.python.write_text(f'#!/bin/sh\nPYTHONPATH={FIXTURES}/evalscope_stand_in exec {sys.executable} "$@"\n')
        self.python.chmod(0o755)
        service = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *words: Any) -> None:
                pass

            def send(self, body: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self) -> None:
                self.send(f"vllm:num_requests_running {service.running}\nvllm:num_requests_waiting 0\n".encode())

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                assert self.headers["Authorization"] == "Bearer secret-key-of-tests"
                if len(service.asked) >= service.dies_after:
                    self.connection.close()
                    return
                if service.refused in json.dumps(body["messages"]):
                    self.send_error(400, "longer than the context")
                    return
                service.asked.append(body)
                choice = {
                    "message": {"role": "assistant", "content": service.answer(body["messages"])},
                    "finish_reason": "length" if service.cut else "stop",
                }
                self.send(json.dumps({"choices": [choice]}).encode())

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def until_its_end(self) -> Iterator[Self]:
        yield self
        self.server.shutdown()
        self.server.server_close()

    def answer(self, messages: list[Result]) -> str:
        return f" {sum(map(int, re.findall(r'[0-9]+', messages[-1]['content'])))}\n"

    def args(self, **more: Any) -> Result:
        return {
            "serving_root": str(self.root), "service": "demo", "python": str(self.python), "set": "sums", "items": ITEMS, "longest": 16, **more,
        }  # fmt: skip

    def questions(self) -> list[str]:
        return [body["messages"][-1]["content"] for body in self.asked]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    yield from Service(tmp_path).until_its_end()


def test_every_item_is_asked_once_with_every_sampling_field(service: Service, run_module: Run) -> None:
    found = run_module("harness", service.args())
    assert not found["failed"] and found["problem"] == "" and found["before"] == 0
    assert found["answers"]["3+4"] == {"text": " 7\n", "finish": "stop", "tokens": 3}
    assert sorted(service.questions()) == sorted(item["messages"][0]["content"] for item in ITEMS)
    wanted = {
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "n",
        "seed",
        "max_tokens",
        "repetition_penalty",
        "presence_penalty",
        "frequency_penalty",
    }
    assert wanted <= set(service.asked[0]) and service.asked[0]["max_tokens"] == 16
    again = run_module("harness", service.args())
    assert again["before"] == len(ITEMS) and again["answers"] == found["answers"] and len(service.asked) == len(ITEMS)
    held = [path for path in service.root.rglob("*") if path.is_file() and path.name != "api_key"]
    assert not [path for path in held if b"secret-key-of-tests" in path.read_bytes()]


def test_what_was_kept_before_a_kill_is_not_asked_again(service: Service, run_module: Run) -> None:
    """The harness is killed in the middle of its work, with half a line written."""
    release = str((service.root / "services/demo/current").readlink()).rpartition("/")[2]
    work = Path(harness.place(str(service.root / "services/demo"), release, "sums", ITEMS, 16, harness.GREEDY))
    work.mkdir(parents=True)
    generation = {**harness.sampling_of(harness.GREEDY), "max_tokens": 16, "timeout": 30}
    settings = harness.prepare(str(work), "sums", "demo", f"http://127.0.0.1:{service.port}", ITEMS, generation, 4)
    process = subprocess.Popen(
        [str(service.python), "-c", harness.PROGRAM, settings],
        env={**os.environ, harness.KEY: "secret-key-of-tests", "STAND_IN_PAUSE": "0.02"},
    )
    kept = Path(harness.answers_file(str(work), "demo", "sums"))
    until = time.monotonic() + 60
    while len(list(harness.rows_of(str(kept)))) < 5 and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with kept.open("a") as target:
        target.write('{"index": 299, "model_out')
        target.write("\n")
    before = set(harness.read(str(kept), ITEMS))
    service.asked.clear()
    found = run_module("harness", service.args())
    assert found["before"] == len(before) >= 5 and set(found["answers"]) == {item["id"] for item in ITEMS}
    asked = service.questions()
    assert len(asked) == len(set(asked)) and not {f"What is {key.replace('+', ' + ')}?" for key in before} & set(asked)


def test_a_run_that_has_become_a_verdict_is_asked_again(service: Service, run_module: Run) -> None:
    run_module("harness", service.args())
    assert run_module("harness", service.args(ended=True))["answers"] == {}
    found = run_module("harness", service.args())
    assert found["before"] == 0 and len(found["answers"]) == len(ITEMS) and len(service.asked) == 2 * len(ITEMS)
    assert len(list((service.root / "services/demo/harness").glob("*/*.before/predictions/demo/*.jsonl"))) == 1


def test_answers_of_a_release_that_is_gone_go(service: Service, run_module: Run) -> None:
    place = service.root / "services/demo/harness"
    (place / "ffffffffffff/0123").mkdir(parents=True)
    run_module("harness", service.args())
    assert sorted(path.name for path in place.iterdir()) == ["0123456789ab", "lock"]


def test_a_data_set_is_never_asked_beside_a_load(service: Service, run_module: Run) -> None:
    service.running = 3
    found = run_module("harness", service.args())
    assert (
        found["problem"].startswith("3 requests of others run or wait") and not service.asked and found["answers"] == {}
    )


def test_an_endpoint_that_dies_half_way_leaves_what_it_said(service: Service, run_module: Run) -> None:
    service.dies_after = 40
    found = run_module("harness", service.args())
    assert len(found["answers"]) == 40 and found["problem"].startswith("260 requests failed, the last with: "), found[
        "problem"
    ]
    assert "secret-key" not in found["problem"]
    record = sets.recorded(ONE, asked_of(RIGHT))
    (finding,) = sets.of_set(record, found, 0.02)
    assert finding.verdict == "INCOMPARABLE" and "260 of 300 items have no answer (260 requests failed" in finding.why
    service.dies_after = 10**9
    assert len(run_module("harness", service.args())["answers"]) == len(ITEMS) and len(service.asked) == len(ITEMS)


def test_one_question_that_the_service_refuses_does_not_end_the_others(service: Service, run_module: Run) -> None:
    service.refused = "What is 3 + 4?"
    found = run_module("harness", service.args())
    assert set(RIGHT) - set(found["answers"]) == {"3+4"} and "1 requests failed, the last with: " in found["problem"]
    record = sets.recorded(ONE, asked_of(RIGHT))
    (finding,) = sets.of_set(record, found, 0.02)  # one of 300 is allowed, and counts as wrong
    assert finding.verdict == "EQUIVALENT" and finding.value is not None and finding.value < 0
    again = run_module("harness", service.args())
    assert again["before"] == 299 and len(service.asked) == 299


def test_an_answer_without_words_is_an_answer_and_wrong(service: Service, run_module: Run) -> None:
    service.answer = lambda messages: ""  # type: ignore[method-assign]
    found = run_module("harness", service.args())
    assert found["problem"] == "" and len(found["answers"]) == len(ITEMS)
    (finding,) = sets.of_set(sets.recorded(ONE, asked_of(RIGHT)), found, 0.02)
    assert finding.verdict == "DIFFERENT" and "300 of 300 items differ, 0 of them right here alone" in finding.why


def test_an_endpoint_that_is_not_there_is_a_sentence(service: Service, run_module: Run) -> None:
    service.server.shutdown()
    service.server.server_close()
    told = run_module("harness", service.args())
    assert told["failed"] and told["msg"].startswith("service 'demo' can't be asked: "), told


def test_answers_to_another_data_set_are_refused(service: Service, run_module: Run) -> None:
    work = run_module("harness", service.args()) and next(
        (service.root / "services/demo/harness").glob("*/*/predictions")
    )
    path = next(work.rglob("*.jsonl"))
    path.write_text(path.read_text().replace("What is 3 + 4?", "What is 3 + 5?"))
    told = run_module("harness", service.args())
    assert told["failed"] and "another question than item '3+4'" in told["msg"]


def test_without_an_environment_it_says_so(service: Service, run_module: Run) -> None:
    found = run_module("harness", service.args(python="/no/such/python"))
    assert "environment is not there (/no/such/python)" in found["problem"] and not service.asked
    assert run_module("harness", service.args(set="../x"))["msg"].startswith(
        "data set '../x' has a name that is no file's"
    )


def asking_of(module: Callable[[str, Result], Result], said: list[str], seconds: int = 1000) -> asking.Asking:
    return asking.Asking(module, said.append, {"serving_root": "/srv", "service": "demo"}, "python", "/copies", seconds)


def test_a_set_is_asked_call_after_call_until_nothing_more_comes() -> None:
    calls: list[Result] = []
    said: list[str] = []

    def module(name: str, args: Result) -> Result:
        before = min(len(calls) * 100, 250)
        calls.append(args)
        have = min(before + 100, 250)
        return {
            "answers": {str(n): {} for n in range(have)},
            "before": before,
            "problem": "it is stuck" if have == before else "",
        }

    found = asking_of(module, said).whole_set(ONE)
    assert len(found["answers"]) == 250 and len(calls) == 4 and "250 of 300 items are answered; it is stuck" in said[-1]
    assert all(set(item) == {"id", "messages", "expect"} for item in calls[0]["items"])
    assert calls[0]["seconds"] == asking.TURN and calls[0]["sampling"] == {"temperature": 0.0, "top_p": 1.0}


def test_all_sets_together_have_a_bound_and_the_next_run_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    now, calls, said = [0.0], list[Result](), list[str]()
    monkeypatch.setattr(asking.time, "monotonic", lambda: now[0])

    def module(name: str, args: Result) -> Result:
        calls.append(args)
        now[0] += args["seconds"]
        return {**asked_of({}), "answers": {str(n): {} for n in range(10 * len(calls))}, "before": 10 * len(calls) - 10}

    asker = asking_of(module, said, 700)
    found = asker.whole_set(ONE)
    assert [args["seconds"] for args in calls] == [300, 300, 100]
    assert found["problem"] == (
        "30 of 300 were answered when the 700 s of judge_sets_seconds were over; the same command goes on with the other 270"
    )
    (finding,) = sets.of_set(sets.recorded(ONE, asked_of(RIGHT)), {**found, "answers": {}}, 0.02)
    assert (
        finding.verdict == "INCOMPARABLE" and "300 of 300 items have no answer (30 of 300 were answered" in finding.why
    )
    asker.whole_set({**ONE, "name": "another"})  # what it has is told, and nothing more is waited for
    assert len(calls) == 4 and calls[-1]["seconds"] == 1


def test_a_call_is_long_enough_for_a_model_that_thinks_aloud() -> None:
    calls: list[Result] = []

    def module(name: str, args: Result) -> Result:
        calls.append(args)
        return asked_of({})

    asking_of(module, [], 100_000).whole_set({**ONE, "tokens": 16384})
    assert calls[0]["seconds"] == 2048 and calls[0]["timeout"] == 4096


def answer(text: str, finish: str = "stop") -> Result:
    return {"text": text, "finish": finish, "tokens": 3}


RIGHT = {item["id"]: answer(item["expect"]) for item in ITEMS}
ONE: Result = {"name": "sums", "items": ITEMS, "tokens": 16}


def asked_of(answers: Result, **sampling: float) -> Result:
    """What module harness says."""
    drawn = harness.sampling_of(sampling or harness.GREEDY)
    return {"answers": answers, "before": 0, "version": harness.VERSION, "sampling": drawn, "problem": ""}


def some(count: int, other: Result | None) -> Result:
    """All answers right but those of the first `count` items."""
    found = dict(RIGHT)
    for item in ITEMS[:count]:
        found.pop(item["id"])
        if other:
            found[item["id"]] = other
    return found


@pytest.mark.parametrize(
    ("answers", "word", "why"),
    [
        (RIGHT, "EQUIVALENT", "0 of 300 items differ"),
        (some(1, None), "EQUIVALENT", "1 of 300 items differ"),  # one that is missing counts as unlike
        (some(2, None), "INCOMPARABLE", "2 of 300 items have no answer (the last words)"),
        (some(6, answer("1", "length")), "DIFFERENT", "6 of 300 items differ"),
        (
            some(7, answer("1", "length")),
            "INCOMPARABLE",
            "7 of 300 answers of this service end at the limit of 16 tokens",
        ),
        (some(40, answer("no")), "DIFFERENT", "40 of 300 items differ, 0 of them right here alone"),
        (some(3, answer("no")), "UNDERPOWERED", "it takes about"),
    ],
)
def test_what_a_data_set_shows(answers: Result, word: str, why: str) -> None:
    record = sets.recorded(ONE, asked_of(RIGHT))
    (finding,) = sets.of_set(record, {**asked_of(answers), "problem": "the last words"}, 0.02)
    assert finding.verdict == word and why in finding.why, finding


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"harness": "evalscope 1.0"}, "by harness evalscope 1.0, and evalscope 1.14.1 asks here"),
        ({"scorer": "exact 0"}, "by scorer exact 0"),
        ({"data": "0" * 64}, "another revision than the pack says"),
        ({"sampling": {"temperature": 0.6}}, "with sampling {'temperature': 0.6}, and a service is asked with {'n': 1"),
    ],
)
def test_what_no_statistics_can_bridge_is_named(changes: Result, why: str) -> None:
    record = {**sets.recorded(ONE, asked_of(RIGHT)), **changes}
    (finding,) = sets.of_set(record, asked_of(RIGHT), 0.02)
    assert finding.verdict == "INCOMPARABLE" and why in finding.why


def test_a_pack_keeps_its_data_sets_and_says_where_they_were_changed(tmp_path: Path) -> None:
    about = {"model": {"name": "demo"}, "sampling": {"temperature": 0}, "scorer": "exact 1", "runs": 2}
    item = {"id": "one", "prompt": [1], "runs": [{"tokens": [2]}]}
    record = sets.recorded(ONE, asked_of(RIGHT))
    packs.write(tmp_path / "p", about, [item], [record])
    assert packs.read(tmp_path / "p").sets == (record,)
    with pytest.raises(ValueError, match=r"2 of 300 items of sums have no answer, 0\+0 the first: the words"):
        sets.recorded(ONE, {**asked_of(some(2, None)), "problem": "the words"})
    path = tmp_path / "p" / packs.SETS
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(packs.BadPack, match="was changed or cut"):
        packs.read(tmp_path / "p")
    packs.write(tmp_path / "p", about, [item], [{**record, "items": []}])
    with pytest.raises(packs.BadPack, match="a data set without name"):
        packs.read(tmp_path / "p")
    packs.write(tmp_path / "p", about, [item])  # without any, none is left
    assert packs.read(tmp_path / "p").sets == () and not path.exists()


def test_questions_of_a_data_set_have_answers(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text('{"text": "1 + 1", "expect": "2"}\n')
    assert sets.questions(path)[0]["messages"] == [{"role": "user", "content": "1 + 1"}]
    path.write_text('{"text": "1 + 1"}\n')
    with pytest.raises(ValueError, match="has no 'expect'"):
        sets.questions(path)


def test_the_harness_is_the_one_that_is_locked() -> None:
    name, version = harness.VERSION.split()
    assert f"\n{name}=={version} \\\n" in (ROOT / "roles/python_runtime/files/harness.lock").read_text()
