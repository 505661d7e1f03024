"""Module tune keeps a search on its host; module service_row writes its winner; the page shows what was tried."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.serving.service import site, tune_page
from test_choices import planned, record

Run = Callable[..., dict[str, Any]]
LOAD = {"concurrency": 64, "prompt_length": 512, "output_length": 64, "prompts": "", "requests": 0, "repeats": 3}


@pytest.fixture
def tune(run_module: Run, tmp_path: Path) -> Run:
    (tmp_path / "services/qwq-32b").mkdir(parents=True)
    plan = [planned({"max_model_len": 8192, "max_num_seqs": 64}, engine="vllm", flaggems=False)]
    base = {"name": "qwq-32b", "serving_root": str(tmp_path), "plan": plan, "kind": "gpu", "record": record(), "load": LOAD,
            "candidates": [{"max_num_seqs": 128}, {"max_num_seqs": 32}]}  # fmt: skip

    def run(state: str, check: bool = False, **given: Any) -> dict[str, Any]:
        return run_module("tune", {**base, "state": state, **given}, check=check)

    return run


def measured(speed: float, **more: Any) -> dict[str, Any]:
    repeats = [{"output_tokens_per_second": speed + number} for number in range(3)]
    return {
        "level": {"failed": 0, "figures": {"ttft_ms_p50": {"mean": 30.0, "half": 1.0, "n": 3}}},
        "repeats": repeats,
        "others": 0,
        "release": "abc",
        **more,
    }


def test_a_search_from_its_first_trial_to_its_winner(tune: Run, tmp_path: Path) -> None:
    kept = tmp_path / "services/qwq-32b/tune.json"
    looked = tune("looked")
    assert [one["name"] for one in looked["candidates"]] == ["as it runs", "max_num_seqs 128", "max_num_seqs 32"]
    assert (
        not kept.exists()
        and not looked["there"]
        and tune("begun", check=True)["candidate"] == "as it runs"
        and not kept.exists()
    )
    step = tune("begun")
    assert (step["candidate"], step["args"], step["over"]) == ("as it runs", {}, False)
    step = tune("tried", candidate="as it runs", measured=measured(500))
    assert step["candidate"] == "max_num_seqs 128" and step["args"] == {"max_num_seqs": 128}
    # Killed here: the next run goes on, with another budget too. Another load is another question.
    assert tune("begun", minutes=90)["trials"] == step["trials"]
    assert tune("looked", load={**LOAD, "concurrency": 1})["trials"] == []
    step = tune("tried", candidate="max_num_seqs 128", measured=measured(900))
    step = tune("tried", candidate="max_num_seqs 32", problem="it does not answer:  CUDA out of\nmemory")
    assert step["over"] and step["winner"] == "max_num_seqs 128" and step["winner_args"] == {"max_num_seqs": 128}
    assert step["ranking"][-1]["problem"] == "it does not answer: CUDA out of memory"
    assert tune("looked")["over"] and tune("ended")["there"] and not kept.exists()


def test_failed_requests_and_callers_make_no_figure(tune: Run) -> None:
    tune("begun")
    said = tune("tried", candidate="as it runs", measured=measured(500, others=3))
    assert said["failed"] and "answered 3 requests of others" in said["msg"] and "despite_callers" in said["msg"]
    assert tune("begun")["trials"] == []
    step = tune("tried", candidate="as it runs", measured=measured(500, others=3), despite_callers=True)
    assert step["trials"][0]["values"] == [500, 501, 502]
    bad = measured(900)
    bad["level"]["failed"] = 2
    assert (
        tune("tried", candidate="max_num_seqs 128", measured=bad)["trials"][1]["problem"] == "2 of its requests failed"
    )
    assert (
        tune("tried", candidate="max_num_seqs 32", measured=measured(0, repeats=[]))["trials"][2]["problem"]
        == "the load gave no figure"
    )


@pytest.mark.parametrize(
    "damage",
    ["", "[]", "{", '{"asked": "x"}', '{"asked": "x", "candidates": [], "trials": [{"candidate": "y", "seconds": 1}]}'],
)
def test_a_damaged_file_begins_anew(tune: Run, tmp_path: Path, damage: str) -> None:
    (tmp_path / "services/qwq-32b/tune.json").write_text(damage)
    assert tune("begun")["trials"] == []
    (tmp_path / "services/qwq-32b/tune.json").write_text(damage)
    assert "run tune.yml again" in tune("tried", candidate="as it runs", measured=measured(1))["msg"]


def test_what_a_person_types_wrong_is_a_sentence(tune: Run) -> None:
    assert "minutes is 0, but must be more than 0" in tune("looked", minutes=0)["msg"]
    assert "is not in runs of this host" in tune("looked", plan=[])["msg"]


TABLE = """# our services
services:
  other: &base
    model: demo
    engine_args: &args {max_num_seqs: 8}
  mine:
    model: demo  # small
    engine_args:
      max_model_len: 512  # callers need that

      max_num_seqs: 16  # a guess
    port: 9000
  shared:
    model: demo
    engine_args: *args
  copy: {<<: *base, port: 9002}
  open: {model: demo, engine_args: auto}
"""


def with_options(name: str, args: dict[str, Any], text: str = TABLE) -> str:
    return str(site.with_options("services.yml", text, name, args))


def test_options_go_into_their_row_and_nothing_else_changes() -> None:
    assert with_options("mine", {"max_num_seqs": 64}) == TABLE.replace(
        "max_num_seqs: 16  # a guess", "max_num_seqs: 64  # a guess"
    )
    assert with_options("mine", {"max_num_seqs": 16}) == TABLE
    more = with_options("mine", {"tensor_parallel_size": 2, "max_num_seqs": None})
    assert (
        "a guess" not in more
        and "      tensor_parallel_size: 2\n" in more
        and "max_model_len: 512  # callers need that" in more
    )
    # A row of the product alone gets one here; `auto` becomes what was measured.
    assert with_options("demo", {"max_num_seqs": 64}).endswith("  demo:\n    engine_args:\n      max_num_seqs: 64\n")
    assert (
        with_options("demo", {"max_num_seqs": 64}, "")
        == "---\nservices:\n  demo:\n    engine_args:\n      max_num_seqs: 64\n"
    )
    opened = site.plain(site.parsed("x", with_options("open", {"max_num_seqs": 64, "kv_cache_dtype": None})))
    assert opened["services"]["open"]["engine_args"] == {"max_num_seqs": 64}


def test_a_row_that_shares_its_options_keeps_the_others_as_they_are(run_module: Run, tmp_path: Path) -> None:
    (tmp_path / "group_vars/all").mkdir(parents=True)
    path = tmp_path / "group_vars/all/services.yml"
    path.write_text(TABLE)
    args = {"inventory": str(tmp_path), "name": "other", "engine_args": {"max_num_seqs": 64}}
    said = run_module("service_row", args)
    assert not said["failed"] and not said["changed"] and path.read_text() == TABLE
    assert (
        "other rows share '&base, &args' of service 'other'" in said["left"]
        and "engine_args: {max_num_seqs: 64}" in said["left"]
    )
    assert (
        "overrides of this host give max_num_seqs"
        in run_module("service_row", {**args, "hidden": ["max_num_seqs"]})["left"]
    )
    # The alias ends in the row that is changed.
    done = run_module("service_row", {**args, "name": "shared"})
    read = site.plain(site.parsed("x", path.read_text()))["services"]
    assert (
        done["changed"]
        and read["shared"]["engine_args"] == {"max_num_seqs": 64}
        and read["other"]["engine_args"] == {"max_num_seqs": 8}
    )
    assert not run_module("service_row", {**args, "name": "shared"})["changed"]
    before = path.read_text()
    dry = run_module("service_row", {**args, "name": "mine"}, check=True)
    assert dry["changed"] and path.read_text() == before and any(line.startswith("+ ") for line in dry["lines"])


def search(tune: Run) -> dict[str, Any]:
    tune("begun")
    tune("tried", candidate="as it runs", measured=measured(500))
    tune("tried", candidate="max_num_seqs 128", measured=measured(900))
    return tune("tried", candidate="max_num_seqs 32", problem="<script>alert(1)</script>")


def test_the_report_shows_every_candidate_and_escapes_what_it_is_told(
    tune: Run, run_module: Run, tmp_path: Path
) -> None:
    row = {"file": "/site/services.yml", "lines": ["--- a", "-  max_num_seqs: 64", "+  max_num_seqs: 128"], "left": ""}
    args = {"folder": str(tmp_path / "r"), "run": "tuesday", "service": "qwq-32b", "host": "gpu-01", "written": "2026-11-26 10:00 UTC",
            "search": search(tune), "load": LOAD, "row": row}  # fmt: skip
    said = run_module("tune_report", args)
    assert "qwq-32b: max_num_seqs 128 is the fastest (+80 %)" in said["text"] and "+  max_num_seqs: 128" in said["text"]
    text = (tmp_path / "r/qwq-32b-tuesday.html").read_text()
    assert "<script>" not in text and "prefers-color-scheme:dark" in text and "src=" not in text and "href=" not in text
    picture = ElementTree.fromstring(text[text.index("<svg") : text.index("</svg>") + 6])
    words = [node.text for node in picture.iter("text")]
    assert "as it runs (now)" in words and "max_num_seqs 128" in words and "<script>alert(1)</script>" in words
    bars = [float(node.attrib["width"]) for node in picture.iter("rect")]
    assert bars[1] / bars[0] == pytest.approx(501 / 901, abs=0.01)
    kept = json.loads((tmp_path / "r/qwq-32b-tuesday.json").read_text())
    assert kept["winner"] == "max_num_seqs 128" and len(kept["trials"]) == 3
    assert "may have letters" in run_module("tune_report", {**args, "run": "../x"})["msg"]


@pytest.mark.parametrize(
    ("winner", "args", "means", "words"),
    [
        ("as it runs", {}, (500.0, 505.0), "it stays as it runs: none of 1 others is faster beyond chance"),
        (None, {}, (None, None), "nothing was measured"),
        ("b", {"b": 1}, (None, 505.0), "b is the fastest"),
    ],
)
def test_the_sentence_says_what_to_take(
    winner: str | None, args: dict[str, Any], means: tuple[Any, Any], words: str
) -> None:
    ranking = [
        {"candidate": name, "mean": mean, "half": 1.0, "problem": "", "visits": 1}
        for name, mean in zip(("as it runs", "b"), means, strict=True)
    ]
    found = {"winner": winner, "winner_args": args, "ranking": ranking, "now": "as it runs"}
    assert tune_page.verdict(found).startswith(words)
    assert tune_page.chart(found).startswith("<svg")
