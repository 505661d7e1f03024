"""Actions weights_fetch, weights_convert, container_image, image_archive and python_env: run the module in the background of its host and tell how far it is.

A module can't print while it runs, and an hour is longer than many connections live. So it runs as an asynchronous
job; a lost connection or a controller that goes away does not end it, and the next run waits for it.
"""

from __future__ import annotations

import base64
import importlib.util
import json
import re
import time
from pathlib import Path
from typing import Any

from ansible.utils.display import Display

# Plugins are no package; this one stands beside us.
_spec = importlib.util.spec_from_file_location("serving_fetching", Path(__file__).resolve().with_name("fetching.py"))
assert _spec and _spec.loader
_fetching = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_fetching)

LONGEST = 7 * 86400  # seconds after which Ansible's own wrapper would end the job
LOOK, QUIET = 5.0, 20.0  # seconds between two looks, and between two lines


def human(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit in ("B", "KiB") else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def line(progress: dict[str, Any]) -> str:
    """Done and total, rate and remaining time, as one reads them in a terminal or in a log."""
    done, total = progress["done"], progress["total"]
    if not total:
        return f"{progress['phase']}{'; ' + progress['note'] if progress['note'] else ''}"
    text = f"{progress['phase']} {human(done)} of {human(total)} ({100 * done // total} %)"
    if progress["rate"]:
        text += f", {human(progress['rate'])}/s"
    if progress["left"]:
        text += f", {duration(progress['left'])} left"
    text += f", from {progress['source']}"
    return text + (f"; {progress['note']}" if progress["note"] else "")


AT_WORK = ("asking", "outside", "taking", "stranded")


def rows(progress: dict[str, Any]) -> list[dict[str, Any]]:
    """This host and the others of the play that share with it, in their order."""
    own = {key: progress.get(key) for key in ("host", "rank", "stage", "done", "total", "rate", "left", "source")}
    return sorted([own, *progress.get("fleet", [])], key=lambda row: row["rank"])


def tells(progress: dict[str, Any]) -> bool:
    """One host tells for all of them: the first that is still at work."""
    busy = [row["rank"] for row in rows(progress) if row["stage"] in AT_WORK]
    return not busy or progress["rank"] == busy[0]


def table(progress: dict[str, Any]) -> str:
    """Where each host takes a model from, and how far it is."""
    words = {"asking": "asks the others", "stranded": "no way outside; waits for the others"}
    cells = [("host", "from", "done", "rate", "left")]
    for row in rows(progress):
        total, stage = row.get("total") or 0, row["stage"]
        if stage not in ("outside", "taking") or not total:
            cells.append((row["host"], words.get(stage, stage), "", "", ""))
            continue
        done = f"{human(row['done'])} of {human(total)} ({100 * row['done'] // total} %)"
        rate = f"{human(row['rate'])}/s" if row["rate"] else "-"
        cells.append((row["host"], row["source"] or "-", done, rate, duration(row["left"]) if row["left"] else "-"))
    widths = [max(len(row[number]) for row in cells) for number in range(5)]
    text = (
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )
    return "\n".join([f"  {progress['name']}:", *(f"  {one}" for one in text)])


Fetching: Any = _fetching.Fetching


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
        missing = re.search(r"module interpreter '(.*?)' was not found", str(result.get("msg")))
        if missing and self._task.check_mode:
            return {"changed": True, "msg": f"{missing[1]} is not there yet; it would be made first"}
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
