"""weights_peer: the server of a host gives models of the play to its hosts, with its token, and ends by itself."""

from __future__ import annotations

import json
import socket
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.serving.service.releases import start_ticks
from conftest import load
from fleet import SERVER, Fleet, Run, fleet_fixture, good, model_fixture, size_of, wait
from hub import COMMIT, Hub

model = pytest.fixture(scope="module")(model_fixture)
fleet = pytest.fixture(fleet_fixture)


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


@pytest.mark.parametrize(
    ("given", "mine", "others", "wanted"),
    [
        ("gpu-1.example.org", ["127.0.1.1"], ["192.0.2.2"], "192.0.2.1"),
        ("gpu-1.example.org", ["::1", "127.0.1.1", "192.0.2.7"], ["192.0.2.2"], "192.0.2.7"),
        ("gpu-1.example.org", ["127.0.1.1"], ["127.0.0.5", "2001:db8::2"], "2001:db8::1"),
        ("gpu-1.example.org", ["127.0.1.1"], ["203.0.113.9"], "127.0.1.1"),
        ("127.0.0.20", ["127.0.0.20"], ["192.0.2.2"], "127.0.0.20"),
        ("localhost", ["127.0.0.1"], ["127.0.0.5"], "127.0.0.1"),
        ("fd00::1", ["fd00::1"], ["fd00::2"], "fd00::1"),
    ],
)
def test_a_name_that_is_loopback_on_its_own_host_is_the_way_to_the_others(
    monkeypatch: pytest.MonkeyPatch, given: str, mine: list[str], others: list[str], wanted: str
) -> None:
    """As Debian's installer writes it: «127.0.1.1 gpu-1.example.org gpu-1». Nobody would reach a server there."""
    module = load("library/weights_peer.py")
    ways = {"192.0.2.2": "192.0.2.1", "2001:db8::2": "2001:db8::1"}
    known = {given: mine, **{f"other-{number}": [one] for number, one in enumerate(others)}}
    monkeypatch.setattr(module, "towards", ways.get)
    monkeypatch.setattr(module, "addresses", known.__getitem__)
    peers = [{"name": f"host {name}", "address": name, "port": 1, "token": "t", "forms": []} for name in known]
    options = {"name": f"host {given}", "peers": peers, "models_root": "/m", "limit": 1, "idle": 1}
    found = module.config_of(options, 0.0)
    assert found["address"] == wanted
    assert set(others) <= set(found["allow"])


def test_the_way_to_another_host_is_what_the_kernel_says() -> None:
    module = load("library/weights_peer.py")
    assert module.towards("127.0.0.9") == "127.0.0.1"
    assert module.towards("no such name.invalid") is None
