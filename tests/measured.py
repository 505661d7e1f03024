"""What benchmark.yml and tune.yml do with a real vLLM: parts of tests that have one running, since a start takes half a minute."""

from __future__ import annotations

import json
from pathlib import Path

from runner import Playbooks, flat


def load_curve(site: Playbooks, reports: Path) -> None:
    """Two levels of the service demo: every figure is there, nothing failed, nobody else was counted, and more at once gives more tokens."""
    values = {
        "service": "demo",
        "concurrency": [1, 8],
        "prompt_length": 64,
        "output_length": 16,
        "requests": 8,
        "repeats": 2,
        "run": "curve",
    }
    told = flat(site.run("playbooks/benchmark.yml", "-e", json.dumps(values)))
    assert "demo, release" in told and "requests of others" not in told
    curve = json.loads((reports / "localhost/benchmarks/demo-curve.json").read_text())
    one, eight = (level["figures"] for level in curve["levels"])
    for level in curve["levels"]:
        assert level["failed"] == 0 and {"ttft_ms_p50", "tpot_ms_p50", "e2el_ms_p99"} <= set(level["figures"])
        assert all(figure["mean"] > 0 and figure["n"] == values["repeats"] for figure in level["figures"].values())
    assert eight["output_tokens_per_second"]["mean"] > one["output_tokens_per_second"]["mean"]
    assert (reports / "localhost/benchmarks/demo-curve.html").read_text().count("<svg") == 3


def sweep(site: Playbooks, reports: Path) -> None:
    """What runs, against one sequence at a time, which is no faster beyond chance: the service has its own settings again."""
    values = {
        "service": "demo", "candidates": [{"max_num_seqs": 1}], "concurrency": 8, "prompt_length": 32, "output_length": 8, "requests": 16, "repeats": 3,
        "minutes": 10, "run": "sweep", "write_row": False,
    }  # fmt: skip
    told = flat(site.run("playbooks/tune.yml", "-e", json.dumps(values)))
    assert "demo: it stays as it runs" in told
    found = json.loads((reports / "localhost/tunes/demo-sweep.json").read_text())
    trials = {trial["candidate"]: trial for trial in found["trials"]}
    assert set(trials) == {"as it runs", "max_num_seqs 1"} and found["winner"] == "as it runs"
    assert all(len(trial["values"]) == 3 or trial["problem"] for trial in trials.values()), trials
    assert len(trials["as it runs"]["values"]) == 3
