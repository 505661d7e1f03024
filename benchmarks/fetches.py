"""Figures of a fetch from a hub, against what people use today, in the same rounds. Needs nginx, aria2c and curl on PATH."""

from __future__ import annotations

import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

from measuring import RUNS, SIZE, Figure, figure, make_model, ours, ratio, timed


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
