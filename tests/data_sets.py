"""Data sets by name through the real evalscope: made-up copies are read, and answers to them scored. Needs the harness's environment."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from ansible.module_utils.serving.service import harness_program, harness_sets
from conftest import FIXTURES

# What the first question says, and how many there are.
ASKED = {
    "gsm8k": ("Tom has 1 {red} apples and buys 1. How many?\nPlease reason step by step", 3),
    "math_500": ("Halve $3$.\nPlease reason step by step, and put your final answer within \\boxed{}.", 2),
    "mmlu": ("Which is 4?\n\nA) 0\nB) 4\nC) 8\nD) 9", 2),
    "aime24": ("Add 200 and 4.", 1),
    "gpqa_diamond": ("Which law?", 2),
    "ceval": ("的题目", 52),
}


def check(python: Path, base: Path) -> None:
    """Read and score each set with the environment of `python`, in one process; then one as module data_set does it."""
    words = [str(python), str(FIXTURES / "data_sets.py"), str(base), str(harness_program.__file__)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    for known, (question, count) in ASKED.items():
        items = found[known]["items"]
        assert len(items) == count == len({item["id"] for item in items}), known
        assert question in items[0]["messages"][-1]["content"], items[0]
        assert found[known]["right"] == ["good"], known
    law = found["gpqa_diamond"]["items"][0]  # its choices are shuffled, alike each time
    assert law["choices"]["ABCD".index(law["expect"])] == "the third"
    assert found["examples"]["items"][0]["messages"][-1]["content"].count("ANSWER: B") == 5
    request = {"known": "gsm8k", "folder": str(base / "gsm8k"), "shots": 0}
    assert harness_sets.told(str(python), request, 200)["items"] == found["gsm8k"]["items"]
