"""Failure hints: AMD GPUs."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

HINTS = (
    Hint(
        "amd-device-closed",
        r"[Uu]nable to open /dev/kfd|/dev/(?:kfd|dri/renderD\d{1,4})[^\n]{0,40}[Pp]ermission denied|AMDSMI_STATUS_(?:FILE_ERROR|NO_PERM)",
        "this user may not open the device files of the AMD GPUs (/dev/kfd, /dev/dri/renderD...), or the container was given only some of them",
        "give the container /dev/kfd and /dev/dri, and the user the groups that own them (render and video, by the host's numbers: ls"
        " -ln /dev/kfd /dev/dri)",
        "lemonade-sdk/vllm-rocm#13",
        "Unable to open /dev/kfd read-write: Permission denied",
        sure=False,
    ),
    Hint(
        "amd-none-visible",
        r"No HIP GPUs are available|Could not initialize Tensile host: No devices found|hsa_init failed|ROCk module is NOT loaded",
        "the engine sees no AMD GPU: its user may not open /dev/kfd (groups render and video), the container was not given it, or the"
        " module amdgpu is not loaded",
        "rocminfo must list it where the engine runs: lsmod | grep amdgpu; devices /dev/kfd and /dev/dri for the container, and its user"
        " in the groups that own them, by the host's numbers (ls -ln /dev/kfd); no HIP_VISIBLE_DEVICES in env",
        "kyuz0/amd-strix-halo-vllm-toolboxes#6; ROCm",
        "RuntimeError: No HIP GPUs are available",
        late=True,
    ),
)
