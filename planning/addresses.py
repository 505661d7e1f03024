"""What an address means to those who bind it or call it. Pure."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from typing import Any


def loopback(address: str) -> bool:
    """Is it reached from its own host alone? A name but `localhost` may be anything; IPv6 with or without brackets."""
    try:
        return address == "localhost" or ipaddress.ip_address(address.strip("[]")).is_loopback
    except ValueError:
        return False


def everywhere(address: str) -> bool:
    """All addresses of a host."""
    return address in ("0.0.0.0", "::", "*")  # noqa: S104 - compared, never bound


def opened(args: Mapping[str, Any], opens: Mapping[str, str]) -> dict[str, str]:
    """{option: address} of an engine's own ports that others than its host reach. `opens` is of the engine's row."""
    found = {}
    for name, silent in opens.items():
        head, _, key = name.partition(".")
        if not any(one == head or one.startswith(head + ".") for one in args):
            continue
        given = args.get(name, args.get(head) if not key else key_of(args.get(head), key)) or silent
        scheme, _, rest = str(given).rpartition("://")
        host = rest.rpartition(":")[0] if scheme else rest
        if scheme in ("", "tcp") and not loopback(host):
            found[name] = str(given)
    return found


def key_of(value: Any, key: str) -> Any:
    """A key of an option that is a mapping, or JSON text of one."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    return value.get(key) if isinstance(value, Mapping) else None
