"""Folders and files have modes of their own, whatever the umask of whoever deploys: no door for others, no wall for images."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.serving.service.supervisors import Supervisord
from conftest import DEMO, ROOT, start_module
from services import Host, until

from reporting import store

# What nobody else may read, and why everything else may be read: an image can run as any user.
PRIVATE = re.compile(r"/(?:api_key|\.[\w.-]*lock|[\w.-]*\.lock|tmp|supervisor\.sock|[\w.-]*\.sock|peers)(?:/|$)")


@pytest.fixture(params=[0o000, 0o002, 0o022, 0o027, 0o077], ids=lambda mask: f"{mask:03o}")
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def real(name: str, args: dict[str, Any], check: bool = False) -> dict[str, Any]:
    """A module in a process of its own, which inherits this one's umask."""
    output, _ = start_module(name, args).communicate(timeout=120)
    result: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
    assert not result.get("failed"), result
    return result


def look(root: Path) -> None:
    for path in [root, *root.rglob("*")]:
        if path.is_symlink() or "/tools/" in str(path):
            continue
        mode = stat.S_IMODE(path.stat().st_mode)
        assert not mode & 0o022, f"{path} is {mode:04o}: others may write"
        if not PRIVATE.search(str(path).removeprefix(str(root))):
            wanted = 0o055 if path.is_dir() else 0o044
            assert mode & wanted == wanted, f"{path} is {mode:04o}: an image of another user can't read it"


def test_services_and_supervisor(umask: int, tmp_path_factory: pytest.TempPathFactory, tools: Path) -> None:
    base = tmp_path_factory.mktemp("m")
    base.chmod(0o755)
    host = Host(base / "srv", real)
    host.root.mkdir(mode=0o755)
    host.root.chmod(0o755)
    (host.root / "tools").symlink_to(tools)
    owner = Supervisord(str(host.root))
    try:
        host.service()
        until(host.process)
        assert host.ask(wait=20)["services"][0]["ready"]
        look(host.root)
        assert stat.S_IMODE((host.folder / "api_key").stat().st_mode) == 0o600
        # What an earlier version left open is closed by the next deploy.
        for folder in (host.root / "services", host.folder, host.folder / "releases"):
            folder.chmod(0o777)
        host.service("good", ready_timeout=31)
        look(host.root)
    finally:
        owner.stop("demo")
        owner.shutdown()


def test_weights(umask: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("w") / "models"
    sources = {"directory": {"path": str(DEMO)}}
    real("weights_fetch", {"name": "demo", "models_root": str(root), "sources": sources, "order": ["directory"]})
    look(root)
    assert list(root.glob("demo@*/config.json"))


def test_reports_and_bundles(umask: int, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    store.save(tmp_path / "r", {"host": "gpu", "written": "2026-11-25T12:00:00Z", "services": []})
    look(tmp_path)
    real("support_bundle", {"path": str(tmp_path / "s/x.tar.gz"), "files": {"a": "b"}})
    assert (
        stat.S_IMODE((tmp_path / "s/x.tar.gz").stat().st_mode) == 0o600 and not (tmp_path / "s").stat().st_mode & 0o022
    )


def test_every_program_of_ours_sets_its_umask() -> None:
    """Modules do through run_module, and what they start inherits it; what a supervisor starts says it itself."""
    for path in sorted((ROOT / "library").glob("*.py")):
        text = path.read_text()
        assert "run_module(" in text and "exit_json" not in text and "os.umask" not in text, path
    assert "os.umask(UMASK)" in (ROOT / "module_utils/serving/errors.py").read_text()
    assert "os.umask(0o022)" in (ROOT / "roles/serve/files/foreground.py").read_text()


MAKING = ("copy", "template", "get_url", "file", "unarchive", "lineinfile", "blockinfile", "assemble")


def tasks(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, list):
        for item in value:
            yield from tasks(item)
    elif isinstance(value, dict):
        yield value
        for key in ("block", "rescue", "always", "tasks", "pre_tasks", "post_tasks", "handlers"):
            yield from tasks(value.get(key))


def test_every_task_that_makes_a_file_gives_its_mode() -> None:
    seen = 0
    for path in [*ROOT.glob("roles/*/tasks/*.yml"), *ROOT.glob("playbooks/*.yml")]:
        for task in tasks(yaml.safe_load(path.read_text())):
            for given in (task.get(f"ansible.builtin.{name}") for name in MAKING):
                if given and given.get("state") != "absent":
                    assert "mode" in given, f"{path}: {task.get('name')}"
                    seen += 1
    assert seen >= 10
