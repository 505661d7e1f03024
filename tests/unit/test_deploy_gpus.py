"""deploy.yml on a host of two GPUs, from preflight to verify: the driver is the test hosts' stand-in, the engine a stub of one process a rank."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import FIXTURES, ROOT
from ports import free_port
from services import lent_tools
from test_deploy import deploy

ZERO, ONE = (f"GPU-00000000-0000-0000-0000-{i:012d}" for i in range(2))
BOARD = {"vendor": "nvidia", "count": 2, "memory_bytes": 85_520_809_984, "runtime": "native", "device_access": None}
# Rank 1 is a process of its own that is named as vLLM names it; an engine that ignores its devices has them unset.
VLLM = f"""#!/bin/bash
[ -z "${{STUB_IGNORES:-}}" ] || unset CUDA_VISIBLE_DEVICES
grep -q '^tensor-parallel-size: 2' "$3" && (exec -a VLLM::Worker_TP1 sleep 3000) &
exec {sys.executable} {FIXTURES}/stub_engine.py good "$(sed -n 's/^port: //p' "$3")"
"""


class Host:
    def __init__(self, base: Path) -> None:
        self.base, self.root, self.ports = base, base / "srv", {"a": free_port(), "b": free_port()}
        (base / "env/bin").mkdir(parents=True)
        (base / "bin").mkdir()
        smi = (ROOT / "molecule/shared/fakes/nvidia-smi").read_text().replace("/etc/testhost", str(base))
        smi = smi.replace('read("version", "/sys/module/nvidia")', 'read("library-version")')
        for path, text in (("env/bin/vllm", VLLM), ("bin/nvidia-smi", smi)):
            (base / path).write_text(text)
            (base / path).chmod(0o755)
        (base / "nvidia-smi.xml").write_text((FIXTURES / "nvidia/h200-v13.xml").read_text())
        (base / "library-version").write_text("580.159.04")
        self.driver()

    def driver(self, **state: Any) -> None:
        (self.base / "nvidia.json").write_text(json.dumps({"count": 2, "below": str(self.root), **state}))

    def deploy(self, rows: dict[str, dict[str, Any]], ok: bool = True, *options: str) -> str:
        """`rows`: {service: {devices, ...}} in the order of `runs`."""
        services = {
            name: {
                "model": "demo", "port": self.ports[name], "served_name": "demo", "restart_limit": 1,
                "native_env": str(self.base / "env"), "drain_timeout": 2, "ready_timeout": 30, **row,
                "engine_args": {"tensor_parallel_size": len(row["devices"]), "max_model_len": 512},
            }
            for name, row in rows.items()
        }  # fmt: skip
        values = {"services": services, "runs": list(rows), "boards": {"box": BOARD}, "board": "box", "overrides": {}}
        return deploy(self.base, values, *options, ok=ok, path=f"{self.base}/bin")

    def devices(self, name: str) -> Any:
        return json.loads((self.root / f"services/{name}/current/spec.json").read_text())["devices"]

    def proofs(self) -> dict[str, tuple[str, list[str]]]:
        rows = json.loads((self.base / "reports/localhost/report.json").read_text())["devices"]
        return {name: (row["verdict"], row["devices"]) for name, row in rows.items()}


@pytest.fixture
def host(tmp_path_factory: pytest.TempPathFactory, tools: Path) -> Iterator[Host]:
    found = Host(tmp_path_factory.mktemp("g"))
    with lent_tools(found.root, tools, *found.ports):
        yield found


def test_services_run_on_their_devices_and_hand_them_over_in_one_deploy(host: Host) -> None:
    host.deploy({"a": {"devices": [0, 1]}})
    assert host.devices("a") == [ZERO, ONE] and host.proofs() == {"a": ("proven", [ZERO, ONE])}
    # The one that gets GPU 1 stands before the one that gives it up.
    apart = {"b": {"devices": [ONE]}, "a": {"devices": [0]}}
    assert "a: it gives device" in host.deploy(apart)
    assert host.proofs() == {"a": ("proven", [ZERO]), "b": ("proven", [ONE])}
    assert "changed=0" in host.deploy(apart)
    # They swap; the driver shows no processes now, so memory decides.
    host.driver(hide=True)
    told = host.deploy({"b": {"devices": [0]}, "a": {"devices": [1]}})
    assert "devices proven: memory of GPU 1" in told
    assert host.proofs() == {"a": ("proven", [ONE]), "b": ("proven", [ZERO])}


def test_an_engine_on_other_devices_than_its_own_fails_the_deploy(host: Host) -> None:
    told = host.deploy({"a": {"devices": [1], "env": {"STUB_IGNORES": "1"}}}, False)
    assert f"it should run on GPU 1 ({ONE}), and its processes hold memory on GPU 0 ({ZERO})" in told
    assert host.proofs() == {"a": ("wrong", [ZERO])}
    assert f"wrong: it should run on GPU 1 ({ONE})" in (host.base / "reports/localhost/report.html").read_text()
