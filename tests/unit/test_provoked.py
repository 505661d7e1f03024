"""Failures that were provoked: vLLM on H100s and on a CPU was given broken options, variables, models and machines, and its own log is explained.

tests/fixtures/provoked.jsonl has what was broken (`cause`), the engine, its exit code, the log (frames and passing lines left out), and what is told.
benchmarks/failures/provoke.py writes such rows.
Where a row is bettered, and the new explanation is right for what was broken, its `hint` is changed there.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.serving.service.failures import explain

LOGS: list[dict[str, Any]] = [
    json.loads(line) for line in (Path(__file__).parents[1] / "fixtures/provoked.jsonl").read_text().splitlines()
]


@pytest.mark.parametrize("said", LOGS, ids=[f"{said['cause'][:60]} ({said['engine']})" for said in LOGS])
def test_a_provoked_failure_is_explained(said: dict[str, Any]) -> None:
    found = explain(said["log"], said["code"])
    assert (found.hint, found.sure) == (said["hint"], said["sure"]), found
    assert found.meaning
