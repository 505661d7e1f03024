"""Failure hints: cgroups that a container engine can't make, join or mount."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

HINTS = (
    Hint(
        "scope-left-over",
        r"(?:unable to start unit|sd-bus call)[^\n]{0,900}(?:was already loaded or has a fragment file|\.scope already exists)",
        "systemd still has the scope of this container's earlier run, as after a kill for lack of memory",
        "systemctl reset-failed (docker-*.scope, libpod-*.scope; rootless: --user), else stop that scope or docker rm -f the container; look for an"
        " oom-kill in dmesg",
        "containers/crun#1138; containers/podman#17422",
        'runc create failed: unable to start unit "docker-ab.scope": Unit docker-ab.scope was already loaded or has a fragment file.',
    ),
    Hint(
        "cgroup-no-swap",
        r"memory\.swap\.max[`'\"]?(?: for writing)?: (?:[Pp]ermission denied|[Nn]o such file)"
        r"|memory\.memsw\S{0,40}: (?:[Pp]ermission denied|[Nn]o such file)",
        "the kernel counts no swap for cgroups, so the container engine may not limit it (Permission denied, no such file), as a limit"
        " of memory asks for",
        "start the kernel with swapaccount=1 (Debian, old Ubuntu), or give the container a limit of memory without one of swap; a newer"
        " crun leaves it out",
        "containers/crun#489",
        "Error: opening file `memory.swap.max` for writing: Permission denied: OCI runtime permission denied error",
    ),
    Hint(
        "cgroup-memory",
        r"(?:/sys/fs/cgroup|cgroup)[^\n]{0,160}(?:cannot allocate memory|no space left on device)",
        "the kernel has no room for another cgroup: too many are left over, or kernel memory accounting of an old kernel leaks",
        "remove left-over containers, then reboot; upgrade a kernel older than 5",
        "docker/for-linux#841",
        "applying cgroup configuration for process: mkdir /sys/fs/cgroup/memory/docker/b27: cannot allocate memory",
        sure=False,
    ),
    Hint(
        "cgroup-driver",
        r"cannot use systemd cgroups? manager|systemd support for managing cgroups is not available",
        "the container engine is set to let systemd make cgroups, and runc finds no systemd that it can use: none runs here (a"
        " container, WSL, another init),"
        " or this runc was built without it",
        "set exec-opts native.cgroupdriver=cgroupfs in /etc/docker/daemon.json and restart Docker; or start systemd, or install the runc of the"
        " distribution or of containerd's package",
        "moby; runc",
        "runc create failed: systemd not running on this host, cannot use systemd cgroups manager: unknown.",
    ),
    Hint(
        "cgroup-systemd",
        r"error creating systemd unit|unable to start unit \"(?![^\n]{0,900}(?:permission denied|Interactive authentication"
        r"|/run/systemd/private))|org\.freedesktop\.systemd1"
        r" was not provided",
        "systemd did not make the container's cgroup: its bus (D-Bus) does not answer, or systemd refused the unit",
        "systemctl status dbus and journalctl of the unit docker-*.scope say why; after an upgrade of systemd or D-Bus reboot the host",
        "opencontainers/runc#3312; moby/moby#47824",
        'runc create failed: unable to apply cgroup configuration: unable to start unit "docker-4d5f.scope": Launch helper exited with code 1',
    ),
    Hint(
        "runc-other-cgroups",
        r"no subsystem for mount|cgroup[^\n]{0,200}memory\.oom\.group: no such file|writing file [`'\"]?devices\.(?:allow|deny)",
        "runc or crun does not get on with this host's cgroups: its release is of another time than the kernel or systemd, or has a fault there",
        "upgrade runc and crun (or go back by one release); in a container give the engine its own cgroup namespace, and /sys/fs/cgroup read-only",
        "opencontainers/runc#3387, #1175; containers/crun#1589",
        "docker: Error response from daemon: oci runtime error: no subsystem for mount.",
        sure=False,
    ),
    Hint(
        "runc-without-cgroups2",
        r"this version of runc doesn't work on cgroups v2",
        "this runc is older than cgroups v2, which this host has",
        "upgrade runc (1.0 or newer) with the container engine; or boot with systemd.unified_cgroup_hierarchy=0",
        "jitsi/docker-jitsi-meet#618",
        "OCI runtime create failed: this version of runc doesn't work on cgroups v2: unknown",
    ),
    Hint(
        "cgroup-not-empty",
        r"container's cgroup is not empty",
        "the cgroup that the new container is to get holds processes already: those of an earlier run that did not end, or the engine's own, as in a"
        " container or on a host without cgroup namespaces",
        "docker rm -f what is left of the container; systemd-cgls shows the processes: end them, or restart the container engine; runc 1.1 did not"
        " look",
        "termux/termux-packages#23181",
        "runc create failed: container's cgroup is not empty: 3 process(es) found: unknown",
        sure=False,
    ),
    Hint(
        "cgroup-subtree",
        r"cgroup\.subtree_control[`'\"]?: (?i:invalid argument|device or resource busy|no such file|operation not supported)",
        "the kernel does not let the engine pass controllers on to the container's cgroup: processes are in that cgroup themselves, the controller is"
        " not given to it, or the host is a container without systemd",
        "with systemd as PID 1 set cgroup_manager = systemd; in an LXC or another container switch nesting on; upgrade crun or runc; then reboot",
        "containers/crun; Linux, cgroups(7)",
        "Error: unable to start container 4711: crun: writing file `/sys/fs/cgroup/cgroup.subtree_control`: Invalid argument: OCI runtime error",
        sure=False,
    ),
    Hint(
        "cgroup-mount-denied",
        r"mounting \"cgroup2?\" to rootfs[^\n]{0,300}(?:operation not permitted|permission denied)",
        "the container may not mount its cgroups: with user namespaces (rootless, --uidmap) or an engine inside a container, or by a fault of runc 1.1",
        "upgrade runc or use crun; run the engine as root on the host, or give the outer container its own cgroup namespace and the right to mount",
        "opencontainers/runc#3511",
        'runc create failed: error mounting "cgroup" to rootfs at "/sys/fs/cgroup": mount x: operation not permitted',
        sure=False,
    ),
    Hint(
        "cgroup-memory-too-low",
        r"memory\.(?:limit_in_bytes|max)[\"']?[^\n]{0,40}: device or resource busy",
        "the memory that the container may have is less than it takes to start it: the limit is too low (a unit forgotten, 512 in place"
        " of 512m), or an old"
        " container's cgroup is still there",
        "raise the row's memory limit (or write its unit); remove an old container of this name (docker ps -a)",
        "runc, libcontainer/cgroups",
        'failed to write "4096" to "/sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes": write memory.limit_in_bytes: device or resource busy',
    ),
    Hint(
        "cgroup-kernel-old",
        r"bpf_prog_query\(BPF_CGROUP_DEVICE\)",
        "the kernel can't filter devices with cgroup v2: it is too old for it, or was built without (CONFIG_CGROUP_BPF)",
        "boot a newer kernel, or cgroup v1 (systemd.unified_cgroup_hierarchy=0 on the kernel's command line)",
        "hardkernel/linux#433; runc",
        "runc create failed: bpf_prog_query(BPF_CGROUP_DEVICE) failed: invalid argument: unknown",
        sure=False,
    ),
    Hint(
        "device-filter-refused",
        r"BPF_PROG_ATTACH|can't (?:attach|load) program",
        "runc can't attach its filter of devices (BPF) to the cgroup: runc 1.2.2 fails so on kernels 4.19 and 5.4, or the kernel or a container"
        " around it takes no such program",
        "upgrade runc (containerd.io) to 1.2.3 or later, or the kernel; within a container it needs to be privileged",
        "opencontainers/runc#3008",
        "docker: Error response from daemon: failed to create task for container: failed to create shim task: OCI runtime create failed: runc create"
        " failed: unable to start container process: unable to apply cgroup configuration: failed to call BPF_PROG_ATTACH (BPF_CGROUP_DEVICE,"
        " BPF_F_ALLOW_MULTI): can't attach program: invalid argument: unknown",
        sure=False,
    ),
    Hint(
        "cgroup-refused",
        r"(?:apply|applying) cgroup configuration|cannot enter cgroupv2|error setting cgroup config|crun: .{0,80}cgroup|error"
        r" mounting \"cgroup\"|sd-bus call|(?:mkdir|open|write|stat) /(?:sys/fs/)?(?:cgroups?|docker)/\S{0,200}: "
        r"|mkdir /sys/fs/docker: ",
        "the container engine can't set up the container's cgroup",
        "look at the words after it; an engine in a container needs its own cgroup namespace, a rootless one delegation (systemd Delegate=yes)",
        "runc, libcontainer/cgroups",
        "runc create failed: unable to start container process: unable to apply cgroup configuration: mkdir /sys/fs/cgroup/x: read-only file system",
        sure=False,
    ),
    Hint(
        "cgroup-drivers-differ",
        r"expected cgroupsPath to be of format|kubelet cgroup driver: \\?[\"\w]{1,20}\\? is different from",
        "two parts that start containers manage cgroups differently, one by systemd, the other by cgroupfs",
        "set the same on both: cgroupDriver of the kubelet, SystemdCgroup in /etc/containerd/config.toml, native.cgroupdriver in"
        " /etc/docker/daemon.json; then restart them",
        "containerd/containerd#4857",
        'OCI runtime create failed: expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups, got "acme/7" instead: unknown',
    ),
    Hint(
        "cgroup-version-changed",
        r"cgroup namespace is not supported with cgroup v1",
        "this container was made while the host ran cgroup v2, and now it runs v1 (or the container asks for what v1 has not)",
        "remove the container and make it anew (deploy.yml does), or boot with cgroup v2 (systemd.unified_cgroup_hierarchy=1)",
        "containers/podman#24107",
        "Error: cgroup namespace is not supported with cgroup v1 and systemd mode",
    ),
    Hint(
        "userns-apparmor",
        r"apparmor_restrict_unprivileged_userns is set to 1",
        "AppArmor on this host (Ubuntu 23.10 and later) lets no program without a profile of its own make a user namespace, which an engine without"
        " root needs",
        "install the profile that the message or the engine's page gives (rootlesskit with userns), or sysctl -w"
        " kernel.apparmor_restrict_unprivileged_userns=0 (and in /etc/sysctl.d)",
        "containerd/nerdctl#3820",
        "WARN[0000] [rootlesskit:parent] This error might have happened because /proc/sys/kernel/apparmor_restrict_unprivileged_userns is set to 1",
        passing=True,
    ),
)
