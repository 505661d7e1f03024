"""Action endpoint_probe: run the module in short looks until the services are ready, and tell the progress meanwhile.

A module can't print while it runs. So the wait lies here, on the controller: each look waits a few seconds
on the host, and a line says at which stage of its start a service is.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleAction
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

LOOK = 10  # seconds that one look waits on the host; it ends at once with an answer or a failure
QUIET = 20.0  # seconds without news after which the same stage is told again


class NotReady(AnsibleAction):
    """A failure that is told once: as the task's result, without an error above it that says all of it as well."""

    @property
    def result_contribution(self) -> Mapping[str, object]:
        return {"changed": False, "failed": True, "msg": self.message}

    @property
    def omit_exception_key(self) -> bool:
        return True


class ActionModule(ActionBase):
    _requires_connection = True
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        args = dict(self._task.args)
        wait = int(args.pop("wait", 0))
        required = args.get("required", True) and not self._task.check_mode
        found = args.get("found")
        if found is not None:
            if required and found.get("message"):
                raise NotReady(found["message"])
            return {"changed": False, **found}
        began = time.monotonic()
        told: dict[str, tuple[str, float]] = {}
        while True:
            left = wait - (time.monotonic() - began)
            last = left <= LOOK or self._task.check_mode
            look = {**args, "wait": max(0, min(LOOK, int(left))), "waited": wait - left, "required": False}
            result: dict[str, Any] = self._execute_module("endpoint_probe", module_args=look, task_vars=task_vars)
            if result.get("failed") or result.get("unreachable"):
                return result
            args.setdefault("since", result["now"])
            args["wrong"] = result["wrong"]
            waiting = [row for row in result["services"] if row["verdict"] == "waiting"]
            if last or not waiting:
                if required and result["message"]:
                    raise NotReady(result["message"])
                return result
            self.tell(waiting, told, time.monotonic() - began, (task_vars or {}).get("inventory_hostname", ""))

    def tell(self, rows: list[dict[str, Any]], told: dict[str, tuple[str, float]], waited: float, host: str) -> None:
        """One line for each service whose stage is new, or old enough to be told again."""
        for row in rows:
            name, stage = row["service"], row.get("stage") or row["problem"] or row["state"]
            if row.get("listens") and row["problem"]:
                stage = f"{stage}: {row['problem'][:160]}"
            before, when = told.get(name, ("", -QUIET))
            if stage != before or waited - when >= QUIET:
                told[name] = (stage, waited)
                Display().display(f"  {host}: {name}: {waited:.0f} s: {stage}")
