"""Filter `cpu_findings`: what a CPU host's record says about serving on it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

Record = Mapping[str, Any]
KERNEL = (5, 10)  # aws-graviton-getting-started; large folios come with 6.9


def nodes_for(record: Record, service: Record) -> int:
    """NUMA nodes on which the service's ranks may be: who names CPUs is also put on those that the host keeps from all others."""
    bind = str(service["env"].get("VLLM_CPU_OMP_THREADS_BIND") or "")
    return max(1, len(record["topology"]["numa"]) if service["cpus"] or bind[:1].isdigit() else record["count"])


def tensor_parallel(record: Record, service: Record) -> list[int]:
    """Tensor parallel sizes that make sense: at most one rank a NUMA node, and heads that divide."""
    nodes = nodes_for(record, service)
    heads = service["model"]["shape"].get("attention_heads") or 0
    return [n for n in range(1, nodes + 1) if heads % n == 0]


def cpu_findings(record: Record, plan: list[Record]) -> dict[str, Any]:
    """{problems, notes, large_pages}: what is wrong with its remedy, what an operator should know, and whether pages need setting."""
    problems, notes = list(record["problems"]), []
    flags, model = record["cpu"]["flags"], record["cpu"]["model"] or "this CPU"
    if record["arch"] == "aarch64":
        missing = [flag for flag in ("bf16", "i8mm") if flag not in flags]
        if missing:
            problems.append(
                f"{model} has no {' and no '.join(missing)}, which bf16 kernels need; use a CPU that has them: on Arm, Neoverse V1 or later"
            )
    kernel = tuple(int(part) for part in re.findall(r"\d+", record["versions"]["kernel"])[:2])
    if kernel < KERNEL:
        problems.append(f"kernel {record['versions']['kernel']} is older than {KERNEL[0]}.{KERNEL[1]}; upgrade it")
    for service in plan:
        sizes = service["widths"]
        wide = sizes["devices"] if "hosts" in sizes else sizes["tensor"]  # of several hosts, the ranks of this one
        good = tensor_parallel(record, service)
        nodes = nodes_for(record, service)
        if wide not in good:
            problems.append(
                f"service '{service['service']}': tensor_parallel_size {wide} on {nodes} NUMA nodes; "
                f"a rank needs a node of its own, and heads must divide: use {' or '.join(map(str, good))}"
            )
        elif wide < max(good) and len(plan) == 1:
            notes.append(
                f"service '{service['service']}' uses {wide} of {nodes} NUMA nodes; tensor_parallel_size {max(good)} uses all"
            )
    return {"problems": problems, "notes": notes, "large_pages": record["cpu"].get("large_pages") == "never"}


class FilterModule:
    """The filters of this file, by name."""

    def filters(self) -> dict[str, Any]:
        return {"cpu_findings": cpu_findings}
