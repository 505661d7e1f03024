"""Where a service is reached by whoever reads its line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from planning.addresses import everywhere


def reach(row: Mapping[str, Any], report: Mapping[str, Any]) -> str:
    """URL at which a service answers to whoever can reach it: a service that listens everywhere has its host's own address."""
    match = re.fullmatch(r"(https?://)\[?(.*?)\]?(:\d+)", str(row.get("endpoint") or ""))
    if not match:
        return str(row.get("endpoint") or "")
    scheme, host, port = match.groups()
    if not host or everywhere(host):
        host = str(report.get("address") or "127.0.0.1")
    return f"{scheme}[{host}]{port}" if ":" in host else f"{scheme}{host}{port}"
