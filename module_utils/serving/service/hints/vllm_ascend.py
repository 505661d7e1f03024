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
        "ascend-build-chip",
        r"npu-smi command not found, if this is an npu|Could not determine chip type automatically|^RuntimeError: Get chip info failed",
        "vllm-ascend is built here, and its build can't ask npu-smi which NPU it is for",
        "set env SOC_VERSION for the build (ascend910b1 for an A2, ascend910_9391 for an A3, ascend310p1 for a 310P), or use the image for this NPU",
        "vllm-project/vllm-ascend#6264",
        "FileNotFoundError: npu-smi command not found, if this is an npu envir, please check if npu driver is installed correctly.",
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
)
