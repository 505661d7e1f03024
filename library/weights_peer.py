#!/usr/bin/python
"""Module weights_peer: let the hosts of a play take weights from each other while it lasts."""

from __future__ import annotations

DOCUMENTATION = r"""
module: weights_peer
short_description: Serve verified weights to the other hosts of a play
description:
  - V(look) says which models this host has and lacks, and makes the token by which it would serve. Changes nothing.
  - V(started) runs a small HTTP server (aiohttp) that serves the files of these models which are verified, in ranges, to the addresses in O(peers)
    with this host's token. Tokens are in a 0600 file that M(weights_fetch) reads too; they are in no argv and no log.
  - V(stopped) ends the server and removes the tokens. Without it the server ends at O(limit), or when nobody asked for O(idle) and nothing is fetched here.
  - A host that can't serve (its address or port can't be had, aiohttp is missing) still takes from the others; C(reason) says why.
options:
  state: {description: What to do., type: str, choices: [look, started, stopped], required: true}
  folder: {description: Folder for the server and its file of tokens., type: path, required: true}
  models_root: {description: Folder of published models., type: path}
  name: {description: What this host is called in the others' tables., type: str}
  address:
    description:
      - Address or name at which the other hosts reach this one; the server listens on it.
      - A name that stands for loopback on the host itself, as Debian writes it into C(/etc/hosts), is taken for the address by which this host
        reaches the others.
    type: str
  port: {description: Its port., type: int}
  forms: {description: "Models of this host: name, sources and convert.", type: list, elements: dict, default: []}
  peers:
    description: C(peer) of each host of the play that takes part.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: What it is called., type: str, required: true}
      address: {description: Where it listens., type: str, required: true}
      port: {description: Its port., type: int, required: true}
      token: {description: Its token of this run., type: str, required: true}
      forms: {description: "Its models: what O(forms) has, key and pending.", type: list, elements: dict, required: true}
  server: {description: Text of the server's program., type: str}
  limit: {description: Seconds after which the server ends whatever happens., type: int, default: 43200}
  idle: {description: Seconds without a request and without a fetch here after which it ends., type: int, default: 900}
requirements: [aiohttp]
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
"""
EXAMPLES = r"""
- name: See what this host has and lacks
  weights_peer:
    state: look
    folder: /srv/vllm/peers
    models_root: /srv/vllm/models
    name: gpu-01
    address: 10.0.0.11
    port: 8790
    forms:
      - {name: qwq-32b, sources: {modelscope: {repo: Qwen/QwQ-32B, revision: master}}, convert: null}
  register: found
  no_log: true

- name: Stop serving
  weights_peer:
    state: stopped
    folder: /srv/vllm/peers
"""
RETURN = r"""
peer: {description: "This host for the others: name, address, port, token and forms (with key and pending).", returned: with look, type: dict}
serving: {description: Whether the server answers., returned: with started, type: bool}
reason: {description: Why it does not., returned: when it does not serve, type: str}
"""

import contextlib
import importlib.util
import ipaddress
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import Refusal, run_module
from ansible.module_utils.serving.files import read_json, remove_tree, write_atomic, write_json
from ansible.module_utils.serving.service.releases import start_ticks
from ansible.module_utils.serving.weights import model_state, records
from ansible.module_utils.serving.weights.choice import Wanted

PATIENCE = 15.0  # seconds for the server to say that it listens, and to end


def look(given: dict[str, Any]) -> dict[str, Any]:
    forms = []
    for form in given["forms"]:
        key = model_state.key_of(form["name"], form.get("convert") or None)
        files = Wanted(tuple(form.get("include") or ()), tuple(form.get("exclude") or ()))
        folder, _ = records.why_not_published(given["models_root"], key, form["sources"], files)
        forms.append({**form, "key": key, "pending": folder is None})
    about = {"name": given["name"], "address": given["address"], "port": given["port"]}
    return {"changed": False, "peer": {**about, "token": secrets.token_urlsafe(32), "forms": forms}}


def addresses(name: str) -> list[str]:
    """What a name or an address stands for on this host; itself where it can't be resolved."""
    try:
        return list(dict.fromkeys(str(row[4][0]) for row in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)))
    except OSError:
        return [name]


def loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return False


def towards(address: str) -> str | None:
    """This host's address on the way to another one; nothing is sent. None where no way is known."""
    with contextlib.suppress(OSError):
        family, kind, _, _, place = socket.getaddrinfo(address, 9, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as probe:
            probe.connect(place)
            return str(probe.getsockname()[0])
    return None


def own_address(given: str, mine: list[str], others: list[str]) -> str:
    """Where this host listens, and from where it asks. Its own name may be loopback in its /etc/hosts, where no other host reaches it."""
    beyond = [one for one in mine if not loopback(one)]
    if given in mine or beyond:
        return (beyond or mine)[0]
    ways = (towards(other) for other in others if not loopback(other))
    return next((way for way in ways if way), mine[0])


def config_of(given: dict[str, Any], now: float) -> dict[str, Any]:
    """What the server and the fetches of this host go by."""
    mine = next((peer for peer in given["peers"] if peer["name"] == given["name"]), None)
    if mine is None:
        raise Refusal("host '%s' is not among the peers %s" % (given["name"], [p["name"] for p in given["peers"]]))
    found = {str(peer["name"]): addresses(str(peer["address"])) for peer in given["peers"]}
    rows = [
        {
            "name": str(peer["name"]),
            "address": found[str(peer["name"])][0],
            "port": peer["port"],
            "token": peer["token"],
            "keys": [form["key"] for form in peer["forms"]],
        }
        for peer in given["peers"]
    ]
    me = next(row for row in rows if row["name"] == given["name"])
    others = [row["address"] for row in rows if row is not me]
    me["address"] = own_address(str(mine["address"]), found[me["name"]], others)
    return {
        **me,
        "models_root": given["models_root"],
        "peers": rows,
        "allow": sorted({one for name in found for one in found[name]}),
        "until": now + given["limit"],
        "idle": given["idle"],
    }


def running(folder: str) -> int | None:
    """The process of our server in this folder; a number that the kernel gave to another process is none."""
    said = read_json(os.path.join(folder, "server.pid")) or {}
    pid = said.get("pid")
    return pid if pid and start_ticks(pid) == said.get("ticks") and said.get("ticks") else None


def end(folder: str) -> bool:
    """End the server of this folder and forget its tokens. True if there was one."""
    pid = running(folder)
    if pid:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
            until = time.monotonic() + PATIENCE / 3
            while running(folder) and time.monotonic() < until:
                time.sleep(0.05)
    gone = [remove_tree(os.path.join(folder, name)) for name in ("config.json", "server.json", "server.pid")]
    return bool(pid) or gone[0]


def start(given: dict[str, Any]) -> dict[str, Any]:
    folder = given["folder"]
    end(folder)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    os.chmod(folder, 0o700)
    program, config, log = (os.path.join(folder, name) for name in ("server.py", "config.json", "server.log"))
    write_json(config, config_of(given, time.time()), 0o600)
    if not importlib.util.find_spec("aiohttp"):
        return not_serving("%s has no aiohttp; run deploy.yml --tags prepare" % sys.executable)
    write_atomic(program, given["server"].encode(), 0o644)
    with open(log, "wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-I", program, config],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            cwd="/",
            start_new_session=True,
        )
    write_json(os.path.join(folder, "server.pid"), {"pid": process.pid, "ticks": start_ticks(process.pid)})
    until = time.monotonic() + PATIENCE
    said: dict[str, Any] = {}
    while not said and process.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
        said = read_json(os.path.join(folder, "server.json")) or {}
    said = said or read_json(os.path.join(folder, "server.json")) or {}
    if said and "error" not in said:
        return {"changed": True, "serving": True}
    with open(log, encoding="utf-8", errors="replace") as text:
        last = said.get("error") or (text.read().strip().splitlines() or ["it says nothing"])[-1]
    return not_serving(
        "no server on %s port %s: %s; set weights_peer_address and weights_peer_port"
        % (given["address"], given["port"], last)
    )


def not_serving(reason: str) -> dict[str, Any]:
    return {"changed": True, "serving": False, "reason": reason}


def body(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    if given["state"] == "look":
        return look(given)
    if given["state"] == "stopped":
        there = running(given["folder"]) is not None or os.path.exists(os.path.join(given["folder"], "config.json"))
        return {"changed": there if module.check_mode else end(given["folder"])}
    if module.check_mode:
        return {"changed": True}
    done = start(given)
    if not done["serving"]:
        module.warn("host '%s' takes weights from the others but gives none: %s" % (given["name"], done["reason"]))
    return done


def main() -> None:
    needed = ["models_root", "name", "address", "port"]
    spec = {
        "state": {"type": "str", "choices": ["look", "started", "stopped"], "required": True},
        "folder": {"type": "path", "required": True},
        "models_root": {"type": "path"},
        "name": {"type": "str"},
        "address": {"type": "str"},
        "port": {"type": "int"},
        "forms": {"type": "list", "elements": "dict", "default": []},
        "peers": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": {
                "name": {"type": "str", "required": True},
                "address": {"type": "str", "required": True},
                "port": {"type": "int", "required": True},
                "token": {"type": "str", "required": True, "no_log": True},
                "forms": {"type": "list", "elements": "dict", "required": True},
            },
        },
        "server": {"type": "str"},
        "limit": {"type": "int", "default": 43200},
        "idle": {"type": "int", "default": 900},
    }
    wanted = [("state", "look", needed), ("state", "started", [*needed, "server"])]
    run_module(AnsibleModule(spec, supports_check_mode=True, required_if=wanted), body)


if __name__ == "__main__":
    main()
