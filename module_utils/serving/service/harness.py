"""Ask a running service a data set through evalscope, and read the raw answers that it keeps. What was asked once is not asked again.

The harness runs in an environment of its own beside the endpoint. It writes every answer to a file as it comes and reads that file when it starts,
so a harness, a playbook or an endpoint may be killed at any moment. Its own scores are left where they are: both sides are scored by ours.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from typing import Any, Iterator

from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.files import digest, remove_tree, write_json
from ansible.module_utils.serving.service import harness_images
from ansible.module_utils.serving.service.harness_sets import OFFLINE

VERSION = "evalscope 1.14.1"
KIND = "general_qa"  # questions of one's own with their answer, a JSON line each
KEY = "EVALSCOPE_API_KEY"  # the harness reads it, so the key is in no file and no command line
GREEDY = {"temperature": 0.0, "top_p": 1.0}
# Every field is sent: what is left out comes from the engine's defaults or the model's generation_config.json.
SAMPLING = {
    "n": 1, "presence_penalty": 0.0, "frequency_penalty": 0.0, "stream": False,
    "extra_body": {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0},
}  # fmt: skip
PROGRAM = (
    "import json, sys; from evalscope import TaskConfig, run_task; run_task(TaskConfig(**json.load(open(sys.argv[1]))))"
)
# The harness's words for ours. The second is that a question doesn't fit; its "answer" is then what the service said about that.
ENDS = {"max_tokens": "length", "model_length": "length"}
FAILED = re.compile(r"Processing item in subset=\S+ failed: (.*)")
GRACE = 10  # seconds of a harness beyond its limit


def sampling_of(given: dict[str, float]) -> dict[str, Any]:
    """All sampling fields. Drawn answers get no seed: with one the repeats of a question would be one answer, over and over."""
    return {**SAMPLING, **given, **({} if given["temperature"] else {"seed": 0})}


def place(folder: str, release: str, name: str, items: list[dict[str, Any]], tokens: int, sampling: dict[str, float]) -> str:  # fmt: skip
    """The folder of one set's answers. Another release, other items or other settings have one of their own."""
    asked = [[item["id"], item["messages"]] for item in items]
    terms = [name, asked, tokens, sampling_of(sampling), VERSION]
    return os.path.join(folder, "harness", release, str(digest(terms))[:16])


def set_aside(work: str) -> None:
    """Keep the answers of a run that came to its end, in the place of those of the one before it; the next one asks anew."""
    if os.path.isdir(work):
        for name in ("cache", "data", "images"):  # what can be had again
            remove_tree(os.path.join(work, name))
        remove_tree(work + ".before")
        os.rename(work, work + ".before")


def clear(folder: str) -> None:
    """Remove the answers of releases that are gone."""
    place = os.path.join(folder, "harness")
    for name in os.listdir(place):
        if os.path.isdir(os.path.join(place, name)) and not os.path.isdir(os.path.join(folder, "releases", name)):
            remove_tree(os.path.join(place, name))


def prepare(
    work: str, name: str, served: str, endpoint: str, items: list[dict[str, Any]], generation: dict[str, Any], load: int
) -> str:
    """Write the data set and the harness's settings; the path of the latter. `generation`: sampling, max_tokens, timeout."""
    data = os.path.join(work, "data")
    os.makedirs(data, mode=0o700, exist_ok=True)
    images = harness_images.files(work)
    with open(os.path.join(data, name + ".jsonl"), "w", encoding="utf-8") as target:
        for item in items:
            messages = [harness_images.for_harness(message, images) for message in item["messages"]]
            target.write(json.dumps({"messages": messages, "answer": item["expect"]}) + "\n")
    settings = {
        "model": served, "api_key": "", "api_url": endpoint.replace("0.0.0.0", "127.0.0.1") + "/v1", "eval_type": "openai_api", "datasets": [KIND],  # noqa: S104
        "dataset_args": {KIND: {"local_path": data, "subset_list": [name], "metric_list": ["Rouge"], "prompt_template": "{question}"}},
        "generation_config": {**generation, "retries": 3}, "eval_batch_size": load,
        "work_dir": work, "use_cache": work, "no_timestamp": True, "rerun_review": True, "seed": 0,
        "ignore_errors": True,  # one question that is refused must not end the others; what has no answer is counted by us
    }  # fmt: skip
    path = os.path.join(work, "settings.json")
    write_json(path, settings)
    return path


def answers_file(work: str, served: str, name: str) -> str:
    return os.path.join(work, "predictions", served, "%s_%s.jsonl" % (KIND, name))


def rows_of(path: str) -> Iterator[dict[str, Any]]:
    """The lines that are whole: a kill cuts the last one."""
    try:
        with open(path, encoding="utf-8", errors="replace") as source:
            for line in source:
                try:
                    row = json.loads(line)
                except ValueError:
                    continue
                if isinstance(row, dict):
                    yield row
    except FileNotFoundError:
        return


def text_of(content: Any) -> str | None:
    """An answer as it was said: evalscope takes what a model thinks aloud out of it, and a refusal, and keeps them as parts."""
    if not isinstance(content, list):
        return content if isinstance(content, str) else None
    found = ""
    for part in content:
        found += "<think>%s</think>\n" % part["reasoning"] if part["type"] == "reasoning" else part.get("text", "")
    return found


def read(path: str, items: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """{item: {text, finish, tokens}}. The harness names a line by its number; the question in it must be that item's."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows_of(path):
        try:
            item, choice = items[int(row["index"])], row["model_output"]["choices"][0]
            asked = [harness_images.as_asked(one) for one in row["messages"][: len(item["messages"])]]
            usage = row["model_output"].get("usage") or {}
            text = text_of(choice["message"]["content"])
        except (KeyError, IndexError, TypeError, ValueError):
            continue
        if asked != [harness_images.as_asked(one) for one in item["messages"]]:
            raise Refusal(
                "%s has an answer to another question than item '%s'; remove its folder and ask again"
                % (path, item["id"])
            )
        if row["model_output"].get("error") or not isinstance(text, str):
            continue
        stop = choice.get("stop_reason")
        found[item["id"]] = {"text": text, "finish": ENDS.get(stop, stop), "tokens": usage.get("output_tokens")}
    return found


def run(python: str, settings: str, work: str, key: str | None, seconds: int, lock: int) -> str:
    """Run the harness for at most `seconds`; its last words where it or a request failed, nothing where it came to its end or to its limit.

    `lock`: a descriptor that it inherits: while it lives, no other one asks the same.
    """
    environment = {
        **os.environ,
        **OFFLINE,
        KEY: key or "none",
        "HOME": work,
        "XDG_CACHE_HOME": os.path.join(work, "cache"),
    }
    log = os.path.join(work, "harness.log")
    with open(log, "wb") as out:
        try:
            done = subprocess.run(
                ["timeout", "-k", "5", str(seconds), python, "-c", PROGRAM, settings],
                cwd=work, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, pass_fds=(lock,),
                timeout=seconds + GRACE, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            return "the harness did not run: %s" % error
    with open(log, encoding="utf-8", errors="replace") as source:
        lines = [line.strip() for line in source if line.strip()]
    failed = [found.group(1) for found in map(FAILED.search, lines) if found]
    if failed:
        return "%d requests failed, the last with: %s" % (len(failed), failed[-1][:300])
    if done.returncode in (0, 124):
        return ""
    return "the harness ended with code %d: %s" % (done.returncode, " ".join(lines[-1:])[-300:])
