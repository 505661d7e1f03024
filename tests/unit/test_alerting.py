"""Who is told of what: changes of alerts, Alertmanager's configuration, and every alert fired and cleared in real servers."""

from __future__ import annotations

import http.server
import json
import shutil
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, load
from gate import BACKEND_KEY, until
from ports import free_port
from test_monitoring import CASES, RULES

from planning.alerting import alert_rules, alertmanager_config
from planning.rows import Faults

status = load("filter_plugins/status.py")
SECRET = "webhook-secret-0123456789"
TIMES = {"group_wait": "1s", "group_interval": "1s", "repeat_interval": "4h"}


def rules() -> dict[str, Any]:
    return dict(yaml.safe_load(RULES.read_text()))


def by_name(changed: dict[str, Any]) -> dict[str, Any]:
    return {rule["alert"]: rule for group in changed["groups"] for rule in group["rules"]}


def test_a_site_changes_an_alert_and_leaves_one_out() -> None:
    changes = {"VllmQueueLong": {"for": "30m", "labels": {"team": "llm"}}, "HostDiskFull": None}
    found = by_name(alert_rules(rules(), changes, "https://git.example.org/docs/"))
    assert found["VllmQueueLong"]["for"] == "30m" and found["VllmQueueLong"]["labels"] == {
        "severity": "ticket",
        "team": "llm",
    }
    assert set(CASES) - set(found) == {"HostDiskFull"}
    assert (
        found["VllmModelDown"]["annotations"]["runbook_url"]
        == "https://git.example.org/docs/docs/runbooks/service-does-not-answer.md"
    )
    assert by_name(alert_rules(rules(), {})) == by_name(rules())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"VllmQueLong": {"for": "30m"}}, ["'VllmQueLong'", "did you mean 'VllmQueueLong'?"]),
        ({"VllmQueueLong": {"four": "30m"}}, ["'four'", "did you mean 'for'?"]),
        ({"VllmQueueLong": "off"}, ["'off'", "null to leave it out"]),
        (["VllmQueueLong"], ["must be {ALERT:"]),
    ],
)
def test_a_wrong_change_is_a_sentence(changes: Any, words: list[str]) -> None:
    with pytest.raises(Faults) as refused:
        alert_rules(rules(), changes)
    assert all(word in str(refused.value) for word in words), refused.value


WEBHOOK = {
    "webhook_configs": [{"url": "http://127.0.0.1:1/", "http_config": {"authorization": {"credentials": SECRET}}}]
}
MAIL = {
    "email_configs": [
        {"to": "a@example.org", "from": "b@example.org", "smarthost": "mail.example.org:587", "auth_password": SECRET}
    ]
}


@pytest.mark.parametrize("receivers", [{"page": WEBHOOK, "ticket": MAIL}, {"page": WEBHOOK}, {"ticket": MAIL}])
def test_alertmanager_takes_the_receivers_and_tells_the_right_one(receivers: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "alertmanager.yml"
    file.write_text(yaml.safe_dump(alertmanager_config(receivers, TIMES)))
    for severity in ("page", "ticket"):
        wanted = severity if severity in receivers else next(iter(receivers))
        words = [
            "amtool",
            "config",
            "routes",
            "test",
            f"--config.file={file}",
            f"--verify.receivers={wanted}",
            f"severity={severity}",
        ]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("receivers", "words"),
    [
        ({"pager": WEBHOOK}, ["'pager'", "did you mean 'page'?"]),
        ({"page": SECRET}, ["page must be a receiver"]),
        ({"page": {"webhook": [{"url": SECRET}]}}, ["'webhook'", "_configs"]),
        ({"page": {"webhook_configs": {"url": SECRET}}}, ["'webhook_configs'", "lists"]),
        ([WEBHOOK], ["must be a table"]),
    ],
)
def test_a_wrong_receiver_is_a_sentence_without_its_secret(receivers: Any, words: list[str]) -> None:
    with pytest.raises(Faults) as refused:
        alertmanager_config(receivers, TIMES)
    assert all(word in str(refused.value) for word in words) and SECRET not in str(refused.value)


class Vaulted:
    """As ansible-core hands a value that is vaulted inline to a filter."""

    def __str__(self) -> str:
        return SECRET


def test_a_value_that_is_vaulted_inline_reaches_alertmanager_as_it_is_meant() -> None:
    receivers = {"page": {"pagerduty_configs": [{"routing_key": Vaulted(), "send_resolved": True}]}}
    found = alertmanager_config(receivers, TIMES)["receivers"][0]["pagerduty_configs"]
    assert found == [{"routing_key": SECRET, "send_resolved": True}]


class Quiet(http.server.BaseHTTPRequestHandler):
    def log_message(self, *words: Any) -> None:
        pass

    def answer(self, code: int, text: str = "") -> None:
        self.send_response(code)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(text.encode())


@contextmanager
def serving(handler: type[Quiet]) -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", free_port()), handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


class Engine:
    """An engine's metrics behind its key."""

    def __init__(self) -> None:
        self.waiting, self.cache, self.quick, self.slow = 1, 0.3, 100, 0
        self.started = time.monotonic()

    def text(self) -> str:
        buckets = {"1": self.quick, "20": self.quick + self.slow, "+Inf": self.quick + self.slow}
        label = 'model_name="one"'
        lines = [
            f'vllm:time_to_first_token_seconds_bucket{{{label},le="{le}"}} {count}' for le, count in buckets.items()
        ]
        done = 1000 * (1 + time.monotonic() - self.started)
        gauges = {"num_requests_waiting": self.waiting, "num_requests_running": 2, "kv_cache_usage_perc": self.cache}
        counted = ("prompt_tokens", "generation_tokens", "prefix_cache_hits", "prefix_cache_queries", "num_preemptions")
        lines += [f"vllm:{name}{{{label}}} {value}" for name, value in gauges.items()]
        lines += [f"vllm:{name}_total{{{label}}} {done}" for name in counted]
        lines += [f'vllm:request_success_total{{{label},finished_reason="stop"}} {done}']
        for name in ("inter_token_latency_seconds", "e2e_request_latency_seconds"):
            lines += [f'vllm:{name}_bucket{{{label},le="{le}"}} {done}' for le in ("1", "+Inf")]
        return "".join(f"{line}\n" for line in lines)


def fleet(bad: bool, restarts: int) -> str:
    """What status.yml writes of three services and a gateway."""

    def row(name: str, ready: bool, verdict: str, **more: Any) -> dict[str, Any]:
        return {"service": name, "served_name": name, "ready": ready, "state": "running", "restarts": 0, "changed_at": 5.0, "release": "r",
                "judged": {"verdict": verdict}, **more}  # fmt: skip

    hosts = {
        "a": {
            "services": [
                row("one", not bad, "DIFFERENT" if bad else "EQUIVALENT"),
                row("two", True, "EQUIVALENT", verdict_stale=bad),
            ]
        },
        "b": {"services": [row("two", not bad, "EQUIVALENT", restarts=restarts)]},
    }
    now = time.time()
    gateway = {
        "running": not bad, "backends": [{"pool": "p", "name": "x", "status": "UP"}], "out": {"x": {"since": now - 7200}} if bad else {},
        "refused": {"y": "why"} if bad else {}, "certificate_expires": now + (86400 if bad else 86400 * 80),
        "callers": {"team": now + (86400 if bad else 86400 * 80)},
    }  # fmt: skip
    summary = status.status_summary(hosts, {"a": ["one", "two"], "b": ["two"]}, {"g": gateway})
    return str(status.status_metrics(summary, now - 1000 if bad else now))


def hardware(bad: bool) -> str:
    """What exporters of disks, GPUs and NPUs say."""
    return (
        f'node_filesystem_avail_bytes{{fstype="ext4",mountpoint="/srv"}} {4 if bad else 60}\n'
        'node_filesystem_size_bytes{fstype="ext4",mountpoint="/srv"} 100\n'
        f'DCGM_FI_DEV_XID_ERRORS{{gpu="3"}} {79 if bad else 0}\nnpu_chip_info_health_status{{id="4"}} {0 if bad else 1}\n'
    )


class Fleet:
    """The servers of a monitoring host, with the files that the role has written."""

    def __init__(self, folder: Path, ports: dict[str, int]) -> None:
        self.folder, self.ports, self.processes = folder, ports, dict[str, subprocess.Popen[bytes]]()
        self.textfiles = folder / "textfiles"
        self.textfiles.mkdir()

    def start(self, name: str, *words: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen([name, *words], stdout=log, stderr=log)

    def node_exporter(self) -> None:
        self.start(
            "prometheus-node-exporter", f"--web.listen-address=127.0.0.1:{self.ports['node']}", "--collector.disable-defaults", "--collector.meminfo",
            "--collector.textfile", f"--collector.textfile.directory={self.textfiles}",
        )  # fmt: skip

    def run(self) -> None:
        self.node_exporter()
        self.start(
            "prometheus-alertmanager", f"--config.file={self.folder}/alertmanager.yml", f"--storage.path={self.folder}/alerts",
            f"--web.listen-address=127.0.0.1:{self.ports['alertmanager']}", "--cluster.listen-address=",
        )  # fmt: skip
        self.start(
            "prometheus", f"--config.file={self.folder}/prometheus.yml", f"--storage.tsdb.path={self.folder}/data",
            f"--web.listen-address=127.0.0.1:{self.ports['prometheus']}",
        )  # fmt: skip

    def write(self, bad: bool, restarts: int) -> None:
        for name, text in (("vllm", fleet(bad, restarts)), ("hardware", hardware(bad))):
            (self.textfiles / f".{name}").write_text(text)
            (self.textfiles / f".{name}").rename(self.textfiles / f"{name}.prom")

    def ask(self, path: str) -> Any:
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.ports['prometheus']}/api/v1/{path}", timeout=10
            ) as answer:
                return json.load(answer)["data"]
        except OSError:
            ended = [name for name, process in self.processes.items() if process.poll() is not None]
            assert not ended, [(self.folder / f"{name}.log").read_text()[-2000:] for name in ended]
            return {}

    def query(self, expression: str) -> list[Any]:
        return list(self.ask("query?" + urllib.parse.urlencode({"query": expression})).get("result", []))

    def end(self, name: str) -> None:
        process = self.processes.pop(name)
        process.terminate()
        process.wait(60)


@pytest.fixture
def webhook() -> Iterator[dict[str, Any]]:
    """Who is told: {port, told: {alert: its last state}, labels: {alert: of its first instance}}. A wrong secret is refused."""
    told, labels = dict[str, str](), dict[str, Any]()

    class Handler(Quiet):
        def do_POST(self) -> None:
            message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.headers.get("Authorization") != f"Bearer {SECRET}":
                return self.answer(401)
            for alert in message["alerts"]:
                told[alert["labels"]["alertname"]] = alert["status"]
                labels.setdefault(alert["labels"]["alertname"], []).append(alert["labels"])
            return self.answer(200)

    with serving(Handler) as port:
        yield {"port": port, "told": told, "labels": labels}


@pytest.fixture
def engine() -> Iterator[tuple[Engine, int]]:
    found = Engine()

    class Handler(Quiet):
        def do_GET(self) -> None:
            allowed = self.headers.get("Authorization") == f"Bearer {BACKEND_KEY}"
            self.answer(200 if allowed else 401, found.text() if allowed else "")

    with serving(Handler) as port:
        yield found, port


def quick_rules() -> dict[str, Any]:
    """Changes that make all alerts quick: nothing is held back, and a restart is forgotten in ten seconds."""
    changes: dict[str, Any] = {name: {"for": "1s"} for name in CASES}
    changes["VllmServiceRestarts"]["expr"] = by_name(rules())["VllmServiceRestarts"]["expr"].replace("[1h]", "[10s]")
    return changes


def empty_panels(servers: Fleet) -> list[str]:
    """Queries of the dashboards as the role has written them that find nothing."""
    boards = [json.loads(path.read_text()) for path in (servers.folder / "vllm-dashboards").glob("*.json")]
    queries = [target["expr"] for board in boards for panel in board["panels"] for target in panel["targets"]]
    assert len(queries) > 25
    return [q for q in queries if not servers.query(q.replace("$__rate_interval", "10s").replace("$model", "one"))]


@pytest.mark.slow
def test_every_alert_fires_at_its_receiver_and_clears(
    engine: tuple[Engine, int], webhook: dict[str, Any], playbook: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "srv/services/demo").mkdir(parents=True)
    (tmp_path / "srv/services/demo/api_key").write_text(BACKEND_KEY + "\n")
    hosts = {"localhost": {"ansible_connection": "local", "runs": ["demo"]}}
    groups = {"accelerators": {"children": {"local": {"hosts": hosts}}}, "monitoring": {"hosts": {"localhost": {}}}}
    (tmp_path / "hosts.yml").write_text(json.dumps(groups))
    shutil.copytree(ROOT / "inventory/group_vars", tmp_path / "group_vars")
    folder = tmp_path / "prometheus"
    for path in (folder, tmp_path / "grafana/dashboards", tmp_path / "grafana/datasources"):
        path.mkdir(parents=True)
    (folder / "alertmanager.yml").write_text("# the site's own\n")
    ports = {name: free_port() for name in ("node", "alertmanager", "prometheus")}
    receiver = {
        "url": f"http://127.0.0.1:{webhook['port']}/",
        "http_config": {"authorization": {"credentials": SECRET}},
    }
    receivers = {"page": {"webhook_configs": [receiver]}, "ticket": {"webhook_configs": [receiver]}}
    extra = {
        "serving_root": str(tmp_path / "srv"), "monitoring_folder": str(folder), "monitoring_service": "", "monitoring_group": "",
        "monitoring_node_package": "", "overrides": {"demo": {"port": engine[1]}}, "monitoring_interval": "1s", "monitoring_alerts": quick_rules(),
        "monitoring_node_port": ports["node"], "monitoring_alertmanager": f"127.0.0.1:{ports['alertmanager']}", "monitoring_alert_times": TIMES,
        "monitoring_alertmanager_service": "", "monitoring_receivers": receivers,
        "monitoring_grafana": str(tmp_path / "grafana"), "monitoring_grafana_service": "",
    }  # fmt: skip

    def run(code: int = 0, **more: Any) -> str:
        words = ("-i", str(tmp_path / "hosts.yml"), "-e", json.dumps({**extra, **more}), "--diff", "-v")
        done = playbook("playbooks/monitoring.yml", *words)
        text = str(done.stdout + done.stderr)
        assert BACKEND_KEY not in text and SECRET not in text and (done.returncode == 0) == (code == 0), text
        return text

    run()
    assert "changed=0" in run()
    config = folder / "alertmanager.yml"
    before = config.read_text()
    wrong = {"page": {"webhook_configs": [{**receiver, "urll": SECRET}]}}
    assert "field urll not found" in run(2, monitoring_receivers=wrong) and config.read_text() == before
    assert (
        config.stat().st_mode & 0o777 == 0o600 and (folder / "vllm-keys/localhost.demo").stat().st_mode & 0o777 == 0o640
    )
    assert [path.read_text() for path in folder.glob("alertmanager.yml.*")] == ["# the site's own\n"]

    servers, told = Fleet(folder, ports), webhook["told"]
    try:
        servers.write(bad=False, restarts=0)
        servers.run()
        until(lambda: servers.query("vllm:num_requests_waiting == 1") and servers.query("vllm_service_up == 1"), 60)
        assert {rule["name"] for rule in servers.ask("rules")["groups"][0]["rules"]} == set(CASES)
        end = time.monotonic() + 60
        until(lambda: not empty_panels(servers) or time.monotonic() > end, 70)
        assert empty_panels(servers) == []
        told.clear()  # what was said before the first look

        engine[0].waiting, engine[0].cache, engine[0].slow = 99, 0.99, 50
        servers.write(bad=True, restarts=5)
        until(lambda: {name for name, state in told.items() if state == "firing"} == set(CASES) - {"HostDown"}, 60)
        assert {labels["host"] for labels in webhook["labels"]["VllmServiceDown"]} == {
            "b"
        }  # the other one follows from VllmModelDown
        assert webhook["labels"]["GpuFault"][0]["host"] == "localhost"

        engine[0].waiting, engine[0].cache, engine[0].quick = 1, 0.3, 10000
        servers.write(bad=False, restarts=5)
        until(lambda: "firing" not in told.values(), 60)

        servers.end("prometheus-node-exporter")
        until(lambda: told.get("HostDown") == "firing", 60)
        servers.node_exporter()
        until(lambda: "firing" not in told.values(), 60)
    finally:
        for name in list(servers.processes):
            servers.end(name)
