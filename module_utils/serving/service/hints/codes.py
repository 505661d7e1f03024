"""Failure hints: codes of CANN by their class, for those that no row names singly: E1xxxx to E8xxxx of its compiler, EE to EL of its libraries."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

CLASSES = "hiascend.com, CANN, error codes, by class"
ONE_CANN = "source set_env.sh of one CANN only, or use the image of this NPU and release as it was built"

HINTS = (
    Hint(
        "cann-class-graph",
        r"\bE1\d{4}\b",
        "CANN's graph engine (GE) refuses what it was given, or failed inside",
        "the words behind the code name the parameter or node; try enforce_eager: true, then another release; plog below ~/ascend/log says more",
        CLASSES,
        "E10001: [PID: 7] Value [x] for parameter [acme] is invalid. Reason: nobody has seen this one.",
        general=True,
    ),
    Hint(
        "cann-class-library",
        r"\bE3\d{4}\b",
        "CANN finds no operator library for this NPU, or not this operator in it",
        "install the kernels package of this NPU and of the toolkit's release; " + ONE_CANN,
        CLASSES,
        "E39988: [PID: 7] nobody has seen this one.",
        general=True,
    ),
    Hint(
        "cann-class-compiler",
        r"\b(?:E4\d{4}|EB\d{4}|EC\d{4}|EF\d{4})\b",
        "CANN could not compile an operator: shape, type or format are none of this NPU's, or the compiler's Python packages are missing",
        "the words behind the code name the operator; " + ONE_CANN,
        CLASSES,
        "EB3000: [PID: 7] nobody has seen this one.",
        general=True,
    ),
    Hint(
        "cann-class-aicpu",
        r"\bE5\d{4}\b",
        "an operator that runs on the NPU's CPU is unknown there or refuses its arguments",
        "the words behind the code name the operator; install the kernels package of this NPU and release",
        CLASSES,
        "E50012: [PID: 7] nobody has seen this one.",
        general=True,
    ),
    Hint(
        "cann-class-operator",
        r"\bE[678]\d{4}\b",
        "an operator of CANN refuses the shape, type or format that it was given",
        "the words behind the code name operator and argument; use float16 on NPUs without bf16, another max_num_batched_tokens, or another release",
        CLASSES,
        "E60011: [PID: 7] In op [acme], the shape size should be less than 7, but actual is 8.",
        general=True,
    ),
    Hint(
        "cann-class-runtime",
        r"\bEE\d{4}\b",
        "a call of CANN's runtime failed: an argument that it does not take, a device, stream or event that is gone, or an earlier failure",
        "the words behind the code name the function; npu-smi info must show the NPU healthy; look for an earlier error of any rank",
        CLASSES,
        "EE1002: [PID: 7] nobody has seen this one.",
        general=True,
    ),
    Hint(
        "cann-class-acl",
        r"\bEH\d{4}\b",
        "who calls CANN gave it an argument or a path that it does not take: torch-npu or MindSpore and CANN may be of different releases",
        "the words behind the code name the argument; install the torch-npu (or MindSpore) and CANN of one release; "
        + ONE_CANN,
        CLASSES,
        "EH0001: [PID: 7] Value [9] for parameter [deviceId] is invalid. Reason: nobody has seen this one.",
        general=True,
    ),
    Hint(
        "cann-class-hccp",
        r"\bEJ\d{4}\b",
        "the NPU's own network process (HCCP) does not start or has no address: another process holds the NPU, or /etc/hccn.conf is not right",
        "end what runs on the NPU and wait 10 s; hccn_tool -i N -ip -g and -link -g show address and link; mount /etc/hccn.conf in a container",
        CLASSES,
        "EJ0004: [PID: 7] nobody has seen this one.",
        general=True,
    ),
    Hint(
        "cann-class-driver",
        r"\bEL\d{4}\b",
        "the NPU's driver refused a call: the NPU is held or unhealthy, its memory ran out, or driver and CANN are not of one time",
        "npu-smi info on the host must show the NPU healthy and free; compare driver and firmware with what CANN's release names",
        CLASSES,
        "EL0003: [PID: 7] The argument is invalid. nobody has seen this one.",
        general=True,
    ),
    Hint(
        "cann-class-profiling",
        r"\bEK\d{4}\b",
        "CANN's profiler refuses an option or has no place for its files",
        "switch profiling off (env PROFILING_MODE, VLLM_TORCH_PROFILER_DIR), or correct what the words behind the code name",
        CLASSES,
        "EK0001: [PID: 7] nobody has seen this one.",
        general=True,
    ),
)
