"""What layers without a KV cache keep of one text instead: a state of fixed size, from the sizes in a config.json.

As vLLM 0.32 counts it (`get_mamba_state_shape_from_config` of its models, mamba_utils.py): the last inputs of a short convolution in 16 bits, and the
state itself, of all heads together. Standard library, Python 3.8; reads no file and no network.
"""

from __future__ import annotations

from typing import Any, Callable, Mapping, NamedTuple

TAPS = 4  # of a convolution whose config.json leaves them out
Size = Callable[[str], int]  # a size of the config.json by its key, 0 for what is none


def whole(value: Any) -> int:
    """A size as a number; 0 for what is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**40 else 0


class State(NamedTuple):
    """Of one text in one layer: `channels` of a convolution with `taps`, and `values` of the state with `width` bytes each."""

    channels: int
    taps: int
    values: int
    width: int = 2

    @property
    def bytes(self) -> int:
        """0 where sizes are missing."""
        good = self.values or (self.channels and self.taps > 1)
        return self.channels * (self.taps - 1) * 2 + self.values * self.width if good else 0


def first(size: Size, *keys: str) -> int:
    return next((found for found in map(size, keys) if found), 0)


def head_dim(size: Size) -> int:
    """Values of one head of the attention."""
    heads = size("num_attention_heads")
    return size("head_dim") or (size("hidden_size") // heads if heads else 0)


def delta_net(config: Mapping[str, Any], size: Size, width: int) -> State | None:
    """Gated delta nets: Qwen3-Next, Qwen3.5, Olmo Hybrid."""
    heads, wide, depth = size("linear_num_value_heads"), size("linear_value_head_dim"), size("linear_key_head_dim")
    if not (heads and wide and depth):
        return None
    channels = 2 * size("linear_num_key_heads") * depth + heads * wide
    return State(channels, size("linear_conv_kernel_dim") or TAPS, heads * wide * depth, width)


def kimi_delta(config: Mapping[str, Any], size: Size, width: int) -> State | None:
    """Kimi's delta attention, whose state has 32 bits: Kimi Linear, and Ling's later ones, where its heads are those of the attention."""
    own = config.get("linear_attn_config")
    if isinstance(own, Mapping):
        heads, wide, taps = (whole(own.get(key)) for key in ("num_heads", "head_dim", "short_conv_kernel_size"))
    elif size("short_conv_kernel_size"):
        heads, wide, taps = size("num_attention_heads"), head_dim(size), size("short_conv_kernel_size")
    else:
        return None
    return State(3 * heads * wide, taps or TAPS, heads * wide * wide, 4)


def short_convolution(config: Mapping[str, Any], size: Size, width: int) -> State | None:
    """A convolution alone: LFM2."""
    taps = size("conv_L_cache")
    return State(first(size, "conv_dim", "hidden_size"), taps, 0) if taps else None


def mamba(config: Mapping[str, Any], size: Size, width: int) -> State | None:
    """Mamba 2 where there are heads (Bamba, Falcon-H1, Granite 4, Nemotron-H, Zamba2, PLaMo 2), else Mamba 1 (Jamba, Falcon Mamba)."""
    depth = first(size, "ssm_state_size", "mamba_d_state", "state_size")
    taps = first(size, "conv_kernel", "mamba_d_conv", "d_conv") or TAPS
    heads = first(size, "mamba_num_heads", "mamba_n_heads", "n_mamba_heads")
    wide = first(size, "mamba_head_dim", "mamba_d_head", "mamba_headdim", "hidden_size_per_head")
    if str(config.get("model_type")) == "mamba2":
        heads, wide = size("num_heads"), size("head_dim")
    inner = size("mamba_d_ssm") or first(size, "mamba_expand", "expand") * size("hidden_size")
    if not depth:
        return None
    if not heads:
        inner = size("intermediate_size") if size("state_size") else inner
        return State(inner, taps, inner * depth, width) if inner else None
    wide = wide or inner // heads
    groups = first(size, "n_groups", "mamba_n_groups", "mamba_ngroups", "mamba_num_groups")
    if not groups and not size("mamba_step"):  # PLaMo 2 convolves its input alone
        groups = 1
    return State(heads * wide + 2 * groups * depth, taps, heads * wide * depth, width) if wide else None


def linear(config: Mapping[str, Any], size: Size, width: int) -> State | None:
    """Linear attention with the heads of the others and no convolution: MiniMax, Ling's earlier ones. Of a stranger nothing is known."""
    known = (
        "attn_type_list" in config or size("layer_group_size") or str(config.get("model_type")).startswith("minimax")
    )
    return State(0, 0, size("num_attention_heads") * head_dim(size) ** 2) if known else None


FAMILIES = (delta_net, kimi_delta, short_convolution, mamba, linear)


def state_bytes(config: Mapping[str, Any], size: Size) -> int:
    """Bytes of one text's state in one layer; 0 where it isn't known. `size` reads a size of the config by its key."""
    kinds = (config.get("mamba_ssm_dtype"), config.get("mamba_ssm_cache_dtype"))
    width = 4 if "float32" in map(str, kinds) else 2
    found = next((state for state in (family(config, size, width) for family in FAMILIES) if state), None)
    return found.bytes if found else 0
