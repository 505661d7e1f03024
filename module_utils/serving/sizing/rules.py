"""What can't start, or would start only to fail, as rules: each says its name and a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ansible.module_utils.serving.sizing.engines import CPU_HEAD_DIMS
from ansible.module_utils.serving.sizing.memory import Settings
from ansible.module_utils.serving.sizing.models import Model

MASK_LIMIT = 32768  # tokens whose square mask takes 2 GiB


@dataclass(frozen=True)
class Host:
    """What a host has for one service: `count` devices that it may take, groups of indices with NVLink, what they compute in."""

    count: int
    islands: tuple[tuple[int, ...], ...] = ()
    dtypes: tuple[str, ...] = ("bfloat16", "float16", "float32")
    kind: str = "gpu"
    graphs: int = 0  # of batch sizes that a device has room for; 0: all that an engine wants
    square_mask: bool = False  # does the attention mask take memory by the square of max_model_len?

    @property
    def island(self) -> int:
        """Devices of the largest group with NVLink; all where none is told."""
        sizes = [len(group) for group in self.islands]
        return max(sizes) if any(size > 1 for size in sizes) else self.count

    @property
    def linked(self) -> bool:
        """Do devices reach each other over NVLink?"""
        return any(len(group) > 1 for group in self.islands)


def widths(model: Model, chosen: Settings) -> Iterator[tuple[str, str]]:
    """Sizes that a parallel width must divide."""
    tensor = chosen.tensor
    if model.shape.attention_heads % tensor:
        yield (
            "heads",
            "%d attention heads are not divisible by tensor_parallel_size %d" % (model.shape.attention_heads, tensor),
        )
    if model.shape.kv_heads % tensor and tensor % model.shape.kv_heads and not model.shape.latent_dim:
        yield (
            "kv-heads",
            "%d kv heads neither divide nor are divided by tensor_parallel_size %d" % (model.shape.kv_heads, tensor),
        )
    if model.shape.vocab_size and model.shape.vocab_size % tensor and tensor & (tensor - 1):
        yield (
            "vocabulary",
            "a vocabulary of %d is not divisible by tensor_parallel_size %d" % (model.shape.vocab_size, tensor),
        )
    wide = (
        model.shape.expert_intermediate_size
        if model.shape.experts and not chosen.expert_parallel
        else model.shape.intermediate_size
    )
    if wide % tensor:
        yield "intermediate", "an intermediate size of %d is not divisible by tensor_parallel_size %d" % (wide, tensor)
    if model.shape.layers < chosen.pipeline:
        yield "layers", "%d layers are fewer than pipeline_parallel_size %d" % (model.shape.layers, chosen.pipeline)


def rejections(model: Model, chosen: Settings, host: Host) -> list[tuple[str, str]]:
    """[(rule, sentence)] against one choice, memory aside."""
    found = list(widths(model, chosen))
    need = chosen.ranks * chosen.data
    if need > host.count:
        found.append(("devices", "it takes %d devices, this host has %d" % (need, host.count)))
    if 1 < chosen.tensor <= host.count and chosen.tensor > host.island:
        found.append(
            (
                "nvlink-island",
                "tensor_parallel_size %d reaches beyond the %d devices that share NVLink"
                % (chosen.tensor, host.island),
            )
        )
    if model.shape.max_position_embeddings and chosen.max_model_len > model.shape.max_position_embeddings:
        text = "max_model_len %d is beyond the model's %d positions, and it has no rope scaling for more"
        found.append(("context", text % (chosen.max_model_len, model.shape.max_position_embeddings)))
    dtype = model.dtype if chosen.dtype == "auto" else chosen.dtype
    if dtype not in host.dtypes:
        found.append(
            ("dtype", "this accelerator doesn't compute in %s; %s it does" % (dtype, " and ".join(host.dtypes)))
        )
    if host.kind == "cpu" and model.shape.head_dim not in CPU_HEAD_DIMS:
        found.append(
            (
                "head-dim",
                "vLLM's CPU attention has no head_dim %d: the server starts, and its first answer ends it"
                % model.shape.head_dim,
            )
        )
    if host.graphs and not chosen.eager and len(chosen.capture) > host.graphs:
        found.append(
            (
                "graphs",
                "this board holds %d graphs beside a large model, %d sizes are to be captured"
                % (host.graphs, len(chosen.capture)),
            )
        )
    if host.square_mask and chosen.max_model_len > MASK_LIMIT:
        text = "the attention mask of this board grows with the square of the length: %d tokens take %.1f GiB"
        found.append(("mask", text % (chosen.max_model_len, 2 * chosen.max_model_len**2 / 2**30)))
    return found
