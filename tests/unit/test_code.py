"""Python of a model's repository: published only as somebody has read it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from ansible.module_utils.serving.weights.asking import of_folder
from ansible.module_utils.serving.weights.choice import Wanted
from ansible.module_utils.serving.weights.code import digest
from fetched import KINDS, Run, fetch, make_model, visible
from hub import Hub

READ = b"class OddForCausalLM: ...\n"
GIT, SHA = digest(READ, 40), digest(READ)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    folder.mkdir()
    make_model(folder, 4096)
    (folder / "modeling_odd.py").write_bytes(READ)
    return folder


def test_digests_are_those_of_git_and_of_sha256sum() -> None:
    assert hashlib.sha256(READ).hexdigest() == SHA
    assert digest(b"", 40) == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"  # git hash-object of an empty file


@pytest.mark.parametrize("pinned", [GIT, SHA])
@pytest.mark.parametrize("kind", KINDS)
def test_code_is_published_only_as_it_was_read(
    run_module: Run, mine: Path, tmp_path: Path, kind: str, pinned: str
) -> None:
    """Whichever kind of digest the row has, and whichever the hub states."""
    hub = Hub(mine)
    try:
        code = {"modeling_odd.py": pinned}
        done = fetch(run_module, hub, tmp_path / "good", kind, code=code)
        assert not done["failed"] and done["changed"], done
        assert not fetch(run_module, hub, tmp_path / "good", kind, code=code)["changed"]
        changed = READ + b"import os\n"
        (mine / "modeling_odd.py").write_bytes(changed)
        hub.sent.clear()
        refused = fetch(run_module, hub, tmp_path / "bad", kind, code=code)
        assert refused["failed"] and visible(tmp_path / "bad") == []
        for words in ("code modeling_odd.py", digest(changed, len(pinned)), pinned, "-e update=true"):
            assert words in refused["msg"]
        known = 40 if kind == "huggingface" else 64  # what the hub states of a small file
        assert any(name.endswith(".safetensors") for name in hub.sent) is (len(pinned) != known)
        dry = fetch(run_module, hub, tmp_path / "bad", kind, code=code, check=True)
        assert dry["failed"] is (len(pinned) == known)
    finally:
        hub.close()


def test_code_that_is_new_or_gone(run_module: Run, mine: Path, tmp_path: Path) -> None:
    hub = Hub(mine)
    try:
        (mine / "helpers.py").write_text("x = 1\n")
        new = fetch(run_module, hub, tmp_path / "m", code={"modeling_odd.py": GIT})
        assert (
            new["failed"]
            and "its code helpers.py is new" in new["msg"]
            and not hub.sent["model-00001-of-00002.safetensors"]
        )
        gone = fetch(run_module, hub, tmp_path / "m", code={"modeling_odd.py": GIT, "helpers.py": GIT, "other.py": GIT})
        assert gone["failed"] and f"its code other.py is gone, which the row in models.yml has as {GIT}" in gone["msg"]
        assert not fetch(run_module, hub, tmp_path / "m")["failed"]  # a model whose code nobody runs has none pinned
    finally:
        hub.close()


def test_a_folder_and_what_was_published_before(run_module: Run, mine: Path, tmp_path: Path) -> None:
    given = {
        "name": "m",
        "models_root": str(tmp_path / "m"),
        "sources": {"directory": {"path": str(mine)}},
        "order": ["directory"],
    }
    done = run_module("weights_fetch", given)
    assert done["changed"]
    other = run_module("weights_fetch", {**given, "code": {"modeling_odd.py": "0" * 64}})
    assert (
        other["failed"]
        and f"model 'm' in {done['path']}: its code modeling_odd.py has the digest {SHA}" in other["msg"]
    )
    assert not run_module("weights_fetch", {**given, "code": {"modeling_odd.py": SHA}})["changed"]


def test_the_row_of_a_folder_pins_what_lies_there(mine: Path) -> None:
    config = {"architectures": ["OddForCausalLM"], "auto_map": {"AutoModel": "modeling_odd.OddForCausalLM"}}
    (mine / "config.json").write_text(json.dumps(config))
    assert dict(of_folder(str(mine), Wanted(), {}).code) == {"modeling_odd.py": SHA}  # type: ignore[union-attr]
