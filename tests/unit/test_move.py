"""move.yml: which way a service moves, what is written into the inventory, and real moves under load; replicas behind a gateway with them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from gate import until
from gated import Fleet, fleet_of

from planning.moves import move_of
from planning.rows import Faults

SERVICES = {"demo": {}, "big": {}, "wide": {"hosts": 2}}
RUNS = {"one": ["demo", "big"], "two": ["big"], "three": []}


def way(service: str = "demo", to: str = "two", said: str = "", **runs: list[str]) -> dict[str, Any]:
    return move_of(service, to, said, {**RUNS, **runs}, SERVICES, {"one": {"demo": {"port": 9000}}})


def test_it_leaves_the_one_host_that_runs_it() -> None:
    found = way()
    assert found["source"] == "one" and found["after"] == {"two": ["big", "demo"], "one": ["big"]}
    assert found["notes"] == [
        "one has overrides of 'demo' (port), which stay there: on two the row counts, with the overrides of two"
    ]
    assert way("big", "three", "two")["after"] == {"three": ["big"], "two": []}


def test_a_move_that_is_done_stays_done() -> None:
    done = way(one=["big"], two=["big", "demo"])
    assert (done["source"], done["there"], done["after"]) == (None, True, {"two": ["big", "demo"]})
    assert way("big", "three", "two", two=[], three=["big"])["source"] is None


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"service": ""}, ["-e service=NAME -e to=HOST"]),
        ({"to": "tow"}, ["-e to names 'tow'", "did you mean 'two'?"]),
        ({"service": "dmeo"}, ["no service is called 'dmeo'", "did you mean 'demo'?"]),
        ({"service": "demo-2"}, ["is a replica of 'demo'", "-e service=demo"]),
        ({"service": "wide"}, ["on several hosts together"]),
        ({"to": "one"}, ["one"]),
        ({"service": "big", "to": "three"}, ["several hosts run 'big' (one, two)", "-e from_host=HOST"]),
        ({"two": ["big", "demo"]}, ["several hosts run 'demo' (one, two)"]),
        ({"said": "tow"}, ["-e from_host names 'tow'"]),
        ({"said": "three"}, ["'demo' is not in runs of three; it is in those of one"]),
        ({"said": "two"}, ["are one host"]),
        ({"one": []}, ["in runs of no host"]),
    ],
)
def test_what_can_not_move_is_a_sentence(given: dict[str, Any], words: list[str]) -> None:
    if given == {"to": "one"}:
        assert way(to="one")["source"] is None  # it is there alone
        return
    with pytest.raises(Faults) as fault:
        way(**given)
    assert all(word in str(fault.value) for word in words), fault.value


INVENTORY = """\
# By hand.
accelerators:
  children:
    h100:
      hosts:
        gpu-01:  # the old one
          ansible_host: 192.0.2.1
          runs: [demo, big]  # two of them
        gpu-02:
          ansible_host: 192.0.2.2
"""


def write(
    run_module: Callable[..., dict[str, Any]], folder: Path, runs: dict[str, list[str]], **more: Any
) -> dict[str, Any]:
    given = {"inventory": str(folder), "inventory_files": [str(folder / "hosts.yml")], "runs": runs}
    return run_module("site_runs", given, **more)


def test_runs_of_both_hosts_are_written_and_nothing_else(run_module: Any, tmp_path: Path) -> None:
    hosts, own = tmp_path / "hosts.yml", tmp_path / "host_vars/gpu-02.yml"
    hosts.write_text(INVENTORY)
    own.parent.mkdir()
    own.write_text("# its own\nruns:\n  - small  # first\n")
    wanted = {"gpu-01": ["big"], "gpu-02": ["small", "demo"]}
    assert write(run_module, tmp_path, wanted, check=True)["files"] == [str(own), str(hosts)]
    assert hosts.read_text() == INVENTORY
    assert write(run_module, tmp_path, wanted)["changed"]
    assert hosts.read_text().split() == INVENTORY.replace("[demo, big]", "[big]").split()
    assert own.read_text() == "# its own\nruns:\n  - small  # first\n  - demo\n"
    assert not write(run_module, tmp_path, wanted)["changed"]
    # Where the group says what a host runs, the host gets a list of its own.
    own.unlink()
    write(run_module, tmp_path, {"gpu-02": ["small", "demo"]})
    assert yaml.safe_load(hosts.read_text())["accelerators"]["children"]["h100"]["hosts"]["gpu-02"]["runs"] == [
        "small",
        "demo",
    ]


def test_what_no_file_has_is_left_to_a_person(run_module: Any, tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").write_text(INVENTORY)
    found = write(run_module, tmp_path, {"other": ["demo"], "gpu-01": ["big"]})
    assert found["by_hand"] == ["other is in no YAML file of this inventory: make its runs [demo]"] and found["changed"]


# Real playbooks under load


OWN_KEYS: dict[str, Any] = {"api_keys": {}}  # each host would make its own


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, tools: Path) -> Iterator[Fleet]:
    hosts: dict[str, dict[str, Any]] = {"one": {"runs": ["demo"]}, "two": {"runs": []}}
    with fleet_of(tmp_path_factory.mktemp("m"), tools, hosts, replicas=2) as fleet:
        fleet.play("deploy.yml", **OWN_KEYS)
        until(lambda: fleet.states() == up("one"), 60)
        yield fleet


def up(host: str) -> dict[str, str]:
    return {f"{host}.demo-{number}": "UP" for number in (1, 2)}


def runs(fleet: Fleet) -> dict[str, Any]:
    hosts = yaml.safe_load(fleet.inventory.read_text())["accelerators"]["children"]["local"]["hosts"]
    return {host: row["runs"] for host, row in hosts.items()}


@pytest.mark.slow
def test_replicas_of_one_host_are_upgraded_one_after_the_other(served: Fleet) -> None:
    assert "demo-2" in served.play("playbooks/status.yml", **OWN_KEYS)
    first = [served.release("one", f"demo-{number}") for number in (1, 2)]
    assert all(first)
    with served.load() as load:
        told = served.play("playbooks/upgrade.yml", stub_row="b", **OWN_KEYS)
    load.whole()
    assert told.count("was out of the gateways for") == 2 and "other backends answered its callers" in told
    now = [served.release("one", f"demo-{number}") for number in (1, 2)]
    assert not set(now) & set(first) and served.states() == up("one")


@pytest.mark.slow
def test_a_service_moves_and_nobody_notices(served: Fleet) -> None:
    before = served.inventory.read_text()
    way = {"service": "demo", "to": "two", **OWN_KEYS}
    with served.load() as load:
        assert "would serve on two and would be stopped on one" in served.play("playbooks/move.yml", "--check", **way)
        assert (
            served.inventory.read_text() == before and not served.pid("two", "demo-1") and served.states() == up("one")
        )
        process = served.start("playbooks/move.yml", **way)
        until(lambda: "one.demo-1" in served.out(), 300)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert runs(served)["one"] == ["demo"]
        assert "demo serves on two and is stopped on one" in served.play("playbooks/move.yml", **way)
    load.whole()
    assert served.states() == up("two") and served.out() == set()
    assert runs(served) == {"one": [], "two": ["demo"]} and served.inventory.read_text().startswith(
        "# Written by hand.\n"
    )
    assert not served.pid("one", "demo-1") and not served.pid("one", "demo-2")
    keys = {(served.root(host) / "services/demo-1/api_key").read_text() for host in ("one", "two")}
    assert len(keys) == 1
