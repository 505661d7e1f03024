"""benchmark: a load by the engine's own client, never while callers are there, with intervals, plots and a comparison by name."""

from __future__ import annotations

import json
import os
import threading
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.serving.service import bench, bench_page
from conftest import load
from ports import free_port

Run = Callable[..., dict[str, Any]]
# Stands for `vllm`: keeps its words and its key, writes a result as the client does, and counts what it asked at the server.
CLIENT = """#!/bin/sh
printf '%s\\n' "$@" > "$SEEN/words"; printf '%s' "$OPENAI_API_KEY" > "$SEEN/key"
while [ $# -gt 0 ]; do case $1 in --result-dir) dir=$2;; --num-prompts) count=$2;; --seed) seed=$2;; esac; shift; done
[ -e "$SEEN/hang" ] && sleep 60
[ -e "$SEEN/fail" ] && { echo 'ValueError: no such tokenizer' >&2; exit 3; }
echo $((count + 1)) >> "$SEEN/asked"
echo '{"output_throughput": '$((100 + seed % 10))', "request_throughput": 2.5, "mean_ttft_ms": 30, "p99_ttft_ms": 90, "failed": 1}' > $dir/result.json
"""


class Site:
    """A service that counts requests, and its environment's client."""

    def __init__(self, base: Path) -> None:
        self.root, self.seen, self.port = base / "srv", base / "seen", free_port()
        self.running, self.others, self.counts = 0, 0, True
        folder = self.root / "services/demo"
        (folder / "releases/abc").mkdir(parents=True)
        self.seen.mkdir()
        (base / "env/bin").mkdir(parents=True)
        (base / "env/bin/vllm").write_text(CLIENT)
        (base / "env/bin/vllm").chmod(0o755)
        spec = {"service": "demo", "endpoint": f"http://127.0.0.1:{self.port}", "served_name": "demo", "env_path": str(base / "env"), "api_key": True,
                "container": None, "model": {"name": "demo", "path": "/models/demo"}}  # fmt: skip
        (folder / "releases/abc/spec.json").write_text(json.dumps(spec))
        (folder / "current").symlink_to("releases/abc")
        (folder / "api_key").write_text("k" * 32 + "\n")
        site = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args: Any) -> None:
                pass

            def do_GET(self) -> None:
                good = self.headers.get("Authorization") == "Bearer " + "k" * 32
                text = (
                    site.metrics()
                    if self.path == "/metrics"
                    else json.dumps({"data": [{"id": "demo", "max_model_len": 1024}]})
                )
                text = text.encode() if good else b""
                self.send_response(200 if good else 401)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def metrics(self) -> str:
        if not self.counts:
            return "other 1\n"
        asked = sum(map(int, (self.seen / "asked").read_text().split())) if (self.seen / "asked").exists() else 0
        self.others += self.stranger if hasattr(self, "stranger") else 0
        return (f'vllm:num_requests_running{{engine="0"}} {self.running}\nvllm:num_requests_waiting{{engine="0"}} 0\n'
                f'vllm:request_success_total{{reason="stop"}} {asked + self.others}\nvllm:request_success_total{{reason="length"}} 0\n')  # fmt: skip


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    found = Site(tmp_path)
    module = load("library/benchmark.py")
    monkeypatch.setattr(module, "LOOK", 0.0)
    monkeypatch.setattr(module.releases, "running_release", lambda root, name: {"release": "abc", "pid": os.getpid()})
    monkeypatch.setenv("SEEN", str(found.seen))
    yield found
    found.server.shutdown()
    found.server.server_close()


def measure(run: Run, site: Site, check: bool = False, **given: Any) -> dict[str, Any]:
    return run("benchmark", {"name": "demo", "serving_root": str(site.root), "program": "vllm", **given}, check=check)


def test_a_level_is_measured_with_its_interval_and_the_key_is_in_no_argument(run_module: Run, site: Site) -> None:
    result = measure(run_module, site, concurrency=4, requests=12, prompt_length=64, output_length=16)
    figure = result["level"]["figures"]["output_tokens_per_second"]
    assert (figure["mean"], figure["n"], figure["half"]) == (101.0, 3, pytest.approx(2.483, abs=0.01))
    assert (
        result["level"]["failed"] == 3
        and result["others"] == 0
        and result["release"] == "abc"
        and not result["changed"]
    )
    words = (site.seen / "words").read_text().splitlines()
    assert (site.seen / "key").read_text() == "k" * 32 and not any("kkk" in word for word in words)
    for option, value in (
        ("--max-concurrency", "4"),
        ("--random-input-len", "64"),
        ("--random-output-len", "16"),
        ("--num-prompts", "12"),
    ):
        assert words[words.index(option) + 1] == value
    assert measure(run_module, site, repeats=1)["level"]["figures"]["ttft_ms_p99"] == {
        "mean": 90.0,
        "half": None,
        "n": 1,
    }


def test_prompts_that_the_context_has_no_room_for_are_refused(run_module: Run, site: Site) -> None:
    said = measure(run_module, site, prompt_length=1000, output_length=64)
    assert (
        "prompts of 1000 tokens with answers of 64 don't fit into the 1024 tokens of service 'demo'; -e prompt_length=952"
        in said["msg"]
    )
    assert not (site.seen / "words").exists()


def test_a_list_of_models_that_is_too_deep_refuses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    module = load("library/benchmark.py")
    monkeypatch.setattr(module, "page", lambda *_: "[" * 100_000)
    given = {"prompt_length": 1, "output_length": 1, "prompts": None}
    assert module.check_lengths({"service": "demo"}, None, given) is None


def test_prompts_of_a_file_and_a_rate(run_module: Run, site: Site, tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text('{"prompt": "a"}\n')
    measure(run_module, site, prompts=str(tmp_path / "p.jsonl"), rate=2.5, repeats=1)
    words = (site.seen / "words").read_text().splitlines()
    assert words[words.index("--dataset-name") + 1] == "custom" and words[words.index("--request-rate") + 1] == "2.5"
    assert "--max-concurrency" not in words and words[words.index("--num-prompts") + 1] == "75"


def test_embeddings_are_measured_as_such_and_other_kinds_are_refused(run_module: Run, site: Site) -> None:
    spec = site.root / "services/demo/releases/abc/spec.json"
    given = json.loads(spec.read_text())
    spec.write_text(json.dumps({**given, "check": {"kind": "embedding"}}))
    measure(run_module, site, repeats=1)
    words = (site.seen / "words").read_text().splitlines()
    assert (
        words[words.index("--backend") + 1] == "openai-embeddings"
        and words[words.index("--endpoint") + 1] == "/v1/embeddings"
    )
    assert words[words.index("--percentile-metrics") + 1] == "e2el" and "--ignore-eos" not in words
    # What vLLM 0.32's client says of embeddings: no tokens are written, and every figure of these is left out.
    told = {"request_throughput": 9.5, "total_token_throughput": 800.0, "output_throughput": 0, "p99_e2el_ms": 12.0}
    assert bench.figures(told) == {"requests_per_second": 9.5, "tokens_per_second": 800.0, "e2el_ms_p99": 12.0}
    spec.write_text(json.dumps({**given, "check": {"kind": "rerank"}}))
    assert "service 'demo' is for rerank; a load is there for" in measure(run_module, site)["msg"]


def test_callers_are_not_disturbed_unless_it_is_said(run_module: Run, site: Site) -> None:
    site.running = 2
    said = measure(run_module, site)
    assert (
        said["failed"] and "has callers: 2 requests run or wait" in said["msg"] and not (site.seen / "words").exists()
    )
    assert not measure(run_module, site, despite_callers=True, repeats=1)["failed"]
    site.running, site.stranger = 0, 5
    assert "5 were answered within" in measure(run_module, site)["msg"]
    assert measure(run_module, site, despite_callers=True, repeats=1)["others"] == 5  # who came meanwhile is counted
    site.counts = False
    assert "nobody can tell whether callers are there" in measure(run_module, site)["msg"]


def test_the_single_tokens_that_gateways_ask_for_are_no_callers() -> None:
    """Metrics of vLLM 0.32 behind a gateway, whose health checks are answered every few seconds."""
    text = (
        'vllm:num_requests_running{engine="0",model_name="demo"} 1.0\nvllm:num_requests_waiting{engine="0",model_name="demo"} 0.0\n'
        'vllm:request_success_total{engine="0",finished_reason="stop",model_name="demo"} 3.0\n'
        'vllm:request_success_total{engine="0",finished_reason="length",model_name="demo"} 41.0\n'
        'vllm:request_params_max_tokens_bucket{engine="0",le="1.0",model_name="demo"} 40.0\n'
        'vllm:request_params_max_tokens_bucket{engine="0",le="10.0",model_name="demo"} 44.0\n'
    )
    assert bench.load_of(text) == (1.0, 4.0)
    assert bench.load_of(text.replace('le="1.0"', 'le="2.0"')) == (1.0, 44.0)


def test_check_mode_only_says_whether_it_would_be_allowed(run_module: Run, site: Site) -> None:
    assert not measure(run_module, site, check=True)["failed"] and not (site.seen / "words").exists()
    site.running = 1
    assert measure(run_module, site, check=True)["failed"]


def test_a_client_that_fails_or_hangs_is_told_and_leaves_nothing(run_module: Run, site: Site) -> None:
    (site.seen / "fail").touch()
    assert "ended with code 3 and gave no result: ValueError: no such tokenizer" in measure(run_module, site)["msg"]
    (site.seen / "fail").unlink()
    (site.seen / "hang").touch()
    assert "one repeat took more than 1 s" in measure(run_module, site, limit=1)["msg"]


def level(concurrency: int, speed: float, half: float | None = 1.0) -> dict[str, Any]:
    figures = {name: {"mean": speed, "half": half, "n": 3} for name, _ in bench_page.SHOWN}
    return {
        "level": {
            "concurrency": concurrency,
            "rate": 0,
            "prompt_length": 64,
            "output_length": 16,
            "failed": 0,
            "figures": figures,
        },
        "others": 0,
        "release": "abc",
    }


def report(run: Run, folder: Path, name: str, speeds: list[float], **given: Any) -> dict[str, Any]:
    levels = [level(4**n, speed, given.pop("half", 1.0)) for n, speed in enumerate(speeds)]
    return run(
        "benchmark_report",
        {
            "folder": str(folder),
            "run": name,
            "service": "demo",
            "host": "h<1>",
            "written": "now",
            "levels": levels,
            **given,
        },
        check=False,
    )


def test_runs_are_compared_by_name_and_chance_is_said(run_module: Run, tmp_path: Path) -> None:
    assert "there are: none" in report(run_module, tmp_path, "a", [100.0], against="x")["msg"]
    report(run_module, tmp_path, "one", [100.0, 300.0])
    second = report(run_module, tmp_path, "two", [101.0, 330.0], against="one")
    moved = {(one["level"], one["name"]): one for one in second["changes"]}
    assert moved["1 at once", "output_tokens_per_second"] == {
        "percent": 1.0, "half": 1.4, "sure": False, "level": "1 at once", "name": "output_tokens_per_second", "title": "tokens a second, all requests",
    }  # fmt: skip
    assert (
        moved["4 at once", "output_tokens_per_second"]["sure"]
        and "+10.0 % ± 0.5" in second["text"]
        and "may be chance" in second["text"]
    )
    assert "there are: one, two" in report(run_module, tmp_path, "c", [1.0], against="three")["msg"]
    assert "may have letters" in report(run_module, tmp_path, "../x", [1.0])["msg"]
    (tmp_path / "demo-bad.json").write_text("{")
    assert "there is no run 'bad'" in report(run_module, tmp_path, "d", [1.0], against="bad")["msg"]


def test_the_pages_plots_are_whole_and_what_it_names_is_escaped(run_module: Run, tmp_path: Path) -> None:
    report(run_module, tmp_path, "one", [100.0, 300.0, 320.0])
    report(run_module, tmp_path, "two", [90.0, 310.0, 400.0], against="one")
    html = (tmp_path / "demo-two.html").read_text()
    assert "h&lt;1&gt;" in html and "h<1>" not in html
    drawings = ["<svg" + part.split("</svg>")[0] + "</svg>" for part in html.split("<svg")[1:]]
    assert len(drawings) == len(bench_page.PLOTS)
    for drawing in drawings:
        tree = ElementTree.fromstring(drawing)
        assert len(tree.findall("polyline")) == 2 and len(tree.findall("circle")) == 6  # this run and the earlier one
        for circle in tree.findall("circle"):
            assert (
                0 <= float(circle.get("cy", "-1")) <= bench_page.HEIGHT
                and 0 <= float(circle.get("cx", "-1")) <= bench_page.WIDTH
            )


def test_sums_over_engines_and_odd_metrics() -> None:
    text = 'vllm:num_requests_running{engine="0"} 1.0\nvllm:num_requests_running{engine="1"} 2.0\n# vllm:x 3\n'
    assert bench.load_of(text) == (3.0, None) and bench.load_of("") == (None, None)
    assert bench.difference({"mean": 1, "half": 1}, {"mean": 0, "half": 1}) is None


# Stands for docker: an exec runs here, with the environment that was named, and the container's /config and /tmp/benchmark below a folder of the test.
DOCKER = """#!/bin/sh
printf '%s\\n' "$*" >> "$SEEN/docker"
[ "$1" = inspect ] && { echo "$NETWORK"; exit; }
while [ "$1" != box ]; do shift; done
shift
for word in "$@"; do set -- "$@" "$(printf %s "$word" | sed "s#/config/#$INSIDE/config/#g; s#/tmp/benchmark#$INSIDE/benchmark#g")"; shift; done
exec "$@"
"""


@pytest.mark.parametrize(("network", "activate"), [("bridge", ""), ("host", "export ENTERED=yes")])
def test_in_a_container_the_client_is_the_images_own(
    run_module: Run, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: str, activate: str
) -> None:
    inside, tools = tmp_path / "inside", tmp_path / "tools"
    (inside / "config").mkdir(parents=True)
    (inside / "config/environment").write_text("export OF_THE_IMAGE=1\n")
    tools.mkdir()
    for name, text in (("docker", DOCKER), ("vllm", CLIENT.replace("#!/bin/sh", '#!/bin/sh\nenv > "$SEEN/env"'))):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setenv("INSIDE", str(inside))
    monkeypatch.setenv("NETWORK", network)
    path = site.root / "services/demo/releases/abc/spec.json"
    spec = {**json.loads(path.read_text()), "container": "box", "endpoint": f"http://localhost:{site.port}"}
    path.write_text(json.dumps(spec))
    (tmp_path / "p.jsonl").write_text('{"prompt": "a"}\n')
    result = measure(run_module, site, repeats=2, activate=activate, prompts=str(tmp_path / "p.jsonl"))
    assert result["level"]["figures"]["output_tokens_per_second"]["n"] == 2
    words = (site.seen / "words").read_text().splitlines()
    own = "localhost" if network == "host" else "127.0.0.1"
    assert words[words.index("--base-url") + 1] == f"http://{own}:{site.port}"
    assert words[words.index("--tokenizer") + 1] == "/models/demo"
    seen = (site.seen / "env").read_text().splitlines()
    assert "OF_THE_IMAGE=1" in seen and ("ENTERED=yes" in seen) is bool(activate)
    assert "k" * 32 not in (site.seen / "docker").read_text() and not (inside / "benchmark").exists()
