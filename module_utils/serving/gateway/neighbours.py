"""Who else listens where the gateway is to listen.

HAProxy shares a port with every other HAProxy of its user (SO_REUSEPORT) and says nothing: callers would reach either, by turns.
"""

from __future__ import annotations

import os

from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.host.ports import owners, rivals

ALL = ("", "*")  # all addresses of IPv4, as HAProxy writes them


def ours(command: str, folder: str) -> bool:
    """Does a process have a file of the gateway's folder among its words? It may have been started by another name of the folder."""
    inside = os.path.join(os.path.realpath(folder), "")
    return any(os.path.realpath(word).startswith(inside) for word in command.split() if word.startswith("/"))


def check(wanted: list[tuple[str, int, str]], folder: str) -> None:
    """Raises Refusal where another program has a port. `wanted`: (address, port, the setting that says it). What we may not see, HAProxy finds out."""
    for address, port, setting in wanted:
        for inode in sorted(rivals("0.0.0.0" if address in ALL else address, port)):  # noqa: S104 - looked at, never bound
            who = owners({inode})
            if who and not any(ours(command, folder) for _, _, command in who):
                pid, user, command = who[0]
                raise Refusal(
                    "port %d is the gateway's (%s), but process %d of user %s listens there: %s; end it, or set %s to another port"
                    % (port, setting, pid, user, command[:120], setting)
                )
