"""Failure hints: what vllm-ascend says itself of schemes of quantisation, operators and settings; its build; Triton on NPUs."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

HINTS = (
    Hint(
        "ascend-scheme",
        r"vLLM Ascend (?:doesn't|does not) support (?:quant_type=)?\S{1,60} for |vLLM Ascend only supports following quant types"
        r"|No compressed-tensors compatible quantization type was found|No scheme registered for \w{1,60}/",
        "this release of vllm-ascend has no code for the scheme in which a layer is quantised (such as W4A4 or W4A16, as the message says), at all or on"
        " this NPU",
        "use a newer release of vllm-ascend, or the model in W8A8 that ModelSlim made for it (engine_args.quantization: ascend; W8A8SC on a 310P); else the"
        " model as it was published",
        "vllm-project/vllm-ascend#6481, #7076",
        "NotImplementedError: Currently, vLLM Ascend doesn't support W9A9 for linear.",
    ),
    Hint(
        "ascend-scheme-layer",
        r"'Ascend\w{1,30}Linear\w{0,10}' object has no attribute 'weight'",
        "a layer of the model has no weights as vllm-ascend expects them: its scheme of quantisation (W4A4, W4A8) is not for this NPU in this release, or"
        " weights and description are of different times",
        "use a newer release of vllm-ascend, or the model in W8A8 that ModelSlim made for it (W8A8SC on a 310P), or as it was published",
        "vllm-project/vllm-ascend#4487",
        "AttributeError: 'AscendAcmeParallelLinear' object has no attribute 'weight'",
        sure=False,
    ),
    Hint(
        "ascend-layer-not-described",
        r"Could not determine quantization type for layer",
        "quant_model_description.json of the model does not say how a layer is quantised that this release builds",
        "use weights that ModelSlim made for this release and model, with the file beside them, or the release that the model's page names",
        "vllm-ascend 0.23.0",
        "ValueError: Could not determine quantization type for layer acme.0 (layer_type=linear).",
    ),
    Hint(
        "quantised-in-part",
        r"some but not all shards of [\w.]{1,120} are quantized",
        "layers that the engine joins into one (q, k and v, or gate and up) are not all quantised alike in these weights",
        "use weights in which they are, another quantisation of the model, or a newer engine",
        "vLLM and vllm-ascend, quantization",
        "ValueError: Detected some but not all shards of acme.0.qkv_proj are quantized. All shards of fused layers to have the same precision.",
    ),
    Hint(
        "ascend-custom-ops",
        r"No module named '?custom_ops(?![\w.])|'_OpNamespace' 'custom' object has no attribute 'npu_",
        "the package of operators (custom_ops) that vllm-ascend 0.11 loads for DeepSeek-V3.2 is not in this environment",
        "use an image of vllm-ascend 0.12.0rc1 or newer, which does not need it, or install the package that the page of that release names for the model",
        "vllm-project/vllm-ascend#4449",
        "ModuleNotFoundError: No module named 'custom_ops'",
        sure=False,
    ),
    Hint(
        "ascend-build-npu",
        r"npu-smi command not found, if this is an npu|Could not determine \w{4} type automatically|^RuntimeError: Get \w{4} info failed",
        "vllm-ascend is built here, and its build can't ask npu-smi which NPU it is for",
        "set env SOC_VERSION for the build (ascend910b1 for an A2, ascend910_9391 for an A3, ascend310p1 for a 310P), or use the image for this NPU",
        "vllm-project/vllm-ascend#6264",
        "FileNotFoundError: npu-smi command not found, if this is an npu envir, please check if npu driver is installed correctly.",
    ),
    Hint(
        "torch-npu-index",
        r"(?:requirement|distribution found for) (?:torch[-_]npu|triton[-_]ascend)\b",
        "this package index has no torch-npu (or triton-ascend) of that version for this Python and processor",
        "add Ascend's own index as vllm-ascend's installation guide names it (extra-index-url), and take a Python that the release names; or use the"
        " image",
        "vllm-ascend, installation guide",
        "ERROR: No matching distribution found for torch-npu==9.9",
    ),
    Hint(
        "cann-headers",
        r"fatal error: '(?:inner_interface|kernel_operator|kernel_tiling|lib/\w{1,30}|adv_api|register|graph|exe_graph|tiling|aclnn|hccl|acl)[\w/]{0,80}"
        r"\.h(?:pp)?' file not found",
        "the operators that are built here ask for headers that this CANN has not: it is of another version than the release names, or not whole",
        "use the CANN that this release of vllm-ascend names, with its ops package, or the image as it was built",
        "vllm-project/vllm-ascend#9421",
        "/opt/acme.cpp:10:10: fatal error: 'inner_interface/acme.h' file not found",
    ),
    Hint(
        "mindie-execute",
        r"^RuntimeError: (?:Execute|Setup|execute|setup) fail, enable log: ",
        "an operator of MindIE's model (ATB) failed on an NPU: its memory ran out, the model or type is none of this NPU's, or another rank ended first",
        "look for the first error of each rank above; lower npuMemSize, maxSeqLen or maxPrefillTokens of config.json; start once with env"
        " ASCEND_GLOBAL_LOG_LEVEL: 1 and ASCEND_SLOG_PRINT_TO_STDOUT: 1, which show it",
        "MindIE, atb_llm",
        "RuntimeError: Execute fail, enable log: export ACME_LEVEL=3 to find the first error.",
        sure=False,
    ),
    Hint(
        "ascend-sleep-mode",
        r"camem allocator is not available",
        "sleep mode needs a compiled part of vllm-ascend that this installation lacks",
        "leave enable_sleep_mode out, or use vllm-ascend's image for this NPU",
        "vllm-ascend 0.9.1",
        "AssertionError: camem allocator is not available",
    ),
    Hint(
        "ascend-capture-sizes",
        r"cudagraph_capture_sizes [^\n]{1,300} does not contain ?values that are multiples of tp_size|embedding_tp static capacity \d{1,9} <",
        "none of the sizes for which graphs are captured fits the way in which the model is split over NPUs",
        "give compilation_config.cudagraph_capture_sizes with multiples of tensor_parallel_size, as large as max_num_seqs needs, or set enforce_eager: true",
        "vllm-ascend 0.23.0",
        "AssertionError: cudagraph_capture_sizes [1, 2, 3] does not containvalues that are multiples of tp_size 16",
    ),
    Hint(
        "npu-triton-buffer",
        r"\b(?:ub|cbuf|l0[abc]|l1) overflow, requires \d{1,12} bits",
        "a Triton kernel needs more of the NPU's own buffer than there is: this triton-ascend and CANN lay it out so, or its sizes are too large",
        "use a newer image of vllm-ascend (or SGLang) as it was built; else leave out what brings the kernel (speculative_config, FlagGems), or lower"
        " max_num_seqs and max_num_batched_tokens",
        "vllm-project/vllm-ascend#8037; triton-lang/triton-ascend#302",
        'loc("/tmp/acme.mlir":2:3): error: ub overflow, requires 1966848 bits while 1572864 bits avaliable!',
    ),
    Hint(
        "npu-triton-pipeline",
        r"[Ff]ailed to run BiSheng\w{0,4} |\[ConvertLinalgRToBinary\] encounters error",
        "Triton could not compile a kernel for this NPU: triton-ascend and CANN are not of one release, the NPU is none that they know, or the kernel is not"
        " made for it",
        "use the newest image of vllm-ascend (or SGLang) for this NPU as it was built; remove ~/.triton/cache; with FlagGems on set flaggems: false",
        "sgl-project/sglang#11546",
        'loc("/tmp/acme/kernel.ttadapter.mlir":2:1): error: Failed to run BiShengHIR pipeline',
        general=True,
    ),
    Hint(
        "aclnn-no-bf16",
        r"not implemented for DT_BFLOAT16, should be in dtype support list",
        "an operator of CANN takes no bfloat16 here: the NPU has none (910A, 310P), or this CANN's operator has not",
        "set engine_args.dtype: float16 (convert: float16 where the weights are bf16); on an NPU that has bfloat16 use the image of this NPU and release",
        "hiyouga/LLaMA-Factory#4165",
        "RuntimeError: call aclnnAcme failed, detail:EZ1001: acme not implemented for DT_BFLOAT16, should be in dtype support list [DT_FLOAT16,].",
    ),
    Hint(
        "aclnn-no-fp16",
        r"not implemented for DT_FLOAT16, should be in dtype support list \[[^\]\n]{0,300}DT_BFLOAT16",
        "an operator of CANN takes bfloat16 here and no float16",
        "set engine_args.dtype: bfloat16 (drop convert: float16), as the weights' scales have it; where config.json says float16 use hf_overrides too",
        "vllm-project/vllm-ascend#6636",
        "AclNN_Parameter_Error(EZ1001): Tensor acme not implemented for DT_FLOAT16, should be in dtype support list [DT_UINT64,DT_BFLOAT16,].",
    ),
    Hint(
        "hccl-network-of-npu",
        r"\bra init failed",
        "HCCL can't open the NPU's own network part: the user has no entry in /etc/passwd of the container, another process holds that part, or"
        " /etc/hccn.conf is not there",
        "run as a user that /etc/passwd of the container names; end what runs on the NPU and wait 10 s; mount /etc/hccn.conf",
        "vllm-project/vllm-ascend#9490",
        "[ERROR] HCCL(40,python):2026-11-24-08:05:26.1 [acme.cc:100] [40]ra init failed, return[19] devicePhyId_[4]",
        sure=False,
    ),
    Hint(
        "cann-python-path",
        r"No module named '?(?:tbe|te|acl|impl)(?:\.[\w.]{1,60})?(?:'|$)",
        "CANN's own Python packages are not found: its set_env.sh was not sourced, something set PYTHONPATH anew after it, or the toolkit is not installed",
        "source set_env.sh of CANN in `activate`, and leave PYTHONPATH out of the row's env (or add to it); else use the image as it was built",
        "Ascend/pytorch#29",
        "ModuleNotFoundError: No module named 'tbe.acme'",
        sure=False,
    ),
    Hint(
        "npu-package-missing",
        r"No module named '?(?:vllm_ascend|torchair|sgl_kernel_npu|memfabric_hybrid|mindie_turbo|mindie_llm|atb_llm|dlinfer|msmodelslim)(?:'|$)",
        "a package for NPUs that the engine, an option or a variable asks for is not in this environment",
        "use the engine's image for this NPU as it was built, or install the release of the package that the engine's page names; else leave out what asks"
        " for it",
        "vllm-ascend and SGLang for NPUs",
        "ModuleNotFoundError: No module named 'torchair'",
    ),
    Hint(
        "triton-ascend-other",
        r"(?:No module named '?|cannot import name '\w{1,60}' from ')triton\.(?:language\.extra\.(?:cann|ascend)|backends\.ascend)",
        "the Triton of this environment is not the triton-ascend that is asked for: plain triton was installed over it, or it is of another version",
        "pip uninstall triton and triton-ascend, then install the triton-ascend that vllm-ascend's release names; or use its image as it was built",
        "vllm-project/vllm-ascend, installation guide",
        "ModuleNotFoundError: No module named 'triton.language.extra.cann'",
    ),
    Hint(
        "triton-missing",
        r"No module named '?triton(?:'|$)",
        "this environment has no Triton, and the engine's code for this model or option asks for it",
        "for NPUs use a newer vllm-ascend, or install the triton-ascend that its release names; for GPUs the triton of this torch; for CPUs a newer vLLM",
        "vllm-project/vllm-ascend#329",
        "ModuleNotFoundError: No module named 'triton'",
    ),
    Hint(
        "cann-set-env-missing",
        r"/[Aa]scend/[^\s:]{0,120}set_env\.sh: No such file or directory",
        "the start script sources CANN's set_env.sh where there is none: CANN or that part of it is not installed, or lies elsewhere in this image",
        "find / -name set_env.sh in the image shows where (CANN 8.5 and newer: /usr/local/Ascend/cann); correct `activate`",
        "CANN, installation guide",
        "bash: line 3: /usr/local/Ascend/ascend-toolkit/set_env.sh: No such file or directory",
    ),
    Hint(
        "cann-set-env-unbound",
        r"set_env\.sh: line \d{1,5}: \w{1,60}: unbound variable",
        "CANN's set_env.sh reads a variable that is not set, and the shell takes that as an error (set -u)",
        "write `set +u` in front of the `source` in `activate`, and `set -u` behind it",
        "CANN, set_env.sh",
        "/usr/local/Ascend/nnal/atb/set_env.sh: line 12: ACME_VERSION: unbound variable",
    ),
    Hint(
        "npu-smi-missing",
        r"npu-smi: (?:command not found|not found|No such file)|No such file or directory: '(?:[\w./-]{0,60}/)?npu-smi'",
        "npu-smi is not here: the host has no driver for NPUs, or it is not mounted into the container",
        "on the host install driver and firmware; in a container mount /usr/local/bin/npu-smi,"
        " /usr/local/dcmi and /usr/local/Ascend/driver/lib64 (`mounts` of the hardware)",
        "vllm-project/vllm-ascend, installation guide",
        "bash: npu-smi: command not found",
    ),
    Hint(
        "ascend-not-set-up",
        r"Ascend config is not initialized",
        "vllm-ascend's code for this model ran before its settings were read: a fault of this release with the model, or a part of it did not load",
        "look for the first error above; use a newer release of vllm-ascend (early ones with Qwen3-Next), and the triton-ascend that it names",
        "vllm-project/vllm-ascend#3291",
        "RuntimeError: Ascend config is not initialized. Please call init_ascend_config first.",
        sure=False,
    ),
    Hint(
        "variable-not-set",
        r"[Ee]nvironment variable '?[A-Z][A-Z0-9_]{3,60}'? (?:is|was) not set",
        "an option of the row, or a part that it switches on, needs a variable of the environment that is not set",
        "set the variable that the message names in the row's env (and mount the file that it points to), or leave the option out",
        "vllm-ascend, stores of KV caches",
        "ValueError: The environment variable 'ACME_CONFIG_PATH' is not set.",
        general=True,
    ),
    Hint(
        "cann-folder-not-writable",
        r"PermissionError[^\n]{0,40}'(?:[^']{0,120}/)?(?:kernel_meta|fusion_result\.json)[^']{0,120}'",
        "CANN writes what it compiles into the working folder, into which the engine's user may not write: it is /, or another user's",
        "set ASCEND_WORK_PATH and ASCEND_CACHE_PATH in the row's env to a folder of that user (/cache, /tmp), or start the engine in one (docker run"
        " -w), or run as the image's user",
        "vllm-project/vllm-ascend#433",
        "PermissionError: [Errno 13] Permission denied: '//kernel_meta'",
    ),
    Hint(
        "expandable-segments-sleep",
        r"[Ee]xpandable segments are not compatible with memory pool",
        "sleep mode keeps weights in a pool of its own, which does not go with the allocator's expandable segments",
        "remove expandable_segments:True from PYTORCH_NPU_ALLOC_CONF (PYTORCH_CUDA_ALLOC_CONF) in the row's env, or enable_sleep_mode from"
        " engine_args",
        "vllm-project/vllm-ascend#9242",
        "AssertionError: Expandable segments are not compatible with memory pool.",
    ),
)
