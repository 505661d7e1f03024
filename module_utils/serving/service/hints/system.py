"""Failure hints: the kernel, the C library, disks, ports, processes and memory of the host."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

HINTS = (
    Hint(
        "shm-too-small",
        r"Insufficient space in /dev/shm|[Uu]nexpected bus error encountered in worker|insufficient shared memory"
        r"|No space left on device.{0,80}(?:/dev/shm|/psm_|/torch_|sem\.)|(?:/dev/shm|psm_|torch_shm).{0,80}No space left|unable to (?:resize"
        r"|allocate) shared memory|unable to open shared memory[^\n]{0,120}No space",
        "/dev/shm is too small for what the engine's processes exchange (Docker gives 64 MiB)",
        "raise shm_bytes of a container; on a host mount -o remount,size=16g /dev/shm",
        "vLLM 0.32.0 for CPU in a container; pytorch, DataLoader",
        "RuntimeError: Insufficient space in /dev/shm for shared-memory allocation: 160 MiB required, 64 MiB free.",
    ),
    Hint(
        "disk-full",
        r"[Nn]o space left on device(?:[:( ]{1,3}['\"]?(/[^\s'\"]{1,200}))?|Disk quota exceeded",
        "a disk (or a tmpfs) is full, or a quota is used up",
        "df -h shows which: the message or the lines around it name the path; make room, or move caches there",
        "Linux, ENOSPC",
        "OSError: [Errno 28] No space left on device: '/cache/x'",
    ),
    Hint(
        "name-too-long",
        r"\[Errno 36\]|File name too long|AF_UNIX path too long",
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
        "too-many-processes",
        r"BlockingIOError: \[Errno 11\]|fork: (?:retry: )?Resource temporarily unavailable|fork: Cannot allocate memory",
        "the system takes no further process or thread of this user or container (nproc, pids limit), or has no memory for one",
        "raise pids_limit of the row or LimitNPROC/TasksMax of the unit, lower OMP_NUM_THREADS; free -m shows the memory",
        "Linux, fork(2)",
        "BlockingIOError: [Errno 11] Resource temporarily unavailable",
    ),
    Hint(
        "disk-error",
        r"[Ii]nput/output error: ['\"]?/|\[Errno 5\]|/\S{1,160}: [Ii]nput/output error|Stale file handle|Errno 116\b"
        r"|Transport endpoint is not connected: ['\"]?/",
        "a disk or network file system answers with an error",
        "see dmesg and smartctl; mount a network file system again, and check its server",
        "Linux, EIO, ESTALE",
        "OSError: [Errno 5] Input/output error: '/models/x/model-00001.safetensors'",
    ),
    Hint(
        "read-only-folder",
        r"Read-only file system(?::? ?['\"]?(/[^\s'\"]{1,200}))?",
        "the engine writes where it may not: containers have a read-only root with /tmp and /cache to write in",
        "point it to /cache or /tmp by a variable of the row's env (HF_HOME, TRITON_CACHE_DIR, XDG_CACHE_HOME)",
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
    ),
    Hint(
        "systemd-protocol",
        r"Failed with result 'protocol'",
        "the unit's program ended before it told systemd that it is ready, or its Type= is not what the program does (notify, forking)",
        "journalctl -u UNIT shows what it said last; run its start script by hand, then correct Type= or PIDFile=",
        "systemd.service",
        "systemd[1]: acme.service: Failed with result 'protocol'.",
    ),
    Hint(
        "port-taken",
        r"[Aa]ddress already in use|Errno 98|EADDRINUSE",
        "another process listens on a port that the service needs",
        "ss -ltnp shows whose it is; end it or give the service another port",
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
        r"can't start new thread|(?i:fork|thread|clone|spawn)[^\n]{0,60}Resource temporarily unavailable|pthread_create failed"
        r"|libgomp: Thread creation failed",
        "the engine may not start as many threads as it needs",
        "raise TasksMax of the unit (or the container's pids limit), or set env OMP_NUM_THREADS lower",
        "Linux, EAGAIN; vLLM, troubleshooting",
        "RuntimeError: can't start new thread",
    ),
    Hint(
        "memory-locked",
        r"RLIMIT_MEMLOCK|cannot allocate memory in static TLS block|mlock.{0,40}(?:fail|Cannot allocate)",
        "the C library or the network card's driver may not lock or reserve the memory it needs",
        "for RDMA give `rdma: true` (ulimit memlock); for a TLS block put that library into LD_PRELOAD of the row's env",
        "glibc; rdma-core",
        "ImportError: /lib/libgomp.so.1: cannot allocate memory in static TLS block",
    ),
    Hint(
        "numa-policy",
        r"numa_(?:bind|migrate|set)\w{0,20}[^\n]{0,60}(?:failed|not permitted)",
        "the container may not choose the memory's NUMA node",
        "add SYS_NICE to the row's `rights`, or bind cores without memory",
        "moby, seccomp profile",
        "RuntimeError: numa_migrate_pages failed. errno: 1",
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
        r"Illegal instruction(?!, which is usually caused by unaligned)"
        r"|signal SIGILL|AVX-?512 .{0,40}(?:required|not supported)|CPU does not support .{0,20}(?:avx|AVX)|(?:Failed core proc\(s\)[^\n]{0,120}: "
        r"|(?:exit ?code|exitcode)[:= ]{1,3})-4\b",
        "this build uses instructions that the host's CPU does not have",
        "use a build for this CPU (lscpu shows avx2, avx512f), or another host",
        "Linux, SIGILL",
        "./start: line 9:  4242 Illegal instruction     (core dumped) vllm serve",
    ),
    Hint(
        "bus-error",
        r"(?:^|\s)Bus error|signal SIGBUS|SIGBUS|(?:Failed core proc\(s\)[^\n]{0,120}: |(?:exit ?code|exitcode)[:= ]{1,3})-7\b",
        "the engine wrote into shared memory that is not there (SIGBUS): /dev/shm is too small, or a mapped file was cut",
        "raise shm_bytes; if it stays, check the disk and the weights (weights_info, full: true)",
        "Linux, SIGBUS",
        "./start: line 9:  4242 Bus error               (core dumped) vllm serve",
    ),
    Hint(
        "kernel-oom",
        r"[Oo]ut of memory: Killed process|oom-kill:|[Mm]emory cgroup out of memory|\bKilled\s+(?:vllm|python|bash|exec)|[Ee]xit ?code:? ?-9\b"
        r"|died \(-9\)|died from"
        r" signal 9|signal SIGKILL"
        r"|Signal 9 \(SIGKILL\)|^(?:\S{1,80}: line \d{1,5}: +\d{1,8} )?Killed\b|(?:Failed core proc\(s\)[^\n]{0,120}: |(?:exit ?code"
        r"|exitcode)[:= ]{1,3})-9\b",
        "the kernel killed the engine (SIGKILL), most often for lack of memory",
        "see dmesg; raise overhead_bytes of a container, lower kv_cache_memory_bytes, or run fewer services",
        "Linux, out-of-memory killer",
        "./start: line 9:  4242 Killed                  vllm serve /models/x",
    ),
    Hint(
        "certificate",
        r"CERTIFICATE_VERIFY_FAILED|SSLCertVerificationError|certificate verify failed|certificate has expired|self[- ]signed certificate",
        "a certificate of another server is not trusted here",
        "add the site's CA to the system, or set env SSL_CERT_FILE; a proxy that breaks TLS has one; the host's clock must be right",
        "Python, ssl",
        "ssl.SSLCertVerificationError: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate",
    ),
    Hint(
        "permission",
        r"PermissionError: .{0,40}['\"](/[^'\"]{1,200})|[Pp]ermission denied",
        "a path may not be read, written or run by who tried it",
        "the message names it, or the line before: look at owner and mode of it and of its parents, at the user of the service, and at SELinux",
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
        r"failed to map segment from shared object: (?:Operation not permitted|Permission denied)",
        "a library lies on a file system that may not execute anything (noexec)",
        "mount that folder without noexec, or move the environment or the cache (TMPDIR, TRITON_CACHE_DIR in the row's env) elsewhere",
        "ld.so",
        "ImportError: /tmp/x/main.so: failed to map segment from shared object: Operation not permitted",
    ),
    Hint(
        "memory-out",
        r"MemoryError|Cannot allocate memory|can't allocate memory|DefaultCPUAllocator: not enough memory|std::bad_alloc"
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
        "file-missing",
        r"FileNotFoundError: .{0,40}['\"]([^'\"]{1,200})|: No such file or directory",
        "a file that the engine or the start script names is not there",
        "the message names it; run deploy.yml again, and check `mounts` and paths of the row",
        "Linux, ENOENT",
        "FileNotFoundError: [Errno 2] No such file or directory: '/config/chat.jinja'",
        general=True,
    ),
)
