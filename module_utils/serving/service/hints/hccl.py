"""Failure hints: HCCL, by which NPUs talk to each other."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

CANN_CODES = "hiascend.com, CANN, error codes"
HINTS = (
    Hint(
        "hccl-ranks-missing",
        r"EI0015|Communication_Error_Ranktable_Detect|topo exchange server get socket timeout|Failed to connect agent\[|connected rankinfo\[LINE"
        r"|rank num\[\d{1,6}\] ?is different with rank list size",
        "some ranks did not reach the root rank",
        "look at the first rank that the message lists: its own log and its network say why",
        CANN_CODES,
        "Communication_Error_Ranktable_Detect(EI0015): [PID: 41] Failed to collect ranks: [1,2,3]",
        late=True,
    ),
    Hint(
        "hccl-heartbeat",
        r"Heartbeat Lost Occurred|Cluster Exception Location|Stuck Occurred",
        "HCCL lost another rank: its process ended or hangs, or the network to it is cut; the message names its address and NPU",
        "look at the log of the process on that host and NPU for what it said first; hccn_tool -i N -link -g there shows the link",
        "CANN, HCCL user guide",
        "[ERROR] HCCL(7,python):2026-11-20-10:00:00.1 [task_exception_handler.cc:1] Cluster Exception Location[IP/ID]:[10.0.0.1/1]",
        late=True,
    ),
    Hint(
        "hccl-packets-lost",
        r"EI0013|Error (?:ROCE )?CQE|error cqe status",
        "packets between two NPUs were lost until RoCE gave up: the link between them is at fault, or the process at the other end ended first",
        "look for what the other rank said before; hccn_tool -i N -stat -g and -link_stat -g show lost packets and a flapping port",
        "CANN, HCCL user guide",
        "Execution_Error_ROCE_CQE(EI0013): [PID: 41] An error CQE occurred during operator execution.",
        late=True,
    ),
    Hint(
        "hccl-resources",
        r"EI0007|Failed to allocate resource\[|Failed to allocate memory or the Notify register",
        "HCCL gets no memory, queue or notify for its links on this NPU",
        "the message names the resource; lower gpu_memory_utilization or env HCCL_BUFFSIZE, end other processes on the NPU, use fewer ranks or"
        " groups",
        CANN_CODES,
        "Allocation_Failure(EI0007): Failed to allocate resource[qp] with info [rank:9]. Reason: Memory resources are exhausted.",
    ),
    Hint(
        "hccl-version-mismatch",
        r"EI0008|inconsistent (?:CANN|hccl) version",
        "the ranks run different versions of CANN",
        "use the same image on all hosts of the service",
        CANN_CODES,
        "EI0008: [PID: 41] The CANN versions are inconsistent between rank 0 and rank 1.",
    ),
    Hint(
        "hccl-parameters-differ",
        r"EI0005\b|arguments? for collective communication are inconsistent|ParameterConflict|CMD information \w{1,20} check fail",
        "the ranks called different operations: they don't run the same model, options or code",
        "use the same image, weights and options on all ranks",
        CANN_CODES,
        "EI0005: [PID: 41] The arguments for collective communication are inconsistent between ranks.",
        sure=False,
    ),
    Hint(
        "hccl-notify-timeout",
        r"EI0002\b|Notify wait.{0,60}time(?:d)? ?out",
        "a rank waited in vain for another one in an operation: one of them hangs, died or is much slower, or the link between them is down",
        "look for what the other ranks said before; set env HCCL_EXEC_TIMEOUT if one is only slow; hccn_tool -i N -link -g and -net_health -g show"
        " links that are down",
        CANN_CODES,
        "EI0002: [PID: 41] The wait execution of the Notify register times out.",
        late=True,
    ),
    Hint(
        "hccl-rank-table",
        r"EI00(?:04|14)\b(?!.{0,120}topo file)|ranktable.{0,60}(?:invalid|inconsistent)|\binvalid in ranktable|Init plugin so failed"
        r"|JsonArrayMemberProperty"
        r"|\[RanktableConfig\].{0,90}not a valid real path|\[RanktableCheck\]errNo",
        "HCCL's rank table can't be read, or does not fit the NPUs' number, addresses or kind",
        "check RANK_TABLE_FILE of the row's env against the hosts' addresses and devices (hccn_tool -i N -ip -g), and that no other host's or NPU's"
        " /etc/hccl_rootinfo.json is mounted; an A3 wants version 1.2, an A5 2.0",
        CANN_CODES,
        "EI0004: [PID: 41] The ranktable is invalid. Reason: The ranktable config devCount is inconsistent.",
        sure=False,
    ),
    Hint(
        "hccl-environment",
        r"EI0001\b.{0,200}",
        "HCCL does not accept a value of its environment",
        "correct the variable that the message names in the row's env",
        CANN_CODES,
        "EI0001: [PID: 41] Environment variable [HCCL_CONNECT_TIMEOUT] is invalid. Reason: it should be a number.",
    ),
    Hint(
        "hccl-connect-timeout",
        r"EI0006\b|Getting socket times out|HcclSocket(?!.{0,80}(?:[Bb]ind|[Ll]isten)).{0,80}(?:connect|establish).{0,60}fail"
        r"|remote does not initiate a connect request|topo exchange agent get socket timeout|connect timeout.{0,60}rank"
        r"|socket establish timeout|Wait links establish"
        r"|topo exchange server (?!.{0,80}(?:[Bb]ind|[Ll]isten)).{0,40}(?:connect|accept).{0,40}fail",
        "HCCL could not connect to a rank in its time (120 s unless set): that rank hangs, ended or loads longer; a firewall, a wrong network card,"
        " an NPU link that is down or TLS that differs stands between, or it is elsewhere",
        "look at what other ranks said first, at the firewall; set HCCL_SOCKET_IFNAME (HCCL_IF_IP) of each host; hccn_tool -i N -tls -g and -link -g"
        " must agree on all NPUs; slow loading: env HCCL_CONNECT_TIMEOUT, MindSpore MS_NODE_TIMEOUT",
        "vllm-project/vllm-ascend#486, #1955, #5461",
        "EI0006: [PID: 41] Getting socket times out. Reason: Remote Rank did not send the data in time.",
        late=True,
    ),
    Hint(
        "hccl-expansion-mode",
        r"HCCL_OP_EXPANSION_MODE.{0,60}not support|\bAIV\b.{0,40}not support",
        "HCCL runs its operators where this NPU can't",
        "set env HCCL_OP_EXPANSION_MODE: AI_CPU or HOST; a 300I Duo does not know AIV",
        "CANN, environment variables; vllm-project/vllm-ascend#12985",
        "RuntimeError: HCCL_OP_EXPANSION_MODE is not supported on this chip",
    ),
    Hint(
        "hccl",
        r"EI\d{4}\b|HCCL (?:function )?error|Hccl\w{3,40} fail|Hccl\w{1,40}, error code is|hcclComm\w{1,40}\("
        r"|DIST call hccl api failed|\bra (?:hdc|socket) [^\n]{0,40}fail",
        "the NPUs can't talk to each other",
        "look for what the other ranks said before, then at plog below ~/ascend/log; hccn_tool -i N -ip -g must show what /etc/hccn.conf"
        " says, and links up, and all ranks need the"
        " same image",
        CANN_CODES,
        "RuntimeError: create_config HCCL function error: hcclCommInitRootInfoConfig(numRanks), error code is 4",
        general=True,
    ),
)
