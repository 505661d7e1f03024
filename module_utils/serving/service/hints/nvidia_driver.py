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
        r"NVIDIA-SMI has failed because|couldn't communicate with the NVIDIA driver|modprobe: FATAL: Module nvidia(?:[-_](?:uvm|modeset"
        r"|drm))? not found"
        r"|NVRM: No NVIDIA (?:graphics adapter|devices|GPU) (?:found|probed)|nvidia: module verification failed[^\n]{0,80}not loaded",
        "NVIDIA's kernel module is not loaded (not built for this kernel, Secure Boot refuses it, it does not take this card), or it finds no card:"
        " not there (VM without it), or held by nouveau or vfio-pci",
        "lspci -nnk -d 10de: must show the card, with no other driver; dkms status and dmesg say the rest: install the running kernel's headers and"
        " the driver again (driver_branch), with Secure Boot (mokutil --sb-state) sign it or switch that off; reboot",
        DRIVER,
        "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.",
    ),
    Hint(
        "gpu-other-driver",
        r"NVIDIA probe routine was not called for|The Nouveau kernel driver is currently in use|obtained ownership of the NVIDIA device",
        "another driver holds the GPU, so NVIDIA's can't have it: nouveau, vfio-pci (for a virtual machine), or an NVIDIA module that is still loaded",
        "lspci -k -d 10de: shows who has it; keep nouveau out (blacklist nouveau, new initramfs), or take the card out of vfio-pci; then reboot",
        "NVIDIA, driver's installation guide; mattshma/bigdata#133",
        "NVRM: The NVIDIA probe routine was not called for 3 device(s).",
    ),
    Hint(
        "peermem-missing",
        r"Module nvidia[-_](?:peermem|fs|gdrdrv) not found|could not insert '?nvidia[-_]peermem'?",
        "the driver's module for RDMA (nvidia-peermem) or for files is not there or does not load: the driver was built without RDMA's"
        " headers (OFED), or a"
        " container does not see the host's modules",
        "install OFED (or rdma-core's headers), then the driver again, and modprobe nvidia-peermem; without GPUDirect RDMA nothing needs it",
        "NVIDIA/gpu-operator#2619",
        "modprobe: FATAL: Module nvidia-peermem not found in directory /lib/modules/6.8.0",
        sure=False,
    ),
    Hint(
        "module-other-kernel",
        r"could not insert '?(?!nvidia)\w{1,40}'?: (?:Invalid argument|Exec format error|Unknown symbol)",
        "the kernel refuses a module: it is of another kernel than the one that runs",
        "uname -r against /lib/modules: reboot into the kernel whose modules are installed, or install those of the running one; a"
        " container needs the host's"
        " /lib/modules",
        "Linux, kmod; NVIDIA/gpu-operator#1264",
        "modprobe: ERROR: could not insert 'acme_msg': Invalid argument",
        sure=False,
    ),
    Hint(
        "module-not-signed",
        r"could not insert '?\w{1,40}'?: (?:Key was rejected by service|Required key not available)|Loading of (?:unsigned )?module[^\n]{0,60}rejected"
        r"|not signed by a key that is trusted by the kernel",
        "the kernel takes only signed modules, and this one's signature is not one that it knows: it is not signed, or by a key that is not enrolled",
        "enroll the key (mokutil --import /var/lib/dkms/mok.pub) and confirm it at the next boot, take the distribution's signed module,"
        " or switch off what"
        " asks for it: Secure Boot (mokutil --sb-state), module.sig_enforce or lockdown in /proc/cmdline",
        DRIVER,
        "modprobe: ERROR: could not insert 'nvidia': Key was rejected by service",
    ),
    Hint(
        "module-sign-key",
        r"sign-file: \S{1,120}signing_key\.pem: No such file|sign-file: \S{1,120}\.x509: No such file",
        "the kernel's key for signing modules is not on this host, so the module is installed unsigned: no harm without Secure Boot",
        "mokutil --sb-state: with Secure Boot make a key of your own (update-secureboot-policy --new-key, mokutil --import), or take the"
        " distribution's signed module",
        "NVIDIA/open-gpu-kernel-modules#271",
        "sign-file: certs/signing_key.pem: No such file or directory",
        sure=False,
    ),
    Hint(
        "driver-build-tools",
        r"Unable to find the development tool [`'\"]|unable to find the kernel source tree for the currently running kernel",
        "NVIDIA's installer has to build its kernel module, and this host lacks what that needs (compiler, make, or the headers of the"
        " kernel that runs)",
        "install gcc, make and linux-headers-$(uname -r) (kernel-devel), or the distribution's own driver package, which brings a built module",
        "NVIDIA, nvidia-installer; luckyyyyy/blog#72",
        "ERROR: Unable to find the development tool `cc` in your path; please make sure that you have the package 'gcc' installed.",
    ),
    Hint(
        "driver-still-loaded",
        r"kernel module '?nvidia[\w-]{0,20}'? appears to already be loaded|appear to be running an X server"
        r"|An NVIDIA kernel module[^\n]{0,60}already (?:be )?loaded",
        "an NVIDIA module of before is loaded and in use (a display, CUDA programs, the persistence daemon), so another driver can't take its place",
        "stop the services (maintenance), nvidia-persistenced, fabric manager and the display, then rmmod nvidia_drm and its like, or reboot; remove"
        " packages of the old driver first",
        "NVIDIA, nvidia-installer; luckyyyyy/blog#72",
        "ERROR: An NVIDIA kernel module 'nvidia-acme' appears to already be loaded in your kernel.",
    ),
    Hint(
        "persistenced-no-devices",
        r"Failed to query NVIDIA devices\. Please ensure that the NVIDIA device files",
        "NVIDIA's persistence daemon finds no GPU that it may open: the kernel module is not loaded, or the device files are closed to its user",
        "nvidia-smi as root makes the device files and shows whether the driver works (else see dmesg); then systemctl restart nvidia-persistenced",
        "NVIDIA, nvidia-persistenced",
        "Failed to query NVIDIA devices. Please ensure that the NVIDIA device files (/dev/nvidia*) exist, and that user 9 has read and"
        " write permissions",
    ),
    Hint(
        "module-forbidden",
        r"could not insert '?\w{1,40}'?: Permission denied|avc: {1,2}denied {1,2}\{ module_load \}",
        "the host's security module refuses the kernel's module (SELinux: its file has the label of another place)",
        "ausearch -m avc -ts recent shows it: restorecon -v on the module's file below /lib/modules and load it from there, or allow it (audit2allow)",
        "NVIDIA/gpu-operator#553",
        "modprobe: ERROR: could not insert 'nvidia': Permission denied",
        sure=False,
    ),
    Hint(
        "module-not-loadable",
        r"could not insert '?nvidia(?!_peermem)\w{0,20}'?: (?:No such device|Unknown symbol|Invalid argument|Exec format error|Operation not permitted)"
        r"|NVRM: The NVIDIA (?:probe routine failed|GPU[^\n]{0,80}requires use of)|nvidia: disagrees about version of symbol",
        "the kernel refuses NVIDIA's module, or the module refuses this card: it is of another kernel, of a branch without this card, or"
        " no root loads it",
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
        general=True,
    ),
    Hint(
        "nvml-closed",
        r"(?:NVML|nvml|nvidia-smi)[^\n]{0,60}Insufficient Permissions|NVML_ERROR_NO_PERMISSION|NVMLError_NoPermission",
        "who asked may not ask the driver: SELinux keeps a container from it, the device nodes (/dev/nvidia*) are closed for this user, or MIG is read"
        " without root",
        "ausearch -m avc shows what SELinux refused (then device_access: cdi, or the option label=disable); ls -l /dev/nvidia* shows the modes",
        "NVML",
        "Failed to initialize NVML: Insufficient Permissions",
    ),
    Hint(
        "nvml-blocked",
        r"GPU access blocked by the operating system|NVML_ERROR_OPERATING_SYSTEM|NVMLError_OperatingSystem",
        "the system keeps this process from the GPU: a container without the rules for its device nodes, WSL, or driver files of another version",
        "nvidia-smi must work on the host; device_access: cdi, or no-cgroups = false in /etc/nvidia-container-runtime/config.toml; an image"
        " without driver libraries",
        "microsoft/WSL#9938, #9962",
        "Failed to initialize NVML: GPU access blocked by the operating system",
        sure=False,
    ),
    Hint(
        "gpu-left-half-started",
        r"WPR2 already up|the GPU is likely in a bad state and may need to be reset",
        "a GPU was left half started: an earlier driver, virtual machine or crash did not shut its firmware down, or this driver's own"
        " first try to start it"
        " failed",
        "nvidia-smi --gpu-reset -i N; else power the host off and on (a warm reboot is not enough); with passthrough reset it between"
        " guests; where it comes"
        " again, the first NVRM line after the boot says more: another driver_branch",
        "NVIDIA/open-gpu-kernel-modules#1230, #1058, #1104",
        "NVRM: GPU6 acme: unexpected WPR2 already up, cannot proceed with booting GSP",
        sure=False,
    ),
    Hint(
        "gpu-no-memory-pools",
        r"cuda(?:DeviceGetDefaultMemPool|MallocAsync|MemPool\w{1,20})\b[^\n]{0,60}(?:not supported|NotSupported)"
        r"|does not support (?:CUDA )?memory pools",
        "this (virtual) GPU has no memory pools: its vGPU profile or driver does not offer unified memory",
        "switch on unified memory for the vGPU (pciPassthruX.cfg.enable_uvm = 1), give the virtual machine a whole GPU, or take an"
        " engine without pools",
        "NVIDIA, virtual GPU software guide",
        "RuntimeError: CUDA runtime error in cudaDeviceGetDefaultMemPool(&pool, device): operation not supported",
        sure=False,
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
        "use an image with a newer torch and Triton (for a GPU before compute capability 7.0 an older one); nvidia-smi"
        " --query-gpu=compute_cap shows it",
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
        r"RmInitAdapter failed|rm_init_adapter failed|Cannot initialize GSP firmware RM|failed to wait for GFW_BOOT"
        r"|osInitNvMapping: \*\*\* Cannot attach gpu"
        r"|kgspBootstrap\w{1,40}: [^\n]{0,40}(?:[Tt]ime(?:d )?out|reported an error)|Timeout waiting for GSP target mask|cannot bootstrap riscv/gsp"
        r"|s_execute(?:Booter|Fwsec)\w{0,30}: [^\n]{0,60}(?:failed|error)",
        "the driver could not start a GPU: the card, its power, seat or firmware is at fault, or this driver (its open or closed module)"
        " does not take it",
        "see the lines around it in dmesg; power the host off and on, switch Above 4G Decoding (Resizable BAR) on in the host's firmware, try the other"
        " kind of module or a newer driver, then another slot or card",
        "NVIDIA, driver readme; NVIDIA/open-gpu-kernel-modules",
        "NVRM: GPU 0000:0b:00.0: RmInitAdapter failed! (0x62:0x40:1786)",
        sure=False,
    ),
    Hint(
        "fabric-without-switch",
        r"NV_WARN_NOTHING_TO_DO",
        "the fabric manager sees no NVSwitch: the host has none and needs none of it (GPUs side by side, NVLink bridges), or the way to"
        " them is missing",
        "no NVSwitch: systemctl disable --now nvidia-fabricmanager; B200 and newer: install nvlsm and load mlx5_ib and ib_umad; else see dmesg",
        "NVIDIA/gpu-operator#610",
        "nv-fabricmanager[4177]: request to query NVSwitch device information failed with error:WARNING Nothing to do [NV_WARN_NOTHING_TO_DO]",
        sure=False,
    ),
    Hint(
        "driver-not-built",
        r"Makefile\.build:\d{1,5}: /var/lib/dkms/nvidia|Bad return status for module build|dkms/nvidia[^\n]{1,160}: error: "
        r"|The nvidia\S{0,20} kernel module (?:failed to build|was not created)"
        r"|DKMS module '\S{1,60}' failed to build|[Mm]issing \S{1,60} kernel headers for module"
        r"|Your kernel headers for kernel \S{1,60} cannot be found|Unable to find the kernel source tree"
        r"|kernel package linux-headers-\S{1,80} is not supported",
        "the driver's kernel module could not be built: the headers of the kernel that runs are not installed, or the driver is older than this"
        " kernel",
        "install linux-headers-$(uname -r) (kernel-devel) and gcc, or a newer driver; make.log below /var/lib/dkms shows the first error",
        "dkms; zen-kernel/zen-kernel#305",
        "Error! Bad return status for module build on kernel: 6.2.6-1 (x86_64)",
    ),
    Hint(
        "gpu-not-for-open-module",
        r"is not supported by open|does not include the required GPU$",
        "the open kind of NVIDIA's kernel module does not take this GPU: it is older than Turing, or its controller (GSP) can't be reached, as in some"
        " virtual machines",
        "lspci -nn -d 10de: names the card; before Turing (V100, P40) install the closed module; else a newer driver, and see how the"
        " card is given to the VM",
        "NVIDIA/open-gpu-kernel-modules#322, #587",
        "NVRM: installed in this system is not supported by open",
        sure=False,
    ),
    Hint(
        "gpu-not-of-this-release",
        r"NVRM: installed in this system is not supported by the|NVRM: NVIDIA [\d.]{5,12} driver release",
        "this release of NVIDIA's driver does not know this GPU: the card is newer than it, of a generation that later branches left out,"
        " or a virtual GPU that needs the driver of its own kind",
        "lspci -nn -d 10de: names the card: install a branch that NVIDIA's list of products (Appendix A of the README) has for it, or a"
        " vGPU's guest driver,"
        " then reboot",
        "NVIDIA/open-gpu-kernel-modules#393",
        "NVRM: installed in this system is not supported by the",
    ),
    Hint(
        "driver-other-compiler",
        r"(?:compiler|CC) version check failed",
        "the kernel was built with another gcc than the one that would build the driver's module",
        "install the gcc that the message names and run the installer with CC set to it, or install the driver as a package of the distribution",
        "NVIDIA driver, README",
        "ERROR: The CC version check failed:",
    ),
    Hint(
        "driver-built-not-loaded",
        r"Unable to load the (?:kernel module 'nvidia|'nvidia[\w-]{0,20}' kernel module)",
        "the kernel does not take NVIDIA's module that was just built: Secure Boot wants a signature, another driver (nouveau, nova) has the card, the"
        " headers are another kernel's, or this branch does not know the card",
        "mokutil --sb-state; lsmod | grep -E 'nouveau|nova'; dmesg and /var/log/nvidia-installer.log give the kernel's words",
        "NVIDIA/gpu-driver-container#44",
        "ERROR: Unable to load the kernel module 'nvidia.ko'.  This happens most frequently when",
        general=True,
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
        "gpu-uuid-unknown",
        r"NVMLError_NotFound|nvmlDeviceGetHandleByUUID[^\n]{0,60}[Nn]ot [Ff]ound",
        "the driver knows no GPU by the name that was asked for: a UUID that is shortened or of another host or container, or a GPU that fell out",
        "write the whole UUID as nvidia-smi -L shows it (for MIG the MIG-... one), or leave CUDA_VISIBLE_DEVICES out of the row's env;"
        " see dmesg for Xid 79",
        "vllm-project/vllm#51677",
        "vllm.third_party.pynvml.NVMLError_NotFound: Not Found",
        sure=False,
    ),
    Hint(
        "open-module-geforce",
        r"Open nvidia\.ko is only ready for use on Data Center GPUs|NVreg_OpenRmEnableUnsupportedGpus|'OpenRmEnableUnsupportedGpus'",
        "the open kind of NVIDIA's kernel module takes in this release GPUs of data centres only, and this one is none (GeForce, RTX)",
        "install a newer driver (since 560 the open kind takes them all), or the closed kind of this one; else options nvidia"
        " NVreg_OpenRmEnableUnsupportedGpus=1 in /etc/modprobe.d, then reboot",
        "NVIDIA, open kernel modules, README; NVIDIA/gpu-operator#1932",
        "NVRM: Open nvidia.ko is only ready for use on Data Center GPUs.",
    ),
    Hint(
        "gsp-firmware-missing",
        r"Direct firmware load for nvidia/\d{3}\.[^\n]{0,80} failed with error|firmware/nvidia/\d{3}\.[^\n]{0,80}\.bin failed with error",
        "the driver can't load the GPU's firmware file: it is missing, cut, or of another version than the driver",
        "install the driver again as a whole (its firmware is in /lib/firmware/nvidia/<version>), dracut -f or update-initramfs -u takes"
        " it into the initramfs where the module is loaded from there, then reboot",
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
        "the operating system refused what CUDA asked of it: host memory that may not be pinned (memlock, WSL), MPS, sharing between"
        " containers, or SELinux",
        "take what needs pinned memory out of engine_args (offloading, swap_space), raise the limit memlock, upgrade the driver; dmesg"
        " may say more, ausearch -m avc shows what SELinux refused",
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
    Hint(
        "gpu-handle",
        r"Unable to determine the device handle for (?i:gpu)[^\n]{0,60}: Not Found",
        "a GPU stands on the bus, and the driver has none of that address: it did not start under this driver, or was taken away since",
        "dmesg | grep -i nvrm shows why it did not start; try the other kind of kernel module (open, closed) or a newer driver, then power off and on",
        "NVIDIA/open-gpu-kernel-modules#246",
        "Unable to determine the device handle for GPU 0000:01:00.0: Not Found",
        sure=False,
    ),
    Hint(
        "gpu-no-address-space",
        r"PCI I/O region assigned to your NVIDIA device is invalid|NVRM: BAR\d is 0M",
        "firmware or hypervisor gave the GPU no room for its memory in the host's addresses (BAR)",
        "switch Above 4G Decoding on in the BIOS; in a virtual machine use UEFI (OVMF) and a large 64-bit MMIO window; kernel option pci=realloc",
        "NVIDIA driver, README, known issues",
        "NVRM: This PCI I/O region assigned to your NVIDIA device is invalid:",
    ),
    Hint(
        "driver-memory-out",
        r"NVRM: [^\n]{0,160}(?:NV_ERR_NO_MEMORY|Out of memory \[)",
        "NVIDIA's kernel module got no memory: where the GPU shares the host's (GB10, Jetson, GH200) an engine asked for nearly all of"
        " it; elsewhere the host's memory is used up",
        "leave the host some: lower gpu_memory_utilization or kv_cache_memory_bytes, max_num_seqs, and run fewer services; free -g; if"
        " it began with an update of kernel or driver, go back to the one before",
        "NVIDIA/open-gpu-kernel-modules#1358",
        "NVRM: nvCheckOkFailedNoLog: Check failed: Out of memory [NV_ERR_NO_MEMORY] (0x00000051) returned from acme @ mem_desc.c:1",
        sure=False,
    ),
    Hint(
        "installer-failed",
        r"Installation has failed\. +Please see the file|nvidia-installer[^\n]{0,40} was not able to",
        "NVIDIA's installer gave up; its own log says why",
        "/var/log/nvidia-installer.log: the first ERROR counts (a compiler or headers that are missing, nouveau, Secure Boot); in its place let the"
        " playbook install packages (manage_driver: true)",
        "NVIDIA, nvidia-installer",
        "ERROR: Installation has failed.  Please see the file '/var/log/acme.log' for details.",
        general=True,
    ),
    Hint(
        "compiler-other-than-kernels",
        r"Compiler version check failed|error: the compiler differs from the one used to build the kernel"
        r"|cc: error: unrecognized command-line option",
        "the driver's module is to be built with another compiler than the kernel was",
        "install the gcc of that version (cat /proc/version names it) and make it the one that is found (update-alternatives, CC=gcc-N), or"
        " IGNORE_CC_MISMATCH=1 for NVIDIA's; else a kernel built by this gcc",
        "dkms; clearlinux/distribution#1970",
        "Compiler version check failed:",
        sure=False,
    ),
)
