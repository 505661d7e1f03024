"""What argparse and pydantic say of an engine's settings, in the words of a row: which key of engine_args, what it got, what it takes.

Both write each refusal in one form, whatever the option and whichever the release: no row could list them all.
"""

from __future__ import annotations

import re

# argparse: `main.py serve: error: argument --dtype: invalid choice: 'float8' (choose from 'auto', 'half')`
UNKNOWN = re.compile(r": error: unrecognized arguments: (--[\w-]{1,60}[^\n]{0,400})")
ARGUMENT = re.compile(r": error: argument (--?[\w-]{1,60})[\w/-]{0,80}: ([^\n]{1,600})")
REQUIRED = re.compile(r": error: the following arguments are required: ([^\n]{1,120})")
CHOICE = re.compile(r"invalid choice: (\S{1,60}) \(choose from ([^\n]{1,400})")
OF_TYPE = re.compile(r"invalid (?P<type>\w{1,60}) value: (?P<value>[^\n]{1,80})")
CONVERTED = re.compile(
    r"Value (?P<value>[^\n]{1,80}) cannot be converted to <class '(?P<type>\w{1,60})'>"
)  # vLLM 0.9's own
NO_JSON = re.compile(
    r"Value ([^\n]{1,80}) cannot be converted to <function loads|invalid loads value: ([^\n]{1,80})|[Ii]nvalid JSON"
)
SWITCH = re.compile(r"ignored explicit argument (\S{1,60})")
WITHOUT = re.compile(r"expected (?:one|at least one|\d{1,2}) arguments?")
# The forms of numbers in which vLLM's own types read them.
TYPES = {
    "int": "a whole number",
    "float": "a number",
    "human_readable_int": "a whole number (or 32k, 1M)",
    "human_readable_int_or_auto": "a whole number (or 32k, 1M, auto)",
}

# pydantic: `1 validation error for CacheConfig`, the field, and `Input should be ... [type=..., input_value=1.5, input_type=float]`
VALIDATION = re.compile(r"\d{1,3} validation errors? for (\w{1,60})\s")
SENTENCE = re.compile(r"(?:Value error|Assertion failed), ([^\n]{8,300}?) ?\[type=")  # the engine's own
WHOLE = re.compile(
    r"validation errors? for \w{1,60}\s{1,8}(Input should [^\n\[]{3,200}?) ?\[type=\w{1,40}, input_value=([^\n]{0,100}?), input_type="
)
FIELD = re.compile(
    r"\s([a-z_]\w{0,60})(\.\S{1,80})?\s{1,8}([A-Z][^\n\[]{4,300}?) ?\[type=(\w{1,40}), input_value=([^\n]{0,100}?), input_type="
)
NESTED = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=^KV)(?=[A-Z])|(?<=^EC)(?=[A-Z])")  # SpeculativeConfig, KVTransferConfig
# Classes whose fields are no options themselves, but keys of one.
HOLDERS = re.compile(
    r"(?:attention|compilation|ec_transfer|eplb|kernel|kv_events|kv_transfer|pooler|profiler|reasoning|speculative|structured_outputs"
    r"|weight_transfer)_config"
)
OF_THE_CONFIG = frozenset(("sliding_window",))  # fields that come from the model's config.json and are no options
OF_THE_MODEL = re.compile(r"\w{0,60}(?<!Model)(?:Text|Vision|Audio)Config$")
DEFAULT_REMEDY = "correct it, or leave it out"
TOLD = 3  # settings of one refusal
# Keys of a row that the engine's command line calls otherwise.
OF_THE_ROW = {
    "host": "address",
    "port": "port",
    "model": "model",
    "model_tag": "model",
    "served_model_name": "served_name",
    "api_key": "api_key",
}
# Options of vLLM that newer releases dropped, and what took their place; "" where nothing did.
SUCCESSORS = {
    "task": "runner and convert",
    "guided_decoding_backend": "structured_outputs_config",
    "speculative_model": "speculative_config",
    "num_speculative_tokens": "speculative_config",
    "enable_reasoning": "reasoning_parser",
    "rope_scaling": "hf_overrides",
    "rope_theta": "hf_overrides",
    "disable_log_requests": "enable_log_requests",
    "override_pooler_config": "pooler_config",
    "cuda_graph_sizes": "cudagraph_capture_sizes",
    "max_seq_len_to_capture": "cudagraph_capture_sizes",
    "disable_mm_preprocessor_cache": "mm_processor_cache_gb",
    "swap_space": "",
    "num_scheduler_steps": "",
    "use_v2_block_manager": "",
    "enable_prompt_adapter": "",
}


def key_of(option: str) -> str:
    name = option.lstrip("-").replace("-", "_")
    return "`%s`" % OF_THE_ROW[name] if name in OF_THE_ROW else "engine_args.%s" % name


def of_parser(text: str) -> str | None:
    unknown = UNKNOWN.search(text)
    if unknown:
        options = re.findall(r"(?<![\w-])--([a-z][\w-]{1,60})", unknown[1])
        named = " and ".join(key_of(option) for option in dict.fromkeys(options[:3]))
        dropped = [name for name in (option.replace("-", "_") for option in options) if name in SUCCESSORS]
        if dropped and "launch_server" not in text:
            took = SUCCESSORS[dropped[0]]
            place = "set %s in its place" % took if took else "leave it out, nothing took its place"
            return (
                "this release of the engine has no option %s: newer releases dropped %s: %s; one from before it came lacks both: use a newer engine"
                % (
                    named,
                    dropped[0],
                    place,
                )
            )
        return (
            "this release of the engine has no option %s: correct its name, or leave it out (newer releases drop options, older ones lack them, some come with"
            " a package of their own: `vllm serve --help=all` lists them); if the model's page asks for it, use the release of the engine that the page names"
            % named
        )
    required = REQUIRED.search(text)
    if required:
        return "the engine was not given what it needs (%s): set it in engine_args" % required[1].strip()
    said = ARGUMENT.search(text)
    if not said:
        return None
    key, words = key_of(said[1]), said[2]
    inside = VALIDATION.search(words)
    if inside:
        sentence, whole = SENTENCE.search(words), WHOLE.search(words)
        if whole:  # not a field of it: the value itself
            return one_field(key, "", whole[2], whole[1]) + ": " + DEFAULT_REMEDY
        return (
            of_validation(words) or (sentence and "%s is refused (%s): %s" % (key, sentence[1], DEFAULT_REMEDY)) or None
        )
    choice, of_type, no_json, switch = (form.search(words) for form in (CHOICE, OF_TYPE, NO_JSON, SWITCH))
    of_type = of_type or CONVERTED.search(words)
    if choice:
        return (
            "%s is %s, which this release does not take: set one of those that the message lists, leave it out, or use a newer engine if the model's"
            " page asks for it" % (key, choice[1])
        )
    if no_json:  # asked first: its type is named too
        got = no_json[1] or no_json[2]
        return "%s is no JSON%s: write it as a mapping or list in the row" % (key, " (%s)" % got if got else "")
    if of_type:
        kind = TYPES.get(of_type["type"], "of the type %s" % of_type["type"])
        return "%s is %s, and must be %s: %s" % (key, of_type["value"].strip(), kind, DEFAULT_REMEDY)
    if switch:
        return "%s is a switch and got %s: set it to true or false" % (key, switch[1])
    if WITHOUT.search(words):
        return "%s stands there without a value: set one, or leave it out" % key
    return "%s is refused (%s): %s" % (key, words.strip(" ."), DEFAULT_REMEDY)


def one_field(key: str, kind: str, given: str, message: str) -> str:
    if kind == "unexpected_keyword_argument":
        return "%s is no key that this release knows" % key
    if kind == "missing":
        return "%s is missing" % key
    return "%s is %s (%s)" % (key, given, message.replace("Input should", "it should"))


def of_validation(text: str) -> str | None:
    found = VALIDATION.search(text)
    if not found or OF_THE_MODEL.match(found[1]):
        return None
    holder = NESTED.sub("_", found[1]).lower()
    inside = "%s." % holder if HOLDERS.fullmatch(holder) else ""
    told: dict[str, str] = {}
    for name, below, message, kind, given in FIELD.findall(text, found.end() - 1):
        if kind in ("value_error", "assertion_error"):
            return None  # a sentence of the engine's own
        # What stands below a field is a key of it where that is at fault, else the type that was tried.
        key = "engine_args.%s%s%s" % (inside, name, below if kind in ("unexpected_keyword_argument", "missing") else "")
        key = "`%s` of config.json" % name if name in OF_THE_CONFIG else key
        told.setdefault(key, one_field(key, kind, given, message.strip()))
    return "%s: %s" % (" and ".join(list(told.values())[:TOLD]), DEFAULT_REMEDY) if told else None


def settings_named(text: str) -> str | None:
    """Cause and remedy of a refusal by argparse or pydantic that names a setting; None for any other."""
    return of_parser(text) or of_validation(text)
