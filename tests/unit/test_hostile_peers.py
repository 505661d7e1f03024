"""Hosts of the play that say nonsense, hang, or whose clock was set: nobody waits for them for ever, and no thread dies of it."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.serving.deadlines import LEAST, Limits
from ansible.module_utils.serving.progress import Progress, read_progress
from ansible.module_utils.serving.weights import peer_client
from ansible.module_utils.serving.weights.answers import Transient
from ansible.module_utils.serving.weights.client import Client
from ansible.module_utils.serving.weights.listing import Entry, Listing, SourceFailed, checked
from ansible.module_utils.serving.weights.peer import ASKING, OUTSIDE, TAKING, Peer, checked_doc, checked_state, counts
from ansible.module_utils.serving.weights.peers import Peers
from conftest import load
from hypothesis import given
from hypothesis import strategies as st

COMMIT = "c" * 40
ROW = {"sha256": "a" * 64, "bytes": 5}
OFFER = {"commit": COMMIT, "kind": "huggingface", "repo": "o/m", "requested": None, "published": True, "verified": 1}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def peers_with(tmp_path: Path, *ranks: int, own: int = 1) -> Peers:
    found = Peers(str(tmp_path / "none"), "m", {"huggingface": {"repo": "o/m"}}, 1, Progress(str(tmp_path / "p"), "m"))
    found.rank, found.wanted = own, COMMIT
    found.peers = [Peer({"name": f"h{n}", "address": "127.0.0.1", "port": 1, "token": "t"}, n, "m") for n in ranks]
    return found


@given(
    state=st.fixed_dictionaries(
        {},
        optional={
            **dict.fromkeys(("beat", "done", "total", "rate", "left", "busy", "turn", "stage", "source"), JSON),
            "offers": JSON | st.lists(st.fixed_dictionaries({}, optional={name: JSON | st.just(OFFER[name]) for name in OFFER}), max_size=3),
        },
    ),
    doc=st.fixed_dictionaries(
        {},
        optional={
            "listing": JSON | st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(("name", "size", "sha256", "git_sha1"), JSON)), max_size=2),
            "files": JSON | st.dictionaries(st.just("x"), st.fixed_dictionaries({}, optional=dict.fromkeys(("sha256", "bytes", "tensors"), JSON))),
            "tensors": JSON,
        },
    ),
)  # fmt: skip
def test_whatever_a_host_says_it_ends_as_a_host_that_has_nothing(
    tmp_path_factory: pytest.TempPathFactory, state: dict[str, Any], doc: dict[str, Any]
) -> None:
    peers = peers_with(tmp_path_factory.getbasetemp(), 0)
    [peer] = peers.peers
    peers.ask = lambda _peer, url: doc if "/files" in url else state  # type: ignore[method-assign]
    peers.look(peer)
    peers.offers()
    peers.someone()
    peers.table()
    assert peers.tensors == counts(peers.tensors)
    client = peer_client.PeerClient(peers, Limits())  # type: ignore[arg-type]
    for _, offer in peers.offers():
        found = peer.docs.get(offer["commit"])
        if found:
            with pytest.raises((KeyError, TypeError, ValueError, AttributeError, SourceFailed)):
                listing = peers.parse(peer, offer, found[1])
                raise ValueError(len(listing.files))
    entry = Entry("x", 5, sha256="a" * 64)
    staging: Any = type("S", (), {"path": staticmethod(lambda name: str(tmp_path_factory.getbasetemp() / name))})
    peers.part(client, staging, entry, None)


@pytest.mark.parametrize(
    "row", [{}, [], None, {**ROW, "bytes": "5"}, {**ROW, "bytes": True}, {**ROW, "bytes": -1}, {**ROW, "sha256": 1},
            {**ROW, "sha256": ["a"]}, {**ROW, "source_sha256": {}}, {**ROW, "tensors": [1]}, {**ROW, "tensors": {"x": {"y": {}}}}],
)  # fmt: skip
def test_rows_of_other_types_are_left_out(row: Any) -> None:
    assert checked_doc({"listing": [], "files": {"x": row, "y": ROW}})["files"] == {"y": ROW}


def test_an_answer_that_is_deep_endless_or_slow_is_no_answer(tmp_path: Path) -> None:
    from test_hostile import API_ANSWERS, Hub

    folder = tmp_path / "files"
    folder.mkdir()
    for name in ("deep JSON", "a body of a byte now and then", "a body without end", "a length of letters", "null"):
        hub = Hub(folder)
        peers = peers_with(tmp_path, 0)
        [peer] = peers.peers
        peer.origin = hub.url
        peer.url = hub.url + "/api/m"
        hub.trouble.api_answer = API_ANSWERS[name]
        peers.client = peer_client.PeerClient(peers, Limits(2, 1, 1, document=2))
        began = time.monotonic()
        peers.look(peer)
        hub.close()
        assert peer.state["trouble"] and not peer.here and time.monotonic() - began < 30


def test_a_host_that_brings_nothing_is_asked_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte a second, heads without end, an address that leads nowhere: after half a minute the next source serves."""
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    for seconds, count, failures, dropped in ((10, 10, 20, True), (1, 0, 100, True), (10, 10 * LEAST, 100, False)):
        peers = peers_with(tmp_path, 0)
        [peer] = peers.peers
        client = peer_client.PeerClient(peers, Limits())
        client.holders = {"d": [peer]}

        def stream(
            self: Any, url: str, start: int, end: int, size: int, sink: Any, seconds: int = seconds, count: int = count
        ) -> None:
            clock[0] += seconds
            sink(0, memoryview(bytes(count)))
            raise Transient("it stalls")

        monkeypatch.setattr(Client, "stream", stream)
        began = clock[0]
        for _ in range(failures):
            peer.seen = clock[0]
            if peer.here:
                with pytest.raises(Transient, match="it stalls"):
                    client.stream("peer:d", 0, 10**9, 10**9, lambda _offset, block: len(block))
        assert bool(peer.dropped) is dropped and (not dropped or clock[0] - began < 70)
        if dropped:
            with pytest.raises(SourceFailed, match="no host has it any more"):
                client.choose("d")
            assert "gave next to nothing for" in peers.why_nobody() and "(it stalls)" in peers.why_nobody()


def test_a_host_that_names_another_revision_each_time_is_left(tmp_path: Path) -> None:
    peers = peers_with(tmp_path, 0)
    asked: list[str] = []

    def ask(_peer: Peer, url: str) -> dict[str, Any]:
        asked.append(url)
        return {"offers": [{**OFFER, "commit": f"{len(asked):040x}"}]}

    def sleep(_seconds: float) -> None:
        assert len(asked) < 100, "it is asked for ever"

    peers.ask = ask  # type: ignore[method-assign]
    peers.client = peer_client.PeerClient(peers, Limits())
    peers.client.sleep = sleep  # type: ignore[method-assign]
    peers.look(peers.peers[0])
    with pytest.raises(peer_client.Nobody, match="names another revision each time"):
        peers.listing()


def test_hosts_that_change_their_revision_without_end_are_a_source_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    peers = peers_with(tmp_path, 0)
    entry = Entry("x", 5, sha256="a" * 64)
    turns: list[int] = []

    def gather(*_: Any) -> bool:
        turns.append(1)
        assert len(turns) < 100, "it is gathered for ever"
        return False

    monkeypatch.setattr(
        peers, "listing", lambda: Listing("huggingface", "o/m", None, f"{len(turns):040x}", checked([entry]))
    )
    monkeypatch.setattr(peers, "gather", gather)
    with pytest.raises(SourceFailed, match="named another revision 5 times"):
        peers.bring(str(tmp_path / "models"), None, Limits())


def say(peer: Peer, stage: str, **more: Any) -> None:
    peer.heard(
        checked_state({"offers": [], "stage": stage, "beat": 0, "turn": 1, "done": 0, "total": 9, **more}),
        time.monotonic(),
    )


@pytest.mark.parametrize("stage", [ASKING, TAKING, OUTSIDE])
def test_a_host_before_us_that_gets_no_further_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    """It lives and counts, but neither it nor anybody else brings a byte."""
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    peers = peers_with(tmp_path, 0)
    [peer] = peers.peers
    for turn in range(3):
        say(peer, stage, turn=turn)
        assert peers.someone()
        clock[0] += 0.3
    for turn in range(3, 60):
        clock[0] += 1
        say(peer, stage, turn=turn)
    assert not peers.someone()


def test_a_fetch_that_gets_on_by_some_bytes_is_as_good_as_still(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for rate, waits in ((60, False), (4000, True)):
        clock = [1000.0]
        monkeypatch.setattr(time, "monotonic", lambda clock=clock: clock[0])
        peers = peers_with(tmp_path, 0)
        for turn in range(100):
            say(peers.peers[0], OUTSIDE, turn=turn, done=turn * rate // 2, total=10**9)
            clock[0] += 0.5
        assert peers.someone() is waits


def test_a_fetch_whose_count_stands_still_is_dead_whatever_its_host_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    [peer] = peers_with(tmp_path, 0).peers
    for _ in range(30):
        say(peer, OUTSIDE)
        clock[0] += 1
    say(peer, OUTSIDE)
    assert peer.here and peer.stage is None


@pytest.mark.parametrize("hours", [-1, 0, 1, 100])
@pytest.mark.parametrize("same_boot", [True, False])
def test_a_clock_that_was_set_neither_kills_a_fetch_nor_keeps_a_dead_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hours: int, same_boot: bool
) -> None:
    server = load("roles/weights/files/peer_server.py")
    root = tmp_path / "models"
    (root / ".refs").mkdir(parents=True)
    path = root / ".refs/m.progress"
    progress = Progress(str(path), "m")
    progress.state["stage"] = "asking"
    holdings = server.Holdings(str(root))
    now = time.monotonic()

    def write() -> None:
        progress.write()
        about = json.loads(path.read_text())
        if not same_boot:  # of another host that shares the folder
            path.write_text(json.dumps({**about, "boot": "another", "tick": 5}))
        os.utime(path, (time.time() - hours * 3600,) * 2)

    write()
    assert holdings.progress("m")["beat"] < server.BEAT
    assert not same_boot or read_progress(str(path))
    monkeypatch.setattr(server.time, "monotonic", lambda: now + 120)
    write()
    if not same_boot:
        assert holdings.progress("m")["beat"] == 0
    monkeypatch.setattr(server.time, "monotonic", lambda: now + 240)
    assert holdings.progress("m")["beat"] > server.BEAT
    assert not same_boot or read_progress(str(path)) is None


def test_a_server_reads_thousands_of_files_once_and_serves_none_that_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = load("roles/weights/files/peer_server.py")
    folder = tmp_path / ".m@new.partial"
    folder.mkdir()
    count, rows = 8000, []
    for number in range(count):
        path = folder / f"f{number}"
        path.write_bytes(b"x")
        rows.append({"name": path.name, "sha256": f"{number:064x}", "bytes": 1, "mtime_ns": path.stat().st_mtime_ns})
    (folder / ".done").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / ".listing.json").write_text(json.dumps({"commit": COMMIT, "files": []}))
    holdings, reads = server.Holdings(str(tmp_path)), []
    lines = server.lines
    monkeypatch.setattr(server, "lines", lambda path: reads.append(path) or lines(path))
    for row in rows:
        assert holdings.path("m", row["sha256"]) == str(folder / row["name"])
    assert len(reads) == 1
    (folder / "f5").write_bytes(b"another")
    assert holdings.path("m", rows[5]["sha256"]) is None
    with (folder / ".done").open("a") as out:
        out.write(json.dumps({**rows[6], "sha256": "e" * 64}) + "\n")
    assert holdings.path("m", "e" * 64) == str(folder / "f6") and len(reads) == 2
