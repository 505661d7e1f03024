"""What can't start, or would start only to fail, as rules: each says its name and a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ansible.module_utils.serving.sizing.engines import CPU_HEAD_DIMS
from ansible.module_utils.serving.sizing.memory import Settings
from ansible.module_utils.serving.sizing.shapes import Shape


@dataclass(frozen=True)
class Host:
    """What a host has for one service: `count` devices that it may take, groups of indices with NVLink, what its chips compute in."""

    count: int
    islands: tuple[tuple[int, ...], ...] = ()
    dtypes: tuple[str, ...] = ("bfloat16", "float16", "float32")
    kind: str = "gpu"
    chip: str = ""

    @property
    def island(self) -> int:
        """Devices of the largest group with NVLink; all where none is told."""
        sizes = [len(group) for group in self.islands]
        return max(sizes) if any(size > 1 for size in sizes) else self.count

    @property
    def linked(self) -> bool:
        """Do devices reach each other over NVLink?"""
        return any(len(group) > 1 for group in self.islands)


def widths(shape: Shape, chosen: Settings) -> Iterator[tuple[str, str]]:
    """Sizes that a parallel width must divide."""
    tensor = chosen.tensor
    if shape.heads % tensor:
        yield "heads", "%d attention heads are not divisible by tensor_parallel_size %d" % (shape.heads, tensor)
    if shape.kv_heads % tensor and tensor % shape.kv_heads and not shape.latent:
        yield (
            "kv-heads",
            "%d kv heads neither divide nor are divided by tensor_parallel_size %d" % (shape.kv_heads, tensor),
        )
    if shape.vocab and shape.vocab % tensor and tensor & (tensor - 1):
        yield "vocabulary", "a vocabulary of %d is not divisible by tensor_parallel_size %d" % (shape.vocab, tensor)
    wide = shape.expert_intermediate if shape.experts and not chosen.expert_parallel else shape.intermediate
    if wide % tensor:
        yield "intermediate", "an intermediate size of %d is not divisible by tensor_parallel_size %d" % (wide, tensor)
    if shape.layers < chosen.pipeline:
        yield "layers", "%d layers are fewer than pipeline_parallel_size %d" % (shape.layers, chosen.pipeline)


def rejections(shape: Shape, chosen: Settings, host: Host) -> list[tuple[str, str]]:
    """[(rule, sentence)] against one choice, memory aside."""
    found = list(widths(shape, chosen))
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
    if shape.positions and chosen.max_model_len > shape.positions:
        text = "max_model_len %d is beyond the model's %d positions, and it has no rope scaling for more"
        found.append(("context", text % (chosen.max_model_len, shape.positions)))
    dtype = shape.dtype if chosen.dtype == "auto" else chosen.dtype
    if dtype not in host.dtypes:
        found.append(("dtype", "this chip doesn't compute in %s; %s it does" % (dtype, " and ".join(host.dtypes))))
    if host.kind == "cpu" and shape.head_dim not in CPU_HEAD_DIMS:
        found.append(
            (
                "head-dim",
                "vLLM's CPU attention has no head_dim %d: the server starts, and its first answer ends it"
                % shape.head_dim,
            )
        )
    if "310P" in host.chip and len(chosen.capture) > 2:
        found.append(
            (
                "graphs",
                "a 310P holds two graphs beside a large model, %d sizes are to be captured" % len(chosen.capture),
            )
        )
    if "310P" in host.chip and chosen.max_model_len > 32768:
        text = "the attention mask of a 310P grows with the square of the length: %d tokens take %.1f GiB"
        found.append(("mask", text % (chosen.max_model_len, 2 * chosen.max_model_len**2 / 2**30)))
    return found
