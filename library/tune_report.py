#!/usr/bin/python
"""Module tune_report: what a search for settings has found, as files on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tune_report
short_description: Write a search for settings as JSON and as a page with a chart
description:
  - For the controller. Files are C(<service>-<run>.json) and C(.html) in O(folder). Never counts as a change, since a report is the output of a run.
options:
  folder: {description: Where the files go., type: path, required: true}
  run: {description: The run's name., type: str, required: true}
  service: {description: The service., type: str, required: true}
  host: {description: The host., type: str, required: true}
  written: {description: When., type: str, required: true}
  search: {description: What M(tune) returned at the end., type: dict, required: true}
  load: {description: What the trials measured., type: dict, required: true}
  row: {description: "What M(service_row) returned, empty where nothing is to be changed.", type: dict, default: {}}
  wrote: {description: Whether the row was written., type: bool, default: true}
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
"""
EXAMPLES = r"""
- name: Write the report
  tune_report:
    folder: reports/gpu-01/tunes
    run: tuesday
    service: qwq-32b
    host: gpu-01
    written: 2026-11-26T10:00:00Z
    search: "{{ tune_step }}"
    load: {concurrency: 64, prompt_length: 512, output_length: 64, prompts: '', repeats: 3}
  delegate_to: localhost
"""
RETURN = r"""
text: {description: For the terminal., returned: always, type: str}
paths: {description: The files., returned: always, type: list, elements: str}
"""

import json
import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import run_module
from ansible.module_utils.serving.service.bench import written_files
from ansible.module_utils.serving.service.tune_page import page, text
from ansible.module_utils.serving.sizing.sweep import NOW

KEYS = ("candidates", "trials", "ranking", "result", "why", "winner", "winner_args", "seconds", "minutes")


def body(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    search = {key: given[key] for key in ("run", "service", "host", "written", "load", "wrote")}
    search.update({key: given["search"].get(key) for key in KEYS})
    search.update(now=NOW, row={key: given["row"].get(key) for key in ("file", "lines", "left")})
    base = os.path.join(given["folder"], "%s-%s" % (given["service"], given["run"]))
    files = {base + ".json": json.dumps(search, indent=2) + "\n", base + ".html": page(search)}
    written_files(given, files, module.check_mode)
    return {"changed": False, "text": text(search) + "\npage: %s.html" % base, "paths": list(files)}


def main() -> None:
    spec = {
        "folder": {"type": "path", "required": True},
        "run": {"type": "str", "required": True},
        "service": {"type": "str", "required": True},
        "host": {"type": "str", "required": True},
        "written": {"type": "str", "required": True},
        "search": {"type": "dict", "required": True},
        "load": {"type": "dict", "required": True},
        "row": {"type": "dict", "default": {}},
        "wrote": {"type": "bool", "default": True},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
