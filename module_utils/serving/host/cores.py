"""Cores of a CPU host, shared out among its services: no two on one core, and a rank stays on one NUMA node.

vLLM binds its threads within the CPUs that its process may use, one rank a NUMA node. So a service gets a mask. Standard
library only, Python 3.8.
"""

from __future__ import annotations

import os
from typing import Any

from ansible.module_utils.serving.host.cpu import parse_cpulist, read

BIND = "VLLM_CPU_OMP_THREADS_BIND"


def cpulist(cpus: list[int]) -> str:
    """[0, 1, 2, 5] -> `0-2,5`."""
    runs: list[list[int]] = []
    for cpu in sorted(set(cpus)):
        if runs and cpu == runs[-1][1] + 1:
            runs[-1][1] = cpu
        else:
            runs.append([cpu, cpu])
    return ",".join(str(low) if low == high else "%d-%d" % (low, high) for low, high in runs)


def cores_of(nodes: list[dict[str, Any]], usable: set[int], root: str = "/") -> list[tuple[int, list[list[int]]]]:
    """[(NUMA node, its cores)]: a core is the list of its threads. Only CPUs that a process may use; nodes without any are left out."""
    found = []
    for node in nodes or [{"node": None, "cpus": sorted(usable)}]:
        cores: dict[tuple[int, ...], list[int]] = {}
        for cpu in node["cpus"]:
            if cpu not in usable:
                continue
            path = "sys/devices/system/cpu/cpu%d/topology/thread_siblings_list" % cpu
            threads = parse_cpulist(read(os.path.join(root, path))) or [cpu]
            cores.setdefault(tuple(threads), []).append(cpu)
        if cores:
            found.append((node["node"], [cores[key] for key in sorted(cores)]))
    return found


def explicit(service: dict[str, Any]) -> str | None:
    """The cores that a row asks for itself, in vLLM's form: `0-15|16-31`; None where vLLM chooses."""
    bind = str(service["env"].get(BIND) or "auto")
    return service.get("cpus") or (bind if bind[:1].isdigit() else None)


def bound(service: dict[str, Any]) -> bool:
    """Does the service take cores of its own? `nobind` says that the kernel may put its threads anywhere."""
    return bool(service.get("cpus")) or service["env"].get(BIND) != "nobind"


def share(
    plan: list[dict[str, Any]],
    nodes: list[tuple[int, list[list[int]]]],
    others: list[dict[str, Any]] | None = None,
    now: dict[str, dict[str, Any]] | None = None,
    numa: list[dict[str, Any]] | None = None,
) -> dict[str, dict[str, Any]]:
    """{service: {cpus, mems, bind}}: CPU lists and memory nodes of each service that is to be bound, `bind` for each rank
    where the row says so. One service alone is left as it is. Cores that a row names are not given to others.

    `others`: cores of services that run and are not in the plan, which keep them. `now`: {service: cores} that services of the plan
    have: beside others they keep them, and else they are dealt anew with as few moved as can be, whatever the order of the plan.
    `numa`: all NUMA nodes, for the memory of rows that name CPUs which `nodes` lacks, because the host keeps them from all others.
    """
    found: dict[str, dict[str, Any]] = {}
    taken = {cpu for one in others or [] for cpu in parse_cpulist(one["cpus"])}
    node_of = {cpu: node for node, cores in nodes for core in cores for cpu in core}
    node_of.update({cpu: node["node"] for node in numa or [] for cpu in node["cpus"]})
    for service in plan:
        words = explicit(service)
        if words:
            cpus = [cpu for rank in words.split("|") for cpu in parse_cpulist(rank)]
            taken.update(cpus)
            homes = {node_of.get(cpu) for cpu in cpus}
            mems = cpulist([home for home in homes if home is not None]) if None not in homes else ""
            found[service["service"]] = {"cpus": cpulist(cpus), "mems": mems, "bind": words}
    for service in plan if others else []:
        kept = (now or {}).get(service["service"])
        if kept and service["service"] not in found and bound(service) and not taken & set(parse_cpulist(kept["cpus"])):
            found[service["service"]] = {**kept, "bind": None}
            taken.update(parse_cpulist(kept["cpus"]))
    rest = [s for s in plan if s["service"] not in found and bound(s)]
    if len(plan) + len(others or []) < 2 or not rest:
        return found
    free = [(node, [core for core in cores if not taken & set(core)]) for node, cores in nodes]
    free = [(node, cores) for node, cores in free if cores]
    had = {name: set(parse_cpulist(one["cpus"])) for name, one in (now or {}).items()}
    ranks = dealt(rest, [cores for _, cores in free], had)
    cpus_of: dict[str, list[int]] = {}
    mems_of: dict[str, list[int]] = {}
    for (node, cores), names in zip(free, ranks):  # noqa: B905
        if len(cores) < len(names):
            return found  # fewer cores than ranks: sharing them is all that is left
        for place, name in enumerate(names):
            mine = cores[len(cores) * place // len(names) : len(cores) * (place + 1) // len(names)]
            cpus_of.setdefault(name, []).extend(cpu for core in mine for cpu in core)
            mems_of.setdefault(name, []).extend([node] if node is not None else [])
    for name, cpus in cpus_of.items():
        found[name] = {"cpus": cpulist(cpus), "mems": cpulist(mems_of[name]), "bind": None}
    return found


def dealt(services: list[dict[str, Any]], free: list[list[list[int]]], had: dict[str, set[int]]) -> list[list[str]]:
    """For each node the services whose ranks share its cores, in order. `free`: cores of each node; `had`: CPUs of services until now.

    Who has cores stays on their nodes and in their order, and those that are new follow by name. Where some cores are nobody's, because
    a service has gone, all are spread over the nodes again.
    """
    places = [{cpu for core in cores for cpu in core} for cores in free]
    mine = {name: [had.get(name, set()) & place for place in places] for name in (s["service"] for s in services)}
    # Nobody's cores: parts of a node, or a node that gives more than somebody's share of another.
    owners = [[parts[i] for parts in mine.values() if parts[i]] for i in range(len(free))]
    least = min((len(cores) / len(them) for cores, them in zip(free, owners) if len(them) > 1), default=None)  # noqa: B905
    settled = all(
        set().union(*them) == place if them else least is None or len(cores) <= least
        for them, place, cores in zip(owners, places, free)  # noqa: B905
    )

    def turn(name: str, cpus: set[int]) -> tuple[bool, int, str]:
        return not cpus, min(cpus, default=0), str(name)

    ranks: list[list[str]] = [[] for _ in free]
    for service in sorted(services, key=lambda s: turn(s["service"], set().union(*mine[s["service"]]))):
        name = service["service"]
        for _ in range(int(service["widths"]["devices"])):
            # A node of its own for each rank of a service; of those the one with the most cores a rank.
            order = sorted(
                range(len(free)),
                key=lambda i: (
                    ranks[i].count(name),
                    -len(mine[name][i]) if settled else 0,
                    -(len(free[i]) / (len(ranks[i]) + 1)),
                    i,
                ),
            )
            if order:
                ranks[order[0]].append(name)
    if settled:
        for i, names in enumerate(ranks):
            names.sort(key=lambda name: turn(name, mine[name][i]))
    return ranks


def loosen(shares: dict[str, dict[str, Any]], plan: list[dict[str, Any]], numa: list[dict[str, Any]]) -> None:
    """Take the memory nodes from services that would not fit into them: cores of their own are still theirs."""
    room = {str(node["node"]): node.get("memory_bytes") or 0 for node in numa}
    need = {service["service"]: service.get("memory_bytes") or 0 for service in plan}
    on = {name: [str(n) for n in parse_cpulist(one["mems"])] for name, one in shares.items()}
    for node, size in room.items():
        here = [name for name, nodes in on.items() if node in nodes]
        if sum(need.get(name, 0) / len(on[name]) for name in here) > size * 0.9:
            for name in here:
                shares[name]["mems"] = ""


def key_of(service: dict[str, Any]) -> str:
    """The key of a row that names its CPUs."""
    return "cpus" if service.get("cpus") else "env." + BIND


def named_problems(plan: list[dict[str, Any]], there: set[int]) -> list[str]:
    """What is wrong with the CPUs that rows name: nobody can be put on them here (`there`: those allowed), or two services get one."""
    keys = {service["service"]: key_of(service) for service in plan}
    rows = {service["service"]: explicit(service) for service in plan}
    named = {
        name: [cpu for rank in words.split("|") for cpu in parse_cpulist(rank)] for name, words in rows.items() if words
    }
    found = [
        "service '%s': it names CPUs %s, which this host does not have, has switched off, or keeps from this cgroup; it has %s; correct `%s`"
        % (name, cpulist(sorted(set(cpus) - there)), cpulist(sorted(there)), keys[name])
        for name, cpus in named.items()
        if set(cpus) - there
    ]
    return found + overlaps({name: {"cpus": cpulist(cpus)} for name, cpus in named.items()}, keys)


def overlaps(shares: dict[str, dict[str, Any]], keys: dict[str, str]) -> list[str]:
    """Services whose rows name the same cores. `keys`: by which key each does."""
    owner: dict[int, str] = {}
    found = []
    for name, one in shares.items():
        both = sorted(cpu for cpu in parse_cpulist(one["cpus"]) if owner.setdefault(cpu, name) != name)
        if both:
            found.append(
                "services '%s' and '%s' are both given CPUs %s; correct `%s` of '%s'"
                % (owner[both[0]], name, cpulist(both), keys[name], name)
            )
    return found
