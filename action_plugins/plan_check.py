"""Action `plan_check`: says each fault of a plan in one line of its own, then ends the play for the host."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

DOCUMENTATION = """
module: plan_check
short_description: Refuse a plan with faults, one line each
description:
  - Runs on the controller alone and contacts no host.
options:
  faults: {description: Sentences that say what is wrong., type: list, elements: str}
  fleet: {description: "What hosts say of themselves, {host: {runs, address, interface}}: becomes the fact C(group_fleet).", type: dict}
  runs: {description: "Services that the host is planned to run for the rest of this run: becomes the fact C(runs).", type: list, elements: str}
  write: {description: A file of the controller that gets what was found as JSON., type: path}
  version: {description: The product's version., type: str}
  tables: {description: What is wrong with the tables., type: list, elements: str}
  hosts: {description: "What is planned for each host: {host: {services, faults, warnings}}.", type: dict}
"""


class ActionModule(ActionBase):
    _requires_connection = False
    _supports_check_mode = True
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        given = self._task.args
        faults = [str(text) for text in given.get("faults") or []]
        if given.get("write"):
            problem = write(given)
            if problem:
                return {**result, "failed": True, "msg": problem}
        for text in faults:
            Display().display(f"error: {' '.join(text.splitlines())}", color="red")
        if faults:
            what = "a fault" if len(faults) == 1 else f"{len(faults)} faults"
            return {
                **result,
                "failed": True,
                "msg": f"the plan has {what}, said above; no host was contacted",
                "faults": faults,
            }
        known: dict[str, Any] = {"group_fleet": dict(given["fleet"])} if given.get("fleet") else {}
        if given.get("runs") is not None:
            known["runs"] = list(given["runs"])
        return {**result, **({"ansible_facts": known} if known else {}), "changed": False}


def write(given: dict[str, Any]) -> str:
    """Write what was found; a sentence where that can't be done."""
    hosts = {str(name): dict(one) for name, one in (given.get("hosts") or {}).items()}
    tables = [str(text) for text in given.get("tables") or []]
    found = {
        "version": str(given.get("version") or ""),
        "ok": not tables and not any(one.get("faults") for one in hosts.values()),
        "tables": tables,
        "hosts": hosts,
    }
    path = Path(str(given["write"])).expanduser()
    try:
        path.write_text(json.dumps(found, indent=1, default=str) + "\n", encoding="utf-8")
    except OSError as error:
        return (
            f"validate_json is {path}, which can't be written ({error.strerror}); name a file in a folder that is there"
        )
    return ""
