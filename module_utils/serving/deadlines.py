"""What an exchange over the network may take, and how a connection that takes longer is ended.

A socket's timeout is no deadline: a server that sends a byte now and then never runs into it. So each exchange has a cord,
and one thread pulls those that are due: it shuts the connection down, whatever was being read from it then.
"""

from __future__ import annotations

import collections
import contextlib
import http.client
import os
import socket
import threading
import time
from typing import Any, Deque

LEAST = 1024  # bytes a second below which nothing counts as progress
SLOW = 32 << 10  # bytes a second that a source must give while another one remains to be asked
PER_FILE = 64 << 10  # what a piece that came whole counts at least, so that many small files aren't slow
BRIEF, LONG, WHOLE = 2, 4, 10  # times `stall`: an answer's head; a document and the window of SLOW; a whole listing


class Limits:
    """What a transfer may take: every number in one place, times in seconds.

    `stall`: without a byte, for one connection. `answer`: connection, TLS and headers. `document`: a small file or a page of a
    listing, all of it. `listing`: all pages. `retries`: tries without progress. `wait`: the longest wait that a server may ask for.
    With `others`, sources that could serve instead, one that gives less than `slow` bytes a second for `window` seconds has failed;
    without, any progress of `least` bytes a second is waited for.
    With `by_file` the connections work on about one file at a time, for others who wait for whole files.
    """

    def __init__(
        self,
        connections: int = 16,
        stall: float = 30,
        retries: int = 6,
        wait: float = 600,
        by_file: bool = False,
        others: bool = False,
        slow: float = SLOW,
        document: float | None = None,
    ) -> None:
        self.connections, self.stall, self.retries, self.wait = connections, stall, retries, wait
        self.by_file, self.others, self.slow, self.least = by_file, others, slow, LEAST
        self.connect, self.answer = min(20.0, stall), BRIEF * stall
        self.document = LONG * stall if document is None else document
        self.window, self.listing = LONG * stall, WHOLE * stall


class Cord:
    """The end of one exchange: due at `until`, a time of the monotonic clock; `pulled` tells that it came."""

    def __init__(self, seconds: float) -> None:
        self.until = time.monotonic() + seconds
        self.lock = threading.Lock()
        self.end: socket.socket | None = (
            None  # of the connection, a descriptor of its own: TLS and close() take others away
        )
        self.pulled = False

    def again(self, seconds: float, at_most: float | None = None) -> None:
        """So many seconds from now, but not after `at_most`."""
        until = time.monotonic() + seconds
        self.until = until if at_most is None else min(until, at_most)

    def hold(self, descriptor: int) -> None:
        """The exchange goes over this connection."""
        self.let_go()
        with self.lock, contextlib.suppress(OSError):
            self.end = socket.socket(fileno=os.dup(descriptor))
        if self.pulled:
            self.pull()

    def let_go(self) -> None:
        with self.lock:
            if self.end is not None:
                self.end.close()
                self.end = None

    def pull(self) -> None:
        self.pulled = True
        with self.lock, contextlib.suppress(OSError):
            if self.end is not None:
                self.end.shutdown(socket.SHUT_RDWR)


class Watch:
    """The thread that pulls the cords of this process."""

    EVERY = 0.1  # seconds between two looks while there is an exchange

    def __init__(self) -> None:
        self.change = threading.Condition()
        self.cords: set[Cord] = set()
        self.thread: threading.Thread | None = None

    def add(self, cord: Cord) -> None:
        with self.change:
            self.cords.add(cord)
            if self.thread is None or not self.thread.is_alive():
                self.thread = threading.Thread(target=self.loop, daemon=True)
                self.thread.start()
            self.change.notify()

    def discard(self, cord: Cord) -> None:
        with self.change:
            self.cords.discard(cord)
        cord.let_go()

    def loop(self) -> None:
        while True:
            with self.change:
                while not self.cords:
                    self.change.wait()
                due = [cord for cord in self.cords if time.monotonic() > cord.until]
            for cord in due:
                cord.pull()
            time.sleep(self.EVERY)


WATCH = Watch()
HELD = threading.local()  # `.cord`: of the exchange that this thread begins


def hold(connection: socket.socket | None) -> None:
    """This thread's exchange goes over this connection; None while there is none yet."""
    cord = getattr(HELD, "cord", None)
    if cord is not None and connection is not None:
        cord.hold(connection.fileno())


def pool_classes() -> dict[str, Any]:
    """urllib3's pools, with connections that the cord of their exchange can end at any time, in a TLS handshake too."""
    import urllib3
    from urllib3.connection import HTTPConnection, HTTPSConnection

    class Response(http.client.HTTPResponse):
        """An answer after whatever a server says on the way to it (103 Early Hints); http.client knows 100 alone."""

        def _read_status(self) -> Any:
            found = super()._read_status()  # type: ignore[misc]
            while 101 < found[1] < 200:
                http.client.parse_headers(self.fp)
                found = super()._read_status()  # type: ignore[misc]
            return found

    def ending(base: Any) -> Any:
        class EndingConnection(base):
            response_class = Response

            def _new_conn(self) -> socket.socket:
                found: socket.socket = super()._new_conn()
                hold(found)
                return found

            def request(self, *args: Any, **given: Any) -> None:
                hold(self.sock)
                super().request(*args, **given)

        return EndingConnection

    class PlainPool(urllib3.HTTPConnectionPool):
        ConnectionCls = ending(HTTPConnection)

    class SecurePool(urllib3.HTTPSConnectionPool):
        ConnectionCls = ending(HTTPSConnection)

    return {"http": PlainPool, "https": SecurePool}


class Pace:
    """How much came over all connections of a client in the last seconds."""

    def __init__(self, window: float) -> None:
        self.window, self.lock = window, threading.Lock()
        self.total = 0
        self.marks: Deque[tuple[float, int]] = collections.deque()

    def add(self, count: int) -> None:
        now = time.monotonic()
        with self.lock:
            if not self.marks or now - self.marks[-1][0] > self.window / 30:
                self.marks.append((now, self.total))
                while len(self.marks) > 1 and now - self.marks[1][0] >= self.window:
                    self.marks.popleft()
            self.total += count

    def begin(self) -> None:
        """What was before doesn't count: nothing was asked for, or the server wanted a pause."""
        with self.lock:
            self.marks.clear()

    def rate(self) -> float | None:
        """Bytes a second in the last window; None if it is not full yet."""
        with self.lock:
            if not self.marks:
                return None
            seconds = time.monotonic() - self.marks[0][0]
            return (self.total - self.marks[0][1]) / seconds if seconds >= self.window else None
