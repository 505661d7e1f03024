"""What a host computes with, read into one record for unlike accelerators. Standard library only, Python 3.8.

The record: kind, count, devices[], driver, versions, topology, cpu, memory, live, pending[], problems[], notes[].
Every value that can't be read is null; nothing is guessed.
"""

from __future__ import annotations

import os
import platform
import re

# Flags that decide what vLLM's CPU kernels can do, as /proc/cpuinfo spells them (x86 `flags`, Arm `Features`).
CPU_FLAGS = (
    "avx2", "fma", "f16c", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8", "amx_tile",
    "asimd", "bf16", "i8mm", "sve", "sve2", "svebf16",
)  # fmt: skip
ARM_PARTS = {("0x41", "0xd4f"): "Neoverse-V2", ("0x41", "0xd40"): "Neoverse-V1", ("0x41", "0xd0c"): "Neoverse-N1",
             ("0x48", "0xd01"): "Kunpeng-920"}  # fmt: skip


def read(path: str) -> str:
    """A file's text, empty if it can't be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as source:
            return source.read()
    except OSError:
        return ""


def parse_cpuinfo(text: str) -> dict:
    """/proc/cpuinfo -> {model, threads, cores, sockets, flags}. x86 and Arm spellings; missing fields are null.

    Arm's has no socket and no core numbers: `sockets` is null then, and a core is taken for each thread; `topology` knows better.
    """
    blocks = [b for b in re.split(r"\n\s*\n", text) if re.search(r"^processor\s*:", b, re.M)]

    def field(block: str, name: str) -> str | None:
        found = re.search(r"^%s[ \t]*:[ \t]*(.*)$" % re.escape(name), block, re.M)
        return found.group(1).strip() if found and found.group(1).strip() else None

    first = blocks[0] if blocks else ""
    model = field(first, "model name")
    if model is None and field(first, "CPU implementer"):
        key = (field(first, "CPU implementer") or "", field(first, "CPU part") or "")
        model = ARM_PARTS.get(key, "Arm implementer %s part %s" % key)
    words = set((field(first, "flags") or field(first, "Features") or "").split())
    cores = {(field(b, "physical id"), field(b, "core id")) for b in blocks}
    sockets = {field(b, "physical id") for b in blocks} - {None}
    return {
        "model": model,
        "threads": len(blocks) or None,
        "cores": len(cores) if blocks and None not in {c[1] for c in cores} else len(blocks) or None,
        "sockets": len(sockets) or None,
        "flags": [f for f in CPU_FLAGS if f in words],
    }


def topology(root: str, nodes: int) -> dict[str, int]:
    """{sockets, cores} as sysfs counts them, without what it does not tell.

    Firmware without a processor table makes kernels call each cluster of cores a package: no socket has less than a NUMA node, so
    more packages than nodes are no sockets.
    """
    base = os.path.join(root, "sys/devices/system/cpu")
    try:
        names = [name for name in os.listdir(base) if re.fullmatch(r"cpu\d+", name)]
    except OSError:
        return {}
    packages = {read(os.path.join(base, name, "topology/physical_package_id")).strip() for name in names} - {""}
    siblings = {read(os.path.join(base, name, "topology/thread_siblings_list")).strip() for name in names} - {""}
    found = {"cores": len(siblings)} if siblings else {}
    if packages and all(package.isdigit() for package in packages) and len(packages) <= max(1, nodes):
        found["sockets"] = len(packages)
    return found


def parse_cpulist(text: str) -> list[int]:
    """`0-3,8,10-11` -> [0, 1, 2, 3, 8, 10, 11]; anything else in it is left out."""
    out: list[int] = []
    for part in text.strip().split(","):
        ends = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        if ends:
            low, high = int(ends.group(1)), int(ends.group(2) or ends.group(1))
            out.extend(range(low, min(high, low + 8192) + 1))
    return out


def parse_meminfo(text: str) -> dict[str, int]:
    """/proc/meminfo (or a NUMA node's) -> bytes by name."""
    found = re.findall(r"(?:^|\n)(?:Node \d+ )?(\w+):\s+(\d+) kB", text)
    return {name: int(kib) * 1024 for name, kib in found}


def numa_nodes(root: str) -> list[dict]:
    """NUMA nodes from sysfs: [{node, cpus, memory_bytes}], in order; one made-up node is never returned."""
    base = os.path.join(root, "sys/devices/system/node")
    try:
        names = [n for n in os.listdir(base) if re.fullmatch(r"node\d+", n)]
    except OSError:
        return []
    nodes = []
    for name in sorted(names, key=lambda n: int(n[4:])):
        memory = parse_meminfo(read(os.path.join(base, name, "meminfo")))
        nodes.append(
            {
                "node": int(name[4:]),
                "cpus": parse_cpulist(read(os.path.join(base, name, "cpulist"))),
                "memory_bytes": memory.get("MemTotal"),
            }
        )
    return nodes


def memory_limit(root: str) -> int | None:
    """The cgroup's memory limit in bytes (version 2, then 1); None: no limit or none readable."""
    for path in ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes"):
        text = read(os.path.join(root, path)).strip()
        if text.isdigit() and int(text) < 1 << 60:
            return int(text)
    return None


def usable() -> set[int]:
    """CPUs that a service of this user may run on: the mask of who starts it, which for root's is systemd, not the session of this process."""
    try:
        return os.sched_getaffinity(1 if os.geteuid() == 0 and os.path.isdir("/run/systemd/system") else 0)
    except OSError:
        return os.sched_getaffinity(0)


def allowed(root: str = "/") -> set[int]:
    """CPUs on which a process can be put by their numbers: those online, within the cgroup's cpuset (version 2, then 1).

    A mask is inherited and no limit: with `isolcpus=` or `CPUAffinity=` systemd itself has few CPUs, and taskset gives any.
    """
    names = [cpu for node in numa_nodes(root) for cpu in node["cpus"]] or range(os.cpu_count() or 1)
    found = set(parse_cpulist(read(os.path.join(root, "sys/devices/system/cpu/online"))) or names)
    for path in ("cpuset.cpus.effective", "cpuset/cpuset.effective_cpus", "cpuset/cpuset.cpus"):
        within = set(parse_cpulist(read(os.path.join(root, "sys/fs/cgroup", path))))
        if within:
            return found & within
    return found


def cpu_record(root: str = "/") -> dict:
    """The record of a host that computes on its CPU."""
    every = [node for node in numa_nodes(root) if node["cpus"]]  # memory alone computes nothing (CXL, HBM, a GPU's)
    there = allowed(root)
    nodes = [node for node in every if there & set(node["cpus"])]
    mask = usable() if root == "/" else there
    ours = [node for node in nodes if mask & set(node["cpus"])]  # a rank whose row names no CPUs gets one of these
    cpu = parse_cpuinfo(read(os.path.join(root, "proc/cpuinfo")))
    if cpu["sockets"] is None and cpu["threads"]:
        cpu.update(topology(root, len(every)))
    cpu["usable"] = len(usable())
    pages = re.search(r"\[(\w+)\]", read(os.path.join(root, "sys/kernel/mm/transparent_hugepage/enabled")))
    cpu["large_pages"] = pages.group(1) if pages else None
    memory = parse_meminfo(read(os.path.join(root, "proc/meminfo")))
    limit = memory_limit(root)
    total = memory.get("MemTotal")
    problems = []
    if not cpu["threads"]:
        problems.append("/proc/cpuinfo lists no processor")
    machine = platform.machine()
    if machine in ("x86_64", "AMD64") and cpu["flags"] and "avx2" not in cpu["flags"]:
        problems.append("this CPU has no AVX2, which vLLM's CPU kernels need; use another machine")
    return {
        "kind": "cpu",
        "arch": machine,
        "count": max(1, len(ours)),
        "devices": [
            {
                "index": n["node"],
                "name": cpu["model"],
                "memory_total_bytes": n["memory_bytes"],
                "memory_used_bytes": None,
                "health": "OK",
                "id": "node%d" % n["node"],
                "container_id": None,
                "uuid": None,
                "bus_id": None,
            }
            for n in ours
        ],
        "driver": None,
        "versions": {"kernel": platform.release()},
        "topology": {"numa": nodes, "links": []},
        "cpu": cpu,
        "memory": {"total_bytes": total, "available_bytes": memory.get("MemAvailable"), "limit_bytes": limit},
        "live": bool(cpu["threads"]),
        "pending": [],  # what preparing the host mends
        "problems": problems,
        "notes": [],  # what an operator should know, and what stops nothing
    }
