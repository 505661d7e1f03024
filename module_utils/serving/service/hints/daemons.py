"""Failure hints: what starts containers and services: dockerd, containerd, runc, crun, podman's network and storage."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

HINTS = (
    Hint(
        "oci-kernel",
        r"namespaces aren't enabled in the kernel|(?:crun|runc|OCI)[^\n]{0,300}[Ff]unction not implemented|(?:crun|runc)[^\n]{0,200}(?:fsopen"
        r"|fsconfig|openat2|pidfd_open"
        r"|clone3)\b[^\n]{0,60}(?:not implemented|not permitted)",
        "the kernel (or a container around this one) lacks a system call or namespace that crun or runc needs",
        "upgrade the kernel, or use the other of crun and runc in an older version",
        "containers/crun, mount API",
        "Error: preparing container 3e for attach: crun: fsopen_mount `tmpfs`: Function not implemented: OCI runtime error",
        sure=False,
    ),
    Hint(
        "oci-runtime-missing",
        r"fork/exec (?!/proc/self/exe)(\S{1,160}): no such file or directory",
        "a program that the container engine runs, most often its configured runtime, is not there",
        "correct its path in /etc/docker/daemon.json or /etc/containerd/config.toml, or install it (nvidia-container-toolkit, runc), then restart"
        " the engine",
        "NVIDIA/nvidia-container-toolkit#145",
        "OCI runtime create failed: unable to retrieve OCI runtime error: fork/exec /opt/gone/runtime: no such file or directory: unknown",
    ),
    Hint(
        "oci-runtime-closed",
        r"fork/exec (?!/proc/self/exe)\S{1,160}: permission denied|no read access to runc binary",
        "the container engine (or its user) may not read or execute its runtime: the mode of the file or of a folder above it, a file system"
        " without exec, or SELinux forbids it, or daemon.json names something that is no program",
        "compare the path in the message with `runtimes` in /etc/docker/daemon.json; namei -l of it, ls -Z and ausearch -m avc; reinstall runc or"
        " nvidia-container-toolkit",
        "NVIDIA/nvidia-container-runtime#89; containers/podman#15442",
        "unable to retrieve OCI runtime error: fork/exec /usr/bin/acme-runtime: permission denied: unknown",
    ),
    Hint(
        "oci-runtime-output",
        r"OCI runtime \w{1,20} failed: invalid character '",
        "the runtime that the container engine is configured with writes something other than JSON: a wrapper script that prints, or another version",
        "call it by hand (the path in daemon.json or config.toml) with --version; upgrade nvidia-container-toolkit and containerd together",
        "NVIDIA/gpu-operator#168",
        "OCI runtime state failed: invalid character 'x' looking for beginning of value: unknown",
    ),
    Hint(
        "oci-runtime-broken",
        r"(?:runc|nvidia-container-runtime) did not terminate suc{1,2}essfully|unable to retrieve OCI runtime error|(?:runc|crun): symbol lookup error"
        r"|fork/exec \S{0,80}(?:runc|crun|containerd-shim\S{0,20}): ",
        "runc (or crun, or NVIDIA's runtime before it) itself does not run: it is missing, damaged, or older libraries (libseccomp) are on the host",
        "`runc --version` on the host must work: upgrade libseccomp, or install containerd.io (runc) anew",
        "containerd, runc shim",
        "failed to create shim task: OCI runtime create failed: unable to retrieve OCI runtime error (open log.json: no such file): runc"
        " did not terminate successfully: exit status 127: unknown",
        sure=False,
    ),
    Hint(
        "oci-runtime-old",
        r"cannot unmarshal \w{1,20} into Go struct field (?:Process|Linux|Spec|Root)\w{0,20}\.",
        "the host's runc (or NVIDIA's runtime) can't read what the container engine hands it: one of the two is of another time, or an old one is"
        " found first",
        "upgrade runc, containerd and nvidia-container-toolkit together with Docker; which -a runc shows whether an old one is found first",
        "NVIDIA/nvidia-docker#1077",
        "docker: Error response from daemon: OCI runtime create failed: json: cannot unmarshal object into Go struct field Process.user of type"
        " string: unknown.",
    ),
    Hint(
        "oci-init-died",
        r"can't get final child's PID from pipe|copy(?:ing)? bootstrap data to pipe|write init-p: broken pipe|waiting for init preliminary setup"
        r"|read init-p: connection reset|read (?:status )?from sync socket|nsexec\[\d{1,8}\]: [^\n]{0,80}fail|procReady not received",
        "the container's first process died before it could start: a limit (memory, processes, user namespaces), a security module, a"
        " kernel too old for this runc, or a fault of runc or crun itself",
        "sysctl user.max_user_namespaces must not be 0; look at dmesg, at pids and memory limits, and at runc's version against the kernel;"
        " upgrade runc or crun",
        "moby/moby#44155; runc, nsexec.c",
        "OCI runtime create failed: runc create failed: unable to start container process: can't get final child's PID from pipe: EOF: unknown.",
        sure=False,
    ),
    Hint(
        "oci-rlimit",
        r"error setting rlimit|wrong rlimit value|ulimit: error setting limit|setrlimit[^\n]{0,80}(?:not permitted|invalid argument)",
        "a ulimit can't be set: it is higher than the engine itself may give, or written as none",
        "raise the daemon's own limit (LimitMEMLOCK, LimitNOFILE of docker.service), or lower the ulimit; a rootless engine can't go above"
        " its user's",
        "runc, prlimit",
        "runc create failed: unable to start container process: error during container init: error setting rlimits for ready process:"
        " error setting rlimit type 8: operation not permitted",
    ),
    Hint(
        "oci-seccomp",
        r"seccomp(?! is experimental)[^\n]{0,120}(?:failed|error|not supported|unable|invalid)"
        r"|(?:unable|failed|error)(?![^\n]{0,60}seccomp is exp)[^\n]{0,60}seccomp",
        "the container's system call filter (seccomp) can't be set",
        "upgrade libseccomp and runc together; the kernel needs CONFIG_SECCOMP_FILTER",
        "runc, libcontainer/seccomp",
        "runc create failed: unable to start container process: unable to init seccomp: error loading seccomp filter into kernel: errno"
        " 524: unknown.",
        sure=False,
    ),
    Hint(
        "oci-nested",
        r"open sysctl \S{1,80} file: reopen fd \d{1,5}: permission denied",
        "runc may not reopen a file below /proc: AppArmor of the container around this engine (LXC, Proxmox) refuses what runc does since 1.3.3",
        "update the outer host's LXC and its AppArmor profile, or run containerd.io of before (1.7.28) until then",
        "opencontainers/runc, releases 1.2.8, 1.3.3, 1.4.0-rc.3",
        "error during container init: open sysctl net.ipv4.acme file: reopen fd 8: permission denied: unknown",
        sure=False,
    ),
    Hint(
        "oci-sysctl",
        r"open sysctl \S{1,80}|(?:open|write to) `?/proc/sys/\S{1,80}[` ]?: (?i:permission denied|no such file|read-only|invalid argument)"
        r"|write sysctl key",
        "a kernel setting (sysctl) of the container can't be written: it is not there, is read-only or refused by AppArmor in a container around it"
        " (LXC, since runc 1.3.3), or does not fit this user's ids",
        "remove it from the row's options (podman: default_sysctls in containers.conf) or set it on the host; in an LXC: upgrade LXC/Proxmox, or"
        " there lxc.apparmor.profile: unconfined; without root look at /etc/subuid and /etc/subgid",
        "runc",
        "runc create failed: error during container init: open sysctl net.ipv4.acme file: no such file or directory",
    ),
    Hint(
        "oci-interpreter",
        r"\bexec [^\s:]{1,200}: no such file or directory$|exec user process caused[^\n]{0,40}no such file",
        "the command's own interpreter (its #! line, or the loader of its C library) is not in the image",
        "check the first line of the script (and that it has no Windows line ends), and that the program is built for this image's C library",
        "Linux, execve",
        "standard_init_linux.go:228: exec user process caused: no such file or directory",
    ),
    Hint(
        "oci-mount-not-permitted",
        r"mounting \\{0,9}\"[^\"]{1,200}\" to rootfs[^\n]{0,600}operation not permitted",
        "the kernel does not permit a mount of the container: without root (rootless, or an engine in a container) it refuses /proc and /sys, and a"
        " mount with nosuid, nodev or noexec that is to become read-only",
        "leave `:ro` out of that mount, or mount a folder in place of /proc or /sys; a container around the engine needs its rights"
        " (privileged, nesting);"
        " else run the engine as root on the host",
        "moby/moby#42090",
        'OCI runtime create failed: runc create failed: error mounting "/proc" to rootfs at "/p": mount /proc:/p, flags: 0x5021: operation not permitted',
        sure=False,
    ),
    Hint(
        "oci-workdir",
        r"chdir to cwd \(\"[^\"]{0,200}\"\)|mkdir \S{1,200} as workdir|workdir \"[^\"]{1,200}\" does not exist"
        r"|(?<!supervisor: couldn't )chdir to [`'\"]?/\S{1,200}",
        "the container's user may not enter its working folder, or it is not there",
        "open that folder and its parents for the user, mount it, or set another working folder",
        "runc",
        'runc create failed: unable to start container process: chdir to cwd ("/workspace") set in config.json failed: permission denied:'
        " unknown.",
        sure=False,
    ),
    Hint(
        "containerd-store",
        r"failed to prepare extraction snapshot|failed to stat parent|content digest \S{1,100}: not found"
        r"|missing parent (?:\S{1,100} )?bucket|snapshots/(?:new-)?\d{1,12}[^\n]{0,60}(?:no such file|file exists)|failed to (?:get"
        r"|create) (?:reader from )?content store|blob not found",
        "the container engine's store of images does not agree with itself: parts were removed, or it stopped while writing",
        "remove the image (docker rmi, ctr -n moby images rm) and run deploy.yml --tags fetch; if it stays, prune the store",
        "containerd/containerd#3369",
        'failed to pull and unpack image "x": failed to prepare extraction snapshot "extract-81": failed to stat parent: stat'
        " snapshots/112/fs: no such file or directory",
        sure=False,
    ),
    Hint(
        "cdi-integrated-gpu",
        r"getting GPU device minor number: Not Supported",
        "this GPU shares a package with the CPU (Jetson, Thor): the driver's library can't describe it, so the CDI file is made from lists",
        "nvidia-ctk cdi generate --mode=csv --output=/etc/cdi/nvidia.yaml",
        "NVIDIA-ISAAC-ROS/isaac_ros_common#163; NVIDIA container toolkit",
        "ERRO[0000] failed to generate CDI spec: acme: error getting GPU device minor number: Not Supported",
    ),
    Hint(
        "cdi-generate",
        r"failed to (?:generate|save) CDI spec",
        "nvidia-ctk can't make the CDI file",
        "nvidia-smi on the host must work; the last part of the message is its reason; then systemctl restart nvidia-cdi-refresh",
        "NVIDIA/nvidia-container-toolkit#1517",
        "failed to generate CDI spec: nobody has seen this one",
        general=True,
    ),
    Hint(
        "oci-permission",
        r"(?:crun|runc)[^\n]{0,300}(?:[Pp]ermission denied|[Oo]peration not permitted)|OCI (?:runtime )?permission denied|(?:container|process"
        r"|rootfs)_linux\.go[^\n]{0,300}(?:[Pp]ermission denied|not permitted)",
        "crun or runc may not do what it has to: a folder of the storage is closed for this user, SELinux refuses it, or the engine runs"
        " in a container without rights",
        "look at the modes of all parents of the path in the message and at ausearch -m avc; an engine in a container needs its rights",
        "containers/podman#25080, #9377",
        "Error: crun: open `/home/u/.local/share/containers/storage/overlay/c/merged`: Permission denied: OCI permission denied",
        sure=False,
    ),
    Hint(
        "docker-config-wrong",
        r"unable to configure the Docker daemon with file|specified both as a flag and in the configuration file"
        r"|directives (?:are specified|don't match any configuration option)|invalid character [^\n]{0,60}daemon\.json"
        r"|configuration file[^\n]{0,60}daemon\.json",
        "dockerd does not start: /etc/docker/daemon.json is wrong, or says what the unit's options say too",
        "dockerd --validate shows the fault; remove what stands in both places",
        "moby, cmd/dockerd",
        "unable to configure the Docker daemon with file /etc/docker/daemon.json: invalid character '}' looking for beginning of object"
        " key string",
    ),
    Hint(
        "docker-storage-driver",
        r"[Ee]rror initializing graphdriver|(?:storage|graph) driver[^\n]{0,80}(?:failed|not supported|unknown|no longer)"
        r"|prior storage driver|overlay[^\n]{0,60}(?:not supported (?:over|by)|is not supported on|invalid argument)"
        r"|'overlay2?' (?:not found|is not supported)|pulling image[^\n]{0,160}, operation not supported"
        r"|/overlay2?/[^\n]{0,160}/merged/\S{1,40}: invalid argument"
        r"|failed to mount /\S{0,60}containerd-?mount\S{1,20}: invalid argument",
        "the container engine's storage can't be used: the driver does not work on this file system or kernel, or another one was used before",
        "use overlay2 on ext4 or xfs with ftype=1; move the old data folder away if the driver was changed",
        "moby, storage drivers",
        "failed to start daemon: error initializing graphdriver: prior storage driver aufs failed: driver not supported",
        sure=False,
    ),
    Hint(
        "docker-second-daemon",
        r"pid file found, ensure docker is not running|process with PID \d{1,8} is still running"
        r"|failed to start daemon, ensure docker is not running",
        "a second dockerd was started, or a pid file is left over",
        "systemctl status docker; if none runs remove /var/run/docker.pid and start it",
        "moby, pkg/pidfile",
        "failed to start daemon, ensure docker is not running or delete /var/run/docker.pid: process with PID 812 is still running",
    ),
    Hint(
        "containerd-not-there",
        r"(?:timeout waiting for|failed to (?:start|dial)|error (?:connecting|dialing)[^\n]{0,20}) \"?(?:unix:|/)?[\w/.]{0,40}containerd\b"
        r"|containerd\S{0,20}\.sock[^\n]{0,60}(?:connection refused|context deadline exceeded|transport is closing|no such file)"
        r"|[Ee]rror starting daemon: timeout",
        "the container engine does not reach its containerd, or another daemon (or the files of one) is left of an earlier start",
        "systemctl stop docker, end a dockerd that is left (pgrep -a dockerd), restart containerd, then docker; where Docker starts its own"
        " containerd, remove /var/run/docker/containerd; journalctl -u containerd"
        " says why it does not start",
        "moby, libcontainerd",
        'failed to start daemon: failed to dial "/run/containerd/containerd.sock": context deadline exceeded',
        sure=False,
    ),
    Hint(
        "docker-socket-unit",
        r"no sockets found via socket activation",
        "dockerd was told to take its socket from systemd (-H fd://) and got none: docker.socket is not active, or dockerd was started by hand",
        "systemctl enable --now docker.socket, then start docker.service; by hand leave `-H fd://` out",
        "docker/for-linux#989",
        "failed to load listeners: no sockets found via socket activation: make sure the service was started by systemd",
    ),
    Hint(
        "containerd-crashed",
        r"containerd did not exit successfully[^\n]{0,80}error=\"(?:signal|exit)",
        "the containerd that Docker starts crashes: its program is damaged, for another CPU or of another version, or its state was"
        " damaged when it stopped",
        "containerd --version says whether the program runs (else install containerd.io anew); then move aside"
        " /var/lib/docker/containerd and /run/docker/"
        "containerd",
        "moby/moby#34091",
        'ERRO[2021-01-01T10:00:00Z] containerd did not exit successfully   error="signal: segmentation fault" module=libcontainerd',
        sure=False,
    ),
    Hint(
        "docker-networks-full",
        r"could not find an available, non-overlapping IPv[46] address pool|all predefined address pools have been fully subnetted"
        r"|PredefinedLocalScopeDefaultNetworks List[^\n]{0,200}no available network|list bridge addresses failed: no available network",
        "the container engine has no network range left for a further network",
        "docker network prune, or give bip and default-address-pools in /etc/docker/daemon.json; a VPN's routes may take the ranges",
        "moby/libnetwork, ipam",
        "Error response from daemon: all predefined address pools have been fully subnetted",
    ),
    Hint(
        "iptables-missing",
        r"can't initialize iptables table|[Ii]ptables not found|Module ip_tables not found|iptables[^\n]{0,60}(?:Table does not exist"
        r"|executable file not found)|nftables[^\n]{0,60}(?:fail|not supported)|netavark[^\n]{0,120}(?:iptables|nftables|nft)",
        "the firewall's program or the kernel's tables for it are missing or refuse a rule, so the container engine can't make its network",
        "install iptables (or nftables) and load its kernel modules; kernels of newer distributions have no ip_tables: use iptables-nft"
        " (update-alternatives --config iptables), podman: firewall_driver = nftables; after a kernel update reboot",
        "moby/libnetwork; netavark",
        "iptables v1.8.7 (legacy): can't initialize iptables table `nat': Table does not exist (do you need to insmod?)",
        sure=False,
    ),
    Hint(
        "firewalld-zone",
        r"ZONE_CONFLICT|'\w{1,20}' already bound to (?:a zone|')",
        "firewalld has the container engine's bridge in a zone of its own choice, and the engine puts it into the zone `docker`:"
        " somebody put it there, or NetworkManager did",
        "firewall-cmd --get-zone-of-interface=docker0 names the zone: firewall-cmd --permanent --zone=ZONE --remove-interface=docker0,"
        " firewall-cmd --reload (nmcli: connection.zone empty), then restart the engine",
        "moby/moby#41609",
        "failed to start daemon: Failed to program NAT chain: ZONE_CONFLICT: 'docker0' already bound to a zone",
    ),
    Hint(
        "docker-bridge",
        r"(?:Error )?creating default \"?bridge\"? network|failed to (?:create|set up)[^\n]{0,40}bridge"
        r"|[Ee]rror initializing network controller|operation not supported[^\n]{0,40}(?:veth|bridge)"
        r"|failed to add the host[^\n]{0,60}(?:veth|pair)",
        "the container engine can't make its network: kernel modules (bridge, veth, nf_tables), the firewall's tables or a free range are"
        " missing, as its last words say",
        "modprobe bridge veth br_netfilter; after a kernel update reboot; then start it again",
        "moby/libnetwork",
        'failed to start daemon: Error initializing network controller: error creating default "bridge" network: operation not supported',
        sure=False,
    ),
    Hint(
        "podman-network",
        r"netavark: |aardvark-dns|CNI network \"[^\"]{1,60}\" not found|plugin type=\"\w{1,20}\"[^\n]{0,60}failed|(?:slirp4netns"
        r"|pasta)[^\n]{0,60}(?:fail|not found|no such)",
        "podman can't make the container's network",
        "install netavark and aardvark-dns (or passt, slirp4netns for rootless); podman network reload, or network: host in the row",
        "podman, netavark",
        "Error: netavark: setns: IO error: Operation not permitted (os error 1)",
        sure=False,
    ),
    Hint(
        "docker-layer-closed",
        r"failed to register layer[^\n]{0,300}(?:[Oo]peration not permitted|[Pp]ermission denied)",
        "Docker may not write a file of the image into its storage: it runs in a container or user namespace, or security software or the"
        " file system refuses it, or Docker is 29.7.0 or .1 on RHEL 8",
        "look at ausearch -m avc and the mount options of Docker's data folder; put that folder on a local ext4 or xfs",
        "moby/moby#46817",
        "failed to register layer: Error processing tar file(exit status 1): open /bin/x: permission denied",
        sure=False,
    ),
    Hint(
        "podman-rootless-storage",
        r"(?:processing tar file|adding layer|applying layer)[^\n]{0,300}(?:operation not permitted|permission denied)"
        r"|cannot mount using driver \w{1,20} in rootless|fusermount\d?: |fuse-overlayfs: ",
        "an engine without root can't use its storage: it lies on NFS or another network file system, fuse-overlayfs (or /dev/fuse) is"
        " missing, or the user has too few ids",
        "put the storage on a local disk; install fuse-overlayfs (or a kernel of 5.13 or newer) and modprobe fuse, check /etc/subuid, then"
        " podman system migrate",
        "podman, rootless troubleshooting",
        'Error: error committing the finished image: error adding layer with blob "sha256:4047": processing tar file: operation not permitted',
        sure=False,
    ),
    Hint(
        "docker-shm-mount",
        r"mounting shm tmpfs",
        "the container engine can't mount the container's /dev/shm: a limit of mounts or memory is reached, or it may not mount, as the last"
        " words say",
        "sysctl fs.mount-max, free memory and left-over containers (docker ps -a); then restart the container engine",
        "moby/moby#41391",
        "docker: Error response from daemon: mounting shm tmpfs: no space left on device.",
    ),
    Hint(
        "podman-user-namespace",
        r"newuidmap|newgidmap|cannot (?:set up|re-?exec)[^\n]{0,40}(?:namespace|process)"
        r"|invalid internal status, try resetting the pause process|cannot clone: ",
        "podman without root can't make its user namespace",
        "install uidmap (newuidmap with its capabilities), then podman system migrate; sysctl user.max_user_namespaces and"
        " kernel.apparmor_restrict_unprivileged_userns decide too",
        "podman, rootless troubleshooting",
        'Error: cannot set up namespace using "/usr/bin/newuidmap": exit status 1: newuidmap: write to uid_map failed: Operation not permitted',
        sure=False,
    ),
    Hint(
        "image-name",
        r"invalid reference format|short-name \"[^\"]{1,200}\" did not resolve to an alias|short-name resolution enforced but cannot prompt"
        r"|repository name must (?:be lowercase"
        r"|have at least)",
        "the image's name can't be read, or has no registry",
        "give the full name with its registry, in small letters: docker.io/acme/x:tag",
        "distribution/reference; containers-registries.conf",
        "docker: invalid reference format: repository name must be lowercase.",
    ),
    Hint(
        "image-store-odd",
        r"layerdb/\S{1,200}: (?:file exists|no such file or directory|directory not empty)",
        "Docker's records of image layers don't agree with its files: the host or the daemon went down in the midst of a pull, or files"
        " were removed by hand",
        "stop docker, move the folder away that the line names (else all of /var/lib/docker/image and the storage driver's folder: every"
        " image is then fetched"
        " anew), start docker, and run deploy.yml --tags fetch",
        "moby/moby#44909, #35524",
        "failed to register layer: rename /var/lib/docker/image/overlay2/layerdb/tmp/x /var/lib/docker/image/overlay2/layerdb/sha256/9: file exists",
    ),
    Hint(
        "image-damaged",
        r"failed to register layer|failed to extract layer|layer verification failed|unexpected EOF(?! while)|digest (?:verification"
        r"|mismatch)|failed to (?:commit|apply) (?:layer|snapshot|diff)|[Ee]rror processing tar file|invalid tar header|archive/tar"
        r"|wrong diff id calculated"
        r"|short read: expected",
        "an image could not be unpacked: it arrived cut or damaged, or the storage does not take it (space, user ids, file system)",
        "df -h of the engine's data folder, dmesg for disk errors; then run deploy.yml --tags fetch",
        "moby, layer store",
        "failed to register layer: Error processing tar file(exit status 1): unexpected EOF",
        sure=False,
    ),
    Hint(
        "docker-does-not-start",
        r"failed to start daemon: ",
        "dockerd does not start",
        "the rest of the message is its reason; journalctl -u docker shows more",
        "moby",
        "failed to start daemon: nobody has seen this one",
        general=True,
    ),
)
