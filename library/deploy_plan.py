#!/usr/bin/python
"""Module deploy_plan: what a deploy would do on a host, and what it would cost."""

from __future__ import annotations

DOCUMENTATION = r"""
module: deploy_plan
short_description: Say what a deploy would do on this host
description:
  - Puts together, for one service of the plan, what would be pulled, fetched, converted, started or restarted and why, and the gap that callers would see.
  - Whether a service would be replaced is the word of M(inference_service) in check mode (O(reasons)), so a plan says what a deploy then does.
  - Reads the host alone. No hub and no registry is asked, and nothing is changed.
options:
  service: {description: One service of the plan (filter C(plan))., type: dict, required: true}
  serving_root: {description: Folder of everything that serves., type: path, required: true}
  models_root: {description: Folder of published models., type: path, required: true}
  images_root: {description: Folder where M(container_image) records tags., type: path, required: true}
  archives: {description: "Archives of images on this host: {image: {path, id}}.", type: dict, default: {}}
  order: {description: Sources of weights in the order in which they are asked., type: list, elements: str, default: []}
  mirror: {description: Address of the mirror; empty without one., type: str, default: ''}
  reasons: {description: What M(inference_service) said in check mode., type: list, elements: str, required: true}
  files: {description: "Files of the release that would be, {name: text}.", type: dict, default: {}}
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
"""
EXAMPLES = r"""
- name: What would a deploy do?
  deploy_plan:
    service: "{{ plan | first }}"
    serving_root: /srv/vllm
    models_root: /srv/vllm/models
    images_root: /srv/vllm/images
    reasons: [the service is not deployed yet]
"""
RETURN = r"""
row:
  description: action (nothing, start, restart), why, fetch, pull, convert, gap, rights, differences, chosen. The fact C(would_run_qwq_2d_32b) has it, too.
  returned: always
  type: dict
  sample: {service: qwq-32b, action: start, why: [it does not run], fetch: {bytes: 65527752704, from: modelscope, seconds: 900}}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import run_module
from ansible.module_utils.serving.facts import would_run
from ansible.module_utils.serving.service.steps import row


def body(module: AnsibleModule) -> dict[str, Any]:
    found = row(module.params["service"], module.params)
    return {
        "changed": False,
        "row": found,
        "ansible_facts": {would_run(found["service"]): found},
    }


def main() -> None:
    spec = {
        "service": {"type": "dict", "required": True},
        "serving_root": {"type": "path", "required": True},
        "models_root": {"type": "path", "required": True},
        "images_root": {"type": "path", "required": True},
        "archives": {"type": "dict", "default": {}},
        "order": {"type": "list", "elements": "str", "default": []},
        "mirror": {"type": "str", "default": ""},
        "reasons": {"type": "list", "elements": "str", "required": True},
        "files": {"type": "dict", "default": {}},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
