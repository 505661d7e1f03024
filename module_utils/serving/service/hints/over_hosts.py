"""Failure hints: ranks on several hosts that lose or miss each other. members.py adds the interface and the ports."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

HINTS = (
    Hint(
        "gloo-interface-name",
        r"Unable to find (?:address|interface) for: \S",
        "the interface that GLOO_SOCKET_IFNAME names is not here or has no address; Gloo takes whole names only, no ^lo and no beginnings as NCCL does",
        "set GLOO_SOCKET_IFNAME in the row's env to the whole name that ip -br address shows on this host, or leave it out",
        "pytorch, gloo; vllm-project/vllm-ascend#2984",
        "RuntimeError: [enforce fail at /srv/acme/gloo/transport/tcp/device.cc:84] ifa != nullptr. Unable to find address for: ^lo",
    ),
    Hint(
        "gloo-address",
        r"gloo::EnforceNotMet|gloo/transport/tcp/device\.cc",
        "Gloo finds no address of this host to listen on: the host's own name is not in /etc/hosts or DNS, or names another host's address",
        "set GLOO_SOCKET_IFNAME in the row's env to the interface (ip link shows the names), and write the host's name and address into /etc/hosts",
        "pytorch/pytorch#30375",
        "what():  [enforce fail at /srv/acme/gloo/transport/tcp/device.cc:281] rv != -1. -1",
        sure=False,
    ),
    Hint(
        "nccl-peer-closed",
        r"socketProgress[^\n]{0,40}: Connection closed by remote peer|remote process exited or there was a network error",
        "a rank on another host, or the link to it, was gone while NCCL used it",
        "look for what the other host said before; if nothing, at the link and the firewall between them",
        "NVIDIA/nccl, misc/socket.cc; pytorch, NCCLUtils.cpp",
        "node1:71:88 [0] misc/socket.cc:49 NCCL WARN socketProgress: Connection closed by remote peer gpu-02<47040>",
        late=True,
    ),
    Hint(
        "nccl-poll-connect",
        r"socketPollConnect[^\n]{0,40} Connect to [^\n]{0,80} returned",
        "NCCL got no connection to a rank of another host: a firewall stands between, or that address is of another network",
        "let the hosts of the service reach each other on all ports of net.ipv4.ip_local_port_range, over the interface that has group_address",
        "NVIDIA/nccl, misc/socket.cc",
        "node1:71:88 [0] misc/socket.cc:538 NCCL WARN socketPollConnect: Connect to 10.0.0.2<43211> returned 113(No route to host) errno 115",
        late=True,
    ),
    Hint(
        "address-not-here",
        r"Cannot assign requested address",
        "an address that the engine is to listen on or call from is not this host's; on a call out also: no local port is free, or ::1 is meant and"
        " IPv6 is off",
        "correct address or group_address; VLLM_HOST_IP, VLLM_NIXL_SIDE_CHANNEL_HOST are each host's own (ip address); for a call: 127.0.0.1 in"
        " place of localhost; ss -s (many in timewait: widen net.ipv4.ip_local_port_range)",
        "Linux, EADDRNOTAVAIL",
        "zmq.error.ZMQError: Cannot assign requested address (addr='tcp://10.0.0.9:29501')",
    ),
    Hint(
        "rdma-none",
        r"No RDMA devices? found|No IB devices found",
        "no RDMA device is seen here: the container was not given /dev/infiniband, or the host's driver for it is not loaded",
        "give `rdma: true`; ibv_devinfo on the host must show a port that is active",
        "vllm-project/vllm#51518; kvcache-ai/Mooncake",
        "E0808 10:00:00.000000  71 topology.cpp:50] No RDMA devices found",
        sure=False,
    ),
    Hint(
        "nccl-topology-file",
        r"NCCL WARN Attribute \w{1,40} of node \w{1,40} not found",
        "NCCL's description of this host's topology (NCCL_TOPO_FILE, or one that a network plugin brings) is not whole",
        "take NCCL_TOPO_FILE out of the row's env, or correct that XML file; upgrade the plugin that brings it",
        "NVIDIA/nccl#1726",
        "h:4:9 [0] graph/xml.h:77 NCCL WARN Attribute acme of node cpu not found",
    ),
    Hint(
        "hccn-missing",
        r"hccn_tool: (?:command )?not found|Failed to call hccn_tool",
        "the driver's tool for the NPUs' network ports is not here: a container without the driver's tools and /etc/hccn.conf, or an NPU that has no"
        " such ports (300I, 310P)",
        "mount /usr/local/Ascend/driver and /etc/hccn.conf and add driver/tools to PATH; NPUs without ports talk through the host: give no rank table"
        " of their addresses",
        "mindspore-ai/mindspore#252",
        "/bin/sh: 1: hccn_tool: not found",
        sure=False,
    ),
    Hint(
        "atb-rank-size",
        r"rankSize \[\d{1,5}\] is invalid",
        "ATB (nnal) does not take a group of so many ranks: its LCCL serves the NPUs of one host, and HCCL over hosts wants a rank table",
        "lower tensor_parallel_size to one host's NPUs, or give a rank table and HCCL for all hosts; install the nnal of this CANN",
        "xLLM-AI/xllm#498",
        "[2025-12-08 11:52:44.735471] [error] [7] [operation_util.h:156] rankSize [16] is invalid",
        sure=False,
    ),
    Hint(
        "hccl-device-ip",
        r"'device ip' is not set correctly",
        "HCCL finds no address of an NPU's own network port: /etc/hccn.conf of the host is not in the container, or the port has no address",
        "hccn_tool -i N -ip -g on the host shows it (-s sets it); mount /etc/hccn.conf into the container",
        "vllm-project/vllm-ascend#7711",
        "[ERROR] HCCL(7,acme):2026-11-20-10:00:00.1 [acme.cc:1] [7][RanktablCheck] 'device ip' is not set correctly, acme",
    ),
    Hint(
        "hccl-topology-file",
        r"(?:EI0014|topo file)[^\n]{0,200}driver/topo/\S{1,80}[^\n]{0,60}(?:not exist|fail)",
        "HCCL reads how the NPUs are joined from a file of the driver (driver/topo), and it is not here",
        "mount the whole of /usr/local/Ascend/driver into the container, not its lib64 alone; else install the driver that this CANN's release names",
        "vllm-project/recipes#907",
        "EI0014: [PID: 41] Failed to open the topo file. file path /usr/local/Ascend/driver/topo/acme_1.json does not exist.",
    ),
    Hint(
        "hccl-tls",
        r"tlsStatus are inconsistent",
        "the NPUs' network ports of some ranks use TLS, those of others don't",
        "hccn_tool -i N -tls -g shows it for each NPU of each host: set it alike everywhere (-tls -s enable 0 or 1)",
        "CANN, HCCL user guide",
        "[ERROR] HCCL(7,acme):2026-11-20-10:00:00.1 [acme.cc:1] [7][InitGroupStage][RanktableCheck]Some ranks tlsStatus are inconsistent.",
    ),
    Hint(
        "hccl-super-device",
        r"same superDeviceId\[|superDeviceId\[[^\]\n]{0,40}\] in superPod\[[^\]\n]{0,60}\] ?is already exist",
        "two NPUs of one group say that they are the same one of a super node (A3): HCCL_LOGIC_SUPERPOD_ID joins hosts of different"
        " ones, or a number was"
        " given twice",
        "npu-smi info -t spod-info -i N -c 0 shows each NPU's SDID; give hosts of different super nodes different HCCL_LOGIC_SUPERPOD_ID",
        "CANN, HCCL user guide",
        "[7][InitGroupStage][RanktableCheck]devices have same superDeviceId[0x3000000] in superPod[super_pod_id_0]. acme",
    ),
    Hint(
        "hccl-address-family",
        r"device ip family\[\d{1,3}\] is not same",
        "some NPUs' network ports have IPv4 addresses, others IPv6",
        "hccn_tool -i N -ip -g and -ip -inet6 -g show them: give all NPUs of the group addresses of one kind",
        "CANN, HCCL user guide",
        "[7][InitGroupStage]rank[3] device ip family[2] is not same with others[10].",
    ),
    Hint(
        "hccl-interface",
        r"get host ip fail by socket [Ii]fname",
        "the host, or the container, has no network interface of the name in HCCL_SOCKET_IFNAME",
        "ip link shows the names: correct HCCL_SOCKET_IFNAME in the row's env, for each host where they differ",
        "CANN, HCCL user guide",
        "[ERROR] HCCL(7,acme):2026-11-20-10:00:00.1 [acme.cc:1] [7][Get][HostIp]get host ip fail by socket Ifname. ret[4]",
    ),
    Hint(
        "engines-not-come",
        r"Timed out waiting for engines? to send ?initial message",
        "engines did not report to the server that leads them: those of another host (data parallel) were not started, do not reach it"
        " or ended, or one takes"
        " longer to load, compile and warm up than it may",
        "where this log shows it still loading or warming up, raise env VLLM_ENGINE_READY_TIMEOUT_S; else look at the log of the service"
        " on the other hosts:"
        " data_parallel_address and its RPC port must be reached from there, and all start together",
        "vllm-project/vllm-ascend#3977, #4250; vllm-project/vllm#32116",
        "TimeoutError: Timed out waiting for engines to sendinitial message on input socket.",
        sure=False,
    ),
)
