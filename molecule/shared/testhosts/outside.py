"""What lies outside of the hosts: registry, hub and package repositories, in one container on a network of their own."""

from __future__ import annotations

import os

import bcrypt
from ports import free_port

from testhosts.base import base_image
from testhosts.machine import (
    HERE,
    NETWORK,
    OUTSIDE,
    ROOT,
    STATE,
    SYSTEMD,
    docker,
    exists,
    put,
    say,
    tag_of,
    wait_booted,
)

REGISTRY = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: /outside/registry}}, delete: {{enabled: true}}}}
http: {{addr: ':{port}', tls: {{certificate: /outside/certificates/server.crt, key: /outside/certificates/server.key}}}}
{auth}
"""
UNIT = "[Service]\nExecStart={command}\nRestart=always\n[Install]\nWantedBy=multi-user.target\n"


def script(name: str, *words: str) -> None:
    """Run a script of molecule/shared/outside there."""
    docker("exec", "-i", OUTSIDE, "sh", "-s", *words, text=(HERE / "outside" / name).read_text())


def mark() -> str:
    """Whose containers they are: their mounts, keys and what was set up in them belong to one state of one checkout."""
    files = sorted(path for path in (HERE / "outside").iterdir() if path.is_file())
    return f"{ROOT} {tag_of(REGISTRY, UNIT, *(path.read_bytes() for path in files))}"


def forget_others() -> None:
    """Remove the test hosts that another checkout, or another state of this one, has left on this engine."""
    if (
        not exists("container", OUTSIDE)
        or docker("inspect", "--format", f'{{{{index .Config.Labels "{NETWORK}"}}}}', OUTSIDE) == mark()
    ):
        return
    say("removing those of another checkout")
    names = docker("ps", "--all", "--filter", f"name=^/?{NETWORK}(-|$)", "--format", "{{.Names}}").split()
    docker("rm", "--force", "--volumes", *names)
    for name in names:
        docker("volume", "rm", name, ok=False)


def outside() -> str:
    """Start what lies outside of the hosts, unless it runs."""
    forget_others()
    if not exists("network", NETWORK):
        docker("network", "create", NETWORK)
    if not exists("container", OUTSIDE):
        say("starting what lies outside: registry, hub, packages")
        aliases = [f"--network-alias={name}.test" for name in ("registry", "private", "hub", "packages")]
        docker("run", "--detach", "--name", OUTSIDE, f"--label={NETWORK}={mark()}", "--hostname=outside", f"--network={NETWORK}", *aliases,
               f"--publish=127.0.0.1:{free_port()}:5000",
               *SYSTEMD, f"--volume={ROOT}/models/demo:/outside/demo:ro", f"--volume={ROOT}/tests:/outside/tests:ro",
               f"--volume={HERE}/fakes:/outside/fakes:ro", base_image())  # fmt: skip
        wait_booted(OUTSIDE)
        auth = "auth: {htpasswd: {realm: test, path: /outside/htpasswd}}"
        put(OUTSIDE, "/outside/registry.yml", REGISTRY.format(port=5000, auth=""))
        put(OUTSIDE, "/outside/private.yml", REGISTRY.format(port=5001, auth=auth))
        for name, command in {
            "outside-registry": "/usr/bin/docker-registry serve /outside/registry.yml",
            "outside-private": "/usr/bin/docker-registry serve /outside/private.yml",
            "outside-hub": "/usr/bin/python3 /outside/tests/hub.py /outside/demo 8000 0.0.0.0",
            "outside-packages": "/usr/bin/python3 -m http.server 8001 --directory /outside/packages",
        }.items():
            put(OUTSIDE, f"/etc/systemd/system/{name}.service", UNIT.format(command=command))
        entry = "ops:" + bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
        script("setup.sh", entry)
    elif docker("inspect", "--format", "{{.State.Running}}", OUTSIDE) != "true":
        docker("start", OUTSIDE)
        wait_booted(OUTSIDE)
    STATE.mkdir(parents=True, exist_ok=True)
    (STATE / "ca.crt").write_text(docker("exec", OUTSIDE, "cat", "/outside/certificates/ca.crt") + "\n")
    packages_key = docker("exec", OUTSIDE, "gpg", "--with-colons", "--list-keys", "test packages")
    (STATE / "packages.fpr").write_text(
        next(line.split(":")[9] for line in packages_key.splitlines() if line.startswith("fpr"))
    )
    return OUTSIDE


def docker_ce() -> None:
    """Docker's own packages: stand-ins with the real names around Debian's builds of Docker 26."""
    outside()
    if docker("exec", OUTSIDE, "ls", "/outside/packages/debian/pool", ok=False):
        return
    say("making Docker's packages")
    script("docker_ce.sh")
    index("debian")


def index(name: str) -> None:
    """(Re)make the signed index of one repository outside."""
    script("index.sh", name)


def nvidia_packages() -> None:
    """NVIDIA's repositories: stand-ins with the real names."""
    outside()
    if not docker("exec", OUTSIDE, "ls", "/outside/packages/cuda", ok=False):
        script("nvidia.sh", os.uname().release)
