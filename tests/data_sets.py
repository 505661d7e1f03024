"""Data sets by name through the real evalscope: made-up copies are read, asked and scored. Needs the harness's environment."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import os
import subprocess
import threading
from pathlib import Path
from typing import Any

from ansible.module_utils.serving.service import harness, harness_images, harness_program, harness_sets
from conftest import FIXTURES
from ports import free_port

from judging import sets

# What the first question says, and how many there are.
ASKED = {
    "gsm8k": ("Tom has 1 {red} apples and buys 1. How many?\nPlease reason step by step", 3),
    "math_500": ("Halve $3$.\nPlease reason step by step, and put your final answer within \\boxed{}.", 2),
    "mmlu": ("Which is 4?\n\nA) 0\nB) 4\nC) 8\nD) 9", 2),
    "aime24": ("Add 200 and 4.", 1),
    "gpqa_diamond": ("Which law?", 2),
    "ceval": ("的题目", 52),
    "mmmu": ("Which {line} of Accounting is in [image]?\n\nA) a\nB) b [image]\nC) c", 60),
    "math_vision": ("How many?\n<image1>\nPlease reason step by step", 2),
    "ocr_bench": ("[image]what is written in the image?", 2),
    "blink": ("(A) one\n(B) two[image][image]", 14),
    "mmmu_pro": ("What is [image]?\n\nA) choice 0", 30),
    "mmmu_pro_vision": ("Think step by step before answering.[image]", 30),
    "cmmmu": ("问题：看[image]\n选项：\n(A) 项1", 3),  # noqa: RUF001 - as it is asked for
}


def text_of(message: dict[str, Any]) -> str:
    parts = harness_images.parts_of(message)
    return "".join(part["text"] if part["type"] == "text" else "[image]" for part in parts)


def check(python: Path, base: Path) -> None:
    """Read and score each set with the environment of `python`, in one process; then one as module data_set does it."""
    words = [str(python), str(FIXTURES / "data_sets.py"), str(base), str(harness_program.__file__)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    for known, (question, count) in ASKED.items():
        items = found[known]["items"]
        assert len(items) == count == len({item["id"] for item in items}), known
        assert question in text_of(items[0]["messages"][-1]), items[0]
        assert found[known]["right"] == ["good"], known
        images = harness_program.images_of(items)
        assert {name.partition(".")[0] for name in found[known]["images"]} == {url[7:] for url in images}, known
        assert bool(images) == (known in harness_program.IMAGES)
    law = found["gpqa_diamond"]["items"][0]  # its choices are shuffled, alike each time
    assert law["choices"]["ABCD".index(law["expect"])] == "the third"
    assert found["examples"]["items"][0]["messages"][-1]["content"].count("ANSWER: B") == 5
    assert found["lots"]["right"] == [True] * 5 + [False] * 5 + [True] * 5 + [False] * 5  # nothing is right by chance
    for known, repeats in (("mmmu", 1), ("ocr_bench", 3)):
        with Oracle(found[known]["items"]) as oracle:
            ask(python, base, known, oracle, repeats)
    request = {"known": "gsm8k", "folder": str(base / "gsm8k"), "shots": 0}
    assert harness_sets.told(str(python), request, 200)["items"] == found["gsm8k"]["items"]


class Oracle(http.server.ThreadingHTTPServer):
    """A chat API that knows the answers, to questions whose images came whole."""

    def __init__(self, items: list[dict[str, Any]]) -> None:
        self.items, self.asked, self.unknown, self.seeds = items, list[str](), list[str](), set[Any]()
        self.of = {self.key(item["messages"]): item for item in items}
        super().__init__(("127.0.0.1", free_port()), Handler)

    def key(self, messages: list[dict[str, Any]]) -> str:
        """A question with the digests of its images."""
        found = []
        for part in harness_images.parts_of(messages[-1]):
            url = part["text"] if part["type"] == "text" else part["image_url"]["url"]
            if url.startswith("data:image/"):
                url = "sha256:" + hashlib.sha256(base64.b64decode(url.partition(",")[2])).hexdigest()
            found.append(url)
        return json.dumps(found)

    def __enter__(self) -> Oracle:
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    server: Oracle

    def log_message(self, *words: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.seeds.add((body["temperature"], body.get("seed")))
        item = self.server.of.get(self.server.key(body["messages"]))
        if item is None:
            self.server.unknown.append(str(body)[:500])
            text = "?"
        else:
            self.server.asked.append(item["id"])
            text = json.loads(item["expect"])[0] if item["expect"].startswith("[") else f"ANSWER: {item['expect']}"
            text = f"<think>\nANSWER: A?\n</think>\n\n{text}"
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        answer = {
            "id": "1",
            "object": "chat.completion",
            "created": 1,
            "model": "m",
            "choices": [choice],
            "usage": usage,
        }
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def ask(python: Path, base: Path, known: str, oracle: Oracle, repeats: int) -> None:
    """Ask a set with images as module harness does it, from the copy alone; every question must come with its images, and be right."""
    one = {"items": oracle.items, "repeats": repeats, "temperature": 0.6}
    work, items = str(base / "work" / known), sets.repeated(one)
    os.makedirs(work)
    copy = {"known": known, "shots": 0, "folder": str(base / known), "source": ""}
    assert harness_images.bring(work, items, copy, str(python), 100) == ""
    generation = {**harness.sampling_of(sets.sampling(one)), "max_tokens": 16, "timeout": 30}
    endpoint = f"http://127.0.0.1:{oracle.server_port}"
    settings = harness.prepare(work, known, "m", endpoint, items, generation, 8)
    lock = os.open(os.devnull, os.O_RDONLY)
    assert harness.run(str(python), settings, work, None, 100, lock) == ""
    os.close(lock)
    asked = sorted(item["id"] for item in oracle.items for _ in range(repeats))
    assert not oracle.unknown and sorted(oracle.asked) == asked, oracle.unknown[:1]
    assert oracle.seeds == {(0.0, 0) if repeats == 1 else (0.6, None)}
    answers = harness.read(harness.answers_file(work, "m", known), items)
    assert all(answer["text"].startswith("<think>") for answer in answers.values()), next(iter(answers.values()))
    rows = [{**item, "text": answers[item["id"]]["text"]} for item in items]
    scores = harness_sets.told(str(python), {"known": known, "rows": rows}, 100)["scores"]
    assert all(score["right"] for score in scores.values()), scores
