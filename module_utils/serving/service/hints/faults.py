"""Failure hints asked last: errors by which a program says no more than that it met what it does not handle."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

ENGINE_FAULT = "the engine's own code met what it does not handle: this release with this model, option or accelerator, or packages that don't belong together"
OF_A_KIND = ("engine-fault", "division-by-zero", "key-missing")  # rows that know no more than the kind of an error
OF_ANY_PART = (
    "shapes-differ",
    "plugin-signature",
    "signature-of-another-version",
    "weights-vision-names",
    "weights-experts-names",
    "weights-dont-fit",
)  # rows whose words come of any part: a file of the traceback names it too
SAYS_WHERE = (
    "sglang-capture",
    "rust-panic",
)  # rows of LAST that know what was done and whose it is: they say more than a file of the traceback
LOOK = "look for this line in the engine's issues; try another release, an image as it was built, or leave out the option that the file's name tells"

HINTS = (
    Hint(
        "package-asked-for",
        r"^ImportError: [\w .-]{2,60} not (?:available|found)\b"
        r"|[Pp]lease (?:pip )?install (?:the )?[`'\"]?[\w\[\].-]{2,40}|(?:is|are) not installed\b|pip3? install [\w\[\].=<>'\"-]{2,60}",
        "the environment lacks a package that this model or option needs",
        "install the one that the message names into the environment, use an image that has it, or leave out the option",
        "Python packages' own words",
        "ImportError: Please install vllm[audio] for audio support",
        general=True,
    ),
    Hint(
        "torch-plugin-not-loaded",
        r"Failed to load the backend extension: (\w{1,40})",
        "torch could not load its plugin for the accelerator",
        "the error above it says why; python -c 'import torch_npu' shows it alone; TORCH_DEVICE_BACKEND_AUTOLOAD=0 only keeps it from being loaded",
        "PyTorch, torch.__init__",
        "RuntimeError: Failed to load the backend extension: acme. You can disable extension auto-loading with TORCH_DEVICE_BACKEND_AUTOLOAD=0.",
        general=True,
    ),
    Hint(
        "requirements-unmet",
        r"No solution found when resolving",
        "the packages that are asked for can't be had together here: they contradict each other, or one has no such version for this Python and index",
        "the lines below it name them: ask for versions of one release (torch is fixed by the engine), and look whether the index has them",
        "uv",
        "No solution found when resolving dependencies for split (python_full_version >= '3.13'):",
        general=True,
    ),
    Hint(
        "command-of-another-version",
        r"error: (?:unrecognized arguments|argument \S|the following arguments are required|invalid choice)|invalid choice: ",
        "a program does not know what it was asked for: it is older or newer than what calls it, or an option is misspelt",
        "the line begins with the program's name: install the version that the caller needs; if it is the engine correct engine_args",
        "Python, argparse",
        "acme-cli: error: invalid choice: 'download' (choose from 'env')",
        general=True,
    ),
    Hint(
        "hip",
        r"HIP error|hipError[A-Z]\w{1,60}",
        "a call of HIP failed",
        "rocm-smi must show the GPU; HIP_LAUNCH_BLOCKING=1 in the row's env names the call, because HIP may report it later",
        "ROCm, HIP runtime",
        "RuntimeError: HIP error: nobody has seen this one",
        general=True,
    ),
    Hint(
        "module-attribute",
        r"^AttributeError: (?:partially initialized )?module '([\w.]{1,80})' has no attribute",
        "the package that was found is of another version than its caller needs, or a folder of that name hides it",
        "pip show it, and look where Python finds it (python -c 'import X; print(X)'); install the version that the engine's release names, or"
        " use an image",
        "Python",
        "AttributeError: module 'acme' has no attribute 'x'",
        general=True,
    ),
    Hint(
        "path-none",
        r"expected str, bytes or os\.PathLike object, not NoneType|path should be string, bytes[^\n]{0,60}not NoneType",
        "the engine was to open a file of which it found no name: most often the model's folder lacks a file of the tokenizer (vocab.json,"
        " merges.txt, tokenizer.model)",
        "run deploy.yml --tags fetch, and compare the folder with the model's page; the last frame of the traceback names the file's kind",
        "huggingface/transformers, tokenizers",
        "TypeError: expected str, bytes or os.PathLike object, not NoneType",
        general=True,
    ),
    Hint(
        "key-missing",
        r"^KeyError: ['\"][A-Za-z_]",
        "the engine looked for a name that it does not have: one that the model's files or an option lack, or that this release does not know",
        "the message names it; check that the model's folder is whole and of one revision, then try a newer engine",
        "Python",
        "KeyError: 'nobody_has_seen_this_one'",
        general=True,
    ),
    Hint(
        "division-by-zero",
        r"integer (?:division or )?modulo by zero|ZeroDivisionError",
        "the engine divides by a number that is 0: it sees no accelerator, a size in config.json is 0, or fewer heads or experts than"
        " devices that share them",
        "nvidia-smi (npu-smi info) inside the container or environment must show the devices; then lower tensor_parallel_size, and compare"
        " config.json with the model's page",
        "kserve/kserve#3769",
        "ZeroDivisionError: integer division or modulo by zero",
        general=True,
    ),
    Hint(
        "engine-fault",
        r"^RuntimeError: This event loop is already running"
        r"|^(?:AttributeError(?!: (?:partially initialized )?module )|UnboundLocalError|NameError|IndexError|ZeroDivisionError|RecursionError)\b"
        r"|^TypeError: |^OverflowError: |^RuntimeError: (?:dictionary changed size|generator raised|There is no current event loop)"
        r"|^ValueError: (?:max|min)\(\) (?:arg|iterable)|could not broadcast input array|is not initialized\. Please call"
        r"|^ValueError: (?:not enough|too many) values to unpack|^KeyError: (?:<|\(|-?\d|None)"
        r"|Expected all tensors to be on the same device|INTERNAL ASSERT FAILED(?! at \"[^\"\n]{0,120}distributed)|Current vLLM config is not set",
        ENGINE_FAULT,
        LOOK,
        "Python, built-in exceptions",
        "UnboundLocalError: local variable 'x' referenced before assignment",
        general=True,
    ),
)

# Asked after an error's own words: they speak of who said it, or of the kind of error, only.
LAST = (
    Hint(
        "sglang-capture",
        r"Capture (?:cuda|CUDA|npu)? ?graph failed",
        "CUDA graphs could not be captured: the words behind it say why, most often too little memory",
        "lower mem_fraction_static or cuda_graph_max_bs in engine_args, or set disable_cuda_graph: true",
        "sgl-project/sglang, cuda_graph_runner.py",
        "Exception: Capture cuda graph failed: nobody has seen this one",
        general=True,
    ),
    Hint(
        "rust-panic",
        r"^thread '[^'\n]{0,80}' (?:\(\d{1,8}\) )?panicked at |PanicException",
        "a part that is written in Rust (tokenizers, safetensors, llguidance, a router) met what it does not handle, and broke off",
        "the path after `panicked at` names the part: upgrade it or take another backend; check the file or request that it was reading",
        "Rust, std::panic",
        "thread '<unnamed>' panicked at acme/src/nobody.rs:1:1:\nnobody has seen this one",
        general=True,
    ),
    Hint(
        "engine-refused",
        r"[Ee]rror response from daemon: |OCI runtime (?:create failed|error)|runc (?:create|run) failed|crun: ",
        "the container engine could not do what it was asked for, mostly to start a container",
        "the last part of the message is its reason; run `start` in the release's folder by hand to see all of it",
        "moby; runc; podman",
        "docker: Error response from daemon: acme.",
        general=True,
    ),
    Hint(
        "container-daemon",
        r"^(?:dockerd|containerd)\b|module=libcontainerd|containerd did not exit|transport is closing|/var/(?:run|lib)/(?:docker|containerd)/"
        r"|/run/containerd/",
        "the container engine's own service (dockerd, containerd) met an error: its state after a crash, a program of it that is damaged or gone, or"
        " the two of different versions",
        "systemctl restart containerd docker; journalctl -u docker -u containerd shows the first error; move aside what it names below /var/run, or"
        " install both anew",
        "moby; containerd",
        "FATA[0000] open /var/run/docker/acme.json: nobody has seen this one, which fails",
        general=True,
    ),
    Hint(
        "nvidia-driver-says",
        r"\bNVRM: |nvidia-modeset: ERROR|nvidia-uvm: ",
        "NVIDIA's driver reports an error",
        "see the lines around it in dmesg; nvidia-smi -q on the host; reboot, then a newer driver, then the card",
        "NVIDIA, driver",
        "NVRM: nobody has seen this one fail",
        general=True,
    ),
    Hint(
        "ansible-says",
        r"^(?:fatal: )?\[?[\w.-]{1,80}\]?:? ?(?:\| )?(?:FAILED|UNREACHABLE)! =>",
        "a task of Ansible failed on a host",
        "the end of `msg` is its reason; run it again with -vvv, and only for that host (-l)",
        "Ansible",
        'fatal: [h]: FAILED! => {"msg": "nobody has seen this one"}',
        general=True,
    ),
    Hint(
        "network-client",
        r"^(?:requests|urllib3|httpx|httpcore|aiohttp)\.(?:\w{1,30}\.){0,3}\w{1,40}(?:Error|Exception|Timeout|Refused)",
        "a request over the network failed",
        "the message names the address: check that this host reaches it (curl -v), its proxy, DNS and certificates; a release needs none at run time",
        "requests, urllib3, httpx",
        "requests.exceptions.RequestError: nobody has seen this one",
        general=True,
    ),
    Hint(
        "hydra",
        r"^(?:hydra|omegaconf)\.",
        "FlagScale's configuration can't be read or put together",
        "correct the row's FlagScale settings; the message names the file or key",
        "hydra, omegaconf",
        "hydra.errors.OddError: nobody has seen this one",
        general=True,
    ),
    Hint(
        "kernel-library",
        r"(?i)\bflash_?infer|deep_?gemm|\bdeep_?ep\b|\bflash_?attn|flash_?mla|\bcutlass|flash_?linear",
        "a library of kernels (the message names it) does not do what the engine asks of it on this accelerator, or is of another version",
        "use an image as it was built or a newer one; let another do its work: VLLM_USE_FLASHINFER_SAMPLER: 0, VLLM_USE_DEEP_GEMM: 0, attention_backend"
        " or all2all_backend of engine_args",
        "vLLM, environment variables",
        "RuntimeError: flashinfer: nobody has seen this one",
        general=True,
    ),
    Hint(
        "kv-connector",
        r"(?i)lmcache|mooncake|\bnixl\b|put operation[^\n]{0,40}rpc|RPC_FAIL\b",
        "what keeps or moves the KV cache outside of the engine (LMCache, Mooncake, NIXL) failed, or is of another version than the engine",
        "install the version that the engine's release names, or leave kv_transfer_config out of engine_args",
        "LMCache; Mooncake; NIXL",
        "RuntimeError: lmcache: nobody has seen this one",
        general=True,
    ),
    Hint(
        "not-implemented",
        r"^NotImplementedError\b",
        "this engine does not do what was asked of it with this model or accelerator",
        "the message names it: leave out that option or feature, or use a newer engine",
        "Python",
        "NotImplementedError: nobody has seen this one",
        general=True,
    ),
    Hint(
        "assertion",
        r"^AssertionError\b",
        ENGINE_FAULT,
        LOOK,
        "Python, built-in exceptions",
        "AssertionError: nobody has seen this one",
        general=True,
    ),
)
