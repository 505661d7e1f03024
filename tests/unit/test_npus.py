"""Readers of npu-smi and version.info on recorded output, on the shapes of other drivers and NPUs, and on mutated output."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.serving.host import npus
from conftest import FIXTURES
from hypothesis import given
from hypothesis import strategies as st

ASCEND = FIXTURES / "ascend"
DUO = (ASCEND / "npu-smi-duo-8-25.3.rc1.txt").read_text()  # four 300I Duo cards, eight NPUs, driver 25.3.rc1
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
    found = npus.parse_npu_smi(DUO)
    assert found["version"] == "25.3.rc1" and found["problems"] == []
    devices = found["devices"]
    assert [d["id"] for d in devices] == [f"davinci{i}" for i in range(8)]
    assert [d["npu_id"] for d in devices] == [0, 0, 32, 32, 32768, 32768, 32800, 32800]
    assert [d["chip"] for d in devices] == [0, 1] * 4
    assert devices[0]["memory_total_bytes"] == 44278 << 20 and devices[1]["memory_total_bytes"] == 43693 << 20
    assert devices[7]["memory_used_bytes"] == 1216 << 20 and devices[7]["bus_id"] == "0000:82:00.0"
    assert devices[0]["name"] == "Ascend 310P3"


def test_a_910_tells_its_memory_in_the_last_column() -> None:
    [device] = npus.parse_npu_smi(B4)["devices"]
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
    found = npus.parse_npu_smi(DUO.replace(old, new))
    assert len(found["devices"]) == 8 and found["problems"] == []


def test_an_npu_that_gets_its_node_later_is_not_said_to_have_none(host: Any) -> None:
    text = table(("0", "910B3", "Major Alarm", "90", "0", "0000:C1:00.0", G64), column="")
    record = host(f"cat <<'E'\n{text}\nE\n", nodes=1)
    [sentence] = [problem for problem in record["problems"] if "Major Alarm" in problem]
    assert sentence.startswith("NPU 0 chip 0 is in health Major Alarm")


@pytest.mark.parametrize("health", ["Alarm", "Warning", "Critical", "UNKNOWN"])
def test_an_npu_that_is_not_well_is_named(health: str) -> None:
    found = npus.parse_npu_smi(DUO.replace("| OK    ", f"| {health:6}", 1))
    [problem] = found["problems"]
    assert "NPU 0 chip 0 (davinci0)" in problem and health in problem


@given(st.integers(0, len(DUO) - 1), st.integers(0, 300), st.text(max_size=6))
def test_a_mutated_table_never_crashes_and_never_invents_an_npu(at: int, cut: int, put: str) -> None:
    found = npus.parse_npu_smi(DUO[:at] + put + DUO[at + cut :])
    assert len(found["devices"]) <= 8


@given(st.text(alphabet="|+-= 0123456789:/.\nNAOK310P", max_size=400))
def test_any_table_gives_devices_or_none(text: str) -> None:
    for device in npus.parse_npu_smi(text)["devices"]:
        assert device["npu_id"] >= 0


def test_which_firmware_a_driver_works_with() -> None:
    driver = npus.parse_version_info((ASCEND / "driver-version.info").read_text())
    assert driver["Version"] == "25.2.0"
    ranges = driver["compatible_version_fw"]
    assert [npus.fits(v, ranges) for v in ("7.7.0.6.236", "6.4.0", "7.7.99", "7.8.0.6.201", "6.5.0", "5.0")] == [
        True, True, True, False, False, False,
    ]  # fmt: skip
    assert npus.fits("7.7.0", "") is None


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
        for name in (*npus.NODES, *(f"davinci{i}" for i in range(nodes))) if nodes else ():
            (tmp_path / "dev" / name).write_text("")
        if driver:
            for part in ("driver", "firmware"):
                (tmp_path / "usr/local/Ascend" / part).mkdir(parents=True, exist_ok=True)
                shutil.copy(ASCEND / f"{part}-version.info", tmp_path / "usr/local/Ascend" / part / "version.info")
        return npus.npu_record(str(tmp_path))

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
        (
            "echo 'npu-smi: error while loading shared libraries: libc_sec.so: cannot open shared object file'; exit 127\n",
            "libraries",
        ),
        ("echo 'dcmi model initialized failed. ret is -8002'; exit 255\n", "HwHiAiUser"),
        ("echo 'dcmi module initialize failed. ret is -8012'; exit 255\n", "not ready"),
        ("echo 'dcmi module initialize failed. ret is -8017'; exit 255\n", "being upgraded"),
        ("echo 'This user does not have permission to run the command.'; exit 1\n", "become root"),
        ('echo "npu-smi: version \\`GLIBC_2.34\' not found" >&2; exit 1\n', "not made for this system"),
    ],
)
def test_what_npu_smi_says_when_it_cannot_look(host: Any, script: str, words: str) -> None:
    assert any(words in problem for problem in host(script)["problems"])


LOST = "echo 'DrvMngGetConsoleLogLevel failed. (g_conLogLevel=3)'; echo 'dcmi module initialize failed. ret is -8005'; exit 1\n"


def test_a_library_that_does_not_reach_the_driver_waits_for_a_reboot(host: Any) -> None:
    """As after an upgrade of driver or firmware: nobody holds the NPUs."""
    record = host(LOST)
    assert record["problems"] == [] and not record["live"]
    [pending] = record["pending"]
    assert "reboot the host" in pending and "container" not in pending


def test_a_user_who_may_not_open_the_devices_is_told_so(
    host: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(npus.os, "access", lambda path, mode: not str(path).endswith("davinci_manager"))
    [problem] = host(LOST)["problems"]
    assert "HwHiAiUser" in problem and "become root" in problem


def test_a_container_without_the_devices_is_told_so(host: Any, tmp_path: Path) -> None:
    (tmp_path / ".dockerenv").write_text("")
    assert host(LOST, nodes=0)["problems"] == []  # nor has the host loaded its driver
    (tmp_path / "sys/module/drv_davinci_intf_host").mkdir(parents=True)
    [problem] = host(LOST, nodes=0)["problems"]
    assert "container without the NPUs' devices" in problem


A5 = """
| npu-smi 27.0.rc1                 Version: 27.0.rc1                                        |
| NPU ID | Name         | Health | Power(W) Temp(C) Hugepages-Usage(page)                   |
|        |              | Bus-Id | NPU Util(%) Memory-Usage(MB) HBM-Usage(MB)               |
| 0      | Ascend950PR  | OK     | 101.0 41 0 / 0                                           |
|        |              | NA     | 0 0 / 0 3000 / 131072                                    |
"""


def test_a_layout_that_is_not_known_is_shown(host: Any) -> None:
    record = host(f"cat <<'E'\n{A5}\nE\n")
    [problem] = record["problems"]
    assert record["pending"] == [] and record["live"] and record["count"] == 8
    assert "npu-smi 27.0.rc1 answers in a form that is not known here" in problem and "Ascend950PR" in problem


def test_a_table_without_an_npu_is_told_as_that(host: Any) -> None:
    [problem] = host(f"cat <<'E'\n{table()}\nE\n")["problems"]
    assert problem.startswith("npu-smi 25.2.1 lists no NPU (npu-smi 25.2.1 Version: 25.2.1 / NPU Name Health ")
    assert problem.endswith("; look at dmesg and the BMC")
    headless = "| 0 | Ascend950PR | OK | 1 |\n"
    assert "npu-smi of unknown version answers in a form" in host(f"echo '{headless}'")["problems"][0]


def test_an_npu_that_is_listed_and_not_understood_is_told() -> None:
    broken = DUO.replace(
        "| 1       5                     | 0000:81:00.0    |", "| 1       5                     | ????:81:00.0    |"
    )
    found = npus.parse_npu_smi(broken)
    assert (
        len(found["devices"]) == 7
        and "1 NPUs of npu-smi's table can't be read (npu-smi 25.3.rc1)" in found["problems"][0]
    )


def test_a_table_with_a_word_beside_it_is_read(host: Any) -> None:
    record = host(
        f"echo 'DrvMngGetConsoleLogLevel failed. (ret=4)' >&2; cat {ASCEND}/npu-smi-duo-8-25.3.rc1.txt; exit 3\n"
    )
    assert record["count"] == 8 and record["live"] and record["problems"] == []
    assert record["notes"] == ["npu-smi ends with exit code 3 and says: DrvMngGetConsoleLogLevel failed. (ret=4)"]


def table(
    *rows: tuple[str, str, str, str, str, str, str],
    version: str = "25.2.1",
    column: str = "Phy-ID",
    processes: str = "",
) -> str:
    """A table of npu-smi in the shape of the 910 series: npu, name, health, power, chip (and number), bus id, memory."""
    rule = "+" + "-" * 27 + "+" + "-" * 15 + "+" + "-" * 52 + "+\n"
    rows = "".join(
        f"| {npu:<5} {name:<19} | {health:<13} | {power:<11} 36                0    / 0             |\n"
        f"| {chip:<25} | {bus:<13} | 0           {memory:<38} |\n" + rule
        for npu, name, health, power, chip, bus, memory in rows
    )
    return (
        f"{rule}| npu-smi {version:<24} Version: {version:<45} |\n{rule}"
        f"| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|\n"
        f"| Chip  {column:<19} | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |\n{rule}{rows}"
        f"| NPU     Chip              | Process id    | Process name             | Process memory(MB)      |\n{rule}{processes}"
    )


G64, NONE = "0    / 0          3122 / 65536", "0    / 0          0    / 0"
TABLES = [
    # text, names, ids, bus ids, total MiB
    (table(("0", "Ascend910", "OK", "161.8", "0     0", "0000:9D:00.0", G64), ("0", "Ascend910", "OK", "-", "1     1", "0000:9F:00.0", G64)),
     ["Ascend 910"] * 2, ["davinci0", "davinci1"], ["0000:9d:00.0", "0000:9f:00.0"], [65536] * 2),
    (table(("5", "910B4", "OK", "89.9", "0", "0000:41:00.0", "0    / 0          2922 / 32768"), column="", version="25.5.2"),
     ["Ascend 910B4"], [None], ["0000:41:00.0"], [32768]),
    (table(("12", "910B2C", "OK", "91.3", "0", "0000:D9:00.0", "0    / 0          52675/ 65536"), column="", version="23.0.3"),
     ["Ascend 910B2C"], [None], ["0000:d9:00.0"], [65536]),
    (table(("0", "910B4-1", "OK", "91.3", "0", "0000:C1:00.0", G64), ("1", "910B1", "OK", "88", "0", "0000:C2:00.0", G64), column=""),
     ["Ascend 910B4-1", "Ascend 910B1"], [None] * 2, ["0000:c1:00.0", "0000:c2:00.0"], [65536] * 2),
    (table(("4", "910A", "OK", "67.2", "0", "0000:C2:00.0", "303  / 15171      0    / 32768"), column="", version="1.9.3"),
     ["Ascend 910A"], [None], ["0000:c2:00.0"], [32768]),
    (table(("24", "310P3", "OK", "NA", "0       0", "0000:04:00.0", "1500 / 21527"), column="Device", version="23.0.0"),
     ["Ascend 310P3"], ["davinci0"], ["0000:04:00.0"], [21527]),
    (table(("0", "310P3", "OK", "16.2", "0       0", "0000:86:00.0", "994  / 21534"), column="Device", version="22.0.0"),
     ["Ascend 310P3"], ["davinci0"], ["0000:86:00.0"], [21534]),
    (table(("0", "310B4", "OK", "0.0", "0       0", "NA", "3628 / 15609"), column="Device", version="23.0.rc3"),
     ["Ascend 310B4"], ["davinci0"], [None], [15609]),
    (table(("7", "310", "OK", "12.8", "3       7", "0000:07:00.0", "2703 / 8192"), column="Device", version="21.0.2"),
     ["Ascend 310"], ["davinci7"], ["0000:07:00.0"], [8192]),
    (table(("0", "910B3", "NA", "-", "0       NA", "NA", NONE), column="Device"), ["Ascend 910B3"], [None], [None], [None]),
    (table(("8", "Ascend 310P3", "OK", "NA", "0       2", "0000:03:00.0", "1200 / 44280"), column="Device", version="24.1.rc2"),
     ["Ascend 310P3"], ["davinci2"], ["0000:03:00.0"], [44280]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "names", "ids", "buses", "totals"), TABLES)
def test_tables_of_other_boards(
    text: str, names: list[str], ids: list[Any], buses: list[Any], totals: list[Any]
) -> None:
    for one in (text, "".join("    " + line + "\n" for line in text.splitlines()), text.replace("\n", "\r\n")):
        found = npus.parse_npu_smi(one)
        assert found["problems"] == []
        assert [d["name"] for d in found["devices"]] == names and [d["id"] for d in found["devices"]] == ids
        assert [d["bus_id"] for d in found["devices"]] == buses
        assert [d["memory_total_bytes"] for d in found["devices"]] == [total and total << 20 for total in totals]


def test_words_in_the_table_are_notes_and_never_numbers() -> None:
    found = npus.parse_npu_smi(TABLES[9][0])
    [device] = found["devices"]
    assert device["health"] == "Unknown" and device["memory_used_bytes"] is None and found["problems"] == []
    assert "does not tell its health" in found["notes"][0] and "does not tell its memory" in found["notes"][1]


def test_an_npu_seen_through_a_partition_counts_once() -> None:
    """A soft partition of an A3 lists its one die twice; both NPUs of a Duo have one bus id too, and are two."""
    soft = table(
        ("0", "Ascend910", "OK", "157.3", "0     0", "0000:9D:00.0", G64),
        ("0", "Ascend910", "OK", "-", "1     0", "0000:9D:00.0", G64),
    )
    found = npus.parse_npu_smi(soft)
    assert (
        [d["id"] for d in found["devices"]] == ["davinci0"]
        and found["problems"] == []
        and "it counts once" in found["notes"][0]
    )
    vnpu = table(
        ("0", "910B3", "OK", "90", "0", "0000:C1:00.0", G64),
        ("1", "910B3", "OK", "90", "0", "0000:C1:00.0", G64),
        column="",
    )
    assert len(npus.parse_npu_smi(vnpu)["devices"]) == 1
    assert len(npus.parse_npu_smi(DUO)["devices"]) == 8


def test_ids_of_npus_have_gaps(host: Any, tmp_path: Path) -> None:
    """NPU 1 is lost: the place in the list is no number of a device, the id is, where the nodes agree."""
    text = table(*[(str(i), "910B3", "OK", "90", "0", f"0000:C{i}:00.0", G64) for i in (0, 2, 3)], column="")
    for name in ("davinci0", "davinci2", "davinci3", *npus.NODES):
        (tmp_path / "dev").mkdir(exist_ok=True)
        (tmp_path / "dev" / name).write_text("")
    record = host(f"cat <<'E'\n{text}\nE\n", nodes=0)
    assert [d["id"] for d in record["devices"]] == ["davinci0", "davinci2", "davinci3"]
    (tmp_path / "dev/davinci1").write_text("")
    assert [d["id"] for d in npus.npu_record(str(tmp_path))["devices"]] == [None] * 3


def test_processes_that_hold_memory() -> None:
    rows = (
        "| 0       0                 | 103524        | python3.11               | 6092                    |\n"
        "| 0       1                 | 99910         |                          | 27977                   |\n"
        "| No running processes found in NPU 1                                                            |\n"
        "| 0       1                 | 1732754       | python             | 150                   | NA                      |\n"
        "| 9       0                 | 1             | stranger                 | 1                       |\n"
    )
    found = npus.parse_npu_smi(TABLES[0][0] + rows)
    assert [d["processes"] for d in found["devices"]] == [
        [{"pid": 103524, "used_bytes": 6092 << 20, "name": "python3.11"}],
        [{"pid": 99910, "used_bytes": 27977 << 20, "name": None}, {"pid": 1732754, "used_bytes": 150 << 20, "name": "python"}],
    ]  # fmt: skip


def test_a_driver_that_lists_nothing_is_not_live(host: Any) -> None:
    record = host("exit 0\n")
    assert not record["live"] and record["pending"] == [
        "driver 25.2.0 is installed and not live (npu-smi: no NPU, exit code 0)"
    ]


def test_nodes_that_are_missing_mean_a_reboot(host: Any) -> None:
    record = host(SHOW, nodes=0)
    assert not record["live"] and "/dev/davinci_manager, /dev/devmm_svm" in record["pending"][0]


def test_an_npu_less_than_the_bus_has(host: Any) -> None:
    text = DUO.replace(
        DUO[DUO.index("| 32800   310P3                 | OK              | NA           52") :][:214], ""
    )
    record = host(f"cat <<'E'\n{text}\nE\n")
    assert any("8 NPUs are on the PCI bus and npu-smi lists 7" in problem for problem in record["problems"])


def test_a_firmware_that_does_not_belong(host: Any, tmp_path: Path) -> None:
    record = host(SHOW)
    (tmp_path / "usr/local/Ascend/firmware/version.info").write_text("Version=7.8.0.6.201\n")
    record = npus.npu_record(str(tmp_path))
    assert any(
        "firmware 7.8.0.6.201 is none that driver 25.2.0 works with" in problem for problem in record["problems"]
    )
