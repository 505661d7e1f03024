"""Adapters that come and go while an engine runs in a container: the release's own mounts and paths, a real container engine, one container throughout."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import engine
import pytest
from conftest import FIXTURES
from services import RUNNER, Contained, Result, boxed, loaded, until
from test_containers import c, needs_engine
from test_live import made


class Box(Contained):
    """The service `s` of the stand-in that loads adapters, in a container with the arguments that its release gives it."""

    def __init__(self, root: Path, run: Callable[..., Result], client: Any, name: str) -> None:
        super().__init__(root, run, client, name, "s")

    def deploy(self, *names: str) -> Result:
        roots = {"serving": str(self.root), "models": str(self.root / "models"), "environment": None}
        record, release = made({name: {"base": "m"} for name in names}, roots=roots, port=self.port, drain_timeout=2)
        for path in (release["model_path"], *(row["path"] for row in release["spec"].get("adapters", {}).values())):
            Path(path).mkdir(parents=True, exist_ok=True)
        # The board's GPU is the only thing that this machine lacks.
        service = {**record, "device_access": "none", "shm_bytes": 64 << 20}
        options = c.container_arguments(
            service,
            self.name,
            release["model_path"],
            release["key_seen"],
            {},
            "",
            release["adapter_paths"],
            release["live"],
        )
        words = json.dumps([f"{name}={path}" for name, path in release["seen"]["adapters"].items()])
        inside = f"export HOST=0.0.0.0\nexec /usr/bin/python3 /opt/lora_engine.py {self.port} /run /config/serve.yaml\n"
        args: Result = {
            "name": "s", "serving_root": str(self.root), "supervisor": "supervisord", "python": sys.executable, "runner": RUNNER,
            "files": {
                "start": self.start(options), "run": inside, "serve.yaml": f"port: 1\nlora-modules: {words}\n" if names else "port: 1\n",
                "stop": f"#!/bin/sh\ndocker rm --force {self.name} >/dev/null 2>&1\nexit 0\n",
            },
            "spec": {**release["spec"], "endpoint": f"http://127.0.0.1:{self.port}", "ready_timeout": 30},
        }  # fmt: skip
        return self.run("inference_service", args)

    def has(self) -> dict[str, str]:
        return loaded(self.port, self.folder)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, str]]:
    with engine.program_image(tmp_path_factory.mktemp("i"), FIXTURES / "lora_engine.py") as found:
        yield found


@pytest.fixture
def box(
    tmp_path_factory: pytest.TempPathFactory, tools: Path, run_module: Callable[..., Result], image: tuple[Any, str]
) -> Iterator[Box]:
    yield from boxed(lambda root: Box(root, run_module, *image), tmp_path_factory.mktemp("l"), tools, "s")


@needs_engine
def test_a_running_container_takes_adapters_that_came_after_its_start(box: Box) -> None:
    box.deploy("sql")
    assert box.has() == {"sql": "/adapters/sql@7"}
    [before] = box.containers()

    done = box.deploy("sql", "chat")
    assert "adapter 'chat' was loaded, the process stays" in done["reasons"], done
    assert box.has() == {"sql": "/adapters/sql@7", "chat": "/adapters/chat@7"}
    done = box.deploy("chat")
    assert "adapter 'sql' was given up" in done["reasons"] and set(box.has()) == {"chat"}
    [after] = box.containers()
    assert after.id == before.id and not box.deploy("chat")["changed"]
    owner = (box.folder / "owner_key").read_text().strip()
    assert owner not in json.dumps(after.attrs) and not any(
        mount["RW"] for mount in after.attrs["Mounts"] if mount["Destination"] in ("/adapters", "/run/owner_key")
    )

    after.kill()  # what is restarted has those of its release
    until(lambda: [one for one in box.containers() if one.id != before.id and one.status == "running"], 40)
    assert set(box.has()) == {"chat"}
