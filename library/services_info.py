#!/usr/bin/python
"""Module services_info: which services are deployed on a host, and which of them its plan doesn't name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: services_info
short_description: List the services that are deployed on a host
description:
  - Lists what lies below O(serving_root), whether the plan names it or not. A service that was taken out of C(runs) goes on running, with its memory
    and its port, until it is stopped or uninstalled. Asks no service anything, and changes nothing.
options:
  serving_root: {description: Folder of everything that serves., type: path, required: true}
  runs: {description: What the plan wants on this host., type: list, elements: str, default: []}
  host: {description: "The host's name in the inventory, for the commands in RV(beside).", type: str, default: HOST}
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
"""
EXAMPLES = r"""
- name: What is there beside the plan?
  services_info:
    serving_root: /srv/vllm
    runs: [qwq-32b]
"""
RETURN = r"""
services:
  description: The services that are deployed, by name.
  returned: always
  type: list
  elements: dict
  sample: [{service: demo, endpoint: "http://127.0.0.1:8000", release: 0a1b2c3d4e5f, running: true, planned: false}]
beside: {description: "One sentence for each that O(runs) does not name: what it is and how it ends.", returned: always, type: list, elements: str}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import run_module
from ansible.module_utils.serving.service import releases


def body(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    rows = releases.deployed(given["serving_root"], given["runs"])
    return {"changed": False, "services": rows, "beside": releases.beside(rows, given["host"])}


def main() -> None:
    spec = {
        "serving_root": {"type": "path", "required": True},
        "runs": {"type": "list", "elements": "str", "default": []},
        "host": {"type": "str", "default": "HOST"},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
