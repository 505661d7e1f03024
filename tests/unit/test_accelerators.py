"""accelerator_info: the record, from recorded and from nonsensical files."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.serving.host import cpu
from ansible.module_utils.serving.host.cpu import cpu_record, parse_cpuinfo, parse_cpulist, parse_meminfo
from conftest import FIXTURES, ROOT
from hypothesis import given
from hypothesis import strategies as st

PROC = FIXTURES / "proc"


def test_x86() -> None:
    assert parse_cpuinfo((PROC / "x86.txt").read_text()) == {
        "model": "AMD EPYC", "threads": 2, "cores": 2, "sockets": 1, "flags": ["avx2", "fma", "f16c"],
    }  # fmt: skip


def test_arm_names_the_core_by_its_part_number() -> None:
    found = parse_cpuinfo((PROC / "neoverse-v2.txt").read_text())
    assert found["model"] == "Neoverse-V2"
    assert found["threads"] == found["cores"] == 2
    assert {"bf16", "i8mm", "sve2", "asimd"} <= set(found["flags"])


@pytest.mark.parametrize(
    ("text", "cpus"), [("0-3,8,10-11\n", [0, 1, 2, 3, 8, 10, 11]), ("", []), ("x,2-", []), ("5", [5])]
)
def test_cpulist(text: str, cpus: list[int]) -> None:
    assert parse_cpulist(text) == cpus


@given(st.text(max_size=300))
def test_no_text_crashes_a_parser_or_invents_a_processor(text: str) -> None:
    found = parse_cpuinfo(text)
    assert found["threads"] is None or "processor" in text
    parse_cpulist(text)
    parse_meminfo(text)


@given(cut=st.integers(0, 2000), name=st.sampled_from(["x86.txt", "neoverse-v2.txt"]))
def test_a_cut_file_gives_fewer_processors_never_more(cut: int, name: str) -> None:
    text = (PROC / name).read_text()
    assert (parse_cpuinfo(text[:cut])["threads"] or 0) <= 2


def host(root: Path, nodes: int = 2) -> Path:
    (root / "proc").mkdir(parents=True)
    (root / "proc/cpuinfo").write_text((PROC / "neoverse-v2.txt").read_text())
    (root / "proc/meminfo").write_text("MemTotal:       1024 kB\nMemAvailable:    512 kB\n")
    for node in range(nodes):
        base = root / f"sys/devices/system/node/node{node}"
        base.mkdir(parents=True)
        (base / "cpulist").write_text(f"{node * 96}-{node * 96 + 95}\n")
        (base / "meminfo").write_text(f"Node {node} MemTotal:       512 kB\n")
    return root


def test_record_of_two_numa_nodes(tmp_path: Path, run_module: Callable[..., dict[str, Any]]) -> None:
    result = run_module("accelerator_info", {"kind": "cpu", "root": str(host(tmp_path))}, check=True)
    record = result["record"]
    assert not result["changed"] and record == result["ansible_facts"]["accelerators"]
    assert record["count"] == 2 and [d["id"] for d in record["devices"]] == ["node0", "node1"]
    assert record["devices"][1]["memory_total_bytes"] == 512 * 1024
    assert len(record["topology"]["numa"][1]["cpus"]) == 96
    assert record["memory"] == {"total_bytes": 1 << 20, "available_bytes": 1 << 19, "limit_bytes": None}
    assert record["live"]


def test_a_numa_node_that_computes_nothing_is_no_place_for_a_rank(tmp_path: Path) -> None:
    """Memory of CXL, of a CPU's HBM and of a GPU are NUMA nodes without CPUs; numbers may have gaps."""
    root = host(tmp_path)
    for node in (2, 8, 16):
        base = root / f"sys/devices/system/node/node{node}"
        base.mkdir()
        (base / "cpulist").write_text("192-193\n" if node == 8 else "\n")
        (base / "meminfo").write_text(f"Node {node} MemTotal:       4096 kB\n")
    record = cpu.cpu_record(str(root))
    assert [node["node"] for node in record["topology"]["numa"]] == [0, 1, 8]
    assert record["count"] == 3 == len(record["devices"])


@pytest.mark.parametrize("file", ["cpuset.cpus.effective", "cpuset/cpuset.effective_cpus", "cpuset/cpuset.cpus"])
@pytest.mark.parametrize(
    ("online", "within", "nodes"),
    [
        ("0-191", "5,100", [0, 1]),
        ("0-191", "96-191", [1]),
        ("0-191", "3", [0]),
        ("0-95", "0-191", [0]),
        ("0-191", "", [0, 1]),
        ("", "96-191", [1]),
    ],
)
def test_only_nodes_that_processes_may_use_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, online: str, within: str, nodes: list[int], file: str
) -> None:
    """A container may be held on one socket of two: a second rank would have no node. A mask holds nobody who names his CPUs."""
    root = host(tmp_path)
    for path, text in (("sys/devices/system/cpu/online", online), (f"sys/fs/cgroup/{file}", within)):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text + "\n")
    monkeypatch.setattr(cpu.os, "sched_getaffinity", lambda pid: {0})
    record = cpu.cpu_record(str(root))
    assert [node["node"] for node in record["topology"]["numa"]] == nodes and record["count"] == len(nodes)


def test_ranks_are_counted_on_nodes_where_services_without_named_cpus_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """isolcpus= of a whole node leaves it to who names its CPUs: of two ranks that name none, both would sit on the other one."""
    there = cpu.numa_nodes(str(host(tmp_path)))
    monkeypatch.setattr(cpu, "numa_nodes", lambda root: there)
    monkeypatch.setattr(cpu, "allowed", lambda root: set(range(192)))
    monkeypatch.setattr(cpu.os, "sched_getaffinity", lambda pid: set(range(96)))
    record = cpu.cpu_record()
    assert record["count"] == 1 and [one["id"] for one in record["devices"]] == ["node0"]
    assert [node["node"] for node in record["topology"]["numa"]] == [0, 1]


def test_cpus_that_systemd_itself_does_not_use_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """isolcpus=, CPUAffinity= and tuned's cpu-partitioning leave PID 1 a few, and all others for who names them."""
    before = cpu.allowed()
    record = cpu.cpu_record()
    monkeypatch.setattr(cpu.os, "sched_getaffinity", lambda pid: {min(before)})
    assert cpu.allowed() == before and cpu.cpu_record()["topology"]["numa"] == record["topology"]["numa"]
    assert cpu.usable() == {min(before)}


def test_a_host_that_tells_nothing_refuses_no_cpu_that_it_has(tmp_path: Path) -> None:
    assert cpu.allowed(str(tmp_path)) == set(range(cpu.os.cpu_count() or 1))


@pytest.mark.parametrize(
    ("user", "systemd", "seen"), [(0, True, {0, 1}), (0, False, {0}), (1000, True, {0}), (1000, False, {0})]
)
def test_root_s_services_have_the_mask_of_systemd(
    monkeypatch: pytest.MonkeyPatch, user: int, systemd: bool, seen: set[int]
) -> None:
    """A session of ssh may be held on a few cores (AllowedCPUs of user.slice); a system unit isn't."""
    monkeypatch.setattr(cpu.os, "geteuid", lambda: user)
    monkeypatch.setattr(cpu.os.path, "isdir", lambda path: systemd)
    monkeypatch.setattr(cpu.os, "sched_getaffinity", {0: {0}, 1: {0, 1}}.__getitem__)
    assert cpu.usable() == seen


# As a Kunpeng 920 lists each core: no socket, no core number.
KUNPENG = "processor\t: %d\nBogoMIPS\t: 200.00\nFeatures\t: fp asimd\nCPU implementer\t: 0x48\nCPU part\t: 0xd01\n\n"


def cores(root: Path, count: int, packages: int, threads: int = 1, package: str = "") -> None:
    (root / "proc/cpuinfo").write_text("".join(KUNPENG % i for i in range(count)))
    for i in range(count):
        at = root / f"sys/devices/system/cpu/cpu{i}/topology"
        at.mkdir(parents=True)
        (at / "physical_package_id").write_text((package or str(3180 * (i * packages // count))) + "\n")
        first = i // threads * threads
        (at / "thread_siblings_list").write_text(f"{first}-{first + threads - 1}\n" if threads > 1 else f"{i}\n")


@pytest.mark.parametrize(
    ("count", "packages", "threads", "package", "nodes", "sockets", "physical"),
    [
        (8, 2, 1, "", 4, 2, 8),  # two sockets of two NUMA nodes each
        (8, 1, 2, "", 1, 1, 4),  # two threads a core
        (8, 2, 1, "-1", 2, None, 8),  # firmware without a table of processors
        (16, 4, 1, "", 2, None, 16),  # an old kernel that calls each cluster a package
    ],
)
def test_sockets_that_cpuinfo_does_not_tell(
    tmp_path: Path,
    count: int,
    packages: int,
    threads: int,
    package: str,
    nodes: int,
    sockets: int | None,
    physical: int,
) -> None:
    cores(host(tmp_path, nodes), count, packages, threads, package)
    cpu = cpu_record(str(tmp_path))["cpu"]
    assert (cpu["model"], cpu["threads"], cpu["sockets"], cpu["cores"]) == ("Kunpeng-920", count, sockets, physical)


def test_sockets_that_nobody_tells_are_unknown(tmp_path: Path) -> None:
    (host(tmp_path) / "proc/cpuinfo").write_text((KUNPENG % 0) + (KUNPENG % 1))
    cpu = cpu_record(str(tmp_path))["cpu"]
    assert cpu["sockets"] is None and cpu["threads"] == 2
    assert parse_cpuinfo(KUNPENG % 0)["sockets"] is None


def test_memory_limit_of_a_container_counts(tmp_path: Path) -> None:
    root = host(tmp_path)
    (root / "sys/fs/cgroup").mkdir(parents=True)
    (root / "sys/fs/cgroup/memory.max").write_text("max\n")
    assert cpu_record(str(root))["memory"]["limit_bytes"] is None
    (root / "sys/fs/cgroup/memory.max").write_text("4096\n")
    assert cpu_record(str(root))["memory"]["limit_bytes"] == 4096


def test_an_empty_host_is_not_live_and_says_so(tmp_path: Path) -> None:
    record = cpu_record(str(tmp_path))
    assert not record["live"] and record["devices"] == [] and "lists no processor" in record["problems"][0]


def test_this_machine() -> None:
    record = cpu_record()
    assert record["live"] and record["cpu"]["threads"] >= 1 and record["memory"]["total_bytes"] > 1 << 28


# What runs before anything is installed: files that must be Python 3.8.
OLD = ["library/accelerator_info.py", "library/fit.py", "library/deploy_lock.py"]
OLD += [f"module_utils/serving/{n}.py" for n in (
    "errors", "files", "host/accelerators", "host/cpu", "host/gpu_faults", "host/gpus", "host/npus", "host/nvidia_smi", "host/pythons",
    "host/system", "service/releases",
)]  # fmt: skip


@pytest.mark.parametrize("path", OLD)
def test_preflight_is_python_3_8(path: str) -> None:
    ast.parse((ROOT / path).read_text(), feature_version=(3, 8))


def test_preflight_imports_the_standard_library_only() -> None:
    code = "import ast, sys\nfor path in sys.argv[1:]:\n    for node in ast.walk(ast.parse(open(path).read())):\n"
    code += "        names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module] if isinstance(node, ast.ImportFrom) else []\n"
    code += "        for name in names:\n            top = name.split('.')[0]\n"
    code += (
        "            assert top in sys.stdlib_module_names or name.startswith('ansible.module_utils'), (path, name)\n"
    )
    subprocess.run([sys.executable, "-c", code, *OLD], cwd=ROOT, check=True)
