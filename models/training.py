"""What the demo models share: their tokenizer, the steps of their training, and the files of a model as hubs have them."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import safetensors.torch
import tokenizers
import torch
import transformers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

VOCAB = 512
CHATML = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CHAT_TEMPLATE = (
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
# Qwen2's own pre-tokenizer: one token a digit, so sums are seen digit by digit.
QWEN2_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def learn_tokenizer(corpus: list[str], special: list[str]) -> Tokenizer:
    """Byte-level BPE of at most VOCAB tokens in Qwen2's form."""
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN2_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tok.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB - len(special),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
        min_frequency=2,
    )
    tok.train_from_iterator(corpus, trainer)
    tok.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in special])
    return tok


def chat(question: str, system: str | None = None) -> str:
    """The question in ChatML, ready for the answer."""
    head = f"<|im_start|>system\n{system}<|im_end|>\n" if system else ""
    return f"{head}<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"


def batch(tok: Tokenizer, pairs: list[tuple[str, str]], device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """input_ids and labels of (prompt, answer) pairs, both (size, longest); labels are -100 except on the answer and its end."""
    prompts = tok.encode_batch([p for p, _ in pairs])
    answers = tok.encode_batch([a + "<|im_end|>" for _, a in pairs])
    width = max(len(p.ids) + len(a.ids) for p, a in zip(prompts, answers, strict=True))
    pad = tok.token_to_id("<|endoftext|>")
    ids = torch.full((len(pairs), width), pad)
    labels = torch.full((len(pairs), width), -100)
    for row, (p, a) in enumerate(zip(prompts, answers, strict=True)):
        both = p.ids + a.ids
        ids[row, : len(both)] = torch.tensor(both)
        labels[row, len(p.ids) : len(both)] = torch.tensor(a.ids)
    return ids.to(device), labels.to(device)


@torch.no_grad()
def right_answers(model, tok: Tokenizer, pairs: list[tuple[str, str]], longest: int, device: str) -> list[bool]:
    """Is the greedy answer of at most `longest` tokens, its end among them, the wanted one to the letter? Prompts of equal length go together."""
    model.eval()
    end = tok.token_to_id("<|im_end|>")
    by_length: dict[int, list[tuple[int, list[int]]]] = {}
    for number, (prompt, _) in enumerate(pairs):
        ids = tok.encode(prompt).ids
        by_length.setdefault(len(ids), []).append((number, ids))
    right = [False] * len(pairs)
    for length, rows in by_length.items():
        ids = torch.tensor([ids for _, ids in rows], device=device)
        for _ in range(longest):
            nxt = model(input_ids=ids).logits[:, -1].argmax(-1, keepdim=True)
            ids = torch.cat([ids, nxt], dim=1)
        for out, (number, _) in zip(ids.tolist(), rows, strict=True):
            answer = out[length:]
            answer = answer[: answer.index(end)] if end in answer else answer
            right[number] = tok.decode(answer) == pairs[number][1]
    model.train()
    return right


@torch.no_grad()
def round_to_bf16(model: torch.nn.Module) -> None:
    """What is measured is what is shipped."""
    for p in model.parameters():
        p.copy_(p.to(torch.bfloat16).to(p.dtype))


class Trainer:
    """AdamW whose rate warms up, then falls along a cosine to `least` of itself."""

    def __init__(self, model: torch.nn.Module, rate: float, steps: int, warmup: int, least: float) -> None:
        self.model = model
        self.optim = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.01)

        def factor(step: int) -> float:
            if step < warmup:
                return (step + 1) / warmup
            return least + (1 - least) * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))

        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optim, factor)

    def step(self, **batch: torch.Tensor) -> float:
        """One batch. Returns its loss."""
        loss = self.model(**batch).loss
        self.optim.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optim.step()
        self.schedule.step()
        return float(loss.item())


def dump(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_weights(model: torch.nn.Module, out: Path) -> None:
    """bf16 in two shards with their index."""
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
    dump(out / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": weight_map})


def write_tokenizer(tok: Tokenizer, out: Path, special: list[str], template: str, context: int, **more: str) -> None:
    """The tokenizer's files, and what `generate` does by default. `more` goes into tokenizer_config.json."""
    ids = {t: tok.token_to_id(t) for t in special}
    dump(
        out / "generation_config.json",
        {
            "bos_token_id": ids["<|endoftext|>"],
            "do_sample": False,
            "eos_token_id": [ids["<|im_end|>"], ids["<|endoftext|>"]],
            "pad_token_id": ids["<|endoftext|>"],
        },
    )
    tok.save(str(out / "tokenizer.json"))
    tok.model.save(str(out))  # vocab.json and merges.txt, as Qwen2 has them
    config = {
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
            for t in special
        },
        "additional_special_tokens": special[1:],
        "bos_token": None,
        "chat_template": template,
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|im_end|>",
        "errors": "replace",
        "model_max_length": context,
        "pad_token": "<|endoftext|>",
        "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": None,
        **more,
    }
    dump(out / "tokenizer_config.json", dict(sorted(config.items())))


def write_qwen2(model, tok: Tokenizer, out: Path) -> None:
    """The files of a hub's Qwen2 model, weights as bf16 in two shards."""
    write_weights(model, out)
    c = model.config
    ids = {t: tok.token_to_id(t) for t in CHATML}
    dump(
        out / "config.json",
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
    write_tokenizer(tok, out, CHATML, CHAT_TEMPLATE, c.max_position_embeddings)


def versions() -> dict[str, str]:
    return {
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "tokenizers": tokenizers.__version__,
        "safetensors": safetensors.__version__,
    }
