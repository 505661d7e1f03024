#!/usr/bin/python
"""Module container_image: an image on a host, by digest."""

from __future__ import annotations

DOCUMENTATION = r"""
module: container_image
short_description: Bring a container image onto a host, by digest
description:
  - A tag is resolved once to its digest and recorded on the host; later runs stay with that digest, whatever the tag says then.
  - Mirrors are asked in order, then the image's own registry, then O(archive). Which digest counts is the same for all.
  - On hosts without a route, what the controller has sent (O(sent)) serves instead.
  - Before gigabytes move, the image must be built for O(arch). A pull that the disk can't hold is ended when the engine has announced the layers.
  - An image that is there is not asked for again. Layers that were finished when a run was killed stay.
options:
  name: {description: "Reference: registry/path:tag, registry/path@sha256:..., or both.", type: str, required: true}
  record: {description: Folder where resolved tags are recorded., type: path, required: true}
  mirrors: {description: "Places that are asked first, as host[:port][/prefix].", type: list, elements: str, default: []}
  archive:
    description: "Where there is no registry, a file made by C(docker save): {path, id}, with the image's id for a check."
    type: dict
    suboptions:
      path: {description: File on the host., type: path, required: true}
      id: {description: The image's id that it must have (sha256:...)., type: str, required: true}
  arch: {description: Machine architecture that it must be built for (x86_64 or aarch64). Empty asks for none., type: str, default: ''}
  sent:
    description:
      - Folder into which M(weights_fetch) has brought archives that the controller made with M(image_archive). Such an archive comes
        before every registry, and is removed when the engine has the image.
    type: path
  require_digest: {description: Refuse a tag without a digest., type: bool, default: false}
  username: {description: User for the registries., type: str, default: ''}
  password: {description: Password or token for them., type: str, default: ''}
  look: {description: Only say whether there is anything to do (C(pending)); asks no registry., type: bool, default: false}
requirements: [docker]
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
"""
EXAMPLES = r"""
- name: Bring the engine's image
  container_image:
    name: registry.example.org/vllm/openai:v0.33.0
    record: /srv/vllm/images
    mirrors: [10.0.0.5:5000]
    arch: x86_64
"""
RETURN = r"""
id: {description: The image's id on this host (sha256 of its configuration)., returned: success, type: str}
digest: {description: Digest of its manifest; null for an image from an archive., returned: success, type: str}
source: {description: Where it came from., returned: when changed, type: str}
user: {description: User that the image runs as., returned: success, type: str}
uid: {description: That user's number., returned: success, type: int}
failed_places: {description: Places that could not give it and why., returned: always, type: list, elements: str}
image: {description: "With which name, arch and digest M(image_archive) would make its archive, and key.", returned: when pending, type: dict}
progress_file: {description: Where a running pull tells how far it is., returned: when pending, type: str}
pending: {description: With O(look), that there is something to do., returned: when pending, type: bool}
"""

import glob
import os
import platform
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import Refusal, run_module
from ansible.module_utils.serving.files import locked, remove_tree, write_json
from ansible.module_utils.serving.images import archives, images, reference, registry
from ansible.module_utils.serving.progress import Progress


def forget_archive(folder: str | None, key: str) -> None:
    """Remove what the controller has sent, when the engine has it."""
    if folder:
        remove_tree(os.path.join(folder, ".refs", key + ".json"))
        for path in glob.glob(os.path.join(glob.escape(folder), glob.escape(key) + "@*")):
            remove_tree(path)


def bring(
    module: AnsibleModule, client: Any, image: reference.Reference, digest: str, progress: Progress
) -> tuple[Any, str, str, list[str]]:
    """(image, digest, place, failures). Refusal where no place has it."""
    given, archive = module.params, module.params["archive"]
    sent = archives.published_archive(given["sent"], given["name"], machine(given)) if given["sent"] else None
    if sent and digest in ("", sent["digest"]):
        progress.begin("loading", 0, "the controller")
        return archives.load(client, image, sent["path"], sent["id"]), sent["digest"], "the controller", []
    found, digest, source, failures = registry.pull(client, image, digest, given, progress)
    if found is None and archive:
        try:
            progress.begin("loading", 0, archive["path"])
            found, source = archives.load(client, image, archive["path"], archive["id"]), archive["path"]
        except registry.PullFailed as failure:
            failures.append(str(failure))
    if found is None:
        raise registry.nowhere(image, failures)
    return found, digest, source, failures


def machine(given: dict[str, Any]) -> str:
    """The architecture that counts: the one given, else this host's."""
    return given["arch"] or platform.machine()


def body(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    image = reference.parse(given["name"])
    if given["require_digest"] and not image.digest:
        raise Refusal("image %s has no digest, and pins are required; write it as name@sha256:..." % image.text)
    record, key = (
        images.record_path(given["record"], given["name"]),
        archives.archive_key(given["name"], machine(given)),
    )
    found, digest = images.on_host(given["name"], given["record"], given["archive"])
    if found is not None:
        images.check_built_for(found, given["name"], given["arch"])
        if not module.check_mode:
            forget_archive(given["sent"], key)
        return answer(found, digest, False, "", [])
    progress_file = record[: -len(".json")] + ".progress"
    if given["look"]:
        about = {"key": key, "name": given["name"], "arch": machine(given), "digest": digest}
        return {"changed": False, "pending": True, "progress_file": progress_file, "image": about}
    if module.check_mode:
        diff = {"before": "", "after": "%s\n" % image.text}
        return {"changed": True, "id": None, "digest": digest or None, "failed_places": [], "diff": diff}
    os.makedirs(given["record"], exist_ok=True)
    with (
        locked(record + ".lock", "image %s" % image.text, 86400),
        Progress(progress_file, image.path.rpartition("/")[2]) as progress,
    ):
        found, digest = images.on_host(
            given["name"], given["record"], given["archive"]
        )  # another run may have brought it meanwhile
        if found is not None:
            return answer(found, digest, False, "", [])
        brought, digest, source, failures = bring(module, registry.connect(), image, digest, progress)
        found = brought.attrs
        images.check_built_for(found, given["name"], given["arch"])
        # An image from an archive has no digest of its own: it is known again by its id.
        wanted = given["archive"]["id"] if given["archive"] else None
        more = {"id": found["Id"], "archive": wanted} if source == "the controller" else {}
        if more or (digest and not image.digest):
            row = {"image": image.text, "digest": digest, "resolved": int(time.time()), **more}
            write_json(record, row)
        forget_archive(given["sent"], key)
    return answer(found, digest, True, source, failures)


def answer(image: dict[str, Any], digest: str, changed: bool, source: str, failures: list[str]) -> dict[str, Any]:
    after = "%s %s\n" % (digest or image["Id"], source) if changed else ""
    return {
        "changed": changed,
        **images.about(image, digest),
        "source": source,
        "failed_places": failures,
        "diff": {"before": "", "after": after, "before_header": "images", "after_header": "images"},
    }


def main() -> None:
    spec = {
        **images.ARGUMENTS,
        "record": {"type": "path", "required": True},
        "arch": {"type": "str", "default": ""},
        "sent": {"type": "path"},
        "require_digest": {"type": "bool", "default": False},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
