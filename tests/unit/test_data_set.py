"""The documents' data sets by name: which is meant, where its copy lies, what is said where there is none, and how answers to it count."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible.module_utils.serving.service import harness, harness_program
from conftest import ROOT, load

from judging import asking, known, packs, sets

Result = dict[str, Any]
Run = Callable[..., Result]
TABLE: dict[str, Any] = yaml.safe_load((ROOT / "catalogue/datasets.yml").read_text())["catalogue_datasets"]
DOCUMENTS = "GSM8K, MMLU, C-Eval, AIME 2024, GPQA-Diamond, MATH-500, MMMU, MathVision, OCRBench, BLINK, MM-Vet v2, MMMU-Pro, MMMU-Pro vision, CMMMU, CII-Bench"


def copy_of(root: Path, name: str, file: str = "test.jsonl", text: str = "{}\n") -> Path:
    path = root / name / file
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


def test_the_table_has_every_set_of_the_documents() -> None:
    assert ", ".join(row["title"] for row in TABLE.values()) == DOCUMENTS
    assert len({frozenset(row) for row in TABLE.values()}) == 1, "rows have other keys"
    assert {row["harness"] for row in TABLE.values()} - {None} == set(harness_program.KNOWN)
    assert {row["harness"] for row in TABLE.values() if row["images"]} - {None} == set(harness_program.IMAGES)
    assert [key for key, row in TABLE.items() if not row["harness"]] == ["mmvet_v2", "cii_bench"]
    assert all(row["harness"] in (key, None) for key, row in TABLE.items())  # a copy lies by this name on both sides


@pytest.mark.parametrize(
    ("name", "value", "folder"),
    [
        ("gsm8k", "", "gsm8k"),
        ("GSM8K", None, "gsm8k"),
        ("gsm-8k", True, "gsm8k"),
        ("gsm8k", "gsm8k", "gsm8k"),
        ("maths", "GSM8K", "gsm8k"),
        ("gsm8k", "hub/gsm8k", "hub/gsm8k"),
    ],
)
def test_a_set_is_found_by_its_names(tmp_path: Path, name: str, value: Any, folder: str) -> None:
    copy_of(tmp_path, folder)
    wanted = known.wanted({name: value}, TABLE, str(tmp_path))
    assert wanted == {
        "gsm8k": {
            "known": "gsm8k", "title": "GSM8K", "folder": str(tmp_path / folder), "shots": 0, "tokens": 2048, "count": 1319, "images": False,
            "margin": 2, "repeats": 1, "temperature": 0.6,
            "source": "main/* of ModelScope's AI-ModelScope/gsm8k or Hugging Face's openai/gsm8k (revision e53f048856ff4f594e959d75785d2c2d37b678ee "
            "of the latter; licence MIT) into the folder gsm8k below datasets_root",
        }
    }  # fmt: skip
    assert known.wanted({"gsm8k": str(tmp_path / folder)}, TABLE, "/none") == wanted


def test_a_list_names_sets_too(tmp_path: Path) -> None:
    copy_of(tmp_path, "gsm8k")
    copy_of(tmp_path, "mmlu")
    assert list(known.wanted(["MMLU", "gsm8k"], TABLE, str(tmp_path))) == ["mmlu", "gsm8k"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"gsm8k": {"tokens": "many"}}, "datasets: gsm8k: tokens is 'many', but must be a whole number from 1 on"),
        ({"gsm8k": {"shots": -1}}, "datasets: gsm8k: shots is -1"),
        ({"gsm8k": {"repeats": 0}}, "datasets: gsm8k: repeats is 0, but must be a whole number from 1 on"),
        ({"gsm8k": {"temperature": 0}}, "datasets: gsm8k: temperature is 0, but must be above 0 and at most 2"),
        ({"gsm8k": {"margin": 50}}, "datasets: gsm8k: margin is 50, but must be above 0 and at most 10"),
        ({"gsm8k": {"token": 5}}, "datasets: gsm8k has 'token'; use one of files"),
        ({"mine": {"tokens": 5}}, "datasets has 'mine', which is no set of catalogue/datasets.yml"),
        ({"gsm8k": None}, "datasets has 'gsm8k', which is no set"),
    ],
)
def test_a_site_s_change_to_the_table_is_checked(change: Result, says: str) -> None:
    table = {**TABLE, **{key: row and {**TABLE.get(key, {}), **row} for key, row in change.items()}}
    with pytest.raises(ValueError, match=re.escape(says)):
        known.wanted({}, table, "/none")


def test_another_number_of_questions_than_is_published_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy_of(tmp_path, "gsm8k")
    one = known.wanted(["gsm8k"], TABLE, str(tmp_path))["gsm8k"]
    plugin, said, calls = load("action_plugins/record_reference.py"), list[str](), list[Any]()
    monkeypatch.setattr(plugin.Display, "warning", lambda self, text: said.append(text))

    def module(name: str, args: Result) -> Result:
        calls.append((name, args))
        return {"items": [{"id": "main-0", "messages": [], "expect": "2"}]}

    items = plugin.ActionModule.known(None, module, one, "/srv/copy", "python")
    assert items == [{"id": "main-0", "messages": [], "expect": "2"}]
    assert calls == [("data_set", {"python": "python", "known": "gsm8k", "folder": "/srv/copy", "shots": 0})]
    assert "GSM8K has 1 questions in" in said[0] and "and 1319 are published" in said[0]


def test_questions_of_ones_own_stay_what_they_were(tmp_path: Path) -> None:
    path = copy_of(tmp_path, "own", "q.jsonl")
    given = {"sums": str(path), "gsm8k": "later.jsonl"}
    assert known.wanted(given, TABLE, str(tmp_path)) == {name: {"file": file} for name, file in given.items()}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (
            {"math500": ""},
            "MATH-500 is not in {root}/math_500; put test.jsonl of ModelScope's AI-ModelScope/MATH-500 or Hugging Face's HuggingFaceH4/MATH-500 "
            "(revision 6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be of the latter; its repository states no licence) there",
        ),
        ({"ceval": "/no/such"}, "C-Eval is not in /no/such; put "),
        ({"C-Eval": ""}, "(any revision, since the documents name none; licence CC-BY-NC-SA-4.0) there"),
        ({"CII-Bench": ""}, "CII-Bench is lacking in evalscope 1.14.1, which asks the data sets; leave it out"),
        ({"MM-Vet v2": ""}, "MM-Vet v2 is lacking in evalscope"),
        (
            {"MMMU": ""},
            "MMMU is not in {root}/mmmu; put * of ModelScope's AI-ModelScope/MMMU or Hugging Face's MMMU/MMMU",
        ),
        ({"humaneval": ""}, f"data set 'humaneval' is '', which is no file of questions, and none of {DOCUMENTS}"),
        ({"a/b": "q.jsonl"}, "data set 'a/b' has a name that is no file's"),
        ({"gsm8k": "", "maths": "gsm8k"}, "data set 'maths' is GSM8K, which is named twice"),
    ],
)
def test_a_set_that_cannot_be_asked_is_refused_before_anything_is(tmp_path: Path, given: Result, says: str) -> None:
    copy_of(tmp_path, "gsm8k")
    (tmp_path / "ceval").mkdir()
    with pytest.raises(AnsibleFilterError) as refused:
        load("filter_plugins/verdicts.py").wanted_sets(given, TABLE, str(tmp_path))
    assert says.replace("{root}", str(tmp_path)) in str(refused.value)


@pytest.mark.parametrize(
    ("known_as", "subset", "split", "file"),
    [
        ("gsm8k", "main", "test", "main/test-00000-of-00001.jsonl"),
        ("gsm8k", "main", "test", "test.jsonl"),  # as its authors publish it
        ("math_500", "default", "test", "test.jsonl"),
        ("aime24", "default", "test", "data/test-00000-of-00001.jsonl"),
        ("mmlu", "all", "test", "all/test-00000-of-00001.jsonl"),
        ("ceval", "logic", "val", "logic/val-00000-of-00001.jsonl"),
        ("ceval", "logic", "val", "val/logic_val.csv"),  # as its authors publish it
        ("ceval", "logic", "val", "logic/ceval-exam-val.jsonl"),
        ("ceval", "logic", "val", "data/val/logic_val.csv"),
        ("gpqa_diamond", "default", "train", "gpqa_diamond.csv"),
    ],
)
def test_files_are_found_as_they_are_published(
    tmp_path: Path, known_as: str, subset: str, split: str, file: str
) -> None:
    path = copy_of(tmp_path, "set", file)
    copy_of(tmp_path, "set/other", f"{split}-00000-of-00001.jsonl")
    assert harness_program.files(tmp_path / "set", known_as, subset, split) == [path]


def test_a_cut_copy_is_refused(tmp_path: Path) -> None:
    copy_of(tmp_path, "a", "all/test-00001-of-00003.jsonl")
    with pytest.raises(harness_program.Unreadable, match="has 1 of 3 shards of test; copy all of them"):
        harness_program.files(tmp_path / "a", "mmlu", "all", "test")
    with pytest.raises(harness_program.Unreadable, match=r"no split 'val' of 'logic' \(such as logic/val-\*.parquet"):
        harness_program.files(tmp_path / "a", "ceval", "logic", "val")
    pointer = copy_of(tmp_path, "b", "test.parquet", "version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(harness_program.Unreadable, match="perhaps the pointer of one"):
        harness_program.rows_of(pointer)
    with pytest.raises(harness_program.Unreadable, match=r"test.jsonl can't be read: "):
        harness_program.rows_of(copy_of(tmp_path, "c", text='{"problem": "1'))
    with pytest.raises(harness_program.Unreadable, match="data set 'humaneval' is none of gsm8k"):
        harness_program.adapter("humaneval", 0)


def test_a_table_with_commas_and_lines_is_read(tmp_path: Path) -> None:
    path = copy_of(tmp_path, "a", "gpqa_diamond.csv", '\ufeffQuestion,Correct Answer\n"a, b\nc",d\n')
    assert harness_program.rows_of(path) == [{"Question": "a, b\nc", "Correct Answer": "d"}]


def python_that(tmp_path: Path, does: str) -> str:
    """A harness's interpreter: $3 is the request, $4 the result."""
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\n{does}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("does", "says"),
    [
        ("echo Traceback >&2; echo 'ModuleNotFoundError: evalscope' >&2; exit 1", "with code 1: ModuleNotFoundError: evalscope"),
        ("exit 0", "failed over data set 'gsm8k' with code 0: it said nothing"),
        ("exec sleep 20", "took longer than 1 s over data set 'gsm8k'"),
        ("""echo '{"problem": "/x has no split"}' > "$4" """, "/x has no split"),
    ],
)  # fmt: skip
def test_a_harness_that_fails_says_why(tmp_path: Path, run_module: Run, does: str, says: str) -> None:
    given = {"python": python_that(tmp_path, does), "known": "gsm8k", "folder": str(tmp_path)}
    found = run_module("data_set", {**given, "seconds": 1 if "sleep" in does else 60})
    assert found["failed"] and says in found["msg"] and "report this" not in found["msg"]
    assert "environment is not there" in run_module("data_set", {**given, "python": "/no/such"})["msg"]


def test_the_program_gets_what_it_is_to_do(tmp_path: Path, run_module: Run) -> None:
    asked = tmp_path / "asked.json"
    python = python_that(tmp_path, f"""cp "$3" {asked}; echo '{{"scores": {{}}}}' > "$4" """)
    rows = [{"id": "main-0", "expect": "2", "text": "\\boxed{2}"}]
    assert run_module("data_set", {"python": python, "known": "gsm8k", "rows": rows})["scores"] == {}
    assert json.loads(asked.read_text()) == {"known": "gsm8k", "rows": rows}
    assert run_module("data_set", {"python": python, "known": "humaneval", "rows": rows})["failed"]


ITEMS = [
    {"id": f"main-{n}", "messages": [{"role": "user", "content": f"{n}?"}], "expect": "B", "choices": ["1", "2"], "tokens": 8}
    for n in range(300)
]  # fmt: skip


MMLU: Result = {"name": "mmlu", "known": "mmlu", "items": ITEMS, "tokens": 8, "margin": 1}
RULES = {"version": harness.VERSION, "sampling": harness.sampling_of(harness.GREEDY), "before": 0, "problem": ""}


def asker(module: Callable[[str, Result], Result]) -> asking.Asking:
    return asking.Asking(
        module, lambda line: None, {"serving_root": "/srv", "service": "demo"}, "python", "/copies", 100
    )


def scored(wrong: int) -> dict[str, Result]:
    """Answers as `asking.scored` gives them; evalscope's part is the first letter."""
    answers = {
        item["id"]: {"text": "A..." if n < wrong else "B...", "finish": "stop", "tokens": 3}
        for n, item in enumerate(ITEMS)
    }

    def module(name: str, args: Result) -> Result:
        assert (name, args["known"], set(args["rows"][0])) == ("data_set", "mmlu", {"id", "expect", "choices", "text"})
        rows = args["rows"]
        return {"scores": {r["id"]: {"read": r["text"][0], "right": r["text"][0] == r["expect"]} for r in rows}}

    return asker(module).scored(MMLU, answers)


@pytest.mark.parametrize(("wrong", "word"), [(0, "EQUIVALENT"), (40, "DIFFERENT")])
def test_answers_count_by_what_evalscope_reads_in_them(tmp_path: Path, wrong: int, word: str) -> None:
    record = sets.recorded(MMLU, {**RULES, "answers": scored(0)})
    about = {"model": {"name": "demo"}, "sampling": {"temperature": 0}, "scorer": "exact 1", "runs": 2}
    packs.write(tmp_path, about, [{"id": "one", "prompt": [1], "runs": [{"tokens": [2]}]}], [record])
    (kept,) = packs.read(tmp_path).sets
    assert kept["scorer"] == "evalscope 1.14.1 mmlu" and kept["items"][0]["choices"] == ["1", "2"]
    asked = {**RULES, "answers": scored(wrong)}
    (finding,) = sets.of_set(kept, asked, 0.02)
    assert finding.verdict == word, finding
    assert len(list(sets.side_by_side(kept, asked["answers"]))) == wrong
    (finding,) = sets.of_set({**kept, "scorer": "exact 1"}, asked, 0.02)
    assert finding.verdict == "INCOMPARABLE" and "by scorer exact 1, and evalscope 1.14.1 mmlu asks here" in finding.why


def test_an_answer_that_its_limit_cut_is_wrong_whatever_can_be_read_in_it() -> None:
    assert sets.right(ITEMS[0], {"text": "B", "finish": "stop", "right": True})
    assert not sets.right(ITEMS[0], {"text": "B", "finish": "length", "right": True})


def test_a_pack_that_says_not_what_was_right_is_refused(tmp_path: Path) -> None:
    about = {"model": {"name": "demo"}, "sampling": {"temperature": 0}, "scorer": "exact 1", "runs": 2}
    plain = {item["id"]: {"text": "B", "finish": "stop", "tokens": 1} for item in ITEMS}
    record = sets.recorded(MMLU, {**RULES, "answers": plain})
    packs.write(tmp_path, about, [{"id": "one", "prompt": [1], "runs": [{"tokens": [2]}]}], [record])
    with pytest.raises(packs.BadPack, match="a data set without name"):
        packs.read(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"known": "../../.ssh"},
        {"repeats": 0},
        {"repeats": True},
        {"temperature": 0},
        {"margin": 50},
        {"messages": []},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]},
        {"messages": [{"role": "user", "content": None}]},
        {"messages": ["?"]},
    ],
)
def test_a_pack_with_terms_that_cannot_be_is_refused(tmp_path: Path, change: Result) -> None:
    about = {"model": {"name": "demo"}, "sampling": {"temperature": 0}, "scorer": "exact 1", "runs": 2}
    record = sets.recorded(MMLU, {**RULES, "answers": scored(0)})
    if "messages" in change:
        change = {"items": [{**record["items"][0], **change}, *record["items"][1:]]}
    packs.write(tmp_path, about, [{"id": "one", "prompt": [1], "runs": [{"tokens": [2]}]}], [{**record, **change}])
    with pytest.raises(packs.BadPack, match="a data set without name"):
        packs.read(tmp_path)


def test_a_pack_by_another_harness_is_told_before_hours_of_asking() -> None:
    plugin = load("action_plugins/judge.py")
    record = {**sets.recorded(MMLU, {**RULES, "answers": scored(0)}), "harness": "evalscope 1.13.0"}

    class Judge:
        place: ClassVar = {"serving_root": "/srv", "service": "demo"}

        def of_host(self, name: str, args: Result) -> Result:
            assert name == "harness" and args["items"] == [], "nothing may be asked"
            return {**RULES, "answers": {}}

    pack = packs.Pack("p", "0", {}, [], None, (record,))
    (finding,), _ = plugin.ActionModule.of_sets(Judge(), pack, {"harness": "python", "sets_seconds": 1000})
    assert finding.verdict == "INCOMPARABLE" and "by harness evalscope 1.13.0" in finding.why


def test_a_harness_that_cannot_score_is_no_service_that_died(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = load("action_plugins/judge.py")
    record = sets.recorded(MMLU, {**RULES, "answers": scored(0)})
    answers = {item["id"]: {"text": "B", "finish": "stop", "tokens": 1} for item in ITEMS}

    class Judge:
        place: ClassVar = {"serving_root": "/srv", "service": "demo"}

        def of_host(self, name: str, args: Result) -> Result:
            if name == "data_set":
                raise plugin.AnsibleActionFail("the harness took longer than 600 s over data set 'mmlu'")
            return {**RULES, "answers": answers}

    pack = packs.Pack("p", "0", {}, [], None, (record,))
    (finding,), apart = plugin.ActionModule.of_sets(Judge(), pack, {"harness": "python", "sets_seconds": 1000})
    assert finding.verdict == "INCOMPARABLE" and "the harness took longer than 600 s" in finding.why and apart == []


def test_scores_come_in_turns_and_what_a_limit_cut_is_wrong_unread() -> None:
    items = [{"id": str(n), "expect": "2", "messages": []} for n in range(2500)]
    answers = {item["id"]: {"text": "2", "finish": "length" if item["id"] == "7" else "stop"} for item in items}
    turns = list[int]()

    def module(name: str, args: Result) -> Result:
        turns.append(len(args["rows"]))
        return {"scores": {row["id"]: {"read": "2", "right": True} for row in args["rows"]}}

    found = asker(module).scored({"known": "gsm8k", "items": items}, answers)
    assert turns == [1000, 1000, 499] and [key for key, one in found.items() if not one["right"]] == ["7"]
    assert set(found) == set(answers)


def test_nobody_is_called_where_nothing_was_answered() -> None:
    assert asker(lambda *_: pytest.fail("called")).scored(MMLU, {}) == {}
