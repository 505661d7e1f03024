#!/usr/bin/python
"""Module adapter_row: an adapter, and the services that load it, written into the site's tables."""

from __future__ import annotations

DOCUMENTATION = r"""
module: adapter_row
short_description: Write an adapter's row, and its name into the services of its model
description:
  - Finds the row of the model that the adapter is made for by its name or commit on its hub. Where no row or several have it, that is a question,
    which O(base) answers.
  - Writes the adapter's row with that C(base), and its name into C(adapters) of the services of that model that hosts run.
  - Everything else in the files stays as it is. The same again changes nothing. Nothing is written where anything is refused.
options:
  inventory: {description: "Folder of the inventory, beside whose hosts the tables lie in group_vars/all.", type: path, required: true}
  name: {description: Name of the adapter's row., type: str, required: true}
  row: {description: "The adapter's row without C(base), as M(model_info) makes it.", type: dict, required: true}
  adapts: {description: "What it adapts by its own files, as M(model_info) says it.", type: dict, required: true}
  facts: {description: "What else M(model_info) says of it, for the words of the outlook.", type: dict, default: {}}
  models: {description: "Models there are: their rows, as the plan reads them.", type: dict, required: true}
  base: {description: "Row of the model that it adapts, empty: the one that its files name.", type: str, default: ''}
  hosts: {description: "Services that hosts run: {host: {service: {model, adapters}}}.", type: dict, default: {}}
  update: {description: "May a row that is there and says something else be changed?", type: bool, default: false}
requirements: [ruamel.yaml]
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
"""
EXAMPLES = r"""
- name: Write the rows
  adapter_row:
    inventory: "{{ inventory_dir }}"
    name: "{{ add_model_info.name }}"
    row: "{{ add_model_info.row }}"
    adapts: "{{ add_model_info.adapts }}"
    models: "{{ tables.models }}"
    hosts: "{{ ansible_play_hosts | serves(hostvars) }}"
  delegate_to: localhost
  run_once: true
"""
RETURN = r"""
row: {description: "The adapter's row, with its base.", returned: always, type: dict}
services: {description: "Rows of services as they will be, as far as adapters go: {service: [adapters]}.", returned: always, type: dict}
files: {description: Files that are changed., returned: always, type: list, elements: str}
outlook: {description: "What it is and takes, a line each.", returned: always, type: list, elements: str}
unplaced: {description: "Hosts that run no service of its model, and what to do.", returned: always, type: list, elements: str}
"""

from functools import partial
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import Refusal, run_module
from ansible.module_utils.serving.files import human
from ansible.module_utils.serving.service import site
from ansible.module_utils.serving.service.bases import base_of
from ansible.module_utils.serving.service.texts import Texts, result


def loading(given: dict[str, Any], base: str) -> tuple[dict[str, list[str]], list[str]]:
    """({service of the model: its adapters now}, hosts without one)."""
    found: dict[str, list[str]] = {}
    without = []
    for host, runs in sorted(given["hosts"].items()):
        mine = {name: list(one.get("adapters") or []) for name, one in runs.items() if one.get("model") == base}
        found.update(mine)
        if not mine:
            without.append(
                "%s runs no service of '%s'; add that model to it (-l %s), or run this again with the hosts that serve it"
                % (host, base, host)
            )
    return found, without


def drafted(given: dict[str, Any]) -> tuple[Texts, dict[str, Any]]:
    """(texts of files, results): everything that would be written, nothing written."""
    texts, name = Texts(), given["name"]
    if name in given["models"] and not given["models"][name].get("base"):
        raise Refusal("'%s' is a model of the tables; give the adapter another name: -e name=%s-lora" % (name, name))
    base = base_of(name, given["adapts"], given["models"], given["base"])
    row = {"base": base, **given["row"]}
    services, without = loading(given, base)
    path = site.table_file(given["inventory"], "models")
    texts.put(path, site.with_row(path, texts.of(path), "models", name, site.with_figures(row), given["update"]))
    for service, has in sorted(services.items()):
        path = site.table_file(given["inventory"], "services")
        texts.put(path, site.with_listed(path, texts.of(path), "services", service, "adapters", has, name))
    facts = given["facts"]
    commit = " at commit %s" % str(facts["commit"])[:12] if facts.get("commit") else ""
    outlook = ["%s: adapter (LoRA) of %s, rank %s, licence %s" % (name, base, row["rank"], row["license"])]
    if facts:
        outlook.append(
            "to fetch: %s in %d files, from %s %s%s"
            % (human(facts["fetch_bytes"]), facts["files"], facts["source"], facts["repo"], commit)
        )
    if services:
        outlook.append("loaded by: %s; callers ask for it as '%s'" % (", ".join(sorted(services)), name))
    return texts, {
        "row": row,
        "services": {
            service: has if name in has else [*has, name] for service, has in services.items()
        },
        "outlook": outlook,
        "unplaced": without,
    }  # fmt: skip


def main() -> None:
    spec = {
        "inventory": {"type": "path", "required": True},
        "name": {"type": "str", "required": True},
        "row": {"type": "dict", "required": True},
        "adapts": {"type": "dict", "required": True},
        "facts": {"type": "dict", "default": {}},
        "models": {"type": "dict", "required": True},
        "base": {"type": "str", "default": ""},
        "hosts": {"type": "dict", "default": {}},
        "update": {"type": "bool", "default": False},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), partial(result, draft=drafted))


if __name__ == "__main__":
    main()
