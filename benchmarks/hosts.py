"""Ten ready hosts: a preflight and prepare that change nothing, against `ansible -m ping` on the same hosts.

    python benchmarks/hosts.py        BENCH_RUNS=3 BENCH_HOSTS=10

Needs what the test hosts need (root, Docker, mmdebstrap). One host is prepared, and the ten are started from its image.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "molecule/shared"), str(ROOT / "module_utils")]
RUNS, HOSTS = int(os.environ.get("BENCH_RUNS", "5")), int(os.environ.get("BENCH_HOSTS", "10"))
IMAGE = "vllm-ansible-testhosts:ready"
Figure = dict[str, Any]


def ready_image(testhosts: Any) -> None:
    """A host that preflight and prepare have made ready, as an image."""
    testhosts.docker_ce()
    testhosts.host("ready0")
    testhosts.gpus("ready0")
    inventory = testhosts.inventory(
        "h100", {"h100": {"gpu": testhosts.connection("ready0")}}, ROOT / "build/testhosts/ready"
    )
    call("ansible-playbook", "-i", str(inventory), "deploy.yml", "-l", "h100", "--tags", "preflight,prepare")
    # Its engine's data stay behind in a volume, as they would on a new host.
    testhosts.docker("commit", "--change", 'CMD ["/sbin/init"]', testhosts.container("ready0"), IMAGE)
    testhosts.remove("ready0")


def call(*command: str) -> tuple[float, float, str]:
    """(wall seconds, CPU seconds of the controller, output)."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout[-3000:]}")
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def executions(testhosts: Any, name: str) -> int:
    """Modules that Ansible has run on a host, by the line that each of them logs."""
    return int(
        testhosts.docker(
            "exec", testhosts.container(name), "sh", "-c", "journalctl -q -o cat | grep -c 'Invoked with' || true"
        )
    )


def measure() -> list[Figure]:
    import testhosts

    names = [f"ready{i}" for i in range(1, HOSTS + 1)]
    try:
        ready_image(testhosts)
        rows = {}
        for name in names:
            rows[name] = testhosts.host(name, image=IMAGE)
        inventory = testhosts.inventory("h100", {"h100": rows}, ROOT / "build/testhosts/ready")
        (inventory / "host_vars").unlink()
        (inventory / "host_vars").mkdir()
        for name in names:
            shutil.copy(ROOT / "molecule/h100/host_vars/gpu.yml", inventory / f"host_vars/{name}.yml")
        ping = ["ansible", "-i", str(inventory), "h100", "-m", "ansible.builtin.ping"]
        play = ["ansible-playbook", "-i", str(inventory), "deploy.yml", "-l", "h100", "--tags", "preflight,prepare"]
        call(*ping)  # warm connections
        call(*play)
        ours, peers, cpu, peer_cpu = [], [], [], []
        before = executions(testhosts, names[0])
        for _ in range(RUNS):
            wall, used, _ = call(*ping)
            peers.append(wall)
            peer_cpu.append(used)
            wall, used, output = call(*play)
            assert len(re.findall(r"changed=0 ", output)) == HOSTS, output
            ours.append(wall)
            cpu.append(used)
        each = (executions(testhosts, names[0]) - before) / RUNS - 1  # the ping is one
    finally:
        for name in ["ready0", *names]:
            testhosts.remove(name)
        testhosts.docker("rmi", IMAGE, ok=False)
    wall, peer = statistics.median(ours), statistics.median(peers)
    return [
        {
            "name": "hosts10_noop_vs_ping", "value": round(wall / peer, 2), "unit": "x", "peer": f"ansible -m ping on {HOSTS} hosts: {round(peer, 1)} s",
            "ratio": round(wall / peer, 2), "runs": RUNS, "command": "deploy.yml -l h100 --tags preflight,prepare, changed=0, warm ssh",
            "includes": f"{round(wall, 1)} s wall; {each:.0f} modules run on each host, lock included; controller's CPU per host "
            f"{round(statistics.median(cpu) / HOSTS, 2)} s against {round(statistics.median(peer_cpu) / HOSTS, 2)} s",
        }
    ]  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(measure(), indent=1))
