"""Candidates for a model on a host, best first, each with its arithmetic; and what was rejected, each by its rule."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ansible.module_utils.serving.sizing.engines import CAPTURE_FEW, CAPTURE_LARGEST, GIB, Constants
from ansible.module_utils.serving.sizing.memory import Budget, Device, Settings, budget, cache_value, computed_dtype
from ansible.module_utils.serving.sizing.models import Model
from ansible.module_utils.serving.sizing.rules import Host, rejections
from ansible.module_utils.serving.sizing.speed import Speed, as_row, predict

CONTEXT, CONCURRENCY = 8192, 64  # where nobody says
PROMPT, OUTPUT = 512, 256  # tokens of the request that speed is compared by
COPY_HOLDS = 2  # requests of full length that one copy should hold, or long ones wait for each other
GOALS = ("throughput", "latency")


@dataclass(frozen=True)
class Wishes:
    """What callers want: tokens of the longest request, requests at once, and whether one caller or all of them count.

    `fixed`: settings that the row gives, by field of Settings; a choice changes none of them.
    """

    context: int | None = None
    concurrency: int | None = None
    goal: str = "throughput"
    fixed: tuple[tuple[str, Any], ...] = ()


@dataclass
class Candidate:
    """One choice with its table. `replicas`: copies of it that the host's devices hold."""

    settings: Settings
    budget: Budget
    replicas: int
    speed: Speed | None
    held: float  # requests of full length that the cache holds at once, in all copies of one service

    def args(self, host: Host, known: Constants) -> dict[str, Any]:
        """engine_args of this choice, without what the engine does by itself."""
        chosen = self.settings
        found: dict[str, Any] = {
            "tensor_parallel_size": chosen.tensor, "pipeline_parallel_size": chosen.pipeline, "data_parallel_size": chosen.data,
            "max_model_len": chosen.max_model_len, "max_num_seqs": chosen.max_num_seqs, "max_num_batched_tokens": chosen.max_num_batched_tokens,
            "gpu_memory_utilization": chosen.utilization, "kv_cache_dtype": chosen.kv_dtype, "enforce_eager": chosen.eager,
        }  # fmt: skip
        if chosen.kv_bytes is not None:
            found["kv_cache_memory_bytes"] = chosen.kv_bytes
        if host.kind == "cpu":
            found.pop("gpu_memory_utilization")
        if chosen.dtype != "auto":
            found["dtype"] = chosen.dtype
        if host.graphs and not chosen.eager:
            found["compilation_config"] = {
                "cudagraph_mode": "FULL_DECODE_ONLY",
                "cudagraph_capture_sizes": list(chosen.capture),
            }
        defaults = {
            "pipeline_parallel_size": 1,
            "data_parallel_size": 1,
            "kv_cache_dtype": "auto",
            "enforce_eager": False,
        }
        return {
            key: value
            for key, value in found.items()
            if defaults.get(key) != value or type(defaults.get(key)) is not type(value)
        }

    def row(self, host: Host, known: Constants) -> dict[str, Any]:
        """For a plan: the choice, its table, what it holds and how fast it may be."""
        return {
            "args": self.args(host, known), "table": self.budget.table(), "tokens": self.budget.tokens, "token_bytes": int(self.budget.token_bytes),
            "requests": round(self.held, 1), "replicas": self.replicas, "capture_sizes": list(self.settings.capture), "speed": as_row(self.speed),
        }  # fmt: skip


@dataclass
class Found:
    candidates: list[Candidate]
    rejected: list[tuple[str, str, str]]  # (what, rule, sentence)


def name_of(chosen: Settings) -> str:
    """`TP 2 x DP 4, fp8 cache`."""
    parts = (
        ["TP %d" % chosen.tensor]
        + ["PP %d" % chosen.pipeline] * (chosen.pipeline > 1)
        + ["DP %d" % chosen.data] * (chosen.data > 1)
    )
    return " x ".join(parts) + (", %s cache" % chosen.kv_dtype if chosen.kv_dtype != "auto" else "")


def powers(most: int) -> list[int]:
    """1, 2, 4 ... and `most` itself."""
    found = [1 << power for power in range(most.bit_length()) if 1 << power <= most]
    return found if most in found or most < 1 else [*found, most]


def few_sizes(graphs: int, most: int, goal: str) -> tuple[int, ...]:
    """Batch sizes to capture on a board that holds so many graphs; () where it holds all. A batch runs in the graph of the next larger size, a larger
    one than the largest without: a single graph serves one caller or all of them.
    """
    if not graphs:
        return ()
    if graphs == 1:
        return (1,) if goal == "latency" else (most,)
    return tuple(size for size in CAPTURE_FEW[:graphs] if size <= most)


def starting_points(model: Model, host: Host, device: Device, known: Constants, wishes: Wishes) -> list[Settings]:
    """Settings worth a calculation, before any of it."""
    fixed = dict(wishes.fixed)
    large = device.total >= known.large
    concurrency = wishes.concurrency or CONCURRENCY
    base = Settings(
        utilization=known.utilization,
        max_model_len=wishes.context or min(model.shape.max_position_embeddings or CONTEXT, CONTEXT),
        max_num_seqs=max(8, min(256, 1 << (concurrency - 1).bit_length())),
        max_num_batched_tokens=known.batched[large],
        dtype="auto" if model.dtype in host.dtypes else host.dtypes[0],
    )
    base = replace(base, capture=few_sizes(host.graphs, base.max_num_seqs, wishes.goal))
    base = replace(base, max_num_batched_tokens=max(base.max_num_batched_tokens, base.max_num_seqs))
    found = []
    for tensor in [fixed["tensor"]] if "tensor" in fixed else powers(host.count):
        for pipeline in [fixed["pipeline"]] if "pipeline" in fixed else [1, 2]:
            copies = host.count // (tensor * pipeline) if wishes.goal == "throughput" and host.kind == "gpu" else 1
            for data in [fixed["data"]] if "data" in fixed else sorted({1, max(1, copies)}):
                for kv_dtype in (
                    [fixed["kv_dtype"]] if "kv_dtype" in fixed else ["auto", "fp8"] if host.kind == "gpu" else ["auto"]
                ):
                    point = replace(base, tensor=tensor, pipeline=pipeline, data=data, kv_dtype=kv_dtype)
                    found.append(replace(point, **fixed))
    return list(dict.fromkeys(found))


def shortfall(model: Model, chosen: Settings, device: Device, known: Constants, table: Budget) -> str:
    """Why the cache of a choice is too small, and what would help: «TP 1 at 0.9 leaves 34368 tokens, 65536 asked: max_model_len 34368, ...»."""
    if table.cache_bytes <= 0 and chosen.kv_bytes is None:
        return "%s at %s: the weights and what runs beside them take %.1f GiB more than there is" % (
            name_of(chosen),
            chosen.utilization,
            -table.cache_bytes / GIB,
        )
    remedies = ["max_model_len %d" % (table.tokens // 16 * 16)]
    wider = replace(chosen, tensor=chosen.tensor * 2)
    if not any(
        rule in ("heads", "vocabulary", "intermediate", "kv-heads") for rule, _ in rejections(model, wider, Host(10**6))
    ):
        remedies.append("TP %d" % wider.tensor)
    value = cache_value(chosen.kv_dtype, computed_dtype(model, chosen.dtype))
    if (
        value >= 2
        and device.kind == "gpu"
        and budget(model, replace(chosen, kv_dtype="fp8"), device, known).tokens >= chosen.max_model_len
    ):
        remedies.append("kv_cache_dtype fp8")
    share = "at %s " % chosen.utilization if chosen.kv_bytes is None else ""
    return "%s %sleaves %d tokens, %d asked: %s" % (
        name_of(chosen),
        share,
        table.tokens,
        chosen.max_model_len,
        ", or ".join(remedies),
    )


def rank(one: Candidate, wishes: Wishes) -> tuple[Any, ...]:
    """Smaller is better: what holds the wished requests first, an exact cache before a rounded one, then speed."""
    chosen, speed = one.settings, one.speed
    wanted = wishes.concurrency or CONCURRENCY
    holds = one.held >= min(wanted, 4) and one.held / chosen.data >= min(wanted, COPY_HOLDS)
    fast = (
        (speed.one[0] if wishes.goal == "latency" else speed.many[0])
        if speed
        else one.held / (chosen.ranks * chosen.data)
    )
    return (
        not holds,
        chosen.kv_dtype not in ("auto", dict(wishes.fixed).get("kv_dtype")),
        chosen.pipeline > 1,
        -round(fast, 1),
        chosen.ranks * chosen.data,
    )


def search(model: Model, host: Host, device: Device, known: Constants, wishes: Wishes, learned: int = 0) -> Found:
    """All that fits, best first, and all that doesn't, with the rule that says so."""
    found = Found([], [])
    for chosen in starting_points(model, host, device, known, wishes):
        against = rejections(model, chosen, host)
        if against:
            found.rejected += [(name_of(chosen), rule, text) for rule, text in against]
            continue
        table = budget(model, chosen, device, known, learned)
        if table.tokens < chosen.max_model_len:
            found.rejected.append((name_of(chosen), "memory", shortfall(model, chosen, device, known, table)))
            continue
        if not chosen.eager and not chosen.capture:
            sizes = [
                size
                for size in (1, 2, 4, *range(8, 257, 8), *range(272, CAPTURE_LARGEST + 1, 16))
                if size <= min(CAPTURE_LARGEST, 2 * chosen.max_num_seqs)
            ]
            chosen = replace(chosen, capture=tuple(sizes))
        at_once = max(1, min(wishes.concurrency or CONCURRENCY, chosen.max_num_seqs, table.tokens // (PROMPT + OUTPUT)))
        speed = predict(model, chosen, device, at_once, PROMPT, OUTPUT, host.linked)
        held = table.tokens / max(1, chosen.max_model_len) * chosen.data
        found.candidates.append(
            Candidate(chosen, table, max(1, host.count // (chosen.ranks * chosen.data)), speed, held)
        )
    found.candidates.sort(key=lambda one: rank(one, wishes))
    return found
