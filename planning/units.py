"""Words of a systemd unit, quoted so that it reads them as they are (systemd.service(5), systemd.syntax(7))."""

from __future__ import annotations

import re
from collections.abc import Iterable

PLAIN = re.compile(r"[A-Za-z0-9_./:=@,+-]+")


def unit_words(words: Iterable[str], *, command: bool = True) -> str:
    """A line's value. In a `command` a dollar would be a variable; a percent sign is a specifier everywhere."""

    def quoted(word: str) -> str:
        text = word.replace("%", "%%").replace("$", "$$" if command else "$")
        return text if PLAIN.fullmatch(word) else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    return " ".join(map(quoted, words))
