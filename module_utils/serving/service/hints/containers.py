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
        r"error mounting \"([^\"]{0,200}(?:nvidia|libcuda)[^\"]{0,200})\" to rootfs|cannot stat [`'](/[^`']{0,120}(?:nvidia|libcuda|libEGL|libnv)[^`']{0,80})",
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
        "nvidia-container-cli: initialization error: load library failed: libnvidia-ml.so.1: cannot open shared object file: no such file or directory",
    ),
    Hint(
        "nvidia-cli-requirement",
        r"unsatisfied condition: ((?:cuda|driver|brand|arch)[^\s,\"]{0,40})",
        "the image asks for a newer driver than this host has",
        "upgrade the driver (accelerator.driver_branch) or use an image with an older CUDA",
        "NVIDIA/nvidia-docker, requirements of images",
        "nvidia-container-cli: requirement error: unsatisfied condition: cuda>=12.8, please update your driver to a newer version",
    ),
    Hint(
        "nvidia-cli-unknown-device",
        r"nvidia-container-cli(?:\.real)?: device error: (\d[\d:,.]{0,20}|(?:GPU|MIG)-[\w/-]{1,60}): (?:unknown|invalid) device",
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
        "NVIDIA's container tools can't give the devices by cgroup here, as in a rootless engine or a container in a container",
        "set accelerator.device_access: cdi, or no-cgroups = true in /etc/nvidia-container-runtime/config.toml for a rootless engine",
        "NVIDIA/nvidia-container-toolkit#85",
        "nvidia-container-cli: mount error: failed to add device rules: unable to find any existing device filters attached to the cgroup: bpf_prog_query",
    ),
    Hint(
        "nvidia-cli-ldconfig",
        r"nvidia-container-cli(?:\.real)?: ldcache error",
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
        "nvidia-cli-root",
        r"nvidia-container-cli(?:\.real)?: [\w: ]{0,40}change root failed",
        "NVIDIA's container tools look for the driver below a folder that is not there",
        "correct `root` in /etc/nvidia-container-runtime/config.toml: it is commented out unless the driver itself runs in a container",
        "NVIDIA/nvidia-container-toolkit#679",
        "nvidia-container-cli: initialization error: change root failed: no such file or directory: unknown.",
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
        "NVIDIA's hook failed, as it does in a rootless engine or one with user namespaces of its own",
        "set accelerator.device_access: cdi; else no-cgroups = true in /etc/nvidia-container-runtime/config.toml and its debug log",
        "NVIDIA/nvidia-container-runtime#85",
        "Error: error executing hook `/usr/bin/nvidia-container-toolkit` (exit code: 1): OCI runtime error",
        general=True,
    ),
    Hint(
        "podman-without-cdi",
        r"stat nvidia\.com/gpu=\S{1,60}: no such file",
        "this podman takes the CDI name for a path: it is too old for CDI (4.1), or was asked while it builds an image",
        "upgrade podman",
        "NVIDIA/nvidia-container-toolkit#63",
        "Error: stat nvidia.com/gpu=0: no such file or directory",
    ),
    Hint(
        "nvidia-hook-missing",
        r"nvidia-container-(?:runtime-hook|runtime|cli|toolkit)\"?: (?:executable file not found|no such file)|nvidia-ctk\"?: no such file",
        "NVIDIA's container tools are configured and not installed",
        "install nvidia-container-toolkit (deploy.yml --tags prepare), or remove it from /etc/docker/daemon.json",
        "NVIDIA/nvidia-container-toolkit, installation guide",
        'error running prestart hook #0: exec: "nvidia-container-runtime-hook": executable file not found in $PATH',
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
        r"could not select device driver .{0,40}with capabilities",
        "GPUs were asked for with --gpus, and this host has no NVIDIA container runtime",
        "set accelerator.device_access: cdi, or drop GPU options where there is no GPU",
        "Docker 26.1.5",
        'docker: Error response from daemon: could not select device driver "" with capabilities: [[gpu]].',
    ),
    Hint(
        "docker-unknown-runtime",
        r"[Uu]nknown (?:or invalid )?runtime (?:name|specified):? \"?([\w.-]{1,60})",
        "Docker knows no such runtime",
        "nvidia-ctk runtime configure --runtime=docker and a restart of Docker add nvidia's; or set accelerator.device_access: cdi",
        "moby, daemon/runtime_unix.go",
        "docker: Error response from daemon: unknown or invalid runtime name: nvidia.",
    ),
)
