"""Servers that send what nobody expects."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from hub import COMMIT, Hub

Run = Callable[..., dict[str, Any]]
Answer = Callable[[BaseHTTPRequestHandler], None]


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


DEEP = b"[" * 200_000


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


def model_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile") / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "weights.bin").write_bytes(bytes(range(256)) * 400)
    return folder


def good_fixture(model: Path) -> Iterator[Hub]:
    good = Hub(model)
    yield good
    good.close()
