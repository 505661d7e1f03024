"""The HTTP client: time, tokens, pauses and encryption, whatever a server does."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.serving.deadlines import Limits
from ansible.module_utils.serving.weights import listing
from ansible.module_utils.serving.weights.answers import Transient, retry_after
from ansible.module_utils.serving.weights.client import Client
from ansible.module_utils.serving.weights.listing import Entry
from ansible.module_utils.serving.weights.part import Part
from ansible.module_utils.serving.weights.transfer import Download, download
from conftest import start_module
from hostile import DEEP, Run, fetch, good_fixture, head, model_fixture, pages, redirect, send
from hub import Hub
from hypothesis import given
from hypothesis import strategies as st

TOKEN = "hf_a-secret-that-must-not-be-seen"


model = pytest.fixture(scope="module")(model_fixture)


good = pytest.fixture(good_fixture)


@pytest.mark.parametrize("kind", ["modelscope", "huggingface"])
def test_the_token_never_follows_to_another_host(
    run_module: Run, hub: Hub, good: Hub, tmp_path: Path, kind: str
) -> None:
    """Neither by a next page nor by a redirect of the listing, in no header."""
    elsewhere = Hub(hub.folder)
    try:
        for number, answer in enumerate(
            (pages(hub, lambda path: elsewhere.url + path), redirect(elsewhere.url + "/api/x"))
        ):
            hub.trouble.api_answer = answer
            elsewhere.requests.clear()
            fetch(run_module, tmp_path / str(number), hub, good, kind, **{f"{kind}_token": TOKEN})
            assert elsewhere.requests or (kind, number) == ("modelscope", 0)
            assert TOKEN in str([headers for _, _, headers in hub.requests])
            assert TOKEN not in str(elsewhere.requests)
    finally:
        elsewhere.close()


def test_a_byte_a_second_without_another_source_ends_too(run_module: Run, hub: Hub, tmp_path: Path) -> None:
    hub.trouble.file_answer = send(head("200 OK", "Content-Length: 102400"), b"x", every=0.2, times=500)
    hub.trouble.file_named = "weights.bin"
    result = fetch(run_module, tmp_path, hub, None, "modelscope")
    assert result["failed"] and "it stalls" in result["msg"] and "without progress" in result["msg"]


@pytest.mark.slow
def test_a_slow_honest_line_is_waited_for_where_it_is_the_only_one(run_module: Run, tmp_path: Path) -> None:
    """4 KB a second over several connections; beside another source the same line is too slow."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "a.bin").write_bytes(b"a" * 18_000)
    slow, good = Hub(folder), Hub(folder)
    slow.trouble.bytes_per_second = 4000
    try:
        alone = fetch(run_module, tmp_path / "alone", slow, None, "modelscope")
        assert not alone["failed"] and alone["source"] == "modelscope", alone
        (folder / "a.bin").write_bytes(b"a" * 200_000)
        beside = fetch(run_module, tmp_path / "beside", slow, good, "modelscope")
        assert beside["source"] == "huggingface" and "it is slow" in beside["failed_sources"][0]
    finally:
        slow.close()
        good.close()


@pytest.mark.slow
def test_what_came_slowly_is_there_after_kill_9(hub: Hub, tmp_path: Path) -> None:
    """At 4 KB a second too: the journal is a second behind, not a block."""
    hub.trouble.bytes_per_second = 4000
    args = {
        "name": "m", "models_root": str(tmp_path), "sources": {"modelscope": {"repo": "org/model"}},
        "modelscope_endpoint": hub.url, "connections": 1, "stall_timeout": 30,
    }  # fmt: skip
    process = start_module("weights_fetch", args)
    until = time.monotonic() + 60
    while hub.sent["weights.bin"] < 24_000 and time.monotonic() < until:
        time.sleep(0.05)
    process.kill()
    process.wait()
    sent = hub.sent["weights.bin"]
    [found] = tmp_path.glob(".m@*.partial/weights.bin.part")
    entry = Entry("weights.bin", 102_400, sha256=hub.digests("weights.bin")["sha256"], url="http://x")
    part = Part(str(found)[: -len(".part")], entry)
    part.load()
    have = sum(end - start for start, end, _, _ in part.spans)
    assert sent >= 24_000 and have >= sent - 3 * 4000


def test_a_block_before_a_long_silence_is_stored_within_a_second(tmp_path: Path, hub: Hub) -> None:
    size, first = 50_000, 20_000
    hub.trouble.file_answer = lambda http: (http.wfile.write(head("200 OK", f"Content-Length: {size}") + b"x" * first), time.sleep(4))[1]  # fmt: skip
    client, stored = Client({}, hub.url, None, Limits(1, 3, 0)), []

    def sink(_offset: int, block: memoryview) -> int:
        stored.append((time.monotonic(), len(block)))
        return len(block)

    began = time.monotonic()
    with pytest.raises(Transient):
        client.stream(hub.url + "/raw/x", 0, size, size, sink)
    assert sum(count for _, count in stored) == first
    assert stored[-1][0] - began < time.monotonic() - began - 1


def test_eight_thousand_files_are_shared_out_in_linear_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count, takes = 8000, 0
    take = Download.take

    def counted(self: Download, size: int) -> Any:
        nonlocal takes
        takes += 1
        return take(self, size)

    def complete(self: Download, done: Any) -> None:
        self.part.close()
        self.finished = True

    monkeypatch.setattr(Download, "take", counted)
    monkeypatch.setattr(Download, "fetch", lambda self, start, end: None)
    monkeypatch.setattr(Download, "complete", complete)
    entries = [Entry(f"f{n}", 1, sha256="0" * 64, url="http://127.0.0.1:9/x") for n in range(count)]
    parts = [Part(str(tmp_path / entry.name), entry) for entry in entries]
    download(parts, Client({}, "http://127.0.0.1:9", None, Limits(4)), lambda n: None, lambda e, r: None)
    assert takes <= 3 * count


@pytest.mark.parametrize(
    "text",
    ["", "soon", "-1", "1e9", "\u00b2", "9" * 400, "Mon, 99 Foo 99999 99:99:99 GMT", "0x10", "\x00", "nan", "inf"],
)
def test_retry_after_is_a_number_or_nothing(text: str) -> None:
    found = retry_after(text)
    assert found is None or (found >= 0 and found == found and found != float("inf"))


@pytest.mark.parametrize("data", [DEEP, b"{" * 9, b"NaN", b"[Infinity]", b"\xff", b"", b"9" * 9999])
def test_json_of_others_is_a_value_error_at_worst(data: bytes) -> None:
    with pytest.raises(ValueError):
        listing.parsed(data)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    path = tmp_path / "both.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    made = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-keyout",
        tmp_path / "key",
        "-out",
        tmp_path / "cert",
    ]
    subprocess.run([*made, *subject], check=True, capture_output=True)
    path.write_bytes((tmp_path / "key").read_bytes() + (tmp_path / "cert").read_bytes())
    return path


@pytest.mark.parametrize("where", ["handshake", "head", "body", "nowhere"])
def test_deadlines_hold_under_tls_too(
    tmp_path: Path, certificate: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """A byte now and then in the handshake, in the head, in the body; and an honest answer, which comes whole."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = socket.create_server(("127.0.0.1", 0))

    def trickle(line: socket.socket, data: bytes) -> None:
        for _ in range(200):
            line.sendall(data)
            time.sleep(0.2)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                line, _ = server.accept()
                if where == "handshake":
                    line.sendall(b"\x16\x03\x03\x3f\xff")  # a record of 16 KB
                    trickle(line, b"\x02")
                with contextlib.suppress(OSError), context.wrap_socket(line, server_side=True) as safe:
                    safe.recv(9999)
                    if where == "head":
                        safe.sendall(b"HTTP/1.1 200 OK\r\nX: ")
                        trickle(safe, b"x")
                    safe.sendall(head("200 OK", "Content-Length: 300000") + b"y" * 100)
                    if where == "body":
                        trickle(safe, b"x")
                    safe.sendall(b"y" * 299_900)

    threading.Thread(target=serve, daemon=True).start()
    url = f"https://127.0.0.1:{server.getsockname()[1]}/x"
    honest = where == "nowhere"
    client = Client({}, url, None, Limits(1, 5, 0) if honest else Limits(1, 0.5, 0, document=1.5))
    began = time.monotonic()
    if honest:
        assert client.document(url, 1 << 20).body == b"y" * 300_000
    else:
        with pytest.raises(Transient):
            client.document(url, 1 << 20)
    assert time.monotonic() - began < 20
    server.close()


@pytest.mark.parametrize("start", [0, 40_000])
def test_a_listing_has_its_deadline_also_in_a_file_that_comes_steadily(start: int) -> None:
    """Its least rate alone would let a header of 100 MB come for a day. A server without ranges sends what is before the piece, too."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            line, _ = server.accept()
            line.recv(9999)
            line.sendall(head("200 OK", "Content-Length: 100000"))
            for _ in range(50):
                line.sendall(b"x" * 2000)
                time.sleep(0.1)

    threading.Thread(target=serve, daemon=True).start()
    url = f"http://127.0.0.1:{server.getsockname()[1]}/model.safetensors"
    client = Client({}, url, None, Limits(1, 0.2, 0))
    client.until = time.monotonic() + client.limits.listing
    with pytest.raises(listing.SourceFailed, match=r"/model\.safetensors: not all of it came within 2 s"):
        client.read(url, 100_000, start, 100_000, 100_000)
    server.close()


WORDS = st.sampled_from(
    [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 206 Partial\r\n", b"HTTP/1.0 302 Found\r\n", b"HTTP/1.1 503 Busy\r\n", b"HTTP/1.1 100 Continue\r\n\r\n",
     b"Content-Length: 20\r\n", b"Content-Length: -1\r\n", b"Content-Range: bytes 0-19/20\r\n", b"Content-Range: bytes 5-2/1\r\n", b"Location: //\r\n",
     b"Location: http://[\r\n", b"Location: \xff\xfe\r\n", b"Transfer-Encoding: chunked\r\n", b"Retry-After: 1e5\r\n", b"Connection: close\r\n",
     b"14\r\n", b"-1\r\n", b"0\r\n\r\n", b"\r\n", b"x" * 20, b"ffffffffffffffffffff\r\n", b"\0"]
)  # fmt: skip


@pytest.fixture(scope="module")
def said() -> Iterator[tuple[str, list[bytes]]]:
    """A server that answers each connection with what the list holds: its address, the list."""
    server, data = socket.create_server(("127.0.0.1", 0)), [b""]

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                line, _ = server.accept()
                with line, contextlib.suppress(OSError):
                    line.recv(9999)
                    line.sendall(data[0])

    threading.Thread(target=serve, daemon=True).start()
    yield f"http://127.0.0.1:{server.getsockname()[1]}/x", data
    server.close()


@given(st.lists(WORDS | st.binary(max_size=30), max_size=9))
def test_whatever_bytes_come_they_are_a_source_that_failed(said: tuple[str, list[bytes]], parts: list[bytes]) -> None:
    url, data = said
    data[0] = b"".join(parts)
    client = Client({}, url, None, Limits(1, 0.5, 0, 0.1))
    with contextlib.suppress(Transient, listing.SourceFailed):
        client.stream(url, 0, 20, 20, lambda offset, block: len(block))
    with contextlib.suppress(Transient, listing.SourceFailed):
        client.document(url, 1000)
