"""Failure hints: NCCL's own warnings, which name the reason before torch says no more than "unhandled system error"."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

# In its own log, and where torch repeats its last error.
SAID = r"(?:NCCL WARN|Last error:) "

HINTS: tuple[Hint, ...] = (
    Hint(
        "nccl-versions",
        SAID
        + r"(?:Mismatched NCCL version|[^\n]{0,20}NCCL library is (?:too old|not backwards))|compiled with too old version of NCCL",
        "the processes of this service load different versions of NCCL, or one that is older than what it was built with",
        "the same image (digest) on all hosts; natively one environment, without another nvidia-nccl-cu* beside it, LD_LIBRARY_PATH or"
        " VLLM_NCCL_SO_PATH in the row's env",
        "NVIDIA/nccl, init.cc",
        "h1:71:71 [0] init.cc:1130 NCCL WARN Mismatched NCCL version detected : rank 1 version 22102 rank 0 version 22005",
    ),
    Hint(
        "nccl-net-missing",
        SAID + r"Error: network \S{1,40} not found",
        "NCCL_NET names a network that NCCL does not have here: the adapters are not in the container, or its plugin is not in the image",
        "take NCCL_NET out of the row's env, so that NCCL chooses; for InfiniBand or RoCE give the adapters (rdma: true)",
        "NVIDIA/nccl, net.cc",
        "h1:71:71 [0] net.cc:400 NCCL WARN Error: network IB not found.",
    ),
    Hint(
        "nccl-nvlink-p2p",
        r"P2P is disabled between NVLINK connected GPUs|P2P is disabled between connected GPUs",
        "two GPUs with NVLink between them can't reach each other's memory: a link is down, a GPU needs a reset, or the driver was told to refuse it",
        "nvidia-smi nvlink -s and dmesg (Xid 74) show the link; reset both GPUs or reboot; to serve slower until then set env"
        " NCCL_IGNORE_DISABLED_P2P: 1",
        "NVIDIA/nccl, graph/paths.cc",
        "h1:71:71 [0] graph/paths.cc:396 NCCL WARN P2P is disabled between NVLINK connected GPUs 1 and 0. This should not be the case",
        sure=False,
    ),
    Hint(
        "nccl-ranks-differ",
        SAID
        + r"(?:Message truncated : received|Bootstrap Root ?: (?:mismatch in|rank \d{1,6} of \d|localId)|Group creation failed"
        r"|Rank \d{1,6} has mismatch)|mismatch in rank count from procs",
        "ranks that do not belong together met: hosts were started with different numbers of GPUs or hosts, a process of an earlier run still lives,"
        " or versions of NCCL differ",
        "stop the service on all hosts (ps shows what stays), start the same release and image on each; two services must not share the address and"
        " port at which their ranks meet",
        "NVIDIA/nccl, bootstrap.cc",
        "h1:71:71 [0] bootstrap.cc:68 NCCL WARN Message truncated : received 1024 bytes instead of 256",
        sure=False,
    ),
    Hint(
        "nccl-socket-broken",
        SAID
        + r"(?:[^\n]{0,40}Call to (?:recv|send|recvmsg|sendmsg) (?:from|to) [^\n]{1,80}failed|\[Service thread\] (?:Could not receive"
        r"|Accept failed)|\[Service thread\] Error encountered progressing|Socket recv failed while polling)|Proxy Call to rank \d{1,6} failed",
        "the connection to another rank broke: that rank ended or was killed, or the network between them dropped it",
        "look for what the other rank said before (on one host: memory, dmesg for oom-kill and Xid lines); if nothing, at the link and the firewall"
        " between the hosts",
        "NVIDIA/nccl, misc/socket.cc",
        "h1:71:88 [0] misc/socket.cc:58 NCCL WARN socketProgressOpt: Call to recv from 10.0.0.5<41434> failed : Connection reset by peer",
        late=True,
    ),
    Hint(
        "nccl-no-route",
        SAID
        + r"(?!socketPollConnect: Connect)[^\n]{0,40}[Cc]onnect to [^\n]{1,80}(?:No route to host|Network is unreachable"
        r"|Cannot assign requested address)",
        "a rank has no way to another one's address: NCCL took a network card that does not lead there (a bridge, a second network), or a firewall"
        " refuses",
        "set NCCL_SOCKET_IFNAME in the row's env to the card between the hosts (ip route get ADDRESS shows it), and open its ports between them",
        "NVIDIA/nccl, misc/socket.cc",
        "h1:71:88 [0] misc/socket.cc:550 NCCL WARN socketPollConnect: connect to 10.0.0.5<41434> returned No route to host, exceeded error retry"
        " count after 35 attempts",
        late=True,
    ),
    Hint(
        "nccl-unix-socket",
        SAID + r"UDS: [^\n]{0,40}(?:ind|inding)[^\n]{0,120}",
        "NCCL can't make a local socket between ranks of one host: another service in the same network namespace uses its name, or an earlier"
        " process still has it",
        "end processes of earlier runs; run services that share the host's network not in containers with the same process numbers, or set env"
        " NCCL_CUMEM_ENABLE: 0",
        "NVIDIA/nccl, os/linux_ipcsocket.cc",
        "h1:71:88 [0] misc/ipcsocket.cc:90 NCCL WARN UDS: Binding to socket /tmp/nccl-socket-1-ab failed : Address already in use",
        sure=False,
    ),
    Hint(
        "nccl-nvml",
        SAID
        + r"nvml\w{3,60}\([^\n]{0,80}failed: (?:Unknown Error|Invalid Argument|Not Supported|Insufficient Permissions|Not Found)",
        "NCCL can't ask the driver about a GPU: the container lost its devices (a daemon-reload does that), its driver library is another version"
        " than the host's, or the GPU is a MIG slice",
        "restart the container; nvidia-smi must work within it; for a MIG slice tensor_parallel_size 1 is the limit; dmesg shows Xid lines where the"
        " GPU is at fault",
        "NVIDIA/nccl, misc/nvmlwrap.cc",
        "h1:71:71 [0] misc/nvmlwrap.cc:183 NCCL WARN nvmlDeviceSetCpuAffinity(0) failed: Unknown Error",
        sure=False,
    ),
    Hint(
        "nccl-host-topology",
        SAID
        + r"(?:Could not find real path of|Error : could not find CPU close|Add (?:NVLink|C2c|PCI Link) error|XML (?:Parse|Mismatch|Topology|Graph"
        r"|Import|Export)|Could not open XML|ncclTopoGetSystemFromXml)",
        "NCCL can't read how GPUs, processors and cards of this host are connected: /sys is not the host's (a sandbox, a virtual machine), or"
        " NCCL_TOPO_FILE or NCCL_GRAPH_FILE is damaged",
        "take NCCL_TOPO_FILE and NCCL_GRAPH_FILE out of the row's env and of /etc/nccl.conf; in a virtual machine name the file that its"
        " provider gives; NCCL_DEBUG=INFO"
        " shows what it reads",
        "NVIDIA/nccl, graph/xml.cc",
        "h1:71:71 [0] graph/xml.cc:640 NCCL WARN Could not find real path of /sys/class/pci_bus/0000:3b/../../0000:3b:00.0",
        sure=False,
    ),
    Hint(
        "nccl-driver-too-old",
        SAID
        + r"(?:CUDA Driver version found is \d{1,6}\. Minimum|[^\n]{0,60}requires CUDA driver [\d.]{1,8} or later)",
        "the host's driver is older than this NCCL needs",
        "upgrade the driver (driver_branch), or use an image of an older CUDA",
        "NVIDIA/nccl, misc/cudawrap.cc",
        "h1:71:71 [0] misc/cudawrap.cc:285 NCCL WARN CUDA Driver version found is 11000. Minimum requirement is 11040",
    ),
    Hint(
        "nccl-libcuda",
        SAID + r"Failed to find CUDA library",
        "NCCL finds no driver library (libcuda.so.1): the container was not given the GPU, or LD_LIBRARY_PATH or NCCL_CUDA_PATH lead elsewhere",
        "the service's own start gives it (docker run --gpus all); take NCCL_CUDA_PATH and LD_LIBRARY_PATH out of the row's env; natively install"
        " the driver",
        "NVIDIA/nccl, misc/cudawrap.cc",
        "h1:71:71 [0] misc/cudawrap.cc:30 NCCL WARN Failed to find CUDA library libcuda.so (NCCL_CUDA_PATH='')",
    ),
    Hint(
        "nccl-plugin",
        SAID + r"(?:NET/(?:Plugin|OFI)|[A-Z]{3,10}/Plugin)[^\n]{0,120}",
        "a network plugin of NCCL (aws-ofi-nccl, HPC-X, a cloud's own) does not start: this host has no such network, or the plugin belongs to"
        " another NCCL",
        "set env NCCL_NET_PLUGIN: none to do without it; else give the network's devices to the container, and a plugin of this NCCL's version",
        "NVIDIA/nccl, plugin/net.cc",
        "h1:71:71 [0] plugin/net.cc:60 NCCL WARN NET/Plugin: Failed to initialize ncclNetPlugin_v8 (aws-ofi)",
        sure=False,
    ),
    Hint(
        "nccl-cards-differ",
        r"Detected mixed local (?:Net|CollNet) device counts",
        "the hosts or ranks of this service see different numbers of network cards",
        "name the same cards on all hosts (NCCL_IB_HCA in the row's env), mend the host that sees fewer (ibstat, lspci), or set env"
        " NCCL_IGNORE_NET_MISMATCH: 1",
        "NVIDIA/nccl, init.cc",
        "h1:71:71 [0] init.cc:1339 NCCL WARN Detected mixed local Net device counts across ranks (min 4, max 8).",
    ),
    Hint(
        "nccl-memory",
        SAID + r"(?:Failed to (?:malloc|CUDA host alloc) \d|(?![^\n]{0,40}ibv_)[^\n]{0,60}[Cc]annot allocate memory)",
        "the host has no memory left for NCCL: it is used up, or a limit of the container, the unit or of locked memory is reached",
        "free -h, and the limits of the unit or container (MemoryMax, memlock): set memlock unlimited",
        "NVIDIA/nccl, include/alloc.h",
        "h1:71:71 [0] include/alloc.h:178 NCCL WARN Failed to malloc 1048576 bytes",
        sure=False,
    ),
    Hint(
        "nccl-no-interface",
        SAID
        + r"[^\n]{0,40}[Nn]o (?:usable|device found|interface)|[Nn]o (?:socket )?interface found|family \d{1,6} is neither"
        r"|NCCL_SOCKET_IFNAME[^\n]{0,60}(?:not found|no interface)",
        "NCCL finds no network interface that it may use: NCCL_SOCKET_IFNAME names none of this host's, or the container has none beside the loopback",
        "correct NCCL_SOCKET_IFNAME in the row's env: ip link shows the names",
        "docs.nvidia.com, NCCL, troubleshooting",
        "node1:71:71 [0] bootstrap.cc:96 NCCL WARN Bootstrap : no socket interface found",
    ),
    Hint(
        "nccl-gpu-memory",
        r"Failed to CUDA (?:calloc|malloc)",
        "NCCL gets no memory on the GPU: the engine or another process holds nearly all, two ranks are on one GPU, or its driver refuses",
        "lower gpu_memory_utilization by 0.02; nvidia-smi shows what else holds memory; tensor_parallel_size must not exceed the number of `devices`",
        "NVIDIA/nccl, include/alloc.h",
        "Last error: Failed to CUDA calloc async 608 bytes",
        sure=False,
    ),
)
