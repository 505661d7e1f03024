#!/usr/bin/python
"""Module model_row: a model and its service, written into the site's tables."""

from __future__ import annotations

DOCUMENTATION = r"""
module: model_row
short_description: Write a model's row, a service's row and what hosts run into the site's tables
description:
  - Makes the service's row for one board by what the model needs, with a port that nothing uses, and says what it would take.
  - Writes rows into the YAML files of the site. Everything else in them stays as it is, comments, order and line ends too.
  - A row that says the same already is left alone. One that says something else is refused, or with O(update) changed where it differs; what a person
    added to it stays.
  - Nothing is written where anything is refused; a file is replaced by one rename.
options:
  inventory: {description: "Folder of the inventory, beside whose hosts the tables lie in group_vars/all.", type: path, required: true}
  inventory_files: {description: Files or folders of the inventory in which hosts are listed., type: list, elements: path, default: []}
  name: {description: Name of the model's row., type: str, required: true}
  row: {description: "The model's row, as M(model_info) makes it.", type: dict, required: true}
  kind: {description: "What the model is for, as M(model_info) says it.", type: dict, required: true}
  facts: {description: "What else M(model_info) says of it, for the words of the outlook.", type: dict, default: {}}
  board: {description: "Accelerator that the service is for; without it the model's row alone is written.", type: dict}
  boards: {description: "Boards of the whole inventory by name, to say where the model would fit.", type: dict, default: {}}
  engines: {description: "Rows of engines by name, for what rules must know of the one that serves on a board.", type: dict, default: {}}
  services: {description: "Services there are: their rows, as the plan reads them.", type: dict, default: {}}
  hosts:
    description: >-
      Hosts that are to run it: what they run now, whichever file says so, and the ports and devices that it takes -
      {host: {runs, ports, devices}}. A host that has its C(runs) from a group gets a list of its own, with these in it.
    type: dict
    default: {}
  service: {description: "Name of the service's row, empty: made from the model's.", type: str, default: ''}
  port: {description: "Port of the service, 0: a free one.", type: int, default: 0}
  max_model_len: {description: "Tokens of its context, 0: as many as make sense.", type: int, default: 0}
  parsers: {description: "Parsers that the engine has, as tools/NAME and reasoning/NAME; empty: not known.", type: list, elements: str, default: []}
  update: {description: "May rows that are there and say something else be changed?", type: bool, default: false}
requirements: [ruamel.yaml]
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
"""
EXAMPLES = r"""
- name: Write the rows
  model_row:
    inventory: "{{ inventory_dir }}"
    name: "{{ add_model_info.name }}"
    row: "{{ add_model_info.row }}"
    kind: "{{ add_model_info.kind }}"
    board: "{{ accelerator }}"
    services: "{{ services }}"
  delegate_to: localhost
  run_once: true
"""
RETURN = r"""
service: {description: "Name of the service's row, empty without one.", returned: always, type: str}
service_row: {description: The service's row., returned: always, type: dict}
files: {description: Files that are changed., returned: always, type: list, elements: str}
outlook: {description: "What it would take and give, a line each.", returned: always, type: list, elements: str}
unplaced: {description: "Hosts whose `runs` were left alone, and why.", returned: always, type: list, elements: str}
"""

from functools import partial
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import Refusal, run_module
from ansible.module_utils.serving.files import human
from ansible.module_utils.serving.service import host_runs, site
from ansible.module_utils.serving.service.proposal import GENERATES, Outlook, Wish, propose
from ansible.module_utils.serving.service.texts import Texts, result
from ansible.module_utils.serving.weights.shape import Shape


def words(given: dict[str, Any], outlook: Outlook | None) -> list[str]:
    """What an operator reads: bytes, memory, context, how many at once."""
    facts, kind, row = given["facts"], given["kind"], given["row"]
    shape = Shape.of_row(row.get("shape") or {})
    traits = [kind["name"], *(word for word in ("reasoning", "vision", "audio") if kind.get(word))]
    traits += ["tool calls (%s)" % kind["tools"]] if kind.get("tools") else []
    form = row["dtype"] + (", %s" % row["quantization"] if row.get("quantization") else "")
    lines = [
        "%s: %s, %s, %s, licence %s"
        % (given["name"], ", ".join(traits), row.get("architecture", "?"), form, row["license"])
    ]
    if facts:
        commit = " at commit %s" % str(facts["commit"])[:12] if facts.get("commit") else ""
        lines.append(
            "to fetch: %s in %d files, from %s %s%s"
            % (human(facts["fetch_bytes"]), facts["files"], facts["source"], facts["repo"], commit)
        )
    if outlook is None:
        return lines
    token = shape.token_bytes() if kind["name"] in GENERATES else None
    cache = ", a token of its KV cache takes %s" % human(token) if token else ""
    cache += ", the states of a text %s" % human(shape.state_layers * shape.state_bytes) if shape.state_bytes else ""
    if outlook.memory is not None:
        lines.append(
            "devices: %d, with %s of weights on each of %s%s"
            % (outlook.devices, human(outlook.weights), human(outlook.memory), cache)
        )
    else:
        lines.append("memory: %s in all, weights %s%s" % (human(outlook.total or 0), human(outlook.weights), cache))
    limit = shape.max_position_embeddings
    most = " of the %d that it takes" % limit if limit > outlook.context else ""
    lines.append("context: %d tokens%s%s" % (outlook.context, most, "; more with -e max_model_len=..." if most else ""))
    if outlook.tokens is not None and outlook.concurrency is not None and kind["name"] in GENERATES:
        lines.append(
            "at once: %.1f texts of full length (%d tokens of KV cache)" % (outlook.concurrency, outlook.tokens)
        )
    return lines


def place_runs(texts: Texts, given: dict[str, Any], service: str, devices: int) -> tuple[list[str], list[str]]:
    """Put the service into its hosts' `runs`. Returns (what to know of it, why it isn't in those of some hosts)."""
    said, left = [], []
    files = host_runs.inventory_files(given["inventory_files"])
    for host, has in sorted(given["hosts"].items()):
        board, held = given["board"] or {}, has.get("devices") or {}
        count, others = board.get("count"), sum(int(n) for name, n in held.items() if name != service)
        if board.get("kind") != "cpu" and count and others + devices > int(count):
            names = ", ".join("%s (%s)" % (name, n) for name, n in sorted(held.items()) if name != service)
            left.append(
                "%s has %d devices, of which %s take %d, and this service needs %d: give it its room, or another host, and put '%s' into `runs`"
                % (host, int(count), names, others, devices, service)
            )
            continue
        place = host_runs.runs_place(given["inventory"], files, host)
        if place is None:
            left.append("%s is in no YAML file of this inventory: put '%s' into its `runs`" % (host, service))
            continue
        text, effective = texts.of(place.path), [str(name) for name in has.get("runs") or []]
        try:
            after = host_runs.with_run(place, text, service, effective)
            inherits = host_runs.own_runs(place, text) is None
        except Refusal as refusal:
            left.append("%s: %s: put '%s' into it" % (host, refusal, service))
            continue
        texts.put(place.path, after)
        if after != text and inherits and effective:
            said.append(
                "%s had its `runs` from its group: it has a list of its own now, with %s in it, and what the group runs later is not added to it"
                % (host, ", ".join(effective))
            )
    return said, left


def drafted(given: dict[str, Any]) -> tuple[Texts, dict[str, Any]]:
    """(texts of files, results): everything that would be written, nothing written."""
    texts, name = Texts(), given["name"]
    service, row, outlook = "", {}, None
    said: list[str] = []
    left: list[str] = []
    if given["board"]:
        ports = [port for has in given["hosts"].values() for port in has.get("ports") or []]
        wish = Wish(given["max_model_len"], given["port"], given["service"])
        service, row, outlook = propose(
            name,
            given["row"],
            given["kind"],
            given["board"],
            given["boards"],
            given["engines"],
            given["services"],
            ports,
            wish,
            given["parsers"],
        )
    for table, called, wanted in (("models", name, given["row"]), ("services", service, row)):
        if called:
            path = site.table_file(given["inventory"], table)
            texts.put(
                path, site.with_row(path, texts.of(path), table, called, site.with_figures(wanted), given["update"])
            )
    if service and outlook:
        said, left = place_runs(texts, given, service, outlook.devices)
    return texts, {
        "service": service,
        "service_row": row,
        "outlook": [*words(given, outlook), *said],
        "unplaced": left,
    }


def main() -> None:
    spec = {
        "inventory": {"type": "path", "required": True},
        "inventory_files": {"type": "list", "elements": "path", "default": []},
        "name": {"type": "str", "required": True},
        "row": {"type": "dict", "required": True},
        "kind": {"type": "dict", "required": True},
        "facts": {"type": "dict", "default": {}},
        "board": {"type": "dict"},
        "boards": {"type": "dict", "default": {}},
        "engines": {"type": "dict", "default": {}},
        "services": {"type": "dict", "default": {}},
        "hosts": {"type": "dict", "default": {}},
        "service": {"type": "str", "default": ""},
        "port": {"type": "int", "default": 0},
        "max_model_len": {"type": "int", "default": 0},
        "parsers": {"type": "list", "elements": "str", "default": []},
        "update": {"type": "bool", "default": False},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), partial(result, draft=drafted))


if __name__ == "__main__":
    main()
