"""Failure hints: kernel modules that are not built (DKMS), not loaded or not taken out."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

HINTS: tuple[Hint, ...] = (
    Hint(
        "dkms-leftover",
        r"Could not locate dkms\.conf file|Could not find module source directory|Missing the module source directory|^Error! \S{1,80} is broken!",
        "DKMS still has a driver in its list whose sources are gone: remains of an earlier version or of one that was removed by hand",
        "dkms status names it; remove its folder below /var/lib/dkms (the message names it), then install the driver's package again",
        "dkms; negativo17/nvidia-driver#56",
        "Error! Could not locate dkms.conf file.",
    ),
    Hint(
        "dkms-known-already",
        r"DKMS tree already contains:",
        "DKMS has this version of the module already, from an earlier installation that did not end or was not removed",
        "dkms remove NAME/VERSION --all, then install the driver again",
        "dkms",
        "Error! DKMS tree already contains: acme-550.54",
    ),
    Hint(
        "dkms-unknown",
        r"The module/version combo: [^\n]{1,80} is not located in the DKMS tree",
        "DKMS does not know this version of the module: its sources were not added, or another version is installed",
        "dkms status shows which it knows; install the driver's dkms package again (it adds them)",
        "dkms",
        "Error! The module/version combo: acme-550.54 is not located in the DKMS tree.",
    ),
    Hint(
        "dkms-not-newer",
        r"is not newer than what is already found in kernel",
        "the kernel has a module of this name in the same or a newer version: from the kernel's own packages, or a .run installer",
        "modinfo NAME shows which it is: remove the one that is not wanted (nvidia-uninstall; linux-modules-nvidia-*), or dkms install --force",
        "dkms",
        "Error! Module version 550.54 for acme.ko is not newer than what is already found in kernel 6.8.0 (550.90).",
    ),
    Hint(
        "dkms-excluded",
        r"BUILD_EXCLUSIVE directive",
        "the module says itself that it is not for this kernel, processor or configuration",
        "boot a kernel that it is for (its dkms.conf names them in BUILD_EXCLUSIVE_KERNEL), or install a newer driver",
        "dkms",
        "Error! The dkms.conf for module acme includes a BUILD_EXCLUSIVE directive which does not match this kernel/arch/config.",
    ),
    Hint(
        "dkms-root",
        r"You must be root to use this command",
        "DKMS must run as root",
        "run it with sudo; deploy.yml uses become",
        "dkms",
        "Error! You must be root to use this command.",
    ),
    Hint(
        "dkms-build-failed",
        r"^(?:Error! )?Build of \S{1,60} failed for: |dkms:? autoinstall (?:for|on) [^\n]{1,80}failed|modules failed to install during autoinstall"
        r"|Failed to run `[^`\n]{0,80}dkms (?:build|install)|Aborting build of module",
        "DKMS could not build a module for this kernel: its headers are missing, its compiler is another one, or the driver is older than the kernel",
        "make.log below /var/lib/dkms/NAME/VERSION/build says why; install linux-headers-$(uname -r) (kernel-devel) and gcc, or a newer driver",
        "dkms",
        "Error! Build of acme.ko failed for: 6.8.0-40-generic (x86_64)",
        late=True,
    ),
    Hint(
        "kernel-headers-incomplete",
        r"Kernel configuration is invalid|[Kk]ernel headers are not fully installed|include/config/auto\.conf are missing",
        "the kernel's headers are there in part only: sources that were not prepared, or a package that was not installed to its end",
        "install linux-headers-$(uname -r) (kernel-devel-$(uname -r)) again; for an own kernel run make oldconfig and make prepare in its"
        " sources",
        "Linux, kbuild",
        "ERROR: Kernel configuration is invalid.",
    ),
    Hint(
        "kernel-headers-of-another-processor",
        r"scripts/[\w./-]{1,60}: Exec format error",
        "the kernel's headers were made on another processor architecture, so their own programs don't run here",
        "install the headers that this distribution has for this processor (uname -m), or run make prepare in them",
        "Linux, kbuild",
        "/bin/sh: 1: scripts/mod/modpost: Exec format error",
    ),
    Hint(
        "module-gpl-symbol",
        r"GPL-incompatible module \S{1,60} uses GPL-only symbol",
        "this driver calls functions of the kernel that are for modules of the GPL only; it and this kernel don't fit",
        "use a newer driver (driver_branch) or its open kernel modules, or boot the kernel before",
        "Linux, modpost",
        "ERROR: modpost: GPL-incompatible module acme.ko uses GPL-only symbol 'rcu_read_lock'",
    ),
    Hint(
        "module-of-another-kernel",
        r"could not insert (?:module )?\S{1,80}: (?:Exec format error|Invalid module format)|version magic '[^'\n]{1,120}' should be",
        "this module was built for another kernel than the one that runs",
        "uname -r and modinfo -F vermagic NAME show both: reboot where the kernel was updated, else build the module anew (dkms autoinstall, or"
        " install the driver again)",
        "Linux, kmod",
        "modprobe: ERROR: could not insert 'acme': Exec format error",
    ),
    Hint(
        "module-in-use",
        r"(?:FATAL|ERROR): Module \S{1,60} is in use|could not (?:insert|remove) (?:module )?\S{1,80}: (?:Device or resource busy"
        r"|Resource temporarily unavailable)",
        "the module can't be taken out or put in: processes, other modules or containers use the one that is loaded",
        "lsmod names the modules, lsof /dev/nvidia* (/dev/davinci*) the processes: stop services, the persistence daemon and displays first, or"
        " reboot",
        "Linux, kmod",
        "rmmod: ERROR: Module acme is in use by: acme_uvm",
    ),
    Hint(
        "kernel-modules-gone",
        r"depmod: (?:ERROR|FATAL): could not open directory",
        "the modules of the kernel that runs are not on the disk: the kernel was updated and the old one removed, or this is a container",
        "reboot into the kernel that is installed; in a container load modules on the host",
        "Linux, kmod",
        "depmod: ERROR: could not open directory /lib/modules/6.8.0-40-generic: No such file or directory",
    ),
    Hint(
        "initramfs-not-made",
        r"update-initramfs: failed for|Failed to rebuild the initramfs|dracut(?:-install)?(?:\[[A-Z]\])?: (?:ERROR|FAILED|\*\*\* Creat\w+[^\n]{0,60}failed)",
        "the image that the kernel boots from was not made anew: /boot or /tmp is full, or a module or file that it is to hold is missing",
        "df -h /boot /tmp; remove old kernels (apt autoremove, dnf remove --oldinstallonly), then update-initramfs -u (dracut -f)",
        "initramfs-tools; dracut",
        "update-initramfs: failed for /boot/initrd.img-6.8.0 with 1.",
        sure=False,
    ),
    Hint(
        "installer-pre-script",
        r"distribution-provided pre-install script failed",
        "this distribution's own check refuses NVIDIA's .run installer: it wants its packages to be used, or nouveau to be off",
        "install the driver from packages (deploy.yml does); with the .run file: take nouveau out first, and its question may be answered with yes",
        "NVIDIA, nvidia-installer",
        "ERROR: The distribution-provided pre-install script failed!",
        sure=False,
    ),
    Hint(
        "installer-files-missing",
        r"Unable to open 'kernel(?:-open)?/\S{1,60}' for copying",
        "NVIDIA's installer lacks a file of its own: it was unpacked in part, /tmp is full or was cleaned, or an earlier try ended in between"
        " (nouveau held the card)",
        "check the .run file (sh FILE --check), make room in /tmp, take nouveau out (blacklist it, update-initramfs -u, reboot), then run it again",
        "NVIDIA/gpu-operator#8",
        "ERROR: Unable to open 'kernel/acme.conf' for copying (No such file or directory)",
        sure=False,
    ),
    Hint(
        "module-does-not-compile",
        r"(?:/lib/modules/\S{1,80}/build|/usr/src/(?:linux-headers|kernels)[\w/+.-]{1,120})[^\n]{0,80}: (?:fatal )?error:",
        "the source of a kernel module does not compile with this kernel: the driver is older than the kernel, or its headers are not whole",
        "install a newer driver (driver_branch), or boot the kernel before and hold it; linux-headers-$(uname -r) must be installed to its end",
        "Linux, kbuild; zen-kernel/zen-kernel#305",
        "/usr/src/linux-headers-6.14.0/include/linux/acme.h:12:10: fatal error: linux/numa.h: No such file or directory",
        sure=False,
    ),
)
