"""What the figures of weights share: a synthetic model, runs of modules and of peers, ratios of rounds."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "benchmarks")]
RUNS = int(os.environ.get("BENCH_RUNS", "5"))
SIZE = int(os.environ.get("BENCH_BYTES", "4480000000"))
Figure = dict[str, Any]


def make_model(folder: Path, size: int) -> None:
    """A bf16 model of about `size` bytes in three shards of unlike size, with Qwen2's names, N(0, 0.02) values and an index."""
    import numpy
    import shards

    folder.mkdir(parents=True)
    dice = numpy.random.default_rng(1)
    one = (dice.normal(0, 0.02, 8 << 20).astype(numpy.float32).view(numpy.uint32) >> 16).astype(numpy.uint16).tobytes()
    norm = (numpy.ones(5120, numpy.float32).view(numpy.uint32) >> 16).astype(numpy.uint16).tobytes()
    index: dict[str, str] = {}
    for number, share in enumerate((0.35, 0.43, 0.22), 1):
        name = f"model-0000{number}-of-00003.safetensors"
        tensors: shards.Tensors = {}
        for layer in range(max(1, int(size * share / len(one)))):
            tensors[f"model.layers.{number}{layer}.mlp.up_proj.weight"] = ("BF16", [8 << 10, 1 << 10], one)
            tensors[f"model.layers.{number}{layer}.input_layernorm.weight"] = ("BF16", [5120], norm)
        shards.write(folder / name, tensors)
        index |= dict.fromkeys(tensors, name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    (folder / "config.json").write_text('{"torch_dtype": "bfloat16"}')


def ours(module: str, args: dict[str, Any]) -> dict[str, Any]:
    """Run one of our modules in a process of its own: {seconds, peak_mb}. The module's start-up is left out of the seconds."""
    code = (
        "import sys, json, time; import ansible.module_utils; from pathlib import Path;"
        "sys.path.insert(0, sys.argv[1] + '/library'); ansible.module_utils.__path__.append(sys.argv[1] + '/module_utils');"
        "from ansible.module_utils.testing import patch_module_args; module = __import__(sys.argv[2]);"
        "import ansible.module_utils.serving.weights.convert, ansible.module_utils.serving.weights.converted, urllib3, huggingface_hub.hf_api;"
        "began = time.monotonic();"
        "p = patch_module_args(json.loads(sys.argv[3])); p.__enter__()\n"
        "try: module.main()\n"
        "except SystemExit: pass\n"
        "finally:\n"
        # A process begins with its parent's ru_maxrss; VmHWM is its own.
        " peak = int(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0]) / 1000\n"
        " print('\\nOURS', time.monotonic() - began, peak)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(ROOT), module, json.dumps(args)], check=False, capture_output=True, text=True
    )
    lines = done.stdout.strip().splitlines()
    if not lines or not lines[-1].startswith("OURS") or '"failed": true' in done.stdout:
        sys.exit(done.stdout + done.stderr)
    _, seconds, peak = lines[-1].split()
    return {"seconds": float(seconds), "peak_mb": float(peak), "result": json.loads(lines[0])}


def timed(command: list[str], **options: Any) -> float:
    began = time.monotonic()
    done = subprocess.run(command, check=False, capture_output=True, text=True, **options)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    said = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("SECONDS ")]
    return float(said[-1]) if said else time.monotonic() - began


def figure(name: str, value: float, unit: str, peer: str, command: str, includes: str, runs: int = RUNS) -> Figure:
    ratio = value if unit == "times" else None
    return {
        "name": name,
        "value": round(value, 2),
        "unit": unit,
        "peer": peer,
        "ratio": ratio and round(ratio, 2),
        "runs": runs,
        "command": command,
        "includes": includes,
    }


def ratio(values: list[float], base: list[float]) -> float:
    """Median of the rounds' ratios: both sides of a round saw the same machine."""
    return statistics.median(v / b for v, b in zip(values, base, strict=True))
