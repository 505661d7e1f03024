"""container_image against a real engine and real registries, and what registries say when they refuse."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import shutil
import socket
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import engine
import pytest
from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.images import images as i
from ansible.module_utils.serving.progress import Progress
from conftest import start_module
from ports import free_port

Run = Callable[..., dict[str, Any]]
SHA = "sha256:" + "a" * 64
needs_engine = pytest.mark.skipif(
    not engine.installed() and not os.environ.get("CI"), reason="needs root, docker and docker-registry"
)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("alpine", ("", "alpine", "", "")),
        ("vllm/vllm-openai:v0.33.0", ("", "vllm/vllm-openai", "v0.33.0", "")),
        ("10.0.0.5:5000/a/b:1", ("10.0.0.5:5000", "a/b", "1", "")),
        ("localhost/a", ("localhost", "a", "", "")),
        (f"registry.example.org/a/b:1@{SHA}", ("registry.example.org", "a/b", "1", SHA)),
        ("host:5000/a", ("host:5000", "a", "", "")),
    ],
)
def test_references_are_read_in_parts(text: str, parts: tuple[str, ...]) -> None:
    assert tuple(i.parse(text)) == parts and i.parse(text).text == text


@pytest.mark.parametrize("text", ["", "A/b", "a b", "a@sha256:12", "a:b:c", "../a", "a//b:", "-a", "a;rm"])
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(Refusal, match="is no reference"):
        i.parse(text)


def test_mirrors_come_first_with_the_images_path() -> None:
    found = [p.text for p in i.places(i.parse("docker.io/a/b:1"), ["m:5000", "n.example/proxy"])]
    assert found == ["m:5000/a/b:1", "n.example/proxy/a/b:1", "docker.io/a/b:1"]


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("manifest for 127.0.0.1:5000/a:nope not found: manifest unknown: manifest unknown", "no such tag or digest"),
        ("Error response from daemon: manifest unknown: manifest unknown", "no such tag or digest"),
        ("no matching manifest for linux/arm64/v8 in the manifest list entries", "this host's architecture"),
        ("Get \"https://r/v2/\": no basic auth credentials", "image_username"),
        ("pull access denied for a, repository does not exist or may require 'docker login': denied", "image_username"),
        ("Get \"https://r/v2/\": x509: certificate signed by unknown authority", "/etc/docker/certs.d"),
        ("Get \"https://10.0.0.5:5000/v2/\": http: server gave HTTP response to HTTPS client", "insecure-registries"),
        ("write /var/lib/docker/tmp/GetImageBlob: no space left on device", "data-root"),
        ("toomanyrequests: You have reached your pull rate limit", "image_mirrors"),
        ("Get \"http://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused", "can't be reached"),
        ("Get \"https://r/v2/\": context deadline exceeded", "can't be reached"),
    ],
)  # fmt: skip
def test_what_registries_say_gets_a_remedy(said: str, remedy: str) -> None:
    assert remedy in i.explain(said)


def test_a_pull_that_the_disk_cannot_hold_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(i, "free_bytes", lambda path: 1_000_000)
    layers = i.Layers("/", lambda done, total: None)
    layers.event({"status": "Downloading", "id": "a", "progressDetail": {"current": 1, "total": 300_000}})
    with pytest.raises(Refusal, match="not enough disk for the image: about"):
        layers.event({"status": "Downloading", "id": "b", "progressDetail": {"current": 1, "total": 300_000}})


class Shelf:
    """An engine, a registry and two images in it: demo:1 and other:1."""

    def __init__(self, client: Any, registry: str, folder: Path) -> None:
        self.client, self.registry, self.folder = client, registry, folder
        self.digests = {name: self.push(f"{registry}/team/{name}:1", name) for name in ("demo", "other")}

    def push(self, name: str, text: str, arch: str = "") -> str:
        engine.import_image(self.client, engine.tiny(text), name, arch)
        said = subprocess.run(["docker", "push", name], check=True, capture_output=True, text=True).stdout
        self.client.images.remove(name, force=True)
        return "sha256:" + said.rpartition("sha256:")[2].split()[0]

    def forget(self) -> None:
        for image in self.client.images.list():
            if any("/team/" in name for name in [*image.attrs.get("RepoDigests", []), *image.tags]):
                self.client.images.remove(image.id, force=True)


def kill_each(module: str, given: dict[str, Any], seconds: tuple[float, ...]) -> None:
    """Start a module again and again, and end each run with SIGKILL after so many seconds."""
    for wait in seconds:
        process = start_module(module, given)
        time.sleep(wait)
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    folder = tmp_path_factory.mktemp("i")
    with engine.engine(folder) as client, engine.registry(folder / "registry") as registry:
        shelf = Shelf(client, registry, folder)
        yield shelf
        shelf.forget()


@pytest.fixture
def arguments(shelf: Shelf, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    shelf.forget()

    def make(name: str = "", **options: Any) -> dict[str, Any]:
        return {"name": name or f"{shelf.registry}/team/demo:1", "record": str(tmp_path / "images"), **options}

    return make


Arguments = Callable[..., dict[str, Any]]


@needs_engine
def test_a_tag_is_resolved_once_and_stays_where_it_was(run_module: Run, shelf: Shelf, arguments: Arguments) -> None:
    first = run_module("container_image", arguments(arch="x86_64"))
    assert first["changed"] and first["digest"] == shelf.digests["demo"], first
    moved = shelf.push(f"{shelf.registry}/team/demo:1", "moved")
    second = run_module("container_image", arguments())
    assert not second["changed"] and second["id"] == first["id"]
    shelf.forget()
    third = run_module("container_image", arguments())  # the image is gone, the record is not
    assert third["changed"] and third["digest"] == first["digest"] != moved
    shelf.digests["demo"] = shelf.push(f"{shelf.registry}/team/demo:1", "demo")


@needs_engine
def test_what_a_release_is_made_of(run_module: Run, shelf: Shelf, arguments: Arguments, tmp_path: Path) -> None:
    """As the modules that bring weights and image have left them; nothing is fetched for it."""
    (tmp_path / "source").mkdir()
    (tmp_path / "source/config.json").write_text("{}")
    models = {"models_root": str(tmp_path / "models")}
    fetched = {"name": "m", "sources": {"directory": {"path": str(tmp_path / "source")}}, **models}
    image = arguments(arch="x86_64")
    asked = {"model": "m", **models, "image": image.pop("name"), **image}
    assert "run deploy.yml --tags fetch" in run_module("artifact_info", asked)["msg"]
    assert run_module("weights_fetch", fetched)["changed"]
    assert "is not on this host; run deploy.yml --tags fetch" in run_module("artifact_info", asked)["msg"]
    nothing = run_module("artifact_info", {**asked, "required": False})
    assert nothing["image"] is None and nothing["weights"]["revision"], nothing

    brought = run_module("container_image", arguments())
    found = run_module("artifact_info", asked)
    assert found["changed"] is False and found["weights"]["path"].startswith(str(tmp_path / "models/m@"))
    assert found["image"] == {key: brought[key] for key in ("id", "digest", "user", "uid")}
    assert "is built for amd64" in run_module("artifact_info", {**asked, "arch": "aarch64"})["msg"]
    without = {"model": "m", **models}
    assert run_module("artifact_info", without)["image"] is None


@needs_engine
def test_by_digest_and_in_check_mode(run_module: Run, shelf: Shelf, arguments: Arguments) -> None:
    name = f"{shelf.registry}/team/demo@{shelf.digests['demo']}"
    check = run_module("container_image", arguments(name), check=True)
    assert check["changed"] and check["id"] is None
    assert run_module("container_image", arguments(name))["changed"]
    assert not run_module("container_image", arguments(name))["changed"]
    refused = run_module("container_image", arguments(require_digest=True))
    assert refused["failed"] and "pins are required" in refused["msg"]


@needs_engine
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("team/demo:nope", "no such tag or digest"),
        (f"team/demo@{SHA}", "no such tag or digest"),
        ("team/nothing:1", "no such"),
    ],
)
def test_what_the_registry_does_not_have_is_said(
    run_module: Run, shelf: Shelf, arguments: Arguments, name: str, words: str
) -> None:
    result = run_module("container_image", arguments(f"{shelf.registry}/{name}"))
    assert result["failed"] and words in result["msg"] and f"{shelf.registry}/team" in result["msg"], result["msg"]


@needs_engine
def test_an_image_of_another_platform_is_refused_before_it_is_pulled(
    run_module: Run, shelf: Shelf, arguments: Arguments
) -> None:
    name = f"{shelf.registry}/team/arm:1"
    shelf.push(name, "arm", "arm64")
    result = run_module("container_image", arguments(name, arch="x86_64"))
    assert result["failed"] and "is built for arm64, this host is x86_64 (amd64)" in result["msg"], result
    assert not any(name in image.tags for image in shelf.client.images.list())


@needs_engine
def test_a_registry_that_is_down_and_the_next_mirror(run_module: Run, shelf: Shelf, arguments: Arguments) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        down = f"127.0.0.1:{closed.getsockname()[1]}"
        result = run_module("container_image", arguments(f"{down}/team/demo:1"))
        assert result["failed"] and "can't be reached" in result["msg"]
        result = run_module("container_image", arguments(f"{down}/team/demo:1", mirrors=[f"{down}", shelf.registry]))
    assert result["changed"] and result["source"] == f"{shelf.registry}/team/demo" and len(result["failed_places"]) == 1


@needs_engine
def test_credentials(run_module: Run, shelf: Shelf, arguments: Arguments, tmp_path: Path) -> None:
    """bcrypt of «secret»; the password is in no result and no record."""
    users = tmp_path / "users"
    users.write_text("ops:$2y$04$AeGdNGBDfKEE59xnvHp6MeuPOPeeBA2.n2djPwGLSIPEkH63E1Qsy\n")
    with engine.registry(shelf.folder / f"private{time.monotonic_ns()}", users) as registry:
        name = f"{registry}/team/demo:1"
        engine.import_image(shelf.client, engine.tiny("private"), name)
        secret = {"username": "ops", "password": "secret"}
        list(shelf.client.api.push(name, stream=True, auth_config=secret))
        shelf.client.images.remove(name, force=True)
        result = run_module("container_image", arguments(name))
        assert result["failed"] and "set image_username and image_password" in result["msg"], result
        result = run_module("container_image", arguments(name, **{**secret, "password": "wrong"}))
        assert result["failed"] and "set image_username and image_password" in result["msg"], result
        result = run_module("container_image", arguments(name, **secret))
        assert result["changed"], result
        kept = [p.read_text() for p in (tmp_path / "images").glob("*")]
        assert "secret" not in json.dumps(result) + "".join(kept)


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


@needs_engine
def test_a_killed_pull_is_finished_by_the_next_run(run_module: Run, shelf: Shelf, arguments: Arguments) -> None:
    kill_each("container_image", arguments(), (0.3, 0.6, 0.9))
    result = run_module("container_image", arguments())
    assert not result["failed"] and result["digest"] == shelf.digests["demo"]


def test_no_engine_says_what_to_do(run_module: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    result = run_module("container_image", {"name": "a/b:1", "record": str(tmp_path)})
    assert result["failed"] and "no container engine answers at unix://" in result["msg"]
    assert isinstance(docker.__version__, str)


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
            i.unpacked(str(path), 40 << 20)
        assert 60 << 20 <= i.unpacked(str(path), 70 << 20) < 61 << 20
    with pytest.raises(Refusal, match="inflates to more than"):
        i.check_archive(str(packed), "sha256:" + "a" * 64, 40 << 20)

    class Client:
        def info(self) -> dict[str, str]:
            return {"DockerRootDir": str(tmp_path)}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(i, "free_bytes", lambda path: 40 << 20)
        with pytest.raises(Refusal, match="inflate"):  # and the engine, which isn't there, is not asked
            i.load(Client(), i.parse("a/b:1"), str(layer), "sha256:" + "a" * 64)


@pytest.mark.parametrize(
    "index", [b"[" * 100_000, b"3", b"null", b"[1, 2]", b'{"manifests": 5}', b'{"manifests": [[]]}', b"\xff", b"", b"9" * 9999],
)  # fmt: skip
def test_an_archive_s_index_of_any_form_is_refused_in_words(tmp_path: Path, index: bytes) -> None:
    path = tar_with(tmp_path / "x.tar", {"manifest.json": index})
    with pytest.raises(Refusal, match="is no archive that docker save makes"):
        i.ids_in(str(path))


def test_an_archive_cut_short_or_of_another_kind_is_refused_in_words(tmp_path: Path) -> None:
    whole = tar_with(
        tmp_path / "x.tar.gz", {"layer": os.urandom(50_000), "manifest.json": INDEX_OF_ONE}, "w:gz"
    ).read_bytes()
    for number, data in enumerate((whole[:30_000], whole[:9], b"\x1f\x8b" + b"x" * 99, b"x" * 5000)):
        path = tmp_path / f"{number}.tar"
        path.write_bytes(data)
        with pytest.raises(Refusal, match="is no archive that docker save makes"):
            i.check_archive(str(path), "sha256:" + "b" * 64)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(Refusal, match="it is no file"):
        i.ids_in(str(tmp_path / "fifo"))


class OddRegistry:
    """An engine's client whose answers a test gives."""

    def __init__(self, about: Any, rows: Any = ()) -> None:
        self.about, self.rows = about, rows
        self.api = self.images = self

    def info(self) -> dict[str, str]:
        return {"DockerRootDir": "/"}

    def inspect_distribution(self, *_: Any, **__: Any) -> Any:
        return self.about

    def pull(self, *_: Any, **__: Any) -> Any:
        return self.rows

    def get(self, *_: Any) -> Any:
        return self


DIGEST = "sha256:" + "d" * 64
GOOD = {"Descriptor": {"digest": DIGEST}}


@pytest.mark.parametrize(
    ("about", "rows"),
    [
        (None, ()), ([], ()), ({}, ()), ({"Descriptor": 3}, ()), ({"Descriptor": {"digest": 3}}, ()),
        ({"Descriptor": {"digest": "sha256:zz"}}, ()), ({"Descriptor": {"digest": "sha256:" + "e" * 64}}, ()),
        (GOOD, [3]), (GOOD, [None]), (GOOD, 5), (GOOD, [{"status": "Downloading", "progressDetail": 5}]),
        *((GOOD, [{"status": "Downloading", "id": "x", "progressDetail": {"total": size}}])
          for size in ("abc", -1, 1 << 90, float("inf"), float("nan"), [1], True, 1 << 61)),
        (GOOD, [{"error": {"deep": 1}}]),
    ],
)  # fmt: skip
def test_a_registry_of_odd_answers_is_one_place_that_failed(tmp_path: Path, about: Any, rows: Any) -> None:
    progress = Progress(str(tmp_path / "p"), "x")
    given = {"mirrors": ["mirror.example"], "arch": "x86_64", "username": "", "password": ""}
    found, _, _, failures = i.pull(OddRegistry(about, rows), i.parse("registry.example/a/b"), DIGEST, given, progress)
    assert found is None and [failure.split("/")[0] for failure in failures] == ["mirror.example", "registry.example"]


@pytest.mark.parametrize("platforms", [None, 3, "x", [3], [{"architecture": 3}], [{"architecture": ["x"]}], {}])
def test_platforms_of_other_types_decide_nothing(platforms: Any) -> None:
    i.check_platform(i.parse("a/b"), platforms, "x86_64")


def test_a_registry_that_gives_a_byte_a_second_is_left_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(i.time, "monotonic", lambda: clock[0])
    for others in (True, False):
        layers = i.Layers("/", lambda done, total: None, others)
        with pytest.raises(i.PullFailed, match="another place remains") if others else contextlib.nullcontext():
            for second in range(300):
                clock[0] += 1
                layers.event(
                    {"id": "a", "status": "Downloading", "progressDetail": {"total": 10**6, "current": second}}
                )
    layers = i.Layers("/", lambda done, total: None, True)
    layers.event({"id": "a", "status": "Downloading", "progressDetail": {"total": 10**6, "current": 1}})
    for _ in range(300):  # unpacking takes what it takes
        clock[0] += 10
        layers.event({"id": "a", "status": "Extracting", "progressDetail": {"total": 10**6, "current": 1}})
