"""Hosts of their own network for tests: namespaces on one bridge, and cables that are pulled. Needs root."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from load import Load

CLONE_NEWNET = 0x40000000  # linux/sched.h


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, timeout=20, capture_output=True)


class Spaces(dict[str, str]):
    """{name: its namespace}. The last one has the bridge."""

    def cable(self, name: str, state: str) -> None:
        """`down`: nothing reaches it and nothing comes from it, as when the host is gone or the network is split. `up`: mended."""
        ip("-n", self[list(self)[-1]], "link", "set", f"port-{name}", state)


@contextmanager
def spaces_of(addresses: Mapping[str, str]) -> Iterator[Spaces]:
    """Namespaces with these addresses (of a /24) on their eth0."""
    found = Spaces({name: f"vllmtest-{os.getpid()}-{name}" for name in addresses})
    middle = found[list(found)[-1]]
    try:
        for space in found.values():
            ip("netns", "add", space)
            ip("-n", space, "link", "set", "lo", "up")
        ip("-n", middle, "link", "add", "bridge", "type", "bridge")
        for name, address in addresses.items():
            peer = ("peer", "name", "eth0", "netns", found[name])
            ip("-n", middle, "link", "add", f"port-{name}", "type", "veth", *peer)
            ip("-n", middle, "link", "set", f"port-{name}", "master", "bridge", "up")
            ip("-n", found[name], "address", "add", f"{address}/24", "dev", "eth0")
            ip("-n", found[name], "link", "set", "eth0", "up")
        ip("-n", middle, "link", "set", "bridge", "up")
        yield found
    finally:
        for space in found.values():
            subprocess.run(["ip", "netns", "delete", space], check=False, timeout=20, capture_output=True)


class LoadFrom(Load):
    """Callers in a namespace."""

    space = ""

    async def run(self) -> None:
        with open(f"/run/netns/{self.space}", "rb") as place:
            assert ctypes.CDLL(None, use_errno=True).setns(place.fileno(), CLONE_NEWNET) == 0  # of this thread alone
        await super().run()
