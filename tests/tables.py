"""The catalogue for tests: its tables, its boards, and small tables of a test's own."""

from __future__ import annotations

from typing import Any

import yaml
from conftest import ROOT

from planning.boards import resolve_board
from planning.catalogue import TABLES as NAMES
from planning.catalogue import laid_over

Row = dict[str, Any]


def read(file: str) -> Any:
    """catalogue_FILE of a file of the catalogue."""
    text = (ROOT / f"catalogue/{file}.yml").read_text().replace("{{ project_root }}", str(ROOT))
    return yaml.safe_load(text)


CATALOGUE: dict[str, Row] = {name: read(name)[f"catalogue_{name}"] for name in NAMES if name != "vendors"}
CATALOGUE["vendors"] = read("boards")["catalogue_vendors"]
TABLES: dict[str, Row] = laid_over(CATALOGUE, {})
REFERENCES: Row = read("references")["catalogue_references"]
KNOWN: list[Row] = list(read("versions")["catalogue_known_versions"].values())
SETTINGS: Row = read("settings")
BOARDS: dict[str, Row] = {name: resolve_board("host box", name, TABLES) for name in CATALOGUE["boards"]}
VENDORS = {"cpu": {"kind": "cpu"}, "nvidia": {"kind": "gpu"}, "ascend": {"kind": "npu"}}


def small(services: Any, models: Any, board: Row, engines: Row | None = None) -> dict[str, Any]:
    """{tables, board} of a plan with these rows and one board, which is called `box` unless it has a name."""
    row = {key: value for key, value in board.items() if key != "name"}
    name = board.get("name", "box")
    rows = {
        "services": services,
        "models": models,
        "engines": engines or TABLES["engines"],
        "boards": {name: row},
        "vendors": VENDORS,
    }
    return {"tables": rows, "board": name}
