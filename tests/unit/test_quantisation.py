"""Which board runs which quantised model, and what is said of the others."""

from __future__ import annotations

from typing import Any

import pytest
from tables import BOARDS, TABLES

from planning import quantisation
from planning.boards import resolve_board
from planning.rows import Faults


@pytest.mark.parametrize(("said", "found"), [("9.0", 90), ("8.9", 89), ("12.0", 120), (None, None)])
def test_a_board_says_its_capability(said: str | None, found: int | None) -> None:
    assert quantisation.capability({"compute_capability": said, "names": ["H100"]}) == found


def test_every_gpu_of_the_catalogue_says_its_capability() -> None:
    for name, board in BOARDS.items():
        assert (board["compute_capability"] is not None) == (board["kind"] == "gpu"), name


def test_a_capability_that_yaml_reads_as_a_number_is_refused() -> None:
    for said, words in ((9.0, "quote it"), ("hopper", "must be like '9.0'")):
        with pytest.raises(Faults, match=words):
            resolve_board("host box", {"name": "h200", "compute_capability": said}, TABLES)


@pytest.mark.parametrize(
    ("method", "board", "words"),
    [
        ("awq", {"kind": "gpu", "compute_capability": "7.0"}, "awq needs compute capability 7.5, this board has 7.0"),
        ("awq", {"kind": "gpu", "compute_capability": "7.5"}, None),
        ("mxfp4", {"kind": "gpu", "compute_capability": "7.5"}, "needs compute capability 8.0"),
        ("fp8", {"kind": "gpu", "compute_capability": "8.0"}, None),
        ("fp8", {"kind": "cpu"}, "a CPU has no kernels for"),
        ("awq", {"kind": "cpu"}, None),
        ("gptq", {"kind": "npu", "names": ["310P"]}, "forms of its own alone"),
        ("newer-than-us", {"kind": "gpu", "compute_capability": "7.0"}, None),
        ("awq", {"kind": "gpu", "compute_capability": None}, None),
    ],
)
def test_what_a_board_can_run(method: str, board: dict[str, Any], words: str | None) -> None:
    found = quantisation.problem(method, board)
    assert (found is None) if words is None else (found is not None and words in found[0])
