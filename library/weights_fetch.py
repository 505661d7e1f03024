#!/usr/bin/python
"""Module weights_fetch: bring a model onto a host, verified, visible by one rename."""

from __future__ import annotations

DOCUMENTATION = r"""
module: weights_fetch
short_description: Publish a model below models_root
description:
  - Copies the model's folder (reflink where the file system can), verifies every file, writes a manifest with sha256 and publishes by one rename.
  - The source's C(SHA256SUMS) is checked where there is one. Shards are checked against their headers and the index.
  - Without a pinned revision, the revision is the first 12 digits of the manifest's digest.
  - A run on an unchanged source reads no weights; a killed run leaves nothing visible and the next one starts clean.
options:
  name: {description: Model's name in models.yml., type: str, required: true}
  models_root: {description: Folder of published models., type: path, required: true}
  sources:
    description: Where the model is published, as in models.yml. This version fetches from C(directory), a folder on the host (disk or NFS).
    type: dict
    required: true
  lock_timeout: {description: Seconds to wait for another process that publishes the same model., type: int, default: 3600}
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
"""
EXAMPLES = r"""
- name: Publish the demo model
  weights_fetch:
    name: demo
    models_root: /srv/vllm/models
    sources: {directory: {path: /opt/models/demo}}
"""
RETURN = r"""
path: {description: The published folder., returned: always, type: str, sample: /srv/vllm/models/demo@0a1b2c3d4e5f}
revision: {description: Its revision., returned: always, type: str}
identity: {description: Digest over names, sizes and sha256 of its files., returned: always, type: str}
bytes: {description: Size of its files., returned: always, type: int}
source: {description: Which source served., returned: always, type: str}
reasons: {description: Why something was done., returned: always, type: list, elements: str}
"""

import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving import manifest as m
from ansible.module_utils.serving.errors import Refusal, run_module
from ansible.module_utils.serving.files import locked, read_json, remove_tree, write_json

VERSION = "1"


def unchanged(models_root: str, name: str, source: str, files: dict[str, str]) -> tuple[str | None, list[str]]:
    """(folder, reasons): the folder that the last run published from the same, untouched source; else why not."""
    try:
        ref = read_json(m.ref_path(models_root, name))
    except ValueError:
        ref = None
    if not isinstance(ref, dict) or not isinstance(ref.get("revision"), str):
        return None, ["'%s' is not published yet" % name]
    folder = m.published(models_root, name, ref["revision"])
    manifest = m.read_manifest(folder)
    if manifest is None:
        return None, ["%s is gone" % folder]
    problems = m.damage(folder, manifest, full=False)
    if problems:
        return None, problems
    if ref.get("source") != source or ref.get("fingerprint") != m.fingerprint(files):
        return None, ["the source %s has changed" % source]
    return folder, []


def result(folder: str, revision: str, files: dict[str, dict], changed: bool, reasons: list[str]) -> dict[str, Any]:
    size = sum(f["bytes"] for f in files.values())
    before, after = ("", "%s (%d files, %d bytes)\n" % (folder, len(files), size)) if changed else ("", "")
    return {
        "changed": changed,
        "path": folder,
        "revision": revision,
        "identity": m.identity(files),
        "bytes": size,
        "source": "directory",
        "reasons": reasons,
        "diff": {"before": before, "after": after, "before_header": "models", "after_header": "models"},
    }


def body(module: AnsibleModule) -> dict[str, Any]:
    name, root, sources = module.params["name"], module.params["models_root"], module.params["sources"]
    source = os.path.expanduser((sources.get("directory") or {}).get("path") or "")
    if not source:
        raise Refusal(
            "model '%s' has the sources %s; this version fetches from a directory: set sources.directory.path in models.yml"
            % (name, ", ".join(sorted(sources)) or "none")
        )
    files = m.list_files(source)
    folder, reasons = unchanged(root, name, source, files)
    if folder:
        found = m.read_manifest(folder) or {}
        return result(folder, found["revision"], found["files"], False, [])
    if module.check_mode:
        m.check_shards(files)
        size = sum(os.path.getsize(path) for path in files.values())
        text = "%s (%d files, %d bytes)\n" % (m.published(root, name, "<revision>"), len(files), size)
        diff = {"before": "", "after": text, "before_header": "models", "after_header": "models"}
        return {"changed": True, "path": None, "revision": None, "reasons": reasons, "diff": diff}

    os.makedirs(os.path.join(root, ".refs"), exist_ok=True)
    staging = os.path.join(root, ".%s.partial" % name)
    with locked(os.path.join(root, ".refs", name + ".lock"), "model '%s'" % name, module.params["lock_timeout"]):
        # Taken before the copy: a source edited meanwhile is read again next time.
        seen = m.fingerprint(files)
        try:
            staged = m.stage(source, staging)
        except BaseException:
            remove_tree(staging)
            raise
        ident = m.identity(staged)
        revision = ident[:12]
        folder = m.published(root, name, revision)
        there = m.read_manifest(folder) if os.path.isdir(folder) else None
        keep = there is not None and not m.damage(folder, there, full=True)
        if keep:
            remove_tree(staging)
        else:
            about = {"name": name, "revision": revision, "identity": ident, "files": staged, "tool": VERSION}
            m.publish(staging, folder, dict(about, source={"kind": "directory", "path": source}))
        write_json(m.ref_path(root, name), {"revision": revision, "source": source, "fingerprint": seen})
    return result(folder, revision, staged, not keep, [] if keep else reasons)


def main() -> None:
    spec = {
        "name": {"type": "str", "required": True},
        "models_root": {"type": "path", "required": True},
        "sources": {"type": "dict", "required": True},
        "lock_timeout": {"type": "int", "default": 3600},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
