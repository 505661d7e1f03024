"""Bytes from the other hosts of the play: each piece from whoever has the file, is near and is not slow."""

from __future__ import annotations

import contextlib
import random
import socket
import statistics
import time
import urllib.parse
from typing import TYPE_CHECKING, Any, Callable, ClassVar

from ansible.module_utils.serving.deadlines import LEAST, Limits
from ansible.module_utils.serving.weights.answers import Transient
from ansible.module_utils.serving.weights.client import Client
from ansible.module_utils.serving.weights.listing import Entry, SourceFailed
from ansible.module_utils.serving.weights.part import Part
from ansible.module_utils.serving.weights.peer import SMALL, Peer

if TYPE_CHECKING:
    from ansible.module_utils.serving.weights.peers import Peers

STALL = 10.0  # seconds without a byte after which another host is asked
NOTHING, TRIES = (
    30.0,
    5,
)  # seconds without progress, and failures in them, after which a host is asked no more: it may have no equal
SLOW_AFTER, SLOW = 3.0, 4  # seconds, and how many times slower than others a host must be to be left


class Nobody(SourceFailed):
    """No other host has it or will have it."""


class TakenPart(Part):
    """A file as another host has it: `more` is what that host knows of its source."""

    def __init__(self, path: str, entry: Entry, more: dict[str, Any]) -> None:
        super().__init__(path, entry)
        self.more = more

    def about(self, source_sha256: str) -> dict[str, Any]:
        return {**super().about(source_sha256), **self.more}


class PeerClient(Client):
    """HTTP to the other hosts: never through a proxy, from the address they know, each with its own token."""

    refusals: ClassVar[dict[int, str]] = {
        **Client.refusals,
        401: "it serves for another run",
        403: "this host does not reach it from an address of the play; set weights_peer_address",
    }

    def __init__(self, peers: Peers, limits: Limits) -> None:
        super().__init__({}, "http://peers", None, limits)
        self.peers = peers
        self.holders: dict[str, list[Peer]] = {}  # sha256 -> who has it
        self.chosen: dict[str, Peer] = {}
        self.gave: dict[str, set[str]] = {}
        self.came: dict[str, int] = {}  # bytes of a file since it was begun
        with contextlib.suppress(OSError, ValueError), socket.socket(family(peers.address)) as probe:
            probe.bind((peers.address, 0))
            self.options = {"source_address": (peers.address, 0)}

    def proxy(self, parts: urllib.parse.SplitResult) -> str:
        return ""

    def headers_for(self, url: str) -> dict[str, str]:
        for peer in self.peers.peers:
            if url.startswith(peer.origin + "/"):
                return {"Authorization": "Bearer " + peer.token}
        return {}

    def choose(self, digest: str) -> Peer:
        """Who is asked for this file: whoever gave its last piece, else the one with least to do."""
        now = time.monotonic()
        able = [p for p in self.holders.get(digest, ()) if p.here]
        if not able:
            raise SourceFailed("no host has it any more")
        good = [p for p in able if p.bad_until <= now] or able
        last = self.chosen.get(digest)
        if last in good:
            return last
        self.chosen[digest] = min(good, key=lambda p: (p.mine + (p.state.get("busy") or 0), random.random()))  # noqa: S311
        return self.chosen[digest]

    def next_ones(self, parts: list[Part]) -> list[Part]:
        """All small files, and one or two large ones: those that the fewest have, so that hosts soon differ in what they can give."""
        large = [part for part in parts if part.size >= SMALL]
        large.sort(key=lambda part: (len(self.holders[digest_of(part.entry)]), random.random()))  # noqa: S311
        alone = large and len(self.holders[digest_of(large[0].entry)]) == 1
        return [part for part in parts if part.size < SMALL] + large[: 1 if alone else 2]

    def stream(self, url: str, start: int, end: int, size: int | None, sink: Callable[[int, memoryview], int]) -> None:
        digest = url.partition(":")[2]
        peer = self.choose(digest)
        self.gave.setdefault(digest, set()).add(peer.name)
        self.peers.progress.state["source"] = ", ".join(sorted({p.name for p in self.chosen.values()}))
        began, count = time.monotonic(), 0

        def watched(offset: int, block: memoryview) -> int:
            nonlocal count
            taken = sink(offset, block)
            count += taken
            peer.bytes += taken
            self.came[digest] = self.came.get(digest, 0) + taken
            seconds = time.monotonic() - began
            if seconds > SLOW_AFTER and self.too_slow(peer, digest, count / seconds):
                peer.bad_until = time.monotonic() + 60
                raise Transient("%s is much slower than the others" % peer.label)
            return taken

        peer.mine += 1
        try:
            super().stream("%s/sha256/%s" % (peer.url, digest), start, end, size, watched)
            peer.failures, peer.bad_until, peer.failing = 0, 0.0, 0.0
        except (Transient, SourceFailed) as problem:
            peer.failures += 1
            peer.bad_until = max(peer.bad_until, time.monotonic() + min(30.0, 2.0**peer.failures))
            self.chosen.pop(digest, None)
            self.judge(peer, began, count, str(problem))
            raise Transient("%s: %s" % (peer.label, problem)) from None
        finally:
            peer.mine -= 1
            seconds = time.monotonic() - began
            if count > 1 << 20:
                peer.rate = count / max(seconds, 0.001)

    def judge(self, peer: Peer, began: float, count: int, problem: str) -> None:
        """Drop a host that has brought nothing for long, however often it was asked: another source may serve at once."""
        now = time.monotonic()
        if count >= LEAST * max(1.0, now - began):
            peer.failing = 0.0
            return
        peer.failing = peer.failing or began
        if peer.failures > TRIES and now - peer.failing >= NOTHING and not peer.dropped:
            self.peers.drop(peer, "it gave next to nothing for %d s (%s)" % (now - peer.failing, problem))

    def too_slow(self, peer: Peer, digest: str, rate: float) -> bool:
        now = time.monotonic()
        others = [p.rate for p in self.holders.get(digest, ()) if p is not peer and p.here and p.bad_until <= now]
        return any(others) and rate * SLOW < statistics.median(r for r in others if r)

    def damaged(self, entry: Entry) -> bool:
        """Drop the host that gave wrong bytes. Where several gave pieces, the next try takes the whole from one."""
        digest = digest_of(entry)
        gave, came = self.gave.pop(digest, set()), self.came.pop(digest, 0)
        self.chosen.pop(digest, None)
        if len(gave) != 1 or came < entry.size:  # some of it was there from an earlier run
            return False
        for peer in self.peers.peers:
            if peer.name in gave:
                self.peers.drop(peer, "its bytes of '%s' don't have the digest that is stated" % entry.name)
        return any(p.here for p in self.holders.get(digest, ()))


def digest_of(entry: Entry) -> str:
    return (entry.url or "").partition(":")[2]


def family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET
