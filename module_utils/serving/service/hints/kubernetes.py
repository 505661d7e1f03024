"""Failure hints: a cluster's own words around containers: kubelet, device plugin, operators."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

HINTS: tuple[Hint, ...] = (
    Hint(
        "sandbox-name-reserved",
        r"failed to reserve sandbox name|name \\*\"[^\"\\]{1,200}\\*\" is reserved for \\*\"\w{8,80}",
        "containerd keeps a sandbox (the frame of a pod) of an earlier start under the name that it needs again",
        "crictl pods shows it: crictl rmp -f ID; where containerd itself does not start, move its folder io.containerd.grpc.v1.cri aside, then"
        " restart containerd and the kubelet",
        "containerd/containerd#6095",
        'level=fatal msg="Failed to run CRI service" error="failed to recover state: failed to reserve sandbox name acme_0: name is taken"',
    ),
    Hint(
        "no-healthy-device",
        r"no healthy devices present|cannot allocate unhealthy devices",
        "the kubelet knows no healthy device of that kind; most often the pod started before the device plugin (as after a boot), or the plugin or"
        " the driver has failed",
        "delete the pod, so that it is placed anew; kubectl describe node shows what can be allocated; look at the device plugin's log and at"
        " nvidia-smi (npu-smi) on the host",
        "kubernetes/kubernetes#125579",
        "Allocate failed due to no healthy devices present; cannot allocate unhealthy devices acme.com/gpu, which is unexpected",
        sure=False,
    ),
    Hint(
        "driver-container-headers",
        r"Could not resolve Linux kernel version|Unable to install (?:the )?Linux kernel headers|Failed to (?:locate"
        r"|find) [^\n]{0,60}kernel headers for",
        "the driver's container finds no headers for the kernel that runs; most often the kernel is newer or older than the package sources have, or"
        " of another kind (fips, cloud, real time)",
        "install the driver on the host and switch the operator's off (driver.enabled: false), boot a kernel that has headers in the sources, or use"
        " a precompiled driver image",
        "NVIDIA/gpu-operator#457",
        "Could not resolve Linux kernel version",
        sure=False,
    ),
)
