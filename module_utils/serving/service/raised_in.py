"""Whose code raised an error that nobody knows: the innermost file of its traceback that is of a part of the engine which a row can set or leave out.

That is no cause, but where to turn: an error from FlagGems' files goes away without FlagGems, one from the model's own code does not.
"""

from __future__ import annotations

import re

from ansible.module_utils.serving.service.statements import Statement

# Path of a file, whose code it is, what helps, and what helps in SGLang where its options have other names. Where one path is of two of them, the
# first counts.
PARTS = tuple(
    (
        re.compile(path),
        whose,
        remedy,
        of_sglang[0] if of_sglang else remedy,
    )
    for path, whose, remedy, *of_sglang in (
        (
            r"/(?:flag_?gems|FlagGems)/",
            "FlagGems' code, which may not fit this Triton, torch or accelerator",
            "set flaggems: false, or leave the operator out that the file's name tells; else use the flag_gems that the image was built with",
        ),
        (
            r"/transformers_modules/|/(?:configuration|modeling|tokenization|processing)_\w{1,60}_remote\.py$",
            "code that the model brings with it (trust_remote_code), written for certain releases of transformers and torch",
            "use the transformers that the model's page names, a newer revision of the model, or an engine that has the model itself",
        ),
        (
            r"/\.?aiter/|/rocm_aiter\w{0,30}\.py$|/_aiter_ops\.py$",
            "AITER, AMD's kernels, which take few GPUs and shapes",
            "set env VLLM_ROCM_USE_AITER: 0, or use AMD's image as it was built",
            "set env SGLANG_USE_AITER: 0, or use AMD's image as it was built",
        ),
        (
            r"\bdeep_gemm/__init__\.py$",
            "the import of DeepGEMM, which looks for a CUDA toolkit (nvcc) by CUDA_HOME or in /usr/local/cuda, or was built for another torch",
            "set CUDA_HOME in the row's env to a toolkit, use an image as it was built (of the kind devel), or uninstall deep_gemm",
        ),
        (
            r"/(?:deep_gemm|deep_ep|flash_mla)/",
            "DeepSeek's kernels (deep_gemm, deep_ep, flash_mla), which take few accelerators and shapes",
            "set env VLLM_USE_DEEP_GEMM: 0, another all2all_backend or attention backend, or use the image as it was built",
            "set env SGLANG_ENABLE_JIT_DEEPGEMM: 0, another moe_a2a_backend or attention_backend, or use the image as it was built",
        ),
        (
            r"/(?:flashinfer|flash_attn\w{0,20}|vllm_flash_attn|xformers)/",
            "a library of attention kernels (flashinfer, flash_attn, xformers)",
            "let the engine choose another attention backend, set env VLLM_USE_FLASHINFER_SAMPLER: 0, or install the release of it that the engine names",
            "set another attention_backend or sampling_backend, or install the release of it that the engine names",
        ),
        (
            r"/(?:lmcache|kvcached|nixl\w{0,20}|mooncake\w{0,20})/|/kv_(?:transfer|connector)/",
            "what moves or keeps the KV cache beside the engine (LMCache, NIXL, Mooncake, kvcached)",
            "start once without kv_transfer_config or its package; install the release of it that names this engine's",
            "start once without disaggregation_mode, enable_hierarchical_cache and enable_lmcache; install the release of it that names this engine's",
        ),
        (
            r"\bvllm/utils/import_utils\.py$",
            "what loads a class or module that an option names (distributed_executor_backend, worker_cls, scheduler_cls, middleware, plugins)",
            "correct that option (one of the engine's own words, or module.Class), or leave it out; where no accelerator was found, nvidia-smi must work there",
        ),
        (
            r"\bvllm_ascend/(?:ascend_config|envs|platform)\.py$",
            "the check of additional_config and of the VLLM_ASCEND_ variables of env, with the options that they go with",
            "correct the key or option that its sentence names, or leave it out of additional_config, engine_args or env",
        ),
        (
            r"\bvllm_ascend/cpu_binding\.py$",
            "the binding of vllm-ascend's workers to CPUs",
            "set enable_cpu_binding: false in engine_args.additional_config; compare the unit's or container's CPUs with the NPUs' own (npu-smi info -t topo)",
        ),
        (
            r"\bvllm_ascend/(?:_310p/)?quantization/",
            "vllm-ascend's code of a quantisation",
            "use weights in W8A8 that ModelSlim made for this release (engine_args.quantization: ascend), a newer release, or the model as it was published",
        ),
        (
            r"/(?:bitsandbytes|auto_gptq|gptqmodel|awq|autoawq|compressed_tensors|quark|modelopt|torchao)/|\blayers/quantization/",
            "the code of a quantisation",
            "use the model in another quantisation or a newer engine; leave `quantization` out of engine_args, so that config.json decides",
        ),
        (
            r"(?:^|/)(?:xgrammar|outlines\w{0,10}|llguidance\w{0,10}|toktrie|derivre|lmformatenforcer)\S{0,20}/|/structured_output/",
            "the part that keeps answers to a grammar or JSON schema",
            "look at the schema of the request; choose another backend in structured_outputs_config, or a newer engine",
            "look at the schema of the request; choose another grammar_backend, or a newer engine",
        ),
        (
            r"/(?:spec_decode|speculative)/|/(?:\w{1,40}_)?(?:eagle\d?|medusa|mtp|nextn|ngram_proposer)\w{0,20}\.py$",
            "the part for speculative decoding",
            "start once without speculative_config: where that helps, use a draft model that this release names, or another release",
            "start once without speculative_algorithm: where that helps, use a draft model that this release names, or another release",
        ),
        (
            r"/(?:device_communicators|parallel_state|custom_all_reduce\w{0,10})(?:/|\.py$)",
            "the communication between the devices",
            "set disable_custom_all_reduce: true; NCCL_DEBUG: INFO (HCCL: plog) in the row's env names the call; look for what the other ranks said before",
        ),
        (
            r"\bvllm/envs\.py$|\bsglang/srt/environ\.py$",
            "the reading of the engine's variables: one of the row's env has a value of another kind (mostly a number or 0 and 1 are expected)",
            "the line of source in the traceback names the variable: correct it in env, or leave it out",
        ),
        (
            r"/jinja2/|^<template>$|/template_manager\.py$|/jinja_template_utils\.py$",
            "the reading of the chat template",
            "set engine_args.chat_template to the file of a template that belongs to this model; compare chat_template.jinja and tokenizer_config.json with"
            " the model's page",
        ),
        (
            r"\bvllm/config/(?!vllm|model|__init__)\w{1,30}\.py$|\bsglang/srt/server_args\.py$",
            "the check of the engine's options: one has a value that it does not know, or lacks another one that belongs to it",
            "correct the option that the error or the traceback's last lines name, and set or leave out all that belong together (speculative_config wants"
            " method or model, and num_speculative_tokens)",
            "correct the option that the error or the traceback's last lines name, and set or leave out all that belong together (speculative_algorithm"
            " wants speculative_num_steps, speculative_eagle_topk and speculative_num_draft_tokens)",
        ),
        (
            r"/rotary_embedding(?:/|\.py$)",
            "the position embeddings: what config.json or hf_overrides say of them (rope_scaling, rope_parameters) lacks a key, or has one that does not fit",
            "compare it with the model's page; repeat all keys in hf_overrides (rope_theta and original_max_position_embeddings too)",
        ),
        (
            r"/lora/|/peft/",
            "the part for LoRA adapters",
            "start once without the adapters; compare the adapter's base model, rank and target modules with what the release supports",
        ),
        (
            r"\btorch/_(?:inductor|dynamo|functorch)/|\btorch/fx/|/torch_compile_cache/|/torchinductor_|/vllm\w{0,10}/compilation/|/cuda_?graph\w{0,20}\.py$",
            "the compilation of the model or the capture of its graphs",
            "set enforce_eager: true: where that helps, remove the compile cache, leave compilation_config out, or use another release",
            "set disable_cuda_graph: true: where that helps, lower cuda_graph_max_bs, leave enable_torch_compile out, or use another release",
        ),
        (
            r"\bcore/sched/|/scheduler\w{0,20}\.py$|/block_manager\w{0,20}\.py$|/kv_cache_manager\.py$|/block_pool\.py$",
            "the scheduling of requests, which fails under load or with features that this release does not join well",
            "set async_scheduling: false, start once without speculative_config and prefix caching, lower max_num_seqs, or use a newer engine",
            "set disable_overlap_schedule and disable_radix_cache: true, leave speculative_algorithm out, lower max_running_requests, or use a newer engine",
        ),
        (
            r"/triton/",
            "Triton, which compiles kernels at run time",
            "use the Triton that belongs to this torch, or an image as it was built; remove ~/.triton; choose another attention backend",
        ),
        (
            r"/(?:mindspore|mindformers|vllm_mindspore|msadapter|mindnlp|mindone|mindtorch)/",
            "MindSpore's side (mindspore, mindformers and what joins them to the engine)",
            "install the four releases that vllm-mindspore's page names together (mindspore, mindformers, vLLM, CANN), or use its image",
            "install the releases of MindSpore and CANN that SGLang's page names together, or use its image",
        ),
        (
            r"/(?:vllm_ascend|torch_npu|torchair)/|\bhardware_backend/npu/",
            "the NPU's side (torch-npu and what joins it to the engine)",
            "install the vLLM, vllm-ascend, torch-npu and CANN that vllm-ascend's page names together, or use its image; try enforce_eager: true",
            "install the torch-npu and CANN that SGLang's page for Ascend names together, or use its image; try disable_cuda_graph: true",
        ),
        (
            r"/filelock/",
            "a lock on a file, which the file system of that cache does not take or does not let this user have",
            "put the cache (HF_HOME, TRITON_CACHE_DIR) on a local disk where the user may write, or mount its file system with locks (flock, nolock off)",
        ),
        (
            r"/(?:huggingface_hub|modelscope)/",
            "the client of a model hub: the engine fetches by itself",
            "run deploy.yml --tags fetch, and serve the folder with env HF_HUB_OFFLINE: 1",
        ),
        (
            r"(?:^|/)tokenizers?(?:-\S{1,20})?/|/(?:transformers|tokenization)\w{0,20}/(?:tokenization|convert_slow)\w{0,60}\.py$|/(?:mistral_common|tiktoken|sentencepiece)/",
            "the reading of the tokenizer",
            "compare the model's folder with its page and run deploy.yml --tags fetch; use the transformers and tokenizers that the engine names",
        ),
        (
            r"/transformers/(?:image|feature|video|processing)\w{0,60}\.py$|/multimodal/|\btransformers/models/\w{1,60}/(?:image_)?processing_",
            "the part that prepares pictures, sound or video",
            "look at the request's media; use the transformers that the engine names, or set limit_mm_per_prompt to 0 for what is not needed",
            "look at the request's media; use the transformers that the engine names",
        ),
        (
            r"/transformers/",
            "transformers, which reads the model's config.json and classes",
            "use the transformers that this engine's release names, or a newer engine; check that the model's folder is whole",
        ),
        (
            r"/model_loader/|/weight_utils\.py$|(?:^|/)safetensors(?:-\S{1,20})?/",
            "the loading of the weights, which may not fit the class that the engine chose",
            "check the model with weights_info (full: true); use the revision that the engine's release was tested with, or a newer engine",
        ),
    )
)


# Files further out only called what failed: a scheduler or a compiler's wrapper stands around all that an engine does.
NEAR = 4
# Where packages lie: what stands before it is the name of somebody's folder.
ENVIRONMENT = re.compile(r"^.*/(?:site-packages|dist-packages|lib(?:64)?/python3[\d.]{0,4})(?=/)")
# The engines' own classes of models are called as what they are like (models/transformers/base.py): they are no part that can be left out.
OWN_MODELS = re.compile(r"\b(?:vllm/model_executor|sglang/srt)/models/(?!\w{0,40}(?:eagle|medusa|mtp|nextn))")
OF_SGLANG = re.compile(r"\bsglang/(?:srt|jit_kernel|multimodal_gen)/")


def raised_in(error: Statement, explained: bool = False) -> str | None:
    """Whose code raised an error, and what helps; None where its traceback has no file of a part that is known.

    `explained`: beside what a row says of its words.
    """
    files = [ENVIRONMENT.sub("", file) for file in error.files]
    sglang = any(OF_SGLANG.search(file) for file in files)
    for file in reversed(files[-NEAR:]):
        for path, whose, remedy, in_sglang in PARTS:
            if path.search(file) and not OWN_MODELS.search(file):
                unknown = "" if explained else "; its words are not among the known failures"
                return "the error came from %s%s: %s" % (whose, unknown, in_sglang if sglang else remedy)
    return None
