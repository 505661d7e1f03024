"""A log without an error is told by where it stops; a log with an error is not."""

from __future__ import annotations

import re

import pytest
from ansible.module_utils.serving.service.failures import POSSIBLE, explain
from ansible.module_utils.serving.service.hints import unfinished
from ansible.module_utils.serving.service.hints.hint import Hint

BEFORE = ["INFO 05-12 09:11:02 [utils.py:233] non-default args: {'model': '/models/m'}"]
STOPS = {
    "stops-at-nccl": "INFO 01-25 20:55:03 [parallel_state.py:1400] world_size=2 rank=1 local_rank=1 backend=nccl",
    "stops-at-weights": "Loading safetensors checkpoint shards:  25% Completed | 1/4 [00:09<00:31,  9.31s/it]",
    "stops-at-download": "model-00002-of-00004.safetensors:  12%|#2        | 600M/5.00G [01:00<07:20, 10.0MB/s]",
    "stops-at-engine": "(EngineCore pid=104) INFO 05-12 09:11:12 [core.py:105] Initializing a V1 LLM engine (v0.19.0)",
    "stops-at-compilation": "INFO 05-12 09:12:15 [backends.py:153] Compiling a graph for dynamic shape takes 12.4 s",
    "stops-at-graphs": "[2024-12-13 01:45:00 TP0] Capture cuda graph begin. This can take up to several minutes.",
    "stops-when-ready": "INFO:     Uvicorn running on http://127.0.0.1:8000 (Press CTRL+C to quit)",
}


@pytest.mark.parametrize("row", unfinished.HINTS, ids=lambda row: row.name)
def test_the_last_line_of_a_log_without_errors_says_where_it_stops(row: Hint) -> None:
    for line in (row.example, STOPS[row.name]):
        assert [other.name for other in unfinished.HINTS if re.search(other.pattern, line)] == [row.name]
        for code in (None, 1):
            found = explain([*BEFORE, line], code)
            assert (found.hint, found.sure) == (row.name, False)
            assert (found.meaning or "").startswith(POSSIBLE)
    assert row.source and len(row.cause) < 220 and len(row.remedy) < 260


# What was said before a server is ready is over.
@pytest.mark.parametrize("row", unfinished.HINTS[:-1], ids=lambda row: row.name)
def test_an_error_before_it_counts_in_its_place(row: Hint) -> None:
    found = explain(
        [*BEFORE, "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.", row.example], 1
    )
    assert found.hint == "gpu-memory-out"
    assert explain([*BEFORE, "ValueError: nobody has seen this one before, acme", row.example], 1).hint != row.name


def test_a_line_that_is_not_the_last_one_says_nothing() -> None:
    lines = [unfinished.HINTS[0].example, "INFO 05-12 09:11:30 [acme.py:1] frobnicated"]
    assert explain(lines, None).hint is None


def test_a_signal_counts_before_where_the_log_stops() -> None:
    assert explain([*BEFORE, unfinished.HINTS[1].example], -9).hint == "exit--9"
