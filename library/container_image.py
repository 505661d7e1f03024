#!/usr/bin/python
"""Module container_image: an image on a host, by digest."""

from __future__ import annotations

DOCUMENTATION = r"""
module: container_image
short_description: Bring a container image onto a host, by digest
description:
  - A tag is resolved once to its digest and recorded on the host; later runs stay with that digest, whatever the tag says then.
  - Mirrors are asked in order, then the image's own registry, then O(archive). Which digest counts is the same for all.
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
progress_file: {description: Where a running pull tells how far it is., returned: with look, type: str}
pending: {description: Whether there is anything to do., returned: with look, type: bool}
"""

import os
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving import images as i
from ansible.module_utils.serving.errors import Refusal, run_module
from ansible.module_utils.serving.files import digest as digest_of_value
from ansible.module_utils.serving.files import locked, read_json, write_json
from ansible.module_utils.serving.progress import Progress


def record_path(module: AnsibleModule) -> str:
    return os.path.join(module.params["record"], "%s.json" % digest_of_value(module.params["name"])[:16])


def here(client: Any, image: i.Reference, digest: str, archive: dict[str, Any] | None) -> Any:
    """The image on this host with this manifest digest, or from this archive; None if it isn't there."""
    import docker.errors

    for found in client.images.list() if digest else []:
        if digest in i.digest_of(found.attrs):
            return found
    if archive:
        try:
            return client.images.get(archive["id"])
        except docker.errors.ImageNotFound:
            return None
    return None


def known_digest(module: AnsibleModule, image: i.Reference) -> str:
    """The digest that counts: the one given, else the one that the tag was resolved to before."""
    try:
        record = read_json(record_path(module)) or {}
    except ValueError:
        record = {}
    return image.digest or str(record.get("digest") or "")


def pull(
    module: AnsibleModule, client: Any, image: i.Reference, digest: str, progress: Progress
) -> tuple[Any, str, str, list[str]]:
    """(image, digest, place, failures) from the first place that has it. Refusal if none has."""
    given = module.params
    secret = i.credentials(given)
    failures: list[str] = []
    for place in i.places(image, given["mirrors"]):
        try:
            with i.registry_errors(place.repo):
                target = "%s@%s" % (place.repo, digest) if digest else "%s:%s" % (place.repo, place.tag or "latest")
                about = client.api.inspect_distribution(target, auth_config=secret)
                found = about["Descriptor"]["digest"]
                i.check_platform(image, about.get("Platforms") or [], given["arch"])
                layers = i.Layers(i.data_root(client), progress.set)
                progress.begin("pulling", 0, place.registry or "docker.io")
                for row in client.api.pull(place.repo, tag=found, stream=True, decode=True, auth_config=secret):
                    if "error" in row:
                        raise i.PullFailed("%s: %s" % (place.repo, i.explain(row["error"])))
                    layers.event(row)
                return client.images.get("%s@%s" % (place.repo, found)), found, place.repo, failures
        except i.PullFailed as failure:
            failures.append(str(failure))
    return None, digest, "", failures


def load(client: Any, archive: dict[str, Any]) -> Any:
    """The image of an archive, if it is the one that it should be."""
    try:
        with open(archive["path"], "rb") as source:
            loaded = client.images.load(source)
    except FileNotFoundError:
        raise i.PullFailed("archive %s is not on this host" % archive["path"]) from None
    for found in loaded:
        if found.id == archive["id"]:
            return found
    raise Refusal(
        "archive %s holds %s, wanted is %s; make it anew, or correct the id"
        % (archive["path"], ", ".join(f.id for f in loaded) or "no image", archive["id"])
    )


def check_built_for(image: Any, name: str, arch: str) -> None:
    built = image.attrs.get("Architecture", "")
    if arch and built:
        i.check_platform(i.parse(name), [{"architecture": built}], arch)


def body(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    image = i.parse(given["name"])
    if given["require_digest"] and not image.digest:
        raise Refusal("image %s has no digest, and pins are required; write it as name@sha256:..." % image.text)
    client = i.connect()
    digest = known_digest(module, image)
    found = here(client, image, digest, given["archive"])
    progress_file = os.path.join(given["record"], os.path.basename(record_path(module))[:-5] + ".progress")
    if found is not None:
        check_built_for(found, given["name"], given["arch"])
        return answer(found, digest or None, False, "", [])
    if given["look"]:
        return {"changed": False, "pending": True, "progress_file": progress_file}
    if module.check_mode:
        after = "%s\n" % image.text
        return {
            "changed": True,
            "id": None,
            "digest": digest or None,
            "failed_places": [],
            "diff": {"before": "", "after": after},
        }
    os.makedirs(given["record"], exist_ok=True)
    with (
        locked(record_path(module) + ".lock", "image %s" % image.text, 86400),
        Progress(progress_file, image.path.rpartition("/")[2]) as progress,
    ):
        found = here(client, image, digest, given["archive"])
        if found is not None:
            return answer(found, digest or None, False, "", [])
        found, digest, source, failures = pull(module, client, image, digest, progress)
        if found is None and given["archive"]:
            try:
                found, source = load(client, given["archive"]), given["archive"]["path"]
            except i.PullFailed as failure:
                failures.append(str(failure))
        if found is None:
            raise Refusal(
                "image %s can't be had. No place has it:\n  %s" % (image.text, "\n  ".join(failures)),
                failed_places=failures,
            )
        check_built_for(found, given["name"], given["arch"])
        if digest and not image.digest:
            write_json(record_path(module), {"image": image.text, "digest": digest, "resolved": int(time.time())})
    return answer(found, digest or None, True, source, failures)


def answer(image: Any, digest: str | None, changed: bool, source: str, failures: list[str]) -> dict[str, Any]:
    after = "%s %s\n" % (digest or image.id, source) if changed else ""
    return {
        "changed": changed,
        "id": image.id,
        "digest": digest,
        "source": source,
        "user": image.attrs.get("Config", {}).get("User") or "root",
        "uid": i.uid_of(image),
        "failed_places": failures,
        "diff": {"before": "", "after": after, "before_header": "images", "after_header": "images"},
    }


def main() -> None:
    archive = {"path": {"type": "path", "required": True}, "id": {"type": "str", "required": True}}
    spec = {
        "name": {"type": "str", "required": True},
        "record": {"type": "path", "required": True},
        "mirrors": {"type": "list", "elements": "str", "default": []},
        "archive": {"type": "dict", "options": archive},
        "arch": {"type": "str", "default": ""},
        "require_digest": {"type": "bool", "default": False},
        "username": {"type": "str", "default": ""},
        "password": {"type": "str", "default": "", "no_log": True},
        "look": {"type": "bool", "default": False},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
