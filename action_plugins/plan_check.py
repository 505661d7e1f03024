"""Action `plan_check`: says each fault of a plan in one line of its own, then ends the play for the host."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

DOCUMENTATION = """
module: plan_check
short_description: Refuse a plan with faults, one line each
description:
  - Runs on the controller alone and contacts no host.
options:
  faults: {description: Sentences that say what is wrong., type: list, elements: str, required: true}
"""


class ActionModule(ActionBase):
    _requires_connection = False
    _supports_check_mode = True
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        faults = [str(text) for text in self._task.args.get("faults") or []]
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
        return {**result, "changed": False}
