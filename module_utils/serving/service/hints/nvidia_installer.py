"""Failure hints: what NVIDIA's driver installer (the .run file) says."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

HINTS: tuple[Hint, ...] = (
    Hint(
        "installer-other-packages",
        r"installation was cancell?ed due to the availability or presence of an alternate",
        "this distribution has packages of the driver, installed or on offer, and NVIDIA's installer stopped for them",
        "install the driver from packages (deploy.yml does); or remove the packages of it and run the .run file again",
        "NVIDIA, nvidia-installer",
        "ERROR: The installation was canceled due to the availability or presence of an alternate driver installation. Please see acme for more"
        " details.",
    ),
    Hint(
        "installer-root",
        r"nvidia-installer must be run as root",
        "NVIDIA's installer must run as root",
        "run it with sudo; deploy.yml uses become",
        "NVIDIA, nvidia-installer",
        "ERROR: nvidia-installer must be run as root",
    ),
    Hint(
        "installer-program-missing",
        r"Unable to find the (?:system|module) utility `",
        "NVIDIA's installer needs a program that this host lacks; the line names it and its package",
        "install that package (kmod, binutils, gcc, make), then run it again",
        "NVIDIA, nvidia-installer",
        "ERROR: Unable to find the system utility `acme`; please make sure you have the package 'acme' installed.",
    ),
    Hint(
        "installer-kernel-sources",
        r"[Tt]he kernel header file '[^'\n]{1,160}' does not exist|Neither the '[^'\n]{1,160}' nor the"
        r"|kernel output path '[^'\n]{1,160}' does not exist|Unable to determine (?:kernel module installation path|kernel version)",
        "NVIDIA's installer finds no prepared sources of the kernel: its headers are not installed, are of another kernel, or were not configured",
        "install linux-headers-$(uname -r) (kernel-devel-$(uname -r)); leave --kernel-source-path out",
        "NVIDIA, nvidia-installer",
        "ERROR: The kernel header file 'include/acme.h' does not exist.",
    ),
    Hint(
        "installer-module-kind",
        r"kernel module build directory '[^'\n]{1,160}' is not present|kernel modules are not present in this installer package"
        r"|is not a valid kernel module (?:type|directory)",
        "this package has not the kind of kernel modules that was asked for (open or proprietary)",
        "leave --kernel-module-type and --kernel-module-build-directory out, so that it takes what the card needs, or take the package of another"
        " branch",
        "NVIDIA, nvidia-installer",
        "ERROR: The kernel module build directory 'kernel-acme' is not present in this installer package.",
    ),
    Hint(
        "installer-signing",
        r"nvidia-installer cannot sign|installer cannot sign|Failed to sign (?:precompiled )?kernel module|Failed to attach signature"
        r"|[Uu]nable to generate key pair|Failed to generate key pair|Failed to link a kernel module for signing",
        "the modules could not be signed for Secure Boot: openssl, the headers' own sign-file or the key is missing or does not fit",
        "install openssl and linux-headers-$(uname -r), give --module-signing-secret-key and --module-signing-public-key, or use the distribution's"
        " signed packages; or switch Secure Boot off",
        "NVIDIA, nvidia-installer",
        "ERROR: nvidia-installer cannot sign acme without the `sign-file` module signing program",
    ),
    Hint(
        "installer-driver-there",
        r"DKMS kernel modules with version \S{1,40} are already installed|'--kernel-modules-only' option can only be"
        r"|The existing driver installation is|No NVIDIA driver is currently installed; the",
        "what is installed already does not fit what was asked for: this version's modules are there, or the driver beside them is of another"
        " version or missing",
        "nvidia-uninstall (or remove the packages), then install one version as a whole, without --kernel-modules-only",
        "NVIDIA, nvidia-installer",
        "ERROR: DKMS kernel modules with version 550.54.14 are already installed for the acme kernel.",
    ),
    Hint(
        "installer-no-dkms",
        r"Failed to find dkms on the system",
        "NVIDIA's installer was to register its modules with DKMS, and DKMS is not installed",
        "install dkms, or leave --dkms out (then each new kernel needs the driver installed again)",
        "NVIDIA, nvidia-installer",
        "ERROR: Failed to find dkms on the system!",
    ),
    Hint(
        "installer-options",
        r"Invalid commandline, please run|nvidia-installer[^\n]{0,200}(?:Invalid parameter for '--|option is no longer supported)",
        "NVIDIA's installer does not know one of its options, or not in this version",
        "sh FILE --advanced-options lists what it takes: correct the option",
        "NVIDIA, nvidia-installer",
        "ERROR: Invalid commandline, please run `acme --help` for usage information.",
    ),
    Hint(
        "installer-hook",
        r"Pre-unload hook script failed",
        "a script of this site or distribution, which runs before the old modules are taken out, failed",
        "its own output is above: stop what uses the GPUs (maintenance.yml drains them), or mend the script below /usr/lib/nvidia",
        "NVIDIA, nvidia-installer",
        "ERROR: Pre-unload hook script failed",
    ),
    Hint(
        "installer-module-not-made",
        r"This kernel module is required for the proper operation of|An error occurred (?:while"
        r"|during) performing the step",
        "NVIDIA's installer could not build a kernel module: headers or compiler are missing or of another kernel, or this driver is older than the"
        " kernel",
        "/var/log/nvidia-installer.log: the first error counts; install linux-headers-$(uname -r), gcc and make, or a newer driver",
        "NVIDIA, nvidia-installer",
        "ERROR: The acme kernel module failed to build. This kernel module is required for the proper operation of CUDA.",
        late=True,
    ),
    Hint(
        "installer-folder",
        r"(?:^|ERROR: )(?:Unable to (?:create (?:a )?temporary|copy the kernel module sources|set file size|map destination|open output file)"
        r"|Failure opening package's \.manifest|Invalid \.manifest file|Failed to (?:create the directory|unpack the precompiled))",
        "NVIDIA's installer can't write or read its own files: /tmp is full, mounted noexec or was cleaned in between, or the .run file is cut",
        "df -h /tmp; sh FILE --check tests the file; --tmpdir PATH gives it another folder",
        "NVIDIA, nvidia-installer",
        "ERROR: Unable to create a temporary build directory.",
        sure=False,
    ),
)
