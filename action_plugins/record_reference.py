"""Action `record_reference`: a pack of what a running service answers. The host asks, the controller writes."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

sys.path.append(str(Path(__file__).resolve().parent.parent))  # Ansible loads a plugin by its path alone

from judging import asking, recorded, sets, texts

DOCUMENTATION = """
module: record_reference
short_description: Record what a service answers, as a reference for others
description:
  - Two runs at least, one request at a time and many at once, so that the pack says how far the reference differs from itself.
options:
  serving_root: {description: Folder of everything that serves on the host., type: path, required: true}
  service: {description: Name of the service., type: str, required: true}
  folder: {description: Where the pack goes on the controller; made if it is not there., type: path, required: true}
  items:
    description: "File of questions of one's own, a JSON line each: {text or messages, expect}; empty asks the built-in texts alone."
    type: str
    default: ""
  texts: {description: Built-in texts to ask., type: int, default: 48}
  seed: {description: Which built-in texts; 0 are the fixed ones of packs., type: int, default: 0}
  about: {description: "What the pack says about itself beyond what the service tells: on, data, license, note.", type: dict, default: {}}
  seconds: {description: Bound of asking in one run., type: int, default: 600}
  sets: {description: "Data sets for a full verdict, as filter C(wanted_sets) gives them.", type: dict, default: {}}
  sets_seconds: {description: "Bound of asking all data sets; the next run goes on.", type: int, required: true}
  copies: {description: Folder on the host that has the copies of sets that are known by name, each by evalscope's name., type: path, default: ""}
  harness: {description: Interpreter on the host of the environment that asks the data sets., type: str, default: ""}
"""
TOP, LOADS = 20, (1, 32)
TEMPLATE = recorded.template_messages()


class ActionModule(ActionBase):
    _requires_connection = True
    _supports_check_mode = True
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        args = dict(self._task.args)
        try:
            own = recorded.questions(Path(args["items"])) if args.get("items") else []
            items = own + (
                texts.texts(int(args.get("seed", 0)), int(args.get("texts", texts.COUNT)))
                if int(args.get("texts", 1))
                else []
            )
            named = args.get("sets") or {}
            wanted = {name: self.own(name, Path(one["file"])) for name, one in named.items() if "file" in one}
        except ValueError as problem:
            raise AnsibleActionFail(str(problem)) from None
        if not items:
            raise AnsibleActionFail("there is nothing to ask: give items, or texts above 0")
        if self._task.check_mode:
            return {"changed": True, "msg": f"{len(items)} items would be asked and {args['folder']} written"}
        common = {
            "serving_root": args["serving_root"], "service": args["service"], "top": TOP, "seconds": int(args.get("seconds", 600)),
        }  # fmt: skip
        python = str(args.get("harness") or "")
        place = {"serving_root": args["serving_root"], "service": args["service"]}
        module = partial(asking.on_host, self, task_vars)
        ask = asking.Asking(
            module,
            Display().display,
            place,
            python,
            str(args.get("copies") or ""),
            int(args["sets_seconds"]),
        )
        for name, one in named.items():
            if "known" in one:
                found = self.known(module, one, f"{args['copies']}/{one['known']}", python)
                wanted[name] = {**one, "name": name, "items": found}
        first = self.asked({**common, "items": items, "load": LOADS[0], "template": TEMPLATE}, task_vars)
        for one in named.values():
            if one.get("tokens", 0) >= (first["served"]["max_model_len"] or 2**31):
                raise AnsibleActionFail(
                    f"answers to {one['title']} may have {one['tokens']} tokens, and the service takes {first['served']['max_model_len']} with the "
                    f"question; set datasets: {{{one['known']}: {{tokens: ...}}}} to less"
                )
        again = recorded.second_run(items, first["answers"])
        second = self.asked({**common, "items": again, "load": LOADS[1]}, task_vars)
        ask.begin()
        said = []
        for one in wanted.values():
            result = ask.whole_set(one)
            said.append((one, {**result, "answers": ask.scored(one, result["answers"])}))
        about = {
            **json.loads(json.dumps(args.get("about") or {})),
            "recorded": datetime.now(UTC).strftime("%Y-%m-%d"),
            "top": TOP,
            "loads": LOADS,
        }
        try:
            kept = [sets.recorded(*one) for one in said]
            made = recorded.write(Path(args["folder"]), about, items, first, second, kept)
            for one in wanted.values():
                ask.ended(one)
        except (OSError, ValueError) as problem:
            raise AnsibleActionFail(f"the pack {args['folder']} can't be written: {problem}") from None
        return {"changed": True, **made}

    def own(self, name: str, path: Path) -> dict[str, Any]:
        """A set of the site's own questions."""
        items = sets.questions(path)
        return {"name": name, "items": items, "tokens": max(item["tokens"] for item in items)}

    def known(self, module: asking.Module, one: dict[str, Any], copy: str, python: str) -> list[dict[str, Any]]:
        """The questions of a set that evalscope knows, from the copy on the host."""
        given = {"python": python, "known": one["known"], "folder": copy, "shots": int(one["shots"])}
        items: list[dict[str, Any]] = module("data_set", given)["items"]
        if len(items) != one["count"]:
            Display().warning(
                f"{one['title']} has {len(items)} questions in {one['folder']}, and {one['count']} are published: another revision, or a part of it"
            )
        return items

    def asked(self, args: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        result = asking.on_host(self, task_vars, "canary", args)
        if len(result["answers"]) < len(args["items"]):
            lost = len(args["items"]) - len(result["answers"])
            raise AnsibleActionFail(
                f"{lost} of {len(args['items'])} items had no answer ({result['problem']}); a reference must have all of them"
            )
        return result
