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
    have: beside others they keep them, and else they keep their nodes and move only for more cores, whatever the order of the plan.
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
    for known in (had, {}):  # afresh where some rank gets no core if everybody stays
        ranks = dealt(rest, [cores for _, cores in free], known)
        if all(len(cores) >= len(names) for (_, cores), names in zip(free, ranks)):  # noqa: B905
            break
    else:
        return found  # fewer cores than ranks: sharing them is all that is left
    cpus_of: dict[str, list[int]] = {}
    mems_of: dict[str, list[int]] = {}
    for (node, cores), names in zip(free, ranks):  # noqa: B905
        for place, name in enumerate(names):
            mine = cores[len(cores) * place // len(names) : len(cores) * (place + 1) // len(names)]
            cpus_of.setdefault(name, []).extend(cpu for core in mine for cpu in core)
            mems_of.setdefault(name, []).extend([node] if node is not None else [])
    for name, cpus in cpus_of.items():
        found[name] = {"cpus": cpulist(cpus), "mems": cpulist(mems_of[name]), "bind": None}
    return found


def dealt(services: list[dict[str, Any]], free: list[list[list[int]]], had: dict[str, set[int]]) -> list[list[str]]:
    """For each node the services whose ranks share its cores, in order. `free`: cores of each node; `had`: CPUs of services until now.

    Ranks of a service have nodes of their own, as far as there are any. Who has cores stays on their nodes, and those that are new go
    where a rank gets the most. Then, as long as a rank would get more on another node, the last one of the poorest node moves there.
    """
    wide = {service["service"]: int(service["widths"]["devices"]) for service in services}
    # Which cores of each node a service had, by their places there.
    places = {
        name: [[k for k, core in enumerate(cores) if had.get(name, set()) & set(core)] for cores in free]
        for name in wide
    }
    ranks: list[list[str]] = [[] for _ in free]

    def part(i: int, more: int = 0) -> float:
        return len(free[i]) / (len(ranks[i]) + more)

    for name in sorted(wide, key=lambda name: (not any(places[name]), name)):
        for rank in range(wide[name] if free else 0):
            others = [i for i in range(len(free)) if name not in ranks[i]]
            best = min(others, key=lambda i: (-len(places[name][i]), -part(i, 1), i), default=rank % len(free))
            ranks[best].append(name)
    while True:
        moves = [
            (part(a), -part(b, 1), bool(places[name][a]), [-k for k in places[name][a][:1]], name, a, b)
            for a, names in enumerate(ranks)
            for name in names
            for b in range(len(free))
            if name not in ranks[b] and part(b, 1) > part(a)
        ]
        if not moves:
            break
        name, a, b = min(moves)[4:]
        ranks[a].remove(name)
        ranks[b].append(name)
    for i, names in enumerate(ranks):
        names.sort(key=lambda name: (not places[name][i], places[name][i][:1], name))
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
