#!/usr/bin/python
"""Module services_info: which services are deployed on a host, and which of them its plan doesn't name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: services_info
short_description: List the services that are deployed on a host
description:
  - Lists what lies below O(serving_root), whether the plan names it or not. A service that was taken out of C(runs) goes on running, with its memory
    and its port, until it is stopped or uninstalled. Asks no service anything, and changes nothing.
options:
  serving_root: {description: Folder of everything that serves., type: path, required: true}
  runs: {description: What the plan wants on this host., type: list, elements: str, default: []}
  host: {description: "The host's name in the inventory, for the commands in RV(beside).", type: str, default: HOST}
  wanted:
    description:
      - What an operator said with C(-e service=NAME), for RV(meant). It is refused where no service of this host has that name, and no replica of it.
    type: str
  every: {description: What V(all) means as O(wanted)., type: str, choices: [none, runs, deployed], default: none}
  rows: {description: Names of the rows of services. A service that has one is no replica of another., type: list, elements: str, default: []}
  planned: {description: "V(true): O(wanted) may only name what is in O(runs), not what is deployed beside it.", type: bool, default: false}
  single: {description: "V(true): O(wanted) must mean one service.", type: bool, default: false}
  required: {description: "V(false): a O(wanted) that is not here means that name all the same.", type: bool, default: true}
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
"""
EXAMPLES = r"""
- name: What is there beside the plan?
  services_info:
    serving_root: /srv/vllm
    runs: [qwq-32b]

- name: Which services are meant?
  services_info:
    serving_root: /srv/vllm
    wanted: demo
    rows: [demo, qwq-32b]
"""
RETURN = r"""
services:
  description: The services that are deployed, by name.
  returned: always
  type: list
  elements: dict
  sample: [{service: demo, endpoint: "http://127.0.0.1:8000", release: 0a1b2c3d4e5f, running: true, planned: false}]
beside: {description: "One sentence for each that O(runs) does not name: what it is and how it ends.", returned: always, type: list, elements: str}
meant: {description: "What O(wanted) means: one service, replicas, or all.", returned: with O(wanted), type: list, elements: str, sample: [demo-1, demo-2]}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import Refusal, run_module
from ansible.module_utils.serving.service import named, releases


def body(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    rows = releases.deployed(given["serving_root"], given["runs"])
    replicas = {row["service"]: named.meant(row["service"], given["runs"], given["rows"]) for row in rows}
    result = {"changed": False, "services": rows, "beside": releases.beside(rows, given["host"], replicas)}
    wanted = given["wanted"]
    if wanted is not None:
        deployed = [row["service"] for row in rows]
        every = {"none": None, "runs": given["runs"], "deployed": deployed}[given["every"]]
        beside = [] if given["planned"] else [name for name in deployed if name not in given["runs"]]
        there = given["runs"] + beside
        result["meant"] = named.named(wanted, there, given["rows"], every, given["required"])
        if given["single"] and len(result["meant"]) > 1:
            raise Refusal(
                "-e service=%s means %s, and this works on one: name one of them" % (wanted, ", ".join(result["meant"]))
            )
    return result


def main() -> None:
    spec = {
        "serving_root": {"type": "path", "required": True},
        "runs": {"type": "list", "elements": "str", "default": []},
        "host": {"type": "str", "default": "HOST"},
        "wanted": {"type": "str"},
        "every": {"type": "str", "choices": ["none", "runs", "deployed"], "default": "none"},
        "rows": {"type": "list", "elements": "str", "default": []},
        "planned": {"type": "bool", "default": False},
        "single": {"type": "bool", "default": False},
        "required": {"type": "bool", "default": True},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
