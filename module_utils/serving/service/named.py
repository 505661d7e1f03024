"""Which services of a host an operator means with `-e service=NAME`."""

from __future__ import annotations

import re
from typing import Iterable

from ansible.module_utils.serving.errors import Refusal


def meant(wanted: str, there: Iterable[str], rows: Iterable[str], every: Iterable[str] | None = None) -> list[str]:
    """The service of that name, the replicas of the row of that name, or for `all` those of `every`; empty where there is none.

    `there`: names of the host's services. `rows`: names of the tables' rows, which are no replicas. `every`: None where `all` means nothing.
    """
    names = list(there)
    if wanted == "all":
        return list(every or ())
    if wanted in names:
        return [wanted]
    replica = re.compile(re.escape(wanted) + r"-([1-9][0-9]*)")
    found = {name: replica.fullmatch(name) for name in set(names) - set(rows)}
    return sorted((name for name in found if found[name]), key=lambda name: int(name.rpartition("-")[2]))


def named(
    wanted: str, there: Iterable[str], rows: Iterable[str], every: Iterable[str] | None = None, required: bool = True
) -> list[str]:
    """The same. One that is not there is refused where it is `required`, and means that name where not. Refusal: nothing was named."""
    names = list(there)
    found = meant(wanted, names, rows, every)
    if found or (wanted == "all" and every is not None):
        return found
    has = "this host has %s" % (", ".join(names) or "none")
    if wanted and wanted != "all":
        if not required:
            return [wanted]
        raise Refusal("no service of this host is called '%s'; %s" % (wanted, has))
    raise Refusal("say which service: -e service=NAME%s; %s" % ("" if every is None else " or service=all", has))
