"""Action `localise`: which operators to try next in a search for those that make a service unlike its reference. Runs on the controller alone."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

sys.path.append(str(Path(__file__).resolve().parent.parent))  # Ansible loads a plugin by its path alone

from judging import localise
from reporting import store

DOCUMENTATION = """
module: localise
short_description: The next trial of a search for FlagGems operators that make a service unlike its reference
description:
  - Keeps what was tried in a file on the controller, so that a search that was killed goes on where it was.
  - Another release, or other operators, start a search of their own.
options:
  file: {description: Where the trials are kept on the controller., type: path, required: true}
  release: {description: The release whose operators are searched., type: str, required: true}
  operators: {description: "Operators that it has on. Empty: those that the file names for this release.", type: list, elements: str, default: []}
  active: {description: Operators that were on in the trial that has just ended., type: list, elements: str}
  verdict: {description: What it showed; without it nothing is added., type: str}
"""


class ActionModule(ActionBase):
    _requires_connection = False
    _supports_check_mode = True
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        args = self._task.args
        path, release = Path(args["file"]), str(args["release"])
        state = read(path)
        operators = list(args.get("operators") or [])
        if state.get("release") != release or (operators and sorted(operators) != state["operators"]):
            state = {"release": release, "operators": sorted(operators), "trials": []}
        if args.get("verdict"):
            state["trials"].append({"active": sorted(args["active"]), "verdict": str(args["verdict"])})
        trials = [localise.Trial(frozenset(row["active"]), row["verdict"]) for row in state["trials"]]
        step = localise.step(state["operators"], trials) if state["operators"] else None
        if step:
            state.update(culprits=list(step.culprits), result=step.result, words=step.why)
        if not self._task.check_mode:
            store.folder(path.parent)
            store.write(path, json.dumps(state, indent=1) + "\n")
        active = sorted(step.active) if step and step.active is not None else None
        if step and active is not None and not self._task.check_mode:
            most = localise.most_restarts(len(state["operators"]), len(step.culprits) + 1)
            Display().display(
                f"  trial {len(trials) + 1} of about {max(most, len(trials) + 1)}, {step.why}: {', '.join(active) or 'none on'}"
            )
        return {"changed": False, **state, "active": active, "over": active is None, "why": step.why if step else ""}


def read(path: Path) -> dict[str, Any]:
    """A search's file; an empty state where there is none, or none that is whole."""
    try:
        state = json.loads(path.read_text())
        if (
            isinstance(state["release"], str)
            and all(isinstance(name, str) for name in state["operators"])
            and all(isinstance(row["verdict"], str) and isinstance(row["active"], list) for row in state["trials"])
        ):
            return dict(state)
    except FileNotFoundError:
        pass
    except (ValueError, KeyError, TypeError):
        Display().warning(f"{path} is not a search that was kept here; it starts anew")
    except OSError as problem:
        raise AnsibleActionFail(f"{path} can't be read: {problem.strerror}") from None
    return {}
