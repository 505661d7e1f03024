"""What runs on hosts before anything is installed there is read by Python 3.8."""

from __future__ import annotations

import ast
import re

from conftest import ROOT
from test_contracts import TRACKED

# Run by the Python of the tools, or on the controller.
NEWER = {
    f"library/{name}.py"
    for name in ("container_image", "env_bundle", "image_archive", "weights_convert", "weights_fetch")
}


def generics_at_run_time(text: str) -> list[str]:
    """What Python 3.8 can't evaluate: subscripts of built-in and abstract containers where no annotation postpones them."""
    tree = ast.parse(text)
    postponed = {
        id(below)
        for node in ast.walk(tree)
        for above in (getattr(node, "annotation", None), getattr(node, "returns", None))
        if above is not None
        for below in ast.walk(above)
    }
    names = {"dict", "frozenset", "list", "set", "tuple", "type"} | {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "collections.abc"
        for alias in node.names
    }
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Subscript) and id(node) not in postponed]
    return [node.value.id for node in found if isinstance(node.value, ast.Name) and node.value.id in names]


def test_what_runs_on_hosts_is_read_by_their_python() -> None:
    assert generics_at_run_time("A = dict[str, int]\nb: dict[str, int] = {}\nc = d['e']") == ["dict"]
    assert generics_at_run_time("from collections.abc import Callable\nA = Callable[[], int]") == ["Callable"]
    on_hosts = re.compile(r"(library|module_utils)/.*\.py|roles/.*/files/.*\.py")
    for path in [path for path in TRACKED if on_hosts.fullmatch(path) and (ROOT / path).is_file()]:
        text = (ROOT / path).read_text()
        assert not generics_at_run_time(text), path
        ast.parse(text, path, feature_version=(3, 11) if path in NEWER else (3, 8))
