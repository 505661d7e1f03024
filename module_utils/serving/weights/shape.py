"""The shape of a model: what its KV cache costs, from the sizes in its config.json.

One form for everybody who sizes: `Shape`. A model's row in the tables has it as `shape`, a mapping of whole numbers above 0, in which what a
model does not have is left out; `Shape.of_row` and `row` go there and back, `Shape.of_config` reads a config.json of any publisher.
A layer is one of four kinds. Most keep keys and values of every token; `window_layers` keep the last `window` tokens; `state_layers` keep a
state of fixed size instead (Mamba, linear attention), but for `mixed_layers` of them, which keep both side by side; `plain_layers` keep nothing
(they share another layer's cache, or are no attention).
With `latent_dim` (multi-head latent attention) a token costs that many values in a layer for all heads together, whole on each device.
Standard library, Python 3.8; reads no file and no network.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any, Mapping

from ansible.module_utils.serving.weights import layers
from ansible.module_utils.serving.weights.states import state_bytes, whole

# Where publishers of models with several towers keep the sizes of the language model, outermost first.
NESTED = (
    "thinker_config",
    "text_config",
    "llm_config",
    "language_config",
    "language_model_config",
    "text_model_config",
)
# The same size under the names that families of models have for it.
NAMES = {
    "layers": ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers"),
    "hidden_size": ("hidden_size", "n_embd", "d_model", "dim", "model_dim"),
    "attention_heads": ("num_attention_heads", "n_head", "n_heads", "num_heads", "decoder_attention_heads"),
    "kv_heads": ("num_key_value_heads", "num_kv_heads", "n_head_kv", "n_kv_heads", "num_attention_groups"),
    "head_dim": ("head_dim", "attention_head_dim", "kv_channels", "hidden_size_per_head"),
    "intermediate_size": ("intermediate_size", "n_inner", "ffn_hidden_size", "d_ff"),
    "vocab_size": ("vocab_size", "padded_vocab_size", "n_vocab"),
    "max_position_embeddings": (
        "max_position_embeddings", "n_positions", "max_sequence_length", "max_seq_len", "seq_length", "max_target_positions",
        "model_max_length",
    ),
    "experts": ("num_experts", "n_routed_experts", "num_local_experts", "moe_num_experts", "num_routed_experts"),
    "expert_intermediate_size": ("moe_intermediate_size", "expert_ffn_hidden_size"),
    "experts_used": ("num_experts_per_tok", "num_experts_per_token", "experts_per_token", "moe_topk", "moe_top_k", "moe_k"),
}  # fmt: skip
# Parts of a config.json in which some families keep sizes, under names of their own there: DBRX, MPT.
PARTS = {"attn_config": {"kv_n_heads": "num_key_value_heads"},
         "ffn_config": {"ffn_hidden_size": "intermediate_size", "moe_num_experts": "num_experts", "moe_top_k": "num_experts_per_tok"}}  # fmt: skip
# What transformers assumes where a family's own files leave a size out (configuration_gemma3.py and the like). Models with several towers
# often say of their language model only what differs from that.
ASSUMED: dict[str, dict[str, Any]] = {
    "llama": {"num_hidden_layers": 32, "hidden_size": 4096, "num_attention_heads": 32, "intermediate_size": 11008, "vocab_size": 32000,
              "max_position_embeddings": 2048},
    "mistral": {"num_hidden_layers": 32, "hidden_size": 4096, "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 14336,
                "vocab_size": 32000, "max_position_embeddings": 131072, "sliding_window": 4096},
    "qwen2": {"num_hidden_layers": 32, "hidden_size": 4096, "num_attention_heads": 32, "intermediate_size": 22016, "vocab_size": 151936,
              "max_position_embeddings": 32768},
    "falcon": {"max_position_embeddings": 2048},
    "gemma": {"head_dim": 256},
    "gemma3_text": {"num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "vocab_size": 262208,
                    "max_position_embeddings": 131072, "sliding_window": 4096, "sliding_window_pattern": 6},
    "gemma3n_text": {"num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 256, "vocab_size": 262400,
                     "max_position_embeddings": 32768, "sliding_window": 512},
    "gemma2": {"head_dim": 256, "sliding_window": 4096, "sliding_window_pattern": 2},
    "cohere2": {"sliding_window": 4096, "sliding_window_pattern": 4},
    "nemotron_h": {"mamba_ssm_cache_dtype": "float32"},
}  # fmt: skip
# Models that read a text at once and keep nothing of it: their layers have no KV cache.
ENCODERS = re.compile(
    r"(xlm-?roberta|camembert|(nomic_)?bert|distilbert|roberta|modernbert|electra|deberta.*|mpnet|new|gte|nomic_bert|t5encoder).*"
)
UNFOLDED = ("minicpm3",)  # have a latent that vLLM keeps as whole keys and values of each head
MOST_LAYERS = 10_000  # what says more is no model
STRETCHED = ("linear", "dynamic", "ntk")  # scalings of positions that multiply the limit; YaRN's is in it already


def text_part(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of a config.json that describes the language model."""
    for _ in range(4):
        inner = next((config[name] for name in NESTED if isinstance(config.get(name), Mapping) and config[name]), None)
        if inner is None:
            return config
        config = inner
    return config


@dataclasses.dataclass(frozen=True)
class Shape:
    """Sizes of a model, 0 where it has none or nothing is known. Heads and dimensions are those of its KV cache."""

    layers: int = 0
    hidden_size: int = 0
    attention_heads: int = 0
    kv_heads: int = 0
    head_dim: int = 0
    value_dim: int = 0  # of the values, where that isn't head_dim
    vocab_size: int = 0
    max_position_embeddings: int = 0  # tokens, with the stretching that its config.json asks for
    window_layers: int = 0
    window: int = 0  # tokens
    window_kv_heads: int = 0  # where they differ from kv_heads
    window_head_dim: int = 0
    state_layers: int = 0
    state_bytes: int = 0  # of one text in one layer, for all heads together
    mixed_layers: int = 0  # of the state_layers, those that keep tokens, too
    plain_layers: int = 0
    latent_dim: int = 0
    intermediate_size: int = 0  # of a dense layer's MLP
    experts: int = 0
    experts_used: int = 0  # by one token
    expert_intermediate_size: int = 0

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Shape:
        """From `shape` of a model's row."""
        return cls(**{name: whole(row.get(name)) for name in FIELDS})

    def row(self) -> dict[str, int]:
        """As `shape` of a model's row: what the model does not have is left out."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value}

    @classmethod
    def of_config(cls, config: Mapping[str, Any]) -> Shape:
        """From a config.json. What it doesn't say stays 0."""
        return Reader(config).shape()

    @property
    def full_layers(self) -> int:
        """Layers that keep every token."""
        return max(0, self.layers - self.window_layers - self.state_layers - self.plain_layers + self.mixed_layers)

    @property
    def known(self) -> bool:
        """Is it known what a text costs?"""
        if self.states_alone:
            return bool(self.state_bytes)
        return bool(self.layers and (self.latent_dim or (self.kv_heads and self.head_dim)))

    @property
    def states_alone(self) -> bool:
        """Has it no layer that keeps tokens?"""
        return bool(self.state_layers and not self.full_layers and not self.window_layers)

    def layer_values(self, tensor: int = 1, windowed: bool = False) -> int:
        """Values that one token takes in one layer of one device, of `tensor` devices that share it."""
        if self.latent_dim:
            return self.latent_dim
        heads, dim = self.kv_heads, self.head_dim
        if windowed:
            heads, dim = self.window_kv_heads or heads, self.window_head_dim or dim
        return max(1, heads // max(1, tensor)) * (dim + (self.value_dim or dim))

    def token_bytes(self, value_bytes: float = 2, tensor: int = 1, pipeline: int = 1) -> float | None:
        """Bytes that one more token of a long text takes on one device; None where that isn't known.

        Windows are full by then: only layers that keep every token grow. Of a model that has windows alone, what a token takes in those.
        """
        if not self.known:
            return None
        layers, windowed = (self.full_layers, False) if self.full_layers else (self.window_layers, True)
        return -(-layers // max(1, pipeline)) * self.layer_values(tensor, windowed) * value_bytes

    def sequence_bytes(self, tokens: int, value_bytes: float = 2, tensor: int = 1, pipeline: int = 1) -> float | None:
        """Bytes that a text of so many tokens takes on one device, windows and states included; None: not known."""
        if not self.known:
            return None
        stages = max(1, pipeline)
        full = -(-self.full_layers // stages) * self.layer_values(tensor) * tokens
        near = min(tokens, self.window) if self.window else tokens
        states = -(-self.state_layers // stages) * self.state_bytes / max(1, tensor)
        return states + value_bytes * (full + -(-self.window_layers // stages) * self.layer_values(tensor, True) * near)


FIELDS = tuple(field.name for field in dataclasses.fields(Shape))


class Reader:
    """Reads one config.json."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        part = text_part(config)
        self.outer = config
        assumed = ASSUMED.get(str(part.get("model_type")), {}) if part.get("model_type") else {}
        self.config: dict[str, Any] = {**assumed, **self.inner(part), **part}

    @staticmethod
    def inner(part: Mapping[str, Any]) -> dict[str, Any]:
        """Sizes that stand in parts of their own, under their usual names."""
        return {
            usual: part[name][own]
            for name, sizes in PARTS.items()
            if isinstance(part.get(name), Mapping)
            for own, usual in sizes.items()
            if whole(part[name].get(own))
        }

    def first(self, name: str) -> int:
        """A size under the first of its names that has one."""
        found: int = next((size for size in map(self.size, NAMES[name]) if size), 0)
        if not found and name == "vocab_size":
            found = whole(self.outer.get("vocab_size"))
        return found

    def size(self, key: str) -> int:
        """A size, the largest one where layers have each their own; 0 for what is none."""
        value = self.config.get(key)
        return max(map(whole, value), default=0) if isinstance(value, list) else whole(value)

    def shape(self) -> Shape:
        config = self.config
        given = {name: self.first(name) for name in NAMES}
        given["layers"] = given["layers"] or len(layers.listed(config))
        if given["layers"] > MOST_LAYERS:
            return Shape()
        heads = given["attention_heads"]
        if not given["head_dim"] and heads:
            given["head_dim"] = (self.size("attention_hidden_size") or given["hidden_size"]) // heads
        if not given["kv_heads"] or self.one_head:
            given["kv_heads"] = self.shared_heads(heads)
        if str(config.get("model_type")).startswith("longcat_flash"):  # its layers have two attentions each
            given["layers"] = 2 * self.size("num_layers") or given["layers"]
        given["max_position_embeddings"] = self.positions(given["max_position_embeddings"])
        latent = whole(config.get("kv_lora_rank"))
        if latent and config.get("model_type") in UNFOLDED:
            given["kv_heads"], given["head_dim"] = heads, self.size("qk_nope_head_dim") + self.size("qk_rope_head_dim")
        elif latent:
            index = self.size(
                "index_head_dim"
            )  # sparse ones keep the key of their indexer, too, in 8 bits with a scale of 32
            given["latent_dim"] = latent + self.size("qk_rope_head_dim") + (index + 4 if index else 0) // 2
        elif self.size("v_head_dim") != given["head_dim"]:  # MiMo
            given["value_dim"] = self.size("v_head_dim")
        if self.encoder():
            given["kv_heads"] = given["head_dim"] = 0
            if (
                "roberta" in str(config.get("model_type")) and given["max_position_embeddings"]
            ):  # its first ones are padding
                given["max_position_embeddings"] -= whole(config.get("pad_token_id") or 1) + 1
            return Shape(**given)
        if given["experts"] and not given["expert_intermediate_size"]:
            given["expert_intermediate_size"] = given["intermediate_size"]
        found = self.layers(given["layers"])
        alone = 0 < given["layers"] <= found["state_layers"] and not found["mixed_layers"]
        if alone or self.compressed():
            given["kv_heads"] = given["head_dim"] = 0
        if whole(config.get("global_head_dim")):  # head_dim is that of the windows
            found["window_head_dim"], found["window_kv_heads"] = given["head_dim"], given["kv_heads"]
            given["head_dim"] = whole(config["global_head_dim"])
            given["kv_heads"] = whole(config.get("num_global_key_value_heads")) or given["kv_heads"]
        return Shape(**given, **found)

    @property
    def one_head(self) -> bool:
        """Do all heads share one of keys and values, whatever else the file says? Falcon's first ones, StarCoder."""
        return bool(self.config.get("multi_query")) and not self.config.get("new_decoder_architecture")

    def compressed(self) -> bool:
        """Does it keep a part of the tokens alone, which no size tells?"""
        ratios = self.config.get("compress_ratios")
        return any(one in layers.COMPRESSED for one in layers.listed(self.config)) or (
            isinstance(ratios, list) and any(whole(one) > 1 for one in ratios)
        )

    def encoder(self) -> bool:
        """Does it keep nothing of a text?"""
        kind = str(self.config.get("model_type") or "")
        return bool(ENCODERS.fullmatch(kind)) and not self.config.get("is_decoder")

    def shared_heads(self, heads: int) -> int:
        """Key-value heads where no key gives them: one for all (ChatGLM says how many), or one for each or for a group."""
        if self.config.get("multi_query_attention") or self.one_head:
            groups: int = whole(self.config.get("multi_query_group_num")) or 1
            return groups
        per_layer = self.config.get("num_key_value_heads")
        if isinstance(per_layer, list):  # a number for each layer
            return max((whole(one) for one in per_layer), default=0) or heads
        sizes = [whole(one.get("n_heads_in_group")) for one in layers.attentions(self.config)]
        return heads // max(1, min((one for one in sizes if one), default=1))

    def positions(self, limit: int) -> int:
        """Tokens that the model takes, with its own stretching as vLLM 0.32 counts it (config/model.py, _get_and_verify_max_len)."""
        scaling = self.config.get("rope_scaling") or self.config.get("rope_parameters")
        if not isinstance(scaling, Mapping):
            return limit
        kind, factor = scaling.get("rope_type") or scaling.get("type"), scaling.get("factor")
        if kind not in STRETCHED or "gemma3" in str(self.config.get("model_type")):
            return limit
        good = isinstance(factor, (int, float)) and not isinstance(factor, bool) and 1 <= factor < 10_000
        return int(limit * float(str(factor))) if good else limit

    def layers(self, count: int) -> dict[str, int]:
        """{window_layers, window, ..., state_layers, plain_layers} of its layers."""
        shared = whole(self.config.get("num_kv_shared_layers"))  # the last ones read what others keep
        window = self.window()
        kinds = layers.words(self.config, count, window)[: count - shared]
        found = {
            "window_layers": sum(one in layers.WINDOWED for one in kinds) if window else 0,
            "state_layers": sum(one in layers.STATEFUL for one in kinds),
            "mixed_layers": sum(one in layers.MIXED for one in kinds),
            "plain_layers": sum(one in layers.PLAIN for one in kinds) + shared,
        }
        if found["state_layers"]:
            found["state_bytes"] = state_bytes(self.config, self.size)
        if found["window_layers"]:
            found["window"] = window
            found["window_kv_heads"] = whole(self.config.get("swa_num_key_value_heads"))
            found["window_head_dim"] = whole(self.config.get("swa_head_dim"))
        return found

    def window(self) -> int:
        """Tokens of a sliding window that is in use; 0 without one."""
        if self.config.get("use_sliding_window") is False:
            return 0
        size = self.config.get("sliding_window") or self.config.get("sliding_window_size")
        if isinstance(size, list):
            size = max((whole(one) for one in size), default=0)
        found: int = whole(size) or whole(self.config.get("attention_chunk_size"))
        return found
