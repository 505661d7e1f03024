"""Secrets that are known by the name in front of them, and where their value ends."""

from __future__ import annotations

import base64
import binascii
import re

from ansible.module_utils.serving.url_secrets import MASK

# --- names of secrets -------------------------------------------------------------------------------------------------------------

TAIL = re.compile(
    r"(?:values?|data|hash|plaintext|plain|base64|b64|encoded|old|new|current|previous|primary|secondary|[0-9]+)$"
)
SECRET = re.compile(
    r"(?:psk|bindpw|passw(?:or)?d|passphrase|passcode|passwort|pincode|seedphrase|mnemonic|artapi|(?:store|key|user|admin|login|ssh)pass|secrets?|secretid|credentials?|authorization|cookies?|sessionid|csrf|xsrf|requirepass"
    r"|(?:api|access|secret|private|auth|account|master|shared|session|signing|encryption|service|client|deploy|license|root|storage|app|activation"
    r"|subscription|recovery|unlock|hmac|aes)keys?"
    r"|accesskeyid|accesssignature|(?:auth|access|api|bearer|refresh|bot|id|session|registry|identity|security)tokens|token)$"
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
TONGUES = "密码|口令|密钥|令牌|パスワード|비밀번호|пароль|contraseña|wachtwoord|senha|mot de passe"
# With the letters that it may begin with in front, which is three times as fast.
KEYWORD = re.compile(
    r"(?i)(?=[abckmpstwx密口令パ비п])(?:pass|pwd|(?<![a-z])pw(?![a-z])|secret|token|key|credential|auth|cookie|sess|csrf|xsrf|sig|sas(?![a-z])|salt(?![a-z])|pepper(?![a-z])|creds?(?![a-z])|psk|bind_?pw"
    r"|pin[_ -]?code|mnemonic|seed_?phrase|art-api|" + TONGUES + r")(?:(?![是为])[\w.-]){0,60}"
)
OTHER_TONGUES = re.compile(r"(?i)(?:" + TONGUES + r")$")
HEADER = re.compile(r"(?i)(?:proxy-?)?authorization$|(?:set-?)?cookie$")
LOGINS = (
    "x-registry-auth",
    "auth",
    "_auth",
    "basic-auth",
    "basic_auth",
    "basicauth",
)  # secrets if they hold `user:password`
MAYBE = re.compile(
    r"(?i)(?:^|[_.-])(?:key|signature|sig|sas|salt|pepper|creds?|authentication)$|[A-Z]_AUTH$"
)  # secrets if the value is random
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
    if (SPOKEN & set(words) and last not in ABOUT) or OTHER_TONGUES.search(name):
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
# Names whose value is no count, be it of digits alone; `token: 32` may be one.
NO_COUNT = re.compile(
    r"(?i)pass|pwd|secret|pin[_ -]?code|" + TONGUES + r"|(?:api|access|auth|private|root|admin)[_. -]?key$"
)
SEPARATOR = re.compile(
    r"[\"'\]\\]{0,8}[ \t\xa0]{0,8}(?::=|=>|->|\\u003[adAD]|[:=\u2192\uff1a\uff1d是为])[ \t\xa0]{0,8}(?:!!?\w{1,20} )?"
)
# Letters and digits in one word: after a name of a secret it is one, without any `=` too.
PROSE = re.compile(
    r"[\"'\]]?\s{1,8}(?:\([^()\n]{1,40}\):? |for [\w@.-]{1,60}(?:: | (?=(?:is|was|set)\b)))?(?:is:? |was:? )?(?:set to |provided:? )?[\"'(]?"
    r"(?=[\w+/=.~-]{0,200}\d)(?=[\w+/=.~-]{0,200}[A-Za-z])(?=[\w+/=.~-]{8,400}(?:[\s\"',;)]|$))"
)
RANDOM = re.compile(r"(?=.{0,200}[a-z])(?=.{0,200}[A-Z])(?=.{0,200}\d)[A-Za-z0-9+/_=-]{16,}$")
PASSWORD = re.compile(r"(?=.{0,200}[a-z])(?=.{0,200}[A-Z])(?=.{0,200}\d)[^\s\"'<>]{8,}$")
LISTED = re.compile(r"\\{0,7}[\"']\s{0,4},\s{0,4}(?=b?\\{0,7}[\"'])")
# ("api_key", "abc"): the second word is the first one's value where it looks like one, for names alone are listed, too.
PAIR = re.compile(
    r"\\{0,7}[\"']\s{0,4},\s{0,4}(?=b?\\{0,7}[\"'](?=[\w+/=.~-]{0,200}\d)(?=[\w+/=.~-]{0,200}[a-z])(?=[\w+/=.~-]{0,200}[A-Z])[\w+/=.~-]{16,400}\\{0,7}[\"'])"
)
# A cell of a table, an argument, a list of two: only what is random is a value there.
CELL = re.compile(
    r"[\"'\])]{0,2}[ \t]{0,8}[|,/(\[][ \t]{0,8}[\"']?"
    r"(?=[\w+=.~-]{0,60}\d)(?=[\w+=.~-]{0,60}[a-z])(?=[\w+=.~-]{0,60}[A-Z])(?=[A-Za-z0-9+=]{14,400}(?:[\s\"',;)|\]]|$))"
)
# What was typed at a prompt, on a line of its own.
TYPED = re.compile(r"[ \t]{0,8}\n(?=([^\s:-][^\s:]{0,400})[ \t]{0,8}(?:\n|$))")
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
        separator = PAIR.match(text, end) or PROSE.match(text, end) or CELL.match(text, end)
    if separator is None:
        return None
    before = text[left - 1 : left] if left else ""
    spoken = re.search(r"(?i)pass|pwd|secret", name) is not None
    line = text.rfind("\n", max(0, left - 200), left)
    if spoken and (typed := TYPED.match(text, separator.end())) and not typed[1].isalpha():
        return typed.span(1)
    if HEADER.search(name) or "phrase" in name.lower() or (spoken and not text[line + 1 : left].strip(" \t-")):
        start, stop = value_span(text, separator.end(), before if before in ("'", '"') else "", True)
    else:
        start, stop = value_span(text, separator.end(), WORD_ENDS + "&" * (before in ("?", "&", ";")), False)
    value = text[start:stop]
    if (
        not value
        or HARMLESS.match(value)
        or (COUNT.match(value) and not NO_COUNT.search(name))
        or (name.lower() in LOGINS and not is_login(value))
    ):
        return None
    random = PASSWORD if name.endswith("_AUTH") else RANDOM
    if not is_secret(name) and name.lower() not in LOGINS and not random.match(value):
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
