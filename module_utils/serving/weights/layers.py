"""Which layers of a model are of which kind, as publishers say it in config.json: a word for each layer that isn't of the usual kind.

Standard library, Python 3.8; reads no file and no network.
"""

from __future__ import annotations

import re
from typing import Any, Mapping

from ansible.module_utils.serving.weights.states import whole

# Words of `layer_types` and the like.
MIXED = ("hybrid", "hybrid_sliding")  # attention and a state side by side
WINDOWED = (
    "sliding_attention", "chunked_attention", "local", "local_attention", "sliding_window", "sliding", "hybrid_sliding",
)  # fmt: skip
STATEFUL = (
    "linear_attention", "mamba", "mamba2", "conv", "short_conv", "recurrent", "rwkv", "kda", "gated_deltanet", "M", "linear", *MIXED,
)  # fmt: skip
PLAIN = ("moe", "mlp", "-", "E", "none", "no_op")
LISTS = ("layer_types", "layers_block_type", "attention_types", "block_types")
# Attention that keeps a part of the tokens, by a share that no size says: what one costs isn't known.
COMPRESSED = ("compressed_sparse_attention", "heavily_compressed_attention")


def listed(config: Mapping[str, Any]) -> list[str]:
    """A word for each layer, as some families list them; empty where this one doesn't."""
    for key in LISTS:
        if isinstance(config.get(key), list):
            return [str(one) for one in config[key]]
    pattern = config.get("hybrid_override_pattern")
    return list(pattern) if isinstance(pattern, str) else []


def without_tokens(config: Mapping[str, Any], count: int) -> list[str]:
    """Layers with a state, or with nothing, by a rule of their family; empty where no rule of ours is there."""
    linear, kind = config.get("linear_attn_config"), str(config.get("model_type"))
    if isinstance(linear, Mapping) and isinstance(linear.get("full_attn_layers"), list):  # Kimi Linear
        return ["linear"] * (count - len(linear["full_attn_layers"]))
    if isinstance(config.get("attn_type_list"), list):  # MiniMax: 0 linear, 1 full
        return ["linear" for one in config["attn_type_list"] if one == 0]
    every, group = whole(config.get("full_attention_interval")), whole(config.get("layer_group_size"))
    if group and whole(
        config.get("short_conv_kernel_size")
    ):  # Ling's later ones: what is left of a last group keeps tokens
        return ["linear"] * (count // group * (group - 1))
    if every or group:  # Qwen3-Next; Ling's earlier ones
        return ["linear"] * (count - count // (every or group))
    period = whole(config.get("attn_layer_period"))
    if period:  # Jamba
        offset = config.get("attn_layer_offset") or 0
        return ["mamba" for layer in range(count) if layer % period != offset]
    step = whole(config.get("mamba_step"))
    if step:  # PLaMo 2
        short = count <= step // 2
        return ["mamba"] * (count - 1) if short else ["mamba" for layer in range(count) if layer % step != step // 2]
    for key, word in (("attn_layer_indices", "mamba"), ("full_attn_idxs", "conv")):  # Bamba, LFM2
        if isinstance(config.get(key), list):
            return [word] * max(0, count - len(config[key]))
    if kind == "falcon_h1":
        return ["hybrid"] * count
    if re.fullmatch(r"(falcon_)?mamba2?|rwkv\d*", kind):
        return ["mamba"] * count
    return ["no_op" for one in attentions(config)[:count] if one.get("no_op")]


def attentions(config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The attention of each layer where each has its own (Nemotron Super and Ultra); empty where one form holds for all."""
    blocks = config.get("block_configs")
    found = (
        [block.get("attention") for block in blocks if isinstance(block, Mapping)] if isinstance(blocks, list) else []
    )
    return [one for one in found if isinstance(one, Mapping)]


def windowed(config: Mapping[str, Any], count: int) -> list[str]:
    """Layers that keep a window, by a rule of their family; the window is in use."""
    if whole(config.get("attention_chunk_size")) and isinstance(config.get("no_rope_layers"), list):
        turned = config["no_rope_layers"] or [int((layer + 1) % 4 != 0) for layer in range(count)]
        return ["chunked_attention" for one in turned[:count] if one]  # Llama 4: 0 keeps every token
    if isinstance(config.get("hybrid_layer_pattern"), list):  # MiMo: 1 is a window
        return ["sliding" for one in config["hybrid_layer_pattern"][:count] if one == 1]
    every = whole(config.get("sliding_window_pattern") or config.get("_sliding_window_pattern"))
    if every > 1:
        return ["sliding"] * (count - count // every)
    begins = config.get("max_window_layers") if config.get("use_sliding_window") else 0
    return ["sliding"] * max(0, count - (begins if isinstance(begins, int) else 0))


def words(config: Mapping[str, Any], count: int, window: int) -> list[str]:
    """A word for each layer that isn't of the usual kind, as far as its publisher says. `window`: tokens of a window that is in use, else 0."""
    found = listed(config)[:count] or without_tokens(config, count)
    return found or (windowed(config, count) if window else [])
