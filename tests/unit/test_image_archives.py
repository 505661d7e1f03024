"""Images from archives: through the controller, from a file, and archives that are not what they say."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import engine
import pytest
from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.images import archives, reference
from images import SHA, Arguments, Run, Shelf, arguments_fixture, kill_each, needs_engine, shelf_fixture
from ports import free_port

shelf = pytest.fixture(scope="module")(shelf_fixture)


arguments = pytest.fixture(arguments_fixture)


@needs_engine
def test_an_archive_serves_where_there_is_no_registry(
    run_module: Run, shelf: Shelf, arguments: Arguments, tmp_path: Path
) -> None:
    image = engine.import_image(shelf.client, engine.tiny("from a file"), "127.0.0.1:1/team/file:1")
    archive = tmp_path / "image.tar"
    archive.write_bytes(b"".join(image.save(named=True)))
    shelf.client.images.remove(image.id, force=True)
    given = {"path": str(archive), "id": image.id}
    result = run_module("container_image", arguments("127.0.0.1:1/team/file:1", archive=given))
    assert result["changed"] and result["id"] == image.id and result["source"] == str(archive), result
    assert not run_module("container_image", arguments("127.0.0.1:1/team/file:1", archive=given))["changed"]
    shelf.forget()
    result = run_module("container_image", arguments("127.0.0.1:1/team/file:1", archive={**given, "id": SHA}))
    assert result["failed"] and f"wanted is {SHA}" in result["msg"]


@pytest.fixture
def relay(shelf: Shelf, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Arguments of image_archive, on a controller that has no image yet."""
    shelf.forget()

    def make(name: str = "", **options: Any) -> dict[str, Any]:
        name = name or f"{shelf.registry}/team/demo:1"
        return {"name": name, "arch": "x86_64", "folder": str(tmp_path / "relay"), **options}

    return make


def sent(relay_folder: Path, to: Path) -> Path:
    """What weights_fetch would have brought to a host."""
    shutil.copytree(relay_folder, to)
    return to


@needs_engine
def test_an_image_goes_through_the_controller(
    run_module: Run, shelf: Shelf, relay: Arguments, arguments: Arguments, tmp_path: Path
) -> None:
    saved = run_module("image_archive", relay())
    assert saved["changed"] and saved["digest"] == shelf.digests["demo"], saved
    assert not any("/team/demo" in str(one.attrs.get("RepoDigests")) for one in shelf.client.images.list())
    assert not run_module("image_archive", relay())["changed"]

    archives = sent(tmp_path / "relay", tmp_path / "archives")
    down = f"127.0.0.1:{free_port()}"
    look = run_module("container_image", arguments(look=True, arch="x86_64"))
    assert look["pending"] and saved["path"].startswith(f"{tmp_path}/relay/{look['image']['key']}@")
    given = arguments(arch="x86_64", sent=str(archives), mirrors=[down])
    loaded = run_module("container_image", given)
    assert loaded["changed"] and loaded["source"] == "the controller" and loaded["id"] == saved["id"], loaded
    assert loaded["digest"] == saved["digest"] and loaded["failed_places"] == []
    image = shelf.client.images.get(loaded["id"])
    assert image.tags == [f"{shelf.registry}/team/demo:1"]  # a clean-up of what has no name leaves it
    assert list(archives.glob("team-demo*")) == [] and list(archives.glob(".refs/*.json")) == []

    second = run_module("container_image", given)
    assert not second["changed"] and second["id"] == loaded["id"] and second["digest"] == loaded["digest"]
    there = run_module("container_image", arguments(look=True, arch="x86_64"))
    assert "pending" not in there and there["id"] == loaded["id"]


@needs_engine
def test_the_controller_saves_the_digest_that_hosts_have_and_their_platform(
    run_module: Run, shelf: Shelf, relay: Arguments, tmp_path: Path
) -> None:
    """The tag has moved since the first host resolved it; and a host of another architecture than the controller."""
    old = shelf.digests["demo"]
    shelf.push(f"{shelf.registry}/team/demo:1", "moved on")
    found = run_module("image_archive", relay(digest=old))
    assert found["changed"] and found["digest"] == old, found
    newer = run_module("image_archive", relay())
    assert not newer["changed"] and newer["digest"] == old  # a host that has no record takes what the others have
    shelf.digests["demo"] = shelf.push(f"{shelf.registry}/team/demo:1", "demo")

    name = f"{shelf.registry}/team/arm:2"
    shelf.push(name, "for arm", "arm64")
    refused = run_module("image_archive", relay(name))
    assert refused["failed"] and "is built for arm64" in refused["msg"], refused
    assert run_module("image_archive", relay(name, arch="aarch64"))["changed"]


@needs_engine
def test_a_controller_without_an_engine_takes_a_file(
    run_module: Run,
    shelf: Shelf,
    relay: Arguments,
    arguments: Arguments,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image = engine.import_image(shelf.client, engine.tiny("from a file"), "127.0.0.1:1/team/file:1")
    archive = tmp_path / "image.tar"
    archive.write_bytes(b"".join(image.save(named=True)))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    refused = run_module("image_archive", relay())
    assert (
        refused["failed"]
        and "start one on the controller, or give the image's file in image_archives" in refused["msg"]
    )
    name = "127.0.0.1:1/team/file:1"
    for row, words in (
        ({"path": str(archive), "id": SHA}, f"holds {image.id}, wanted is {SHA}"),
        ({"path": f"{tmp_path}/none.tar", "id": SHA}, "none.tar is not on this machine"),
        ({"path": __file__, "id": SHA}, "is no archive that docker save makes"),
    ):
        refused = run_module("image_archive", relay(name, archive=row))
        assert refused["failed"] and words in refused["msg"], refused["msg"]
    given = relay(name, archive={"path": str(archive), "id": image.id})
    found = run_module("image_archive", given)
    assert found["changed"] and found["id"] == image.id and found["digest"] == ""
    assert not run_module("image_archive", given)["changed"]

    monkeypatch.delenv("DOCKER_HOST")
    shelf.client.images.remove(image.id, force=True)
    row = {"path": str(archive), "id": image.id}
    taken = arguments(name, arch="x86_64", sent=str(sent(tmp_path / "relay", tmp_path / "archives")), archive=row)
    archive.unlink()  # it is the controller's, not the host's
    loaded = run_module("container_image", taken)
    assert loaded["changed"] and loaded["id"] == image.id and loaded["digest"] is None
    assert not run_module("container_image", taken)["changed"]
    look = run_module("container_image", {**taken, "archive": {**row, "id": SHA}, "look": True})
    assert look["pending"]  # the operator has made another one


@needs_engine
def test_an_archive_is_made_whole_whatever_ends_its_making(
    run_module: Run, shelf: Shelf, relay: Arguments, tmp_path: Path
) -> None:
    kill_each("image_archive", relay(), (0.4, 0.6, 0.8, 1.0))
    found = run_module("image_archive", relay())
    assert not found["failed"] and found["digest"] == shelf.digests["demo"]
    assert sorted(path.name for path in Path(found["path"]).glob("[!.]*")) == ["image.json", "image.tar"]
    assert list((tmp_path / "relay").glob(".*partial")) == []
    (Path(found["path"]) / "image.tar").unlink()  # somebody tidied up
    again = run_module("image_archive", relay())
    assert again["changed"] and Path(again["path"], "image.tar").is_file()


@needs_engine
def test_an_archive_that_is_not_what_it_says_is_not_taken(
    run_module: Run, shelf: Shelf, relay: Arguments, arguments: Arguments, tmp_path: Path
) -> None:
    run_module("image_archive", relay())
    archives = sent(tmp_path / "relay", tmp_path / "archives")
    tar = next(archives.glob("*@*/image.tar"))
    tar.chmod(0o644)
    other = engine.import_image(shelf.client, engine.tiny("another one"), "127.0.0.1:1/team/evil:1")
    tar.write_bytes(b"".join(other.save(named=True)))
    shelf.client.images.remove(other.id, force=True)
    result = run_module("container_image", arguments(arch="x86_64", sent=str(archives)))
    assert (
        result["changed"] and result["source"] != "the controller"
    )  # its size says that it is another: the registry serves
    shelf.forget()


def tar_with(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, data in members.items():
            about = tarfile.TarInfo(name)
            about.size = len(data)
            tar.addfile(about, io.BytesIO(data))
    return path


INDEX_OF_ONE = json.dumps([{"Config": "blobs/sha256/" + "a" * 64, "Layers": ["layer"]}]).encode()


def test_an_archive_that_inflates_beyond_the_disk_is_refused_before_it_is_loaded(tmp_path: Path) -> None:
    """Whether the archive is packed, or a layer in it, in one part or in several."""
    zeros = bytes(60 << 20)
    packed = tar_with(tmp_path / "a.tar.gz", {"manifest.json": INDEX_OF_ONE, "layer": zeros}, "w:gz")
    layer = tar_with(tmp_path / "b.tar", {"manifest.json": INDEX_OF_ONE, "layer": gzip.compress(zeros)})
    parts = tar_with(tmp_path / "c.tar", {"manifest.json": INDEX_OF_ONE, "layer": gzip.compress(zeros[: 30 << 20]) * 2})
    for path in (packed, layer, parts):
        assert path.stat().st_size < 1 << 20
        with pytest.raises(Refusal, match=r"inflate.*40.0 MiB"):
            archives.unpacked(str(path), 40 << 20)
        assert 60 << 20 <= archives.unpacked(str(path), 70 << 20) < 61 << 20
    with pytest.raises(Refusal, match="inflates to more than"):
        archives.check_archive(str(packed), "sha256:" + "a" * 64, 40 << 20)

    class Client:
        def info(self) -> dict[str, str]:
            return {"DockerRootDir": str(tmp_path)}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(archives, "free_bytes", lambda path: 40 << 20)
        with pytest.raises(Refusal, match="inflate"):  # and the engine, which isn't there, is not asked
            archives.load(Client(), reference.parse("a/b:1"), str(layer), "sha256:" + "a" * 64)


@pytest.mark.parametrize(
    "index", [b"[" * 100_000, b"3", b"null", b"[1, 2]", b'{"manifests": 5}', b'{"manifests": [[]]}', b"\xff", b"", b"9" * 9999],
)  # fmt: skip
def test_an_archive_s_index_of_any_form_is_refused_in_words(tmp_path: Path, index: bytes) -> None:
    path = tar_with(tmp_path / "x.tar", {"manifest.json": index})
    with pytest.raises(Refusal, match="is no archive that docker save makes"):
        archives.ids_in(str(path))


def test_an_archive_cut_short_or_of_another_kind_is_refused_in_words(tmp_path: Path) -> None:
    whole = tar_with(
        tmp_path / "x.tar.gz", {"layer": os.urandom(50_000), "manifest.json": INDEX_OF_ONE}, "w:gz"
    ).read_bytes()
    for number, data in enumerate((whole[:30_000], whole[:9], b"\x1f\x8b" + b"x" * 99, b"x" * 5000)):
        path = tmp_path / f"{number}.tar"
        path.write_bytes(data)
        with pytest.raises(Refusal, match="is no archive that docker save makes"):
            archives.check_archive(str(path), "sha256:" + "b" * 64)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(Refusal, match="it is no file"):
        archives.ids_in(str(tmp_path / "fifo"))


@needs_engine
def test_of_several_images_in_an_archive_the_wanted_one_is_taken(
    run_module: Run, shelf: Shelf, arguments: Arguments, tmp_path: Path
) -> None:
    """`docker save` of two images, as it is and packed anew from the folder that it was unpacked into."""
    names = [f"127.0.0.1:1/team/{name}:1" for name in ("first", "second")]
    made = [engine.import_image(shelf.client, engine.tiny(name), name) for name in names]
    saved, again, folder = tmp_path / "saved.tar", tmp_path / "again.tar", tmp_path / "unpacked"
    subprocess.run(["docker", "save", "-o", str(saved), *names], check=True)
    folder.mkdir()
    subprocess.run(["tar", "-xf", str(saved), "-C", str(folder)], check=True)
    subprocess.run(["tar", "-cf", str(again), "-C", str(folder), "."], check=True)
    for path in (saved, again):
        for name, image in zip(names, made, strict=True):
            shelf.forget()
            given = {"path": str(path), "id": image.id}
            result = run_module("container_image", arguments(name, archive=given, record=str(tmp_path / "records")))
            assert result["changed"] and result["id"] == image.id, (path, result)
    shelf.forget()


@needs_engine
@pytest.mark.parametrize("sent_by_controller", [False, True], ids=["file", "controller"])
def test_an_archive_that_the_engine_refuses_is_told_with_what_to_do(
    run_module: Run,
    shelf: Shelf,
    relay: Arguments,
    arguments: Arguments,
    tmp_path: Path,
    sent_by_controller: bool,
) -> None:
    name = "127.0.0.1:1/team/hurt:1"
    image = engine.import_image(shelf.client, engine.tiny("hurt"), name)
    with tarfile.open(fileobj=io.BytesIO(b"".join(image.save(named=True)))) as tar:
        files = {one.name: tar.extractfile(one).read() for one in tar.getmembers() if one.isreg()}  # type: ignore[union-attr]
    shelf.forget()
    layer = json.loads(files["manifest.json"])[0]["Layers"][0]
    hurt = files[layer][:600] + b"!" + files[layer][601:]
    forms = {
        "damaged": ({**files, layer: hurt}, "the archive is damaged: make it again"),
        "lost": ({key: data for key, data in files.items() if key != layer}, "the archive lacks this file"),
    }
    for form, (members, words) in forms.items():
        given: dict[str, Any] = {"path": str(tar_with(tmp_path / f"{form}.tar", members)), "id": image.id}
        more: dict[str, Any] = {"archive": given}
        if sent_by_controller:
            assert run_module("image_archive", relay(name, archive=given, folder=str(tmp_path / form)))["changed"]
            more.update(arch="x86_64", sent=str(tmp_path / form))
        result = run_module("container_image", arguments(name, **more))
        assert result["failed"] and words in result["msg"] and "unexpected" not in result["msg"], result["msg"]


def blob(members: dict[str, bytes], about: Any) -> str:
    data = json.dumps(about).encode()
    found = hashlib.sha256(data).hexdigest()
    members["blobs/sha256/" + found] = data
    return "sha256:" + found


def test_an_image_of_an_archive_has_all_ids_that_engines_know_it_by(tmp_path: Path) -> None:
    """Its configuration's, its manifest's, and that of the index of its platforms; another image's are not among them."""
    members: dict[str, bytes] = {"blobs/sha256/" + "f" * 64: b"{[", "blobs/sha256/" + "e" * 64: b'{"manifests": 3}'}
    configs = [blob(members, {"architecture": "amd64", "number": number}) for number in range(2)]
    manifests = [blob(members, {"config": {"digest": config}, "layers": []}) for config in configs]
    index = blob(members, {"manifests": [{"digest": manifests[1]}]})
    members["index.json"] = json.dumps({"manifests": [{"digest": manifests[0]}, {"digest": index}]}).encode()
    rows = [{"Config": "blobs/sha256/" + config[7:], "Layers": []} for config in configs]
    members["manifest.json"] = json.dumps(rows).encode()
    path = str(tar_with(tmp_path / "x.tar", members))
    for one in (configs[0], manifests[0]):
        assert set(archives.check_archive(path, one)) == {configs[0], manifests[0]}
    for one in (configs[1], manifests[1], index):
        assert set(archives.check_archive(path, one)) == {configs[1], manifests[1], index}
    with pytest.raises(Refusal, match=r"holds .*, wanted is"):
        archives.check_archive(path, SHA)


def test_what_is_no_archive_is_told_in_one_line_with_its_remedy(tmp_path: Path) -> None:
    """tarfile tells its attempts in five lines; and a link of its index to itself is no index."""
    forms = {
        b"\x28\xb5\x2f\xfd" + b"x" * 999: r"is packed with zstd, .*; unpack it \(zstd -d\)",
        b"<html>404</html>" * 99: r"it is no tar, .* begins with b'<html>404</html>'\); make it again",
        b"": r"it is empty\); make it again",
    }
    for data, words in forms.items():
        path = tmp_path / "x.tar"
        path.write_bytes(data)
        with pytest.raises(Refusal, match=words) as told:
            archives.ids_in(str(path))
        assert "\n" not in str(told.value)
    link = tarfile.TarInfo("manifest.json")
    link.type, link.linkname = tarfile.SYMTYPE, "manifest.json"
    with tarfile.open(tmp_path / "link.tar", "w") as tar:
        tar.addfile(link)
    with pytest.raises(Refusal, match="is no archive that docker save makes"):
        archives.ids_in(str(tmp_path / "link.tar"))
