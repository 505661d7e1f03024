"""Failure hints: the kernel, the C library, disks, ports, processes and memory of the host."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

HINTS = (
    Hint(
        "shm-too-small",
        r"Insufficient space in /dev/shm|exceeds memory available in /dev/shm|[Uu]nexpected bus error encountered in worker"
        r"|insufficient shared memory \(shm\)|No space left on device.{0,80}(?:/dev/shm|/psm_|/torch_|sem\.)|(?:/dev/shm|psm_"
        r"|torch_shm).{0,80}No space left|unable to (?:resize|allocate) shared memory|unable to open shared memory[^\n]{0,120}No space",
        "/dev/shm is too small for what the engine's processes exchange (Docker gives 64 MiB)",
        "raise shm_bytes of a container; on a host mount -o remount,size=16g /dev/shm",
        "vLLM 0.32.0 for CPU in a container; pytorch, DataLoader",
        "RuntimeError: Insufficient space in /dev/shm for shared-memory allocation: 160 MiB required, 64 MiB free.",
    ),
    Hint(
        "kernel-limit",
        r"(?i)(?:inotify|\bwatch|fork|clone|unshare|\bsem(?:_open|get)|shmget|\block\b|cgroup|netlink|\bbpf\b|\bkey(?:ctl|ring))"
        r"[^\n]{0,160}no space left on device",
        "the kernel has no more room for this kind of thing; most often a limit is reached (watches, namespaces, cgroups, semaphores),"
        " and no disk is full",
        "sysctl -a | grep -e inotify -e max_ -e kernel.sem -e kernel.keys shows the limits; raise the one of what the message names",
        "Linux, ENOSPC",
        "libacme: sem_open: No space left on device",
        sure=False,
    ),
    Hint(
        "disk-full",
        r"[Nn]o space left on device(?:[:( ]{1,3}['\"]?(/[^\s'\"]{1,200}))?|Disk quota exceeded"
        r"|Not enough (?:free )?(?:disk )?space(?: available)?(?=[.:] |$)|You don't have enough free space in|needs \d{1,9}[KMGT]?B more space on the ",
        "a disk (or a tmpfs) is full, or a quota is used up",
        "df -h (and df -i: inodes) shows which: the message or the lines around it name the path; make room, or move caches there; in a container"
        " without a path in sight (SemLock) it is /dev/shm: raise shm_bytes",
        "Linux, ENOSPC",
        "OSError: [Errno 28] No space left on device: '/cache/x'",
    ),
    Hint(
        "name-too-long",
        r"\[Errno 36\]|File name too long|AF_UNIX path too long|(?:ipc|unix|socket) path \S{1,300} is longer than \d{2,3} characters",
        "a path is longer than the file system, or a socket, takes (255 characters a name; 107 for a socket's whole path)",
        "give a shorter serving_root, name or TMPDIR (env of the row)",
        "Linux, unix(7)",
        "OSError: AF_UNIX path too long",
    ),
    Hint(
        "systemd-environment",
        r"Failed to load environment files",
        "the unit names a file of variables that is not there or can't be read",
        "run deploy.yml again, it writes the unit and its files; systemctl cat UNIT shows which file the unit means",
        "systemd",
        "vllm-x.service: Failed to load environment files: No such file or directory",
    ),
    Hint(
        "apt-source-twice",
        r"Conflicting values set for option Signed-By|Target [^\n]{0,120} is configured multiple times",
        "the same package source stands in two files of apt",
        "grep -r its address /etc/apt/sources.list /etc/apt/sources.list.d and remove the older entry, then apt-get update",
        "NVIDIA/cloud-native-docs, container toolkit",
        "E: Conflicting values set for option Signed-By regarding source https://a.b/x/ /: /usr/share/keyrings/x.gpg !=",
    ),
    Hint(
        "version-odd",
        r"InvalidVersion: Invalid version: |^(?!\S{0,80}ValidationError)[^\n]{0,200}Invalid version: '[^'\n]{1,80}'",
        "a package has a version that Python's rules do not know, as one built from a working copy has",
        "install a released package; for vllm-ascend with such a vLLM set env VLLM_VERSION to the release that it was built from (X.Y.Z)",
        "vllm-project/vllm-ascend, FAQ",
        "packaging.version.InvalidVersion: Invalid version: '0.9.1.post1.dev0+g1.empty'",
    ),
    Hint(
        "too-many-processes",
        r"fork: (?:retry: )?Resource temporarily unavailable|fork: Cannot allocate memory",
        "the system takes no further process or thread of this user or container (nproc, pids limit), or has no memory for one",
        "raise LimitNPROC or TasksMax of the unit, or the container engine's limit of pids, and lower OMP_NUM_THREADS; free -m shows the memory",
        "Linux, fork(2)",
        "/start: fork: retry: Resource temporarily unavailable",
    ),
    Hint(
        "disk-error",
        r"[Ii]nput/output error: ['\"]?/|\[Errno 5\]|/\S{1,160}: [Ii]nput/output error"
        r"|Transport endpoint is not connected: ['\"]?/",
        "the system could not read or write (EIO): a disk or network file system is at fault, or, where no path is named, the terminal that it wrote"
        " to is gone",
        "see dmesg and smartctl; mount a network file system again, and check its server; without a path start it as a service, not from a terminal",
        "Linux, EIO",
        "OSError: [Errno 5] Input/output error: '/models/x/model-00001.safetensors'",
    ),
    Hint(
        "file-system-damaged",
        r"\[Errno (?:74|117)\]|Structure needs cleaning|^(?![^\n]{0,200}(?:[Jj]ournal|\bUnit\b|\.service))[^\n]{0,200}: Bad message\b",
        "the file system answers that its own records are damaged (EBADMSG, EUCLEAN)",
        "dmesg names the device: unmount it and let fsck (xfs_repair, btrfs check) repair it; look at the disk with smartctl, and fetch the files"
        " there anew",
        "huggingface/huggingface_hub#2193; Linux, errno(3)",
        "OSError: [Errno 74] Bad message: '/srv/acme/.locks/models--acme--x'",
    ),
    Hint(
        "read-only-folder",
        r"Read-only file system(?::? ?['\"]?(/[^\s'\"]{1,200}))?",
        "the engine writes to a file system that takes no writes: a container's root is read-only (but for /tmp and /cache), or the host mounted the"
        " disk read-only, as it does after an error",
        "in a container point it to /cache or /tmp by a variable of the row's env (HF_HOME, TRITON_CACHE_DIR, XDG_CACHE_HOME); on a host findmnt -T"
        " of the path and dmesg say why",
        "Linux, EROFS",
        "OSError: [Errno 30] Read-only file system: '/root/.triton'",
    ),
    Hint(
        "image-adds-user",
        r"cannot lock /etc/(?:passwd|group|shadow)|(?:useradd|groupadd|adduser): (?:cannot|failure|Only root)",
        "the image's start script wants to add a user, and may not: the container's root is read-only, or it does not run as root",
        "start the engine's own command in place of that script, or run the image as a user that it has",
        "shadow-utils",
        "useradd: cannot lock /etc/passwd; try again later.",
        sure=False,
    ),
    Hint(
        "systemd-protocol",
        r"Failed with result 'protocol'",
        "the unit's program ended before it told systemd that it is ready, or its Type= is not what the program does (notify, forking)",
        "journalctl -u UNIT shows what it said last; run its start script by hand, then correct Type= or PIDFile=",
        "systemd.service",
        "systemd[1]: acme.service: Failed with result 'protocol'.",
        late=True,
    ),
    Hint(
        "inner-port-taken",
        r"server socket has failed to (?:listen|bind)[^\n]{0,200}(?:EADDRINUSE|[Aa]ddress already in use)",
        "a port by which the service's own processes find each other is taken: by another service that started at the same time, or by an earlier"
        " process that still runs",
        "start it again, the services of a host one after the other: the port is chosen anew; where the row's env sets MASTER_PORT or VLLM_PORT, give"
        " each service its own; ss -ltnp shows who holds it",
        "vllm-project/vllm#39015",
        "torch.distributed.DistNetworkError: The server socket has failed to listen on any local network address. port: 29777, useIpv6:"
        " false, code: -98,"
        " name: EADDRINUSE, message: address already in use",
    ),
    Hint(
        "port-taken",
        r"[Aa]ddress already in use|Errno 98|EADDRINUSE",
        "a port that a process of the service needs is taken already, by another program or by another process of the same service",
        "ss -ltnp shows whose it is; end it or give the service another port (after a crash it frees itself within a minute); leave VLLM_PORT out of"
        " the row's env, it is vLLM's own inner port",
        "vLLM 0.32.0 for CPU",
        "[Errno 98] error while attempting to bind on address ('127.0.0.1', 8000): address already in use",
    ),
    Hint(
        "too-many-files",
        r"Too many open files|Errno 24\b",
        "the engine may not open as many files as it needs",
        "raise LimitNOFILE of the unit (or the container's ulimit nofile)",
        "Linux, EMFILE",
        "OSError: [Errno 24] Too many open files",
    ),
    Hint(
        "too-many-threads",
        r"can't start new thread|(?i:fork|thread|clone|spawn)[^\n]{0,60}Resource temporarily unavailable"
        r"|(?:pthread_create failed|fork rejected by pids controller|libgomp: Thread creation failed)(?![^\n]{0,80}Operation not permitted)",
        "the engine may not start a thread: its limit is reached, or a container engine or libseccomp that is older than the image refuses the call"
        " (clone3)",
        "raise TasksMax of the unit (or the container's pids limit), or set env OMP_NUM_THREADS lower; if no limit is near, upgrade Docker or podman"
        " with runc and libseccomp (seccomp=unconfined shows whether that is it)",
        "Linux, EAGAIN; vLLM, troubleshooting",
        "RuntimeError: can't start new thread",
        late=True,
    ),
    Hint(
        "memory-locked",
        r"RLIMIT_MEMLOCK|mlock.{0,40}(?:fail|Cannot allocate)",
        "the network card's driver (or who else asks for it) may not lock the memory it needs",
        "for RDMA give `rdma: true` (ulimit memlock); else raise LimitMEMLOCK of the unit",
        "rdma-core",
        "mlx5: mlock failed: Cannot allocate memory",
        sure=False,
    ),
    Hint(
        "numa-policy",
        r"numa_(?:bind|migrate|set)\w{0,20}[^\n]{0,60}(?:failed|not permitted)",
        "the container may not choose the memory's NUMA node",
        "add SYS_NICE to the row's `rights`, or bind cores without memory",
        "moby, seccomp profile",
        "RuntimeError: numa_migrate_pages failed. errno: 1",
        sure=False,
    ),
    Hint(
        "libnuma-missing",
        r"libnuma\.so\.1: cannot open shared object",
        "the environment needs libnuma and the system has none",
        "install libnuma1 (numactl-libs), or remove the environment and run deploy.yml --tags prepare",
        "vLLM 0.32.0 for CPU on a minimal Debian 12",
        "Failed to import from vllm._C_AVX2: ImportError('libnuma.so.1: cannot open shared object file: No such file or directory')",
    ),
    Hint(
        "libc-too-old",
        r"version [`']?(GLIBC(?:XX)?_[\d.]{1,10})'? not found",
        "the system's C or C++ library is older than the engine needs",
        "use a container image, or a newer system",
        "glibc",
        "ImportError: /lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.38' not found (required by vllm)",
    ),
    Hint(
        "cpu-too-old",
        r"illegal hardware instruction|Illegal instruction(?!, which is usually caused by unaligned)|signal SIGILL|shutdown with signal 4\b"
        r"|died with <Signals\.SIGILL|AVX-?512 .{0,40}(?:required|not supported)|CPU does not support .{0,20}(?:avx|AVX)"
        r"|trap invalid opcode|compiled with \w{2,12} but CPU does not support|(?:Failed core proc\(s\)[^\n]{0,120}: |(?:exit ?code|exitcode)[:= ]{1,3})-4\b",
        "the program met an instruction that the host's CPU does not have: most often the build is for a newer CPU",
        "use a build for this CPU (lscpu shows avx2 and avx512f, on Arm atomics and asimdhp), or another host; in a virtual machine set its"
        " CPU type to the host's (host-passthrough)",
        "Linux, SIGILL",
        "./start: line 9:  4242 Illegal instruction     (core dumped) vllm serve",
    ),
    Hint(
        "bus-error",
        r"shutdown with signal 7\b|(?:^|\s)Bus error|signal SIGBUS|SIGBUS|(?:Failed core proc\(s\)[^\n]{0,120}: |(?:exit ?code"
        r"|exitcode)[:= ]{1,3})-7\b",
        "the engine touched memory behind which nothing is (SIGBUS): /dev/shm is too small, or a file that it had mapped was cut, or"
        " can't be read from its disk or network (NFS, Lustre)",
        "raise shm_bytes; if it stays, check the disk and the weights (weights_info, full: true); from a network file system:"
        " safetensors_load_strategy: eager in engine_args, or a local disk",
        "Linux, SIGBUS",
        "./start: line 9:  4242 Bus error               (core dumped) vllm serve",
    ),
    Hint(
        "static-tls",
        r"cannot allocate memory in static TLS block",
        "a library was loaded too late to get its place in the block for thread variables (no memory is short)",
        "put the library that the message names (libgomp, jemalloc) into LD_PRELOAD of the row's env",
        "glibc, dl-tls",
        "ImportError: /lib/libgomp.so.1: cannot allocate memory in static TLS block",
    ),
    Hint(
        "kernel-oom",
        r"[Oo]ut of memory: Killed process|oom-kill:|earlyoom\[\d{1,8}\]: sending SIG|[Mm]emory cgroup out of memory",
        "the kernel, or earlyoom, killed a process of this host or container for lack of memory: the engine itself, or one that it needs",
        "raise overhead_bytes of a container, lower kv_cache_memory_bytes, run fewer services, or give the host more memory (global_oom: all of it"
        " was used)",
        "Linux, out-of-memory killer",
        "kernel: Memory cgroup out of memory: Killed process 4242 (python3)",
    ),
    Hint(
        "killed",
        r"\bKilled\s+(?:vllm|python|bash|exec)|[Ee]xit ?code:? ?-9\b|died \(-9\)|died from signal 9|shutdown with signal 9\b"
        r"|(?<!with )signal SIGKILL|Signal 9 \(SIGKILL\)|^(?:\S{1,80}: line \d{1,5}: +\d{1,8} )?Killed\b"
        r"|(?:Failed core proc\(s\)[^\n]{0,120}: |(?:exit ?code|exitcode)[:= ]{1,3})-9\b",
        "a process of the engine was killed (SIGKILL): the kernel did so for lack of memory, or what started it ended it after another one had failed",
        "see dmesg; raise overhead_bytes of a container, lower kv_cache_memory_bytes, or run fewer services",
        "Linux, signal 9",
        "./start: line 9:  4242 Killed                  vllm serve /models/x",
        late=True,
    ),
    Hint(
        "permission",
        r"PermissionError: .{0,40}['\"](/[^'\"]{1,200})|[Pp]ermission denied",
        "a path may not be read, written or run by who tried it",
        "the message names it, or the line before: look at owner and mode of it and of its parents, at the user of the service, and at SELinux"
        " (ausearch -m avc; a container's folder wants :z or :Z at its mount)",
        "Linux, EACCES",
        "PermissionError: [Errno 13] Permission denied: '/models/x/config.json'",
        general=True,
    ),
    Hint(
        "library-missing",
        r"([\w+.-]{1,60}\.so[\w.]{0,20}): cannot open shared object",
        "a shared library is not in the environment, or not in a folder where the loader looks",
        "install the package that has it, or put its folder (often /usr/local/lib) on LD_LIBRARY_PATH in the row's env; or use an image",
        "ld.so",
        "ImportError: libGL.so.1: cannot open shared object file: No such file or directory",
        general=True,
    ),
    Hint(
        "folder-noexec",
        r"failed to map segment from shared object: (?:Operation not permitted|Permission denied)"
        r"|(?:/tmp|/var/tmp|/dev/shm|/\S{0,80}cache)/\S{1,200}: failed to map segment from shared object$",
        "a library may not be mapped for execution: its file system is mounted noexec, or SELinux forbids it",
        "mount that folder without noexec, or move the environment or the cache (TMPDIR, TRITON_CACHE_DIR in the row's env) elsewhere; ausearch -m"
        " avc shows what SELinux refused",
        "ld.so",
        "ImportError: /tmp/x/main.so: failed to map segment from shared object: Operation not permitted",
    ),
    Hint(
        "memory-out",
        r"MemoryError|Cannot allocate memory|SLUB: Unable to allocate memory|memory allocation of \d{1,20} bytes failed"
        r"|tcmalloc: large alloc \d{1,20} bytes == \(nil\)"
        r"|can't allocate memory|DefaultCPUAllocator: not enough memory|std::bad_alloc"
        r"|failed to map segment from shared object$",
        "the host's memory ran out, or what the container or unit may have of it",
        "free -h and dmesg; raise overhead_bytes of a container, lower swap_space and cpu_offload_gb (on CPUs kv_cache_memory_bytes), or run"
        " fewer services",
        "torch, Linux",
        "RuntimeError: [enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8589934592 bytes.",
        general=True,
    ),
    Hint(
        "some-memory-out",
        r"(?i:\bout of memory\b)",
        "a memory ran out: the message says which",
        "of a device: lower kv_cache_memory_bytes, max_num_seqs or max_model_len; of the host: raise overhead_bytes, or run fewer services",
        "many programs",
        "RuntimeError: nobody has seen this one: out of memory",
        general=True,
    ),
    Hint(
        "segmentation-fault",
        r"Segmentation fault|signal SIGSEGV|SIGSEGV|(?:Failed core proc\(s\)[^\n]{0,120}: |(?:exit ?code|exitcode)[:= ]{1,3})-11\b",
        "compiled code of the engine crashed (SIGSEGV)",
        "use an image as it was built; look at the lines before it, and at dmesg for the library's name",
        "Linux, SIGSEGV",
        "./start: line 9:  4242 Segmentation fault      (core dumped) vllm serve",
        general=True,
    ),
    Hint(
        "command-missing",
        r"(?:line )?\d{1,5}: (?:exec: )?([^\s:]{1,200}): (?:command )?not found|exec: ([^\s:]{1,200}): (?:cannot execute: )?(?:not found"
        r"|No such file)"
        r"|^(?:\w{1,10}: )?([^\s:]{1,200}): command not found",
        "a program that the start script names is not there",
        "run deploy.yml again, it finds what is missing; in an image check `activate`",
        "sh",
        "/srv/vllm/services/demo/current/start: 24: exec: /opt/gone/bin/vllm: not found",
        general=True,
    ),
    Hint(
        "program-not-run",
        r"returned non-zero exit status 12[67]\b",
        "a program that the message names is not on the PATH of this process (status 127), or may not be run (126)",
        "install the package that has it (lscpu: util-linux), mend PATH in the row's env, or use an image that has it",
        "Python, subprocess; vLLM 0.32.0 on a CPU",
        "subprocess.CalledProcessError: Command 'lscpu --json' returned non-zero exit status 127.",
    ),
    Hint(
        "yaml-unreadable",
        r"yaml\.(?:parser|scanner|composer|constructor)\.\w{1,40}Error",
        "a file that is to be YAML can't be read as it",
        "the lines below the message name the file, line and column; for a service's own files run deploy.yml again",
        "PyYAML",
        "yaml.parser.ParserError: while parsing a flow sequence",
        sure=False,
    ),
    Hint(
        "file-unnamed",
        r"^(?:FileNotFoundError|NotADirectoryError): \[Errno \d{1,3}\] [A-Z][a-z ]{1,40}$",
        "a file or folder is not there, and Python does not say which: one that an option names (a certificate, a key, uds), or the working folder",
        "the last lines of source in the traceback say what was opened: look for that option in engine_args",
        "Python; vLLM 0.25.1",
        "FileNotFoundError: [Errno 2] No such file or directory",
        general=True,
    ),
    Hint(
        "number-expected",
        r"^ValueError: (?:invalid literal for int\(\) with base 10|could not convert string to float): |Value error, (?:invalid literal"
        r"|could not convert)",
        "a word stands where a number is expected: in a variable of the row's env, in an option, or in the model's config.json",
        "look for the word that the message shows in env, engine_args and config.json; the last line of source in the traceback names what was read",
        "Python",
        "ValueError: invalid literal for int() with base 10: '4GiB'",
        general=True,
    ),
    Hint(
        "file-missing",
        r"^FileNotFoundError: (?!\[Errno)|FileNotFoundError: .{0,40}['\"]([^'\"]{1,200})|: No such file or directory",
        "a file that the engine or the start script names is not there",
        "the message names it; run deploy.yml again, and check `mounts` and paths of the row",
        "Linux, ENOENT",
        "FileNotFoundError: [Errno 2] No such file or directory: '/config/chat.jinja'",
        general=True,
    ),
    Hint(
        "system-says-later",
        r"BlockingIOError: \[Errno 11\]",
        "the system refused something for now: a further process (limits of nproc, pids or memory), a lock that another one holds, or a"
        " write into a full pipe",
        "the traceback's last line says what: for fork raise LimitNPROC or TasksMax of the unit and lower OMP_NUM_THREADS; for a lock end"
        " the other process; for a write look at what reads the log",
        "Python, os module; errno EAGAIN",
        "BlockingIOError: [Errno 11] Resource temporarily unavailable",
        sure=False,
    ),
    Hint(
        "cpu-level",
        r"CPU does not support x86-64-v\d",
        "this program or image is built for newer processors (x86-64-v2 or higher), and the CPU lacks their instructions, or a virtual machine hides"
        " them",
        "give the virtual machine the CPU type host (host-passthrough; Proxmox: not kvm64), or take an image for older CPUs;"
        " /lib64/ld-linux-x86-64.so.2 --help lists the levels of this host",
        "glibc, x86-64 levels",
        "Fatal glibc error: CPU does not support x86-64-v7",
    ),
)
