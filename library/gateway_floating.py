#!/usr/bin/python
"""Module gateway_floating: keepalived of a gateway, which moves one address between the gateways of a pair."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_floating
short_description: Run keepalived with our configuration, beside the distribution's service
description:
  - The files are checked by C(keepalived -t) before they are used; a running one reads a change by a signal and keeps its state.
  - Without O(config) it ends the keepalived that an earlier run has started, so this gateway gives the address up.
options:
  folder: {description: Where the gateway's files lie on the host., type: path, required: true}
  serving_root: {description: Folder of everything that serves., type: path, required: true}
  supervisor: {description: Who runs the processes., type: str, choices: [auto, systemd, supervisord], default: auto}
  keepalived: {description: The program., type: str, default: keepalived}
  config: {description: Text of keepalived.conf; empty means none., type: str, default: ''}
  check: {description: Text of the program that asks the gateway., type: str, default: ''}
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
"""
EXAMPLES = r"""
- name: One address for two gateways
  gateway_floating:
    folder: /srv/vllm/gateway
    serving_root: /srv/vllm
    config: "{{ gateway_keepalived }}"
    check: "{{ lookup('ansible.builtin.file', 'check.py') }}"
"""
RETURN = r"""
started: {description: Whether it was started by this run., returned: success, type: bool}
"""

import os
import signal
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import Refusal, run_module
from ansible.module_utils.serving.files import own_folder, read_json, write_atomic, write_json
from ansible.module_utils.serving.gateway.units import FLOATING, RUNS, run_unit, unit_differs
from ansible.module_utils.serving.host.system import run_tool
from ansible.module_utils.serving.service.supervisors import read_text, supervisor

CONFIG = "keepalived.conf"
CHECK = "check.py"
LOADED = "keepalived.json"


def refuse_wrong(program: str, folder: str, text: str) -> None:
    """Raises Refusal with keepalived's own words where it would not take the configuration."""
    draft = os.path.join(folder, ".keepalived.draft")
    write_atomic(draft, text.encode(), 0o600)
    try:
        code, out, error = run_tool([program, "-t", "-f", draft])
    finally:
        os.unlink(draft)
    if code != 0:
        words = " | ".join(line for line in (out + error).splitlines() if line.strip())
        raise Refusal("keepalived refuses the configuration, so the old one goes on: %s" % words[:1500])


def command(program: str, folder: str) -> list[str]:
    """How it is run: in the foreground, with files of its own."""
    words = [
        "/usr/bin/env",
        program,
        "--dont-fork",
        "--log-console",
        "--vrrp",
        "--use-file",
        os.path.join(folder, CONFIG),
    ]
    return [*words, "--pid=%s/keepalived.pid" % folder, "--vrrp_pid=%s/vrrp.pid" % folder]


def reload(folder: str) -> None:
    try:
        os.kill(int(read_text(os.path.join(folder, "keepalived.pid"))), signal.SIGHUP)
    except (OSError, ValueError):
        raise Refusal(
            "keepalived's process can't be found in %s/keepalived.pid; restart it: systemctl restart vllm-gateway-keepalived"
            % folder
        ) from None


def body(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    folder, program = given["folder"], given["keepalived"]
    owner = supervisor(given["serving_root"], given["supervisor"])
    path = os.path.join(folder, CONFIG)
    before = read_text(path)
    diff = {"before": before, "after": given["config"], "before_header": path, "after_header": path}
    if not given["config"]:
        there = os.path.exists(owner.unit_path(FLOATING))
        if there and not module.check_mode:
            owner.stop(FLOATING)
            owner.remove(FLOATING)
            for name in (CONFIG, LOADED):
                if os.path.exists(os.path.join(folder, name)):
                    os.unlink(os.path.join(folder, name))
        return {"changed": there, "started": False, "diff": diff}
    if os.getuid() != 0:
        raise Refusal(
            "gateway_floating moves an address of the host, for which keepalived must be root; become root, or leave it empty"
        )
    files = {CONFIG: given["config"], CHECK: given["check"]}
    try:
        loaded = read_json(os.path.join(folder, LOADED)) or {}
    except ValueError:
        loaded = {}
    running = owner.state(FLOATING) in RUNS
    changed = loaded != files or not running or unit_differs(owner, FLOATING, command(program, folder), folder)
    if changed and not module.check_mode:
        own_folder(folder, 0o700)
        write_atomic(os.path.join(folder, CHECK), files[CHECK].encode(), 0o700)
        refuse_wrong(program, folder, files[CONFIG])
        write_atomic(path, files[CONFIG].encode(), 0o600)
        if not run_unit(owner, FLOATING, command(program, folder), folder, fresh=False):
            reload(folder)
        write_json(os.path.join(folder, LOADED), files, 0o600)
    return {"changed": changed, "started": changed and not running, "diff": diff}


def main() -> None:
    spec = {
        "folder": {"type": "path", "required": True},
        "serving_root": {"type": "path", "required": True},
        "supervisor": {"type": "str", "choices": ["auto", "systemd", "supervisord"], "default": "auto"},
        "keepalived": {"type": "str", "default": "keepalived"},
        "config": {"type": "str", "default": ""},
        "check": {"type": "str", "default": ""},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
