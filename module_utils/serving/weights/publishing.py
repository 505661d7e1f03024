"""From a folder where everything has gathered to a published model: checked as a whole, then visible by one rename."""

from __future__ import annotations

import json
import os
import re
from typing import Any

from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.files import (
    remove_tree,
    sha256_file,
    write_atomic,
)
from ansible.module_utils.serving.weights import folders, manifests
from ansible.module_utils.serving.weights.acquire import nothing_changes
from ansible.module_utils.serving.weights.choice import LFS, SMALL, pointer
from ansible.module_utils.serving.weights.headers import read_header, weight_map
from ansible.module_utils.serving.weights.listing import Listing, SourceFailed
from ansible.module_utils.serving.weights.local import disagreement
from ansible.module_utils.serving.weights.model_state import SUFFIX
from ansible.module_utils.serving.weights.staging import Staging, is_shard

TYPE_KEYS = ("dtype", "torch_dtype")
WIDE = re.compile(r"(torch\.)?(bfloat16|float32|float64)")


def edit(staging: Staging, listing: Listing, convert: str | None) -> dict[str, dict[str, Any]]:
    """The rows of the result; where it was converted, with type and sizes in its JSON files corrected."""
    rows = {entry.name: dict(staging.rows[entry.name]) for entry in listing.files}
    check_sums(staging, rows)
    if not convert:
        return rows
    rows.pop(manifests.SUMS, None)  # sums of the source; the manifest has the result's
    for name in sorted(rows):
        if name != "config.json" and not name.endswith(manifests.INDEX_END):
            continue
        path = staging.path(name)
        with open(path, "rb") as source:
            text = source.read()
        text = as_float16(text, path) if name == "config.json" else with_size(text, name, staging)
        os.unlink(path)  # it may be a hard link of a published one
        write_atomic(path, text, 0o444)
        was = rows[name].get("source_sha256") or rows[name]["sha256"]
        rows[name] |= {"bytes": len(text), "sha256": sha256_file(path), "mtime_ns": os.stat(path).st_mtime_ns}
        rows[name]["source_sha256"] = was
    return rows


def check_sums(staging: Staging, rows: dict[str, dict[str, Any]]) -> None:
    """A model that brings sums of its own must agree with them."""
    if manifests.SUMS not in rows:
        return
    for name, want in folders.read_sums(staging.path(manifests.SUMS)).items():
        row = rows.get(name)
        found = row and (row.get("source_sha256") or row["sha256"])
        if found and want != found:
            raise SourceFailed(disagreement(name, found, want))


def load(text: bytes, path: str) -> dict[str, Any]:
    try:
        found = json.loads(text.decode())
    except (ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else error
        raise Refusal("%s is not JSON (%s); the model can't be converted" % (path, reason)) from None
    if not isinstance(found, dict):
        raise Refusal("%s is no JSON object; the model can't be converted" % path)
    return found


def as_float16(text: bytes, path: str) -> bytes:
    """config.json with its type set, under whichever of the two names it has; parts of a model have their own."""
    config = load(text, path)

    def cast(value: Any) -> Any:
        if isinstance(value, dict):  # a type for each part
            return {part: cast(one) for part, one in value.items()}
        return "float16" if isinstance(value, str) and WIDE.fullmatch(value) else value

    def patch(node: Any) -> None:
        for value in node.values() if isinstance(node, dict) else node:
            if isinstance(value, (dict, list)):
                patch(value)
        if isinstance(node, dict):
            node.update({key: cast(node[key]) for key in TYPE_KEYS if key in node})

    patch(config)
    if not any(config.get(key) for key in TYPE_KEYS):
        config["torch_dtype"] = "float16"
    return as_json(config)


def as_json(found: dict[str, Any]) -> bytes:
    """A JSON file; half a character, which only an escape can name, stays one."""
    try:
        return (json.dumps(found, indent=2, ensure_ascii=False) + "\n").encode()
    except UnicodeEncodeError:
        return (json.dumps(found, indent=2) + "\n").encode()


def with_size(text: bytes, name: str, staging: Staging) -> bytes:
    """An index with total_size of its converted tensors (it shrinks where fp32 tensors do)."""
    index = load(text, name)
    shards = {os.path.normpath(os.path.join(os.path.dirname(name), s)) for s in weight_map(text, name).values()}
    headers = [read_header(staging.path(shard)) for shard in sorted(shards)]
    total = sum(
        t["data_offsets"][1] - t["data_offsets"][0] for h in headers for n, t in h.items() if n != "__metadata__"
    )
    if not isinstance(index.get("metadata"), dict):
        index["metadata"] = {}
    index["metadata"]["total_size"] = total
    return as_json(index)


def publish(
    staging: Staging, listing: Listing, name: str, convert: str | None, tool: dict[str, Any]
) -> tuple[str, dict[str, Any], bool]:
    """Check the whole, write its manifest, make it visible by one rename: (folder, manifest, is it new?)."""
    rows = edit(staging, listing, convert)
    if listing.kind != "registry":
        check_pointers(staging, rows)
        for note in manifests.check_shards({file: staging.path(file) for file in rows}):
            if note not in staging.notes:
                staging.notes.append(note)
    source = {
        entry.name: {"bytes": entry.size, "sha256": row.get("source_sha256") or row["sha256"]}
        for entry in listing.files
        for row in [staging.rows[entry.name]]
    }
    kept = ("bytes", "sha256", "mtime_ns", "of", "source_sha256", "source_bytes")
    files = {file: {key: row[key] for key in kept if row.get(key) is not None} for file, row in rows.items()}
    identity, origin = manifests.identity(files), manifests.identity(source)
    revision = (listing.short or origin[:12]) + (SUFFIX if convert else "")
    manifest = {
        "name": name,
        "revision": revision,
        "commit": listing.revision if len(listing.revision) > 12 else None,
        "identity": identity,
        "files": files,
        "source": {"kind": listing.kind, "repo": listing.repo, "identity": origin},
        **tool,
    }
    tensors = dict(tool.get("tensors") or {})
    tensors.update((tensor, counts) for row in rows.values() for tensor, counts in row.get("tensors", {}).items())
    if tensors:
        manifest["tensors"] = tensors
    if convert and not tensors:
        raise nothing_changes(next((file for file in rows if is_shard(file)), "the model"))
    folder = manifests.published(staging.root, name, revision)
    remove_others(staging.folder, {*rows, manifests.DONE})
    there = manifests.read_manifest(folder) if os.path.isdir(folder) else None
    if there is not None and there["identity"] == identity and not manifests.damage(folder, there, full=True):
        remove_others(folder, {*there["files"], manifests.MANIFEST})
        remove_tree(staging.folder)
        return folder, there, False
    manifests.publish(staging.folder, folder, manifest)
    remove_tree(os.path.join(folder, manifests.DONE))
    for other in staging.others():
        remove_tree(other)
    return folder, manifest, True


def check_pointers(staging: Staging, rows: dict[str, dict[str, Any]]) -> None:
    """Refuse Git LFS pointers among what has arrived, whatever kind of file they stand for."""
    for name, row in sorted(rows.items()):
        if 0 < row["bytes"] <= SMALL:
            with open(staging.path(name), "rb") as source:
                if source.read(len(LFS)) == LFS:
                    raise SourceFailed(pointer(name))


def remove_others(folder: str, kept: set[str]) -> None:
    """Leave nothing in a folder but these files: what is published is exactly the manifest."""
    for base, below, names in os.walk(folder, topdown=False):
        for name in names:
            path = os.path.join(base, name)
            if os.path.relpath(path, folder) not in kept:
                os.unlink(path)
        for name in below:
            path = os.path.join(base, name)
            if os.path.islink(path):
                os.unlink(path)
            elif not os.listdir(path):
                os.rmdir(path)
