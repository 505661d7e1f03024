"""Planned operations under load: real playbooks, two hosts with a stand-in engine each, a real HAProxy before them. No request fails, none is cut."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from gate import until
from gated import Fleet, fleet_of
from load import Load

HOSTS = ("one", "two")
UP = {"one.demo": "UP", "two.demo": "UP"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, tools: Path) -> Iterator[Fleet]:
    with fleet_of(tmp_path_factory.mktemp("f"), tools, {host: {"runs": ["demo"]} for host in HOSTS}) as fleet:
        fleet.play("deploy.yml")
        until(lambda: fleet.states() == UP, 60)
        yield fleet


@pytest.fixture
def load(served: Fleet) -> Iterator[Load]:
    """No request of a test fails and none is cut."""
    with served.load() as found:
        yield found
    found.whole()


@pytest.mark.slow
def test_upgrade_and_rollback_take_one_host_after_the_other(served: Fleet, load: Load) -> None:
    first = {host: served.release(host) for host in HOSTS}
    told = served.play("playbooks/upgrade.yml", stub_row="b")
    assert told.count("demo was out of the gateways for") == 2 and "other backends answered its callers" in told
    assert all(served.release(host) != first[host] for host in HOSTS)
    served.play("playbooks/rollback.yml", service="demo")
    assert {host: served.release(host) for host in HOSTS} == first
    assert served.states() == UP


@pytest.mark.slow
def test_a_row_may_change_its_port(served: Fleet, load: Load) -> None:
    """Forth, back to the release of before, and back by itself from one that does not answer."""
    first, rows = {host: served.release(host) for host in HOSTS}, served.inventory.read_text()
    served.change_ports()
    told = served.play("playbooks/upgrade.yml")
    assert "other backends answered its callers" in told and served.states() == UP and served.out() == set()
    served.play("playbooks/rollback.yml", service="demo")
    assert {host: served.release(host) for host in HOSTS} == first and served.states() == UP and served.out() == set()
    told = served.play("playbooks/upgrade.yml", stub_mode="crash", ok=False)
    assert "demo was not upgraded" in told and f"Release {first['one']} serves again" in told
    assert {host: served.release(host) for host in HOSTS} == first and served.states() == UP and served.out() == set()
    served.inventory.write_text(rows)


@pytest.mark.slow
def test_a_release_that_does_not_answer_goes_back_before_the_next_host(served: Fleet, load: Load) -> None:
    first, other = {host: served.release(host) for host in HOSTS}, served.pid("two")
    told = served.play("deploy.yml", stub_mode="crash", ok=False)
    assert "demo was not upgraded" in told and served.pid("two") == other
    assert {host: served.release(host) for host in HOSTS} == first and served.states() == UP


@pytest.mark.slow
def test_a_canary_whose_requests_fail_goes_back(served: Fleet) -> None:
    """The release answers the probe and the health agent, and fails callers: few of them, as it has a share alone."""
    first, other = {host: served.release(host) for host in HOSTS}, served.pid("two")
    with served.load(longest=1) as load:
        told = served.play(
            "playbooks/upgrade.yml", stub_mode="sour", ok=False, gateway_canary_share=20, gateway_canary_seconds=120
        )
    assert "demo was not upgraded" in told and "so it takes no more" in told and served.pid("two") == other
    assert {host: served.release(host) for host in HOSTS} == first and served.out() == set() and served.states() == UP
    assert 0 < sum(outcome.words != "ok" for outcome in load.outcomes) < len(load.outcomes) / 5


@pytest.mark.slow
def test_a_return_after_verify_is_as_careful(served: Fleet, load: Load) -> None:
    """A run was killed when it had started a bad release; the next one does not serve, but finds it in verify."""
    first = {host: served.release(host) for host in HOSTS}
    process = served.start("deploy.yml", stub_mode="garbage")
    until(lambda: served.release("one") not in (first["one"], None), 120)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    told = served.play("deploy.yml", "--skip-tags", "serve", ok=False)
    assert f"so release {first['one']} was started again and answers" in told
    assert {host: served.release(host) for host in HOSTS} == first and served.out() == set() and served.states() == UP


@pytest.mark.slow
def test_what_a_killed_run_took_out_is_told_and_put_back_by_the_next(served: Fleet, load: Load) -> None:
    process = served.start("playbooks/restart.yml", "-l", "one", service="demo")
    until(lambda: "one.demo" in served.out(), 120)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert served.out() == {"one.demo"}
    assert "one.demo is out since" in served.play("playbooks/status.yml", ok=False)
    told = served.play("playbooks/restart.yml", "-l", "two", service="demo", ok=False)
    assert "last one of its model that takes requests" in told and served.pid("two")
    served.play("playbooks/start.yml", "-l", "one", service="demo")
    assert served.out() == set() and served.states() == UP


@pytest.mark.slow
def test_maintenance_a_new_key_and_a_stop_and_start(served: Fleet, load: Load) -> None:
    served.play("playbooks/maintenance.yml", "-l", "one")
    assert served.states() == UP
    served.play("playbooks/rotate_key.yml", "-l", "two", service="demo", api_keys={"demo": "b" * 30})
    assert served.states() == UP
    served.play("playbooks/stop.yml", "-l", "two", service="demo")
    assert served.states()["one.demo"] == "UP" and served.out() == set()
    served.play("playbooks/start.yml", "-l", "two", service="demo")
    until(lambda: served.states() == UP, 60)
