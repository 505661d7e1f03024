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
  - The record is a fact as well, RV(ansible_facts.accelerators), so that a later phase of the same run need not read it again.
  - Values that can't be read are null; nothing is guessed. What stops a deploy stands in RV(record.problems) with its remedy, what
    preparing the host mends in RV(record.pending), and what an operator should know without more in RV(record.notes).
  - Describes what it finds as a row of the table C(boards), to be pasted where the catalogue has none.
  - A GPU lists its MIG slices and the processes that hold its memory, as far as the driver tells them.
  - With O(measure) it also measures how fast the first device copies memory and multiplies matrices, in seconds and with a torch that is there.
    That disturbs what runs on it. M(fit) predicts speed from what is kept in O(serving_root).
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
  measure: {description: Measure the rates of the first device., type: bool, default: false}
  python: {description: A Python with torch for O(measure)., type: path, default: ''}
  serving_root: {description: "Folder of everything that serves, where measured rates are kept.", type: path}
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
"""
EXAMPLES = r"""
- name: Read the accelerators
  accelerator_info:
    kind: cpu
  register: found
"""
RETURN = r"""
record:
  description: kind, arch, count, devices, driver, versions, topology, cpu, memory, live, pending, problems, notes.
  returned: always
  type: dict
  sample: {kind: cpu, arch: aarch64, count: 2, cpu: {model: Neoverse-V2, threads: 192, flags: [bf16, i8mm]}, problems: []}
board: {description: The row of boards that describes it, as YAML to paste., returned: always, type: str}
rates:
  description: What was measured.
  returned: with measure
  type: dict
  sample: {copy_bytes: 3.03e12, matrix_operations: 6.4e14, device: NVIDIA H100 80GB HBM3, torch: 2.11.0, measured: 1795624377}
"""

import sys

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import run_module
from ansible.module_utils.serving.host.accelerators import accelerator_record, board_text
from ansible.module_utils.serving.sizing.rates import measure, remember


def body(module: AnsibleModule) -> dict:
    record = accelerator_record(module.params["kind"], module.params["root"])
    result = {
        "changed": False,
        "record": record,
        "board": board_text(record),
        "ansible_facts": {"accelerators": record},
    }
    if not module.params["measure"]:
        return result
    if module.check_mode:
        return dict(result, rates={})
    found = measure(module.params["python"] or sys.executable, record["kind"])
    if module.params["serving_root"]:
        remember(module.params["serving_root"], found)
    return dict(result, rates=found)


def main() -> None:
    spec = {
        "kind": {"type": "str", "choices": ["cpu", "gpu", "npu", "auto"], "default": "cpu"},
        "root": {"type": "path", "default": "/"},
        "measure": {"type": "bool", "default": False},
        "python": {"type": "path", "default": ""},
        "serving_root": {"type": "path"},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
