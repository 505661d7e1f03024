"""Move files over HTTP: parallel ranges, resumed to the byte after kill -9 or a reboot, verified before they are believed.

Each file lies under `<name>.part` beside a journal of the spans that are there. A reboot may lose what was written but
not synced, so spans of an earlier boot count only where a sync is recorded after them. A file is finished when its
bytes, read in order, have the digest that its source states. Then it is synced and renamed.
"""

from __future__ import annotations

import bisect
import concurrent.futures
import contextlib
import ctypes
import email.utils
import hashlib
import http.client
import os
import random
import re
import struct
import threading
import time
import urllib.parse
import urllib.request
from typing import Any, Callable, ClassVar, Iterator

from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.files import fsync_dir, human
from ansible.module_utils.serving.hubs import Entry, Listing, SourceFailed

BLOCK = 1 << 20  # bytes written at a time
READ_MIN = (
    64 << 10
)  # bytes asked for at a time; a read returns when it is full, so slow links read little, fast ones a block
AT_FIRST = 4  # connections; the others join after half a second, unless these alone make FAST bytes a second
FAST = 256 << 20
SYNC_EVERY = 256 << 20  # bytes between two syncs of a part: what a reboot can cost
PIECE_MIN, PIECE_MAX = 1 << 20, 64 << 20
AGAIN = (408, 425, 429, 500, 502, 503, 504)


class Transient(Exception):
    """Worth another try, after `wait` seconds if the server named them."""

    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


class Stopped(Exception):
    """Another worker has failed; this one ends without a word."""


class Limits:
    """What a transfer may take: connections, seconds without progress, tries without progress, the longest wait asked for.

    With `by_file` the connections work on about one file at a time, for others who wait for whole files.
    """

    def __init__(
        self, connections: int = 16, stall: float = 30, retries: int = 6, wait: float = 600, by_file: bool = False
    ) -> None:
        self.connections, self.stall, self.retries, self.wait = connections, stall, retries, wait
        self.by_file = by_file


def origin(url: str) -> tuple[str, str, int | None]:
    parts = urllib.parse.urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or {"http": 80, "https": 443}.get(parts.scheme)


class Gather:
    """A sink that keeps everything in memory."""

    def __init__(self, data: bytearray) -> None:
        self.data = data

    def __call__(self, _offset: int, block: memoryview) -> int:
        self.data += block
        return len(block)


class Client:
    """HTTP as an operator's network needs it: proxies and CA from the environment, tokens for the hub's own host only."""

    refusals: ClassVar[dict[int, str]] = {
        401: "it needs a token",
        403: "the token may not read it",
        404: "it is not there (any more)",
        416: "it is shorter than its listing says",
    }

    def __init__(
        self, headers: dict[str, str], home: str, expect: dict[str, str] | None = None, limits: Limits | None = None
    ) -> None:
        self.headers, self.home, self.expect = headers, origin(home), expect or {}
        self.limits = limits or Limits()
        self.stop = threading.Event()
        self.moved: dict[str, str] = {}
        self.options: dict[str, Any] = {}  # more of urllib3's
        self.pools: dict[str, Any] = {}
        self.lock = threading.Lock()
        self.not_before = 0.0
        self.waiting = ""

    def pool(self, url: str) -> Any:
        """The connections to use for a URL: through the environment's proxy, unless NO_PROXY names the host."""
        import urllib3

        parts = urllib.parse.urlsplit(url)
        proxy = self.proxy(parts)
        with self.lock:
            if proxy not in self.pools:
                given: dict[str, Any] = {
                    "maxsize": self.limits.connections,
                    "block": False,
                    "retries": False,
                    "timeout": urllib3.Timeout(connect=min(20, self.limits.stall), read=self.limits.stall),
                    "ca_certs": os.environ.get("SSL_CERT_FILE") or os.environ.get("REQUESTS_CA_BUNDLE") or None,
                    **self.options,
                }
                if proxy:
                    parts = urllib.parse.urlsplit(proxy if "://" in proxy else "http://" + proxy)
                    secret = "%s:%s" % (parts.username, parts.password or "") if parts.username else None
                    asked = urllib3.make_headers(proxy_basic_auth=urllib.parse.unquote(secret)) if secret else None
                    host = parts._replace(netloc=parts.netloc.rpartition("@")[2])
                    self.pools[proxy] = urllib3.ProxyManager(host.geturl(), proxy_headers=asked, **given)
                else:
                    self.pools[proxy] = urllib3.PoolManager(**given)
            return self.pools[proxy]

    def proxy(self, parts: urllib.parse.SplitResult) -> str:
        found = urllib.request.getproxies().get(parts.scheme) or ""
        return "" if found and urllib.request.proxy_bypass(parts.hostname or "") else found

    def headers_for(self, url: str) -> dict[str, str]:
        """Headers that only the source itself may get."""
        return self.headers if origin(url) == self.home else {}

    def damaged(self, entry: Entry) -> bool:
        """Hears of a file whose bytes have another digest; True if it may be fetched once more than usual."""
        return False

    def open(self, url: str, headers: dict[str, str]) -> Any:
        """The answer to a GET, its body not read yet. Follows redirects; another host never gets the hub's token."""
        import urllib3

        at = self.moved.get(url, url)
        cached = at != url
        for _ in range(6):
            mine = self.headers_for(at)
            try:
                answer = self.pool(at).request(
                    "GET",
                    at,
                    headers={"Accept-Encoding": "identity", "User-Agent": "vllm-ansible", **mine, **headers},
                    preload_content=False,
                    decode_content=False,
                    redirect=False,
                )
            except (urllib3.exceptions.HTTPError, OSError) as error:
                raise Transient(plain(error)) from None
            if answer.status in (301, 302, 303, 307, 308):
                target = urllib.parse.urljoin(at, answer.headers.get("Location") or "")
                self.check_expected(at, answer)
                answer.drain_conn()
                answer.release_conn()
                if origin(target)[0] not in ("http", "https") or (origin(at)[0], origin(target)[0]) == (
                    "https",
                    "http",
                ):
                    raise SourceFailed("%s redirects from %s to %s" % (origin(at)[1], origin(at)[0], origin(target)[0]))
                at = target
                continue
            if answer.status in (200, 206):
                if at == url:
                    self.check_expected(at, answer)
                self.moved[url] = at
                return answer
            wait = retry_after(answer.headers.get("Retry-After"))
            answer.drain_conn()
            answer.release_conn()
            if cached and answer.status in (401, 403, 404, 410):  # a signed address that has expired
                self.moved.pop(url, None)
                raise Transient("HTTP %d of a redirect that has expired" % answer.status, 0)
            if answer.status in AGAIN:
                raise Transient("HTTP %d" % answer.status, wait)
            reason = self.refusals.get(answer.status, answer.reason or "refused")
            raise SourceFailed("HTTP %d: %s" % (answer.status, reason))
        raise SourceFailed("more than 5 redirects")

    def check_expected(self, at: str, answer: Any) -> None:
        """The hub's own answers must be of the commit that was listed."""
        for name, want in self.expect.items():
            found = answer.headers.get(name)
            if origin(at) == self.home and found not in (None, want):
                raise SourceFailed(
                    "the revision moved while it was fetched: %s is %s, listed was %s" % (name, found, want)
                )

    def tries(self, what: str) -> Iterator[Callable[[Exception | None, bool], None]]:
        """Tries with growing pauses: for each, a function to be told its outcome (None: done) and whether it got further."""
        failures = 0
        while True:
            outcome: list[tuple[Exception | None, bool]] = []
            self.pause()
            yield lambda problem, progress, box=outcome: box.append((problem, progress))  # type: ignore[misc]
            problem, progress = outcome[0]
            if problem is None:
                return
            failures = 1 if progress else failures + 1
            if failures > self.limits.retries:
                raise SourceFailed("%s: %s, %d times in a row without progress" % (what, problem, failures))
            wait = problem.wait if isinstance(problem, Transient) else None
            if wait is not None and wait > self.limits.wait:
                raise SourceFailed(
                    "%s: %s, and it asks to wait %d s (limit %d s)" % (what, problem, wait, self.limits.wait)
                )
            if wait is not None:  # the server speaks for all connections
                self.not_before = max(self.not_before, time.monotonic() + wait)
                self.waiting = "%s: waits %.0f s as asked" % (problem, wait) if wait >= 1 else ""
            else:
                self.sleep(min(30.0, 0.5 * 2 ** (failures - 1)) * random.uniform(0.5, 1.0))  # noqa: S311 (spreads tries)

    def sleep(self, seconds: float) -> None:
        if self.stop.wait(seconds):
            raise Stopped

    def pause(self) -> None:
        """Wait until the server may be asked again."""
        while (left := self.not_before - time.monotonic()) > 0:
            self.sleep(left)
        self.waiting = ""
        if self.stop.is_set():
            raise Stopped

    def read(self, url: str, limit: int, start: int = 0, end: int | None = None, size: int | None = None) -> bytes:
        """A small document, or bytes [start, end) of a file of `size` bytes."""
        for tell in self.tries(urllib.parse.urlsplit(url).path):
            data = bytearray()
            try:
                if end is None:
                    answer = self.open(url, {})
                    while block := answer.read(BLOCK):
                        data += block
                        if len(data) > limit:
                            raise SourceFailed("%s is larger than %s" % (url, human(limit)))
                    answer.release_conn()
                else:
                    self.stream(url, start, end, size, Gather(data))
                tell(None, True)
            except Transient as problem:
                tell(problem, False)
            except (OSError, http.client.HTTPException, ValueError) as error:
                tell(Transient(plain(error)), False)
        return bytes(data)

    def stream(self, url: str, start: int, end: int, size: int | None, sink: Callable[[int, memoryview], int]) -> None:
        """GET bytes [start, end) of a file of `size` bytes into `sink(offset, block) -> bytes taken`, in order.

        What `sink` does not take comes again with the next block. Transient when it ends early or stalls: whatever had
        come in until then has been given to `sink`.
        """
        wanted = {} if start == 0 and end == size else {"Range": "bytes=%d-%d" % (start, end - 1)}
        answer = self.open(url, wanted)
        try:
            skip = self.check_length(answer, start, size)
            # urllib3's own read copies each block twice; its underlying http.client response reads into ours.
            raw = answer._fp
            buffer = memoryview(bytearray(BLOCK))
            while skip:
                count = raw.readinto(buffer[: min(BLOCK, skip)])
                if not count:
                    raise Transient("the connection was cut")
                skip -= count
            at, held, moved = start, 0, 0
            since = stored = before = time.monotonic()
            read = READ_MIN
            while at + held < end:
                problem: Exception | None = None
                count = 0
                try:
                    count = raw.readinto(buffer[held : min(BLOCK, held + read, end - at)])
                    if not count:
                        problem = Transient(
                            "the connection was cut after %s of %s" % (human(at + held - start), human(end - start))
                        )
                except (OSError, http.client.HTTPException) as error:
                    problem = Transient(plain(error))
                held += count
                moved += count
                now = time.monotonic()
                read = min(BLOCK, read * 2) if now - before < 0.05 else max(READ_MIN, read // 2)
                before = now
                if now - since > self.limits.stall:
                    if moved < 1024 * self.limits.stall:
                        problem = problem or Transient("it stalls: %s in %d s" % (human(moved), now - since))
                    since, moved = now, 0
                if problem or self.stop.is_set() or held == BLOCK or at + held == end or now - stored > 1:
                    stored = now  # kill -9 costs a second of transfer at most
                    taken = sink(at, buffer[:held])
                    buffer[: held - taken] = bytes(buffer[taken:held])
                    at, held = at + taken, held - taken
                if problem:
                    raise problem
                if self.stop.is_set():
                    raise Stopped
                if at + held == end and held:
                    raise Transient("an incomplete value at the end of a piece")
            if raw.isclosed():  # the whole answer was read: its connection serves the next piece
                answer.release_conn()
        finally:
            answer.close()

    @staticmethod
    def check_length(answer: Any, start: int, size: int | None) -> int:
        """Bytes to skip before `start` (a server without ranges sends the whole). SourceFailed if the size is another."""
        encoding = answer.headers.get("Content-Encoding")
        if encoding not in (None, "", "identity"):
            raise SourceFailed("its server sends files encoded (%s) although asked not to" % encoding)
        if answer.status == 206:
            match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", answer.headers.get("Content-Range") or "")
            if not match or int(match.group(1)) != start:
                raise Transient("its answer is of range %r" % answer.headers.get("Content-Range"))
            total = match.group(3)
        else:
            total = answer.headers.get("Content-Length") or "*"
        if size is not None and total != "*" and int(total) != size:
            raise SourceFailed("its server has %s bytes, its listing says %d" % (total, size))
        return start if answer.status == 200 else 0


def plain(error: BaseException) -> str:
    """An error of the network in words, without object addresses."""
    text = re.sub(r"<[^<>]* at 0x[0-9a-f]+>|\w+(?:Pool|Connection)\([^)]*\)", "", str(error)).strip(" :,()'\"")
    return text[:300] or type(error).__name__


def retry_after(value: str | None) -> float | None:
    """Seconds that a Retry-After header asks for; it holds seconds or a date."""
    if not value:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):
        return None


def boot_id() -> bytes:
    try:
        with open("/proc/sys/kernel/random/boot_id", "rb") as source:
            return source.read().strip()
    except OSError:
        return b"-"


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
                    tell(None, True)
                except Transient as problem:
                    tell(problem, at > before)
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

    def next_piece() -> tuple[Download, tuple[int, int]] | None:
        # Pieces shrink towards the end, so that all connections finish together.
        piece = min(most, max(least, (total - counted) // (connections * 3)))
        with lock:
            for found in downloads:
                if (span := found.take(piece)) is not None:
                    return found, span
            return None

    began, counted = time.monotonic(), 0

    def count(number: int) -> None:
        nonlocal counted
        counted += number
        told(number)

    for one in downloads:
        one.told = count

    def work(number: int) -> None:
        try:
            if number >= AT_FIRST:
                client.sleep(0.5)
                if counted > FAST * (time.monotonic() - began):
                    return
            while not client.stop.is_set():
                job = next_piece()
                if job is None:
                    if all(d.finished for d in downloads):
                        return
                    client.sleep(0.05)
                    continue
                one, (start, end) = job
                one.fetch(start, end)
                if one.leave():
                    one.complete(done)
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
