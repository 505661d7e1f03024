#!/usr/bin/env python3
"""Failures of a real engine, provoked: each case of cases.yml breaks one thing, and what the product says of the engine's own log is shown beside it.

    python benchmarks/failures/provoke.py OUT --python ENV/bin/python [--gpus 2] [--at-once 8] [--only WORDS...]

OUT gets a log a case and provoked.jsonl, in the form of tests/fixtures/provoked.jsonl. Whether what is said is right for what was broken, a person judges.
The engine is vLLM in the environment of that Python; cases that need more GPUs than --gpus are left out. Cases with `user` or `mounts` need root.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import queue
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import ansible.module_utils
import yaml

ROOT = Path(__file__).parents[2]
MODELS = {"demo": ROOT / "models/demo", "vision": ROOT / "models/demo-vision"}
READY = "Application startup complete"
DEFAULTS = (("--host", "127.0.0.1"), ("--max-model-len", "2048"))
OF_A_GPU = (("--gpu-memory-utilization", "0.15"), ("--kv-cache-memory-bytes", "500000000"))
# What a CPU's engine needs where nothing is compiled, and what keeps any engine to itself.
ENV = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_HOST_IP": "127.0.0.1"}
OF_A_CPU = {"TORCHDYNAMO_DISABLE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_CPU_KVCACHE_SPACE": "1"}
SIGNALS = {"kill": signal.SIGKILL, "segv": signal.SIGSEGV, "term": signal.SIGTERM, "worker": signal.SIGKILL, "stop": signal.SIGSTOP}  # fmt: skip
LIMIT = 100.0  # seconds that a case may take; one that hangs a worker 200
HEAD = re.compile(r"((?:\(\w+ pid=\d+\) )?(?:\w+ [\d-]+ [\d:]+ \[\S+\] )?)")
PASSING = re.compile(
    r"\bINFO\b|shards: +\d|^\(\w+ pid=\d+\) ?$|/it\]|resource_tracker|^\s*warnings\.warn|^usage:|^\s+\[-|\u2588"
)
KEPT, WIDTH, FRAMES = 24, 260, 2  # lines of a log, characters of a line, frames of a traceback in provoked.jsonl


def broken(case: dict[str, Any], folder: Path) -> Path:
    """A copy of the case's model with what the case breaks."""
    shutil.copytree(MODELS[case.get("model", "demo")], folder, ignore=shutil.ignore_patterns("SHA256SUMS"))
    for name, values in case.get("set", {}).items():
        found = json.loads((folder / name).read_text()) if (folder / name).exists() else {}
        found.update(values)
        (folder / name).write_text(json.dumps({key: value for key, value in found.items() if value is not None}))
    for name, text in case.get("write", {}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    for name in case.get("remove", []):
        (folder / name).unlink()
    for name, size in case.get("cut", {}).items():
        os.truncate(folder / name, size)
    return folder


def command(case: dict[str, Any], python: str, model: str, port: int, gpus: int) -> list[str]:
    names = {"DEMO": MODELS["demo"], "VISION": MODELS["vision"], "MODEL": model}
    args = [
        re.sub(r"\b(?:DEMO|VISION|MODEL)\b", lambda of: str(names[of[0]]), str(one)) for one in case.get("args", [])
    ]
    given = " ".join(args)
    defaults = (
        ("--port", str(port)),
        *DEFAULTS,
        *(OF_A_GPU if gpus and "--gpu-memory-utilization" not in args else ()),
    )
    for option, value in defaults:
        args += [] if option in args else [option, value]
    args += [] if "--enforce-eager" in given or "--compilation-config" in given else ["--enforce-eager"]
    line = [python, "-m", "vllm.entrypoints.cli.main", "serve", model, *args]
    if case.get("limits"):
        line = ["prlimit", *case["limits"], *line]
    if case.get("user"):
        line = ["setpriv", f"--reuid={case['user']}", f"--regid={case['user']}", "--clear-groups", *line]
    if case.get("mounts"):
        line = ["unshare", "-m", "sh", "-c", f'{case["mounts"]}; exec "$@"', "sh", *line]
    return line


def family(group: int) -> list[tuple[int, str]]:
    """The processes of a group with what they call themselves."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            if os.getpgid(int(entry.name)) == group:
                found.append((int(entry.name), (entry / "comm").read_text() + (entry / "cmdline").read_text()))
    return found


def strike(group: int, how: str, port: int, model: str) -> None:
    """Send the case's signal to the engine's core, or to its last worker, and ask once, so that it is noticed."""
    named = [(pid, words) for pid, words in family(group) if "EngineCor" in words or "Worker" in words]
    wanted = [pid for pid, words in named if ("Worker" in words) == (how in ("worker", "stop"))] or [
        pid for pid, _ in named
    ]
    with contextlib.suppress(ProcessLookupError, IndexError):
        os.kill(wanted[-1], SIGNALS[how])
    body = json.dumps({"model": model, "prompt": "a", "max_tokens": 20})
    asked = [
        "curl",
        "-s",
        "-m",
        "60",
        "-H",
        "Content-Type: application/json",
        "-d",
        body,
        f"http://127.0.0.1:{port}/v1/completions",
    ]
    subprocess.Popen(asked, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def run(case: dict[str, Any], number: int, slot: int, given: argparse.Namespace) -> dict[str, Any]:
    """The case's log and how it ended: an exit code, "up", or "hung"."""
    out, port = Path(given.out), 22000 + 20 * slot + number % 20
    folder, log = out / "models" / str(number), out / f"{number:03d}.log"
    shutil.rmtree(folder, ignore_errors=True)
    model = case.get("serve") or str(broken(case, folder))
    visible = (
        {"CUDA_VISIBLE_DEVICES": "0,1" if case.get("gpus") == 2 else str(slot % given.gpus)} if given.gpus else OF_A_CPU
    )
    env = {**os.environ, **ENV, **visible, "VLLM_CACHE_ROOT": str(out / "cache" / str(slot))}
    env["PATH"] = str(Path(given.python).parent) + ("" if case.get("bare_path") else f":{os.environ['PATH']}")
    env.update({name: str(value) for name, value in case.get("env", {}).items()})
    busy, began, struck = socket.socket(), time.monotonic(), False
    if case.get("busy_port"):
        busy.bind(("127.0.0.1", port))
        busy.listen()
    limit = LIMIT * (2 if case.get("signal") == "stop" else 1)
    line = command(case, given.python, model, port, given.gpus)
    with log.open("wb") as sink:
        engine = subprocess.Popen(line, env=env, stdout=sink, stderr=sink, stdin=subprocess.DEVNULL, start_new_session=True, cwd="/")  # fmt: skip
    state: int | str = "hung"
    while time.monotonic() - began < limit:
        code = engine.poll()
        if code is not None:
            state = code
            break
        if not struck and READY in log.read_text(errors="replace"):
            if not case.get("signal"):
                state = "up"
                break
            struck = True
            strike(engine.pid, case["signal"], port, model)
        time.sleep(0.3)
    for pid, _ in family(engine.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    engine.wait()
    busy.close()
    shutil.rmtree(folder, ignore_errors=True)
    return {"state": state, "log": log.read_text(errors="replace").splitlines()[-2000:], "model": model}


def shortened(lines: list[str], places: dict[str, str]) -> list[str]:
    """A log without passing lines and outer frames, its folders by general names."""
    kept: list[str] = []
    frames: list[list[str]] = []
    for line in [*lines, ""]:
        for place, name in places.items():
            line = line.replace(place, name)
        rest = line[HEAD.match(line).end() :]  # type: ignore[union-attr]
        if rest.lstrip().startswith('File "'):
            frames.append([line])
        elif frames and rest.startswith("    ") and len(frames[-1]) < 3:
            frames[-1].append(line)
        elif not PASSING.search(line):
            kept += [one for frame in frames[-FRAMES:] for one in frame]
            kept, frames = [*kept, line], []
    once = [line for at, line in enumerate(kept) if line and (line not in kept[:at] or "recent call last" in line)]
    return [line[:WIDTH] for line in once[-KEPT:]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out")
    parser.add_argument("--only", nargs="+", default=[], metavar="WORDS", help="the cases whose cause has these words")
    parser.add_argument("--python", required=True, help="Python of the environment that has vLLM")
    parser.add_argument("--gpus", type=int, default=0)
    parser.add_argument("--at-once", type=int, default=2)
    given = parser.parse_args()
    ansible.module_utils.__path__.append(str(ROOT / "module_utils"))  # where Ansible puts them
    from ansible.module_utils.serving.service import failures, releases

    cases = yaml.safe_load((Path(__file__).parent / "cases.yml").read_text())
    asked: queue.Queue[tuple[int, dict[str, Any]]] = queue.Queue()
    for number, case in enumerate(cases):
        if case.get("gpus", 0) <= given.gpus and (not given.only or any(word in case["cause"] for word in given.only)):
            asked.put((number, case))
    Path(given.out).mkdir(parents=True, exist_ok=True)
    asking = [given.python, "-c", "import importlib.metadata as m; print(m.version('vllm'))"]
    version = subprocess.run(asking, capture_output=True, text=True, check=True)
    engine = f"vLLM {version.stdout.strip()}, {'GPU' if given.gpus else 'CPU'}"
    seen: Counter[str] = Counter()
    turn = threading.Lock()

    def work(slot: int) -> None:
        while True:
            try:
                number, case = asked.get_nowait()
            except queue.Empty:
                return
            done = run(case, number, slot, given)
            with turn:
                tell(case, done)

    def tell(case: dict[str, Any], done: dict[str, Any]) -> None:
        if not isinstance(done["state"], int):
            seen[done["state"]] += 1
            print(f"{case['cause']}: {done['state']}", flush=True)
            return
        found = failures.explain(releases.last_run(done["log"]), done["state"])
        seen["sure" if found.sure else "possible" if found.meaning else "not explained"] += 1
        print(f"{case['cause']}: exit code {done['state']}\n  {found.meaning}\n  {found.root}", flush=True)
        places = {
            done["model"]: "/srv/models/acme",
            str(Path(given.python).parents[1]): "/opt/vllm",
            given.out: "/srv/out",
        }
        row = {"cause": case["cause"], "engine": engine, "code": done["state"], "hint": found.hint, "sure": found.sure}
        with (Path(given.out) / "provoked.jsonl").open("a") as sink:
            sink.write(json.dumps({**row, "log": shortened(done["log"], places)}, ensure_ascii=False) + "\n")

    threads = [threading.Thread(target=work, args=(slot,)) for slot in range(given.at_once)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(", ".join(f"{count} {what}" for what, count in sorted(seen.items())))


if __name__ == "__main__":
    main()
