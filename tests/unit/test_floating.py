"""One address for a pair of gateways: keepalived's configuration, and two real pairs of HAProxy and keepalived in network namespaces."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, load
from gate import KEY, Engine, Gate, record, until
from ports import free_port
from spaces import Spaces, spaces_of
from test_gateway import certificate

from planning.floating import interface_of, keepalived_config
from planning.rows import Faults

floating = load("library/gateway_floating.py")
OWN = {"a": "10.99.0.1", "b": "10.99.0.2"}
ADDRESS = "10.99.0.100"
SETTINGS = {
    "address": f"{ADDRESS}/24", "router": 51, "returns": False, "interface": "", "listen": "0.0.0.0", "port": 8443, "folder": "/srv/g",
    "python": "/usr/bin/python3", "acme": False,
}  # fmt: skip
INTERFACES = [
    {"ifname": "lo", "addr_info": [{"local": "127.0.0.1"}]},
    {"ifname": "eth7", "addr_info": [{"local": one} for one in OWN.values()]},
]


def config(gateway: str = "a", own: dict[str, str] | None = None, **settings: Any) -> str:
    return keepalived_config(gateway, own or OWN, {**SETTINGS, **settings}, INTERFACES)


def test_the_first_gateway_has_the_address_first_and_they_know_each_other() -> None:
    first, second = config("a"), config("b")
    assert interface_of(OWN["a"], INTERFACES) == "eth7" and "  interface eth7\n" in first
    assert "priority 200" in first and "priority 199" in second
    assert "unicast_src_ip 10.99.0.1\n  unicast_peer {\n    10.99.0.2\n" in first
    assert "nopreempt" in first and "nopreempt" not in config(returns=True)


@pytest.mark.parametrize(
    ("own", "settings", "words"),
    [
        ({"a": "10.99.0.1"}, {}, ["two hosts in the group gateways"]),
        ({"a": "10.99.0.1", "b": "gw-02"}, {}, ["gateway 'b'", "'gw-02'", "gateway_own_address"]),
        (OWN, {"address": "10.99.0.300"}, ["'10.99.0.300'", "10.0.0.100/24"]),
        (OWN, {"router": 256}, ["256", "1 to 255"]),
        (OWN, {"listen": "10.99.0.1"}, ["gateway_address is 10.99.0.1", "0.0.0.0"]),
        (OWN, {"acme": True}, ["gateway_acme and gateway_floating", "gateway_certificate"]),
        ({"a": "10.1.0.1", "b": "10.99.0.2"}, {}, ["no interface of gateway 'a'", "gateway_floating_interface"]),
    ],
)
def test_what_can_not_work_is_a_sentence(own: dict[str, str], settings: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(Faults) as refused:
        config("a", own, **settings)
    assert all(word in str(refused.value) for word in words), refused.value


@pytest.mark.slow  # needs root
def test_what_keepalived_refuses_is_not_used(run_module: Any, tmp_path: Path) -> None:
    given = {
        "folder": str(tmp_path / "g"),
        "serving_root": str(tmp_path),
        "supervisor": "supervisord",
        "check": "#!/bin/true\n",
    }
    result = run_module("gateway_floating", {**given, "config": config().replace("priority 200", "priority 900")})
    assert (
        result["failed"]
        and "keepalived refuses the configuration" in result["msg"]
        and "Priority not valid" in result["msg"]
    )
    assert not (tmp_path / "g/keepalived.conf").exists()
    assert run_module("gateway_floating", {**given, "config": config()}, check=True)["changed"]
    assert not run_module("gateway_floating", given)["changed"]


class Member(Gate):
    """A gateway with its keepalived in a network namespace."""

    def __init__(self, space: str, name: str, folder: Path, rows: list[dict[str, Any]], pem: str, port: int) -> None:
        self.space = space
        super().__init__(folder, rows, {"team": {"keys": [KEY]}}, pem, address="0.0.0.0", port=port)
        self.port = port
        (folder / "check.py").write_text((ROOT / "roles/gateway/files/check.py").read_text())
        text = config(name, port=port, folder=str(folder), interface="eth0", python=sys.executable)
        (folder / "keepalived.conf").write_text(text)
        assert self.spawn("keepalived", "-t", "-f", str(folder / "keepalived.conf")).wait(20) == 0
        with (folder / "keepalived.log").open("wb") as log:
            words = floating.command("keepalived", str(folder))
            self.keepalived = subprocess.Popen(["ip", "netns", "exec", space, *words], stdout=log, stderr=log)
        self.processes.append(self.keepalived)

    def spawn(self, *words: str) -> subprocess.Popen[bytes]:
        return super().spawn("ip", "netns", "exec", self.space, *words)

    def has_address(self) -> bool:
        shown = subprocess.run(
            ["ip", "-n", self.space, "address"], capture_output=True, text=True, timeout=20, check=True
        )
        return f"{ADDRESS}/" in shown.stdout

    def kill(self) -> None:
        """As a crash does: master and worker at once."""
        pid = int((self.folder / "haproxy.pid").read_text())
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for one in (pid, *map(int, children)):
            os.kill(one, signal.SIGKILL)
        self.processes.pop(0).wait(20)

    def start_again(self) -> None:
        self.processes.insert(0, self.haproxy())


@pytest.fixture
def spaces() -> Iterator[Spaces]:
    """Namespaces of the gateways a and b and of a caller c, on one bridge."""
    with spaces_of({**OWN, "c": "10.99.0.3"}) as found:
        yield found


@pytest.mark.slow
def test_the_address_moves_when_haproxy_dies_and_stays_until_the_other_one_does(
    spaces: Spaces, run_module: Any, tmp_path: Path
) -> None:
    pem = Path(certificate(run_module, tmp_path / "ca")["certificate_file"]).read_text()
    engine = Engine("one")
    port = free_port()
    members = {name: Member(spaces[name], name, tmp_path / name, [record(engine, "here")], pem, port) for name in OWN}
    check = [sys.executable, str(ROOT / "roles/gateway/files/check.py"), ADDRESS, str(port)]

    def answers() -> bool:
        return subprocess.run(["ip", "netns", "exec", spaces["c"], *check], check=False, timeout=30).returncode == 0

    def held_by(name: str) -> bool:
        return [one for one, member in members.items() if member.has_address()] == [name]

    try:
        until(lambda: held_by("a") and answers(), 90)
        for victim, other in itertools.pairwise("aba"):
            members[victim].kill()
            until(lambda other=other: held_by(other) and answers(), 90)  # type: ignore[misc]
            members[victim].start_again()
            until(lambda victim=victim: "succeeded" in last_check(members[victim]), 90)  # type: ignore[misc]
            assert held_by(other) and answers()  # it doesn't go back by itself
        spaces.cable("a", "down")  # as when its host is gone, or the network is split
        until(lambda: members["b"].has_address() and answers(), 90)
        spaces.cable("a", "up")
        until(lambda: (held_by("a") or held_by("b")) and answers(), 90)
        members["a"].keepalived.terminate()  # as on a host that is shut down
        until(lambda: held_by("b") and answers(), 90)
    finally:
        for member in members.values():
            member.close()
        engine.stop()


def last_check(member: Member) -> str:
    """The last that keepalived's log says of the check."""
    said = [line for line in (member.folder / "keepalived.log").read_text().splitlines() if "VRRP_Script" in line]
    return said[-1] if said else ""
