"""What an operator reads of a service that failed: its meaning, or one possible cause beside the line by which to judge."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import load

module = load("library/endpoint_probe.py")


class Log:
    """A supervisor of which only the log is asked."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines

    def log_tail(self, name: str, count: int) -> list[str]:
        return self.lines[-count:]


def said(lines: list[str], count: int = 20) -> str:
    row: dict[str, Any] = {
        "service": "demo", "verdict": "failed", "state": "failed", "problem": "its process ended with code 1 after 3 s", "listens": False,
        "group": None, "exit_code": 1, "log": "demo.log",
    }  # fmt: skip
    module.tell(row, Log(lines), count)
    text: str = module.sentence(row, 0.0)
    return text


FULL = "OSError: [Errno 28] No space left on device: '/x'"
DONT_FIT = "KeyError: 'layers.0.mlp.up_proj.weight'"


def test_a_sure_meaning_stands_alone_below_the_lines_that_show_the_error() -> None:
    text = said([FULL])
    assert "\nWhat that means: a disk (or a tmpfs) is full" in text and "What failed first" not in text


@pytest.mark.parametrize("lines", [[DONT_FIT], [DONT_FIT, *["bye"] * 30]])
def test_a_possible_cause_stands_beside_the_error_that_it_may_explain(lines: list[str]) -> None:
    text = said(lines)
    assert f"\nWhat failed first: {DONT_FIT}\nWhat that may mean: one possible cause: the weights" in text


def test_an_error_that_nobody_knows_is_shown_and_said_to_be_unknown() -> None:
    odd = "acme.OddError: nobody knows"
    text = said([odd])
    assert odd in text and "What that means: that is not known here; the whole log may say more" in text
