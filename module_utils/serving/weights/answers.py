"""An answer of a server, read with bounds: what it sends may stall, end early or never end."""

from __future__ import annotations

import contextlib
import email.utils
import http.client
import re
import select
import time
import urllib.parse
import urllib.request
from typing import Any

from ansible.module_utils.serving.deadlines import WATCH, Cord, Limits
from ansible.module_utils.serving.errors import as_shown
from ansible.module_utils.serving.files import human
from ansible.module_utils.serving.weights.listing import SourceFailed

READ_MIN = 64 << 10  # of a small document


class Transient(Exception):
    """Worth another try, after `wait` seconds if the server named them."""

    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


class Stopped(Exception):
    """Another worker has failed; this one ends without a word."""


def origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port of an address. SourceFailed if it is none."""
    try:
        parts = urllib.parse.urlsplit(url)
        return parts.scheme, (parts.hostname or "").lower(), parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError as error:
        raise SourceFailed("%r is no address (%s)" % (url[:200], error)) from None


def number(text: str | None, what: str) -> int | None:
    """A header's number of bytes; None without one. SourceFailed for anything else: the answer can't be trusted."""
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,18}", text.strip()):
        raise SourceFailed("its server says %s: %s" % (what, text[:80]))
    return int(text)


class Answer:
    """An answer whose head has come. Whoever has it must close it."""

    def __init__(self, found: Any, cord: Cord, limits: Limits, until: float | None) -> None:
        self.found, self.cord, self.limits, self.until = found, cord, limits, until
        self.status: int = found.status
        self.headers: Any = found.headers
        self.reason: str = found.reason or "refused"
        self.raw = found._fp  # http.client's response: urllib3's own read copies each block twice
        self.cord.again(limits.stall, until)

    def wait(self, seconds: float) -> bool:
        """Wait for bytes; False if none came. True where that can't be known."""
        try:
            connection = self.raw.fp.raw._sock
            if self.raw.chunked or (hasattr(connection, "pending") and connection.pending()):
                return True
            return bool(select.select([connection], [], [], max(0.0, seconds))[0])
        except (AttributeError, OSError, ValueError):
            return True

    def receive(self, view: memoryview) -> int:
        """Bytes that are there now, into `view`; waits for the first. 0 at the end. Transient when nothing comes for `stall` seconds."""
        raw = self.raw
        try:
            if raw.chunked or raw.length is None or raw.fp is None:
                data = raw.read1(len(view))
                if isinstance(raw.chunk_left, int) and raw.chunk_left < 0:
                    raise Transient("a piece of its answer has a size below zero")
                count = len(data)
                view[:count] = data
            else:
                count = raw.fp.readinto1(view[: raw.length])
                raw.length -= count
                if not count or not raw.length:
                    raw._close_conn()
        except (OSError, http.client.HTTPException, ValueError, AttributeError) as error:
            raise self.problem(error) from None
        if not count and self.cord.pulled:
            raise self.problem(None)
        self.cord.again(self.limits.stall, self.until)
        return int(count)

    def problem(self, error: BaseException | None) -> Transient:
        """What went wrong; a cord that was pulled shows as whatever the reader met."""
        if self.cord.pulled or isinstance(error, TimeoutError):
            if self.until is not None and time.monotonic() > self.until:
                return Transient("its answer is not whole after %g s" % self.limits.document)
            return Transient("it stalls: nothing in %g s" % self.limits.stall)
        return Transient(plain(error) if error else "the connection was cut")

    def whole(self, limit: int, what: str) -> bytes:
        """The body, at most `limit` bytes."""
        check_plain(self)
        number(self.headers.get("Content-Length"), "Content-Length")
        data, block = bytearray(), memoryview(bytearray(READ_MIN))
        while count := self.receive(block):
            data += block[:count]
            if len(data) > limit:
                raise SourceFailed("%s is larger than %s" % (what, human(limit)))
        if self.raw.length:
            raise Transient("the connection was cut after %s" % human(len(data)))
        self.done()
        return bytes(data)

    def done(self) -> None:
        """The whole answer was read: its connection serves the next one."""
        if self.raw.isclosed():
            self.found.release_conn()

    def skip(self) -> None:
        """Not wanted: a short body is read, so that its connection serves again."""
        length = self.headers.get("Content-Length") or ""
        if length.isdigit() and len(length) < 6 and not self.raw.chunked:
            self.until = time.monotonic() + self.limits.answer
            with contextlib.suppress(Transient, SourceFailed):
                self.whole(READ_MIN, "")
        self.close()

    def close(self) -> None:
        WATCH.discard(self.cord)
        self.found.close()

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def check_plain(answer: Answer) -> None:
    encoding = answer.headers.get("Content-Encoding")
    if encoding not in (None, "", "identity"):
        raise SourceFailed("its server sends files encoded (%s) although asked not to" % encoding[:80])


def plain(error: BaseException) -> str:
    """An error of the network in words, without object addresses; of one that holds others, those in their words."""
    if isinstance(error, http.client.IncompleteRead):
        return "its answer is cut, or has a piece of no size"
    if isinstance(error, (http.client.BadStatusLine, http.client.UnknownProtocol)) and not isinstance(
        error, http.client.RemoteDisconnected
    ):
        return "it does not speak HTTP/1, it said %s" % as_shown(str(error)[:40].strip("'\"\r\n"))
    inner = [plain(one) if isinstance(one, BaseException) else str(one).rstrip(".") for one in error.args]
    words = ", ".join(inner) if any(isinstance(one, BaseException) for one in error.args) else str(error)
    text = re.sub(r"<[^<>]* at 0x[0-9a-f]+>|\w+(?:Pool|Connection)\([^)]*\)", "", words).strip(" :,()'\"")
    return text[:300] or type(error).__name__


def retry_after(value: str | None) -> float | None:
    """Seconds that a Retry-After header asks for; it holds seconds or a date. None for anything else."""
    if not value:
        return None
    if re.fullmatch(r"\s*[0-9]{1,15}\s*", value):
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError, IndexError, OSError):
        return None
