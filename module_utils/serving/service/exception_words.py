"""An exception's name and message in one form, whoever wrote it: Python, repr(), or the front process that repeats a worker."""

from __future__ import annotations

import re

CALLED = re.compile(
    r"^((?:\w{1,60}\.){0,4}\w{1,60}(?:Error|Exception))\(([\"'])(.{1,1400})\2,?\)$"
)  # an exception as repr() writes it
TUPLE = re.compile(
    r"^((?:\w{1,60}\.){0,4}\w{1,60}(?:Error|Exception)): \([\"'](.{1,1400})[\"'],?\)$"
)  # a message in several parts
# The front process repeats what a worker said: its words are the worker's.
REPEATED = re.compile(r"^RuntimeError: Worker failed with error '(?='?[^'\s,])")
REPEATED_KEY = re.compile(
    r"^RuntimeError: Worker failed with error '('[^']{1,200}')'(?:, please check[^\n]{0,70})?$"
)  # str() of a KeyError
# What only says that another error came, and gives that one's name and message behind its own: `InductorError: RuntimeError: ...`.
WRAPPED = re.compile(
    r"^(?:[A-Za-z_]\w{0,60}\.){0,8}[A-Z]\w{0,60}(?:Error|Exception|Failed|Unsupported)(?:\([^)\n]{0,80}\))?: (?:backend='[^'\n]{1,40}' raised: ?)?"
    r"(?=(?:[A-Za-z_]\w{0,60}\.){0,8}[A-Z]\w{0,60}(?:Error|Exception): \S)"
)
REPEATED_END = re.compile(r"'(?:, please check the stack trace above[^\n]{0,40})?$")


def words_of(text: str) -> str:
    words = TUPLE.sub(
        lambda of: "%s: %s" % (of[1], re.sub(r"[\"'], [\"']", "", of[2])), CALLED.sub(r"\1: \3", text.strip())
    )
    words = WRAPPED.sub("", REPEATED_KEY.sub(r"KeyError: \1", words))
    return REPEATED_END.sub("", REPEATED.sub("RuntimeError: ", words)) if REPEATED.match(words) else words
