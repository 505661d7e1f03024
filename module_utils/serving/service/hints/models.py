"""Failure hints: a model's files and what reads them, hubs, LoRA adapters, Ray, and requests that don't fit."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

HINTS = (
    Hint(
        "weights-not-sharded",
        r"only pre-sharded checkpoints are currently supported",
        "engine_args.load_format is sharded_state, and the model's folder has no part for each rank (model-rank-N-part-*): the weights are of the usual"
        " kind, or were cut for another tensor_parallel_size",
        "remove load_format from engine_args; weights that were cut beforehand need the tensor_parallel_size for which they were cut",
        "vllm-project/vllm-ascend#14564",
        "ValueError: Could not find checkpoint files '/srv/acme/model-rank-0-part-*.safetensors', only pre-sharded checkpoints are"
        " currently supported!",
    ),
    Hint(
        "weights-of-npu-quantisation",
        r"KeyError: ['\"][\w.]{1,160}\.(?:deq_scale|quant_bias|input_offset|weight_offset)['\"]",
        "the weights, quantised for NPUs (ModelSlim), name what the engine's layers don't have: they were cut beforehand (w8a8sc), which"
        " load_format must"
        " say, or are of another quantisation or engine than these",
        "for weights whose name says w8a8sc or tpN set load_format: sharded_state and that tensor_parallel_size; keep quantization:"
        " ascend; else take the"
        " weights and release that the model's page names",
        "vllm-project/vllm-ascend#11368",
        "KeyError: 'layers.7.acme.gate_up_proj.deq_scale'",
        sure=False,
    ),
    Hint(
        "torchcodec-library",
        r"Could not load (?:this library: \S{0,200}libtorchcodec|libtorchcodec)|Failed to load library: \S{0,200}libtorchcodec",
        "torchcodec, which reads video and sound, can't load its library: FFmpeg is not installed here, or it is built for another torch",
        "uninstall torchcodec where no video is asked for; else install FFmpeg and the torchcodec that belongs to this torch, or use an image as it was"
        " built",
        "vllm-project/vllm-ascend#16074; torchcodec",
        "OSError: Could not load this library: /srv/acme/torchcodec/libtorchcodec_image.so",
        sure=False,
    ),
    Hint(
        "config-class",
        r"Unrecognized configuration class",
        "transformers has nothing of the kind that is asked for (a tokenizer, a text model) for a model of this configuration: it needs"
        " the model's own code or a newer transformers, or the model is of another kind",
        "set trust_remote_code: true where the model brings code, else use a newer engine, or another runner or task",
        "huggingface/transformers, models/auto",
        "ValueError: Unrecognized configuration class <class 'acme.AcmeConfig'> to build an AutoTokenizer.",
    ),
    Hint(
        "mistral-format",
        r"Failed to load mistral 'params\.json'|Make sure that a Mistral tokenizer is present",
        "the engine was asked for Mistral's own format (tokenizer_mode, config_format, load_format: mistral), and this folder lacks files of it"
        " (params.json, tekken.json)",
        "leave these options out of engine_args for a folder in Hugging Face's format, or fetch the model as Mistral publishes it"
        " (consolidated*.safetensors)",
        "vllm-project/vllm#17132, #17210",
        "ValueError: Failed to load mistral 'params.json' config for model acme/x.",
    ),
    Hint(
        "mistral-tokenizer-file",
        r"^ValueError: No tokenizer file found",
        "Mistral's tokenizer was taken for this folder, and it holds no file of it: tokenizer_mode mistral was asked for, or a"
        " tekken.json that lies anywhere"
        " below the folder made the engine think so",
        "set engine_args.tokenizer_mode: hf, and keep the model's folder to its own files; for Mistral's format fetch tekken.json with the model",
        "vllm-project/vllm#31444; vLLM 0.25.1",
        "ValueError: No tokenizer file found in directory: /models/acme",
    ),
    Hint(
        "mistral-tokenizer",
        r"'Mistral(?:Common)?(?:Tokenizer|Backend)' object has no attribute|MistralTokenizer[^\n]{0,80}(?:not supported|must be)",
        "Mistral's own tokenizer (tokenizer_mode mistral) does not do what this model's class or processor asks of it: the folder is in Hugging"
        " Face's format, or the releases do not fit",
        "leave tokenizer_mode out of engine_args, or give config_format and load_format: mistral too for a folder in Mistral's format; else a newer"
        " engine",
        "vllm-project/vllm#16292, #16681",
        "AttributeError: 'MistralTokenizer' object has no attribute 'acme'",
        sure=False,
    ),
    Hint(
        "config-json",
        r"Unrecognized model|Should have a `?model_type`? key|KeyError: 'model_type'|Invalid repository (?:config|type)"
        r"|No (?:model )?architectures? (?:are )?(?:found|specified)|architectures[^\n]{0,30}(?:is (?:None|empty|missing)|not (?:found|set))",
        "config.json is not one of a model that transformers reads: model_type or architectures are missing, or the folder is another"
        " model's part (an adapter, original weights)",
        "serve the folder with the whole converted model; run deploy.yml --tags fetch",
        "huggingface/transformers, models/auto",
        "ValueError: Unrecognized model in /models/x. Should have a `model_type` key in its config.json.",
    ),
    Hint(
        "config-field-type",
        r"Field '\w{1,60}' with value [^\n]{0,120}doesn't match|Field '\w{1,60}' expected \w{1,20}, got \w{1,20}",
        "a field of the model's config.json (or of hf_overrides) holds another type than transformers takes there: a number in quotes,"
        " or a config.json of"
        " another release",
        "compare that field with the model's page (no quotes round a number), or use the transformers (the engine) that the page names",
        "huggingface_hub, dataclasses.py",
        "TypeError: Field 'sliding_window' with value '4096' doesn't match any type in (<class 'int'>, <class 'NoneType'>).",
    ),
    Hint(
        "reranker-of-a-generator",
        r"(?:Following weights were not initialized from checkpoint: [^\n]{0,40}|KeyError: |no module or parameter named )\W{0,3}score\.weight",
        "the engine builds a classifier (score), and the files have none: they are of a generating model, or of a reranker (Qwen3-Reranker) for which"
        " hf_overrides must say so",
        "write the hf_overrides that the model's page gives for vLLM, or fetch a copy that was made a classifier (seq-cls); for a"
        " generating model leave"
        " runner and convert out",
        "vLLM, examples of rerankers",
        "ValueError: Following weights were not initialized from checkpoint: {'score.weight'}",
    ),
    Hint(
        "mistral-names",
        r"(?:KeyError: |parameter named )'(?:\w{1,20}\.){0,3}(?:layers\.\d{1,3}\.(?:attention\.w[qkvo]|feed_forward\.w[123])|tok_embeddings)\.weight'",
        "files in the publisher's own names for weights (consolidated.safetensors, consolidated.*.pth) are read as if they were Hugging"
        " Face's: both lie in the"
        " folder, or only they do",
        'leave them out of the model (`exclude: ["consolidated*", "original/*"]`), or for Mistral\'s own format set load_format, config_format and'
        " tokenizer_mode: mistral",
        "vllm-project/vllm#4989",
        "KeyError: 'layers.0.attention.wk.weight'",
    ),
    Hint(
        "rope-config",
        r"rope_scaling should have a 'rope_type' key|[`']rope_scaling[`'] must be a dictionary with|[`']rope_scaling[`'].{0,60}(?:type"
        r"|rope_type) ?(?:field"
        r"|key)|rope_(?:scaling|parameters|theta)[^\n]{0,60}(?:missing|unknown|unexpected|KeyError)|KeyError: 'rope_\w{1,20}'"
        r"|has no attribute 'rope_\w{1,20}'"
        r"|AssertionError: [^\n]{0,60}\bin rope_\w{4,12}\b|Unknown RoPE scaling type|Missing required keys in `rope_",
        "config.json writes the model's rope settings (rope_scaling, rope_parameters) in another way than this engine and its transformers read"
        " them: they are of different times",
        "use the newest engine (with the transformers that it brings); keep the transformers of an image as it is",
        "vLLM, transformers_utils/config.py; huggingface/transformers 5",
        "ValueError: rope_scaling should have a 'rope_type' key",
        sure=False,
    ),
    Hint(
        "pooling-task",
        r"^KeyError: '(?:embed|classify|score|token_embed|token_classify|plugin)(?:&\w{1,20})?'",
        "the model's pooling task is not one that this endpoint or release serves",
        "ask the endpoint of that task (/v1/embeddings, /classify, /score), name one task in pooler_config, or use a newer engine",
        "vllm-project/vllm#51801",
        "KeyError: 'embed&token_classify'",
        sure=False,
    ),
    Hint(
        "tokenizer-model-damaged",
        r"Internal: [^\n]{0,80}sentencepiece_processor\.cc",
        "the tokenizer's file (tokenizer.model) can't be parsed: it was cut, is a Git LFS pointer, or is none of SentencePiece's",
        "ls -l of it in the model's folder (a pointer has about 130 bytes); remove it and run deploy.yml --tags fetch",
        "turboderp/exllama#176, #242; google/sentencepiece",
        "RuntimeError: Internal: src/sentencepiece_processor.cc(1101) [model_proto->ParseFromArray(serialized.data(), serialized.size())]",
    ),
    Hint(
        "tokenizer-file-missing",
        r"^TypeError: not a string$|SentencePieceProcessor[^\n]{0,60}not a string|Unable to load vocabulary from file",
        "the tokenizer that was asked for has no file in the model's folder (tokenizer.model): the folder is not whole, a Mistral model has only its own"
        " (tekken.json), or config.json names another class than the model's",
        "set engine_args.tokenizer_mode: mistral (with config_format and load_format: mistral) for a Mistral model; else run deploy.yml --tags fetch,"
        " compare the folder with the model's page, and leave tokenizer_mode: slow out of engine_args",
        "google/sentencepiece; huggingface/transformers#29137",
        "TypeError: not a string",
        sure=False,
    ),
    Hint(
        "model-type-unknown",
        r"KeyError: '(?:(?:qwen|llama|glm|chatglm|deepseek|gemma|mistral|mixtral|minimax|kimi|phi|internlm|internvl|baichuan|hunyuan|ernie"
        r"|gpt_oss|granite|nemotron|olmo|exaone)[\w.-]{0,30}|(?:step|seed|cohere|command|yi)[\w.-]{0,20}\d[\w.-]{0,10})'",
        "a table of the engine or its transformers does not know this type of model: they are older than the model, or its config.json is not one"
        " of theirs",
        "use a newer engine (image)",
        "huggingface/transformers, CONFIG_MAPPING",
        "KeyError: 'qwen9_moe'",
        sure=False,
    ),
    Hint(
        "processor",
        r"Failed to apply \w{1,60}Processor|Can't load (?:image|feature|video)[^\n]{0,20}processor|preprocessor_config\.json"
        r"|[Ii]ncorrect (?:image|video) processor|(?:image|video) (?:token|placeholder)s?[^\n]{0,60}(?:mismatch|not match|Expected)"
        r"|multi-?modal tokens to \d{1,9} placeholders|Unrecognized (?:image|feature) processor|prompt updates corresponding to"
        r"|Invalid type of HuggingFace processor|Received a \w{2,60} for argument \w{0,20}processor"
        r"|stack expects each tensor to be equal size|^ValueError: \w{1,40} dim\[\d\] expected [^\n]{1,40}, got",
        "the model's processor for images or sound does not work with this engine, or a file of it is missing, or a request's items"
        " don't fit it or each other",
        "fetch all files of the model (preprocessor_config.json); use the transformers that this vLLM names, or set limit_mm_per_prompt to"
        " 0 for text only",
        "vLLM, multimodal",
        "ValueError: Failed to apply Qwen9VLProcessor on data={'text': '', 'images': []}",
        sure=False,
    ),
    Hint(
        "prompt-too-long",
        r"(?:decoder )?prompt \(length \d{1,9}\) is longer than the maximum model length|maximum context length is \d{1,9} tokens"
        r"|multi-?modal[^\n]{0,80}(?:exceeds|more than)[^\n]{0,60}(?:max_model_len|max_num_batched_tokens|max_tokens)",
        "a request (or the largest picture) is longer than max_model_len: its prompt, or prompt and max_tokens together; that request alone is"
        " refused",
        "lower max_tokens or the prompt in the client (the message tells both numbers); or raise engine_args.max_model_len as the model and memory"
        " allow, or lower limit_mm_per_prompt",
        "vLLM, v1/engine/processor.py",
        "ValueError: The decoder prompt (length 9000) is longer than the maximum model length of 8192.",
    ),
    Hint(
        "weights-missing",
        r"Following weights were not initialized from checkpoint",
        "the files hold no weights for parts of the model that the engine builds: shards are missing, a fine-tuned copy has no MTP head, or this"
        " release builds the model in another way",
        "run deploy.yml --tags fetch, and compare the number of shards with the model's page; if they are whole, leave speculative_config (MTP) out,"
        " or try a newer engine",
        "vllm-project/vllm#12860, #44788",
        "ValueError: Following weights were not initialized from checkpoint: {'model.layers.47.mlp.up_proj.weight'}",
        sure=False,
    ),
    Hint(
        "model-name-unknown",
        r": (?!/)\S{1,200} is not a local folder and is not a valid model identifier",
        "neither is there a folder of that name here, nor does the hub show a model of it: the name is wrong or another hub's (ModelScope), the"
        " repository is private, or a folder was meant that the engine does not see",
        "check the row's model; run deploy.yml --tags fetch,serve where a folder was meant; set a valid token where the repository is private; for"
        ' ModelScope\'s names env VLLM_USE_MODELSCOPE: "True" (SGLANG_USE_MODELSCOPE)',
        "huggingface/transformers, utils/hub.py",
        "OSError: acme/no-such-model is not a local folder and is not a valid model identifier listed on 'https://huggingface.co/models'",
    ),
    Hint(
        "architecture-not-imported",
        r"Model architectures \['(\w{1,80})'\] are not supported for now\. Supported architectures: [^\n]{0,3000}'\1'",
        "the engine knows this model's class and could not import it: its compiled part (vllm._C) or a package of the environment is missing or of"
        " another version",
        "look for the import error above it; use an image as it was built, or install vLLM from a wheel in place of its sources",
        "vllm-project/vllm#9624",
        "ValueError: Model architectures ['AcmeForCausalLM'] are not supported for now. Supported architectures: dict_keys(['X', 'AcmeForCausalLM'])",
    ),
    Hint(
        "proxy",
        r"ProxyError|Tunnel connection failed: \d{3}|Cannot connect to proxy|407 (?:Proxy Authentication Required|from proxy)"
        r"|Unable to connect to proxy",
        "the proxy of the row's env or the host can't be reached, or does not let this connection through",
        "correct http_proxy and https_proxy (407: it wants http://USER:PASSWORD@HOST:PORT; 403: it refuses this host name, ask who runs"
        " it, or fetch on the controller), name hosts of the cluster in no_proxy",
        "requests, urllib3",
        "requests.exceptions.ProxyError: Unable to connect to proxy (OSError('Tunnel connection failed: 403 Forbidden'))",
    ),
    Hint(
        "lora-folder",
        r"No adapter found for|No such file or directory: '[^']{1,300}adapter_config\.json'|adapter_config\.json[^\n]{0,80}(?:not found"
        r"|does not exist|No such file)|Can't find 'adapter_config\.json'"
        r"|(?:LoRA|lora|adapter) (?:path|folder|directory)[^\n]{0,120}(?:not exist|not found)",
        "the folder of a LoRA adapter is not where the engine looks, or it holds no adapter_config.json",
        "correct the path in lora_modules; in a container check the row's `mounts`, and that the folder is the adapter's own, not its parent",
        "vllm-project/vllm, lora/worker_manager.py",
        "ValueError: Loading lora sql failed: No adapter found for /models/sql-adapter/checkpoint-9",
    ),
    Hint(
        "lora-as-model",
        r"KeyError: 'base_model\.model\.",
        "the folder is a LoRA adapter's, and it was served as if it were the model",
        "serve the base model and give the adapter in engine_args.lora_modules with enable_lora: true, or merge the two",
        "unslothai/unsloth#960",
        "KeyError: 'base_model.model.model.layers.0.mlp.up_proj.lora_A.weight'",
    ),
    Hint(
        "lora-assertion",
        r"AssertionError: [^\n]{0,160}\(lora/",
        "an adapter can't be used: its weights have names, modules or shapes that vLLM does not expect of one",
        "serve without lora_modules to be sure; make the adapter with peft for this base model, without modules_to_save, or merge it into the model",
        "vllm-project/vllm#4682",
        'Traceback (most recent call last):\n  File "/usr/lib/vllm/lora/utils.py", line 90, in parse\n    assert parts[0] == "acme"\nAssertionError',
        sure=False,
    ),
    Hint(
        "lora-unsupported",
        r"unsupported LoRA weight|expected target modules in|[Uu]nsupported LoRA|only supports modules_to_save",
        "the adapter has weights that vLLM can't apply to this model's class",
        "make the adapter for the modules that the message names (no lm_head, embeddings or modules_to_save), or merge it into the model",
        "vllm-project/vllm#9280",
        "ValueError: base_model.model.lm_head.weight is unsupported LoRA weight",
        sure=False,
    ),
    Hint(
        "lora-load",
        r"[Ll]oading lora [^\n]{1,200} failed|Call to add_lora method failed",
        "an adapter could not be loaded",
        "the rest of the message, or the error above it, says why; serve without lora_modules to be sure that the model itself works",
        "vllm-project/vllm, lora/worker_manager.py",
        "RuntimeError: Loading lora /models/x-adapter failed",
        general=True,
    ),
    Hint(
        "swap-space",
        r"lack of CPU swap space|[Tt]oo large swap space|swap_space[^\n]{0,60}(?:too|exceed)",
        "the engine's swap space in the host's memory is used up, or larger than that memory",
        "raise (or lower) engine_args.swap_space as the message says, or lower max_num_seqs",
        "vllm-project/vllm#787",
        "RuntimeError: Aborted due to the lack of CPU swap space. Please increase the swap space to avoid this error.",
    ),
    Hint(
        "weights-no-mmap",
        r"No such device \(os error 19\)|\[Errno 19\] No such device|(?:mmap|map)[^\n]{0,60}(?:Operation not supported|No such device"
        r"|os error 95)",
        "the weights lie on a file system that can't map files into memory (some FUSE, Ceph or object mounts), or the path is a folder",
        "put the weights on a local disk, or mount that file system with mmap (direct_io off)",
        "safetensors/safetensors#195, #545",
        "OSError: No such device (os error 19)",
        sure=False,
    ),
    Hint(
        "direct-storage",
        r"cuFile\w{3,40}|gds_device_buffer|nvidia-fs[^\n]{0,60}(?:not|fail)",
        "the direct way from disk to GPU (GPUDirect Storage) does not work here",
        "remove engine_args.load_format: fastsafetensors (auto loads through the host's memory), or disable GDS in its options",
        "foundation-model-stack/fastsafetensors#28",
        "gds_device_buffer.cufile_register: cuFileBufRegister returned an error = 5016",
        sure=False,
    ),
    Hint(
        "tokenizer-package",
        r"requires? the (?:SentencePiece|tiktoken|protobuf|sentencepiece|blobfile|mistral_common|mistral-common)|(?:sentencepiece"
        r"|tiktoken|blobfile|mistral_common)[^\n]{0,60}(?:not (?:installed|found)|No module|install)|No module named '?(?:sentencepiece"
        r"|tiktoken|blobfile|mistral_common)|Error in loading tiktoken|(?:HarmonyError|openai_harmony|Harmony encoding)[^\n]{0,80}vocab",
        "the model's tokenizer needs a package or a vocabulary file that is not there; where it says sentencepiece or tiktoken, also: tokenizer.json"
        " is missing or damaged, or transformers is older than it",
        "install the package that the message names; is it there, run deploy.yml --tags fetch (tokenizer.json, tokenizer.model), then a newer"
        " engine; for gpt-oss fetch the vocabulary before and set TIKTOKEN_ENCODINGS_BASE in env",
        "huggingface/transformers; openai/harmony",
        "openai_harmony.HarmonyError: error downloading or loading vocab file: failed to download or load vocab file",
    ),
    Hint(
        "chat-template-path",
        r"supplied chat template[^\n]{0,300}(?:path-like|doesn't exist)"
        r"|is not a built-in template name or a valid chat template file path",
        "engine_args.chat_template names a file that is not there: a container sees only what `mounts` bring, images have no examples/ of the"
        " engine's sources, or the path is relative",
        "fetch the template from the sources of this release or the model's page, put it into the model's folder or a folder of `mounts`, and give"
        " engine_args.chat_template its full path",
        "vllm-project/vllm#47600",
        "ValueError: The supplied chat template string (examples/acme.jinja) appears path-like, but doesn't exist! Tried: examples/acme.jinja",
    ),
    Hint(
        "chat-template-content",
        r"can only concatenate str \(not \"list\"\) to str",
        "text was joined with a list: the chat template takes a message's content as plain text, and the request gives it as a list of parts",
        "set engine_args.chat_template_content_format: string, send the content as text, or take a template that knows parts (the model's page)",
        "vllm-project/vllm#16245",
        'TypeError: can only concatenate str (not "list") to str',
        sure=False,
    ),
    Hint(
        "chat-template-broken",
        r"jinja2\.exceptions\.(?:TemplateSyntaxError|TemplateAssertionError|UndefinedError|TemplateError)",
        "the chat template has a fault, or asks for what the request does not give (a role that the model does not know, tools)",
        "take the template of the model's page or of engine_args.chat_template that belongs to this model; see which roles and fields it takes",
        "pallets/jinja",
        "jinja2.exceptions.TemplateSyntaxError: unexpected '}'",
    ),
    Hint(
        "block-size",
        r"ValueError: [Bb]lock[_ ]size must be",
        "the KV cache's block size does not fit the attention backend",
        "leave out block_size of engine_args, or set it to a multiple that the message names",
        "vllm-project/vllm, attention backends",
        "ValueError: Block size must be a multiple of 16.",
    ),
    Hint(
        "flex-attention-blocks",
        r"Q and KV block size must be divisible",
        "FlexAttention's kernel does not take these block sizes on this GPU",
        "choose another attention backend (engine_args.attention_backend), or leave out the option that chose FLEX_ATTENTION",
        "pytorch, flex_attention.py",
        "LoweringException: ValueError: Q and KV block size must be divisible by BLOCK_M and BLOCK_N.",
    ),
    Hint(
        "config-part-unread",
        r"'dict' object has no attribute '(?:model_type|to_dict|hidden_size|num_hidden_layers)'",
        "a part of the model's config.json was left unread: the environment's transformers is of another version than the engine or the model needs",
        "install the transformers that the engine's release names (pip show says which is there), or use an image as it was built",
        "vllm-project/vllm-ascend#4423",
        "AttributeError: 'dict' object has no attribute 'model_type'",
        sure=False,
    ),
    Hint(
        "terminal-asked",
        r"EOFError: EOF when reading a line",
        "the program asked a question on a terminal, which a service has not, most often whether to run the code that the model brings",
        "the line before it in the log is the question: read the model's code and set engine_args.trust_remote_code: true, or answer it by an option",
        "huggingface/transformers, dynamic_module_utils",
        "EOFError: EOF when reading a line",
        sure=False,
    ),
    Hint(
        "image-size-keys",
        r"size must contain 'shortest_edge' and 'longest_edge' keys|[`']?size[`']? (?:must|should) (?:contain|have|be)[^\n]{0,80}(?:shortest_edge"
        r"|height)",
        "the model's preprocessor_config.json gives the size of images in another form than this transformers reads",
        "fetch the model's newest revision, or correct `size` there (shortest_edge and longest_edge, or height and width); else the transformers of"
        " the model's time (4.49), or an image of the engine with it",
        "vllm-project/vllm#15614",
        "ValueError: size must contain 'shortest_edge' and 'longest_edge' keys.",
        sure=False,
    ),
)
