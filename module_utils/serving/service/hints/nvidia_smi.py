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
        r"(?i:in use by another (?:client|process))|NVMLError_InUse|currently being used by one or more other processes|error resetting (?:all )?GPUs",
        "a GPU, or a slice of it, can't be reset or divided anew while something uses it: processes, a display, the fabric manager or a monitor (DCGM)",
        "stop the services (maintenance), nvidia-persistenced, dcgm exporters and the display; fuser -v /dev/nvidia* shows the rest;"
        " nvidia-smi -pm 0, rmmod nvidia_drm;"
        " then again, or reboot",
        "NVIDIA/mig-parted#181; NVIDIA/DCGM#95",
        "GPU 00000000:0B:00.0: In use by another client",
    ),
    Hint(
        "nvidia-smi-not-root",
        r"Unable to (?:set|enable|disable|change|reset|update) (?!MIG)[\w ,'-]{1,60}(?:for GPU \S{1,40})?: (?:Insufficient Permissions"
        r"|No [Pp]ermission)|Changing [\w ]{1,40}requires root",
        "nvidia-smi may not change this setting of the GPU, which takes root on the host",
        "run it as root on the host (sudo); a container needs none of these settings from inside",
        "nvidia-smi",
        "Unable to set compute mode: Insufficient Permissions",
    ),
    Hint(
        "mig-not-here",
        r"(?:MIG [Mm]ode|GPU instances?)[^\n]{0,80}: Not Supported",
        "this GPU can't be divided into slices (MIG) here: it is no kind that can (A30, A100, H100 and newer of data centres, RTX PRO"
        " 6000), it is a virtual one, or the driver is too old for it",
        "nvidia-smi -q -d MIG shows N/A where it can't: take the whole GPU (`devices` without a slice); a newer driver where NVIDIA's"
        " MIG user guide lists the card; in a VM the host divides it",
        "NVIDIA, MIG user guide",
        "Unable to enable MIG Mode for GPU 00000000:0B:00.0: Not Supported",
    ),
    Hint(
        "mig-no-room",
        r"(?:GPU|[Cc]ompute|MIG)[^\n]{0,80}(?:instance|device)[^\n]{0,80}: Insufficient Resources",
        "the GPU has no room for a slice (MIG) of this size: slices that are there take it, or lie where the size asked for could begin",
        "nvidia-smi mig -lgi and -lgipp show what is there and where each size may begin: remove what is not used (-dci, then -dgi), and"
        " make the large ones first; all at once: mig-parted apply",
        "NVIDIA/mig-parted#29; NVIDIA, MIG user guide",
        "Failed to create GPU instances: Insufficient Resources",
    ),
    Hint(
        "gpu-reset-refused",
        r"GPU [Rr]eset couldn't run|[Rr]eset(?:ting)?[^\n]{0,60}(?:GPU|device)[^\n]{0,60}(?:not supported"
        r"|is (?:in use: )?(?:the )?primary GPU)|--gpu-reset[^\n]{0,80}primary GPU",
        "nvidia-smi does not reset this GPU: it shows the host's console or display (primary GPU), is linked to others by NVLink (all"
        " are reset together), is in a virtual machine, or is of a kind that has no reset",
        "stop the display and console on it; nvidia-smi -r without -i resets all that are linked; a VM: restart it; else reboot the host"
        " (power it off and on after a hang)",
        "nvidia-smi",
        "GPU Reset couldn't run because GPU 00000000:0B:00.0 is the primary GPU.",
        sure=False,
    ),
    Hint(
        "nvml-missing",
        r"couldn't find libnvidia-ml\.so|nvidia-smi: error while loading shared libraries"
        r"|(?<!load library failed: )libnvidia-ml\.so(?:\.1)?: cannot open shared object",
        "NVIDIA's library for asking the driver (libnvidia-ml) is not there: the driver is not installed or only half, or the container"
        " was not given the GPU with its `utility` part",
        "on the host: install the driver again as a whole (driver_branch), ldconfig -p | grep nvidia-ml; in a container: device_access"
        " and `devices` of the row, NVIDIA_DRIVER_CAPABILITIES with utility; WSL: /usr/lib/wsl/lib",
        "nvidia-smi",
        "NVIDIA-SMI couldn't find libnvidia-ml.so library in your system. Please make sure that the NVIDIA Display Driver is properly"
        " installed.",
        late=True,
    ),
    Hint(
        "gpu-of-another-driver",
        r"NVRM: GPU \S{1,40} is already bound to (\w[\w-]{0,30})",
        "another driver of the kernel has the GPU: nouveau or nova (NovaCore) where they are not switched off, or vfio-pci, which holds"
        " it for a virtual machine",
        "lspci -nnk -d 10de: names it: blacklist nouveau, nova_core and nova_drm in /etc/modprobe.d, make the initramfs anew and reboot;"
        " for vfio-pci take its id out of the kernel's options (vfio-pci.ids) or give the VM back its card",
        "beclab/Olares#3963",
        "NVRM: GPU 0000:0b:00.0 is already bound to acme-core.",
    ),
)
