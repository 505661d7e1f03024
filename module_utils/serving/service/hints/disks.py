"""Failure hints: the kernel's own words of a host's disks, network file systems, buses and processors, and of its security modules."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

HINTS = (
    Hint(
        "systemd-namespaces-full",
        r"Failed to set up (?:special execution directory|(?:mount|user) namespacing)[^\n]{0,160}: No space left on device",
        "systemd can't make the namespaces that this unit asks for: user or mount namespaces are limited or off, or /run (a tmpfs) is full",
        "sysctl user.max_user_namespaces user.max_mnt_namespaces must not be 0 (28633 is usual); df -h /run; or take PrivateUsers= and its like out"
        " of the unit",
        "systemd/systemd#35311",
        "systemd[1]: acme.service: Failed to set up special execution directory in /run: No space left on device",
    ),
    Hint(
        "inotify-full",
        r"(?:inotify|fsnotify)[^\n]{0,120}(?:[Nn]o space left|[Tt]oo many open files)|inotify (?:instance|watch) limit reached|limit on inotify watches"
        r"|Failed to allocate directory watch|(?:[Nn]o space left on device|[Tt]oo many open files)[^\n]{0,40}inotify",
        "the limit of watched files (inotify) of this user is used up; the disk is not full",
        "raise fs.inotify.max_user_watches and fs.inotify.max_user_instances by sysctl",
        "Linux, inotify(7)",
        "failed to create fsnotify watcher: too many open files",
    ),
    Hint(
        "journal-damaged",
        r"(?:[Jj]ournal|\.service|\bUnit\b)[^\n]{0,200}: Bad message",
        "a file of systemd's journal is damaged, as after a power cut (old entries are lost, services are not hurt), or a unit file can't be read as"
        " it is written",
        "journalctl --verify names it; journalctl --rotate, then remove that file; for a unit that fails to load: systemd-analyze verify UNIT",
        "systemd/systemd#24150",
        "systemd-journald[400]: Failed to iterate through journal: Bad message",
    ),
    Hint(
        "file-system-shut",
        r"(?:EXT4-fs|BTRFS) (?:error|critical)\b|[Rr]emounting filesystem read-only|Aborting journal on device"
        r"|XFS \(\S{1,40}\): (?:Corruption|Metadata (?:corruption|I/O)|[Ff]ile ?system has been shut down|Filesystem has)",
        "the kernel found a fault in a file system and lets nobody write to it any more: its disk fails, or its records are damaged",
        "dmesg and smartctl -a show whether the disk fails; unmount it and let fsck (xfs_repair, btrfs check) repair it, or reboot, then"
        " deploy again; what was"
        " written last may be damaged (weights_info, full: true)",
        "Linux, ext4, XFS, btrfs; coreos/bugs#1811",
        "EXT4-fs (acme9): Remounting filesystem read-only",
    ),
    Hint(
        "thin-storage-full",
        r"critical space allocation error, dev",
        "the storage below this disk is full (a thin pool, a virtual machine's disk file); the disk itself does not fail",
        "make room in the pool or datastore below (lvs, or the virtual machine's host), then fsck and remount",
        "Linux, block layer",
        "kernel: critical space allocation error, dev dm-3, sector 12345",
    ),
    Hint(
        "disk-fails",
        r"(?:I/O|critical (?:medium|target)) error, dev (?!fd\d|sr\d|loop\d|nbd\d|zram)\w(?![^\n]{0,120}DISCARD)|Buffer I/O error on (?:dev"
        r"|device) (?!fd\d|sr\d|loop\d|nbd\d|zram)|nvme\d{1,3}[^\n]{0,20}: (?:I/O [^\n]{0,40}timeout|Device not ready|controller is down"
        r"|Removing after probe failure)",
        "a disk does not answer the kernel, or answers that it can't read or write: it fails, or its cable, slot or controller does",
        "smartctl -a (nvme smart-log) on the device that the line names; move the data away and replace it; check the weights there"
        " (weights_info, full:"
        " true)",
        "Linux, block layer, nvme",
        "blk_update_request: I/O error, dev nvme7n1, sector 9 op 0x0:(READ)",
    ),
    Hint(
        "nfs-not-answering",
        r"nfs: server \S{1,200} not responding|mount\.nfs4?: (?:Connection (?:timed out|refused)|No route to host|mount system call failed)",
        "the server of a network file system does not answer this host: it is down, overloaded, or a network or firewall stands between",
        "ping it and showmount -e SERVER from this host; processes that read there hang until it answers, so wait or umount -f -l",
        "Linux, NFS",
        "nfs: server 10.0.0.9 not responding, timed out",
    ),
    Hint(
        "nfs-refused",
        r"mount\.nfs4?: access denied by server|mount\.nfs4?: (?:Operation not permitted|Permission denied)",
        "the server of a network file system does not give this folder to this host, or not in this way: its exports do not name the host, or not the"
        " version or security that was asked for",
        "on the server correct /etc/exports (exportfs -ra; showmount -e), here the options of the mount (vers=, sec=)",
        "Linux, mount.nfs",
        "mount.nfs: access denied by server while mounting 10.0.0.9:/srv/acme",
    ),
    Hint(
        "task-hangs-in-kernel",
        r"\btask \S{1,60} blocked for more than \d{1,5} seconds",
        "a process waits inside the kernel and can't even be killed: a disk or network file system does not answer, or a driver hangs",
        "the lines below it show on what it waits (nfs, nvme, nvidia): look at that one's own lines in dmesg, at the disk or server, or reboot",
        "Linux, hung task",
        "INFO: task acme:12345 blocked for more than 120 seconds.",
        passing=True,
        sure=False,
    ),
    Hint(
        "machine-check",
        r"mce: \[Hardware Error\]|Machine [Cc]heck (?:[Ee]xception|events logged)|EDAC [^\n]{0,80}\bUE\b",
        "the processor or the host's memory reports a fault of the hardware",
        "ras-mc-ctl --errors, or the board's own log (ipmitool sel list), names the module: replace it; a host that reports UE lines"
        " gives wrong results",
        "Linux, MCE, EDAC",
        "mce: [Hardware Error]: Machine check events logged",
        sure=False,
    ),
    Hint(
        "pcie-error",
        r"AER: [^\n]{0,40}(?:Uncorrect|Fatal)|PCIe Bus Error: severity=Uncorrect",
        "the connection to a PCIe card (the line names its address) breaks: its seat, riser, slot or power, or the card itself",
        "lspci -s ADDRESS shows which card; power off, seat it anew or move it to another slot; update the BIOS; then the card",
        "Linux, PCIe AER",
        "pcieport 0000:0b:01.0: AER: Uncorrected (Fatal) error received: 0000:0b:00.0",
        sure=False,
    ),
    Hint(
        "iommu-fault",
        r"DMAR: (?:\[DMA |DRHD: handling fault)|arm-smmu[^\n]{0,80}[Uu]nhandled context fault|AMD-Vi: Event logged \[IO_PAGE_FAULT",
        "the IOMMU stopped a card (its address is in the line) from memory that it may not use: driver or firmware asks for the wrong"
        " place, or the IOMMU is"
        " set in a way that direct access between cards does not bear",
        "lspci -s ADDRESS shows which card; start the kernel with iommu=pt, switch ACS off in the BIOS for GPUs that speak to one"
        " another, update BIOS and"
        " driver",
        "Linux, DMAR, AMD-Vi",
        "DMAR: [DMA Read NO_PASID] Request device [0b:00.0] fault addr 0x9000 [fault reason 0x06] PTE Read access is not set",
        sure=False,
    ),
    Hint(
        "kernel-memory-pieces",
        r"page allocation (?:failure|stalls)",
        "the kernel found no piece of memory as large as a driver asked for: the host's memory is nearly used up, or in too small pieces",
        "free -m shows what is left: run fewer services, lower kv_cache_memory_bytes; raise vm.min_free_kbytes, write 1 to"
        " /proc/sys/vm/compact_memory, or"
        " reboot",
        "Linux, page allocator",
        "acme: page allocation failure: order:4, mode:0x40dc0(GFP_KERNEL|__GFP_COMP)",
        sure=False,
    ),
    Hint(
        "selinux-refused",
        r"avc: {1,2}denied {1,2}\{(?! module_load )(?![^\n]{0,900}permissive=1)",
        "SELinux refused a program something (the line names the program, the file and the labels of both)",
        "restorecon -Rv on the file, or mount it with `:z`; for devices in containers setsebool -P container_use_devices on, or label=disable;"
        " audit2why reads the line",
        "SELinux",
        'type=AVC msg=audit(1.1:9): avc:  denied  { map } for  pid=1 comm="acme" path="/dev/acme0" permissive=0',
        sure=False,
    ),
    Hint(
        "apparmor-refused",
        r"apparmor=\"DENIED\"",
        "AppArmor refused a program something (the line names its profile, the operation and the path)",
        "for docker-default take the path or right out of the container's `mounts`, or give the container a profile that has it;"
        " aa-status lists profiles",
        "AppArmor",
        'audit: type=1400 audit(1.1:9): apparmor="DENIED" operation="mount" profile="docker-default" name="/acme/"',
        sure=False,
    ),
    Hint(
        "page-size",
        r"Unsupported system page size",
        "a program or library here (jemalloc) was built for a smaller page of memory than this kernel has (getconf PAGESIZE tells it, 64 KiB on"
        " some Arm servers)",
        "boot the kernel with 4 KiB pages (Ubuntu: linux-nvidia in place of linux-nvidia-64k; openEuler, Kylin: another kernel), or take"
        " a build for 64 KiB; without LD_PRELOAD of jemalloc in the row's env",
        "jemalloc; nanoporetech/dorado#1377",
        "<jemalloc>: Unsupported system page size",
    ),
    Hint(
        "mount-refused",
        r"wrong fs type, bad option, bad superblock|special device \S{1,120} does not exist|unknown filesystem type '(?!overlay)"
        r"|requested NFS version or transport protocol is not supported",
        "a file system can't be mounted: the program for its kind is missing (nfs-common, cifs-utils), an option or the version is not one that both"
        " sides know, the device is not there, or it is damaged",
        "dmesg says which; install the program, correct /etc/fstab (vers=4.2 or 3), lsblk -f shows devices and kinds; fsck only on what is not"
        " mounted",
        "Linux, mount",
        "mount: /mnt/models: wrong fs type, bad option, bad superblock on nas:/models, missing codepage or helper program, or other error.",
        sure=False,
    ),
    Hint(
        "mount-busy",
        r"umount: \S{1,120} target is busy|umount: \S{1,120} device is busy",
        "a mounted folder is still used, so it can't be taken off",
        "fuser -vm FOLDER shows who uses it: stop that service (maintenance); umount -l takes it off when the last one ends",
        "Linux, umount",
        "umount: /mnt/models: target is busy.",
    ),
    Hint(
        "archive-damaged",
        r"tar: Unexpected EOF in archive|gzip: stdin: (?:not in gzip format|unexpected end of file)|unexpected end of file in archive"
        r"|tar: This does not look like a tar archive|xz: \S{1,80} (?:Unexpected end of input|File format not recognized)",
        "an archive is cut, or is none: a download broke off, or a page of HTML came in its place",
        "compare its size and sha256 with the source's, file NAME shows what it is; fetch it again",
        "tar; gzip",
        "tar: Unexpected EOF in archive",
    ),
    Hint(
        "shared-memory-gone",
        r"unable to open shared memory object [^\n]{0,120}No such file or directory",
        "a segment in /dev/shm is gone: the process that made it has ended, the containers don't share IPC, or logind removed it at a logout"
        " (RemoveIPC)",
        "look for what failed before; ipc: host; RemoveIPC=no in logind.conf, or run as a system user",
        "torch, file_descriptor sharing",
        "RuntimeError: unable to open shared memory object </torch_104> in read-write mode: No such file or directory (2)",
        sure=False,
        late=True,
    ),
    Hint(
        "stack-not-executable",
        r"cannot enable executable stack as shared object requires: Invalid argument",
        "this libc (2.41 and newer; WSL too) no longer loads a library that asks for an executable stack",
        "a newer release of the package that brings it; patchelf --clear-execstack FILE; or env GLIBC_TUNABLES: glibc.rtld.execstack=2",
        "glibc 2.41",
        "ImportError: libacme.so: cannot enable executable stack as shared object requires: Invalid argument",
    ),
)
