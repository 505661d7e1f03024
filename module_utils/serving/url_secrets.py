"""Secrets in URLs: passwords in front of the host, signatures and keys in the query."""

from __future__ import annotations

import re

MASK = "********"
URL = re.compile(r"(?<![a-zA-Z0-9+.-])([a-zA-Z][a-zA-Z0-9+.-]{0,30}:\\?/\\?/)([^\s\"<>|`]{1,4000})")
MIXED = re.compile(r"(?=\w{0,16}[a-z])(?=\w{0,16}[A-Z])(?=\w{0,16}\d)\w{10,}$")
PORT = re.compile(r"\d{1,5}$")
QUERY = re.compile(
    r"(?i)([?&;](?:sig|signature|key|auth|code|sid|sv|x-amz-(?:signature|credential|security-token)|x-goog-(?:signature|credential)|awsaccesskeyid)=)"
    r"[^&\s\"'<>]{4,}"
)
BARE_LOGIN = re.compile(
    r"(?<![\w@/.:-])([A-Za-z0-9._-]{1,64}):([^\s@:/\"']{1,128})@(?=[A-Za-z0-9.-]{1,253}:\d{2,5}\b|(?:tcp|unix)\()"
)


def userinfo(rest: str) -> tuple[str, str] | None:
    """(user and password, what follows `@`) of a URL after `//`, even where a password holds `/` or `@`; None if there is none."""
    # A backslash ends the host where JSON escapes the slash behind it; the one of DOMAIN\\user ends nothing.
    authority = re.split(r"[/?#]|\\\\(?=/)", rest, maxsplit=1)[0]
    if "@" in authority:
        end = authority.rindex("@")
        # a second @ further on belongs to the password only if what lies between is no host
        later = rest.rfind("@")
        if later > end and re.match(r"[^/]*[/?#]", rest[end + 1 : later]) and "." not in authority[end + 1 :]:
            end = later
        return rest[:end], rest[end + 1 :]
    head, colon, tail = authority.partition(":")
    if colon and not PORT.match(tail) and not head.startswith("[") and "@" in rest:
        end = rest.rindex("@")
        return rest[:end], rest[end + 1 :]
    return None


def mask_url(match: re.Match[str]) -> str:
    scheme, rest = match.groups()
    found = userinfo(rest)
    if found is None:
        return match.group()
    (user, colon, _), after = found[0].partition(":"), found[1]
    if not colon:
        # git@ and root@ stay, a token does not
        return f"{scheme}{MASK}@{after}" if len(user) >= 16 or MIXED.match(user) else match.group()
    shown = (MASK if len(user) >= 20 else user) + ":" + MASK
    return f"{scheme}{shown}@{after}"
