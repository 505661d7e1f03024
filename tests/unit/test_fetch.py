"""weights_fetch from hubs: the clients' real calls, our bytes, every failure that a hub or a network has."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.serving.weights import manifests
from conftest import start_module
from fetched import KINDS, Run, arguments, fetch, model_fixture, same_as, visible
from hub import COMMIT, Hub

SHARD = "model-00002-of-00002.safetensors"
TOKEN = "hf_a-secret-that-must-not-be-seen"


model = pytest.fixture(scope="module")(model_fixture)


@pytest.mark.parametrize("kind", KINDS)
def test_fetches_verified_and_a_second_run_asks_nothing(run_module: Run, hub: Hub, tmp_path: Path, kind: str) -> None:
    first = fetch(run_module, hub, tmp_path, kind)
    assert not first["failed"], first
    assert first["changed"] and first["source"] == kind and first["commit"] == COMMIT
    assert visible(tmp_path) == [f"m@{COMMIT[:12]}"]
    same_as(hub.folder, Path(first["path"]))
    manifest = json.loads((Path(first["path"]) / manifests.MANIFEST).read_text())
    assert manifest["source"]["repo"] == "org/model" and manifest["clients"] and manifest["published"]
    hub.requests.clear()
    second = fetch(run_module, hub, tmp_path, kind)
    assert not second["changed"] and second["identity"] == first["identity"] and not hub.requests
    assert not list((tmp_path / ".refs").glob("*.progress*"))


def test_a_model_is_the_same_whichever_hub_it_came_from(run_module: Run, hub: Hub, tmp_path: Path) -> None:
    found = [fetch(run_module, hub, tmp_path / kind, kind)["identity"] for kind in KINDS]
    assert found[0] == found[1]


def test_another_revision_reuses_equal_content(run_module: Run, hub: Hub, tmp_path: Path, model: Path) -> None:
    """A new commit that leaves the weights alone costs no transfer of them."""
    first = fetch(run_module, hub, tmp_path)
    published = Path(first["path"])
    published.rename(published.with_name("m@000000000000"))
    hub.sent.clear()
    second = fetch(run_module, hub, tmp_path)
    assert second["changed"] and {"model-00001-of-00002.safetensors", SHARD} <= set(second["reused"])
    assert not any(name.endswith(".safetensors") for name in hub.sent)
    same_as(model, Path(second["path"]))


@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_bit_of_equal_size_is_never_published(run_module: Run, hub: Hub, tmp_path: Path, kind: str) -> None:
    hub.trouble.flip = SHARD
    result = fetch(run_module, hub, tmp_path, kind)
    assert result["failed"] and f"'{SHARD}' arrived damaged twice" in result["msg"] and visible(tmp_path) == []
    hub.trouble.flip = ""
    hub.sent.clear()
    assert fetch(run_module, hub, tmp_path, kind)["changed"]
    assert "model-00001-of-00002.safetensors" not in hub.sent  # what was good is not fetched again


def test_a_flipped_bit_of_a_small_file_is_caught_by_its_git_digest(run_module: Run, hub: Hub, tmp_path: Path) -> None:
    hub.trouble.flip = "config.json"
    result = fetch(run_module, hub, tmp_path)
    assert result["failed"] and "'config.json' arrived damaged twice" in result["msg"]


def test_one_damaged_transfer_is_repeated(run_module: Run, hub: Hub, tmp_path: Path) -> None:
    hub.trouble.flip, hub.trouble.flips = "config.json", 1
    assert fetch(run_module, hub, tmp_path)["changed"]
    same_as(hub.folder, tmp_path / f"m@{COMMIT[:12]}")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "trouble",
    [
        {"cut_after": 300_001, "cuts": 9},
        {"stall_after": 300_001, "stalls": 2},
        {"status": 429, "statuses": 3, "retry_after": "1"},
        {"status": 503, "statuses": 2},
        {"no_ranges": True},
        {"no_ranges": True, "cut_after": 700_001, "cuts": 1},
    ],
    ids=["cut", "stall", "429", "503", "no ranges", "no ranges and cut"],
)
def test_troubles_that_pass_are_overcome(
    run_module: Run, hub: Hub, tmp_path: Path, kind: str, trouble: dict[str, Any]
) -> None:
    vars(hub.trouble).update(trouble)
    result = fetch(run_module, hub, tmp_path, kind)
    assert not result["failed"], result
    same_as(hub.folder, Path(result["path"]))
    assert hub.trouble.cuts == hub.trouble.stalls == hub.trouble.statuses == 0


def test_a_cut_connection_goes_on_where_it_was(run_module: Run, hub: Hub, tmp_path: Path) -> None:
    vars(hub.trouble).update(cut_after=300_001, cuts=9)
    fetch(run_module, hub, tmp_path)
    size = sum((hub.folder / name).stat().st_size for name in hub.names())
    assert sum(hub.sent.values()) <= size + 64


def test_retry_after_holds_for_all_connections(run_module: Run, hub: Hub, tmp_path: Path) -> None:
    vars(hub.trouble).update(status=429, statuses=1, retry_after="2")
    began = time.monotonic()
    assert fetch(run_module, hub, tmp_path)["changed"]
    assert time.monotonic() - began >= 2
    vars(hub.trouble).update(status=429, statuses=99, retry_after="7200")
    result = fetch(run_module, hub, tmp_path / "2")
    assert result["failed"] and "asks to wait 7200 s (limit 600 s)" in result["msg"]


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        ({"status": 500, "statuses": 999}, "3 times in a row without progress"),
        ({"status": 403, "statuses": 999}, "HTTP 403: the token may not read it"),
        ({"listed": {SHARD: {"size": 4_000_000}}}, "its server has"),
        ({"extra": [{"path": "gone.txt", "size": 5, "sha256": "0" * 64}]}, "HTTP 404"),
        ({"extra": [{"path": "../escape", "size": 5, "sha256": "0" * 64}]}, "'../escape', which can't be a file of a model"),
        ({"extra": [{"path": "/etc/cron.d/x", "size": 5, "sha256": "0" * 64}]}, "can't be a file of a model"),
        ({"extra": [{"path": "a/../../b", "size": 5, "sha256": "0" * 64}]}, "can't be a file of a model"),
        ({"extra": [{"path": "config.json/x", "size": 5, "sha256": "0" * 64}]}, "as a file and as a folder"),
        ({"extra": [{"path": ".manifest.json", "size": 5, "sha256": "0" * 64}]}, "can't be a file of a model"),
        ({"api_status": 404}, "check repo and revision in models.yml"),
        ({"redirect": "ftp://127.0.0.1"}, "redirect"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", KINDS)
def test_troubles_that_stay_are_named_and_nothing_is_published(
    run_module: Run, hub: Hub, tmp_path: Path, kind: str, trouble: dict[str, Any], words: str
) -> None:
    vars(hub.trouble).update(trouble)
    result = fetch(run_module, hub, tmp_path / "models", kind)
    assert result["failed"] and words in result["msg"], result["msg"]
    assert f"{kind} org/model: " in result["msg"]
    assert visible(tmp_path / "models") == [] and not (tmp_path / "escape").exists()


def test_a_symbolic_link_in_a_listing_is_refused(run_module: Run, hub: Hub, tmp_path: Path) -> None:
    hub.trouble.extra = [{"path": "link", "size": 9, "sha256": "0" * 64, "type": "symlink"}]
    result = fetch(run_module, hub, tmp_path, "modelscope")
    assert result["failed"] and "'link' of type 'symlink'" in result["msg"]


def test_a_revision_that_moves_meanwhile_is_noticed(run_module: Run, hub: Hub, tmp_path: Path) -> None:
    hub.trouble.moved = True
    result = fetch(run_module, hub, tmp_path)
    assert result["failed"] and "the revision moved while it was fetched" in result["msg"]


def test_a_branch_without_a_commit_is_named_by_its_listing(run_module: Run, hub: Hub, tmp_path: Path) -> None:
    hub.trouble.no_commit = True
    result = fetch(run_module, hub, tmp_path, "modelscope")
    assert result["changed"] and result["commit"].startswith("listing-")


def test_the_next_source_serves_and_goes_on_with_what_is_there(run_module: Run, hub: Hub, tmp_path: Path) -> None:
    other = Hub(hub.folder)
    try:
        vars(hub.trouble).update(flip=SHARD)
        sources = {kind: {"repo": "org/model", "revision": None} for kind in KINDS}
        options = {"sources": sources, "order": list(KINDS), "huggingface_endpoint": other.url}
        result = fetch(run_module, hub, tmp_path, **options)
        assert result["changed"] and result["source"] == "huggingface"
        assert "modelscope org/model: file" in result["failed_sources"][0]
        assert "model-00001-of-00002.safetensors" not in other.sent
        same_as(hub.folder, Path(result["path"]))
    finally:
        other.close()


def test_the_token_is_for_the_hub_alone_and_seen_nowhere(run_module: Run, hub: Hub, tmp_path: Path) -> None:
    """A redirect to another host never gets it, and no result, manifest or record has it."""
    storage = Hub(hub.folder)
    try:
        hub.token, hub.trouble.redirect = TOKEN, storage.url
        refused = fetch(run_module, hub, tmp_path / "x")
        assert refused["failed"] and "set huggingface_token" in refused["msg"]
        for kind in KINDS:
            result = fetch(run_module, hub, tmp_path / kind, kind, **{f"{kind}_token": TOKEN})
            assert result["changed"], result
            assert TOKEN not in json.dumps(result)
            for path in (tmp_path / kind).rglob("*"):
                assert not path.is_file() or TOKEN.encode() not in path.read_bytes()
        assert storage.requests and not any("authorization" in {k.lower() for k in h} for _, _, h in storage.requests)
    finally:
        storage.close()


def test_pins(run_module: Run, hub: Hub, tmp_path: Path) -> None:
    result = fetch(run_module, hub, tmp_path, require_pin=True, revision="main")
    assert result["failed"] and "its revision is main, and pins are required" in result["msg"]
    assert fetch(run_module, hub, tmp_path, revision="main")["changed"]
    assert not fetch(run_module, hub, tmp_path, revision="main")["changed"]
    assert not fetch(run_module, hub, tmp_path, revision=COMMIT, require_pin=True)["changed"]
    result = fetch(run_module, hub, tmp_path, revision="f" * 40)
    assert result["failed"] and "check repo and revision" in result["msg"]


def test_check_mode_lists_and_writes_nothing(run_module: Run, hub: Hub, tmp_path: Path) -> None:
    result = fetch(run_module, hub, tmp_path / "models", check=True)
    assert (
        result["changed"] and COMMIT[:12] in result["diff"]["after"] and "from huggingface" in result["diff"]["after"]
    )
    assert not (tmp_path / "models").exists() and not hub.files_asked()


def test_a_mirror_serves_what_a_host_has_published(run_module: Run, hub: Hub, tmp_path: Path) -> None:
    fetch(run_module, hub, tmp_path / "a")
    mirror = Hub(tmp_path / "a")
    try:
        sources = {"mirror": {"url": mirror.url + "/raw", "revision": None}}
        result = fetch(run_module, hub, tmp_path / "b", sources=sources)
        assert result["changed"] and result["source"] == "mirror", result
        same_as(hub.folder, Path(result["path"]))
        (tmp_path / "a" / f"m@{COMMIT[:12]}" / "config.json").unlink()
        result = fetch(run_module, hub, tmp_path / "c", sources=sources)
        assert result["failed"] and "HTTP 404" in result["msg"]
    finally:
        mirror.close()


def test_an_unreachable_hub_says_what_to_check(run_module: Run, hub: Hub, tmp_path: Path) -> None:
    hub.close()
    for kind in KINDS:
        result = fetch(run_module, hub, tmp_path, kind)
        assert result["failed"] and "check the network, fetch_environment" in result["msg"]


def test_the_disk_is_checked_before_the_first_byte(
    run_module: Run, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ansible.module_utils.serving.weights import staging

    monkeypatch.setattr(staging, "free_bytes", lambda path: 1 << 20)
    result = fetch(run_module, hub, tmp_path)
    assert result["failed"] and "not enough disk" in result["msg"] and not hub.files_asked()


@pytest.mark.skipif(os.getuid() != 0, reason="mounting a small file system needs root")
@pytest.mark.parametrize("convert", [None, "float16"])
def test_a_disk_that_fills_up_on_the_way_leaves_nothing_visible(
    run_module: Run, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, convert: str | None
) -> None:
    from ansible.module_utils.serving.weights import staging

    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=5m", "tmpfs", small], check=True)
    try:
        monkeypatch.setattr(staging, "free_bytes", lambda path: 1 << 40)  # another process takes the space meanwhile
        result = fetch(run_module, hub, small / "models", convert=convert)
        assert result["failed"] and "No space left on device /" in result["msg"], result
        assert visible(small / "models") == []
        subprocess.run(["mount", "-o", "remount,size=40m", small], check=True)
        result = fetch(run_module, hub, small / "models", convert=convert)
        assert result["changed"], result
        assert result["identity"] == fetch(run_module, hub, tmp_path / "clean", convert=convert)["identity"]
    finally:
        subprocess.run(["umount", small], check=True)


def test_progress_can_be_read_while_it_runs(run_module: Run, hub: Hub, tmp_path: Path) -> None:
    hub.trouble.bytes_per_second = 1_000_000
    process = start_module("weights_fetch", arguments(hub, tmp_path))
    seen: list[dict[str, Any]] = []
    try:
        while process.poll() is None:
            info = run_module("weights_info", {"name": "m", "models_root": str(tmp_path), "required": False})
            if info["progress"]:
                seen.append(info["progress"])
            time.sleep(0.2)
    finally:
        process.kill()
    fetching = [p for p in seen if p["phase"] == "fetching" and p["done"]]
    assert fetching and fetching[-1]["total"] > 8_000_000 and fetching[-1]["rate"] > 0
    assert [p["done"] for p in fetching] == sorted(p["done"] for p in fetching)


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_of_what_is_left_out_never_come(run_module: Run, model: Path, tmp_path: Path, kind: str) -> None:
    """The index is read first, once; other forms are named in the result and in check mode, and not fetched."""
    folder = tmp_path / "model"
    subprocess.run(["cp", "-r", str(model), str(folder)], check=True)
    others = ["consolidated.safetensors", "original/consolidated.00.pth", "pytorch_model.bin", ".DS_Store"]
    for name in others:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x" * 70_000)
    hub = Hub(folder)
    try:
        check = fetch(run_module, hub, tmp_path / "models", kind, check=True)
        assert check["changed"] and not hub.sent.keys() & {SHARD, *others}
        hub.sent.clear()
        result = fetch(run_module, hub, tmp_path / "models", kind)
        assert result["changed"] and not hub.sent.keys() & set(others)
        assert hub.sent[manifests.INDEX] <= (folder / manifests.INDEX).stat().st_size + 64
        assert check["left_out"] == result["left_out"] and len(result["left_out"]) == 3
        same_as(model, Path(result["path"]))
        asked = {"include": ["original/*"], "exclude": ["extra/*"]}
        second = fetch(run_module, hub, tmp_path / "models", kind, **asked)
        assert second["changed"] and hub.sent["original/consolidated.00.pth"] == 70_000
        assert not (Path(second["path"]) / "extra").exists()
        assert not fetch(run_module, hub, tmp_path / "models", kind, **asked)["changed"]
    finally:
        hub.close()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda f: (f / "config.json").unlink(), "no config.json"),
        (lambda f: (f / "model-00001-of-00002.safetensors").unlink(), "no shard that is there"),
        (lambda f: (f / manifests.INDEX).unlink() or (f / SHARD).unlink(), "one of 2 shards"),
        (lambda f: (f / "Config.json").write_text("{}"), "the same name where case doesn't count"),
        (lambda f: (f / SHARD).write_text("version https://git-lfs.github.com/spec/v1\n"), "is a Git LFS pointer"),
        (
            lambda f: (f / "empty.txt").write_text("version https://git-lfs.github.com/spec/v1\n"),
            "is a Git LFS pointer",
        ),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_hub_has_no_whole_model(
    run_module: Run, model: Path, tmp_path: Path, kind: str, spoil: Callable[[Path], Any], words: str
) -> None:
    """Refused as a folder would be, before weights come wherever names and sizes tell."""
    folder = tmp_path / "model"
    subprocess.run(["cp", "-r", str(model), str(folder)], check=True)
    spoil(folder)
    hub = Hub(folder)
    try:
        result = fetch(run_module, hub, tmp_path / "models", kind)
        assert result["failed"] and words in result["msg"], result
        assert visible(tmp_path / "models") == []
        if (folder / "empty.txt").stat().st_size == 0:
            assert not any(sent > 1_000_000 for sent in hub.sent.values())
    finally:
        hub.close()
