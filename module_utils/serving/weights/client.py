"""One HTTP client for everything that comes from outside: proxies, redirects, tokens, tries and their pauses.

What a server sends is bounded in time and in size, and whatever goes wrong is a Transient (worth another try) or a SourceFailed.
"""

from __future__ import annotations

import http.client
import os
import random
import re
import threading
import time
import urllib.parse
import urllib.request
from typing import Any, Callable, ClassVar, Iterator, NamedTuple

from ansible.module_utils.serving.deadlines import HELD, PER_FILE, WATCH, Cord, Limits, Pace, pool_classes
from ansible.module_utils.serving.files import human
from ansible.module_utils.serving.weights.answers import (
    Answer,
    Stopped,
    Transient,
    check_plain,
    number,
    origin,
    plain,
    retry_after,
)
from ansible.module_utils.serving.weights.listing import Entry, SourceFailed

BLOCK = 1 << 20  # bytes written at a time
STORED = 1.0  # seconds until what has come is with its owner
AGAIN = (408, 425, 429, 500, 502, 503, 504)


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
        self.pace = Pace(self.limits.window)
        self.until: float | None = None  # when all of it must have come, by the monotonic clock
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
                    "timeout": urllib3.Timeout(connect=self.limits.connect, read=self.limits.stall),
                    "ca_certs": os.environ.get("SSL_CERT_FILE") or os.environ.get("REQUESTS_CA_BUNDLE") or None,
                    **self.options,
                }
                if proxy:
                    parts = urllib.parse.urlsplit(proxy if "://" in proxy else "http://" + proxy)
                    secret = "%s:%s" % (parts.username, parts.password or "") if parts.username else None
                    asked = urllib3.make_headers(proxy_basic_auth=urllib.parse.unquote(secret)) if secret else None
                    host = parts._replace(netloc=parts.netloc.rpartition("@")[2])
                    found: Any = urllib3.ProxyManager(host.geturl(), proxy_headers=asked, **given)
                else:
                    found = urllib3.PoolManager(**given)
                found.pool_classes_by_scheme = pool_classes()
                self.pools[proxy] = found
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

    def ask(self, method: str, url: str, headers: dict[str, str], until: float | None) -> Answer:
        """One request, no redirect followed; its head has come within `answer` seconds."""
        import urllib3

        cord = Cord(self.limits.answer)
        if until is not None:
            cord.until = min(cord.until, until)
        HELD.cord = cord
        WATCH.add(cord)
        try:
            found = self.pool(url).request(
                method,
                url,
                headers={"Accept-Encoding": "identity", "User-Agent": "vllm-ansible", **headers},
                preload_content=False,
                decode_content=False,
                redirect=False,
            )
            return Answer(found, cord, self.limits, until)
        except (urllib3.exceptions.HTTPError, OSError, http.client.HTTPException) as error:
            WATCH.discard(cord)
            if cord.pulled:
                raise Transient("no answer within %g s" % self.limits.answer) from None
            raise Transient(plain(error)) from None
        except Exception as error:  # an address that is none, a name that is too long, a proxy of another kind
            WATCH.discard(cord)
            raise SourceFailed("%s can't be asked: %s" % (origin(url)[1][:200] or "it", plain(error))) from None
        finally:
            HELD.cord = None

    def open(
        self,
        url: str,
        headers: dict[str, str],
        until: float | None = None,
        method: str = "GET",
        good: Callable[[int], bool] = lambda status: status in (200, 206),
    ) -> Answer:
        """The answer, its body not read yet; with `until` all of it must have come by then.

        Follows redirects; another host never gets the hub's token. Transient or SourceFailed for a status that isn't `good`.
        """
        at = self.moved.get(url, url)
        cached = at != url
        for _ in range(6):
            answer = self.ask(method, at, {**self.headers_for(at), **headers}, until)
            try:
                if answer.status in (301, 302, 303, 307, 308):
                    self.check_expected(at, answer)
                    target = self.target(at, answer)
                    answer.skip()
                    at = target
                    continue
                if answer.status in AGAIN:
                    raise Transient("HTTP %d" % answer.status, retry_after(answer.headers.get("Retry-After")))
                if cached and answer.status in (401, 403, 404, 410):  # a signed address that has expired
                    self.moved.pop(url, None)
                    raise Transient("HTTP %d of a redirect that has expired" % answer.status, 0)
                if good(answer.status):
                    if at == url:
                        self.check_expected(at, answer)
                    self.moved[url] = at
                    return answer
                raise SourceFailed(
                    "HTTP %d: %s" % (answer.status, self.refusals.get(answer.status, answer.reason[:200]))
                )
            except BaseException:
                answer.skip()
                raise
        raise SourceFailed("more than 5 redirects")

    @staticmethod
    def target(at: str, answer: Answer) -> str:
        """Where a redirect leads. SourceFailed where none may lead."""
        location = answer.headers.get("Location")
        if not location:
            raise SourceFailed("HTTP %d without saying where to" % answer.status)
        try:
            found = str(urllib.parse.urljoin(at, location))
        except ValueError as error:
            raise SourceFailed("it redirects to %r (%s)" % (location[:200], error)) from None
        if origin(found)[0] not in ("http", "https") or (origin(at)[0], origin(found)[0]) == ("https", "http"):
            raise SourceFailed(
                "%s redirects from %s to %s" % (origin(at)[1], origin(at)[0], origin(found)[0][:20] or "nowhere")
            )
        return found

    def check_expected(self, at: str, answer: Any) -> None:
        """The hub's own answers must be of the commit that was listed."""
        for name, want in self.expect.items():
            found = answer.headers.get(name)
            if origin(at) == self.home and found not in (None, want):
                raise SourceFailed(
                    "the revision moved while it was fetched: %s is %s, listed was %s" % (name, found, want)
                )

    def tries(self, what: str) -> Iterator[Callable[[Exception | None, int], None]]:
        """Tries with growing pauses: for each, a function to be told its outcome (None: done) and how many bytes it brought."""
        failures = 0
        while True:
            outcome: list[tuple[Exception | None, int]] = []
            self.pause()
            self.pace.add(0)
            began, before = time.monotonic(), self.pace.total
            yield lambda problem, moved, box=outcome: box.append((problem, moved))  # type: ignore[misc]
            problem, moved = outcome[0]
            if problem is None:
                return
            self.check_time(what)
            self.check_pace()
            due = self.limits.least * max(1.0, time.monotonic() - began)
            failures = 1 if moved and max(moved, self.pace.total - before) >= due else failures + 1
            if failures > self.limits.retries:
                raise SourceFailed("%s: %s, %d times in a row without progress" % (what, problem, failures))
            wait = problem.wait if isinstance(problem, Transient) else None
            if wait is not None and wait > self.limits.wait:
                raise SourceFailed(
                    "%s: %s, and it asks to wait %d s (limit %d s)" % (what, problem, wait, self.limits.wait)
                )
            if wait:  # the server speaks for all connections
                self.not_before = max(self.not_before, time.monotonic() + wait)
                self.waiting = "%s: waits %.0f s as asked" % (problem, wait) if wait >= 1 else ""
            else:
                self.sleep(min(30.0, 0.5 * 2 ** (failures - 1)) * random.uniform(0.5, 1.0))  # noqa: S311 (spreads tries)

    def check_time(self, what: str) -> None:
        if self.until is not None and time.monotonic() > self.until:
            raise SourceFailed("%s: not all of it came within %g s" % (what, self.limits.listing))

    def check_pace(self) -> None:
        """SourceFailed if this source is slow and another one remains."""
        rate = self.pace.rate() if self.limits.others and self.until is None else None
        if rate is not None and rate < self.limits.slow:
            raise SourceFailed(
                "it is slow, %s a second over %d s where %s is the least while another source remains"
                % (human(rate), self.limits.window, human(self.limits.slow))
            )

    def sleep(self, seconds: float) -> None:
        if self.stop.wait(seconds):
            raise Stopped

    def pause(self) -> None:
        """Wait until the server may be asked again."""
        while (left := self.not_before - time.monotonic()) > 0:
            self.check_time("its answer")
            self.sleep(left)
            self.pace.begin()
        self.waiting = ""
        if self.stop.is_set():
            raise Stopped

    def read(self, url: str, limit: int, start: int = 0, end: int | None = None, size: int | None = None) -> bytes:
        """A small document, or bytes [start, end) of a file of `size` bytes."""
        for tell in self.tries(urllib.parse.urlsplit(url).path):
            data = bytearray()
            try:
                if end is None:
                    data += self.document(url, limit).body
                else:
                    self.stream(url, start, end, size, Gather(data))
                tell(None, 0)
            except Transient as problem:
                tell(problem, 0)
        return bytes(data)

    def document(
        self, url: str, limit: int, headers: dict[str, str] | None = None, method: str = "GET", any_status: bool = False
    ) -> Document:
        """A small document, one try: all of it comes within `document` seconds. With `any_status` a refusal is an answer too."""
        until = time.monotonic() + self.limits.document
        if self.until is not None:
            until = min(until, self.until)
        good = (lambda status: True) if any_status else (lambda status: bool(status == 200))
        with self.open(url, headers or {}, until, method, good) as answer:
            body = answer.whole(limit, url) if method == "GET" else b""
            return Document(answer.status, dict(answer.headers), body)

    def stream(self, url: str, start: int, end: int, size: int | None, sink: Callable[[int, memoryview], int]) -> None:
        """GET bytes [start, end) of a file of `size` bytes into `sink(offset, block) -> bytes taken`, in order.

        What `sink` does not take comes again with the next block. Transient when it ends early or stalls: whatever had
        come in until then has been given to `sink`.
        """
        wanted = {} if start == 0 and end == size else {"Range": "bytes=%d-%d" % (start, end - 1)}
        with self.open(url, wanted) as answer:
            skip = self.check_length(answer, start, size)
            buffer = memoryview(bytearray(BLOCK))
            pace = Stalled(self)
            what = urllib.parse.urlsplit(url).path
            while skip:
                count = answer.receive(buffer[: min(BLOCK, skip)])
                if not count:
                    raise Transient("the connection was cut")
                skip -= count
                pace.came(0, count)
                self.check_time(what)
            at, held = start, 0
            stored = time.monotonic()
            while at + held < end:
                problem: Exception | None = None
                count = 0
                # What has come is stored within a second, whether more comes or not: kill -9 costs no more.
                if not held or answer.wait(stored + STORED - time.monotonic()):
                    try:
                        count = answer.receive(buffer[held : min(BLOCK, end - at)])
                        if not count:
                            had = human(at + held - start)
                            problem = Transient("the connection was cut after %s of %s" % (had, human(end - start)))
                        else:
                            pace.came(count, count)
                    except (Transient, SourceFailed) as error:
                        problem = error
                held += count
                self.check_time(what)
                now = time.monotonic()
                due = problem or self.stop.is_set() or held == BLOCK or at + held == end or now - stored >= STORED
                if held and due:
                    taken = sink(at, buffer[:held])
                    buffer[: held - taken] = bytes(buffer[taken:held])
                    at, held = at + taken, held - taken
                    stored = time.monotonic()
                if problem:
                    raise problem
                if self.stop.is_set():
                    raise Stopped
                if at + held == end and held:
                    raise Transient("an incomplete value at the end of a piece")
            self.pace.add(PER_FILE)
            answer.done()

    @staticmethod
    def check_length(answer: Answer, start: int, size: int | None) -> int:
        """Bytes to skip before `start` (a server without ranges sends the whole). SourceFailed if the size is another."""
        check_plain(answer)
        total = number(answer.headers.get("Content-Length"), "Content-Length")
        if answer.status == 206:
            given = answer.headers.get("Content-Range") or ""
            match = re.fullmatch(r"(?i)bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", given)
            if not match or int(match.group(1)) != start:
                raise Transient("its answer is of range %r" % given[:80])
            total = None if match.group(3) == "*" else int(match.group(3))
        if size is not None and total is not None and total != size:
            raise SourceFailed("its server has %d bytes, its listing says %d" % (total, size))
        return start if answer.status == 200 else 0


class Document(NamedTuple):
    """A small answer, whole."""

    status: int
    headers: dict[str, str]
    body: bytes


class Stalled:
    """Judges one connection by what it brings in `stall` seconds; bytes are counted for the client as well."""

    def __init__(self, client: Client) -> None:
        self.client, self.since, self.moved = client, time.monotonic(), 0
        self.before = client.pace.total

    def came(self, useful: int, count: int) -> None:
        """`count` bytes came, `useful` of them wanted. Transient if the line is as good as dead, SourceFailed if the source is slow.

        Below `least` a connection counts as stalled when the others have the line for themselves, or when all of them together
        bring no more: an honest line of 4 KB a second, shared by many connections, is neither.
        """
        client, limits = self.client, self.client.limits
        client.pace.add(useful)
        self.moved += count
        seconds = time.monotonic() - self.since
        if seconds < limits.stall:
            return
        client.check_pace()
        everything = max(client.pace.total - self.before, self.moved)
        crowded_out = self.moved * limits.connections * 4 < everything
        if self.moved < limits.least * seconds and (crowded_out or everything < limits.least * seconds):
            raise Transient("it stalls: %s in %d s" % (human(self.moved), seconds))
        self.since, self.moved, self.before = time.monotonic(), 0, client.pace.total
