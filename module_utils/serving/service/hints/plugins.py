"""Failure hints: vLLM and what plugs into it (vllm-ascend, FlagOS's plugin, an own scheduler) don't fit each other."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

PAIR = "install the pair that the release notes name (vllm-ascend 0.x needs vLLM 0.x), or use an image as it was built"

HINTS = (
    Hint(
        "flagtree-without-mlir",
        r"No module named '?mlir\b",
        "FlagTree, which stands in Triton's place here, asks for the Python package mlir, which is not installed with it",
        "use a newer FlagTree or the image that it was made for, keep VLLM_PLUGINS: fl in the row's env, or put Triton itself back (pip install the"
        " triton of this torch)",
        "flagos-ai/FlagTree#733",
        "ModuleNotFoundError: No module named 'mlir'",
        sure=False,
    ),
    Hint(
        "aiter-module",
        r"\baiter/\S{1,200}\.so: undefined symbol|undefined symbol: _ZN\d{1,2}ck_tile|No module named 'aiter(?:\.\w{1,40})?'"
        r"|cannot import name '\w{1,80}' from 'aiter",
        "AITER, AMD's kernels, is missing, of another release than the engine calls, or was built at run time without what this GPU needs",
        "set env VLLM_ROCM_USE_AITER: 0, or use AMD's image as it was built; remove what AITER compiled (~/.aiter, aiter/jit) after an upgrade",
        "ROCm/aiter#1367, #2870",
        "ImportError: cannot import name 'acme_func' from 'aiter' (aiter/__init__.py)",
        sure=False,
    ),
    Hint(
        "aiter-not-for-gpu",
        r"Get GPU arch from rocminfo failed|Unknown GPU architecture: gfx|One of GPU archs of \["
        r"|\[AITER\][^\n]{0,160}(?:[Uu]nsupported|not supported|no suitable)",
        "AITER, AMD's kernels, does not serve this GPU (or not this operation on it)",
        "set env VLLM_ROCM_USE_AITER: 0 and leave out attention_backend and moe_backend that name it; where it fails while it is imported, use an image"
        " that is built for this GPU (rocminfo shows its gfx name), or a newer one",
        "vllm-project/vllm#30952; ROCm/aiter#4492, #4535, #1552",
        "RuntimeError: [AITER] acme_kernel is not supported here",
        sure=False,
    ),
    Hint(
        "vllm-hidden",
        r"cannot import name '\w{1,60}' from 'vllm' \(unknown location\)|module 'vllm' has no attribute '(?:__version__|LLM|SamplingParams"
        r"|platforms)'"
        r"|'vllm' is not a package",
        "Python finds a folder called vllm in place of the package (a clone of its sources in the working folder or PYTHONPATH), or the package"
        " is there in part",
        "start from another folder (a service does), drop it from PYTHONPATH, and check that vLLM is installed: pip show vllm; rename a script"
        " called vllm.py",
        "vllm-project/vllm-ascend#527, #5497",
        "ImportError: cannot import name 'LLM' from 'vllm' (unknown location)",
    ),
    Hint(
        "fl-no-implementation",
        r"(?:All implementations failed|No available implementation) for op='",
        "vllm-plugin-FL found no implementation of an operator that works here: FlagGems' and the vendor's failed, are not installed, or are left out"
        " by its lists",
        "the warnings above it say why each one failed; use FlagGems and the plugin of one release (the image as it was built), correct VLLM_FL_..."
        " of env, or leave the plugin out",
        "flagos-ai/vllm-plugin-FL#153",
        "RuntimeError: All implementations failed for op='fused_acme'. Last error: x",
    ),
    Hint(
        "operator-not-registered",
        r"'_OpNamespace' 'vllm' object has no attribute",
        "an operator that vLLM registers in Python is not there: the part that brings it is not loaded on this accelerator (FlashInfer on a CPU), or"
        " this release calls it at fault",
        "use another release, or the image of this accelerator; leave out the backend after which the operator is called (env"
        " VLLM_USE_FLASHINFER_SAMPLER: 0, attention_backend)",
        "vllm-project/vllm#32840",
        "AttributeError: '_OpNamespace' 'vllm' object has no attribute 'acme'",
        sure=False,
    ),
    Hint(
        "two-accelerators",
        r"Two accelerators cannot be used at the same time in PyTorch",
        "two packages register a backend for an accelerator as torch loads them: torch_npu and FlagCX, or a second one for another accelerator",
        "set env TORCH_DEVICE_BACKEND_AUTOLOAD: 0, or remove the package that is not needed; use an image as it was built",
        "flagos-ai/vllm-plugin-FL#77",
        "RuntimeError: Two accelerators cannot be used at the same time in PyTorch: npu and npu.",
    ),
    Hint(
        "plugin-not-loaded",
        r"Failed to load plugin",
        "a plugin of vLLM does not load, so the engine knows no accelerator",
        "the error behind it says why; " + PAIR,
        "vllm-project/vllm-ascend#3403",
        "ERROR 10-13 03:39:35 [__init__.py:46] Failed to load plugin ascend",
        general=True,
    ),
    Hint(
        "config-keyword",
        r"TypeError: (?:\w{1,60}\.)?(?:Speculative|Compilation|KVTransfer|KVEvents|Pooler|Attention|Kernel|Profiler|EPLB|Eplb|Structured\w{0,20}"
        r"|Reasoning|Offload|Load)\w{0,20}Config\.__init__\(\) got an unexpected keyword",
        "an option that is a table of its own has a key that this version of the engine does not know",
        "correct that table in engine_args; the message names the key",
        "vLLM, config",
        "TypeError: SpeculativeConfig.__init__() got an unexpected keyword argument 'x'",
    ),
    Hint(
        "plugin-signature",
        r"(?:TypeError: )?(?:\[[^\]\n]{1,80}\] )?(?:\w{1,60}\.){0,4}(?:_jit_script|(?:\w{0,60}(?:InputBatch|Scheduler|Worker|ModelRunner|Runner"
        r"|Builder"
        r"|Backend|Impl|Platform|Executor|Connector|Communicator|Metadata|Wrapper|FusedMoE|Sampler|Proposer|Method|Attention|Embedding|Linear"
        r"|ForCausalLM"
        r"|ForConditionalGeneration|Model|(?<!CompressedTensors)(?<!TorchAO)(?<!Quark)(?<!Marlin)(?<!GPTQ)(?<!AWQ)Config|Engine"
        r"|OpenAIServing\w{1,40}|Manager|Processor|Cache|Spec)\.\w{1,60}))\(\)"
        r" (?:got an unexpected keyword|got multiple values|missing \d{1,2} required|takes (?:from )?\d)",
        "a class is called as another version of it is: vLLM and a plugin or library don't belong together, or this release of vLLM is at fault"
        " itself",
        PAIR,
        "vllm-project/vllm-ascend#394, #1058, #9056",
        "TypeError: InputBatch.__init__() got an unexpected keyword argument 'block_size'",
        sure=False,
    ),
    Hint(
        "argument-with-dashes",
        r"got an unexpected keyword argument '[a-z]+(?:-[a-z]+)+'",
        "an option was handed to Python with dashes in its name, where it takes underscores",
        "write the option with underscores (tool_call_parser) where it is set, as engine_args has it",
        "xorbitsai/inference#4196",
        "TypeError: AsyncEngineArgs.__init__() got an unexpected keyword argument 'tool-call-parser'",
    ),
    Hint(
        "engine-args-version",
        r"(?:\w{1,60}\.){0,3}(?:Async)?EngineArgs\.__init__\(\) got an unexpected keyword argument '(?![a-z]+-)",
        "what starts vLLM passes an option that this vLLM does not have: it is older or newer than its caller expects",
        "upgrade the one that is behind (pip show vllm), or leave out the option that is named",
        "vllm-project/vllm#3249; xorbitsai/inference#2420",
        "TypeError: AsyncEngineArgs.__init__() got an unexpected keyword argument 'limit_mm_per_prompt'",
    ),
    Hint(
        "plugin-attribute",
        r"AttributeError: (?:type object )?'(?:NPU\w{1,40}|Ascend\w{1,60}|\w{0,40}Platform|(?:Vllm|Model|Parallel|Cache|Scheduler|Speculative"
        r"|Compilation|KV|Pooler)\w{0,20}"
        r"Config)' (?:object )?has no attribute|NotImplementedError: \w{0,20}Platform",
        "a class of vLLM or its plugin lacks what the other asks of it: their versions don't belong together, or this release does not know the"
        " model",
        PAIR,
        "vllm-project/vllm-ascend#5514, #5571; flagos-ai/vllm-plugin-FL#519",
        "AttributeError: 'NPUModelRunner' object has no attribute 'mm_budget'",
        sure=False,
    ),
    Hint(
        "plugin-version-said-wrong",
        r"'str' object has no attribute '__module__'|VLLM_VERSION[^\n]{0,60}(?:not (?:a )?valid|[Ii]nvalid)|Invalid vllm version",
        "vllm-ascend patches what this vLLM does not have: env VLLM_VERSION tells it of another one, or the two don't belong together",
        "leave VLLM_VERSION out of env, or set it to what pip show vllm says; then " + PAIR,
        "vllm-project/vllm-ascend#14289",
        "AttributeError: 'str' object has no attribute '__module__'. Did you mean: '__mod__'?",
        sure=False,
    ),
    Hint(
        "torch-npu-hidden",
        r"module 'torch_npu' has no attribute '(?:_autoload|npu|__version__)'",
        "what Python found as torch_npu is not the package: a folder of that name (its sources) is found first, or it is installed in part",
        "start from another folder and drop it from PYTHONPATH; python -c 'import torch_npu; print(torch_npu.__path__)' shows where it"
        " is; install it anew",
        "Ascend/pytorch#24; flashserve/flash-linear-attention-npu#2",
        "AttributeError: module 'torch_npu' has no attribute '_autoload'",
        sure=False,
    ),
    Hint(
        "torch-npu-older",
        r"module 'torch_npu(?:\.[\w.]{1,60})?' has no attribute(?! '(?:_autoload|npu|__version__)')|cannot import name '\w{1,60}' from 'torch_npu",
        "this torch-npu has not what calls it asks for: it is of another version than its caller, mostly an older one, or it was loaded only in"
        " part, as without CANN's libraries",
        "install the torch-npu and CANN that vllm-ascend's release names, or use its image as it was built",
        "vllm-project/vllm-ascend#379; Ascend/pytorch#37",
        "AttributeError: module 'torch_npu' has no attribute '_npu_rotary_embedding'",
    ),
    Hint(
        "npu-ops-of-a-package",
        r"'_OpNamespace' '(?:npu|_C_ascend|atb|mx_\w{1,20})' object has no attribute",
        "the package that registers this operator for NPUs is not installed, not imported, or older than what calls it",
        "install the kernels that the engine's release names (torch-npu, vllm-ascend's or sglang's own), use its image as it was built, or"
        " another release where the image says so itself",
        "sgl-project/sglang#12381",
        "AttributeError: '_OpNamespace' 'npu' object has no attribute 'transfer_kv_dim_exchange'",
    ),
    Hint(
        "error-of-a-worker-lost",
        r"TypeError: (?:\w{1,40}\.)?__init__\(\) missing \d required positional arguments?: '(?:cmd|inner_exception|returncode|request|response|msg"
        r"|message|errno|pos|doc)'",
        "a worker failed, and its error could not be handed to the process that waits for it: what is shown is not the reason",
        "look further up for what the worker itself said; enforce_eager: true or VLLM_WORKER_MULTIPROC_METHOD: spawn may show more",
        "vllm-project/vllm#16009; verl-project/verl#536",
        "TypeError: __init__() missing 1 required positional argument: 'inner_exception'",
        general=True,
    ),
    Hint(
        "signature-of-another-version",
        r"TypeError: (?:[\w.]{1,120}\.)?(?!__init__\(\) missing)\w{1,60}\(\) (?:got an unexpected keyword argument"
        r"|missing \d{1,2} required (?:positional|keyword)|takes (?:from )?\d{1,2})"
        r"|TypeError: Can't instantiate abstract class|AttributeError: type object '\w{1,80}' has no attribute",
        "one package uses another as a different version of it is used",
        "the traceback's last files name the two; install the versions that the engine's release was built with",
        "vllm-project/vllm#21822",
        "TypeError: plan_all() got an unexpected keyword argument 'kv_data_type'",
        general=True,
    ),
    Hint(
        "pickle-garbled",
        r"UnpicklingError: invalid load key, '\\x[0-9a-f]{2}'",
        "what was read is no pickle: a weights file of the older form that is damaged, or, with several devices, a message between ranks"
        " that arrived garbled",
        "weights_info (full: true) checks the files; if they are whole, look for what the other ranks said before, and try tensor_parallel_size: 1",
        "vllm-project/vllm-ascend#1565; torch.load",
        "_pickle.UnpicklingError: invalid load key, '\\x00'.",
        sure=False,
    ),
    Hint(
        "flagscale-config-part",
        r"primary config '[^']{1,60}' must be a DictConfig",
        "FlagScale was given a part of a configuration (the list below serve/) in place of the whole",
        "name the folder above as --config-path and its main file (serve) as --config-name",
        "flagos-ai/FlagScale#954; hydra",
        "hydra.errors.ConfigCompositionException: primary config 'acme' must be a DictConfig, got ListConfig",
    ),
    Hint(
        "flagscale-config",
        r"Key '([\w.]{1,60})' is not in struct|MissingMandatoryValue|Cannot find primary config|In '[^']{1,60}': Could not find '[^']{1,80}'|Unknown"
        r" action \w{1,20}",
        "FlagScale's configuration lacks a key or names a file that is not there",
        "correct the row's FlagScale settings; the message names the key",
        "FlagScale 0.8.0; hydra",
        "omegaconf.errors.ConfigAttributeError: Key 'deploy' is not in struct",
    ),
    Hint(
        "model-class-crashed",
        r"vllm\.model_executor\.models\.registry'?\]?'? died with <Signals(?!\.SIGILL)",
        "the process that looks at the model's class crashed: a compiled library of the environment does not fit",
        "use an image as it was built; in an environment of your own run python -c 'import vllm._C, torchvision, flash_attn' to see which one crashes",
        "vllm-project/vllm#22084",
        "subprocess.CalledProcessError: Command '['python', '-m', 'vllm.model_executor.models.registry']' died with <Signals.SIGSEGV: 11>.",
        sure=False,
    ),
    Hint(
        "wrapper-of-another-time",
        r"^AttributeError: (?:'(?:AsyncLLM|AsyncLLMEngine|LLMEngine|LLM|AsyncMPClient|EngineClient|(?:Async)?EngineArgs|SamplingParams|RequestOutput"
        r"|CompletionOutput|OpenAIServing\w{0,30})' object|type object '(?:AsyncLLM|AsyncLLMEngine|LLMEngine|(?:Async)?EngineArgs"
        r"|SamplingParams)') has no attribute",
        "what drives vLLM (a wrapper as FastChat, Triton, a plugin, a script of your own) asks for something that this release of vLLM no longer has"
        " or does not have yet",
        "use the release of vLLM that the wrapper names, or a newer wrapper; where it wants the engine of before 0.8 set VLLM_USE_V1: 0 in the row's"
        " env (up to vLLM 0.10)",
        "lm-sys/FastChat#3704",
        "AttributeError: 'AsyncLLM' object has no attribute 'engine'",
        sure=False,
    ),
    Hint(
        "flagscale-task-config",
        r"No '\w{1,40}' configuration found in task config|No model specified in config file|Either model (?:must"
        r"|should) be specified in \w{1,20}_model|serve_id in yaml config must be|nnodes, master_addr, master_port must be specified"
        r"|PD disaggregation requires a proxy port|key deploy is missing for deployment configuration|No (?:port"
        r"|pd_proxy_port) specified in deploy config|In the multi-node mode, please set the hostfile",
        "FlagScale's configuration lacks a part that this way of serving needs; the line names it",
        "run deploy.yml --tags render: it writes that file whole; one of your own needs experiment, serve and the model's part as in FlagScale's"
        " examples of this release",
        "FlagScale, runner_serve.py",
        "ValueError: No 'serve' configuration found in task config: {}",
    ),
    Hint(
        "flagscale-hosts",
        r"Hostfile is empty or not formatted|The hostfile \S{1,200} does not exist|(?:Node type|Number of slots) must be specified for node"
        r"|Each node must include an address|Node data must contain|All hosts must have the a machine type|there is insufficient resources"
        r"|^(?:ValueError: )?Insufficient resources$|current node can not connect to master node|Require number \d{1,6} of resource_type",
        "FlagScale's list of hosts does not fit: it is missing or empty, a line lacks address, slots or type, or the hosts have fewer devices than"
        " the model asks for",
        "one line a host, ADDRESS slots=N type=gpu; N not above the devices that nvidia-smi shows; the first host is to be reachable from the others",
        "FlagScale, runner_serve.py",
        "ValueError: Hostfile is empty or not formatted correctly. Please check the hostfile.",
        sure=False,
    ),
)
