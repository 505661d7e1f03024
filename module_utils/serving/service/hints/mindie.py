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
        "one instance gets no connection to the other's NPUs to hand over the KV cache: it ended or is not ready, or the network between them (HCCS, RoCE)"
        " does not carry it",
        "look at the other instance's log; hccn_tool -i N -ping must reach its NPUs; use_ascend_direct with CANN 8.3 or newer; else a higher"
        " ASCEND_CONNECT_TIMEOUT",
        "vllm-project/vllm-ascend#5635, #7401",
        "E20260608 14:45:44.404089 7 acme.cpp:1107] Connect timeout to: 10.0.0.2:20033, you can raise ASCEND_CONNECT_TIMEOUT",
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
        "mindie-own-log",
        r"\bMIE\d{2}\w{5,10}\]|MINDIE_LOG_PATH",
        "MindIE did not start, and writes why into its own log",
        "read the newest files below ~/mindie/log (MINDIE_LOG_PATH) in the container",
        "gpustack/gpustack#2221",
        "[MIE04E0201AB] [endpoint] Failed to init engine! Please check in the env MINDIE_LOG_PATH",
        general=True,
    ),
)
