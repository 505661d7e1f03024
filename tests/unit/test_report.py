"""report: whole files, nothing in check mode, a folder that can't be written is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., dict[str, Any]]


def test_a_report_is_written_whole_and_counts_as_no_change(run_module: Run, tmp_path: Path) -> None:
    folder = tmp_path / "reports/gpu-01"
    given = {"folder": str(folder), "files": {"report.json": "{}\n", "report.html": "<html>ä</html>\n"}}
    assert not run_module("report", given, check=True)["changed"] and not folder.exists()
    result = run_module("report", given)
    assert not result["changed"] and result["paths"] == [f"{folder}/report.json", f"{folder}/report.html"]
    assert (folder / "report.html").read_text() == "<html>ä</html>\n"
    assert sorted(path.name for path in folder.iterdir()) == ["report.html", "report.json"]


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".."])
def test_a_name_that_leads_elsewhere_is_refused(run_module: Run, tmp_path: Path, name: str) -> None:
    result = run_module("report", {"folder": str(tmp_path / "r"), "files": {name: "x"}})
    assert result["failed"] and "no file names" in result["msg"] and not (tmp_path / "r").exists()


def test_a_folder_that_cannot_be_made_is_said(run_module: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = run_module("report", {"folder": str(tmp_path / "file/r"), "files": {"report.json": "{}"}})
    assert result["failed"] and "set reports_dir" in result["msg"]
