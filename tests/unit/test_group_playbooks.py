"""A service over two hosts in an inventory, through ansible-playbook: planned, and refused before any host is touched."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from runner import flat


def site(folder: Path, **second: Any) -> str:
    rows = {
        name: {
            "ansible_connection": "local",
            "board": "local",
            "runs": ["demo"],
            "group_address": f"10.77.0.{number + 1}",
        }
        for number, name in enumerate(("a", "b"))
    }
    rows["b"].update(second)
    every = {
        "children": {"accelerators": {"hosts": rows}},
        "vars": {"services": {"demo": {"hosts": 2, "across": "tensor"}}},
    }
    (folder / "hosts.yml").write_text(json.dumps({"all": every}))
    return str(folder / "hosts.yml")


def test_both_are_planned_whichever_is_asked_and_a_part_is_refused(
    playbook: Callable[..., Any], tmp_path: Path
) -> None:
    inventory = site(tmp_path)
    done = playbook("playbooks/validate.yml", "-i", inventory, "-l", "b", "-e", f"validate_json={tmp_path}/plan.json")
    assert done.returncode == 0, done.stdout
    [row] = json.loads((tmp_path / "plan.json").read_text())["hosts"]["b"]["services"]
    assert row["endpoint"] == "http://10.77.0.1:8000"
    done = playbook("playbooks/stop.yml", "-i", inventory, "-l", "a", "-e", "service=demo")
    assert done.returncode == 2
    assert "runs over a and b together, and this run is without b; take all of them: -l a,b" in flat(done.stdout)


def test_hosts_that_differ_are_told_by_the_first(playbook: Callable[..., Any], tmp_path: Path) -> None:
    done = playbook(
        "playbooks/validate.yml", "-i", site(tmp_path, overrides={"demo": {"engine_args": {"max_model_len": 256}}})
    )
    assert done.returncode == 2
    assert (
        "service 'demo': engine_args.max_model_len is 512 on a and 256 on b; the hosts of one service must have the same"
        in flat(done.stdout)
    )


def test_all_hosts_do_each_step_at_once(playbook: Callable[..., Any], tmp_path: Path) -> None:
    """One host after the other, the first would wait for the others until its time is up."""
    extra = {
        "ansible_python_interpreter": sys.executable,
        "supervisor": "supervisord",
        "serving_root": f"{tmp_path}/{{{{ inventory_hostname }}}}",
        "pins_file": f"{tmp_path}/pins.json",
        "reports_dir": f"{tmp_path}/reports",
    }
    done = playbook("deploy.yml", "-i", site(tmp_path), "--tags", "serve", "--check", "-e", json.dumps(extra))
    assert done.returncode == 0, done.stdout
    found = [
        (role, sorted(hosts.split(", ")))
        for role, hosts in re.findall(r"included: (serve|swap) for ([\w, ]+?)(?: => .*)?\n", done.stdout)
    ]
    assert {role for role, _ in found} == {"serve", "swap"}
    assert all(hosts == ["a", "b"] for _, hosts in found), done.stdout
    assert done.stdout.count("the service is not deployed yet") == 2
