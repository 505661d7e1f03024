"""A verdict as the last word on deploy.yml, upgrade.yml and judge.yml: an engine that answers, and unlike its reference."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.serving.service import releases
from conftest import FIXTURES, ROOT, load
from services import with_tools
from test_deploy import Site, deploy

APART = {"STUB_MODE": "good", "STUB_APART": "0.8"}


class Judged(Site):
    """A site whose demo has a reference: what it answered itself when it was good."""

    def run(self, playbook: str, *options: str, ok: bool = True, **row: Any) -> str:
        row = {
            "port": self.port, "native_env": str(self.base / "env"), "env": {"STUB_MODE": "good"}, "restart_limit": 1,
            "drain_timeout": 2, "ready_timeout": 30, "reference": "plain", **row,
        }  # fmt: skip
        values = {
            "overrides": {"demo": row}, "references_dir": str(self.base / "references"), "harness_bundle": str(self.base / "bundle"),
            "tools_python": sys.executable,
        }  # fmt: skip
        return deploy(self.base, values, *options, ok=ok, playbook=playbook)

    def record(self) -> None:
        self.run("deploy.yml", reference=None)
        pack = f"pack={self.base}/references/plain"
        self.run("playbooks/record_reference.yml", "-e", "service=demo", "-e", pack, "-e", "texts=12", reference=None)

    def verdict(self) -> Any:
        report = json.loads((self.base / "reports/localhost/report.json").read_text())
        return (report["verdicts"].get("demo") or {}).get("verdict")


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory, tools: Path) -> Iterator[Judged]:
    yield from with_tools(Judged(tmp_path_factory.mktemp("j")), tools)


def test_a_release_that_answers_unlike_its_reference_makes_way(site: Judged) -> None:
    site.record()
    assert "demo: EQUIVALENT against plain" in site.run("deploy.yml")
    good = site.release()
    assert site.verdict() == "EQUIVALENT"
    told = site.run("deploy.yml", ok=False, env=APART)
    assert site.release() == good and site.answers()
    assert f"answers unlike its reference, so release {good} was started again" in told
    assert site.verdict() == "DIFFERENT"  # of what was tried; the report says what serves
    told = site.run("playbooks/upgrade.yml", ok=False, env=APART)
    assert site.release() == good and site.answers()
    assert f"demo was not upgraded. Release {good} serves again" in told and "DIFFERENT" in told
    # By hand: the verdict that the release has is asked anew, and the report follows.
    assert "demo: EQUIVALENT against plain" in site.run("playbooks/judge.yml", "-e", "service=demo")
    assert site.verdict() == "EQUIVALENT"
    # Another release that answers alike passes, and counts as one to return to.
    site.run("playbooks/upgrade.yml", drain_timeout=3)
    assert site.release() != good and site.release() in releases.verified(str(site.root / "services/demo"))


def test_without_a_reference_a_deploy_passes_unless_a_verdict_is_required(site: Judged) -> None:
    site.run("deploy.yml", reference=None)
    assert "judge_required" in site.run("deploy.yml", ok=False, reference=None, judge_required=True)


def harness_bundle(site: Judged) -> None:
    """The harness's environment as a bundle; what stands in for evalscope is in it."""
    tree, out = site.base / "tree", site.base / "bundle"
    out.mkdir()
    shutil.copytree(FIXTURES / "evalscope_stand_in", tree, ignore=shutil.ignore_patterns("__pycache__"))
    parts = load("library/env_bundle.py").pack(str(tree), str(out), [], 10**6)
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    manifest = {
        "recipe": "1", "python": python, "arch": os.uname().machine, "parts": parts, "packages": 1, "provided": [],
    }  # fmt: skip
    (out / "bundle.json").write_text(json.dumps(manifest))


@pytest.mark.slow
def test_what_asks_data_sets_is_there_before_a_release_is_swapped(site: Judged) -> None:
    harness_bundle(site)
    questions = site.base / "sums.jsonl"
    questions.write_text("".join(json.dumps({"text": f"{n} + 1 =", "expect": str(n + 1)}) + "\n" for n in range(20)))
    site.run("deploy.yml", reference=None)
    asked = json.dumps({"pack": str(site.base / "references/plain"), "texts": 1, "sets": {"sums": str(questions)}})
    site.run("playbooks/record_reference.yml", "-e", "service=demo", "-e", asked, reference=None)
    made = list((site.root / "envs").glob("harness-*"))  # recording has made it, too
    assert made
    for path in made:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    site.run("playbooks/fetch.yml")  # a canary needs none
    assert not list((site.root / "envs").glob("harness-*"))
    site.run("playbooks/fetch.yml", judge_level="full")
    assert next((site.root / "envs").glob("harness-*/bin/python")).exists()
    for playbook in ("deploy.yml", "upgrade.yml"):
        text = (ROOT / "playbooks" / playbook).read_text()
        serves = re.search(r"import_playbook: serve|name: serve", text)
        assert serves and 0 < text.index("import_playbook: fetch.yml") < serves.start()
