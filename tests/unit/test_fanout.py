"""Weights from host to host: one copy from outside, whatever happens to a host. Each host is an address of loopback."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import types
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import shards
from ansible.module_utils.serving.deadlines import Limits
from ansible.module_utils.serving.progress import Progress
from ansible.module_utils.serving.service.releases import start_ticks
from ansible.module_utils.serving.weights import manifest as m
from ansible.module_utils.serving.weights import peers as p
from ansible.module_utils.serving.weights.acquire import dropped_peers
from ansible.module_utils.serving.weights.client import Client, Transient
from ansible.module_utils.serving.weights.hubs import Entry
from conftest import ROOT, ansible_environment, load
from hub import COMMIT, Hub
from ports import free_port

Run = Callable[..., dict[str, Any]]
SERVER = (ROOT / "roles/weights/files/peer_server.py").read_text()
SHARDS = 4
# weights_fetch as a process, with patience for a test's time.
QUICK = """
import json, sys
sys.path.insert(0, sys.argv[1])
import conftest
from ansible.module_utils.serving.weights import peers
from ansible.module_utils.testing import patch_module_args
peers.POLL, peers.GONE, peers.BEAT, peers.LATE = 0.3, 3, 4, 6
with patch_module_args(json.loads(sys.argv[2])):
    conftest.load("library/weights_fetch.py").main()
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four shards of bf16, 8 MB, with small files."""
    folder = tmp_path_factory.mktemp("hub") / "model"
    folder.mkdir()
    index: dict[str, str] = {}
    for number in range(SHARDS):
        name = f"model-0000{number + 1}-of-0000{SHARDS}.safetensors"
        codes = bytes([number, 0x3C]) * 1_000_000
        shards.write(folder / name, {f"layer.{number}.weight": ("BF16", [1000, 1000], codes)})
        index[f"layer.{number}.weight"] = name
    (folder / m.INDEX).write_text(json.dumps({"metadata": {"total_size": 8_000_000}, "weight_map": index}))
    (folder / "config.json").write_text('{"torch_dtype": "bfloat16"}')
    (folder / "extra").mkdir()
    (folder / "extra/notes.txt").write_text("in a folder\n")
    return folder


def size_of(hub: Hub) -> int:
    return sum((hub.folder / name).stat().st_size for name in hub.names())


class Fleet:
    """Hosts of a play: a models_root, an address and a server each."""

    def __init__(self, base: Path, run: Run, hub: Hub, count: int, **form: Any) -> None:
        self.base, self.run, self.hub, self.count, self.form = base, run, hub, count, form
        self.sources = {"huggingface": {"repo": "org/model", "revision": None}}
        self.processes: dict[int, subprocess.Popen[str]] = {}
        self.port = free_port()

    def root(self, number: int) -> Path:
        return self.base / f"host-{number}"

    def common(self, number: int) -> dict[str, Any]:
        forms = [{"name": "m", "sources": self.sources, "convert": None, **self.form}]
        about = {"name": f"host-{number}", "address": f"127.0.0.{20 + number}", "port": self.port}
        return {
            **about,
            "models_root": str(self.root(number) / "models"),
            "folder": str(self.folder(number)),
            "forms": forms,
        }

    def folder(self, number: int) -> Path:
        return self.root(number) / "peers"

    def serve(self, *numbers: int, **options: Any) -> Fleet:
        looks = [self.run("weights_peer", {"state": "look", **self.common(n)}) for n in range(self.count)]
        self.looks = [look["peer"] for look in looks]
        for number in numbers or range(self.count):
            self.start(number, **options)
        return self

    def start(self, number: int, **options: Any) -> dict[str, Any]:
        given = {"state": "started", **self.common(number), "peers": self.looks, "server": SERVER, **options}
        return self.run("weights_peer", given)

    def stop(self, number: int) -> dict[str, Any]:
        return self.run("weights_peer", {"state": "stopped", "folder": str(self.folder(number))})

    def arguments(self, number: int, **options: Any) -> dict[str, Any]:
        quick = {"stall_timeout": 2, "retries": 2, "connections": 4, "peer_patience": 4}
        return {
            "name": "m", "models_root": str(self.root(number) / "models"), "sources": self.sources, **quick, **self.form,
            "huggingface_endpoint": self.hub.url, "peers_file": str(self.folder(number) / "config.json"), **options,
        }  # fmt: skip

    def begin(self, number: int, **options: Any) -> subprocess.Popen[str]:
        self.processes[number] = subprocess.Popen(
            [sys.executable, "-c", QUICK, str(ROOT / "tests"), json.dumps(self.arguments(number, **options))],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        return self.processes[number]

    def result(self, number: int) -> dict[str, Any]:
        output = self.processes[number].communicate(timeout=90)[0]
        found: dict[str, Any] = json.loads(output)
        return found

    def fetch(self, *numbers: int, **options: Any) -> list[dict[str, Any]]:
        for number in numbers or range(self.count):
            self.begin(number, **options)
        return [self.result(number) for number in numbers or range(self.count)]

    def pid(self, number: int) -> int:
        return int(json.loads((self.folder(number) / "server.pid").read_text())["pid"])

    def close(self) -> None:
        for process in self.processes.values():
            process.kill()
        for number in range(self.count):
            self.stop(number)


@pytest.fixture
def fleet(tmp_path: Path, run_module: Run, hub: Hub) -> Iterator[Callable[..., Fleet]]:
    made: list[Fleet] = []

    def make(count: int, **form: Any) -> Fleet:
        made.append(Fleet(tmp_path, run_module, hub, count, **form))
        return made[-1]

    yield make
    for one in made:
        one.close()


def good(results: list[dict[str, Any]]) -> None:
    for result in results:
        assert not result.get("failed"), result
    assert len({result["identity"] for result in results}) == 1


def wait(what: Callable[[], Any], seconds: float = 30) -> Any:
    until = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.05)
    return found


@pytest.mark.parametrize("convert", [None, "float16"])
def test_hosts_of_a_play_cost_one_copy(
    fleet: Any, hub: Hub, run_module: Run, tmp_path: Path, convert: str | None
) -> None:
    hosts = fleet(4, **({"convert": convert} if convert else {})).serve()
    hub.trouble.bytes_per_second = 1_000_000
    results = hosts.fetch()
    good(results)
    assert sum(hub.sent.values()) <= 1.1 * size_of(hub)
    assert [r["source"] for r in results] == ["huggingface", "peers", "peers", "peers"]
    assert results[1]["peers"] and not results[1]["dropped_peers"] and not results[1]["failed_sources"]
    alone = run_module("weights_fetch", hosts.arguments(9, peers_file="/nowhere"))
    assert alone["identity"] == results[0]["identity"]
    manifests = [json.loads((Path(r["path"]) / m.MANIFEST).read_text()) for r in [*results, alone]]
    for one in manifests:
        assert one["source"] == manifests[0]["source"] and one.get("tensors") == manifests[0].get("tensors")
        assert one["commit"] == COMMIT
    again = hosts.fetch()
    assert not any(r["changed"] for r in again)


def test_a_host_that_has_it_serves_without_a_word_to_the_hub(fleet: Any, hub: Hub) -> None:
    hosts = fleet(3)
    good(hosts.fetch(2, peers_file="/nowhere"))
    hosts.serve()
    assert [row["forms"][0]["pending"] for row in hosts.looks] == [True, True, False]
    hub.requests.clear()
    results = hosts.fetch(0, 1)
    good(results)
    assert [r["source"] for r in results] == ["peers", "peers"] and not hub.requests
    assert set(results[0]["peers"]) <= {"host-1", "host-2"}


@pytest.mark.parametrize("convert", [None, "float16"])
@pytest.mark.parametrize("server_too", [False, True])
def test_a_dead_first_host_is_replaced_by_the_next(
    fleet: Any, hub: Hub, tmp_path: Path, server_too: bool, convert: str | None
) -> None:
    hosts = fleet(3, **({"convert": convert} if convert else {})).serve()
    hub.trouble.bytes_per_second = 500_000
    for number in range(3):
        hosts.begin(number)
    wait(lambda: len(list(tmp_path.glob("host-2/models/.m*.partial/*.safetensors"))) >= 2)
    os.killpg(hosts.processes[0].pid, signal.SIGKILL)
    if server_too:
        os.kill(hosts.pid(0), signal.SIGKILL)
    hub.trouble.bytes_per_second = 0
    results = [hosts.result(1), hosts.result(2)]
    good(results)
    assert results[0]["source"] == "huggingface" and results[1]["source"] == "peers"
    # What the first had verified came from it; what it had under way is what its death costs.
    assert sum(hub.sent.values()) <= size_of(hub) * (1 + 2.2 / SHARDS)


def test_a_first_host_that_comes_back_takes_what_the_others_have(fleet: Any, hub: Hub, tmp_path: Path) -> None:
    hosts = fleet(2).serve()
    hub.trouble.bytes_per_second = 500_000
    hosts.begin(0)
    hosts.begin(1)
    wait(lambda: list(tmp_path.glob("host-1/models/.m*.partial/*.safetensors")))
    os.killpg(hosts.processes[0].pid, signal.SIGKILL)
    os.kill(hosts.pid(0), signal.SIGKILL)
    good([hosts.result(1)])
    hosts.start(0)
    hub.sent.clear()
    result = hosts.fetch(0)[0]
    good([result])
    assert result["source"] == "peers" and not hub.sent


def test_a_first_host_that_stands_still_is_not_waited_for(fleet: Any, hub: Hub) -> None:
    hosts = fleet(2).serve()
    stuck = Hub(hub.folder)
    stuck.trouble.bytes_per_second = 60
    try:
        hosts.begin(0, huggingface_endpoint=stuck.url, stall_timeout=60)
        result = hosts.fetch(1)[0]
        good([result])
        assert result["source"] == "huggingface"
        assert hosts.processes[0].poll() is None
    finally:
        hosts.processes[0].kill()
        stuck.close()


@pytest.mark.parametrize("who", [0, 1])
def test_wrong_bytes_drop_their_host_and_name_it(fleet: Any, hub: Hub, who: int) -> None:
    """Of two hosts that have the model one has a flipped bit. Once the other serves in its place, once the hub."""
    hosts = fleet(3)
    first, second = hosts.fetch(0, peers_file="/nowhere"), hosts.fetch(1, peers_file="/nowhere")
    for result in (first[0],) if who == 0 else (first[0], second[0]):
        path = Path(result["path"]) / "model-00003-of-00004.safetensors"
        stat = path.stat()
        path.chmod(0o644)
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    hosts.serve()
    hub.sent.clear()
    results = [hosts.fetch(2)[0] for _ in range(1)]
    good([results[0], first[0]])
    if who == 0:
        assert results[0]["source"] == "peers" and not hub.sent
    else:
        assert results[0]["source"] == "huggingface" and "model-00003-of-00004.safetensors" in hub.sent
        assert len(results[0]["dropped_peers"]) == 2
    assert dropped_peers(results[0]["path"]) == results[0]["dropped_peers"]
    if results[0]["dropped_peers"]:
        assert "host-0 (127.0.0.20:" in results[0]["dropped_peers"][0]
        assert "'model-00003-of-00004.safetensors'" in results[0]["dropped_peers"][0]
    assert not m.damage(results[0]["path"], json.loads((Path(results[0]["path"]) / m.MANIFEST).read_text()), full=True)


class OnePeer:
    """What PeerClient needs of Peers."""

    address = "127.0.0.1"

    def __init__(self, *peers: Any) -> None:
        self.peers = list(peers)
        self.progress = types.SimpleNamespace(state={})

    def drop(self, peer: Any, why: str) -> None:
        peer.dropped = why


def test_a_host_that_is_much_slower_than_the_others_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(p, "SLOW_AFTER", 0.2)
    slow, fast = (
        p.Peer({"name": name, "address": "127.0.0.1", "port": 1, "token": "t"}, 0, "m") for name in ("slow", "fast")
    )
    slow.seen = fast.seen = time.monotonic()
    client = p.PeerClient(OnePeer(slow, fast), Limits())  # type: ignore[arg-type]
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
        p.Peer({"name": name, "address": "127.0.0.1", "port": 1, "token": "t"}, 0, "m") for name in ("one", "other")
    )
    client = p.PeerClient(OnePeer(one, other), Limits())  # type: ignore[arg-type]
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
    peers = p.Peers(
        str(tmp_path / "none"), "m", {"huggingface": {"repo": "o/m"}}, 5, Progress(str(tmp_path / "p"), "m")
    )
    assert not peers
    peer = p.Peer({"name": "a", "address": "127.0.0.1", "port": 1, "token": "t"}, 0, "m")
    peers.peers, peers.ask = [peer], lambda _peer, _url: state  # type: ignore[method-assign]
    peers.look(peer)
    assert peers.offers() == [] and not peers.outdated("x")
    peers.table()


def test_without_any_peer_the_hub_serves(fleet: Any, hub: Hub) -> None:
    hosts = fleet(3).serve(2)  # servers of 0 and 1 never came up
    result = hosts.fetch(2)[0]
    good([result])
    assert result["source"] == "huggingface"


def test_a_host_that_begins_late_is_waited_for_a_while(fleet: Any, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = fleet(2).serve()
    hosts.begin(1)
    time.sleep(3)
    hosts.begin(0)
    results = [hosts.result(0), hosts.result(1)]
    good(results)
    assert [r["source"] for r in results] == ["huggingface", "peers"]
    assert sum(hub.sent.values()) <= 1.1 * size_of(hub)


def test_hosts_without_a_route_take_it_from_the_one_that_has_one(fleet: Any, hub: Hub) -> None:
    hosts = fleet(3).serve()
    nowhere = "http://127.0.0.1:9"
    for number in range(3):
        hosts.begin(number, **({} if number == 2 else {"huggingface_endpoint": nowhere}))
    results = [hosts.result(number) for number in range(3)]
    good(results)
    assert [r["source"] for r in results] == ["peers", "peers", "huggingface"]
    assert sum(hub.sent.values()) <= 1.1 * size_of(hub)


def test_if_nobody_has_a_route_all_say_so_soon(fleet: Any) -> None:
    hosts = fleet(2).serve()
    began = time.monotonic()
    for result in hosts.fetch(huggingface_endpoint="http://127.0.0.1:9"):
        assert result["failed"] and "huggingface org/model: " in result["msg"]
        assert "peers the hosts of the play: host-" in result["msg"]
    assert time.monotonic() - began < 45


def test_peers_may_be_the_only_source(fleet: Any, run_module: Run, hub: Hub) -> None:
    hosts = fleet(2)
    good(hosts.fetch(1, peers_file="/nowhere"))
    hosts.serve()
    hub.requests.clear()
    assert run_module("weights_fetch", hosts.arguments(0, order=["peers"]), check=True)["source"] == "peers"
    result = hosts.fetch(0, order=["peers"])[0]
    good([result])
    assert result["source"] == "peers" and not hub.requests
    alone = run_module("weights_fetch", hosts.arguments(5, order=["peers"]))
    assert alone["failed"] and "set weights_relay" in alone["msg"]


def test_a_host_that_comes_from_another_address_than_the_play_has_says_so(fleet: Any, hub: Hub) -> None:
    good(fleet(2).fetch(0, peers_file="/nowhere"))
    hosts = fleet(2).serve()
    config = hosts.folder(1) / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "address": "127.0.0.99"}))
    (result,) = hosts.fetch(1, order=["peers"])
    assert result["failed"] and "set weights_peer_address" in result["msg"], result
    assert "weights_peer_port" not in result["msg"], result


def test_another_revision_than_models_yml_has_is_not_taken(fleet: Any, hub: Hub) -> None:
    hosts = fleet(2)
    good(hosts.fetch(0, peers_file="/nowhere"))
    hosts.serve()
    hosts.sources = {"huggingface": {"repo": "org/model", "revision": "f" * 40}}
    result = hosts.fetch(1)[0]
    assert result["failed"] and "check repo and revision" in result["msg"]
    hosts.sources = {"huggingface": {"repo": "org/other", "revision": None}}
    hub.sent.clear()
    assert hosts.fetch(1)[0]["source"] == "huggingface" and hub.sent


# The server


def ask(fleet: Fleet, number: int, path: str, token: str | None = None, address: str = "") -> tuple[int, bytes]:
    url = f"http://127.0.0.{20 + number}:{fleet.port}{path}"
    headers = {"Authorization": f"Bearer {token if token is not None else fleet.looks[number]['token']}"}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), From(address or "127.0.0.20"))
    try:
        with opener.open(urllib.request.Request(url, headers=headers), timeout=5) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


class From(urllib.request.HTTPHandler):
    def __init__(self, address: str) -> None:
        super().__init__()
        self.address = address

    def http_open(self, request: Any) -> Any:
        import http.client

        def connect(host: str, **options: Any) -> http.client.HTTPConnection:
            return http.client.HTTPConnection(host, source_address=(self.address, 0), **options)

        return self.do_open(connect, request)  # type: ignore[arg-type]


def test_the_server_gives_only_models_of_the_play_to_its_hosts_with_its_token(fleet: Any, hub: Hub) -> None:
    hosts = fleet(2)
    good(hosts.fetch(0, peers_file="/nowhere"))
    hosts.serve()
    status, text = ask(hosts, 0, f"/v1/m/files?commit={COMMIT}")
    rows = json.loads(text)["files"]
    digest = rows["config.json"]["sha256"]
    assert status == 200 and set(rows) == set(hub.names())
    assert ask(hosts, 0, f"/v1/m/sha256/{digest}") == (200, (hub.folder / "config.json").read_bytes())
    assert ask(hosts, 0, f"/v1/m/sha256/{digest}", "")[0] == 401
    assert ask(hosts, 0, f"/v1/m/sha256/{digest}", hosts.looks[1]["token"])[0] == 401
    assert ask(hosts, 0, f"/v1/m/sha256/{digest}", address="127.0.0.99")[0] == 403
    assert ask(hosts, 0, f"/v1/other/sha256/{digest}")[0] == 404
    assert ask(hosts, 0, f"/v1/m/sha256/{digest}", "\xfc\xff")[0] == 401
    for path in ("/", "/etc/passwd", "/v1/m/sha256/..%2f..%2fconfig.json", "/v1/..%2f..", "/v1/m/sha256/" + "0" * 64):
        assert ask(hosts, 0, path)[0] == 404, path


def test_tokens_lie_in_one_file_and_go_with_the_server(fleet: Any, hub: Hub, tmp_path: Path) -> None:
    hosts = fleet(2).serve()
    tokens = [row["token"] for row in hosts.looks]
    assert len(set(tokens)) == 2 and all(len(token) > 40 for token in tokens)
    results = hosts.fetch()
    good(results)
    for number in range(2):
        config = hosts.folder(number) / "config.json"
        assert config.stat().st_mode & 0o777 == 0o600
        command = Path(f"/proc/{hosts.pid(number)}/cmdline").read_bytes()
        environment = Path(f"/proc/{hosts.pid(number)}/environ").read_bytes()
        for token in tokens:
            assert token.encode() not in command + environment
            assert token not in json.dumps(results)
            for path in tmp_path.rglob("*"):
                assert not path.is_file() or path.name == "config.json" or token.encode() not in path.read_bytes()
    pid = hosts.pid(0)
    assert hosts.stop(0)["changed"] and start_ticks(pid) is None
    assert not hosts.stop(0)["changed"] and not (hosts.folder(0) / "config.json").exists()


@pytest.mark.parametrize("options", [{"limit": 2}, {"idle": 2}])
def test_the_server_ends_by_itself(fleet: Any, options: dict[str, int]) -> None:
    hosts = fleet(2).serve(0, **options)
    assert ask(hosts, 0, "/v1/m")[0] == 200
    wait(lambda: not (hosts.folder(0) / "config.json").exists(), 10)


def test_the_server_stays_while_something_is_fetched_here(fleet: Any, hub: Hub) -> None:
    hosts = fleet(2).serve(0, idle=2)
    hub.trouble.bytes_per_second = 500_000
    hosts.begin(0)
    time.sleep(5)
    assert ask(hosts, 0, "/v1/m")[0] == 200
    assert json.loads(ask(hosts, 0, "/v1/m")[1])["stage"] == "outside"
    hub.trouble.bytes_per_second = 0
    good([hosts.result(0)])


def test_a_port_that_is_taken_is_said_and_stops_nobody(fleet: Any, hub: Hub) -> None:
    hosts = fleet(2)
    hosts.serve(1)
    with socket.socket() as other:
        other.bind(("127.0.0.20", hosts.port))
        other.listen()
        result = hosts.start(0)
        assert not result["failed"] and not result["serving"]
        assert "no server on 127.0.0.20 port" in result["reason"] and "weights_peer_port" in result["reason"]
    results = hosts.fetch()
    good(results)


def test_a_second_start_replaces_the_first_and_its_token(fleet: Any) -> None:
    hosts = fleet(2).serve(0)
    old, pid = hosts.looks[0]["token"], hosts.pid(0)
    hosts.serve(0)
    assert hosts.pid(0) != pid and start_ticks(pid) is None
    assert ask(hosts, 0, "/v1/m", old)[0] == 401 and ask(hosts, 0, "/v1/m")[0] == 200


def test_a_second_run_of_the_controller_does_not_disturb_fetches_that_run(fleet: Any, hub: Hub) -> None:
    """The first was interrupted: its fetches go on, and get to know the new tokens."""
    hosts = fleet(3).serve()
    hub.trouble.bytes_per_second = 250_000
    for number in range(3):
        hosts.begin(number)
    wait(lambda: list(hosts.root(2).glob("models/.m*.partial/*.safetensors")))
    hosts.serve()
    results = [hosts.result(number) for number in range(3)]
    good(results)
    assert [r["source"] for r in results] == ["huggingface", "peers", "peers"]
    assert sum(hub.sent.values()) <= 1.1 * size_of(hub)


def test_check_mode_starts_and_stops_nothing(fleet: Any, run_module: Run, hub: Hub) -> None:
    hosts = fleet(2)
    hosts.serve(1)
    given = {"state": "started", **hosts.common(0), "peers": hosts.looks, "server": SERVER}
    assert run_module("weights_peer", given, check=True)["changed"]
    assert not hosts.folder(0).exists()
    stopped = {"state": "stopped", "folder": str(hosts.folder(1))}
    assert (
        run_module("weights_peer", stopped, check=True)["changed"]
        and ask(hosts, 1, "/v1/m", address="127.0.0.21")[0] == 200
    )
    result = run_module("weights_fetch", hosts.arguments(1), check=True)
    assert result["changed"] and not hub.files_asked()


# The controller's part


filters = load("filter_plugins/weights.py")
action = load("action_plugins/weights_fetch.py")


def about(name: str, **forms: bool) -> dict[str, Any]:
    return {"name": name, "forms": [{"key": key, "pending": pending} for key, pending in forms.items()]}


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
    from ansible.module_utils.serving.progress import Progress
    from ansible.module_utils.serving.weights.peers import Peers

    sources = {"huggingface": {"repo": "o/m", "revision": None}}
    peers = Peers("", "m", sources, 1, Progress(str(tmp_path / "progress"), "m"))
    offer = {"kind": "huggingface", "repo": "o/m", "commit": "c" * 40, "published": True}
    wanted = {"include": ["original/*"]}
    assert peers.allowed(offer) and not peers.allowed({**offer, "wanted": wanted})
    peers.files = wanted
    assert peers.allowed({**offer, "wanted": wanted}) and not peers.allowed(offer)


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


def play(hub: Hub, base: Path, hosts: dict[str, dict[str, Any]], **extra: Any) -> str:
    """Output of playbooks/fetch.yml on hosts that are folders and addresses of this machine."""
    port = free_port()
    for number, (name, row) in enumerate(hosts.items()):
        python = base / name / "tools/bin/python"
        python.parent.mkdir(parents=True)
        python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        python.chmod(0o755)
        about = {"ansible_connection": "local", "serving_root": str(base / name), "runs": ["demo"]}
        hosts[name] = {**about, "weights_peer_address": f"127.0.0.{40 + number}", **row}
    inventory = base / "inventory"
    inventory.mkdir()
    (inventory / "group_vars").symlink_to(ROOT / "inventory/group_vars")
    (inventory / "hosts.yml").write_text(json.dumps({"accelerators": {"children": {"local": {"hosts": hosts}}}}))
    models = {"demo": {"sources": {"directory": None, "huggingface": {"repo": "org/model"}}}}
    given = {"models": models, "pins_file": str(base / "pins.json"), "weights_peer_port": port, **extra}
    command = ["ansible-playbook", "playbooks/fetch.yml", "-i", str(inventory / "hosts.yml"), "-e", json.dumps(given)]
    done = subprocess.run(
        [*command, "-vvv"], cwd=ROOT, env=ansible_environment(), capture_output=True, text=True, timeout=180
    )
    assert "Traceback" not in done.stdout + done.stderr and "duplicate" not in done.stderr
    assert "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER" in done.stdout  # the tokens
    assert not re.search(r"token\W+(?!VALUE_SPECIFIED)[\w-]{43}\b", done.stdout)
    assert not list(base.rglob("server.pid")) and not list(base.rglob("config.json.part*"))
    assert not [
        one
        for one in Path("/proc").glob("[0-9]*")
        if b"server.py" in (c := command_of(one)) and str(base).encode() in c
    ]
    assert sum(hub.sent.values()) <= 1.1 * size_of(hub)
    return done.stdout


def test_the_play_shares_and_leaves_nothing_behind(hub: Hub, tmp_path: Path) -> None:
    """Of four hosts two have no way outside, and one fails."""
    hub.trouble.bytes_per_second = 60_000  # long enough to be told of
    nowhere = {"huggingface_endpoint": "http://127.0.0.1:9"}
    hosts = {
        "gpu-1": nowhere,
        "gpu-2": {"huggingface_endpoint": hub.url},
        "gpu-3": nowhere,
        "gpu-4": {**nowhere, "models_root": "/proc/nothing/can/be/made/here"},
    }
    output = play(hub, tmp_path, hosts)
    for name in ("gpu-1", "gpu-2", "gpu-3"):
        assert list((tmp_path / name / "models").glob("demo@*/config.json")), output
    assert re.search(r"gpu-4 +: .*failed=1", output) and output.count("failed=0") == 3, output
    assert re.search(r"^    gpu-2 +(huggingface|asks the others)", output, re.M), output


def test_the_controller_fetches_for_hosts_without_a_route(hub: Hub, tmp_path: Path) -> None:
    hosts: dict[str, dict[str, Any]] = {name: {"weights_sources": ["peers"]} for name in ("gpu-1", "gpu-2")}
    relay = {"weights_relay": str(tmp_path / "relay"), "weights_relay_address": "127.0.0.60"}
    output = play(hub, tmp_path, hosts, huggingface_endpoint=hub.url, **relay)
    assert output.count("failed=0") >= 2 and not re.search(r"failed=[1-9]", output), output
    for name in ("gpu-1/models", "gpu-2/models", "relay"):
        assert list((tmp_path / name).glob("demo@*/config.json")), output


def command_of(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""
