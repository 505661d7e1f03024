"""The reason that the system gave in a message ("permission denied"), and whether a row of hints speaks of that reason.

A row knows what failed by the words of whoever says it; the same words end in quite different reasons. A row that explains a firewall rule by
modules that are missing is wrong where the message goes on with "Permission denied (you must be root)".
"""

from __future__ import annotations

import errno
import os
import re

# How the system says it, and a word of which a row that knows the reason uses at least one.
REASONS = tuple(
    (re.compile("(?i)" + said), re.compile("(?i)" + spoken_of))
    for said, spoken_of in (
        (
            r"permission denied|operation not permitted|\bE(?:ACCES|PERM)\b",
            r"may not|permission|rights|read-only|selinux|apparmor|root|allow|\bown|forbid|refuse|\bmode\b|noexec|privilege|seccomp",
        ),
        (
            r"no space left on device|disk quota exceeded|\bENOSPC\b",
            r"disk|space|full|room|quota|inode|too small|limit",
        ),
        (r"read-only file system|\bEROFS\b", r"read-only|may not|writ|cgroup"),
        (r"too many open files|\bEMFILE\b", r"open files|nofile|descriptor|limit"),
        (
            r"name or service not known|temporary failure in name resolution|failed to lookup address information|nodename nor servname",
            r"\bdns\b|resolv|reach|\bnames?\b",
        ),
        (r"certificate verify failed|x509: ", r"certificat|\bCA\b|clock"),
        (r"cannot allocate memory|\bENOMEM\b", r"memory|limit"),
    )
)


def speaks_of(meaning: str, matched: str, text: str) -> bool:
    """Whether a row (`meaning`: its cause and remedy) speaks of each reason of the system in `text`; what its own pattern matched, it knows."""
    return all(spoken_of.search(meaning) or said.search(matched) for said, spoken_of in REASONS if said.search(text))


# Each reason that the system has, as it stands at the end of a part of a message: `...: Device or resource busy`.
EACH = re.compile(
    r"(?i)[:(\]] ?(%s)(?=[\s.:;,)'\"]|$)"
    % "|".join(sorted({re.escape(os.strerror(number)) for number in errno.errorcode}, key=len, reverse=True))
)


MISSING = re.compile(r"(?i)missing|not (?:there|installed|found|in the)|\bgone\b|removed|no such|\bno\b")


def gives_another_reason(row: str, text: str) -> bool:
    """Whether `text` gives a reason of the system of which a row (its words, with its pattern) does not speak; those of `speaks_of` are asked there."""
    known = row.lower()
    for reason in EACH.findall(text):
        spoken_of = reason.lower() in known or any(said.search(reason) for said, _ in REASONS)
        if not spoken_of and not (reason.lower() == "no such file or directory" and MISSING.search(row)):
            return True
    return False
