"""The vendor documents' own tables, audited: what they show and what they can't, row by row."""

from __future__ import annotations

from typing import Any

import pytest
from tables import REFERENCES

from judging import audit

TABLES: dict[str, Any] = REFERENCES
QWQ, R1, VL, ARM = "qwq-32b", "deepseek-r1-distill-qwen-32b", "qwen2.5-vl-32b-instruct", "qwen2-7b-instruct"
# (model, metric): z of two independent shares and the verdict.
ROWS = {
    (QWQ, "GSM8K (EM)"): (0.31, "UNDERPOWERED"), (QWQ, "MMLU (Acc.)"): (0.04, "UNDERPOWERED"), (QWQ, "CEVAL"): (0, "UNDERPOWERED"),
    (QWQ, "AIME 2024 (Pass@1)"): (-0.31, "UNDERPOWERED"), (QWQ, "GPQA-Diamond (Pass@1)"): (-0.21, "UNDERPOWERED"),
    (QWQ, "MATH-500 (pass@1)"): (-0.13, "UNDERPOWERED"),
    (R1, "GSM8K (EM)"): (0.12, "UNDERPOWERED"), (R1, "MMLU (Acc.)"): (0.04, "UNDERPOWERED"), (R1, "CEVAL"): (-0.15, "UNDERPOWERED"),
    (R1, "AIME 2024 (Pass@1)"): (0, "UNDERPOWERED"), (R1, "GPQA-Diamond (Pass@1)"): (0, "UNDERPOWERED"),
    (R1, "MATH-500 pass@1"): (-0.48, "UNDERPOWERED"),
    (VL, "mmmu_val"): (-1.49, "UNDERPOWERED"), (VL, "cmmmu_val"): (-0.14, "UNDERPOWERED"), (VL, "cii_bench_test"): (-2.96, "DIFFERENT"),
    (VL, "blink_val"): (-0.71, "INCOMPARABLE"), (VL, "mmmu_pro_standard_test"): (-3.08, "INCOMPARABLE"),
    (VL, "mmmu_pro_vision_test"): (3.78, "INCOMPARABLE"), (VL, "math_vision_test"): (2.79, "INCOMPARABLE"),
    (VL, "orcbench_test"): (None, "INCOMPARABLE"), (VL, "mmvet_v2"): (None, "INCOMPARABLE"),
    (ARM, "mmlu"): (-2.36, "DIFFERENT"),
}  # fmt: skip


def test_every_row_of_the_tables_is_here() -> None:
    assert set(ROWS) == {(model, metric) for model, table in TABLES.items() for metric in table["metrics"]}


@pytest.mark.parametrize(("model", "metric"), list(ROWS), ids=lambda value: str(value))
def test_a_row_shows_what_it_can(model: str, metric: str) -> None:
    z, word = ROWS[model, metric]
    [one] = [one for one in audit.audit(TABLES[model]["metrics"]) if one.metric == metric]
    assert one.verdict == word, one.why
    if z is not None and one.value is not None:
        row = TABLES[model]["metrics"][metric]
        assert one.value / audit.error(row["reference"], row["document"], one.n) == pytest.approx(z, abs=0.02)


def test_four_of_the_vision_models_seven_differ_beyond_chance_in_both_directions() -> None:
    found = {one.metric: one for one in audit.audit(TABLES[VL]["metrics"]) if one.p is not None and one.p < 0.05}
    assert set(found) == {"mmmu_pro_standard_test", "mmmu_pro_vision_test", "cii_bench_test", "math_vision_test"}
    assert {(one.value or 0) > 0 for one in found.values()} == {True, False}


@pytest.mark.parametrize(("value", "n", "is_one"), [(58.68, 1901, False), (57.55, 1901, True), (41.62, 1730, True), (35.36, 1730, False),
                                                    (43.55, 1730, False), (27, 50, False), (24, 50, True), (30.81, 198, True), (76.67, 30, True)])  # fmt: skip
def test_a_percentage_is_a_number_of_right_answers_or_it_is_not(value: float, n: int, is_one: bool) -> None:
    assert audit.attainable(value, n) is is_one


def test_what_a_set_cannot_show_is_said() -> None:
    [one] = audit.audit({"AIME 2024": {"reference": 80.0, "document": 76.67}})
    assert "30 questions without pairs can't show a difference of less than 34" in one.why
    [own] = audit.audit({"our own": {"reference": 80.0, "document": 70.0, "n": 1000}})
    assert own.verdict == "DIFFERENT" and own.n == 1000
    [unknown] = audit.audit({"somebody's": {"reference": 80.0, "document": 70.0}})
    assert unknown.why == "nobody knows of how many questions"
