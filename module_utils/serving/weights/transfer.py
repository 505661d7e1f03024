"""Move files over HTTP: parallel ranges, resumed to the byte after kill -9 or a reboot, verified before they are believed.

Each file lies under `<name>.part` beside a journal of the spans that are there. A reboot may lose what was written but
not synced, so spans of an earlier boot count only where a sync is recorded after them. A file is finished when its
bytes, read in order, have the digest that its source states. Then it is synced and renamed.
"""

from __future__ import annotations

import bisect
import collections
import concurrent.futures
import contextlib
import ctypes
import hashlib
import os
import struct
import threading
import time
from typing import Any, Callable, Iterator

from ansible.module_utils.serving import processes
from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.files import fsync_dir
from ansible.module_utils.serving.weights.client import BLOCK, Client, Stopped, Transient
from ansible.module_utils.serving.weights.hubs import Entry, Listing, SourceFailed

AT_FIRST = 4  # connections; the others join after half a second, unless these alone make FAST bytes a second
FAST = 256 << 20
SYNC_EVERY = 256 << 20  # bytes between two syncs of a part: what a reboot can cost
PIECE_MIN, PIECE_MAX = 1 << 20, 64 << 20


def boot_id() -> bytes:
    """This boot, as a journal names it."""
    return processes.boot_id().encode() or b"-"


def begin_writing(fd: int, offset: int, count: int) -> None:
    """Let the disk begin with these bytes now, so that the last sync is short. Where that can't be done, it does it all."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).sync_file_range(fd, ctypes.c_int64(offset), ctypes.c_int64(count), 2)  # SYNC_FILE_RANGE_WRITE


class Part:
    """A file that is being fetched, and the journal of which of its spans [start, end) are there."""

    inline = True  # what is on disk is what came in, so it can be digested before it is written
    RECORD = struct.Struct("<4sQQI")  # tag, two numbers, length of what follows

    def __init__(self, path: str, entry: Entry) -> None:
        self.final, self.path, self.log = path, path + ".part", path + ".journal"
        self.entry = entry
        self.identity = entry.sha256 or entry.content  # what the journal is about
        self.lock = threading.Lock()
        self.spans: list[tuple[int, int, int, int]] = []  # start, end, place and length of its residue in the journal
        self.unsynced = 0
        self.begin = 0  # where the fetch begins
        self.size = entry.size  # of the result
        self.anew = ""  # why what an earlier run has left was not used
        os.makedirs(os.path.dirname(path), exist_ok=True)

    def open(self) -> None:
        self.prepare()
        self.load()
        self.out = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self.journal = os.open(self.log, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        os.ftruncate(self.journal, self.length)
        if not self.length:
            os.ftruncate(self.out, 0)
            self.record(b"file", self.entry.size, 0, self.identity.encode())
        os.ftruncate(self.out, self.size)
        self.record(b"boot", 0, 0, boot_id())

    def prepare(self) -> None:
        """Whatever must be known before the first span."""

    def load(self) -> None:
        """Read the journal: `spans`, and `length`, its good bytes. A torn end is cut off; one of another file is dropped."""
        self.spans, self.length = [], 0
        if not os.path.exists(self.path) or not os.path.exists(self.log):
            return
        found: list[tuple[int, bytes, tuple[int, int, int, int]]] = []
        durable, boot, place = 0, b"", 0
        with open(self.log, "rb") as source:
            total = os.fstat(source.fileno()).st_size
            while len(head := source.read(self.RECORD.size)) == self.RECORD.size:
                tag, a, b, n = self.RECORD.unpack(head)
                after = source.tell() + n
                if after > total or tag not in (b"file", b"boot", b"have", b"sync"):
                    break
                if tag == b"have":
                    found.append((place, boot, (a, b, after - n, n)))
                    source.seek(after)
                else:
                    text = source.read(n)
                    if (place == 0) != (tag == b"file") or (
                        tag == b"file" and (text, a) != (self.identity.encode(), self.entry.size)
                    ):
                        return
                    boot = text if tag == b"boot" else boot
                    durable = a if tag == b"sync" else durable
                place = after
        wrong = next((span for _, _, span in found if not self.sound(span[0], span[1], span[3])), None)
        if wrong:
            self.anew = "the journal of the unfinished %s is damaged (bytes %d to %d of %d); it is fetched anew" % (
                self.entry.name,
                wrong[0],
                wrong[1],
                self.entry.size,
            )
            return
        self.length = place
        now = boot_id()
        for where, boot, span in found:
            if boot == now or where < durable:
                bisect.insort(self.spans, span)

    def sound(self, start: int, end: int, length: int) -> bool:
        """Can this be a span of the journal, with `length` bytes kept beside it?"""
        size: int = self.entry.size
        return 0 <= start < end <= size

    def record(self, tag: bytes, a: int, b: int, text: bytes = b"") -> int:
        """Append to the journal; returns where `text` lies in it."""
        data = self.RECORD.pack(tag, a, b, len(text)) + text
        place = self.length + self.RECORD.size
        if os.pwrite(self.journal, data, self.length) != len(data):
            raise OSError(28, "No space left on device", self.log)
        self.length += len(data)
        return place

    def missing(self) -> list[tuple[int, int]]:
        """Spans that are still to be fetched, in order."""
        gaps, at = [], self.begin
        for start, end, _place, _length in self.spans:
            if start > at:
                gaps.append((at, start))
            at = max(at, end)
        if at < self.entry.size:
            gaps.append((at, self.entry.size))
        return gaps

    def floor(self, offset: int) -> int:
        """The nearest offset at or below that a piece may end at."""
        return offset

    def write(self, offset: int, data: memoryview) -> tuple[int, bytes]:
        """Put source bytes in their place: (how many were taken, what else is needed to have them back)."""
        done = 0
        while done < len(data):
            done += os.pwrite(self.out, data[done:], offset + done)
        begin_writing(self.out, offset, done)
        return done, b""

    def add(self, offset: int, data: memoryview) -> int:
        """Write a block and journal it. Returns how many bytes of it were taken."""
        taken, residue = self.write(offset, data)
        if taken:
            with self.lock:
                place = self.record(b"have", offset, offset + taken, residue)
                bisect.insort(self.spans, (offset, offset + taken, place, len(residue)))
                self.unsynced += taken
                due = self.unsynced >= SYNC_EVERY
                if due:
                    self.unsynced, covered = 0, self.length
            if due:
                os.fdatasync(self.out)
                with self.lock:
                    self.record(b"sync", covered, 0)
                os.fsync(self.journal)
        return taken

    def source_blocks(self, at: int) -> Iterator[tuple[int, Any]]:
        """(offset behind it, source bytes) of what is there without a gap from `at` on."""
        while True:
            with self.lock:
                index = bisect.bisect_right(self.spans, (at, 1 << 62, 0, 0)) - 1
                end = self.spans[index][1] if index >= 0 else 0
            if end <= at:
                return
            data = os.pread(self.out, min(BLOCK, end - at), at)
            if not data:
                raise OSError(5, "It became shorter", self.path)
            at += len(data)
            yield at, data

    def close(self) -> None:
        for name in ("out", "journal"):
            if hasattr(self, name):
                os.close(getattr(self, name))
                delattr(self, name)

    def drop(self) -> None:
        """Forget what was fetched."""
        self.close()
        for path in (self.path, self.log):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    def seal(self) -> int:
        """Durable and read-only. Returns its mtime in ns."""
        os.fsync(self.out)
        os.fchmod(self.out, 0o444)
        self.close()
        return os.stat(self.path).st_mtime_ns

    def publish(self) -> None:
        """Under its final name."""
        os.rename(self.path, self.final)
        fsync_dir(os.path.dirname(self.final))
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.log)

    def restart_digest(self) -> None:
        """The digest begins anew."""

    def about(self, source_sha256: str) -> dict[str, Any]:
        """The manifest's row, from the digest of the source."""
        return {"sha256": source_sha256, "bytes": self.size}


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


def download(
    listing: Listing,
    parts: list[Part],
    client: Client,
    told: Callable[[int], None],
    done: Callable[[Entry, dict[str, Any]], None],
) -> None:
    """Fetch every part; `told(n)` hears of bytes, `done(entry, row)` of each verified file before its rename.

    SourceFailed or Refusal ends it.

    Pieces of all files are shared out among `limits.connections` threads, so that one large file uses them all too.
    """
    downloads = [Download(part, client) for part in parts]
    total = sum(d.entry.size for d in downloads)
    connections = client.limits.connections
    least, most = PIECE_MIN, PIECE_MAX
    if client.limits.by_file:  # a slow connection must not hold up a whole file, so it gets little at a time
        most = min(most, max(PIECE_MIN // 4, max(d.entry.size for d in downloads) // (connections * 16)))
        least = min(least, most)
    lock = threading.Lock()
    ready, left = collections.deque(downloads), len(downloads)

    def next_piece() -> tuple[Download, tuple[int, int]] | None:
        # Pieces shrink towards the end, so that all connections finish together.
        piece = min(most, max(least, (total - counted) // (connections * 3)))
        with lock:
            while ready:
                if (span := ready[0].take(piece)) is not None:
                    return ready[0], span
                ready.popleft()  # all of it is taken; a damaged one comes back
            return None

    began, counted = time.monotonic(), 0

    def count(number: int) -> None:
        nonlocal counted
        counted += number
        told(number)

    for one in downloads:
        one.told = count

    def work(number: int) -> None:
        nonlocal left
        try:
            if number >= AT_FIRST:
                client.sleep(0.5)
                if counted > FAST * (time.monotonic() - began):
                    return
            while not client.stop.is_set():
                job = next_piece()
                if job is None:
                    if not left:
                        return
                    client.sleep(0.05)
                    continue
                one, (start, end) = job
                one.fetch(start, end)
                if one.leave():
                    one.complete(done)
                    with lock:
                        if one.finished:
                            left -= 1
                        else:
                            ready.append(one)
        except Stopped:
            return
        except BaseException:
            client.stop.set()
            raise

    with concurrent.futures.ThreadPoolExecutor(min(connections, max(1, total // PIECE_MIN + len(parts)))) as workers:
        jobs = [workers.submit(work, number) for number in range(workers._max_workers)]
    for part in parts:
        part.close()
    problems = [error for job in jobs if (error := job.exception())]
    for kind in (Refusal, OSError, SourceFailed):
        for problem in problems:
            if isinstance(problem, kind):
                raise problem
    if problems:
        raise problems[0]
