"""Action `compare`: every pair of some packs. Runs on the controller alone."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

sys.path.append(str(Path(__file__).resolve().parent.parent))  # Ansible loads a plugin by its path alone

from judging import packs, pairs
from judging.verdict import DIFFERENT

DOCUMENTATION = """
module: compare
short_description: Are these packs alike, each with each?
options:
  packs: {description: "Their folders on the controller, two at least; the first of a pair is its reference.", type: list, elements: path, required: true}
  margins: {description: "{divergence: nats, score: points, tie: nats}; what is left out is the first pack's.", type: dict, default: {}}
  signers: {description: File of signers of whom the packs must be; empty asks for no signature., type: str, default: ""}
"""


class ActionModule(ActionBase):
    _requires_connection = False
    _supports_check_mode = True
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        folders = [str(folder) for folder in self._task.args.get("packs") or []]
        if len(folders) < 2:
            raise AnsibleActionFail(f"a comparison needs two packs, and there is {', '.join(folders) or 'none'}")
        try:
            found = [packs.read(Path(folder), self._task.args.get("signers") or "") for folder in folders]
        except packs.BadPack as problem:
            raise AnsibleActionFail(str(problem)) from None
        if len({pack.name for pack in found}) < len(found):
            raise AnsibleActionFail("two packs have the same name; copy one into a folder of another name")
        matrix = pairs.matrix(found, self._task.args.get("margins") or {})
        words = {record["verdict"] for row in matrix.values() for record in row.values()}
        return {
            **result,
            "changed": False,
            "matrix": matrix,
            "text": pairs.matrix_text(matrix),
            "different": DIFFERENT in words,
        }
