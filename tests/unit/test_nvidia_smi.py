"""What is printed around nvidia-smi's log, exit codes, logs that break off, and tools that hang."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.serving.host import gpus, nvidia_host, nvidia_smi
from ansible.module_utils.serving.host import system as hosts
from conftest import FIXTURES, ROOT
from hypothesis import given
from hypothesis import strategies as st

LOG = (FIXTURES / "nvidia/h100x2-loaded.xml").read_text()  # two H100, driver 580.159.04, a service on the second
INFOROM = "WARNING: infoROM is corrupted at gpu 0000:B3:00.0"


@pytest.mark.parametrize(
    ("code", "out", "error", "beside"),
    [
        (0, LOG, "", []),
        (0, "\ufeff" + LOG.replace("\n", "\r\n"), "", []),
        (14, LOG + INFOROM + "\n", "", [INFOROM]),
        (14, INFOROM + "\n" + LOG, "", [INFOROM]),
        (14, LOG, INFOROM, [INFOROM]),
        (0, "Mon warning: x\n\n" + LOG + "\n  bye \n", "on stderr\nMon warning: x", ["Mon warning: x", "bye", "on stderr"]),
        (0, "", LOG, []),
        (0, LOG, "line\n" * 50, ["line"]),
        (0, LOG + LOG, "", []),
    ],
)  # fmt: skip
def test_the_log_is_read_whatever_stands_around_it(code: int, out: str, error: str, beside: list[str]) -> None:
    log = nvidia_smi.read_log(code, out, error)
    assert log.root is not None and log.beside == beside and log.dtd == "v13" and log.said == ""
    found = gpus.summary(log)
    assert len(found["devices"]) == 2 and found["driver"] == "580.159.04" and found["problems"] == found["notes"] == []


def test_two_recorded_gpus_and_who_holds_their_memory() -> None:
    first, second = gpus.parse_smi(LOG)["devices"]
    assert (
        first["name"] == "NVIDIA H100 80GB HBM3"
        and first["memory_total_bytes"] == 81559 << 20
        and first["fabric"] == "Completed"
    )
    holders = [(p["pid"], p["used_bytes"], p["name"]) for p in first["processes"] + second["processes"]]
    assert holders == [(8009, 73978 << 20, "VLLM::EngineCore")]
    rows = gpus.parse_topo((FIXTURES / "nvidia/h100x2-topo.txt").read_text())
    assert gpus.islands(rows) == [[0, 1]] and rows[0]["links"] == {"1": "NV18"}


def test_four_recorded_gpus_are_one_island() -> None:
    found = gpus.parse_smi((FIXTURES / "nvidia/h100x4.xml").read_text())
    assert [row["memory_total_bytes"] >> 20 for row in found["devices"]] == [81559] * 4 and found["problems"] == []
    rows = gpus.parse_topo((FIXTURES / "nvidia/h100x4-topo.txt").read_text())
    assert gpus.islands(rows) == [[0, 1, 2, 3]] and rows[3]["links"] == {"0": "NV18", "1": "NV18", "2": "NV18"}


@pytest.mark.parametrize("cut", [120, 2000, len(LOG) // 2, len(LOG) - 20])
def test_a_log_that_breaks_off_is_told_as_that(cut: int) -> None:
    log = nvidia_smi.read_log(-9, LOG[:cut], "")
    assert log.root is None and "breaks off after" in log.said and "SIGKILL" in log.said


@pytest.mark.parametrize(
    ("code", "name"),
    [(14, "exit code 14: an infoROM is corrupted"), (9, "exit code 9: the NVIDIA driver is not loaded"), (77, "exit code 77"),
     (-11, "ended by SIGSEGV"), (137, "ended by SIGKILL"), (255, "exit code 255: unknown error"), (200, "exit code 200")],
)  # fmt: skip
def test_exit_codes_have_names(code: int, name: str) -> None:
    assert nvidia_smi.exit_name(code) == name


@given(
    st.integers(-300, 300) | st.none(),
    st.text(max_size=80),
    st.text(max_size=80),
    st.integers(0, len(LOG)),
    st.integers(0, 40),
)
def test_no_output_crashes_the_reader(code: int | None, before: str, error: str, at: int, gap: int) -> None:
    log = nvidia_smi.read_log(code, before + LOG[:at] + LOG[at + gap :], error)
    assert (log.root is None) is bool(log.said)


def test_names_of_processes_that_no_xml_may_hold() -> None:
    """Drivers write the command line as it is."""
    for name in ("python -c 'a && b < c'", "x <!ENTITY y>", "a\x01b", "</process_name2>"):
        devices = gpus.parse_smi(LOG.replace("VLLM::EngineCore", name))["devices"]
        assert [process["pid"] for device in devices for process in device["processes"]] == [8009]


# -- the record, with a stand-in of nvidia-smi ------------------------------------------------------------------------------


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    (tmp_path / "log.xml").write_text(LOG)
    for slot in ("0000:00:06.0", "0000:00:07.0"):
        at = tmp_path / "sys/bus/pci/devices" / slot
        at.mkdir(parents=True)
        for name, text in (("vendor", "0x10de"), ("device", "0x2330"), ("class", "0x030200")):
            (at / name).write_text(text + "\n")
    (tmp_path / "sys/module/nvidia").mkdir(parents=True)
    (tmp_path / "sys/module/nvidia/version").write_text("580.159.04\n")

    def make(script: str) -> dict[str, Any]:
        path = folder / "nvidia-smi"
        path.write_text(f'#!/bin/sh\nlog="cat {tmp_path}/log.xml"\n{script}\n')
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return dict(gpus.gpu_record(str(tmp_path)))

    return make


def test_a_corrupted_inforom_is_a_note(host: Any) -> None:
    record = host(f"$log; echo '{INFOROM}'; exit 14")
    assert record["live"] and record["count"] == 2 and record["problems"] == record["pending"] == []
    assert record["notes"][0] == f"nvidia-smi says: {INFOROM}" and "exit code 14" in record["notes"][1]


def test_a_lost_gpu_beside_a_whole_log_is_a_problem(host: Any) -> None:
    record = host("$log; echo 'Unable to determine the device handle for GPU0000:18:00.0: Unknown Error' >&2; exit 255")
    assert record["count"] == 2 and "Unable to determine" in record["problems"][0] and "reboot" in record["problems"][0]


@pytest.mark.parametrize(
    ("script", "kind", "words"),
    [
        ("echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18", "pending", "reboot the host"),
        ("exit 18", "pending", "different versions"),
        ("echo 'No devices were found'; exit 6", "problems", "RmInitAdapter"),
        ("exit 6", "problems", "RmInitAdapter"),
        ("echo 'Unable to determine the device handle for GPU 0000:0B:00.0: GPU is lost.  Reboot the system to recover this GPU'; exit 15", "problems", "Xid"),
        ("echo 'Failed to initialize NVML: Insufficient Permissions'; exit 4", "problems", "become root"),
        ("echo 'Failed to initialize NVML: GPU access blocked by the operating system'; exit 17", "problems", "Secure Boot"),
        ("echo \"NVIDIA-SMI couldn't find libnvidia-ml.so library in your system.\"; exit 12", "pending", "user-space library is missing"),
        ("echo 'Failed to initialize NVML: Unknown Error'; exit 255", "problems", "exit code 255: unknown error"),
        ("echo 'Failed to initialize NVML: Function Not Found'; exit 13", "pending", "newer than the driver's library"),
        ("echo 'bash: nvidia-smi: command not found'; exit 127", "pending", "the driver's tools are missing"),
        ("$log | head -c 9000; exit 0", "problems", "breaks off after 9000 characters"),
        ("kill -SEGV $$", "problems", "SIGSEGV"),
        ("exit 0", "problems", "it said nothing"),
    ],
)  # fmt: skip
def test_why_there_is_no_log(host: Any, script: str, kind: str, words: str) -> None:
    record = host(script)
    other = {"pending": "problems", "problems": "pending"}[kind]
    [sentence] = record[kind]
    assert words in sentence and record[other] == [] and not record["live"] and record["count"] == 2


def test_a_log_without_a_gpu_is_told(host: Any) -> None:
    record = host(
        "echo '<nvidia_smi_log><driver_version>570.1</driver_version><attached_gpus>0</attached_gpus></nvidia_smi_log>'"
    )
    assert (
        record["problems"] == ["the NVIDIA driver answers and lists no GPU; look at dmesg for NVRM"]
        and not record["live"]
    )


def test_gpus_that_are_not_the_drivers_are_not_missed(host: Any, tmp_path: Path) -> None:
    """One is given to a virtual machine, one is a virtual function of another."""
    devices = tmp_path / "sys/bus/pci/devices"
    for slot in ("0000:00:08.0", "0000:00:09.0"):
        (devices / slot).mkdir()
        for name in ("vendor", "device", "class"):
            (devices / slot / name).write_text((devices / "0000:00:06.0" / name).read_text())
    (tmp_path / "sys/bus/pci/drivers/vfio-pci").mkdir(parents=True)
    (devices / "0000:00:08.0/driver").symlink_to(tmp_path / "sys/bus/pci/drivers/vfio-pci")
    (devices / "0000:00:09.0/physfn").symlink_to(devices / "0000:00:06.0")
    assert host("$log")["problems"] == []
    (devices / "0000:00:08.0/driver").unlink()
    assert (
        "3 NVIDIA GPUs are on the PCI bus and the driver lists 2 (not 0000:00:08.0); look"
        in host("$log")["problems"][0]
    )


def test_the_host_reads_the_same_log(host: Any, tmp_path: Path) -> None:
    host(f"$log; echo '{INFOROM}'; exit 14")
    state = nvidia_host.look(str(tmp_path))
    assert state["library"] == "580.159.04" and state["smi"] == ""


# -- tools that hang --------------------------------------------------------------------------------------------------------


def test_a_tool_that_hangs_is_ended_with_what_it_started(tmp_path: Path) -> None:
    script = f"sleep 300 & echo $! > {tmp_path}/child; wait"
    code, _, error = hosts.run_tool(["sh", "-c", script], 1)
    assert code is None and error == "sh did not answer within 1 s"
    child = (tmp_path / "child").read_text().strip()
    until = time.monotonic() + 20
    while re.search(
        r"^State:\s+[RSD]", Path(f"/proc/{child}/status").read_text() if Path(f"/proc/{child}").exists() else "", re.M
    ):
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_tool_that_the_kernel_keeps_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process inside a broken driver does not even end by SIGKILL."""
    started: list[subprocess.Popen[bytes]] = []
    real = subprocess.Popen

    class Kept(real):  # type: ignore[misc, valid-type]
        def __init__(self, *words: Any, **more: Any) -> None:
            super().__init__(*words, **more)
            started.append(self)

    monkeypatch.setattr(hosts.subprocess, "Popen", Kept)
    monkeypatch.setattr(hosts.os, "killpg", lambda *_: None)
    monkeypatch.setattr(hosts, "GRACE", 0.2)
    begun = time.monotonic()
    code, _, error = hosts.run_tool(["sleep", "60"], 1)
    assert code is None and "waits inside the kernel" in error and time.monotonic() - begun < 30
    started[0].kill()
    started[0].wait()


def test_a_tool_speaks_english_and_is_found_beside_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    assert hosts.run_tool(["sh", "-c", "echo $LC_ALL"])[:2] == (0, "C\n")
    tool = tmp_path / "npu-smi-of-a-test"
    tool.write_text("#!/bin/sh\necho here\n")
    tool.chmod(0o755)
    monkeypatch.setitem(hosts.PLACES, tool.name, (str(tmp_path),))
    assert hosts.run_tool([tool.name]) == (0, "here\n", "")
    assert hosts.run_tool(["no-such-tool"])[2] == "no-such-tool is not installed"


# -- the test hosts' stand-in speaks as it does -----------------------------------------------------------------------------------


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    edge = tmp_path / "etc/testhost"
    edge.mkdir(parents=True)
    (edge / "nvidia-smi.xml").write_text((FIXTURES / "nvidia/h200-v13.xml").read_text())
    (edge / "library-version").write_text("580.159.04\n")
    (tmp_path / "sys/module/nvidia").mkdir(parents=True)
    (tmp_path / "sys/module/nvidia/version").write_text("580.159.04\n")
    monkeypatch.setenv("BED_ROOT", str(tmp_path))
    (tmp_path / "bin").mkdir()
    shutil.copy(ROOT / "molecule/shared/fakes/nvidia-smi", tmp_path / "bin/nvidia-smi")
    (tmp_path / "bin/nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")

    def make(**state: Any) -> dict[str, Any]:
        (edge / "nvidia.json").write_text(json.dumps(state))
        return dict(gpus.gpu_record(str(tmp_path)))

    return make


def test_the_stand_in_s_eight_gpus(stand_in: Any) -> None:
    record = stand_in()
    assert (
        record["count"] == 8
        and record["problems"] == record["notes"] == []
        and record["topology"]["nvlink_islands"] == [list(range(8))]
    )


def test_the_stand_in_s_processes(stand_in: Any) -> None:
    """An engine's worker of rank 2, as far as a process of this machine may look like one."""
    worker = subprocess.Popen(["VLLM::Worker_TP2", "60"], executable=shutil.which("sleep"))
    try:
        shown = [[p["pid"] for p in device["processes"]] for device in stand_in()["devices"]]
        assert worker.pid in shown[2] and all(worker.pid not in pids for i, pids in enumerate(shown) if i != 2)
        assert all(
            worker.pid not in [p["pid"] for p in device["processes"]] for device in stand_in(hide=True)["devices"]
        )
    finally:
        worker.kill()
        worker.wait()


def test_the_stand_in_s_troubles(stand_in: Any) -> None:
    assert stand_in(after=INFOROM + "\n", code=14)["notes"][0] == f"nvidia-smi says: {INFOROM}"
    assert "breaks off" in stand_in(cut=5000)["problems"][0]
    lost = stand_in(elements={"performance_state": "[GPU is lost]"}, at=2)
    assert [text[:5] for text in lost["problems"]] == ["GPU 2"] and lost["devices"][2]["action"] == "reboot"


def test_the_stand_in_s_slices(stand_in: Any) -> None:
    record = stand_in(slices=2, at=3)
    assert [len(device["slices"]) for device in record["devices"]] == [0, 0, 0, 2, 0, 0, 0, 0] and record[
        "problems"
    ] == []
    assert record["devices"][3]["slices"][1] == {
        "uuid": "MIG-00000000-0000-0000-0000-000000000301", "name": "MIG 1g.10gb", "memory_total_bytes": 9856 << 20,
        "gpu_instance": 8, "compute_instance": 0,
    }  # fmt: skip
