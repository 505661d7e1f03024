#!/usr/bin/python
"""Module deploy_lock: one deploy a host at a time."""

from __future__ import annotations

DOCUMENTATION = r"""
module: deploy_lock
short_description: Take or give back the lock that a running deploy holds on a host
description:
  - The lock is a file in the serving root. It names operator, controller, run and time, so that the second operator knows whom to ask.
  - A run that no longer lives on the same controller holds nothing; its lock is taken over.
  - Whether a run of another controller lives can't be seen from here. Its lock holds for O(max_age) seconds, or until O(break_lock) is set.
options:
  serving_root: {description: Folder of everything that serves., type: path, required: true}
  state: {description: Take the lock or give it back., type: str, choices: [held, released], default: held}
  holder:
    description: What lookup P(controller#lookup) returns on the controller.
    type: dict
    required: true
  break_lock: {description: Take the lock whoever holds it., type: bool, default: false}
  max_age: {description: Seconds after which a lock of another controller no longer holds., type: int, default: 43200}
attributes:
  check_mode: {support: full, details: Says who holds the lock, writes nothing.}
  diff_mode: {support: none}
notes:
  - The lock is no state of the host, so taking it is not reported as a change.
"""
EXAMPLES = r"""
- name: Take the lock
  deploy_lock:
    serving_root: /srv/vllm
    holder: "{{ lookup('controller') }}"
"""
RETURN = r"""
holder: {description: Who holds the lock now., returned: always, type: dict}
taken_over: {description: Why an older lock no longer held., returned: when there was one, type: str}
"""

import contextlib
import os
import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import Refusal, run_module
from ansible.module_utils.serving.files import locked, read_json, write_json

KEYS = ("operator", "controller", "run")


def why_free(lock: dict | None, me: dict, max_age: int, now: float) -> str | None:
    """Why `lock` does not keep `me` out; None if it does."""
    if not isinstance(lock, dict) or not all(lock.get(key) for key in KEYS):
        return "there was no readable lock"
    if all(lock[key] == me[key] for key in KEYS):
        return "it is our own"
    host, _, boot = me["controller"].partition("/")
    its_host, _, its_boot = lock["controller"].partition("/")
    live = me.get("live")
    if live is not None and its_host == host and (its_boot != boot or lock["run"] not in live):
        return "run %s of %s on this controller has ended" % (lock["run"], lock["operator"])
    if now - float(lock.get("since", 0)) > max_age:
        return "it is older than %d s" % max_age
    return None


def body(module: AnsibleModule) -> dict:
    given = module.params
    root, me = given["serving_root"], given["holder"]
    path = os.path.join(root, "deploy.lock")
    if module.check_mode and not os.path.isdir(root):
        return {"changed": False, "holder": None}
    os.makedirs(root, mode=0o755, exist_ok=True)
    guard = contextlib.nullcontext()
    if not module.check_mode:
        guard = locked(os.path.join(root, ".deploy.flock"), "the deploy lock", timeout=10)
    with guard:
        try:
            lock = read_json(path)
        except ValueError:
            lock = None
        if given["state"] == "released":
            if lock and lock.get("run") == me["run"] and not module.check_mode:
                os.unlink(path)
            return {"changed": False, "holder": None}
        free = why_free(lock, me, given["max_age"], time.time())
        if free is None and not given["break_lock"]:
            since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(float(lock.get("since", 0))))
            raise Refusal(
                "another deploy is running on this host: %s, from controller %s, since %s (process %s). Wait for it; "
                "if it no longer runs, repeat with -e break_lock=true"
                % (lock["operator"], lock["controller"].partition("/")[0], since, lock["run"].partition("@")[0])
            )
        mine = dict({key: me[key] for key in KEYS}, since=time.time())
        if not module.check_mode:
            write_json(path, mine)
    return {"changed": False, "holder": mine, "taken_over": (free or "broken by the operator") if lock else None}


def main() -> None:
    spec = {
        "serving_root": {"type": "path", "required": True},
        "state": {"type": "str", "choices": ["held", "released"], "default": "held"},
        "holder": {"type": "dict", "required": True},
        "break_lock": {"type": "bool", "default": False},
        "max_age": {"type": "int", "default": 43200},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
