#!/usr/bin/python
"""Module service_row: options of a service, written into its row in the site's tables."""

from __future__ import annotations

DOCUMENTATION = r"""
module: service_row
short_description: Write engine_args into a service's row
description:
  - Writes options into the row of the site's table of services. Everything else in the file stays as it is, comments and order too.
  - A service that has its row in the product alone gets one in the site's table, which lies over it.
  - Nothing is written where something nearer to the host would hide it (O(hidden)), or where other rows would change with it.
options:
  inventory: {description: "Folder of the inventory, beside whose hosts the tables lie in group_vars/all.", type: path, required: true}
  name: {description: The service's row., type: str, required: true}
  engine_args: {description: "Options and their values; null removes one.", type: dict, required: true}
  hidden: {description: "Options that overrides of the host give, which would win over the row.", type: list, elements: str, default: []}
requirements: [ruamel.yaml]
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
"""
EXAMPLES = r"""
- name: Write what was measured
  service_row:
    inventory: "{{ inventory_dir }}"
    name: qwq-32b
    engine_args: {max_num_seqs: 128}
  delegate_to: localhost
"""
RETURN = r"""
file: {description: The file with the row., returned: always, type: str}
lines: {description: "The change as a unified diff, a line each.", returned: always, type: list, elements: str}
left: {description: "Why nothing was written, and what to write by hand; empty otherwise.", returned: always, type: str}
"""

import difflib
import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import Refusal, run_module
from ansible.module_utils.serving.service import site
from ansible.module_utils.serving.service.texts import Texts, changes, written


def body(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    path = os.path.realpath(site.table_file(given["inventory"], "services"))
    result: dict[str, Any] = {"changed": False, "file": path, "lines": [], "left": ""}
    words = ", ".join(
        "%s: %s" % (key, "null" if value is None else value) for key, value in given["engine_args"].items()
    )
    hidden = sorted(set(given["hidden"]) & set(given["engine_args"]))
    if hidden:
        text = "overrides of this host give %s of '%s', and would win over its row; write there: engine_args: {%s}"
        return dict(result, left=text % (", ".join(hidden), given["name"], words))

    def draft() -> tuple[Texts, None]:
        texts = Texts()
        texts.put(path, site.with_options(path, texts.of(path), given["name"], given["engine_args"]))
        return texts, None

    try:
        texts, _ = written(given["inventory"], draft, module.check_mode)
    except Refusal as refusal:
        return dict(result, left="%s. By hand: engine_args: {%s}" % (refusal, words))
    except OSError as error:
        return dict(result, left="%s can't be written (%s); by hand: engine_args: {%s}" % (path, error.strerror, words))
    before, after = texts.before[path], texts.after[path]
    lines = list(difflib.unified_diff(before.splitlines(), after.splitlines(), path, path, n=2, lineterm=""))
    return {**result, **changes(texts, module._diff), "lines": lines}


def main() -> None:
    spec = {
        "inventory": {"type": "path", "required": True},
        "name": {"type": "str", "required": True},
        "engine_args": {"type": "dict", "required": True},
        "hidden": {"type": "list", "elements": "str", "default": []},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
