"""Rollback and upgrade: what has answered is kept, and leads back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible.module_utils.serving.host import host_inputs
from ansible.module_utils.serving.service import releases
from services import Host, host_fixture

host = pytest.fixture(host_fixture)


# -- upgrade and rollback --------------------------------------------------------------------------------------------------


def test_a_rollback_swaps_and_a_second_one_returns(host: Host) -> None:
    old = host.service()["release"]
    assert host.ask(wait=20)["services"][0]["ready"]
    new = host.service(drain_timeout=3)["release"]
    assert host.ask(wait=20)["services"][0]["ready"]
    (host.root / "templates").mkdir()  # nothing of a rollback comes from the controller
    back = host.service(None, state="rolled_back")
    assert back["changed"] and back["reasons"] == [f"release {new} -> {old}"] and host.process()["release"] == old
    assert host.ask(wait=20)["services"][0]["ready"]
    again = host.service(None, state="rolled_back")
    assert again["release"] == new and host.process()["release"] == new


def test_an_upgrade_that_does_not_answer_is_taken_back_and_one_that_does_is_not(host: Host) -> None:
    old = host.service()["release"]
    host.ask(wait=20)
    assert host.service(None, state="reverted")["changed"] is False  # it has answered
    bad = host.service("garbage")["release"]
    assert host.ask(required=False, wait=10)["services"][0]["ready"] is False
    back = host.service(None, state="reverted")
    assert back["changed"] and back["before"] == bad and host.process()["release"] == old
    assert host.ask(wait=20)["services"][0]["ready"]
    assert host.service(None, state="reverted")["changed"] is False


def test_whatever_is_tried_and_killed_a_rollback_leads_to_what_has_answered(host: Host) -> None:
    """Two releases that never answered, with a run killed in between: `previous` is the good one all the time."""
    good = host.service()["release"]
    host.ask(wait=20)
    bad = host.service("crash")["release"]
    assert os.readlink(host.folder / "previous") == f"releases/{good}"
    worse = host.service("garbage", drain_timeout=3)["release"]
    assert len({good, bad, worse}) == 3 and os.readlink(host.folder / "previous") == f"releases/{good}"
    assert host.service(None, state="reverted")["release"] == good
    # From the good one there is nothing to return to that anybody has seen work.
    assert releases.earlier(str(host.folder), good) in (None, bad, worse)
    (host.folder / "previous").unlink()
    assert "no earlier release" in host.service(None, state="rolled_back")["msg"]


def test_killed_between_the_two_links_of_a_rollback(host: Host) -> None:
    old = host.service()["release"]
    host.ask(wait=20)
    new = host.service(drain_timeout=3)["release"]
    host.ask(wait=20)
    from ansible.module_utils.serving.files import swap_link

    swap_link(
        str(host.folder / "current"), f"releases/{old}"
    )  # and here the run was killed: both links name one release
    assert host.service(None, state="rolled_back")["release"] == new


def test_a_rollback_needs_the_files_that_the_release_names_on_its_host(host: Host, tmp_path: Path) -> None:
    template = tmp_path / "chat.jinja"
    template.write_text("x")
    host.service(inputs={str(template): "sha256:1"})
    host.ask(wait=20)
    assert host.service(inputs={str(template): "sha256:2"})["reasons"][0] == f"{template} has other content"
    template.unlink()
    said = host.service(None, state="rolled_back")["msg"]
    assert f"{template} is no longer on this host" in said


def test_a_rollback_says_which_files_of_the_host_it_does_not_bring_back(host: Host, tmp_path: Path) -> None:
    template, folder = tmp_path / "chat.jinja", tmp_path / "adapter"
    folder.mkdir()
    template.write_text("old")
    inputs = {str(path): host_inputs.content_of(str(path)) for path in (template, folder)}
    old = host.service(inputs=inputs)["release"]
    host.ask(wait=20)
    template.write_text("new")
    new = host.service(inputs={**inputs, str(template): host_inputs.content_of(str(template))})["release"]
    host.ask(wait=20)
    back = [
        f"release {new} -> {old}",
        f"{template} has other content than that release had; put the old one back if that is meant",
    ]
    assert host.service(None, state="rolled_back", dry=True)["reasons"] == back
    assert host.service(None, state="rolled_back")["reasons"] == back
    assert host.service(None, state="rolled_back")["reasons"] == [f"release {old} -> {new}"]


def test_a_rollback_to_what_is_gone_is_refused_before_anything_stops(host: Host, tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    host.service(model={"name": "demo", "path": str(model)})
    host.ask(wait=20)
    host.service(drain_timeout=3)
    host.ask(wait=20)
    before = host.process()
    model.rmdir()
    assert f"{model} is no longer on this host" in host.service(None, state="rolled_back")["msg"]
    assert host.process() == before


def test_prune_keeps_what_runs_and_what_a_rollback_needs(host: Host) -> None:
    made = []
    for seconds in range(1, 6):
        made.append(host.service(drain_timeout=seconds)["release"])
        host.ask(wait=20)
    arguments = {"serving_root": str(host.root), "models_root": str(host.root / "models"), "keep_releases": 3}
    (host.root / "cache/uv").mkdir(parents=True)
    (host.root / "cache/0123456789ab-h100").mkdir()
    (host.root / "archives/.team-image@1.partial").mkdir(parents=True)
    dry = host.run("serving_prune", arguments, check=True)
    assert dry["changed"] and len(list((host.folder / "releases").iterdir())) == 5
    found = host.run("serving_prune", arguments)
    left = {p.name for p in (host.folder / "releases").iterdir()}
    assert left == set(made[-3:]) and found["removed"] == dry["removed"]
    assert not (host.root / "cache/0123456789ab-h100").exists() and (host.root / "cache/uv").exists()
    assert not (host.root / "archives").exists()
    assert host.run("serving_prune", arguments)["changed"] is False
    assert host.run("serving_prune", {**arguments, "keep_releases": 1})["changed"]  # previous stays even then
    assert {p.name for p in (host.folder / "releases").iterdir()} == set(made[-2:])
    assert host.service(None, state="rolled_back")["release"] == made[-2]
