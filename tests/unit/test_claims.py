"""What running services hold and give up: preflight, the order of the swaps, and ports."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.serving.host import device_use
from ansible.module_utils.serving.host.devices import place
from ansible.module_utils.serving.service import claims, releases
from conftest import load
from hypothesis import given
from hypothesis import strategies as st
from ports import free_port
from test_fit import row

GIB = 1 << 30
ONE, TWO = "GPU-0001", "GPU-0002"


def two_gpus(used: dict[str, int] | None = None) -> dict[str, Any]:
    """A host of two H100, with so many MiB in use."""
    rows = [
        {"index": i, "id": f"nvidia{i}", "uuid": uuid, "name": "H100", "memory_total_bytes": 81559 << 20,
         "memory_used_bytes": (used or {}).get(uuid, 4) << 20, "mig": "Disabled"}
        for i, uuid in enumerate((ONE, TWO))
    ]  # fmt: skip
    memory = {"total_bytes": None, "available_bytes": None, "limit_bytes": None}
    return {
        "kind": "gpu", "arch": "x86_64", "live": True, "count": 2, "devices": rows, "topology": {"nvlink_islands": [[0, 1]]},
        "problems": [], "memory": memory,
    }  # fmt: skip


def gpu_row(name: str, port: int, devices: list[Any], **args: Any) -> dict[str, Any]:
    return row(
        port,
        service=name,
        kind="gpu",
        devices=devices,
        engine_args={"tensor_parallel_size": max(1, len(devices)), **args},
    )


class Box:
    """Services that run: a process with run.json and a release, as foreground.py would have them."""

    def __init__(self, root: Path) -> None:
        self.root, self.processes = root, []  # type: Path, list[subprocess.Popen[bytes]]

    def runs(self, name: str, port: int, devices: list[Any] | None = None, listens: bool = True, **spec: Any) -> int:
        code = "import socket, sys, time\ns = socket.socket(); s.setsockopt(1, 2, 1)\n"
        code += "s.bind(('127.0.0.1', int(sys.argv[1]))); s.listen()\n" if listens else ""
        code += "print('up', flush=True); time.sleep(600)"
        process = subprocess.Popen([sys.executable, "-c", code, str(port)], stdout=subprocess.PIPE)
        assert process.stdout and process.stdout.readline() == b"up\n"
        self.processes.append(process)
        folder = self.root / "services" / name
        release = folder / "releases/0123"
        release.mkdir(parents=True)
        body = {"endpoint": f"http://127.0.0.1:{port}", "kind": "gpu", **spec}
        (release / "spec.json").write_text(json.dumps(body if devices is None else {**body, "devices": devices}))
        (folder / "current").symlink_to("releases/0123")
        run = {
            "pid": process.pid,
            "ticks": releases.start_ticks(process.pid),
            "boot": releases.boot_id(),
            "release": "0123",
            "started": time.time(),
        }
        (folder / "run.json").write_text(json.dumps(run))
        return process.pid


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    found = Box(tmp_path)
    yield found
    for process in found.processes:
        process.kill()
        process.wait()


@pytest.fixture
def fit(
    run_module: Callable[..., dict[str, Any]], box: Box, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, Any]]:
    def run(
        *plan: dict[str, Any], record: dict[str, Any] | None = None, seen: device_use.Use | None = None
    ) -> dict[str, Any]:
        module = load("library/fit.py")
        monkeypatch.setattr(module, "use_of", lambda kind: seen or device_use.Use())
        args = {
            "plan": list(plan),
            "record": record or two_gpus(),
            "serving_root": str(box.root),
            "models_root": str(box.root / "m"),
            "kind": "gpu",
        }
        return run_module("fit", {**args, "env_bytes": 0}, check=True)

    return run


def test_what_a_service_of_ours_gives_up_is_free(box: Box, fit: Callable[..., dict[str, Any]]) -> None:
    """TP 2 on both GPUs becomes TP 1, another service takes GPU 1; the driver shows no processes."""
    one, two = free_port(), free_port()
    box.runs("wide", one, [ONE, TWO])
    busy = two_gpus({ONE: 75_000, TWO: 75_000})
    plan = [gpu_row("wide", one, [0]), gpu_row("new", two, [1])]
    assert not fit(*plan, record=busy)["failed"]
    alone = fit(gpu_row("new", two, [1]), record=busy)
    assert alone["failed"] and f"device {TWO} is held by service 'wide', which `runs` does not name" in alone["msg"]
    assert "playbooks/stop.yml -e service=wide" in alone["msg"]


def test_a_service_that_becomes_replicas_is_told_as_such(box: Box, fit: Callable[..., dict[str, Any]]) -> None:
    """`runs` names its row as before: that it doesn't name the service would be wrong."""
    port = free_port()
    box.runs("wide", port, [ONE])
    plan = [{**gpu_row(f"wide-{n}", at, [n - 1]), "replica_of": "wide"} for n, at in ((1, port), (2, free_port()))]
    said = fit(*plan)["msg"]
    assert (
        f"device {ONE} is held by service 'wide', whose replicas wide-1, wide-2 take its place; stop that one first"
        in said
    )
    assert "which `runs` does not name" not in said


def test_a_stranger_beside_our_service_is_seen_where_the_driver_tells(
    box: Box, fit: Callable[..., dict[str, Any]]
) -> None:
    port = free_port()
    pid = box.runs("wide", port, [ONE, TWO])
    seen = device_use.parse_gpus(
        f"0, {ONE}, 75000\n1, {TWO}, 75000\n", f"{pid}, {ONE}, 74990\n{pid}, {TWO}, 20000\n1, {TWO}, 54990\n"
    )
    result = fit(gpu_row("wide", port, [0, 1]), record=two_gpus({ONE: 75_000, TWO: 75_000}), seen=seen)
    assert (
        result["failed"]
        and "GPU 1 has 53.7 of 79.6 GiB taken by something else" in result["msg"]
        and "GPU 0" not in result["msg"]
    )


def test_a_release_of_before_that_names_no_devices_is_not_in_its_own_way(
    box: Box, fit: Callable[..., dict[str, Any]]
) -> None:
    port = free_port()
    box.runs("old", port, None)
    assert not fit(gpu_row("old", port, [0]), record=two_gpus({ONE: 75_000}))["failed"]
    assert fit(gpu_row("fresh", free_port(), [0]), record=two_gpus({ONE: 75_000}))["failed"]


@pytest.mark.parametrize(
    ("devices", "ports", "stop"),
    [
        ({"a": [0], "b": [1]}, {}, ["a"]),  # a gives GPU 1 up
        ({"b": [1], "a": [0]}, {}, ["a"]),  # in whatever order the plan has them
        ({"a": [0, 1]}, {}, []),
        ({"a": [1], "b": [0]}, {}, ["a"]),
        ({"a": [0, 1], "b": []}, {"a": 1, "b": 0}, ["a"]),  # it gives its port
    ],
)
def test_who_gives_something_stops_before_anybody_starts(
    box: Box, devices: dict[str, list[int]], ports: dict[str, int], stop: list[str]
) -> None:
    free = [free_port(), free_port()]
    box.runs("a", free[0], [ONE, TWO])
    plan = [gpu_row(name, free[ports.get(name, 0 if name == "a" else 1)], names) for name, names in devices.items()]
    places = {s["service"]: place(s["devices"], two_gpus(), []) for s in plan}
    found = claims.first_to_stop(plan, claims.claims(str(box.root)), places)
    assert sorted(found) == stop
    assert all("it gives" in why and "to service 'b'" in why for why in found.values())


def test_two_that_swap_their_devices_both_stop(box: Box, run_module: Callable[..., dict[str, Any]]) -> None:
    one, two = free_port(), free_port()
    box.runs("a", one, [ONE])
    box.runs("b", two, [TWO])
    plan = [gpu_row("a", one, [1]), gpu_row("b", two, [0])]
    args = {"plan": plan, "kind": "gpu", "record": two_gpus(), "serving_root": str(box.root)}
    assert run_module("service_devices", args)["stop"] == ["a", "b"]
    still = {**args, "plan": [gpu_row("a", one, [0]), gpu_row("b", two, [TWO])]}
    found = run_module("service_devices", still)
    assert found["stop"] == [] and found["services"]["a"]["names"] == [ONE] and found["services"]["b"]["names"] == [TWO]


def test_a_device_that_is_gone_is_refused_and_in_check_mode_is_not(
    run_module: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    args = {"plan": [gpu_row("a", 1, ["GPU-gone"])], "kind": "gpu", "record": two_gpus(), "serving_root": str(tmp_path)}
    assert "service 'a': GPU GPU-gone is not on this host" in run_module("service_devices", args)["msg"]
    assert not run_module("service_devices", args, check=True)["failed"]


def test_a_port_that_the_service_holds_itself_is_free_and_one_that_it_moves_to_is_asked(
    box: Box, fit: Callable[..., dict[str, Any]]
) -> None:
    mine = free_port()
    box.runs("demo", mine, [ONE])
    assert not fit(gpu_row("demo", mine, [0]))["failed"]
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        port = stranger.getsockname()[1]
        moved = fit(gpu_row("demo", port, [0]))
    assert moved["failed"] and f"service 'demo': port {port} is taken by process {os.getpid()}" in moved["msg"]


def test_a_stranger_on_the_port_of_a_service_that_is_down_is_seen(box: Box, fit: Callable[..., dict[str, Any]]) -> None:
    """Its foreground process lives and waits, its engine has ended, and somebody took the port."""
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        port = stranger.getsockname()[1]
        box.runs("demo", port, [ONE], listens=False)
        result = fit(gpu_row("demo", port, [0]))
    assert result["failed"] and f"port {port} is taken by process {os.getpid()}" in result["msg"]


def test_ports_that_two_services_swap_are_free(box: Box, fit: Callable[..., dict[str, Any]]) -> None:
    one, two = free_port(), free_port()
    box.runs("a", one, [ONE])
    box.runs("b", two, [TWO])
    assert not fit(gpu_row("a", two, [0]), gpu_row("b", one, [1]))["failed"]
    left = fit(gpu_row("a", two, [0]))
    assert left["failed"] and f"port {two} is held by service 'b', which `runs` does not name" in left["msg"]


def test_a_rollback_to_a_device_that_another_service_has_now_is_refused(
    box: Box, run_module: Callable[..., dict[str, Any]]
) -> None:
    box.runs("a", free_port(), [TWO])
    box.runs("b", free_port(), [ONE])
    before = box.root / "services/b/releases/4567"
    before.mkdir()
    (before / "spec.json").write_text(json.dumps({"endpoint": "http://127.0.0.1:1", "devices": [TWO]}))
    (box.root / "services/b/previous").symlink_to("releases/4567")
    args = {"name": "b", "serving_root": str(box.root), "supervisor": "supervisord", "state": "rolled_back"}
    told = run_module("inference_service", args)["msg"]
    assert (
        f"service 'b' can't return to release 4567: service 'a' has its device {TWO} now; stop that one first" in told
    )
    (before / "spec.json").write_text(json.dumps({"endpoint": "http://127.0.0.1:1", "devices": [ONE]}))
    assert run_module("inference_service", args, check=True)["reasons"] == ["release 0123 -> 4567"]


def auto(name: str, port: int, proposed: list[int]) -> dict[str, Any]:
    """A row that names no devices, with what the plan proposes."""
    return {**gpu_row(name, port, proposed), "devices_given": False}


def test_a_service_without_devices_of_its_row_stays_where_it_is(box: Box, fit: Callable[..., dict[str, Any]]) -> None:
    """Deployed alone (`-e runs=[b]`), or after another order of `runs`: the plan proposes GPU 0, where `a` runs."""
    one, two = free_port(), free_port()
    box.runs("a", one, [ONE])
    box.runs("b", two, [TWO])
    root = str(box.root)
    assert claims.assign([auto("b", two, [0])], two_gpus(), [], root)["b"].names == [TWO]
    both = claims.assign([auto("b", two, [0]), auto("a", one, [1])], two_gpus(), [], root)
    assert (both["a"].names, both["b"].names) == ([ONE], [TWO])
    assert not fit(auto("b", two, [0]), record=two_gpus({ONE: 75_000, TWO: 75_000}))["failed"]
    # A row that names its device is obeyed, and the other one makes way.
    moved = claims.assign([auto("a", one, [1]), gpu_row("b", two, [0])], two_gpus(), [], root)
    assert (moved["a"].names, moved["b"].names) == ([TWO], [ONE])


def test_a_new_service_gets_what_nobody_has(box: Box) -> None:
    box.runs("a", free_port(), [ONE])
    found = claims.assign([auto("new", free_port(), [0])], two_gpus(), [], str(box.root))
    assert found["new"].names == [TWO]
    beside = claims.assign(
        [auto("x", free_port(), [0]), gpu_row("y", free_port(), [ONE])], two_gpus(), [], str(box.root / "empty")
    )
    assert (beside["x"].names, beside["y"].names) == ([TWO], [ONE])
    gone = two_gpus()
    gone["devices"].pop(0)  # the GPU that a release had is lost: it gets another one
    assert claims.assign([auto("a", free_port(), [1])], gone, [], str(box.root))["a"].names == [TWO]


def test_one_that_is_stopped_takes_nothing_back_from_one_that_runs(box: Box) -> None:
    """`a` ended, `b` got its GPU, and both are deployed: in whatever order, `b` is not moved and not restarted."""
    box.runs("a", free_port(), [ONE])
    box.processes[0].kill()
    box.processes[0].wait()
    box.runs("b", free_port(), [ONE])
    rows = [auto("a", free_port(), [0]), auto("b", free_port(), [1])]
    for plan in (rows, rows[::-1]):
        found = claims.assign(plan, two_gpus(), [], str(box.root))
        assert (found["a"].names, found["b"].names) == ([TWO], [ONE])
        assert claims.first_to_stop(plan, claims.claims(str(box.root)), found) == {}


@given(st.data())
def test_devices_are_found_for_any_plan_that_has_them(data: st.DataObject) -> None:
    """Rows with and without devices in any order, beside services that run: whoever can be placed is, and nobody twice."""
    count = data.draw(st.integers(1, 5))
    host = {
        **two_gpus(),
        "devices": [{**two_gpus()["devices"][0], "index": n, "uuid": f"GPU-{n}"} for n in range(count)],
    }
    left = data.draw(st.permutations(range(count)))
    plan, now = [], {}
    while left:
        width = data.draw(st.integers(1, len(left)))
        mine, left = left[:width], left[width:]
        name = f"s{len(plan)}"
        plan.append(gpu_row(name, 1, list(mine)) if data.draw(st.booleans()) else auto(name, 1, list(range(width))))
        now[name] = data.draw(st.lists(st.sampled_from([f"GPU-{n}" for n in range(count)]), unique=True))
    plan = data.draw(st.permutations(plan))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(claims, "claims", lambda root: {})
        patch.setattr(claims.releases, "current_spec", lambda root, name: {"devices": now[name]})
        found = claims.assign(plan, host, [], "/")
    assert sorted(name for one in found.values() for name in one.names) == [f"GPU-{n}" for n in range(count)]
    assert not any(one.problems for one in found.values())


def test_one_that_gets_narrower_keeps_a_part_of_what_it_has(box: Box) -> None:
    box.runs("a", free_port(), [TWO, ONE])
    assert claims.assign([auto("a", free_port(), [0])], two_gpus(), [], str(box.root))["a"].names == [TWO]


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("lo", "address is 'lo', a network interface of this host; write its IP address, 127.0.0.1"),
        ("no-such-host.invalid", "this host has no address no-such-host.invalid; set address to one of its own"),
        ("192.0.2.77", "this host has no address 192.0.2.77; set address to one of its own"),
    ],
)
def test_an_address_that_is_not_the_hosts_is_told_before_a_start(
    fit: Callable[..., dict[str, Any]], address: str, words: str
) -> None:
    assert words in fit(gpu_row("demo", free_port(), [0]) | {"address": address})["msg"]
