"""What an operator reads of a failure: its cause where the first error proves it, else one possible cause beside that error."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.serving.service import failures
from conftest import load

module = load("library/endpoint_probe.py")

ODD = 'Traceback (most recent call last):\n  File "/v/a.py", line 1, in f\nacme.Odd: nobody knows\n'
FULL = "OSError: [Errno 28] No space left on device: '/x'"


def explained(text: str, code: int | None = None) -> failures.Explanation:
    return failures.explain(text.splitlines(), code)


class Log:
    """A supervisor of which only the log is asked."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines

    def log_tail(self, name: str, count: int) -> list[str]:
        return self.lines[-count:]


def said(lines: list[str], count: int = 20) -> str:
    row: dict[str, Any] = {
        "service": "demo", "verdict": "failed", "state": "failed", "problem": "its process ended with code 1 after 3 s", "listens": False,
        "group": None, "exit_code": 1, "log": "demo.log",
    }  # fmt: skip
    module.tell(row, Log(lines), count)
    text: str = module.sentence(row, 0.0)
    return text


DONT_FIT = "KeyError: 'layers.0.mlp.up_proj.weight'"


def test_a_sure_meaning_stands_alone_below_the_lines_that_show_the_error() -> None:
    text = said([FULL])
    assert "\nWhat that means: a disk (or a tmpfs) is full" in text and "What failed first" not in text


@pytest.mark.parametrize("lines", [[DONT_FIT], [DONT_FIT, *["bye"] * 30]])
def test_a_possible_cause_stands_beside_the_error_that_it_may_explain(lines: list[str]) -> None:
    text = said(lines)
    assert f"\nWhat failed first: {DONT_FIT}\nWhat that may mean: one possible cause: the weights" in text


def test_an_error_that_nobody_knows_is_shown_and_said_to_be_unknown() -> None:
    odd = "acme.OddError: nobody knows"
    text = said([odd])
    assert odd in text and "What that means: that is not known here; the whole log may say more" in text


@pytest.mark.parametrize(
    ("log", "sure"),
    [
        (FULL, True),  # the first error
        (f"acme.Odd: nobody knows\n\nThe above exception was the direct cause of the following exception:\n\n{FULL}", True),  # its chain
        ("ValueError: --acme-size must be even", True),  # it names what is to be corrected
        (f"{ODD}{FULL}", False),  # another error
        (f"ERROR 11-20 10:00:00 [a.py:1] cannot write: No space left on device\n{ODD}", False),  # an error beside one that nobody knows
        (f"{ODD}/start: line 9:  4242 Killed                  vllm serve", False),  # a line of a shell beside it
        ("ModuleNotFoundError: No module named 'acme'", False),  # a row for a family of errors
        ("KeyError: 'layers.0.mlp.up_proj.weight'", False),  # words that come of several causes
        ("ValueError: Acme pooling is not supported with this model yet", False),  # it names nothing that a person sets
        ("Error: crun: unknown version specified", True),
        ("Error: crun: unknown version specified: Device or resource busy", False),  # the system's reason is another one
        (ODD, False),
    ],
)  # fmt: skip
def test_only_what_the_first_error_proves_is_told_as_the_cause(log: str, sure: bool) -> None:
    found = explained(log, 1)
    assert found.sure is sure
    assert found.meaning is None or found.meaning.startswith(failures.POSSIBLE) is not sure


def test_a_row_that_knows_the_first_error_too_is_told_as_the_cause() -> None:
    again = "Watchdog caught collective operation timeout: WorkNCCL(SeqNum=7, OpType=ALLREDUCE) ran for 600000 ms"
    found = explained(
        f"[rank1]:[E1121 10:00:00.1 x.cpp:574] {again}\nterminate called after throwing an instance of 'std::runtime_error'\n  what():  {again}"
    )
    assert (found.hint, found.sure) == ("nccl-timeout", True)


def test_the_first_exception_counts_before_error_lines_that_came_before_it() -> None:
    log = f"ERROR 11-20 10:00:00 [fa.py:57] FlashAttention only supports Ampere GPUs or newer.\n{FULL}"
    assert (explained(log, 1).hint, explained(log, 1).sure) == ("disk-full", True)


def test_what_is_said_after_the_fact_gives_way_to_an_earlier_line() -> None:
    late = "RuntimeError: CUDA error: an illegal memory access was encountered"
    xid = "NVRM: Xid (PCI:0000:0b:00): 94, pid=7, name=python3, Contained ECC error"
    assert (explained(late).hint, explained(late).sure) == ("illegal-access", True)
    assert (explained(f"{xid}\n{late}").hint, explained(f"{xid}\n{late}").root) == ("gpu-xid-memory", xid)
    assert explained(f"{late}\nINFO:     bye\n{xid}").hint == "illegal-access"
    kernel = "This kernel only supports sm70."
    late = "torch.AcceleratorError: CUDA error: unspecified launch failure"
    found = explained(f"INFO 11-26 13:32:10 [core.py:1] warming up\n{kernel}\n{kernel}\n{late}")
    assert (found.hint, found.sure, found.root) == ("kernel-of-another-gpu", True, kernel)


def test_what_ray_says_in_passing_of_a_dead_worker_counts_where_nothing_else_is_known() -> None:
    ray = "2026-11-26 07:10:19,486\tWARNING worker.py:7 -- A worker died. Worker PID: 7 Worker exit type: SYSTEM_ERROR Worker exit detail: End of file."
    assert (explained(ray).hint, explained(ray).sure) == ("ray-worker-died", False)
    assert (explained(f"{ray}\n{FULL}").hint, explained(f"{ray}\n{FULL}").sure) == ("disk-full", True)


@pytest.mark.parametrize(
    ("line", "fact"),
    [
        ("ValueError: Free memory on device cuda:3 (7.1/23.6 GiB) is less than desired GPU memory utilization (0.9, 21.2 GiB).", "something else holds"),
        ("h:1:9 [0] NCCL WARN Call to ibv_reg_mr_iova2 failed with error Cannot allocate memory", "the limit of locked memory"),
    ],
)  # fmt: skip
def test_a_usual_reason_is_told_as_no_more_than_that(line: str, fact: str) -> None:
    assert "most often " + fact in (explained(line, 1).meaning or "")


CRASH = """INFO 11-26 13:32:10 [core.py:1] warming up
Fatal Python error: Segmentation fault

Thread 0x00007f1 (most recent call first):
  File "/usr/lib/python3.12/threading.py", line 359 in wait

Current thread 0x00007f2 [acme] (most recent call first):
  File "/srv/envs/x/lib/python3.12/site-packages/flag_acme/ops/mul.py", line 40 in mul
  File "/srv/envs/x/lib/python3.12/site-packages/torch/nn/modules/linear.py", line 4 in forward

Extension modules: numpy._core, torch._C (total: 2)"""


@pytest.mark.parametrize("code", [-11, 139, 1, None])
@pytest.mark.parametrize("prefix", ["", "(EngineCore pid=12) "])
def test_a_crash_of_compiled_code_says_where_python_was(code: int | None, prefix: str) -> None:
    found = explained("\n".join(prefix + line for line in CRASH.splitlines()), code)
    assert (found.meaning or "").endswith("; it was in flag_acme/ops/mul.py, line 40 (mul)")
    bare = "\n".join(line for line in CRASH.splitlines() if "File" not in line)
    assert "it was in" not in (explained(bare, code).meaning or "")
    assert "it was in" not in (explained("ValueError: x\n" + CRASH.split("\n\n", 2)[2], 1).meaning or "")


@pytest.mark.parametrize(
    ("row", "line"),
    [
        ("model-refuses-dtype", "ValueError: Model type acme does not support beam widths"),
        ("unknown-option", "acme-cli: error: invalid choice: 'fetch' (choose from 'pull')"),
        ("no-gpu-visible", "ImportError: CUDA is not available in this build of acme"),
        ("options-belong-together", "ValueError: --acme-mode requires CUDA"),
        ("kv-cache-dtype", "NotImplementedError: FP8 KV cache requires head_size divisible by 32"),
        ("marlin-unsupported", "ValueError: Acme Marlin requires zero points"),
        ("disk-full", "failed to watch /srv/x: fork: No space left on device"),
        ("cgroup-refused", "Error: OCI runtime error: crun: unknown cgroup mode `acme`"),
        ("oci-seccomp", "Error: OCI runtime error: crun: invalid seccomp syscall `acme`"),
        ("oci-mount", "Error: OCI runtime error: crun: pivot_root"),
        ("podman-locks", "Error: acquiring lock 7 for container acme: exit status 1"),
        ("nccl-infiniband", "h:7:7 [0] transport/net_ib.cc:7 NCCL WARN NET/IB: open failed in acme"),
        ("nvidia-cli-no-driver", "Failed to initialize NVML: could not load NVML library"),
        ("torch-abi", "ImportError: /x/acme.so: undefined symbol: _ZN4acme3runEv"),
        ("compose-old", "services.app.deploy value 'devices' does not match any of the regexes: '^x-'"),
        ("compose-old", "services.app.deploy Additional properties are not allowed ('devices' was unexpected)"),
        (
            "compose-old",
            "services.app.deploy.resources Additional properties are not allowed ('runtime' was unexpected)",
        ),
        ("dtype-unknown-to-torch", "AttributeError: module 'torch' has no attribute 'int4'"),
        ("podman-low-port", "RuntimeError: Failed to bind port 443 (Permission denied)"),
        ("unknown-option", "acme.py: error: unrecognized arguments: /models/acme"),
        ("unknown-option", "vllm: error: unrecognized arguments: true --seed 7"),
        ("cdi-unresolvable", "Error: failed to inject CDI devices: unresolvable CDI devices runtime.nvidia.com/gpu=7"),
    ],
)
def test_words_near_those_of_a_row_prove_nothing(row: str, line: str) -> None:
    found = explained(line, 1)
    assert not (found.hint == row and found.sure)


@pytest.mark.parametrize(
    ("row", "line"),
    [
        ("pasta-closed", "RuntimeError: Failed to bind port 8080 (Permission denied)"),
        ("mooncake-master", "E0606 09:39:00.2 7 acme.cpp:1] Put operation failed with error: NO_AVAILABLE_HANDLE"),
        ("mooncake-master", "E0606 09:39:00.2 7 acme.cpp:1] Get operation failed with error: OBJECT_NOT_FOUND"),
        ("mooncake-master", "E0606 09:39:00.2 7 acme.cpp:1] Failed to start put operation: INVALID_PARAMS"),
        ("mooncake-master", "E0606 09:39:00.2 7 acme.cpp:1] Failed to mount segment: SEGMENT_ALREADY_EXISTS"),
        ("shapes-differ", "RuntimeError: stack expects each tensor to be equal size, but got [3, 224, 224] at entry 0 and [3, 9, 9] at entry 1"),
    ],
)  # fmt: skip
def test_a_row_is_not_told_where_the_words_contradict_it(row: str, line: str) -> None:
    assert explained(line, 1).hint != row


@pytest.mark.parametrize(
    "port", [1, 80, 443, 999, 1000, 1019, 1020, 1023, 1024, 1029, 1030, 1099, 1100, 1999, 2000, 8080, 65535]
)
def test_ports_below_1024_are_the_privileged_ones(port: int) -> None:
    line = f"Error: pasta failed with exit code 1: Failed to bind port {port} (Permission denied) for option '-t {port}-{port}:{port}-{port}', exiting"
    assert explained(line, 126).hint == ("podman-low-port" if port < 1024 else "pasta-closed")


def test_cann_s_own_words_are_taken_where_they_prove_more_than_the_call() -> None:
    call = "RuntimeError: operator():a.ts:28 NPU function error: call aclnnAcme failed, error code is 561002\n"
    said = "EZ9999: [PID: 9] 2025-09-10-09:46:59.100.100 HCCL_BUFFSIZE is too SMALL, NEEDED_HCCL_BUFFSIZE = 1100MB\n"
    assert (explained(call + said).hint, explained(call + said).sure) == ("hccl-buffer-too-small", True)
    assert explained(f"{FULL}\n{said}").hint == "disk-full"


TRIED = """ImportError: [sgl_kernel] CRITICAL: Could not load any common_ops library!

Attempted locations:
1. Architecture-specific pattern: /v/sgl_kernel/sm90/common_ops.* - found files: ['/v/sgl_kernel/sm90/common_ops.abi3.so']
2. Standard Python import: common_ops - failed

Error details from previous import attempts:
- {}
- ModuleNotFoundError: No module named 'common_ops'
"""


@pytest.mark.parametrize(
    ("detail", "hint"),
    [
        ("ImportError: libnuma.so.1: cannot open shared object file: No such file or directory", "libnuma-missing"),
        ("ImportError: /v/common_ops.abi3.so: undefined symbol: cuGreenCtxStreamCreate", "driver-too-old"),
        ("ImportError: /v/common_ops.abi3.so: undefined symbol: _ZNK3c106SymInt6sym_neERKS0_", "torch-abi"),
    ],
)
def test_what_an_error_lists_as_its_reasons_counts_before_its_heading(detail: str, hint: str) -> None:
    found = explained(TRIED.format(detail))
    assert (found.hint, found.root) == (hint, detail)


def test_a_heading_of_unknown_reasons_proves_none() -> None:
    found = explained(
        TRIED.format("ImportError: libacme.so.3: cannot open shared object file: No such file or directory")
    )
    assert (found.hint, found.sure) == ("sgl-kernel-not-loaded", False)


def test_a_refusal_that_names_an_architecture_of_amd_speaks_of_accelerators() -> None:
    meaning = explained("AssertionError: acme_decode requires gfx950 (CDNA4), got gfx942").meaning
    assert meaning and "use another accelerator" in meaning


def test_what_stands_before_a_traceback_in_its_line_is_read() -> None:
    """Workers of older vLLM put their message there, and a log may end within the traceback."""
    head = "(VllmWorkerProcess pid=9) ERROR 01-12 08:36:38 multiproc_worker_utils.py:233] "
    log = (
        head
        + "Exception in worker VllmWorkerProcess while processing method initialize_cache: The model's max seq len (9000) is larger than the maximum"
        " number of tokens that can be stored in KV cache (8000). Try increasing `gpu_memory_utilization`., Traceback (most recent call last):\n"
        + head
        + '  File "/v/a.py", line 1, in f\n'
        + head
        + "    output = executor(*args)"
    )
    assert explained(log).hint == "kv-cache-too-small"
    # The exception itself counts where the log has it.
    found = explained(log + "\n" + head + "ValueError: No available memory for the cache blocks.")
    assert found.root == "ValueError: No available memory for the cache blocks."


def test_a_reason_of_the_network_is_not_told_by_rows_that_do_not_speak_of_it() -> None:
    """A download that broke off is another failure than a hub whose name nobody knows or whose certificate is refused."""
    cas = "RuntimeError: Data processing error: CAS service error : Reqwest Error: {}"
    assert explained(cas.format("error decoding response body")).hint == "download-cut"
    for reason in (
        "dns error: failed to lookup address information: Name or service not known",
        "x509: certificate signed by acme",
    ):
        assert explained(cas.format(reason)).hint != "download-cut"


def test_a_container_engine_whose_words_are_of_versions_names_no_devices() -> None:
    meaning = explained(
        "docker: Error response from daemon: OCI runtime create failed: acme-gpu-hook: unknown flag --acme for gpus: unknown"
    ).meaning
    assert meaning and "of different versions" in meaning


def test_a_signature_of_another_version_is_told_with_the_part_that_calls() -> None:
    """Code that a model brings with it calls transformers otherwise than this transformers is called: no plugin is at fault."""
    log = (
        'Traceback (most recent call last):\n  File "/v/transformers_modules/acme/modeling_acme.py", line 1, in forward\n    self.model(x)\n'
        "TypeError: LlamaModel.forward() got an unexpected keyword argument 'acme_position'"
    )
    meaning = explained(log).meaning
    assert meaning and "code that the model brings with it" in meaning


def test_a_device_file_that_may_not_be_opened_is_the_reason_of_gpus_that_are_not_seen() -> None:
    found = explained("Unable to open /dev/kfd read-write: Permission denied\nRuntimeError: No HIP GPUs are available")
    assert found.hint == "amd-device-closed"
    assert explained("loading\nRuntimeError: No HIP GPUs are available").hint == "amd-none-visible"


def test_a_graph_from_the_compile_cache_is_told_as_compilation() -> None:
    log = (
        'Traceback (most recent call last):\n  File "/cache/vllm/torch_compile_cache/ea2d/rank_0_0/inductor_cache/bx/cb.py", line 370, in call\n'
        "    arg0_1, arg1_1 = args\nValueError: too many values to unpack (expected 2)"
    )
    meaning = explained(log).meaning
    assert meaning and "remove the compile cache" in meaning


@pytest.mark.parametrize(
    "line",
    [
        "nouveau 0000:01:00.0: Direct firmware load for nvidia/gp104/gr/sw_acme.bin failed with error -2",
        "2026-11-26 10:00:00.1: W acme/dso_loader.cc:64] Could not load dynamic library 'libcudart.so.11.0'; dlerror: libcudart.so.11.0: cannot open"
        " shared object file: No such file or directory",
        "[Warning] acme not available: libcufile.so.0: cannot open shared object file: No such file or directory",
        "[W1126 10:00:00.1 socket.cpp:767] [c10d] The client socket has failed to connect to [::ffff:127.0.0.1]:29500 (errno: 97 - Address family not"
        " supported by protocol).",
        "ERROR: ld.so: object 'libacme.so' from LD_PRELOAD cannot be preloaded (cannot open shared object file): ignored.",
        "nvidia: module verification failed: signature and/or required key missing - tainting kernel",
    ],
)
def test_what_every_start_prints_in_passing_is_not_told(line: str) -> None:
    for log in (line, f"{line}\n{ODD}"):
        assert (explained(log, 1).hint, explained(log, 1).sure) == (None, False)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("CUDA error: CUDA driver version is insufficient for CUDA runtime version", "none was given to the container"),
        ("ValueError: Transformers does not recognize this architecture.", "code of its own"),
        ("OSError: [Errno 30] Read-only file system: '/srv/acme'", "the host mounted the disk read-only"),
        ("Out of memory: Killed process 7 (acme) total-vm:9kB", "a process of this host or container"),
        ("Failed to initialize NVML: Driver/library version mismatch", "a container brings a library of its own"),
        ("ImportError: /x/acme.so: failed to map segment from shared object: Operation not permitted", "SELinux"),
        ("No module named pip", "without pip"),
        ("RuntimeError: CUDA error 802: system not yet initialized", "confidential computing"),
    ],
)
def test_words_that_come_of_several_things_are_not_told_as_one_of_them(line: str, said: str) -> None:
    found = explained(line, 1)
    assert found.sure and said in (found.meaning or "")


@pytest.mark.parametrize(
    ("row", "line"),
    [
        ("world-too-large", "Error: No available node types can fulfill resource request {'CPU': 8.0}. Add suitable node types."),
        ("too-many-processes", "BlockingIOError: [Errno 11] write could not complete without blocking"),
        ("sqlite-cache", "sqlite3.OperationalError: no such column: acme.x"),
        ("pydantic-version", "ModuleNotFoundError: No module named 'pydantic_core._pydantic_core'"),
        ("fp8-needs-newer-gpu", "AssertionError: FP8 is only supported on SM100 (compute capability 10.x) for FA4 CuTe"),
        ("flaggems-triton", "AttributeError: module 'triton' has no attribute 'cdiv'"),
        ("weights-dont-fit", "KeyError: 'model.layers.7.self_attn.attn'"),
        ("disk-full", "RuntimeError: [enforce fail at inline_container.cc:664] . unexpected pos 576 vs 470"),
        ("low-port", "[Errno 13] error while attempting to bind on address ('0.0.0.0', 1024): permission denied"),
        ("systemd-timeout", "[2026-11-26 10:00:00 TP0] Watchdog timeout (self.watchdog_timeout=300)"),
        ("interpreter-gone", "/bin/bash^M: bad interpreter: No such file or directory"),
        ("interpreter-gone", "bash: ./acme.sh: cannot execute: required file not found"),
        ("python-version", "ERROR: Ignored the following versions that require a different python version: 0.1 Requires-Python >=3.8,<3.12"),
        ("ascend-quantiser", "ModuleNotFoundError: No module named 'mindie_turbo'"),
        ("config-json", "ValueError: Invalid model type: acme"),
        ("gpu-needs-reset", "RuntimeError: acme pool: reset required"),
        ("shm-too-small", "RuntimeError: acme kernel: insufficient shared memory for a block of 128"),
    ],
)  # fmt: skip
def test_a_row_leaves_alone_what_only_looks_like_its_words(row: str, line: str) -> None:
    assert explained(line, 1).hint != row


FIRST = "cannot write the shard: No space left on device"


@pytest.mark.parametrize(
    "late",
    [
        "RuntimeError: CUDA error: CUDA-capable device(s) is/are busy or unavailable",
        "torch.distributed.DistStoreError: Timed out after 901 seconds waiting for clients. 1/2 clients joined.",
        "RuntimeError: Gloo connectFullMesh failed with [/x/gloo/transport/tcp/pair.cc:144] no error",
        "TimeoutError: Timed out waiting for engine core processes to start",
        "RuntimeError: HCCL function error: EI0006: Getting socket times out.",
        "torch.AcceleratorError: CUDA error: operation failed due to a previous error during capture",
    ],
)
def test_what_waited_for_another_part_gives_way_to_that_part_s_own_error(late: str) -> None:
    assert explained(late, 1).sure
    assert explained(f"ERROR 11-26 10:00:00 [a.py:1] {FIRST}\n{late}", 1).hint == "disk-full"


def test_a_model_of_a_version_that_the_engine_does_not_know_is_told_to_want_another_release() -> None:
    meaning = explained("ValueError: AcmeV only supports versions 2.0, 2.6. Got version: (4, 5)", 1).meaning
    assert meaning and "release of the engine" in meaning
