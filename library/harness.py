#!/usr/bin/python
"""Module harness: what a running service answers to a data set, asked by evalscope."""

from __future__ import annotations

DOCUMENTATION = r"""
module: harness
short_description: Ask a running service a data set through evalscope
description:
  - Runs the harness of O(python) against the service on its own host, offline, with every sampling field sent.
  - Each answer is kept as it comes. A run that was killed, or that came to O(seconds), goes on where it was, and no item is asked twice.
  - Where other requests run or wait as it begins, such as those of a load test, it asks nothing and says so.
  - Answers come back raw. They stay below the service's folder for their release; a later call removes those of releases that are gone.
options:
  serving_root: {description: Folder of everything that serves., type: path, required: true}
  service: {description: Name of the service., type: str, required: true}
  python: {description: Interpreter of the harness's environment., type: path, required: true}
  set: {description: Name of the data set., type: str, required: true}
  items: {description: "Its questions: {id, messages, expect}.", type: list, elements: dict, required: true}
  longest: {description: Tokens that an answer may have., type: int, default: 512}
  load: {description: Requests at once., type: int, default: 32}
  timeout: {description: Seconds of one request., type: int, default: 600}
  sampling: {description: "{temperature, top_p}; the default decodes greedily.", type: dict, default: {temperature: 0.0, top_p: 1.0}}
  copy:
    description:
      - "Where images come from that questions name as C(sha256:DIGEST): {known, shots, folder, source}. C(folder) is a copy of the data set on this host,
        C(source) what to put where if there is none."
    type: dict
    default: {}
  ended: {description: "Ask nothing: keep what was answered beside, so that the next call asks anew.", type: bool, default: false}
  seconds: {description: "When it ends, whatever is left; the next call goes on.", type: int, default: 600}
attributes:
  check_mode: {support: full, details: Asks nothing.}
  diff_mode: {support: none}
"""
EXAMPLES = r"""
- name: Ask two sums
  harness:
    serving_root: /srv/vllm
    service: demo
    python: /srv/vllm/harness/bin/python
    set: sums
    items:
      - {id: one, messages: [{role: user, content: "What is 1 + 1?"}], expect: "2"}
      - {id: two, messages: [{role: user, content: "What is 2 + 2?"}], expect: "4"}
"""
RETURN = r"""
answers: {description: "{item: {text, finish, tokens}} of all items that have an answer by now.", returned: success, type: dict}
before: {description: How many of them an earlier call had asked., returned: success, type: int}
sampling: {description: All sampling fields that are sent., returned: success, type: dict}
problem: {description: "Why not all of them have one: last words of a harness that failed, or why it did not begin.", returned: success, type: str}
release: {description: The release that was asked., returned: success, type: str}
version: {description: Name and version of the harness., returned: success, type: str}
"""

import os
import re
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import Refusal, run_module
from ansible.module_utils.serving.files import locked
from ansible.module_utils.serving.service import bench, harness, harness_images, releases
from ansible.module_utils.serving.service.exchange import Exchange, NotYet


def others(spec: dict[str, Any], key: str | None) -> int:
    """Requests that run or wait now. An engine that counts none has none."""
    try:
        with Exchange(str(spec["endpoint"]), "GET", "/metrics", key, None, 10.0) as exchange:
            text = bytes(exchange.body()).decode("utf-8", "replace") if exchange.status == 200 else ""
    except NotYet as problem:
        raise Refusal("service '%s' can't be asked: %s" % (spec["service"], problem)) from None
    return int(bench.load_of(text)[0] or 0)


def body(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    root, name = given["serving_root"], given["service"]
    spec = releases.current_spec(root, name)
    if spec is None:
        raise Refusal("service '%s' is not deployed on this host; run deploy.yml" % name)
    if not re.match(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z", given["set"]):
        raise Refusal(
            "data set '%s' has a name that is no file's; use letters, digits, '.', '_' and '-'" % given["set"]
        )
    folder = releases.service_dir(root, name)
    release = releases.link_digest(folder, "current")
    sampling = {key: float(given["sampling"][key]) for key in harness.GREEDY}
    work = harness.place(folder, str(release), given["set"], given["items"], given["longest"], sampling)
    generation = {**harness.sampling_of(sampling), "max_tokens": given["longest"], "timeout": given["timeout"]}
    result: dict[str, Any] = {
        "changed": False, "answers": {}, "before": 0, "problem": "", "release": release, "version": harness.VERSION,
        "sampling": harness.sampling_of(sampling),
    }  # fmt: skip
    if module.check_mode:
        return result
    key = releases.read_key(folder)
    os.makedirs(os.path.join(folder, "harness"), mode=0o700, exist_ok=True)
    path = harness.answers_file(work, spec["served_name"], given["set"])
    with locked(
        os.path.join(folder, "harness", "lock"), "the data set of service '%s'" % name, given["seconds"]
    ) as lock:
        harness.clear(folder)
        if given["ended"]:
            harness.set_aside(work)
            return result
        result["answers"] = harness.read(path, given["items"])
        result["before"] = len(result["answers"])
        if result["before"] == len(given["items"]):
            return result
        if not os.access(given["python"], os.X_OK):
            result["problem"] = (
                "the harness's environment is not there (%s); playbooks/judge.yml makes it" % given["python"]
            )
            return result
        os.makedirs(work, mode=0o700, exist_ok=True)
        result["problem"] = harness_images.bring(work, given["items"], given["copy"], given["python"], given["seconds"])
        if result["problem"]:
            return result
        busy = others(spec, key)
        if busy:
            text = (
                "%d requests of others run or wait, and a data set is never asked beside a load; ask when they are gone"
            )
            result["problem"] = text % busy
            return result
        settings = harness.prepare(
            work, given["set"], spec["served_name"], str(spec["endpoint"]), given["items"], generation, given["load"]
        )
        result["problem"] = harness.run(given["python"], settings, work, key, given["seconds"], lock)
    result["answers"] = harness.read(path, given["items"])
    if len(result["answers"]) == len(given["items"]):
        result["problem"] = ""
    return result


def main() -> None:
    spec = {
        "serving_root": {"type": "path", "required": True},
        "service": {"type": "str", "required": True},
        "python": {"type": "path", "required": True},
        "set": {"type": "str", "required": True},
        "items": {"type": "list", "elements": "dict", "required": True},
        "longest": {"type": "int", "default": 512},
        "load": {"type": "int", "default": 32},
        "timeout": {"type": "int", "default": 600},
        "sampling": {"type": "dict", "default": harness.GREEDY},
        "copy": {"type": "dict", "default": {}},
        "ended": {"type": "bool", "default": False},
        "seconds": {"type": "int", "default": 600},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
