#!/usr/bin/python
"""Module gateway_backend: take a service out of a gateway for a moment, and put it back, without cutting a request."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_backend
short_description: Drain a backend of the gateway, or put it back
description:
  - V(drained) gives the backend no new request and waits until those that it has are done. It leaves alone
    the last backend of a model that takes requests, since its callers would only be refused earlier, and says so in RV(alone).
  - V(ready) puts it back and waits until it is up there. A reload in between keeps it drained.
  - A gateway that does not run has nothing to drain, which is no failure.
options:
  folder: {description: Where the gateway's files lie on the host., type: path, required: true}
  backend: {description: The backend's name., type: str, required: true}
  state: {description: What it should be., type: str, choices: [drained, ready], required: true}
  wait:
    description: Seconds that its requests may take to end, after which it is put back, or that it may take to be up. Then it fails.
    type: int
    default: 600
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
"""
EXAMPLES = r"""
- name: No new requests for it
  gateway_backend:
    folder: /srv/vllm/gateway
    backend: gpu-01.demo
    state: drained
"""
RETURN = r"""
alone: {description: Whether no other backend of its model takes requests., returned: always, type: bool}
waited: {description: Seconds until its requests were done or it was up., returned: always, type: float}
"""

import os
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import Refusal, run_module
from ansible.module_utils.serving.gateway import runtime


def order(api: str, row: dict[str, Any], state: str) -> None:
    """Raises Refusal where HAProxy does not take it."""
    said = runtime.command(api, "set server %s/%s state %s" % (row["pool"], row["name"], state)).strip()
    if said:
        raise Refusal("HAProxy did not set backend '%s' to %s: %s" % (row["name"], state, said[:200]))


def status_of(api: str, name: str) -> str:
    return next((str(row["status"]) for row in runtime.servers(api) if row["name"] == name), "gone")


def body(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    api = os.path.join(given["folder"], "admin.sock")
    nothing = {"changed": False, "alone": False, "waited": 0.0}
    if runtime.worker(api) is None:
        return nothing
    rows = runtime.servers(api)
    mine = next((row for row in rows if row["name"] == given["backend"]), None)
    if mine is None:
        return nothing
    out = mine["status"].startswith(("DRAIN", "MAINT"))
    if given["state"] == "ready":
        if out and not module.check_mode:
            order(api, mine, "ready")
        began = time.monotonic()
        while not module.check_mode and not status_of(api, mine["name"]).startswith("UP"):
            if time.monotonic() - began > given["wait"]:
                raise Refusal(
                    "the gateway does not see backend '%s' up after %d s (%s); look at its service and at the log of vllm-gateway-agent"
                    % (mine["name"], given["wait"], status_of(api, mine["name"]))
                )
            time.sleep(0.2)
        return dict(nothing, changed=out, waited=round(time.monotonic() - began, 1))
    others = [
        row
        for row in rows
        if row["pool"] == mine["pool"] and row["name"] != mine["name"] and row["status"].startswith("UP")
    ]
    if not others:
        return dict(nothing, alone=True)
    if module.check_mode:
        return dict(nothing, changed=not out)
    if not out:
        order(api, mine, "drain")
    began = time.monotonic()
    while next((row["sessions"] for row in runtime.servers(api) if row["name"] == mine["name"]), 0):
        if time.monotonic() - began > given["wait"]:
            order(api, mine, "ready")
            raise Refusal(
                "backend '%s' still has requests after %d s; it takes new ones again. Run this at a quieter time, or allow more seconds"
                % (given["backend"], given["wait"])
            )
        time.sleep(0.2)
    return dict(nothing, changed=not out, waited=round(time.monotonic() - began, 1))


def main() -> None:
    spec = {
        "folder": {"type": "path", "required": True},
        "backend": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["drained", "ready"], "required": True},
        "wait": {"type": "int", "default": 600},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
