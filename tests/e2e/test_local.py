"""The main job, for real: `deploy.yml -l local` with a real vLLM for CPU, installed and started once.

The tests run in the order in which they stand and share one serving root: an environment takes a minute
to install and a server half a minute to start, so every check of a running server uses the same one.
"""

from __future__ import annotations

import concurrent.futures
import json
import os
import random
import re
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gated
import measured
import pytest
from ansible.module_utils.serving.service import probe
from conftest import DEMO, ROOT, ansible_environment
from hub import COMMIT, Hub
from ports import free_port
from routes import METHODS, routes, upgraded
from runner import Playbooks, wait_for


class Site(Playbooks):
    """One serving root, one port, and ansible-playbook runs against them."""

    host = "localhost"

    def __init__(self, base: Path) -> None:
        self.root, self.reports, self.pins = base / "srv", base / "reports", base / "pins.json"
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"

    def command(self, name: str, *options: str, **override: Any) -> list[str]:
        values = {"serving_root": str(self.root), "reports_dir": str(self.reports), "pins_file": str(self.pins)}
        row = {"port": self.port, "env": {"CXX": "/nowhere"}, **override}  # a machine without a C++ compiler
        extra = {**values, "supervisor": "supervisord", "overrides": {"demo": row}}
        return ["ansible-playbook", name, "-l", "local", "-e", json.dumps(extra), *options]

    def env(self) -> Path:
        """The engine's environment, by the name that leads to it."""
        return next(path for path in (self.root / "envs").iterdir() if path.is_symlink())

    def key(self) -> str:
        return (self.root / "services/demo/api_key").read_text().strip()

    def processes(self) -> list[int]:
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    if os.readlink(entry / "cwd").startswith(str(self.root / "services")):
                        found.append(int(entry.name))
                except OSError:
                    continue
        return found

    def status(self) -> str:
        output = self.run("playbooks/status.yml", ok=None)
        return next(line.strip() for line in output.splitlines() if re.match(r"\s*localhost +demo", line))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("e"))
    yield site
    command = site.command("playbooks/uninstall.yml", "-e", "service=demo")
    subprocess.run(command, cwd=ROOT, env=ansible_environment(), capture_output=True)


def test_check_on_a_fresh_machine_completes_and_changes_nothing(site: Site) -> None:
    output = site.run("deploy.yml", "--check", "--diff")
    assert site.changed(output) == 4  # tools, engine's environment, weights, service: would be made
    assert not site.root.exists() and not site.reports.exists()


@pytest.mark.parametrize(
    ("phase", "words", "number"),
    [
        ("preflight", "TASK [Does the plan fit", signal.SIGKILL),
        ("prepare", "TASK [python_runtime : Make the tools", signal.SIGKILL),
        ("prepare", "TASK [python_runtime : Make the engine", signal.SIGKILL),
        ("prepare", "TASK [python_runtime : Make the engine", signal.SIGINT),
        ("fetch", "TASK [weights : Publish", signal.SIGKILL),
        ("serve", "TASK [swap : Release and run", signal.SIGKILL),
    ],
)
def test_ended_in_a_phase(site: Site, phase: str, words: str, number: int) -> None:
    """kill -9 and Ctrl-C in each phase; the deploys after this one start from what each of them left behind."""
    process = site.start("deploy.yml")
    # A task's line is printed when its workers start; with the tools made anew, engine and weights take seconds.
    wait_for(process, words)
    time.sleep(1.0)
    os.killpg(process.pid, number)
    process.communicate(timeout=60)
    assert process.returncode != 0


def test_killed_while_verifying_and_two_deploys_at_once(site: Site) -> None:
    process = site.start("deploy.yml")
    wait_for(process, "TASK [verify : Ask the services")  # an engine that is ready by now has no progress to tell
    second = site.run("deploy.yml", ok=False)
    flat = " ".join(second.split())
    assert "another deploy is running on this host" in flat and "break_lock=true" in flat
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)


def test_the_next_run_succeeds_and_reports(site: Site) -> None:
    output = site.run("deploy.yml")
    assert f"demo is ready at {site.endpoint}/v1" in output
    assert re.search(r"answered +172", output)
    assert "first token after" in output and "curl -s" in output
    assert site.key() not in output
    report = json.loads((site.reports / "localhost/report.json").read_text())
    row = report["services"][0]
    assert report["host"] == "localhost" and report["accelerator"]["cpu"]["threads"] >= 1
    assert row["service"] == "demo" and row["endpoint"] == site.endpoint and row["served_name"] == "demo"
    assert row["answer"] == "172" and row["timings"]["ready_seconds"] > 0 and row["timings"]["first_token_seconds"] > 0
    page = (site.reports / "localhost/report.html").read_text()
    assert "172" in page and "1 of 1 services answer" in page
    assert not re.search(r"""(?:src|href)=["']|@import|url\(""", page), "the page must not load anything"
    for text in (page, json.dumps(report)):
        assert site.key() not in text


def test_the_deploy_ends_with_a_verdict_against_an_h100(site: Site) -> None:
    """vLLM for CPU against sums that an H100 answered: judged by the deploy before, kept, and asked again by hand."""
    report = json.loads((site.reports / "localhost/report.json").read_text())
    judged = report["verdicts"]["demo"]
    assert judged["verdict"] == "EQUIVALENT" and judged["strength"] == "" and judged["pack"]["name"] == "demo-h100"
    found = {row["metric"]: row for row in judged["findings"]}
    assert found["divergence at 32"]["n"] == 400 and found["divergence at 32"]["high"] < 0.0001
    assert found["score at 32"]["verdict"] == "EQUIVALENT" and judged["disagreeing"] <= 2
    assert "EQUIVALENT</span> against demo-h100" in (site.reports / "localhost/report.html").read_text()
    output = site.run("deploy.yml")
    assert site.changed(output) == 0 and "its verdict is kept" in " ".join(output.split())
    assert "its verdict is kept" not in " ".join(site.run("playbooks/judge.yml", "-e", "service=demo").split())


def test_a_release_with_sampling_of_its_own_is_incomparable_and_fails_where_a_verdict_is_required(site: Site) -> None:
    """What generation_config.json adds changes what callers get, and no probability shows it."""
    own = {"override_generation_config": {"repetition_penalty": 3.0}}
    check = {"prompt": "What is 127 + 45?", "expect": "2"}  # with such a penalty the sum itself comes out wrong
    output = site.run("deploy.yml", ok=False, engine_args=own, judge_required=True, check=check)
    flat = " ".join(output.split())
    assert (
        "INCOMPARABLE against demo-h100" in flat
        and "repetition_penalty" in flat
        and "was started again and answers" in flat
    )
    assert site.changed(site.run("deploy.yml")) == 0


def test_it_is_measured_and_tuned(site: Site) -> None:
    measured.load_curve(site, site.reports)
    measured.sweep(site, site.reports)


@pytest.mark.soak
def test_it_is_upgraded_behind_a_gateway(site: Site, tmp_path_factory: pytest.TempPathFactory) -> None:
    gated.for_real(tmp_path_factory.mktemp("g"), site.root, site.env())


def test_a_second_run_changes_nothing(site: Site) -> None:
    before = site.processes()
    assert site.changed(site.run("deploy.yml")) == 0
    assert site.changed(site.run("deploy.yml", "--check")) == 0
    assert site.processes() == before


def test_an_environment_that_is_given_is_used_and_left_alone(site: Site) -> None:
    env = site.env()
    before = site.processes()
    output = site.run("deploy.yml", native_env=str(env))
    assert site.changed(output) == 0 and site.processes() == before
    assert (
        f"(item={env})" in output and "Make the engine's environment" not in output.split("Check the environments")[1]
    )
    output = site.run("deploy.yml", ok=False, native_env="/nowhere")
    assert "native_env /nowhere has no bin/vllm" in output


def test_status_is_one_line_a_service(site: Site) -> None:
    line = site.status()
    assert re.match(
        rf"localhost +demo +ready +demo +[0-9a-f]{{12}} +{site.endpoint} +.*ok: '172' +{site.root}/logs/demo.log", line
    )


def score_of(site: Site) -> int:
    """How many of 200 sums are right. 97.8 % is the card's; 184 is five standard deviations below."""
    rng = random.Random(5)
    sums = [(rng.randrange(1000), rng.randrange(1000)) for _ in range(200)]

    def right(pair: tuple[int, int]) -> bool:
        a, b = pair
        return bool(
            probe.chat(site.endpoint, site.key(), "demo", f"What is {a} + {b}?", 16, 60)["answer"] == str(a + b)
        )

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        return sum(pool.map(right, sums))


def test_it_adds_and_asks_for_its_key(site: Site) -> None:
    """The accuracy of the card, through the real server; weights are bf16 and so is its arithmetic."""
    assert score_of(site) >= 184
    assert probe.ask(site.endpoint, "GET", "/v1/models", None)[0] == 401
    with pytest.raises(probe.NotYet, match="API key is refused"):
        probe.models(site.endpoint, "wrong")


def test_secrets_and_sockets_stay_in(site: Site) -> None:
    assert stat.S_IMODE((site.root / "services/demo/api_key").stat().st_mode) == 0o600
    for pid in site.processes():
        assert site.key().encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
    assert site.key() not in (site.root / "logs/demo.log").read_text()
    listening = subprocess.run(["ss", "-ltnpH"], capture_output=True, text=True, check=False).stdout
    pids = "|".join(map(str, site.processes()))
    for line in listening.splitlines():
        if re.search(rf"pid=({pids}),", line):
            assert re.match(r"LISTEN +\d+ +\d+ +(127\.0\.0\.1|\[::1\]|\[::ffff:127)", line), line


def test_a_key_is_rotated_with_a_time_in_which_both_count(site: Site) -> None:
    old = site.key()
    output = site.run("playbooks/rotate_key.yml", "-e", "service=demo")
    new, second = site.key().split()
    assert "both keys count" in output and second == old and new not in output
    for key, status in ((new, 200), (old, 200), ("wrong", 401)):
        assert probe.ask(site.endpoint, "GET", "/v1/models", key)[0] == status
    log = (site.root / "logs/demo.log").read_text()
    assert new not in log and old not in log
    for pid in site.processes():
        assert new.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
    assert "one key counts" in site.run("playbooks/rotate_key.yml", "-e", "service=demo", "-e", "finish=true")
    assert site.key() == new and probe.ask(site.endpoint, "GET", "/v1/models", old)[0] == 401


def test_no_route_of_the_engine_answers_without_its_key(site: Site) -> None:
    """Every route that this vLLM has in its source, and every one that it says it serves, with every method and three wrong keys."""
    [package] = site.env().glob("lib/python3*/site-packages/vllm")
    source = routes(package / "entrypoints")
    assert len(source) >= 30 and {"/tokenize", "/invocations", "/v1/chat/completions"} <= source, sorted(source)
    # Releases switch the schema off: switched on by hand, and opened to whoever has the key, the server itself says what it routes.
    opened_paths: list[str] = ["/openapi.json", "/tokenize"]
    site.run("deploy.yml", paths=opened_paths)
    [row] = json.loads((site.reports / "localhost/report.json").read_text())["services"]
    assert row["exposure"]["asked"] > 20 and row["exposure"]["open"] == []
    config = site.root / "services/demo/current/serve.yaml"
    text = config.read_text()
    assert "disable-fastapi-docs: true" in text
    config.write_text(text.replace("disable-fastapi-docs: true", "disable-fastapi-docs: false"))
    site.run("playbooks/restart.yml", "-e", "service=demo", paths=opened_paths)
    status, body = probe.ask(site.endpoint, "GET", "/openapi.json", site.key())
    assert status == 200
    served = set(json.loads(body)["paths"])
    assert {"/tokenize", "/invocations", "/v1/chat/completions", "/health"} <= served
    more = {
        "/metrics",
        "/metrics/",
        "/docs",
        "/redoc",
        "/openapi.json",
        "/nowhere",
        "//invocations",
        "/v1/../invocations",
        "/%69nvocations",
        "/INVOCATIONS",
    }
    opened = 0
    for path in sorted(re.sub(r"{[^}]*}", "x", path) for path in source | served | more):
        for method in METHODS:
            for key in (None, "wrong", site.key()[:-1]):
                status, body = probe.ask(site.endpoint, method, path, key, {} if method == "POST" else None)
                if path == "/health" and method in ("GET", "HEAD"):
                    continue
                assert status == 401, f"{method} {path} with key {key!r}: HTTP {status}: {body[:200]!r}"
                opened += 1
    assert opened > 1000
    for path in ("/invocations", "/version", "/load", "/docs", "/scale_elastic_ep", "/v1/load_lora_adapter"):
        assert probe.ask(site.endpoint, "POST", path, site.key(), {})[0] == 404  # with the key either
    assert probe.ask(site.endpoint, "POST", "/tokenize", site.key(), {"model": "demo", "prompt": "x"})[0] == 200
    assert b"vllm:" in probe.ask(site.endpoint, "GET", "/metrics", site.key())[1]
    for path in ("/v1/realtime", "/v1/models", "/health"):
        assert upgraded(site.port, path, None) == 403 and upgraded(site.port, path, "wrong") == 403
    site.run("deploy.yml")


def test_kill_9_comes_back_without_leftovers(site: Site) -> None:
    before = site.processes()
    engine = next(
        p
        for p in before
        if b"serve" in Path(f"/proc/{p}/cmdline").read_bytes()
        and b"bin/vllm" in Path(f"/proc/{p}/cmdline").read_bytes()
    )
    assert len(before) >= 4  # runner, API server, EngineCore, worker
    os.kill(engine, signal.SIGKILL)
    until = time.monotonic() + 60
    while set(before) & set(site.processes()) - {before[0]} and time.monotonic() < until:
        time.sleep(0.5)
    output = site.run("deploy.yml", "--tags", "verify")
    assert re.search(r"answered +172", output)
    left = set(before) & set(site.processes())
    assert engine not in left and len(left) <= 1  # at most the runner's number was used again


def test_stop_drains_and_leaves_no_process(site: Site) -> None:
    assert site.changed(site.run("playbooks/stop.yml", "-e", "service=demo")) == 1
    assert site.processes() == []
    assert re.match(r"localhost +demo +stopped", site.status())
    assert site.changed(site.run("playbooks/stop.yml", "-e", "service=demo")) == 0


def test_an_option_that_the_engine_does_not_know_is_explained(site: Site) -> None:
    # The version of a person's own environment isn't known, so that the plan only warns.
    environment = str(site.env())
    option = {"unheard_of_option": 1}
    output = site.run("deploy.yml", ok=False, engine_args=option, native_env=environment, restart_limit=0)
    assert "unrecognized arguments" in output
    assert "What that means: this release of the engine has no option engine_args.unheard" in " ".join(output.split())
    assert str(site.root / "logs/demo.log") in output
    report = json.loads((site.reports / "localhost/report.json").read_text())
    assert report["services"][0]["ready"] is False and "demo is NOT ready" in output
    assert "0 of 1 services answer" in (site.reports / "localhost/report.html").read_text()


def test_a_service_that_never_gets_ready_fails_within_its_limit(site: Site) -> None:
    began = time.monotonic()
    output = site.run("deploy.yml", ok=False, ready_timeout=6)
    assert time.monotonic() - began < 300  # with the way back to the release that answered
    flat = " ".join(output.split())
    assert (
        re.search(r"service '+demo'+ is not ready after", flat)
        and "last stage:" in flat
        and "Last lines of its log" in flat
    )


def test_a_good_row_heals_it_with_weights_of_a_hub_as_fp16(site: Site) -> None:
    """Fetched through the hub's real client, converted on the way, served: it still adds."""
    hub = Hub(DEMO)
    try:
        models = {"demo": {"sources": {"directory": None, "modelscope": {"repo": "org/demo"}}}}
        values = json.dumps({"models": models, "modelscope_endpoint": hub.url})
        assert site.changed(site.run("deploy.yml", "-e", values, convert="float16")) >= 2
        assert json.loads(site.pins.read_text())["pins"]["models"]["demo"]["modelscope"] == COMMIT
        hub.requests.clear()
        assert site.changed(site.run("deploy.yml", "-e", values, "-e", f"@{site.pins}", convert="float16")) == 0
        assert not hub.requests
    finally:
        hub.close()
    assert " ready " in site.status()
    output = site.run("playbooks/logs.yml", "-e", "service=demo", "-e", "lines=5")
    assert str(site.root / "logs/demo.log") in output and "INFO" in output
    assert "dtype=torch.float16" in (site.root / "logs/demo.log").read_text()
    spec = json.loads((site.root / "services/demo/current/spec.json").read_text())
    assert spec["model"]["path"].endswith("+float16")
    assert score_of(site) >= 184


def test_a_vision_model_is_shown_an_image_and_fetches_none(site: Site) -> None:
    """A real vision model beside the demo: a red square in the request is named, a URL is refused before it is asked for."""
    port = free_port()
    values = json.dumps({"runs": ["demo-vision"], "overrides": {"demo-vision": {"port": port}}})
    output = site.run("deploy.yml", "-e", values)
    assert f"demo-vision is ready at http://127.0.0.1:{port}/v1" in output and re.search(r"an image +red", output), (
        output
    )
    key = (site.root / "services/demo-vision/api_key").read_text().strip()
    picture = {"type": "image_url", "image_url": {"url": f"{site.endpoint}/picture.png"}}
    message = {"role": "user", "content": [picture, {"type": "text", "text": probe.IMAGE_QUESTION}]}
    request = {"model": "demo-vision", "messages": [message], "max_tokens": 4}
    status, text = probe.ask(f"http://127.0.0.1:{port}", "POST", "/v1/chat/completions", key, request)
    assert status == 400 and "allowed domains" in str(text)
    site.run("playbooks/uninstall.yml", "-e", values, "-e", "service=demo-vision")
    assert re.match(r"localhost +demo +ready", site.status())


def test_uninstall_removes_what_deploy_made_and_nothing_else(site: Site) -> None:
    stranger = site.root.parent / "stranger"
    stranger.write_text("mine")
    output = site.run("playbooks/uninstall.yml", "-e", "service=demo")
    assert site.changed(output) == 2
    assert site.processes() == []
    assert not site.root.exists(), list(site.root.rglob("*"))[:20]
    assert stranger.read_text() == "mine"
    assert site.changed(site.run("playbooks/uninstall.yml", "-e", "service=demo")) == 0
