#!/usr/bin/env python3
"""Devices and faults on two real GPUs: which process sits where, and how long it takes until a service answers again.

    python benchmarks/gpu/devices.py FOLDER STAGE...      stages: place memory faults load; pairs, on four GPUs
Needs what run.py needs, two GPUs, and the demo model of this repository. FOLDER gets devices.json and logs.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from run import PORT, SRV, WORK, Bench, override, prepare

ONE, TWO = "qwq-32b", "deepseek-r1-distill-qwen-32b"
ARGS = {"max_model_len": 512, "gpu_memory_utilization": 0.2, "max_num_seqs": 64, "enforce_eager": True}
BOTH, FIRST = {"runs": [ONE, TWO]}, {"runs": [ONE]}


def rows(**devices: list[Any]) -> dict[str, Any]:
    """Overrides of the two services by their devices: a service's tensor parallel size is their number."""
    found = {}
    for name, port in ((ONE, PORT), (TWO, PORT + 1)):
        given = devices.get("one" if name == ONE else "two")
        if given is None:
            continue
        row = override("demo", engine_args={**ARGS, "tensor_parallel_size": len(given)})[ONE]
        found[name] = {**row, "port": port, "devices": given, "served_name": name}
    return found


def smi(query: str) -> list[list[str]]:
    words = ["nvidia-smi", f"--query-{query}", "--format=csv,noheader,nounits"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return [[cell.strip() for cell in line.split(",")] for line in done.stdout.splitlines() if line.strip()]


def holders() -> dict[str, list[str]]:
    """{GPU index: processes that hold its memory}, as the driver says it."""
    index = {uuid: number for number, uuid in smi("gpu=index,uuid")}
    found: dict[str, list[str]] = {number: [] for number in index.values()}
    for uuid, pid, used in smi("compute-apps=gpu_uuid,pid,used_memory"):
        try:
            root = os.readlink(f"/proc/{pid}/cwd").removeprefix(str(SRV))
        except OSError:
            root = "?"
        found[index[uuid]].append(f"{pid} {used} MiB {root.split('/releases')[0]}")
    return found


def ask(port: int, name: str, seconds: float = 20, **more: Any) -> str:
    """The text of one answer, or what went wrong, in brackets."""
    key = (SRV / "services" / name / "api_key").read_text().split()[0]
    body = {
        "model": name,
        "messages": [{"role": "user", "content": "What is 127 + 45?"}],
        "temperature": 0,
        "max_tokens": 8,
        **more,
    }
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/chat/completions", json.dumps(body).encode(),
        {"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )  # fmt: skip
    try:
        with urllib.request.urlopen(request, timeout=seconds) as answer:
            return str(json.load(answer)["choices"][0]["message"]["content"]).strip()
    except (OSError, urllib.error.URLError, ValueError, KeyError) as error:
        return f"[{type(error).__name__}: {error}]"


def processes(name: str) -> dict[int, str]:
    """{pid: title} of a service's processes."""
    found = {}
    for pid in (int(p) for p in os.listdir("/proc") if p.isdigit()):
        try:
            if os.readlink(f"/proc/{pid}/cwd").startswith(str(SRV / "services" / name)):
                found[pid] = (
                    Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                )
        except OSError:
            continue
    return found


def fault(
    service: str, port: int, words: str, number: int, right: Callable[[str], bool], limit: float = 240
) -> dict[str, Any]:
    """Send a signal to the process of a service whose title has these words; seconds until callers get errors, and until it answers right again."""
    found = processes(service)
    victims = [pid for pid, title in sorted(found.items()) if words in title]
    if not victims:
        return {"no process": words, "there are": sorted(found.values())}
    began = time.monotonic()
    os.kill(victims[0], number)
    first_error, seen, healed = None, [], None
    while time.monotonic() - began < limit:
        text = ask(port, service, seconds=10)
        now = round(time.monotonic() - began, 1)
        if not right(text):
            first_error = now if first_error is None else first_error
            if not seen or seen[-1][1] != text[:120]:
                seen.append([now, text[:120]])
        elif first_error is not None or now > 15:
            healed = now
            break
        time.sleep(0.5)
    if number == signal.SIGSTOP and healed is None:
        os.kill(victims[0], signal.SIGCONT)
    left = {pid for pid in found if pid in processes(service)}
    return {
        "killed": found[victims[0]][:80], "first_error_s": first_error, "right_again_s": healed, "callers_saw": seen[:6],
        "old_processes_left": [found[p][:60] for p in sorted(left)], "holders": holders(),
    }  # fmt: skip


def asked_during(
    service: str, port: int, act: Callable[[], object], lead: float, **request: Any
) -> tuple[float, dict[str, int]]:
    """(seconds that `act` took, {how a request ended: number}) of 64 requests that were asked `lead` seconds before it."""
    ends: list[str] = []

    def one() -> None:
        text = ask(port, service, ignore_eos=True, **request)
        ends.append(text[:60] if text.startswith("[") else "whole")

    threads = [threading.Thread(target=one) for _ in range(64)]
    for thread in threads:
        thread.start()
    time.sleep(lead)
    began = time.monotonic()
    act()
    seconds = round(time.monotonic() - began, 1)
    for thread in threads:
        thread.join()
    return seconds, {text: ends.count(text) for text in sorted(set(ends))}


class Devices(Bench):
    def deployed(self, key: str, overrides: dict[str, Any], **values: Any) -> None:
        began = time.monotonic()
        self.play("deploy.yml", "--tags", "preflight,prepare,fetch,serve,verify", overrides=overrides, **values)
        seconds = round(time.monotonic() - began, 1)
        proof = json.loads((WORK / "reports/h200/report.json").read_text()).get("devices")
        answers = {name: ask(row["port"], name) for name, row in overrides.items()}
        self.note(key, {"seconds": seconds, "holders": holders(), "answers": answers, "proof": proof})

    def place(self) -> None:
        """Two of one GPU, one of two in their place, back, by UUID."""
        uuids, deployed = [row[0] for row in smi("gpu=uuid")], self.deployed
        deployed("two_of_one", rows(one=[0], two=[1]), **BOTH)
        deployed("two_of_one_again", rows(one=[0], two=[1]), **BOTH)
        deployed("swapped", rows(one=[1], two=[0]), **BOTH)
        deployed("narrower", rows(one=[0], two=[1]), **BOTH)
        self.play("playbooks/stop.yml", service=TWO, overrides=rows(one=[0], two=[1]), **BOTH)
        deployed("one_of_two", rows(one=[0, 1]), **FIRST)
        deployed("back_to_two", rows(one=[0], two=[1]), **BOTH)
        deployed("by_uuid", rows(one=[uuids[1]], two=[uuids[0]]), **BOTH)
        for name in (ONE, TWO):
            self.play("playbooks/stop.yml", service=name, overrides=rows(one=[0], two=[1]), **BOTH)
        self.note("after_stop", holders())

    def memory(self) -> None:
        """Two in place of one of TP 2 whose worker had hung; more KV cache than the GPU holds; a stranger who holds a GPU's memory."""
        wide, both = rows(one=[0, 1]), rows(one=[0], two=[1])
        wide[ONE]["env"] = {**wide[ONE]["env"], "VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS": "40"}
        self.deployed("one_of_two", wide, **FIRST)
        self.fault("stop_worker_40", "Worker_TP1", signal.SIGSTOP, limit=180)
        self.deployed("back_to_two", both, **BOTH)
        began = time.monotonic()
        huge = {
            **both,
            ONE: {
                **both[ONE],
                "ready_timeout": 120,
                "engine_args": {**both[ONE]["engine_args"], "kv_cache_memory_bytes": 90 << 30},
            },
        }
        text = self.play("deploy.yml", "--tags", "fetch,serve,verify", ok=None, overrides=huge, **BOTH)
        self.note(
            "out_of_memory",
            {
                "seconds": round(time.monotonic() - began, 1),
                "said": text[-2500:],
                "answers": ask(PORT, ONE),
                "holders": holders(),
            },
        )
        for name in both:
            self.play("playbooks/stop.yml", service=name, overrides=both, **BOTH)
        stranger = self.stranger(1, 62)
        text = " ".join(self.play("deploy.yml", "--tags", "preflight", ok=None, overrides=both, **BOTH).split())
        self.note("stranger", text[text.find("does not fit") - 20 :][:600])
        began = time.monotonic()
        text = self.play("playbooks/start.yml", ok=None, overrides=both, service=TWO, **BOTH)
        self.note(
            "start_without_memory",
            {"seconds": round(time.monotonic() - began, 1), "said": text[-1500:], "answer": ask(PORT + 1, TWO)},
        )
        stranger.kill()
        stranger.wait()
        began = time.monotonic()
        while ask(PORT + 1, TWO, seconds=5) != "172" and time.monotonic() - began < 90:
            time.sleep(1)
        self.note(
            "after_the_stranger",
            {"seconds": round(time.monotonic() - began, 1), "answer": ask(PORT + 1, TWO), "holders": holders()},
        )
        for name in both:
            self.play("playbooks/stop.yml", service=name, overrides=both, **BOTH)

    def stranger(self, gpu: int, gib: int) -> subprocess.Popen[str]:
        code = f"import torch, time\nx = torch.empty({gib} * 2**30, dtype=torch.uint8, device='cuda')\nprint('held', flush=True)\ntime.sleep(600)"
        env = {**os.environ, "CUDA_VISIBLE_DEVICES": str(gpu)}
        process = subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, text=True)
        assert process.stdout and process.stdout.readline()
        return process

    def fault(
        self, key: str, words: str, number: int, limit: float = 240, service: str = ONE, port: int = PORT
    ) -> None:
        """Note what a signal to one process of a service does, whose right answer is 172."""
        self.note(key, fault(service, port, words, number, lambda text: text == "172", limit))

    def faults(self) -> None:
        both = rows(one=[0, 1])
        self.play("deploy.yml", overrides=both, **FIRST)
        self.note("tp2_processes", sorted(title[:70] for title in processes(ONE).values()))
        self.fault("kill_worker", "Worker_TP1", signal.SIGKILL)
        self.fault("kill_engine_core", "EngineCore", signal.SIGKILL)
        self.fault("kill_api_server", "vllm serve", signal.SIGKILL)
        self.fault("kill_foreground", "foreground.py", signal.SIGKILL)
        self.fault("stop_worker", "Worker_TP1", signal.SIGSTOP, limit=60)
        self.play("playbooks/restart.yml", overrides=both, service=ONE, **FIRST)
        self.stop_under_load(both)
        self.play("playbooks/stop.yml", overrides=both, service=ONE, **FIRST)
        self.note("after_faults", {"holders": holders(), "processes": processes(ONE)})

    def pairs(self) -> None:
        """On four GPUs: two services of two each, named by UUID, from bare; faults in both at once."""
        uuids = [row[0] for row in smi("gpu=uuid")]
        both = {name: {**row, "ready_timeout": 150} for name, row in rows(one=uuids[:2], two=uuids[2:4]).items()}
        began = time.monotonic()
        self.play("deploy.yml", overrides=both, **BOTH)
        report = json.loads((WORK / "reports/h200/report.json").read_text())
        answers = {name: ask(row["port"], name) for name, row in both.items()}
        seconds = round(time.monotonic() - began, 1)
        self.note("pairs", {"from_bare_s": seconds, "holders": holders(), "answers": answers, "proof": report.get("devices")})  # fmt: skip
        kills = {
            ONE: (PORT, [("kill_worker", "Worker_TP1", signal.SIGKILL, 240), ("kill_api_server", "vllm serve", signal.SIGKILL, 240),
                         ("stop_worker", "Worker_TP1", signal.SIGSTOP, 60)]),
            TWO: (PORT + 1, [("kill_engine_core", "EngineCore", signal.SIGKILL, 240), ("kill_foreground", "foreground.py", signal.SIGKILL, 240)]),
        }  # fmt: skip

        def each(service: str) -> None:
            port, faults = kills[service]
            for key, words, number, limit in faults:
                self.fault(key, words, number, limit, service, port)

        threads = [threading.Thread(target=each, args=(service,)) for service in kills]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.play("playbooks/restart.yml", overrides=both, service=ONE, **BOTH)
        self.stop_under_load(both)
        self.play("playbooks/stop.yml", overrides=both, service=ONE, **BOTH)
        for name in both:
            self.play("playbooks/stop.yml", overrides=both, service=name, **BOTH)
        self.note(
            "after_pairs", {"holders": holders(), "processes": [*processes(ONE).values(), *processes(TWO).values()]}
        )

    def stop_under_load(self, deployed: dict[str, Any]) -> None:
        """A stop while 64 requests run: how each of them ended."""
        given = {"overrides": deployed, "service": ONE, "runs": list(deployed)}
        seconds, count = asked_during(
            ONE, PORT, lambda: self.play("playbooks/stop.yml", **given), 0.7, seconds=60, max_tokens=450
        )
        self.note(
            "stop_under_load", {"stop_s": seconds, "requests": count, "holders": holders(), "processes": processes(ONE)}
        )
        self.play("playbooks/start.yml", **given)


def main() -> None:
    out, *stages = sys.argv[1:]
    prepare()
    bench = Devices(Path(out), "devices.json")
    for stage in stages:
        {
            "place": bench.place,
            "memory": bench.memory,
            "faults": bench.faults,
            "load": lambda: bench.stop_under_load(rows(one=[0, 1])),
            "pairs": bench.pairs,
        }[stage]()


if __name__ == "__main__":
    main()
