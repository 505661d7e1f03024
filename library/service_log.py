#!/usr/bin/python
"""Module service_log: the last lines of a service's log."""

from __future__ import annotations

DOCUMENTATION = r"""
module: service_log
short_description: Read the last lines of a service's log
description: [Reads the log wherever the service's supervisor keeps it. Changes nothing.]
options:
  name: {description: Name of the service., type: str, required: true}
  serving_root: {description: Folder of everything that serves., type: path, required: true}
  lines: {description: How many., type: int, default: 50}
  supervisor: {description: Who runs it., type: str, choices: [auto, systemd, supervisord], default: auto}
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
"""
EXAMPLES = r"""
- name: Read the log
  service_log:
    name: demo
    serving_root: /srv/vllm
"""
RETURN = r"""
lines: {description: The lines., returned: always, type: list, elements: str}
log: {description: Where the whole log is., returned: always, type: str}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import Refusal, run_module
from ansible.module_utils.serving.service import releases
from ansible.module_utils.serving.service.supervisors import supervisor


def body(module: AnsibleModule) -> dict[str, Any]:
    name, root = module.params["name"], module.params["serving_root"]
    if not releases.releases(releases.service_dir(root, name)):  # whether the plan names it or not
        raise Refusal(
            "service '%s' is not deployed on this host; deployed: %s"
            % (name, ", ".join(releases.folders(root)) or "none")
        )
    owner = supervisor(root, module.params["supervisor"])
    return {"changed": False, "lines": owner.log_tail(name, module.params["lines"]), "log": owner.log_place(name)}


def main() -> None:
    spec = {
        "name": {"type": "str", "required": True},
        "serving_root": {"type": "path", "required": True},
        "lines": {"type": "int", "default": 50},
        "supervisor": {"type": "str", "choices": ["auto", "systemd", "supervisord"], "default": "auto"},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
