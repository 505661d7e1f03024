"""Failure hints: MindIE, Huawei's own inference server, and what hands KV caches from NPU to NPU."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

HINTS = (
    Hint(
        "mindie-model-type",
        r"unsupported model type: \S{1,60}[^\n]{0,40}atb_llm|unsupported model type: \w{1,40}$",
        "this MindIE does not know models of that kind (`model_type` of the model's config.json)",
        "use a MindIE whose notes name the model, another engine (vllm_ascend), or another model",
        "gpustack/gpustack#1765, #5317",
        "[llm] [ERROR] [acme.cpp:101] Failed to get vocab size with exception: NotImplementedError: unsupported model type: acme; see atb_llm.models",
    ),
    Hint(
        "mindie-warmup-memory",
        r"Warmup failed[^\n]{0,200}(?:out of memory|[Mm]emory)|decrease `?maxPrefillTokens|npuMemSize[^\n]{0,60}(?:too|not enough|larger|less)",
        "the NPU's memory does not hold the model with what one prefill may take",
        "lower maxPrefillTokens, maxInputTokenLen and maxSeqLen of MindIE's config.json, or use more NPUs (worldSize)",
        "gpustack/gpustack#3541",
        "[llm] [ERROR] [logging.py-348] : Warmup failed, because of acme out of memory when `maxInputTokenLen` set to 8192.",
    ),
    Hint(
        "mindie-parallel",
        r"Invalid (?:DP|TP|PP|SP|EP|world ?size|worldSize) (?:number|size)[^\n]{0,60}",
        "MindIE's numbers of parallel parts don't fit the NPUs and hosts that it was given",
        "make dp x tp (x pp) the number of all NPUs (worldSize), a whole number for each host; over hosts the rank table must name them all",
        "gpustack/gpustack#3551",
        "[llm] [ERROR] [executor.cpp:646] Invalid DP number per node: 0",
    ),
    Hint(
        "ascend-transfer-connect",
        r"Connect timeout to: \S{1,60}[^\n]{0,100}ASCEND_CONNECT_TIMEOUT|Failed to connect to (?:target|segment): \S{1,60}",
        "one instance gets no connection to the other's NPUs to hand over the KV cache: it ended or is not ready, or the network between"
        " them (HCCS, RoCE)"
        " does not carry it",
        "look at the other instance's log; hccn_tool -i N -ping must reach its NPUs; use_ascend_direct with CANN 8.3 or newer; else a higher"
        " ASCEND_CONNECT_TIMEOUT",
        "vllm-project/vllm-ascend#5635, #7401",
        "E20260608 14:45:44.404089 7 acme.cpp:1107] Connect timeout to: 10.0.0.2:20033, you can raise ASCEND_CONNECT_TIMEOUT",
        sure=False,
    ),
    Hint(
        "ascend-transfer-memory",
        r"svm advise failed|Alloc gva local mem error|hybm core init failed|(?:^|\] )Register mem ret:\d{6}",
        "memory of the NPU can't be made ready for the transfer of KV caches: CANN or the driver is older than the library for it (Mooncake, memfabric)"
        " wants, or too much memory is taken",
        "compare driver and CANN with what that library names; lower gpu_memory_utilization (mem_fraction_static); plog below ~/ascend/log says more",
        "sgl-project/sglang#10748; vllm-project/vllm-ascend#13966",
        "2026-09-22 20:20:40.102319 error 7 pid[7] [BM acme.cpp:122] svm advise failed:-1 : 3 : No such process",
        sure=False,
    ),
    Hint(
        "ascend-transfer",
        r"Ascend Transfer Engine initialization failed",
        "the engine that hands KV caches from NPU to NPU does not start: the address of its store (ASCEND_MF_STORE_URL) is not right or not reached",
        "set ASCEND_MF_STORE_URL to tcp://ADDRESS:PORT of the prefill host, a free port that all hosts reach; plog below ~/ascend/log says more",
        "sgl-project/sglang#22840",
        "RuntimeError: Ascend Transfer Engine initialization failed.",
        sure=False,
    ),
    Hint(
        "mindie-process-group",
        r"Failed to set process group\. errno",
        "MindIE's daemon can't make a process group of its own: it is the first process of its container or session",
        "start the container with an init (docker run --init), or let a shell start mindieservice_daemon",
        "MindIE, llm_daemon",
        "[MIE04E01011C] [daemon] Failed to set process group. errno is 1",
    ),
    Hint(
        "mindie-listen",
        r"Failed to listen \d[\d.]{4,20}:\d{1,5}, please check if business ip",
        "MindIE can't listen on the address and port of its config.json: the address is none of this container's, or the port is taken",
        "set ipAddress to an address that ip addr shows there (network host: one of the host's), and a port that ss -ltn does not show",
        "gpustack/gpustack#3894",
        "[MIE04E02041C] [endpoint] Failed to listen 172.17.0.3:40032, please check if business ip and port are legal.",
    ),
    Hint(
        "mindie-library",
        r"mindieservice_daemon\w{0,10}: error while loading shared libraries",
        "MindIE's own libraries, or CANN's, are not on the loader's path",
        "source mindie/set_env.sh, nnal/atb/set_env.sh and ascend-toolkit/set_env.sh before it starts, or use the image's own entry point",
        "gpustack/gpustack#3113",
        "mindieservice_daemon: error while loading shared libraries: libacme.so: cannot open shared object file: No such file or directory",
    ),
    Hint(
        "mindie-file-mode",
        r"check (?:other )?(?:group|owner) permission failed|but required no greater than \d",
        "MindIE refuses a file whose mode gives others more than it allows, or whose owner is another user",
        "chmod and chown the path that the line names as it says (750 for folders, 640 for files), or set env MINDIE_CHECK_INPUTFILES_PERMISSION: 0",
        "gpustack/gpustack#2552",
        "[ERROR] check path: acme failed, by: check other group permission failed: current permission is 4",
    ),
    Hint(
        "mindie-config-key",
        r"json\.exception\.out_of_range\.403\] key '\w{1,60}' not found",
        "a configuration in JSON lacks a key that the program wants: it was written for another release of it (as MindIE's config.json)",
        "take the config.json of this MindIE's image and carry your values over; the line names the key",
        "gpustack/gpustack#4834",
        "[server] [ERROR] [acme.cpp:81] : acme exception: [json.exception.out_of_range.403] key 'Acme' not found",
        sure=False,
    ),
    Hint(
        "mindie-instances",
        r"modelInstanceNumber not equal to npuDeviceIds|The count of modelDeploy is 0",
        "MindIE's config.json names no model, or not one list of NPUs (npuDeviceIds) for each instance (modelInstanceNumber)",
        "correct BackendConfig of MindIE's config.json: as many lists in npuDeviceIds as modelInstanceNumber says",
        "MindIE, error codes",
        "[infer_instance] Invalid modelInstanceNumber: 2 or modelInstanceNumber not equal to npuDeviceIds size: 1",
    ),
    Hint(
        "mindie-plugin",
        r"MIE05E01\w{4}\]",
        "MindIE does not know the plugin_type in plugin_param of its config.json, or not together with others",
        "use la, memory_decoding, prefix_cache or splitfuse there, or leave plugin_param out",
        "MindIE, error codes",
        "[MIE05E010000] [llm] nobody has seen this one.",
        sure=False,
    ),
    *(
        Hint(
            name,
            r"\bMIE%s\]" % code,
            meaning,
            remedy,
            "MindIE, error codes",
            "[server] [ERROR] [acme.cpp:1] : [%s] [acme] nobody has seen this one." % example,
            general=True,
        )
        for name, code, meaning, remedy, example in (
            (
                "mindie-code-files",
                r"04E\w{4}01",
                "MindIE refuses owner or mode of a file or folder that it reads",
                "chown model and config.json to the user that runs it and take write rights from others (640, 750), or set env"
                " MINDIE_CHECK_INPUTFILES_PERMISSION: 0",
                "MIE04E020101",
            ),
            (
                "mindie-code-process",
                r"04E\w{4}(?:02|09)",
                "a process of MindIE ended (by the signal that the line names) or could not be made",
                "look for what it said before (kernel log for memory that ran out, a larger --shm-size); the newest files below ~/mindie/log",
                "MIE04E010109",
            ),
            (
                "mindie-code-config",
                r"(?:04E\w{4}(?:04|0E|1B)|05E(?:000000|040000))",
                "MindIE does not accept a value of its config.json, or can't read that file",
                "correct the value that the line names; compare it with the config.json of this MindIE's image",
                "MIE04E02011B",
            ),
            (
                "mindie-code-tokenizer",
                r"04E\w{4}0B",
                "MindIE can't turn text into tokens with this model's tokenizer",
                "check the files of the tokenizer in the model's folder, and that this MindIE's notes name the model",
                "MIE04E04060B",
            ),
            (
                "mindie-code-security",
                r"04E\w{4}13",
                "MindIE does not accept certificates or addresses that its config.json names (httpsEnabled, ipAddress)",
                "set httpsEnabled: false where nothing outside reaches it, or put valid certificates where config.json says",
                "MIE04E021113",
            ),
        )
    ),
    Hint(
        "mindie-own-log",
        r"\bMIE\d{2}\w{5,10}\]|MINDIE_LOG_PATH",
        "MindIE did not start, and writes why into its own log",
        "read the newest files below ~/mindie/log (MINDIE_LOG_PATH) in the container",
        "gpustack/gpustack#2221",
        "[MIE04E0201AB] [endpoint] Failed to init engine! Please check in the env MINDIE_LOG_PATH",
        general=True,
    ),
)
