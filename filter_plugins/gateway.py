"""Filters of the gateway: `gateway_plan` makes what one gateway runs from the plans of all hosts, `gateway_keys` chooses keys, `acme_plan`
says how its certificate is asked for, `keepalived_config` moves an address between two of them, `outages` tells times out,
`as_deployed` says where services listen now, `beside` what serves in a service's place.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent.parent))  # Ansible loads a filter by its path alone

from planning import haproxy
from planning.acme import acme_plan
from planning.addresses import loopback
from planning.callers import resolve_callers
from planning.floating import keepalived_config
from planning.gateway import (
    admitted,
    as_deployed,
    backend_name,
    backend_of,
    beside,
    common_keys,
    gateway_pools,
    route_of,
)
from planning.rows import Faults


def gateway_plan(
    plans: Mapping[str, Iterable[Mapping[str, Any]]],
    gateway: str,
    addresses: Mapping[str, str],
    callers: Any,
    settings: Mapping[str, Any],
    verdicts: Mapping[str, Any] | None = None,
    known: Iterable[str] = (),
) -> dict[str, Any]:
    """{pools, config, maps, agent, notes, refused, key_files, judged}. Raises Faults with all that is wrong.

    `settings`: see planning/haproxy.py. `verdicts` and `known`: see `admitted`; without verdicts every backend stays.
    """
    found = gateway_pools(plans, addresses, gateway)
    pools = found["pools"]
    known = resolve_callers(callers, [pool["model"] for pool in pools])
    faults = [*found["faults"], *known["faults"]]
    if not known["callers"] and not known["faults"]:
        faults.append(
            "gateway_callers names nobody, so the gateway would refuse everybody; put {name: {keys: [...]}} into a vault"
        )
    if faults:
        raise Faults(faults)
    every = pools
    refused: dict[str, str] = {}
    if verdicts is not None:
        pools, refused = admitted(pools, verdicts, known).values()
    return {
        "pools": pools,
        "refused": refused,
        "judged": [one for pool in every if pool["requires"] == "verdict" for one in pool["backends"]],
        "config": haproxy.configuration(pools, settings),
        "maps": haproxy.maps(pools, known["callers"]),
        "agent": haproxy.agent_settings(pools, settings),
        "notes": found["notes"],
        "key_files": [{"pool": pool["name"], **one} for pool in every if pool["api_key"] for one in pool["backends"]],
    }


def backend_at(record: Mapping[str, Any], gateway: str, address: str) -> str:
    """host:port at which a gateway reaches a service; empty where it is no backend, or can't be one, which role gateway says.

    `address`: its host's, as others reach it.
    """
    try:
        route = route_of(f"service '{record['service']}'", record.get("gateway"))
        found = backend_of(record, route, gateway, {record["host"]: address})
    except Faults:
        return ""
    if not route["expose"]:
        return ""
    return haproxy.socket_address(found["address"], found["port"])


def gateway_keys(pools: Iterable[Mapping[str, Any]], held: Mapping[str, str]) -> dict[str, str]:
    """{pool: key}; `held` is {backend's name: text of its key file}. Raises Faults, which show no key."""
    found = common_keys(pools, held)
    if found["faults"]:
        raise Faults(found["faults"])
    return dict(found["keys"])


def outages(
    services: Iterable[Mapping[str, Any]], host: str, results: Iterable[Mapping[str, Any]]
) -> dict[str, list[str]]:
    """{service: sentences about its last time out of each gateway}. `results`: looped results of gateway_info, items being gateways."""
    found: dict[str, list[str]] = {}
    for one in services:
        for result in results:
            times = (result.get("last") or {}).get(backend_name(host, one["service"]))
            if times:
                began = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(float(times["since"])))
                callers = (
                    "callers of its model got 503 with Retry-After"
                    if times.get("alone")
                    else "other backends answered its callers"
                )
                words = f"{times['until'] - times['since']:.0f} s from {began} UTC, {result['item']}: {callers}"
                found.setdefault(one["service"], []).append(words)
    return found


class FilterModule:
    """The filters of this file, by name."""

    def filters(self) -> dict[str, Any]:
        return {
            "gateway_plan": gateway_plan,
            "gateway_keys": gateway_keys,
            "outages": outages,
            "backend_name": backend_name,
            "acme_plan": acme_plan,
            "keepalived_config": keepalived_config,
            "as_deployed": as_deployed,
            "backend_at": backend_at,
            "beside": beside,
            "is_loopback": loopback,
        }
