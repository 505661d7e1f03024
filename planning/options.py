"""Options of the engine: one spelling, names that its version knows, values in the engine's own forms.

<table>_options.json says which option an engine has in which version, and its kind (scripts/engine_options.py writes them):

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
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from .option_numbers import AUTO, number, share
from .rows import Collected, Row, fail, nearest, type_name

ROOT = Path(__file__).resolve().parent.parent
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
DTYPES = ("auto", "half", "float16", "bfloat16", "float", "float32")  # words of vLLM and SGLang
PAIRS, PAIRS_UNTIL = "limit_mm_per_prompt", "0.10.0"  # image=1,video=1 before 0.8.5, JSON alone since 0.10

CONTROL = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]"
)  # YAML has no place for them

# Short forms that engines take on a command line alone.
SHORT = {
    "tp": "tensor_parallel_size",
    "pp": "pipeline_parallel_size",
    "dp": "data_parallel_size",
    "dpl": "data_parallel_size_local",
    "dpn": "data_parallel_rank",
    "dpr": "data_parallel_start_rank",
    "dpa": "data_parallel_address",
    "dpp": "data_parallel_rpc_port",
    "dpb": "data_parallel_backend",
    "dph": "data_parallel_hybrid_lb",
    "dpe": "data_parallel_external_lb",
    "asc": "api_server_count",
    "cc": "compilation_config",
    "ac": "attention_config",
    "sc": "speculative_config",
    "n": "nnodes",
    "r": "node_rank",
    "pcp": "prefill_context_parallel_size",
    "dcp": "decode_context_parallel_size",
    "q": "quantization",
}


def version_key(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


class Table(NamedTuple):
    """Which options an engine has, as read from its sources."""

    title: str
    versions: tuple[str, ...]  # that were read, oldest first
    options: dict[str, list[list[Any]]]  # {option: [[kind, first version, last version or None]]}


@lru_cache(maxsize=8)
def table_of(name: str | None) -> Table:
    """The table of an engine; an empty one without a name."""
    if name is None:
        return Table("", (), {})
    data = json.loads((Path(__file__).parent / f"{name}_options.json").read_text())
    return Table(data["title"], tuple(sorted(data["versions"], key=version_key)), data["options"])


@lru_cache(maxsize=32)
def known_options(name: str | None, version: str | None) -> dict[str, set[str]]:
    """{option: kinds} of a version. Between two versions that were read: what either has. None: what any has."""
    table = table_of(name)
    order = table.versions
    if version is None:
        near = list(order)
    else:
        at = version_key(version)
        same = [v for v in order if version_key(v) == at] or [v for v in order if version_key(v)[:2] == at[:2]]
        low, high = [v for v in order if version_key(v) <= at], [v for v in order if version_key(v) >= at]
        near = same or [*low[-1:], *high[:1]]
    found: dict[str, set[str]] = {}
    for option, rows in table.options.items():
        for kind, first, last in rows:
            if any(
                version_key(first) <= version_key(v) and (last is None or version_key(v) <= version_key(last))
                for v in near
            ):
                found.setdefault(option, set()).add(kind)
    return found


def is_read(name: str | None, version: str) -> bool:
    """Is the version within those whose options were read?"""
    order = [version_key(v) for v in table_of(name).versions]
    return bool(order) and order[0] <= version_key(version) and version_key(version)[:2] <= order[-1][:2]


@lru_cache(maxsize=8)
def locked_version(file: str) -> str | None:
    """The vLLM of one of our lock files."""
    path = ROOT / "roles/python_runtime/files" / file
    found = re.search(r"(?m)^vllm(?:-cpu)?==(\d+\.\d+\.\d+)", path.read_text()) if path.is_file() else None
    return found.group(1) if found else None


def version_of(service: Mapping[str, Any], engine: Mapping[str, Any], locks: Mapping[str, Any]) -> str | None:
    """The version of the engine's table of options that a service takes. None where nobody says."""
    if service["runtime"] == "container":
        tag = re.search(engine["image_version"], service["image"] or "") if engine["image_version"] else None
        if tag:
            return tag.group(1)
    elif service["native_env"]:
        return None
    elif lock := (locks.get(service["engine"]) or {}).get("file"):
        return locked_version(str(lock))
    asked = service["engine_version"]
    if asked in engine["versions"]:
        listed: str | None = engine["versions"][asked]["options"]
        return listed
    return str(asked).removeprefix("v") if engine["any_version"] and re.match(r"v?\d+\.\d+", asked or "") else None


def unknown_version(service: Mapping[str, Any], engine: Mapping[str, Any], version: str | None) -> str | None:
    """Words of warning where a row may name any version, and its options can't be compared with that one's."""
    table = engine["options"]["table"]
    if not engine["any_version"] or service["runtime"] != "container":
        return None
    if version is None:
        return f"it is not known which version of {engine['title']} image {service['image']} has, so its options are compared with those of all listed versions"
    if table and not is_read(table, version):
        first, last = table_of(table).versions[0], table_of(table).versions[-1]
        return f"{engine['title']} {version} is not among the versions that are listed ({first} to {last})"
    return None


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
        if key.startswith("no_"):
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


def common(where: str, args: Mapping[str, Any], options: Mapping[str, Any]) -> Row:
    """engine_args under the names that all engines have: what is asked of a row (how long, how wide) has one name everywhere."""
    found: Row = {}
    names = {own: name for name, own in options["names"].items()}
    for given, value in args.items():
        name = names.get(given, given)
        if name in found or (name != given and name in args):
            fail(
                f"{where}: engine_args has '{name}' and '{options['names'][name]}', which are one option; keep one of them"
            )
        found[name] = value
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


def check_reserved(where: str, name: str, options: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Refuse an option that a key of the row stands for, or that is not written out. An unknown name may be an abbreviation, which argparse takes."""
    head = name.partition(".")[0]
    if known and len(head) > 1 and head not in known and head not in options["names"]:
        counted = (*COUNTS, *options["names"].values(), options["share"])
        whole = next(
            (one for one in counted if one and one in {*known, *options["names"]} and one.startswith(head)), None
        )
        if whole:
            fail(f"{where}: engine_args.{name} is short for {whole}, by which the plan counts; write {whole}")
    for reserved, remedy in options["reserved"].items():
        some = reserved.endswith("*") and head.startswith(reserved[:-1])
        if some or head == reserved or (head not in known and len(head) > 1 and reserved.startswith(head)):
            fail(f"{where}: engine_args.{name} can't be set there; {remedy}")


def check_name(where: str, name: str, version: str | None, options: Mapping[str, Any]) -> str | None:
    """Refuse an option that the version doesn't know. Returns words of warning where the version isn't known well enough."""
    head = name.partition(".")[0]
    table = table_of(options["table"])
    known = known_options(options["table"], version)
    if not table.options or options["names"].get(head, head) in known:
        return None
    rows = table.options.get(head)
    if rows:
        first, last = rows[0][1], rows[-1][2]
        older = version is not None and version_key(version) < version_key(first)
        hint = f"{table.title} has it since {first}" if older else f"{table.title} had it until {last}"
    else:
        hint = nearest(head, {*known, *options["names"]})
        near = re.fullmatch(r"did you mean '(\w+)'\?", hint)
        if near and near[1] in options["reserved"]:
            hint = f"if it is to be {near[1]}, {options['reserved'][near[1]]}"
    if version is not None and is_read(options["table"], version):
        fail(f"{where}: engine_args.{name} is no option of {table.title} {version}; {hint}")
    about = (
        f"{table.title} {version}, whose options aren't listed here,"
        if version
        else f"the {table.title} of this image or environment"
    )
    return f"engine_args.{name} may be no option of {about} and no {table.title} that is listed has it; {hint}"


def is_plain(value: Any) -> bool:
    """Can files of options hold it? Not what YAML makes of a date, nor what is no number, nor control characters."""
    if isinstance(value, str):
        return not CONTROL.search(value)
    if isinstance(value, Mapping):
        return all(
            isinstance(key, str | int) and not isinstance(key, bool) and is_plain(key) and is_plain(item)
            for key, item in value.items()
        )
    if isinstance(value, list | tuple):
        return all(map(is_plain, value))
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, int)


def check_value(
    where: str, name: str, value: Any, kinds: set[str], version: str | None, options: Mapping[str, Any]
) -> Any:
    """A value in the form that the record has: numbers are numbers, true and false are booleans, JSON stays a structure."""
    if not is_plain(value):
        fail(
            f"{where}: engine_args.{name} is {value!r}, a {type_name(value)} that no file of options holds; quote it, and leave out control characters"
        )
    if "." in name:
        return value
    if name in COUNTS or kinds == {"int"}:
        found = number(where, name, value)
        if name in COUNTS and found < 1 and not (name == AUTO and found == -1):
            fail(f"{where}: engine_args.{name} is {value!r}, but must be 1 or more")
        since, title = options["auto_length"], table_of(options["table"]).title
        if name == AUTO and found == -1 and since is None:
            fail(
                f"{where}: engine_args.{name} is {value!r}, which {title or 'this engine'} doesn't know; write a number"
            )
        if name == AUTO and found == -1 and version and version_key(version) < version_key(since):
            fail(f"{where}: engine_args.{name} is {value!r}, which {title} knows since {since}; write a number")
        return found
    if name == options["share"]:
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
        except (ValueError, RecursionError) as error:
            reason = "it is nested too deep" if isinstance(error, RecursionError) else error
            fail(f"{where}: engine_args.{name} is no JSON: {reason}; write it as YAML, or correct it")
    if kinds == {"value"} and isinstance(value, bool):
        fail(
            f"{where}: engine_args.{name} is {str(value).lower()} for YAML, and the engine wants a word or a number; quote it"
        )
    new = version is not None and version_key(version) >= version_key(PAIRS_UNTIL)
    if name == PAIRS and new and isinstance(value, str) and "=" in value and "{" not in value:
        fail(
            f"{where}: engine_args.{name} is {value!r}, which the engine reads no more; write a mapping, such as {{image: 1}}"
        )
    if name == "dtype" and value not in DTYPES:
        fail(f"{where}: engine_args.dtype is {value!r}; {nearest(value, DTYPES)}")
    if kinds == {"list"} and isinstance(value, Mapping):
        return [value]
    return value


def takes_one(version: str | None, options: Mapping[str, Any]) -> bool:
    """Does the engine take one word where an option may be a list of several?"""
    several = options["several"]
    if several in ("always", "never"):
        return bool(several == "never")
    return version is not None and version_key(version) < version_key(several)


def check_options(
    where: str, args: Mapping[str, Any], version: str | None, options: Mapping[str, Any], title: str = ""
) -> tuple[Row, list[str]]:
    """(engine_args of a record, warnings). `options` and `title` are of the engine's row. Raises Faults with all that is wrong."""
    found, out = Collected(), dict[str, Any]()
    warnings: list[str] = []
    table = options["table"]
    known = known_options(table, version)
    for name, value in args.items():
        head = name.partition(".")[0]
        before = len(found.faults)
        if head != name and head in args:
            found.run(
                fail,
                f"{where}: engine_args has '{head}' and '{name}', of which the engine would keep one; write '{name}' inside of '{head}'",
            )
        found.run(check_reserved, where, name, options, known)
        if len(found.faults) > before:
            continue
        warning = found.run(check_name, where, name, version, options)
        warnings += [warning] if warning else []
        own = options["names"].get(head, head)
        kinds = known.get(own) or known_options(table, None).get(own, set())
        out[name] = found.run(check_value, where, name, value, kinds, version, options)
        several = isinstance(value, list) and len(value) > 1 and kinds == {"list"}
        if several and takes_one(version, options):
            by = (
                title
                if options["several"] == "never"
                else f"the configuration file of {table_of(table).title} {version}"
            )
            found.run(
                fail, f"{where}: engine_args.{name} is a list of {len(value)}, and {by} takes one word; write one"
            )
    found.end()
    return out, warnings
