"""A gateway on loopback for tests: a real HAProxy with our configuration, and stand-in engines in this process."""

from __future__ import annotations

import http.client
import http.server
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible.module_utils.serving.gateway import runtime
from conftest import ROOT, load
from ports import free_port

from planning.engines import PATHS

KEY = "caller-key-for-tests-0123456789"
OTHER = "other-key-for-tests-0123456789ab"
BACKEND_KEY = "backend-key-for-tests-0123"
BODY = 200_000  # gateway_body_bytes in tests


def until(check: Callable[[], Any], seconds: float = 30) -> Any:
    """What `check` returns once it is true."""
    end = time.monotonic() + seconds
    while True:
        found = check()
        if found:
            return found
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.05)


class Engine:
    """Speaks the part of vLLM's API that callers and the health agent use. Set `hangs`, `status`, `fails` or `hold` to change what it does."""

    def __init__(self, name: str, model: str = "demo") -> None:
        self.name, self.model, self.port = name, model, free_port()
        self.hangs, self.status, self.fails = False, 200, False
        self.tokens = 0
        self.seen: list[dict[str, Any]] = []
        self.hold = threading.Event()  # answers and later pieces of a stream wait for it
        self.hold.set()
        self.server: http.server.ThreadingHTTPServer | None = None
        self.start()

    def start(self) -> None:
        engine = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *words: Any) -> None:
                pass

            def reply(self, status: int, text: str, kind: str = "application/json") -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def do_GET(self) -> None:
                if self.path == "/health":
                    self.reply(200, "")
                elif self.path == "/metrics":
                    self.reply(
                        200, f'vllm:generation_tokens_total{{engine="0"}} {float(engine.tokens)}\n', "text/plain"
                    )
                else:
                    self.reply(200, json.dumps({"data": [{"id": engine.model}]}))

            def body(self) -> bytes:
                if self.headers.get("Transfer-Encoding") != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length") or 0))
                parts = []
                while size := int(self.rfile.readline(), 16):
                    parts.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(parts)

            def do_POST(self) -> None:
                data = self.body()
                asked = json.loads(data)
                if asked.get("max_tokens") == 1 and asked.get("messages", [{}])[0].get("content") == "1":
                    if engine.hangs:
                        time.sleep(600)
                    return self.reply(engine.status, json.dumps({"choices": []}))
                engine.seen.append(
                    {
                        "path": self.path,
                        "headers": {name.lower(): value for name, value in self.headers.items()},
                        "bytes": len(data),
                    }
                )
                seconds = float(asked.get("stub_seconds", 0))
                if engine.fails:
                    return self.reply(500, "{}")
                if asked.get("stream"):
                    return self.stream(int(asked.get("pieces", 3)), seconds)
                engine.hold.wait(60)
                time.sleep(seconds)
                return self.reply(engine.status, json.dumps({"choices": [{"message": {"content": engine.name}}]}))

            def stream(self, pieces: int, seconds: float) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for number in range(pieces):
                    if number:
                        engine.hold.wait(60)
                        time.sleep(seconds / pieces)
                    self.piece(f"{engine.name} {number}")
                self.piece("[DONE]")
                self.wfile.write(b"0\r\n\r\n")

            def piece(self, words: str) -> None:
                text = f"data: {words}\n\n"
                self.wfile.write(f"{len(text):x}\r\n{text}\r\n".encode())
                self.wfile.flush()

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # callers that go away are part of the tests

        self.server = Server(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        self.hold.set()
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server = None


def record(engine: Engine, host: str, **changes: Any) -> dict[str, Any]:
    """The plan's record of a service, as far as the gateway reads it."""
    return {
        "host": host, "service": "demo", "port": engine.port, "address": "127.0.0.1", "served_name": engine.model, "api_key": True,
        "paths": [], "engine_facts": {"paths": PATHS}, "engine_args": {"max_num_seqs": 9}, "model": {"name": engine.model}, "gateway": {}, **changes,
    }  # fmt: skip


class Gate:
    """A gateway before engines. `callers` as in gateway_callers; `tls`: a PEM file's text."""

    def __init__(
        self, folder: Path, rows: list[dict[str, Any]], callers: dict[str, Any], pem: str = "", **settings: Any
    ) -> None:
        self.folder, self.rows, self.callers, self.pem = folder, rows, callers, pem
        self.log = folder / "log"
        self.port, self.agent_port = free_port(), free_port()
        self.settings = {
            "folder": str(folder), "address": "127.0.0.1", "port": self.port, "http_port": 0, "body_bytes": BODY, "connections": 500,
            "reload_seconds": 60, "agent_port": self.agent_port, "tls": bool(pem), "header_seconds": 2, "body_seconds": 2, **settings,
        }  # fmt: skip
        self.processes: list[subprocess.Popen[bytes]] = []
        folder.mkdir(exist_ok=True)
        (folder / "servers.state").write_text(runtime.NO_STATES)
        self.write()
        runtime.check(["haproxy"], str(folder / "haproxy.cfg"))
        self.processes.append(self.haproxy())
        until(lambda: runtime.worker(self.api))

    @property
    def api(self) -> str:
        return str(self.folder / "admin.sock")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1/chat/completions"

    def spawn(self, *command: str) -> subprocess.Popen[bytes]:
        with open(self.log, "ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log)

    def haproxy(self) -> subprocess.Popen[bytes]:
        folder = self.folder
        return self.spawn(
            "haproxy", "-W", "-S", str(folder / "master.sock"), "-f", str(folder / "haproxy.cfg"), "-p", str(folder / "haproxy.pid")
        )  # fmt: skip

    def agent(self) -> None:
        words = (ROOT / "roles/gateway/files/agent.py", self.folder / "agent.json", self.folder / "backend_keys.map")
        self.processes.append(self.spawn(sys.executable, *map(str, words)))

    def write(self) -> None:
        plan = load("filter_plugins/gateway.py").gateway_plan(
            {"here": self.rows}, "here", {}, self.callers, self.settings
        )
        keys = "".join(f"{pool['name']} {BACKEND_KEY}\n" for pool in plan["pools"])
        files = {"haproxy.cfg": plan["config"], "agent.json": plan["agent"], "backend_keys.map": keys, **plan["maps"]}
        for name, text in {**files, **({"gateway.pem": self.pem} if self.pem else {})}.items():
            (self.folder / name).write_text(text)

    def reload(self) -> None:
        self.write()
        runtime.save_states(self.api, str(self.folder / "servers.state"))
        runtime.reload(self.api, str(self.folder / "master.sock"))

    def status(self, name: str) -> str:
        return next(row["status"] for row in runtime.servers(self.api) if row["name"] == name)

    def ask(
        self,
        path: str = "/v1/chat/completions",
        body: Any = None,
        key: str | None = KEY,
        method: str | None = None,
        **headers: str,
    ) -> tuple[int, dict[str, str], str]:
        """(status, headers, text)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        data = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else None
        sent = {**headers, **({"Authorization": f"Bearer {key}"} if key else {})}
        connection.request(method or ("POST" if data is not None else "GET"), path, data, sent)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, text

    def chat(self, model: str = "demo", key: str | None = KEY, **more: Any) -> tuple[int, dict[str, str], str]:
        return self.ask(body={"messages": [{"role": "user", "content": "2+2"}], "model": model, **more}, key=key)

    def close(self) -> None:
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
            process.wait(20)
