"""Module gateway_backend before a real HAProxy under load: out, wait, in; what is killed, stopped, restarted or reloaded meanwhile."""

from __future__ import annotations

import http.client
import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.serving.gateway import drains, places, runtime
from gate import KEY, Engine, Gate, record, until
from load import Load
from ports import free_port

pytestmark = pytest.mark.slow
CALLERS = {"team": {"keys": [{"key": KEY}], "requests_per_minute": 100_000, "concurrency": 500}}
Order = Callable[..., dict[str, Any]]


class Pair:
    """A gateway with its agent before engines one and two of one model."""

    def __init__(self, folder: Path, run_module: Any) -> None:
        self.one, self.two, self.run = Engine("one"), Engine("two"), run_module
        rows = [record(self.one, "here"), record(self.two, "here", service="two")]
        for row in rows:
            row["gateway"] = {"answer_seconds": 1, "concurrent": 200}
        self.gate = Gate(folder, rows, CALLERS)
        self.gate.agent()
        until(lambda: all(self.gate.status(name).startswith("UP") for name in ("here.demo", "here.two")), 60)

    def order(self, state: str, name: str = "here.demo", **more: Any) -> dict[str, Any]:
        return dict(
            self.run("gateway_backend", {"folder": str(self.gate.folder), "backend": name, "state": state, **more})
        )

    def noted(self) -> set[str]:
        return set(self.run("gateway_info", {"folder": str(self.gate.folder)})["out"])

    def sessions(self, name: str) -> int:
        return sum(row["sessions"] for row in runtime.servers(self.gate.api) if row["name"] == name)


@pytest.fixture
def pair(tmp_path: Path, run_module: Any) -> Iterator[Pair]:
    found = Pair(tmp_path / "g", run_module)
    yield found
    found.gate.close()
    found.one.stop()
    found.two.stop()


def stream(gate: Gate) -> http.client.HTTPResponse:
    """A stream of which the first piece has come; the engine holds the others back."""
    connection = http.client.HTTPConnection("127.0.0.1", gate.port, timeout=60)
    body = json.dumps({"model": "demo", "stream": True})
    connection.request("POST", "/v1/chat/completions", body, {"Authorization": f"Bearer {KEY}"})
    answer = connection.getresponse()
    assert b"0" in answer.readline()
    return answer


def test_swapping_backends_one_after_the_other_fails_and_cuts_nothing(pair: Pair) -> None:
    """The swap takes so long that the health checks see it, as a real engine's does."""
    with Load(pair.gate.url, KEY, rate=20, longest=1) as load:
        for name, engine in (("here.demo", pair.one), ("here.two", pair.two)):
            assert pair.order("drained", name)["changed"] and not pair.order("drained", name)["changed"]
            assert pair.noted() == {name}
            engine.stop()
            until(lambda n=name: pair.gate.status(n).startswith("DOWN"), 60)
            engine.start()
            back = pair.order("ready", name)
            assert (
                back["changed"]
                and back["out_seconds"] > 0
                and not back["alone"]
                and pair.gate.status(name).startswith("UP")
            )
            assert not pair.order("ready", name)["changed"] and pair.noted() == set()
    load.whole()


def test_a_backend_is_up_once_the_agent_says_so_anew(pair: Pair) -> None:
    """What HAProxy has heard of it is of the process before: the next backend must not be taken out by that."""
    pair.order("drained")
    pair.gate.processes[-1].send_signal(signal.SIGSTOP)
    refused = pair.order("ready", wait=5)
    pair.gate.processes[-1].send_signal(signal.SIGCONT)
    assert refused["failed"] and "does not see backend 'here.demo' up after 5 s" in refused["msg"]
    assert pair.order("ready", wait=60)["changed"] and pair.gate.status("here.demo") == "UP"


def test_a_backend_comes_back_where_no_agent_runs(pair: Pair) -> None:
    """A dead agent takes nothing out, so it must keep nothing out either."""
    pair.gate.processes[-1].kill()
    until(lambda: all(row["agent"].endswith("L4CON") for row in runtime.servers(pair.gate.api)))
    assert pair.gate.status("here.demo") == "UP"
    pair.order("drained")
    back = pair.order("ready", wait=20)
    assert back["changed"] and pair.gate.status("here.demo") == "UP"


def test_a_backend_whose_checks_fail_is_no_other_one_that_takes_requests(pair: Pair) -> None:
    """It is "UP 2/3" for some seconds more: who counts on it has nobody left when it is down."""
    pair.gate.processes[-1].kill()  # the agent, which would say so at once
    until(lambda: all(row["agent"].endswith("L4CON") for row in runtime.servers(pair.gate.api)))
    pair.two.stop()
    until(lambda: pair.gate.status("here.two").startswith("UP "))
    out = pair.order("drained")
    assert out["alone"] and pair.gate.status("here.two") == "DOWN"


def test_a_service_that_comes_back_at_another_port_is_asked_there(pair: Pair) -> None:
    """As the deploy of a changed row does it, host by host, while the gateway's configuration still has the old port."""
    pair.order("drained")
    pair.one.stop()
    pair.one.port = free_port()
    pair.one.start()
    back = pair.order("ready", at=f"127.0.0.1:{pair.one.port}", wait=60)
    assert back["changed"] and pair.gate.status("here.demo").startswith("UP")
    pair.order("drained", "here.two")
    assert "one" in pair.gate.chat()[2]
    url = f"http://127.0.0.1:{pair.one.port}"
    assert url in (pair.gate.folder / "agent.json").read_text()
    refused = pair.order("ready", "here.two", at="nowhere at all:1")
    assert refused["failed"] and "can't look up" in refused["msg"]


def test_a_release_that_returns_is_asked_where_it_was(pair: Pair) -> None:
    """Its row of that time is gone; the row of now says another place, or none."""
    ports = [pair.one.port, free_port()]
    urls = [f"http://127.0.0.1:{port}" for port in ports]

    def swap(before: str, port: int, **more: Any) -> None:
        pair.order("drained", endpoint=before)
        pair.one.stop()
        pair.one.port = port
        pair.one.start()
        assert pair.order("ready", wait=60, endpoint=f"http://127.0.0.1:{port}", **more)["changed"]
        assert pair.gate.status("here.demo").startswith("UP")

    swap(urls[0], ports[1], at=f"127.0.0.1:{ports[1]}")
    swap(urls[1], ports[0], at="127.0.0.1:1", returns=True)
    third = free_port()  # one that this gateway has never seen
    swap(urls[0], third)
    assert f"http://127.0.0.1:{third}" in (pair.gate.folder / "agent.json").read_text()


@pytest.mark.parametrize(
    ("rows", "endpoint", "now", "place"),
    [
        ({"http://h:1": "10.0.0.1:1", "http://h:2": "10.0.0.1:2"}, "http://h:1", "10.0.0.1:2", "10.0.0.1:1"),
        ({"http://h:2": "10.0.0.1:2"}, "http://h:1", "10.0.0.1:2", "10.0.0.1:1"),
        ({"http://[fd00::1]:2": "[fd00::1]:2"}, "http://[fd00::1]:1", "[fd00::1]:2", "[fd00::1]:1"),
        ({"http://h:2": "127.0.0.1:19010"}, "http://h:1", "127.0.0.1:19010", ""),  # a tunnel, whose other end is the site's
        ({"http://h:2": "127.0.0.1:19010", "http://h:1": "127.0.0.1:19009"}, "http://h:1", "127.0.0.1:19010", "127.0.0.1:19009"),
        ({}, "http://h:1", "10.0.0.1:2", ""),
    ],
)  # fmt: skip
def test_where_an_earlier_release_is_reached(rows: dict[str, str], endpoint: str, now: str, place: str) -> None:
    assert places.place(rows, endpoint, now) == place


def test_of_a_backend_s_places_the_newest_are_kept(tmp_path: Path) -> None:
    for number in range(30):
        places.remember(str(tmp_path), "here.demo", f"http://h:{100 + number % 12}", f"h:{number}")
    assert list(places.read(str(tmp_path))["here.demo"].values()) == [f"h:{number}" for number in range(22, 30)]
    places.forget(str(tmp_path), "here.demo", "h:25")
    assert "h:25" not in places.read(str(tmp_path))["here.demo"].values()
    (tmp_path / places.FILE).write_text("[1]")
    assert places.read(str(tmp_path)) == {}


def test_one_more_backend_answers_while_the_only_one_is_swapped(pair: Pair) -> None:
    """Added and removed in the running gateway; what a killed run has left is replaced."""
    spare = Engine("spare")
    place = {"folder": str(pair.gate.folder), "backend": "here.demo-beside", "beside": "here.demo"}

    def order(**more: Any) -> dict[str, Any]:
        return dict(pair.run("gateway_spare", {**place, **more}))

    runtime.command(pair.gate.api, "set server model-demo/here.two state maint")
    with Load(pair.gate.url, KEY, rate=20, longest=1) as load:
        for _ in range(2):
            assert order(at=f"127.0.0.1:{spare.port}")["up"] and pair.gate.status("here.demo-beside") == "UP"
        assert runtime.limit_of(pair.gate.api, "model-demo", "here.demo-beside") == 200
        assert not pair.order("drained")["alone"]
        assert "spare" in pair.gate.chat()[2]
        refused = pair.order("drained", "here.demo-beside")  # the other one is out
        assert refused["failed"] and "last one of its model" in refused["msg"]
        pair.order("ready", wait=60)
        assert not pair.order("drained", "here.demo-beside")["alone"]
        assert order(state="absent")["changed"] and not order(state="absent")["changed"] and pair.noted() == set()
    load.whole()
    spare.stop()
    refused = order(at=f"127.0.0.1:{spare.port}", wait=1)
    assert refused["failed"] and "does not see backend 'here.demo-beside' up" in refused["msg"]


def test_a_canary_takes_a_share_and_is_taken_out_if_its_requests_fail(pair: Pair) -> None:
    """It gives real answers to the health agent, and none to callers."""

    def weight() -> int:
        text = runtime.command(pair.gate.api, "get weight model-demo/here.demo")
        return int(text.split()[0])

    pair.order("drained")
    pair.one.fails = True
    with Load(pair.gate.url, KEY, rate=40, longest=0.2):
        refused = pair.order("ready", share=50, watched=60)
        assert refused["failed"] and "takes no more" in refused["msg"] and not refused["canary"]["passed"]
        assert pair.noted() == {"here.demo"} and runtime.servers(pair.gate.api)[0]["out"] and weight() == 50
        pair.one.fails = False
        good = pair.order("ready", share=50, watched=2)
        assert good["canary"]["passed"] and not good["canary"]["failed"] and weight() == 100 and pair.noted() == set()


def test_a_drain_waits_for_streams_and_gives_up_with_the_backend_back(pair: Pair) -> None:
    pair.one.hold.clear()
    pair.two.hold.clear()
    answers = [stream(pair.gate) for _ in range(2)]  # one on each
    refused = pair.order("drained", wait=1)
    assert refused["failed"] and "still has requests after 1 s" in refused["msg"]
    assert pair.gate.status("here.demo").startswith("UP") and pair.noted() == set()
    pair.one.hold.set()
    pair.two.hold.set()
    assert all(b" 2\n" in answer.read() for answer in answers)


def test_a_hung_backend_is_waited_for_no_longer_than_callers_who_are_refused(pair: Pair) -> None:
    """A restart is what an operator tries first: it must not wait ten minutes for requests that nobody answers."""
    pair.one.hold.clear()
    pair.two.hold.clear()
    answers = [stream(pair.gate) for _ in range(2)]  # one on each
    pair.one.hangs = True
    until(lambda: pair.gate.status("here.demo").startswith("DOWN"), 60)
    gone = pair.order("drained", alone_wait=1)
    assert (gone["left"], gone["alone"]) == (1, False) and pair.noted() == {"here.demo"}
    pair.one.hold.set()
    pair.two.hold.set()
    assert all(b" 2\n" in answer.read() for answer in answers)


def test_a_drain_waits_for_streams_of_workers_before_a_reload(pair: Pair) -> None:
    runtime.command(pair.gate.api, "set server model-demo/here.two state drain")
    pair.one.hold.clear()
    answer = stream(pair.gate)
    runtime.command(pair.gate.api, "set server model-demo/here.two state ready")
    pair.gate.reload()
    assert pair.sessions("here.demo") == 0  # the new worker knows nothing of it
    refused = pair.order("drained", wait=1)
    assert refused["failed"] and "still has requests" in refused["msg"]
    pair.one.hold.set()
    assert b"one 2" in answer.read()
    until(lambda: pair.order("drained", wait=20)["left"] == 0, 60)


def test_the_last_backend_ends_its_streams_and_callers_are_told_when_to_come_back(pair: Pair) -> None:
    pair.two.stop()
    until(lambda: pair.gate.status("here.two").startswith("DOWN"), 60)
    pair.one.hold.clear()
    answer = stream(pair.gate)
    assert pair.order("drained", alone_wait=1)["left"] == 1  # it goes on: callers are refused meanwhile
    status, headers, _ = pair.gate.chat()
    assert status == 503 and headers["retry-after"] == "5"
    pair.one.hold.set()
    assert b"one 2" in answer.read()
    again = pair.order("drained")
    assert again["alone"] and again["left"] == 0
    back = pair.order("ready")
    assert back["alone"] and back["out_seconds"] > 0 and pair.gate.chat()[0] == 200


def test_the_last_backend_is_refused_while_a_run_has_another_one_out(pair: Pair) -> None:
    pair.order("drained", "here.two")
    refused = pair.order("drained")
    assert refused["failed"] and "here.two is out since an operation that did not end" in refused["msg"]
    assert pair.gate.status("here.demo").startswith("UP") and pair.noted() == {"here.two"}
    assert pair.order("drained", gap=True)["alone"]


def test_what_a_killed_run_has_taken_out_stays_known_whatever_restarts(pair: Pair) -> None:
    """HAProxy itself is killed and started, and its configuration reloaded: the backend stays out until a run puts it back."""
    pair.order("drained")
    pair.gate.reload()
    assert pair.gate.status("here.demo").startswith("DRAIN")
    haproxy = pair.gate.processes[0]
    haproxy.send_signal(signal.SIGTERM)
    haproxy.wait(60)
    pair.gate.processes[0] = pair.gate.haproxy()
    until(lambda: runtime.worker(pair.gate.api), 60)
    until(lambda: pair.gate.status("here.two").startswith("UP"), 60)
    assert pair.gate.status("here.demo").startswith("DRAIN") and pair.noted() == {"here.demo"}
    assert pair.order("ready")["changed"] and pair.gate.status("here.demo").startswith("UP")


def test_a_note_without_its_order_is_mended(pair: Pair) -> None:
    """Killed between the note and the order."""
    with drains.changing(str(pair.gate.folder)) as (out, _):
        drains.begin(out, "here.demo", False)
    assert pair.order("ready")["changed"] and pair.noted() == set() and pair.gate.status("here.demo").startswith("UP")


def test_what_a_person_took_out_is_left_alone(pair: Pair) -> None:
    runtime.command(pair.gate.api, "set server model-demo/here.demo state drain")
    assert not pair.order("ready")["changed"] and pair.gate.status("here.demo").startswith("DRAIN")


def test_a_stopped_service_is_down_and_comes_back_by_itself(pair: Pair) -> None:
    """As after a boot, when no run puts it back."""
    with Load(pair.gate.url, KEY, rate=20, longest=1) as load:
        pair.order("drained")
        pair.one.stop()
        assert (
            pair.order("released")["changed"]
            and pair.gate.status("here.demo").startswith("DOWN")
            and pair.noted() == set()
        )
        time.sleep(0.5)
        pair.one.start()
        until(lambda: pair.gate.status("here.demo").startswith("UP"), 60)
    load.whole()


def test_check_mode_changes_nothing_and_a_gateway_that_does_not_run_has_nothing_to_drain(
    pair: Pair, tmp_path: Path
) -> None:
    given = {"folder": str(pair.gate.folder), "backend": "here.demo", "state": "drained"}
    assert pair.run("gateway_backend", given, check=True)["changed"]
    assert pair.noted() == set() and pair.gate.status("here.demo").startswith("UP")
    assert not pair.run("gateway_backend", {**given, "folder": str(tmp_path / "none")})["changed"]
    assert not pair.order("drained", "here.unknown")["changed"]
