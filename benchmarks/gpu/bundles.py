#!/usr/bin/env python3
"""The three bundles of the GPU benchmarks, made on a machine with a package index for one without: controller, tools, vllm-gpu.

    python benchmarks/gpu/bundles.py FOLDER [PART_BYTES]

The target has Python 3.12, glibc 2.39, torch with CUDA and what stands in PROVIDED. What the benchmarks never load stays out: kernels for other accelerators,
FlashAttention 2 (3 serves on Hopper), flashinfer.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "roles/python_runtime/files/vllm-gpu.lock"
PROVIDED = [
    "torch",
    "torchaudio",
    "torchvision",
    "triton",
    "numpy",
    "numba",
    "llvmlite",
    "networkx",
    "sympy",
    "mpmath",
    "opencv-python-headless",
]
PROVIDED_FAMILIES = ["nvidia-cu", "nvidia-nccl", "nvidia-nvjitlink", "nvidia-nvshmem", "nvidia-nvtx", "cuda-"]
LEFT_OUT = [
    "cuda-tile", "flashinfer-cubin", "flashinfer-python", "nvidia-cuda-crt", "nvidia-cuda-nvcc", "nvidia-cuda-tileiras", "nvidia-cudnn-frontend",
    "nvidia-cutlass-dsl", "nvidia-cutlass-dsl-libs-base", "nvidia-cutlass-dsl-libs-cu13", "nvidia-nvvm", "pynvvideocodec", "quack-kernels", "tilelang",
    "tokenspeed-mla", "tokenspeed-triton", "torchcodec", "z3-solver",
]  # fmt: skip
LEFT_OUT_FILES = [
    "vllm/vllm_flash_attn/_vllm_fa2_C*", "vllm/_flashmla*", "vllm/_qutlass*", "vllm/third_party/deep_gemm/*", "vllm/third_party/fmha_sm100/*", "vllm/vllm-rs",
]  # fmt: skip


def provided() -> list[str]:
    """The lock's distributions that the target has."""
    names = [
        line.split("==")[0].split("[")[0]
        for line in LOCK.read_text().splitlines()
        if line[:1].isalnum() and "==" in line
    ]
    return sorted(
        {name for name in names if name in PROVIDED or name.startswith(tuple(PROVIDED_FAMILIES))} - set(LEFT_OUT)
    )


def main() -> None:
    out = Path(sys.argv[1]).resolve()
    more = {"provided": provided(), "leave_out": LEFT_OUT, "leave_out_files": LEFT_OUT_FILES}
    for name, lock, values in (
        ("controller", "../../../requirements.lock", {}), ("tools", "tools.lock", {}), ("vllm-gpu", LOCK.name, more),
    ):  # fmt: skip
        said = {"lock": lock, "python": "3.12", "glibc": "2.39", "out": str(out / name), **values}
        if len(sys.argv) > 2:
            said["part_bytes"] = int(sys.argv[2])
        subprocess.run(
            [sys.executable, "-m", "ansible.cli.playbook", "playbooks/bundle_env.yml", "-e", json.dumps(said)],
            cwd=ROOT,
            check=True,
        )


if __name__ == "__main__":
    main()
