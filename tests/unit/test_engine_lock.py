"""The container engine of this machine is one for all tests: a process that has it may ask again, and others get it afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import engine as shared
import pytest


def test_a_process_that_has_the_engine_may_ask_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[Path] = []

    def started(folder: Path) -> Iterator[Any]:
        try:
            yield f"client of {folder.name}"
        finally:
            ended.append(folder)

    monkeypatch.setattr(shared, "started", started)
    monkeypatch.setattr(shared, "HELD", [])
    monkeypatch.setattr(shared.tempfile, "gettempdir", lambda: str(tmp_path))
    with shared.engine(tmp_path / "one") as outer:
        with shared.engine(tmp_path / "two") as inner:
            assert inner == outer == "client of one"
        assert ended == [] and [outer] == shared.HELD
    assert ended == [tmp_path / "one"] and shared.HELD == []
    with pytest.raises(RuntimeError, match="broken"), shared.engine(tmp_path / "three"):
        raise RuntimeError("broken")
    assert shared.HELD == [] and ended[-1] == tmp_path / "three"
