"""Hosts of a play that share one copy, each a process with a server of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import shards
from ansible.module_utils.serving.weights.manifests import INDEX
from conftest import ROOT
from hub import Hub
from ports import free_port

Run = Callable[..., dict[str, Any]]
SERVER = (ROOT / "roles/weights/files/peer_server.py").read_text()
SHARDS = 4
# weights_fetch as a process, with patience for a test's time.
QUICK = """
import json, sys
sys.path.insert(0, sys.argv[1])
import conftest
from ansible.module_utils.serving.weights import peer, peers
from ansible.module_utils.testing import patch_module_args
peer.GONE = peers.GONE = 3
peer.BEAT, peers.POLL, peer.POLL, peers.LATE = 4, 0.3, 0.3, 6
with patch_module_args(json.loads(sys.argv[2])):
    conftest.load("library/weights_fetch.py").main()
"""


def size_of(hub: Hub) -> int:
    return sum((hub.folder / name).stat().st_size for name in hub.names())


class Fleet:
    """Hosts of a play: a models_root, an address and a server each."""

    def __init__(self, base: Path, run: Run, hub: Hub, count: int, **form: Any) -> None:
        self.base, self.run, self.hub, self.count, self.form = base, run, hub, count, form
        self.sources = {"huggingface": {"repo": "org/model", "revision": None}}
        self.processes: dict[int, subprocess.Popen[str]] = {}
        self.port = free_port()

    def root(self, number: int) -> Path:
        return self.base / f"host-{number}"

    def common(self, number: int) -> dict[str, Any]:
        forms = [{"name": "m", "sources": self.sources, "convert": None, **self.form}]
        about = {"name": f"host-{number}", "address": f"127.0.0.{20 + number}", "port": self.port}
        return {
            **about,
            "models_root": str(self.root(number) / "models"),
            "folder": str(self.folder(number)),
            "forms": forms,
        }

    def folder(self, number: int) -> Path:
        return self.root(number) / "peers"

    def serve(self, *numbers: int, **options: Any) -> Fleet:
        looks = [self.run("weights_peer", {"state": "look", **self.common(n)}) for n in range(self.count)]
        self.looks = [look["peer"] for look in looks]
        for number in numbers or range(self.count):
            self.start(number, **options)
        return self

    def start(self, number: int, **options: Any) -> dict[str, Any]:
        given = {"state": "started", **self.common(number), "peers": self.looks, "server": SERVER, **options}
        return self.run("weights_peer", given)

    def stop(self, number: int) -> dict[str, Any]:
        return self.run("weights_peer", {"state": "stopped", "folder": str(self.folder(number))})

    def arguments(self, number: int, **options: Any) -> dict[str, Any]:
        quick = {"stall_timeout": 2, "retries": 2, "connections": 4, "peer_patience": 4}
        return {
            "name": "m", "models_root": str(self.root(number) / "models"), "sources": self.sources, **quick, **self.form,
            "huggingface_endpoint": self.hub.url, "peers_file": str(self.folder(number) / "config.json"), **options,
        }  # fmt: skip

    def begin(self, number: int, **options: Any) -> subprocess.Popen[str]:
        self.processes[number] = subprocess.Popen(
            [sys.executable, "-c", QUICK, str(ROOT / "tests"), json.dumps(self.arguments(number, **options))],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        return self.processes[number]

    def result(self, number: int) -> dict[str, Any]:
        output = self.processes[number].communicate(timeout=90)[0]
        found: dict[str, Any] = json.loads(output)
        return found

    def fetch(self, *numbers: int, **options: Any) -> list[dict[str, Any]]:
        for number in numbers or range(self.count):
            self.begin(number, **options)
        return [self.result(number) for number in numbers or range(self.count)]

    def pid(self, number: int) -> int:
        return int(json.loads((self.folder(number) / "server.pid").read_text())["pid"])

    def close(self) -> None:
        for process in self.processes.values():
            process.kill()
        for number in range(self.count):
            self.stop(number)


def good(results: list[dict[str, Any]]) -> None:
    for result in results:
        assert not result.get("failed"), result
    assert len({result["identity"] for result in results}) == 1


def wait(what: Callable[[], Any], seconds: float = 30) -> Any:
    until = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.05)
    return found


def about(name: str, **forms: bool) -> dict[str, Any]:
    return {"name": name, "forms": [{"key": key, "pending": pending} for key, pending in forms.items()]}


def fleet_fixture(tmp_path: Path, run_module: Run, hub: Hub) -> Iterator[Callable[..., Fleet]]:
    made: list[Fleet] = []

    def make(count: int, **form: Any) -> Fleet:
        made.append(Fleet(tmp_path, run_module, hub, count, **form))
        return made[-1]

    yield make
    for one in made:
        one.close()


def model_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four shards of bf16, 8 MB, with small files."""
    folder = tmp_path_factory.mktemp("hub") / "model"
    folder.mkdir()
    index: dict[str, str] = {}
    for number in range(SHARDS):
        name = f"model-0000{number + 1}-of-0000{SHARDS}.safetensors"
        codes = bytes([number, 0x3C]) * 1_000_000
        shards.write(folder / name, {f"layer.{number}.weight": ("BF16", [1000, 1000], codes)})
        index[f"layer.{number}.weight"] = name
    (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": 8_000_000}, "weight_map": index}))
    (folder / "config.json").write_text('{"torch_dtype": "bfloat16"}')
    (folder / "extra").mkdir()
    (folder / "extra/notes.txt").write_text("in a folder\n")
    return folder
