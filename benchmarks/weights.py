"""Figures of weights: conversion, verification, and fetch (fetches.py), against what people use today. Each peer runs in the same rounds.

Needs nginx, aria2c and curl on PATH for the fetch, and for the conversion two Python environments that this file makes below
build/peers the first time: torch, and MindSpore 2.7.0 for the vendor document's script (1 GB of downloads).
BENCH_BYTES is the size of the synthetic model (4.5 GB unless said).
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from fetches import fetch
from measuring import ROOT, RUNS, SIZE, Figure, figure, make_model, ours, ratio, timed

PEERS = ROOT / "benchmarks" / "peers"


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
