"""Texts without secrets: what is known first, in every spelling, then what looks like one by its name, its form or its prefix.

Nothing here judges by randomness alone: digests, commits, UUIDs and paths must stay readable. Every step is linear in the text's
length, whatever the text is: no expression repeats without a bound in front of something that may fail.
"""

from __future__ import annotations

import bisect
import re
from typing import Any, Iterable

from ansible.module_utils.serving.known_secrets import without_known
from ansible.module_utils.serving.named_secrets import is_login, without_named
from ansible.module_utils.serving.url_secrets import BARE_LOGIN, MASK, QUERY, URL, mask_url

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


# --- forms that are secrets wherever they stand -----------------------------------------------------------------------------------


def mask_scheme(match: re.Match[str]) -> str:
    """`Bearer abc...` and `Basic abc...` outside of a header; words such as «Basic authentication» stay."""
    scheme, value = match.groups()
    plain_word = value.isalpha() and (value.islower() or value.istitle()) and len(value) < 20
    if scheme.lower().startswith("basic"):
        return scheme + MASK if is_login(value) else match.group()
    return match.group() if plain_word else scheme + MASK


FORMS: tuple[tuple[re.Pattern[str], Any], ...] = (
    (re.compile(r"(?i)\b(bearer:?\s{1,4}|basic\s{1,4})([\w.~+/=-]{6,4096})"), mask_scheme),
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
            r"(?i)((?:authorization|cookie|api[_-]?key|token|passw(?:or)?d|secret)(?:%3a|%3d|%22%3a%22)"
            r"(?:%20|\+){0,4}(?:(?:bearer|basic|token)(?:%20|\+){1,4})?)(?:[\w.~*/=+-]|%(?!26)[0-9a-f]{2}){4,4000}"
        ),
        r"\1" + MASK,
    ),
    # `login USER PASSWORD` of registries' and databases' shells; words of prose have no capital, small letter and digit at once.
    (re.compile(r"(?i)(\blogin\s{1,4}(?!-)\S{1,100}\s{1,4})(?-i:(?=\S{0,100}[a-z])(?=\S{0,100}[A-Z])(?=\S{0,100}\d))\S{8,200}"), r"\1" + MASK),
    (
        re.compile(
            r"(\b(?:hooks\.slack\.com/(?:services|workflows)/|open\.(?:feishu\.cn|larksuite\.com)/open-apis/bot/v2/hook/|api\.telegram\.org/bot"
            r"|discord(?:app)?\.com/api/webhooks/\d{1,25}/))[\w/:-]{10,200}?(?=/sendM|[^\w/:-]|$)"
        ),
        r"\1" + MASK,
    ),
    # Options of tools that take a secret under a name of one letter.
    (
        re.compile(
            r"(\b(?:ipmitool\b[^\n]{0,300}?\s-P|openssl\b[^\n]{0,300}?\s-[kK]|ldap\w{2,10}\b[^\n]{0,300}?\s-w|snmp\w{2,10}\b[^\n]{0,300}?\s-[AX]"
            r"|curl\b[^\n]{0,300}?\s(?:-b|--cookie)|wandb\s{1,4}login|wpa_passphrase\s{1,4}\S{1,100}|mc\s{1,4}alias\s{1,4}set(?:\s{1,4}\S{1,200}){3})\s{1,4})"
            r"(?!-)(?:'[^'\n]*'|\"[^\"\n]*\"|\S+)"
        ),
        r"\1" + MASK,
    ),
    (re.compile(r"(\bsmbclient\b[^\n]{0,300}?\s-U\s{0,4}[^\s%]{1,100}%)\S+"), r"\1" + MASK),
    (re.compile(r"(?m)(^\s{0,20}stats\s{1,4}auth\s{1,4}[^\s:]{1,100}:)\S+"), r"\1" + MASK),  # HAProxy
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
