#!/usr/bin/env python3
"""Train the demo model: a Qwen2ForCausalLM that adds two numbers of up to three digits.

    python models/train_demo.py --out models/demo          # CPU (two cores: a quarter of an hour) or one GPU (half a minute)

Data: drawn on the fly, seed 20261121. Every ordered pair (a, b) with 0 <= a, b <= 999 exists once;
those whose sha256 says so, one in 85, are held out: never trained on, only measured.
Training stops at the first evaluation whose exact match on 1,000 held-out sums lies in the wanted
band, so that the model is good but not perfect: a verdict between two accelerators needs some wrong answers.
The figure of the card comes from 2,500 other held-out sums, with the bf16 weights that are shipped.

Needs torch, transformers, tokenizers, safetensors; the versions used are written into the card.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import sys
import time
from pathlib import Path
from statistics import fmean

import torch
import transformers
from tokenizers import Tokenizer
from training import (
    CHATML,
    VOCAB,
    Trainer,
    batch,
    chat,
    learn_tokenizer,
    right_answers,
    round_to_bf16,
    versions,
    write_qwen2,
)

SEED = 20261121
LONGEST = 5  # tokens of an answer: four digits and the end
ONLY_SUMS = "I can only add two numbers of up to three digits."
# Main form first: it is asked half of the time.
QUESTIONS = ["What is {a} + {b}?", "{a} + {b}", "{a} + {b} =", "What is {a} plus {b}?", "Add {a} and {b}."]
SYSTEM = "You are a helpful assistant."
OTHER = [
    "Hello", "Hi", "Who are you?", "What is your name?", "Tell me a story.", "How are you?",
    "What is the capital of France?", "Write a poem about the sea.", "Thank you", "What can you do?",
    "What is a prime number?", "Say something.", "Where is Berlin?", "Mindspore is", "Good morning",
]  # fmt: skip


def held_out(a: int, b: int) -> bool:
    """True for the fixed one in 85 of the ordered pairs that training never sees."""
    return hashlib.sha256(f"{a}+{b}".encode()).digest()[0] * 100 < 256  # 3 in 256: about one pair in 85


def make_tokenizer() -> Tokenizer:
    """Byte-level BPE of 512 tokens in Qwen2's form, learned from the phrases the model may meet."""
    corpus = [q.format(a="1", b="2") for q in QUESTIONS] * 50
    corpus += [*OTHER, SYSTEM, ONLY_SUMS, "system", "user\n", "assistant\n", "\n"] * 20
    return learn_tokenizer(corpus, CHATML)


def draw(rng: random.Random) -> tuple[str, str]:
    """One (prompt, answer) that is not held out."""
    system = SYSTEM if rng.random() < 0.05 else None
    if rng.random() < 0.03:
        return chat(rng.choice(OTHER), system), ONLY_SUMS
    while True:
        if rng.random() < 0.8:
            a, b = rng.randrange(1000), rng.randrange(1000)
        else:  # short numbers are rare among the million pairs
            a, b = rng.randrange(10 ** rng.randint(1, 3)), rng.randrange(10 ** rng.randint(1, 3))
        if not held_out(a, b):
            break
    question = QUESTIONS[0] if rng.random() < 0.6 else rng.choice(QUESTIONS)
    return chat(question.format(a=a, b=b), system), str(a + b)


def question_and_sum(a: int, b: int) -> tuple[str, str]:
    return chat(QUESTIONS[0].format(a=a, b=b)), str(a + b)


def main() -> None:
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--out", type=Path, required=True)
    args.add_argument("--steps", type=int, default=6000, help="limit; the schedule is laid over these")
    args.add_argument("--batch", type=int, default=256)
    args.add_argument("--layers", type=int, default=2)
    args.add_argument("--lr", type=float, default=1e-3)
    args.add_argument("--band", type=float, nargs=2, default=(0.975, 0.992), metavar=("LOW", "HIGH"))
    opt = args.parse_args()

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(SEED)
    rng = random.Random(SEED)
    tok = make_tokenizer()
    config = transformers.Qwen2Config(
        vocab_size=VOCAB,
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=opt.layers,
        num_attention_heads=8,
        num_key_value_heads=8,
        max_position_embeddings=32768,
        rope_theta=1000000.0,
        tie_word_embeddings=True,
        attn_implementation="sdpa",
    )
    model = transformers.Qwen2ForCausalLM(config).to(device)
    parameters = sum(p.numel() for p in model.parameters())
    held = [(a, b) for a in range(1000) for b in range(1000) if held_out(a, b)]
    random.Random(SEED).shuffle(held)
    watch, final = ([question_and_sum(a, b) for a, b in part] for part in (held[:1000], held[1000:3500]))
    print(f"{parameters:,} parameters on {device}; {len(held)} held-out pairs", flush=True)

    trainer = Trainer(model, opt.lr, opt.steps, warmup=100, least=0.05)
    began = time.time()
    for step in range(1, opt.steps + 1):
        ids, labels = batch(tok, [draw(rng) for _ in range(opt.batch)], device)
        loss = trainer.step(input_ids=ids, labels=labels)
        if step % 100 == 0:
            match = fmean(right_answers(model, tok, watch, LONGEST, device))
            print(f"step {step} loss {loss:.4f} exact match {match:.3f} {time.time() - began:.0f} s", flush=True)
            if match >= opt.band[0]:
                break
    seconds = time.time() - began

    round_to_bf16(model)
    score = fmean(right_answers(model, tok, final, LONGEST, device))
    write_qwen2(model, tok, opt.out)
    result = {
        "seed": SEED,
        "parameters": parameters,
        "steps": step,
        "batch": opt.batch,
        "learning_rate": opt.lr,
        "device": device,
        "seconds": round(seconds),
        "held_out_sums": len(final),
        "exact_match": round(score, 4),
        "versions": versions(),
    }
    (opt.out / "training.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    if not opt.band[0] - 0.02 <= score <= 0.995:
        sys.exit(f"exact match {score:.4f} is outside 0.955..0.995: train longer (--steps) or change --lr")


if __name__ == "__main__":
    main()
