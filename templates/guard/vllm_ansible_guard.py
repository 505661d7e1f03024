"""ASGI middleware before everything else that an engine's API server does: a list of paths, and the key for each but /health.

vLLM's own key guards a few prefixes such as /v1: /invocations, /tokenize, /metrics, /version and others answer without one, and each
release of an engine brings more. So what is not listed here does not exist for callers, whatever the engine routes. Every engine
takes this class by vLLM's option `--middleware`, which puts it outside of routes, mounts, CORS and the engine's own check of the key.

    GUARD_PATHS: paths that callers may ask, separated by spaces; `{}` stands for one part of a path
    GUARD_KEYS: file with one key a line, all of which count; empty: callers need no key, and the list holds all the same

Without these variables, or with an empty file, the engine does not start. Standard library, Python 3.8 and later.
"""

import hmac
import json
import os
import re

OPEN = "/health"  # for load balancers; says nothing but whether the engine lives
PART = "[A-Za-z0-9_-][A-Za-z0-9._:-]*"  # no `.` or `..`, no slash


def allowed(paths):
    """One expression that matches each of these paths from end to end."""
    return re.compile("|".join(re.escape(path).replace(re.escape("{}"), PART) for path in [OPEN, *paths]))


def read_keys(path):
    with open(path, "rb") as source:
        keys = [line.strip() for line in source if line.strip()]
    if not keys:
        raise ValueError(f"guard: {path} holds no key")
    return keys


def routed(scope):
    """The path that the server's router looks at: decoded, without the prefix of a proxy (root_path)."""
    path, prefix = scope["path"], scope.get("root_path") or ""
    return path[len(prefix) :] if prefix and path.startswith(prefix + "/") else path


class Guard:
    """Passes a request on, or answers 401 (no key that counts) or 404 (not a path for callers). Websockets likewise."""

    def __init__(self, app):
        self.app = app
        self.paths = allowed(os.environ["GUARD_PATHS"].split())
        file = os.environ["GUARD_KEYS"]
        self.keys = read_keys(file) if file else []
        # The engine knows one key. A caller who comes with another one that counts is passed on with that one.
        self.inner = os.environ.get("VLLM_API_KEY", "").encode()

    def knows(self, headers):
        """Does the request bring exactly one key, and one that counts? Takes as long for every wrong one."""
        given = [value for name, value in headers if name.lower() == b"authorization"]
        scheme, _, key = (given[0] if len(given) == 1 else b"").partition(b" ")
        found = False
        for known in self.keys:
            found |= hmac.compare_digest(known, key.strip())
        return found and scheme.lower() == b"bearer"

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        path = routed(scope)
        harmless = scope["type"] == "http" and scope["method"] in ("GET", "HEAD") and path == OPEN
        if self.keys and not harmless:
            if not self.knows(scope["headers"]):
                await refuse(scope, send, 401, "this service asks for its API key: Authorization: Bearer KEY")
                return
            if self.inner:
                others = [(name, value) for name, value in scope["headers"] if name.lower() != b"authorization"]
                scope = dict(scope, headers=[*others, (b"authorization", b"Bearer " + self.inner)])
        if not self.paths.fullmatch(path):
            await refuse(
                scope, send, 404, "this path is not open to callers; the service's row opens more with `paths`"
            )
            return
        await self.app(scope, receive, send)


async def refuse(scope, send, status, message):
    """Answer without touching the engine, in the form that OpenAI's clients read."""
    if scope["type"] != "http":
        await send({"type": "websocket.close", "code": 1008})
        return
    kind = "authentication_error" if status == 401 else "not_found_error"
    body = json.dumps({"error": {"message": message, "type": kind, "param": None, "code": status}}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
