"""Run a module with the variables of fetch_environment, which may hold the password of a proxy.

Ansible writes a task's `environment` into the command line of the module, where everybody on the host and `-vvv` sees it. Here the
variables travel inside the module's own text, as its options do, and are in its environment before its first line runs.
What they hold that is secret is taken out of the result, since tools like to name the proxy that they could not reach.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import re
import urllib.parse
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from planning.rows import type_name

VARIABLE = "fetch_environment"
SECRET = re.compile(r"(?i)(token|passw(or)?d|secret|credentials?|api_?key|auth)$")
HIDDEN = "********"
# Modules that hand the variables on to something else: the option in which they get them.
AS_OPTION = {"container_engine_info": "environment", "image_build": "environment_of_pip"}


def secrets_of(environment: dict[str, str]) -> list[str]:
    """What must not be seen of the variables, the longest first: users and passwords in addresses, values of secret names."""
    found: set[str] = set()
    for name, value in environment.items():
        if SECRET.search(name) and len(value) > 3:
            found.add(value)
        for user in re.findall(r"//(\S*)@", value):
            password = user.partition(":")[2]
            plain = urllib.parse.unquote(user)
            coded = base64.b64encode(plain.encode()).decode()
            found |= {text for text in (user, plain, coded, password, urllib.parse.unquote(password)) if len(text) > 3}
    return sorted(found, key=len, reverse=True)


def hidden(value: Any, secrets: list[str]) -> Any:
    """A result without the secrets, at every depth."""
    if isinstance(value, dict):
        return {hidden(key, secrets): hidden(inner, secrets) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [hidden(inner, secrets) for inner in value]
    if isinstance(value, str) and any(secret in value for secret in secrets):
        for secret in secrets:
            value = value.replace(secret, HIDDEN)
    return value


def with_environment(text: bytes, environment: dict[str, str]) -> bytes:
    """A module's Python text that sets these variables first. AnsibleActionFail where it isn't what Ansible makes of a module."""
    begin = re.search(rb"^_ANSIBALLZ_WRAPPER = True.*\n", text, re.M)
    if begin is None:
        raise AnsibleActionFail(
            f"{VARIABLE} can't be handed to this module: it is none that Ansible packs; take another module"
        )
    packed = base64.b64encode(json.dumps(environment).encode()).decode()
    line = f"import base64, json, os; os.environ.update(json.loads(base64.b64decode('{packed}')))\n"
    return text[: begin.end()] + line.encode() + text[begin.end() :]


def lacking(result: dict[str, Any]) -> str | None:
    """The interpreter that a module would run with, where the host has none there."""
    found = re.search(r"module interpreter '(.*?)' was not found", str(result.get("msg")))
    return found[1] if found else None


class Fetching(ActionBase):
    """What actions have in common whose modules fetch from outside."""

    _requires_connection = True
    _supports_check_mode = True
    environment: dict[str, str] = {}

    def read_environment(self, task_vars: dict[str, Any] | None) -> None:
        found = self._templar.template((task_vars or {}).get(VARIABLE) or {})
        if not isinstance(found, dict):
            raise AnsibleActionFail(
                f"{VARIABLE} is {type_name(found)}; it must be names and values, such as {{HTTPS_PROXY: ...}}"
            )
        bad = [name for name in found if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", str(name))]
        if bad:
            raise AnsibleActionFail(f"{VARIABLE} has {bad[0]!r}, which is no name of an environment variable")
        self.environment = {str(name): str(value) for name, value in found.items() if value is not None}

    def _configure_module(self, *args: Any, **options: Any) -> Any:
        bits, path = super()._configure_module(*args, **options)
        if self.environment:
            bits = dataclasses.replace(bits, b_module_data=with_environment(bits.b_module_data, self.environment))
        return bits, path

    def _execute_module(self, *args: Any, **options: Any) -> dict[str, Any]:
        result: dict[str, Any] = super()._execute_module(*args, **options)
        missing = lacking(result)
        if missing and not self._task.check_mode:
            said = f"{missing} is not on this host, and this step runs with it; make it first: deploy.yml, or playbooks/prepare.yml"
            return {"failed": True, "changed": False, "msg": said}
        return result

    def hide(self, result: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = hidden(result, secrets_of(self.environment))
        return found


class ActionModule(Fetching):
    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        self.read_environment(task_vars)
        name, options = self._task.action.rpartition(".")[2], dict(self._task.args)
        if name == "fetching":
            unknown = sorted(set(options) - {"module", "options"})
            if unknown or not isinstance(options.get("options"), dict) or not options.get("module"):
                raise AnsibleActionFail(f"fetching takes module and options, not {', '.join(unknown) or 'less'}")
            name, options = options["module"], options["options"]
        if name in AS_OPTION:
            options[AS_OPTION[name]] = self.environment
        return self.hide(self._execute_module(name, module_args=options, task_vars=task_vars))
