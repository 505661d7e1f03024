"""Where Python was when compiled code crashed: what module faulthandler writes below "Fatal Python error", the innermost call first."""

from __future__ import annotations

import re
from typing import Iterable

from ansible.module_utils.serving.service.log_lines import strip

FATAL = re.compile(r"Fatal Python error: ")
THREAD = re.compile(r"Current thread \S{1,40}.{0,60}\(most recent call first\):")
FRAME = re.compile(r'\s{1,8}File "([^"\n]{1,400})", line (\d{1,7}) in (\S{1,100})')
PACKAGE = re.compile(r".*/(?:site|dist)-packages/")


def crashed_in(lines: Iterable[str]) -> str | None:
    """`flag_gems/ops/mul.py, line 40 (mul)` of the first crash that is told with its frames; None where none is."""
    crashed = current = False
    for line in lines:
        text = strip(line)[2]
        crashed = crashed or bool(FATAL.match(text))
        if crashed and current:
            frame = FRAME.match(text)
            return "%s, line %s (%s)" % (PACKAGE.sub("", frame[1]), frame[2], frame[3]) if frame else None
        current = crashed and bool(THREAD.match(text))
    return None
