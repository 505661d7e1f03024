"""One copy of the demo model over two test hosts, tensor parallel 2, by a real vLLM for CPU in containers: deployed, broken and healed as one."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import engine
import pytest
import testhosts
from runner import Playbooks, flat

NAMES = ("two-a", "two-b")
IMAGE = "registry.test:5000/flagrelease/flagrelease:test"
BOARD = {"name": "graviton4", "arch": None, "supported_os": ["debian-12"]}
ROW: dict[str, Any] = {
    "model": "demo", "hosts": 2, "across": "tensor", "port": 8200, "engine": "vllm", "engine_version": "0.32.0", "runtime": "container", "image": IMAGE,
    "image_arch": "x86_64", "activate": "source /root/miniconda3/bin/activate flagscale-inference", "ready_timeout": 600, "overhead_bytes": 2_500_000_000,
    "engine_args": {
        "dtype": "bfloat16", "tensor_parallel_size": 2, "max_model_len": 512, "max_num_seqs": 32, "kv_cache_memory_bytes": 268_435_456, "enforce_eager": True,
    },
    "env": {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1"},
}  # fmt: skip
HEALED = 180.0  # seconds within which a right answer must come again
CALLER = 160.0  # a caller's answer or error comes within the engine's step and the silence of a host
QUESTION = json.dumps(
    {
        "model": "pair",
        "messages": [{"role": "user", "content": "What is 127 + 45?"}],
        "max_tokens": 16,
        "temperature": 0,
    }
)


class Two(Playbooks):
    """Two hosts, the first of which has the API."""

    def __init__(self, folder: Path) -> None:
        rows = {name: testhosts.host(name) for name in NAMES}
        self.address = {name: inner_address(name) for name in NAMES}
        more = {"board": BOARD, "runs": ["pair"]}
        self.inventory = testhosts.inventory(
            "graviton4",
            {"two": {name: {**rows[name], **more, "group_address": self.address[name]} for name in NAMES}},
            folder / "two",
        )
        self.row = ROW

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
        """What a caller gets: the answer, or what curl says, within the limit."""
        key = self.sh(NAMES[0], "head -n 1 /srv/vllm/services/pair/api_key").strip()
        began = time.monotonic()
        found = self.sh(
            NAMES[0],
            f"curl -sS -m {limit:.0f} -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' -d '{QUESTION}' "
            "http://127.0.0.1:8200/v1/chat/completions 2>&1 || true",
        )
        assert time.monotonic() - began < limit + 5
        return found

    def healed(self) -> float:
        """Seconds until a right answer."""
        began = time.monotonic()
        while "172" not in self.ask(30):
            assert time.monotonic() - began < HEALED, self.status()
            time.sleep(1)
        return time.monotonic() - began

    def status(self) -> str:
        return self.run("playbooks/status.yml", ok=None)

    def kill(self, name: str, what: str) -> None:
        self.sh(name, f"pkill -9 -f '{what}'")

    def cut(self, on: bool) -> None:
        """The link between the two, both ways, as seen from the second."""
        for chain, end in (("INPUT", "-s"), ("OUTPUT", "-d")):
            self.sh(NAMES[1], f"iptables -{'I' if on else 'D'} {chain} {end} {self.address[NAMES[0]]} -j DROP")


def inner_address(name: str) -> str:
    shown = testhosts.docker(
        "inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}", testhosts.container(name)
    )
    return shown.split()[0]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    with engine.engine(tmp_path_factory.mktemp("engine")):
        for name in NAMES:
            testhosts.remove(name)
        testhosts.docker_ce()
        testhosts.push(testhosts.engine_image(), "test")
        yield Two(tmp_path_factory.mktemp("two"))
        for name in NAMES:
            testhosts.remove(name)


Figure = Callable[[str, object], None]


def test_from_bare_to_an_answer_and_a_second_run_changes_nothing(two: Two) -> None:
    output = two.run("deploy.yml")
    assert re.search(r"answered +172", output) and "runs over two-a, two-b, unencrypted between them" in output
    assert "this host follows two-a" in output
    assert two.changes(two.run("deploy.yml")) == [0, 0]
    assert "172" in two.ask()
    assert two.sh(NAMES[1], "ls /srv/vllm/services/pair").split().count("api_key") == 0
    assert "headless" in two.sh(NAMES[1], "cat /srv/vllm/services/pair/current/serve.yaml")


def test_a_part_of_its_hosts_is_refused(two: Two) -> None:
    output = flat(two.run("playbooks/restart.yml", ok=False, limit=NAMES[0], service="pair"))
    assert (
        "runs over two-a and two-b together, and this run is without two-b; take all of them: -l two-a,two-b" in output
    )


def test_status_is_one_line(two: Two) -> None:
    lines = [line for line in two.status().splitlines() if re.search(r"\bpair +ready\b", line)]
    assert len(lines) == 1 and "two-a+two-b" in lines[0]


def test_upgraded_and_rolled_back_together(two: Two) -> None:
    row = {"engine_args": {**ROW["engine_args"], "max_model_len": 256}}
    two.run("playbooks/upgrade.yml", row=row)
    assert "172" in two.ask()
    two.run("playbooks/rollback.yml", service="pair")
    for name in NAMES:
        assert "max-model-len: 512" in two.sh(name, "cat /srv/vllm/services/pair/current/serve.yaml")
    assert "172" in two.ask()


def test_a_follower_that_is_killed(two: Two, record_property: Figure) -> None:
    two.kill(NAMES[1], "vllm serve")
    two.ask()  # an error or an answer, never silence
    record_property("multihost_heal_follower_s", round(two.healed(), 1))


def test_a_leader_that_is_killed(two: Two, record_property: Figure) -> None:
    two.kill(NAMES[0], "vllm serve")
    two.ask()
    record_property("multihost_heal_leader_s", round(two.healed(), 1))


def test_a_short_cut_is_survived_and_a_long_one_is_healed(two: Two, record_property: Figure) -> None:
    before = two.sh(NAMES[0], "docker ps -q")
    two.cut(True)
    time.sleep(8)
    two.cut(False)
    time.sleep(15)
    assert "172" in two.ask() and two.sh(NAMES[0], "docker ps -q") == before
    two.cut(True)
    time.sleep(40)
    two.ask()
    two.cut(False)
    record_property("multihost_heal_link_s", round(two.healed(), 1))


def test_a_follower_that_restarts_alone_and_a_host_that_reboots(two: Two) -> None:
    two.sh(NAMES[1], "systemctl restart vllm-pair")
    two.healed()
    testhosts.reboot(NAMES[0])
    two.healed()
    testhosts.reboot(NAMES[1], power_cut=True)
    two.healed()


def test_a_release_that_does_not_answer_returns_on_both(two: Two) -> None:
    output = flat(
        two.run("deploy.yml", ok=False, row={"check": {"prompt": "What is 127 + 45?", "expect": "no such sum"}})
    )
    assert "was started again" in output
    assert "172" in two.ask()


def test_uninstall_leaves_nothing_on_either(two: Two) -> None:
    two.run("playbooks/uninstall.yml", service="pair")
    for name in NAMES:
        left = "docker ps -aq; ls /etc/systemd/system/ | grep vllm- || true; ls /srv/vllm/services 2>/dev/null || true"
        assert two.sh(name, left) == ""
