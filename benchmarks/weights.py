"""Figures of weights: conversion, fetch, verification, against what people use today. Each peer runs in the same rounds.

Needs nginx, aria2c and curl on PATH for the fetch, and for the conversion two Python environments that this file makes below
build/peers the first time: torch, and MindSpore 2.7.0 for the document's script (1 GB of downloads).
BENCH_BYTES is the size of the synthetic model (4.5 GB unless said).
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "benchmarks" / "peers"
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


def environment(name: str, *packages: str) -> Path | None:
    """Python of a peer's environment, made with pip the first time; None if that can't be done here."""
    given = os.environ.get(f"BENCH_{name.upper()}")
    if given:
        return Path(given)
    folder = ROOT / "build" / "peers" / name
    if not (folder / "ready").exists():
        print(f"Making the environment of the peer {name} in {folder} ...", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        if subprocess.run([folder / "bin/pip", "install", "--quiet", *packages], check=False).returncode:
            return None
        (folder / "ready").touch()
    return folder / "bin/python"


def digests(*folders: Path) -> float:
    """Seconds for sha256 of every file, on all cores."""
    files = [path for folder in folders for path in folder.glob("*.safetensors")]
    began = time.monotonic()
    with concurrent.futures.ProcessPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(digest, sorted(files, key=lambda p: -p.stat().st_size)))
    return time.monotonic() - began


def digest(path: Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def same_duties(*folders: Path) -> float:
    """What the peers leave out, as one would add it in a shell: sync, and sha256sum of source and result."""
    began = time.monotonic()
    os.sync()
    for folder in folders:
        subprocess.run(["sha256sum", *map(str, folder.glob("*.safetensors"))], check=True, capture_output=True)
    return time.monotonic() - began


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


def convert(base: Path) -> list[Figure]:
    source, root = base / "source", base / "models"
    make_model(source, SIZE)
    ours("weights_fetch", {"name": "m", "models_root": str(root), "sources": {"directory": {"path": str(source)}}})
    published = next(root.glob("m@*"))
    torch = environment("torch", "torch==2.13.0", "safetensors", "numpy")
    mindspore = environment("mindspore", "mindspore==2.7.0", "torch==2.13.0", "safetensors")
    peers: dict[str, list[str]] = {}
    out = base / "out"
    if torch:
        peers["torch"] = [str(torch), str(PEERS / "torch_convert.py"), str(published), str(out)]
    if mindspore:
        empty = base / "empty"
        empty.mkdir()
        script = [str(mindspore), str(PEERS / "convert_weights.py")]
        peers["script"] = [*script, "--input_path", str(published), "--output_path", str(out)]
        idle = [*script, "--input_path", str(empty), "--output_path", str(empty)]
    mine: list[float] = []
    peaks: list[float] = []
    plain: dict[str, list[float]] = {name: [] for name in peers}
    duties: dict[str, list[float]] = {name: [] for name in peers}
    floor: list[float] = []
    for number in range(RUNS):
        for path in root.glob("*float16*"):
            shutil.rmtree(path)
        os.sync()
        found = ours("weights_convert", {"name": "m", "models_root": str(root)})
        mine.append(found["seconds"])
        peaks.append(found["peak_mb"])
        result = next(root.glob("*+float16"))
        for name, command in peers.items():
            out.mkdir()
            os.sync()
            seconds = timed(command)
            if name == "script":  # its imports are start-up, which is left out
                seconds -= timed(idle)
            plain[name].append(seconds)
            duties[name].append(seconds + same_duties(published, out))
            shutil.rmtree(out)
        out.mkdir()
        os.sync()
        began = time.monotonic()
        subprocess.run(["cp", *map(str, published.glob("*.safetensors")), str(out)], check=True)
        os.sync()
        copied = time.monotonic() - began
        floor.append(max(copied, digests(published, result)))
        shutil.rmtree(out)
        print(
            f"  conversion, round {number + 1}: ours {mine[-1]:.1f} s, floor {floor[-1]:.1f} s, "
            + ", ".join(f"{n} {v[-1]:.1f} s" for n, v in plain.items()),
            flush=True,
        )
    size = f"{sum(p.stat().st_size for p in published.glob('*.safetensors')) / 1e9:.1f} GB in 3 shards"
    command = "weights_convert; module start-up left out"
    names = {"torch": "convert_vs_torch", "script": "convert_vs_reference_script"}
    others = {"torch": "convert_vs_torch_same_duties", "script": "convert_vs_reference_same_duties"}
    figures = [
        figure(
            "convert_vs_floor",
            ratio(mine, floor),
            "times",
            f"the larger of cp + sync and both digests on all cores: {statistics.median(floor):.1f} s",
            command,
            f"{size}, durable, both digests; lower is better",
        ),
        figure("convert_peak_mb", max(peaks), "MB", "", command, "peak resident memory of the module's process"),
    ]
    for name in peers:
        figures.append(
            figure(
                names[name],
                ratio(plain[name], mine),
                "times",
                f"{name} as it is (no digest, no sync): {statistics.median(plain[name]):.1f} s",
                command,
                f"{size}; higher is better",
            )
        )
        figures.append(
            figure(
                others[name],
                ratio(duties[name], mine),
                "times",
                f"{name}, then sync and sha256sum of source and result: {statistics.median(duties[name]):.1f} s",
                command,
                f"{size}; higher is better",
            )
        )
    return figures


def verify(base: Path) -> list[Figure]:
    source, root = base / "source", base / "models"
    if not source.exists():
        make_model(source, SIZE)
        ours("weights_fetch", {"name": "m", "models_root": str(root), "sources": {"directory": {"path": str(source)}}})
    published = next(path for path in root.glob("m@*") if "+" not in path.name)
    mine, peer = [], []
    for _ in range(RUNS):
        mine.append(ours("weights_info", {"name": "m", "models_root": str(root), "full": True})["seconds"])
        peer.append(timed(["sha256sum", *map(str, published.glob("*.safetensors"))]))
    return [
        figure(
            "verify_vs_sha256sum",
            ratio(peer, mine),
            "times",
            f"sha256sum: {statistics.median(peer):.1f} s",
            "weights_info full; module start-up left out",
            "three shards in the page cache; higher is better",
        )
    ]


class Nginx:
    """Static files below /raw/ on loopback, each connection capped where asked."""

    def __init__(self, base: Path, folder: Path, rate: str = "") -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        limit = f"limit_rate {rate};" if rate else ""
        config = base / f"nginx-{port}.conf"
        config.write_text(
            f"daemon off; worker_processes 1; pid {base}/{port}.pid; error_log {base}/{port}.log;\n"
            f"events {{ worker_connections 256; }}\n"
            f"http {{ access_log off; sendfile on; server {{ listen 127.0.0.1:{port}; location /raw/ {{ alias {folder}/; {limit} }} }} }}\n"
        )
        os.chmod(base, 0o755)
        self.process = subprocess.Popen(["nginx", "-c", str(config)], stderr=subprocess.DEVNULL)
        time.sleep(1)

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()


def fetch(base: Path) -> list[Figure]:
    if not all(shutil.which(tool) for tool in ("nginx", "aria2c", "curl")):
        print("fetch: left out, it needs nginx, aria2c and curl on PATH")
        return []
    source = base / "source"
    if not source.exists():
        make_model(source, SIZE)
    return [*fetch_wide(base, source), *fetch_capped(base)]


def fetch_wide(base: Path, source: Path) -> list[Figure]:
    from hub import Hub

    nginx, hub = Nginx(base, source), Hub(source)
    hub.trouble.redirect = nginx.url
    hub.rows()  # so that no round pays for the hub's digests
    names = hub.names()
    out = base / "fetched"
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.url,
        "MODELSCOPE_ENDPOINT": hub.url,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HOME": str(base / "hf"),
        "MODELSCOPE_CACHE": str(base / "ms"),
    }
    tools = Path(sys.executable).parent
    urls = [f"{nginx.url}/raw/{name}" for name in names]
    (base / "urls").write_text("\n".join(urls))
    clients: dict[str, list[str]] = {
        "curl": ["curl", "-sS", "--fail", "--remote-name-all", "--output-dir", str(out), *urls],
        "aria2c -x16": ["aria2c", "-q", "-x16", "-s16", "-k1M", "-d", str(out), "-i", str(base / "urls")],
        "hf download": [str(tools / "hf"), "download", "org/m", "--local-dir", str(out)],
        "modelscope download": [str(tools / "modelscope"), "download", "--model", "org/m", "--local_dir", str(out)],
    }
    idle = {"hf download": [str(tools / "hf"), "--help"], "modelscope download": [str(tools / "modelscope"), "--help"]}
    mine: list[float] = []
    theirs: dict[str, list[float]] = {name: [] for name in clients}
    try:
        for number in range(RUNS):
            shutil.rmtree(base / "get", ignore_errors=True)
            os.sync()
            args = {"name": "m", "models_root": str(base / "get"), "huggingface_endpoint": hub.url}
            args |= {"sources": {"huggingface": {"repo": "org/m", "revision": None}}}
            mine.append(ours("weights_fetch", args)["seconds"])
            for name, command in clients.items():
                shutil.rmtree(out, ignore_errors=True)
                out.mkdir()
                os.sync()
                seconds = timed(command, env=environment)
                theirs[name].append(seconds - (timed(idle[name], env=environment) if name in idle else 0))
            print(
                f"  fetch, round {number + 1}: ours {mine[-1]:.1f} s, "
                + ", ".join(f"{n} {v[-1]:.1f} s" for n, v in theirs.items()),
                flush=True,
            )
    finally:
        nginx.close()
        hub.close()
        shutil.rmtree(out, ignore_errors=True)
        shutil.rmtree(base / "get", ignore_errors=True)
    fastest = min(theirs, key=lambda name: statistics.median(theirs[name]))
    others = ", ".join(f"{n} {statistics.median(v):.1f} s" for n, v in theirs.items())
    return [
        figure(
            "fetch_vs_fastest_client",
            ratio(theirs[fastest], mine),
            "times",
            f"{fastest} ({others})",
            "weights_fetch from a loopback hub; start-up of Python clients left out",
            "list, fetch, sha256 of every file, durable; higher is better, 1 is as fast",
        )
    ]


def fetch_capped(base: Path) -> list[Figure]:
    from hub import Hub

    small = base / "small"
    if not small.exists():
        make_model(small, 400_000_000)
    nginx, hub = Nginx(base, small, "3m"), Hub(small)
    hub.trouble.redirect = nginx.url
    hub.rows()  # so that no round pays for the hub's digests
    out, urls = base / "fetched", base / "urls"
    urls.write_text("\n".join(f"{nginx.url}/raw/{name}" for name in hub.names()))
    mine, peer = [], []
    try:
        for _ in range(min(RUNS, 3)):
            shutil.rmtree(base / "get", ignore_errors=True)
            args = {"name": "m", "models_root": str(base / "get"), "huggingface_endpoint": hub.url}
            args |= {"sources": {"huggingface": {"repo": "org/m", "revision": None}}}
            mine.append(ours("weights_fetch", args)["seconds"])
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir()
            peer.append(timed(["aria2c", "-q", "-x16", "-s16", "-k1M", "-j1", "-d", str(out), "-i", str(urls)]))
    finally:
        nginx.close()
        hub.close()
    return [
        figure(
            "fetch_capped_vs_aria2",
            ratio(peer, mine),
            "times",
            f"aria2c -x16: {statistics.median(peer):.1f} s",
            "weights_fetch; 3 MiB/s for each connection, 16 connections",
            "0.4 GB in three shards; higher is better, 1 is as fast",
            min(RUNS, 3),
        )
    ]


def measure() -> list[Figure]:
    base = Path(tempfile.mkdtemp(prefix="bench-weights"))
    wanted = os.environ.get("BENCH_PARTS", "convert,verify,fetch").split(",")
    parts: dict[str, Callable[[Path], list[Figure]]] = {"convert": convert, "verify": verify, "fetch": fetch}
    try:
        return [one for name, part in parts.items() if name in wanted for one in part(base)]
    finally:
        shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    for one in measure():
        print(f"{one['name']:34} {one['value']:>8} {one['unit']:6} {one['peer']}")
