"""Packs: whole or refused, whoever cut, changed, replaced or signed them; and the one that ships is what it says."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from conftest import DEMO, ROOT

from judging import canary, packs, recorded, rows, texts

ABOUT = {"model": {"name": "demo", "identity": "aa"}, "sampling": {"temperature": 0}, "scorer": "exact 1", "runs": 1}
ITEM = {"id": "1", "prompt": [1, 2], "runs": [{"tokens": [3], "text": "x", "finish": "stop"}]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    packs.write(tmp_path / "pack", ABOUT, [ITEM])
    return tmp_path / "pack"


def test_a_pack_is_read_as_it_was_written(folder: Path) -> None:
    found = packs.read(folder)
    assert found.items == [ITEM] and found.about["model"]["identity"] == "aa" and found.signed is None
    assert found.digest == packs.write(folder, ABOUT, [ITEM]), "the same content has the same digest"


def damage(folder: Path, how: str) -> None:
    items, about, manifest = (folder / name for name in (packs.ITEMS, packs.ABOUT, packs.MANIFEST))
    if how == "cut":
        items.write_bytes(items.read_bytes()[:-3])
    elif how == "changed":
        about.write_text(about.read_text().replace("aa", "bb"))
    elif how == "gone":
        items.unlink()
    elif how == "no manifest":
        manifest.unlink()
    elif how == "half a manifest":
        manifest.write_text(manifest.read_text()[:20])
    elif how == "another format":
        manifest.write_text(manifest.read_text().replace('"format": 1', '"format": 9'))
    elif how == "a path":
        manifest.write_text(json.dumps({"format": 1, "files": {"../about.json": "x", packs.ITEMS: "y"}}))
    else:
        text = {
            "no items": b"",
            "no JSON": b"{\n",
            "odd items": b'{"id": 5}\n',
            "a list": b"[1]\n",
            "NaN": b'{"id": "1", "prompt": [1], "runs": [NaN]}\n',
        }[how]
        items.write_bytes(gzip.compress(text))
        files = {path.name: packs.sha256(path.read_bytes()) for path in (items, about)}
        manifest.write_text(json.dumps({"format": 1, "files": files}))


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("cut", "it was changed or cut after it was made"), ("changed", "it was changed or cut"), ("gone", "can't be read"),
        ("no manifest", "a pack is made by playbooks/record_reference.yml"), ("half a manifest", "is no JSON"),
        ("another format", "is no manifest of format 1"), ("a path", "is no manifest of format 1"), ("no items", "has no items"),
        ("no JSON", "is no JSON"), ("NaN", "is no JSON"), ("odd items", "an item without id, prompt or runs"), ("a list", "has list where a mapping must be"),
    ],
)  # fmt: skip
def test_a_damaged_pack_is_refused(folder: Path, how: str, words: str) -> None:
    damage(folder, how)
    with pytest.raises(packs.BadPack, match=words):
        packs.read(folder)


def test_a_killed_recording_leaves_no_pack(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pack under way over an older one: the old manifest must not stand beside new items."""

    def killed(self: Path, target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        packs.write(folder, ABOUT, [ITEM, {**ITEM, "id": "2"}])
    with pytest.raises(packs.BadPack, match="can't be read"):
        packs.read(folder)


def test_items_that_would_fill_the_memory_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs, "LARGEST", 50)
    with pytest.raises(packs.BadPack, match="is cut, or has more than"):
        packs.read(folder)


def test_a_signature_is_of_somebody_who_may_and_of_this_manifest(folder: Path, tmp_path: Path) -> None:
    def keygen(*words: str) -> None:
        subprocess.run(["ssh-keygen", "-q", *words], check=True, capture_output=True, timeout=60)

    for name in ("mine", "other"):
        keygen("-t", "ed25519", "-N", "", "-f", str(tmp_path / name))
    signers = tmp_path / "signers"
    signers.write_text("lab@example " + (tmp_path / "mine.pub").read_text())
    with pytest.raises(packs.BadPack, match="is not signed, and reference_signers asks for a signature"):
        packs.read(folder, str(signers))
    keygen("-Y", "sign", "-n", packs.NAMESPACE, "-f", str(tmp_path / "mine"), str(folder / packs.MANIFEST))
    assert packs.read(folder, str(signers)).signed == "lab@example"
    with pytest.raises(packs.BadPack, match="no file of allowed signers"):
        packs.read(folder, str(tmp_path / "nobody"))

    good = shutil.copytree(folder, tmp_path / "copy")
    shutil.copy(folder / packs.SIGNATURE, good / "kept")
    packs.write(good, {**ABOUT, "runs": 2}, [ITEM])
    shutil.move(good / "kept", good / packs.SIGNATURE)
    with pytest.raises(packs.BadPack, match="the pack was changed after lab@example signed it"):
        packs.read(good, str(signers))
    (folder / packs.SIGNATURE).unlink()
    keygen("-Y", "sign", "-n", packs.NAMESPACE, "-f", str(tmp_path / "other"), str(folder / packs.MANIFEST))
    with pytest.raises(packs.BadPack, match="is of nobody in"):
        packs.read(folder, str(signers))


def test_the_pack_that_ships_is_of_the_demo_and_reads_as_its_questions() -> None:
    """Its prompts are what the demo's chat template makes of the questions, token by token."""
    pack = packs.read(ROOT / "references/demo-h100")
    found = json.loads((DEMO / "tokenizer.json").read_text())
    words = {token: word for word, token in found["model"]["vocab"].items()}
    words |= {token["id"]: token["content"] for token in found["added_tokens"]}

    def text(tokens: list[int]) -> str:
        return "".join(words[token] for token in tokens).replace("Ġ", " ").replace("Ċ", "\n")

    for item in pack.items:
        assert text(item["prompt"]) == f"<|im_start|>user\n{item['shown']}<|im_end|>\n<|im_start|>assistant\n"
        assert text(item["runs"][0]["tokens"]) == item["runs"][0]["text"] + "<|im_end|>"
        assert item["expect"] == str(sum(map(int, item["id"].split(" + "))))
    right = sum(canary.right(item, item["runs"][0]) for item in pack.items)
    assert len(pack.items) == 1997 and 0.97 < right / len(pack.items) < 0.985
    assert (
        len(rows.items_of(pack, "canary").items) == pack.about["canary"]
        and len(rows.items_of(pack, "full").items) == 1997
    )


def row(**more: Any) -> dict[str, Any]:
    return {
        "service": "demo",
        "reference": "demo-h100",
        "judge_level": "canary",
        "judge_required": False,
        "margins": {},
        **more,
    }


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"judge_level": "ful"}, "'judge_level' is 'ful'; use one of none, canary, full"),
        ({"margins": {"kld": 1}}, "margins: has 'kld'; use one of divergence, score, tie"),
        ({"margins": {"score": 0}}, "margins: score is 0, but must be a number above 0 and at most 10"),
        ({"margins": {"score": 50}}, "at most 10"),
        ({"margins": {"divergence": "0.1"}}, "margins: divergence is '0.1'"),
        ({"margins": {"tie": True}}, "margins: tie is True"),
        ({"reference": None, "judge_required": True}, "judge_required is true, but the row names no reference"),
        ({"judge_level": "none", "judge_required": True}, "but the row has judge_level none"),
    ],
)
def test_a_row_that_could_not_be_judged_is_refused(changes: dict[str, Any], words: str) -> None:
    assert list(rows.row_problems("service 'demo'", row())) == []
    [problem] = rows.row_problems("service 'demo'", row(**changes))
    assert words in problem


def test_questions_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "items.jsonl"
    path.write_text(
        '{"text": "1 + 1 =", "expect": "2"}\n\n{"id": "b", "messages": [{"role": "user", "content": "2 + 2?"}], "tokens": 4}\n'
    )
    assert [(one["id"], one["shown"], one["tokens"]) for one in recorded.questions(path)] == [
        ("line-1", "1 + 1 =", 512),
        ("b", "2 + 2?", 4),
    ]
    for line, words in (
        ("{", "line 1: no JSON"), ("{}", "needs either text or messages"), ('{"text": "x", "expect": 2}', "must be text; quote it"),
        ('{"id": "a", "text": "x"}\n{"id": "a", "text": "y"}', "'a' more than once"),
    ):  # fmt: skip
        path.write_text(line + "\n")
        with pytest.raises(ValueError, match=words):
            recorded.questions(path)
    with pytest.raises(ValueError, match="can't be read"):
        recorded.questions(tmp_path / "none")


def test_texts_of_a_seed_are_always_the_same_and_short_enough() -> None:
    assert texts.texts(0) == texts.texts(0) and texts.texts(1) != texts.texts(0)
    for item in texts.texts(0, 96):
        assert len((item.get("text") or item["messages"][0]["content"]).encode()) <= texts.BYTES
    with pytest.raises(ValueError, match="0 texts"):
        texts.texts(0, 0)


def test_a_plan_with_a_pack_that_cannot_be_used_is_refused(folder: Path) -> None:
    """Before anything is fetched; a service that isn't judged needs none."""
    at = str(folder.parent)
    assert list(rows.reference_problems(row(reference="pack"), at, "")) == []
    damage(folder, "cut")
    [problem] = rows.reference_problems(row(reference="pack"), at, "")
    assert problem.startswith("service 'demo': reference 'pack': ") and "it was changed or cut" in problem
    [problem] = rows.reference_problems(row(reference="pak"), at, "")
    assert "a pack is made by playbooks/record_reference.yml" in problem
    assert list(rows.reference_problems(row(reference="pack", judge_level="none"), at, "")) == []
    assert rows.folder_of(row(reference="/elsewhere/pack"), at) == "/elsewhere/pack"


def test_a_pack_does_not_widen_the_margins_beyond_meaning(folder: Path) -> None:
    packs.write(folder, {**ABOUT, "margins": {"divergence": 0.05}}, [ITEM])
    assert canary.margins_of(packs.read(folder), {"score": 3})["divergence"] == 0.05
    for margins in ({"divergence": 5}, {"tie": -1}, {"kld": 0.1}, {"score": "9"}):
        packs.write(folder, {**ABOUT, "margins": margins}, [ITEM])
        with pytest.raises(packs.BadPack, match="margins: "):
            packs.read(folder)
