"""Which devices a service gets: names in a plan, on a host, at each start, and whether it really runs on them."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import jinja2
import pytest
from ansible.errors import AnsibleFilterError
from ansible.module_utils.serving.host import device_use, devices, gpus
from conftest import FIXTURES, ROOT, load
from hypothesis import given
from hypothesis import strategies as st
from ports import free_port
from tables import small
from test_npus import DUO
from test_plan import GPU, MODELS
from test_plan import p as plans

from planning import devices as placing

ONE, TWO = "GPU-3b8e6a6c-9a36-4c44-0001-000000000000", "GPU-3b8e6a6c-9a36-4c44-0002-000000000000"
SLICE = "MIG-377e0049-554c-540b-93c6-d0976f8426cb"
OTHER_SLICE = "MIG-f39aa248-6f1b-5769-b119-8d650bb34b27"


def record(*uuids: str | None, **changes: Any) -> dict[str, Any]:
    rows = [
        {"index": i, "id": f"nvidia{i}", "uuid": uuid, "memory_total_bytes": 80 << 30, "memory_used_bytes": 0, "mig": "Disabled"}
        for i, uuid in enumerate(uuids)
    ]  # fmt: skip
    return {"kind": "gpu", "live": True, "devices": rows, "topology": {}, **changes}


def split() -> dict[str, Any]:
    """Two GPUs, one of them split into two slices."""
    found = record(ONE, TWO)
    rows = [(SLICE, "MIG 2g.20gb", 20_096 << 20), (OTHER_SLICE, "MIG 1g.10gb", None)]
    slices = [{"uuid": uuid, "name": name, "memory_total_bytes": size} for uuid, name, size in rows]
    found["devices"][0].update(mig="Enabled", slices=slices)
    return found


@pytest.mark.parametrize(
    ("args", "devices", "ranks"),
    [
        ({}, 1, 1),
        ({"tensor_parallel_size": 4, "data_parallel_size": 2}, 8, 4),
        ({"tensor-parallel-size": 2, "pipeline_parallel_size": 2}, 4, 4),
        ({"tp": 2, "dp": "2", "--pp": 2}, 8, 4),
        ({"prefill_context_parallel_size": 2, "tensor_parallel_size": 2}, 4, 4),
        ({"decode_context_parallel_size": 2, "tensor_parallel_size": 2}, 2, 2),  # within the tensor parallel ranks
        ({"data_parallel_size": 16, "data-parallel-size-local": 4}, 4, 1),
        ({"data_parallel_size": 4, "data_parallel_rank": 0, "tp": 2}, 2, 2),
        ({"tensor_parallel_size": None, "data_parallel_size": 3}, 3, 1),
    ],
)
def test_every_width_of_the_engine_counts(args: dict[str, Any], devices: int, ranks: int) -> None:
    found = placing.widths("x", args)
    assert (found["devices"], found["ranks"]) == (devices, ranks)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"tensor_parallel_size": "two"}, "tensor_parallel_size is 'two', but must be a whole number, 1 or more"),
        ({"tp": True}, "tp is True"),
        ({"data-parallel-size": 0}, "data-parallel-size is 0"),
        ({"tensor_parallel_size": 2.0}, "is 2.0"),
        ({"tensor_parallel_size": 2, "tp": 4}, "tensor_parallel_size: 2 and tp: 4, which are one option"),
    ],
)
def test_a_width_that_is_none_is_refused_in_words(args: dict[str, Any], words: str) -> None:
    with pytest.raises(AnsibleFilterError) as error:
        placing.widths("x", args)
    assert words in str(error.value)


@given(
    st.dictionaries(
        st.text(max_size=12) | st.sampled_from(["tp", "dp", "tensor_parallel_size"]),
        st.none() | st.integers() | st.text(),
    )
)
def test_any_options_give_widths_or_a_refusal(args: dict[str, Any]) -> None:
    try:
        assert placing.widths("x", args)["devices"] >= 1
    except AnsibleFilterError as error:
        assert "engine_args" in str(error)


def planned(rows: dict[str, dict[str, Any]], overrides: Any = None, **board: Any) -> list[dict[str, Any]]:
    services = {name: {"model": "demo", "port": 9000 + i, **row} for i, (name, row) in enumerate(rows.items())}
    given = small(services, MODELS, {**GPU, "device_access": "cdi", **board})
    return list(plans.plan(list(rows), **given, overrides=overrides, host="box"))


def test_a_plan_takes_uuids_slices_and_indices_side_by_side() -> None:
    rows = planned({"a": {"devices": [ONE]}, "b": {"devices": [SLICE]}, "c": {"devices": [3]}})
    assert [row["devices"] for row in rows] == [[ONE], [SLICE], [3]]


def test_beside_a_uuid_an_index_is_a_proposal() -> None:
    rows = planned({"a": {"devices": [TWO]}, "b": {}}, count=2)
    assert [row["devices"] for row in rows] == [[TWO], [0]]
    assert [row["devices_given"] for row in rows] == [True, False]
    assert [row["devices"] for row in planned({"a": {"devices": [2]}, "b": {"devices": [ONE]}}, count=None)] == [
        [2],
        [ONE],
    ]


def test_who_names_devices_gets_them_whatever_the_order_of_runs() -> None:
    """A service that names none, above one that does in `runs`, took the first ones, and the other was refused."""
    rows = {"a": {}, "b": {"devices": [0]}, "c": {"devices": [2]}}
    assert [row["devices"] for row in planned(rows, count=3)] == [[1], [0], [2]]
    other = {"b": {"devices": None}, "a": {"devices": [0]}}  # a host's overrides say it otherwise
    assert [row["devices"] for row in planned(rows, other, count=3)] == [[0], [1], [2]]


def test_tp_4_times_dp_2_gets_eight_devices() -> None:
    args = {"tensor_parallel_size": 4, "data_parallel_size": 2}
    assert planned({"a": {"engine_args": args}})[0]["devices"] == list(range(8))
    with pytest.raises(AnsibleFilterError, match=r"ask for 8 \(tensor 4 x data 2 parallel\) different ones"):
        planned({"a": {"engine_args": args, "devices": [0, 1, 2, 3]}})


@pytest.mark.parametrize(
    ("rows", "board", "words"),
    [
        ({"a": {"devices": ["gpu0"]}}, {}, "'devices' has 'gpu0', but must have an index or a UUID"),
        ({"a": {"devices": [True]}}, {}, "has True"),
        ({"a": {"devices": ["0"]}}, {}, "has '0'"),
        ({"a": {"devices": ["GPU-x; touch /f"]}}, {}, "must have an index or a UUID"),
        ({"a": {"devices": [SLICE, OTHER_SLICE], "engine_args": {"tp": 2}}}, {}, "is a MIG slice, which serves one rank"),
        ({"a": {"devices": [SLICE], "engine_args": {"dp": 2}}}, {}, "asks for 2 (data 2 parallel)"),
        ({"a": {"devices": [ONE]}, "b": {}}, {"count": 1}, "needs 1 devices"),
        ({"a": {}, "b": {}}, {"count": None}, "would share devices with 'a'"),
        ({"a": {}, "b": {"devices": [1]}}, {"count": None}, "service 'a': 'devices' is not set"),
        ({"a": {"devices": [ONE]}, "b": {"devices": [ONE]}}, {}, "already taken by service 'a'"),
        ({"a": {"devices": ["vdavinci100"]}}, {"kind": "npu"}, "only runtime: container with device_access: nodes"),
        ({"a": {"devices": ["vdavinci100", "vdavinci101"], "engine_args": {"tp": 2}}}, {"kind": "npu"}, "is a vNPU, which serves one rank"),
    ],
)  # fmt: skip
def test_what_no_service_can_run_on_is_refused_in_words(
    rows: dict[str, Any], board: dict[str, Any], words: str
) -> None:
    with pytest.raises(AnsibleFilterError) as error:
        planned(rows, **board)
    assert words in str(error.value)


def test_a_vnpu_is_a_node_of_its_own_and_another_inside() -> None:
    given = {"kind": "npu", "device_access": "nodes", "device_nodes": ["/dev/davinci{index}", "/dev/hisi_hdc"]}
    [row] = planned({"a": {"devices": ["vdavinci100"]}}, **given)
    found = load("filter_plugins/container.py").device_arguments(row)
    assert found == ["--device=/dev/vdavinci100:/dev/davinci100", "--device=/dev/hisi_hdc"]


def test_an_index_becomes_its_uuid_and_a_uuid_stays() -> None:
    found = devices.place([1, ONE], record(ONE, TWO), [])
    assert found.names == [TWO, ONE] and found.numbers == [1, 0] and found.problems == []
    assert devices.place([0], record(None), []).names == [0]  # the driver gives none
    assert devices.place(None, record(ONE), []).names == []


def test_the_first_characters_of_a_uuid_name_it_where_they_are_its_alone() -> None:
    there = record("GPU-47ae04c4-fbe5", "GPU-28469c12-5e20")
    assert devices.place(["GPU-47ae04c4"], there, []).names == ["GPU-47ae04c4-fbe5"]
    [problem] = devices.place([ONE[:20]], record(ONE, TWO), []).problems
    assert problem == f"GPU {ONE[:20]} is the beginning of 2 UUIDs ({ONE}, {TWO}); write one of them in `devices`"


def test_what_is_not_there_is_said_with_what_is() -> None:
    [problem] = devices.place([7, "GPU-gone"], record(ONE, TWO), []).problems
    assert "GPU 7, GPU-gone is not on this host, which has 0, 1" in problem
    [problem] = devices.place([0, ONE], record(ONE, TWO), []).problems
    assert f"GPU {ONE} is named twice, by index and by UUID" in problem
    one, two = devices.place([0], record(ONE), []), devices.place([ONE], record(ONE), [])
    assert devices.doubled({"a": one, "b": two}) == [
        f"services 'a' and 'b' both take device {ONE}; correct `devices` of one"
    ]


def test_a_slice_serves_by_its_uuid_and_its_whole_card_does_not() -> None:
    slices = devices.mig_slices(split())
    assert [(part["profile"], part["card"], part["order"]) for part in slices] == [
        ("MIG 2g.20gb", ONE, 0),
        ("MIG 1g.10gb", ONE, 1),
    ]
    found = devices.place([SLICE], split(), slices)
    assert found.names == [SLICE] and found.problems == [] and found.sizes == [20_096 << 20]
    for wanted in (0, ONE):
        [problem] = devices.place([wanted], split(), slices).problems
        assert "GPU 0 is split into MIG slices" in problem and SLICE in problem and "nvidia-smi -i 0 -mig 0" in problem
    assert "MIG slice MIG-x is not on this host, which has" in devices.place(["MIG-x"], split(), slices).problems[0]
    assert devices.place([1], split(), slices).problems == []


def test_a_container_asks_by_uuid_where_cdi_names_it() -> None:
    slices = devices.mig_slices(split())
    by_index = 'kind: nvidia.com/gpu\ndevices:\n    - name: "0"\n    - name: "1"\n    - name: "0:1"\n'
    place = devices.place([1, OTHER_SLICE], split(), slices)
    assert devices.cdi_names(place, by_index) == ["1", "0:1"]
    assert devices.cdi_names(place, by_index + f'    - name: "{TWO}"\n    - name: {OTHER_SLICE}\n') == [
        TWO,
        OTHER_SLICE,
    ]


def use(memory: dict[str, int], *processes: tuple[int, str]) -> device_use.Use:
    cards = "".join(f"{i}, {uuid}, {mib}\n" for i, (uuid, mib) in enumerate(memory.items()))
    return device_use.parse_gpus(cards, "".join(f"{pid}, {uuid}, 17000\n" for pid, uuid in processes))


@pytest.mark.parametrize(
    ("expected", "held", "verdict"),
    [
        ([ONE], [(11, ONE)], device_use.PROVEN),
        ([ONE, TWO], [(11, ONE), (12, TWO)], device_use.PROVEN),
        ([TWO], [(11, ONE)], device_use.WRONG),  # the fault seen on two H100s
        ([ONE, TWO], [(11, ONE)], device_use.WRONG),
        ([ONE], [(11, ONE), (12, TWO)], device_use.WRONG),
        ([ONE], [(99, ONE)], device_use.NOT_PROVEN),  # a process of somebody else
        ([SLICE], [(11, SLICE)], device_use.PROVEN),
        ([SLICE], [(11, ONE)], device_use.NOT_PROVEN),  # a driver that tells the card alone
    ],
)
def test_processes_decide_where_the_driver_shows_them(expected: list[str], held: list[Any], verdict: str) -> None:
    found = device_use.verdict(expected, {10, 11, 12}, use({ONE: 17000, TWO: 4}, *held), None, set())
    assert found["verdict"] == verdict
    if verdict == device_use.WRONG:
        assert "it should run on GPU" in found["text"] and "hold memory on GPU" in found["text"]


@pytest.mark.parametrize(
    ("memory", "before", "others", "verdict"),
    [
        ({ONE: 17000, TWO: 4}, {ONE: 4, TWO: 4}, set(), device_use.PROVEN),
        ({ONE: 4, TWO: 17000}, {ONE: 4, TWO: 4}, set(), device_use.WRONG),
        ({ONE: 4, TWO: 17000}, {ONE: 4, TWO: 4}, {TWO}, device_use.NOT_PROVEN),  # that was the other service
        ({ONE: 17000, TWO: 17000}, {ONE: 4, TWO: 4}, {TWO}, device_use.PROVEN),
        ({ONE: 17000, TWO: 17000}, {ONE: 4, TWO: 4}, set(), device_use.NOT_PROVEN),
        ({ONE: 17000, TWO: 4}, None, set(), device_use.NOT_PROVEN),
        ({ONE: 17000, TWO: 4}, {}, set(), device_use.NOT_PROVEN),
    ],
)
def test_growth_decides_where_it_shows_none(
    memory: dict[str, int], before: dict[str, int] | None, others: set[str], verdict: str
) -> None:
    start = None if before is None else {name: mib << 20 for name, mib in before.items()}
    found = device_use.verdict([ONE], {10, 11}, use(memory), start, others)
    assert found["verdict"] == verdict and "shows none of its processes" in (
        found["text"] if verdict != device_use.WRONG else "shows none of its processes"
    )


def test_processes_and_memory_that_disagree_prove_nothing() -> None:
    """Within a container the driver's numbers are the host's, and one of them may be a number of ours."""
    seen = use({ONE: 17000, TWO: 40000}, (11, TWO))
    found = device_use.verdict([ONE], {11}, seen, {ONE: 4 << 20, TWO: 40000 << 20}, set())
    assert found["verdict"] == device_use.NOT_PROVEN and "memory grew on GPU 0" in found["text"]


@pytest.mark.parametrize(
    "said", ["", "No devices were found\n", "Failed to initialize NVML: Unknown Error\n", "[N/A], [N/A], [N/A]\n"]
)
def test_a_driver_that_says_nothing_gives_nothing(said: str) -> None:
    found = device_use.parse_gpus(said, said)
    assert found.memory == {} and found.processes == [] and found.names == {}


def test_memory_that_is_not_told_still_names_its_device() -> None:
    found = device_use.parse_gpus(f"0, {ONE}, [N/A]\n", f"11, {ONE}, [N/A]\n")
    assert found.processes == [(11, ONE, None)] and found.memory == {}
    assert device_use.verdict([ONE], {11}, found, None, set())["verdict"] == device_use.PROVEN


def test_npu_processes_go_by_card_and_number() -> None:
    """Rows below «Process id» of a 300I Duo: the second NPU of card 32 is davinci3."""
    from ansible.module_utils.serving.host.npus import parse_npu_smi

    table = DUO + "| 32      1                 | 4711          | python                   | 20480                   |\n"
    found = device_use.npus_in_use(parse_npu_smi(table)["devices"])
    assert found.processes == [(4711, "davinci3", 20480 << 20)]
    assert device_use.as_driver_names([3], found) == ["davinci3"]
    assert device_use.verdict(["davinci3"], {4711}, found, None, set())["verdict"] == device_use.PROVEN


def test_descendants_are_a_services_processes() -> None:
    tree = {1: 0, 10: 1, 11: 10, 12: 11, 20: 1, 21: 20}
    assert device_use.below({10}, tree) == {10, 11, 12}
    mine = device_use.parents()
    assert mine[os.getpid()] == os.getppid() and os.getpid() in device_use.below({os.getppid()}, mine)


def rendered(names: list[Any], kind: str, folder: Path) -> Path:
    """What `start` does about devices, as a script that then prints what the engine would see."""
    environment = jinja2.Environment(trim_blocks=True, undefined=jinja2.StrictUndefined)
    environment.filters["quote"] = shlex.quote
    text = environment.from_string((ROOT / "templates/devices.j2").read_text()).render(
        service={"kind": kind}, release={"place": {"names": names, "cdi": None, "cores": None}}
    )
    script = folder / "start"
    script.write_text("set -eu\n" + text + "\nenv | grep -E '^(CUDA|ASCEND)_' | sort\n")
    return script


def start(script: Path, smi: str) -> subprocess.CompletedProcess[str]:
    tool = script.parent / "bin/nvidia-smi"
    tool.parent.mkdir(exist_ok=True)
    tool.write_text("#!/bin/sh\n" + smi)
    tool.chmod(0o755)
    path = f"{tool.parent}:/usr/bin:/bin"
    return subprocess.run(["/bin/sh", str(script)], env={"PATH": path}, capture_output=True, text=True, check=False)


def test_start_looks_its_gpus_up_each_time(tmp_path: Path) -> None:
    """GPU 0 is lost: what was GPU 1 and 2 is now 0 and 1, and the service stays where it was."""
    script = rendered([TWO, ONE], "gpu", tmp_path)
    said = start(script, f"printf '0, {ONE}\\n1, GPU-x\\n2, {TWO}\\n'").stdout.split()
    assert said == ["CUDA_DEVICE_ORDER=PCI_BUS_ID", "CUDA_VISIBLE_DEVICES=2,0"]
    lost = start(script, f"printf '0, {TWO}\\n1, {ONE}\\n'").stdout
    assert "CUDA_VISIBLE_DEVICES=0,1" in lost
    warned = f"echo 'WARNING: infoROM is corrupted at gpu 0000:00:1E.0'; printf '0, {TWO}\\n1, {ONE}\\n'; exit 14"
    assert "CUDA_VISIBLE_DEVICES=0,1" in start(script, warned).stdout
    gone = start(script, f"printf '0, {TWO}\\n'")
    assert (
        gone.returncode == 1
        and gone.stderr.count("\n") == 1
        and f"start: {ONE}, a GPU of this service, is no longer on this host" in gone.stderr
    )
    dead = start(script, "echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18")
    assert (
        dead.returncode == 1
        and "exit code 18): Failed to initialize NVML" in dead.stderr
        and "CUDA_V" not in dead.stdout
    )


def test_a_slice_an_index_and_npus_need_no_driver(tmp_path: Path) -> None:
    assert f"CUDA_VISIBLE_DEVICES={SLICE}" in start(rendered([SLICE], "gpu", tmp_path), "exit 9").stdout
    assert "CUDA_VISIBLE_DEVICES=3" in start(rendered([3], "gpu", tmp_path), "exit 9").stdout
    assert start(rendered([2, 3], "npu", tmp_path), "exit 9").stdout == "ASCEND_RT_VISIBLE_DEVICES=2,3\n"


def test_the_recorded_pair_of_h100_is_placed_by_uuid() -> None:
    found = gpus.parse_smi((FIXTURES / "nvidia/h100x2-loaded.xml").read_text())["devices"]
    place = devices.place([0, 1], {"kind": "gpu", "devices": found}, [])
    assert (
        len(set(place.names)) == 2 and all(str(name).startswith("GPU-") for name in place.names) and not place.problems
    )


def test_the_beds_stand_in_tells_processes_as_a_driver_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine with CUDA_VISIBLE_DEVICES=2 holds memory on GPU 2 alone, in the XML and in both queries."""
    text = (ROOT / "molecule/shared/fakes/nvidia-smi").read_text()
    text = text.replace("/etc/testhost", str(tmp_path)).replace(
        'read("version", "/sys/module/nvidia")', 'read("library-version")'
    )
    (tmp_path / "nvidia-smi").write_text(text)
    (tmp_path / "nvidia-smi").chmod(0o755)
    (tmp_path / "nvidia-smi.xml").write_text((FIXTURES / "nvidia/h200-v13.xml").read_text())
    (tmp_path / "nvidia.json").write_text("{}")
    (tmp_path / "library-version").write_text("580.159.04")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    command = [sys.executable, str(FIXTURES / "stub_engine.py"), "good", str(free_port())]
    with subprocess.Popen(command, env={**os.environ, "CUDA_VISIBLE_DEVICES": "2"}) as process:
        try:
            uuid = f"GPU-00000000-0000-0000-0000-{2:012d}"
            found = device_use.gpu_use()
            assert found.problem is None and [d for pid, d, _ in found.processes if pid == process.pid] == [uuid]
            assert found.memory[uuid] >= 17000 << 20 and found.numbers[2] == uuid
            assert device_use.verdict([uuid], {process.pid}, found, None, set())["verdict"] == device_use.PROVEN
            smi = subprocess.run(["nvidia-smi", "-q", "-x"], capture_output=True, text=True, check=True).stdout
            assert gpus.parse_smi(smi)["devices"][2]["memory_used_bytes"] >= 17000 << 20
        finally:
            process.kill()


def test_devices_are_named_in_the_order_of_their_numbers() -> None:
    assert sorted(["GPU 10 (a)", "GPU 2 (z)", "vdavinci3"], key=device_use.by_number)[0] == "GPU 2 (z)"
