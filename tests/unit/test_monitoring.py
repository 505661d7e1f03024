"""Alerts in promtool, metrics of status.yml in its linter, and what is scraped."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, load
from test_gateway import record

from planning.monitoring import monitoring_plan

RULES = ROOT / "roles/monitoring/files/vllm.rules.yml"
DAY = 86400
# alert: (what fires it, what doesn't, minutes until it must fire), series at one sample a minute.
CASES: dict[str, tuple[dict[str, str], dict[str, str], int]] = {
    "VllmModelDown": (
        {'vllm_service_up{model="m",host="a",service="m"}': "0x90", 'vllm_service_up{model="m",host="b",service="m"}': "0x90"},
        {'vllm_service_up{model="m",host="a",service="m"}': "0x90", 'vllm_service_up{model="m",host="b",service="m"}': "1x90"},
        3,
    ),
    "VllmServiceDown": ({'vllm_service_up{model="m",host="a",service="m"}': "0x90"}, {'vllm_service_up{model="m",host="a",service="m"}': "1x90"}, 11),
    "VllmServiceRestarts": ({'vllm_service_restarts{host="a",service="m"}': "0+1x90"}, {'vllm_service_restarts{host="a",service="m"}': "2x90"}, 60),
    "VllmGatewayDown": ({'vllm_gateway_up{gateway="g"}': "0x90"}, {'vllm_gateway_up{gateway="g"}': "1x90"}, 3),
    "VllmBackendOut": (
        {'vllm_gateway_backend_out_timestamp_seconds{gateway="g",backend="b"}': "1x90"},
        {'vllm_gateway_backend_out_timestamp_seconds{gateway="g",backend="b"}': "0+60x90"},
        65,
    ),
    "VllmBackendRefused": ({'vllm_gateway_backend_refused{gateway="g",backend="b"}': "1x90"}, {}, 16),
    "VllmCertificateExpires": (
        {'vllm_gateway_certificate_expiry_timestamp_seconds{gateway="g"}': f"{13 * DAY}x90"},
        {'vllm_gateway_certificate_expiry_timestamp_seconds{gateway="g"}': f"{15 * DAY}x90"},
        1,
    ),
    "VllmCallerKeyExpires": (
        {'vllm_gateway_caller_key_expiry_timestamp_seconds{gateway="g",caller="c"}': f"{6 * DAY}x90"},
        {'vllm_gateway_caller_key_expiry_timestamp_seconds{gateway="g",caller="c"}': f"{8 * DAY}x90"},
        1,
    ),
    "VllmStatusStale": ({"vllm_status_timestamp_seconds": "1x90"}, {"vllm_status_timestamp_seconds": "0+60x90"}, 30),
    "VllmTimeToFirstToken": (
        {f'vllm:time_to_first_token_seconds_bucket{{model_name="m",le="{le}"}}': f"0+{count}x90" for le, count in (("1", 0), ("20", 9), ("+Inf", 9))},
        {f'vllm:time_to_first_token_seconds_bucket{{model_name="m",le="{le}"}}': f"0+{count}x90" for le, count in (("1", 9), ("20", 9), ("+Inf", 9))},
        20,
    ),
    "VllmQueueLong": (
        {f'vllm:num_requests_waiting{{model_name="m",host="{host}"}}': "40x90" for host in "ab"},
        {'vllm:num_requests_waiting{model_name="m"}': "40x90"},
        11,
    ),
    "VllmKvCacheFull": ({'vllm:kv_cache_usage_perc{model_name="m"}': "0.99x90"}, {'vllm:kv_cache_usage_perc{model_name="m"}': "0.9x90"}, 11),
    "VllmVerdictDifferent": (
        {'vllm_service_verdict{host="a",service="m",verdict="DIFFERENT"}': "1x90"},
        {'vllm_service_verdict{host="a",service="m",verdict="EQUIVALENT"}': "1x90"},
        1,
    ),
    "VllmVerdictStale": (
        {'vllm_service_verdict{host="a",service="m",verdict="stale"}': "1x90"},
        {'vllm_service_verdict{host="a",service="m",verdict="EQUIVALENT"}': "1x90"},
        61,
    ),
    "HostDown": ({'up{job="vllm-nodes",host="a"}': "0x90"}, {'up{job="vllm-nodes",host="a"}': "1x90"}, 4),
    # 79: fallen off the bus. 31: a program's own fault.
    "GpuFault": ({'DCGM_FI_DEV_XID_ERRORS{host="a",gpu="0"}': "79x90"}, {'DCGM_FI_DEV_XID_ERRORS{host="a",gpu="0"}': "31x90"}, 1),
    "NpuUnhealthy": ({'npu_chip_info_health_status{host="a",id="0"}': "0x90"}, {'npu_chip_info_health_status{host="a",id="0"}': "1x90"}, 3),
    "HostDiskFull": (
        {'node_filesystem_avail_bytes{fstype="ext4",mountpoint="/"}': "9x90", 'node_filesystem_size_bytes{fstype="ext4",mountpoint="/"}': "100x90"},
        {'node_filesystem_avail_bytes{fstype="ext4",mountpoint="/"}': "11x90", 'node_filesystem_size_bytes{fstype="ext4",mountpoint="/"}': "100x90"},
        11,
    ),
}  # fmt: skip


def alerts() -> list[dict[str, Any]]:
    return list(yaml.safe_load(RULES.read_text())["groups"][0]["rules"])


def firing(folder: Path, alert: str, series: dict[str, str], minutes: int) -> bool:
    """Does promtool see exactly this alert's name fire after these minutes?"""
    # Exact labels are not what is tested: a query of Prometheus' own ALERTS series counts them.
    test = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "promql_expr_test": [
                    {
                        "expr": f'count(ALERTS{{alertname="{alert}",alertstate="firing"}}) > bool 0 or vector(0)',
                        "eval_time": f"{minutes}m",
                        "exp_samples": [{"labels": "{}", "value": 1}],
                    }
                ],
            }
        ],
    }
    (folder / "test.yml").write_text(yaml.safe_dump(test))
    done = subprocess.run(
        ["promtool", "test", "rules", str(folder / "test.yml")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "failed parsing" not in done.stdout + done.stderr and "error" not in done.stderr.lower(), (
        done.stdout + done.stderr
    )
    assert done.returncode == 0 or "got:" in done.stdout + done.stderr, done.stdout + done.stderr
    return done.returncode == 0


@pytest.mark.parametrize("alert", sorted(CASES))
def test_each_alert_fires_by_its_fault_and_not_without(alert: str, tmp_path: Path) -> None:
    bad, good, minutes = CASES[alert]
    assert firing(tmp_path, alert, bad, minutes)
    assert not firing(tmp_path, alert, good, minutes)


def test_every_alert_has_a_case_and_a_runbook_that_exists() -> None:
    assert {rule["alert"] for rule in alerts()} == set(CASES)
    assert all((ROOT / rule["annotations"]["runbook"]).is_file() for rule in alerts())
    page = (ROOT / "docs/runbooks/on-call.md").read_text()
    assert [rule["alert"] for rule in alerts() if rule["alert"] not in page] == []
    pages = {rule["alert"] for rule in alerts() if rule["labels"]["severity"] == "page"}
    assert pages == set(re.findall(r"(\w+) \(page\)", page))


def test_status_is_metrics_that_prometheus_takes_and_rules_use() -> None:
    status = load("filter_plugins/status.py")
    service = {
        "service": "demo",
        "served_name": 'a "b"\\',
        "ready": True,
        "state": "running",
        "restarts": 2,
        "changed_at": 5.0,
        "release": "r",
        "judged": {"verdict": "EQUIVALENT"},
    }
    gateway = {
        "running": True, "backends": [{"pool": "p", "name": "b", "status": "UP"}], "out": {"b": {"since": 7.0, "alone": False}},
        "refused": {"c": "why"}, "certificate_expires": 9.0, "callers": {"team": 11},
    }  # fmt: skip
    summary = status.status_summary({"h": {"services": [service]}}, {"h": ["demo"]}, {"g": gateway})
    text = status.status_metrics(summary, 1.0)
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0 and 'model="a \\"b\\"\\\\"' in text, done.stdout + done.stderr
    names = {line.split("{")[0] for line in text.splitlines() if not line.startswith("#")}
    used = {word for rule in alerts() for word in names if word in rule["expr"]}
    asked = {word for rule in alerts() for word in re.findall(r"[\w:]+", rule["expr"]) if word.startswith("vllm_")}
    assert asked <= names and len(used) >= 7


def test_what_is_scraped_and_what_can_not_be() -> None:
    plans = {
        "gpu-01": [record(), record(service="open", api_key=False, address="0.0.0.0")],
        "gpu-02": [record(host="gpu-02", address="127.0.0.1")],
        "mon": [record(host="mon", address="127.0.0.1")],
    }
    found = monitoring_plan(
        plans,
        "mon",
        {"gpu-01": "10.0.0.5", "gpu-02": "fd00::2", "mon": "10.0.0.9"},
        "/etc/prometheus",
        "127.0.0.1:9093",
        exporters={"gpu-01": [9400], "gpu-02": [], "mon": [8082]},
    )
    assert [(one["targets"], one["labels"]["host"]) for one in found["targets"]["exporters"]] == [
        (["10.0.0.5:9400"], "gpu-01"),
        (["127.0.0.1:8082"], "mon"),
    ]
    assert [one["targets"] for one in found["targets"]["nodes"]] == [
        ["10.0.0.5:9100"],
        ["[fd00::2]:9100"],
        ["127.0.0.1:9100"],
    ]
    assert found["targets"]["gpu-01.open"][0]["targets"] == ["10.0.0.5:8000"] and found["targets"]["mon.demo"][0][
        "targets"
    ] == ["127.0.0.1:8000"]
    assert [one["name"] for one in found["key_files"]] == ["gpu-01.demo", "mon.demo"]
    assert len(found["notes"]) == 1 and "gpu-02" in found["notes"][0]
    by_name = {job["job_name"]: job for job in found["config"]["scrape_configs"]}
    assert "authorization" not in by_name["vllm-engine-gpu-01.open"]
