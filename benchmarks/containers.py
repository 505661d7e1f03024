"""Figures of services in containers, on a host of the bed (molecule/shared/bed.py): root, Docker and mmdebstrap needed."""

from __future__ import annotations

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


class Host:
    def __init__(self) -> None:
        import bed

        self.bed = bed
        bed.bare("bench", "h100")
        self.inventory = bed.inventory("h100", {"h100": {"gpu": bed.connection("bench")}}, ROOT / "build/bed/bench")

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

    def sh(self, text: str) -> str:
        return str(self.bed.docker("exec", "-i", self.bed.container("bench"), "sh", text=text))

    def python(self, text: str) -> None:
        self.bed.docker("exec", "-i", self.bed.container("bench"), "python3", "-", text=text)


def serve_over_docker_run(host: Host) -> Figure:
    """deploy.yml --tags serve,verify with image and weights there, against the bare `docker run` of the same release, interleaved."""
    host.play("deploy.yml")
    start = "/srv/vllm/services/qwq-32b/current/start"
    ours, bare = [], []
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
        seconds, output = host.play("deploy.yml", "--tags", "serve,verify")
        assert "changed=1" in output, output
        ours.append(seconds)
    over = round(statistics.median([a - b for a, b in zip(ours, bare, strict=True)]), 2)
    peer = round(statistics.median(bare), 1)
    return {
        "name": "serve_over_docker_run_s", "value": over, "unit": "s", "peer": f"the release's docker run by hand: {peer} s", "runs": RUNS,
        "ratio": round(statistics.median(ours) / statistics.median(bare), 2), "command": "deploy.yml --tags serve,verify",
        "includes": "plan, lock, release, start, a checked answer and the report, above the peer's time to its first token",
    }  # fmt: skip


def noop_three_services(host: Host) -> Figure:
    """A deploy that changes nothing, of three services in containers, each asked."""
    rows = {name: host.bed.stub("good", 9010 + i, ready_timeout=60) for i, name in enumerate(THREE)}
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
    host = Host()
    try:
        return [serve_over_docker_run(host), noop_three_services(host)]
    finally:
        host.bed.remove("bench")


if __name__ == "__main__":
    print(json.dumps(measure(), indent=1))
