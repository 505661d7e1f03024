"""Failure hints: kernels of Ascend NPUs, where the device's own report says what was wrong; CANN's packages of kernels."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

HINTS = (
    Hint(
        "npu-kernel-address",
        r"errorStr: [^\n]{0,40}(?:DDR|address|UB|L1|L0C?)[^\n]{0,80}(?:out of range|out of bounds|unaligned|not aligned|conflict"
        r"|non-zero value|is invalid)"
        r"|(?:error code is|runtime result =) ?50704[2-5]\b"
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
        "hccl-buffer-too-small",
        r"HCCL_BUFFSIZE\w{0,16} is too SMALL\b",
        "the buffer through which NPUs exchange the experts' tokens is smaller than this model and batch need",
        "set env HCCL_BUFFSIZE to what the line names as NEEDED_HCCL_BUFFSIZE (MiB), or lower max_num_batched_tokens",
        "vllm-project/vllm-ascend#2858",
        "EZ9999: [PID: 973] 2025-09-10-09:46:59.100.100 HCCL_BUFFSIZE is too SMALL, maxBs = 512, h = 4096, NEEDED_HCCL_BUFFSIZE = 1100MB",
    ),
    Hint(
        "cann-python-module",
        r"EC0010: [^\n]{0,80}Failed to import Python module \[ModuleNotFoundError|Failed to compile Op \[[^\n]{0,500}ModuleNotFoundError: No module",
        "CANN's compiler runs a Python that lacks a module it needs",
        "install the module that the line names into the Python that starts the engine; CANN's requirements list them (decorator, attrs, scipy)",
        "vllm-project/vllm-ascend#564",
        "EC0010: [PID: 7] 2025-04-18-10:00:00.100.100 Failed to import Python module [ModuleNotFoundError: No module named 'decorator'.].",
    ),
    Hint(
        "npu-pointer-attributes",
        r"aclrtPointerGetAttributes[^\n]{0,60}error code is 10700\d",
        "the NPU's driver does not tell where memory lies: a board whose NPU is the host itself (RC mode), or a driver older than torch-npu wants",
        "use an image made for this board, or the driver that CANN's release names; vllm-ascend serves NPUs in cards (EP mode)",
        "vllm-project/vllm-ascend#8981",
        "RuntimeError: operator():acme.ts:40 NPU function error: aclrtPointerGetAttributes(ptr, &attributes), error code is 107000",
        sure=False,
    ),
    Hint(
        "npu-aicpu-failed",
        r"[Aa]icpu kernel execute failed|exception occurred during AICPU execution|E39999|(?i:aicpu exception)|\b50(?:7018|7900)\b",
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
        late=True,
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
        "cann-operator-description",
        r"\[InitOpInfoLib\]|\[InitOpKernel\]",
        "the description of an operator is not as this CANN reads it: operators of another package (custom ones, ATB's, kernels) are of"
        " another release",
        "use an image as it was built; on a host install kernels, ops and custom operators (vllm-ascend's, sgl-kernel-npu) of the toolkit's release",
        "vllm-project/vllm-ascend#8183",
        "E29999[PID: 464] 2026-04-13-12:28:25.885.371 (E29999): [InitOpInfoLib][InitOpKernel] Inconsistent format size [1] and data type size [2]!",
        sure=False,
    ),
    Hint(
        "npu-operator-attribute",
        r"Attr \w{1,40} is invalid, current(?:ly)? only supports?",
        "an operator of an NPU got an attribute that it does not know: who calls it (vllm-ascend, sgl-kernel-npu) and CANN are of different releases",
        "install the CANN and the operators' package that belong to each other (the release's notes name them), or use an image with both",
        "sgl-project/sgl-kernel-npu#239",
        "[ERROR][AcmeDispatch] Attr commAlg is invalid, current only support a and b, but got commAlg = c.",
        sure=False,
    ),
    Hint(
        "npu-name-unknown",
        r"Get soc (?:name|version) failed|[Ff]ailed to get (?:the )?soc (?:name|version)",
        "the NPU's name can't be asked for, or CANN does not know it: driver files and device nodes are missing, or driver and CANN are"
        " older than the NPU",
        "npu-smi info must show the NPU here; use the driver and CANN whose notes name it (910B4-1 and 310P variants need newer ones)",
        "mindspore-ai/mindspore#344",
        "[ERROR] DEVICE(7,ffff,python):2025-10-20-09:54:58.317.312 [acme.cc:557] SetContextSocVersion] Get soc name failed.",
        sure=False,
    ),
    Hint(
        "ascend-soc-unknown",
        r"Can not support soc_version|Cannot find option named 'Ascend(?!310P)\w|[Uu]n(?:supported|known|defined) soc[ _]?version",
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
        r"(?i:aicore|aivec|vector core) (?:execution |task )?time ?out|(?:error code is|runtime result =|failed:) ?5070(?:14|34)\b",
        "a kernel ran longer on the NPU than it may: it hangs, waits for another rank, or its shapes are much larger than it is built for",
        "compare what the other ranks say; try enforce_eager: true, a lower max_num_batched_tokens, or another release of CANN and vllm-ascend",
        "CANN, aclError",
        "RuntimeError: NPU function error: aclrtSynchronizeStream, error code is 507014",
    ),
    Hint(
        "npu-head-ratio",
        r"numHeads / numKvHeads|MLA only supports? \{",
        "the NPU's attention kernel takes only some numbers of heads per KV head on each NPU, and this model's after tensor parallelism"
        " is none of them",
        "change tensor_parallel_size so that the message's numbers are met, or set enforce_eager: true (no graph mode)",
        "vllm-project/vllm-ascend, FAQ",
        "EZ9999: [PID: 71] 2025-01-01-10:00:00.1 numHeads / numKvHeads = 8, MLA only support {32, 64, 128}.[FUNC:CheckMlaAttrs]",
    ),
    Hint(
        "mindspore-scheduler",
        r"Failed to connect to the tcp server|[Tt]opology build timed out|Failed to (?:register|initialize)[^\n]{0,40}(?:scheduler|compute graph node)",
        "MindSpore's processes don't find each other: the scheduler does not run or ended, a worker did not come, or address and port are not right",
        "look at each worker's and the scheduler's own log for one that ended before; MS_SCHED_HOST and MS_SCHED_PORT alike for all, a"
        " port that is free and"
        " reached; MS_NODE_TIMEOUT higher",
        "MindSpore, dynamic cluster; mindspore-lab/mindrl#144",
        "RuntimeError: Failed to connect to the tcp server : 127.0.0.1:8088, retry to reconnect(100/100)",
        sure=False,
    ),
    Hint(
        "torch-npu-not-loaded",
        r"Expected one of cpu, [^\n]{0,300}device type at start of device string: (?:npu|privateuseone)",
        "this torch does not know NPUs: torch-npu is not installed, or was not imported before the device was asked for",
        "python -c 'import torch, torch_npu; print(torch.npu.is_available())' must say True; install the torch-npu of this torch, unset"
        " TORCH_DEVICE_BACKEND_AUTOLOAD=0",
        "opendatalab/MinerU#2665",
        "RuntimeError: Expected one of cpu, cuda, mps, meta, privateuseone device type at start of device string: npu",
    ),
    Hint(
        "npu-capture-mode",
        r"current capture mode does not support",
        "while a graph of the NPU was captured something was called that no graph can hold: a copy to or a wait of the host, by this"
        " model's code, by this"
        " release, or as ASCEND_LAUNCH_BLOCKING is set",
        "take ASCEND_LAUNCH_BLOCKING out of the row's env; set enforce_eager: true; else another release of vllm-ascend",
        "vllm-project/vllm-ascend#7676",
        "EE9999[PID: 7] 2026-03-24-09:58:00.1 (EE9999):  rtMemcpy execution failed, reason=the current capture mode does not support this operation",
        sure=False,
    ),
    Hint(
        "npu-triton-compiler",
        r"Command '\['[^'\n]{0,80}(?:clang|g)\+\+'[^\n]{0,1200}/(?:cann|[Aa]scend)[^\n]{0,1200}returned non-zero",
        "Triton for NPUs could not compile its part in C++: headers of Python, torch-npu or CANN are not there or of another release, or"
        " the compiler is"
        " not the one it wants",
        "the compiler's own words stand above the line; remove ~/.triton/cache; use the image of this NPU as it was built, or CANN and"
        " driver of its release",
        "vllm-project/vllm-ascend#6242",
        "RuntimeError: Command '['/usr/bin/clang++', '-x', 'c++-header', '-I/opt/cann-8.5.0/include']' returned non-zero exit status 1.",
        sure=False,
    ),
    Hint(
        "torch-npu-name",
        r"NameError: name 'torch_npu' is not defined",
        "the engine takes this host for one without NPUs and did not load torch-npu: it is missing, does not load, or the release is not for NPUs",
        "python -c 'import torch_npu' says why; use the engine's image for NPUs as it was built",
        "Ascend/sglang#86",
        "NameError: name 'torch_npu' is not defined",
        sure=False,
    ),
    Hint(
        "torch-npu-headers",
        r"fatal error: (?:torch_npu|third_party/acl|acl)/[\w./]{1,80}\.h(?:pp)?: No such file",
        "the build does not find the headers of torch-npu or CANN: they are not in the environment that builds, or of another version",
        "install this release's torch-npu first, source CANN's set_env.sh, and build with --no-build-isolation; or use an image or a wheel",
        "vllm-project/vllm-ascend#661, #676",
        "/srv/acme.cpp:20:10: fatal error: torch_npu/csrc/acme.h: No such file or directory",
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
        "mindspore-kernel-unregistered",
        r"[Tt]he kernel \[?\w{1,60}\]? (?:is )?unregistered",
        "this MindSpore has no such operator for this device: it is newer or older than the operators (CANN) or the code that calls it",
        "install the MindSpore and CANN that belong together (and to the model's code), or use an image with all of them",
        "mindspore-ai/mindspore#286",
        "RuntimeError: the kernel AcmeExt unregistered.",
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
