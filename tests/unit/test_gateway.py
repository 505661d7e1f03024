"""What the gateway balances and who may ask: pools, callers, keys, certificates, and the role on this machine."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from conftest import load

from planning.callers import resolve_callers
from planning.gateway import admitted, as_deployed, beside, common_keys, gateway_pools, pool_name
from planning.rows import Faults


def record(**changes: Any) -> dict[str, Any]:
    return {
        "host": "gpu-01", "service": "demo", "port": 8000, "address": "10.0.0.5", "served_name": "demo", "api_key": True, "paths": [],
        "engine_facts": {"paths": ["/v1/models", "/metrics"]},
        "engine_args": {}, "model": {"name": "demo"}, "gateway": {}, **changes,
    }  # fmt: skip


def pools(*records: dict[str, Any], gateway: str = "gw") -> dict[str, Any]:
    plans: dict[str, list[dict[str, Any]]] = {}
    for row in records:
        plans.setdefault(row["host"], []).append(row)
    return gateway_pools(plans, {host: f"{host}.example" for host in plans}, gateway)


def only_backend(row: dict[str, Any], gateway: str = "gw") -> dict[str, Any]:
    found = pools(row, gateway=gateway)
    assert found["faults"] == []
    return dict(found["pools"][0]["backends"][0])


def test_one_name_is_one_pool_of_all_hosts() -> None:
    found = pools(
        record(),
        record(host="gpu-02", paths=["/tokenize"], gateway={"idle_seconds": 900}),
        record(service="b", served_name="org/b"),
    )
    assert [(pool["model"], len(pool["backends"])) for pool in found["pools"]] == [("demo", 2), ("org/b", 1)]
    assert found["pools"][0]["paths"] == ["/v1/models", "/tokenize"] and found["pools"][0]["idle_seconds"] == 900
    assert pool_name("org/b") != pool_name("org_b")


@pytest.mark.parametrize(
    ("changes", "gateway", "address", "way"),
    [
        ({}, "gw", "10.0.0.5", "plain HTTP"),
        ({"address": "0.0.0.0"}, "gw", "gpu-01.example", "plain HTTP"),
        ({"address": "0.0.0.0"}, "gpu-01", "127.0.0.1", "same host"),
        ({"address": "127.0.0.1"}, "gpu-01", "127.0.0.1", "same host"),
        ({"gateway": {"encrypted": True}}, "gw", "10.0.0.5", "encrypted network"),
        ({"address": "127.0.0.1", "gateway": {"via": "[::1]:19010"}}, "gw", "::1", "tunnel or TLS proxy"),
    ],
)
def test_where_the_gateway_reaches_a_service(changes: dict[str, Any], gateway: str, address: str, way: str) -> None:
    found = only_backend(record(**changes), gateway)
    assert (found["address"], found["way"]) == (address, way)


def test_where_a_gateway_is_told_that_a_service_is_now() -> None:
    at = load("filter_plugins/gateway.py").backend_at
    assert at(record(), "gw", "gpu-01.example") == "10.0.0.5:8000"
    assert at(record(address="0.0.0.0"), "gw", "gpu-01.example") == "gpu-01.example:8000"
    assert at(record(gateway={"via": "[::1]:19010"}), "gw", "x") == "[::1]:19010"
    assert at(record(gateway={"expose": False}), "gw", "x") == "" == at(record(address="127.0.0.1"), "gw", "x")


def test_a_service_is_balanced_where_it_listens_though_its_row_is_ahead() -> None:
    def listens(endpoint: str, by: str = "gw", **changes: Any) -> tuple[str, int]:
        plans = as_deployed({"gpu-01": [record(**changes)]}, {"gpu-01": {"demo": endpoint}})
        found = only_backend(plans["gpu-01"][0], by)
        return found["address"], found["port"]

    assert listens("http://10.0.0.9:8001") == ("10.0.0.9", 8001)
    assert listens("http://[fd00::9]:8001") == ("fd00::9", 8001)
    assert listens("http://127.0.0.1:8001", address="0.0.0.0") == ("gpu-01.example", 8001)
    assert listens("http://127.0.0.1:8001", "gpu-01", address="127.0.0.1") == ("127.0.0.1", 8001)
    assert listens("http://127.0.0.1:8001", gateway={"via": "127.0.0.1:19010"}) == ("127.0.0.1", 19010)
    assert listens("") == ("10.0.0.5", 8000)
    assert as_deployed({"gpu-01": [record()]}, {}) == {"gpu-01": [record()]}


def test_what_serves_in_a_service_s_place() -> None:
    row = record(endpoint="http://[fd00::5]:8000", gateway={"beside": 8001})
    found = beside(row, [row])
    assert {key for key in found if found[key] != row.get(key)} == {
        "service",
        "port",
        "endpoint",
        "shares_with",
        "devices_given",
    }
    assert (found["service"], found["port"], found["endpoint"]) == ("demo-beside", 8001, "http://[fd00::5]:8001")
    tunnel = beside({**row, "gateway": {"beside": 8001, "via": "[::1]:19010"}}, [row])
    assert load("filter_plugins/gateway.py").backend_at(tunnel, "gw", "x") == "[::1]:8001"
    for none in (record(), {**row, "group": {"size": 2}}, {**row, "gateway": {"beside": 1, "expose": False}}):
        assert beside(none, [row]) == {}
    others = [{"service": "other", "port": 8002}, {"service": "demo-beside", "port": 8003}]
    for port, plan in ((8000, [row]), (65536, [row]), (8002, [row, others[0]]), (8001, [row, others[1]])):
        with pytest.raises(
            Faults, match=f"gateway.beside is {port}, but must be a port that no service of this host has"
        ):
            beside({**row, "gateway": {"beside": port}}, plan)


def test_a_name_beside_the_model_s_is_routed_where_all_of_its_backends_have_it() -> None:
    def row(host: str, *names: str, model: str = "demo") -> dict[str, Any]:
        adapters = [{"name": name} for name in names[1:]]
        return record(host=host, served_name=model, aliases=[*names[:1]], adapters=adapters)

    found = pools(
        row("a", "gpt", "sql", "new"), row("b", "gpt", "sql", "b a d"), row("c", "gpt", "demo", model="other")
    )
    assert [pool["also"] for pool in found["pools"]] == [["gpt", "sql"], []] and found["faults"] == []
    told = [note for note in found["notes"] if "HTTP" not in note]
    assert [note.split("'")[1] for note in told] == ["new", "b a d", "gpt", "demo"]
    assert "only some of the hosts that serve 'demo' have it" in told[0] and "gets that of 'demo'" in told[2]


def test_what_is_unencrypted_is_said() -> None:
    assert "plain HTTP" in pools(record())["notes"][0]
    assert pools(record(gateway={"encrypted": True}))["notes"] == []


def test_a_backend_keeps_a_seat_for_the_health_check() -> None:
    assert only_backend(record(engine_args={"max_num_seqs": 8}))["concurrent"] == 7
    assert only_backend(record(engine_args={"max_num_seqs": 1}))["concurrent"] == 1
    assert only_backend(record())["concurrent"] == 255
    assert only_backend(record(gateway={"concurrent": 12}))["concurrent"] == 12


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([record(address="127.0.0.1")], ["listens on 127.0.0.1", "gateway.via"]),
        ([record(served_name="two words")], ["'two words'", "can't be routed"]),
        ([record(), record(host="gpu-02", model={"name": "other"})], ["'demo'", "another 'model'"]),
        ([record(gateway={"wieght": 3})], ["unknown key 'wieght'", "did you mean 'weight'?"]),
        ([record(gateway={"weight": 257})], ["weight is 257", "1 to 256"]),
        ([record(gateway={"via": "nowhere"})], ["must be host:port"]),
        ([record(gateway={"pool_requires": "verdikt"})], ["'verdikt'", "verdict"]),
        ([record(gateway={"queue": 0})], ["'queue' is 0"]),
    ],
)  # fmt: skip
def test_what_can_not_be_balanced_is_a_sentence(rows: list[dict[str, Any]], words: list[str]) -> None:
    (fault,) = pools(*rows)["faults"]
    assert all(word in fault for word in words), fault


def test_a_service_that_is_not_exposed_is_no_backend() -> None:
    assert pools(record(gateway={"expose": False}, served_name="two words"))["pools"] == []


def test_a_pool_uses_the_newest_key_that_all_backends_accept() -> None:
    pool = pools(record(), record(host="gpu-02"))["pools"][0]
    names = [one["name"] for one in pool["backends"]]
    assert common_keys([pool], {names[0]: "new\nold\n", names[1]: "old\n"})["keys"] == {"model-demo": "old"}
    assert common_keys([pool], {names[0]: "new\nold\n", names[1]: "new\nold\n"})["keys"] == {"model-demo": "new"}
    assert common_keys([pool], {names[1]: "old\n"})["keys"] == {"model-demo": "old"}  # the other host does not answer
    assert common_keys([pool], {}) == {"keys": {}, "faults": []}
    (fault,) = common_keys([pool], {names[0]: "aaa\n", names[1]: "bbb\n"})["faults"]
    assert "gpu-01, gpu-02" in fault and "api_keys" in fault and "aaa" not in fault


def verdict(word: str = "EQUIVALENT", pack: str = "p") -> dict[str, Any]:
    return {"verdict": word, "pack": {"name": pack, "digest": f"sha256:{pack}"}}


@pytest.mark.parametrize(
    ("verdicts", "refused"),
    [
        ({"gpu-01.demo": verdict(), "gpu-02.demo": verdict()}, {}),
        ({"gpu-01.demo": verdict(), "gpu-02.demo": verdict("DIFFERENT")}, {"gpu-02.demo": "is DIFFERENT against p"}),
        (
            {"gpu-01.demo": verdict("UNDERPOWERED"), "gpu-02.demo": verdict()},
            {"gpu-01.demo": "is UNDERPOWERED against p"},
        ),
        (
            {"gpu-01.demo": verdict(), "gpu-02.demo": None},
            {"gpu-02.demo": "no verdict; judge it: playbooks/judge.yml -l gpu-02 -e service=demo"},
        ),
        (
            {"gpu-01.demo": verdict(), "gpu-02.demo": verdict(pack="q")},
            {"gpu-02.demo": "judged against q, and the others against p"},
        ),
        ({"gpu-02.demo": verdict()}, {}),  # gpu-01 does not answer, and is in the pool
        ({"gpu-01.demo": verdict()}, {"gpu-02.demo": "its host gives no answer"}),
    ],
)
def test_a_pool_that_requires_verdicts_refuses_what_is_not_like_the_others(
    verdicts: dict[str, Any], refused: dict[str, str]
) -> None:
    rows = [record(gateway={"pool_requires": "verdict"}), record(host="gpu-02"), record(service="b", served_name="b")]
    found = admitted(pools(*rows)["pools"], verdicts, ["gpu-01.demo"])
    assert set(found["refused"]) == set(refused)
    assert all(refused[name] in why and "the pool of 'demo'" in why for name, why in found["refused"].items())
    left = {one["name"] for pool in found["pools"] for one in pool["backends"]}
    assert left == {"gpu-01.demo", "gpu-02.demo", "gpu-01.b"} - set(refused)


def test_the_report_says_when_a_service_was_out() -> None:
    last = {
        "gpu-01.demo": {"since": 0.0, "until": 41.4, "alone": True},
        "gpu-02.demo": {"since": 0.0, "until": 9.0, "alone": False},
    }
    results = [{"item": "gw", "last": last}, {"item": "gw-2", "unreachable": True}]
    found = load("filter_plugins/gateway.py").outages([record(), record(service="b")], "gpu-01", results)
    assert found == {"demo": ["41 s from 1970-01-01 00:00:00 UTC, gw: callers of its model got 503 with Retry-After"]}


SECRET = "plain-secret-0123456789-abcdef"


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({}, ["'keys' must be a list"]),
        ({"keys": []}, ["'keys' must be a list"]),
        ({"keys": ["short"]}, ["key 1 (5 characters)", "openssl rand"]),
        ({"keys": [SECRET + " "]}, ["key 1 (31 characters)"]),
        ({"keys": [5]}, ["must be {key: ...}"]),
        ({"keys": [{"key": SECRET, "sha256": "0" * 64}]}, ["must be {key: ...} or {sha256: ...}"]),
        ({"keys": [{"sha256": SECRET}]}, ["64 hexadecimal digits"]),
        ({"keys": [{"key": SECRET, "expires": "soon"}]}, ["'soon'", "2027-01-31"]),
        ({"keys": [SECRET], "models": ["demmo"]}, ["'demmo'", "did you mean 'demo'?"]),
        ({"keys": [SECRET], "rate": 1}, ["unknown key 'rate'"]),
        ({"keys": [SECRET], "concurrency": 0}, ["'concurrency' is 0"]),
    ],
)
def test_a_callers_fault_is_a_sentence_without_its_key(row: dict[str, Any], words: list[str]) -> None:
    (fault,) = resolve_callers({"team": row}, ["demo"])["faults"]
    assert all(word in fault for word in words), fault
    assert SECRET not in fault


def test_two_callers_never_share_a_key() -> None:
    (fault,) = resolve_callers({"a": {"keys": [SECRET]}, "b": {"keys": [SECRET]}}, ["demo"])["faults"]
    assert "also a key of 'a'" in fault and SECRET not in fault


def test_a_key_ends_with_the_first_of_its_own_day_and_its_callers() -> None:
    rows = resolve_callers(
        {"a": {"keys": [{"key": SECRET, "expires": "1970-01-02"}], "expires": "1970-01-01"}}, ["demo"]
    )["callers"]
    assert list(rows[0]["keys"].values()) == [86400]
    assert SECRET not in json.dumps(rows)


# Certificates


def certificate(run_module: Any, folder: Path, check: bool = False, **more: Any) -> dict[str, Any]:
    return dict(
        run_module(
            "gateway_certificate",
            {"folder": str(folder), "name": "gw", "names": ["localhost", "127.0.0.1"], **more},
            check=check,
        )
    )


def test_a_certificate_is_made_once_and_anew_when_it_is_due(run_module: Any, tmp_path: Path) -> None:
    folder = tmp_path / "ca"
    assert certificate(run_module, folder, check=True)["changed"] and not folder.exists()
    first = certificate(run_module, folder)
    assert first["changed"] and first["expires"]
    text = Path(first["certificate_file"]).read_text()
    assert (
        os.stat(first["certificate_file"]).st_mode & 0o777 == 0o600
        and os.stat(folder / "ca.pem").st_mode & 0o777 == 0o600
    )
    assert not certificate(run_module, folder)["changed"]
    assert "PRIVATE" not in Path(first["ca_file"]).read_text()
    ca = (folder / "ca.pem").read_text()
    for more in ({"names": ["other.example"]}, {"renew_days": 100}):
        again = certificate(run_module, folder, check=True, **more)
        assert again["changed"] and Path(first["certificate_file"]).read_text() == text
        assert certificate(run_module, folder, **more)["changed"]
        text = Path(first["certificate_file"]).read_text()
    assert (folder / "ca.pem").read_text() == ca
    Path(first["certificate_file"]).write_text(text[:200])  # a file that was cut is made anew
    assert certificate(run_module, folder)["changed"]
    refused = certificate(run_module, folder, names=["nö n"])
    assert refused["failed"] and "gateway_names" in refused["msg"]


def test_an_old_haproxy_is_refused(run_module: Any, tmp_path: Path) -> None:
    program = tmp_path / "haproxy"
    program.write_text("#!/bin/sh\necho 'HAProxy version 2.4.24-0ubuntu0.22.04.1 2023/10/31 - https://haproxy.org/'\n")
    program.chmod(0o755)
    given = {
        "folder": str(tmp_path / "g"),
        "serving_root": str(tmp_path),
        "haproxy": str(program),
        "config": "x",
        "maps": {},
    }
    given |= {"agent": "x", "agent_settings": "x"}
    result = run_module("gateway", given)
    assert result["failed"] and "HAProxy 2.4.24" in result["msg"] and "2.6 or later" in result["msg"]
    assert run_module("gateway_info", {"folder": str(tmp_path), "haproxy": str(tmp_path / "none")})["version"] == ""
