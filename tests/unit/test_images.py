"""container_image against a real engine and real registries, and what registries say when they refuse."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from pathlib import Path
from typing import Any

import docker
import engine
import pytest
from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.images import reference, registry
from ansible.module_utils.serving.progress import Progress
from images import SHA, Arguments, Run, Shelf, arguments_fixture, kill_each, needs_engine, shelf_fixture


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
    assert tuple(reference.parse(text)) == parts and reference.parse(text).text == text


@pytest.mark.parametrize("text", ["", "A/b", "a b", "a@sha256:12", "a:b:c", "../a", "a//b:", "-a", "a;rm"])
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(Refusal, match="is no reference"):
        reference.parse(text)


def test_mirrors_come_first_with_the_images_path() -> None:
    found = [p.text for p in reference.places(reference.parse("docker.io/a/b:1"), ["m:5000", "n.example/proxy"])]
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
    assert remedy in registry.explain(said)


def test_an_image_that_no_place_has_is_one_sentence_with_each_places_reason() -> None:
    refusal = registry.nowhere(reference.parse("docker.io/a/b:1"), ["m:5000/a/b: away (x)", "docker.io/a/b: gone (y)"])
    assert str(refusal) == "image docker.io/a/b:1 can't be had: m:5000/a/b: away (x); docker.io/a/b: gone (y)"
    assert refusal.results == {"failed_places": ["m:5000/a/b: away (x)", "docker.io/a/b: gone (y)"]}


def test_a_pull_that_the_disk_cannot_hold_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "free_bytes", lambda path: 1_000_000)
    layers = registry.Layers("/", lambda done, total: None)
    layers.event({"status": "Downloading", "id": "a", "progressDetail": {"current": 1, "total": 300_000}})
    with pytest.raises(Refusal, match="not enough disk for the image: about"):
        layers.event({"status": "Downloading", "id": "b", "progressDetail": {"current": 1, "total": 300_000}})


shelf = pytest.fixture(scope="module")(shelf_fixture)


arguments = pytest.fixture(arguments_fixture)


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
def test_a_killed_pull_is_finished_by_the_next_run(run_module: Run, shelf: Shelf, arguments: Arguments) -> None:
    kill_each("container_image", arguments(), (0.3, 0.6, 0.9))
    result = run_module("container_image", arguments())
    assert not result["failed"] and result["digest"] == shelf.digests["demo"]


def test_no_engine_says_what_to_do(run_module: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    result = run_module("container_image", {"name": "a/b:1", "record": str(tmp_path)})
    assert result["failed"] and "no container engine answers at unix://" in result["msg"]
    assert isinstance(docker.__version__, str)


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
    found, _, _, failures = registry.pull(
        OddRegistry(about, rows), reference.parse("registry.example/a/b"), DIGEST, given, progress
    )
    assert found is None and [failure.split("/")[0] for failure in failures] == ["mirror.example", "registry.example"]


@pytest.mark.parametrize("platforms", [None, 3, "x", [3], [{"architecture": 3}], [{"architecture": ["x"]}], {}])
def test_platforms_of_other_types_decide_nothing(platforms: Any) -> None:
    reference.check_platform(reference.parse("a/b"), platforms, "x86_64")


def test_a_registry_that_gives_a_byte_a_second_is_left_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(registry.time, "monotonic", lambda: clock[0])
    for others in (True, False):
        layers = registry.Layers("/", lambda done, total: None, others)
        with pytest.raises(registry.PullFailed, match="another place remains") if others else contextlib.nullcontext():
            for second in range(300):
                clock[0] += 1
                layers.event(
                    {"id": "a", "status": "Downloading", "progressDetail": {"total": 10**6, "current": second}}
                )
    layers = registry.Layers("/", lambda done, total: None, True)
    layers.event({"id": "a", "status": "Downloading", "progressDetail": {"total": 10**6, "current": 1}})
    for _ in range(300):  # unpacking takes what it takes
        clock[0] += 10
        layers.event({"id": "a", "status": "Extracting", "progressDetail": {"total": 10**6, "current": 1}})
