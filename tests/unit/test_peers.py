"""Peers: who is believed, waited for, blamed and left."""

from __future__ import annotations

import json
import time
import types
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.serving.deadlines import Limits
from ansible.module_utils.serving.progress import Progress
from ansible.module_utils.serving.weights import manifests, peer_client
from ansible.module_utils.serving.weights.answers import Transient
from ansible.module_utils.serving.weights.client import Client
from ansible.module_utils.serving.weights.listing import Entry, Listing
from ansible.module_utils.serving.weights.peer import Peer, checked_state
from ansible.module_utils.serving.weights.peers import Peers
from conftest import load
from fleet import about, fleet_fixture, model_fixture

model = pytest.fixture(scope="module")(model_fixture)


fleet = pytest.fixture(fleet_fixture)


class OnePeer:
    """What PeerClient needs of Peers."""

    address = "127.0.0.1"

    def __init__(self, *peers: Any) -> None:
        self.peers = list(peers)
        self.progress = types.SimpleNamespace(state={})

    def drop(self, peer: Any, why: str) -> None:
        peer.dropped = why


def test_a_host_that_is_much_slower_than_the_others_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_client, "SLOW_AFTER", 0.2)
    slow, fast = (
        Peer({"name": name, "address": "127.0.0.1", "port": 1, "token": "t"}, 0, "m") for name in ("slow", "fast")
    )
    slow.seen = fast.seen = time.monotonic()
    client = peer_client.PeerClient(OnePeer(slow, fast), Limits())  # type: ignore[arg-type]
    client.holders = {"d": [slow, fast]}
    client.chosen, fast.rate = {"d": slow}, 10e6
    asked = []

    def stream(self: Any, url: str, start: int, end: int, size: int | None, sink: Any) -> None:
        asked.append(url)
        for offset in range(start, end, 1000):
            sink(offset, memoryview(b"x" * 1000))
            time.sleep(0.05)

    monkeypatch.setattr(Client, "stream", stream)
    with pytest.raises(Transient, match=r"slow .* is much slower than the others"):
        client.stream("peer:d", 0, 100_000, 100_000, lambda offset, block: len(block))
    assert client.choose("d") is fast
    fast.seen = 0  # where the slow one is the only one left, it serves
    assert client.choose("d") is slow


def test_a_host_is_blamed_only_where_all_bytes_were_its_own() -> None:
    one, other = (
        Peer({"name": name, "address": "127.0.0.1", "port": 1, "token": "t"}, 0, "m") for name in ("one", "other")
    )
    client = peer_client.PeerClient(OnePeer(one, other), Limits())  # type: ignore[arg-type]
    entry = Entry("x", 10, sha256="0" * 64, url="peer:d")
    for gave, came, dropped in (({"one", "other"}, 10, False), ({"one"}, 5, False), ({"one"}, 10, True)):
        client.gave, client.came = {"d": gave}, {"d": came}
        client.damaged(entry)
        assert bool(one.dropped) is dropped and not other.dropped


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"offers": 1},
        {"offers": ["x", {"commit": 5}], "done": "many", "stage": "x"},
        {"offers": [{"commit": "../x"}]},
    ],
)
def test_nonsense_from_a_host_is_no_offer(state: dict[str, Any], tmp_path: Path) -> None:
    peers = Peers(str(tmp_path / "none"), "m", {"huggingface": {"repo": "o/m"}}, 5, Progress(str(tmp_path / "p"), "m"))
    assert not peers
    peer = Peer({"name": "a", "address": "127.0.0.1", "port": 1, "token": "t"}, 0, "m")
    peers.peers, peers.ask = [peer], lambda _peer, _url: state  # type: ignore[method-assign]
    peers.look(peer)
    assert peers.offers() == [] and not peers.outdated("x")
    peers.table()


# The controller's part


filters = load("filter_plugins/weights.py")
action = load("fetching/progress.py")


def test_who_shares_with_whom() -> None:
    rows = [
        about("a", x=True),
        about("b", x=False, y=True),
        about("c", y=False),
        about("d", z=True),
        about("e", w=False),
    ]

    def shared(host: str) -> list[str]:
        return [row["name"] for row in filters.weights_sharing(rows, host)]

    assert shared("a") == ["a", "b"] and shared("b") == ["a", "b", "c"] and shared("c") == ["b", "c"]
    assert shared("d") == [] and shared("e") == []
    assert filters.weights_sharing([about("a", x=False), about("b", x=False)], "a") == []


def test_files_of_another_choice_are_no_offer(tmp_path: Path) -> None:
    """A host that took other files of the same commit has another model, whatever its commit says."""
    sources = {"huggingface": {"repo": "o/m", "revision": None}}
    peers = Peers("", "m", sources, 1, Progress(str(tmp_path / "progress"), "m"))
    offer = {"kind": "huggingface", "repo": "o/m", "commit": "c" * 40, "published": True}
    wanted = {"include": ["original/*"]}
    assert peers.allowed(offer) and not peers.allowed({**offer, "wanted": wanted})
    peers.files = wanted
    assert peers.allowed({**offer, "wanted": wanted}) and not peers.allowed(offer)
    heard = checked_state(
        {"offers": [{**offer, "wanted": wanted}, offer, {**offer, "wanted": ["x"]}, {**offer, "wanted": {}}]}
    )
    assert [peers.allowed(one) for one in heard["offers"]] == [True, False, False, False]


def test_who_takes_a_model_says_which_files_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else no host with the same `include` would take from it until it has all of them."""
    peers = Peers("", "m", {"huggingface": {"repo": "o/m"}}, 1, Progress(str(tmp_path / "progress"), "m"))
    peers.files = {"include": ["original/*"]}
    entry = Entry("config.json", 2, sha256="a" * 64)
    monkeypatch.setattr(peers, "listing", lambda: Listing("huggingface", "o/m", None, "c" * 40, (entry,)))
    monkeypatch.setattr(peers, "gather", lambda *_: True)
    _, staging = peers.bring(str(tmp_path), None, Limits())
    about = json.loads(Path(staging.path(manifests.LISTING)).read_text())
    assert about["wanted"] == peers.files and about["commit"] == "c" * 40


def test_what_a_host_wants() -> None:
    forms = [{"model": {"name": "m", "sources": {"modelscope": {"repo": "o/m"}}}, "convert": "float16"}]
    assert filters.weights_wanted(forms) == [
        {"name": "m", "sources": {"modelscope": {"repo": "o/m"}}, "convert": "float16"}
    ]
    forms[0]["model"] |= {"include": ["original/*"], "exclude": []}  # type: ignore[operator]
    assert filters.weights_wanted(forms)[0]["include"] == ["original/*"]
    wanted = filters.weights_wanted(forms)
    looks = [{"forms": [{**wanted[0], "key": "m+float16", "pending": pending}]} for pending in (True, False, True)]
    assert filters.weights_lacking(looks) == wanted and filters.weights_lacking(looks[1:2]) == []
    kept = filters.weights_wanted(forms, "http://mirror", True)[0]
    assert kept["convert"] is None and kept["sources"]["mirror"] == {"url": "http://mirror"}


def test_one_table_tells_of_all_hosts() -> None:
    fetching = {
        "stage": "outside",
        "done": 50 << 20,
        "total": 100 << 20,
        "rate": 1 << 20,
        "left": 50.0,
        "source": "modelscope",
    }
    taking = {**fetching, "stage": "taking", "done": 25 << 20, "rate": 0.0, "left": None, "source": "gpu-1"}
    others = [
        {"host": "gpu-1", "rank": 0, **fetching},
        {
            "host": "gpu-3",
            "rank": 2,
            "stage": "no answer",
            "done": None,
            "total": None,
            "rate": None,
            "left": None,
            "source": None,
        },
    ]
    progress = {"name": "m", "host": "gpu-2", "rank": 1, "fleet": others, **taking}
    assert action.table(progress).splitlines() == [
        "  m:",
        "    host   from        done                          rate       left",
        "    gpu-1  modelscope  50.0 MiB of 100.0 MiB (50 %)  1.0 MiB/s  50 s",
        "    gpu-2  gpu-1       25.0 MiB of 100.0 MiB (25 %)  -          -",
        "    gpu-3  no answer",
    ]
    assert not action.tells(progress)
    others[0]["stage"] = "ready"
    assert action.tells(progress)
