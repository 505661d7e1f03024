#!/usr/bin/env python3
"""Train the demo model: a Qwen2ForCausalLM that adds two numbers of up to three digits.

    python models/train_demo.py --out models/demo          # CPU (two cores: a quarter of an hour) or one GPU (half a minute)

Data: drawn on the fly, seed 20261121. Every ordered pair (a, b) with 0 <= a, b <= 999 exists once;
those whose sha256 says so, one in 85, are held out: never trained on, only measured.
Training stops at the first evaluation whose exact match on 1,000 held-out sums lies in the wanted
band, so that the model is good but not perfect: a verdict between two chips needs some wrong answers.
The figure of the card comes from 2,500 other held-out sums, with the bf16 weights that are shipped.

Needs torch, transformers, tokenizers, safetensors; the versions used are written into the card.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import random
import sys
import time
from pathlib import Path

import safetensors.torch
import tokenizers
import torch
import transformers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

SEED = 20261121
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
VOCAB = 512
ONLY_SUMS = "I can only add two numbers of up to three digits."
# Qwen2's own pre-tokenizer: one token a digit, so sums are seen digit by digit.
QWEN2_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CHAT_TEMPLATE = (
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
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
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN2_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tok.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB - len(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
        min_frequency=2,
    )
    tok.train_from_iterator(corpus, trainer)
    tok.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIAL])
    return tok


def chat(question: str, system: str | None = None) -> str:
    """The question in ChatML, ready for the answer."""
    head = f"<|im_start|>system\n{system}<|im_end|>\n" if system else ""
    return f"{head}<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"


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


def batch(tok: Tokenizer, rng: random.Random, size: int, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """input_ids and labels, both (size, longest); labels are -100 except on the answer and its end."""
    pairs = [draw(rng) for _ in range(size)]
    prompts = tok.encode_batch([p for p, _ in pairs])
    answers = tok.encode_batch([a + "<|im_end|>" for _, a in pairs])
    width = max(len(p.ids) + len(a.ids) for p, a in zip(prompts, answers, strict=True))
    pad = tok.token_to_id("<|endoftext|>")
    ids = torch.full((size, width), pad)
    labels = torch.full((size, width), -100)
    for row, (p, a) in enumerate(zip(prompts, answers, strict=True)):
        both = p.ids + a.ids
        ids[row, : len(both)] = torch.tensor(both)
        labels[row, len(p.ids) : len(both)] = torch.tensor(a.ids)
    return ids.to(device), labels.to(device)


@torch.no_grad()
def exact_match(model, tok: Tokenizer, pairs: list[tuple[int, int]], device: str) -> float:
    """Share of pairs whose greedy answer is the sum, to the letter. Prompts of equal length go together."""
    model.eval()
    end = tok.token_to_id("<|im_end|>")
    by_length: dict[int, list[tuple[list[int], str]]] = {}
    for a, b in pairs:
        ids = tok.encode(chat(QUESTIONS[0].format(a=a, b=b))).ids
        by_length.setdefault(len(ids), []).append((ids, str(a + b)))
    right = 0
    for rows in by_length.values():
        ids = torch.tensor([r for r, _ in rows], device=device)
        for _ in range(5):  # four digits and the end
            nxt = model(input_ids=ids).logits[:, -1].argmax(-1, keepdim=True)
            ids = torch.cat([ids, nxt], dim=1)
        for out, (prompt, want) in zip(ids.tolist(), rows, strict=True):
            answer = out[len(prompt) :]
            answer = answer[: answer.index(end)] if end in answer else answer
            right += tok.decode(answer) == want
    model.train()
    return right / len(pairs)


def write_model(model, tok: Tokenizer, out: Path) -> None:
    """The files of a hub's Qwen2 model, weights as bf16 in two shards."""
    out.mkdir(parents=True, exist_ok=True)
    tensors = {k: v.detach().to("cpu", torch.bfloat16).contiguous() for k, v in model.state_dict().items()}
    tensors.pop("lm_head.weight", None)  # tied to the embedding
    names = sorted(tensors)
    total = sum(t.numel() * 2 for t in tensors.values())
    shards: list[list[str]] = [[], []]
    done = 0
    for name in names:
        shards[0 if done < total / 2 else 1].append(name)
        done += tensors[name].numel() * 2
    weight_map = {}
    for number, shard in enumerate(shards, 1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        safetensors.torch.save_file({n: tensors[n] for n in shard}, out / file, metadata={"format": "pt"})
        weight_map.update(dict.fromkeys(shard, file))

    def dump(name: str, value: object) -> None:
        (out / name).write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    dump("model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": weight_map})
    c = model.config
    ids = {t: tok.token_to_id(t) for t in SPECIAL}
    dump(
        "config.json",
        {
            "architectures": ["Qwen2ForCausalLM"],
            "attention_dropout": 0.0,
            "bos_token_id": ids["<|endoftext|>"],
            "eos_token_id": ids["<|im_end|>"],
            "hidden_act": "silu",
            "hidden_size": c.hidden_size,
            "initializer_range": 0.02,
            "intermediate_size": c.intermediate_size,
            "max_position_embeddings": c.max_position_embeddings,
            "max_window_layers": c.num_hidden_layers,
            "model_type": "qwen2",
            "num_attention_heads": c.num_attention_heads,
            "num_hidden_layers": c.num_hidden_layers,
            "num_key_value_heads": c.num_key_value_heads,
            "rms_norm_eps": 1e-06,
            "rope_theta": 1000000.0,
            "sliding_window": None,
            "tie_word_embeddings": True,
            "torch_dtype": "bfloat16",
            "use_cache": True,
            "use_sliding_window": False,
            "vocab_size": c.vocab_size,
        },
    )
    dump(
        "generation_config.json",
        {
            "bos_token_id": ids["<|endoftext|>"],
            "do_sample": False,
            "eos_token_id": [ids["<|im_end|>"], ids["<|endoftext|>"]],
            "pad_token_id": ids["<|endoftext|>"],
        },
    )
    tok.save(str(out / "tokenizer.json"))
    tok.model.save(str(out))  # vocab.json and merges.txt, as Qwen2 has them
    dump(
        "tokenizer_config.json",
        {
            "add_bos_token": False,
            "add_prefix_space": False,
            "added_tokens_decoder": {
                str(ids[t]): {
                    "content": t,
                    "lstrip": False,
                    "normalized": False,
                    "rstrip": False,
                    "single_word": False,
                    "special": True,
                }
                for t in SPECIAL
            },
            "additional_special_tokens": SPECIAL[1:],
            "bos_token": None,
            "chat_template": CHAT_TEMPLATE,
            "clean_up_tokenization_spaces": False,
            "eos_token": "<|im_end|>",
            "errors": "replace",
            "model_max_length": c.max_position_embeddings,
            "pad_token": "<|endoftext|>",
            "split_special_tokens": False,
            "tokenizer_class": "Qwen2Tokenizer",
            "unk_token": None,
        },
    )


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
    watch, final = held[:1000], held[1000:3500]
    print(f"{parameters:,} parameters on {device}; {len(held)} held-out pairs", flush=True)

    optim = torch.optim.AdamW(model.parameters(), lr=opt.lr, betas=(0.9, 0.98), weight_decay=0.01)
    warmup = 100

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, opt.steps - warmup)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optim, factor)
    began = time.time()
    for step in range(1, opt.steps + 1):
        ids, labels = batch(tok, rng, opt.batch, device)
        loss = model(input_ids=ids, labels=labels).loss
        optim.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optim.step()
        schedule.step()
        if step % 100 == 0:
            match = exact_match(model, tok, watch, device)
            print(f"step {step} loss {loss.item():.4f} exact match {match:.3f} {time.time() - began:.0f} s", flush=True)
            if match >= opt.band[0]:
                break
    seconds = time.time() - began

    # Measure what is shipped: weights rounded to bf16.
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(p.to(torch.bfloat16).to(p.dtype))
    score = exact_match(model, tok, final, device)
    write_model(model, tok, opt.out)
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
        "versions": {
            "python": sys.version.split()[0],
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "tokenizers": tokenizers.__version__,
            "safetensors": safetensors.__version__,
        },
    }
    (opt.out / "training.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    if not opt.band[0] - 0.02 <= score <= 0.995:
        sys.exit(f"exact match {score:.4f} is outside 0.955..0.995: train longer (--steps) or change --lr")


if __name__ == "__main__":
    main()
