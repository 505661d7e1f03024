"""Failure hints: kernels of Ascend NPUs, where the device's own report says what was wrong; CANN's packages of kernels."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

HINTS = (
    Hint(
        "npu-kernel-address",
        r"errorStr: [^\n]{0,40}(?:DDR|address|UB|L1|L0C?)[^\n]{0,80}(?:out of range|out of bounds|unaligned|not aligned|conflict|non-zero value)"
        r"|errorStr: Illegal instruction|vec(?:tor)? (?:core )?error[^\n]{0,40}out of range|MTE (?:instruction|address)[^\n]{0,40}out of range",
        "a kernel of the NPU used an address that it may not: it was given a shape, index or layout for which it is not built, or memory that was"
        " freed",
        "the lines behind it name the kernel (fault kernel_name); another release of CANN and vllm-ascend, enforce_eager: true or the feature that"
        " brings the kernel switched off",
        "mindspore-lab/mindone#269; vllm-project/vllm-ascend#8818, #12461",
        "The extend info: errcode:(0x800000, 0, 0) errorStr: The DDR address of the MTE instruction is out of range. fsmId:1, tslot:6",
        sure=False,
    ),
    Hint(
        "npu-model-failed",
        r"\b507011\b",
        "a whole graph failed on the NPU while it ran, most often by an operator in it, or by one that waited for data in vain (GetNext)",
        "the lines beside it name the node (Dump node ...) and plog below ~/ascend/log the operator; run it without a graph (enforce_eager: true;"
        " PyNative in MindSpore)",
        "mindspore-lab/mindocr#615; CANN, aclError 507011",
        "[ERROR] DEVICE(7,fff,python):2023-11-20-15:34:32.886.561 [acme.cc:761] Task fail infos task_id: 2, retcode: 507011 ( model execute failed)",
        sure=False,
        late=True,
    ),
    Hint(
        "npu-aicpu-failed",
        r"[Aa]icpu kernel execute failed|exception occurred during AICPU execution|E39999",
        "an operator that runs on the NPU's CPU failed: most often its package is of another CANN, or it can't do this inside a graph",
        "funcName and kernelName behind it name the operator; use the driver and CANN of one release, and try enforce_eager: true",
        "vllm-project/vllm-ascend#5824; MindSpore, error analysis",
        "Aicpu kernel execute failed, device_id=0, stream_id=1404, task_id=25, soName=libtf_kernels.so, kernelName=FloorDiv, errorCode=0x91.",
        sure=False,
    ),
    Hint(
        "npu-tiling",
        r"(?:do )?[Tt]iling (?:[Ff]ailed|failed, ret)|error code is 561002\b|DoTiling\(\w{0,30}\) failed",
        "an operator of the NPU can't be laid out for these shapes: lengths, heads or batch are not among those that it is built for",
        "the operator is named there; try another max_num_batched_tokens, no speculative decoding, enforce_eager: true, or another release",
        "CANN, aclnn return codes; vllm-project/vllm-ascend#11092, #12956",
        "EZ9999: CausalConv1d do tiling failed, ret is -1.",
        sure=False,
    ),
    Hint(
        "npu-copy-failed",
        r"there is a sdma error|sdma copy error",
        "a copy between host and NPU, or between NPUs, met an address that is not mapped",
        "use a release that supports this NPU; if it stays, look at dmesg and npu-smi info -t health, and at the host's memory limits",
        "vllm-project/vllm-ascend#3316",
        "rtDeviceSynchronizeWithTimeout execute failed, reason=[sdma copy error]",
        sure=False,
    ),
    Hint(
        "npu-scheduler-error",
        r"error code is 507001\b",
        "the NPU's task scheduler reported an error; it does so where driver and firmware are too old for memory in expandable segments",
        "set env PYTORCH_NPU_ALLOC_CONF: expandable_segments:False, or upgrade driver and firmware",
        "vllm-project/vllm-ascend#116",
        "RuntimeError: NPU function error: AclrtSynchronizeStreamWithTimeout(copy_stream), error code is 507001",
        sure=False,
    ),
    Hint(
        "cann-kernels-missing",
        r"binary_info_config\.json|opp_kernel package|Failed to verify the OPP|E30006|does not match the current device soc_?ver",
        "CANN's kernel package for this NPU is not installed, or it belongs to another NPU or release",
        "use the image for this NPU (310P, A2 and A3 have their own), or install the kernels package of the NPU and the toolkit's release",
        "vllm-project/vllm-ascend#237",
        "EZ1001: Get path and read binary_info_config.json failed, please check if the opp_kernel package is installed!",
        sure=False,
    ),
    Hint(
        "ascend-soc-unknown",
        r"Can not support soc_version|[Uu]n(?:supported|known) soc[ _]?version",
        "this build of vllm-ascend (or of its kernels) does not know this NPU",
        "use the image for this NPU (tags with -310p or -a3 where there are such), of a release whose notes name it",
        "vllm-project/vllm-ascend#6796",
        "RuntimeError: Can not support soc_version: 999.",
    ),
    Hint(
        "cann-compiler-missing",
        r"__clang_cce_runtime_wrapper\.h|bisheng[^\n]{0,60}not found|ccec[^\n]{0,60}not found",
        "CANN can't compile an operator here: its compiler, its Python packages or a header are missing or of another release",
        "source set_env.sh of one CANN only, install its Python needs (decorator, sympy, scipy, attrs...), or use the image as it was built",
        "vllm-project/vllm-ascend#564; XPU-Forces/xpu_graph#304",
        "/tmp/kernel.cce:1:10: fatal error: '__clang_cce_runtime_wrapper.h' file not found",
        sure=False,
    ),
    Hint(
        "cann-graph-engine",
        r"(?:GEInitialize|GELib::\w{1,40}|OpCompileProcessor init) fail",
        "CANN's graph engine does not start: its compiler or Python packages are not whole, or the NPU itself does not start",
        "the codes around it say which; source set_env.sh of one CANN only, install its Python needs (decorator, sympy, scipy, attrs...), or use"
        " the image"
        " as it was built",
        "vllm-project/vllm-ascend#564",
        "GEInitialize failed.[FUNC:GEInitialize][FILE:ge_api.cc][LINE:337]",
        general=True,
    ),
    Hint(
        "cann-python",
        r"E40024|Failed call Python Func|PY_SSIZE_T_CLEAN|EH9999 +\[Init\]\[Env\]init env failed",
        "CANN's Python part failed: it does not fit this version of Python, or a package that it needs is missing",
        "use a Python that this CANN names (3.9 to 3.11 for most) and install its packages (decorator, sympy, scipy, attrs...), or use the image as"
        " it was built",
        "CANN, error codes",
        "E40024: Failed call Python Func/Meathod [x], Reason[SystemError: nobody has seen this one]",
        sure=False,
    ),
    Hint(
        "cann-compile-operator",
        r"Failed to compile Op \[|Compile op ?\[\w{1,60}\] ?failed|ACL error, the error code is ?: 50000[12]|E40021"
        r"|\[E[AB]0000\]|exceed bound of memory: local|'errCode': 'E[5-9AB]\w{4}'",
        "CANN could not compile an operator for this NPU: shape, type or format are not supported there, or its compiler is not whole",
        "the message names the operator; use float16 on NPUs without bf16, an image of this NPU and release, or leave out the feature that brings it",
        "PaddlePaddle/PaddleCustomDevice#690",
        "E40021: Failed to compile Op [QuantBatchMatmulV3]. (oppath: [Compile /opt/opp/quant_batch_matmul_v3.py failed)",
        sure=False,
    ),
    Hint(
        "npu-remote-failed",
        r"SUSPECT REMOTE ERROR|error code is 507057\b",
        "another NPU or host of this service failed first, and this one noticed when it waited for it",
        "look at the logs of the other ranks and hosts for their first error; npu-smi info and hccn_tool show NPUs and links",
        "vllm-project/vllm-ascend#12461",
        "RuntimeError: SUSPECT REMOTE ERROR,",
        general=True,
    ),
    Hint(
        "npu-inner-above",
        r"The Inner error is reported as above",
        "an operator on the NPU failed before this one, and was noticed here",
        "the lines with codes (EZ9999, EE9999) above say which; set env ASCEND_LAUNCH_BLOCKING: 1 to see it where it happens, try enforce_eager:"
        " true; plog says more",
        "Ascend/pytorch",
        "RuntimeError: The Inner error is reported as above. The process exits for this inner error.",
        general=True,
    ),
    Hint(
        "triton-ascend-headers",
        r"error: '?(?:acl\w{2,40}|rt[A-Z]\w{2,40})'? was not declared|launcher\.cxx[^\n]{0,80}(?:error|fatal)"
        r"|fatal error: (?:acl|experiment|runtime)/[\w/]{1,60}\.h",
        "Triton for Ascend compiles its launcher against headers of another CANN",
        "install the triton-ascend that belongs to this CANN, or use the image as it was built; remove ~/.triton/cache after a change",
        "vllm-project/vllm-ascend#6271",
        "/root/.triton/cache/launcher.cxx:12:34: error: 'aclOpExecutor' was not declared in this scope",
        sure=False,
    ),
    Hint(
        "npu-aclop-in-graph",
        r"Cannot run aclop operators during NPU graph capture|aclop[^\n]{0,60}graph capture",
        "an operator of the old kind (aclop) can't be captured into a graph",
        "set enforce_eager: true, or leave out the feature that brings the operator; newer releases of torch-npu have more operators as aclnn",
        "XPU-Forces/xpu_graph#304",
        "RuntimeError: Cannot run aclop operators during NPU graph capture.",
    ),
    Hint(
        "mindspore-without-ascend",
        r"Unsupported device target Ascend|package type mindspore-(?:gpu|cpu) support 'device_target'"
        r"|device target \[?Ascend\]?[^\n]{0,60}(?:not supported|is invalid)"
        r"|Load dynamic library: libmindspore_ascend[^\n]{0,40}failed|libmindspore\w{0,30}\.so[^\n]{0,60}cannot open",
        "this MindSpore can't use NPUs: its package is for CPUs, or CANN's libraries are not on the loader's path",
        "source CANN's set_env.sh in `activate`, and install the MindSpore that names this CANN; its run_check() says more",
        "mindspore-lab/mindyolo#273",
        "RuntimeError: Unsupported device target Ascend. This process only supports one of the ['CPU'].",
    ),
    Hint(
        "mindspore-device-address",
        r"The device address type is wrong: type name in address:(\w{1,10}), type name in context:",
        "MindSpore was given data that lies on another device than the one it computes on: its part for the NPU was not loaded whole, or code made"
        " tensors before it chose the device",
        "mindspore.run_check() on Ascend must succeed; set the device before the model is made, and use the MindSpore and CANN that belong together",
        "mindspore-lab/mindyolo#251",
        "RuntimeError: The device address type is wrong: type name in address:CPU, type name in context:Ascend",
        sure=False,
    ),
    Hint(
        "mindspore-graph",
        r"Run task for graph|(?:RunGraph|Exec compute graph|Build graph|Compile graph|GenerateModel|PreRun)\]?[^\n]{0,60}(?:failed|Failed)"
        r"|run graph failed|Build model failed",
        "a graph of the model does not compile or run on this NPU",
        "look for the operator that is named above; check shapes and sequence lengths of the model settings against the weights, and that MindSpore"
        " and CANN are of one release",
        "mindspore-ai/mindspore#250",
        "[ERROR] ME(1,python3):2023-11-02-01:01:09.343.938 [mindspore/x.cc:619] RunGraph] Exec compute graph failed, graph id 1",
        general=True,
    ),
    Hint(
        "npu-kernel-too-long",
        r"(?i:aicore|aivec|vector core) (?:execution |task )?time ?out|error code is 507014\b",
        "a kernel ran longer on the NPU than it may: it hangs, waits for another rank, or its shapes are much larger than it is built for",
        "look for what the other ranks said before; try enforce_eager: true, a lower max_num_batched_tokens, or another release of CANN and"
        " vllm-ascend",
        "CANN, aclError",
        "RuntimeError: NPU function error: aclrtSynchronizeStream, error code is 507014",
    ),
    Hint(
        "npu-head-ratio",
        r"numHeads / numKvHeads|MLA only supports? \{",
        "the NPU's attention kernel takes only some numbers of heads per KV head on each NPU, and this model's after tensor parallelism is none of them",
        "change tensor_parallel_size so that the message's numbers are met, or set enforce_eager: true (no graph mode)",
        "vllm-project/vllm-ascend, FAQ",
        "EZ9999: [PID: 71] 2025-01-01-10:00:00.1 numHeads / numKvHeads = 8, MLA only support {32, 64, 128}.[FUNC:CheckMlaAttrs]",
    ),
    Hint(
        "mindspore-cluster",
        r"Role name is invalid|cluster_context\.cc:\d{1,5}\][^\n]{0,120}(?:[Ii]nvalid|not set)",
        "MindSpore was asked for several processes, and the variables that say which one this is are not set",
        "start it by msrun (as the image's own entry does), or set MS_ROLE, MS_WORKER_NUM, MS_SCHED_HOST and MS_SCHED_PORT in the row's env",
        "mindspore-ai/docs, FAQ on distributed work",
        "[CRITICAL] DISTRIBUTED(71,7f,python):2025-01-01-10:00:00.000 [cluster_context.cc:130] InitNodeRole] Role name is invalid...",
    ),
    Hint(
        "npu-count",
        r"Get physical device number failed",
        "the driver shows this process no NPU: the device nodes or the driver's files are not in the container, or the driver does not run",
        "npu-smi info on the host must show the NPUs; compare with `devices` and `device_nodes` of the row",
        "InternLM/lmdeploy#2585",
        "[ERROR] IDEDD(1,python3.10):2024-10-14-07:24:13.097.930 [adx_dsmi.cpp:54][tid:201]>>> Get physical device number failed, err: 87",
    ),
    Hint(
        "npu-operator-function",
        r"Failed to find func by type \w{1,60}",
        "CANN's operator packages that are loaded lack a function for this operator: they are of another release than the toolkit, or of another NPU",
        "use the image for this NPU as it was built, or install kernels and ops of the toolkit's release",
        "vllm-project/vllm-ascend#5361",
        "[ERROR] GE(17,):2025-12-25-17:14:00.937.954 [tiling.cc:312]174006 BuildOutputs: Failed to find func by type TransData",
        sure=False,
    ),
    Hint(
        "mindspore-no-operators",
        r"Load op info json failed|Get op info json suffix path failed",
        "this MindSpore has no operators for this kind of NPU",
        "use a MindSpore that names it (and the CANN that it was built with), or another NPU",
        "mindspore-ai/mindspore#246",
        "[mindspore/ccsrc/acme.cc:172] LoadOpInfoJson] Get op info json suffix path failed, soc_version: AscendAcme",
    ),
    Hint(
        "tbe-main-gone",
        r"TBE Subprocess[^\n]{0,40}main process disappeared",
        "the helper processes of CANN's compiler found the main process gone: it ended before them, and the reason is what it said itself",
        "look for the error before this line; where there is none the program ended without closing its engine, and nothing is wrong",
        "vllm-project/vllm-ascend#198",
        "[ERROR] TBE Subprocess[task_distribute] raise error[], main process disappeared!",
        sure=False,
        late=True,
    ),
)
