"""`engine_args: auto`: what a row leaves open, what module fit chooses for a host, and that a choice stays until somebody asks for another one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.serving.sizing import asked, candidates, choose, engines, memory, models, rules
from ansible.module_utils.serving.sizing.fits import cpu_problems
from conftest import load
from tables import CATALOGUE, TABLES

from planning import choices
from planning.catalogue import laid_over

Run = Callable[..., dict[str, Any]]
H100 = 81559 << 20
ISLANDS = [list(range(8))]


def record(
    count: int = 8, size: int = H100, name: str = "NVIDIA H100 80GB HBM3", kind: str = "gpu", **topology: Any
) -> dict[str, Any]:
    devices = [
        {"index": i, "name": name, "id": f"davinci{i}", "memory_total_bytes": size, "memory_used_bytes": 0}
        for i in range(count)
    ]
    islands = {"nvlink_islands": ISLANDS} if kind == "gpu" else {}
    return {
        "kind": kind,
        "count": count,
        "devices": devices,
        "topology": {**islands, **topology},
        "problems": [],
        "notes": [],
    }


def planned(engine_args: Any, pins: dict[str, Any] | None = None, name: str = "qwq-32b", **row: Any) -> dict[str, Any]:
    """The record of a row with these engine_args, on a host with its board."""
    services = {name: {**TABLES["services"][name], "engine_args": engine_args, **row}}
    tables = {**TABLES, "services": services}
    board = next(iter(services[name].get("boards") or ["h100-sxm"]))
    return dict(p.plan([name], tables, board, host="gpu-01", pins=pins or {})[0])


def chosen(
    service: dict[str, Any], machine: dict[str, Any] | None = None, replan: bool = False, starts: Any = ()
) -> dict[str, Any]:
    made = choose.choices_of(
        [service], machine or record(), ["bfloat16", "float16", "float32"], 8, replan, list(starts)
    )
    return dict(made.get(service["service"], {}))


p = load("filter_plugins/plan.py")


def test_auto_is_open_until_it_is_chosen_and_then_the_same_row_gives_the_same_plan() -> None:
    before = planned("auto", wishes={"context": 32768, "concurrency": 64})
    assert set(before["choice"]["open"]) == set(choices.OPEN) and before["engine_args"] == {}
    [words] = choices.undecided([before])
    assert "is left to `auto`, and nothing has been chosen for this host yet" in words
    choice = chosen(before)
    assert choice["args"]["tensor_parallel_size"] == 8  # FlagScale knows no data parallel copies
    after = planned("auto", {"choices": {"gpu-01": {"qwq-32b": choice}}}, wishes={"context": 32768, "concurrency": 64})
    assert after["engine_args"] == choice["args"] and not after["choice"]["open"] and not choices.undecided([after])
    assert after["widths"]["devices"] == 8 and after["devices"] == list(range(8))
    assert chosen(after) == {}  # nothing is open
    # What the host has taught meanwhile changes advice alone.
    taught = [
        {
            "key": asked.key_of(before, record(), memory.Settings()),
            "predicted": {"cache_bytes": 40 << 30},
            "measured": {"cache_bytes": 1 << 30},
        }
    ]
    assert chosen(after, starts=taught) == {} and chosen(after, replan=True, starts=taught)["asked"] == choice["asked"]


@pytest.mark.parametrize(
    ("rows", "rooms"),
    [
        # (devices that the row names, width that it gives, is its width open?), on 8 GPUs
        ([(None, 1, True), (None, 1, True)], [4, 4]),
        (
            [(range(6), 6, True), (None, 1, True)],
            [6, 2],
        ),  # half of the host was given to the second one, which then found 2 free
        (
            [(None, 4, False), (None, 1, True), (None, 1, True)],
            [4, 2, 2],
        ),  # a third was left to the first one, and nothing fit
        ([(None, 4, True), (None, 4, False)], [4, 4]),
        ([(None, 6, False), (range(2), 2, True)], [6, 2]),
        ([(None, 1, True)], [8]),
    ],
)
def test_services_that_choose_share_what_the_others_leave(rows: list[tuple[Any, int, bool]], rooms: list[int]) -> None:
    plan = [
        {
            "service": str(n), "devices": list(devices or range(width)), "devices_given": devices is not None, "widths": {"devices": width},
            "choice": {"chosen": {"max_model_len": None, **({"tensor_parallel_size": None} if is_open else {})}},
        }
        for n, (devices, width, is_open) in enumerate(rows)
    ]  # fmt: skip
    names = [row["service"] for row in plan]
    assert [choose.room(plan, row, names, 8) for row in plan] == rooms
    assert choose.room(plan, plan[0], names[:1], 8) >= rooms[0]  # the others have chosen


def test_a_service_beside_one_that_chose_the_whole_host_is_told_how_and_then_fits() -> None:
    """The first one alone was given all GPUs: a plan with the second one fails, and so did choosing anew, which needs a plan."""
    rows = {
        name: {**TABLES["services"]["qwq-32b"], "port": port, "engine_args": "auto"}
        for name, port in (("one", 9000), ("two", 9001))
    }
    tables, board = {**TABLES, "services": rows}, rows["one"]["boards"][0]

    def at(names: list[str], pins: Any) -> dict[str, Any]:
        return dict(p.planned(names, tables, board, host="gpu-01", pins=pins))

    def made(plan: dict[str, Any]) -> dict[str, Any]:
        return {"choices": {"gpu-01": choose.choices_of(plan["services"], record(), ["bfloat16"], 8, True, [])}}

    pins = made(at(["one"], {}))
    [fault] = at(["one", "two"], pins)["faults"]
    assert (
        "0 of 8 are free (taken by: one)" in fault
        and "shared out anew with -e replan=true, for `auto` chose those of one" in fault
    )
    assert choices.to_choose_from(pins, False) == pins and choices.to_choose_from([], True) == []
    both = at(["one", "two"], choices.to_choose_from({**pins, "models": {}}, True))
    assert not both["faults"] and [row["choice"]["open"] != [] for row in both["services"]] == [True, True]
    after = at(["one", "two"], made(both))
    assert not after["faults"] and [row["devices"] for row in after["services"]] == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_auto_over_the_catalogues_row_leaves_other_options_as_they_are() -> None:
    """A site's row, or a host's override, that says auto lies over the catalogue's engine_args key by key."""
    site = {"services": {"demo": {"engine_args": "auto"}}}
    pins = {"choices": {"gpu-01": {}}}
    for tables, overrides in ((laid_over(CATALOGUE, site), {}), (TABLES, site["services"])):
        given = {"tables": tables, "board": "local", "host": "gpu-01", "overrides": overrides}
        [before] = p.plan(["demo"], **given)
        assert before["engine_args"] == {"dtype": "bfloat16"} and set(before["choice"]["open"]) == set(choices.OPEN)
        pins["choices"]["gpu-01"]["demo"] = {"asked": before["choice"]["asked"], "args": {"max_model_len": 1024}}
        [after] = p.plan(["demo"], pins=pins, **given)
        assert after["engine_args"] == {"dtype": "bfloat16", "max_model_len": 1024} and not after["choice"]["open"]
    told = {line[1]: line[3] for line in p.explained([after], CATALOGUE, {}, "local", site["services"])}
    assert told["engine_args.max_model_len"] == "host: overrides, as auto; chosen by fit"
    assert "memory_bytes" not in told  # the service's, which no row says


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({"port": 9999}, True),
        ({"wishes": {"context": 4096}}, False),
        ({"model": "deepseek-r1-distill-qwen-32b"}, False),
        ({"devices": [0, 1]}, False),
    ],
)
def test_a_choice_belongs_to_what_was_asked(change: dict[str, Any], same: bool) -> None:
    first = planned("auto")
    pins = {"choices": {"gpu-01": {"qwq-32b": chosen(first)}}}
    assert (planned("auto", pins, **change)["choice"]["open"] == []) is same


def test_single_keys_are_left_open_and_what_the_row_gives_is_kept() -> None:
    service = planned({"tensor_parallel_size": "auto", "max_model_len": 32768, "gpu_memory_utilization": 0.8})
    assert service["choice"]["open"] == ["tensor_parallel_size"]
    assert set(chosen(service)["args"]) == {"tensor_parallel_size"}
    own = planned({"max_model_len": "auto"}, name="demo", boards=["local"])
    assert own["choice"]["open"] == [] and own["engine_args"]["max_model_len"] == -1  # the engine's own word


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        ({"kontext": 1}, "wishes.kontext is no wish"),
        ({"goal": "cheap"}, "throughput or latency"),
        ({"context": "32k"}, "a whole number"),
        ({"concurrency": 0}, "1 or more"),
    ],
)
def test_wishes_that_mean_nothing_are_refused(wishes: dict[str, Any], words: str) -> None:
    with pytest.raises(Exception, match=words):
        planned("auto", wishes=wishes)


def found(name: str, **given: Any) -> candidates.Found:
    model = models.model_of(TABLES["models"][name])
    assert model is not None
    count = given.pop("count", 8)
    islands = given.pop("islands", (tuple(range(8)),))
    device = memory.Device(given.pop("size", H100), name=given.pop("board", "NVIDIA H100 80GB HBM3"))
    return candidates.search(
        model, rules.Host(count, islands), device, engines.constants("0.25.1"), candidates.Wishes(**given)
    )


def test_a_host_without_its_driver_is_chosen_for_by_what_its_group_says(run_module: Run, tmp_path: Path) -> None:
    bare = {**record(0), "count": 0, "devices": []}
    given = {
        "plan": [planned("auto")],
        "record": bare,
        "serving_root": str(tmp_path),
        "models_root": str(tmp_path),
        "choose": True,
    }
    said = run_module("fit", given, check=False)
    assert said["failed"] and "prepare it first, or give its board memory_bytes" in said["msg"]
    more = run_module("fit", {**given, "memory_bytes": H100, "count": 8, "names": ["H100"]}, check=False)
    assert more["choices"]["qwq-32b"]["args"]["tensor_parallel_size"] == 8


def test_the_goal_decides_between_copies_and_width() -> None:
    wide = found("qwq-32b", context=32768, concurrency=16, goal="latency").candidates[0].settings
    many = found("qwq-32b", context=32768, concurrency=64).candidates[0].settings
    assert wide.tensor == 8 and (many.tensor, many.data) == (
        2,
        4,
    )  # one copy on each device would hold one request of full length
    small = found("qwen2-7b-instruct", context=8192).candidates[0].settings
    assert (small.tensor, small.data) == (1, 8)


def test_every_candidate_starts_by_its_own_arithmetic() -> None:
    for name in ("qwq-32b", "qwen2-7b-instruct"):
        for one in found(name, context=32768).candidates:
            assert one.budget.tokens >= one.settings.max_model_len
            assert (
                sum(size for what, size, _ in one.budget.rows if what not in ("KV cache", "CUDA graphs"))
                == one.budget.cache_bytes
            )
            assert one.settings.ranks * one.settings.data * one.replicas <= 8


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({"name": "qwq-32b", "fixed": (("tensor", 3),)}, "heads"),
        ({"name": "qwen2-7b-instruct", "fixed": (("tensor", 8),)}, "heads"),
        ({"name": "qwq-32b", "context": 1 << 20}, "context"),
        ({"name": "qwq-32b", "count": 1, "fixed": (("kv_dtype", "auto"), ("max_model_len", 32_768), ("utilization", 0.85))}, "memory"),
        ({"name": "qwq-32b", "fixed": (("tensor", 8),), "islands": ((0, 1, 2, 3), (4, 5, 6, 7))}, "nvlink-island"),
        ({"name": "qwq-32b", "fixed": (("tensor", 16),)}, "devices"),
        ({"name": "qwq-32b", "size": 24 << 30, "board": "NVIDIA L4", "count": 1}, "memory"),
    ],
)  # fmt: skip
def test_what_cant_start_is_rejected_by_its_rule(given: dict[str, Any], rule: str) -> None:
    result = found(**given)
    assert rule in {row[1] for row in result.rejected} and all(text for _, _, text in result.rejected)


def test_a_host_where_nothing_fits_says_what_stands_against_it() -> None:
    with pytest.raises(
        Exception,
        match=r"nothing that could be chosen fits this host: TP 1 at 0\.9\d?: the weights and what runs beside them take",
    ):
        choose.choices_of(
            [planned("auto", wishes={"context": 32768})], record(1, 24 << 30, "NVIDIA L4"), ["bfloat16"], 1, False, []
        )


def test_an_ascend_310p_gets_two_graphs_and_its_own_type() -> None:
    service = planned("auto", name="qwq-32b-atlas-ascend", wishes={"context": 8192})
    machine = {**record(4, 43693 << 20, "310P3", kind="npu"), "graphs": 2, "square_mask": True}
    result = choose.found_for(
        [service],
        service,
        machine,
        {"dtypes": ["float16", "float32"], "count": 4, "choosing": [service["service"]]},
        [],
    )
    assert result is not None
    best = result.candidates[0].settings
    assert (best.tensor, best.dtype, best.capture) == (4, "float16", (1, 8))
    long = planned("auto", name="qwq-32b-atlas-ascend", wishes={"context": 131072})
    rejected = choose.found_for(
        [long], long, machine, {"dtypes": ["float16"], "count": 4, "choosing": [long["service"]]}, []
    )
    assert rejected is not None and "mask" in {row[1] for row in rejected.rejected}


def cpu_host(nodes: int = 2, size: int = 256 << 30, cores: int = 96) -> dict[str, Any]:
    return {
        "kind": "cpu", "count": nodes, "devices": [{"index": i, "name": "Neoverse-V2", "memory_total_bytes": size // nodes} for i in range(nodes)],
        "topology": {}, "cpu": {"cores": cores, "usable": cores}, "memory": {"total_bytes": size, "available_bytes": size, "limit_bytes": None},
    }  # fmt: skip


def test_a_cpu_gets_a_rank_for_each_numa_node_and_a_cache_in_bytes() -> None:
    service = planned("auto", name="qwen2-7b-instruct", wishes={"context": 8192, "concurrency": 16})
    args = chosen(service, cpu_host())["args"]
    assert args["tensor_parallel_size"] == 2 and args["enforce_eager"] is True and "gpu_memory_utilization" not in args
    assert (
        args["kv_cache_memory_bytes"] == 16 * 8192 * 28 * 1024 * 1
    )  # 28 layers, two of four kv heads, 2 x 128 x 2 bytes
    small = choose.found_for(
        [service],
        service,
        cpu_host(1, 24 << 30),
        {"dtypes": ["bfloat16"], "count": 1, "choosing": [service["service"]]},
        [],
    )
    assert small is not None and not small.candidates and small.rejected[0][1] == "memory"
    odd = {**service, "model": {**service["model"], "shape": {**service["model"]["shape"], "head_dim": 48}}}
    against = choose.found_for(
        [odd], odd, cpu_host(), {"dtypes": ["bfloat16"], "count": 2, "choosing": [service["service"]]}, []
    )
    assert against is not None and against.rejected[0][1] == "head-dim"


def test_a_cache_on_a_cpu_that_holds_no_text_of_full_length_is_contradicted() -> None:
    fits = planned(
        {"max_model_len": 8192, "kv_cache_memory_bytes": 8192 * 57344}, name="qwen2-7b-instruct", boards=["graviton4"]
    )
    assert cpu_problems(fits, cpu_host()) == []
    small = planned(
        {"max_model_len": 8192, "kv_cache_memory_bytes": 4096 * 57344}, name="qwen2-7b-instruct", boards=["graviton4"]
    )
    [words] = cpu_problems(small, cpu_host())
    assert (
        "holds about 4096 tokens, max_model_len asks for 8192: max_model_len 4096, or kv_cache_memory_bytes 469762048"
        in words
    )
    two = planned(
        {"max_model_len": 8192, "kv_cache_memory_bytes": 4096 * 57344, "tensor_parallel_size": 2},
        name="qwen2-7b-instruct",
        boards=["graviton4"],
    )  # each rank holds half of the heads
    assert cpu_problems(two, cpu_host()) == []


def test_choices_go_into_the_pins_beside_what_hosts_resolved(run_module: Run, tmp_path: Path) -> None:
    path = tmp_path / "pins.json"
    choice = {"asked": "0a1b", "args": {"tensor_parallel_size": 2}}
    run_module(
        "pins",
        {"path": str(path), "found": {"one": {"models": {"m": {"modelscope": "a" * 40}}, "images": {}}}},
        check=False,
    )
    dry = run_module("pins", {"path": str(path), "choices": {"one": {"x": choice}}}, check=True)
    assert (
        dry["changed"]
        and "choices" not in json.loads(path.read_text())["pins"]
        and dry["ansible_facts"]["pins"]["choices"] == {"one": {"x": choice}}
    )
    done = run_module("pins", {"path": str(path), "choices": {"one": {"x": choice}, "two": {}}}, check=False)
    assert done["added"] == ["x on one: tensor_parallel_size 2"]
    assert json.loads(path.read_text())["pins"] == {
        "models": {"m": {"modelscope": "a" * 40}},
        "images": {},
        "choices": {"one": {"x": choice}},
    }
    assert not run_module("pins", {"path": str(path), "choices": {"one": {"x": choice}}}, check=False)["changed"]
    other = {"asked": "ffff", "args": {}}
    assert run_module("pins", {"path": str(path), "choices": {"one": {"x": other}}}, check=False)["added"] == [
        "x on one: the engine's own defaults"
    ]
    # The next run of commits keeps them.
    run_module(
        "pins",
        {"path": str(path), "found": {"one": {"models": {"n": {"modelscope": "b" * 40}}, "images": {}}}},
        check=False,
    )
    assert json.loads(path.read_text())["pins"]["choices"] == {"one": {"x": other}}


def test_rules_about_unset_options_wait_for_the_choice() -> None:
    lint = load("filter_plugins/lint.py").lint
    open_row = planned("auto", name="demo", boards=["local"])
    assert not {"memory-not-set", "max-model-len-unset"} & {row["rule"] for row in lint([open_row])}
    given = planned({"kv_cache_memory_bytes": None, "tensor_parallel_size": "auto"}, name="demo", boards=["local"])
    assert "memory-not-set" in {row["rule"] for row in lint([given])}


def test_the_documents_rows_leave_nothing_open() -> None:
    text = yaml.safe_dump(TABLES["services"])
    assert ": auto\n" not in text.replace("kv_cache_dtype: auto", "")
