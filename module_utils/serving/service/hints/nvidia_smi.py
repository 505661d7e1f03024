"""Failure hints: what nvidia-smi says of its own commands (slices, resets, settings)."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

HINTS = (
    Hint(
        "mig-not-root",
        r"(?:GPU|[Cc]ompute) instances?[^\n]{0,80}: Insufficient Permissions|MIG [Mm]ode[^\n]{0,80}Insufficient Permissions",
        "nvidia-smi may not see or change the GPU's slices (MIG): only root may, or who has the capability nodes below /dev/nvidia-caps",
        "run it as root (sudo); in a container that only reads give it NVIDIA_MIG_MONITOR_DEVICES: all",
        "Project-HAMi/HAMi#1044; NVIDIA, MIG user guide",
        "Failed to display compute instances: Insufficient Permissions",
    ),
    Hint(
        "gpu-not-free",
        r"(?i:in use by another client)|currently being used by one or more other processes|error resetting (?:all )?GPUs",
        "a GPU, or a slice of it, can't be reset or divided anew while something uses it: processes, a display, the fabric manager or a monitor (DCGM)",
        "stop the services (maintenance), nvidia-persistenced, dcgm exporters and the display; fuser -v /dev/nvidia* shows the rest; rmmod nvidia_drm;"
        " then again, or reboot",
        "NVIDIA/mig-parted#181; NVIDIA/DCGM#95",
        "GPU 00000000:0B:00.0: In use by another client",
    ),
)
