"""What native engines compile with: what is missing, which packages bring it, and what is said where nobody may install them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.serving.host import compilers

COMPILED: dict[str, Any] = {"engine_args": {}}
EAGER: dict[str, Any] = {"engine_args": {"enforce_eager": True}}


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Names of the programs that the host has."""
    found: set[str] = set()
    monkeypatch.setattr(compilers.shutil, "which", lambda name: f"/usr/bin/{name}" if name in found else None)
    return found


def python(folder: Path, version: str, headers: bool) -> str:
    """An environment whose interpreter says so of itself."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin/python").write_text(f"#!/bin/sh\necho {version} {headers}\n")
    (folder / "bin/python").chmod(0o755)
    return str(folder)


@pytest.mark.parametrize(
    ("kind", "services", "there", "lacks"),
    [
        ("cpu", [COMPILED], [], [("g++", "")]),
        ("cpu", [COMPILED], ["g++"], []),
        ("cpu", [EAGER], [], []),
        ("cpu", [EAGER, COMPILED], ["gcc"], [("g++", "")]),
        ("gpu", [EAGER], [], [("gcc", ""), ("headers", "3.12")]),
        ("gpu", [COMPILED], ["clang"], [("headers", "3.12")]),
        ("gpu", [], [], []),
        ("npu", [COMPILED], [], []),
    ],
)
def test_what_is_missing(
    tools: set[str], tmp_path: Path, kind: str, services: list[Any], there: list[str], lacks: list[Any]
) -> None:
    tools.update(there)
    without, whole, absent = python(tmp_path / "a", "3.12", False), python(tmp_path / "b", "3.11", True), tmp_path / "c"
    pythons = [f"{folder}/bin/python" for folder in (without, whole, absent)]
    assert compilers.lacking(kind, services, pythons) == lacks


@pytest.mark.parametrize(
    ("manager", "packages"),
    [("apt-get", ["g++", "gcc", "python3.12-dev"]), ("dnf", ["gcc-c++", "gcc", "python3.12-devel"])],
)
def test_root_gets_packages_of_the_hosts_own_manager(tools: set[str], manager: str, packages: list[str]) -> None:
    tools.add(manager)
    found = compilers.assess("gpu", [("g++", ""), ("gcc", ""), ("headers", "3.12")], root=True)
    assert found == {"packages": packages, "problems": [], "notes": []}
    assert compilers.assess("gpu", [], root=True) == {"packages": [], "problems": [], "notes": []}


def test_others_are_told(tools: set[str]) -> None:
    """Without a compiler an engine on a CPU can't start; one on a GPU may have all its kernels from elsewhere."""
    tools.add("apt-get")
    [problem] = compilers.assess("cpu", [("g++", "")], root=False)["problems"]
    assert "this host has no g++; have root install g++, or set enforce_eager: true" in problem
    found = compilers.assess("gpu", [("gcc", ""), ("headers", "3.12")], root=False)
    assert not found["problems"] and not found["packages"]
    assert (
        "no gcc and no headers of Python 3.12; if a start fails by it, have root install gcc python3.12-dev"
        in found["notes"][0]
    )
    tools.clear()  # a system whose packages nobody knows
    assert "have root install them" in compilers.assess("gpu", [("gcc", "")], root=True)["notes"][0]


def test_this_machines_own(run_module: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").symlink_to(sys.executable)
    given = {"kind": "gpu", "services": [EAGER], "environments": [str(tmp_path), str(tmp_path / "none")]}
    result = run_module("compiler_info", given)
    assert not result["failed"] and not result["changed"] and not result["problems"]
    assert not run_module("compiler_info", {"kind": "cpu", "services": [EAGER]})["packages"]
