#!/usr/bin/python
"""Module gateway_info: what a host has of the gateway, and how its backends are."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_info
short_description: HAProxy's version, the backends of the gateway and their state
description:
  - Reads, and changes nothing. A host without HAProxy or without a gateway is no failure.
options:
  folder: {description: Where the gateway's files lie on the host., type: path, required: true}
  haproxy: {description: HAProxy's program., type: str, default: haproxy}
  runtime:
    description:
      - "Which form of HAProxy is wanted: package, container, or auto for the package where the one that is there or that the distribution offers
        is 2.6 or later, else the container."
      - Without it nothing is chosen, and RV(runtime) is empty.
    type: str
    choices: [auto, package, container]
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
"""
EXAMPLES = r"""
- name: How are the backends?
  gateway_info:
    folder: /srv/vllm/gateway
"""
RETURN = r"""
version: {description: "HAProxy's version; empty where it is missing.", returned: always, type: str}
runtime: {description: "The form that HAProxy has here: package or container; empty where none was asked for.", returned: always, type: str}
offered: {description: "The version of haproxy that the package manager would install; empty where it was not asked.", returned: always, type: str}
unlisted: {description: "Whether apt knows no haproxy, as where it never fetched its lists.", returned: always, type: bool}
problem: {description: "Why that form can't be had, a sentence with its remedy; empty where it can.", returned: always, type: str}
user: {description: "Whom HAProxy's workers become; empty for the user who starts it.", returned: always, type: str}
family: {description: "What installs packages here: apt, dnf, or null.", returned: always, type: str}
uid: {description: User id of this module., returned: always, type: int}
python: {description: The Python that runs this module., returned: always, type: str}
interfaces:
  description: Interfaces and their addresses, as C(ip -json address) prints them; empty where it can't be asked.
  returned: always
  type: list
  elements: dict
running: {description: Whether the gateway's HAProxy answers., returned: always, type: bool}
backends: {description: "Each backend: {pool, name, status, out, sessions, queued, check, agent}.", returned: always, type: list, elements: dict}
out: {description: "Backends that a run has taken out and not put back: {name: {since, alone}}.", returned: always, type: dict}
certificate_expires: {description: "Its certificate's end, seconds since 1970; null where there is none.", returned: always, type: float}
callers: {description: "The end of each caller's last key, seconds since 1970, where there is one.", returned: always, type: dict}
refused: {description: "Backends that their pool refuses, and why, a sentence each.", returned: always, type: dict}
last: {description: "Each backend's last time out: {name: {since, until, alone}}, seconds since 1970.", returned: always, type: dict}
"""

import json
import os
import ssl
import sys
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import run_module
from ansible.module_utils.serving.files import read_json
from ansible.module_utils.serving.gateway import drains, forms, runtime
from ansible.module_utils.serving.host.system import os_release, run_tool
from ansible.module_utils.serving.service.supervisors import read_text

NEVER = 253402300799  # what ends.map has for a key without an end: the end of the year 9999


def certificate_end(path: str) -> float | None:
    """The end of the first certificate of a PEM file, which is the gateway's own."""
    code, out, _ = run_tool(["openssl", "x509", "-noout", "-enddate", "-in", path])
    try:
        return ssl.cert_time_to_seconds(out.strip().partition("=")[2]) if code == 0 else None
    except ValueError:
        return None


def caller_ends(folder: str) -> dict[str, int]:
    """{caller: end of its last key}; callers with a key without an end are left out."""

    def table(name: str) -> list[list[str]]:
        return [line.split(None, 1) for line in read_text(os.path.join(folder, name)).splitlines() if " " in line]

    ends = {key: int(end) for key, end in table("ends.map") if end.strip().isdigit()}
    found: dict[str, int] = {}
    for key, caller in table("callers.map"):
        found[caller] = max(found.get(caller, 0), ends.get(key, NEVER))
    return {caller: end for caller, end in found.items() if end < NEVER}


def interfaces() -> list[dict[str, Any]]:
    code, out, _ = run_tool(["ip", "-json", "address"])
    try:
        return list(json.loads(out)) if code == 0 else []
    except ValueError:
        return []


def body(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    api = os.path.join(given["folder"], "admin.sock")
    running = runtime.worker(api) is not None
    backends = runtime.servers(api) if running else []
    out, last = drains.read(given["folder"])
    try:
        refused = read_json(os.path.join(given["folder"], "refused.json")) or {}
    except ValueError:
        refused = {}
    names = {row["name"] for row in backends}
    version = ".".join(map(str, runtime.installed([given["haproxy"]]) or ()))
    family, root = os_release()["family"], os.getuid() == 0
    form = {"runtime": "", "offered": "", "unlisted": False, "problem": ""}
    if given["runtime"]:
        form = forms.choose(given["runtime"], given["haproxy"], version, given["folder"], family, root)
    return {
        "changed": False,
        **form,
        "user": "" if not root else str(forms.NOBODY) if form["runtime"] == "container" else "haproxy",
        "version": version,
        "family": family,
        "uid": os.getuid(),
        "python": sys.executable,
        "interfaces": interfaces(),
        "running": running,
        "backends": backends,
        "certificate_expires": certificate_end(os.path.join(given["folder"], "gateway.pem")),
        "callers": caller_ends(given["folder"]),
        "refused": refused,
        "out": {name: row for name, row in out.items() if name in names},
        "last": {name: row for name, row in last.items() if name in names},
    }


def main() -> None:
    spec = {
        "folder": {"type": "path", "required": True},
        "haproxy": {"type": "str", "default": "haproxy"},
        "runtime": {"type": "str", "choices": ["auto", "package", "container"]},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
