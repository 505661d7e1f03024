"""Pins: read on hosts, recorded once for all of them, used by the plan."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import start_module
from tables import TABLES
from test_catalogue import p
from test_catalogue import record as row_of

Run = Callable[..., dict[str, Any]]
A, B, D = "a" * 40, "b" * 40, "sha256:" + "d" * 64


def record(run: Run, path: Path, found: dict[str, Any], check: bool = False) -> dict[str, Any]:
    return run("pins", {"path": str(path), "found": found}, check=check)


def host(commit: str = A, digest: str = D) -> dict[str, Any]:
    return {"models": {"qwq-32b": {"modelscope": commit}}, "images": {"r.example/a:1": digest}}


def test_what_hosts_resolved_is_recorded_once(run_module: Run, tmp_path: Path) -> None:
    path = tmp_path / "pins.json"
    check = record(run_module, path, {"one": host()}, check=True)
    assert check["changed"] and not path.exists() and A in check["diff"]["after"]
    first = record(run_module, path, {"one": host(), "two": host()})
    assert first["changed"] and first["added"] == [f"r.example/a:1: {D}", f"qwq-32b modelscope: {A}"]
    assert json.loads(path.read_text())["pins"] == host()
    assert not record(run_module, path, {"one": host()})["changed"]
    assert [x.name for x in tmp_path.iterdir()] == ["pins.json"]
    more = {"models": {"demo": {"huggingface": B}}, "images": {}}
    assert record(run_module, path, {"two": more})["added"] == [f"demo huggingface: {B}"]
    assert json.loads(path.read_text())["pins"]["models"] == {"qwq-32b": {"modelscope": A}, "demo": {"huggingface": B}}


@pytest.mark.slow
def test_eight_writers_at_once_lose_nothing_and_never_fail(tmp_path: Path) -> None:
    path = tmp_path / "pins.json"
    for number in range(10):
        found = [{f"host{one}": {"models": {f"m{number}-{one}": {"modelscope": A}}, "images": {}}} for one in range(8)]
        jobs = [start_module("pins", {"path": str(path), "found": row}) for row in found]
        for job in jobs:
            result = json.loads(job.communicate(timeout=120)[0].splitlines()[-1])
            assert result["changed"] and len(result["added"]) == 1, result
        assert len(json.loads(path.read_text())["pins"]["models"]) == 8 * (number + 1)
    assert [x.name for x in tmp_path.iterdir()] == ["pins.json"]


def test_hosts_that_disagree_are_named_and_nothing_is_written(run_module: Run, tmp_path: Path) -> None:
    path = tmp_path / "pins.json"
    result = record(run_module, path, {"one": host(A), "two": host(B)})
    assert result["failed"] and f"qwq-32b modelscope is {B} on two and {A} in one" in result["msg"]
    assert not path.exists()
    record(run_module, path, {"one": host(A)})
    result = record(run_module, path, {"two": host(B)})
    assert result["failed"] and "in the file of pins" in result["msg"]


@pytest.mark.parametrize("text", ["[]", "{", '{"pins": 3}', '{"pins": {"models": []}}'])
def test_a_file_that_is_none_is_refused(run_module: Run, tmp_path: Path, text: str) -> None:
    path = tmp_path / "pins.json"
    path.write_text(text)
    result = record(run_module, path, {"one": host()})
    assert result["failed"] and "is not a file of pins" in result["msg"] and path.read_text() == text


def test_a_hosts_records_are_read(run_module: Run, tmp_path: Path) -> None:
    refs, images = tmp_path / "models/.refs", tmp_path / "images"
    refs.mkdir(parents=True)
    images.mkdir()
    (refs / "q.json").write_text(json.dumps({"revision": A[:12], "kind": "modelscope", "commit": A}))
    (refs / "q+float16.json").write_text(json.dumps({"revision": "x", "kind": "huggingface", "commit": B}))
    (refs / "demo.json").write_text(json.dumps({"revision": "1", "kind": "directory", "commit": None}))
    (refs / "torn.json").write_text("{")
    (images / "1.json").write_text(json.dumps({"image": "r.example/a:1", "digest": D}))
    found = run_module("pins_info", {"models_root": str(tmp_path / "models"), "images_root": str(images)})
    assert found["models"] == {"q": {"modelscope": A, "huggingface": B}} and found["images"] == {"r.example/a:1": D}
    nothing = run_module("pins_info", {"models_root": str(tmp_path / "x"), "images_root": str(tmp_path / "y")})
    assert nothing["models"] == nothing["images"] == {}


def test_the_plan_uses_them_where_the_tables_say_nothing() -> None:
    image = row_of("qwq-32b")["image"]
    pins = {"models": {"qwq-32b": {"modelscope": A}}, "images": {image: D}}
    given = (["qwq-32b"], TABLES, "h100-sxm")
    [row] = p.plan(*given, host="box", pins=pins)
    assert row["image"] == f"{image}@{D}"
    assert (
        row["model"]["sources"]["modelscope"]["revision"] == A
        and row["model"]["sources"]["huggingface"]["revision"] is None
    )
    override = {"qwq-32b": {"image": f"other.example/x:1@{D}"}}
    [row] = p.plan(*given, override, host="box", pins=pins)
    assert row["image"] == f"other.example/x:1@{D}"


def test_the_folder_of_the_file_is_made(run_module: Run, tmp_path: Path) -> None:
    path = tmp_path / "inventory/group_vars/all/pins.json"
    found = {"models": {"q": {"modelscope": A}}, "images": {}}
    assert not record(run_module, path, {"one": found}, check=True)["failed"] and not path.parent.exists()
    assert record(run_module, path, {"one": found})["changed"] and path.is_file()


@pytest.mark.slow
def test_a_file_that_lies_elsewhere_is_read_too(playbook: Callable[..., Any], tmp_path: Path) -> None:
    """Ansible reads the pins of an inventory's group_vars by itself; a site may keep them where it likes."""
    pins = tmp_path / "kept" / "pins.json"
    sources = {"demo": {"sources": {"modelscope": {"repo": "me/demo"}, "directory": None}}}
    given = json.dumps({"models": sources, "pins_file": str(pins)})
    pins.parent.mkdir()
    warned = []
    for commits in {}, {"modelscope": A}:
        pins.write_text(json.dumps({"pins": {"images": {}, "models": {"demo": commits}}}))
        done = playbook("playbooks/validate.yml", "-l", "local", "-e", given)
        assert done.returncode == 0, done.stdout
        warned.append("has no revision on modelscope" in " ".join(done.stdout.split()))
    assert warned == [True, False]
