"""Readers of npu-smi and version.info on recorded output, on the shapes of other drivers and chips, and on mutated output."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.serving import npus as n
from conftest import FIXTURES
from hypothesis import given
from hypothesis import strategies as st

ASCEND = FIXTURES / "ascend"
DUO = (ASCEND / "npu-smi-duo-8-25.3.rc1.txt").read_text()  # four 300I Duo cards, eight chips, driver 25.3.rc1
BETWEEN_CARDS = f"+{'=' * 31}+{'=' * 17}+{'=' * 54}+\n"
B4 = """+------------------------------------------------------------------------------------------------+
| npu-smi 24.1.1                   Version: 24.1.1                                               |
+---------------------------+---------------+----------------------------------------------------+
| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|
| Chip                      | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |
+===========================+===============+====================================================+
| 0     910B4               | OK            | 88.2        41                0    / 0             |
| 0                         | 0000:C1:00.0  | 0           0    / 0          26838/ 32768         |
+===========================+===============+====================================================+
"""


def test_four_duo_cards() -> None:
    found = n.parse_npu_smi(DUO)
    assert found["version"] == "25.3.rc1" and found["problems"] == []
    devices = found["devices"]
    assert [d["id"] for d in devices] == [f"davinci{i}" for i in range(8)]
    assert [d["npu_id"] for d in devices] == [0, 0, 32, 32, 32768, 32768, 32800, 32800]
    assert [d["chip"] for d in devices] == [0, 1] * 4
    assert devices[0]["memory_total_bytes"] == 44278 << 20 and devices[1]["memory_total_bytes"] == 43693 << 20
    assert devices[7]["memory_used_bytes"] == 1216 << 20 and devices[7]["bus_id"] == "0000:82:00.0"
    assert devices[0]["name"] == "Ascend 310P3"


def test_a_910_tells_its_memory_in_the_last_column() -> None:
    [device] = n.parse_npu_smi(B4)["devices"]
    assert device["memory_total_bytes"] == 32768 << 20 and device["memory_used_bytes"] == 26838 << 20
    assert device["name"] == "Ascend 910B4" and device["id"] is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("1615 / 44278", "34130/ 44280"),  # no space before the slash (24.1.1.3)
        (BETWEEN_CARDS + "| 32  ", BETWEEN_CARDS.replace("=", "-") + "| 32  "),  # 25.5.1
        ("0     / 0             |", "16146 / 16146         |"),
        ("| OK              |", "| OK                 |"),
    ],
)  # fmt: skip
def test_other_drivers_print_it_a_little_otherwise(old: str, new: str) -> None:
    found = n.parse_npu_smi(DUO.replace(old, new))
    assert len(found["devices"]) == 8 and found["problems"] == []


@pytest.mark.parametrize("health", ["Alarm", "Warning", "Critical", "UNKNOWN"])
def test_a_chip_that_is_not_well_is_named(health: str) -> None:
    found = n.parse_npu_smi(DUO.replace("| OK    ", f"| {health:6}", 1))
    [problem] = found["problems"]
    assert "NPU 0 chip 0 (davinci0)" in problem and health in problem


@given(st.integers(0, len(DUO) - 1), st.integers(0, 300), st.text(max_size=6))
def test_a_mutated_table_never_crashes_and_never_invents_a_chip(at: int, cut: int, put: str) -> None:
    found = n.parse_npu_smi(DUO[:at] + put + DUO[at + cut :])
    assert len(found["devices"]) <= 8


@given(st.text(alphabet="|+-= 0123456789:/.\nNAOK310P", max_size=400))
def test_any_table_gives_devices_or_none(text: str) -> None:
    for device in n.parse_npu_smi(text)["devices"]:
        assert device["npu_id"] >= 0


def test_which_firmware_a_driver_works_with() -> None:
    driver = n.parse_version_info((ASCEND / "driver-version.info").read_text())
    assert driver["Version"] == "25.2.0"
    ranges = driver["compatible_version_fw"]
    assert [n.fits(v, ranges) for v in ("7.7.0.6.236", "6.4.0", "7.7.99", "7.8.0.6.201", "6.5.0", "5.0")] == [
        True, True, True, False, False, False,
    ]  # fmt: skip
    assert n.fits("7.7.0", "") is None


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A root with four Duo cards on its PCI bus, and a stand-in for npu-smi first on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    for slot in ("01", "02", "81", "82"):
        base = tmp_path / f"sys/bus/pci/devices/0000:{slot}:00.0"
        base.mkdir(parents=True)
        for name, text in (
            ("vendor", "0x19e5"),
            ("device", "0xd500"),
            ("class", "0x120000"),
            ("subsystem_device", "0x0110"),
        ):
            (base / name).write_text(text + "\n")

    def make(script: str, driver: bool = True, nodes: int = 8) -> dict[str, Any]:
        path = folder / "npu-smi"
        path.write_text("#!/bin/sh\n" + script)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        (tmp_path / "dev").mkdir(exist_ok=True)
        for name in (*n.NODES, *(f"davinci{i}" for i in range(nodes))) if nodes else ():
            (tmp_path / "dev" / name).write_text("")
        if driver:
            for part in ("driver", "firmware"):
                (tmp_path / "usr/local/Ascend" / part).mkdir(parents=True)
                shutil.copy(ASCEND / f"{part}-version.info", tmp_path / "usr/local/Ascend" / part / "version.info")
        return n.npu_record(str(tmp_path))

    return make


SHOW = f"cat {ASCEND}/npu-smi-duo-8-25.3.rc1.txt\n"


def test_a_live_host(host: Any) -> None:
    record = host(SHOW)
    assert record["live"] and record["count"] == 8 and record["problems"] == []
    assert record["driver"] == "25.2.0" and record["versions"]["firmware"] == "7.7.0.1.231"


def test_cards_without_a_driver_are_known_by_their_pci_ids(host: Any) -> None:
    record = host("exit 127\n", driver=False, nodes=0)
    assert record["count"] == 8 and not record["live"] and record["topology"]["cards"][0]["name"] == "Atlas 300I Duo"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo 'dcmi model initialized failed, because the device is used. ret is -8020'; exit 1\n", "device-share"),
        ("echo 'dcmi module initialize failed. ret is -8005'; exit 1\n", "held by another container"),
    ],
)
def test_what_npu_smi_says_when_it_cannot_look(host: Any, script: str, words: str) -> None:
    assert any(words in problem for problem in host(script)["problems"])


def test_a_driver_that_lists_nothing_is_not_live(host: Any) -> None:
    record = host("exit 0\n")
    assert not record["live"] and record["pending"] == [
        "driver 25.2.0 is installed and not live (npu-smi: no chip, exit code 0)"
    ]


def test_nodes_that_are_missing_mean_a_reboot(host: Any) -> None:
    record = host(SHOW, nodes=0)
    assert not record["live"] and "/dev/davinci_manager, /dev/devmm_svm" in record["pending"][0]


def test_a_chip_less_than_the_bus_has(host: Any) -> None:
    text = DUO.replace(
        DUO[DUO.index("| 32800   310P3                 | OK              | NA           52") :][:214], ""
    )
    record = host(f"cat <<'E'\n{text}\nE\n")
    assert any("8 chips are on the PCI bus and npu-smi lists 7" in problem for problem in record["problems"])


def test_a_firmware_that_does_not_belong(host: Any, tmp_path: Path) -> None:
    record = host(SHOW)
    (tmp_path / "usr/local/Ascend/firmware/version.info").write_text("Version=7.8.0.6.201\n")
    record = n.npu_record(str(tmp_path))
    assert any(
        "firmware 7.8.0.6.201 is none that driver 25.2.0 works with" in problem for problem in record["problems"]
    )
