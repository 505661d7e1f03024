"""Where this gateway has reached its backends: for each, by the endpoint that its release says on its host.

A release that comes back may listen elsewhere than the one that it follows, and its row of that time is gone. Written whenever a backend that
is up is taken out, and when it is put back.
"""

from __future__ import annotations

import os
import urllib.parse

from ansible.module_utils.serving.files import read_json, write_json
from ansible.module_utils.serving.gateway.runtime import joined

FILE = "places.json"
MOST = 8  # endpoints of a backend that are kept, the newest ones


def read(folder: str) -> dict[str, dict[str, str]]:
    """{backend: {endpoint: host:port}}, the newest ones last."""
    try:
        return {name: dict(rows) for name, rows in (read_json(os.path.join(folder, FILE)) or {}).items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}  # then it is told where it is by its row alone


def remember(folder: str, name: str, endpoint: str, at: str) -> None:
    """The caller holds the lock of the gateway's drains."""
    found = read(folder)
    rows = {key: place for key, place in found.get(name, {}).items() if key != endpoint}
    found[name] = dict([*rows.items(), (endpoint, at)][-MOST:])
    write(folder, found)


def forget(folder: str, name: str, at: str) -> None:
    """A row says another way now: nothing is reached there any more."""
    found = read(folder)
    if at in found.get(name, {}).values():
        found[name] = {key: place for key, place in found[name].items() if place != at}
        write(folder, found)


def write(folder: str, found: dict[str, dict[str, str]]) -> None:
    # Lists, which keep their order in a file.
    write_json(os.path.join(folder, FILE), {one: list(each.items()) for one, each in found.items()}, 0o600)


def port_of(address: str) -> int | None:
    return urllib.parse.urlsplit("//" + address.rpartition("//")[2]).port


def place(rows: dict[str, str], endpoint: str, now: str) -> str:
    """Where the endpoint is reached; empty where nobody knows. `rows`: a backend's, `now`: where it is reached now.

    Where the gateway reaches another endpoint at that one's own port, there is no tunnel between them, and only the port is another one.
    """
    if endpoint in rows:
        return rows[endpoint]
    direct = any(at == now and port_of(key) == port_of(at) for key, at in rows.items())
    return joined(now.rpartition(":")[0].strip("[]"), str(port_of(endpoint))) if direct else ""
