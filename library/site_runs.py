#!/usr/bin/python
"""Module site_runs: which services hosts run, written into the site's inventory."""

from __future__ import annotations

DOCUMENTATION = r"""
module: site_runs
short_description: Write what hosts run into the site's inventory
description:
  - Sets C(runs) of hosts in the YAML files of the site, in host_vars where it stands there, else in the host's row. Everything else in them stays
    as it is, comments, order and line ends too.
  - Where no YAML file has the host, nothing is written for it, and RV(by_hand) says what to change.
options:
  inventory: {description: Folder of the inventory., type: path, required: true}
  inventory_files: {description: Files or folders of the inventory in which hosts are listed., type: list, elements: path, default: []}
  runs: {description: "What hosts are to run, {host: [services]}.", type: dict, required: true}
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
"""
EXAMPLES = r"""
- name: Write it down
  site_runs:
    inventory: "{{ inventory_dir }}"
    inventory_files: "{{ ansible_inventory_sources }}"
    runs: {gpu-01: [], gpu-02: [qwq-32b]}
  delegate_to: localhost
"""
RETURN = r"""
files: {description: Files that are changed., returned: always, type: list, elements: str}
by_hand: {description: "A sentence for each host that no YAML file has.", returned: always, type: list, elements: str}
"""

from functools import partial
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import run_module
from ansible.module_utils.serving.service import host_runs
from ansible.module_utils.serving.service.texts import Texts, result


def drafted(given: dict[str, Any]) -> tuple[Texts, dict[str, Any]]:
    """(texts of files, what is left to a person, `by_hand`); nothing is written."""
    texts, left = Texts(), []
    files = host_runs.inventory_files(given["inventory_files"])
    for host, runs in sorted(given["runs"].items()):
        place = host_runs.runs_place(given["inventory"], files, host)
        if place is None:
            left.append("%s is in no YAML file of this inventory: make its runs [%s]" % (host, ", ".join(runs)))
            continue
        texts.put(place.path, host_runs.with_runs(place, texts.of(place.path), list(runs)))
    return texts, {"by_hand": left}


def main() -> None:
    spec = {
        "inventory": {"type": "path", "required": True},
        "inventory_files": {"type": "list", "elements": "path", "default": []},
        "runs": {"type": "dict", "required": True},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), partial(result, draft=drafted))


if __name__ == "__main__":
    main()
