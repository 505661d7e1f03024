#!/usr/bin/python
"""Module benchmark_report: a load curve's files on the controller, beside an earlier one."""

from __future__ import annotations

DOCUMENTATION = r"""
module: benchmark_report
short_description: Write a load curve as JSON and as a page with plots, and compare it with an earlier one
description:
  - For the controller. Files are C(<service>-<run>.json) and C(.html) in O(folder). Never counts as a change, since a report is the output of a run.
options:
  folder: {description: Where the files go and where earlier runs are., type: path, required: true}
  run: {description: The run's name., type: str, required: true}
  service: {description: The service., type: str, required: true}
  host: {description: The host that was measured., type: str, required: true}
  written: {description: When., type: str, required: true}
  levels: {description: What M(benchmark) returned for each level., type: list, elements: dict, required: true}
  prompts: {description: Name of the file of prompts; empty for random ones., type: str, default: ''}
  against: {description: Name of an earlier run of the service to compare with., type: str, default: ''}
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
"""
EXAMPLES = r"""
- name: Write the curve
  benchmark_report:
    folder: reports/gpu-01/benchmarks
    run: tuesday
    service: qwq-32b
    host: gpu-01
    written: 2026-11-25T10:00:00Z
    levels: "{{ measured.results }}"
  delegate_to: localhost
"""
RETURN = r"""
text: {description: For the terminal., returned: always, type: str}
paths: {description: The files., returned: always, type: list, elements: str}
changes: {description: "How much each figure moved against the earlier run: {level, name, percent, half, sure}.", returned: always, type: list, elements: dict}
"""

import json
import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import Refusal, run_module
from ansible.module_utils.serving.files import read_json
from ansible.module_utils.serving.service.bench import check_names, written_files
from ansible.module_utils.serving.service.bench_page import changes, page, text


def earlier(folder: str, service: str, name: str) -> dict[str, Any] | None:
    """An earlier run. Refusal that names those there are."""
    if not name:
        return None
    there = (
        sorted(
            n[len(service) + 1 : -5] for n in os.listdir(folder) if n.startswith(service + "-") and n.endswith(".json")
        )
        if os.path.isdir(folder)
        else []
    )
    try:
        found = read_json(os.path.join(folder, "%s-%s.json" % (service, name))) if name in there else None
    except ValueError:
        found = None
    if not isinstance(found, dict) or not isinstance(found.get("levels"), list):
        raise Refusal(
            "there is no run '%s' of service '%s' in %s; there are: %s"
            % (name, service, folder, ", ".join(there) or "none")
        )
    return found


def body(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    check_names(given)
    before = earlier(given["folder"], given["service"], given["against"])
    run = {key: given[key] for key in ("run", "service", "host", "written", "prompts")}
    run["levels"] = [row["level"] for row in given["levels"] if row.get("level")]
    run["others"] = sum(int(row.get("others") or 0) for row in given["levels"])
    run["release"] = next((row["release"] for row in given["levels"] if row.get("release")), None)
    base = os.path.join(given["folder"], "%s-%s" % (given["service"], given["run"]))
    files = {base + ".json": json.dumps(run, indent=2) + "\n", base + ".html": page(run, before)}
    written_files(given, files, module.check_mode)
    return {
        "changed": False,
        "text": text(run, before) + "\npage: %s.html" % base,
        "paths": list(files),
        "changes": changes(run, before),
    }


def main() -> None:
    spec = {
        "folder": {"type": "path", "required": True},
        "run": {"type": "str", "required": True},
        "service": {"type": "str", "required": True},
        "host": {"type": "str", "required": True},
        "written": {"type": "str", "required": True},
        "levels": {"type": "list", "elements": "dict", "required": True},
        "prompts": {"type": "str", "default": ""},
        "against": {"type": "str", "default": ""},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
