"""weights_fetch and weights_info: whole or absent, whatever happens on the way."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.weights import headers, manifests, staging
from conftest import DEMO, start_module
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

Run = Callable[..., dict[str, Any]]
SHARD = "model-00001-of-00002.safetensors"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return Path(shutil.copytree(DEMO, tmp_path / "source"))


def fetch(run: Run, source: Path, root: Path, **options: Any) -> dict[str, Any]:
    check = options.pop("check", False)
    return run(
        "weights_fetch",
        {"name": "demo", "models_root": str(root), "sources": {"directory": {"path": str(source)}}, **options},
        check=check,
    )


def visible(root: Path) -> list[str]:
    return sorted(p.name for p in root.iterdir() if not p.name.startswith(".")) if root.exists() else []


def whole(folder: Path, source: Path) -> None:
    for path in source.iterdir():
        assert (folder / path.name).read_bytes() == path.read_bytes()
    assert not manifests.damage(str(folder), json.loads((folder / manifests.MANIFEST).read_text()), full=True)


def test_publishes_verified_and_a_second_run_reads_nothing(
    run_module: Run, source: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    root = tmp_path / "models"
    first = fetch(run_module, source, root)
    assert first["changed"] and first["reasons"] == ["'demo' is not published yet"]
    assert visible(root) == [f"demo@{first['revision']}"]
    whole(Path(first["path"]), source)
    assert first["revision"] == first["identity"][:12]
    monkeypatch.setattr(manifests, "sha256_file", lambda path: pytest.fail(f"{path} was read again"))
    second = fetch(run_module, source, root)
    assert not second["changed"] and second["path"] == first["path"]
    info = run_module("weights_info", {"name": "demo", "models_root": str(root)})
    assert info["path"] == first["path"] and info["problems"] == []


def test_an_edit_of_the_source_never_reaches_what_is_published(run_module: Run, source: Path, tmp_path: Path) -> None:
    root = tmp_path / "models"
    first = Path(fetch(run_module, source, root)["path"])
    before = (first / "config.json").read_bytes()
    (source / manifests.SUMS).unlink()
    with (source / "config.json").open("a") as out:
        out.write("\n")
    assert (first / "config.json").read_bytes() == before
    second = fetch(run_module, source, root)
    assert second["changed"] and second["path"] != str(first)
    assert "has changed" in second["reasons"][0]
    assert len(visible(root)) == 2


def test_a_touched_but_equal_source_changes_nothing(run_module: Run, source: Path, tmp_path: Path) -> None:
    root = tmp_path / "models"
    fetch(run_module, source, root)
    os.utime(source / SHARD)
    assert not fetch(run_module, source, root)["changed"]


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda s: flip(s / SHARD, -5000), "is damaged: sha256 is"),
        (lambda s: cut(s / SHARD), "its header describes"),
        (lambda s: (s / SHARD).write_bytes(b""), "is empty; fetch it again"),
        (lambda s: (s / SHARD).write_bytes(b"\0" * 4), "too short for a safetensors file"),
        (lambda s: (s / SHARD).write_bytes(b"\xff" * 100), "header of"),
        (lambda s: (s / SHARD).unlink(), "no shard that is there"),
        (lambda s: (s / manifests.INDEX).write_text("{}"), "is not an index"),
        (lambda s: (s / manifests.SUMS).write_text("no sum\n"), "line 1 is not"),
        (lambda s: (s / manifests.SUMS).write_text("0" * 64 + "  gone.json\n"), "which is not in"),
        (lambda s: (s / "link").symlink_to("/nowhere"), "neither a file nor a link"),
        (lambda s: shutil.rmtree(s), "does not exist on this host"),
    ],
)
def test_a_damaged_source_is_refused_and_nothing_published(
    run_module: Run, source: Path, tmp_path: Path, spoil: Callable[[Path], Any], words: str
) -> None:
    spoil(source)
    result = fetch(run_module, source, tmp_path / "models")
    assert result["failed"] and words in result["msg"], result["msg"]
    assert visible(tmp_path / "models") == []


@pytest.mark.parametrize("how", ["flip", "cut", "missing"])
def test_a_damaged_published_model_is_found_and_replaced(
    run_module: Run, source: Path, tmp_path: Path, how: str
) -> None:
    root = tmp_path / "models"
    folder = Path(fetch(run_module, source, root)["path"])
    shard = folder / SHARD
    if how == "missing":
        shard.unlink()
    else:
        shard.chmod(0o644)
        (flip(shard, 5000) if how == "flip" else cut(shard))
    info = run_module("weights_info", {"name": "demo", "models_root": str(root)})
    assert info["failed"] and SHARD in info["msg"] and "run deploy.yml --tags fetch" in info["msg"]
    result = fetch(run_module, source, root)
    assert result["changed"] and SHARD in result["reasons"][0]
    assert visible(root) == [folder.name]
    whole(folder, source)


def test_full_finds_a_flip_that_kept_size_and_mtime(run_module: Run, source: Path, tmp_path: Path) -> None:
    root = tmp_path / "models"
    shard = Path(fetch(run_module, source, root)["path"]) / SHARD
    stamp = shard.stat().st_mtime_ns
    flip(shard, 9000)
    os.utime(shard, ns=(stamp, stamp))
    args = {"name": "demo", "models_root": str(root), "required": False}
    assert run_module("weights_info", args)["problems"] == []
    assert "other content" in run_module("weights_info", {**args, "full": True})["problems"][0]


def test_check_mode_writes_nothing(run_module: Run, source: Path, tmp_path: Path) -> None:
    result = fetch(run_module, source, tmp_path / "models", check=True)
    assert result["changed"] and "demo@<revision>" in result["diff"]["after"]
    assert not (tmp_path / "models").exists()
    cut(source / SHARD)
    assert fetch(run_module, source, tmp_path / "models", check=True)["failed"]


def test_a_full_disk_is_said_before_the_first_byte(
    run_module: Run, source: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(staging, "free_bytes", lambda path: 1 << 20)
    result = fetch(run_module, source, tmp_path / "models")
    assert result["failed"] and "not enough disk" in result["msg"]
    assert "2.8 MiB needed, 1.0 MiB free" in result["msg"] and "set models_root" in result["msg"]


@pytest.mark.skipif(os.getuid() != 0, reason="mounting a small file system needs root")
def test_a_disk_that_fills_up_on_the_way_leaves_nothing_visible(
    source: Path, tmp_path: Path, run_module: Run, monkeypatch: Any
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1500k", "tmpfs", small], check=True)
    try:
        monkeypatch.setattr(staging, "free_bytes", lambda path: 1 << 40)  # another process takes the space meanwhile
        result = fetch(run_module, source, small / "models")
        assert result["failed"] and "No space left on device /" in result["msg"], result
        assert visible(small / "models") == []
        subprocess.run(["mount", "-o", "remount,size=20m", small], check=True)
        assert fetch(run_module, source, small / "models")["changed"]
    finally:
        subprocess.run(["umount", small], check=True)


def test_killed_at_any_moment_the_next_run_heals(source: Path, tmp_path: Path, run_module: Run, request: Any) -> None:
    """20 rounds of kill -9 at a random moment of a model of 40 MB; what is visible is whole, always."""
    big = numpy.random.default_rng(1).integers(0, 255, 40_000_000, dtype=numpy.uint8)
    (source / manifests.SUMS).unlink()
    (source / manifests.INDEX).unlink()
    save_file({"big": big}, source / "big.safetensors")
    rng = random.Random(7)
    killed = 0
    for _ in range(request.config.getoption("--rounds")):
        root = tmp_path / "models"
        process = start_module(
            "weights_fetch", {"name": "demo", "models_root": str(root), "sources": {"directory": {"path": str(source)}}}
        )
        # Start-up takes about half a second; the copy and its sums a little less.
        time.sleep(rng.uniform(0.2, 1.2))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            killed += 1
        process.communicate()
        for name in visible(root):
            whole(root / name, source)
        if visible(root) and rng.random() < 0.7:
            shutil.rmtree(root)
    assert killed >= 5
    result = fetch(run_module, source, tmp_path / "models")
    assert not result["failed"]
    whole(Path(result["path"]), source)
    assert len(visible(tmp_path / "models")) == 1


def test_two_processes_racing_publish_once(source: Path, tmp_path: Path) -> None:
    args = {"name": "demo", "models_root": str(tmp_path / "models"), "sources": {"directory": {"path": str(source)}}}
    both = [start_module("weights_fetch", args) for _ in range(2)]
    results = [json.loads(p.communicate(timeout=60)[0].splitlines()[-1]) for p in both]
    assert {r["path"] for r in results} == {results[0]["path"]}
    whole(Path(results[0]["path"]), source)
    assert len(visible(tmp_path / "models")) == 1


def test_sources_that_are_unknown_or_not_allowed_are_named(run_module: Run, tmp_path: Path) -> None:
    args = {"name": "q", "models_root": str(tmp_path), "sources": {"s3": {"repo": "a/b"}}}
    result = run_module("weights_fetch", args)
    assert result["failed"] and "has the sources s3; known are directory, mirror" in result["msg"]
    args |= {"sources": {"modelscope": {"repo": "a/b"}}, "order": ["mirror"]}
    result = run_module("weights_fetch", args)
    assert result["failed"] and "weights_sources allows mirror" in result["msg"]


def test_hub_cache_links_count_as_files_and_hidden_folders_do_not(
    run_module: Run, source: Path, tmp_path: Path
) -> None:
    blob = tmp_path / "blob"
    (source / "config.json").rename(blob)
    (source / "config.json").symlink_to(blob)
    (source / ".cache").mkdir()
    (source / ".cache/x").write_text("x")
    folder = Path(fetch(run_module, source, tmp_path / "models")["path"])
    assert not (folder / "config.json").is_symlink() and not (folder / ".cache").exists()


good_tensors = st.dictionaries(
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=8).filter(
        lambda n: n != "__metadata__"
    ),
    st.tuples(st.sampled_from(["float16", "float32", "uint8", "int64"]), st.lists(st.integers(0, 4), max_size=3)),
    max_size=4,
)


@example(tensors={"0": ("float16", []), "00": ("float16", [])}, mutation=(76, 1), short=0)  # a type that nobody knows
@given(
    tensors=good_tensors,
    mutation=st.none() | st.tuples(st.integers(0, 1 << 12), st.integers(1, 255)),
    short=st.integers(0, 20),
)
def test_header_reader_agrees_with_the_safetensors_library(
    tmp_path_factory: Any, tensors: Any, mutation: Any, short: int
) -> None:
    """On good files both read the same; what the library refuses is refused here too, and never by another exception."""
    path = tmp_path_factory.mktemp("s") / "x.safetensors"
    save_file({n: numpy.zeros(shape, dtype) for n, (dtype, shape) in tensors.items()}, path)
    data = bytearray(path.read_bytes())
    if mutation:
        data[mutation[0] % len(data)] ^= mutation[1]
    del data[len(data) - short :]
    path.write_bytes(data)
    try:
        with safe_open(path, "numpy") as file:
            names = set(file.keys())
    except (SafetensorError, OSError, ValueError):
        names = None
    try:
        header = set(manifests.read_header(str(path))) - {"__metadata__"}
    except Refusal:
        header = None
    if names is None:
        assert header is None or _lenient(path)
    elif mutation is None or header is not None:
        assert header == names


def _lenient(path: Path) -> bool:
    """The library is stricter than a reader of shapes need be: in keys of a tensor's entry and in types that it doesn't know."""
    entries = [e for n, e in manifests.read_header(str(path)).items() if n != "__metadata__"]
    odd = any(set(e) != {"dtype", "shape", "data_offsets"} or e["dtype"] not in headers.DTYPE_BITS for e in entries)
    return odd or not all(isinstance(v, str) for v in manifests.read_header(str(path)).get("__metadata__", {}).values())
