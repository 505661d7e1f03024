"""playbooks/localise.yml: a FlagGems operator that makes the service unlike its reference is named, and the service is put back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import FIXTURES, ROOT, ansible_environment
from gate import until
from gated import Fleet, fleet_of
from ports import free_port
from services import with_tools
from test_deploy import deploy
from test_swap import UP

OPERATORS = ("add_", "cat", "cos", "embedding", "gather", "rsqrt", "sin", "topk")
CULPRIT = "rsqrt"  # used, and never writes its name
# FlagGems in an engine that is a stub: operators by allow list or by deny list, as our plugin for vLLM takes them.
VLLM = f"""#!/bin/bash
on=
if [ "$USE_FLAGGEMS" = 1 ]; then
  for name in {" ".join(OPERATORS)}; do
    [ -n "$VLLM_FL_FLAGOS_WHITELIST" ] && [[ ",$VLLM_FL_FLAGOS_WHITELIST," != *",$name,"* ]] && continue
    [[ ",$VLLM_FL_FLAGOS_BLACKLIST," == *",$name,"* ]] && continue
    on="$on $name"
  done
  printf '%s\\n' $on > "$(dirname "$FLAGGEMS_ENABLE_OPLIST_PATH")/gems_registered.txt"
  printf '[DEBUG] flag_gems.ops.%s: GEMS\\n' $(printf '%s\\n' $on | grep -v {CULPRIT}) > "$FLAGGEMS_ENABLE_OPLIST_PATH"
fi
[[ " $on " == *" {CULPRIT} "* ]] && export STUB_APART=0.8
exec {sys.executable} {FIXTURES}/stub_engine.py good "$(sed -n 's/^port: //p' "$3")"
"""
BOARD = {"flaggems_backend": True}
# A row that the gate judges as soon as a run gives it a pack.
GATED = {
    "reference": "{{ stub_pack | default(none) }}", "judge_level": "{{ 'canary' if stub_pack is defined else 'none' }}",
    "flaggems": "{{ stub_gems | default(false) }}",
}  # fmt: skip


class Site:
    def __init__(self, base: Path) -> None:
        self.base, self.root, self.port = base, base / "srv", free_port()
        (base / "env/bin").mkdir(parents=True)
        (base / "env/bin/vllm").write_text(VLLM)
        (base / "env/bin/vllm").chmod(0o755)

    def values(self, **row: Any) -> dict[str, Any]:
        row = {
            "port": self.port, "native_env": str(self.base / "env"), "restart_limit": 1, "drain_timeout": 2, "ready_timeout": 30,
            "reference": None, "judge_level": "none", **row,
        }  # fmt: skip
        return {"boards": {"local": BOARD}, "overrides": {"demo": row}, "references_dir": str(self.base / "references")}

    def run(self, playbook: str, *options: str, ok: bool = True, **row: Any) -> str:
        return deploy(self.base, self.values(**row), *options, ok=ok, playbook=playbook)

    def spec(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.root / "services/demo/current/spec.json").read_text())
        return found

    def search(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.base / "reports/localhost/localise-demo.json").read_text())
        return found


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory, tools: Path) -> Iterator[Site]:
    yield from with_tools(Site(tmp_path_factory.mktemp("l")), tools)


def test_an_operator_that_writes_no_name_is_found_and_the_service_is_put_back(site: Site) -> None:
    site.run("deploy.yml")
    site.run(
        "playbooks/record_reference.yml",
        "-e",
        "service=demo",
        "-e",
        f"pack={site.base}/references/plain",
        "-e",
        "texts=12",
    )
    assert "runs without FlagGems" in site.run("playbooks/localise.yml", "-e", "service=demo", ok=False)
    gems = {"flaggems": {"deny": ["topk"]}, "reference": "plain"}
    site.run("deploy.yml", **gems)
    own = site.spec()
    # Killed in the middle: a release of the search is left, and the next run goes on from what was tried.
    places = {
        "serving_root": str(site.root), "reports_dir": str(site.base / "reports"), "pins_file": str(site.base / "pins"), "supervisor": "supervisord",
    }  # fmt: skip
    process = subprocess.Popen(
        ["ansible-playbook", "playbooks/localise.yml", "-l", "local", "-e", json.dumps({**places, **site.values(**gems)}), "-e", "service=demo"],
        cwd=ROOT, env=ansible_environment(), stdout=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        until = time.monotonic() + 240
        while process.poll() is None and time.monotonic() < until:
            try:
                if len(site.search()["trials"]) >= 4:
                    break
            except (OSError, ValueError):
                pass
            time.sleep(0.2)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    before = site.search()["trials"]
    assert len(before) >= 4
    told = site.run("playbooks/localise.yml", "-e", "service=demo", **gems)
    found = site.search()
    assert found["trials"][: len(before)] == before and found["result"] == "found" and found["culprits"] == [CULPRIT]
    assert f"{CULPRIT}: unlike the reference by itself" in told
    assert f"flaggems: {{deny: [{CULPRIT}, topk]}}" in told
    assert site.spec() == own and own["flaggems"]
    # With the row that it says, the service is like its reference.
    assert "EQUIVALENT" in site.run(
        "deploy.yml", **{**gems, "flaggems": {"deny": [CULPRIT, "topk"]}, "judge_level": "canary"}
    )


@pytest.fixture
def fleet(tmp_path_factory: pytest.TempPathFactory, tools: Path) -> Iterator[Fleet]:
    hosts = {name: {"runs": ["demo"]} for name in ("one", "two")}
    with fleet_of(tmp_path_factory.mktemp("g"), tools, hosts, engine=VLLM, **GATED) as found:
        yield found


@pytest.mark.slow
def test_behind_a_gateway_no_trial_is_put_back_and_the_service_is(fleet: Fleet) -> None:
    """The row's gate would end the search at its first DIFFERENT, and a trial in the gateway would answer callers."""
    boards = {"boards": {"local": BOARD}}
    fleet.play("deploy.yml", **boards)
    until(lambda: fleet.states() == UP, 60)
    pack = str(fleet.base / "plain")
    fleet.play("playbooks/record_reference.yml", "-l", "one", service="demo", pack=pack, texts=12, **boards)
    gems = {**boards, "stub_pack": pack, "stub_gems": {"deny": list(OPERATORS[:5])}}
    own = fleet.release("one")
    with fleet.load(rate=5, longest=2) as load:
        told = fleet.play("playbooks/localise.yml", "-l", "one", service="demo", **gems)
    assert f"{CULPRIT}: unlike the reference by itself" in told
    load.whole()
    assert fleet.release("one") != own and fleet.states() == UP and fleet.out() == set()
