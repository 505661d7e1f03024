"""Filters of status.yml: `status_of` judges the fleet, `status_end` ends the run with the exit code that says it, `status_metrics` writes it for Prometheus.

0 well; 1 degraded: something is wrong, but every service is answered by some host; 2 down: a service that no host answers for, or a
group of gateways of which none runs. So the codes are those of Nagios' plugins, too.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

OF_GATEWAY = ("out", "refused", "certificate_expires", "callers")
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
        "group",
    )
    return [
        {
            "host": host,
            "service": row["service"],
            "ready": bool(row["ready"]),
            **{key: row.get(key) for key in keys},
            "verdict": "stale" if row.get("verdict_stale") else (row.get("judged") or {}).get("verdict"),
        }
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
                **{key: (result or {}).get(key) for key in OF_GATEWAY},
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
    answering = [
        row for row in rows if row["ready"] and not (row.get("group") or {}).get("rank")
    ]  # a follower has no API
    answered = {row["service"] for row in answering}
    models = {row.get("served_name") for row in answering} - {None}  # of replicas one is enough
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


HELP = {
    "vllm_status_timestamp_seconds": "When status.yml looked.",
    "vllm_status_code": "0 well, 1 degraded, 2 down.",
    "vllm_service_up": "Does the service give a real answer?",
    "vllm_service_info": "Release and state of the service.",
    "vllm_service_verdict": "The verdict on its release; stale: an earlier one was judged and this one was not.",
    "vllm_service_restarts": "Ends of its process that nobody asked for, in this release.",
    "vllm_service_changed_timestamp_seconds": "When its release was changed last.",
    "vllm_gateway_up": "Does the gateway run?",
    "vllm_gateway_backend_up": "Does the backend take requests?",
    "vllm_gateway_backend_out_timestamp_seconds": "Since when a run has the backend out.",
    "vllm_gateway_backend_refused": "The pool refuses the backend for its verdict.",
    "vllm_gateway_certificate_expiry_timestamp_seconds": "End of the gateway's certificate.",
    "vllm_gateway_caller_key_expiry_timestamp_seconds": "End of a caller's last key.",
}


def sample(name: str, value: Any, **labels: Any) -> str:
    """One line of Prometheus' text format."""
    quoted = [f'{key}="{_escaped(text)}"' for key, text in labels.items()]
    return f"{name}{{{','.join(quoted)}}} {float(value):.10g}"


def _escaped(text: Any) -> str:
    return str(text if text is not None else "").replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")


def service_samples(row: Mapping[str, Any]) -> Iterable[str]:
    labels = {"host": row["host"], "service": row["service"], "model": row.get("served_name") or row["service"]}
    yield sample("vllm_service_up", bool(row["ready"]), **labels)
    yield sample("vllm_service_info", 1, **labels, release=row.get("release"), state=row.get("state"))
    if row.get("verdict"):
        yield sample("vllm_service_verdict", 1, **labels, verdict=row["verdict"])
    if row.get("restarts") is not None:
        yield sample("vllm_service_restarts", row["restarts"], **labels)
    if row.get("changed_at"):
        yield sample("vllm_service_changed_timestamp_seconds", row["changed_at"], **labels)


def gateway_samples(row: Mapping[str, Any]) -> Iterable[str]:
    gateway = row["host"]
    yield sample("vllm_gateway_up", bool(row["ready"]), gateway=gateway)
    for one in row["backends"]:
        labels = {"gateway": gateway, "pool": one["pool"], "backend": one["name"]}
        yield sample("vllm_gateway_backend_up", str(one["status"]).startswith(("UP", "no check")), **labels)
    for name, times in (row.get("out") or {}).items():
        yield sample("vllm_gateway_backend_out_timestamp_seconds", times["since"], gateway=gateway, backend=name)
    for name in row.get("refused") or {}:
        yield sample("vllm_gateway_backend_refused", 1, gateway=gateway, backend=name)
    if row.get("certificate_expires"):
        yield sample("vllm_gateway_certificate_expiry_timestamp_seconds", row["certificate_expires"], gateway=gateway)
    for caller, end in (row.get("callers") or {}).items():
        yield sample("vllm_gateway_caller_key_expiry_timestamp_seconds", end, gateway=gateway, caller=caller)


def status_metrics(summary: Mapping[str, Any], now: float | None = None) -> str:
    """The summary in Prometheus' text format, for the node exporter's textfile collector. `now`: seconds since 1970."""
    lines = [
        sample("vllm_status_timestamp_seconds", time.time() if now is None else now),
        sample("vllm_status_code", summary["code"]),
    ]
    lines += [line for row in summary["services"] for line in service_samples(row)]
    lines += [line for row in summary["gateways"] for line in gateway_samples(row)]
    names: dict[str, list[str]] = {}
    for line in lines:
        names.setdefault(line.partition("{")[0], []).append(line)  # samples of a name must stand together
    return "".join(
        f"# HELP {name} {HELP[name]}\n# TYPE {name} gauge\n" + "".join(f"{line}\n" for line in found)
        for name, found in names.items()
    )


def status_end(summary: Mapping[str, Any]) -> bool:
    """False if nothing is degraded. Raises AnsibleFilterError, with which ansible-playbook ends with 1 where no task fails by it."""
    if summary["code"] == 1:
        raise AnsibleFilterError("degraded: " + "; ".join(" ".join(text.split()) for text in summary["problems"]))
    return False


class FilterModule:
    """The filters of this file, by name."""

    def filters(self) -> dict[str, Any]:
        return {"status_of": status_of, "status_end": status_end, "status_metrics": status_metrics}
