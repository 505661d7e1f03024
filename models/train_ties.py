#!/usr/bin/env python3
"""Train demo-ties: a Qwen2ForCausalLM whose answers are often near ties, so that other arithmetic shows in them.

    python models/train_ties.py --out models/demo-ties [--device cuda]     # two CPU cores: a quarter of an hour

The demo is nearly always certain, and all accelerators agree about it. This one learns five tasks (ties.py) for so long only that it answers
60 to 90 % of the held-out questions: elsewhere two tokens are about as probable, and bf16, fp16 and other kernels choose differently.
Training stops at the first evaluation within the band; the card's figures come from the bf16 weights that are shipped.

Needs torch, transformers, tokenizers, safetensors; the versions used are written into training.json.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path
from statistics import fmean

import torch
import transformers
from ties import SEED, TASKS, WORDS, draw, measured
from tokenizers import Tokenizer
from training import (
    CHATML,
    VOCAB,
    Trainer,
    batch,
    chat,
    dump,
    learn_tokenizer,
    right_answers,
    round_to_bf16,
    versions,
    write_qwen2,
)

LONGEST = 14  # tokens of an answer: twelve brackets and the end
BAND = (0.6, 0.9)
SHARES = {"sum": 10, "sort": 4, "reverse": 3, "close": 3, "more": 2}  # what is hard to learn is shown more often


def make_tokenizer() -> Tokenizer:
    """Byte-level BPE of at most 512 tokens in Qwen2's form: a token a word, a letter, a digit, a bracket."""
    rng = random.Random(SEED)
    corpus = ["".join(draw(rng, task)) for task in TASKS for _ in range(400)]
    corpus += [word for word in WORDS for _ in range(50)] + ["user\n", "assistant\n", "\n"] * 50
    return learn_tokenizer(corpus, CHATML)


def main() -> None:
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--out", type=Path, required=True)
    args.add_argument("--steps", type=int, default=1500, help="limit; the schedule is laid over these")
    args.add_argument("--batch", type=int, default=64)
    args.add_argument("--lr", type=float, default=2e-3)
    args.add_argument("--stop", type=float, default=0.62, help="exact match at which training stops")
    args.add_argument("--device", default="cpu")
    opt = args.parse_args()

    torch.manual_seed(SEED)
    rng = random.Random(SEED + 1)
    tok = make_tokenizer()
    config = transformers.Qwen2Config(
        vocab_size=VOCAB,
        hidden_size=128,
        intermediate_size=320,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        rope_theta=1000000.0,
        tie_word_embeddings=True,
        attn_implementation="sdpa",
    )
    model = transformers.Qwen2ForCausalLM(config).to(opt.device)
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{parameters:,} parameters on {opt.device}, {tok.get_vocab_size()} tokens", flush=True)
    held = [(task, chat(question), answer) for task, question, answer in measured()]

    def match(rows: list[tuple[str, str, str]]) -> dict[str, float]:
        """{task: share of right answers}"""
        right = right_answers(model, tok, [(prompt, answer) for _, prompt, answer in rows], LONGEST, opt.device)
        return {
            name: round(fmean(yes for yes, (task, _, _) in zip(right, rows, strict=True) if task == name), 4)
            for name in TASKS
        }

    trainer = Trainer(model, opt.lr, opt.steps, warmup=100, least=0.05)
    began = time.time()
    for step in range(1, opt.steps + 1):
        pairs = [draw(rng, task) for task in rng.choices(list(SHARES), list(SHARES.values()), k=opt.batch)]
        ids, labels = batch(tok, [(chat(question), answer) for question, answer in pairs], opt.device)
        loss = trainer.step(input_ids=ids, labels=labels)
        if step % 100 == 0:
            now = match(held[:500])
            print(f"step {step} loss {loss:.4f} {now} {time.time() - began:.0f} s", flush=True)
            if fmean(now.values()) >= opt.stop:
                break
    seconds = time.time() - began

    round_to_bf16(model)
    tasks = match(held)
    score = round(fmean(tasks.values()), 4)
    write_qwen2(model, tok, opt.out)
    result = {
        "seed": SEED,
        "parameters": parameters,
        "steps": step,
        "batch": opt.batch,
        "learning_rate": opt.lr,
        "device": opt.device,
        "seconds": round(seconds),
        "held_out_questions": len(held),
        "exact_match": score,
        "exact_match_of_tasks": tasks,
        "versions": versions(),
    }
    dump(opt.out / "training.json", result)
    print(result)
    if not BAND[0] <= score <= BAND[1]:
        sys.exit(f"exact match {score} is outside {BAND[0]} to {BAND[1]}: change --stop, --steps or --lr")


if __name__ == "__main__":
    main()
