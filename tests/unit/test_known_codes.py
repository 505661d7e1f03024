"""Codes and names of which there is a finite list (the system's, CUDA's, NVML's, systemd's, OpenSSL's, Python's own): each one is explained."""

from __future__ import annotations

import errno
import os

import pytest
from ansible.module_utils.serving.service import cuda_names
from ansible.module_utils.serving.service.failures import POSSIBLE, explain

# Those of errno that opening files, sockets, devices and programs gives.
MET = (
    *(
        1,
        2,
        5,
        6,
        7,
        11,
        12,
        13,
        16,
        17,
        18,
        19,
        20,
        21,
        22,
        23,
        24,
        25,
        26,
        27,
        28,
        30,
        32,
        36,
        38,
        39,
        40,
        75,
        95,
        97,
        98,
        99,
        100,
        101,
    ),
    *(104, 105, 107, 110, 111, 112, 113, 116, 121, 122),
)
CUDA = """invalid argument|out of memory|initialization error|invalid configuration argument|invalid device function
CUDA driver version is insufficient for CUDA runtime version|no CUDA-capable device is detected|invalid device ordinal|device kernel image is invalid
peer access is not supported between these two devices|PTX JIT compiler library not found|a PTX JIT compilation failed
the provided PTX was compiled with an unsupported toolchain.|an illegal memory access was encountered|too many resources requested for launch
the launch timed out and was terminated|device-side assert triggered|unspecified launch failure|operation not permitted|operation not supported
system not yet initialized|system has unsupported display driver / cuda driver combination
MPS client failed to connect to the MPS control daemon or the MPS server|uncorrectable ECC error encountered|hardware stack error
an illegal instruction was encountered|misaligned address|invalid program counter|API call is not supported in the installed CUDA driver
operation not permitted when stream is capturing|forward compatibility was attempted on non supported HW
no kernel image is available for execution on the device|CUDA-capable device(s) is/are busy or unavailable|unknown error
exclusive-thread device already in use by a different thread|an external device caused an error|invalid cluster size"""
NVML = """DriverNotLoaded Timeout IrqIssue LibraryNotFound FunctionNotFound CorruptedInforom GpuIsLost ResetRequired OperatingSystem LibRmVersionMismatch InUse
Memory NoData Unknown ArgumentVersionMismatch NotSupported NoPermission NotFound InsufficientPower InsufficientSize Uninitialized"""
SYSTEMD = """200/CHDIR 201/NICE 203/EXEC 205/LIMITS 206/OOM_ADJUST 208/STDIN 209/STDOUT 210/CHROOT 213/CPUAFFINITY 214/SETSCHEDULER 215/CAPABILITIES 216/GROUP
217/USER 218/CAPABILITIES 219/CGROUP 222/STDERR 224/PAM 225/NETWORK 226/NAMESPACE 227/NO_NEW_PRIVILEGES 228/SECCOMP 229/SELINUX_CONTEXT 231/APPARMOR_PROFILE
232/ADDRESS_FAMILIES 233/RUNTIME_DIRECTORY 235/CHOWN 237/KEYRING 238/STATE_DIRECTORY 239/CACHE_DIRECTORY 240/LOGS_DIRECTORY 242/NUMA_POLICY 243/CREDENTIALS"""
TLS = """CERTIFICATE_VERIFY_FAILED WRONG_VERSION_NUMBER UNEXPECTED_EOF_WHILE_READING TLSV1_ALERT_PROTOCOL_VERSION TLSV1_ALERT_INTERNAL_ERROR
TLSV1_ALERT_UNKNOWN_CA SSLV3_ALERT_HANDSHAKE_FAILURE SSLV3_ALERT_BAD_CERTIFICATE TLSV1_UNRECOGNIZED_NAME UNSAFE_LEGACY_RENEGOTIATION_DISABLED
DH_KEY_TOO_SMALL CA_MD_TOO_WEAK
UNSUPPORTED_PROTOCOL KEY_VALUES_MISMATCH NO_CERTIFICATE_OR_CRL_FOUND HTTP_REQUEST TLSV13_ALERT_CERTIFICATE_REQUIRED RECORD_LAYER_FAILURE"""
# How a pull breaks off, as Go says it.
PULLS = """EOF|dial tcp 10.0.0.7:443: i/o timeout|dial tcp: lookup cdn.example on 10.0.0.8:53: no such host|net/http: TLS handshake timeout
x509: certificate signed by unknown authority|remote error: tls: handshake failure|tls: first record does not look like a TLS handshake
read tcp 10.0.0.7:5->10.0.0.9:443: read: connection reset by peer|dial tcp 10.0.0.7:443: connect: connection refused|context deadline exceeded
net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)|unexpected status code 403 Forbidden
proxyconnect tcp: dial tcp 10.0.0.1:3128: connect: connection refused|toomanyrequests: Rate exceeded|no basic auth credentials
unsupported media type application/vnd.acme|manifest unknown|stream error: stream ID 7; INTERNAL_ERROR; received from peer"""
HTTP = (
    400,
    401,
    403,
    404,
    407,
    408,
    409,
    410,
    413,
    416,
    422,
    423,
    429,
    451,
    500,
    501,
    502,
    503,
    504,
    507,
    511,
    521,
    525,
)

# What the system says to a container engine; ENOENT, EPERM and others whose meaning hangs on the call have rows by what was called.
TO_ENGINES = (5, 7, 11, 12, 16, 17, 18, 19, 20, 21, 24, 28, 30, 32, 36, 38, 40, 95, 104, 107, 111, 116, 117, 122, 126, 127, 129)  # fmt: skip
# nvidia-container-cli: `<part> error: <library> error: <reason>`.
CLI = """initialization error: nvml error: driver not loaded|initialization error: nvml error: function not found
initialization error: nvml error: gpu requires reset|detection error: nvml error: insufficient permissions|initialization error: cuda error: unknown error
initialization error: load library failed: libcuda.so.1: cannot open shared object file: no such file or directory
initialization error: load library failed: libdxcore.so: cannot open shared object file|initialization error: driver rpc error: timed out
initialization error: cuda error: forward compatibility was attempted on non supported hw|initialization error: change root failed: permission denied
initialization error: open failed: /proc/sys/kernel/overflowuid: permission denied|initialization error: user namespace mapping failed: operation not permitted
initialization error: open failed: /proc/driver/nvidia/params: no such file or directory|initialization error: process creation failed: cannot allocate memory
ldcache error: open failed: /etc/ld.so.cache: no such file or directory|ldcache error: process /sbin/ldconfig terminated with signal 9
mount error: mount operation failed: /usr/bin/nvidia-smi: operation not permitted
mount error: file creation failed: /srv/x/usr/bin/acme: no space left on device
mount error: file creation failed: /srv/x/usr/bin/acme: permission denied|mount error: stat failed: /dev/nvidia-modeset: no such file or directory
mount error: path error: /usr/lib64: not a directory|device error: unknown device id: GPU-7
container error: open failed: /proc/12345/mountinfo: permission denied
requirement error: unsatisfied condition: brand = tesla|container error: failed to get cgroup path
mount error: write error: /sys/fs/cgroup/x: operation not permitted"""


def raised(error: str) -> list[str]:
    return ["Traceback (most recent call last):", '  File "/opt/acme/run.py", line 3, in main', "    go()", error]


LOGS = {
    **{
        errno.errorcode[number]: raised(f"{type(OSError(number, 'x')).__name__}: [Errno {number}] {os.strerror(number)}: '/srv/x'")
        for number in MET
    },
    **{f"CUDA: {words}": raised(f"RuntimeError: CUDA error: {words}") for words in CUDA.replace("\n", "|").split("|")},
    **{f"CUDA by name: {name}": raised(f"RuntimeError: CUDA driver error: CUDA_ERROR_{name}") for name in cuda_names.WORDS},
    **{f"NVML: {name}": raised(f"pynvml.NVMLError_{name}: words") for name in NVML.split()},
    **{
        f"systemd: {status}": [f"host systemd[1]: acme.service: Main process exited, code=exited, status={status}"]
        for status in SYSTEMD.split()
    },
    **{f"TLS: {reason}": raised(f"ssl.SSLError: [SSL: {reason}] {reason.lower().replace('_', ' ')} (_ssl.c:1006)") for reason in TLS.split()},
    **{
        f"pull: {words}": [f"Error response from daemon: error pulling image configuration: download failed after attempts=6: {words}"]
        for words in PULLS.replace("\n", "|").split("|")
    },
    **{f"HTTP: {status}": raised(f"requests.exceptions.HTTPError: {status} Error: words for url: https://hub.example/api/models/acme/m") for status in HTTP},
    **{
        f"Docker: {errno.errorcode[number]}": [
            "docker: Error response from daemon: failed to create task for container: failed to create shim task: OCI runtime create failed:"
            f" runc create failed: unable to start container process: unable to set up acme: {os.strerror(number).lower()}: unknown"
        ]
        for number in TO_ENGINES
    },
    **{
        f"podman: {errno.errorcode[number]}": [f"Error: preparing container 3e41 for attach: crun: acme `/srv/x`: {os.strerror(number)}: OCI runtime error"]
        for number in TO_ENGINES
    },
    **{
        f"NVIDIA: {words}": [
            "docker: Error response from daemon: OCI runtime create failed: runc create failed: unable to start container process: error during container"
            " init: error running prestart hook #0: exit status 1, stdout: , stderr: Auto-detected mode as 'legacy'",
            f"nvidia-container-cli: {words}: unknown.",
        ]
        for words in CLI.replace("\n", "|").split("|")
    },
}  # fmt: skip


@pytest.mark.parametrize("name", LOGS)
def test_a_code_of_a_finite_list_is_explained_with_what_helps(name: str) -> None:
    found = explain(LOGS[name], 1)
    assert found.hint and found.hint not in ("own-words", "nvidia-cli-other", "oci-mount"), found
    assert found.meaning and ": " in found.meaning.removeprefix(POSSIBLE + ": "), found


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"),
        ("cudaErrorIllegalAddress", "an illegal memory access was encountered"),
        ("cudaErrorNoKernelImageForDevice", "no kernel image is available for execution on the device"),
        ("cudaErrorMemoryAllocation", "out of memory"),
        ("cudaErrorSystemNotReady", "system not yet initialized"),
        ("CUDA_ERROR_ECC_UNCORRECTABLE", "uncorrectable ECC error encountered"),
    ],
)
def test_an_error_of_cuda_is_known_by_its_name_as_by_its_words(name: str, hint: str) -> None:
    by_words = explain(raised(f"RuntimeError: CUDA error: {hint}"), 1)
    by_name = explain(raised(f"RuntimeError: acme_launch failed with {name}"), 1)
    assert by_name.hint == by_words.hint and by_name.hint != "cuda"
    assert by_name.root == f"RuntimeError: acme_launch failed with {name}"


def test_a_name_that_nobody_knows_stays_as_it_is() -> None:
    assert cuda_names.in_words("failed with CUDA_ERROR_ACME, cudaErrorAcme and CUDA_SUCCESS") == (
        "failed with CUDA_ERROR_ACME, cudaErrorAcme and CUDA_SUCCESS"
    )
