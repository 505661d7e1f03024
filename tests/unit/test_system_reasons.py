"""A row explains a message only if it speaks of the reason that the system gave in it."""

from __future__ import annotations

import pytest
from ansible.module_utils.serving.service import failures
from ansible.module_utils.serving.service.system_reasons import speaks_of


@pytest.mark.parametrize(
    "meaning, text, speaks",
    [
        ("a module is missing: modprobe it", "iptables failed: Permission denied", False),
        ("the engine may not change it: run it as root", "iptables failed: Permission denied", True),
        ("a module is missing: modprobe it", "iptables failed: no such chain", True),
        ("the folder is not there: make it", "mkdir /x: no space left on device", False),
        ("the disk is full: free some", "mkdir /x: No space left on device", True),
        ("the file is not there", "open /x: too many open files", False),
        ("the container's folder may not be written", "mkdir /x: read-only file system", True),
        ("no worker answers", "fork: Cannot allocate memory", False),
    ],
)
def test_a_reason_of_the_system_must_be_spoken_of(meaning: str, text: str, speaks: bool) -> None:
    assert speaks_of(meaning, "", text) is speaks


def test_what_a_rows_own_pattern_names_it_knows() -> None:
    assert speaks_of("set block_size", "x: permission denied", "x: permission denied")


def test_a_firewall_that_may_not_be_changed_is_not_told_as_one_that_is_gone() -> None:
    gone = "driver failed programming external connectivity: iptables failed: iptables -t nat -A DOCKER: No chain/target/match by that name."
    closed = "failed to start daemon: iptables failed: iptables -t nat -N DOCKER: Permission denied (you must be root)"
    assert failures.explain([gone], 1).hint == "docker-iptables"
    assert failures.explain([closed], 1).hint == "docker-firewall-closed"
