"""Logs of engines on NPUs: which of a report's lines is told, and codes of CANN and HCCL in each way in which they are written."""

from __future__ import annotations

import pytest
from ansible.module_utils.serving.service import failures

REPORT = "EZ9999: Inner Error!\nEZ9999: [PID: 7] there is an exception of aivec error, core id is 9, error code = 0"


def explained(text: str) -> failures.Explanation:
    return failures.explain(text.splitlines(), 1)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("npu-kernel-failed", "Kernel task happen error, retCode=0x31, [vector core exception]."),
        (
            "npu-kernel-address",
            "The extend info: errcode:(0, 0x2) errorStr: The MPU address access is invalid. fsmId:0",
        ),
        ("npu-kernel-too-long", "rtStreamSynchronize execute failed, reason=[aicore timeout][FUNC:X]"),
        ("npu-aicpu-failed", "wait for compute device to finish failed, runtime result = 507018."),
        (
            "npu-capture-mode",
            "rtMemcpy execution failed, reason=the current capture mode does not support this operation",
        ),
        (
            "hccl-buffer-too-small",
            "Tiling Failed. HCCL_BUFFSIZE_EP is too SMALL, NEEDED_HCCL_BUFFSIZE_HIERARCHY = 600MB",
        ),
    ],
)
def test_the_line_that_says_most_of_a_report_is_told(name: str, line: str) -> None:
    assert explained(f"{REPORT}\n{line}").hint == name


def test_a_code_behind_an_error_that_was_reported_above_is_told() -> None:
    above = "RuntimeError: Dummy run failed: The Inner error is reported as above. The current operator name is Acme."
    code = "[PID: 7] 2026-04-09-21:56:40.384.694 Memory_Allocation_Failure(EL0004): Failed to allocate memory requested by GE."
    assert explained(f"{above}\n{code}").hint == "npu-memory-allocation"
    assert explained(above).hint == "npu-inner-above"


@pytest.mark.parametrize(
    ("name", "number", "hexadecimal"),
    [
        ("hccl-code-setup", 1, "01"),
        ("hccl-code-memory", 3, "03"),
        ("hccl-code-unsupported", 5, "05"),
        ("hccl-code-timeout", 11, "0b"),
        ("hccl-code-driver", 15, "0f"),
    ],
)
def test_a_code_of_hccl_means_the_same_however_it_is_written(name: str, number: int, hexadecimal: str) -> None:
    for line in (
        f"RuntimeError: HCCL function error: HcclCommInitRootInfo, error code is {number}",
        f"[Init][CommRootInfoConfig]errNo[0x00000000050000{hexadecimal}]HcclCommInitRootInfo failed.",
        f"[2026-05-13 02:25:58.64217] [error] [7] [acme.cpp:132] AllGatherHcclRunner:0 HcclCommInitRootInfo fail, error:{number}, rank:1",
        f"F20251111 12:28:58.504206 7 acme.cpp:37] Check failed: status == HCCL_SUCCESS ({number} vs. 0) HCCL get root info failed.",
    ):
        assert explained(line).hint == name, line


@pytest.mark.parametrize(
    ("name", "alone", "more"),
    [
        (
            "npu-stream-resources",
            "npu-graph-capture",
            "rtStreamWaitEvent execution failed, reason=driver error:resource alloc fail",
        ),
        (
            "cann-operator-description",
            "npu-tiling",
            "E29999[PID: 7] (E29999): [InitOpInfoLib][InitOpKernel] Inconsistent format size [1]",
        ),
        ("hccl-buffer-too-small", "npu-tiling", "HCCL_BUFFSIZE is too SMALL, maxBs = 64, NEEDED_HCCL_BUFFSIZE = 600MB"),
    ],
)
def test_that_a_graph_or_a_tiling_failed_is_told_where_the_report_says_no_more(
    name: str, alone: str, more: str
) -> None:
    first = {
        "npu-graph-capture": "Capture wait event failed.[FUNC:StreamWaitEvent]",
        "npu-tiling": "RuntimeError: NPU function error: call aclnnAcmeV3 failed, error code is 561002",
    }[alone]
    assert explained(first).hint == alone
    assert explained(f"{first}\n{more}").hint == name


def test_what_torch_npu_calls_its_heading_is_not_the_root() -> None:
    found = explained(
        "[ERROR] 2026-09-16-11:00:43 (PID:7, Device:1, RankID:-1) ERR00100 PTA call acl api failed.\n"
        "[PID: 7] 2026-09-16-11:00:43.191.752 Allocation_Failure(EI0007): Failed to allocate resource[qp]."
    )
    assert found.hint == "hccl-resources"
    assert found.root and "EI0007" in found.root


def test_a_row_of_the_driver_does_not_speak_of_a_module_beside_it() -> None:
    """The driver was said not to be loaded, and torch-npu to be older, where only a part beside it or a folder was at fault."""
    peer = explained("modprobe: FATAL: Module nvidia-peermem not found in directory /lib/modules/6.8.0")
    assert (peer.hint, peer.sure) == ("peermem-missing", False)
    assert (
        explained("modprobe: FATAL: Module nvidia not found in directory /lib/modules/6.8.0").hint == "driver-not-live"
    )
    hidden = explained("AttributeError: module 'torch_npu' has no attribute 'npu'")
    assert (hidden.hint, hidden.sure) == ("torch-npu-hidden", False)
    assert explained("AttributeError: module 'torch_npu' has no attribute 'npu_acme'").hint == "torch-npu-older"


def test_glog_with_a_year_is_read_as_glog() -> None:
    said = "I20260608 14:45:44.404228 7 acme.cpp:1119] Failed to connect to target: 10.0.0.2:20033"
    assert explained(said).hint is None
    found = explained(said.replace("I2026", "E2026"))
    assert (found.hint, found.root) == ("ascend-transfer-connect", "Failed to connect to target: 10.0.0.2:20033")


def test_a_tree_of_uv_without_box_characters_is_read() -> None:
    tree = (
        "  x Failed to download and build `vllm-ascend @ git+https://files.example/x`\n"
        "  |-> No solution found when resolving: `attrs`, `torch-npu==2.10.0`\n"
        "  `-> Because torch-npu==2.10.0 depends on torch==2.10.0+cpu and there is no version of torch==2.10.0+cpu, we can conclude that\n"
        "      torch-npu==2.10.0 cannot be used."
    )
    assert explained(tree).hint == "torch-cpu-index"
    conflict = tree.replace("there is no version of torch==2.10.0+cpu", "acme depends on torch==2.9")
    assert explained(conflict).hint == "requirements-conflict"
    missing = "No solution found when resolving dependencies:\n  Because there is no version of acme==9 and you require acme==9, we can conclude that"
    assert explained(missing).hint == "package-not-found"


CHECKED = "[ERROR] HCCL(7,acme):2026-11-20-10:00:00.1 [acme.cc:1] [7][InitGroupStage]"


@pytest.mark.parametrize(
    ("name", "sure", "words"),
    [
        (
            "hccl-rank-table",
            False,
            "[RanktableConfig]errNo[0x0000000005010001] path /srv/t.json is not a valid real path",
        ),
        ("hccl-rank-table", False, "[RanktableCheck]errNo[0x0000000005010001] super_device_id[] is invalid"),
        ("hccl-device-ip", True, "[RanktablCheck] 'device ip' is not set correctly, see below"),
        ("hccl-tls", True, "[RanktableCheck]Some ranks tlsStatus are inconsistent."),
        ("hccl-connect-timeout", True, "topo exchange agent get socket timeout! timeout[120]"),
    ],
)
def test_what_hccl_s_check_of_a_group_names_is_told_before_its_code(name: str, sure: bool, words: str) -> None:
    wrapped = "[InitCommRootInfo]errNo[0x0000000005000001] init failed"
    found = explained(f"{CHECKED}{words}\n{CHECKED}{wrapped}")
    assert (found.hint, found.sure) == (name, sure)
    assert explained(CHECKED + wrapped).hint == "hccl-code-setup"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("mindie-code-files", "MIE04E010101"),
        ("mindie-code-process", "MIE04E010102"),
        ("mindie-code-config", "MIE04E02010E"),
        ("mindie-code-config", "MIE05E000000"),
        ("mindie-code-security", "MIE04E021113"),
        ("mindie-own-log", "MIE04E01011C"),
        ("mindie-own-log", "MIE06E040000"),
    ],
)
def test_the_end_of_mindie_s_code_says_the_kind_and_words_say_more(name: str, code: str) -> None:
    line = f"[2026-04-03 03:12:31.1+00:00] [4] [2] [server] [ERROR] [acme.cpp:1] : [{code}] [acme] "
    found = explained(line + "nobody knows")
    assert (found.hint, found.sure) == (name, False)
    assert explained(line + "Warmup failed, because of out of memory").hint == "mindie-warmup-memory"


def test_memfabric_s_lines_are_read_and_those_in_passing_are_none() -> None:
    line = "2026-09-22 20:20:40.102319 {} 7 pid[7] [SMEM acme.cpp:44] hybm core init failed: -3"
    late = "[2026-09-22 20:20:40] Ascend Transfer Engine initialization failed."
    assert explained(line.format("error") + "\n" + late).root == "hybm core init failed: -3"
    assert explained(line.format("warn") + "\n" + late).hint == "ascend-transfer"


@pytest.mark.parametrize(
    "words",
    [
        "RuntimeError: ACL stream synchronize failed, error code:{}",
        "RuntimeError: NPU function error: aclrtSynchronizeStream, error code is {}",
        "[ERROR] RUNTIME(7,python):2026-11-20-10:00:00.1 [acme.cc:1] acme failed: {}",
        "[ERROR] RUNTIME(7,python):2026-11-20-10:00:00.1 [acme.cc:1] acme execute failed, ErrCode={}",
        "[ERROR] DEVICE(7,fff,python):2026-11-20-10:00:00.1 [acme.cc:1] acme, ret[{}]",
        "[ERROR] DEVICE(7,fff,python):2026-11-20-10:00:00.1 [acme.cc:1] acme, runtime result = {}.",
    ],
)
def test_a_code_of_cann_means_the_same_however_it_is_written(words: str) -> None:
    for code, name in (
        (507014, "npu-kernel-too-long"),
        (507034, "npu-kernel-too-long"),
        (507048, "npu-task-timeout"),
        (507035, "npu-kernel-failed"),
        (507010, "npu-heartbeat"),
        (507001, "npu-scheduler-error"),
        (207005, "npu-stream-resources"),
        (207004, "npu-no-device"),
    ):
        assert explained(words.format(code)).hint == name, code


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("ascend_config.py", "additional_config"),
        ("platform.py", "additional_config"),
        ("cpu_binding.py", "enable_cpu_binding: false"),
        ("_310p/quantization/methods/acme.py", "W8A8"),
        ("quantization/methods/acme.py", "W8A8"),
        ("worker/worker.py", "torch-npu"),
    ],
)
def test_where_in_vllm_ascend_an_error_came_from_says_what_to_change(file: str, said: str) -> None:
    log = f"""Traceback (most recent call last):
  File "/opt/site-packages/vllm_ascend/{file}", line 9, in acme
    raise ValueError("nobody knows")
ValueError: nobody knows"""
    found = explained(log)
    assert found.hint == "raised-in" and found.meaning and said in found.meaning


@pytest.mark.parametrize(
    ("name", "refused", "taken"),
    [
        ("aclnn-no-bf16", "DT_BFLOAT16", "DT_FLOAT16,DT_FLOAT,"),
        ("aclnn-no-fp16", "DT_FLOAT16", "DT_UINT64,DT_BFLOAT16,DT_FLOAT,"),
        ("aclnn-arguments", "DT_INT8", "DT_BFLOAT16,DT_FLOAT16,"),
        ("aclnn-arguments", "DT_FLOAT16", "DT_INT8,DT_FLOAT,"),
    ],
)
def test_the_type_that_an_operator_refuses_is_told_before_its_code(name: str, refused: str, taken: str) -> None:
    log = f"""RuntimeError: acme:build/compiler_depend.ts:9 NPU function error: call aclnnAcme failed, error code is 161002
[PID: 7] 2026-02-09-17:11:34.1 AclNN_Parameter_Error(EZ1001): Tensor x not implemented for {refused}, should be in dtype support list [{taken}]."""
    assert explained(log).hint == name


def test_python_s_own_form_of_a_line_has_a_level() -> None:
    """`WARNING:root:...`: a library that did not load counts where its operators are missed, and a line in passing explains nothing."""
    warned = "WARNING:root:Failed to import 'acme.acme_C': /lib/libc.so.6: version `GLIBC_2.99' not found (required by acme_C.so)."
    missed = "AttributeError: '_OpNamespace' '_C' object has no attribute 'acme'"
    assert explained(f"{warned}\n{missed}").hint == "libc-too-old"
    assert explained("INFO:acme.web:RuntimeError: NPU out of memory").hint is None
    assert explained("ERROR:acme:NPU out of memory").hint == "npu-memory-out"


def test_memory_that_was_overwritten_is_told_beside_the_shell_s_word() -> None:
    end = "/srv/start: line 9:   140 Aborted                 (core dumped) vllm serve /models/m"
    for words in ("corrupted size vs. prev_size", "free(): invalid pointer", "double free or corruption (!prev)"):
        assert explained(f"{words}\n{end}").hint == "memory-overwritten"


def test_triton_for_npus_gives_way_to_what_its_compiler_names() -> None:
    said = "triton.compiler.errors.MLIRCompilationError: \\n[ConvertLinalgRToBinary] encounters error:\\n{}".replace(
        "\\n", "\n"
    )
    for words, name in (
        ("bishengir-compile: for the --target option: Cannot find option named 'Ascend310P1'!", "310p-triton"),
        ("error: ub overflow, requires 1966848 bits while 1572864 bits avaliable!", "npu-triton-buffer"),
        ("error: Failed to run BiShengHIR pipeline", "npu-triton-pipeline"),
    ):
        assert explained(said.format(words)).hint == name


def test_a_package_that_was_not_built_gives_way_to_the_one_that_was_not_found() -> None:
    end = "ERROR: Failed to build 'file:///srv/acme' when installing build dependencies"
    for name, package in (("torch-npu-index", "torch-npu==9.9"), ("package-not-found", "acme==9.9")):
        found = explained(
            f"  ERROR: No matching distribution found for {package}\n  error: subprocess-exited-with-error\n{end}"
        )
        assert found.hint == name
    assert explained(end).hint == "package-build-failed"
