"""Action endpoint_probe: run the module in short looks until the services are ready, and tell the progress meanwhile.

A module can't print while it runs. So the wait lies here, on the controller: each look waits a few seconds
on the host, and a line says at which stage of its start a service is.
"""

from __future__ import annotations

import time
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

LOOK = 10  # seconds that one look waits on the host; it ends at once with an answer or a failure
QUIET = 20.0  # seconds without news after which the same stage is told again


class ActionModule(ActionBase):
    _requires_connection = True
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        args = dict(self._task.args)
        wait = int(args.pop("wait", 0))
        began = time.monotonic()
        told: dict[str, tuple[str, float]] = {}
        while True:
            left = wait - (time.monotonic() - began)
            last = left <= LOOK or self._task.check_mode
            look = {**args, "wait": max(0, min(LOOK, int(left))), "waited": wait - left}
            if not last:
                look["required"] = False
            result: dict[str, Any] = self._execute_module("endpoint_probe", module_args=look, task_vars=task_vars)
            rows = result.get("services", [])
            args.setdefault("since", result.get("now", 0))
            if last or result.get("failed"):
                return result
            waiting = [row for row in rows if row["verdict"] == "waiting"]
            if not waiting:
                if all(row["ready"] for row in rows) or not args.get("required", True):
                    return result
                # One more look for the message of a failure that is already certain.
                final: dict[str, Any] = self._execute_module(
                    "endpoint_probe", module_args={**args, "wait": 0}, task_vars=task_vars
                )
                return final
            self.tell(waiting, told, time.monotonic() - began, (task_vars or {}).get("inventory_hostname", ""))

    def tell(self, rows: list[dict[str, Any]], told: dict[str, tuple[str, float]], waited: float, host: str) -> None:
        """One line for each service whose stage is new, or old enough to be told again."""
        for row in rows:
            name, stage = row["service"], row.get("stage") or row["problem"] or row["state"]
            before, when = told.get(name, ("", -QUIET))
            if stage != before or waited - when >= QUIET:
                told[name] = (stage, waited)
                Display().display(f"  {host}: {name}: {waited:.0f} s: {stage}")
