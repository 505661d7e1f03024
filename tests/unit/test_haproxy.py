"""The gateway's configuration in a real HAProxy on loopback, before stand-in engines."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.serving.gateway import runtime
from gate import BACKEND_KEY, BODY, KEY, OTHER, Engine, Gate, record, until

LATE = "late-key-for-tests-0123456789abcd"
SMALL = "small-key-for-tests-0123456789ab"
NARROW = "narrow-key-for-tests-0123456789a"
CALLERS = {
    "team-a": {"keys": [{"key": KEY}, {"key": OTHER}], "requests_per_minute": 100_000, "concurrency": 100},
    "team-b": {"keys": [{"key": LATE, "expires": "2020-01-31"}]},
}
BOTH = {
    **CALLERS,
    "team-c": {"keys": [NARROW], "requests_per_minute": 3, "concurrency": 2, "models": ["org/small"]},
    "team-d": {"keys": [SMALL], "models": ["org/small"]},
}


BESIDE = {"aliases": ["gpt"], "adapters": [{"name": "team/sql"}]}  # names that the engine of demo has, too


@pytest.fixture(scope="module")
def engines() -> Iterator[dict[str, Engine]]:
    found = {"one": Engine("one"), "two": Engine("two"), "small": Engine("small", "org/small")}
    yield found
    for engine in found.values():
        engine.stop()


@pytest.fixture(scope="module")
def gate(engines: dict[str, Engine], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    rows = [
        record(engines["one"], "here", **BESIDE),
        record(engines["two"], "there", **BESIDE, gateway={"via": f"127.0.0.1:{engines['two'].port}"}),
        record(engines["small"], "here", service="small", gateway={"concurrent": 1, "queue": 1, "queue_seconds": 3, "idle_seconds": 5}),
    ]  # fmt: skip
    found = Gate(tmp_path_factory.mktemp("g"), rows, BOTH)
    yield found
    found.close()


def answered(text: str) -> str:
    return str(json.loads(text)["choices"][0]["message"]["content"])


def test_each_model_has_its_pool_and_backends_share_it(gate: Gate, engines: dict[str, Engine]) -> None:
    assert {answered(gate.chat()[2]) for _ in range(8)} == {"one", "two"}
    assert answered(gate.chat("org/small")[2]) == "small"


def test_aliases_and_adapters_are_asked_by_their_names(gate: Gate) -> None:
    for name in ("gpt", "team/sql"):
        assert {answered(gate.chat(name)[2]) for _ in range(8)} == {"one", "two"}
        assert gate.ask(f"/models/{name}/v1/chat/completions", {"model": name})[0] == 200
        assert gate.chat(name, key=SMALL)[0] == 403
    names = [row["id"] for row in json.loads(gate.ask("/v1/models")[2])["data"]]
    assert names == ["demo", "gpt", "team/sql", "org/small"]


@pytest.mark.parametrize(
    "body",
    [b'{"model":"org\\/small"}', b'{"mess":{"model":"demo"},"model": "org/small"}', b'{"model":"org\\u002fsmall"}'],
)
def test_a_models_name_is_read_as_json_is(gate: Gate, body: bytes) -> None:
    status, _, text = gate.ask(body=body)
    assert status == 200 and answered(text) == "small", text


def test_a_name_in_the_path_needs_none_in_the_body_and_takes_any_size(gate: Gate, engines: dict[str, Engine]) -> None:
    for path in ("/models/org/small/v1/chat/completions", "/models/org%2Fsmall/v1/chat/completions"):
        status, _, text = gate.ask(path, {"messages": "x" * (3 * BODY)})
        assert status == 200 and answered(text) == "small"
    assert engines["small"].seen[-1]["path"] == "/v1/chat/completions"
    assert engines["small"].seen[-1]["bytes"] > 3 * BODY


def test_bodies_route_rightly_up_to_the_limit_and_are_413_beyond(gate: Gate) -> None:
    frame = len(json.dumps({"messages": "", "model": "org/small"}))
    assert gate.ask(body={"messages": "x" * (BODY - frame), "model": "org/small"})[0] == 200
    status, _, text = gate.ask(body={"messages": "x" * (BODY - frame + 1), "model": "org/small"})
    assert status == 413 and "/models/NAME/v1" in text
    chunks = iter([b'{"messages":"', *[b"x" * 10_000] * 30, b'","model":"org/small"}'])
    connection = http.client.HTTPConnection("127.0.0.1", gate.port, timeout=30)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it may be refused while we send
        connection.request(
            "POST", "/v1/chat/completions", chunks, {"Authorization": f"Bearer {KEY}"}, encode_chunked=True
        )
    assert connection.getresponse().status == 413


def test_bodies_without_a_length_route_too(gate: Gate) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", gate.port, timeout=30)
    chunks = iter([b'{"messages":"', b"x" * 100_000, b'","model":"org/small"}'])
    connection.request("POST", "/v1/chat/completions", chunks, {"Authorization": f"Bearer {KEY}"}, encode_chunked=True)
    assert connection.getresponse().status == 200


def test_a_body_without_a_models_name_is_told(gate: Gate) -> None:
    for body in (b"", b"[1]", b"no json", b'{"mod\\u0065l":"demo"}'):
        status, _, text = gate.ask(body=body)
        assert status == 400 and "names no model" in text, (body, text)
    assert gate.chat("demmo")[0] == 404


@pytest.mark.parametrize(
    "path",
    ["/", "/metrics", "/version", "/v1/load_lora_adapter", "/sleep", "/collective_rpc", "/tokenize", "/v1/../version", "//v1/chat/completions",
     "/v1/chat/completions/", "/v1/chat%2Fcompletions", "/models/demo/v1/../../version", "/models/demo/metrics", "/docs"],
)  # fmt: skip
def test_what_is_not_on_the_list_is_404_with_any_key(gate: Gate, engines: dict[str, Engine], path: str) -> None:
    before = {name: len(engine.seen) for name, engine in engines.items()}
    for key in (KEY, None):
        assert gate.ask(path, {"model": "demo"}, key=key)[0] == 404
        assert gate.ask(path, key=key)[0] == 404
    assert before == {name: len(engine.seen) for name, engine in engines.items()}


def test_keys(gate: Gate, engines: dict[str, Engine]) -> None:
    for key in (KEY, OTHER):  # both count while callers change over
        assert gate.chat(key=key)[0] == 200
    for key in (None, "x", KEY[:-1], KEY + "x", KEY.upper(), BACKEND_KEY):
        status, headers, _ = gate.chat(key=key)
        assert status == 401 and headers["www-authenticate"] == "Bearer"
    status, _, text = gate.chat(key=LATE)
    assert status == 401 and "expired" in text
    assert gate.ask(body={"model": "demo"}, key=None, **{"x-api-key": KEY})[0] == 200
    seen = [row for engine in engines.values() for row in engine.seen]
    assert {row["headers"].get("authorization") for row in seen} == {f"Bearer {BACKEND_KEY}"}
    assert not any(key in json.dumps(seen) for key in (KEY, OTHER))


def test_a_key_asks_its_own_models_and_sees_no_others(gate: Gate) -> None:
    status, _, text = gate.ask("/v1/models", key=SMALL)
    assert status == 200 and [row["id"] for row in json.loads(text)["data"]] == ["org/small"]
    assert {row["id"] for row in json.loads(gate.ask("/v1/models")[2])["data"]} == {
        "demo",
        "gpt",
        "team/sql",
        "org/small",
    }


def test_a_stream_arrives_piece_by_piece(gate: Gate, engines: dict[str, Engine]) -> None:
    engines["small"].hold.clear()
    connection = http.client.HTTPConnection("127.0.0.1", gate.port, timeout=30)
    connection.request(
        "POST", "/v1/chat/completions", b'{"model":"org/small","stream":true}', {"Authorization": f"Bearer {KEY}"}
    )
    answer = connection.getresponse()
    assert answer.readline() == b"data: small 0\n"  # while the engine holds back the rest
    engines["small"].hold.set()
    assert b"small 2" in answer.read()


def test_a_full_queue_is_503_with_retry_after(gate: Gate, engines: dict[str, Engine]) -> None:
    engines["small"].hold.clear()
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(gate.chat("org/small")[0])) for _ in range(2)]
    threads[0].start()
    until(lambda: [row for row in runtime.servers(gate.api) if row["name"] == "here.small" and row["sessions"] == 1])
    threads[1].start()
    until(
        lambda: (
            "1"
            in [
                line.split(",")[2]
                for line in runtime.command(gate.api, "show stat").splitlines()
                if line.startswith("model-org_small") and "BACKEND" in line
            ]
        )
    )
    status, headers, text = gate.chat("org/small")
    assert status == 503 and headers["retry-after"] == "5" and "queue" in text
    engines["small"].hold.set()
    for thread in threads:
        thread.join(30)
    assert found == [200, 200]


def test_limits_of_a_key(gate: Gate, engines: dict[str, Engine]) -> None:
    engines["small"].hold.clear()
    assert gate.chat(key=NARROW)[0] == 403  # counts, as it was admitted before the model was known
    threads = [threading.Thread(target=gate.chat, args=("org/small", NARROW)) for _ in range(2)]
    for number, thread in enumerate(threads, 1):
        thread.start()
        until(
            lambda n=number: re.search(rf"key=team-c .*conn_cur={n}\b", runtime.command(gate.api, "show table callers"))
        )
    status, headers, text = gate.chat("org/small", NARROW)
    assert status == 429 and headers["retry-after"] == "1" and "at a time" in text
    engines["small"].hold.set()
    for thread in threads:
        thread.join(30)
    status, headers, text = gate.chat("org/small", NARROW)
    assert status == 429 and headers["retry-after"] == "10" and "a minute" in text
    assert gate.chat("org/small")[0] == 200  # others are not concerned


def test_the_log_has_no_prompt_and_no_key(gate: Gate) -> None:
    secret = "PROMPT-THAT-NOBODY-LOGS"
    assert gate.ask("/v1/chat/completions?token=" + secret, {"model": "org/small", "messages": secret})[0] == 200
    gate.ask(body={"model": secret})
    lines = until(lambda: [json.loads(line) for line in gate.log.read_text().splitlines() if line.startswith("{")])
    text = until(lambda: gate.log.read_text() if '"status":404' in gate.log.read_text() else None)
    row = next(row for row in lines if row["status"] == 200 and row["model"] == "org/small")
    assert (
        row["caller"] == "team-a"
        and row["backend"].endswith("/here.small")
        and row["bytes_out"] > 0
        and row["first_byte_ms"] >= 0
    )
    assert secret not in text and KEY not in text and BACKEND_KEY not in text


def test_slow_senders_are_cut(gate: Gate) -> None:
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Length: 100\r\n"
    for sent in (head, head + "\r\n{"):
        with socket.create_connection(("127.0.0.1", gate.port), timeout=30) as connection:
            connection.sendall(sent.encode())
            assert b" 408 " in connection.recv(1000)


def test_an_engine_that_says_nothing_is_504_after_the_rows_seconds(engines: dict[str, Engine], tmp_path: Path) -> None:
    gate = Gate(tmp_path / "g", [record(engines["one"], "here", gateway={"idle_seconds": 1})], CALLERS)
    engines["one"].hold.clear()
    try:
        assert gate.chat()[0] == 504
    finally:
        engines["one"].hold.set()
        gate.close()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Gate, Engine, Engine]]:
    """A gateway with its agent before two engines that a test may break."""
    one, two = Engine("one"), Engine("two")
    rows = [record(one, "here"), record(two, "here", service="two")]
    for row in rows:
        row["gateway"] = {"answer_seconds": 1}
    gate = Gate(tmp_path / "g", rows, CALLERS)
    gate.agent()
    yield gate, one, two
    gate.close()
    one.stop()
    two.stop()


def test_a_dead_backend_costs_no_request(pair: tuple[Gate, Engine, Engine]) -> None:
    gate, one, _ = pair
    one.stop()
    assert [answered(gate.chat()[2]) for _ in range(10)] == [
        "two"
    ] * 10  # before its health is known, too: a refused connection sent nothing
    until(lambda: gate.status("here.demo").startswith("DOWN"))
    one.start()
    until(lambda: gate.status("here.demo") == "UP")
    assert {answered(gate.chat()[2]) for _ in range(8)} == {"one", "two"}


def test_a_hung_backend_is_taken_out_by_the_agent_and_comes_back(pair: tuple[Gate, Engine, Engine]) -> None:
    gate, one, _ = pair
    one.hangs = True
    until(lambda: gate.status("here.demo").startswith("DOWN"))  # while /health still says 200
    assert [answered(gate.chat()[2]) for _ in range(6)] == ["two"] * 6
    one.hangs = False
    until(lambda: gate.status("here.demo") == "UP")


def test_a_reload_cuts_no_stream_and_keeps_who_is_drained(pair: tuple[Gate, Engine, Engine]) -> None:
    gate, one, _ = pair
    runtime.command(gate.api, "set server model-demo/here.two state drain")
    one.hold.clear()
    connection = http.client.HTTPConnection("127.0.0.1", gate.port, timeout=60)
    connection.request(
        "POST", "/v1/chat/completions", b'{"model":"demo","stream":true}', {"Authorization": f"Bearer {KEY}"}
    )
    answer = connection.getresponse()
    assert answer.readline() == b"data: one 0\n"
    failed: list[Any] = []
    done = threading.Event()

    def load() -> None:
        while not done.is_set():
            try:
                status = gate.ask("/v1/models")[0]
            except OSError as problem:
                failed.append(problem)
            else:
                if status != 200:
                    failed.append(status)

    thread = threading.Thread(target=load)
    thread.start()
    gate.callers = {"team-a": {**CALLERS["team-a"], "keys": [KEY]}}
    master = str(gate.folder / "master.sock")
    known: list[tuple[int, int]] = []
    try:
        for _ in range(3):
            gate.reload()
            runtime.command(master, "reload")
            # Whoever asks the master while it loads is refused for some tenths of a second.
            known.append((len(runtime.old_workers(master)), runtime.old_sessions(master, "model-demo", "here.demo")))
    finally:  # or it would ask, and fail, for as long as the tests run
        done.set()
    thread.join(30)
    one.hold.set()
    assert b"one 2" in answer.read()
    assert failed == []
    assert all(workers >= 1 and sessions == 1 for workers, sessions in known), known
    assert gate.status("here.two").startswith("DRAIN")
    assert gate.chat(key=OTHER)[0] == 401  # the callers of now


def test_haproxy_is_found_where_an_ordinary_users_path_does_not_lead(tmp_path: Path, monkeypatch: Any) -> None:
    program = tmp_path / "sbin/haproxy"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'HAProxy version 2.8.1'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(runtime.PLACES, "haproxy", (str(program.parent),))
    assert runtime.installed(["haproxy"]) == (2, 8, 1) and runtime.started_as("haproxy") == [str(program)]
    assert runtime.started_as("/opt/haproxy") == ["/opt/haproxy"]
