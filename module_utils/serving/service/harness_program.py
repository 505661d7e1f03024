"""Data sets that evalscope knows by name: their questions with its own prompts, and what it reads out of answers. Runs in the harness's environment.

Called as `python -c SOURCE REQUEST RESULT`, two JSON files. REQUEST has `known` and `shots`, and either `folder`, a copy of the data set as its hub
publishes it, or `rows`, {id, expect, choices, about, text} to score. evalscope's own loader is not used: it needs a README that describes every file
of the repository, asks a hub for what it misses, and deletes files of the folder. Its prompts, extractors and comparisons are.

Images stand in questions as `sha256:DIGEST` of their bytes. Where REQUEST has `images`, each is written into that folder, DIGEST.ENDING.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import importlib
import json
import os
import re
import sys
from functools import partial
from pathlib import Path
from typing import Any

# Of the table of data sets, those that evalscope has: nothing else of it is started here, some of which runs what a model writes. For each, what
# evalscope's comparison needs of a question beyond its expected answer.
KNOWN: dict[str, tuple[str, ...]] = {
    "gsm8k": (),
    "mmlu": (),
    "ceval": (),
    "aime24": (),
    "gpqa_diamond": (),
    "math_500": (),
    "mmmu": ("question_type",),
    "math_vision": ("question_type",),
    "ocr_bench": ("dataset",),
    "blink": (),
    "mmmu_pro": (),
    "mmmu_pro_vision": (),
    "cmmmu": ("type", "answer", "option1", "option2", "option3", "option4"),
}
IMAGES = ("mmmu", "math_vision", "ocr_bench", "blink", "mmmu_pro", "mmmu_pro_vision", "cmmmu")
# evalscope's name and settings where they aren't the table's: MMMU-Pro is published with ten choices, and as images of whole questions.
FORMS = {
    "mmmu_pro": ("mmmu_pro", {"dataset_format": "standard (10 options)"}),
    "mmmu_pro_vision": ("mmmu_pro", {"dataset_format": "vision"}),
}
ENDINGS = (".parquet", ".jsonl", ".csv")
WHOLE = ("default", "main", "all")  # evalscope's words for a set that is not split into subjects


class Unreadable(Exception):
    """Why a folder is no copy of the data set: one sentence."""


def adapter(known: str, shots: int) -> Any:
    """evalscope's object for a data set, with its settings said. What a model thinks aloud is no part of its answer."""
    if known not in KNOWN:
        raise Unreadable("data set '%s' is none of %s" % (known, ", ".join(KNOWN)))
    name, form = FORMS.get(known, (known, {}))
    settings = {
        "few_shot_num": shots,
        "few_shot_random": False,
        "shuffle": False,
        "filters": {"remove_until": "</think>"},
        **({"extra_params": form} if form else {}),
    }
    config = importlib.import_module("evalscope").TaskConfig(
        model="none", eval_type="openai_api", api_url="http://127.0.0.1:9/v1", datasets=[name], dataset_args={name: settings}, seed=0,
        no_timestamp=True,
    )  # fmt: skip
    if known == "cmmmu":
        # it guesses where it reads no answer
        setattr(importlib.import_module("evalscope.benchmarks.cmmmu.utils"), "random", NoLot)  # noqa: B010
    return importlib.import_module("evalscope.api.registry").get_benchmark(name, config)


class NoLot:
    """Stands where evalscope draws lots: what it can't read is wrong, on both sides and each time."""

    @staticmethod
    def choice(_: Any) -> str:
        return ""


def names(known: str, subset: str, split: str) -> list[str]:
    """How hubs and authors call the files of a subset, without their ending; the first that is there counts."""
    found = [
        "%s/%s-*" % (subset, split),
        "%s/%s" % (subset, split),
        "%s/%s_%s" % (split, subset, split),
        "%s/%s" % (split, subset),
        "%s_%s" % (subset, split),
        "%s/*-%s" % (subset, split),
    ]
    if subset in WHOLE:
        found += ["%s-*" % split, split, known]
    return found + ["data/" + name for name in found]


def files(folder: Path, known: str, subset: str, split: str) -> list[Path]:
    """The files of a subset, all of its shards. Raises Unreadable where there is none, or where a shard is missing."""
    for name in names(known, subset, split):
        for ending in ENDINGS:
            found = sorted(folder.glob(name + ending))
            if not found:
                continue
            shard = re.search(r"-(\d+)-of-(\d+)(-[0-9a-f]+)?$", found[0].stem)
            if shard and len(found) != int(shard.group(2)):
                raise Unreadable(
                    "%s has %d of %d shards of %s; copy all of them" % (folder, len(found), int(shard.group(2)), split)
                )
            return found
    looked = " or ".join(name + ".parquet" for name in names(known, subset, split)[:3])
    raise Unreadable(
        "%s has no split '%s' of '%s' (such as %s, .jsonl or .csv); copy the data set's repository as it is" % (folder, split, subset, looked)
    )  # fmt: skip


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The rows of a file."""
    try:
        if path.suffix == ".parquet":
            with path.open("rb") as source:
                if source.read(4) != b"PAR1":
                    raise Unreadable(
                        "%s is no parquet file but perhaps the pointer of one (git lfs pull fetches it)" % path
                    )
            rows: list[dict[str, Any]] = (
                importlib.import_module("pyarrow.parquet").ParquetFile(str(path)).read().to_pylist()
            )
            return rows
        with path.open(encoding="utf-8-sig", newline="") as source:
            if path.suffix == ".csv":
                return [dict(row) for row in csv.DictReader(source)]
            return [json.loads(line) for line in source if line.strip()]
    except (OSError, ValueError) as error:
        raise Unreadable("%s can't be read: %s" % (path, error)) from None


class Loader:
    """Stands where evalscope puts its own loaders, and reads the files of a folder."""

    def __init__(self, folder: str, known: str, **given: Any) -> None:
        self.folder, self.known, self.given = Path(folder), known, given

    def load(self) -> Any:
        left = {key: value for key, value in self.given.items() if key not in ("data_id_or_path", "split", "subset")}
        found = files(self.folder, self.known, self.given["subset"], str(self.given["split"]))
        rows = [row for path in found for row in rows_of(path)]
        try:
            return importlib.import_module("evalscope.api.dataset.loader").DictDataLoader(rows, **left).load()
        except KeyError as error:
            raise Unreadable(
                "%s has no column %s, which %s has as it is published" % (found[0], error, self.known)
            ) from None
        except (AttributeError, SyntaxError, TypeError, ValueError) as error:
            raise Unreadable(
                "%s has a row that is not as %s is published: %s" % (found[0], self.known, error)
            ) from None


def ending(data: bytes) -> str:
    """The ending of an image's file, by its first bytes: what a table says of its images is not always so. Empty: no image that engines read."""
    for start, name in (
        (b"\x89PNG", "png"),
        (b"\xff\xd8\xff", "jpeg"),
        (b"GIF8", "gif"),
        (b"BM", "bmp"),
        (b"II*", "tiff"),
        (b"MM\0*", "tiff"),
    ):
        if data.startswith(start):
            return name
    return "webp" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else ""


def image_of(text: str, where: str, images: str | None) -> str:
    """`sha256:DIGEST` of an image that evalscope has as a data URL; written into the folder `images` if that is given."""
    head, comma, body = text.partition(",")
    if not (comma and head.startswith("data:") and head.endswith(";base64")):
        raise Unreadable(
            "%s names an image by %s, and not by its bytes; copy the data set with its images" % (where, text[:60])
        )
    data = base64.b64decode(body)
    kind, digest = ending(data), hashlib.sha256(data).hexdigest()
    if not kind:
        raise Unreadable(
            "%s has an image that is none (%d bytes, %r...); copy the data set anew" % (where, len(data), data[:8])
        )
    if images:
        path = os.path.join(images, "%s.%s" % (digest, kind))
        if not os.path.exists(path):
            with open(path + ".part", "wb") as target:
                target.write(data)
            os.replace(path + ".part", path)
    return "sha256:" + digest


def content_of(content: Any, where: str, images: str | None) -> Any:
    """A message's content in OpenAI's form: a text, or parts of which images are named by their digest."""
    if isinstance(content, str):
        return content
    parts: list[dict[str, Any]] = []
    for part in content:
        if part.type == "text":
            parts.append({"type": "text", "text": part.text})
        elif part.type == "image":
            parts.append({"type": "image_url", "image_url": {"url": image_of(part.image, where, images)}})
        else:
            raise Unreadable("%s has %s, and only texts and images are asked" % (where, part.type))
    return parts


def questions(known: str, shots: int, folder: str, images: str | None = None) -> list[dict[str, Any]]:
    """The items: {id, messages, expect, choices, about}; choices are missing where an answer is no letter, about where nothing of it is needed."""
    one = adapter(known, shots)
    loader = partial(Loader, folder, known)
    if shots and one.few_shot_mode == "auto" and not one.train_split:
        raise Unreadable("data set %s has no worked examples; set its shots to 0" % known)

    def load() -> Any:
        examples = None
        if shots and one.few_shot_mode == "auto":
            examples = one.load_subsets(partial(one.load_fewshot_subset, data_loader=loader), is_fewshot=True)
        return one.load_subsets(partial(one.load_subset, data_loader=loader)), examples

    one.load = load
    found = []
    for subset, samples in one.load_dataset().items():
        for number, sample in enumerate(samples):
            where = "question %d of '%s'" % (number + 1, subset)
            row = {
                "id": "%s-%d" % (subset, number),
                "messages": [{"role": m.role, "content": content_of(m.content, where, images)} for m in sample.input],
                "expect": str(sample.target),
            }
            if sample.choices:
                row["choices"] = list(sample.choices)
            about = {key: (sample.metadata or {}).get(key) for key in KNOWN[known]}
            found.append({**row, "about": about} if about else row)
    if not found:
        raise Unreadable("%s has no question of data set %s" % (folder, known))
    blind = sum(not images_of([item]) for item in found) if known in IMAGES else 0
    if blind > 0.01 * len(found):
        raise Unreadable(
            "%d of %d questions in %s have no image, and all of %s have one" % (blind, len(found), folder, known)
        )
    return found


def images_of(items: list[dict[str, Any]]) -> set[str]:
    """`sha256:DIGEST` of every image that questions name so."""
    parts = [
        part for item in items for m in item["messages"] if isinstance(m["content"], list) for part in m["content"]
    ]
    urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    return {url for url in urls if url.startswith("sha256:")}


def scores(known: str, rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """{item: {read, right}}: what evalscope reads out of an answer, and whether that is the expected one. What it can't compare is wrong.

    evalscope gives each formula 30 s in a process of its own.
    """
    one = adapter(known, 0)
    state = importlib.import_module("evalscope.api.evaluator").TaskState
    sample = importlib.import_module("evalscope.api.dataset").Sample
    output = importlib.import_module("evalscope.api.model").ModelOutput
    found = {}
    for row in rows:
        asked = sample(
            input="", target=row["expect"], choices=row.get("choices"), metadata=dict(row.get("about") or {})
        )
        answer = state(model="none", sample=asked, output=output.from_content("none", row["text"]), completed=True)
        read, right = "", False
        try:
            read = str(one.filter_prediction(row["text"], answer))
            right = float(one.match_score(row["text"], read, row["expect"], answer).main_value or 0) == 1.0
        except Exception as error:  # a formula on which a parser stumbles is no answer, on either side
            sys.stderr.write("%s: %s\n" % (row["id"], error))
        found[row["id"]] = {"read": read[:200], "right": right}
    return found


def main() -> None:
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    result: dict[str, Any]
    try:
        if "folder" in request:
            given = (request["known"], request["shots"], request["folder"], request.get("images"))
            result = {"items": questions(*given)}
        else:
            result = {"scores": scores(request["known"], request["rows"])}
    except Unreadable as problem:
        result = {"problem": str(problem)}
    Path(sys.argv[2]).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
