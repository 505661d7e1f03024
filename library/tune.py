#!/usr/bin/python
"""Module tune: a short search for the settings of one service, kept on its host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tune
short_description: Say which settings of a service to try next, and when their order is settled
description:
  - Candidates are what M(fit) would choose and one step to each side of it, or O(candidates). What runs now is always one of them.
  - Trials are kept in C(tune.json) of the service's folder, so that a search that was killed goes on. Other candidates, another load or another row begin
    a search of their own. C(ended) removes the file.
  - Every candidate is tried once. Then those are tried again that the best is not apart from (95 % intervals), until it is apart from all, the rest differs
    by less than 2 %, each had three starts, or O(minutes) have no room for another trial and the way back.
  - What runs now wins unless another one is apart from it. It starts nothing by itself.
options:
  name: {description: The service., type: str, required: true}
  serving_root: {description: Folder of everything that serves., type: path, required: true}
  state:
    description: C(looked) returns the candidates, C(begun) begins or goes on, C(tried) adds a trial, C(ended) forgets the search.
    type: str
    choices: [looked, begun, tried, ended]
    required: true
  plan: {description: "The host's services (filter C(plan)), for C(looked) and C(begun).", type: list, elements: dict, default: []}
  kind: {description: Which accelerators to look for., type: str, choices: [cpu, gpu, npu], default: cpu}
  record: {description: What M(accelerator_info) returned., type: dict}
  count: {description: Devices that the host should have., type: int, default: 0}
  dtypes: {description: Types that the accelerators compute in., type: list, elements: str, default: [bfloat16, float16, float32]}
  graphs: {description: "Graphs of batch sizes that the board's memory has room for, 0: all.", type: int, default: 0}
  square_mask: {description: "Does the attention mask take memory by the square of max_model_len?", type: bool, default: false}
  candidates: {description: "engine_args to try, instead of M(fit)'s.", type: list, elements: dict, default: []}
  free: {description: Options that may be tried though the row gives them., type: list, elements: str, default: []}
  most: {description: Candidates at most., type: int, default: 6}
  minutes: {description: What the whole search may take., type: float, default: 20}
  load: {description: "What the trials measure: {concurrency, prompt_length, output_length, prompts, requests, repeats}.", type: dict, default: {}}
  candidate: {description: "With C(tried), what was tried.", type: str}
  measured: {description: "With C(tried), what M(benchmark) returned.", type: dict}
  problem: {description: "With C(tried), why it gave no figure.", type: str, default: ""}
  despite_callers: {description: "With C(tried), may others have asked meanwhile?", type: bool, default: false}
attributes:
  check_mode: {support: full, details: C(begun) is C(looked) then.}
  diff_mode: {support: none}
"""
EXAMPLES = r"""
- name: Begin, or go on
  tune:
    name: qwq-32b
    serving_root: /srv/vllm
    state: begun
    plan: "{{ plan }}"
    kind: gpu
"""
RETURN = r"""
candidates: {description: "What is tried, what runs now first: {name, args, words, tokens}.", returned: always, type: list, elements: dict}
candidate: {description: What to try now; null when it is over., returned: always, type: str}
args: {description: Its engine_args., returned: always, type: dict}
why: {description: "Why that one, or why it is over.", returned: always, type: str}
over: {description: Whether the search is over., returned: always, type: bool}
result: {description: "How it ended: settled, alike, visited, budget or nothing.", returned: always, type: str}
winner: {description: "The candidate to take; null where nothing measured.", returned: always, type: str}
winner_args: {description: Its engine_args., returned: always, type: dict}
ranking: {description: "Best first: {candidate, visits, mean, half, problem}, tokens a second.", returned: always, type: list, elements: dict}
trials: {description: "What was tried, in that order.", returned: always, type: list, elements: dict}
left: {description: Seconds that the next trial may take., returned: always, type: int}
lines: {description: "For the terminal: the candidates, and what trials have shown.", returned: always, type: list, elements: str}
there: {description: Whether an earlier search had left its file., returned: always, type: bool}
"""

import os
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import Refusal, run_module
from ansible.module_utils.serving.files import digest, read_json, write_json
from ansible.module_utils.serving.host.accelerators import accelerator_record
from ansible.module_utils.serving.service import releases
from ansible.module_utils.serving.service.trials import Trial, left, spent, step
from ansible.module_utils.serving.sizing.learned import starts
from ansible.module_utils.serving.sizing.rates import known as known_rates
from ansible.module_utils.serving.sizing.sweep import NOW, own, sweep

KEPT = "tune.json"
FIGURES = ("output_tokens_per_second", "tokens_per_second")  # of what answers in words, and of embeddings
LEAST = 30  # seconds that a trial gets at least


def candidates_of(given: dict[str, Any]) -> list[dict[str, Any]]:
    """What there is to try."""
    service = next((one for one in given["plan"] if one["service"] == given["name"]), None)
    if service is None:
        names = ", ".join(one["service"] for one in given["plan"]) or "none"
        raise Refusal("service '%s' is not in runs of this host, which are: %s" % (given["name"], names))
    if given["candidates"]:
        return [one.row() for one in own(given["candidates"], service)]
    record = given["record"] or accelerator_record(given["kind"])
    board = {
        **record,
        "rates": known_rates(given["serving_root"], record),
        "graphs": given["graphs"],
        "square_mask": given["square_mask"],
    }
    wanted = {key: given[key] for key in ("dtypes", "count", "free", "most")}
    return [one.row() for one in sweep(given["plan"], service, board, wanted, starts(given["serving_root"]))]


def kept(path: str) -> dict[str, Any] | None:
    """A search's file; None where there is none that is whole."""
    try:
        found = read_json(path)
        names = {one["name"] for one in found["candidates"]}
        if found["asked"] and all(
            trial["candidate"] in names and isinstance(trial["seconds"], (int, float)) for trial in found["trials"]
        ):
            return dict(found)
    except (ValueError, KeyError, TypeError):
        pass
    return None


def asked(given: dict[str, Any], candidates: list[dict[str, Any]]) -> str:
    """What a search belongs to."""
    row = next(one for one in given["plan"] if one["service"] == given["name"])
    model = {key: row["model"].get(key) for key in ("name", "revision")}
    about = {
        "args": [one["args"] for one in candidates],
        "row": row["engine_args"],
        "model": model,
        "load": given["load"],
        "image": row["image"],
    }
    return str(digest(about)[:16])


def answer(search: dict[str, Any], there: bool) -> dict[str, Any]:
    """What a search says: the next trial, or its end."""
    trials = [Trial(row["candidate"], row["seconds"], tuple(row["values"]), row["problem"]) for row in search["trials"]]
    rows = {row["name"]: row for row in search["candidates"]}
    budget = search["minutes"] * 60
    now = step(list(rows), NOW, trials, budget)
    remaining = left(trials, budget) if trials else budget / 2
    return {
        "changed": False, "candidates": search["candidates"], "trials": search["trials"], "candidate": now.candidate, "why": now.why,
        "args": rows[now.candidate]["args"] if now.candidate else {}, "over": now.candidate is None, "result": now.result, "winner": now.winner,
        "winner_args": rows[now.winner]["args"] if now.winner else {}, "ranking": [vars(one) for one in now.ranking],
        "left": max(LEAST, int(remaining)), "seconds": int(spent(trials)), "minutes": search["minutes"], "there": there,
        "lines": lines(search, now.ranking),
    }  # fmt: skip


def lines(search: dict[str, Any], ranking: Any) -> list[str]:
    """The candidates with what fit says of them and what trials have shown."""
    shown = {one.candidate: one for one in ranking}
    found = ["%d candidates, at most %g minutes:" % (len(search["candidates"]), search["minutes"])]
    for row in search["candidates"]:
        one = shown[row["name"]]
        says = ["a cache of %d tokens" % row["tokens"]] if row["tokens"] else []
        says += [row["words"]] if row["words"] else []
        says += ["measured %.1f tokens a second in %d starts" % (one.mean, one.visits)] if one.mean is not None else []
        says += [one.problem] if one.problem else []
        found.append("  " + ": ".join([row["name"], "; ".join(says)] if says else [row["name"]]))
    return found


def tried(given: dict[str, Any], search: dict[str, Any]) -> None:
    """Add what a trial showed."""
    measured = given["measured"] or {}
    if given["candidate"] not in {one["name"] for one in search["candidates"]}:
        raise Refusal("service '%s' has no candidate '%s' in its search" % (given["name"], given["candidate"]))
    others = int(measured.get("others") or 0)
    if others and not given["despite_callers"]:
        text = "service '%s' answered %d requests of others while it was measured; tune when they are gone, or with -e despite_callers=true"
        raise Refusal(text % (given["name"], others))
    level = measured.get("level") or {}
    values = [one[name] for one in measured.get("repeats") or [] for name in FIGURES if name in one]
    problem = " ".join(given["problem"].split())[:500]
    if not problem and level.get("failed"):
        problem = "%d of its requests failed" % level["failed"]
    if not problem and not values:
        problem = "the load gave no figure"
    began = search.get("began")
    seconds = max(0.0, time.monotonic() - began) if isinstance(began, (int, float)) else 0.0
    search["trials"].append({"candidate": given["candidate"], "seconds": round(seconds, 1), "values": [] if problem else values,
                             "problem": problem, "figures": level.get("figures") or {}, "release": measured.get("release")})  # fmt: skip


def body(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    path = os.path.join(releases.service_dir(given["serving_root"], given["name"]), KEPT)
    there = os.path.exists(path)
    if given["state"] == "ended":
        if there and not module.check_mode:
            os.unlink(path)
        return {"changed": False, "there": there}
    search = kept(path)
    if given["state"] == "tried":
        if search is None:
            raise Refusal("service '%s' has no search under way here; run tune.yml again" % given["name"])
        tried(given, search)
    else:
        if given["minutes"] <= 0:
            raise Refusal("minutes is %g, but must be more than 0" % given["minutes"])
        candidates = candidates_of(given)
        key = asked(given, candidates)
        if search is None or search["asked"] != key:
            search = {"asked": key, "candidates": candidates, "trials": []}
        search["minutes"] = given["minutes"]
    # A trial begins here: what a killed run didn't finish is tried again, and costs the budget nothing.
    search["began"] = time.monotonic()
    if given["state"] != "looked" and not module.check_mode:
        write_json(path, search)
    return answer(search, there)


def main() -> None:
    spec = {
        "name": {"type": "str", "required": True},
        "serving_root": {"type": "path", "required": True},
        "state": {"type": "str", "choices": ["looked", "begun", "tried", "ended"], "required": True},
        "plan": {"type": "list", "elements": "dict", "default": []},
        "kind": {"type": "str", "choices": ["cpu", "gpu", "npu"], "default": "cpu"},
        "record": {"type": "dict"},
        "count": {"type": "int", "default": 0},
        "dtypes": {"type": "list", "elements": "str", "default": ["bfloat16", "float16", "float32"]},
        "graphs": {"type": "int", "default": 0},
        "square_mask": {"type": "bool", "default": False},
        "candidates": {"type": "list", "elements": "dict", "default": []},
        "free": {"type": "list", "elements": "str", "default": []},
        "most": {"type": "int", "default": 6},
        "minutes": {"type": "float", "default": 20},
        "load": {"type": "dict", "default": {}},
        "candidate": {"type": "str"},
        "measured": {"type": "dict"},
        "problem": {"type": "str", "default": ""},
        "despite_callers": {"type": "bool", "default": False},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
