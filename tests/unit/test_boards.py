"""Boards that nobody has described yet: what a host has becomes a row that plans."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.serving.host import accelerators, cpu, gpus, npus
from conftest import FIXTURES, load
from tables import CATALOGUE

from planning.boards import resolve_board
from planning.catalogue import laid_over

p = load("filter_plugins/plan.py")


def nvidia(file: str) -> dict[str, Any]:
    found = gpus.parse_smi((FIXTURES / f"nvidia/{file}").read_text())
    islands = [[device["index"] for device in found["devices"]]]
    return {"kind": "gpu", "arch": "x86_64", "devices": found["devices"], "topology": {"nvlink_islands": islands}}


def pasted(record: dict[str, Any]) -> dict[str, Any]:
    """The board that the printed row is, once it stands in a site's boards.yml."""
    boards = yaml.safe_load(accelerators.board_text(record))["boards"]
    tables = laid_over(CATALOGUE, {"boards": boards})
    assert p.planned(["demo"], tables, next(iter(boards)), {"demo": {"convert": False}})["faults"] == []
    return resolve_board("host box", next(iter(boards)), tables)


def test_gpus_as_recorded_become_a_row_that_plans() -> None:
    for file, count in (("h200-v13.xml", 1), ("h100x2-loaded.xml", 2)):
        record = nvidia(file)
        board = pasted(record)
        assert (board["vendor"], board["count"], board["kind"]) == ("nvidia", count, "gpu")
        assert board["memory_bytes"] == min(device["memory_total_bytes"] for device in record["devices"])
        assert all(re.search(board["names"][0], device["name"]) for device in record["devices"])
        assert (board["links"] == "nvlink") is (count > 1)


def test_npus_as_recorded_become_a_row_that_plans() -> None:
    found = npus.parse_npu_smi((FIXTURES / "ascend/npu-smi-duo-8-25.3.rc1.txt").read_text())
    board = pasted({"kind": "npu", "arch": "aarch64", "devices": found["devices"], "topology": {}})
    assert (board["vendor"], board["count"], board["memory_bytes"]) == ("ascend", 8, 43693 << 20)


def test_a_name_that_is_odd_is_quoted() -> None:
    record = nvidia("h200-v13.xml")
    for device in record["devices"]:
        device["name"] = "GPU's (x) [1]: {y} #z"
    assert re.search(pasted(record)["names"][0], record["devices"][0]["name"])


def test_a_cpu_host_and_what_is_on_the_bus(tmp_path: Path) -> None:
    board = pasted(cpu.cpu_record())
    assert board["vendor"] == "cpu" and board["memory_share"]
    assert (
        accelerators.detect(str(tmp_path)) == "cpu"
        and accelerators.accelerator_record("auto", str(tmp_path))["kind"] == "cpu"
    )
    for slot, (kind, vendor, device) in {
        "0000:01:00.0": ("0x120000", "0x19e5", "0xd500"),
        "0000:02:00.0": ("0x030200", "0x10de", "0x2330"),
    }.items():
        folder = tmp_path / "sys/bus/pci/devices" / slot
        folder.mkdir(parents=True)
        for name, text in (("class", kind), ("vendor", vendor), ("device", device)):
            (folder / name).write_text(text + "\n")
        assert accelerators.detect(str(tmp_path)) == ("npu" if vendor == "0x19e5" else "gpu")


def test_a_host_changes_its_board_and_nothing_else() -> None:
    tables = laid_over(CATALOGUE, {})
    board = resolve_board("host box", {"name": "h100-sxm", "count": 2, "names": ["H800"], "role": None}, tables)
    assert (board["count"], board["names"], board["role"], board["links"]) == (2, ["H800"], None, "nvlink")
    assert resolve_board("host box", "h100-sxm", tables)["count"] == 8


def test_engine_defaults_follow_the_engine_that_a_row_chooses() -> None:
    tables = laid_over(CATALOGUE, {})
    plain = p.plan(["demo"], tables, "h100-sxm")[0]
    flagscale = p.plan(["demo"], tables, "h100-sxm", {"demo": {"engine": "flagscale"}})[0]
    assert plain["image"].startswith("docker.io/vllm/") and plain["activate"] is None and not plain["env"]
    assert "deepseek-flagos-nvidia" in flagscale["image"] and flagscale["engine_version"] == "layout-1"
    assert flagscale["env"] == {"CUDA_DEVICE_MAX_CONNECTIONS": "1"}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"locks": "vllm.lock"}, "'native_locks' is 'vllm.lock', but must be a mapping of engines"),
        ({"locks": {"vllm": {"fil": "x"}}}, "native_locks.vllm: 'lock' is 'fil'; did you mean 'file'?"),
        ({"pins": "<<<<<<< HEAD"}, "host box: 'pins' is a str, but must be a mapping; correct the file of pins"),
        ({"pins": {"models": {"demo": "abc"}}}, "'pins.models' is not what a fetch"),
        ({"pins": {"choices": {"box": {"demo": 7}}}}, "'pins.choices' is not what"),
        ({"overrides": {"demo": {"port": "8" * 5000}}}, "888... (5000 characters)"),
        ({"overrides": {"demo": {"model": "a\x1b[2J\u202e"}}}, r"model 'a\x1b[2J\u202e' is not in models.yml"),
    ],
)
def test_what_a_site_gives_beside_its_tables_is_refused_in_words(given: dict[str, Any], words: str) -> None:
    [fault] = p.planned(["demo"], laid_over(CATALOGUE, {}), "local", host="box", **given)["faults"]
    assert words in fault and len(fault) < 500


def test_null_takes_an_engines_lock_away() -> None:
    tables = laid_over(CATALOGUE, {})
    board = resolve_board("host box", {"name": "local", "native_locks": {"vllm": None}}, tables)
    assert "vllm" in resolve_board("host box", "local", tables)["native_locks"] and "vllm" not in board["native_locks"]
    [row] = p.planned(["demo"], tables, "local", locks={"vllm": None})["services"]
    assert row["options_version"] is None
