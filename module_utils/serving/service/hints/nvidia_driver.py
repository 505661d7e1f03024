"""Failure hints: NVIDIA's driver as the kernel and nvidia-smi speak of it, and virtual GPUs."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

DRIVER = "NVIDIA, driver's installation guide"

HINTS = (
    Hint(
        "driver-module-mismatch",
        r"NVRM: API mismatch|Mismatching nvidia kernel module loaded",
        "the driver's programs and its loaded kernel module are of two versions: an upgrade is half done, or a container brings its own driver files",
        "reboot the host, so that the new module is loaded; if it stays: dkms status, and an image without driver libraries of its own",
        DRIVER,
        "kernel: NVRM: API mismatch: the client has the version 560.1, but this kernel module has the version 550.2.",
    ),
    Hint(
        "driver-not-live",
        r"NVIDIA-SMI has failed because|couldn't communicate with the NVIDIA driver|modprobe: FATAL: Module nvidia(?:[-_]\w{1,20})? not found"
        r"|NVRM: No NVIDIA (?:graphics adapter|devices|GPU) (?:found|probed)|nvidia: module verification failed[^\n]{0,80}not loaded",
        "NVIDIA's kernel module is not loaded: it was not built for the kernel that runs now (an update of the kernel), or does not take this card",
        "dkms status and dmesg say which; install the running kernel's headers and the driver again (accelerator.driver_branch), then reboot",
        DRIVER,
        "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.",
    ),
    Hint(
        "module-not-signed",
        r"could not insert '?\w{1,40}'?: (?:Key was rejected by service|Required key not available)|Loading of (?:unsigned )?module[^\n]{0,60}rejected",
        "Secure Boot refuses the kernel module: it is not signed by a key that the firmware knows",
        "enroll the key (mokutil --import) and confirm it at the next boot, take the distribution's signed module, or switch Secure Boot off",
        DRIVER,
        "modprobe: ERROR: could not insert 'nvidia': Key was rejected by service",
    ),
    Hint(
        "module-not-loadable",
        r"could not insert '?nvidia\w{0,20}'?: (?:No such device|Unknown symbol|Invalid argument|Exec format error|Operation not permitted)"
        r"|NVRM: The NVIDIA (?:probe routine failed|GPU[^\n]{0,80}(?:not supported|requires use of))|nvidia: disagrees about version of symbol",
        "the kernel refuses NVIDIA's module, or the module refuses this card: it is of another kernel, of a branch without this card, or no root loads it",
        "dmesg | grep -i nvrm says which; newest cards need the open kernel modules, old ones an older branch; nouveau must not hold the card",
        DRIVER,
        "modprobe: ERROR: could not insert 'nvidia': No such device",
    ),
    Hint(
        "no-gpu-shown",
        r"^No devices were found",
        "the driver runs and shows no GPU: none starts (dmesg: RmInitAdapter failed), all are given to a virtual machine, or none is in the container",
        "lspci -nn | grep -i nvidia and dmesg | grep -i nvrm on the host; in a container: correct `devices` of the row",
        "nvidia-smi",
        "No devices were found",
    ),
    Hint(
        "nvml-closed",
        r"(?:NVML|nvml|nvidia-smi)[^\n]{0,60}Insufficient Permissions|NVML_ERROR_NO_PERMISSION",
        "who asked may not ask the driver: SELinux keeps a container from it, the device nodes (/dev/nvidia*) are closed for this user, or MIG is read"
        " without root",
        "ausearch -m avc shows what SELinux refused (then accelerator.device_access: cdi, or the option label=disable); ls -l /dev/nvidia* shows the modes",
        "NVML",
        "Failed to initialize NVML: Insufficient Permissions",
    ),
    Hint(
        "gpu-no-memory-pools",
        r"cuda(?:DeviceGetDefaultMemPool|MallocAsync|MemPool\w{1,20})\b[^\n]{0,60}(?:not supported|NotSupported)|does not support (?:CUDA )?memory pools",
        "this (virtual) GPU has no memory pools: its vGPU profile or driver does not offer unified memory",
        "switch on unified memory for the vGPU (pciPassthruX.cfg.enable_uvm = 1), give the virtual machine a whole GPU, or take an engine without pools",
        "NVIDIA, virtual GPU software guide",
        "RuntimeError: CUDA runtime error in cudaDeviceGetDefaultMemPool(&pool, device): operation not supported",
        sure=False,
    ),
    Hint(
        "nvidia-cli-signal",
        r"ldcache error: process \S{1,80} terminated with signal",
        "the host's ldconfig was ended by a signal when NVIDIA's container tools ran it (31: their seccomp filter does not know a system call that a"
        " newer libc makes)",
        "upgrade nvidia-container-toolkit and libnvidia-container, or set accelerator.device_access: cdi, which does not run it so",
        "NVIDIA/libnvidia-container",
        "nvidia-container-cli: ldcache error: process /sbin/ldconfig.real terminated with signal 31",
    ),
    Hint(
        "nvidia-cli-closed",
        r"nvidia-container-cli(?:\.real)?: (?:detection error: (?:path|open) error|initialization error: open)[^\n]{0,120}permission denied",
        "NVIDIA's container tools may not read a file of the host: SELinux refuses it, or the container engine runs without root",
        "set accelerator.device_access: cdi; ausearch -m avc shows what SELinux refused",
        "NVIDIA/libnvidia-container",
        "nvidia-container-cli: detection error: open error: /proc/driver/nvidia: permission denied",
    ),
    Hint(
        "nvidia-docker-one",
        r"volume plugin \"?nvidia-docker|no such volume: nvidia_driver|create nvidia_driver_[\d.]{1,20}",
        "something asks for the volumes of nvidia-docker 1, which is gone: an old container, compose file or wrapper",
        "remove what asks for the volume nvidia_driver_...; nvidia-container-toolkit needs none (`devices` of the row gives the GPUs)",
        "NVIDIA/nvidia-docker, version 1",
        "docker: Error response from daemon: Error looking up volume plugin nvidia-docker: plugin not found.",
    ),
    Hint(
        "triton-before-gpu",
        r"computeCapability not supported|getMMAVersionSafe|AccelerateMatmul\.cpp:\d{1,5}",
        "the Triton of this image does not know this GPU: the GPU is newer than Triton, or too old for it",
        "use an image with a newer torch and Triton (for a GPU before compute capability 7.0 an older one); nvidia-smi --query-gpu=compute_cap shows it",
        "triton-lang/triton, AccelerateMatmul.cpp",
        'Assertion `false && "computeCapability not supported"\' failed.',
    ),
    Hint(
        "fabric-version",
        r"(?i)fabric ?manager [^\n]{0,80}version \S{1,20} (?:don't|doesn't|does not) match",
        "the fabric manager is of another version than the driver that is loaded",
        "install nvidia-fabricmanager of the driver's exact version (nvidia-smi shows it), restart it, then start the service again",
        "NVIDIA, Fabric Manager user guide",
        "nv-fabricmanager[9]: fabric manager NVIDIA GPU driver interface version 535.1 don't match with driver version 550.2",
    ),
    Hint(
        "gpu-does-not-start",
        r"RmInitAdapter failed|rm_init_adapter failed",
        "the driver could not start a GPU: the card, its power, seat or firmware is at fault, or this driver (its open or closed module) does not take it",
        "see the lines around it in dmesg; power the host off and on, try the other kind of module or a newer driver, then another slot or card",
        "NVIDIA, driver readme; NVIDIA/open-gpu-kernel-modules",
        "NVRM: GPU 0000:0b:00.0: RmInitAdapter failed! (0x62:0x40:1786)",
        sure=False,
    ),
    Hint(
        "fabric-without-switch",
        r"NV_WARN_NOTHING_TO_DO",
        "the fabric manager runs on a host without NVSwitch, where it has nothing to do (GPUs side by side or joined by NVLink bridges need none)",
        "systemctl disable --now nvidia-fabricmanager; where the host has NVSwitches, see dmesg: its driver does not show them",
        "NVIDIA/gpu-operator#610",
        "nv-fabricmanager[4177]: request to query NVSwitch device information failed with error:WARNING Nothing to do [NV_WARN_NOTHING_TO_DO]",
    ),
    Hint(
        "driver-not-built",
        r"Makefile\.build:\d{1,5}: /var/lib/dkms/nvidia|Bad return status for module build"
        r"|DKMS module '\S{1,60}' failed to build|[Mm]issing \S{1,60} kernel headers for module"
        r"|kernel package linux-headers-\S{1,80} is not supported",
        "the driver's kernel module could not be built: the headers of the kernel that runs are not installed, or the driver is older than this kernel",
        "install linux-headers-$(uname -r) (kernel-devel) and gcc, or a newer driver; make.log below /var/lib/dkms shows the first error",
        "dkms; zen-kernel/zen-kernel#305",
        "Error! Bad return status for module build on kernel: 6.2.6-1 (x86_64)",
    ),
    Hint(
        "driver-built-not-loaded",
        r"Unable to load the (?:kernel module 'nvidia|'nvidia[\w-]{0,20}' kernel module)",
        "the kernel does not take NVIDIA's module that was just built: Secure Boot wants a signature, another driver (nouveau) has the card, or this"
        " branch does not know the card",
        "mokutil --sb-state; lsmod | grep nouveau; dmesg and /var/log/nvidia-installer.log give the kernel's words",
        "NVIDIA/gpu-driver-container#44",
        "ERROR: Unable to load the kernel module 'nvidia.ko'.  This happens most frequently when",
    ),
    Hint(
        "gpu-not-among-these",
        r"NVMLError_InvalidArgument",
        "a GPU was asked for that this process does not have: CUDA_VISIBLE_DEVICES counts the GPUs in the container, not those of the host",
        "leave CUDA_VISIBLE_DEVICES out of the row's env, or count from 0; nvidia-smi -L in the container shows them",
        "vllm-project/vllm#9865",
        "pynvml.NVMLError_InvalidArgument: Invalid Argument",
        sure=False,
    ),
    Hint(
        "gsp-firmware-missing",
        r"Direct firmware load for nvidia/[^\n]{0,80} failed with error|firmware/nvidia/[^\n]{0,80}\.bin failed with error",
        "the driver can't load the GPU's firmware file: it is missing, cut, or of another version than the driver",
        "install the driver again as a whole (its firmware is in /lib/firmware/nvidia/<version>), then reboot",
        "NVIDIA/open-gpu-kernel-modules",
        "nvidia 0000:0b:00.0: Direct firmware load for nvidia/570.1/gsp_acme.bin failed with error -2",
    ),
    Hint(
        "nvidia-requirement-unread",
        r"requirement error: invalid expression",
        "NVIDIA's container tools can't read what the image asks of the driver (NVIDIA_REQUIRE_...): they are older than the image",
        "upgrade nvidia-container-toolkit, or set NVIDIA_DISABLE_REQUIRE: 1 in the row's env if the driver is new enough",
        "mudler/LocalAGI#49; NVIDIA, container toolkit",
        "nvidia-container-cli: requirement error: invalid expression: unknown",
        sure=False,
    ),
    Hint(
        "cuda-system-call",
        r"OS call failed or operation not supported on this OS|cudaErrorOperatingSystem|CUDA_ERROR_OPERATING_SYSTEM",
        "the operating system refused what CUDA asked of it: host memory that may not be pinned (memlock, WSL), MPS, or sharing between containers",
        "take what needs pinned memory out of engine_args (offloading, swap_space), raise the limit memlock, upgrade the driver; dmesg may say more",
        "NVIDIA, CUDA driver API; vllm-project/vllm#43473",
        "RuntimeError: CUDA error: OS call failed or operation not supported on this OS",
        sure=False,
    ),
    Hint(
        "nvml-not-supported",
        r"NVMLError_NotSupported|NVML_ERROR_NOT_SUPPORTED|nvmlDevice\w{3,60}[^\n]{0,40}[Nn]ot [Ss]upported",
        "this GPU does not answer what the engine asks the driver of it, as vGPUs, MIG parts, Jetson and other integrated GPUs do not",
        "use an engine release that knows such GPUs (for Jetson its own image), or a whole GPU; nvidia-smi -q shows N/A for what is not answered",
        "NVML, return codes",
        "pynvml.NVMLError_NotSupported: Not Supported",
        sure=False,
    ),
)
