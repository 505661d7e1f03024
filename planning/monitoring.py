"""What Prometheus scrapes: node exporters of all hosts, and the engines that it reaches. Pure: plans and addresses in, configuration out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from planning.addresses import everywhere, loopback
from planning.gateway import backend_name
from planning.rows import Row


def target(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def engine_target(record: Mapping[str, Any], monitor: str, addresses: Mapping[str, str]) -> str | None:
    """Where Prometheus reaches an engine's metrics; None where it can't."""
    host, address = record["host"], record["address"]
    if host == monitor:
        return target("127.0.0.1" if everywhere(address) else address, record["port"])
    if loopback(address):
        return None
    return target(addresses[host] if everywhere(address) else address, record["port"])


def monitoring_plan(
    plans: Mapping[str, Iterable[Mapping[str, Any]]],
    monitor: str,
    addresses: Mapping[str, str],
    folder: str,
    alertmanager: str,
    interval: str = "15s",
    exporters: Mapping[str, Iterable[int]] | None = None,
    node_port: int = 9100,
) -> Row:
    """{config, targets: {file: its list}, key_files: [{name, host, service}], notes} for the Prometheus on the host `monitor`.

    `addresses`: {host: address}, of gateways too, all of which have a node exporter. `folder`: where Prometheus' files lie.
    `exporters`: {host: ports of exporters that the site runs there}, such as those of GPUs and NPUs.
    An engine's metrics need its key as its API does, so each has a job with a file of its key.
    """
    targets: dict[str, list[Row]] = {
        "nodes": [
            {"targets": [target("127.0.0.1" if host == monitor else address, node_port)], "labels": {"host": host}}
            for host, address in sorted({**addresses, monitor: addresses.get(monitor, "127.0.0.1")}.items())
        ]
    }
    # What status.yml writes there is about other hosts: their names stand as they are.
    jobs: list[Row] = [{**job("vllm-nodes", folder, "nodes"), "honor_labels": True}]
    for host, ports in sorted((exporters or {}).items()):
        address = "127.0.0.1" if host == monitor else addresses[host]
        for port in ports:
            targets.setdefault("exporters", []).append(
                {"targets": [target(address, int(port))], "labels": {"host": host}}
            )
    if "exporters" in targets:
        jobs.append(job("vllm-exporters", folder, "exporters"))
    keys, notes = list[Row](), list[str]()
    for host in sorted(plans):
        for record in plans[host]:
            if (record.get("group") or {}).get("rank"):
                continue  # the first host of its group has the API
            name = backend_name(host, record["service"])
            place = engine_target(record, monitor, addresses)
            if place is None:
                notes.append(
                    f"host {host}: service '{record['service']}' listens on {record['address']}, so its metrics are not scraped from {monitor}"
                )
                continue
            targets[name] = [{"targets": [place], "labels": {"host": host, "service": record["service"]}}]
            one = job(f"vllm-engine-{name}", folder, name)
            if record["api_key"]:
                one["authorization"] = {"credentials_file": f"{folder}/vllm-keys/{name}"}
                keys.append({"name": name, "host": host, "service": record["service"]})
            jobs.append(one)
    config = {
        "global": {"scrape_interval": interval, "evaluation_interval": interval},
        "rule_files": [f"{folder}/vllm.rules.yml"],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}] if alertmanager else []},
        "scrape_configs": jobs,
    }
    return {"config": config, "targets": targets, "key_files": keys, "notes": notes}


def job(name: str, folder: str, file: str) -> Row:
    return {"job_name": name, "file_sd_configs": [{"files": [f"{folder}/vllm-targets/{file}.json"]}]}
