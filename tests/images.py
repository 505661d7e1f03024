"""A registry and the host's container engine, for the tests of images."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import engine
import pytest
from conftest import start_module

Run = Callable[..., dict[str, Any]]
SHA = "sha256:" + "a" * 64
needs_engine = pytest.mark.skipif(
    not engine.installed() and not os.environ.get("CI"), reason="needs root, docker and docker-registry"
)


class Shelf:
    """An engine, a registry and two images in it: demo:1 and other:1."""

    def __init__(self, client: Any, registry: str, folder: Path) -> None:
        self.client, self.registry, self.folder = client, registry, folder
        self.digests = {name: self.push(f"{registry}/team/{name}:1", name) for name in ("demo", "other")}

    def push(self, name: str, text: str, arch: str = "") -> str:
        return self.put(name, engine.tiny(text), arch)

    def put(self, name: str, tar: bytes, arch: str = "", changes: list[str] | None = None) -> str:
        """The digest under which the registry has an image of this tar; the engine has it no more."""
        engine.import_image(self.client, tar, name, arch, changes)
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


Arguments = Callable[..., dict[str, Any]]


def shelf_fixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    folder = tmp_path_factory.mktemp("i")
    with engine.engine(folder) as client, engine.registry(folder / "registry") as registry:
        shelf = Shelf(client, registry, folder)
        yield shelf
        shelf.forget()


def arguments_fixture(shelf: Shelf, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    shelf.forget()

    def make(name: str = "", **options: Any) -> dict[str, Any]:
        return {"name": name or f"{shelf.registry}/team/demo:1", "record": str(tmp_path / "images"), **options}

    return make
