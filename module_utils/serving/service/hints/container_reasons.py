"""Failure hints: what the system said to a container engine, where nothing more is known: the end of a message of Docker, containerd, runc, crun, podman."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

ENGINES = (
    r"(?:OCI runtime|runc|crun|conmon|[Ee]rror response from daemon|nvidia-container-(?:cli|runtime)|dockerd|containerd|podman|libcontainer"
    r"|failed to start daemon)"
)
AFTER = r"(?:: (?:unknown|OCI runtime error|OCI not found|exit status \d{1,3}))*"  # what engines add


def of_engines(words: str) -> str:
    """A pattern of what the system says at the end of an engine's message."""
    return ENGINES + r"\b[^\n]{0,2000}[:)] ?(?i:%s)%s[.\s\"'`)\\\\]*$" % (words, AFTER)


LINUX = "Linux, errno(3)"
BEGINS = "Error response from daemon: OCI runtime create failed: runc create failed: acme: "
HINTS = (
    Hint(
        "container-memory",
        of_engines("cannot allocate memory"),
        "the system has no memory, or no more of something that it counts, for the container",
        "free -h and dmesg; raise the memory limit of what surrounds the engine, end what is left of old containers (docker ps -a), and restart the engine",
        LINUX,
        BEGINS + "cannot allocate memory: unknown",
        general=True,
    ),
    Hint(
        "container-open-files",
        of_engines("too many open files(?: in system)?"),
        "the engine, its user or the whole host has no more open files or inotify instances",
        "raise LimitNOFILE of the engine's unit, and fs.inotify.max_user_instances, fs.inotify.max_user_watches and fs.file-max by sysctl;"
        " then restart the engine",
        LINUX,
        BEGINS + "too many open files: unknown",
        general=True,
    ),
    Hint(
        "container-processes",
        of_engines("resource temporarily unavailable"),
        "the system makes no more processes or threads for the container, or something that was asked is busy at this moment",
        "raise TasksMax of the engine's unit, the pids limit, and kernel.pid_max and kernel.threads-max by sysctl; end what is left of old"
        " containers; then start again",
        LINUX,
        BEGINS + "resource temporarily unavailable: unknown",
        general=True,
    ),
    Hint(
        "container-busy",
        of_engines("device or resource busy"),
        "something still uses what the container engine wants to mount, remove or change",
        "docker rm -f what is left of it; findmnt shows a mount that stayed (umount -l), fuser -vm who uses it; then restart the engine, or reboot",
        LINUX,
        BEGINS + "device or resource busy: unknown",
        general=True,
    ),
    Hint(
        "container-kinds",
        of_engines("(?:not a directory|is a directory)"),
        "of a mount's source and target one is a file and the other a folder: where the source was not there, Docker has made an empty folder of that name",
        "ls -ld the source on the host: remove the empty folder, put the file there, and name file for file or folder for folder in the row's `mounts`",
        LINUX,
        BEGINS + "not a directory: unknown",
        general=True,
    ),
    Hint(
        "container-read-only",
        of_engines("read-only file system"),
        "the container engine can't write where it has to: the container's root or a mount around the target is read-only, or the system"
        " made a damaged disk so",
        "leave `:ro` off mounts above the target, let the root be writable; findmnt and dmesg show a disk that was made read-only: repair it (fsck)",
        LINUX,
        BEGINS + "read-only file system: unknown",
        general=True,
    ),
    Hint(
        "container-disk",
        of_engines("(?:input/output error|structure needs cleaning|bad message|remote i/o error|no data available)"),
        "a file system or the disk below it is damaged, or the server of a network file system fails",
        "dmesg says which: unmount it and run fsck (xfs_repair), look at smartctl; then pull the image and fetch the model again (deploy.yml --tags fetch)",
        LINUX,
        BEGINS + "input/output error: unknown",
        general=True,
    ),
    Hint(
        "container-fuse",
        of_engines("transport endpoint is not connected"),
        "the program behind a mounted folder (FUSE: sshfs, a bucket, rclone) has ended, and the mount is dead",
        "umount -l that folder on the host, mount it again, then start the container",
        LINUX,
        BEGINS + "transport endpoint is not connected: unknown",
        general=True,
    ),
    Hint(
        "container-links",
        of_engines("too many levels of symbolic links"),
        "links of the path lead round in a circle, or it is an automount that does not answer here",
        "namei -l PATH shows the links: remove the wrong one; for an automount give the real path in `mounts`",
        LINUX,
        BEGINS + "too many levels of symbolic links: unknown",
        general=True,
    ),
    Hint(
        "container-name-long",
        of_engines("(?:file name too long|argument list too long)"),
        "a name, a list of layers, or arguments and environment are longer than the system takes",
        "shorten the engine's data folder or the longest variable of the row's env (128 KiB each); an image of very many layers must be built anew",
        LINUX,
        BEGINS + "file name too long: unknown",
        general=True,
    ),
    Hint(
        "container-not-supported",
        of_engines("(?:operation not supported|not supported|function not implemented)"),
        "the file system below, or the kernel, does not know what the engine asks: folders on NFS, ZFS, FUSE or an overlay lack some of it,"
        " and so do old kernels and sandboxes",
        "put the engine's data folder and that mount on a local disk (ext4, xfs with ftype=1), or use a newer kernel; findmnt -T PATH shows what it lies on",
        LINUX,
        BEGINS + "operation not supported: unknown",
        general=True,
    ),
    Hint(
        "container-no-module",
        of_engines("no such device"),
        "the kernel has no module loaded for that file system or device: after an upgrade of the kernel without a reboot they can't be loaded",
        "reboot, or modprobe it (overlay, fuse, veth, nvidia); uname -r must have a folder in /lib/modules",
        LINUX,
        BEGINS + "no such device: unknown",
        general=True,
    ),
    Hint(
        "container-device-gone",
        of_engines("no such device or address"),
        "a device's file is there, and no device or driver behind it: the module is not loaded, or the device was lost",
        "dmesg says which; load its module or reboot; then generate the CDI file again (nvidia-ctk cdi generate) and start again",
        LINUX,
        BEGINS + "no such device or address: unknown",
        general=True,
    ),
    Hint(
        "container-left",
        of_engines("file exists"),
        "something of that name is there already: left by an earlier run, or part of the image",
        "docker rm -f what is left of it, remove what the message names where nothing uses it, and restart the engine",
        LINUX,
        BEGINS + "file exists: unknown",
        general=True,
    ),
    Hint(
        "container-quota",
        of_engines("disk quota exceeded"),
        "a quota is used up: of the disk, or of the keys that the kernel keeps for each user",
        "quota -s and df -h; where a session key is spoken of: sysctl -w kernel.keys.maxkeys=20000 kernel.keys.maxbytes=1000000",
        LINUX,
        BEGINS + "disk quota exceeded: unknown",
        general=True,
    ),
    Hint(
        "container-key",
        of_engines("(?:key has expired|key was rejected by service|required key not available)"),
        "a key is missing: an encrypted or Kerberos folder is locked, or Secure Boot takes no module that nobody signed",
        "unlock the folder or renew the ticket (kinit); sign the module (mokutil --import), or switch Secure Boot off",
        LINUX,
        BEGINS + "key has expired: unknown",
        general=True,
    ),
    Hint(
        "container-daemon-gone",
        of_engines("(?:connection refused|broken pipe|connection reset by peer)"),
        "a part of the container engine does not answer: it has ended, is just starting, or leaves a socket behind",
        "systemctl status containerd docker, journalctl -u of both; restart containerd, then docker",
        LINUX,
        BEGINS + "connection refused: unknown",
        general=True,
    ),
    Hint(
        "container-ended",
        of_engines("no such process"),
        "the container's process ended before the engine was ready with it",
        "what it said last is in its own log; look at dmesg for a kill, and at a helper or hook that ended",
        LINUX,
        BEGINS + "no such process: unknown",
        general=True,
    ),
    Hint(
        "container-over-file-systems",
        of_engines("invalid cross-device link"),
        "a file was to be moved or linked from one file system to another, which can't be done",
        "keep the engine's data folder on one file system, without mounts inside of it; an overlay needs its layers on one",
        LINUX,
        BEGINS + "invalid cross-device link: unknown",
        general=True,
    ),
    Hint(
        "container-invalid",
        of_engines("invalid argument"),
        "the kernel does not take what the engine asks, or not with these values: an old kernel under a new runc (or the other way round),"
        " an overlay on an overlay, NFS or ZFS, or an option that is wrong",
        "dmesg says which; upgrade kernel and runc, put the engine's data folder on ext4 or xfs (ftype=1), correct options of `mounts`",
        LINUX,
        BEGINS + "invalid argument: unknown",
        general=True,
    ),
    Hint(
        "oci-mount",
        r"mounting \"[^\"]{1,200}\" to rootfs|error jailing process inside rootfs|pivot_root",
        "a mount of the container can't be made",
        "the message names source and target: check that both are of one kind (file or folder) and that the target's parent may be written",
        "runc, libcontainer/rootfs_linux.go",
        'runc create failed: unable to start container process: error mounting "proc" to rootfs at "/proc": mount proc: acme',
        general=True,
    ),
)
