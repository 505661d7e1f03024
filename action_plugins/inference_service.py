"""Action inference_service: bring the files that a release is made of.

The module says which of them the host lacks: a second run, and a release that differs in something else, move nothing.
"""

from __future__ import annotations

import hashlib
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase


def content_of(name: str, path: str) -> str:
    """`sha256:...` of a file on the controller."""
    found = hashlib.sha256()
    try:
        with open(path, "rb") as source:
            while block := source.read(1 << 20):
                found.update(block)
    except OSError as error:
        raise AnsibleActionFail(f"{name}: {path} can't be read on the controller ({error.strerror})") from None
    return f"sha256:{found.hexdigest()}"


class ActionModule(ActionBase):
    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        args = dict(self._task.args)
        inputs = args.pop("inputs", None) or {}
        if inputs:
            contents = {name: content_of(name, path) for name, path in inputs.items()}
            spec = dict(args.get("spec") or {})
            args["spec"] = {**spec, "inputs": {**(spec.get("inputs") or {}), **contents}}
        result = self.ask(args, task_vars)
        if result.get("lacking"):
            args["inputs"] = self.bring({name: inputs[name] for name in result["lacking"]})
            result = self.ask(args, task_vars)
        if inputs and result.get("failed") is not True and result.get("lacking"):
            return {"failed": True, "msg": f"{', '.join(result['lacking'])} did not arrive; run it again"}
        return result

    def ask(self, args: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        result: dict[str, Any] = self._execute_module(
            module_name="inference_service", module_args=args, task_vars=task_vars
        )
        return result

    def bring(self, files: dict[str, str]) -> dict[str, str]:
        """{name: path on the host} of files that are there now, below the task's temporary folder."""
        if not self._connection._shell.tmpdir:
            self._make_tmp_path()
        folder = self._connection._shell.tmpdir
        found = {}
        for number, (name, path) in enumerate(sorted(files.items())):
            found[name] = self._transfer_file(path, self._connection._shell.join_path(folder, f"input-{number}"))
        self._fixup_perms2((folder, *found.values()))
        return found
