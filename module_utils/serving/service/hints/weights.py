"""Failure hints: weights that do not fit what the engine builds: names, parts, quantisation, sizes."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

HINTS = (
    Hint(
        "weights-of-a-wrapper",
        r"no module or parameter named '(?:base_model|_orig_mod|_fsdp_wrapped_module|_forward_module|module)'",
        "the names of the weights begin with that of the wrapper in which they were trained (PEFT's base_model, torch.compile's _orig_mod, FSDP's, DDP's)",
        "save the model itself: with PEFT merge_and_unload() and save_pretrained(), else unwrap_model() first; an adapter alone belongs in lora_modules",
        "vLLM 0.25.1",
        "ValueError: There is no module or parameter named 'base_model' in AcmeForCausalLM. The available parameters are: {'x'}",
    ),
    Hint(
        "weights-with-adapter",
        r"has no attribute [`'\"]?lora_[AB]\b",
        "the files hold an adapter's tensors (lora_A, lora_B) beside those of the model, and the engine reads them as the model's",
        "merge it (PEFT: merge_and_unload(), then save_pretrained()), or serve the base model and name the adapter in lora_modules",
        "vLLM 0.25.1",
        "AttributeError: QKVParallelLinear has no attribute `lora_A`",
    ),
    Hint(
        "bitsandbytes-weights",
        r"KeyError: '[\w.-]{1,120}\.(?:absmax|nested_absmax|quant_map|nested_quant_map|SCB|quant_state\.\w{1,40})'",
        "the weights are quantised by bitsandbytes, and the engine reads them as if they were not, or has no such form of this model's class",
        "set engine_args.quantization: bitsandbytes and load_format: bitsandbytes; where they are set, a newer engine, or the model unquantised or in another"
        " quantisation",
        "vllm-project/vllm#11010, #11803",
        "KeyError: 'acme.layers.3.acme_proj.weight.absmax'",
    ),
    Hint(
        "weights-not-quantised",
        r"no module or parameter named '[\w.]{1,200}\.weight' in [^\n]{0,600}\.(?:qweight|weight_packed|weight_shape|qzeros)\b",
        "the engine builds quantised layers (qweight, weight_packed), and the files hold plain weights: config.json describes another copy of the model, or"
        " engine_args.quantization does not belong to it",
        "remove quantization_config from config.json and engine_args.quantization, or fetch the quantised weights whole (deploy.yml --tags fetch)",
        "vLLM 0.25.1, a plain model with a quantization_config",
        "ValueError: There is no module or parameter named 'layers.0.mlp.acme.weight' in AcmeModel. The available parameters are: {'mlp.acme.qweight'}",
    ),
    Hint(
        "weights-of-no-class",
        r"no module or parameter named '[^'\n]{1,160}' in Transformers\w{3,60}",
        "this release has no class of its own for the model, and takes the one of transformers, which has no place for a part of the files",
        "use an engine whose list of models names this one (or its page's image); else another model_impl or trust_remote_code: true, where the"
        " model's page asks for it",
        "vllm-project/vllm#28517",
        "ValueError: There is no module or parameter named 'mlp_ACME' in TransformersForCausalLM",
    ),
    Hint(
        "weights-quantised-untold",
        r"(?:KeyError: |no module or parameter named )'[\w.-]{1,160}\.(?:qweight|qzeros|g_idx)'",
        "the files hold weights quantised by AWQ or GPTQ, and the engine builds this layer without: config.json does not say so where the engine"
        " looks (a vision model: text_config), or this release can't do it",
        "where the log says quantization=None set engine_args.quantization: awq (or gptq) and dtype: float16; else run deploy.yml --tags fetch, then"
        " use a newer engine, or a copy of the model in another quantisation",
        "vllm-project/vllm#11122, #43967",
        "KeyError: 'layers.39.mlp.acme_proj.qweight'",
    ),
    Hint(
        "weights-quantised",
        r"(?:KeyError: |no module or parameter named )'[\w.-]{1,200}\.(?:weight_packed|weight_shape|(?:w13_|w2_)?(?:weight|input)_(?:global_)?scale\w{0,10}"
        r"|weight_zero_point)'",
        "the files hold quantised weights, and the engine builds this layer without: config.json has no quantization_config (a copy of another"
        " revision), or it leaves this layer out, or this release does",
        "compare quantization_config in config.json with the model's page; set engine_args.quantization where another file tells it"
        " (hf_quant_config.json: modelopt; on NPUs ascend); then a newer engine, or another quantised copy",
        "vLLM, model_executor/models/utils.py; vllm-project/llm-compressor#959, #2255",
        "ValueError: There is no module or parameter named 'layers.0.mlp.acme.weight_packed' in AcmeForCausalLM. The available parameters are: {'x'}",
    ),
    Hint(
        "weights-multimodal",
        r"no module or parameter named '(?:model\.)?(?:visual|vision_\w{1,30}|multi_modal_projector|mm_projector|connector|audio_\w{1,30}|image_newline"
        r"|mm_whisper_embeddings|mm_streams_embeddings|vpm|apm)\b[^'\n]{0,160}'(?! in \w{1,60}(?:ForConditionalGeneration|ForVision2Seq|VLModel)\b)",
        "the files have a part for pictures or sound, and the engine builds a class without one: `architectures` in config.json names the text model,"
        " or this release has no other",
        "take config.json as it is on the model's page (with its architectures); then a newer engine; for text alone a copy of the text model",
        "vLLM 0.25.1, a vision model with a text model's architectures",
        "ValueError: There is no module or parameter named 'vision_tower' in AcmeForCausalLM. The available parameters are: {'x'}",
    ),
    Hint(
        "weights-vision-names",
        r"KeyError: '(?:model\.|transformer\.)?(?:visual|vision_\w{1,30}|vision|multi_modal_projector|mm_projector|language_model|audio_\w{1,30})"
        r"\.(?![\w.-]{0,120}\.experts\.)[\w.-]{1,160}\.(?:weight|bias)'"
        r"|no module or parameter named '(?:model\.)?(?:visual|vision_\w{1,30}|multi_modal_projector|audio_\w{1,30})\b[^'\n]{0,160}' in \w{1,60}"
        r"(?:ForConditionalGeneration|ForVision2Seq)"
        r"|KeyError: '(?:blocks\.\d{1,3}|merger|patch_embed)\.[\w.-]{1,120}\.(?:weight|bias)'",
        "the files call a weight of a model with pictures or sound otherwise than the engine's class: a newer transformers (since 4.52) or a quantiser wrote"
        " them, or config.json names a class of text alone",
        "use a newer engine; else the weights and the config.json (with its architectures) as the model's page has them, or another quantised copy",
        "verl-project/verl#1710; vllm-project/vllm#27138",
        "KeyError: 'visual.acme_embed.proj.weight'",
        sure=False,
    ),
    Hint(
        "weights-experts-names",
        r"KeyError: '[\w.-]{0,120}\.experts\.(?!\w{0,60}scale)[\w.-]{1,120}'"
        r"|no module or parameter named '[\w.-]{0,120}\.experts\.[\w.-]{1,120}'",
        "the files write the model's experts otherwise than the engine's class reads them: quantised or joined by a tool whose form this release does"
        " not know, or the engine is older than the model",
        "use the copy of the model that its page names for this engine (for gpt-oss the one in mxfp4), another quantisation (bitsandbytes knows few"
        " models with experts), or a newer engine",
        "vllm-project/vllm#40358",
        "KeyError: 'layers.0.mlp.experts.w13_acme'",
        sure=False,
    ),
    Hint(
        "weights-of-draft",
        r"(?:KeyError: |parameter named )'(?:[\w.]{0,60}\.)?(?:midlayer|d2t|t2d|eh_proj|enorm|hnorm|shared_head|mtp|medusa\w{0,10}|fc)(?:\.[\w.-]{1,100})?'",
        "the draft's weights (a head for EAGLE, MTP or Medusa) don't fit the class that the engine builds for it: it was made for another model or"
        " engine, or this release is older or newer than its form",
        "use the draft that the model's or the engine's page names with this release, or a newer engine; without speculative_config the model itself"
        " starts",
        "vllm-project/vllm#26328",
        "KeyError: 'midlayer.mlp.acme_proj.bias'",
    ),
    Hint(
        "weights-of-an-embedding-model",
        r"no module or parameter named 'embed_tokens'",
        "the files are those of an embedding model, whose names lack the first part (model.), and the engine serves it as one that generates, or is"
        " older than the model",
        "set runner: pooling (task: embed in releases before 0.10) in engine_args, or use a newer engine (vllm-ascend)",
        "gpustack/gpustack#2170",
        "ValueError: There is no module or parameter named 'embed_tokens' in AcmeForCausalLM",
        sure=False,
    ),
    Hint(
        "weights-dont-fit",
        r"^IndexError: start out of range|SafetensorError: File does not contain tensor|There is no module or parameter named|size mismatch for [\w.]{1,120}"
        r"|Attempted to load"
        r" weight \("
        r"|KeyError: '[\w.-]{1,120}\.(?:weight|bias|g_idx|q?weight\w{0,20}|qzeros|scales|lora_\w{1,10})'"
        r"|KeyError: '[\w.-]{0,80}(?:layers|blocks|experts|_proj|lm_head|embed\w{0,12})\.[\w.-]{1,120}'|(?:param|param_data|loaded_weight)\.(?:shape"
        r"|size\(\))(?:\[\w{1,20}\])? ?==|Tried to load weights of size",
        "the weights (or the description of their quantisation) don't fit what the engine builds: another model's config.json, layers quantised"
        " otherwise than it says, or an engine of another time",
        "check that config.json and weights are of one revision and that engine_args.quantization is the weights' own (on NPUs W8A8 of"
        " ModelSlim with ascend; not each release takes AWQ or GPTQ there); then try a newer engine, or another copy of the model",
        "vLLM, model_executor/models/utils.py",
        "KeyError: 'layers.0.mlp.gate_up_proj.weight'",
        sure=False,
    ),
    Hint(
        "model-streamer",
        r"to libstreamer due to|Could not create streamer",
        "RunAI's model streamer can't read the weights: its library for S3 does not load or is not installed (zlib, runai-model-streamer[s3]), or"
        " the path or the rights to it are wrong",
        "leave load_format out: the weights that deploy fetched are read from the disk; else install runai-model-streamer[s3] and zlib1g",
        "run-ai/runai-model-streamer#34",
        "RuntimeError: Could not send runai_request to libstreamer due to: b'S3 not supported'",
        sure=False,
    ),
    Hint(
        "model-code-file-missing",
        r"Could not locate the (?:configuration|modeling|tokenization|processing|image_processing)_\w{1,60}\.py",
        "the model's own code (auto_map of config.json) is to be loaded, and that file is not in its folder: a quantised or fine-tuned copy left it"
        " out, or it was not fetched",
        "copy it from the original model's repository into the folder (or name that one as source), then run deploy.yml --tags fetch; check"
        " `include` and `exclude`",
        "vllm-project/vllm-ascend#619",
        "OSError: Could not locate the configuration_acme.py inside acme/model.",
    ),
)
