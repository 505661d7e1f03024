"""Failure hints: podman's own settings, sessions of users without root, and what SELinux and the kernel keep from its containers."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

PODMAN = "containers/podman, troubleshooting.md"

HINTS = (
    Hint(
        "pasta-closed",
        r"(?:netns dir open|open network namespace)[^\n]{0,160}(?i:permission denied)"
        r"|Failed to bind port (?:[2-9]\d{3}|1[1-9]\d\d|10[3-9]\d|102[4-9]|\d{5}) \(Permission denied\) for option '-[tTuU] ",
        "pasta, podman's network without root, may not open what it needs: SELinux or AppArmor keep it from that, or another user made it",
        "ausearch -m avc (or dmesg, for AppArmor) shows the refusal: upgrade passt with its policy, restorecon -R /run/user/UID, or take"
        " network: slirp4netns or host",
        "containers/podman#22934, #26157",
        "Error: pasta failed with exit code 1: netns dir open: Permission denied, exiting",
        sure=False,
    ),
    Hint(
        "pasta-no-interface",
        r"External interface not usable|[Nn]o (?:routable|usable|interfaces with usable)[^\n]{0,20} (?:interfaces?|routes)|pick external interface"
        r"|Couldn't get any nameserver address",
        "pasta, podman's network without root, finds no network interface of the host with an address and a route: the network was not up yet, or the"
        " host has none",
        "start the unit after network-online.target (a user's unit cannot wait for it: Restart=on-failure), name the interface (network:"
        " pasta:-i,eth0),"
        " or take network: host",
        "containers/podman#22168",
        "pasta[7]: External interface not usable",
        sure=False,
    ),
    Hint(
        "pasta-namespace",
        r"Couldn't open network namespace \S{1,200}$",
        "pasta, podman's network without root, can't open the network namespace that podman made for it: it is left of an earlier session, or AppArmor,"
        " SELinux or a pasta of another time than podman keep it closed",
        "remove the netns folder that is named while no container of this user runs, and start again; dmesg shows a refusal; upgrade passt with podman",
        "containers/podman#22015",
        "Error: setting up Pasta: pasta failed with exit code 1: Couldn't open network namespace"
        " /run/user/7/containers/networks/rootless-netns/rootless-netns",
        sure=False,
    ),
    Hint(
        "podman-dns-address",
        r"bind (?:udp|tcp) listener on \S{1,60}: (?:IO error: )?(?i:cannot assign requested address)",
        "podman's DNS server can't listen on the address of the container's network, for that address is not there: the network's namespace is left"
        " of an earlier session, or an IPv6 address is not ready yet",
        "podman network reload --all; without root stop all containers of this user, remove the rootless-netns folder below /run/user/UID, start"
        " again; or network: host",
        "containers/netavark#1174; containers/aardvark-dns#725",
        "Error starting server failed to bind udp listener on 10.89.1.1:53: IO error: Cannot assign requested address (os error 99)",
        sure=False,
    ),
    Hint(
        "podman-dns-port",
        r"bind (?:udp|tcp) listener on \S{1,60}: (?:IO error: )?(?i:address already in use)",
        "podman's DNS server finds port 53 of the network's address taken: another DNS server of this host listens on all addresses, or one of an"
        " earlier run is left over",
        "ss -lnup 'sport = 53' names it: let it listen on its own addresses only, or set dns_bind_port in containers.conf",
        "containers/podman#15452",
        "Error starting server failed to bind udp listener on 10.89.1.1:53: IO error: Address already in use (os error 98)",
    ),
    Hint(
        "cni-version",
        r"plugin \w{1,20} does not support config version",
        "podman's network files (CNI) are of a newer format than the plugins on this host, so it finds none of its networks",
        "set cniVersion to 0.4.0 in the *.conflist files below /etc/cni/net.d and ~/.config/cni/net.d, install containernetworking-plugins 1.0 or"
        " newer, or go over to netavark",
        "containers/podman, CNI",
        'WARN[0000] Error validating CNI config file /srv/acme.conflist: [plugin bridge does not support config version "1.0.0"]',
        passing=True,
    ),
    Hint(
        "podman-network-unknown",
        r"unable to find network with name or ID (\S{1,80})",
        "podman finds no network of that name: it was not made for this user, was removed, or its file can't be read (a warning above names the file)",
        "podman network ls as the user of the service; podman network create it, correct `--network` of the command, or podman network inspect what the"
        " warning names",
        "containers/podman, network",
        "Error: unable to find network with name or ID acme: network not found",
    ),
    Hint(
        "podman-chain-left",
        r"(?:netavark|ip6?tables)[^\n]{0,60}[Cc]hain already exists",
        "chains of an earlier container are still in the host's firewall where podman or Docker wants to make them: another program's rules"
        " (nftables, firewalld)"
        " were loaded beside or over its own",
        "iptables -S | grep -E 'NETAVARK|DOCKER' shows them: stop all containers, flush and remove these chains, start again; let one"
        " program keep the firewall"
        " (firewall_driver of containers.conf)",
        "containers/netavark#274",
        'ERRO[0000] "netavark: code: 1, msg: ip6tables: Chain already exists.\\n"',
        sure=False,
    ),
    Hint(
        "quadlet-key",
        r"[Uu]nsupported key '[^']{1,60}' in group '",
        "this podman is older than a key of the unit's quadlet file",
        "upgrade podman, or give it as PodmanArgs= in the file; podman version, and podman-systemd.unit(5) of that version",
        "podman, quadlet",
        "quadlet-generator[7]: converting \"acme.container\": unsupported key 'Acme' in group 'Container'",
    ),
    Hint(
        "user-namespaces-full",
        r"(?<!git )(?:fork/exec|unshare|clone)\b(?! repo)[^\n]{0,80}: [Nn]o space left on device",
        "the limit of user namespaces is used up, or is 0; the disk is not full",
        "sysctl user.max_user_namespaces=28633 (and in /etc/sysctl.d, so that it stays)",
        "docker/docs, rootless troubleshooting",
        "[rootlesskit:parent] error: failed to start the child: fork/exec /proc/self/exe: no space left on device",
    ),
    Hint(
        "user-namespaces-closed",
        r"(?:fork/exec /proc/self/exe|unshare|bwrap)\b[^\n]{0,80}: (?i:operation not permitted|permission denied)",
        "this kernel does not allow users without root to make user namespaces: kernel.unprivileged_userns_clone is 0, or AppArmor restricts them",
        "sysctl kernel.unprivileged_userns_clone=1; on Ubuntu 24.04 and later an AppArmor profile for the program with `userns,` (its"
        " package brings it)",
        "docker/docs, rootless troubleshooting",
        "[rootlesskit:parent] error: failed to start the child: fork/exec /proc/self/exe: operation not permitted",
    ),
    Hint(
        "cpuset-empty",
        r"cgroup\.procs\b[^\n]{0,20}: (?i:no space left on device)",
        "the container's cpuset has no CPU or no memory node, so that no process fits; the disk is not full",
        "correct the row's CPUs and NUMA nodes against lscpu, and cpuset of the slice above it",
        "Linux, cpuset(7)",
        "runc create failed: write /sys/fs/cgroup/cpuset/docker/x/cgroup.procs: no space left on device",
    ),
    Hint(
        "user-bus-missing",
        r"(?:sd-bus (?:add match|open|call)|cannot open sd-bus|Interactive authentication required)\b[^\n]{0,80}(?i:not permitted|denied"
        r"|no such file|unknown)"
        r"|read unix @->/run/systemd/private|/run/user/\d{1,8}/(?:bus|systemd)\b[^\n]{0,80}(?:no such file|refused|reset)",
        "the container engine can't ask systemd for a cgroup: this user has no session (D-Bus) of its own, as after su or sudo, or no"
        " systemd runs around the engine (a container)",
        "install dbus-user-session (dbus-daemon), log in anew by ssh or machinectl shell, and loginctl enable-linger USER; in a"
        " container, or with cgroups v1: cgroup_manager = cgroupfs in containers.conf (native.cgroupdriver=cgroupfs for Docker)",
        "docker/docs, rootless troubleshooting",
        "docker: Error response from daemon: error while starting unit: read unix @->/run/systemd/private: read: connection reset by peer: unknown.",
        sure=False,
    ),
    Hint(
        "storage-takes-no-owners",
        r"lchown \S{1,200}: (?i:operation not permitted|operation not supported)|ApplyLayer[^\n]{0,200}: operation not permitted",
        "the owners of an image's files can't be set in the container engine's storage: its file system does not let them (NFS, CIFS, FUSE), or the"
        " engine lacks the right (in a container, or without root)",
        "move the storage to a local disk (data-root of daemon.json, graphroot of storage.conf)",
        "docker/docs, rootless troubleshooting",
        "docker: failed to register layer: ApplyLayer exit status 1 stdout:  stderr: lchown /x: operation not permitted",
    ),
    Hint(
        "podman-registries",
        r"getting default registries|Bare keys cannot contain|in registry: image not known|(?:loading|parsing)[^\n]{0,60}registries\.conf",
        "podman's list of registries (/etc/containers/registries.conf) is missing or can't be read, or none of them has an image of that short name",
        "give the image's full name with its registry; look at the line of registries.conf that the message names",
        PODMAN,
        "error getting default registries to try: Near line 7 (last key parsed ''): Bare keys cannot contain ':'.",
    ),
    Hint(
        "registry-credential-helper",
        r"docker-credential-[\w-]{1,40}['\"]?:? (?:executable file not found|not installed|not found)",
        "the login file of this user (~/.docker/config.json) names a program that keeps passwords, and that program is not installed here",
        "remove credsStore and credHelpers from ~/.docker/config.json and log in again, or install docker-credential-NAME",
        "docker/docker-credential-helpers",
        'error getting credentials - err: exec: "docker-credential-desktop": executable file not found in $PATH, out: ``',
    ),
    Hint(
        "registry-login-stale",
        r"unable to retrieve auth token|(?:invalid|incorrect) username(?:/| or )password|error getting credentials",
        "the login that this host keeps for the registry is not valid any more, and is used although the image may need none",
        "docker (or podman) logout REGISTRY as the user that fetches, then log in anew if the image needs it",
        PODMAN,
        "Error: initializing source: unable to retrieve auth token: invalid username/password: unauthorized",
        sure=False,
    ),
    Hint(
        "podman-runtime-missing",
        r"default OCI runtime \"(?!nvidia)[\w./-]{1,80}\" not found",
        "podman finds no runtime of that name that this user may run: it is not installed, not where containers.conf says, or closed for this user",
        "install crun (or runc); ls -l of it and podman --log-level debug info show where it is looked for; correct `runtime` in containers.conf",
        "containers/podman#18483",
        'Error: default OCI runtime "crun" not found: invalid argument',
    ),
    Hint(
        "podman-no-session",
        r"could not get XDG_RUNTIME_DIR|XDG_RUNTIME_DIR[^\n]{0,80}(?:not owned|not writable|not set|no such file)"
        r"|/run/user/\d{1,8}\b[^\n]{0,160}: (?i:permission denied|no such file)",
        "this user has no login session of its own (su and sudo make none), so an engine without root has no folder for its state",
        "loginctl enable-linger USER, then become that user by ssh or machinectl shell, or set XDG_RUNTIME_DIR=/run/user/UID",
        PODMAN,
        'ERRO[0000] XDG_RUNTIME_DIR directory "/run/user/7" is not owned by the current user',
    ),
    Hint(
        "podman-pod-ports",
        r"cannot set port bindings on an existing container network namespace",
        "a container of a pod can't open ports of its own: the pod has the network",
        "open the port at the pod, and remove it from the container's options",
        PODMAN,
        "Error: cannot set port bindings on an existing container network namespace",
    ),
    Hint(
        "container-init-missing",
        r"exec /run/podman-init failed|(?:catatonit(?! \(|:)|podman-init|docker-init|/dev/init)\b(?! \(|:\d)[^\n]{0,60}(?:no such file"
        r"|not found|No such file)",
        "the small init program that the engine puts into containers is not there",
        "install catatonit (podman) or tini (docker-init), or set init_path in containers.conf to where it is",
        PODMAN,
        "[FATAL tini (7)] exec /run/podman-init failed: No such file or directory",
    ),
    Hint(
        "selinux-storage",
        r"cannot apply additional memory protection after relocation|cannot enable executable stack as shared object requires",
        "SELinux refuses the libraries of a container: the engine's storage lies in a folder without the label of container storage, or a mounted"
        " folder has none",
        "semanage fcontext -a -e /var/lib/containers FOLDER (or /var/lib/docker), then restorecon -R FOLDER",
        PODMAN,
        "error while loading shared libraries: /lib64/libc.so.6: cannot apply additional memory protection after relocation: Permission denied",
    ),
    Hint(
        "kernel-lockdown",
        r"bpf(?:_prog)?[ _](?:create|load|attach|query)\w{0,4}[^\n]{0,60}(?:not permitted|[Pp]ermission denied)"
        r"|: load program: (?:permission denied|operation not permitted)",
        "the kernel takes no bpf program from the container engine, which gives devices by one: Secure Boot's lockdown, SELinux, or an"
        " engine without rights",
        "run the engine as root outside of containers; if Secure Boot's lockdown is at fault (dmesg says so), switch it off or upgrade kernel and crun",
        PODMAN,
        "Error: bpf create : Operation not permitted: OCI runtime permission denied error",
    ),
    Hint(
        "oci-hook-failed",
        r"error executing hook `(?![^`]{0,120}nvidia)[^`]{1,160}`",
        "a program that the container engine calls for each container (an OCI hook) failed: it is of another version, or does not run here",
        "the message names it: upgrade or remove it, and its file below /usr/share/containers/oci/hooks.d or /etc/containers/oci/hooks.d",
        "containers/podman#11139",
        "Error: OCI runtime error: error executing hook `/usr/libexec/oci/hooks.d/acme` (exit code: 1)",
    ),
    Hint(
        "docker-firewall-closed",
        r"(?:ip6?tables|nft(?:ables)?)\b[^\n]{0,200}(?:[Pp]ermission denied|[Oo]peration not permitted|must be root)",
        "the container engine may not change the host's firewall: it runs without root, or in a container that was not given the right (NET_ADMIN)",
        "run the daemon as root on the host; a daemon inside of a container needs --privileged; without root take rootless Docker or podman as they"
        " are installed by their own packages",
        "moby/libnetwork",
        "failed to create NAT chain DOCKER: iptables failed: iptables -t nat -N DOCKER: Permission denied (you must be root)",
    ),
    Hint(
        "docker-network-overlaps",
        r"Pool overlaps with other one",
        "the network range that was asked for is taken by another network of the container engine, or by a route of this host (VPN)",
        "docker network ls and ip route show who has it: remove that network if nobody uses it, or ask for another range (ipam, subnet)",
        "moby/libnetwork",
        "(HTTP code 403) unexpected - Pool overlaps with other one on this address space",
    ),
    Hint(
        "podman-no-limits",
        r"cannot (?:specify|set) resource limits without cgroups v2",
        "without root, limits of memory, CPU or processes need cgroups v2, and this host runs cgroups v1",
        "boot with systemd.unified_cgroup_hierarchy=1, run the engine as root, or take the limits out of the row",
        PODMAN,
        "Error: OCI runtime error: runc: runc create failed: cannot set resource limits without cgroups v2 and systemd",
    ),
    Hint(
        "crun-no-cgroup",
        r"cannot set limits without cgroups(?! v2)",
        "the container has limits and no cgroup of its own: it was made with cgroups disabled, or before the host's cgroups or the engine changed",
        "remove the container, so that it is made anew (podman rm; restart the service); where cgroups stay disabled take the limits out of the row",
        "opencontainers/runc#2567",
        'Error: unable to start container "acme": cannot set limits without cgroups: OCI runtime error',
        sure=False,
    ),
    Hint(
        "rootless-netns-gone",
        r"(?:runtime directory for |setup |mount )rootless[- ]netns[^\n]{0,160}(?i:no such file|permission denied)"
        r"|rootless-netns[^\n]{0,80}(?i:no such file)",
        "the folder of this user's own networks is gone or was made by another session: /run/user/UID was removed when the last session ended",
        "loginctl enable-linger USER; podman system migrate, or stop all its containers and remove the netns folder below /run/user/UID,"
        " then start again",
        "containers/podman#13671",
        'ERRO[0000] "failed to mount runtime directory for rootless netns: no such file or directory"',
        sure=False,
    ),
    Hint(
        "tun-missing",
        r"/dev/net/tun\W{1,6}[^\n]{0,40}(?i:no such|not permitted|permission denied)",
        "networks without root need /dev/net/tun, which is not there or not open: the kernel module tun is not loaded, or the host is"
        " itself a container",
        "modprobe tun (and a line in /etc/modules-load.d); in a container or LXC pass /dev/net/tun in; or take network: host",
        "rootless-containers/slirp4netns",
        'Error: slirp4netns failed: "open(\\"/dev/net/tun\\"): No such device"',
        sure=False,
    ),
    Hint(
        "podman-database-differs",
        r"database [\w ]{3,40} \"[^\"\n]{1,200}\" does not match our |database configuration mismatch",
        "podman's database was made with other settings (storage driver, folders, user) than it has now",
        "put storage.conf and XDG_RUNTIME_DIR back to what the message says the database has; or begin anew: podman system reset (all"
        " containers and images"
        " of this user go)",
        "podman, libpod",
        'Error: database graph driver "overlay" does not match our graph driver "vfs": database configuration mismatch',
    ),
    Hint(
        "podman-pause-gone",
        r"could not get runtime: open /proc/\d{1,8}/ns/",
        "podman looks for its pause process of this user, and that one has ended; its file of before is still there",
        "podman system migrate (or remove pause.pid below /run/user/UID/libpod/tmp), then again; loginctl enable-linger keeps the user's processes",
        "containers/podman#4057",
        "Error: could not get runtime: open /proc/1445/ns/user: no such file or directory",
    ),
)
