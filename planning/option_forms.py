"""A record's engine options in the forms that engines read: a file of options, a mapping, words of a command line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .options import PAIRS, as_json, known_options, plain, words
from .rows import Row


def rendered(service: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """(name, value) of a record's engine options in the order of their names: True, a number, text or a list of text, as every version reads them.

    A structure is JSON text: before 0.16 the engine's file of options would make it Python's text.
    """
    return sorted(forms(service), key=lambda row: row[0])


def forms(service: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    options = service["engine_facts"]["options"]
    table = options["table"]
    known, ever = known_options(table, service.get("options_version")), known_options(table, None)
    for given, value in service["engine_args"].items():
        name = options["names"].get(given, given)
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
    """{name: value} with the names of a command line, for a file of options."""
    return {dashed(name): one_word(value) for name, value in rendered(service) if value != []}


def options_mapping(service: Mapping[str, Any]) -> Row:
    """{name: value} with the names of Python, for engines that build a command line of it themselves."""
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


def knows(service: Mapping[str, Any], name: str) -> bool:
    """Does the service's engine have this option? A version that nobody names is taken for a new one."""
    version = service.get("options_version")
    return version is None or name in known_options(service["engine_facts"]["options"]["table"], version)
