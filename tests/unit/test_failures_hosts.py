"""What a host says while it is prepared: package managers, the kernel's log, container engines. Whole excerpts; rows have lines of their own elsewhere."""

from __future__ import annotations

import pytest
from ansible.module_utils.serving.service import failures
from ansible.module_utils.serving.service.log_lines import strip

TOLD = {
    "dnf, a package that another one needs": (
        "Error: \n Problem: package acme-open-3:5.1-1.el9.noarch from acme requires acme-kmod = 3:5.1, but none of the providers can be installed\n"
        "  - cannot install the best candidate for the job\n  - nothing provides dkms >= 9.8 needed by kmod-acme-3:5.1-1.el9.x86_64 from acme",
        "package-needs-missing",
        True,
    ),
    "dnf, one that is installed": (
        "Error: \n Problem: package kmod-acme-5.1 from @System conflicts with kmod-acme-latest provided by kmod-acme-latest-5.2 from acme\n"
        "  - conflicting requests\n(try to add '--allowerasing' to command line to replace conflicting packages)",
        "package-in-the-way",
        True,
    ),
    "dnf, a module's stream": (
        "All matches were filtered out by modular filtering for argument: acme-drivers\nError: Unable to find a match: acme-drivers",
        "packages-filtered",
        False,
    ),
    "dnf, no such package": (
        "Last metadata expiration check\nError: Unable to find a match: acme-drivers",
        "host-package-missing",
        True,
    ),
    "apt, two versions": (
        "Reading package lists...\nThe following packages have unmet dependencies:\n"
        " acme-driver : Depends: acme-libs (= 390.8) but it is not going to be installed\nE: Unable to correct problems, you have held broken packages.",
        "packages-contradict",
        False,
    ),
    "apt, no root": (
        "E: Could not open lock file /var/lib/dpkg/lock - open (13: Permission denied)\n"
        "E: Unable to lock the administration directory (/var/lib/dpkg/), are you root?",
        "packages-not-root",
        True,
    ),
    "apt, another run": (
        "E: Unable to lock the administration directory (/var/lib/dpkg/), is another process using it?",
        "package-lock-held",
        True,
    ),
    "dnf, no room": (
        "Error: Transaction test error:\n  installing package acme-toolkit-12.8-1.x86_64 needs 5127MB more space on the / filesystem",
        "disk-full",
        True,
    ),
    "apt, no DNS": (
        "Err:1 http://acme.example/ubuntu jammy InRelease\n  Temporary failure resolving 'acme.example'\n"
        "W: Failed to fetch http://acme.example/ubuntu/dists/jammy/InRelease  Temporary failure resolving 'acme.example'\n"
        "E: Unable to fetch some archives, maybe run apt-get update or try with --fix-missing?",
        "packages-no-dns",
        True,
    ),
    "apt, a mirror under renewal": (
        "E: Failed to fetch http://acme.example/pool/acme_535.deb  Hash Sum mismatch\n   Hashes of expected file:\n"
        "E: Unable to fetch some archives, maybe run apt-get update or try with --fix-missing?",
        "packages-mixed",
        True,
    ),
    "a disk that fails": (
        "[ 4711.123456] nvme nvme0: I/O 123 QID 4 timeout, aborting\n[ 4741.123456] EXT4-fs (nvme0n1p2): Remounting filesystem read-only",
        "disk-fails",
        True,
    ),
    "a process that waits in the kernel": (
        "[ 4711.123456] INFO: task acme:12345 blocked for more than 120 seconds.\n[ 4711.133456]       Tainted: P           OE     5.15.0-1 #1",
        "task-hangs-in-kernel",
        False,
    ),
    "a shim's socket is no port": (
        'docker: Error response from daemon: failed to listen to abstract unix socket "/containerd-shim/moby/5a/shim.sock": listen unix'
        " /containerd-shim/moby/5a/shim.sock: bind: address already in use: unknown.",
        "engine-socket-left-over",
        True,
    ),
    "MIG": (
        "The following GPUs could not be reset:\n  GPU 00000000:0B:00.0: In use by another client\n"
        "FATA[0008] Error applying MIG configuration with hooks: error resetting all GPUs: exit status 255 ",
        "gpu-not-free",
        True,
    ),
    "an unsigned module without Secure Boot": (
        "[    5.123456] Loading of module with unavailable key is rejected\nmodprobe: ERROR: could not insert 'nvidia': Required key not available",
        "module-not-signed",
        True,
    ),
    "a driver that this kernel is too new for": (
        "/var/lib/dkms/nvidia/465.1/build/nvidia/nv-acme.c:98:5: error: implicit declaration of function 'sys_acme' [-Werror]\n"
        "cc1: some warnings being treated as errors",
        "driver-not-built",
        True,
    ),
    "a mount that the server forgot": (
        "docker: Error response from daemon: failed to create task for container: failed to create shim task: OCI runtime create failed: runc create"
        ' failed: unable to start container process: error mounting "/srv/m" to rootfs at "/m": stat /srv/m: stale NFS file handle: unknown.',
        "file-handle-stale",
        True,
    ),
    "Docker's chains after a firewall's reload": (
        "Error response from daemon: driver failed programming external connectivity on endpoint acme (5a): Unable to enable DNAT rule:  (iptables"
        " failed: iptables --wait -t nat -A DOCKER -p tcp: iptables v1.8.2 (nf_tables): Chain 'DOCKER' does not exist",
        "docker-iptables",
        False,
    ),
    "NPUs out of order": (
        "RuntimeError: init:acme.cpp:292 NPU function error: aclrtGetDeviceCount(&device_count), error code is 207004\n"
        "[ERROR] 2025-07-17-08:06:53 (PID:7, Device:-1, RankID:-1) ERR00100 PTA call acl api failed\n[Error]: The device is unavailable.\n"
        "EE1001: [PID: 7] 2025-07-17-08:06:53.296.370 The argument is invalid.Reason: set ASCEND_RT_VISIBLE_DEVICES:0,2,1 error, it must be configured"
        " in ascending order",
        "npu-visible-order",
        True,
    ),
}


@pytest.mark.parametrize("case", TOLD)
def test_an_excerpt_is_explained_by_the_row_that_says_most(case: str) -> None:
    log, name, sure = TOLD[case]
    found = failures.explain(log.split("\n"), 1)
    assert (found.hint, found.sure) == (name, sure)
    assert found.root and found.root.strip() != "Error:", "a heading alone says nothing"


@pytest.mark.parametrize(
    "before",
    [
        "kern  :err   : [  100.123456] ",
        "kern  :notice: [100.123456] ",
        "10.0.0.5: kern: notice: [2025-05-10T09:11:12.123456789Z]: ",
        "gpu-1: kern:     err: [2025-05-10T09:11:12Z]: ",
        "kern  :warn  : ",
    ],
)
def test_what_dmesg_writes_before_a_line_is_no_part_of_it(before: str) -> None:
    assert strip(before + "NVRM: Xid (PCI:0000:44:00): 79, acme")[2] == "NVRM: Xid (PCI:0000:44:00): 79, acme"


def test_a_gpu_whose_firmware_failed_is_reset_first() -> None:
    said = "NVRM: Xid (PCI:0000:c1:00): 120, acme task exception\nNVRM: Xid (PCI:0000:c1:00): 154, GPU recovery action changed from 0x0 (None) to 0x1"
    assert "--gpu-reset" in (failures.explain(said.split("\n"), 1).meaning or "")


def test_the_deepest_cause_of_a_program_in_rust_counts() -> None:
    said = "error: Failed to fetch: `https://pypi.org/simple/acme/`\n  Caused by: client error (Connect)\n  Caused by: invalid peer certificate: UnknownIssuer"
    found = failures.explain(said.split("\n"), 1)
    assert (found.hint, found.root) == ("certificate", "invalid peer certificate: UnknownIssuer")
    assert failures.explain(said.split("\n")[:1], 1).hint == "index-unreachable"


def test_what_ansible_does_next_is_no_error() -> None:
    said = "TASK [acme.driver : install driver packages] *****\nE: Unable to correct problems, you have held broken packages."
    found = failures.explain(said.split("\n"), 1)
    assert found.hint == "packages-contradict"
    assert failures.explain(["PLAY RECAP *****"], 1).root is None
