#!/usr/bin/env python3
"""Where one stream's time goes while decoding, and what wins it back: Qwen2-7B's shape, dummy weights, vLLM's offline engine.

    ENV/bin/python benchmarks/gpu/decode.py FOLDER [VARIANT...]      ENV: the environment that a deploy has made (vllm-gpu.lock)
    ENV/bin/python benchmarks/gpu/decode.py FOLDER all_reduce        on two GPUs: what reducing over them takes of QwQ-32B's shape
One process for each variant. FOLDER gets decode.json: seconds per token, seconds of kernels per token by name, and the limit, which is
the bytes that a token reads (weights without the embedding, of which a token reads a row) over the bandwidth that reading them has.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
TOKENS = 257
ALL_REDUCE = ("all_reduce", "allreduce", "cross_device_reduce", "ncclDevKernel")
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "async": {"async_scheduling": True},
    "full_graph": {"compilation_config": {"cudagraph_mode": "FULL"}},
    "tuned_1": {"compilation_config": {"compile_sizes": [1]}},
    "tuned_1_full": {"compilation_config": {"compile_sizes": [1], "cudagraph_mode": "FULL"}},
    "eager": {"enforce_eager": True},
}


def read_rate() -> float:
    """Bytes a second that a reduction reads, which writes next to nothing."""
    import torch

    data = torch.ones(4 * 2**30, dtype=torch.bfloat16, device="cuda")
    for _ in range(3):
        data.sum()
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(20):
        data.sum()
    torch.cuda.synchronize()
    rate = 20 * data.numel() * 2 / (time.perf_counter() - began)
    del data
    torch.cuda.empty_cache()
    return rate


def measure(name: str) -> dict[str, Any]:
    import torch
    from run import shape
    from vllm import LLM, SamplingParams
    from vllm.inputs import TokensPrompt

    rate, began = read_rate(), time.monotonic()
    llm = LLM(
        model=str(shape("7b")), load_format="dummy", max_model_len=8192, max_num_seqs=256, gpu_memory_utilization=0.85,
        enable_prefix_caching=False, **VARIANTS[name],
    )  # fmt: skip
    started = time.monotonic() - began
    prompt = TokensPrompt(prompt_token_ids=[1000 + 7 * i for i in range(512)])

    def ask(tokens: int) -> float:
        began = time.perf_counter()
        llm.generate([prompt], SamplingParams(temperature=0, max_tokens=tokens, ignore_eos=True), use_tqdm=False)
        return time.perf_counter() - began

    for tokens in (TOKENS, 1, TOKENS):
        ask(tokens)
    per_token = statistics.median((ask(TOKENS) - ask(1)) / (TOKENS - 1) for _ in range(5))
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        ask(65)
    rows = [(row.key, row.self_device_time_total / 1e6, row.count) for row in profile.key_averages()]
    kernels = sorted((row for row in rows if row[1]), key=lambda row: -row[1])
    return {
        "start_s": round(started, 1), "per_token_s": round(per_token, 6), "tokens_per_s": round(1 / per_token, 1), "read_bytes_per_s": rate,
        "kernels_s": round(sum(row[1] for row in kernels), 5), "of_tokens": 65,
        "kernels": [{"name": key[:110], "seconds": round(seconds, 6), "count": count} for key, seconds, count in kernels[:16]],
    }  # fmt: skip


def all_reduce(folder: Path) -> dict[str, Any]:
    """QwQ-32B's shape over two GPUs with CUDA graphs: the share of the kernels' time that reducing over the GPUs takes, by requests at once.

    A kernel that waits for its peers counts as long as it waits. Each worker writes its own trace.
    """
    from run import shape
    from vllm import LLM, SamplingParams
    from vllm.inputs import TokensPrompt

    traces = folder / "traces"
    shutil.rmtree(traces, ignore_errors=True)
    llm = LLM(
        model=str(shape("32b")), load_format="dummy", max_model_len=8192, max_num_seqs=256, gpu_memory_utilization=0.9, enable_prefix_caching=False,
        tensor_parallel_size=2, profiler_config={"profiler": "torch", "torch_profiler_dir": str(traces), "torch_profiler_with_stack": False},
    )  # fmt: skip
    found: dict[str, Any] = {}
    for count, tokens in ((1, 512), (16, 512), (64, 512), (1, 4096)):
        prompts = [TokensPrompt(prompt_token_ids=[1000 + 7 * i + n for i in range(tokens)]) for n in range(count)]
        params = SamplingParams(temperature=0, max_tokens=33, ignore_eos=True)
        llm.generate(prompts, params, use_tqdm=False)
        seen = set(traces.glob("*.json.gz")) if traces.exists() else set()
        llm.start_profile()
        llm.generate(prompts, params, use_tqdm=False)
        llm.stop_profile()
        found[f"{count} x {tokens}"] = [share(path) for path in sorted(set(traces.glob("*.json.gz")) - seen)]
    return found


def share(trace: Path) -> dict[str, Any]:
    """Of one worker's trace: seconds of all kernels, of those that reduce over GPUs, and their names with seconds."""
    kernels: dict[str, float] = {}
    for event in json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]:
        if event.get("cat") == "kernel":
            kernels[event["name"]] = kernels.get(event["name"], 0.0) + event["dur"] / 1e6
    reducing = {name: seconds for name, seconds in kernels.items() if any(word in name for word in ALL_REDUCE)}
    whole = sum(kernels.values())
    return {
        "trace": trace.name, "kernels_s": round(whole, 5), "reducing_s": round(sum(reducing.values()), 5),
        "share": round(sum(reducing.values()) / whole, 4) if whole else None,
        "names": {name[:80]: round(seconds, 5) for name, seconds in sorted(kernels.items(), key=lambda row: -row[1])[:8]},
    }  # fmt: skip


def main() -> None:
    if sys.argv[1] == "--one":
        out = Path(sys.argv[3])
        out.write_text(json.dumps(all_reduce(out.parent) if sys.argv[2] == "all_reduce" else measure(sys.argv[2])))
        return
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    path, results = folder / "decode.json", {}
    env = {
        **os.environ, "VLLM_USE_FLASHINFER_SAMPLER": "0", "HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "VLLM_NO_USAGE_STATS": "1",
        "NCCL_NVLS_ENABLE": "0", "TORCH_SYMM_MEM_DISABLE_MULTICAST": "1", "NVSHMEM_DISABLE_NVLS": "1", "VLLM_ALLREDUCE_USE_SYMM_MEM": "0",
    }  # fmt: skip
    for name in sys.argv[2:] or VARIANTS:
        # One GPU's engine runs in this process, where the profiler sees it.
        env["VLLM_ENABLE_V1_MULTIPROCESSING"] = "1" if name == "all_reduce" else "0"
        out = folder / f"decode-{name}.json"
        with (folder / f"decode-{name}.log").open("w") as log:
            words = [sys.executable, __file__, "--one", name, str(out)]
            done = subprocess.run(words, env=env, stdout=log, stderr=subprocess.STDOUT, check=False, timeout=500)
        results[name] = json.loads(out.read_text()) if done.returncode == 0 else {"failed": done.returncode}
        path.write_text(json.dumps(results, indent=1) + "\n")
        print(name, json.dumps(results[name])[:900], flush=True)


if __name__ == "__main__":
    main()
