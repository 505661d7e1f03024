"""Failure hints: NVIDIA's container tools and CDI, each in its own words."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

HINTS = (
    # CDI and NVIDIA's container tools.
    Hint(
        "cdi-unresolvable",
        r"unresolvable CDI devices ([\w./:=-]{1,200})",
        "the container engine knows no such CDI device: the CDI file is missing, old, or the row's devices are wrong",
        "nvidia-ctk cdi list shows what there is; systemctl restart nvidia-cdi-refresh (or nvidia-ctk cdi generate), and correct `devices`",
        "Docker 26.1.5; NVIDIA/nvidia-container-toolkit#1415",
        "docker: Error response from daemon: CDI device injection failed: unresolvable CDI devices nvidia.com/gpu=42.",
    ),
    Hint(
        "cdi-stale-node",
        r"failed to stat CDI host device \"?([^\":]{1,200})",
        "the CDI file names a device node that is not on this host any more",
        "systemctl restart nvidia-cdi-refresh (or nvidia-ctk cdi generate); nvidia-smi on the host must show the card",
        "containerd, pkg/cdi",
        'docker: Error response from daemon: CDI device injection failed: failed to inject devices: failed to stat CDI host device "/dev/nvidia3": no'
        " such file or directory",
    ),
    Hint(
        "cdi-stale-library",
        r"error mounting \"([^\"]{0,200}(?:libnvidia|libcuda|libnv)[^\"]{0,200})\" to rootfs[^\n]{0,300}[Nn]o such file"
        r"|cannot stat [`'](/[^`']{0,120}(?:nvidia|libcuda|libEGL|libnv)[^`']{0,80})",
        "the CDI file names a library of the driver that is not on this host any more: the driver was changed after the file was made",
        "systemctl restart nvidia-cdi-refresh (or nvidia-ctk cdi generate), then restart the service",
        "runc; NVIDIA/nvidia-container-toolkit#452",
        'runc create failed: unable to start container process: error mounting "/usr/lib/x86_64-linux-gnu/libcuda.so.550.54" to rootfs at "/usr/lib":'
        " no such file",
    ),
    Hint(
        "cdi-spec-invalid",
        r"(?:failed to (?:load|read|parse|validate)|invalid) CDI [Ss]pec",
        "a CDI file can't be read",
        "look at the file that the message names below /etc/cdi or /var/run/cdi, and make it anew with nvidia-ctk cdi generate",
        "containerd, pkg/cdi",
        "Error: setting up CDI devices: failed to parse CDI Spec /etc/cdi/nvidia.yaml: yaml: line 3: did not find expected key",
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
        "nvidia-cli-no-driver",
        r"nvidia-container-cli(?:\.real)?: initialization error: (?:load library failed: |cannot open shared object)"
        r"|initiali[sz]e NVML: (?:ERROR_LIBRARY_NOT_FOUND|could not load NVML library)",
        "the host has no NVIDIA driver, or not where NVIDIA's container tools look",
        "nvidia-smi on the host must work; install the driver (manage_driver: true), then run deploy.yml again",
        "NVIDIA/libnvidia-container, src/nvc.c",
        "nvidia-container-cli: initialization error: load library failed: libnvidia-ml.so.1: cannot open shared object file: no such file or"
        " directory",
    ),
    Hint(
        "nvidia-cli-requirement",
        r"unsatisfied condition: ((?:cuda|driver|brand|arch)[^\s,\"]{0,40})",
        "the image asks for another driver than this host has (mostly a newer one), or for a kind of GPU that is not here: the condition says which",
        "upgrade the driver (accelerator.driver_branch), or use an image for this driver and GPU (an older CUDA)",
        "NVIDIA/nvidia-docker, requirements of images",
        "nvidia-container-cli: requirement error: unsatisfied condition: cuda>=12.8, please update your driver to a newer version",
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
        "nvidia-cli-unknown-device",
        r"nvidia-container-cli(?:\.real)?: device error: (?!no-gpu-has)([\w:,./-]{1,80}): (?:unknown|invalid) device",
        "the container asks for a GPU that this host does not have",
        "nvidia-smi -L shows what there is; correct `devices`",
        "NVIDIA/libnvidia-container, src/cli/common.c",
        "nvidia-container-cli: device error: 7: unknown device: unknown.",
    ),
    Hint(
        "nvidia-cli-slow-driver",
        r"nvidia-container-cli(?:\.real)?: [\w: ]{0,40}(?:driver rpc error|driver error): [\w ]{0,20}timed out",
        "the driver did not answer NVIDIA's container tools in time",
        "switch persistence mode on (nvidia-smi -pm 1); if nvidia-smi hangs, see dmesg for Xid lines and reboot",
        "NVIDIA/nvidia-docker#628",
        "nvidia-container-cli: initialization error: driver rpc error: timed out",
    ),
    Hint(
        "nvidia-cli-cgroup",
        r"nvidia-container-cli(?:\.real)?: (?:container|mount) error: [^\n]{0,60}(?:cgroup|bpf_prog_query|device rules)",
        "NVIDIA's container tools can't give the devices by cgroup here: a rootless engine, a container in a container, or tools older than this"
        " host's cgroups",
        "set accelerator.device_access: cdi, or no-cgroups = true in /etc/nvidia-container-runtime/config.toml for a rootless engine",
        "NVIDIA/nvidia-container-toolkit#85",
        "nvidia-container-cli: mount error: failed to add device rules: unable to find any existing device filters attached to the cgroup:"
        " bpf_prog_query",
    ),
    Hint(
        "nvidia-cli-ldconfig",
        r"nvidia-container-cli(?:\.real)?: ldcache error(?!: process \S{1,80} terminated with signal)",
        "NVIDIA's container tools can't run the host's ldconfig",
        "correct `ldconfig` in /etc/nvidia-container-runtime/config.toml (@/sbin/ldconfig.real on Ubuntu, @/sbin/ldconfig elsewhere)",
        "NVIDIA/nvidia-docker#614",
        "nvidia-container-cli: ldcache error: open failed: /sbin/ldconfig.real: no such file or directory",
    ),
    Hint(
        "nvidia-cli-mount",
        r"nvidia-container-cli(?:\.real)?: mount error: ([^\n]{0,200}(?:file exists|file creation failed)[^\n]{0,80})",
        "NVIDIA's container tools can't mount the driver into this image; most often the image was saved with the driver's files in it",
        "remove those files from the image or take the unchanged one, or set accelerator.device_access: cdi",
        "NVIDIA/nvidia-docker#1551",
        "nvidia-container-cli: mount error: file creation failed: /var/lib/docker/overlay2/x/merged/usr/lib/libnvidia-ml.so.1: file exists",
    ),
    Hint(
        "nvidia-cli-permission",
        r"nvidia-container-cli(?:\.real)?: initialization error: nvml error: insufficient permissions",
        "the container engine's user may not use the GPU's device nodes",
        "ls -l /dev/nvidia* must show them readable and writable for it (0666 is usual)",
        "NVIDIA/nvidia-container-toolkit#171",
        "nvidia-container-cli: initialization error: nvml error: insufficient permissions: unknown",
    ),
    Hint(
        "nvidia-cli-driver-changed",
        r"mount operation failed: \S{0,300}/proc/driver/nvidia\S{0,80}: no such file",
        "the driver was changed while the container engine ran, which still has what the one before showed below /proc/driver/nvidia",
        "systemctl restart docker (or containerd), then start the service again; a reboot does it too",
        "NVIDIA/nvidia-container-toolkit#169",
        "mount operation failed: /var/lib/docker/x/merged/proc/driver/nvidia/params: no such file or directory: unknown",
    ),
    Hint(
        "nvidia-cli-wsl",
        r"WSL environment detected but no adapters were found",
        "Windows shows this WSL no GPU; most often its driver for Windows is missing or too old, or WSL 1 is used",
        "nvidia-smi must work in WSL itself: install NVIDIA's driver for Windows (none in WSL), wsl --update, wsl --shutdown",
        "NVIDIA/nvidia-container-toolkit#157",
        "nvidia-container-cli: initialization error: WSL environment detected but no adapters were found: unknown.",
    ),
    Hint(
        "nvidia-cli-pci-address",
        r"mount error: stat failed: /proc/driver/nvidia/gpus/[\w:.]{4,40}: no such file",
        "NVIDIA's container tools look for the GPU below another PCI address than the driver shows; most often they are older than the driver or"
        " cut a long PCI domain (some clouds)",
        "upgrade nvidia-container-toolkit and libnvidia-container, or set accelerator.device_access: cdi; ls /proc/driver/nvidia/gpus shows the address",
        "NVIDIA/nvidia-docker#1316",
        "nvidia-container-cli: mount error: stat failed: /proc/driver/nvidia/gpus/c0de:00:00.0: no such file or directory: unknown",
        sure=False,
    ),
    Hint(
        "nvidia-cli-root",
        r"nvidia-container-cli(?:\.real)?: [\w: ]{0,40}change root failed",
        "NVIDIA's container tools look for the driver below a folder that is not there for them: a wrong `root`, or an engine without root, of a snap or"
        " in a virtual machine, which sees other files",
        "correct `root` in /etc/nvidia-container-runtime/config.toml: it is commented out unless the driver itself runs in a container",
        "NVIDIA/nvidia-container-toolkit#679",
        "nvidia-container-cli: initialization error: change root failed: no such file or directory: unknown.",
        sure=False,
    ),
    Hint(
        "nvidia-cli-driver-state",
        r"nvidia-container-cli(?:\.real)?: (?:initialization|detection) error: (?:nvml|cuda|driver|driver rpc) error: (?:unknown|initialization"
        r"|internal|gpu (?:is )?lost|failed to process"
        r" request|not"
        r" ready)",
        "the driver does not answer NVIDIA's container tools as it should: a GPU has failed, or library and kernel module are of different versions",
        "nvidia-smi on the host must work and show all GPUs; see dmesg for Xid lines, then reboot",
        "NVIDIA/libnvidia-container#204",
        "nvidia-container-cli: detection error: nvml error: unknown error: unknown",
        sure=False,
    ),
    Hint(
        "nvidia-cli-other",
        r"nvidia-container-cli(?:\.real)?: [\w ]{1,40} error",
        "NVIDIA's container tools could not give the GPU to the container",
        "nvidia-smi on the host must work; nvidia-container-cli -k -d /dev/tty info shows each step, or set accelerator.device_access: cdi",
        "NVIDIA/libnvidia-container",
        "nvidia-container-cli: input error: nobody has seen this one",
        general=True,
    ),
    Hint(
        "nvidia-hook-failed",
        r"error (?:executing|running) (?:prestart )?hook[^\n]{0,40}nvidia-container",
        "NVIDIA's hook failed; it always does in a rootless engine or one with user namespaces of its own",
        "set accelerator.device_access: cdi; else no-cgroups = true in /etc/nvidia-container-runtime/config.toml and its debug log",
        "NVIDIA/nvidia-container-runtime#85",
        "Error: error executing hook `/usr/bin/nvidia-container-toolkit` (exit code: 1): OCI runtime error",
        general=True,
    ),
    Hint(
        "podman-without-cdi",
        r"stat (?:[\w./-]{1,60}/)?gpus?=\S{1,60}: no such file",
        "podman takes the device's name for a path: it is no CDI name (nvidia.com/gpu=0), or this podman is too old for CDI (4.1) or builds an image",
        "write it as nvidia-ctk cdi list shows it, or upgrade podman",
        "NVIDIA/nvidia-container-toolkit#63",
        "Error: stat nvidia.com/gpu=0: no such file or directory",
    ),
    Hint(
        "nvidia-hook-missing",
        r"nvidia-container-(?:runtime-hook|runtime|cli|toolkit)(?:\.exe|\.real)?\"?: (?:executable file not found|no such file)|nvidia-ctk\"?: no such file"
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
        "upgrade containerd and nerdctl, or give the GPU by CDI (accelerator.device_access: cdi; nerdctl --device nvidia.com/gpu=0)",
        "containerd/nerdctl#4614",
        'error running createRuntime hook #0: exit status 1, stderr: containerd: template: oci-hook:1: unexpected "|" in command',
        sure=False,
    ),
    Hint(
        "nvidia-hook-other",
        r"No help topic for 'prestart'",
        "the program that is called as NVIDIA's hook is another one: packages of nvidia-container-toolkit before and after 1.6 are mixed",
        "install nvidia-container-toolkit, libnvidia-container and nvidia-container-runtime of one release, or set accelerator.device_access: cdi",
        "NVIDIA/nvidia-container-toolkit#14",
        "OCI runtime create failed: error running hook: exit status 3, stderr: level=error msg=No help topic for 'prestart'",
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
        "set accelerator.device_access: cdi for this host; a Jetson needs --runtime nvidia in place of --gpus",
        "NVIDIA/nvidia-container-toolkit, runtime hook",
        "invoking the NVIDIA Container Runtime Hook directly (e.g. specifying the docker --gpus flag) is not supported. Please use the NVIDIA"
        " Container Runtime",
    ),
    Hint(
        "docker-without-cdi",
        r"could not select device driver \"cdi\"|CDI (?:device )?injection is not (?:enabled|supported)|CDI is (?:not enabled|disabled)",
        "this Docker does not do CDI: it is too old, or the feature is switched off",
        "upgrade Docker (28.2 or newer has it on), or set features.cdi: true in /etc/docker/daemon.json and restart Docker",
        "docs.docker.com, CDI devices; NixOS/nixpkgs#337873",
        'docker: Error response from daemon: could not select device driver "cdi" with capabilities: [].',
    ),
    Hint(
        "gpus-flag-no-runtime",
        r"could not select device driver (?:\\?\"(?:nvidia)?\\?\" )?with capabilities",
        "GPUs were asked for with --gpus, and this host has no NVIDIA container runtime",
        "install nvidia-container-toolkit and restart Docker, or set accelerator.device_access: cdi; drop GPU options where there is no GPU",
        "Docker 26.1.5",
        'docker: Error response from daemon: could not select device driver "" with capabilities: [[gpu]].',
    ),
    Hint(
        "docker-unknown-runtime",
        r"[Uu]nknown (?:or invalid )?runtime (?:name|specified):? \"?([\w.-]{1,60})|no runtime for \"[^\"]{1,60}\" is configured"
        r"|default OCI runtime \"nvidia[^\"]{0,60}\" not found",
        "the container engine knows no such runtime",
        "nvidia-ctk runtime configure (--runtime=docker or containerd) and a restart of it add nvidia's; podman's stand in containers.conf; or"
        " set accelerator.device_access: cdi",
        "moby, daemon/runtime_unix.go",
        "docker: Error response from daemon: unknown or invalid runtime name: nvidia.",
    ),
    Hint(
        "crun-too-old",
        r"crun: unknown version specified",
        "crun is older than this podman needs, or another crun than podman's own is found first",
        "upgrade crun to the release that podman asks for, or name the right one in containers.conf ([engine.runtimes])",
        "containers/crun, libcrun",
        "Error: OCI runtime error: crun: unknown version specified",
    ),
    Hint(
        "oci-apparmor",
        r"(?i:apparmor)[^\n]{0,120}(?:fail|could not|unable|not loaded|no such file)|unable to apply apparmor profile",
        "the container's AppArmor profile can't be loaded",
        "install apparmor (apparmor_parser) and restart the container engine, or switch AppArmor off for it",
        "moby, daemon/apparmor_default.go",
        "runc create failed: unable to start container process: unable to apply apparmor profile: apparmor failed to apply profile: no"
        " such file or directory",
        sure=False,
    ),
    Hint(
        "selinux-label",
        r"/attr/(?:keycreate|exec)\b|unable to process security attribute",
        "SELinux refuses the container's label: the loaded policy does not know it, or the label does not belong to containers",
        "install container-selinux, or correct label options (--security-opt label=type:...); ausearch -m avc,selinux_err shows it",
        "containers/crun, linux.c",
        "Error: OCI runtime error: crun: write to `/proc/self/attr/keycreate`: Invalid argument",
        sure=False,
    ),
    Hint(
        "store-xattr",
        r"failed to (?:copy|set) xattrs?\b",
        "the file system below the engine's store or volumes keeps no extended attributes (NFS, some overlays)",
        "put the engine's data-root on a local ext4 or xfs",
        "moby, containerd/continuity",
        "docker: Error response from daemon: failed to copy xattrs: operation not supported",
    ),
    Hint(
        "podman-conmon",
        r"no logs from conmon|conmon bytes|reading container \(probably exited\) json message|conmon (?:failed|exited prematurely|died)",
        "podman's monitor (conmon) or the runtime behind it ended before the container was made",
        "journalctl -t conmon and podman --log-level=debug say why; upgrade conmon, crun and podman together; look at memory and process limits",
        "containers/podman#1430",
        "Error: unable to start container: container create failed (no logs from conmon): EOF",
        sure=False,
    ),
    Hint(
        "kernel-namespace",
        r"namespace \{\\?\"\w{1,12}\\?\" [^}]{0,40}\} does not exist",
        "the kernel that runs has not the kind of namespace that the container is to get: it is old, built without it, or another one than is installed",
        "uname -r and /proc/1/ns show what there is; boot the distribution's own kernel",
        "docker/for-linux#1198",
        'OCI runtime create failed: namespace {"cgroup" ""} does not exist: unknown.',
        sure=False,
    ),
    Hint(
        "cni-none",
        r"failed to create CNI plugin: no network config found|needs CNI plugin",
        "the container engine has no network of its own (CNI): no configuration for it, or its plugins are not installed",
        "install containernetworking-plugins (below /opt/cni/bin) and a configuration in /etc/cni/net.d",
        "containerd/containerd; containerd/nerdctl#236",
        'level=fatal msg="Failed to run CRI service" error="failed to create CNI plugin: no network config found in /etc/cni/net.d"',
    ),
    Hint(
        "cgroup-not-mounted",
        r"cannot find cgroup mount destination|cgroup mountpoint does not exist|mountpoint for (?:\w{1,20} )?(?:cgroup )?not found"
        r"|cgroup isn't mounted|mounting \\?\"cgroup\\?\" to rootfs[^\n]{0,300}no such file",
        "the host has not mounted the cgroups that this container engine wants: no systemd, cgroups of version 2 under an old engine, or a"
        " container around it",
        "upgrade the container engine (Docker 20.10 or newer for version 2), start systemd, or mount cgroups (cgroupfs-mount); mount | grep"
        " cgroup shows them",
        "moby; containerd/cgroups",
        "Error response from daemon: cgroups: cannot find cgroup mount destination: unknown",
    ),
    Hint(
        "cgroup-parent",
        r"cgroup-parent for systemd c\w{0,2}group should be a valid slice",
        "the container is to go below a cgroup whose name does not fit the engine's cgroup driver (systemd wants NAME.slice)",
        "correct cgroup-parent, or set exec-opts native.cgroupdriver=cgroupfs in /etc/docker/daemon.json and restart Docker",
        "moby, daemon_unix.go",
        'Error response from daemon: cgroup-parent for systemd cgroup should be a valid slice named as "xxx.slice"',
    ),
    Hint(
        "cdi-hook-failed",
        r"error executing hook `[^`]{0,120}nvidia-(?:cdi-hook|ctk)`",
        "a hook that the CDI file names failed: the file is older than the driver or the tools, or the hook's program does not run here",
        "nvidia-ctk cdi generate (or systemctl restart nvidia-cdi-refresh), then start it again; the hook run by hand says more",
        "NVIDIA/nvidia-container-toolkit, CDI",
        "Error: OCI runtime error: crun: error executing hook `/usr/bin/nvidia-cdi-hook` (exit code: 1)",
        sure=False,
    ),
    Hint(
        "ascend-docker-runtime",
        r"start prestart-hook[^\n]{0,400}fail|failed to mount src: \S{1,120}",
        "Ascend's docker runtime could not put the NPU's files into the container: one is missing on the host, or the image has something else in"
        " its place",
        "ls -l the path that the message names, on the host and in the image; or set accelerator.device_access: nodes, with `device_nodes` and"
        " `mounts` one by one",
        "Ascend docker runtime",
        "Error response from daemon: error running prestart hook #0: stderr: failed to mount src: /usr/local/bin/npu-smi.failed to mount dev.",
    ),
)
