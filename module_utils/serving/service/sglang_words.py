"""A remedy in SGLang's words: the rows of hints name vLLM's options, and SGLang has the same ones under other names."""

from __future__ import annotations

import re
from typing import Iterable

OF_SGLANG = re.compile(
    r"\bsglang[/.](?:srt|launch_server|jit_kernel|multimodal_gen)\b|\bsgl-workspace/|\bsgl_kernel\b|\bServerArgs\("
)
OF_VLLM = re.compile(r"\bvllm\b")

# What a row says of vLLM, and what does the same in SGLang; the longer ones first.
NAMES = (
    ("enforce_eager: true", "disable_cuda_graph: true"),
    ("enforce_eager", "disable_cuda_graph"),
    ("VLLM_USE_DEEP_GEMM: 0", "SGLANG_ENABLE_JIT_DEEPGEMM: 0"),
    ("VLLM_USE_FLASHINFER_MOE_FP8: 0", "engine_args.moe_runner_backend: triton"),
    ("VLLM_USE_FLASHINFER_SAMPLER: 0", "engine_args.sampling_backend: pytorch"),
    ("VLLM_ALLREDUCE_USE_SYMM_MEM: 0", "engine_args.enable_symm_mem: false"),
    ("VLLM_ATTENTION_BACKEND", "engine_args.attention_backend"),
    ("VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS", "engine_args.watchdog_timeout"),
    ("kv_cache_memory_bytes (or gpu_memory_utilization)", "mem_fraction_static"),
    ("gpu_memory_utilization (where the row has kv_cache_memory_bytes: that)", "mem_fraction_static"),
    ("kv_cache_memory_bytes", "mem_fraction_static"),
    ("gpu_memory_utilization", "mem_fraction_static"),
    ("max_model_len", "context_length"),
    ("max_num_seqs", "max_running_requests"),
    ("max_num_batched_tokens", "chunked_prefill_size"),
    ("tensor_parallel_size", "tp_size"),
    ("pipeline_parallel_size", "pp_size"),
    ("data_parallel_size", "dp_size"),
    ("speculative_config", "speculative_algorithm"),
    ("all2all_backend", "moe_a2a_backend"),
    ("kv_transfer_config", "disaggregation_mode"),
    ("structured_outputs_config", "grammar_backend"),
    ("compilation_config", "enable_torch_compile"),
    ("lora_modules", "lora_paths"),
    ("hf_overrides", "json_model_override_args"),
    ("block_size", "page_size"),
    ("limit_mm_per_prompt", "limit_mm_data_per_request"),
)
RENAMED = dict(NAMES)
EACH = re.compile(r"(?:(?<![\w.])|(?<=engine_args\.))(?:%s)(?!\w)" % "|".join(re.escape(name) for name, _ in NAMES))
ENGINE = re.compile(r"\b(?:this )?vLLM\b(?! \d)")


def said_by_sglang(lines: Iterable[str]) -> bool:
    return any(OF_SGLANG.search(line) for line in lines)


def in_its_words(meaning: str, lines: Iterable[str]) -> str:
    """The same meaning with SGLang's options; its name too where the log speaks of no vLLM."""
    text = EACH.sub(lambda of: RENAMED[of.group()], meaning)
    text = re.sub(r"\benv (?=engine_args\.)", "", text).replace("engine_args.engine_args.", "engine_args.")
    return text if any(OF_VLLM.search(line) for line in lines) else ENGINE.sub("SGLang", text)
