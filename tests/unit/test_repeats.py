"""Data sets whose questions are asked more than once with drawn answers: clustered by item, on both sides."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.serving.service import harness
from scipy import stats

from judging import known, means, packs, sets, verdict

Result = dict[str, Any]
ITEMS = [
    {"id": f"{n}", "messages": [{"role": "user", "content": f"{n}?"}], "expect": "204", "about": {"kind": "sum"}}
    for n in range(60)
]
ONE: Result = {
    "name": "aime24", "known": "aime24", "items": ITEMS, "tokens": 16384, "margin": 5, "repeats": 4, "temperature": 0.6, "shots": 0,
    "title": "AIME 2024", "source": "...",
}  # fmt: skip


def answers_of(share: float, seed: int) -> Result:
    """Answers of a system that has `share` of them right; some items are easy and some are hard."""
    draw = random.Random(seed)
    chances = [draw.betavariate(8 * share, 8 * (1 - share)) for _ in ITEMS]
    draw = random.Random(seed + 1)
    found = {}
    for row, chance in zip(sets.repeated(ONE), (c for c in chances for _ in range(4)), strict=True):
        good = draw.random() < chance
        found[row["id"]] = {"text": "204" if good else "7", "finish": "stop", "tokens": 9, "read": "", "right": good}
    return found


def said(answers: Result, **sampling: float) -> Result:
    drawn = harness.sampling_of(sampling or sets.sampling(ONE))
    return {"answers": answers, "before": 0, "version": harness.VERSION, "sampling": drawn, "problem": "the words"}


@pytest.fixture
def pack(tmp_path: Path) -> Result:
    about = {"model": {"name": "demo"}, "sampling": {"temperature": 0}, "scorer": "exact 1", "runs": 2}
    record = sets.recorded(ONE, said(answers_of(0.7, 1)))
    packs.write(tmp_path, about, [{"id": "one", "prompt": [1], "runs": [{"tokens": [2]}]}], [record])
    (kept,) = packs.read(tmp_path).sets
    assert kept["repeats"] == 4 and len(kept["items"][0]["answers"]) == 4 and "answer" not in kept["items"][0]
    assert kept["sampling"]["temperature"] == 0.6 and "seed" not in kept["sampling"]
    return kept


def test_each_item_is_asked_under_a_name_of_its_own() -> None:
    names = [row["id"] for row in sets.repeated(ONE)]
    assert names[:5] == ["0#1", "0#2", "0#3", "0#4", "1#1"] and len(set(names)) == 240
    assert [row["id"] for row in sets.repeated({"items": ITEMS[:2]})] == ["0", "1"]
    assert sets.sampling(ONE) == {"temperature": 0.6, "top_p": 0.95}
    assert sets.sampling({**ONE, "repeats": 1}) == {"temperature": 0.0, "top_p": 1.0}


@pytest.mark.parametrize(
    ("answers", "margin", "word", "why"),
    [
        (answers_of(0.7, 1), 0.05, "EQUIVALENT", "(60 items, 4 times each)"),
        (answers_of(0.3, 1), 0.05, "DIFFERENT", "answers are right here and"),
        (answers_of(0.7, 3), 0.02, "UNDERPOWERED", "no number of repeats decides it, but more items"),
    ],
)
def test_what_drawn_answers_show(pack: Result, answers: Result, margin: float, word: str, why: str) -> None:
    (finding,) = sets.of_set(pack, said(answers), margin)
    assert finding.verdict == word and why in finding.why and finding.n == 60, finding


def test_other_sampling_missing_and_cut_answers_count_as_for_greedy_ones(pack: Result) -> None:
    good = answers_of(0.7, 1)
    (finding,) = sets.of_set(pack, said(good, temperature=0.7, top_p=0.95), 0.05)
    assert finding.verdict == "INCOMPARABLE" and "'temperature': 0.6" in finding.why
    lost = {key: answer for key, answer in good.items() if key not in ("0#1", "3#2")}
    assert not sets.came_to_its_end(pack, said({}))
    (finding,) = sets.of_set(pack, said(lost), 0.05)
    assert finding.verdict == "INCOMPARABLE" and "2 of 240 items have no answer (the words)" in finding.why
    lost = {key: answer for key, answer in good.items() if key != "0#1"}
    assert sets.came_to_its_end(pack, said(lost))
    (finding,) = sets.of_set(pack, said(lost), 0.05)
    assert finding.value is not None and abs(finding.value) == pytest.approx(100 / 240)  # the worst that it can be
    cut = {key: {**answer, "finish": "length"} if key.endswith("#1") else answer for key, answer in good.items()}
    (finding,) = sets.of_set(pack, said(cut), 0.05)
    assert finding.verdict == "INCOMPARABLE" and "60 of 240 answers of this service end at the limit" in finding.why
    with pytest.raises(ValueError, match=r"1 of 240 items of aime24 have no answer, 0#1 the first: the words"):
        sets.recorded(ONE, said(lost))


def test_a_pack_with_fewer_repeats_than_it_says_is_refused(tmp_path: Path, pack: Result) -> None:
    about = {"model": {"name": "demo"}, "sampling": {"temperature": 0}, "scorer": "exact 1", "runs": 2}
    cut = {**pack, "items": [{**item, "answers": item["answers"][:3]} for item in pack["items"]]}
    packs.write(tmp_path / "cut", about, [{"id": "one", "prompt": [1], "runs": [{"tokens": [2]}]}], [cut])
    with pytest.raises(packs.BadPack, match="a data set without name"):
        packs.read(tmp_path / "cut")


def test_items_that_most_repeats_have_right_on_one_side_alone_are_shown(pack: Result) -> None:
    here = {**answers_of(0.7, 1)}
    item = next(item for item in pack["items"] if all(answer["right"] for answer in item["answers"]))
    for number in (1, 2):
        here[f"{item['id']}#{number}"] = {"text": "no", "finish": "stop", "right": False, "read": ""}
    (apart,) = sets.side_by_side(pack, here)
    assert apart["id"] == item["id"] and apart["here"] == "no"


def test_p_is_student_s() -> None:
    draw = random.Random(5)
    here = [[draw.random() < 0.6 for _ in range(5)] for _ in range(40)]
    there = [[draw.random() < 0.5 for _ in range(5)] for _ in range(40)]
    found = means.clustered(here, there, 0.9)
    values = [sum(a) / 5 - sum(b) / 5 for a, b in zip(here, there, strict=True)]
    assert means.clustered_p(found) == pytest.approx(stats.ttest_1samp(values, 0).pvalue)


def test_items_that_never_vary_prove_no_more_than_items_asked_once() -> None:
    same = [[True] * 8 for _ in range(30)]
    finding = verdict.of_repeats("aime24", same, same, 0.05)
    assert finding.verdict == "UNDERPOWERED" and finding.needed == 52, finding
    assert verdict.of_repeats("aime24", same * 2, same * 2, 0.05).verdict == "EQUIVALENT"
    assert verdict.of_repeats("aime24", [[False] * 8] * 30, same, 0.05).verdict == "DIFFERENT"


def verdicts(items: int, repeats: int, margin: float, shift: float, rounds: int) -> dict[str, float]:
    """Shares of the words over seeded runs of two systems whose items are right with chances that lie apart by `shift` on average."""
    draw, seen = random.Random(11), dict.fromkeys(("EQUIVALENT", "DIFFERENT", "UNDERPOWERED"), 0)
    for _ in range(rounds):
        here, there = [], []
        for _ in range(items):
            chance = draw.betavariate(0.6, 0.3)  # two answers to an item are unlike one in five times
            other = chance * (1 - 1.5 * shift)
            there.append([draw.random() < chance for _ in range(repeats)])
            here.append([draw.random() < other for _ in range(repeats)])
        seen[verdict.of_repeats("x", here, there, margin).verdict] += 1
    return {word: count / rounds for word, count in seen.items()}


@pytest.mark.parametrize(("items", "repeats", "margin"), [(198, 5, 0.05), (30, 32, 0.05)])
def test_how_often_the_words_are_wrong(items: int, repeats: int, margin: float) -> None:
    at_margin = verdicts(items, repeats, margin, margin, 300)
    assert at_margin["EQUIVALENT"] <= 0.09  # nominally .05
    alike = verdicts(items, repeats, margin, 0.0, 300)
    assert alike["DIFFERENT"] <= 0.09 and alike["EQUIVALENT"] >= 0.85, alike


def test_the_repeats_that_are_named_suffice() -> None:
    draw = random.Random(3)
    chances = [draw.betavariate(0.6, 0.3) for _ in range(100)]
    few = [[[draw.random() < chance for _ in range(3)] for chance in chances] for _ in range(2)]
    finding = verdict.of_repeats("x", few[0], few[1], 0.03)
    assert finding.verdict == "UNDERPOWERED" and finding.needed, finding
    assert f"it takes about {finding.needed} repeats" in finding.why
    assert 0.8 <= verdicts(100, finding.needed, 0.03, 0.0, 150)["EQUIVALENT"] <= 1.0


def test_a_site_asks_for_repeats_in_its_table(tmp_path: Path) -> None:
    (tmp_path / "aime24").mkdir()
    (tmp_path / "aime24/test.jsonl").write_text("{}\n")
    row = {
        "title": "AIME 2024", "harness": "aime24", "images": False, "items": 30, "metric": "pass@1", "shots": 0, "tokens": 16384, "margin": 5,
        "repeats": 32, "modelscope": "x", "huggingface": None, "revision": None, "files": "*", "licence": None,
    }  # fmt: skip
    found = known.wanted(["AIME 2024"], {"aime24": row}, str(tmp_path))["aime24"]
    assert (found["repeats"], found["temperature"], found["margin"]) == (32, 0.6, 5)
    warmer = known.wanted(["AIME 2024"], {"aime24": {**row, "temperature": 1}}, str(tmp_path))["aime24"]
    assert warmer["temperature"] == 1
