"""Secrets that stand where a tool takes them: options of one letter, what is piped to it, what is written to a file of secrets.

Every expression is bounded: it takes linear time on any text.
"""

from __future__ import annotations

import re

from ansible.module_utils.serving.named_secrets import HARMLESS, is_secret
from ansible.module_utils.serving.url_secrets import MASK

VALUE = r"(?:'[^'\n]*'|\"[^\"\n]*\"|\S+)"
BESIDE = r"\b[^\n]{0,300}?\s"
TALK = r"(?!(?:is|was|are|has|had|not|for|from|in|on|of|and|or|to|with|failed|command|string|must|can|may)(?:\s|$))"  # a sentence about a tool goes on so
PROPERTY = r"(?:Configuration|Platform|\w{0,20}Version|Out(?:Dir|putPath)|DefineConstants|TargetFramework|DeployOnBuild|PublishProfile|Restore\w{0,20})"
# Before the login of ssh and its like stand options alone; `ssh to a:b@c` is a sentence.
SSH_OPTIONS = (
    r"(?:\s{1,4}--?\w\S{0,200}(?:\s{1,4}(?!-)(?:\"[^\"\n]{0,200}\"|'[^'\n]{0,200}'|[^\s'\"]{1,100})(?=\s))?){0,10}"
)
# What may stand before an option that takes a secret, each with the option.
OPTIONS = (
    r"ipmitool" + BESIDE + "-P",
    r"openssl" + BESIDE + "-[kK]",
    r"ldap\w{2,10}" + BESIDE + "-w",
    r"snmp(?!_)\w{2,10}(?=\s)" + BESIDE + "-[AXc]",
    r"curl" + BESIDE + "(?:-b|--cookie)",
    r"(?:un)?zip" + BESIDE + "-P",
    r"(?:sqlcmd|osql|bcp)" + BESIDE + "-P",
    r"openssl\s{1,4}passwd(?:\s{1,4}-(?:[156]|apr1|aixmd5|crypt|noverify|quiet|table|reverse|-|(?:salt|in|out)\s{1,4}\S{1,200})){0,6}",
    r"htpasswd(?=[^\n]{0,60}\s-\w{0,7}n)(?=[^\n]{0,60}\s-\w{0,7}b)(?:\s{1,4}-\w{1,8}(?:\s{1,4}\d{1,2}(?=\s))?){1,5}\s{1,4}"
    + TALK
    + r"[^\s-]\S{0,100}",
    r"snmp-server\s{1,4}(?:community|host\s{1,4}"
    + TALK
    + r"\S{1,100}(?:\s{1,4}(?:traps|informs))?(?:\s{1,4}version\s{1,4}(?:1|2c))?)(?!\s{1,4}(?:version|traps|informs))",
    r"snmp-server\s{1,4}user\s[^\n]{0,200}?\b(?:auth\s{1,4}(?:md5|sha)[\d-]{0,5}|priv\s{1,4}(?:3?des|aes(?:[\s-]{0,4}\d{3})?))",
    r"(?:redfish\w{0,10}|rf_\w{1,40}|racadm|ilorest|mongo\w{0,10}|cqlsh|useradd|usermod|rdesktop)" + BESIDE + "-p",
    r"login" + BESIDE + r"-p(?!\s{1,4}\d{1,5}(?:\s|$))",
    r"wandb\s{1,4}login(?=\s{1,4}\S{0,100}\d)",
    r"wpa_passphrase\s{1,4}\S{1,100}",
    r"mc\s{1,4}alias\s{1,4}set(?:\s{1,4}\S{1,200}){3}",
    r"SMCIPMITool(?:\s{1,4}\S{1,200}){2}",
    r"npm\s{1,4}config\s{1,4}set\s{1,4}_auth",
    r"net\s{1,4}use(?:\s{1,4}[A-Za-z*]:?)?\s{1,4}\\\\\S{1,200}(?:\s{1,4}/user:\S{1,100})?(?=\s{1,4}[^/\s])",
    r"r[ow]community6?",
    r"com2sec(?:\s{1,4}[\w:./-]{1,100}){2}",
    r"createUser\s{1,4}\S{1,100}\s{1,4}(?:MD5|SHA)[\d-]{0,5}",
    r"vault\s{1,4}(?:operator\s{1,4})?(?:login|unseal)(?=\s{1,4}\S{0,100}\d)",
)
# Tools that read a secret from their input.
READERS = (
    r"(?:--password-stdin|--with-token|\bchpasswd\b|\bsmbpasswd\b|\bpasswd\b[^\n|]{0,60}--stdin|\bsudo\s{1,4}(?:-\w{1,8}(?:\s{1,4}[\w.-]{1,60})?\s{1,4}){0,3}-\w{0,4}S\b"
    r"|\bcryptsetup\b|\bsecret\s{1,4}create\b|\bkinit\b|--passphrase-fd|\bvault\s{1,4}login)"
)
FILE = re.compile(r"(?:>{1,2}|\btee(?:[ \t]{1,4}-a)?(?=[ \t]))[ \t]{0,4}(?:-a[ \t]{1,4})?['\"]?([^\s;&|'\"<>]{1,300})")
FILES = ("netrc", "pgpass", "htpasswd")
READER = re.compile(READERS)
SHOWN = re.compile(
    r"(\b(?:echo|printf)[ \t]{1,4})((?:'[^'\n]{0,400}'|\"[^\"\n]{0,400}\"|'(?![^'\n]{0,400}')|\"(?![^\"\n]{0,400}\")|[^\n|>'\"]){1,400}?)"
    r"(?=[ \t]{0,4}(>{1,2}[ \t]{0,4}\S[^\n]{0,200}|\|[^\n]{0,200}))"
)
HERE_TEXT = re.compile(
    r"(?<!<)<<-?[ \t]?(['\"]?)(\w{1,20})\b\1([^\n]{0,200})\n(.{1,4000}?)(?=\n[ \t]{0,20}\2[ \t]{0,20}(?:\n|$))", re.S
)
HERE_WORD = re.compile(r"(?<!<)<<<[ \t]{0,4}(" + VALUE + ")")


def of_secrets(command: str) -> bool:
    """Does this part of a command line give what it gets to a tool that reads a secret, or to a file that is called like one?"""
    if READER.search(command):
        return True
    for match in FILE.finditer(command):
        name = match[1].rpartition("/")[2].lstrip(".")
        stem, _, ending = name.partition(".")
        if stem in FILES or is_secret(name) or (ending in ("", "txt", "key", "env", "password") and is_secret(stem)):
            return True
    return False


def mask_shown(match: re.Match[str]) -> str:
    if HARMLESS.match(match[2].strip("'\"")) or not of_secrets(match[3]):
        return match.group()
    return "%s%s" % (match[1], MASK)


def mask_here(match: re.Match[str], line_end: str, span: tuple[int, int]) -> str:
    """What a shell gives to the command of this line, without its secret, which is at `span`."""
    text = match.string
    line = text[max(text.rfind("\n", 0, match.start()) + 1, match.start() - 200) : match.start()] + " " + line_end
    whole: str = match.group()
    return whole[: span[0] - match.start()] + MASK + whole[span[1] - match.start() :] if of_secrets(line) else whole


LOGIN_NAMES = r"auth\s{0,4}=\s{0,4}\(|BasicAuth\(|[lL]ogin\("
TOOLS = tuple(
    (re.compile(pattern, flags), to)
    for pattern, flags, to in (
        (r"(\b(?:" + "|".join(OPTIONS) + r")\s{1,4})(?!-)" + TALK + VALUE, 0, r"\1" + MASK),
        (r"(\b(?:sqlcmd|osql|bcp)(?=[^\n]{0,300}\s-[SU])" + BESIDE + r"-P)(?=[^\s-])" + VALUE, 0, r"\1" + MASK),
        (r"(\brf_\w{1,40}(?:\.py)?(?=[^\n]{0,300}\s-[ru]\s)" + BESIDE + r"-p)(?=[^\s-])" + VALUE, 0, r"\1" + MASK),
        (r"(snmp-server\s{1,4}user\s[^\n]{0,300}?\bpriv\s{1,4}(?:3?des|aes(?:[\s-]{0,4}\d{3})?)\s{1,4})" + VALUE, 0, r"\1" + MASK),
        (r"(createUser(?:\s{1,4}\S{1,100}){3}\s{1,4}(?:DES|AES)[\d-]{0,5}\s{1,4})" + VALUE, 0, r"\1" + MASK),  # snmpd's second one
        (r"(7z\w?\b[^\n]{0,300}?\s-p)(?=\S)" + VALUE, 0, r"\1" + MASK),
        (r"(lftp\b[^\n]{0,300}?\s-u\s{0,4}[^\s,]{1,100},)\S+", 0, r"\1" + MASK),
        (r"(\b(?:smbclient|winexe|rpcclient|smbmap|wmic|net\s{1,4}(?:rpc|ads))\b[^\n]{0,300}?\s-U\s{0,4}[^\s%]{1,100}%)(?![sdhu](?:\s|$))\S+", 0, r"\1" + MASK),
        (r"(\b[xw]?freerdp\w{0,4}\b[^\n]{0,300}?\s/p:)" + VALUE, 0, r"\1" + MASK),
        # Beside /u:, but for msbuild's properties, ports and numbers.
        (r"(\s/u(?:ser)?:\S{1,100}[^\n]{0,200}?\s/p:)(?!" + PROPERTY + r"=|\d{1,5}(?:\s|$))" + VALUE, re.I, r"\1" + MASK),
        (r"(\s/p:)(?!" + PROPERTY + r"=|\d{1,5}\s)" + VALUE + r"(?=[^\n]{0,200}\s/u(?:ser)?:)", re.I, r"\1" + MASK),
        (r"(\b(?:mount|cifs)\b[^\n]{0,200}?\buser(?:name)?=[^\s,%]{1,100}%)(?![sdhu](?:\s|,|$))[^\s,]+", 0, r"\1" + MASK),
        # `user:password@host` without `//`: a copy has a path behind the host, and what has none is a file called like one of our models.
        # A path may have a revision (`host:model@main:latest`, `image:tag@sha256:...`).
        (
            r"(\b(?:scp|rsync)\s[^\n]{0,300}?(?<=[\s'\"])[\w.-]{1,64}:)(?!\d{1,5}@)[^\s@:/'\"]{1,128}(?=@(?!(?:sha\d{3}|main|master|latest):[^\s/])[\w.-]{1,253}:)",
            0, r"\1" + MASK,
        ),
        (
            r"(\b(?:ssh|sftp|ftp|lftp)" + SSH_OPTIONS + r"\s{1,4}['\"]?[\w.-]{1,64}:)(?!\d{1,5}@)[^\s@:'\"]{1,128}(?=@[\w.-]{1,253}(?:[\s:'\"]|$))",
            0, r"\1" + MASK,
        ),
        (r"(sshpass\s{1,4}-p\s{0,4})" + VALUE, 0, r"\1" + MASK),
        (
            r"(\b(?:docker|podman|nerdctl|skopeo|mysql|mysqldump|mariadb)\b[^\n]{0,300}?\s-p\s{0,4})(?=\S)(?!\d{1,5}:\d)(?!\d{1,3}\.\d)" + VALUE,
            0, r"\1" + MASK,
        ),
        (r"(\b(?:redis-cli\b[^\n]{0,200}? -a|htpasswd\s{1,4}-\w{0,8}b\w{0,8}\s{1,4}\S{1,200}\s{1,4}\S{1,100})\s{1,4})\S+", 0, r"\1" + MASK),
        (r"((?:^|\s)(?:-u|-U|--user|--proxy-user|--creds|--src-creds|--dest-creds)(?:\s{1,4}|=|(?=:))['\"]?[^\s:'\"]{0,128}:)[^\s'\"]+", 0, r"\1" + MASK),
        (r"(--from-literal[= ]['\"]?[\w.-]{1,100}=)[^\s'\"]+", 0, r"\1" + MASK),
        (r"((?:" + LOGIN_NAMES + r")\s{0,4}(['\"])[^'\"\n]{1,100}\2\s{0,4},\s{0,4}\2)[^'\"\n]{1,400}", 0, r"\1" + MASK),
        # Files of tools: redis, ldap, HAProxy, .netrc, .pgpass, htdigest; Dockerfiles.
        (r"(^[\s>]{0,20}(?:requirepass|masterauth|rootpw|auth(?:\s{1,4}default)?)\s{1,8})\S+\s*$", re.I | re.M, r"\1" + MASK),
        (r"(^\s{0,20}stats\s{1,4}auth\s{1,4}[^\s:]{1,100}:)\S+", re.M, r"\1" + MASK),
        (r"(\blogin\s{1,4}\S{1,200}\s{1,80}password\s{1,4})\S+", re.I, r"\1" + MASK),
        (r"(^(?!\S{0,250}\.py:)(?=\S{0,250}[g-zG-Z_*])[^\s:]{1,253}:(?:\d{4,5}|\*):[^\s:]{1,63}:[^\s:]{1,63}:)[^\s:]{1,200}$", re.M, r"\1" + MASK),
        (r"(\bhtdigest\b[^\n]{0,200}?:)[0-9a-f]{32}\b", re.I, r"\1" + MASK),
        (r"(^\s{0,8}(?:ENV|ARG)\s{1,4}\w{0,60}(?:TOKEN|PASSWORD|SECRET|_KEY)\s{1,4})\S+", re.I | re.M, r"\1" + MASK),
        # SQL
        (r"(\b(?:identified\s{1,4}by|(?:with\s{1,4})?password)(?:\s{1,4}|\s{0,4}\(\s{0,4}))(['\"])[^'\"\n]{1,400}\2", re.I, r"\1\2" + MASK + r"\2"),
    )
)  # fmt: skip


def without_tools(text: str) -> str:
    """A text without what command lines, scripts and files of tools give away by its place."""
    text = SHOWN.sub(mask_shown, text)
    text = HERE_TEXT.sub(lambda match: mask_here(match, match[3], match.span(4)), text)
    text = HERE_WORD.sub(lambda match: mask_here(match, "", match.span(1)), text)
    for pattern, to in TOOLS:
        text = pattern.sub(to, text)
    return text
