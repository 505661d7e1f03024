"""Failure hints: Ray, by which vLLM may run its workers."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

HINTS = (
    Hint(
        "ray-worker-died",
        r"Worker exit type: SYSTEM_ERROR",
        "one of Ray's workers ended without a word of its own: the kernel ended it for lack of memory, compiled code crashed, or Ray was stopped",
        "see dmesg of that host for an OOM kill or a crash, and the worker's file in /tmp/ray/session_latest/logs; free host memory, or load with fewer"
        " workers at once",
        "ray-project/ray; vllm-project/vllm#2269",
        "2026-01-01 00:00:00,100 WARNING worker.py:7 -- A worker died. Worker PID: 7 Worker exit type: SYSTEM_ERROR Worker exit detail: End of file.",
        passing=True,
        sure=False,
    ),
    # The environment.
    Hint(
        "ray-address-unknown",
        r"resource request \{[^}\n]{0,80}'node:",
        "no host of the Ray cluster has the address that the engine asks for (`node:ADDRESS`): the host is known to Ray by another one, or has left"
        " the cluster",
        "set VLLM_HOST_IP in each host's env to the address that `ray status` shows for it, and start Ray with --node-ip-address",
        "vllm-project/vllm#13388",
        "Error: No available node types can fulfill resource request {'node:10.0.0.7': 0.001, 'GPU': 1.0}.",
    ),
    Hint(
        "ray-channel-timeout",
        r"RayChannelTimeoutError|ray\.exceptions\.GetTimeoutError|Timed out waiting for object available to read",
        "a worker gave Ray no result in the time that it waits (300 s): it still compiles or computes, waits for another rank or host, or has died",
        "look for what the workers said first; where they only need longer (a first request, a long prompt) set env RAY_CGRAPH_get_timeout: 1800;"
        " else look at the network (NCCL_DEBUG: INFO), or use another release",
        "vllm-project/vllm#27116",
        "ray.exceptions.RayChannelTimeoutError: System error: Timed out waiting for object available to read. ObjectID: 00ac",
        late=True,
    ),
    Hint(
        "ray-waits",
        r"Waiting for creating a placement group of specs for (?:[3-9]\d|\d{3,}) seconds",
        "Ray has not the free devices that the row asks for: a host has not joined, something else holds devices, or the engine's address"
        " is none that Ray knows",
        "compare `ray status` with the row's hosts and tensor_parallel_size; set VLLM_HOST_IP on each host to the address that Ray shows",
        "vllm-project/vllm#26028",
        "INFO 10-01 14:35:36 [ray_utils.py:240] Waiting for creating a placement group of specs for 30 seconds. specs=[{'GPU': 1.0}]",
        passing=True,
    ),
    Hint(
        "ray-versions",
        r"Version mismatch: The cluster was started with",
        "this process has another version of Ray or Python than the host that started the Ray cluster; the message names both",
        "use one image (or one environment) on all hosts of the service, then ray stop on each of them, and start the first host again"
        " before the others",
        "ray-project/ray#44063; gpustack/gpustack#1640",
        "RuntimeError: Version mismatch: The cluster was started with:\n    Ray: 2.1.0\n    Python: 3.11.9\nThis process on node"
        " 192.0.2.7 was started with:"
        "\n    Ray: 2.2.0\n    Python: 3.11.9",
    ),
    Hint(
        "ray-no-gpu-here",
        r"Ray does not allocate any [GN]PUs on the driver node|Cannot provide a placement group|[Cc]urrent node (?:\S{1,60} )?has no [GN]PU available",
        "Ray gives this host no GPU or NPU for the engine: another job holds them, fewer are registered than are asked for, or the host is known by"
        " another address",
        "ray status shows what is free (NPUs as NPU); start the engine on a host with free ones, and set VLLM_HOST_IP in each host's env to"
        " the address Ray has"
        " of it",
        "vllm-project/vllm#2406, #12983",
        "ValueError: Ray does not allocate any GPUs on the driver node.",
        sure=False,
    ),
    Hint(
        "ray-not-there",
        r"Could not find any running Ray instance|Failed to connect to GCS|Ray cluster .{0,40}not"
        r" (?:found|running)",
        "the engine's Ray cluster is not there, or can't be reached: a wrong address, a firewall, a proxy in the env (gRPC uses http_proxy), or the"
        " first host's Ray has ended",
        "ray status on the first host; start Ray there before, with the same Ray and Python everywhere; nc -vz FIRST 6379 from this host; its"
        " address in no_proxy; on the first host the logs in /tmp/ray say why it ended",
        "ray, troubleshooting",
        "ConnectionError: Could not find any running Ray instance. Please specify the one to connect to.",
    ),
    Hint(
        "ray-head-lost",
        r"Timed out while waiting for GCS|ray client connection timeout|RaySystemError|GCS (?:server )?(?:is|may be) (?:down|dead)",
        "Ray's head (GCS) does not answer: it has ended, runs on another host or address, or a firewall is between (6379, 10001, and the ports of workers)",
        "`ray status` on the first host: start Ray there again, then on the others, then the engine; df -h and free -h there, for Ray ends"
        " where they run out",
        "ray-project/ray",
        "ray.exceptions.RpcError: Timed out while waiting for GCS to become available.",
        sure=False,
    ),
    Hint(
        "ray-environment",
        r"RuntimeEnvSetupError",
        "Ray could not make the environment for its workers (working_dir, pip) on a host: no way to a package index, no room, or a folder that only the"
        " first host has",
        "leave runtime_env out: the engine takes the environment of its host; runtime_env_setup logs in /tmp/ray/session_latest/logs say what failed",
        "ray-project/ray",
        "ray.exceptions.RuntimeEnvSetupError: Failed to set up runtime environment.",
        sure=False,
    ),
    Hint(
        "ray-store-full",
        r"ObjectStoreFullError|object_store_memory|OutOfDiskError",
        "Ray's store of objects is full: /dev/shm of the host or container is too small for it, or the disk below /tmp/ray is full",
        "raise shm_bytes of the row (`--shm-size`), make room in /tmp, or lower --object-store-memory of `ray start`",
        "ray-project/ray",
        "ray.exceptions.ObjectStoreFullError: Failed to put object 00ac in object store",
        sure=False,
    ),
    Hint(
        "ray-placement",
        r"No nodes with resources found in Ray cluster|DP master node \(ip: [^)\n]{1,60}\) is missing or dead"
        r"|Not enough resources to allocate \d{1,4} placement groups"
        r"|^AssertionError: (?:No \w{1,20} found in Ray cluster|Nodes are not homogenous|Created \d{1,4} DP placement groups)",
        "Ray's cluster does not have the devices for data parallel: hosts have not joined or have unlike numbers, devices are taken, or the first host has"
        " another address there",
        "`ray status` on the first host lists devices and hosts: data_parallel_size and data_parallel_size_local must fit them; data_parallel_address is the"
        " first host's address in Ray (VLLM_HOST_IP)",
        "vLLM 0.12, v1/engine/utils.py",
        "AssertionError: The DP master node (ip: 10.0.0.7) is missing or dead",
        sure=False,
    ),
    Hint(
        "ray-memory",
        r"running low on memory[^\n]{0,60}|killed due to (?:the node|memory pressure)|Workers \(tasks / actors\) killed"
        r"|ray\.exceptions\.OutOfMemoryError",
        "Ray killed a worker because the host's memory is nearly used up",
        "free memory, lower swap_space and cpu_offload_gb, or raise RAY_memory_usage_threshold in the row's env",
        "ray, out-of-memory prevention",
        "ray.exceptions.OutOfMemoryError: Task was killed due to the node running low on memory.",
    ),
    Hint(
        "ray-actor-died",
        r"RayActorError|WorkerCrashedError|NodeDiedError|The actor died unexpectedly|raylet[^\n]{0,40}(?:died|dead)",
        "one of Ray's workers died, most often of memory (SIGKILL) or of an error in its own log",
        "look into /tmp/ray/session_latest/logs (worker and raylet) and dmesg of the host that the message names",
        "ray, fault tolerance",
        "ray.exceptions.RayActorError: The actor died unexpectedly before finishing this task.",
        general=True,
    ),
    Hint(
        "ray-start-failed",
        r"[Tt]he current node timed out during startup|Failed to start (?:the )?GCS\b(?![^\n]{0,120}address already in use)",
        "Ray did not start on this host in its time: its processes died (memory, /dev/shm, ports), an old Ray still runs, or the host is slow",
        "ray stop --force, then look into /tmp/ray/session_latest/logs (raylet, and that of the head); free memory and /dev/shm",
        "ray-project/ray, node.py",
        "Exception: The current node timed out during startup. This could happen because the raylet failed to startup.",
        sure=False,
    ),
    Hint(
        "ray-same-address",
        r"Every node should have a unique IP address",
        "hosts and their addresses for Ray don't match: VLLM_HOST_IP has one value for all, or a host is known by another of its network cards",
        "set VLLM_HOST_IP in each host's own env to its address between the hosts",
        "vllm-project/vllm, ray_distributed_executor.py",
        "RuntimeError: Every node should have a unique IP address. Got 2 nodes with node ids",
    ),
)
