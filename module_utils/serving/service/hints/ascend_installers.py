"""Failure hints: what the installers of Ascend's driver, firmware and CANN (the .run files) say."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

HINTS: tuple[Hint, ...] = (
    Hint(
        "ascend-user-missing",
        r"HwHiAiUser (?:group )?not exists|ERR_NO:0x0091;ERR_DES:\w{1,40} (?:group )?not exists",
        "the user or group that Ascend's driver runs under (HwHiAiUser) is not on this host",
        "deploy.yml makes both before it installs; by hand: groupadd HwHiAiUser; useradd -g HwHiAiUser -d /home/HwHiAiUser -m HwHiAiUser; then run"
        " the installer again",
        "Ascend HDK, the driver's installer",
        "[Driver] [2026-11-27 10:00:00] [ERROR]HwHiAiUser not exists! Please add HwHiAiUser, and make its group be HwHiAiUser.",
    ),
    Hint(
        "ascend-user-differs",
        r"ERR_NO:0x009[56];ERR_DES:|not same with last installation",
        "the user or group of this installation is not the one of the last, or the user is not in that group",
        "/etc/ascend_install.info names the last ones: use them (usermod -aG adds a user to a group), or uninstall first",
        "Ascend HDK, the driver's installer",
        "[Driver] [2026-11-27 10:00:00] [ERROR]ERR_NO:0x0095;ERR_DES:The user name is null",
    ),
    Hint(
        "ascend-root-asked",
        r"do not have root permission, operation failed|ERR_NO:0x0093;ERR_DES:do not",
        "an installer of Ascend's must run as root",
        "run it as root (deploy.yml uses become); CANN alone can be installed by a user, without --install-for-all",
        "Ascend HDK, the driver's installer",
        "[Driver] [2026-11-27 10:00:00] [ERROR]do not have root permission, operation failed, please use root permission!",
    ),
    Hint(
        "ascend-installer-runs",
        r"There is already a process being executed,",
        "another installer of Ascend's runs on this host",
        "wait for it or end it (ps -ef | grep '[.]run'), then run this one again",
        "Ascend HDK, the driver's installer",
        "[Driver] [2026-11-27 10:00:00] [ERROR]ERR_NO:0x0094;ERR_DES:There is already a process being executed,please do not execute multiple tasks"
        " at the same time",
    ),
    Hint(
        "ascend-old-bundle",
        r"An all-in-one RUN package is found|DKMS check and uninstall time\(",
        "an earlier installation stands in the way: a bundle of an older kind, or its kernel module can't be taken out",
        "uninstall it with its own script (/usr/local/Ascend/driver/script/uninstall.sh), reboot, then install again",
        "Ascend HDK, the driver's installer",
        "[Driver] [2026-11-27 10:00:00] [ERROR]ERR_NO:0x0094;ERR_DES:Operation failed, An all-in-one RUN package is found, which needs to be"
        " uninstalled before proceeding.",
        sure=False,
    ),
    Hint(
        "ascend-tools-missing",
        r"[Tt]he list of missing tools ?:",
        "the driver's installer needs programs that this host lacks; the line names them",
        "install what they come from: pciutils (lspci), net-tools (ifconfig), then run it again",
        "Ascend HDK, the driver's installer",
        "[Driver] [2026-11-27 10:00:00] [ERROR]The list of missing tools: lspci,ifconfig,",
    ),
    Hint(
        "ascend-module-not-built",
        r"D(?:kms|KMS) install failed, details|[Dd]river_ko_install failed|dkms or kernel-headers or kernel-devel|rebuild (?:the )?ko failed",
        "the NPU driver's kernel module was not built or not loaded: headers of the running kernel or its compiler are missing, the kernel is none"
        " that this driver knows, or remains of an earlier try are in the way",
        "install kernel headers of `uname -r`, gcc and dkms (atlas300iduo does), remove /var/lib/dkms/davinci_ascend, install again;"
        " /var/log/ascend_seclog/ascend_install.log has the compiler's words",
        "Ascend HDK, the driver's installer",
        "[Driver] [2026-11-27 10:00:00] [ERROR]Dkms install failed, details in : /var/log/ascend_seclog/ascend_install.log.",
        sure=False,
    ),
    Hint(
        "ascend-no-space",
        r"free space only \S{1,12}, cannot install|Insufficient available space in disk",
        "the disk has no room for Ascend's package",
        "make room below /usr/local/Ascend and in /tmp (df -h): the driver takes 1 GiB, CANN 10 GiB; or give another disk to the folder",
        "Ascend HDK, the driver's installer",
        "[Driver] [2026-11-27 10:00:00] [ERROR]free space only 120M, cannot install driver package (greater than 300M), please make sure enough"
        " space under the installation path",
    ),
    Hint(
        "ascend-folder-closed",
        r"ERR_NO:0x0003;ERR_DES:|The given dir(?:ectory)?, (?:including|or) its parents|Relative path \S{1,200} doesn.t exist, please input",
        "the folder that Ascend's package is to go into is not there, does not belong to root, or its user may not enter it",
        "create it and its parents for root with mode 755 (chown root:root, chmod 755), or install to /usr/local/Ascend",
        "Ascend HDK, the driver's installer",
        "[Driver] [2026-11-27 10:00:00] [ERROR]ERR_NO:0x0003;ERR_DES:The HwHiAiUser do not have the permission to access /srv/npu, please reset the"
        " directory to a right permission.",
    ),
    Hint(
        "ascend-installer-options",
        r"ERR_NO:0x0004;ERR_DES:",
        "the installer does not take these options together, or not one of them",
        "first installation: --full --install-for-all; later: --upgrade; --version, --check and --uninstall stand alone",
        "Ascend HDK, the driver's installer",
        "[Driver] [2026-11-27 10:00:00] [ERROR]ERR_NO:0x0004;ERR_DES: Unrecognized parameters: --ful. Try './xxx.run --help' for more information.",
    ),
    Hint(
        "ascend-other-npu",
        r"There is no \w{1,12} matching the driver package|can not find the matched package for this platform",
        "this package is for another NPU or processor than this host has",
        "lspci -d 19e5: shows the NPU, uname -m the processor: take the .run file for both (310p for Atlas 300I Duo and 300I Pro, 910b for 800I A2)",
        "Ascend HDK, the driver's installer",
        "[Nnae] [ERROR] ERR_NO:0x0080;ERR_DES:Install acme failed, can not find the matched package for this platform.",
        passing=True,
    ),
    Hint(
        "ascend-signature",
        r"Device_images_crl_check failed|software signature verification failed",
        "the driver does not take the signature of this package: it is for another way of signing (pss, x509) than the one set here, or damaged",
        "compare its checksum with the site's; install driver and firmware of one release; after a change of the way to sign, uninstall first",
        "Ascend HDK, the driver's installer",
        "[Driver] [2026-11-27 10:00:00] [ERROR]Device_images_crl_check failed, details in : /var/log/ascend_seclog/ascend_install.log",
        sure=False,
    ),
    Hint(
        "ascend-driver-held",
        r"Failed to (?:install|upgrade) driver package, please retry after uninstall and reboot"
        r"|rmmod (?:\w{1,40} )?(?:driver )?failed[!,]? [^\n]{0,20}details",
        "the NPU driver could not be replaced: processes or containers use the old one, or it did not load",
        "stop what uses the NPUs (npu-smi info shows it), uninstall, reboot and install again; /var/log/ascend_seclog/ascend_install.log says at"
        " which step it ended",
        "Ascend HDK, the driver's installer",
        "[Driver] [2026-11-27 10:00:00] [INFO]Failed to upgrade driver package, please retry after uninstall and reboot!",
        sure=False,
        passing=True,
    ),
    Hint(
        "ascend-user-number-taken",
        r"groupadd: GID '\d{1,8}' already exists|useradd: UID \d{1,8} is not unique",
        "the number that the new user or group was to have belongs to another one",
        "getent passwd 1000; getent group 1000 shows whose: choose a free number (for HwHiAiUser 1000 is usual, not needed), or give the other one a"
        " new",
        "shadow-utils",
        "groupadd: GID '1000' already exists",
    ),
    Hint(
        "ascend-installer",
        r"^\[(?:Driver|Firmware|Toolkit|Kernels|Nnae|NNAL|Runtime|Opp)\] \[[\d: -]{1,30}\] ?\[ERROR\]|ERR_NO:0x[0-9A-Fa-f]{4}; ?ERR_DES:",
        "an installer of Ascend's failed; its line says at what",
        "/var/log/ascend_seclog/ascend_install.log has the lines before it; order: driver, reboot, firmware, reboot, CANN, all of one release",
        "Ascend HDK, the driver's installer",
        "[Firmware] [2026-11-27 10:00:00] [ERROR]upgrade device_id[0] failed",
        general=True,
    ),
)
