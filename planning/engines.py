"""Engines: rows of the table `engines` (engines.yml). A row says all that the product knows of an engine, so no other file names one.

`of_service` looks up a service's row and puts what its release needs into the record: templates, options, key, paths, how it stops,
what the probe looks for. A new engine is one row and its templates (docs/engines.md).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .rows import Checked, Collected, Key, Row, check_row, check_texts, defaults, fail, lookup, nearest, one_of

RUNTIMES = ("native", "container")
# What rules ask of an engine, and what it means.
TRAITS = {
    "asks-for-device-ids": "it needs ASCEND_RT_VISIBLE_DEVICES",
    "captures-npu-graphs": "it captures graphs on NPUs, of which some boards hold few",
    "casts-bfloat16": "it loads bfloat16 weights as float16 by itself, so they need no conversion",
    "data-parallel": "a plan may choose copies of the model (data_parallel_size)",
    "memory-of-vllm": "it takes memory as the vLLM of its options' version does",
    "one-model": "its templates have the configuration of one model, so no row is proposed for it",
}

# What callers of an inference service ask, and /metrics for Prometheus; with the key, as everything but /health.
PATHS = [
    "/v1/models",
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/responses",
    "/v1/responses/{}",
    "/v1/responses/{}/cancel",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/v1/embeddings",
    "/v1/score",
    "/v1/rerank",
    "/v1/audio/transcriptions",
    "/v1/audio/translations",
    "/metrics",
]

ENGINE: dict[str, Key] = {
    "title": Key("str", None, "Its name in sentences; null: the row's own."),
    "files": Key(
        "dict",
        ...,
        "The runtimes that it has, and its own files of a release in each: {native|container: {file: template}}. "
        "What every container needs comes with the runtime.",
    ),
    "image": Key(
        "str", None, "Image of a version, {version} in its place, for rows that name `engine_version` and no `image`."
    ),
    "image_version": Key("str", None, "Regular expression whose group is the version in the name of an image."),
    "keep_entrypoint": Key(
        "bool", True, "Does the image's entry point run the command that it is given? false: it is replaced."
    ),
    "options": Key("dict", {}, "How engine_args are read and written; see `OPTIONS`."),
    "own_key": Key("bool", False, "Does it ask for the key itself, too, and take it from VLLM_API_KEY?"),
    "paths": Key("list", PATHS, "Paths of its API that callers may ask; a service adds its own `paths`."),
    "stop_signal": Key(
        "str",
        None,
        "Signal after which its container finishes requests in flight and ends, such as SIGINT; null: SIGTERM.",
    ),
    "probe": Key("dict", {}, "What the probe looks for; see `PROBE`. What is missing is as vLLM has it."),
    "benchmark": Key(
        "str", None, "The program beside it whose `bench serve` measures a service, as vLLM's does; null: it has none."
    ),
    "flaggems": Key("dict", {}, "How FlagGems' operators get into it; see `FLAGGEMS`. Empty: not at all."),
    "traits": Key(
        "list", [], "What rules ask of it: " + "; ".join(f"{name} ({text})" for name, text in TRAITS.items()) + "."
    ),
    "any_version": Key("bool", False, "May a row name a version that is none of `versions`? Then options only warn."),
    "versions": Key("dict", {}, "Its variants; see `VERSION`."),
}
OPTIONS: dict[str, Key] = {
    "table": Key(
        "str", None, "planning/<table>_options.json: which version has which option. Null: names aren't checked."
    ),
    "names": Key("dict", {}, "Its own names of options that all engines have: {max_model_len: context_length}."),
    "reserved": Key(
        "dict", {}, "Options that a row can't set: {option: what to do instead}; `ssl_*` is every ssl_ option."
    ),
    "several": Key(
        "str", "always", "Since which version an option may be a list of several: always, never, or a version."
    ),
    "auto_length": Key("str", None, "Version since which max_model_len may be `auto`; null: never."),
    "share": Key("str", "gpu_memory_utilization", "Option that is the share of a device's memory to use."),
    "opens": Key(
        "dict",
        {},
        "Options with which it opens a port of its own, which asks for no key: {option or option.key: where it listens without a word}; "
        "option@VARIABLE where a variable says it, option=value where that value alone opens one; {address} is the service's.",
    ),
    "hosts": Key("bool", False, "Does it run over several hosts by itself, one process on each (nnodes, node_rank)?"),
    "within_tensor": Key("str", None, "Option with which data parallel ranks take no devices of their own."),
    "adapters": Key(
        "dict",
        {},
        "Options of adapters: {list: of name=path, enable: the switch, rank: the largest rank, ranks: which it takes}; "
        "{load, unload: paths with which it takes and gives up one while it runs, switch: the variable that opens them, "
        "rank_default: rank without an option}. Empty: it has none.",
    ),
    "aliases": Key(
        "bool",
        False,
        "May a service have several names (`aliases` of its row)? Where `several` says that it takes lists.",
    ),
    "files": Key("list", [], "Options that name a file which must be there."),
    "paths": Key(
        "list",
        [],
        "Options that name a file or folder, or something else by its name: a repository of a hub, a template of the engine.",
    ),
}
PROBE: dict[str, Key] = {
    "tokens": Key("str", None, "Name of the counter of generated tokens in /metrics."),
    "stages": Key(
        "dict", {}, "{what to say: regular expression in the log} of a start, newest first; {0} is its group."
    ),
}
FLAGGEMS: dict[str, Key] = {
    "built_in": Key("bool", False, "Is the switch in its image, so that it must be proved off, too?"),
    "files": Key("dict", {}, "Files of the release that bring the switch, {file: template}."),
}
VERSION: dict[str, Key] = {
    "supported": Key("bool", True, "false: a row that asks for it is refused with `reason`."),
    "reason": Key("str", None, "Why it is not supported, and what to do."),
    "note": Key("str", None, "What it is."),
    "options": Key("str", None, "Version in the table of options that it takes; null: unknown."),
    "files": Key(
        "dict", {}, "Files of a release that this version has, {file: template}; {service} is the service's name."
    ),
    "parts": Key("dict", {}, "What it was built of."),
}


def check_files(where: str, name: str, files: Mapping[str, Any]) -> None:
    """Refuse files of a release that lie outside of it, and templates that lie outside of templates/."""
    for file, template in files.items():
        for what in (file, template):
            if not isinstance(what, str) or not re.fullmatch(r"(?!.*\.\.)[\w{][\w./{}-]*", what):
                fail(
                    f"{where}: {name} has {what!r}, but must be {{file: template}} with paths below the release and templates/"
                )


def check_pattern(where: str, name: str, text: Any, groups: int | None = None) -> None:
    """Refuse what is no regular expression, or has another number of groups."""
    try:
        found = re.compile(text).groups
    except (re.error, TypeError) as error:
        fail(f"{where}: {name} is {text!r}, which is no regular expression: {error}")
    if groups is not None and found != groups:
        fail(f"{where}: {name} is {text!r}, but must have {groups} group in parentheses, not {found}")


def part(where: str, name: str, row: Row, keys: Mapping[str, Key]) -> Row:
    """A mapping inside a row, checked and with its defaults."""
    given = check_row(f"{where}: {name}", row.get(name) or {}, keys)
    return {**defaults(keys), **{key: value for key, value in given.items() if value is not None}}


def check_engine(name: str, row: Any) -> Row:
    """A row of engines.yml with all its defaults. Raises Faults with all that is wrong."""
    where = f"engines.yml: engine '{name}'"
    given = check_row(where, row, ENGINE)
    found = Collected()
    engine: Row = {
        **defaults(ENGINE),
        **{key: value for key, value in given.items() if value is not None},
        "name": name,
    }
    engine["title"] = engine["title"] or name
    for key, keys in (("options", OPTIONS), ("probe", PROBE), ("flaggems", FLAGGEMS)):
        engine[key] = found.run(part, where, key, engine, keys)
    engine["versions"] = {
        str(version): found.run(part, where, f"versions.{version}", {f"versions.{version}": about}, VERSION)
        for version, about in engine["versions"].items()
    }
    found.end()
    for runtime, files in engine["files"].items():
        found.run(one_of, where, "files", runtime, RUNTIMES)
        found.run(check_files, where, f"files.{runtime}", files or {})
    for version, about in engine["versions"].items():
        found.run(check_files, where, f"versions.{version}.files", about["files"])
        if not about["supported"] and not about["reason"]:
            found.run(fail, f"{where}: versions.{version} is not supported and says no reason; add `reason`")
    found.run(check_files, where, "flaggems.files", engine["flaggems"]["files"])
    for table in ("names", "reserved", "opens"):
        found.run(check_texts, where, f"options.{table}", engine["options"][table], engine["options"][table])
    for words, pattern in engine["probe"]["stages"].items():
        found.run(check_pattern, where, f"probe.stages.{words}", pattern, 1 if "{0}" in words else None)
    if engine["image_version"] is not None:
        found.run(check_pattern, where, "image_version", engine["image_version"], 1)
    if engine["image"] is not None and "{version}" not in engine["image"]:
        found.run(fail, f"{where}: image is {engine['image']!r}, but must have {{version}} where the version stands")
    if engine["stop_signal"] is not None and not re.fullmatch(r"SIG[A-Z0-9]{2,8}", engine["stop_signal"]):
        found.run(
            fail, f"{where}: stop_signal is {engine['stop_signal']!r}, but must be a name such as SIGTERM or SIGINT"
        )
    for trait in engine["traits"]:
        found.run(one_of, where, "traits", trait, tuple(TRAITS))
    for path in engine["paths"]:
        found.run(check_path, where, path)
    found.end()
    return engine


def check_path(where: str, path: Any) -> None:
    """Refuse a path that the guard could not compare."""
    if not isinstance(path, str) or not re.fullmatch(r"(/(\{\}|[A-Za-z0-9_-][A-Za-z0-9._-]*))+", path):
        fail(
            f"{where}: 'paths' has {path!r}, but must list whole paths of the API such as /tokenize or /v1/responses/{{}}; "
            "no wildcard, no `..`, no slash at the end"
        )


def faults(table: Checked) -> list[str]:
    """What is wrong with rows of engines.yml, whether a service asks for them or not."""
    found = Collected()
    for name in table:
        found.run(table.row, name)
    return found.faults


def of_service(where: str, service: Row, table: Checked) -> Row:
    """The checked row of a service's engine. Refuses an engine, a runtime or a version that there isn't."""
    one_of(where, "engine", service["engine"], table)
    one_of(where, "runtime", service["runtime"], RUNTIMES)
    engine = table.row(service["engine"])
    if service["runtime"] not in engine["files"]:
        fail(
            f"{where}: engine '{engine['name']}' has no runtime '{service['runtime']}'; "
            f"{nearest(service['runtime'], engine['files'])}"
        )
    check_version(where, service, engine)
    return engine


def check_version(where: str, service: Row, engine: Row) -> None:
    """Refuse a version that engines.yml doesn't have, or has as not supported, and none where its files depend on it."""
    version, known = service["engine_version"], engine["versions"]
    if version is None:
        if any(about["files"] for about in known.values()):
            names = " or ".join(known)
            fail(f"{where}: engine '{engine['name']}' has other files in each version; set engine_version: {names}")
        return
    if version not in known and engine["any_version"]:
        return
    about = lookup(where, f"version of engine '{engine['name']}'", version, known, "engines.yml")
    if not about["supported"]:
        fail(f"{where}: engine '{engine['name']}' {version} is not supported: {about['reason']}")


def image_of(service: Row, engine: Row) -> str | None:
    """The row's image, or the engine's own for the version that the row names."""
    image: str | None = service["image"]
    if image or service["runtime"] != "container" or not engine["image"] or not service["engine_version"]:
        return image
    return str(engine["image"]).replace("{version}", str(service["engine_version"]).removeprefix("v"))


def templates(name: str, service: Row, engine: Row) -> dict[str, str]:
    """{file of the release: template} that the engine brings, for this service."""
    about = engine["versions"].get(service["engine_version"]) or {}
    files = {**(engine["files"][service["runtime"]] or {}), **(about.get("files") or {})}
    if service["flaggems"]:
        files.update(engine["flaggems"]["files"])
    return {file.replace("{service}", name): template for file, template in files.items()}


def facts(name: str, service: Row, engine: Row) -> Row:
    """What a record keeps of its engine: all that its release and its container need."""
    kept = ("title", "benchmark", "keep_entrypoint", "own_key", "paths", "stop_signal", "traits", "options", "probe")
    return {
        **{key: engine[key] for key in kept},
        "flaggems": engine["flaggems"]["built_in"] or bool(engine["flaggems"]["files"]),
        "flaggems_built_in": engine["flaggems"]["built_in"],
        "files": templates(name, service, engine),
    }
