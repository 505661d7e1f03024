"""Filters about a run and its site: `of_this_run` refuses a run that would reach no host, `version_problem` a product of another
version, `table_file` says which file holds a table of the site."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleFilterError

sys.path.append(str(Path(__file__).resolve().parent.parent))  # Ansible loads a filter by its path alone

from planning.rows import nearest
from planning.site import table_file, version_problem


def limit_patterns(limit: str) -> list[str]:
    """Names and patterns of `--limit` that ask for hosts. Files, expressions, indices and exclusions are Ansible's to judge."""
    parts = re.split(r"[,:]", limit) if not re.search(r"[\[\]~]|::", limit) else []
    return [part.strip().lstrip("&") for part in parts if part.strip() and part.strip()[0] not in "!@"]


def of_this_run(group: str, groups: Mapping[str, Any], limit: str = "") -> str:
    """The group, if every name of `--limit` is a host or a group of the inventory. Raises AnsibleFilterError."""
    hosts = {host for members in groups.values() for host in members}
    for pattern in limit_patterns(limit):
        if not any(fnmatchcase(name, pattern) for name in {*hosts, *groups}):
            raise AnsibleFilterError(
                f"--limit names '{pattern}', which is no host or group; {nearest(pattern, hosts | set(groups))}"
            )
    wanted = limit_patterns(limit)
    named = {host for name, members in groups.items() for host in members if any(fnmatchcase(name, p) for p in wanted)}
    named |= {host for host in hosts if any(fnmatchcase(host, p) for p in wanted)}
    if wanted and not named & set(groups[group]):
        raise AnsibleFilterError(f"--limit {limit} leaves no host of the group {group}, so there is nothing to do")
    return group


class FilterModule:
    """The filters of this file, by name."""

    def filters(self) -> dict[str, Any]:
        return {"of_this_run": of_this_run, "version_problem": version_problem, "table_file": table_file}
