"""Errors that need no row: their own sentence says what is refused and why ("X must be one of (8, 16), got 4", "please set --y").

Engines have thousands of these, and each release has others. What is added here is only where the thing that is named is set.
"""

from __future__ import annotations

import re

from ansible.module_utils.serving.service.statements import Statement

# Errors by which an engine refuses something. Those that Python raises at its own account (KeyError, AttributeError...) say nothing of a reason.
REFUSALS = re.compile(
    r"^(?:\w{1,60}\.){0,6}(?:ValueError|RuntimeError|NotImplementedError|AssertionError|ValidationError|EnvironmentError|Exception"
    r"|OSError(?!: (?:\[Errno|/|lib))|ImportError(?!: (?:cannot import name|No module named|DLL|lib|/))"
    r"|\w{0,40}(?:Config"
    r"\w{0,10}|Argument|Option|Validation|(?:Uns|S)upported|Invalid)\w{0,20}(?:Error|Exception)): ?(?=[^\n]{12,})"
    r"|^TypeError: Error: (?=[^\n]{12,})|^[\w./-]{1,80}(?: \w{1,20})?: error: (?=[^\n]{12,})|^Value error, "
)
# What pydantic writes before the engine's own sentence.
VALIDATOR = re.compile(
    r"^(?:\w{1,60}\.){0,6}ValidationError: 1 validation error for \w{1,60} (?:[a-z_][\w.]{0,60} )?(?:Value error|Assertion failed), "
)
# Words by which a sentence demands something or names what it does not take. A number alone, or that something failed, is no reason.
REASON = re.compile(
    r"\b(?:must|should|has to|have to|needs? to|cannot|can't|can not|may not|can only|only|requires?|required|is needed)\b"
    r"|\b(?:un|not (?:yet |currently )?)(?:supported|compatible|implemented|allowed|permitted|available|valid|divisible|recogni[sz]ed|specified|found"
    r"|provided|enough)\b"
    r"|\b(?:does not|doesn't|do not|don't) (?:yet |currently )?(?:support|exist|match|fit|have|allow|contain)\b|\b(?:incompatible"
    r"|mutually exclusive|invalid"
    r"|unknown|unrecogni[sz]ed|deprecated|out of range|not applicable|known to fail|exceeds?|insufficient|too (?:small|large|big|few|many|long|old|low|high))\b"
    r"|\b(?:larger|greater|longer|shorter|smaller|less|lower|higher|more|fewer) than\b|\b[Pp]lease (?!report|file|open|check the (?:log|stack))\w|\b(?:[Tt]ry"
    r"|[Cc]onsider)"
    r" \w{1,20}ing\b|\bnot support\b"
    r"|\b[Mm]ake sure\b|\bleaves? no\b|\bno common\b|\bunexpected (?:extra |config )*(?:keys?|options?|fields?)\b"
    r"|\b(?:supported|available|valid|allowed|possible|known|registered) (?:\w{1,30} ){0,2}(?:are|is)\b"
    r"|(?:expected|must be) one of"
    r"|(?:^|[.,;:(] ?|\b(?:or|and|to|by) )(?:use|set|pass|add|remove|disable|enable) [`'\"]?-?-?\w",
    re.I,
)
# Invariants of the code: they hold whatever the options are, and name tensors, not settings.
INSIDE = re.compile(
    r"INTERNAL ASSERT|invalid literal for|values to unpack|could not convert string|Expected (?:all tensors|self\b|tensor|input|object|a value of type)"
    r"|\btensors?\b[^\n]{0,40}\b(?:device|contiguous|shape"
    r"|dim\w{0,6}|rank)\b|\breduction dim|\bmat[12]\b|\bsizes? of tensor|\bnumel\b|\bstrides?\b|\bbroadcast\w{0,4}\b|\bfake tensor"
    r"|[Pp]ointer argument|\b(?:at|in) 0x[0-9a-f]{4}|assert \w|\bNoneType\b|unexpected keyword argument|positional argument|[Pp]lease call\b"
    r"|is not initialized|\bforward\b|__\w{1,30}__|by this point|because of the following error|\bshould not be called|\bshapes?\b|\bdims?\b|\bbuffers?\b"
)
# What an operator can set, install or replace. A sentence about none of it ("both operands must
# agree") gives no reason to a person.
SUBJECT = re.compile(
    r"\b(?:models?|activations?|block.sizes?|config\w{0,10}|quanti[sz]\w{1,6}|dtypes?|b?float\d{1,2}|bf16|\w{0,3}fp\d{1,2}|int\d|heads?|tp|gptq|awq|moe|bits|backends?|attention|devices?|cards?|drivers?|cuda|rocm"
    r"|cann|versions?|packages?|install\w{0,4}|librar(?:y|ies)|tokeni[sz]ers?|templates?|lora|adapters?|parallel\w{0,4}|memory|cache|length|tokens?"
    r"|batch\w{0,3}|images?|videos?|audio|licen[cs]e|platforms?|architectures?|formats?|files?|folders?|director(?:y|ies)|paths?|ports?|address\w{0,2}"
    r"|hosts?|nodes?|keys?|options?|arguments?|flags?|parsers?|executors?|ray|engines?|runners?|tasks?|pooling|prompts?|requests?|draft|speculative"
    r"|experts?|methods?|triton|gpus?|hopper|blackwell|ampere|turing|sm_?\d{2,3}|gfx\w{3,5}|soc|soc_version|capability|graphs?|prefill|pages?|weights?|checkpoints?|shards?|safetensors"
    r"|gguf|repo\w{0,8}|servers?|urls?|networks?|interfaces?|rdma|users?|[gnx]pus?|cpus?|ranks?|world.size|streams?|sliding.windows?|clusters?|resources|algorithms?|roles?|middleware"
    r"|max_\w{1,40}|\w{1,30}_size|\w{1,30}_config)\b"
    r"|_config\.[a-z]|(?<!\S)--[a-z]|\bLoRAs?\b|['`\"][\w./:-]{2,80}['`\"]|\s/[\w.-]{2,}",
    re.I,
)
# Where a message stops saying what is wrong and says how to look closer, or where to read on.
ADVICE = re.compile(
    r"\b(?:Set TORCH|For debugging|You can suppress|Compile with|For further information|For even more|(?:CUDA|HIP) kernel errors might|NOTE:|See https?:"
    r"|[Pp]lease rerun|Possible (?:solutions|causes?|fix(?:es)?):)"
)
OPTION = re.compile(r"(?<![\w-])--([a-z][a-z0-9]{0,30}(?:[-_][a-z0-9]{1,30}){0,6})")
VARIABLE = re.compile(
    r"\b((?:VLLM|SGLANG|SGL|NCCL|GLOO|HF|HCCL|ASCEND|CUDA|TORCH|PYTORCH|TRITON|RAY|OMP|FLASHINFER|ROCM|HIP|AITER|TIKTOKEN|MS|MINDFORMERS|TP|LD|XDG"
    r"|TRANSFORMERS|MASTER|GEMS)(?:_[A-Z0-9]{1,20}){1,6})\b(?<!_ERROR)(?<!_LOGS)(?<!_VERBOSE)(?<!_BLOCKING)(?<!_DEBUG)(?!\()"
)
# A name that a sentence demands something of ("x must be", "got x=3", "set x"); other names are of functions, tensors and methods.
# In quotes and refused ("'x_y' is not supported") it is a value.
NAME = r"[`'\"]?(?<![\w./-])([a-z][a-z0-9]{0,20}(?:_[a-z0-9]{1,20}){1,5}(?:\.[a-z][a-z0-9_]{1,60}){0,3})(?!['\"] (?:is|are) (?:not |un|in))[`'\"]?(?![\w./(\[])"
SETTING = re.compile(
    r"%s(?= ?(?:=|\(=?\d|(?:is|are|must|should|has|have|needs?|cannot|can't|can|to|and|or|of|value|option|argument|exceeds?)\b))"
    r"|\b(?:[Ss]et|[Uu]se|[Ii]ncrease|[Dd]ecrease|[Rr]aise|[Ll]ower|[Rr]educe|[Aa]djust|[Cc]hange|[Cc]orrect|[Dd]isable|[Ee]nable|[Ss]pecify"
    r"|[Pp]ass|option|argument|value of"
    r"|than|by) %s" % (NAME, NAME)
)
LISTED = re.compile(r"\b[a-z]\w{0,40}=")
HEADING = re.compile(r"^Capture \w{0,5} ?graph failed: ")  # SGLang's, before what another error said
WORDS = 3  # of a sentence that gives a reason: "invalid argument" gives none
NAMED = 3  # names that are told of a sentence
# Names that are options of an engine wherever they are said; any other may as well be a name of the code's inside.
OPTIONS = re.compile(
    r"additional_config|all2all_backend|api_key|api_server_count|attention_backend|attention_config|block_size|chat_template"
    r"|compilation_config|cp_kv_cache_interleave_size|cudagraph_capture_sizes|data_parallel_rank|data_parallel_size"
    r"|data_parallel_size_local|decode_context_parallel_size|disable_sliding_window|distributed_executor_backend"
    r"|enable_chunked_prefill|enable_eplb|enable_expert_parallel|enable_flashinfer_autotune|enable_lora|enable_prefix_caching"
    r"|enable_sleep_mode|enforce_eager|eplb_config|fully_sharded_loras|gdn_prefill_backend|generation_config|gpu_memory_utilization"
    r"|hf_overrides|kernel_config|kv_cache_dtype|kv_transfer_config|language_model_only|limit_mm_per_prompt|load_format"
    r"|long_prefill_token_threshold|mamba_block_size|mamba_cache_mode|max_cpu_loras|max_cudagraph_capture_size|max_lora_rank"
    r"|max_loras|max_model_len|max_num_batched_tokens|max_num_seqs|mm_encoder_attn_backend|mm_processor_cache_gb"
    r"|mm_processor_kwargs|model_loader_extra_config|moe_backend|num_redundant_experts|num_speculative_tokens|numa_bind"
    r"|numa_bind_nodes|otlp_traces_endpoint|pipeline_parallel_size|pooler_config|prefill_context_parallel_size|reasoning_config"
    r"|served_model_name|skip_tokenizer_init|speculative_config|structured_outputs_config|tensor_parallel_size|tokenizer_mode"
    r"|trust_remote_code|video_pruning_rate|worker_cls"
)

CAUSE = "the engine says itself, in that line, what it refuses or lacks"
# What a sentence speaks of, the first that it names, and what helps there.
KINDS = tuple(
    (re.compile("(?i)" + subject), remedy)
    for subject, remedy in (
        (
            r"capability|\bsm_?\d{2,3}\b|\bgfx\w{3,5}\b|hopper|blackwell|ampere|\bturing\b|\bgpus?\b[^\n]{0,40}\b(?:too old|or newer)"
            r"|only (?:supported )?(?:on|for) [^\n]{0,20}gpu",
            "this accelerator is not one of those that it names: leave out the option, quantisation or backend that asks for them, or use another accelerator",
        ),
        (
            r"\bonly supports? versions?\b|\bversions? [^\n]{0,60}\b(?:got|found) version",
            "use a release of the engine (mostly a newer one) that has the version which the sentence says it got, or one of those that it names",
        ),
        (
            r"\bcuda (?:toolkit|version|runtime)\b|\bcuda \d{2}\.\d",
            "use an image or a wheel that is built with that CUDA, on a driver that carries it, or leave out what asks for it",
        ),
        (
            r"\bplease (?:pip )?(?:install|upgrade|update)|\bnot found in \$?path\b|\bis not installed|\bpip install|(?:requires|needs) [\w-]{2,40} ?[<>=]=?",
            "install or upgrade in the environment what it names, or use an image of an engine that brings it",
        ),
        (
            r"quanti[sz]|\b(?:awq|gptq|fp8|mxfp4|nvfp4|int4|int8|bitsandbytes|gguf|compressed.tensors|modelopt)\b",
            "leave `quantization` and kv_cache_dtype out of engine_args, use the model in another quantisation, or a newer engine",
        ),
        (
            r"parallel|\bdivisible|\btp\b|\btp_size|world.?size|\branks?\b",
            "choose other widths (tensor_parallel_size and its like) in engine_args: the sentence says which fit",
        ),
        (
            r"speculat|\bdraft|\beagle|\bmtp\b|\blora|adapter|prefix cach|chunked prefill|pooling|sleep mode|cuda ?graph",
            "leave that feature out of engine_args, or use a model or a newer engine that has it",
        ),
        (
            r"\bmemory\b|kv.?cache|\bmax_model_len|\bmax_num_|context length|\btokens\b",
            "lower max_model_len, max_num_seqs or what it names, or give the service more memory",
        ),
        (
            r"backend|attention",
            "leave the backend out of engine_args and env, so that the engine chooses, or name one that it lists",
        ),
        (
            r"\bfiles?\b|\bfolders?\b|director|\bpath\b|config\.json|checkpoint|\bweights\b|tokenizer|template",
            "compare the model's folder with its page, and run deploy.yml --tags fetch",
        ),
    )
)
OTHERWISE = (
    "change the option, model or package that it speaks of; if it speaks of none, look for it in the engine's issues"
)


def names(sentence: str) -> list[str]:
    """The keys of a row of services.yml that a sentence names: `engine_args.x` for --x, `env.X` for a variable."""
    found = ["engine_args.%s" % name.replace("-", "_") for name in OPTION.findall(sentence)]
    found += [
        "env.%s" % name for name in VARIABLE.findall(sentence) if "_STATUS_" not in name and "_ERROR_" not in name
    ]
    return list(dict.fromkeys(found))[:NAMED]


def told(said: list[Statement]) -> tuple[str, Statement, bool] | None:
    """(cause and remedy, the error that gives its own reason, whether it surely does), the first of a chain that does.

    It surely does where it names what an operator sets; any other name, and a sentence without one, may as well be of the code's inside.
    """
    for one in said:
        text = VALIDATOR.sub("Value error, ", " ".join(line.strip() for line in one.text.split("\n")))
        begins = REFUSALS.match(text)
        if begins is None:
            continue
        sentence = HEADING.sub("", ADVICE.split(text[begins.end() :], maxsplit=1)[0].split(" [type=")[0])
        if len(sentence.split()) < WORDS or not REASON.search(sentence) or INSIDE.search(sentence):
            continue
        keys = names(sentence)
        # Where a sentence lists what it was given (`a=1 b=2 c=3`), the names are of that, not of what is to be set.
        found = [] if len(LISTED.findall(sentence)) > 2 else SETTING.findall(sentence)
        # A parser's error, or one whose class says that it is of settings, speaks of them without naming them.
        of_settings = re.search(
            r"(?:Config\w{0,10}|Argument|Option|Validation)\w{0,20}Error: ?$|: error: $|^Value error, ", begins.group()
        )
        if not (keys or found or of_settings or SUBJECT.search(sentence)):
            continue
        named = [asked for _, asked in found if asked] or [spoken for spoken, _ in found]
        settings = [name for name in dict.fromkeys(named) if "engine_args.%s" % name not in keys]
        if keys:
            remedy = "correct %s as it says" % " and ".join(keys)
        elif settings:
            remedy = (
                "correct %s as it says (in engine_args where it is an option, else in config.json or the request; else a newer engine)"
                % " and ".join("`%s`" % name for name in settings[:NAMED])
            )
        else:
            remedy = next((helps for subject, helps in KINDS if subject.search(sentence)), OTHERWISE)
        return (
            "%s: %s" % (CAUSE, remedy),
            one,
            bool(keys or of_settings or any(OPTIONS.fullmatch(name) for name in settings)),
        )
    return None
