"""Failure hints: the numbers (Xid) by which NVIDIA's driver reports what happened to a GPU in the kernel's log."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

HINTS: tuple[Hint, ...] = (
    Hint(
        "gpu-xid-memory",
        r"NVRM: Xid [^\n]{0,60}: (?:48|57|58|63|64|92|94|95|140|156|157|160|161|171|172|173)\b",
        "hardware: the GPU's memory has errors (Xid)",
        "see nvidia-smi -q -d ECC,ROW_REMAPPER, reset the GPU or reboot; 63 and 94 need no more than that; replace it if remapping failed (64,"
        " Remapping Failure Occurred: Yes) or 48, 95 come back",
        "docs.nvidia.com, Xid errors",
        "kernel: NVRM: Xid (PCI:0000:0b:00): 94, pid=11431, name=python3, Contained ECC error",
    ),
    Hint(
        "gpu-xid-link",
        r"NVRM: Xid [^\n]{0,60}: (?:74|136|137|144|145|146|147|148|149|150|155)\b|caused by previous Xid (?:74|14[4-9]|150)\b",
        "hardware: an NVLink of the GPU failed (Xid)",
        "see nvidia-smi nvlink -e, restart nvidia-fabricmanager, reset the GPUs or reboot; replace if it comes back",
        "docs.nvidia.com, Xid errors",
        "kernel: NVRM: Xid (PCI:0000:dc:00): 145, pid=1818990, name=python3, NVLink RLW error",
    ),
    Hint(
        "gpu-xid-firmware",
        r"NVRM: Xid [^\n]{0,60}: (?:38|61|62|119|120|122|123|158|168|169)\b|waiting for RPC response from GPU\d{1,3} GSP|_kgspLogXid119|GSP Timeout",
        "the GPU's firmware (GSP or another controller in it) failed: it hangs, or the kernel modules are of the wrong kind (newest GPUs want the"
        " open ones)",
        "end what runs on it, then nvidia-smi --gpu-reset -i N, or reboot (a power cycle where that does not help); if it comes back upgrade the"
        " driver (its open modules), or switch GSP off (NVreg_EnableGpuFirmware=0) where the driver allows it",
        "docs.nvidia.com, Xid errors",
        "kernel: NVRM: Xid (PCI:0000:0b:00): 119, pid=11431, name=x, Timeout after 45s of waiting for RPC response from GPU3 GSP!",
    ),
    Hint(
        "gpu-xid-program",
        r"NVRM: Xid [^\n]{0,60}: (?:12|13|31|32|43|65|68|69|70|71|72|73|75|76|77|82|83|84|85|86|88|96|97|98)\b",
        "the GPU stopped a program's work (Xid): a kernel of the engine used memory or an instruction that it may not, or, more rarely, driver or card"
        " is at fault",
        "look at the engine's own log of that time; another release, VLLM_USE_FLASHINFER_SAMPLER: 0 or another attention_backend; a newer driver; if it"
        " follows one card: dcgmi diag -r 3",
        "docs.nvidia.com, Xid errors",
        "NVRM: Xid (PCI:0000:0b:00): 31, pid=7, name=python3, Ch 00000008, intr 00000000. MMU Fault: ENGINE GRAPHICS faulted @ 0x7",
        sure=False,
        late=True,
    ),
    Hint(
        "gpu-xid-start",
        r"NVRM: Xid [^\n]{0,60}: (?:54|143)\b",
        "a GPU does not start, or misses its power cable (Xid): the card, its firmware, power or seat is at fault",
        "power the host off and on; check power and seat; a newer driver and firmware; replace the card if it comes back",
        "docs.nvidia.com, Xid errors",
        "NVRM: Xid (PCI:0000:9b:00): 143, pid='<unknown>', name=<unknown>, GPU Initialization Error",
        sure=False,
    ),
    Hint(
        "gpu-xid-hang",
        r"NVRM: Xid [^\n]{0,60}: (?:8|44|46|109)\b",
        "the GPU did not finish or switch its work in time (Xid): a kernel hangs, the link to the host stalls, or the driver's firmware hangs",
        "look for an earlier Xid in dmesg; end what runs on it and reset the GPU (nvidia-smi --gpu-reset -i N) or reboot; a newer driver"
        " if it comes back",
        "docs.nvidia.com, Xid errors",
        "NVRM: Xid (PCI:0000:0b:00): 109, pid=7, name=python3, Ch 00000008, errorString CTX SWITCH TIMEOUT, Info 0x5",
        sure=False,
        late=True,
    ),
    Hint(
        "gpu-xid-cleanup",
        r"NVRM: Xid [^\n]{0,60}: 45\b",
        "the driver ended what ran on the GPU (Xid 45): an earlier error, which counts, or the program was ended itself",
        "look for another Xid just before in dmesg, and at the engine's own log; alone it is no fault of the card",
        "docs.nvidia.com, Xid errors",
        "NVRM: Xid (PCI:0000:0b:00): 45, pid=7, name=python3, Ch 00000008",
        sure=False,
        late=True,
    ),
    Hint(
        "gpu-xid-bus",
        r"NVRM: Xid [^\n]{0,60}: (?:1|6|11|18|80|87|167)\b",
        "what the driver sends to the GPU does not arrive whole, or the GPU may not reach the host's memory (Xid); most often its seat, riser or"
        " slot, the host's firmware, or a virtual machine",
        "look for AER and DMAR lines in dmesg; seat the card anew, try another slot or power, update firmware and driver; in a virtual machine see"
        " how the card is passed through",
        "docs.nvidia.com, Xid errors",
        "NVRM: Xid (PCI:0000:0b:00): 18, acme words",
        sure=False,
    ),
    Hint(
        "gpu-xid-virtual",
        r"NVRM: Xid [^\n]{0,60}: 78\b",
        "a virtual GPU (vGPU) did not start: guest and host drivers are of branches that don't go together, or there is no licence for it",
        "install the guest driver of the host's vGPU release; nvidia-smi -q shows the licence",
        "docs.nvidia.com, Xid errors",
        "NVRM: Xid (PCI:0000:0b:00): 78, vGPU start error",
        sure=False,
    ),
    Hint(
        "gpu-xid-note",
        r"NVRM: Xid [^\n]{0,60}: (?:93|121|162|163|164|165)\b",
        "the driver notes something of a GPU that has been corrected or is a warning (Xid); alone it stops nothing",
        "look for another Xid and at the engine's own log; if it comes often, tell the vendor of the host",
        "docs.nvidia.com, Xid errors",
        "NVRM: Xid (PCI:0000:0b:00): 121, C2C Link corrected error",
        sure=False,
        late=True,
    ),
)
