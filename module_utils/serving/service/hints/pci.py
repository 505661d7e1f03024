"""Failure hints: what the kernel says of cards on the PCI bus: no room, no interrupt, no answer."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

HINTS: tuple[Hint, ...] = (
    Hint(
        "gpu-no-interrupt",
        r"Can't find an IRQ for your NVIDIA card|can't derive routing for PCI INT",
        "the card got no interrupt from firmware or hypervisor",
        "update the BIOS; in a virtual machine use UEFI (OVMF) and a q35 machine; without kernel options such as pci=nomsi, noapic or acpi=off; else"
        " move the card to another slot",
        "NVIDIA, open kernel modules, nv-pci.c",
        "kernel: NVRM: Can't find an IRQ for your NVIDIA card!",
    ),
    Hint(
        "gpu-registers-taken",
        r"request_mem_region failed for",
        "another driver has this GPU's registers: the firmware's or another framebuffer (efifb, simpledrm), nouveau, or vfio-pci",
        "lspci -nnk -d 10de: and /proc/iomem name it: blacklist nouveau; kernel options video=efifb:off, or another card for the console",
        "NVIDIA, open kernel modules, nv-pci.c",
        "kernel: NVRM: request_mem_region failed for 16M @ 0xf6000000.",
    ),
    Hint(
        "card-no-room",
        r"BAR \d: (?:no space for|failed to assign|can.t assign)|can.t claim BAR \d",
        "the kernel found no room for a card's memory in the host's addresses (BAR); without it its driver does not take it",
        "switch Above 4G Decoding (and Resizable BAR) on in the BIOS, update it; in a virtual machine a larger 64-bit MMIO window; kernel option"
        " pci=realloc",
        "Linux, PCI",
        "kernel: pci 0000:3b:00.0: BAR 1: no space for [mem size 0x2000000000 64bit pref]",
    ),
    Hint(
        "card-not-answering",
        r"Unable to change power state from \S{1,12} to \S{1,12}, device inaccessible|DPC: containment event|device not ready \d{1,6}ms after"
        r"|not ready \d{1,8}ms after (?:FLR|bus reset|D3hot)|not ready; giving up",
        "a PCIe card (its address is in the line) does not answer any more: it lost power, fell off its slot or cable, hangs in firmware, or was put"
        " to sleep",
        "power the host off for a minute; check seat, riser, cables and power; kernel option pcie_aspm=off (and pcie_port_pm=off) where sleep is to"
        " blame; replace the card if it comes back",
        "Linux, PCI",
        "kernel: nvidia 0000:3b:00.0: Unable to change power state from D3cold to D0, device inaccessible",
        sure=False,
    ),
    Hint(
        "card-not-started",
        r"(?:nvidia|davinci|mlx5_core|amdgpu)\S{0,40} (?:\S{4,12}:\S{2}\.\d: )?(?:enabling device failed|probe (?:of \S{1,20} failed )?with error -\d"
        r"|probe with driver \S{1,30} failed)|(?:nvidia|davinci|mlx5_core|amdgpu)\S{0,3} ?probe of \S{1,20} failed|NVIDIA devices were initialized",
        "the kernel's driver does not take a card: it has no room or interrupt (BIOS), hangs, or is none of this driver's",
        "the lines before it in dmesg name the reason (BAR, IRQ, NVRM:); power the host off for a minute, update its BIOS, or take a driver that"
        " knows the card",
        "Linux, PCI",
        "kernel: nvidia 0000:3b:00.0: enabling device failed (-22)",
        sure=False,
        late=True,
    ),
    Hint(
        "swiotlb-full",
        r"swiotlb buffer is full",
        "the kernel's buffer for cards that can't reach all memory (swiotlb) is full: the IOMMU is off, the machine is a confidential or other"
        " virtual one, or the buffer is small",
        "switch the IOMMU on (intel_iommu=on, amd_iommu=on, iommu=pt), or raise the kernel option swiotlb=262144",
        "Linux, PCI",
        "kernel: nvidia 0000:3b:00.0: swiotlb buffer is full (sz: 2097152 bytes)",
        sure=False,
    ),
)
