"""What an engine's version knows of models: architectures of a config.json, and parsers of tool calls and thoughts.

vllm_models.json says it for the versions that it lists (scripts/engine_models.py writes it): {name: [[group, first version, last version or
null where the newest still has it]]}; parsers are called tools/NAME and reasoning/NAME.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .options import version_key
from .rows import fail

Row = dict[str, Any]

KINDS = ("chat", "completion", "embedding", "rerank", "classify", "transcription")
# What a service may be asked (check.kind), by what its model is for.
ASKABLE = {
    "chat": ("chat", "completion", "vision"),
    "completion": ("completion",),
    "embedding": ("embedding", "rerank", "score"),
    "rerank": ("rerank", "score"),
    "classify": ("classify",),
    "transcription": ("transcription",),
}
QUESTIONS = tuple(dict.fromkeys(kind for kinds in ASKABLE.values() for kind in kinds))
# What is asked beyond the kind's own question.
MORE = ("tools", "structured")
# How vLLM adapts an architecture of another ending: see ENDINGS of module_utils/serving/weights/kinds.py.
ENDING = re.compile(
    r"(ForCausalLM|ForConditionalGeneration|ForSequenceClassification|ForTokenClassification|ForTextEncoding|EmbeddingModel|Model)$"
)


def listed(table: str) -> bool:
    """Is it known which models the engines with this table of options know?"""
    return (Path(__file__).parent / f"{table}_models.json").is_file()


@functools.lru_cache(maxsize=1)
def catalogue() -> tuple[list[str], dict[str, list[list[Any]]]]:
    """(versions that are listed, {name: spans})."""
    data = json.loads((Path(__file__).parent / "vllm_models.json").read_text())
    return data["versions"], data["known"]


def engine_knows(version: str | None = "") -> dict[str, str]:
    """{name: group} of what a version knows; of all versions where it is not named or newer than the list."""
    versions, names = catalogue()
    if not version or version_key(version) > version_key(versions[-1]):
        return {name: spans[-1][0] for name, spans in names.items()}
    here = version_key(version)
    found = {}
    for name, spans in names.items():
        for group, first, last in spans:
            if version_key(first) <= here and (last is None or here <= version_key(last)):
                found[name] = group
    return found


def related(architecture: str, known: Mapping[str, str]) -> bool:
    """Does the engine have this architecture, or one that it adapts to it?"""
    stem = ENDING.sub("", architecture)
    return architecture in known or (stem != architecture and any(ENDING.sub("", name) == stem for name in known))


def versions_that_know(architecture: str) -> list[str]:
    """Of the listed versions, those that have this architecture."""
    return [version for version in catalogue()[0] if related(architecture, engine_knows(version))]


def check_architecture(where: str, model: Row, version: str | None) -> None:
    """Refuse a model whose class the engine's version doesn't have; say which one does."""
    architecture = model.get("architecture")
    versions = catalogue()[0]
    if (
        not architecture
        or not version
        or not version_key(versions[0]) <= version_key(version) <= version_key(versions[-1])
    ):
        return
    if related(architecture, engine_knows(version)) or model.get("code"):
        return
    have = versions_that_know(architecture)
    remedy = (
        f"vLLM {have[0]}{'' if have[-1] == versions[-1] else ' to ' + have[-1]} does"
        if have
        else "none of the versions that are listed here does"
    )
    fail(
        f"{where}: vLLM {version} does not know the architecture {architecture} of model '{model['name']}'; {remedy}: choose such an engine or image"
    )


def check_kind(where: str, service: Row, model: Row) -> None:
    """Refuse a question, or an option of the engine, that is not for what the model is."""
    kind, args = model["kind"], service["engine_args"]
    asked = (service["check"] or {}).get("kind")
    if asked and asked not in ASKABLE[kind]:
        fail(
            f"{where}: check.kind is '{asked}', but model '{model['name']}' is for {kind}; use one of {', '.join(ASKABLE[kind])}, or leave it out"
        )
    if asked == "vision" and not model["vision"]:
        fail(f"{where}: check.kind is 'vision', but model '{model['name']}' takes no images; leave it out")
    pools = kind in ("embedding", "rerank", "classify")
    for name, wrong in (
        ("runner", ("generate",) if pools else ("pooling",)),
        ("task", ("generate",) if pools else ("embed", "embedding", "classify", "score", "reward")),
    ):
        if args.get(name) in wrong:
            fail(f"{where}: engine_args.{name} is {args[name]}, but model '{model['name']}' is for {kind}; remove it")
    if pools:
        for name in ("tool_call_parser", "reasoning_parser", "enable_auto_tool_choice"):
            if args.get(name):
                fail(
                    f"{where}: engine_args.{name} is for models that answer in words, and model '{model['name']}' is for {kind}; remove it"
                )


def check_parsers(where: str, service: Row, version: str | None) -> None:
    """Refuse parsers that the engine's version doesn't have, where it is listed."""
    if not version or version not in catalogue()[0] or service["engine_args"].get("tool_parser_plugin"):
        return
    known = engine_knows(version)
    for option, what in (("tool_call_parser", "tools"), ("reasoning_parser", "reasoning")):
        name = service["engine_args"].get(option)
        if (
            isinstance(name, str)
            and name
            and f"{what}/{name}" not in known
            and not service["engine_args"].get(f"{option}_plugin")
        ):
            have = sorted(one.partition("/")[2] for one in known if one.startswith(what + "/"))
            fail(
                f"{where}: engine_args.{option} is '{name}', which vLLM {version} does not have; it has {', '.join(have) or 'none'}"
            )


def adapters_of(args: Row) -> list[str]:
    """Names under which an engine serves adapters (engine_args.lora_modules): name=path, {name, path}, or a list of these, also as JSON."""
    given = args.get("lora_modules")
    if isinstance(given, str) and given.lstrip()[:1] in ("[", "{"):
        try:
            given = json.loads(given)
        except (ValueError, RecursionError):
            return []
    rows = given if isinstance(given, list) else str(given).split() if isinstance(given, str) else [given]
    found = []
    for row in rows:
        if isinstance(row, str) and row.lstrip()[:1] == "{":
            found += adapters_of({"lora_modules": row})
        elif isinstance(row, str) and "=" in row:
            found.append(row.partition("=")[0].strip())
        elif isinstance(row, Mapping) and isinstance(row.get("name"), str):
            found.append(row["name"])
    return found


def question(service: Row, model: Row) -> Row | None:
    """What the check after a deploy asks: the row's own question, and of a kind that does not chat what its answer must be.

    Of a chat model alone it is what the tables say, so that releases of such services stay what they are.
    """
    check = dict(service["check"] or model["check"] or {})
    args = service["engine_args"]
    kind = check.get("kind") or model["kind"]
    if kind != "chat":
        check["kind"] = kind
        traits = {"embedding": ("dimensions", "normalized"), "classify": ("labels",)}.get(kind, ())
        check.update({name: model[name] for name in traits if model.get(name)})
    more = [name for name in MORE if name in (service["asks"] or [])]
    if args.get("tool_call_parser") and args.get("enable_auto_tool_choice") and "tools" not in more and kind == "chat":
        more.insert(0, "tools")
    if more:
        check["more"] = more
    if args.get("reasoning_parser"):
        check["thought"] = True
    if adapters := [*(row["name"] for row in service["adapters"]), *adapters_of(args)]:
        check["adapters"] = list(dict.fromkeys(adapters))
    if service["aliases"]:
        check["names"] = list(service["aliases"])
    return check or None
