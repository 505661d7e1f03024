"""Failure hints: kernels that a model asks for: quantised, attention, Triton; and tensors that don't fit them."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

HINTS = (
    Hint(
        "kernel-of-another-gpu",
        r"[Tt]his kernel only supports sm_?\d{2,3}",
        "this build's kernel was made for another kind of GPU, and ends itself on this one",
        "use a newer engine or an image that is built for this GPU (nvidia-smi --query-gpu=compute_cap --format=csv), or a model in"
        " another quantisation",
        "vLLM, csrc/cutlass_extensions/common.hpp",
        "This kernel only supports sm90.",
    ),
    Hint(
        "attention-sinks",
        r"[Ss]inks are only supported in FlashAttention|does(?: not|n't) support attention sinks",
        "the attention backend that the engine took has no attention sinks on this accelerator, and this model needs them",
        "remove attention_backend (and env VLLM_ATTENTION_BACKEND, VLLM_FLASH_ATTN_VERSION, VLLM_USE_FLASHINFER_...) from the row; then"
        " a newer engine, which"
        " has another backend for this GPU",
        "vllm-project/vllm#22331, #30919",
        "AssertionError: Sinks are only supported in FlashAttention 9",
    ),
    Hint(
        "fp4-kernels-unavailable",
        r"FlashInfer kernels unavailable for",
        "FlashInfer has no kernels in this release for that kind of quantised layer on this GPU",
        "remove env VLLM_USE_FLASHINFER_... from the row, use a newer engine, or another format of the model",
        "vllm-project/vllm#30163",
        "ValueError: FlashInfer kernels unavailable for AcmeFusedMoE on current platform.",
        sure=False,
    ),
    Hint(
        "not-a-number",
        r"probability tensor contains either `inf`, `nan`",
        "the model computed no numbers (NaN or infinite): a kernel of its quantisation or attention is at fault here, or float16 is too narrow for it",
        "set engine_args.dtype: bfloat16 where the accelerator has it; then another attention backend, `flaggems: false`, or another quantisation",
        "sgl-project/sglang#283; torch, multinomial",
        "RuntimeError: probability tensor contains either `inf`, `nan` or element < 0",
        sure=False,
    ),
    Hint(
        "triton-helper",
        r"CalledProcessError: Command '\[?['\"][^'\n]{0,80}(?:gcc|cc|clang)(?:-\d{1,2})?['\"][^\n]{0,600}(?:cuda_utils|main\.c|launcher|__triton)",
        "Triton could not compile the small C file by which Python starts its kernels: Python.h or the library behind -lcuda was not found, or the"
        " compiler does not run as it should",
        "the compiler's own words stand above: install python3-dev of this Python; let LIBRARY_PATH lead to libcuda.so (the driver's folder, or"
        " CUDA's lib64/stubs); set env CC: gcc, or use an image",
        "vllm-project/vllm#17455",
        "subprocess.CalledProcessError: Command '['/usr/bin/gcc', '/tmp/acme/main.c', '-O3', '-shared', '-lcuda']' returned non-zero exit status 1.",
        sure=False,
    ),
    Hint(
        "onednn",
        r"could not (?:create|execute) a primitive|JIT kernel for brgemm|\bone(?:dnn|DNN)[^\n]{0,80}(?:fail|error|not supported)",
        "oneDNN, which computes on CPUs, has no kernel for this type or shape on this CPU, or is of another build than torch",
        "set engine_args.dtype: bfloat16 or float32 (lscpu: without avx512_bf16, amx or bf16 float32 is best), ONEDNN_MAX_CPU_ISA: AVX2"
        " in the row's env, or the newest image for this CPU",
        "vllm-project/vllm#24976, #10478; oneDNN",
        "RuntimeError: could not create a primitive descriptor for acme",
        sure=False,
    ),
    Hint(
        "quantisation-scheme",
        r"No (?:[\w-]{1,30} )?(?:compatible|suitable) (?:[\w-]{1,30} )?scheme\b|Unknown ModelOpt quant algo",
        "this release has no code for the scheme in which the model is quantised (its bits, groups and types, which the message names),"
        " at all or on this"
        " accelerator",
        "use a newer engine (vLLM, and the plugin of the accelerator); else another quantisation of the model; for NPUs W8A8 weights made by ModelSlim",
        "vllm-project/vllm#19853; vllm-project/vllm-ascend#7076",
        "NotImplementedError: No compressed-tensors compatible scheme was found.",
    ),
    Hint(
        "marlin-unsupported",
        r"Marlin does not support|Invalid thread config|not supported by (?:GPTQ)?[Mm]arlin|[Mm]arlin[^\n]{0,60}(?:not supported|unsupported)"
        r"|Failed to find a kernel that can implement|No (?:compatible|suitable) kernel[^\n]{0,30}found"
        r"|not supported for the current GPU",
        "this GPU or engine has no kernel for the model's quantisation (its bits, group size or scheme; Marlin needs compute capability 8.0)",
        "use another quantisation of the model or a newer GPU; with tensor parallel a lower tensor_parallel_size keeps groups whole",
        "vllm-project/vllm#8149",
        "ValueError: Marlin does not support weight_bits = uint4b8. Only types = [] are supported (for group_size = 128, min_capability = 75).",
    ),
    Hint(
        "gpu-too-old-for-kernel",
        r"(?:only|not) (?:be )?supported (?:on|for|by)[^\n]{0,40}(?:sm_?\d{2,3}|SM ?\d{2,3}|compute capability|Hopper|Blackwell|Ampere"
        r"|devices? with)|requires?[^\n]{0,40}(?:compute capability|SM ?\d{2,3}\b|sm_?\d{2,3}\b|GPUs? with sm|Hopper|Blackwell)"
        r"|[Nn]o compiled cutlass\w{0,20} for|No (?:kernel|supported)[^\n]{0,60}(?:sm_?\d{2,3}|compute capability)|Unsupported (?:SM"
        r"|CUDA arch|compute capability|architecture\b)|arch(?:itecture)? (?:sm_)?\d{2,3}[^\n]{0,20}(?:is )?not supported"
        r"|FA[234] is only supported|only supports sm_?\d{2,3}|does not support (?:the )?(?:current|this) (?:device|GPU|platform)"
        r"|does not support the deployment configuration|No \w{2,30} (?:MoE|GEMM|linear|attention) (?:backend"
        r"|kernel)[^\n]{0,20} supports?",
        "a kernel or backend that was chosen does not serve this GPU (mostly its generation) or this combination of options",
        "let vLLM choose (remove attention, MoE and quantisation backends from the row's env and engine_args), or use another"
        " release of the engine, another quantisation of the model or another GPU",
        "vLLM, FlashInfer, DeepGEMM",
        "RuntimeError: No compiled cutlass_scaled_mm for a compute capability less than CUDA device capability: 120",
        sure=False,
    ),
    Hint(
        "cutlass-fp8-kernel",
        r"cutlass_gemm_caller|\bdispatch_scaled_mm\b|scaled_mm\w{0,40}\.(?:cu|cuh|hpp):\d",
        "CUTLASS' kernel for 8-bit layers, which the engine took, does not run on this GPU or for these sizes",
        "set env VLLM_DISABLED_KERNELS to the kernel that the log selected (`Selected CutlassFp8BlockScaledMMKernel for ...`), so that the engine takes"
        " Triton's; where that does not help, a newer engine or a model that is not FP8",
        "vllm-project/vllm#43367, #39367, #47818",
        "RuntimeError: dispatch_scaled_mm, csrc/c3x/acme_helper.hpp:17",
        sure=False,
    ),
    Hint(
        "flashinfer-other-generation",
        r"No supported CUDA architectures found",
        "FlashInfer was asked for kernels of the major compute capabilities that the message lists, and can compile for none: the engine took kernels"
        " of another generation of GPUs, or the CUDA compiler is older than the GPU",
        "leave out moe_backend, attention_backend and env VLLM_USE_FLASHINFER_... that ask for them, set env VLLM_USE_FLASHINFER_SAMPLER: 0, or use a"
        " newer engine; nvcc --version shows the compiler (CUDA 12.9 for compute capability 12.x)",
        "vllm-project/vllm#31740, #50705",
        "RuntimeError: No supported CUDA architectures found for major versions [9].",
        sure=False,
    ),
    Hint(
        "marlin-shape",
        r"(?:[Ss]hape mismatch|Expected)[^\n]{0,60}\.size\(\d\) = \d{1,9}[^\n]{0,20}\bsize_[kmn] = \d|\b\w{1,30} dim \d = \d{1,9} is not size_[kn]",
        "a quantised layer has another shape than what it is given: the engine's class of the model does not fit the way in which this model was"
        " quantised, or the release has no class of its own for it",
        "use a newer engine that names this model, or another quantisation of the model; leave `quantization` and hf_overrides out of engine_args",
        "vllm-project/vllm#44796; vLLM, csrc/quantization",
        "RuntimeError: Shape mismatch: a.size(1) = 64, size_k = 128",
        sure=False,
    ),
    Hint(
        "stable-abi-call",
        r"torch_call_dispatcher\(|(?:aoti_torch|torch)_\w{2,60}\([^\n]{0,200}API call failed|API call failed at \S{1,200}csrc/(?:stable|inductor)/",
        "a compiled kernel asked torch for something and was refused: no memory for its workspace, an error of a kernel before it, or a build for"
        " another torch",
        "CUDA_LAUNCH_BLOCKING=1 in the row's env names the kernel that failed first; leave GPU memory free (lower gpu_memory_utilization), use another"
        " quantisation or backend, or an image as it was built",
        "pytorch, torch/csrc/stable",
        'RuntimeError: torch_call_dispatcher("aten::acme", "x") API call failed at torch/include/torch/csrc/stable/ops.h, line 1',
        general=True,
    ),
    Hint(
        "fused-kernel-failed",
        r"(?:cutlass|CUTLASS|Cutlass)[^\n]{0,120}(?:Error Internal|Invalid|fail|not supported)|Failed to run cutlass"
        r"|Failed: Assertion error \S{0,120}csrc/|TMA (?:Desc"
        r"|desc)\w{0,20}|deep_?gemm[^\n]{0,120}(?:[Aa]ssert|[Ff]ail|[Ee]rror|CUDA_ERROR)"
        r"|^RuntimeError: Error Internal$|^RuntimeError: Expect \([^\n]{1,160}\), got"
        r"|Error in function '\w{1,80}'[^\n]{0,200}flashinfer"
        r"|flashinfer[^\n]{0,160}(?:failed with error|[Cc]heck failed"
        r"|Unsupported)|trtllm[^\n]{0,80}(?:not supported|fail|[Ee]rror)",
        "a fused kernel (CUTLASS, DeepGEMM, FlashInfer, TensorRT-LLM's) failed or does not take what it was given",
        "switch it off: env VLLM_USE_DEEP_GEMM: 0, VLLM_USE_FLASHINFER_MOE_FP8: 0, VLLM_USE_FLASHINFER_SAMPLER: 0, or another attention"
        " backend; a newer engine may know this GPU",
        "vLLM, environment variables",
        "RuntimeError: cutlass_moe_mm failed: CUTLASS Error Internal",
        general=True,
    ),
    Hint(
        "head-size",
        r"[Hh]ead (?:size|dim\w{0,6})[^\n]{0,20} \d{1,4}[^\n]{0,40}(?:not supported|unsupported)|[Hh]ead_?(?:size"
        r"|dim)[^\n]{0,60}not supported|only supports? head (?:size|dim)|flash attention build does not support|[Uu]nsupported head[ _](?:size|dim)"
        r"|failed to dispatch head_dim",
        "the attention backend does not know this model's head size",
        "leave the attention backend out of engine_args (and VLLM_ATTENTION_BACKEND out of env) so that vLLM chooses, or use a newer engine",
        "vLLM, attention backends",
        "ValueError: Head size 80 is not supported by PagedAttention. Supported head sizes are: [64, 96, 128]",
    ),
    Hint(
        "attention-none",
        r"No valid attention backend",
        "no attention backend of this release serves this model with these options on this accelerator: the message says what each refuses",
        "leave kv_cache_dtype, block_size and attention options out of engine_args; else a newer engine, or another accelerator",
        "vLLM, platforms/cuda.py",
        "ValueError: No valid attention backend found for cuda with AttentionSelectorConfig(head_size=80)",
    ),
    Hint(
        "dtype-not-on-device",
        r"\"\w{1,80}\" not implemented for '\w{1,20}'|mixed dtype \(CPU\)",
        "an operator has no form for that dtype on this device; most often it is float16 on a CPU",
        "set engine_args.dtype: bfloat16 (float32 where that is missing too), or use a newer engine",
        "pytorch, dispatch macros; vllm-project/vllm#17225",
        "RuntimeError: \"addmm_impl_cpu_\" not implemented for 'Half'",
        sure=False,
    ),
    Hint(
        "dtypes-differ",
        r"expected (?:m1 and m2|mat1 and mat2|scalar type|dtype)[^\n]{0,80}(?:but got|to have the same dtype|but found)"
        r"|must have the same dtype|self and mat2 must have the same dtype|should be the same dtype"
        r"|query and key must have the same dtype",
        "two parts of the model are in different dtypes",
        "leave engine_args.dtype and kv_cache_dtype at auto, or set one that the weights have; with an adapter or a quantisation use a"
        " newer engine",
        "pytorch",
        "RuntimeError: expected m1 and m2 to have the same dtype, but got: c10::Half != c10::BFloat16",
    ),
    Hint(
        "shapes-differ",
        r"(?:mat1 and mat2 shapes cannot be multiplied|must have same reduction dim|The size of tensor a \(\d{1,9}\) must match"
        r"|shape '\[[^\]]{1,60}\]' is invalid for input of size|[Ee]xpected size[^\n]{0,60}but got|The expanded size of the tensor"
        r"|Expected hidden_size to be"
        r"|start \(\d{1,9}\) \+ length \(\d{1,9}\) exceeds dimension size|split_with_sizes expects"
        r"|Sizes of tensors must match)",
        "two tensors of the model don't fit: weights and config.json of different revisions, a tensor_parallel_size that cuts a size"
        " wrongly, or a fault of this release",
        "check that config.json and weights are of one revision; try tensor_parallel_size: 1, then a newer engine",
        "pytorch",
        "RuntimeError: start (0) + length (1536) exceeds dimension size (1024).",
        sure=False,
    ),
    Hint(
        "kv-cache-dtype",
        r"(?<!--)kv[-_ ]?cache[-_ ]?dtype[^\n]{0,80}(?:not supported|unsupported|invalid|unknown)"
        r"|KV cache is not supported by the [^\n]{0,60}attention backend|FP8 KV cache[^\n]{0,80}(?:not supported"
        r"|unsupported)|(?:not support|unsupported)[^\n]{0,40}kv[-_ ]cache[-_ ]dtype|\bkv_data_type \S{1,40} is not supported",
        "the attention backend can't keep the KV cache in that dtype",
        "remove kv_cache_dtype from engine_args (auto is the model's own; float16 where the message says so), or let vLLM choose the attention"
        " backend",
        "vLLM, attention backends",
        "ValueError: kv_cache_dtype fp8_e5m2 is not supported for attention backend X",
    ),
    Hint(
        "flash-attention-dtype",
        r"FlashAttention[^\n]{0,60}only supports? fp16 and bf16",
        "FlashAttention computes in fp16 and bf16 only, and the model's dtype (or the KV cache's) is another",
        "set engine_args.dtype: bfloat16 (float16 on an older GPU) and leave out kv_cache_dtype, or another attention backend",
        "Dao-AILab/flash-attention",
        "RuntimeError: FlashAttention only support fp16 and bf16 data type",
    ),
    Hint(
        "parameter-assign",
        r"cannot assign '[^']{1,120}' (?:object to|as) (?:parameter|child module|buffer)|Cannot copy out of meta tensor"
        r"|NotImplementedError: Cannot copy out of meta",
        "the engine's code for this model or quantisation does not fit the torch or Triton kernels beside it, or the weights lack a part of the"
        " model",
        "use a newer engine as it was built, or another quantisation of the model",
        "vllm-project/vllm#28603",
        "TypeError: cannot assign 'triton_kernels.tensor.Tensor' object to parameter 'w13_weight' (torch.nn.Parameter or None required)",
        sure=False,
    ),
    Hint(
        "flaggems-source",
        r"could not get source code",
        "Triton can't read the source of a kernel that was generated at run time: its cache was removed or is shared by two versions",
        "remove the caches (~/.flaggems, ~/.triton) and start again, with flaggems: false if it comes back",
        "FlagOpen/FlagGems#4822",
        "OSError: could not get source code",
        sure=False,
    ),
    Hint(
        "position-out-of-bounds",
        r"index out of bounds: 0 <= tmp\d{1,4} < \d{3,7}",
        "a kernel that torch compiled read beyond a table of the model: a position past max_position_embeddings (max_model_len was forced beyond"
        " it), or a token past the vocabulary (an added token, another tokenizer)",
        "set max_model_len to what config.json allows (VLLM_ALLOW_LONG_MAX_MODEL_LEN out of env), or give rope_scaling by hf_overrides; tokenizer"
        " and weights of one revision",
        "vllm-project/vllm#31709, #17534",
        "/tmp/acme.py:12: unknown: block: [4,0,0], thread: [32,0,0] Assertion `index out of bounds: 0 <= tmp48 < 40960` failed.",
        sure=False,
    ),
    Hint(
        "kernel-trap",
        r"trapType: |Assertion [`'\"]index out of bounds|Memory Violation\(0x|\bcnrt\w{3,40}[^\n]{0,60}(?:fail|[Ee]rror)|\bMCR\]\[E\]"
        r"|HSA_STATUS_ERROR_(?:EXCEPTION|MEMORY_APERTURE_VIOLATION|MEMORY_FAULT|ILLEGAL_INSTRUCTION)"
        r"|Memory access fault by GPU|hipError(?:IllegalAddress|LaunchFailure)",
        "a kernel failed on the accelerator: it read or wrote where nothing is",
        "with FlagGems on set flaggems: false or leave out the operator that is named; else enforce_eager: true, then the accelerator maker's own"
        " image",
        "FlagOpen/FlagGems#6291",
        "[03:31:36.671][MCR][E]mx_device.cpp :10106: trapping: kernelName: mm_kernel, trapType: Memory Violation(0x4)",
        sure=False,
    ),
    Hint(
        "layer-attribute",
        r"'\w{0,60}(?:Linear|LinearMethod|Attention|Impl|MoE|FusedMoE|Embedding|LMHead|ForCausalLM|ForConditionalGeneration"
        r"|DecoderLayer|MLP|KVCacheMethod)' object has no attribute"
        r" (?!'(?:pooler|\w{0,20}(?:embed_and_head|eagle3|aux_hidden)\w{0,40})')",
        "the engine's classes for this model, its quantisation and this accelerator don't fit together in this release",
        "use a newer engine as it was built, or another quantisation of the model",
        "vllm-project/vllm#11537",
        "AttributeError: 'QKVParallelLinear' object has no attribute 'input_scale'",
        sure=False,
    ),
    Hint(
        "triton-compile",
        r"triton\.compiler\.errors\.\w{5,40}|triton\.runtime\.errors\.\w{5,40}|PTXASError|PTXAS error|PassManager::run failed"
        r"|'\w{4,60}' pass failed|reached lowering without"
        r"|LLVM ERROR|LLVM Translation failed|failed to (?:translate|legalize)|Cannot select: |MLIRCompilationError|ttadapter|BiShengIR|bishengir"
        r"|error: [^\n]{0,60}(?:ttir|ttgir|tt\.func|linalg)",
        "a Triton kernel does not compile for this accelerator",
        "with FlagGems on set flaggems: false or leave its operator out; else the Triton (or FlagTree, triton-ascend) that belongs to this"
        " torch and accelerator",
        "triton-lang/triton; flagos-ai/FlagTree",
        "triton.compiler.errors.CompilationError: at 12:4: nobody knows",
        general=True,
    ),
    Hint(
        "no-libc-headers",
        r"fatal error: (?:std\w{2,8}|limits|errno|math|string|features|omp|bits/[\w./+-]{1,40}|sys/\w{1,20})\.h: No such file"
        r"|fatal error: (?:cstdint|cstddef|iostream|vector|string|algorithm|type_traits): No such file",
        "code is compiled at run time, and the compiler finds not the headers of the C or C++ library: it is not installed whole",
        "install gcc, g++ and libc's development files (build-essential), or use an image that has them; enforce_eager: true avoids torch's compiler",
        "vllm-project/vllm#19656",
        "/tmp/x/main.c:1:10: fatal error: stddef.h: No such file or directory",
    ),
    Hint(
        "compiled-kernel-refused",
        r"CUDA error \(\S{1,300}\.(?:h|hpp|cuh|cu|cpp):\d{1,6}\): (?:invalid argument|invalid device function|no kernel image)",
        "a compiled kernel (most often of attention) is not made for this GPU or for these sizes",
        "name another attention backend in the row, or use an image that is built for this GPU",
        "Dao-AILab/flash-attention#1763",
        "CUDA error (/srv/acme/flash_acme_template.h:188): invalid argument",
        sure=False,
    ),
    Hint(
        "header-missing",
        r"fatal error: (?!Python|(?:cu[a-z]|nv\w|cublas|crt/|std|limits|errno|math|string|features|omp|bits/|sys/))[\w./+-]{1,120}\.(?:h|hpp|cuh)"
        r"(?:: No such file|' file not found)",
        "the compiler does not find a header of another library: its development package is not installed, or it is of another version",
        "install the package that has the header (numa.h: libnuma-dev, numactl-devel; infiniband/verbs.h: libibverbs-dev), or use an image or a wheel",
        "GCC",
        "/tmp/acme.cpp:2:12: fatal error: numa.h: No such file or directory",
        sure=False,
    ),
    Hint(
        "pooler-missing",
        r"'\w{1,60}' object has no attribute 'pooler'",
        "the row asks for embeddings, scores or classes, and the engine built this model for text: this release has no such form of it,"
        " or was not told",
        "set `runner: pooling` and `convert` (or hf_overrides that the model's page names) in engine_args, or use a newer engine",
        "vllm-project/vllm#20051",
        "AttributeError: 'AcmeForCausalLM' object has no attribute 'pooler'",
        sure=False,
    ),
    Hint(
        "quantisation-not-for-layer",
        r"AssertionError: assert (?:self\.)?quant_method is not None",
        "the engine has no form of the model's quantisation for this kind of layer (the file's name tells which: MoE, linear, embedding)",
        "use the model in another quantisation (for AWQ of MoE models awq_marlin or compressed-tensors), or a newer engine; leave `quantization` out",
        "vllm-project/vllm#22004",
        "AssertionError: assert self.quant_method is not None (acme/layer.py:7)",
    ),
    Hint(
        "triton-allocator",
        r"Kernel requires a runtime memory allocation, but no allocator was set",
        "a Triton kernel wants scratch memory, and the engine gives Triton none for it: its kernels and this Triton don't fit, or it forgot to on"
        " this GPU",
        "use a newer engine, or the image as it was built; another attention backend or model class may do without that kernel",
        "vllm-project/vllm#33857; triton, runtime/_allocation.py",
        "RuntimeError: Kernel requires a runtime memory allocation, but no allocator was set. Use triton.set_allocator to specify an allocator.",
    ),
    Hint(
        "triton-not-whole",
        r"module 'triton' has no attribute '(?:next_power_of_2|cdiv|jit|autotune|heuristics|Config|language|runtime|compile)'",
        "what Python finds as triton is not whole: it was installed over another one (triton and triton-ascend), removed in part, or the engine put"
        " a placeholder there as it found no driver for it",
        "pip uninstall triton triton-ascend, then install the one of the two that belongs to this accelerator anew, or use an image as it was built",
        "vllm-project/vllm-ascend#6879, #7359",
        "AttributeError: module 'triton' has no attribute 'next_power_of_2'",
    ),
    Hint(
        "backend-without-feature",
        r"(?:XFormers|xFormers|TORCH_SDPA|[Tt]orch SDPA|FlashAttention|FlashInfer|ROCmFlashAttention"
        r"|Triton\w{0,12})\w{0,20} (?:backend )?does not support (?:attention logits soft ?capping|alibi|sliding window|(?:block-)?sparse|encoder|FP8"
        r"|fp8)",
        "the attention backend that was chosen for this GPU and dtype lacks what this model needs; most often the card is older than Ampere, float32"
        " was set, or FlashInfer is not installed",
        "set VLLM_ATTENTION_BACKEND (attention_backend in newer releases) to FLASHINFER or TRITON_ATTN, dtype to half or bfloat16, or use a newer"
        " engine, or a GPU from Ampere on",
        "vllm-project/vllm#9922",
        "ValueError: XFormers does not support attention logits soft capping.",
        sure=False,
    ),
    Hint(
        "deep-gemm-nvcc",
        r"NVCC version should be >=|NVCC compilation failed",
        "the CUDA compiler (nvcc) of this environment is older than this GPU or these kernels need, or failed at them",
        "nvcc --version: use an image with a newer CUDA toolkit (devel), or set CUDA_HOME to one; VLLM_USE_DEEP_GEMM: 0 (SGLANG_ENABLE_JIT_DEEPGEMM:"
        " 0) in the row's env does without DeepGEMM",
        "deepseek-ai/DeepGEMM#173",
        'RuntimeError: Assertion error (acme/jit/x.hpp:187): (major > 12) and "NVCC version should be >= 12.7"',
        sure=False,
    ),
    Hint(
        "model-by-transformers",
        r"^AttributeError: '\w{2,60}(?:Model|ForConditionalGeneration)' object has no attribute '\w{1,40}\.\w[\w.]{0,60}'",
        "this release of the engine serves the model by transformers' code, which it can't do with these options: it does not know the model itself,"
        " or a pipeline or adapter is asked for",
        "use a newer engine, which has the model's class; pipeline_parallel_size: 1 and tensor_parallel_size in its place",
        "QwenLM/Qwen3-VL#1539",
        "AttributeError: 'AcmeMoeModel' object has no attribute 'language_model.embed_tokens'",
        sure=False,
    ),
)
