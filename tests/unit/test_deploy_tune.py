"""playbooks/tune.yml with an engine that is a stub: killed in every phase it goes on, the service is put back, and the fastest settings become a row."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.serving.service import releases
from conftest import FIXTURES, ROOT, ansible_environment
from ports import free_port
from runner import wait_for
from services import until, with_tools

# An engine that is as fast as its max_num_seqs says, up to 48, and dies with more than 100; and the client that measures it.
VLLM = f"""#!/bin/bash
base=$(cd "$(dirname "$0")/../.." && pwd)
config=$base/srv/services/demo/current/serve.yaml
[ "$1" = bench ] || config=$3
seqs=$(sed -n 's/^max-num-seqs: //p' "$config")
if [ "$1" = bench ]; then
  while [ $# -gt 0 ]; do case $1 in --result-dir) dir=$2;; --seed) seed=$2;; esac; shift; done
  [ -e "$base/slow" ] && {{ touch "$base/loading"; sleep 20; exit 1; }}  # it outlives a run that is killed
  echo "$seqs $seed" >> "$base/measured"
  speed=$((seqs > 48 ? 480 : seqs * 10))
  echo '{{"output_throughput": '$speed.$((seed % 3))', "median_ttft_ms": 30, "p50_ttft_ms": 30, "p50_tpot_ms": 5, "failed": 0}}' > "$dir/result.json"
  exit
fi
[ "$seqs" -gt 100 ] && {{ echo "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"; exit 1; }}
exec {sys.executable} {FIXTURES}/stub_engine.py good "$(sed -n 's/^port: //p' "$3")"
"""
TABLE = """---
services:
  # the service of this site
  demo:  # our only one
    engine_args:
      max_model_len: 512  # what callers need
      max_num_seqs: 16  # a guess
    drain_timeout: 2
"""


class Site:
    def __init__(self, base: Path) -> None:
        self.base, self.root, self.table = base, base / "srv", base / "group_vars/all/services.yml"
        (base / "env/bin").mkdir(parents=True)
        (base / "env/bin/vllm").write_text(VLLM)
        (base / "env/bin/vllm").chmod(0o755)
        shutil.copytree(ROOT / "inventory/group_vars", base / "group_vars")
        self.table.parent.mkdir()
        self.table.write_text(TABLE)
        (base / "running").write_text("0")
        row = {
            "port": free_port(), "native_env": str(base / "env"), "restart_limit": 1, "ready_timeout": 30, "reference": None, "judge_level": "none",
            "env": {"STUB_RUNNING": str(base / "running")},
        }  # fmt: skip
        host = {"ansible_connection": "local", "runs": ["demo"], "overrides": {"demo": row}}
        groups = {"accelerators": {"children": {"local": {"hosts": {"one": host}}}}}
        (base / "hosts.yml").write_text(json.dumps(groups))

    def start(self, name: str, *options: str, **values: Any) -> subprocess.Popen[str]:
        extra = {
            "serving_root": str(self.root), "reports_dir": str(self.base / "reports"), "pins_file": str(self.base / "pins"), "supervisor": "supervisord",
            "probe_timeout": 5, "service": "demo", "run": "test", **values,
        }  # fmt: skip
        return subprocess.Popen(
            ["ansible-playbook", "-i", str(self.base / "hosts.yml"), name, "-e", json.dumps(extra), "--skip-tags", "prepare", *options],
            cwd=ROOT, env=ansible_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip

    def play(self, name: str, *options: str, ok: bool = True, **values: Any) -> str:
        output, _ = (process := self.start(name, *options, **values)).communicate(timeout=580)
        assert (process.returncode == 0) is ok and "Traceback" not in output, output
        return " ".join(output.split())

    def tune(self, *options: str, ok: bool = True, **values: Any) -> str:
        return self.play("playbooks/tune.yml", *options, ok=ok, **{"candidates": CANDIDATES, **values})

    def killed(self, *words: str, wait: float = 0.0, sees: str = "") -> None:
        """Run it until lines with these words have come, one after another, and the file `sees` is there; then end it with all that it has started."""
        process = self.start("playbooks/tune.yml", candidates=CANDIDATES)
        for one in words:
            wait_for(process, one)
        until(lambda: not sees or (self.base / sees).exists(), 240)
        time.sleep(wait)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)

    def trials(self) -> list[Any]:
        return list(json.loads((self.root / "services/demo/tune.json").read_text())["trials"])

    def serves(self) -> Any:
        """max_num_seqs of the process that runs."""
        run = releases.running_release(str(self.root), "demo")
        folder = self.root / "services/demo/releases"
        return run and yaml.safe_load((folder / run["release"] / "serve.yaml").read_text())["max-num-seqs"]


CANDIDATES = [{"max_num_seqs": 200}, {"max_num_seqs": 48}, {"max_num_seqs": 16}]


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory, tools: Path) -> Iterator[Site]:
    yield from with_tools(Site(tmp_path_factory.mktemp("t")), tools)


@pytest.mark.slow
def test_a_search_killed_in_every_phase_goes_on_and_the_service_is_put_back(site: Site) -> None:
    site.play("deploy.yml")
    first = releases.running_release(str(site.root), "demo")
    assert first and site.serves() == 16
    # What would be tried, and nothing else. Rows that no plan would take, and callers, are known before the first restart.
    told = site.tune("--check")
    assert "3 candidates, at most 20 minutes" in told and "max_num_seqs 48" in told
    assert "use the row's key 'port'" in site.tune(ok=False, candidates=[{"port": 4}])
    (site.base / "running").write_text("2")
    assert "has callers: 2 requests run or wait" in site.tune(ok=False)
    (site.base / "running").write_text("0")
    assert (
        releases.running_release(str(site.root), "demo") == first
        and not (site.root / "services/demo/tune.json").exists()
    )

    site.killed("trial 2,", wait=1.0)  # while the second one, which can't start, is being started
    assert [one["candidate"] for one in site.trials()] == ["as it runs"]
    (site.base / "slow").touch()
    site.killed("trial 3, max_num_seqs 48", sees="loading")
    before = site.trials()
    assert site.serves() == 48 and len(before) == 2 and "out of memory" in before[1]["problem"].lower()
    (site.base / "slow").unlink()
    site.play("deploy.yml")  # puts the service back, too
    assert site.serves() == 16
    site.killed("trial 3, max_num_seqs 48", "TASK [Serve what the plan says again", "TASK [swap : Release and run demo")
    assert len(site.trials()) == 3 and site.table.read_text() == TABLE

    told = site.tune()
    assert "max_num_seqs 48 is the fastest (+200 %)" in told and "out of memory" in told.lower()
    assert site.serves() == 16 and not (site.root / "services/demo/tune.json").exists()
    assert (
        releases.earlier(str(site.root / "services/demo"), first["release"]) is None
    )  # no trial is a release to return to
    assert site.table.read_text() == TABLE.replace("max_num_seqs: 16  # a guess", "max_num_seqs: 48  # a guess")
    assert "- max_num_seqs: 16 # a guess + max_num_seqs: 48 # a guess" in told
    report = json.loads((site.base / "reports/one/tunes/demo-test.json").read_text())
    assert report["trials"][:2] == before and report["winner"] == "max_num_seqs 48" and report["result"] == "settled"
    assert "<svg" in (site.base / "reports/one/tunes/demo-test.html").read_text()
    # No prompts twice: an earlier load's would lie in the prefix cache.
    seeds = [line for line in (site.base / "measured").read_text().splitlines() if line.startswith("48")]
    assert len(seeds) == len(set(seeds)) == 3
