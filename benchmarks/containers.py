"""Figures of services in containers, on a test host (molecule/shared/testhosts): root, Docker and mmdebstrap needed."""

from __future__ import annotations

import concurrent.futures
import json
import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "molecule/shared"), str(ROOT / "module_utils")]
RUNS = int(os.environ.get("BENCH_RUNS", "5"))
Figure = dict[str, Any]
THREE = ["qwq-32b", "deepseek-r1-distill-qwen-32b", "qwen2.5-vl-32b-instruct"]
# On the host: asks until the first token comes, and says how long the service's own probe takes for that.
FIRST_TOKEN = """
import http.client, json, time
key = open("/srv/vllm/services/qwq-32b/api_key").read().strip()
body = json.dumps({"model": "qwq-32b-flagos", "messages": [{"role": "user", "content": "What is 127 + 45?"}], "max_tokens": 1})
while True:
    try:
        asked = http.client.HTTPConnection("127.0.0.1", 9010, timeout=60)
        asked.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json", "Authorization": "Bearer " + key})
        if asked.getresponse().status == 200:
            break
    except OSError:
        pass
    time.sleep(0.2)
"""


# On the host: asks every 20 ms until it is told to stop, and prints the longest time without an answer and what came instead.
CLIENT = """
import collections, json, os, time, urllib.error, urllib.request
key = open('/srv/vllm/services/qwq-32b/api_key').readline().strip()
body = json.dumps({'model': 'qwq-32b-flagos', 'prompt': 'What is 127 + 45?', 'max_tokens': 4, 'temperature': 0}).encode()
headers = {'Authorization': 'Bearer ' + key, 'Content-Type': 'application/json'}
said, gap, last = collections.Counter(), 0.0, None
open('/tmp/asking', 'w').close()
while os.path.exists('/tmp/asking') or last is None:
    request = urllib.request.Request('http://127.0.0.1:9010/v1/completions', body, headers)
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            text = json.load(answer)['choices'][0]['text']
        now = time.monotonic()
        gap, last = max(gap, now - (last or now)), now
        said['answered'] += 1
    except urllib.error.HTTPError as error:
        said['status %d' % error.code] += 1
    except OSError as error:
        said['refused or cut'] += 1
    time.sleep(0.02)
json.dump({'gap': gap, 'said': said}, open('/tmp/asked', 'w'))
"""


class Host:
    def __init__(self) -> None:
        import testhosts

        self.testhosts = testhosts
        testhosts.bare("bench", "h100")
        self.inventory = testhosts.inventory(
            "h100", {"h100": {"gpu": testhosts.connection("bench")}}, ROOT / "build/testhosts/bench"
        )
        self.apart()

    def apart(self) -> None:
        """The controller on one half of the cores and the host on the other: elsewhere they are two machines."""
        cores = sorted(os.sched_getaffinity(0))
        half = len(cores) // 2
        os.sched_setaffinity(0, cores[:half])
        for pid in self.testhosts.docker("top", self.testhosts.container("bench"), "-o", "pid").split()[1:]:
            for thread in os.listdir(f"/proc/{pid}/task"):
                os.sched_setaffinity(int(thread), cores[half:])

    def play(self, book: str, *options: str, **values: Any) -> tuple[float, str]:
        command = [
            "ansible-playbook",
            "-i",
            str(self.inventory),
            book,
            "-l",
            "h100",
            "-e",
            json.dumps(values),
            *options,
        ]
        began = time.monotonic()
        done = subprocess.run(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        if done.returncode:
            sys.exit(f"{' '.join(command)} failed:\n{done.stdout[-3000:]}")
        return time.monotonic() - began, done.stdout

    def overrides(self, **more: Any) -> dict[str, Any]:
        """The scenario's row of the test hosts, changed."""
        import yaml

        rows: dict[str, Any] = yaml.safe_load((ROOT / "molecule/h100/host_vars/gpu.yml").read_text())["overrides"]
        row = rows["qwq-32b"]
        return {"qwq-32b": {**row, **{key: {**row.get(key, {}), **value} for key, value in more.items()}}}

    def sh(self, text: str) -> str:
        return str(self.testhosts.docker("exec", "-i", self.testhosts.container("bench"), "sh", text=text))

    def python(self, text: str) -> None:
        self.testhosts.docker("exec", "-i", self.testhosts.container("bench"), "python3", "-", text=text)


def serve_over_docker_run(host: Host) -> Figure:
    """deploy.yml --tags serve,verify with image and weights there, against the bare `docker run` of the same release, interleaved."""
    host.play("deploy.yml")
    start = "/srv/vllm/services/qwq-32b/current/start"
    ours, bare, whole = [], [], []
    for _ in range(RUNS):
        host.sh("systemctl stop vllm-qwq-32b; systemctl disable -q vllm-qwq-32b")
        began = time.monotonic()
        host.sh(
            f"cp -r $(dirname $(readlink -f {start})) /tmp/bare && nohup sh /tmp/bare/start >/tmp/bare.log 2>&1 </dev/null &"
        )
        host.python(FIRST_TOKEN)
        bare.append(time.monotonic() - began)
        host.sh(
            "docker rm -f vllm-qwq-32b; rm -rf /tmp/bare; rm -rf /srv/vllm/services/qwq-32b/current /srv/vllm/services/qwq-32b/releases"
        )
        began = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor() as pool:
            asking = pool.submit(lambda: (host.python(FIRST_TOKEN), time.monotonic())[1])
            seconds, output = host.play("deploy.yml", "--tags", "serve,verify")
            assert "changed=1" in output, output
            ours.append(asking.result() - began)
        whole.append(seconds)
    over = round(statistics.median([a - b for a, b in zip(ours, bare, strict=True)]), 2)
    peer = round(statistics.median(bare), 1)
    return {
        "name": "serve_over_docker_run_s", "value": over, "unit": "s", "peer": f"the release's docker run by hand: {peer} s", "runs": RUNS,
        "ratio": round(statistics.median(ours) / statistics.median(bare), 2), "command": "deploy.yml --tags serve,verify",
        "includes": "plan, lock, release and start until the first token, above the peer's; with the checked answer, the report and the lock "
        f"given back the run took {round(statistics.median(whole), 1)} s",
    }  # fmt: skip


def asked_during(host: Host, act: Any) -> tuple[float, dict[str, int]]:
    """(longest seconds without an answer, what callers got) while something is done."""
    host.sh(
        "rm -f /tmp/asking /tmp/asked; cat > /tmp/client.py <<'END'\n"
        + CLIENT
        + "\nEND\nnohup python3 /tmp/client.py >/tmp/client.log 2>&1 </dev/null &"
    )
    time.sleep(3)
    act()
    time.sleep(1)
    host.sh("rm -f /tmp/asking; for i in $(seq 300); do [ -e /tmp/asked ] && break; sleep 0.2; done")
    found = json.loads(host.sh("cat /tmp/asked"))
    return float(found["gap"]), dict(found["said"])


def swap_gap(host: Host) -> Figure:
    """Time without an answer while upgrade.yml swaps a release, against `systemctl restart` of the same service, interleaved."""
    host.play("deploy.yml")
    ours, peers, said = [], [], []
    for number in range(RUNS):
        change = {"overrides": host.overrides(env={"UPGRADE": str(number)})}
        gap, outcomes = asked_during(host, lambda change=change: host.play("playbooks/upgrade.yml", **change))
        ours.append(gap)
        said.append(outcomes)
        gap, outcomes = asked_during(
            host,
            lambda change=change: (
                host.sh("systemctl restart vllm-qwq-32b"),
                host.play("deploy.yml", "--tags", "verify", **change),
            ),
        )
        peers.append(gap)
        said.append(outcomes)
    wrong = sorted({key for row in said for key in row} - {"answered", "refused or cut"})
    peer = round(statistics.median(peers), 1)
    return {
        "name": "swap_gap_s", "value": round(statistics.median(ours), 1), "unit": "s", "peer": f"systemctl restart: {peer} s", "runs": RUNS,
        "ratio": round(statistics.median(ours) / statistics.median(peers), 2), "command": "playbooks/upgrade.yml -l h100, a changed variable",
        "includes": f"longest time between two answers, asked every 20 ms; other than answers and refused connections callers saw: {wrong or 'nothing'}",
    }  # fmt: skip


def noop_three_services(host: Host) -> Figure:
    """A deploy that changes nothing, of three services in containers, each asked."""
    rows = {name: host.testhosts.stub("good", 9010 + i, ready_timeout=60) for i, name in enumerate(THREE)}
    host.play("deploy.yml", runs=THREE, overrides=rows)
    walls = []
    for _ in range(RUNS):
        seconds, output = host.play("deploy.yml", runs=THREE, overrides=rows)
        assert re.search(r"changed=0 ", output), output
        walls.append(seconds)
    return {
        "name": "noop_three_services_s", "value": round(statistics.median(walls), 1), "unit": "s", "peer": "", "ratio": None, "runs": RUNS,
        "command": "deploy.yml -l h100, changed=0", "includes": "five phases over ssh, three services in containers, each asked",
    }  # fmt: skip


def measure() -> list[Figure]:
    parts = {"serve": serve_over_docker_run, "swap": swap_gap, "noop": noop_three_services}
    host = Host()
    try:
        return [parts[name](host) for name in (os.environ.get("BENCH_CONTAINERS") or "serve,swap,noop").split(",")]
    finally:
        host.testhosts.remove("bench")


if __name__ == "__main__":
    print(json.dumps(measure(), indent=1))  # BENCH_CONTAINERS=serve,swap,noop
