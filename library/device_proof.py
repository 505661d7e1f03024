#!/usr/bin/python
"""Module device_proof: does each service run on the devices of its plan?"""

from __future__ import annotations

DOCUMENTATION = r"""
module: device_proof
short_description: Prove that running services hold memory on exactly their devices
description:
  - Compares the devices of each service's release with those on which the driver shows memory of its processes, in its container too.
  - Where the driver shows no process of it, growth of memory since before its start decides; where that tells nothing, it is not proven.
  - Fails where a service runs on other devices than its own, unless O(required) is false. Services on CPUs are left out. Changes nothing.
options:
  serving_root: {description: Folder of everything that serves., type: path, required: true}
  names: {description: Services to look at., type: list, elements: str, required: true}
  required: {description: Fail where a device is wrong., type: bool, default: true}
attributes:
  check_mode: {support: full, details: Looks at nothing.}
  diff_mode: {support: none}
"""
EXAMPLES = r"""
- name: Do the services run on their devices?
  device_proof:
    serving_root: /srv/vllm
    names: [qwq-32b]
"""
RETURN = r"""
problems: {description: Services on devices that are not theirs., returned: always, type: list, elements: str}
services:
  description: "For each service with devices {verdict, devices, text}; verdict is proven, not proven or wrong."
  returned: always
  type: dict
  sample: {qwq-32b: {verdict: proven, devices: [GPU-ef6b8b4e], text: its processes hold memory on GPU 0 (GPU-ef6b8b4e)}}
"""

import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import Refusal, run_module
from ansible.module_utils.serving.files import read_json
from ansible.module_utils.serving.host.device_use import WRONG, Use, as_driver_names, service_pids, use_of, verdict
from ansible.module_utils.serving.service import releases


def before(folder: str) -> dict[str, int] | None:
    """Bytes in use on each device just before the service's start, if that was written down."""
    try:
        found = read_json(os.path.join(folder, "memory.json"))
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def body(module: AnsibleModule) -> dict[str, Any]:
    root = module.params["serving_root"]
    found: dict[str, Any] = {}
    if module.check_mode:
        return {"changed": False, "services": found, "problems": []}
    specs = {name: releases.current_spec(root, name) or {} for name in releases.services(root)}
    uses: dict[str, Use] = {}
    for name in module.params["names"]:
        spec, run = specs.get(name, {}), releases.running_release(root, name)
        kind = spec.get("kind")
        if kind not in ("gpu", "npu") or not spec.get("devices") or run is None:
            continue
        use = uses.setdefault(kind, use_of(kind))
        others = {
            device
            for other, one in specs.items()
            if other != name
            for device in as_driver_names(one.get("devices") or [], use)
        }
        expected = as_driver_names(spec["devices"], use)
        found[name] = verdict(expected, service_pids(run, spec), use, before(releases.service_dir(root, name)), others)
    remedy = "; stop it and look at the environment of its process (CUDA_VISIBLE_DEVICES) and at `devices`"
    wrong = [
        "service '%s': %s%s" % (name, one["text"], remedy) for name, one in found.items() if one["verdict"] == WRONG
    ]
    result = {"changed": False, "services": found, "problems": wrong}
    if wrong and module.params["required"]:
        raise Refusal("\n".join(wrong), **result)
    return result


def main() -> None:
    spec = {
        "serving_root": {"type": "path", "required": True},
        "names": {"type": "list", "elements": "str", "required": True},
        "required": {"type": "bool", "default": True},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
