"""Callers of a gateway for tests and figures: so many requests a second over kept connections, half of them streams, and what each came to."""

from __future__ import annotations

import asyncio
import collections
import itertools
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import aiohttp

MOST = 150  # requests at a time: on a machine that is too slow for the rate, callers ask less and are not starved themselves
PATIENCE = 120  # seconds after the last request in which all must have ended
Body = Callable[[float], dict[str, Any]]


class Outcome(NamedTuple):
    """A request: when it began and ended (monotonic seconds), whether it was a stream, and `ok` or what went wrong."""

    began: float
    ended: float
    stream: bool
    words: str


def stub_body(seconds: float) -> dict[str, Any]:
    """What makes the stand-in engines take so long for their answer."""
    return {"messages": [{"role": "user", "content": "2+2"}], "stub_seconds": seconds}


def durations(longest: float) -> Iterator[float]:
    """Seconds that requests take, for ever: most are short, two of a hundred are the longest."""
    for number in itertools.count():
        yield longest if number % 100 in (7, 58) else longest / 4 if number % 25 == 3 else (0.1, 0.3, 1.0)[number % 3]


class Load:
    """Callers who ask from `with` to its end. `rate` is requests a second, `longest` the seconds of the longest one; then all are in `outcomes`."""

    def __init__(
        self, url: str, key: str, ca: str = "", rate: float = 50, longest: float = 8, model: str = "demo", body: Body = stub_body
    ) -> None:  # fmt: skip
        self.url, self.key, self.model, self.rate, self.longest, self.body = url, key, model, rate, longest, body
        self.ssl: Any = ssl.create_default_context(cafile=ca) if ca else False
        self.outcomes: list[Outcome] = []
        self.done = threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self.run()))

    async def ask(self, session: aiohttp.ClientSession, stream: bool, seconds: float) -> str:
        body = {"model": self.model, "stream": stream, **self.body(seconds)}
        async with session.post(self.url, data=json.dumps(body)) as answer:
            text = await answer.text()
        whole = answer.status == 200 and ("[DONE]" in text if stream else "choices" in text)
        return "ok" if whole else f"{answer.status} {answer.headers.get('Retry-After')} {text[-200:]}"

    async def one(self, session: aiohttp.ClientSession, stream: bool, seconds: float) -> None:
        began = time.monotonic()
        try:
            words = await self.ask(session, stream, seconds)
        except (aiohttp.ClientError, OSError, TimeoutError) as problem:
            words = repr(problem)
        self.outcomes.append(Outcome(began, time.monotonic(), stream, words))

    async def run(self) -> None:
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        asked: set[asyncio.Task[None]] = set()
        limit = aiohttp.ClientTimeout(total=self.longest + PATIENCE)
        connections = aiohttp.TCPConnector(limit=0, ssl=self.ssl)
        async with aiohttp.ClientSession(connector=connections, headers=headers, timeout=limit) as session:
            for number, seconds in enumerate(durations(self.longest)):
                await asyncio.sleep(1 / self.rate)
                while len(asked) >= MOST and not self.done.is_set():
                    asked = (await asyncio.wait(asked, timeout=1, return_when=asyncio.FIRST_COMPLETED))[1]
                if self.done.is_set():
                    break
                asked.add(asyncio.create_task(self.one(session, number % 2 == 0, seconds)))
                asked = {task for task in asked if not task.done()}
            await asyncio.gather(*asked)

    def __enter__(self) -> Load:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.thread.join(self.longest + 2 * PATIENCE)

    def told(self) -> dict[str, int]:
        """How many requests came to what, `ok` among them."""
        return dict(collections.Counter(outcome.words for outcome in self.outcomes))

    def whole(self) -> None:
        """Assert that requests were made and that none failed or was cut."""
        assert len(self.outcomes) > 20 and set(self.told()) == {"ok"}, self.told()

    def gap(self) -> float:
        """The longest time, in seconds, in which no request ended well."""
        ends = sorted(outcome.ended for outcome in self.outcomes if outcome.words == "ok")
        return max((after - before for before, after in itertools.pairwise(ends)), default=0.0)
