"""Failure hints: torch: which build of it there is, and whether it knows what the engine or the model asks of it."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

HINTS = (
    Hint(
        "build-no-compiler",
        r"No CMAKE_C(?:XX)?_COMPILER could be found|CMAKE_C(?:XX)?_COMPILER not set",
        "a package is built from source here, and there is no compiler for C or C++",
        "install gcc and g++ (build-essential; gcc-c++ on openEuler and RHEL), or use a wheel or an image that has the package built",
        "vllm-project/vllm-ascend#439",
        "No CMAKE_CXX_COMPILER could be found.",
    ),
    Hint(
        "memory-overwritten",
        r"^(?:\*\*\* stack smashing detected|corrupted (?:size vs\. prev_size|double-linked list)|double free or corruption|(?:free|malloc"
        r"|realloc|munmap_chunk|malloc_consolidate)\(\): )",
        "compiled code of the engine overwrote memory, and the C library ended it: libraries of different builds are mixed, or this release has a fault",
        "use an image as it was built; take LD_PRELOAD (jemalloc, tcmalloc) out of env once; leave out what was added last (plugins, KV connectors), or take"
        " another release",
        "glibc, malloc; vllm-project/vllm-omni#5094",
        "corrupted size vs. prev_size",
        passing=True,
        sure=False,
    ),
    Hint(
        "torch-cpu-index",
        r"there is no version of torch==[\w.]{1,20}\+cpu|No matching distribution found for torch==[\w.]{1,20}\+cpu",
        "torch-npu (or what is installed) wants torch's CPU build, and the package index in use does not have it",
        "give pip or uv --extra-index-url https://download.pytorch.org/whl/cpu (or the site's mirror of it), or use an image",
        "vllm-project/vllm-ascend#12389, #1411",
        "Because torch-npu==2.10.0 depends on torch==2.10.0+cpu and there is no version of torch==2.10.0+cpu, we can conclude that",
    ),
    Hint(
        "torch-without-cuda",
        r"Torch (?:was )?not compiled with CUDA",
        "something calls CUDA, and this torch has none: a CPU build where a GPU is meant; on NPUs and CPUs a part that does not know them, or a"
        " plugin not loaded",
        "on a GPU install the torch that vLLM names from the CUDA index; on NPUs the vLLM, vllm-ascend and torch-npu of one release; or use an image",
        "pytorch; vllm-project/vllm-ascend#516",
        "AssertionError: Torch not compiled with CUDA enabled",
    ),
    Hint(
        "torch-operator-twice",
        r"Only a single TORCH_LIBRARY can be used|operator[^\n]{0,80}(?:already (?:been )?registered|multiple times)"
        r"|Tried to register an operator[^\n]{0,120}multiple times",
        "a compiled part is loaded twice: two copies of it are in the environment",
        "remove the older copy (pip list, PYTHONPATH of the row's env), or use an image as it was built",
        "pytorch, dispatcher",
        "RuntimeError: Only a single TORCH_LIBRARY can be used to register the namespace _C",
        sure=False,
    ),
    Hint(
        "dtype-unknown-to-torch",
        r"module 'torch' has no attribute '(?:nvfp4|mxfp4|fp4|fp8\w{0,12}|auto|half_float|turboquant\w{0,20})'",
        "the engine took the name of a dtype to torch, which has none of that name: the option's value is known to the engine, not to"
        " the kernels behind it",
        "remove kv_cache_dtype (or dtype) from engine_args, choose another attention backend, or a newer engine",
        "vllm-project/vllm#43562",
        "AttributeError: module 'torch' has no attribute 'nvfp4'",
    ),
    Hint(
        "torch-dtype",
        r"module 'torch' has no attribute '(?:b?float|u?int|complex|bits|bf)\d\w{0,20}'",
        "torch has no dtype of that name: config.json (dtype, torch_dtype) writes another word, or this torch is older than the model",
        "compare dtype in config.json with the model's page; if it is right, use the torch (the engine) that the page names",
        "vLLM 0.25.1; deepseek-ai/DeepSeek-V3",
        "AttributeError: module 'torch' has no attribute 'float8_e8m0fnu'",
    ),
    Hint(
        "torch-attribute",
        r"module 'torch(?:\.[\w.]{1,60})?' has no attribute '(?!(?:b?float|u?int|complex|bits|bf)\d)|cannot import name '\w{1,60}' from 'torch[.']"
        r"|No module named 'torch\.\w{1,40}|'torch[\w.]{0,40}' has no attribute|infer_schema|schema[^\n]{0,40}unsupported type",
        "the environment's torch is of another version than what calls it",
        "install the torch that this vLLM names, or use an image as it was built",
        "vllm-project/vllm, requirements",
        "AttributeError: module 'torch' has no attribute 'compiler'",
        sure=False,
    ),
    Hint(
        "store-without-libuv",
        r"use_libuv was requested",
        "this torch was built without libuv, and its store of ranks is asked to use it",
        "set env USE_LIBUV: 0, or use a torch of the usual index or an image",
        "PyTorch, TCPStore.cpp",
        "RuntimeError: use_libuv was requested but PyTorch was built without libuv support",
    ),
    Hint(
        "started-without-launcher",
        r"environment variable \w{1,30} expected, but not set",
        "a process expects to be told its rank and where ranks meet (MASTER_ADDR, RANK), and was started without",
        "start it by what starts ranks (vllm serve itself, torchrun, ray), not as a script of its own; take half of such variables out of the row's"
        " env",
        "PyTorch, rendezvous.py",
        "ValueError: Error initializing torch.distributed using env:// rendezvous: environment variable MASTER_ADDR expected, but not set",
        sure=False,
    ),
    Hint(
        "torch-without-backend",
        r"Distributed package doesn't have (?:NCCL|MPI|GLOO|UCC|HCCL) built in",
        "this torch was built without what ranks talk by: a build for CPUs, or for another system or board",
        "on a GPU install the torch that vLLM names from the CUDA index, or use an image (a Jetson: one for it); on one device tensor_parallel_size"
        " 1 does without",
        "PyTorch, distributed_c10d.py",
        "RuntimeError: Distributed package doesn't have NCCL built in",
    ),
    Hint(
        "backend-for-device-none",
        r"No backend type associated with device type",
        "ranks exchange data that lies where their group has no backend: in the host's memory (offload, sleep mode), or on another accelerator than"
        " was meant",
        "remove cpu_offload_gb, sleep mode and its like from engine_args; else another release of the engine",
        "PyTorch, ProcessGroup.hpp",
        "RuntimeError: No backend type associated with device type cpu",
        sure=False,
    ),
    Hint(
        "torch-cpu-build-wanted",
        r"torch-npu [\w.]{1,20} depends on torch==[\w.]{1,20}\+cpu",
        "torch-npu wants torch's CPU build of its version, which the usual index does not have; or another package wants another torch",
        "give pip --extra-index-url https://download.pytorch.org/whl/cpu; if the message names another version of torch too, take packages of one"
        " release, best an image",
        "vllm-project/vllm-ascend#7089",
        "    torch-npu 2.9.0 depends on torch==2.9.0+cpu",
        sure=False,
    ),
)
