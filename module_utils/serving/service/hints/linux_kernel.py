"""Failure hints: what the kernel says of the host itself: processors that hang or crash, tables that are full, crashes of programs."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

HINTS: tuple[Hint, ...] = (
    Hint(
        "processor-hangs",
        r"soft lockup - CPU|hard LOCKUP|rcu_(?:sched|preempt) (?:detected|self-detected) stall|NMI watchdog: [^\n]{0,40}lockup",
        "a processor of the host did nothing else for long: a driver or the kernel hangs in it, a virtual machine got no time from its host, or"
        " hardware is at fault",
        "the lines below it in dmesg name the module (nvidia, mlx5, nfs): update it and the kernel, reboot; in a virtual machine look at how busy"
        " its host is",
        "Linux, kernel log",
        "kernel: watchdog: BUG: soft lockup - CPU#3 stuck for 22s! [python3:4242]",
        sure=False,
    ),
    Hint(
        "kernel-crashed",
        r"Kernel panic - not syncing|BUG: unable to handle (?:kernel|page fault)|kernel BUG at|general protection fault: ",
        "the kernel itself crashed: a module is at fault (the lines below name it), memory or a processor is damaged, or a file system is",
        "reboot; look for the module in the call trace (nvidia, a network or storage driver) and update it and the kernel; where each crash is"
        " another one, test the memory (memtest86+, ras-mc-ctl --errors)",
        "Linux, kernel log",
        "kernel: Kernel panic - not syncing: Fatal exception",
        sure=False,
    ),
    Hint(
        "program-crashed-in",
        r"\w[\w.-]{0,30}\[\d{1,8}\]: segfault at|traps: \S{1,30}\[\d{1,8}\] general protection",
        'a program crashed in its compiled code; the line says behind "in" in which library',
        "libcuda or libnvidia: driver parts of two versions (reboot, install anew); a library of torch or the engine: an image as it was built,"
        " another release; another one each time: test the memory",
        "Linux, kernel log",
        "kernel: python3[4242]: segfault at 0 ip 00007f sp 00007f error 4 in libacme.so.550",
        sure=False,
        late=True,
    ),
    Hint(
        "connections-full",
        r"nf_conntrack: table full|neighbou?r(?:: \w{1,12})? table overflow|neighbour: \w{1,12}: neighbor table overflow|arp_cache: neighbor",
        "a table of the kernel's network is full, and it drops packets: of connections (conntrack), or of neighbours",
        "sysctl -w net.netfilter.nf_conntrack_max=1048576, or net.ipv4.neigh.default.gc_thresh1/2/3 to 4096, 8192, 16384 (in /etc/sysctl.d to keep"
        " it); ss -s shows who has so many",
        "Linux, kernel log",
        "kernel: nf_conntrack: nf_conntrack: table full, dropping packet",
    ),
    Hint(
        "processor-hot",
        r"(?:Core|Package) temperature (?:is )?above threshold",
        "a processor is too hot and the kernel slows it down: fans, dust, or air that does not reach it",
        "look at fans and temperatures (ipmitool sdr, sensors); it makes answers slow and stops nothing: another line is the cause of a failure",
        "Linux, kernel log",
        "kernel: CPU0: Core temperature above threshold, cpu clock throttled (total events = 7)",
        sure=False,
        late=True,
    ),
    Hint(
        "network-link-down",
        r"(?:eth|en|ib|bond|mlx5_core|slave)\S{0,40}[^\n]{0,40}(?:[Ll]ink (?:is )?[Dd]own\b|link status definitely down|NIC Link is Down)",
        "a network card has lost its link: a cable, the switch's port or the card at the other end",
        "ip link and ethtool NAME show its state: check cable, transceiver and the switch's port; ranks on several hosts end when it goes",
        "Linux, network drivers",
        "kernel: bond0: (slave eth1): link status definitely down",
        sure=False,
        passing=True,
    ),
    Hint(
        "rdma-card-fails",
        r"mlx5_core[^\n]{0,60}(?:error state|health (?:recovery|compromised)|poll_health|fatal)|RDMA device \S{1,20} removed|ib_query_port failed"
        r"|mlx5_cmd\S{0,20}[^\n]{0,60}timeout",
        "a network card for RDMA (InfiniBand, RoCE) does not work any more: its firmware hangs, it was reset, or it fell off the bus",
        "ibstat and mlxfwreset (or a reboot); its firmware and driver (DOCA, OFED) of versions that go together; dmesg for PCIe errors",
        "Linux, mlx5",
        "kernel: mlx5_core 0000:3b:00.0: health_care: device is in error state",
        sure=False,
    ),
    Hint(
        "port-flooded",
        r"Possible SYN flooding on port",
        "more connections came to a port at once than the program took: a burst of clients, or the program was busy or hanging",
        "raise net.core.somaxconn and net.ipv4.tcp_max_syn_backlog; spread the clients over the gateway; if the service hangs, look at its own log",
        "Linux, TCP",
        "kernel: TCP: request_sock_TCP: Possible SYN flooding on port 8000. Sending cookies.",
        sure=False,
        passing=True,
    ),
    Hint(
        "overlay-layer-gone",
        r"overlayfs: failed to resolve",
        "a layer of an image or container is not in the engine's storage any more: it was removed by hand, or lost in a crash",
        "docker rmi and pull the image again (deploy.yml --tags fetch); if more are so, empty the engine's data folder with the engine stopped",
        "Linux, overlayfs",
        "kernel: overlayfs: failed to resolve '/var/lib/docker/overlay2/l/AB': -2",
    ),
    Hint(
        "compiler-out-of-memory",
        r"Killed process \d{1,8} \((?:cicc|nvcc|ptxas|cc1plus|ninja|cudafe\+\+|fatbinary|ld|hipcc|clang\S{0,8})\)",
        "the kernel killed a compiler for lack of memory; kernels are compiled at the start, several at once, and each wants some GiB of the host's"
        " memory",
        "set env MAX_JOBS: 2 for the first start (what is compiled is kept), give the container or unit more memory, or use an image with compiled"
        " kernels",
        "vllm-project/vllm#54237",
        "kernel: Out of memory: Killed process 16014 (cicc) total-vm:9876543kB, anon-rss:8765432kB",
    ),
)
