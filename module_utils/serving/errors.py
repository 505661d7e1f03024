"""How a module ends: `Refusal` for what an operator can mend, and no traceback for the rest."""

from __future__ import annotations

import errno
import os
import re
import traceback
import unicodedata
from typing import Any, Callable

from ansible.module_utils.basic import AnsibleModule

UMASK = 0o022
FULL = (errno.ENOSPC, errno.EDQUOT)  # a disk without space or inodes, a quota that is used up
ROOM = "make room: df -h and df -i show what is left, playbooks/prune.yml removes what nothing needs"
LONG = re.compile(r"[^\s'\",]{1000,}")  # one word of a message: a name in a file may be as long as the file


class Refusal(Exception):
    """A message for the operator: it names the thing, the value, the limit and the remedy. Extra results travel along."""

    def __init__(self, message: str, **results: Any) -> None:
        super().__init__(message)
        self.results = results


def as_shown(message: Any) -> str:
    """A message as a terminal may show it: what servers and files are called by may hold escapes, and halves of characters."""
    message = LONG.sub(lambda word: "%s... (%d characters)" % (word.group()[:100], len(word.group())), str(message))
    hidden = ("Cc", "Cf", "Cs", "Zl", "Zp")
    return "".join(
        char if char in "\n\t" or unicodedata.category(char) not in hidden else ascii(char)[1:-1] for char in message
    )


def run_module(module: AnsibleModule, body: Callable[[AnsibleModule], dict]) -> None:
    """Exit with what `body` returns; a Refusal or an OSError becomes a plain message.

    Every module comes through here. So do modes: a caller's umask neither opens our folders for others nor closes them for images that run
    as another user, and what a module starts (pip, uv, a supervisor) inherits ours. What is secret has a mode of its own.
    """
    os.umask(UMASK)
    try:
        results = body(module)
    except Refusal as refusal:
        module.fail_json(msg=as_shown(refusal), **refusal.results)
    except OSError as error:
        where = " %s" % error.filename if error.filename else ""
        text = "%s%s (errno %s, as user id %s)" % (error.strerror or error, where, error.errno, os.getuid())
        if error.errno in FULL:
            text += "; " + ROOM
        module.fail_json(msg=as_shown(text))
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = "%s:%s" % (os.path.basename(last.filename), last.lineno)
        text = "unexpected %s at %s: %s. Please report this" % (type(error).__name__, place, error)
        module.fail_json(msg=as_shown(text))
    module.exit_json(**results)
