"""The other hosts of the play as a source of weights: one copy comes from outside, the rest goes from host to host.

Each host of a play runs a small server (roles/weights/files/peer_server.py) that says what it has and how far it is.
Hosts have ranks, their order in the play. Whoever lacks a model takes each file from any host that has verified it,
and waits for files while a host fetches from outside or a live host of lower rank will. Only where neither is left does
a host fetch itself, so a dead first host is replaced by the next. What a host states is believed only as far as
the bytes have the digest that the listing gives.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
import urllib.parse
from typing import Any

from ansible.module_utils.serving.deadlines import Limits
from ansible.module_utils.serving.files import read_json
from ansible.module_utils.serving.progress import Progress
from ansible.module_utils.serving.weights.answers import Stopped
from ansible.module_utils.serving.weights.listing import Entry, Listing, SourceFailed, checked, parsed
from ansible.module_utils.serving.weights.part import Part
from ansible.module_utils.serving.weights.peer import (
    ASKING,
    GONE,
    OUTSIDE,
    POLL,
    STRANDED,
    TAKING,
    Peer,
    checked_doc,
    checked_state,
)
from ansible.module_utils.serving.weights.peer_client import STALL, Nobody, PeerClient, TakenPart
from ansible.module_utils.serving.weights.staging import Staging, is_shard, room
from ansible.module_utils.serving.weights.transfer import download

CHANGES = 5  # times that a host, or all of them, may name another revision while a model is taken
LATE = 20.0  # seconds that a host of lower rank may begin later


class Peers:
    """What this host knows of the others; a thread asks them as long as the context lasts."""

    kind, repo, requested = "peers", "the hosts of the play", None

    def __init__(self, path: str, key: str, sources: dict[str, Any], patience: float, progress: Progress) -> None:
        self.path, self.key, self.sources, self.patience, self.progress = path, key, sources, patience, progress
        self.began = self.lull = time.monotonic()  # `lull`: since when no host has fetched from outside
        self.stop = threading.Event()
        self.read_at: int | None = None
        self.peers: list[Peer] = []
        self.rank, self.name, self.address = 0, "", ""
        self.stage = ASKING
        self.files: dict[str, Any] = {}  # what models.yml includes and excludes
        self.wanted = ""  # the commit whose files are asked for
        self.reload()

    # Who there is, and what they say

    def reload(self) -> bool:
        """Read who is in the play; a later run of the controller writes the file anew. True if that has happened."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            at = os.stat(self.path).st_mtime_ns
            if at == self.read_at:
                return False
            config = read_json(self.path)
            if config["until"] < time.time():
                return False
            known = {peer.name: peer for peer in self.peers}
            found = []
            for rank, row in enumerate(row for row in config["peers"] if self.key in row["keys"]):
                if row["name"] == config["name"]:
                    self.rank = rank
                    continue
                peer, old = Peer(row, rank, self.key), known.get(row["name"])
                if old:
                    peer.dropped, peer.bytes = old.dropped, old.bytes
                found.append(peer)
            if found:
                self.name, self.address, self.peers, self.read_at = config["name"], config["address"], found, at
                self.began = self.lull = time.monotonic()
                return True
        return False

    def __bool__(self) -> bool:
        return bool(self.peers)

    def __enter__(self) -> Peers:
        if self.peers:
            self.client = PeerClient(self, Limits(2, 4, 1, document=GONE))
            self.tell(ASKING)
            self.watch()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()

    def watch(self) -> None:
        """Each host has a thread of its own, so that one that doesn't answer delays no other."""
        for peer in self.peers:
            threading.Thread(target=self.loop, args=(peer,), daemon=True).start()

    def tell(self, stage: str) -> None:
        """Say to the others what this host does."""
        self.stage = stage
        if self.peers:
            self.progress.state.update(stage=stage, host=self.name, rank=self.rank)
            self.progress.write()

    def loop(self, peer: Peer) -> None:
        while peer in self.peers and not self.stop.is_set():
            self.look(peer)
            peer.looks += 1
            if peer is self.peers[0]:
                self.progress.state["fleet"] = self.table()
                if self.reload():
                    self.watch()
                    return
            self.stop.wait(POLL * max(1.0, len(self.peers) / 10))

    def look(self, peer: Peer) -> None:
        """Ask one host how far it is, and for its list of files when that has grown."""
        try:
            state = checked_state(self.ask(peer, peer.url))
            peer.heard(state, time.monotonic())
            for offer in state["offers"]:
                mark = (offer["published"], offer.get("verified"))
                if offer["commit"] == self.wanted and peer.docs.get(self.wanted, (None,))[0] != mark:
                    url = "%s/files?%s" % (peer.url, urllib.parse.urlencode({"commit": self.wanted}))
                    peer.unread += 1
                    peer.docs[self.wanted] = (mark, checked_doc(self.ask(peer, url)))
                    peer.unread = 0
        except Stopped:
            return
        except Exception as error:  # whatever it is, this thread must go on asking
            peer.state["trouble"] = (" ".join(str(error).split()) or type(error).__name__)[:120]

    def ask(self, peer: Peer, url: str) -> dict[str, Any]:
        found = parsed(self.client.document(url, 64 << 20).body)
        if not isinstance(found, dict):
            raise ValueError("its answer is no object")
        return found

    def table(self) -> list[dict[str, Any]]:
        """A row a host: what it does, from whom, how far it is."""
        rows = []
        for peer in self.peers:
            done = next((o for o in peer.state.get("offers", ()) if o.get("published")), None)
            stage = "dropped" if peer.dropped else "no answer" if not peer.here else peer.stage
            rows.append(
                {
                    "host": peer.name,
                    "rank": peer.rank,
                    "stage": stage or ("ready" if done else "ended" if peer.ran else "not begun"),
                    **{k: peer.state.get(k) for k in ("done", "total", "rate", "left", "source")},
                }
            )
        return rows

    # Whether to wait

    def someone(self) -> bool:
        """Will another host bring files, so that waiting makes sense?"""
        now = time.monotonic()
        for peer in self.peers:
            if not (peer.seen or peer.looks > 1 or now - self.began > 6):
                return True
            if not peer.here:
                continue
            has = any(offer["commit"] == self.wanted for offer in peer.state["offers"])
            if has and self.wanted not in peer.docs and peer.unread < 3:  # what it has is known in a moment
                return True
            stage = peer.stage
            before = peer.rank < self.rank or self.stage == STRANDED
            if stage == OUTSIDE and peer.moves(self.patience):
                self.lull = now
                return True
            # It waits as we do, and goes first where nobody fetches; not for ever, and not all of us at the same moment.
            turn = 2 * self.patience + LATE * max(1, self.rank)
            if stage in (ASKING, TAKING) and before and (now - self.lull < turn or peer.moves(self.patience)):
                return True
            if stage is None and not peer.ran and before and now - self.began < LATE and not peer.state.get("offers"):
                return True
        return False

    def offers(self) -> list[tuple[Peer, dict[str, Any]]]:
        """What live hosts have that this host's models.yml allows; the finished ones first.

        What an earlier run has left unfinished is an offer only where somebody is at work on it.
        """
        found = []
        for peer in self.peers:
            for offer in peer.state.get("offers", ()) if peer.here else ():
                if self.allowed(offer) and (offer["published"] or peer.stage or offer["commit"] == self.wanted):
                    found.append((not offer["published"], peer.rank, peer, offer))
        return [(peer, offer) for _, _, peer, offer in sorted(found, key=lambda row: row[:2])]

    def outdated(self, commit: str) -> bool:
        """Do the hosts that have a model, or fetch it from outside, have another revision by now?"""
        leading = {
            offer["commit"]
            for peer, offer in self.offers()
            if offer["published"] or (peer.stage == OUTSIDE and peer.moves(self.patience))
        }
        return bool(leading) and commit not in leading

    def allowed(self, offer: dict[str, Any]) -> bool:
        row = self.sources.get(offer.get("kind") or "")
        if not isinstance(row, dict) or not re.fullmatch(r"[\w.-]+", offer["commit"]):
            return False
        place = os.path.expanduser(row.get("path") or "") or row.get("repo") or (row.get("url") or "").rstrip("/")
        wanted = row.get("revision") or None
        if (offer.get("wanted") or {}) != self.files:  # it has other files of the model
            return False
        return place == offer.get("repo") and wanted in (None, offer["commit"], offer.get("requested"))

    def why_nobody(self) -> str:
        """In one line, why none of the hosts will do."""
        words = []
        for peer in self.peers:
            if peer.dropped:
                words.append("%s was dropped: %s" % (peer.label, peer.dropped))
            elif not peer.here:
                words.append("%s does not answer%s" % (peer.label, self.trouble(peer)))
            else:
                words.append("%s has nothing to give" % peer.label)
        silent = any(not p.here and not str(p.state.get("trouble", "")).startswith("HTTP") for p in self.peers)
        return "; ".join(words) + " (is weights_peer_port open between the hosts?)" * silent

    @staticmethod
    def trouble(peer: Peer) -> str:
        found = peer.state.get("trouble")
        return " (%s)" % found if found else ""

    def drop(self, peer: Peer, why: str) -> None:
        """Take nothing from this host for the rest of the run."""
        peer.dropped = why

    @property
    def dropped(self) -> list[str]:
        return ["%s: %s" % (peer.label, peer.dropped) for peer in self.peers if peer.dropped]

    @property
    def served(self) -> dict[str, int]:
        """Bytes that each host gave."""
        return {peer.name: peer.bytes for peer in self.peers if peer.bytes}

    # The Source

    def listing(self) -> Listing:
        """Wait for a host that has or fetches the model. Nobody if there is none and none is to be expected."""
        while True:
            for peer, offer in self.offers():
                self.wanted = offer["commit"]
                if self.wanted not in peer.docs:
                    if peer.unread > 2:
                        continue
                    self.look(peer)
                    if self.wanted not in {one["commit"] for one in peer.state["offers"]}:
                        peer.moved_on += 1
                        if peer.moved_on > CHANGES:
                            self.drop(peer, "it names another revision each time that it is asked")
                            continue
                doc = peer.docs.get(self.wanted)
                if doc:
                    try:
                        return self.parse(peer, offer, doc[1])
                    except (KeyError, TypeError, ValueError, AttributeError, SourceFailed) as error:
                        self.drop(peer, "its listing can't be used (%s)" % (error or type(error).__name__))
                break  # its files come with the next look
            else:
                if not self.someone():
                    raise Nobody(self.why_nobody())
            self.client.sleep(0.2)

    def parse(self, peer: Peer, offer: dict[str, Any], doc: dict[str, Any]) -> Listing:
        rows = (
            Entry(name=row["name"], size=row["size"], sha256=row.get("sha256"), git_sha1=row.get("git_sha1"))
            for row in doc["listing"]
        )
        requested = (self.sources[offer["kind"]].get("revision") or None) or offer.get("requested")
        return Listing(offer["kind"], offer["repo"], requested, offer["commit"], checked(rows))

    def bring(self, root: str, convert: str | None, limits: Limits) -> tuple[Listing, Staging]:
        """Gather a whole revision from the others. Nobody or SourceFailed where that can't be done; what came is kept."""
        for _ in range(CHANGES):
            listing = self.listing()
            staging = Staging(root, self.key, listing.short)
            staging.open()
            about = {"kind": listing.kind, "repo": listing.repo, "requested": listing.requested, "wanted": self.files}
            staging.describe(listing, about)
            if self.gather(listing, staging, convert, limits):
                return listing, staging
        raise SourceFailed("the hosts named another revision %d times while it was taken from them" % CHANGES)

    @property
    def tensors(self) -> dict[str, Any]:
        """What the conversion of the revision that was taken has counted, as far as hosts have published it."""
        docs = (peer.docs.get(self.wanted, (None, {}))[1].get("tensors") for peer in self.peers if not peer.dropped)
        return next((found for found in docs if isinstance(found, dict) and found), {})

    def gather(self, listing: Listing, staging: Staging, convert: str | None, limits: Limits) -> bool:
        """Take file after file as hosts verify them. False when another revision is what the hosts have now."""
        shard = {e.name: bool(convert) and is_shard(e.name) for e in listing.files}
        need = {
            e.name: e for e in listing.files if not staging.has(e) and not staging.adopt(e, shard[e.name])
        }  # fmt: skip
        self.progress.begin("taking", sum(e.size for e in need.values()), "no host yet")
        room(listing, list(need.values()), staging)
        if self.stage != STRANDED:
            self.tell(TAKING)
        failures = 0
        client = PeerClient(self, Limits(min(limits.connections, 4), STALL, 3, 30))
        self.progress.note = lambda: "; ".join(self.dropped)
        while need:
            client.holders = {}
            parts = [part for entry in need.values() if (part := self.part(client, staging, entry, convert))]
            if parts:
                try:
                    download(client.next_ones(parts), client, self.progress.add, staging.record)
                    failures = 0
                except SourceFailed as problem:
                    failures += 1
                    if failures > 5:
                        raise SourceFailed("%s; %s" % (problem, self.why_nobody())) from None
                    client.stop.clear()
                need = {name: e for name, e in need.items() if not staging.has(e)}
                continue
            if self.outdated(listing.revision):
                return False
            if not self.someone():
                raise Nobody(self.why_nobody())
            client.sleep(0.3)
        return True

    def part(self, client: PeerClient, staging: Staging, entry: Entry, convert: str | None) -> Part | None:
        """The file as some host has verified it; None while none has. The lowest rank's word counts where they differ."""
        found: dict[str, Any] | None = None
        for peer in self.peers:
            row = peer.docs.get(self.wanted, (None, {}))[1].get("files", {}).get(entry.name) if peer.here else None
            if not isinstance(row, dict) or not self.fits(row, entry, convert):
                continue
            if found is None:
                found = row
            if row["sha256"] == found["sha256"]:
                client.holders.setdefault(found["sha256"], []).append(peer)
        if found is None:
            return None
        url = "peer:%s" % found["sha256"]
        changed = found.get("source_sha256")
        if not changed:
            stated = Entry(entry.name, entry.size, entry.sha256, entry.git_sha1, url=url)
        else:
            stated = Entry(entry.name, found["bytes"], found["sha256"], url=url, of=entry.content)
        more = {k: found[k] for k in ("source_sha256", "tensors") if found.get(k)}
        return TakenPart(staging.path(entry.name), stated, {**more, "source_bytes": entry.size})

    @staticmethod
    def fits(row: dict[str, Any], entry: Entry, convert: str | None) -> bool:
        """Is this row of the file that the listing has?"""
        source = row.get("source_sha256")
        if source and not convert:
            return False
        if not source and (row.get("bytes") != entry.size or (convert and is_shard(entry.name))):
            return False
        good = isinstance(row.get("bytes"), int) and re.fullmatch(r"[0-9a-f]{64}", str(row.get("sha256")))
        return bool(good) and entry.sha256 in (None, source or row["sha256"])
