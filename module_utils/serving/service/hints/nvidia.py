"""Failure hints: NVIDIA's GPUs and their driver, and which GPUs the engine sees."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

CUDA_ERRORS = "docs.nvidia.com, CUDA Runtime API, cudaError_t"

HINTS = (
    # Hardware and driver.
    Hint(
        "gpu-ecc",
        r"uncorrectable ECC error|cudaErrorECCUncorrectable",
        "hardware: the GPU's memory has an error that can't be corrected",
        "take the host out of service, see nvidia-smi -q -d ECC,ROW_REMAPPER, reset the GPU or reboot; replace it if it comes back",
        "vllm-project/vllm#5222",
        "RuntimeError: CUDA error: uncorrectable ECC error encountered",
    ),
    Hint(
        "vgpu-licence",
        r"nvidia-gridd[^\n]{0,40}(?:Failed to acquire license|Invalid license|Error: )|(?:vGPU|GRID)[^\n]{0,40}(?i:unlicensed)"
        r"|valid (?:Grid|GRID) license|cudaErrorDeviceNotLicensed|CUDA_ERROR_DEVICE_NOT_LICENSED|License Status\s{0,60}: Unlicensed"
        r"|nvidia-gridd[^\n]{0,80}(?:Failed to (?:renew license|register client|update local trusted store)|License acquisition failed"
        r"|license not found)",
        "the virtual GPU (vGPU) has no licence from its server; without one it is slow after some time, and CUDA is refused",
        "check ServerAddress or the token in /etc/nvidia/ClientConfigToken, that this host reaches the licence server (443, by its CA"
        " certificates) and its clock is right, and that its driver is the one for vGPU of the host's branch; then"
        " restart nvidia-gridd",
        "NVIDIA, vGPU client licensing",
        "nvidia-gridd[7]: Failed to acquire license from acme (Info: NVIDIA acme - Error: timed out)",
    ),
    Hint(
        "gpu-nvlink-error",
        r"uncorrectable NVLink error|cudaErrorNvlinkUncorrectable",
        "hardware: a link between the GPUs failed",
        "see nvidia-smi nvlink -e and dmesg for Xid lines, reset the GPUs or reboot; replace if it comes back",
        CUDA_ERRORS,
        "RuntimeError: CUDA error: uncorrectable NVLink error detected during the execution",
    ),
    Hint(
        "gpu-lost",
        r"fallen off the bus|GPU is lost|(?:ERROR_GPU_IS_LOST|NVMLError_GpuIsLost)|NVRM: Xid [^\n]{0,60}: 79\b"
        r"|Unable to determine the device handle for GPU(?![^\n]{0,60}: Not Found)",
        "the driver can't reach a GPU any more: hardware, its heat, its power or its seat",
        "see dmesg for Xid lines, reboot (power off for a minute if that does not help); if it comes back check temperature and fans (nvidia-smi -q"
        " -d TEMPERATURE), power and seating",
        "docs.nvidia.com, Xid errors (79)",
        "Unable to determine the device handle for GPU0000:81:00.0: Unknown Error",
    ),
    Hint(
        "open-module-needed",
        r"requires use of the NVIDIA open kernel modules",
        "this GPU (Blackwell and newer, GB10) is served by the open kind of NVIDIA's kernel modules only, and the closed one is installed",
        "install the open kind of the same driver (nvidia-driver-NNN-open, nvidia-open, kernel-open; the .run file with -m=kernel-open), then reboot",
        "NVIDIA, kernel modules, nv.c",
        "kernel: NVRM: installed in this system requires use of the NVIDIA open kernel modules.",
    ),
    Hint(
        "nvlink-training",
        r"NVLink port training failed|[Tt]imed out while waiting for fabric",
        "GPUs and NVSwitches did not get their links up: they were not reset together, versions differ, or a link, GPU or switch is at fault",
        "stop nvidia-fabricmanager and what runs, reset all GPUs (nvidia-smi -r) or power the host off for a minute, start it again; nvidia-smi"
        " nvlink -s and SXid lines in dmesg name the link",
        "NVIDIA, Fabric Manager user guide",
        "nv-fabricmanager[900]: failed to initialize the system as NVLink port training failed",
        sure=False,
    ),
    Hint(
        "nvswitch-error",
        r"\bSXid [^\n]{0,60}: \d{5}, (?:Fatal|Non-fatal|Severity \d)",
        "an NVSwitch reports an error (SXid): its link to a GPU, or the NVSwitch or GPU itself, is at fault",
        "Fatal: end what runs, reset all GPUs (nvidia-smi -r) or reboot, then restart nvidia-fabricmanager; replace the part if it comes back;"
        " Non-fatal (Severity 0) alone may be left",
        "NVIDIA, Fabric Manager user guide, SXid errors",
        "nvidia-nvswitch0: SXid (PCI:0000:c5:00.0): 20034, Fatal, Link 32 acme Fault",
        sure=False,
    ),
    Hint(
        "gpu-needs-reset",
        r"GPU requires reset|(?:NVRM|nvidia|GPU|CUDA|NVML)[^\n]{0,80}[Rr]eset [Rr]equired|NV_ERR_RESET_REQUIRED"
        r"|GPU recovery action changed from \S{1,8}(?: \(\w{1,20}\))? to 0x[1-9]",
        "the GPU has to be reset before it works again",
        "end what runs on it, then nvidia-smi --gpu-reset -i N, or reboot",
        "nvidia-smi",
        "NVML: GPU requires reset",
    ),
    Hint(
        "nvml-mismatch",
        r"[Dd]river/library version mismatch|NVMLError_LibRmVersionMismatch|NVML/RM version mismatch",
        "the driver's library and the kernel module that is loaded are of two versions: the packages were upgraded and the host not rebooted, or a"
        " container brings a library of its own",
        "reboot the host, and hold the driver's packages against unattended upgrades; if it stays, apt-get --fix-broken install; if only a"
        " container says so, use an image without driver"
        " libraries",
        "NVML",
        "Failed to initialize NVML: Driver/library version mismatch",
    ),
    Hint(
        "nvml-lost",
        r"Failed to initialize NVML: Unknown Error|NVMLError_Unknown\b",
        "in a container: it lost its GPUs, as after systemctl daemon-reload with the legacy runtime; on a host: the driver is in a bad state",
        "set device_access: cdi and restart the service; on a host see dmesg and reboot",
        "NVIDIA/nvidia-container-toolkit#48",
        "Failed to initialize NVML: Unknown Error",
        sure=False,
    ),
    Hint(
        "fabric-down",
        r"system not yet initialized|CUDA error 802|cudaErrorSystemNotReady",
        "CUDA says that this system is not ready: the NVSwitch fabric is not up (nvidia-fabricmanager missing, stopped, of another version, or a"
        " link failed), a GPU in confidential computing is not set ready, or HMM failed",
        "install exactly the driver's version of it and start it (B200: with nvlsm, mlx5_ib, ib_umad); if it runs see its log and nvidia-smi -q"
        " (Fabric: Completed; in a VM the host's part); cards without NVSwitch: options nvidia_uvm uvm_disable_hmm=1",
        "pytorch/pytorch#35710",
        "RuntimeError: Unexpected error from cudaGetDeviceCount(). Error 802: system not yet initialized",
    ),
    Hint(
        "compat-libcuda",
        r"Error 803\b|unsupported display driver / cuda driver combination|cudaErrorSystemDriverMismatch",
        "the libcuda that is loaded does not fit the kernel's driver: an image's compat libcuda is found first, or the driver was upgraded and"
        " not yet reloaded",
        "put the driver's library folder first in LD_LIBRARY_PATH (env of the row), or use an image without /usr/local/cuda/compat on it; after"
        " an upgrade reboot",
        "vllm-project/vllm#33447; gpustack/gpustack#4678",
        "RuntimeError: Unexpected error from cudaGetDeviceCount(). Error 803: system has unsupported display driver / cuda driver combination",
    ),
    Hint(
        "driver-too-old",
        r"CUDA driver version is insufficient|driver on your system is too old|PTX was compiled with an unsupported toolchain"
        r"|cudaErrorUnsupportedPtxVersion|cudaErrorInsufficientDriver|undefined symbol: (?:cu[A-Z]|nvml[A-Z])\w{2,60}",
        "CUDA finds no driver here that is new enough for this build: the host's driver is older than the image's CUDA, or another libcuda (compat,"
        " a stub) is found first, or none was given to the container",
        "compare nvidia-smi's CUDA version where the engine runs with the image's: upgrade the driver (driver_branch) or use an image"
        " with an older CUDA; if it is new enough, take other folders of libcuda out of LD_LIBRARY_PATH",
        CUDA_ERRORS,
        "ImportError: /opt/vllm/_C.abi3.so: undefined symbol: cuTensorMapEncodeTiled",
    ),
    Hint(
        "forward-compatibility",
        r"forward compatibility was attempted on non supported (?:HW|hw)|cudaErrorCompatNotSupportedOnDevice",
        "an image's compat libcuda is loaded, which serves data centre GPUs only: CUDA in the image is newer than the driver, or the driver waits"
        " for a reboot",
        "take compat out of the loader's way (VLLM_ENABLE_CUDA_COMPATIBILITY: 0; no .../compat in LD_LIBRARY_PATH or /etc/ld.so.conf.d of the"
        " image); else upgrade the driver (driver_branch) or reboot after an upgrade, or an older CUDA",
        CUDA_ERRORS,
        "RuntimeError: Unexpected error from cudaGetDeviceCount(). Error 804: forward compatibility was attempted on non supported HW",
    ),
    Hint(
        "triton-no-driver",
        r"0 active drivers \(\[\]\)",
        "Triton finds no accelerator that it can drive: none was given to the process or container, the driver is missing or too old, torch is a"
        " build for CPUs, or this Triton is not made for the accelerator",
        "nvidia-smi (npu-smi info) and python -c 'import torch; print(torch.version.cuda, torch.cuda.is_available())' must work where it runs; check"
        " device_access and `devices`; NPUs need triton-ascend or FlagTree; CPUs a vLLM for CPUs",
        "FlagTree#773",
        "RuntimeError: 0 active drivers ([]). There should only be one.",
        late=True,
    ),
    Hint(
        "driver-library-missing",
        r"libcuda\.so(?:\.1)?: cannot open shared object|libcuda\.so cannot found",
        "the driver's library (libcuda) is not found: the GPU was not given to the container, the host has no driver, LD_LIBRARY_PATH leads past it,"
        " or ldconfig's cache does not know it (Triton lists files then)",
        "check device_access and `devices`; nvidia-smi must work in the container too; if it does: ldconfig there, or env TRITON_LIBCUDA_PATH: the"
        " folder of libcuda.so.1; keep LD_LIBRARY_PATH out of env unless it names the driver's folder",
        "vllm-project/vllm#27268, #3808; FlagTree#773",
        "ImportError: libcuda.so.1: cannot open shared object file: No such file or directory",
    ),
    Hint(
        "no-gpu-visible",
        r"No CUDA GPUs are available|supported with GPUs, no GPUs found|no CUDA-capable device is detected|cudaErrorNoDevice"
        r"|Found no NVIDIA driver on your system|NVML Shared Library Not Found|NVMLError_LibraryNotFound",
        "the engine sees no GPU",
        "check device_access and `devices` of the row, and that CUDA_VISIBLE_DEVICES is not set in its env; nvidia-smi (rocm-smi)"
        " must work there; an engine for CPUs takes no model or option that needs a GPU (FP8, Marlin)",
        CUDA_ERRORS,
        "RuntimeError: No CUDA GPUs are available",
        late=True,
    ),
    Hint(
        "cuda-not-available",
        r"CUDA is not available|Attempting to deserialize object on a CUDA device but",
        "the engine sees no GPU, or its torch was built without CUDA",
        "nvidia-smi must work in there; check device_access and `devices` of the row, and that python -c 'import torch; print(torch.version.cuda)'"
        " names a CUDA; on hosts without GPUs take the file in safetensors",
        CUDA_ERRORS,
        "RuntimeError: CUDA is not available",
        sure=False,
    ),
    Hint(
        "cuda-unknown",
        r"CUDA unknown error|CUDA (?:runtime )?error\b[^\n]{0,160}: unknown error|cudaErrorUnknown\b|CUDA_ERROR_UNKNOWN"
        r"|CUDA driver initialization failed|CUDA_ERROR_NOT_INITIALIZED",
        "CUDA does not start: the module nvidia-uvm is not loaded, its device node is not in the container, or the driver is in a bad state",
        "modprobe nvidia-uvm, check that nvidia-smi works and with NVSwitch nvidia-fabricmanager, see dmesg for Xid lines; then reboot;"
        " where only CUDA fails"
        " try the module's option uvm_disable_hmm=1",
        "pytorch/pytorch#49081",
        "RuntimeError: CUDA unknown error - this may be due to an incorrectly set up environment.",
        sure=False,
    ),
    Hint(
        "visible-devices-uuid",
        r"invalid literal for int\(\) with base 10: ['\"]?(?:GPU|MIG)-",
        "this version of vLLM wants numbers in CUDA_VISIBLE_DEVICES and got a UUID",
        "name the GPUs by number, or use a container, where they are numbered from 0",
        "vllm-project/vllm#13815, #20939",
        "ValueError: invalid literal for int() with base 10: 'GPU-3f1c9a52-0f7e'",
    ),
    Hint(
        "device-number",
        r"invalid device ordinal|device < num_gpus INTERNAL ASSERT|cudaErrorInvalidDevice\b|Invalid device id"
        r"|SafetensorError: device cuda:\d{1,3} is invalid|local rank \d{1,4} is out of bounds",
        "the engine asks for a GPU or NPU that it was not given",
        "tensor_parallel_size (times pipeline and data parallel) must not exceed the number of `devices`; remove CUDA_VISIBLE_DEVICES (for NPUs"
        " ASCEND_RT_VISIBLE_DEVICES) from the row's env",
        CUDA_ERRORS,
        "torch.AcceleratorError: CUDA error: invalid device ordinal",
    ),
    Hint(
        "gpus-busy",
        r"devices? is/are busy or unavailable|CUDA-capable device\(s\) (?:is|are)|all CUDA-capable devices are busy|cudaErrorDevicesUnavailable"
        r"|exclusive-thread device already in use|device is in exclusive process mode",
        "the GPU takes no further process: exclusive compute mode, MIG without instances, a virtual GPU without licence, or a driver that hangs",
        "nvidia-smi shows compute mode, MIG and processes; nvidia-smi -c 0 sets the default mode, nvidia-smi -q tells a vGPU's licence; none of"
        " these: dmesg (Xid), then reset the GPU (nvidia-smi -r -i N) or reboot",
        CUDA_ERRORS,
        "RuntimeError: CUDA error: CUDA-capable device(s) is/are busy or unavailable",
        late=True,
    ),
    Hint(
        "platform-unspecified",
        r"running on UnspecifiedPlatform|No platform detected",
        "the engine found no accelerator when it started: the container was given no GPU, the driver's library (libnvidia-ml, libcuda) is not in it,"
        " on NPUs torch_npu did not load, or this build is for another kind",
        "nvidia-smi in it must show the GPUs (on NPUs: import torch_npu, after CANN's set_env.sh): check `devices` and device_access of the row"
        " (docker run --gpus all); use the image for this accelerator",
        "vllm-project/vllm#14954",
        "INFO 03-17 10:00:00 [__init__.py:260] No platform detected, vLLM is running on UnspecifiedPlatform",
        passing=True,
        sure=False,
    ),
    Hint(
        "hami",
        r"HAMI-core (?:ERROR|Warn)|libvgpu\.so",
        "HAMi's library (libvgpu.so), which shares a GPU between containers, stands between the engine and the driver and fails there",
        "update HAMi, or take it out for this service: a whole GPU, CUDA_DISABLE_CONTROL: true in the row's env, no /etc/ld.so.preload in the"
        " container",
        "Project-HAMi/HAMi#1764",
        "[HAMI-core ERROR (pid:565 thread=1402 acme.c:831)]: Illegal device id: 8507",
        sure=False,
    ),
    Hint(
        "memory-not-read",
        r"^UnboundLocalError: [^\n]{0,80}'(?:mem|free_memory|device_memory)'",
        "the engine could not read the memory of this device; most often it is a Jetson or another GPU without NVML, or a build for another"
        " accelerator",
        "use an image that is made for this device (Jetson: dustynv/vllm, NVIDIA's), or a newer engine",
        "vllm-project/vllm#9728",
        "UnboundLocalError: cannot access local variable 'mem' where it is not associated with a value",
        sure=False,
    ),
)
