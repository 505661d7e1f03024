"""Secrets that are known, in every spelling that a text may carry."""

from __future__ import annotations

import base64
import html
import json
import re
import urllib.parse
from typing import Any, Iterable, Iterator

from ansible.module_utils.serving.named_secrets import is_secret
from ansible.module_utils.serving.url_secrets import MASK, URL, userinfo

SHORT = 8  # a known secret below this counts as a word of its own only: a password `demo` must not eat every demo
LEAST = 4
SHORTEST_CODED = 6  # bytes; what base64 and hex make of less could stand anywhere

# --- secrets that are known -------------------------------------------------------------------------------------------------------


def spellings(secret: str) -> set[str]:
    """A secret as texts carry it: plain, escaped for JSON, URLs, HTML and shells, and inside of base64 at each of three offsets."""
    raw = secret.encode("utf-8", "surrogateescape")
    found = {
        secret,
        html.escape(secret),
        secret.replace("'", "'\"'\"'"),
        secret.replace("'", "'\\''"),
        repr(secret)[1:-1],
        ascii(secret)[1:-1],
        repr(raw)[2:-1],
    }
    for ascii_only in (True, False):
        once = json.dumps(secret, ensure_ascii=ascii_only)[1:-1]
        found |= {once, json.dumps(once, ensure_ascii=ascii_only)[1:-1], once.replace("/", "\\/")}
    for quoted in (urllib.parse.quote(raw, safe=""), urllib.parse.quote(raw), urllib.parse.quote_plus(raw)):
        found |= {quoted, re.sub(r"%[0-9A-F]{2}", lambda match: match.group().lower(), quoted)}
    if len(raw) >= SHORTEST_CODED:
        for before in range(3):
            # Characters that depend on neighbours of the secret are left away at both ends.
            coded = base64.b64encode(b"\0" * before + raw)[(0, 2, 3)[before] :]
            coded = coded[: len(coded) - (0, 3, 2)[(len(raw) + before) % 3]]
            found |= {coded.decode(), coded.decode().translate(str.maketrans("+/", "-_"))}
        found.add(raw.hex())
    return found


def without_known(text: str, secrets: Iterable[str]) -> str:
    """The text with every spelling of these secrets masked. Lines of a secret of several lines count by themselves."""
    known: set[str] = set()
    for secret in secrets:
        for part in {secret.strip(), *(line.strip() for line in secret.splitlines())}:
            if len(part) >= LEAST and part.lower() not in ("none", "null", "true", "false"):
                known |= spellings(part)
    for form in sorted(known, key=len, reverse=True):
        if len(form) >= SHORT:
            text = text.replace(form, MASK)
        elif len(form) >= LEAST:
            text = re.sub(r"(?<![\w-])" + re.escape(form) + r"(?![\w-])", MASK, text)
    return text


def known_secrets(value: Any, everything: bool = False) -> Iterator[str]:
    """Values of a structure that lie below a name of a secret; with `everything` each string of it."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from known_secrets(item, everything or is_secret(str(name)))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from known_secrets(item, everything)
    elif isinstance(value, str):
        if everything:
            yield value
        for match in URL.finditer(value):
            user = userinfo(match.group(2))
            if user and ":" in user[0]:
                yield urllib.parse.unquote(user[0].partition(":")[2])
    elif everything and isinstance(value, int) and not isinstance(value, bool):
        yield str(value)
