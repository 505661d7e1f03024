"""The site's tables as people keep them: a row goes in, and every other byte stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.service import host_runs, site
from conftest import ROOT

ROW = {"sources": {"huggingface": {"repo": "org/new", "revision": "c0ffee"}}, "bytes": 12, "license": "mit"}
TABLE = """\
---
# What a model is.
models:
  # The first.
  one:
    bytes: 1  # about
    check: &capital {prompt: "x", expect: Paris}

  two: {bytes: 2, check: *capital}
  # After the last.

other: 1
"""


def put(text: str, row: dict[str, Any] | None = None, name: str = "new", update: bool = False) -> str:
    found: str = site.with_row("models.yml", text, "models", name, ROW if row is None else row, update)
    return found


def test_a_row_goes_in_and_nothing_else_changes() -> None:
    after = put(TABLE)
    assert yaml.safe_load(after)["models"]["new"] == ROW
    same = next(place for place, (old, new) in enumerate(zip(TABLE, after, strict=False)) if old != new)
    assert after.endswith(TABLE[same:])  # one block was put in, and that is all
    assert put(after) == after


@pytest.mark.parametrize(
    "text",
    [
        "",
        "---\n",
        "models:\n",
        "models: {}\n",
        "---\nmodels:   # none yet\n",
        "other: 1",
        "# only words\n",
        "models: {}\nother: 1\n",
        "other:\n  a: 1\nmodels:\n",
    ],
)
def test_a_table_is_made_where_there_is_none(text: str) -> None:
    after = put(text)
    assert yaml.safe_load(after)["models"] == {"new": ROW}
    before = yaml.safe_load(text) or {}
    assert {key: value for key, value in yaml.safe_load(after).items() if key != "models"} == {
        k: v for k, v in before.items() if k != "models"
    }


@pytest.mark.parametrize(
    "text",
    [
        TABLE,
        TABLE.rstrip("\n"),
        TABLE.replace("\n", "\r\n"),
        TABLE.replace("  ", "    "),
        "models:\n    a:\n        bytes: 1\n",
    ],
)
def test_line_ends_indents_and_a_missing_last_line_stay(text: str) -> None:
    after = put(text)
    assert yaml.safe_load(after)["models"]["new"] == ROW
    for line in text.splitlines():
        assert line in after
    assert ("\r\n" in text) == ("\r\n" in after) and (("\r\n" not in text) or "\n" not in after.replace("\r\n", ""))


def test_the_catalogues_own_tables_take_rows() -> None:
    """The largest tables that there are, with their comments."""
    for name in ("models", "services"):
        path = ROOT / f"catalogue/{name}.yml"
        text = path.read_text()
        after = site.with_row(str(path), text, f"catalogue_{name}", "new", ROW, False)
        assert after != text and yaml.safe_load(after)[f"catalogue_{name}"]["new"] == ROW
        assert [line for line in text.splitlines() if line not in after] == []


def test_a_row_that_says_something_else_is_refused_or_updated() -> None:
    text = put(TABLE)
    text = text.replace("    license: mit", "    license: mit  # read by legal\n    check: {prompt: hi}")
    changed = {**ROW, "bytes": 13}
    with pytest.raises(
        Refusal,
        match=r"has 'new' in table 'models' already, with another bytes; give another name \(-e name=...\), or -e update=true",
    ):
        put(text, changed)
    after = put(text, changed, update=True)
    assert after == text.replace("bytes: 12", "bytes: 13")  # what a person added stays, comments too
    assert put(after, changed) == after


def test_an_update_of_a_row_with_an_alias() -> None:
    after = put(TABLE, {"bytes": 5}, "two", update=True)
    assert yaml.safe_load(after)["models"] == {
        "one": {"bytes": 1, "check": {"prompt": "x", "expect": "Paris"}},
        "two": {"bytes": 5, "check": {"prompt": "x", "expect": "Paris"}},
    }
    assert "# The first." in after and "# about" in after


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("models:\n  one: {bytes: 1\n  two: 2\n", r"models.yml line \d+ is no valid YAML"),
        ("models:\n  one: {}\n  one: {}\n", r"models.yml line \d+ is no valid YAML"),
        ("models:\n\tone: {}\n", r"models.yml line 2 is no valid YAML"),
        ("models: [a]\n", "'models' is no mapping of names to rows"),
        ("- a\n", "holds no mapping of names"),
        ("models: {one: {bytes: 1}}\n", "has its table 'models' in braces"),
        ("$ANSIBLE_VAULT;1.1;AES256\n6162\n", "is encrypted with vault"),
        ("models:\n  new: 3\n", "'new' in table 'models' is no mapping of keys"),
    ],
)
def test_a_table_that_cannot_be_written_is_left_alone(text: str, words: str) -> None:
    with pytest.raises(Refusal, match=words):
        put(text)


def test_which_file_holds_a_table(tmp_path: Path) -> None:
    folder = tmp_path / "group_vars/all"
    assert site.table_file(str(tmp_path), "models") == str(folder / "models.yml")
    folder.mkdir(parents=True)
    (folder / "mine.yml").write_text("# models: no\nservices: {}\n")
    (folder / "tables.yaml").write_text("models:\n  a: {}\n")
    (folder / "pins.json").write_text('{"models": {}}')
    assert site.table_file(str(tmp_path), "models") == str(folder / "tables.yaml")
    assert site.table_file(str(tmp_path), "services") == str(folder / "mine.yml")


HOSTS = """\
accelerators:
  children:
    h100:
      hosts:
        gpu-01:
          ansible_host: 192.0.2.11  # rack 4
          runs: [qwq-32b]
        gpu-02: {ansible_host: 192.0.2.12}
        gpu-03:
"""


@pytest.mark.parametrize(("host", "runs"), [("gpu-01", ["qwq-32b", "new"]), ("gpu-02", ["new"]), ("gpu-03", ["new"])])
def test_a_host_gets_a_service_to_run(tmp_path: Path, host: str, runs: list[str]) -> None:
    path = tmp_path / "hosts.yml"
    path.write_text(HOSTS)
    place = host_runs.runs_place(str(tmp_path), [str(path)], host)
    assert place and place.path == str(path)
    after = host_runs.with_run(place, HOSTS, "new")
    assert yaml.safe_load(after)["accelerators"]["children"]["h100"]["hosts"][host]["runs"] == runs
    assert "# rack 4" in after and host_runs.with_run(place, after, "new") == after
    assert len(after.splitlines()) <= len(HOSTS.splitlines()) + 1


def test_where_a_hosts_runs_are_written(tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").write_text(HOSTS)
    (tmp_path / "hosts.ini").write_text("[h100]\ngpu-09\n")
    (tmp_path / "host_vars").mkdir()
    (tmp_path / "host_vars/gpu-01.yml").write_text("# mine\nruns:\n  - a  # first\n")
    files = [str(tmp_path / "hosts.yml"), str(tmp_path / "hosts.ini")]
    place = host_runs.runs_place(str(tmp_path), files, "gpu-01")
    assert place and place.path.endswith("gpu-01.yml")
    after = host_runs.with_run(place, (tmp_path / "host_vars/gpu-01.yml").read_text(), "new")
    assert yaml.safe_load(after) == {"runs": ["a", "new"]} and "# mine" in after and "# first" in after
    assert host_runs.runs_place(str(tmp_path), files, "gpu-09") is None


def test_a_host_keeps_what_its_group_runs(tmp_path: Path) -> None:
    """A list of its own hides the group's, so it begins with what the host runs; an expression is left to its writer."""
    path = tmp_path / "hosts.yml"
    path.write_text(HOSTS.replace("      hosts:\n", "      vars: {runs: [shared]}\n      hosts:\n"))
    runs = {}
    for host in ("gpu-01", "gpu-02"):
        place = host_runs.runs_place(str(tmp_path), [str(path)], host)
        assert place is not None
        after = host_runs.with_run(place, path.read_text(), "new", ["shared"])
        runs[host] = yaml.safe_load(after)["accelerators"]["children"]["h100"]["hosts"][host]["runs"]
    assert (
        host_runs.with_run(place, path.read_text(), "shared", ["shared"]) == path.read_text()
    )  # the group's is enough
    assert runs == {"gpu-01": ["qwq-32b", "new"], "gpu-02": ["shared", "new"]}
    (tmp_path / "host_vars").mkdir()
    mine = tmp_path / "host_vars/gpu-02.yml"
    mine.write_text("runs: \"{{ common + ['a'] }}\"\n")
    place = host_runs.runs_place(str(tmp_path), [str(path)], "gpu-02")
    assert place is not None
    with pytest.raises(Refusal, match="is no list"):
        host_runs.with_run(place, mine.read_text(), "new", ["shared"])
