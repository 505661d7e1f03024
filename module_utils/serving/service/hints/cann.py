"""Failure hints: families of codes of CANN, HCCL and ACL, and MindSpore's own words. ascend has the single failures."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint


def written(decimal: str, hexadecimal: str) -> str:
    """A pattern of a result of HCCL (HcclResult) in each way in which torch-npu, CANN's logs, ATB and xLLM write it."""
    return (
        r"(?:(?:HCCL|Hccl|hccl)\w{0,40}[^\n]{0,200}(?:error code is|fail(?:ed)?, error:|hccl module\. ret =|hcclRet ->) ?%s\b"
        r"|hcclRet -> ?%s\b|HCCL_SUCCESS \(%s vs|errNo\[0x0{6,10}50000%s\])" % (decimal, decimal, decimal, hexadecimal)
    )


HINTS = (
    Hint(
        "torch-npu-other-torch",
        r"(?:libtorch_npu|torch_npu/)[^\n]{0,300}undefined symbol: _ZNK?(?:5torch|3c10|2at)\d",
        "torch-npu was built for another torch than the one that is installed",
        "install the torch that this torch-npu names (torch-npu 2.7.1 wants torch 2.7.1), or use an image as it was built",
        "Ascend/pytorch#35",
        "ImportError: /opt/acme/torch_npu/lib/libtorch_npu.so: undefined symbol: _ZN5torch10ValueErrorC1EPKcz",
    ),
    Hint(
        "cann-mixed",
        r"(?:/[Aa]scend/|/opp/|libops_|libge|libhccl|libascend|libopapi|libatb|libtorch_npu"
        r"|_npu)[^\n]{0,300}undefined symbol(?!: _ZNK?(?:5torch|3c10|2at)\d)"
        r"|undefined symbol: (?:\w{0,4}acl(?:rt|nn|op|mdl|gen)?[A-Z]\w{1,60}|Hccl\w{1,60}|_ZN(?:K?2ge|K?3atb|K?6AsdOps|K?3Mki|10c10_npu|4hccl)\w{1,200}"
        r"|rt[A-Z]\w{1,40}|dcmi_\w{1,40})",
        "parts of CANN, ATB or torch-npu of different versions are mixed",
        "use an image as it was built; on a host source set_env.sh of one CANN only, and install the torch-npu, NNAL and ops of its release",
        "Ascend/samples#21",
        "ImportError: /usr/local/Ascend/nnal/atb/lib/libatb.so: undefined symbol: _ZN3Mki6Tensor4DataEv",
    ),
    Hint(
        "npu-task-timeout",
        r"reason=\[task timeout\]|fftsplus task timeout|stuck notify num|(?:error code is|runtime result =) ?(?:507(?:012|017|046|047"
        r"|048)|1070(?:19|20))\b"
        r"|aicpu (?:task )?timeout"
        r"|stream sync\w{0,10} time ?out|EI9999[^\n]{0,120}time ?out|HCCL_EXEC_TIMEOUT",
        "a task on the NPU waited in vain, in most cases for another rank that hangs, died or is much slower",
        "look for what the other ranks said before, and at npu-smi info of each host; env HCCL_EXEC_TIMEOUT if one is only slow",
        "vllm-project/vllm-ascend#16646",
        "The error from device(chipId:0, dieId:0), serial number is 9, hccl fftsplus task timeout occurred during task execution, stuck"
        " notify num:1",
        late=True,
    ),
    Hint(
        "hccl-link",
        r"EI0009|EI0010|EI0011(?![^\n]{0,80}allocate)|Transport init error|[Cc]reate[^\n]{0,10}Dest ?[Ll]ink"
        r"|(?:NPU|npu|hccn|device)[^\n]{0,60}link (?:status )?is down"
        r"|LINK_ERROR_INFO|hccl[^\n]{0,80}(?:roce|RoCE|rdma)[^\n]{0,60}(?:fail|error)",
        "two NPUs can't make their link: the other rank died first, a port's address, cable or switch is at fault, or TLS is on at one end only",
        "look for what the other ranks said before; hccn_tool -i N -link -g and -ping show each port, env HCCL_IF_IP and"
        " HCCL_SOCKET_IFNAME the host's card",
        "vllm-project/vllm-ascend#3162",
        "EI0009: [PID: 41] Transport init error. Reason: [Create][DestLink]Create Dest error! createLink para:rank[1]",
        sure=False,
    ),
    Hint(
        "hccl-device-not-visible",
        r"GetDeviceIndexBy\w{3,12}",
        "HCCL asks for an NPU that this process does not see",
        "give every NPU of the group to the container, and set ASCEND_RT_VISIBLE_DEVICES alike for all ranks, or not at all; then a newer CANN (8.1"
        " and later)",
        "CANN, runtime api_error.cc",
        "EE9999: [PID: 9] get error: phyid:6 realDeviceId:6 is err:0x7010003[FUNC:GetDeviceIndexByPhyId]",
    ),
    Hint(
        "hccl-code-unsupported",
        written(r"5", r"05"),
        "HCCL does not support this communication with these options on this NPU",
        "set pipeline_parallel_size: 1 and use tensor_parallel_size (a 310P can't send from stage to stage); else compare options and image of all"
        " ranks, and look at plog below"
        " ~/ascend/log",
        "vllm-project/vllm-ascend#2712",
        "RuntimeError: create_config HCCL function error: hcclCommInitRootInfoConfig(numRanks, &rootInfo, rank), error code is 5",
        general=True,
    ),
    Hint(
        "hccl-code-setup",
        written(r"1", r"01"),
        "HCCL could not make the group of ranks: a rank died or came too late, the ranks were started with different options, or this NPU can't do"
        " it (a 310P can't send from pipeline stage to stage)",
        "look at the log of each rank for one that failed before; then plog below ~/ascend/log; on a 310P set pipeline_parallel_size: 1",
        "CANN, HcclResult; vllm-project/vllm-ascend#2712",
        "RuntimeError: create_config HCCL function error: hcclCommInitRootInfoConfig(numRanks), error code is 1",
        general=True,
    ),
    Hint(
        "hccl-code-memory",
        written(r"(?:[23]|24)", r"(?:02|03|18)"),
        "HCCL gets no memory for its buffers on the NPU",
        "lower gpu_memory_utilization, or set env HCCL_BUFFSIZE lower (MiB, 200 unless set)",
        "CANN, HcclResult",
        "RuntimeError: HCCL function error: HcclCommInitRootInfo, error code is 3",
        general=True,
    ),
    Hint(
        "hccl-code-timeout",
        written(r"(?:9|1[1-4]|19|21)", r"(?:09|0[bcde]|13|15)"),
        "HCCL got no answer from another rank: it hangs, died, or the network between them is at fault",
        "look for what the other ranks said before; check the hosts' addresses and the firewall, hccn_tool for the NPUs' ports",
        "CANN, HcclResult; vllm-project/vllm-ascend#3196",
        "RuntimeError: HCCL function error: hcclCommInitRootInfoConfig(numRanks), error code is 11",
        general=True,
    ),
    Hint(
        "hccl-code-driver",
        written(r"1[56]", r"(?:0f|10)"),
        "HCCL's call of the runtime or the driver failed: an NPU is held, unhealthy or not visible to this process, or driver and CANN don't"
        " belong together",
        "npu-smi info on the host must show all NPUs healthy and free; compare driver and CANN",
        "CANN, HcclResult",
        "RuntimeError: HCCL function error: HcclGetRootInfo, error code is 15",
        general=True,
    ),
    Hint(
        "npu-operator-not-built",
        r"does not support opType",
        "the operators that are installed hold no binary of this operator for this NPU",
        "install the package that brings the operator for this NPU, or use an image for this NPU (310p, 910b, a3)",
        "CANN, op_api registry",
        "AclNN_Parameter_Error(EZ1001): Get regInfo failed, The bin of socVersion [ascend000] does not support opType [Acme].",
    ),
    Hint(
        "aclnn-arguments",
        r"error code is 16100[12]\b|EZ1001|this platform only support|AclNN_Parameter_Error"
        r"|aclnn\w{1,60} (?:failed|check)[^\n]{0,80}(?:param|dtype|shape)",
        "an operator refuses its arguments: this NPU or this CANN does not know that type, shape or format",
        "use the image of this NPU, or a newer release; on a 310P float16 (dtype or convert); try another quantisation of the model, then"
        " enforce_eager: true",
        "CANN, aclnn return codes",
        "RuntimeError: aclnnAddRmsNorm failed, error code is 161002",
        sure=False,
    ),
    Hint(
        "aclnn-inner",
        r"error code is (?:361001|561\d{3})\b|AclNN_(?:Inner|Runtime)_Error|EZ9903|EZ9999|\bE[1-9]9999\b",
        "an operator of CANN failed: it is not built for this NPU or case, or its memory or a kernel before it failed",
        "the lines behind EZ9999 name the operator; use the image of this NPU and release, ASCEND_LAUNCH_BLOCKING: 1 shows the first failure",
        "CANN, aclnn return codes",
        "RuntimeError: call aclnnFoo failed, error code is 561000",
        general=True,
    ),
    Hint(
        "npu-context",
        r"error code is (?:107002|107003)\b|context is (?:null|empty)|context pointer null|ctx (?:is NULL|can not be NULL)",
        "a process used the NPU before it chose one, or after it was reset: forked workers, or an earlier failure",
        "set env VLLM_WORKER_MULTIPROC_METHOD: spawn; if another error stands above, that is the reason",
        "CANN, aclError",
        "RuntimeError: NPU function error: aclrtGetDevice, error code is 107002",
        general=True,
    ),
    Hint(
        "npu-codes-memory",
        r"(?:error code is ?|runtime result = ?|retCode[=:] ?|ret[:=] ?)(?:207001|207018|0x7020016)\b|^Failed to apply for memory"
        r"|[Dd]evice\(id:\d{1,3}\) memory isn't enough|Memory not enough:|Out of Memory!!! Request memory size"
        r"|[Mm]alloc device memory failed|rtMalloc[^\n]{0,80}fail|halMemAlloc[^\n]{0,80}(?:fail|out of memory)"
        r"|Allocate (?:device )?memory failed",
        "the NPU's memory ran out",
        "npu-smi info shows what holds it; lower gpu_memory_utilization, max_model_len or max_num_seqs, set enforce_eager: true, or raise"
        " tensor_parallel_size",
        "CANN, aclError; MindSpore",
        "RuntimeError: Device(id:0) memory isn't enough and alloc failed, kernel name: 0_Default/Cast-op0, alloc size: 67108864B.",
        general=True,
    ),
    Hint(
        "npu-stream-resources",
        r"(?:error code is|runtime result =) (?:207005|20700[789]|207010)\b|driver error: ?(?:resource alloc fail"
        r"|no stream resource)|EL0009|(?:[Ss]tream|[Nn]otify|[Ee]vent) resource[^\n]{0,60}(?:not enough|insufficient|exhaust|shortage)"
        r"|stream[^\n]{0,20}(?:resources )?(?:are|is) insufficient|EE1023|insufficient available streams",
        "the NPU has no more streams, notifies or events: too many graphs were captured, or too many processes share it",
        "lower the number of capture sizes (compilation_config.cudagraph_capture_sizes), or set enforce_eager: true",
        "vllm-project/vllm-ascend, graph mode guide",
        "RuntimeError: NPU function error: aclrtCreateStream, error code is 207005",
    ),
    Hint(
        "npu-no-device",
        r"(?:error code is|runtime result =|ErrCode=) ?207004\b|driver error: ?no valid device",
        "the driver shows this process no NPU, or not the one that ASCEND_RT_VISIBLE_DEVICES names (in a container or virtual machine"
        " they count from 0)",
        "npu-smi info here must show the NPU; remove ASCEND_RT_VISIBLE_DEVICES from the row's env, and compare `devices` and `device_nodes`",
        "CANN, aclError 207004; gpustack/gpustack#3352",
        "RuntimeError: NPU function error: aclrtGetDeviceCount(&device_count), error code is 207004",
        late=True,
    ),
    Hint(
        "npu-visible-order",
        r"ASCEND_RT_VISIBLE_DEVICES\S{0,200} error, it must be configured in ascending order",
        "ASCEND_RT_VISIBLE_DEVICES names the NPUs in another order than the ascending one, which CANN alone takes",
        "remove it from the row's env, or give `devices` in ascending order",
        "CANN, EE1001; gpustack/gpustack#2527",
        "EE1001: [PID: 7] The argument is invalid.Reason: set ASCEND_RT_VISIBLE_DEVICES:0,2,1 error, it must be configured in ascending order",
    ),
    Hint(
        "npu-graph-capture",
        r"(?:error code is|ErrCode=|runtime result =) ?(?:107030|10702[3-9]|107031)\b"
        r"|capture model contains|rtStream(?:Begin|End)Capture execution failed|Capture wait event failed",
        "an operation can't be captured into a graph of the NPU in this release",
        "remove ASCEND_LAUNCH_BLOCKING from env, which no graph bears; else set enforce_eager: true (or a cudagraph_mode that the release's notes"
        " name), then try another release of vllm-ascend",
        "vllm-project/vllm-ascend#6002, #13792",
        "rtStreamWaitEvent:ErrCode=107030, desc=[nobody has seen this one]",
        sure=False,
        late=True,
    ),
    Hint(
        "ascend-quantiser",
        r"no available ascend quantizer|[Aa]scend quantiz\w{0,6}[^\n]{0,60}(?:not (?:found|supported)|unsupported)"
        r"|quant_model_description[^\n]{0,60}(?:not|missing)",
        "this release of vllm-ascend can't read the model's quantisation, or its quant_model_description.json is missing",
        "use a newer release and weights that ModelSlim made for it; set engine_args.quantization: ascend",
        "vllm-project/vllm-ascend#633",
        "NotImplementedError: There is no available ascend quantizer.",
    ),
    Hint(
        "atb-setup",
        r"\w{3,40}Operation (?:setup|execute|create) failed|(?:^|\] )setup failed!|(?:atb|ATB)[^\n]{0,80}(?:setup|execute|create)[^\n]{0,20}fail"
        r"|create atb operation[^\n]{0,40}fail|ATB_\w{0,20}ERROR|execute node\[\d{1,5}\] fail",
        "an operator of ATB (NNAL) failed: it does not know this NPU, type or shape, or has no memory for its work",
        "use the image of this NPU (a tag with -310p for a 310P) and float16 there; try enforce_eager: true; ATB's own log below"
        " ~/atb/log says why",
        "vllm-project/vllm-ascend#2720",
        "[rank0]:[E1121 10:00:00.000 compiler_depend.ts:429] RopeOperation setup failed!",
        sure=False,
    ),
    Hint(
        "npu-310p-feature",
        r"(?i)(?:310p\d?|300i(?: duo)?)\b[^\n]{0,100}(?:not support|unsupported|is not available)|(?:not support"
        r"|unsupported)[^\n]{0,60}\b(?:310p\d?|300i)\b|soc_?version[^\n]{0,60}(?:not support|unsupported|invalid)",
        "this NPU can't do what is asked of it in this release",
        "use a release and options with support for this NPU: on a 310P float16, no expert parallel, W8A8SC or no quantisation",
        "vllm-project/vllm-ascend, 310P",
        "NotImplementedError: MLA is not supported on 310P",
        general=True,
    ),
    Hint(
        "npu-driver-not-there",
        r"DrvMng\w{1,40} failed|[Dd]rv ?[Gg]et ?[Dd]ev\w{0,6} ?\w{0,10} ?failed|\b507899\b"
        r"|drv(?:DeviceOpen|Init|GetDevNum)[^\n]{0,80}(?:fail|ret)|Failed to open device, retCode|/dev/davinci_manager"
        r"|dcmi[^\n]{0,40}(?:not (?:exist|found)|fail)|drvErr(?:Code)?[:=] ?\d|devdrv[^\n]{0,60}fail",
        "the NPU's driver does not answer in this process: device nodes or driver files are not in the container, or the NPU is held or"
        " unhealthy",
        "npu-smi info on the host and in the container must show the NPU; compare `device_nodes`, `devices` and `mounts`",
        "CANN, driver",
        "[ERROR] RUNTIME(7,python):2026-11-20-10:00:00.1 [npu_driver.cc:1] drvGetDevNum failed, nobody knows",
        general=True,
    ),
    Hint(
        "npu-feature-unsupported",
        r"reason=\[?feature not support|(?:error code is|runtime result =|ret:) ?207000\b",
        "the driver (or this NPU) does not do what CANN asks of it: they are of different times, or CANN is for another NPU",
        "compare driver and firmware (npu-smi info) with what the CANN release names, and upgrade the older; use the image for this NPU",
        "CANN, aclError 207000",
        "RuntimeError: NPU function error: aclrtCreateStreamWithConfig, error code is 207000",
        sure=False,
    ),
    Hint(
        "cann-debug-folder",
        r"\[ge\.debugDir\]",
        "CANN may not write into the folder in which the engine was started",
        "start it in a folder of its user (/tmp, the user's home), or as a user who may write there",
        "vllm-project/vllm-ascend#2748",
        "E10001: [PID: 7] Path [/usr/bin] for [ge.debugDir] is invalid. Result: Permission denied",
    ),
    Hint(
        "acl-codes-argument",
        r"error code is ?:? ?(?:1000\d\d|1070\d\d)\b|runtime result = ?1070\d\d\b",
        "CANN refuses what it was called with: an argument, device, stream or file is not valid, or it is of another release than its caller",
        "the words beside the code name the function; torch-npu (or what calls CANN), CANN and driver must be of one release; look for"
        " an earlier error",
        "CANN, aclError 100000 and 107000",
        "OSError: (External) ACL error, the error code is : 100000.",
        general=True,
    ),
    Hint(
        "acl-codes-graph-engine",
        r"error code is ?:? ?[125]45\d{3}\b|Graph manager (?:add|build|run) graph failed|\[GraphAdded\] failed",
        "CANN's graph engine (GE) could not take or build a graph: an operator or format in it is none of this NPU's, or its parts are of two releases",
        "the first lines with a code (E1xxxx, EZ3002) name the operator; source set_env.sh of one CANN only, or use an image as it was built",
        "CANN, aclError 145000, 545000",
        "[ERROR] GE(7,acme):2023-04-05-07:55:45.036.425 [acme.cc:1404] BuildModel: ErrorNo: 1343266818(Graph manager add graph failed.)",
        general=True,
    ),
    Hint(
        "acl-codes-device",
        r"(?:error code is|runtime result =) ?507(?:0\d\d|9\d\d)\b",
        "the NPU, or its driver, met an error while it worked",
        "npu-smi info -t health and dmesg on the host; ASCEND_LAUNCH_BLOCKING: 1 in the row's env shows the first call that fails; reset"
        " the NPU if it stays",
        "CANN, aclError 507000",
        "RuntimeError: NPU function error: aclrtSynchronizeDevice, error code is 507039",
        general=True,
    ),
    Hint(
        "cann-too-old-for-operator",
        r"[Cc]urrent CANN version (?:do|does) not support|update the version of CANN",
        "an operator needs a newer CANN than this one",
        "use the image of a newer release, or a newer CANN toolkit and ops package on the host",
        "Ascend/pytorch, op-plugin",
        "RuntimeError: The format is FRACTAL_NZ, current CANN version do not support it. Please update the version of CANN.",
    ),
    Hint(
        "cann-operator-not-run",
        r"(?:OPS|NPU) function error: \S{1,80}, error code is 500002\b",
        "CANN could not build or run an operator for this NPU: its kernels are not installed, or it takes no such shape or dtype",
        "the line names the operator; install the kernels package of this NPU and CANN, try dtype: float16 or bfloat16, or another release",
        "Ascend/pytorch, error codes",
        "RuntimeError: InnerRun:acme.ts:218 OPS function error: Conv3D, error code is 500002",
        sure=False,
    ),
    Hint(
        "cann-in-part",
        r"data/platform_config\'? does not exist|platform_config[^\n]{0,80}(?:not exist|no such file|not a valid real path)",
        "CANN is there only in part, without its description of the NPUs: it is mounted from the host by single folders or links that lead nowhere"
        " here, or toolkit and kernels are of two versions",
        "leave CANN out of `mounts` and use the image's own, or mount the whole of /usr/local/Ascend; in an environment of your own install toolkit"
        " and kernels of one version",
        "vllm-project/vllm-ascend#6336",
        "The path '/usr/local/acme/lib64/../data/platform_config' does not exist",
        sure=False,
    ),
)
