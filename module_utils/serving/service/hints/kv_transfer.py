"""Failure hints: what moves or keeps the KV cache outside of the engine: NIXL, Mooncake, LMCache."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

HINTS = (
    Hint(
        "kv-connector-unknown",
        r"Unsupported connector type: (\w{1,60})",
        "this release of the engine has no KV connector of that name",
        "use one that it has (kv_connector in kv_transfer_config), the newer engine that the connector's page names, or"
        " kv_connector_module_path for one of a package",
        "LMCache/LMCache#638",
        "ValueError: Unsupported connector type: AcmeConnectorV1",
    ),
    Hint(
        "hybrid-caches-off",
        r"Hybrid KV cache manager is disabled but failed to convert",
        "this model's layers need caches of several kinds, and what manages these is switched off: by disable_hybrid_kv_cache_manager, or by a KV"
        " connector that does not take them",
        "remove disable_hybrid_kv_cache_manager from engine_args; if there is none, remove kv_transfer_config, or use a connector and a"
        " release that take"
        " hybrid models",
        "LMCache/LMCache#1436",
        "ValueError: Hybrid KV cache manager is disabled but failed to convert the KV cache specs to one unified type.",
    ),
    Hint(
        "nixl-other-agent",
        r"NIXL agent engine ID mismatch",
        "the address that the other instance gave for its KV cache leads to a third one: its side channel has no address or port of its own",
        "set env VLLM_NIXL_SIDE_CHANNEL_HOST to the host's own address, and VLLM_NIXL_SIDE_CHANNEL_PORT to another one for each instance of a host;"
        " restart both",
        "vllm-project/vllm#27083",
        "RuntimeError: Remote NIXL agent engine ID mismatch. Expected acme_dp0, received acme_dp7.",
    ),
    Hint(
        "kv-memory-registration",
        r"memory registration failed|[Ff]ailed to register (?:buffer|memory)",
        "memory of the KV cache could not be registered for transfer: locked memory is limited, the GPU's RDMA module is missing, or the library"
        " is at fault",
        "for RDMA give `rdma: true` (ulimit memlock) and modprobe nvidia-peermem; else let the connector use tcp, or upgrade it (mooncake, nixl)",
        "sgl-project/sglang#6193, #28873",
        "RuntimeError: Acme memory registration failed.",
        sure=False,
    ),
    Hint(
        "nixl-blocks-differ",
        r"nixl_agent_meta\.num_blocks",
        "this instance has fewer blocks of KV cache than the one that it takes them from, and this release of the connector wants as many",
        "give both instances the same kv_cache_memory_bytes and tensor_parallel_size, or use a newer engine",
        "vllm-project/vllm#19338",
        "AssertionError: assert self.num_blocks >= nixl_agent_meta.num_blocks (v1/nixl_connector.py:570)",
    ),
    Hint(
        "nixl-plugin",
        r"^KeyError: '(?:UCX|GDS|GDS_MT|Mooncake|LIBFABRIC)'",
        "NIXL has no backend of that name here: its plugin, or a library that this one needs, was not found",
        "install the nixl package whose CUDA is the environment's (nixl[cu12], nixl[cu13]) and drop NIXL_PLUGIN_DIR from env, or use the"
        " engine's image",
        "vllm-project/vllm#29530; ai-dynamo/nixl",
        "KeyError: 'UCX'",
        sure=False,
    ),
    Hint(
        "mooncake-plugin",
        r"Unable to find metadata storage plugin \w{1,40}",
        "this Mooncake was built without the kind of metadata server that its configuration names",
        "give metadata_server as http://HOST:8080/metadata or P2PHANDSHAKE, or build Mooncake with that kind (USE_ETCD=ON)",
        "kvcache-ai/Mooncake#386",
        "F0521 06:50:40.064657 223 acme.cpp:450] Unable to find metadata storage plugin etcd with conn string: etcd://acme:2379",
    ),
    Hint(
        "mooncake-segment",
        r"metadata not found|Failed to retrieve segment descriptor",
        "Mooncake's metadata server does not know the other instance: it ended, was started anew under another name, or has not registered yet",
        "the other instance must run and name the same metadata_server; look for what it said; restart both in the order that its page gives",
        "sgl-project/sglang#4880",
        "E0414 03:56:41.856248 7 transfer_metadata_plugin.cpp:173] Unexpected code in http response, GET"
        " http://acme:8998/metadata?key=mooncake response"
        " code: 404 response body: metadata not found",
        sure=False,
    ),
    Hint(
        "rdma-no-answer",
        r"transport retry counter exceeded|RNR retry counter exceeded|IBV_WC_(?:RNR_)?RETRY_EXC_ERR",
        "the RDMA card of the other side did not answer: the two cards do not reach each other (GID, VLAN, routes), or the process there ended",
        "name cards of one network on both sides (device_name), test with ib_write_bw -d CARD -x GID_INDEX between them; look for what the other"
        " side said",
        "kvcache-ai/Mooncake#35, #82",
        "E1213 02:57:10.528410 7 worker_pool.cpp:274] Worker: Process failed for slice (opcode: 0, peer_nic: acme@mlx5_0): transport"
        " retry counter exceeded",
        sure=False,
    ),
    Hint(
        "mooncake-slow",
        r"Failed to complete transfers after \d{1,5} seconds",
        "Mooncake's transfers did not end in time: the network (RDMA card, TCP) that it chose does not carry them, or the instance that holds the"
        " memory is gone",
        "set protocol tcp once to be sure; name device_name of one network on all hosts, and check the cards with ib_write_bw",
        "kvcache-ai/Mooncake#1088",
        "E1120 11:10:27.133715 7 transfer_task.cpp:305] Failed to complete transfers after 60 seconds for batch 7",
        sure=False,
    ),
    Hint(
        "mooncake-master",
        r"read rpc body failed|Failed to mount segment[^\n]{0,60}(?i:rpc|connect|timed? ?out)"
        r"|(?:Failed to start put operation|(?:Put|Get) operation failed with error): (?:RPC_\w{2,20}|\w{0,20}(?:CONNECT|TIMEOUT|UNREACHABLE)\w{0,20})"
        r"|Failed to open segment|Error from http client, GET http",
        "Mooncake's master, metadata server or another instance gave no answer: it does not run, is of another version, or a proxy or"
        " firewall stands between",
        "mooncake_master and the metadata server must run where the configuration says; the same mooncake-transfer-engine everywhere; set env NO_PROXY",
        "kvcache-ai/Mooncake#456, #809",
        "E0417 19:46:42.567027 481 acme.cpp:192] Failed to mount segment due to rpc error",
        sure=False,
    ),
    Hint(
        "kv-transfer",
        r"UCX +ERROR|Unexpected UCX error|NIXL_ERR_\w{2,30}|nixl\w{4,30}Error|[Mm]ooncake[^\n]{0,80}(?:fail|[Ee]rror)",
        "what moves the KV cache to another instance failed: that instance is gone, the network between them does not carry it, or it is not set up"
        " here (two UCX in one process)",
        "look for what the other instance said; check the address and ports given to the connector, UCX_NET_DEVICES and UCX_TLS of env; while it"
        " starts: no system UCX on LD_LIBRARY_PATH beside NIXL's own",
        "ai-dynamo/nixl; openucx/ucx",
        "nixl._bindings.nixlBackendError: NIXL_ERR_BACKEND",
        sure=False,
    ),
    Hint(
        "kv-connector-hybrid",
        r"Connector \S{1,60} does not support HMA",
        "the KV connector can't keep caches of several kinds at once, as this model (sliding windows, linear attention, Mamba) has them here",
        "set engine_args.disable_hybrid_kv_cache_manager: true; a model with linear attention or Mamba needs a newer connector, or none: leave"
        " kv_transfer_config and kv_offloading_size out",
        "LMCache/LMCache#2845",
        "ValueError: Connector AcmeConnector does not support HMA but HMA is enabled.",
    ),
    Hint(
        "lmcache-blending",
        r"^ValueError: vllm model for \S{1,60} not found",
        "LMCache's blending looks for the model that vLLM has loaded, and this vLLM has not told it",
        "leave enable_blending out of LMCache's configuration (LMCACHE_CONFIG_FILE), or use the vLLM and the change to it that LMCache's page on"
        " blending names",
        "LMCache/LMCache#2306",
        "ValueError: vllm model for acme-instance not found.",
    ),
    Hint(
        "kv-connector-engine",
        r"assert issubclass\(connector_cls, KVConnectorBase",
        "the KV connector is written for vLLM's other core (V1, V0) than the one that started: VLLM_USE_V1: 0 in env, a GPU or option for which this"
        " release takes V0, or a connector of another time",
        "leave VLLM_USE_V1 out of env; on a GPU older than compute capability 8.0 use another connector (LMCacheConnectorV1 for V1), or start"
        " without kv_transfer_config",
        "vllm-project/vllm#18933",
        "AssertionError: assert issubclass(connector_cls, KVConnectorBase) (kv_connector/factory.py:50)",
        sure=False,
    ),
    Hint(
        "kv-page-sizes",
        r"assert [^\n]{0,40}page_size_bytes ==|page sizes? [^\n]{0,60}(?:unif|not divisible|differ)",
        "the layers of this model (or of the draft) keep caches whose pages this release can't bring to one size",
        "leave kv_cache_dtype, block_size and speculative_config out of engine_args one by one, or use another release of the engine (the one that"
        " the model's page names)",
        "eugr/spark-vllm-docker#296",
        "AssertionError: assert new_acme.page_size_bytes == max_page_size (core/kv_cache_utils.py:1096)",
        sure=False,
    ),
    Hint(
        "redis-not-there",
        r"redis\.exceptions\.(?:Connection|Timeout)Error",
        "the Redis that keeps the KV cache or its list (LMCache, Mooncake) can't be reached: it does not run, listens on another address, or a"
        " firewall stands between",
        "redis-cli -h HOST ping from this host; correct its address in the connector's settings, or leave the connector out of engine_args",
        "redis-py",
        "redis.exceptions.ConnectionError: Error 111 connecting to localhost:6379. Connection refused.",
    ),
)
