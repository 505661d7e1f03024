#!/usr/bin/python
"""Module endpoint_probe: does each deployed service answer like a service?"""

from __future__ import annotations

DOCUMENTATION = r"""
module: endpoint_probe
short_description: State of the deployed services, and a real answer from each
description:
  - For every service deployed on the host it reads what runs, and asks C(/health), C(/v1/models) and the question of its kind, whose answer is checked.
    That is a chat; vectors of sentences for an embedding model; the order of passages for a reranker; a label, a text or a transcription for the others.
  - Where its row has a parser of tool calls, one call is asked for and must come as a call; C(asks) of the row adds structured output.
  - The engine's metrics must count the tokens, a vision model is shown an image, and FlagGems must run if and only if it was asked for.
  - The action plugin of the same name repeats it until everything is ready, tells the progress, and fails with the log's last lines and what they mean.
  - Harmless routes and a path that no engine has are asked without a key and with a wrong one; a service that answers is not ready.
  - A process that ended since O(since) ends the wait at once; the same wrong answer three times over at least 15 seconds (an HTTP error of the 500s over
    at least 60) ends it too, because waiting does not mend it.
  - A failure's result is its message alone. Who needs the services of a failed look as well sets O(required) to false, and gives the result as O(found) to
    a second task, which then fails.
options:
  serving_root: {description: Folder of everything that serves., type: path, required: true}
  names: {description: Services to ask. Empty means all that are deployed here., type: list, elements: str, default: []}
  wait: {description: Seconds to wait for the services to get ready. 0 asks once., type: int, default: 0}
  include_deployed: {description: Ask services that are deployed here but not named as well., type: bool, default: false}
  since:
    description: Ends of a process after this time of the host (seconds since 1970) count as a failed start. The action plugin sets it.
    type: float
    default: 0
  wrong: {description: "What services answered wrongly in earlier looks: {service: {fault, times, since}}. The action plugin sets it.", type: dict, default: {}}
  found:
    description: A result of this module with O(required) false. Nothing is asked; the action plugin fails if that found a service that is not ready.
    type: dict
  waited: {description: Seconds that earlier looks have waited already. The action plugin sets it., type: float, default: 0}
  timeout: {description: Seconds that one answer may take., type: int, default: 60}
  required: {description: Fail unless every service is ready., type: bool, default: true}
  gated:
    description:
      - Services whose release counts as one that has answered only after its verdict (M(verdict)); the others count at once.
      - Left out, each counts as the last deploy said.
    type: list
    elements: str
  log_lines: {description: Lines of the log to return for a service that is not ready., type: int, default: 20}
  supervisor: {description: Who runs the services., type: str, choices: [auto, systemd, supervisord], default: auto}
attributes:
  check_mode: {support: full, details: Asks once and never fails on a service that is not there yet.}
  diff_mode: {support: none}
"""
EXAMPLES = r"""
- name: Wait for a real answer
  endpoint_probe:
    serving_root: /srv/vllm
    names: [demo]
    wait: 600
"""
RETURN = r"""
now: {description: "The host's time when the look began, seconds since 1970.", returned: always, type: float}
message:
  description: What is wrong with services that are not ready, their logs' last lines and what they mean; empty if all are.
  returned: success
  type: str
wrong: {description: For the next look's O(wrong)., returned: success, type: dict}
address: {description: "The host's own address, as others reach it where it has one.", returned: always, type: str}
services:
  description: A row for each service.
  returned: always
  type: list
  elements: dict
  contains:
    service: {description: Its name., type: str}
    state: {description: "running, starting, backoff, failed, stopped or absent.", type: str}
    ready: {description: Whether it answered as it should., type: bool}
    problem: {description: What it did instead., type: str}
    answer: {description: Its answer., type: str}
    reasoning: {description: Whether it thought before it answered., type: bool}
    image: {description: What a vision model said of a red image., type: str}
    kind: {description: "What it was asked: chat, completion, embedding, rerank, score, classify, transcription or vision.", type: str}
    more: {description: "What it answered beyond: tool calls, structured output, adapters, {question: answer}.", type: dict}
    counted: {description: Whether its metrics counted the answer's tokens; null if it has none., type: bool}
    flaggems: {description: "Which FlagGems operators run: {asked, operators, registered, problem}; null where the engine has no such switch.", type: dict}
    exposure:
      description: "What callers without a key got: {asked, open, note, problem}. Anything but a refusal fails the service."
      type: dict
    group:
      description:
        - "Of a service that several hosts run together: {rank, leader, members, state, missing, interface, addresses, ports}."
        - Null for one that this host runs alone.
        - A follower, whose rank is not 0, has no API. It is ready while the first host gets answers from all of them.
      type: dict
    judged: {description: The verdict that the host keeps on its release; null if there is none., type: dict}
    verdict_stale: {description: Whether another release was judged and this one was not., type: bool}
    dropped_peers: {description: Hosts whose bytes were wrong when its weights were fetched., type: list, elements: str}
    restarts: {description: How often this release has ended without being told to., type: int}
    changed_at: {description: "When this release took over, seconds since 1970.", type: float}
    uptime_seconds: {description: Age of its process., type: float}
    timings: {description: "ready_seconds from process start to first answer, first_token_seconds, seconds of the whole answer.", type: dict}
"""

import os
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import Refusal, run_module
from ansible.module_utils.serving.files import read_json, write_json
from ansible.module_utils.serving.processes import age
from ansible.module_utils.serving.service import members, releases, verdicts
from ansible.module_utils.serving.service.exchange import NotYet
from ansible.module_utils.serving.service.exposure import exposure, own_address
from ansible.module_utils.serving.service.failures import explain, what_that
from ansible.module_utils.serving.service.flaggems import proof
from ansible.module_utils.serving.service.probe import TOKENS, probe, stage
from ansible.module_utils.serving.service.supervisors import Supervisor, supervisor
from ansible.module_utils.serving.weights.records import dropped_peers

FINAL = ("ready", "failed")
LOG = 2000  # lines of a log that are read for what failed first
# The same wrong answer so many times, over at least so many seconds, ends the wait. A server error may be of a start that goes on.
STEADY_TIMES = 3
STEADY_SECONDS = 15.0
STEADY_SERVER_ERROR = 60.0


def ready_seconds(folder: str, run: dict[str, Any], write: bool) -> float | None:
    """Seconds from the process's start to its first good answer, recorded when it is first seen."""
    path = os.path.join(folder, "ready.json")
    try:
        seen = read_json(path) or {}
    except ValueError:
        seen = {}
    if seen.get("pid") == run["pid"] and seen.get("ticks") == run["ticks"]:
        return float(seen["seconds"])
    seconds: float = round(age(run), 1)
    if write:
        write_json(path, {"pid": run["pid"], "ticks": run["ticks"], "seconds": seconds})
    return seconds


UNSEEN: dict[str, Any] = {
    "ready": False, "verdict": "waiting", "problem": None, "listens": False, "fault": None, "stage": None, "answer": None,
    "reasoning": False, "image": None, "counted": None, "flaggems": None, "exposure": None, "group": None, "timings": {},
}  # fmt: skip


def look(root: str, name: str, owner: Supervisor, given: dict[str, Any], record: bool) -> dict[str, Any]:
    """One row, asked once. `record`: a right answer is kept for the release that gave it."""
    folder = releases.service_dir(root, name)
    spec = releases.current_spec(root, name)
    if spec is None:
        words = "it is not deployed on this host; run deploy.yml"
        return dict(UNSEEN, service=name, state="absent", verdict="failed", problem=words)
    run = releases.running_release(root, name)
    row = {**UNSEEN, "service": name, **described(folder, spec, run, name, owner)}
    ended = releases.last_exit(root, name)
    ended = ended if ended and ended.get("release") == row["release"] else None
    row["restarts"] = int(ended.get("unasked", 0)) if ended else 0
    if ended and given["since"] and ended["ended"] > given["since"]:
        text = "its process ended with code %s after %d s" % (ended["code"], ended["seconds"])
        return dict(row, verdict="failed", problem=text, exit_code=ended["code"])
    if run is None:
        words_of = {"failed": "its supervisor gave up after repeated failed starts", "stopped": "it is stopped"}
        verdict = "failed" if row["state"] in words_of else "waiting"
        return dict(row, verdict=verdict, problem=words_of.get(row["state"], "its process is not running"))
    current = run["release"] == row["release"]
    if not current:
        row["problem"] = "it still runs release %s; restart it" % run["release"]
    if spec.get("group"):
        row["group"] = members.part(folder, spec["group"], run)
        problem = members.problem(row["group"])
        if problem:
            return dict(row, problem=problem)
    follows = row["group"] and row["group"]["rank"]
    row.update({"ready": True, "answer": members.words(row["group"])} if follows else asked(folder, spec, run, given))
    if not row["ready"]:
        return row
    if record and current:
        verdicts.answered(folder, run["release"], None if given["gated"] is None else name in given["gated"])
    timings = {**row["timings"], "ready_seconds": ready_seconds(folder, run, record)}
    return dict(row, verdict="ready", timings=timings)


def described(
    folder: str, spec: dict[str, Any], run: dict[str, Any] | None, name: str, owner: Supervisor
) -> dict[str, Any]:
    """What a row says of a deployed service before anybody asks it."""
    state = owner.state(name)
    release = releases.link_digest(folder, "current")
    return {
        "state": "running" if run and state == "starting" else state,
        "endpoint": spec["endpoint"],
        "served_name": spec.get("served_name"),
        "model": spec.get("model"),
        "engine": spec.get("engine"),
        "stages": (spec.get("probe") or {}).get("stages"),
        "runtime": spec.get("runtime"),
        "release": release,
        "rights": spec.get("rights", []),
        "judged": verdicts.kept(folder, release or ""),
        "verdict_stale": verdicts.stale(folder, release or ""),
        "dropped_peers": dropped_peers((spec.get("model") or {}).get("path") or ""),
        "supervisor": owner.kind,
        "log": owner.log_place(name),
        "key_file": os.path.join(folder, "api_key") if spec.get("api_key") else None,
        "uptime_seconds": round(age(run), 1) if run else None,
        "pid": run["pid"] if run else None,
        "changed_at": releases.changed_at(folder),
    }


def asked(folder: str, spec: dict[str, Any], run: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Keys of a row that a question to the service gives; `ready` is among them only where all is right."""
    check, about = spec.get("check") or {}, spec.get("probe") or {}
    try:
        found = probe(
            spec["endpoint"], spec["served_name"], releases.read_key(folder), spec.get("check"), given["timeout"],
            reasoning=bool(spec.get("reasoning")), vision=bool(spec.get("vision")), tokens=about.get("tokens") or TOKENS,
        )  # fmt: skip
    except NotYet as problem:
        fault = "%s %s" % (run["pid"], problem.steady[:200]) if problem.steady else None
        # Operators are the first suspects where the answer is wrong.
        suspects = {"flaggems": proof(spec, folder)} if problem.steady else {}
        return {"problem": str(problem), "listens": problem.listens, "fault": fault, **suspects}
    row: dict[str, Any] = {"flaggems": proof(spec, folder)}
    if row["flaggems"] and row["flaggems"]["problem"]:
        return {**row, "verdict": "failed", "problem": row["flaggems"]["problem"]}
    try:
        row["exposure"] = exposure(spec, releases.read_key(folder))
    except NotYet as problem:
        return {**row, "problem": str(problem)}
    if row["exposure"]["problem"]:
        return {**row, "verdict": "failed", "problem": row["exposure"]["problem"]}
    return {
        **row,
        "ready": True,
        "answer": found["answer"] or found["reasoning"],
        "reasoning": bool(found["reasoning"]),
        "image": found["image"],
        "counted": found["counted"],
        "kind": check.get("kind") or "chat",
        "more": found["more"],
        "question": check.get("prompt"),
        "timings": {key: found[key] for key in ("first_token_seconds", "seconds", "tokens")},
    }


def settle(row: dict[str, Any], wrong: dict[str, Any]) -> None:
    """End the wait for a service whose answer is wrong in the same way again and again. `wrong` remembers between looks."""
    name, now = row["service"], time.monotonic()
    before = wrong.pop(name, None)
    if row["verdict"] != "waiting" or not row["fault"]:
        return
    if not before or before["fault"] != row["fault"]:
        before = {"fault": row["fault"], "times": 0, "since": now}
    wrong[name] = dict(before, times=before["times"] + 1)
    least = STEADY_SERVER_ERROR if " HTTP 5" in row["fault"] else STEADY_SECONDS
    if wrong[name]["times"] >= STEADY_TIMES and now - before["since"] >= least:
        seen = "; it was the same %d times in %d s, so waiting on would not help"
        row.update(verdict="failed", problem=row["problem"] + seen % (wrong[name]["times"], now - before["since"]))


def tell(row: dict[str, Any], owner: Supervisor, count: int) -> None:
    """Add to a service that is not ready: its stage, its log's last lines, what failed first and what that means."""
    if row["verdict"] == "waiting" and row.get("pid"):
        # Who answers is up, whatever the last lines of its log are.
        lines = [] if row["listens"] else releases.last_run(owner.log_tail(row["service"], 200))
        row["stage"] = "it listens" if row["listens"] else stage(lines, row.get("stages"))
    if row["state"] == "absent" or not count:
        return
    lines = releases.last_run(owner.log_tail(row["service"], LOG))
    row["log_tail"] = lines[-count:]
    found = explain(lines, row.get("exit_code"))
    said = explain([row["problem"]]) if row["listens"] else None
    told = said if said and said.meaning else found
    row["meaning"] = told.meaning
    if not row["meaning"] and not row.get("pid"):
        row["meaning"] = "that is not known here; the whole log may say more"
    if row["group"]:
        row["between"] = members.between(row["group"], found.hint, found.root or "")
    # Not a second time what the lines above show, unless the meaning is only a possible one: then a person must judge by that line.
    shown = told.sure and any(found.root in line for line in row["log_tail"]) if found.root else True
    row["root_cause"] = None if shown else found.root


def sentence(row: dict[str, Any], waited: float) -> str:
    """What an operator reads about a service that is not ready: once, and nothing that the lines say already."""
    text = "service '%s' is not ready" % row["service"]
    if row["verdict"] == "waiting" and waited >= 1:
        text += " after %d s" % waited
        if row.get("stage"):
            text += " (last stage: %s)" % row["stage"]
    text += ": %s" % row["problem"]
    if row.get("log_tail"):
        text += "\nLast lines of its log (%s):\n  %s" % (
            row["log"],
            "\n  ".join(line[:1000] for line in row["log_tail"]),
        )
    if row.get("root_cause"):
        text += "\nWhat failed first: %s" % row["root_cause"]
    if row.get("meaning"):
        text += "\nWhat " + what_that(row["meaning"])
    if row.get("between"):
        text += "\nBetween the hosts: %s" % row["between"]
    return text


def body(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    root = given["serving_root"]
    names = list(given["names"])
    if given["include_deployed"] or not names:
        names += [name for name in releases.services(root) if name not in names]
    now = time.time()
    owner = supervisor(root, given["supervisor"])
    began = time.monotonic()
    rows: dict[str, dict[str, Any]] = {}
    wrong = dict(given["wrong"])
    while True:
        for name in names:
            if rows.get(name, {}).get("verdict") not in FINAL:
                rows[name] = look(root, name, owner, given, not module.check_mode)
                settle(rows[name], wrong)
        waited = time.monotonic() - began
        if waited >= given["wait"] or module.check_mode or all(row["verdict"] in FINAL for row in rows.values()):
            break
        time.sleep(1)
    bad = [row for row in rows.values() if not row["ready"]]
    for row in bad:  # once, not with each try: it would take CPU from the engine's start
        tell(row, owner, given["log_lines"])
    message = "\n".join(sentence(row, given["waited"] + waited) for row in bad)
    if bad and given["required"] and not module.check_mode:
        raise Refusal(message)
    return {
        "changed": False,
        "services": [rows[name] for name in names],
        "message": message,
        "wrong": wrong,
        "now": now,
        "address": own_address(),
    }


def main() -> None:
    spec = {
        "serving_root": {"type": "path", "required": True},
        "names": {"type": "list", "elements": "str", "default": []},
        "wait": {"type": "int", "default": 0},
        "include_deployed": {"type": "bool", "default": False},
        "since": {"type": "float", "default": 0},
        "wrong": {"type": "dict", "default": {}},
        "found": {"type": "dict"},
        "waited": {"type": "float", "default": 0},
        "timeout": {"type": "int", "default": 60},
        "required": {"type": "bool", "default": True},
        "gated": {"type": "list", "elements": "str"},
        "log_lines": {"type": "int", "default": 20},
        "supervisor": {"type": "str", "choices": ["auto", "systemd", "supervisord"], "default": "auto"},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
