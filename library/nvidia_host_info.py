#!/usr/bin/python
"""Module nvidia_host_info: what a host with NVIDIA GPUs lacks before it can serve."""

from __future__ import annotations

DOCUMENTATION = r"""
module: nvidia_host_info
short_description: Read driver, fabric manager, container toolkit and holds of a host with NVIDIA GPUs, and say what is missing
description:
  - Compares the loaded module, the module on disk and the user-space library; a difference means that a reboot is due.
  - Names the packages of the wanted branch by the scheme of its time (up to 580, from 590) and place (Canonical's, NVIDIA's, dnf modules).
  - Changes nothing.
options:
  branch: {description: Driver branch that is installed where there is none., type: int, default: 580}
  manage_driver: {description: "May we install drivers? Without it, a missing driver is a problem.", type: bool, default: false}
  upgrade: {description: Move a driver of another branch to O(branch)., type: bool, default: false}
  renew: {description: Move a driver of O(branch) to the newest version of it., type: bool, default: false}
  origin:
    description: Whose packages; C(auto) takes Canonical's on Ubuntu and NVIDIA's elsewhere, and never both.
    type: str
    choices: [auto, distribution, nvidia]
    default: auto
  containers: {description: "Do containers need the GPUs (CDI)?", type: bool, default: true}
  count: {description: GPUs that this host should have., type: int, default: 0}
  serving_root: {description: "Folder of everything that serves, to know what runs.", type: path, default: ''}
  root: {description: Where the file system starts; other than / in tests., type: path, default: /}
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
"""
EXAMPLES = r"""
- name: What does this host lack?
  nvidia_host_info:
    branch: 580
    manage_driver: true
    count: 8
"""
RETURN = r"""
driver: {description: Version of the driver that is there., returned: always, type: str}
origin: {description: Whose packages would be installed., returned: always, type: str}
repository: {description: "Name of NVIDIA's repository for this system, such as debian12.", returned: always, type: str}
packages: {description: What to install., returned: always, type: list, elements: str}
hold: {description: Installed packages that are not held yet., returned: always, type: list, elements: str}
persist: {description: Whether nvidia-persistenced is to be told to keep the GPUs initialised., returned: always, type: bool}
persist_command: {description: "Command line for its unit that does so, empty where the unit's own does.", returned: always, type: str}
reboot_required: {description: Whether a reboot would mend what is pending., returned: always, type: bool}
pending: {description: What installing or rebooting would mend., returned: always, type: list, elements: str}
problems: {description: What is wrong and what helps., returned: always, type: list, elements: str}
state: {description: Everything that was read., returned: always, type: dict}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import run_module
from ansible.module_utils.serving.host.nvidia_host import assess, look
from ansible.module_utils.serving.service.releases import serving


def body(module: AnsibleModule) -> dict:
    state = look(module.params["root"])
    state["serving"] = serving(module.params["serving_root"])
    return {"changed": False, "state": state, **assess(state, module.params)}


def main() -> None:
    spec = {
        "branch": {"type": "int", "default": 580},
        "manage_driver": {"type": "bool", "default": False},
        "upgrade": {"type": "bool", "default": False},
        "renew": {"type": "bool", "default": False},
        "origin": {"type": "str", "choices": ["auto", "distribution", "nvidia"], "default": "auto"},
        "containers": {"type": "bool", "default": True},
        "count": {"type": "int", "default": 0},
        "serving_root": {"type": "path", "default": ""},
        "root": {"type": "path", "default": "/"},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
