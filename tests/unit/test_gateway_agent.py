"""The gateway's health agent and what a backend may say: it goes on asking, whatever comes."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import load
from hypothesis import given
from hypothesis import strategies as st
from test_exchange import OK, Speaker

agent = load("roles/gateway/files/agent.py")
GONE = b"HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n"
GOOD = b'{"choices": []}'


@pytest.fixture(scope="module")
def speaker() -> Iterator[Speaker]:
    one = Speaker()
    yield one
    one.over.set()
    one.socket.close()


def judged(speaker: Speaker, chat: Any, models: Any = OK, metrics: Any = OK, seconds: float = 30) -> tuple[bool, str]:
    speaker.says = {"/v1/chat/completions": chat, "/v1/models": models, "/metrics": metrics}
    found: tuple[bool, str] = agent.judge(
        {"url": f"http://127.0.0.1:{speaker.port}", "model": "m", "seconds": seconds}, "k" * 16
    )
    return found


def drip(begun: bytes) -> Iterator[bytes]:
    """A byte a moment, each sooner than a socket's timeout; in the end it is a good answer."""
    yield begun
    for _ in range(30):
        time.sleep(0.1)
        yield b" "
    yield b"\r\n\r\n" + GOOD


@pytest.mark.parametrize(
    "begun", [OK, OK.replace(b"Connection: close", b"Content-Length: 49"), b"HTTP/1.1 200 OK\r\nX: "]
)
def test_an_answer_that_trickles_is_none(speaker: Speaker, begun: bytes) -> None:
    assert judged(speaker, OK + GOOD) == (True, "answers")
    assert judged(speaker, lambda: drip(begun), seconds=0.4) == (False, "no answer: TimeoutError")


LISTS = [b"", b"[]", b"5", b'{"data": null}', b'{"data": 5}', b'{"data": [1]}', b"[" * 100_000, b"\xff"]


@pytest.mark.parametrize("models", LISTS, ids=range(len(LISTS)))
def test_a_list_of_models_of_any_form_is_judged(speaker: Speaker, models: bytes) -> None:
    assert not judged(speaker, GONE, OK + models)[0]
    assert judged(speaker, GONE, OK + b'{"data": [{"id": "m"}]}') == (True, "lists its model")


@pytest.mark.parametrize("value", ["+Inf", "NaN", "1.2.3", "e", "", "-1", "9" * 999])
def test_metrics_of_any_form_are_numbers_or_nothing(speaker: Speaker, value: str) -> None:
    assert judged(speaker, OK + GOOD, metrics=OK + f"vllm:generation_tokens_total {value}\n".encode())[0]
    assert not judged(speaker, b"", metrics=OK + f"vllm:generation_tokens_total {value}\n".encode())[0]


def test_labels_without_an_end_are_read_once(speaker: Speaker) -> None:
    """Each would be read to the end of the answer, were it allowed to go on over lines."""
    line = b"vllm:generation_tokens_total{\n"
    speaker.says = {"/metrics": OK + line * (agent.MOST // len(line) - 1) + b"vllm:generation_tokens_total 7\n"}
    assert agent.tokens({"url": f"http://127.0.0.1:{speaker.port}"}, None) == 7


@given(
    st.binary(max_size=60), st.sampled_from([b"", OK, GONE, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"])
)
def test_whatever_a_backend_says_it_is_judged(speaker: Speaker, data: bytes, head: bytes) -> None:
    assert judged(speaker, head + data, head + data, head + data)[0] in (True, False)


def test_the_watch_goes_on_after_nonsense(speaker: Speaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its thread would end, and HAProxy keep what it heard last."""
    monkeypatch.setattr(agent, "PAUSE", 0.05)
    speaker.says = {"/v1/chat/completions": GONE, "/v1/models": OK + b'{"data": 5}', "/metrics": OK + b"x 1\n"}
    row = {"id": "m/gw", "pool": "m", "url": f"http://127.0.0.1:{speaker.port}", "model": "m", "seconds": 30}
    (tmp_path / "agent.json").write_text(json.dumps({"backends": [row]}))
    (tmp_path / "keys.map").write_bytes(b"m\nother \xff\n\n")
    paths = (str(tmp_path / "agent.json"), str(tmp_path / "keys.map"))

    def watch() -> None:
        with contextlib.suppress(SystemExit):
            agent.watch(row, *paths)

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()

    def heard(up: bool) -> bool:
        for _ in range(200):
            if agent.STATES.get("m/gw", (None,))[0] is up:
                return True
            time.sleep(0.05)
        return False

    assert heard(False)
    speaker.says = {"/v1/chat/completions": OK + GOOD, "/metrics": OK}
    assert heard(True)
    monkeypatch.setattr(agent, "read_settings", lambda _: sys.exit())
    watching.join()
