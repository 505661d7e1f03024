"""The arithmetic of one device: what is there, what weights, activations and the rest take, what the KV cache gets, in a table."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ansible.module_utils.serving import files
from ansible.module_utils.serving.sizing import adapters
from ansible.module_utils.serving.sizing.caches import BLOCK, pool
from ansible.module_utils.serving.sizing.engines import AT_LOAD, GIB, RESERVED, Constants
from ansible.module_utils.serving.sizing.models import VALUE_BYTES, Model


@dataclass(frozen=True)
class Device:
    """One device: `total` bytes as the driver says, `reserved` of them for itself; rates in bytes and operations a second, None: not measured."""

    total: int
    reserved: int = RESERVED
    name: str = ""
    kind: str = "gpu"
    copy_rate: float | None = None
    matrix_rate: float | None = None

    @property
    def usable(self) -> int:
        return self.total - self.reserved


@dataclass(frozen=True)
class Settings:
    """What an engine is started with. `quantization`, `offload_bytes`, `expert_parallel`: as the row says; 0 and None: not given."""

    tensor: int = 1
    pipeline: int = 1
    data: int = 1
    context: int = 1  # context parallel ranks that spread a sequence's tokens
    max_model_len: int = 0
    max_num_seqs: int = 256
    max_num_batched_tokens: int = 8192
    utilization: float = 0.9
    kv_bytes: int | None = None
    kv_dtype: str = "auto"
    dtype: str = "auto"
    eager: bool = False
    capture: tuple[int, ...] = ()
    block: int = BLOCK
    quantization: str = ""
    expert_parallel: bool = False
    offload_bytes: int = 0
    lora: adapters.Slots = field(default_factory=adapters.Slots)
    fused: bool = False  # is FlashInfer there, whose fused all-reduce takes a workspace?

    @property
    def ranks(self) -> int:
        return self.tensor * self.pipeline


@dataclass
class Budget:
    """Where one device's memory goes: `rows` [(what, bytes, how)], negative for what is taken; what is left is the cache."""

    rows: list[tuple[str, int, str]] = field(default_factory=list)
    cache_bytes: int = 0
    tokens: int = 0
    token_bytes: float = 0.0  # of a token in all layers, for layers whose cache grows

    def table(self) -> list[dict[str, Any]]:
        return [{"what": what, "bytes": size, "how": how} for what, size, how in self.rows]


def cache_value(kv_dtype: str, dtype: str) -> float:
    """Bytes of one value in the KV cache."""
    if kv_dtype.startswith(("nvfp4", "int4", "turboquant")):
        return 0.5
    if kv_dtype.startswith(("fp8", "int8")):
        return 1.0
    return float(VALUE_BYTES.get(dtype if kv_dtype == "auto" else kv_dtype, 2.0))


def computed_dtype(model: Model, dtype: str) -> str:
    """The type that the engine computes in: vLLM's `auto` casts float32 weights to 16 bits."""
    return ("bfloat16" if model.dtype == "float32" else model.dtype) if dtype in ("auto", "half", "float") else dtype


def weights(model: Model, chosen: Settings) -> int:
    """Weights of the fullest device. A pipeline's first and last stage hold an embedding beside their layers."""
    size = (
        model.weight_bytes
        * VALUE_BYTES.get(computed_dtype(model, chosen.dtype), 2.0)
        / VALUE_BYTES.get(model.dtype, 2.0)
    )
    if chosen.quantization in AT_LOAD:  # embeddings keep their type
        kept = min(2.0 * model.shape.vocab_size * model.shape.hidden_size * 2, size)
        size = kept + (size - kept) * AT_LOAD[chosen.quantization]
    if chosen.pipeline > 1 and model.shape.vocab_size:
        ends = min(model.shape.vocab_size * model.shape.hidden_size * 2.0, size / 3)
        most = -(-model.shape.layers // chosen.pipeline)
        size = (size - 2 * ends) * most / model.shape.layers + ends
    size /= chosen.tensor * (chosen.data if chosen.expert_parallel and model.shape.experts else 1)
    return max(0, int(size) - chosen.offload_bytes)


def activations(model: Model, chosen: Settings, known: Constants) -> int:
    """Most that one step takes: the sampler over the vocabulary or the MLP, and the experts' workspace, which stays."""
    value = VALUE_BYTES.get(computed_dtype(model, chosen.dtype), 2.0)
    batched = chosen.max_num_batched_tokens
    sampler = chosen.max_num_seqs * model.shape.vocab_size * (known.sampler + value)
    dense = (
        known.mlp * batched * model.shape.intermediate_size / chosen.tensor * value if not model.shape.experts else 0.0
    )
    experts = 0.0
    if model.shape.experts:
        width = known.mlp * model.shape.expert_intermediate_size / chosen.tensor + model.shape.hidden_size
        experts = batched * max(1, model.shape.experts_used) * width * value
    return int(known.base + known.hidden * batched * model.shape.hidden_size * value + max(sampler, dense) + experts)


def outside(chosen: Settings, known: Constants) -> tuple[int, str]:
    """What lies outside torch: context, cuBLAS, NCCL."""
    size = known.outside_staged if chosen.pipeline > 1 else known.outside
    if chosen.tensor == 1:
        return size, "the driver's context, cuBLAS"
    size += known.collectives + (known.fused if chosen.fused else 0)
    return size, "context, cuBLAS, NCCL" + (" and FlashInfer's all-reduce" if chosen.fused else "")


def lora(model: Model, chosen: Settings) -> int:
    """The slots of adapters on the fullest device."""
    value = VALUE_BYTES.get(computed_dtype(model, chosen.dtype), 2.0)
    return int(
        adapters.device_bytes(model.shape, model.architecture, chosen.lora, value, chosen.tensor, chosen.pipeline)
    )


def graphs(model: Model, chosen: Settings, known: Constants) -> int:
    """What CUDA graphs take once they are captured. With adapters there are those with and those without (cudagraph_specialize_lora)."""
    if chosen.eager:
        return 0
    size = known.graph[0] + known.graph[1] * -(-model.shape.layers // chosen.pipeline)
    return int(size * (2 if chosen.lora.count else 1))


def human(size: float) -> str:
    """Bytes for arithmetic: two decimals of GiB, so that rows add up; small ones as everywhere."""
    return "%.2f GiB" % (size / GIB) if size >= GIB else files.human(size)


def budget(model: Model, chosen: Settings, device: Device, known: Constants, learned: int = 0) -> Budget:
    """The table of one device; without tokens where a model's shape isn't known.

    `learned`: bytes that earlier starts left more (or less) than was predicted.
    """
    found = Budget()
    value = cache_value(chosen.kv_dtype, computed_dtype(model, chosen.dtype))
    found.token_bytes = model.shape.token_bytes(value, chosen.tensor, chosen.pipeline) or 0.0
    usable = int(device.usable * chosen.utilization)
    found.rows.append(("usable", usable, "%s of %s" % (chosen.utilization, human(device.usable))))
    count = "%d devices" % chosen.ranks if chosen.ranks > 1 else "one device"
    found.rows.append(("weights", -weights(model, chosen), "%.2f GB over %s" % (model.weight_bytes / 1e9, count)))
    if chosen.lora.count:
        how = "%d slots of rank %d, allocated at start" % (chosen.lora.count, chosen.lora.rank)
        found.rows.append(("adapters", -lora(model, chosen), how))
    how = "%d tokens and %d sequences a step" % (chosen.max_num_batched_tokens, chosen.max_num_seqs)
    found.rows.append(("activations", -activations(model, chosen, known), how))
    size, how = outside(chosen, known)
    found.rows.append(("outside torch", -size, how))
    graph = graphs(model, chosen, known)
    if graph and known.graphs_taken:
        found.rows.append(("CUDA graphs", -graph, "kept free before the cache is sized"))
    if learned:
        found.rows.append(("learned", learned, "what earlier starts here left beside the prediction"))
    left = sum(size for _, size, _ in found.rows)
    if chosen.kv_bytes is not None:
        left = chosen.kv_bytes
        found.rows = [("given", left, "kv_cache_memory_bytes")]
    found.rows.append(("KV cache", left, "what is left; %.0f KiB a token" % (found.token_bytes / 1024)))
    if graph and not known.graphs_taken:
        found.rows.append(("CUDA graphs", -graph, "beyond the share, from what utilisation leaves free"))
    found.cache_bytes = left
    if not model.shape.known:
        return found
    if left > 0:
        blocks = pool(model.shape, chosen.tensor, chosen.pipeline, value, chosen.block)
        step = (chosen.max_model_len, chosen.max_num_batched_tokens, model.shape.window, known.by_requests)
        found.tokens = blocks.tokens(left, *step) * chosen.context
    else:
        found.tokens = int(left / max(1.0, found.token_bytes))
    return found
