"""Failure hints: what NVIDIA's management library answers, as pynvml and others name it."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

HINTS = (
    Hint(
        "nvml-driver-not-loaded",
        r"NVMLError_DriverNotLoaded",
        "NVIDIA's driver is not loaded on this host: it is not installed, not built for the running kernel, refused (Secure Boot), or"
        " another driver has the GPU",
        "nvidia-smi and dmesg | grep -i nvrm on the host say which; run deploy.yml --tags prepare, or modprobe nvidia",
        "NVML, return codes",
        "pynvml.NVMLError_DriverNotLoaded: Driver Not Loaded",
    ),
    Hint(
        "nvml-of-another-time",
        r"NVMLError_(?:FunctionNotFound|ArgumentVersionMismatch|InsufficientSize)"
        r"|nvml error: (?:function not found|argument version mismatch|insufficient size)",
        "what asks the driver (nvidia-ml-py) is newer than the driver's library, which lacks what it asks",
        "upgrade the driver (driver_branch), or install the nvidia-ml-py of the driver's time",
        "NVML, return codes",
        "pynvml.NVMLError_FunctionNotFound: Function Not Found",
        sure=False,
    ),
    Hint(
        "nvml-hardware",
        r"NVMLError_(?:InsufficientPower|CorruptedInforom|ResetRequired|IrqIssue)|(?i:infoROM is corrupted)|Insufficient External Power|GPU requires restart"
        r"|nvml error: (?:gpu requires re|insufficient (?:external )?power|corrupted inforom|irq)",
        "the GPU itself needs care: a power plug is not connected, its infoROM is damaged, its interrupts don't arrive, or it waits for a reset",
        "nvidia-smi -q and dmesg say which: connect power, reset it (nvidia-smi -r) or reboot; a corrupted infoROM: have the vendor write"
        " it anew or replace the GPU",
        "NVML, return codes",
        "pynvml.NVMLError_CorruptedInforom: Corrupted infoROM",
        sure=False,
    ),
    Hint(
        "nvml-no-answer",
        r"NVMLError_(?:Timeout|Memory|NoData)|nvml error: (?:timeout|timed out|insufficient resources|no data|insufficient memory)",
        "the driver does not answer for a GPU as it should: it hangs, or the host's memory is used up",
        "see dmesg for Xid lines and nvidia-smi on the host; restart the service, then reset the GPU or reboot",
        "NVML, return codes",
        "pynvml.NVMLError_Timeout: Timeout",
        sure=False,
    ),
    Hint(
        "nvml-not-open",
        r"NVMLError_Uninitialized",
        "NVIDIA's library for asking the driver was not open in this process: an error before it closed it, the process was forked, or code"
        " of this release is at fault",
        "the first error of the log counts; else set env VLLM_WORKER_MULTIPROC_METHOD: spawn, or use another release",
        "NVML, return codes",
        "pynvml.NVMLError_Uninitialized: Uninitialized",
        sure=False,
    ),
)
