"""A site beside a product that can't be written, not even by root."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from conftest import ROOT, ansible_environment

CAPBSET_DROP, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 24, 1, 2  # linux/prctl.h, linux/capability.h


def bound() -> None:
    """In a child: rights of files hold for root, too."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None)
        for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
            libc.prctl(CAPBSET_DROP, capability, 0, 0, 0)


def tree(folder: Path) -> dict[str, str]:
    """{path: digest and rights} of all files and links below a folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        about = path.lstat()
        text = os.readlink(path) if path.is_symlink() else path.read_bytes().hex() if path.is_file() else ""
        digest = hashlib.sha256(text.encode()).hexdigest()
        found[str(path.relative_to(folder))] = f"{digest} {about.st_mode:o} {about.st_uid}"
    return found


class Fleet:
    """base/product is a copy of the project that nobody may write, base/home/fleet the site."""

    def __init__(self, base: Path) -> None:
        self.base, self.product, self.home = base, base / "product", base / "home"
        self.folder = self.home / "fleet"
        names = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
        for name in subprocess.run(names, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines():
            if (ROOT / name).is_file() and not name.startswith(("tests/", "benchmarks/")):
                (self.product / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, self.product / name, follow_symlinks=False)
        self.home.mkdir()
        subprocess.run(["chmod", "-R", "a-w,a+rX", str(self.product)], check=True)
        self.before = tree(self.product)

    def write(self, name: str, text: str, mode: int = 0o644) -> Path:
        """A file below the home of the one who runs it."""
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    def call(self, *words: str, ok: bool | None = True, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {
            k: v for k, v in ansible_environment().items() if not k.startswith(("ANSIBLE_CONFIG", "VLLM_ANSIBLE"))
        }
        environment |= {"HOME": str(self.home), "TMPDIR": str(self.home), **variables}
        done = subprocess.run(
            words, cwd=self.folder if self.folder.exists() else self.home, env=environment, capture_output=True, text=True,
            timeout=900, check=False, preexec_fn=bound,
        )  # fmt: skip
        output = done.stdout + done.stderr
        assert "Skipping plugin" not in output and "Traceback" not in output, output
        assert ok is None or (done.returncode == 0) is ok, output
        return done

    def make(self) -> subprocess.CompletedProcess[str]:
        return self.call(sys.executable, str(self.product / "scripts/make_site.py"), str(self.folder))

    def play(self, name: str, *words: str, ok: bool | None = True, extra: dict[str, Any] | None = None) -> str:
        """Output of a playbook in the site, in one line."""
        more = ["-e", json.dumps(extra)] if extra else []
        done = self.call("ansible-playbook", name, *more, *words, ok=ok)
        return " ".join((done.stdout + done.stderr).split())
