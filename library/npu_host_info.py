#!/usr/bin/python
"""Module npu_host_info: what a host with Ascend NPUs lacks before it can serve."""

from __future__ import annotations

DOCUMENTATION = r"""
module: npu_host_info
short_description: Read driver, firmware, user, devices and holds of a host with Ascend NPUs, and say what is missing
description:
  - Reads version.info of driver and firmware, kernel modules and device nodes. C(/etc/ascend_install.info) proves nothing, because
    installers write it before they install; a mark of ours tells an installation that was interrupted.
  - Says in which order packages are to be installed (first the driver, over an installed pair first the firmware), and whether the two
    belong together, before anything is touched.
  - Names devices of the plan that are not there, or that another container holds. Changes nothing.
options:
  packages: {description: "Packages that the operator has: kind (driver, firmware) to {path, sha256}; names of files count.", type: dict, default: {}}
  manage_driver: {description: "May we install driver and firmware? Without it, a missing driver is a problem.", type: bool, default: false}
  upgrade: {description: Replace an installed pair of other versions., type: bool, default: false}
  plan: {description: "Records of the services on this host, whose devices must be there and free.", type: list, elements: dict, default: []}
  known_versions: {description: "Rows of versions.yml; those of pairs say which firmware belongs to a driver.", type: list, elements: dict, default: []}
  serving_root: {description: "Folder of everything that serves, to know what runs.", type: path, default: ''}
  root: {description: Where the file system starts; other than / in tests., type: path, default: /}
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
"""
EXAMPLES = r"""
- name: What does this host lack?
  npu_host_info:
    manage_driver: true
    packages:
      driver: {path: Ascend-hdk-310p-npu-driver_25.2.0_linux-aarch64.run, sha256: 5f0c…}
      firmware: {path: Ascend-hdk-310p-npu-firmware_7.7.0.6.236.run, sha256: 91aa…}
"""
RETURN = r"""
driver: {description: Version of the driver that is installed whole., returned: always, type: str}
firmware: {description: Version of the firmware that is installed whole., returned: always, type: str}
steps: {description: "Kinds of packages to install, in order.", returned: always, type: list, elements: str}
build: {description: What the driver's installer needs to build its modules., returned: always, type: list, elements: str}
hold: {description: Packages of the running kernel that are not held yet., returned: always, type: list, elements: str}
user_missing: {description: Whether the user HwHiAiUser must be made first., returned: always, type: bool}
user_uid: {description: "The uid for it; null: any.", returned: always, type: int}
reboot_required: {description: Whether a reboot would mend what is pending., returned: always, type: bool}
pending: {description: What installing or rebooting would mend., returned: always, type: list, elements: str}
problems: {description: What is wrong and what helps., returned: always, type: list, elements: str}
notes: {description: What an operator should know., returned: always, type: list, elements: str}
state: {description: Everything that was read., returned: always, type: dict}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import run_module
from ansible.module_utils.serving.host.known_versions import pairs
from ansible.module_utils.serving.host.npu_host import assess, look
from ansible.module_utils.serving.service.releases import serving


def body(module: AnsibleModule) -> dict:
    state = look(module.params["root"])
    state["serving"] = serving(module.params["serving_root"])
    devices = {index: service["service"] for service in module.params["plan"] for index in service["devices"] or []}
    verdict = assess(state, {**module.params, "devices": devices, "pairs": pairs(module.params["known_versions"])})
    for note in verdict["notes"]:
        module.warn(note)
    return {"changed": False, "state": state, **verdict}


def main() -> None:
    spec = {
        "packages": {"type": "dict", "default": {}},
        "manage_driver": {"type": "bool", "default": False},
        "upgrade": {"type": "bool", "default": False},
        "plan": {"type": "list", "elements": "dict", "default": []},
        "known_versions": {"type": "list", "elements": "dict", "default": []},
        "serving_root": {"type": "path", "default": ""},
        "root": {"type": "path", "default": "/"},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
