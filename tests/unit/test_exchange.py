"""What a service, or whoever listens on its port, may send: a name for each fault, and no end that never comes."""

from __future__ import annotations

import json
import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from ansible.module_utils.serving.service import exchange, probe
from conftest import load
from hypothesis import given, settings
from hypothesis import strategies as st

module = load("library/endpoint_probe.py")

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
MODELS, GOOD = b'{"data": [{"id": "m"}]}', b'data: {"choices": [{"delta": {"content": "172"}}]}\n\ndata: [DONE]\n\n'


class Speaker:
    """A server that says given bytes to given paths: bytes, or an iterator of bytes that may go on for ever."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.says: dict[str, Any] = {
            "/health": OK,
            "/v1/models": OK + MODELS,
            "/metrics": OK,
            "/v1/chat/completions": SSE + GOOD,
        }
        self.context = context
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.socket.getsockname()[1]
        self.over = threading.Event()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        while not self.over.is_set():
            try:
                one, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(one,), daemon=True).start()

    def serve(self, one: socket.socket) -> None:
        try:
            if self.context:
                one = self.context.wrap_socket(one, server_side=True)
            head = b""
            while b"\r\n\r\n" not in head:
                got = one.recv(65536)
                if not got:
                    return
                head += got
            length = re.search(rb"Content-Length: (\d+)", head)
            left = int(length.group(1)) - len(head.partition(b"\r\n\r\n")[2]) if length else 0
            while left > 0:  # a close with words unread would take back the answer
                left -= len(one.recv(left)) or left
            said = self.says[head.split(b" ")[1].decode()]
            for piece in [said] if isinstance(said, bytes) else said():
                one.sendall(piece)
                if self.over.is_set():
                    return
        except OSError:
            pass
        finally:
            one.close()

    def ask(self, timeout: float = 5, scheme: str = "http") -> dict[str, Any]:
        check = {"prompt": "What is 127 + 45?", "expect": "172"}
        found: dict[str, Any] = probe.probe(f"{scheme}://127.0.0.1:{self.port}", "m", None, check, timeout)
        return found

    def close(self) -> None:
        self.over.set()
        self.socket.close()


@pytest.fixture
def speaker() -> Iterator[Speaker]:
    made = Speaker()
    yield made
    made.close()


def forever(head: bytes, piece: bytes, wait: float = 0.0) -> Callable[[], Iterator[bytes]]:
    def pieces() -> Iterator[bytes]:
        yield head
        while True:
            yield piece
            time.sleep(wait)

    return pieces


def events(*rows: Any) -> bytes:
    return SSE + b"".join(b"data: " + json.dumps(row).encode() + b"\n\n" for row in rows) + b"data: [DONE]\n\n"


def said(delta: Any) -> bytes:
    return events({"choices": [{"delta": delta}]})


DEEP = b"[" * 100_000
CHAT, LIST = "/v1/chat/completions", "/v1/models"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

# (path, what is said, words of the message, is it a fault that waiting does not mend)
FAULTS: list[tuple[str, Any, str, bool]] = [
    (LIST, OK + DEEP, "nested too deep", True),
    (LIST, OK + b"{}", "no list of models", True),
    (LIST, OK + b"null", "no list of models", True),
    (LIST, OK + b'{"data": {"id": "m"}}', "no list of models", True),
    (LIST, OK + b'{"data": ["m", null, 3]}', "no list of models", True),
    (LIST, OK + b'{"data": [{"id": 7}]}', "no list of models", True),
    (LIST, OK + b"<html>welcome</html>", "no JSON: <html>welcome", True),
    (LIST, OK + b"\xff\xfe\x00", "no JSON", True),
    (LIST, OK + b"1" * 10_000, "no", True),
    (LIST, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "HTTP 404", True),
    (LIST, b"HTTP/1.1 302 Found\r\nLocation: http://x/\r\nContent-Length: 0\r\n\r\n", "HTTP 302", True),
    (LIST, b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", "the API key is refused", True),
    (LIST, b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", "HTTP 503", False),
    (LIST, b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{}", "cut", False),
    (LIST, CHUNKED + b"zz\r\n{}\r\n", "cut", False),
    (LIST, CHUNKED + b"-5\r\n{}\r\n", "", False),
    (LIST, b"HTTP/1.1 200 OK\r\nContent-Length: abc\r\n\r\n{}", "no list of models", True),
    (LIST, b"SSH-2.0-OpenSSH_9.2\r\n", "does not speak HTTP", True),
    (LIST, b"HTTP/1.1 2xx what\r\n\r\n", "does not speak HTTP", True),
    (LIST, b"", "closed without an answer", False),
    (LIST, forever(OK, b" " * 65536), "longer than 8 MiB", True),
    (LIST, forever(b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n"), "headers", False),
    (LIST, forever(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), "within 0.5 s", False),
    ("/metrics", OK + b"vllm:generation_tokens_total 1.2.3\n", "no number: 1.2.3", True),
    ("/metrics", OK + b'vllm:generation_tokens_total{a="b"} NaN\n', "no number", True),
    ("/metrics", OK + b"vllm:generation_tokens_total 5\n", "did not count a token", True),
    (CHAT, said({"content": ["172"]}), "text was expected", True),
    (CHAT, said({"content": {"text": "172"}}), "text was expected", True),
    (CHAT, said({"reasoning": 3}), "text was expected", True),
    (CHAT, said(None), "the answer is empty", True),
    (CHAT, said([1, 2]), "the answer is empty", True),
    (CHAT, events(["a", "list"]), "an event of the stream is no object", True),
    (CHAT, events(7), "an event of the stream is no object", True),
    (CHAT, events({"choices": None}, {"usage": [1]}), "the answer is empty", True),
    (CHAT, events({"choices": {"delta": 1}}, {"choices": [None, 3, "x"]}), "the answer is empty", True),
    (CHAT, events({"error": {"message": "the engine is dead"}}), "the engine is dead", True),
    (CHAT, SSE + b"data: {nonsense\n\n", "no JSON: {nonsense", True),
    (CHAT, SSE + b"data: " + DEEP + b"\n\n", "nested too deep", True),
    (CHAT, SSE + b'data: {"choices": []}\n\n', "the stream was cut", False),
    (CHAT, OK + b'{"choices": [{"message": {"content": "172"}}]}', "no stream of events but application/json", True),
    (CHAT, b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>hello", "no stream of events but text/html", True),
    (CHAT, SSE, "no stream of events", True),
    (CHAT, forever(SSE, b"x" * 65536), "longer than 512 KiB", True),
    (CHAT, forever(SSE, b": " + b"x" * 65536 + b"\n"), "longer than 8 MiB", True),
    (CHAT, forever(SSE, b": ping\n\n", 0.05), "within 0.5 s", False),
    (CHAT, said({"content": "4" * 64}), "'4' over and over", True),
    (CHAT, said({"content": "\0\1 \0\2"}), "the answer is no text", True),
    (CHAT, said({"content": "\ud83d \udc00 a"}), "the answer is no text", True),
    (CHAT, said({"content": "!! " * 30}), "over and over", True),
    (CHAT, said({"content": "\ufffd\ufffd a \ufffd\ufffd b \ufffd"}), "no text", True),
    (CHAT, said({"content": "171"}), "expected '172'", True),
    (CHAT, b'HTTP/1.1 400 Bad\r\nContent-Length: 57\r\n\r\n{"error": {"message": "the model has no chat template!!"}}', "no chat template", True),
    (CHAT, b'HTTP/1.1 404 No\r\nContent-Length: 37\r\n\r\n{"detail": "model m does not exist !"}', "model m does not exist", True),
    (CHAT, b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", "HTTP 500", True),
    (CHAT, b"HTTP/1.1 429 Slow\r\nContent-Length: 0\r\n\r\n", "HTTP 429", False),
]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "answer", "words", "steady"), FAULTS, ids=[f"{n}-{row[2]}" for n, row in enumerate(FAULTS)]
)
def test_a_malformed_answer_has_a_name(
    speaker: Speaker, monkeypatch: pytest.MonkeyPatch, path: str, answer: Any, words: str, steady: bool
) -> None:
    monkeypatch.setattr(probe, "METRICS_WAIT", 0.1)
    speaker.says[path] = answer
    with pytest.raises(exchange.NotYet) as seen:
        speaker.ask(timeout=0.5 if "within" in words else 30)
    assert words in str(seen.value) and bool(seen.value.steady) is steady and seen.value.listens
    assert "\n" not in str(seen.value) and len(str(seen.value)) < 900


def test_a_good_answer_passes(speaker: Speaker) -> None:
    assert speaker.ask()["answer"] == "172"
    # Chunks that split lines, comments, null deltas and usage of null are usual.
    parts = SSE.replace(b"Connection: close", b"Transfer-Encoding: chunked") + b"".join(
        b"1\r\n" + bytes([c]) + b"\r\n"
        for c in b': hi\r\n\r\ndata: {"choices": [{"delta": null}], "usage": null}\r\n\r\n' + GOOD
    )
    speaker.says[CHAT] = parts + b"0\r\n\r\n"
    assert speaker.ask()["answer"] == "172"


@pytest.mark.parametrize("path", ["/health", LIST, "/metrics", CHAT])
def test_a_byte_a_moment_ends_at_the_deadline(speaker: Speaker, path: str) -> None:
    """Each read gets a byte in time; the exchange as a whole does not."""
    for head in (b"", b"HTTP/1.1 200 OK\r\nX-Long: ", OK):
        speaker.says[path] = forever(head, b"a", 0.05)
        began = time.monotonic()
        with pytest.raises(exchange.NotYet, match=r"within 0\.3 s"):
            speaker.ask(timeout=0.3)
        assert time.monotonic() - began < 30


def test_tls_that_drips_ends_at_the_deadline(tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    monkeypatch.setattr(ssl, "create_default_context", lambda: trusting)
    other = Speaker(tls)
    assert other.ask(scheme="https")["answer"] == "172"
    other.says[LIST] = forever(OK, b"a", 0.05)
    began = time.monotonic()
    with pytest.raises(exchange.NotYet, match="no whole answer within 1 s"):
        other.ask(timeout=1, scheme="https")
    other.close()
    # The handshake itself drips: what looks like the beginning of a long record.
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            one, _ = server.accept()
            for piece in [b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc", *[b"a"] * 200]:
                try:
                    one.sendall(piece)
                except OSError:
                    return
                time.sleep(0.05)

        threading.Thread(target=drip, daemon=True).start()
        with pytest.raises(exchange.NotYet, match="no answer within 1 s"):
            probe.models(f"https://127.0.0.1:{server.getsockname()[1]}", None, 1)
    assert time.monotonic() - began < 30


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(exchange.NotYet, match="refused") as seen:
        probe.models(f"http://127.0.0.1:{port}", None, 2)
    assert not seen.value.listens and seen.value.steady is None


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    folder: Path = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "k", "-out", "c", "-days", "2", "-subj", "/CN=x"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "c", folder / "k")
    return context


def test_http_and_https_mistaken_for_each_other(speaker: Speaker, tls: ssl.SSLContext) -> None:
    with pytest.raises(exchange.NotYet, match="says https, and the port speaks http") as seen:
        speaker.ask(timeout=2, scheme="https")
    assert seen.value.steady == "scheme"
    other = Speaker(tls)
    with pytest.raises(exchange.NotYet, match="says http, and the port speaks https") as seen:
        other.ask()
    assert seen.value.steady == "scheme"
    with pytest.raises(exchange.NotYet, match="certificate is not trusted") as seen:
        other.ask(scheme="https")
    assert seen.value.steady
    other.close()
    speaker.says["/health"] = (
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 53\r\n\r\nThe plain HTTP request was sent to HTTPS port, sorry.."
    )
    with pytest.raises(exchange.NotYet, match="says http, and the port speaks https"):
        speaker.ask()


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["172", "delta", "content"]),
    lambda child: (
        st.lists(child, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "choices",
                    "delta",
                    "content",
                    "reasoning",
                    "usage",
                    "completion_tokens",
                    "error",
                    "finish_reason",
                    "data",
                    "id",
                ]
            ),
            child,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=60)
@given(JSON, st.lists(JSON, max_size=4))
def test_no_shape_of_json_breaks_the_probe(listed: Any, rows: list[Any]) -> None:
    speaker = Speaker()
    try:
        for models in (OK + json.dumps(listed).encode(), OK + MODELS):
            speaker.says[LIST], speaker.says[CHAT] = models, events(*rows)
            try:
                speaker.ask()
            except exchange.NotYet as problem:
                assert str(problem) and "\n" not in str(problem)
    finally:
        speaker.close()


@given(st.binary(max_size=300))
@settings(max_examples=60)
def test_no_bytes_break_the_exchange(answer: bytes) -> None:
    speaker = Speaker()
    try:
        speaker.says[LIST] = answer
        try:
            with mock.patch.object(exchange, "LISTEN", 0.1):
                probe.models(f"http://127.0.0.1:{speaker.port}", None, 0.5)
        except exchange.NotYet as problem:
            assert str(problem)
    finally:
        speaker.close()


def row(fault: str | None, **more: Any) -> dict[str, Any]:
    return {"service": "demo", "verdict": "waiting", "problem": "it says no", "fault": fault, **more}


def test_the_same_wrong_answer_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    wrong: dict[str, Any] = {}
    for at, fault, verdict in (
        (0, "1 garbage", "waiting"), (5, "1 garbage", "waiting"), (10, "1 garbage", "waiting"), (14.9, "1 garbage", "waiting"),
        (15, "1 garbage", "failed"),
    ):  # fmt: skip
        clock[0] = at
        one = row(fault)
        module.settle(one, wrong)
        assert one["verdict"] == verdict, at
    assert one["problem"] == "it says no; it was the same 5 times in 15 s, so waiting on would not help"


@pytest.mark.parametrize(
    "faults",
    [
        ["1 a", None, "1 a", None, "1 a", None, "1 a"],  # something else between
        ["1 a", "1 b", "1 a", "1 b", "1 a", "1 b"],  # another answer each time
        ["1 a", "1 a", "2 a", "2 a", "3 a", "3 a"],  # another process each time
        ["1 HTTP 500 to x"] * 6,  # a server error gets a minute
    ],
)
def test_what_changes_is_waited_for(monkeypatch: pytest.MonkeyPatch, faults: list[str | None]) -> None:
    clock, wrong = [0.0], {}
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    for fault in faults:
        one = row(fault)
        module.settle(one, wrong)
        assert one["verdict"] == "waiting"
        clock[0] += 10
