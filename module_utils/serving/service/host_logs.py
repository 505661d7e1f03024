"""Any log of a host, read by its end and explained: what drivers, kernel modules, container engines and package managers say."""

from __future__ import annotations

import os
import stat
import subprocess
from typing import Any

from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.files import at_once
from ansible.module_utils.serving.service.failures import explain, what_that
from ansible.module_utils.serving.service.statements import LINES

BYTES = 4 << 20  # of a file's end
SECONDS = 30
KERNEL = "kernel"


def read_file(path: str) -> tuple[list[str], str]:
    """(its last lines, its path). What is no file is refused, also a pipe, which would never end."""
    try:
        number = at_once(path, os.O_RDONLY)
    except OSError as error:
        raise Refusal("log file '%s' can't be read: %s; name one of the host" % (path, error.strerror)) from None
    found = os.fstat(number)
    if not stat.S_ISREG(found.st_mode):
        os.close(number)
        raise Refusal("'%s' is no file; name a log file of the host" % path)
    with os.fdopen(number, "rb") as source:
        source.seek(max(0, found.st_size - BYTES))
        return source.read(BYTES).decode("utf-8", "replace").splitlines()[-LINES:], path


def read_journal(unit: str) -> tuple[list[str], str]:
    """(the last lines of its journal, the command that shows it). `kernel` is the kernel's own since it was booted."""
    command = ["journalctl", *(["-k", "-b"] if unit == KERNEL else ["--unit=%s" % unit])]
    try:
        done = subprocess.run(
            [*command, "-n", str(LINES), "-o", "cat", "--no-pager"],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=SECONDS,
        )
    except FileNotFoundError:
        raise Refusal("this host has no journalctl; name a log file instead (log_file)") from None
    except subprocess.TimeoutExpired:
        raise Refusal("journalctl did not answer in %d s; name a log file instead (log_file)" % SECONDS) from None
    lines = [line for line in done.stdout.splitlines() if not line.startswith("-- ")]
    if not lines:
        said = " ".join(done.stderr.split())[:200] or "it is empty"
        raise Refusal("the journal of '%s' shows nothing (%s); correct the unit (systemctl list-units)" % (unit, said))
    return lines, " ".join(command)


def explained(lines: list[str], log: str, shown: int) -> dict[str, Any]:
    """What the lines say of a failure, with the last of them: {lines, log, root, meaning, sure, text}."""
    found = explain(lines)
    last = lines[-shown:] if shown > 0 else []
    text = [line[:1000] for line in last]
    if found.root:
        text.append("-- what failed first: %s" % found.root)
    if found.meaning:
        text.append("-- what " + what_that(found.meaning))
    elif found.root:
        text.append("-- what that means is not known here")
    else:
        text.append("-- nothing in it sounds like an error")
    text.append("-- the whole log: %s" % log)
    return {
        "lines": last,
        "log": log,
        "root": found.root,
        "meaning": found.meaning,
        "sure": found.sure,
        "text": "\n".join(text),
    }
