"""What a person reads of a verdict, and which release a host counts as one that has answered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.serving.service import releases, verdicts
from conftest import load

from judging import tables, verdict

f = load("filter_plugins/verdicts.py")


def record(word: str = "EQUIVALENT", **more: Any) -> dict[str, Any]:
    found = verdict.of_score("score at 32", 3, 5, 400, 0.02)
    return {"verdict": word, "strength": "", "findings": [found.plain()], "pack": {"name": "h100"}, **more}


def test_the_table_says_each_metric_and_what_the_word_means() -> None:
    text = f.FilterModule().filters()["verdict_table"]({"demo": record(), "other": record(findings=[])})
    assert text.splitlines()[1].split()[:5] == ["demo", "score", "at", "32", "EQUIVALENT"]
    assert "-0.5 points" in text and "+-2 points" in text and "demo: EQUIVALENT against h100. It answers like" in text
    assert "other" not in text and tables.verdict_table({"x": record(findings=[])}) == ""


def test_a_weaker_or_kept_verdict_says_so_and_a_bad_one_says_why() -> None:
    text = tables.verdict_table({"demo": record(strength="decoding alone", kept=True)})
    assert "EQUIVALENT (decoding alone) against h100" in text and "its verdict is kept" in text
    row = verdict.of_divergence("divergence at 1", [0.01, 0.011, 0.012] * 9, 0.001).plain()
    text = tables.verdict_table({"demo": record("DIFFERENT", findings=[row])})
    assert "  divergence at 1: at least 0.01" in text
    assert verdict.sentence("demo", record("DIFFERENT", findings=[row])).startswith(
        "service 'demo' is DIFFERENT against h100: divergence at 1:"
    )


@pytest.mark.parametrize(
    ("low", "value", "high", "unit"),
    [(-0.5, 0.1, 0.7, "points"), (-9.0, -6.0, -3.0, "points"), (0.0, 0.002, 0.004, "nats")],
)
def test_everything_that_is_drawn_lies_in_the_drawing(low: float, value: float, high: float, unit: str) -> None:
    drawn = tables.bar(
        {"low": low, "value": value, "high": high, "margin": 2.0 if unit == "points" else 0.001, "unit": unit}
    )
    assert all(0 <= place <= 100 for place in drawn.values())
    assert drawn["low"] <= drawn["value"] <= drawn["high"] and drawn["margin_low"] < drawn["margin_high"]
    assert tables.bar({"low": None, "value": 1.0, "high": None, "margin": 2.0, "unit": unit}) == {}


def test_numbers_that_json_lacks_are_null() -> None:
    plain = verdict.of_divergence("divergence", [0.1], 0.001).plain()
    assert (plain["verdict"], plain["low"], plain["high"]) == ("UNDERPOWERED", 0.0, None)


def test_the_overall_word_takes_all_for_equivalence_and_one_for_a_difference() -> None:
    def of(*words: str) -> str:
        return verdict.overall(verdict.Finding("m", word, "") for word in words)

    assert of("EQUIVALENT", "EQUIVALENT") == "EQUIVALENT" and of("EQUIVALENT", "UNDERPOWERED") == "UNDERPOWERED"
    assert (
        of("EQUIVALENT", "UNDERPOWERED", "DIFFERENT") == "DIFFERENT"
        and of("DIFFERENT", "INCOMPARABLE") == "INCOMPARABLE"
    )
    assert of() == "NOT JUDGED"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        (tmp_path / "releases" / name).mkdir(parents=True)
        (tmp_path / "releases" / name / "spec.json").write_text("{}")
    return tmp_path


def test_a_release_that_waits_for_its_verdict_is_none_to_return_to(folder: Path) -> None:
    place = str(folder)
    verdicts.answered(place, "a", False)
    assert "a" in releases.verified(place)
    verdicts.answered(place, "b", True)
    assert "b" not in releases.verified(place)
    verdicts.answered(place, "b", None)  # somebody asks for its status meanwhile
    assert "b" not in releases.verified(place)
    verdicts.passed(place, "b")
    assert set(releases.verified(place)) == {"a", "b"} and not (folder / "pending.json").exists()


def test_a_release_that_has_answered_before_does_not_lose_that_to_a_gate(folder: Path) -> None:
    verdicts.answered(str(folder), "a", False)
    verdicts.answered(str(folder), "a", True)
    assert "a" in releases.verified(str(folder))


def test_a_deploy_that_judges_no_longer_ends_the_wait(folder: Path) -> None:
    verdicts.answered(str(folder), "b", True)
    verdicts.answered(str(folder), "b", False)
    assert "b" in releases.verified(str(folder))


def test_a_verdict_belongs_to_its_release_and_a_damaged_one_is_none(folder: Path, run_module: Any) -> None:
    place = str(folder)
    assert not verdicts.stale(place, "a")  # nobody has ever judged it
    verdicts.keep(place, "a", {"verdict": "EQUIVALENT"})
    assert verdicts.stale(place, "b") and not verdicts.stale(place, "a")
    assert verdicts.kept(place, "a") == {"verdict": "EQUIVALENT", "release": "a"} and verdicts.kept(place, "b") is None
    (folder / "verdict.json").write_text('{"release": "a", ')
    assert verdicts.kept(place, "a") is None


def test_a_verdict_on_a_release_that_is_gone_by_now_is_not_kept(tmp_path: Path, run_module: Any) -> None:
    service = tmp_path / "services/demo"
    (service / "releases/b").mkdir(parents=True)
    (service / "current").symlink_to("releases/b")
    args = {
        "serving_root": str(tmp_path),
        "service": "demo",
        "release": "a",
        "keep": {"verdict": "EQUIVALENT"},
        "passes": True,
    }
    result = run_module("verdict", args)
    assert result["failed"] and "was judged as release a and has release b by now" in result["msg"]
    assert (
        run_module("verdict", {**args, "release": "b"}, check=True)["kept"] is None
        and not (service / "verdict.json").exists()
    )
    assert run_module("verdict", {**args, "release": "b"})["kept"]["verdict"] == "EQUIVALENT"
    assert list(releases.verified(str(service))) == ["b"]


def test_who_asks_for_a_verdict_on_what_is_not_there_is_not_told_that_all_is_well(
    playbook: Any, tmp_path: Path
) -> None:
    given = json.dumps({"serving_root": str(tmp_path / "srv"), "reports_dir": str(tmp_path / "reports")})
    done = playbook("playbooks/judge.yml", "-l", "local", "-e", given, "-e", "service=demo")
    assert done.returncode != 0 and "service 'demo' is NOT JUDGED: it is not deployed" in done.stdout, done.stdout
    assert "1 ready" not in done.stdout and not (tmp_path / "srv").exists()
