"""A file that is being fetched, and beside it the journal of the spans that are there."""

from __future__ import annotations

import bisect
import contextlib
import ctypes
import os
import struct
import threading
from typing import Any, Iterator

from ansible.module_utils.serving import processes
from ansible.module_utils.serving.files import fsync_dir, naming
from ansible.module_utils.serving.weights.client import BLOCK
from ansible.module_utils.serving.weights.listing import Entry

SYNC_EVERY = 256 << 20  # bytes between two syncs of a part: what a reboot can cost


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
        with naming(self.path):
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
