"""Figures of weights across a fleet: hosts in network namespaces, links that are as slow as they are told to be.

Each host has a link of FANOUT_LAN Mbit/s each way to a switch, and the hub one of FANOUT_WAN: that is the WAN, and its bytes are
counted there. Needs root, ip and tc. FANOUT_BYTES is the model's size (14 shards), FANOUT_HOSTS how many hosts there are;
FANOUT_EACH=0 leaves out the slow peer in which each host fetches for itself. Raw results: build/fanout.json.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "benchmarks")]
RUNS = int(os.environ.get("BENCH_RUNS", "3"))
HOSTS = int(os.environ.get("FANOUT_HOSTS", "8"))
SIZE = int(os.environ.get("FANOUT_BYTES", "256000000"))
WAN = int(os.environ.get("FANOUT_WAN", "64"))
LAN = int(os.environ.get("FANOUT_LAN", str(10 * WAN)))
EACH = os.environ.get("FANOUT_EACH", "1") != "0"
SHARDS, PORT = 14, 8790
Figure = dict[str, Any]
# A module as a process: everything is imported before it waits for the word, so that start-up is left out.
MODULE = """
import contextlib, io, json, sys, time
from pathlib import Path
import ansible.module_utils
sys.path.insert(0, sys.argv[1] + "/library")
ansible.module_utils.__path__.append(sys.argv[1] + "/module_utils")
from ansible.module_utils.testing import patch_module_args
module = __import__(sys.argv[2])
import urllib3, huggingface_hub.hf_api, huggingface_hub
print("READY", flush=True)
args = json.loads(sys.stdin.readline())
began, out = time.time(), io.StringIO()
with patch_module_args(args), contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
    module.main()
print(json.dumps({"began": began, "ended": time.time(), "result": json.loads(out.getvalue())}), flush=True)
"""


def sh(*command: str) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed: {done.stderr}")
    return done.stdout


def make_model(folder: Path) -> int:
    """A model in 14 shards of equal size, as 32B models are published, of bytes that don't repeat. Returns its size."""
    import numpy
    import shards

    folder.mkdir()
    dice, index = numpy.random.default_rng(5), {}
    each = SIZE // SHARDS // 2048 * 2048
    for number in range(SHARDS):
        name = f"model-{number + 1:05}-of-{SHARDS:05}.safetensors"
        codes = (dice.normal(0, 0.02, each // 2).astype(numpy.float32).view(numpy.uint32) >> 16).astype(numpy.uint16)
        shards.write(folder / name, {f"layer.{number}.weight": ("BF16", [each // 2048, 1024], codes.tobytes())})
        index[f"layer.{number}.weight"] = name
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    (folder / "config.json").write_text('{"torch_dtype": "bfloat16"}')
    return sum(path.stat().st_size for path in folder.iterdir())


@contextmanager
def network() -> Iterator[list[str]]:
    """Namespaces fan-lan (a switch), fan-wan (the hub) and fan-0, fan-1, ... with addresses 10.77.0.10 and up."""
    names = ["fan-lan", "fan-wan", *(f"fan-{number}" for number in range(HOSTS))]
    if there := sorted(set(names) & set(sh("ip", "netns", "list").split())):
        sys.exit(f"{', '.join(there)}: another run has them, or left them when it was killed; ip netns delete NAME")
    try:
        for name in names:
            sh("ip", "netns", "add", name)
            sh("ip", "-n", name, "link", "set", "lo", "up")
        sh("ip", "-n", "fan-lan", "link", "add", "switch", "type", "bridge")
        sh("ip", "-n", "fan-lan", "link", "set", "switch", "up")
        for number, name in enumerate(names[1:]):
            rate, port = WAN if name == "fan-wan" else LAN, f"port{number}"
            sh("ip", "-n", "fan-lan", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", name)
            sh("ip", "-n", "fan-lan", "link", "set", port, "master", "switch", "up")
            sh("ip", "-n", name, "addr", "add", f"10.77.0.{9 + number}/24", "dev", "eth0")
            sh("ip", "-n", name, "link", "set", "eth0", "up")
            shape = ["root", "tbf", "rate", f"{rate}mbit", "burst", "512kb", "latency", "50ms"]
            sh("tc", "-n", name, "qdisc", "add", "dev", "eth0", *shape)
            sh("tc", "-n", "fan-lan", "qdisc", "add", "dev", port, *shape)
        yield names[2:]
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


def wan_bytes() -> int:
    """What the hub has sent over its link, headers included."""
    rows = json.loads(sh("ip", "-n", "fan-wan", "-s", "-j", "link", "show", "eth0"))
    return int(rows[0]["stats64"]["tx"]["bytes"])


def start(host: str, module: str) -> subprocess.Popen[str]:
    command = ["ip", "netns", "exec", host, sys.executable, "-c", MODULE, str(ROOT), module]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def run(module: str, given: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The module on each host at the same time, with its arguments."""
    processes = {host: start(host, module) for host in given}
    for process in processes.values():
        assert process.stdout and process.stdout.readline() == "READY\n"
    for host, process in processes.items():
        assert process.stdin
        process.stdin.write(json.dumps(given[host]) + "\n")
        process.stdin.flush()
    found = {}
    for host, process in processes.items():
        found[host] = json.loads(process.communicate()[0])
        if found[host]["result"].get("failed"):
            sys.exit(f"{host}: {found[host]['result']['msg']}")
    return found


def wall(found: dict[str, dict[str, Any]]) -> float:
    return float(max(row["ended"] for row in found.values()) - min(row["began"] for row in found.values()))


class Fleet:
    def __init__(self, base: Path, hosts: list[str], size: int) -> None:
        self.base, self.hosts, self.size = base, hosts, size
        self.sources = {"huggingface": {"repo": "org/m", "revision": None}}

    def common(self, host: str) -> dict[str, Any]:
        folder = self.base / "hosts" / host
        forms = [{"name": "m", "sources": self.sources, "convert": None}]
        address = f"10.77.0.{10 + self.hosts.index(host)}"
        about = {"name": host, "address": address, "port": PORT, "forms": forms}
        return {**about, "folder": str(folder / "peers"), "models_root": str(folder / "models")}

    def fetch(self, hosts: list[str], shared: bool) -> dict[str, Any]:
        """One round on empty hosts: wall seconds and bytes over the WAN link."""
        shutil.rmtree(self.base / "hosts", ignore_errors=True)
        os.sync()
        if shared:
            looks = run("weights_peer", {host: {"state": "look", **self.common(host)} for host in hosts})
            peers = [looks[host]["result"]["peer"] for host in hosts]
            program = (ROOT / "roles/weights/files/peer_server.py").read_text()
            given = {"state": "started", "peers": peers, "server": program}
            run("weights_peer", {host: {**given, **self.common(host)} for host in hosts})
        before = wan_bytes()
        args = {"name": "m", "sources": self.sources, "huggingface_endpoint": "http://10.77.0.9:8000"}
        try:
            found = run(
                "weights_fetch",
                {
                    host: {
                        **args,
                        "models_root": self.common(host)["models_root"],
                        "peers_file": f"{self.common(host)['folder']}/config.json",
                    }
                    for host in hosts
                },
            )
            sent = wan_bytes() - before
        finally:
            if shared:
                run("weights_peer", {h: {"state": "stopped", "folder": self.common(h)["folder"]} for h in hosts})
        assert len({row["result"]["identity"] for row in found.values()}) == 1
        each = {h: [round(r["ended"] - r["began"], 1), r["result"].get("peers", {})] for h, r in found.items()}
        return {"seconds": wall(found), "wan_copies": sent / self.size, "hosts": each}


def measure() -> list[Figure]:
    if os.getuid() or not all(shutil.which(tool) for tool in ("ip", "tc")):
        print("fanout: left out, it needs root, ip and tc")
        return []
    from measuring import figure, ratio

    base = Path(tempfile.mkdtemp(prefix="bench-fanout"))
    rounds: list[dict[str, Any]] = []
    hub = None
    try:
        size = make_model(base / "source")
        with network() as hosts:
            command = ["ip", "netns", "exec", "fan-wan", sys.executable, str(ROOT / "tests/hub.py")]
            hub = subprocess.Popen(
                [*command, str(base / "source"), "8000", "10.77.0.9"], stdout=subprocess.PIPE, text=True
            )
            assert hub.stdout and hub.stdout.readline()
            fleet = Fleet(base, hosts, size)
            fleet.fetch(hosts[:1], False)  # the hub makes its digests once
            for number in range(RUNS):
                one = {"one": fleet.fetch(hosts[:1], False), "fanout": fleet.fetch(hosts, True)}
                if EACH and not number:
                    one["each"] = fleet.fetch(hosts, False)
                rounds.append(one)
                told = ", ".join(f"{n} {r['seconds']:.1f} s {r['wan_copies']:.2f} copies" for n, r in one.items())
                print(f"  fanout, round {number + 1}: {told}", flush=True)
    finally:
        if hub:
            hub.terminate()
            hub.wait()
        shutil.rmtree(base, ignore_errors=True)
    (ROOT / "build").mkdir(exist_ok=True)
    about = {"hosts": HOSTS, "bytes": size, "wan_mbit": WAN, "lan_mbit": LAN, "when": int(time.time())}
    (ROOT / "build" / "fanout.json").write_text(json.dumps({**about, "rounds": rounds}, indent=1) + "\n")
    alone = [one["one"]["seconds"] for one in rounds]
    shared = [one["fanout"]["seconds"] for one in rounds]
    text = f"{HOSTS} hosts, {size / 1e6:.0f} MB in {SHARDS} shards, WAN {WAN} and LAN {LAN} Mbit/s"
    told = "weights_fetch in network namespaces; module start-up left out"
    copies = max(one["fanout"]["wan_copies"] for one in rounds)
    figures = [
        figure(f"fanout_wan_copies_{HOSTS}", copies, "copies", "", told, f"{text}; bytes on the WAN link, the worst round"),
        figure(
            f"fanout_vs_one_copy_{HOSTS}", ratio(shared, alone), "times", f"one host's fetch: {alone[0]:.1f} s", told,
            f"{text}; until the last host has published; lower is better",
        ),
    ]  # fmt: skip
    if EACH:
        each = [one["each"]["seconds"] for one in rounds if "each" in one]
        figures.append(
            figure(
                f"fanout_vs_each_fetches_{HOSTS}", ratio(each, shared[: len(each)]), "times",
                f"each host fetches for itself: {each[0]:.1f} s", told, f"{text}; higher is better", len(each),
            )
        )  # fmt: skip
    return figures


if __name__ == "__main__":
    for one in measure():
        print(f"{one['name']:34} {one['value']:>8} {one['unit']:6} {one['peer']}")
