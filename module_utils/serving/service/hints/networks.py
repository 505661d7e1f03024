"""Failure hints: names and addresses on the network."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

HINTS = (
    Hint(
        "address-family",
        r"Address family for hostname not supported|Address family not supported by protocol",
        "an address and what listens or connects there are of two kinds, IPv4 and IPv6: IPv6 is switched off on this host, or the"
        " program takes only one of them",
        "set the row's `address` (host of a program started by hand) to an IPv4 address, as 0.0.0.0 or 127.0.0.1; no localhost or ::"
        " where the host has no IPv6; an older engine in a host with IPv6 alone: upgrade, VLLM_HOST_IP in env",
        "glibc, EAI_ADDRFAMILY; Linux, EAFNOSUPPORT",
        "socket.gaierror: [Errno -9] Address family for hostname not supported",
        sure=False,
    ),
    Hint(
        "no-route",
        r"Errno 101\]?,? '?Network is unreachable|dial (?:tcp|udp) [\d.\[\]:a-f]{3,60}: connect: network is unreachable",
        "the host or container has no route to an address: no network of its kind (IPv4 where it has IPv6 alone, or the reverse), no"
        " default route, or a network none",
        "ip route and ip -6 route show what there is; an engine that looks for its own address: VLLM_HOST_IP in the row's env; for a hub"
        " or registry set the proxy, or fetch on the controller (image_relay)",
        "Linux, ENETUNREACH; vllm-project/vllm#2812",
        "OSError: [Errno 101] Network is unreachable",
        sure=False,
    ),
    Hint(
        "name-resolution",
        r"Temporary failure in name resolution|Name or service not known|Max retries exceeded with url|Failed to resolve '",
        "something on the network is wanted, and can't be reached",
        "a machine of your own must be up and listen there; from outside a release needs nothing: set"
        " HF_HUB_OFFLINE=1 in the row's env, and check the host's own name in /etc/hosts; where only containers fail: `dns` in /etc/docker/daemon.json",
        "requests; glibc",
        "urllib3.exceptions.NameResolutionError: Failed to resolve 'files.example' ([Errno -3] Temporary failure in name resolution)",
        general=True,
    ),
)
