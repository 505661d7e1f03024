"""Failure hints: Python environments: interpreters, compilers at run time, and packages that don't fit together."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

HINTS = (
    Hint(
        "compile-pass",
        r"auto_functionalized was not removed",
        "a pass of the engine over torch.compile's graph failed: torch and this release do not belong together, or an operator of this model is not"
        " made for it",
        "set enforce_eager: true, use an image as it was built, or a newer release",
        "vllm-project/vllm#40821",
        "RuntimeError: Worker failed with error 'AssertionError: auto_functionalized was not removed', please check the stack trace above",
        sure=False,
    ),
    Hint(
        "sources-unreadable",
        r"^OSError: source code not available|^KeyError: '__firstlineno__'",
        "Python can't read the sources of a class that the engine looks into: this Python is newer than the engine supports, or only"
        " compiled files are there",
        "use a Python that this engine's release names (an image has it), or install the package as its wheel is",
        "vllm-project/vllm#23744",
        "OSError: source code not available",
        sure=False,
    ),
    Hint(
        "kernels-version",
        r"Either a revision or a version must be specified",
        "the package `kernels` is newer than this transformers calls it",
        "install the transformers and kernels that belong together (pip install 'kernels<0.10' for transformers 4, 'kernels<0.15' for 5), or remove"
        " kernels; an image has them right",
        "odysseus-dev/odysseus#191; huggingface/kernels",
        "ValueError: Either a revision or a version must be specified.",
        sure=False,
    ),
    Hint(
        "pydantic-version",
        r"'FieldInfo' object has no attribute 'required'|cannot import name '\w{1,60}' from 'pydantic|No module named 'pydantic_settings"
        r"|pydantic[^\n]{0,60}(?:has been removed in V2|has been moved to)",
        "pydantic is of another version than a package that uses it was written for (1 and 2 differ)",
        "install the pydantic that this engine names and upgrade what the traceback shows beside it (deepspeed, peft), or use an image as it was built",
        "pydantic, migration guide; vllm-project/vllm#4004",
        "ImportError: cannot import name 'acme_validator' from 'pydantic' (/srv/x/pydantic/__init__.py)",
    ),
    Hint(
        "interpreter-gone",
        r"[Pp]ython[\w.]{0,8}: bad interpreter(?!: [Pp]ermission)|(?:python|pip|vllm|sglang|\bray|uv|/envs?/\S{1,80}"
        r"|/bin/activate)[\w.]{0,8}: cannot execute: required file not found|No Python at ['\"]|[Nn]o pyvenv\.cfg"
        r"|Could not find platform (?:in)?dependent libraries|Failed to import encodings module|init_fs_encoding: failed|No module named 'encodings'",
        "the environment's Python does not find what belongs to it: it is gone or was moved (an environment belongs to the Python and the folder it"
        " was made for), or PYTHONHOME names another",
        "take PYTHONHOME out of the row's env; else remove the environment and run deploy.yml --tags prepare",
        "Python, venv",
        "/opt/old/bin/vllm: /opt/old/bin/python3: bad interpreter: No such file or directory",
    ),
    Hint(
        "python-too-old",
        r"TypeError: (?:'type' object is not subscriptable|unsupported operand type\(s\) for \|: '(?:type|_\w{1,40}|\w{0,20}Meta|\w{0,20}Alias)')"
        r"|cannot import name '(?:\w{1,30})' from 'typing'|has no attribute 'removeprefix'|No module named 'tomllib'",
        "this code is for a newer Python than the environment's",
        "make the environment with a Python that the engine names",
        "Python, what's new",
        "TypeError: unsupported operand type(s) for |: 'type' and 'NoneType'",
        sure=False,
    ),
    Hint(
        "numpy-2",
        r"No module named 'numpy\.(?:lib\.function_base|distutils)'|RuntimeError: Numpy is not available"
        r"|initialization of \w{1,40} failed without raising|compiled using NumPy 1\.x cannot be run in"
        r"|_ARRAY_API not found|`?np\.\w{1,20}`? was removed in the NumPy 2|was removed from the ndarray class in NumPy 2"
        r"|module 'numpy' has no attribute '(?!(?:ndarray|array|dtype|zeros|float32|int64|__version__)')",
        "a package was made for another version of NumPy",
        "install the NumPy that the package names (mostly numpy<2), or the package's newer version, or use an image as it was built",
        "numpy, 2.0 migration",
        "AttributeError: module 'numpy' has no attribute 'product'",
    ),
    Hint(
        "cxxabi",
        r"version [`'](?:CXXABI|GLIBCXX|GOMP|OPENSSL|LIBFFI)[\w.]{1,20}'? not found|libstdc\+\+\.so\.6: version",
        "another libstdc++ (or libgomp, OpenSSL) is loaded than the package was built with: conda's beside the system's, or the package (the message"
        " names it behind `required by`) was built on a newer system",
        "put the newer one first: install libstdcxx-ng into the conda environment and its lib folder on LD_LIBRARY_PATH, or remove that variable;"
        " else a wheel built for this system, or a newer image",
        "gcc, libstdc++ ABI",
        "ImportError: /lib/x86_64-linux-gnu/libstdc++.so.6: version `CXXABI_1.3.15' not found (required by /opt/x/libicui18n.so)",
    ),
    Hint(
        "flashinfer-no-architecture",
        r"FlashInfer requires GPUs with sm75",
        "FlashInfer finds no architecture to compile for: the GPU is newer than the CUDA compiler beside it knows (or older than compute"
        " capability 7.5)",
        "use an image with a newer CUDA (12.9 for compute capability 12.x) or env VLLM_USE_FLASHINFER_SAMPLER: 0; nvcc --version shows the compiler",
        "vllm-project/vllm#50705",
        "RuntimeError: FlashInfer requires GPUs with sm75 or higher",
        sure=False,
    ),
    Hint(
        "nvcc-too-old",
        r"nvcc fatal {0,5}: (?:Unknown option|Unsupported gpu architecture|Value )|unrecognized option[^\n]{0,60}nvcc"
        r"|FlashInfer requires[^\n]{0,60}CUDA|CUDA (?:version|toolkit)[^\n]{0,40}(?:is )?too old",
        "kernels are compiled at run time, and the nvcc that is found does not know the option or GPU: it is too old for it, or (CUDA 13 and a GPU"
        " before Turing) too new",
        "put the nvcc of torch's CUDA first (CUDA_HOME in the row's env), or use an image; VLLM_USE_FLASHINFER_SAMPLER: 0 avoids"
        " FlashInfer's sampler",
        "flashinfer-ai/flashinfer#1532",
        "nvcc fatal   : Unknown option '-static-global-template-stub=false'",
    ),
    Hint(
        "compiler-killed",
        r"died due to signal 9|Killed signal terminated program",
        "the host ended a compiler that worked at run time or during an installation: memory ran out (as many run at once as there are cores), or"
        " somebody ended it",
        "set env MAX_JOBS: 4 (and NVCC_THREADS: 1) and start again, give the container or host more memory, or use an image whose kernels are"
        " compiled (flashinfer-jit-cache)",
        "vllm-project/vllm#36077; GCC",
        "nvcc error   : 'cudafe++' died due to signal 9 (Kill signal)",
    ),
    Hint(
        "nvcc-options",
        r"nvcc fatal {0,5}: A single input file is required",
        "nvcc reads the options that it is given otherwise than meant: the package that compiles (most often FlashInfer) and this CUDA do not belong"
        " together",
        "use an image as it was built, or the CUDA that the package names; VLLM_USE_FLASHINFER_SAMPLER: 0 avoids FlashInfer's sampler",
        "SystemPanic/flashinfer-windows#6",
        "nvcc fatal   : A single input file is required for a non-link phase when an outputfile is specified",
        sure=False,
    ),
    Hint(
        "nvcc-path-wrong",
        r"(?:^|[\s'\"])[:;]/[\w./-]{1,120}nvcc|nvcc[^\n]{0,40}[Nn]ot a directory",
        "CUDA_HOME holds a list (or a stray colon) instead of one folder, so nvcc is not found",
        "set CUDA_HOME in the row's env to one folder, /usr/local/cuda",
        "vllm-project/vllm#36077",
        "/bin/sh: 1: :/usr/local/cuda-12.8/bin/nvcc: not found",
    ),
    Hint(
        "nvcc-gcc",
        r"unsupported GNU version|gcc versions later than \d{1,2} are not supported|unsupported (?:clang|host compiler) version",
        "this nvcc does not know the host's newer gcc",
        "install a gcc that it supports and set env CC, CXX and NVCC_CCBIN to it, or use an image",
        "CUDA, host_config.h",
        "/usr/local/cuda/include/crt/host_config.h:132:2: error: #error -- unsupported GNU version! gcc versions later than 12 are not"
        " supported!",
    ),
    Hint(
        "linker-library",
        r"cannot find -l(\w{1,40})|ld returned 1 exit status|ld: library not found",
        "code that is compiled at run time did not link: a library is not where the linker looks, or lacks what is called",
        "for -lcuda give LIBRARY_PATH=/usr/local/cuda/lib64/stubs (or the driver's folder); else install that library's -dev package",
        "GNU ld",
        "/usr/bin/ld: cannot find -lcuda: No such file or directory",
    ),
    Hint(
        "cuda-versions-differ",
        r"detected CUDA version \([\d.]{1,8}\) mismatches|CUDA_MISMATCH|CUDA compiler and CUDA toolkit headers are incompatible"
        r"|torch[^\n]{0,60}compiled with[^\n]{0,20}CUDA [\d.]{1,8}[^\n]{0,60}(?:but|mismatch)",
        "torch, or the CUDA headers that are compiled with, are of another CUDA than the compiler (nvcc) that is used here",
        "install the torch that vLLM names from the CUDA index, or use an image; where a kernel is compiled at the start (FlashInfer), one"
        " CUDA toolkit alone (CUDA_HOME), or VLLM_USE_FLASHINFER_SAMPLER: 0 in the row's env",
        "pytorch, utils/cpp_extension.py",
        "RuntimeError: The detected CUDA version (12.9) mismatches the version that was used to compile PyTorch (13.0).",
    ),
    Hint(
        "symbol-lookup",
        r"symbol lookup error: (?![^\n]{0,200}undefined symbol: (?:nvml|cu[A-Z]))|undefined symbol: (?:Py\w{2,60}|_Py\w{2,60}"
        r"|PyInit_\w{1,40}|MPI_\w{1,40}|ucp?\w{1,40}|ibv_\w{1,40})|does not define module export function",
        "a compiled part and the library it is loaded with are of versions that don't belong together",
        "remove LD_LIBRARY_PATH, LD_PRELOAD and PYTHONPATH from the row's env, or use an image as it was built",
        "ld.so",
        "python: symbol lookup error: /opt/x/libucs.so: undefined symbol: nobody_knows",
        sure=False,
    ),
    Hint(
        "package-file-gone",
        r"No such file or directory: '[^'\n]{0,200}/(?:site|dist)-packages/[^'\n]{1,200}'",
        "a file that belongs to an installed Python package is not there: the package was installed in part or over another, this build of it leaves"
        " the file out, or something removed it",
        "install the package that the path names anew (or the release that the engine names), remove the environment and run deploy.yml --tags"
        " prepare, or use an image as it was built",
        "vllm-project/vllm#16030",
        "FileNotFoundError: [Errno 2] No such file or directory: '/opt/acme/lib/python3.12/site-packages/acme/kernels/x.cu'",
        sure=False,
    ),
    Hint(
        "package-hidden",
        r"cannot import name '\w{1,80}' from '[\w.]{1,80}' \(unknown location\)|module 'numpy' has no attribute '(?:ndarray|array|dtype"
        r"|zeros|float32)'",
        "Python finds a folder of the package's name in place of it (the working folder or PYTHONPATH holds one), or the package is there in part",
        "start from another folder, drop it from PYTHONPATH, and install the package anew or use an image as it was built",
        "sgl-project/sglang#14398",
        "ImportError: cannot import name 'X' from 'acme' (unknown location)",
        sure=False,
    ),
    Hint(
        "custom-code-module",
        r"No module named '?transformers_modules",
        "the model's own Python code is not where transformers keeps a copy for its processes: the model's folder has a dot in its name, or the"
        " cache of modules is not writable or not shared by the workers",
        "name the folder without dots; set HF_MODULES_CACHE in the row's env to a folder that all workers may write",
        "vllm-project/vllm#871; huggingface/transformers, dynamic_module_utils.py",
        "ModuleNotFoundError: No module named 'transformers_modules.acme'",
        sure=False,
    ),
    Hint(
        "package-imports-itself",
        r"partially initialized module '",
        "a package is imported while it is still being imported: a file of its name (a script of one's own) is found first, or its parts are of"
        " different versions",
        "rename that file (the traceback names it), or install the package anew; an image as it was built has neither",
        "Python, circular imports",
        "ImportError: cannot import name 'x' from partially initialized module 'acme' (most likely due to a circular import)",
        sure=False,
    ),
    Hint(
        "python-library",
        r"libpython3[\d.]{0,6}\.so[\w.]{0,8}: cannot open shared object|/python[\d.]{0,4}: (?:bad interpreter: )?[Pp]ermission denied",
        "Python's own library is not found: the interpreter lies in a folder that this user may not read (often below /root), or it was removed",
        "run the image as the user that it was built for, or make the environment anew (deploy.yml --tags prepare)",
        "huggingface/text-generation-inference#3082",
        "/opt/x/bin/vllm: error while loading shared libraries: libpython3.11.so.1.0: cannot open shared object file: No such file or directory",
        sure=False,
    ),
    Hint(
        "cache-not-writable",
        r"PermissionError[^\n]{0,40}'(?![^']{0,160}kernel_meta)[^']{0,160}/\.(?:triton|cache|config|local|nv|vllm|flagtree|flag_?gems"
        r"|flaggems|cutlass|flashinfer"
        r"|npu|ascend\w{0,10}|torch\w{0,12}|huggingface|modelscope|keras|numba|ray)[^']{0,160}'"
        r"|PermissionError[^\n]{0,40}'(?![^']{0,160}kernel_meta)(?:[^']{0,120}/)?(?:ascend|torchinductor_\w{1,30}|atb_temp"
        r")[^']{0,120}'",
        "the engine's user may not write into the folder of a cache: its home is another user's, or none was set (/), it was made by root (an"
        " earlier run, or Docker for a mount), or SELinux closes the mount",
        "set HOME, XDG_CACHE_HOME, TRITON_CACHE_DIR and HF_HOME in the row's env to /cache or /tmp, or run as the image's user; chown -R the folder"
        " on the host to that user, under SELinux mount it with :z",
        "llm-d/llm-d#1430",
        "PermissionError: [Errno 13] Permission denied: '/.triton'",
    ),
    Hint(
        "protobuf",
        r"Descriptors cannot (?:not )?be created directly|google\.protobuf[^\n]{0,80}(?:VersionError|has no attribute|cannot import)"
        r"|protobuf[^\n]{0,60}(?:gencode|runtime) version",
        "the environment's protobuf is of another version than the code that was made with it",
        "install the protobuf that the message names",
        "protobuf, version support",
        "TypeError: Descriptors cannot be created directly.",
    ),
    Hint(
        "opencv-twice",
        r"module 'cv2[\w.]{0,20}' has no attribute",
        "two builds of OpenCV lie in one folder of this environment, or one that is not what the engine names",
        "pip uninstall every opencv package, then install one (the opencv-python-headless that the engine names), or use an image as it was built",
        "vllm-project/vllm#8650",
        "AttributeError: module 'cv2.dnn' has no attribute 'DictValue'",
        sure=False,
    ),
    Hint(
        "vllm-version-pair",
        r"No module named '?vllm_ascend\.|cannot import name '\w{1,60}' from 'vllm[\w.]{0,80}'|No module named '?vllm\.(?!_)[\w.]{1,80}"
        r"|module 'vllm[\w.]{0,60}' has no attribute|'?vllm\.config[\w.]{0,20}'? has no attribute",
        "vLLM and what calls it (vllm-ascend, LMCache, a plugin, a script of the model's page) are of versions that don't belong together, or vLLM"
        " is installed in part (its own files name each other wrongly)",
        "install the pair that the plugin names (vllm-ascend 0.x needs vLLM 0.x), or the vLLM that the model's page asks for, or use an image of a"
        " release (a nightly one may be broken itself); in an environment: deploy.yml --tags prepare",
        "vllm-project/vllm-ascend, versioning policy",
        "ImportError: cannot import name 'FlexibleArgumentParser' from 'vllm.utils' (/opt/vllm/utils/__init__.py)",
        sure=False,
    ),
    Hint(
        "fastapi-version",
        r"'_IncludedRouter' object has no attribute|prometheus_fastapi_instrumentator[^\n]{0,200}has no attribute",
        "the installed fastapi is newer than this engine's metrics library knows",
        "install fastapi below 0.137 in that environment, or use an image as it was built",
        "vllm-project/vllm; prometheus-fastapi-instrumentator#370",
        "AttributeError: '_IncludedRouter' object has no attribute 'acme'",
    ),
    Hint(
        "regular-expression",
        r"^(?:re\.(?:error|PatternError)|regex\._regex_core\.error): ",
        "a regular expression can't be read: one of a request or of the model's files, or one that a package wrote for an older Python"
        " (3.11 refuses flags"
        " that are not first)",
        "the traceback's last files name who wrote it: correct the request or schema, upgrade that package, or use the engine's own Python",
        "Python, re; lark-parser/lark#1207",
        "re.error: global flags not at the start of the expression at position 5",
        sure=False,
    ),
    Hint(
        "web-middleware",
        r"Cannot add middleware after an application has started",
        "the web framework and what hooks into it are of different times: starlette is newer than the metrics library (or another middleware) knows",
        "install the fastapi, starlette and prometheus-fastapi-instrumentator that the engine's release names, or use an image as it was built",
        "trallnag/prometheus-fastapi-instrumentator#214",
        "RuntimeError: Cannot add middleware after an application has started",
        sure=False,
    ),
    Hint(
        "library-of-another-kind",
        r"invalid ELF header|wrong ELF class",
        "a library is built for another processor, or is no library at all: packages copied from another machine, a Git LFS pointer, or a"
        " text that links to it",
        "file PATH says what it is: install that package on this host, or use an image for its architecture (uname -m)",
        "glibc",
        "ImportError: /opt/acme/libacme.so: invalid ELF header",
    ),
    Hint(
        "source-not-read",
        r"^\s{0,8}(?:SyntaxError|IndentationError|TabError): ",
        "Python can't read a source file: it is written for a newer Python, damaged, or of the model's own code in a form that this Python does not take",
        "the lines above it name the file: use the Python that the package asks for, install the package again, or fetch the model again",
        "Python",
        "SyntaxError: invalid syntax",
        general=True,
    ),
    Hint(
        "pickle-cut",
        r"EOFError: Ran out of input|(?:UnpicklingError|EOFError): (?:pickle data was truncated|unpickling stack underflow)",
        "a file that was pickled is empty or cut: a checkpoint (.bin, .pt) that did not arrive whole, or a cache that was being written"
        " when its process ended",
        "the traceback's last lines say which: run deploy.yml --tags fetch for the model's files, remove a cache (below ~/.cache/vllm)",
        "Python, pickle",
        "EOFError: Ran out of input",
        sure=False,
    ),
    Hint(
        "archive-unreadable",
        r"BadZipFile: |zipfile\.BadZipfile|tarfile\.ReadError: ",
        "a file that is to be an archive is none, or is damaged: a checkpoint, a wheel or data that did not arrive whole, or a page that came in its place",
        "the traceback's last lines say which; run deploy.yml --tags fetch, or remove that file from its cache and start again",
        "Python, zipfile",
        "zipfile.BadZipFile: File is not a zip file",
        sure=False,
    ),
    Hint(
        "not-sent-to-workers",
        r"(?:PicklingError|AttributeError|TypeError): (?:Can't|cannot|Can not|can't) (?:pickle|get local object)",
        "an object can't be sent to a worker process: code of the model or of a plugin that only the first process has loaded",
        "for a model with code of its own use a newer engine, which has its class; set env VLLM_ALLOW_INSECURE_SERIALIZATION: 1 only for"
        " code that you trust; one"
        " device (tensor_parallel_size: 1) needs no worker",
        "Python, pickle; vLLM",
        "_pickle.PicklingError: Can't pickle <class 'acme_modules.Acme'>: it's not the same object",
        sure=False,
    ),
    Hint(
        "locale-missing",
        r"unsupported locale setting|LookupError: unknown encoding|'ascii' codec can't (?:en|de)code",
        "the process has a locale that the system lacks, or one without UTF-8",
        "set env LANG: C.UTF-8, LC_ALL: C.UTF-8 and PYTHONUTF8: 1 in the row",
        "Python, locale",
        "UnicodeEncodeError: 'ascii' codec can't encode character '\\u2713' in position 0: ordinal not in range(128)",
    ),
    Hint(
        "not-text",
        r"UnicodeDecodeError: 'utf-?8' codec can't decode",
        "a file that is to be text is none: a binary, compressed or damaged one stands where an option or the model's folder names text"
        " (config, tokenizer, template)",
        "the traceback's last lines say which file: correct the option, or run deploy.yml --tags fetch",
        "Python",
        "UnicodeDecodeError: 'utf-8' codec can't decode byte 0x80 in position 0: invalid start byte",
        general=True,
    ),
    Hint(
        "toml-unreadable",
        r"TOMLDecodeError|toml: (?:line|expected|invalid)",
        "a TOML file can't be read: it has a slip of writing, or a key twice",
        "the message names line and column, the traceback the file: correct it (containerd: containerd config dump)",
        "Python, tomllib",
        "tomllib.TOMLDecodeError: Expected '=' after a key (at line 7, column 5)",
        sure=False,
    ),
    Hint(
        "package-without-metadata",
        r"PackageNotFoundError: (?:No package metadata was found for )?[\w.-]{1,60}$",
        "a package is not installed in this environment, or was copied without its metadata (a source tree on PYTHONPATH)",
        "pip show it with the engine's own Python: install it there, take PYTHONPATH out of the row's env, or use an image as it was built",
        "Python, importlib.metadata",
        "importlib.metadata.PackageNotFoundError: No package metadata was found for acme",
        general=True,
    ),
    Hint(
        "library-empty",
        r"\.so[\w.]{0,40}: file too short",
        "a library is an empty or cut file: on a Jetson the image's place holder, in whose place NVIDIA's runtime mounts the host's"
        " library; elsewhere a copy, download or disk broke off",
        "Jetson: nvidia-ctk runtime configure, and start the container by it (--runtime=nvidia; a newer compose file names it under"
        " deploy); elsewhere install that package or fetch the image again, df -h",
        "docker/compose#12203; glibc",
        "ImportError: /usr/lib/libacme_compiler.so: file too short",
    ),
    Hint(
        "array-not-generic",
        r"type 'array\.array' is not subscriptable",
        "a package is written for Python 3.12 or later, and this one is older; FlashInfer 0.6.16.post3 is such a one by mistake",
        "use Python 3.12, or another release of the package that the traceback names last (flashinfer-python 0.6.16.post4)",
        "verl-project/verl-omni#506",
        "TypeError: type 'array.array' is not subscriptable",
        sure=False,
    ),
)
