#!/usr/bin/env python3
"""Where the verdict's margins lie: known faults of growing size through real vLLM, each judged against the same model without the fault.

    ENV/bin/python benchmarks/calibration.py OUT.json [--models demo demo-ties] [--items 96] [--variants NAME ...]

ENV has vLLM for CPU (a deploy made one below serving_root/envs). Every engine runs in this one process, since most of a start is imports. For
each model the reference is recorded first, as playbooks/record_reference.yml does: one by one, then 32 at once. A variant is a copy of the
model's folder with a fault in its files, or an engine with another option; what it answers goes to the verdict as a service's answers do.
OUT.json gets a row a model and variant: verdict, findings, how many answers part, seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT))
os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # the engine in this process
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
# One thread: the models are so small that threads only wait for each other.
os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from judging import canary, garbage, packs, recorded  # noqa: E402

TOP, LOADS, SAMPLED = 20, (1, 32), 4
BROKEN_ENGINE = "NO ENGINE"  # in the place of a verdict: vLLM refuses to start so
Edit = Callable[[Path], None]


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def settings(file: str, **values: Any) -> Edit:
    """Keys of one of the model's JSON files."""

    def edit(folder: Path) -> None:
        (folder / file).write_text(json.dumps({**read(folder / file), **values}))

    return edit


def template(change: Callable[[str], str]) -> Edit:
    def edit(folder: Path) -> None:
        path = folder / "tokenizer_config.json"
        found = read(path)
        path.write_text(json.dumps({**found, "chat_template": change(found["chat_template"])}))

    return edit


def weights(part: str, change: Callable[[Any], Any]) -> Edit:
    """Every tensor whose name has `part`, changed."""

    def edit(folder: Path) -> None:
        import safetensors.torch
        import torch

        torch.manual_seed(1)
        for file in sorted(folder.glob("*.safetensors")):
            tensors = safetensors.torch.load_file(file)
            changed = {name: change(t).to(t.dtype).contiguous() if part in name else t for name, t in tensors.items()}
            safetensors.torch.save_file(changed, file, metadata={"format": "pt"})

    return edit


def noise(part: str, size: float) -> Edit:
    """Weights shifted by noise of `size` of their own mean size."""

    def change(tensor: Any) -> Any:
        import torch

        return tensor.float() + torch.randn(tensor.shape) * tensor.float().abs().mean() * size

    return weights(part, change)


def head_of_zeros(folder: Path) -> None:
    """A head of its own, all zeros: the demo models tie theirs to the embedding."""
    import safetensors.torch

    settings("config.json", tie_word_embeddings=False)(folder)
    index = read(folder / "model.safetensors.index.json")
    file = index["weight_map"]["model.embed_tokens.weight"]
    tensors = safetensors.torch.load_file(folder / file)
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"] * 0
    safetensors.torch.save_file(tensors, folder / file, metadata={"format": "pt"})
    index["weight_map"]["lm_head.weight"] = file
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


class Variant(NamedTuple):
    edit: Edit | None = None
    options: dict[str, Any] = {}  # of the engine


LAYER = "layers.1."
VARIANTS: dict[str, Variant] = {
    "the same": Variant(),
    "float16 instead of bfloat16": Variant(None, {"dtype": "float16"}),
    "float32 instead of bfloat16": Variant(None, {"dtype": "float32"}),
    "cache of fp8": Variant(None, {"kv_cache_dtype": "fp8"}),
    "cache of int8": Variant(None, {"kv_cache_dtype": "int8_per_token_head"}),
    "one layer, noise 0.3 %": Variant(noise(LAYER, 0.003)),
    "one layer, noise 1 %": Variant(noise(LAYER, 0.01)),
    "one layer, noise 3 %": Variant(noise(LAYER, 0.03)),
    "one layer, noise 10 %": Variant(noise(LAYER, 0.1)),
    "one layer, noise 50 %": Variant(noise(LAYER, 0.5)),
    "rotary base 990,000 for 1,000,000": Variant(settings("config.json", rope_theta=990_000.0)),
    "rotary base 500,000 for 1,000,000": Variant(settings("config.json", rope_theta=500_000.0)),
    "rotary base 10,000 for 1,000,000": Variant(settings("config.json", rope_theta=10_000.0)),
    "one layer of NaN": Variant(weights(LAYER + "mlp.down", lambda tensor: tensor * float("nan"))),
    "head of zeros": Variant(head_of_zeros),
    "template with a system prompt": Variant(template(lambda text: "<|im_start|>system\nBe brief.<|im_end|>\n" + text)),
    "beginning of text twice": Variant(template(lambda text: "<|endoftext|><|endoftext|>" + text)),
    "repetition_penalty 1.3 of its own": Variant(settings("generation_config.json", repetition_penalty=1.3)),
}


def through(folder: Path, use: Callable[[Any], Any], **options: Any) -> Any:
    """What `use` makes of a vLLM in this process. No name may keep the engine: its late end would take the next one's groups away."""
    from vllm import LLM
    from vllm.distributed import cleanup_dist_env_and_memory

    base = {"dtype": "bfloat16", "max_model_len": 512, "enforce_eager": True, "enable_prefix_caching": False, "seed": 0}
    llm = LLM(str(folder), distributed_executor_backend="uni", **{**base, **options})
    try:
        return use(llm)
    finally:
        llm.llm_engine.engine_core.shutdown()
        del llm
        cleanup_dist_env_and_memory()


def position(token: int, row: Any) -> list[list[Any]]:
    listed = {int(key): number(one.logprob) for key, one in row.items()}
    return [[token, listed.get(token)], *([key, value] for key, value in listed.items() if key != token)]


def number(logprob: float) -> float | None:
    """Six digits, as the service's answers have them; NaN comes as null."""
    return round(float(logprob), 6) if float("-inf") < logprob < float("inf") else None


def answers_of(llm: Any, rows: list[dict[str, Any]], load: int) -> dict[str, Any]:
    """What library/canary.py asks over HTTP, from an engine in hand, `load` requests at once."""
    from vllm import SamplingParams

    force = SamplingParams(temperature=0, max_tokens=1, prompt_logprobs=TOP)
    found: dict[str, Any] = {}
    for first in range(0, len(rows), load):
        some = rows[first : first + load]
        decode = [SamplingParams(temperature=0, max_tokens=row["tokens"], logprobs=TOP) for row in some]
        made = [one.outputs[0] for one in generate(llm, [row["prompt"] for row in some], decode)]
        given = [row.get("forced") or [*row["prompt"], *out.token_ids] for row, out in zip(some, made, strict=True)]
        seen = generate(llm, given, force)
        for row, out, tokens, forced in zip(some, made, given, seen, strict=True):
            since = row.get("from") or 1
            found[row["id"]] = {
                "prompt": row["prompt"], "tokens": list(out.token_ids), "text": out.text, "finish": out.finish_reason,
                "decoded": [position(t, one) for t, one in zip(out.token_ids, out.logprobs, strict=True)],
                "forced": [
                    position(t, one) for t, one in zip(tokens[since:], forced.prompt_logprobs[since:], strict=True)
                ],
            }  # fmt: skip
    return found


def generate(llm: Any, prompts: list[list[int]], params: Any) -> list[Any]:
    from vllm import TokensPrompt

    return list(llm.generate([TokensPrompt(prompt_token_ids=ids) for ids in prompts], params, use_tqdm=False))


def seen_template(llm: Any) -> dict[str, Any]:
    tokens = tokens_of(llm, recorded.template_messages())
    return {"tokens": tokens, "count": len(tokens)}


def tokens_of(llm: Any, messages: list[dict[str, str]]) -> list[int]:
    found = llm.get_tokenizer().apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    return [int(token) for token in found]


def own_sampling(llm: Any, rows: list[dict[str, Any]], answers: dict[str, Any]) -> str:
    """As the canary does: do greedy answers change where the caller leaves sampling to the model's generation_config.json?"""
    apart = 0
    for row in rows[:SAMPLED]:
        params = llm.get_default_sampling_params()
        params.temperature, params.max_tokens = 0, row["tokens"]
        apart += list(generate(llm, [row["prompt"]], params)[0].outputs[0].token_ids) != answers[row["id"]]["tokens"]
    return (
        f"{apart} of {len(rows[:SAMPLED])} greedy answers change when sampling is left to the service" if apart else ""
    )


def questions(model: str, count: int) -> list[dict[str, Any]]:
    """{id, messages, expect} of one of the small models."""
    if model == "demo-ties":
        lines = (ROOT / "models/ties-held-out.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines[:count]]
    pick = random.Random(1)
    pairs = {(pick.randrange(1000), pick.randrange(1000)): None for _ in range(count)}
    return [
        {"id": f"{a} + {b}", "messages": [{"role": "user", "content": f"What is {a} + {b}?"}], "expect": str(a + b)}
        for a, b in pairs
    ]


def record(model: str, count: int, folder: Path, llm: Any) -> packs.Pack:
    """A pack of the model without a fault, in the form in which packs are recorded and read."""
    asked = questions(model, count)
    items = [
        {"id": row["id"], "shown": row["messages"][0]["content"], "expect": row["expect"], "tokens": 16, "prompt": tokens_of(llm, row["messages"])}
        for row in asked
    ]  # fmt: skip
    served = {
        "model": model, "identity": model, "source_identity": None, "engine": "vllm", "fingerprint": "", "max_model_len": 512,
        "template": seen_template(llm),
    }  # fmt: skip
    first = answers_of(llm, items, LOADS[0])
    second = answers_of(llm, recorded.second_run(items, first), LOADS[1])
    recorded.write(folder, {"top": TOP}, items, {"served": served, "answers": first}, {"answers": second})
    return packs.read(folder)


def judged(pack: packs.Pack, llm: Any) -> dict[str, Any]:
    """The verdict on an engine, by what action_plugins/judge.py does: garbage first, then one by one and many at once."""
    rows = canary.requests(pack)
    runs = {item["id"]: item["runs"][0] for item in pack.items}
    loads: dict[str, Any] = {}
    service: dict[str, Any] = {"identity": pack.about["model"]["identity"], "template": seen_template(llm)}
    for load, some in zip(LOADS, (rows[: canary.SINGLE], rows), strict=True):
        loads[str(load)] = answers_of(llm, some, load)
        service["broken"] = garbage.broken([(runs[key], answer) for key, answer in loads[str(load)].items()])
        if service["broken"]:
            break
    service["own_sampling"] = own_sampling(llm, rows, loads["1"])
    return canary.judge(pack, {}, service, loads)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--models", nargs="+", default=["demo", "demo-ties"])
    parser.add_argument("--items", type=int, default=160)
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    given = parser.parse_args()
    table: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as place:
        for model in given.models:
            source, rows = ROOT / "models" / model, table.setdefault(model, {})
            pack = through(source, partial(record, model, given.items, Path(place) / f"{model}-pack"))
            right = sum(canary.right(item, item["runs"][0]) for item in pack.items)
            rows["reference"] = {**pack.about["own"], "right": right, "of": len(pack.items)}
            for name in given.variants:
                variant, began = VARIANTS[name], time.monotonic()
                folder = Path(place) / f"{model}-{len(rows)}"  # one of its own: vLLM keeps a tokenizer by its path
                shutil.copytree(source, folder)
                if variant.edit:
                    variant.edit(folder)
                try:
                    found = through(folder, partial(judged, pack), **variant.options)
                    rows[name] = {key: found[key] for key in ("verdict", "findings", "disagreeing")}
                except Exception as problem:  # vLLM raises of every kind; the table says what it refuses
                    rows[name] = {"verdict": BROKEN_ENGINE, "findings": [], "disagreeing": 0, "why": str(problem)[:300]}
                rows[name]["seconds"] = round(time.monotonic() - began, 1)
                print(model, name, rows[name]["verdict"], rows[name]["seconds"], flush=True)
                given.out.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
