"""Weights from host to host: one copy from outside, whatever happens to a host. Each host is an address of loopback."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.serving.weights.manifests import MANIFEST, damage
from ansible.module_utils.serving.weights.records import dropped_peers
from conftest import ROOT, ansible_environment
from fleet import SHARDS, Run, fleet_fixture, good, model_fixture, size_of, wait
from hub import COMMIT, Hub
from ports import free_port

model = pytest.fixture(scope="module")(model_fixture)
fleet = pytest.fixture(fleet_fixture)


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
    manifests = [json.loads((Path(r["path"]) / MANIFEST).read_text()) for r in [*results, alone]]
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
    assert not damage(results[0]["path"], json.loads((Path(results[0]["path"]) / MANIFEST).read_text()), full=True)


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


CHOICE: dict[str, Any] = {"exclude": ["extra/*"]}


def test_hosts_share_a_model_of_which_they_leave_files_out(fleet: Any, hub: Hub) -> None:
    """One copy comes from the hub where models.yml has `exclude`, as where it has none."""
    hosts = fleet(3, **CHOICE).serve()
    good(hosts.fetch())
    wanted = [name for name in hub.names() if not name.startswith("extra/")]
    assert {name: hub.sent[name] for name in wanted} == {name: (hub.folder / name).stat().st_size for name in wanted}


def test_what_a_host_has_of_an_earlier_choice_is_no_offer(fleet: Any, hub: Hub) -> None:
    """`exclude` was taken out of models.yml: who lacks the model must not get it without those files."""
    hosts = fleet(2)
    good(hosts.fetch(0, peers_file="/nowhere", **CHOICE))
    hosts.serve()
    result = hosts.fetch(1)
    good(result)
    assert (Path(result[0]["path"]) / "extra/notes.txt").is_file(), result
