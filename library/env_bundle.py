#!/usr/bin/python
"""Module env_bundle: a Python environment as files, for hosts without a route to a package index."""

from __future__ import annotations

DOCUMENTATION = r"""
module: env_bundle
short_description: Collect a Python environment for another machine into a few files
description:
  - Runs on the controller, where a package index can be reached. Installs the wheels of a lock for the target's Python and architecture into a folder,
    packs it, and writes C(bundle.json) beside the parts with their sha256. M(python_env) makes the environment from that on the host.
  - A package that is published without a wheel is built here, if it is Python alone.
  - What the target's own Python has already (O(provided)) and what it does not need (O(leave_out), O(leave_out_files)) stays out.
options:
  dest: {description: Folder of the bundle; it is made anew when the lock or an option changes., type: path, required: true}
  lock: {description: "Requirements, one a line, each with its version; hashes are checked where they stand.", type: str, required: true}
  python: {description: "Version of the target's Python, such as 3.12.", type: str, required: true}
  arch: {description: Architecture of the target., type: str, choices: [x86_64, aarch64], default: x86_64}
  glibc: {description: "Version of the target's C library (ldd --version).", type: str, default: '2.34'}
  provided: {description: Distributions that the target's own Python has., type: list, elements: str, default: []}
  leave_out: {description: Distributions that are not needed., type: list, elements: str, default: []}
  leave_out_files: {description: Patterns of paths that are not needed., type: list, elements: str, default: []}
  part_bytes: {description: Largest size of one file., type: int, default: 1000000000}
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
"""
EXAMPLES = r"""
- name: Bundle vLLM for a host that has torch
  env_bundle:
    dest: build/bundles/vllm-gpu
    lock: "{{ lookup('ansible.builtin.file', 'vllm-gpu.lock') }}"
    python: "3.12"
    provided: [torch, triton, numpy]
  delegate_to: localhost
"""
RETURN = r"""
bytes: {description: Size of all parts., returned: always, type: int}
packages: {description: Number of distributions., returned: always, type: int}
parts: {description: Number of files., returned: always, type: int}
"""

import fnmatch
import gzip
import hashlib
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import urllib.parse
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import Refusal, run_module
from ansible.module_utils.serving.files import digest, locked, read_json, remove_tree, write_json
from ansible.module_utils.serving.host.installers import masked

MANIFEST = "bundle.json"


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def wanted(lock: str, without: set[str]) -> list[str]:
    """The lock's entries, with their hashes, but for the distributions that are left out."""
    entries = re.findall(r"(?m)^[A-Za-z0-9][^\n]*\n?(?:[ \t]+--hash=[^\n]*\n?)*", lock)
    kept = []
    for entry in entries:
        match = re.match(r"([A-Za-z0-9._-]+)(\[[^\]]*\])?==", entry)
        if not match:
            raise Refusal("the lock has %r, which is not NAME==VERSION; pin it" % entry.split("\n")[0])
        if canonical(match.group(1)) not in without:
            kept.append(entry if entry.endswith("\n") else entry + "\n")
    return kept


def platforms(arch: str, glibc: str) -> list[str]:
    """pip's names of what runs on a C library of this version: each older one too."""
    newest = tuple(map(int, glibc.split(".")))
    versions = ["2.%d" % minor for minor in range(newest[1], 16, -1)] + ["2.12", "2.5"]
    names = ["manylinux_%s_%s" % (v.replace(".", "_"), arch) for v in versions]
    return [*names, "manylinux2014_%s" % arch, "manylinux2010_%s" % arch, "manylinux1_%s" % arch, "linux_%s" % arch]


class Parts:
    """A file-like that writes parts of a limited size and knows their digests."""

    def __init__(self, folder: str, limit: int) -> None:
        self.folder, self.limit = folder, limit
        self.rows: list[dict[str, Any]] = []
        self.out: Any = None

    def write(self, data: bytes) -> int:
        view = memoryview(data)
        while view:
            if self.out is None:
                name = "part%02d" % len(self.rows)
                self.out = open(os.path.join(self.folder, name), "wb")
                self.rows.append({"file": name, "bytes": 0, "sha256": hashlib.sha256()})
            row = self.rows[-1]
            piece = view[: self.limit - row["bytes"]]
            self.out.write(piece)
            row["sha256"].update(piece)
            row["bytes"] += len(piece)
            view = view[len(piece) :]
            if row["bytes"] == self.limit:
                self.end()
        return len(data)

    def end(self) -> None:
        if self.out is not None:
            self.out.flush()
            os.fsync(self.out.fileno())
            self.out.close()
            self.out = None

    def flush(self) -> None:
        if self.out is not None:
            self.out.flush()


def pack(tree: str, folder: str, patterns: list[str], limit: int) -> list[dict[str, Any]]:
    """Pack a folder into parts: [{file, bytes, sha256}]. Same content, same bytes: names sorted, times and owners left out."""
    parts = Parts(folder, limit)
    # gzip writes the time of day into its head unless it is told another
    with (
        gzip.GzipFile(filename="", fileobj=parts, mode="wb", compresslevel=6, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w|") as out,
    ):
        for base, folders, files in os.walk(tree):
            folders.sort()
            for name in sorted(files):
                path = os.path.relpath(os.path.join(base, name), tree)
                if "__pycache__" in path or any(fnmatch.fnmatch(path, pattern) for pattern in patterns):
                    continue
                entry = out.gettarinfo(os.path.join(base, name), arcname=path)
                entry.mtime, entry.uid, entry.gid, entry.uname, entry.gname = 0, 0, 0, "", ""
                if entry.isfile():
                    with open(os.path.join(base, name), "rb") as source:
                        out.addfile(entry, source)
                else:
                    out.addfile(entry)
    parts.end()
    return [dict(row, sha256=row["sha256"].hexdigest()) for row in parts.rows]


def pip(words: list[str], entries: list[str], folder: str) -> subprocess.CompletedProcess[str]:
    """Run pip over entries of a lock; it checks their hashes."""
    lock = os.path.join(folder, "lock.txt")
    with open(lock, "w", encoding="utf-8") as out:
        out.writelines(entries)
    command = [sys.executable, "-m", "pip", *words, "--quiet", "--disable-pip-version-check", "--no-deps", "-r", lock]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)


def words_of(done: subprocess.CompletedProcess[str]) -> str:
    """The last words of a pip that failed."""
    words: str = masked("\n".join((done.stderr or done.stdout).strip().splitlines()[-12:]))
    return words


def built(entry: str, folder: str) -> str:
    """The entry of a wheel that is built here from the source of a package that has none. Only Python alone runs on another machine."""
    wheels = tempfile.mkdtemp(dir=folder)
    done = pip(["wheel", "--wheel-dir", wheels], [entry], folder)
    name = entry.split()[0]
    if done.returncode:
        raise Refusal(
            "%s is published without a wheel, and none can be built here; name it in leave_out:\n%s" % (name, words_of(done))
        )  # fmt: skip
    (wheel,) = os.listdir(wheels)
    if not wheel.endswith("-none-any.whl"):
        raise Refusal(
            "%s is published without a wheel and has to be compiled (%s), which works on the target alone; name it in leave_out" % (name, wheel)
        )  # fmt: skip
    path = os.path.join(wheels, wheel)
    with open(path, "rb") as source:
        return "file://%s --hash=sha256:%s\n" % (urllib.parse.quote(path), hashlib.sha256(source.read()).hexdigest())


def install(module: AnsibleModule, entries: list[str], folder: str) -> str:
    given, tree = module.params, os.path.join(folder, "tree")
    words = ["install", "--no-compile", "--target", tree, "--only-binary=:all:", "--implementation=cp"]
    words += ["--python-version", given["python"]]
    words += ["--abi=cp%s" % given["python"].replace(".", ""), "--abi=abi3", "--abi=none"]
    for name in platforms(given["arch"], given["glibc"]):
        words += ["--platform", name]
    entries = list(entries)
    while True:
        done = pip(words, entries, folder)
        if not done.returncode:
            return tree
        lacking = re.search(r"No matching distribution found for (\S+==\S+)", done.stderr)
        places = [n for n, entry in enumerate(entries) if lacking and entry.split()[0] == lacking.group(1)]
        if not places:
            raise Refusal(
                "the wheels can't be had for Python %s on %s:\n%s" % (given["python"], given["arch"], words_of(done))
            )
        entries[places[0]] = built(entries[places[0]], folder)


def body(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    dest = given["dest"]
    without = {canonical(name) for name in (*given["provided"], *given["leave_out"])}
    entries = wanted(given["lock"], without)
    recipe = digest(
        {
            "entries": entries,
            **{key: given[key] for key in ("python", "arch", "glibc", "leave_out_files", "part_bytes")},
        }
    )
    try:
        found = read_json(os.path.join(dest, MANIFEST)) or {}
    except ValueError:
        found = {}
    whole = found.get("recipe") == recipe and all(
        os.path.isfile(os.path.join(dest, row["file"]))
        and os.path.getsize(os.path.join(dest, row["file"])) == row["bytes"]
        for row in found["parts"]
    )
    if whole or module.check_mode:
        rows = found.get("parts", [])
        return {
            "changed": not whole,
            "bytes": sum(row["bytes"] for row in rows),
            "packages": len(entries),
            "parts": len(rows),
        }
    os.makedirs(os.path.dirname(dest), exist_ok=True)
    with locked(dest + ".lock", "the bundle %s" % dest, 3600):
        folder = dest + ".partial"
        remove_tree(folder)
        os.makedirs(folder)
        tree = install(module, entries, folder)
        rows = pack(tree, folder, given["leave_out_files"], given["part_bytes"])
        parts = {row["file"] for row in rows}
        for name in os.listdir(folder):
            if name not in parts:
                remove_tree(os.path.join(folder, name))
        write_json(
            os.path.join(folder, MANIFEST),
            {
                "recipe": recipe, "python": given["python"], "arch": given["arch"], "parts": rows, "packages": len(entries),
                "provided": sorted(canonical(name) for name in given["provided"]),
            },
        )  # fmt: skip
        remove_tree(dest)
        os.rename(folder, dest)
    return {"changed": True, "bytes": sum(row["bytes"] for row in rows), "packages": len(entries), "parts": len(rows)}


def main() -> None:
    names = {"type": "list", "elements": "str", "default": []}
    spec = {
        "dest": {"type": "path", "required": True},
        "lock": {"type": "str", "required": True},
        "python": {"type": "str", "required": True},
        "arch": {"type": "str", "choices": ["x86_64", "aarch64"], "default": "x86_64"},
        "glibc": {"type": "str", "default": "2.34"},
        "provided": names,
        "leave_out": names,
        "leave_out_files": names,
        "part_bytes": {"type": "int", "default": 1_000_000_000},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
