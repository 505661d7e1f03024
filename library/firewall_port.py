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
  peers:
    description:
      - "Hosts that run a service together with this one, {address, ports: [first, last]}: these ports, and those from which Linux takes
        one where a program asks for any, are opened to the address alone."
    type: list
    elements: dict
    default: []
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
opened_to: {description: "What was closed to other hosts before, in words.", returned: always, type: list, elements: str}
"""

import ipaddress
import re
from typing import Any, NamedTuple

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import Refusal, run_module
from ansible.module_utils.serving.host.system import run_tool


class Rule(NamedTuple):
    """One rule of a firewall: in words, what asks for it (firewalld), what makes it, and how ufw shows it."""

    words: str
    asks: list[list[str]]
    commands: list[list[str]]
    shown: str = ""


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


def any_ports() -> list[int]:
    """First and last of the ports of which Linux takes one where a program asks for any."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as source:
        return [int(word) for word in source.read().split()]


def rules_of(firewall: str, peers: list[dict[str, Any]], dynamic: list[int]) -> list[Rule]:
    """What lets other hosts in, each from its address alone."""
    found = []
    for peer in peers:
        address = str(ipaddress.ip_address(peer["address"]))
        for first, last in (peer["ports"], dynamic):
            words = "tcp ports %d to %d from %s" % (first, last, address)
            if firewall == "firewalld":
                rule = 'rule family="ipv%s" source address="%s" port port="%d-%d" protocol="tcp" accept' % (
                    6 if ":" in address else 4, address, first, last,
                )  # fmt: skip
                ways: list[list[str]] = [[], ["--permanent"]]
                found.append(
                    Rule(
                        words,
                        [["firewall-cmd", *more, "--query-rich-rule=" + rule] for more in ways],
                        [["firewall-cmd", *more, "--add-rich-rule=" + rule] for more in ways],
                    )
                )
            else:
                span = "%d:%d" % (first, last)
                command = ["ufw", "allow", "proto", "tcp", "from", address, "to", "any", "port", span, "comment", "vllm-ansible"]  # fmt: skip
                found.append(Rule(words, [], [command], r"^%s/tcp\s+ALLOW\s+(IN\s+)?%s\b" % (span, re.escape(address))))
    return found


def holds(rule: Rule) -> bool:
    """Is the rule there, now and after a reboot?"""
    if rule.asks:
        return all(run_tool(command)[0] == 0 for command in rule.asks)
    return bool(re.search(rule.shown, run_tool(["ufw", "status"])[1], re.M))


def apply(what: str, wanted: list[list[str]]) -> None:
    for command in wanted:
        code, out, error = run_tool(command)
        if code != 0:
            raise Refusal(
                "%s can't be opened (%s): %s" % (what, " ".join(command), " ".join((error or out).split())[:300])
            )


def body(module: AnsibleModule) -> dict[str, Any]:
    firewall = active()
    closed = [port for port in module.params["ports"] if firewall and not is_open(firewall, port)]
    rules = rules_of(firewall, module.params["peers"], any_ports()) if firewall and module.params["peers"] else []
    lacking = [rule for rule in rules if not holds(rule)]
    lines = "".join("open tcp port %d in %s\n" % (port, firewall) for port in closed)
    lines += "".join("open %s in %s\n" % (rule.words, firewall) for rule in lacking)
    if not module.check_mode:
        for port in closed:
            apply("port %d" % port, commands(str(firewall), port))
        for rule in lacking:
            apply(rule.words, rule.commands)
    return {
        "changed": bool(closed or lacking),
        "firewall": firewall,
        "opened": closed,
        "opened_to": [rule.words for rule in lacking],
        "diff": {"before": "", "after": lines},
    }


def main() -> None:
    spec = {
        "ports": {"type": "list", "elements": "int", "required": True},
        "peers": {"type": "list", "elements": "dict", "default": []},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
