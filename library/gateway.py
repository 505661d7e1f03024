#!/usr/bin/python
"""Module gateway: run HAProxy with our configuration, and reload it without cutting a stream."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway
short_description: Run HAProxy as the one address of all models, and have it read changes without cutting a stream
description:
  - Runs an HAProxy of its own beside the distribution's service, which it leaves alone, and the agent that asks backends for real answers.
  - Files are checked by C(haproxy -c) before anything reads them; if it refuses, the files before come back and the old worker goes on.
  - A change is read by a reload, in which streams that run end by themselves and who is up, drained or in maintenance stays so.
  - Backends are reached where O(agent_settings) say from then on, though HAProxy remembers addresses over a reload.
  - The run after one that was killed reloads, whatever its files, because only a finished reload is recorded, and asks old workers whom they let through.
  - A reload tells workers of before it which callers and keys are gone, for the connections that they keep; one that doesn't answer is an error.
  - A file of the gateway that somebody has changed by hand comes back, with a reload.
  - HAProxy is a program of the host or, with O(runtime=container), a container of O(image) with the host's network, the folder and nothing else.
  - Another form, program, unit or option of the container ends the HAProxy that runs, and its streams with it; RV(ended) says so.
  - Another image waits for O(replace).
  - A port on which another program listens is refused; HAProxy itself would share it with another HAProxy.
  - O(state=absent) ends all programs of the gateway and removes its folder; the image and the distribution's package stay.
options:
  state: {description: Whether there is a gateway., type: str, choices: [present, absent], default: present}
  folder: {description: Where its files lie on the host., type: path, required: true}
  serving_root: {description: Folder of everything that serves., type: path, required: true}
  supervisor: {description: Who runs the processes., type: str, choices: [auto, systemd, supervisord], default: auto}
  runtime: {description: "The form of HAProxy; M(gateway_info) chooses one.", type: str, choices: [package, container], default: package}
  haproxy: {description: HAProxy's program., type: str, default: haproxy}
  image: {description: "Id of the container's image on this host; empty in check mode alone, where it is not there yet.", type: str, default: ''}
  address: {description: Where HAProxy listens., type: str, default: 0.0.0.0}
  replace: {description: "End a container that runs, and its streams, for one of another O(image).", type: bool, default: false}
  ports:
    description: "Its ports by the settings that say them, such as {gateway_port: 8443}; one below 1024 needs a right of the container."
    type: dict
    default: {}
  connections: {description: "Connections at a time, for which the container may open files.", type: int, default: 2000}
  config: {description: Text of haproxy.cfg; it has no secret. Needed while present., type: str}
  maps: {description: "Other files without a secret that can be used, {name: text}.", type: dict, default: {}}
  certificate: {description: Certificate chain and private key as PEM., type: str}
  certificate_keep: {description: Leave the certificate that is there as it is; M(gateway_acme) renews it., type: bool, default: false}
  backend_keys:
    description: "Keys of the backends, {pool: key}. A pool that is not named keeps the key that the gateway has."
    type: dict
    default: {}
  pools: {description: Pools that need a key., type: list, elements: str, default: []}
  refused: {description: "Backends that their pool refuses, and why; M(gateway_info) tells them.", type: dict, default: {}}
  agent: {description: Text of the health agent. Needed while present., type: str}
  agent_settings: {description: What it reads. Needed while present., type: str}
attributes:
  check_mode: {support: full}
  diff_mode: {support: full, details: The configuration; of other files only their names.}
"""
EXAMPLES = r"""
- name: Balance
  gateway:
    folder: /srv/vllm/gateway
    serving_root: /srv/vllm
    config: "{{ gateway_config }}"
    maps: "{{ gateway_maps }}"
    agent: "{{ lookup('ansible.builtin.file', 'agent.py') }}"
    agent_settings: "{{ gateway_agent }}"
"""
RETURN = r"""
ended: {description: "The HAProxy that ran and ended, or would, with its streams, for another form or unit; empty where none did.", returned: always, type: str}
waits: {description: "Whether a container goes on with the image that it has, since O(replace) is not said.", returned: always, type: bool}
files: {description: "Names of files that changed; with O(state=absent), paths of what was removed.", returned: always, type: list, elements: str}
version: {description: "HAProxy's version; empty in check mode where it is not installed yet.", returned: always, type: str}
reloaded: {description: Whether a running HAProxy has read a change., returned: always, type: bool}
backends: {description: "Each backend: {pool, name, status, sessions, queued}.", returned: success, type: list, elements: dict}
"""

import contextlib
import json
import os
import sys
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import Refusal, run_module
from ansible.module_utils.serving.files import (
    digest,
    locked,
    own_folder,
    read_json,
    remove_tree,
    write_atomic,
    write_json,
)
from ansible.module_utils.serving.gateway import forms, neighbours, places, runtime
from ansible.module_utils.serving.gateway.units import AGENT, ALL, PROXY, RUNS, run_unit, unit_differs
from ansible.module_utils.serving.service.supervisors import Supervisor, read_text, supervisor

KEYS = "backend_keys.map"
RIGHTS = ("callers.map", "ends.map", "allowed.map", KEYS)  # whom a worker lets through, and with what
CERTIFICATE = "gateway.pem"
OF_AGENT = {"agent.py", "agent.json"}
LOADED = "loaded.json"  # what HAProxy and the agent have read, told by the run that had it read
NOTHING: dict[str, Any] = {"ended": "", "waits": False, "files": [], "version": "", "reloaded": False, "backends": []}


def keys_text(folder: str, given: dict[str, str], pools: list[str]) -> str:
    """The map of backends' keys; what was not read this time stays. Raises Refusal where a pool's key was never read."""
    had = runtime.map_rows(read_text(os.path.join(folder, KEYS)))
    missing = [pool for pool in pools if pool not in given and pool not in had]
    if missing:
        raise Refusal(
            "the keys of %s could not be read from the hosts of their backends; deploy the services first, and look whether the hosts are reachable"
            % ", ".join(missing)
        )
    return "".join("%s %s\n" % (pool, given.get(pool, had.get(pool))) for pool in sorted(pools))


def own_ports(given: dict[str, Any]) -> list[tuple[str, int, str]]:
    """(address, port, setting) of what HAProxy listens on; a port 0 is none."""
    return [(given["address"], int(port), setting) for setting, port in given["ports"].items() if int(port)]


def tell_old_workers(folder: str) -> None:
    """Workers of before a reload answer each kept connection once more: with the backends' keys of now, and no caller who may no longer ask.

    Each is asked what it knows, since a run that was killed may have told it nothing. Raises Refusal where one that goes on doesn't take it.
    """
    master = os.path.join(folder, "master.sock")
    for pid in runtime.old_workers(master):
        for name in RIGHTS:
            path = os.path.join(folder, name)
            now = runtime.map_rows(read_text(path))
            for key, value in runtime.known_rows(runtime.of_worker(master, pid, "show map %s" % path)).items():
                if now.get(key) != value:
                    order = "set map %s %s %s" % (path, key, now[key]) if key in now else "del map %s %s" % (path, key)
                    said = runtime.of_worker(master, pid, order).strip()
                    if said and pid in runtime.old_workers(master):
                        raise Refusal(
                            "HAProxy's old worker %s still has connections and took no change of %s (%s); run this again, or end it: kill %s"
                            % (pid, name, said[:200], pid)
                        )


def put(folder: str, wanted: dict[str, str], form: forms.Program | forms.Container) -> None:
    """Write the files and have HAProxy check them; the ones before come back if it refuses.

    The record of what HAProxy has read goes before the first of them: of a run that is killed from here on, nobody knows how far it came.
    """
    paths = {name: os.path.join(folder, name) for name in (LOADED, *wanted)}
    before = {name: read_text(path) for name, path in paths.items() if os.path.exists(path)}
    changed = [name for name, text in wanted.items() if text != before.get(name)]
    if changed:
        remove_tree(paths[LOADED])
    for name in changed:
        write_atomic(paths[name], wanted[name].encode(), 0o600)
    try:
        form.check(paths["haproxy.cfg"])
    except Refusal:
        for name in [*changed, LOADED]:
            if name in before:
                write_atomic(paths[name], before[name].encode(), 0o600)
            else:
                remove_tree(paths[name])
        raise


def answers(socket_path: str, owner: Supervisor, seconds: float = 20.0) -> None:
    if not runtime.until(lambda: runtime.worker(socket_path) is not None, seconds):
        tail = " | ".join(owner.log_tail(PROXY, 5))
        raise Refusal("HAProxy did not start in %d s (log: %s): %s" % (seconds, owner.log_place(PROXY), tail[-800:]))


def readdress(folder: str, settings: str) -> int:
    """Have HAProxy reach its backends where the agent does: how many are reached elsewhere now. Nothing where it does not run."""
    moved, api = 0, os.path.join(folder, "admin.sock")
    for one in json.loads(settings)["backends"]:
        pool, _, name = one["id"].partition("/")
        with contextlib.suppress(OSError):
            known = runtime.address_of(api, pool, name)
            if known and runtime.readdress(api, pool, name, one["url"].partition("//")[2]):
                moved += 1
                places.forget(folder, name, known)
    return moved


def removed(module: AnsibleModule, owner: Supervisor) -> dict[str, Any]:
    """End and remove all of the gateway that this module and its sisters have made on this host."""
    folder = module.params["folder"]
    units = [name for name in ALL if os.path.exists(owner.unit_path(name))]
    there = [*(owner.unit_path(name) for name in units), *([folder] if os.path.lexists(folder) else [])]
    if there and not module.check_mode:
        with locked(lock_of(folder), "the gateway", keep=False):
            for name in units:
                owner.stop(name)
                owner.remove(name)
            forms.end_container(folder)
            remove_tree(folder)
    diff = {
        "before": "".join(path + "\n" for path in there),
        "after": "",
        "before_header": "gateway",
        "after_header": "gateway",
    }
    return {**NOTHING, "changed": bool(there), "files": there, "diff": diff}


def lock_of(folder: str) -> str:
    return os.path.join(os.path.dirname(folder), ".gateway.lock")


def body(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    folder = given["folder"]
    owner = supervisor(given["serving_root"], given["supervisor"])
    if given["state"] == "absent":
        return removed(module, owner)
    form = forms.form_of(given)
    try:
        version = form.version() if form.named else ""
    except Refusal:
        if not module.check_mode:
            raise
        version = ""  # package or image come with the real run
    config = os.path.join(folder, "haproxy.cfg")
    wanted = {
        "haproxy.cfg": given["config"],
        "agent.py": given["agent"],
        "agent.json": given["agent_settings"],
        "refused.json": json.dumps(given["refused"], indent=1, sort_keys=True) + "\n",
        **given["maps"],
        **form.files(),
    }
    kept = given["certificate_keep"]
    if given["certificate"] and not (kept and os.path.exists(os.path.join(folder, CERTIFICATE))):
        wanted[CERTIFICATE] = given["certificate"].rstrip() + "\n"
    before = read_text(config)
    api = os.path.join(folder, "admin.sock")
    if len(api) > 100:
        raise Refusal(
            "the folder %s is too long: its socket's path has %d characters, the limit is 100; choose a shorter serving_root"
            % (folder, len(api))
        )
    if not module.check_mode:
        own_folder(folder, 0o700)
    with contextlib.nullcontext() if module.check_mode else locked(lock_of(folder), "the gateway"):
        neighbours.check(
            [*own_ports(given), ("127.0.0.1", json.loads(given["agent_settings"])["port"], "gateway_agent_port")],
            folder,
        )
        wanted[KEYS] = keys_text(folder, given["backend_keys"], given["pools"])
        files = [name for name, text in wanted.items() if read_text(os.path.join(folder, name)) != text]
        try:
            loaded = read_json(os.path.join(folder, LOADED)) or {}
        except ValueError:
            loaded = {}
        number = digest({name: text for name, text in wanted.items() if not (kept and name == CERTIFICATE)})
        # HAProxy may have read others, or these before somebody changed them.
        unread = loaded.get("files") != number or bool(files)
        alive = runtime.worker(api) is not None
        ended = form.replaces() if alive else ""
        if alive and not ended and unit_differs(owner, PROXY, form.command(), folder, form.spec):
            ended = "HAProxy of another unit"
        agent = [sys.executable, "-u", *(os.path.join(folder, name) for name in ("agent.py", "agent.json", KEYS))]
        # It reads its program, port and backends once: what the one that runs has read, only a run that came to its end tells.
        read = digest({name: wanted[name] for name in OF_AGENT})
        stale = loaded.get("agent") != read or bool(OF_AGENT & set(files))
        idle = owner.state(AGENT) not in RUNS or unit_differs(owner, AGENT, agent, folder)
        result = {
            **NOTHING,
            "changed": unread or stale or idle or not alive or not version or bool(ended),
            "ended": ended,
            "waits": given["runtime"] == "container" and form.named != given["image"],
            "files": sorted(files),
            "version": version,
            "diff": {"before": before, "after": given["config"], "before_header": config, "after_header": config},
        }
        if module.check_mode:
            return result
        put(folder, wanted, form)
        states = os.path.join(folder, "servers.state")
        # HAProxy takes addresses from the states that it was left with, and not from its configuration.
        moved = readdress(folder, given["agent_settings"])
        runtime.save_states(api, states)
        if ended:
            owner.stop(PROXY)
            forms.end_container(folder)
        started = run_unit(owner, PROXY, form.command(), folder, fresh=False, spec=form.spec)
        answers(api, owner)
        if not started and not ended and unread:
            runtime.reload(api, os.path.join(folder, "master.sock"))
            tell_old_workers(folder)
            result["reloaded"] = True
        form.settled()
        moved += readdress(folder, given["agent_settings"])
        result["changed"] = result["changed"] or moved > 0
        run_unit(owner, AGENT, agent, folder, fresh=stale)
        write_json(os.path.join(folder, LOADED), {"files": number, "agent": read, "time": time.time()}, 0o600)
        result["backends"] = runtime.servers(api)
    return result


def main() -> None:
    spec = {
        "folder": {"type": "path", "required": True},
        "serving_root": {"type": "path", "required": True},
        "supervisor": {"type": "str", "choices": ["auto", "systemd", "supervisord"], "default": "auto"},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "runtime": {"type": "str", "choices": ["package", "container"], "default": "package"},
        "haproxy": {"type": "str", "default": "haproxy"},
        "image": {"type": "str", "default": ""},
        "address": {"type": "str", "default": "0.0.0.0"},  # noqa: S104 - where callers come from is the site's
        "replace": {"type": "bool", "default": False},
        "ports": {"type": "dict", "default": {}},
        "connections": {"type": "int", "default": 2000},
        "config": {"type": "str"},
        "maps": {"type": "dict", "default": {}},
        "certificate": {"type": "str", "no_log": True},
        "certificate_keep": {"type": "bool", "default": False},
        "backend_keys": {"type": "dict", "default": {}, "no_log": True},
        "pools": {"type": "list", "elements": "str", "default": []},
        "refused": {"type": "dict", "default": {}},
        "agent": {"type": "str"},
        "agent_settings": {"type": "str"},
    }
    needed = [("state", "present", ["config", "agent", "agent_settings"])]
    run_module(AnsibleModule(spec, required_if=needed, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
