"""What every playbook promises: it sequences, finds its hosts first, runs from nobody else's files, and wants what it acts on named."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, ansible_environment
from test_contracts import PLAYBOOKS, TRACKED

# Those that others import and nobody calls.
PARTS = [p.name for p in PLAYBOOKS if p.read_text().startswith("---\n# A part of ")]
PHASE = "{{ phase_hosts | default('accelerators') }}"  # what move.yml narrows to its two hosts


@pytest.mark.parametrize("path", PLAYBOOKS, ids=lambda p: p.stem)
def test_playbooks_only_sequence(path: Path) -> None:
    text = path.read_text()
    plays = yaml.safe_load(text)
    assert "set_fact" not in text and "shell:" not in text
    for play in plays:
        assert play["name"]
        assert (
            "ansible.builtin.import_playbook" in play
            or play["hosts"] in ("accelerators", PHASE)
            or path.stem in ("hosts", "balance", "move", "status", "monitoring")
        )
        # `-l h100` silently skips a play on localhost: controller work is delegated instead
        assert play.get("gather_facts", False) is False


def test_every_playbook_that_a_person_starts_looks_for_hosts_first() -> None:
    """A play without hosts is skipped in silence, and the run called a success."""
    for path in PLAYBOOKS:
        if path.name not in PARTS:
            first = yaml.safe_load(path.read_text())[0].get("ansible.builtin.import_playbook")
            assert first in ("hosts.yml", "check_plan.yml"), path
    assert re.findall(r"import_playbook: (\S+)", (ROOT / "playbooks/check_plan.yml").read_text()) == ["hosts.yml"]


def test_parts_of_playbooks_say_that_they_are() -> None:
    """What others import and nobody calls begins with «A part of»; every other one says how it is called."""
    imported = {name for p in PLAYBOOKS for name in re.findall(r"import_playbook: (\S+)", p.read_text())}
    assert set(PARTS) <= imported
    for path in PLAYBOOKS:
        head = path.read_text().removeprefix("---\n").split("\n- ")[0]
        assert head.startswith("# ") and ("ansible-playbook " in head) != (path.name in PARTS), path
    for page in [
        p for p in TRACKED if p.endswith(".md") and p != "CONTRIBUTING.md" and not p.startswith("docs/releases")
    ]:
        called = re.findall(r"ansible-playbook playbooks/(\w+\.yml)", (ROOT / page).read_text())
        assert not set(called) & set(PARTS), page


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project in a folder of its own, so that its rights can be changed."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("action_plugins", "callback_plugins", "catalogue", "fetching", "filter_plugins", "inventory", "judging", "library", "lookup_plugins",
                 "module_utils", "planning", "playbooks", "references", "reporting", "roles", "templates", "vars_plugins"):  # fmt: skip
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("ansible.cfg", "deploy.yml", "pyproject.toml"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def ansible(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in ansible_environment().items() if k != "ANSIBLE_CONFIG"}
    return subprocess.run(
        ["ansible-playbook", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("deploy.yml", "another folder"),
        ("playbooks/validate.yml", "a folder that all may write"),
        ("playbooks/status.yml", "an empty inventory"),
        ("playbooks/uninstall.yml", "none of ours"),
        ("playbooks/serve.yml", "-l typo"),
    ],
)
def test_no_host_is_a_failure_that_says_why(checkout: Path, tmp_path: Path, name: str, fault: str) -> None:
    """All of this is hosts.yml's, with which every playbook begins."""
    folder, words, sentence = checkout, [str(checkout / name)], "the inventory has no host in the group accelerators"
    checkout.chmod(0o777 if "all may write" in fault else 0o755)
    if fault == "another folder":
        folder = tmp_path
    elif fault == "an empty inventory":
        (tmp_path / "hosts.yml").write_text("accelerators: {hosts: {}}\n")
        words += ["-i", str(tmp_path / "hosts.yml")]
    elif fault == "none of ours":
        (tmp_path / "hosts.yml").write_text("accelerators: {hosts: {a: {}}}\nweb: {hosts: {b: {}}}\n")
        words, sentence = (
            [*words, "-i", str(tmp_path / "hosts.yml"), "-l", "b"],
            "--limit b leaves no host of the group accelerators",
        )
    elif fault == "-l typo":
        words, sentence = (
            [*words, "-l", "local,gpuu-01"],
            "--limit names 'gpuu-01', which is no host or group; did you mean 'gpu-01'?",
        )
    done = ansible(folder, *words)
    assert done.returncode != 0 and sentence in done.stderr, done.stdout + done.stderr
    assert "TASK" not in done.stdout and "Skipping plugin" not in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["serve.yml", "stop.yml", "validate.yml"])
def test_no_playbook_runs_from_files_that_everybody_may_change(checkout: Path, name: str) -> None:
    (checkout / "library/fit.py").chmod(0o646)
    done = ansible(checkout, f"playbooks/{name}", "-l", "local", "-e", "service=demo", "--check")
    (checkout / "library/fit.py").chmod(0o644)
    assert done.returncode != 0 and "library/fit.py is writable for all (0646); run: chmod -R o-w" in done.stdout, (
        done.stdout
    )
    assert done.stdout.count("error: ") == 1 and done.stdout.count("TASK [") == 1


def test_every_playbook_parses(playbook: Any) -> None:
    names = [f"playbooks/{path.name}" for path in PLAYBOOKS]
    done = playbook(*names, "--syntax-check")  # in one process: to start one takes longer than to parse
    assert done.returncode == 0, done.stderr
    assert re.findall(r"(?m)^playbook: (\S+)", done.stdout) == names


def test_runs_are_told_to_modules_with_their_replicas() -> None:
    """`runs` names rows; what is deployed has the names of `run_names`."""
    for path in [p for p in TRACKED if p.startswith(("roles/", "playbooks/")) and p.endswith(".yml")]:
        assert not re.search(r"runs: \"{{ runs }}", (ROOT / path).read_text()), path


NAMED = ["benchmark", "localise", "logs", "record_reference", "rollback", "rotate_key", "run_service", "stop", "tune", "uninstall"]  # fmt: skip


def test_what_acts_on_a_service_wants_it_named(playbook: Any) -> None:
    """Each asks module services_info, and the module refuses where none is named."""
    asks = re.compile(r"\n      services_info:\n(?: {8}.*\n)*? {8}wanted: \"{{ service \| default\(''\) }}\"\n")
    assert [path.stem for path in PLAYBOOKS if asks.search(path.read_text())] == NAMED
    done = playbook("playbooks/stop.yml", "-l", "local")
    assert done.returncode != 0 and "-e service=NAME" in done.stdout
