"""Readers of nvidia-smi on recorded output, on shapes of other driver generations, and on output that was mutated."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.host import gpus
from conftest import FIXTURES
from hypothesis import given
from hypothesis import strategies as st

RECORDED = (FIXTURES / "nvidia/h200-v13.xml").read_text()  # driver 580.159.04, one H200 in a virtual machine
TOPO = (FIXTURES / "nvidia/h200-topo.txt").read_text()
# As `topo -m` of eight H100 on one HGX board with one NIC prints it: rows of NICs end early, an underlined header.
HGX = "\x1b[4m\t" + "\t".join(f"GPU{i}" for i in range(8)) + "\tNIC0\tCPU Affinity\tNUMA Affinity\tGPU NUMA ID\x1b[0m\n"
for row in range(8):
    cells = [" X " if row == column else "NV18" for column in range(8)]
    numa = row // 4
    HGX += (
        f"GPU{row}\t"
        + "\t".join(cells)
        + f"\tSYS\t{numa * 56}-{numa * 56 + 55},{112 + numa * 56}-{167 + numa * 56}\t{numa}\t\tN/A\n"
    )
HGX += "NIC0\t" + "\t".join(["SYS"] * 8) + "\t X \n\nLegend:\n\n  X    = Self\n\nNIC Legend:\n\n  NIC0: mlx5_0\n"


def gpu(text: str = RECORDED, **changes: str) -> str:
    """The recorded log with elements' texts replaced."""
    for tag, value in changes.items():
        text, count = re.subn(rf"<{tag}>[^<]*</{tag}>", f"<{tag}>{value}</{tag}>", text)
        assert count, tag
    return text


def eight(text: str = RECORDED) -> str:
    """The recorded GPU eight times, as a host of eight would list it."""
    one = re.search(r"\t<gpu id=.*</gpu>\n", text, re.S)
    assert one
    rows = "".join(
        one[0].replace("00:06.0", f"{16 + i:02x}:00.0").replace("<minor_number>0", f"<minor_number>{i}")
        for i in range(8)
    )
    return gpu(text.replace(one[0], rows), attached_gpus="8")


def test_the_recorded_gpu() -> None:
    found = gpus.parse_smi(RECORDED)
    assert (found["driver"], found["cuda"], found["dtd"]) == ("580.159.04", "13.0", "v13")
    [device] = found["devices"]
    assert device["name"] == "NVIDIA H200" and device["memory_total_bytes"] == 143771 << 20
    assert device["memory_used_bytes"] == 0 and device["id"] == "nvidia0" and device["bus_id"] == "00000000:00:06.0"
    assert device["health"] == "OK" and found["problems"] == [] and device["fabric"] is None


def test_eight_gpus() -> None:
    found = gpus.parse_smi(eight())
    assert [d["index"] for d in found["devices"]] == list(range(8))
    assert len({d["bus_id"] for d in found["devices"]}) == 8 and found["problems"] == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"remapped_row_pending": "Yes"}, "wait to be remapped"),
        ({"remapped_row_failure": "Yes"}, "have it replaced"),
        ({"gpu_recovery_action": "Drain and Reset"}, "asks for recovery: Drain and Reset"),
        ({"attached_gpus": "8"}, "speaks of 8 GPUs and lists 1"),
        ({"performance_state": "[GPU requires reset]"}, "requires a reset"),
        ({"unrepairable_memory": "Yes"}, "can't be repaired"),
    ],
)
def test_what_is_wrong_with_a_gpu_is_said_with_its_remedy(changes: dict[str, str], words: str) -> None:
    assert any(words in problem for problem in gpus.parse_smi(gpu(**changes))["problems"])


def test_a_fabric_that_is_not_ready() -> None:
    text = RECORDED.replace(
        "<fabric>\n\t\t\t<state>N/A</state>\n\t\t\t<status>N/A</status>",
        "<fabric><state>In Progress</state><status>N/A</status>",
    )
    assert any("nvidia-fabricmanager" in problem for problem in gpus.parse_smi(text)["problems"])


def test_older_logs_lack_elements_and_that_is_no_problem() -> None:
    """DTD v11 and v12: no recovery action, no fabric, no MIG on older boards."""
    text = RECORDED.replace("v13.dtd", "v11.dtd")
    for tag in ("gpu_recovery_action", "fabric", "mig_mode", "ecc_errors", "platformInfo"):
        text = re.sub(rf"<{tag}>.*?</{tag}>", "", text, flags=re.S)
    found = gpus.parse_smi(text)
    assert found["dtd"] == "v11" and found["problems"] == [] and found["devices"][0]["mig"] is None


@pytest.mark.parametrize(
    "said", ["N/A", "[Not Supported]", "Requested functionality has been deprecated", "[Unknown Error]", ""]
)
def test_values_that_say_nothing_are_null(said: str) -> None:
    device = gpus.parse_smi(gpu(uuid=said, persistence_mode=said, product_name=said))["devices"][0]
    assert device["uuid"] is None and device["persistence"] is None and device["name"] is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.",
        "<html></html>",
        RECORDED[:2000],
        '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "b">]><nvidia_smi_log>&a;</nvidia_smi_log>',
        '<!DOCTYPE nvidia_smi_log [<!ENTITY x SYSTEM "file:///etc/passwd">]><nvidia_smi_log>&x;</nvidia_smi_log>',
    ],
)
def test_what_is_no_log_is_refused(text: str) -> None:
    with pytest.raises(Refusal):
        gpus.parse_smi(text)


@given(st.integers(0, len(RECORDED) - 1), st.integers(0, 200), st.text(max_size=6))
def test_a_mutated_log_never_crashes_and_never_invents_a_gpu(at: int, cut: int, put: str) -> None:
    text = RECORDED[:at] + put + RECORDED[at + cut :]
    try:
        found = gpus.parse_smi(text)
    except Refusal:
        return
    assert len(found["devices"]) <= 1
    for device in found["devices"]:
        assert device["memory_total_bytes"] is None or device["memory_total_bytes"] >= 0


def test_topology_as_recorded() -> None:
    assert gpus.parse_topo(TOPO) == [{"gpu": 0, "links": {}, "cpus": list(range(16)), "numa": 0}]


def test_topology_of_a_board_of_eight() -> None:
    rows = gpus.parse_topo(HGX)
    assert [row["gpu"] for row in rows] == list(range(8)) and rows[4]["numa"] == 1
    assert rows[0]["links"] == {str(i): "NV18" for i in range(1, 8)} and 112 in rows[0]["cpus"]
    assert gpus.islands(rows) == [list(range(8))]
    halves = HGX.replace("NV18", "SYS")
    assert gpus.islands(gpus.parse_topo(halves)) == [[i] for i in range(8)]


@given(st.text(max_size=300))
def test_any_text_as_topology_gives_rows_or_none(text: str) -> None:
    for row in gpus.parse_topo(text):
        assert set(row) == {"gpu", "links", "cpus", "numa"}


def pci(root: Path, slots: dict[str, tuple[str, str, str]]) -> None:
    for slot, (vendor, device, kind) in slots.items():
        folder = root / "sys/bus/pci/devices" / slot
        folder.mkdir(parents=True)
        for name, text in (("vendor", vendor), ("device", device), ("class", kind)):
            (folder / name).write_text(text + "\n")


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A stand-in for nvidia-smi, first on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def make(script: str) -> None:
        path = folder / "nvidia-smi"
        path.write_text("#!/bin/sh\n" + script)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    return make


H100 = ("0x10de", "0x2330", "0x030200")


def test_a_host_without_driver_is_known_by_its_pci_ids(tmp_path: Path, tool: Any) -> None:
    switch, other = ("0x10de", "0x22a3", "0x068000"), ("0x8086", "0x1", "0x060100")
    pci(tmp_path, {"0000:18:00.0": H100, "0000:2a:00.0": H100, "0000:05:00.0": switch, "0000:00:1f.0": other})
    tool("exit 127\n")
    record = gpus.gpu_record(str(tmp_path))
    assert record["count"] == 2 and not record["live"] and record["topology"]["nvswitches"] == 1
    assert record["devices"][0]["name"] == "NVIDIA H100 80GB HBM3 (SXM5)"


def test_a_library_of_another_version(tmp_path: Path, tool: Any) -> None:
    pci(tmp_path, {"0000:18:00.0": H100})
    tool(
        "echo 'Failed to initialize NVML: Driver/library version mismatch'; echo 'NVML library version: 580.173'; exit 18\n"
    )
    [problem] = gpus.gpu_record(str(tmp_path))["pending"]
    assert "different versions" in problem and "reboot the host" in problem


def test_a_tool_that_hangs_is_cut_off(tmp_path: Path, tool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pci(tmp_path, {"0000:18:00.0": H100})
    (tmp_path / "sys/module/nvidia").mkdir(parents=True)
    (tmp_path / "sys/module/nvidia/version").write_text("580.159.04\n")
    monkeypatch.setattr(gpus, "TIMEOUT", 1)
    tool("exec sleep 30\n")
    [problem] = gpus.gpu_record(str(tmp_path))["problems"]
    assert "did not answer within 1 s" in problem


def test_the_whole_record_of_a_live_host(tmp_path: Path, tool: Any) -> None:
    pci(tmp_path, {"0000:00:06.0": ("0x10de", "0x2335", "0x030200")})
    tool(
        f'case "$*" in "-q -x") cat {FIXTURES}/nvidia/h200-v13.xml;; "topo -m") cat {FIXTURES}/nvidia/h200-topo.txt;; *) exit 2;; esac\n'
    )
    record = gpus.gpu_record(str(tmp_path))
    assert record["live"] and record["count"] == 1 and record["driver"] == "580.159.04" and record["problems"] == []
    assert record["topology"]["nvlink_islands"] == [[0]] and record["kind"] == "gpu"


def test_a_gpu_that_fell_off_the_bus(tmp_path: Path, tool: Any) -> None:
    pci(tmp_path, {"0000:00:06.0": H100, "0000:00:07.0": H100})
    tool(f'case "$*" in "-q -x") cat {FIXTURES}/nvidia/h200-v13.xml;; *) exit 2;; esac\n')
    [problem] = gpus.gpu_record(str(tmp_path))["problems"]
    assert "2 NVIDIA GPUs are on the PCI bus and the driver lists 1" in problem


def block(node: str, text: str, source: str = RECORDED) -> str:
    """The recorded log with one element and all below it replaced."""
    made, count = re.subn(rf"<{node}>.*?</{node}>", lambda _: f"<{node}>{text}</{node}>", source, flags=re.S)
    assert count, node
    return made


def mig_device(order: int, instance: int, total: str, more: str = "") -> str:
    return (
        f"<mig_device><index>{order}</index><gpu_instance_id>{instance}</gpu_instance_id><compute_instance_id>0</compute_instance_id>"
        f"{more}<fb_memory_usage><total>{total}</total><used>31 MiB</used></fb_memory_usage></mig_device>"
    )


SLICED = block(
    "mig_devices",
    mig_device(0, 1, "71680 MiB") + mig_device(1, 5, "16384 MiB"),
    gpu(current_mig="Enabled", uuid="GPU-3a1f0000-1111-2222-3333-444455556666"),
)


def test_slices_of_a_gpu_and_their_uuids_from_the_list(tmp_path: Path, tool: Any) -> None:
    (tmp_path / "q.xml").write_text(SLICED)
    tool(
        f'case "$*" in "-q -x") cat {tmp_path}/q.xml;; -L) cat <<E\n'
        "GPU 0: NVIDIA H200 (UUID: GPU-3a1f0000-1111-2222-3333-444455556666)\n"
        "  MIG 3g.71gb     Device  0: (UUID: MIG-aaaaaaaa-0000-5000-8000-000000000001)\n"
        "  MIG 1g.18gb+me  Device  1: (UUID: MIG-aaaaaaaa-0000-5000-8000-000000000002)\nE\n;; *) exit 2;; esac\n"
    )
    [device] = gpus.gpu_record(str(tmp_path))["devices"]
    assert device["slices"] == [
        {"uuid": "MIG-aaaaaaaa-0000-5000-8000-000000000001", "name": "MIG 3g.71gb", "memory_total_bytes": 71680 << 20,
         "gpu_instance": 1, "compute_instance": 0},
        {"uuid": "MIG-aaaaaaaa-0000-5000-8000-000000000002", "name": "MIG 1g.18gb+me", "memory_total_bytes": 16384 << 20,
         "gpu_instance": 5, "compute_instance": 0},
    ]  # fmt: skip


def test_slices_keep_what_the_log_says_of_them() -> None:
    more = "<uuid>MIG-GPU-3a1f0000-1111-2222-3333-444455556666/1/0</uuid>"
    [device] = gpus.parse_smi(block("mig_devices", mig_device(0, 1, "Insufficient Permissions", more)))["devices"]
    gpus.name_slices([device], {})
    assert device["slices"][0]["uuid"] == "MIG-GPU-3a1f0000-1111-2222-3333-444455556666/1/0"
    assert device["slices"][0]["name"] is None and device["slices"][0]["memory_total_bytes"] is None


def test_a_gpu_without_slices_has_none() -> None:
    for said in ("\n\t\t\tNone\n\t\t", "N/A", ""):
        assert gpus.parse_smi(block("mig_devices", said))["devices"][0]["slices"] == []


def test_processes_that_hold_memory() -> None:
    def row(pid: str, name: str, used: str, instance: str = "N/A") -> str:
        return (
            f"<process_info><gpu_instance_id>{instance}</gpu_instance_id><compute_instance_id>{instance}</compute_instance_id>"
            f"<pid>{pid}</pid><type>C</type><process_name>{name}</process_name><used_memory>{used}</used_memory></process_info>"
        )

    rows = (
        row("8009", "VLLM::EngineCore", "73978 MiB") + row("41", "[Not Found]", "N/A", "3") + row("N/A", "x", "1 MiB")
    )
    [device] = gpus.parse_smi(block("processes", rows))["devices"]
    assert device["processes"] == [
        {"pid": 8009, "used_bytes": 73978 << 20, "name": "VLLM::EngineCore", "gpu_instance": None, "compute_instance": None},
        {"pid": 41, "used_bytes": None, "name": None, "gpu_instance": 3, "compute_instance": 3},
    ]  # fmt: skip
    assert gpus.parse_smi(block("processes", "N/A"))["devices"][0]["processes"] == []


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("  MIG 1g.10gb     Device  3: (UUID: MIG-70dc024a-e8d7-587c-8dd1-57ad493bd911)", ("MIG 1g.10gb", "MIG-70dc024a-e8d7-587c-8dd1-57ad493bd911")),
        ("  MIG 1c.3g.20gb Device 0: (UUID: MIG-70dc024a-e8d7-587c-8dd1-57ad493bd911)", ("MIG 1c.3g.20gb", "MIG-70dc024a-e8d7-587c-8dd1-57ad493bd911")),
        ("\tMIG 1g.24gb+gfx  Device 0: (UUID: MIG-aa-bb)", ("MIG 1g.24gb+gfx", "MIG-aa-bb")),
        ("  MIG 3g.20gb Device 0: (UUID: MIG-GPU-05aa99be-0000/1/0)", ("MIG 3g.20gb", "MIG-GPU-05aa99be-0000/1/0")),  # before 470
        ("  MIG is on", None),
    ],
)  # fmt: skip
def test_lists_of_slices(line: str, found: tuple[str, str] | None) -> None:
    head = "GPU 0: NVIDIA A100 80GB PCIe (UUID: GPU-0)\nGPU 1: NVIDIA A30 (UUID: GPU-1)\n"
    rows = [{"name": found[0], "uuid": found[1]}] if found else []
    assert gpus.parse_list(head + line + "\n") == {"GPU-0": [], "GPU-1": rows}
