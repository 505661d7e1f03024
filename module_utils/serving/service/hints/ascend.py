"""Failure hints: Ascend NPUs, CANN, HCCL, torch-npu and MindSpore."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

CANN_CODES = "hiascend.com, CANN, error codes"

HINTS = (
    Hint(
        "npu-held",
        r"ret is -8020|dcmi model initialized failed, because the device is used",
        "the NPU is held by another container or process: an NPU serves one container",
        "docker ps --no-trunc and npu-smi info show which; stop it, or set `devices` in overrides",
        "vllm-project/vllm-ascend#2698",
        "dcmi model initialized failed, because the device is used. ret is -8020",
    ),
    Hint(
        "npu-not-usable",
        r"ret is -80(?:05|09|1[012])\b|dcmi module initialize failed",
        "the NPU can't be used: in a container another one holds it or a device node is missing; on the host, after an upgrade, the driver waits"
        " for a reboot",
        "npu-smi info on the host must show the NPUs (else reboot it); compare with `devices` and `device_nodes` of the row",
        "Ascend/cann-container-image#46",
        "DrvMngGetConsoleLogLevel failed. (g_conLogLevel=3)\ndcmi module initialize failed. ret is -8005",
        sure=False,
    ),
    Hint(
        "npu-process-left",
        r"EJ0001|Failed to initialize the HCCP process|EL0005",
        "another process holds the NPU, most often one of an earlier run",
        "end it (npu-smi info shows it), wait 10 s after the last one has gone, then start the service again",
        CANN_CODES,
        "EJ0001: [PID: 41] Failed to initialize the HCCP process. Reason: Maybe the last training process is running.",
        sure=False,
    ),
    Hint(
        "npu-port-taken",
        r"EJ0003|EI0019|Communication_Error_Bind_IP_Port|Failed to bind the IP port|HCCL_IF_BASE_PORT[^\n]{0,80}(?:in use|bound)"
        r"|listen on ip\[[^\]\n]{1,60}\] and specific port\[\d{1,5}\] fail",
        "a port that HCCL uses is taken on this host",
        "end the other process, or move HCCL's ports with env HCCL_IF_BASE_PORT (HCCL_NPU_SOCKET_PORT_RANGE for those of the NPUs)",
        CANN_CODES,
        "EJ0003: [PID: 41] Failed to bind the IP port. Reason: The IP address and port have been bound already.",
    ),
    Hint(
        "npu-hal-missing",
        r"(lib(?:ascend_hal|drv\w{1,30}|dcmi|devmmap|davinci\w{0,20}|tsdclient)\.so): cannot open shared object"
        r"|DCMIError_LibraryNotFound|npu-smi: error while loading shared libraries: \S{1,60}",
        "the NPU driver's libraries are not visible here: they are not mounted into the container, or the host has no driver, or their folders are"
        " not on the loader's path",
        "mount /usr/local/Ascend/driver/lib64 (`mounts` of the hardware), and check that the host's driver is installed; LD_LIBRARY_PATH must have"
        " driver/lib64/driver and driver/lib64/common",
        "vllm-project/vllm-ascend, installation guide",
        "ImportError: libascend_hal.so: cannot open shared object file: No such file or directory",
    ),
    Hint(
        "atb-missing",
        r"(lib(?:atb|mki|lcal)\w{0,20}\.so): cannot open shared object",
        "NNAL/ATB of CANN is not on the loader's path, or not installed",
        "source nnal/atb/set_env.sh in `activate`, or use an image that has it",
        "vllm-project/vllm-ascend#152",
        "ImportError: libatb.so: cannot open shared object file: No such file or directory",
    ),
    Hint(
        "cann-missing",
        r"(lib(?:ascendcl|hccl|runtime|acl_\w{1,30}|ge_\w{1,30}|graph\w{0,10}|opapi|nnopbase|msprofiler|ascendalog|ascend_protobuf|register"
        r"|error_manager|platform)"
        r"\.so): cannot open shared object",
        "CANN is not on the loader's path, or not installed",
        "source ascend-toolkit/set_env.sh in `activate`, or use an image that has CANN",
        "Ascend/pytorch, installation guide",
        "ImportError: libhccl.so: cannot open shared object file: No such file or directory",
    ),
    Hint(
        "cann-too-old",
        r"(aclnn\w{1,80}) or aclnn\w{1,80}GetWorkspaceSize not in|not in libopapi\.so|Failed to find function (?:acl|rt|Hccl)\w{3,60}",
        "CANN's library has no operator of this name: it is older than torch-npu asks for, or the operator is one of vllm-ascend's own,"
        " which were not built",
        "use the CANN that the release names, best its image for this NPU; own builds: build vllm-ascend with its custom operators",
        "Ascend/pytorch",
        "RuntimeError: aclnnFusedInferX or aclnnFusedInferXGetWorkspaceSize not in libopapi.so, or libopapi.sonot found.",
    ),
    Hint(
        "cann-ops-missing",
        r"Cannot find bin of op (\w{1,60})|does not has any binary|Parse dynamic kernel config fail|error code is 561(?:107|112)\b"
        r"|opp (?:kernel"
        r"|package)[^\n]{0,40}not (?:exist|installed|found)|Check opp path failed",
        "CANN's operators for this NPU are not installed, or don't have this operator in this type",
        "use an image for this NPU (310p, 910b, a3); on a host install the ops package of this NPU",
        CANN_CODES,
        "EZ9999: [PID: 41] Cannot find bin of op Cast, integral key 0/1/|float16/ND/.",
        sure=False,
    ),
    Hint(
        "cann-compiler",
        r"AclSetCompileopt.{0,120}error code is 500001|\[Init\]\[Env\]init env failed"
        r"|Get ACL JitCompile default value failed",
        "CANN's operators can't be used: they are missing, for another NPU or another CANN, or what their compiler needs is not there",
        "use an image for this NPU (310p, 910b, a3); in an environment of your own source set_env.sh, install numpy<2, decorator, attrs, sympy and scipy;"
        " plog below ~/ascend/log says more",
        "vllm-project/vllm-ascend#4744",
        "RuntimeError: SetPrecisionMode NPU function error: AclSetCompileopt(ACL_PRECISION_MODE), error code is 500001",
        general=True,
    ),
    Hint(
        "torch-npu-missing",
        r"No module named '?torch_npu(?![\w.])",
        "the environment has no torch_npu",
        "use an image of vllm-ascend, or install the torch-npu that belongs to its torch",
        "vllm-project/vllm-ascend, installation guide",
        "ModuleNotFoundError: No module named 'torch_npu'",
    ),
    Hint(
        "torch-npu-not-found",
        r"libtorch_npu\.so: cannot open",
        "a library wants libtorch_npu.so, and the loader does not find it: torch_npu is not installed, or its lib folder is not in LD_LIBRARY_PATH",
        "python -c 'import torch_npu; print(torch_npu.__path__)' shows the folder: add its lib to LD_LIBRARY_PATH in `activate`, or install the"
        " torch-npu of this torch",
        "flagos-ai/vllm-plugin-FL#77",
        "ImportError: libtorch_npu.so: cannot open shared object file: No such file or directory",
    ),
    Hint(
        "vllm-ascend-ops-missing",
        r"No module named '?vllm_ascend\.vllm_ascend_C|libvllm_ascend_kernels\.so|Failed to import vllm_ascend_C|'_OpNamespace' '_C_ascend'",
        "vllm-ascend was installed without its compiled operators, or they were built for another NPU",
        "use an image for this NPU, or build vllm-ascend with COMPILE_CUSTOM_KERNELS=1 and the right SOC_VERSION",
        "vllm-project/vllm-ascend, installation guide",
        "ModuleNotFoundError: No module named 'vllm_ascend.vllm_ascend_C'",
        sure=False,
    ),
    Hint(
        "310p-no-bf16",
        r"(?i)310p.{0,20}bfloat16 type is not supported|bfloat16.{0,40}not supported.{0,40}310P",
        "a 310P has no bf16, and the weights or the dtype are bf16",
        "set convert: float16 (engine mindspore) or engine_args.dtype: float16 (engine vllm_ascend), then run deploy.yml --tags fetch,serve",
        "vllm-mindspore 0.5.1",
        "RuntimeError: For 310p, bfloat16 type is not supported",
    ),
    Hint(
        "npu-dma",
        r"error code is 507013|sdma (?:copy )?error|^(?![^\n]{0,900}507033)[^\n]{0,900}\(DMA\) hardware execution error",
        "a copy to or from the NPU failed in its DMA engine: its memory ran short, the NPU or its driver is at fault, or (on a 310P) this release"
        " of vllm-ascend does not know the NPU",
        "npu-smi info shows the NPU's health and memory; lower gpu_memory_utilization; on a 310P use v0.23.0-310p",
        "vllm-project/vllm-ascend#2795, #3316; CANN, aclError",
        "RuntimeError: copy to device failed, error code is 507013",
        sure=False,
    ),
    Hint(
        "310p-unsupported-release",
        r"AscendSocVersion\.UNDEFINED",
        "this release of vllm-ascend does not support this NPU (such as a 310P)",
        "use v0.23.0-310p; 0.10.1rc1 to 0.11.0 do not work",
        "vllm-project/vllm-ascend#2795, #3316",
        "AttributeError: no operators for AscendSocVersion.UNDEFINED",
    ),
    Hint(
        "310p-triton",
        r"Cannot find option named 'Ascend310P\d",
        "Triton is installed in the image and does not know a 310P",
        "use an image whose tag ends with -310p, or -310p-openeuler; some of these have it too: then pip uninstall triton triton-ascend in an image"
        " of your own, or another release of it",
        "vllm-project/vllm-ascend#7423, #8186",
        "ValueError: Cannot find option named 'Ascend310P3'",
    ),
    Hint(
        "npu-unsupported-operator",
        r"EZ300[23]|Unsupported_Operator|No supported Ops kernel and engine are found",
        "no kernel of this operator was found for this NPU, type and format: the NPU has none, or CANN's package of operators for it is not installed",
        "source CANN's set_env.sh and install its ops (kernels) package for this NPU, of the toolkit's version, or use the image for it; on a 310P"
        " set engine_args.dtype: float16 (or convert: float16) and use a release with 310P support",
        "vllm-project/vllm-ascend#1383",
        "Unsupported_Operator(EZ3002): Optype [TransData] of Ops kernel [AIcoreEngine] is unsupported.",
    ),
    Hint(
        "npu-device-number",
        r"EE1001.{0,200}(?:invalid device|device ?id)|[Ss]et (?:visible )?device failed|desc=\[device id error\]|runtime result = 107001\b"
        r"|ASCEND_RT_VISIBLE_DEVICES=''|(?:Reason|rt[A-Z]\w{1,30}|acl\w{1,30}|NPU)[^\n]{0,60}[Ii]nvalid device ID|error code is 107001\b",
        "the engine sees other NPUs than it was given; inside a container they are numbered from 0",
        "remove ASCEND_RT_VISIBLE_DEVICES from the row, it follows from the number of NPUs; under Ray set"
        " RAY_EXPERIMENTAL_NOSET_ASCEND_RT_VISIBLE_DEVICES: 1 before ray start; tensor_parallel_size must not exceed that number",
        "gpustack/gpustack#3564",
        "RuntimeError: Set device failed: tensor parallel size 4, ASCEND_RT_VISIBLE_DEVICES=''",
        sure=False,
    ),
    Hint(
        "npu-ecc",
        r"(?i)multi[- ]bit ecc|hbm .{0,40}ecc error|\buce error\b|error code is 507053",
        "hardware: the NPU's memory has an error that can't be corrected",
        "take the host out of service, see npu-smi info -t ecc, reset the NPU or reboot; replace it if it comes back",
        CANN_CODES,
        "RuntimeError: NPU function error: HBM MULTI BIT ECC, error code is 507054",
    ),
    Hint(
        "npu-heartbeat",
        r"(?:error code is|runtime result =) ?507(?:010|901)\b|lost heartbeat",
        "the host lost the NPU: it hangs, was reset, or its driver is not the one the firmware belongs to",
        "npu-smi info on the host; reset the NPU or reboot, and compare driver and firmware",
        CANN_CODES,
        "RuntimeError: NPU function error: aclrtSynchronizeDevice, error code is 507010",
        sure=False,
    ),
    Hint(
        "npu-does-not-start",
        r"(?:error code is|errorCode =|ret\[|open device \d{1,3} failed, runtime result =) ?507033\b|failed ?: ?5070(?:06|08|33)\b"
        r"|init soc version failed|tsd client wait response fail|Failed to start the device|aclInit.{0,40}(?:failed|507008)",
        "the NPU does not start for this process: the container has not all device nodes and driver files, driver, firmware and CANN don't belong"
        " together, an earlier process holds it, or it counts other NPUs than were given",
        "npu-smi info on the host and in the container must show the NPU healthy; compare `device_nodes`, `mounts` and ASCEND_RT_VISIBLE_DEVICES;"
        " plog below ~/ascend/log says more",
        "vllm-project/vllm-ascend#4284",
        "RuntimeError: Initialize NPU function error: c10_npu::SetDevice(device_id_), error code is 507033",
        sure=False,
    ),
    Hint(
        "mindformers-config",
        r"environment MINDFORMERS_MODEL_CONFIG should be set|MINDFORMERS_MODEL_CONFIG.{0,60}(?:not exist|is not)",
        "vLLM-MindSpore was not told where its model settings are",
        "set env MINDFORMERS_MODEL_CONFIG to /config/predict_qwq_32b.yaml in the row",
        "vllm-mindspore, branch duo-dev",
        'RuntimeError: For "MindFormers" model backend, environment MINDFORMERS_MODEL_CONFIG should be set!',
    ),
    Hint(
        "no-npu-visible",
        r"(?i:(?<!current node has )no npu (?:is |are )?(?:available|devices?|found)|npu is not available|found no npu)",
        "the engine sees no NPU",
        "npu-smi info on the host and in the container must show the NPUs; compare `device_nodes`, `devices` and `mounts` of the row",
        "Ascend/pytorch",
        "RuntimeError: No NPU devices found",
    ),
    Hint(
        "npu-user-unknown",
        r"getpwuid\(\): uid not found",
        "the user has no entry in /etc/passwd (of the container), and torch or HCCL ask for its name",
        "run it as a user that is known there, or set env USER and TORCHINDUCTOR_CACHE_DIR",
        "vllm-project/vllm-ascend#9490",
        "KeyError: 'getpwuid(): uid not found: 1234'",
    ),
    Hint(
        "npu-memory-out",
        r"NPU out of memory|NPU.{0,20}OutOfMemory",
        "the NPU's memory ran out; most often the share of this engine is too large, or another process or container holds it (the line: total less"
        " allocated and free)",
        "npu-smi info shows what else holds it: take a free NPU (`devices`), a privileged container sees them all; lower"
        " gpu_memory_utilization, max_model_len (a 310P's mask takes its square) or max_num_seqs; set"
        " enforce_eager: true; else raise tensor_parallel_size",
        "vllm-project/vllm-ascend#19, #89, #1987, #9372",
        "RuntimeError: NPU out of memory. Tried to allocate 22.00 MiB (NPU 0; 60.97 GiB total capacity; 10.24 GiB already allocated)",
    ),
    Hint(
        "npu-memory-allocation",
        r"EL0004|Memory_Allocation_Failure|EE9999[^\n]{0,40} Failed to allocate memory, retcode|\[FUNC:(?:Svm|Dev|Hal)\w{0,10}Malloc\w{0,10}\]",
        "the NPU can't allocate memory",
        "npu-smi info shows what holds it; lower gpu_memory_utilization, max_model_len or max_num_seqs, or set enforce_eager: true",
        CANN_CODES,
        "EL0004: [PID: 7] Failed to allocate memory. Possible Cause: Available memory is insufficient.",
        general=True,
    ),
    Hint(
        "npu-kernel-failed",
        r"(?:error ?code(?: is|:)|failed:|failed, return:|result ?=|ret[Cc]ode[:=]) ?5070(?:15|16|35|36|49|50)\b|(?i:aicore exception"
        r"|Sync stream error"
        r"|(?:aicore|aivec|aivector|vector core) error ?(?:exception|,)|aicore kernel execute failed"
        r"|an exception occurred during (?!aicpu)\w{2,12} execution|vector core (?:exception|execution(?! ?time)))",
        "a kernel failed on the NPU; it is reported at a later call, so the traceback may name the wrong place",
        "set env ASCEND_LAUNCH_BLOCKING: 1 to see the operator; try enforce_eager: true; plog below ~/ascend/log says more",
        CANN_CODES,
        "RuntimeError: NPU function error: aclrtSynchronizeStream, error code is 507015",
        late=True,
    ),
    Hint(
        "cann",
        r"NPU function error|call aclnn\w{1,60} failed|(?:PTA|OPS|DIST) call acl api failed|runtime result = \d{6}|drvRetCode="
        r"|rt[A-Z]\w{1,60} (?:failed|execution failed)"
        r"|\bEZ\d{4}\b|AclNN_\w{1,40}Error|\bACL_ERROR_\w{1,60}",
        "a call of CANN failed",
        "its error code and plog below ~/ascend/log say more; check that driver, CANN and torch-npu are of one release, best an image of that"
        " release",
        CANN_CODES,
        "RuntimeError: NPU function error: nobody has seen this one, error code is 999999",
        general=True,
    ),
    Hint(
        "vnpu-no-cores",
        r"check aicore num failed|core_need:\d",
        "the NPU has not as many free AI cores as this virtual NPU is to get: vNPUs of earlier containers are still there, or it is divided otherwise",
        "npu-smi info -t info-vnpu -i N -c 0 lists them; npu-smi set -t destroy-vnpu -i N -c 0 -v ID takes away what nobody uses",
        "Ascend docker runtime; ascend-device-plugin#138",
        "ascend-docker-runtime: [ERROR] check aicore num failed, core_need:4, used:6, total:8",
        sure=False,
    ),
)
