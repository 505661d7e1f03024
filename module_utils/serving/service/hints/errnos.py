"""Failure hints: what the system said of a call (errno), where nothing more is known: as Python writes it ("[Errno 21] Is a directory") and Rust."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint


def of_errno(*numbers: int) -> str:
    """A pattern of these numbers as Python and Rust write them."""
    return r"(?:\[Errno |\(os error )(?:%s)[\])]" % "|".join(str(number) for number in numbers)


LINUX = "Linux, errno(3)"
HINTS = (
    Hint(
        "path-is-a-folder",
        of_errno(21),
        "a folder stands where a file is expected: an option names a folder, or a file that was to be mounted was not on the host, and the"
        " container engine made a folder of that name",
        "name the file; on the host remove the empty folder that was made, put the file there and start again",
        LINUX,
        "IsADirectoryError: [Errno 21] Is a directory: '/srv/x'",
        general=True,
    ),
    Hint(
        "path-is-a-file",
        of_errno(20),
        "a file stands where a folder is expected: an option names a file, or a path goes on below a file",
        "name the folder; ls -ld of each part of the path shows which is a file",
        LINUX,
        "NotADirectoryError: [Errno 20] Not a directory: '/srv/x/config.json'",
        general=True,
    ),
    Hint(
        "path-is-there",
        of_errno(17),
        "something of that name is there already: left by a run that ended, or made by another process at the same moment",
        "where no process uses it (fuser PATH), remove it and start again; give each service and rank a folder of its own (TMPDIR, caches in the row's env)",
        LINUX,
        "FileExistsError: [Errno 17] File exists: '/srv/x'",
        general=True,
    ),
    Hint(
        "links-in-a-circle",
        of_errno(40),
        "symbolic links of the path lead round in a circle",
        "namei -l PATH shows them: remove the wrong link; for a model run deploy.yml --tags fetch",
        LINUX,
        "OSError: [Errno 40] Too many levels of symbolic links: '/srv/x'",
        general=True,
    ),
    Hint(
        "call-not-supported",
        of_errno(22, 25, 38, 92, 93, 95),
        "the file system, device or kernel does not know a call, or not with these values: network, FUSE and overlay folders, sandboxes and old"
        " kernels lack some (locks, direct reads), or a cpuset lacks the core",
        "the traceback's last lines say what was called: put that folder on a local disk (ext4, xfs); sched_setaffinity: give it all cores;"
        " in a container try seccomp=unconfined,"
        " elsewhere a newer kernel",
        LINUX,
        "OSError: [Errno 95] Operation not supported: '/srv/x'",
        general=True,
    ),
    Hint(
        "over-file-systems",
        of_errno(18),
        "a file was to be moved or linked from one file system to another, which can't be done",
        "put both on one: the caches and the folder for temporary files (HF_HOME, TMPDIR, TRITON_CACHE_DIR in the row's env)",
        LINUX,
        "OSError: [Errno 18] Invalid cross-device link: '/srv/x' -> '/tmp/x'",
        general=True,
    ),
    Hint(
        "program-in-use",
        of_errno(26),
        "a program was to be written over while it runs, or run while it is written",
        "stop what runs it (fuser PATH), then run deploy.yml again",
        LINUX,
        "OSError: [Errno 26] Text file busy: '/srv/x'",
        general=True,
    ),
    Hint(
        "arguments-too-long",
        of_errno(7),
        "arguments and environment of a program are longer than the system takes (128 KiB each)",
        "shorten the longest variable of the row's env; give long values as a file (chat_template, config)",
        LINUX,
        "OSError: [Errno 7] Argument list too long: '/bin/sh'",
        general=True,
    ),
    Hint(
        "reader-gone",
        of_errno(32) + r"|^RuntimeError: Broken pipe$",
        "what read this program's words, or was at the other end of a connection, is gone: it ended before, and said why, or closed its side",
        "look at what other processes, ranks or hosts said before; where only the log's reader ended, start the service again",
        LINUX,
        "BrokenPipeError: [Errno 32] Broken pipe",
        general=True,
    ),
    Hint(
        "no-answer-in-time",
        of_errno(110)
        + r"|^(?:TimeoutError|socket\.timeout): (?:timed out|The read operation timed out)$|^RuntimeError: Socket Timeout$",
        "who was asked over the network did not answer in time: the host is down, a firewall drops what is sent, or it is too busy",
        "the traceback's last lines say what was asked: nc -vz HOST PORT from this host; open the firewall for it, correct the address or the proxy",
        LINUX,
        "TimeoutError: [Errno 110] Connection timed out",
        general=True,
    ),
    Hint(
        "nobody-listens",
        of_errno(111),
        "nothing listens at the address that was asked: its program has not started yet or has ended, or it listens elsewhere (127.0.0.1 of"
        " a container is its own)",
        "ss -ltnp on that host shows what listens; the message or the traceback's last lines name the address: start that program first, or"
        " correct address and port",
        LINUX,
        "ConnectionRefusedError: [Errno 111] Connection refused",
        general=True,
    ),
    Hint(
        "host-not-reached",
        of_errno(112, 113),
        "the host that was asked does not answer on its network: it is down, has another address, or a firewall rejects this port",
        "ping and nc -vz HOST PORT from here; open the port in its firewall, correct the address; a file system of it: umount -l, then mount again",
        LINUX,
        "OSError: [Errno 113] No route to host",
        general=True,
    ),
    Hint(
        "network-down",
        of_errno(100, 105),
        "a network interface is down, or the kernel has no buffers left for it",
        "ip -br link shows which is down; without buffers raise net.core.wmem_max and net.ipv4.neigh.default.gc_thresh3, and look at dmesg",
        LINUX,
        "OSError: [Errno 100] Network is down",
        general=True,
    ),
    Hint(
        "device-without-driver",
        of_errno(6),
        "a device's file is there, and no device or driver behind it: the module is not loaded, or the device was lost",
        "dmesg says which; load its module (modprobe), start the service again so that it gets the devices of now, or reboot",
        LINUX,
        "OSError: [Errno 6] No such device or address: '/dev/acme0'",
        general=True,
    ),
    Hint(
        "in-use",
        of_errno(16),
        "something still uses the path or device: a process, a mount, or on NFS a file that is open elsewhere",
        "fuser -vm PATH (lsof PATH) shows who; end it or unmount it, then again",
        LINUX,
        "OSError: [Errno 16] Device or resource busy: '/srv/x'",
        general=True,
    ),
    Hint(
        "not-allowed",
        of_errno(1),
        "the system forbids it whatever the file's mode is: the process lacks a capability, seccomp or a security module refuses, the file"
        " is immutable (lsattr), or"
        " a network file system maps root away",
        "dmesg and ausearch -m avc name a security module; in a container the row's security options; on the host owner, lsattr and the mount's options",
        LINUX,
        "OSError: [Errno 1] Operation not permitted",
        general=True,
    ),
    Hint(
        "disk-inconsistent",
        of_errno(61, 84, 121, 123, 124),
        "a file system or the disk below it is damaged, or a network file system's server fails",
        "dmesg says which: unmount it and run fsck (xfs_repair), look at smartctl; then fetch the model again (deploy.yml --tags fetch)",
        LINUX,
        "OSError: [Errno 121] Remote I/O error: '/srv/x'",
        general=True,
    ),
    Hint(
        "folder-not-empty",
        of_errno(39),
        "a folder that was to be removed is not empty: another process writes into it, or NFS keeps files that are open (.nfs...)",
        "end what uses it (fuser -vm PATH) and start again; give each service a cache of its own",
        LINUX,
        "OSError: [Errno 39] Directory not empty: '/srv/x'",
        general=True,
    ),
    Hint(
        "file-too-large",
        of_errno(27),
        "a file grows beyond what its file system (FAT: 4 GiB) or a limit of the process (LimitFSIZE, ulimit -f) allows",
        "put it on ext4 or xfs; raise LimitFSIZE of the unit",
        LINUX,
        "OSError: [Errno 27] File too large",
        general=True,
    ),
    Hint(
        "value-too-large",
        of_errno(75),
        "a number does not fit: a user or group id outside of what a container's user namespace maps, or a 32-bit program with a large file",
        "podman without root: /etc/subuid and /etc/subgid must cover the id, or chown the files; else a 64-bit program",
        LINUX,
        "OSError: [Errno 75] Value too large for defined data type: '/srv/x'",
        general=True,
    ),
)
