"""What is written by hand stays readable: short files, each a file of its own."""

from __future__ import annotations

import subprocess
from pathlib import Path

from conftest import ROOT

MOST = 400  # lines
TRACKED = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
# What tools write: locks, tables read from engines, recorded outputs, weights, the page of variables, a document's own script.
MADE = (".lock", ".json", ".safetensors", ".gz", ".xml")
MADE_FILES = {"docs/variables.md", "benchmarks/peers/convert_weights.py", "LICENSE"}


def hand_written(names: list[str]) -> list[str]:
    return [
        name
        for name in names
        if not name.endswith(MADE) and name not in MADE_FILES and not name.startswith("tests/fixtures/")
    ]


def too_long(root: Path, names: list[str]) -> dict[str, int]:
    """{file: lines} of files with more than MOST lines."""
    counts = {name: (root / name).read_bytes().count(b"\n") for name in names if (root / name).is_file()}
    return {name: count for name, count in counts.items() if count > MOST}


def test_no_hand_written_file_is_too_long(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x\n" * (MOST + 1))
    (tmp_path / "b.py").write_text("x\n" * MOST)
    assert too_long(tmp_path, ["a.py", "b.py"]) == {"a.py": MOST + 1}
    assert not too_long(ROOT, hand_written(TRACKED)), "split it by noun"


def test_plugins_are_files_of_their_own() -> None:
    """An action that is a link to another module's shows in no search and in no traceback."""
    for folder in ("action_plugins", "callback_plugins", "filter_plugins", "library", "lookup_plugins", "vars_plugins"):
        links = [path.name for path in (ROOT / folder).iterdir() if path.is_symlink()]
        assert not links, f"{folder}: {links}"
