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
)
