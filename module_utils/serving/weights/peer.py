"""Another host of the play: what it does and has, as far as its answers can be believed."""

from __future__ import annotations

import re
import time
import urllib.parse
from typing import Any

from ansible.module_utils.serving.deadlines import LEAST

POLL = 0.5  # seconds between two looks at another host; among many hosts it is longer
GONE = 8.0  # seconds without an answer after which a host is gone
SMALL = 1 << 20  # bytes below which a file costs more to ask for than to send
BEAT = 10.0  # seconds after which a fetch that says nothing is dead
# What a host does, in its progress file: it asks the others, fetches from outside, takes from others, or
# has found no way outside.
ASKING, OUTSIDE, TAKING, STRANDED = "asking", "outside", "taking", "stranded"


class Peer:
    """Another host of the play, and what was last heard of it."""

    def __init__(self, about: dict[str, Any], rank: int, key: str) -> None:
        self.name, self.rank, self.token = str(about["name"]), rank, str(about["token"])
        host = about["address"]
        self.origin = "http://%s:%d" % ("[%s]" % host if ":" in host else host, about["port"])
        self.url = "%s/v1/%s" % (self.origin, urllib.parse.quote(key))
        self.label = "%s (%s:%s)" % (self.name, about["address"], about["port"])
        self.state: dict[str, Any] = {}
        self.docs: dict[str, tuple[Any, dict[str, Any]]] = {}  # commit -> what it was asked for at, its files
        self.seen, self.looks = 0.0, 0
        self.ran = False
        self.unread = 0  # times that it did not say which files it has
        self.moved: Any = None  # at what stage its fetch was
        self.since, self.had = 0.0, 0.0  # since when by our clock, and how many bytes it had then
        self.flows = False  # has anything come at this stage?
        self.turn, self.turned = None, 0.0  # the last number that its fetch gave, and when that was by our clock
        self.dropped = ""
        self.bad_until, self.failures = 0.0, 0
        self.failing = 0.0  # since when nothing has come from it that counts
        self.moved_on = 0  # times that it named another revision than the one it was asked for
        self.mine = 0  # transfers of ours from it
        self.rate = 0.0
        self.bytes = 0

    def heard(self, state: dict[str, Any], now: float) -> None:
        self.state, self.seen = state, now
        self.ran = self.ran or bool(state.get("stage"))
        if state.get("turn") != self.turn:
            self.turn, self.turned = state.get("turn"), now
        # What gets on by less than LEAST bytes a second is as good as still; the last bytes are few.
        at, done, total = (state.get("stage"), state.get("total")), state.get("done") or 0, state.get("total") or 0
        enough = done - self.had >= LEAST * max(now - self.since, POLL) or self.had < total <= done
        if at != self.moved or enough or done < self.had:
            self.flows = enough and at == self.moved
            self.moved, self.since, self.had = at, now, done

    @property
    def here(self) -> bool:
        return not self.dropped and bool(self.seen) and time.monotonic() - self.seen < GONE

    @property
    def stage(self) -> str | None:
        """What its fetch does; None if none runs. A fetch that runs counts; no clock but our own says how long ago it did."""
        beat = self.state.get("beat")
        lives = beat is not None and beat < BEAT and time.monotonic() - self.turned < BEAT
        return self.state.get("stage") if lives else None

    def moves(self, patience: float) -> bool:
        """Does its fetch get on? At its end it may check and rename for long, and before the first byte it asks for a listing."""
        done, total = self.state.get("done") or 0, self.state.get("total") or 0
        return time.monotonic() - self.since < patience * (10 if total and done >= total else 1 if self.flows else 3)


def checked_state(state: dict[str, Any]) -> dict[str, Any]:
    """What a host says of itself, with nothing in it but what is expected."""
    numbers = {k: state.get(k) for k in ("beat", "done", "total", "rate", "left", "busy", "turn")}
    offers = state.get("offers")
    if not isinstance(offers, list):
        raise ValueError("it states no offers")
    good = [o for o in offers[:100] if isinstance(o, dict) and isinstance(o.get("commit"), str)]
    texts = ("kind", "repo", "requested")
    return {
        **{k: v if is_count(v) else None for k, v in numbers.items()},
        "stage": state.get("stage") if state.get("stage") in (ASKING, OUTSIDE, TAKING, STRANDED) else None,
        "source": str(state.get("source") or "")[:80],
        "offers": [
            {
                "commit": offer["commit"],
                **{k: offer.get(k) if isinstance(offer.get(k), str) else None for k in texts},
                "wanted": offer.get("wanted") or None,  # compared, and nothing else
                "published": offer.get("published") is True,
                "verified": offer.get("verified") if is_count(offer.get("verified")) else 0,
            }
            for offer in good
        ],
    }


def is_count(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < 1 << 62


def checked_doc(doc: dict[str, Any]) -> dict[str, Any]:
    """A host's list of files, with rows that are what they should be and no others. ValueError where it is no list of files."""
    listing, files, tensors = doc.get("listing"), doc.get("files"), doc.get("tensors")
    if not isinstance(listing, list) or not all(isinstance(row, dict) for row in listing):
        raise ValueError("its listing is no list of files")
    rows = files.items() if isinstance(files, dict) else ()
    return {
        "listing": listing,
        "files": {name: row for name, row in rows if is_row(row)},
        "tensors": counts(tensors),
    }


def is_row(row: Any) -> bool:
    """Is this what a host may say of a file that it has verified?"""
    if not isinstance(row, dict) or type(row.get("bytes")) is not int or not 0 <= row["bytes"] < 1 << 62:
        return False
    digests = [row.get("sha256"), *([row["source_sha256"]] if row.get("source_sha256") is not None else [])]
    good = all(isinstance(one, str) and re.fullmatch(r"[0-9a-f]{64}", one) for one in digests)
    return good and counts(row.get("tensors")) == (row.get("tensors") or {})


def counts(tensors: Any) -> dict[str, Any]:
    """What a conversion has counted, by tensor; rows of any other form are left out."""
    found = tensors.items() if isinstance(tensors, dict) else ()
    return {name: row for name, row in found if isinstance(row, dict) and all(is_count(n) for n in row.values())}
