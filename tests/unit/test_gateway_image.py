"""The gateway's image on its ways to a host: from a registry by digest, a mirror, an archive and through the controller; and where none has it."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import engine as engines
import pytest
from ansible.module_utils.serving.gateway import forms, runtime
from gate import until
from gated_role import ask, site_of
from images import SHA, Shelf, needs_engine
from ports import free_port

# As role gateway brings it, on several hosts at once; what was found, or why nothing was, is one file for each.
BRINGS = """
- hosts: all
  gather_facts: false
  tasks:
    - block:
        - include_role: {name: gateway, tasks_from: container}
        - copy: {content: "{{ {'id': gateway_image_id, 'source': image_found.source} | to_json }}", dest: "{{ said }}"}
      rescue:
        - copy: {content: "{{ {'refused': ansible_failed_result.msg} | to_json }}", dest: "{{ said }}"}
"""
WAYS = ("registry", "mirror", "archive", "controller")


class Haproxies(Shelf):
    """A registry with this machine's HAProxy, one image for each way: {way: (digest, id)}. The engine has none of them."""

    def __init__(self, client: Any, registry: str, folder: Path) -> None:
        super().__init__(client, registry, folder)
        self.made: dict[str, tuple[str, str]] = {}
        root = engines.haproxy_root()
        for way in WAYS:
            changes = [f"LABEL way={way}", "USER 99"]  # a user other than root, as haproxy's own image has
            digest = self.put(f"{registry}/team/{way}:2.6", root, changes=changes)
            found = client.images.pull(f"{registry}/team/{way}@{digest}")
            self.made[way] = (digest, found.id)
            if way == "archive":
                found.tag("127.0.0.1:1/team/archive", "2.6")
                (folder / "image.tar").write_bytes(
                    b"".join(
                        client.images.get("127.0.0.1:1/team/archive:2.6").save(named="127.0.0.1:1/team/archive:2.6")
                    )
                )
        self.forget()

    def forget(self) -> None:
        """What runs in one of them ends, too."""
        for _, ident in getattr(self, "made", {}).values():
            for box in self.client.containers.list(all=True, filters={"ancestor": ident}):
                box.remove(force=True)
        for image in self.client.images.list():
            if any("/team/" in name for name in [*image.attrs.get("RepoDigests", []), *image.tags]):
                self.client.images.remove(image.id, force=True)


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Haproxies]:
    with engines.engine(tmp_path) as client, engines.registry(tmp_path / "registry") as registry:
        found = Haproxies(client, registry, tmp_path)
        yield found
        found.forget()


@needs_engine
def test_the_gateway_s_image_comes_by_digest_on_every_way(
    shelf: Haproxies, tmp_path: Path, playbook: Callable[..., Any], run_module: Callable[..., dict[str, Any]]
) -> None:
    (tmp_path / "empty").mkdir()
    with site_of(tmp_path, tmp_path / "empty/tools") as site:  # role gateway makes the tools
        folder, (digest, ident) = site["root"] / "gateway", shelf.made["registry"]
        name = f"{shelf.registry}/team/registry:2.6@{digest}"
        extra = {**site["extra"], "gateway_runtime": "container", "gateway_image": name}
        done = playbook("playbooks/gateway.yml", "-i", str(site["inventory"]), "-e", json.dumps(extra))
        assert done.returncode == 0 and "serves demo" in done.stdout, done.stdout + done.stderr
        assert until(lambda: ask(site) == 200)
        shape = ["docker", "container", "inspect", "--format", "{{.Image}}", forms.name_of(str(folder))]
        assert subprocess.run(shape, capture_output=True, text=True, check=True).stdout.strip() == ident

        found = brought(shelf, tmp_path, site, playbook)
        for way in WAYS[1:]:
            assert found[way].get("id") == shelf.made[way][1], found[way]
            command = [
                "docker",
                "run",
                "--rm",
                "--pull=never",
                "--network=none",
                "--entrypoint=haproxy",
                found[way]["id"],
            ]
            assert runtime.version(command, way)
        assert found["mirror"]["source"] == f"{shelf.registry}/team/mirror"
        assert (
            found["archive"]["source"] == str(tmp_path / "image.tar")
            and found["controller"]["source"] == "the controller"
        )
        for host, words in (
            (
                "wrong",
                rf"image {shelf.registry}/team/mirror@{SHA} can't be had: {shelf.registry}/team/mirror: .*no such tag or digest.*gateway_image\)",
            ),
            (
                "missing",
                rf"image {shelf.registry}/team/none:1 can't be had: {shelf.registry}/team/none: .*manifest unknown.*gateway_image\)",
            ),
            ("away", r"image 127.0.0.1:\d+/team/away:1 can't be had: 127.0.0.1:\d+/team/away: .*can't be reached.*\)"),
        ):
            assert re.fullmatch(words, found[host].get("refused", "")), found[host]

        ended = {
            "folder": str(folder),
            "serving_root": str(site["root"]),
            "supervisor": "supervisord",
            "state": "absent",
        }
        assert run_module("gateway", ended)["changed"]


def brought(shelf: Haproxies, tmp_path: Path, site: dict[str, Any], playbook: Callable[..., Any]) -> dict[str, Any]:
    """{host: {id, source}, or {refused: why}} of hosts that are this machine, each with its own folder."""
    nowhere = f"127.0.0.1:{free_port()}"
    names = {way: f"{nowhere}/team/{way}:2.6@{digest}" for way, (digest, _) in shelf.made.items()}
    hosts: dict[str, dict[str, Any]] = {
        "mirror": {"gateway_image": names["mirror"], "image_mirrors": [shelf.registry]},
        "archive": {
            "gateway_image": names["archive"],
            "image_archives": {names["archive"]: {"path": str(tmp_path / "image.tar"), "id": shelf.made["archive"][1]}},
        },
        "controller": {
            "gateway_image": names["controller"], "image_mirrors": [shelf.registry], "image_relay": str(tmp_path / "relay"),
            "weights_relay_address": "127.0.0.60", "weights_peer_address": "127.0.0.61", "weights_peer_port": free_port(),
        },
        "wrong": {"gateway_image": f"{shelf.registry}/team/mirror@{SHA}"},
        "missing": {"gateway_image": f"{shelf.registry}/team/none:1"},
        "away": {"gateway_image": f"{nowhere}/team/away:1"},
    }  # fmt: skip
    for host, values in hosts.items():
        root = tmp_path / host
        root.mkdir()
        (root / "tools").symlink_to(site["root"] / "tools")
        values.update(ansible_connection="local", serving_root=str(root), said=str(tmp_path / f"{host}.json"))
    inventory, book = tmp_path / "brings.yml", tmp_path / "book.yml"
    inventory.write_text(json.dumps({"accelerators": {"children": {"local": {"hosts": hosts}}}}))
    book.write_text(BRINGS)
    done = playbook(str(book), "-i", str(inventory), "-v")
    assert done.returncode == 0, done.stdout + done.stderr
    return {host: json.loads((tmp_path / f"{host}.json").read_text()) for host in hosts}
