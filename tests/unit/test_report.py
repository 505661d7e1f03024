"""Reports: whole, with their history and what is different since the last, and a page for the fleet."""

from __future__ import annotations

import concurrent.futures
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from reporting import compare, origin, page, rows, store
from reporting.run import Record

ROW = {
    "service": "demo", "ready": True, "state": "running", "answer": "172", "engine": "vllm", "engine_version": "0.32.0", "release": "aa",
    "model": {"name": "demo", "revision": "r1", "identity": "i"}, "settings": {"max_model_len": "1024"},
}  # fmt: skip


def report(minute: int = 0, host: str = "gpu-01", **row: Any) -> dict[str, Any]:
    return {"host": host, "written": f"2026-11-25T12:{minute:02}:00Z", "services": [{**ROW, **row}]}


def test_each_run_is_kept_and_the_newest_is_linked(tmp_path: Path) -> None:
    for minute in range(5):
        store.save(tmp_path, report(minute, release=f"r{minute}"), keep=3)
    place = tmp_path / "gpu-01"
    names = [f"20261125T120{minute}00Z" for minute in (2, 3, 4)]
    assert sorted(path.name for path in place.iterdir()) == sorted([*names, "latest", "report.html", "report.json"])
    assert os.readlink(place / "latest") == names[-1]
    assert json.loads((place / "report.json").read_text())["services"][0]["release"] == "r4"
    assert "release r4" in (place / "report.html").read_text()


def test_two_runs_of_one_second_are_two_reports(tmp_path: Path) -> None:
    folders = [store.save(tmp_path, report())["folder"] for _ in range(12)]
    assert len(set(folders)) == 12
    assert os.readlink(tmp_path / "gpu-01/latest") == "20261125T120000Z-12"
    assert store.runs(tmp_path / "gpu-01")[-2:] == ["20261125T120000Z-11", "20261125T120000Z-12"]


def test_what_an_earlier_version_wrote_is_replaced_and_compared_with(tmp_path: Path) -> None:
    (tmp_path / "gpu-01").mkdir()
    (tmp_path / "gpu-01/report.json").write_text(json.dumps(report(release="old")))
    (tmp_path / "gpu-01/report.html").write_text("old")
    found = store.save(tmp_path, report(1))["since"]["rows"]
    assert found == [{"service": "demo", "what": "release", "before": "old", "now": "aa"}]
    assert (tmp_path / "gpu-01/report.html").is_symlink() and "aa" in (tmp_path / "gpu-01/report.html").read_text()


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", '{"services": 3}', '{"services": [1, null]}', '{"services": [{"service": {}}]}']
)
def test_an_old_report_of_any_content_is_no_reason_to_fail(tmp_path: Path, text: str) -> None:
    folder = tmp_path / "gpu-01/20261124T000000Z"
    folder.mkdir(parents=True)
    (folder / "report.json").write_text(text)
    store.save(tmp_path, report())
    assert "release aa" in (tmp_path / "gpu-01/latest/report.html").read_text()


@pytest.mark.parametrize("host", ["../x", "a/b", "", "..", "."])
def test_a_host_whose_name_leads_elsewhere_is_refused(tmp_path: Path, host: str) -> None:
    with pytest.raises(ValueError, match="no name for a folder"):
        store.save(tmp_path / "r", report(host=host))
    assert not (tmp_path / "r").exists()


def test_a_failed_run_does_not_hide_what_was_last_seen(tmp_path: Path) -> None:
    store.save(tmp_path, report(0))
    failure = {
        "phase": "Fetch",
        "task": "Publish the weights",
        "message": "the disk is full\nreally",
        "unreachable": False,
    }
    store.save(tmp_path, {**report(1), "services": [], "failure": failure})
    text = (tmp_path / "gpu-01/report.html").read_text()
    assert (
        "Failed in phase Fetch" in text
        and "the disk is full" in text
        and "last asked on 2026-11-25 12:00:00 UTC" in text
    )
    assert (
        "gpu-01" in (tmp_path / "index.html").read_text()
        and "1 of 1 hosts need attention" in (tmp_path / "index.html").read_text()
    )
    found = store.save(tmp_path, report(2, release="bb"))["since"]
    assert found["written"] == "2026-11-25T12:00:00Z" and found["rows"][0]["now"] == "bb"


def test_what_is_different_is_said_by_name() -> None:
    old, new = report(), report(1, engine_version="0.33.0", settings={"max_model_len": "2048", "tp": "2"})
    found = {(row["what"], row["before"], row["now"]) for row in compare.differences(old, new)}
    assert found == {("engine version", "0.32.0", "0.33.0"), ("max_model_len", "1024", "2048"), ("tp", "none", "2")}
    gone = compare.differences(old, {**new, "services": [{**ROW, "service": "other"}]})
    assert {(row["before"], row["now"]) for row in gone} == {("demo", "none"), ("none", "other")}
    assert compare.differences(None, new) == [] and compare.differences(old, old) == []


def test_the_fleets_page_has_every_host_whatever_runs_beside(tmp_path: Path) -> None:
    hosts = [f"gpu-{number:02}" for number in range(12)]
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda host: store.save(tmp_path, report(host=host)), hosts))
    text = (tmp_path / "index.html").read_text()
    assert all(f'href="{host}/latest/report.html"' in text for host in hosts) and "No host needs attention" in text


def test_a_host_that_needs_somebody_comes_first() -> None:
    text = page.fleet_page([report(host="a"), report(host="b", ready=False, state="failed")], "2026-11-25T12:00:00Z")
    assert text.index(">b<") < text.index(">a<") and "1 of 2 hosts need attention" in text


def test_a_name_in_the_fleets_page_is_text() -> None:
    text = page.fleet_page([{**report(host='<b>"x'), "folder": '"><script>'}], "now")
    assert "<script>" not in text and "<b>" not in text and 'href="%22%3E%3Cscript%3E/latest' in text


KILLED = """
import sys; from pathlib import Path; from reporting import store
store.os.rename = lambda *given: store.os.kill(store.os.getpid(), 9)
store.save(Path(sys.argv[1]), {"host": "gpu-01", "written": "2026-11-25T12:30:00Z", "services": []})
"""


def test_a_killed_run_leaves_the_last_report_and_the_next_cleans_up(tmp_path: Path) -> None:
    store.save(tmp_path, report())
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL and list((tmp_path / "gpu-01").glob(".*.partial"))
    assert os.readlink(tmp_path / "gpu-01/latest") == "20261125T120000Z"
    store.save(tmp_path, report(40))
    assert not list((tmp_path / "gpu-01").glob(".*")) and os.readlink(tmp_path / "gpu-01/latest") == "20261125T124000Z"


def test_settings_show_no_value_of_what_is_named_like_a_secret() -> None:
    record = {
        "engine_args": {"enforce_eager": True},
        "env": {"HF_TOKEN": "hf_x", "A": 1, "My_Password": "x"},
        "service": "demo",
        "options_version": "9",
    }
    assert rows.settings(record) == {
        "enforce_eager": "true",
        "env A": "1",
        "env HF_TOKEN": "(hidden)",
        "env My_Password": "(hidden)",
    }
    given = {"services": [{"service": "demo"}], "devices": {"demo": {"devices": ["GPU-1"]}}}
    [row] = rows.completed(given, [record])["services"]
    assert row["engine_version"] == "9" and row["device_names"] == ["GPU-1"]
    # What went back to an earlier release doesn't run the row.
    [row] = rows.completed({**given, "returned": ["demo: release b never answered"]}, [record])["services"]
    assert "settings" not in row and "engine_version" not in row


def test_a_phase_takes_what_its_host_took() -> None:
    now = [0.0]
    record = Record(clock=lambda: now[0])
    for name, host, until in (("Fetch", "a", 5), ("Fetch", "b", 9), ("Serve", "b", 10)):
        if not record.phases or record.phases[-1].name != name:
            record.play(name)
        now[0] = until
        record.seen(host)
    record.failed("a", "t", "m")
    assert record.seconds("a") == [{"phase": "Fetch", "seconds": 5.0}]
    assert record.seconds("b") == [{"phase": "Fetch", "seconds": 9.0}, {"phase": "Serve", "seconds": 1.0}]


def git(folder: Path, *words: str) -> None:
    base = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run([*base, *words], check=True, capture_output=True)


def test_the_commit_of_a_site_and_whether_it_was_changed(tmp_path: Path) -> None:
    assert origin.commit_of(tmp_path)["commit"] is None
    git(tmp_path, "init")
    assert origin.commit_of(tmp_path) == {"folder": str(tmp_path), "commit": None, "dirty": None}
    (tmp_path / "hosts.yml").write_text("a")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "x")
    found = origin.commit_of(tmp_path)
    assert len(found["commit"]) == 40 and found["dirty"] is False
    (tmp_path / "new").touch()
    assert origin.commit_of(tmp_path)["dirty"] is True
    said = origin.describe(tmp_path)
    assert said["product"]["version"] and said["site"]["dirty"] is True and said["user"]


def test_a_section_is_a_file(tmp_path: Path) -> None:
    folder = tmp_path / "report"
    shutil.copytree(page.TEMPLATES, folder)
    (folder / "host/55-plots.html.j2").write_text("<svg><title>{{ report.host }}</title></svg>")
    (folder / "service/15-verdict.html.j2").write_text("<p>verdict on {{ row.service }} of {{ report.host }}</p>")
    text = page.report_page(
        {**report(), "phases": [{"phase": "Serve", "seconds": 75}], "accelerator": {"kind": "gpu"}}, folder
    )
    places = [
        text.index(words)
        for words in ("172", "verdict on demo of gpu-01", "Endpoint", "What it computes", "<svg>", "1 min 15 s")
    ]
    assert places == sorted(places)


def judged(**more: Any) -> dict[str, Any]:
    finding = {
        "metric": "aime24", "verdict": "DIFFERENT", "why": "unlike", "n": 30, "value": 4.0, "low": 1.0, "high": 7.0, "margin": 5, "unit": "points",
    }  # fmt: skip
    return {
        "verdict": "DIFFERENT", "strength": "", "findings": [finding], "disagree": [], "disagreeing": 0, "release": "aa",
        "pack": {"name": "p", "digest": "0" * 64, "about": "", "signed": None}, **more,
    }  # fmt: skip


def test_a_service_that_is_unlike_its_reference_is_in_the_first_line() -> None:
    one = {**report(), "verdicts": {"demo": judged()}}
    text = " ".join(page.report_page(one).split())
    assert (
        "1 of 1 services answer, demo unlike the reference." in text and 'aria-label="1 to 7; margin 5 points"' in text
    )
    # A release that made way is told as such: the one before serves.
    one["verdicts"]["demo"]["release"] = "bb"
    text = " ".join(page.report_page(one).split())
    assert "1 of 1 services answer as they should." in text
    assert "It is on release bb, which was tried; release aa serves." in text


def test_answers_that_are_not_the_same_are_named_where_columns_are_not_seen() -> None:
    """A narrow page has no head row: each answer says whose it is. An answer of nothing is told as such."""
    apart = {"id": "1", "load": 0, "asked": "How many?", "expected": "204", "reference": "204", "here": ""}
    text = page.report_page({**report(), "verdicts": {"demo": judged(disagree=[apart], disagreeing=3)}})
    assert '<td data-head="Reference">204</td><td data-head="Here">(nothing)</td>' in text
    assert "3 answers are not the same; the first 1" in text and "How many? <span" in text
