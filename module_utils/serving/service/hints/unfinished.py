"""Hints for a log without any error: what its last line says of where a start stands still, or only takes long. Never sure; asked of that line alone."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

LONGER = "raise ready_timeout where it only takes long"
HINTS = (
    Hint(
        "stops-at-nccl",
        r"vLLM is using nccl==|world_size=\d{1,5} rank=\d{1,5} |Init torch distributed begin|Initializing torch distributed",
        "the log ends where the GPUs first talk to each other: they can't reach each other's memory (IOMMU or ACS of the host, a virtual machine), a rank"
        " did not come, or /dev/shm is too small",
        "NCCL_P2P_DISABLE: 1 in the row's env shows whether that is it: then switch ACS off in the firmware, iommu=pt on the kernel's line; NCCL_DEBUG: INFO"
        " names the step; raise shm_bytes",
        "vllm-project/vllm#33041",
        "(Worker pid=820) INFO 01-25 20:55:03 [pynccl.py:111] vLLM is using nccl==2.27.5",
        sure=False,
    ),
    Hint(
        "stops-at-weights",
        r"Starting to load model|Loading \w{1,20} checkpoint shards:|Load weight begin|Loading weights|Using model weights format",
        "the log ends while weights are read: a slow disk or network file system, or host memory that swaps",
        LONGER + "; iostat -x and free -h on the host; a local disk for models_root, fewer services that load at once",
        "vLLM, troubleshooting",
        "INFO 05-12 09:11:15 [gpu_model_runner.py:4200] Starting to load model /models/m...",
        sure=False,
    ),
    Hint(
        "stops-at-download",
        r"Fetching \d{1,6} files|Downloading (?![^\n]{0,300}(?:fail|error|retry))|\.safetensors: +\d{1,3}%",
        "the log ends while files are downloaded: the engine was given a hub's name, or the download is slow",
        LONGER
        + "; let the playbook fetch the model before (models.yml, deploy.yml --tags fetch), so that the service starts from the host's disk",
        "huggingface_hub",
        "Fetching 15 files:  40%|####      | 6/15 [10:00<15:00, 100.00s/it]",
        sure=False,
    ),
    Hint(
        "stops-at-engine",
        r"Waiting for \d{1,5} local, \d{1,5} remote core engine proc|Waiting for (?:\d{1,5} )?(?:core )?engine|Initializing a V1 LLM engine",
        "the server waits for its engine, which still starts (it loads, downloads or compiles), or for one on another host that does not come",
        LONGER
        + "; the engine's own lines (EngineCore, Worker) say how far it is; of several hosts look at the other's log and at the firewall between them",
        "vllm-project/vllm#17676",
        "(APIServer pid=1) DEBUG 11-14 10:01:05 [v1/engine/utils.py:776] Waiting for 1 local, 0 remote core engine proc(s) to start.",
        sure=False,
    ),
    Hint(
        "stops-at-compilation",
        r"torch\.compile|Dynamo bytecode transform|Compiling a graph|Cache the graph|Start(?:ing)? compil|DeepGEMM warmup|[Aa]utotun|JIT compil|ninja: ",
        "the log ends while kernels or graphs are compiled, which takes minutes at the first start, or as long as a lock that a killed"
        " start left is waited for",
        LONGER
        + "; keep the cache (VLLM_CACHE_ROOT, TORCHINDUCTOR_CACHE_DIR on a folder that stays); remove *.lock files below ~/.cache where nobody compiles;"
        " enforce_eager: true does without",
        "vLLM, torch.compile",
        "INFO 05-12 09:12:15 [backends.py:518] Dynamo bytecode transform time: 5.12 s",
        sure=False,
    ),
    Hint(
        "stops-at-graphs",
        r"Capturing|Capture cuda graph begin|Graph capturing",
        "the log ends while graphs are captured, which takes minutes with many batch sizes, or a rank hangs in it",
        LONGER
        + "; set fewer cudagraph_capture_sizes (a lower max_num_seqs), or enforce_eager: true to see whether that is it",
        "vLLM, CUDA graphs",
        "Capturing CUDA graph shapes:  57%|#####7    | 20/35 [00:10<00:08,  1.8it/s]",
        sure=False,
    ),
    Hint(
        "stops-when-ready",
        r"Application startup complete|Uvicorn running on|Starting vLLM API server|The server is fired up and ready",
        "the log ends with a server that is ready: the engine works, and what failed is on the way to it (port, address, firewall, key) or"
        " came after the log",
        "curl its /health on the host itself; compare address and port of the row, the firewall, and for a container `docker ps` and its ports",
        "vLLM, uvicorn",
        "INFO:     Application startup complete.",
        sure=False,
    ),
)
