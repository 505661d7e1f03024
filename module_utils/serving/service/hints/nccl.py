"""Failure hints: GPUs among themselves (NCCL), and kernels that fail on them."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

CUDA_ERRORS = "docs.nvidia.com, CUDA Runtime API, cudaError_t"
NCCL_DOCS = "docs.nvidia.com, NCCL, troubleshooting"

HINTS = (
    # GPUs among themselves.
    Hint(
        "nccl-shm",
        r"(?:[Ee]rror while creating shared memory segment|Call to (?:posix_fallocate|ftruncate|mmap)|unable to (?:allocate|create"
        r"|extend)).{0,120}(?:/dev/shm|nccl-|No space left)",
        "NCCL gets no room for a segment in /dev/shm: it is too small (Docker gives 64 MiB), or segments of earlier runs fill it",
        "set shm_bytes (16 GiB for tensor parallel), or mount -o remount,size=16g /dev/shm on a host",
        NCCL_DOCS,
        "node1:71:71 [0] include/shm.h:48 NCCL WARN Error while creating shared memory segment /dev/shm/nccl-x1 (size 9637888)",
    ),
    Hint(
        "nccl-multicast",
        r"nvls\.cc[^\n]{0,80}(?:Cuda failure|[Ff]ailed)|Failed to (?:bind|create|allocate)[^\n]{0,30}(?:NVLink SHARP|NVLS|multicast)"
        r"|NVLS[^\n]{0,60}fail",
        "NCCL can't use the NVSwitch's multicast (NVLink SHARP) here",
        "set env NCCL_NVLS_ENABLE: 0; the fabric manager must run for it to work, and after a restart of it the GPUs are reset"
        " (nvidia-smi -r) or the host rebooted",
        "NVIDIA/nccl#976",
        "node1:71:71 [0] transport/nvls.cc:244 NCCL WARN Cuda failure 1 'invalid argument'",
        sure=False,
    ),
    Hint(
        "nccl-shm-not-shared",
        r"[Ee]rror while attaching to shared memory segment",
        "ranks on one host don't see each other's /dev/shm: they run in containers of their own and take them for one host, or the rank that made"
        " the segment has ended",
        "run the ranks of a host in one container, share its IPC (ipc: host), or set env NCCL_SHM_DISABLE: 1",
        "vllm-project/vllm#18831",
        "node1:80:300 [1] misc/shmutils.cc:87 NCCL WARN Error while attaching to shared memory segment /dev/shm/nccl-x (size 9637888), error: No"
        " such file",
    ),
    Hint(
        "nccl-connect",
        r"NCCL WARN [^\n]{0,60}[Cc]onnect to [^\n]{0,120}(?:failed|timed out|refused)",
        "a rank can't reach another one's address: NCCL took the wrong network card (a bridge, link-local), or a firewall stands between",
        "set NCCL_SOCKET_IFNAME in the row's env to the card between the hosts (ip route get shows it), and open its ports",
        NCCL_DOCS,
        "node1:71:88 [0] include/socket.h:403 NCCL WARN Connect to fe80::380d<33941> failed : Connection timed out",
        late=True,
    ),
    Hint(
        "nccl-duplicate-gpu",
        r"Duplicate GPU detected|Multiple Ranks are using the same GPU",
        "two ranks were given the same GPU, or two MIG parts of one GPU",
        "tensor_parallel_size must not exceed the number of `devices`; remove CUDA_VISIBLE_DEVICES from the row's env; with MIG one part for a"
        " service: tensor_parallel_size: 1, or whole GPUs",
        "NVIDIA/nccl, init.cc",
        "node1:71:71 [0] init.cc:943 NCCL WARN Duplicate GPU detected : rank 1 and rank 0 both on CUDA device 65000",
    ),
    Hint(
        "nccl-timeout",
        r"dump signal due to a collective timeout"
        r"|Watchdog caught collective operation timeout|Timeout at NCCL work: \d",
        "one rank waited in vain for the others: one of them hangs, died or is much slower, or data does not pass between them (PCIe P2P under"
        " IOMMU/ACS, the network)",
        "look for what the other ranks said before; if nothing, and at each start: env NCCL_P2P_DISABLE: 1 and disable_custom_all_reduce: true (then"
        " IOMMU or ACS off); over hosts NCCL_DEBUG: INFO; else py-spy dump of the rank that hangs",
        "pytorch, ProcessGroupNCCL.cpp",
        "[rank0]:[E1121 10:00:00.000 ProcessGroupNCCL.cpp:629] [Rank 0] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=12,"
        " OpType=ALLREDUCE)",
        late=True,
    ),
    Hint(
        "nccl-infiniband",
        r"NET/IB ?: (?:[^\n]{0,20}Got (?:completion|async)|[^\n]{0,60}(?:error|failed|No device found))|ibv_\w{1,40}[^\n]{0,60}failed"
        r"(?! with error Cannot allocate memory)"
        r"|misc/ibvwrap\.cc(?!\S{0,8} NCCL WARN Failed to open )",
        "NCCL's traffic over InfiniBand or RoCE fails",
        "see ibstat; MTU and switches' flow control must be alike on all hosts (ip link, ibv_devinfo); name the adapters with NCCL_IB_HCA,"
        " for RoCE also NCCL_IB_GID_INDEX (show_gids), give `rdma: true`, or set env"
        " NCCL_IB_DISABLE: 1 to use TCP",
        NCCL_DOCS,
        "node1:71:88 [0] misc/ibvwrap.cc:123 NCCL WARN Call to ibv_reg_mr failed",
        sure=False,
    ),
    Hint(
        "nccl-memlock",
        r"ibv_(?:reg|create)_\w{2,20}[^\n]{0,60}(?:Cannot allocate memory|error 12)",
        "the system gave NCCL no locked memory for InfiniBand or RoCE: the limit of locked memory is too low for the service, NCCL_BUFFSIZE is too"
        " large, or the host's kernel or the card's driver is at fault",
        "set the unlimited memlock (LimitMEMLOCK=infinity of the unit, --ulimit memlock=-1 of the container); remove NCCL_BUFFSIZE; if it came with an"
        " update of the host, go back to the kernel before",
        NCCL_DOCS,
        "node1:71:88 [0] NCCL WARN Call to ibv_reg_mr_iova2 failed with error Cannot allocate memory",
    ),
    Hint(
        "ucx-endpoint",
        r"Failed to (?:receive UCX worker address|resolve UCX endpoint)",
        "MPI's UCX reaches no address of another rank: the hosts name their network cards differently, or a firewall stands between",
        "name the card between the hosts (env UCX_NET_DEVICES, or OMPI_MCA_btl_tcp_if_include with its subnet) and open its ports",
        "mindspore-ai/docs, FAQ on distributed work",
        "pml_ucx.c:452 Error: Failed to resolve UCX endpoint for rank 3",
        late=True,
    ),
    Hint(
        "no-peer-access",
        r"peer access is not supported between these two devices|cudaErrorPeerAccessUnsupported",
        "these GPUs can't read each other's memory",
        "set engine_args.disable_custom_all_reduce: true and env NCCL_P2P_DISABLE: 1",
        CUDA_ERRORS,
        "RuntimeError: CUDA error: peer access is not supported between these two devices",
    ),
    Hint(
        "custom-all-reduce",
        r"custom_all_reduce\.cuh?:\d{1,5}|custom_all_reduce\.py[^\n]{0,80}(?:invalid|failed)",
        "vLLM's own all-reduce failed: it does not work between these GPUs or with these memory settings, or a kernel before it failed",
        "set engine_args.disable_custom_all_reduce: true; remove expandable_segments from PYTORCH_CUDA_ALLOC_CONF",
        "vllm-project/vllm#5854",
        "Failed: Cuda error /workspace/csrc/custom_all_reduce.cuh:364 'invalid argument'",
        sure=False,
    ),
    Hint(
        "nccl-cuda",
        r"unhandled cuda error|ncclUnhandledCudaError|NCCL_ERROR_UNHANDLED_CUDA",
        "NCCL failed because a call of CUDA failed: no memory left, a driver older than this NCCL needs, or a GPU that is in a bad state",
        "NCCL_DEBUG=INFO in the row's env names the call; nvidia-smi shows memory and processes, dmesg Xid lines",
        "docs.nvidia.com, NCCL, troubleshooting",
        "RuntimeError: NCCL error: unhandled cuda error (run with NCCL_DEBUG=INFO for details)",
        general=True,
    ),
    Hint(
        "nccl-usage",
        r"NCCL [Ee]rror(?:(?: \d{1,2})?:| in: [^\n]{1,160}:\d{1,6},) invalid (?:usage|argument)|ncclInvalidUsage|ncclInvalidArgument",
        "the ranks call NCCL in ways that don't fit: an NCCL_* variable of env names an interface, net or algorithm that is not there,"
        " two ranks are on one"
        " GPU, or they run different versions of NCCL",
        "NCCL_DEBUG=WARN in the row's env names the reason; leave other NCCL_* variables out; tensor_parallel_size must not exceed the number of"
        " `devices`; the same image on all hosts",
        "docs.nvidia.com, NCCL, troubleshooting",
        "RuntimeError: NCCL error: invalid usage (run with NCCL_DEBUG=WARN for details)",
        general=True,
    ),
    Hint(
        "nccl",
        r"NCCL [Ee]rror|NCCL_ERROR_\w{1,40}|ncclSystemError|ncclInternalError|Failed to init NCCL|NCCL WARN",
        "the GPUs can't talk to each other",
        "check shm_bytes (16 GiB for tensor parallel) and nvidia-smi topo -m; NCCL_DEBUG=INFO in the row's env names the reason",
        NCCL_DOCS,
        "RuntimeError: NCCL error: unhandled system error (run with NCCL_DEBUG=INFO for details)",
        general=True,
    ),
    # Kernels that fail: CUDA reports them at a later call, so the traceback names the wrong place.
    Hint(
        "illegal-access",
        r"an illegal memory access was encountered|misaligned address|Failed to initialize the TMA descriptor|cudaErrorIllegalAddress|an illegal"
        r" instruction was encountered|unspecified launch"
        r" failure|CUDA error: (?:hardware stack error|invalid program counter|operation not supported on global/shared address space)",
        "a GPU kernel failed; CUDA reports it at a later call, so the traceback may name the wrong place",
        "try enforce_eager: true, another attention_backend, no speculative_config, then a newer engine; `flaggems: false` if FlagGems is on;"
        " CUDA_LAUNCH_BLOCKING=1 in the row's env names the kernel; see dmesg for Xid lines",
        CUDA_ERRORS,
        "torch.AcceleratorError: CUDA error: an illegal memory access was encountered",
        late=True,
    ),
    Hint(
        "device-assert",
        r"device-side assert triggered|cudaErrorAssert\b",
        "a GPU kernel found a value out of range; CUDA reports it at a later call, so the traceback may name the wrong place",
        "CUDA_LAUNCH_BLOCKING=1 in the row's env names the kernel; check that tokenizer, config.json and weights belong together",
        CUDA_ERRORS,
        "torch.AcceleratorError: CUDA error: device-side assert triggered",
        late=True,
    ),
    Hint(
        "cublas",
        r"CUBLAS_STATUS_(?:NOT_INITIALIZED|ALLOC_FAILED)",
        "cuBLAS can't start: most often the GPU's memory is used up",
        "lower gpu_memory_utilization or max_num_seqs; nvidia-smi shows whether something else holds memory",
        "docs.nvidia.com, cuBLAS, cublasStatus_t",
        "RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        sure=False,
    ),
    Hint(
        "cuda-graph-capture",
        r"operation not permitted when stream is capturing|cudaErrorStreamCapture\w{3,40}|operation (?:would make"
        r"|failed due to a previous error during capture)",
        "an operation can't be captured into a CUDA graph",
        "set engine_args.enforce_eager: true; then leave out the option or operator (FlagGems) that brings it, or use a newer engine",
        "docs.nvidia.com, CUDA Runtime API, cudaError_t",
        "RuntimeError: CUDA error: operation not permitted when stream is capturing",
        late=True,
    ),
    Hint(
        "cuda-launch-timeout",
        r"the launch timed out and was terminated|cudaErrorLaunchTimeout",
        "a kernel ran longer than the driver allows on a GPU that drives a display",
        "take the display off this GPU, or give the service another one",
        "docs.nvidia.com, CUDA Runtime API, cudaError_t",
        "RuntimeError: CUDA error: the launch timed out and was terminated",
    ),
    Hint(
        "cuda-start",
        r"(?:CUDA error: |Cuda failure (?:\d{1,4} )?')initialization error|cudaErrorInitializationError",
        "CUDA could not start in this process: it was forked after CUDA was in use, or the driver is in a bad state",
        "set env VLLM_WORKER_MULTIPROC_METHOD: spawn; nvidia-smi must work, and see dmesg for Xid lines",
        "docs.nvidia.com, CUDA Runtime API, cudaError_t",
        "RuntimeError: CUDA error: initialization error",
        sure=False,
    ),
    Hint(
        "cublas-failed",
        r"CUBLAS_STATUS_\w{1,40}|CUDNN_STATUS_\w{1,40}",
        "a call of cuBLAS or cuDNN failed: their libraries are of another version than torch was built with, or a kernel before it failed",
        "remove LD_LIBRARY_PATH from the row's env or use an image as it was built; CUDA_LAUNCH_BLOCKING=1 in the row's env names the first call",
        "docs.nvidia.com, cuBLAS, cublasStatus_t",
        "RuntimeError: CUDA error: CUBLAS_STATUS_INTERNAL_ERROR when calling `cublasGemmEx(handle)`",
        general=True,
        late=True,
    ),
    Hint(
        "ptxas-failed",
        r"Internal Triton PTX codegen error|PTX codegen error|Command '\[?'?[^\n]{0,160}/ptxas'",
        "Triton's assembler (ptxas) refused a kernel: it is older than the GPU or the code needs, or the kernel is at fault",
        "look for its own line (ptxas fatal, ptxas error) above; use an image with a newer CUDA, or env TRITON_PTXAS_PATH; with FlagGems on try"
        " flaggems: false",
        "triton-lang/triton",
        "RuntimeError: Internal Triton PTX codegen error",
        general=True,
    ),
    Hint(
        "triton-kernel-failed",
        r"Triton Error \[\w{2,6}\]",
        "a Triton kernel could not be launched",
        "with FlagGems on try flaggems: false, or leave its operator out; else a Triton that belongs to this torch and driver",
        "FlagOpen/FlagGems#5996",
        "RuntimeError: Triton Error [CUDA]: invalid argument",
        general=True,
    ),
    Hint(
        "triton-old-gpu",
        r"Assertion .{0,120}(?:only supported on (?:Ampere|Hopper|Blackwell)|layout conversion)|Fp8 conversion not natively supported",
        "a Triton kernel does not compile for this GPU: most often the GPU is older than the kernel or this Triton serves",
        "use another attention backend or dtype, or an engine that still serves this GPU",
        "triton-lang/triton; ray-project/ray#52377",
        "python: x.cpp:1: Assertion `mma -> mma layout conversion is only supported on Ampere' failed.",
        sure=False,
    ),
    Hint(
        "nccl-library-missing",
        r"Failed to load NCCL library|name 'ncclGetVersion' is not defined",
        "NCCL's library (libnccl.so.2) is not found or does not load",
        "install nvidia-nccl-cu12 (cu13) of torch's version into the environment, name the file by VLLM_NCCL_SO_PATH in the row's env, or use an image as it"
        " was built",
        "vllm-project/vllm#4257",
        "ERROR 04-23 11:39:28 pynccl.py:44] Failed to load NCCL library from libnccl.so.2 . It is expected if you are not running on NVIDIA/AMD GPUs.",
    ),
    Hint(
        "cuda",
        r"CUDA error: |[Cc]uda failure|^(?![^\n]{0,300}deep_?gemm)[^\n]{0,400}cudaError[A-Z]|CUDA driver error(?![^\n]{0,80}deep_?gemm)",
        "a call of CUDA failed",
        "see dmesg for Xid lines; CUDA_LAUNCH_BLOCKING=1 in the row's env names the call, because CUDA may report it later",
        CUDA_ERRORS,
        "RuntimeError: CUDA error: nobody has seen this one",
        general=True,
    ),
    Hint(
        "rendezvous-foreign",
        r"invalid nonce returned|nonce == returnedNonce",
        "what answers at the rendezvous port is not this deployment's: another program or an older run has the port",
        "end it (ss -ltnp shows whose it is), or choose another MASTER_PORT",
        "PyTorch, TCPStore.cpp",
        "RuntimeError: nonce == returnedNonce INTERNAL ASSERT FAILED. Ping failed, invalid nonce returned",
    ),
    Hint(
        "deepep-timeout",
        r"DeepEP[^\n]{0,60}time ?out",
        "a rank waited in vain for the others' tokens (DeepEP): one of them hangs, died or is much slower, or the network between them does not"
        " carry it",
        "look for what the other ranks said before; NVSHMEM and InfiniBand (IBGDA) must work on all hosts, else another all2all backend in"
        " engine_args",
        "deepseek-ai/DeepEP",
        "RuntimeError: DeepEP error: CPU recv timeout",
        late=True,
    ),
    Hint(
        "cuda-ipc",
        r"CUDA IPC handle|cudaIpc\w{3,30}|cuIpc\w{3,30}",
        "processes can't share a GPU's memory (CUDA IPC): WSL has none, they are in containers that don't share IPC or see other GPUs, or the"
        " owner died",
        "run the processes in one container, drop CUDA_VISIBLE_DEVICES and expandable_segments from the row's env; look for what the others said"
        " before",
        "docs.nvidia.com, CUDA, interprocess communication",
        "Failed to open CUDA IPC handle",
        sure=False,
    ),
    Hint(
        "symmetric-memory",
        r"(?:[Dd]evice|GPU)s? (?:does|do) not support multicast"
        r"|SymmetricMemory|cuMulticast\w{2,30}",
        "GPUs can't share memory as torch's symmetric memory wants it (NVLink multicast): the fabric manager is not up, or a container"
        " or driver refuses it",
        "set env TORCH_SYMM_MEM_DISABLE_MULTICAST: 1 and VLLM_ALLREDUCE_USE_SYMM_MEM: 0; nvidia-smi -q | grep -A3 Fabric must say"
        " Completed for it to work",
        "vllm-project/vllm#53320; torch, symmetric memory",
        "RuntimeError: CUDASymmetricMemoryAllocator: acme failed",
        sure=False,
    ),
    Hint(
        "nvshmem",
        r"NVSHMEM API called before|nvshmem\S{0,120}:\d{1,6}: (?:non-zero status|NULL value|init failed)|nvshmem[^\n]{0,60}init\w{0,14} failed"
        r"|ibgda\.cpp:\d{1,6}: ",
        "NVSHMEM, by which experts on several GPUs exchange, could not start: the RDMA cards, their driver's options (IBGDA), an"
        " unprivileged container or the"
        " network do not allow it",
        "its first lines say why (env NVSHMEM_DEBUG: INFO); IBGDA needs PeerMappingOverride=1 of the driver and NVSHMEM_HCA_LIST, NVSHMEM_IB_GID_INDEX"
        " of the cards; else another all2all_backend",
        "deepseek-ai/DeepEP, third-party README",
        "/srv/acme/nvshmem/src/host/mem.cu:7: NVSHMEM API called before NVSHMEM initialization has completed",
        sure=False,
    ),
    Hint(
        "tensor-on-host",
        r"cannot be accessed from Triton \(cpu tensor",
        "a kernel of the GPU was given a tensor that lies in the host's memory: offloading does not fit this model or kernel, or this release is"
        " at fault",
        "remove cpu_offload_gb and other offload options from engine_args, leave the operator out (flaggems: false), or use another release",
        "triton-lang/triton",
        "ValueError: Pointer argument (at 0) cannot be accessed from Triton (cpu tensor?)",
        sure=False,
    ),
    Hint(
        "nccl-not-supported",
        r"NCCL WARN Cuda failure (?:\d{1,4} )?'operation not supported'",
        "this GPU, driver or virtualisation refuses what NCCL asked of CUDA: a vGPU or a virtual machine without peer access or virtual"
        " memory functions",
        "set env NCCL_CUMEM_ENABLE: 0, then NCCL_P2P_DISABLE: 1; the vGPU profile must allow unified memory; else pass whole GPUs through",
        "vllm-project/vllm#20226",
        "server:71:71 [0] init.cc:416 NCCL WARN Cuda failure 'operation not supported'",
        sure=False,
    ),
)
