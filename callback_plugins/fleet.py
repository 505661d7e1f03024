"""Callback `fleet`: what `ansible-playbook` prints here. Ansible's own output, with each error said once and a summary of the fleet."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.plugins.callback.default import CallbackModule as Default
from ansible.template import Templar

sys.path.append(str(Path(__file__).resolve().parent.parent))  # Ansible loads a callback by its path alone

from reporting import origin, store
from reporting.console import Outcome, extra_lines, plain, reasons_of, summary
from reporting.run import RECORD

DOCUMENTATION = """
name: fleet
type: stdout
short_description: Ansible's output with each error said once, reasons of changes, and a summary of the fleet
description:
  - An error is the sentence that its module or filter said. With C(-v) and more it is as in C(ansible.builtin.default), with its place in the files.
  - The checks of roles' arguments are shown only where they fail.
  - A run that would end with reports writes one for each host that failed before, too.
extends_documentation_fragment:
  - default_callback
  - result_format_callback
requirements:
  - set as stdout in configuration
"""

CHECK = "ansible.builtin.validate_argument_spec"


class CallbackModule(Default):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "fleet"

    def __init__(self) -> None:
        super().__init__()
        self._reports = False
        self._check = False
        self._unsaid = False
        self._hosts: dict[str, Any] = {}
        self._changed: set[str] = set()  # hosts of which something was not only looked for
        self._said: dict[tuple[str, str], str] = {}  # host and sentence of a play's error -> the task that said it

    # What the run is.

    def v2_playbook_on_start(self, playbook: Any) -> None:
        super().v2_playbook_on_start(playbook)
        self._reports = any("verify" in play.tags for play in playbook.get_plays())

    def v2_playbook_on_play_start(self, play: Any) -> None:
        self._check = bool(play.check_mode)
        RECORD.play(play.get_name().strip())
        self._play, self._unsaid = play, True
        self._said.clear()

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        if not task.when:
            self._say_play()
        super().v2_playbook_on_task_start(task, is_conditional)

    def v2_playbook_on_no_hosts_matched(self) -> None:
        self._say_play()
        super().v2_playbook_on_no_hosts_matched()

    def _print_task_banner(self, task: Any) -> None:
        self._say_play()
        super()._print_task_banner(task)

    def _say_play(self) -> None:
        """A play is named when it does something: many only look for hosts, or ask what rarely applies."""
        if self._unsaid:
            self._unsaid = False
            super().v2_playbook_on_play_start(self._play)

    def _seen(self, result: Any) -> str:
        host = str(result.host.get_name())
        self._hosts[host] = result.host
        RECORD.seen(host)
        return host

    # Results.

    def v2_runner_on_ok(self, result: Any) -> None:
        host = self._seen(result)
        found = result.result
        if result.task.action == "report" and found.get("folder"):
            RECORD.reported[host] = {"ready": not RECORD.failures.get(host), "folder": found["folder"]}
        if found.get("changed"):
            self._remember(host, result.task, found)
        if result.task.action == CHECK and not self._display.verbosity:
            return
        words = found.get("msg") if result.task.action in constants._ACTION_DEBUG else None
        if isinstance(words, str) and not result.task.loop and not self._display.verbosity:
            self._banner(result)
            self._display.display(f"ok: [{self.host_label(result)}] =>\n{words}", color=constants.COLOR_OK)
            return
        super().v2_runner_on_ok(result)
        if not result.task.loop:
            self._say_reasons(found)

    def v2_runner_item_on_ok(self, result: Any) -> None:
        super().v2_runner_item_on_ok(result)
        self._say_reasons(result.result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        host = self._seen(result)
        found = result.result
        if not ignore_errors:
            failed = [one for one in found.get("results") or [] if isinstance(one, Mapping) and one.get("failed")]
            text = "\n".join(dict.fromkeys(plain(one.get("msg")) for one in failed)) or plain(found.get("msg"))
            text = (
                "\n".join(map(str, found.get("faults") or [])) or text
            )  # of a plan: each was said above, in a line of its own
            RECORD.failed(host, result.task.get_name(), text)
        if self._display.verbosity or (result.task.loop and "results" in found):
            self._once(found)
            super().v2_runner_on_failed(result, ignore_errors)
            return
        self._handle_warnings(found)
        if self._repeats(host, result, found):
            return
        self._banner(result)
        self._fail(f"fatal: [{self.host_label(result)}]: FAILED!", found)
        if ignore_errors:
            self._display.display("...ignoring", color=constants.COLOR_SKIP)

    def v2_runner_item_on_failed(self, result: Any) -> None:
        if self._display.verbosity:
            super().v2_runner_item_on_failed(result)
            return
        self._handle_warnings(result.result)
        if self._repeats(str(result.host.get_name()), result, result.result):
            return
        self._banner(result)
        label = self._get_item_label(result.result)
        self._fail(f"failed: [{self.host_label(result)}] (item={label})", result.result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        host = self._seen(result)
        RECORD.failed(host, result.task.get_name(), plain(result.result.get("msg")), unreachable=True)
        if self._display.verbosity:
            super().v2_runner_on_unreachable(result)
            return
        self._banner(result)
        self._handle_warnings(result.result)
        self._fail(f"fatal: [{self.host_label(result)}]: UNREACHABLE!", result.result)
        if result.task.ignore_unreachable:
            self._display.display("...ignoring", color=constants.COLOR_SKIP)

    def _banner(self, result: Any) -> None:
        if self._last_task_banner != result.task._uuid:
            self._print_task_banner(result.task)

    def _once(self, found: dict[str, Any]) -> None:
        """Without -v, the place in the files stays out: what is wrong is said below, by the result."""
        if not self._display.verbosity:
            found.pop("exception", None)

    def _repeats(self, host: str, result: Any, found: Mapping[str, Any]) -> bool:
        """Was this said of this host: by another item of the loop, or before a rescue that hands it on with `fail`?"""
        text, task = plain(found.get("msg")), str(result.task._uuid)
        handed = result.task.action in ("fail", "ansible.builtin.fail") and (host, text) in self._said
        again = not extra_lines(found) and (handed or self._said.get((host, text)) == task)
        for sentence in {text, *text.splitlines()[:1]}:
            self._said.setdefault((host, sentence), task)
        return bool(text) and again

    def _fail(self, head: str, found: Mapping[str, Any]) -> None:
        text = plain(found.get("msg"))
        if not text:
            text = self._dump_results(found)
        lines = "\n".join([f"{head} => {text}", *extra_lines(found)])
        self._display.display(lines, color=constants.COLOR_ERROR, stderr=self.get_option("display_failed_stderr"))

    def _remember(self, host: str, task: Any, found: Mapping[str, Any]) -> None:
        if task.loop and "results" in found:
            reasons = [line for one in found["results"] if one.get("changed") for line in reasons_of(one)]
        else:
            reasons = reasons_of(found)
        RECORD.changed(host, task.get_name(), reasons)
        if task.check_mode is not True:
            self._changed.add(host)

    def _say_reasons(self, found: Mapping[str, Any]) -> None:
        if found.get("changed"):
            for line in reasons_of(found):
                self._display.display(f"  {line}", color=constants.COLOR_CHANGED)

    # The end.

    def v2_playbook_on_stats(self, stats: Any) -> None:
        super().v2_playbook_on_stats(stats)
        outcomes = []
        for host in sorted(stats.processed):
            counts = stats.summarize(host)
            failed, away = bool(counts["failures"]), bool(counts["unreachable"])
            failure = RECORD.failures.get(host) if failed or away else None
            folder = (RECORD.reported.get(host) or {}).get("folder")
            if failure and not folder and self._reports and not self._check:
                folder = self._report_failure(host, failure)
            changes = len(RECORD.changes.get(host, []))
            outcomes.append(Outcome(host, failed, away, changes, failure, folder, host not in self._changed))
        text = summary(outcomes, self._check)
        if text:
            self._display.banner("FLEET")
            self._display.display(text)

    def _report_failure(self, host: str, failure: Mapping[str, Any]) -> str | None:
        """A host that failed before its services were asked has a report, too. A report that can't be written is no second failure."""
        try:
            values = self._play.get_variable_manager().get_vars(play=self._play, host=self._hosts[host])
            templar = Templar(loader=self._play.get_loader(), variables=values)
            root = templar.template(values["reports_dir"])
            site = values.get("inventory_dir") or values.get("playbook_dir") or "."
            report = {
                "host": host,
                "written": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                "failure": failure,
                "services": [],
                "accelerator": None,
                "origin": origin.describe(Path(site)),
                "phases": RECORD.seconds(host),
                "changes": RECORD.changes.get(host, []),
            }
            keep = int(templar.template(values.get("reports_keep", store.KEEP)))
            return str(store.save(Path(root).expanduser(), report, keep)["folder"])
        except Exception as error:
            self._display.warning(f"no report of {host}: {error}")
            return None
