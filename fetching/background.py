"""Run a module in the background of its host and tell how far it is.

A module can't print while it runs, and an hour is longer than many connections live. So it runs as an asynchronous
job; a lost connection or a controller that goes away does not end it, and the next run waits for it.
"""

from __future__ import annotations

import base64
import json
import time
from typing import Any

from ansible.utils.display import Display

from .environment import Fetching, lacking
from .progress import line, table, tells

LONGEST = 7 * 86400  # seconds after which Ansible's own wrapper would end the job
LOOK, QUIET = 5.0, 20.0  # seconds between two looks, and between two lines


class ActionModule(Fetching):
    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        self.read_environment(task_vars)
        return dict(self.hide(self.in_background(task_vars)))

    def in_background(self, task_vars: dict[str, Any] | None) -> dict[str, Any]:
        name, args = self._task.action.rpartition(".")[2], dict(self._task.args)

        def module(called: str, given: dict[str, Any], background: bool = False) -> dict[str, Any]:
            result: dict[str, Any] = self._execute_module(
                called, module_args=given, task_vars=task_vars, wrap_async=background
            )
            return result

        if args.get("look"):  # the playbook itself asks
            return module(name, args)
        result = module(name, {**args, "look": not self._task.check_mode})
        missing = lacking(result)
        if missing and self._task.check_mode:
            return {"changed": True, "msg": f"{missing} is not there yet; it would be made first"}
        if self._task.check_mode or result.get("failed") or not result.pop("pending", False):
            return result
        result_file = result["progress_file"]
        self._task.async_val = LONGEST
        job = module(name, args, background=True)
        self._task.async_val = 0
        if not job.get("ansible_job_id"):
            return job
        folder = self.get_shell_option("async_dir", default="~/.ansible_async")
        status = {"jid": job["ansible_job_id"], "_async_dir": folder}
        left_out = ""
        pause, told, host = 0.5, time.monotonic(), (task_vars or {}).get("inventory_hostname", "")
        while True:
            time.sleep(pause)
            pause = min(LOOK, pause * 2)
            result = module("ansible.legacy.async_status", {**status, "mode": "status"})
            if result.get("finished"):
                break
            if time.monotonic() - told >= LOOK:
                file = module("ansible.legacy.slurp", {"src": result_file})
                if file.get("content"):
                    progress = json.loads(base64.b64decode(file["content"]))
                    if progress.get("left_out", "") != left_out:  # said before most bytes have come
                        left_out = progress.get("left_out", "")
                        if left_out:
                            Display().display(f"  {host}: {progress['name']}: left out: {left_out}")
                    if not progress.get("fleet"):
                        Display().display(f"  {host}: {progress['name']}: {line(progress)}")
                    elif tells(progress):
                        Display().display(table(progress))
                    told = time.monotonic() + QUIET - LOOK if progress["total"] else time.monotonic()
        module("ansible.legacy.async_status", {**status, "mode": "cleanup"})
        for key in (
            "invocation",  # whole lock files: a worker whose controller was killed would wait for somebody to read them
            "ansible_job_id",
            "started",
            "finished",
            "results_file",
            "stdout",
            "stderr",
            "stdout_lines",
            "stderr_lines",
        ):
            result.pop(key, None)
        return result
