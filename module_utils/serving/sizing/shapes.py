"""What a model is to a board: sizes from its row in models.yml, which come from its config.json. KV cache by kind of layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

VALUE_BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0, "auto": 2.0}


@dataclass(frozen=True)
class Shape:
    """Sizes of a model. `sliding` and `state` count layers whose cache does not grow with the context; 0 where there are none."""

    weight_bytes: int
    dtype: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    positions: int | None
    intermediate: int
    experts: int = 0
    experts_per_token: int = 0
    expert_intermediate: int = 0
    latent: int = 0  # MLA: values of a token and layer, for all heads together
    sliding: int = 0
    window: int = 0  # tokens that a sliding layer keeps
    state: int = 0  # layers with a state instead of a cache (Mamba, linear attention)
    state_bytes: int = 0  # of one sequence and layer
    vision: bool = False

    @property
    def full(self) -> int:
        return self.layers - self.sliding - self.state

    def layer_token_bytes(self, tensor: int, value: float) -> float:
        """KV cache of one token in one layer on one device. MLA's latent is whole on each; kv heads are split, at least one stays."""
        if self.latent:
            return self.latent * value
        return 2 * max(1, self.kv_heads // tensor) * self.head_dim * value


def inferred_intermediate(
    size: float, layers: int, hidden: int, heads: int, kv_heads: int, head_dim: int, vocab: int
) -> int:
    """The MLP's width of a dense model, from the number of its parameters."""
    attention = hidden * head_dim * (2 * heads + 2 * kv_heads)
    left = (size - 2 * vocab * hidden) / layers - attention
    return max(0, round(left / (3 * hidden) / 64) * 64)


def shape_of(model: dict[str, Any]) -> Shape | None:
    """The shape of a row of models.yml, None where its sizes are not known."""
    row = model.get("shape") or {}
    if not all(row.get(key) for key in ("layers", "kv_heads", "head_dim")):
        return None
    layers, kv_heads, head_dim = (int(row[key]) for key in ("layers", "kv_heads", "head_dim"))
    heads = int(row.get("attention_heads") or kv_heads)
    hidden = int(row.get("hidden_size") or heads * head_dim)
    vocab, size = int(row.get("vocab_size") or 0), int(model["bytes"])
    dtype = str(model.get("dtype") or "bfloat16")
    experts = int(row.get("experts") or 0)
    wide = int(row.get("intermediate_size") or 0)
    if not wide and not experts:
        wide = inferred_intermediate(
            size / VALUE_BYTES.get(dtype, 2.0), layers, hidden, heads, kv_heads, head_dim, vocab
        )
    return Shape(
        weight_bytes=size, dtype=dtype, layers=layers, hidden=hidden, heads=heads, kv_heads=kv_heads, head_dim=head_dim, vocab=vocab,
        positions=int(row["max_position_embeddings"]) if row.get("max_position_embeddings") else None, intermediate=wide, experts=experts,
        experts_per_token=int(row.get("experts_per_token") or 0), expert_intermediate=int(row.get("expert_intermediate_size") or 0),
        latent=int(row["kv_lora_rank"]) + int(row.get("qk_rope_head_dim") or 0) if row.get("kv_lora_rank") else 0,
        sliding=int(row.get("sliding_layers") or 0), window=int(row.get("sliding_window") or 0), state=int(row.get("state_layers") or 0),
        state_bytes=int(row.get("state_bytes") or 0), vision=bool(model.get("vision")),
    )  # fmt: skip


def first(config: dict[str, Any], *names: str) -> Any:
    """The first of several spellings that a config.json has."""
    return next((config[name] for name in names if config.get(name) is not None), None)


def sliding_of(text: dict[str, Any], layers: int) -> tuple[int, int]:
    """(sliding layers, window) of a config.json."""
    window = int(first(text, "sliding_window", "attention_chunk_size") or 0)
    kinds = text.get("layer_types")
    if isinstance(kinds, list):
        return sum(1 for kind in kinds if kind in ("sliding_attention", "chunked_attention")), window
    pattern = int(first(text, "sliding_window_pattern", "_sliding_window_pattern") or 0)
    if window and str(text.get("model_type")) == "gemma2":
        pattern = 2
    if window and str(text.get("model_type")).startswith("gemma3"):
        pattern = pattern or 6
    if window and pattern > 1:
        return layers - layers // pattern, window
    if window and text.get("use_sliding_window", str(text.get("model_type")).startswith("mistral")) and pattern == 0:
        return layers, window
    return 0, 0


def state_of(text: dict[str, Any], layers: int) -> tuple[int, int]:
    """(layers with a state, bytes of it for one sequence and layer) of a config.json with gated delta nets."""
    kinds = text.get("layer_types")
    interval = int(text.get("full_attention_interval") or 0)
    count = layers - layers // interval if interval else 0
    if isinstance(kinds, list):
        count = sum(1 for kind in kinds if kind == "linear_attention")
    if not count or not text.get("linear_num_value_heads"):
        return 0, 0
    key = int(text["linear_num_key_heads"]) * int(text["linear_key_head_dim"])
    heads, width = int(text["linear_num_value_heads"]), int(text["linear_value_head_dim"])
    convolution = (2 * key + heads * width) * (int(text.get("linear_conv_kernel_dim") or 4) - 1) * 2
    value = 4 if str(text.get("mamba_ssm_dtype")) == "float32" else 2
    return count, convolution + heads * width * int(text["linear_key_head_dim"]) * value


def from_config(config: dict[str, Any]) -> dict[str, int]:
    """`shape` for a row of models.yml, from a config.json: dense, mixture of experts, MLA, sliding windows, hybrids; vision models by their text part."""
    text = {**config, **config["text_config"]} if isinstance(config.get("text_config"), dict) else config
    layers = int(first(text, "num_hidden_layers", "n_layer") or 0)
    heads, hidden = (
        int(first(text, "num_attention_heads", "n_head") or 0),
        int(first(text, "hidden_size", "n_embd") or 0),
    )
    sliding, window = sliding_of(text, layers)
    state, state_bytes = state_of(text, layers)
    found = {
        "layers": layers, "hidden_size": hidden, "attention_heads": heads, "kv_heads": int(first(text, "num_key_value_heads") or heads),
        "head_dim": int(first(text, "head_dim") or (hidden // heads if heads else 0)), "vocab_size": int(text.get("vocab_size") or 0),
        "max_position_embeddings": int(first(text, "max_position_embeddings", "n_positions") or 0),
        "intermediate_size": int(first(text, "intermediate_size", "n_inner") or 0),
        "experts": int(first(text, "num_experts", "num_local_experts", "n_routed_experts") or 0),
        "experts_per_token": int(first(text, "num_experts_per_tok", "moe_topk") or 0),
        "expert_intermediate_size": int(first(text, "moe_intermediate_size") or 0),
        "kv_lora_rank": int(text.get("kv_lora_rank") or 0), "qk_rope_head_dim": int(text.get("qk_rope_head_dim") or 0) if text.get("kv_lora_rank") else 0,
        "sliding_layers": sliding, "sliding_window": window if sliding else 0, "state_layers": state, "state_bytes": state_bytes,
    }  # fmt: skip
    if found["experts"] and not found["expert_intermediate_size"]:
        found["expert_intermediate_size"] = found["intermediate_size"]
    return {key: value for key, value in found.items() if value}
