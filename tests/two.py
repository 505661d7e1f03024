"""Two test hosts that serve one copy of the demo model together, tensor parallel 2, by a real vLLM for CPU: what tests and a benchmark do to them."""

from __future__ import annotations

import json
import re
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import engine
import testhosts
from runner import Playbooks
from services import until

NAMES = ("two-a", "two-b")
IMAGE = "registry.test:5000/flagrelease/flagrelease:test"
BOARD = {"name": "graviton4", "arch": None, "supported_os": ["debian-12"]}
ROW: dict[str, Any] = {
    "model": "demo", "hosts": 2, "across": "tensor", "port": 8200, "engine": "vllm", "engine_version": "0.32.0", "ready_timeout": 600,
    "overhead_bytes": 2_500_000_000,
    "engine_args": {
        "dtype": "bfloat16", "tensor_parallel_size": 2, "max_model_len": 512, "max_num_seqs": 32, "kv_cache_memory_bytes": 268_435_456, "enforce_eager": True,
    },
    "env": {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1"},
}  # fmt: skip
RUNTIMES: dict[str, dict[str, Any]] = {
    "container": {
        "runtime": "container", "image": IMAGE, "image_arch": "x86_64", "activate": "source /root/miniconda3/bin/activate flagscale-inference",
    },
    "native": {"runtime": "native", "image": None},
}  # fmt: skip
HEALED = 600.0  # seconds within which a right answer must come again, on a machine that does much else
CALLER = 160.0  # a caller's answer or error comes within the engine's step and the silence of a host
QUESTION = json.dumps(
    {
        "model": "pair",
        "messages": [{"role": "user", "content": "What is 127 + 45?"}],
        "max_tokens": 16,
        "temperature": 0,
    }
)
# A bare host has no curl.
ASK = """import sys, urllib.error, urllib.request
headers = {"Authorization": "Bearer " + sys.argv[1], "Content-Type": "application/json"}
request = urllib.request.Request("http://127.0.0.1:8200/v1/chat/completions", sys.argv[2].encode(), headers)
try:
    print(urllib.request.urlopen(request).read().decode())
except OSError as error:
    print(error)
"""


class Two(Playbooks):
    """Two hosts, the first of which has the API."""

    def __init__(self, folder: Path, runtime: str = "container") -> None:
        rows = {name: testhosts.host(name) for name in NAMES}
        self.address = {name: inner_address(name) for name in NAMES}
        more = {"board": BOARD, "runs": ["pair"]}
        self.inventory = testhosts.inventory(
            "graviton4",
            {"two": {name: {**rows[name], **more, "group_address": self.address[name]} for name in NAMES}},
            folder / "two",
        )
        self.row = {**ROW, **RUNTIMES[runtime]}

    def command(self, playbook: str, *options: str, **values: Any) -> list[str]:
        values = {"services": {"pair": {**self.row, **values.pop("row", {})}}, **values}
        limit = values.pop("limit", "two")
        return [
            "ansible-playbook",
            "-i",
            str(self.inventory),
            playbook,
            "-l",
            limit,
            "-e",
            json.dumps(values),
            *options,
        ]

    def changes(self, output: str) -> list[int]:
        return [int(number) for number in re.findall(r"two-[ab] +: ok=\d+ +changed=(\d+)", output)]

    def sh(self, name: str, command: str, ok: bool = True) -> str:
        return testhosts.docker("exec", testhosts.container(name), "sh", "-c", command, ok=ok)

    def ask(self, limit: float = CALLER) -> str:
        """What a caller gets: the answer, or what went wrong, within the limit."""
        key = self.sh(NAMES[0], "head -n 1 /srv/vllm/services/pair/api_key").strip()
        began = time.monotonic()
        words = " ".join(map(shlex.quote, (ASK, key, QUESTION)))
        found = self.sh(NAMES[0], f"timeout {limit:.0f} python3 -c {words} 2>&1 || true")
        assert time.monotonic() - began < limit + 5
        return found

    def healed(self) -> None:
        """Return with a right answer."""
        until(lambda: "172" in self.ask(30), HEALED, self.status)

    def engines(self) -> set[str]:
        """What runs the engine, as host and process."""
        return {f"{name} {pid}" for name in NAMES for pid in self.sh(name, "pgrep -f '[v]llm serve' || true").split()}

    def status(self) -> str:
        return self.run("playbooks/status.yml", ok=None)

    def kill(self, name: str, what: str) -> None:
        """`what` matches no command line that has it as a pattern."""
        self.sh(name, f"pkill -9 -f '[{what[0]}]{what[1:]}'")

    def cut(self, on: bool) -> None:
        """The link between the two, both ways, as seen from the second."""
        for chain, end in (("INPUT", "-s"), ("OUTPUT", "-d")):
            self.sh(NAMES[1], f"iptables -{'I' if on else 'D'} {chain} {end} {self.address[NAMES[0]]} -j DROP")


def inner_address(name: str) -> str:
    shown = testhosts.docker(
        "inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}", testhosts.container(name)
    )
    return shown.split()[0]


@contextmanager
def bare(folder: Path, runtime: str = "container") -> Iterator[Two]:
    """Both hosts as a fresh machine has them, and outside all that their deploy asks for; gone at the end."""
    with engine.engine(folder):
        for name in NAMES:
            testhosts.remove(name)
        testhosts.docker_ce()
        if runtime == "container":
            testhosts.push(testhosts.engine_image(), "test")
        yield Two(folder, runtime)
        for name in NAMES:
            testhosts.remove(name)


def follower_dies(two: Two) -> None:
    two.kill(NAMES[1], "vllm serve")


def leader_dies(two: Two) -> None:
    two.kill(NAMES[0], "vllm serve")


def link_is_cut(two: Two) -> None:
    """For longer than anybody waits; then it is there again."""
    two.cut(True)
    time.sleep(40)
    two.ask()  # an error or an answer, never silence
    two.cut(False)


FAULTS: dict[str, Callable[[Two], None]] = {
    "multihost_heal_follower_s": follower_dies,
    "multihost_heal_leader_s": leader_dies,
    "multihost_heal_link_s": link_is_cut,
}


def heals(two: Two, figure: str) -> float:
    """Seconds from the end of a fault to a right answer of engines that were all restarted: workers of before may have answered once more."""
    before = two.engines()
    FAULTS[figure](two)
    began = time.monotonic()
    two.ask()
    until(lambda: not before & two.engines(), HEALED, two.status)
    two.healed()
    return round(time.monotonic() - began, 1)
