"""What a host computes with, whichever kind of chip it is."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.serving.host.cpu import cpu_record
from ansible.module_utils.serving.host.gpus import gpu_record
from ansible.module_utils.serving.host.npus import npu_record

KINDS = {"cpu": cpu_record, "gpu": gpu_record, "npu": npu_record}


def chips(kind: str, root: str = "/") -> dict[str, Any]:
    """The record of a host's chips (RETURN of module accelerator_info)."""
    found: dict[str, Any] = KINDS[kind](root)
    return found
