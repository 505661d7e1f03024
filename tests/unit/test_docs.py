"""The documentation: links that lead somewhere, targets of make that exist, words of the glossary."""

from __future__ import annotations

import re
import subprocess
import tomllib

import pytest
import yaml
from ansible.module_utils.serving.service import failures
from conftest import ROOT

PAGES = sorted(
    ROOT / name
    for name in subprocess.run(
        ["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    if not name.startswith("tests/fixtures/")
)
# Words that a reader from outside can't know.
PRIVATE = re.compile(r"(?i)\bthe bed\b|\bchips?\b(?!`)|«|»")
# Written elsewhere, or about what was once: descriptions of modules, earlier releases, cards of models.
ELSEWHERE = ("docs/variables.md", "CHANGELOG.md", "docs/releases/", "models/", "references/", ".github/", ".gitlab/")
OURS = [str(path.relative_to(ROOT)) for path in PAGES if not str(path.relative_to(ROOT)).startswith(ELSEWHERE)]


def prose(text: str) -> str:
    return re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.S)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_link_leads_to_a_file(path: object) -> None:
    page = ROOT / str(path)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page.read_text())):
        if not re.match(r"https?://|#|mailto:", target):
            assert (page.parent / target.partition("#")[0]).exists(), f"{page}: {target}"


@pytest.mark.parametrize("name", OURS)
def test_pages_have_no_private_words(name: str) -> None:
    found = PRIVATE.search(prose((ROOT / name).read_text()))
    assert not found, f"{name}: {found and found.group()}"


def test_tasks_and_hints_have_no_private_words() -> None:
    """What an operator reads in the terminal: names of tasks, what a failure means and what to do."""
    words = re.compile(r"\bchips?\b|\b[oO]urs?\b")
    for path in [*ROOT.glob("roles/*/tasks/*.yml"), *ROOT.glob("playbooks/*.yml")]:
        for name in re.findall(r"(?m)^ *- name: (.*)", path.read_text()):
            assert not words.search(name), f"{path}: {name}"
    for hint in failures.HINTS:
        assert not words.search(hint.cause + hint.remedy), hint.name


# Whose word it is: an address's, a metric's, npu-smi's for the second number of an NPU, an engine's or a driver's in the lines that they print.
CHIP = r"https?://\S+|npu_chip_\w+|NPU %?\w+ chip %?\w+|\bchipId\b|not supported on this chip"
READERS = (
    "module_utils/serving/host/npus.py",
    "tests/unit/test_npus.py",
    "docs/glossary.md",
    "tests/unit/test_docs.py",
)


def test_no_name_and_no_text_has_a_private_word() -> None:
    """Facts, keys, functions, messages and comments say accelerator, GPU, NPU or device; only what reads npu-smi says its word."""
    files = subprocess.run(
        ["git", "ls-files", "*.py", "*.yml", "*.j2", "*.md", "*.sh"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    seen = 0
    for name in files:
        # Recorded words, those of stand-ins (a change of which makes the images of test hosts anew), and what was once.
        apart = (
            "tests/fixtures/",
            "molecule/shared/engine/",
            "molecule/shared/fakes/",
            "models/demo/",
            "CHANGELOG.md",
            "docs/releases/",
        )
        if not name.startswith(apart) and name not in READERS:
            found = re.search(r"(?i)chips?(?![a-z])|\b(?:test|the) bed\b", re.sub(CHIP, "", (ROOT / name).read_text()))
            assert not found, f"{name}: {found and found.group()}"
            seen += 1
    assert seen > 500


def targets() -> set[str]:
    return set(re.findall(r"^([a-z0-9]+):", (ROOT / "Makefile").read_text(), re.M))


def test_what_calls_make_names_a_target_that_exists() -> None:
    seen = 0
    files = [
        ROOT / ".pre-commit-config.yaml",
        ROOT / ".gitlab-ci.yml",
        ROOT / "CONTRIBUTING.md",
        *ROOT.glob(".github/workflows/*.yml"),
    ]
    for path in files:
        for name in re.findall(r"(?m)(?:^ *|- |: |`|\" )make ([a-z0-9]+)", path.read_text()):
            assert name in targets(), f"{path}: make {name}"
            seen += 1
    assert seen >= 6


def test_every_runbook_and_page_is_in_the_site() -> None:
    index = (ROOT / "docs/index.md").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        assert page.stem == "index" or re.search(rf"^{re.escape(page.stem)}$", index, re.M), page
    assert "runbooks/*" in index


def test_the_version_has_notes_and_the_workflows_are_yaml() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert (ROOT / f"docs/releases/{version}.md").exists()
    for path in [ROOT / ".gitlab-ci.yml", *ROOT.glob(".github/**/*.yml"), ROOT / ".pre-commit-config.yaml"]:
        assert yaml.safe_load(path.read_text()), path
