"""Options of the engine: one spelling, names that its version knows, values in the engine's own forms.

vllm_options.json says which option `vllm serve` has in which version, and its kind (scripts/engine_options.py writes it):

flag    `--x` alone; off is the default, and can't be said
switch  `--x` or `--no-x`
bool    `--x` or `--x false` (before 0.8.5)
int     a number, with a suffix where the engine takes one: 32k is 32000, 32K is 32768
list    `--x a b c`
json    JSON
value   anything else
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from .rows import Collected, Row, fail, is_int, nearest

ROOT = Path(__file__).resolve().parent.parent
SUFFIXES = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
# What fit, lint and the devices' plan calculate with: always numbers, at least 1.
COUNTS = (
    "max_model_len",
    "max_num_seqs",
    "max_num_batched_tokens",
    "kv_cache_memory_bytes",
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "data_parallel_size",
)
SHARES = ("gpu_memory_utilization",)  # more than 0, at most 1
AUTO = "max_model_len"  # the one number that may be `auto`, since:
AUTO_SINCE = "0.14.0"
PAIRS = "limit_mm_per_prompt"  # image=1,video=1 before 0.8.5, JSON alone since 0.10
LISTS_SINCE = "0.10.0"  # before, the engine's file of options takes one word of a list

CONTROL = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]"
)  # YAML has no place for them

LARGEST = 2**63 - 1  # what the engine and our own sums can hold

# Short forms that `vllm serve` takes on a command line alone.
SHORT = {
    "tp": "tensor_parallel_size",
    "pp": "pipeline_parallel_size",
    "dp": "data_parallel_size",
    "dpl": "data_parallel_size_local",
    "dpn": "data_parallel_rank",
    "pcp": "prefill_context_parallel_size",
    "dcp": "decode_context_parallel_size",
    "q": "quantization",
}

# Options that belong to keys of the row or to us: what to do instead.
TLS = "TLS belongs to a proxy in front; the service itself speaks HTTP"
OURS = "vllm-ansible sets it"
RESERVED = {
    "model": "use the row's key 'model'",
    "model_tag": "use the row's key 'model'",
    "served_model_name": "use the row's key 'served_name'",
    "host": "use the row's key 'address'",
    "port": "use the row's key 'port'",
    "api_key": "use the row's key 'api_key'",
    "uds": "the service listens on the row's 'address' and 'port'",
    "grpc": "the service listens on the row's 'address' and 'port' alone",
    "grpc_port": "the service listens on the row's 'address' and 'port' alone",
    "config": "write its options into engine_args",
    "middleware": f"{OURS}: it asks callers for the key; open paths with `paths`",
    "device_ids": "use the row's key 'devices'",
    "root_path": "a proxy in front can strip the prefix",
    "headless": "a service of ours has its API",
    "shutdown_timeout": "use the row's key 'drain_timeout'",
    "disable_fastapi_docs": OURS,
    "enable_offline_docs": f"{OURS}: pages about the API are off",
    "enable_ssl_refresh": TLS,
    "hf_token": "nothing is fetched while serving; huggingface_token is for the fetch",
    "download_dir": "weights lie in models_root",
}
RESERVED_PREFIXES = {"ssl_": TLS, "data_parallel_supervisor_port": "use the row's key 'port'"}


def version_key(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


@lru_cache(maxsize=1)
def catalogue() -> tuple[list[str], dict[str, list[list[Any]]]]:
    """(versions that were read, {option: [[kind, first version, last version or None]]})."""
    data = json.loads((Path(__file__).parent / "vllm_options.json").read_text())
    return data["versions"], data["options"]


@lru_cache(maxsize=16)
def known_options(version: str | None) -> dict[str, set[str]]:
    """{option: kinds} of a version. Between two versions that were read: what either has. None: what any has."""
    versions, options = catalogue()
    order = sorted(versions, key=version_key)
    if version is None:
        near = order
    else:
        at = version_key(version)
        same = [v for v in order if version_key(v) == at] or [v for v in order if version_key(v)[:2] == at[:2]]
        low, high = [v for v in order if version_key(v) <= at], [v for v in order if version_key(v) >= at]
        near = same or [*low[-1:], *high[:1]]
    found: dict[str, set[str]] = {}
    for name, rows in options.items():
        for kind, first, last in rows:
            if any(
                version_key(first) <= version_key(v) and (last is None or version_key(v) <= version_key(last))
                for v in near
            ):
                found.setdefault(name, set()).add(kind)
    return found


def is_read(version: str) -> bool:
    """Is the version within those whose options were read?"""
    order = sorted(map(version_key, catalogue()[0]))
    return order[0] <= version_key(version) and version_key(version)[:2] <= order[-1][:2]


@lru_cache(maxsize=8)
def locked_version(file: str) -> str | None:
    """The vLLM of one of our lock files."""
    path = ROOT / "roles/python_runtime/files" / file
    found = re.search(r"(?m)^vllm(?:-cpu)?==(\d+\.\d+\.\d+)", path.read_text()) if path.is_file() else None
    return found.group(1) if found else None


def engine_version(service: Mapping[str, Any], variants: Mapping[str, Any], locks: Mapping[str, Any]) -> str | None:
    """The vLLM that a service runs, or that its engine is built on. None where nobody says."""
    if service["runtime"] == "container":
        tag = re.search(r"/vllm-openai[^:/@]*:v?(\d+\.\d+\.\d+)", service["image"] or "")
        if tag:
            return tag.group(1)
    elif service["native_env"]:
        return None
    elif lock := (locks.get(service["engine"]) or {}).get("file"):
        return locked_version(str(lock))
    row = variants.get(service["engine_version"] or "") or {}
    return str(row["vllm"]) if row.get("vllm") else None


def spelled(name: Any) -> str:
    """One spelling of an option's name: `--max-model-len`, `maxModelLen` are max_model_len, `tp` is tensor_parallel_size."""
    text = str(name).strip().lstrip("-")
    head, dot, rest = text.partition(".")
    head = re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", head).lower()
    head = head.replace("-", "_")
    return SHORT.get(head, head) + dot + rest


def spell(where: str, args: Mapping[Any, Any]) -> Row:
    """engine_args of one level of the tables with one spelling, `no_x: true` as `x: false`. Raises Faults."""
    found, given = Collected(), dict[str, Any]()
    out: Row = {}
    for name, value in args.items():
        key = spelled(name)
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z][\w]*(\.[\w.+-]+)?", key):
            found.run(fail, f"{where}: engine_args.{name} is no name of an option")
            continue
        if key.startswith("no_") and key not in catalogue()[1]:
            if value is not None and not isinstance(value, bool):
                found.run(fail, f"{where}: engine_args.{name} is {value!r}, but must be true or false")
            key, value = key.removeprefix("no_"), None if value is None else not value
        if key in given:
            found.run(
                fail, f"{where}: engine_args has '{given[key]}' and '{name}', which are one option; keep one of them"
            )
        given[key] = name
        out[key] = value
    found.end()
    return out


def number(where: str, name: str, value: Any) -> int:
    """A whole number as the engine reads it: 32768, 32k (32000), 32K (32768), 1.5k. `auto` is -1."""
    digits = len(re.sub(r"\D", "", value)) if isinstance(value, str) else 0
    found = read_number(where, name, value) if digits < 25 else LARGEST + 1  # Python itself refuses 4300 digits
    if abs(found) > LARGEST:
        fail(
            f"{where}: engine_args.{name} is {plain(value)[:40]}, which is more than any engine can count; write a smaller number"
        )
    return found


def read_number(where: str, name: str, value: Any) -> int:
    if is_int(value):
        return int(value)
    text = value.strip() if isinstance(value, str) else ""
    if name == AUTO and text.lower() in ("auto", "-1"):
        return -1
    if match := re.fullmatch(r"(\d+(?:\.\d+)?)([kKmMgGtT])", text):
        amount, suffix = match.groups()
        if "." not in amount:
            return int(amount) * SUFFIXES[suffix]
        if suffix.islower():
            return round(float(amount) * SUFFIXES[suffix])
        fail(
            f"{where}: engine_args.{name} is {value!r}, and the engine takes no fractions of {suffix} "
            f"(a power of two); write a whole number, or {amount}{suffix.lower()}"
        )
    if re.fullmatch(r"[+-]?\d[\d_]*", text):
        return int(text)
    fail(
        f"{where}: engine_args.{name} is {value!r}, but must be a whole number, such as 32768, 32k (32000) or 32K (32768)"
    )
    raise AssertionError


def share(where: str, name: str, value: Any) -> float:
    """A part of something: more than 0, at most 1."""
    try:
        found = float("nan") if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        found = float("nan")
    if not 0 < found <= 1:
        fail(f"{where}: engine_args.{name} is {value!r}, but must be a number above 0 and up to 1, such as 0.9")
    return found


def words(value: Any) -> list[str]:
    """Items of a list option as the engine reads them from a command line."""
    items = value if isinstance(value, list | tuple) else [value]
    return [as_json(item) if isinstance(item, Mapping | list) else plain(item) for item in items]


def plain(value: Any) -> str:
    """A scalar in an option's text: booleans as JSON has them, not as Python does."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": "))


def check_reserved(where: str, name: str, known: Mapping[str, Any]) -> None:
    """Refuse an option that a key of the row stands for. An unknown name may be its abbreviation, which argparse takes."""
    head = name.partition(".")[0]
    for reserved, remedy in RESERVED.items():
        if head == reserved or (head not in known and len(head) > 1 and reserved.startswith(head)):
            fail(f"{where}: engine_args.{name} can't be set there; {remedy}")
    for prefix, remedy in RESERVED_PREFIXES.items():
        if head.startswith(prefix):
            fail(f"{where}: engine_args.{name} can't be set there; {remedy}")


def check_name(where: str, name: str, version: str | None) -> str | None:
    """Refuse an option that the version doesn't know. Returns words of warning where the version isn't known well enough."""
    head = name.partition(".")[0]
    known = known_options(version)
    if head in known:
        return None
    rows = catalogue()[1].get(head)
    if rows:
        first, last = rows[0][1], rows[-1][2]
        older = version is not None and version_key(version) < version_key(first)
        hint = f"vLLM has it since {first}" if older else f"vLLM had it until {last}"
    else:
        hint = nearest(head, known)
        near = re.fullmatch(r"did you mean '(\w+)'\?", hint)
        if near and near[1] in RESERVED:
            hint = f"if it is to be {near[1]}, {RESERVED[near[1]]}"
    if version is not None and is_read(version):
        fail(f"{where}: engine_args.{name} is no option of vLLM {version}; {hint}")
    about = f"vLLM {version}, whose options aren't listed here," if version else "the vLLM of this image or environment"
    return f"engine_args.{name} may be no option of {about} and no vLLM that is listed has it; {hint}"


def is_plain(value: Any) -> bool:
    """Can files of options hold it? Not what YAML makes of a date, nor what is no number, nor control characters."""
    if isinstance(value, str):
        return not CONTROL.search(value)
    if isinstance(value, Mapping):
        return all(isinstance(key, str | int) and is_plain(key) and is_plain(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return all(map(is_plain, value))
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, int)


def check_value(where: str, name: str, value: Any, kinds: set[str], version: str | None) -> Any:
    """A value in the form that the record has: numbers are numbers, true and false are booleans, JSON stays a structure."""
    if not is_plain(value):
        fail(
            f"{where}: engine_args.{name} is {value!r}, a {type(value).__name__} that no file of options holds; quote it, and leave out control characters"
        )
    if "." in name:
        return value
    if name in COUNTS or kinds == {"int"}:
        found = number(where, name, value)
        if name in COUNTS and found < 1 and not (name == AUTO and found == -1):
            fail(f"{where}: engine_args.{name} is {value!r}, but must be 1 or more")
        if name == AUTO and found == -1 and version and version_key(version) < version_key(AUTO_SINCE):
            fail(f"{where}: engine_args.{name} is {value!r}, which vLLM knows since {AUTO_SINCE}; write a number")
        return found
    if name in SHARES:
        return share(where, name, value)
    if kinds and kinds <= {"flag", "switch", "bool"}:
        text = value.strip().lower() if isinstance(value, str) else value
        if text in ("true", "false"):
            return text == "true"
        if not isinstance(value, bool):
            fail(f"{where}: engine_args.{name} is {value!r}, but must be true or false")
    if kinds & {"json"} and isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            json.loads(value)
        except ValueError as error:
            fail(f"{where}: engine_args.{name} is no JSON: {error}; write it as YAML, or correct it")
    if kinds == {"value"} and isinstance(value, bool):
        fail(
            f"{where}: engine_args.{name} is {str(value).lower()} for YAML, and the engine wants a word or a number; quote it"
        )
    new = version is not None and version_key(version) >= version_key(LISTS_SINCE)
    if name == PAIRS and new and isinstance(value, str) and "=" in value and "{" not in value:
        fail(
            f"{where}: engine_args.{name} is {value!r}, which vLLM reads no more; write a mapping, such as {{image: 1}}"
        )
    if kinds == {"list"} and isinstance(value, Mapping):
        return [value]
    return value


def check_options(
    where: str, args: Mapping[str, Any], version: str | None, engine: str = "vllm"
) -> tuple[Row, list[str]]:
    """(engine_args of a record, warnings). Raises Faults with all that is wrong."""
    found, out = Collected(), dict[str, Any]()
    warnings: list[str] = []
    known = known_options(version)
    for name, value in args.items():
        head = name.partition(".")[0]
        before = len(found.faults)
        found.run(check_reserved, where, name, known)
        if len(found.faults) > before:
            continue
        warning = found.run(check_name, where, name, version)
        warnings += [warning] if warning else []
        kinds = known.get(head) or known_options(None).get(head, set())
        out[name] = found.run(check_value, where, name, value, kinds, version)
        several = isinstance(value, list) and len(value) > 1 and kinds == {"list"}
        old = version is not None and version_key(version) < version_key(LISTS_SINCE) and engine != "mindspore"
        if several and (old or engine == "flagscale"):
            by = "FlagScale" if engine == "flagscale" else f"the configuration file of vLLM {version}"
            found.run(
                fail, f"{where}: engine_args.{name} is a list of {len(value)}, and {by} takes one word; write one"
            )
    found.end()
    return out, warnings


def rendered(service: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """(name, value) of a record's engine options in the order of their names: True, a number, text or a list of text, as every version reads them.

    A structure is JSON text: before 0.16 the engine's file of options would make it Python's text.
    """
    return sorted(forms(service), key=lambda row: row[0])


def forms(service: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    known, ever = known_options(service.get("vllm_version")), known_options(None)
    for name, value in service["engine_args"].items():
        kinds = known.get(name) or ever.get(name, set())
        if value is None:
            continue
        if value is False and kinds == {"bool"}:
            yield name, "false"
        elif value is False:
            if "flag" not in kinds:  # off is what a flag is anyway
                yield f"no_{name}", True
        elif isinstance(value, list | tuple) and (kinds == {"list"} or not kinds):
            yield name, words(value)
        elif name == PAIRS and kinds == {"value"} and isinstance(value, Mapping):
            yield name, ",".join(f"{key}={plain(item)}" for key, item in value.items())
        elif isinstance(value, Mapping | list | tuple):
            yield name, as_json(value)
        else:
            yield name, value


def dashed(name: str) -> str:
    """The name as a command line has it; what follows a dot is a key of the option's JSON and stays."""
    head, dot, rest = name.partition(".")
    return head.replace("_", "-") + dot + rest


def one_word(value: Any) -> Any:
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def options_file(service: Mapping[str, Any]) -> Row:
    """{name: value} for the file that `vllm serve --config` reads."""
    return {dashed(name): one_word(value) for name, value in rendered(service) if value != []}


def flagscale_options(service: Mapping[str, Any]) -> Row:
    """{name: value} for FlagScale, which drops what is false and hands structures on as Python's text."""
    return {name: one_word(value) for name, value in rendered(service) if value != []}


def command_line(service: Mapping[str, Any]) -> list[list[str]]:
    """Words of a command line, those of one option together."""
    found = []
    for name, value in rendered(service):
        option = "--" + dashed(name)
        if value is True:
            found.append([option])
        elif isinstance(value, list):
            found += [[option, *value]] if value else []
        else:
            found.append([f"{option}={plain(value)}"])
    return found
