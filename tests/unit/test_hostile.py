"""Servers that are slow, broken or hostile: each ends as a source that failed, in words and in time, and the next source serves."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.serving.deadlines import Limits
from ansible.module_utils.serving.weights import listing
from ansible.module_utils.serving.weights.answers import Transient, retry_after
from ansible.module_utils.serving.weights.client import Client
from ansible.module_utils.serving.weights.listing import Entry, Listing
from ansible.module_utils.serving.weights.part import Part
from ansible.module_utils.serving.weights.transfer import Download, download
from conftest import start_module
from hub import COMMIT, Hub
from hypothesis import given
from hypothesis import strategies as st

Run = Callable[..., dict[str, Any]]
Answer = Callable[[BaseHTTPRequestHandler], None]
TOKEN = "hf_a-secret-that-must-not-be-seen"
LATEST = 60  # seconds: generous for a busy machine, and far from a hang


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile") / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "weights.bin").write_bytes(bytes(range(256)) * 400)
    return folder


@pytest.fixture
def good(model: Path) -> Iterator[Hub]:
    good = Hub(model)
    yield good
    good.close()


def send(*parts: bytes, every: float = 0.0, times: int = 1) -> Answer:
    """Answer with these bytes as they are, the last part `times` times with pauses of `every` seconds."""

    def answer(http: BaseHTTPRequestHandler) -> None:
        for part in parts[:-1]:
            http.wfile.write(part)
        for _ in range(times):
            http.wfile.write(parts[-1])
            http.wfile.flush()
            if every:
                time.sleep(every)

    return answer


def head(status: str, *headers: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode()


def redirect(where: str | None) -> Answer:
    return send(
        head(
            "302 Found",
            "Content-Length: 0",
            "Connection: close",
            *([f"Location: {where}"] if where is not None else []),
        )
    )


def fetch(run: Run, root: Path, hub: Hub, good: Hub | None, kind: str, **options: Any) -> dict[str, Any]:
    """Fetch from `hub`, then from `good`."""
    other = "huggingface" if kind == "modelscope" else "modelscope"
    row = {"repo": "org/model", "revision": None}
    order = [kind, other] if good else [kind]
    args = {
        "name": "m", "models_root": str(root), "sources": dict.fromkeys(order, row), "order": order,
        f"{kind}_endpoint": hub.url, f"{other}_endpoint": good.url if good else "http://127.0.0.1:9",
        "stall_timeout": 1, "retries": 1, "connections": 2, **options,
    }  # fmt: skip
    return run("weights_fetch", args)


FILE_ANSWERS: dict[str, tuple[Answer, str]] = {
    "length abc": (send(head("200 OK", "Content-Length: abc"), b"x"), "Content-Length: abc"),
    "length negative": (send(head("200 OK", "Content-Length: -5"), b"x"), "Content-Length: -5"),
    "length huge": (send(head("200 OK", "Content-Length: 99999999999999999999999"), b"x"), "Content-Length: 9999"),
    "length of 5000 digits": (send(head("200 OK", "Content-Length: " + "9" * 5000), b"x"), "Content-Length: 9999"),
    "two lengths": (send(head("200 OK", "Content-Length: 5", "Content-Length: 6"), b"x"), "Content-Length"),
    "length of a petabyte": (send(head("200 OK", "Content-Length: 1000000000000000"), b"x"), "its listing says"),
    "retry after a million years": (send(head("503 Busy", "Retry-After: 1000000000", "Content-Length: 0")), "asks to wait"),
    "retry after nonsense": (send(head("429 Slow", "Retry-After: soon", "Content-Length: 0")), "HTTP 429"),
    "retry after less than nothing": (send(head("429 Slow", "Retry-After: -7", "Content-Length: 0")), "HTTP 429"),
    "retry after a square": (send(head("503 Busy", "Retry-After: \xb2", "Content-Length: 0").replace(b"\xc2", b"")), "HTTP 503"),
    "retry after a date of no calendar": (send(head("503 Busy", "Retry-After: Mon, 99 Foo 99999 99:99:99 GMT", "Content-Length: 0")), "HTTP 503"),
    "redirect nowhere": (redirect(None), "without saying where to"),
    "redirect to itself": (redirect(""), "without saying where to"),
    "redirect in circles": (redirect("?FilePath=weights.bin&again"), "more than 5 redirects"),
    "redirect to a file": (redirect("file:///etc/passwd"), "redirects from http to file"),
    "redirect to a bad address": (redirect("http://[::1"), "it redirects to"),
    "redirect to a bad port": (redirect("http://127.0.0.1:abc/"), "is no address"),
    "redirect to a host without a name": (redirect("http:///x"), ""),
    "redirect to a host of 300 letters": (redirect("http://%s/" % ("a" * 300)), "a"),
    "chunk size zz": (send(head("200 OK", "Transfer-Encoding: chunked"), b"zz\r\nabc\r\n"), "times in a row"),
    "chunk size below zero": (send(head("200 OK", "Transfer-Encoding: chunked"), b"-5\r\nabcdefghijkl\r\n0\r\n\r\n"), "times in a row"),
    "chunks that end early": (send(head("200 OK", "Transfer-Encoding: chunked"), b"5\r\nab"), "times in a row"),
    "another range": (send(head("206 Partial", "Content-Range: bytes 9-20/102400", "Content-Length: 12"), b"x" * 12), "is of range"),
    "a range of letters": (send(head("206 Partial", "Content-Range: bytes a-b/c", "Content-Length: 12"), b"x" * 12), "is of range"),
    "a range without a header": (send(head("206 Partial", "Content-Length: 12"), b"x" * 12), "is of range"),
    "a range of 5000 digits": (send(head("206 Partial", f"Content-Range: bytes 0-1/{'9' * 5000}"), b"x" * 12), "is of range"),
    "gzip": (send(head("200 OK", "Content-Encoding: gzip"), gzip.compress(b"x" * 999)), "encoded (gzip)"),
    "no HTTP": (send(b"SSH-2.0-OpenSSH_9.2\r\n"), "times in a row"),
    "nothing": (send(b""), "times in a row"),
    "a status of letters": (send(b"HTTP/1.1 abc OK\r\n\r\n"), "times in a row"),
    "a status of 204": (send(head("204 No Content")), "HTTP 204"),
    "a status of 999": (send(head("999 What", "Content-Length: 0")), "HTTP 999"),
    "a status without end": (send(b"HTTP/1.1 200 " + b"x" * 70000), "times in a row"),
    "a thousand headers": (send(head("200 OK", *[f"X-{n}: y" for n in range(1000)]), b"x"), "times in a row"),
    "100 Continue for ever": (send(b"HTTP/1.1 100 Continue\r\n\r\n", every=0.01, times=5000), ""),
    "a head of a byte now and then": (send(b"HTTP/1.1 200 OK\r\n", b"X", every=0.2, times=500), ""),
    "a body of a byte now and then": (send(head("200 OK", "Content-Length: 102400"), b"x", every=0.2, times=500), ""),
    "chunks of a byte now and then": (send(head("200 OK", "Transfer-Encoding: chunked"), b"1\r\nx\r\n", every=0.2, times=500), ""),
    "a chunk's size that never ends": (send(head("200 OK", "Transfer-Encoding: chunked"), b"0", every=0.2, times=500), "stalls"),
    "an error page of a byte now and then": (send(head("404 Not Found", "Content-Length: 9999"), b"x", every=0.2, times=500), "HTTP 404"),
    "an error page without end": (send(head("403 Forbidden"), b"x" * 65536, times=100_000), "HTTP 403"),
    "a silent line": (lambda http: time.sleep(20), "timed out"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILE_ANSWERS)
def test_whatever_a_server_sends_for_a_file_the_next_source_serves(
    run_module: Run, hub: Hub, good: Hub, tmp_path: Path, name: str
) -> None:
    hub.trouble.file_answer, words = FILE_ANSWERS[name]
    hub.trouble.file_named = "weights.bin"
    began = time.monotonic()
    result = fetch(run_module, tmp_path, hub, good, "modelscope")
    assert not result["failed"], result["msg"]
    assert result["source"] == "huggingface" and "modelscope org/model: " in result["failed_sources"][0]
    assert words in result["failed_sources"][0] and "can't be read" not in result["failed_sources"][0]
    assert time.monotonic() - began < LATEST


DEEP = b"[" * 200_000
API_ANSWERS: dict[str, Answer] = {
    "deep JSON": send(head("200 OK", f"Content-Length: {len(DEEP)}"), DEEP),
    "a number of 9999 digits": send(head("200 OK", "Connection: close"), b'{"Data": {"Files": [{"Type": "blob", "Size": ' + b"9" * 9999 + b"}]}}"),
    "no JSON": send(head("200 OK", "Connection: close"), b"<html>sign in</html>"),
    "bytes that are no text": send(head("200 OK", "Connection: close"), b"\xff\xfe\x00"),
    "a list": send(head("200 OK", "Connection: close"), b"[1, 2]"),
    "null": send(head("200 OK", "Connection: close"), b"null"),
    "a list of numbers": send(head("200 OK", "Connection: close"), b'{"Data": {"Files": [1, 2]}, "sha": 3}'),
    "names that are numbers": send(
        head("200 OK", "Connection: close"), json.dumps({"sha": COMMIT, "Data": {"Files": [{"Type": "blob", "Path": 3, "Size": 1}]}}).encode()
    ),
    "a length of letters": send(head("200 OK", "Content-Length: abc"), b"{}"),
    "a body without end": send(head("200 OK", "Connection: close"), b" " * (1 << 20), times=100_000),
    "a body of a byte now and then": send(head("200 OK", "Connection: close"), b" ", every=0.2, times=500),
    "a head of a byte now and then": send(b"HTTP/1.1 200 OK\r\n", b"X", every=0.2, times=500),
    "a limit that ends in a year": send(head("429 Slow", 'RateLimit: "api";r=0;t=31536000', "Retry-After: 31536000", "Content-Length: 0")),
    "redirects in circles": redirect("?again"),
    "a redirect to a file": redirect("file:///etc/passwd"),
    "a silent line": lambda http: time.sleep(20),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["modelscope", "huggingface"])
@pytest.mark.parametrize("name", API_ANSWERS)
def test_whatever_a_hub_lists_the_next_source_serves(
    run_module: Run, hub: Hub, good: Hub, tmp_path: Path, name: str, kind: str
) -> None:
    hub.trouble.api_answer = API_ANSWERS[name]
    began = time.monotonic()
    result = fetch(run_module, tmp_path, hub, good, kind)
    assert not result["failed"], result["msg"]
    assert result["source"] != kind and f"{kind} org/model: " in result["failed_sources"][0]
    assert time.monotonic() - began < LATEST


NAMES = ["a.bin.part/x", "weights.bin.head/x", "../x", "/etc/x", "a/../x", "a\0b", "a" * 300, "a//b", "./a", "a/",
         ".done", ".listing.json", ".manifest.json", ".m@1.partial/x", "\ud800", "a\\b", "/".join("abcdefgh" * 200)]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_could_meet_our_own_files_or_leave_the_folder(
    run_module: Run, hub: Hub, good: Hub, tmp_path: Path, name: str
) -> None:
    hub.trouble.extra = [{"path": name, "size": 1, "sha256": "0" * 64}]
    result = fetch(run_module, tmp_path / "models", hub, good, "modelscope")
    assert not result["failed"], result["msg"]
    assert result["source"] == "huggingface" and "can't be a file of a model" in result["failed_sources"][0]
    assert not hub.files_asked() and sorted(p.name for p in tmp_path.iterdir()) == ["models"]


@pytest.mark.parametrize("name", ["weights.bin.journal", "b.part.123", "x.incomplete"])
def test_what_looks_unfinished_is_left_out(run_module: Run, hub: Hub, good: Hub, tmp_path: Path, name: str) -> None:
    hub.trouble.extra = [{"path": name, "size": 1, "sha256": "0" * 64}]
    result = fetch(run_module, tmp_path / "models", hub, good, "modelscope")
    assert not result["failed"] and result["source"] == "modelscope", result
    assert not any(name in asked for asked in map(str, hub.files_asked()))
    assert not list((tmp_path / "models").rglob(name))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"path": "big", "size": 10**14, "sha256": "0" * 64}], "not enough disk"),
        ([{"path": "big", "size": 10**30, "sha256": "0" * 64}], "a size of"),
        ([{"path": "big", "size": -1, "sha256": "0" * 64}], "a size of"),
        ([{"path": "big", "size": 1.5, "sha256": "0" * 64}], "a size of"),
        ([{"path": "big", "size": True, "sha256": "0" * 64}], "a size of"),
        ([{"path": "big", "size": "9", "sha256": "0" * 64}], "a size of"),
        ([{"path": "big", "size": 1, "sha256": "zz"}], "states no digest"),
        ([{"path": f"f{n}", "size": 1, "sha256": "0" * 64} for n in range(100_001)], "more than 100000 files"),
    ],
)
def test_listings_that_nothing_could_hold(
    run_module: Run, hub: Hub, good: Hub, tmp_path: Path, rows: list[dict[str, Any]], words: str
) -> None:
    hub.trouble.extra = rows
    result = fetch(run_module, tmp_path, hub, good, "modelscope", stall_timeout=20)
    assert not result["failed"], result["msg"]
    assert words in result["failed_sources"][0] and not hub.files_asked()


def pages(of: Hub, link: Callable[[str], str]) -> Answer:
    """The API of Hugging Face, whose every page has a next one."""

    def answer(http: BaseHTTPRequestHandler) -> None:
        rows = [{"type": "file", "path": "config.json", "size": 2, "oid": "0" * 40}]
        data = json.dumps(
            rows if "/tree/" in http.path else {"id": "org/model", "sha": COMMIT, "siblings": []}
        ).encode()
        where = [f'Link: <{link(http.path)}>; rel="next"'] if "/tree/" in http.path else []
        http.wfile.write(head("200 OK", f"Content-Length: {len(data)}", *where) + data)

    return answer


def test_pages_that_lead_back_or_on_without_end(run_module: Run, hub: Hub, good: Hub, tmp_path: Path) -> None:
    for number, link in enumerate((lambda path: hub.url + path, lambda path: hub.url + path + "1")):
        hub.requests.clear()
        hub.trouble.api_answer = pages(hub, link)
        result = fetch(run_module, tmp_path / str(number), hub, good, "huggingface", stall_timeout=6)
        assert not result["failed"] and "has no end" in result["failed_sources"][0], result
        assert len(hub.requests) < 250


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


def test_a_slow_honest_line_is_waited_for_where_it_is_the_only_one(run_module: Run, tmp_path: Path) -> None:
    """4 KB a second over several connections; beside another source the same line is too slow."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "a.bin").write_bytes(b"a" * 24_000)
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
    listing = Listing("modelscope", "org/model", None, COMMIT, tuple(entries))
    download(listing, parts, Client({}, "http://127.0.0.1:9", None, Limits(4)), lambda n: None, lambda e, r: None)
    assert takes <= 3 * count


def test_an_error_that_nobody_thought_of_is_the_source_s(
    run_module: Run, hub: Hub, good: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = Client.stream

    def broken(self: Client, url: str, *more: Any) -> None:
        if hub.url in url:
            raise ZeroDivisionError("nobody thought of this")
        stream(self, url, *more)

    monkeypatch.setattr(Client, "stream", broken)
    result = fetch(run_module, tmp_path, hub, good, "modelscope")
    assert not result["failed"] and "(ZeroDivisionError at" in result["failed_sources"][0], result


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
    client = Client({}, url, None, Limits(1, 1, 0, document=3))
    began = time.monotonic()
    if where == "nowhere":
        assert client.document(url, 1 << 20).body == b"y" * 300_000
    else:
        with pytest.raises(Transient):
            client.document(url, 1 << 20)
    assert time.monotonic() - began < 20
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
