#!/usr/bin/python
"""Module group_links: do the hosts that run a service together reach each other?"""

from __future__ import annotations

DOCUMENTATION = r"""
module: group_links
short_description: Have the hosts of a service call each other, before its engine does
description:
  - Runs on all hosts of the service at the same time. Each listens on the group's port and on one that the kernel chooses, and calls all others from its own
    address, with much data, so that both directions, the firewall and the size of packets are tried.
  - Compares clocks and versions of the drivers. Changes nothing, whether the service runs or not.
options:
  groups: {description: "Groups of the plan by service, as its records have them.", type: dict, required: true}
  about: {description: "Versions on this host that must be the same on all: C(driver) and C(engine).", type: dict, default: {}}
  wait: {description: Seconds that the hosts get to meet., type: int, default: 40}
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
"""
EXAMPLES = r"""
- name: Do the hosts of a service reach each other?
  group_links:
    groups: {large: {size: 2, rank: 0, members: [a, b], addresses: [10.0.0.1, 10.0.0.2], address: 10.0.0.1, ports: {check: 29602}}}
"""
RETURN = r"""
links:
  description: What each service found, a sentence each.
  returned: success
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import Refusal, run_module
from ansible.module_utils.serving.host import links


def body(module: AnsibleModule) -> dict[str, Any]:
    given, said, wrong = module.params, [], []
    for service, group in sorted(given["groups"].items()):
        try:
            met = links.meet(group, given["about"], given["wait"])
        except OSError as error:
            wrong.append(
                "service '%s': %s port %d can't be listened on (%s); correct group_address, or free the port or set hosts_port"
                % (service, group["address"], group["ports"]["check"], error.strerror or error)
            )
            continue
        wrong += links.problems(service, met)
        names = ", ".join(links.name_of(group, rank) for rank in sorted(met.reached))
        said.append(
            "%s: reaches %s; what travels between them is not encrypted: keep it in a private network, or in WireGuard"
            % (service, names)
        )
    if wrong:
        raise Refusal("\n".join(wrong))
    return {"changed": False, "links": said}


def main() -> None:
    spec = {
        "groups": {"type": "dict", "required": True},
        "about": {"type": "dict", "default": {}},
        "wait": {"type": "int", "default": 40},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
