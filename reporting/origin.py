"""Who runs this, from where, and from which commits."""

from __future__ import annotations

import getpass
import os
import socket
import subprocess
from pathlib import Path
from typing import Any

PRODUCT = Path(__file__).resolve().parent.parent
SECONDS = 10  # that git may take: a checkout may lie on a server that does not answer


def git(folder: Path, *words: str) -> str | None:
    """What git says, None where it says nothing: no git, no repository, or one of another user, which git refuses to read."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), "--no-optional-locks", *words],
            capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def commit_of(folder: Path) -> dict[str, Any]:
    """{folder, commit, dirty} of the repository that a folder belongs to; commit and dirty are None where that is unknown."""
    commit = git(folder, "rev-parse", "HEAD")
    changes = git(folder, "status", "--porcelain", "--untracked-files=normal") if commit else None
    return {"folder": str(folder), "commit": commit, "dirty": None if changes is None else bool(changes)}


def version_of(product: Path = PRODUCT) -> str:
    """The version in pyproject.toml; empty where there is none."""
    try:
        lines = (product / "pyproject.toml").read_text().splitlines()
    except OSError:
        return ""
    return next((line.split('"')[1] for line in lines if line.startswith("version = ")), "")


def user() -> str:
    """The person behind sudo, else the user, else the number."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def describe(site: Path) -> dict[str, Any]:
    """{user, controller, product: {version, folder, commit, dirty}, site: {folder, commit, dirty}}."""
    product = {"version": version_of(), **commit_of(PRODUCT)}
    same = site.resolve() == PRODUCT
    return {
        "user": user(),
        "controller": socket.gethostname(),
        "product": product,
        "site": {key: product[key] for key in ("folder", "commit", "dirty")} if same else commit_of(site),
    }
