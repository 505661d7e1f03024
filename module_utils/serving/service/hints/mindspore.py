"""Failure hints: MindSpore, MindFormers and vLLM-MindSpore."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

HINTS: tuple[Hint, ...] = (
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
        "mindspore-scheduler",
        r"Failed to connect to the tcp server|[Tt]opology build timed out|Failed to (?:register|initialize)[^\n]{0,40}(?:scheduler"
        r"|compute graph node)|Distribute comm init failed|Failed to init and check topology",
        "MindSpore's processes don't find each other: the scheduler does not run or ended, a worker did not come, or address and port are not right",
        "look at each worker's and the scheduler's own log for one that ended before; MS_SCHED_HOST and MS_SCHED_PORT alike for all, a"
        " port that is free and"
        " reached; MS_NODE_TIMEOUT higher",
        "MindSpore, dynamic cluster; mindspore-lab/mindrl#144",
        "RuntimeError: Failed to connect to the tcp server : 127.0.0.1:8088, retry to reconnect(100/100)",
        sure=False,
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
        "mindspore-missing",
        r"No module named '?(?:mindspore|mindformers|vllm_mindspore|mindone|ms_custom_ops|msadapter)(?![\w.])",
        "the environment has no MindSpore, or not the part of it that is called",
        "use the image of vllm-mindspore, or set PYTHONPATH in `activate` to where it is",
        "mindspore-ai/vllm-mindspore",
        "ModuleNotFoundError: No module named 'mindformers'",
    ),
    Hint(
        "mindspore-versions",
        r"MindSpore version [^\n]{0,80}(?:not match|does not match|incompatib)|package version [\d.]{1,10} does not match"
        r"|mindspore[^\n]{0,80}has no attribute|cannot import name '\w{1,60}' from 'mind(?:spore|formers)"
        r"|ascend_910b? [^\n]{0,60}version[^\n]{0,60}not match",
        "MindSpore, MindFormers, vllm-mindspore and CANN are of versions that don't belong together",
        "use one image with all of them; its release notes name the four versions",
        "MindSpore, installation guide",
        "ImportError: cannot import name 'mint' from 'mindspore' (/usr/local/lib/mindspore/__init__.py)",
        sure=False,
    ),
    Hint(
        "mindspore-primitive",
        r"For '\w{1,40}', (?:the )?(?:input|arg|dtype|type|shape|dimension|'\w{1,30}')[^\n]{0,120}(?:must|should|but got)"
        r"|For primitive ?\[\w{1,40}\]|Unsupported op \[|kernel (?:select|build) fail|No kernel (?:found|registered)"
        r"|Can not select a valid kernel info|[Cc]an ?not find any available kernel info|Select \w{3,6} (?:kernel|operator)|Current (?:operator"
        r"|op)[^\n]{0,60}not support",
        "an operator of MindSpore refuses its arguments, or this NPU has none for that type",
        "check dtype and convert of the row (a 310P wants float16), that config.json and the model settings belong to these weights, and"
        " MindSpore's release",
        "MindSpore, FAQ",
        "TypeError: For primitive[MatMul], the input type must be same, but got Float16 and BFloat16.",
        sure=False,
    ),
    Hint(
        "mindspore-start",
        r"Ascend kernel runtime initialization failed|[Ii]nit(?:ialize)? (?:device|ge|hccl)[^\n]{0,30}fail",
        "MindSpore can't start the NPU",
        "the Ascend Error Message behind it names the code; npu-smi info must show the NPU healthy and free, here and in the container",
        "MindSpore, FAQ",
        "RuntimeError: Ascend kernel runtime initialization failed, device id: 0.",
        general=True,
    ),
    Hint(
        "mindspore-refers",
        r"refer to 'Ascend Error Message'|Ascend error occurred",
        "a call of the NPU failed under MindSpore",
        "the Ascend Error Message behind it names the code and says more, then plog below ~/ascend/log; npu-smi info must show the NPU healthy"
        " and free",
        "MindSpore, FAQ",
        "RuntimeError: nobody has seen this one! The details refer to 'Ascend Error Message'.",
        general=True,
    ),
    Hint(
        "mindspore-pointer",
        r"The pointer ?\[\w{1,60}\] is null|Exception in thread[^\n]{0,60}mindspore|mindspore[^\n]{0,80}(?:exception|error)",
        "MindSpore failed inside",
        "look for the error that stands above; plog below ~/ascend/log and env GLOG_v: 1 say more",
        "MindSpore",
        "RuntimeError: The pointer[cnode] is null.",
        general=True,
    ),
    Hint(
        "mindspore-node-lost",
        r"total number of timed out node|[Nn]ode .{0,40}(?:is timed out|heartbeat.{0,20}lost)",
        "one of MindSpore's processes did not answer its scheduler in time",
        "look for what the other workers said before; set env MS_NODE_TIMEOUT higher for slow loading",
        "MindSpore, dynamic cluster",
        "RuntimeError: The total number of timed out node is 1. Timed out node list is: [const vector]{1}",
        late=True,
    ),
    Hint(
        "mindspore-memory",
        r"Malloc for kernel output failed|Preallocate memory failed|[Mm]emory isn't enough(?! and alloc)",
        "the NPU's memory ran out",
        "npu-smi info shows what holds it; lower gpu_memory_utilization, max_model_len or max_num_seqs, or"
        " raise tensor_parallel_size",
        "mindspore-ai/mindspore",
        "RuntimeError: Preallocate memory failed, size: 60129542144",
    ),
    Hint(
        "mindspore-worker-ended",
        r"Worker \d{1,4} exit with exception",
        "one of MindSpore's workers ended with an error of its own",
        "that worker's own log says why (worker_N.log): the first error there counts",
        "mindspore-ai/mindspore",
        "RuntimeError: Worker 1 exit with exception.",
        late=True,
    ),
    Hint(
        "mindspore-kernel",
        r"Launch kernel failed, kernel full name|Execute synchronous function failed|Sync stream failed ?:|Run task error|Get kernel_meta failed"
        r"|Select AI CORE kernel failed",
        "an operator failed on the NPU, or one before it did; MindSpore reports it here",
        "look for the Ascend Error Message with its code (EZ9999, EL0004) around it, and plog below ~/ascend/log; env MS_DEV_LAUNCH_BLOCKING: 1"
        " shows the first one",
        "mindspore-ai/mindspore",
        "RuntimeError: Launch kernel failed, kernel full name: Default/PagedAttention-op0",
        general=True,
    ),
    Hint(
        "mindspore-order",
        r"import vllm_mindspore before",
        "vLLM was imported before vllm_mindspore, which has to change it first",
        "start it by vllm-mindspore serve (or python -m vllm_mindspore.entrypoints), not by vllm; in a script of your own put that import first",
        "vllm-mindspore",
        "RuntimeError: please import vllm_mindspore before importing vllm",
    ),
)
