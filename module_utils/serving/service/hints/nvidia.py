"""Failure hints: NVIDIA's driver, CUDA, and what is compiled for them."""

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
        "gpu-nvlink-error",
        r"uncorrectable NVLink error|cudaErrorNvlinkUncorrectable",
        "hardware: a link between the GPUs failed",
        "see nvidia-smi nvlink -e and dmesg for Xid lines, reset the GPUs or reboot; replace if it comes back",
        CUDA_ERRORS,
        "RuntimeError: CUDA error: uncorrectable NVLink error detected during the execution",
    ),
    Hint(
        "gpu-lost",
        r"fallen off the bus|GPU is lost|NVRM: Xid [^\n]{0,60}: 79\b|Unable to determine the device handle for GPU(?![^\n]{0,60}: Not Found)",
        "the driver can't reach a GPU any more: hardware, its power or its seat",
        "see dmesg for Xid lines, reboot (power off for a minute if that does not help); check power and seating if it comes back",
        "docs.nvidia.com, Xid errors (79)",
        "Unable to determine the device handle for GPU0000:81:00.0: Unknown Error",
    ),
    Hint(
        "gpu-xid-memory",
        r"NVRM: Xid [^\n]{0,60}: (?:48|63|64|92|94|95|140|171|172|173)\b",
        "hardware: the GPU's memory has errors (Xid)",
        "see nvidia-smi -q -d ECC,ROW_REMAPPER, reset the GPU or reboot; replace it if it comes back",
        "docs.nvidia.com, Xid errors",
        "kernel: NVRM: Xid (PCI:0000:0b:00): 94, pid=11431, name=python3, Contained ECC error",
    ),
    Hint(
        "gpu-xid-link",
        r"NVRM: Xid [^\n]{0,60}: (?:74|144|145|146|147|148|149|150)\b",
        "hardware: an NVLink of the GPU failed (Xid)",
        "see nvidia-smi nvlink -e, restart nvidia-fabricmanager, reset the GPUs or reboot; replace if it comes back",
        "docs.nvidia.com, Xid errors",
        "kernel: NVRM: Xid (PCI:0000:dc:00): 145, pid=1818990, name=python3, NVLink RLW error",
    ),
    Hint(
        "gpu-xid-firmware",
        r"NVRM: Xid [^\n]{0,60}: (?:61|62|119|120|122|123)\b|waiting for RPC response from GPU\d{1,3} GSP",
        "the GPU's firmware (GSP or another controller in it) hangs or failed",
        "reboot; upgrade the driver if it comes back, or switch GSP off (NVreg_EnableGpuFirmware=0) where the driver allows it",
        "docs.nvidia.com, Xid errors",
        "kernel: NVRM: Xid (PCI:0000:0b:00): 119, pid=11431, name=x, Timeout after 45s of waiting for RPC response from GPU3 GSP!",
    ),
    Hint(
        "gpu-needs-reset",
        r"GPU requires reset|[Rr]eset [Rr]equired|GPU recovery action changed from \S{1,8}(?: \(\w{1,20}\))? to 0x[1-9]",
        "the GPU has to be reset before it works again",
        "end what runs on it, then nvidia-smi --gpu-reset -i N, or reboot",
        "nvidia-smi",
        "NVML: GPU requires reset",
    ),
    Hint(
        "nvml-mismatch",
        r"Driver/library version mismatch",
        "the driver's library was upgraded under the loaded kernel module",
        "reboot the host; hold the driver's packages against unattended upgrades",
        "NVML",
        "Failed to initialize NVML: Driver/library version mismatch",
    ),
    Hint(
        "nvml-lost",
        r"Failed to initialize NVML: Unknown Error",
        "in a container: it lost its GPUs, as after systemctl daemon-reload with the legacy runtime; on a host: the driver is in a bad state",
        "set accelerator.device_access: cdi and restart the service; on a host see dmesg and reboot",
        "NVIDIA/nvidia-container-toolkit#48",
        "Failed to initialize NVML: Unknown Error",
        sure=False,
    ),
    Hint(
        "fabric-down",
        r"system not yet initialized|CUDA error 802|cudaErrorSystemNotReady",
        "the NVSwitch fabric is not up: nvidia-fabricmanager is missing, stopped or of another version than the driver",
        "install exactly the driver's version of it and start it",
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
        "the image's CUDA is newer than the host's driver allows",
        "upgrade the driver (accelerator.driver_branch) or use an image with an older CUDA",
        CUDA_ERRORS,
        "ImportError: /opt/vllm/_C.abi3.so: undefined symbol: cuTensorMapEncodeTiled",
    ),
    Hint(
        "forward-compatibility",
        r"forward compatibility was attempted on non supported HW|cudaErrorCompatNotSupportedOnDevice",
        "an image's compat libcuda is loaded, which serves data centre GPUs only: CUDA in the image is newer than the driver, or the driver waits"
        " for a reboot",
        "upgrade the driver (accelerator.driver_branch) or reboot after an upgrade; else an image with an older CUDA",
        CUDA_ERRORS,
        "RuntimeError: Unexpected error from cudaGetDeviceCount(). Error 804: forward compatibility was attempted on non supported HW",
    ),
    Hint(
        "triton-no-driver",
        r"0 active drivers \(\[\]\)",
        "Triton finds no accelerator that it can drive: none was given to the container, the host has no driver, or this Triton is not made for"
        " the accelerator",
        "nvidia-smi (or npu-smi info) must work where the engine runs; check accelerator.device_access and `devices`; NPUs need triton-ascend or"
        " FlagTree",
        "FlagTree#773",
        "RuntimeError: 0 active drivers ([]). There should only be one.",
    ),
    Hint(
        "driver-library-missing",
        r"libcuda\.so(?:\.1)?: cannot open shared object|libcuda\.so cannot found",
        "the driver's library (libcuda) is not visible: the GPU was not given to the container, or the host has no driver",
        "check accelerator.device_access and `devices` of the row; nvidia-smi must work in the container too",
        "vllm-project/vllm#27268, #3808; FlagTree#773",
        "ImportError: libcuda.so.1: cannot open shared object file: No such file or directory",
    ),
    Hint(
        "no-gpu-visible",
        r"No (?:CUDA|HIP) GPUs are available|CUDA driver initialization failed, you might not have a CUDA gpu"
        r"|no CUDA-capable device is detected|Could not initialize Tensile host: No devices found"
        r"|cudaErrorNoDevice|Found no NVIDIA driver on your system"
        r"|NVML Shared Library Not Found|NVMLError_LibraryNotFound",
        "the engine sees no GPU",
        "check accelerator.device_access and `devices` of the row, and that CUDA_VISIBLE_DEVICES is not set in its env; nvidia-smi (rocm-smi)"
        " must work there",
        CUDA_ERRORS,
        "RuntimeError: No CUDA GPUs are available",
    ),
    Hint(
        "cuda-not-available",
        r"CUDA is not available",
        "the engine sees no GPU, or its torch was built without CUDA",
        "nvidia-smi must work in there; check accelerator.device_access and `devices` of the row, and that python -c 'import torch;"
        " print(torch.version.cuda)' names a CUDA",
        CUDA_ERRORS,
        "RuntimeError: CUDA is not available",
        sure=False,
    ),
    Hint(
        "cuda-unknown",
        r"CUDA unknown error|CUDA (?:runtime )?error\b[^\n]{0,160}: unknown error|cudaErrorUnknown\b|CUDA_ERROR_UNKNOWN",
        "CUDA does not start: the module nvidia-uvm is not loaded, its device node is not in the container, or the driver is in a bad state",
        "modprobe nvidia-uvm, check that nvidia-smi works, see dmesg for Xid lines; then reboot",
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
        r"invalid device ordinal|device < num_gpus INTERNAL ASSERT|cudaErrorInvalidDevice\b|Invalid device id|local rank \d{1,4} is out of bounds",
        "the engine asks for a GPU that it was not given",
        "tensor_parallel_size (times pipeline and data parallel) must not exceed the number of `devices`; remove CUDA_VISIBLE_DEVICES from the"
        " row's env",
        CUDA_ERRORS,
        "torch.AcceleratorError: CUDA error: invalid device ordinal",
    ),
    Hint(
        "gpus-busy",
        r"devices? is/are busy or unavailable|CUDA-capable device\(s\) (?:is|are)|all CUDA-capable devices are busy|cudaErrorDevicesUnavailable",
        "the GPU takes no further process: exclusive compute mode, MIG without instances, or a driver that hangs",
        "nvidia-smi shows compute mode, MIG and processes; nvidia-smi -c 0 sets the default mode",
        CUDA_ERRORS,
        "RuntimeError: CUDA error: CUDA-capable device(s) is/are busy or unavailable",
    ),
    # Builds and accelerators that don't fit.
    Hint(
        "no-kernel-image",
        r"no kernel image is available for execution|cudaErrorNoKernelImageForDevice|hipErrorNoBinaryForGpu|invalid device function",
        "this build has no kernels for this GPU",
        "use an image that is built for it: nvidia-smi --query-gpu=compute_cap --format=csv (rocminfo: gfx...) names what it must have",
        "vllm-project/vllm#14452",
        "RuntimeError: CUDA error: no kernel image is available for execution on the device",
    ),
    Hint(
        "ptxas-missing",
        r"Cannot find ptxas",
        "Triton finds no assembler (ptxas): its package is not whole, or another build of it is used",
        "install Triton anew (an image as it was built), or set env TRITON_PTXAS_PATH to a ptxas of CUDA",
        "vllm-project/vllm#4207",
        "RuntimeError: Cannot find ptxas",
    ),
    Hint(
        "ptxas-too-old",
        r"ptxas'[^\n]{0,120}--gpu-name=sm_1[0-9]{2}|ptxas fatal ?: [^\n]{0,40}sm_\d|Value '(sm_\w{1,6})' is not defined for option 'gpu-name'"
        r"|fatal +: Unsupported \.version \d",
        "Triton's assembler does not take this GPU or its code, most often because it is older than the GPU",
        "use an image with a newer CUDA, or set env TRITON_PTXAS_PATH to the ptxas of one that knows the GPU",
        "triton-lang/triton#5919",
        "ptxas fatal   : Value 'sm_121a' is not defined for option 'gpu-name'",
    ),
    Hint(
        "no-bf16",
        r"Bfloat16 is only supported on GPUs with compute capability",
        "this GPU has no bf16",
        "set engine_args.dtype: float16",
        "vllm-project/vllm#946",
        "ValueError: Bfloat16 is only supported on GPUs with compute capability of at least 8.0. Your Tesla T4 GPU has compute capability 7.5.",
    ),
    Hint(
        "quantisation-needs-newer-gpu",
        r"quantization method \S{1,40} is not supported for the current GPU",
        "the GPU is too old for this quantisation",
        "use another format of the model, or another GPU",
        "vllm-project/vllm#4202",
        "ValueError: The quantization method awq is not supported for the current GPU. Minimum capability: 75. Current capability: 70.",
    ),
    Hint(
        "fp8-needs-newer-gpu",
        r"type fp8e4nv not supported in this architecture|torch\._scaled_mm is only supported on|FP8 .{0,60}(?:requires|only"
        r" supported).{0,60}(?:capability|sm|Hopper)",
        "this GPU has no fp8, or not the kernels for it that were asked for",
        "use a model or a kv_cache_dtype without fp8, or a GPU of compute capability 8.9 or newer",
        "triton-lang/triton; pytorch",
        "ValueError: type fp8e4nv not supported in this architecture. The supported fp8 dtypes are ('fp8e4b15', 'fp8e5')",
    ),
    Hint(
        "flash-attention-old-gpu",
        r"FlashAttention only supports Ampere GPUs or newer",
        "this GPU is too old for FlashAttention",
        "set another attention backend in the row's env (VLLM_ATTENTION_BACKEND) or engine_args",
        "Dao-AILab/flash-attention",
        "RuntimeError: FlashAttention only supports Ampere GPUs or newer.",
    ),
    Hint(
        "triton-shared-memory",
        r"out of resource: shared memory|[Ff]ailed to set the (?:allowed|max\w*) dynamic shared memory size",
        "a kernel needs more shared memory than this GPU has",
        "use a newer engine, another attention backend, or `flaggems: false` if FlagGems is on",
        "triton-lang/triton, OutOfResources",
        "triton.runtime.errors.OutOfResources: out of resource: shared memory, Required: 131072, Hardware limit: 101376.",
    ),
    Hint(
        "torch-abi",
        r"undefined symbol: (_Z\w{3,200})",
        "a compiled part was built for another version of torch (or of its own library)",
        "use an image as it was built; in an environment of your own install the versions that belong together",
        "vllm-project/vllm, ImportError of _C",
        "ImportError: /usr/lib/python3/flash_attn_2_cuda.so: undefined symbol: _ZN3c105ErrorC2ENS_14SourceLocationE",
        sure=False,
    ),
    Hint(
        "mixed-cuda-libraries",
        r"undefined symbol: (?:nccl|__nvJitLink|cublas|cudnn|cusparse|nvrtc)\w{1,80}|symbol \w{1,80} version lib(?:cu|nv)\w{1,30}\.so",
        "CUDA libraries of two versions are mixed: another one is found first than the one that torch was built with",
        "remove LD_LIBRARY_PATH and LD_PRELOAD from the row's env, or use an image as it was built",
        "pytorch/pytorch#111469",
        "ImportError: libcusparse.so.12: undefined symbol: __nvJitLinkComplete_12_4, version libnvJitLink.so.12",
    ),
    Hint(
        "cuda-library-missing",
        r"(lib(?:cudart|cublas\w{0,4}|cudnn\w{0,20}|nvrtc|cusparse\w{0,4}|cufft|curand|cusolver|nccl|cufile|nvJitLink)\.so[\w.]{0,20}): cannot open"
        r" shared object",
        "a CUDA library is not in the environment: this build is for another CUDA version, or for CUDA where the accelerator is another maker's",
        "use the build of the engine that belongs to the environment's CUDA, or an image",
        "pytorch, vLLM installation guide",
        "ImportError: libcudart.so.13: cannot open shared object file: No such file or directory",
    ),
    # Compilers at run time.
    Hint(
        "no-nvcc",
        r"nvcc[\"']?: (?:command )?not found|Could not find nvcc|nvcc[\"']?: No such file|No such file or directory: '[^']{0,200}nvcc'|CUDA_HOME"
        r" environment variable is not set",
        "FlashInfer or another part compiles kernels at run time, and there is no nvcc where it looks (CUDA_HOME)",
        "set env VLLM_USE_FLASHINFER_SAMPLER: 0, or use an image with the CUDA compiler",
        "vllm-project/vllm#21960",
        "/bin/sh: 1: /usr/local/cuda/bin/nvcc: not found\nninja: build stopped: subcommand failed.",
    ),
    Hint(
        "no-cuda-headers",
        r"fatal error: (?:cu[a-z]\w{0,40}|nv\w{1,20}|cublas\w{0,10}|crt/\w{1,30})\.h(?:pp)?: No such file",
        "kernels are compiled at run time, and the CUDA headers here lack what they include: there are none, or they are older",
        "use an image with CUDA's development files, or switch off what compiles (env VLLM_USE_FLASHINFER_SAMPLER: 0)",
        "flashinfer, JIT",
        "/tmp/x/kernel.cu:3:10: fatal error: curand.h: No such file or directory",
    ),
    Hint(
        "no-python-headers",
        r"fatal error: Python\.h: No such file",
        "Triton compiles at run time, and the environment's Python has no headers",
        "install python3-dev (python3-devel) of that Python's version, or use an image",
        "triton-lang/triton#2219",
        "/tmp/tmpx/cuda_utils.c:6:10: fatal error: Python.h: No such file or directory",
    ),
    Hint(
        "no-compiler",
        r"Failed to find C compiler|No working C\+\+ compiler found|InvalidCxxCompiler|No such file or directory: '(?:gcc|g\+\+|cc|c\+\+|clang)'"
        r"|unable"
        r" to find a C\+?\+? ?compiler",
        "Triton or torch compile at run time, and there is no C compiler",
        "install gcc and g++, or use an image that has them",
        "triton-lang/triton, runtime/build.py",
        "RuntimeError: Failed to find C compiler. Please specify via CC environment variable or set triton.knobs.build.impl.",
    ),
    Hint(
        "no-ninja",
        r"Ninja is required to load C\+\+ extensions|No such file or directory: '[^']{0,200}ninja'|ninja: (?:command )?not found",
        "kernels are compiled at run time, and ninja is not on the path",
        "install ninja into the environment and put its bin folder on PATH (`activate`)",
        "pytorch, torch.utils.cpp_extension",
        "FileNotFoundError: [Errno 2] No such file or directory: 'ninja'",
    ),
    # Memory.
    Hint(
        "gpu-memory-held",
        r"Free memory on device .{0,80}is less than desired GPU memory utilization",
        "something else holds memory of the device",
        "nvidia-smi or npu-smi info shows what; end it, or lower gpu_memory_utilization",
        "vLLM, v1/worker/utils.py",
        "ValueError: Free memory on device (10.2/79.19 GiB) on startup is less than desired GPU memory utilization (0.9, 71.27 GiB).",
    ),
    Hint(
        "gpu-memory-changed",
        r"Error in memory profiling\. Initial free memory",
        "something else took or freed memory of the GPU while vLLM measured it",
        "start one service after the other on a shared GPU; nvidia-smi shows what else runs",
        "vLLM, v1/worker/gpu_worker.py",
        "AssertionError: Error in memory profiling. Initial free memory 50.1 GiB, current free memory 60.2 GiB.",
    ),
    Hint(
        "gpu-memory-out",
        r"CUDA out of memory|torch\.(?:cuda\.)?OutOfMemoryError|CUDA error: out of memory|cudaErrorMemoryAllocation"
        r"|Cuda failure (?:2 )?'out of memory'"
        r"|Triton Error \[\w{2,6}\]: out of memory|(?:CUDA|HIP|cuda|hip)\w{0,20}[^\n]{0,30}out of memory|hipErrorOutOfMemory",
        "the GPU's memory ran out",
        "lower max_num_seqs or gpu_memory_utilization (where the row has kv_cache_memory_bytes: that), or raise tensor_parallel_size;"
        " nvidia-smi shows whether something else holds memory",
        "torch",
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
    ),
    Hint(
        "cuda-not-permitted",
        r"CUDA error: operation not permitted(?! when)|cudaErrorNotPermitted",
        "the process is not allowed (any more) to use the GPU: its container lost the device, as after systemctl daemon-reload, or was not given"
        " it whole",
        "restart the service; against it: the device nodes by CDI, or Docker's cgroup driver cgroupfs, as NVIDIA's page on lost GPUs says",
        "NVIDIA Container Toolkit, troubleshooting",
        "torch.AcceleratorError: CUDA error: operation not permitted",
        sure=False,
    ),
    Hint(
        "nvml-assert",
        r"NVML_SUCCESS == r INTERNAL ASSERT",
        "torch asked the driver how much memory is left and got no answer: the GPU's memory ran out, or the driver's library and its module differ",
        "nvidia-smi in the container must work; lower gpu_memory_utilization or max_num_seqs",
        "pytorch, CUDACachingAllocator.cpp",
        'RuntimeError: NVML_SUCCESS == r INTERNAL ASSERT FAILED at "CUDACachingAllocator.cpp":838',
        sure=False,
    ),
    Hint(
        "cuda-does-not-start",
        r"Unexpected error from cudaGetDeviceCount",
        "CUDA does not start: the driver's libraries in the container are not those of the host's driver, a GPU failed, or the driver was upgraded",
        "nvidia-smi must work on the host and in the container; upgrade nvidia-container-toolkit, then reboot",
        "vllm-project/vllm#23655",
        "RuntimeError: Unexpected error from cudaGetDeviceCount(). Error 500: named symbol not found",
        sure=False,
    ),
    Hint(
        "kernel-image-invalid",
        r"device kernel image is invalid|cudaErrorInvalidKernelImage|CUDA_ERROR_INVALID_IMAGE",
        "the driver can't load this build's kernels: the driver is older than the CUDA of the build, or the build is not for this GPU",
        "compare nvidia-smi's CUDA version with the image's; upgrade the driver, or use an image for this driver and compute capability",
        CUDA_ERRORS,
        "RuntimeError: CUDA error: device kernel image is invalid",
    ),
)
