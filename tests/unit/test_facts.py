"""Names of facts: the modules that set them and the filters that read them agree, and nobody else makes one."""

from __future__ import annotations

import re

from ansible.module_utils.serving import facts as told
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

from planning import facts as read

NAMES = st.text("aZ0_2d-.+é", max_size=8)


@given(NAMES, NAMES)
def test_modules_and_filters_name_a_fact_alike_and_no_two_names_share_one(one: str, other: str) -> None:
    assert told.would_run(one) == read.would_run(one) and told.would_publish(one) == read.would_publish(one)
    assert re.fullmatch(r"would_run_\w*", read.would_run(one), re.ASCII)
    assert (read.would_run(one) == read.would_run(other)) is (one == other)


def test_nobody_else_makes_the_name_of_a_fact() -> None:
    folders = (
        "library",
        "module_utils",
        "filter_plugins",
        "planning",
        "reporting",
        "action_plugins",
        "callback_plugins",
    )
    makers = [
        str(path.relative_to(ROOT))
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*.py"))
        if re.search(r"[\"'](would_(run|publish)_|_%x_|_\{ord)", path.read_text())
    ]
    assert makers == ["module_utils/serving/facts.py", "planning/facts.py"]
