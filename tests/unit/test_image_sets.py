"""Data sets whose questions have images: the pack names them by digest, the host's copy has them, and the service gets their bytes."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.serving.service import harness, harness_images, harness_program
from test_harness import Result, Run, Service, asking_of

from judging import sets

IMAGES = [b"\x89PNG\r\n\x1a\n" + bytes([n]) for n in range(20)]
DIGESTS = [hashlib.sha256(data).hexdigest() for data in IMAGES]


def question(number: int) -> Result:
    """How many is in the image? Every question has two, of which the second is the same."""
    content = [
        {"type": "text", "text": f"What is in {number}?"},
        {"type": "image_url", "image_url": {"url": f"sha256:{DIGESTS[number]}"}},
        {"type": "image_url", "image_url": {"url": f"sha256:{DIGESTS[0]}"}},
    ]
    return {"id": f"q-{number}", "messages": [{"role": "user", "content": content}], "expect": str(number)}


ITEMS = [question(number) for number in range(len(IMAGES))]
SOURCE = "* of ModelScope's AI-ModelScope/MMMU (licence Apache-2.0) into the folder mmmu below datasets_root"


class Seeing(Service):
    """Answers what is in the first image, if the bytes came."""

    def answer(self, messages: list[Result]) -> str:
        urls = [part["image_url"]["url"] for part in messages[-1]["content"] if part["type"] == "image_url"]
        assert len(urls) == 2 and all(url.startswith("data:image/png;base64,") for url in urls)
        data = [base64.b64decode(url.partition(",")[2]) for url in urls]
        assert data[1] == IMAGES[0]
        return str(IMAGES.index(data[0]))

    def copy(self, count: int = len(IMAGES)) -> Result:
        """A copy of the data set, and a harness that takes its images out of it."""
        folder = self.root / "copies/mmmu"
        folder.mkdir(parents=True)
        for data, digest in list(zip(IMAGES, DIGESTS, strict=True))[:count]:
            (folder / f"{digest}.png").write_bytes(data)
        program = (
            "import json, shutil, sys; given = json.load(open(sys.argv[1])); "
            "shutil.copytree(given['folder'], given['images'], dirs_exist_ok=True); open(sys.argv[2], 'w').write('{}')"
        )
        text = self.python.read_text().splitlines()
        words = f'if [ $# -eq 4 ]; then exec python3 -c "{program}" "$3" "$4"; fi'
        self.python.write_text("\n".join([text[0], words, *text[1:]]) + "\n")
        return {"known": "mmmu", "shots": 0, "folder": str(folder), "source": SOURCE}

    def args(self, **more: Any) -> Result:
        return super().args(**{"items": ITEMS, "set": "mmmu", **more})


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Seeing]:
    yield from Seeing(tmp_path).until_its_end()


def test_the_service_gets_the_bytes_of_every_image(service: Seeing, run_module: Run) -> None:
    given = service.args(copy=service.copy())
    found = run_module("harness", given)
    assert found["problem"] == "" and len(service.asked) == len(ITEMS), found
    assert {key: answer["text"] for key, answer in found["answers"].items()} == {
        item["id"]: item["expect"] for item in ITEMS
    }
    again = run_module("harness", given)
    assert again["before"] == len(ITEMS) and len(service.asked) == len(ITEMS)
    # What is kept has paths and no bytes, and once the verdict is made the images go.
    kept = next((service.root / "services").rglob("predictions/*/*.jsonl")).read_text()
    assert "base64" not in kept and DIGESTS[3] in kept
    run_module("harness", {**given, "ended": True})
    assert not list((service.root / "services").rglob("*.png"))


def test_without_a_copy_it_says_what_to_put_where(service: Seeing, run_module: Run) -> None:
    copy = {"known": "mmmu", "shots": 0, "folder": "/no/such/mmmu", "source": SOURCE}
    found = run_module("harness", service.args(copy=copy))
    assert found["problem"] == (
        f"its questions have images, and this host has no copy of them (/no/such/mmmu); put {SOURCE} on the controller"
    )
    assert not service.asked
    assert "record it anew" in run_module("harness", service.args())["problem"]


def test_a_copy_of_another_revision_is_not_asked(service: Seeing, run_module: Run) -> None:
    found = run_module("harness", service.args(copy=service.copy(count=18)))
    assert "2 of its 20 images are not in the copy in" in found["problem"] and not service.asked


def test_an_image_that_was_changed_on_the_host_is_taken_anew(service: Seeing, run_module: Run) -> None:
    copy = service.copy()
    release = str((service.root / "services/demo/current").readlink()).rpartition("/")[2]
    work = harness.place(str(service.root / "services/demo"), release, "mmmu", ITEMS, 16, harness.GREEDY)
    images = Path(harness_images.folder_of(work))
    images.mkdir(parents=True)
    (images / f"{DIGESTS[4]}.png").write_bytes(IMAGES[5])
    (images / f"{DIGESTS[6]}.png.part").write_bytes(IMAGES[6][:3])
    found = run_module("harness", service.args(copy=copy))
    assert found["answers"]["q-4"]["text"] == "4" and found["answers"]["q-6"]["text"] == "6", found


def test_questions_of_ones_own_may_bring_their_images(service: Seeing, run_module: Run, tmp_path: Path) -> None:
    """As data URLs in the file of questions: then the pack has them."""
    rows = []
    for number, item in enumerate(ITEMS):
        text = item["messages"][0]["content"][0]
        urls = [f"data:image/png;base64,{base64.b64encode(data).decode()}" for data in (IMAGES[number], IMAGES[0])]
        content = [text, *({"type": "image_url", "image_url": {"url": url}} for url in urls)]
        rows.append({"id": item["id"], "messages": [{"role": "user", "content": content}], "expect": item["expect"]})
    path = tmp_path / "own.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = run_module("harness", service.args(set="own", items=sets.questions(path)))
    assert found["problem"] == "" and found["answers"]["q-7"]["text"] == "7", found
    path.write_text(json.dumps({**rows[0], "messages": ITEMS[0]["messages"]}) + "\n")
    with pytest.raises(ValueError, match=r"item 'q-0' has the image 'sha256:.*; write its bytes, as in data:image/png"):
        sets.questions(path)


def test_a_pack_says_where_its_images_come_from_and_shows_questions_as_text() -> None:
    one: Result = {
        "name": "mmmu", "known": "mmmu", "title": "MMMU", "shots": 0, "source": SOURCE, "items": ITEMS, "tokens": 16, "margin": 2, "repeats": 1,
    }  # fmt: skip
    answers = {item["id"]: {"text": "1", "finish": "stop", "right": True, "read": "1"} for item in ITEMS}
    said = {"answers": answers, "version": harness.VERSION, "sampling": harness.sampling_of(harness.GREEDY)}
    kept = sets.recorded(one, said)
    (given,) = [asking_of(lambda name, args: {}, []).request(kept, kept["items"])]
    assert given["copy"] == {"known": "mmmu", "shots": 0, "folder": "/copies/mmmu", "source": SOURCE}
    wrong = {**answers, "q-3": {"text": "no", "finish": "stop", "right": False, "read": ""}}
    (apart,) = sets.side_by_side(kept, wrong)
    assert apart["asked"] == "What is in 3? [image]  [image] "


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("images/1.jpg", "question 1 names an image by images/1.jpg, and not by its bytes"),
        ("data:image/png;base64,PGh0bWw+", "question 1 has an image that is none (6 bytes, b'<html>'...)"),
    ],
)
def test_an_image_that_is_none_is_refused(url: str, says: str) -> None:
    with pytest.raises(harness_program.Unreadable) as refused:
        harness_program.image_of(url, "question 1", None)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\x89PNG", "png"),
        (b"\xff\xd8\xff\xe0", "jpeg"),
        (b"GIF89a", "gif"),
        (b"BM__", "bmp"),
        (b"II*\0", "tiff"),
        (b"MM\0*", "tiff"),
        (b"RIFF____WEBP", "webp"),
        (b"RIFF____WAVE", ""),
        (b"", ""),
    ],
)
def test_an_image_is_what_its_bytes_say(data: bytes, kind: str) -> None:
    assert harness_program.ending(data) == kind
