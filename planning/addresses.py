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


def opened(service: Mapping[str, Any], opens: Mapping[str, str]) -> list[tuple[str, bool]]:
    """[(what a row says, does an address stand there?)] of an engine's own ports that others than its host reach. `opens` is of its row.

    `option` or `option.key` has the address; with `option@VARIABLE` a variable of `env` has it; with `option=value` it is the silent one,
    in which {address} is the service's.
    """
    args, env, found = service["engine_args"], service.get("env") or {}, []
    for name, silent in opens.items():
        option, _, variable = name.partition("@")
        option, _, value = option.partition("=")
        head, _, key = option.partition(".")
        if not any(one == head or one.startswith(head + ".") for one in args):
            continue
        if value and str(args.get(option)) != value:
            continue
        silent = silent.replace("{address}", str(service.get("address")))
        said = args.get(option, args.get(head) if not key else key_of(args.get(head), key))
        given = str((None if value else env.get(variable) if variable else said) or silent)
        scheme, _, rest = given.rpartition("://")
        host = rest.rpartition(":")[0] if scheme else rest
        if scheme in ("", "tcp") and not loopback(host):
            what = f"env.{variable}" if variable else f"engine_args.{option}"
            found.append((f"{what} is {value}, so it listens on {given}" if value else f"{what} is {given}", not value))
    return found


def key_of(value: Any, key: str) -> Any:
    """A key of an option that is a mapping, or JSON text of one."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    return value.get(key) if isinstance(value, Mapping) else None
