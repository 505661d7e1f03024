#!/usr/bin/python
"""Module gateway_backend: take a service out of a gateway for a moment, and put it back, without cutting a request."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_backend
short_description: Drain a backend of the gateway, or put it back
description:
  - V(drained) gives the backend no new request and waits until those that it has are done, those of workers of before a reload included.
    Where no other backend of its model takes requests, callers get 503 with Retry-After from then on, which RV(alone) says.
  - V(ready) puts it back and waits until it is up there. V(released) puts back one whose service was stopped, without waiting; it is down until
    its service answers again.
  - What was taken out is noted beside the gateway, so that the next run knows what a killed one has left. V(ready) and V(released) put
    back what is noted alone, and leave what a person has taken out. A reload and a restart of HAProxy keep it out.
  - While another backend of the model is noted, the last one that takes requests is refused.
  - A gateway that does not run has nothing to drain, which is no failure.
options:
  folder: {description: Where the gateway's files lie on the host., type: path, required: true}
  backend: {description: The backend's name., type: str, required: true}
  state: {description: What it should be., type: str, choices: [drained, ready, released], required: true}
  wait:
    description: Seconds that its requests may take to end, after which it is put back, or that it may take to be up. Then it fails.
    type: int
    default: 600
  alone_wait:
    description:
      - The same where no other backend takes requests. Then it goes on, since callers are refused meanwhile.
      - Also where the backend was down for all these seconds, by its health checks; what it still has would not end well.
    type: int
    default: 30
  at:
    description:
      - "For V(ready): host:port at which the gateway reaches the service from now on. HAProxy and the agent are told at once, so that a port may change
        in the midst of a deploy; the gateway's next configuration says it too."
    type: str
  endpoint:
    description:
      - URL that the service's release says on its host. For V(drained) of the one that runs, with which the gateway notes where it reaches it; for
        V(ready) of the one that answers, which is reached where it was, or at this one's port, unless O(at) says it.
    type: str
  returns:
    description: "For V(ready): the release was here before, so that O(at), which is of a later row, counts only where the gateway knows no place for it."
    type: bool
    default: false
  share:
    description:
      - "For V(ready): percent of its usual share with which it takes requests for O(watched) seconds at first, where others take the rest; 0 is none."
      - If more than O(most_failed) percent of its requests fail meanwhile, or it goes down, it is drained again and this fails, with RV(canary).
    type: int
    default: 0
  watched: {description: Seconds., type: int, default: 300}
  most_failed: {description: "Percent of at least 20 requests; failed are those answered 5xx or cut by the backend.", type: int, default: 1}
  gap: {description: Take out the last one even while another one is noted., type: bool, default: false}
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
left: {description: Requests that it still had when V(drained) went on., returned: always, type: int}
canary: {description: "What became of its first requests: {requests, failed, passed}.", returned: where it took a share, type: dict}
out_seconds: {description: Seconds for which it was out; 0 where it was not or still is., returned: always, type: float}
"""

import contextlib
import json
import os
import time
from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import Refusal, run_module
from ansible.module_utils.serving.files import read_json, write_atomic
from ansible.module_utils.serving.gateway import drains, places, runtime

Backend = Dict[str, Any]
LEAST = 20  # requests that say something
SETTLES = 10  # seconds in which failing checks end in DOWN: three, 2 s apart, and what one of them takes
NO_AGENT = "L4CON"  # what HAProxy's last question to the agent gave: connection refused


def order(folder: str, row: Backend, *words: str) -> None:
    """Raises Refusal where HAProxy does not take it. What it takes outlives a restart of HAProxy."""
    api, master = (os.path.join(folder, name) for name in ("admin.sock", "master.sock"))
    for word in words:
        text = "set server %s/%s %s" % (row["pool"], row["name"], word)
        try:
            runtime.of_old_workers(master, text)  # callers whose connection one of them keeps
        except Refusal:
            if word == "state drain":  # of one that doesn't hear what comes back only the last requests go elsewhere
                raise
        said = runtime.command(api, text).strip()
        if said:
            raise Refusal("HAProxy did not set backend '%s' to %s: %s" % (row["name"], word, said[:200]))
    runtime.save_states(api, os.path.join(folder, "servers.state"))


def look(folder: str, name: str) -> Backend | None:
    row: Backend | None = runtime.server(os.path.join(folder, "admin.sock"), name)
    return row


def settled(row: Backend) -> bool:
    """Neither on its way down ("UP 2/3") nor without a first check ("UP 1/3"): whether it takes requests will not be another thing in a moment."""
    return not str(row["status"]).startswith("UP ")


def busy(folder: str, name: str) -> int:
    """Requests that the backend has or is about to get."""
    row = look(folder, name)
    if row is None:
        return 0
    master = os.path.join(folder, "master.sock")
    here = int(row["sessions"]) + int(row["queued"])
    return here + int(runtime.old_sessions(master, row["pool"], name))


def take_out(folder: str, name: str, gap: bool, endpoint: str | None, check: bool) -> tuple[bool, bool]:
    """Note it, then give it no new requests: (changed, alone). Raises Refusal where a run that takes part is not at its end."""
    api = os.path.join(folder, "admin.sock")

    def beside(rows: list[Backend]) -> list[Backend]:
        pool = next(row["pool"] for row in rows if row["name"] == name)
        return [row for row in rows if row["pool"] == pool and row["name"] != name]

    if not check:
        runtime.until(lambda: all(map(settled, beside(runtime.servers(api)))), SETTLES)
    with contextlib.nullcontext(drains.read(folder)) if check else drains.changing(folder) as (out, last):
        rows = runtime.servers(api)
        mine, others = next(row for row in rows if row["name"] == name), beside(rows)
        alone = not any(row["status"] == "UP" and not row["out"] for row in others)
        held = [row["name"] for row in others if row["name"] in out]
        if alone and held and name not in out and not gap:
            raise Refusal(
                "backend '%s' is the last one of its model that takes requests, and %s is out since an operation that did not end; "
                "run that one again first, or accept a gap: -e gateway_gap=true" % (name, ", ".join(held))
            )
        changed = not mine["out"] or name not in out
        if not check:
            drains.begin(out, name, alone)
            # Before the order: a run that is killed here has noted too much, which is mended, and never too little.
            drains.write(folder, out, last)
            if endpoint and mine["status"].startswith("UP"):
                here = runtime.address_of(api, mine["pool"], name)
                places.remember(folder, name, endpoint, here)
            if not mine["out"]:
                order(folder, mine, "state drain")
        return changed, alone


def drained(given: dict[str, Any], check: bool) -> dict[str, Any]:
    folder, name = given["folder"], given["backend"]
    changed, alone = take_out(folder, name, given["gap"], given["endpoint"], check)
    result = {"changed": changed, "alone": alone, "waited": 0.0, "left": 0, "out_seconds": 0.0}
    began = lived = time.monotonic()
    while not check:
        left, now = busy(folder, name), time.monotonic()
        if not alone and not str((look(folder, name) or {}).get("status")).startswith("DOWN"):
            lived = now
        result.update(left=left, waited=round(now - began, 1))
        if not left or now - lived > given["alone_wait"]:
            break
        if not alone and result["waited"] > given["wait"]:
            put_back(folder, name, "state ready")
            raise Refusal(
                "backend '%s' still has requests after %d s; it takes new ones again. Run this at a quieter time, or allow more seconds "
                "(gateway_drain_seconds)" % (name, given["wait"])
            )
        time.sleep(0.2)
    return result


def put_back(folder: str, name: str, *words: str, endpoint: str | None = None) -> float:
    """Give the order and forget the note: seconds for which it was out."""
    with drains.changing(folder) as (out, last):
        row = look(folder, name)
        if row is not None:
            order(folder, row, *words)
            if endpoint:
                here = runtime.address_of(os.path.join(folder, "admin.sock"), row["pool"], name)
                places.remember(folder, name, endpoint, here)
        times = drains.finish(out, last, name)
        return round(float(times["until"] - times["since"]), 1)


def tell_agent(folder: str, row: Backend, at: str) -> None:
    """Have the health agent ask there."""
    path = os.path.join(folder, "agent.json")
    settings = read_json(path) or {}
    for one in settings.get("backends", []):
        if one["id"] == "%s/%s" % (row["pool"], row["name"]):
            one["url"] = "http://" + at
    write_atomic(path, (json.dumps(settings, indent=1) + "\n").encode(), 0o600)


def watch(folder: str, row: Backend, given: dict[str, Any]) -> dict[str, Any]:
    """The backend's first requests, at a small share: {requests, failed, passed}. Raises Refusal where too many fail."""
    api, place = os.path.join(folder, "admin.sock"), (row["pool"], row["name"])
    began, before = time.monotonic(), runtime.answered(api, *place)
    found = {"requests": 0, "failed": 0, "passed": True}
    while found["passed"] and time.monotonic() - began < given["watched"]:
        time.sleep(0.5)
        now = look(folder, row["name"])
        late = runtime.answered(api, *place)
        ended, failed = late[0] - before[0], late[1] - before[1]
        many = ended >= LEAST and 100 * failed > given["most_failed"] * ended
        found = {
            "requests": ended,
            "failed": failed,
            "passed": now is not None and now["status"].startswith("UP") and not many,
        }
    if not found["passed"]:
        order(folder, row, "state drain")
        raise Refusal(
            "of the first %d requests to backend '%s' %d failed in %d s, or it went down, so it takes no more (gateway_canary_failed allows %d %%)"
            % (found["requests"], row["name"], found["failed"], time.monotonic() - began, given["most_failed"]),
            canary=found,
        )
    return found


def place(folder: str, row: Backend, given: dict[str, Any]) -> str:
    """Where it is reached from now on; empty for where it was."""
    if not given["endpoint"] or (given["at"] and not given["returns"]):
        return given["at"] or ""
    now = runtime.address_of(os.path.join(folder, "admin.sock"), row["pool"], row["name"])
    known = places.place(places.read(folder).get(row["name"], {}), given["endpoint"], now)
    return known or given["at"] or ""


def doubt(folder: str, row: Backend) -> None:
    """Have the backend down until the agent says anew that it is up: what HAProxy has heard may be older than its process, and the next backend
    would go because this one seems to be there. Old workers ask no agent any more. Not for an agent that doesn't run: nobody would say that it is up."""
    said = runtime.command(
        os.path.join(folder, "admin.sock"), "set server %s/%s agent down" % (row["pool"], row["name"])
    )
    if said.strip():
        raise Refusal("HAProxy does not set the agent of backend '%s' down: %s" % (row["name"], said.strip()[:200]))


def ready(given: dict[str, Any], alone: bool) -> dict[str, Any]:
    """Orders first and forgets last, so that a run that is killed in between leaves the note."""
    folder, name = given["folder"], given["backend"]
    row = look(folder, name)
    if row is not None:
        at = place(folder, row, given)
        if at and runtime.readdress(os.path.join(folder, "admin.sock"), row["pool"], name, at):
            tell_agent(folder, row, at)
        if row["out"] and not alone and not row["agent"].endswith(NO_AGENT):
            doubt(folder, row)
        order(folder, row, "weight %d%%" % (given["share"] or 100), "state ready")
    began = time.monotonic()

    def up() -> bool:
        nonlocal row
        row = look(folder, name)
        return row is None or bool(row["status"] == "UP")  # "UP 1/3" is on its way down

    if not runtime.until(up, given["wait"]) and row is not None:
        raise Refusal(
            "the gateway does not see backend '%s' up after %d s (%s); look at its service and at the log of vllm-gateway-agent; if its "
            "name or key is another one now, run playbooks/gateway.yml, then this again"
            % (name, given["wait"], row["status"])
        )
    more: dict[str, Any] = {"waited": round(time.monotonic() - began, 1)}
    if row is not None and given["share"]:
        more["canary"] = watch(folder, row, given)
    seconds = put_back(folder, name, "weight 100%", "state ready", endpoint=given["endpoint"])
    return dict(more, out_seconds=seconds)


def body(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    folder, name = given["folder"], given["backend"]
    nothing = {"changed": False, "alone": False, "waited": 0.0, "left": 0, "out_seconds": 0.0}
    if runtime.worker(os.path.join(folder, "admin.sock")) is None or look(folder, name) is None:
        return nothing
    if given["state"] == "drained":
        return drained(given, module.check_mode)
    noted = drains.read(folder)[0].get(name)
    if noted is None:
        return nothing
    result = dict(nothing, changed=True, alone=noted["alone"])
    if module.check_mode:
        return result
    if given["state"] == "ready":
        return dict(result, **ready(given, noted["alone"]))
    return dict(result, out_seconds=put_back(folder, name, "health down", "state ready"))


def main() -> None:
    spec = {
        "folder": {"type": "path", "required": True},
        "backend": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["drained", "ready", "released"], "required": True},
        "wait": {"type": "int", "default": 600},
        "alone_wait": {"type": "int", "default": 30},
        "at": {"type": "str"},
        "endpoint": {"type": "str"},
        "returns": {"type": "bool", "default": False},
        "share": {"type": "int", "default": 0},
        "watched": {"type": "int", "default": 300},
        "most_failed": {"type": "int", "default": 1},
        "gap": {"type": "bool", "default": False},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
