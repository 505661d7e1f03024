"""Keys of the tables that people edit, each with its type, its default and a line for the manual."""

from __future__ import annotations

from . import names
from .engine_models import KINDS as KINDS_OF_MODELS
from .gateway import ROUTE
from .rows import Key

DEVICE_ACCESS = ("cdi", "nodes")
DTYPES = ("bfloat16", "float16", "float32")
KINDS = ("cpu", "gpu", "npu")
LINKS = ("nvlink", "hccs", "pcie", "none")

# Keys that a board gives as defaults and a service or an override may set.
SHARED: dict[str, Key] = {
    "engine": Key("str", None, "What turns the row into files and a command: a row of engines.yml."),
    "runtime": Key("str", None, "How it runs: `native` (a Python environment) or `container`."),
    "engine_version": Key(
        "str", None, "Version of the engine: one of its row in engines.yml, or any where the row says so."
    ),
    "image": Key("str", None, "Container image, by digest where pins are required."),
    "image_arch": Key("str", None, "Machine architecture that the image is built for."),
    "activate": Key("str", None, "Shell line that enters the image's own environment."),
    "device_access": Key(
        "str", None, "How a container gets its devices: `cdi` (named by the vendor's CDI file) or `nodes`."
    ),
    "device_nodes": Key(
        "list", [], "Device nodes for access `nodes`; {index} stands for each of the service's devices."
    ),
    "native_env": Key("path", None, "An existing Python environment with vLLM; null: we make one from the lock file."),
    "engine_args": Key(
        "args",
        {},
        "Options of the engine, under their own names; null removes one. auto, for all or for one, is chosen for the host.",
    ),
    "wishes": Key(
        "dict", {}, "What auto aims at: {context: tokens, concurrency: requests at once, goal: throughput or latency}."
    ),
    "env": Key(
        "dict",
        {},
        "Environment of the service's process; null removes one. YAML's true is 1 and false 0; quote other words.",
    ),
    "secret_env": Key(
        "secrets",
        {},
        "The same for secrets, from vault: in a 0600 file on the host, in no diff, argument, log or report.",
    ),
    "devices": Key(
        "list",
        None,
        "Devices to use, by index or by UUID (GPU-..., a MIG slice MIG-...; vdavinciN for a vNPU); null: the next free ones.",
    ),
    "cpus": Key(
        "str",
        None,
        "Cores of a CPU service, a list for each rank (`0-15|16-31`); null: with several services each gets its share.",
    ),
    "mounts": Key(
        "list", [], "Host paths that a container sees beside its weights, source:target[:ro|rw,z|Z,rshared|...]."
    ),
    "rights": Key(
        "list", [], "Rights beyond the least that works, each shown in the report: " + ", ".join(names.RIGHTS) + "."
    ),
    "shm_bytes": Key("int", None, "Size of the container's private /dev/shm, bytes."),
    "rdma": Key("bool", False, "Give the container /dev/infiniband and locked memory."),
    "overhead_bytes": Key("int", 0, "Memory beside weights and KV cache, bytes, for the check that it fits."),
    "ready_timeout": Key("seconds", 600, "Seconds from start to a first real answer before the deploy fails."),
    "drain_timeout": Key("int", 30, "Seconds that requests in flight get to finish when the service stops."),
    "restart_limit": Key("int", 3, "Failed starts in a row before the supervisor gives up."),
}
SERVICE: dict[str, Key] = {
    "model": Key("str", ..., "Name of a row in models.yml."),
    "boards": Key(
        "list", [], "Boards that the row is for, by name or pattern such as `*-sxm`; empty: any that it fits."
    ),
    "port": Key("port", ..., "TCP port of the endpoint."),
    "address": Key("str", "127.0.0.1", "Address that the endpoint listens on."),
    "replicas": Key(
        "int", 1, "Processes of it on a host, NAME-1, NAME-2, ..., with one served_name; ports count up from `port`."
    ),
    "hosts": Key(
        "hosts",
        None,
        "One copy of the model over several hosts: how many, or their names, the first of which has the API. Their `runs` name the service.",
    ),
    "across": Key(
        "str",
        None,
        "What crosses from host to host: `pipeline` (stages; tensor parallelism stays within a host), or `tensor` where links are fast; null: pipeline.",
    ),
    "hosts_port": Key(
        "port",
        None,
        "The first of three TCP ports for its hosts among themselves; null: chosen by its name, from 29500 on.",
    ),
    "served_name": Key("str", None, "Model name in the API; null: the service's own name."),
    "aliases": Key("list", [], "More names under which callers ask for the model."),
    "api_key": Key("bool", True, "Ask callers for a key, generated once on the host."),
    "paths": Key(
        "list",
        [],
        "Paths of the engine's API that callers may ask beyond the usual ones, such as /tokenize; `{}` is any one part.",
    ),
    "adapters": Key(
        "list", [], "Adapters (LoRA) of the model, by their rows in models.yml; callers ask for each under that name."
    ),
    "adapters_at_runtime": Key(
        "bool",
        False,
        "Load and give up adapters in the running engine, without a restart, where its row in engines.yml says how. `max_lora_rank` is set at the start.",
    ),
    "convert": Key(
        "convert", None, "`float16`: convert weights for an accelerator without bf16; false: the engine casts."
    ),
    "flaggems": Key("flaggems", False, "Run FlagGems operators: true, false, or {allow: [...]} or {deny: [...]}."),
    "check": Key("dict", None, "Question and expected text of the smoke test, and its `kind`; null: the model's own."),
    "asks": Key(
        "list",
        [],
        "What the check after a deploy asks beyond: `structured` (a JSON schema is obeyed), `tools` (with a tool_call_parser always).",
    ),
    "files": Key(
        "dict",
        {},
        "Files and folders of the controller that belong to the release, {name: path}: chat templates, parsers, adapters. The path is "
        "absolute or below the project's folder; engine_args and env name them by `name`, or `name/file` in a folder.",
    ),
    "reference": Key(
        "str",
        None,
        "Pack of reference answers to judge against: a folder below references_dir, or a path; null: not judged.",
    ),
    "judge_level": Key(
        "str",
        "canary",
        "How thoroughly a deploy judges: `none`, `canary` (a minute) or `full` (every item of the pack).",
    ),
    "judge_required": Key("bool", False, "Only EQUIVALENT passes a deploy; otherwise only DIFFERENT fails it."),
    "margins": Key(
        "dict", {}, "How far answers may be apart: {divergence: nats, score: points, tie: nats}; null: the pack's."
    ),
    "gateway": Key("dict", {}, "How the gateway balances this service: " + ", ".join(ROUTE) + " (docs/gateway.md)."),
    "document": Key("str", None, "Title of the document that the values come from."),
    "undocumented": Key("list", [], "Keys whose values no vendor document gives."),
    **SHARED,
}
MODEL: dict[str, Key] = {
    "sources": Key(
        "dict",
        ...,
        "Where it is published: {modelscope|huggingface: {repo, revision}, mirror: {url, revision}, directory: {path}}.",
    ),
    "bytes": Key("int", ..., "Size of the weights, bytes."),
    "include": Key(
        "list",
        [],
        "Patterns of files to fetch although they would be left out, like `original/*`; of GGUF files, which.",
    ),
    "exclude": Key("list", [], "Patterns of files to leave out, like `*.bin`; they win over `include`."),
    "license": Key("str", ..., "SPDX name of the weights' licence."),
    "dtype": Key("str", "bfloat16", "Type of the published weights."),
    "shape": Key("dict", {}, "Sizes from config.json, for checks before anything is downloaded."),
    "architecture": Key(
        "str", None, "Its class, as config.json says it; an engine's version that doesn't have it is refused."
    ),
    "kind": Key(
        "str", "chat", "What it is for: " + ", ".join(KINDS_OF_MODELS) + ". The check after a deploy asks accordingly."
    ),
    "quantization": Key(
        "str", None, "How it is quantised, as config.json says it: awq, gptq, fp8, compressed-tensors, ..."
    ),
    "tools": Key("str", None, "Format of its tool calls: the parser of vLLM that reads them."),
    "dimensions": Key("int", None, "Numbers of an embedding."),
    "normalized": Key("bool", False, "Do its embeddings have the norm 1?"),
    "labels": Key("int", None, "Labels of a classifier."),
    "code": Key(
        "dict",
        {},
        "Python files of its repository that the engine runs, with the digests that its hub states, {file: digest}.",
    ),
    "reasoning": Key("bool", False, "Does it think before it answers?"),
    "vision": Key("bool", False, "Does it take images?"),
    "check": Key("dict", None, "{prompt, expect}: a question and text that the answer must contain."),
    "base": Key(
        "str", None, "Name of the model that it adapts (LoRA): services of that model name this row in `adapters`."
    ),
    "rank": Key("int", None, "Rank of an adapter: `r` of its adapter_config.json."),
}

# What a board is. A vendor's row has the same keys without `vendor`.
BOARD: dict[str, Key] = {
    "vendor": Key(
        "str",
        ...,
        "Whose it is: a row of `catalogue_vendors`, which gives what the board's own leaves out, and a role.",
    ),
    "kind": Key("str", None, "cpu, gpu or npu; the vendor's row says it."),
    "role": Key("str", None, "A role with what is this board's alone, after its vendor's role; null: none."),
    "arch": Key("str", None, "Required machine architecture; null: any."),
    "count": Key("int", None, "Devices of a host that services may take; null where devices aren't counted (CPU)."),
    "memory_bytes": Key("int", None, "Memory of one device, bytes."),
    "dtypes": Key("list", list(DTYPES), "Types that it computes in."),
    "names": Key("list", [], "Regular expressions of which one must match each device's name; empty: any name."),
    "supported_os": Key("list", [], "Systems that its roles know, such as debian-12; empty: any."),
    "links": Key("str", None, "How its devices reach each other: " + ", ".join(LINKS) + "."),
    "graphs": Key("int", None, "Graphs of batch sizes that its memory has room for; null: all of the engine's."),
    "square_mask": Key("bool", False, "Does the attention mask take memory by the square of max_model_len?"),
    "compute_capability": Key(
        "str",
        None,
        "GPU: what its kernels may ask for, such as '9.0' (developer.nvidia.com/cuda-gpus); null: not known.",
    ),
    "flaggems_backend": Key("bool", False, "Has FlagGems operators for it?"),
    "memory_share": Key(
        "share",
        None,
        "CPU: share of the host's memory for its services, from which a KV cache gets its size where no row gives one.",
    ),
    "large_pages": Key("bool", False, "CPU: give programs pages of 2 MiB that ask for them."),
    "eager_env": Key("dict", {}, "Environment of an engine that runs eagerly (`enforce_eager`)."),
    "native_locks": Key("dict", {}, "Lock files of native environments, by engine: {vllm: {file, provides}}."),
    "engines": Key("dict", {}, "Defaults for a service that runs this engine here, by engine: the shared keys."),
    "sources": Key("list", [], "Where these figures come from."),
    **SHARED,
}
# As fields of the class `Shape` (weights/shape.py), which sizing reads.
SHAPE = (
    "layers", "hidden_size", "attention_heads", "kv_heads", "head_dim", "value_dim", "vocab_size", "max_position_embeddings", "window_layers", "window",
    "window_kv_heads", "window_head_dim", "state_layers", "state_bytes", "mixed_layers", "plain_layers", "latent_dim", "intermediate_size",
    "experts", "experts_used", "expert_intermediate_size",
)  # fmt: skip
CHECK = ("kind", "prompt", "expect")
SOURCES = tuple(names.SOURCES)
