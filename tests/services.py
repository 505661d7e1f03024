"""A host with one service of the stand-in engine under the real supervisord."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest
from ansible.module_utils.serving.service import live, probe, releases
from ansible.module_utils.serving.service.supervisors import Supervisord
from conftest import FIXTURES, ROOT
from ports import free_port

RUNNER = (ROOT / "roles/serve/files/foreground.py").read_text()
Result = dict[str, Any]
# `vllm serve --config FILE`, as far as a stub needs it: the port from the file, the mode from the row's environment.
VLLM = f"""#!/bin/sh
port=$(sed -n 's/^port: //p' "$3")
{{ cat /proc/self/status; env; }} > "$TMPDIR/seen"
exec {sys.executable} {FIXTURES}/stub_engine.py "$STUB_MODE" "$port"
"""


def members(folder: Path) -> list[int]:
    """Living processes that work below a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if os.readlink(entry / "cwd").startswith(str(folder)) and releases.start_ticks(int(entry.name)):
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


@contextmanager
def lent_tools(root: Path, tools: Path, *services: str) -> Iterator[None]:
    """A serving root with the tools' environment in it; at the end its services, their supervisor and what is left of them are ended."""
    root.mkdir(exist_ok=True)
    (root / "tools").symlink_to(tools)
    yield
    owner = Supervisord(str(root))
    for name in services:
        owner.stop(name)
    owner.shutdown()
    for name in services:
        for pid in members(root / "services" / name):
            os.kill(pid, signal.SIGKILL)


def with_tools(site: Any, tools: Path) -> Iterator[Any]:
    """A site whose serving root, `site.root`, has the tools; at the end its service `demo` is ended."""
    with lent_tools(site.root, tools, "demo"):
        yield site


class Contained:
    """A service in a container `name` of an image that has its stand-in; `client` asks the engine."""

    def __init__(self, root: Path, run: Callable[..., Result], client: Any, image: str, service: str) -> None:
        self.root, self.run, self.client, self.image, self.port = root, run, client, image, free_port()
        self.folder, self.name = root / "services" / service, f"vllm-test-{self.port}"

    def start(self, options: list[str]) -> str:
        """The release's file `start`, with the options that a release would have."""
        lines = [
            "#!/bin/sh",
            "here=$(pwd -P)",
            f"cache={self.root}/cache",
            'mkdir -p "$cache"',
            "exec docker run --rm \\",
        ]
        lines += [f'  "{option}" \\' for option in options]
        return "\n".join([*lines, f"  {self.image} /bin/sh /config/run"]) + "\n"

    def containers(self) -> list[Any]:
        return list(self.client.containers.list(all=True, filters={"name": self.name}, ignore_removed=True))


B = TypeVar("B", bound=Contained)


def boxed(kind: Callable[[Path], B], root: Path, tools: Path, service: str) -> Iterator[B]:
    """`kind` of a serving root with the tools in it; at the end its service and the containers that it has left are removed."""
    with lent_tools(root, tools, service):
        box = kind(root)
        yield box
    for container in box.containers():
        container.remove(force=True)


@contextmanager
def small_disk(folder: Path, size: str = "3m") -> Iterator[Callable[[], None]]:
    """A file system of its own at this folder; what is yielded fills it."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)

    def fill() -> None:
        with open(folder / "ballast", "wb", buffering=0) as ballast, suppress(OSError):
            while True:
                ballast.write(bytes(4096))

    try:
        yield fill
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def until(condition: Callable[[], Any], seconds: float = 20, told: Callable[[], str] = str) -> Any:
    """What `condition` returns once it is true; where it never is, the failure has the words of `told`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.1)
    raise AssertionError(f"not so within {seconds} s {told()}")


def loaded(port: int, folder: Path) -> dict[str, str]:
    """The adapters that a service's engine says it has, as soon as it answers."""

    def look() -> Any:
        try:
            return live.loaded(f"http://127.0.0.1:{port}", releases.read_key(str(folder))) or {"": ""}
        except probe.NotYet:
            return None

    return {name: path for name, path in until(look).items() if name}


class Host:
    """A serving root with one service `demo`, driven through the modules."""

    def __init__(self, root: Path, run: Callable[..., Result]) -> None:
        self.root, self.run, self.port = root, run, free_port()
        self.folder = root / "services" / "demo"

    def service(
        self, mode: str | None = "good", state: str = "started", dry: bool = False, key: str | None = None, **spec: Any
    ) -> Result:
        args: Result = {"name": "demo", "serving_root": str(self.root), "state": state, "supervisor": "supervisord"}
        if key:
            args["api_key"] = key
        if mode:
            keys = self.folder / "api_key"
            lines = [
                "#!/bin/sh",
                f"export VLLM_API_KEY=$(head -n 1 {keys})",
                f"exec {sys.executable} {FIXTURES}/stub_engine.py {mode} {self.port}",
            ]
            args |= {
                "python": sys.executable,
                "runner": RUNNER,
                "files": {"start": "\n".join(lines) + "\n"},
                "spec": {
                    "endpoint": f"http://127.0.0.1:{self.port}", "served_name": "demo", "drain_timeout": 2, "ready_timeout": 30,
                    "restart_limit": 2, "api_key": True, "check": {"prompt": "What is 127 + 45?", "expect": "172"}, **spec,
                },
            }  # fmt: skip
        return self.run("inference_service", args, check=dry)

    def ask(self, **args: Any) -> Result:
        base = {"serving_root": str(self.root), "names": ["demo"], "supervisor": "supervisord", "timeout": 5}
        return self.run("endpoint_probe", {**base, **args})

    def process(self) -> Result | None:
        return releases.running_release(str(self.root), "demo")


def host_fixture(
    tmp_path_factory: pytest.TempPathFactory, tools: Path, run_module: Callable[..., Result]
) -> Iterator[Host]:
    root = tmp_path_factory.mktemp("h")
    with lent_tools(root, tools, "demo"):
        yield Host(root, run_module)
