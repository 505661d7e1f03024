#!/usr/bin/python
"""Module image_archive: an image as files that travel to hosts as weights do."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image_archive
short_description: Save an image on the controller, for hosts without a route to a registry
description:
  - Pulls the image for O(arch) by digest with this machine's container engine, or takes the file in O(archive), and publishes C(image.tar)
    and C(image.json) (id and digest) below O(folder) with a manifest of their sums. An image that the engine didn't have before is
    removed from it again.
  - M(weights_peer) serves what is published, M(weights_fetch) brings it to hosts, and M(container_image) loads it there.
  - What is published already is not asked for again, unless O(digest) names another.
options:
  name: {description: The image's reference., type: str, required: true}
  arch: {description: The hosts' architecture (x86_64 or aarch64)., type: str, required: true}
  digest: {description: Digest that hosts have recorded for the tag., type: str, default: ''}
  folder: {description: Where archives are published., type: path, required: true}
  mirrors: {description: "Places that are asked first, as host[:port][/prefix].", type: list, elements: str, default: []}
  archive:
    description: "Where there is no registry, a file made by C(docker save): {path, id}."
    type: dict
    suboptions:
      path: {description: File on this machine., type: path, required: true}
      id: {description: The image's id that it must have (sha256:...)., type: str, required: true}
  username: {description: User for the registries., type: str, default: ''}
  password: {description: Password or token for them., type: str, default: ''}
  look: {description: Only say whether there is anything to do (C(pending))., type: bool, default: false}
requirements: [docker]
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
"""
EXAMPLES = r"""
- name: Save the engine's image for hosts without a route
  image_archive:
    name: registry.example.org/vllm/openai:v0.33.0
    arch: aarch64
    folder: ~/relay
  delegate_to: localhost
"""
RETURN = r"""
path: {description: The published folder., returned: always, type: str}
id: {description: The image's id., returned: success, type: str}
digest: {description: Digest of its manifest; empty for an image from an archive., returned: success, type: str}
source: {description: Where it came from., returned: when changed, type: str}
progress_file: {description: Where a run tells how far it is., returned: with look, type: str}
pending: {description: Whether there is anything to do., returned: with look, type: bool}
"""

import contextlib
import hashlib
import json
import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import Refusal, run_module
from ansible.module_utils.serving.files import (
    copy_file,
    free_bytes,
    human,
    locked,
    sha256_file,
    write_atomic,
    write_json,
)
from ansible.module_utils.serving.images import archives, images, reference, registry
from ansible.module_utils.serving.progress import Progress
from ansible.module_utils.serving.weights import publishing, records
from ansible.module_utils.serving.weights.listing import Entry, Listing
from ansible.module_utils.serving.weights.manifests import ref_path
from ansible.module_utils.serving.weights.model_state import lock_path, on_disk
from ansible.module_utils.serving.weights.staging import Staging

VERSION = "1"


def room(part: str, size: int) -> None:
    """Refuse where the disk is too small for `size` bytes; what a killed run has left at `part` is written over."""
    folder = os.path.dirname(part)
    free = free_bytes(folder) + on_disk(part)
    if size > free:
        raise Refusal(
            "not enough disk for the archive: %s needed, %s free below %s; free some or set image_relay"
            % (human(size), human(free), folder)
        )


def save(image: Any, path: str, progress: Progress) -> str:
    """Write the engine's archive of an image; its sha256 (hex). The archive is not compressed, as big as the image."""
    found, size = hashlib.sha256(), int(image.attrs.get("Size") or 0)
    room(path, size)
    progress.begin("saving", size, "the engine")
    with registry.registry_errors("the engine"), open(path, "wb") as out:
        for chunk in image.save(chunk_size=1 << 20):
            out.write(chunk)
            found.update(chunk)
            progress.add(len(chunk))
        out.flush()
        os.fsync(out.fileno())
    return found.hexdigest()


def bring(given: dict[str, Any], part: str, progress: Progress) -> tuple[str, str, str, str]:
    """(sha256 of the archive, the image's id, its digest, where it came from); the archive is at `part` then."""
    import docker.errors

    image, archive = reference.parse(given["name"]), given["archive"]
    digest = image.digest or given["digest"]
    if archive:
        try:
            archives.check_archive(archive["path"], archive["id"])
        except registry.PullFailed as failure:
            raise Refusal("%s; correct image_archives" % failure) from None
        room(part, os.path.getsize(archive["path"]))
        progress.begin("copying", os.path.getsize(archive["path"]), archive["path"])
        copy_file(archive["path"], part)
        return sha256_file(part), archive["id"], digest, archive["path"]
    try:
        client = registry.connect()
    except Refusal as refusal:
        said = str(refusal).partition(";")[0]
        raise Refusal("%s; start one on the controller, or give the image's file in image_archives" % said) from None
    before = {one.id for one in client.images.list(all=True)}
    platform = "linux/" + reference.ARCHITECTURES.get(given["arch"], given["arch"])
    found, digest, source, failures = registry.pull(client, image, digest, given, progress, platform)
    if found is None:
        raise registry.nowhere(image, failures)
    images.check_built_for(found.attrs, given["name"], given["arch"])
    total = save(found, part, progress)
    if found.id not in before:
        with contextlib.suppress(docker.errors.APIError):  # somebody uses it by now
            client.images.remove(found.id, force=len(found.tags) == 0)
    return total, archives.ids_in(part)[0], digest, source


def publish(given: dict[str, Any], key: str, progress: Progress) -> tuple[str, dict[str, Any], str]:
    """(published folder, what is known of the image, where it came from)."""
    root = given["folder"]
    gather = Staging(root, key, "new")
    gather.open()
    part = gather.path(archives.TAR) + ".part"
    total, ident, digest, source = bring(given, part, progress)
    about = {"image": given["name"], "id": ident, "digest": digest}
    text = (json.dumps(about, indent=2, sort_keys=True) + "\n").encode()
    os.chmod(part, 0o444)
    entries = (
        Entry(archives.ABOUT, len(text), sha256=hashlib.sha256(text).hexdigest()),
        Entry(archives.TAR, os.path.getsize(part), sha256=total),
    )
    listing = Listing("registry", given["name"], None, (digest or ident).rpartition(":")[2], entries)
    staging = Staging(root, key, listing.short)
    staging.open()
    write_atomic(staging.path(archives.ABOUT), text, 0o444)
    os.replace(part, staging.path(archives.TAR))
    for entry in entries:
        stat = os.stat(staging.path(entry.name))
        staging.record(entry, {"sha256": entry.sha256, "bytes": entry.size, "mtime_ns": stat.st_mtime_ns})
    folder, manifest, _ = publishing.publish(staging, listing, key, None, {"tool": VERSION})
    record = {"revision": manifest["revision"], "kind": "registry", "repo": given["name"], "requested": None}
    write_json(ref_path(root, key), {**record, "commit": listing.revision})
    return folder, about, source


def up_to_date(given: dict[str, Any]) -> dict[str, Any] | None:
    """What is published, if it is the image that is wanted."""
    found = archives.published_archive(given["folder"], given["name"], given["arch"])
    wanted = (
        {"id": given["archive"]["id"]}
        if given["archive"]
        else {"digest": reference.parse(given["name"]).digest or given["digest"]}
    )
    return found if found and all(not value or found[name] == value for name, value in wanted.items()) else None


def body(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    key = archives.archive_key(given["name"], given["arch"])
    there = up_to_date(given)
    progress_file = records.progress_path(given["folder"], key)
    if there:
        return answer(there, False)
    if given["look"]:
        return {"changed": False, "pending": True, "progress_file": progress_file}
    if module.check_mode:
        return {"changed": True, "path": None, "diff": {"before": "", "after": "archive of %s\n" % given["name"]}}
    refs = os.path.join(given["folder"], ".refs")
    os.makedirs(refs, exist_ok=True)
    with (
        locked(lock_path(given["folder"], key), "archive '%s'" % key, 86400),
        Progress(progress_file, key) as progress,
    ):
        there = up_to_date(given)
        if there:
            return answer(there, False)
        folder, about, source = publish(given, key, progress)
    return {**answer({**about, "path": os.path.join(folder, archives.TAR)}, True), "source": source}


def answer(about: dict[str, Any], changed: bool) -> dict[str, Any]:
    after = "archive of %s (%s)\n" % (about["image"], about["digest"] or about["id"]) if changed else ""
    return {
        "changed": changed,
        "path": os.path.dirname(about["path"]),
        "id": about["id"],
        "digest": about["digest"],
        "diff": {"before": "", "after": after, "before_header": "archives", "after_header": "archives"},
    }


def main() -> None:
    spec = {
        **images.ARGUMENTS,
        "arch": {"type": "str", "required": True},
        "digest": {"type": "str", "default": ""},
        "folder": {"type": "path", "required": True},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
