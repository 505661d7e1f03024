"""Move files over HTTP: parallel ranges, resumed to the byte after kill -9 or a reboot, verified before they are believed.

Each file lies under `<name>.part` beside a journal of the spans that are there. A reboot may lose what was written but
not synced, so spans of an earlier boot count only where a sync is recorded after them. A file is finished when its
bytes, read in order, have the digest that its source states. Then it is synced and renamed.
"""

from __future__ import annotations

import collections
import concurrent.futures
import hashlib
import threading
import time
from typing import Any, Callable

from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.weights.answers import Stopped, Transient
from ansible.module_utils.serving.weights.client import Client
from ansible.module_utils.serving.weights.listing import Entry, SourceFailed
from ansible.module_utils.serving.weights.part import Part

AT_FIRST = 4  # connections; the others join after half a second, unless these alone make FAST bytes a second
FAST = 256 << 20
PIECE_MIN, PIECE_MAX = 1 << 20, 64 << 20


class Download:
    """One file: which pieces are still to be taken, and the digest of what is there so far, in order."""

    told: Callable[[int], None]

    def __init__(self, part: Part, client: Client) -> None:
        self.part, self.entry, self.client = part, part.entry, client
        self.lock, self.hashing = threading.Lock(), threading.Lock()
        self.opened = self.finished = False
        self.active = 0
        self.tried = 0

    def take(self, size: int) -> tuple[int, int] | None:
        """The next piece [start, end); None if there is none to take now."""
        with self.lock:
            if self.finished:
                return None
            if not self.opened:
                self.part.open()
                self.gaps = self.part.missing()
                self.told(self.entry.size - sum(end - start for start, end in self.gaps))
                self.restart_digest()
                self.opened = True
                if not self.gaps:
                    self.active += 1
                    return self.entry.size, self.entry.size
            if not self.gaps:
                return None
            start, end = self.gaps[0]
            stop = end if end - start <= size * 3 // 2 else max(self.part.floor(start + size), start)
            stop = end if stop == start else stop
            if stop == end:
                self.gaps.pop(0)
            else:
                self.gaps[0] = (stop, end)
            self.active += 1
            return start, stop

    def restart_digest(self) -> None:
        self.part.restart_digest()
        self.sha256, self.hashed = hashlib.sha256(), 0
        self.sha1 = hashlib.sha1(b"blob %d\0" % self.entry.size, usedforsecurity=False) if self.entry.git_sha1 else None

    def fetch(self, start: int, end: int) -> None:
        """Fetch one piece, however many tries it takes."""
        at = start

        def sink(offset: int, block: memoryview) -> int:
            nonlocal at
            taken = 0
            while taken < len(block) and (count := self.part.add(offset + taken, block[taken:])):
                taken += count
            at = offset + taken
            if self.part.inline and offset == self.hashed and self.hashing.acquire(blocking=False):
                try:
                    if offset == self.hashed:
                        self.digest(at, block[:taken])
                finally:
                    self.hashing.release()
            self.told(taken)
            return taken

        assert self.entry.url
        if start < end:
            for tell in self.client.tries("file '%s'" % self.entry.name):
                before = at
                try:
                    self.client.stream(self.entry.url, at, end, self.entry.size, sink)
                    tell(None, 0)
                except Transient as problem:
                    tell(problem, at - before)
                if at >= end:
                    break
        self.hash_forward()

    def hash_forward(self) -> None:
        """Digest what follows without a gap. One thread at a time; the others go on fetching."""
        if not self.hashing.acquire(blocking=False):
            return
        try:
            for at, data in self.part.source_blocks(self.hashed):
                self.digest(at, data)
                if self.client.stop.is_set():
                    return
        finally:
            self.hashing.release()

    def digest(self, at: int, data: Any) -> None:
        """The next bytes, up to offset `at`. Only for the holder of `hashing`."""
        self.sha256.update(data)
        if self.sha1:
            self.sha1.update(data)
        self.hashed = at

    def leave(self) -> bool:
        """A piece is done. True for the one caller after whom nothing is left to fetch."""
        with self.lock:
            self.active -= 1
            return not self.active and not self.gaps and not self.finished

    def complete(self, done: Callable[[Entry, dict[str, Any]], None]) -> None:
        """Believe the file if its digest is the one stated, and publish it; else fetch it once more."""
        with self.hashing:  # the thread that digests now may have looked before the last block came
            pass
        self.hash_forward()
        found = self.sha256.hexdigest()
        stated, have = self.entry.sha256, found
        if not stated and self.sha1:
            stated, have = self.entry.git_sha1, self.sha1.hexdigest()
        if self.hashed == self.entry.size and stated == have:
            row = self.part.about(found)
            row["mtime_ns"] = self.part.seal()
            done(self.entry, row)
            self.part.publish()
            self.finished = True
            return
        self.tried += 1
        self.part.drop()
        self.told(-self.entry.size)
        if not self.client.damaged(self.entry) and self.tried > 1:
            raise SourceFailed(
                "file '%s' arrived damaged twice: its digest is %s, its source states %s"
                % (self.entry.name, have, stated)
            )
        with self.lock:
            self.opened = False


class Pieces:
    """Pieces of all files, shared out among `limits.connections` threads, so that one large file uses them all too."""

    def __init__(self, downloads: list[Download], client: Client, told: Callable[[int], None]) -> None:
        self.client, self.told, self.lock = client, told, threading.Lock()
        self.ready, self.left = collections.deque(downloads), len(downloads)
        self.total = sum(one.entry.size for one in downloads)
        connections = client.limits.connections
        self.threads = min(connections, max(1, self.total // PIECE_MIN + len(downloads)))
        self.shares = connections * 3
        self.least, self.most = PIECE_MIN, PIECE_MAX
        if client.limits.by_file:  # a slow connection must not hold up a whole file, so it gets little at a time
            largest = max(one.entry.size for one in downloads)
            self.most = min(self.most, max(PIECE_MIN // 4, largest // (connections * 16)))
            self.least = min(self.least, self.most)
        self.began, self.counted = time.monotonic(), 0
        for one in downloads:
            one.told = self.count

    def count(self, number: int) -> None:
        self.counted += number
        self.told(number)

    def take(self) -> tuple[Download, tuple[int, int]] | None:
        """The next piece; None where all is taken for now. They shrink towards the end, so that all connections finish together."""
        piece = min(self.most, max(self.least, (self.total - self.counted) // self.shares))
        with self.lock:
            while self.ready:
                if (span := self.ready[0].take(piece)) is not None:
                    return self.ready[0], span
                self.ready.popleft()  # all of it is taken; a damaged one comes back
            return None

    def ended(self, one: Download) -> None:
        """A file is believed, or is to be fetched once more."""
        with self.lock:
            if one.finished:
                self.left -= 1
            else:
                self.ready.append(one)

    def needed(self, number: int) -> bool:
        """Does it take a connection of this number too? The later ones wait to see what the first ones make."""
        if number < AT_FIRST:
            return True
        self.client.sleep(0.5)
        return self.counted <= FAST * (time.monotonic() - self.began)

    def work(self, number: int, done: Callable[[Entry, dict[str, Any]], None]) -> None:
        """What one connection does until nothing is left. Whatever goes wrong stops the others."""
        try:
            if not self.needed(number):
                return
            while not self.client.stop.is_set():
                job = self.take()
                if job is None:
                    if not self.left:
                        return
                    self.client.sleep(0.05)
                    continue
                one, (start, end) = job
                one.fetch(start, end)
                if one.leave():
                    one.complete(done)
                    self.ended(one)
        except Stopped:
            return
        except BaseException:
            self.client.stop.set()
            raise


def download(
    parts: list[Part],
    client: Client,
    told: Callable[[int], None],
    done: Callable[[Entry, dict[str, Any]], None],
) -> None:
    """Fetch every part; `told(n)` hears of bytes, `done(entry, row)` of each verified file before its rename.

    SourceFailed or Refusal ends it.
    """
    pieces = Pieces([Download(part, client) for part in parts], client, told)
    with concurrent.futures.ThreadPoolExecutor(pieces.threads) as workers:
        jobs = [workers.submit(pieces.work, number, done) for number in range(pieces.threads)]
    for part in parts:
        part.close()
    problems = [error for job in jobs if (error := job.exception())]
    for kind in (Refusal, OSError, SourceFailed, BaseException):
        for problem in problems:
            if isinstance(problem, kind):
                raise problem
