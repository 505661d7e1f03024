"""Failure hints: what programs keep between starts: compiled kernels and graphs, databases, locks."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

HINTS = (
    Hint(
        "kernels-not-written",
        r"Failed to generate (?:Cutlass|CUTLASS|\w{1,20}) kernels?: \[Errno (?:13|30)\]",
        "FlashInfer writes kernels into its own folder, which this user may not write to, or which takes no writes",
        "make that folder (flashinfer in site-packages) writable for the service's user, build the kernels into the image, set"
        " FLASHINFER_WORKSPACE_BASE in the row's"
        " env, or VLLM_USE_FLASHINFER_MOE_FP16: 0 (FP8, FP4 likewise) to do without",
        "vllm-project/vllm#28440",
        "RuntimeError: Failed to generate Cutlass kernels: [Errno 13] Permission denied",
        sure=False,
    ),
    Hint(
        "sqlite-cache",
        r"sqlite3\.(?:OperationalError|DatabaseError): (?:unable to open|database is locked|database disk image|disk I/O|attempt to write a readonly"
        r"|file is not a database|locking protocol)",
        "an SQLite file, most often a cache below ~/.cache, can't be used: it lies on a network file system, is not writable, or is damaged",
        "remove it (below ~/.cache), or point XDG_CACHE_HOME (OUTLINES_CACHE_DIR) in the row's env to a local disk",
        "Python, sqlite3; outlines",
        "sqlite3.OperationalError: unable to open database file",
    ),
    Hint(
        "flaggems-cache",
        r"module '_gen_module_\w{1,80}' has no attribute",
        "code that FlagGems had generated is not whole in its cache: two processes wrote it at once, or it is of another version",
        "remove the cache (~/.flaggems) and start again; with several devices give each service a cache of its own (HOME or XDG_CACHE_HOME)",
        "flagos-ai/FlagGems#55",
        "AttributeError: module '_gen_module_0a1b' has no attribute '_wrapper'",
        sure=False,
    ),
    Hint(
        "compiled-for-another-shape",
        r"AssertionError: expected size \d{1,9}==\d{1,9}, stride",
        "code that torch.compile made for other sizes ran: its cache is of another model, option or release, or this release is at fault",
        "remove ~/.cache/vllm/torch_compile_cache, or set env VLLM_DISABLE_COMPILE_CACHE: 1; then enforce_eager: true",
        "vllm-project/vllm#20479",
        "AssertionError: expected size 7==9, stride 5==4 at dim=0",
        sure=False,
    ),
    Hint(
        "compile-cache-shared",
        r"(?:No such file or directory|Directory not empty|File exists|Text file busy):[^\n]{0,300}\btmp\.pid_\d",
        "processes got in each other's way in one cache of compiled kernels: ranks do so with an older Triton, and several services or hosts in one"
        " folder or on a network disk",
        "start again; then use a newer engine (Triton 3 or newer), and set env TRITON_CACHE_DIR to a folder on a local disk that no other service has",
        "triton-lang/triton#2688; vllm-project/vllm#6180",
        "FileNotFoundError: [Errno 2] No such file or directory: '/root/.triton/cache/abc/acme_kernel.cubin.tmp.pid_72_945989'",
    ),
    Hint(
        "compile-cache-gone",
        r"No such file or directory: '[^'\n]{0,200}(?:torchinductor_\w|torch_compile_cache|inductor_cache|/\.?triton/)",
        "a file that was written into the compile cache is gone: another process uses or cleans the folder, a compilation broke off in it, or env"
        " switches the cache off at fault",
        "remove the folder that the message names and ~/.cache/vllm/torch_compile_cache, leave VLLM_DISABLE_COMPILE_CACHE out of env, and give each"
        " service a folder of its own on a local disk (env VLLM_CACHE_ROOT, TRITON_CACHE_DIR, TORCHINDUCTOR_CACHE_DIR)",
        "vllm-project/vllm#15276; pytorch/pytorch#134384",
        "FileNotFoundError: [Errno 2] No such file or directory: '/root/.cache/vllm/torch_compile_cache/acme/rank_0_0/x.py'",
        sure=False,
    ),
    Hint(
        "compile-cache-damaged",
        r"corrupted compilation artifact|failed to get the hash of the compiled graph|torch_compile_cache[^\n]{0,200}(?:corrupt|EOFError|UnpicklingError)",
        "an earlier compilation broke off and left a damaged artifact in the compile cache, or hid its own error by that",
        "remove ~/.cache/vllm/torch_compile_cache (below VLLM_CACHE_ROOT) and start again without VLLM_DISABLE_COMPILE_CACHE and"
        " TORCHINDUCTOR_FORCE_DISABLE_CACHES in env; what is said then is the reason",
        "vllm-project/vllm#18956",
        "AssertionError: failed to get the hash of the compiled graph",
        sure=False,
    ),
    Hint(
        "flashinfer-versions",
        r"flashinfer-(?:cubin|jit-cache|python) version \([^)\n]{1,40}\) does not match",
        "two parts of FlashInfer (flashinfer-python, flashinfer-cubin, flashinfer-jit-cache) are of different versions",
        "install all of the version that this release of the engine names, or pip uninstall flashinfer-cubin flashinfer-jit-cache;"
        " FLASHINFER_DISABLE_VERSION_CHECK: 1 in the row's env goes on without asking",
        "vllm-project/vllm#49804",
        "RuntimeError: flashinfer-cubin version (0.7.13) does not match flashinfer version (0.7.14). Please install the same version of both"
        " packages.",
    ),
    Hint(
        "extension-not-built",
        r"/torch_extensions/[^\n'\"]{1,200}\.so[^\n]{0,20}: cannot open shared object",
        "a part that is compiled at run time is not there: its compilation failed or was stopped before (no ninja, no nvcc), and the folder that it"
        " left is taken for finished",
        "remove that folder below torch_extensions, install ninja and a CUDA toolkit (an image of the kind devel), start again; newer engines bring"
        " the part built",
        "vllm-project/vllm#13563",
        "OSError: /root/.cache/torch_extensions/py312_cu124/acme/acme.so: cannot open shared object file: No such file or directory",
        sure=False,
    ),
    Hint(
        "flashinfer-download",
        r"Failed to download (?:cubins|DSL FMHA)|Failed to fetch the checksum manifest for artifact|No checksum found for DSL FMHA",
        "FlashInfer fetches compiled kernels at its first use, and its server can't be reached from here, or has none for this version",
        "use an image that holds them (packages flashinfer-cubin and flashinfer-jit-cache of the same version), name a mirror by env"
        " FLASHINFER_CUBINS_REPOSITORY, or choose another attention backend",
        "flashinfer-ai/flashinfer, artifacts.py",
        "RuntimeError: Failed to download cubins",
    ),
)
