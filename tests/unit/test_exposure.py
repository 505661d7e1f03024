"""Does a deploy notice that a service answers callers without a key? Against processes that are closed, and open in one way each."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from ansible.module_utils.serving.service import exposure, probe
from conftest import FIXTURES
from ports import free_port
from services import Host, until
from test_services import host  # noqa: F401 - a fixture

PATHS = ["/v1/models", "/v1/chat/completions", "/metrics"]


@pytest.fixture
def stub() -> Iterator[Callable[..., str]]:
    started = []

    def start(mode: str, key: str | None) -> str:
        port = free_port()
        environment = {k: v for k, v in os.environ.items() if k != "VLLM_API_KEY"} | (
            {"VLLM_API_KEY": key} if key else {}
        )
        command = [sys.executable, str(FIXTURES / "stub_engine.py"), mode, str(port)]
        started.append(subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL))
        endpoint = f"http://127.0.0.1:{port}"

        def answers() -> bool:
            try:
                return probe.ask(endpoint, "GET", "/health", None)[0] == 200
            except probe.NotYet:
                return False

        until(answers)
        return endpoint

    yield start
    for process in started:
        process.kill()
        process.wait()


def look(endpoint: str, key: str | None, paths: list[str] | None = PATHS) -> dict[str, Any]:
    return exposure.exposure({"endpoint": endpoint, "paths": paths}, key)


def test_a_closed_service_is_closed_in_every_question(stub: Callable[..., str]) -> None:
    found = look(stub("good", "the-key"), "the-key")
    assert found["problem"] is None and found["open"] == [] and found["asked"] > 2 * len(exposure.HARMLESS)


def test_a_key_that_guards_v1_alone_is_found_and_named(stub: Callable[..., str]) -> None:
    problem = look(stub("open", "the-key"), "the-key")["problem"]
    for words in (
        "GET /version without a key: HTTP 200",
        "GET /metrics with a wrong key: HTTP 200",
        "more",
        "playbooks/stop.yml",
    ):
        assert words in problem
    assert "the-key" not in problem


def test_without_keys_the_list_holds(stub: Callable[..., str]) -> None:
    assert look(stub("good", None), None)["open"] == []
    assert "GET /version without a key: HTTP 200" in look(stub("open", None), None)["open"]


def test_a_path_that_a_row_opens_is_open_with_the_key_alone(stub: Callable[..., str]) -> None:
    assert not any(
        path == "/version" and key == "k" for _, path, key, _ in exposure.questions([*PATHS, "/version"], "k")
    )
    assert any(path == "/version" and key is None for _, path, key, _ in exposure.questions([*PATHS, "/version"], "k"))


def test_a_release_without_a_guard_is_told_and_not_failed() -> None:
    found = look("http://127.0.0.1:9", "k", None)
    assert found["problem"] is None and "earlier version" in found["note"]


@pytest.mark.parametrize("way", ["path", "method", "wrong key", "key"])
def test_one_hole_is_enough(way: str) -> None:
    """Closed but for one path, one method, any key at all, or everything that the key opens."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None: ...

        def do_GET(self) -> None:
            given = self.headers.get("Authorization")
            known = given == "Bearer k"
            status = 404 if known else 401
            hole = {
                "path": self.path == "/load",
                "method": self.command == "OPTIONS",
                "wrong key": bool(given) and not known,
                "key": known and self.path == "/version",
            }[way]
            self.send_response(200 if hole else status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_POST = do_HEAD = do_OPTIONS = do_GET

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        found = look(f"http://127.0.0.1:{server.server_port}", "k")
        assert found["problem"] and all("HTTP 200" in row for row in found["open"])
    finally:
        server.shutdown()


def test_a_deploy_fails_when_callers_get_in(host: Host) -> None:  # noqa: F811
    host.service("open", paths=PATHS)
    result = host.ask(wait=20)
    assert result["failed"] and "callers reach what they should not" in result["msg"]
    host.service("good", paths=PATHS)
    row = host.ask(wait=20)["services"][0]
    assert row["ready"] and row["exposure"]["asked"] > 20 and row["exposure"]["open"] == []
