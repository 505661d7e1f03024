"""Servers that are slow, broken or hostile: each ends as a source that failed, in words and in time, and the next source serves."""

from __future__ import annotations

import gzip
import json
import time
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.serving.weights.client import Client
from hostile import DEEP, Answer, Run, fetch, good_fixture, head, model_fixture, pages, redirect, send
from hub import COMMIT, Hub

LATEST = 60  # seconds: generous for a busy machine, and far from a hang


model = pytest.fixture(scope="module")(model_fixture)


good = pytest.fixture(good_fixture)


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
    "no HTTP": (send(b"SSH-2.0-OpenSSH_9.2\r\n"), "does not speak HTTP/1, it said SSH-2.0-OpenSSH_9.2"),
    "the bytes alone": (send(b"\x1b[2J\0\xff" * 99), r"does not speak HTTP/1, it said \x1b[2J\x00"),
    "HTTP/2 in words of HTTP/1": (send(b"HTTP/2.0 200 OK\r\nContent-Length: 1\r\n\r\nx"), "it said HTTP/2.0"),
    "hints without end": (send(b"HTTP/1.1 103 Early Hints\r\n\r\n", every=0.01, times=5000), ""),
    "a reason for the terminal": (send(head("418 \x1b[2J teapot", "Content-Length: 0")), r"HTTP 418: \x1b[2J teapot"),
    "a chunk as large as a planet": (send(head("200 OK", "Transfer-Encoding: chunked"), b"f" * 40 + b"\r\nabc"), "has a piece of no size"),
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


RIGHT: dict[str, bytes] = {
    "hints before it": head("103 Early Hints", "Link: </x>; rel=preload")
    + head("102 Processing")
    + head("200 OK", "Content-Length: 102400"),
    "a unit in capitals": head("206 Partial", "Content-Range: Bytes 0-102399/102400", "Content-Length: 102400"),
}


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_odd_and_right_is_taken(run_module: Run, hub: Hub, model: Path, tmp_path: Path, name: str) -> None:
    content = (model / "weights.bin").read_bytes()
    hub.trouble.file_answer, hub.trouble.file_named = send(RIGHT[name], content), "weights.bin"
    result = fetch(run_module, tmp_path, hub, None, "modelscope")
    assert not result["failed"] and (Path(result["path"]) / "weights.bin").read_bytes() == content, result


@pytest.mark.parametrize(
    "url", ["http://user:S3cret-pw@%s", "http://%s/x?token=S3cret-pw", "http://S3cret-pw@%s/#S3cret-pw"]
)
def test_no_address_with_a_secret_is_asked_or_shown(run_module: Run, hub: Hub, tmp_path: Path, url: str) -> None:
    args = {
        "name": "m",
        "models_root": str(tmp_path),
        "sources": {"mirror": {"url": url % hub.url[7:]}},
        "order": ["mirror"],
    }
    result = run_module("weights_fetch", args)
    assert result["failed"] and "give a token as mirror_token" in result["msg"] and "S3cret" not in json.dumps(result)
    assert not hub.requests


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
         ".done", ".listing.json", ".manifest.json", ".m@1.partial/x", "\ud800", "model.gnp\u202e.safetensors", "\u2067x\u2069", "a\\b",
         "/".join("abcdefgh" * 200)]  # fmt: skip


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


def test_pages_that_lead_back_or_on_without_end(run_module: Run, hub: Hub, good: Hub, tmp_path: Path) -> None:
    for number, link in enumerate((lambda path: hub.url + path, lambda path: hub.url + path + "1")):
        hub.requests.clear()
        hub.trouble.api_answer = pages(hub, link)
        result = fetch(run_module, tmp_path / str(number), hub, good, "huggingface", stall_timeout=6)
        assert not result["failed"] and "has no end" in result["failed_sources"][0], result
        assert len(hub.requests) < 250


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
