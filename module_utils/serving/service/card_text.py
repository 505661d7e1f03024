"""Pieces of a release card: blocks of code, lines of shell, YAML in two dialects, options of command lines, tables of Markdown and HTML."""

from __future__ import annotations

import html
import re
import shlex
from typing import Any, Iterator, Mapping

FENCE = re.compile(r"^[ \t>]*(```+|~~~+)[^\n]*\n(.*?)^[ \t>]*\1[ \t]*$", re.M | re.S)
HTML_CODE = re.compile(r"<pre[^>]*>\s*(?:<code[^>]*>)?(.*?)(?:</code>)?\s*</pre>", re.S | re.I)
INLINE = re.compile(r"`([^`\n]{8,400})`")


def blocks_of(text: str) -> list[str]:
    """Blocks of code, in their order."""
    found = [(match.start(), match[2]) for match in FENCE.finditer(text)]
    found += [(match.start(), html.unescape(re.sub(r"<[^>]+>", "", match[1]))) for match in HTML_CODE.finditer(text)]
    return [block for _, block in sorted(found)]


def files_in(block: str) -> list[str]:
    """The files that a block shows, one after another, each begun by the command that opens it; else the block."""
    return re.split(r"(?m)^(?=(?:sudo[ \t]+)?(?:vim?|nano|cat|cd)[ \t]+\S)", block)


def commands_of(blocks: list[str], text: str) -> list[str]:
    """Lines of shell, continued ones joined; commands in running text, too."""
    lines = [line.strip() for block in blocks for line in re.sub(r"\\[ \t]*\r?\n", " ", block).splitlines()]
    return lines + [match[1] for match in INLINE.finditer(FENCE.sub("", text))]


def words_of(line: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError:
        return line.split()


def asked_in(blocks: list[str]) -> tuple[list[int], list[str]]:
    """(ports, names of models) of its examples of requests, as OpenAI's client and curl have them."""
    text = "\n".join(block for block in blocks if re.search(r"/v1\b", block))
    ports = [int(port) for port in re.findall(r"https?://[^\s/\"']+:(\d{2,5})/v1\b", text)]
    names = re.findall(
        r"(?m)^[ \t]*model[ \t]*=[ \t]*[\"']([^\"'\n]+)[\"']|[\"']model[\"']\s*:\s*[\"']([^\"'\n]+)[\"']", text
    )
    return list(dict.fromkeys(ports)), list(dict.fromkeys(one or other for one, other in names))


def settings_in(node: Any, depth: int = 0) -> Iterator[dict[str, Any]]:
    """Every table of engine options in a piece of YAML, in both dialects of FlagScale."""
    if depth > 30:
        return
    if isinstance(node, Mapping):
        args = node.get("engine_args")
        if isinstance(args, Mapping):
            specific = node.get("engine_args_specific")
            several = dict(specific) if isinstance(specific, Mapping) else {}
            own = several.get(
                node.get("engine"), next(iter(several.values()), None)
            )  # of the engine that it serves with
            yield {**args, **(own if isinstance(own, Mapping) else {})}
        for value in node.values():
            yield from settings_in(value, depth + 1)
    elif isinstance(node, list):
        for value in node:
            yield from settings_in(value, depth + 1)


def yaml_of(block: str) -> tuple[Any, str | None]:
    """(what a block says as YAML, what is wrong with it); lines of shell before it are no part of it."""
    import yaml

    lines = block.splitlines()
    begin = next(
        (n for n, line in enumerate(lines) if re.match(r"\s*(- )?[\w.-]+:(\s|$)", line) and not line.startswith("cd ")),
        None,
    )
    if begin is None:
        return None, None
    try:
        return yaml.safe_load("\n".join(lines[begin:])), None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = lines[begin + mark.line].strip() if mark and begin + mark.line < len(lines) else ""
        return None, "line %d of a block (%s)" % (begin + mark.line + 1 if mark else 1, line[:80])


# Short names of options, under which cards state the same thing again.
LONG = {
    "tp": "tensor_parallel_size", "tp_size": "tensor_parallel_size", "pp": "pipeline_parallel_size", "pp_size": "pipeline_parallel_size",
    "dp": "data_parallel_size", "dp_size": "data_parallel_size",
}  # fmt: skip


def flags_of(words: list[str]) -> list[dict[str, Any]]:
    """Options of a command line as engine options; a switch is true. An option that it has twice is in a second mapping, of the same model."""
    found: list[dict[str, Any]] = [{}]
    rest = iter(range(len(words)))
    for at in rest:
        match = re.fullmatch(r"(?:--([a-z][\w-]*)|-(tp|pp|dp))(?:=(.*))?", words[at], re.S)
        if not match:
            continue
        value: Any = match[3]
        if value is None and at + 1 < len(words) and not words[at + 1].startswith("--"):
            value = words[at + 1]
            next(rest, None)
        name = (match[1] or match[2]).replace("-", "_")
        name = LONG.get(name, name)
        row = next((one for one in found if name not in one), None)
        if row is None:
            row = {key: found[0][key] for key in ("model", "served_model_name") if key in found[0] and key != name}
            found.append(row)
        row[name] = number(value) if value is not None else True
    return found


def number(text: str) -> Any:
    if re.fullmatch(r"\d{1,15}", text):
        return int(text)
    return float(text) if re.fullmatch(r"\d{0,9}\.\d{1,9}", text) else text


def same(one: str, other: str) -> bool:
    """Do two names mean one model, whatever their punctuation?"""
    left, right = (re.sub(r"[^a-z0-9]", "", name.lower().rpartition("/")[2]) for name in (one, other))
    return bool(left and right) and (left in right or right in left)


def tables_of(body: str) -> Iterator[list[list[str]]]:
    """Tables of Markdown and of HTML, as rows of cells."""
    rows: list[list[str]] = []
    for line in [*FENCE.sub("", body).splitlines(), ""]:
        if line.strip().startswith("|") and line.count("|") > 2:
            cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
            if not all(re.fullmatch(r":?-*:?", cell) for cell in cells):
                rows.append(cells)
        elif rows:
            yield rows
            rows = []
    for match in re.finditer(r"<table.*?</table>", body, re.S | re.I):
        found = re.findall(r"<tr.*?</tr>", match[0], re.S | re.I)
        yield [
            [
                html.unescape(re.sub(r"<[^>]+>", "", cell)).strip()
                for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.S | re.I)
            ]
            for row in found
        ]
