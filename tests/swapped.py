"""Role swap as a playbook of its own, for a service on this machine behind gateways of tests."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from conftest import ROOT, ansible_environment
from gate import Gate


def swapped(base: Path, root: Path, gates: list[Gate], **values: Any) -> subprocess.CompletedProcess[str]:
    """Run it for demo on host `here`, whose serving root is `root`. `base` is a folder for its files; `values` are the role's."""
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    doors = {f"door{number}": {**local, "gateway_folder": str(gate.folder)} for number, gate in enumerate(gates)}
    here = {**local, "serving_root": str(root), "supervisor": "supervisord"}
    groups = {"accelerators": {"hosts": {"here": here}}, "gateways": {"hosts": doors}}
    tasks = [{"name": "Swap", "ansible.builtin.include_role": {"name": "swap"}}]
    play = {"hosts": "here", "gather_facts": False, "tasks": tasks, "vars": {"swap_service": "demo", **values}}
    shutil.copytree(ROOT / "inventory/group_vars", base / "group_vars")
    (base / "hosts.yml").write_text(yaml.safe_dump(groups))
    (base / "swap.yml").write_text(yaml.safe_dump([play]))
    return subprocess.run(
        ["ansible-playbook", "-i", str(base / "hosts.yml"), str(base / "swap.yml")],
        cwd=ROOT, env=ansible_environment(), capture_output=True, text=True, timeout=300,
    )  # fmt: skip
