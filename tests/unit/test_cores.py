"""Cores of a CPU host, shared out among services."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible.module_utils.serving.host.cores import BIND, cores_of, cpulist, loosen, named_problems, share
from ansible.module_utils.serving.host.cpu import allowed, cpu_record, parse_cpulist
from hypothesis import assume, given
from hypothesis import strategies as st
from test_fit import row

from planning import devices as placing


def service(name: str, ranks: int = 1, bind: str = "auto", cpus: str | None = None) -> dict[str, Any]:
    args = {"tensor_parallel_size": ranks}
    return {"service": name, "widths": placing.widths("x", args), "env": {BIND: bind}, "cpus": cpus, "kind": "cpu"}


def host(nodes: int, cores: int, threads: int = 1) -> list[tuple[int, list[list[int]]]]:
    """Threads of a core are far apart, as x86 numbers them: 0 and 64."""
    total = nodes * cores
    return [
        (node, [[node * cores + core + total * thread for thread in range(threads)] for core in range(cores)])
        for node in range(nodes)
    ]


def test_one_service_alone_is_left_as_it_is() -> None:
    assert share([service("a")], host(2, 8)) == {}


def test_two_services_get_a_node_each() -> None:
    found = share([service("a"), service("b")], host(2, 8))
    assert found["a"] == {"cpus": "0-7", "mems": "0", "bind": None} and found["b"] == {
        "cpus": "8-15",
        "mems": "1",
        "bind": None,
    }


def test_another_order_of_runs_moves_nobody() -> None:
    plan = [service("a", ranks=2), service("b"), service("c", cpus="3"), service("d")]
    first = share(plan, host(2, 8))
    assert len(first) == 4 and share(plan[::-1], host(2, 8)) == first == share(plan[2:] + plan[:2], host(2, 8))


def by_runs(plan: list[dict[str, Any]], nodes: list[tuple[int, list[list[int]]]]) -> dict[str, dict[str, Any]]:
    """Cores as they were dealt in the order of `runs`, whatever the names are."""
    names = {s["service"]: f"{i:03}" for i, s in enumerate(plan)}
    found = share([{**s, "service": names[s["service"]]} for s in plan], nodes)
    return {s["service"]: found[names[s["service"]]] for s in plan if names[s["service"]] in found}


@given(
    st.permutations("abcde"),
    st.lists(st.integers(1, 4), min_size=2, max_size=5),
    st.lists(st.integers(1, 12), min_size=1, max_size=4),
)
def test_services_that_have_cores_stay_there_whatever_their_names_and_order(
    names: list[str], ranks: list[int], sizes: list[int]
) -> None:
    nodes = [(node, cores[:size]) for (node, cores), size in zip(host(len(sizes), 12), sizes, strict=True)]
    plan = [service(name, ranks=min(n, len(nodes))) for name, n in zip(names, ranks, strict=False)]
    before = by_runs(plan, nodes)
    assume(before)  # else there were fewer cores than ranks on a node in that order, and nobody had any
    assert share(plan, nodes, [], before) == before == share(plan[::-1], nodes, [], before)


def test_a_new_service_moves_nobody_to_another_node() -> None:
    before = by_runs([service("qwen"), service("demo")], host(2, 8))
    assert before["qwen"]["cpus"] == "0-7" and before["demo"]["cpus"] == "8-15"
    found = share([service("a"), service("demo"), service("qwen")], host(2, 8), [], before)
    assert {name: one["cpus"] for name, one in found.items()} == {"qwen": "0-3", "a": "4-7", "demo": "8-15"}
    room = {"qwen": before["qwen"], "demo": {"cpus": "8-11", "mems": "1", "bind": None}}
    assert share([service("qwen"), service("demo")], host(2, 8), [], room) == before  # what nobody has is dealt


def test_who_is_left_is_spread_over_the_nodes_again() -> None:
    before = by_runs([service("x"), service("y"), service("z")], host(2, 8))
    assert before["x"]["mems"] == before["z"]["mems"] == "0"
    found = share([service("z"), service("x")], host(2, 8), [], before)
    assert found["x"]["cpus"] == "0-7" and found["z"]["cpus"] == "8-15"


def test_a_service_that_goes_moves_one_at_most_and_nobody_who_is_alone_on_a_node() -> None:
    before = by_runs([service("a"), service("c"), service("d"), service("b")], host(3, 8))
    assert {name: one["mems"] for name, one in before.items()} == {"a": "0", "b": "0", "c": "1", "d": "2"}
    found = share([service(name) for name in "abc"], host(3, 8), [], before)
    assert {name: one["cpus"] for name, one in found.items()} == {"a": "0-7", "b": "16-23", "c": "8-15"}


@given(st.integers(1, 4), st.integers(2, 10), st.data())
def test_no_more_services_change_their_node_than_go_or_come(nodes: int, count: int, data: st.DataObject) -> None:
    names = data.draw(st.permutations("abcdefghij"[:count]))
    before = by_runs([service(name) for name in names], host(nodes, 12))
    gone = data.draw(st.sets(st.sampled_from(names), max_size=count - 2))
    left = [service(name) for name in sorted(set(names) - gone)]
    found = share(left, host(nodes, 12), [], before)
    assert sum(found[s["service"]]["mems"] != before[s["service"]]["mems"] for s in left) <= len(gone)
    more = share([*left, service("0"), service("z")], host(nodes, 12), [], found)
    assert all(more[s["service"]]["mems"] == found[s["service"]]["mems"] for s in left)


@given(
    st.lists(st.tuples(st.integers(1, 5), st.booleans()), min_size=2, max_size=6),
    st.lists(st.integers(1, 8), min_size=1, max_size=4),
    st.sampled_from([None, "0", "2", "1,9"]),
    st.sets(st.integers(0, 31)),
)
def test_a_second_deploy_deals_the_same_cores(
    rows: list[tuple[int, bool]], sizes: list[int], named: str | None, unusable: set[int]
) -> None:
    """Whatever was there before: services went, came, named CPUs, or the host lost some."""
    every = [(node, cores[:size]) for (node, cores), size in zip(host(len(sizes), 8, 2), sizes, strict=True)]
    nodes = [(node, [[cpu for cpu in core if cpu not in unusable] for core in cores]) for node, cores in every]
    nodes = [(node, [core for core in cores if core]) for node, cores in nodes]
    plan = [service(f"s{i}", ranks=n) for i, (n, _) in enumerate(rows)]
    before = share([*plan, service("gone")], every)
    before = {f"s{i}": before[f"s{i}"] for i, (_, known) in enumerate(rows) if known and f"s{i}" in before}
    plan += [service("z", cpus=named)] if named else []
    first = share(plan, nodes, [], before)
    assert share(plan, nodes, [], first) == first == share(plan[::-1], nodes, [], first)


def test_services_that_no_longer_fit_where_they_are_get_cores_at_once() -> None:
    """A new row names a core of a full node; on the other one there is room."""
    plan = [*map(service, "abc"), service("d", ranks=2), service("e", ranks=2)]
    before = by_runs(plan, host(2, 4))
    plan.append(service("z", cpus="2"))
    first = share(plan, host(2, 4), [], before)
    assert len(first) == 6 and share(plan, host(2, 4), [], first) == first


def test_an_upgrade_of_the_product_moves_no_service(run_module: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    """Their releases say where they are, also where nobody else runs."""
    rows = [row(9000 + i, service=name, env={BIND: "auto"}) for i, name in enumerate(("qwen", "demo"))]
    there = cores_of(cpu_record()["topology"]["numa"], os.sched_getaffinity(0))
    had = by_runs(rows, there)
    for name, cores in had.items():
        release = tmp_path / "services" / name / "releases/0123"
        release.mkdir(parents=True)
        (release / "spec.json").write_text(json.dumps({"cores": cores}))
        (tmp_path / "services" / name / "current").symlink_to("releases/0123")
    args = {"plan": rows, "kind": "cpu", "serving_root": str(tmp_path)}
    found = run_module("service_devices", args)["services"]
    assert {name: found[name]["cores"]["cpus"] for name in had} == {name: one["cpus"] for name, one in had.items()}


def test_threads_of_one_core_stay_together() -> None:
    """Halves of a cpulist `0-7,8-15` would put both services on the same eight cores."""
    found = share([service("a"), service("b")], host(1, 8, threads=2))
    assert found["a"]["cpus"] == "0-3,8-11" and found["b"]["cpus"] == "4-7,12-15"


def test_a_rank_has_a_node_of_its_own_and_shares_it_with_the_other_services() -> None:
    found = share([service("a", ranks=2), service("b", ranks=2)], host(2, 8))
    assert found["a"] == {"cpus": "0-3,8-11", "mems": "0-1", "bind": None}
    assert found["b"] == {"cpus": "4-7,12-15", "mems": "0-1", "bind": None}


def test_what_a_row_names_is_its_own_and_nobody_elses() -> None:
    found = share([service("a", cpus="0-1"), service("b"), service("n", bind="nobind")], host(1, 8))
    assert (
        found["a"] == {"cpus": "0-1", "mems": "0", "bind": "0-1"} and found["b"]["cpus"] == "2-7" and "n" not in found
    )
    assert share([service("a", cpus="4-5")], host(1, 8))["a"]["bind"] == "4-5"  # alone too
    by_env = share([service("a", bind="0-3"), service("b")], host(1, 8))
    assert by_env["a"]["cpus"] == "0-3" and by_env["b"]["cpus"] == "4-7"


def test_rows_that_name_the_same_cores_are_told() -> None:
    found = named_problems([service("a", cpus="0-3"), service("b", bind="3-5")], set(range(8)))
    assert found == [f"services 'a' and 'b' are both given CPUs 3; correct `env.{BIND}` of 'b'"]


@pytest.mark.parametrize(
    ("services", "words"),
    [
        ([service("a", cpus="0-3|4-7", ranks=2)], []),
        ([service("a", cpus="6-9")], ["service 'a': it names CPUs 8-9, which", "it has 0-7; correct `cpus`"]),
        (
            [service("a", bind="0-1,64"), service("b")],
            ["service 'a': it names CPUs 64, which", f"correct `env.{BIND}`"],
        ),
        ([service("a", cpus="3,5"), service("b", bind="5|6", ranks=2)], ["'a' and 'b' are both given CPUs 5"]),
        ([service("a", bind="nobind"), service("b", bind="auto")], []),
    ],
)
def test_cpus_that_a_row_names_are_there(services: list[dict[str, Any]], words: list[str]) -> None:
    """taskset and Docker take the lists as they are: the one takes fewer CPUs in silence, the other fails at the start."""
    found = named_problems(services, set(range(8)))
    assert bool(found) == bool(words) and all(word in "\n".join(found) for word in words), found


def test_cpus_that_are_not_there_are_refused_before_anything_is_fetched(
    run_module: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    plan = [row(9000, service="a", env={BIND: "auto"}, cpus="0,4000-4003")]
    args = {"plan": plan, "kind": "cpu", "serving_root": str(tmp_path)}
    words = "service 'a': it names CPUs 4000-4003"
    assert words in run_module("service_devices", args)["msg"]
    for check in (True, False):
        assert words in run_module("fit", {**args, "models_root": str(tmp_path)}, check=check)["msg"]


def test_isolated_cpus_that_a_row_names_are_not_refused(
    run_module: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Automatic shares stay within the mask of systemd; who names his CPUs is put on them."""
    there = cpulist(sorted(allowed()))
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0})
    for named in ({"cpus": there}, {"env": {BIND: there}}):
        plan = [row(9000, service="a", **{"env": {BIND: "auto"}, **named})]
        found = run_module("service_devices", {"plan": plan, "kind": "cpu", "serving_root": str(tmp_path)})
        assert found["services"]["a"]["cores"]["cpus"] == there
        said = run_module(
            "fit",
            {"plan": plan, "kind": "cpu", "serving_root": str(tmp_path), "models_root": str(tmp_path)},
            check=True,
        )
        assert "it names CPUs" not in said.get("msg", "")


def test_isolated_cpus_that_a_row_names_have_the_memory_of_their_node(
    run_module: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the memory of node 0 alone, the rank on node 1 would read all its weights from the other socket."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3})
    numa = [{"node": n, "cpus": list(range(4 * n, 4 * n + 4)), "memory_bytes": 1 << 40} for n in (0, 1)]
    record = {"live": True, "kind": "cpu", "topology": {"numa": numa}}
    for cpus, mems in (("0-1|4-5", "0-1"), ("4-5|6-7", "1"), ("0-1|2", "0"), ("0-1|9", "")):
        plan = [row(9000, service="a", env={BIND: "auto"}, cpus=cpus), row(9001, service="b", env={BIND: "auto"})]
        args = {"plan": plan, "kind": "cpu", "record": record, "serving_root": str(tmp_path)}
        found = run_module("service_devices", args, check=True)["services"]
        assert found["a"]["cores"]["mems"] == mems
        assert set(parse_cpulist(found["b"]["cores"]["cpus"])) <= {0, 1, 2, 3}


def test_beside_services_outside_the_plan_everybody_keeps_his_cores() -> None:
    before = share([service("a"), service("b")], host(1, 8))
    assert share([service("b")], host(1, 8), [before["a"]], {"b": before["b"]}) == {"b": before["b"]}
    assert share([service("new")], host(1, 8), [before["a"]])["new"]["cpus"] == "4-7"


def test_a_model_larger_than_its_node_keeps_its_cores_and_takes_memory_anywhere() -> None:
    found = share([service("a"), service("b")], host(2, 8))
    plan = [{**service("a"), "memory_bytes": 60}, {**service("b"), "memory_bytes": 20}]
    loosen(found, plan, [{"node": 0, "memory_bytes": 32}, {"node": 1, "memory_bytes": 32}])
    assert found["a"] == {"cpus": "0-7", "mems": "", "bind": None} and found["b"]["mems"] == "1"


def test_fewer_cores_than_services_are_shared_as_before() -> None:
    assert share([service("a"), service("b"), service("c")], host(1, 2)) == {}


def test_cores_are_read_with_their_siblings_and_within_the_mask(tmp_path: Path) -> None:
    for cpu in range(8):
        folder = tmp_path / f"sys/devices/system/cpu/cpu{cpu}/topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{cpu % 4},{cpu % 4 + 4}\n")
    nodes = [{"node": 0, "cpus": [0, 1, 4, 5]}, {"node": 1, "cpus": [2, 3, 6, 7]}]
    assert cores_of(nodes, set(range(8)), str(tmp_path)) == [(0, [[0, 4], [1, 5]]), (1, [[2, 6], [3, 7]])]
    assert cores_of(nodes, {0, 1, 4}, str(tmp_path)) == [(0, [[0, 4], [1]])]
    assert cores_of([], {0, 1}, "/nowhere") == [(None, [[0], [1]])]


@given(st.lists(st.integers(1, 4), min_size=2, max_size=5), st.integers(1, 4), st.integers(1, 12), st.integers(1, 2))
def test_no_two_services_ever_share_a_core(ranks: list[int], nodes: int, cores: int, threads: int) -> None:
    there = host(nodes, cores, threads)
    found = share([service(f"s{i}", ranks=n) for i, n in enumerate(ranks)], there)
    core_of = {cpu: tuple(core) for _, row in there for core in row for cpu in core}
    mine = {name: {core_of[cpu] for cpu in parse_cpulist(one["cpus"])} for name, one in found.items()}
    assert all(mine.values()) and len(mine) in (0, len(ranks))
    assert sum(map(len, mine.values())) == len(set().union(*mine.values()) if mine else ())
    for i, n in enumerate(ranks):
        if found and n <= nodes:  # vLLM wants a NUMA node for each rank
            assert len(parse_cpulist(found[f"s{i}"]["mems"])) >= n


@pytest.mark.parametrize("cpus", ["a", "0-", "0-3|", "0-3|4-7", "-1", "0 - 3", "", "0,0", "0-3,2"])
def test_cpus_of_a_row_are_lists_one_a_rank(cpus: str) -> None:
    with pytest.raises(AnsibleFilterError, match="'cpus' is"):
        placing.check_cpus("x", service("a", cpus=cpus), "cpu", service("a")["widths"])
    with pytest.raises(AnsibleFilterError, match="but a gpu computes"):
        placing.check_cpus("x", service("a", cpus=cpus), "gpu", service("a")["widths"])


def test_a_span_of_cpus_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match="write 0-3"):
        placing.check_cpus("x", service("a", cpus="3-0"), "cpu", service("a")["widths"])


@pytest.mark.parametrize(
    ("value", "size"),
    [(256, 256), ("268435456", 268435456), ("256M", 256 << 20), ("1g", 10**9), ("1.5g", 1_500_000_000), ("4K", 4096)],
)
def test_memory_is_counted_in_the_engines_own_forms(value: Any, size: int) -> None:
    given = {
        **service("a"),
        "engine_args": {"kv-cache-memory-bytes": value},
        "model": {"bytes": 1000},
        "overhead_bytes": 5,
    }
    assert placing.cpu_memory(given, placing.widths("x", {"tp": 2, "dp": 2})) == 2000 + 4 * size + 5


@pytest.mark.parametrize("value", ["much", "1.5G", True, "-1", "1 G"])
def test_memory_that_is_no_number_is_refused_in_words(value: Any) -> None:
    given = {
        **service("a"),
        "engine_args": {"kv_cache_memory_bytes": value},
        "model": {"bytes": 1},
        "overhead_bytes": 0,
    }
    with pytest.raises(AnsibleFilterError, match=r"kv_cache_memory_bytes is .* must be a number of bytes"):
        placing.cpu_memory(given, placing.widths("x", {}))


def test_two_services_of_this_machine_do_not_sit_on_the_same_cores(
    run_module: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    rows = [row(9000 + i, service=name, env={BIND: "auto"}) for i, name in enumerate(("a", "b"))]
    args = {"plan": rows, "kind": "cpu", "serving_root": str(tmp_path)}
    found = run_module("service_devices", args)["services"]
    there = cores_of(cpu_record()["topology"]["numa"], os.sched_getaffinity(0))
    if sum(len(cores) for _, cores in there) < 2:
        assert found["a"]["cores"] is None and found["b"]["cores"] is None  # one core for both
        return
    one, two = (set(parse_cpulist(found[name]["cores"]["cpus"])) for name in ("a", "b"))
    assert one and two and not one & two and one | two <= os.sched_getaffinity(0)
    assert (
        found["a"]["names"] is None
        and run_module("service_devices", {**args, "plan": rows[:1]})["services"]["a"]["cores"] is None
    )
