#!/usr/bin/env python3
"""How long it takes to add a model: 30 shards on a loopback hub that takes 50 ms for each answer. The reading alone, and the whole command in a site.

python benchmarks/models.py
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "benchmarks")]

import measuring  # noqa: E402
import shards  # noqa: E402 - the path comes first
from hub import Hub  # noqa: E402

from planning.engine_models import engine_knows  # noqa: E402

SHARDS, DELAY = 30, 0.05
CONFIG = {
    "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "num_hidden_layers": 36, "hidden_size": 4096, "num_attention_heads": 32,
    "num_key_value_heads": 8, "head_dim": 128, "max_position_embeddings": 40960, "torch_dtype": "bfloat16", "vocab_size": 151936,
}  # fmt: skip


def measure() -> list[dict[str, Any]]:
    figures = []
    with tempfile.TemporaryDirectory() as base:
        folder = Path(base)
        (folder / "config.json").write_text(json.dumps(CONFIG))
        (folder / "tokenizer_config.json").write_text(
            '{"chat_template": "{% if tools %}<tool_call></tool_call>{% endif %}"}'
        )
        (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
        for number in range(1, SHARDS + 1):
            shards.write(
                folder / f"model-{number:05}-of-{SHARDS:05}.safetensors", {f"t{number}": ("BF16", [4096], bytes(8192))}
            )
        names = {f"t{number}": f"model-{number:05}-of-{SHARDS:05}.safetensors" for number in range(1, SHARDS + 1)}
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
        hub = Hub(folder)
        hub.trouble.delay = DELAY
        for kind in ("huggingface", "modelscope"):
            seconds, requests = [], 0
            for _ in range(measuring.RUNS):
                hub.requests.clear()
                given = {"model": "org/m", "hubs": [kind], "known": engine_knows(), f"{kind}_endpoint": hub.url}
                seconds.append(measuring.ours("model_info", given)["seconds"])
                requests = len(hub.requests)
            name = "add_model_s" if kind == "huggingface" else f"add_model_{kind}_s"
            includes = f"{requests} requests of {DELAY * 1000:.0f} ms for {SHARDS} shards; start-up of Python and Ansible left out"
            figures.append(
                measuring.figure(name, statistics.median(seconds), "s", "", "python benchmarks/models.py", includes)
            )
        figures.append(command(folder / "fleet", hub))
        hub.close()
    return figures


def cpu_of_children() -> float:
    """Seconds of CPU time that ended children have taken so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def command(site: Path, hub: Hub) -> dict[str, Any]:
    """The whole command as an operator types it, in a site of its own with one host, which is not contacted. Raises where it wrote nothing."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
    environment |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}
    subprocess.run([sys.executable, str(ROOT / "scripts/make_site.py"), str(site)], check=True, capture_output=True)
    (site / "inventory/hosts.yml").write_text("accelerators: {hosts: {gpu-01: {board: h100-sxm}}}\n")
    seconds, computing, requests = [], [], 0
    for number in range(measuring.RUNS):
        hub.requests.clear()
        began, spent = time.monotonic(), cpu_of_children()
        done = subprocess.run(
            ["ansible-playbook", "playbooks/add_model.yml", "-l", "gpu-01", "-e", "model=org/m", "-e", "hub=huggingface",
             "-e", f"huggingface_endpoint={hub.url}", "-e", f"name=m{number}"],
            cwd=site, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        seconds.append(time.monotonic() - began)
        computing.append(cpu_of_children() - spent)
        if done.returncode or "written:" not in done.stdout:
            raise SystemExit(done.stdout + done.stderr)
        requests = len(hub.requests)
    includes = (
        f"the whole command with -l HOST: {requests} requests, rows planned and written, start-up of Ansible included; "
        f"{statistics.median(computing):.1f} s of it CPU time"
    )
    return measuring.figure(
        "add_model_command_s", statistics.median(seconds), "s", "", "python benchmarks/models.py", includes
    )


if __name__ == "__main__":
    for found in measure():
        print(f"{found['name']:24} {found['value']:>6} {found['unit']}  {found['includes']} ({found['runs']} runs)")
