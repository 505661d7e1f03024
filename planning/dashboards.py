"""Grafana's dashboards: the fleet, and one model. Each panel is a row of a table; Grafana's JSON follows from it."""

from __future__ import annotations

from typing import Any, NamedTuple

from planning.rows import Row

SOURCE = {"type": "prometheus", "uid": "${source}"}
WIDTH, STAT_HEIGHT, GRAPH_HEIGHT = 24, 4, 8
MODEL = '{model_name=~"$model"}'


class Panel(NamedTuple):
    """One panel. `queries`: (expression, legend) pairs; `kind`: a type of Grafana's; `unit`: a unit of Grafana's; `width`: of 24."""

    title: str
    text: str
    queries: tuple[tuple[str, str], ...]
    kind: str = "timeseries"
    unit: str = "short"
    width: int = 8
    red: float | None = None  # from here on it is a fault


def quantiles(metric: str) -> tuple[tuple[str, str], ...]:
    """p50 and p95 of a histogram of the model."""
    by = f"sum by (le, model_name) (rate(vllm:{metric}_bucket{MODEL}[$__rate_interval]))"
    return tuple(
        (f"histogram_quantile({share}, {by})", f"{{{{model_name}}}} {name}")
        for share, name in ((0.5, "p50"), (0.95, "p95"))
    )


def a_second(metric: str, by: str = "model_name") -> str:
    return f"sum by ({by}) (rate(vllm:{metric}{MODEL}[$__rate_interval]))"


FLEET = (
    Panel("Services down", "Services that give no real answer.", (("sum(vllm_service_up == bool 0)", ""),), "stat", width=6, red=1),
    Panel("Gateways down", "Gateways that don't run.", (("sum(vllm_gateway_up == bool 0) or vector(0)", ""),), "stat", width=6, red=1),
    Panel("Alerts", "Alerts that fire now.", (('count(ALERTS{alertstate="firing"}) or vector(0)', ""),), "stat", width=6, red=1),
    Panel("Last look", "Time since status.yml looked.", (("time() - vllm_status_timestamp_seconds", ""),), "stat", "s", 6, 900),
    Panel("Services", "1: it gives a real answer.", (("vllm_service_up", "{{host}} {{service}}"),), "state-timeline", width=12),
    Panel("Backends", "1: the gateway sends it requests.", (("vllm_gateway_backend_up", "{{gateway}} {{backend}}"),), "state-timeline", width=12),
    Panel("Verdicts", "What the release that runs was judged.", (("sum by (verdict) (vllm_service_verdict)", "{{verdict}}"),), "bargauge"),
    Panel("Restarts in an hour", "Ends that nobody asked for.", (("increase(vllm_service_restarts[1h])", "{{host}} {{service}}"),)),
    Panel(
        "Days until the end",
        "Of gateways' certificates and callers' last keys.",
        (
            ("(vllm_gateway_certificate_expiry_timestamp_seconds - time()) / 86400", "certificate {{gateway}}"),
            ("(vllm_gateway_caller_key_expiry_timestamp_seconds - time()) / 86400", "key {{caller}}"),
        ),
        "bargauge",
    ),
    Panel("Requests running", "By model.", (("sum by (model_name) (vllm:num_requests_running)", "{{model_name}}"),)),
    Panel("Tokens made a second", "By model.", (("sum by (model_name) (rate(vllm:generation_tokens_total[$__rate_interval]))", "{{model_name}}"),)),
    Panel("KV cache", "Share in use.", (("max by (model_name, host) (vllm:kv_cache_usage_perc)", "{{host}} {{model_name}}"),), unit="percentunit", red=0.95),
    Panel(
        "Disks",
        "Share in use.",
        (('1 - node_filesystem_avail_bytes{fstype!~"tmpfs|overlay"} / node_filesystem_size_bytes', "{{host}} {{mountpoint}}"),),
        unit="percentunit",
        red=0.9,
    ),
    Panel("Memory", "Share in use.", (("1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes", "{{host}}"),), unit="percentunit", red=0.95),
    Panel(
        "Accelerators' faults",
        "Last Xid of dcgm-exporter, and NPUs that npu-exporter finds not healthy; empty without such an exporter.",
        (("DCGM_FI_DEV_XID_ERRORS", "{{host}} GPU {{gpu}} Xid"), ("npu_chip_info_health_status != bool 1", "{{host}} NPU {{id}}")),
        red=1,
    ),
)  # fmt: skip

SERVICE = (
    Panel("Time to first token", "As the engine measures it, its queue included.", quantiles("time_to_first_token_seconds"), unit="s"),
    Panel("Time between tokens", "", quantiles("inter_token_latency_seconds"), unit="s"),
    Panel("Time of a whole request", "", quantiles("e2e_request_latency_seconds"), unit="s"),
    Panel(
        "Requests",
        "In the engine, by host.",
        (
            (f"sum by (model_name, host) (vllm:num_requests_running{MODEL})", "{{host}} running"),
            (f"sum by (model_name, host) (vllm:num_requests_waiting{MODEL})", "{{host}} waiting"),
        ),
    ),
    Panel("Requests ended a second", "By why they ended.", ((a_second("request_success_total", "finished_reason"), "{{finished_reason}}"),)),
    Panel(
        "Tokens a second",
        "",
        ((a_second("prompt_tokens_total"), "{{model_name}} read"), (a_second("generation_tokens_total"), "{{model_name}} made")),
    ),
    Panel("KV cache", "Share in use.", ((f"vllm:kv_cache_usage_perc{MODEL}", "{{host}}"),), unit="percentunit", red=0.95),
    Panel(
        "Prefix cache",
        "Share of the prompts' tokens that it had.",
        ((f"{a_second('prefix_cache_hits_total')} / {a_second('prefix_cache_queries_total')}", "{{model_name}}"),),
        unit="percentunit",
    ),
    Panel("Preemptions a second", "Requests put back for want of KV cache.", ((a_second("num_preemptions_total", "host"), "{{host}}"),)),
)  # fmt: skip


def panel_json(number: int, panel: Panel, x: int, y: int) -> Row:
    height = STAT_HEIGHT if panel.kind == "stat" else GRAPH_HEIGHT
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.red is not None:
        steps.append({"color": "red", "value": panel.red})
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.text,
        "datasource": SOURCE,
        "gridPos": {"x": x, "y": y, "w": panel.width, "h": height},
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "min": 0, "thresholds": {"mode": "absolute", "steps": steps}},
            "overrides": [],
        },
        "targets": [
            {"refId": chr(ord("A") + place), "datasource": SOURCE, "expr": expression, "legendFormat": legend}
            for place, (expression, legend) in enumerate(panel.queries)
        ],
    }


def variable(name: str, label: str, kind: str, query: str, **more: Any) -> Row:
    return {"name": name, "label": label, "type": kind, "query": query, "refresh": 1, **more}


def dashboard(uid: str, title: str, panels: tuple[Panel, ...], variables: list[Row]) -> Row:
    """Grafana's JSON of one dashboard, its panels from left to right."""
    found, x, y, row_height = list[Row](), 0, 0, 0
    for number, panel in enumerate(panels, 1):
        if x + panel.width > WIDTH:
            x, y, row_height = 0, y + row_height, 0
        found.append(panel_json(number, panel, x, y))
        x, row_height = x + panel.width, max(row_height, found[-1]["gridPos"]["h"])
    return {
        "uid": uid,
        "title": title,
        "tags": ["vllm-ansible"],
        "schemaVersion": 39,
        "editable": False,
        "graphTooltip": 1,
        "timezone": "browser",
        "time": {"from": "now-6h", "to": "now"},
        "refresh": "1m",
        "templating": {"list": [variable("source", "Prometheus", "datasource", "prometheus"), *variables]},
        "panels": found,
    }


def grafana_dashboards() -> dict[str, Row]:
    """{file's name without .json: dashboard}."""
    model = variable(
        "model",
        "Model",
        "query",
        "label_values(vllm:num_requests_running, model_name)",
        datasource=SOURCE,
        multi=True,
        includeAll=True,
    )
    return {
        "vllm-fleet": dashboard("vllm-fleet", "vLLM fleet", FLEET, []),
        "vllm-model": dashboard("vllm-model", "vLLM model", SERVICE, [model]),
    }


def grafana_files(folder: str, provisioning: str, prometheus: str) -> dict[str, Row]:
    """{path: document}: the dashboards in `folder`, and where Grafana has a `provisioning` folder, what leads it to them and to `prometheus`."""
    files = {f"{folder}/{name}.json": one for name, one in grafana_dashboards().items()}
    if provisioning:
        source = {
            "name": "vllm-ansible",
            "uid": "vllm-ansible",
            "type": "prometheus",
            "access": "proxy",
            "url": prometheus,
        }
        provider = {"name": "vllm-ansible", "folder": "vLLM", "type": "file", "options": {"path": folder}}
        files[f"{provisioning}/datasources/vllm-ansible.yaml"] = {"apiVersion": 1, "datasources": [source]}
        files[f"{provisioning}/dashboards/vllm-ansible.yaml"] = {"apiVersion": 1, "providers": [provider]}
    return files
