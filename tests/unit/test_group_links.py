"""Hosts of a service call each other, on loopback addresses that stand for hosts."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.serving.host import links
from ansible.module_utils.serving.sizing import spread
from ports import free_port


def group(rank: int, port: int, size: int = 2) -> dict[str, Any]:
    addresses = ["127.0.0.1", "127.0.0.2", "127.0.0.3"][:size]
    return {
        "size": size, "rank": rank, "members": ["a", "b", "c"][:size], "addresses": addresses, "address": addresses[rank], "interface": "lo",
        "ports": {"check": port}, "across": "tensor",
    }  # fmt: skip


def together(*about: dict[str, Any], seconds: float = 20) -> list[links.Meeting]:
    port = free_port()
    found: dict[int, links.Meeting] = {}

    def one(rank: int) -> None:
        found[rank] = links.meet(group(rank, port, len(about)), about[rank], seconds)

    threads = [threading.Thread(target=one, args=(rank,)) for rank in range(len(about))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [found[rank] for rank in range(len(about))]


def test_three_hosts_that_reach_each_other_have_no_problem_and_measure_their_links() -> None:
    for met in together(*({"driver": "580.1", "kernel": f"6.{number}"} for number in range(3))):
        assert links.problems("x", met) == []
        assert set(met.rates) == set(met.trips) == {0, 1, 2} - {met.group["rank"]}
        assert links.slowest(met) == (min(met.rates.values()), max(met.trips.values()))
        assert min(met.rates.values()) > 1e6 and met.mtu == met.reached[(met.group["rank"] + 1) % 3]["mtu"] > 0


def test_drivers_and_clocks_that_differ_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = together({"driver": "580.1"}, {"driver": "570.2"})
    (text,) = links.problems("x", first)
    assert (
        text
        == "service 'x': driver is 580.1 here and 570.2 on b (127.0.0.2); the hosts of one service must have the same"
    )
    first.reached[1].update(time=first.reached[1]["seen"] - 60, about=first.about)
    assert links.problems("x", first) == [
        "service 'x': the clock of b (127.0.0.2) is -60 s from this host's; set both by NTP"
    ]


def test_a_host_that_is_not_there_and_one_that_is_reached_one_way() -> None:
    port = free_port()
    met = links.meet(group(0, port), {}, 1)
    (text,) = links.problems("x", met)
    assert f"does not reach b (127.0.0.2): the port `check`, {port}, is not reached (Connection refused)" in text
    met.reached[1] = {"time": 1.0, "seen": 1.0}
    (text,) = links.problems("x", met)
    assert "b (127.0.0.2) does not reach this host at 127.0.0.1" in text


SERVICE = {
    "service": "x", "kind": "gpu", "runtime": "native", "rdma": False, "widths": {"devices": 8},
    "model": {"bytes": 140_000_000_000, "dtype": "bfloat16", "shape": {"layers": 80, "hidden_size": 8192, "attention_heads": 64, "kv_heads": 8,
    "head_dim": 128, "vocab_size": 32000}},
}  # fmt: skip
H100 = {
    "kind": "gpu",
    "versions": {"driver": "580.1"},
    "devices": [{"name": "NVIDIA H100 80GB HBM3", "memory_total_bytes": 80 << 30}],
}


def test_the_module_says_what_is_wrong_with_an_address(run_module: Any) -> None:
    away = {**SERVICE, "group": {**group(0, free_port()), "address": "192.0.2.1"}}
    found = run_module("group_links", {"services": [away], "wait": 1})
    assert found["failed"] and "192.0.2.1 port" in found["msg"] and "correct group_address" in found["msg"]
    assert run_module("group_links", {"services": []})["links"] == {}


def test_the_module_tells_what_carries_the_traffic_and_what_the_links_cost_a_token(run_module: Any) -> None:
    port = free_port()
    other = threading.Thread(target=links.meet, args=(group(1, port), H100["versions"], 20))
    other.start()
    found = run_module("group_links", {"services": [{**SERVICE, "group": group(0, port)}], "record": H100})
    other.join()
    row = found["links"]["x"]
    assert row["text"] == "reaches b (127.0.0.2)" and "TCP over lo" in row["transport"]
    assert row["bytes_per_second"] > 0 and "ms with a pipeline; with the reading of the weights" in row["advice"]


def test_a_call_that_came_further_counts() -> None:
    """A host that has met all others is gone, and refuses connections."""
    port = free_port()
    with socket.create_server(("127.0.0.2", port)) as check, socket.create_server(("127.0.0.2", 0)) as large:
        said = json.dumps({"rank": 1, "port": large.getsockname()[1], "time": 1.0}).encode() + b"\n"

        def answer() -> None:
            for _ in range(links.TRIPS + 1):
                caller = check.accept()[0]
                caller.sendall(said)
                caller.close()
            check.close()
            large.accept()[0].close()  # takes nothing of what is sent

        other = threading.Thread(target=answer)
        other.start()
        met = links.meet(group(0, port), {}, 3)
        other.join()
    (text,) = links.problems("x", met)
    assert "does not reach b (127.0.0.2): large packets don't arrive" in text


GOOD = {"rank": 1, "port": 9, "time": 1.0}


def call(port: int, words: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), 5, source_address=("127.0.0.2", 0)) as caller:
        caller.sendall(words)
        caller.shutdown(socket.SHUT_WR)
        caller.makefile().readline()


@pytest.mark.parametrize(
    "said",
    [b"", b"SSH-2.0-x\n", b"[" * 60_000, b"[]\n", b"{}\n", b'{"rank": 1}\n', b"\xff\n",
     *(json.dumps({**GOOD, **odd}).encode() for odd in ({"rank": [1]}, {"port": "x"}, {"port": 99_999}, {"time": None}, {"about": 5}, {"mtu": {}}))],
    ids=lambda said: said[:40].decode("latin-1"),
)  # fmt: skip
def test_another_program_at_the_port_is_told_whatever_it_says(said: bytes) -> None:
    """It calls here, too: the host's own listener goes on, and meets whoever is right."""
    port = free_port()
    with socket.create_server(("127.0.0.2", port)) as check:

        def answer() -> None:
            with contextlib.suppress(OSError):
                while True:
                    with check.accept()[0] as caller:
                        caller.sendall(said)

        threading.Thread(target=answer, daemon=True).start()
        found: list[links.Meeting] = []
        meeting = threading.Thread(target=lambda: found.append(links.meet(group(0, port), {}, 3)))
        meeting.start()
        while meeting.is_alive():
            for words in (said, json.dumps(GOOD).encode() + b"\n"):
                with contextlib.suppress(OSError):
                    call(port, words)
            time.sleep(0.2)
    text = " ".join(links.problems("x", found[0]))
    assert "does not reach b (127.0.0.2)" in text and "one way" not in text and 1 in found[0].called


def test_the_interface_of_an_address_is_found() -> None:
    assert links.interface_of("127.0.0.1") == "lo" and links.interface_of("192.0.2.77") == ""
    assert links.mtu_of("lo") > 0 and links.mtu_of("none9") == 0


def test_rdma_is_told_where_a_port_of_an_adapter_is_up(tmp_path: Path) -> None:
    for name, state, layer in (
        ("mlx5_0", "4: ACTIVE", "InfiniBand"),
        ("mlx5_1", "1: DOWN", "InfiniBand"),
        ("bnxt_0", "4: ACTIVE", "Ethernet"),
    ):
        port = tmp_path / name / "ports/1"
        port.mkdir(parents=True)
        (port / "state").write_text(state + "\n")
        (port / "link_layer").write_text(layer + "\n")
    found = links.adapters(str(tmp_path))
    assert found == ["bnxt_0 (RoCE)", "mlx5_0 (InfiniBand)"] and links.adapters(str(tmp_path / "none")) == []
    assert (
        links.transport("gpu", "native", False, "eth0", found)
        == "RDMA by bnxt_0 (RoCE), mlx5_0 (InfiniBand), set up over eth0"
    )
    assert "set rdma: true in the row" in links.transport("gpu", "container", False, "eth0", found)
    assert links.transport("gpu", "container", True, "eth0", found).startswith("RDMA by")
    assert links.transport("gpu", "container", False, "eth0", []) == "TCP over eth0; no RDMA adapter is up here"
    assert links.transport("npu", "container", True, "eth0", found).startswith(
        "HCCL over the NPUs' own ports, and TCP over eth0"
    )


def test_slow_links_are_for_a_pipeline_and_fast_ones_for_tensor_parallelism() -> None:
    """A dense model of 140 GB on eight H100 a host, two hosts: 160 all-reduces a token, each of two half round trips."""
    reading = spread.reading_seconds(140e9, 8, 3e12, 2)
    assert reading == pytest.approx((0.002917, 0.005833), rel=1e-3)
    slow = spread.link_seconds(80, 8192, 2, 125e6, 200e-6)
    assert slow == pytest.approx((0.05297, 0.000231), rel=1e-3)
    text, other = spread.advice("tensor", slow, reading, 125e6, 200e-6)
    assert (
        other
        and "slowest link 1 Gbit/s, round trip 0.20 ms" in text
        and text.endswith("so across: pipeline answers faster here")
    )
    assert spread.advice("pipeline", slow, reading, 125e6, 200e-6)[1] is False
    fast = spread.link_seconds(80, 8192, 2, 50e9, 2e-6)
    assert spread.advice("tensor", fast, reading, 50e9, 2e-6)[1] is False
    heavy = spread.reading_seconds(1400e9, 8, 3e12, 8)
    text, other = spread.advice("pipeline", spread.link_seconds(80, 8192, 8, 50e9, 2e-6), heavy, 50e9, 2e-6)
    assert other and text.endswith("so across: tensor answers faster here")
    assert "weights" not in spread.advice("tensor", slow, None, 125e6, 200e-6)[0]
