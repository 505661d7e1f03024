"""What the gateway balances: pools of backends from the plans of all hosts, one pool a served name.

Pure: plans and addresses in, closed records out. planning/haproxy.py turns them into HAProxy's configuration.
"""

from __future__ import annotations

import hashlib
import re
import urllib.parse
from collections.abc import Iterable, Mapping
from typing import Any

from planning.addresses import everywhere, loopback
from planning.paths import callers_paths
from planning.rows import Collected, Key, Row, check_row, defaults, fail, is_int, one_of

# Keys of a row's `gateway`. Times are seconds.
ROUTE: dict[str, Key] = {
    "expose": Key("bool", True, "Is this service a backend of the gateway?"),
    "idle_seconds": Key("seconds", 600, "Seconds without a byte from the engine, before the first one too, that end a request."),
    "queue": Key("seconds", 256, "Requests for the model that may wait at the gateway; more are answered 503 with Retry-After."),
    "queue_seconds": Key("seconds", 60, "Seconds that one of them may wait."),
    "concurrent": Key("seconds", None, "Requests that a backend gets at a time; null: its max_num_seqs less one, which is left to the health check."),
    "weight": Key("seconds", 100, "Share against the model's other backends, 1 to 256."),
    "via": Key("str", None, "host:port at which the gateway reaches the service instead: the near end of an ssh tunnel or a TLS proxy."),
    "encrypted": Key("bool", False, "The way from the gateway to this address is encrypted by the network, such as WireGuard."),
    "pool_requires": Key("str", "answer", "What a backend needs to be in its pool: answer, or verdict: EQUIVALENT against the others' reference."),
    "beside": Key("seconds", None, "Port at which a new release is started beside the old one while no other backend answers, if it fits; null: a gap."),
    "answer_seconds": Key("seconds", 60, "Seconds that the health check's answer may take before an engine that makes no progress counts as hung."),
}  # fmt: skip
SHARED = ("idle_seconds", "queue", "queue_seconds", "answer_seconds")  # of a pool, as its first row says
REQUIRES = ("answer", "verdict")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@+/-]{0,199}")
DEFAULT_CONCURRENT = 256  # vLLM's max_num_seqs where the row says none


def route_of(where: str, given: Any) -> Row:
    """A row's `gateway`, checked, with defaults. Raises Faults."""
    row = check_row(f"{where}: gateway", given or {}, ROUTE)
    route = {**defaults(ROUTE), **{key: value for key, value in row.items() if value is not None}}
    one_of(where, "gateway.pool_requires", route["pool_requires"], REQUIRES)
    if route["weight"] > 256:
        fail(f"{where}: gateway.weight is {route['weight']}, but must be 1 to 256")
    if route["via"] is not None:
        split_address(f"{where}: gateway.via", route["via"])
    return route


def split_address(where: str, text: str) -> tuple[str, int]:
    """`host:port` or `[v6]:port`. Raises Faults."""
    match = re.fullmatch(r"(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9._-]+):(\d{1,5})", text)
    if not match or not 0 < int(match.group(2)) < 65536:
        fail(f"{where} is '{text}', but must be host:port, such as 127.0.0.1:19010")
    return match.group(1).strip("[]"), int(match.group(2))


def beside(record: Mapping[str, Any], plan: Iterable[Mapping[str, Any]]) -> Row:
    """The record of what serves in a service's place while that is swapped: its new release at the row's `gateway.beside`; empty without one.

    Raises Faults where the port or the name is that of a service of its host's `plan`. Behind a tunnel it is reached at the tunnel's host, at that port.
    """
    route = route_of(f"service '{record['service']}'", record.get("gateway"))
    port = route["beside"]
    if not port or not route["expose"] or record.get("group"):
        return {}
    name = f"{record['service']}-beside"
    if port > 65535 or any(port == one["port"] or name == one["service"] for one in plan):
        fail(
            f"service '{record['service']}': gateway.beside is {port}, but must be a port that no service of this host has, and none may be called {name}"
        )
    via = {"via": f"{route['via'].rpartition(':')[0]}:{port}"} if route["via"] else {}
    return {
        **record,
        "service": name,
        "port": port,
        "endpoint": f"{record['endpoint'].rpartition(':')[0]}:{port}",
        "gateway": {**(record.get("gateway") or {}), **via},
        "shares_with": record["service"],
        "devices_given": False,  # those are the old one's
    }


def pool_name(served_name: str) -> str:
    """HAProxy's name of a model's pool: the served name, and a digest where it had to be changed."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", served_name)
    return f"model-{plain}" + (
        "" if plain == served_name else "-" + hashlib.sha256(served_name.encode()).hexdigest()[:8]
    )


def backend_name(host: str, service: str) -> str:
    """Its name in HAProxy."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", f"{host}.{service}")


def as_deployed(
    plans: Mapping[str, Iterable[Mapping[str, Any]]], endpoints: Mapping[str, Mapping[str, str]]
) -> dict[str, list[Row]]:
    """The plans with addresses and ports at which services listen now: a row may be ahead of what is deployed, or a release have returned.

    `endpoints`: {host: {service: URL of its release}}, of hosts that answered.
    """

    def placed(host: str, record: Mapping[str, Any]) -> Row:
        parts = urllib.parse.urlsplit(endpoints.get(host, {}).get(record["service"]) or "")
        # Loopback is said for a service that listens on all addresses, too.
        own = {} if loopback(parts.hostname or "") else {"address": parts.hostname}
        return {**record, **own, "port": parts.port} if parts.port and not record.get("group") else dict(record)

    return {host: [placed(host, record) for record in records] for host, records in plans.items()}


def backend_of(record: Mapping[str, Any], route: Row, gateway: str, addresses: Mapping[str, str]) -> Row:
    """Where and how the gateway reaches one service. Raises Faults where it can't."""
    host, service, port = record["host"], record["service"], record["port"]
    where = f"host {host}: service '{service}'"
    if route["via"]:
        address, port = split_address(f"{where}: gateway.via", route["via"])
        way = "tunnel or TLS proxy"
    elif host == gateway:
        address = record["address"] if not everywhere(record["address"]) else "127.0.0.1"
        way = "same host"
    elif loopback(record["address"]):
        fail(
            f"{where} listens on {record['address']}, which gateway '{gateway}' can't reach; set 'address' to one of the host that the gateway "
            f"reaches, or gateway.via to the near end of a tunnel, or put '{host}' into the group gateways"
        )
    else:
        address = addresses[host] if everywhere(record["address"]) else record["address"]
        way = "encrypted network" if route["encrypted"] else "plain HTTP"
    seqs = record["engine_args"].get("max_num_seqs")
    most = seqs - 1 if is_int(seqs) else DEFAULT_CONCURRENT - 1
    return {
        "name": backend_name(host, service),
        "host": host,
        "service": service,
        "address": address,
        "port": port,
        "way": way,
        "weight": route["weight"],
        "concurrent": route["concurrent"] or max(1, most),
    }


def gateway_pools(
    plans: Mapping[str, Iterable[Mapping[str, Any]]],
    addresses: Mapping[str, str],
    gateway: str,
) -> Row:
    """{pools, notes, faults} for one gateway.

    `plans`: {host: its records}. `addresses`: {host: address as others reach it}. /metrics is for the site's monitoring.
    A pool is {name, model, also, weights, api_key, paths, requires, idle_seconds, queue, queue_seconds, answer_seconds, backends}.
    """
    found, pools, notes = Collected(), dict[str, Row](), list[str]()
    for host in sorted(plans):
        for record in plans[host]:
            where = f"host {host}: service '{record['service']}'"
            route = found.run(route_of, where, record.get("gateway"))
            if not route or not route["expose"]:
                continue
            model = record["served_name"]
            if not NAME.fullmatch(model):
                found.run(
                    fail,
                    f"{where}: served_name {model!r} can't be routed by the gateway; use letters, digits and ._:@+/- only",
                )
                continue
            backend = found.run(backend_of, record, route, gateway, addresses)
            if not backend:
                continue
            if backend["way"] == "plain HTTP":
                notes.append(
                    f"{where}: prompts and its key travel from {gateway} to {backend['address']} as plain HTTP"
                )
            weights = record["model"]["name"]
            pool = pools.setdefault(
                model,
                {
                    "name": pool_name(model), "model": model, "weights": weights, "api_key": record["api_key"], "paths": [], "backends": [], "also": [],
                    "requires": "answer",
                    **{key: route[key] for key in SHARED},
                },
            )  # fmt: skip
            if pool["weights"] != weights or pool["api_key"] != record["api_key"]:
                what = "model" if pool["weights"] != weights else "api_key"
                found.run(
                    fail,
                    f"{where} serves '{model}' as {pool['backends'][0]['host']} does, with another '{what}'; give it another served_name",
                )
                continue
            pool["backends"].append(backend)
            pool["also"].append(asked_names(record))
            if route["pool_requires"] == "verdict":  # one row that asks for it is enough
                pool["requires"] = "verdict"
            pool["idle_seconds"] = max(pool["idle_seconds"], route["idle_seconds"])
            pool["paths"] = list(
                dict.fromkeys([*pool["paths"], *(path for path in callers_paths(record) if path != "/metrics")])
            )
    ordered = [pools[model] for model in sorted(pools)]
    return {"pools": ordered, "notes": [*notes, *shared_names(ordered)], "faults": found.faults}


def asked_names(record: Mapping[str, Any]) -> list[str]:
    """Names by which callers may ask for more than the served name: aliases of it, and adapters that its engine has beside it."""
    return [*(record.get("aliases") or []), *(row["name"] for row in record.get("adapters") or [])]


def shared_names(pools: Iterable[Row]) -> list[str]:
    """Leaves each pool the names that all its backends have, and no other pool: what was left out, in words."""
    notes, owners = list[str](), {pool["model"]: pool["model"] for pool in pools}
    for pool in pools:
        kept = list[str]()
        for name in dict.fromkeys(name for names in pool["also"] for name in names):
            if not all(name in names for names in pool["also"]):
                notes.append(
                    f"'{name}' is not asked for by its name: only some of the hosts that serve '{pool['model']}' have it"
                )
            elif not NAME.fullmatch(name):
                notes.append(
                    f"'{name}' is not asked for by its name: the gateway routes letters, digits and ._:@+/- only"
                )
            elif owners.setdefault(name, pool["model"]) != pool["model"]:
                notes.append(
                    f"who asks for '{name}' gets that of '{owners[name]}', though '{pool['model']}' has it, too"
                )
            else:
                kept.append(name)
        pool["also"] = kept
    return notes


def refusal(backend: Row, verdicts: Mapping[str, Any], known: Iterable[str]) -> str:
    """Why a backend has no place in a pool that requires verdicts, or nothing."""
    name = backend["name"]
    if name not in verdicts:
        return "" if name in known else "its host gives no answer, so nobody knows its verdict"
    kept = verdicts[name]
    if not kept:
        return f"its release has no verdict; judge it: playbooks/judge.yml -l {backend['host']} -e service={backend['service']}"
    if kept.get("verdict") != "EQUIVALENT":
        return f"its release is {kept.get('verdict')} against {(kept.get('pack') or {}).get('name') or 'its reference'}"
    return ""


def admitted(pools: Iterable[Row], verdicts: Mapping[str, Any], known: Iterable[str]) -> Row:
    """{pools, refused: {backend: why}}: pools without the backends that their `requires` refuses.

    `verdicts`: {backend: what its host keeps on its current release, None for nothing}, of hosts that answered. Backends of the others
    stay if the gateway has them already (`known`). All that are EQUIVALENT to one reference are to each other; the first one's counts.
    """
    found, refused, known = list[Row](), dict[str, str](), set(known)
    for pool in pools:
        stay, first = list[Row](), None
        for backend in pool["backends"]:
            why = refusal(backend, verdicts, known) if pool["requires"] == "verdict" else ""
            kept = verdicts.get(backend["name"]) or {}
            pack = kept.get("pack") or {}
            if pool["requires"] == "verdict" and not why and pack:
                first = first or pack
                if pack.get("digest") != first.get("digest"):
                    why = f"it was judged against {pack.get('name')}, and the others against {first.get('name')}"
            if why:
                refused[backend["name"]] = f"{backend['name']} is not in the pool of '{pool['model']}': {why}"
            else:
                stay.append(backend)
        found.append({**pool, "backends": stay})
    return {"pools": found, "refused": refused}


def common_keys(pools: Iterable[Mapping[str, Any]], held: Mapping[str, str]) -> Row:
    """{keys: {pool: key}, faults}: the key that all backends of a pool accept, the newest first.

    `held`: {backend's name: text of its key file}, for hosts that answered. While a key is changed a file has two lines, new and old.
    """
    keys, faults = {}, []
    for pool in pools:
        files = [held[one["name"]].split() for one in pool["backends"] if one["name"] in held]
        if not pool["api_key"] or not files:
            continue
        common = [key for key in files[0] if all(key in other for other in files[1:])]
        if common:
            keys[pool["name"]] = common[0]
        else:
            services = sorted({one["service"] for one in pool["backends"]})
            hosts = ", ".join(one["host"] for one in pool["backends"])
            faults.append(
                f"backends of model '{pool['model']}' ({hosts}) have no key in common; give {' and '.join(services)} one key in api_keys and "
                "deploy them again, the old keys go on counting"
            )
    return {"keys": keys, "faults": faults}
