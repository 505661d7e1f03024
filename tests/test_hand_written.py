"""What is written by hand stays readable: short files, each a file of its own, and rules that name no board."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import yaml
from conftest import ROOT

MOST = 400  # lines
TRACKED = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
# What tools write: locks, tables read from engines, recorded outputs, weights, the page of variables, a document's own script.
MADE = (".lock", ".json", ".safetensors", ".gz", ".xml")
MADE_FILES = {"docs/variables.md", "models/ties-held-out.jsonl", "benchmarks/peers/convert_weights.py", "LICENSE"}


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


# Boards and products by their names, in what decides. Variables of a container runtime are no boards.
BOARD = re.compile(
    r"(?i)\b(?:[ahlb]\d{2,3}s?|gh200|rtx[ -]?\d+|310p\d?|300i[\w-]*|910b?\d?|atlas\w*|graviton\d?|neoverse[\w-]*|hopper|blackwell)\b"
)
VENDORS = {"nvidia", "ascend"}


def named_boards(text: str) -> list[str]:
    """Literals of a Python file that name a board, or are a vendor; what is documentation is left out."""
    tree = ast.parse(text)
    words = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in words
        if BOARD.search(node.value) or node.value in VENDORS
    ]


def test_rules_ask_what_a_board_has_and_never_which_it_is() -> None:
    """A site's own board has the same properties under another name."""
    assert named_boards('"""For H100."""\nx = "h100-sxm" in y\nz = board["vendor"] == "nvidia"') == [
        "h100-sxm",
        "nvidia",
    ]
    assert not named_boards('env = "NVIDIA_VISIBLE_DEVICES"\nkey = "compute_capability"')
    for path in [*(ROOT / "planning").glob("*.py"), *(ROOT / "filter_plugins").glob("*.py")]:
        # "Neoverse V1" is what an Arm CPU's instructions are called by, in a remedy.
        assert not [word for word in named_boards(path.read_text()) if "Neoverse V1" not in word], path


def test_roles_ask_what_a_board_has_and_never_which_it_is() -> None:
    """But for roles of one board or vendor, which boards.yml names."""
    tables = yaml.safe_load((ROOT / "catalogue/boards.yml").read_text())
    own = set(tables["catalogue_vendors"]) | {row.get("role") for row in tables["catalogue_boards"].values()}
    conditions = re.compile(r"^\s*(?:when|that|until|loop|changed_when|failed_when): *.*(?:\n\s+[^\s].*)?", re.M)
    for path in [*ROOT.glob("roles/*/tasks/*.yml"), *(ROOT / "playbooks").glob("*.yml")]:
        if path.parent.parent.name not in own:
            for text in conditions.findall(path.read_text()):
                quoted = re.findall(r"'([^']*)'", text)
                assert not [word for word in quoted if BOARD.search(word) or word in VENDORS], f"{path}: {text}"
