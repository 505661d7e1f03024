#!/usr/bin/python
"""Module compiler_info: what native engines compile with and a host lacks."""

from __future__ import annotations

DOCUMENTATION = r"""
module: compiler_info
short_description: Say which compiler and headers native engines of a host want and do not find
description:
  - On a CPU, an engine without C(enforce_eager) has PyTorch compile with g++. On a GPU, Triton compiles with gcc or clang and Python's headers.
  - Where root runs it and a package manager is known, it names packages. Otherwise it says what is wrong. Changes nothing.
options:
  kind: {description: What the host computes with., type: str, choices: [cpu, gpu, npu], required: true}
  services: {description: Records of its native services., type: list, elements: dict, required: true}
  environments: {description: "Folders of their Python environments; one that isn't there yet is passed over.", type: list, elements: path, default: []}
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
"""
EXAMPLES = r"""
- name: What do its engines compile with?
  compiler_info:
    kind: gpu
    services: "{{ plan | selectattr('runtime', 'eq', 'native') | list }}"
    environments: [/srv/vllm/envs/vllm-gpu-0a1b2c3d4e5f]
"""
RETURN = r"""
packages: {description: Packages that bring what is missing., returned: always, type: list, elements: str}
problems: {description: "What stops an engine, and what helps.", returned: always, type: list, elements: str}
notes: {description: What an operator should know., returned: always, type: list, elements: str}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import run_module
from ansible.module_utils.serving.host.compilers import look


def body(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    return {"changed": False, **look(given["kind"], given["services"], given["environments"])}


def main() -> None:
    spec = {
        "kind": {"type": "str", "choices": ["cpu", "gpu", "npu"], "required": True},
        "services": {"type": "list", "elements": "dict", "required": True},
        "environments": {"type": "list", "elements": "path", "default": []},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
