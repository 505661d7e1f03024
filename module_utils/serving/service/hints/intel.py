"""Failure hints: Intel GPUs (XPU): Level Zero in its own words."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

HINTS = (
    Hint(
        "xpu-lost",
        r"UR_RESULT_ERROR_DEVICE_LOST|ZE_RESULT_ERROR_DEVICE_LOST",
        "the driver reset an Intel GPU or lost it: a kernel hung or failed, or GPUs without a direct link were used together",
        "see dmesg for lines of xe or i915; try tensor_parallel_size: 1, enforce_eager: true and another release of driver and image; reboot if"
        " it stays",
        "intel/llm-scaler#424",
        "RuntimeError: level_zero backend failed with error: 20 (UR_RESULT_ERROR_DEVICE_LOST)",
        sure=False,
    ),
    Hint(
        "xpu-memory-out",
        r"(?:UR|ZE)_RESULT_ERROR_OUT_OF_(?:DEVICE_MEMORY|HOST_MEMORY|RESOURCES)|XPU out of memory",
        "memory (or another resource) of an Intel GPU or of the host for it ran out",
        "lower gpu_memory_utilization, max_model_len or max_num_seqs, or raise tensor_parallel_size; xpu-smi shows what holds it",
        "oneAPI, Unified Runtime",
        "RuntimeError: level_zero backend failed with error: 40 (UR_RESULT_ERROR_OUT_OF_RESOURCES)",
    ),
    Hint(
        "xpu-no-render-node",
        r"oneCCL: ze_fd_manager\.cpp[^\n]{0,80}open failed|fill_device_fds[^\n]{0,80}(?:open )?failed",
        "oneCCL could not open the device files of the Intel GPUs: /dev/dri is not in the container as a whole (its by-path too), or this user may"
        " not open it",
        "give the container /dev/dri, with /dev/dri/by-path mounted, and the groups video and render; ls -l /dev/dri/by-path shows the nodes",
        "vllm-project/vllm#14747",
        "RuntimeError: oneCCL: ze_fd_manager.cpp:214 fill_device_fds: EXCEPTION: open failed: fd: -1, errno: No such file or directory",
        sure=False,
    ),
    Hint(
        "gaudi",
        r"\bsynStatus\b|MODULE:PT_\w{2,20}|\bhabana_frameworks\b[^\n]{0,80}(?:rror|fail)|synDeviceAcquire",
        "a call of Gaudi's software (Synapse and its bridge to PyTorch) failed: its release and the driver's differ, another process"
        " holds the cards, or"
        " it does not serve this generation (Gaudi 1) or model",
        "hl-smi shows driver and processes; use the image that names this driver's release; PT_HPU_LAZY_MODE and enforce_eager: true change what is"
        " compiled",
        "HabanaAI/vllm-fork#484",
        "RuntimeError: synStatus=synStatus 99 [nobody has seen this one].",
        general=True,
    ),
    Hint(
        "oneccl",
        r"\boneCCL: |\|CCL_ERROR\|",
        "oneCCL, which joins Intel GPUs (and is asked by a single one too), failed: a device file, a network interface or shared memory"
        " that it wants is not"
        " there, or its release and the driver's differ",
        "the words behind it name the step; give /dev/dri as a whole and enough shm_bytes, try CCL_ATL_TRANSPORT: ofi with FI_PROVIDER: shm and"
        " CCL_ZE_IPC_EXCHANGE: sockets in the row's env; CCL_LOG_LEVEL: debug says more",
        "uxlfoundation/oneCCL, environment variables",
        "RuntimeError: oneCCL: acme.cpp:1 nobody: EXCEPTION: nobody has seen this one",
        general=True,
    ),
    Hint(
        "xpu",
        r"level_zero backend failed with error|(?:UR|ZE)_RESULT_ERROR_\w{3,40}",
        "a call of an Intel GPU's driver failed",
        "its code says more; see dmesg for lines of xe or i915, and use the driver that the image's release names",
        "oneAPI, Unified Runtime",
        "RuntimeError: level_zero backend failed with error: 7 (UR_RESULT_ERROR_NOBODY_KNOWS)",
        general=True,
    ),
    Hint(
        "cpu-shm-missing",
        r"'_OpNamespace' '_C\w{0,20}' object has no attribute '(?:init_shm|shm_|join_shm)",
        "this build of vLLM has no communication over shared memory between ranks on CPUs: it was built on or for a CPU without AVX512",
        "set tensor_parallel_size: 1, use a newer release (since 0.8.5 it goes another way there), or a host whose lscpu shows avx512f",
        "vllm-project/vllm#16800",
        "AttributeError: '_OpNamespace' '_C' object has no attribute 'init_shm_manager'",
        sure=False,
    ),
    Hint(
        "cpu-op-missing",
        r"'_OpNamespace' '_C\w{0,20}' object has no attribute '(?:create_onednn|onednn_|is_onednn|release_dnnl|cpu_|init_cpu|mla_decode_kvcache_cpu)",
        "this build of vLLM has no such kernel for CPUs: it was built on or for a CPU without AVX512, whose 8-bit kernels need it, or it"
        " is no build for CPUs",
        "lscpu must show avx512f: take the image or wheel for CPUs of this release; on a CPU without it a model that is not quantised to"
        " 8 bits (W8A8); built by hand: VLLM_TARGET_DEVICE=cpu, on a host like this one",
        "vllm-project/vllm#24763",
        "AttributeError: '_OpNamespace' '_C' object has no attribute 'create_onednn_scaled_mm_handler'",
        sure=False,
    ),
    Hint(
        "cpu-kv-memory",
        r"[Rr]educe CPU memory used by other processes",
        "a NUMA node of this host has less memory free than the KV cache is to have: other programs hold it, or a container has a limit"
        " that this release does not see (it counts the host's)",
        "lower kv_cache_memory_bytes (VLLM_CPU_KVCACHE_SPACE, or gpu_memory_utilization in releases that share by it); numactl -H shows"
        " each node; a release that reads the limit of the cgroup",
        "vllm-project/vllm#45086",
        "ValueError: Available memory on node 0 (149/692 GiB) on kv cache allocation is less than requested memory for kv (206/207 GiB)."
        " Reduce CPU memory used by other processes.",
        sure=False,
    ),
    Hint(
        "cpu-numa-nodes",
        r"Not enough allowed NUMA nodes",
        "the engine is to have a NUMA node for each of its processes, and may use fewer: the host has fewer, or a cpuset of the"
        " container or unit leaves out some",
        "lscpu and numactl -s show them: tensor_parallel_size (times pipeline and data parallel) at most their"
        " number, correct cpuset, or name the cores in VLLM_CPU_OMP_THREADS_BIND (0-31|32-63)",
        "vLLM, v1/worker/cpu_worker.py",
        "AssertionError: Not enough allowed NUMA nodes to bind threads of 2 CPUWorkers. Allowed NUMA nodes are [0]. Please try to bind"
        " threads manually.",
    ),
    Hint(
        "cpu-without-avx512",
        r"CPU backend requires AVX512|requires X86_64 AVX512|requires (?:AVX512|AVX2) ISA",
        "this vLLM for CPUs needs instructions (AVX-512, or AVX2) that this processor does not have",
        "lscpu shows its flags: use a newer vLLM for CPUs (AVX2 is enough there), or a host with AVX-512",
        "vllm-project/vllm#5317",
        "vLLM CPU backend requires AVX512 ISA support.",
    ),
)
