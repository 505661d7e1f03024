"""Asking a service and judging what it says: every way in which an engine can be like its reference, unlike it, or no match at all."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import FIXTURES
from ports import free_port

from judging import canary, garbage, packs, pairs, recorded, texts

Result = dict[str, Any]
Run = Callable[..., Result]


class Engine:
    """A deployed service whose engine is the stub, in one mode."""

    def __init__(self, base: Path, run: Run, mode: str, apart: float) -> None:
        self.root, self.run, self.port = base, run, free_port()
        release = base / "services/demo/releases/0123456789ab"
        release.mkdir(parents=True)
        model = base / "models/demo"
        model.mkdir(parents=True)
        (model / ".manifest.json").write_text(json.dumps({"identity": "aa", "source": {"identity": "bb"}}))
        spec = {
            "endpoint": f"http://127.0.0.1:{self.port}", "served_name": "demo", "engine": "vllm", "model": {"name": "demo", "path": str(model)},
        }  # fmt: skip
        (release / "spec.json").write_text(json.dumps(spec))
        (base / "services/demo/current").symlink_to("releases/0123456789ab")
        self.process = subprocess.Popen(
            [sys.executable, str(FIXTURES / "stub_engine.py"), mode, str(self.port)],
            env={**os.environ, "STUB_APART": str(apart)},
        )
        for _ in range(200):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5):
                    break
            except OSError:
                time.sleep(0.05)

    def ask(self, items: list[Result], **more: Any) -> Result:
        return self.run(
            "canary", {"serving_root": str(self.root), "service": "demo", "items": items, "top": 10, **more}
        )

    def record(self, folder: Path, seed: int = 0) -> packs.Pack:
        items = [{**item, "tokens": 16, "limit": 48} for item in texts.texts(seed, 40)]
        first = self.ask(items, template=recorded.template_messages())
        assert not first["failed"], first
        second = self.ask(recorded.second_run(items, first["answers"]), load=32)
        recorded.write(folder, {"recorded": "2026-11-25", "top": 10}, items, first, second)
        return packs.read(folder)

    def judge(self, pack: packs.Pack, margins: Result | None = None) -> Result:
        """What the action does, in this process."""
        rows = canary.requests(pack)
        template = pack.about["template"]["messages"]
        first = self.ask(rows[: canary.SINGLE], template=template, sampling=4)
        assert not first["failed"], first
        served, loads = {**first["served"], "problem": first["problem"]}, {"1": first["answers"]}
        runs = {item["id"]: item["runs"][0] for item in pack.items}
        served["broken"] = garbage.broken([(runs[key], answer) for key, answer in first["answers"].items()])
        if not served["broken"]:
            loads["32"] = self.ask(rows, load=32)["answers"]
        return canary.judge(pack, margins or {}, served, loads)


@pytest.fixture
def engine(tmp_path: Path, run_module: Run) -> Iterator[Callable[..., Engine]]:
    made: list[Engine] = []

    def make(mode: str = "good", apart: float = 0.0) -> Engine:
        made.append(Engine(tmp_path / str(len(made)), run_module, mode, apart))
        return made[-1]

    yield make
    for one in made:
        one.process.kill()
        one.process.wait()


RECORDED: list[packs.Pack] = []


@pytest.fixture
def pack(tmp_path: Path, engine: Callable[..., Engine]) -> packs.Pack:
    """What a good engine answers, recorded once for all tests."""
    if not RECORDED:
        RECORDED.append(engine().record(tmp_path / "pack"))
    return RECORDED[0]


def verdicts(record: Result) -> dict[str, str]:
    return {row["metric"]: row["verdict"] for row in record["findings"]}


def test_an_engine_is_equivalent_to_itself(engine: Callable[..., Engine], pack: packs.Pack) -> None:
    record = engine().judge(pack)
    assert record["verdict"] == "EQUIVALENT" and record["strength"] == "" and record["disagree"] == []
    assert set(verdicts(record)) == {"divergence at 1", "greedy at 1", "divergence at 32", "greedy at 32"}
    assert pack.about["own"] == {"apart": 0, "divergence": 0.0, "items": 40}
    assert pack.about["model"]["identity"] == "aa" and len(pack.items[0]["runs"]) == 2


@pytest.mark.parametrize(("apart", "word"), [(0.002, "EQUIVALENT"), (0.4, "DIFFERENT"), (3.0, "DIFFERENT")])
def test_noise_of_an_accelerator_passes_and_a_fault_does_not(
    engine: Callable[..., Engine], pack: packs.Pack, apart: float, word: str
) -> None:
    record = engine(apart=apart).judge(pack)
    assert record["verdict"] == word, record["findings"]
    if word == "DIFFERENT":
        assert (
            verdicts(record)["divergence at 32"] == "DIFFERENT"
            and record["disagree"][0]["reference"] != record["disagree"][0]["here"]
        )


def test_the_margin_of_the_row_decides(engine: Callable[..., Engine], pack: packs.Pack) -> None:
    other = engine(apart=0.12)
    assert verdicts(other.judge(pack))["divergence at 32"] == "DIFFERENT"
    assert verdicts(other.judge(pack, {"divergence": 0.05}))["divergence at 32"] == "EQUIVALENT"


def test_an_engine_without_prompt_logprobs_gets_a_weaker_word(engine: Callable[..., Engine], pack: packs.Pack) -> None:
    record = engine("decoding").judge(pack)
    assert (record["verdict"], record["strength"]) == ("EQUIVALENT", "decoding alone")
    assert engine("decoding", apart=0.8).judge(pack)["verdict"] == "DIFFERENT"


def test_an_engine_that_gives_text_alone_is_told_so(engine: Callable[..., Engine], pack: packs.Pack) -> None:
    record = engine("words").judge(pack)
    assert (record["verdict"], record["strength"]) == ("EQUIVALENT", "text alone")
    assert engine("words", apart=0.8).judge(pack)["verdict"] in ("UNDERPOWERED", "DIFFERENT")


@pytest.mark.parametrize(
    ("mode", "word", "metric", "words"),
    [
        ("template", "INCOMPARABLE", "template", "chat template, BOS or tokenizer differ"),
        ("penalty", "INCOMPARABLE", "sampling", "generation_config.json"),
        ("refusing", "INCOMPARABLE", "answers at 1", "this model does not support completions"),
        ("zeros", "DIFFERENT", "garbage", "token 0 over and over"),
        ("nan", "DIFFERENT", "garbage", "no number where a probability must be"),
    ],
)
def test_what_no_statistics_can_bridge_is_named(
    engine: Callable[..., Engine], pack: packs.Pack, mode: str, word: str, metric: str, words: str
) -> None:
    record = engine(mode).judge(pack)
    assert record["verdict"] == word and word == verdicts(record)[metric]
    assert words in next(row["why"] for row in record["findings"] if row["metric"] == metric)


def test_other_weights_are_incomparable_and_converted_ones_are_not(
    engine: Callable[..., Engine], pack: packs.Pack
) -> None:
    other = engine()
    manifest = other.root / "models/demo/.manifest.json"
    manifest.write_text(json.dumps({"identity": "fp16", "source": {"identity": "aa"}}))
    assert other.judge(pack)["verdict"] == "EQUIVALENT"
    manifest.write_text(json.dumps({"identity": "cc", "source": {"identity": "cc"}}))
    record = other.judge(pack)
    assert (
        verdicts(record) == {"weights": "INCOMPARABLE"}
        and "record a reference of these" in record["findings"][0]["why"]
    )


def test_a_service_that_dies_meanwhile_fails_the_module(engine: Callable[..., Engine], pack: packs.Pack) -> None:
    other = engine("dying")
    result = other.ask(canary.requests(pack), load=32)
    assert result["failed"] and "it stopped answering after" in result["msg"], result


def test_time_that_runs_out_leaves_items_without_answer(engine: Callable[..., Engine], pack: packs.Pack) -> None:
    other = engine("slowly")
    answers = other.ask(canary.requests(pack), load=2, seconds=2)["answers"]
    assert 0 < len(answers) < len(pack.items)
    record = canary.judge(pack, {}, {"identity": "aa", "problem": "no time is left"}, {"32": answers})
    assert record["verdict"] == "INCOMPARABLE" and "no time is left" in record["findings"][0]["why"]


def replayed(pack: packs.Pack, **changes: Any) -> dict[str, Result]:
    """What a service that has the pack would say: its recorded answers, each with `changes`."""
    return {item["id"]: {**item["runs"][0], **changes} for item in pack.items}


def test_answers_that_are_missing_or_cut_are_no_choice(pack: packs.Pack) -> None:
    served = {"identity": "aa", "problem": "HTTP 400"}
    whole = replayed(pack)
    assert canary.judge(pack, {}, served, {"32": whole})["verdict"] == "EQUIVALENT"
    lost = {key: answer for key, answer in whole.items() if key != pack.items[3]["id"]}
    record = canary.judge(pack, {}, served, {"32": lost})
    assert (
        verdicts(record)["answers at 32"] == "INCOMPARABLE"
        and "1 of 40 items have no answer (HTTP 400)" in record["findings"][0]["why"]
    )
    ended = {item["id"]: {**item, "runs": [{**item["runs"][0], "finish": "stop"}]} for item in pack.items}
    cut = replayed(pack, finish="length")
    assert "no end" in garbage.broken([(ended[key]["runs"][0], answer) for key, answer in cut.items()])


@pytest.mark.parametrize(
    ("about", "metric", "words"),
    [
        ({"sampling": {"temperature": 0.6}}, "sampling", "recorded with {'temperature': 0.6}"),
        ({"scorer": "exact 0"}, "scorer", "scored by 'exact 0', and this version has 'exact 1'"),
    ],
)
def test_a_pack_of_another_sampling_or_scorer_is_incomparable(
    pack: packs.Pack, about: Result, metric: str, words: str
) -> None:
    items = [{**item, "expect": "1"} for item in pack.items]
    other = pack._replace(about={**pack.about, **about}, items=items)
    record = canary.judge(other, {}, {"identity": "aa"}, {"32": replayed(pack)})
    assert record["verdict"] == "INCOMPARABLE" and verdicts(record)[metric] == "INCOMPARABLE"
    assert words in record["findings"][0]["why"]


def test_a_clock_that_jumps_changes_nothing(
    engine: Callable[..., Engine], pack: packs.Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A day back and forth at each look: what asking may take is counted by a clock that nobody sets."""
    real, days = time.time, itertools.cycle((0, -86_400, 86_400))
    monkeypatch.setattr(time, "time", lambda: real() + next(days))
    assert engine().judge(pack)["verdict"] == "EQUIVALENT"


def test_a_liar_that_replays_the_pack_is_found_out_by_fresh_texts(
    engine: Callable[..., Engine], pack: packs.Pack, tmp_path: Path
) -> None:
    """By the pack alone it is the reference itself. Texts of a seed that nobody knew before are in no pack, and it must compute."""
    assert canary.judge(pack, {}, {"identity": "aa"}, {"32": replayed(pack)})["verdict"] == "EQUIVALENT"
    truth, lie = engine().record(tmp_path / "truth", seed=8), engine(apart=0.4).record(tmp_path / "lie", seed=8)
    assert pairs.compare(truth, lie, {})["verdict"] == "DIFFERENT"


def test_one_that_replays_a_pack_does_not_know_fresh_texts(
    engine: Callable[..., Engine], pack: packs.Pack, tmp_path: Path
) -> None:
    """Texts of another seed are in no pack: two live services are compared by them, and no answer of theirs was recorded before."""
    fresh = engine().record(tmp_path / "fresh", seed=4711)
    known = {tuple(item["prompt"]) for item in pack.items}
    assert not known & {tuple(item["prompt"]) for item in fresh.items}
    assert engine().judge(fresh)["verdict"] == "EQUIVALENT" and engine(apart=0.4).judge(fresh)["verdict"] == "DIFFERENT"


def test_check_mode_asks_nothing(run_module: Run, engine: Callable[..., Engine], pack: packs.Pack) -> None:
    other = engine("dying")
    args = {"serving_root": str(other.root), "service": "demo", "items": canary.requests(pack)}
    assert run_module("canary", args, check=True)["answers"] == {}


def test_live_services_are_compared_each_with_each(engine: Callable[..., Engine], tmp_path: Path) -> None:
    """Three accelerators of which one is apart: the pairs with it are DIFFERENT, and the three may not share a name."""
    made = [
        engine(apart=apart).record(tmp_path / name, seed=7)
        for name, apart in (("h100", 0.0), ("arm", 0.002), ("bad", 0.5))
    ]
    found = pairs.matrix(made, {})
    words = {(a, b): record["verdict"] for a, row in found.items() for b, record in row.items()}
    assert words == {("h100", "arm"): "EQUIVALENT", ("h100", "bad"): "DIFFERENT", ("arm", "bad"): "DIFFERENT"}
    assert "may not share one name" in pairs.matrix_text(found)
    assert "they may share one name" in pairs.matrix_text(pairs.matrix(made[:2], {}))
    other = made[1]._replace(about={**made[1].about, "model": {"identity": "zz"}, "scorer": "exact 2"})
    assert [one["metric"] for one in pairs.compare(made[0], other, {})["findings"]] == ["weights", "scorer"]
    assert [one["metric"] for one in pairs.compare(made[0], RECORDED[0], {})["findings"]] == ["items"]


def test_a_model_without_a_chat_is_judged_all_the_same(engine: Callable[..., Engine], pack: packs.Pack) -> None:
    record = engine("base").judge(pack)
    assert record["verdict"] == "EQUIVALENT" and record["strength"] == ""
