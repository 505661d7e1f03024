"""Action `report`: write the report of a host's run on the controller, keep the ones before, and bring the fleet's page up to date."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

sys.path.append(str(Path(__file__).resolve().parent.parent))  # Ansible loads an action by its path alone

from reporting import store
from reporting.origin import describe
from reporting.rows import completed
from reporting.run import RECORD

DOCUMENTATION = """
module: report
short_description: Write the report of a host's run, keep the ones before, and bring the fleet's page up to date
description:
  - Runs on the controller alone and contacts no host. Never counts as a change, since a report is the output of a run and no state of a host.
  - The seconds of each phase, and what changed and why, come from the callback C(fleet); with another callback they are missing.
options:
  root: {description: Folder of all reports; made if it is not there., type: path, required: true}
  report: {description: "What is known of the host: host, written, services, accelerator and more.", type: dict, required: true}
  plan: {description: Records of the services that were asked., type: list, elements: dict, default: []}
  site: {description: A folder of the site's repository., type: path, required: true}
  keep: {description: Reports of a host that are kept., type: int, default: 30}
"""
EXAMPLES = """
- name: Write the report
  report:
    root: reports
    report: {host: gpu-01, written: "2026-11-25T12:00:00Z", services: []}
    site: "{{ inventory_dir }}"
"""
RETURN = """
folder: {description: The folder of this report., returned: always, type: str}
"""


class ActionModule(ActionBase):
    _requires_connection = False
    _supports_check_mode = True
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, given = self.validate_argument_spec(
            {
                "root": {"type": "path", "required": True},
                "report": {"type": "dict", "required": True},
                "plan": {"type": "list", "elements": "dict", "default": []},
                "site": {"type": "path", "required": True},
                "keep": {"type": "int", "default": store.KEEP},
            }
        )
        host = str(given["report"]["host"])
        report = {
            **completed(given["report"], given["plan"]),
            "origin": describe(Path(given["site"])),
            "phases": RECORD.seconds(host),
            "changes": RECORD.changes.get(host, []),
        }
        if self._task.check_mode:
            return {**result, "changed": False, "folder": None}
        try:
            saved = store.save(Path(given["root"]), report, given["keep"])
        except (OSError, ValueError) as error:
            raise AnsibleActionFail(f"the report can't be written: {error}; set reports_dir") from None
        return {**result, "changed": False, "folder": saved["folder"]}
