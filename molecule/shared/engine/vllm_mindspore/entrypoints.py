"""Stands in for vllm_mindspore.entrypoints (branch duo-dev): takes the document's command line, trips over what the real stack trips
over, then runs real vLLM for CPU with tensor parallel 1.

Like the real one it starts the server as a child and loses its exit code: a crashed server ends with 0.
"""

import json
import os
import struct
import subprocess
import sys

import yaml

MODES = ("AI_CPU", "HOST")  # what a 300I Duo knows
OURS = [
    "--tensor-parallel-size=1",
    "--kv-cache-memory-bytes=268435456",
    "--enforce-eager",
]  # what the CPU needs instead


def option(arguments, name):
    return next((a.partition("=")[2] for a in arguments if a.startswith(f"--{name}=")), None)


def types_of(folder):
    found = set()
    for name in sorted(os.listdir(folder)):
        if name.endswith(".safetensors"):
            with open(os.path.join(folder, name), "rb") as source:
                header = json.loads(source.read(struct.unpack("<Q", source.read(8))[0]))
            found |= {row["dtype"] for key, row in header.items() if key != "__metadata__"}
    return found


def check(arguments):
    model, width = option(arguments, "model"), int(option(arguments, "tensor-parallel-size") or 1)
    if os.environ.get("vLLM_MODEL_BACKEND") != "MindFormers":  # noqa: SIM112 - its name
        raise RuntimeError("vLLM_MODEL_BACKEND must be MindFormers")
    path = os.environ.get("MINDFORMERS_MODEL_CONFIG")
    if not path or not os.path.exists(path):
        raise RuntimeError('For "MindFormers" model backend, environment MINDFORMERS_MODEL_CONFIG should be set!')
    ids = os.environ.get("ASCEND_RT_VISIBLE_DEVICES", "")
    if ids.split(",") != [str(i) for i in range(width)]:
        raise RuntimeError(
            f"Set device failed: tensor parallel size {width}, ASCEND_RT_VISIBLE_DEVICES={ids!r} (numbered from 0 inside)"
        )
    chips = [n for n in os.listdir("/dev") if n.startswith("davinci") and n[7:].isdigit()]
    absent = [n for n in ("davinci_manager", "devmm_svm", "hisi_hdc") if not os.path.exists("/dev/" + n)]
    if len(chips) != width or absent:
        raise RuntimeError(f"dcmi module initialize failed. ret is -8005 ({len(chips)} chips, without {absent})")
    for name in (
        "/usr/local/Ascend/driver/version.info",
        "/usr/local/Ascend/driver/lib64",
        "/etc/ascend_install.info",
        "/usr/local/dcmi",
        "/usr/local/bin/npu-smi",
    ):
        if not os.path.exists(name):
            raise RuntimeError(f"{name} is not mounted")
    if os.environ.get("HCCL_OP_EXPANSION_MODE") not in MODES:
        raise RuntimeError("HCCL_OP_EXPANSION_MODE is not supported on this chip")
    if types_of(model) - {"F16", "F32"}:
        raise RuntimeError("For 310p, bfloat16 type is not supported")
    with open(path, encoding="utf-8") as source:
        settings = yaml.safe_load(source)
    tokenizer = settings["processor"]["tokenizer"]
    if settings["parallel_config"]["model_parallel"] != width:
        raise RuntimeError("model_parallel of MINDFORMERS_MODEL_CONFIG is not the tensor parallel size")
    if settings["model"]["model_config"]["compute_dtype"] != "float16":
        raise RuntimeError("compute_dtype must be float16")
    for name in ("vocab_file", "merges_file"):
        if not os.path.exists(tokenizer[name]):
            raise RuntimeError(f"{name} {tokenizer[name]} is not there")
    if os.statvfs("/dev/shm").f_blocks * os.statvfs("/dev/shm").f_frsize < 1 << 30:
        raise RuntimeError("Bus error: /dev/shm is too small")


def main():
    if sys.argv[1:2] != ["--child"]:
        subprocess.run([sys.executable, "-m", "vllm_mindspore.entrypoints", "--child", *sys.argv[1:]], check=False)
        return
    module, *arguments = sys.argv[2:]
    check(arguments)
    kept = [a for a in arguments if not a.startswith(("--tensor-parallel-size", "--gpu-memory-utilization"))]
    os.execv(sys.executable, [sys.executable, "-m", module, *kept, *OURS])  # noqa: S606


if __name__ == "__main__":
    main()
