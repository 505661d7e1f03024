"""Routes of an engine: those that its source names, and what asks them."""

from __future__ import annotations

import http.client
import re
from pathlib import Path

ROUTE = re.compile(
    r"""@(?:\w+\.)?(?:router|app|\w*_router)\.(?:get|post|put|delete|patch|head|options|api_route|websocket)\(\s*f?["'](/[^"']*)["']"""
)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def routes(folder: Path) -> set[str]:
    """Paths of the routes in the Python files below a folder."""
    return {path for file in folder.rglob("*.py") for path in ROUTE.findall(file.read_text(errors="replace"))}


def upgraded(port: int, path: str, key: str | None) -> int:
    """HTTP status of a request to change to a websocket."""
    wanted = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers={**wanted, **({"Authorization": f"Bearer {key}"} if key else {})})
        return connection.getresponse().status
    finally:
        connection.close()
