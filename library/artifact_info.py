#!/usr/bin/python
"""Module artifact_info: the weights and the image that a release of a service is made of."""

from __future__ import annotations

DOCUMENTATION = r"""
module: artifact_info
short_description: Find what a service's release is made of
description:
  - Finds the published weights of a model, checked against their manifest as M(weights_info) does, and the container image as
    M(container_image) has brought it. Asks no registry and no hub, and never changes anything.
options:
  model: {description: Model's name in models.yml., type: str, required: true}
  models_root: {description: Folder of published models., type: path, required: true}
  convert: {description: Look for its converted form., type: str, choices: [float16]}
  adapters: {description: "Names in models.yml of adapters that the service loads beside the model.", type: list, elements: str, default: []}
  image: {description: "Reference of the image, as M(container_image) takes it. Without it no container engine is asked.", type: str}
  record: {description: Folder where M(container_image) records tags., type: path}
  archive:
    description: "The image's archive, as M(container_image) takes it: {path, id}."
    type: dict
    suboptions:
      path: {description: File on the host., type: path, required: true}
      id: {description: The image's id that it must have (sha256:...)., type: str, required: true}
  arch: {description: Machine architecture that the image must be built for (x86_64 or aarch64). Empty asks for none., type: str, default: ''}
  pending: {description: "In check mode: a fetch before this task would publish other weights.", type: bool, default: false}
  paths:
    description:
      - "What a row mounts or names on this host (filter C(host_inputs)): {where, path or in_model, content, may_lack}."
      - The content of those with C(content) is told in RV(inputs), with V(file) of regular files alone.
      - What isn't there is refused, without O(required) it is a warning.
    type: list
    elements: dict
    default: []
  required: {description: Fail where one of them is not on this host., type: bool, default: true}
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
"""
EXAMPLES = r"""
- name: What would a release of qwq-32b be made of?
  artifact_info:
    model: qwq-32b
    models_root: /srv/vllm/models
    image: registry.example.org/vllm/openai:v0.33.0
    record: /srv/vllm/images
"""
RETURN = r"""
weights:
  description: Of the published model; each null if there is none.
  returned: success
  type: dict
  contains:
    path: {description: The published folder., type: str, returned: always}
    revision: {description: Its revision., type: str, returned: always}
    identity: {description: "Digest over names, sizes and sha256 of its files.", type: str, returned: always}
    problems: {description: What differs from the manifest., type: list, elements: str, returned: always}
adapters:
  description: "Of each adapter the same: {name: {path, revision, identity, problems}}."
  returned: success
  type: dict
image:
  description: Of the image on this host; null without O(image), or if there is none.
  returned: success
  type: dict
  contains:
    id: {description: Its id on this host (sha256 of its configuration)., type: str, returned: always}
    digest: {description: Digest of its manifest; null for an image from an archive., type: str, returned: always}
    user: {description: User that it runs as., type: str, returned: always}
    uid: {description: That user's number., type: int, returned: always}
inputs:
  description: "What O(paths) hold: the digest of a file, of the list of a folder (names, sizes, times), or only what kind of thing it is."
  returned: success
  type: dict
  sample: {/srv/templates/chat.jinja: "sha256:0a1b..."}
"""

import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import Refusal, run_module
from ansible.module_utils.serving.host.host_inputs import host_inputs
from ansible.module_utils.serving.images import images, reference
from ansible.module_utils.serving.weights import records


def image_of(given: dict[str, Any]) -> dict[str, Any] | None:
    """The image as it is on this host. Refusal where it is required and not there, or built for other hosts."""
    try:
        found, digest = images.on_host(given["image"], given["record"], given["archive"])
    except Refusal:  # before the first deploy there is no engine
        if given["required"]:
            raise
        return None
    if found is not None:
        images.check_built_for(found, given["image"], given["arch"])
        about: dict[str, Any] = images.about(found, digest)
        return about
    if given["required"]:
        raise Refusal(
            "image %s is not on this host; run deploy.yml --tags fetch" % reference.parse(given["image"]).text
        )
    return None


def weights_of(module: AnsibleModule, name: str, convert: str | None) -> dict[str, Any]:
    """{path, revision, identity, problems} of a published model or adapter."""
    given = module.params
    if given["pending"] and module.check_mode:
        return {
            "path": None,
            "revision": None,
            "identity": None,
            "problems": ["model '%s' would be fetched again" % name],
        }
    found: dict[str, Any] = records.find(given["models_root"], name, convert, required=given["required"])
    return found


def body(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    weights = weights_of(module, given["model"], given["convert"])
    adapters = {name: weights_of(module, name, None) for name in given["adapters"]}
    for name, found in adapters.items():
        if found["path"] and not os.path.isfile(os.path.join(found["path"], "adapter_config.json")):
            raise Refusal(
                "%s has no adapter_config.json, so '%s' is no adapter; correct its sources in models.yml, or take it out of `adapters`"
                % (found["path"], name)
            )
    inputs, problems = host_inputs(given["paths"], weights["path"])
    if problems and given["required"]:
        raise Refusal("; ".join(problems))
    for text in problems:
        module.warn(text)
    image = image_of(given) if given["image"] else None
    return {"changed": False, "weights": weights, "adapters": adapters, "image": image, "inputs": inputs}


def main() -> None:
    spec = {
        "model": {"type": "str", "required": True},
        "models_root": {"type": "path", "required": True},
        "convert": {"type": "str", "choices": ["float16"]},
        "adapters": {"type": "list", "elements": "str", "default": []},
        "image": {"type": "str"},
        "record": {"type": "path"},
        "archive": images.ARCHIVE,
        "arch": {"type": "str", "default": ""},
        "pending": {"type": "bool", "default": False},
        "paths": {"type": "list", "elements": "dict", "default": []},
        "required": {"type": "bool", "default": True},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True, required_by={"image": ["record"]}), body)


if __name__ == "__main__":
    main()
