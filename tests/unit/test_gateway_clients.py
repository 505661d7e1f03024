"""What clients, browsers and neighbours bring to the gateway, in a real HAProxy on loopback."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.gateway import neighbours, runtime
from ansible.module_utils.serving.host import ports
from gate import KEY, OTHER, Engine, Gate, record, until
from ports import free_port

import planning.haproxy
from planning.rows import Faults

CALLERS = {"team-a": {"keys": [{"key": KEY}], "requests_per_minute": 100_000, "concurrency": 100}}
PAGE = "https://chat.example.org"
BODY = b'{"model":"demo"}'


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    found = Engine("one")
    yield found
    found.stop()


@pytest.fixture(scope="module")
def gate(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(planning.haproxy, "CLIENT_IDLE", 1)
        found = Gate(
            tmp_path_factory.mktemp("g"), [record(engine, "here")], CALLERS, origins=[PAGE, "app://obsidian.md"]
        )
    yield found
    found.close()


def sent(gate: Gate, head: str, body: bytes = BODY) -> socket.socket:
    caller = socket.create_connection(("127.0.0.1", gate.port), timeout=30)
    caller.sendall(f"{head}\r\nAuthorization: Bearer {KEY}\r\n\r\n".encode() + body)
    return caller


@pytest.mark.parametrize(
    "head",
    [
        f"POST /v1/chat/completions HTTP/1.0\r\nContent-Length: {len(BODY)}",
        f"POST http://gw/v1/chat/completions HTTP/1.1\r\nHost: gw\r\nContent-Length: {len(BODY)}",
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: [::1]:8443\r\nContent-Length: {len(BODY)}",
    ],
)
def test_forms_of_a_request(gate: Gate, head: str) -> None:
    with sent(gate, head) as caller:
        assert b" 200 " in caller.recv(100)[:16]


@pytest.mark.parametrize(
    ("path", "length", "first"),
    [
        ("/v1/chat/completions", len(BODY), b" 100 "),
        ("/models/demo/v1/chat/completions", len(BODY), b" 100 "),
        ("/v1/chat/completions", 10_000_000, b" 413 "),  # and the body is never sent
        ("/metrics", 10_000_000, b" 404 "),
    ],
)
def test_a_client_that_asks_before_it_sends_its_body(gate: Gate, path: str, length: int, first: bytes) -> None:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {length}"
    with sent(gate, head, b"") as caller:
        assert first in caller.recv(100)[:16]
        if first == b" 100 ":
            caller.sendall(BODY)
            assert b" 200 " in caller.recv(100)[:16]


def test_what_takes_longer_than_callers_may_be_idle_is_not_cut(gate: Gate) -> None:
    status, _, text = gate.chat(stream=True, pieces=2, stub_seconds=4)  # 2 s before each piece but the first
    assert status == 200 and "[DONE]" in text
    assert gate.chat(stub_seconds=2)[0] == 200


def test_an_engine_works_for_nobody_who_has_gone(gate: Gate, engine: Engine) -> None:
    engine.hold.clear()
    try:
        caller = sent(gate, f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(BODY)}")
        until(lambda: runtime.servers(gate.api)[0]["sessions"] == 1)
        caller.close()
        until(lambda: runtime.servers(gate.api)[0]["sessions"] == 0, 20)
    finally:
        engine.hold.set()


def test_a_kept_connection_is_answered_after_a_reload(engine: Engine, tmp_path: Path) -> None:
    """A client that writes just when an idle connection is closed sees a broken pipe."""
    gate = Gate(tmp_path, [record(engine, "here")], CALLERS)  # whose connections may be idle for longer
    kept = http.client.HTTPConnection("127.0.0.1", gate.port, timeout=30)

    def ask() -> http.client.HTTPResponse:
        kept.request("POST", "/v1/chat/completions", BODY, {"Authorization": f"Bearer {KEY}"})
        answer = kept.getresponse()
        answer.read()
        return answer

    try:
        until(lambda: gate.status("here.demo") == "UP")
        assert ask().status == 200 and kept.sock
        gate.reload()
        answer = ask()
        assert answer.status == 200 and answer.headers["Connection"] == "close"
    finally:
        gate.close()


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [(PAGE, True), ("app://obsidian.md", True), ("https://chat.example.org.evil", False), ("null", False)],
)
def test_a_page_of_the_site_may_ask_and_no_other(gate: Gate, origin: str, allowed: bool) -> None:
    asks = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    status, headers, _ = gate.ask(method="OPTIONS", key=None, **asks)
    assert status == (204 if allowed else 405)
    assert headers.get("access-control-allow-headers") == ("authorization,content-type" if allowed else None)
    for key, code in ((KEY, 200), (OTHER, 401)):  # what the gateway itself answers can be read, too
        status, headers, _ = gate.ask(body={"model": "demo"}, key=key, Origin=origin)
        assert (status, headers.get("access-control-allow-origin")) == (code, origin if allowed else None)
    assert gate.ask("/metrics", method="OPTIONS", key=None, **asks)[0] == 404
    status, headers, _ = gate.ask("/metrics", method="GET", key=KEY, Origin=origin)
    assert (status, headers.get("access-control-allow-origin")) == (404, origin if allowed else None)


@pytest.mark.parametrize(
    "origin",
    [
        "chat.example.org",
        "https://chat.example.org/",
        "https://a b",
        "https://x'",
        "https://Chat.example.org",
        "https://x:443",
        "http://x:80",
    ],
)
def test_what_is_no_origin_is_a_sentence(gate: Gate, origin: str) -> None:
    with pytest.raises(Faults, match="is no origin; write scheme://host"):
        planning.haproxy.configuration([], {**gate.settings, "origins": [origin]})
    assert PAGE in planning.haproxy.configuration([], {**gate.settings, "origins": PAGE})  # -e gateway_origins=...


def test_a_load_balancer_before_it_closes_idle_connections_first() -> None:
    """Those of clouds keep them for 60 s; HAProxy 2.6 keeps one no longer than a caller may be idle."""
    text = planning.haproxy.configuration(
        [], {"folder": "/g", "address": "::", "port": 1, "body_bytes": 1, "connections": 1, "reload_seconds": 1}
    )
    kept, idle = (int(re.search(rf"timeout {name} (\d+)s", text)[1]) for name in ("http-keep-alive", "client"))  # type: ignore[index]
    assert 60 < kept <= idle


@pytest.mark.parametrize("address", ["::", "[::]"])
def test_an_address_of_ipv6_is_bound_with_its_brackets(gate: Gate, address: str) -> None:
    assert f"  bind [::]:{gate.port}\n" in planning.haproxy.configuration([], {**gate.settings, "address": address})


def test_a_port_that_another_haproxy_has_is_refused(gate: Gate, tmp_path: Path) -> None:
    """HAProxy would share it, and callers would reach either."""
    port = free_port()
    (tmp_path / "other.cfg").write_text(f"defaults\n timeout client 9s\nfrontend site\n bind 0.0.0.0:{port}\n")
    with subprocess.Popen(["haproxy", "-f", str(tmp_path / "other.cfg")], stderr=subprocess.DEVNULL) as other:
        try:
            until(lambda: ports.listeners(port))

            def look(*wanted: Any) -> None:
                neighbours.check(list(wanted), str(gate.folder))

            with pytest.raises(
                Refusal,
                match=rf"port {port} is the gateway's \(gateway_port\), but process {other.pid} of user .*other.cfg",
            ):
                look(("127.0.0.1", port, "gateway_port"))
            with pytest.raises(Refusal, match="gateway_port"):  # as HAProxy writes all addresses
                look(("*", port, "gateway_port"))
            look(("127.0.0.1", gate.port, "gateway_port"))  # its own
            (tmp_path / "link").symlink_to(gate.folder)
            neighbours.check([("127.0.0.1", gate.port, "gateway_port")], str(tmp_path / "link"))
            look(("127.0.0.1", free_port(), "gateway_agent_port"), ("no address", port, "gateway_port"))
        finally:
            other.terminate()


@pytest.mark.parametrize(
    ("wanted", "there", "alone", "shared"),
    [
        ("0.0.0.0", "::", False, True),
        ("0.0.0.0", "::", True, False),  # IPv6 alone: nobody who asks the gateway gets there
        ("127.0.0.1", "::", True, False),
        ("127.0.0.1", "::ffff:127.0.0.1", False, True),  # IPv4 by an IPv6 socket, as Java's
        ("127.0.0.1", "::ffff:0.0.0.0", False, True),
        ("127.0.0.1", "127.0.0.2", False, False),
        ("::", "0.0.0.0", False, True),
        ("::", "::", True, True),
        ("localhost", "127.0.0.1", False, True),
    ],
)
def test_a_neighbour_is_whoever_gets_the_gateway_s_callers_by_either_protocol(
    wanted: str, there: str, alone: bool, shared: bool, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_INET6 if ":" in there else socket.AF_INET) as other:
        if ":" in there:
            other.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, alone)
        other.bind((there, 0))
        other.listen()
        port = other.getsockname()[1]
        refused = pytest.raises(
            Refusal, match=f"port {port} is the gateway's .gateway_port., but process {os.getpid()}"
        )
        with refused if shared else contextlib.nullcontext():
            neighbours.check([(wanted, port, "gateway_port")], str(tmp_path))
        # A service of this host: the kernel says whether its port is free, and who has it is named.
        problem = ports.problem_of("demo", wanted.strip("[]"), port, "give it another", {})
        assert (f"taken by process {os.getpid()}" in (problem or "")) == shared


def test_one_of_ipv6_has_no_callers_of_ipv4() -> None:
    def meet(one: str, other: str, narrow: bool = False) -> bool:
        return ports.covers(one, other) or ports.covers(other, one, narrow)

    assert meet("::1", "::", narrow=True) and meet("::1", "::1") and meet("::", "::1") and meet("fd00::1", "::")
    assert not meet("0.0.0.0", "::1") and not meet("::1", "0.0.0.0") and not meet("fd00::1", "::1")
    assert (
        ports.numbers("[::1]") == ["::1"] and ports.plain("fe80::1%lo") == "fe80::1" and ports.numbers("no name") == []
    )
