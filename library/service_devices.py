#!/usr/bin/python
"""Module service_devices: which devices and cores of this host a plan's services get."""

from __future__ import annotations

DOCUMENTATION = r"""
module: service_devices
short_description: Find the devices and cores that each service of a plan gets on this host
description:
  - An index of a GPU becomes its UUID, which a release keeps, so that a GPU that is lost renumbers nothing.
  - Where a row names no devices, a service keeps those of its current release, and a new one gets some that nobody has.
  - On a CPU host with several services each gets cores of its own, whole cores, and a NUMA node for each rank.
  - Services keep the cores of their current releases; for a new one those on its NUMA node give some, and who stays shares what one that has gone had.
  - On a CPU host a service without a size for its KV cache gets one from the host's memory, the same at each deploy.
  - Says which running services have to stop first, because another one is to get their devices or port. Changes nothing.
options:
  plan: {description: The host's services (filter C(plan))., type: list, elements: dict, required: true}
  kind: {description: What the host computes with., type: str, choices: [cpu, gpu, npu], required: true}
  record: {description: "What M(accelerator_info) returned; it is read again where it has no live device.", type: dict}
  serving_root: {description: Folder of everything that serves., type: path, required: true}
  memory_share: {description: "Share of a CPU host's memory that its services may take, 0 to 1; without it no cache gets a size.", type: float}
attributes:
  check_mode: {support: full, details: A device that is not there yet is no failure.}
  diff_mode: {support: none}
"""
EXAMPLES = r"""
- name: Where does each service run?
  service_devices:
    plan: "{{ plan }}"
    kind: gpu
    serving_root: /srv/vllm
"""
RETURN = r"""
services:
  description: "For each service: names (UUIDs where there are any) for its release, cdi names, cores {cpus, mems, bind}, kv_cache_memory_bytes of a rank; null
    where there are none."
  returned: success
  type: dict
  sample: {qwq-32b: {names: [GPU-ef6b8b4e], cdi: ["0"], cores: null, kv_cache_memory_bytes: null}}
stop: {description: Running services that have to stop first., returned: success, type: list, elements: str}
reasons: {description: Why each of them has to., returned: success, type: dict}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import Refusal, run_module
from ansible.module_utils.serving.host.accelerators import accelerator_record
from ansible.module_utils.serving.host.cores import cores_of, loosen, named_problems, share
from ansible.module_utils.serving.host.cpu import allowed, usable
from ansible.module_utils.serving.host.cpu_memory import cache_sizes, memory_of
from ansible.module_utils.serving.host.devices import cdi_names, cdi_text, doubled, mig_slices
from ansible.module_utils.serving.service import releases
from ansible.module_utils.serving.service.claims import assign, claims, first_to_stop, left_over


def body(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    plan, kind, record = given["plan"], given["kind"], given["record"]
    if not record or not record.get("live"):
        record = accelerator_record(kind)
    root = given["serving_root"]
    running = claims(root)
    problems: list[str] = []
    places = {}
    caches: dict[str, int] = {}
    if kind == "cpu":
        nodes = cores_of(record["topology"]["numa"], usable())
        others = [claim.spec for claim in left_over(plan, running)]
        now = {s["service"]: releases.current_spec(root, s["service"]) or {} for s in plan}
        cores = share(plan, nodes, [one["cores"] for one in others if one.get("cores")],
                      {name: one["cores"] for name, one in now.items() if one.get("cores")}, record["topology"]["numa"])  # fmt: skip
        loosen(cores, plan, record["topology"]["numa"])
        problems += named_problems(plan, allowed())
        if given["memory_share"]:
            caches, faults = cache_sizes(plan, memory_of(record), given["memory_share"])
            problems += faults
    else:
        cores = {}
        places = assign(plan, record, mig_slices(record), root)
        for name, one in places.items():
            problems += ["service '%s': %s" % (name, text) for text in one.problems]
        problems += doubled(places)
    if problems and not module.check_mode:
        raise Refusal("\n".join(problems))
    text = cdi_text() if places else ""
    found = {
        s["service"]: {
            "names": places[s["service"]].names if s["service"] in places else None,
            "cdi": cdi_names(places[s["service"]], text) if s["service"] in places else None,
            "cores": cores.get(s["service"]),
            "kv_cache_memory_bytes": caches.get(s["service"]),
        }
        for s in plan
    }
    reasons = first_to_stop(plan, running, places)
    return {"changed": False, "services": found, "stop": sorted(reasons), "reasons": reasons}


def main() -> None:
    spec = {
        "plan": {"type": "list", "elements": "dict", "required": True},
        "kind": {"type": "str", "choices": ["cpu", "gpu", "npu"], "required": True},
        "record": {"type": "dict"},
        "serving_root": {"type": "path", "required": True},
        "memory_share": {"type": "float"},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
