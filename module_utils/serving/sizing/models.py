"""What a model is to a board: its shape, the bytes of its weights and their type, from its row in models.yml."""

from __future__ import annotations

import dataclasses
from typing import Any

from ansible.module_utils.serving.weights.shape import Shape

VALUE_BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0, "auto": 2.0}


@dataclasses.dataclass(frozen=True)
class Model:
    """A model as everything here calculates with it. What its row's shape leaves out is inferred, as far as it can be."""

    shape: Shape
    weight_bytes: int
    dtype: str = "bfloat16"
    architecture: str = ""


def inferred_intermediate(size: float, shape: Shape) -> int:
    """The MLP's width of a dense model of `size` parameters."""
    attention = shape.hidden_size * shape.head_dim * 2 * (shape.attention_heads + shape.kv_heads)
    left = (size - 2 * shape.vocab_size * shape.hidden_size) / shape.layers - attention
    blocks: int = round(left / (3 * shape.hidden_size) / 64)
    return max(0, 64 * blocks)


def sized(row: dict[str, Any]) -> Model:
    """The model of a row, whatever it says of its shape."""
    shape, size = Shape.of_row(row.get("shape") or {}), int(row["bytes"])
    dtype, architecture = str(row.get("dtype") or "bfloat16"), str(row.get("architecture") or "")
    if not shape.known:
        return Model(shape, size, dtype, architecture)
    heads = shape.attention_heads or shape.kv_heads
    shape = dataclasses.replace(
        shape, attention_heads=heads, hidden_size=shape.hidden_size or heads * (shape.head_dim or 1)
    )
    if not shape.intermediate_size and not shape.experts and shape.hidden_size:
        wide = inferred_intermediate(size / VALUE_BYTES.get(dtype, 2.0), shape)
        shape = dataclasses.replace(shape, intermediate_size=wide)
    if shape.experts and not shape.expert_intermediate_size:
        shape = dataclasses.replace(shape, expert_intermediate_size=shape.intermediate_size)
    return Model(shape, size, dtype, architecture)


def model_of(row: dict[str, Any]) -> Model | None:
    """The same, or None where it isn't known what a token of its KV cache costs."""
    found = sized(row)
    return found if found.shape.known else None
