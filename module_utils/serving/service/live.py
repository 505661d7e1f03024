"""Adapters that a running engine loads and gives up, so that its process stays: for releases whose spec says how (`live`).

spec["live"]: {load, unload: paths of the engine's API, line: what begins the line of its file of options that lists adapters, seen: where a
container's engine sees adapters, or null}. The release has them in that line, too, so a process that is restarted has the same ones.

services/<name>/owner_key   0600, made once: the guard lets the two paths through for it alone, and nothing else
services/<name>/adapters/   copies of adapters, which a running container sees; its other mounts are those of its start
"""

from __future__ import annotations

import os
from typing import Any, Mapping

from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.files import copy_file, own_folder, remove_tree, write_atomic, write_json
from ansible.module_utils.serving.service import probe, releases
from ansible.module_utils.serving.service.exchange import NotYet

LOADS = "adapters come and go while the process stays"  # the reason that a plan reads
KEY, FOLDER = "owner_key", "adapters"
TIMEOUT = 120.0  # seconds to load one adapter
ITS_OWN = ("adapters", "check")  # keys of a spec that say which adapters there are


def texts_of(release: str) -> dict[str, str]:
    """{file: text} of what a release runs. Inputs are in its spec by their digests; what Python compiled of its modules is none of it."""
    found = {}
    for base, below, names in os.walk(release):
        below[:] = [one for one in below if one != "__pycache__" and (one != "inputs" or base != release)]
        for name in names:
            path = os.path.join(base, name)
            if os.path.relpath(path, release) != "spec.json":
                with open(path, encoding="utf-8", errors="surrogateescape") as source:
                    found[os.path.relpath(path, release)] = source.read()
    return found


def without(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A spec without what says which adapters there are."""
    check = {key: value for key, value in (spec.get("check") or {}).items() if key != "adapters"}
    return {**{key: value for key, value in spec.items() if key not in ITS_OWN}, "check": check}


def same_but_adapters(
    old: Mapping[str, Any], new: Mapping[str, Any], before: Mapping[str, str], after: Mapping[str, str]
) -> bool:
    """Do two releases differ in their adapters alone, and does the engine take those while it runs?"""
    live = new.get("live")
    if not live or without(old) != without(new) or set(before) != set(after):
        return False
    mark = "%s:" % live["line"]

    def rest(text: str) -> list[str]:
        return [line for line in text.splitlines() if not line.startswith(mark)]

    return all(rest(before[name]) == rest(after[name]) for name in before)


def stays(folder: str, run: Mapping[str, Any] | None, spec: Mapping[str, Any], files: Mapping[str, str] | None) -> bool:
    """Does the process of `run` stay for this release? `files`: the release's, None: those of `current`."""
    if not run or not spec.get("live"):
        return False
    old = os.path.join(folder, "releases", str(run["release"]))
    was = releases.read_spec(old)
    after = dict(files) if files is not None else texts_of(os.path.realpath(os.path.join(folder, "current")))
    return was is not None and same_but_adapters(was, spec, texts_of(old), after)


def seen(spec: Mapping[str, Any]) -> dict[str, str]:
    """{adapter: its path as the engine sees it}."""
    place = spec["live"]["seen"]
    return {
        name: "%s/%s" % (place, os.path.basename(row["path"])) if place else row["path"]
        for name, row in (spec.get("adapters") or {}).items()
    }


def prepared(folder: str, spec: Mapping[str, Any]) -> None:
    """The owner's key and, for a container, its copies of adapters; copies that no release names any more are removed."""
    if not spec.get("live"):
        return
    own_folder(folder)
    key = os.path.join(folder, KEY)
    if not os.path.exists(key):
        write_atomic(key, ("%s\n" % releases.new_key()).encode(), 0o600)
    if not spec["live"]["seen"]:
        return
    place = os.path.join(folder, FOLDER)
    own_folder(place)
    there = os.path.join(folder, "releases")
    specs = [spec, *(releases.read_spec(os.path.join(there, number)) or {} for number in releases.releases(folder))]
    named = {os.path.basename(row["path"]) for one in specs for row in (one.get("adapters") or {}).values()}
    for name in os.listdir(place):
        if name not in named:
            remove_tree(os.path.join(place, name))
    for row in (spec.get("adapters") or {}).values():
        copied(row["path"], os.path.join(place, os.path.basename(row["path"])))


def copied(source: str, dest: str) -> None:
    """A folder's copy, visible by one rename."""
    if os.path.isdir(dest):
        return
    part = dest + ".partial"
    remove_tree(part)
    for base, _below, names in os.walk(source):
        inside = os.path.normpath(os.path.join(part, os.path.relpath(base, source)))
        os.makedirs(inside, exist_ok=True)
        for name in names:
            copy_file(os.path.join(base, name), os.path.join(inside, name))
            os.chmod(os.path.join(inside, name), 0o444)
    os.rename(part, dest)


def loaded(endpoint: str, key: str | None) -> dict[str, str]:
    """{adapter: path} of what the engine has, by its own list of models."""
    rows = probe.parse(probe.get(endpoint, "/v1/models", key, TIMEOUT), "GET /v1/models").get("data") or []
    return {str(row.get("id")): str(row.get("root")) for row in rows if isinstance(row, dict) and row.get("parent")}


def applied(root: str, name: str, run: Mapping[str, Any], number: str, spec: Mapping[str, Any]) -> list[str]:
    """Have the running engine load what the release has and give up the rest; then the process is this release's: what was done, in words.

    Goes by what the engine says it has, so a run that was killed half way is mended by the next one. Refusal where the engine refuses.
    """
    folder, live = releases.service_dir(root, name), spec["live"]
    with open(os.path.join(folder, KEY), encoding="ascii") as source:
        owner = source.read().strip()
    try:
        have, want = loaded(spec["endpoint"], releases.read_key(folder)), seen(spec)
        gone = [one for one, path in sorted(have.items()) if want.get(one) != path]
        new = [one for one, path in sorted(want.items()) if have.get(one) != path]
        for path, names in ((live["unload"], gone), (live["load"], new)):
            for one in names:
                body = {"lora_name": one, **({"lora_path": want[one]} if path == live["load"] else {})}
                status, answer = probe.ask(spec["endpoint"], "POST", path, owner, body, TIMEOUT)
                if status != 200:
                    text = answer.decode("utf-8", "replace")[:300]
                    raise Refusal("the engine answers %s for adapter '%s' with %d: %s" % (path, one, status, text))
    except NotYet as error:
        raise Refusal("the engine could not be asked for its adapters: %s" % error) from None
    write_json(os.path.join(folder, "run.json"), {**run, "release": number})
    return ["adapter '%s' was given up" % one for one in gone if one not in new] + [
        "adapter '%s' was loaded, the process stays" % one for one in new
    ]
