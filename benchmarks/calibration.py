#!/usr/bin/env python3
"""Where the verdict's margins lie: known faults of growing size in one real vLLM, each judged against a pack.

    ENV/bin/python benchmarks/calibration.py MODEL_FOLDER PACK_FOLDER OUT.json [--items 400] [--dtype float16]

ENV has vLLM (a deploy made one below serving_root/envs). The engine starts once; each variant changes its weights in place and puts them
back. OUT.json gets a row a variant: the mean divergence with its bounds, how many greedy answers part, the score's difference, the verdict.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT))
os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = (
    "0"  # variants change the weights in place, so the engine runs in this process
)
os.environ.setdefault("VLLM_ALLOW_INSECURE_SERIALIZATION", "1")
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")

from judging import canary, garbage, packs  # noqa: E402


def noise(part: str, size: float) -> Callable[[Any], None]:
    """Weights shifted by noise of `size` of their own mean size."""

    def change(model: Any) -> None:
        import torch

        torch.manual_seed(1)
        for name, weight in model.named_parameters():
            if part in name:
                weight.data += (torch.randn(weight.shape) * weight.float().abs().mean() * size).to(weight.dtype)

    return change


def rope(theta: float) -> Callable[[Any], None]:
    """Rotary embedding with another base."""

    def change(model: Any) -> None:
        import torch

        for module in model.modules():
            cache = getattr(module, "cos_sin_cache", None)
            if cache is not None:
                half = cache.shape[-1] // 2
                angles = torch.outer(
                    torch.arange(cache.shape[0]).float(), theta ** -(torch.arange(half).float() / half)
                )
                cache.data = torch.cat([angles.cos(), angles.sin()], dim=-1).to(cache.dtype)

    return change


def filled(part: str, value: float) -> Callable[[Any], None]:
    """Tensors whose name has `part`, filled with one value."""

    def change(model: Any) -> None:
        for name, weight in model.named_parameters():
            if part in name:
                weight.data.fill_(value)

    return change


# A norm's weights: vLLM for CPU computes with packed copies of its matrices, which a change of the parameter doesn't reach.
NORM = "layers.1.post_attention_layernorm"
VARIANTS: dict[str, Callable[[Any], None] | None] = {
    "the same": None,
    "one norm, noise 0.3 %": noise(NORM, 0.003),
    "one norm, noise 3 %": noise(NORM, 0.03),
    "one norm, noise 10 %": noise(NORM, 0.1),
    "one norm, noise 30 %": noise(NORM, 0.3),
    "one norm, noise 100 %": noise(NORM, 1.0),
    "rotary base 990,000 for 1,000,000": rope(990_000.0),
    "rotary base 500,000 for 1,000,000": rope(500_000.0),
    "rotary base 10,000 for 1,000,000": rope(10_000.0),
    "one norm of zeros": filled(NORM, 0.0),
    "one norm of NaN": filled(NORM, float("nan")),
}


def keep(model: Any) -> None:
    """Remember weights and caches, in the engine's own process."""
    model.kept = {name: value.clone() for name, value in model.named_parameters()}
    model.caches = [
        (m, m.cos_sin_cache.clone()) for m in model.modules() if getattr(m, "cos_sin_cache", None) is not None
    ]


def restore(model: Any) -> None:
    for name, value in model.named_parameters():
        value.data = model.kept[name].clone()
    for module, cache in model.caches:
        module.cos_sin_cache.data = cache.clone()


def position(token: int, row: Any) -> list[list[Any]]:
    listed = {int(key): round(float(one.logprob), 6) for key, one in row.items()}
    return [[token, listed.get(token)], *([key, value] for key, value in listed.items() if key != token)]


def answers_of(llm: Any, rows: list[dict[str, Any]], top: int) -> dict[str, Any]:
    """What library/canary.py asks over HTTP, from an engine in hand."""
    from vllm import SamplingParams, TokensPrompt

    decode = [SamplingParams(temperature=0, max_tokens=row["tokens"], logprobs=top) for row in rows]
    force = SamplingParams(temperature=0, max_tokens=1, prompt_logprobs=top)
    made = llm.generate([TokensPrompt(prompt_token_ids=row["prompt"]) for row in rows], decode, use_tqdm=False)
    seen = llm.generate([TokensPrompt(prompt_token_ids=row["forced"]) for row in rows], force, use_tqdm=False)
    found = {}
    for row, answer, forced in zip(rows, made, seen, strict=True):
        out = answer.outputs[0]
        found[row["id"]] = {
            "tokens": list(out.token_ids), "text": out.text, "finish": out.finish_reason,
            "decoded": [position(t, one) for t, one in zip(out.token_ids, out.logprobs, strict=True)],
            "forced": [
                position(t, one) for t, one in zip(row["forced"][row["from"] :], forced.prompt_logprobs[row["from"] :], strict=True)
            ],
        }  # fmt: skip
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("model", "pack", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--items", type=int, default=400)
    parser.add_argument("--dtype", default="bfloat16")
    given = parser.parse_args()
    from vllm import LLM

    pack = packs.read(given.pack)
    pack = pack._replace(items=pack.items[: given.items])
    rows = canary.requests(pack)
    runs = {item["id"]: item["runs"][0] for item in pack.items}
    llm = LLM(
        str(given.model),
        dtype=given.dtype,
        max_model_len=512,
        enforce_eager=True,
        distributed_executor_backend="uni",
        enable_prefix_caching=False,
        seed=0,
    )
    llm.apply_model(keep)
    table = json.loads(given.out.read_text()) if given.out.exists() else {}
    same: dict[str, Any] = {}
    for name, change in VARIANTS.items():
        if change:
            llm.apply_model(change)
        answers = answers_of(llm, rows, int(pack.about["top"]))
        if change and answers == same:
            print(f"{given.dtype}: {name}: without effect", flush=True)
            continue
        same = answers if change is None else same
        service = {
            "identity": pack.about["model"]["identity"],
            "broken": garbage.broken([(runs[i], a) for i, a in answers.items()]),
        }
        record = canary.judge(pack, {}, service, {"32": answers})
        table[f"{given.dtype}: {name}"] = {
            "verdict": record["verdict"],
            "findings": record["findings"],
            "parted": record["disagreeing"],
        }
        print(
            f"{given.dtype}: {name}",
            record["verdict"],
            [(one["metric"], one["value"], one["high"]) for one in record["findings"]],
            flush=True,
        )
        given.out.write_text(json.dumps(table, indent=1) + "\n")
        llm.apply_model(restore)


if __name__ == "__main__":
    main()
