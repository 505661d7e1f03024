#!/usr/bin/env python3
"""Where one stream's time goes while decoding, and what wins it back: Qwen2-7B's shape, dummy weights, vLLM's offline engine.

    ENV/bin/python benchmarks/gpu/decode.py FOLDER [VARIANT...]      ENV: the environment that a deploy has made (vllm-gpu.lock)
One process for each variant. FOLDER gets decode.json: seconds per token, seconds of kernels per token by name, and the limit, which is
the bytes that a token reads (weights without the embedding, of which a token reads a row) over the bandwidth that reading them has.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
TOKENS = 257
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


def main() -> None:
    if sys.argv[1] == "--one":
        Path(sys.argv[3]).write_text(json.dumps(measure(sys.argv[2])))
        return
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    path, results = folder / "decode.json", {}
    env = {
        **os.environ, "VLLM_USE_FLASHINFER_SAMPLER": "0", "HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "VLLM_NO_USAGE_STATS": "1",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the engine in this process, where the profiler sees it
    }  # fmt: skip
    for name in sys.argv[2:] or VARIANTS:
        out = folder / f"decode-{name}.json"
        with (folder / f"decode-{name}.log").open("w") as log:
            words = [sys.executable, __file__, "--one", name, str(out)]
            done = subprocess.run(words, env=env, stdout=log, stderr=subprocess.STDOUT, check=False, timeout=400)
        results[name] = json.loads(out.read_text()) if done.returncode == 0 else {"failed": done.returncode}
        path.write_text(json.dumps(results, indent=1) + "\n")
        print(name, json.dumps(results[name])[:900], flush=True)


if __name__ == "__main__":
    main()
