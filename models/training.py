"""What the two demo models share: their tokenizer, the steps of their training, and the files of a model as hubs have them."""

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


def versions() -> dict[str, str]:
    return {
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "tokenizers": tokenizers.__version__,
        "safetensors": safetensors.__version__,
    }
