#!/usr/bin/python
"""Module report: the files of a report, on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: report
short_description: Write the files of a report in one go
description:
  - Each file is whole or as it was before. Never counts as a change, since a report is the output of a run and no state of a host.
options:
  folder: {description: Where the files go; made if it is not there., type: path, required: true}
  files: {description: "{name: text}.", type: dict, required: true}
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
"""
EXAMPLES = r"""
- name: Write the report
  report:
    folder: reports/gpu-01
    files: {report.json: "{}\n"}
  delegate_to: localhost
"""
RETURN = r"""
paths: {description: The files., returned: always, type: list, elements: str}
"""

import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import Refusal, run_module
from ansible.module_utils.serving.files import write_atomic


def body(module: AnsibleModule) -> dict[str, Any]:
    folder, files = module.params["folder"], module.params["files"]
    strange = [name for name in files if os.path.basename(name) != name or name in ("", ".", "..")]
    if strange:
        raise Refusal("%s are no file names; a report has no folders below it" % ", ".join(map(repr, strange)))
    paths = {os.path.join(folder, name): text for name, text in files.items()}
    if not module.check_mode:
        try:
            os.makedirs(folder, mode=0o755, exist_ok=True)
            for path, text in paths.items():
                write_atomic(path, text.encode())
        except OSError as error:
            raise Refusal("the report can't be written: %s; set reports_dir" % error) from None
    return {"changed": False, "paths": list(paths)}


def main() -> None:
    spec = {"folder": {"type": "path", "required": True}, "files": {"type": "dict", "required": True}}
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
