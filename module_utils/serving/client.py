"""One HTTP client for everything that comes from outside: proxies, redirects, tokens, tries and their pauses.

What a server sends is bounded in time and in size, and whatever goes wrong is a Transient (worth another try) or a SourceFailed.
"""

from __future__ import annotations

import email.utils
import http.client
import os
import random
import re
import threading
import time
import urllib.parse
import urllib.request
from typing import Any, Callable, ClassVar, Iterator

from ansible.module_utils.serving.files import human
from ansible.module_utils.serving.hubs import Entry, SourceFailed

BLOCK = 1 << 20  # bytes written at a time
READ_MIN = (
    64 << 10
)  # bytes asked for at a time; a read returns when it is full, so slow links read little, fast ones a block
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
