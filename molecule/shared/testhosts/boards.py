"""Boards in a host's slots: stand-ins for their drivers' tools tell what was recorded on real ones."""

from __future__ import annotations

import os
import shutil

from testhosts.hosts import container, reboot
from testhosts.machine import HERE, ROOT, STATE, docker, put
from testhosts.outside import nvidia_packages


def board(inside: str, slots: list[str]) -> None:
    """What lies in a host's slots from the next boot on: lines of slot, class, vendor, device, subsystem's two."""
    put(inside, "/etc/testhost/pci", "\n".join(slots) + "\n")
    put(inside, "/usr/local/bin/timedatectl", "#!/bin/sh\necho yes\n", "0755")  # the clock is the outer machine's


def gpus(name: str) -> None:
    """Put eight H100 on an HGX board into a host without a driver, and reboot it.

    /etc/testhost/nvidia.json is what the stand-in of nvidia-smi will tell (fakes/nvidia-smi).
    """
    nvidia_packages()
    inside = container(name)
    cards = [f"0000:{16 + i:02x}:00.0 0x030200 0x10de 0x2330 0x10de 0x16c1" for i in range(8)]
    switches = [f"0000:{5 + i:02x}:00.0 0x068000 0x10de 0x22a3 0x10de 0x1796" for i in range(4)]
    board(inside, [*cards, *switches])
    put(inside, "/etc/testhost/nvidia.json", "{}")
    put(inside, "/etc/testhost/nvidia-smi.xml", (ROOT / "tests/fixtures/nvidia/h200-v13.xml").read_text())
    put(inside, "/usr/local/sbin/modinfo", (HERE / "fakes/modinfo").read_text(), "0755")
    reboot(name)


def npus(name: str) -> None:
    """Put two Atlas 300I Duo into a host without a driver, and reboot it. /etc/testhost/npu-smi.txt is what npu-smi will tell.

    The operator's packages lie in build/testhosts/ascend; /etc/testhost/ascend on the host says what goes wrong with them.
    """
    inside = container(name)
    docker("exec", inside, "rm", "-f", "/etc/testhost/module-version")
    board(inside, [f"0000:0{slot}:00.0 0x120000 0x19e5 0xd500 0x0200 0x0110" for slot in (1, 2)])
    put(inside, "/etc/testhost/npu-smi.txt", npu_table(4))
    docker("exec", "-i", inside, "sh", "-s", os.uname().release, text=(HERE / "fakes/kernel_packages").read_text())
    (STATE / "ascend").mkdir(parents=True, exist_ok=True)
    for file in (
        "driver_25.2.0_linux-x86-64",
        "driver_25.5.1_linux-x86-64",
        "firmware_7.7.0.6.236",
        "firmware_7.8.0.6.201",
    ):
        shutil.copy(HERE / "fakes/ascend.run", STATE / f"ascend/Ascend-hdk-310p-npu-{file}.run")
    reboot(name)


def npu_table(npus: int) -> str:
    """The recorded table of eight NPUs, cut down to the first ones."""
    lines = (ROOT / "tests/fixtures/ascend/npu-smi-duo-8-25.3.rc1.txt").read_text().splitlines()
    head = next(i for i, line in enumerate(lines) if line.startswith("+====")) + 1
    tail = next(i for i, line in enumerate(lines) if "Process id" in line) - 1
    return "\n".join(lines[: head + 3 * npus] + lines[tail:]) + "\n"


BOARDS = {"h100": gpus, "atlas300iduo": npus}
