"""Failure hints: the host's package managers (apt, dpkg, dnf) while a host is prepared: rights, locks, packages that contradict each other."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

HINTS = (
    Hint(
        "packages-not-reached",
        r"(?:internal mirrorlist|repomd\.xml): Curl error \((?:5|6|7|28|35|56|60)\)|Failed to fetch https?://\S{1,200}  (?:Could not connect"
        r"|Cannot initiate|Connection (?:failed|timed))",
        "this host does not reach the package source: DNS, a route or a firewall stands between, or the site's proxy is not set (or is not trusted)",
        "curl -v that address on the host; proxy= in dnf.conf or Acquire::http::Proxy for apt; a mirror of the site",
        "dnf; apt",
        "Error: Failed to download metadata for repo 'acme': Cannot prepare internal mirrorlist: Curl error (6): Couldn't resolve host name for"
        " https://acme.example",
    ),
    Hint(
        "packages-not-root",
        r"(?:/var/(?:lib|cache)/(?:dpkg|apt)|dpkg frontend lock)[^\n]{0,80}, are you root\?|lock file /var/\S{1,80} - open \(13: Permission denied\)"
        r"|command has to be run with superuser privileges",
        "the package manager was started without root's rights",
        "run it as root: let the user of ansible_user have sudo, and give its password (ansible_become_password, or --ask-become-pass)",
        "apt; dnf; pop-os/pop#221",
        "E: Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend), are you root?",
    ),
    Hint(
        "package-lock-held",
        r"Could not get lock /var/lib/(?:dpkg|apt)|Unable to (?:acquire|lock) [^\n]{0,60}(?:dpkg|/var/(?:lib|cache)/apt)(?![^\n]{0,80}are you root)"
        r"|Waiting for process with pid \d{1,8} to finish",
        "another program installs packages on this host at this time (unattended-upgrades, another run of apt or dnf)",
        "wait until it ends (ps shows it by the id in the message), then run again; a lock whose process is gone goes with a reboot",
        "apt; dnf",
        "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 7 (unattended-upgr)",
    ),
    Hint(
        "packages-filtered",
        r"filtered out by modular filtering|[Nn]o matching [Mm]odules? to (?:list|enable)|Cannot enable more streams from module",
        "dnf hides the package: a module's stream filters it, because another stream is enabled, or none",
        "dnf module list shows the streams; dnf module reset nvidia-driver, then enable the one that belongs to driver_branch; or write"
        " module_hotfixes=1 into the repository's file below /etc/yum.repos.d",
        "dnf, modularity; rocky-linux/rockylinux.org#201",
        "All matches were filtered out by modular filtering for argument: acme-drivers",
    ),
    Hint(
        "package-needs-missing",
        r"nothing provides \S[^\n]{0,120} needed by |Depends: [^\n]{1,120} but it is not installable",
        "no repository that is enabled has what a package needs: that one's repository is not enabled here or too old (EPEL for dkms),"
        " or the package is"
        " for another release of the distribution",
        "enable or renew the repository that has it (dnf install epel-release; for Ubuntu universe), dnf clean all or apt-get update, and check that"
        " each address names this release",
        "dnf; apt; stackhpc/ansible-slurm-appliance#685",
        "  - nothing provides dkms >= 9.1.8 needed by kmod-acme-3:575.1-1.el9.x86_64 from acme-x86_64",
    ),
    Hint(
        "package-same-file",
        r"conflicts between attempted installs of",
        "two packages bring one and the same file, so only one of them can be installed: one is of another repository (the"
        " distribution's docker or driver), or an older one that was split or renamed",
        "the line names both: remove the one that is not wanted (dnf remove docker docker-common before docker-ce; nvidia-docker2 is"
        " gone, nvidia-container-toolkit takes its place), then install anew",
        "NVIDIA/nvidia-docker#906",
        "file /etc/acme/acme.json conflicts between attempted installs of acme-2-2.0.3.noarch and acme-1.13.1.el7.x86_64",
        sure=False,
    ),
    Hint(
        "package-in-the-way",
        r"conflicts with (?:\S{1,120} provided by \S|file from package )|Depends: [^\n]{1,160} but \S{1,80} is (?:to be )?installed"
        r"|trying to overwrite '[^']{1,200}', which is also in",
        "two packages exclude each other: one is installed or chosen from another repository, or in another version, than the one asked for needs (="
        " names the only one)",
        "keep one source of the driver, the distribution's or NVIDIA's: remove the other's (apt-get purge, dnf --allowerasing), or install the one"
        " version that is asked for (apt-get install NAME=VERSION) or a newer asker; apt-cache policy shows where each is from",
        "apt; dnf; NVIDIA/yum-packaging-precompiled-kmod#50",
        " acme-driver : Depends: acme-vdpau (= 390.8) but 410.1-1 is to be installed",
    ),
    Hint(
        "package-over-mount",
        r"unable to (?:make backup link of|create|install new version of|remove)[^\n]{0,240}: (?:Invalid cross-device link|Device or resource busy)",
        "dpkg can't replace a file that something else is mounted on (Invalid cross-device link, Device or resource busy), as the host's"
        " driver is inside of"
        " a container",
        "leave the driver's packages out of the container, whose driver is the host's: install only what needs none (cuda-toolkit, not cuda-drivers)",
        "dpkg; hpc-admin-sist/DockerMonitor#15",
        "unable to make backup link of './usr/lib/libacme.so.4' before installing new version: Invalid cross-device link",
    ),
    Hint(
        "packages-no-dns",
        r"Temporary failure resolving '|Could not resolve '[\w.-]{3,200}'",
        "this host does not find the address of the package source: DNS does not answer here, or a proxy is needed and apt does not know it",
        "resolvectl query NAME, and correct the host's DNS; behind a proxy write Acquire::http::Proxy below /etc/apt/apt.conf.d, or name"
        " the site's mirror",
        "apt",
        "W: Failed to fetch http://acme.example/ubuntu/dists/x/InRelease  Temporary failure resolving 'acme.example'",
    ),
    Hint(
        "packages-clock",
        r"Release file for \S{1,300} is (?:not valid yet|expired)",
        "the date of a package source's list does not fit this host's clock: the clock is wrong, or a mirror is no longer renewed",
        "timedatectl shows the clock: set it, and let it follow a time server (set-ntp true); if it is right, name another mirror",
        "apt",
        "E: Release file for http://acme.example/x/InRelease is not valid yet (invalid for another 2h 3min 5s).",
    ),
    Hint(
        "packages-mixed",
        r"Hash Sum mismatch|Hashes of expected file|File has unexpected size|Mirror sync in progress"
        r"|Downloading successful, but checksum doesn't match",
        "a package source gave a file that is not the one of its list: a mirror is just being renewed, or a proxy keeps an old file",
        "apt-get clean and remove /var/lib/apt/lists/* (dnf clean all), then again; if it stays, another mirror, or let the proxy not keep these files",
        "apt; dnf",
        "E: Failed to fetch http://acme.example/x.deb  Hash Sum mismatch",
    ),
    Hint(
        "packages-list-gone",
        r"Failed to fetch https?://\S{1,300} {2}(?!Hash Sum|File has unexpected|Temporary failure|Could not resolve)\S"
        r"|Some index files failed to download|Unable to fetch some archives",
        "a package source does not give what its list names: the list here is old, the source has no such release any more, or a proxy refuses it",
        "the words behind the address say why: apt-get update first; open the address with curl -v from this host; name the site's mirror or proxy",
        "apt; NVIDIA/ansible-role-nvidia-driver#42",
        "E: Failed to fetch https://acme.example/by-hash/SHA256/75  404  Not Found [IP: 10.0.0.9 443]",
        late=True,
    ),
    Hint(
        "packages-key-expired",
        r"EXPKEYSIG|KEYEXPIRED|(?:signature|GPG|repository|signing)[^\n]{0,120}\bkey\b[^\n]{0,20}expired",
        "the key that signs a package source has expired: its owner has a newer one or gave the source up, or this host's clock is ahead",
        "install the owner's new key (CUDA: cuda-keyring; container toolkit: nvidia.github.io/libnvidia-container/gpgkey); if it stays so, the"
        " source is abandoned (.../experimental): take its line out",
        "apt; NVIDIA/nvidia-container-runtime#144",
        "W: GPG error: https://repo.lan InRelease: The following signatures were invalid: EXPKEYSIG 6ED91CA3AC1160CD acme",
    ),
    Hint(
        "packages-key",
        r"GPG check FAILED|Public key for \S{1,200} is not installed|NO_PUBKEY",
        "the key that signs a package source is not on this host, or can't be used: its owner changed it, it was never installed, the source's line"
        " names another file (signed-by), or apt's user may not read it",
        "install the source's key anew (CUDA: the package cuda-keyring; container toolkit: nvidia.github.io/libnvidia-container/gpgkey; Docker: its"
        " site's gpg file); chmod 644 the file below /etc/apt/keyrings or /usr/share/keyrings; then again",
        "apt; dnf; NVIDIA/nvidia-container-toolkit#222",
        "Error: GPG check FAILED",
    ),
    Hint(
        "packages-broken-off",
        r"dpkg was interrupted, you must manually run|rpmdb: (?:PANIC|Thread died)|error: rpmdb",
        "an earlier installation on this host broke off in its midst, so the package manager takes no other",
        "dpkg --configure -a, then apt-get --fix-broken install; for rpm: rpm --rebuilddb; look whether the disk is full",
        "apt; rpm",
        "E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem.",
    ),
    Hint(
        "packages-contradict",
        r"have unmet dependencies|[Uu]nmet dependencies|held broken packages|but it is not going to be installed|Problem(?: \d{1,3})?: \S"
        r"|none of the providers can be installed|dependency problems",
        "packages that are asked for and those that are installed don't go together: one is held, another driver branch is installed, two"
        " repositories have it (the distribution's and NVIDIA's), or an earlier try broke off",
        "the lines around it name them: apt-mark showhold, apt-cache policy and dnf repolist show what is held and from where; keep one source of"
        " the driver, then apt-get --fix-broken install",
        "apt; dnf; dpkg",
        "E: Unable to correct problems, you have held broken packages.",
        general=True,
    ),
    Hint(
        "package-script",
        r"dpkg: error processing package \S{1,80} \(--\w{3,12}\)|Sub-process /usr/bin/dpkg returned an error code|[Ee]rror in (?:PREIN|POSTIN|PREUN"
        r"|POSTUN)\w{0,6} scriptlet",
        "a package's own script failed while it was set up or removed (for a driver: its module did not build or load)",
        "the lines above it say why; mend that, then dpkg --configure -a and apt-get install -f (dnf reinstall)",
        "dpkg; rpm",
        "E: Sub-process /usr/bin/dpkg returned an error code (1)",
        sure=False,
        late=True,
    ),
    Hint(
        "build-tool-missing",
        r"(?:^|[\s/:])(?:g\+\+|gcc(?:-\d{1,2})?|c\+\+|make|cmake|bison|flex)(?:: (?:command )?not found|\": executable file not found)",
        "a tool for building is not installed on this host or in this image, and something is compiled here (a kernel module, kernels of the engine,"
        " a package without a wheel)",
        "apt-get install build-essential cmake (dnf install gcc gcc-c++ make), for a kernel module the compiler of the kernel's version; in an image"
        " use one of the kind devel, or install it there",
        "GNU; NVIDIA/open-gpu-kernel-modules#805",
        "/bin/sh: line 1: g++: command not found",
    ),
    Hint(
        "kernel-module-not-published",
        r"Skipping kernel installation since no kernel module package|no kernel module package kmod-nvidia",
        "NVIDIA's precompiled module for the newest kernel is not published yet, so the package manager leaves the kernel back",
        "stay on the running kernel until it comes (some days), or switch to the DKMS stream (dnf module install nvidia-driver:latest-dkms)",
        "NVIDIA/yum-packaging-precompiled-kmod#27",
        "NOTE: Skipping kernel installation since no kernel module package kmod-nvidia-550.54-5.14.0-503.el9 could be found",
        passing=True,
    ),
    Hint(
        "packages-release-ended",
        r"No URLs in mirrorlist|Cannot prepare internal mirrorlist(?!: Curl error)|no longer has a Release file",
        "the package source has nothing for this release of the system: it has reached its end (CentOS 8, an old Ubuntu or Debian), or the"
        " line names a release that the source never had",
        "move to a release that is kept; until then vault.centos.org, old-releases.ubuntu.com or archive.debian.org in its place; a"
        " vendor's source: name a release that it has",
        "dnf; apt",
        "Error: Failed to download metadata for repo 'appstream': Cannot prepare internal mirrorlist: No URLs in mirrorlist",
    ),
)
