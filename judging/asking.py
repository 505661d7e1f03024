"""Have a host's harness ask whole data sets, call after call: each is bounded, and goes on where the one before ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from judging import sets

TURN = 300  # seconds of one call at least: what is under way when a call ends is lost
SLOWEST = 8  # tokens a second of one answer at which a call is long enough for it
AT_ONCE = 1000  # answers that are scored in one call
QUIET = {"ansible_no_target_syslog": True}  # a host's journal is no place for thousands of tokens
Module = Callable[[str, dict[str, Any]], dict[str, Any]]
Tell = Callable[[str], None]


def on_host(
    action: ActionBase, task_vars: Mapping[str, Any] | None, module: str, args: dict[str, Any]
) -> dict[str, Any]:
    """Run a module on the host of an action's task. Raises AnsibleActionFail with what the module says."""
    result: dict[str, Any] = action._execute_module(module, module_args=args, task_vars={**(task_vars or {}), **QUIET})
    if result.get("failed") or result.get("unreachable"):
        raise AnsibleActionFail(result.get("msg") or "the host can't be reached")
    return result


class Asking:
    """One service ({serving_root, service}), asked all of its data sets within `seconds` (setting judge_sets_seconds).

    `module` runs a module on the host, `tell` shows a line, `python` is the harness's interpreter, `copies` the host's folder of data sets.
    """

    def __init__(
        self, module: Module, tell: Tell, service: Mapping[str, str], python: str, copies: str, seconds: int
    ) -> None:
        self.module, self.tell, self.service = module, tell, service
        self.python, self.copies, self.seconds = python, copies, seconds
        self.begin()

    def begin(self) -> None:
        """The seconds count from now on."""
        self.until = time.monotonic() + self.seconds

    def request(self, one: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """What module harness is asked about a set."""
        return {
            **self.service, "python": self.python, "set": one["name"], "items": [{key: row[key] for key in ("id", "messages", "expect")} for row in rows],
            "longest": one["tokens"], "sampling": sets.sampling(one), "timeout": max(600, 2 * self.turn(one)),
            "seconds": self.turn(one),
            "copy": {
                "known": one["known"], "shots": one.get("shots", 0), "folder": f"{self.copies}/{one['known']}", "source": one.get("source", ""),
            } if one.get("known") else {},
        }  # fmt: skip

    def rules(self, one: Mapping[str, Any]) -> dict[str, Any]:
        """Version and sampling with which a set would be asked here; nothing is asked for it."""
        return self.module("harness", self.request(one, []))

    @staticmethod
    def turn(one: Mapping[str, Any]) -> int:
        return int(max(TURN, one["tokens"] // SLOWEST))

    def whole_set(self, one: Mapping[str, Any]) -> dict[str, Any]:
        """The harness's result once nothing is left, once a call has brought nothing more, or when the time is over."""
        rows = sets.repeated(one)
        given = self.request(one, rows)
        while True:
            left = self.until - time.monotonic()
            found = self.module("harness", {**given, "seconds": int(max(1, min(self.turn(one), left)))})
            have, late = len(found["answers"]), time.monotonic() >= self.until
            if late and have < len(rows):
                found["problem"] = (
                    f"{have} of {len(rows)} were answered when the {self.seconds} s of judge_sets_seconds were over; the same command goes on "
                    f"with the other {len(rows) - have}"
                )
            self.tell(
                f"  data set {one['name']}: {have} of {len(rows)} items are answered"
                + (f"; {found['problem']}" if found["problem"] else "")
            )
            if have == len(rows) or late or have <= found["before"]:
                return found

    def scored(self, one: Mapping[str, Any], answers: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
        """The answers, those to a set that evalscope knows each with what evalscope reads out of it: {read, right}. One that its limit cut is wrong unread."""
        if not one.get("known"):
            return {key: dict(answer) for key, answer in answers.items()}
        rows = [
            {key: row[key] for key in ("id", "expect", "choices", "about") if key in row} | {"text": answers[row["id"]]["text"]}
            for row in sets.repeated(one)
            if row["id"] in answers and answers[row["id"]].get("finish") != "length"
        ]  # fmt: skip
        found: dict[str, dict[str, Any]] = {}
        for start in range(0, len(rows), AT_ONCE):
            given = {"python": self.python, "known": one["known"], "rows": rows[start : start + AT_ONCE]}
            found.update(self.module("data_set", given)["scores"])
        return {key: {**answer, **found.get(key, {"read": "", "right": False})} for key, answer in answers.items()}

    def ended(self, one: Mapping[str, Any]) -> None:
        """Its answers have become a verdict or a pack: the next one asks anew. Until then a run that was killed asks nothing twice."""
        self.module("harness", {**self.request(one, sets.repeated(one)), "ended": True})
