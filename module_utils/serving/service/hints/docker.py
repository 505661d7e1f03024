"""Failure hints: Docker, podman, registries, and what a container is started with."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

HINTS = (
    # Docker, podman, containerd, runc.
    Hint(
        "docker-may-not-signal",
        r"cannot (?:stop|kill|restart) container: [^\n]{0,120}permission denied|signaling init process caused:? \S{0,2}permission denied",
        "Docker may not signal the container's processes: AppArmor refuses it, as where Docker is a snap, was one, or two Dockers are on this host",
        "remove the snap (snap remove docker) where Docker's own packages are meant, or upgrade it; aa-status shows the profiles,"
        " aa-remove-unknown takes old ones out; a reboot ends what hangs",
        "canonical/docker-snap#272",
        "Error response from daemon: cannot stop container: 5af2: permission denied",
        sure=False,
    ),
    Hint(
        "device-is-a-file",
        r"[Nn]ot a device node|invalid device node: /dev/|/dev/[\w./-]{1,80} is not a (?:character )?device",
        "what lies at the path of a device is no device (or another one than the driver has now): a container or program made an"
        " ordinary file there before the driver was loaded, or the numbers changed",
        "ls -l shows it (it must begin with c): rm it, load the driver (nvidia-smi, or modprobe), then start the service anew",
        "moby; podman; NVIDIA/libnvidia-container",
        'error gathering device information while adding custom device "/dev/acme0": not a device node',
        sure=False,
    ),
    Hint(
        "device-node-missing",
        r"gathering device information while adding custom device \"([^\"]{1,200})\"(?!: not a device)|Error: stat (/dev/[\w./-]{1,100}): no such file",
        "a device node of the row is not on this host",
        "ls /dev shows what there is; after a reboot numbers can differ: correct `devices`; NVIDIA: nvidia-modprobe -u -c=0 makes the nodes"
        " (nvidia-uvm), a unit of nvidia-persistenced keeps them; else install the driver",
        "Docker 26.1.5; podman",
        'docker: Error response from daemon: error gathering device information while adding custom device "/dev/davinci7": no such file or directory.',
    ),
    Hint(
        "container-port-taken",
        r"port is already allocated|(?<!shim\.sock: )bind: address already in use|failed to bind host port [^\n]{0,120}address already in use",
        "another container or process has the service's port",
        "docker ps and ss -ltnp show whose it is; end it or give the service another port; docker ps -a and ss -tanp too; a docker-proxy without"
        " container: restart Docker",
        "Docker 26.1.5",
        "docker: Error response from daemon: driver failed programming external connectivity on endpoint x: Bind for 127.0.0.1:9010 failed: port is"
        " already allocated.",
    ),
    Hint(
        "podman-low-port",
        r"cannot expose privileged port (\d{1,5})|Failed to bind port (?:\d{1,3}|10[01]\d|102[0-3]) \(Permission denied\) for option '-[tTuU] ",
        "a container engine without root (podman, rootless Docker) may not open ports below 1024",
        "give the service a port above 1023",
        "podman, rootlessport",
        "Error: rootlessport cannot expose privileged port 443, you can add 'net.ipv4.ip_unprivileged_port_start=443' to /etc/sysctl.conf",
    ),
    Hint(
        "podman-subuid",
        r"[Nn]o sub[ug]id ranges found for|might not be enough IDs available in the namespace"
        r"|potentially insufficient UIDs or GIDs available in user namespace|setup user: invalid argument|lchown \S{1,200}: invalid argument",
        "podman or Docker without root has no range of user and group ids for this user, or one that lacks an id of the image's files",
        "add the user to /etc/subuid and /etc/subgid (usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER), then podman system"
        " migrate (or restart the rootless Docker); an id in the message beyond that range needs a larger one, another image, or root",
        "podman, rootless tutorial",
        "Error: potentially insufficient UIDs or GIDs available in user namespace (requested 0:42 for /etc/shadow)",
    ),
    Hint(
        "address-missing",
        r"bind: cannot assign requested address|(?:attempting to bind on address).{0,80}[Cc]annot assign requested address",
        "the host has no such address",
        "set the row's `address` to one that `ip address` shows",
        "Docker 26.1.5; vLLM",
        "Error starting userland proxy: listen tcp4 10.9.9.9:80: bind: cannot assign requested address.",
    ),
    Hint(
        "registry-limit",
        r"toomanyrequests: |reached your (?:unauthenticated )?pull rate limit",
        "the registry's limit of pulls is reached",
        "log in, name a mirror, or fetch with image_relay",
        "docs.docker.com, usage limits",
        "Error response from daemon: toomanyrequests: You have reached your unauthenticated pull rate limit.",
    ),
    Hint(
        "registry-certificate",
        r"(?:(?:Get|Head|Post) \"?https://[^\s]{1,200} ?|download failed after attempts=\d: )(?:tls: failed to verify certificate: )?x509: "
        r"(?!certificate is (?:not )?valid for [^\n]{1,300}(?:, not |wanted to match)|unhandled critical|malformed|certificate relies)([^\n]{1,100})",
        "the host does not trust the registry's certificate: its CA is not known, a proxy of the site opens TLS, it has expired or names another"
        " host, or the clock is wrong",
        "the words behind x509 say which; put the registry's CA into /etc/docker/certs.d/REGISTRY/ca.crt, a proxy's into the host's store"
        " (update-ca-certificates; update-ca-trust), then restart Docker",
        "docs.docker.com, registry certificates",
        'Error response from daemon: Get "https://reg.example/v2/": tls: failed to verify certificate: x509: certificate signed by unknown authority',
    ),
    Hint(
        "registry-plain-http",
        r"server gave HTTP response to HTTPS client",
        "the registry speaks plain HTTP and is asked by HTTPS",
        "give the registry a certificate, or name it in insecure-registries of /etc/docker/daemon.json; containerd: http:// in"
        " /etc/containerd/certs.d/NAME/hosts.toml (ctr --plain-http); podman: insecure = true in registries.conf",
        "docs.docker.com, insecure registries",
        'Error response from daemon: Get "https://10.0.0.5:5000/v2/": http: server gave HTTP response to HTTPS client',
    ),
    Hint(
        "bind-source-missing",
        r"bind source path does not exist: (\S{1,200})|Error: statfs (\S{1,200}): no such file",
        "the container engine does not see a file or folder that the container is to have, most often because it is gone from this host",
        "ls shows whether it is there. If not, run deploy.yml --tags fetch,serve; for a path of the row's `mounts`, correct it. If it"
        " is, the engine has a"
        " view of its own: Docker as a snap (snap list docker), Docker Desktop, or an engine in a container",
        "Docker 26.1.5; podman",
        'docker: Error response from daemon: invalid mount config for type "bind": bind source path does not exist: /srv/vllm/models/x.',
    ),
    Hint(
        "mount-folder-on-file",
        r"Are you trying to mount a directory onto a file",
        "a folder is mounted where the image has a file, or the reverse; Docker makes a folder where a file to be mounted is missing",
        "correct the row's `mounts`, and remove the empty folder that stands where the file should be",
        "moby, runc",
        'error mounting "/etc/x.json" to rootfs at "/x.json": not a directory: Are you trying to mount a directory onto a file (or vice-versa)?',
    ),
    Hint(
        "mount-not-absolute",
        r"mount destination \S{1,200} not absolute|invalid mount (?:path|target)[^\n]{0,80}must be (?:an )?absolute",
        "the place in the container at which something is to be mounted is no absolute path",
        "write it with a leading / in `mounts` of the row (or in VOLUME of the image)",
        "opencontainers/runc; containerd/containerd#5547",
        "OCI runtime create failed: invalid mount {Destination:acme Type:bind}: mount destination acme not absolute: unknown",
    ),
    Hint(
        "group-not-in-image",
        r"Unable to find group \S{1,60}: no matching entries in group file",
        "the container engine is asked to add a group by its name, and looks for it in the image, not on the host",
        "give the group's number instead: getent group render (or video) on the host shows it",
        "moby; ROCm/ROCm-docker#90",
        "docker: Error response from daemon: Unable to find group render: no matching entries in group file.",
    ),
    Hint(
        "mount-missing",
        r"mounting \"(?!(?:cgroup|proc|sysfs|tmpfs|mqueue|devpts|shm)\")[^\"]{1,200}\" to rootfs[^\n]{0,200}: no such file or directory",
        "a file or folder that is to be mounted into the container, or the place for it in the image, is not there",
        "the message names it: correct the row's `mounts`, or run deploy.yml --tags fetch,serve where it is the model's",
        "runc, libcontainer/rootfs_linux.go",
        'error mounting "/srv/gone" to rootfs at "/data": mount src=/srv/gone: no such file or directory: unknown',
    ),
    Hint(
        "docker-socket-permission",
        r"permission denied while trying to connect to the [Dd]ocker|dial unix \S{0,60}docker\.sock: connect: permission denied"
        r"|server API version: [^\n]{0,60}(?:PermissionError\(|error\()13",
        "this user may not use Docker (or its socket is not of the group docker)",
        "run as root (become: true), or add the user to the group docker and log in anew; ls -l /run/docker.sock must show the group docker: else"
        " groupadd docker, restart docker.socket and docker",
        "moby; docs.docker.com, post-installation steps",
        "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock",
    ),
    Hint(
        "docker-not-running",
        r"(?:Cannot|Couldn't) connect to (?:the )?Docker daemon|docker daemon running\?|failed to connect to the docker API"
        r"|dial unix \S{0,60}(?:docker|containerd|podman)\.sock: connect: (?:no such file|connection refused)"
        r"|server API version: [^\n]{0,60}(?:FileNotFoundError\(2|ConnectionRefusedError\()",
        "the container engine does not run, not where the command looks for it (DOCKER_HOST, docker context), or (docker-compose 1) its socket is"
        " closed to this user",
        "systemctl start docker (or podman.socket), and look at journalctl -u docker; id must show the group docker, or use sudo",
        "Docker 26.1.5",
        "docker: Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?.",
    ),
    Hint(
        "docker-breaks-off",
        r"docker\.sock: (?:read: connection reset by peer|EOF)|error during connect: [^\n]{0,200}docker[^\n]{0,100}: EOF"
        r"|@->\S{0,60}(?:docker|podman|containerd)\.sock: read: connection reset",
        "the container engine broke off while it answered: it crashes or is being restarted",
        "systemctl status docker and journalctl -u docker say why",
        "moby/moby#27155",
        "error during connect: read unix @->/run/docker.sock: read: connection reset by peer",
    ),
    Hint(
        "docker-mount-source",
        r"error while creating mount source path '([^']{1,200})'",
        "Docker may not make or see the folder to be mounted: its parent is read-only or closed for root (NFS root_squash; a snap sees only /home),"
        " or (file exists) a network mount or link there is dead",
        "make the folder before, correct the row's `mounts`, or install Docker from its own packages in place of the snap; for file exists: ls it as"
        " root, umount -l and mount anew (FUSE: allow_other)",
        "moby; canonical, docker snap",
        "docker: Error response from daemon: error while creating mount source path '/data/x': mkdir /data: read-only file system.",
    ),
    Hint(
        "docker-network-missing",
        r"(?:daemon|Error): network ([\w.-]{1,80}) not found",
        "the container's network is not there, or an old container names by its id one that was since made anew",
        "docker network ls shows it; create it, or correct `--network` (a service here takes the host's or the engine's own); a long number as the"
        " name: docker rm -f the container and start anew (compose: up -d --force-recreate)",
        "moby",
        "docker: Error response from daemon: network acme not found.",
    ),
    Hint(
        "compose-old",
        r"resources\.reservations (?:value )?Additional properties are not allowed \('devices"
        r"|services\.[\w-]{1,80} (?:value )?Additional properties are not allowed \('(?:gpus|runtime|device_cgroup_rules)"
        r"|Unsupported config option for services[^\n]{0,60}(?:device\w{0,10}|gpus|runtime)|unexpected keyword argument 'gpus'"
        r"|resources\.reservations value 'devices' does not match any of the regexes",
        "this docker-compose is too old to give GPUs to a container: it is of 1.x, or what gives them stands at a wrong place of the compose file",
        "use docker compose (the plugin, 2.x) in place of docker-compose 1.x; `devices` belongs below deploy.resources.reservations",
        "docker/compose#6691",
        "services.x.deploy.resources.reservations value Additional properties are not allowed ('devices' was unexpected)",
        sure=False,
    ),
    Hint(
        "compose-key-unknown",
        r"services\.\S{1,120} value '(?!device|gpus|runtime)\w{1,40}' does not match any of the regexes: '\^x-'"
        r"|Unsupported config option for services\.\S{1,80}: '(?!device|gpus|runtime)\w{1,40}'",
        "this docker-compose does not know a key of the compose file: it is of 1.x or older than the file, or the key stands at a wrong place",
        "use docker compose (the plugin, 2.x) in place of docker-compose 1.x, or remove the key that the message names",
        "ImJuniorCris/unichain-node#19",
        "services.acme.healthcheck value 'start_interval' does not match any of the regexes: '^x-'",
    ),
    Hint(
        "compose-dependency",
        r"dependency failed to start: container \S{1,100} (?:is unhealthy|exited)",
        "compose waited for another container, which ended or whose health check failed",
        "docker logs of the container that is named says why; a model that loads long needs a longer start_period of its health check",
        "docker/compose, depends_on",
        "dependency failed to start: container acme-vllm-1 is unhealthy",
        late=True,
    ),
    Hint(
        "builder-old",
        r"Unknown flag: (?:mount|link|chmod|network)\b|the --(?:mount|chmod|link) option requires BuildKit",
        "Docker's old builder does not know what this Dockerfile uses: it wants BuildKit",
        "set DOCKER_BUILDKIT=1, or install docker-buildx; upgrade Docker to 23 or newer",
        "vllm-project/vllm#2708",
        "Error response from daemon: Dockerfile parse error line 10: Unknown flag: mount",
    ),
    Hint(
        "docker-resources",
        r"Range of CPUs is from|Requested CPUs are not available|Minimum memory limit allowed|Minimum memory(?:swap)? limit should|invalid size: '",
        "the container is to get more (or less) of CPU or memory than this host has or Docker allows",
        "correct `cpus` of the row, or memory_share of the board; nproc and free -h show what there is",
        "moby, daemon",
        "docker: Error response from daemon: Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available.",
    ),
    Hint(
        "docker-api-version",
        r"client version [\d.]{1,10} is too (?:new|old)",
        "the docker command (another client, as the compose plugin or an SDK, likewise) and the daemon are of versions that don't speak to each other",
        "upgrade the older of the two (docker version and docker compose version show them); min-api-version in daemon.json lets an older client in",
        "moby, API version negotiation",
        "Error response from daemon: client version 1.22 is too old. Minimum supported API version is 1.44",
    ),
    Hint(
        "container-name-taken",
        r"container name \"([^\"]{1,100})\" is already in use|name \"([^\"]{1,100})\" is in use: pod already exists",
        "a container (or pod) of that name is there already: it is left over of an earlier run, or belongs to another service of that name",
        "docker ps -a shows whose it is: docker rm -f it, then restart the service; or give this service another name",
        "Docker 26.1.5",
        'docker: Error response from daemon: Conflict. The container name "/vllm-qwq-32b" is already in use by container "b366".',
    ),
    Hint(
        "option-as-command",
        r"exec: \\*\"-{1,2}\w[^\"\n]{0,80}\": (?:executable file not found|stat |no such file)|crun: executable file `-{1,2}\w[^`\n]{0,80}` not found",
        "an option stands where the container's command is expected: the image has no entry point that would take it, or something before it"
        " swallowed the command",
        "put the command in front (vllm serve MODEL ..., or entrypoint), or use the engine's image whose ENTRYPOINT takes options (docker inspect"
        " IMAGE)",
        "vllm-project/vllm-omni#3834",
        'OCI runtime create failed: runc create failed: unable to start container process: exec: "--acme": executable file not found in $PATH:'
        " unknown",
    ),
    Hint(
        "command-not-in-image",
        r"(?:OCI runtime(?! create failed: unable to retrieve)|runc (?:create|run) failed|(?:start"
        r"|starting) container process)[^\n]{0,600}exec: \"((?!-|(?:/usr/bin/)?nvidia-smi\""
        r"|(?:\S{0,40}/)?npu-smi\")[^\"]{1,200})\": (?:executable file not found|stat [^\n]{1,200}: no such file)"
        r"|crun: executable file `(?!-)[^`]{1,100}` not found|failed to exec pid1: No such file",
        "the command is not in the container's file system: the image has none, it stands off the image's PATH or where its user may not go (/root),"
        " or the container engine's store lost files of it",
        "use an image of this engine: docker run --rm -it -u USER --entrypoint bash IMAGE shows what it has for that user (give the full path where"
        " it is off PATH); where no image starts any more fetch it anew",
        "runc; crun",
        'OCI runtime create failed: runc create failed: unable to start container process: exec: "vllm": executable file not found in $PATH: unknown.',
    ),
    Hint(
        "command-none",
        r"\bexec \[\] failed|[Nn]o command specified|no command or entrypoint provided",
        "the container has nothing to run: the image has no command of its own, and the row gives none",
        "use an image of this engine, or give the command in the row",
        "krallin/tini; moby",
        "[FATAL tini (7)] exec [] failed: No such file or directory",
    ),
    Hint(
        "host-program-missing",
        r"exec: \"((?!-)[^\"]{1,200})\": (?:executable file not found|stat [^\n]{1,200}: no such file)",
        "a program that the container engine needs is not installed on the host, or not on the engine's PATH",
        "install the one that the message names (runc, crun, newuidmap, iptables, docker-credential-...), or put its folder on the engine's PATH",
        "Go, os/exec",
        'ERROR: /usr/bin/nvidia-container-runtime: find runc path: exec: "runc": executable file not found in $PATH',
    ),
    Hint(
        "command-not-executable",
        r"exec: \"([^\"]{1,200})\": (?:stat [^\s:]{1,200}: )?permission denied|(?<!fork/)exec [^\s:]{1,200}: permission denied"
        r"|exec user process caused[^\n]{0,10}permission denied",
        "the command in the container may not be executed by its user",
        "check its mode and those of the folders above it (an image made for root, another user in the row), and whether its file system is mounted"
        " noexec; where no image starts (Docker's data moved): ausearch -m avc, restorecon -R its folder",
        "runc",
        'unable to start container process: exec: "/config/run": permission denied: unknown.',
    ),
    Hint(
        "init-oom",
        r"before it could write its pid: OOM|container init was OOM-killed",
        "the container's memory limit is too small even for its start",
        "raise overhead_bytes",
        "runc, libcontainer",
        "runc create failed: unable to start container process: container init was OOM-killed (memory limit too low?): unknown.",
    ),
    Hint(
        "session-keys",
        r"unable to (?:create|join) session key(?:ring)?: .{0,40}disk quota exceeded",
        "the kernel's quota of session keys is used up",
        "sysctl -w kernel.keys.maxkeys=2000",
        "runc#1091",
        "runc run failed: unable to start container process: error during container init: unable to join session keyring: unable to create session"
        " key: disk quota exceeded",
    ),
    Hint(
        "docker-iptables-kernel",
        r"(?:failed to start daemon|[Ee]rror starting daemon)(?![^\n]{0,900}(?:not found|initialize iptables|[Pp]ermission denied|must be root))"
        r"[^\n]{0,300}(?:iptables failed|Setup IP tables)|Chain '(?!DOCKER)\w{2,20}' does not exist"
        r"|nf_tables\): {1,3}RULE_\w{3,10} failed",
        "the host's iptables and its kernel don't fit: the kernel's modules for it are not loaded or of another kernel than runs, or nf_tables and"
        " legacy rules are mixed",
        "after a kernel update reboot; modprobe nf_tables nft_compat xt_MASQUERADE; else update-alternatives --set iptables /usr/sbin/iptables-legacy,"
        " then start Docker",
        "moby/moby#46400; docker-library/docker#467",
        'failed to start daemon: Error initializing network controller: error creating default "bridge" network: Failed to Setup IP tables: odd',
        sure=False,
    ),
    Hint(
        "docker-iptables",
        r"No chain/target/match by that name|unable to add .{0,60}iptables|(?:iptables failed:|failed to (?:create|add) NAT chain)"
        r"(?![^\n]{0,300}(?:[Ii]ptables not found|executable file not found|Module \w{1,20} not found|can't initialize iptables|Table does not exist))",
        "Docker's firewall rules are gone, most often because the host's firewall was reloaded or its modules are missing",
        "systemctl restart docker, then restart the service",
        "moby/libnetwork",
        "driver failed programming external connectivity: (iptables failed: iptables -t nat -A DOCKER -p tcp: iptables: No chain/target/match by"
        " that name.",
        sure=False,
    ),
    Hint(
        "threads-forbidden",
        r"(?:pthread_create failed|Thread creation failed)[^\n]{0,80}Operation not permitted",
        "the process may start no thread at all (not permitted, which is no limit): the container engine or its libseccomp is older than the image's C"
        " library and forbids clone3, or a seccomp profile of the site does",
        "upgrade Docker (20.10.10 or newer) or Podman and libseccomp on the host; to prove it start once with --security-opt seccomp=unconfined",
        "moby/moby, seccomp; abetlen/llama-cpp-python#450",
        "OpenBLAS blas_thread_init: pthread_create failed for thread 1 of 12: Operation not permitted",
    ),
    Hint(
        "numa-not-permitted",
        r"(?:set_mempolicy|get_mempolicy|mbind|migrate_pages|move_pages)[^\n]{0,40}Operation not permitted",
        "the process may not place its memory on NUMA nodes: Docker's filter of system calls forbids it to containers without SYS_NICE,"
        " or the host does",
        "add the right: --cap-add SYS_NICE, or leave the binding out (numa_bind in engine_args, numactl, env VLLM_CPU_OMP_THREADS_BIND)",
        "moby/moby, seccomp; vLLM, installation on CPUs",
        "get_mempolicy: Operation not permitted",
    ),
    Hint(
        "docker-unknown-option",
        r"(?:docker|podman|unknown): ?(?:unknown|unrecognized) (?:flag|option): ([\w-]{1,60})|^(?:docker: "
        r"|Error: )?unknown (?:shorthand )?flag: (?!'\w' in -)([^\n]{1,60})",
        "this version of the container engine does not know an option of the start script, or the daemon one of its unit",
        "upgrade it (Docker 28.2 or newer for CDI without settings); for the daemon correct its unit (systemctl cat docker)",
        "docker, command line",
        "unknown flag: --gpus",
    ),
    Hint(
        "container-network-gone",
        r"network \S{1,80} not found|[Nn]etwork(?: with name)? \S{1,80} already exists",
        "a network that a container names is not there any more, or is there already: it was removed (docker network prune, compose"
        " down) after the container was made, or two projects use one name",
        "docker network ls; docker rm -f the container and start the service anew, which makes it with the networks of now; a compose"
        " project: down, then up",
        "moby",
        "docker: Error response from daemon: failed to set up container networking: network 8f3b not found",
        sure=False,
    ),
    Hint(
        "address-of-container-taken",
        r"^(?:docker: )?Error response from daemon: Address already in use$",
        "an address that the container is to have in its network is taken by another container; without a port in the message the daemon speaks of"
        " IP addresses",
        "docker network inspect NETWORK shows who has it: give another fixed address, or keep fixed ones out of ip_range; then start again",
        "docker/compose#10926",
        "Error response from daemon: Address already in use",
        sure=False,
    ),
)
