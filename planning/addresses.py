"""What an address means to those who bind it or call it. Pure."""

from __future__ import annotations

import ipaddress


def loopback(address: str) -> bool:
    """Is it reached from its own host alone? A name but `localhost` may be anything; IPv6 with or without brackets."""
    try:
        return address == "localhost" or ipaddress.ip_address(address.strip("[]")).is_loopback
    except ValueError:
        return False


def everywhere(address: str) -> bool:
    """All addresses of a host."""
    return address in ("0.0.0.0", "::", "*")  # noqa: S104 - compared, never bound
