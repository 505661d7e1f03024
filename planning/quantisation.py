"""Which GPU runs which quantised model: by compute capability, as vLLM 0.32 asks it before it loads.

A row's `quantization` is config.json's word. Sources: get_min_capability of vllm/model_executor/layers/quantization/*.py (0.32.0);
a board's row says its compute capability.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Method -> least compute capability, times ten.
LEAST: dict[str, int] = {
    "awq": 75, "awq_marlin": 75, "gptq": 60, "gptq_marlin": 75, "fp8": 75, "fbgemm_fp8": 80, "compressed-tensors": 70, "mxfp4": 80,
    "modelopt": 80, "modelopt_fp4": 75, "experts_int8": 80, "moe_wna16": 70, "quark": 70, "torchao": 75, "bitsandbytes": 70, "fp_quant": 100,
}  # fmt: skip
# Methods whose numbers the tensor cores of older GPUs don't have: they run there with weights alone quantised, and gain memory but no speed.
NATIVE: dict[str, int] = {"fp8": 89, "mxfp4": 100, "modelopt_fp4": 100, "modelopt": 89}
# Methods that a CPU has kernels for in vLLM 0.32 (vllm/model_executor/kernels, platform cpu).
CPU = ("awq", "gptq", "compressed-tensors")


def capability(board: Mapping[str, Any]) -> int | None:
    """The compute capability of a board, times ten; None where its row doesn't say it."""
    said = board.get("compute_capability")
    return int(str(said).replace(".", "")) if said else None


def shown(number: int) -> str:
    return f"{number // 10}.{number % 10}"


def problem(method: str, board: Mapping[str, Any]) -> tuple[str, str] | None:
    """(what is wrong, what to do) where a board can't run a quantised model; None where it can, or nobody knows."""
    plain = "take the form of the model that isn't quantised"
    if board.get("kind") == "npu":
        return (
            f"the model is quantised ({method}), and an NPU takes forms of its own alone",
            f"{plain}, or one made for NPUs",
        )
    if board.get("kind") == "cpu":
        return (
            None
            if method in CPU
            else (f"the model is quantised ({method}), which a CPU has no kernels for", f"{plain}, or {', '.join(CPU)}")
        )
    here, least = capability(board), LEAST.get(method)
    if here is None or least is None or here >= least:
        return None
    return (
        f"{method} needs compute capability {shown(least)}, this board has {shown(here)}",
        f"another board, or {plain}",
    )


def slow(method: str, board: Mapping[str, Any]) -> str | None:
    """Words where a board runs a quantised model with weights alone quantised."""
    here, native = capability(board), NATIVE.get(method)
    if board.get("kind") != "gpu" or here is None or native is None or here >= native:
        return None
    return f"{method} is native from compute capability {shown(native)} on, this board has {shown(here)}: memory is saved, computing is no faster"
