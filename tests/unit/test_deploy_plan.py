"""plan.yml: what it says is what --check says and what deploy then does; what it shows of hosts with GPUs, and that it changes nothing."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.serving.service import steps
from ansible.module_utils.serving.sizing import choose
from conftest import ROOT, ansible_environment, load
from test_choices import planned, record
from test_deploy import Site, site  # noqa: F401

page = load("filter_plugins/plan_page.py")


def tree(root: Path) -> dict[str, Any]:
    """Everything below a folder: names, and of files their content; sockets, logs and what a running service writes are left out."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if (
            name.startswith(("tools", "logs", "supervisor"))
            or "/tmp/" in name
            or not (path.is_file() or path.is_symlink())
        ):
            continue
        found[name] = os.readlink(path) if path.is_symlink() else path.read_bytes()
    return found


def play(at: Site, playbook: str, *options: str, **row: Any) -> str:
    """Run a playbook for the service of `at`; what it told."""
    service = {
        "port": at.port,
        "native_env": str(at.base / "env"),
        "env": {"STUB_MODE": "good"},
        "drain_timeout": 2,
        "ready_timeout": 20,
        "judge_level": "none",
        **row,
    }
    values = {
        "serving_root": str(at.root), "reports_dir": str(at.base / "reports"), "pins_file": str(at.base / "pins"), "supervisor": "supervisord",
        "probe_timeout": 5, "plan_json": str(at.base / "plan.json"), "overrides": {"demo": service},
    }  # fmt: skip
    command = ["ansible-playbook", playbook, "-l", "local", "-e", json.dumps(values), *options]
    done = subprocess.run(
        command, cwd=ROOT, env=ansible_environment(), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0 and "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
    return done.stdout


def told(at: Site, *options: str, **row: Any) -> dict[str, Any]:
    """The row of the service in plan.yml's JSON."""
    before = tree(at.root)
    play(at, "playbooks/plan.yml", *options, **row)
    assert tree(at.root) == before
    plan = json.loads((at.base / "plan.json").read_text())["localhost"]
    assert plan["problems"] == [] and (at.base / "reports/localhost/plan.html").stat().st_size > 2000
    [one] = plan["services"]
    return dict(one)


def serve_changes(output: str) -> bool:
    """Did (or would) the task that releases a service change something?"""
    after = output.split("TASK [swap : Release and run demo]", 1)[1]
    return "changed: [localhost]" in after.split("TASK [", 1)[0]


def test_the_plan_check_mode_and_the_deploy_agree(site: Site) -> None:  # noqa: F811
    new = told(site)
    assert (new["action"], new["running"]) == ("start", None)
    assert new["fetch"]["from"] == "directory" and new["fetch"]["bytes"] == 2_911_000
    assert "the service is not deployed yet" in new["why"] and "nobody serves it now" in new["gap"]["how"]
    assert serve_changes(play(site, "deploy.yml", "--skip-tags", "prepare"))
    # A changed row replaces the process. What is left to `auto` is chosen, shown, and recorded by nobody but the deploy.
    row = {"engine_args": "auto", "wishes": {"context": 512, "concurrency": 4}}
    other = told(site, **row)
    assert other["action"] == "restart" and {"- max-num-seqs: 32", "+ max-num-seqs: 4"} <= set(other["differences"])
    assert "other content of serve.yaml" in " ".join(other["why"])
    assert "as its last start took" in other["gap"]["how"] and other["gap"]["seconds"] >= 0
    chosen = {key: value for key, value in other["chosen"].items() if value is not None}
    assert (chosen["max_model_len"], chosen["max_num_seqs"]) == (512, 4) and not (site.base / "pins").exists()
    check = play(site, "deploy.yml", "--check", "--diff", "--skip-tags", "prepare", **row)
    assert serve_changes(check) and "-max-num-seqs: 32" in check and "+max-num-seqs: 4" in check
    before = site.release()
    assert serve_changes(play(site, "deploy.yml", "--skip-tags", "prepare", **row)) and site.release() != before
    assert json.loads((site.base / "pins").read_text())["pins"]["choices"]["localhost"]["demo"]["args"] == chosen
    # The same row on the same host is the same release: it stays.
    same = told(site, **row)
    assert (same["action"], same["why"], same["fetch"], same["differences"]) == ("nothing", [], None, [])
    assert same["running"]["release"] == site.release()
    # A choice that is recorded stays, though another one would be made today; replan asks for that one.
    pins = json.loads((site.base / "pins").read_text())
    pins["pins"]["choices"]["localhost"]["demo"]["args"]["max_num_seqs"] = 2
    (site.base / "pins").write_text(json.dumps(pins))
    kept = told(site, "-e", f"@{site.base / 'pins'}", **row)
    assert (kept["action"], kept["chosen"]["max_num_seqs"]) == ("restart", 2)
    anew = told(site, "-e", f"@{site.base / 'pins'}", "-e", "replan=true", **row)
    assert (anew["action"], anew["chosen"]["max_num_seqs"]) == ("nothing", 4)


def gpu_row(name: str = "qwq-32b", **args: Any) -> dict[str, Any]:
    """A row of plan.yml for a host with eight H100, as the page gets it."""
    service = planned({"tensor_parallel_size": 2, "max_model_len": 32768, **args}, name=name)
    sized = choose.explained([service], service, record(), None, ["bfloat16"], 8, [])
    return {
        "host": "gpu-01", "written": "now", "accelerator": record(), "problems": [], "disks": [], "install": [], "prepare": [], "beside": ["x is not in runs"],
        "services": [{
            "service": name, "model": name, "endpoint": "http://127.0.0.1:9010", "devices": [0, 1], "action": "restart",
            "why": ["<b>reason</b>"], "running": None,
            "fetch": {"model": name, "bytes": 65 << 30, "from": "modelscope", "place": "Qwen/QwQ-32B", "seconds": 900, "convert": None}, "adapters": [],
            "pull": {"image": "r.example/x:1", "bytes": None, "from": "registry"}, "convert": None, "gap": {"seconds": 100, "how": "about 100 s"},
            "rights": ["ipc-host"], "chosen": {}, "differences": ["- a: 1", "+ a: 2"], "sized": sized,
        }],
    }  # fmt: skip


def test_what_is_told_of_a_service_is_its_own(
    run_module: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Services may differ in a dash and a dot alone."""
    monkeypatch.setattr(steps, "row", lambda service, given: {"service": service["name"]})
    names = ("qwq-32b", "qwq.32b", "qwq_32b")
    places = {"serving_root": "/srv/vllm", "models_root": "/srv/vllm/models", "images_root": "/srv/vllm/images"}
    facts: dict[str, Any] = {}
    for name in names:
        done = run_module("deploy_plan", {**places, "service": {"name": name}, "reasons": [], "files": {}})
        facts.update(done["ansible_facts"])
    fit = {"record": {}, "problems": [], "disks": [], "sized": dict.fromkeys(names)}
    host = {"fit_found": fit, "ansible_facts": facts, "inventory_hostname": "box", "plan_beside": {"beside": []}}
    assert [row["service"] for row in page.plan_row(host)["services"]] == list(names)


def test_a_bar_is_the_whole_device_and_its_parts_are_the_tables() -> None:
    sized = gpu_row()["services"][0]["sized"]
    parts = page.bars(sized)
    assert abs(sum(part["share"] for part in parts) - 100) < 0.01
    shown = {part["what"]: part["bytes"] for part in parts}
    table = {row["what"]: abs(row["bytes"]) for row in sized["table"]}
    assert {key: shown[key] for key in ("weights", "activations", "KV cache")} == {
        key: table[key] for key in ("weights", "activations", "KV cache")
    }
    assert sum(shown.values()) == sized["device_bytes"]


def test_the_page_and_the_text_show_what_was_calculated_and_escape_what_hosts_say() -> None:
    row = gpu_row(tensor_parallel_size=None, gpu_memory_utilization=0.85)
    html = page.plan_page(row)
    assert "&lt;b&gt;reason" in html and "<b>reason" not in html and html.count('class="bar"') == 1
    assert "What can't work here" in html and "TP 1 at 0.85 leaves" in html
    text = page.plan_text(row, "p.html")
    for words in (
        "fetch 65.0 GiB of qwq-32b from modelscope Qwen/QwQ-32B, about 15 min",
        "size not known before the pull",
        "requests of full length (32768)",
    ):
        assert words in text
    assert "data sheet, not measured here" in text and "beside    x is not in runs" in text


def test_a_rate_is_measured_by_fetches_of_some_size(tmp_path: Path) -> None:
    def published(name: str, size: int, seconds: float, kind: str) -> None:
        (tmp_path / f"{name}@1").mkdir()
        manifest = {"files": {"a": {"bytes": size}}, "seconds": seconds, "source": {"kind": kind}}
        (tmp_path / f"{name}@1/.manifest.json").write_text(json.dumps(manifest))

    for name, size, seconds in (
        ("a", 10 << 30, 100.0),
        ("b", 10 << 30, 50.0),
        ("c", 10 << 30, 10.0),
        ("small", 1 << 20, 0.1),
    ):
        published(name, size, seconds, "modelscope")
    (tmp_path / "broken@1").mkdir()
    (tmp_path / "broken@1/.manifest.json").write_text("{")
    assert steps.rates(str(tmp_path)) == {"modelscope": pytest.approx((10 << 30) / 50)}
