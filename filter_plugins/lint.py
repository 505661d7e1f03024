"""Filter `lint`: contradictions and traps in resolved services, each with a severity and a remedy.

An `error` would not work or would be unsafe: deploy refuses it. A `warning` works and surprises. Every rule is a
function from one service's record to the texts of what it finds; `RULES` is the list that the manual shows.
"""

from __future__ import annotations

import posixpath
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

sys.path.append(str(Path(__file__).resolve().parent.parent))  # Ansible loads a filter by its path alone

from planning import quantisation
from planning.addresses import loopback, opened
from planning.environment import looks_secret
from planning.names import SOURCES

Record = Mapping[str, Any]
Finding = tuple[str, str]  # what is wrong, what to do


class Rule(NamedTuple):
    name: str
    severity: str
    text: str
    check: Callable[[Record, Record], Iterator[Finding]]


RULES: list[Rule] = []
GPU_FLAGS = ("gpu_memory_utilization", "swap_space", "cpu_offload_gb")
GPU_ENV = ("CUDA_", "NCCL_", "NVIDIA_")
TRUST = "trust_remote_code"


def rule(name: str, severity: str, text: str) -> Callable[[Callable[[Record, Record], Iterator[Finding]]], Any]:
    def add(check: Callable[[Record, Record], Iterator[Finding]]) -> Any:
        RULES.append(Rule(name, severity, text, check))
        return check

    return add


def parallel(service: Record, kind: str) -> int:
    return int(service["widths"][kind])


def mount_targets(service: Record) -> list[str]:
    """Folders that a container sees: the model's, the configuration's, and its mounts' targets."""
    return ["/models", "/config", *(mount.split(":")[1] for mount in service["mounts"] if mount.count(":") >= 1)]


@rule("path-without-mount", "error", "a path in a container's options lies under no mount")
def path_without_mount(service: Record, options: Record) -> Iterator[Finding]:
    if service["runtime"] != "container":
        return
    targets = mount_targets(service)
    for table in ("engine_args", "env"):
        for key, value in service[table].items():
            if isinstance(value, str) and re.fullmatch(r"/[\w.+-]+(/[\w.+@-]+)*/?", value):
                path = posixpath.normpath(value)
                if not any(path == t or path.startswith(t.rstrip("/") + "/") for t in targets):
                    yield (
                        f"{table}.{key} is {value}, which is under none of {', '.join(targets)}",
                        "add it to mounts, or correct the path",
                    )


@rule("gpu-flag-on-cpu", "error", "an option or variable for GPUs on a host without one")
def gpu_flag_on_cpu(service: Record, options: Record) -> Iterator[Finding]:
    if service["kind"] != "cpu":
        return
    for key in GPU_FLAGS:
        if key in service["engine_args"]:
            yield f"engine_args.{key} is for GPUs", "remove it; on a CPU the KV cache is kv_cache_memory_bytes"
    for key in service["env"]:
        if key.startswith(GPU_ENV):
            yield f"env.{key} is for GPUs", "remove it"
    if service["device_access"]:
        yield f"device_access is {service['device_access']}, but there is no device to give", "set it to null"


@rule("memory-not-set", "error", "a CPU service without a size for its KV cache")
def memory_not_set(service: Record, options: Record) -> Iterator[Finding]:
    measured = options.get("memory_share")  # service_devices sizes it from the host's memory
    if service["kind"] == "cpu" and not measured and not service["engine_args"].get("kv_cache_memory_bytes"):
        yield "the engine would take 92 % of the host's memory", "set engine_args.kv_cache_memory_bytes"


@rule("tag-without-digest", "pin", "an image by tag, which may be another one tomorrow")
def tag_without_digest(service: Record, options: Record) -> Iterator[Finding]:
    if service["runtime"] == "container" and "@sha256:" not in (service["image"] or ""):
        yield (
            f"image {service['image']} has no digest",
            "append @sha256:..., which `docker buildx imagetools inspect` shows",
        )


@rule("revision-not-pinned", "pin", "weights by a moving name")
def revision_not_pinned(service: Record, options: Record) -> Iterator[Finding]:
    sources = service["model"]["sources"]
    hubs = [name for name, keys in SOURCES.items() if "repo" in keys and name in sources]
    open_hubs = [name for name in hubs if not (sources[name] or {}).get("revision")]
    if open_hubs:
        yield (
            f"model {service['model']['name']} has no revision on {', '.join(open_hubs)}",
            "set it to the hub's commit; the first fetch records it",
        )


@rule("open-api", "error", "an API without a key beyond this host")
def open_api(service: Record, options: Record) -> Iterator[Finding]:
    if not loopback(service["address"]) and not service["api_key"]:
        yield f"it listens on {service['address']} and asks for no key", "set api_key: true, or address: 127.0.0.1"


@rule("port-without-key", "warning", "an option by which the engine listens beyond this host and asks for no key")
def port_without_key(service: Record, options: Record) -> Iterator[Finding]:
    if service["runtime"] == "native" or "host-network" in service["rights"]:  # a container's other ports stay inside
        for said, written in opened(service, service["engine_facts"]["options"]["opens"]):
            yield (
                f"{said}, where the engine asks for no key",
                "write 127.0.0.1, or let a firewall keep others away" if written else "let a firewall keep others away",
            )


def noted(service: Record, rule: str) -> Iterator[Finding]:
    """What the plan found out about a service and did not refuse."""
    for note in service.get("notes") or []:
        if note["rule"] == rule:
            yield note["text"], note["remedy"]


@rule(
    "unknown-option",
    "warning",
    "an engine option that no listed vLLM has, where the engine's version isn't known or listed",
)
def unknown_option(service: Record, options: Record) -> Iterator[Finding]:
    yield from noted(service, "unknown-option")


@rule(
    "unknown-version",
    "warning",
    "a version of the engine that isn't listed, so that its options are not checked as its own",
)
def unknown_version(service: Record, options: Record) -> Iterator[Finding]:
    yield from noted(service, "unknown-version")


@rule("env-boolean", "warning", "a variable that is a boolean for YAML, of a program that may read words")
def env_boolean(service: Record, options: Record) -> Iterator[Finding]:
    yield from noted(service, "env-boolean")


@rule("loader-variable", "warning", "a variable by which other libraries are loaded into every process of the service")
def loader_variable(service: Record, options: Record) -> Iterator[Finding]:
    for key in service["env"]:
        if key in ("LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT"):
            yield (
                f"env.{key} replaces what is set for the engine",
                "set it in activate, where $" + key + " can be kept, or remove it",
            )


@rule("secret-in-env", "warning", "a variable that looks like a secret, in a table whose values are shown")
def secret_in_env(service: Record, options: Record) -> Iterator[Finding]:
    for key, value in service["env"].items():
        if looks_secret(key, str(value)):
            yield (
                f"env.{key} looks like a secret; env is shown by --diff and lies in a readable file",
                "put it into secret_env",
            )


@rule("context-beyond-model", "error", "max_model_len is more than the model was made for")
def context_beyond_model(service: Record, options: Record) -> Iterator[Finding]:
    length, limit = (
        service["engine_args"].get("max_model_len"),
        service["model"]["shape"].get("max_position_embeddings"),
    )
    if length and limit and int(length) > int(limit):
        yield (
            f"max_model_len is {length}, {service['model']['name']} has {limit} positions",
            f"lower it to {limit} or less",
        )


@rule("max-model-len-unset", "warning", "without max_model_len the engine takes the model's longest context")
def max_model_len_unset(service: Record, options: Record) -> Iterator[Finding]:
    if not service["engine_args"].get("max_model_len"):
        square = ", the attention mask on its square" if options.get("square_mask") else ""
        yield "max_model_len is not set", f"set it: memory and start-up depend on it{square}"


@rule("heads-by-tensor-parallel", "error", "a size of the model can't be divided by the tensor parallel size")
def heads_by_tensor_parallel(service: Record, options: Record) -> Iterator[Finding]:
    shape, width = service["model"]["shape"], parallel(service, "tensor")
    heads, kv, vocab = (shape.get(k) for k in ("attention_heads", "kv_heads", "vocab_size"))
    if heads and heads % width:
        good = [n for n in (1, 2, 4, 8, 16) if heads % n == 0]
        yield f"{heads} attention heads over tensor_parallel_size {width}", f"use one of {', '.join(map(str, good))}"
    elif kv and kv % width and width % kv:
        yield f"{kv} key-value heads over tensor_parallel_size {width}", f"use a divisor or a multiple of {kv}"
    elif vocab and vocab % width:
        yield f"a vocabulary of {vocab} over tensor_parallel_size {width}", "use a divisor of it"
    layers, stages = shape.get("layers"), parallel(service, "pipeline")
    if layers and stages > layers:
        yield f"{layers} layers over pipeline_parallel_size {stages}", f"use at most {layers}"


@rule("weights-beyond-memory", "error", "the weights alone are more than the devices' memory")
def weights_beyond_memory(service: Record, options: Record) -> Iterator[Finding]:
    memory = options.get("memory_bytes")
    if not memory or service["kind"] == "cpu":
        return
    # Experts may be spread over data parallel ranks too, and an engine may quantise or offload: vLLM measures those itself.
    args, wide = service["engine_args"], parallel(service, "ranks")
    if args.get("enable_expert_parallel"):
        wide = parallel(service, "devices")
    if args.get("quantization") or args.get("cpu_offload_gb"):
        return
    share = service["model"]["bytes"] / wide
    room = memory * service["utilization"]
    if share > room:
        yield (
            f"{share / 2**30:.1f} GiB of weights a device, {room / 2**30:.1f} GiB to use",
            "raise tensor_parallel_size",
        )


@rule("quantisation-not-here", "error", "a quantised model on a board that has no kernels for it")
def quantisation_not_here(service: Record, options: Record) -> Iterator[Finding]:
    method = service["model"].get("quantization")
    if method and (found := quantisation.problem(method, {**options, "kind": service["kind"]})):
        yield found


@rule("quantisation-saves-memory-alone", "warning", "a quantised model whose numbers the board can't compute with")
def quantisation_slow(service: Record, options: Record) -> Iterator[Finding]:
    method = service["model"].get("quantization")
    if method and (words := quantisation.slow(method, {**options, "kind": service["kind"]})):
        yield words, "expect the speed of 16 bits"


@rule("visible-devices", "error", "ASCEND_RT_VISIBLE_DEVICES must list as many ids as the service has NPUs")
def visible_devices(service: Record, options: Record) -> Iterator[Finding]:
    if "asks-for-device-ids" not in service["engine_facts"]["traits"]:
        return
    value = service["env"].get("ASCEND_RT_VISIBLE_DEVICES")
    width = parallel(service, "devices")
    ids = ",".join(map(str, range(width)))
    if value is None:
        yield (
            "ASCEND_RT_VISIBLE_DEVICES is not set; the engine counts NPUs by their power, which some cards don't show, and finds none",
            f'set it to "{ids}"',
        )
    elif str(value) != ids:
        yield f"ASCEND_RT_VISIBLE_DEVICES is {value}, ids inside the container are {ids}", f'set it to "{ids}"'


@rule(
    "graphs-and-mask",
    "error",
    "an engine that captures NPU graphs, on a board with few graphs or a square mask, without what it needs there",
)
def graphs_and_mask(service: Record, options: Record) -> Iterator[Finding]:
    args, types, most = service["engine_args"], options.get("dtypes") or [], options.get("graphs")
    mask = options.get("square_mask")
    if "captures-npu-graphs" not in service["engine_facts"]["traits"] or not (mask or most):
        return
    if "bfloat16" not in types and args.get("dtype") not in types:
        yield (
            f"dtype is {args.get('dtype') or 'not set'}; {service['board']} computes in {', '.join(types)}",
            f"set engine_args.dtype: {types[0]}",
        )
    if mask and (args.get("max_model_len") or 0) < 1:
        yield (
            "max_model_len is not set, and the attention mask takes memory by its square",
            "set engine_args.max_model_len",
        )
    sizes = re.search(r"cudagraph_capture_sizes\W+\[([\d, ]*)\]", str(args.get("compilation_config") or ""))
    if most and not args.get("enforce_eager") and not (sizes and len(sizes[1].split(",")) <= most):
        yield (
            f"the graphs of all batch sizes would be captured, and {service['board']} has room for {most} beside a 32B model",
            f"set compilation_config with cudagraph_capture_sizes of at most {most}, or enforce_eager: true",
        )


@rule("flaggems-without-backend", "error", "FlagGems asked for where it has no back end")
def flaggems_without_backend(service: Record, options: Record) -> Iterator[Finding]:
    if service["flaggems"] and not options.get("flaggems_backend", True):
        yield f"FlagGems has no back end for {service['board']}", "set flaggems: false"
    if service["flaggems"] and not service["engine_facts"]["flaggems"]:
        yield f"nothing brings FlagGems' operators into engine {service['engine']}", "set flaggems: false"


@rule("eager-without-reason", "warning", "enforce_eager costs speed and is needed only beside FlagGems of old images")
def eager_without_reason(service: Record, options: Record) -> Iterator[Finding]:
    if service["kind"] == "gpu" and service["engine_args"].get("enforce_eager") and not service["flaggems"]:
        yield (
            "enforce_eager without FlagGems",
            "remove it: CUDA graphs were 1.7 to 4.5 times faster for one stream of a 7B model (docs/hardware.md)",
        )


@rule("parallel-over-pcie", "warning", "tensor parallelism over GPUs without NVLink")
def parallel_over_pcie(service: Record, options: Record) -> Iterator[Finding]:
    if service["kind"] == "gpu" and options.get("links") == "pcie" and parallel(service, "tensor") > 1:
        yield (
            f"{parallel(service, 'tensor')} devices of {service['board']} exchange every layer over PCIe",
            "use pipeline parallelism or fewer devices where the model fits; with NVLink bridges set links: nvlink in the board",
        )


@rule("trust-remote-code", "warning", "code from the weights' folder runs with the service's rights")
def trust_remote_code(service: Record, options: Record) -> Iterator[Finding]:
    if service["engine_args"].get(TRUST):
        yield "trust_remote_code is on", "remove it unless the model has no class of its own in the engine"


@rule("open-media", "warning", "callers can make the engine fetch any URL, also inside your network")
def open_media(service: Record, options: Record) -> Iterator[Finding]:
    if service["model"]["vision"] and not service["engine_args"].get("allowed_media_domains"):
        yield (
            "image URLs of callers are fetched from anywhere, http://127.0.0.1 and metadata services among it",
            "set engine_args.allowed_media_domains, which vLLM knows since 0.11; before, let only trusted callers in",
        )


@rule("rights-beyond-least", "warning", "rights that a service seldom needs")
def rights_beyond_least(service: Record, options: Record) -> Iterator[Finding]:
    for right in service["rights"]:
        yield f"it asks for {right}", "remove it unless the image does not work without"


@rule("wrong-architecture", "error", "an image for another machine")
def wrong_architecture(service: Record, options: Record) -> Iterator[Finding]:
    arch = options.get("arch")
    if service["runtime"] == "container" and arch and service["image_arch"] and service["image_arch"] != arch:
        yield f"its image is built for {service['image_arch']}, the host is {arch}", f"use an image for {arch}"


# Rules about an option that nobody gave, and the option.
UNSET = {"memory-not-set": "kv_cache_memory_bytes", "max-model-len-unset": "max_model_len"}


def lint(plan: list[Record], board: Record | None = None, require_pins: bool = False) -> list[dict[str, str]]:
    """Findings for a host's services: [{severity, rule, host, service, text, remedy}], errors first.

    Rules of severity `pin` are errors where pins are required, warnings otherwise.
    """
    options = board or {}
    found = []
    for service in plan:
        still_open = (service.get("choice") or {}).get("open") or []
        for one in RULES:
            if UNSET.get(one.name) in still_open:
                continue  # preflight chooses it
            severity = ("error" if require_pins else "warning") if one.severity == "pin" else one.severity
            for text, remedy in one.check(service, options):
                found.append(
                    {
                        "severity": severity,
                        "rule": one.name,
                        "host": service["host"],
                        "service": service["service"],
                        "text": text,
                        "remedy": remedy,
                    }
                )
    return sorted(found, key=lambda f: (f["severity"], f["host"], f["service"], f["rule"]))


def lint_lines(findings: list[Mapping[str, str]]) -> list[str]:
    """One sentence a finding."""
    return [f"{f['host']}: {f['service']}: {f['text']}; {f['remedy']}  [{f['rule']}]" for f in findings]


def lint_text(findings: list[Mapping[str, str]]) -> str:
    """One line a finding, as a person reads it."""
    return "\n".join(
        f"{f['severity']:7}  {f['host']}: {f['service']}: {f['text']}; {f['remedy']}  [{f['rule']}]" for f in findings
    )


class FilterModule:
    """The filters of this file, by name."""

    def filters(self) -> dict[str, Any]:
        return {"lint": lint, "lint_text": lint_text, "lint_lines": lint_lines}
