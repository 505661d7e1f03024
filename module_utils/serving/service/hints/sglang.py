"""Failure hints: SGLang in its own words."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

HINTS = (
    Hint(
        "sglang-child-crashed",
        r"Child process unexpectedly failed with (?:an exit code |exitcode=)(?:4|6|7|11|132|134|135|139)\b",
        "compiled code crashed in a process of SGLang: a kernel, NCCL or the driver",
        "look for the fault above it (Fatal Python error names where Python was); try disable_cuda_graph: true, then another attention_backend or"
        " image",
        "sgl-project/sglang#5770",
        "[2025-04-26 20:55:32] Child process unexpectedly failed with an exit code 11. pid=293198",
        sure=False,
    ),
    Hint(
        "sglang-slots",
        r"alloc_\w{1,40} runs out of|set a smaller number for [`']?--max-running-requests",
        "the engine has no place left for a further request: it was given more than max_running_requests allows",
        "lower max_running_requests in engine_args, or use a newer engine if it comes back",
        "sgl-project/sglang#10408",
        "RuntimeError: alloc_req_slots runs out of memory. Please set a smaller number for `--max-running-requests`.",
    ),
    Hint(
        "sglang-lora-slots",
        r"assert len\(cur_uids\) <= self\.max_loras_per_batch",
        "requests for more LoRA adapters (the base model counts as one) came at once than max_loras_per_batch allows",
        "raise max_loras_per_batch in engine_args by one or more, or use a newer engine",
        "sgl-project/sglang#23141",
        "AssertionError: assert len(cur_uids) <= self.max_loras_per_batch (managers/lora.py:7)",
    ),
    Hint(
        "sglang-memory",
        r"Not enough memory\. Please try (?:to )?increas\w{0,4} --mem-fraction-static|max_total_num_tokens[^\n]{0,40}<= ?0"
        r"|leave no GPU memory for the KV cache",
        "after the weights no memory is left on the device for the KV cache",
        "raise mem_fraction_static in engine_args, raise tp_size, or use a quantised model; nvidia-smi shows whether something else holds memory",
        "sgl-project/sglang#4895",
        "RuntimeError: Not enough memory. Please try to increase --mem-fraction-static.",
    ),
    Hint(
        "sgl-kernel",
        r"No module named '?sgl_kernel(?![\w.])",
        "SGLang's compiled part, sgl_kernel, is not installed",
        "install the sgl-kernel that SGLang's release names for this CUDA, or use its image as it was built",
        "sgl-project/sglang, installation",
        "ModuleNotFoundError: No module named 'sgl_kernel'",
    ),
    Hint(
        "sgl-kernel-not-loaded",
        r"\[sgl_kernel\] CRITICAL|Could not load any common_ops|No module named 'common_ops'",
        "sgl_kernel, SGLang's compiled part, can't be loaded: it was built for another torch, CUDA or GPU, or a library that it needs is missing",
        "the errors that it lists last say which; install the sgl-kernel that SGLang's release names for this torch and CUDA, or use its image as"
        " it was built",
        "sgl-project/sglang#12119",
        "ImportError: [sgl_kernel] CRITICAL: Could not load any common_ops library!",
        sure=False,
    ),
    Hint(
        "flashinfer-workspace",
        r"Failed to allocate memory for \w{1,60} with size \d{1,15} and alignment",
        "FlashInfer's workspace is too small for this batch",
        "set env SGLANG_FLASHINFER_WORKSPACE_SIZE (vLLM: VLLM_FLASHINFER_WORKSPACE_BUFFER_SIZE) higher, or lower chunked_prefill_size"
        " (max_num_batched_tokens)",
        "sgl-project/sglang#1405; flashinfer, allocator.h",
        "RuntimeError: Failed to allocate memory for batch_prefill_tmp_v with size 1048576 and alignment 16 in AlignedAllocator",
    ),
    Hint(
        "sglang-warmup",
        r"AssertionError: res=<Response \[50[234]\]>",
        "SGLang's first request to itself was answered by something else, most often a proxy of the environment that is asked for this host too",
        "name the host's own addresses in no_proxy (127.0.0.1,localhost), or leave http_proxy out of the row's env",
        "sgl-project/sglang#16855",
        "AssertionError: res=<Response [502]>, res.text=''",
        sure=False,
    ),
    Hint(
        "experts-not-divisible",
        r"AssertionError: [^\n]{0,80}experts[^\n]{0,40}% ?(?:self\.)?(?:\w{0,10}ep|tp|world)_?\w{0,10}|num_experts[^\n]{0,60}divisible by[^\n]{0,20}ep",
        "the model's experts can't be divided over that many ranks of expert parallel",
        "set another ep_size (or tensor_parallel_size), or leave out what adds an expert (SGLang: disable_shared_experts_fusion: true)",
        "sgl-project/sglang#31336",
        "AssertionError: assert num_experts % self.moe_ep_size == 0 (fused_moe_triton/layer.py:200)",
    ),
    Hint(
        "sglang-silent",
        r"couldn't get a response from detokenizer",
        "SGLang's processes behind the server do not answer: one hangs (in a step that ranks or hosts do together), died, or a step takes very long",
        "look for what the schedulers of all ranks and hosts said before; py-spy dump of one that hangs; watchdog_timeout where a step is only slow",
        "sgl-project/sglang#22511",
        "[2026-04-10 10:00:00] Health check failed. Server couldn't get a response from detokenizer for last 20 seconds.",
        sure=False,
    ),
    Hint(
        "sglang-rank-not-loaded",
        r"could finish the model loading, but there are other ranks that didn't finish",
        "other ranks had not loaded their weights when this one waited no longer: one of them failed (its memory ran out), or reads more slowly",
        "look for what the other ranks, on the other hosts too, said before; put the weights on a local disk where one only reads slowly",
        "sgl-project/sglang#4503",
        "ValueError: TP rank 3 could finish the model loading, but there are other ranks that didn't finish loading. It is likely due to"
        " unexpected failures.",
        late=True,
    ),
    Hint(
        "sglang-memory-unbalanced",
        r"The memory capacity is unbalanced",
        "SGLang found much more memory free on one GPU of the service than on another",
        "nvidia-smi shows what holds memory on which GPU: end it, or set `devices` to GPUs that are alike",
        "sgl-project/sglang#1533",
        "ValueError: The memory capacity is unbalanced. Some GPUs may be occupied by other processes.",
    ),
    Hint(
        "sglang-empty-batch",
        r"(?:RMSNorm|rmsnorm|FusedAddRMSNorm|SiluAndMul)\w{0,20} failed with error code invalid configuration argument",
        "a kernel was given a batch without a token; most often data parallel attention has ranks without work in this release, or the shape is one"
        " that it does not take",
        "leave enable_dp_attention out of engine_args, or use a newer SGLang",
        "sgl-project/sglang#3304",
        "RuntimeError: RMSNorm failed with error code invalid configuration argument",
        sure=False,
    ),
    Hint(
        "sgl-kernel-no-cuda",
        r"Could not find CUDA lib directory",
        "SGLang's kernels look for a CUDA toolkit on this machine and find none; most often the image or environment brings only pip's CUDA libraries",
        "set CUDA_HOME in the row's env to a toolkit, use an image as it was built, or a newer sgl-kernel",
        "sgl-project/sglang#11333",
        "RuntimeError: Could not find CUDA lib directory.",
        sure=False,
    ),
    Hint(
        "sglang-wants-vllm",
        r"^NameError: name '(?:check_marlin_supported|(?:gptq|awq|apply|cutlass|ops|marlin|machete|scalar_types|vllm)(?!_ops|_cache_ops"
        r"|_moe_ops)\w{0,60})' is not defined",
        "this release of SGLang takes these operators from the package vllm, which is not installed, or of a release that it does not know",
        "install the vllm that this SGLang names (its pyproject), use another image, a newer SGLang, or a model in another quantisation",
        "sgl-project/sglang#5203",
        "NameError: name 'check_marlin_supported' is not defined",
        sure=False,
    ),
    Hint(
        "sgl-kernel-npu-other",
        r"npu_wrapper_\w{1,40}[^\n]{0,60}(?:missing \d|unexpected keyword|takes \d)",
        "what SGLang changes in transformers for NPUs does not fit the transformers that is installed: one of them is newer than the other",
        "use the image of one SGLang release as it was built, or the transformers that this release names",
        "sgl-project/sgl-kernel-npu#468; sgl-project/sglang#25130",
        "TypeError: npu_wrapper_preprocess.<locals>._preprocess() missing 1 required positional argument: 'x'",
        sure=False,
    ),
    Hint(
        "flashinfer-name",
        r"flashinfer with minimum required version",
        "this SGLang looks for FlashInfer by its old name (flashinfer); it is called flashinfer-python now",
        "use a newer SGLang, or an image of this one as it was built",
        "flashinfer-ai/flashinfer#794",
        "Exception: flashinfer with minimum required version 0.1.6 is not installed.",
    ),
)
