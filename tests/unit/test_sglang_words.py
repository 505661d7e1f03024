"""Remedies of rows in SGLang's words: its options have other names than vLLM's."""

from __future__ import annotations

import re

import pytest
from ansible.module_utils.serving.service import failures
from ansible.module_utils.serving.service.hints.hint import Hint
from ansible.module_utils.serving.service.sglang_words import NAMES, in_its_words, said_by_sglang

FRAME = 'Traceback (most recent call last):\n  File "/x/sglang/srt/managers/acme.py", line 1, in f\n'
FULL = "torch.OutOfMemoryError: CUDA out of memory."


def explained(text: str) -> str:
    return failures.explain(text.splitlines()).meaning or ""


def test_a_failure_of_sglang_names_its_options_and_one_of_vllm_keeps_its_own() -> None:
    told, same = explained(FRAME + FULL), explained(FULL)
    assert "max_running_requests" in told and "mem_fraction_static" in told and "tp_size" in told
    assert not re.search("max_num_seqs|gpu_memory_utilization|kv_cache_memory_bytes|tensor_parallel", told)
    assert "max_num_seqs" in same and "tp_size" not in same


@pytest.mark.parametrize("row", failures.HINTS, ids=lambda row: row.name)
def test_no_row_names_an_option_of_vllm_that_sglang_calls_otherwise(row: Hint) -> None:
    told = in_its_words(row.told, [])
    for name, _ in NAMES:
        assert not re.search(rf"(?:^|[^\w.]|engine_args\.){re.escape(name)}(?!\w)", told), told
    assert "engine_args.engine_args" not in told and "env engine_args" not in told


def test_what_a_word_is_part_of_stays() -> None:
    kept = "vllm-ascend 0.9 needs vLLM 0.9; --max_model_length, x.block_size"
    assert in_its_words(kept, []) == kept
    assert in_its_words("the release of vLLM", []) == "the release of SGLang"
    assert in_its_words("the release of vLLM", ["from vllm import x"]) == "the release of vLLM"
    assert in_its_words("engine_args.max_model_len", []) == "engine_args.context_length"


@pytest.mark.parametrize(
    ("line", "whose"),
    [('  File "/x/sglang/srt/a.py", line 1', True), ("python3 -m sglang.launch_server", True), ("sglang is not installed", False)],
)  # fmt: skip
def test_a_log_is_sglang_s_by_its_files(line: str, whose: bool) -> None:
    assert said_by_sglang([line]) is whose
