"""A service over several hosts: which hosts, ranks, addresses and ports, and what of its record differs between them.

A row says `hosts: 2` (or names them), and the hosts name the service in `runs`. The engine distributes itself: one process a host, of which the
first host's has the API. Records of the members differ in rank, address and interface alone. Pure: rows and variables of hosts in.
"""

from __future__ import annotations

import ipaddress
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .devices import DATA_LOCAL, DATA_RANK, WIDTHS, option, size
from .options import known_options
from .rows import Row, fail, is_int, nearest

ACROSS = ("pipeline", "tensor")
KEYS = ("hosts", "across", "hosts_port")
GENERATE = ("chat", "completion", "vision")
PORTS = ("master", "watch", "check")  # the engine's, group.py's, module group_links'
FIRST, PLACES = 29500, 250  # below Linux's usual ephemeral range, which starts at 32768
# Seconds that one step of the engine may take before it gives up on ranks that don't answer. A silent host is noticed sooner (group.py).
STEP_SECONDS = {"cpu": 300, "gpu": 120, "npu": 180}
STEP_VARIABLE = "VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS"
OF_API = ("api_server_count",)  # vLLM refuses it beside headless
OWN_OPTIONS = ("node_rank", "headless", *OF_API)
# Of a record, what all hosts of a group must have alike.
ALIKE = (
    "board", "engine", "engine_version", "runtime", "image", "native_env", "convert", "served_name", "port", "flaggems", "env", "files", "activate",
    "secret_env", "group.across",
)  # fmt: skip


def fleet_of(hostvars: Mapping[str, Any], hosts: Iterable[str], services: Mapping[str, Any]) -> Row:
    """{host: {runs, address, interface}} from the variables of hosts; empty where no row of services asks for several."""
    found = Row()
    if not any(asked(row) for row in services.values()):
        return found
    for host in hosts:
        known = hostvars[host]
        runs = known.get("runs")
        found[str(host)] = {
            "runs": [str(name) for name in runs] if isinstance(runs, list) else [],
            "address": str(known.get("group_address") or ""),
            "interface": str(known.get("group_interface") or "") or None,
        }
    return found


def asked(row: Any) -> bool:
    """Does a row of services.yml ask for several hosts?"""
    hosts = row.get("hosts") if isinstance(row, Mapping) else None
    return len(hosts) > 1 if isinstance(hosts, list) else isinstance(hosts, int) and is_int(hosts) and hosts > 1


def members(where: str, name: str, hosts: Any, fleet: Mapping[str, Any], host: str) -> list[str]:
    """The hosts of a service in the order of their ranks. Raises Faults where they are others than the row asks for."""
    running = [one for one, about in fleet.items() if name in about["runs"]]
    if is_int(hosts):
        if len(running) != hosts:
            names = ", ".join(running) or "none"
            more = (
                "add it to the runs of more hosts"
                if len(running) < hosts
                else "name its hosts in 'hosts': one service is one group"
            )
            fail(f"{where}: 'hosts' is {hosts}, but {len(running)} name it in runs ({names}); {more}")
        return running
    for one in hosts:
        if one not in fleet:
            fail(f"{where}: 'hosts' has '{one}', which is no host of the group accelerators; {nearest(one, fleet)}")
        if one not in running:
            fail(f"{where}: 'hosts' has '{one}', whose runs don't name it; add '{name}' to the runs of {one}")
    if host not in hosts:
        fail(
            f"{where}: 'hosts' is {', '.join(hosts)}, without this host; add it there, or take '{name}' out of its runs"
        )
    return list(hosts)


def ports_of(services: Mapping[str, Any]) -> dict[str, int]:
    """{service: the first of the three ports that its hosts use among themselves}: the same on each run, and no service's own port.

    Which ports they are follows from the service's name, so that another row moves none of them unless two names meet.
    """
    rows = {str(name): row for name, row in services.items() if isinstance(row, Mapping)}
    taken = {
        row["port"] + number
        for row in rows.values()
        if is_int(row.get("port"))
        for number in range(row["replicas"] if is_int(row.get("replicas")) else 1)
    }
    given = {name: int(row["hosts_port"]) for name, row in rows.items() if asked(row) and is_int(row.get("hosts_port"))}
    taken |= {port + number for port in given.values() for number in range(len(PORTS))}
    found = dict(given)
    for name in sorted(one for one, row in rows.items() if asked(row) and one not in given):
        first = FIRST + zlib.crc32(name.encode()) % PLACES * len(PORTS)
        while set(range(first, first + len(PORTS))) & taken:
            first += len(PORTS)
        found[name] = first
        taken |= set(range(first, first + len(PORTS)))
    return found


def check_address(host: str, address: str) -> str:
    """An address by which the other hosts reach this one. Refuses names and loopback, which engines take for another host's own."""
    remedy = f"set group_address of host {host} to an IP address of it that the other hosts of its group reach"
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        fail(f"host {host}: group_address is '{address}', which is no IP address; {remedy}")
    if parsed.is_loopback or parsed.is_unspecified or parsed.is_multicast or parsed.is_link_local:
        fail(f"host {host}: group_address is {address}, which other hosts can't reach it by; {remedy}")
    return str(parsed)


def check_engine(where: str, service: Row, engine: Row, version: str | None) -> None:
    """Refuse engines that distribute themselves by Ray alone, or not at all."""
    if not engine["options"]["hosts"]:
        fail(
            f"{where}: 'hosts' is set, but {engine['title']} has no executor of its own over hosts; use engine vllm or vllm_ascend, "
            "or a model that one host holds"
        )
    if version is not None and "nnodes" not in known_options(engine["options"]["table"], version):
        fail(
            f"{where}: 'hosts' is set, but {engine['title']} {version} has no option nnodes; use engine_version 0.11.2 or later"
        )
    backend = service["engine_args"].get("distributed_executor_backend")
    if str(backend or "mp") != "mp":
        also = ", which runs nowhere on a CPU" if service["kind"] == "cpu" and backend == "ray" else ""
        fail(
            f"{where}: engine_args.distributed_executor_backend is '{backend}'{also}; over hosts it is mp, so remove it"
        )


def check_widths(where: str, service: Row, board: Row, model: Row) -> None:
    """Refuse what the row asks for and no group of hosts can be."""
    args, count = service["engine_args"], number(service["hosts"])
    if service["choice"]["asked"]:
        fail(
            f"{where}: engine_args has `auto`, and nothing is chosen over {count} hosts; write {', '.join(service['choice']['chosen'])}"
        )
    if (model["kind"] or "chat") not in GENERATE:
        fail(
            f"{where}: model '{service['model']}' is of kind {model['kind']}, which one host holds; remove 'hosts', and put replicas behind the gateway"
        )
    data = [
        found
        for names in (WIDTHS["data"], DATA_LOCAL, DATA_RANK)
        if (found := option(args, names)) and str(found[1]) not in ("0", "1")
    ]
    if data:
        experts = (model["shape"] or {}).get("experts")
        instead = (
            "spread its experts with tensor and pipeline parallelism"
            if experts
            else "remove 'hosts': each host serves a copy, and the gateway balances them"
        )
        fail(
            f"{where}: engine_args.{data[0][0]} is {data[0][1]} over {count} hosts, whose ranks don't come back after a failure; {instead}"
        )


def number(hosts: Any) -> int:
    return len(hosts) if isinstance(hosts, list) else int(hosts)


def spread(where: str, service: Row, board: Row) -> Row:
    """engine_args with the parallel sizes of all hosts together. Tensor parallelism stays within a host unless `across` says tensor."""
    args, count, across = dict(service["engine_args"]), number(service["hosts"]), service["across"] or "pipeline"
    if across not in ACROSS:
        fail(f"{where}: 'across' is '{across}'; {nearest(across, ACROSS)}")
    tensor, pipeline = (size(where, args, WIDTHS[kind]) for kind in ("tensor", "pipeline"))
    own = int(board["count"] or 1)
    if tensor is None:
        tensor = own * (count if across == "tensor" else 1)
    if pipeline is None:
        pipeline = 1 if across == "tensor" else count
    for kind, value in (("tensor", tensor), ("pipeline", pipeline)):
        for name in WIDTHS[kind]:
            args.pop(name, None)
        args[f"{kind}_parallel_size"] = value
    ranks = tensor * pipeline
    sizes = f"tensor_parallel_size {tensor} x pipeline_parallel_size {pipeline}"
    if ranks % count or ranks < count:
        fail(
            f"{where}: {sizes} is {ranks} ranks, which {count} hosts can't share equally; make it a multiple of {count}"
        )
    here = ranks // count
    if tensor > here and across != "tensor":
        fail(
            f"{where}: {sizes} over {count} hosts has {here} ranks on each, so tensor parallelism would cross hosts; set across: tensor if their "
            f"links are as fast as RDMA, else tensor_parallel_size {here} and pipeline_parallel_size {count}"
        )
    if tensor > here and tensor % here:
        fail(
            f"{where}: {sizes} over {count} hosts has {here} ranks on each, of which tensor_parallel_size must be a multiple"
        )
    if service["kind"] == "cpu" and pipeline > 1 and args.get("enforce_eager") is True:
        fail(
            f"{where}: pipeline_parallel_size {pipeline} with enforce_eager ends a CPU engine at its first request; set across: tensor, or "
            "enforce_eager: false"
        )
    return args


def shared(widths: Mapping[str, int], count: int) -> dict[str, int]:
    """The widths of one host of `count`: `devices` are its own, the others those of the whole group."""
    return {**widths, "devices": widths["devices"] // count, "hosts": count}


def group_of(where: str, name: str, service: Row, tables: Mapping[str, Any]) -> Row:
    """{size, rank, across, leader, members, addresses, address, interface, ports}: the place of this host in the group.

    `tables.fleet` is `fleet_of`; where `tables.host` is empty, only the row is looked at, with hosts that stand for any.
    """
    fleet, host = tables.get("fleet"), tables["host"]
    first = ports_of(tables["services"])[name]
    if fleet is None and host:
        fail(
            f"{where}: 'hosts' is set, and nothing said which other hosts there are; run it by one of the product's playbooks"
        )
    if fleet is None:
        hosts = (
            service["hosts"]
            if isinstance(service["hosts"], list)
            else [f"host-{n + 1}" for n in range(service["hosts"])]
        )
        addresses, host, interface = [f"192.0.2.{n + 1}" for n in range(len(hosts))], hosts[0], None
    else:
        hosts = members(where, name, service["hosts"], fleet, host)
        addresses = [check_address(one, fleet[one]["address"]) for one in hosts]
        interface = fleet[host]["interface"]
        twice = next((one for one in addresses if addresses.count(one) > 1), None)
        if twice:
            fail(f"{where}: two of its hosts have the group_address {twice}; give each its own")
    rank = hosts.index(host)
    return {
        "size": len(hosts),
        "rank": rank,
        "across": service["across"] or "pipeline",
        "leader": hosts[0],
        "members": hosts,
        "addresses": addresses,
        "address": addresses[rank],
        "interface": interface,
        "ports": {port: first + number for number, port in enumerate(PORTS)},
    }


def options_of(group: Row) -> Row:
    """Options by which the engine of this host finds the others."""
    found = {
        "distributed_executor_backend": "mp",
        "nnodes": group["size"],
        "node_rank": group["rank"],
        "master_addr": group["addresses"][0],
        "master_port": group["ports"]["master"],
    }
    return {**found, "headless": True} if group["rank"] else found


def joined(service: Row, model: Row, board: Row) -> None:
    """Make a record one of a group: its options and variables, its rights, and for a follower no API of its own."""
    group = service["group"]
    args = {key: value for key, value in service["engine_args"].items() if not (group["rank"] and key in OF_API)}
    service["engine_args"] = {**args, **options_of(group)}
    service["env"] = {STEP_VARIABLE: str(STEP_SECONDS[service["kind"]]), **service["env"]}
    if service["runtime"] == "container" and "host-network" not in service["rights"]:
        service["rights"] = [*service["rights"], "host-network"]
    group["judged"] = bool(service["reference"]) and service["judge_level"] != "none"  # by its first host, for all
    if group["rank"]:
        service.update(
            api_key=False, reference=None, judge_level="none", judge_required=False, address="127.0.0.1", asks=[], gateway={"expose": False},
            endpoint=f"http://{bracketed(group['addresses'][0])}:{service['port']}",
        )  # fmt: skip
    memory = int(board["memory_bytes"] or 0) * int(board["count"] or 0)
    if memory and int(model["bytes"]) * 1.3 < memory * service["utilization"]:
        service["notes"].append(
            {
                "rule": "fits-one-host",
                "text": f"model '{model['name']}' fits one host, and here {group['size']} hold one copy of it",
                "remedy": "remove 'hosts': each host serves a copy of its own, and the gateway balances them",
            }
        )


def bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def value_of(record: Mapping[str, Any], name: str) -> Any:
    found: Any = record
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def compared(record: Mapping[str, Any]) -> Row:
    """{name: value} of what must be alike on all hosts of a group."""
    args = {f"engine_args.{key}": value for key, value in record["engine_args"].items() if key not in OWN_OPTIONS}
    model = {f"model.{key}": record["model"].get(key) for key in ("name", "sources")}
    return {**{key: value_of(record, key) for key in ALIKE}, **args, **model, "devices": record["widths"]["devices"]}


def group_faults(services: Iterable[Mapping[str, Any]], hostvars: Mapping[str, Any]) -> list[str]:
    """What differs between the hosts of a group, said by its leader. Hosts whose own plan has faults say those themselves."""
    found = []
    for record in services:
        group = record.get("group")
        if not group or group["rank"]:
            continue
        mine = compared(record)
        for host in group["members"][1:]:
            others = [one for one in hostvars[host]["planned"]["services"] if one["service"] == record["service"]]
            theirs = compared(others[0]) if others else mine
            for name in sorted({*mine, *theirs}):
                if mine.get(name) != theirs.get(name):
                    found.append(
                        f"service '{record['service']}': {name} is {mine.get(name)!r} on {group['leader']} and {theirs.get(name)!r} on {host}; "
                        "the hosts of one service must have the same"
                    )
    return found


def absent(services: Iterable[Mapping[str, Any]], hosts: Iterable[str], only: str = "all") -> list[str]:
    """A sentence for each service of which `hosts`, those of a run, are a part. `only`: one service, or all."""
    there, found = set(hosts), []
    for record in services:
        group = record.get("group")
        if not group or only not in ("all", record["service"]):
            continue
        away = [host for host in group["members"] if host not in there]
        if away:
            found.append(
                f"service '{record['service']}' runs over {' and '.join(group['members'])} together, and this run is without {' and '.join(away)}; "
                f"take all of them: -l {','.join(group['members'])}"
            )
    return found


def one_unit(hosts: Sequence[str], hostvars: Mapping[str, Any]) -> bool:
    """Is it one host, or all those that services over several hosts make one?"""
    found, ahead = set[str](), [hosts[0]] if hosts else []
    while ahead:
        host = ahead.pop()
        found.add(host)
        services = hostvars[host]["planned"]["services"]
        ahead += [
            one for record in services for one in (record.get("group") or {}).get("members", []) if one not in found
        ]
    return found == set(hosts)


def over_hosts(services: Mapping[str, Any], name: str) -> bool:
    """Does a row of the table ask for several hosts?"""
    return asked(services.get(name))


def names_over_hosts(services: Mapping[str, Any], names: Iterable[str], together: bool) -> list[str]:
    """Those of `names` that run over several hosts, in the same order on each host; or the others, as they are."""
    found = [name for name in names if over_hosts(services, name) is together]
    return sorted(found) if together else found


def peers(services: Iterable[Mapping[str, Any]]) -> list[Row]:
    """{address, ports: [first, last]} of the other hosts that a host's services run together with, for its firewall."""
    found = []
    for group in (record["group"] for record in services if record.get("group")):
        others = [address for address in group["addresses"] if address != group["address"]]
        found += [
            {"address": address, "ports": [group["ports"][PORTS[0]], group["ports"][PORTS[-1]]]} for address in others
        ]
    return found
