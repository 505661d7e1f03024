"""What is read out of the answers that the harness keeps: as they were said, thought aloud or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.serving.service import harness
from test_harness import ITEMS

from judging import sets


@pytest.mark.parametrize(
    ("content", "stop", "text", "good"),
    [
        (
            [{"type": "reasoning", "reasoning": "5?"}, {"type": "text", "text": "0"}],
            "stop",
            "<think>5?</think>\n0",
            True,
        ),
        ([{"type": "reasoning", "reasoning": "0"}, {"type": "text", "text": ""}], "stop", "<think>0</think>\n", False),
        ([{"type": "text", "text": "I can't", "refusal": True}], "stop", "I can't", False),
        ("0", "model_length", "0", False),  # evalscope's word for a question that does not fit
        ("0", "stop", "0", True),
        (None, "stop", None, False),
    ],
)
def test_an_answer_is_read_as_it_was_said(
    tmp_path: Path, content: Any, stop: str, text: str | None, good: bool
) -> None:
    item = ITEMS[0]
    choice = {"message": {"role": "assistant", "content": content}, "stop_reason": stop}
    row = {"index": 0, "messages": item["messages"], "model_output": {"choices": [choice], "error": None}}
    (tmp_path / "answers.jsonl").write_text(json.dumps(row) + "\n")
    found = harness.read(str(tmp_path / "answers.jsonl"), [item])
    assert (found.get(item["id"]) or {}).get("text") == text
    assert text is None or sets.right(item, found[item["id"]]) is good
