"""This machine's Docker engine, and how a test host boots on it."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent.parent
ROOT = HERE.parent.parent
STATE = ROOT / "build" / "testhosts"
NETWORK = OUTSIDE = "vllm-testhosts"
# What systemd needs to boot, and nothing of the machine outside.
SYSTEMD = ["--cap-add=SYS_ADMIN", "--cgroupns=private", "--tmpfs=/run:exec", "--tmpfs=/run/lock"]


def run(*command: str, ok: bool = True, text: str | None = None, **options: Any) -> str:
    """Output of a command. Its last words are in the error when it fails."""
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, **options)
    if ok and done.returncode:
        raise RuntimeError(
            f"{' '.join(command)[:300]}: exit code {done.returncode}\n{(done.stderr or done.stdout)[-2000:]}"
        )
    return done.stdout.strip()


def docker(*words: str, **options: Any) -> str:
    return run("docker", *words, **options)


def exists(kind: str, name: str) -> bool:
    return bool(docker(kind, "inspect", "--format", "x", name, ok=False))


def tag_of(*parts: str | bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else part)
    return digest.hexdigest()[:12]


def say(text: str) -> None:
    print(f"test hosts: {text}", file=sys.stderr, flush=True)


def wait_booted(name: str) -> None:
    until = time.monotonic() + 60
    while (state := docker("exec", name, "systemctl", "is-system-running", ok=False)) not in ("running", "degraded"):
        if time.monotonic() > until:
            raise RuntimeError(f"{name} has not booted within 60 s ({state})\n{docker('logs', name, ok=False)[-1000:]}")
        time.sleep(0.3)


def put(name: str, path: str, text: str, mode: str = "0644") -> None:
    """Write a file on a test host."""
    docker(
        "exec", "-i", name, "sh", "-c", f"mkdir -p $(dirname {path}) && cat > {path} && chmod {mode} {path}", text=text
    )
