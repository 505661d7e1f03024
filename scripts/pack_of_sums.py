#!/usr/bin/env python3
"""Make a pack of reference answers from sums that the demo model was asked before packs had a form.

    python scripts/pack_of_sums.py SUMS.jsonl.gz references/demo-h100

SUMS has a line a sum: {a, b, answer, lp: [[token, logprob, [[token, logprob], ...]], ...]}, greedy, from the chat API. The model has a token
a digit, so prompts are put together from its tokenizer's vocabulary; a test reads them back. What is recorded anew comes from
playbooks/record_reference.yml and needs none of this.
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT))

from judging import packs  # noqa: E402

CANARY = 400  # of the sums, those that a deploy asks
ABOUT = {
    "model": {"name": "demo", "identity": "98be0aea6c4de590d7c94a98891e65bc70022bce1cb962336b62661284b4fc17", "dtype": "bfloat16"},
    "engine": "vllm", "engine_version": "0.25.1", "on": "on an NVIDIA H100 80GB HBM3 (driver 580.159.04)", "recorded": "2026-11-25",
    "sampling": {"temperature": 0}, "scorer": "exact 1", "runs": 1, "loads": [16], "top": 5, "canary": CANARY,
    "data": {"name": "sums of the demo model", "license": "Apache-2.0"},
    "note": "One run, asked through the chat API, sixteen at once; logprobs have five digits.",
}  # fmt: skip


def vocabulary() -> dict[str, int]:
    """{text: token} of the demo's tokenizer; a blank before a word is Ġ there."""
    found = json.loads((ROOT / "models/demo/tokenizer.json").read_text())
    words = {**found["model"]["vocab"], **{token["content"]: token["id"] for token in found["added_tokens"]}}
    return {word.replace("Ġ", " ").replace("Ċ", "\n"): token for word, token in words.items()}


def prompt(words: dict[str, int], a: int, b: int) -> list[int]:
    """Tokens of «What is A + B?» in the demo's chat template."""
    pieces = ["<|im_start|>", "user", "\n", "What", " is", " ", *str(a), " +", " ", *str(b), "?", "<|im_end|>", "\n",
              "<|im_start|>", "assistant", "\n"]  # fmt: skip
    return [words[piece] for piece in pieces]


def item(words: dict[str, int], row: dict[str, Any]) -> dict[str, Any]:
    tokens = [words[token] for token, _, _ in row["lp"]]
    decoded = [
        [[words[token], logprob], *([words[other], value] for other, value in top if other in words and other != token)]
        for token, logprob, top in row["lp"]
    ]
    a, b = row["a"], row["b"]
    return {
        "id": f"{a} + {b}", "shown": f"What is {a} + {b}?", "expect": str(a + b), "prompt": prompt(words, a, b),
        "runs": [{"tokens": tokens, "text": row["answer"], "finish": "stop", "decoded": decoded}],
    }  # fmt: skip


def main() -> None:
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    words = vocabulary()
    rows = [json.loads(line) for line in gzip.decompress(source.read_bytes()).decode().splitlines()]
    messages = [{"role": "user", "content": "What is 127 + 45?"}]
    about = {**ABOUT, "template": {"messages": messages, "tokens": prompt(words, 127, 45)}}
    seen: dict[str, dict[str, Any]] = {}
    for row in rows:
        seen.setdefault(f"{row['a']} + {row['b']}", item(words, row))
    print(f"{target}: {len(seen)} items, {packs.write(target, about, seen.values())}")


if __name__ == "__main__":
    main()
