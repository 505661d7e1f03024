"""Failure hints: CDI, the files by which devices are named to containers, and the tools and engines that read them."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

HINTS = (
    Hint(
        "nvidia-ctk-mode",
        r"invalid discovery mode: \w{1,20}",
        "nvidia-ctk does not make device files by the mode that NVIDIA's container tools are set to: `cdi` says how they are given to containers, not"
        " how they are found",
        'set mode = "auto" in /etc/nvidia-container-runtime/config.toml, or run nvidia-ctk cdi generate --mode=auto'
        " (NVIDIA_CTK_CDI_GENERATE_MODE=auto for its unit)",
        "NVIDIA/nvidia-container-toolkit#1376",
        'nvidia-ctk[7]: time="2025-10-23T10:22:21+08:00" level=error msg="invalid discovery mode: cdi"',
    ),
    Hint(
        "cdi-of-the-runtime",
        r"unresolvable CDI devices \S{0,80}runtime\.nvidia\.com/",
        "NVIDIA's runtime makes CDI devices of that name by itself when a container starts, and had none: it does not find the GPU, or does not take"
        " one as old",
        "nvidia-smi on the host must show the GPU; nvidia-ctk cdi generate, then device_access: cdi; or set"
        " nvidia-container-runtime.mode to legacy (nvidia-ctk config --in-place --set)",
        "VERT-sh/vertd#39",
        "OCI runtime create failed: failed to inject CDI devices: unresolvable CDI devices runtime.nvidia.com/gpu=7",
        sure=False,
    ),
    Hint(
        "cdi-newer-than-engine",
        r"json: unknown field [\\\"']{1,2}(?:additionalG[Ii]ds|intelRdt|annotations)",
        "the CDI file has fields of a newer version of CDI than this container engine reads: the NVIDIA container toolkit that wrote it is newer",
        "upgrade the engine (Podman 5), or install an older toolkit and run nvidia-ctk cdi generate again; the line names the field it does not know",
        "NVIDIA/nvidia-container-toolkit#1860, #1940",
        'time="2026-01-01T00:00:00Z" level=error msg="json: unknown field \\"additionalGids\\""',
    ),
    Hint(
        "cdi-hook-missing",
        r"(?:fork/exec|exec|stat) \"?(/\S{0,100}nvidia-(?:cdi-hook|ctk))\"?: no such file",
        "the CDI file names a hook of NVIDIA's tools that is not on this host: the tools were removed or lie in another folder, or are"
        " older than the file (the hook"
        " nvidia-cdi-hook came with 1.17)",
        "install or upgrade nvidia-container-toolkit (its base package brings the hook), then nvidia-ctk cdi generate (systemctl restart"
        " nvidia-cdi-refresh) and start"
        " again",
        "void-linux/void-packages#52507",
        "error running hook #0: fork/exec /usr/bin/nvidia-cdi-hook: no such file or directory",
        sure=False,
    ),
    Hint(
        "cdi-unresolvable",
        r"unresolvable CDI devices (?!runtime\.nvidia\.com/)([\w./:=-]{1,200})",
        "the container engine knows no such CDI device: its file is missing, old, in a folder that the engine does not read or that is"
        " closed to this user (without root), or the devices are wrong",
        "nvidia-ctk cdi list shows what there is, in /etc/cdi or /var/run/cdi (chmod 755; rootless Docker: cdi-spec-dirs in its daemon.json);"
        " systemctl restart nvidia-cdi-refresh (or nvidia-ctk cdi generate), and correct `devices`",
        "Docker 26.1.5; NVIDIA/nvidia-container-toolkit#1415",
        "docker: Error response from daemon: CDI device injection failed: unresolvable CDI devices nvidia.com/gpu=42.",
        late=True,  # why a file was not read is said before
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
        r"|cannot stat [`'](/[^`']{0,120}(?:nvidia|libcuda|libEGL|libnv)[^`']{0,80}\.so[\w.]{0,20})"
        r"|error stat'ing file [`']?(/[^`'\s]{0,120}(?:nvidia|libcuda|libnv)[^`'\s:]{0,80})",
        "the CDI file names a library of the driver that is not on this host any more: the driver was changed after the file was made, or the file"
        " is of another host",
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
        "podman-without-cdi",
        r"stat (?:[\w./-]{1,60}/)?gpus?=\S{1,60}: no such file",
        "podman takes the device's name for a path: it is no CDI name (nvidia.com/gpu=0), or this podman is too old for CDI (4.1) or builds an image",
        "write it as nvidia-ctk cdi list shows it, or upgrade podman",
        "NVIDIA/nvidia-container-toolkit#63",
        "Error: stat nvidia.com/gpu=0: no such file or directory",
    ),
    Hint(
        "docker-without-cdi",
        r"could not select device driver \"cdi\"|CDI (?:device )?injection is not (?:enabled|supported)|CDI is (?:not enabled|disabled)",
        "Docker has no CDI at hand: it is too old, the feature is switched off, or it started before the CDI file was made",
        "upgrade Docker (28.2 or newer has it on), or set features.cdi: true in /etc/docker/daemon.json; restart it once nvidia-ctk cdi"
        " list shows GPUs",
        "docs.docker.com, CDI devices; NixOS/nixpkgs#337873",
        'docker: Error response from daemon: could not select device driver "cdi" with capabilities: [].',
    ),
    Hint(
        "nvidia-spec-not-changed",
        r"could not apply required modification to OCI specification: (?:open|stat|failed to)[^\n]{0,200}nvidia[^\n]{0,200}no such file",
        "NVIDIA's runtime was to give the container a file or socket of the driver that is not there: the driver was upgraded without a reboot,"
        " nvidia-persistenced has ended, or the CDI file is old",
        "reboot after an upgrade of the driver; systemctl restart nvidia-persistenced; nvidia-ctk cdi generate (systemctl restart"
        " nvidia-cdi-refresh); nvidia-smi on the host must work",
        "NVIDIA/nvidia-container-toolkit",
        "OCI runtime create failed: could not apply required modification to OCI specification: open /run/nvidia-acme/socket: no such file or"
        " directory",
        sure=False,
    ),
    Hint(
        "cdi-generate-no-library",
        r"initialize NVML: ERROR_LIBRARY_NOT_FOUND",
        "nvidia-ctk finds no driver library (libnvidia-ml.so.1): the host has no driver, or keeps it where the loader does not look (NixOS, a driver"
        " container, a root of its own)",
        "nvidia-smi must work; ldconfig -p | grep nvidia-ml; else tell where: nvidia-ctk cdi generate --driver-root=/run/nvidia/driver (or"
        " --library-search-path=...)",
        "NVIDIA/nvidia-container-toolkit#118",
        'level=error msg="failed to generate CDI spec: failed to initialize NVML: ERROR_LIBRARY_NOT_FOUND"',
    ),
)
