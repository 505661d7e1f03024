#!/usr/bin/python
"""Module group_links: do the hosts that run a service together reach each other?"""

from __future__ import annotations

DOCUMENTATION = r"""
module: group_links
short_description: Have the hosts of a service call each other, before its engine does
description:
  - Runs on all hosts of the service at the same time. Each listens on the group's port and on one that the kernel chooses, and calls all others from its own
    address, a quarter of a second as fast as it can, so that both directions, the firewall, the size of packets and the link's rate are tried.
  - Says what carries the traffic, RDMA or TCP, and whether tensor parallelism across the hosts or a pipeline suits what the links are measured to do.
  - Compares clocks and versions of the drivers. Changes nothing, whether the service runs or not.
options:
  services: {description: Records of the plan that have a group., type: list, elements: dict, required: true}
  record: {description: "What M(accelerator_info) returned; versions of C(driver) and C(engine) must be the same on all.", type: dict, default: {}}
  wait: {description: Seconds that the hosts get to meet., type: int, default: 40}
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
"""
EXAMPLES = r"""
- name: Do the hosts of a service reach each other?
  group_links:
    services: "{{ plan | selectattr('group') | sort(attribute='service') }}"
"""
RETURN = r"""
links:
  description: "By service, what was found: {text, transport, advice, bytes_per_second, round_trip_seconds}."
  returned: success
  type: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import Refusal, run_module
from ansible.module_utils.serving.host import links
from ansible.module_utils.serving.sizing import spread
from ansible.module_utils.serving.sizing.asked import device_of
from ansible.module_utils.serving.sizing.models import model_of
from ansible.module_utils.serving.sizing.speed import active_share, rated


def told(service: dict[str, Any], record: dict[str, Any], met: links.Meeting) -> tuple[dict[str, Any], list[str]]:
    """What the report says of a service's links, and warnings."""
    group, warnings = service["group"], []
    interface = group["interface"] or links.interface_of(group["address"])
    carried = links.transport(service["kind"], service["runtime"], bool(service["rdma"]), interface, links.adapters())
    names = ", ".join(links.name_of(group, rank) for rank in sorted(met.reached))
    found: dict[str, Any] = {"text": "reaches %s" % names, "transport": carried, "advice": None}
    rate, trip = links.slowest(met) or (0.0, 0.0)
    found.update(bytes_per_second=round(rate), round_trip_seconds=round(trip, 6))
    model, shape = model_of(service["model"]), service["model"].get("shape") or {}
    if rate and shape.get("layers") and shape.get("hidden_size"):
        board = device_of(record) if record else None
        known = rated(board) if board and board.kind != "cpu" else None
        reading = None
        if model and known and known[0].copy_rate:
            read = model.weight_bytes * active_share(model)
            reading = spread.reading_seconds(read, service["widths"]["devices"], known[0].copy_rate, group["size"])
        costs = spread.link_seconds(shape["layers"], shape["hidden_size"], group["size"], rate, trip)
        found["advice"], other = spread.advice(group["across"], costs, reading, rate, trip)
        warnings += ["service '%s': %s" % (service["service"], found["advice"])] if other else []
    sizes = {rank: words.get("mtu") for rank, words in met.reached.items()}
    for rank in sorted(sizes):
        if met.mtu and sizes[rank] and sizes[rank] != met.mtu:
            warnings.append(
                "service '%s': the MTU of %s is %d here and %d on %s; large packets passed, but set both alike"
                % (service["service"], interface, met.mtu, sizes[rank], links.name_of(group, rank))
            )
    return found, warnings


def body(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    said: dict[str, Any] = {}
    wrong: list[str] = []
    for service in given["services"]:
        name, group = service["service"], service["group"]
        try:
            met = links.meet(group, given["record"].get("versions") or {}, given["wait"])
        except OSError as error:
            wrong.append(
                "service '%s': %s port %d can't be listened on (%s); correct group_address, or free the port or set hosts_port"
                % (name, group["address"], group["ports"]["check"], error.strerror or error)
            )
            continue
        wrong += links.problems(name, met)
        said[name], warnings = told(service, given["record"], met)
        for text in warnings:
            module.warn(text)
    if wrong:
        raise Refusal("\n".join(wrong))
    return {"changed": False, "links": said}


def main() -> None:
    spec = {
        "services": {"type": "list", "elements": "dict", "required": True},
        "record": {"type": "dict", "default": {}},
        "wait": {"type": "int", "default": 40},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
