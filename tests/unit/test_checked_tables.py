"""Rows of the tables are checked once, however many services and boards ask for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from conftest import load
from tables import TABLES

from planning import services
from planning.rows import Checked, Faults, fail

filters = load("filter_plugins/plan.py")


def test_rows_are_checked_once_however_many_services_and_boards_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: Counter[tuple[str, str]] = Counter()

    def counted(table: str, check: Callable[..., Any]) -> Callable[..., Any]:
        def count(name: str, row: Any) -> Any:
            asked[table, name] += 1
            return check(name, row)

        return count

    monkeypatch.setattr(services.engines, "check_engine", counted("engines", services.engines.check_engine))
    for table, name in (("models", "resolve_model"), ("services", "check_service")):
        monkeypatch.setattr(services, name, counted(table, getattr(services, name)))
    bad = {"model": "nowhere", "port": 8100, "engine_args": {"tp": 1, "tensor_parallel_size": 2}}
    rows = {**TABLES, "services": {**TABLES["services"], "bad": bad}}
    assert any("'bad'" in text for text in filters.table_faults(rows))
    assert set(asked.values()) == {1}
    assert {name for table, name in asked if table == "engines"} == set(TABLES["engines"])
    assert {name for table, name in asked if table == "services"} == {*TABLES["services"], "bad"}


def test_a_refused_row_refuses_each_time_that_it_is_asked_for() -> None:
    table = Checked({"good": {"a": 1}, "bad": {}}, lambda name, row: row or fail(f"{name} is empty"))
    assert table.row("good") == {"a": 1} == table["good"] and list(table) == ["good", "bad"]
    for _ in range(2):
        with pytest.raises(Faults, match="bad is empty"):
            table.row("bad")
