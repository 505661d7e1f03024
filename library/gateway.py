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
  - A run that was killed after it wrote files reloads in the next run, because only a finished reload is recorded.
options:
  folder: {description: Where its files lie on the host., type: path, required: true}
  serving_root: {description: Folder of everything that serves., type: path, required: true}
  supervisor: {description: Who runs the processes., type: str, choices: [auto, systemd, supervisord], default: auto}
  haproxy: {description: HAProxy's program., type: str, default: haproxy}
  config: {description: Text of haproxy.cfg; it has no secret., type: str, required: true}
  maps: {description: "Other files without a secret that can be used, {name: text}.", type: dict, required: true}
  certificate: {description: Certificate chain and private key as PEM., type: str}
  certificate_keep: {description: Leave the certificate that is there as it is; M(gateway_acme) renews it., type: bool, default: false}
  backend_keys:
    description: "Keys of the backends, {pool: key}. A pool that is not named keeps the key that the gateway has."
    type: dict
    default: {}
  pools: {description: Pools that need a key., type: list, elements: str, default: []}
  refused: {description: "Backends that their pool refuses, and why; M(gateway_info) tells them.", type: dict, default: {}}
  agent: {description: Text of the health agent., type: str, required: true}
  agent_settings: {description: What it reads., type: str, required: true}
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
files: {description: Names of files that changed., returned: always, type: list, elements: str}
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
from ansible.module_utils.serving.gateway import places, runtime
from ansible.module_utils.serving.gateway.units import AGENT, PROXY, run_unit
from ansible.module_utils.serving.service.supervisors import Supervisor, read_text, supervisor

KEYS = "backend_keys.map"
CERTIFICATE = "gateway.pem"


def keys_text(folder: str, given: dict[str, str], pools: list[str]) -> str:
    """The map of backends' keys; what was not read this time stays. Raises Refusal where a pool's key was never read."""
    had = dict(line.split(None, 1) for line in read_text(os.path.join(folder, KEYS)).splitlines() if " " in line)
    missing = [pool for pool in pools if pool not in given and pool not in had]
    if missing:
        raise Refusal(
            "the keys of %s could not be read from the hosts of their backends; deploy the services first, and look whether the hosts are reachable"
            % ", ".join(missing)
        )
    return "".join("%s %s\n" % (pool, given.get(pool, had.get(pool))) for pool in sorted(pools))


def put(folder: str, wanted: dict[str, str], program: str) -> None:
    """Write the files and have HAProxy check them; the ones before come back if it refuses."""
    before = {
        name: read_text(os.path.join(folder, name)) for name in wanted if os.path.exists(os.path.join(folder, name))
    }
    for name, text in wanted.items():
        if text != before.get(name):
            write_atomic(os.path.join(folder, name), text.encode(), 0o600)
    try:
        runtime.check(program, os.path.join(folder, "haproxy.cfg"))
    except Refusal:
        for name in wanted:
            if name in before:
                write_atomic(os.path.join(folder, name), before[name].encode(), 0o600)
            else:
                remove_tree(os.path.join(folder, name))
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


def body(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    folder, program = given["folder"], given["haproxy"]
    try:
        version = runtime.version(program)
    except Refusal:
        if not module.check_mode:
            raise
        version = ""  # the package comes with the real run
    config = os.path.join(folder, "haproxy.cfg")
    wanted = {
        "haproxy.cfg": given["config"],
        "agent.py": given["agent"],
        "agent.json": given["agent_settings"],
        "refused.json": json.dumps(given["refused"], indent=1, sort_keys=True) + "\n",
        **given["maps"],
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
    lock = os.path.join(os.path.dirname(folder), ".gateway.lock")
    with contextlib.nullcontext() if module.check_mode else locked(lock, "the gateway"):
        wanted[KEYS] = keys_text(folder, given["backend_keys"], given["pools"])
        files = [name for name, text in wanted.items() if read_text(os.path.join(folder, name)) != text]
        try:
            loaded = (read_json(os.path.join(folder, "loaded.json")) or {}).get("files")
        except ValueError:
            loaded = None
        number = digest({name: text for name, text in wanted.items() if not (kept and name == CERTIFICATE)})
        owner = supervisor(given["serving_root"], given["supervisor"])
        alive = runtime.worker(api) is not None
        result = {
            "changed": loaded != number or not alive or not version,
            "files": sorted(files),
            "version": version,
            "reloaded": False,
            "backends": [],
            "diff": {"before": before, "after": given["config"], "before_header": config, "after_header": config},
        }
        if module.check_mode:
            return result
        put(folder, wanted, program)
        states = os.path.join(folder, "servers.state")
        # HAProxy takes addresses from the states that it was left with, and not from its configuration.
        moved = readdress(folder, given["agent_settings"])
        runtime.save_states(api, states)
        own = [
            *runtime.started_as(program),
            "-W",
            "-S",
            os.path.join(folder, "master.sock"),
            "-f",
            config,
            "-p",
            os.path.join(folder, "haproxy.pid"),
        ]
        started = run_unit(owner, PROXY, own, folder, fresh=False)
        answers(api, owner)
        if not started and loaded != number:
            runtime.reload(api, os.path.join(folder, "haproxy.pid"))
            result["reloaded"] = True
        moved += readdress(folder, given["agent_settings"])
        result["changed"] = result["changed"] or moved > 0
        stale = bool({"agent.py", "agent.json"} & set(files))
        agent = [
            sys.executable,
            "-u",
            os.path.join(folder, "agent.py"),
            os.path.join(folder, "agent.json"),
            os.path.join(folder, KEYS),
        ]
        run_unit(owner, AGENT, agent, folder, fresh=stale)
        write_json(os.path.join(folder, "loaded.json"), {"files": number, "time": time.time()}, 0o600)
        result["backends"] = runtime.servers(api)
    return result


def main() -> None:
    spec = {
        "folder": {"type": "path", "required": True},
        "serving_root": {"type": "path", "required": True},
        "supervisor": {"type": "str", "choices": ["auto", "systemd", "supervisord"], "default": "auto"},
        "haproxy": {"type": "str", "default": "haproxy"},
        "config": {"type": "str", "required": True},
        "maps": {"type": "dict", "required": True},
        "certificate": {"type": "str", "no_log": True},
        "certificate_keep": {"type": "bool", "default": False},
        "backend_keys": {"type": "dict", "default": {}, "no_log": True},
        "pools": {"type": "list", "elements": "str", "default": []},
        "refused": {"type": "dict", "default": {}},
        "agent": {"type": "str", "required": True},
        "agent_settings": {"type": "str", "required": True},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
