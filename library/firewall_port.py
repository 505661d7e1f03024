#!/usr/bin/python
"""Module firewall_port: open TCP ports in the firewall that is active."""

from __future__ import annotations

DOCUMENTATION = r"""
module: firewall_port
short_description: Open TCP ports in firewalld or ufw, whichever is active
description:
  - Does nothing where neither is active. Opens what is asked for and closes nothing.
  - Containers with a published port need none of this, because Docker's own rules come first; native services and containers on the host's network do.
options:
  ports: {description: Ports to open., type: list, elements: int, required: true}
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
"""
EXAMPLES = r"""
- name: Let callers in
  firewall_port:
    ports: [8000]
"""
RETURN = r"""
firewall: {description: "Which firewall is active: C(firewalld), C(ufw) or null.", returned: always, type: str}
opened: {description: Ports that were closed before., returned: always, type: list, elements: int}
"""

import re
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import Refusal, run_module
from ansible.module_utils.serving.host.system import run_tool


def active() -> str | None:
    """Which firewall filters on this host."""
    if run_tool(["firewall-cmd", "--state"])[1].strip() == "running":
        return "firewalld"
    return "ufw" if re.search(r"^Status: active", run_tool(["ufw", "status"])[1], re.M) else None


def is_open(firewall: str, port: int) -> bool:
    """Is the port open now and after a reboot, for every caller?"""
    if firewall == "firewalld":
        wanted = "--query-port=%d/tcp" % port
        return all(run_tool(["firewall-cmd", *more, wanted])[0] == 0 for more in ([], ["--permanent"]))
    # `8000/tcp                   ALLOW       Anywhere`, with an optional comment; ufw keeps its rules itself.
    return bool(re.search(r"^%d(/tcp)?\s+ALLOW\s+(IN\s+)?Anywhere" % port, run_tool(["ufw", "status"])[1], re.M))


def commands(firewall: str, port: int) -> list[list[str]]:
    if firewall == "firewalld":
        return [["firewall-cmd", *more, "--add-port=%d/tcp" % port] for more in ([], ["--permanent"])]
    return [["ufw", "allow", "proto", "tcp", "to", "any", "port", str(port), "comment", "vllm-ansible"]]


def body(module: AnsibleModule) -> dict[str, Any]:
    firewall = active()
    closed = [port for port in module.params["ports"] if firewall and not is_open(firewall, port)]
    lines = "".join("open tcp port %d in %s\n" % (port, firewall) for port in closed)
    for port in closed if not module.check_mode else []:
        for command in commands(str(firewall), port):
            code, out, error = run_tool(command)
            if code != 0:
                raise Refusal(
                    "port %d can't be opened (%s): %s"
                    % (port, " ".join(command), " ".join((error or out).split())[:300])
                )
    return {"changed": bool(closed), "firewall": firewall, "opened": closed, "diff": {"before": "", "after": lines}}


def main() -> None:
    run_module(
        AnsibleModule({"ports": {"type": "list", "elements": "int", "required": True}}, supports_check_mode=True), body
    )


if __name__ == "__main__":
    main()
