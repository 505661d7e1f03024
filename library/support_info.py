#!/usr/bin/python
"""Module support_info: what whoever helps needs to see of a host, with secrets masked."""

from __future__ import annotations

DOCUMENTATION = r"""
module: support_info
short_description: Collect logs, releases, accelerators and versions of a host as texts, with secrets masked
description:
  - Reads only. Every text goes through one filter (module_utils/serving/masking.py). It masks what is known, in every spelling (O(secrets),
    the services' keys, values in releases whose name speaks of a secret), then what a name, a form or a prefix gives away.
  - A part that can't be read is named with its reason instead of being left out in silence.
options:
  serving_root: {description: Folder of everything that serves., type: path, required: true}
  kind: {description: Which accelerators the host has., type: str, choices: [cpu, gpu, npu], default: cpu}
  secrets:
    description: Tokens, passwords and keys of the inventory that must not be seen; of a URL its password.
    type: list
    elements: str
    default: []
  lines: {description: Last lines of each log., type: int, default: 1000}
  supervisor: {description: Who runs the services., type: str, choices: [auto, systemd, supervisord], default: auto}
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
"""
EXAMPLES = r"""
- name: Collect
  support_info:
    serving_root: /srv/vllm
    kind: gpu
"""
RETURN = r"""
files: {description: "Texts by file name.", returned: always, type: dict}
"""

import json
import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import Refusal, run_module
from ansible.module_utils.serving.host.accelerators import accelerator_record
from ansible.module_utils.serving.host.cpu import read
from ansible.module_utils.serving.host.system import os_release, run_tool
from ansible.module_utils.serving.known_secrets import known_secrets
from ansible.module_utils.serving.masking import masked
from ansible.module_utils.serving.service import releases
from ansible.module_utils.serving.service.supervisors import supervisor

TOOLS = {
    "gpu": [["nvidia-smi"], ["nvidia-smi", "topo", "-m"], ["nvidia-ctk", "cdi", "list"]],
    "npu": [["npu-smi", "info"], ["npu-smi", "info", "-m"]],
    "cpu": [["lscpu"]],
}
COMMON = [
    ["uname", "-a"],
    ["uptime"],
    ["free", "-m"],
    ["df", "-h"],
    ["docker", "version"],
    ["docker", "ps", "--all"],
    ["dmesg", "--ctime"],
]


def of_service(root: str, name: str, owner: Any, lines: int) -> dict[str, str]:
    """Texts of one service: what runs, how it ended, what it said."""
    folder = releases.service_dir(root, name)
    found = {"state.txt": "%s\n" % owner.state(name), "log.txt": "\n".join(owner.log_tail(name, lines)) + "\n"}
    for record in ("run.json", "exit.json", "ready.json", "verified.json"):
        found[record] = read(os.path.join(folder, record))
    for link in ("current", "previous"):
        base = os.path.join(folder, link)
        if os.path.isdir(base):
            found[link + ".txt"] = "%s\n" % releases.link_digest(folder, link)
            for entry in sorted(os.listdir(base)):
                path = os.path.join(base, entry)
                if os.path.isfile(path) and (link == "current" or entry == "spec.json"):
                    found["%s/%s" % (link, entry)] = read(path)
    return {"services/%s/%s" % (name, file): text for file, text in found.items() if text.strip()}


def body(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    root = given["serving_root"]
    files: dict[str, str] = {}
    files["accelerators.json"] = json.dumps(accelerator_record(given["kind"]), indent=2) + "\n"
    files["os.json"] = json.dumps(os_release(), indent=2) + "\n"
    for command in COMMON + TOOLS[given["kind"]]:
        code, out, error = run_tool(command)
        text = out if code == 0 else "%s\n(exit code %s) %s\n" % (out, code, error.strip())
        tail = text.splitlines()[-400:]
        files["tools/%s.txt" % "-".join(word.lstrip("-") for word in command)] = "\n".join(tail) + "\n"
    for name in ("docker", "nvidia-fabricmanager", "nvidia-persistenced"):
        code, out, _ = run_tool(["journalctl", "--no-pager", "--quiet", "-n", "300", "-u", name])
        if code == 0 and out.strip():
            files["journal/%s.txt" % name] = out
    secrets = [secret for secret in given["secrets"] if "://" not in secret] + list(known_secrets(given["secrets"]))
    try:
        owner = supervisor(root, given["supervisor"])
        for name in releases.services(root):
            secrets += releases.read_keys(releases.service_dir(root, name))
            secrets += known_secrets(releases.current_spec(root, name))
            files.update(of_service(root, name, owner, given["lines"]))
    except Refusal as refusal:
        files["services/NOT-READ.txt"] = "%s\n" % refusal
    files["deploy.lock"] = read(os.path.join(root, "deploy.lock")) or "nobody deploys\n"
    files["daemon.json"] = read("/etc/docker/daemon.json") or "there is none\n"
    return {"changed": False, "files": {name: masked(text, secrets) for name, text in sorted(files.items())}}


def main() -> None:
    spec = {
        "serving_root": {"type": "path", "required": True},
        "kind": {"type": "str", "choices": ["cpu", "gpu", "npu"], "default": "cpu"},
        "secrets": {"type": "list", "elements": "str", "default": [], "no_log": True},
        "lines": {"type": "int", "default": 1000},
        "supervisor": {"type": "str", "choices": ["auto", "systemd", "supervisord"], "default": "auto"},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
