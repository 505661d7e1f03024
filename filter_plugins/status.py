"""Filters of status.yml: `status_of` judges the fleet, `status_end` ends the run with the exit code that says it.

0 well; 1 degraded: something is wrong, but every service is answered by some host; 2 down: a service that no host answers for, or a
group of gateways of which none runs. So the codes are those of Nagios' plugins, too.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

WORDS = ("well", "degraded", "down")


def host_rows(host: str, result: Mapping[str, Any] | None, runs: Iterable[str]) -> list[dict[str, Any]]:
    """Each service of a host: {host, service, ready, state, problem, ...}. What a host that gave no answer runs is not ready."""
    found = (result or {}).get("services")
    if found is None:
        words = " ".join(str((result or {}).get("msg") or "no answer").split())[:300]
        state = "error" if (result or {}).get("failed") and not (result or {}).get("unreachable") else "unreachable"
        return [{"host": host, "service": name, "ready": False, "state": state, "problem": words} for name in runs]
    keys = (
        "state",
        "problem",
        "served_name",
        "endpoint",
        "release",
        "restarts",
        "changed_at",
        "uptime_seconds",
        "timings",
        "log",
    )
    return [
        {"host": host, "service": row["service"], "ready": bool(row["ready"]), **{key: row.get(key) for key in keys}}
        for row in found
    ]


def out_of_use(backend: Mapping[str, Any], noted: Mapping[str, Any] | None) -> str:
    """Why a backend takes no requests, and what puts it back."""
    name = f"{backend['pool']}/{backend['name']}"
    if noted:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(float(noted["since"])))
        return f"{name} is out since {since} UTC, by a run that goes on or was ended; the next deploy, start or restart of it puts it back"
    if backend.get("out"):
        return f"{name} was taken out by hand"
    return f"{name} takes no requests ({backend['status']})"


def gateway_rows(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each gateway: {host, ready, problem, backends}."""
    rows = []
    for host, result in results.items():
        running = bool((result or {}).get("running"))
        backends = (result or {}).get("backends") or []
        out = (result or {}).get("out") or {}
        down = [one for one in backends if not str(one["status"]).startswith(("UP", "no check"))]
        words = [out_of_use(one, out.get(one["name"])) for one in down]
        problem = "; ".join([*words, *((result or {}).get("refused") or {}).values()])
        rows.append(
            {
                "host": host,
                "ready": running,
                "problem": (problem or None) if running else "it does not run",
                "backends": backends,
            }
        )
    return rows


def status_summary(
    results: Mapping[str, Any], runs: Mapping[str, Iterable[str]], gateways: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """{state, code, problems, services, gateways} from {host: result of endpoint_probe}, {host: its runs}, {gateway: result of gateway_info}."""
    rows = [row for host, result in results.items() for row in host_rows(host, result, runs.get(host) or [])]
    doors = gateway_rows(gateways or {})
    silent = [host for host, result in results.items() if (result or {}).get("services") is None and not runs.get(host)]
    answered = {row["service"] for row in rows if row["ready"]}
    models = {row.get("served_name") for row in rows if row["ready"]} - {None}  # of replicas one is enough
    down = sorted({row["service"] for row in rows if row.get("served_name") not in models} - answered)
    problems = [f"no host answers for {name}" for name in down]
    problems += [
        f"{row['service']} on {row['host']}: {row['problem'] or row['state']}" for row in rows if not row["ready"]
    ]
    problems += [f"gateway {row['host']}: {row['problem']}" for row in doors if row["problem"]]
    problems += [f"host {host} gives no answer" for host in silent]
    code = 2 if down or (doors and not any(row["ready"] for row in doors)) else 1 if problems else 0
    return {"state": WORDS[code], "code": code, "problems": problems, "services": rows, "gateways": doors}


def status_of(hostvars: Mapping[str, Any], groups: Mapping[str, Iterable[str]]) -> dict[str, Any]:
    """`status_summary` of the hosts that this run has asked."""
    asked = [host for host in groups["accelerators"] if "status_probe" in hostvars[host]]
    doors = [host for host in groups.get("gateways", []) if "status_gateway" in hostvars[host]]
    return status_summary(
        {host: hostvars[host]["status_probe"] for host in asked},
        {host: hostvars[host]["run_names"] for host in asked},
        {host: hostvars[host]["status_gateway"] for host in doors},
    )


def status_end(summary: Mapping[str, Any]) -> bool:
    """False if nothing is degraded. Raises AnsibleFilterError, with which ansible-playbook ends with 1 where no task fails by it."""
    if summary["code"] == 1:
        raise AnsibleFilterError("degraded: " + "; ".join(" ".join(text.split()) for text in summary["problems"]))
    return False


class FilterModule:
    """The filters of this file, by name."""

    def filters(self) -> dict[str, Any]:
        return {"status_of": status_of, "status_end": status_end}
