"""Failures of inference engines on NVIDIA's GPUs as operators meet them: each in several wordings, one of them in a whole log."""

from __future__ import annotations

import pytest
from ansible.module_utils.serving.service import failures

FRAMES = (
    '  File "/usr/lib/python3/dist-packages/vllm/v1/engine/core.py", line 9, in run_engine_core',
    "    engine_core = EngineCoreProc(*args, **kwargs)",
)
# What failed (the row), what an operator must read, and the error in as many wordings as releases have for it.
FAILURES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (
        "weights-quantised-untold", "engine_args.quantization: awq",
        (
            "KeyError: 'layers.3.mlp.gate_up_proj.qweight'",
            "KeyError: 'language_model.model.layers.3.self_attn.qkv_proj.qzeros'",
            "KeyError: 'layers.0.mlp.down_proj.g_idx'",
            "ValueError: There is no module or parameter named 'layers.0.mlp.down_proj.qweight' in OddForCausalLM",
        ),
    ),
    (
        "weights-quantised", "hf_quant_config.json: modelopt",
        (
            "KeyError: 'layers.3.mlp.down_proj.weight_scale'",
            "KeyError: 'layers.3.mlp.gate_up_proj.weight_scale_inv'",
            "KeyError: 'layers.3.mlp.down_proj.weight_zero_point'",
            "KeyError: 'layers.3.mlp.experts.w13_weight_scale'",
            "ValueError: There is no module or parameter named 'lm_head.input_scale' in OddForCausalLM.",
        ),
    ),
    (
        "weights-vision-names", "newer engine",
        (
            "KeyError: 'visual.blocks.7.attn.qkv.weight'",
            "KeyError: 'model.visual.patch_embed.proj.weight'",
            "KeyError: 'vision_tower.encoder.layers.0.norm.bias'",
            "KeyError: 'language_model.embed_tokens.weight'",
            "KeyError: 'blocks.3.attn.qkv.weight'",
            "ValueError: There is no module or parameter named 'vision_tower.odd' in OddForConditionalGeneration.",
        ),
    ),
    (
        "weights-multimodal", "architectures",
        (
            "ValueError: There is no module or parameter named 'vision_tower' in OddForCausalLM",
            "ValueError: There is no module or parameter named 'mm_whisper_embeddings' in LlamaForCausalLM",
        ),
    ),
    (
        "weights-experts-names", "copy of the model that its page names",
        (
            "KeyError: 'layers.0.mlp.experts.w13_bias'",
            "KeyError: 'model.layers.3.block_sparse_moe.experts.0.w1.weight'",
            "KeyError: 'language_model.model.layers.0.mlp.experts.0.gate_proj.weight'",
            "ValueError: There is no module or parameter named 'model.layers.3.mlp.experts.gate_up_proj' in OddForCausalLM",
        ),
    ),
    (
        "weights-of-draft", "speculative_config",
        (
            "KeyError: 'midlayer.mlp.gate_proj.bias'",
            "KeyError: 'model.layers.61.eh_proj.weight'",
            "ValueError: There is no module or parameter named 'd2t' in OddEagle3",
            "KeyError: 'mtp.layers.0.norm.weight'",
        ),
    ),
    ("weights-of-no-class", "newer|list of models", ("ValueError: There is no module or parameter named 'mlp_XY' in TransformersMultiModalForCausalLM",)),
    (
        "compile-cache-shared", "TRITON_CACHE_DIR",
        (
            "FileNotFoundError: [Errno 2] No such file or directory: '/root/.triton/cache/0a/k.json.tmp.pid_28_339' -> '/root/.triton/cache/0a/k.json'",
            "FileNotFoundError: [Errno 2] No such file or directory: '/mnt/odd/0a/fused_moe_kernel.cubin.tmp.pid_7_94'",
            "OSError: [Errno 39] Directory not empty: '/root/.triton/cache/tmp.pid_12_ab' -> '/root/.triton/cache/XY'",
        ),
    ),
    (
        "compile-cache-gone", "TORCHINDUCTOR_CACHE_DIR",
        (
            "FileNotFoundError: [Errno 2] No such file or directory: '/tmp/torchinductor_u/ab/cab.py'",
            "FileNotFoundError: [Errno 2] No such file or directory: '/root/.cache/vllm/torch_compile_cache/9f/rank_0_0/inductor_cache/x'",
            "FileNotFoundError: [Errno 2] No such file or directory: '/root/.triton/cache/0a/k.cubin'",
        ),
    ),
    ("tokenizer-file-missing", "tokenizer_mode: mistral", ("TypeError: not a string",)),
    (
        "gpu-too-old-for-kernel", "another release of the engine, another quantisation",
        ("NotImplementedError: No compiled cutlass_scaled_mm for a compute capability less than CUDA device capability: 75",),
    ),
    (
        "quantised-size", "tensor_parallel_size",
        (
            "ValueError: The output size is not aligned with the quantized weight shape. This can be caused by too large tensor parallel size.",
            "ValueError: The input size is not aligned with the quantized weight shape.",
        ),
    ),
    ("ascend-custom-ops", "vllm-ascend", ("ModuleNotFoundError: No module named 'custom_ops'",)),
    ("vllm-compiled-part", "wheel", ("NameError: name 'vllm_ops' is not defined", "NameError: name 'vllm_cache_ops' is not defined")),
    (
        "ray-channel-timeout", "RAY_CGRAPH_get_timeout",
        ("ray.exceptions.RayChannelTimeoutError: System error: Timed out waiting for object available to read. ObjectID: 01",),
    ),
    (
        "package-file-gone", "install the package",
        ("FileNotFoundError: [Errno 2] No such file or directory: '/opt/odd/lib/python3.12/site-packages/xgrammar/kernels/odd.cu'",),
    ),
    (
        "chat-template-path", "full path",
        (
            "ValueError: The supplied chat template string (examples/odd.jinja) appears path-like, but doesn't exist!",
            "RuntimeError: Chat template odd.jinja is not a built-in template name or a valid chat template file path.",
        ),
    ),
    ("chat-template-content", "chat_template_content_format: string", ('TypeError: can only concatenate str (not "list") to str',)),
    (
        "fl-no-implementation", "FlagGems",
        (
            "RuntimeError: All implementations failed for op='odd'. Last error: nobody knows",
            "RuntimeError: No available implementation for op='odd'. Registered: []",
        ),
    ),
    ("kv-connector-hybrid", "disable_hybrid_kv_cache_manager: true", ("ValueError: Connector OddConnector does not support HMA but HMA is enabled.",)),
    (
        "draft-parallel", "speculative_config",
        ("ValueError: speculative_draft_tensor_parallel_size=3 cannot be other value than 1 or target model tensor_parallel_size",),
    ),
    (
        "speculators-config", "newer one",
        ("ValueError: Expected one of speculators model type ['odd3'] but found: None", "KeyError: 'speculators_model_type'"),
    ),
    (
        "gguf", "engine_args.tokenizer",
        (
            "OSError: It looks like the config file at '/models/odd.gguf' is not a valid JSON file.",
            "ValueError: GGUF model with architecture odd9 is not supported yet.",
        ),
    ),
    (
        "mistral-tokenizer", "tokenizer_mode",
        ("AttributeError: 'MistralCommonTokenizer' object has no attribute 'odd'", "AttributeError: 'MistralTokenizer' object has no attribute 'odd'"),
    ),
    (
        "transformers-too-new", "newer engine",
        ("AttributeError: PreTrainedTokenizerFast has no attribute image_token", "AttributeError: 'Odd3Config' object has no attribute 'vocab_size'"),
    ),
    ("python-library", "run the image as the user", ("sh: /opt/venv/bin/vllm: /opt/venv/bin/python3: bad interpreter: Permission denied",)),
    (
        "deep-gemm-refuses", "VLLM_USE_DEEP_GEMM: 0",
        (
            'RuntimeError: Assertion error (odd-src/csrc/apis/layout.hpp:60): false and "Odd SF"',
            "RuntimeError: Assertion error (deepgemm-src/csrc/apis/../utils/layout.hpp:90): Odd recipe",
            "RuntimeError: CUDA driver error (/opt/odd/csrc/jit/handle.hpp:141): 200 (CUDA_ERROR_INVALID_IMAGE, device kernel image is invalid)",
            "RuntimeError: CUDA runtime error (odd/csrc/apis/../jit/handle.hpp:193): 1 (cudaErrorInvalidValue, invalid argument)",
        ),
    ),
    ("kernel-image-invalid", "driver", ("RuntimeError: CUDA error: device kernel image is invalid",)),
    ("argument-with-dashes", "underscores", ("TypeError: EngineArgs.__init__() got an unexpected keyword argument 'max-model-len'",)),
    (
        "kv-page-sizes", "kv_cache_dtype",
        (
            "AssertionError: assert odd.page_size_bytes == max_page_size",
            "NotImplementedError: The page size of the layer is not divisible by the maximum page size. Cannot unify by adjusting block_size.",
        ),
    ),
    ("unknown-parser", "reasoning_parser_plugin", ("KeyError: \"Reasoning parser 'odd' not found. Available parsers: qwen3\"",)),
    ("lmcache-blending", "enable_blending", ("ValueError: vllm model for odd-instance not found.",)),
    (
        "compiler-killed", "MAX_JOBS",
        (
            "RuntimeError: Ninja build failed. nvcc error   : 'cudafe++' died due to signal 9 (Kill signal)",
            "c++: fatal error: Killed signal terminated program cc1plus",
        ),
    ),
)  # fmt: skip


def whole(error: str) -> list[str]:
    """The error as an engine prints it: in a traceback with its level, twice, and with what came of it."""
    said = ["EngineCore failed to start.", "Traceback (most recent call last):", *FRAMES, error]
    return [
        "(APIServer pid=1) INFO 11-27 06:00:00 [utils.py:233] non-default args: {'model': '/models/odd'}",
        *("(EngineCore pid=7) ERROR 11-27 06:00:09 [core.py:1100] " + line for line in said),
        "(EngineCore pid=7) Process EngineCore:",
        *("(EngineCore pid=7) " + line for line in said[1:]),
        "(APIServer pid=1) Traceback (most recent call last):",
        '(APIServer pid=1)   File "/usr/local/bin/vllm", line 10, in <module>',
        "(APIServer pid=1)     sys.exit(main())",
        "(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}",
    ]


@pytest.mark.parametrize(
    ("hint", "remedy", "error"),
    [pytest.param(hint, remedy, error, id=error[:90]) for hint, remedy, errors in FAILURES for error in errors],
)
def test_a_failure_is_explained_in_each_of_its_wordings(hint: str, remedy: str, error: str) -> None:
    for lines in ([error], whole(error)):
        found = failures.explain(lines, 1)
        assert found.hint == hint
        assert any(words in (found.meaning or "") for words in remedy.split("|"))


def test_an_attention_layer_that_a_rank_lacks_is_no_weight_of_another_name() -> None:
    found = failures.explain(["KeyError: 'language_model.model.layers.30.self_attn.attn'"], 1)
    assert found.hint == "attention-layer-unknown"
