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
from ansible.module_utils.serving.tool_secrets import without_tools
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


# How tokens begin, and at least how long they are.
PREFIXED = (
    r"hf_[A-Za-z0-9]{16,}", r"hf_oauth_[\w.-]{16,}", r"api_org_[A-Za-z0-9]{16,}", r"gh[opusr]_[A-Za-z0-9]{16,}", r"github_pat_\w{20,}",
    r"gl(?:pat|ptt|dt|rt|cbt|ft|soat|agent|oas|imt|ffct)-[\w-]{16,}", r"GR1348941[\w-]{20,}", r"xox[abeoprs]-[\w-]{10,}", r"xapp-[\w-]{10,}",
    r"npm_[A-Za-z0-9]{20,}", r"pypi-[\w-]{16,}", r"oy2[a-z0-9]{43}", r"rubygems_[a-f0-9]{40,}", r"dckr_(?:pat|oat)_[\w-]{16,}", r"do[por]_v1_[a-f0-9]{32,}",
    r"nvapi-[\w-]{16,}", r"r8_[A-Za-z0-9]{20,}", r"gsk_[A-Za-z0-9]{20,}", r"xai-[A-Za-z0-9]{20,}", r"pplx-[A-Za-z0-9]{20,}", r"jina_[A-Za-z0-9]{20,}",
    r"csk-[a-z0-9A-Z]{20,}", r"fw_[A-Za-z0-9]{20,}", r"wandb_v1_\w{20,}", r"lsv2_(?:pt|sk)_\w{20,}", r"bce-v3/ALTAK-[\w/-]{20,}", r"ABSK[A-Za-z0-9+/=]{30,}",
    r"hv[sbr]\.[\w-]{16,}", r"[rs]k_(?:live|test)_[A-Za-z0-9]{10,}", r"whsec_[A-Za-z0-9]{16,}", r"SG\.[\w-]{16,}\.[\w-]{16,}", r"ya29\.[\w-]{16,}",
    r"AIza[\w-]{30,}", r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{12,20}", r"LTAI[A-Za-z0-9]{12,24}", r"AKID[A-Za-z0-9]{13,40}", r"AKCp[A-Za-z0-9]{60,}",
    r"AGE-SECRET-KEY-1[A-Z0-9]{20,}", r"A3-[A-Z0-9]{6}-(?:[A-Z0-9]{5,11}-){3,5}[A-Z0-9]{5}", r"dapi[a-f0-9]{32}", r"gl(?:sa|c)_[\w+/=]{30,}",
    r"ATATT3[\w=-]{30,}", r"NRAK-[A-Z0-9]{20,}", r"PMAK-[a-f0-9]{20,}-[a-f0-9]{20,}", r"pul-[a-f0-9]{40}", r"lin_(?:api|oauth)_[A-Za-z0-9]{30,}",
    r"ntn_[A-Za-z0-9]{40,}", r"pscale_(?:tkn|pw|oauth)_[\w.-]{20,}", r"sntry[us]_[\w=+/-]{30,}", r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}",
    r"sgp_\w{30,}", r"tskey-[a-z]{2,8}-[\w-]{16,}", r"dp\.(?:pt|st|ct|sa|scim|audit)\.[\w.-]{20,}", r"dt0[a-z]\d\d\.[A-Z0-9]{20,}\.[A-Z0-9]{20,}",
    r"xkeysib-[a-f0-9]{40,}-[A-Za-z0-9]{10,}", r"sha256~[\w-]{43}", r"sq0(?:atp|csp)-[\w-]{20,}", r"fo1_[\w-]{40,}", r"HRKU-AA[\w-]{40,}",
    r"EAA[MC][A-Za-z0-9]{30,}", r"tfp_[\w-]{40,}", r"sk-[A-Za-z0-9][\w-]{15,}",
    r"ms-[a-f0-9]{8}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{12}",
)  # fmt: skip
FORMS: tuple[tuple[re.Pattern[str], Any], ...] = (
    (re.compile(r"(?i)\b(bearer:?(?:\s|%20){1,4}|basic(?:\s|%20){1,4})([\w.~+/=-]{6,4096})"), mask_scheme),
    (re.compile(r"(?<![\w-])eyJ[\w-]{8,}\.[\w-]{4,}(?:\.[\w-]*)*"), MASK),  # JWT
    (re.compile(r"(?<![A-Za-z0-9])(?:" + "|".join(PREFIXED) + r")(?![A-Za-z0-9])"), MASK),
    (re.compile(r":A(?<=\d{5}:A)[\w-]{34}(?![\w-])"), MASK),  # Telegram
    (re.compile(r"Q~(?<=\dQ~)[\w.~-]{31,40}(?![\w-])"), MASK),  # Azure
    (re.compile(r"\$(?:1|2[abxy]|5|6|y|7|gy|apr1|argon2\w{1,2}|scrypt|pbkdf2[\w-]{0,10})\$[^\s:\"']{8,400}"), MASK),  # hashed passwords
    (re.compile(r"(?i)(\bpassword for [^\n]{1,80}?: {0,4})(?=\S+\s*$)\S+"), r"\1" + MASK),
    # A header or a variable inside of a URL.
    (
        re.compile(
            r"(?i)((?=[actps])(?:authorization|cookie|api[_-]?key|token|passw(?:or)?d|secret)(?:%3a|%3d|%22%3a%22)"
            r"(?:%20|\+){0,4}(?:(?:bearer|basic|token)(?:%20|\+){1,4})?)(?:[\w.~*/=+-]|%(?!26)[0-9a-f]{2}){4,4000}"
        ),
        r"\1" + MASK,
    ),
    # A bare `key "X"` may be anything's; it is a secret where the line goes on with who refused it.
    (
        re.compile(
            r"(?i)(\bkey\s{1,3}[\"'`])(?=[\w+/=.~-]{0,200}\d)(?=[\w+/=.~-]{0,200}[a-z])[\w+/=.~-]{8,400}"
            r"(?=[\"'`][^\n]{0,80}\b(?:api[ _-]?key|unauthori[sz]ed|not authori[sz]ed|authenticat|40[13]\b|(?:was|is|been) (?:rejected|revoked|expired)\b))"
        ),
        r"\1" + MASK,
    ),
    # `login USER PASSWORD` of registries' and databases' shells; words of prose have no capital, small letter and digit at once.
    (re.compile(r"(?i)(\blogin\s{1,4}(?!-)\S{1,100}\s{1,4})(?-i:(?=\S{0,100}[a-z])(?=\S{0,100}[A-Z])(?=\S{0,100}\d))\S{8,200}"), r"\1" + MASK),
    (
        re.compile(
            r"(\b(?:hooks\.slack\.com/(?:services|workflows)/|open\.(?:feishu\.cn|larksuite\.com)/open-apis/bot/v2/hook/|api\.telegram\.org/(?:file/)?bot"
            r"|discord(?:app)?\.com/api/webhooks/\d{1,25}/|\.webhook\.office\.com/webhookb2/|hooks\.zapier\.com/hooks/catch/))[\w/:@-]{10,300}?"
            r"(?=/sendM|[^\w/:@-]|$)"
        ),
        r"\1" + MASK,
    ),
    (  # XML: the tag is called like a secret, or names one
        re.compile(
            r"(?i)(<(?:[\w.:-]{0,40}SECRET[\w.:-]{0,20}(?:\s[^<>\n]{0,200})?|[\w.:-]{1,40}\s[^<>\n]{0,100}?(?:name|key|id)=[\"'][\w.:-]{0,40}SECRET[\"'][^<>\n]{0,100})>"
            r")(?:(?!<)[^<\n]{1,2000}(?=</)|(<!\[CDATA\[)[^\n]{1,2000}?(?=\]\]>))".replace("SECRET", "(?:passw(?:or)?d|secret|token|api[_-]?key)")
        ),
        lambda match: match.group(1) + (match.group(2) or "") + MASK,
    ),
)  # fmt: skip


def masked(text: str, secrets: Iterable[str] = ()) -> str:
    """A text without secrets: the known ones in every spelling, then what a name, a form or a prefix gives away."""
    text = without_blocks(without_known(text, secrets)).replace("\0", " ")  # words of /proc/PID/cmdline and environ
    text = QUERY.sub(lambda match: match.group(1) + MASK, URL.sub(mask_url, text))
    text = without_tools(without_named(BARE_LOGIN.sub(lambda match: match.group(1) + ":" + MASK + "@", text)))
    for pattern, to in FORMS:
        text = pattern.sub(to, text)
    return text
