"""One address that moves between the gateways of a pair: keepalived's configuration. Pure: settings and addresses in, text out."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

from planning.addresses import everywhere
from planning.rows import fail, is_int

CHECK_SECONDS, CHECK_TIMEOUT = 2, 6  # between two questions to the gateway; that one may take on a busy host
FALL, RISE = 2, 2  # answers in a row that count


def interface_of(address: str, interfaces: Iterable[Mapping[str, Any]]) -> str | None:
    """The interface that has an address. `interfaces`: what `ip -json address` prints."""
    for one in interfaces:
        if any(row.get("local") == address for row in one.get("addr_info") or []):
            return str(one["ifname"])
    return None


def floating_address(text: str) -> str:
    """`10.0.0.9/24` as keepalived takes it; without a length it is that address alone. Raises Faults."""
    try:
        return str(ipaddress.ip_interface(text))
    except ValueError:
        fail(f"gateway_floating is '{text}', but must be an address, such as 10.0.0.100/24")


def keepalived_config(
    gateway: str, own: Mapping[str, str], settings: Mapping[str, Any], interfaces: Iterable[Mapping[str, Any]]
) -> str:
    """keepalived.conf of one gateway. Raises Faults.

    `own`: {gateway: the address with which it talks to the others}, in the inventory's order: the first one has the address first.
    `settings`: address (the floating one), router (VRRP's number of the group), returns, interface (empty: the one that has the gateway's
    own address), listen, port, folder, python, acme (does it have a certificate by ACME?).
    """
    address = floating_address(settings["address"])
    if len(own) < 2:
        fail("gateway_floating needs two hosts in the group gateways, between which its address moves; there is one")
    for host, one in own.items():
        try:
            ipaddress.ip_address(one)
        except ValueError:
            fail(
                f"gateway '{host}' has the name '{one}', but keepalived needs an address; set gateway_own_address for it"
            )
    if not is_int(settings["router"]) or not 0 < settings["router"] < 256:
        fail(
            f"gateway_floating_router is {settings['router']}, but must be 1 to 255, and no other group's in this network"
        )
    if not everywhere(settings["listen"]):
        fail(
            f"gateway_address is {settings['listen']}, so nothing would answer at {address}; with gateway_floating it must be 0.0.0.0 or ::"
        )
    if settings["acme"]:
        fail(
            "gateway_acme and gateway_floating don't go together: the ACME server reaches only the gateway that has the address; "
            "give both gateways one certificate with gateway_certificate"
        )
    interface = settings["interface"] or interface_of(own[gateway], interfaces)
    if not interface:
        fail(
            f"no interface of gateway '{gateway}' has the address {own[gateway]}; set gateway_own_address or gateway_floating_interface for it"
        )
    check = f"{settings['python']} -IS {settings['folder']}/check.py {'::1' if ':' in settings['listen'] else '127.0.0.1'} {settings['port']}"
    lines = [
        "# Written by vllm-ansible. Changes are overwritten.",
        "global_defs {",
        f"  router_id {gateway}",
        "  enable_script_security",
        "  script_user root",
        "}",
        "vrrp_script answers {",
        f'  script "{check}"',
        f"  interval {CHECK_SECONDS}",
        f"  timeout {CHECK_TIMEOUT}",
        f"  fall {FALL}",
        f"  rise {RISE}",
        "}",
        "vrrp_instance gateway {",
        "  state BACKUP",
        f"  interface {interface}",
        f"  virtual_router_id {settings['router']}",
        f"  priority {200 - list(own).index(gateway)}",
        "  advert_int 1",
        *([] if settings["returns"] else ["  nopreempt  # going back would cut streams once more"]),
        f"  unicast_src_ip {own[gateway]}",
        "  unicast_peer {",
        *(f"    {one}" for host, one in own.items() if host != gateway),
        "  }",
        "  virtual_ipaddress {",
        f"    {address}",
        "  }",
        "  track_script {",
        "    answers",
        "  }",
        "}",
    ]
    return "".join(f"{line}\n" for line in lines)
