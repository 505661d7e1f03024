"""A container engine, registries and images for tests: the real ones, on loopback, started only where they aren't there.

Images are put together from this machine's own Python (its interpreter, standard library and C library), so that no registry
is needed to have a first image.
"""

from __future__ import annotations

import fcntl
import io
import json
import os
import re
import shutil
import socket
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
from ports import free_port

HELD: list[Any] = []  # this process's client, while it has the engine: a second lock of its own would wait for ever


def installed() -> bool:
    return os.getuid() == 0 and all(shutil.which(tool) for tool in ("dockerd", "docker", "docker-registry"))


def answers() -> bool:
    try:
        docker.from_env(timeout=5).ping()
    except (docker.errors.DockerException, OSError):
        return False
    return True


@contextmanager
def engine(folder: Path) -> Iterator[Any]:
    """A client of this machine's engine; one is started if none answers, and ended at the end.

    It is one for all: whoever tests with it has it alone, others wait, in whichever process they run. A process that has it may ask again.
    """
    if HELD:
        yield HELD[-1]
        return
    with (Path(tempfile.gettempdir()) / "vllm-ansible-tests-engine.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for client in started(folder):
            HELD.append(client)
            try:
                yield client
            finally:
                HELD.pop()


def started(folder: Path) -> Iterator[Any]:
    process = None
    if not answers():
        log = (folder / "dockerd.log").open("w")
        process = subprocess.Popen(["dockerd"], stdout=log, stderr=log, start_new_session=True)
        until = time.monotonic() + 60
        while not answers():
            if time.monotonic() > until or process.poll() is not None:
                raise RuntimeError((folder / "dockerd.log").read_text()[-2000:])
            time.sleep(0.2)
    try:
        yield docker.from_env(timeout=60)
    finally:
        if process:
            process.terminate()
            process.wait(30)


class Root:
    """A tar of a root file system that is put together from this machine's files."""

    def __init__(self) -> None:
        self.data = io.BytesIO()
        self.out = tarfile.open(fileobj=self.data, mode="w")

    def program(self, *paths: tuple[str, str]) -> None:
        """Programs, each (path here, path there), with the libraries that they are linked with."""
        for here, there in paths:
            self.out.add(here, arcname=there)
        listed = subprocess.run(
            ["ldd", *(here for here, _ in paths)], capture_output=True, text=True, check=True
        ).stdout
        for path in sorted(set(re.findall(r"(/\S+\.so[.\d]*)", listed))):
            self.out.add(os.path.realpath(path), arcname=path)

    def whole(self) -> bytes:
        """Its text, with the folders that an engine mounts on."""
        for folder in ("tmp", "proc", "dev", "sys", "etc"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            self.out.addfile(entry)
        self.out.close()
        return self.data.getvalue()


def python_root(*ours: Path) -> bytes:
    """A tar with /usr/bin/python3, sh, what they are linked with, the standard library without its tests, and programs of ours in /opt."""
    root, real = Root(), os.path.realpath("/usr/bin/python3")
    root.program((real, "/usr/bin/python3"), (os.path.realpath("/bin/sh"), "/bin/sh"))
    version = re.search(r"python(3\.\d+)", real)
    library = Path("/usr/lib") / f"python{version[1] if version else '3'}"
    for path in sorted(library.rglob("*")):
        if not {"__pycache__", "test", "tests", "idlelib", "lib2to3", "dist-packages"} & set(path.parts):
            root.out.add(str(path), recursive=False)
    for path in ours:
        root.out.add(str(path), arcname=f"opt/{path.name}")
    return root.whole()


def haproxy_root() -> bytes:
    """A tar with this machine's HAProxy and what it is linked with: no shell, no list of users."""
    root, program = Root(), shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program
    root.program((os.path.realpath(program), "/usr/local/sbin/haproxy"))
    return root.whole()


@contextmanager
def program_image(folder: Path, *ours: Path) -> Iterator[tuple[Any, str]]:
    """(a client, an image of this machine's Python with these programs in /opt), removed at the end."""
    with engine(folder) as client:
        name = f"vllm-ansible-{ours[0].stem.replace('_', '-')}:{os.getpid()}"
        import_image(client, python_root(*ours), name)
        yield client, name
        client.images.remove(name, force=True)


def tiny(text: str) -> bytes:
    """A tar with one small file: an image that is quick to move."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as out:
        entry = tarfile.TarInfo("etc/motd")
        entry.size = len(text)
        out.addfile(entry, io.BytesIO(text.encode()))
    return data.getvalue()


def import_image(client: Any, tar: bytes, name: str, arch: str = "", changes: list[str] | None = None) -> Any:
    """An image of one layer from a tar, for this machine or, so its configuration says, for another architecture."""
    command = ["docker", "import"]
    for change in changes or []:
        command += ["--change", change]
    subprocess.run([*command, "-", name], input=tar, check=True, capture_output=True)
    if arch:
        subprocess.run(["docker", "load"], input=relabelled(client, name, arch), check=True, capture_output=True)
    return client.images.get(name)


def relabelled(client: Any, name: str, arch: str) -> bytes:
    """An archive of the image whose configuration names another architecture (engines before 23 can't import one)."""
    given = io.BytesIO(b"".join(client.images.get(name).save(named=name)))
    data = io.BytesIO()
    with tarfile.open(fileobj=given) as source, tarfile.open(fileobj=data, mode="w") as out:
        listed = source.extractfile("manifest.json")
        assert listed
        config = json.load(listed)[0]["Config"]
        for entry in source:
            content = source.extractfile(entry) if entry.isfile() else None
            body = content.read() if content else b""
            if entry.name == config:
                body = json.dumps({**json.loads(body), "architecture": arch}).encode()
                entry.size = len(body)
            out.addfile(entry, io.BytesIO(body) if entry.isfile() else None)
    return data.getvalue()


@contextmanager
def registry(folder: Path, users: Path | None = None) -> Iterator[str]:
    """Debian's docker-registry on loopback: host:port. With an htpasswd file it asks for a user."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    auth = f"auth:\n  htpasswd: {{realm: test, path: {users}}}\n" if users else ""
    (folder / "config.yml").write_text(
        f"version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage: {{filesystem: {{rootdirectory: {folder}/data}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\n{auth}"
    )
    log = (folder / "log").open("w")
    process = subprocess.Popen(["docker-registry", "serve", str(folder / "config.yml")], stdout=log, stderr=log)
    until = time.monotonic() + 20
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.1)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)
