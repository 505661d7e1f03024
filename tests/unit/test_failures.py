"""Logs of engines that died -> what it means. Rows are tables; what reads a log is failures.py."""

from __future__ import annotations

import re
import time

import pytest
from ansible.module_utils.serving.service import failures
from ansible.module_utils.serving.service.hints.hint import Hint
from ansible.module_utils.serving.service.setting_words import settings_named
from hypothesis import given
from hypothesis import strategies as st

ROWS = {row.name: row for row in failures.HINTS}

# How versions of vLLM, launchers and log readers write one and the same line.
FRAMES = (
    "{}",
    "\x1b[1;31mERROR\x1b[0m {}",
    "ERROR 05-01 12:00:00 engine.py:366] {}",
    "ERROR 11-20 10:11:12 [core.py:708] {}",
    "(APIServer pid=1) (EngineCore_DP0 pid=68) ERROR 11-20 10:11:12 [core.py:708] {}",
    "(EngineCore pid=68) ERROR 2026-11-20 10:11:12.123 [v1/engine/core.py:1100] {}",
    "(VllmWorkerProcess pid=7) ERROR 09-23 10:49:22 multiproc_worker_utils.py:226] {}",
    "(VllmWorker rank=1 pid=7) ERROR 09-23 10:49:22 [multiproc_executor.py:559] {}",
    "(VllmWorker TP0 pid=7) ERROR 09-23 10:49:22 [multiproc_executor.py:559] {}",
    "(Worker_TP12_EP12 pid=7) ERROR 06-18 16:38:35 [multiproc_executor.py:870] {}",
    "(RayWorkerWrapper pid=4, ip=10.0.0.2) ERROR 05-01 12:00:00 worker_base.py:600] {}",
    "(actorOfAcme pid=77054) (Worker_TP3 pid=9) ERROR 04-20 21:27:00 [multiproc_executor.py:932] {}",
    "[rank0]: {}",
    "[rank3]:[rank3]: {}",
    "[1,0]<stderr>:{}",
    "2026-11-20T10:11:12.123456789Z {}",
    "2026-11-20T10:11:12.123456789Z (EngineCore_0 pid=68) ERROR 11-20 10:11:12 [core.py:708] {}",
    "vllm-1  | (EngineCore_0 pid=68) ERROR 11-20 10:11:12 [core.py:708] {}",
    "Nov 20 10:11:12 host docker[1234]: (EngineCore_0 pid=68) {}",
    "2026-11-20 10:11:12,123 - flagscale.serve - ERROR - {}",
    "2026-11-20 10:11:12.123 | ERROR    | serve:main:95 - {}",
    "[2026-11-20 10:11:12 TP0] {}",
    "[ERROR] 2026-11-20-10:11:12 (PID:1532, Device:0, RankID:-1) {}",
    "ERROR:    {}",
    "[  903.609564] {}",
)


def explained(text: str, code: int | None = None) -> failures.Explanation:
    return failures.explain(text.splitlines(), code)


@pytest.mark.parametrize("row", failures.HINTS, ids=lambda row: row.name)
def test_an_example_is_explained_by_its_own_row_and_by_no_other(row: Hint) -> None:
    found = explained(row.example)
    told = (settings_named(row.example) if row.name in (failures.PARSED, failures.VALIDATED) else None) or row.told
    assert (found.hint, found.sure) == (row.name, row.proves)
    assert found.meaning == (told if row.proves else f"{failures.POSSIBLE}: {told}")
    # The longest a pattern may look over is a statement; nothing in it may run over a whole log.
    re.compile(row.pattern)
    assert not re.search(r"(?<!\\)\.[*+]", row.pattern), "write .{0,80}: a pattern must be linear"
    assert row.cause and row.remedy and row.source and len(row.cause) < 220 and len(row.remedy) < 260
    assert not row.cause.endswith(".") and not row.remedy.endswith(".")


def test_names_are_unique() -> None:
    assert len(ROWS) == len(failures.HINTS)


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("gpu-ecc", "RuntimeError: CUDA error: uncorrectable ECC error encountered"),
        ("heads-not-divisible", "ValueError: Total number of attention heads (28) must be divisible by tensor parallel size (8)."),
        ("npu-process-left", "EJ0001: [PID: 5] Failed to initialize the HCCP process. Reason: Maybe the last training process is running."),
    ],
)  # fmt: skip
def test_every_way_to_write_a_line(frame: str, name: str, line: str) -> None:
    found = failures.explain([frame.format(line)])
    assert found.hint == name
    assert found.root == line


# The decisive lines of public failures, each in a frame of ours: (row that must know it, log, exit code).
SEEN: list[tuple[str | None, str, int | None]] = [
    ("atb-missing", "ImportError: libatb.so: cannot open shared object file: No such file or directory", 1),
    ("npu-hal-missing", "ImportError: libascend_hal.so: cannot open shared object file: No such file or directory", 1),
    ("no-python-headers", "/tmp/x.c:5:10: fatal error: Python.h: No such file or directory\ncompilation terminated.", 1),
    (
        "flaggems-triton",
        "ERROR 11-20 10:00:00 [plugins.py:40] AttributeError: module 'triton.language.math' has no attribute 'pow'\n"
        "RuntimeError: Failed to infer device type",
        1,
    ),
    (
        "driver-library-missing",
        "Traceback (most recent call last):\n  File \"a.py\", line 3, in <module>\nImportError: libcuda.so.1: cannot open shared object file: "
        "No such file or directory\n\nTraceback (most recent call last):\n  File \"b.py\", line 9, in f\nRuntimeError: Failed to infer device type",
        1,
    ),
    (
        "triton-no-driver",
        "RuntimeError: 0 active drivers ([]). There should only be one.\nRuntimeError: Failed to infer device type",
        1,
    ),
    (
        "npu-dma",
        "[ERROR] EL0004: [PID: 1] Failed to allocate memory. runtime result = 207001\nRuntimeError: SetDevice, error code is 507013",
        1,
    ),
    (
        "gpu-ecc",
        "INFO 11-20 10:00:00 [x.py:1] If you are running out of memory, consider decreasing gpu_memory_utilization\n"
        "RuntimeError: CUDA error: uncorrectable ECC error encountered",
        1,
    ),
    ("flaggems-triton", "AttributeError: module 'triton.language.extra.ascend.libdevice' has no attribute 'erf'", 1),
    ("compat-libcuda", "RuntimeError: Error 803: system has unsupported display driver / cuda driver combination", 1),
    ("no-kernel-image", "torch.AcceleratorError: CUDA error: no kernel image is available for execution on the device\n"
     "CUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace below might be incorrect.", 1),
    ("no-bf16", "ValueError: Bfloat16 is only supported on GPUs with compute capability of at least 8.0. Your Quadro RTX", 1),
    ("quantisation-needs-newer-gpu", "ValueError: The quantization method gptq_marlin is not supported for the current GPU. Minimum capability: 80.", 1),
    ("architecture-unsupported", "ValueError: Model architectures ['Qwen9ForCausalLM'] are not supported for now.", 1),
    ("nvidia-cli-requirement", "nvidia-container-cli: requirement error: unsatisfied condition: cuda>=12.9, please update your driver", 125),
    ("nvidia-driver-not-loaded", "docker: Error response from daemon: nvidia-container-cli: initialization error: nvml error: driver not loaded", 125),
    ("cdi-unresolvable", "failed to inject CDI devices: unresolvable CDI devices D.c0b/gpu=0", 125),
    ("driver-too-old", "ImportError: /x/_C.abi3.so: undefined symbol: cuTensorMapEncodeTiled", 1),
    ("torch-abi", "ImportError: /x/_C.abi3.so: undefined symbol: _ZNK3c1011StorageImpl27throw_data_ptr_access_errorEv", 1),
    ("hub-denied", "huggingface_hub.errors.GatedRepoError: 401 Client Error. (Request ID: x)\n\nCannot access gated repo for url https://huggingface.co/x", 1),
    ("shm-too-small", "RuntimeError: Unexpected bus error encountered in worker. This might be caused by insufficient shared memory (shm).", 1),
    ("disk-full", "OSError: [Errno 28] No space left on device", 1),
    ("docker-socket-permission", "docker: permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock", 126),
    ("hccl-ranks-missing", "Communication_Error_Ranktable_Detect(EI0015): ranks [2,3] did not connect", 1),
    ("npu-unsupported-operator", "Unsupported_Operator(EZ3002): Optype [TransData] of Ops kernel is unsupported", 1),
    ("no-nvcc", "/bin/sh: 1: /usr/local/cuda/bin/nvcc: not found\nninja: build stopped: subcommand failed.\nRuntimeError: Ninja build failed.", 1),
    ("driver-library-missing", "AssertionError: libcuda.so cannot found!", 1),
    ("hccl-connect-timeout", "[ERROR] HCCL(7,python):2026-11-20-10:00:00.1 [a.cc:1] The remote does not initiate a connect request.", 1),
    # A date before NCCL's own line, logrus's short levels, a bulleted error: each read as what it is.
    ("nccl-infiniband", "[2026-11-20 10:11:12] node1:318:3584 [5] misc/ibvwrap.cc:183 NCCL WARN Call to ibv_reg_dmabuf_mr failed with error x", 1),
    ("cdi-generate", "INFO[0000] Using x\nWARN[0000] CUDA out of memory is only a word\nERRO[0000] failed to generate CDI spec: nobody knows", 1),
    ("requirements-conflict", "  \u00d7 No solution found when resolving dependencies:\n  \u2570\u2500\u25b6 Because vllm==0.5.4 depends on numpy<2.0.0"
     " and you require numpy>=2, we can conclude that", 1),
    ("nvcc-path-wrong", "RuntimeError: Ninja build failed.\n/bin/sh: 1: :/usr/local/cuda-12.8/bin/nvcc: not found", 1),
    ("cann-mixed", "ImportError: /x/torch_npu/lib/libtorch_npu.so: undefined symbol: _ZN3atb15CreateOperationE", 1),
    ("driver-too-old", "nvidia-ctk: symbol lookup error: nvidia-ctk: undefined symbol: nvmlDeviceGetMaxMigDeviceCount", 1),
    ("image-damaged", "failed to unpack image: failed to extract layer sha256:5a44: mount callback failed on /x: directory not empty", 125),
    ("cache-not-writable", "torch._inductor.exc.InductorError: PermissionError: [Errno 13] Permission denied: '/.triton'", 1),
    ("iptables-missing", "failed to start daemon: Error initializing network controller: failed to create NAT chain DOCKER: Iptables not found", 1),
    ("hub-nothing-here", "huggingface_hub.errors.LocalEntryNotFoundError: An error happened while trying to locate the file on the Hub", 1),
    # Go's slog writes no quotes about its time: what it says at level INFO is no cause.
    ("dcgm-no-driver", "time=2026-11-20T10:00:00.5Z level=INFO msg=\"CUDA out of memory\"\n"
     "time=2026-11-20T10:00:00.6+08:00 level=ERROR msg=\"Cannot init NVML library; err: ERROR_LIBRARY_NOT_FOUND\"", 1),
    # A reason inside of xet's own error, and of a request's header, counts before what xet and safetensors usually mean.
    ("certificate", "RuntimeError: Data processing error: CAS service error : Connect, Custom { kind: Other, error: InvalidCertificate(UnknownIssuer) }", 1),
    ("xet-cache-closed", "RuntimeError: Data processing error: I/O error: Permission denied (os error 13)", 1),
    ("hub-token-form", "requests.exceptions.InvalidHeader: Invalid leading whitespace, or return character(s) in header value: 'Bearer hf_x\\n'", 1),
    ("tls-broken-off", "httpx.ConnectError: EOF occurred in violation of protocol (_ssl.c:997)\n\nThe above exception was the direct cause of the following"
     " exception:\n\nhuggingface_hub.errors.LocalEntryNotFoundError: An error happened while trying to locate the files on the Hub", 1),
    ("transfer-timeout", "requests.exceptions.ConnectionError: HTTPSConnectionPool(host='www.modelscope.cn', port=443): Read timed out.", 1),
    ("torch-npu-other-torch", "ImportError: /x/torch_npu/lib/libtorch_npu.so: undefined symbol: _ZN3c1011StorageImplE", 1),
    (None, "./start: line 7: unexpected EOF while looking for matching quote", 2),
    (None, "KeyError: '10.0.0.1'", 1),
    ("exit-132", "nothing known", 132), ("exit--4", "nothing known", -4), ("exit-134", "nothing known", 134), ("exit--6", "nothing known", -6),
    ("exit-135", "nothing known", 135), ("exit--7", "nothing known", -7), ("exit-137", "nothing known", 137), ("exit--9", "nothing known", -9),
    ("exit-139", "nothing known", 139), ("exit--11", "nothing known", -11), ("exit-143", "nothing known", 143),
    ("exit-126", "nothing known", 126), ("exit-127", "nothing known", 127), ("exit-0", "nothing known", 0),
    (None, "nothing known", 1), (None, "nothing known", None), (None, "nothing known", 255),
]  # fmt: skip


@pytest.mark.parametrize(("name", "log", "code"), SEEN)
def test_failures_of_the_field(name: str | None, log: str, code: int | None) -> None:
    assert explained("(APIServer pid=1) INFO 11-20 10:00:00 [a.py:1] loading\n" + log, code).hint == name


CHAIN = """(EngineCore_DP0 pid=68) ERROR 11-20 10:11:12 [core.py:708] EngineCore failed to start.
(EngineCore_DP0 pid=68) ERROR 11-20 10:11:12 [core.py:708] Traceback (most recent call last):
(EngineCore_DP0 pid=68) ERROR 11-20 10:11:12 [core.py:708]   File "/v/worker.py", line 90, in load
(EngineCore_DP0 pid=68) ERROR 11-20 10:11:12 [core.py:708]     raise MemoryError("out of memory is only a word of the source here")
(EngineCore_DP0 pid=68) ERROR 11-20 10:11:12 [core.py:708]            ^^^^^^^^^^^^^^^^^^
(EngineCore_DP0 pid=68) ERROR 11-20 10:11:12 [core.py:708] acme.errors.FirstCause: {first}
(EngineCore_DP0 pid=68) ERROR 11-20 10:11:12 [core.py:708]
(EngineCore_DP0 pid=68) ERROR 11-20 10:11:12 [core.py:708] During handling of the above exception, another exception occurred:
(EngineCore_DP0 pid=68) ERROR 11-20 10:11:12 [core.py:708]
(EngineCore_DP0 pid=68) ERROR 11-20 10:11:12 [core.py:708] Traceback (most recent call last):
(EngineCore_DP0 pid=68) ERROR 11-20 10:11:12 [core.py:708]   File "/v/core.py", line 9, in run
(EngineCore_DP0 pid=68) ERROR 11-20 10:11:12 [core.py:708] RuntimeError: {second}
(APIServer pid=1) Traceback (most recent call last):
(APIServer pid=1)   File "/v/utils.py", line 960, in wait_for_engine_startup
(APIServer pid=1)     raise RuntimeError(
(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {{}}"""


def test_the_first_exception_of_a_chain_counts() -> None:
    found = explained(
        CHAIN.format(first="no kernel image is available for execution on the device", second="CUDA out of memory"), 1
    )
    assert found.hint == "no-kernel-image"
    assert found.root == "acme.errors.FirstCause: no kernel image is available for execution on the device"
    # A first one that nobody knows does not hide what the second says.
    assert explained(CHAIN.format(first="'qwen9'", second="CUDA out of memory"), 1).hint == "gpu-memory-out"
    # Nobody knows either: said so, with the root line.
    nobody = explained(CHAIN.format(first="'qwen9'", second="what is that?"), 1)
    assert nobody == failures.Explanation(None, "acme.errors.FirstCause: 'qwen9'", None)


def test_specific_rows_are_asked_before_general_ones() -> None:
    assert (
        explained(
            "FileNotFoundError: [Errno 2] No such file or directory: '/x'\nRuntimeError: No CUDA GPUs are available"
        ).hint
        == "no-gpu-visible"
    )


def test_what_another_traceback_said_later_is_told_as_a_guess_beside_the_first_error() -> None:
    """A worker's error that nobody knows, and then one of another process that a row knows: either may be the reason."""
    frame = '(Worker_TP{0} pid=7{0}) Traceback (most recent call last):\n(Worker_TP{0} pid=7{0})   File "/v/a.py", line 1, in f\n(Worker_TP{0} pid=7{0}) {1}'
    first = frame.format(0, "acme.Odd: nobody knows")
    later = frame.format(1, "OSError: [Errno 28] No space left on device: '/x'")
    found = explained(first + "\n" + later)
    assert (found.hint, found.root) == ("disk-full", "acme.Odd: nobody knows")
    assert not found.sure and found.meaning
    assert found.meaning.startswith(failures.POSSIBLE + ", by what was said apart") and "100%" not in found.meaning
    assert "OSError: [Errno 28]" in found.meaning and ROWS["disk-full"].remedy in found.meaning
    alone = explained(later)
    assert alone.meaning == f"{ROWS['disk-full'].cause}: {ROWS['disk-full'].remedy}"


def test_a_line_without_a_telling_word_counts_where_nothing_else_was_said() -> None:
    assert (
        explained(
            "Getting image\nGet https://registry.acme:5/v2/: http: server gave HTTP response to HTTPS client"
        ).hint
        == "registry-plain-http"
    )
    # What programs of the system say of a file is an error in whatever words.
    assert (
        explained("setting things\nchmod: changing permissions of '/x': Read-only file system").hint
        == "read-only-folder"
    )
    assert explained("loading 1\nacme: /x: Is a directory\nbye").root == "acme: /x: Is a directory"


def test_what_a_hook_says_on_a_line_of_its_own_belongs_to_the_message_before() -> None:
    log = (
        "docker: Error response from daemon: OCI runtime create failed: error running hook: exit status 1, stdout: , stderr: Auto-detected\n"
        "nvidia-container-cli: requirement error: nobody knows this one: unknown."
    )
    assert explained(log, 125).hint == "nvidia-cli-other"


def test_exception_groups_and_notes_of_newer_pythons() -> None:
    log = """  + Exception Group Traceback (most recent call last):
  |   File "/v/a.py", line 1, in main
  | ExceptionGroup: unhandled errors in a TaskGroup (1 sub-exception)
  +-+---------------- 1 ----------------
    | Traceback (most recent call last):
    |   File "/v/b.py", line 7, in serve
    |     ~~~~~~^^^
    | OSError: [Errno 28] No space left on device: '/cache/x'
    +------------------------------------"""
    assert explained(log).hint == "disk-full"


def test_interleaved_processes_keep_their_own_tracebacks() -> None:
    log = """(Worker_TP0 pid=7) Traceback (most recent call last):
(Worker_TP1 pid=8) Traceback (most recent call last):
(Worker_TP0 pid=7)   File "/v/a.py", line 1, in f
(Worker_TP1 pid=8)   File "/v/a.py", line 1, in f
(Worker_TP0 pid=7)     check("Permission denied")
(Worker_TP1 pid=8)     check("Permission denied")
(Worker_TP1 pid=8) acme.Odd: no words that anybody knows
(Worker_TP0 pid=7) torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."""
    found = explained(log)
    assert found.hint == "gpu-memory-out"


def test_an_abort_of_native_code_is_a_root() -> None:
    log = "terminate called after throwing an instance of 'c10::Error'\n  what():  nobody knows this one\nException raised from f at a.cpp:1"
    assert explained(log, -6).root == "what():  nobody knows this one"
    # What C++ says of its own containers tells nothing: the error before it does.
    log = "ERROR 11-20 10:11:12 [core.cpp:7] nobody knows node 0\nterminate called after throwing an instance of 'std::out_of_range'\n  what():  map::at"
    assert explained(log, -6).root == "nobody knows node 0"


def test_a_message_that_begins_on_the_next_line() -> None:
    log = "(APIServer pid=5) RuntimeError:\n(APIServer pid=5)         nobody knows why this\n(APIServer pid=5)         was said"
    assert explained(log).root == "RuntimeError: nobody knows why this was said"


@pytest.mark.parametrize("level", ["INFO", "WARNING", "DEBUG"])
@pytest.mark.parametrize(
    "words",
    [
        "No module named 'triton'",
        "CUDA out of memory",
        "Failed to import: libcuda.so.1: cannot open shared object file",
    ],
)
def test_what_is_said_in_passing_is_no_cause(level: str, words: str) -> None:
    forms = (
        "{l} 11-20 10:11:12 [a.py:1] {w}", "(EngineCore pid=3) {l} 05-01 12:00:00 a.py:1] {w}",
        "2026-11-20 10:11:12,1 - a - {l} - {w}", "[{l}] {w}", "{l}: {w}",
    )  # fmt: skip
    for form in forms:
        assert failures.explain([form.format(l=level, w=words)]) == failures.Explanation(None, None, None)


def test_warnings_of_python_torch_and_nccl_are_no_cause_and_nccls_own_warn_is() -> None:
    for line in (
        "/v/a.py:5: UserWarning: CUDA out of memory may follow",
        "[rank0]:[W1121 10:00:00.000 ProcessGroupNCCL.cpp:1496] Permission denied is only a word here",
        "W1121 10:00:00.000000 71 torch/x.py:629] No module named 'x'",
        "host:71:71 [0] NCCL INFO NET/Plugin: libnccl-net.so: cannot open shared object file: No such file or directory",
        "WARNING: The requested image's platform (linux/amd64) does not match: exec format error is not said",
    ):
        assert failures.explain([line]).meaning is None, line
    assert failures.explain(["host:71:71 [0] misc/socket.cc:484 NCCL WARN socketStartConnect: refused"]).hint == "nccl"


def test_what_was_said_before_the_engine_served_is_no_cause() -> None:
    log = "OSError: [Errno 28] No space left on device\nINFO:     Application startup complete.\nRuntimeError: nobody knows"
    assert explained(log, 1) == failures.Explanation(None, "RuntimeError: nobody knows", None)


def test_a_signal_is_no_missing_module() -> None:
    assert explained("ModuleNotFoundError: No module named 'x'", -9).hint == "exit--9"
    assert explained("ModuleNotFoundError: No module named 'x'", 1).hint == "module-missing"


def test_frames_and_source_lines_are_no_evidence() -> None:
    log = 'Traceback (most recent call last):\n  File "/v/cuda.py", line 3, in f\n    raise X("CUDA out of memory")\nacme.Odd: unknown'
    assert explained(log) == failures.Explanation(None, "acme.Odd: unknown", None)


@pytest.mark.parametrize(
    "line",
    ["x" * 96_000, "(" * 96_000, "[" * 96_000, " " * 96_000, "\x1b[" * 48_000, "(Worker pid=1 " * 7_000, "A.b" * 32_000, "2026-11-20 " * 9_000,
     "Model architectures [" * 4_000, "/v2/ https://" * 7_000, "ERROR 11-20 10:11:12 [" * 4_000, "Error" * 19_000, "| " * 48_000, "\\x00" * 24_000],
)  # fmt: skip
def test_a_line_of_any_length_takes_no_time(line: str) -> None:
    began = time.monotonic()
    failures.explain([line, "RuntimeError: " + line] * 20)
    assert time.monotonic() - began < 20  # it took 12 s for a single one


def test_a_long_log_takes_no_time() -> None:
    began = time.process_time()
    for line in (
        "some words that nobody knows %d " * 8,
        "ValueError: nobody knows %d " * 8,
        "(EngineCore pid=3) ERROR 11-20 10:11:12 [core.py:7] no %d " * 8,
    ):
        failures.explain([line.replace("%d", str(number)) for number in range(20_000)])
    assert time.process_time() - began < 60


@given(st.lists(st.text(max_size=200), max_size=30), st.none() | st.integers(-300, 300))
def test_nothing_in_a_log_breaks_it(lines: list[str], code: int | None) -> None:
    found = failures.explain(lines, code)
    assert found.root is None or len(found.root) <= 300


def test_a_package_index_that_was_not_reached_is_told_instead_of_a_package_that_it_does_not_have() -> None:
    lost = "WARNING: Retrying (Retry(total=0)) after connection broken by 'ProxyError('Cannot connect to proxy.')': /simple/acme/"
    none = "ERROR: Could not find a version that satisfies the requirement acme (from versions: none)"
    assert failures.explain([lost, none], 1).hint == "proxy"
    assert failures.explain([none], 1).hint == "package-not-found"
    # A retry that went well explains nothing.
    assert failures.explain([lost, "RuntimeError: CUDA error: invalid device function"], 1).hint == "no-kernel-image"


def test_what_cuda_warned_of_counts_where_then_no_gpu_is_seen() -> None:
    old = "/x/cuda/__init__.py:107: UserWarning: CUDA initialization: The NVIDIA driver on your system is too old (found version 11040)."
    none = "RuntimeError: No CUDA GPUs are available"
    assert failures.explain([old, none], 1).hint == "driver-too-old"
    assert failures.explain([none], 1).hint == "no-gpu-visible"
    assert failures.explain([old, "OSError: [Errno 28] No space left on device"], 1).hint == "disk-full"


def test_the_code_below_mindspores_own_error_is_told_instead_of_it() -> None:
    own = "RuntimeError: Ascend kernel runtime initialization failed, device id: 0. The details refer to 'Ascend Error Message'."
    below = ["- Ascend Error Message:", "EL0004: [PID: 1] Failed to allocate memory."]
    assert failures.explain([own, *below], 1).hint == "npu-memory-allocation"
    assert failures.explain([own], 1).hint == "mindspore-start"


def test_the_code_of_cann_behind_a_call_that_failed_is_told_instead_of_it() -> None:
    call = (
        "RuntimeError: SetPrecisionMode NPU function error: AclSetCompileopt(ACL_PRECISION_MODE), error code is 500001"
    )
    code = "E10001: [PID: 317] Path [/usr/bin] for [ge.debugDir] is invalid. Result: Permission denied"
    assert failures.explain([call, code], 1).hint == "cann-debug-folder"
    assert failures.explain([call], 1).hint == "cann-compiler"
