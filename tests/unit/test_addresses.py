"""What an address means: one answer for rules, gateway, monitoring and firewall."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from conftest import load
from tables import TABLES

from planning.addresses import everywhere, loopback

ROOT = Path(__file__).resolve().parents[2]
lint = load("filter_plugins/lint.py")


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


@pytest.mark.parametrize(
    ("args", "name"),
    [
        ({"kv_events_config": {"enable_kv_cache_events": True}}, "kv_events_config.endpoint"),
        ({"kv_events_config": '{"endpoint": "tcp://10.0.0.5:6000"}'}, "kv_events_config.endpoint"),
        ({"kv_events_config.publisher": "zmq"}, "kv_events_config.endpoint"),
        ({"kv_events_config": {"endpoint": "ipc:///tmp/x", "replay_endpoint": "tcp://[::]:1"}}, "kv_events_config.replay_endpoint"),
        ({"kv_transfer_config": {"kv_ip": "0.0.0.0"}}, "kv_transfer_config.kv_ip"),
        ({"data_parallel_address": "::"}, "data_parallel_address"),
        ({"kv_events_config": {"endpoint": "tcp://127.0.0.1:5557"}}, None),
        ({"kv_events_config": {"endpoint": "ipc:///tmp/events"}}, None),
        ({"kv_events_config.endpoint": "tcp://[::1]:5557"}, None),
        ({"kv_transfer_config": {"kv_connector": "NixlConnector"}}, None),
        ({"data_parallel_address": "::1", "data_parallel_size": 2}, None),
    ],
)  # fmt: skip
@pytest.mark.parametrize("bridged", [False, True])
def test_an_option_that_opens_a_port_for_others_is_told(args: dict[str, Any], name: str | None, bridged: bool) -> None:
    """A container without the host's network publishes the service's port alone."""
    engine_facts = {"options": TABLES["engines"]["vllm"]["options"]}
    row = {
        "runtime": "container",
        "rights": [] if bridged else ["host-network"],
        "engine_args": args,
        "engine_facts": engine_facts,
    }
    found = [text for text, _ in lint.port_without_key(row, {})]
    wanted = [] if name is None or bridged else [f"engine_args.{name} is"]
    assert [" ".join(text.split()[:2]) for text in found] == wanted


@pytest.mark.parametrize(
    ("engine", "row", "told"),
    [
        ("vllm", {"engine_args": {"kv_transfer_config": {"kv_connector": "NixlConnector"}},
                  "env": {"VLLM_NIXL_SIDE_CHANNEL_HOST": "10.0.0.7"}}, "env.VLLM_NIXL_SIDE_CHANNEL_HOST is 10.0.0.7, where"),
        ("vllm", {"engine_args": {"kv_transfer_config.kv_connector": "NixlConnector"},
                  "env": {"VLLM_NIXL_SIDE_CHANNEL_HOST": "0.0.0.0"}}, "env.VLLM_NIXL_SIDE_CHANNEL_HOST is 0.0.0.0, where"),
        ("vllm", {"engine_args": {"kv_transfer_config": {"kv_connector": "NixlConnector"}}, "env": {}}, None),
        ("vllm", {"engine_args": {"kv_transfer_config": "{}"}, "env": {"VLLM_NIXL_SIDE_CHANNEL_HOST": "::1"}}, None),
        ("vllm", {"engine_args": {}, "env": {"VLLM_NIXL_SIDE_CHANNEL_HOST": "10.0.0.7"}}, None),
        ("sglang", {"engine_args": {"disaggregation_mode": "prefill"}, "env": {}, "address": "10.0.0.7"},
         "engine_args.disaggregation_mode is prefill, so it listens on 10.0.0.7, where"),
        ("sglang", {"engine_args": {"disaggregation_mode": "prefill", "disaggregation_bootstrap_port": 9000}, "env": {},
                    "address": "127.0.0.1"}, None),
        ("sglang", {"engine_args": {"disaggregation_mode": "decode"}, "env": {}, "address": "10.0.0.7"}, None),
    ],
)  # fmt: skip
def test_a_variable_or_a_value_may_open_a_port_too(engine: str, row: dict[str, Any], told: str | None) -> None:
    """NIXL's side channel listens where a variable says, SGLang's bootstrap server of prefill where its API does."""
    facts = {"options": TABLES["engines"][engine]["options"]}
    found = list(lint.port_without_key({"runtime": "native", "rights": [], "engine_facts": facts, **row}, {}))
    assert [text.startswith(told or "-") for text, _ in found] == ([True] if told else [])
    assert all("write 127" not in remedy for text, remedy in found if "prefill" in text)
