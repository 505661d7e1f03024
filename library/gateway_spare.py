#!/usr/bin/python
"""Module gateway_spare: one more backend of a gateway's pool, for the minutes in which another one is swapped."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_spare
short_description: Add a backend to a pool of the running gateway, or remove it
description:
  - V(present) gives the pool of O(beside) one more backend, with that one's limit, and waits until it is up by its health check. V(absent) removes
    it; M(gateway_backend) drains it before.
  - No file of the gateway says so; a reload of HAProxy forgets it.
  - A gateway that does not run, or does not know O(beside), has nothing to do, which is no failure.
options:
  folder: {description: Where the gateway's files lie on the host., type: path, required: true}
  backend: {description: The backend's name., type: str, required: true}
  beside: {description: The backend in whose pool it is., type: str, required: true}
  state: {description: Whether it is there., type: str, choices: [present, absent], default: present}
  at: {description: "For V(present): host:port at which the gateway reaches it.", type: str}
  wait: {description: Seconds that it may take to be up or to lose its last connection., type: int, default: 60}
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
"""
EXAMPLES = r"""
- name: Let the new release answer, too
  gateway_spare:
    folder: /srv/vllm/gateway
    backend: gpu-01.demo-beside
    beside: gpu-01.demo
    at: 10.0.0.5:8001
"""
RETURN = r"""
up: {description: Whether the gateway has it up., returned: always, type: bool}
"""

import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import Refusal, run_module
from ansible.module_utils.serving.gateway import drains, runtime


def told(api: str, text: str, expected: str = "") -> None:
    """Raises Refusal where HAProxy says something else."""
    said = runtime.command(api, text).strip()
    if expected not in said or (said and not expected):
        raise Refusal("HAProxy does not take '%s': %s" % (text, said[:200]))


def removed(folder: str, api: str, place: str, name: str, wait: int) -> None:
    """Out of HAProxy, and out of the notes of what is out."""
    told(api, "set server %s state maint" % place)
    said = ""

    def gone() -> bool:
        nonlocal said
        said = runtime.command(api, "del server " + place).strip()
        return "deleted" in said

    if not runtime.until(gone, wait):
        raise Refusal("HAProxy does not remove backend '%s' after %d s: %s" % (name, wait, said[:200]))
    with drains.changing(folder) as (out, last):
        out.pop(name, None)
        last.pop(name, None)


def added(api: str, place: str, name: str, given: dict[str, Any]) -> None:
    limit = runtime.limit_of(api, place.partition("/")[0], given["beside"])
    most = " maxconn %d" % limit if limit else ""
    told(api, "add server %s %s%s check inter 2s fall 3 rise 2" % (place, given["at"], most), "registered")
    told(api, "enable health " + place)
    told(api, "set server %s state ready" % place)
    # "UP 1/3" is what it begins with, before its first check.
    status = None

    def up() -> bool:
        nonlocal status
        status = (runtime.server(api, name) or {}).get("status")
        return status == "UP"

    if not runtime.until(up, given["wait"]):
        raise Refusal("the gateway does not see backend '%s' up after %d s (%s)" % (name, given["wait"], status))


def body(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    folder, name = given["folder"], given["backend"]
    api = os.path.join(folder, "admin.sock")
    if runtime.worker(api) is None:
        return {"changed": False, "up": False}
    mine, other = runtime.server(api, name), runtime.server(api, given["beside"])
    if not other or (given["state"] == "absent" and not mine):
        return {"changed": False, "up": False}
    place = "%s/%s" % (other["pool"], name)
    if not module.check_mode:
        if mine:
            removed(folder, api, place, name, given["wait"])
        if given["state"] == "present":
            added(api, place, name, given)
    return {"changed": True, "up": given["state"] == "present"}


def main() -> None:
    spec = {
        "folder": {"type": "path", "required": True},
        "backend": {"type": "str", "required": True},
        "beside": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "at": {"type": "str"},
        "wait": {"type": "int", "default": 60},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True, required_if=[("state", "present", ["at"])]), body)


if __name__ == "__main__":
    main()
