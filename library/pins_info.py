#!/usr/bin/python
"""Module pins_info: what a host has resolved moving names to."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pins_info
short_description: Read which commits and digests a host has resolved
description:
  - Reads the records that weights_fetch and container_image leave when they resolve a branch or a tag. Changes nothing.
options:
  models_root: {description: Folder of published models., type: path, required: true}
  images_root: {description: Folder of the records of images., type: path, required: true}
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
"""
EXAMPLES = r"""
- name: What did this host resolve?
  pins_info:
    models_root: /srv/vllm/models
    images_root: /srv/vllm/images
"""
RETURN = r"""
models: {description: "Commit by model and hub.", returned: always, type: dict, sample: {qwq-32b: {modelscope: c0ffee}}}
images: {description: Digest by image., returned: always, type: dict, sample: {"r.example/a:1": "sha256:c0ffee"}}
"""

import os
import re
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import run_module
from ansible.module_utils.serving.files import read_json
from ansible.module_utils.serving.weights.hubs import HUBS


def records(folder: str) -> list[tuple[str, dict[str, Any]]]:
    """(name, content) of the records in a folder; damaged ones are made anew by the next fetch."""
    found = []
    try:
        names = sorted(n for n in os.listdir(folder) if n.endswith(".json"))
    except OSError:
        return []
    for name in names:
        try:
            row = read_json(os.path.join(folder, name))
        except (OSError, ValueError):
            continue
        if isinstance(row, dict):
            found.append((name[: -len(".json")], row))
    return found


def body(module: AnsibleModule) -> dict[str, Any]:
    models: dict[str, dict[str, str]] = {}
    for name, row in records(os.path.join(module.params["models_root"], ".refs")):
        if re.fullmatch(r"[0-9a-f]{40}", str(row.get("commit"))) and row.get("kind") in HUBS:
            models.setdefault(name.partition("+")[0], {})[row["kind"]] = row["commit"]
    images = {
        row["image"]: row["digest"]
        for _, row in records(module.params["images_root"])
        if isinstance(row.get("image"), str)
        and "@" not in row["image"]
        and re.fullmatch(r"sha256:[0-9a-f]{64}", str(row.get("digest")))
    }
    return {"changed": False, "models": models, "images": images}


def main() -> None:
    spec = {"models_root": {"type": "path", "required": True}, "images_root": {"type": "path", "required": True}}
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
