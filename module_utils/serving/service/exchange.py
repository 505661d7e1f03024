"""One HTTP exchange with a service, bounded in time and bytes, and what a service may say without anybody crashing.

A socket's timeout is no deadline: a server that sends a byte a second passes every one. So a timer ends the connection when the
exchange as a whole has taken its time, wherever it stands: TLS, headers, chunks or body.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import math
import socket
import ssl
import threading
import time
import urllib.parse
from typing import Any, Iterator, NamedTuple

BODY = 8 * 2**20  # bytes of an answer; /metrics of a busy engine has a quarter of a million
SHOWN = 200  # characters of an answer that a message shows
TRANSIENT = (408, 425, 429, 502, 503, 504)  # a server says by these that it may be otherwise in a moment


class NotYet(Exception):
    """The service does not answer as it should; the text says what it did instead.

    `listens`: a process took the connection. `steady`: a name of the fault if it is one that waiting does not mend; the same
    name several times over ends the wait.
    """

    def __init__(self, message: str, listens: bool = True, steady: str | None = None) -> None:
        super().__init__(message)
        self.listens, self.steady = listens, steady


def shown(data: Any, limit: int = SHOWN) -> str:
    """The beginning of something that a server sent, as one printable line."""
    text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data if isinstance(data, str) else repr(data)
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: limit * 4]).split())
    return line if len(line) <= limit else line[:limit] + "..."


class Raw(NamedTuple):
    """A body that is no JSON, such as a form with a file."""

    kind: str  # content type
    data: bytes


class Exchange:
    """A request and its answer: status, kind (content type), then the body by `pieces()` or whole by `body()`."""

    def __init__(self, endpoint: str, method: str, path: str, key: str | None, body: Any, timeout: float, stream: bool = False) -> None:  # fmt: skip
        self.what = "%s %s" % (method, path)
        self.timeout, self.stream = timeout, stream
        self.until = time.monotonic() + timeout
        self.expired = False
        self.sock: socket.socket | None = None
        self.handle: socket.socket | None = None
        self.timer: threading.Timer | None = None
        url = urllib.parse.urlsplit(endpoint)
        self.tls = url.scheme == "https"
        # A service that listens everywhere is asked here.
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(url.hostname or "", url.hostname or "")  # noqa: S104
        self.place = (host, url.port or (443 if self.tls else 80))
        data = body.data if isinstance(body, Raw) else json.dumps(body).encode() if body is not None else None
        kind = body.kind if isinstance(body, Raw) else "application/json"
        headers = {"Content-Type": kind, "Accept": "text/event-stream" if stream else "*/*"}
        if key:
            headers["Authorization"] = "Bearer " + key
        try:
            self.answer = self.start(method, path, data, headers)
        except NotYet:
            self.close()
            raise
        except Exception as error:  # whatever http.client makes of what it was sent
            self.close()
            raise self.failed(error, early=True) from None
        self.status = self.answer.status
        self.kind = (self.answer.getheader("Content-Type") or "").split(";")[0].strip().lower()

    def start(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> http.client.HTTPResponse:
        self.sock = socket.create_connection(self.place, timeout=self.timeout)
        # TLS takes the socket over; another handle of it stays able to end it.
        self.handle = self.sock.dup()
        self.timer = threading.Timer(max(0.0, self.until - time.monotonic()), self.expire)
        self.timer.daemon = True
        self.timer.start()
        if self.tls:
            self.sock = ssl.create_default_context().wrap_socket(self.sock, server_hostname=self.place[0])
        connection = http.client.HTTPConnection(*self.place, timeout=self.timeout)
        connection.sock = self.sock
        connection.request(method, path, body, headers)
        return connection.getresponse()

    def expire(self) -> None:
        self.expired = True
        with contextlib.suppress(OSError):
            if self.handle:
                self.handle.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        if self.timer:
            self.timer.cancel()
        for one in (self.sock, self.handle):
            if one:
                one.close()

    def __enter__(self) -> Exchange:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def failed(self, error: Exception, early: bool = False) -> NotYet:
        """What an error of the exchange means for the one who waits. `early`: no status had come."""
        if isinstance(error, ssl.SSLCertVerificationError):
            text = "%s: its certificate is not trusted here (%s)"
            return NotYet(text % (self.what, error.verify_message), steady="certificate")
        # A server that speaks TLS hangs up on plain words, or answers with an alert (0x15).
        hung_up = isinstance(error, (http.client.RemoteDisconnected, ConnectionResetError)) or "\x15" in str(error)
        if early and self.sock and not self.tls and hung_up and speaks_tls(self.place):
            return NotYet("%s: the endpoint says http, and the port speaks https" % self.what, steady="scheme")
        if early and self.sock and self.tls and not isinstance(self.sock, ssl.SSLSocket) and speaks_http(self.place):
            text = "%s: the endpoint says https, and the port speaks http"
            return NotYet(text % self.what, steady="scheme")
        if self.expired or isinstance(error, TimeoutError):
            return self.late(early)
        if isinstance(error, ssl.SSLError):
            text = "%s: the endpoint says https, and the port does not speak TLS (%s)"
            return NotYet(text % (self.what, error.reason or error), steady="scheme")
        if isinstance(error, http.client.RemoteDisconnected):
            return NotYet("%s: the connection was closed without an answer" % self.what)
        if isinstance(error, http.client.BadStatusLine):
            text = "%s: the port does not speak HTTP, it said %r" % (self.what, shown(str(error), 60))
            return NotYet(text, steady="no HTTP")
        if isinstance(error, http.client.IncompleteRead):
            return NotYet("%s: the answer was cut" % self.what)
        text = "%s: %s" % (self.what, shown(str(error)) or type(error).__name__)
        return NotYet(text, listens=self.sock is not None)

    def late(self, early: bool = False) -> NotYet:
        words = ("no token" if self.stream else "no answer") if early else "no whole answer"
        return NotYet("%s: %s within %g s" % (self.what, words, self.timeout), listens=self.sock is not None)

    def pieces(self, limit: int = BODY) -> Iterator[bytes]:
        """The body as it comes. NotYet where it is longer than `limit` bytes, cut, or not whole in time."""
        count = 0
        try:
            while True:
                piece = self.answer.read1(65536)
                if not piece:
                    break
                count += len(piece)
                if count > limit:
                    break
                yield piece
            # http.client takes an end that comes too soon for the end of a body that it reads in pieces.
            left = getattr(self.answer, "length", None)
        except Exception as error:
            raise self.failed(error) from None
        if count > limit:
            raise NotYet("%s: the answer is longer than %d MiB" % (self.what, limit // 2**20), steady="too long")
        if self.expired:
            raise self.late()
        if left:
            raise NotYet("%s: the answer was cut, %d bytes are missing" % (self.what, left))

    def body(self, limit: int = BODY) -> bytes:
        return b"".join(self.pieces(limit))

    def refusal(self) -> NotYet:
        """What a status other than 200 means, with the server's own words."""
        try:
            said = message_of(b"".join(self.pieces(65536)))
        except NotYet as problem:
            said = "" if problem.steady == "too long" else str(problem)
        text = "%s: HTTP %d%s" % (self.what, self.status, ": " + said if said else "")
        if self.status in (401, 403):
            text = "%s: HTTP %d, the API key is refused" % (self.what, self.status)
        if "HTTP request was sent to HTTPS port" in said or ("TLS" in said and "HTTP request" in said):
            return NotYet("%s: the endpoint says http, and the port speaks https" % self.what, steady="scheme")
        return NotYet(text, steady=None if self.status in TRANSIENT else "HTTP %d to %s" % (self.status, self.what))


LISTEN = 1.0  # seconds in which a server must show which of the two it speaks


def speaks_tls(place: tuple[str, int]) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with bounded(place) as plain, context.wrap_socket(plain):
            return True
    except (OSError, ValueError):
        return False


def speaks_http(place: tuple[str, int]) -> bool:
    try:
        with bounded(place) as plain:
            plain.sendall(b"GET /health HTTP/1.0\r\n\r\n")
            return plain.recv(5) == b"HTTP/"
    except OSError:
        return False


@contextlib.contextmanager
def bounded(place: tuple[str, int]) -> Iterator[socket.socket]:
    """A connection that lasts LISTEN seconds at most, whatever comes."""
    with socket.create_connection(place, timeout=LISTEN) as plain, plain.dup() as handle:

        def end() -> None:
            with contextlib.suppress(OSError):
                handle.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(LISTEN, end)
        timer.daemon = True
        timer.start()
        try:
            yield plain
        finally:
            timer.cancel()


def parse(data: bytes | str, what: str) -> Any:
    """JSON that somebody else wrote. NotYet for whatever is none, or is too deep."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else "no JSON"
        raise NotYet("%s: the answer is %s: %s" % (what, reason, shown(data)), steady="no JSON from " + what) from None


def number(value: Any) -> float | None:
    """A finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str, bytes)):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def message_of(body: bytes) -> str:
    """The words in an error's body: OpenAI's `error.message`, `detail`, `message`, or its beginning."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return shown(body)
    for name in ("error", "message", "detail", "object"):
        if isinstance(found, dict) and isinstance(found.get(name), (dict, str)) and found[name]:
            found = found[name]
    return shown(found, 400)
