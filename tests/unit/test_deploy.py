"""deploy.yml from preflight to verify, with a stub for an engine: what becomes of a good service when the new row is bad."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.serving.service import probe, releases
from conftest import ROOT, ansible_environment
from ports import free_port
from services import VLLM, with_tools


def deploy(
    base: Path, values: dict[str, Any], *options: str, ok: bool = True, path: str = "", playbook: str = "deploy.yml"
) -> str:
    """Run a playbook for this machine without `prepare`; what it told, in one line. `path`: a folder before PATH."""
    places = {
        "serving_root": str(base / "srv"), "reports_dir": str(base / "reports"), "pins_file": str(base / "pins"),
        "supervisor": "supervisord", "probe_timeout": 5,
    }  # fmt: skip
    command = ["ansible-playbook", playbook, "-l", "local", "-e", json.dumps({**places, **values})]
    environment = ansible_environment()
    if path:
        environment["PATH"] = f"{path}:{environment['PATH']}"
    done = subprocess.run(
        [*command, "--skip-tags", "prepare", *options], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False
    )  # fmt: skip
    assert (done.returncode == 0) is ok and "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
    return " ".join(done.stdout.split())


class Site:
    def __init__(self, base: Path) -> None:
        self.base, self.root, self.port = base, base / "srv", free_port()
        (base / "env/bin").mkdir(parents=True)
        (base / "env/bin/vllm").write_text(VLLM)
        (base / "env/bin/vllm").chmod(0o755)

    def deploy(self, mode: str, *options: str, ok: bool = True, **row: Any) -> str:
        row = {
            "port": self.port, "native_env": str(self.base / "env"), "env": {"STUB_MODE": mode}, "restart_limit": 1,
            "drain_timeout": 2, "ready_timeout": 20, "reference": None, **row,
        }  # fmt: skip
        return deploy(self.base, {"overrides": {"demo": row}}, *options, ok=ok)

    def release(self) -> Any:
        return (releases.running_release(str(self.root), "demo") or {}).get("release")

    def answers(self) -> bool:
        key = (self.root / "services/demo/api_key").read_text().strip()
        return bool(probe.chat(f"http://127.0.0.1:{self.port}", key, "demo", "What is 2 + 2?", 16, 5)["answer"] == "4")


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory, tools: Path) -> Iterator[Site]:
    yield from with_tools(Site(tmp_path_factory.mktemp("d")), tools)


def test_a_new_release_that_does_not_start_makes_way_for_the_one_that_did(site: Site) -> None:
    site.deploy("good")
    good = site.release()
    assert good and "changed=0" in site.deploy("good")
    told = site.deploy("crash", ok=False)
    assert site.release() == good and site.answers()
    assert re.search(rf"demo: release \w+ never answered, so release {good} was started again and answers", told)
    assert "--no-such-option" in told  # and why
    assert f"release {good} was started again" in (site.base / "reports/localhost/report.html").read_text()
    # A second bad one, and a good one after it.
    assert f"release {good} was started again" in site.deploy("garbage", ok=False) and site.answers()
    site.deploy("slow")
    assert site.release() != good


def test_without_a_release_that_answered_nothing_is_put_back(site: Site) -> None:
    first = site.deploy("crash", ok=False)
    second = site.deploy("garbage", ok=False)
    assert "was started again" not in first + second


def test_a_row_that_moves_to_a_taken_port_is_refused_before_anything_is_done(site: Site) -> None:
    site.deploy("good")
    good = site.release()
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        port = stranger.getsockname()[1]
        for options in ((), ("--check",)):
            told = site.deploy("good", *options, ok=False, port=port)
            assert f"port {port} is taken by process {os.getpid()}" in told and "TASK [serve" not in told
    assert site.release() == good and site.answers()


def test_cores_of_a_row_bind_the_engine(site: Site) -> None:
    site.deploy("good", cpus="0")
    seen = (site.root / "services/demo/tmp/seen").read_text()
    assert "Cpus_allowed_list:\t0\n" in seen and "VLLM_CPU_OMP_THREADS_BIND=0\n" in seen


def test_a_release_unlike_its_reference_goes_back_and_an_unchanged_one_keeps_its_verdict(site: Site) -> None:
    """Record what the stub says, judge it by that, and put in a release whose answers are a little apart."""
    site.deploy("good")
    pack = str(site.base / "pack")
    places = json.dumps({"serving_root": str(site.root), "references_dir": str(site.base), "texts": 36})
    command = [
        "ansible-playbook",
        "playbooks/record_reference.yml",
        "-l",
        "local",
        "-e",
        places,
        "-e",
        f"service=demo pack={pack}",
    ]
    done = subprocess.run(
        command, cwd=ROOT, env=ansible_environment(), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0 and "has 36 items of demo" in " ".join(done.stdout.split()), done.stdout + done.stderr

    told = site.deploy("good", reference=pack)
    good = site.release()
    assert "demo: EQUIVALENT against pack. It answers like its reference" in told and "verdict is kept" not in told
    told = site.deploy("good", reference=pack)
    assert "changed=0" in told and "so its verdict is kept" in told and site.release() == good

    noisy = {"reference": pack, "env": {"STUB_MODE": "good", "STUB_APART": "0.5"}}
    told = site.deploy("good", ok=False, **noisy)
    assert re.search(r"service 'demo' is DIFFERENT against pack: .*divergence at 1: at least", told)
    assert re.search(
        rf"demo: release \w+ answers unlike its reference, so release {good} was started again and answers", told
    )
    assert site.release() == good and site.answers()
    page = (site.base / "reports/localhost/report.html").read_text()
    assert "DIFFERENT</span> against pack" in page and "<svg" in page and "answers are not the same" in page


def test_what_cannot_be_judged_fails_where_a_verdict_is_required(site: Site) -> None:
    told = site.deploy("refusing", ok=False, reference="demo-h100", judge_required=True)
    assert "demo: INCOMPARABLE against demo-h100" in told and "template: the same messages become" in told
    assert "service 'demo' is INCOMPARABLE against demo-h100" in told
