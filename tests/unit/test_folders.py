"""A folder as a source of weights: what is published is what was read, and what is no model's folder is refused."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import shards
from ansible.module_utils.serving import errors, files
from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.weights import acquire, folders, manifests
from conftest import DEMO, start_module
from folders_of_models import Run, exactly_the_manifest, fetch, files_of, parts
from hub import Hub
from hypothesis import given
from hypothesis import strategies as st

from planning import rows

SHARD = "model-00001-of-00002.safetensors"
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 15010\n"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return Path(shutil.copytree(DEMO, tmp_path / "source"))


def change(path: Path, offset: int = -5000) -> None:
    """Other bytes of the same length, the mtime as it was: what `rsync --times` or a restore may do."""
    stat = path.stat()
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_a_list_of_sums_that_is_stale_is_an_error_and_never_stands_for_bytes(
    run_module: Run, source: Path, tmp_path: Path
) -> None:
    first = fetch(run_module, source, tmp_path / "models")
    before = (source / SHARD).read_bytes()
    change(source / SHARD)
    second = fetch(run_module, source, tmp_path / "models")
    stated = folders.read_sums(str(source / manifests.SUMS))[SHARD]
    assert second["failed"] and str(source / SHARD) in second["msg"] and stated in second["msg"]
    assert files.sha256_file(str(source / SHARD)) in second["msg"]
    assert (Path(first["path"]) / SHARD).read_bytes() == before
    (source / manifests.SUMS).unlink()
    third = fetch(run_module, source, tmp_path / "models")
    assert third["changed"] and third["identity"] != first["identity"]
    assert (Path(third["path"]) / SHARD).read_bytes() == (source / SHARD).read_bytes()


def test_a_list_of_sums_that_changes_alone_is_compared_without_reading_the_weights(
    run_module: Run, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fetch(run_module, source, tmp_path / "models")["changed"]
    sums = (source / manifests.SUMS).read_text()
    right = folders.read_sums(str(source / manifests.SUMS))[SHARD]
    (source / manifests.SUMS).write_text(sums.replace(right, "f" * 64))
    monkeypatch.setattr(acquire, "copy_file", lambda *_: pytest.fail("it was read again"))
    result = fetch(run_module, source, tmp_path / "models")
    assert result["failed"] and right in result["msg"] and "f" * 64 in result["msg"]


def test_a_changed_file_of_equal_size_and_mtime_is_noticed_and_only_it_is_read(
    run_module: Run, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source / manifests.SUMS).unlink()
    first = fetch(run_module, source, tmp_path / "models")
    change(source / SHARD)
    copied = []
    real = acquire.copy_file
    monkeypatch.setattr(acquire, "copy_file", lambda a, b: (copied.append(Path(a).name), real(a, b))[1])
    second = fetch(run_module, source, tmp_path / "models")
    assert second["changed"] and second["identity"] != first["identity"] and copied == [SHARD]
    exactly_the_manifest(second)


def test_a_file_that_changes_while_it_is_read_is_not_published(
    run_module: Run, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source / manifests.SUMS).unlink()
    real = acquire.copy_file

    def slow(path: str, dest: str) -> str:
        how = real(path, dest)
        if path.endswith(SHARD):
            change(Path(path))
        return how

    monkeypatch.setattr(acquire, "copy_file", slow)
    result = fetch(run_module, source, tmp_path / "models")
    assert result["failed"] and "was changed while it was read" in result["msg"]
    monkeypatch.setattr(acquire, "copy_file", real)
    assert fetch(run_module, source, tmp_path / "models")["changed"]


@pytest.mark.parametrize(
    "line", ["{sum}  ./config.json\r\n", "{SUM} *config.json\n", "SHA256 (config.json) = {sum}\n\n"]
)
def test_lists_of_sums_are_read_as_tools_write_them(source: Path, line: str) -> None:
    digest = files.sha256_file(str(source / "config.json"))
    (source / manifests.SUMS).write_text("\ufeff" + line.format(sum=digest, SUM=digest.upper()))
    assert folders.read_sums(str(source / manifests.SUMS)) == {"config.json": digest}


def test_the_sum_of_the_list_of_sums_itself_is_none(run_module: Run, source: Path, tmp_path: Path) -> None:
    """`sha256sum * > SHA256SUMS` has a line for the file that it is writing, the second time it is called."""
    with open(source / manifests.SUMS, "a") as sums:
        sums.write("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  SHA256SUMS\n")
    result = fetch(run_module, source, tmp_path / "models")
    assert result["changed"] and manifests.SUMS in files_of(result), result


def cache(source: Path, place: Path) -> Path:
    """A hub client's cache of the model: snapshots are links to blobs."""
    repository, commit = place / "models--org--demo", "a" * 40
    for path in (p for p in source.rglob("*") if p.is_file()):
        name = path.relative_to(source)
        blob = repository / "blobs" / files.sha256_file(str(path))
        blob.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, blob)
        link = repository / "snapshots" / commit / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text(commit)
    shutil.copytree(repository / "snapshots" / commit, repository / "snapshots" / ("b" * 40), symlinks=True)
    return repository / "snapshots" / commit


def test_a_hub_cache_is_refused_with_the_snapshot_to_use(run_module: Run, source: Path, tmp_path: Path) -> None:
    (source / "extra").mkdir()
    (source / "extra/x.txt").write_text("x")
    snapshot = cache(source, tmp_path / "hub")
    for wrong in (snapshot.parent.parent, tmp_path / "hub"):
        result = fetch(run_module, wrong, tmp_path / "models")
        assert result["failed"] and f"directory.path: {snapshot}" in result["msg"]
        assert "b" * 40 not in result["msg"]  # refs/main says which one is meant
    result = fetch(run_module, snapshot, tmp_path / "models")
    assert result["changed"] and "extra/x.txt" in files_of(result)
    assert not any(p.is_symlink() for p in Path(result["path"]).rglob("*"))


def make_fifo(path: Path) -> None:
    os.mkfifo(path / "pipe")


def make_socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path)  # a socket's path is short
    try:
        socket.socket(socket.AF_UNIX).bind("socket")
    finally:
        os.chdir(here)


def link_out(path: Path) -> None:
    outside = path.parent / "outside"
    outside.mkdir()
    (outside / "config.json").write_text("{}")
    (path / "1_Pooling").symlink_to(outside)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda s: (s / "config.json").unlink(), "no config.json"),
        (lambda s: (s / "tokenizer.json").write_text(POINTER), "tokenizer.json is a Git LFS pointer"),
        (lambda s: (s / "voices.pt").write_text(POINTER), "voices.pt is a Git LFS pointer"),
        (link_out, "outside of the model's folder"),
        (lambda s: (s / "loop").symlink_to(s), "which holds the link itself"),
        (lambda s: (s / "a").symlink_to("a"), "neither a file nor a link"),
        (make_fifo, "a named pipe"),
        (make_socket, "a socket"),
        (lambda s: (s / "Config.json").write_text("{}"), "the same name where case doesn't count"),
        (lambda s: (s / "stra\u00dfe.txt").write_text("") or (s / "STRASSE.txt").write_text(""), "where case doesn't count"),
        (lambda s: (s / "a\u0308.txt").write_text("") or (s / "\u00e4.txt").write_text(""), "where case doesn't count"),
        (lambda s: (s / "two\nlines.txt").write_text(""), "it has a backslash, a control character, or"),
        (lambda s: (s / ("a" * 241)).write_text(""), "it has 241 bytes, the limit is 240; rename or remove it at the source"),
        (lambda s: (s / "gnp\u202e.exe").write_text(""), "it has characters that show it in another order; rename"),
        (lambda s: (Path(os.fsdecode(os.fsencode(s) + b"/caf\xe9.txt"))).write_text(""), "bytes that are no UTF-8; rename or"),
        (lambda s: (s / manifests.INDEX).unlink() or (s / manifests.SUMS).unlink() or (s / SHARD).unlink(), "one of 2 shards"),
    ],
)  # fmt: skip
def test_what_is_no_models_folder_is_refused(
    run_module: Run, source: Path, tmp_path: Path, spoil: Callable[[Path], Any], words: str
) -> None:
    spoil(source)
    if words == "tokenizer.json is a Git LFS pointer":
        (source / manifests.SUMS).unlink()
    for check in (True, False):
        result = fetch(run_module, source, tmp_path / "models", check=check)
        assert result["failed"] and words in result["msg"], result["msg"]
        assert "\n" not in result["msg"].partition("serves it:\n")[2]


@pytest.mark.parametrize(("odd", "shown"), [("\x1b[2J", r"\x1b[2J"), ("\u202egnp", r"\u202egnp")])
def test_no_name_of_others_reaches_a_terminal_as_it_is(run_module: Run, tmp_path: Path, odd: str, shown: str) -> None:
    result = fetch(run_module, tmp_path / f"gone{odd}", tmp_path / "models")
    assert result["failed"] and odd not in result["msg"] and f"gone{shown} does not exist" in result["msg"]
    # No argument, for Ansible refuses it; but a file may be called so.
    assert errors.as_shown("gone\udcff") == r"gone\udcff"


def test_litter_is_skipped_and_other_forms_are_left_out_and_named(
    run_module: Run, source: Path, tmp_path: Path
) -> None:
    plain = fetch(run_module, source, tmp_path / "plain")
    for name in (
        ".DS_Store",
        "._config.json",
        "__pycache__/a.pyc",
        ".git/HEAD",
        ".cache/x",
        ".ipynb_checkpoints/a.ipynb",
    ):
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_text("x")
    os.mkfifo(source / ".cache/pipe")
    for name in ("pytorch_model.bin", "original/consolidated.00.pth", "consolidated.safetensors", "a.safetensors.part"):
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_bytes(b"x" * 2048)
    check = fetch(run_module, source, tmp_path / "models", check=True)
    result = fetch(run_module, source, tmp_path / "models")
    assert result["changed"] and result["identity"] == plain["identity"]
    exactly_the_manifest(result)
    assert (
        check["left_out"] == result["left_out"] and "left out: pytorch_model.bin (2.0 KiB: " in result["diff"]["after"]
    )
    assert len(result["left_out"]) == 4


def test_include_and_exclude_take_effect_on_what_is_published(run_module: Run, source: Path, tmp_path: Path) -> None:
    root = tmp_path / "models"
    (source / "original").mkdir()
    (source / "original/consolidated.00.pth").write_bytes(b"x" * 2048)
    first = fetch(run_module, source, root)
    assert not fetch(run_module, source, root)["changed"]
    second = fetch(run_module, source, root, include=["original/*"], exclude=["README.md"])
    assert second["changed"] and "`include` or `exclude`" in second["reasons"][0]
    assert files_of(second) - files_of(first) == {"original/consolidated.00.pth"}
    assert files_of(first) - files_of(second) == {"README.md"}
    assert not fetch(run_module, source, root, include=["original/*"], exclude=["README.md"])["changed"]


@pytest.mark.parametrize("hub", [False, True], ids=["folder", "hub"])
def test_parts_of_a_model_have_tensor_names_of_their_own(run_module: Run, tmp_path: Path, hub: bool) -> None:
    source = parts(tmp_path / "source")
    with_hub = Hub(source) if hub else None
    options: dict[str, Any] = {}
    if with_hub:
        options = {"sources": {"huggingface": {"repo": "a/b"}}, "huggingface_endpoint": with_hub.url}
    result = fetch(run_module, source, tmp_path / "models", **options)
    if with_hub:
        with_hub.close()
    assert result["changed"], result
    assert "3_Dense/model.safetensors" in files_of(result)


def test_a_linked_subfolder_inside_is_followed(run_module: Run, tmp_path: Path) -> None:
    source = parts(tmp_path / "source")
    shutil.rmtree(source / "3_Dense")
    (source / "3_Dense").symlink_to("2_Dense")
    result = fetch(run_module, source, tmp_path / "models")
    assert "3_Dense/model.safetensors" in files_of(result) and not (Path(result["path"]) / "3_Dense").is_symlink()


def test_the_same_tensor_twice_in_one_folder_is_refused(tmp_path: Path) -> None:
    row: shards.Tensors = {"w": ("F32", [2], b"\0" * 8)}
    for name in ("a", "b"):
        shards.write(tmp_path / f"{name}.safetensors", row)
    files = {f"{name}.safetensors": str(tmp_path / f"{name}.safetensors") for name in ("a", "b")}
    with pytest.raises(Refusal, match=r"is in both a\.safetensors and b\.safetensors"):
        manifests.check_shards(files)


def indexed(folder: Path, tensors: shards.Tensors, weight_map: dict[str, str]) -> dict[str, str]:
    shards.write(folder / "a.safetensors", tensors)
    (folder / manifests.INDEX).write_text(json.dumps({"weight_map": weight_map}))
    return {name: str(folder / name) for name in ("a.safetensors", manifests.INDEX)}


def test_odd_but_usable_weights_pass_with_a_word(tmp_path: Path) -> None:
    tensors: shards.Tensors = {
        "embed": ("BF16", [2], b"\0" * 4),
        "rotary.inv_freq": ("F32", [1], b"\0" * 4),
        "scale": ("F8_E8M0", [4], b"\0" * 4),
        "packed": ("F4", [8], b"\0" * 4),
        "wave": ("C64", [1], b"\0" * 8),
        "short": ("U16", [2], b"\0" * 4),
        "new": ("I4", [8], b"\0" * 4),
    }
    named = dict.fromkeys(["embed", "lm_head.weight", "scale", "packed", "wave", "short", "new"], "a.safetensors")
    notes = manifests.check_shards(indexed(tmp_path, tensors, named))
    assert len(notes) == 3
    assert "1 tensors have the type I4, which we don't know" in notes[0]
    assert "names 'lm_head.weight', which no shard has" in notes[1]
    assert "does not name 'rotary.inv_freq'" in notes[2]


def test_an_index_with_names_that_vllm_does_not_find_is_told(tmp_path: Path) -> None:
    [note] = manifests.check_shards(indexed(tmp_path, {"a": ("U8", [1], b"\0")}, {"a": "./a.safetensors"}))
    assert "names ./a.safetensors: vLLM takes names as they are written" in note


def test_an_index_of_another_revision_is_refused(tmp_path: Path) -> None:
    tensors: shards.Tensors = {"layers.0.w": ("U8", [1], b"\0")}
    named = {f"layers.{number}.w": "a.safetensors" for number in range(40)}
    with pytest.raises(Refusal, match="names 39 tensors that no shard has"):
        manifests.check_shards(indexed(tmp_path, tensors, named))


def test_the_words_reach_the_operator(source: Path, tmp_path: Path) -> None:
    index = json.loads((source / manifests.INDEX).read_text())
    index["weight_map"]["tied.weight"] = SHARD
    (source / manifests.INDEX).write_text(json.dumps(index))
    (source / manifests.SUMS).unlink()
    args = {"name": "demo", "models_root": str(tmp_path / "models"), "sources": {"directory": {"path": str(source)}}}
    process = start_module("weights_fetch", args)
    result = json.loads(process.communicate(timeout=60)[0].splitlines()[-1])
    assert result["changed"] and sum("tied.weight" in str(text) for text in result["warnings"]) == 1


@given(
    st.text() | st.text("a\x1b\x07\u202e\u200b\u2028\udcff\x85\xad\n\t '\",\U0001f600", max_size=9),
    st.sampled_from([0, 1, 999, 1000, 5000]),
)
def test_filters_and_modules_show_a_hostile_message_alike(text: str, times: int) -> None:
    """Each has its own `as_shown`. A module's message may have lines; a fault of a row is one."""
    text += times * "x"
    lines = errors.as_shown(text).replace("\n", "\\n").replace("\t", "\\t")
    assert rows.as_shown(text) == lines
