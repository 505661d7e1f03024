"""A project that others can write runs as whoever deploys, and as root on hosts: refused, with what to type."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from conftest import ROOT, load

p = load("filter_plugins/project.py")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    for name in ("library", "roles/x/tasks", "inventory/group_vars", "models/demo", ".git"):
        (root / name).mkdir(parents=True, mode=0o755)
    for name in ("ansible.cfg", "library/a.py", "roles/x/tasks/main.yml", "inventory/hosts.yml", "models/demo/x"):
        (root / name).write_text("x")
    return root


def test_this_project_and_a_plain_one_are_fine(project: Path) -> None:
    assert p.project_problem(str(project)) == ""
    (project / "library").chmod(0o775)  # a user's own group, as on Ubuntu and Fedora
    (project / "models/demo/x").chmod(0o777)
    (project / "library/link.py").symlink_to("/dev/null")
    assert p.project_problem(str(project)) == ""


@pytest.mark.parametrize(
    "name",
    ["", "ansible.cfg", "library", "library/a.py", "roles/x/tasks", "roles/x/tasks/main.yml", "inventory/hosts.yml"],
)
@pytest.mark.parametrize("mode", [0o777, 0o757, 0o1777])
def test_writable_for_all_is_refused(project: Path, name: str, mode: int) -> None:
    (project / name).chmod(mode)
    problem = p.project_problem(str(project))
    assert str(project / name) in problem and "writable for all" in problem and f"chmod -R o-w {project}" in problem


def test_a_folder_above_that_all_may_write_is_refused(project: Path) -> None:
    project.parent.chmod(0o777)
    assert f"chmod o-w {project.parent}" in p.project_problem(str(project))
    project.parent.chmod(0o1777)  # as /tmp: nobody may rename what is another's
    assert p.project_problem(str(project)) == ""


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to give files away")
@pytest.mark.parametrize("name", ["", "library/a.py", "inventory"])
def test_another_users_is_refused_unless_trusted(project: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUDO_UID", raising=False)
    os.chown(project / name, 65534, -1)
    problem = p.project_problem(str(project))
    assert str(project / name) in problem and "belongs to nobody" in problem and f"chown -R root {project}" in problem
    assert p.project_problem(str(project), ["65534"]) == p.project_problem(str(project), ["nobody"]) == ""
    assert "is no user of this controller" in p.project_problem(str(project), ["no-such-user"])
    monkeypatch.setenv("SUDO_UID", "65534")
    assert p.project_problem(str(project)) == ""


def test_the_folders_that_ansible_loads_are_those_of_its_configuration() -> None:
    text = (ROOT / "ansible.cfg").read_text()
    for name in ("library", "module_utils", "filter_plugins", "lookup_plugins", "action_plugins", "roles"):
        assert f"= {name}\n" in text and name in p.LOADED


def test_a_folder_that_can_not_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert p.folder_problems({"reports_dir": str(tmp_path / "new/deep")}) == []
    [text] = p.folder_problems({"reports_dir": str(tmp_path / "file/reports")})
    assert "reports_dir is " in text and "can't write" in text and "set reports_dir to a folder of" in text
