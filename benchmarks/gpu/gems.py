#!/usr/bin/env python3
"""Which FlagGems operators make a model answer wrongly: each one alone, then all but the culprits, against the native answers.

    ENV/bin/python benchmarks/gpu/gems.py FOLDER      ENV: the environment that a deploy has made (vllm-gpu.lock)
Asks the demo model checked sums through vLLM's offline engine, one process for each set of operators, one process a GPU.
FOLDER gets gems.json: for each set the share of sums that have the native answer, the operators that ran, and seconds.
"""

from __future__ import annotations

import json
import os
import queue
import random
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
WORK = Path(os.environ.get("BENCH_WORK", "/tmp/gpu-bench"))
SUMS = 200
# What vllm-plugin-FL leaves on NVIDIA's Hopper GPUs (dispatch/config), and addmm as it is mm with a bias.
DENY = "mm,mm_out,addmm,addmm_out,copy_,to_copy,pow_scalar,clamp,clamp_,index_put_,index_put,_index_put_impl_,nonzero,index"


def questions() -> list[tuple[int, int]]:
    pick = random.Random(7)
    return [(pick.randrange(1000), pick.randrange(1000)) for _ in range(SUMS)]


def answers(eager: bool) -> dict[str, Any]:
    """In a process of its own: what the model says to each sum, greedy, sixteen and then one at a time."""
    from vllm import LLM, SamplingParams

    began = time.monotonic()
    llm = LLM(
        model=str(ROOT / "models/demo"),
        enforce_eager=eager,
        gpu_memory_utilization=0.15,
        max_model_len=512,
        max_num_seqs=16,
    )
    started = time.monotonic() - began
    greedy = SamplingParams(temperature=0, max_tokens=8)
    chats = [[{"role": "user", "content": f"What is {a} + {b}?"}] for a, b in questions()]
    texts = [out.outputs[0].text.strip() for out in llm.chat(chats, greedy, use_tqdm=False)]
    alone = [llm.chat(chat, greedy, use_tqdm=False)[0].outputs[0].text.strip() for chat in chats[:8]]
    return {
        "answers": texts,
        "alone": alone,
        "start_s": round(started, 1),
        "seconds": round(time.monotonic() - began, 1),
    }


def plugin() -> Path:
    """The release's plug-in folder, as a deploy renders it."""
    folder = WORK / "plugin"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "vllm_ansible_flaggems-1.dist-info").mkdir(parents=True)
    source = ROOT / "templates/vllm/plugin"
    shutil.copy(source / "vllm_ansible_flaggems.py", folder)
    for name in ("METADATA", "entry_points.txt"):
        shutil.copy(source / name, folder / "vllm_ansible_flaggems-1.dist-info" / name)
    return folder


def run(gpu: int, name: str, env: dict[str, str], folder: Path, eager: bool = True) -> dict[str, Any]:
    """One set of operators in a process of its own on one GPU."""
    oplist, out = folder / f"{name}.ops", folder / f"{name}.json"
    oplist.unlink(missing_ok=True)
    full = {
        **os.environ, "CUDA_VISIBLE_DEVICES": str(gpu), "VLLM_USE_FLASHINFER_SAMPLER": "0", "HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1",
        "VLLM_NO_USAGE_STATS": "1", "PYTHONPATH": str(plugin_folder), "FLAGGEMS_ENABLE_OPLIST_PATH": str(oplist),
        "VLLM_CACHE_ROOT": str(WORK / f"gems-cache-{name}"), "FLAGGEMS_CACHE_DIR": str(WORK / "gems-cache"), **env,
    }  # fmt: skip
    words = [sys.executable, __file__, "--ask", str(out), *(["--graphs"] if not eager else [])]
    with (folder / f"{name}.log").open("w") as log:
        done = subprocess.run(words, env=full, stdout=log, stderr=subprocess.STDOUT, check=False, timeout=400)
    found: dict[str, Any] = json.loads(out.read_text()) if done.returncode == 0 else {"failed": done.returncode}
    text = oplist.read_text() if oplist.exists() else ""
    found["operators"] = sorted(
        {line.split(":")[0].rpartition(".")[2].strip("] ") for line in text.splitlines() if "GEMS" in line}
    )
    return found


def measure(folder: Path, gpus: int) -> None:
    results: dict[str, Any] = {}
    lock = threading.Lock()

    def note(name: str, found: dict[str, Any]) -> None:
        native = results.get("native", found).get("answers") or []
        texts = found.pop("answers", None) if name != "native" else found.get("answers")
        if texts:
            right = [a + b for a, b in questions()]
            found["right_share"] = sum(t == str(r) for t, r in zip(texts, right, strict=True)) / len(texts)
            found["like_native"] = sum(t == n for t, n in zip(texts, native, strict=True)) / len(texts)
            found["sample"] = texts[:3]
        with lock:
            results[name] = found
            shown = {
                key: {k: v for k, v in row.items() if k not in ("answers", "alone")} for key, row in results.items()
            }
            (folder / "gems.json").write_text(json.dumps(shown, indent=1) + "\n")
        print(name, json.dumps({k: v for k, v in found.items() if k not in ("answers", "alone")})[:300], flush=True)

    def all_of(jobs: list[tuple[str, dict[str, str], bool]]) -> None:
        todo: queue.Queue[tuple[str, dict[str, str], bool]] = queue.Queue()
        for job in jobs:
            todo.put(job)

        def worker(gpu: int) -> None:
            while True:
                try:
                    name, env, eager = todo.get_nowait()
                except queue.Empty:
                    return
                note(name, run(gpu, name, env, folder, eager))

        threads = [threading.Thread(target=worker, args=(gpu,)) for gpu in range(gpus)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    on = {"USE_FLAGGEMS": "1"}
    note("native", run(0, "native", {}, folder))
    upstream = {**on, "VLLM_FL_FLAGOS_BLACKLIST": DENY}
    all_of([("upstream", upstream, True), ("ours", on, True), ("ours_graphs", on, False), ("native_again", {}, True)])
    active = results["upstream"]["operators"]
    all_of([(f"only_{op}", {**on, "VLLM_FL_FLAGOS_WHITELIST": op}, True) for op in active])
    culprits = [op for op in active if results[f"only_{op}"].get("like_native", 0) < 0.98]
    deny = ",".join([DENY, *culprits])
    all_of([("without_culprits", {**on, "VLLM_FL_FLAGOS_BLACKLIST": deny}, True),
            ("without_culprits_graphs", {**on, "VLLM_FL_FLAGOS_BLACKLIST": deny}, False)])  # fmt: skip
    note("culprits", {"names": culprits})


plugin_folder = WORK / "plugin"
if __name__ == "__main__":
    if sys.argv[1] == "--ask":
        Path(sys.argv[2]).write_text(json.dumps(answers("--graphs" not in sys.argv)))
    else:
        target = Path(sys.argv[1])
        target.mkdir(parents=True, exist_ok=True)
        plugin()
        count = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True).stdout.count("GPU ")
        measure(target, count)
