"""Environments from bundles: wheels that the controller unpacked for hosts without a package index.

A bundle is a folder with bundle.json and parts of one gzipped tar; each part is checked against its sha256.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import tarfile
from typing import Any, cast

from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.files import read_json
from ansible.module_utils.serving.host.cpu import read
from ansible.module_utils.serving.host.environments import must, run


class Joined:
    """The parts of a bundle as one file to read, each checked against its digest before its last byte is handed on."""

    def __init__(self, folder: str, rows: list[dict[str, Any]]) -> None:
        self.folder, self.rows, self.sha = folder, list(rows), hashlib.sha256()
        self.source: Any = None

    def read(self, size: int = -1) -> bytes:
        while self.rows:
            row = self.rows[0]
            if self.source is None:
                self.source, self.sha = open(os.path.join(self.folder, row["file"]), "rb"), hashlib.sha256()
            data: bytes = self.source.read(size if size > 0 else 1 << 20)
            self.sha.update(data)
            if data:
                return data
            self.source.close()
            self.source = None
            if self.sha.hexdigest() != row["sha256"]:
                raise Refusal(
                    "%s of bundle %s is damaged (sha256 %s, not %s); copy it again"
                    % (row["file"], self.folder, self.sha.hexdigest(), row["sha256"])
                )
            self.rows.pop(0)
        return b""


def bundle_manifest(folder: str) -> dict[str, Any]:
    try:
        found = read_json(os.path.join(folder, "bundle.json"))
    except ValueError:
        found = None
    if not isinstance(found, dict) or "parts" not in found:
        raise Refusal(
            "%s is no bundle: bundle.json is not there or damaged; make it with playbooks/bundle_env.yml" % folder
        )
    return found


def write_scripts(path: str, packages: str) -> None:
    """bin/ of an environment whose packages were unpacked: console scripts from their metadata, programs as they came."""
    for base in sorted(os.listdir(packages)):
        text = read(os.path.join(packages, base, "entry_points.txt")) if base.endswith(".dist-info") else ""
        section = re.search(r"(?ms)^\[console_scripts\]\s*$(.*?)(?=^\[|\Z)", text)
        for name, place, function in re.findall(
            r"(?m)^\s*([\w.-]+)\s*=\s*([\w.]+):([\w.]+)", section.group(1) if section else ""
        ):
            target = os.path.join(path, "bin", name)
            with open(target, "w", encoding="utf-8") as out:
                out.write(
                    '#!%s/bin/python\nimport sys\nfrom %s import %s\nif __name__ == "__main__":\n    sys.exit(%s())\n'
                    % (path, place, function.split(".")[0], function)
                )
            os.chmod(target, 0o755)  # noqa: S103
    programs = os.path.join(packages, "bin")
    for name in sorted(os.listdir(programs)) if os.path.isdir(programs) else []:
        with open(os.path.join(programs, name), "rb") as source:
            data = source.read()
        if not data.startswith(b"#!"):
            with open(os.path.join(path, "bin", name), "wb") as binary:
                binary.write(data)
            os.chmod(os.path.join(path, "bin", name), 0o755)  # noqa: S103


def unpack(python: str, path: str, folder: str) -> int:
    """Make the environment from a bundle. Returns the number of packages."""
    found = bundle_manifest(folder)
    version = run([python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], dict(os.environ)).stdout.strip()
    machine = os.uname().machine
    if (version, machine) != (found["python"], found["arch"]):
        raise Refusal(
            "bundle %s is made for Python %s on %s, this is Python %s on %s; make another, or name another interpreter"
            % (folder, found["python"], found["arch"], version, machine)
        )
    shared = ["--system-site-packages"] if found["provided"] else []
    must(
        [python, "-m", "venv", "--without-pip", *shared, path], dict(os.environ), "making the environment", path, python
    )
    packages = os.path.join(path, "lib", "python" + version, "site-packages")
    joined = Joined(folder, found["parts"])
    try:
        with gzip.open(cast(Any, joined)) as packed, tarfile.open(fileobj=packed, mode="r|") as source:
            source.extractall(packages, filter="data")
        while joined.read():  # the digest of the last part, too
            pass
    except (tarfile.TarError, gzip.BadGzipFile, EOFError) as error:
        raise Refusal("bundle %s can't be unpacked (%s); copy it again" % (folder, error)) from None
    if found["provided"]:
        # An interpreter that lives in an environment itself hands on the system's packages, not its own.
        sites = run([python, "-c", "import site; print('\\n'.join(site.getsitepackages()))"], dict(os.environ)).stdout
        with open(os.path.join(packages, "provided.pth"), "w", encoding="utf-8") as out:
            out.write(sites)
    write_scripts(path, packages)
    return int(found["packages"])
