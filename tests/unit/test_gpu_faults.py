"""Faults and settings of GPUs in the shapes of many boards and drivers: which ones stop a deploy, and with which words."""

from __future__ import annotations

import re
from typing import Any
from xml.sax.saxutils import escape

import pytest
from ansible.module_utils.serving.host import gpu_faults, gpus
from conftest import FIXTURES, ROOT
from hypothesis import given
from hypothesis import strategies as st

UUID = "GPU-7d1c0f00-5e2a-4b6b-9c3d-0123456789ab"
# Everything that NVML and nvidia-smi put where a value should be.
WORDS = [
    "N/A", "[N/A]", "None", "[Not Supported]", "Not Supported", "GPU is lost", "[GPU is lost]", "ERR!", "[Unknown Error]", "Unknown Error",
    "Insufficient Permissions", "[Insufficient Permissions]", "Not Found", "[Not Found]", "Function Not Found", "Not Available", "",
    "Requested functionality has been deprecated", "[GPU requires reset]", "GPU requires reset", "Timeout", "No data",
    "Not available in WDDM driver model", "The GPU has fallen off the bus", "infoROM is corrupted",
]  # fmt: skip


def xml(tree: Any) -> str:
    """{tag: text or tree or list of them} -> elements."""
    if not isinstance(tree, dict):
        return escape(str(tree))
    rows = [(tag, one) for tag, many in tree.items() for one in (many if isinstance(many, list) else [many])]
    return "".join(f"<{tag}>{xml(one)}</{tag}>" for tag, one in rows)


def put(tree: dict[str, Any], path: str, text: Any) -> dict[str, Any]:
    """A copy of the tree with one path set."""
    head, _, rest = path.partition("/")
    return {**tree, head: put(tree.get(head, {}), rest, text) if rest else text}


def log(*boards: dict[str, Any], driver: str = "570.86.15", dtd: str = "v12", **head: Any) -> str:
    gpus = "".join(f'<gpu id="00000000:{16 + i:02X}:00.0">{xml(board)}</gpu>' for i, board in enumerate(boards))
    top = xml({"driver_version": driver, "cuda_version": "12.8", "attached_gpus": len(boards), **head})
    return f'<?xml version="1.0" ?>\n<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_{dtd}.dtd">\n<nvidia_smi_log>{top}{gpus}</nvidia_smi_log>'


HEALTHY: dict[str, Any] = {
    "product_name": "NVIDIA H100 80GB HBM3", "uuid": UUID, "minor_number": "3", "persistence_mode": "Enabled",
    "mig_mode": {"current_mig": "Disabled", "pending_mig": "Disabled"}, "gpu_recovery_action": "None", "compute_mode": "Default",
    "fb_memory_usage": {"total": "81559 MiB", "used": "4 MiB"}, "ecc_mode": {"current_ecc": "Enabled"},
    "ecc_errors": {
        "volatile": {"sram_correctable": 0, "sram_uncorrectable_parity": 0, "sram_uncorrectable_secded": 0, "dram_correctable": 12, "dram_uncorrectable": 0},
        "aggregate": {"dram_uncorrectable": 3, "sram_threshold_exceeded": "No"},
        "channel_repair_pending": "No", "tpc_repair_pending": "No", "unrepairable_memory": "No",
    },
    "retired_pages": {"double_bit_retirement": {"retired_count": "N/A"}, "pending_blacklist": "N/A", "pending_retirement": "N/A"},
    "remapped_rows": {
        "remapped_row_corr": 1, "remapped_row_unc": 2, "remapped_row_pending": "No", "remapped_row_failure": "No",
        "row_remapper_histogram": {"row_remapper_histogram_max": "2559 bank(s)", "row_remapper_histogram_none": "0 bank(s)"},
    },
    "fabric": {
        "state": "Completed", "status": "Success", "cliqueId": 0,
        "health": {"summary": "Healthy", "bandwidth": "Full", "route_recovery_in_progress": "False", "route_unhealthy": "False",
                   "access_timeout_recovery": "False", "incorrect_configuration": "None"},
    },
}  # fmt: skip


def test_a_healthy_board_says_nothing() -> None:
    found = gpus.parse_smi(log(HEALTHY))
    assert found["problems"] == found["notes"] == []
    assert found["devices"][0]["health"] == "OK" and found["devices"][0]["action"] is None


@pytest.mark.parametrize(
    ("path", "text", "severity", "words"),
    [
        ("gpu_recovery_action", "Reset", "reset", "nvidia-smi --gpu-reset -i 0"),
        ("gpu_recovery_action", "Reboot", "reboot", "reboot the host"),
        ("gpu_recovery_action", "Drain P2P", "drain", "end every process that uses several GPUs"),
        ("gpu_recovery_action", "Drain and Reset", "reset", "drain the host"),
        ("gpu_recovery_action", "Recover IMEX Domain", "drain", "asks for recovery: Recover IMEX Domain"),
        ("gpu_reset_status/reset_required", "Yes", "reset", "requires a reset"),
        ("gpu_reset_status/drain_and_reset_recommended", "Yes", "reset", "should be drained"),
        ("remapped_rows/remapped_row_pending", "Yes", "reset", "wait to be remapped"),
        ("remapped_rows/remapped_row_failure", "Yes", "replace", "have it replaced"),
        ("retired_pages/pending_retirement", "Yes", "reset", "wait to be retired"),
        ("retired_pages/pending_blacklist", "Yes", "reset", "wait to be retired"),
        ("retired_pages/double_bit_retirement/retired_count", "61", "replace", "retired_count: 61"),
        ("ecc_errors/volatile/dram_uncorrectable", "2", "reset", "dram_uncorrectable: 2"),
        ("ecc_errors/volatile/sram_uncorrectable", "1", "reset", "sram_uncorrectable: 1"),
        ("ecc_errors/volatile/sram_uncorrectable_parity", "7", "reset", "sram_uncorrectable_parity: 7"),
        ("ecc_errors/volatile/sram_uncorrectable_secded", "7", "reset", "uncorrectable memory errors"),
        ("ecc_errors/volatile/double_bit", {"device_memory": "4", "total": "4"}, "reset", "total: 4"),
        ("ecc_errors/volatile/double_bit", {"device_memory": "4", "total": "N/A"}, "reset", "device_memory: 4"),
        ("ecc_errors/aggregate/sram_threshold_exceeded", "Yes", "replace", "SRAM"),
        ("ecc_errors/channel_repair_pending", "Yes", "reset", "channel_repair_pending: Yes"),
        ("ecc_errors/tpc_repair_pending", "Yes", "reset", "tpc_repair_pending: Yes"),
        ("ecc_errors/unrepairable_memory", "Yes", "replace", "can't be repaired"),
        ("fabric/state", "In Progress", "drain", "nvidia-fabricmanager"),
        ("fabric/state", "Not Started", "drain", "state: Not Started"),
        ("fabric/status", "Insufficient Resources", "drain", "status: Insufficient Resources"),
        ("fabric/health/summary", "Unhealthy", "drain", "summary: Unhealthy"),
        ("fabric/health/route_unhealthy", "True", "drain", "route_unhealthy: True"),
        ("fabric/health/access_timeout_recovery", "True", "drain", "access_timeout_recovery: True"),
        ("fabric/health/incorrect_configuration", "Insufficient Nvlinks", "drain", "incorrect_configuration: Insufficient Nvlinks"),
        ("fabric/health", {"summary": "Unhealthy", "route_unhealthy": "True", "bandwidth": "Full"}, "drain", "route_unhealthy: True"),
        ("mig_devices/mig_device", [{"ecc_error_count": {"volatile_count": {"sram_uncorrectable": n}}} for n in (0, 0, 2)], "reset", "sram_uncorrectable: 2"),
        ("compute_mode", "Prohibited", "set", "nvidia-smi -i 0 -c 0"),
        ("performance_state", "[GPU requires reset]", "reset", "requires a reset"),
        ("temperature/gpu_temp", "GPU is lost", "reboot", "is lost"),
    ],
)  # fmt: skip
def test_a_fault_stops_a_deploy_with_one_sentence(path: str, text: Any, severity: str, words: str) -> None:
    found = gpus.parse_smi(log(put(HEALTHY, path, text)))
    [problem] = found["problems"]
    assert problem.startswith("GPU 0 (00000000:10:00.0) ") and UUID in problem and words in problem and "; " in problem
    assert found["devices"][0]["action"] == severity and found["devices"][0]["health"] == "Warning"


@pytest.mark.parametrize(
    ("path", "text", "words"),
    [
        ("persistence_mode", "Disabled", "nvidia-smi -i 0 -pm 1"),
        ("ecc_mode/current_ecc", "Disabled", "nvidia-smi -i 0 -e 1"),
        ("mig_mode/current_mig", "Enabled", "one slice, by its uuid"),
        ("fabric/health/bandwidth", "Degraded", "less than its bandwidth"),
        ("fabric/health/summary", "Limited Capacity", "summary: Limited Capacity"),
        ("fabric/health/route_recovery_in_progress", "True", "slow until it is over"),
        ("remapped_rows/row_remapper_histogram/row_remapper_histogram_none", "2 bank(s)", "without spare rows"),
        ("vgpu_software_licensed_product/license_status", "Unlicensed (Restricted)", "without a licence"),
        ("grid_licensed_product/license_status", "Unlicensed", "without a licence"),
        ("clocks_event_reasons/clocks_event_reason_hw_thermal_slowdown", "Active", "slowed by heat"),
        ("clocks_throttle_reasons/clocks_throttle_reason_hw_power_brake_slowdown", "Active", "power supply"),
        ("fb_memory_usage/total", "N/A", "unified memory"),
    ],
)
def test_a_note_stops_nothing(path: str, text: str, words: str) -> None:
    found = gpus.parse_smi(log(put(HEALTHY, path, text)))
    [note] = found["notes"]
    assert words in note and found["problems"] == [] and found["devices"][0]["health"] == "OK"


ALL_PATHS = sorted({path for fault in gpu_faults.FAULTS for path in fault.paths})


@pytest.mark.parametrize("word", ["[Unknown Error]", "ERR!", "N/A", ""])
def test_a_gpu_that_tells_nothing_of_itself_is_not_well(word: str) -> None:
    """Not even a name: this is no board with unified memory."""
    silent = {**HEALTHY, "product_name": word, "uuid": word, "fb_memory_usage": {"total": word, "used": word}}
    found = gpus.parse_smi(log(HEALTHY, silent, HEALTHY))
    [problem] = found["problems"]
    assert problem.startswith("GPU 1 (00000000:11:00.0) tells neither its name nor its memory") and found["notes"] == []
    assert [device["action"] for device in found["devices"]] == [None, "reboot", None]


@pytest.mark.parametrize("word", WORDS)
def test_words_are_never_values(word: str) -> None:
    """Each path of the table, and every field of the record, with each word: no fault of that path, no number, no version."""
    board: dict[str, Any] = {}
    paths = (
        *ALL_PATHS,
        "product_name",
        "uuid",
        "minor_number",
        "fb_memory_usage/total",
        "fb_memory_usage/used",
        "pci/pci_bus_id",
    )
    for path in paths:
        if not any(other.startswith(path + "/") for other in paths):
            board = put(board, path, word)
    board["processes"] = {"process_info": {"pid": word, "used_memory": word, "process_name": word}}
    found = gpus.parse_smi(log(board, driver=word, cuda_version=word, attached_gpus=word))
    [device] = found["devices"]
    assert all(one is None for part in device.pop("slices") for one in part.values())
    told = {key for key, one in device.items() if one not in (None, [])}
    assert (
        told <= {"index", "container_id", "health", "bus_id", "action"}
        and found["driver"] is None
        and found["cuda"] is None
    )
    grave = re.search("is lost|fallen off|requires reset", word)
    assert len(found["problems"]) == bool(grave), found["problems"]
    assert not any("may have fallen" in text for text in found["problems"] + found["notes"])


RECORDED = (FIXTURES / "nvidia/h200-v13.xml").read_text()
LEAVES = [match.span(1) for match in re.finditer(r"<(?!process_name)\w+>([^<>\n]+)</", RECORDED)]


@given(st.sampled_from(LEAVES), st.sampled_from(WORDS))
def test_a_word_anywhere_in_a_recorded_log_changes_no_number_and_is_no_fault(leaf: tuple[int, int], word: str) -> None:
    before, after = gpus.parse_smi(RECORDED), gpus.parse_smi(RECORDED[: leaf[0]] + word + RECORDED[leaf[1] :])
    for old, new in zip(before["devices"], after["devices"], strict=True):
        changed = {key for key in old if old[key] != new[key]}
        assert all(new[key] is None for key in changed - {"health", "action"}), changed
    grave = re.search("is lost|fallen off|requires reset", word) and leaf[0] > RECORDED.index("<gpu id")
    assert len(after["problems"]) == bool(grave), after["problems"]


def test_elements_are_read_in_one_place() -> None:
    """Whoever reads text of the log elsewhere would take a word for a value."""
    for path in (ROOT / "module_utils/serving").rglob("*.py"):
        if path.name != "nvidia_smi.py" and "xml.etree" in path.read_text():
            assert not re.search(r"\.(findtext|find|iter|itertext)\(|\.text\b", path.read_text()), path


def test_names_of_processes_say_nothing_about_a_gpu() -> None:
    rows = [
        {"pid": "7", "process_name": name, "used_memory": "1 MiB"} for name in ("GPU is lost", "GPU requires reset")
    ]
    assert gpus.parse_smi(log({**HEALTHY, "processes": {"process_info": rows}}))["problems"] == []


def test_the_gravest_fault_comes_first_and_each_gpu_is_named() -> None:
    bad = put(put(HEALTHY, "remapped_rows/remapped_row_pending", "Yes"), "remapped_rows/remapped_row_failure", "Yes")
    found = gpus.parse_smi(log(HEALTHY, bad, put(HEALTHY, "gpu_recovery_action", "Reboot")))
    assert [device["action"] for device in found["devices"]] == [None, "replace", "reboot"]
    assert [text[:5] for text in found["problems"]] == ["GPU 1", "GPU 1", "GPU 2"] and "replaced" in found["problems"][
        0
    ]


def test_a_note_about_eight_gpus_is_told_once() -> None:
    found = gpus.parse_smi(log(*[put(HEALTHY, "persistence_mode", "Disabled")] * 7, HEALTHY))
    [note] = found["notes"]
    assert note.startswith("GPU 0 (") and note.endswith("; the same holds for GPU 1, 2, 3, 4, 5, 6")


def test_rows_of_the_table_are_whole() -> None:
    for fault in gpu_faults.FAULTS:
        assert fault.severity in gpu_faults.SEVERITIES and fault.paths and fault.meaning[0].islower(), fault
        assert not fault.remedy.endswith(".") and fault.remedy.format(index=0), fault


# -- boards of many kinds --------------------------------------------------------------------------------------------------

PLACES = ("device_memory", "register_file", "l1_cache", "l2_cache", "texture_memory", "total")
OLD_ECC = {"volatile": dict.fromkeys(("single_bit", "double_bit"), dict.fromkeys(PLACES, "N/A"))}
NEW_ECC = {
    "volatile": dict.fromkeys(
        ("sram_correctable", "sram_uncorrectable", "dram_correctable", "dram_uncorrectable"), "N/A"
    )
}
NO_MIG = {"current_mig": "N/A", "pending_mig": "N/A"}
OFF = {"current_ecc": "Disabled", "pending_ecc": "Disabled"}
NONE = {"current_ecc": "N/A", "pending_ecc": "N/A"}


def board(name: str, memory: str, **more: Any) -> dict[str, Any]:
    return {
        "product_name": name, "uuid": UUID, "minor_number": "0", "persistence_mode": "Disabled", "mig_mode": NO_MIG,
        "fb_memory_usage": {"total": memory, "used": "1 MiB" if "MiB" in memory else memory}, "ecc_mode": NONE, "ecc_errors": NEW_ECC, **more,
    }  # fmt: skip


HEALTH_NA = dict.fromkeys(
    ("bandwidth", "route_recovery_in_progress", "route_unhealthy", "access_timeout_recovery"), "N/A"
)
WAITING = {"remapped_row_pending": "No", "remapped_row_failure": "No"}
BOARDS = [
    # board, driver, dtd, memory in MiB
    (board("Tesla T4", "15360 MiB", ecc_mode=OFF), "470.57.02", "v11", 15360),
    (board("NVIDIA A10G", "22731 MiB", ecc_mode=OFF, remapped_rows="N/A"), "470.82.01", "v11", 22731),
    (board("Tesla V100-SXM2-16GB", "16160 MiB", ecc_errors=OLD_ECC, retired_pages={"pending_retirement": "No"}),
     "418.87.01", "v10", 16160),
    (board("NVIDIA A100-SXM4-80GB", "81920 MiB", mig_mode={"current_mig": "Disabled"}, remapped_rows=WAITING),
     "515.105.01", "v12", 81920),
    (board("NVIDIA GeForce RTX 3090", "24576 MiB", gpu_reset_status={"reset_required": "No"}), "535.183.01", "v12", 24576),
    (board("NVIDIA GeForce RTX 4090", "24564 MiB", ecc_mode=OFF, fabric={"state": "N/A", "status": "N/A"}), "550.120", "v12", 24564),
    (board("NVIDIA RTX 6000 Ada Generation", "49140 MiB", ecc_mode=OFF, remapped_rows={"remapped_row_pending": "No"}), "560.35.03", "v12", 49140),
    (board("NVIDIA RTX PRO 6000 Blackwell Max-Q", "97887 MiB", ecc_mode=OFF, fabric={"state": "N/A", "health": HEALTH_NA}), "590.44.01", "v13", 97887),
    (board("NVIDIA L4", "23034 MiB", ecc_mode={"current_ecc": "Enabled"}), "535.161.08", "v12", 23034),
    (board("NVIDIA L40S", "46068 MiB", ecc_mode={"current_ecc": "Enabled"}), "550.54.15", "v12", 46068),
    (board("NVIDIA H20", "97871 MiB", fabric={"state": "Completed", "status": "Success"}), "550.127.08", "v12", 97871),
    (board("NVIDIA H200", "143771 MiB", fabric={"state": "Completed", "status": "Success", "health": {"summary": "N/A"}}), "580.95.05", "v13", 143771),
    (board("NVIDIA GB200", "189471 MiB", fabric={"state": "Completed", "status": "Success", "cliqueId": "32766", "health": {
        "summary": "Healthy", "bandwidth": "Full", "route_unhealthy": "False", "incorrect_configuration": "None"}}), "580.105.08", "v13", 189471),
    (board("NVIDIA GB200", "189471 MiB", fabric={"state": "Not Supported", "status": "Success", "health": {"route_unhealthy": "Not Supported"}}),
     "570.172.08", "v12", 189471),
    (board("NVIDIA GB10", "N/A", fb_memory_usage={"total": "N/A", "reserved": "N/A", "used": "N/A"}, addressing_mode="ATS"), "580.95.05", "v13", None),
    (board("NVIDIA GB10", "Not Supported", mig_mode={}), "580.82.09", "v13", None),
    (board("NVIDIA GH200 480GB", "97871 MiB", c2c_mode="Enabled", fabric={"state": "N/A"}), "560.35.05", "v12", 97871),
    (board("Tesla P40", "22919 MiB", ecc_errors=OLD_ECC, ecc_mode=OFF), "384.145", "v9", 22919),
    (board("Tesla K80", "11439 MiB", ecc_errors=OLD_ECC, retired_pages={"pending_retirement": "No"}), "367.48", "v7", 11439),
    ({"product_name": "Tesla M2090", "uuid": UUID, "persistence_mode": "Enabled", "memory_usage": {"total": "5375 MB", "used": "2594 MB"},
      "ecc_mode": {"current_ecc": "Enabled"}, "ecc_errors": {"volatile": {"double_bit": {"total": "0"}}}}, "270.41.19", "v4", 5375),
    (board("GRID V100D-8Q", "8192 MiB", grid_licensed_product={"licensed_product_name": "Quadro Virtual Workstation", "license_status": "Licensed"}),
     "430.63", "v10", 8192),
    (board("NVIDIA A40-48C", "49152 MiB", vgpu_software_licensed_product={"license_status": "Unlicensed (Unrestricted)"}), "525.60.13", "v12", 49152),
    (board("NVIDIA GeForce RTX 3080 Laptop GPU", "16384 MiB", persistence_mode="Enabled", minor_number="N/A", power_draw="[Unknown Error]", fan_speed="ERR!",
           processes={"process_info": {"pid": "23", "type": "G", "process_name": "/Xwayland", "used_memory": "N/A"}}), "551.86", "v12", 16384),
    (board("Orin (nvgpu)", "[N/A]", uuid="ddae5891-4fd4-5e5b-9a3e-2a2ad7d6b1c8", persistence_mode="Enabled", minor_number="[N/A]"), "540.4.0", "v12", None),
    (board("NVIDIA A30", "24576 MiB", persistence_mode="Enabled", display_mode="Requested functionality has been deprecated"), "575.51.02", "v12", 24576),
    (board("Quadro RTX 8000", "48601 MiB", ecc_mode=OFF), "450.36.06", "v11", 48601),
    (board("NVIDIA TITAN X (Pascal)", "12196 MiB", ecc_errors=OLD_ECC), "396.54", "v10", 12196),
    (board("NVIDIA B200", "183359 MiB", fabric={"state": "Completed", "status": "Success", "health": {"summary": "Healthy", "bandwidth": "N/A"}}),
     "570.124.06", "v12", 183359),
    (board("NVIDIA A100-SXM4-40GB", "40960 MiB", mig_mode={"current_mig": "Enabled"},
           fb_memory_usage={"total": "40960 MiB", "used": "Insufficient Permissions"}, utilization={"gpu_util": "N/A"}), "450.80.02", "v11", 40960),
    (board("Graphics Device", "81559 MiB", persistence_mode="[Unknown Error]", ecc_mode={"current_ecc": "[Unknown Error]"}), "525.85.12", "v12", 81559),
    (board("NVIDIA GeForce GTX 1650", "3911 MiB", supported_clocks="N/A", processes="N/A"), "510.47.03", "v11", 3911),
]  # fmt: skip


@pytest.mark.parametrize(
    ("node", "driver", "dtd", "memory"), BOARDS, ids=[f"{row[0]['product_name']} {row[1]}" for row in BOARDS]
)
def test_healthy_boards_of_every_kind_stop_nothing(
    node: dict[str, Any], driver: str, dtd: str, memory: int | None
) -> None:
    found = gpus.parse_smi(log(node, driver=driver, dtd=dtd))
    [device] = found["devices"]
    assert found["problems"] == [] and device["health"] == "OK" and (found["driver"], found["dtd"]) == (driver, dtd)
    assert device["name"] == node["product_name"] and device["memory_total_bytes"] == (memory << 20 if memory else None)
    used = device["memory_used_bytes"]
    assert (used is None) is (memory is None or "Insufficient" in str(node)) and (used is None or used < memory << 20)  # type: ignore[operator]


@given(st.text(max_size=20), st.sampled_from(ALL_PATHS))
def test_no_text_crashes_the_table(text: str, path: str) -> None:
    kept = "".join(char for char in text if char.isprintable())
    for severity, sentence in gpu_faults.findings(gpus.xml.fromstring(f"<gpu>{xml(put({}, path, kept))}</gpu>"), {
        "index": 0, "bus_id": None, "uuid": None, "memory_total_bytes": 1}, others=False):  # fmt: skip
        assert severity in gpu_faults.SEVERITIES and sentence.startswith("GPU 0 (no bus id)")
