"""Hosts of a service call each other, on loopback addresses that stand for hosts."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from ansible.module_utils.serving.host import links
from ports import free_port


def group(rank: int, port: int) -> dict[str, Any]:
    addresses = ["127.0.0.1", "127.0.0.2"]
    return {
        "size": 2, "rank": rank, "members": ["a", "b"], "addresses": addresses, "address": addresses[rank], "ports": {"check": port},
    }  # fmt: skip


def both(*about: dict[str, Any], seconds: float = 20) -> list[links.Meeting]:
    port = free_port()
    found: dict[int, links.Meeting] = {}

    def one(rank: int) -> None:
        found[rank] = links.meet(group(rank, port), about[rank] if about else {}, seconds)

    threads = [threading.Thread(target=one, args=(rank,)) for rank in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [found[0], found[1]]


def test_hosts_that_reach_each_other_have_no_problem() -> None:
    for met in both({"driver": "580.1", "kernel": "6.1"}, {"driver": "580.1", "kernel": "6.2"}):
        assert links.problems("x", met) == []


def test_drivers_and_clocks_that_differ_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = both({"driver": "580.1"}, {"driver": "570.2"})
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
    assert f"does not reach b (127.0.0.2) on port {port}" in text and "Connection refused" in text
    met.reached[1] = {"time": 1.0, "seen": 1.0}
    (text,) = links.problems("x", met)
    assert "b (127.0.0.2) does not reach this host at 127.0.0.1" in text


def test_the_module_says_what_is_wrong_with_an_address(run_module: Any) -> None:
    away = {**group(0, free_port()), "address": "192.0.2.1"}
    found = run_module("group_links", {"groups": {"x": away}, "wait": 1})
    assert found["failed"] and "192.0.2.1 port" in found["msg"] and "correct group_address" in found["msg"]
    assert run_module("group_links", {"groups": {}})["links"] == []
