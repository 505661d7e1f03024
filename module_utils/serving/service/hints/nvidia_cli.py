"""Failure hints: nvidia-container-cli, which gives a container its GPU where CDI does not: `<part> error: <library> error: <reason>`."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

CLI = r"nvidia-container-cli(?:\.real)?: "  # how each of its messages begins
HINTS = (
    Hint(
        "nvidia-cli-no-driver",
        CLI
        + r"initialization error: (?:load library failed: (?!libcuda|libdxcore|/|[^\n]{0,200}(?:ELF|short|denied|undefined))|cannot open shared object)"
        r"|initiali[sz]e NVML: ERROR_LIBRARY_NOT_FOUND",
        "NVIDIA's container tools find no driver of NVIDIA's: the host has none, it lies where they do not look, or the container engine sees"
        " another file system (Docker as a snap, Docker Desktop)",
        "nvidia-smi on the host must work, else install the driver (manage_driver: true) and run deploy.yml again; in place of a snap or Docker"
        " Desktop install Docker's own packages",
        "NVIDIA/libnvidia-container, src/nvc.c",
        "nvidia-container-cli: initialization error: load library failed: libnvidia-ml.so.1: cannot open shared object file: no such file or"
        " directory",
    ),
    Hint(
        "nvidia-cli-requirement",
        r"unsatisfied condition: ((?:cuda|driver|brand|arch)[^\s,\"]{0,40})",
        "the image asks for another driver than this host has (mostly a newer one), or for a kind of GPU that is not here: the condition says which",
        "upgrade the driver (driver_branch), or use an image for this driver and GPU (an older CUDA)",
        "NVIDIA/nvidia-docker, requirements of images",
        "nvidia-container-cli: requirement error: unsatisfied condition: cuda>=12.8, please update your driver to a newer version",
    ),
    Hint(
        "nvidia-cli-mounted-list",
        r"nvidia-container-cli(?:\.real)?: device error: /var/run/nvidia-container-devices",
        "the GPUs were given as mounts below /var/run/nvidia-container-devices, and these tools take that path for a GPU's name: a fault of 1.14.0,"
        " or they are not set to read it",
        "upgrade nvidia-container-toolkit (1.14.1 and newer), or set accept-nvidia-visible-devices-as-volume-mounts = true in"
        " /etc/nvidia-container-runtime/config.toml",
        "NVIDIA/nvidia-container-toolkit#108",
        "nvidia-container-cli: device error: /var/run/nvidia-container-devices: unknown device: unknown",
    ),
    Hint(
        "nvidia-cli-unknown-device",
        CLI
        + r"device error: (?:(?!no-gpu-has|/var/run/nvidia-c)([\w:,./-]{1,80}): (?:unknown|invalid) device|(?:unknown|invalid) device)",
        "the container asks for a GPU by a name that this host does not have: it is gone (fell off the bus), MIG was made anew, or `devices` is wrong",
        "where a GPU that was there is missing: lspci and dmesg (NVRM, Xid 79), reboot or replace it; else correct `devices` (nvidia-smi -L)",
        "NVIDIA/libnvidia-container, src/cli/common.c",
        "nvidia-container-cli: device error: 7: unknown device: unknown.",
    ),
    Hint(
        "nvidia-cli-slow-driver",
        CLI + r"[\w: ]{0,40}(?:driver rpc error|driver error): [\w ]{0,20}timed out",
        "the driver did not answer NVIDIA's container tools in time",
        "switch persistence mode on (nvidia-smi -pm 1); if nvidia-smi hangs, see dmesg for Xid lines and reboot",
        "NVIDIA/nvidia-docker#628",
        "nvidia-container-cli: initialization error: driver rpc error: timed out",
    ),
    Hint(
        "nvidia-cli-cgroup",
        CLI + r"(?:container|mount) error: [^\n]{0,60}(?:cgroup|bpf_prog_query|device rules)",
        "NVIDIA's container tools can't give the devices by cgroup here: a rootless engine, a container in a container, or tools older than this"
        " host's cgroups",
        "set device_access: cdi, or no-cgroups = true in /etc/nvidia-container-runtime/config.toml for a rootless engine",
        "NVIDIA/nvidia-container-toolkit#85",
        "nvidia-container-cli: mount error: failed to add device rules: unable to find any existing device filters attached to the cgroup:"
        " bpf_prog_query",
    ),
    Hint(
        "nvidia-cli-ldconfig",
        CLI + r"ldcache error(?!: process \S{1,80} terminated with signal)",
        "NVIDIA's container tools can't run the host's ldconfig, or it has not yet listed the host's libraries",
        "ldconfig on the host, as root; then correct `ldconfig` in /etc/nvidia-container-runtime/config.toml (@/sbin/ldconfig.real on"
        " Ubuntu, @/sbin/ldconfig elsewhere)",
        "NVIDIA/nvidia-docker#614",
        "nvidia-container-cli: ldcache error: open failed: /sbin/ldconfig.real: no such file or directory",
    ),
    Hint(
        "nvidia-cli-read-only",
        CLI + r"mount error: [^\n]{0,300}: read-only file system"
        r"|(?:application profiles|create(?:Container)? hook)[^\n]{0,300}: read-only file system",
        "NVIDIA's container tools can't write into the container what the driver needs: a folder there is mounted read-only, or the"
        " container's whole root is",
        "the message names the path: take a mount with `:ro` off it or off a folder above it (/etc, /usr, /run), let the root be"
        " writable, and upgrade nvidia-container-toolkit",
        "NVIDIA/nvidia-container-toolkit#2026",
        "nvidia-container-cli: mount error: file creation failed: /srv/acme/merged/usr/bin/nvidia-smi: read-only file system",
    ),
    Hint(
        "nvidia-cli-mount",
        CLI + r"mount error: ([^\n]{0,200}(?:file exists|file creation failed)"
        r"(?![^\n]{0,300}(?:read-only|denied|not permitted|no space|symbolic|persistenced|a directory))[^\n]{0,80})",
        "NVIDIA's container tools can't mount the driver into this image: the image was saved with the driver's files in it, or tools older than the"
        " driver can't make what it has (sockets of persistenced)",
        "remove those files from the image or take the unchanged one, leave /run and /var/run out of `mounts`, or set device_access: cdi",
        "NVIDIA/nvidia-docker#1551",
        "nvidia-container-cli: mount error: file creation failed: /var/lib/docker/overlay2/x/merged/usr/lib/libnvidia-ml.so.1: file exists",
    ),
    Hint(
        "nvidia-cli-permission",
        CLI + r"(?:initialization|detection) error: nvml error: insufficient permissions",
        "the container engine's user may not use the GPU's device nodes",
        "ls -l /dev/nvidia* must show them readable and writable for it (0666 is usual); else ausearch -m avc: setsebool -P container_use_devices 1;"
        " in LXC allow the devices",
        "NVIDIA/nvidia-container-toolkit#171",
        "nvidia-container-cli: initialization error: nvml error: insufficient permissions: unknown",
    ),
    Hint(
        "nvidia-cli-driver-changed",
        r"mount operation failed: \S{0,300}/proc/driver/nvidia\S{0,80}: no such file",
        "the driver was changed while the container engine ran, which still has what the one before showed below /proc/driver/nvidia",
        "systemctl restart docker (or containerd), then start the service again; a reboot does it too",
        "NVIDIA/nvidia-container-toolkit#169",
        "mount operation failed: /var/lib/docker/x/merged/proc/driver/nvidia/params: no such file or directory: unknown",
    ),
    Hint(
        "nvidia-cli-wsl",
        r"WSL environment detected but no adapters were found|load library failed: libdxcore",
        "Windows shows this WSL no GPU; most often its driver for Windows is missing or too old, or WSL 1 is used",
        "nvidia-smi must work in WSL itself: install NVIDIA's driver for Windows (none in WSL), wsl --update, wsl --shutdown",
        "NVIDIA/nvidia-container-toolkit#157",
        "nvidia-container-cli: initialization error: WSL environment detected but no adapters were found: unknown.",
    ),
    Hint(
        "nvidia-cli-pci-address",
        r"mount error: stat failed: /proc/driver/nvidia/gpus/[\w:.]{4,40}: no such file",
        "NVIDIA's container tools look for the GPU below another PCI address than the driver shows; most often they are older than the driver or"
        " cut a long PCI domain (some clouds)",
        "upgrade nvidia-container-toolkit and libnvidia-container, or set device_access: cdi; ls /proc/driver/nvidia/gpus shows the address",
        "NVIDIA/nvidia-docker#1316",
        "nvidia-container-cli: mount error: stat failed: /proc/driver/nvidia/gpus/c0de:00:00.0: no such file or directory: unknown",
        sure=False,
    ),
    Hint(
        "nvidia-cli-root",
        CLI + r"[\w: ]{0,40}change root failed",
        "NVIDIA's container tools look for the driver below a folder that is not there for them: a wrong `root`, or an engine without"
        " root, of a snap or"
        " in a virtual machine, which sees other files",
        "correct `root` in /etc/nvidia-container-runtime/config.toml: it is commented out unless the driver itself runs in a container",
        "NVIDIA/nvidia-container-toolkit#679",
        "nvidia-container-cli: initialization error: change root failed: no such file or directory: unknown.",
        sure=False,
    ),
    Hint(
        "nvidia-cli-driver-state",
        CLI + r"(?:initialization|detection) error: (?:nvml|cuda|driver|driver rpc) error: (?:unknown|initialization"
        r"|internal|gpu (?:is )?lost|failed to process"
        r" request|not"
        r" ready)",
        "the driver does not answer NVIDIA's container tools as it should: a GPU has failed, library and kernel module are of different"
        " versions, or the driver unloads between calls (no persistence) or has a fault of its own",
        "nvidia-smi on the host must work and show all GPUs; see dmesg for Xid lines; start nvidia-persistenced (nvidia-smi -pm 1), reboot;"
        " then another driver release (driver_branch), and NVIDIA's own nvidia-container-toolkit in"
        " place of a distribution's",
        "NVIDIA/libnvidia-container#204",
        "nvidia-container-cli: detection error: nvml error: unknown error: unknown",
        sure=False,
    ),
    Hint(
        "nvidia-cli-crashed",
        r"nvidia-container-cli': (?:double free|free\(\)|malloc|corrupted)",
        "NVIDIA's container tools crashed themselves, before the container ran",
        "install nvidia-container-toolkit and libnvidia-container1 anew, of one version; or set device_access: cdi",
        "NVIDIA/nvidia-docker#1281",
        "stderr: *** Error in `/usr/bin/nvidia-container-cli': double free or corruption (out): 0x00007fff7ae74f10",
    ),
    Hint(
        "nvidia-cli-old",
        CLI + r"[\w ]{1,40} error: stat failed: /(?:GeForce|Tesla|Quadro|NVIDIA|RTX|A\d|H\d)",
        "libnvidia-container takes this GPU's name for a path, as those do that are older than the GPU",
        "upgrade NVIDIA's container toolkit (libnvidia-container1, libnvidia-container-tools), then systemctl restart docker",
        "NVIDIA/nvidia-docker#957",
        "nvidia-container-cli: mount error: stat failed: /GeForce RTX 9080: no such file or directory",
    ),
    Hint(
        "nvidia-cli-capability",
        CLI + r"[\w ]{1,40} error: capability change failed",
        "NVIDIA's container tool may not take the rights that it needs: SELinux or another security module refuses, or the engine is"
        " rootless or runs in a"
        " container",
        "ausearch -m avc -ts recent shows SELinux's refusals; rootless: nvidia-ctk config --set nvidia-container-cli.no-cgroups=true --in-place; else"
        " device_access: cdi",
        "NVIDIA/libnvidia-container",
        "nvidia-container-cli: initialization error: capability change failed: operation not permitted",
        sure=False,
    ),
    Hint(
        "nvidia-cli-old-libraries",
        CLI + r"detection error: open failed: (\S{1,200}\.so[\w.]{0,40})",
        "the linker's cache names a library of the driver that is no longer there: files of an older driver were removed, or its packages for 32 bits are of"
        " another version",
        "ldconfig on the host, then ldconfig -p | grep nvidia: remove what is left of the other version; then a newer"
        " nvidia-container-toolkit, or device_access: cdi",
        "ublue-os/aurora#606; NVIDIA/libnvidia-container",
        "nvidia-container-cli: detection error: open failed: /usr/lib/libnvidia-acme.so.570.7: no such file or directory",
    ),
    Hint(
        "nvidia-cli-signal",
        r"ldcache error: process \S{1,80} terminated with signal",
        "the host's ldconfig was ended by a signal when NVIDIA's container tools ran it (31: their seccomp filter does not know a system call that a"
        " newer libc makes)",
        "upgrade nvidia-container-toolkit and libnvidia-container, or set device_access: cdi, which does not run it so",
        "NVIDIA/libnvidia-container",
        "nvidia-container-cli: ldcache error: process /sbin/ldconfig.real terminated with signal 31",
    ),
    Hint(
        "nvidia-cli-no-libcuda",
        CLI + r"[\w ]{1,40} error: load library failed: libcuda",
        "the host has NVIDIA's management library and not the one for CUDA (libcuda.so.1): only a part of the driver's packages is installed, or they are of"
        " different versions",
        "install the rest of the same version: libnvidia-compute-BRANCH (Ubuntu), libcuda1 (Debian), nvidia-driver-cuda-libs (RHEL), then ldconfig; or"
        " let the playbook do it (manage_driver: true)",
        "NVIDIA/libnvidia-container, src/driver.c",
        "nvidia-container-cli: initialization error: load library failed: libcuda.so.1: cannot open shared object file: no such file or directory",
        sure=False,
    ),
    Hint(
        "nvidia-cli-broken",
        CLI
        + r"(?:error while loading shared libraries|symbol lookup error)|"
        + CLI
        + r"[\w ]{1,40} error: load library failed: "
        r"(?:/|[^\n]{0,200}(?:ELF|file too short|undefined symbol))",
        "NVIDIA's container tool itself can't be loaded: a library of its own is missing, damaged, or of another release",
        "install nvidia-container-toolkit, libnvidia-container-tools and libnvidia-container1 anew, of one release, and what they need"
        " (libcap2, libseccomp2); "
        "then ldconfig; or set device_access: cdi, which does without it",
        "NVIDIA/libnvidia-container, packages",
        "stderr: nvidia-container-cli: error while loading shared libraries: libacme.so.2: cannot open shared object file: No such file or directory",
    ),
    Hint(
        "nvidia-cli-nodes",
        CLI
        + r"[\w ]{1,40} error: (?:stat|open) failed: /dev/nvidia|"
        + CLI
        + r"[\w ]{1,40} error: (?:device node creation failed|could not create kernel module)",
        "the host lacks a device node of the driver's (/dev/nvidia...): a module is not loaded (nvidia-uvm, nvidia-modeset), or nothing has"
        " made the nodes since"
        " the boot",
        "nvidia-modprobe -u -c=0 (package nvidia-modprobe) or nvidia-smi as root makes them; start nvidia-persistenced at the boot; ls -l"
        " /dev/nvidia* shows them",
        "NVIDIA/libnvidia-container, src/nvc_mount.c",
        "nvidia-container-cli: mount error: stat failed: /dev/nvidia-uvm: no such file or directory: unknown",
    ),
    Hint(
        "nvidia-cli-proc",
        CLI + r"[\w ]{1,40} error: (?:stat|open) failed: /proc/driver/nvidia/(?!gpus/)\S{1,200}: no such file",
        "the driver does not show below /proc/driver/nvidia what NVIDIA's container tools read there: its module is not loaded, or it is"
        " older than the tools,"
        " or the engine sees another /proc",
        "nvidia-smi on the host must work (modprobe nvidia, else a reboot); then a newer driver (driver_branch), or set device_access: cdi",
        "NVIDIA/libnvidia-container, src/nvc.c",
        "nvidia-container-cli: initialization error: open failed: /proc/driver/nvidia/params: no such file or directory",
        sure=False,
    ),
    Hint(
        "nvidia-cli-persistenced",
        CLI + r"mount error: (?:mount operation|file creation|stat) failed: \S{0,300}nvidia-persistenced/socket",
        "the socket of nvidia-persistenced can't be given to the container: the daemon was restarted or has ended, or the image has no /run of its own",
        "systemctl restart nvidia-persistenced, then the container engine; leave /run and /var/run out of `mounts`; or set device_access: cdi",
        "NVIDIA/libnvidia-container, src/nvc_mount.c",
        "nvidia-container-cli: mount error: mount operation failed: /srv/acme/merged/run/nvidia-persistenced/socket: no such file or directory",
        sure=False,
    ),
    Hint(
        "nvidia-cli-in-the-way",
        CLI + r"mount error: [^\n]{0,300}(?:not a directory|is a directory|too many levels of symbolic links)",
        "the image has a file, a folder or a link in the place where NVIDIA's container tools put the driver's files: it was saved with a"
        " driver inside, or has"
        " a layout of its own",
        "the message names the path: remove it from the image or take the unchanged one; or set device_access: cdi",
        "NVIDIA/libnvidia-container, src/nvc_mount.c",
        "nvidia-container-cli: mount error: path error: /srv/acme/usr/lib64: not a directory",
        sure=False,
    ),
    Hint(
        "nvidia-cli-user",
        r"nvidia-container-cli(?:\.real)?: [\w ]{1,40} error: (?:privilege change|user namespace mapping) failed: invalid",
        "NVIDIA's container tool can't become the user of the container: its id lies outside of what the user namespace maps, or the tool is too old"
        " for such ids",
        "upgrade nvidia-container-toolkit; without root give the user more ids in /etc/subuid and /etc/subgid; or set device_access: cdi, which"
        " needs no such change",
        "NVIDIA/nvidia-container-toolkit#99",
        "nvidia-container-cli: initialization error: privilege change failed: invalid argument: unknown",
        sure=False,
    ),
    Hint(
        "nvidia-cli-refused",
        CLI + r"(?![^\n]{0,80}cgroup)[\w ]{1,40} error: (?![^\n]{0,200}(?:capability change|change root|nvml error))"
        r"[^\n]{1,300}(?:permission denied|operation not permitted)",
        "NVIDIA's container tool may not do what it has to on this host: the engine runs without root or inside a container (LXC, Proxmox),"
        " or SELinux or another"
        " security module refuses it",
        "set device_access: cdi; without root no-cgroups = true in /etc/nvidia-container-runtime/config.toml; ausearch -m avc -ts recent shows what SELinux"
        " refused; in LXC give the outer container the devices and nesting",
        "NVIDIA/libnvidia-container",
        "nvidia-container-cli: initialization error: privilege change failed: operation not permitted: unknown",
        sure=False,
    ),
    Hint(
        "nvidia-cli-other",
        CLI + r"[\w ]{1,40} error",
        "NVIDIA's container tools could not give the GPU to the container",
        "nvidia-smi on the host must work; nvidia-container-cli -k -d /dev/tty info shows each step, or set device_access: cdi",
        "NVIDIA/libnvidia-container",
        "nvidia-container-cli: input error: nobody has seen this one",
        general=True,
    ),
)
