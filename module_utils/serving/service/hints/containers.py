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
        "nvidia-cli-no-driver",
        r"nvidia-container-cli(?:\.real)?: initialization error: (?:load library failed: |cannot open shared object)"
        r"|initiali[sz]e NVML: ERROR_LIBRARY_NOT_FOUND",
        "NVIDIA's container tools find no driver of NVIDIA's: the host has none, it lies where they do not look, or the container engine sees"
        " another file system (Docker as a snap, Docker Desktop)",
        "nvidia-smi on the host must work, else install the driver (manage_driver: true) and run deploy.yml again; in place of a snap or Docker"
        " Desktop install Docker's own packages",
        "NVIDIA/libnvidia-container, src/nvc.c",
        "nvidia-container-cli: initialization error: load library failed: libnvidia-ml.so.1: cannot open shared object file: no such file or"
        " directory",
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
        "nvidia-cli-requirement",
        r"unsatisfied condition: ((?:cuda|driver|brand|arch)[^\s,\"]{0,40})",
        "the image asks for another driver than this host has (mostly a newer one), or for a kind of GPU that is not here: the condition says which",
        "upgrade the driver (driver_branch), or use an image for this driver and GPU (an older CUDA)",
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
        "the container asks for a GPU by a name that this host does not have",
        "nvidia-smi -L shows what there is (a slice of MIG is MIG-UUID with drivers since 470); correct `devices`",
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
        "set device_access: cdi, or no-cgroups = true in /etc/nvidia-container-runtime/config.toml for a rootless engine",
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
        "nvidia-cli-read-only",
        r"nvidia-container-cli(?:\.real)?: mount error: [^\n]{0,300}: read-only file system"
        r"|(?:application profiles|create(?:Container)? hook)[^\n]{0,300}: read-only file system",
        "NVIDIA's container tools can't write into the container what the driver needs: a folder there is mounted read-only, or the"
        " container's whole root is",
        "the message names the path: take a mount with `:ro` off it or off a folder above it (/etc, /usr, /run), let the root be"
        " writable, and upgrade nvidia-container-toolkit",
        "NVIDIA/nvidia-container-toolkit#2026",
        "nvidia-container-cli: mount error: file creation failed: /srv/acme/merged/usr/bin/nvidia-smi: read-only file system",
    ),
    Hint(
        "nvidia-cli-mount",
        r"nvidia-container-cli(?:\.real)?: mount error: ([^\n]{0,200}(?:file exists|file creation failed)(?![^\n]{0,300}read-only)[^\n]{0,80})",
        "NVIDIA's container tools can't mount the driver into this image: the image was saved with the driver's files in it, or tools older than the"
        " driver can't make what it has (sockets of persistenced)",
        "remove those files from the image or take the unchanged one, leave /run and /var/run out of `mounts`, or set device_access: cdi",
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
        "upgrade nvidia-container-toolkit and libnvidia-container, or set device_access: cdi; ls /proc/driver/nvidia/gpus shows the address",
        "NVIDIA/nvidia-docker#1316",
        "nvidia-container-cli: mount error: stat failed: /proc/driver/nvidia/gpus/c0de:00:00.0: no such file or directory: unknown",
        sure=False,
    ),
    Hint(
        "nvidia-cli-root",
        r"nvidia-container-cli(?:\.real)?: [\w: ]{0,40}change root failed",
        "NVIDIA's container tools look for the driver below a folder that is not there for them: a wrong `root`, or an engine without"
        " root, of a snap or"
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
        "the driver does not answer NVIDIA's container tools as it should: a GPU has failed, library and kernel module are of different"
        " versions, or the driver unloads between calls (no persistence) or has a fault of its own",
        "nvidia-smi on the host must work and show all GPUs; see dmesg for Xid lines; start nvidia-persistenced (nvidia-smi -pm 1), reboot;"
        " then another driver release (driver_branch), and NVIDIA's own nvidia-container-toolkit in"
        " place of a distribution's",
        "NVIDIA/libnvidia-container#204",
        "nvidia-container-cli: detection error: nvml error: unknown error: unknown",
        sure=False,
    ),
    Hint(
        "nvidia-cli-crashed",
        r"nvidia-container-cli': (?:double free|free\(\)|malloc|corrupted)",
        "NVIDIA's container tools crashed themselves, before the container ran",
        "install nvidia-container-toolkit and libnvidia-container1 anew, of one version; or set device_access: cdi",
        "NVIDIA/nvidia-docker#1281",
        "stderr: *** Error in `/usr/bin/nvidia-container-cli': double free or corruption (out): 0x00007fff7ae74f10",
    ),
    Hint(
        "nvidia-cli-old",
        r"nvidia-container-cli(?:\.real)?: [\w ]{1,40} error: stat failed: /(?:GeForce|Tesla|Quadro|NVIDIA|RTX|A\d|H\d)",
        "libnvidia-container takes this GPU's name for a path, as those do that are older than the GPU",
        "upgrade NVIDIA's container toolkit (libnvidia-container1, libnvidia-container-tools), then systemctl restart docker",
        "NVIDIA/nvidia-docker#957",
        "nvidia-container-cli: mount error: stat failed: /GeForce RTX 9080: no such file or directory",
    ),
    Hint(
        "nvidia-cli-capability",
        r"nvidia-container-cli(?:\.real)?: [\w ]{1,40} error: capability change failed",
        "NVIDIA's container tool may not take the rights that it needs: SELinux or another security module refuses, or the engine is"
        " rootless or runs in a"
        " container",
        "ausearch -m avc -ts recent shows SELinux's refusals; rootless: nvidia-ctk config --set nvidia-container-cli.no-cgroups=true --in-place; else"
        " device_access: cdi",
        "NVIDIA/libnvidia-container",
        "nvidia-container-cli: initialization error: capability change failed: operation not permitted",
        sure=False,
    ),
    Hint(
        "nvidia-cli-old-libraries",
        r"nvidia-container-cli(?:\.real)?: detection error: open failed: (\S{1,200}\.so[\w.]{0,40})",
        "the linker's cache names a library of the driver that is no longer there: files of an older driver were removed, or its packages for 32 bits are of"
        " another version",
        "ldconfig on the host, then ldconfig -p | grep nvidia: remove what is left of the other version; then a newer"
        " nvidia-container-toolkit, or device_access: cdi",
        "ublue-os/aurora#606; NVIDIA/libnvidia-container",
        "nvidia-container-cli: detection error: open failed: /usr/lib/libnvidia-acme.so.570.7: no such file or directory",
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
        "nvidia-cli-other",
        r"nvidia-container-cli(?:\.real)?: [\w ]{1,40} error",
        "NVIDIA's container tools could not give the GPU to the container",
        "nvidia-smi on the host must work; nvidia-container-cli -k -d /dev/tty info shows each step, or set device_access: cdi",
        "NVIDIA/libnvidia-container",
        "nvidia-container-cli: input error: nobody has seen this one",
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
        "GPUs were asked for with --gpus, and this host has no NVIDIA container runtime",
        "install nvidia-container-toolkit and restart Docker, or set device_access: cdi; drop GPU options where there is no GPU",
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
)
