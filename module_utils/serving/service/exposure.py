"""Is a service closed to whoever has no key? Asked of the service that runs, whatever its engine, its version and its options are.

The guard in each release (templates/guard) lets a list of paths through and asks for the key for each but /health. Whether it is in
place shows from outside: without a key every path answers 401, those that no engine has too. vLLM alone would say 404 there.
"""

from __future__ import annotations

import secrets
import socket
from typing import Any, Optional, Tuple

from ansible.module_utils.serving.service.probe import ask

# Routes that engines open beside /v1. Each is asked so that it does nothing where it is open: reads, and posts without what they need.
HARMLESS = (
    ("GET", "/v1/models"),
    ("GET", "/version"),
    ("GET", "/metrics"),
    ("GET", "/load"),
    ("GET", "/openapi.json"),
    ("HEAD", "/ping"),
    ("OPTIONS", "/invocations"),
    ("POST", "/invocations"),
    ("POST", "/tokenize"),
    ("POST", "/v1/chat/completions"),
    ("GET", "/v1/../version"),
    ("GET", "//version"),
    ("GET", "/%76ersion"),
)
TIMEOUT = 10.0


Question = Tuple[str, str, Optional[str], int]


def questions(paths: list[str], key: str | None) -> list[Question]:
    """(method, path, key, the status that refuses) of everything to ask of a service with these open paths."""
    nowhere = ("GET", "/" + secrets.token_hex(8))
    asked = [*HARMLESS, nowhere]
    found: list[Question] = []
    if key is None:
        # The list holds all the same; a path of it answers to anybody.
        return [(method, path, None, 404) for method, path in asked if path not in paths]
    wrong = "wrong-" + secrets.token_hex(8)
    for method, path in asked:
        found += [(method, path, None, 401), (method, path, wrong, 401)]
    return found + [(method, path, key, 404) for method, path in (("GET", "/version"), nowhere) if path not in paths]


def own_address() -> str:
    """This host's address on the way out; without a route its name. Nothing is sent: a datagram socket only chooses its address."""
    for family, outside in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as way:
                way.connect((outside, 9))
                return str(way.getsockname()[0])
        except OSError:
            continue
    return socket.gethostname()


def exposure(spec: dict[str, Any], key: str | None) -> dict[str, Any]:
    """{asked, open, note, problem} of a service that answers. NotYet if it stops answering meanwhile.

    `open` lists «METHOD path: HTTP status»; a release of an earlier version, which has no guard, gets a note instead of a problem.
    """
    paths = spec.get("paths")
    if paths is None:
        note = "its release is of an earlier version, whose key guards /v1 alone; deploy it again"
        return {"asked": 0, "open": [], "note": note, "problem": None}
    found, asked = [], questions(list(paths), key)
    for method, path, given, refused in asked:
        status, _ = ask(spec["endpoint"], method, path, given, {} if method == "POST" else None, TIMEOUT)
        if status != refused:
            who = "with the key" if given and given == key else "with a wrong key" if given else "without a key"
            found.append("%s %s %s: HTTP %d" % (method, path, who, status))
    problem = None
    if found:
        problem = (
            "callers reach what they should not: %s; its guard is not in place or not whole, so stop it: playbooks/stop.yml"
            % ("; ".join(found[:5]) + ("; and %d more" % (len(found) - 5) if len(found) > 5 else ""))
        )
    return {"asked": len(asked), "open": found, "note": None, "problem": problem}
