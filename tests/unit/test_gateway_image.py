"""The gateway's image comes to a host from a registry, by digest."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import engine as engines
import pytest
from ansible.module_utils.serving.gateway import forms
from gate import until
from gated_role import ask, site_of
from images import Shelf, needs_engine


class Haproxies(Shelf):
    """A registry with an image of this machine's HAProxy, which the engine itself has not."""

    def __init__(self, client: Any, registry: str, folder: Path) -> None:
        super().__init__(client, registry, folder)
        # A user other than root, as haproxy's own image has.
        self.digest = self.put(f"{registry}/team/haproxy:2.6", engines.haproxy_root(), changes=["USER 99"])
        self.ident = client.images.pull(f"{registry}/team/haproxy@{self.digest}").id
        self.forget()

    def forget(self) -> None:
        """What runs in it ends, too."""
        for box in self.client.containers.list(all=True, filters={"ancestor": self.ident}):
            box.remove(force=True)
        for image in self.client.images.list():
            if any("/team/haproxy" in name for name in [*image.attrs.get("RepoDigests", []), *image.tags]):
                self.client.images.remove(image.id, force=True)


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Haproxies]:
    with engines.engine(tmp_path) as client, engines.registry(tmp_path / "registry") as registry:
        found = Haproxies(client, registry, tmp_path)
        yield found
        found.forget()


@needs_engine
def test_the_gateway_s_image_comes_from_a_registry_by_digest(
    shelf: Haproxies, tmp_path: Path, playbook: Callable[..., Any]
) -> None:
    (tmp_path / "empty").mkdir()
    with site_of(tmp_path, tmp_path / "empty/tools") as site:  # role gateway makes the tools
        folder = site["root"] / "gateway"
        name = f"{shelf.registry}/team/haproxy:2.6@{shelf.digest}"
        extra = {**site["extra"], "gateway_runtime": "container", "gateway_image": name}
        done = playbook("playbooks/gateway.yml", "-i", str(site["inventory"]), "-e", json.dumps(extra))
        assert done.returncode == 0 and "serves demo" in done.stdout, done.stdout + done.stderr
        assert until(lambda: ask(site) == 200)
        shape = ["docker", "container", "inspect", "--format", "{{.Image}}", forms.name_of(str(folder))]
        assert subprocess.run(shape, capture_output=True, text=True, check=True).stdout.strip() == shelf.ident
