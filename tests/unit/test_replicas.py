"""`replicas` of a row: names, ports, devices, cores and keys of several processes of one service."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from services import Host, host_fixture
from test_gateway import pools
from test_plan import GPU, p, plan, refusal, service

host = pytest.fixture(host_fixture)


def replicas(**row: Any) -> dict[str, Any]:
    return {"services": service(replicas=2, **row)}


def test_each_is_a_service_of_its_own_and_callers_see_one_name() -> None:
    found = plan(**replicas())
    assert [(one["service"], one["port"], one["served_name"], one["replica_of"]) for one in found] == [
        ("demo-1", 8000, "demo", "demo"),
        ("demo-2", 8001, "demo", "demo"),
    ]
    (pool,) = pools(*({**one, "host": "gw"} for one in found))["pools"]
    assert pool["model"] == "demo" and [one["name"] for one in pool["backends"]] == ["gw.demo-1", "gw.demo-2"]
    alone = plan(services=service(replicas=1))[0]
    assert (alone["service"], alone["replica_of"]) == ("demo", None)


def test_devices_that_nobody_names_are_given_out_and_named_ones_are_dealt() -> None:
    args = {"tensor_parallel_size": 2}
    assert [one["devices"] for one in plan(board=GPU, **replicas(engine_args=args))] == [[0, 1], [2, 3]]
    assert [one["devices"] for one in plan(board=GPU, **replicas(engine_args=args, devices=[4, 6, 5, 7]))] == [
        [4, 6],
        [5, 7],
    ]
    assert "'devices' has 3, which 2 replicas can't share" in refusal(board=GPU, **replicas(devices=[1, 2, 3]))
    many = service(replicas=5, engine_args=args)
    assert "needs 2 devices" in refusal(board=GPU, services=many) and "demo-5" in refusal(board=GPU, services=many)


def test_cores_that_the_row_names_are_dealt_out() -> None:
    assert [one["cpus"] for one in plan(**replicas(cpus="0-15|16-31"))] == ["0-15", "16-31"]
    assert "'cpus' has 1" in refusal(**replicas(cpus="0-15"))


def test_a_host_changes_all_of_them_or_one() -> None:
    changes = {"demo": {"port": 9000, "env": {"A": "1"}}, "demo-2": {"port": 9100, "env": {"A": None, "B": "2"}}}
    first, second = plan(overrides=changes, **replicas(env={"A": "0"}))
    assert (first["port"], first["env"]) == (9000, {"A": "1"})
    assert (second["port"], second["env"]) == (9100, {"B": "2"})
    assert [one["service"] for one in plan(overrides={"demo": {"replicas": 3}})] == ["demo-1", "demo-2", "demo-3"]
    assert [one["service"] for one in plan(overrides={"demo": {"replicas": 1}}, **replicas())] == ["demo"]


def test_each_is_reached_through_a_tunnel_of_its_own() -> None:
    found = plan(**replicas(gateway={"via": "[::1]:19010", "weight": 7}))
    assert [one["gateway"] for one in found] == [
        {"via": "[::1]:19010", "weight": 7},
        {"via": "[::1]:19011", "weight": 7},
    ]


@pytest.mark.parametrize("count", [0, -1, 65, True, "2", 1.5])
def test_a_number_that_is_none_is_a_sentence(count: Any) -> None:
    assert "'replicas' is" in refusal(services=service(replicas=count))


def test_what_clashes_is_a_sentence() -> None:
    rows = {**service(replicas=2), "demo-2": {"model": "demo", "port": 8100}}
    assert "its replica would be called 'demo-2'" in refusal(services=rows)
    rows = {**service(replicas=2), "other": {"model": "demo", "port": 8001}}
    assert "'demo-2' and 'other' both use port 8001" in refusal(services=rows, runs=("demo", "other"))


def test_names_are_known_whatever_is_wrong_with_the_rows() -> None:
    rows = {"demo": {"replicas": 2}, "bad": {"replicas": "x"}, "odd": None}
    assert p.replica_names(["demo", "bad", "odd", "gone"], rows, {"demo": None}) == [
        "demo-1",
        "demo-2",
        "bad",
        "odd",
        "gone",
    ]
    assert p.replica_names(None, rows) == []


@pytest.mark.slow
def test_replicas_have_one_key(host: Host) -> None:
    first = host.root / "services/demo-1/api_key"
    first.parent.mkdir(parents=True)
    first.write_text("k" * 40 + "\n")
    args = {
        "name": "demo", "serving_root": str(host.root), "supervisor": "supervisord", "shares_with": "demo-1", "python": "/usr/bin/python3", "runner": "x",
        "files": {"start": "#!/bin/sh\nexit 0\n"},
        "spec": {"endpoint": f"http://127.0.0.1:{host.port}", "drain_timeout": 1, "ready_timeout": 1, "restart_limit": 1, "api_key": True},
    }  # fmt: skip
    host.run("inference_service", args)
    assert (host.folder / "api_key").read_text() == first.read_text()
    own = host.run("inference_service", {**args, "api_key": "o" * 40})  # a given one goes before it
    assert "the given one" in " ".join(own["reasons"]) and (host.folder / "api_key").read_text().startswith("o" * 40)


@pytest.mark.slow
def test_uninstall_says_of_each_whether_it_went(playbook: Callable[..., Any], tmp_path: Path) -> None:
    """The last one not being there hides nothing of the first one."""
    (tmp_path / "services/demo-1/releases/0123456789ab").mkdir(parents=True)
    extra = {
        "overrides": {"demo": {"replicas": 2}},
        "serving_root": str(tmp_path),
        "models_root": str(tmp_path / "models"),
        "service": "demo",
    }
    done = playbook("playbooks/uninstall.yml", "-l", "local", "-e", json.dumps(extra))
    said = " ".join(done.stdout.split())
    assert done.returncode == 0, said + done.stderr
    assert "service 'demo-1' removed; service 'demo-2' is not deployed on this host;" in said
    assert not (tmp_path / "services/demo-1").exists()
