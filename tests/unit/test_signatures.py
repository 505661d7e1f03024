"""Last words of engines -> what they mean."""

from __future__ import annotations

import re

import pytest
from ansible.module_utils.serving import signatures as s
from ansible.module_utils.serving.probe import garbage, stage

WORDS = [
    ("ModuleNotFoundError: No module named 'torchvision'", "needs torchvision"),
    (
        "  Value error, Model architectures ['Qwen2_5_VLForConditionalGeneration'] failed to be inspected. Please check the logs for more details.",
        "could not import the model's class",
    ),
    ("dcmi model initialized failed, because the device is used. ret is -8020", "a chip serves one container"),
    (
        "DrvMngGetConsoleLogLevel failed. (g_conLogLevel=3)\ndcmi module initialize failed. ret is -8005",
        "may not use its NPU",
    ),
    ("RuntimeError: For 310p, bfloat16 type is not supported", "a 310P has no bf16"),
    (
        'RuntimeError: For "MindFormers" model backend, environment MINDFORMERS_MODEL_CONFIG should be set!',
        "where its model settings are",
    ),
    ("RuntimeError: Set device failed: tensor parallel size 4, ASCEND_RT_VISIBLE_DEVICES=''", "numbered from 0"),
    ("ValueError: Cannot find option named 'Ascend310P3'", "Triton is installed"),
    ("  assert soc_version != AscendSocVersion.UNDEFINED", "does not know a 310P"),
    (
        "EI0006: [PID: 1292363] 2025-04-08-18:07:20.444.436 Getting socket times out. Reason: Remote Rank did not send the data in time.",
        "HCCL's connection timed out",
    ),
    (
        "[ERROR] HCCL(2717288,python3):2025-07-23-03:47:57 [hccl_socket.cc:100] [HcclSocket][Listen] socket type[1], listen on ip[10.0.0.1] fail.",
        "HCCL's connection timed out",
    ),
    ("RuntimeError: HCCL_OP_EXPANSION_MODE is not supported on this chip", "does not know AIV"),
    (
        "RuntimeError: NPU out of memory. Tried to allocate 22.00 MiB (NPU 0; 60.97 GiB total capacity; 10.24 GiB already allocated)",
        "the NPU's memory ran out",
    ),
    ("Loading model weights took 27.5376 GB\nAvailable KV cache memory: -0.87 GiB", "the NPU's memory ran out"),
    (
        "launch: the kernel killed 2 processes for lack of memory: the container's limit is too small",
        "killed the engine (SIGKILL)",
    ),
    (
        "docker: Error response from daemon: CDI device injection failed: unresolvable CDI devices nvidia.com/gpu=42.",
        "no such device",
    ),
    (
        'docker: Error response from daemon: could not select device driver "" with capabilities: [[gpu]].',
        "asked for with --gpus",
    ),
    (
        'docker: Error response from daemon: error gathering device information while adding custom device "/dev/davinci7": no such file or directory.',
        "device node",
    ),
    (
        "docker: Error response from daemon: driver failed programming external connectivity on endpoint x (623d): Bind for 127.0.0.1:9010 failed: "
        "port is already allocated.",
        "has the service's port",
    ),
    (
        "docker: Error response from daemon: driver failed programming external connectivity on endpoint x (ee1d): Error starting userland proxy: "
        "listen tcp4 127.0.0.1:9333: bind: address already in use.",
        "has the service's port",
    ),
    (
        "Error starting userland proxy: listen tcp4 10.9.9.9:80: bind: cannot assign requested address.",
        "no such address",
    ),
    ("docker: Error response from daemon: No such image: sha256:bb38e4243cac.", "image is gone"),
    (
        'docker: Error response from daemon: invalid mount config for type "bind": bind source path does not exist: /srv/vllm/models/x.',
        "is gone from this host",
    ),
    (
        "docker: Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?.",
        "Docker does not run",
    ),
    (
        'docker: Error response from daemon: Conflict. The container name "/vllm-qwq-32b" is already in use by container "b366".',
        "left over",
    ),
    ("Failed to initialize NVML: Driver/library version mismatch", "upgraded under the loaded kernel module"),
    ("Failed to initialize NVML: Unknown Error", "lost its GPUs"),
    (
        "RuntimeError: Unexpected error from cudaGetDeviceCount(). Error 802: system not yet initialized",
        "fabric is not up",
    ),
    (
        "CUDA initialization: The NVIDIA driver on your system is too old (found version 12020).",
        "newer than the host's driver",
    ),
    (
        "ValueError: Free memory on device (10.2/79.19 GiB) on startup is less than desired GPU memory utilization (0.9, 71.27 GiB).",
        "holds memory of the GPU",
    ),
    ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.", "GPU's memory ran out"),
    (
        "RuntimeError: NCCL error: unhandled system error (run with NCCL_DEBUG=INFO for details)",
        "can't talk to each other",
    ),
    ("ModuleNotFoundError: No module named 'flag_gems'", "not in the image"),
    ("Could not find conda environment: flagscale-inference", "no such environment"),
    (
        "launch: this image's environment has no Python package flag_scale; set `activate` or another image",
        "no FlagScale",
    ),
    (
        "[Errno 98] error while attempting to bind on address ('127.0.0.1', 8000): address already in use",
        "another process listens",
    ),
    ("RuntimeError: Unsupported CPU attention configuration: head_dim=16", "head size"),
    ("RuntimeError: operator torchvision::nms does not exist", "CUDA build of torchvision"),
    ("importlib.metadata.PackageNotFoundError: No package metadata was found for vllm", "no distribution called vllm"),
    ("RuntimeError: Failed to infer device type", "neither a GPU nor a CPU build"),
    (
        "ValueError: User-specified max_model_len (65536) is greater than the derived max_model_len",
        "max_model_len is larger",
    ),
    (
        "ValueError: To serve at least one request, 4.0 GiB KV cache is needed, which is larger than the available KV cache memory",
        "KV cache is too small",
    ),
    ("vllm serve: error: unrecognized arguments: --no-such-option 1", "does not know an option"),
    (
        "safetensors_rust.SafetensorError: Error while deserializing header: MetadataIncompleteBuffer",
        "weights file is damaged",
    ),
    ("RuntimeError: [enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory", "memory ran out"),
    (
        "RuntimeError: Insufficient space in /dev/shm for shared-memory allocation: 160 MiB required, 64 MiB free.",
        "/dev/shm is too small",
    ),
    (
        "Failed to import from vllm._C_AVX2: ImportError('libnuma.so.1: cannot open shared object file: No such file or directory')",
        "needs libnuma",
    ),
    ("ModuleNotFoundError: No module named 'cv2'", "lacks a Python module"),
    (
        "/srv/vllm/services/demo/current/start: 24: exec: /nowhere/bin/vllm: not found\nsh: No such file or directory",
        "names is not there",
    ),
]


@pytest.mark.parametrize(("text", "meaning"), WORDS)
def test_known_last_words(text: str, meaning: str) -> None:
    found = s.explain(["INFO all is well", *text.splitlines()])
    assert found and meaning in found and ": " in found


def test_every_row_is_exercised_has_a_source_and_compiles() -> None:
    for row in (*s.SIGNATURES, *s.LAST_WORDS):
        assert row.source and row.cause and row.remedy
        assert any(re.search(row.pattern, text) for text, _ in WORDS), row.pattern


def test_what_healthy_engines_say_in_passing_is_no_cause() -> None:
    assert s.explain(["warning: No module named 'triton'", *["INFO loading"] * 20]) is None
    assert s.explain(["Insufficient space in /dev/shm", *["  File x"] * 50, "No such file or directory"]) == s.explain(
        ["Insufficient space in /dev/shm"]
    )


def test_a_kill_is_explained_by_its_code() -> None:
    assert "SIGKILL" in (s.explain(["nothing known"], -9) or "")
    assert s.explain(["nothing known"], 1) is None


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("Loading safetensors checkpoint shards:  50% Completed | 7/14 [00:01<00:01, 5it/s]", "loading shards 7/14"),
        ("(APIServer pid=1) INFO [utils.py] non-default args: {}", "reading the configuration"),
        ("INFO:     Application startup complete.", "API is up"),
        ("WARNING Enforce eager set, disabling torch.compile, CUDAGraphs", "process is starting"),
        ("Capturing CUDA graphs (decode): 43%", "capturing graphs 43 %"),
    ],
)
def test_stages_of_a_start(line: str, words: str) -> None:
    assert stage(["x", line]) == words


@pytest.mark.parametrize(
    ("text", "bad"), [("172", False), ("", True), ("  \n", True), ("!!!!!!!!!!", True), ("!!", False)]
)
def test_garbage(text: str, bad: bool) -> None:
    assert bool(garbage(text)) is bad


# As vLLM 0.25.1 logged it on a GPU host: a script without a guard, imported again by the process that it spawned.
SPAWNED = """(APIServer pid=1223) Traceback (most recent call last):
(APIServer pid=1223)   File "<string>", line 1, in <module>
(APIServer pid=1223)     local_engine_manager = CoreEngineProcManager(
(APIServer pid=1223) RuntimeError:
(APIServer pid=1223)         An attempt has been made to start a new process before the
(APIServer pid=1223)         current process has finished its bootstrapping phase.
(APIServer pid=1076) Traceback (most recent call last):
(APIServer pid=1076)     wait_for_engine_startup(
(APIServer pid=1076) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}
foreground: the engine ended with code 1 after 36 s"""
ASSERTED = """(EngineCore pid=7568) INFO 11-21 11:53:06 [core.py:114] running
(EngineCore pid=7568) ERROR 11-21 11:53:06 [core.py:1100] torch.AcceleratorError: CUDA error: device-side assert triggered
(APIServer pid=7446) ERROR 11-21 11:53:06 [serving.py:494] vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue."""


def test_the_error_that_came_first_is_named() -> None:
    assert (
        s.root_cause(SPAWNED.splitlines()) == "RuntimeError: An attempt has been made to start a new process before the"
    )
    assert s.root_cause(ASSERTED.splitlines()) == "torch.AcceleratorError: CUDA error: device-side assert triggered"
    assert s.root_cause(["RuntimeError: all is said here", "foreground: the engine ended with code 1"]) is None
    assert s.root_cause([]) is None and s.root_cause(["EngineDeadError"]) is None
