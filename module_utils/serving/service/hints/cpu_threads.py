"""Failure hints: threads and their cores, NUMA nodes, and what gives out the host's memory (OpenMP, jemalloc, tcmalloc)."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

HINTS: tuple[Hint, ...] = (
    Hint(
        "openmp-twice",
        r"OMP: Error #15: Initializing",
        "two libraries of OpenMP are in one process (libiomp5, libomp, libgomp), each with its own threads",
        'name one of them alone in LD_PRELOAD (for vLLM on CPUs libiomp5.so), or use an image as it was built; env KMP_DUPLICATE_LIB_OK: "TRUE" only'
        " hides it",
        "LLVM and Intel OpenMP, kmp_runtime",
        "OMP: Error #15: Initializing libiomp5.so, but found libomp.so already initialized.",
    ),
    Hint(
        "openmp-affinity",
        r"OMP: Error #\d{1,3}: (?:Assertion failure at kmp_affinity|[^\n]{0,40}[Aa]ffinity)",
        "OpenMP can't bind its threads to the cores that it was told: the container's or unit's cpuset lacks some, or this library does not know how"
        " this host counts them",
        "remove KMP_AFFINITY and OMP_PROC_BIND from the row's env, or set KMP_AFFINITY: disabled; let VLLM_CPU_OMP_THREADS_BIND name cores that the"
        " service has",
        "LLVM and Intel OpenMP, kmp_affinity.cpp",
        "OMP: Error #13: Assertion failure at kmp_affinity.cpp(532).",
        sure=False,
    ),
    Hint(
        "openmp-system",
        r"OMP: Error #\d{1,3}: (?:Function \w{3,40}(?:\(\))? failed|System unable to allocate|Fatal system error)(?![^\n]{0,40}affinity)",
        "the system refuses OpenMP a thread or a lock: the limit of processes (nproc, pids, TasksMax) or memory is reached, or a sandbox refuses the"
        " call",
        "raise TasksMax of the unit (or the container's pids limit), or set env OMP_NUM_THREADS lower",
        "LLVM and Intel OpenMP, i18n",
        "OMP: Error #179: Function pthread_mutex_init failed:",
        sure=False,
    ),
    Hint(
        "openmp-value",
        r"libgomp: Invalid value for environment variable|OMP: Warning #\d{1,3}: (?:OMP|KMP)_\w{1,40}: [^\n]{0,60}(?:ignored|invalid)",
        "a variable for OpenMP has a value that it does not take",
        "correct the variable that the line names in the row's env (OMP_NUM_THREADS is a number), or leave it out",
        "gcc, libgomp",
        "libgomp: Invalid value for environment variable OMP_NUM_THREADS",
        sure=False,
    ),
    Hint(
        "cores-not-here",
        r"VLLM_CPU_OMP_THREADS_BIND[^\n]{0,80}(?:out of range|not in|invalid)|Not enough allowed CPUs|failed to set pid \d{1,8}'s affinity"
        r"|Failed to bind threads|libnuma: Warning: (?:node|cpu) argument \S{1,20} is out of range|cpu(?: argument)? \S{1,12} (?:is )?out of range",
        "the service is to run on cores or NUMA nodes that it does not have: the host has fewer, or the cpuset of its container or unit leaves them"
        " out",
        "lscpu and /proc/self/status (Cpus_allowed_list) within it show which it has: correct VLLM_CPU_OMP_THREADS_BIND and the row's cores",
        "vLLM for CPUs; util-linux; numactl",
        "ValueError: VLLM_CPU_OMP_THREADS_BIND: core id 64 is out of range",
    ),
    Hint(
        "allocators-mixed",
        r"Attempt to free invalid pointer|MADV_DONTNEED does not work",
        "the library that gives out memory (tcmalloc, jemalloc) and another one get in each other's way, or it runs under emulation: it was put into"
        " LD_PRELOAD beside one that brings its own",
        "take it out of LD_PRELOAD of the row's env, or use an image for this processor (uname -m)",
        "gperftools; jemalloc",
        "src/tcmalloc.cc:284] Attempt to free invalid pointer 0xffff",
        sure=False,
    ),
)
