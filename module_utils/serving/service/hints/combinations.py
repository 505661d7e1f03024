"""Failure hints: dtypes, quantisations, options and values of the environment that a model, an accelerator or each other do not take."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

HINTS = (
    Hint(
        "model-refuses-dtype",
        r"[Mm]odel type '?\w{1,40}'? does not support (?:b?float(?:16|32)|fp16|bf16|half)\b|does not support float16",
        "this model can't be computed in that dtype",
        "set engine_args.dtype: bfloat16 (or float32), on a GPU or NPU that has it; where its quantisation (awq, gptq) takes float16 alone, use another"
        " quantised copy of the model",
        "vLLM, config/model.py",
        "Value error, The model type 'gemma9' does not support float16. Reason: Numerical instability. Please use bfloat16 or float32 instead.",
    ),
    Hint(
        "package-of-an-option",
        r"No module named '?(?:modelscope|lmcache|nixl|mooncake|kvcached|tensorizer|runai_model_streamer|fastsafetensors|instanttensor|terratorch"
        r"|arctic_inference|deep_ep|deep_gemm|pplx_kernels|flashinfer|flash_attn|flash_mla|xformers|ray|opentelemetry|librosa|soundfile|av|decord"
        r"|mamba_ssm|causal_conv1d)(?![\w.])|^RuntimeError: mooncake is not available",
        "this environment does not have a package that an option of the row, a variable of its env or the model asks for",
        "leave out what asks for it (kv_transfer_config, load_format, model_impl, a backend, env), or install the release that the engine's page"
        " names (a model that hears: librosa and soundfile, by vllm[audio]), or build an image with it",
        "vLLM 0.25.1",
        "ModuleNotFoundError: No module named 'lmcache'",
    ),
    Hint(
        "quantisation-package",
        r"[Pp]lease install (?:bitsandbytes|gguf|auto-?gptq|autoawq|gptqmodel|compressed-tensors|modelopt|torchao|optimum|amd-quark"
        r"|quark)\b|No module named '?(?:bitsandbytes|gguf|gptqmodel|auto_gptq|awq|torchao"
        r"|compressed_tensors|optimum|quark|modelopt)(?![\w.])|requires bitsandbytes",
        "the environment lacks the package for this quantisation or format, or has an older one than the message asks for",
        "install the package that the message names in the environment, or use another format of the model",
        "vLLM, quantization",
        "ImportError: Please install bitsandbytes>=0.46.1 via `pip install bitsandbytes>=0.46.1` to use bitsandbytes quantizer.",
    ),
    Hint(
        "gguf",
        r"^ValueError: Architecture \S{1,40} not supported$"
        r"|GGUF model with architecture \S{1,40} is not supported|[Uu]nknown gguf model_type|[Ff]ailed to map GGUF parameters|GGUF[^\n]{0,80}(?:not supported"
        r"|unsupported)|gguf[^\n]{0,60}(?:split|multi-file)"
        r"|config file at '[^'\n]{1,200}\.gguf' is not a valid JSON",
        "the engine can't read this GGUF model",
        "use the model's safetensors, or a single-file GGUF of an architecture that transformers names (with a newer engine, and"
        " engine_args.tokenizer: the original model)",
        "huggingface/transformers, GGUF",
        "ValueError: GGUF model with architecture qwen9moe is not supported yet.",
    ),
    Hint(
        "quantisation-config",
        r"Cannot find the config file for (\w{1,20})|'?quant_method'?[^\n]{0,60}(?:missing|KeyError|not found)"
        r"|Cannot find any of \[[^\]]{1,200}\] in the model's quantization config|Found unknown quantization"
        r"|quantization config[^\n]{0,60}(?:missing|invalid|not)"
        r"|(?:CompressedTensors|TorchAO|Quark|A?WQ\w{0,8}|GPTQ\w{0,8}|Fp8|ModelOpt\w{0,8}|BitsAndBytes|INC)Config\.__init__\(\) missing \d",
        "the model's own description of its quantisation is missing, or not one that this engine reads",
        "check quantization_config in config.json against the model's page, remove engine_args.quantization, or use a newer engine",
        "vLLM, weight_utils.py",
        "ValueError: Cannot find the config file for awq",
        sure=False,
    ),
    Hint(
        "not-quantised-for-option",
        r"(?:bitsandbytes|BitsAndBytes|load_format)[^\n]{0,80}(?:only supports|must be|requires|does not support)"
        r"|does not support BitsAndBytes|[Qq]uantization is not supported for|packed_modules_mapping|prequant BitsAndBytes",
        "this model's class can't be loaded in that quantisation or load format",
        "remove quantization and load_format from engine_args, or use another format of the model",
        "vLLM, bitsandbytes",
        "AttributeError: Model MllamaForX does not support BitsAndBytes quantization yet. No 'packed_modules_mapping' found.",
        sure=False,
    ),
    Hint(
        "speculators-config",
        r"speculators model type|speculators_(?:model_type|config)\b[^\n]{0,80}(?:missing|not found|required|None|must)|KeyError: 'speculators_\w{4,20}'",
        "the draft's config.json, which the library speculators wrote, names no algorithm (speculators_model_type) that this release reads: the file"
        " is of another form, or this engine of another time",
        "use the draft with the release of the engine that its page names (mostly a newer one), or fetch it whole; without speculative_config the"
        " model itself starts",
        "vllm-project/vllm#54526",
        "ValueError: Expected one of speculators model type ['acme3'] but found: None",
    ),
    Hint(
        "draft-parallel",
        r"draft_tensor_parallel_size[^\n]{0,60}(?:cannot be other|other value|must be|should be)",
        "a draft model runs on one GPU or on as many as the model, and the row asks for another number",
        "set draft_tensor_parallel_size in speculative_config to 1 or to tensor_parallel_size, or leave it out",
        "vllm-project/vllm#25125",
        "ValueError: speculative_draft_tensor_parallel_size=2 cannot be other value than 1 or target model tensor_parallel_size",
    ),
    Hint(
        "speculative",
        r"[Ss]peculative (?:decoding|config|model|method)[^\n]{0,120}(?:not supported|unsupported|not compatible|must|cannot|requires"
        r"|invalid)|draft model[^\n]{0,80}(?:must|not|differ)|num_speculative_tokens[^\n]{0,80}(?:must|required|was provided)|(?:eagle"
        r"|EAGLE|[Mm]tp|MTP|ngram)[^\n]{0,60}(?:not supported|unsupported|only supports)"
        r"|(?:[Ee]agle|EAGLE)3? (?:is )?only supported for|does not support (?:the )?EAGLE3? interface"
        r"|object has no attribute '\w{0,20}(?:embed_and_head|eagle3|aux_hidden)\w{0,40}'",
        "the engine can't guess ahead (speculative decoding) with this model or these options",
        "remove speculative_config from engine_args, correct it as the message says, or use a newer engine, which may know this model for it",
        "vLLM, config/speculative.py",
        "ValueError: num_speculative_tokens was provided but without speculative model.",
        sure=False,
    ),
    Hint(
        "model-runner-v2",
        r"Model Runner V2 does not (?:yet )?support",
        "vLLM's second model runner, which this release takes for this model, lacks what the row asks for",
        "remove the option that the message names, or set env VLLM_USE_V2_MODEL_RUNNER: 0 where this release still has the first one",
        "intel/intel-xpu-backend-for-triton#7166",
        "Value error, Model Runner V2 does not yet support: acme drafting",
    ),
    Hint(
        "offload-reinitialised",
        r"re-?initialize the input batch when CPU weight offloading",
        "cpu_offload_gb does not go with this model, whose KV cache is laid out in blocks of several sizes",
        "remove cpu_offload_gb from engine_args and make room otherwise (tensor_parallel_size, a quantised model), or use a newer engine",
        "vllm-project/vllm#26206",
        "AssertionError: Cannot re-initialize the input batch when CPU weight offloading is enabled.",
        sure=False,
    ),
    Hint(
        "text-model-with-media",
        r"limit_mm_per_prompt[`'\"]? is only supported for",
        "the row limits pictures or other media, and this release knows the class that config.json names as one of text",
        "remove limit_mm_per_prompt and mm_processor_kwargs from engine_args; a model that should see pictures needs the config.json of"
        " its own page, or a"
        " newer engine",
        "vLLM, config/model.py",
        "ValueError: `limit_mm_per_prompt` is only supported for acme models.",
    ),
    Hint(
        "kv-cache-groups",
        r"KVCacheCoordinator assumes|[DP]CP (?:is )?not support(?:ed)?\b",
        "this release can't keep the KV cache of a model with layers of several kinds (full, sliding window, mamba) together with what is"
        " asked: prefix caching,"
        " context parallel, a KV connector",
        "set disable_hybrid_kv_cache_manager: true, leave decode_context_parallel_size and prefill_context_parallel_size out,"
        " enable_prefix_caching: false; else a"
        " newer engine",
        "vLLM 0.12, v1/core/kv_cache_coordinator.py",
        "AssertionError: HybridKVCacheCoordinator assumes exactly one other type of groups now.",
        sure=False,
    ),
    Hint(
        "feature-combination",
        r"(?:[Pp]refix caching|[Cc]hunked prefill|LoRA|[Mm]ulti-?modal|[Cc]PU offload|[Ss]leep mode|[Aa]sync scheduling"
        r"|[Ee]xpert parallel\w{0,4}|[Dd]ata parallel\w{0,4}|[Cc]ontext parallel\w{0,4}|[Cc]uda ?graphs?"
        r"|[Ss]tructured outputs?)[^\n]{0,60}(?:is|are) (?:not (?:yet )?(?:supported|compatible)|incompatible|unsupported)|(?:does not"
        r"|doesn't) (?:yet )?support (?:LoRA|[Pp]refix caching|[Cc]hunked prefill|[Ee]xpert|[Pp]ipeline|[Mm]ulti)|not supported (?:with"
        r"|by|in|on) (?:the )?(?:V1|V0|VLLM_USE_V1)|only supported (?:for|in|on) V[01]\b|VLLM_USE_V1=[01][^\n]{0,80}(?:not|no longer)",
        "the engine can't do two things together that the row asks for (or this model can't)",
        "remove the option that the message names from engine_args or the row's env",
        "vLLM, feature compatibility",
        "NotImplementedError: Chunked prefill is not supported with this model in V1",
        sure=False,
    ),
    Hint(
        "options-belong-together",
        r"--[\w-]{3,60} (?:currently )?requires? [`'\"]?--[\w-]{3,60}[`'\"]?(?: to be set)?(?:[.;,]|$)|--[\w-]{3,60}[^\n]{0,30} are mutually exclusive"
        r"|argument --\S{1,60}: not allowed with argument",
        "two of the engine's options don't go together, or one lacks another",
        "correct engine_args; the message names them",
        "vLLM, entrypoints/openai/cli_args.py",
        "TypeError: Error: --enable-auto-tool-choice requires --tool-call-parser",
    ),
    Hint(
        "engine-v0-gone",
        r"backend only supports V1\b|V0 (?:engine )?(?:is|was|has been) (?:deprecated|removed|no longer supported)",
        "this vLLM has no old engine (V0) here, and something asks for it: VLLM_USE_V1: 0 in env, or an option that only V0 had",
        "leave VLLM_USE_V1 out of the row's env; then leave out options one by one (otlp_traces_endpoint was one), or use a newer engine",
        "vllm-project/vllm#24297",
        "ValueError: CPU backend only supports V1.",
        sure=False,
    ),
    Hint(
        "vllm-port-env",
        r"VLLM_PORT[^\n]{0,60}appears to be a URI|invalid literal for int\(\) with base 10: ['\"]tcp://",
        "the variable VLLM_PORT holds an address: Kubernetes sets it for a Service called vllm, or somebody set it to a URL",
        "call the Service otherwise, or set enableServiceLinks: false in the pod",
        "vLLM, environment variables",
        "ValueError: VLLM_PORT 'tcp://10.0.0.1:8000' appears to be a URI. This may be caused by a Kubernetes service discovery issue",
    ),
    Hint(
        "log-level",
        r"^ValueError: Unknown level: '",
        "Python's logging does not know the level that was asked for",
        "set env VLLM_LOGGING_LEVEL (or log_level in engine_args) to DEBUG, INFO, WARNING or ERROR",
        "Python, logging; vLLM 0.25.1",
        "ValueError: Unknown level: 'CHATTY'",
    ),
    Hint(
        "eagle-unsupported",
        r"Model architectures \['Eagle3?[A-Z]",
        "the engine has no EAGLE head for this family of models, or the draft model is none"
        " (vLLM writes Eagle or Eagle3 before the class that its config.json names)",
        "use a draft model that was trained as EAGLE head of this very model, a release that names that class, or another method in speculative_config",
        "vLLM 0.25.1",
        "ValueError: Model architectures ['EagleAcmeForCausalLM'] are not supported for now. Supported architectures: dict_keys(['X'])",
    ),
    Hint(
        "allocator-config",
        r"CUDA allocator config|in ConfigTokenizer|CachingAllocator option|max_split_size_mb[^\n]{0,60}(?:too small|must be)",
        "torch does not take what PYTORCH_ALLOC_CONF (PYTORCH_CUDA_ALLOC_CONF) says",
        "correct that variable in the row's env (expandable_segments:True is what most need), or leave it out",
        "torch 2.11",
        "ValueError: Unrecognized key 'max_split_size' in CUDA allocator config.",
    ),
    Hint(
        "torch-logs",
        r"Invalid log settings: ",
        "torch does not take what TORCH_LOGS says",
        "correct env TORCH_LOGS, or leave it out",
        "torch 2.11",
        "ValueError: Invalid log settings: everything, must be a comma separated list of fully qualified module names.",
    ),
    Hint(
        "python-variable",
        r"Fatal Python error: \w{1,60}: PYTHON[A-Z]{2,30} must",
        "Python itself does not take the value of a variable of its own, which the line names",
        "correct that variable in the row's env, or leave it out",
        "CPython, initconfig.c",
        'Fatal Python error: config_init_hash_seed: PYTHONHASHSEED must be "random" or an integer in range [0; 4294967295]',
    ),
    Hint(
        "launcher-variables",
        r"^KeyError: '(?:RANK|LOCAL_RANK|WORLD_SIZE|MASTER_ADDR|MASTER_PORT)'",
        "what starts the processes was to give each its rank, and did not: distributed_executor_backend external_launcher wants torchrun, or env of the"
        " same kind",
        "leave distributed_executor_backend out of engine_args: the engine then starts its processes itself",
        "vLLM 0.25.1",
        "KeyError: 'RANK'",
    ),
    Hint(
        "logging-config",
        r"Could not load logging config",
        "the file of VLLM_LOGGING_CONFIG_PATH is not there, or is no JSON",
        "correct that variable in the row's env (in a container a path that `mounts` bring), or leave it out",
        "vLLM 0.25.1, logger.py",
        "RuntimeError: Could not load logging config. File does not exist: /etc/acme/log.json",
    ),
    Hint(
        "layer-name-twice",
        r"Duplicate layer name: ",
        "two models in one process call their layers by the same names: the draft model of speculative_config is an ordinary model, or"
        " this release can't"
        " hold the two",
        "use a draft that was trained as head of this model (an ordinary model needs another method), or start without speculative_config",
        "vLLM 0.25.1, a model as its own medusa head",
        "ValueError: Duplicate layer name: model.layers.0.self_attn.attn",
        sure=False,
    ),
    Hint(
        "environment-value",
        r"[Ii]nvalid (?:value|choice)[^\n]{0,80}VLLM_\w{1,60}|VLLM_(?!ALLOW_)\w{1,60}[^\n]{0,80}(?:must be|invalid value|is not (?:a )?valid|no longer)"
        r"|[Ii]nvalid value '[^']{0,60}' for [A-Z_]{4,60}\b",
        "a variable of the row's env has a value that the engine does not know",
        "correct it; the message names the variable or the value",
        "vLLM, envs.py",
        "ValueError: Invalid value 'FLASH_X' for VLLM_ATTENTION_BACKEND. Valid options: ['FLASH_ATTN']",
    ),
    Hint(
        "cachetools-version",
        r"object has no attribute '_LRUCache__\w{1,40}'",
        "vLLM uses the inside of the package cachetools, and the one that is installed is of another release",
        "install the cachetools that this vLLM was built with (below 6 where the name ends in __update), or use an image as it was"
        " built, or a newer engine",
        "vllm-project/vllm#16569",
        "AttributeError: 'AcmeLRUCache' object has no attribute '_LRUCache__update'",
    ),
    Hint(
        "attention-layer-unknown",
        r"KeyError: '[\w.]{1,120}\.(?:self_attn|attn|attention|mixer|linear_attn)(?:\.(?:attn|mla_attn|indexer\.k_cache))?'",
        "the engine looks for an attention layer that this rank does not have: a fault of this release with this model in a pipeline, in speculative"
        " decoding or with layers that share a cache",
        "set pipeline_parallel_size: 1 (and raise tensor_parallel_size), leave speculative_config out, or use another release",
        "vllm-project/vllm#37974",
        "KeyError: 'language_model.model.layers.30.self_attn.attn'",
        sure=False,
    ),
    Hint(
        "low-port",
        r"attempting to bind on address \([^)\n]{1,60}, (?:\d{1,3}|10[01]\d|102[0-3])\): (?i:permission denied)",
        "the engine may not listen on a port below 1024: only root may, or who was given that right (CAP_NET_BIND_SERVICE)",
        "give the service a port above 1023, and put what listens on 80 or 443 (a proxy) before it",
        "Python, asyncio",
        "[Errno 13] error while attempting to bind on address ('0.0.0.0', 443): permission denied",
    ),
    Hint(
        "draft-vocabulary",
        r"vocab_sizes\[0\] == vocab_size|[Tt]arget and draft model should have the same vocabulary size"
        r"",
        "the draft model and the target model have vocabularies of different sizes",
        "use a draft model of the same family, made for this model (config.json: vocab_size of both), or take speculative_config out",
        "vllm-project/vllm#5203",
        "AssertionError: assert all(vocab_sizes[0] == vocab_size for vocab_size in vocab_sizes)",
    ),
    Hint(
        "no-speculation-here",
        r"^AssertionError: spec decode is not supported",
        "speculative decoding is asked for on a platform for which this release does not have it (CPUs)",
        "take speculative_config out of engine_args, or serve on a GPU",
        "vLLM 0.12.0",
        "AssertionError: spec decode is not supported.",
    ),
    Hint(
        "chunked-prefill-required",
        r"[Cc]hunked prefill is required",
        "the model, with prefix caching or another option, needs chunked prefill, which engine_args switch off",
        "take enable_chunked_prefill: false out of engine_args, or set enable_prefix_caching: false",
        "vllm-project/vllm#51098",
        "ValueError: Chunked prefill is required for acme mode 'align'",
    ),
)
