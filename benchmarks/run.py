#!/usr/bin/env python3
"""Figures, as ratios to a peer in the same run: a table on the terminal, and build/bench.json.

    make bench                 # everything
    python benchmarks/run.py noop_over_ping_s      # one figure

Medians of interleaved runs, because machines are noisy. Each figure says what its time includes.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
RUNS = int(os.environ.get("BENCH_RUNS", "5"))
Figure = dict[str, Any]


class Site:
    """A serving root of its own on a free port, removed at the end."""

    def __init__(self) -> None:
        self.base = Path(tempfile.mkdtemp(prefix="bench"))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        values = {
            "serving_root": str(self.base / "srv"),
            "reports_dir": str(self.base / "reports"),
            "overrides": {"demo": {"port": port}},
        }
        self.extra = ["-l", "local", "-e", json.dumps(values)]

    def command(self, playbook: str, *options: str) -> list[str]:
        return ["ansible-playbook", playbook, *self.extra, *options]

    def close(self) -> None:
        run(self.command("playbooks/uninstall.yml", "-e", "service=demo"))
        shutil.rmtree(self.base, ignore_errors=True)


def run(command: list[str]) -> tuple[float, float, str]:
    """(wall seconds, peak resident MiB of the whole process tree, output) of a command. Raises if it fails."""
    began = time.monotonic()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    peak = 0.0
    stop = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not stop.wait(0.1):
            peak = max(peak, tree_mib(process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    output, _ = process.communicate()
    stop.set()
    watcher.join()
    wall = time.monotonic() - began
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{output}")
    return wall, peak, output


def tree_mib(pid: int) -> float:
    """Proportional set size (MiB) of a process and its children: forks share pages, so plain RSS counts them twice."""
    total, todo = 0.0, [pid]
    while todo:
        one = todo.pop()
        try:
            total += (
                int(re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{one}/smaps_rollup").read_text(), re.M).group(1)) / 1024
            )
            for task in Path(f"/proc/{one}/task").iterdir():
                todo += [int(child) for child in (task / "children").read_text().split()]
        except (OSError, AttributeError):
            continue
    return total


def median(values: list[float]) -> float:
    return round(statistics.median(values), 2)


def noop_over_ping(site: Site) -> list[Figure]:
    """A second deploy that changes nothing, against the bare start of ansible-playbook with one ping, interleaved."""
    ping_book = site.base / "ping.yml"
    ping_book.write_text("- hosts: local\n  gather_facts: false\n  tasks:\n    - ansible.builtin.ping:\n")
    deploy, ping, peaks = [], [], []
    for _ in range(RUNS):
        wall, peak, output = run(site.command("deploy.yml"))
        if "changed=0" not in output:
            sys.exit(f"the second deploy changed something:\n{output}")
        deploy.append(wall)
        peaks.append(peak)
        ping.append(run(site.command(str(ping_book)))[0])
    over = median([d - p for d, p in zip(deploy, ping, strict=True)])
    return [
        {
            "name": "noop_over_ping_s", "value": over, "unit": "s", "peer": f"ansible-playbook with one ping: {median(ping)} s",
            "ratio": round(median(deploy) / median(ping), 2), "runs": RUNS, "command": "deploy.yml -l local, changed=0",
            "includes": "five phases with a real answer from the service, wall time above the peer's",
        },
        {
            "name": "controller_peak_mib", "value": median(peaks), "unit": "MiB", "peer": None, "ratio": None, "runs": RUNS,
            "command": "deploy.yml -l local, changed=0", "includes": "proportional set size of ansible-playbook, its workers and local modules",
        },
    ]  # fmt: skip


def demo_to_first_answer(site: Site) -> list[Figure]:
    """`make demo` in a fresh clone to the first answer, split by phase. Downloads come from the package index."""
    clone = site.base / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    marks: list[tuple[float, str]] = []
    began = time.monotonic()
    command = ["make", "demo", f"ARGS=-e '{site.extra[-1]}'"]
    process = subprocess.Popen(command, cwd=clone, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout
    output = ""
    for line in process.stdout:
        output += line
        if line.startswith("PLAY ["):
            marks.append((time.monotonic() - began, line.split("[")[1].split("]")[0]))
    if process.wait():
        sys.exit(output)
    total = time.monotonic() - began
    at = {name: when for when, name in marks}
    report = json.loads((site.base / "reports/localhost/report.json").read_text())["services"][0]["timings"]
    parts = {
        "install": at["Fetch"],
        "publish": at["Serve"] - at["Fetch"],
        "start": report["ready_seconds"],
        "first_token": report["first_token_seconds"],
    }
    figures = [
        {
            "name": "demo_to_first_answer_s", "value": round(total, 1), "unit": "s", "peer": None, "ratio": None, "runs": 1,
            "command": "make demo in a fresh clone, empty serving root",
            "includes": "controller's .venv, engine's environment (downloads included), weights, start, answer, report",
        }
    ]  # fmt: skip
    for name, value in parts.items():
        figures.append(
            {**figures[0], "name": f"demo_{name}_s", "value": round(value, 2), "includes": f"its part: {name}"}
        )
    return figures


def model_figures(_site: Site) -> list[Figure]:
    """Reading what a model is (benchmarks/models.py)."""
    import models

    return models.measure()


def weights_figures(_site: Site) -> list[Figure]:
    """Conversion, fetch and verification of weights (benchmarks/weights.py)."""
    import weights

    return weights.measure()


def fanout_figures(_site: Site) -> list[Figure]:
    """Weights across a fleet in network namespaces (benchmarks/fanout.py); nothing where that can't run."""
    import fanout

    return fanout.measure()


def container_figures(_site: Site) -> list[Figure]:
    """Services in containers and ten hosts on test hosts (benchmarks/containers.py, hosts.py); nothing where that can't run."""
    if os.getuid() or not all(shutil.which(tool) for tool in ("docker", "mmdebstrap")):
        return []
    import containers
    import hosts

    return containers.measure() + hosts.measure()


def gateway_figures(_site: Site) -> list[Figure]:
    """What the gateway adds, and what callers notice of planned operations (benchmarks/gateway.py); nothing without HAProxy."""
    if not shutil.which("haproxy"):
        return []
    import gateway

    return gateway.figures()


def sizing_figures(_site: Site) -> list[Figure]:
    """Predictions of the KV cache against recorded logs: benchmarks/sizing.py."""
    import sizing

    return sizing.fit_figures()


def main() -> None:
    wanted = set(sys.argv[1:])
    site = Site()
    figures: list[Figure] = []
    parts: list[Callable[[Site], list[Figure]]] = [
        demo_to_first_answer,
        noop_over_ping,
        weights_figures,
        model_figures,
        fanout_figures,
        container_figures,
        sizing_figures,
        gateway_figures,
    ]
    try:
        for part in parts:
            figures += part(site)
    finally:
        site.close()
    figures = [f for f in figures if not wanted or f["name"] in wanted]
    BUILD.mkdir(exist_ok=True)
    (BUILD / "bench.json").write_text(json.dumps(figures, indent=2) + "\n")
    for f in figures:
        peer = f"{f['ratio']}x of {f['peer']}" if f["peer"] else ""
        print(f"{f['name']:26} {f['value']:>9} {f['unit']:4} {peer}\n{'':26} {f['includes']} ({f['runs']} runs)")


if __name__ == "__main__":
    main()
