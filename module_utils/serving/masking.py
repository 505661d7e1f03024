"""Texts without secrets: what is known first, in every spelling, then what looks like one by its name, its form or its prefix.

Nothing here judges by randomness alone: digests, commits, UUIDs and paths must stay readable. Every step is linear in the text's
length, whatever the text is: no expression repeats without a bound in front of something that may fail.
"""

from __future__ import annotations

import base64
import binascii
import bisect
import html
import json
import re
import urllib.parse
from typing import Any, Iterable, Iterator

MASK = "********"
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


# --- blocks of private keys -------------------------------------------------------------------------------------------------------

BEGIN = re.compile(r"-{3,5} ?BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)? ?-{3,5}")
END = re.compile(r"-{3,5} ?END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)? ?-{3,5}")
LONGEST_BLOCK = 20_000
BASE64_LINE = re.compile(r"(?:^|.*\s)[A-Za-z0-9+/=]{40,}\s*$")


def without_blocks(text: str) -> str:
    """Private keys in PEM or PGP armour: whole ones, and what a log's tail has cut at either end."""
    begins, ends = [m.span() for m in BEGIN.finditer(text)], [m.span() for m in END.finditer(text)]
    if not begins and not ends:
        return text
    out, done = [], 0
    for start, stop in begins:
        if start < done:
            continue
        number = bisect.bisect_left(ends, (stop, 0))
        if number < len(ends) and ends[number][0] - stop <= LONGEST_BLOCK:
            end = ends[number][1]
        else:
            end = stop
            for line in text[stop : stop + LONGEST_BLOCK].splitlines(True):
                if end > stop and not BASE64_LINE.match(line):
                    break
                end += len(line)
        out += [text[done:start], MASK + ("\n" if text[end - 1 : end] == "\n" else "")]
        done = end
    text = "".join([*out, text[done:]])
    lines: list[str] = []
    for line in text.splitlines(True):
        if END.search(line):
            while lines and BASE64_LINE.match(lines[-1]):
                lines.pop()
            line = MASK + "\n"
        lines.append(line)
    return "".join(lines)


# --- URLs -------------------------------------------------------------------------------------------------------------------------

URL = re.compile(r"(?<![a-zA-Z0-9+.-])([a-zA-Z][a-zA-Z0-9+.-]{0,30}:\\?/\\?/)([^\s\"<>|`]{1,4000})")
PORT = re.compile(r"\d{1,5}$")
QUERY = re.compile(
    r"(?i)([?&;](?:sig|signature|key|auth|code|sid|sv|x-amz-(?:signature|credential|security-token)|x-goog-(?:signature|credential)|awsaccesskeyid)=)"
    r"[^&\s\"'<>]{4,}"
)
BARE_LOGIN = re.compile(r"(?<![\w@/.:-])([A-Za-z0-9._-]{1,64}):([^\s@:/\"']{1,128})@(?=[A-Za-z0-9.-]{1,253}:\d{2,5}\b)")


def userinfo(rest: str) -> tuple[str, str] | None:
    """(user and password, what follows `@`) of a URL after `//`, even where a password holds `/` or `@`; None if there is none."""
    authority = re.split(r"[/?#\\]", rest, maxsplit=1)[0]
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
        return match.group() if len(user) < 16 else f"{scheme}{MASK}@{after}"  # git@, root@
    shown = (MASK if len(user) >= 20 else user) + ":" + MASK
    return f"{scheme}{shown}@{after}"


# --- names of secrets -------------------------------------------------------------------------------------------------------------

TAIL = re.compile(
    r"(?:values?|hash|plaintext|plain|base64|b64|encoded|old|new|current|previous|primary|secondary|[0-9]+)$"
)
SECRET = re.compile(
    r"(?:psk|bindpw|passw(?:or)?d|passphrase|passcode|passwort|secrets?|secretid|credentials?|authorization|cookies?|sessionid|csrf|xsrf|requirepass"
    r"|(?:api|access|secret|private|auth|account|master|shared|session|signing|encryption|service|client|deploy|license|root|storage|app)keys?"
    r"|accesskeyid|(?:auth|access|api|bearer|refresh|bot|id|session|registry|identity|security)tokens|token)$"
)
# A token of a model's vocabulary or of a count, not of a login.
VOCABULARY = {
    "eos", "bos", "pad", "unk", "sep", "cls", "mask", "image", "video", "audio", "vision", "stop", "start", "end",
    "special", "first", "next", "last", "per", "output", "input", "prompt", "max", "min", "num", "by", "think", "added",
    "extra", "draft", "bonus", "each", "tool", "media", "a", "the", "of", "decoder", "sampled", "generated", "cached",
    "one", "total",
}  # fmt: skip
SPOKEN = {"password", "passwd", "passphrase", "secret", "secrets"}
# What a name says about a secret instead of holding it.
ABOUT = {
    "file", "path", "dir", "folder", "name", "names", "url", "uri", "type", "length", "len", "count", "policy", "ref",
    "required", "enabled", "timeout", "mode", "field", "manager", "store", "provider", "expiry", "version", "prompt",
    "min", "max", "engine", "class", "reset", "change",
}  # fmt: skip
WORDS_OF_NAME = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
KEYWORD = re.compile(
    r"(?i)(?:pass|pwd|(?<![a-z])pw(?![a-z])|secret|token|key|credential|auth|cookie|sess|csrf|xsrf|sig|psk|bind_?pw)[\w.-]{0,60}"
)
HEADER = re.compile(r"(?i)(?:proxy-?)?authorization$|(?:set-?)?cookie$")
LOGINS = ("auth", "_auth", "basic-auth", "basic_auth", "basicauth")  # secrets if they hold `user:password`
MAYBE = re.compile(r"(?i)(?:^|[_.-])(?:key|signature|sig)$|[A-Z]_AUTH$")  # secrets if the value is random
LONGEST_NAME = 80


def is_secret(name: str) -> bool:
    """Does a name, such as `HF_TOKEN`, `clientSecret` or `--api-key`, speak of a secret?"""
    words = [word.lower() for word in WORDS_OF_NAME.findall(name)]
    flat = "".join(words)
    for _ in range(2):  # password_2, api_key_old
        if not SECRET.search(flat):
            flat = TAIL.sub("", flat)
    if len(words) > 1 and words[-1] == "token" and words[-2] in VOCABULARY:
        return False
    last = words[-1] if words else ""
    if SPOKEN & set(words) and last not in ABOUT:
        return True
    if SECRET.search(flat) or last in ("pass", "pw") or (last == "pwd" and name not in ("PWD", "OLDPWD")):
        return True
    # Environment variables that end in _KEY; `cache_key` and `sort-key` are words of programs.
    return bool(re.search(r"[A-Z0-9]_KEY$", name)) and not re.search(
        r"(?:PUBLIC|SORT|CACHE|PRIMARY|FOREIGN|PARTITION)_KEY$", name
    )


# --- values of names --------------------------------------------------------------------------------------------------------------

HARMLESS = re.compile(
    r"(?i)(?:null|none|nil|true|false|yes|no|not|is|was|required|\*+|<[a-z_ -]*>|\$\{?\w+\}?|\$\(.*)$"
)
COUNT = re.compile(r"\d{1,6}(?:\.\d+)?[a-zA-Z%]?$")
SEPARATOR = re.compile(
    r"[\"'\]\\]{0,8}[ \t\xa0]{0,8}(?::=|=>|->|[:=\u2192\uff1a\uff1d])[ \t\xa0]{0,8}(?:!!?\w{1,20} )?"
)
# Letters and digits in one word: after a name of a secret it is one, without any `=` too.
PROSE = re.compile(
    r"[\"']?\s{1,8}(?:is |was )?[\"'(]?(?=[\w+/=.~-]{0,200}\d)(?=[\w+/=.~-]{0,200}[A-Za-z])(?=[\w+/=.~-]{8,400}(?:[\s\"',;)]|$))"
)
RANDOM = re.compile(r"(?=.{0,200}[a-z])(?=.{0,200}[A-Z])(?=.{0,200}\d)[A-Za-z0-9+/_=-]{16,}$")
LISTED = re.compile(r"\\{0,7}[\"']\s{0,4},\s{0,4}(?=b?\\{0,7}[\"'])")
SPACED = re.compile(r"\s{1,4}(?=[^\s-])")
NAMED_VALUE = re.compile(r"\\{0,7}[\"']?\s{0,8},?\s{0,80}\\{0,7}[\"']?value\\{0,7}[\"']?\s{0,4}[:=]\s{0,4}")
ITEMS = re.compile(r"[ \t]{0,8}\n(?:[ \t]{0,40}- [^\n:]{1,400}(?:\n|$)){1,50}")  # a list in YAML
NEXT_LINE = re.compile(
    r"[ \t]{0,8}\n[ \t]{1,40}(?=[^\s:-][^\s:]{0,400}[ \t]{0,8}(?:\n|$))"
)  # YAML: the value alone below its name
BLOCK_SCALAR = re.compile(r"[|>][+-]?\d?[ \t]{0,8}\n[ \t]{1,40}")
WORD_ENDS = "\\s\"'`<"
LONGEST_VALUE = 4000


def quoted_span(text: str, first: int, quote: str, depth: int) -> tuple[int, int] | None:
    """From `first`, behind an opening quote with `depth` backslashes before it, to the quote that closes it."""
    at = first
    while (at := text.find(quote, at, first + LONGEST_VALUE)) >= 0:
        run = at
        while run > first and text[run - 1] == "\\":
            run -= 1
        if at - run == depth or (depth == 0 and (at - run) % 2 == 0):
            return first, at - depth
        at += 1
    return None


def value_span(text: str, start: int, stops: str, whole_line: bool) -> tuple[int, int]:
    """Where the value that begins at `start` lies, without its quotes: quoted to any depth, a list, a block, or a word.

    A word ends before the first of the characters `stops` and with its line; with `whole_line` a comment ends it, and no bracket.
    """
    if items := ITEMS.match(text, start):
        return start, items.end()
    if below := NEXT_LINE.match(text, start):
        start = below.end()
    if text[start : start + 1] == "[":
        end = text.find("]", start, start + LONGEST_VALUE)
        if end > 0:
            return start + 1, end
    if text[start : start + 1] in ("b", "f", "r", "u") and text[start + 1 : start + 2] in ("'", '"'):
        start += 1
    if block := BLOCK_SCALAR.match(text, start):
        start, whole_line, stops = block.end(), True, ""
    first = start
    while text[first : first + 1] == "\\" and first - start < 8:
        first += 1
    quote = text[first : first + 1]
    if quote in ("'", '"') and quote:
        if span := quoted_span(text, first + 1, quote, first - start):
            return span
        start = first + 1
    end = text.find("\n", start)
    end = len(text) if end < 0 else end
    if whole_line:
        comment = text.find(" #", start, end)
        end = comment if comment >= 0 else end
    if stops and (found := re.compile(f"[{stops}]").search(text, start, end)):
        end, line_end = found.start(), end
        if text[end - 1 : end + 1] == "$'":  # the shell's $'...'
            end = (quoted_span(text, end + 1, "'", 0) or (end, end))[1]
        elif text[end - 1 : end] == "(" and end > start:  # SecretStr('...'), os.environ.get('X', '...')
            closed = text.find(")", end, line_end)
            end = closed if closed >= 0 else line_end
    shown = text[start:end].rstrip()
    trimmed = shown if whole_line else shown.rstrip(",;)]}\\")
    return start, start + len(trimmed or shown)


def name_around(text: str, match: re.Match[str], least: int) -> tuple[int, str]:
    """(start, name) of the whole name that holds a keyword; `API key` counts as api_key."""
    left = match.start()
    while (
        left > least and match.start() - left < LONGEST_NAME and (text[left - 1].isalnum() or text[left - 1] in "_-.")
    ):
        left -= 1
    name = text[left : match.end()]
    if text[left - 1 : left] == " " and "-" not in name:
        spaced = re.search(r"(?i)\b(api|access|secret|private|auth|session) $", text[max(least, left - 9) : left])
        name = f"{spaced.group(1)}_{name}" if spaced else name
    return left, name


def value_of(text: str, left: int, name: str, end: int) -> tuple[int, int] | None:
    """Where the value lies that belongs to the secret's name text[left:end]; None if there is none, or none that is secret."""
    separator = SEPARATOR.match(text, end)
    if separator is None and (name.startswith("-") or HEADER.search(name) or name.lower().startswith("x-")):
        separator = LISTED.match(text, end) or (SPACED.match(text, end) if name.startswith("-") else None)
    if separator is None and text[max(0, left - 12) : left].rstrip("\"' ").endswith(("=", ":", "<")):
        separator = NAMED_VALUE.match(text, end)  # {name: API_KEY, value: abc}
    if separator is None and is_secret(name):
        separator = PROSE.match(text, end)
    if separator is None:
        return None
    before = text[left - 1 : left] if left else ""
    spoken = re.search(r"(?i)pass|pwd|secret", name) is not None
    line = text.rfind("\n", max(0, left - 200), left)
    if HEADER.search(name) or "phrase" in name.lower() or (spoken and not text[line + 1 : left].strip(" \t-")):
        start, stop = value_span(text, separator.end(), before if before in ("'", '"') else "", True)
    else:
        start, stop = value_span(text, separator.end(), WORD_ENDS + "&" * (before in ("?", "&", ";")), False)
    value = text[start:stop]
    if (
        not value
        or HARMLESS.match(value)
        or (COUNT.match(value) and not spoken)
        or (name.lower() in LOGINS and not is_login(value))
    ):
        return None
    if not is_secret(name) and name.lower() not in LOGINS and not RANDOM.match(value):
        return None
    while name.startswith("-") and (more := PROSE.match(text, stop)):  # --api-key takes several
        stop = value_span(text, more.end(), WORD_ENDS, False)[1]
    return start, stop


def without_named(text: str) -> str:
    """Values of names that speak of secrets: `name=value`, `"name": "value"`, `--name value`, headers, `name: X, value: Y`."""
    out, done = [], 0
    for match in KEYWORD.finditer(text):
        if match.start() < done:
            continue
        left, name = name_around(text, match, done)
        if is_secret(name) or name.lower() in LOGINS or MAYBE.search(name):
            span = value_of(text, left, name, match.end())
            if span:
                out += [text[done : span[0]], MASK]
                done = span[1]
    return "".join([*out, text[done:]])


LOGIN_TEXT = re.compile(r"[A-Za-z0-9+/_-]{6,}={0,2}$")


def is_login(value: str) -> bool:
    """Is it `user:password`, plain or in base64, as Docker's `auth` and HTTP's Basic have it?"""
    if ":" in value and not value.startswith(("http", "/")):
        return True
    if not LOGIN_TEXT.match(value):
        return False
    try:
        plain = base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_" if set("-_") & set(value) else None)
    except (ValueError, binascii.Error):
        return False
    return b":" in plain and all(32 <= byte < 127 for byte in plain)


# --- forms that are secrets wherever they stand -----------------------------------------------------------------------------------


def mask_scheme(match: re.Match[str]) -> str:
    """`Bearer abc...` and `Basic abc...` outside of a header; words such as «Basic authentication» stay."""
    scheme, value = match.groups()
    plain_word = value.isalpha() and (value.islower() or value.istitle()) and len(value) < 20
    if scheme.lower().startswith("basic"):
        return scheme + MASK if is_login(value) else match.group()
    return match.group() if plain_word else scheme + MASK


FORMS: tuple[tuple[re.Pattern[str], Any], ...] = (
    (re.compile(r"(?i)\b(bearer\s{1,4}|basic\s{1,4})([\w.~+/=-]{6,4096})"), mask_scheme),
    (re.compile(r"(?<![\w-])eyJ[\w-]{8,}\.[\w-]{4,}(?:\.[\w-]*)*"), MASK),  # JWT
    (
        re.compile(
            r"(?<![A-Za-z0-9])(?:hf_[A-Za-z0-9]{16,}|api_org_[A-Za-z0-9]{16,}|gh[opusr]_[A-Za-z0-9]{16,}|github_pat_\w{20,}"
            r"|gl(?:pat|ptt|dt|rt|cbt|ft|soat|agent)-[\w-]{16,}|xox[abeoprs]-[\w-]{10,}|xapp-[\w-]{10,}|npm_[A-Za-z0-9]{20,}|pypi-[\w-]{16,}"
            r"|dckr_(?:pat|oat)_[\w-]{16,}|dop_v1_[a-f0-9]{32,}|nvapi-[\w-]{16,}|r8_[A-Za-z0-9]{20,}|gsk_[A-Za-z0-9]{20,}|xai-[A-Za-z0-9]{20,}"
            r"|hv[sbr]\.[\w-]{16,}|[rs]k_(?:live|test)_[A-Za-z0-9]{10,}|whsec_[A-Za-z0-9]{16,}|SG\.[\w-]{16,}\.[\w-]{16,}|ya29\.[\w-]{16,}"
            r"|AIza[\w-]{30,}|(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{12,20}|LTAI[A-Za-z0-9]{12,24}|AKID[A-Za-z0-9]{13,40}|AGE-SECRET-KEY-1[A-Z0-9]{20,}"
            r"|sk-[A-Za-z0-9][\w-]{15,}|ms-[a-f0-9]{8}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{12})(?![A-Za-z0-9])"
        ),
        MASK,
    ),
    (re.compile(r"\$(?:1|2[abxy]|5|6|y|7|gy|apr1|argon2\w{1,2}|scrypt|pbkdf2[\w-]{0,10})\$[^\s:\"']{8,400}"), MASK),  # hashed passwords
    (re.compile(r"(\b(?:redis-cli\b[^\n]{0,200}? -a|htpasswd\s{1,4}-\w{0,8}b\w{0,8}\s{1,4}\S{1,200}\s{1,4}\S{1,100})\s{1,4})\S+"), r"\1" + MASK),
    (re.compile(r"(\becho\s{1,4})[^\n|]{1,400}?(?=\s{0,4}\|\s{0,4}[^\n|]{0,100}--password-stdin)"), r"\1" + MASK),
    (re.compile(r"(?i)(\bpassword for [^\n]{1,80}?: {0,4})(?=\S+\s*$)\S+"), r"\1" + MASK),
    (re.compile(r"(?i)(\blogin\s{1,4}\S{1,200}\s{1,80}password\s{1,4})\S+"), r"\1" + MASK),  # .netrc
    (re.compile(r"(?i)(\b(?:identified\s{1,4}by|(?:with\s{1,4})?password)\s{1,4})'[^'\n]{1,400}'"), r"\1'" + MASK + "'"),  # SQL
    (re.compile(r"(?im)(^\s{0,20}(?:requirepass|masterauth|rootpw|auth)\s{1,8})\S+\s*$"), r"\1" + MASK),  # redis, ldap
    (re.compile(r"((?:^|\s)(?:-u|-U|--user|--proxy-user|--creds|--src-creds|--dest-creds)(?:\s{1,4}|=|(?=:))['\"]?[^\s:'\"]{0,128}:)[^\s'\"]+"), r"\1" + MASK),
    # A header or a variable inside of a URL.
    (
        re.compile(
            r"(?i)(\b[\w-]{0,40}(?:authorization|cookie|api[_-]?key|token|passw(?:or)?d|secret)(?:%3a|%3d|%22%3a%22)"
            r"(?:%20|\+){0,4}(?:(?:bearer|basic|token)(?:%20|\+){1,4})?)(?:[\w.~*/=+-]|%(?!26)[0-9a-f]{2}){4,4000}"
        ),
        r"\1" + MASK,
    ),
    # `login USER PASSWORD` of registries' and databases' shells; words of prose have no capital, small letter and digit at once.
    (re.compile(r"(?i)(\blogin\s{1,4}(?!-)\S{1,100}\s{1,4})(?-i:(?=\S{0,100}[a-z])(?=\S{0,100}[A-Z])(?=\S{0,100}\d))\S{8,200}"), r"\1" + MASK),
    (re.compile(r"(\bhooks\.slack\.com/(?:services|workflows)/)[\w/-]{10,200}"), r"\1" + MASK),
    (re.compile(r"(\bsshpass\s{1,4}-p\s{0,4})(?:'[^'\n]*'|\"[^\"\n]*\"|\S+)"), r"\1" + MASK),
    (
        re.compile(
            r"(\b(?:docker|podman|nerdctl|skopeo|mysql|mysqldump|mariadb)\b[^\n]{0,300}?\s-p\s{0,4})(?=\S)(?!\d{1,5}:\d)(?!\d{1,3}\.\d)"
            r"(?:'[^'\n]*'|\"[^\"\n]*\"|\S+)"
        ),
        r"\1" + MASK,
    ),
    (re.compile(r"(?i)(<([\w.:-]{0,40}(?:passw(?:or)?d|secret|token|api[_-]?key)[\w.:-]{0,20})(?:\s[^<>\n]{0,200})?>)[^<\n]{1,2000}(?=<)"), r"\1" + MASK),
    (re.compile(r"(?im)(^\s{0,8}(?:ENV|ARG)\s{1,4}\w{0,60}(?:TOKEN|PASSWORD|SECRET|_KEY)\s{1,4})\S+"), r"\1" + MASK),  # Dockerfile
)  # fmt: skip


def masked(text: str, secrets: Iterable[str] = ()) -> str:
    """A text without secrets: the known ones in every spelling, then what a name, a form or a prefix gives away."""
    text = without_blocks(without_known(text, secrets))
    text = QUERY.sub(lambda match: match.group(1) + MASK, URL.sub(mask_url, text))
    text = without_named(BARE_LOGIN.sub(lambda match: match.group(1) + ":" + MASK + "@", text))
    for pattern, to in FORMS:
        text = pattern.sub(to, text)
    return text
