#!/usr/bin/python
"""Module weights_info: where a model is published and whether it is whole."""

from __future__ import annotations

DOCUMENTATION = r"""
module: weights_info
short_description: Find and check a published model
description:
  - Finds the published folder of a model and checks it against its manifest. Never changes anything.
  - Says how much of an unfinished fetch is there, and with O(serving_root) which services use the model.
options:
  name: {description: Model's name in models.yml., type: str, required: true}
  models_root: {description: Folder of published models., type: path, required: true}
  full: {description: Read every byte and compare sha256; else sizes and files whose mtime changed., type: bool, default: false}
  convert: {description: Look for its converted form., type: str, choices: [float16]}
  serving_root: {description: Folder of everything that serves., type: path}
  required: {description: Fail when the model is not published or damaged., type: bool, default: true}
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
"""
EXAMPLES = r"""
- name: Is every byte still what was fetched?
  weights_info:
    name: demo
    models_root: /srv/vllm/models
    full: true
"""
RETURN = r"""
path: {description: The published folder; null if there is none., returned: always, type: str}
revision: {description: Its revision., returned: always, type: str}
identity: {description: Digest over names, sizes and sha256 of its files., returned: always, type: str}
progress: {description: How far a fetch or conversion that runs now is; null if none does., returned: always, type: dict}
bytes: {description: Size of the published files., returned: always, type: int}
arrived_bytes: {description: What an unfinished fetch has on disk., returned: always, type: int}
users: {description: "Releases that name it: runs, current, previous or kept.", returned: always, type: list, elements: str}
problems: {description: What differs from the manifest., returned: always, type: list, elements: str}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import run_module
from ansible.module_utils.serving.weights import records
from ansible.module_utils.serving.weights.model_state import look, uses


def body(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    found = records.find(given["models_root"], given["name"], given["convert"], given["full"], given["required"])
    used = uses(given["serving_root"])[0] if given["serving_root"] else []
    form = look(given["models_root"], given["name"], given["convert"], used)
    more = {"bytes": form.size, "arrived_bytes": form.arrived, "users": [str(use) for use in form.users]}
    return {"changed": False, **found, **more, "progress": records.running(given["models_root"], form.key)}


def main() -> None:
    spec = {
        "name": {"type": "str", "required": True},
        "models_root": {"type": "path", "required": True},
        "full": {"type": "bool", "default": False},
        "convert": {"type": "str", "choices": ["float16"]},
        "serving_root": {"type": "path"},
        "required": {"type": "bool", "default": True},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
