"""Which row of the tables an adapter belongs to. Nothing is guessed: what the tables don't say is a question, with its answer's form."""

from __future__ import annotations

import difflib
import re
from typing import Any, Iterable, Mapping

from ansible.module_utils.serving.errors import Refusal

SUFFIX = re.compile(r"(?i)[-_.](unsloth|bnb|4bit|8bit|gptq|awq|fp8|int[48]|hf|instruct-bnb-4bit)+$")


def bare(name: str) -> str:
    """The last part of a name, in small letters, without what names of quantised copies end with."""
    found = name.rstrip("/").rpartition("/")[2].lower()
    while SUFFIX.search(found):
        found = SUFFIX.sub("", found)
    return found


def sources(row: Any) -> list[Mapping[str, Any]]:
    found = row.get("sources") if isinstance(row, Mapping) else None
    return [one for one in found.values() if isinstance(one, Mapping)] if isinstance(found, Mapping) else []


def rows_of(name: str, models: Mapping[str, Any]) -> list[str]:
    """Rows of models, adapters aside, that are published under a name or lie in a folder."""
    wanted = name.rstrip("/").lower()
    return [
        row
        for row, about in models.items()
        if isinstance(about, Mapping)
        and not about.get("base")
        and any(
            str(one.get(key) or "").rstrip("/").lower() == wanted for one in sources(about) for key in ("repo", "path")
        )
    ]


def with_commit(commit: str, rows: Iterable[str], models: Mapping[str, Any]) -> list[str]:
    return [row for row in rows if any(one.get("revision") == commit for one in sources(models[row]))]


def near(names: Iterable[str], models: Mapping[str, Any]) -> list[str]:
    """Rows whose names or repositories look like these, the nearest first."""
    known: dict[str, str] = {}
    for row, about in models.items():
        if isinstance(about, Mapping) and not about.get("base"):
            known[bare(row)] = row
            known.update({bare(str(one["repo"])): row for one in sources(about) if one.get("repo")})
    found = [
        known[close] for name in names for close in difflib.get_close_matches(bare(name), list(known), n=3, cutoff=0.7)
    ]
    return list(dict.fromkeys(found))


def base_of(adapter: str, adapts: Mapping[str, Any], models: Mapping[str, Any], asked: str = "") -> str:
    """The row of the model that an adapter belongs to. `adapts`: {names, revision, width} of M(model_info); `asked`: the operator's answer.

    Refusal with the question where the tables don't tell, and where the sizes of the two can't belong together.
    """
    names, commit = [str(name) for name in adapts.get("names") or []], str(adapts.get("revision") or "")
    if asked:
        about = models.get(asked)
        if not isinstance(about, Mapping):
            close = near([asked], models)
            raise Refusal(
                "base '%s' is no row of models.yml%s" % (asked, "; did you mean '%s'?" % close[0] if close else "")
            )
        if about.get("base"):
            raise Refusal("base '%s' is an adapter itself, of '%s'; name the model" % (asked, about["base"]))
        return fitting(adapter, asked, adapts, models)
    found = {name: rows_of(name, models) for name in names}
    if commit and names:
        exact = with_commit(commit, found[names[0]] or models, models)
        found[names[0]] = [row for row in exact if not models[row].get("base")] or found[names[0]]
    said = [name for name in names if found[name]]
    all_rows = sorted({row for rows in found.values() for row in rows})
    own_is_path = bool(names) and not re.fullmatch(r"[\w.-]+/[\w.-]+", names[0])
    if len(all_rows) == 1 and (said[0] == names[0] or own_is_path):
        return fitting(adapter, all_rows[0], adapts, models)
    raise Refusal(question(adapter, names, all_rows, models))


def question(adapter: str, names: list[str], rows: list[str], models: Mapping[str, Any]) -> str:
    """What an operator is asked, with the form of the answer."""
    called = " and ".join("'%s'" % name for name in names)
    answer = "say which: -e base=%s" % (rows or near(names, models) or ["NAME"])[0]
    if not names:
        text = "'%s' doesn't say which model it adapts" % adapter
    elif len(names) > 1 and rows:
        text = "'%s' is of %s by its adapter_config.json and its card" % (adapter, called)
    elif rows:
        text = "'%s' is of %s, which %s have" % (adapter, called, " and ".join("'%s'" % row for row in rows))
    else:
        close = near(names, models)
        like = "; %s looks like it" % " or ".join("'%s'" % row for row in close[:3]) if close else ""
        public = next((name for name in names if re.fullmatch(r"[\w.-]+/[\w.-]+", name)), "")
        first = "add that model first (-e model=%s), or " % public if public and not close else ""
        return "'%s' is of %s, which no row of models.yml names%s: %s%s" % (adapter, called, like, first, answer)
    return "%s: %s" % (text, answer)


def fitting(adapter: str, base: str, adapts: Mapping[str, Any], models: Mapping[str, Any]) -> str:
    """The row, whose hidden size must be the adapter's where both are known."""
    width, size = int(adapts.get("width") or 0), (models[base].get("shape") or {}).get("hidden_size")
    if width and isinstance(size, int) and size and width != size:
        raise Refusal(
            "'%s' is made for a hidden size of %d, and model '%s' has %d: it adapts another model; name that: -e base=NAME"
            % (adapter, width, base, size)
        )
    return base
