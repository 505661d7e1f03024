"""Sizes of published models as their config.json has them, reduced to what decides: written by us, with what follows from them.

`token`: bytes that one more token takes in a KV cache of 16 bits on one device.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Case(NamedTuple):
    """One model: its config.json, what its chat template has in it, files beside, the hub's task; and what is right."""

    config: dict[str, Any]
    kind: str
    token: int | None
    positions: int
    template: str | None = None
    files: tuple[str, ...] = ()
    task: str = ""
    tools: str | None = None
    thoughts: str | None = None
    quantization: str | None = None
    vision: bool = False
    states: tuple[int, int, int] = (
        0,
        0,
        0,
    )  # layers that keep a state, its bytes in one of them, layers that keep tokens beside it


def config(
    architecture: str, model_type: str, layers: int, hidden: int, heads: int, kv: int, positions: int, **more: Any
) -> dict[str, Any]:
    """The keys that most families share."""
    return {
        "architectures": [architecture], "model_type": model_type, "num_hidden_layers": layers, "hidden_size": hidden,
        "num_attention_heads": heads, "num_key_value_heads": kv, "max_position_embeddings": positions, "torch_dtype": "bfloat16",
        "vocab_size": 151936, **more,
    }  # fmt: skip


HERMES = "{%- if tools %}<tool_call>{}</tool_call>{%- endif %}{%- if add_generation_prompt %}assistant{%- endif %}"
THINKS = HERMES + "{%- if enable_thinking is defined and enable_thinking is false %}<think></think>{%- endif %}"
PLAIN = "{% for m in messages %}{{ m.content }}{% endfor %}{% if add_generation_prompt %}a{% endif %}"
MLA = {"kv_lora_rank": 512, "qk_rope_head_dim": 64, "qk_nope_head_dim": 128, "v_head_dim": 128}
YARN = {"type": "yarn", "factor": 40, "original_max_position_embeddings": 4096}
MIXED = ["sliding_attention", "full_attention"] * 12

CASES: dict[str, Case] = {
    "Qwen2-7B-Instruct": Case(
        config("Qwen2ForCausalLM", "qwen2", 28, 3584, 28, 4, 32768, sliding_window=131072, use_sliding_window=False, max_window_layers=28),
        "chat", 28 * 2 * 4 * 128 * 2, 32768, PLAIN,
    ),
    "Qwen2.5-7B-Instruct": Case(
        config("Qwen2ForCausalLM", "qwen2", 28, 3584, 28, 4, 32768, sliding_window=131072, use_sliding_window=False),
        "chat", 57344, 32768, HERMES, tools="hermes",
    ),
    "Qwen2.5-7B": Case(config("Qwen2ForCausalLM", "qwen2", 28, 3584, 28, 4, 131072, use_sliding_window=False), "completion", 57344, 131072),
    "Qwen3-8B": Case(
        config("Qwen3ForCausalLM", "qwen3", 36, 4096, 32, 8, 40960, head_dim=128),
        "chat", 36 * 2 * 8 * 128 * 2, 40960, THINKS, tools="hermes", thoughts="qwen3",
    ),
    "Qwen3-30B-A3B": Case(
        config("Qwen3MoeForCausalLM", "qwen3_moe", 48, 2048, 32, 4, 40960, head_dim=128, num_experts=128, num_experts_per_tok=8),
        "chat", 48 * 2 * 4 * 128 * 2, 40960, THINKS, tools="hermes", thoughts="qwen3",
    ),
    "Llama-3.1-8B-Instruct": Case(
        config("LlamaForCausalLM", "llama", 32, 4096, 32, 8, 131072,
               rope_scaling={"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 8192}),
        "chat", 131072, 131072, "<|start_header_id|>ipython<|end_header_id|> {{ tools }}", tools="llama3_json",
    ),
    "Mistral-7B-v0.1": Case(config("MistralForCausalLM", "mistral", 32, 4096, 32, 8, 32768, sliding_window=4096), "completion", 131072, 32768),
    "Mistral-7B-Instruct-v0.3": Case(
        config("MistralForCausalLM", "mistral", 32, 4096, 32, 8, 32768, sliding_window=None),
        "chat", 131072, 32768, "{{ tools }}[TOOL_CALLS]", tools="mistral",
    ),
    "gemma-3-4b-it": Case(
        {"architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3", "torch_dtype": "bfloat16", "image_token_index": 262144,
         "text_config": {"model_type": "gemma3_text", "hidden_size": 2560, "num_hidden_layers": 34, "sliding_window": 1024,
                         "rope_scaling": {"factor": 8.0, "rope_type": "linear"}},
         "vision_config": {"hidden_size": 1152, "num_hidden_layers": 27}},
        "chat", 5 * 2 * 4 * 256 * 2, 131072, PLAIN, vision=True,
    ),
    "DeepSeek-V2-Lite-Chat": Case(
        config("DeepseekV2ForCausalLM", "deepseek_v2", 27, 2048, 16, 16, 163840, rope_scaling=YARN, n_routed_experts=64,
               num_experts_per_tok=6, auto_map={"AutoModel": "modeling_deepseek.DeepseekV2Model"}, **MLA),
        "chat", 27 * 576 * 2, 163840, PLAIN, ("modeling_deepseek.py", "configuration_deepseek.py"),
    ),
    "DeepSeek-V3": Case(
        config("DeepseekV3ForCausalLM", "deepseek_v3", 61, 7168, 128, 128, 163840, rope_scaling=YARN, n_routed_experts=256,
               num_experts_per_tok=8, quantization_config={"quant_method": "fp8", "weight_block_size": [128, 128]}, **MLA),
        "chat", 61 * 576 * 2, 163840, "{{ tools }}<\uff5ctool\u2581call\u2581begin\uff5c>```json", tools="deepseek_v3", quantization="fp8",
    ),
    "GLM-4.5-Air": Case(
        config("Glm4MoeForCausalLM", "glm4_moe", 46, 4096, 96, 8, 131072, head_dim=128, n_routed_experts=128, num_experts_per_tok=8),
        "chat", 46 * 2 * 8 * 128 * 2, 131072, "{{ tools }}<tool_call><arg_key>{{ enable_thinking }}<think></think>",
        tools="glm45", thoughts="glm45",
    ),
    "chatglm3-6b": Case(
        {"architectures": ["ChatGLMModel"], "model_type": "chatglm", "num_layers": 28, "hidden_size": 4096, "num_attention_heads": 32,
         "kv_channels": 128, "multi_query_attention": True, "multi_query_group_num": 2, "seq_length": 8192, "padded_vocab_size": 65024,
         "torch_dtype": "float16"},
        "chat", 28 * 2 * 2 * 128 * 2, 8192, PLAIN,
    ),
    "phi-4": Case(config("Phi3ForCausalLM", "phi3", 40, 5120, 40, 10, 16384, sliding_window=None), "chat", 40 * 2 * 10 * 128 * 2, 16384, PLAIN),
    "gpt-oss-20b": Case(
        config("GptOssForCausalLM", "gpt_oss", 24, 2880, 64, 8, 131072, head_dim=64, sliding_window=128, layer_types=MIXED,
               num_local_experts=32, num_experts_per_tok=4, quantization_config={"quant_method": "mxfp4"},
               rope_scaling={"rope_type": "yarn", "factor": 32.0, "original_max_position_embeddings": 4096}),
        "chat", 12 * 2 * 8 * 64 * 2, 131072, "<|channel|>{{ tools }}", tools="openai", thoughts="openai_gptoss", quantization="mxfp4",
    ),
    "Qwen3-Next-80B-A3B-Instruct": Case(
        config("Qwen3NextForCausalLM", "qwen3_next", 48, 2048, 16, 2, 262144, head_dim=256, full_attention_interval=4, num_experts=512,
               num_experts_per_tok=10, linear_num_value_heads=32, linear_num_key_heads=16, linear_key_head_dim=128, linear_value_head_dim=128,
               linear_conv_kernel_dim=4),
        "chat", 12 * 2 * 2 * 256 * 2, 262144, HERMES, tools="hermes", states=(36, (2 * 16 + 32) * 128 * 3 * 2 + 32 * 128 * 128 * 2, 0),
    ),
    "Jamba-1.5-Mini": Case(
        config("JambaForCausalLM", "jamba", 32, 4096, 32, 8, 262144, attn_layer_period=8, attn_layer_offset=4, num_experts=16,
               mamba_d_state=16, mamba_d_conv=4, mamba_expand=2, mamba_dt_rank=256),
        "chat", 4 * 2 * 8 * 128 * 2, 262144, "{{ tools }}<tool_calls>", tools="jamba", states=(28, 8192 * 3 * 2 + 8192 * 16 * 2, 0),
    ),
    "Qwen2.5-7B-Instruct-AWQ": Case(
        config("Qwen2ForCausalLM", "qwen2", 28, 3584, 28, 4, 32768, torch_dtype="float16", quantization_config={"quant_method": "awq", "bits": 4}),
        "chat", 57344, 32768, HERMES, tools="hermes", quantization="awq",
    ),
    "bge-m3": Case(
        config("XLMRobertaModel", "xlm-roberta", 24, 1024, 16, 16, 8194, torch_dtype="float32"),
        "embedding", None, 8192, files=("modules.json", "1_Pooling/config.json"), task="sentence-similarity",
    ),
    "gte-large-en-v1.5": Case(
        {"architectures": ["NewModel"], "model_type": "new", "num_hidden_layers": 24, "hidden_size": 1024, "num_attention_heads": 16,
         "max_position_embeddings": 8192, "vocab_size": 30528, "torch_dtype": "float32", "auto_map": {"AutoModel": "Alibaba-NLP/new-impl--modeling.NewModel"}},
        "embedding", None, 8192, files=("modules.json", "1_Pooling/config.json"),
    ),
    "bge-reranker-v2-m3": Case(
        config("XLMRobertaForSequenceClassification", "xlm-roberta", 24, 1024, 16, 16, 8194, id2label={"0": "LABEL_0"}, torch_dtype="float32"),
        "rerank", None, 8192, task="text-ranking",
    ),
    "emotion": Case(
        config("RobertaForSequenceClassification", "roberta", 12, 768, 12, 12, 514, id2label={"0": "joy", "1": "anger", "2": "fear"}),
        "classify", None, 512,
    ),
    "Qwen3-Embedding-0.6B": Case(
        config("Qwen3ForCausalLM", "qwen3", 28, 1024, 16, 8, 32768, head_dim=128),
        "embedding", 28 * 2 * 8 * 128 * 2, 32768, HERMES, ("modules.json", "1_Pooling/config.json"), "feature-extraction",
    ),
    "Qwen3-Reranker-0.6B": Case(
        config("Qwen3ForCausalLM", "qwen3", 28, 1024, 16, 8, 40960, head_dim=128), "rerank", 114688, 40960, HERMES, task="text-ranking",
    ),
    "Qwen2.5-VL-7B-Instruct": Case(
        config("Qwen2_5_VLForConditionalGeneration", "qwen2_5_vl", 28, 3584, 28, 4, 128000, image_token_id=151655, vision_config={"depth": 32}),
        "chat", 57344, 128000, PLAIN, vision=True,
    ),
    "whisper-large-v3": Case(
        {"architectures": ["WhisperForConditionalGeneration"], "model_type": "whisper", "d_model": 1280, "decoder_layers": 32,
         "decoder_attention_heads": 20, "encoder_layers": 32, "max_target_positions": 448, "vocab_size": 51866, "torch_dtype": "float16"},
        "transcription", 32 * 2 * 20 * 64 * 2, 448, task="automatic-speech-recognition",
    ),
    "Llama-4-Scout-17B-16E-Instruct": Case(
        {"architectures": ["Llama4ForConditionalGeneration"], "model_type": "llama4", "vision_config": {"hidden_size": 1408},
         "text_config": {"model_type": "llama4_text", "num_hidden_layers": 48, "hidden_size": 5120, "num_attention_heads": 40,
                         "num_key_value_heads": 8, "head_dim": 128, "attention_chunk_size": 8192, "no_rope_layers": [1, 1, 1, 0] * 12,
                         "num_local_experts": 16, "num_experts_per_tok": 1, "max_position_embeddings": 10485760, "torch_dtype": "bfloat16"}},
        "chat", 12 * 2 * 8 * 128 * 2, 10485760, PLAIN, vision=True,
    ),
    "dbrx-instruct": Case(
        {"architectures": ["DbrxForCausalLM"], "model_type": "dbrx", "n_layers": 40, "d_model": 6144, "n_heads": 48, "max_seq_len": 32768,
         "attn_config": {"kv_n_heads": 8, "clip_qkv": 8}, "ffn_config": {"moe_num_experts": 16, "moe_top_k": 4, "ffn_hidden_size": 10752},
         "torch_dtype": "bfloat16"},
        "chat", 40 * 2 * 8 * 128 * 2, 32768, PLAIN,
    ),
    "llava-1.5-7b-hf": Case(
        {"architectures": ["LlavaForConditionalGeneration"], "model_type": "llava", "vision_config": {"model_type": "clip_vision_model"},
         "text_config": {"_name_or_path": "lmsys/vicuna-7b-v1.5", "model_type": "llama", "max_position_embeddings": 4096, "vocab_size": 32064},
         "torch_dtype": "float16"},
        "chat", 32 * 2 * 32 * 128 * 2, 4096, PLAIN, vision=True,
    ),
    "Qwen2-Audio-7B-Instruct": Case(
        {"architectures": ["Qwen2AudioForConditionalGeneration"], "model_type": "qwen2_audio", "audio_config": {"d_model": 1280},
         "text_config": {"model_type": "qwen2", "max_position_embeddings": 8192, "vocab_size": 156032}, "torch_dtype": "bfloat16"},
        "chat", 32 * 2 * 32 * 128 * 2, 8192, PLAIN,
    ),
    "paligemma2-3b": Case(
        {"architectures": ["PaliGemmaForConditionalGeneration"], "model_type": "paligemma", "vision_config": {"model_type": "siglip_vision_model"},
         "text_config": {"model_type": "gemma2", "num_hidden_layers": 26, "hidden_size": 2304, "num_attention_heads": 8, "num_key_value_heads": 4,
                         "max_position_embeddings": 8192}, "torch_dtype": "bfloat16"},
        "completion", 13 * 2 * 4 * 256 * 2, 8192, vision=True,
    ),
    "Molmo-7B-D": Case(config("MolmoForCausalLM", "molmo", 28, 3584, 28, 4, 4096), "chat", 57344, 4096, PLAIN, vision=True),
    "falcon-7b": Case(
        {"architectures": ["FalconForCausalLM"], "model_type": "falcon", "num_hidden_layers": 32, "hidden_size": 4544,
         "num_attention_heads": 71, "num_kv_heads": 71, "multi_query": True, "new_decoder_architecture": False, "torch_dtype": "bfloat16"},
        "completion", 32 * 2 * 64 * 2, 2048,
    ),
    "Kimi-Linear-48B-A3B": Case(
        {**config("KimiLinearForCausalLM", "kimi_linear", 27, 2304, 32, 32, 0, head_dim=72, **MLA), "model_max_length": 1048576,
         "linear_attn_config": {"full_attn_layers": [4, 8, 12, 16, 20, 24, 27], "num_heads": 32, "head_dim": 128,
                                 "short_conv_kernel_size": 4}},
        "chat", 7 * 576 * 2, 1048576, PLAIN, states=(20, 3 * 4096 * 3 * 2 + 32 * 128 * 128 * 4, 0),
    ),
    "Mistral-7B-bnb-4bit": Case(
        config("MistralForCausalLM", "mistral", 32, 4096, 32, 8, 32768, sliding_window=None, quantization_config={"load_in_4bit": True}),
        "completion", 131072, 32768, quantization="bitsandbytes",
    ),
    "Falcon-H1-7B-Instruct": Case(  # attention and Mamba side by side in each layer
        config("FalconH1ForCausalLM", "falcon_h1", 44, 3072, 12, 2, 262144, head_dim=128, mamba_d_ssm=3072, mamba_n_heads=24, mamba_d_head=128,
               mamba_d_state=256, mamba_n_groups=1, mamba_d_conv=4, mamba_expand=2),
        "chat", 44 * 2 * 2 * 128 * 2, 262144, PLAIN, states=(44, (3072 + 512) * 3 * 2 + 24 * 128 * 256 * 2, 44),
    ),
    "Bamba-9B": Case(
        config("BambaForCausalLM", "bamba", 32, 4096, 32, 8, 262144, attn_layer_indices=[9, 18, 27], mamba_n_heads=128, mamba_d_head="auto",
               mamba_d_state=128, mamba_n_groups=1, mamba_d_conv=4, mamba_expand=2),
        "completion", 3 * 2 * 8 * 128 * 2, 262144, states=(29, (8192 + 256) * 3 * 2 + 8192 * 128 * 2, 0),
    ),
    "granite-4.0-h-small": Case(
        config("GraniteMoeHybridForCausalLM", "granitemoehybrid", 40, 4096, 32, 8, 131072, layer_types=(["mamba"] * 5 + ["attention"] + ["mamba"] * 4) * 4,
               mamba_n_heads=128, mamba_d_head=64, mamba_d_state=128, mamba_n_groups=1, mamba_d_conv=4, mamba_expand=2, num_local_experts=72),
        "chat", 4 * 2 * 8 * 128 * 2, 131072, HERMES, tools="granite4", states=(36, (8192 + 256) * 3 * 2 + 8192 * 128 * 2, 0),
    ),
    "NVIDIA-Nemotron-Nano-9B-v2": Case(  # its states in 32 bits
        config("NemotronHForCausalLM", "nemotron_h", 56, 4480, 40, 8, 131072, head_dim=128, ssm_state_size=128, conv_kernel=4, n_groups=8,
               hybrid_override_pattern="M-M-M-MM-M-M-M*-M-M-M*-M-M-M-M*-M-M-M-M*-M-MM-M-M-M-M-M-", mamba_num_heads=128, mamba_head_dim=80, expand=2),
        "chat", 4 * 2 * 8 * 128 * 2, 131072, PLAIN, states=(27, (10240 + 2 * 8 * 128) * 3 * 2 + 10240 * 128 * 4, 0),
    ),
    "Zamba2-1.2B": Case(  # Mamba in each layer, and attention with heads of its own in six of them
        config("Zamba2ForCausalLM", "zamba2", 38, 2048, 32, 32, 4096, layers_block_type=(["mamba"] * 5 + ["hybrid"]) * 6 + ["mamba"] * 2,
               attention_head_dim=128, kv_channels=64, n_mamba_heads=64, mamba_headdim=64, mamba_d_state=128, mamba_ngroups=1, mamba_d_conv=4, mamba_expand=2),
        "completion", 6 * 2 * 32 * 128 * 2, 4096, states=(38, (4096 + 256) * 3 * 2 + 4096 * 128 * 2, 6),
    ),
    "LFM2-1.2B": Case(
        config("Lfm2ForCausalLM", "lfm2", 16, 2048, 32, 8, 128000, full_attn_idxs=[2, 5, 8, 10, 12, 14], conv_L_cache=3, conv_dim=2048),
        "chat", 6 * 2 * 8 * 64 * 2, 128000, "{{ tools }}<|tool_call_start|>", tools="lfm2", states=(10, 2048 * 2 * 2, 0),
    ),
    "MiniMax-Text-01": Case(
        config("MiniMaxText01ForCausalLM", "minimax_text_01", 80, 6144, 64, 8, 10240000, head_dim=128, attn_type_list=([0] * 7 + [1]) * 10,
               num_local_experts=32, num_experts_per_tok=2),
        "chat", 10 * 2 * 8 * 128 * 2, 10240000, PLAIN, states=(70, 64 * 128 * 128 * 2, 0),
    ),
    "Ring-mini-linear-2.0": Case(
        config("BailingMoeV2_5ForCausalLM", "bailing_moe_linear", 20, 2048, 16, 4, 131072, head_dim=128, layer_group_size=5, num_experts=256),
        "chat", 4 * 2 * 4 * 128 * 2, 131072, PLAIN, states=(16, 16 * 128 * 128 * 2, 0),
    ),
    "plamo-2-8b": Case(
        config("Plamo2ForCausalLM", "plamo2", 32, 4096, 32, 4, 10485760, hidden_size_per_head=128, mamba_num_heads=64, mamba_d_state=64, mamba_d_conv=4,
               mamba_step=2),
        "completion", 16 * 2 * 4 * 128 * 2, 10485760, states=(16, 8192 * 3 * 2 + 8192 * 64 * 2, 0),
    ),
    "falcon-mamba-7b": Case(  # states alone: a token costs nothing
        {"architectures": ["FalconMambaForCausalLM"], "model_type": "falcon_mamba", "num_hidden_layers": 64, "hidden_size": 4096,
         "intermediate_size": 8192, "state_size": 16, "conv_kernel": 4, "expand": 16, "vocab_size": 65024, "torch_dtype": "bfloat16"},
        "completion", 0, 0, states=(64, 8192 * 3 * 2 + 8192 * 16 * 2, 0),
    ),
    "Mamba-Codestral-7B": Case(
        {"architectures": ["Mamba2ForCausalLM"], "model_type": "mamba2", "num_hidden_layers": 64, "hidden_size": 4096, "num_heads": 128, "head_dim": 64,
         "state_size": 128, "n_groups": 8, "conv_kernel": 4, "expand": 2, "vocab_size": 32768, "torch_dtype": "bfloat16"},
        "completion", 0, 0, states=(64, (8192 + 2 * 8 * 128) * 3 * 2 + 8192 * 128 * 2, 0),
    ),
    "Llama-3_3-Nemotron-Super-49B-v1": Case(  # each layer has an attention of its own, or none
        {"architectures": ["DeciLMForCausalLM"], "model_type": "nemotron-nas", "num_hidden_layers": 80, "hidden_size": 8192, "num_attention_heads": 64,
         "num_key_value_heads": None, "max_position_embeddings": 131072, "vocab_size": 128256, "torch_dtype": "bfloat16",
         "block_configs": [{"attention": {"n_heads_in_group": 8, "no_op": False}, "ffn": {"no_op": False}}] * 49
         + [{"attention": {"n_heads_in_group": None, "no_op": True}, "ffn": {"no_op": False}}] * 31},
        "chat", 49 * 2 * 8 * 128 * 2, 131072, PLAIN,
    ),
    "MiMo-V2-Flash": Case(
        config("MiMoV2FlashForCausalLM", "mimo_v2_flash", 48, 4096, 64, 4, 262144, head_dim=192, v_head_dim=128, swa_head_dim=192, swa_v_head_dim=128,
               swa_num_key_value_heads=8,
               sliding_window_size=128, hybrid_layer_pattern=[0, 1, 1, 1, 1, 0, *[1, 1, 1, 1, 1, 0] * 7], n_routed_experts=256),
        "chat", 9 * 4 * (192 + 128) * 2, 262144, PLAIN,
    ),
    "DeepSeek-V4-Flash": Case(  # keeps a part of the tokens: what one costs is not known
        config("DeepseekV4ForCausalLM", "deepseek_v4", 43, 4096, 64, 1, 1048576, head_dim=512, compress_ratios=[0, 0, *[4, 128] * 20, 4],
               n_routed_experts=256, sliding_window=128),
        "chat", None, 1048576, PLAIN,
    ),
    "DeepSeek-V3.2": Case(  # keeps the key of an indexer beside the latent
        config("DeepseekV32ForCausalLM", "deepseek_v32", 61, 7168, 128, 128, 163840, rope_scaling=YARN, n_routed_experts=256, index_head_dim=128,
               index_n_heads=64, index_topk=2048, quantization_config={"quant_method": "fp8"}, **MLA),
        "chat", 61 * (576 * 2 + 132), 163840, PLAIN, quantization="fp8",
    ),
    "MiniCPM3-4B": Case(  # a latent that the engine unfolds into heads
        config("MiniCPM3ForCausalLM", "minicpm3", 62, 2560, 40, 40, 32768, kv_lora_rank=256, qk_rope_head_dim=32, qk_nope_head_dim=64, v_head_dim=64),
        "chat", 62 * 2 * 40 * 96 * 2, 32768, PLAIN,
    ),
    "LongCat-Flash-Chat": Case(  # two attentions in each layer
        {**config("LongcatFlashForCausalLM", "longcat_flash", 0, 6144, 64, 64, 131072, **MLA), "num_layers": 28},
        "chat", 56 * 576 * 2, 131072, "{{ tools }}<longcat_tool_call>", tools="longcat",
    ),
}  # fmt: skip
