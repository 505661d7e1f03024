#!/usr/bin/env python3
"""deploy.yml and its services on one real NVIDIA GPU without network, measured against the vendor documents' settings.

    python benchmarks/gpu/run.py FOLDER STAGE...      stages: smi host deploy 7b 32b gems_eager gems caches proof convert
FOLDER gets results.json (added to) and logs. The machine needs Python with torch, and below $BUNDLES what playbooks/bundle_env.yml made:
controller/ (requirements.lock), tools/ (tools.lock), vllm-gpu/ (vllm-gpu.lock). benchmarks/gpu/README.md says how the bundles were made.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import shapes
from shapes import ROOT

BUNDLES = Path(os.environ.get("BUNDLES", "/tmp/bundles"))
WORK = Path(os.environ.get("BENCH_WORK", "/tmp/gpu-bench"))
SRV = WORK / "srv"
CONCURRENCY = "1,16,64,256"
PORT = int(os.environ.get("BENCH_PORT", "9010"))  # two benchmarks on one machine: another BENCH_WORK and port
# The bundle has no flashinfer; NVLink multicast is off, since GPUs may be those of a host that others share.
ENV = {
    "VLLM_USE_FLASHINFER_SAMPLER": "0", "NCCL_NVLS_ENABLE": "0", "TORCH_SYMM_MEM_DISABLE_MULTICAST": "1", "NVSHMEM_DISABLE_NVLS": "1",
    "VLLM_ALLREDUCE_USE_SYMM_MEM": "0",
}  # fmt: skip


def shape(name: str) -> Path:
    """The folder of that shape below WORK."""
    return shapes.shape(name, WORK / "shapes" / name)


def gpus() -> tuple[int, int]:
    """(number, bytes of the first) of this machine's GPUs."""
    query = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    rows = subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()
    return len(rows), int(rows[0]) << 20


def inventory() -> Path:
    folder = WORK / "inventory"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "group_vars").symlink_to(ROOT / "inventory/group_vars")
    count, memory = gpus()
    board = {
        "name": "h100-sxm", "names": ["H100", "H200"], "count": count, "memory_bytes": memory, "runtime": "native", "device_access": None,
        "env": {"CUDA_DEVICE_MAX_CONNECTIONS": "1"}, "ready_timeout": 400, "drain_timeout": 5,
    }  # fmt: skip
    models: dict[str, Any] = {
        "demo": {"sources": {"directory": {"path": str(ROOT / "models/demo")}}, "bytes": 2_911_000, "license": "apache-2.0",
                 "check": {"prompt": "What is 127 + 45?", "expect": "172"}},
        "demo-ties": {"sources": {"directory": {"path": str(ROOT / "models/demo-ties")}}, "bytes": 1_171_000, "license": "apache-2.0"},
        **{name: {"sources": {"directory": {"path": str(WORK / "shapes" / name)}}, **shapes.row_of(name)} for name in shapes.SHAPES},
    }  # fmt: skip
    host = {
        "ansible_connection": "local", "ansible_python_interpreter": sys.executable, "serving_root": str(SRV), "supervisor": "supervisord",
        "reports_dir": str(WORK / "reports"), "references_dir": str(ROOT / "references"),
        "pins_file": str(WORK / "pins.json"), "tools_bundle": str(BUNDLES / "tools"),
        "native_bundles": {"vllm": str(BUNDLES / "vllm-gpu")}, "host_python": sys.executable, "tools_python": sys.executable,
        "board": board, "models": models, "runs": ["qwq-32b"],
    }  # fmt: skip
    (folder / "hosts.yml").write_text(json.dumps({"accelerators": {"children": {"h100": {"hosts": {"h200": host}}}}}))
    return folder


def override(model: str, **changes: Any) -> dict[str, Any]:
    """The H100 row of the vendor documents, native and with one device."""
    args = {
        "tensor_parallel_size": 1, "pipeline_parallel_size": None, "max_model_len": 8192, "enable_chunked_prefill": None,
        "trust_remote_code": None, **changes.pop("engine_args", {}),
    }  # fmt: skip
    env = {**ENV, **changes.pop("env", {})}
    if "BENCH_ENV" in os.environ:  # an environment that is there already: nothing is installed
        changes.setdefault("native_env", os.environ["BENCH_ENV"])
    if "BENCH_DEVICES" in os.environ:  # a part of the machine's GPUs: another benchmark has the others
        changes.setdefault("devices", [int(index) for index in os.environ["BENCH_DEVICES"].split(",")])
    return {
        "qwq-32b": {
            "engine": "vllm",
            "model": model,
            "served_name": model,
            "port": PORT,
            "flaggems": False,
            "engine_args": args,
            "env": env,
            **changes,
        }
    }


class Bench:
    def __init__(self, out: Path, name: str = "results.json") -> None:
        self.out, self.lock = out, threading.Lock()
        out.mkdir(parents=True, exist_ok=True)
        self.path = out / name
        self.results: dict[str, Any] = json.loads(self.path.read_text()) if self.path.exists() else {}
        self.inventory = inventory()
        for name in shapes.SHAPES:
            shape(name)

    def note(self, key: str, value: Any) -> None:
        with self.lock:  # two services may be asked at once
            self.results[key] = value
            self.path.write_text(json.dumps(self.results, indent=1) + "\n")
        print(key, json.dumps(value)[:600], flush=True)

    def play(self, book: str, *options: str, ok: bool | None = True, **values: Any) -> str:
        command = [
            sys.executable,
            "-m",
            "ansible.cli.playbook",
            "-i",
            str(self.inventory),
            book,
            "-e",
            json.dumps(values),
            *options,
        ]
        env = {
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "PYTHONPATH": str(WORK / "controller"),
            "ANSIBLE_FORCE_COLOR": "0",
        }
        done = subprocess.run(
            command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        with (self.out / "plays.log").open("a") as log:
            log.write(f"$ {book} {options} {json.dumps(values)}\n{done.stdout}\n")
        if ok is not None and (done.returncode == 0) is not ok:
            print(done.stdout[-6000:], flush=True)
            raise SystemExit(f"{book}: exit code {done.returncode}")
        return done.stdout

    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((WORK / "reports/h200/report.json").read_text())["services"][0]
        return found

    def serve(self, name: str, rows: dict[str, Any], *, tags: str = "fetch,serve,verify") -> dict[str, Any]:
        """Deploy these rows; what the report says. A setting that does not start is noted with its reason."""
        began = time.monotonic()
        self.play("deploy.yml", "--tags", tags, overrides=rows)
        row = self.report()
        log = subprocess.run(
            ["tail", "-n", "400", str(SRV / "logs/qwq-32b.log")], capture_output=True, text=True, check=False
        ).stdout
        shutil.copy(SRV / "logs/qwq-32b.log", self.out / f"{name}.log")
        tokens = re.findall(r"GPU KV cache size: ([\d,]+) tokens", log)
        return {
            "deploy_s": round(time.monotonic() - began, 1), "ready_s": row["timings"]["ready_seconds"],
            "kv_tokens": int(tokens[-1].replace(",", "")) if tokens else None,
            "flaggems": (row.get("flaggems") or {}).get("operators"), "counted": row["counted"],
        }  # fmt: skip

    def start(self, name: str, rows: dict[str, Any], seconds: float = 400) -> dict[str, Any]:
        """Start random weights, whose answers say the same over and over, so that verify would refuse them; what the start measured.

        Of several services each has its own row of what was measured, by its name.
        """
        began = time.monotonic()
        self.play("deploy.yml", "--tags", "preflight,fetch,serve", overrides=rows, runs=list(rows))
        for row in rows.values():
            self.wait(name, row.get("port", PORT), began + seconds)
        ready = round(time.monotonic() - began, 1)
        out = self.out / f"{name}.look.json"
        self.play("benchmarks/gpu/look.yml", overrides=rows, runs=list(rows), out=str(out))
        looked = json.loads(out.read_text())
        for service in rows:
            shutil.copy(SRV / f"logs/{service}.log", self.out / f"{name}.{service}.log")
        if len(rows) == 1:
            return {"deploy_and_ready_s": ready, **(looked["starts"].get(next(iter(rows))) or {})}
        return {"deploy_and_ready_s": ready, "services": looked["starts"], "devices": looked["devices"]}

    def wait(self, name: str, port: int, until: float) -> None:
        """Until /health answers; SystemExit after `until`, by the monotonic clock."""
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                    return
            except OSError:
                if time.monotonic() > until:
                    raise SystemExit(f"{name} is not ready in time") from None
                time.sleep(0.5)

    def measure(
        self, name: str, model: str, rows: dict[str, Any], concurrency: str = CONCURRENCY, prompt: int = 512
    ) -> None:
        try:
            found = self.start(name, rows)
        except SystemExit as error:
            self.note(name, {"failed": str(error)})
            return
        found.update(self.load(model, concurrency, prompt))
        self.note(name, found)

    def load(
        self, model: str, concurrency: str, prompt: int = 512, service: str = "qwq-32b", port: int = PORT
    ) -> dict[str, Any]:
        """The load curve of a service that runs."""
        key = (SRV / "services" / service / "api_key").read_text().strip()
        client = [sys.executable, str(ROOT / "benchmarks/gpu/client.py"), f"http://127.0.0.1:{port}", model, key]
        done = subprocess.run(
            [*client, "--concurrency", concurrency, "--prompt", str(prompt)],
            capture_output=True,
            text=True,
            check=False,
        )
        found: dict[str, Any] = {"load": [json.loads(line) for line in done.stdout.splitlines()]}
        return {**found, "client": done.stderr[-500:]} if done.returncode else found

    # -- stages -------------------------------------------------------------------------------------------------------------

    def smi(self) -> None:
        for name, words in {"q.xml": ["-q", "-x"], "topo.txt": ["topo", "-m"]}.items():
            done = subprocess.run(["nvidia-smi", *words], capture_output=True, text=True, check=False)
            (self.out / name).write_text(done.stdout)
        code = (
            "import torch,time\nx=torch.empty(4*2**30,dtype=torch.uint8,device='cuda');y=torch.empty_like(x)\n"
            "for _ in range(3): y.copy_(x)\ntorch.cuda.synchronize();t=time.time()\nfor _ in range(20): y.copy_(x)\n"
            "torch.cuda.synchronize();print(2*20*x.numel()/(time.time()-t))"
        )
        copied = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stdout
        self.note("memory_bytes_per_s", float(copied or 0))

    def host(self) -> None:
        """What the host needs before it serves: tools and environments, from the bundles."""
        began = time.monotonic()
        self.play("deploy.yml", "--tags", "prepare", overrides=override("demo"))
        self.note("prepare_s", round(time.monotonic() - began, 1))

    def deploy(self) -> None:
        """Everything that an operator does, with the demo model and its checked answers."""
        rows = override(
            "demo",
            engine_args={
                "max_model_len": 512,
                "gpu_memory_utilization": 0.1,
                "max_num_seqs": 32,
                "enforce_eager": True,
            },
        )
        began = time.monotonic()
        output = self.play("deploy.yml", overrides=rows)
        self.note("demo_from_bare_s", round(time.monotonic() - began, 1))
        row = self.report()
        self.note("demo", {"answer": row["answer"], "ready_s": row["timings"]["ready_seconds"], "said": output[-900:]})
        began = time.monotonic()
        second = self.play("deploy.yml", overrides=rows)
        self.note(
            "demo_second",
            {"seconds": round(time.monotonic() - began, 1), "recap": re.findall(r"changed=\d+", second)[-1]},
        )
        self.note("status", self.play("playbooks/status.yml", overrides=rows)[-900:])
        self.play("playbooks/restart.yml", overrides=rows, service="qwq-32b")
        big = {
            "qwq-32b": {
                **override("32b")["qwq-32b"],
                "engine_args": {**override("32b")["qwq-32b"]["engine_args"], "gpu_memory_utilization": 0.45},
            }
        }
        text = " ".join(self.play("deploy.yml", "--tags", "preflight", ok=False, overrides=big).split())
        self.note("fit_refuses", (re.findall(r".{0,300}\[weights-beyond-memory\]", text) or ["?"])[0])
        self.play("playbooks/stop.yml", overrides=rows, service="qwq-32b")
        left = subprocess.run(
            ["nvidia-smi", "--query-compute-apps=pid", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            check=False,
        )
        self.note("processes_after_stop", left.stdout.split())

    def settings(self, model: str, name: str, **more: Any) -> dict[str, Any]:
        document = {"enforce_eager": True, "max_num_seqs": 256, "gpu_memory_utilization": 0.9}
        ours = {"enforce_eager": False, "max_num_seqs": 256, "gpu_memory_utilization": 0.9}
        args = {"load_format": "dummy", **(document if name == "document" else ours), **more.pop("engine_args", {})}
        return override(model, engine_args=args, check={"prompt": "Say hello.", "expect": ""}, **more)

    def shape_7b(self) -> None:
        self.measure("7b_document", "7b", self.settings("7b", "document"))
        self.measure("7b_ours", "7b", self.settings("7b", "ours"))

    def shape_32b(self) -> None:
        """Short prompts, and long ones; 32,768 tokens of KV cache are most of what a card has beside these weights."""
        for name in ("document", "ours"):
            self.measure(f"32b_{name}", "32b", self.settings("32b", name), "1,16,64")
            self.note(f"32b_{name}_4096", self.load("32b", "1,16", 4096))

    def gems(self) -> None:
        """Eager, CUDA graphs with and without torch.compile, each beside native operators; kernels are compiled on the first pass."""
        few, graphs = "1,64,1,64", {"compilation_config": {"mode": 0, "cudagraph_mode": "FULL_DECODE_ONLY"}}
        self.measure(
            "7b_gems_graphs_uncompiled", "7b", self.settings("7b", "ours", flaggems=True, engine_args=graphs), few
        )
        self.measure("7b_graphs_uncompiled", "7b", self.settings("7b", "ours", engine_args=graphs), few)

    def gems_eager(self) -> None:
        few = "1,64,1,64"
        self.measure("7b_gems_eager", "7b", self.settings("7b", "document", flaggems=True), few)

    def caches(self) -> None:
        """Starts with an empty cache and with what an earlier start has compiled, where their seconds go, and the load that follows."""
        for name, more in (("native", {}), ("flaggems", {"flaggems": True})):
            rows = self.settings("7b", "ours", **more)
            shutil.rmtree(SRV / "cache", ignore_errors=True)
            found: dict[str, Any] = {}
            for state in ("cold", "warm"):
                found[state] = self.start(f"7b_{state}_{name}", rows)
                found[state] |= {"load": self.load("7b", "1,64,1,64")["load"]} if state == "warm" else {}
                self.play("playbooks/stop.yml", overrides=rows, service="qwq-32b")
            self.note(f"7b_cache_{name}", found)

    def proof(self) -> None:
        """Asked for and not active is caught: FlagGems' plugin is there and every operator denied."""
        rows = override("demo", flaggems={"allow": ["no_such_operator"]},
                        engine_args={"max_model_len": 512, "gpu_memory_utilization": 0.1, "max_num_seqs": 32, "enforce_eager": True})  # fmt: skip
        text = " ".join(self.play("deploy.yml", "--tags", "fetch,serve,verify", ok=False, overrides=rows).split())
        self.note("gems_asked_not_active", (re.findall(r"FlagGems is asked for.{0,200}", text) or [text[-400:]])[0])

    def convert(self) -> None:
        """weights_convert on this disk and CPU against cp + sync of the same bytes."""
        env = {
            **os.environ,
            "BENCH_PARTS": "convert",
            "BENCH_RUNS": "2",
            "PYTHONPATH": f"{WORK / 'controller'}:{ROOT / 'benchmarks'}",
        }
        code = "import json, weights; print(json.dumps(weights.measure()))"
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=False
        )
        self.note("convert", json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else done.stderr[-800:])


def prepare() -> None:
    """Unpack the controller's own packages."""
    WORK.mkdir(parents=True, exist_ok=True)
    if not (WORK / "controller").exists():
        rows = json.loads((BUNDLES / "controller/bundle.json").read_text())["parts"]
        (WORK / "controller").mkdir()
        parts = [str(BUNDLES / "controller" / row["file"]) for row in rows]
        subprocess.run(f"cat {' '.join(parts)} | tar -xzf - -C {WORK}/controller", shell=True, check=True)


def main() -> None:
    out, *stages = sys.argv[1:]
    prepare()
    bench = Bench(Path(out))
    known = {
        "smi": bench.smi,
        "host": bench.host,
        "deploy": bench.deploy,
        "7b": bench.shape_7b,
        "32b": bench.shape_32b,
        "gems": bench.gems,
        "gems_eager": bench.gems_eager,
        "caches": bench.caches,
        "proof": bench.proof,
        "convert": bench.convert,
    }
    for stage in stages:
        known[stage]()


if __name__ == "__main__":
    main()
