"""Hosts to deploy to: started, reached over ssh, rebooted, removed, and the inventory that names them."""

from __future__ import annotations

import ast
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import yaml
from ports import free_port

from testhosts.base import base_image
from testhosts.machine import HERE, NETWORK, STATE, docker, exists, put, run, wait_booted
from testhosts.outside import outside

# What an engine inside needs beyond systemd.
ENGINE = ["--cap-add=ALL", "--cap-drop=SYS_RESOURCE", "--security-opt=seccomp=unconfined", "--security-opt=systempaths=unconfined",
          "--cgroupns=private", "--device-cgroup-rule=a *:* rwm", "--tmpfs=/run:exec", "--tmpfs=/run/lock", "--shm-size=1g"]  # fmt: skip


def pip_mounts() -> list[str]:
    """docker options that give a host this machine's package indexes: pip's files, and the local folders that they name."""
    found = []
    for file in ("/etc/pip.conf", str(Path.home() / ".config/pip/pip.conf")):
        if os.path.exists(file):
            found.append(
                f"--volume={file}:{'/etc/pip.conf' if file.startswith('/etc') else '/root/.config/pip/pip.conf'}:ro"
            )
    for line in run(sys.executable, "-m", "pip", "config", "list").splitlines():
        name, _, value = line.partition("=")
        if name.rpartition(".")[2] in ("find-links", "index-url", "extra-index-url"):
            for word in str(ast.literal_eval(value)).split():
                path = word.removeprefix("file://").rstrip("/").removesuffix("/simple")  # its files lie beside it
                if path.startswith("/") and os.path.isdir(path):
                    mount = f"--volume={path}:{path}:ro"
                    found += [mount] if mount not in found else []
    return found


def key() -> Path:
    """The operator's ssh key for the test hosts."""
    path = STATE / "id_ed25519"
    if not path.exists():
        STATE.mkdir(parents=True, exist_ok=True)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test hosts", "-f", str(path))
    return path


def container(name: str) -> str:
    return f"{NETWORK}-{name}"


def host(name: str, *options: str, image: str | None = None) -> dict[str, Any]:
    """Start a host, unless it runs, and wait until it has booted. Returns its inventory variables."""
    outside()
    inside = container(name)
    if not exists("container", inside):
        docker("volume", "create", inside)
        options = ("--restart=unless-stopped", *pip_mounts(), *options)
        docker("run", "--detach", "--name", inside, f"--hostname={name}", f"--network={NETWORK}", f"--publish=127.0.0.1:{free_port()}:22", *ENGINE,
               f"--volume={inside}:/var/lib/docker", *options, image or base_image())  # fmt: skip
        wait_booted(inside)
        put(inside, "/home/ops/.ssh/authorized_keys", key().with_suffix(".pub").read_text(), "0600")
        docker("exec", inside, "sh", "-c", "chown -R ops: /home/ops/.ssh")
    elif docker("inspect", "--format", "{{.State.Running}}", inside) != "true":
        docker("start", inside)
        wait_booted(inside)
    return connection(name)


def connection(name: str) -> dict[str, Any]:
    """Inventory variables of a host, with its ssh host key pinned."""
    inside = container(name)
    port = int(docker("port", inside, "22").split(":")[-1])
    known = STATE / f"{name}.known_hosts"
    public = docker("exec", inside, "cat", "/etc/ssh/ssh_host_ed25519_key.pub").rsplit(" ", 1)[0]
    known.write_text(f"[127.0.0.1]:{port} {public}\n")
    return {
        "ansible_connection": "ssh",
        "ansible_host": "127.0.0.1",
        "ansible_port": port,
        "ansible_user": "ops",
        "ansible_become": True,
        "ansible_ssh_private_key_file": str(key()),
        "ansible_ssh_common_args": f"-o UserKnownHostsFile={known} -o StrictHostKeyChecking=yes",
    }


def reboot(name: str, power_cut: bool = False) -> None:
    """As a reboot does it: /run is new, /etc and /var stay."""
    docker("restart", "--time", "0" if power_cut else "60", container(name))
    wait_booted(container(name))


def remove(name: str) -> None:
    docker("rm", "--force", "--volumes", container(name), ok=False)
    docker("volume", "rm", container(name), ok=False)


def inventory(scenario: str, hosts: dict[str, dict[str, dict[str, Any]]], folder: Path) -> Path:
    """A folder for `ansible-playbook -i`: hosts of the test hosts by group, the example site's group_vars, the scenario's host_vars."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.with_name(f"{folder.name}-pins.json").unlink(missing_ok=True)  # of the hosts that were
    folder.mkdir(parents=True)
    (folder / "group_vars").symlink_to(HERE / "group_vars")  # the production ones and the test hosts'
    (folder / "host_vars").symlink_to(HERE.parent / scenario / "host_vars")
    groups: dict[str, Any] = {"accelerators": {"children": {group: {"hosts": rows} for group, rows in hosts.items()}}}
    groups["testhosts"] = {"hosts": {name: {} for rows in hosts.values() for name in rows}}
    (folder / "hosts.yml").write_text(yaml.safe_dump(groups, sort_keys=False))
    return folder
