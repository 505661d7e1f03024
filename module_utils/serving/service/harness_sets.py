"""Run harness_program.py in the harness's environment, offline and bounded."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import tempfile
from typing import Any

from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.service import harness_program

OFFLINE = {
    "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1", "PYTHONUNBUFFERED": "1",
}  # fmt: skip


def told(python: str, request: dict[str, Any], seconds: int) -> dict[str, Any]:
    """The program's result. A Refusal says why there is none."""
    if not os.access(python, os.X_OK):
        raise Refusal("the harness's environment is not there (%s); judge_harness says where it is" % python)
    with tempfile.TemporaryDirectory() as work:
        asked, result = os.path.join(work, "request.json"), os.path.join(work, "result.json")
        with open(asked, "w", encoding="utf-8") as target:
            json.dump(request, target)
        try:
            done = subprocess.run(
                [python, "-c", inspect.getsource(harness_program), asked, result], cwd=work, timeout=seconds, check=False,
                env={**os.environ, **OFFLINE, "HOME": work, "XDG_CACHE_HOME": work}, stdin=subprocess.DEVNULL, capture_output=True,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise Refusal(
                "the harness took longer than %d s over data set '%s'" % (seconds, request["known"])
            ) from None
        if done.returncode or not os.path.exists(result):
            lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["it said nothing"]
            raise Refusal(
                "the harness failed over data set '%s' with code %d: %s" % (request["known"], done.returncode, lines[-1][-300:])
            )  # fmt: skip
        with open(result, encoding="utf-8") as source:
            found: dict[str, Any] = json.load(source)
    if "problem" in found:
        raise Refusal(found["problem"])
    return found
