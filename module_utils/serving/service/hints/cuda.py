"""Failure hints: CUDA: builds that don't fit the GPU, compilers at run time, memory, and what keeps CUDA from its start."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

CUDA_ERRORS = "docs.nvidia.com, CUDA Runtime API, cudaError_t"

HINTS = (
    # Builds and accelerators that don't fit.
    Hint(
        "no-kernel-image",
        r"no kernel image is available for execution|cudaErrorNoKernelImageForDevice|hipErrorNoBinaryForGpu|invalid device function"
        r"|with CUDA capability sm_\w{2,5} is not compatible with the current PyTorch",
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
        r"type fp8e4nv not supported in this architecture|torch\._scaled_mm is only supported on|FP8 (?![^\n]{0,120}FA ?4).{0,60}(?:requires"
        r"|only supported).{0,60}(?:capability|sm|Hopper)",
        "this GPU has no fp8, or not the kernels for it that were asked for",
        "leave kv_cache_dtype and the backend that asks for fp8 (attention_backend) out of engine_args, use a model without fp8, or a GPU that has"
        " it (compute capability 8.9 or newer; the message may name another)",
        "triton-lang/triton; pytorch",
        "ValueError: type fp8e4nv not supported in this architecture. The supported fp8 dtypes are ('fp8e4b15', 'fp8e5')",
    ),
    Hint(
        "flash-attention-old-gpu",
        r"FlashAttention only supports Ampere GPUs or newer",
        "this GPU is too old for FlashAttention",
        "set another attention_backend in engine_args (older vLLM: VLLM_ATTENTION_BACKEND in the row's env), or leave it out",
        "Dao-AILab/flash-attention",
        "RuntimeError: FlashAttention only supports Ampere GPUs or newer.",
    ),
    Hint(
        "flash-attention-version",
        r"is_fa_version_supported|Cannot use FA version \d",
        "this build's FlashAttention has no version for this GPU: the GPU is too old for it (before Ampere), or newer than the build",
        "set another attention_backend in engine_args (older vLLM: VLLM_ATTENTION_BACKEND in the row's env; 0.7 and 0.8 also VLLM_USE_V1: 0), or use a"
        " newer engine",
        "vllm-project/vllm#13398",
        "AssertionError: assert is_fa_version_supported(self.fa_version) (backends/flash_attn.py:156)",
        sure=False,
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
        "CUDA libraries of two versions are mixed: another one is found first than the one that torch was built with, or one was upgraded alone",
        "remove LD_LIBRARY_PATH and LD_PRELOAD from the row's env, or use an image as it was built",
        "pytorch/pytorch#111469",
        "ImportError: libcusparse.so.12: undefined symbol: __nvJitLinkComplete_12_4, version libnvJitLink.so.12",
    ),
    Hint(
        "cuda-library-missing",
        r"(lib(?:cudart|cublas\w{0,4}|cudnn\w{0,20}|nvrtc|cusparse\w{0,4}|cufft|curand|cusolver|nccl|cufile|nvJitLink)\.so[\w.]{0,20}): cannot open"
        r" shared object",
        "a CUDA library is not in the environment: this build is for another CUDA version, it lies where the loader does not look"
        " (site-packages/nvidia/*/lib), or the accelerator is another maker's",
        "find / -name the file: where it is there, put its folder on LD_LIBRARY_PATH in the row's env; else the build of the engine for the"
        " environment's CUDA, or an image",
        "pytorch, vLLM installation guide",
        "ImportError: libcudart.so.13: cannot open shared object file: No such file or directory",
    ),
    # Compilers at run time.
    Hint(
        "no-nvcc",
        r"nvcc[\"']?: (?:command )?not found|Could not find nvcc|nvcc[\"']?: No such file|No such file or directory: '[^']{0,200}nvcc'|CUDA_HOME"
        r" environment variable is not set",
        "FlashInfer or another part compiles kernels at run time, and there is no nvcc where it looks (CUDA_HOME)",
        "is nvcc installed, set env CUDA_HOME to its toolkit; else an image with the CUDA compiler; or avoid what compiles:"
        " VLLM_USE_FLASHINFER_SAMPLER: 0, VLLM_USE_DEEP_GEMM: 0, SGLang attention_backend: triton, sampling_backend: pytorch",
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
        "less of the device's memory is free than gpu_memory_utilization asks for: something else holds it (unified memory: also the page cache), or"
        " the engine's own processes took too much before",
        "nvidia-smi or npu-smi info shows what holds it: end that (after a crash also left-over engine processes); unified memory: free -g, echo 3 >"
        " /proc/sys/vm/drop_caches; or lower gpu_memory_utilization",
        "vLLM, v1/worker/utils.py",
        "ValueError: Free memory on device (10.2/79.19 GiB) on startup is less than desired GPU memory utilization (0.9, 71.27 GiB).",
    ),
    Hint(
        "gpu-memory-changed",
        r"Error in memory profiling\. Initial (?:free|used) memory",
        "something else took or freed memory of the GPU or NPU while vLLM measured it",
        "start one service after the other on a shared device, once the last one has freed its memory; nvidia-smi or npu-smi info shows what else runs",
        "vLLM, v1/worker/gpu_worker.py",
        "AssertionError: Error in memory profiling. Initial free memory 50.1 GiB, current free memory 60.2 GiB.",
    ),
    Hint(
        "gpu-memory-limited",
        r"Tried to allocate [\d.]{1,8} (?:bytes|[KM]iB)\. GPU \d{1,2} has a total capacity of [\d.]{1,8} GiB of which [\d.]{1,8} GiB is free",
        "the GPU has far more memory free than was asked for, and the process may not have it: its address space is limited (ulimit -v), a vGPU, MPS or"
        " scheduler gives it a share, or the host has no memory left",
        "lift the limit (`ulimit -v`, the unit's LimitAS, the share of the vGPU or of MPS), or set gpu_memory_utilization to what the"
        " share allows; free -g"
        " shows the host's memory",
        "torch 2.11 on an H100, in a process of limited address space",
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 240.00 MiB. GPU 0 has a total capacity of 79.18 GiB of which 76.84 GiB is free.",
    ),
    Hint(
        "cuda-no-memory",
        r"CUDA error: out of memory|cudaErrorMemoryAllocation",
        "CUDA got no memory, and does not say which: the GPU's is used up (by others too), or the host's, of which it pins some, and"
        " which a GPU of unified"
        " memory shares",
        "nvidia-smi and free -g show who holds it: end that first; unified memory: echo 3 > /proc/sys/vm/drop_caches; for offloading"
        " lower cpu_offload_gb;"
        " else lower max_num_seqs or gpu_memory_utilization",
        "torch 2.11 on an H100 whose memory others held; vllm-project/vllm#48140",
        "torch.AcceleratorError: CUDA error: out of memory",
    ),
    Hint(
        "gpu-memory-out",
        r"CUDA out of memory|torch\.(?:cuda\.)?OutOfMemoryError"
        r"|Cuda failure (?:2 )?'out of memory'"
        r"|Triton Error \[\w{2,6}\]: out of memory|(?:CUDA|HIP|cuda|hip)(?! error: out)\w{0,20}[^\n]{0,30}out of memory|hipErrorOutOfMemory",
        "the GPU's memory ran out",
        "while weights load (model_loader in the traceback) raise tensor_parallel_size or use a quantised model; later lower max_num_seqs or"
        " gpu_memory_utilization (kv_cache_memory_bytes where the row has it); nvidia-smi shows whether something else holds memory",
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
        r"^(?![^\n]{0,200}/jit/handle\.hpp)[^\n]{0,300}(?:device kernel image is invalid|cudaErrorInvalidKernelImage|CUDA_ERROR_INVALID_IMAGE)",
        "the driver can't load this build's kernels: the driver is older than the CUDA of the build, or the build is not for this GPU",
        "compare nvidia-smi's CUDA version with the image's; upgrade the driver, or use an image for this driver and compute capability",
        CUDA_ERRORS,
        "RuntimeError: CUDA error: device kernel image is invalid",
    ),
    Hint(
        "uva-missing",
        r"RuntimeError: UVA is not available",
        "vLLM's newer model runner needs pages of the host's memory that the GPU can read (pinned memory, UVA), and has none here: vLLM"
        " leaves them off in"
        " WSL, or the platform has none",
        "in WSL set env VLLM_WSL2_ENABLE_PIN_MEMORY: 1; elsewhere, or where that does not help, env VLLM_USE_V2_MODEL_RUNNER: 0",
        "vllm-project/vllm#47387",
        "RuntimeError: UVA is not available",
    ),
    Hint(
        "cuda-mps",
        r"MPS (?:client failed to connect|server has reached|has run out|server is not ready)|cudaErrorMps\w{1,30}",
        "CUDA's sharing of a GPU by processes (MPS) is switched on here and does not take this one: its daemon is not running or of another"
        " user, or it has as"
        " many clients as it takes",
        "start nvidia-cuda-mps-control -d again (echo quit | nvidia-cuda-mps-control ends it), give the container CUDA_MPS_PIPE_DIRECTORY, or take both away",
        "CUDA, error codes",
        "RuntimeError: CUDA error: MPS client failed to connect to the MPS control daemon or the MPS server",
    ),
    Hint(
        "cuda-ptx-compiler",
        r"PTX JIT compiler library not found|a PTX JIT compilation failed|cudaErrorJitCompilerNotFound|CUDA_ERROR_INVALID_PTX",
        "the driver was to compile kernels for this GPU and could not: its compiler (libnvidia-ptxjitcompiler) is not there or not given to"
        " the container, or the"
        " kernels are of a newer CUDA than the driver",
        "NVIDIA_DRIVER_CAPABILITIES with compute in the container; install the driver whole; upgrade it (driver_branch), or use an image"
        " that is built for this GPU",
        "CUDA, error codes",
        "RuntimeError: CUDA error: PTX JIT compiler library not found",
        sure=False,
    ),
    Hint(
        "cuda-driver-lacks-call",
        r"API call is not supported in the installed CUDA driver|CUDA error: named symbol not found|cudaErrorCallRequiresNewerDriver|cudaErrorSymbolNotFound",
        "the build asks for what this driver, or this build's own kernels, do not have: the driver is older than the image's CUDA, or a"
        " library was built for other GPUs",
        "upgrade the driver (driver_branch), or use an image of an older CUDA that is built for this GPU",
        "CUDA, error codes",
        "RuntimeError: CUDA error: API call is not supported in the installed CUDA driver",
        sure=False,
    ),
    Hint(
        "cuda-link",
        r"CUDA error: (?:NVLink error|an external device caused an error)",
        "a link between GPUs failed",
        "nvidia-smi nvlink -e and dmesg (Xid 74) name it: reset the GPUs together or reboot; if it comes back, seat or replace it",
        "CUDA, error codes",
        "RuntimeError: CUDA error: an external device caused an error",
    ),
    Hint(
        "cuda-launch-refused",
        r"CUDA error: (?:too many resources requested for launch|invalid configuration argument|invalid cluster size|invalid pitch argument)",
        "a kernel can't be started with these sizes on this GPU: it is not made for this GPU, or for this model's shape, batch or length",
        "another attention backend, enforce_eager: true, smaller max_num_batched_tokens; where a quantisation's kernel says it, another"
        " one; else a newer release",
        "CUDA, error codes",
        "RuntimeError: CUDA error: too many resources requested for launch",
        sure=False,
    ),
    Hint(
        "cuda-not-supported",
        r"CUDA error: operation not supported(?! on)|cudaErrorNotSupported|CUDA_ERROR_NOT_SUPPORTED",
        "this GPU, or the way in which it is given here, does not have what was called: a virtual GPU, a slice, WSL or a Jetson lack"
        " sharing between processes,"
        " access to each other's memory, or memory that is mapped anew",
        "take expandable_segments out of PYTORCH_CUDA_ALLOC_CONF, set env NCCL_CUMEM_ENABLE: 0 and engine_args.disable_custom_all_reduce:"
        " true; no sleep mode there",
        "CUDA, error codes",
        "RuntimeError: CUDA error: operation not supported",
        sure=False,
    ),
    Hint(
        "jetson-memory",
        r"NvMapMem\w{1,40}:? ?[\w :]{0,40}error 12\b|NvMap[^\n]{0,60}(?:failed|error)[^\n]{0,20}\b12\b",
        "a Jetson gives no piece of memory of that size: the memory that CPU and GPU share is used up or in pieces, or its release refuses large"
        " ones (L4T 36.4.7 does)",
        "echo 3 > /proc/sys/vm/drop_caches or reboot, end what else holds memory; lower gpu_memory_utilization; upgrade JetPack (or go back to L4T"
        " 36.4.4)",
        "ggml-org/llama.cpp#23732",
        "NvMapMemAllocInternalTagged: 107507 error 12",
        sure=False,
    ),
    Hint(
        "cuda-stub",
        r"CUDA driver is a stub library|libcuda\.so[^\n]{0,40}stub",
        "the libcuda that is loaded is the stub of the CUDA toolkit, which is for linking only, and not the driver's",
        "remove .../stubs from LD_LIBRARY_PATH in the row's env; give the container the driver (device_access)",
        "CUDA, toolkit",
        "RuntimeError: CUDA error: CUDA driver is a stub library",
    ),
)
