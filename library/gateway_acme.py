#!/usr/bin/python
"""Module gateway_acme: a gateway's certificate from an ACME server, kept fresh without a reload."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_acme
short_description: Have certbot ask an ACME server for the gateway's certificate, and keep it fresh
description:
  - Asks for a certificate where there is none, where names or server changed or where O(anew) says so, and hands it to the running HAProxy through its
    runtime API, so no stream is cut. M(gateway) runs before, because HAProxy leads the server's questions to certbot.
  - Leaves a program with the supervisor that looks twice a day, and then asks nobody itself while nothing changes, so that an ACME server that is down
    stops no deploy. Without O(ini) it takes that program away.
  - Everything of certbot's lies in a folder of the gateway; C(/etc/letsencrypt) is left alone.
options:
  folder: {description: Where the gateway's files lie on the host., type: path, required: true}
  serving_root: {description: Folder of everything that serves., type: path, required: true}
  supervisor: {description: Who runs the processes., type: str, choices: [auto, systemd, supervisord], default: auto}
  ini: {description: Text of certbot's configuration; empty means no certificate by ACME., type: str, default: ''}
  settings: {description: What the program reads., type: dict, default: {}}
  program: {description: Text of the program., type: str, default: ''}
  anew: {description: Ask for a new certificate though the old one is good., type: bool, default: false}
attributes:
  check_mode: {support: full, details: Asks nobody; says whether settings changed.}
  diff_mode: {support: none}
"""
EXAMPLES = r"""
- name: A certificate
  gateway_acme:
    folder: /srv/vllm/gateway
    serving_root: /srv/vllm
    ini: "{{ gateway_acme_planned.ini }}"
    settings: "{{ gateway_acme_planned.settings }}"
    program: "{{ lookup('ansible.builtin.file', 'renew.py') }}"
"""
RETURN = r"""
renewed: {description: Whether there is a new certificate., returned: success, type: bool}
"""

import json
import os
import subprocess
import sys
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import Refusal, run_module
from ansible.module_utils.serving.files import digest, own_folder, read_json, write_atomic, write_json
from ansible.module_utils.serving.gateway.units import RENEWAL, RUNS, run_unit, unit_differs
from ansible.module_utils.serving.service.supervisors import supervisor

LONGEST = 700  # seconds; the program ends certbot before


def once(command: list[str], anew: bool) -> bool:
    """Look once; whether there is a new certificate. Raises Refusal with certbot's own words."""
    words = [*command, "--once", *(["--anew"] if anew else [])]
    try:
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=LONGEST, check=False)
        found = json.loads(done.stdout.decode() or "{}")
    except (subprocess.TimeoutExpired, ValueError):
        found = {"problem": "no answer in %d s" % LONGEST}
    if done_wrong := found.get("problem", "the program ended without an answer"):
        raise Refusal(
            "the ACME server gave no certificate, so the gateway goes on with the one that it has: %s" % done_wrong
        )
    return bool(found["changed"])


def body(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    folder = os.path.join(given["folder"], "acme")
    owner = supervisor(given["serving_root"], given["supervisor"])
    if not given["ini"]:
        gone = os.path.exists(owner.unit_path(RENEWAL))
        if gone and not module.check_mode:
            owner.stop(RENEWAL)
            owner.remove(RENEWAL)
        return {"changed": gone, "renewed": False}
    files = {
        "cli.ini": given["ini"],
        "acme.json": json.dumps(given["settings"], indent=1, sort_keys=True) + "\n",
        "renew.py": given["program"],
    }
    marker = os.path.join(folder, "asked.json")
    try:
        asked = (read_json(marker) or {}).get("files")
    except ValueError:
        asked = None
    there = os.path.exists(os.path.join(given["settings"]["live"], "fullchain.pem"))
    due = given["anew"] or not there or asked != digest(files)
    running = owner.state(RENEWAL) in RUNS
    command = [sys.executable, "-u", os.path.join(folder, "renew.py"), os.path.join(folder, "acme.json")]
    if module.check_mode:
        other = unit_differs(owner, RENEWAL, command, folder)
        return {"changed": due or not running or other, "renewed": False}
    own_folder(folder, 0o700)
    renewed = False
    if due:
        for name, text in files.items():
            write_atomic(os.path.join(folder, name), text.encode(), 0o600)
        renewed = once(command, given["anew"])
    started = run_unit(owner, RENEWAL, command, folder, fresh=due)
    write_json(marker, {"files": digest(files)}, 0o600)  # last: a run that was killed before asks again
    return {"changed": due or started, "renewed": renewed}


def main() -> None:
    spec = {
        "folder": {"type": "path", "required": True},
        "serving_root": {"type": "path", "required": True},
        "supervisor": {"type": "str", "choices": ["auto", "systemd", "supervisord"], "default": "auto"},
        "ini": {"type": "str", "default": "", "no_log": True},
        "settings": {"type": "dict", "default": {}},
        "program": {"type": "str", "default": ""},
        "anew": {"type": "bool", "default": False},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
