"""What an address means: one answer for rules, gateway, monitoring and firewall."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from planning.addresses import everywhere, loopback

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2", "localhost", "::1", "[::1]"])
def test_its_own_host_alone_reaches_it(address: str) -> None:
    assert loopback(address) and not everywhere(address)


@pytest.mark.parametrize(
    "address", ["0.0.0.0", "::", "*", "10.0.0.7", "[2001:db8::1]", "gateway.example", "127.example", ""]
)
def test_others_may_reach_it(address: str) -> None:
    assert not loopback(address)


def test_nobody_asks_it_by_a_list_of_his_own() -> None:
    listed = re.compile(r"""\bin [(\[]['"](?:localhost|::1|127\.0\.0\.1)['"]|startswith\(['"]127\.""")
    for folder in ("filter_plugins", "planning", "reporting", "roles", "playbooks", "library"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".yml", ".j2"):
                assert not listed.search(path.read_text()), path
