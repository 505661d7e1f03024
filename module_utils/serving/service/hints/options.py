"""Failure hints: options of vLLM that it does not know, or whose values do not fit the model or the memory."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

HINTS = (
    Hint(
        "layer-partition",
        r"Invalid partition string|VLLM_PP_LAYER_PARTITION|sum\(partitions?\)=|partitions? (?:does|do) not match pp_size",
        "the layers that VLLM_PP_LAYER_PARTITION gives to each stage are not written as numbers with commas, or don't add up to the model's"
        " layers and stages",
        "correct it in the row's env (for 28 layers in two stages 14,14), or leave it out",
        "vLLM, distributed/utils.py",
        "ValueError: Invalid partition string: a,b",
        sure=False,
    ),
    Hint(
        "bitsandbytes-halves",
        r"BitsAndBytes load format[^\n]{0,60} only support",
        "the load format bitsandbytes (or a QLoRA adapter) is asked for without the quantization bitsandbytes, or with another one, and this"
        " release takes only the pair",
        "set both load_format and quantization to bitsandbytes in engine_args, or leave both out",
        "vLLM 0.6, engine/arg_utils.py; runpod-workers/worker-vllm#99",
        "ValueError: BitsAndBytes load format and QLoRA adapter only support 'bitsandbytes' quantization, but got None",
    ),
    Hint(
        "gguf-no-file",
        r"^ValueError: /\S{1,300} is not a file\.$",
        "load_format (or quantization) is gguf, which takes one .gguf file, and the model is a folder",
        "leave load_format out for a folder of safetensors; for GGUF let the row's model be the path of one .gguf file, with engine_args.tokenizer",
        "vLLM 0.9.2",
        "ValueError: /srv/models/acme is not a file.",
    ),
    # Options.
    Hint(
        "parser-token",
        r"^KeyError: '(?:<[\w/|]{2,30}>|\[\w{2,30}\])'|think_(?:end|start)_token|parser could not locate [^\n]{0,60}tokens? in the tokenizer",
        "the tool or reasoning parser looks for a token that this model's tokenizer does not have: it is the parser of other models",
        "correct tool_call_parser and reasoning_parser in engine_args to the model's own (its page names them), or leave them out",
        "vllm-project/vllm#8912",
        "KeyError: '<acme_call>'",
        sure=False,
    ),
    Hint(
        "command-twice",
        r"error: unrecognized arguments: (?:(?:vllm )?serve|vllm|python3?|bash|/bin/\w{2,6}|sh)(?: |$)",
        "the image starts the server by itself, and what was given as its arguments begins with a command once more",
        "give the model and its options only, or another entrypoint",
        "vllm-project/vllm#22072",
        "api_server.py: error: unrecognized arguments: serve acme/model --dtype auto",
    ),
    Hint(
        "argument-left-over",
        r"error: unrecognized arguments: (?!-)\S",
        "an argument that is no option was left over: the model or a command was given once more where the image starts the server by itself, or a"
        " value stands behind an option that takes none or too few",
        "give the model once and the options only; no value behind a switch (--enforce-eager); quote a value that has blanks",
        "vllm-project/vllm#27389",
        "api_server.py: error: unrecognized arguments: /models/acme",
        sure=False,
    ),
    Hint(
        "unknown-option",
        r"Unknown engine argument: "
        r"|(?:^|vllm|sglang|server|serve|launch\S{0,20}|\.py|start)(?: \w{1,20})?: error: (?:unrecognized arguments: -|argument|the following"
        r" arguments are required)|you should provide the model as a positional argument|unexpected keyword argument .{0,60}EngineArgs",
        "the engine does not know an option of the service's row or its value, or lacks one that it needs",
        "correct engine_args: the message names the option; if the model's page asks for it, use the release of the engine that the page names",
        "vLLM 0.32.0",
        "vllm serve: error: unrecognized arguments: --no-such-option 1",
    ),
    Hint(
        "port-number",
        r"bind\(\): port must be 0-65535",
        "a port that the row sets is no number from 1 to 65535",
        "correct `port` of the row (or another port that engine_args or env name)",
        "Python, socket",
        "OverflowError: bind(): port must be 0-65535.",
    ),
    Hint(
        "load-format",
        r"[Ll]oad format [`'\"]?\w{1,40}[`'\"]? is not (?:supported|available)",
        "this release does not know the load_format of the row: its name is another, the release has dropped it, or it comes as a package of its own",
        "leave load_format out of engine_args (auto), or name one of `vllm serve --help=load-format`; for GGUF see the release's notes",
        "vLLM 0.25.1, model_loader",
        "ValueError: Load format `acme` is not supported",
    ),
    Hint(
        "tokens-of-drafts",
        r"max_num_scheduled_tokens is set to -?\d{1,9}",
        "the tokens that speculative decoding drafts for max_num_seqs requests take all of max_num_batched_tokens",
        "raise max_num_batched_tokens, or lower max_num_seqs or num_speculative_tokens",
        "vllm-project/vllm#50708",
        "ValueError: max_num_scheduled_tokens is set to -1792 based on the speculative decoding settings",
    ),
    Hint(
        "context-too-long",
        r"max_model_len.{0,200}(?:greater than|larger than) the (?:derived|maximum)|User-specified max_model_len",
        "max_model_len is larger than the model allows",
        "lower engine_args.max_model_len to the model's max_position_embeddings",
        "vLLM, config/model.py",
        "ValueError: User-specified max_model_len (65536) is greater than the derived max_model_len (max_position_embeddings=32768)",
    ),
    Hint(
        "kv-cache-too-small",
        r"larger than the available KV cache memory|No available memory for the cache blocks|maximum number of tokens that can be stored in KV cache",
        "the KV cache is too small for max_model_len, or no memory is left for it",
        "raise kv_cache_memory_bytes (or gpu_memory_utilization), on a CPU env VLLM_CPU_KVCACHE_SPACE (in GiB), or lower max_model_len; nvidia-smi or"
        " npu-smi info shows what else holds the memory",
        "vLLM, v1/core/kv_cache_utils.py",
        "ValueError: To serve at least one request, 4.0 GiB KV cache is needed, which is larger than the available KV cache memory (1.0 GiB).",
    ),
    Hint(
        "no-kv-cache-left",
        r"Available KV cache memory: -",
        "no memory is left for the KV cache",
        "lower max_model_len (a 310P's mask takes its square), max_num_seqs or capture sizes, raise gpu_memory_utilization or tensor_parallel_size",
        "vllm-project/vllm-ascend#1987",
        "INFO 04-08 18:07:20 [gpu_worker.py:298] Available KV cache memory: -0.87 GiB",
        passing=True,
    ),
    Hint(
        "batched-tokens-too-few",
        r"max_num_batched_tokens \(\d{1,9}\) (?:is smaller than|must be greater than or equal to)",
        "max_num_batched_tokens is too small for max_model_len or max_num_seqs",
        "raise engine_args.max_num_batched_tokens, or lower the other one",
        "vLLM, config/scheduler.py",
        "Value error, max_num_batched_tokens (2048) is smaller than max_model_len (32768).",
    ),
    Hint(
        "heads-not-divisible",
        r"attention heads \(\d{1,5}\) must be divisible by tensor parallel size|Total number of attention heads"
        r"|num_heads.{0,60}divisible by.{0,40}(?:tensor|tp)|AssertionError: [^\n]{0,40}heads[^\n]{0,20} % ?(?:self\.)?(?:\w{0,12}tp|tensor|world)",
        "tensor_parallel_size does not divide the model's attention heads",
        "set another tensor_parallel_size (1, 2, 4 or 8 for most models)",
        "vLLM, config/model.py",
        "ValueError: Total number of attention heads (32) must be divisible by tensor parallel size (3).",
    ),
    Hint(
        "kernel-size",
        r"Check failed:[^\n]{0,80}\w{0,20}(?:intermediate|hidden|inter|moe)\w{0,12} % \d{1,4} == 0",
        "a kernel takes only sizes that are multiples of a number, and this model's layers, cut by tensor_parallel_size, are of another",
        "lower tensor_parallel_size (or set enable_expert_parallel for a model of experts), or choose another moe_backend or quantisation",
        "EuroEval/EuroEval#2079; FlashInfer",
        "RuntimeError: Check failed: args->intermediate_size % 128 == 0 (64 vs. 0)",
    ),
    Hint(
        "size-not-divisible",
        r"is not divisible by (?:tensor|tp_size)|AssertionError: \d{1,7} is not divisible by \d{1,5}"
        r"|output_size % (?:self\.)?tp_size == 0",
        "a size of this model (vocabulary, intermediate size, heads of its vision part) can't be divided as tensor_parallel_size asks",
        "lower tensor_parallel_size to one that divides it, or raise pipeline_parallel_size instead",
        "vLLM, distributed/utils.py; vllm-project/vllm#5675",
        "AssertionError: 151936 is not divisible by 5",
    ),
    Hint(
        "quantised-size",
        r"is not divisible by (?:weight quantization block|min_thread)|(?:in|out)put size is not aligned with the quantized weight shape"
        r"|part_size_n % scales\.nelement"
        r"|size_[kn] must (?:be )?divisible by BLOCK_SIZE_[KN]"
        r"|\bsize_[kn] = \d{1,9} is not divisible by tile_",
        "a size of the quantised weights, or the part of it that a rank gets, is no multiple of what the quantisation or its kernel works in",
        "lower tensor_parallel_size (for experts also enable_expert_parallel: true); where it is 1 already, set engine_args.quantization to the method"
        " without _marlin (awq, gptq), or use another quantisation of the model (one that leaves a small layer out)",
        "vllm-project/vllm#5675, #9913, #17604, #33970",
        "ValueError: Weight input_size_per_partition = 1000 is not divisible by min_thread_k = 128. Consider reducing tensor_parallel_size.",
    ),
    Hint(
        "no-device-of-many",
        r"must be less than or equal to the number of visible devices \(0\)",
        "the engine sees no GPU or NPU at all: none was given to it, the driver does not work, or a variable (..._VISIBLE_DEVICES) hides them",
        "nvidia-smi or npu-smi info must work where the engine runs; compare `devices` and device_access of the row, and remove"
        " ..._VISIBLE_DEVICES from its"
        " env",
        "vllm-project/vllm-ascend#14628",
        "AssertionError: local_world_size (8) must be less than or equal to the number of visible devices (0).",
    ),
    Hint(
        "world-too-large",
        r"local_world_size (?:\(\d{1,5}\) )?must be less than or equal(?! to the number of visible devices \(0\))"
        r"|World size \(\d{1,5}\) is larger than the number of available GPUs"
        r"|number of required [GN]PUs exceeds|[Tt]ensor parallel size.{0,60}(?:exceeds|larger than|greater than).{0,40}(?:GPU|NPU|device|card)"
        r"|No available node types can fulfill[^\n]{0,40}\{(?![^}\n]{0,60}'node:)[^}\n]{0,60}[GN]PU'"
        r"|world_size \(\d{1,5}\) is less than than max local gpu count",
        "the row asks for more devices than the engine sees; with Ray also: a host has not joined, or its devices are taken by an earlier run",
        "tensor, pipeline and data parallel sizes multiplied must not exceed the number of `devices` (of all hosts with Ray: compare ray status,"
        " which must list each host with free GPUs); nvidia-smi -L must show all of them",
        "vLLM, config/parallel.py",
        "ValueError: World size (8) is larger than the number of available GPUs (2) in this node.",
    ),
    Hint(
        "no-pipeline",
        r"Pipeline parallelism is not supported for this model|has no attribute 'make_empty_intermediate_tensors"
        r"|'PPMissingLayer' object has no attribute",
        "the engine can't split this model into a pipeline",
        "set pipeline_parallel_size: 1 and raise tensor_parallel_size",
        "vLLM, config/model.py",
        "NotImplementedError: Pipeline parallelism is not supported for this model. Supported models implement the `SupportsPP` interface.",
    ),
    Hint(
        "lora-rank",
        r"LoRA rank \d{1,5} is greater than max_lora_rank",
        "an adapter's rank is larger than max_lora_rank",
        "raise engine_args.max_lora_rank to the adapter's rank",
        "vLLM, lora/peft_helper.py",
        "ValueError: LoRA rank 64 is greater than max_lora_rank 16.",
    ),
    Hint(
        "unknown-parser",
        r"invalid (?:tool call|reasoning) parser: ([\w.-]{1,60})|[Rr]easoning parser:? '?([\w.-]{1,60})'? (?:not found|is not)",
        "this version of vLLM does not know that parser",
        "correct tool_call_parser or reasoning_parser in engine_args: the message lists what there is; if the model's page asks for it,"
        " use the release of the engine that the page names; a parser of one's own needs tool_parser_plugin, reasoning_parser_plugin",
        "vLLM, entrypoints/openai/api_server.py",
        "KeyError: 'invalid tool call parser: qwen9 (chose from { hermes,llama3_json })'",
    ),
    Hint(
        "dtype-and-quantisation",
        r"torch\.\w{1,10} is not supported for quantization method",
        "this quantisation can't work in that dtype",
        "set engine_args.dtype to one that the message lists, most often float16; where the model (gemma3) or the engine (old ones on CPUs)"
        " refuses it, another quantisation or a newer engine",
        "vLLM, config/vllm.py",
        "ValueError: torch.bfloat16 is not supported for quantization method gptq. Supported dtypes: [torch.float16]",
    ),
    Hint(
        "quantisation-differs",
        r"Quantization method specified in the model config .{0,80}does not match",
        "engine_args.quantization names another method than the model's config.json",
        "remove engine_args.quantization: the engine reads it from the model",
        "vLLM, config/model.py",
        "ValueError: Quantization method specified in the model config (awq) does not match the quantization method specified in the `quantization`"
        " argument (gptq).",
    ),
    Hint(
        "quantisation-unknown",
        r"Unknown quantization method|Unknown quantization type, got|Invalid quantization method",
        "the engine does not know the model's quantisation",
        "use a newer engine, or a model in a format that it knows",
        "vLLM, config/model.py; transformers",
        "ValueError: Unknown quantization method: mxfp9. Must be one of ['awq', 'fp8'].",
    ),
    Hint(
        "attention-backend",
        r"Invalid attention backend|[Ss]elected backend .{0,80}is not valid"
        r"|does not support (?:_Backend\.)?[A-Z_]{4,30} backend",
        "the attention backend that was chosen does not serve this model on this accelerator",
        "remove VLLM_ATTENTION_BACKEND from the row's env (and attention options from engine_args): vLLM then chooses one",
        "vLLM, platforms/cuda.py",
        "ValueError: Selected backend AttentionBackendEnum.FLASHINFER is not valid for this configuration.",
    ),
    Hint(
        "pipeline-needs-ray",
        r"[Pp]ipeline parallelism is (?:not supported yet with multiprocessing|only supported (?:through|with))",
        "this release makes a pipeline only with Ray, or only with some engines",
        "set distributed_executor_backend: ray in engine_args, or pipeline_parallel_size: 1 with a larger tensor_parallel_size; newer releases of"
        " vLLM do it without Ray",
        "vllm-project/vllm#6601",
        "NotImplementedError: Pipeline parallelism is not supported yet with multiprocessing.",
    ),
    Hint(
        "tool-choice-off",
        r"tool choice requires --enable-auto-tool-choice",
        "a request asks for tools, and the server was started without them",
        "set enable_auto_tool_choice: true and tool_call_parser (the model's page names it) in engine_args",
        "vLLM, tool calling",
        '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set',
    ),
    Hint(
        "too-many-media",
        r"`?--limit-mm-per-prompt`?, but passed \d{1,4} \w{2,10} items|At most \d{1,4} \w{2,10}\(s\) may be provided in one",
        "a request brings more images, sounds or videos than the server takes in one",
        "raise limit_mm_per_prompt in engine_args ({image: 4}), which takes more memory, or send fewer",
        "xorbitsai/inference#3054",
        "ValueError: You set image=2 (or defaulted to 1) in `--limit-mm-per-prompt`, but passed 3 image items in the same prompt.",
    ),
)
