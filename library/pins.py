#!/usr/bin/python
"""Module pins: the file of commits and digests that an operator commits."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pins
short_description: Record on the controller what the hosts resolved
description:
  - Adds commits and digests that hosts have resolved to a JSON file of the inventory, which the plan reads. Pins that are there stay as they are.
  - Choices (O(choices), from M(fit)) are of one host and take the place of an earlier one, since what was asked has changed, or a new choice was asked for.
  - With O(choices) the file's content is a fact as well, RV(ansible_facts.pins), so that later phases of the same run plan with it.
  - Hosts that resolved one name differently are named, and nothing is written; the first fetch of a moving name can race with its move.
options:
  path: {description: "The file, such as inventory/group_vars/all/pins.json.", type: path, required: true}
  found: {description: "What each host resolved, {host: {models, images}}.", type: dict, default: {}}
  choices: {description: "What was chosen for each host's services, {host: {service: {asked, args}}}.", type: dict, default: {}}
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
"""
EXAMPLES = r"""
- name: Record the pins
  pins:
    path: inventory/group_vars/all/pins.json
    found: {gpu-01: {models: {qwq-32b: {modelscope: c0ffee}}, images: {}}}
  delegate_to: localhost
  run_once: true
"""
RETURN = r"""
added: {description: What was recorded now., returned: always, type: list, elements: str}
"""

import json
import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import Refusal, run_module
from ansible.module_utils.serving.files import locked, read_json, write_json


def flat(row: dict[str, Any]) -> dict[tuple[str, ...], str]:
    """{models, images} as one table by place."""
    table: dict[tuple[str, ...], str] = {}
    for name, hubs in row["models"].items():
        table.update({("models", name, hub): commit for hub, commit in hubs.items()})
    table.update({("images", name): digest for name, digest in row["images"].items()})
    return table


def chosen(pins: dict[str, Any], choices: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """(choices of all hosts with the new ones in place, what is new)."""
    result = {host: dict(services) for host, services in (pins.get("choices") or {}).items()}
    added = []
    for host, services in sorted(choices.items()):
        for name, choice in sorted(services.items()):
            if result.setdefault(host, {}).get(name) != choice:
                words = ", ".join("%s %s" % pair for pair in sorted(choice["args"].items()))
                added.append("%s on %s: %s" % (name, host, words or "the engine's own defaults"))
                result[host][name] = choice
    return {host: services for host, services in result.items() if services}, added


def merged(
    pins: dict[str, Any], found: dict[str, Any], choices: dict[str, Any] | None = None
) -> tuple[dict[str, Any], list[str]]:
    """(pins with what was found and chosen, what is new). Refusal where hosts disagree, with each other or with a pin."""
    known = {place: (value, "the file of pins") for place, value in flat(pins).items()}
    added = []
    for host, row in sorted(found.items()):
        for place, value in sorted(flat(row).items()):
            before = known.setdefault(place, (value, host))
            if before[0] != value:
                raise Refusal(
                    "%s is %s on %s and %s in %s: set its revision or digest in the tables, and run deploy.yml --tags fetch again"
                    % (" ".join(place[1:]), value, host, before[0], before[1])
                )
            if before[1] == host and place not in flat(pins):
                added.append("%s: %s" % (" ".join(place[1:]), value))
    result: dict[str, Any] = {"models": {}, "images": {}}
    for place, (value, _) in known.items():
        if place[0] == "models":
            result["models"].setdefault(place[1], {})[place[2]] = value
        else:
            result["images"][place[1]] = value
    made, more = chosen(pins, choices or {})
    return {**result, **({"choices": made} if made else {})}, added + more


def body(module: AnsibleModule) -> dict[str, Any]:
    path = module.params["path"]

    def look() -> tuple[dict[str, Any], list[str], str]:
        try:
            text = read_json(path)
            before = {"models": {}, "images": {}} if text is None else text["pins"]
            pins, added = merged(before, module.params["found"], module.params["choices"])
        except (ValueError, AttributeError, TypeError, KeyError, RecursionError):
            raise Refusal("%s is not a file of pins; correct it, or remove it to have it made again" % path) from None
        return pins, added, json.dumps({"pins": before}, indent=2, sort_keys=True) + "\n" if text else ""

    pins, added, before = look()
    if added and not module.check_mode:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        with locked(path + ".lock", "the file of pins", keep=False):
            pins, added, before = look()
            if added:  # another run may have written the same meanwhile
                write_json(path, {"pins": pins})
    after = json.dumps({"pins": pins}, indent=2, sort_keys=True) + "\n" if added else before
    diff = {"before": before, "after": after, "before_header": path, "after_header": path}
    result = {"changed": bool(added), "added": added, "diff": diff}
    return dict(result, ansible_facts={"pins": pins}) if module.params["choices"] else result


def main() -> None:
    spec = {
        "path": {"type": "path", "required": True},
        "found": {"type": "dict", "default": {}},
        "choices": {"type": "dict", "default": {}},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
