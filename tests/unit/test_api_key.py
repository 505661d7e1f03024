"""Keys: changed in two steps, healed after a kill, never shown."""

from __future__ import annotations

import json
import os
import re
import stat
import time
from pathlib import Path

import pytest
from ansible.module_utils.serving.service import releases
from services import Host, host_fixture, members

host = pytest.fixture(host_fixture)


def test_the_key_is_made_once_private_and_needed(host: Host) -> None:
    host.service()
    path = host.folder / "api_key"
    key = path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert re.fullmatch(r"[0-9a-f]{64}\n", key)
    row = host.ask(wait=20)["services"][0]
    assert row["ready"]
    host.service("slow")
    assert path.read_text() == key
    for pid in members(host.folder):
        assert key.strip().encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
    release = "".join(p.read_text() for p in (host.folder / "current").iterdir())
    assert key.strip() not in release


def test_a_key_is_changed_in_two_steps(host: Host) -> None:
    host.service()
    arguments = {"name": "demo", "serving_root": str(host.root)}
    path = host.folder / "api_key"
    old = path.read_text().strip()
    assert host.run("api_key", arguments, check=True)["count"] == 2 and path.read_text().strip() == old
    found = host.run("api_key", arguments)
    new, second = path.read_text().split()
    assert found["changed"] and found["count"] == 2 and second == old and new != old
    assert new.isalnum() and len(new) == 64  # an option parser takes a leading dash for an option
    assert new not in json.dumps(found) and stat.S_IMODE(path.stat().st_mode) == 0o600
    assert host.run("api_key", arguments)["changed"] is False
    assert releases.read_key(str(host.folder)) == new
    assert host.run("api_key", {**arguments, "state": "finished"})["changed"]
    assert path.read_text().split() == [new]
    assert "is not deployed" in host.run("api_key", {**arguments, "name": "other"})["msg"]
    (host.root / "services/demo-1").mkdir()
    first = host.root / "services/demo-1/api_key"
    shared = {**arguments, "shares_with": "demo-1"}
    first.write_text(path.read_text())
    dry = host.run("api_key", shared, check=True)  # the first one's would have changed by then
    assert (dry["changed"], dry["count"]) == (True, 2) and path.read_text() == first.read_text()
    first.write_text("k" * 40 + "\n")  # a replica whose key changed first
    assert host.run("api_key", shared)["changed"] and path.read_text().split()[0] == "k" * 40
    assert host.run("api_key", shared)["changed"] is False


def test_a_key_of_the_sites_own_comes_in_beside_the_one_before(host: Host) -> None:
    path, given = host.folder / "api_key", "own.key-of/the~site_0123456789=="
    assert "an API key was made" in host.service()["reasons"]
    made = path.read_text().strip()
    dry = host.service(dry=True, key=given)
    assert any("given one" in reason for reason in dry["reasons"]) and path.read_text().strip() == made
    found = host.service(key=given)
    assert found["changed"] and path.read_text().split() == [given, made] and stat.S_IMODE(path.stat().st_mode) == 0o600
    assert given not in json.dumps(found["reasons"]) and "rotate_key.yml" in " ".join(found["reasons"])
    assert host.ask(wait=20)["services"][0]["ready"]  # the probe asks with the first line
    pid = host.ask()["services"][0]["pid"]
    assert host.service(key=given)["changed"] is False and host.ask()["services"][0]["pid"] == pid


def test_a_run_killed_between_key_and_restart_is_healed(host: Host) -> None:
    host.service()
    pid = host.ask(wait=20)["services"][0]["pid"]
    releases.write_keys(str(host.folder), ["another-key-0123456789"])  # and here the run was killed
    found = host.service()
    assert found["reasons"] == ["its API key was changed after it started"]
    row = host.ask(wait=20)["services"][0]
    assert row["ready"] and row["pid"] != pid


@pytest.mark.parametrize("noted", [True, False])
def test_a_clock_that_is_set_starts_nothing_anew_and_hides_no_key(host: Host, noted: bool) -> None:
    """A host that boots in the year 2000 until it hears of the time; and one whose clock is set back. `noted`: by a runner of today."""
    host.service()
    before = host.ask(wait=20)["services"][0]
    path = host.folder / "run.json"
    run = json.loads(path.read_text())
    if not noted:
        del run["key"], run["boottime"]
        os.utime(host.folder / "api_key", (time.time() + 3600,) * 2)  # the clock was set back since
    path.write_text(json.dumps({**run, "started": 946_684_800.0} if noted else run))
    assert host.service()["changed"] is False
    row = host.ask()["services"][0]
    assert row["pid"] == before["pid"] and row["uptime_seconds"] < 600
    if noted:
        releases.write_keys(str(host.folder), ["another-key-0123456789"])
        os.utime(host.folder / "api_key", (946_684_800,) * 2)
        assert host.service()["reasons"] == ["its API key was changed after it started"]


@pytest.mark.parametrize(
    "key",
    ["short", "x" * 257, "with space in the key", 'quote"quote"quote"', "schlüssel-schlüssel", "line\nline-line-line"],
)
def test_a_key_that_no_header_carries_is_refused_and_not_shown(host: Host, key: str) -> None:
    message = host.service(key=key)["msg"]
    assert (
        "characters and must have 16 to 256" in message
        and key not in message
        and not (host.folder / "api_key").exists()
    )


def test_a_given_key_is_rotated_to(host: Host) -> None:
    old, new = "old-key-of-the-site-1", "new-key-of-the-site-2"
    host.service(key=old)
    path, arguments = host.folder / "api_key", {"name": "demo", "serving_root": str(host.root)}
    assert "counts already" in host.run("api_key", {**arguments, "value": old})["msg"]
    found = host.run("api_key", {**arguments, "value": new})
    assert found["changed"] and path.read_text().split() == [new, old]
    assert host.run("api_key", {**arguments, "value": new})["changed"] is False
    assert host.run("api_key", {**arguments, "value": new, "state": "finished"})[
        "changed"
    ] and path.read_text().split() == [new]
