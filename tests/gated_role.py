"""A site of this machine for role gateway: everything in a folder, a stand-in engine, the role's own HAProxy."""

from __future__ import annotations

import json
import os
import shutil
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible.module_utils.serving.gateway.units import AGENT, PROXY, RENEWAL
from ansible.module_utils.serving.service.supervisors import Supervisord
from gate import BACKEND_KEY, KEY, Engine
from ports import free_port


@contextmanager
def site_of(tmp_path: Path, tools: Path) -> Iterator[dict[str, Any]]:
    """A site of this machine: a service that is deployed as far as the gateway sees it, and settings that keep everything in a folder."""
    root = Path(shutil.copytree(tools.parent, tmp_path / "s", symlinks=True))
    engine = Engine("one")
    (root / "services/demo").mkdir(parents=True)
    (root / "services/demo/api_key").write_text(BACKEND_KEY + "\n")
    inventory = tmp_path / "hosts.yml"
    hosts = {"localhost": {"ansible_connection": "local", "runs": ["demo"]}}
    inventory.write_text(
        json.dumps(
            {"accelerators": {"children": {"local": {"hosts": hosts}}}, "gateways": {"hosts": {"localhost": {}}}}
        )
    )
    shutil.copytree(Path("inventory/group_vars").resolve(), tmp_path / "group_vars")
    extra: dict[str, Any] = {
        "serving_root": str(root), "supervisor": "supervisord", "gateway_port": free_port(), "gateway_agent_port": free_port(),
        "gateway_ca": str(tmp_path / "ca"), "gateway_address": "127.0.0.1", "gateway_names": ["localhost"], "manage_firewall": False,
        "overrides": {"demo": {"port": engine.port}}, "gateway_callers": {"team": {"keys": [KEY]}},
    }  # fmt: skip
    yield {"root": root, "extra": extra, "inventory": inventory, "engine": engine, "ca": tmp_path / "ca/ca.crt"}
    owner = Supervisord(str(root))
    if owner.alive():
        for name in (PROXY, AGENT, RENEWAL):
            if os.path.exists(owner.unit_path(name)):
                owner.stop(name)
        owner.shutdown()
    engine.stop()


def ask(site: dict[str, Any], key: str = KEY) -> int:
    request = urllib.request.Request(
        f"https://localhost:{site['extra']['gateway_port']}/v1/chat/completions",
        json.dumps({"model": "demo", "messages": []}).encode(),
        {"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(
            request, timeout=30, context=ssl.create_default_context(cafile=str(site["ca"]))
        ) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as problem:
        return problem.code
