"""A loopback hub that speaks the HTTP APIs of Hugging Face and of ModelScope, with the failures of real ones.

As recorded from huggingface_hub 2.4 and modelscope 1.40 against a server of files. `python tests/hub.py FOLDER PORT [ADDRESS]` runs
one by hand: HF_ENDPOINT=http://127.0.0.1:PORT hf download org/model.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import sys
import threading
import time
import urllib.parse
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

COMMIT = "c0ffee" + "0" * 34
MOVED = "badcab" + "0" * 34


@dataclass
class Trouble:
    """What goes wrong. Counts are used up by the requests they hit."""

    flip: str = ""  # a bit of this file is flipped, its size stays
    flips: int = 1 << 30  # how often
    cut_after: int = 0  # bytes of an answer's body after which the connection is cut
    cuts: int = 0
    stall_after: int = 0
    stalls: int = 0
    status: int = 0  # answer files with this status
    statuses: int = 0
    retry_after: str = ""
    api_status: int = 0
    redirect: str = ""  # send files from this origin
    no_ranges: bool = False
    listed: dict[str, dict[str, Any]] = field(default_factory=dict)  # file -> what its row says instead
    extra: list[dict[str, Any]] = field(default_factory=list)  # rows that name no file: {path, size, sha256}
    moved: bool = False  # the branch has another commit after the listing
    no_commit: bool = False  # ModelScope: a listing whose commits give other listings
    bytes_per_second: float = 0  # of each connection
    file_answer: Callable[[BaseHTTPRequestHandler], None] | None = None  # answers requests for files instead
    file_named: str = ""  # only where this is in the request
    api_answer: Callable[[BaseHTTPRequestHandler], None] | None = None  # answers requests for listings instead
    about: dict[str, Any] = field(default_factory=dict)  # what Hugging Face says of the model beside its files
    gated: bool = False  # its files need a token whose account accepted the licence
    unknown: bool = False  # there is no such model
    dataset: bool = False  # it is a data set
    renamed: str = ""  # the model's name now
    found: tuple[str, ...] = ()  # what a search for models finds
    delay: float = 0  # seconds before each answer


class Hub:
    def __init__(self, folder: Path, port: int = 0, token: str = "", address: str = "127.0.0.1") -> None:
        self.folder, self.token, self.trouble = folder, token, Trouble()
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.sent: Counter[str] = Counter()
        self.lock = threading.Lock()
        self.known: dict[tuple[str, int], dict[str, Any]] = {}
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                hub.answer(self, False)

            def do_GET(self) -> None:
                hub.answer(self, True)

            def log_message(self, *_: Any) -> None: ...

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_: Any) -> None: ...

        self.server = Server((address, port), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def names(self) -> list[str]:
        return sorted(str(p.relative_to(self.folder)) for p in self.folder.rglob("*") if p.is_file())

    def files_asked(self) -> list[str]:
        return [p for method, p, _ in self.requests if method == "GET" and ("/resolve/" in p or "FilePath=" in p)]

    def use(self, count: str) -> bool:
        """Use up one of a trouble's counts."""
        with self.lock:
            left = getattr(self.trouble, count)
            if left > 0:
                setattr(self.trouble, count, left - 1)
            return bool(left > 0)

    def rows(self) -> list[dict[str, Any]]:
        rows = []
        for name in self.names():
            rows.append({**self.digests(name), **self.trouble.listed.get(name, {})})
        return rows + self.trouble.extra

    def digests(self, name: str) -> dict[str, Any]:
        """A file's row, made once: hubs don't read files to list them."""
        path = self.folder / name
        known = (name, path.stat().st_mtime_ns)
        with self.lock:
            if known not in self.known:
                data = path.read_bytes()
                git = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
                self.known[known] = {
                    "path": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "git": git,
                }  # fmt: skip
            return dict(self.known[known])

    def answer(self, http: BaseHTTPRequestHandler, body: bool) -> None:
        parts = urllib.parse.urlsplit(http.path)
        path, query = urllib.parse.unquote(parts.path), dict(urllib.parse.parse_qsl(parts.query))
        with self.lock:
            self.requests.append((http.command, http.path, dict(http.headers)))
        is_file = "/resolve/" in path or bool(query.get("FilePath")) or path.startswith("/raw/")
        other = self.trouble.file_answer if is_file else self.trouble.api_answer
        if other and (not is_file or self.trouble.file_named in http.path):
            http.close_connection = True
            with contextlib.suppress(OSError):
                other(http)
            return None
        if self.token and not path.startswith("/raw/") and http.headers.get("Authorization") != f"Bearer {self.token}":
            return self.send(http, 401, {"Message": "no token"}, body)
        time.sleep(self.trouble.delay)
        if self.odd(http, path, query, body, is_file):
            return None
        if path.startswith("/api/") and not query.get("FilePath") and self.trouble.api_status:
            return self.send(http, self.trouble.api_status, {"error": "down"}, body)
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/revision/(.+)", path):
            if match[2] not in ("main", COMMIT):
                return self.send(http, 404, {"error": "Revision Not Found"}, body, {"X-Error-Code": "RevisionNotFound"})
            names = [{"rfilename": row["path"]} for row in self.rows()]
            return self.send(http, 200, {"id": match[1], "sha": COMMIT, "siblings": names, **self.trouble.about}, body)
        if re.fullmatch(r"/api/models/[^/]+/[^/]+/tree/[0-9a-f]{40}", path):
            rows: list[dict[str, Any]] = []
            for row in self.rows():
                found = {"type": "file", "path": row["path"], "size": row["size"], "oid": row.get("git", "0" * 40)}
                if row["size"] > 50_000 or row["path"].endswith(".safetensors"):
                    found["lfs"] = {"oid": row["sha256"], "size": row["size"], "pointerSize": 130}
                rows.append(found)
            return self.send(http, 200, rows, body)
        if re.fullmatch(r"/api/v1/models/[^/]+/[^/]+/repo/files", path):
            moved = self.trouble.no_commit and query["Revision"] == COMMIT
            listed = [
                {"Path": row["path"], "Name": row["path"].split("/")[-1], "Type": row.get("type", "blob"),
                 "Size": row["size"], "Sha256": "0" * 64 if moved else row["sha256"],
                 "Revision": COMMIT, "CommittedDate": 1_700_000_000}
                for row in self.rows()
            ]  # fmt: skip
            return self.send(http, 200, {"Code": 200, "Success": True, "Data": {"Files": listed}}, body)
        if match := re.fullmatch(r"/[^/]+/[^/]+/resolve/([^/]+)/(.+)", path):
            return self.file(http, match[2], body, hf=True)
        if re.fullmatch(r"/api/v1/models/[^/]+/[^/]+/repo", path) and query.get("FilePath"):
            return self.file(http, query["FilePath"], body)
        if path.startswith("/raw/"):
            return self.file(http, path[5:], body)
        return self.send(http, 404, {"error": "not found"}, body)

    def odd(self, http: BaseHTTPRequestHandler, path: str, query: dict[str, str], body: bool, is_file: bool) -> bool:
        """Answer as a hub does that has no such model, or another one; False where nothing is odd."""
        trouble, old = self.trouble, "/org/old"
        if path in ("/api/models", "/openapi/v1/models"):
            rows = [{"id": name} for name in trouble.found]
            self.send(http, 200, rows if path == "/api/models" else {"success": True, "data": {"models": rows}}, body)
        elif re.match(r"/(api|openapi/v1)/datasets/", path):
            self.send(
                http, 200 if trouble.dataset else 404, {"id": "org/m", "data": {"id": "org/m"}, "success": True}, body
            )
        elif trouble.unknown:
            self.send(http, 404, {"error": "Repository not found"}, body, {"X-Error-Code": "RepoNotFound"})
        elif trouble.renamed and old in path:
            self.send(http, 307, {}, body, {"Location": http.path.replace(old, "/" + trouble.renamed)})
        elif trouble.gated and is_file:
            self.send(http, 401, {"error": "restricted"}, body, {"X-Error-Code": "GatedRepo"})
        else:
            return False
        return True

    def send(
        self, http: BaseHTTPRequestHandler, status: int, value: Any, body: bool, headers: dict | None = None
    ) -> None:
        data = json.dumps(value).encode()
        http.send_response(status)
        for key, text in {
            "Content-Type": "application/json",
            "Content-Length": str(len(data)),
            **(headers or {}),
        }.items():
            http.send_header(key, text)
        http.end_headers()
        if body:
            http.wfile.write(data)

    def file(self, http: BaseHTTPRequestHandler, name: str, body: bool, hf: bool = False) -> None:
        trouble = self.trouble
        if trouble.status and self.use("statuses"):
            headers = {"Retry-After": trouble.retry_after} if trouble.retry_after else {}
            return self.send(http, trouble.status, {"error": "busy"}, body, headers)
        path = self.folder / name
        if not path.is_file():
            return self.send(http, 404, {"error": "no such file"}, body, {"X-Error-Code": "EntryNotFound"})
        row = self.digests(name)
        headers = {"X-Repo-Commit": MOVED if trouble.moved else COMMIT, "ETag": f'"{row["git"]}"'}
        headers |= {"Accept-Ranges": "bytes", "X-Linked-Size": str(row["size"])}
        if hf and name.endswith(".safetensors"):
            headers["X-Linked-Etag"] = f'"{row["sha256"]}"'
        if trouble.redirect and not http.path.startswith("/raw/"):
            return self.send(
                http, 302, {}, body, {**headers, "Location": f"{trouble.redirect}/raw/{urllib.parse.quote(name)}"}
            )
        flip = trouble.flip == name and (not body or self.use("flips"))
        size, status = row["size"], 200
        begin, end = 0, size
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", http.headers.get("Range") or "")
        if asked and not trouble.no_ranges:
            begin, end = int(asked[1]), min(int(asked[2] or size - 1) + 1, size)
            if begin >= size:
                return self.send(http, 416, {}, body)
            status = 206
            headers["Content-Range"] = f"bytes {begin}-{end - 1}/{size}"
        http.send_response(status)
        for key, text in {**headers, "Content-Length": str(end - begin)}.items():
            http.send_header(key, text)
        http.end_headers()
        if body:
            with path.open("rb") as source:
                source.seek(begin)
                data = source.read(end - begin)
            if flip and data and end == size:
                data = data[:-1] + bytes([data[-1] ^ 1])
            self.body(http, name, data)
        return None

    def body(self, http: BaseHTTPRequestHandler, name: str, data: bytes) -> None:
        trouble, at = self.trouble, 0
        step = 1 << 16 if not trouble.bytes_per_second else max(1, int(trouble.bytes_per_second / 50))
        for what, count in (("cut_after", "cuts"), ("stall_after", "stalls")):
            after = getattr(trouble, what)
            if after and len(data) > after and self.use(count):
                http.wfile.write(data[:after])
                self.sent[name] += after
                http.wfile.flush()
                if what == "stall_after":
                    time.sleep(20)
                http.close_connection = True
                http.connection.close()
                return
        while at < len(data):
            http.wfile.write(data[at : at + step])
            self.sent[name] += len(data[at : at + step])
            at += step
            if trouble.bytes_per_second:
                time.sleep(0.02)


if __name__ == "__main__":
    print(Hub(Path(sys.argv[1]), int(sys.argv[2]), address=[*sys.argv, "127.0.0.1"][3]).url, flush=True)
    threading.Event().wait()
