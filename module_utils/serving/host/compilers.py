"""What native engines compile with while they start: PyTorch on a CPU with g++, Triton on a GPU with a C compiler and Python's headers."""

from __future__ import annotations

import os
import shutil
import subprocess

# Packages by the first package manager that is there; %s: Python's version.
PACKAGES = (
    ("apt-get", {"g++": "g++", "gcc": "gcc", "headers": "python%s-dev"}),
    ("dnf", {"g++": "gcc-c++", "gcc": "gcc", "headers": "python%s-devel"}),
    ("yum", {"g++": "gcc-c++", "gcc": "gcc", "headers": "python%s-devel"}),
)
HEADERS = (
    "import os, sys, sysconfig; "
    "print('%d.%d' % sys.version_info[:2], os.path.exists(os.path.join(sysconfig.get_path('include'), 'Python.h')))"
)


def without_headers(pythons: list[str]) -> list[str]:
    """Versions of those interpreters that have no Python.h; one that does not run is left to others."""
    found = []
    for python in pythons:
        try:
            done = subprocess.run([python, "-c", HEADERS], capture_output=True, text=True, timeout=30, check=False)
        except (OSError, subprocess.TimeoutExpired):
            continue
        version, _, there = done.stdout.strip().partition(" ")
        if there == "False" and version not in found:
            found.append(version)
    return found


def lacking(kind: str, services: list[dict], pythons: list[str]) -> list[tuple[str, str]]:
    """[(what, version of Python or '')] that engines of these native services compile with and that is not there."""
    if kind == "cpu" and any(not service["engine_args"].get("enforce_eager") for service in services):
        return [] if shutil.which("g++") else [("g++", "")]
    if kind == "gpu" and services:
        compiler = [] if shutil.which("gcc") or shutil.which("clang") else [("gcc", "")]
        return compiler + [("headers", version) for version in without_headers(pythons)]
    return []


def assess(kind: str, lacks: list[tuple[str, str]], root: bool) -> dict:
    """{packages, problems, notes}: what root installs; without that, what stops the engine, and what may."""
    if not lacks:
        return {"packages": [], "problems": [], "notes": []}
    names = next((names for tool, names in PACKAGES if shutil.which(tool)), None)
    packages = [names[what] % version if version else names[what] for what, version in lacks] if names else []
    if root and packages:
        return {"packages": packages, "problems": [], "notes": []}
    words = " and ".join("no headers of Python %s" % version if version else "no " + what for what, version in lacks)
    remedy = "have root install %s" % (" ".join(packages) or "them")
    if kind == "cpu":
        text = "an engine here compiles its kernels, and this host has %s; %s, or set enforce_eager: true in the row's engine_args"
        return {"packages": [], "problems": [text % (words, remedy)], "notes": []}
    text = "engines on GPUs compile kernels while they start, and this host has %s; if a start fails by it, %s"
    return {"packages": [], "problems": [], "notes": [text % (words, remedy)]}


def look(kind: str, services: list[dict], environments: list[str]) -> dict:
    """`assess` of this host. `environments`: folders of the services' Python environments; those that aren't there yet say nothing."""
    pythons = [os.path.join(folder, "bin/python") for folder in environments]
    return assess(kind, lacking(kind, services, pythons), os.geteuid() == 0)
