#!/usr/bin/python
"""Module accelerator_info: what a host computes with."""

from __future__ import annotations

DOCUMENTATION = r"""
module: accelerator_info
short_description: Read what a host computes with into one record for accelerators of all kinds
description:
  - Reads CPU, memory and NUMA nodes from /proc and sysfs, GPUs from C(nvidia-smi -q -x) and C(topo -m).
  - NPUs come from C(npu-smi info), version.info and device nodes. Where no driver answers, PCI ids tell what is there.
  - Changes nothing and needs no privilege. A vendor's tool that does not answer within three minutes is cut off and reported.
  - The record is a fact as well, RV(ansible_facts.chips), so that a later phase of the same run need not read it again.
  - Values that can't be read are null; nothing is guessed. What stops a deploy stands in RV(record.problems) with its remedy, what
    preparing the host mends in RV(record.pending), and what an operator should know without more in RV(record.notes).
  - Describes what it finds as a row of the table C(boards), to be pasted where the catalogue has none.
  - A GPU lists its MIG slices and the processes that hold its memory, as far as the driver tells them.
options:
  kind:
    description: Which accelerators to look for; C(auto) takes GPUs or NPUs of the PCI bus where there are any, and else the CPU.
    type: str
    choices: [cpu, gpu, npu, auto]
    default: cpu
  root:
    description: Where the file system starts; other than / in tests with recorded files.
    type: path
    default: /
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
"""
EXAMPLES = r"""
- name: Read the accelerators
  accelerator_info:
    kind: cpu
  register: chips
"""
RETURN = r"""
record:
  description: kind, arch, count, devices, driver, versions, topology, cpu, memory, live, pending, problems, notes.
  returned: always
  type: dict
  sample: {kind: cpu, arch: aarch64, count: 2, cpu: {model: Neoverse-V2, threads: 192, flags: [bf16, i8mm]}, problems: []}
board: {description: The row of boards that describes it, as YAML to paste., returned: always, type: str}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import run_module
from ansible.module_utils.serving.host.accelerators import board_text, chips


def body(module: AnsibleModule) -> dict:
    record = chips(module.params["kind"], module.params["root"])
    return {"changed": False, "record": record, "board": board_text(record), "ansible_facts": {"chips": record}}


def main() -> None:
    spec = {
        "kind": {"type": "str", "choices": ["cpu", "gpu", "npu", "auto"], "default": "cpu"},
        "root": {"type": "path", "default": "/"},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
