"""Serve this host's verified weights to the other hosts of a play: peer_server.py CONFIG.

    GET /v1/KEY                  what is here of this model and how far a fetch is
    GET /v1/KEY/files?commit=C   its files and their digests
    GET /v1/KEY/sha256/DIGEST    the bytes with this digest, in ranges

Nothing is served by name, so no path can lead elsewhere: only files of a manifest, or that a fetch under way has
verified. A caller needs an address of the play and the token of this run. Ends at a time limit, and when nobody asked
for long and nothing is fetched here. Its libraries are the standard one and aiohttp, which sends by sendfile.
"""

from __future__ import annotations

import asyncio
import contextlib
import glob
import hmac
import json
import os
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

from aiohttp import web

SUFFIX = "+float16"  # of a converted model's key and folder
BEAT = 10.0  # seconds after which a fetch that writes no progress is over


def read(path: str) -> Any:
    """A JSON file's content; None if there is none that can be read."""
    try:
        with open(path, "rb") as source:
            return json.loads(source.read())
    except (OSError, ValueError):
        return None


CACHE: dict[
    tuple[str, str], tuple[tuple[int, int, int], Any]
] = {}  # path and reader -> what the file was when it was read, what was in it


def once(path: str, reader: Any) -> Any:
    """What is in a file, read again only when it has changed: thousands of files of a model are asked for one by one."""
    try:
        stat = os.stat(path)
    except OSError:
        return None
    mark = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
    key = (path, reader.__name__)
    if CACHE.get(key, (None, None))[0] != mark:
        CACHE[key] = (mark, reader(path))
    return CACHE[key][1]


def by_digest(rows: Any) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if isinstance(row, dict):
            found.setdefault(str(row.get("sha256")), []).append(row)
    return found


def unchanged(folder: str, rows: Iterator[Any]) -> dict[str, dict[str, Any]]:
    """The rows whose files still are as they were when they were verified."""
    found = {}
    for row in rows:
        with contextlib.suppress(OSError, KeyError, TypeError):
            stat = os.stat(os.path.join(folder, row["name"]))
            if (stat.st_size, stat.st_mtime_ns) == (row["bytes"], row["mtime_ns"]):
                found[row["name"]] = row
    return found


def lines(path: str) -> Iterator[Any]:
    """Rows of a `.done` file; a torn line is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as source:
            for line in source:
                with contextlib.suppress(ValueError):
                    yield json.loads(line)
    except OSError:
        return


def digests_of(folder: str, published: bool) -> dict[str, list[dict[str, Any]]] | None:
    if published:
        return once(os.path.join(folder, ".manifest.json"), manifest_rows)  # type: ignore[no-any-return]
    return once(os.path.join(folder, ".done"), done_rows)  # type: ignore[no-any-return]


def done_rows(path: str) -> dict[str, list[dict[str, Any]]]:
    return by_digest(lines(path))


def manifest_rows(path: str) -> dict[str, list[dict[str, Any]]]:
    files = (read(path) or {}).get("files", {})
    return by_digest({**row, "name": name} for name, row in files.items())


class Offer:
    """A revision of a model that is on this host, whole or in part."""

    def __init__(self, folder: str, about: dict[str, Any], published: bool) -> None:
        self.folder, self.about, self.published = folder, about, published

    def rows(self) -> dict[str, dict[str, Any]]:
        return unchanged(self.folder, (row for rows in self.digests().values() for row in rows))

    def digests(self) -> dict[str, list[dict[str, Any]]]:
        """Its rows by sha256."""
        return digests_of(self.folder, self.published) or {}

    def name_of(self, digest: str) -> str | None:
        """The file with this digest, if it still is as it was when it was verified."""
        return next(iter(unchanged(self.folder, iter(self.digests().get(digest, ())))), None)

    def listing(self) -> list[dict[str, Any]]:
        """The files of the revision as its source stated them."""
        if not self.published:
            return list(self.about["files"])
        found = []
        for name, row in self.about["manifest"]["files"].items():
            of = row.get("of") or row.get("source_sha256") or row["sha256"]
            kind = "sha256" if len(of) == 64 else "git_sha1"
            found.append({"name": name, "size": row.get("source_bytes", row["bytes"]), kind: of})
        return found


class Holdings:
    """What lies below models_root, read anew for each question: another process writes it."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.marks: dict[str, tuple[Any, float]] = {}  # of each fetch: what it last wrote, and when that was seen

    def folders(self, key: str) -> list[str]:
        name = glob.escape(key.removesuffix(SUFFIX))
        found = sorted(glob.glob(os.path.join(glob.escape(self.root), name + "@*")))
        return [path for path in found if path.endswith(SUFFIX) == key.endswith(SUFFIX)]

    def offers(self, key: str) -> list[Offer]:
        found = []
        record = read(os.path.join(self.root, ".refs", key + ".json"))
        if isinstance(record, dict) and isinstance(record.get("revision"), str):
            folder = os.path.join(self.root, f"{key.removesuffix(SUFFIX)}@{record['revision']}")
            manifest = once(os.path.join(folder, ".manifest.json"), read)
            if manifest:
                commit = manifest.get("commit") or manifest["revision"].removesuffix(SUFFIX)
                about = {k: record.get(k) for k in ("kind", "repo", "requested", "wanted")}
                found.append(Offer(folder, {**about, "commit": commit, "manifest": manifest}, True))
        for folder in sorted(glob.glob(os.path.join(glob.escape(self.root), f".{glob.escape(key)}@*.partial"))):
            about = once(os.path.join(folder, ".listing.json"), read)
            if about:
                found.append(Offer(folder, about, False))
        return found

    def path(self, key: str, digest: str) -> str | None:
        """The file with this digest."""
        for offer in self.offers(key):
            if (name := offer.name_of(digest)) is not None:
                return os.path.join(offer.folder, name)
        for folder in self.folders(key):  # published this moment, its record not written yet
            if (name := Offer(folder, {}, True).name_of(digest)) is not None:
                return os.path.join(folder, name)
        return None

    def progress(self, key: str) -> dict[str, Any]:
        """How far a fetch that runs now is; `beat` is how many seconds ago it said so."""
        path = os.path.join(self.root, ".refs", key + ".progress")
        found = read(path)
        if not isinstance(found, dict):
            return {}
        # No wall clock: one that is set back would keep a dead fetch alive. What counts is when it last wrote something new.
        now, mark = time.monotonic(), (found.get("boot"), found.get("pid"), found.get("turn"))
        if self.marks.get(key, (None, 0.0))[0] != mark:
            self.marks[key] = (mark, now)
        tick = found.get("tick")
        here = found.get("boot") == boot_id() and isinstance(tick, (int, float))
        found["beat"] = max(0.0, now - (tick if here else self.marks[key][1]))
        return {k: found.get(k) for k in ("stage", "beat", "turn", "done", "total", "rate", "left", "source")}


def boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as source:
            return source.read().strip()
    except OSError:
        return "-"


class Server:
    def __init__(self, config: dict[str, Any]) -> None:
        self.config, self.holdings = config, Holdings(config["models_root"])
        self.until = time.monotonic() + max(0.0, config["until"] - time.time())  # once, then by a clock that isn't set
        self.asked = time.monotonic()
        self.busy: Counter[str] = Counter()

    @web.middleware
    async def guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """Only hosts of the play, only with the token, only the models of this run."""
        if request.remote not in self.config["allow"]:
            raise web.HTTPForbidden(text="this address is not of the play\n")
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(errors="surrogateescape"), self.config["token"].encode()):
            raise web.HTTPUnauthorized(text="the token is not of this run\n")
        if request.match_info.get("key") not in self.config["keys"]:
            raise web.HTTPNotFound(text="no such model here\n")
        self.asked = time.monotonic()
        answer: web.StreamResponse = await handler(request)
        return answer

    async def state(self, request: web.Request) -> web.Response:
        key = request.match_info["key"]
        offers = [
            {**{k: o.about.get(k) for k in ("kind", "repo", "requested", "wanted", "commit")}, "published": o.published,
             "verified": len(o.rows())}
            for o in self.holdings.offers(key)
        ]  # fmt: skip
        busy = sum(1 for count in self.busy.values() if count)
        about = {"name": self.config["name"], "busy": busy, "offers": offers}
        return web.json_response({**about, **self.holdings.progress(key)})

    async def files(self, request: web.Request) -> web.Response:
        for offer in self.holdings.offers(request.match_info["key"]):
            if offer.about["commit"] == request.query.get("commit"):
                tensors = offer.about.get("manifest", {}).get("tensors", {})
                return web.json_response({"listing": offer.listing(), "files": offer.rows(), "tensors": tensors})
        raise web.HTTPNotFound(text="no such revision here\n")

    async def content(self, request: web.Request) -> web.StreamResponse:
        path = self.holdings.path(request.match_info["key"], request.match_info["digest"])
        if path is None:
            raise web.HTTPNotFound(text="no such file here\n")
        answer = web.FileResponse(path, headers={"Content-Type": "application/octet-stream"})
        caller = request.remote or ""
        self.busy[caller] += 1
        try:
            await answer.prepare(request)  # which sends it
        finally:
            self.busy[caller] -= 1
            self.asked = time.monotonic()
        return answer

    def over(self) -> bool:
        """True when the time limit is reached, or nobody asked for long and nothing is fetched here."""
        if time.monotonic() > self.until:
            return True
        if any(self.busy.values()) or time.monotonic() - self.asked < self.config["idle"]:
            return False
        beats = (self.holdings.progress(key).get("beat") for key in self.config["keys"])
        return not any(beat is not None and beat < BEAT for beat in beats)

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self.guard])
        app.router.add_get("/v1/{key}", self.state)
        app.router.add_get("/v1/{key}/files", self.files)
        app.router.add_get("/v1/{key}/sha256/{digest}", self.content)
        return app


def tell(path: str, about: dict[str, Any]) -> None:
    with open(path + ".part", "w") as out:
        json.dump(about, out)
    os.rename(path + ".part", path)


async def serve(path: str) -> None:
    config = read(path)
    said = os.path.join(os.path.dirname(path), "server.json")
    server = Server(config)
    runner = web.AppRunner(server.app(), access_log=None, shutdown_timeout=1, keepalive_timeout=30)
    await runner.setup()
    try:
        await web.TCPSite(runner, config["address"], config["port"]).start()
    except OSError as error:
        reason = re.sub(r"^\[Errno \d+\] ", "", str(error))
        tell(said, {"pid": os.getpid(), "error": reason})
        return
    end = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, end.set)
    tell(said, {"pid": os.getpid()})
    while not end.is_set() and not server.over():
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(end.wait(), min(2.0, config["idle"]))
    await runner.cleanup()
    if (read(path) or {}).get("token") == config["token"]:  # a later run's is not ours to remove
        for name in (path, said):
            with contextlib.suppress(OSError):
                os.unlink(name)


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
