"""What adapters (LoRA) take: vLLM allocates all slots at start, at the largest rank, whatever is loaded into them.

Read from vLLM 0.32.0, vllm/lora/layers: each linear layer has an A of (rank, inputs) and a B of (outputs, rank) for each of `max_loras` slots, one pair a
slice (q, k, v; gate, up). Outputs of column-parallel layers and inputs of row-parallel ones are split over tensor ranks, the other side isn't unless
`fully_sharded_loras`; each expert has pairs of its own. Where a model's class names its embeddings (EMBEDDED), these and the head have pairs of the
whole vocabulary on every rank. `max_cpu_loras` adapters lie
in the host's memory, whole, once for each rank.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Mapping

from ansible.module_utils.serving.weights.shape import Shape

# Classes with `embedding_modules` in vllm/model_executor/models of 0.32.0. Qwen2 has none.
EMBEDDED = re.compile(
    r"Apertus|Cohere|Exaone|FalconH1|Granite|Jamba|Lfm2|Llama|MiniCPM|Mistral|Mixtral|Nemotron|PhiMoE|Qwen3|Solar"
)
RANK = 16  # vLLM's max_lora_rank where the row gives none


@dataclass(frozen=True)
class Slots:
    """What the engine makes room for: `count` slots of `rank` on each device, `kept` adapters in the host's memory. No slots: LoRA is off."""

    count: int = 0
    rank: int = RANK
    kept: int = 0
    sharded: bool = False


def slots_of(args: Mapping[str, Any]) -> Slots:
    """The slots that engine_args ask for."""

    def number(name: str, default: int) -> int:
        value = args.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else default

    if args.get("enable_lora") is not True:
        return Slots()
    count = number("max_loras", 1)
    return Slots(
        count,
        number("max_lora_rank", RANK),
        max(count, number("max_cpu_loras", count)),
        args.get("fully_sharded_loras") is True,
    )


def layer_values(shape: Shape, rank: int, tensor: int = 1, sharded: bool = False) -> int:
    """Values of one slot in one layer on one device."""
    whole = tensor if sharded else 1  # by what the side is split that tensor ranks hold whole otherwise
    heads = shape.attention_heads or shape.kv_heads
    query, key = heads * shape.head_dim // tensor, max(1, shape.kv_heads // tensor) * shape.head_dim
    hidden = shape.hidden_size
    attention = 4 * hidden // whole + 2 * query + 2 * key  # q, k, v, and the projection behind
    wide = (shape.expert_intermediate_size if shape.experts else shape.intermediate_size) // tensor
    return int(rank * (attention + max(1, shape.experts) * (3 * hidden // whole + 3 * wide)))


def end_values(shape: Shape, rank: int, architecture: str) -> int:
    """Values of one slot for embeddings and head together, on each device that has them."""
    return 2 * rank * (shape.vocab_size + shape.hidden_size) if EMBEDDED.search(architecture) else 0


def device_bytes(shape: Shape, architecture: str, slots: Slots, value: float, tensor: int, pipeline: int) -> int:
    """Bytes of all slots on the fullest device. `value`: bytes of one value of the type that the engine computes in."""
    layers = -(-shape.layers // pipeline) * layer_values(shape, slots.rank, tensor, slots.sharded)
    ends = end_values(shape, slots.rank, architecture) // (2 if pipeline > 1 else 1)
    return int(slots.count * value * (layers + ends))


def host_bytes(shape: Shape, architecture: str, slots: Slots, value: float, ranks: int) -> int:
    """Bytes of the adapters that all ranks of an engine keep in the host's memory."""
    one = shape.layers * layer_values(shape, slots.rank) + end_values(shape, slots.rank, architecture)
    return int(slots.kept * value * one * ranks) if slots.count else 0
