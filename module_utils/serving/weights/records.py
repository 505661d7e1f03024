"""What the last run recorded of a model, and whether what it published is still what the sources ask for."""

from __future__ import annotations

import os
from typing import Any

from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.progress import read_progress
from ansible.module_utils.serving.weights import folders, manifests
from ansible.module_utils.serving.weights.choice import Wanted
from ansible.module_utils.serving.weights.model_state import SUFFIX, look, published, record_of


def known_digests(root: str, key: str, place: str) -> dict[str, tuple[list[int], str]]:
    """{name: (state, sha256)} of a folder's files as the last run read them."""
    record = record_of(root, key)
    seen = record.get("fingerprint")
    if record.get("kind") != "directory" or record.get("repo") != place or not isinstance(seen, dict):
        return {}
    try:
        manifest = (
            manifests.read_manifest(manifests.published(root, key.removesuffix(SUFFIX), record["revision"])) or {}
        )
    except Refusal:
        return {}
    rows = manifest.get("files", {})
    return {n: (seen[n], row.get("source_sha256") or row["sha256"]) for n, row in rows.items() if n in seen}


def find(root: str, name: str, convert: str | None, full: bool = False, required: bool = True) -> dict[str, Any]:
    """{path, revision, identity, problems} of a published model. Refusal where one that is required is not there, or damaged.

    `full` reads every byte; else sizes count, and the content of files whose mtime changed.
    """
    try:
        form = published(root, name, convert)
    except Refusal as refusal:
        if required:
            raise
        return {"path": None, "revision": None, "identity": None, "problems": [str(refusal)]}
    assert form.path
    problems = manifests.damage(form.path, form.manifest, full)
    if problems and required:
        raise Refusal(
            "%s is damaged: %s; run deploy.yml --tags fetch" % (form.path, "; ".join(problems)), problems=problems
        )
    return {"path": form.path, "revision": form.revision, "identity": form.identity, "problems": problems}


def dropped_peers(folder: str) -> list[str]:
    """Hosts whose bytes were wrong when the model in this published folder was fetched."""
    name, _, revision = os.path.basename(folder).partition("@")
    record = record_of(os.path.dirname(folder), name + SUFFIX * revision.endswith(SUFFIX))
    return list(record.get("dropped_peers") or []) if record.get("revision") == revision else []


def why_not_published(
    root: str, key: str, sources: dict[str, Any], wanted: Wanted | None = None
) -> tuple[str | None, list[str]]:
    """(folder, reasons): the published folder that the sources still ask for, by the last run's record; else why not."""
    name = key[: -len(SUFFIX)] if key.endswith(SUFFIX) else key
    form = look(root, name, SUFFIX if key.endswith(SUFFIX) else None)
    record, folder = form.record, form.path
    if not record:
        return None, ["'%s' is not published yet" % key]
    if folder is None:
        return None, ["%s is gone" % manifests.published(root, name, record["revision"])]
    problems = manifests.damage(folder, form.manifest, full=False)
    if problems:
        return None, problems
    kind = record.get("kind", "")
    row = sources.get(kind)
    if row is None:
        return None, ["its source %s is no longer in models.yml" % (kind or "(unknown)")]
    place = os.path.expanduser(row.get("path") or "") or row.get("repo") or (row.get("url") or "").rstrip("/")
    if place != record.get("repo"):
        return None, ["its source was %s, now it is %s" % (record.get("repo"), place)]
    if wanted is not None and (record.get("wanted") or {}) != wanted.record:
        return None, ["`include` or `exclude` of the model has changed"]
    if kind == "directory":
        try:
            same = record.get("fingerprint") == folders.fingerprint(folders.list_files(place))
        except (Refusal, OSError):  # an unmounted source is no reason to take a whole model away
            same = True
        return (folder, []) if same else (None, ["the source %s has changed" % place])
    wanted = row.get("revision") or None
    if wanted not in (None, record.get("commit"), record.get("requested")):
        return None, ["revision %s is wanted, %s is there" % (wanted, record.get("commit"))]
    return folder, []


def running(root: str, key: str) -> dict[str, Any] | None:
    """The progress of a fetch or conversion of this model that runs now, on this host or one that shares the folder."""
    found: dict[str, Any] | None = read_progress(progress_path(root, key))
    return found


def progress_path(root: str, key: str) -> str:
    return os.path.join(root, ".refs", key + ".progress")
