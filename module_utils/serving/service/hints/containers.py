"""Failure hints: NVIDIA's container tools, each in its own words."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

HINTS = (
    Hint(
        "container-user",
        r"unable to find (?:user|group) \S{1,64}: no matching entries",
        "the image does not know the user or group that the container is to run as",
        "use an image whose own USER it knows (docker run --rm IMAGE getent passwd); by hand give the number instead of the name",
        "moby; podman",
        "Error: unable to find user acme: no matching entries in passwd file",
    ),
    Hint(
        "nvidia-driver-not-loaded",
        r"nvml error: driver not loaded|initiali[sz]e (?:nvml|NVML): Driver Not Loaded"
        r"|nvidia-container-cli(?:\.real)?: initialization error: [\w ]{0,40}driver not loaded",
        "the NVIDIA kernel module is not loaded on the host",
        "modprobe nvidia; after an update of the kernel or the driver reboot, and see dmesg if it does not load",
        "NVIDIA/nvidia-container-toolkit#260",
        "nvidia-container-cli: initialization error: nvml error: driver not loaded: unknown.",
    ),
    Hint(
        "nvml-not-loaded",
        r"could not load NVML library",
        "NVIDIA's management library is not where this process looks: no driver on the host, or a container that was given none of it",
        "nvidia-smi on the host must work; give the container the GPU (device_access, the nvidia runtime as its runtime)",
        "NVIDIA/go-nvml",
        "Failed to initialize NVML: could not load NVML library",
    ),
    Hint(
        "gpu-share-refused",
        r"device error: no-gpu-has-\w{1,20}-to-run",
        "a scheduler that shares GPUs between containers found none with enough free memory, and says so in NVIDIA_VISIBLE_DEVICES",
        "free memory of a GPU or ask for less; without such a scheduler remove NVIDIA_VISIBLE_DEVICES from the row's env",
        "NVIDIA/nvidia-container-toolkit#223",
        "nvidia-container-cli: device error: no-gpu-has-128MiB-to-run: unknown device: unknown",
    ),
    Hint(
        "nvidia-ctk-link",
        r"failed to check if link exists: unexpected link target|failed to create link \[[^\]]{1,300}\][^\n]{0,200}(?:file exists|invalid argument)",
        "NVIDIA's container tools don't make a link of the driver in this image, which has a file of that name or one that leads"
        " elsewhere (as to Mesa's libraries)",
        "upgrade nvidia-container-toolkit (1.17.1 and newer put theirs in its place; before 1.17.0 nothing was asked), then nvidia-ctk"
        " cdi generate; else remove that file from the image",
        "NVIDIA/nvidia-container-toolkit#772",
        'error running hook #1: level=error msg="failed to create link [libGLX_nvidia.so.5 /usr/lib/libGLX_indirect.so.0]: failed to'
        ' check if link exists: unexpected link target: libGLX_acme.so.0"',
    ),
    Hint(
        "nvidia-imex",
        r"error parsing IMEX info|unsupported IMEX channel value",
        "NVIDIA's container tools can't read which IMEX channels (memory shared between hosts over NVLink) the image or the row asks for",
        "upgrade nvidia-container-toolkit (1.17.0 and 1.17.1 took `all` of older images for a channel), or set NVIDIA_IMEX_CHANNELS to"
        " numbers, or to none, in the row's env",
        "pytorch/test-infra#5852",
        "nvidia-container-cli: error parsing IMEX info: unsupported IMEX channel value: some: unknown",
    ),
    Hint(
        "program-not-for-this-user",
        r"(?:^|\b(?:sh|bash|exec): )(?:\S{0,10}\d{1,4}: )?(?:exec: )?\"?(?:/\S{1,80}/)?(?:vllm|python3?)\"?: (?:[Pp]ermission denied|cannot execute)",
        "the container runs as a user who may not run the image's program: it lies in a folder of root (/root), or a platform gives each"
        " container a user of its own",
        "run it as root (OpenShift: the anyuid policy; the row's `user`), or take an image that is made for any user",
        "vllm-project/vllm#15461",
        "/bin/sh: 1: vllm: Permission denied",
        sure=False,
    ),
    Hint(
        "nvidia-hook-words",
        r"error (?:running|executing) (?:\w{1,20} )?hook[^\n]{0,200}level=error msg",
        "NVIDIA's hook could not prepare this container: the image has odd links or files where the driver's go, its root is read-only, or the tools"
        " are of another time than the CDI file or the driver",
        "the message names the step and the file; upgrade nvidia-container-toolkit, then nvidia-ctk cdi generate (systemctl restart"
        " nvidia-cdi-refresh); try another image",
        "NVIDIA/nvidia-container-toolkit",
        'error running createContainer hook #0: exit status 1, stdout: , stderr: time="2026-11-27T10:00:00Z" level=error msg="failed to frobnicate'
        ' acme"',
        general=True,
    ),
    Hint(
        "nvidia-hook-failed",
        r"error (?:executing|running) (?:prestart )?hook[^\n]{0,40}nvidia-container",
        "NVIDIA's hook failed; it always does in a rootless engine or one with user namespaces of its own, and where the driver answers"
        " too late or has no device nodes yet, as after a boot",
        "set device_access: cdi, or no-cgroups = true in /etc/nvidia-container-runtime/config.toml; nvidia-smi as root makes the nodes,"
        " and with -pm 1 keeps the driver awake;"
        " its debug log says more",
        "NVIDIA/nvidia-container-runtime#85",
        "Error: error executing hook `/usr/bin/nvidia-container-toolkit` (exit code: 1): OCI runtime error",
        general=True,
    ),
    Hint(
        "nvidia-hook-missing",
        r"nvidia-container-(?:runtime-hook|runtime|cli|toolkit)(?:\.exe|\.real)?\"?: (?:executable file not found|no such file)"
        r"|nvidia-ctk\"?: no such file"
        r"|inject NVIDIA hook: stat \S{1,160}: no such file",
        "NVIDIA's container tools are configured and not installed",
        "install nvidia-container-toolkit (deploy.yml --tags prepare), or remove it from /etc/docker/daemon.json",
        "NVIDIA/nvidia-container-toolkit, installation guide",
        'error running prestart hook #0: exec: "nvidia-container-runtime-hook": executable file not found in $PATH',
    ),
    Hint(
        "containerd-hook-template",
        r"containerd: template: oci-hook",
        "containerd's own hook program (nerdctl --gpus) takes what it hands to NVIDIA's tools for a template, and can't read it: their versions don't"
        " fit, or an argument is odd",
        "upgrade containerd and nerdctl, or give the GPU by CDI (device_access: cdi; nerdctl --device nvidia.com/gpu=0)",
        "containerd/nerdctl#4614",
        'error running createRuntime hook #0: exit status 1, stderr: containerd: template: oci-hook:1: unexpected "|" in command',
        sure=False,
    ),
    Hint(
        "nvidia-hook-other",
        r"No help topic for 'prestart'",
        "the program that is called as NVIDIA's hook is another one: packages of nvidia-container-toolkit before and after 1.6 are mixed, or the"
        " hook's file names a wrong program",
        "install nvidia-container-toolkit, libnvidia-container and nvidia-container-runtime of one release, or set device_access: cdi",
        "NVIDIA/nvidia-container-toolkit#14",
        "OCI runtime create failed: error running hook: exit status 3, stderr: level=error msg=No help topic for 'prestart'",
    ),
    Hint(
        "nvidia-tools-mixed",
        r"nvidia-container-cli(?:\.real)?(?: configure)?: (?:unrecognized|invalid) option",
        "NVIDIA's hook calls nvidia-container-cli with an option that it does not have: the packages of the container tools are of different releases",
        "install nvidia-container-toolkit, libnvidia-container-tools and libnvidia-container1 of one release, or set device_access: cdi",
        "NVIDIA/nvidia-container-runtime#26",
        "error running hook: exit status 1, stderr: nvidia-container-cli configure: unrecognized option '--acme'",
    ),
    Hint(
        "nvidia-hook-crashed",
        r"hook[^\n]{0,120}(?:SIGSEGV|SIGABRT|segmentation (?:violation|fault))",
        "a hook of the container tools crashed, most often because the driver's library and its kernel module (or the tools) are of different versions",
        "nvidia-smi on the host must work: reboot after a driver update, and upgrade nvidia-container-toolkit",
        "NVIDIA/nvidia-container-toolkit#520",
        "error during container init: error running prestart hook #0: exit status 2, stdout: , stderr: SIGSEGV: segmentation violation",
        sure=False,
    ),
    Hint(
        "nvidia-hook-direct",
        r"invoking the NVIDIA Container Runtime Hook directly",
        "GPUs were asked for with --gpus, and NVIDIA's tools are in another mode here (cdi, or csv on a Jetson), in which the hook may not be called",
        "set device_access: cdi for this host; a Jetson needs --runtime nvidia in place of --gpus",
        "NVIDIA/nvidia-container-toolkit, runtime hook",
        "invoking the NVIDIA Container Runtime Hook directly (e.g. specifying the docker --gpus flag) is not supported. Please use the NVIDIA"
        " Container Runtime",
    ),
    Hint(
        "gpus-flag-no-runtime",
        r"could not select device driver (?:\\?\"(?:nvidia)?\\?\" )?with capabilities",
        "GPUs were asked for with --gpus, and the daemon that was asked has no NVIDIA container runtime: it is not installed, Docker was not"
        " restarted since, is a snap, or another daemon is asked (Docker Desktop's)",
        "install nvidia-container-toolkit and restart Docker (docker-ce, not the snap), or set device_access: cdi; docker context ls shows which"
        " daemon is asked; drop GPU options where there is no GPU",
        "Docker 26.1.5",
        'docker: Error response from daemon: could not select device driver "" with capabilities: [[gpu]].',
    ),
    Hint(
        "docker-unknown-runtime",
        r"[Uu]nknown (?:or invalid )?runtime (?:name|specified):? \"?([\w.-]{1,60})|no runtime for \"[^\"]{1,60}\" is configured"
        r"|default OCI runtime \"nvidia[^\"]{0,60}\" not found",
        "the container engine knows no such runtime",
        "nvidia-ctk runtime configure (--runtime=docker or containerd) and a restart of it add nvidia's; podman's stand in containers.conf; or"
        " set device_access: cdi",
        "moby, daemon/runtime_unix.go",
        "docker: Error response from daemon: unknown or invalid runtime name: nvidia.",
    ),
    Hint(
        "lxc-hook",
        r"Failed to run mount hooks|\bforkstart \S{1,100} /\S{1,100}/containers",
        "LXC (LXD, Incus) did not start the container: its hook for nvidia.runtime failed (it calls"
        " nvidia-container-cli), or another hook or device of its settings did",
        "lxc info --show-log NAME (incus info) shows the line before; nvidia-smi and nvidia-container-cli info must work on the host,"
        " with libnvidia-container-tools of today; else nvidia.runtime false and the device nodes with the driver's libraries by hand",
        "lxc/incus#2810; canonical/lxd#11427",
        "lxc acme 20250405020851.656 ERROR    conf - ../src/lxc/conf.c:lxc_setup:3948 - Failed to run mount hooks",
        sure=False,
    ),
    Hint(
        "veth-refused",
        r"pair interfaces: operation not permitted",
        "the kernel does not let the engine make the container's network card (veth): it was updated and its modules are gone, or the engine runs in"
        " a container that may not",
        "reboot after an update of the kernel; in a container the engine needs to be privileged; else run the service with the host's network",
        "moby/moby#42107",
        "docker: Error response from daemon: failed to create endpoint acme on network bridge: failed to add the host (veth1) <=> sandbox (veth2)"
        " pair interfaces: operation not permitted.",
    ),
    Hint(
        "docker-subnet",
        r"Invalid Address SubPool|invalid subnet|fixed-cidr[^\n]{0,80}(?:not|outside|invalid)|Invalid address pool",
        "Docker's network can't be made with these addresses: fixed-cidr lies outside bip or stands without it (23.0.4 refuses that), or a pool is"
        " written wrongly",
        "correct bip, fixed-cidr and default-address-pools in /etc/docker/daemon.json (fixed-cidr within bip), or upgrade Docker",
        "moby/moby#45356",
        'failed to start daemon: Error creating default "bridge" network: failed to parse pool request for address space: Invalid Address SubPool',
    ),
    Hint(
        "firewalld-without-backend",
        r"is not a valid backend or is unavailable|COMMAND_FAILED: INVALID_IPV",
        "firewalld has no iptables to work with any more: an update of iptables or nftables changed or removed it, or firewalld was not restarted"
        " since",
        "dnf reinstall iptables-nft firewalld (or install iptables), restart firewalld, then Docker",
        "docker/for-linux#1541, #1525",
        "failed to start daemon: failed to create NAT chain DOCKER: COMMAND_FAILED: INVALID_IPV: 'ipv4' is not a valid backend or is unavailable",
    ),
    Hint(
        "engine-database-damaged",
        r"panic: (?:invalid page type: \d|page \d{1,12} already freed|freepages: failed to get all|assertion failed: Page expected)"
        r"|invalid freelist page|file size too small \d",
        "a database that the container engine keeps (bolt) is damaged, as after a loss of power or on a full disk",
        "stop it and move that file aside: containerd's is io.containerd.metadata.v1.bolt/meta.db in /var/lib/containerd, Docker's"
        " network/files/local-kv.db in /var/lib/docker; start it and pull images anew",
        "containerd/containerd#3347; etcd-io/bbolt",
        "panic: invalid page type: 4: 10",
    ),
    Hint(
        "container-not-ending",
        r"did not receive an exit event|is zombie and can not be killed|(?:could not|cannot) kill container[^\n]{0,120}(?:zombie|no exit event"
        r"|still running)|PID \d{1,8} is still running after",
        "a container's processes did not end although they were killed: one hangs in the kernel (a GPU's or NPU's driver, a network file system), or"
        " the engine lost sight of it",
        'dmesg (Xid lines, "blocked for more than") and ps -eo pid,stat,wchan,cmd show one in state D: mend the disk or driver, restart containerd;'
        " else reboot",
        "moby",
        "docker: Error response from daemon: cannot stop container: acme: tried to kill container, but did not receive an exit event.",
        sure=False,
    ),
    Hint(
        "engine-not-answering",
        r"rpc error: code = (?:Unavailable|DeadlineExceeded)|Error response from daemon: context deadline exceeded",
        "containerd, which starts containers for Docker, does not answer or has lost count: it was restarted or crashed, hangs behind a disk, or a"
        " shim of before still lives",
        "systemctl restart containerd docker; journalctl -u containerd says why it ended; then ps shows containerd-shim processes without a"
        " container: end them",
        "containerd; moby",
        "docker: Error response from daemon: rpc error: code = Unavailable desc = error reading from server: EOF",
        sure=False,
    ),
    Hint(
        "containerd-state",
        r"timed out waiting for bolt metadata lock|failed to recover state: (?!failed to reserve)(?![^\n]{0,80}reserved)"
        r"|failed to load plugin io\.containerd\S{1,60} error",
        "containerd can't read what it kept: another containerd has its files open, they are damaged, or a plugin of it does not fit this host",
        "ps -e | grep containerd must show one; journalctl -u containerd names the plugin or file; a damaged state: stop it, move"
        " /var/lib/containerd aside, start it, pull images anew",
        "containerd",
        "containerd[90]: timed out waiting for bolt metadata lock: timeout",
        sure=False,
    ),
    Hint(
        "docker-group-missing",
        r"Failed to resolve group docker|group docker not found",
        "the group docker, which may speak to Docker by its socket, is not on this host",
        "groupadd --system docker, then systemctl restart docker.socket docker",
        "moby, docker.socket",
        "systemd[1]: docker.socket: Failed to resolve group docker: No such process",
    ),
    Hint(
        "mount-not-shared",
        r"is mounted on \S{1,200} but it is not a shared(?: or slave)? mount",
        "a folder is to be passed on with mounts that come later, and the mount below it does not allow that",
        "mount --make-rshared on the mount that the line names, or leave rshared and rslave out of `mounts`",
        "moby, volume/mounts",
        "docker: Error response from daemon: path /srv/acme is mounted on /srv but it is not a shared mount.",
    ),
    Hint(
        "sysctl-not-allowed",
        r"sysctl \S{0,2}[\w.]{3,60}\S{0,2} (?:is )?not allowed in|sysctl[^\n]{0,80}is not in a separate kernel namespace",
        "a kernel setting (sysctl) is asked for a container that shares the namespace it belongs to with the host, so the container may not set it",
        "take it out of the container's options and set it on the host (sysctl -w, /etc/sysctl.d), or give the container a network or IPC of its own",
        "runc; containerd/containerd#5281",
        'docker: Error response from daemon: OCI runtime create failed: sysctl "net.core.somaxconn" not allowed in host network namespace: unknown.',
    ),
    Hint(
        "nvidia-smi-not-in-container",
        r"exec: \\?\"(?:/usr/bin/)?(?:nvidia-smi|npu-smi)\\?\": (?:executable file not found|stat )",
        "nvidia-smi (npu-smi) comes from the host, and this container was not given the GPUs (NPUs), or not that part of the driver",
        "--gpus all (--runtime nvidia, device_access: cdi), NVIDIA_DRIVER_CAPABILITIES with utility, Docker restarted after nvidia-ctk runtime"
        " configure; nvidia-smi must work on the host; NPUs: mount npu-smi and the driver's folders",
        "nvidia-docker#1668, #457, #1372",
        'docker: Error response from daemon: failed to create task: OCI runtime create failed: exec: "nvidia-smi": executable file not found in'
        " $PATH: unknown.",
    ),
    Hint(
        "compose-plugin-missing",
        r"unknown shorthand flag: '\w' in -\w",
        "docker was called as docker compose -f (or -d, -p), and its compose plugin is not installed",
        "install docker-compose-plugin (docker-compose-v2 of Ubuntu); docker compose version must answer",
        "docker/for-linux#1330; docker/compose#8986",
        "unknown shorthand flag: 'f' in -f",
    ),
)
