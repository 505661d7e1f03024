"""Filters for what a release is made of beside weights and image: `input_files`, `input_problems`, `host_inputs`.

A row's `files` are files and folders of the controller: they travel into the release, below inputs/, and engine_args and env
name them by their names there. What a row mounts or names on the host stays where it is: its content is part of the release.
"""

from __future__ import annotations

import itertools
import json
import os
import posixpath
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

Record = Mapping[str, Any]

LIMIT = 2 << 30  # bytes of all files of a row: what is larger belongs on the host, in `mounts`
COUNT = 1000
NAME = r"[A-Za-z0-9][A-Za-z0-9._+-]*"
# Any other option or variable counts with a path that ends like this: logs, caches and the system's certificates don't.
CONFIGURATION = (
    ".json", ".yaml", ".yml", ".toml", ".cfg", ".ini", ".conf", ".jinja", ".jinja2", ".j2", ".py", ".xml",
)  # fmt: skip
# Variables by which engines read a folder or a file of whatever name.
VARIABLES = ("VLLM_TUNED_CONFIG_FOLDER", "VLLM_MODEL_REDIRECT_PATH", "SGLANG_MOE_CONFIG_DIR")

# A file that a shell line reads as its own: `.` or `source` where a command begins. What has variables in it is known to nobody here.
BEGIN = r"(?:^|[;&|({!\n]|\b(?:if|then|do|else|while|until)\s)\s*"
BEFORE = r"""(?:[A-Za-z_]\w*=(?:"[^"]*"|'[^']*'|[^\s;&|"'])*\s+)*(?:\\?(?:builtin|command)\s+(?:--\s+)?)*"""
WORD = r"""((?:"[^"$`\\]*"|'[^']*'|\\.|[^\s;&|()<>"'\\$`])+)(?=[\s;&|()<>]|$)"""
SOURCED = re.compile(BEGIN + BEFORE + r"\\?(?:\.|source)\s+(?:--\s+)?" + WORD)


def problem_of(path: str, in_folder: bool = False) -> str | None:
    """Why a file of the controller can't be an input; None if it can. In a folder it may be empty, as `__init__.py` often is."""
    if not os.path.isfile(path):
        return "is neither a file nor a folder" if os.path.exists(path) else "does not exist on the controller"
    try:
        with open(path, "rb") as source:
            head = source.read(64)
    except OSError as error:
        return f"can't be read ({error.strerror})"
    if not head and not in_folder:
        return "is empty"
    if head.startswith(b"$ANSIBLE_VAULT"):
        return "is encrypted with vault, and files of a release may be read by everybody on the host; use secret variables instead"
    if head.startswith(b"version https://git-lfs"):
        return "is a pointer of Git LFS, not the file itself; run `git lfs pull` where it comes from"
    return None


def above(path: str, top: str) -> set[str]:
    """The folders above a path, to `top`, as they really are."""
    found = {os.path.realpath(top)}
    while path != top and os.path.dirname(path) != path:
        path = os.path.dirname(path)
        found.add(os.path.realpath(path))
    return found


def inside(folder: str) -> Iterator[tuple[str, str]]:
    """(relative name, path) of every file below a folder. What editors and git leave there is no part of it."""

    def refuse(error: OSError) -> None:
        raise AnsibleFilterError(f"{error.filename} can't be read ({error.strerror})")

    for base, folders, names in os.walk(folder, followlinks=True, onerror=refuse):
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f != "__pycache__")
        for link in (one for one in (os.path.join(base, f) for f in folders) if os.path.islink(one)):
            if os.path.realpath(link) in above(link, folder):
                raise AnsibleFilterError(f"{link} is a link to a folder above it, so it has no end")
        for name in sorted(n for n in names if not n.startswith(".")):
            path = os.path.join(base, name)
            yield os.path.relpath(path, folder), path


def input_files(service: Record, base: str) -> dict[str, str]:
    """{name in the release: path on the controller} of a row's `files`, folders by their files. `base`: where relative paths begin."""
    found: dict[str, str] = {}
    size = 0
    for name, given in sorted((service.get("files") or {}).items()):
        where = f"service '{service['service']}': files.{name}"
        if not re.fullmatch(NAME, str(name)):
            raise AnsibleFilterError(f"{where}: a name may have letters, digits, dot, dash, plus and underscore")
        if not isinstance(given, str) or not given.strip():
            raise AnsibleFilterError(
                f"{where} is {given!r}, but must be a path on the controller, absolute or below {base}"
            )
        path = os.path.join(base, os.path.expanduser(given))
        rows = [(name, path)]
        if os.path.isdir(path):
            try:
                rows = [(f"{name}/{inner}", one) for inner, one in itertools.islice(inside(path), COUNT + 1)]
            except AnsibleFilterError as error:
                raise AnsibleFilterError(
                    f"{where}: {error}; name the files themselves, or a folder of them alone"
                ) from None
        if not rows:
            raise AnsibleFilterError(f"{where}: the folder {path} is empty")
        for inner, one in rows:
            if not inner.isprintable():
                raise AnsibleFilterError(f"{where}: {one!a} has a name that is not readable text; rename it")
            if problem := problem_of(one, inner != name):
                raise AnsibleFilterError(f"{where}: {one} {problem}")
            size += os.path.getsize(one)
            found[f"inputs/{inner}"] = one
        if size > LIMIT or len(found) > COUNT:
            raise AnsibleFilterError(
                f"{where}: the files of a row may have {LIMIT >> 30} GiB and {COUNT} files together; put {path} on the host, and into mounts"
            )
    return found


def paths_in(value: Any) -> Iterator[str]:
    """What an option names: a path, name=path, {name, path}, or a list of these, also written as JSON."""
    if isinstance(value, Mapping):
        yield from (value[key] for key in ("path", "model", "tokenizer") if isinstance(value.get(key), str))
    elif isinstance(value, list):
        for one in value:
            yield from paths_in(one)
    elif isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            inner = json.loads(value)
        except (ValueError, RecursionError):  # a template
            return
        yield from paths_in(inner)
    elif isinstance(value, str) and value and not re.search(r"[{}\n]", value):
        yield value.partition("=")[2] if re.match(r"[\w.-]+=", value) else value


def named(service: Record) -> Iterator[tuple[str, str]]:
    """(option, path as the engine sees it) of the options that name a file which must be there.

    A chat template may also be the text itself. Options that take a path or a name of something else, such as a repository of a hub,
    count where they are plainly a path, or end like a file of configuration.
    """
    options = service["engine_facts"]["options"]
    ours = (options.get("adapters") or {}).get("list") if service.get("adapters") else None  # fetched as models are
    for key, value in service["engine_args"].items():
        name = str(key).replace("-", "_")
        if name == ours:
            continue
        if name in options["files"]:
            yield from ((f"engine_args.{key}", path) for path in paths_in(value))
        elif name in options["paths"]:
            yield from (
                (f"engine_args.{key}", path)
                for path in paths_in(value)
                if path.startswith(("/", "~")) or path.endswith(CONFIGURATION)
            )


def configured(value: Any) -> Iterator[str]:
    """Absolute paths of configuration anywhere in a value, also in JSON that is written as text."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from configured(one)
    elif isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            yield from configured(json.loads(value))
        except (ValueError, RecursionError):
            return
    elif isinstance(value, str) and value.startswith("/") and value.endswith(CONFIGURATION):
        yield value


def input_problems(plan: list[Record], base: str) -> list[str]:
    """What can be told on the controller: inputs that aren't there, and options that name a file which is no input."""
    found = []
    for service in plan:
        try:
            input_files(service, base)
        except AnsibleFilterError as error:
            found.append(str(error))
        for where, path in named(service):
            if path.startswith(("/", "~", "inputs/")):
                continue
            there = (
                f"or in the model's folder: /models/{service['model']['name']}/{path}, "
                if service["runtime"] == "container"
                else ""
            )
            found.append(
                f"service '{service['service']}': {where} names '{path}', which is none of the row's files; "
                f"add it to files, {there}or give its full path{' below a mount' if there else ' on the host'}"
            )
    return found


def below(path: str, folder: str) -> str | None:
    """The rest of a path below a folder; None if it isn't there."""
    path, folder = posixpath.normpath(path), posixpath.normpath(folder)
    if path == folder:
        return ""
    return path[len(folder.rstrip("/")) + 1 :] if path.startswith(folder.rstrip("/") + "/") else None


def place_of(service: Record, path: str) -> dict[str, Any]:
    """Where on the host a path lies that the engine sees: {path} or {in_model}, a name in the model's folder; empty: it is in the image."""
    if service["runtime"] != "container":
        return {"path": os.path.expanduser(path)} if path.startswith(("/", "~")) else {}
    model = below(path, f"/models/{service['model']['name']}")
    if model is not None:
        return {"in_model": model}
    mounts = [mount.split(":") for mount in service["mounts"] if mount.count(":") >= 1]
    for source, target, *_ in sorted(mounts, key=lambda parts: -len(parts[1])):
        rest = below(path, target)
        if rest is not None:
            return {"path": posixpath.join(source, rest).rstrip("/")}
    return {}


def host_inputs(service: Record) -> list[dict[str, Any]]:
    """[{where, path or in_model, content, may_lack}] of what a row mounts or names on its host, each once.

    `content`: its content is part of the release. Not so for what the service may write to: it would never be the same again.
    'file': so it is where it is a regular file, and not as a folder.
    `may_lack`: nothing says that it must be there.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}

    def add(kind: str, place: str, one: dict[str, Any]) -> None:
        # A mount may be writable and yet be what an option names: then the service reads it.
        first = found.setdefault((kind, posixpath.normpath(place)), {**one, kind: place})
        if not first["content"] or one["content"] is True:
            first["content"] = one["content"]

    for mount in service["mounts"] if service["runtime"] == "container" else []:
        source, _, *mode = mount.split(":")
        add("path", source, {"where": "mounts", "content": "ro" in ",".join(mode).split(",")})
    for where, path in named(service):
        for kind, value in place_of(service, path).items():
            add(kind, value, {"where": where, "content": kind == "path"})
    for table in ("engine_args", "env"):
        for key, value in service[table].items():
            given = [value] if key in VARIABLES and str(value).startswith("/") else configured(value)
            for path in given:
                for kind, value_there in place_of(service, path).items():
                    add(kind, value_there, {"where": f"{table}.{key}", "content": kind == "path", "may_lack": True})
    # What a container's shell line sources lies in the image, or below a mount. Other paths there may be what it writes: caches, logs.
    for word in SOURCED.findall(service.get("activate") or "") if service["runtime"] == "container" else ():
        path = shlex.split(word)[0]
        for kind, value in place_of(service, path).items():
            add(kind, value, {"where": "activate", "content": kind == "path" and "file", "may_lack": True})
    return list(found.values())


class FilterModule:
    """The filters of this file, by name."""

    def filters(self) -> dict[str, Any]:
        return {"host_inputs": host_inputs, "input_files": input_files, "input_problems": input_problems}
