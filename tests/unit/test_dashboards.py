"""Grafana's dashboards, read by Grafana's own types."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from planning.dashboards import WIDTH, grafana_dashboards

register_default_plugins()
DASHBOARDS = grafana_dashboards()


def lost(given: Any, kept: Any, place: str = "") -> list[str]:
    """Where a value of `given` is not in `kept`."""
    if isinstance(given, dict) and isinstance(kept, dict):
        return [found for key, value in given.items() for found in lost(value, kept.get(key), f"{place}.{key}")]
    if isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        return [
            found
            for number, pair in enumerate(zip(given, kept, strict=True))
            for found in lost(*pair, f"{place}[{number}]")
        ]
    return [] if given == kept else [f"{place}: {given!r} became {kept!r}"]


def read(given: dict[str, Any]) -> dict[str, Any]:
    """The dashboard as Grafana's types have it: what they don't know is gone."""
    return dict(json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(json.loads(json.dumps(given))))))


@pytest.mark.parametrize("name", sorted(DASHBOARDS))
def test_grafana_s_types_know_every_key(name: str) -> None:
    given = DASHBOARDS[name]
    assert lost(given, read(given)) == []
    wrong = json.loads(json.dumps(given))
    wrong["panels"][0]["gridpos"] = wrong["panels"][0].pop("gridPos")
    wrong["panels"][1]["targets"][0]["expression"] = "up"
    assert {found.split(":")[0] for found in lost(wrong, read(wrong))} == {
        ".panels[0].gridpos",
        ".panels[1].targets[0].expression",
    }


@pytest.mark.parametrize("name", sorted(DASHBOARDS))
def test_panels_have_names_and_places_of_their_own(name: str) -> None:
    panels = DASHBOARDS[name]["panels"]
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)
    cells = [
        (panel["gridPos"]["x"] + x, panel["gridPos"]["y"] + y)
        for panel in panels for x in range(panel["gridPos"]["w"]) for y in range(panel["gridPos"]["h"])
    ]  # fmt: skip
    assert len(cells) == len(set(cells)) and max(x for x, _ in cells) < WIDTH


def test_every_query_is_promql(tmp_path: Path) -> None:
    every = [target["expr"] for one in DASHBOARDS.values() for panel in one["panels"] for target in panel["targets"]]
    rows = [
        {"record": f"x:{number}", "expr": query.replace("$__rate_interval", "1m")} for number, query in enumerate(every)
    ]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "queries", "rules": rows}]}))
    words = ["promtool", "check", "rules", str(tmp_path / "rules.yml")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and f"{len(rows)} rules found" in done.stdout, done.stdout + done.stderr
