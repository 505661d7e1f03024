"""A model's card: the front matter of README.md, and what its licence means to whoever serves it."""

from __future__ import annotations

import re
from typing import Any, Mapping

FRONT = re.compile(r"\A\ufeff?\s*---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", re.S)
LIMIT = 256 << 10  # characters of a front matter
# Spellings of licences in front matters -> SPDX's.
SPELLINGS = {
    "apache license 2.0": "apache-2.0", "apache 2.0": "apache-2.0", "apache2.0": "apache-2.0", "apache-2": "apache-2.0",
    "mit license": "mit", "the mit license": "mit", "bsd": "bsd-3-clause", "openmdw": "openmdw-1.0",
}  # fmt: skip
OPEN = re.compile(
    r"(apache-2\.0|mit|bsd.*|isc|unlicense|cc0.*|cc-by-4\.0|cc-by-3\.0|cdla-permissive.*|openmdw.*|bsl-1\.0|zlib)"
)
FORBIDS = re.compile(r"(^|[-_ ])(nc|non-?commercial|research)([-_ ]|$)", re.I)


def front_matter(text: str) -> tuple[dict[str, Any], str | None]:
    """(front matter of a README.md, what is wrong with it). Never fails: a card is no reason not to serve."""
    match = FRONT.match(text)
    if not match:
        return {}, None
    try:
        import yaml  # Ansible's own on a controller; a host may lack it
    except ImportError:
        return {}, "this host's Python has no PyYAML, so its card's licence and task were not read"
    if len(match[1]) > LIMIT:
        return {}, "its card has a front matter of more than %d KiB, which was not read" % (LIMIT >> 10)
    try:
        found = yaml.safe_load(match[1])
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = " in line %d" % (mark.line + 2) if mark else ""
        return {}, "its card has a front matter that is no valid YAML%s, so licence and task were not read" % where
    return (dict(found), None) if isinstance(found, Mapping) else ({}, None)


def word(value: Any) -> str:
    """The first text of a value that may be a text or a list of them."""
    if isinstance(value, list):
        value = next((one for one in value if isinstance(one, str) and one.strip()), "")
    return value.strip() if isinstance(value, str) else ""


def licence(card: Mapping[str, Any], stated: Any = None) -> tuple[str, str | None]:
    """(name, what an operator should know) of the licence that a card or a hub states; `unknown` where neither does."""
    name = word(card.get("license")) or word(stated)
    spelled = SPELLINGS.get(name.lower(), name.lower())
    link = word(card.get("license_link"))
    if spelled in ("other", "", "unknown"):
        own = word(card.get("license_name"))
        if not own and spelled != "other":
            return "unknown", "its card names no licence: find out whether you may use it"
        spelled = own.lower() or "other"
    if FORBIDS.search(spelled):
        return spelled, "its licence (%s) forbids commercial use%s" % (spelled, ": " + link if link else "")
    if not OPEN.fullmatch(spelled):
        return spelled, "its licence (%s) has terms of its own: read them%s" % (spelled, " at " + link if link else "")
    return spelled, None
