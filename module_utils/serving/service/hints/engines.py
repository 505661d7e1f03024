"""Failure hints: vLLM, FlagScale, FlagGems, Triton, transformers, Ray, and models that don't fit them."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

HINTS = (
    # Model and engine.
    Hint(
        "architecture-unsupported",
        r"Model architectures \[(?!'Eagle3?[A-Z]).{0,200}\] (?:are|is) not supported"
        r"|Model architectures (?!\['Eagle3?[A-Z]).{0,120}not supported for now|has no (?:vLLM"
        r"|S[Gg][Ll]ang) implementation|Cannot find model module\. '\w{1,80}' is not a registered model",
        "the engine does not serve the model's class: it is older than the model, has dropped it since, or could not import it",
        "use a release of the engine that names this class (mostly a newer one), or another model; for one that it should know look for"
        " an import error above"
        " (SGLang ignores them)",
        "vllm-project/vllm#22231",
        "ValueError: Model architectures ['Qwen3ForCausalLM'] are not supported for now. Supported architectures: ['X']",
    ),
    Hint(
        "architecture-dropped",
        r"was supported in vLLM until v?\d|Model architectures? [^\n]{0,120}(?:has|have) been (?:removed|dropped)",
        "the engine is newer than this class of model: it served it once and has dropped it",
        "use the older engine (image) that the message names, or another model",
        "vLLM, models/registry.py",
        "ValueError: Model architecture AcmeForCausalLM was supported in vLLM until v0.10.2, and is not supported anymore.",
    ),
    Hint(
        "transformers-too-old",
        r"Transformers does not recognize this architecture",
        "the engine's transformers does not know this kind of model (model_type of its config.json): it is older than the model, or the model brings"
        " code of its own",
        "use a newer engine (image); for a model with code of its own read that code and set engine_args.trust_remote_code: true",
        "huggingface/transformers, models/auto",
        "ValueError: The checkpoint you are trying to load has model type `qwen9` but Transformers does not recognize this architecture.",
    ),
    Hint(
        "config-of-another-form",
        r"'\w{1,60}Config' object has no attribute '(?:vision|text|audio|thinker|talker)_config'",
        "config.json names a class of the engine but lacks the part for pictures, sound or text that this class reads: the model is in its maker's own"
        " form, or transformers is of another version",
        "use the revision of the model that is made for transformers (often -hf), without hf_overrides; else the transformers that the engine names",
        "apple/ml-fastvlm#28",
        "AttributeError: 'AcmeConfig' object has no attribute 'vision_config'",
        sure=False,
    ),
    Hint(
        "transformers-too-new",
        r"'(?!(?:Vllm|Model|Parallel|Cache|Scheduler|Speculative|Compilation|Lo[Rr][Aa]|Device|Load|KV|Ascend|Structured|Decoding|MultiModal"
        r"|Pooler)\w{0,20}Config')"
        r"\w{1,60}(?:Config|Tokenizer|TokenizerFast|Processor)' object has no attribute|module '?transformers[\w.]{0,60}'? has no attribute|has no"
        r" attribute '?all_special_tokens_extended|\b[A-Z]\w{1,40}Tokenizer(?:Fast)? has no attribute \w|is already used by a Transformers (?:model|config)"
        r"|cannot import name '[^']{1,80}' from 'transformers|defined in the BACKENDS_MAPPING",
        "the environment's transformers is of another version than this vLLM (or the model's own code) needs",
        "install the transformers of this vLLM's time (for 0.6 4.47, for 0.8 4.51, before 0.17 transformers<5; pip alone takes the newest),"
        " or use an image as it"
        " was built; for a model that is newer than the engine a newer engine",
        "vllm-project/vllm, requirements",
        "AttributeError: Qwen2Tokenizer has no attribute all_special_tokens_extended",
        sure=False,
    ),
    Hint(
        "class-failed-inspection",
        r"Model architectures \[.{0,200}\] failed to be inspected|Error in inspecting model architecture '",
        "the engine could not import the model's class",
        "look for the ModuleNotFoundError or ImportError above it in the log",
        "vLLM 0.32.0",
        "Value error, Model architectures ['Qwen2_5_VLForConditionalGeneration'] failed to be inspected. Please check the logs.",
        general=True,
    ),
    Hint(
        "custom-code",
        r"contains custom code which must be executed|trust_remote_code=True`? to|consider setting [`']?trust_remote_code|[Pp]lease (?:pass"
        r"|set) (?:the )?(?:argument|option)?"
        r" ?`?-?-?trust[_-]remote[_-]code",
        "the model brings Python code of its own, which runs only where it is allowed",
        "use a model that the engine serves with its own class; else read that code and set engine_args.trust_remote_code: true",
        "huggingface/transformers, dynamic_module_utils.py",
        "ValueError: The repository for acme/x contains custom code which must be executed to correctly load the model.",
    ),
    Hint(
        "task-unsupported",
        r"(?:model|Model).{0,80}does not support .{0,30}(?:task|runner)\b|This model does not support the '?\w{1,20}'? (?:task|runner)",
        "this model can't do the task that the row asks for",
        "correct `task`, `runner` or `convert` in engine_args",
        "vLLM, config/model.py",
        "ValueError: This model does not support the 'generate' task. Supported tasks: {'embed'}",
    ),
    # The model's files.
    Hint(
        "model-folder-missing",
        r"HFValidationError(?![^\n]{0,300}: '[^/.~])|Repo id must (?:be|use)[^\n]{0,200}: '[/.~]|Incorrect path_or_model_id"
        r"|: /\S{1,200} is not a local folder and is not a valid model identifier",
        "the engine takes a path for a hub's name, as it does not find the folder, or in it the files that an option asks for (params.json of Mistral's)",
        "it is the model's, or one that an option names (tokenizer, speculative_config, generation_config, lora_modules): correct or leave"
        " out the option, or run"
        " deploy.yml --tags fetch,serve; in a container check the row's `mounts`",
        "huggingface_hub, utils/_validators.py",
        "huggingface_hub.errors.HFValidationError: Repo id must be in the form 'repo_name' or 'namespace/repo_name': '/models/x'.",
    ),
    Hint(
        "folder-without-config",
        r"Invalid repository ID or local directory specified: '?[/.~]|Could not detect config format for no config file",
        "there is no folder at the path that the message names, or it holds neither config.json nor params.json: one above or below the"
        " model's own, a hub's"
        " cache, or an adapter alone",
        "look into it on the host (in a container check the row's `mounts`): it is the model's, or one that an option names (tokenizer,"
        " speculative_config);"
        " for the model run deploy.yml --tags fetch,serve",
        "vLLM 0.25.1, transformers_utils/config.py",
        "ValueError: Invalid repository ID or local directory specified: '/models/acme'.",
    ),
    Hint(
        "model-without-config",
        r"Invalid repository ID or local directory specified",
        "the engine finds no description of a model under that name: the hub has no such repository or shows it to no one without a token, it could not"
        " be reached, or the repository has neither config.json nor params.json",
        "look at the model's page for those files; run deploy.yml --tags fetch,serve, so that the engine reads a folder",
        "vllm-project/vllm#22043",
        "ValueError: Invalid repository ID or local directory specified: 'acme/acme-7b'.",
        sure=False,
    ),
    Hint(
        "model-file-missing",
        r"Can't load the (?:configuration|model) (?:of|for) |does not appear to have (?:a file|files) named ([^\s]{1,100})"
        r"|Could not locate the (?!(?:configuration|modeling|tokenization|processing|image_processing)_)\S{1,80} inside"
        r"|Cannot find any model weights with|Weight files referenced in index but missing"
        r"|No such file or directory: '[^'\n]{1,300}\.safetensors'|[Nn]o (?:\.?safetensors(?: files or index)?|weight files?) found"
        r"|no file named [\w.]{1,60}",
        "a file of the model is missing in its folder (a link that leads out of the mount, as in a hub's cache, counts), a hub did not give it, or"
        " an option (load_format) asks for another kind of file",
        "run deploy.yml --tags fetch; check `include` and `exclude` of the model, and leave load_format out; for a hub's cache mount the whole"
        " models--... folder, or copy it by cp -aL",
        "huggingface/transformers, utils/hub.py; vLLM, model_loader",
        "OSError: /models/x does not appear to have a file named config.json.",
    ),
    Hint(
        "json-unreadable",
        r"Expecting (?:value|property name enclosed|',' delimiter|':' delimiter).{0,40}: line \d{1,9} column \d{1,9}|JSONDecodeError",
        "a JSON file of the model, an option that is JSON, or a server's answer is empty, cut or no JSON (a Git LFS pointer is none)",
        "check the model with weights_info (full: true) and run deploy.yml --tags fetch; check options of the row that hold JSON",
        "Python, json; vllm-project/vllm#26161",
        "json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)",
        sure=False,
    ),
    Hint(
        "tokenizer-of-transformers-5",
        r"Tokenizer class TokenizersBackend\w{0,20} does not exist",
        "the model's tokenizer was saved by transformers 5, and this environment's is older",
        "use a newer engine (image); or, and where a quantiser wrote a name that none has, set tokenizer_class in the model's tokenizer_config.json"
        " to the class of the model that it was made from",
        "huggingface/transformers, 5.0",
        "ValueError: Tokenizer class TokenizersBackend does not exist or is not currently imported.",
    ),
    Hint(
        "tokenizer-class",
        r"Tokenizer class (?!TokenizersBackend)(\S{1,60}) does not exist",
        "transformers has no tokenizer class of that name: it is the model's own code, or of a newer or older transformers",
        "set trust_remote_code: true where the model's folder brings the class (tokenization_*.py); else use the transformers that the"
        " model's page names,"
        " or a newer engine",
        "vllm-project/vllm#353",
        "ValueError: Tokenizer class AcmeTokenizer does not exist or is not currently imported.",
        sure=False,
    ),
    Hint(
        "tokenizer-conversion",
        r"Converting from (?:Tiktoken|SentencePiece|slow)[^\n]{0,40}failed|[Ff]ailed to convert from (?:SentencePiece|tiktoken|slow)",
        "the model's tokenizer could not be turned into a fast one: sentencepiece, tiktoken or protobuf is not installed, or its file (tokenizer.model,"
        " tokenizer.json) is missing or damaged",
        "pip install sentencepiece tiktoken protobuf into the environment (images of an engine have them); run deploy.yml --tags fetch, and compare the"
        " folder with the model's page",
        "huggingface/transformers#36291",
        "ValueError: Converting from Tiktoken failed, if a converter for SentencePiece is available, provide a model path",
        sure=False,
    ),
    Hint(
        "tokenizer-unreadable",
        r"Can't load tokenizer for|Failed to load the tokenizer"
        r"|could not parse ModelProto|Couldn't instantiate the backend tokenizer"
        r"|data"
        r" did not match any variant"
        r" of untagged enum",
        "the model's tokenizer can't be read: files are missing, or the engine's tokenizers is older than the model",
        "run deploy.yml --tags fetch; if the files are whole use a newer engine",
        "huggingface/transformers, tokenization_auto.py",
        "OSError: Can't load tokenizer for '/models/x'. If you were trying to load it from the hub, check the name.",
        sure=False,
    ),
    Hint(
        "binary-file-cut",
        r"struct\.error: unpack requires a buffer of 8 bytes",
        "a file ended before its first number was whole: a weights file of the model is empty or cut, or a file of a cache",
        "check the model with weights_info (full: true) and run deploy.yml --tags fetch; else remove the cache that the traceback names",
        "vLLM 0.32.0, an empty shard",
        "struct.error: unpack requires a buffer of 8 bytes",
        sure=False,
    ),
    Hint(
        "pickle-refused",
        r"UnpicklingError: Weights only load failed",
        "torch refuses a pickled weights file (.bin, .pt): it is damaged or none at all (a page of HTML, a Git LFS pointer), or it holds"
        " objects of Python"
        " code",
        "check the model with weights_info (full: true) and run deploy.yml --tags fetch; use the model in safetensors, which hold no code",
        "torch 2.11",
        "_pickle.UnpicklingError: Weights only load failed. In PyTorch 2.6, we changed the default value.",
    ),
    Hint(
        "weights-damaged",
        r"^MemoryError: [^\n]{0,80}f\.read\(length_of_metadata"
        r"|SafetensorError: Error while deserializing|HeaderTooLarge|MetadataIncompleteBuffer|SafeTensorError::\w|(?<!exceptions\.)InvalidHeader"
        r"|UnpicklingError: invalid load key, '[^\\]|PytorchStreamReader failed"
        r"|Unable to load weights from (?:pytorch|safetensors|\w{1,12}) checkpoint",
        "a weights file is damaged or no weights file at all (a Git LFS pointer)",
        "check it with weights_info (full: true) and run deploy.yml --tags fetch",
        "safetensors; torch.load",
        "safetensors_rust.SafetensorError: Error while deserializing header: MetadataIncompleteBuffer",
    ),
    Hint(
        "chat-unsupported",
        r"does not support (?:the )?(?:Chat )?Completions? API|does not support chat",
        "this model generates no text: a model for embeddings, ranking or classification, and a deploy asks each service for a chat answer",
        "serve a model that generates text, or look for an engine_args.runner (or task) that makes it one",
        "vLLM, entrypoints/openai",
        "POST /v1/chat/completions: HTTP 404: The model does not support Chat Completions API",
    ),
    Hint(
        "no-chat-template",
        r"default chat template is no longer allowed|[Nn]o (?:default )?chat template|chat_template is not set",
        "the model has no chat template: it is a base model (not -Instruct, -it), or its chat_template.jinja was not fetched, or is too new for this"
        " transformers",
        "look for chat_template.jinja on the model's page and in its folder (`include`; deploy.yml --tags fetch); serve the -Instruct copy; else"
        " give engine_args.chat_template, or ask it by /v1/completions",
        "huggingface/transformers 4.44",
        "ValueError: As of transformers v4.44, default chat template is no longer allowed, so you must provide a chat template.",
    ),
    # FlagGems, FlagScale, Triton.
    Hint(
        "flaggems-missing",
        r"No module named '?flag_gems(?![\w.])",
        "FlagGems is asked for and not in the image",
        "build one with playbooks/build_image.yml, or set flaggems: false",
        "FlagScale, patch of vLLM",
        "ModuleNotFoundError: No module named 'flag_gems'",
    ),
    Hint(
        "flaggems-triton",
        r"module 'triton(?:\.[\w.]{1,60})?' has no attribute|'(?:CompiledKernel|JITFunction|CompiledLauncher)'.{0,20} has no attribute"
        r"|dynamic_func\(\)"
        r" (?:missing|got)|Triton may change APIs|cannot import name '\w{1,60}' from 'triton|No module named '?triton\.(?:language|runtime"
        r"|compiler|backends)"
        r"|triton\.(?:language|runtime)[\w.]{0,60}libdevice[^\n]{0,60}has no attribute",
        "the environment's Triton (or FlagTree) is of another version than what calls it: flag_gems where that is on, else vLLM",
        "use the flag_gems that the image was built with, or set flaggems: false",
        "FlagOpen/FlagGems#1687, #729; FlagOpen/FlagScale#1265; flagos-ai/vllm-plugin-FL#276",
        "AttributeError: module 'triton.language.math' has no attribute 'acos'",
        sure=False,
    ),
    Hint(
        "flaggems-no-device",
        r"No device were detected on your|flag_gems[^\n]{0,80}(?:vendor|backend)[^\n]{0,40}(?:not|un)(?: |-)?(?:supported|found|valid)"
        r"|Unsupported vendor",
        "FlagGems knows no accelerator here",
        "set GEMS_VENDOR in the row's env to its name of the accelerator, or flaggems: false",
        "FlagOpen/FlagGems, runtime/backend",
        "RuntimeError: No device were detected on your machine ! Please check that your driver is complete.",
    ),
    Hint(
        "launch-oom",
        r"launch: the kernel killed \d{1,4} processes for lack of memory",
        "the kernel killed the engine (SIGKILL) for lack of memory: the container's limit is weights + KV cache + overhead_bytes",
        "raise overhead_bytes, or lower kv_cache_memory_bytes or max_num_seqs",
        "templates/container/launch.py",
        "launch: the kernel killed 2 processes for lack of memory: the container's limit is too small",
    ),
    Hint(
        "launch-no-package",
        r"launch: this image's environment has no Python package",
        "the image has no FlagScale where `activate` looks",
        "correct `activate`, or use an image of FlagOS",
        "templates/container/launch.py",
        "launch: this image's environment has no Python package flag_scale; set `activate` or another image",
    ),
    Hint(
        "no-conda-environment",
        r"Could not find conda environment: (\S{1,100})|EnvironmentNameNotFound|(?:activate|miniconda3/\S{0,60}|conda\.sh): No such file",
        "the image has no such environment",
        "correct the row's `activate`: docker run --rm -it IMAGE bash shows what the image has",
        "conda",
        "Could not find conda environment: flagscale-inference",
    ),
    Hint(
        "encoder-cache",
        r"exceeds the pre-allocated encoder cache size",
        "an image (or other item) of a request is larger than the encoder's cache",
        "raise engine_args.max_num_batched_tokens, or lower the largest size with mm_processor_kwargs",
        "vLLM, v1/engine",
        "ValueError: The decoder prompt contains an image item with length 7000, which exceeds the pre-allocated encoder cache size 6000.",
    ),
    Hint(
        "option-value-unknown",
        r"^ValueError: Unknown [^\n]{1,80}(?:Valid|Supported|Available) (?:options|values|backends|choices)",
        "an option has a value that this release does not know",
        "take one that the message names",
        "vLLM, config",
        "ValueError: Unknown acme backend: 'fast'. Valid options are: slow",
    ),
    Hint(
        "mistral-template",
        r"chat_template is not supported for Mistral",
        "a chat template was given to a model whose tokenizer is Mistral's own, which takes none",
        "leave out chat_template (of the row or of the request), or take another tokenizer_mode than mistral",
        "vLLM, tokenizers/mistral.py",
        "ValueError: chat_template is not supported for Mistral tokenizers.",
    ),
    Hint(
        "grammar-refused",
        r"(?:json_schema_converter|grammar_\w{1,40}|regex_converter|ebnf\w{0,30}|earley_parser)\.cc:\d|xgrammar[^\n]{0,120}(?:[Ff]ailed|[Ee]rror"
        r"|[Ii]nvalid)|Failed to (?:convert the grammar|advance FSM)",
        "a request's JSON schema, regular expression or grammar is one that xgrammar does not take, or not in this version; an older engine ends by"
        " it",
        "correct the client's schema (the words behind the place say what is wrong), choose another structured-outputs backend (guidance), or use a"
        " newer engine",
        "vllm-project/vllm#30346, #47312",
        "RuntimeError: [06:33:23] /srv/acme/cpp/json_schema_converter.cc:2181: items must be a boolean or an object",
        sure=False,
    ),
    Hint(
        "dp-coordinator-slow",
        r"DP Coordinator process failed to report",
        "the process that shares requests among data parallel engines did not start in its time: its imports are slow (network file system, cold"
        " disk), open files are limited, or it failed before",
        "look for its own error above; raise LimitNOFILE (ulimit -n), keep the environment on a local disk, and use a newer engine, which waits"
        " longer",
        "vllm-project/vllm#43611",
        "RuntimeError: DP Coordinator process failed to report ZMQ addresses during startup.",
        sure=False,
        late=True,
    ),
)
