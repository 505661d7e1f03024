"""Failure hints: what runs containers below the engine (crun, conmon, CNI, hooks), and what the kernel refuses it."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

HINTS = (
    Hint(
        "containerd-config-version",
        r"unsupported (?:containerd )?config(?:uration)? version|containerd config(?:uration)?[^\n]{0,80}version[^\n]{0,40}(?:expected|got) \d",
        "containerd's configuration, or a file that it includes (NVIDIA's), is of another version than this containerd reads (3 since containerd 2)",
        "containerd config migrate writes it in this release's version; let nvidia-ctk of this time write its part again (nvidia-ctk runtime configure"
        " --runtime=containerd), then restart containerd",
        "k0sproject/k0s#7689; containerd 2.0",
        'invalid containerd configuration in "/etc/acme/nvidia.toml": unsupported containerd configuration version: expected 3, got 2',
    ),
    Hint(
        "containerd-unpack-platform",
        r"no unpack platforms defined",
        "containerd 2 unpacks images only for the snapshotters that unpack_config of its transfer service names, and the one that was asked for is none"
        " of them",
        "ctr images pull --local, or name snapshotter and platform below transfer.v1.local in containerd's config.toml, then restart it",
        "containerd/containerd#11606",
        "ctr: unable to initialize unpacker: no unpack platforms defined: invalid argument",
    ),
    Hint(
        "containerd-replaced",
        r"(?i:no status provided on response)",
        "Docker and the containerd that runs below it don't understand each other: one was upgraded while the other ran on, or they are"
        " of releases that"
        " don't go together",
        "systemctl restart containerd docker; if that does not help, install docker-ce and containerd.io of one time",
        "docker/for-linux#813",
        "docker: Error response from daemon: no status provided on response: unknown.",
        sure=False,
    ),
    Hint(
        "crun-too-old",
        r"crun: unknown version specified",
        "crun is older than this podman needs, or another crun than podman's own is found first",
        "upgrade crun to the release that podman asks for, or name the right one in containers.conf ([engine.runtimes])",
        "containers/crun, libcrun",
        "Error: OCI runtime error: crun: unknown version specified",
    ),
    Hint(
        "oci-apparmor",
        r"(?i:apparmor)[^\n]{0,120}(?:fail|could not|unable|not loaded|no such file)|unable to apply apparmor profile",
        "the container's AppArmor profile can't be loaded or entered: the profiles or apparmor_parser are missing, were loaded anew while the engine"
        " ran, the engine is confined (LXC, a snap), or runc is old",
        "install apparmor (apparmor_parser) and restart the container engine and the container; aa-status and dmesg (DENIED) show a profile that"
        " confines the engine; upgrade runc (containerd.io); else --security-opt apparmor=unconfined",
        "moby, daemon/apparmor_default.go",
        "runc create failed: unable to start container process: unable to apply apparmor profile: apparmor failed to apply profile: no such file or"
        " directory",
        sure=False,
    ),
    Hint(
        "selinux-label",
        r"/attr/(?:keycreate|exec)\b|unable to process security attribute",
        "SELinux refuses the container's label: the loaded policy does not know it, the label does not belong to containers, or an old runc"
        " writes one where there is no SELinux",
        "install container-selinux, or correct label options (--security-opt label=type:...); ausearch -m avc,selinux_err shows it; on a"
        " host without SELinux upgrade runc or crun",
        "containers/crun, linux.c",
        "Error: OCI runtime error: crun: write to `/proc/self/attr/keycreate`: Invalid argument",
        sure=False,
    ),
    Hint(
        "store-xattr",
        r"failed to (?:copy|set) xattrs?\b",
        "the file system below the engine's store or volumes keeps no extended attributes (NFS, some overlays)",
        "put the engine's data-root on a local ext4 or xfs",
        "moby, containerd/continuity",
        "docker: Error response from daemon: failed to copy xattrs: operation not supported",
    ),
    Hint(
        "podman-conmon",
        r"no logs from conmon|conmon bytes|reading container \(probably exited\) json message|conmon (?:failed|exited prematurely|died)",
        "podman's monitor (conmon) or the runtime behind it ended before the container was made",
        "journalctl -t conmon and podman --log-level=debug say why; upgrade conmon, crun and podman together; look at memory and process limits",
        "containers/podman#1430",
        "Error: unable to start container: container create failed (no logs from conmon): EOF",
        sure=False,
    ),
    Hint(
        "kernel-namespace",
        r"namespace \{\\?\"\w{1,12}\\?\" [^}]{0,40}\} does not exist",
        "the kernel that runs has not the kind of namespace that the container is to get: it is old, built without it, or another one"
        " than is installed",
        "uname -r and /proc/1/ns show what there is; boot the distribution's own kernel",
        "docker/for-linux#1198",
        'OCI runtime create failed: namespace {"cgroup" ""} does not exist: unknown.',
        sure=False,
    ),
    Hint(
        "cni-none",
        r"failed to create CNI plugin: no network config found|needs CNI plugin",
        "the container engine has no network of its own (CNI): no configuration for it, or its plugins are not installed",
        "install containernetworking-plugins (below /opt/cni/bin) and a configuration in /etc/cni/net.d",
        "containerd/containerd; containerd/nerdctl#236",
        'level=fatal msg="Failed to run CRI service" error="failed to create CNI plugin: no network config found in /etc/cni/net.d"',
    ),
    Hint(
        "cgroup-not-mounted",
        r"cannot find cgroup mount destination|cgroup mountpoint does not exist|mountpoint for (?:\w{1,20} )?(?:cgroup )?not found"
        r"|cgroup isn't mounted|no cgroup mount found in mountinfo|mounting \\?\"cgroup\\?\" to rootfs[^\n]{0,300}no such file",
        "the host has not mounted the cgroups that this container engine wants: no systemd, cgroups of version 2 under an old engine, or a"
        " container around it",
        "upgrade the container engine (Docker 20.10 or newer for version 2), start systemd, or mount cgroups (cgroupfs-mount); mount | grep"
        " cgroup shows them",
        "moby; containerd/cgroups",
        "Error response from daemon: cgroups: cannot find cgroup mount destination: unknown",
    ),
    Hint(
        "cgroup-parent",
        r"cgroup-parent for systemd c\w{0,2}group should be a valid slice",
        "the container is to go below a cgroup whose name does not fit the engine's cgroup driver (systemd wants NAME.slice)",
        "correct cgroup-parent, or set exec-opts native.cgroupdriver=cgroupfs in /etc/docker/daemon.json and restart Docker",
        "moby, daemon_unix.go",
        'Error response from daemon: cgroup-parent for systemd cgroup should be a valid slice named as "xxx.slice"',
    ),
    Hint(
        "cdi-hook-failed",
        r"error executing hook `[^`]{0,120}nvidia-(?:cdi-hook|ctk)`",
        "a hook that the CDI file names failed: the file is older than the driver or the tools, the tools are older than the driver, or the"
        " hook's program does not run here",
        "upgrade nvidia-container-toolkit where it is older than the driver, then nvidia-ctk cdi generate (or systemctl restart"
        " nvidia-cdi-refresh), and start it again; the hook run by hand says more",
        "NVIDIA/nvidia-container-toolkit, CDI",
        "Error: OCI runtime error: crun: error executing hook `/usr/bin/nvidia-cdi-hook` (exit code: 1)",
        sure=False,
    ),
    Hint(
        "ascend-docker-runtime",
        r"start prestart-hook[^\n]{0,400}fail|failed to mount src: \S{1,120}",
        "Ascend's docker runtime could not put the NPU's files into the container: one is missing on the host, or the image has something else in"
        " its place",
        "ls -l the path that the message names, on the host and in the image; or set device_access: nodes, with `device_nodes` and"
        " `mounts` one by one",
        "Ascend docker runtime",
        "Error response from daemon: error running prestart hook #0: stderr: failed to mount src: /usr/local/bin/npu-smi.failed to mount dev.",
    ),
    Hint(
        "oci-runtime-options",
        r"(?:oci|OCI) runtime[^\n]{0,120}flag provided but not defined: ",
        "the runtime does not know an option by which the container engine calls it: the two are of different releases, or another"
        " runtime is found first",
        "upgrade runc (or crun), containerd and nvidia-container-toolkit together with the container engine; which -a runc shows an older one",
        "NVIDIA/nvidia-docker#537",
        "docker: Error response from daemon: oci runtime error: flag provided but not defined: -acme.",
    ),
    Hint(
        "engine-replaced",
        r"(?:fork/exec|exec) /\S{1,100} \(deleted\): no such file",
        "the program of the container engine was replaced while it runs, as an upgrade does, and it can't start itself any more",
        "systemctl restart docker (or containerd, which leaves containers running where live-restore is on)",
        "NVIDIA/nvidia-docker#661",
        'docker: Error response from daemon: running prestart hook 0 caused "fork/exec /usr/bin/dockerd (deleted): no such file or directory": unknown.',
    ),
    Hint(
        "shim-gone",
        r"ttrpc: closed|shim (?:disconnected|exited unexpectedly)",
        "containerd lost the process that watches the container (its shim): containerd was restarted or upgraded, memory ran out, or the runtime of a"
        " virtual machine (Kata) did not come up",
        "journalctl -u containerd and journalctl -k say which; systemctl restart containerd, then start the service again",
        "containerd; NVIDIA/gpu-operator#1356",
        "Error response from daemon: failed to create shim task: ttrpc: closed: unknown",
        sure=False,
    ),
    Hint(
        "userns-remap-host",
        r"cannot share the host's network namespace when user namespaces are enabled",
        "the daemon gives containers other user ids (userns-remap in daemon.json), and such a container can't use the host's network",
        "run it with --userns=host, leave network: host out of the row, or remove userns-remap from /etc/docker/daemon.json",
        "moby/moby",
        "docker: Error response from daemon: cannot share the host's network namespace when user namespaces are enabled.",
    ),
    Hint(
        "gvisor-driver",
        r"unsupported Nvidia driver version|registering nvproxy driver",
        "gVisor (runsc) takes only the versions of NVIDIA's driver that its release knows, and this host has another one",
        "runsc nvproxy list-supported-drivers shows them: upgrade gVisor, or install one of these drivers (driver_branch), or run the"
        " service with runc",
        "google/gvisor#12773",
        "FATAL ERROR: creating loader: registering filesystems: registering nvproxy driver: unsupported Nvidia driver version: 999.1.01",
    ),
    Hint(
        "gvisor-ended",
        r"cannot read client sync file|cannot create sandbox: [^\n]{0,160}EOF",
        "gVisor's sandbox ended while it started: it does not know the version of NVIDIA's driver (nvproxy), a file of the container"
        " can't be opened, or a limit was met",
        "add --debug-log=/tmp/runsc/ to runtimeArgs and read what boot says there; runsc nvproxy list-supported-drivers; runc in place"
        " of runsc shows whether it is gVisor's",
        "google/gvisor#12773",
        "OCI runtime create failed: creating container: cannot create sandbox: cannot read client sync file: waiting for sandbox to"
        " start: EOF",
        sure=False,
    ),
    Hint(
        "containerd-plugin-name",
        r"invalid (?:disabled |required )?plugin (?:key )?URI \\?\"(\w{1,40})\\?\" expect",
        "containerd's configuration names a plugin in the short form of version 1, which this containerd no longer reads",
        "in /etc/containerd/config.toml set version = 2 (or 3) and full names: io.containerd.grpc.v1.cri in place of cri (plugins and"
        " disabled_plugins); or move the file away and write it anew: containerd config default",
        "containerd/containerd#10905",
        'containerd: failed to load TOML from /etc/containerd/config.toml: invalid disabled plugin URI "cri" expect io.containerd.x.vx',
    ),
    Hint(
        "containerd-config-unread",
        r"failed to load TOML|invalid plugin config|containerd: (?:failed to load|invalid)[^\n]{0,80}config|failed to unmarshal TOML",
        "containerd does not start, because it can't read its configuration or a file that it includes: it is damaged, or was written"
        " for another version of containerd (as by nvidia-ctk of another time)",
        "the message names file and key: containerd config dump and containerd config migrate; move the file in /etc/containerd/conf.d"
        " away, nvidia-ctk runtime configure --runtime=containerd writes it anew; then restart containerd",
        "NVIDIA/aicr#1237; containerd",
        "containerd: failed to load TOML from /etc/containerd/conf.d/99-acme.toml: invalid plugin config: acme"
        " io.containerd.x.vx",
        sure=False,
    ),
    Hint(
        "shim-mixed",
        r"unsupported shim version|containerd-shim\S{0,20} resolves to executable in current directory",
        "the containerd that runs and the shim that it starts are of two versions: it was upgraded and not restarted, or an older one is"
        " found first",
        "systemctl restart containerd docker; which -a containerd-shim-runc-v2 and the path of containerd's own folder show whether two"
        " are installed: remove the older",
        "containerd/containerd#10984; k3s-io/k3s#6518",
        "failed to create task for container: Unimplemented: failed to start shim: start failed: unsupported shim version (3): not"
        " implemented",
    ),
    Hint(
        "no-terminal",
        r"the input device is not a TTY|cannot enable tty mode on non tty input",
        "the container is to have a terminal (-t), and a unit, a script or a pipe has none",
        "take -t (tty: true) out of the unit's, script's or compose file's docker run or exec",
        "docker/cli",
        "the input device is not a TTY",
    ),
    Hint(
        "entry-not-permitted",
        r"^exec /\S{1,200}: operation not permitted$",
        "the kernel forbids the container's first program; most often Docker is a snap, whose AppArmor profile does not go with no-new-privileges,"
        " or a security module or noexec stands in the way",
        "in place of the snap install Docker's own packages, or leave no-new-privileges out; dmesg names a refusal of AppArmor or SELinux",
        "moby/moby; snapcraft, docker",
        "exec /sbin/acme: operation not permitted",
        sure=False,
    ),
    Hint(
        "proc-not-safe",
        r"unsafe procfs detected",
        "runc does not trust /proc as it sees it: a sandbox around it (LXC, seccomp, AppArmor) refuses the calls by which it looks (openat2,"
        " fsmount), or this build of runc is at fault",
        "upgrade what is around (LXC, its profiles: they must allow openat2 or say ENOSYS), and runc (containerd.io); some builds of 1.3.3 fail so:"
        " take the one before or a later one",
        "opencontainers/runc#4984, #5007",
        "docker: Error response from daemon: failed to create task for container: failed to create shim task: OCI runtime create failed: runc create"
        " failed: unable to start container process: error during container init: unsafe procfs detected: openat2 fsmount: operation not permitted:"
        " unknown",
        sure=False,
    ),
    Hint(
        "seccomp-older-runtime",
        r"adding seccomp (?:filter )?rule for syscall \w{1,30}",
        "what starts the container does not know a system call that the engine's filter names: runc, NVIDIA's runtime or libseccomp is older than"
        " Docker or podman",
        "upgrade nvidia-container-toolkit (1.6 or later), runc (containerd.io) and libseccomp, then restart the engine",
        "NVIDIA/nvidia-container-runtime#157; containerd/containerd#6203",
        "docker: Error response from daemon: OCI runtime create failed: error adding seccomp filter rule for syscall clone3: permission denied:"
        " unknown",
    ),
)
