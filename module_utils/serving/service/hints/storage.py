"""Failure hints: what container engines keep on disk: leftovers of an earlier run, locks and databases that don't agree."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

HINTS = (
    Hint(
        "engine-socket-folder",
        r"can't create unix socket \S{1,200}: is a directory|docker\.sock: is a directory",
        "a folder stands where the container engine makes its socket, as one comes about when a container that mounts the socket starts"
        " without the engine",
        "rmdir that folder (/var/run/docker.sock), start the engine, then the container that mounts it",
        "moby/moby#25942",
        "can't create unix socket /var/run/docker.sock: is a directory",
    ),
    Hint(
        "engine-socket-left-over",
        r"listen unix \S{0,200}(?:docker|containerd|podman|buildkit|shim)\S{0,120}: bind: address already in use"
        r"|abstract unix socket[^\n]{0,300}address already in use|(?:docker|containerd|podman)\.socket: Failed to [^\n]{0,80}: Address already in use",
        "a socket (no network port) that the container engine makes is there already: its daemon runs, or a process of an earlier one is left over",
        "ps -ef | grep -e dockerd -e containerd shows what is left: end it, remove the socket that the message names, then systemctl"
        " restart containerd docker",
        "docker/for-linux#643; rancher/rancher#10595",
        "Error response from daemon: listen unix /run/acme/5a/shim.sock: bind: address already in use: unknown",
    ),
    Hint(
        "lock-stale",
        r"(?i:stale (?:nfs )?file handle)[^\n]{0,200}(?:\.locks?\b|/\.?locks?/|_lock\b)",
        "a folder or file of locks lies on a network file system whose server no longer knows it: another host removed it or made it"
        " anew, or the export changed",
        "put the cache on a local disk (HF_HOME, MODELSCOPE_CACHE), or fetch once and give the engine a folder;"
        " MODELSCOPE_HUB_FILE_LOCK: false in the row's env ends ModelScope's locks; ls of that folder or a new mount finds it again",
        "modelscope/modelscope#1621",
        "OSError: [Errno 116] Stale file handle: '/srv/acme/hub/.lock/acme'",
    ),
    Hint(
        "file-handle-stale",
        r"(?i:stale (?:nfs )?file handle)(?![^\n]{0,200}(?:\.locks?\b|/\.?locks?/|_lock\b))|Errno 116\b(?![^\n]{0,260}lock)",
        "the server of a network file system no longer knows a folder or file that is mounted or open here: it was removed, replaced or exported anew",
        "end the service, umount -f -l the folder on the host and mount it again, then start the service; on the server keep one fsid for the export",
        "Linux, ESTALE; moby/moby#22891",
        "OSError: [Errno 116] Stale file handle: '/srv/acme/model-00001.safetensors'",
    ),
    Hint(
        "container-leftover",
        r"(?:creating overlay mount|[Ee]rror mounting|devicemapper|Cannot start container|unmount)[^\n]{0,600}device or resource busy"
        r"|failed to start shim: mkdir [^\n]{0,300}: file exists|Cannot start container \w{6,80}: file exists|id already in use"
        r"|task \w{6,80} already exists|containerd: container not started",
        "something of an earlier run of this container is still there: a mount, a folder or a process",
        "docker rm -f it; findmnt shows a mount that stayed (umount it); then restart the container engine, and reboot if it does not let go",
        "moby/moby#37970, #50040",
        "Error response from daemon: error creating overlay mount to /var/lib/docker/overlay2/8c/merged: device or resource busy",
    ),
    Hint(
        "overlay-refused",
        r"failed to mount(?: rootfs component[^\n]{0,600}: invalid argument|:? ?[^\n]{0,600}: no such device)"
        r"|fstype: overlay[^\n]{0,2000}\berr: invalid argument|Module overlay not found|unknown filesystem type 'overlay'",
        "the kernel refuses the container's overlay mount: the engine's data folder lies on overlay itself (an engine in a container), NFS or an"
        " old ZFS, or the kernel has no overlay module (no such device)",
        "dmesg says why; modprobe overlay (after a kernel update reboot); put the engine's data folder on ext4 or xfs with ftype=1, or take"
        " another storage driver (native, vfs)",
        "containerd/containerd#4350",
        "failed to create shim task: failed to mount rootfs component: invalid argument: unknown",
        sure=False,
    ),
    Hint(
        "container-layer-gone",
        r"creating overlay mount[^\n]{0,400}no such file or directory|failed to mount rootfs component"
        r"|: layer does not exist|(?:l?stat|open) /\S{0,80}/(?:overlay2?|aufs)/\S{1,200}: no such file",
        "the container's file system can't be put together: a layer of its image is gone from the engine's store, or the mount itself is refused",
        "restart the container engine; if it stays remove the container and the image, and run deploy.yml --tags fetch; dmesg names a refused mount",
        "moby/moby#30057",
        "error creating overlay mount to /var/lib/docker/overlay2/3f-init/merged: mountfrom re-exec error: exit status 1: output: no such file or"
        " directory",
        sure=False,
    ),
    Hint(
        "container-mount-vanished",
        r"setns process: fork/exec /proc/self/exe: no such file",
        "a container that runs has lost its file system: its merged mount is gone, after a clean-up of mounts or a restart of the engine",
        "restart the container (the service); findmnt shows what is mounted below the engine's data folder",
        "moby/moby#47408",
        "OCI runtime exec failed: error starting setns process: fork/exec /proc/self/exe: no such file or directory: unknown",
        sure=False,
    ),
    Hint(
        "docker-bridge-twice",
        r"networks have same bridge name",
        "the container engine's own record of its networks holds docker0 of an earlier run, so it can't make it again",
        "stop the engine, move its network folder (network/files below its data folder) away, ip link delete docker0, and start it again",
        "moby/moby#24155",
        "Error creating default bridge network: cannot create network 1 (docker0): conflicts with network 2 (docker0): networks have same bridge name",
    ),
    Hint(
        "podman-locks",
        r"allocating lock for|exceeded num_locks|acquiring lock \d{1,6} for",
        "podman's locks are used up, or don't agree with its containers after a crash or reboot (no disk is full)",
        "remove containers and volumes that are not needed (podman container prune, podman volume prune), or stop all and run podman system renumber;"
        " num_locks in containers.conf",
        "containers/podman#3843, #27093",
        "Error: allocating lock for new container: allocation failed; exceeded num_locks (2048)",
        sure=False,
    ),
    Hint(
        "podman-database",
        r"(?:container|pod|volume|image|libpod)[^\n]{0,160}(?:unable to open database file|database is locked|database disk image is malformed)",
        "podman can't use its own database below its storage: the disk is full, the folder is closed for this user, or another process holds it",
        "df -h and ls -l of the storage folder (podman info, graphRoot); end other podman processes",
        "containers/podman#27480",
        "Error: adding container 4711 exit code 137: unable to open database file: no such file or directory",
    ),
    Hint(
        "overlay-option-refused",
        r"creating overlay mount to [^\n]{0,300}(?:metacopy=on|nodev)[^\n]{0,2000}: invalid argument",
        "the kernel refuses an option of the overlay mount, most often metacopy without root",
        "take metacopy=on out of mountopt in storage.conf, or set mount_program to fuse-overlayfs there",
        "containers/podman#10112",
        'Error: mounting storage for container 47: creating overlay mount to /srv/a/merged, mount_data="nodev,metacopy=on,userxattr": invalid argument',
        sure=False,
    ),
    Hint(
        "crun-under-rootfs",
        r"crun: cannot resolve [^\n]{1,60} under rootfs",
        "this crun can't set up the container on this host (with cgroups v1 some versions can't)",
        "install another version of crun, or set runtime to runc in containers.conf",
        "mgoltzsche/podman-static#126",
        "Error: crun: cannot resolve `acme` under rootfs: No such file or directory",
        sure=False,
    ),
    Hint(
        "container-not-running",
        r"no running task found",
        "the container does not run (any more)",
        "see the service's log for how it ended, then restart the service",
        "containerd/nerdctl#492",
        "no running task found: task 4711 not found: not found",
        late=True,
    ),
    Hint(
        "overlay-input-output",
        r"overlay mount to [^\n]{0,400}: input/output error|(?:readlink|getxattr|lstat|open) /\S{1,300}/overlay2?/\S{1,200}: input/output error",
        "the container engine can't read its own layers: the layers are damaged, or the disk or network file system below them answers with errors",
        "dmesg shows whether the disk is at fault; if it is not: podman system check --repair (or system reset), remove the image and fetch it again",
        "containers/podman#22046",
        "Error: mounting storage for container 50a9: creating overlay mount to /srv/acme/merged: input/output error",
        sure=False,
    ),
    Hint(
        "torch-write-cut",
        r"inline_container\.cc:\d{1,5}\][^\n]{0,20}unexpected pos",
        "torch could not write a file to its end: the disk is full, a quota is used up, or a network file system broke off",
        "df -h and the quota of the folder that the traceback writes to; make room, or write to another disk",
        "pytorch, caffe2/serialize/inline_container.cc",
        "RuntimeError: [enforce fail at inline_container.cc:664] . unexpected pos 576 vs 470",
    ),
    Hint(
        "no-flock",
        r"does not appear to support flock|No locks available|\[Errno 37\]",
        "a cache lies on a file system that can't lock files (some NFS, Lustre or FUSE mounts)",
        "point it to a local disk by HF_HOME, XDG_CACHE_HOME or TRITON_CACHE_DIR in the row's env, or mount that file system with locks",
        "tox-dev/filelock; Linux, ENOLCK",
        "NotImplementedError: FileSystem does not appear to support flock; use SoftFileLock instead",
    ),
    Hint(
        "hub-lock-held",
        r"[Ss]till waiting to acquire lock on |The file lock '[^'\n]{1,300}' could not be acquired",
        "something else holds the lock on a file of a cache: another process that fetches the same, or one that was killed on a file"
        " system where locks are files that stay (NFS without flock)",
        "end the other process; if there is none, remove the lock file that the line names (below .locks of HF_HOME); put the cache on a"
        " local disk",
        "huggingface/huggingface_hub#2543",
        "still waiting to acquire lock on /srv/acme/hub/.locks/models--a--b/c.lock (elapsed: 90.0 seconds)",
    ),
    Hint(
        "daemon-disk-read-only",
        r"(?:failed to register layer|failed to extract layer|ApplyLayer|processing tar file)[^\n]{0,400}: read-only file system"
        r"|\b(?:mkdir|open|write|rename|unlinkat|symlink) /(?:var/lib|etc|run|var/run)/(?:docker|containerd|containers|cdi"
        r"|nvidia-container-runtime)\b[^\s:]{0,200}: read-only file system",
        "the container engine can't write to its own folder: that disk is mounted read-only, as the kernel does after an error of it, or"
        " the system is one whose folder is never written (an image-based one, a snap)",
        "findmnt -T of the path and dmesg say which: after an error check the disk (fsck, smartctl -a) and reboot; else set data-root in"
        " /etc/docker/daemon.json (graphroot in storage.conf) to a folder on a disk that is written",
        "moby; Linux, EROFS",
        "failed to register layer: Error processing tar file(exit status 1): write /usr/lib/acme.so: read-only file system",
    ),
    Hint(
        "overlay-links",
        r"overlay mount to [^\n]{0,400}: too many levels of symbolic links|(?:overlay2|overlay/l)/[^\n]{0,200}: too many levels of symbolic links",
        "the kernel can't stack an image's layers: their short links (overlay2/l) are damaged or were copied wrongly, as after a crash"
        " or a moved data folder, or a layer stands twice in the image",
        "remove the image and what hangs on it (docker rmi, docker system prune -a; podman system reset), then deploy.yml --tags fetch;"
        " a data folder is moved with rsync -aHAX while the engine is stopped; a newer engine or kernel",
        "moby/moby#46498",
        "docker: Error response from daemon: error creating overlay mount to /var/lib/docker/overlay2/59f-init/merged: too many levels"
        " of symbolic links.",
        sure=False,
    ),
    Hint(
        "docker-storage-options",
        r"(?:overlay2?|btrfs|zfs|vfs|devicemapper|fuse-overlayfs): unknown option|[Uu]nknown (?:storage )?option:? \"?(?:dm|overlay2?|btrfs|zfs)\.",
        "the container engine is given storage options that its storage driver does not have; most often they are left of another driver",
        "remove storage-opts (and storage-opt of the unit) from /etc/docker/daemon.json or storage.conf, then restart the engine",
        "moby/moby#22685",
        "failed to start daemon: error initializing graphdriver: overlay2: unknown option dm.acme",
    ),
)
