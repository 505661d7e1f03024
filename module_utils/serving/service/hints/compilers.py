"""Failure hints: what compilers and build tools say where code is compiled on the host: parts of them or their headers are missing."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

HINTS: tuple[Hint, ...] = (
    Hint(
        "compiler-missing",
        r"cannot execute '(?:cc1plus|cc1|as|ld|collect2)'|error: command '(?:[\w./-]{0,80}[/-])?(?:gcc|g\+\+|clang"
        r"|cc)(?:-\d{1,2})?' failed: No such file|nvcc fatal\s{1,4}: Cannot find compiler|make(?:\[\d\])?: (?:\S{0,40}-)?(?:gcc|g\+\+|cc"
        r"|ld)(?:-\d{1,2})?: No such file",
        "a compiler, or a part of it, is not installed on this host or in this image, and something is compiled here",
        "apt-get install build-essential (dnf install gcc gcc-c++ make), for a kernel module the gcc of the version that the line names; or use an"
        " image or wheel that needs no compiler",
        "gcc; setuptools; nvcc; make",
        "gcc: fatal error: cannot execute 'cc1plus': execvp: No such file or directory",
    ),
    Hint(
        "compiler-headers-missing",
        r"fatal error: (?:cuda/std|cub/|thrust/|nv/|cuda/atomic|cccl)[\w./-]{0,80}: No such file",
        "the headers of CUDA's C++ library (CCCL) are not where the compiler looks: the toolkit is installed in part, nvcc and headers are of two"
        " versions, or CUDA 13's are in include/cccl",
        "install the whole toolkit of one version (cuda-toolkit-12-9, or the wheels nvidia-cuda-cccl and nvidia-cuda-nvcc alike), set CUDA_HOME to"
        " it, or use an image as it was built; CUDA 13: env CPLUS_INCLUDE_PATH: /usr/local/cuda/include/cccl",
        "NVIDIA, CCCL",
        "fatal error: cuda/std/utility: No such file or directory",
    ),
    Hint(
        "compiler-library-old",
        r"fatal error: (?:filesystem|optional|span|string_view|bit|concepts|charconv|version): No such file"
        r"|error: .std::\w{2,30}. has not been declared|#error C\+\+\d\d or later compatible compiler is required",
        "the compiler's C++ library is missing or older than the code, or the code is older than the torch or compiler (-std=c++14, no <cstdint>)",
        "install g++ 11 or later (gcc-toolset on Red Hat), or use an image that brings compiled kernels; with it already: a newer release of the"
        " package, CXXFLAGS='-std=c++17 -include cstdint'",
        "gcc",
        "fatal error: filesystem: No such file or directory",
    ),
    Hint(
        "nvrtc-part-missing",
        r"libnvrtc-builtins[^\n]{0,60}(?:cannot open|[Ff]ailed)|[Ff]ailed to open libnvrtc-builtins|[Ff]ailed to load builtins for",
        "CUDA's compiler at run time (NVRTC) does not find the part that belongs to it: another version is found first, or the package is not whole",
        "remove LD_LIBRARY_PATH from the row's env, install nvidia-cuda-nvrtc of torch's version again, or use an image as it was built",
        "NVIDIA, NVRTC",
        "nvrtc: error: failed to open libnvrtc-builtins.so.13.0.",
        sure=False,
    ),
    Hint(
        "nvrtc-other-gpu",
        r"nvrtc: error: invalid value for --gpu-architecture",
        "CUDA's compiler at run time (NVRTC) does not know this GPU; it is older than the GPU",
        "use an image or a torch of a newer CUDA (12.8 and later for Blackwell)",
        "NVIDIA, NVRTC",
        "nvrtc: error: invalid value for --gpu-architecture (-arch)",
    ),
    Hint(
        "kernel-too-large",
        r"ptxas error\s{1,4}: Entry function[^\n]{0,200}uses too much|ptxas fatal\s{1,4}: Ptx assembly aborted",
        "a kernel that is compiled at run time wants more shared memory or registers than this GPU has: it was written for a larger one",
        "choose another attention or MoE backend in engine_args, leave the operator out (flaggems: false), set env VLLM_USE_TRITON_FLASH_ATTN: 0"
        " where it is asked for, or use another release",
        "NVIDIA, ptxas",
        "ptxas error   : Entry function 'x' uses too much shared data (0x2c800 bytes, 0x18c00 max)",
        sure=False,
    ),
    Hint(
        "cmake-without-cuda",
        r"CMAKE_CUDA_COMPILER not set|No CMAKE_CUDA_COMPILER could be found|Could NOT find CUDA(?:Toolkit)?\b|Failed to find nvcc",
        "something is built from source for GPUs (also on a host without any), and CUDA's compiler (nvcc) is not found",
        "install a wheel instead (a Python and platform that have one), or the CUDA toolkit of torch's version, with CUDA_HOME set and its bin"
        " folder in PATH; or use an image; for CPUs or NPUs set VLLM_TARGET_DEVICE: cpu (empty)",
        "CMake",
        "CMake Error: CMAKE_CUDA_COMPILER not set, after EnableLanguage",
    ),
    Hint(
        "cmake-old",
        r"CMake [\d.]{1,10} or higher is required",
        "what is built from source wants a newer CMake than this host has",
        "pip install cmake into that environment, or install a wheel (a Python and platform that have one)",
        "CMake",
        "CMake Error at CMakeLists.txt:14 (cmake_minimum_required): CMake 3.26 or higher is required. You are running version 3.22.1",
    ),
    Hint(
        "rust-missing",
        r"can't find Rust compiler|Cargo, the Rust package manager, is not installed",
        "a package has no wheel for this Python or platform, and Rust, in which it is written, is not there to build it",
        "take a Python that has wheels (3.12) and a current pip, or an image; else install Rust (rustup)",
        "setuptools-rust; maturin",
        "error: can't find Rust compiler",
    ),
    Hint(
        "cuda-home-not-set",
        r"(?<!environment variable )CUDA_HOME is not set",
        "code that is compiled, as pip builds it or at run time, looks for the CUDA toolkit by CUDA_HOME, and that is not set",
        "set env CUDA_HOME: /usr/local/cuda where the toolkit (nvcc) is, or use an image; leave out what compiles (DeepGEMM, FlashInfer JIT); a"
        " build for CPUs or NPUs wants VLLM_TARGET_DEVICE: cpu (empty for vllm-ascend)",
        "DeepGEMM; tilelang",
        "AssertionError: CUDA_HOME is not set",
    ),
    Hint(
        "compiler-too-old-for-cpu",
        r"invalid feature modifier [^\n]{0,40}'?-m(?:arch|cpu)|unrecognized command[- ]line option \S?-m(?:arch|avx|amx)"
        r"|bad value \([^)\n]{1,40}\) for \S?-m(?:arch|cpu|tune)",
        "the compiler is too old for the processor's instructions that the code is built for",
        "install a newer gcc (12 or later; gcc-toolset on Red Hat) and name it by CC and CXX, or use an image or wheel that needs no compiler",
        "gcc; google/XNNPACK#1551; vllm-project/vllm#17906",
        "cc1plus: error: invalid feature modifier in '-march=armv8.2-a+dotprod+fp16'",
    ),
)
