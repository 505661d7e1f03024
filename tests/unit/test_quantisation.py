"""Which board runs which quantised model, and what is said of the others."""

from __future__ import annotations

from typing import Any

import pytest

from planning import quantisation


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["NVIDIA H100 80GB HBM3"], 90), (["H100", "H200"], 90), (["Tesla V100-SXM2-32GB"], 70), (["Tesla T4"], 75), (["NVIDIA A100-SXM4-40GB"], 80),
        (["NVIDIA A10G"], 86), (["NVIDIA L40S"], 89), (["NVIDIA L4"], 89), (["NVIDIA B200"], 100), (["NVIDIA GeForce RTX 4090"], 89),
        (["NVIDIA GeForce RTX 5090"], 120), (["H100", "V100"], 70), (["NVIDIA H20"], 90), (["Odd"], None), (["H100", "Odd"], None), ([], None),
    ],
)  # fmt: skip
def test_capabilities_by_name(names: list[str], found: int | None) -> None:
    assert quantisation.capability(names) == found


@pytest.mark.parametrize(
    ("method", "board", "words"),
    [
        ("awq", {"kind": "gpu", "names": ["V100"]}, "awq needs compute capability 7.5, this board has 7.0"),
        ("awq", {"kind": "gpu", "names": ["T4"]}, None),
        ("mxfp4", {"kind": "gpu", "names": ["T4"]}, "needs compute capability 8.0"),
        ("fp8", {"kind": "gpu", "names": ["A100"]}, None),
        ("fp8", {"kind": "cpu"}, "a CPU has no kernels for"),
        ("awq", {"kind": "cpu"}, None),
        ("gptq", {"kind": "npu", "names": ["310P"]}, "Ascend's own forms alone"),
        ("newer-than-us", {"kind": "gpu", "names": ["V100"]}, None),
        ("awq", {"kind": "gpu", "names": ["Odd"]}, None),
    ],
)
def test_what_a_board_can_run(method: str, board: dict[str, Any], words: str | None) -> None:
    found = quantisation.problem(method, board)
    assert (found is None) if words is None else (found is not None and words in found[0])
