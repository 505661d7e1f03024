"""One copy of the demo model over two test hosts, tensor parallel 2, by a real vLLM for CPU: deployed, broken and healed as one.

In containers, and most of what goes wrong, with `--soak` (make soak): two engines on two shared cores take longer than CI has.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import testhosts
from runner import flat
from two import NAMES, Two, bare, heals

Figure = Callable[[str, object], None]


@pytest.fixture(scope="module", params=[pytest.param("container", marks=pytest.mark.soak), "native"])
def two(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    with bare(tmp_path_factory.mktemp("two"), request.param) as found:
        yield found


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


@pytest.mark.soak
def test_upgraded_and_rolled_back_together(two: Two) -> None:
    row: dict[str, Any] = {"engine_args": {**two.row["engine_args"], "max_model_len": 256}}
    two.run("playbooks/upgrade.yml", row=row)
    assert "172" in two.ask()
    two.run("playbooks/rollback.yml", service="pair")
    for name in NAMES:
        assert "max-model-len: 512" in two.sh(name, "cat /srv/vllm/services/pair/current/serve.yaml")
    assert "172" in two.ask()


def test_a_follower_that_is_killed(two: Two, record_property: Figure) -> None:
    record_property("multihost_heal_follower_s", heals(two, "multihost_heal_follower_s"))


@pytest.mark.soak
def test_a_leader_that_is_killed(two: Two, record_property: Figure) -> None:
    record_property("multihost_heal_leader_s", heals(two, "multihost_heal_leader_s"))


@pytest.mark.soak
def test_a_short_cut_is_survived_and_a_long_one_is_healed(two: Two, record_property: Figure) -> None:
    before = two.engines()
    two.cut(True)
    time.sleep(8)
    two.cut(False)
    time.sleep(15)
    assert "172" in two.ask() and two.engines() == before
    record_property("multihost_heal_link_s", heals(two, "multihost_heal_link_s"))


@pytest.mark.soak
def test_a_follower_that_restarts_alone_and_a_host_that_reboots(two: Two) -> None:
    two.sh(NAMES[1], "systemctl restart vllm-pair")
    two.healed()
    testhosts.reboot(NAMES[0])
    two.healed()
    testhosts.reboot(NAMES[1], power_cut=True)
    two.healed()


@pytest.mark.soak
def test_a_release_that_does_not_answer_returns_on_both(two: Two) -> None:
    output = flat(
        two.run("deploy.yml", ok=False, row={"check": {"prompt": "What is 127 + 45?", "expect": "no such sum"}})
    )
    assert "was started again" in output
    assert "172" in two.ask()


def test_uninstall_leaves_nothing_on_either(two: Two) -> None:
    two.run("playbooks/uninstall.yml", service="pair")
    for name in NAMES:
        left = "docker ps -aq 2>/dev/null || true; ls /etc/systemd/system/ | grep vllm- || true; ls /srv/vllm/services 2>/dev/null || true"
        assert two.sh(name, left) == ""
