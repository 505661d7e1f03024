"""What status.yml says of a fleet, and the code with which it ends."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from conftest import ROOT, load

status = load("filter_plugins/status.py")
READY = {"service": "demo", "ready": True, "state": "running", "problem": None, "restarts": 2, "changed_at": 5.0}
DEAD = {**READY, "ready": False, "state": "backoff", "problem": "its process is not running"}
UP = {"running": True, "backends": [{"pool": "p", "name": "a", "status": "UP"}]}
DRAINED = {"running": True, "backends": [{"pool": "p", "name": "a", "status": "DRAIN", "out": True}]}
LEFT = {
    "running": True,
    "backends": [{"pool": "p", "name": "a", "status": "DOWN"}],
    "out": {"a": {"since": 0.0, "alone": False}},
}


def services(*rows: dict[str, Any]) -> dict[str, Any]:
    return {"services": list(rows)}


@pytest.mark.parametrize(
    ("results", "gateways", "code", "words"),
    [
        ({"a": services(READY)}, {}, 0, None),
        ({"a": services()}, {}, 0, None),
        ({"a": services(READY), "b": services(DEAD)}, {}, 1, "demo on b: its process is not running"),
        ({"a": services(READY), "b": {"unreachable": True, "msg": "no route"}}, {}, 1, "demo on b: no route"),
        ({"a": services(DEAD)}, {}, 2, "no host answers for demo"),
        ({"a": services(READY, {**DEAD, "service": "other"})}, {}, 2, "no host answers for other"),
        ({"a": {"unreachable": True, "msg": "no route"}}, {}, 2, "no host answers for demo"),
        ({"a": {"failed": True, "msg": "denied"}}, {}, 2, "demo on a: denied"),
        (
            {
                "a": services(
                    {**READY, "service": "demo-1", "served_name": "d"},
                    {**DEAD, "service": "demo-2", "served_name": "d"},
                )
            },
            {},
            1,
            "demo-2 on a",
        ),
        ({"a": services(READY)}, {"g": UP}, 0, None),
        ({"a": services(READY)}, {"g": UP, "h": {}}, 1, "gateway h: it does not run"),
        ({"a": services(READY)}, {"g": DRAINED}, 1, "p/a was taken out by hand"),
        (
            {"a": services(READY)},
            {"g": LEFT},
            1,
            "p/a is out since 1970-01-01 00:00:00 UTC, by a run that goes on or was ended",
        ),
        ({"a": services(READY)}, {"g": {**UP, "refused": {"b": "b is not in the pool"}}}, 1, "b is not in the pool"),
        ({"a": services(READY)}, {"g": {"unreachable": True}}, 2, "gateway g: it does not run"),
    ],
)
def test_a_fleet_is_well_degraded_or_down(
    results: dict[str, Any], gateways: dict[str, Any], code: int, words: str | None
) -> None:
    runs = {host: ["demo"] if (result.get("services") != []) else [] for host, result in results.items()}
    found = status.status_summary(results, runs, gateways)
    assert (found["code"], found["state"]) == (code, ("well", "degraded", "down")[code])
    assert any(words in text for text in found["problems"]) if words else found["problems"] == []
    if code == 1:
        with pytest.raises(AnsibleFilterError, match="degraded"):
            status.status_end(found)
    else:
        assert status.status_end(found) is False


def fleet(tmp_path: Path, *hosts: dict[str, Any]) -> str:
    rows = {f"h{number}": {"ansible_connection": "local", "runs": [], **row} for number, row in enumerate(hosts)}
    (tmp_path / "hosts.yml").write_text(json.dumps({"accelerators": {"children": {"local": {"hosts": rows}}}}))
    shutil.copytree(ROOT / "inventory/group_vars", tmp_path / "group_vars")
    return str(tmp_path / "hosts.yml")


@pytest.mark.slow
def test_the_playbook_ends_with_the_code_and_writes_the_file(playbook: Callable[..., Any], tmp_path: Path) -> None:
    extra = {"serving_root": str(tmp_path / "none"), "status_json": str(tmp_path / "out/status.json")}

    def run(inventory: str) -> tuple[int, str, dict[str, Any]]:
        done = playbook("playbooks/status.yml", "-i", inventory, "-e", json.dumps(extra))
        return done.returncode, done.stdout + done.stderr, json.loads((tmp_path / "out/status.json").read_text())

    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    code, text, found = run(fleet(tmp_path / "one", {}))
    assert (code, found["state"]) == (0, "well"), text
    # a host that can't be reached and runs nothing that we know of: degraded
    code, text, found = run(
        fleet(tmp_path / "two", {}, {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1})
    )
    assert (code, found["state"]) == (1, "degraded") and "degraded: host h1 gives no answer" in " ".join(
        text.split()
    ), text


def test_restarts_count_for_one_release(tmp_path: Path) -> None:
    foreground = load("roles/serve/files/foreground.py")
    assert foreground.unasked_ends(str(tmp_path), "a") == 0
    for text, count in (
        ('{"release": "a", "unasked": 3}', 3),
        ('{"release": "b", "unasked": 3}', 0),
        ('{"release": "a"}', 0),
        ("[]", 0),
        ("{", 0),
    ):
        (tmp_path / "exit.json").write_text(text)
        assert foreground.unasked_ends(str(tmp_path), "a") == count
