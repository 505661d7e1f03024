"""A site beside a product that can't be written, as an operator has them who is not the product's owner."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from conftest import ROOT, ansible_environment

NOBODY = 65534


def other_user() -> dict[str, Any]:
    """Options of subprocess by which a program runs as somebody who may write nothing here; {} where that can't be."""
    options: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    if os.geteuid() != 0:
        return {}
    try:
        subprocess.run([sys.executable, "-c", ""], check=True, **options)
    except (OSError, subprocess.SubprocessError):  # the interpreter lies in a folder of root's alone
        return {}
    return options


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
    """base/product is a copy of the project that nobody may write, base/fleet the site of another user."""

    def __init__(self, base: Path) -> None:
        self.base, self.product, self.home = base, base / "product", base / "home"
        self.folder = self.home / "fleet"
        self.user = other_user()
        base.chmod(0o755)
        names = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
        for name in subprocess.run(names, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines():
            if (ROOT / name).is_file() and not name.startswith(("tests/", "benchmarks/")):
                (self.product / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, self.product / name, follow_symlinks=False)
        self.home.mkdir()
        self.own(self.home)
        subprocess.run(["chmod", "-R", "a-w,a+rX", str(self.product)], check=True)
        self.before = tree(self.product)

    def own(self, path: Path) -> None:
        """Give a file or folder, and what is below it, to the site's user."""
        if self.user:
            subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", str(path)], check=True)

    def write(self, name: str, text: str, mode: int = 0o644) -> Path:
        """A file below the user's home."""
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        self.own(self.home)
        return path

    def call(self, *words: str, ok: bool | None = True, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {
            k: v for k, v in ansible_environment().items() if not k.startswith(("ANSIBLE_CONFIG", "VLLM_ANSIBLE"))
        }
        environment |= {"HOME": str(self.home), "TMPDIR": str(self.home), "PYTHONDONTWRITEBYTECODE": "1", **variables}
        done = subprocess.run(
            words, cwd=self.folder if self.folder.exists() else self.home, env=environment, capture_output=True, text=True,
            timeout=300, check=False, **self.user,
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
