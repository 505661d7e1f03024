"""Action `judge`: the verdict on a service. The host asks, the controller has the pack and decides."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

sys.path.append(str(Path(__file__).resolve().parent.parent))  # Ansible loads a plugin by its path alone

from judging import asking, canary, garbage, packs, rows, sets, verdict

DOCUMENTATION = """
module: judge
short_description: Does a service answer like its reference?
description:
  - Reads and checks a pack on the controller, has the host ask the running service, and compares.
  - A release that has a verdict against the same pack keeps it, unless O(again).
  - Never fails for what a verdict says; RV(passes) tells whether it may be deployed.
options:
  serving_root: {description: Folder of everything that serves on the host., type: path, required: true}
  service: {description: Name of the service., type: str, required: true}
  reference: {description: Folder of the pack on the controller; empty means the service is not judged., type: str, default: ""}
  level: {description: How thoroughly., type: str, choices: [none, canary, full], default: canary}
  margins: {description: "Margins of the service's row: {divergence, score, tie}.", type: dict, default: {}}
  required: {description: Only EQUIVALENT passes., type: bool, default: false}
  again: {description: Ask again where there is a verdict already., type: bool, default: false}
  kept_only: {description: "Ask nothing: tell the verdict that the release has, or that it has none.", type: bool, default: false}
  signers: {description: File of signers of whom the pack must be; empty asks for no signature., type: str, default: ""}
  trial: {description: "A release of a search: its verdict is not kept, and it never counts as one that may serve.", type: bool, default: false}
  seconds: {description: Bound of asking at one load., type: int, default: 300}
  sets_seconds:
    description: Bound of asking all of the pack's data sets. What is not answered by then makes it INCOMPARABLE, and the next run goes on.
    type: int
    required: true
  harness:
    description: Interpreter on the host of the environment that asks the pack's data sets at level full; empty where there is none.
    type: str
    default: ""
"""

LOAD = 32  # requests at once, after canary.SINGLE items were asked one by one
SAMPLING = 4  # items that are asked with sampling left to the service
EARLY = 8  # answers after which garbage is looked for


class ActionModule(ActionBase):
    _requires_connection = True
    _supports_check_mode = True
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        args, self.values = dict(self._task.args), task_vars or {}
        name, again = args["service"], truth(args.get("again")) or truth(args.get("trial"))
        self.place = {"serving_root": args["serving_root"], "service": name}
        state = self.module("verdict", {})
        if self._task.check_mode or state["release"] is None:
            # Whoever asks by hand is told that there was nothing to judge; a deploy has failed before.
            by_hand = truth(args.get("again")) and not truth(args.get("kept_only")) and not self._task.check_mode
            absent = {"died": True} if by_hand else {}
            return self.told(name, {**canary.not_judged("it is not deployed"), **absent}, args)
        if truth(args.get("kept_only")):
            kept = state["kept"] or canary.not_judged("its release was not judged yet")
            return self.told(name, {**kept, "kept": True}, args)
        level = args.get("level") or "canary"
        if level not in rows.LEVELS:
            raise AnsibleActionFail(f"level is '{level}'; use one of {', '.join(rows.LEVELS)}")
        if level == "none" or not args.get("reference"):
            why = "judge_level is none" if args.get("reference") else "its row names no reference"
            return self.ended(name, canary.not_judged(why), args, state)
        try:
            pack = rows.items_of(packs.read(Path(args["reference"]), args.get("signers") or ""), level)
        except packs.BadPack as problem:
            finding = verdict.Finding("pack", verdict.INCOMPARABLE, str(problem))
            record = {
                **canary.not_judged(""),
                "verdict": verdict.INCOMPARABLE,
                "level": level,
                "findings": [finding.plain()],
            }
            return self.ended(name, record, args, state)
        terms = {"pack": pack.digest, "margins": canary.margins_of(pack, args.get("margins") or {}), "level": level}
        kept = state["kept"] or {}
        if kept.get("terms") == terms and not again:
            return self.told(name, {**kept, "kept": True}, args)
        try:
            record = {**self.asked(pack, args), "level": level, "terms": terms}
        except AnsibleActionFail as problem:  # it died meanwhile: no verdict, and no release to return to
            return self.told(
                name, {**canary.not_judged(problem.message), "release": state["release"], "died": True}, args
            )
        return self.ended(name, record, args, state)

    def module(self, module: str, args: dict[str, Any]) -> dict[str, Any]:
        """A module about this service."""
        return self.of_host(module, {**self.place, **args})

    def of_host(self, module: str, args: dict[str, Any]) -> dict[str, Any]:
        return asking.on_host(self, self.values, module, args)

    def asked(self, pack: packs.Pack, args: dict[str, Any]) -> dict[str, Any]:
        """Ask a few, then one by one, then many at once; garbage ends it early."""
        rows, began = canary.requests(pack), time.monotonic()
        items = {item["id"]: item["runs"][0] for item in pack.items}
        common = {"top": int(pack.about.get("top") or 20), "seconds": int(args.get("seconds") or 300)}
        first = self.module(
            "canary",
            {
                **common,
                "items": rows[:EARLY],
                "template": (pack.about.get("template") or {}).get("messages") or [],
                "sampling": SAMPLING,
            },
        )
        served, single = first["served"], dict(first["answers"])
        served["broken"] = garbage.broken([(items[key], answer) for key, answer in single.items()])
        served["problem"] = first["problem"]
        loads: dict[str, Any] = {"1": single}
        found: tuple[list[verdict.Finding], list[dict[str, Any]]] = ([], [])
        if single and not served["broken"] and not list(canary.incomparable(pack, served)):
            rest = self.module("canary", {**common, "items": rows[EARLY : canary.SINGLE]})
            single.update(rest["answers"])
            many = self.module("canary", {**common, "items": rows, "load": LOAD})
            loads[str(LOAD)] = many["answers"]
            served["problem"] = many["problem"] or rest["problem"] or first["problem"]
            served["broken"] = garbage.broken([(items[key], answer) for key, answer in loads[str(LOAD)].items()])
            found = self.of_sets(pack, args) if args.get("level") == "full" and not served["broken"] else ([], [])
        record = canary.judge(pack, args.get("margins") or {}, served, loads, found)
        return {**record, "release": served["release"], "seconds": round(time.monotonic() - began, 1)}

    def of_sets(self, pack: packs.Pack, args: dict[str, Any]) -> tuple[list[verdict.Finding], list[dict[str, Any]]]:
        """Findings of the pack's data sets, and the items that are right on one side alone."""
        findings: list[verdict.Finding] = []
        apart: list[dict[str, Any]] = []
        ask = asking.Asking(
            self.of_host, Display().display, self.place, str(args.get("harness") or ""), f"{self.place['serving_root']}/cache/datasets",
            int(args["sets_seconds"]),
        )  # fmt: skip
        whole: list[tuple[dict[str, Any], bool]] = []
        for one in pack.sets:
            try:
                if unlike := list(sets.unlike(one, ask.rules(one))):  # before hours of asking
                    findings += unlike
                    continue
                asked = ask.whole_set(one)
                asked["answers"] = ask.scored(one, asked["answers"])
                whole.append((one, sets.came_to_its_end(one, asked)))
            except AnsibleActionFail as problem:  # of the harness; whether the service lives, the canary has told
                findings.append(verdict.Finding(one["name"], verdict.INCOMPARABLE, problem.message))
                whole.append((one, False))
                continue
            findings += sets.of_set(one, asked, canary.set_margin(pack, args.get("margins") or {}, one) / 100)
            apart += sets.side_by_side(one, asked["answers"])
        if all(end for _, end in whole):
            for one, _ in whole:
                ask.ended(one)
        return findings, apart

    def ended(self, name: str, record: dict[str, Any], args: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
        """Keep the verdict on the host. A data set that could not be asked can be another time."""
        lasts = record["level"] != "full" or record["verdict"] != verdict.INCOMPARABLE
        keep = {"keep": record} if record.get("terms") and lasts else {}
        if not truth(args.get("trial")):
            self.module("verdict", {"release": state["release"], "passes": passes(record, args), **keep})
        return self.told(name, record, args)

    def told(self, name: str, record: dict[str, Any], args: dict[str, Any]) -> dict[str, Any]:
        good = passes(record, args)
        sentence = verdict.sentence(name, record)
        if not good and not truth(args.get("trial")) and not truth(args.get("kept_only")):
            Display().display(f"  {self.values.get('inventory_hostname', '')}: {sentence}", color="red")
        return {
            "changed": False,
            "msg": sentence,
            "service": name,
            "judged": record,
            "passes": good,
            "sentence": sentence,
        }


def truth(value: Any) -> bool:
    return str(value).lower() in ("true", "yes", "on", "1")


def passes(record: dict[str, Any], args: dict[str, Any]) -> bool:
    """May a release with this verdict be deployed? One that is not judged may, unless its row asks for a verdict."""
    if truth(args.get("required")):
        return bool(record["verdict"] == verdict.EQUIVALENT)
    return bool(record["verdict"] != verdict.DIFFERENT and not record.get("died"))
