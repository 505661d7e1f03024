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
        "weights-quantised",
        r"no module or parameter named '[\w.]{1,200}\.(?:qweight|qzeros|g_idx|weight_packed|weight_scale\w{0,10}|weight_zero_point|input_scale)'",
        "the files hold quantised weights, and the engine builds this layer without: config.json has no quantization_config (a copy of another"
        " revision), or it leaves this layer out, or this release does",
        "compare quantization_config in config.json with the model's page (its list of layers left out too) and run deploy.yml --tags fetch; then a newer"
        " engine",
        "vLLM, model_executor/models/utils.py",
        "ValueError: There is no module or parameter named 'layers.0.mlp.acme.qweight' in AcmeForCausalLM. The available parameters are: {'x'}",
    ),
    Hint(
        "weights-multimodal",
        r"no module or parameter named '(?:model\.)?(?:visual|vision_\w{1,30}|multi_modal_projector|mm_projector|connector|audio_\w{1,30}|image_newline)\b",
        "the files have a part for pictures or sound, and the engine builds a class without one: `architectures` in config.json names the text model,"
        " or this release has no other",
        "take config.json as it is on the model's page (with its architectures); then a newer engine; for text alone a copy of the text model",
        "vLLM 0.25.1, a vision model with a text model's architectures",
        "ValueError: There is no module or parameter named 'vision_tower' in AcmeForCausalLM. The available parameters are: {'x'}",
    ),
    Hint(
        "weights-dont-fit",
        r"^IndexError: start out of range|There is no module or parameter named|size mismatch for [\w.]{1,120}"
        r"|Attempted to load"
        r" weight \("
        r"|KeyError: '[\w.-]{1,120}\.(?:weight|bias|g_idx|q?weight\w{0,20}|qzeros|scales|lora_\w{1,10})'"
        r"|KeyError: '[\w.-]{0,80}(?:layers|blocks|experts|_proj|lm_head|embed\w{0,12})\.[\w.-]{1,120}'|(?:param|param_data|loaded_weight)\.(?:shape"
        r"|size\(\))(?:\[\w{1,20}\])? ?==|Tried to load weights of size",
        "the weights (or the description of their quantisation) don't fit what the engine builds: another model's config.json, weights not"
        " quantised as the option says, or an engine of another time",
        "check that config.json and weights are of one revision and that engine_args.quantization is the weights' own, then try a newer engine",
        "vLLM, model_executor/models/utils.py",
        "KeyError: 'layers.0.mlp.gate_up_proj.weight_scale_inv'",
        sure=False,
    ),
)
